/* Term certificates, positions, view changes (protocol sections 2, 3 and 5).
 *
 * TC(t) of a fast term: q term votes on (t, leader, base). TC(t) of a pbft term: the NEW-VIEW
 * of primary(t) with its qv view changes, which fix its base by select_base(). */
#ifndef CHAIN_TERM_H
#define CHAIN_TERM_H

#include "chain/vote.h"

/* "I follow leader in fast term `term`, on base." SIG_TAG_TERM_VOTE */
struct term_vote {
	uint64_t term;
	uint16_t leader;
	struct block_ref base;
	uint16_t signer;
	struct signature sig;
};
void term_vote_encode(struct writer *w, const struct term_vote *v);
void term_vote_decode(struct reader *r, struct term_vote *out);
void term_vote_sign(struct term_vote *v, const struct chain_ctx *ctx,
		    const struct keypair *key);
int term_vote_check(const struct term_vote *v, const struct chain_ctx *ctx);

struct new_view; /* below */

struct term_cert {
	enum mode mode;
	/* That of the block which the epoch begins with: no signatures, {fast, that term, base =
	 * that block, leader 0}. */
	uint64_t term;
	/* fast */
	uint16_t leader;
	struct block_ref base;
	uint64_t signers;
	unsigned count;
	struct signature sig[VALIDATORS_MAX];
	/* pbft: the NEW-VIEW, by its hash, which every header of the term names. Full form: the
	 * NEW-VIEW itself too (owned). Reference form (inside positions, so that certificates
	 * do not nest in certificates without bound): NULL. leader = primary(term); base is not
	 * encoded: checking fills it in. */
	struct hash new_view_hash;
	struct new_view *new_view;
};

void term_cert_init(struct term_cert *tc); /* the certificate of no term; owns nothing */
void term_cert_free(struct term_cert *tc); /* contents only */
void term_cert_copy(struct term_cert *out, const struct term_cert *tc); /* deep; out is raw */
void term_cert_copy_ref(struct term_cert *out, const struct term_cert *tc); /* out is raw */
void term_cert_encode(struct writer *w, const struct term_cert *tc);	    /* full form */
void term_cert_decode(struct reader *r, struct term_cert *out);
/* Fast: the same. pbft: {mode, term, hash of the NEW-VIEW}. */
void term_cert_encode_ref(struct writer *w, const struct term_cert *tc);
void term_cert_decode_ref(struct reader *r, struct term_cert *out);

/* What the checker knows besides the bytes. Each member may be NULL. Answers must be true: all
 * replicas then come to the same result, or do not know yet. */
struct view_lookup {
	void *arg;
	/* The base that this NEW-VIEW fixes, if it was checked here before. */
	bool (*base_of)(void *arg, uint64_t term, const struct hash *new_view,
			struct block_ref *base);
	/* The parent of a block whose header is known here. */
	bool (*parent_of)(void *arg, const struct block_ref *block, struct block_ref *parent);
	/* This header, with this very signature, was checked here before (saves the signature
	 * check; false is always right). */
	bool (*is_checked)(void *arg, const struct signed_header *sh, const struct hash *hash);
};
/* With ERR_NOT_FOUND: what must be fetched before the check can be answered. */
struct missing {
	enum { MISSING_NONE, MISSING_NEW_VIEW, MISSING_BLOCK } kind;
	uint64_t term;		/* NEW_VIEW */
	struct hash hash;	/* of the NEW-VIEW or block */
	struct block_ref block; /* BLOCK */
};

/* Signatures and quorum of a fast term's. */
int fast_cert_check(const struct term_cert *tc, const struct chain_ctx *ctx);
/* Of either mode: for pbft (full form only) all of new_view_check(), and fills in base. */
int term_cert_check(struct term_cert *tc, const struct chain_ctx *ctx,
		    const struct hash *genesis, const struct view_lookup *look,
		    struct missing *missing);

/* What a candidate or a view change shows of its log. */
#define POSITION_HEADERS_MAX 4096
struct position {
	struct block_ref tip;
	struct term_cert tc; /* TC(tip.term), in reference form */
	bool has_checkpoint; /* stable checkpoint above the base, of tip.term */
	struct cert checkpoint;
	bool has_qc;
	struct cert qc;	       /* high QC; counts only if of tip.term */
	uint32_t header_count; /* tip first, down to the child of the base or checkpoint */
	struct signed_header *headers; /* owned */
};
void position_init(struct position *p);
void position_free(struct position *p);
void position_encode(struct writer *w, const struct position *p);
void position_decode(struct reader *r, struct position *out); /* free in any case */
/* Valid for term `for_term`, without the bodies: tip.term < for_term, headers
 * link and are signed, all of tip.term, its leader, mode, base and NEW-VIEW; certificates
 * verify; a QC of tip.term lies on the chain (one of another term is refused;
 * position_qc() is the one that counts). pbft: fills in tc.base, from its headers if a QC or
 * checkpoint of the tip's term is shown (it replaces the TC), else from look: ERR_NOT_FOUND
 * with *missing if that does not know. Changes nothing that is encoded. genesis: hash of the
 * block that the epoch begins with. */
int position_check(struct position *p, uint64_t for_term, const struct chain_ctx *ctx,
		   const struct hash *genesis, const struct view_lookup *look,
		   struct missing *missing);
/* The QC that counts: of tip.term and above the checkpoint shown; or NULL. */
const struct cert *position_qc(const struct position *p);
/* p.tip equals ref or has it as an ancestor, as far as p's headers, base and checkpoint show.
 */
bool position_extends(const struct position *p, const struct block_ref *ref);

enum escalation_reason { /* in the ledger: never reuse a number */
			 REASON_NONE = 0,
			 REASON_PROOF = 1,     /* E1 */
			 REASON_SIGNATURE = 2, /* E2: failing signatures on the leader's link */
			 REASON_CENSORSHIP = 3, /* E2 */
			 REASON_SLOW = 4,	/* E2 */
			 REASON_TIMEOUTS = 5,	/* E3 */
			 REASON_JOIN = 6,	/* E4 */
};
const char *escalation_reason_name(enum escalation_reason r);
/* A view change without what it shows: enough to claim a term. Signed (SIG_TAG_VIEW_CHANGE)
 * are all fields before sig, of which digest (HASH_VIEW_CHANGE) covers position and stable. */
struct view_claim {
	uint64_t term;
	enum escalation_reason reason;
	uint64_t last_mode_change;
	struct hash digest;
	uint16_t signer;
	struct signature sig;
};
void view_claim_encode(struct writer *w, const struct view_claim *c);
void view_claim_decode(struct reader *r, struct view_claim *out);
int view_claim_check(const struct view_claim *c, const struct chain_ctx *ctx);

/* VIEW-CHANGE for pbft term `term`. */
struct view_change {
	uint64_t term;
	enum escalation_reason reason;
	struct position position;
	bool has_stable; /* newest stable checkpoint */
	struct cert stable;
	uint64_t last_mode_change; /* height of the newest final mode entry, 0: none yet */
	uint16_t signer;
	struct signature sig;
};
void view_change_init(struct view_change *v);
void view_change_free(struct view_change *v);
void view_change_encode(struct writer *w, const struct view_change *v);
void view_change_decode(struct reader *r, struct view_change *out); /* free in any case */
void view_change_sign(struct view_change *v, const struct chain_ctx *ctx,
		      const struct keypair *key);
int view_change_check_sig(const struct view_change *v, const struct chain_ctx *ctx);
/* Signature, valid position for v->term, certificates. Bodies are the caller's. */
int view_change_check(struct view_change *v, const struct chain_ctx *ctx,
		      const struct hash *genesis, const struct view_lookup *look,
		      struct missing *missing);
void view_change_claim(struct view_claim *out, const struct view_change *v);
void view_change_copy(struct view_change *out, const struct view_change *v); /* deep; out raw */

/* NEW-VIEW of primary(term): exactly qv view changes of distinct signers, ascending. Their
 * positions name term certificates of pbft terms by hash; who misses one asks the signer of the
 * view change, or the primary, for it. */
struct new_view {
	uint64_t term;
	unsigned count;
	struct view_change *vc; /* owned array */
	uint16_t signer;
	struct signature sig; /* SIG_TAG_NEW_VIEW over a digest of the encoding before it */
};
/* A NEW-VIEW without what it holds: enough to prove that a primary signed two. */
struct new_view_claim {
	uint64_t term;
	uint16_t signer;
	struct hash digest;
	struct signature sig;
};
void new_view_claim(struct new_view_claim *out, const struct new_view *nv);
void new_view_claim_encode(struct writer *w, const struct new_view_claim *c);
void new_view_claim_decode(struct reader *r, struct new_view_claim *out);
int new_view_claim_check(const struct new_view_claim *c, const struct chain_ctx *ctx);
void new_view_free(struct new_view *nv);			     /* contents only */
void new_view_copy(struct new_view *out, const struct new_view *nv); /* deep; out is raw */
void new_view_encode(struct writer *w, const struct new_view *nv);
void new_view_decode(struct reader *r, struct new_view *out);
void new_view_hash(struct hash *out, const struct new_view *nv); /* HASH_NEW_VIEW */
void new_view_sign(struct new_view *nv, const struct chain_ctx *ctx, const struct keypair *key);
int new_view_check_sig(const struct new_view *nv, const struct chain_ctx *ctx);
/* By primary(term), exactly qv valid view changes for it of distinct signers, ascending, and
 * select_base() accepts them: *out is what the primary's first block extends. */
struct selection; /* chain/select.h */
int new_view_check(struct new_view *nv, const struct chain_ctx *ctx, const struct hash *genesis,
		   const struct view_lookup *look, struct selection *out,
		   struct missing *missing);

#endif
