/* Reads everything that the ledger has in a store, and says what is damaged or missing: every
 * node of every readable state, every value, every entry of the transaction index. Changes
 * nothing; give it a store that nobody writes meanwhile (a snapshot). */
#ifndef LEDGER_AUDIT_H
#define LEDGER_AUDIT_H

#include "chain/genesis.h"
#include "ledger/store.h"

struct audit_host {
	void *arg;
	/* Something is damaged. key: of the record, or where reading stopped; height: of the
	 * block that it belongs to, UINT64_MAX if it belongs to none. */
	void (*found)(void *arg, enum store_family f, struct slice key, uint64_t height,
		      int err, const char *what);
	/* So many bytes were read; sleeps if that was too fast. False: stop, ERR_CLOSED. */
	bool (*pace)(void *arg, size_t bytes);
	/* The state root that the final block at this height has. False: not known. */
	bool (*root_at)(void *arg, uint64_t height, struct hash *root);
	/* Of state sync (ledger/stage.h): records of this version are staged, or given up;
	 * those of versions below the other are to be swept away. They are not the ledger's,
	 * and nothing is said of them. 0: none. */
	uint64_t staged, swept_below;
};
struct ledger_audit {
	uint64_t height, oldest; /* newest and oldest state */
	struct hash block, root; /* at height */
	uint64_t keys, nodes, values, index_entries;
};
/* ERR_NONE: all was read, or what could not be was found(). ERR_CLOSED. ERR_NOT_FOUND: an empty
 * store. ERR_CORRUPT, ERR_VERSION, ERR_WRONG_CHAIN: its first record cannot be used, m says
 * why: nothing else was read. */
int ledger_audit(struct store *s, const struct chain_ctx *ctx, const struct audit_host *host,
		 struct ledger_audit *out, struct errmsg *m);
/* The first record alone. */
int ledger_audit_head(struct store *s, const struct chain_ctx *ctx, struct ledger_audit *out,
		      struct errmsg *m);

/* found() for an iterator that ended in an error. after: the last key that it gave. `what` is
 * this very string then, and the height is the number of a table file: no record is damaged but a
 * page of that file, and nobody can tell what is behind it. 0: the file is not known. */
extern const char audit_unreadable[];
void audit_iter_end(const struct audit_host *host, const struct store_iter *it,
		    enum store_family f, const struct writer *after);

#endif
