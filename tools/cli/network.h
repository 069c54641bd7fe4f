/* A network directory as `net init` makes it: genesis.json, client.key, and a home a node. */
#ifndef TOOLS_CLI_NETWORK_H
#define TOOLS_CLI_NETWORK_H

#include <sys/types.h>

#include "node/config.h"
#include "tools/cli/keys.h"

#define NETWORK_DEFAULT "ostrakon-network" /* in the current directory */

struct network_node {
	char name[GENESIS_NAME_MAX + 1];
	char home[PATH_SIZE];
	struct node_config config;
};
struct network {
	char dir[PATH_SIZE];
	struct genesis genesis;
	unsigned count;
	struct network_node *node; /* by validator index */
};

/* Has genesis.json and is not itself a node's home. */
bool is_network_directory(const char *path);
bool is_node_home(const char *path); /* has ostrakond.conf */
/* --home, if it is a network directory; without --home, ./ostrakon-network if it is one. */
bool network_directory(struct cli *c, char out[PATH_SIZE]);

/* Prints what is wrong if --home is given and is neither; exit code. */
int home_check(struct cli *c);

/* Prints that there is no such node if --node looks like the name of one in the network of
 * --home, which would else be taken for a host's; exit code. */
int node_check(struct cli *c);

/* ERR_NOT_FOUND if dir is no network directory. network_free() in any case. */
int network_open(struct network *out, const char *dir, struct errmsg *m);
void network_free(struct network *n);
/* Index of a node, or -1. */
int network_find(const struct network *n, const char *name);
/* http://HOST:PORT of the node's API, from HOME/api if it is there, else its configuration.
 * Requests to it then bear the token of its configuration, if that has one and lets itself be
 * read. */
void node_api_url(const struct network_node *node, char out[CONFIG_TEXT_MAX + 32]);

/* The same from its home and genesis alone, for a URL that is known. */
void node_home_token(const char *home, const struct genesis *g, const char *url);
struct network_plan {
	const char *dir;
	unsigned nodes;
	uint32_t checkpoint_interval, probation; /* 0: default */
	enum protocol protocol;
	uint64_t balance;
	uint16_t first_port; /* 0: any */
};
/* Makes a new directory with everything in it; if something fails, removes what it made.
 * ERR_EXISTS if dir is there and not empty. */
int network_create(const struct network_plan *plan, struct errmsg *m);

/* Gives nodes whose ports are taken by others new ones, in all configurations. running[i] says
 * whose ports are rightly taken. Returns how many ports changed, or an error; says each on
 * standard error. */
int network_fix_ports(struct cli *c, struct network *n, const bool *running, struct errmsg *m);
bool port_is_free(uint16_t port);

/* ---- processes ------------------------------------------------------------------------- */

enum process_state { PROCESS_DOWN, PROCESS_RUNNING, PROCESS_PAUSED };
struct process {
	enum process_state state;
	pid_t pid;
	uint64_t start; /* clock ticks after boot, from /proc: tells a recycled pid */
};
/* The process that holds the node's home, if any. */
void process_find(const char *home, struct process *out);
/* Signals exactly this process, never another with its number. ERR_NOT_FOUND if it is gone. */
int process_signal(const struct process *p, int signal_number);
bool process_alive(const struct process *p);
/* Path of ostrakond: OSTRAKOND, beside this program, PATH. ERR_NOT_FOUND; m says where it
 * looked. */
int ostrakond_find(char out[PATH_SIZE], struct errmsg *m);
/* Starts the node detached; its output goes to HOME/ostrakond.log. */
int process_start(const char *program, const char *home, pid_t *pid, struct errmsg *m);
/* Last lines of HOME/ostrakond.log: mem_free; empty if there is none. */
char *log_tail(const char *home, unsigned lines);

#endif
