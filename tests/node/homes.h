/* Home directories for tests: a genesis with n validators and their configurations. */
#ifndef TESTS_NODE_HOMES_H
#define TESTS_NODE_HOMES_H

#include "chain/genesis.h"

/* DIR/node1.. with genesis.json, validator.key, ostrakond.conf. Peers listen on free ports in a
 * row, the API on any free port. g (contents freed by the caller) and client are out. Everybody
 * may submit; the client owns a million; governance has the two keys of homes_governance(), and
 * takes both to decide. */
void homes_make(const char *dir, unsigned n, const char *limits, struct genesis *g,
		struct keypair *client);
void homes_governance(struct keypair out[2]);

#endif
