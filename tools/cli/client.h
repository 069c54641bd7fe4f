/* A client of a network's API: which nodes to ask, what to trust, submitting until the outcome
 * is certain.
 *
 * Nothing that a node says is believed without a proof against the genesis file where a proof
 * exists: a commitment, a value. Sending the same signed bytes again, to any node, is harmless,
 * and this is how every doubt about an outcome is settled. */
#ifndef TOOLS_CLI_CLIENT_H
#define TOOLS_CLI_CLIENT_H

#include <pthread.h>

#include "base/map.h"
#include "ledger/proof.h"
#include "ledger/tx.h"
#include "tools/cli/http.h"
#include "tools/cli/network.h"

/* The nodes and the chain. Shared by threads once opened. */
struct target {
	struct cli *c;
	bool has_genesis;
	struct genesis genesis;
	struct chain_ctx ctx;
	struct hash genesis_hash; /* of block 0 */
	unsigned count;		  /* of nodes to ask, >= 1 */
	char url[VALIDATORS_MAX][CONFIG_TEXT_MAX + 32];
	pthread_mutex_t lock;
	struct map verified; /* header hash -> certificate, of headers found final */
	/* Of the epochs that handovers have proved; [0] is ctx. Each with its document. */
	struct chain_ctx *epochs;
	struct json **handovers;
	unsigned epoch_count;
	unsigned epochs_from; /* node that is asked for more first */
};

/* From --home, --node and --genesis. Prints errors; exit code. target_close() in any case. */
int target_open(struct cli *c, struct target *t, bool needs_genesis);
/* The same from a node's URL alone, without a genesis. */
int target_of_url(struct cli *c, struct target *t, const char *url);
void target_close(struct target *t);

/* One thread's connection to the nodes. */
struct link {
	struct target *t;
	struct http *http;
	struct http_reply reply;
	unsigned node;	   /* the one asked first: the last that answered */
	uint64_t silent;   /* bit i: link_get_tx() has asked node i in vain */
	uint64_t liars;	   /* bit i: what node i said was false, see link_pass_over() */
	uint64_t deadline; /* of reads, on now_ms()'s clock: the invocation's, unless changed */
	struct json *answer; /* to the last request: NULL if it was not JSON */
	char error_code[64]; /* of a problem document */
	char error_hint[256];
	struct errmsg m; /* why the last request failed, or a problem's detail */
};
void link_open(struct link *l, struct target *t, unsigned first_node);
void link_close(struct link *l);

/* How long one node of several is given when left_ms are left for all: half of it, at most most_ms.
 * A node that hangs with its connections open leaves time to ask the others, however short the
 * whole is. */
uint64_t patience_of(uint64_t left_ms, uint64_t most_ms);
/* GET path, from the first node that answers with anything but a server's error. Returns
 * ERR_NONE with l->reply.status and l->answer set, or an error (l->m) if no node could be
 * asked. */
int link_get(struct link *l, const char *path);
/* What this node said does not hold: says why, and has this link ask it no more, for one liar
 * of several nodes is to stop nobody. False: there is no other node to ask, and nothing is
 * printed. */
bool link_pass_over(struct link *l, unsigned node, const char *why);
/* Goes on to the node behind l->node, past liars. */
void link_next(struct link *l);
/* GET a transaction's status. Where the node that answers has no such transaction, or has not
 * seen it final, the others are asked as well; the answer that says most is left in *l:
 * committed, else pending, else a status of 404. Nothing of it is verified yet. */
int link_get_tx(struct link *l, const char *path);
/* As link_get(), printing what went wrong; EXIT_DONE only for a status of 200. */
int link_get_or_fail(struct link *l, const char *path);
/* Prints why no node could be asked, link_get()'s error; exit code. */
int link_unreachable(struct link *l, int err);
/* Prints the problem document of the last answer; exit code. */
int link_fail(struct link *l);
/* A status of 401: says whether the node at url wants a token, or another one. */
void unauthorized_text(struct errmsg *m, const char *url);
/* Prints that; exit code. */
int unauthorized_fail(struct cli *c, const char *url);
/* One request to node i only. */
int link_call(struct link *l, unsigned i, const char *method, const char *path,
	      const char *content_type, struct slice body, uint64_t timeout_ms);

/* Whether a commitment can be proved to this client at all: it has the genesis file, and the
 * chain's protocol is not a crash-fault one, where it takes the node's word and says so. */
bool target_proves(const struct target *t);
/* Checks a header's finality under the validators of its epoch, asking nodes for the handovers up
 * to it. */
int target_check_header(struct target *t, const struct certified_header *ch);
/* Asks for what is not known yet of the newest epoch. ERR_*, m: no node could be asked, or it
 * proves nothing. */
int target_learn_epochs(struct target *t, struct errmsg *m);
/* The one that a block at this height is of, as far as is known. A copy. */
void target_ctx_at(struct target *t, uint64_t height, struct chain_ctx *out);
/* Epoch e, if it is known so far. A copy. */
bool target_ctx_of_epoch(struct target *t, uint64_t e, struct chain_ctx *out);
/* The documents that prove the epoch of a block at this height; NULL for epoch 0. */
struct json *target_handovers(struct target *t, uint64_t height);
/* A proof document as it can be verified offline: itself, or in an object beside the handovers. */
struct json *target_offline(struct target *t, const struct json *proof);
/* Puts them beside the proof that o has. */
void target_add_handovers(struct target *t, struct json *o);
/* The epochs that a list of handovers proves, [0] the genesis file's: mem_free(*out). */
int handovers_read(const struct json *list, const struct genesis *g, struct chain_ctx **out,
		   unsigned *count, struct errmsg *m);
void target_forget_epochs(struct target *t);
/* Of an error of those below: not the proof is at fault, but nobody gave in time what proves the
 * validators of its epoch. */
static inline bool target_unproven_so_far(int err)
{
	return err == ERR_TIMEOUT || err == ERR_UNREACHABLE;
}
/* Checks a transaction's proof document; a header's finality only once for all threads. The
 * caller compares doc->tx and frees doc in any case. */
int target_proven_tx(struct target *t, const struct json *proof, struct proof_document *doc,
		     struct errmsg *m);
/* The same for a proof of a value, or of absence, in the state. */
int target_proven_state(struct target *t, const struct json *proof, struct slice state_key,
			struct proof_document *doc, struct errmsg *m);

/* Calls each(arg, link, i) for all i < count from several threads, each with a link of its own,
 * until one returns false. */
void each_in_parallel(struct target *t, size_t count, unsigned threads,
		      bool (*each)(void *arg, struct link *l, size_t i), void *arg);

/* ---- submitting ------------------------------------------------------------------------ */

enum fate {
	FATE_COMMITTED,	 /* proven; its result may still not be TX_OK */
	FATE_ACCEPTED,	 /* by a node's word, with wait=accepted */
	FATE_REFUSED,	 /* for good, by a node's word */
	FATE_UNSENT,	 /* no node was reached */
	FATE_UNKNOWN,	 /* time ran out */
	FATE_UNVERIFIED, /* a node claims a commitment that it cannot prove */
	FATE_INTERRUPTED,
};
struct receipt {
	enum fate fate;
	uint64_t height, term, time_ms;
	uint64_t index;
	enum tx_result result;
	enum cert_kind grade;
	uint64_t signers;
	uint64_t latency_us;
	uint64_t at_ms; /* Unix time at which the fate was known; 0: not submitted here */
	char code[64];	/* REFUSED, UNVERIFIED: why */
	char hint[256];
	struct errmsg m;
	struct json *proof; /* if kept: owned */
};
struct submission {
	struct slice tx;	  /* signed; lent */
	struct receipt r;	  /* zeroed at first */
	bool decided, maybe_sent; /* false at first */
	unsigned doubts;	  /* refusals for its nonce so far */
};
/* Sends those undecided, in one request, until the fate of each is known or the deadline comes;
 * asks other nodes when one does not answer. keep_proof: r.proof is the document (json_free).
 */
void submit(struct link *l, struct submission *s, size_t count, uint64_t deadline,
	    bool wait_committed, bool keep_proof);
/* Is the outcome of an attempt with this nonce certain, and would another nonce do? */
bool receipt_wants_new_nonce(const struct receipt *r);

/* Nonces and expiry from a node: highest may be NULL. ERR_*, with l->m. */
int account_state(struct link *l, const struct pubkey *account, uint64_t *suggested,
		  uint64_t *expiry_max);
/* The same from the node that is furthest, of all that answer. Prints errors; exit code. */
int account_state_newest(struct link *l, const struct pubkey *account, uint64_t *suggested,
			 uint64_t *expiry_max);
/* Reads results of a receipt into JSON: tx, height, index, ... */
struct json *receipt_json(const struct target *t, const struct hash *id,
			  const struct receipt *r);
/* Prints the failure of a receipt that is not committed with TX_OK; exit code. */
int receipt_fail(struct cli *c, const struct receipt *r, const struct hash *id);

#endif
