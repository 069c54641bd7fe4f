/* What the baselines send: their blocks, and the rules of their papers that a single message
 * can break, across restarts. */
#include "consensus/raft/message.h"
#include "sim/world.h"

static void check_blocks(struct sim *s, const struct crash_blocks *b)
{
	for (uint32_t i = 0; i < b->count; i++)
		check_header(s, &b->block[i]->sh.h, &b->block[i]->hash);
}

/* Raft, Election Safety: a server votes for one candidate in a term. */
static void check_raft_vote(struct sim *s, unsigned from, const struct message *m,
			    uint64_t term)
{
	struct sim_node *node = &s->node[from];
	if (term < node->voted_term || (term == node->voted_term && m->to != node->voted_for))
		sim_violation(s, SIM_SAFETY,
			      "replica %u votes in term %llu after another vote in term %llu",
			      from, (unsigned long long)term,
			      (unsigned long long)node->voted_term);
	node->voted_term = term;
	node->voted_for = m->to;
}

static void check_raft(struct sim *s, unsigned from, const struct message *m)
{
	struct raft_message in;
	if (raft_message_decode(&in, m->bytes)) {
		sim_violation(s, SIM_SAFETY, "replica %u sends what does not decode", from);
		return;
	}
	if (in.type == RAFT_APPEND) {
		check_blocks(s, &in.append.blocks);
		if (!in.append.blocks.count)
			s->result->lone_certificates += (uint64_t)__builtin_popcountll(m->to);
	}
	if (in.type == RAFT_VOTE && in.vote.granted)
		check_raft_vote(s, from, m, in.vote.term);
	raft_message_free(&in);
}

void check_sent_crash(struct sim *s, unsigned from, const struct message *m)
{
	if (sim_is_corrupt(s, from))
		return;
	check_raft(s, from, m);
}
