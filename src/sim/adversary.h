/* Malicious replicas: honest engines inside wrappers that lie (docs/lab.md, "Malicious replicas").
 *
 * A wrapper is itself an engine, so that the same attacks run in the simulator and in forged
 * live nodes. It sees every input and output of the honest engine; it drops, delays, alters and
 * signs anew what that sends, and adds statements of its own. All members of a team share what
 * they see and hold each other's keys. */
#ifndef SIM_ADVERSARY_H
#define SIM_ADVERSARY_H

#include "consensus/engine.h"
#include "sim/script.h"

enum attack {
	ATTACK_EQUIVOCATE, /* leader: two blocks at a height, to two sides, consistent chains */
	ATTACK_DOUBLE_VOTE,    /* votes for both, or for what does not exist */
	ATTACK_SILENT,	       /* says nothing */
	ATTACK_SELECTIVE,      /* speaks to some only */
	ATTACK_SLOW,	       /* everything late */
	ATTACK_CENSOR,	       /* leaves out some transactions, whoever brings them */
	ATTACK_BAD_SIGNATURES, /* false signatures under blocks and votes, to some */
	ATTACK_REPLAY,	       /* old messages again */
	ATTACK_INFLATE,	       /* claims of terms far ahead, and of old ones */
	ATTACK_BOGUS_CERT,     /* certificates that nobody signed */
	ATTACK_STATE_ROOT,     /* leader: blocks with a wrong state root */
	ATTACK_CHECKPOINT,     /* checkpoint statements with a wrong state root */
	ATTACK_CORRUPT_BODY,   /* leader: blocks that are invalid by their bytes */
	ATTACK_LIE_FETCH,      /* false answers to those who catch up */
	ATTACK_WITHHOLD,       /* no votes */
	ATTACK_HOARD,	       /* pre-votes and refusals long afterwards */
	ATTACK_FLOOD,	       /* view changes for many terms */
	ATTACK_HIDDEN_VOTE,    /* view changes that show an older position */
	ATTACK_TWO_VIEWS,      /* primary: two NEW-VIEWs of one term */
	ATTACK_SHOUT,	       /* suspects every leader */
	ATTACK_EVIDENCE,       /* replays evidence, and makes up false one */
	ATTACK_TERM_VOTES,     /* votes for every candidate of a term */
	ATTACK_GARBAGE,	       /* bytes that mean nothing, and large ones */
	ATTACK_LOW_BASE,       /* term votes on a base below its own PREPAREs */
	ATTACK_RACE,	       /* its clock runs five times as fast: first in every election */
	ATTACK_DRIP,	       /* leader: blocks just fast enough not to be replaced */
	ATTACK_ECLIPSE,	       /* one victim gets heartbeats from it and nothing else */
	ATTACK_AMNESIA,	       /* its votes are not written: a restart forgets them */
	ATTACK_FRAME,	       /* tries to make evidence out of what honest replicas signed */
	ATTACK_FORK,	       /* leader: a chain with certificates for each of two sides */
	ATTACK_RESIGN,	       /* leader: resigns again and again, to some, and goes on */
	ATTACKS
};
const char *attack_name(enum attack a); /* "equivocate", ... */
int attack_by_name(const char *name);	/* -1: unknown */

#define ATTACK_BIT(a) (UINT64_C(1) << (a))

#define TARGETS_HALF	   (UINT64_MAX - 1) /* every second of the correct validators */
#define TARGETS_ONE_HONEST (UINT64_MAX - 2) /* the first of them */

struct team; /* colluders; opaque */

/* members: bit mask; keys: by validator index, of members only. random: each member takes up
 * and drops attacks out of `attacks` by chance as time goes by; else all of them, always.
 * targets: whom two-sided attacks single out; 0: drawn by chance. */
struct team_config {
	const struct chain_ctx *ctx;
	const struct genesis *genesis;
	uint64_t members;
	struct keypair key[VALIDATORS_MAX];
	uint64_t attacks;
	bool random;
	uint64_t targets;
	bool when_leading;    /* attacks only while it leads */
	bool when_following;  /* attacks only while it does not */
	uint64_t from_height; /* honest until this height is final */
	uint64_t seed;
	const struct occurrences *only; /* moments at which they may attack; NULL: all */
	struct sim_record *record;	/* NULL, or told at which they did */
};
struct team *team_new(const struct team_config *config);
void team_free(struct team *t); /* after all its engines */
/* How often each attack has struck. */
const uint64_t *team_strikes(const struct team *t);
/* From now on these, always and by all members; 0: peace. Replaces the configured ones. */
void team_set_attacks(struct team *t, uint64_t attacks);

/* What a member answers to somebody who fetches a state, once it is encoded: false in half the
 * cases, if ATTACK_LIE_FETCH is among the attacks. For replica_config.lie. */
void adversary_lie(struct team *t, unsigned self, uint8_t type, struct writer *bytes);

/* The wrapper owns honest. */
struct engine *adversary_wrap(struct team *t, unsigned self, struct engine *honest);

#endif
