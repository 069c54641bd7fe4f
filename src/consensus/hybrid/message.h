/* Messages between hybrid replicas: {type u8, fields}. Formats are in docs/wire-format.md.
 * A number is never reused. */
#ifndef CONSENSUS_HYBRID_MESSAGE_H
#define CONSENSUS_HYBRID_MESSAGE_H

#include "consensus/engine.h"

enum message_type {
	MSG_APPEND = 1,	  /* leader to all: blocks and the newest certificate */
	MSG_APPENDED = 2, /* answer: votes */
	MSG_HEARTBEAT = 3,
	MSG_HEARTBEAT_ACK = 4,
	MSG_PRE_VOTE_REQUEST = 5,
	MSG_PRE_VOTE = 6,
	MSG_VOTE_REQUEST = 7,
	MSG_TERM_VOTE = 8,
	MSG_REFUSAL = 9,
	MSG_FETCH = 10,
	MSG_BLOCKS = 11,
	MSG_FORWARD = 12, /* transactions for the leader; to all where checks are shared */
	MSG_RELAY = 13,	  /* transactions to all */
	MSG_EVIDENCE = 14,
	MSG_SUSPICION = 15,
	MSG_VIEW_CHANGE = 16,
	MSG_NEW_VIEW = 17,
	MSG_PREPARE = 18,
	MSG_COMMIT = 19,
	MSG_FETCH_VIEW = 20, /* a NEW-VIEW by its hash; answered with MSG_NEW_VIEW */
	MSG_MEMBER = 21,     /* a member change that waits for its block */
	MSG_FINAL = 22,	     /* the certificate of an epoch's end, from who has left it */
	MSG_RESIGN = 23,     /* leader to all: it is to stop, and whom it would have lead */
	/* 24 to 31: state sync; 32 to 57: the baselines */
	MSG_ASK_VOTES = 60, /* who begins, to all: what have I signed last? */
	MSG_VOTES = 61,	    /* the answer */
	MSG_ECHO = 62,	    /* to all, and back: how long does it take? */
	MESSAGE_TYPES
};
const char *message_type_name(uint8_t type); /* "append", ...; "unknown" */
/* It has a signature of its sender in it, or may; so have types that are not known. */
bool message_is_for_voters(uint8_t type);

#define APPEND_BLOCKS_MAX 256
#define FORWARD_TXS_MAX	  1024
#define FORWARD_BYTES_MAX (1u << 20)
#define FETCH_BLOCKS_MAX  256
#define FETCH_BYTES_MAX	  (2u << 20)

/* Signed pre-vote: "I would grant candidate my vote in term; my newest TC is newest_tc." q of
 * them entitle to enter the term. SIG_TAG_PRE_VOTE over the fields before sig. */
struct grant {
	uint64_t term;
	uint16_t candidate;
	uint64_t newest_tc;
	uint16_t signer;
	struct signature sig;
};
void grant_sign(struct grant *g, const struct chain_ctx *ctx, const struct keypair *key);
int grant_check(const struct grant *g, const struct chain_ctx *ctx);

/* What entitles a replica to be in a term: its TC, q grants for one candidate, or the signed
 * view changes, for that term or above, of f+1 replicas. */
enum entitlement_kind {
	ENTITLED_NONE = 0,
	ENTITLED_TC = 1,
	ENTITLED_GRANTS = 2,
	ENTITLED_CLAIMS = 3,
};
struct entitlement {
	enum entitlement_kind kind;
	uint64_t term;
	struct term_cert tc;  /* ENTITLED_TC; owned; on the wire in reference form */
	uint32_t claim_count; /* ENTITLED_CLAIMS, ascending distinct signers */
	struct view_claim claim[VALIDATORS_MAX];
	uint16_t candidate; /* ENTITLED_GRANTS, ascending distinct signers */
	uint32_t grant_count;
	struct grant grant[VALIDATORS_MAX];
};
void entitlement_init(struct entitlement *e);
void entitlement_free(struct entitlement *e);
void entitlement_copy(struct entitlement *out, const struct entitlement *e); /* out is raw */
void entitlement_encode(struct writer *w, const struct entitlement *e);
void entitlement_decode(struct reader *r, struct entitlement *out);
/* newest_tc: of the receiver; grants that name an older one do not count. Term 0 needs no
 * entitlement: ENTITLED_NONE with term 0 is valid. A pbft certificate is the caller's to
 * resolve: ERR_UNSUPPORTED. */
int entitlement_check(const struct entitlement *e, const struct chain_ctx *ctx,
		      uint64_t newest_tc);

struct msg_append {
	uint64_t term;
	bool has_tc, has_final, has_qc, has_prepare;
	struct term_cert tc;
	struct vote prepare; /* pbft: the primary's own, for the last block */
	struct cert final;   /* newest final certificate */
	struct cert qc;	     /* of the term, above the final one */
	uint32_t count;
	struct block *blocks[APPEND_BLOCKS_MAX]; /* each with a reference */
};
struct msg_appended {
	uint64_t term;
	bool has_prepare, has_commit, has_checkpoint;
	struct vote prepare, commit, checkpoint;
};
struct msg_heartbeat {
	uint64_t term, counter;
	uint64_t tip_height;
	struct hash tip;
	uint64_t final_height;
	bool has_tc, has_stable;
	struct term_cert tc;
	struct cert stable;
};
struct msg_heartbeat_ack {
	uint64_t term, counter;
	uint64_t final_height;
	bool has_prepare, has_commit, has_checkpoint;
	struct vote prepare, commit, checkpoint;
};
/* "My own term is `term`; I do not grant for_term." SIG_TAG_REFUSAL over {term, for_term}. */
struct refusal_proof {
	uint64_t term, for_term;
	uint16_t signer;
	struct signature sig;
};
void refusal_sign(struct refusal_proof *p, const struct chain_ctx *ctx,
		  const struct keypair *key);
int refusal_check(const struct refusal_proof *p, const struct chain_ctx *ctx);
struct msg_refusal {
	struct refusal_proof proof;
	struct entitlement entitlement; /* to proof.term, or to the term below */
	uint64_t final_height;
};
struct msg_vote_request { /* MSG_PRE_VOTE_REQUEST and MSG_VOTE_REQUEST */
	uint64_t term;
	struct entitlement entitlement; /* pre: to term - 1; vote: the grants for term */
	struct position position;
	bool has_refusal; /* a leader that rescues a stray */
	struct refusal_proof refusal;
	bool has_final; /* newest final certificate: laggards see that mode fast is final */
	struct cert final;
};
/* "The leader of this term does not do its duty." SIG_TAG_SUSPICION over the fields before sig.
 * f+1 of them escalate; one alone does nothing. */
struct suspicion {
	uint64_t term;
	uint16_t leader;
	enum escalation_reason reason; /* SIGNATURE, CENSORSHIP or SLOW */
	uint16_t signer;
	struct signature sig;
};
void suspicion_sign(struct suspicion *s, const struct chain_ctx *ctx,
		    const struct keypair *key);
int suspicion_check(const struct suspicion *s, const struct chain_ctx *ctx);
struct msg_view_change {
	struct view_change vc;
	struct entitlement entitlement; /* to vc.term, or below it */
};
struct msg_new_view { /* a term certificate, of either mode: new, or the answer to a stale claim
		       */
	struct term_cert tc; /* full form */
	bool has_final;
	struct cert final;
};
struct msg_commit {
	struct vote commit;
	bool has_checkpoint;
	struct vote checkpoint;
};
struct msg_fetch_view {
	uint64_t term;
	struct hash hash;
};
struct msg_fetch {
	uint64_t from_height;
	uint64_t newest_tc; /* of the asker: send yours if newer */
	struct hash wanted; /* the block whose chain is wanted; zero: your tip */
};
struct msg_blocks {
	bool has_tc, has_cert;
	struct term_cert tc;
	struct cert cert;
	uint64_t final_height; /* of the sender */
	uint32_t count;
	struct block *blocks[FETCH_BLOCKS_MAX];
};
struct msg_txs {
	uint32_t count;
	struct slice tx[FORWARD_TXS_MAX];
};

struct msg_resign {
	uint64_t term; /* which its sender leads */
	uint16_t successor;
};

/* The newest that the answerer holds of the asker's signatures. Each may be missing: kind 0,
 * term 0.
 */
struct msg_votes {
	uint64_t nonce;	       /* of the question */
	uint64_t final_height; /* of the answerer */
	struct vote vote;      /* no checkpoint */
	struct term_vote term_vote;
	struct view_claim claim;
};

/* A question is answered by itself, with the answerer's sync. Nothing rests on `asked` but the
 * asker's own idea of how far away the answerer is. */
struct msg_echo {
	bool is_answer;
	uint64_t asked;	  /* microseconds of the asker's clock */
	uint32_t sync_us; /* of an answer: how long the answerer's disk takes */
};

/* One decoded message; release with message_free(). Large: keep one and reuse it. */
struct message_in {
	uint8_t type;
	union {
		struct msg_append append;
		struct msg_appended appended;
		struct msg_heartbeat heartbeat;
		struct msg_heartbeat_ack heartbeat_ack;
		struct msg_vote_request vote_request;
		struct grant pre_vote;
		struct term_vote term_vote;
		struct msg_refusal refusal;
		struct msg_fetch fetch;
		struct msg_blocks blocks;
		struct msg_txs txs;    /* FORWARD, RELAY */
		struct slice evidence; /* encoded struct evidence */
		struct slice member;   /* encoded struct member_change */
		struct cert final;
		struct suspicion suspicion;
		struct msg_view_change view_change;
		struct msg_new_view new_view;
		struct vote prepare;
		struct msg_commit commit;
		struct msg_fetch_view fetch_view;
		struct msg_resign resign;
		uint64_t ask_votes; /* its nonce */
		struct msg_votes votes;
		struct msg_echo echo;
	};
};
/* ERR_UNSUPPORTED for types this version does not handle. Form only. */
int message_decode(struct message_in *out, struct slice bytes);
void message_free(struct message_in *m);

void msg_append_encode(struct writer *w, const struct msg_append *m);
void msg_appended_encode(struct writer *w, const struct msg_appended *m);
void msg_heartbeat_encode(struct writer *w, const struct msg_heartbeat *m);
void msg_heartbeat_ack_encode(struct writer *w, const struct msg_heartbeat_ack *m);
void msg_vote_request_encode(struct writer *w, enum message_type type,
			     const struct msg_vote_request *m);
void msg_pre_vote_encode(struct writer *w, const struct grant *g);
void msg_term_vote_encode(struct writer *w, const struct term_vote *v);
void msg_refusal_encode(struct writer *w, const struct msg_refusal *m);
void msg_fetch_encode(struct writer *w, const struct msg_fetch *m);
void msg_blocks_encode(struct writer *w, const struct msg_blocks *m);
void msg_txs_encode(struct writer *w, enum message_type type, const struct slice *tx,
		    uint32_t count);
void msg_evidence_encode(struct writer *w, struct slice evidence);
void msg_suspicion_encode(struct writer *w, const struct suspicion *s);
void msg_view_change_encode(struct writer *w, const struct msg_view_change *m);
void msg_new_view_encode(struct writer *w, const struct msg_new_view *m);
void msg_prepare_encode(struct writer *w, const struct vote *v);
void msg_commit_encode(struct writer *w, const struct msg_commit *m);
void msg_fetch_view_encode(struct writer *w, const struct msg_fetch_view *m);
void msg_member_encode(struct writer *w, struct slice member);
void msg_final_encode(struct writer *w, const struct cert *c);
void msg_resign_encode(struct writer *w, const struct msg_resign *m);
void msg_ask_votes_encode(struct writer *w, uint64_t nonce);
void msg_votes_encode(struct writer *w, const struct msg_votes *m);
void msg_echo_encode(struct writer *w, const struct msg_echo *m);

#endif
