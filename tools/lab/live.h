/* Live runs, private: real processes, watched and fed through the CLI. */
#ifndef TOOLS_LAB_LIVE_H
#define TOOLS_LAB_LIVE_H

#include <sys/types.h>

#include "base/random.h"

#include "tools/lab/lab.h"
#include "tools/lab/live_run.h"
#include "tools/lab/relay.h"
#include "tools/lab/result.h"

#define LIVE_CLIENTS_MAX 4
#define LIVE_BATCH	 10 /* writes of one client at a time */
#define LIVE_URL_MAX	 160

#define LIVE_FAULTS_FILE     "faults" /* of a home: node/debug.h */
#define LIVE_TRANSITIONS_MAX 48
#define LIVE_WINDOW_US	     100000
#define LIVE_PATIENCE_US     1500000 /* a client that nobody answers asks another node ... */
#define LIVE_AVOID_US	     4000000 /* ... and all leave that one alone for so long */

/* Nor does a client turn to a node that has just come back: what that says of a nonce is as old
 * as its ledger. */
#define LIVE_SETTLE_US 1500000

struct live;

/* A program that we started, and what it prints. */
struct child {
	pid_t pid;  /* 0: none */
	int fd;	    /* its standard output; -1: closed */
	char *text; /* not yet taken; owned */
	size_t len, cap;
	bool ended;
	int code;						   /* exit code, once ended */
	void (*line)(struct live *w, struct child *c, char *line); /* NULL: text is kept */
	unsigned who;
};
struct live_client {
	struct child put;
	uint64_t sent;		       /* keys so far */
	uint64_t idle_until, heard_at; /* us; the latest acknowledgement, or the start */
	unsigned node;		       /* asked */
};
/* Faults by chance, one of each kind at a time: live_storm.c. */
struct live_storm {
	struct random random;
	uint64_t next_at;	   /* 0: not begun */
	uint64_t down, down_until; /* masks of nodes; microseconds */
	uint64_t paused, paused_until;
	uint64_t side, cut_until; /* one side of a partition */
	uint64_t deaf, mute, one_way_until;
	uint32_t loss_per_mille;
	uint64_t loss_until, slow_us, slow_until;
};
struct live_counts { /* of a node's /metrics */
	uint64_t messages[ENGINE_MESSAGE_TYPES], bytes[ENGINE_MESSAGE_TYPES];
	uint64_t made, checked, final_height;
};
struct live_failover { /* us, of the run; 0: not yet */
	uint64_t lost, detected, elected, committed;
};
/* A height, as the first correct replica reported it final. */
struct seen_block {
	bool known, pbft;
	uint64_t at_us, term;
	struct hash hash;
	enum cert_kind grade;
	uint64_t certified, signers; /* of its certificate: height, mask */
};
struct live {
	const struct lab_options *o;
	const struct scenario *s;
	unsigned n;
	uint64_t malicious; /* the last ones */
	char dir[560];
	char url[VALIDATORS_MAX][LIVE_URL_MAX];
	pid_t node[VALIDATORS_MAX]; /* 0: down */
	uint64_t paused;	    /* mask */
	uint64_t began_us;
	bool quiet; /* no load */
	struct live_client client[LIVE_CLIENTS_MAX];
	struct child watcher[VALIDATORS_MAX];
	struct child *call;
	uint64_t acknowledged;
	/* what was seen */
	struct seen_block *log;
	size_t log_cap, top;
	uint64_t first_at_us, last_at_us;
	unsigned leader;	       /* n: nobody */
	uint64_t leader_term, leaders; /* leaders: mask of those that ever led */
	char role[VALIDATORS_MAX][16], mode[VALIDATORS_MAX][16]; /* as last told */
	struct {
		char name[40];
		uint64_t count;
	} transition[LIVE_TRANSITIONS_MAX];
	unsigned transitions;
	/* of the latest loss of a leader, and of the one that took longest */
	struct live_failover failing, failover;
	bool changed_mode;		/* a correct replica was in pbft mode */
	uint64_t lost_at_us, lost_term; /* of the leader; 0: not lost */
	uint64_t healed_at_us;
	struct relay *relay;
	char *config[VALIDATORS_MAX]; /* of each home, before the relay's addresses; owned */
	struct relay_stats traffic; /* when the script was over */
	uint64_t avoid_until[VALIDATORS_MAX];
	struct live_storm storm;
	struct live_counts counted[VALIDATORS_MAX];
	uint64_t type_bytes[ENGINE_MESSAGE_TYPES];
	bool windowed; /* measured now */
	uint64_t window_from, window_at_us, window_us, window_acknowledged;
	uint64_t *latency; /* us, of what was acknowledged in the window; owned */
	size_t latencies, latency_cap;
	uint32_t *windows; /* decisions in each 100 ms of the window; owned */
	size_t window_count;
	uint64_t gave_up; /* times that a client waited in vain */
	bool fired[SCRIPT_MAX], undone[SCRIPT_MAX];
	uint64_t fired_at_us[SCRIPT_MAX], mask[SCRIPT_MAX];
	struct sim_result r;
};

/* live.c */
/* Borrows both; ERR_IO in m and NULL: no directory can be made. */
struct live *live_new(const struct lab_options *o, const struct scenario *s, struct errmsg *m);
/* From `net init` to the end; what came of it is in w->r. ERR_UNREACHABLE: the network did not
 * come up. ERR_CLOSED: live_interrupted(), and nothing is known. */
int live_play(struct live *w, struct errmsg *m);
/* keep: its directory, which is told on stderr with the command that brings the network up. */
void live_free(struct live *w, bool keep);
enum protocol live_protocol(const struct live *w);
bool live_is_idle(const struct live *w);
bool live_beyond_f(
	const struct live *w); /* more liars than are tolerated: nothing is promised */

/* live_process.c */
uint64_t live_now_us(void);
uint64_t live_us(const struct live *w); /* since the start */
/* Starts the CLI with these arguments, NULL at the end. */
bool child_cli(struct live *w, struct child *c, const char *const *args);
void child_end(struct child *c); /* ends it if it runs, and forgets what it printed */
/* Reads what children print, and calls their line functions, for at most so long. */
void live_pump(struct live *w, unsigned ms);
void live_wait(struct live *w, unsigned ms); /* not once live_interrupted() */
/* Runs the CLI to its end while the others are heard. *out (NULL: dropped) is owned. It is
 * killed, and the code is 127, once live_interrupted(). */
int live_cli(struct live *w, char **out, const char *const *args);
/* Its JSON answer; NULL: it failed. Owned. node: n for any. */
struct json *live_ask(struct live *w, unsigned node, const char *const *verb);
bool live_start_node(struct live *w, unsigned i);
void live_kill_node(struct live *w, unsigned i);
void live_pause_node(struct live *w, unsigned i, bool pause);
void live_stop(struct live *w);
/* To all malicious ones: these attacks from now on; 0 is peace. */
void live_order(struct live *w, uint64_t attacks);
void live_count_strikes(struct live *w);

/* live_net.c */
/* After `net init`: opens the relay, and rewrites the homes so that every link goes through. */
bool live_net_begin(struct live *w, struct errmsg *m);
void live_net_apply(struct live *w); /* what is fired, not undone, and not healed */
void live_net_heal(struct live *w);  /* ends all cuts of the script */
void live_net_reset(struct live *w, uint64_t mask);
/* Closes the relay. keep: the homes name their peers' own addresses again, so that the network
 * can be brought up without the relay; false: they do not. */
bool live_net_end(struct live *w, bool keep);
void live_node_faults(struct live *w, unsigned i); /* clock and disk, as of now */

/* live_metrics.c */
void live_counts_look(struct live *w, unsigned i); /* adds what is new to w->r */
/* What is measured, by message and by decision, happens between the two. */
void live_window_begin(struct live *w);
void live_window_end(struct live *w);

/* live_storm.c */
/* Faults come and go by chance; since is the time since the script began. */
void live_storm(struct live *w, uint64_t since);
void live_storm_end(struct live *w);
void storm_add(const struct live *w, struct relay_way *way, unsigned from, unsigned to);

/* live_watch.c */
void live_watch_begin(struct live *w);
void live_watch_end(struct live *w);
/* What the ledger says by now: mode changes and convictions, with their times. verify: each is
 * rechecked from the genesis file; false: that failed. */
bool live_read_modes(struct live *w, bool verify);
void live_leader_lost(struct live *w);

/* live_load.c */
/* Each client has a key of its own: of one sender, two would take the same nonces. */
bool live_keys(struct live *w, struct errmsg *m);
void live_put(struct live *w, unsigned client, unsigned count);
bool live_putting(const struct live *w);
void live_patience(struct live *w); /* who waits in vain turns to another node */
void live_load(struct live *w);	    /* clients that are free begin again */
/* Reads all that was acknowledged again from this node, with proofs. */
bool live_all_there(struct live *w, unsigned node);

#endif
