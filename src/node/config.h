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

#include "base/json.h"
#include "chain/genesis.h"

#define CONFIG_TEXT_MAX	     255
#define CONFIG_PATH_MAX	     1023
#define CONFIG_API_PORT	     7100   /* default of [api] listen, on 127.0.0.1 */
#define CONFIG_HISTORY	     100000 /* default of [limits] history */
#define CONFIG_HISTORY_MIN   1024   /* = LEDGER_HISTORY_MIN: node.c */
#define CONFIG_BLOCKS_MIN    8192   /* = REPLICA_BLOCKS_MIN: node.c */
#define CONFIG_SYNC_GAP	     4096   /* default of [limits] sync_gap */
#define CONFIG_SYNC_GAP_MIN  64
#define CONFIG_CACHE_MIB     80	    /* default of [limits] cache */
#define CONFIG_CACHE_MIB_MIN 16

/* What holds where nothing is given. */
#define CONFIG_HEARTBEAT_MS   50
#define CONFIG_TIMEOUT_MIN_MS 300
/* Less than twice the least, which is what a timeout_min that is given brings with it: after a
 * leader's death the first of three timers runs out 25 ms sooner, and 200 ms are far more than
 * votes take. From 100 to 167 ms, busy nodes were candidates at the same time too often. */
#define CONFIG_TIMEOUT_MAX_MS	500
#define CONFIG_TIMEOUT_CAP_MS	4000
#define CONFIG_DISK_RESERVE_MIB 64
/* A client shares its thread with an eighth of a crowd: with 2, 1,000 connections that did
 * everything wrong made its p99 four times what it was (tests/node/abuse). */
#define CONFIG_API_THREADS	  8
#define CONFIG_VERIFY_THREADS	  2
#define CONFIG_API_CONNECTIONS	  1024
#define CONFIG_REQUEST_TIMEOUT_MS 30000
#define CONFIG_EVENT_STREAMS	  64
#define CONFIG_PIPELINE		  4
#define CONFIG_SCRUB_INTERVAL	  86400
#define CONFIG_SCRUB_RATE	  1024

enum config_key {
	KEY_NAME,
	KEY_LOG,
	KEY_LOG_FORMAT,
	KEY_PEERS_LISTEN,
	KEY_API_LISTEN,
	KEY_API_HOSTS,
	KEY_TOKEN_FILE,
	KEY_HEARTBEAT,
	KEY_TIMEOUT_MIN,
	KEY_TIMEOUT_MAX,
	KEY_TIMEOUT_CAP,
	KEY_API_THREADS,
	KEY_VERIFY_THREADS,
	KEY_API_CONNECTIONS,
	KEY_API_PER_ADDRESS,
	KEY_REQUEST_TIMEOUT,
	KEY_EVENT_STREAMS,
	KEY_PIPELINE,
	KEY_DISK_RESERVE,
	KEY_DISK_FREE_FILE,
	KEY_FAULTS_FILE,
	KEY_HISTORY,
	KEY_BLOCKS,
	KEY_SYNC_GAP,
	KEY_SCRUB_INTERVAL,
	KEY_SCRUB_RATE,
	KEY_CACHE,
	CONFIG_KEYS
};
enum config_origin { ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_ENVIRONMENT, ORIGIN_FLAG };

struct node_peer_address {
	char host[CONFIG_TEXT_MAX + 1];
	uint16_t port;
};
struct node_config {
	char home[CONFIG_PATH_MAX + 1];
	/* [node] */
	char name[GENESIS_NAME_MAX + 1];     /* name = node1; default: as in genesis */
	char log_level[CONFIG_TEXT_MAX + 1]; /* log = info,consensus=debug */
	char log_format[16];		     /* log_format = text|logfmt|json */
	/* [peers]: listen = HOST:PORT, then one line a validator: NAME = HOST:PORT */
	struct node_peer_address listen;
	struct node_peer_address
		peer[VALIDATORS_MAX]; /* by validator index; port 0: not given */
	/* [api] listen = HOST:PORT; hosts = NAME,NAME: names besides the address that requests
	 * may be for; token_file = PATH (from the home directory on): requests need its token
	 */
	struct node_peer_address api;
	char api_hosts[CONFIG_TEXT_MAX + 1], token_file[CONFIG_TEXT_MAX + 1];
	/* [timing] in milliseconds: heartbeat, timeout_min, timeout_max, timeout_cap; 0
	 * default: config_timeout_max_ms() */
	uint32_t heartbeat_ms, timeout_min_ms, timeout_max_ms, timeout_cap_ms;
	/* [limits]; 0 default. disk_reserve in MiB, request_timeout in ms */
	uint32_t api_threads, verify_threads, api_connections, pipeline;
	/* [limits] history: heights whose state stays readable, besides the newest. More need
	 * more disk; a height below is answered with 410. At least 1024. */
	uint32_t history;
	/* [limits] blocks: how many of the newest final blocks are kept; 0, the default: all.
	 * At least 8192, and at least history. */
	uint32_t blocks;
	/* [limits] sync_gap: farther behind than so many blocks it fetches a state from its
	 * peers, and blocks only from there on. At least 64. */
	uint32_t sync_gap;
	/* [limits] scrub_interval in seconds, scrub_rate in KiB/s: how often and how fast the
	 * node reads all its data to find damage. */
	uint32_t scrub_interval_s, scrub_rate_kib;
	/* [limits] cache in MiB: four fifths for nodes of the state tree, the rest for
	 * RocksDB's blocks, indexes and filters. At least 16. */
	uint32_t cache_mib;
	uint32_t api_per_address, request_timeout_ms, event_streams, disk_reserve_mib;
	/* [debug] disk_free_file = PATH: if that file exists, the number in it is taken for the
	 * free bytes of the disk. For tests of full disks */
	char disk_free_file[CONFIG_TEXT_MAX + 1];
	/* [debug] faults_file = PATH (from the home directory on): node/debug.h */
	char faults_file[CONFIG_TEXT_MAX + 1];
	/* where each value comes from; line: of the file */
	struct {
		enum config_origin from;
		int line;
	} origin[CONFIG_KEYS], peer_origin[VALIDATORS_MAX];
};
/* Reads HOME/ostrakond.conf. g (read before) gives the validators' names. m names file, line,
 * the key, and the nearest known key: `node1/ostrakond.conf:7: unknown key "listne" in [api],
 * did you mean "listen"?` */
int node_config_read(struct node_config *out, const char *home, const struct genesis *g,
		     struct errmsg *m);
/* The environment over the file: OSTRAKON_LOG, OSTRAKON_LOG_FORMAT, and for the other keys but
 * [node] name OSTRAKON_SECTION_KEY, such as OSTRAKON_API_LISTEN. */
int node_config_environment(struct node_config *c, const struct genesis *g, struct errmsg *m);
/* Calls each(arg, name, near) for every variable of the environment that would set a key, were
 * there one of that name, such as OSTRAKON_API_LISTNE; near: the variable that may have been
 * meant, or NULL. They are no error: who starts a node may have variables that are not for it. */
void node_config_misspelt(void (*each)(void *arg, const char *name, const char *near),
			  void *arg);
/* Whether the environment variable of this name sets a key. */
bool node_config_is_variable(const char *name);
/* A flag over both; flag is its name for messages, such as --log. */
int node_config_flag(struct node_config *c, const struct genesis *g, enum config_key key,
		     const char *flag, const char *value, struct errmsg *m);
/* [{"key": "api.listen", "value": "127.0.0.1:7100", "origin": "file", "source":
 * "node1/ostrakond.conf:4"}, ...], all keys, section by section; source is null for defaults.
 */
struct json *node_config_json(const struct node_config *c, const struct genesis *g);
/* [timing] timeout_min and timeout_max, or their defaults. */
uint32_t config_timeout_min_ms(const struct node_config *c);
uint32_t config_timeout_max_ms(const struct node_config *c);
/* [limits] api_threads and verify_threads, or their defaults. */
unsigned config_api_threads(const struct node_config *c);
unsigned config_verify_threads(const struct node_config *c);
/* What [limits] cache gives to the state tree and to the store, in bytes. */
size_t config_tree_cache(const struct node_config *c);
size_t config_store_cache(const struct node_config *c);
/* HOST:PORT or [HOST]:PORT; port 0 is fine here. */
int host_port_parse(struct node_peer_address *out, const char *text); /* ERR_SYNTAX */
bool host_is_loopback(const char *host); /* 127.x.x.x, ::1, localhost */

#endif
