/* The files of a home directory that show that a node runs, and those that it starts from. */
#ifndef NODE_HOME_H
#define NODE_HOME_H

#include "node/node.h"

struct home_lock {
	int fd; /* -1: not locked */
	char pid_path[CONFIG_PATH_MAX + 32];
	char api_path[CONFIG_PATH_MAX + 32];
};

/* Takes HOME/ostrakond.pid, which is locked while the process lives. ERR_LOCKED names the other
 * process. */
int home_lock(struct home_lock *l, const char *home, struct errmsg *m);
/* HOME/api, written whole or not at all. */
int home_write_url(struct home_lock *l, const char *url, struct errmsg *m);
void home_unlock(struct home_lock *l); /* removes both files */

/* Genesis, configuration and key of HOME into n; finds out which validator it is. passphrase
 * may be NULL. */
int home_read(struct node *n, const char *home, const char *passphrase, struct errmsg *m);

struct home_init {
	const char *home, *genesis, *key;
	const char *name; /* NULL: of the key in the genesis file; else a new key for it */
	const char *peers_listen, *api_listen; /* NULL: none, default */
	unsigned peer_count;
	const char *const *peers; /* NAME=HOST:PORT */
};
/* ERR_EXISTS: the home has been used; or the key has a home already, which its file says from now
 * on. */
int home_init(const struct home_init *init, struct errmsg *m);
/* A new key for a home that keeps its data: its first vote state, then the key itself, whose
 * predecessor stays beside it as validator.key.old, or .old.2 and so on. It votes once governance has put it in the place
 * that the configuration names. ERR_LOCKED: the node runs. */
int home_rekey(const char *home, const char *key, struct errmsg *m);

#endif
