/* [I1], of finality: no certificate that a correct replica believes counts a vote of its own
 * that a crash could take back. */
#include "consensus/hybrid/message.h"
#include "replica/private.h"
#include "sim/world.h"

static struct own_block *own_block_at(struct sim *s, unsigned node, uint64_t height)
{
	return &s->node[node].own[height % OWN_BLOCKS];
}

/* A fast leader's block leaves before it is durable, and is so with the sync asked for last. */
void note_own_block(struct sim *s, unsigned from, const struct msg_append *m)
{
	struct sim_node *node = &s->node[from];
	if (sim_is_corrupt(s, from))
		return;
	for (uint32_t i = 0; i < m->count; i++) {
		const struct block *b = m->blocks[i];
		struct own_block *own = own_block_at(s, from, b->sh.h.height);
		if (b->sh.h.leader != from || hash_equal(&own->hash, &b->hash))
			continue;
		*own = (struct own_block){
			.hash = b->hash, .sync = node->sync_asked, .life = node->life};
	}
}

/* The mode of the term that the certificate is of: b's, unless a descendant's makes b final. */
static enum mode mode_of_cert(struct sim *s, unsigned node, const struct block *b,
			      const struct cert *c)
{
	struct block *own;
	enum mode mode = b->sh.h.mode;
	if (hash_equal(&c->ref.hash, &b->hash) || !s->node[node].replica ||
	    records_block(s->node[node].replica, c->ref.height, &c->ref.hash, &own))
		return mode;
	mode = own->sh.h.mode;
	block_drop(own);
	return mode;
}

void check_own_word(struct sim *s, unsigned node, const struct block *b, const struct cert *c)
{
	const struct own_block *own = own_block_at(s, node, b->sh.h.height);
	if (s->options.intercept) /* it may have swallowed the vote on its way to us */
		return;
	/* Who votes not counts what others have of its number: of the life whose disk it lost.
	 */
	if (sim_may_forget(s, node) ||
	    (s->node[node].replica && replica_observes(s->node[node].replica)))
		return;
	if (!(c->signers >> node & 1))
		return;
	/* In pbft mode a COMMIT of one's own counts at once, and leaves when it is durable. The
	 * end of an epoch may be final by that of a filler. */
	if (c->kind == CERT_TWO_ROUND && position_compare(&s->node[node].commit, &c->ref) < 0 &&
	    mode_of_cert(s, node, b, c) == MODE_PBFT)
		sim_violation(s, SIM_SAFETY,
			      "[I1] replica %u finalises block %llu by a COMMIT of its own "
			      "that may not be durable",
			      node, (unsigned long long)b->sh.h.height);
	if (b->sh.h.mode == MODE_FAST && hash_equal(&c->ref.hash, &b->hash) &&
	    hash_equal(&own->hash, &b->hash) && own->life == s->node[node].life &&
	    own->sync > s->node[node].sync_done)
		sim_violation(
			s, SIM_SAFETY,
			"[I1] replica %u finalises its block %llu by a PREPARE of its own "
			"that may not be durable",
			node, (unsigned long long)b->sh.h.height);
}
