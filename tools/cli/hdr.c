#include "tools/cli/hdr.h"

#include <string.h>

#include "base/mem.h"

void hdr_init(struct hdr *h)
{
	memset(h, 0, sizeof *h);
	h->min = UINT64_MAX;
}

/* Values below HDR_STEPS have a part each; of greater ones the upper bits count. */
static unsigned part_of(uint64_t value)
{
	unsigned octave;

	if (value < HDR_STEPS)
		return (unsigned)value;
	octave = 63 - (unsigned)__builtin_clzll(value) - HDR_STEP_BITS;
	return (octave + 1) * HDR_STEPS + (unsigned)(value >> octave) - HDR_STEPS;
}

static uint64_t end_of(unsigned part)
{
	unsigned octave = part / HDR_STEPS;

	if (octave == 0)
		return part;
	octave--;
	return (((uint64_t)(part % HDR_STEPS) + HDR_STEPS + 1) << octave) - 1;
}

void hdr_add(struct hdr *h, uint64_t value)
{
	if (value > HDR_MAX)
		value = HDR_MAX;
	h->count[part_of(value)]++;
	h->total++;
	h->sum += (double)value;
	h->min = value < h->min ? value : h->min;
	h->max = value > h->max ? value : h->max;
}

uint64_t hdr_quantile(const struct hdr *h, double q)
{
	uint64_t rank = (uint64_t)(q * (double)h->total), seen = 0;

	if (h->total == 0)
		return 0;
	rank = (double)rank < q * (double)h->total ? rank + 1 : rank; /* nearest rank */
	rank = rank < 1 ? 1 : rank > h->total ? h->total : rank;
	for (unsigned i = 0; i < MEM_COUNT(h->count); i++) {
		seen += h->count[i];
		if (seen >= rank)
			return end_of(i) < h->max ? end_of(i) : h->max;
	}
	return h->max;
}

struct json *hdr_rows(const struct hdr *h)
{
	struct json *rows = json_array();
	unsigned part = 0;

	for (double le = 0.25; part < MEM_COUNT(h->count); le *= 2) {
		uint64_t count = 0;
		while (part < MEM_COUNT(h->count) && (double)end_of(part) <= le * 1000)
			count += h->count[part++];
		if (le > 1e9) /* everything else */
			while (part < MEM_COUNT(h->count))
				count += h->count[part++];
		if (count > 0) {
			struct json *row = json_object();
			json_set(row, "le_ms", json_real(le));
			json_set(row, "count", json_u64(count));
			json_append(rows, row);
		}
	}
	return rows;
}
