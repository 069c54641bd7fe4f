/* One step's output of an engine. Buffers are kept from step to step. */
#ifndef CONSENSUS_EMIT_H
#define CONSENSUS_EMIT_H

#include "consensus/engine.h"

struct emit {
	unsigned self, n;
	uint64_t withheld;  /* bit i: messages of type i go to nobody */
	uint64_t write_seq; /* of the newest output with writes */
	struct write *writes;
	uint32_t write_count, write_cap;
	struct writer *slots; /* bytes of WRITE_VOTES, WRITE_TC, WRITE_EVIDENCE */
	uint32_t slot_count, slot_cap;
	bool sync;
	struct message *messages;
	struct writer *bodies; /* of messages, by index */
	uint32_t message_count, message_cap, body_cap;
	struct final_block *finals;
	uint32_t final_count, final_cap;
	bool finals_wait;
	struct work *works;
	uint32_t work_count, work_cap;
	struct rejected_tx *rejected;
	uint32_t rejected_count, rejected_cap;
	struct block **held; /* released at the next step */
	uint32_t held_count, held_cap;
	char halt[256]; /* empty: go on */
};

void emit_begin(struct emit *o);
void emit_free(struct emit *o);
void emit_finish(struct emit *o, struct output *out);
static inline uint64_t emit_to(unsigned peer)
{
	return UINT64_C(1) << peer;
}
uint64_t emit_to_all(const struct emit *o); /* everybody but us */
/* The seq that this step's writes get. */
static inline uint64_t emit_seq(const struct emit *o)
{
	return o->write_seq + 1;
}

void emit_block(struct emit *o, struct block *b);
void emit_cert(struct emit *o, const struct cert *c); /* c lives until the next step */
/* The writers for the bytes. */
struct writer *emit_votes(struct emit *o, unsigned slot);
struct writer *emit_tc(struct emit *o, uint64_t term);
struct writer *emit_evidence(struct emit *o, const struct hash *id);
void emit_outdated(struct emit *o);
void emit_sync(struct emit *o); /* this step's writes */
/* The writer to encode the message into; not to ourselves. An empty mask is fine. */
struct writer *emit_message(struct emit *o, uint64_t mask, enum message_class class,
			    uint8_t type);
/* The newest message need not wait for the disk. */
void emit_at_once(struct emit *o);
void emit_final(struct emit *o, struct block *b, const struct cert *c);
/* Some message of this step waits for the disk. */
bool emit_waits(const struct emit *o);
void emit_finals_wait(struct emit *o);
struct work *emit_work(struct emit *o, enum work_kind kind);
void emit_hold(struct emit *o, struct block *b);
void emit_rejected(struct emit *o, const struct hash *id, int err);
void emit_halt(struct emit *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
