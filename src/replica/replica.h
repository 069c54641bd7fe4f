/* One replica: engine, driver, ledger and store bound together. The node and the simulator run
 * exactly this; they differ only in the host (clock, network, when a sync ends).
 *
 * Store layout, formats and recovery are in docs/wire-format.md. Single-threaded. */
#ifndef REPLICA_REPLICA_H
#define REPLICA_REPLICA_H

#include "consensus/driver.h"
#include "ledger/ledger.h"

struct replica; /* opaque */

/* State sync (docs/decisions/0010-state-sync.md): how far it is, since the start. */
struct replica_sync_status {
	bool active;	   /* a state is being fetched */
	bool sweeping;	   /* what an older one left is being deleted */
	const char *phase; /* "idle", "fetching", "building" */
	uint64_t height;   /* of the newest state that was, or is being, fetched */
	unsigned per_mille;
	uint64_t began_at, took_us;
	uint64_t bytes, ranges, blocks, retries; /* of that one */
	uint64_t completed, strikes, stale, malformed;
	uint64_t struck; /* bit i: validator i lied, and is not asked any more */
	uint64_t served_bytes, served_ranges, refused;
};
enum replica_sync_note {
	SYNC_NOTE_STARTED,
	SYNC_NOTE_STRUCK, /* this peer sent what cannot be true */
	SYNC_NOTE_BUILDING,
	SYNC_NOTE_GIVEN_UP, /* it begins anew with a newer state, or blocks have come */
	SYNC_NOTE_EPOCH, /* the epoch has ended elsewhere: blocks alone lead across its end */
	SYNC_NOTE_DONE,	 /* replica_ledger() is at another height from now on */
};

/* Damage in the store, as a scrub found it (replica/audit.h): src/replica/mend.h. */
#define DAMAGE_KEY_MAX 48
struct damage {
	enum store_family family;
	uint64_t height; /* UINT64_MAX: of no block */
	bool unreadable; /* not a record, but a page of a table file: behind this key */
	uint64_t file;	 /* its number; 0: not known */
	uint8_t key_len; /* 0: of no record */
	uint8_t key[DAMAGE_KEY_MAX]; /* cut */
};
enum replica_mend_note {
	MEND_NOTE_MENDED, /* whole again, and written */
	MEND_NOTE_SOUND,  /* nothing is wrong with it, or not any more */
	MEND_NOTE_LIED,	  /* this peer sent what is not so: another one is asked */
	MEND_NOTE_LEFT,	  /* it stays as it is: why */
	MEND_NOTE_OVER,	  /* all that replica_mend() was given */
};
struct replica_mend_status {
	bool active;
	/* since the start; fetched: mended with what came from a peer */
	uint64_t mended, fetched, left, lies;
};

struct replica_host {
	void *ctx;
	void (*send)(void *ctx, const struct message *m);
	/* Everything written to the store so far must become durable: do it now and return
	 * true, or return false and call replica_durable(seq) once store_sync() has been done.
	 */
	bool (*sync)(void *ctx, uint64_t seq);
	/* A block is final: whoever waits for its transactions may be told, since a certificate
	 * rests on no disk here. What is read of the state is still that below it until
	 * final(), which follows at once unless the store fails. May be NULL. */
	void (*certified)(void *ctx, struct block *b, const struct cert *cert);
	/* Its effects are readable. results are in block->tx[i].result. */
	void (*final)(void *ctx, struct block *b, const struct cert *cert);
	void (*rejected)(void *ctx, const struct hash *tx_id, int err);
	void (*halted)(void *ctx, const char *why);
	/* The signatures of these transactions of b are not checked yet. True: they will be,
	 * elsewhere, while this replica goes on, and then replica_execute() is called. False:
	 * not now, so it is done here at once. May be NULL. */
	bool (*check)(void *ctx, struct block *b, const struct pool_tx *txs, uint32_t count);
	/* Evidence is being written; may be NULL. */
	void (*evidence)(void *ctx, struct slice bytes);
	/* An epoch begins: replica_ctx() has other validators; may be NULL. */
	void (*epoch)(void *ctx);
	/* It is an observer from now on, for good: why. May be NULL. */
	void (*outdated)(void *ctx, const char *why);
	uint64_t (*wall_ms)(void *ctx);
	/* For log lines; after SYNC_NOTE_DONE comes reopened(). May be NULL, both. */
	void (*sync_note)(void *ctx, enum replica_sync_note note, unsigned peer,
			  const struct replica_sync_status *s);
	/* The final height has jumped: final() was not called for what lies between. */
	void (*reopened)(void *ctx, uint64_t height);
	/* peer: who it came from, or lied; NO_VALIDATOR: it was made from what is here. d: NULL
	 * at the end. May be NULL. */
	void (*mend_note)(void *ctx, enum replica_mend_note note, const struct damage *d,
			  unsigned peer, const char *why);
};

/* What a start, proofs and positions may want to see. */
#define REPLICA_BLOCKS_MIN   8192 /* for live nodes */
struct replica_config {
	const struct genesis *genesis; /* outlives the replica */
	struct store *store;	       /* outlives the replica; not closed by it */
	unsigned self;
	struct keypair key;
	struct engine_timing timing; /* zeros: defaults */
	uint32_t pipeline;	     /* 0: default */
	uint64_t seed;
	uint64_t now;
	/* What clients bring here is told to all, and not only to the leader: they check the
	 * signatures while it does, and not when its block comes. */
	bool shares_checks;
	bool verify_txs; /* false in simulator runs whose clients are honest */
	/* [I20] It asks its peers for the newest of its own votes before it takes part: its data
	 * may be an old copy. */
	bool asks_own_votes;
	/* Heights below the final one whose state stays readable: ledger_set_history(). 0:
	 * none. */
	uint64_t history;
	/* Final blocks kept, the newest ones; 0: all. At least what a start looks at. */
	uint64_t blocks;
	/* Farther behind than so many blocks it fetches a state instead of them, and likewise
	 * if its peers do not have the blocks any more; 0: never. */
	uint64_t sync_gap;
	/* Bytes of the state tree that are kept in memory: ledger_set_cache(). 0: the default. */
	size_t tree_cache;
	struct replica_host host;
	/* For experiments with malicious replicas: what is run instead of the engine. It owns
	 * the one that it is given. NULL: the engine itself. */
	struct engine *(*wrap)(void *ctx, struct engine *e);
	void *wrap_ctx;
	/* Likewise: alters what it answers to those who fetch a state. With wrap_ctx. */
	void (*lie)(void *ctx, uint8_t type, struct writer *bytes);
};

/* Opens or recovers: replays final blocks above the ledger's height, gives the engine its vote
 * state and unfinal blocks. m says what is wrong and what to do. What the validator of a store
 * without vote state has signed is unknown: an empty one, or one that was restored from a
 * backup. Such a replica is an observer: it follows, serves and forwards, and signs nothing,
 * in this life or any later one of the store. */
int replica_open(struct replica **out, const struct replica_config *config, struct errmsg *m);
void replica_close(struct replica *r);
/* Why this replica is an observer; NULL: it is none. */
const char *replica_observes(const struct replica *r);
/* The vote state of a validator that has never signed anything, durable. Written where its key
 * is made, and never again: into an empty store. */
int replica_first_votes(struct store *s);
/* The same of a key that was made for a place of a chain that runs: into any store of that
 * chain. It votes from the epoch on in which that place has this key. ERR_EXISTS: it has voted
 * from this store already, and is not new. */
int replica_first_votes_of(struct store *s, const struct pubkey *key);
/* Whether that mark is there, and not used up. */
bool replica_is_first_of(struct store *s, const struct pubkey *key);
/* A new store at path with such a mark, closed again: of `fresh`, as replica_first_votes_of(), or
 * NULL: as replica_first_votes(). ERR_EXISTS: path is there. */
int replica_first_data(const char *path, const struct pubkey *fresh, struct errmsg *m);

void replica_tick(struct replica *r, uint64_t now);
uint64_t replica_wake_at(const struct replica *r);
void replica_message(struct replica *r, uint64_t now, unsigned from, struct slice bytes);
void replica_durable(struct replica *r, uint64_t now, uint64_t seq);
/* It is to stop soon: if it leads, it proposes nothing more, and has another one elected. */
void replica_resign(struct replica *r, uint64_t now);

/* Between the two calls no block is proposed: what comes in between goes into one block, and
 * not the first of it into a block of its own. Without them each input may propose.
 * replica_propose(): true if the engine wanted one meanwhile and was told ERR_BUSY, upon which
 * it has asked again. */
void replica_gather(struct replica *r);
bool replica_propose(struct replica *r, uint64_t now);

/* Checks form, signature (unless verified) and admission, then submits. *id is set unless the
 * replica has halted (ERR_CLOSED). ERR_NONE: taken (or already waiting). ERR_EXISTS: final
 * already. ERR_BUSY: the pool is full, or this replica is too far behind to judge. ERR_IO,
 * ERR_CORRUPT: of the store. ERR_TX_*, ERR_WRONG_CHAIN, ERR_BAD_SIGNATURE, decoding errors:
 * refused for good. */
int replica_submit(struct replica *r, uint64_t now, struct slice tx, bool verified,
		   struct hash *id);

/* It forwards or relays clients' transactions. */
bool replica_brings_transactions(struct slice message);
/* The clients' transactions that a peer's message forwards, as far as their signatures are worth
 * checking: in order, admissible, not checked yet. At most max of them into out, lent with the
 * message. Of those before the last of them, the others: `known` wait here already, or their
 * signatures have been checked; `worthless` are malformed or cannot be ordered (any more). */
struct brought {
	uint32_t known, worthless;
};
uint32_t replica_transactions(struct replica *r, uint64_t now, struct slice message,
			      struct pool_tx *out, uint32_t max, struct brought *others);
/* A signature of one was found to be good: nobody here checks it again. */
void replica_checked(struct replica *r, const struct hash *id);
/* What host.check() took over. */
void replica_execute(struct replica *r, uint64_t now, struct block *b);

void replica_sync_status(const struct replica *r, struct replica_sync_status *out);
/* What is damaged is made whole from now on, a little with each tick: out of what is here, and
 * of what peers send, if that proves itself. False: the last lot is not done yet. */
bool replica_mend(struct replica *r, const struct damage *d, uint32_t count);
void replica_mend_status(const struct replica *r, struct replica_mend_status *out);

/* Of the newest epoch here. */
const struct chain_ctx *replica_ctx(const struct replica *r);
/* Of the epoch that a block at this height is of, or could be; of a term; by its number, NULL
 * if it has not begun here. */
const struct chain_ctx *replica_ctx_at(const struct replica *r, uint64_t height);
const struct chain_ctx *replica_ctx_of_term(const struct replica *r, uint64_t term);
const struct chain_ctx *replica_epoch(const struct replica *r, uint64_t epoch);
/* A member change that governance has signed (chain/member.h), encoded: kept, and told to all,
 * until it is in a block. ERR_EXISTS: another one, or this one, waits already. ERR_UNSUPPORTED:
 * this chain knows no new keys. Errors of member_change_check(). */
int replica_member(struct replica *r, uint64_t now, struct slice change);
/* What proves the beginning of epoch >= 1 to whoever knows the set before: the proof document
 * of its entry. ERR_NOT_FOUND: it has not begun here. */
int replica_handover(struct replica *r, uint64_t epoch, struct proof_document *out);
/* The type of a message from a peer, whatever its epoch; UINT8_MAX: it has none. */
uint8_t replica_message_type(struct slice bytes);
/* And the epoch that it says it is of. */
uint64_t replica_message_epoch(struct slice bytes);
/* Messages of other epochs, or that say of theirs what nobody can read: dropped. */
uint64_t replica_stale_messages(const struct replica *r);
struct ledger *replica_ledger(struct replica *r);
void replica_status(const struct replica *r, struct engine_status *out);
struct engine *replica_engine(struct replica *r);
bool replica_halted(const struct replica *r);
bool replica_tx_pending(const struct replica *r, const struct hash *id);

/* Final blocks from the store. One reference; ERR_NOT_FOUND, ERR_CORRUPT; ERR_STALE: it was
 * given up. */
int replica_block(struct replica *r, uint64_t height, struct block **out);
/* Gives the room of pruned blocks and states back to the file system: of a store in use, from
 * any thread, for as long as it takes (store_compact_stop()). final: the newest final height.
 */
void replica_compact(struct store *s, uint64_t final);
/* The lowest height whose block is kept; 1: all are. */
uint64_t replica_blocks_from(const struct replica *r);
/* Header of `height` with the headers up to the nearest certificate at or above it. */
int replica_certified_header(struct replica *r, uint64_t height, struct certified_header *out);
/* Complete documents; height UINT64_MAX: newest final height. */
int replica_prove_state(struct replica *r, struct slice state_key, uint64_t height,
			struct proof_document *out);
int replica_prove_tx(struct replica *r, const struct hash *id, struct proof_document *out);
/* The certificate of a term that was accepted here; of a pbft term with its whole NEW-VIEW.
 * term_cert_free() it. ERR_NOT_FOUND, ERR_IO, ERR_CORRUPT. */
int replica_term_cert(struct replica *r, uint64_t term, struct term_cert *out);

/* Evidence on disk, in the order of its hash: what this replica made or was shown, and that of
 * every final conviction. The next one after *after (NULL: the first): its hash, and its
 * encoding into bytes (reset first). ERR_NOT_FOUND: no more. */
int replica_evidence_next(struct replica *r, const struct hash *after, struct hash *id,
			  struct writer *bytes);
/* The same in one go: calls fn with each encoding. */
void replica_each_evidence(struct replica *r, void (*fn)(void *ctx, struct slice bytes),
			   void *ctx);

/* A final SYSTEM transaction; replica_prove_tx(id) proves it to somebody else. */
struct mode_record {
	uint64_t height;
	uint32_t index;	  /* in its block */
	uint64_t time_ms; /* of its block */
	struct hash id;	  /* of the transaction */
	enum system_kind kind;
	uint64_t term;			  /* of its block */
	enum escalation_reason reason;	  /* ESCALATED */
	struct hash evidence;		  /* CONVICTION: evidence_hash() */
	enum evidence_kind evidence_kind; /* CONVICTION */
	uint16_t culprit;		  /* CONVICTION */
};
/* Those of the final chain at (height, index) and after it, ascending, at most max. Costs what
 * it lists, however long the chain is. ERR_IO, ERR_CORRUPT. */
int replica_modes(struct replica *r, uint64_t height, uint32_t index, struct mode_record *out,
		  uint32_t max, uint32_t *count);

#endif
