/* The node's home directory and its configuration file.
 *
 *	HOME/ostrakond.conf   INI, read with inih; every key is known or it is an error
 *	HOME/genesis.json     what the chain is
 *	HOME/validator.key    key file (crypto/keyfile.h)
 *	HOME/data/            RocksDB
 *	HOME/ostrakond.pid    while it runs: pid; locked
 *	HOME/api              while it runs: the API's URL, one line
 *
 * A network directory (made by `ostrakon net init DIR`) holds one home a node, named node1,
 * node2, ..., a client key client.key and genesis.json. Precedence: flag, OSTRAKON_* in the
 * environment, file, default. */
#ifndef NODE_CONFIG_H
#define NODE_CONFIG_H

#include "base/err.h"
#include "chain/genesis.h"

#define CONFIG_TEXT_MAX	   255
#define CONFIG_PATH_MAX	   1023
#define CONFIG_API_PORT	   7100	  /* default of [api] listen, on 127.0.0.1 */
#define CONFIG_HISTORY	   100000 /* default of [limits] history */
#define CONFIG_HISTORY_MIN 1024	  /* = LEDGER_HISTORY_MIN */

struct node_peer_address {
	char host[CONFIG_TEXT_MAX + 1];
	uint16_t port;
};
struct node_config {
	char home[CONFIG_PATH_MAX + 1];
	/* [node] */
	char name[GENESIS_NAME_MAX + 1];     /* name = node1; default: as in genesis */
	char log_level[CONFIG_TEXT_MAX + 1]; /* log = info,consensus=debug */
	char log_format[16];		     /* log_format = text|json */
	/* [peers]: listen = HOST:PORT, then one line a validator: NAME = HOST:PORT */
	struct node_peer_address listen;
	struct node_peer_address
		peer[VALIDATORS_MAX]; /* by validator index; port 0: not given */
	/* [api] listen = HOST:PORT */
	struct node_peer_address api;
	/* [timing] in milliseconds: heartbeat, timeout_min, timeout_max, timeout_cap; 0 default
	 */
	uint32_t heartbeat_ms, timeout_min_ms, timeout_max_ms, timeout_cap_ms;
	/* [limits] verify_threads, api_connections, pipeline; 0 default */
	uint32_t verify_threads, api_connections, pipeline;
	/* [limits] history: heights whose state stays readable, besides the newest. More need
	 * more disk; a height below is answered with 410. At least 1024. */
	uint32_t history;
};
/* Reads HOME/ostrakond.conf. g (read before) gives the validators' names. m names file, line,
 * the key, and the nearest known key: `node1/ostrakond.conf:7: unknown key "listne" in [api],
 * did you mean "listen"?` */
int node_config_read(struct node_config *out, const char *home, const struct genesis *g,
		     struct errmsg *m);
/* OSTRAKON_LOG, OSTRAKON_LOG_FORMAT, OSTRAKON_PEERS_LISTEN and OSTRAKON_API_LISTEN over the
 * file. */
int node_config_environment(struct node_config *c, const struct genesis *g, struct errmsg *m);
/* HOST:PORT or [HOST]:PORT; port 0 is fine here. */
int host_port_parse(struct node_peer_address *out, const char *text); /* ERR_SYNTAX */

#endif
