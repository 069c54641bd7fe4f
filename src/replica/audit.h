/* Reads everything in a replica's store and says what is damaged: final blocks and their chain,
 * certificates, indices, evidence, vote state, and all that ledger/audit.h reads. Changes
 * nothing; give it a snapshot, or the store of a stopped node. */
#ifndef REPLICA_AUDIT_H
#define REPLICA_AUDIT_H

#include "chain/genesis.h"
#include "ledger/audit.h"

struct finding {
	enum store_family family;
	uint64_t height; /* UINT64_MAX: of no block */
	int err;
	const char *what;
	char key[2 * 48 + 4]; /* hex, cut to 48 bytes; empty: none */
	struct slice record;  /* the key itself; lent */
	uint64_t file;	      /* table file of which a page cannot be read; 0: none, or not known */
};
struct damage; /* replica/replica.h: what of it a running replica needs to mend it */
void finding_damage(const struct finding *f, struct damage *out);
const char *store_family_name(enum store_family f);

struct audit_options {
	const struct genesis *genesis;
	void *arg;
	void (*found)(void *arg, const struct finding *f);
	/* Called often: blocks checked, of how many, bytes read so far. False: stop. May sleep.
	 */
	bool (*step)(void *arg, uint64_t height, uint64_t height_max, uint64_t bytes,
		     uint64_t bytes_max);
};
struct audit_result {
	struct ledger_audit ledger;
	bool restored; /* from a backup: never votes */
	bool observer; /* never votes, for that or another reason: replica_observes() */
	unsigned vote_slots;
	uint64_t first_block; /* lowest final block that is kept */
	uint64_t epochs;      /* records of their beginnings */
	uint64_t blocks, transactions, certificates, terms, evidence, unfinal;
	uint64_t bytes; /* read */
	uint64_t findings;
};
/* ERR_NONE: all was read; damage was found(). Else as ledger_audit(). */
int replica_audit(struct store *s, const struct audit_options *o, struct audit_result *out,
		  struct errmsg *m);
/* What takes one look: no chain is walked. */
int replica_audit_head(struct store *s, const struct genesis *g, struct audit_result *out,
		       struct errmsg *m);

#endif
