/* Message types of the baselines and what their encodings share. Numbers follow those of
 * consensus/hybrid/message.h in one space, and none is ever reused. Messages are unsigned, as
 * in the papers: the link authenticates the sender. Formats: docs/wire-format.md. */
#ifndef CONSENSUS_CRASH_WIRE_H
#define CONSENSUS_CRASH_WIRE_H

#include "consensus/engine.h"

enum crash_message_type {
	CRASH_FORWARD = 32, /* transactions to the leader */
	RAFT_APPEND = 33, /* AppendEntries with entries, or with nothing but news of commits */
	RAFT_APPENDED = 34,
	RAFT_HEARTBEAT = 35, /* AppendEntries without entries, and its answer */
	RAFT_HEARTBEAT_REPLY = 36,
	RAFT_PRE_VOTE_REQUEST = 37,
	RAFT_PRE_VOTE = 38,
	RAFT_VOTE_REQUEST = 39,
	RAFT_VOTE = 40,
	PAXOS_PREPARE = 48,
	PAXOS_PROMISE = 49,
	PAXOS_ACCEPT = 50,
	PAXOS_ACCEPTED = 51,
	PAXOS_COMMIT = 52, /* what is chosen, when no ACCEPT is there to say it */
	PAXOS_HEARTBEAT = 53,
	PAXOS_HEARTBEAT_REPLY = 54,
	PAXOS_NACK = 55,
	PAXOS_FETCH = 56,
	PAXOS_CHOSEN = 57,
	CRASH_MESSAGE_TYPES
};
const char *crash_message_name(uint8_t type); /* "append_entries", ...; "unknown" */

#define CRASH_BLOCKS_MAX      128	 /* in one message */
#define CRASH_BLOCKS_BYTES    (2u << 20) /* soft: one block more */
#define CRASH_FORWARD_TXS_MAX 1024
#define CRASH_FORWARD_BYTES   (1u << 20)

/* Blocks, each with a reference. */
struct crash_blocks {
	uint32_t count;
	struct block *block[CRASH_BLOCKS_MAX];
};
void crash_blocks_encode(struct writer *w, const struct crash_blocks *b);
void crash_blocks_decode(struct reader *r, struct crash_blocks *out); /* free in any case */
void crash_blocks_free(struct crash_blocks *b);
/* A block as the baselines make them: this chain's, and without a signature. */
bool crash_block_fits(const struct block *b, const struct chain_ctx *ctx);

struct crash_txs {
	uint32_t count;
	struct slice tx[CRASH_FORWARD_TXS_MAX]; /* borrowed */
};
void crash_txs_encode(struct writer *w, const struct slice *tx, uint32_t count);
void crash_txs_decode(struct reader *r, struct crash_txs *out);

#endif
