/* What the driver keeps for later, as deep copies: inputs that arrive while the engine is in a
 * step, and the messages and finals of outputs whose writes are not durable yet. Both are first
 * in, first out; entries are reused with their memory. */
#ifndef CONSENSUS_DRIVER_QUEUE_H
#define CONSENSUS_DRIVER_QUEUE_H

#include "consensus/engine.h"

/* ---- inputs ------------------------------------------------------------------------------ */

struct queued_input {
	struct queued_input *next;
	struct input in;
	struct writer bytes;   /* every variable part of in but the following */
	struct block **blocks; /* BLOCKS_READ: held */
	uint32_t block_count;
	struct cert *cert;
	struct term_cert *tc;
};
struct input_queue {
	struct queued_input *first, *last, *spare;
};

void input_queue_push(struct input_queue *q, const struct input *in);
struct queued_input *input_queue_pop(struct input_queue *q); /* NULL: empty */
void input_queue_release(struct input_queue *q, struct queued_input *e);
void input_queue_free(struct input_queue *q);

/* ---- effects ----------------------------------------------------------------------------- */

/* The held effects of one output, released when seq is durable. */
struct held_output {
	struct held_output *next;
	uint64_t seq;
	struct message *messages; /* their bytes are offsets into `bytes` until released */
	uint32_t message_count, message_cap;
	struct final_block *finals; /* blocks held */
	uint32_t final_count, final_cap;
	struct cert *
		*certs; /* copies, shared by the finals of one certificate; kept for reuse */
	uint32_t cert_count, certs_made, cert_cap;
	struct writer bytes;
};
struct held_queue {
	struct held_output *first, *last, *spare;
	uint32_t finals; /* in all of it */
};

/* Copies those messages of out that must wait, and all of its finals. */
void held_queue_push(struct held_queue *q, uint64_t seq, const struct output *out);
/* The first output if its seq is at most durable, else NULL. */
struct held_output *held_queue_pop(struct held_queue *q, uint64_t durable);
/* Their messages are lost; the finals are not. */
void held_queue_recall(struct held_queue *q);
void held_queue_release(struct held_queue *q, struct held_output *h);
void held_queue_free(struct held_queue *q);

#endif
