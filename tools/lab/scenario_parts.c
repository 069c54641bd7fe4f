/* Lists of what happens by number: "strikes only 3,17-20", "faults storm only 2,5",
 * "lose node1 to node2 17,20". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tools/lab/scenario_private.h"

/* "17" or "17-20"; moves *at behind it. */
static bool read_range(const char **at, struct occurrence_range *out)
{
	unsigned long v[2];
	for (unsigned i = 0; i < 2; i++) {
		char *end;
		if (**at < '0' || **at > '9')
			return false;
		v[i] = strtoul(*at, &end, 10);
		*at = end;
		if (v[i] < 1 || v[i] > UINT32_MAX - 1)
			return false;
		if (i == 0 && **at != '-') {
			v[1] = v[0];
			break;
		}
		*at += i == 0;
	}
	*out = (struct occurrence_range){(uint32_t)v[0], (uint32_t)v[1]};
	return v[0] <= v[1];
}

static int next_range(struct words *w, const char **at, struct occurrence_range *out)
{
	const char *word = *at;
	if (!read_range(at, out) || (**at && **at != ',') || (**at == ',' && !(*at)[1]))
		return words_fail(w, "\"%.40s\": numbers such as 3,17-20 are needed, from 1 on",
				  word);
	*at += **at == ',';
	return ERR_NONE;
}

int scenario_only(struct words *w, struct occurrences *o)
{
	int err = ERR_NONE;
	const char *at = words_next(w);
	if (!at)
		return words_fail(w, "which ones? only 3,17-20");
	while (!err && *at) {
		struct occurrence_range r;
		err = next_range(w, &at, &r);
		if (err)
			break;
		if (o->count && r.first <= o->range[o->count - 1].last)
			return words_fail(w, "%u is not above what is before it", r.first);
		if (o->count && r.first == o->range[o->count - 1].last + 1)
			o->range[o->count - 1].last = r.last;
		else if (o->count == OCCURRENCES_MAX)
			return words_fail(w, "more than %u ranges", OCCURRENCES_MAX);
		else
			o->range[o->count++] = r;
	}
	return err;
}

static int read_node(struct words *w, uint8_t *out)
{
	const char *word = words_next(w);
	unsigned v = 0;
	int used = 0;
	if (!word || sscanf(word, "node%u%n", &v, &used) != 1 || word[used] || v < 1 ||
	    v > VALIDATORS_MAX)
		return words_fail(w, "lose node1 to node2 17,20-25");
	*out = (uint8_t)(v - 1);
	return ERR_NONE;
}

static int by_link(const void *a, const void *b)
{
	return loss_compare(a, b);
}

int scenario_lose(struct words *w, struct losses *l)
{
	struct loss x = {0};
	int err = read_node(w, &x.from);
	if (!err && !words_take(w, "to"))
		err = words_fail(w, "lose node1 to node2 17,20-25");
	if (!err)
		err = read_node(w, &x.to);
	const char *at = err ? "" : words_next(w);
	if (!at)
		return words_fail(w, "which of its messages? lose node1 to node2 17,20-25");
	while (!err && *at) {
		struct occurrence_range r;
		err = next_range(w, &at, &r);
		if (err)
			break;
		for (x.number = r.first; x.number <= r.last; x.number++) {
			if (l->count == LOSSES_MAX)
				return words_fail(w, "more than %u lost messages", LOSSES_MAX);
			l->loss[l->count++] = x;
		}
	}
	qsort(l->loss, l->count, sizeof l->loss[0], by_link);
	for (uint32_t i = 1; !err && i < l->count; i++)
		if (loss_compare(&l->loss[i - 1], &l->loss[i]) == 0)
			err = words_fail(w, "message %u of this link is lost twice",
					 l->loss[i].number);
	return err;
}

/* ---- printing ---------------------------------------------------------------------------- */

#define PER_LINE 12

static void print_range(FILE *f, bool comma, const struct occurrence_range *r)
{
	fprintf(f, "%s%u", comma ? "," : "", r->first);
	if (r->last > r->first)
		fprintf(f, "-%u", r->last);
}

static void print_only(FILE *f, const char *title, const struct occurrences *o)
{
	for (uint32_t i = 0; i < o->count; i++) {
		if (i % PER_LINE == 0)
			fprintf(f, "%s%s only ", i ? "\n" : "", title);
		print_range(f, i % PER_LINE != 0, &o->range[i]);
	}
	if (o->count)
		fprintf(f, "\n");
}

static void print_losses(FILE *f, const struct losses *l)
{
	unsigned on_line = 0;
	for (uint32_t i = 0; i < l->count;) {
		const struct loss *x = &l->loss[i];
		struct occurrence_range r = {x->number, x->number};
		bool same = i && x[-1].from == x->from && x[-1].to == x->to;
		while (++i < l->count && l->loss[i].from == x->from && l->loss[i].to == x->to &&
		       l->loss[i].number == r.last + 1)
			r.last++;
		if (!same || on_line == PER_LINE) {
			fprintf(f, "%slose      node%u to node%u ", on_line ? "\n" : "",
				x->from + 1u, x->to + 1u);
			on_line = 0;
		}
		print_range(f, on_line++ > 0, &r);
	}
	if (l->count)
		fprintf(f, "\n");
}

void scenario_print_parts(FILE *f, const struct scenario *s)
{
	if (s->storm && s->part_of_storm)
		print_only(f, "faults    storm", &s->faults);
	else if (s->storm)
		fprintf(f, "faults    storm\n");
	else if (s->calm)
		fprintf(f, "faults    calm\n");
	if (s->strikes_optional)
		fprintf(f, "strikes   optional\n");
	if (s->part_of_strikes)
		print_only(f, "strikes  ", &s->strikes);
	print_losses(f, &s->losses);
}
