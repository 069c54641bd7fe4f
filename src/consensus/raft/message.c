#include "consensus/raft/message.h"

/* Terms rise by one at a time: beyond this somebody lies, and adding to it stays harmless. */
#define RAFT_TERM_MAX (UINT64_C(1) << 62)

static uint64_t reader_term(struct reader *r)
{
	uint64_t term = reader_u64(r);
	if (term > RAFT_TERM_MAX)
		reader_fail(r, ERR_RANGE);
	return term;
}

void raft_append_encode(struct writer *w, uint8_t type, const struct raft_append *m)
{
	writer_u8(w, type);
	writer_u64(w, m->term);
	writer_u64(w, m->prev_index);
	writer_u64(w, m->prev_term);
	writer_u64(w, m->commit);
	if (type == RAFT_APPEND)
		crash_blocks_encode(w, &m->blocks);
}

static void append_decode(struct reader *r, uint8_t type, struct raft_append *m)
{
	m->term = reader_term(r);
	m->prev_index = reader_u64(r);
	m->prev_term = reader_u64(r);
	m->commit = reader_u64(r);
	m->blocks.count = 0;
	if (type == RAFT_APPEND)
		crash_blocks_decode(r, &m->blocks);
	/* entries follow each other from prev on */
	for (uint32_t i = 0; i < m->blocks.count && !r->err; i++) {
		const struct header *h = &m->blocks.block[i]->sh.h;
		if (m->prev_index >= UINT64_MAX - CRASH_BLOCKS_MAX ||
		    h->height != m->prev_index + 1 + i || h->term > m->term)
			reader_fail(r, ERR_RANGE);
	}
}

void raft_appended_encode(struct writer *w, uint8_t type, const struct raft_appended *m)
{
	writer_u8(w, type);
	writer_u64(w, m->term);
	writer_u8(w, m->success);
	writer_u64(w, m->index);
}

void raft_vote_request_encode(struct writer *w, uint8_t type, const struct raft_vote_request *m)
{
	writer_u8(w, type);
	writer_u64(w, m->term);
	writer_u64(w, m->last_index);
	writer_u64(w, m->last_term);
}

void raft_vote_encode(struct writer *w, uint8_t type, const struct raft_vote *m)
{
	writer_u8(w, type);
	writer_u64(w, m->term);
	writer_u8(w, m->granted);
}

int raft_message_decode(struct raft_message *out, struct slice bytes)
{
	struct reader r;
	reader_init(&r, bytes);
	out->type = reader_u8(&r);
	switch (out->type) {
	case RAFT_APPEND:
	case RAFT_HEARTBEAT:
		append_decode(&r, out->type, &out->append);
		break;
	case RAFT_APPENDED:
	case RAFT_HEARTBEAT_REPLY:
		out->appended.term = reader_term(&r);
		out->appended.success = reader_bool(&r);
		out->appended.index = reader_u64(&r);
		break;
	case RAFT_PRE_VOTE_REQUEST:
	case RAFT_VOTE_REQUEST:
		out->vote_request.term = reader_term(&r);
		out->vote_request.last_index = reader_u64(&r);
		out->vote_request.last_term = reader_u64(&r);
		break;
	case RAFT_PRE_VOTE:
	case RAFT_VOTE:
		out->vote.term = reader_term(&r);
		out->vote.granted = reader_bool(&r);
		break;
	case CRASH_FORWARD:
		crash_txs_decode(&r, &out->txs);
		break;
	default:
		reader_fail(&r, ERR_UNSUPPORTED);
		break;
	}
	int err = reader_finish(&r);
	if (err)
		raft_message_free(out);
	return err;
}

void raft_message_free(struct raft_message *m)
{
	if (m->type == RAFT_APPEND)
		crash_blocks_free(&m->append.blocks);
}
