/* select_base(): see select.h. The shown headers make a small tree above a floor; everything below is
 * linear in their number. */
#include "chain/select.h"

#include "base/map.h"
#include "base/mem.h"
#include "base/mutant.h"

struct place { /* a block shown by somebody */
	struct block_ref ref, parent;
	unsigned support; /* view changes whose tip is on its branch */
};
struct tree {
	struct map by_hash; /* struct place */
	const struct view_change *tip[VALIDATORS_MAX]; /* those of S whose tip counts */
	unsigned count;
};

static void tree_free(struct tree *t)
{
	struct place *p;
	for (size_t i = 0; (p = map_next(&t->by_hash, &i, NULL)) != NULL;)
		mem_free(p);
	map_free(&t->by_hash);
}

static struct place *tree_add(struct tree *t, const struct block_ref *ref,
			      const struct block_ref *parent)
{
	struct place *p = map_get(&t->by_hash, ref->hash.b);
	if (!p) {
		p = mem_zalloc(sizeof *p);
		p->ref = *ref;
		p->parent = *parent;
		map_put(&t->by_hash, ref->hash.b, p);
	}
	return p;
}

/* All blocks that the tips show; what a header says of its parent is all that is needed. */
static void tree_show(struct tree *t, const struct position *p)
{
	struct block_ref ref = p->tip;
	for (uint32_t i = 0; i < p->header_count; i++) {
		struct block_ref parent = {p->tip.term, ref.height - 1, p->headers[i].h.prev};
		tree_add(t, &ref, &parent);
		ref = parent;
	}
}

/* The ancestor of ref (or itself) at this height, as far as the tree shows. */
static bool ancestor(const struct tree *t, const struct block_ref *ref, uint64_t height,
		     struct hash *out)
{
	struct block_ref at = *ref;
	while (at.height > height) {
		const struct place *p = map_get(&t->by_hash, at.hash.b);
		if (!p)
			return false;
		at = p->parent;
	}
	*out = at.hash;
	return at.height == height;
}

static bool on_one_chain(const struct tree *t, const struct block_ref *a, const struct block_ref *b)
{
	const struct block_ref *low = a->height <= b->height ? a : b;
	const struct block_ref *high = low == a ? b : a;
	struct hash at;
	return ancestor(t, high, low->height, &at) && hash_equal(&at, &low->hash);
}

/* ---- base -------------------------------------------------------------------------------- */

static bool same_base(const struct block_ref *a, const struct block_ref *b)
{
	return a->height == b->height && hash_equal(&a->hash, &b->hash);
}

/* Only a tip that is a checkpoint names no base. */
static bool names_base(const struct position *p)
{
	return p->tip.term == 0 || p->tc.mode == MODE_FAST || p->header_count > 0;
}

/* The highest QC or checkpoint of tau. At one height a checkpoint wins. */
static void certified_base(struct selection *out, const struct tree *t)
{
	bool found = false;
	for (unsigned i = 0; i < t->count; i++) {
		const struct position *p = &t->tip[i]->position;
		const struct cert *qc = position_qc(p);
		const struct cert *c = qc ? qc : p->has_checkpoint ? &p->checkpoint : NULL;
		if (!c || (found && c->ref.height < out->base.height))
			continue;
		bool checkpoint = c->kind == CERT_CHECKPOINT;
		if (found && c->ref.height == out->base.height && !checkpoint)
			continue;
		out->base = c->ref;
		out->from = checkpoint ? SELECT_FROM_CHECKPOINT : SELECT_FROM_QC;
		found = true;
	}
}

static int parent_known(const struct view_lookup *look, struct block_ref *at,
			struct missing *missing)
{
	struct block_ref parent;
	if (look && look->parent_of && look->parent_of(look->arg, at, &parent)) {
		*at = parent;
		return ERR_NONE;
	}
	if (missing) {
		missing->kind = MISSING_BLOCK;
		missing->block = *at;
		missing->hash = at->hash;
	}
	return ERR_NOT_FOUND;
}

/* Down from both to where they meet; the way goes into the tree, for the walk up. */
static int common_ancestor(struct tree *t, const struct block_ref *a, const struct block_ref *b,
			   const struct view_lookup *look, struct block_ref *out,
			   struct missing *missing)
{
	struct block_ref x = *a, y = *b;
	while (!same_base(&x, &y)) {
		struct block_ref *high = x.height >= y.height ? &x : &y;
		struct block_ref child = *high;
		if (high->height == 0)
			return ERR_BAD_LINK;
		int err = parent_known(look, high, missing);
		if (err)
			return err;
		tree_add(t, &child, high);
	}
	*out = x;
	return ERR_NONE;
}

static int shared_base(struct selection *out, struct tree *t, const struct view_lookup *look,
		       struct missing *missing)
{
	bool found = false;
	out->from = SELECT_FROM_TC;
	for (unsigned i = 0; i < t->count; i++) {
		const struct block_ref *base = &t->tip[i]->position.tc.base;
		if (!found) {
			out->base = *base;
			found = true;
		} else if (!same_base(&out->base, base)) {
			struct block_ref both;
			int err = common_ancestor(t, &out->base, base, look, &both, missing);
			if (err)
				return err;
			out->base = both;
			out->from = SELECT_FROM_ANCESTOR;
		}
	}
	return ERR_NONE;
}

/* ---- conflict ---------------------------------------------------------------------------- */

static bool in_conflict(const struct tree *t, const struct selection *s)
{
	const struct block_ref *named = NULL;
	for (unsigned i = 0; i < t->count; i++) {
		const struct position *p = &t->tip[i]->position;
		if (names_base(p)) {
			if (named && !same_base(named, &p->tc.base))
				return true;
			named = &p->tc.base;
		}
		if (!on_one_chain(t, &p->tip, &s->base))
			return true;
		for (unsigned j = 0; j < i; j++)
			if (!on_one_chain(t, &p->tip, &t->tip[j]->position.tip))
				return true;
	}
	return false;
}

/* From base, at each height to the child on whose branch at least s of S have their tip. */
static void walk_up(struct tree *t, struct selection *out, unsigned support)
{
	for (unsigned i = 0; i < t->count; i++) {
		struct block_ref at = t->tip[i]->position.tip;
		struct place *p;
		while (at.height > out->base.height && (p = map_get(&t->by_hash, at.hash.b))) {
			p->support++;
			at = p->parent;
		}
	}
	bool moved = true;
	while (moved) {
		moved = false;
		struct place *p;
		for (size_t i = 0; (p = map_next(&t->by_hash, &i, NULL)) != NULL;) {
			if (p->support < support || !same_base(&p->parent, &out->base))
				continue;
			out->base = p->ref;
			out->walked++;
			moved = true;
			break;
		}
	}
}

static void longest_tip(const struct tree *t, struct selection *out)
{
	for (unsigned i = 0; i < t->count; i++)
		if (t->tip[i]->position.tip.height > out->base.height)
			out->base = t->tip[i]->position.tip;
}

/* ---- all of it --------------------------------------------------------------------------- */

/* Tips of tau, but for those below its highest checkpoint in S. */
static void collect_tips(struct tree *t, const struct view_change *const *vc, unsigned count,
			 uint64_t tau)
{
	uint64_t checkpoint = 0;
	for (unsigned i = 0; i < count; i++) {
		const struct position *p = &vc[i]->position;
		if (p->tip.term == tau && p->has_checkpoint && p->checkpoint.ref.height > checkpoint)
			checkpoint = p->checkpoint.ref.height;
	}
	for (unsigned i = 0; i < count; i++)
		if (vc[i]->position.tip.term == tau && vc[i]->position.tip.height >= checkpoint) {
			t->tip[t->count++] = vc[i];
			tree_show(t, &vc[i]->position);
		}
}

static int choose(struct selection *out, struct tree *t, const struct view_change *const *vc,
		  unsigned count, const struct chain_ctx *ctx, const struct view_lookup *look,
		  struct missing *missing)
{
	if (!MUTANT(MUTANT_TC_BASE_DESPITE_QC))
		certified_base(out, t);
	if (!out->from) {
		int err = shared_base(out, t, look, missing);
		if (err)
			return err;
	}
	out->conflict = in_conflict(t, out);
	if (!out->conflict) {
		if (!MUTANT(MUTANT_CERTIFIED_ONLY))
			longest_tip(t, out);
		return ERR_NONE;
	}
	for (unsigned i = 0; i < count; i++)
		if (vc[i]->signer == out->leader && !MUTANT(MUTANT_CULPRIT_IN_SET))
			return ERR_CULPRIT;
	walk_up(t, out, ctx->quorum.s - MUTANT(MUTANT_LESS_SUPPORT));
	return ERR_NONE;
}

int select_base(struct selection *out, const struct view_change *const *vc, unsigned count,
		const struct chain_ctx *ctx, const struct view_lookup *look,
		struct missing *missing)
{
	*out = (struct selection){0};
	for (unsigned i = 0; i < count; i++)
		if (vc[i]->position.tip.term > out->tau)
			out->tau = vc[i]->position.tip.term;
	if (out->tau == ctx->start_term) {
		out->base = vc[0]->position.tip;
		out->from = SELECT_GENESIS;
		return ERR_NONE;
	}
	struct tree t = {.count = 0};
	map_init(&t.by_hash, out->tau);
	collect_tips(&t, vc, count, out->tau);
	out->leader = t.tip[0]->position.tc.leader;
	int err = choose(out, &t, vc, count, ctx, look, missing);
	tree_free(&t);
	return err;
}
