#include "consensus/crash/wire.h"

#include "base/mem.h"

const char *crash_message_name(uint8_t type)
{
	static const char *const names[CRASH_MESSAGE_TYPES] = {
		[CRASH_FORWARD] = "forward",
		[RAFT_APPEND] = "append_entries",
		[RAFT_APPENDED] = "append_entries_reply",
		[RAFT_HEARTBEAT] = "heartbeat",
		[RAFT_HEARTBEAT_REPLY] = "heartbeat_reply",
		[RAFT_PRE_VOTE_REQUEST] = "pre_vote_request",
		[RAFT_PRE_VOTE] = "pre_vote",
		[RAFT_VOTE_REQUEST] = "request_vote",
		[RAFT_VOTE] = "vote",
		[PAXOS_PREPARE] = "paxos_prepare",
		[PAXOS_PROMISE] = "promise",
		[PAXOS_ACCEPT] = "accept",
		[PAXOS_ACCEPTED] = "accepted",
		[PAXOS_COMMIT] = "paxos_commit",
		[PAXOS_HEARTBEAT] = "heartbeat",
		[PAXOS_HEARTBEAT_REPLY] = "heartbeat_reply",
		[PAXOS_NACK] = "nack",
		[PAXOS_FETCH] = "fetch",
		[PAXOS_CHOSEN] = "chosen",
	};
	return type < CRASH_MESSAGE_TYPES && names[type] ? names[type] : "unknown";
}

void crash_blocks_encode(struct writer *w, const struct crash_blocks *b)
{
	writer_u32(w, b->count);
	for (uint32_t i = 0; i < b->count; i++)
		block_encode(w, b->block[i]);
}

void crash_blocks_decode(struct reader *r, struct crash_blocks *out)
{
	out->count = 0;
	uint32_t count = reader_count(r, CRASH_BLOCKS_MAX, SIGNED_HEADER_SIZE);
	while (!r->err && out->count < count)
		if (block_decode(r, &out->block[out->count]) == ERR_NONE)
			out->count++;
}

void crash_blocks_free(struct crash_blocks *b)
{
	for (uint32_t i = 0; i < b->count; i++)
		block_drop(b->block[i]);
	b->count = 0;
}

bool crash_block_fits(const struct block *b, const struct chain_ctx *ctx)
{
	for (unsigned i = 0; i < SIGNATURE_SIZE; i++)
		if (b->sh.sig.b[i])
			return false;
	return b->sh.h.mode == MODE_FAST && header_check_form(&b->sh.h, ctx) == ERR_NONE;
}

void crash_txs_encode(struct writer *w, const struct slice *tx, uint32_t count)
{
	writer_u32(w, count);
	for (uint32_t i = 0; i < count; i++)
		writer_var(w, tx[i]);
}

void crash_txs_decode(struct reader *r, struct crash_txs *out)
{
	out->count = 0;
	uint32_t count = reader_count(r, CRASH_FORWARD_TXS_MAX, 4);
	for (uint32_t i = 0; i < count && !r->err; i++) {
		out->tx[i] = reader_var(r, TX_SIZE_MAX);
		out->count++;
	}
}
