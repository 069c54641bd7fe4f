#include "raft-hand.h"

struct paper p;

void hand_begin(unsigned n)
{
	paper_begin(&p, PROTOCOL_RAFT, n);
}

void hand_end(void)
{
	paper_agree(&p);
	paper_end(&p);
}

/* ---- messages by hand -------------------------------------------------------------------- */

void give_vote_request(unsigned to, unsigned from, uint64_t term, uint64_t last_index,
		       uint64_t last_term)
{
	struct writer w = {0};
	struct raft_vote_request m = {term, last_index, last_term};
	raft_vote_request_encode(&w, RAFT_VOTE_REQUEST, &m);
	paper_give(&p, to, from, &w);
	writer_free(&w);
}

void give_vote(unsigned to, unsigned from, uint8_t type, uint64_t term, bool granted)
{
	struct writer w = {0};
	struct raft_vote m = {term, granted};
	raft_vote_encode(&w, type, &m);
	paper_give(&p, to, from, &w);
	writer_free(&w);
}

void give_append(unsigned to, unsigned from, uint64_t term, const struct block *prev,
		 uint64_t commit, struct block **blocks, uint32_t count)
{
	struct writer w = {0};
	struct raft_append *m = mem_zalloc(sizeof *m);
	m->term = term;
	m->prev_index = prev->sh.h.height;
	m->prev_term = prev->sh.h.term;
	m->commit = commit;
	m->blocks.count = count;
	for (uint32_t i = 0; i < count; i++)
		m->blocks.block[i] = blocks[i];
	raft_append_encode(&w, count ? RAFT_APPEND : RAFT_HEARTBEAT, m);
	paper_give(&p, to, from, &w);
	writer_free(&w);
	mem_free(m);
}

void give_appended(unsigned to, unsigned from, uint64_t term, bool success, uint64_t index)
{
	struct writer w = {0};
	struct raft_appended m = {term, success, index};
	raft_appended_encode(&w, RAFT_APPENDED, &m);
	paper_give(&p, to, from, &w);
	writer_free(&w);
}

bool last_sent(unsigned i, uint8_t type, struct raft_message *out)
{
	struct paper_sent s;
	bool any = false;
	while (paper_take(&p, i, type, &s)) {
		if (any)
			raft_message_free(out);
		ck_assert_int_eq(raft_message_decode(out, writer_slice(&s.bytes)), ERR_NONE);
		writer_free(&s.bytes);
		any = true;
	}
	paper_drop(&p, i);
	return any;
}

bool voted(unsigned i)
{
	struct raft_message m;
	return last_sent(i, RAFT_VOTE, &m) && m.vote.granted;
}

bool took(unsigned i, uint64_t *index)
{
	struct raft_message m;
	uint8_t type =
		paper_sent_count(&p, i, RAFT_APPENDED) ? RAFT_APPENDED : RAFT_HEARTBEAT_REPLY;
	ck_assert(last_sent(i, type, &m));
	*index = m.appended.index;
	return m.appended.success;
}

void make_chain(struct chain *c, const unsigned *terms)
{
	c->block[0] = block_hold(p.block0);
	for (c->length = 1; *terms; terms++, c->length++)
		c->block[c->length] =
			paper_block(&p, c->block[c->length - 1], *terms, *terms % p.n);
}
void free_chain(struct chain *c)
{
	while (c->length)
		block_drop(c->block[--c->length]);
}
void give_chain(unsigned i, unsigned from, uint64_t term, struct chain *c)
{
	uint64_t index;
	give_append(i, from, term, c->block[0], 0, &c->block[1], c->length - 1);
	ck_assert(took(i, &index));
	ck_assert_uint_eq(index, c->length - 1);
}
