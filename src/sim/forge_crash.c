/* The one lie that matters to the baselines: a leader that tells two stories. Raft and
 * Multi-Paxos number what they replicate and believe who sends it, so that the answers of both
 * sides count together. */
#include "consensus/multipaxos/message.h"
#include "consensus/raft/message.h"
#include "sim/adversary_private.h"

static const struct twin *twin_of(const struct adversary *a, const struct hash *hash)
{
	for (unsigned i = 0; i < TWINS_MAX; i++)
		if (hash_equal(&a->twins[i].ref.hash, hash))
			return &a->twins[i];
	return NULL;
}

/* The other side's version of a block of ours, on top of its version of the parent: the same
 * transactions a millisecond later. A reference of the caller's; b itself if there is none. */
static struct block *other_version(struct adversary *a, struct block *b)
{
	struct signed_header sh = {.h = b->sh.h};
	const struct twin *parent = twin_of(a, &b->sh.h.prev), *known = twin_of(a, &b->hash);
	struct block *other;
	if (b->sh.h.leader != a->self || (a->diverged && !parent && !known))
		return block_hold(b);
	if (parent)
		sh.h.prev = parent->other.hash;
	sh.h.time_ms++;
	if (block_new(&other, &sh, slice_of(b->body, b->body_size)))
		return block_hold(b);
	if (!known)
		a->twins[a->twins_next++ % TWINS_MAX] =
			(struct twin){block_ref_of(b), block_ref_of(other)};
	a->diverged = true;
	return other;
}

static void other_versions(struct adversary *a, struct crash_blocks *blocks)
{
	for (uint32_t i = 0; i < blocks->count; i++) {
		struct block *other = other_version(a, blocks->block[i]);
		block_drop(blocks->block[i]);
		blocks->block[i] = other;
	}
}

static bool equivocate_raft(struct adversary *a, const struct message *m)
{
	struct raft_message *in = mem_zalloc(sizeof *in);
	if (raft_message_decode(in, m->bytes)) {
		mem_free(in);
		return false;
	}
	bool done = in->append.blocks.count > 0;
	if (done) {
		adversary_pass(a, m, m->to & ~a->targets);
		other_versions(a, &in->append.blocks);
		raft_append_encode(adversary_emit(a, m->to & a->targets, m->class, RAFT_APPEND),
				   RAFT_APPEND, &in->append);
		adversary_struck(a, ATTACK_EQUIVOCATE);
	}
	raft_message_free(in);
	mem_free(in);
	return done;
}

static bool equivocate_paxos(struct adversary *a, const struct message *m)
{
	struct paxos_message *in = mem_zalloc(sizeof *in);
	bool done = paxos_message_decode(in, m->bytes) == ERR_NONE;
	if (done) {
		adversary_pass(a, m, m->to & ~a->targets);
		other_versions(a, &in->accept.value);
		paxos_accept_encode(
			adversary_emit(a, m->to & a->targets, m->class, PAXOS_ACCEPT),
			&in->accept);
		adversary_struck(a, ATTACK_EQUIVOCATE);
		paxos_message_free(in);
	}
	mem_free(in);
	return done;
}

bool crash_rewrite(struct adversary *a, const struct message *m)
{
	if (!adversary_does(a, ATTACK_EQUIVOCATE))
		return false;
	if (m->type == RAFT_APPEND)
		return equivocate_raft(a, m);
	return m->type == PAXOS_ACCEPT && equivocate_paxos(a, m);
}
