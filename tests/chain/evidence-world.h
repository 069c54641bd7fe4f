/* Four validators and what they can sign, for the tests of evidence. */
#ifndef TESTS_CHAIN_EVIDENCE_WORLD_H
#define TESTS_CHAIN_EVIDENCE_WORLD_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "chain/evidence.h"
#include "chain/select.h"
#include "chain/system.h"

#define N 4 /* f = 1, q = qf = qv = 3 */
extern struct genesis genesis;
extern struct chain_ctx ctx;
extern struct keypair keys[N];
extern struct block_ref zero; /* the genesis block */

void world_setup(void);
void world_teardown(void);

/* A header of (term, height) on prev; the base is base. Fast, by leader. mark makes it differ.
 */
struct signed_header make_header(uint64_t term, uint64_t height, unsigned leader,
				 const struct hash *prev, const struct block_ref *base,
				 unsigned mark);
void sign_header(struct signed_header *sh); /* again, after a change */
struct block_ref ref_of(const struct header *h);
/* headers[0..count) of one term, headers[0] right on base. */
void make_chain(struct signed_header *headers, unsigned count, uint64_t term, unsigned leader,
		const struct block_ref *base, unsigned mark);

struct vote make_vote(enum vote_kind kind, const struct block_ref *ref, unsigned signer);
void make_cert(struct cert *out, enum cert_kind kind, const struct block_ref *ref);
struct term_vote make_term_vote(uint64_t term, unsigned leader, const struct block_ref *base,
				unsigned signer);

/* A view change for term whose tip is the last of headers[0..count), which show the chain down
 * to base. No certificates yet; sign_view_change() when they are in. */
struct view_change make_view_change(uint64_t term, unsigned signer,
				    const struct signed_header *headers, unsigned count,
				    const struct block_ref *base);
void sign_view_change(struct view_change *v);
/* The primary's, of the qv view changes vc, which it takes over. */
struct new_view make_new_view(uint64_t term, struct view_change *vc, unsigned count);
void sign_new_view(struct new_view *nv, unsigned signer);

/* A block of one transaction each. */
struct block *make_block(uint64_t term, uint64_t height, unsigned leader,
			 const struct slice *txs, const enum tx_result *results,
			 uint32_t count);

/* A transaction is invalid by its bytes if it says "bad". */
bool tx_is_bad(const struct chain_ctx *c, struct slice tx);

/* Checks that *e proves its offence, also after a round trip, and that nothing near it does. */
void proves(const struct evidence *e);
/* And that it proves nothing. */
void innocent(const struct evidence *e);
/* Two statements held against culprit in canonical order, whatever they are; and one. */
struct evidence against(unsigned culprit, enum evidence_kind kind, enum statement_kind a,
			const struct writer *wa, enum statement_kind b,
			const struct writer *wb);

Suite *proofs_suite(void);
Suite *innocence_suite(void);

#endif
