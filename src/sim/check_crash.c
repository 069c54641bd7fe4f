/* What the baselines send: their blocks, and the rules of their papers that a single message
 * can break, across restarts. */
#include "consensus/multipaxos/message.h"
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

/* One value for a slot in a ballot: "different proposals have different numbers". */
static void check_proposal(struct sim *s, unsigned from, const struct paxos_accept *m)
{
	const struct block *v = m->value.block[0];
	uint8_t place[32] = {0};
	check_blocks(s, &m->value);
	store_be64(place, m->ballot);
	store_be64(place + 8, v->sh.h.height);
	struct known_header *k = map_get(&s->headers, v->hash.b);
	struct known_header *was = map_put(&s->places, place, k);
	if (was && was != k)
		sim_violation(s, SIM_SAFETY,
			      "replica %u proposes two values for slot %llu in ballot %llu",
			      from, (unsigned long long)v->sh.h.height,
			      (unsigned long long)m->ballot);
}

/* P1a: an acceptor accepts nothing in a ballot below one that it has promised, nor promises it.
 */
static void check_promise(struct sim *s, unsigned from, uint64_t ballot, bool promise)
{
	struct sim_node *node = &s->node[from];
	if (ballot < node->promised)
		sim_violation(s, SIM_SAFETY, "replica %u %s ballot %llu after promising %llu",
			      from, promise ? "promises" : "accepts in",
			      (unsigned long long)ballot, (unsigned long long)node->promised);
	if (promise)
		node->promised = ballot;
}

static void check_paxos(struct sim *s, unsigned from, const struct message *m)
{
	struct paxos_message in;
	if (paxos_message_decode(&in, m->bytes)) {
		sim_violation(s, SIM_SAFETY, "replica %u sends what does not decode", from);
		return;
	}
	if (in.type == PAXOS_ACCEPT)
		check_proposal(s, from, &in.accept);
	else if (in.type == PAXOS_PROMISE)
		check_blocks(s, &in.promise.values);
	else if (in.type == PAXOS_CHOSEN)
		check_blocks(s, &in.chosen.blocks);
	if (in.type == PAXOS_PROMISE || in.type == PAXOS_ACCEPTED)
		check_promise(s, from,
			      in.type == PAXOS_PROMISE ? in.promise.ballot : in.accepted.ballot,
			      in.type == PAXOS_PROMISE);
	paxos_message_free(&in);
}

void check_sent_crash(struct sim *s, unsigned from, const struct message *m)
{
	if (sim_is_corrupt(s, from))
		return;
	if (s->genesis.protocol == PROTOCOL_RAFT)
		check_raft(s, from, m);
	else
		check_paxos(s, from, m);
}
