#include "consensus/multipaxos/message.h"

static uint64_t reader_ballot(struct reader *r)
{
	uint64_t ballot = reader_u64(r);
	if (ballot > BALLOT_MAX)
		reader_fail(r, ERR_RANGE);
	return ballot;
}

void paxos_prepare_encode(struct writer *w, const struct paxos_prepare *m)
{
	writer_u8(w, PAXOS_PREPARE);
	writer_u64(w, m->ballot);
	writer_u64(w, m->from);
}

void paxos_promise_encode(struct writer *w, const struct paxos_promise *m)
{
	writer_u8(w, PAXOS_PROMISE);
	writer_u64(w, m->ballot);
	writer_u64(w, m->final);
	writer_u32(w, m->total);
	writer_u32(w, m->first);
	crash_blocks_encode(w, &m->values);
	for (uint32_t i = 0; i < m->values.count; i++)
		writer_u64(w, m->ballot_of[i]);
}

static void promise_decode(struct reader *r, struct paxos_promise *m)
{
	m->values.count = 0;
	m->ballot = reader_ballot(r);
	m->final = reader_u64(r);
	m->total = reader_u32(r);
	m->first = reader_u32(r);
	crash_blocks_decode(r, &m->values);
	for (uint32_t i = 0; i < m->values.count; i++)
		m->ballot_of[i] = reader_ballot(r);
	if (m->first > m->total || m->values.count > m->total - m->first ||
	    (m->values.count == 0 && m->total != 0))
		reader_fail(r, ERR_RANGE);
}

void paxos_accept_encode(struct writer *w, const struct paxos_accept *m)
{
	writer_u8(w, PAXOS_ACCEPT);
	writer_u64(w, m->ballot);
	writer_u64(w, m->commit);
	crash_blocks_encode(w, &m->value);
}

static void accept_decode(struct reader *r, struct paxos_accept *m)
{
	m->value.count = 0;
	m->ballot = reader_ballot(r);
	m->commit = reader_u64(r);
	crash_blocks_decode(r, &m->value);
	if (m->value.count != 1)
		reader_fail(r, ERR_RANGE);
}

void paxos_accepted_encode(struct writer *w, const struct paxos_accepted *m)
{
	writer_u8(w, PAXOS_ACCEPTED);
	writer_u64(w, m->ballot);
	writer_u64(w, m->slot);
}

void paxos_news_encode(struct writer *w, uint8_t type, const struct paxos_news *m)
{
	writer_u8(w, type);
	writer_u64(w, m->ballot);
	writer_u64(w, m->commit);
}

void paxos_nack_encode(struct writer *w, const struct paxos_nack *m)
{
	writer_u8(w, PAXOS_NACK);
	writer_u64(w, m->ballot);
	writer_u64(w, m->promised);
}

void paxos_fetch_encode(struct writer *w, uint64_t from)
{
	writer_u8(w, PAXOS_FETCH);
	writer_u64(w, from);
}

void paxos_chosen_encode(struct writer *w, const struct paxos_chosen *m)
{
	writer_u8(w, PAXOS_CHOSEN);
	writer_u64(w, m->final);
	crash_blocks_encode(w, &m->blocks);
}

int paxos_message_decode(struct paxos_message *out, struct slice bytes)
{
	struct reader r;
	reader_init(&r, bytes);
	out->type = reader_u8(&r);
	switch (out->type) {
	case PAXOS_PREPARE:
		out->prepare.ballot = reader_ballot(&r);
		out->prepare.from = reader_u64(&r);
		break;
	case PAXOS_PROMISE:
		promise_decode(&r, &out->promise);
		break;
	case PAXOS_ACCEPT:
		accept_decode(&r, &out->accept);
		break;
	case PAXOS_ACCEPTED:
		out->accepted.ballot = reader_ballot(&r);
		out->accepted.slot = reader_u64(&r);
		break;
	case PAXOS_COMMIT:
	case PAXOS_HEARTBEAT:
	case PAXOS_HEARTBEAT_REPLY:
		out->news.ballot = reader_ballot(&r);
		out->news.commit = reader_u64(&r);
		break;
	case PAXOS_NACK:
		out->nack.ballot = reader_ballot(&r);
		out->nack.promised = reader_ballot(&r);
		break;
	case PAXOS_FETCH:
		out->fetch = reader_u64(&r);
		break;
	case PAXOS_CHOSEN:
		out->chosen.final = reader_u64(&r);
		crash_blocks_decode(&r, &out->chosen.blocks);
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
		paxos_message_free(out);
	return err;
}

void paxos_message_free(struct paxos_message *m)
{
	if (m->type == PAXOS_PROMISE)
		crash_blocks_free(&m->promise.values);
	else if (m->type == PAXOS_ACCEPT)
		crash_blocks_free(&m->accept.value);
	else if (m->type == PAXOS_CHOSEN)
		crash_blocks_free(&m->chosen.blocks);
}
