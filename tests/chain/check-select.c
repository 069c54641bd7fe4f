/* select(): cases by hand, one for each way through it, and a property. Random histories of one
 * term, fast or pbft, with an honest or a malicious leader, run until some blocks are final;
 * then any qv view changes are drawn, those of malicious replicas as they like. Whatever is
 * final must be in what select() continues ([S3], docs/consensus.md). No signatures: select()
 * is given positions that were checked. */
#include <check.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "base/random.h"
#include "chain/select.h"

#define NODES	  64 /* blocks of a history; number 0 is the lowest block in sight */
#define NONE	  (-1)
#define HISTORIES 60000

/* ---- a tree of blocks -------------------------------------------------------------------- */

struct history {
	struct quorum q;
	struct chain_ctx ctx;
	enum mode mode;
	unsigned leader;
	uint64_t term;
	uint64_t malicious; /* bit i */
	uint64_t deaf;	    /* hear of no QC */
	int most;	    /* blocks at the most */
	int blocks;
	int parent[NODES];
	int base[NODES]; /* the base of the term that the block's header names; NONE: older */
	unsigned height[NODES];
	uint64_t prepared[NODES], committed[NODES]; /* honest votes for the block or above it */
	int tip[VALIDATORS_MAX], qc[VALIDATORS_MAX]; /* of honest ones */
	int under[VALIDATORS_MAX];		     /* the base they vote under */
	unsigned voted[VALIDATORS_MAX];		     /* highest height they voted at */
};

static void block_hash_of(struct hash *out, int block)
{
	*out = (struct hash){0};
	out->b[0] = (uint8_t)block;
	out->b[1] = 0xb1;
}

static struct block_ref ref_of(const struct history *h, int block)
{
	struct block_ref ref = {.term = h->base[block] == NONE ? 1 : h->term,
				.height = 100 + h->height[block]};
	block_hash_of(&ref.hash, block);
	return ref;
}

static int block_of(const struct block_ref *ref)
{
	return ref->hash.b[0];
}

static bool contains(const struct history *h, int block, int ancestor)
{
	while (block != NONE && block != ancestor)
		block = h->parent[block];
	return block == ancestor;
}

static int add_block(struct history *h, int parent, int base)
{
	int b = h->blocks++;
	ck_assert_int_lt(b, NODES);
	h->parent[b] = parent;
	h->base[b] = base;
	h->height[b] = parent == NONE ? 0 : h->height[parent] + 1;
	return b;
}

static void history_init(struct history *h, unsigned n, enum mode mode)
{
	*h = (struct history){.q = quorum_of(n), .mode = mode, .term = 8, .leader = 8 % n};
	h->ctx.quorum = h->q;
	add_block(h, NONE, NONE);
	for (unsigned i = 0; i < n; i++)
		h->tip[i] = h->qc[i] = h->under[i] = NONE;
}

/* ---- view changes ------------------------------------------------------------------------ */

struct shown { /* a megabyte */
	unsigned count;
	struct view_change vc[VALIDATORS_MAX];
};

/* What `signer` shows: this tip, its chain down to its term's base, and a QC on it. */
static void show(struct shown *s, const struct history *h, unsigned signer, int tip, int qc)
{
	struct view_change *vc = &s->vc[s->count++];
	struct position *p = &vc->position;

	view_change_init(vc);
	vc->term = h->term + 1;
	vc->signer = (uint16_t)signer;
	p->tip = ref_of(h, tip);
	p->tc.leader = (uint16_t)h->leader;
	p->tc.mode = h->mode;
	p->tc.term = p->tip.term;
	if (h->base[tip] == NONE) {
		p->tc.mode = MODE_FAST;
		p->tc.base = p->tip; /* a term without blocks: any lower one */
		return;
	}
	p->tc.base = ref_of(h, h->base[tip]);
	p->headers = mem_array(h->height[tip] - h->height[h->base[tip]], sizeof *p->headers);
	for (int b = tip; b != h->base[tip]; b = h->parent[b])
		block_hash_of(&p->headers[p->header_count++].h.prev, h->parent[b]);
	if (qc != NONE) {
		p->has_qc = true;
		p->qc.kind = h->mode == MODE_FAST ? CERT_QC_FAST : CERT_QC_PBFT;
		p->qc.ref = ref_of(h, qc);
	}
}

static void shown_free(struct shown *s)
{
	for (unsigned i = 0; i < s->count; i++)
		view_change_free(&s->vc[i]);
	s->count = 0;
}

static bool parent_of(void *arg, const struct block_ref *block, struct block_ref *parent)
{
	const struct history *h = arg;
	int p = h->parent[block_of(block)];
	if (p != NONE)
		*parent = ref_of(h, p);
	return p != NONE;
}

static int select_shown(struct selection *out, const struct history *h, const struct shown *s)
{
	const struct view_change *vc[VALIDATORS_MAX];
	const struct view_lookup look = {.arg = (void *)h, .parent_of = parent_of};
	for (unsigned i = 0; i < s->count; i++)
		vc[i] = &s->vc[i];
	return select_base(out, vc, s->count, &h->ctx, &look, NULL);
}

/* ---- by hand, n = 4: qv 3, s 2, leader 0 --------------------------------------------------
 */

static void expect(const struct history *h, struct shown *s, int base,
		   enum select_base_kind from, bool conflict)
{
	struct selection out;
	ck_assert_int_eq(select_shown(&out, h, s), ERR_NONE);
	ck_assert_int_eq(block_of(&out.base), base);
	ck_assert_int_eq(out.from, from);
	ck_assert(out.conflict == conflict);
	shown_free(s);
}

START_TEST(longest_of_one_chain)
{
	struct history h;
	static struct shown s; /* empty between two uses */
	history_init(&h, 4, MODE_FAST);
	int a = add_block(&h, 0, 0), b = add_block(&h, a, 0), c = add_block(&h, b, 0);

	show(&s, &h, 0, a, NONE);
	show(&s, &h, 1, c, NONE);
	show(&s, &h, 2, b, a);
	expect(&h, &s, c, SELECT_FROM_QC, false);

	show(&s, &h, 0, a, NONE);
	show(&s, &h, 1, b, NONE);
	show(&s, &h, 2, 0, NONE); /* an older term */
	expect(&h, &s, b, SELECT_FROM_TC, false);
}
END_TEST

START_TEST(support_decides_a_conflict)
{
	struct history h;
	static struct shown s;
	history_init(&h, 4, MODE_FAST);
	int a = add_block(&h, 0, 0), b = add_block(&h, 0, 0), b2 = add_block(&h, b, 0);

	/* two of three below b: one round may have committed it */
	show(&s, &h, 1, a, NONE);
	show(&s, &h, 2, b, NONE);
	show(&s, &h, 3, b2, NONE);
	expect(&h, &s, b, SELECT_FROM_TC, true);

	/* none of them has two: the base */
	show(&s, &h, 1, a, NONE);
	show(&s, &h, 2, b, NONE);
	show(&s, &h, 3, 0, NONE);
	expect(&h, &s, 0, SELECT_FROM_TC, true);

	/* a QC outweighs any support (a mutant takes the TC's base) */
	show(&s, &h, 1, a, a);
	show(&s, &h, 2, b, NONE);
	show(&s, &h, 3, b2, NONE);
	expect(&h, &s, a, SELECT_FROM_QC, true);
}
END_TEST

/* Each n: what s of them show is walked up to, what one fewer shows is not. */
static const unsigned sizes[] = {4, 5, 6, 7, 8, 10, 13, 16};

START_TEST(one_less_is_no_support)
{
	static struct shown s;
	struct history h;
	history_init(&h, sizes[_i], MODE_FAST);
	int a = add_block(&h, 0, 0), b = add_block(&h, 0, 0);
	ck_assert_uint_lt(h.q.s, h.q.qv);
	for (unsigned support = h.q.s - 1; support <= h.q.s; support++) {
		unsigned signer = 0;
		for (unsigned k = 0; k < h.q.qv; k++) {
			signer += signer == h.leader;
			/* one is in conflict with b; the rest stand where the term began */
			show(&s, &h, signer++, k < support ? b : k == support ? a : 0, NONE);
		}
		expect(&h, &s, support == h.q.s ? b : 0, SELECT_FROM_TC, true);
	}
}
END_TEST

START_TEST(the_culprit_is_left_out)
{
	struct history h;
	static struct shown s;
	struct selection out;
	history_init(&h, 4, MODE_FAST);
	int a = add_block(&h, 0, 0), b = add_block(&h, 0, 0);

	show(&s, &h, 0, a, NONE);
	show(&s, &h, 1, b, NONE);
	show(&s, &h, 2, b, NONE);
	ck_assert_int_eq(select_shown(&out, &h, &s), ERR_CULPRIT);
	ck_assert_uint_eq(out.leader, 0);
	shown_free(&s);
}
END_TEST

START_TEST(a_checkpoint_is_a_base)
{
	struct history h;
	static struct shown s;
	history_init(&h, 4, MODE_PBFT);
	int a = add_block(&h, 0, 0), b = add_block(&h, a, 0), c = add_block(&h, b, 0);

	for (unsigned i = 1; i <= 3; i++) {
		show(&s, &h, i, i == 3 ? a : c, i == 1 ? a : NONE);
		if (i == 2) {
			struct position *p = &s.vc[s.count - 1].position;
			p->has_checkpoint = true;
			p->checkpoint.kind = CERT_CHECKPOINT;
			p->checkpoint.ref = ref_of(&h, b);
			p->header_count = 1;
		}
	}
	expect(&h, &s, c, SELECT_FROM_CHECKPOINT, false);
}
END_TEST

START_TEST(bases_meet_at_their_ancestor)
{
	struct history h;
	static struct shown s;
	struct selection out;
	history_init(&h, 4, MODE_PBFT);
	int low = add_block(&h, 0, NONE), left = add_block(&h, low, NONE),
	    right = add_block(&h, low, NONE);
	int a = add_block(&h, left, left), b = add_block(&h, right, right);

	show(&s, &h, 1, a, NONE);
	show(&s, &h, 2, b, NONE);
	show(&s, &h, 3, low, NONE);
	expect(&h, &s, low, SELECT_FROM_ANCESTOR, true);

	/* two stand on `right`: walked up to there, and on */
	show(&s, &h, 1, a, NONE);
	show(&s, &h, 2, b, NONE);
	show(&s, &h, 3, b, NONE);
	expect(&h, &s, b, SELECT_FROM_ANCESTOR, true);

	/* the parents are not known yet */
	show(&s, &h, 1, a, NONE);
	show(&s, &h, 2, b, NONE);
	const struct view_change *vc[] = {&s.vc[0], &s.vc[1]};
	struct missing missing;
	ck_assert_int_eq(select_base(&out, vc, 2, &h.ctx, NULL, &missing), ERR_NOT_FOUND);
	ck_assert_int_eq(missing.kind, MISSING_BLOCK);
	shown_free(&s);
}
END_TEST

START_TEST(nothing_but_genesis)
{
	struct history h;
	static struct shown s;
	struct selection out;
	history_init(&h, 4, MODE_FAST);
	for (unsigned i = 1; i <= 3; i++) {
		show(&s, &h, i, 0, NONE);
		s.vc[s.count - 1].position.tip.term = 0;
	}
	ck_assert_int_eq(select_shown(&out, &h, &s), ERR_NONE);
	ck_assert_int_eq(out.from, SELECT_GENESIS);
	ck_assert_int_eq(block_of(&out.base), 0);
	shown_free(&s);
}
END_TEST

/* ---- the property ------------------------------------------------------------------------ */

static unsigned pick(struct random *r, unsigned count)
{
	return (unsigned)random_below(r, count);
}

static bool is_malicious(const struct history *h, unsigned i)
{
	return h->malicious >> i & 1;
}

static unsigned ones(uint64_t bits)
{
	return (unsigned)__builtin_popcountll(bits);
}

/* Could a QC, a commit, a one-round commit of block b exist? Malicious ones sign anything. */
static bool has_qc(const struct history *h, int b)
{
	return h->base[b] != NONE && ones(h->prepared[b]) + h->q.f >= h->q.q;
}

static bool is_final(const struct history *h, int b)
{
	return h->base[b] != NONE &&
	       (ones(h->committed[b]) + h->q.f >= h->q.q ||
		(h->mode == MODE_FAST && ones(h->prepared[b]) + h->q.f >= h->q.qf));
}

/* Moves i's tip to b, which extends it: votes for each block on the way, but never twice at one
 * height, which a replica that followed a QC to another branch would. */
static void vote(struct history *h, unsigned i, int b)
{
	for (int at = b; at != h->base[b] && at != h->tip[i]; at = h->parent[at])
		if (h->height[at] > h->voted[i])
			h->prepared[at] |= 1ULL << i;
	if (h->height[b] > h->voted[i])
		h->voted[i] = h->height[b];
	h->tip[i] = b;
	h->under[i] = h->base[b];
}

/* Honest replica i does one thing that the rules allow it. */
static void honest_step(struct history *h, struct random *r, unsigned i)
{
	int b = (int)pick(r, (unsigned)h->blocks);
	if (h->base[b] == NONE)
		return;
	bool certified = has_qc(h, b);
	bool extends =
		h->tip[i] == NONE || (contains(h, b, h->tip[i]) && h->under[i] == h->base[b]);
	switch (pick(r, 3)) {
	case 0: /* PREPARE: extends its own tip */
		if (extends)
			vote(h, i, b);
		break;
	case 1: /* sees a QC: keeps the highest, follows it where its own tip is off its chain
		 */
		if (!certified || (h->deaf >> i & 1) ||
		    (h->qc[i] != NONE && h->height[h->qc[i]] >= h->height[b]))
			break;
		if (h->tip[i] == NONE || !contains(h, h->tip[i], b)) {
			h->tip[i] = b;
			h->under[i] = h->base[b];
		}
		h->qc[i] = b;
		break;
	case 2: /* COMMIT: what its own chain has a QC for */
		if (certified && h->qc[i] != NONE && contains(h, h->qc[i], b))
			for (int at = b; at != h->base[b]; at = h->parent[at])
				h->committed[at] |= 1ULL << i;
		break;
	}
}

static void grow(struct history *h, struct random *r, int base_count, const int *base)
{
	if (h->blocks >= h->most)
		return;
	if (is_malicious(h, h->leader)) {
		int b = (int)pick(r, (unsigned)h->blocks);
		if (h->base[b] == NONE)
			b = base[pick(r, (unsigned)base_count)];
		add_block(h, b, h->base[b] == NONE ? b : h->base[b]);
	} else {
		int last = h->blocks - 1;
		add_block(h, h->base[last] == NONE ? base[0] : last, base[0]);
	}
}

/* What a malicious replica may show: any block of the term, any QC that can exist on it. */
static void show_anything(struct shown *s, const struct history *h, struct random *r,
			  unsigned i)
{
	int tip = (int)pick(r, (unsigned)h->blocks), qc = NONE;
	for (int b = tip; h->base[tip] != NONE && b != h->base[tip]; b = h->parent[b])
		if (has_qc(h, b) && pick(r, 2))
			qc = b;
	show(s, h, i, tip, qc);
}

struct seen {
	unsigned histories, finals, sets, conflicts, culprits, qcs, walked, ancestors, lost;
};

static void draw_and_select(const struct history *h, struct random *r, struct seen *seen)
{
	static struct shown s;
	struct selection out;
	unsigned order[VALIDATORS_MAX], n = h->q.n;
	bool excluded = pick(r, 3) == 0; /* some draw without the leader from the start */

	for (unsigned i = 0; i < n; i++)
		order[i] = i;
	for (unsigned i = n; i > 1; i--) {
		unsigned j = pick(r, i), o = order[j];
		order[j] = order[i - 1];
		order[i - 1] = o;
	}
	for (unsigned k = 0; k < n && s.count < h->q.qv; k++) {
		unsigned i = order[k];
		if (excluded && i == h->leader && n > h->q.qv)
			continue;
		if (is_malicious(h, i))
			show_anything(&s, h, r, i);
		else
			show(&s, h, i, h->tip[i] == NONE ? 0 : h->tip[i], h->qc[i]);
	}
	seen->sets++;
	int err = select_shown(&out, h, &s);
	ck_assert(err == ERR_NONE || err == ERR_CULPRIT);
	if (err == ERR_CULPRIT) {
		ck_assert_uint_eq(out.leader, h->leader);
		ck_assert(is_malicious(h, h->leader)); /* never needed without a crime */
		seen->culprits++;
		shown_free(&s);
		return;
	}
	seen->conflicts += out.conflict;
	seen->qcs += out.from == SELECT_FROM_QC;
	seen->ancestors += out.from == SELECT_FROM_ANCESTOR;
	seen->walked += out.walked > 0;
	for (int b = 0; b < h->blocks; b++)
		seen->lost += is_final(h, b) && !contains(h, block_of(&out.base), b);
	shown_free(&s);
}

static void one_history(uint64_t seed, unsigned n, enum mode mode, struct seen *seen)
{
	struct random r;
	struct history h;
	int bases[3] = {0}, base_count = 1;

	random_seed(&r, seed);
	history_init(&h, n, mode);
	while (ones(h.malicious) < h.q.f)
		h.malicious |= 1ULL << pick(&r, n);
	if (pick(&r, 4) && h.q.f) /* mostly the leader is */
		h.malicious = (h.malicious & (h.malicious - 1)) | 1ULL << h.leader;
	h.deaf = pick(&r, 2) ? random_u64(&r) : 0;
	h.most = pick(&r, 2) ? 3 + (int)pick(&r, 4) : NODES;
	if (mode == MODE_PBFT && is_malicious(&h, h.leader)) {
		/* several NEW-VIEWs: bases above what was final before, on branches or not */
		bases[0] = add_block(&h, 0, NONE);
		bases[1] = add_block(&h, (int)pick(&r, 2), NONE);
		bases[2] = add_block(&h, (int)pick(&r, 3), NONE);
		base_count = 1 + (int)pick(&r, 3);
	}
	for (unsigned step = 0, steps = 20 + pick(&r, 200); step < steps; step++) {
		if (pick(&r, 8) == 0)
			grow(&h, &r, base_count, bases);
		unsigned i = pick(&r, n);
		if (!is_malicious(&h, i))
			honest_step(&h, &r, i);
	}
	seen->histories++;
	for (int b = 0; b < h.blocks; b++)
		if (is_final(&h, b)) {
			seen->finals++;
			break;
		}
	for (unsigned k = 0; k < 6; k++)
		draw_and_select(&h, &r, seen);
}

static struct seen many_histories(unsigned count)
{
	struct seen seen = {0};
	for (unsigned k = 0; k < count; k++)
		one_history(900000 + k, sizes[k % MEM_COUNT(sizes)],
			    k / MEM_COUNT(sizes) % 3 ? MODE_FAST : MODE_PBFT, &seen);
	return seen;
}

START_TEST(what_is_final_is_continued)
{
	struct seen seen = many_histories(HISTORIES);
	ck_assert_uint_eq(seen.lost, 0);
	/* and it was no idle run */
	ck_assert_uint_gt(seen.finals, 1000);
	ck_assert_uint_gt(seen.conflicts, 1000);
	ck_assert_uint_gt(seen.culprits, 1000);
	ck_assert_uint_gt(seen.qcs, 1000);
	ck_assert_uint_gt(seen.walked, 100);
	ck_assert_uint_gt(seen.ancestors, 100);
}
END_TEST

#ifdef ENABLE_MUTANTS
/* The property is worth something: each way to get select() wrong loses something final. */
START_TEST(wrong_ones_lose_something)
{
	static const enum mutant_id wrong[] = {MUTANT_CULPRIT_IN_SET, MUTANT_LESS_SUPPORT,
					       MUTANT_TC_BASE_DESPITE_QC,
					       MUTANT_CERTIFIED_ONLY};
	mutant_selected = wrong[_i];
	struct seen seen = many_histories(HISTORIES);
	mutant_selected = MUTANT_NONE;
	ck_assert_uint_gt(seen.lost, 0);
}
END_TEST
#endif

int main(void)
{
	Suite *s = suite_create("select");
	TCase *hand = tcase_create("by hand"), *property = tcase_create("property");

	tcase_add_test(hand, longest_of_one_chain);
	tcase_add_test(hand, support_decides_a_conflict);
	tcase_add_loop_test(hand, one_less_is_no_support, 0, (int)MEM_COUNT(sizes));
	tcase_add_test(hand, the_culprit_is_left_out);
	tcase_add_test(hand, a_checkpoint_is_a_base);
	tcase_add_test(hand, bases_meet_at_their_ancestor);
	tcase_add_test(hand, nothing_but_genesis);
	tcase_set_timeout(property, 600);
	tcase_add_test(property, what_is_final_is_continued);
#ifdef ENABLE_MUTANTS
	tcase_add_loop_test(property, wrong_ones_lose_something, 0, 4);
#endif
	suite_add_tcase(s, hand);
	suite_add_tcase(s, property);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
