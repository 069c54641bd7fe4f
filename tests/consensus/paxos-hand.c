#include "paxos-hand.h"

struct paper p;

void hand_begin(unsigned n)
{
	paper_begin(&p, PROTOCOL_MULTIPAXOS, n);
}

void hand_end(void)
{
	paper_agree(&p);
	paper_end(&p);
}

/* ---- messages by hand -------------------------------------------------------------------- */

void give_prepare(unsigned to, unsigned from, uint64_t ballot, uint64_t slot)
{
	struct writer w = {0};
	struct paxos_prepare m = {ballot, slot};
	paxos_prepare_encode(&w, &m);
	paper_give(&p, to, from, &w);
	writer_free(&w);
}

void give_accept(unsigned to, unsigned from, uint64_t ballot, uint64_t commit,
		 struct block *value)
{
	struct writer w = {0};
	struct paxos_accept *m = mem_zalloc(sizeof *m);
	m->ballot = ballot;
	m->commit = commit;
	m->value.count = 1;
	m->value.block[0] = value;
	paxos_accept_encode(&w, m);
	paper_give(&p, to, from, &w);
	writer_free(&w);
	mem_free(m);
}

void give_promise(unsigned to, unsigned from, uint64_t ballot, uint64_t final,
		  struct block **values, const uint64_t *ballots, uint32_t count)
{
	struct writer w = {0};
	struct paxos_promise *m = mem_zalloc(sizeof *m);
	m->ballot = ballot;
	m->final = final;
	m->total = m->values.count = count;
	for (uint32_t i = 0; i < count; i++) {
		m->values.block[i] = values[i];
		m->ballot_of[i] = ballots[i];
	}
	paxos_promise_encode(&w, m);
	paper_give(&p, to, from, &w);
	writer_free(&w);
	mem_free(m);
}

void give_accepted(unsigned to, unsigned from, uint64_t ballot, uint64_t slot)
{
	struct writer w = {0};
	struct paxos_accepted m = {ballot, slot};
	paxos_accepted_encode(&w, &m);
	paper_give(&p, to, from, &w);
	writer_free(&w);
}

void give_news(unsigned to, unsigned from, uint8_t type, uint64_t ballot, uint64_t commit)
{
	struct writer w = {0};
	struct paxos_news m = {ballot, commit};
	paxos_news_encode(&w, type, &m);
	paper_give(&p, to, from, &w);
	writer_free(&w);
}

bool first_sent(unsigned i, uint8_t type, struct paxos_message *out)
{
	struct paper_sent s;
	if (!paper_take(&p, i, type, &s))
		return false;
	ck_assert_int_eq(paxos_message_decode(out, writer_slice(&s.bytes)), ERR_NONE);
	writer_free(&s.bytes);
	return true;
}

bool promises(unsigned i, struct paxos_message *out)
{
	bool any = first_sent(i, PAXOS_PROMISE, out);
	paper_drop(&p, i);
	return any;
}

bool accepts(unsigned i, uint64_t ballot, uint64_t slot)
{
	struct paxos_message m;
	bool any = first_sent(i, PAXOS_ACCEPTED, &m);
	paper_drop(&p, i);
	return any && m.accepted.ballot == ballot && m.accepted.slot == slot;
}

struct block *proposed(unsigned i, uint64_t slot)
{
	struct paxos_message m;
	while (first_sent(i, PAXOS_ACCEPT, &m)) {
		struct block *b = block_hold(m.accept.value.block[0]);
		paxos_message_free(&m);
		if (b->sh.h.height == slot)
			return b;
		block_drop(b);
	}
	return NULL;
}

bool same(const struct block *a, const struct block *b)
{
	return a && b && hash_equal(&a->hash, &b->hash);
}

void make_values(struct values *v, const unsigned *ballots)
{
	v->slot[0] = block_hold(p.block0);
	for (v->length = 1; *ballots; ballots++, v->length++)
		v->slot[v->length] =
			paper_block(&p, v->slot[v->length - 1], *ballots, *ballots % p.n);
}

void free_values(struct values *v)
{
	while (v->length)
		block_drop(v->slot[--v->length]);
}

uint64_t preparing(unsigned i)
{
	struct paxos_message m;
	paper_time_out(&p, i);
	ck_assert(first_sent(i, PAXOS_PREPARE, &m));
	paper_drop(&p, i);
	return m.prepare.ballot;
}
