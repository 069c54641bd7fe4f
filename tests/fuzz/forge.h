/* What a fuzzer needs to get past signatures and hashes: everybody's keys, and messages mended so
 * that a changed field is the only thing wrong with them. Signatures are symbolic. */
#ifndef TESTS_FUZZ_FORGE_H
#define TESTS_FUZZ_FORGE_H

#include "consensus/hybrid/message.h"
#include "sim/world.h"
#include "tests/fuzz/fuzz.h"

/* A chain of the simulator's, never freed. n is one of a few sizes; calm: long checkpoint
 * intervals. */
struct sim *forge_world(unsigned n, enum protocol protocol, bool calm);

#define FORGE_KNOWN 128
struct forge {
	const struct chain_ctx *ctx;
	const struct sim_node *nodes; /* for keys */
	struct hash genesis;
	/* blocks that exist, so that what refers to a block of some height can be made to refer to
	 * one that exists; a ring */
	struct {
		struct block_ref ref;
		struct signed_header sh;
	} known[FORGE_KNOWN];
	uint32_t next;
	struct message_in *in; /* scratch */
};
void forge_init(struct forge *f, const struct sim *world);
void forge_free(struct forge *f);
void forge_learn(struct forge *f, const struct block *b);
/* Learns the blocks of a message that was sent. */
void forge_listen(struct forge *f, struct slice message);

enum forge_flags {
	FORGE_SIGN = 1,	  /* every statement is signed by whom it names */
	FORGE_REFS = 2,	  /* references to blocks unknown become ones to known blocks */
	FORGE_BLOCKS = 4, /* roots, counts and sizes in headers are those of the bodies */
};
/* The message mended as flags say: false if it does not decode even then; out has it as it was.
 */
bool forge_mend(struct forge *f, struct slice message, unsigned flags, struct writer *out);

void forge_sign_vote(const struct forge *f, struct vote *v);
void forge_sign_cert(const struct forge *f, struct cert *c);
void forge_sign_tc(const struct forge *f, struct term_cert *tc, unsigned flags);
void forge_sign_position(struct forge *f, struct position *p, unsigned flags);
void forge_sign_view_change(struct forge *f, struct view_change *v, unsigned flags);
void forge_sign_new_view(struct forge *f, struct new_view *nv, unsigned flags);
void forge_sign_header(const struct forge *f, struct signed_header *sh);
/* Encoded evidence with its statements signed; as it was if it does not decode. */
void forge_sign_evidence(struct forge *f, struct slice evidence, struct writer *out);

/* Encodes what message_decode() gave. */
void message_encode(struct writer *w, const struct message_in *m);

#endif
