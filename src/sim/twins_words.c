/* The words of the Twins language, and which of those that are alike stands for all. */
#include <stdio.h>

#include "base/mem.h"
#include "sim/twins.h"

#define NODES_MAX  7
#define COPIES_MAX (2 * NODES_MAX)

/* Copies 0 .. n-1 are the validators', copy n+i is the second of validator i. */
static unsigned copies_of(const struct twins_options *o)
{
	return o->nodes + o->twins;
}

/* A cut is the side of copy 0, without copy 0: bit i-1 for copy i. */
static uint64_t side_of(unsigned cut)
{
	return ((uint64_t)cut << 1) | 1;
}

static unsigned cut_of(uint64_t side, unsigned copies)
{
	if (!(side & 1)) /* the other side is the same cut */
		side = ~side & ((UINT64_C(1) << copies) - 1);
	return (unsigned)(side >> 1);
}

static void fill_renaming(struct twins_language *l, const unsigned *validator,
			  const unsigned *copy)
{
	uint16_t *row = &l->renamed[l->renamings++ * l->letters];
	for (unsigned letter = 0; letter < l->letters; letter++) {
		uint64_t side = side_of(letter % l->cuts), image = 0;
		for (unsigned i = 0; i < l->copies; i++)
			image |= (side >> i & 1) << copy[i];
		row[letter] = (uint16_t)(validator[letter / l->cuts] * l->cuts +
					 cut_of(image, l->copies));
	}
}

/* All swaps of the two copies of each twin, on top of a renaming of validators. */
static void with_swaps(struct twins_language *l, const unsigned *validator)
{
	const struct twins_options *o = &l->options;
	for (unsigned swaps = 0; swaps < 1u << o->twins; swaps++) {
		unsigned copy[COPIES_MAX];
		for (unsigned i = 0; i < o->nodes; i++)
			copy[i] = validator[i];
		for (unsigned i = 0; i < o->twins; i++) {
			bool swap = swaps >> i & 1;
			copy[i] = swap ? o->nodes + validator[i] : validator[i];
			copy[o->nodes + i] = swap ? validator[i] : o->nodes + validator[i];
		}
		fill_renaming(l, validator, copy);
	}
}

/* Permutes validators [at, end), then goes on with `then`. */
static void permute(struct twins_language *l, unsigned *validator, unsigned at, unsigned end)
{
	const struct twins_options *o = &l->options;
	if (at == end) {
		if (end == o->nodes)
			with_swaps(l, validator);
		else
			permute(l, validator, end, o->nodes);
		return;
	}
	for (unsigned i = at; i < end; i++) {
		unsigned was = validator[at];
		validator[at] = validator[i];
		validator[i] = was;
		permute(l, validator, at + 1, end);
		validator[i] = validator[at];
		validator[at] = was;
	}
}

static unsigned factorial(unsigned n)
{
	return n < 2 ? 1 : n * factorial(n - 1);
}

int twins_language_init(struct twins_language *l, const struct twins_options *o,
			struct errmsg *m)
{
	*l = (struct twins_language){.options = *o};
	if (o->nodes < 4 || o->nodes > NODES_MAX || o->twins < 1 || o->twins > o->nodes ||
	    o->rounds < 1 || o->rounds > TWINS_ROUNDS_MAX)
		return err_set(m, ERR_RANGE,
			       "Twins: 4 to %u nodes, 1 or more of them twins, 1 to %u rounds",
			       NODES_MAX, TWINS_ROUNDS_MAX);
	l->copies = copies_of(o);
	l->cuts = 1u << (l->copies - 1);
	l->letters = o->nodes * l->cuts;
	l->words = 1;
	for (unsigned i = 0; i < o->rounds; i++)
		l->words *= l->letters;
	unsigned group = factorial(o->twins) * factorial(o->nodes - o->twins) << o->twins;
	l->renamed = mem_array((size_t)group * l->letters, sizeof *l->renamed);
	unsigned validator[NODES_MAX];
	for (unsigned i = 0; i < o->nodes; i++)
		validator[i] = i;
	permute(l, validator, 0, o->twins);
	invariant(l->renamings == group);
	return ERR_NONE;
}

void twins_language_free(struct twins_language *l)
{
	mem_free(l->renamed);
	l->renamed = NULL;
}

/* The first letter is the least significant digit. */
static uint64_t renamed(const struct twins_language *l, uint64_t word, unsigned renaming)
{
	const uint16_t *row = &l->renamed[renaming * l->letters];
	uint64_t out = 0, place = 1;
	for (unsigned r = 0; r < l->options.rounds; r++) {
		out += place * row[word % l->letters];
		word /= l->letters;
		place *= l->letters;
	}
	return out;
}

bool twins_is_canonical(const struct twins_language *l, uint64_t word)
{
	for (unsigned g = 0; g < l->renamings; g++)
		if (renamed(l, word, g) < word)
			return false;
	return true;
}

static size_t side_text(const struct twins_language *l, uint64_t side, char *buf, size_t size)
{
	size_t at = 0;
	for (unsigned i = 0; i < l->copies; i++)
		if (side >> i & 1 && at + 3 < size)
			at += (size_t)snprintf(
				buf + at, size - at, "%u%s",
				(i < l->options.nodes ? i : i - l->options.nodes) + 1,
				i < l->options.nodes ? "" : "'");
	return at;
}

const char *twins_word_text(const struct twins_language *l, uint64_t word, char *buf)
{
	size_t at = 0;
	uint64_t all = (UINT64_C(1) << l->copies) - 1;
	for (unsigned r = 0; r < l->options.rounds && at + 3 * COPIES_MAX < TWINS_TEXT_MAX;
	     r++) {
		unsigned letter = (unsigned)(word % l->letters);
		uint64_t side = side_of(letter % l->cuts);
		at += (size_t)snprintf(buf + at, TWINS_TEXT_MAX - at, "%s%u:", r ? " " : "",
				       letter / l->cuts + 1);
		at += side_text(l, side, buf + at, TWINS_TEXT_MAX - at);
		if (side != all) {
			buf[at++] = '|';
			at += side_text(l, all & ~side, buf + at, TWINS_TEXT_MAX - at);
		}
		word /= l->letters;
	}
	buf[at] = 0;
	return buf;
}
