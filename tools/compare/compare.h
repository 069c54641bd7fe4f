/* bench-compare: our network and etcd, in turn, under the same load on the same disk. */
#ifndef TOOLS_COMPARE_H
#define TOOLS_COMPARE_H

#include <sys/types.h>

#include "base/json.h"
#include "tools/cli/hdr.h"

#define NODES_MAX  31
#define LEVELS_MAX 16
#define ROUNDS_MAX 99
#define NOISY_SHARE                                                                            \
	0.1 /* other processes' share of all CPUs from which on a round is marked              \
	     */

struct settings {
	unsigned nodes, rounds, levels, level[LEVELS_MAX]; /* level: clients */
	unsigned connections;				   /* at most so many a run */
	unsigned seconds, warmup_s, value_size;
	char dir[512];
	char ostrakon[512]; /* program */
	char etcd[512];	    /* "": none */
	bool json;
};

/* One run of one system at one level. */
struct sample {
	bool valid;
	double tx_per_s, p50, p90, p99, p999, max; /* ms */
	double errors;
	double node_cpu_us, loader_cpu_us; /* a transaction; node: of all nodes together */
	double loader_share;		   /* of the CPU that the run took */
	double disk_bytes, blocks;	   /* disk: a transaction and node */
	double rss_mib, threads;	   /* the largest node's */
	double other_share;		   /* of all CPUs, taken by other processes */
	double found;			   /* acknowledged and there afterwards, as a share */
};

/* ---- machine.c ------------------------------------------------------------------------- */

unsigned machine_cores(void);
double machine_verify_per_s(void);	      /* of one core */
double machine_sign_per_s(void);
/* Median of 200 bytes there and back over TCP on 127.0.0.1, between threads on two CPUs that
 * sleep in between; < 0: fails. */
double machine_round_trip_ms(void);
/* Median of appends of 4 KiB to so many files at the same time; < 0: fails. */
double machine_fdatasync_ms(const char *dir, unsigned files);

struct usage {
	double cpu_s, disk_bytes, rss_mib, threads; /* rss, threads: the largest */
};

/* What was taken between two moments; pids: the nodes. */
struct meter {
	const pid_t *pid;
	unsigned count;
	double now_s, busy_s, own_s; /* own: this program and its children */
	struct usage usage;
};
void meter_start(struct meter *m, const pid_t *pid, unsigned count);
/* loader_cpu_s, tx: of the load in between. Fills in what struct sample has of CPU and disk. */
void meter_stop(const struct meter *m, double loader_cpu_s, double tx, struct sample *out);

/* ---- child.c --------------------------------------------------------------------------- */

/* Runs a program to its end, its output in *text (mem_free). Exit code; < 0: cannot be run. */
int child_run(const char *const argv[], char **text);
/* Starts one whose output goes to path; it dies with us. < 0: cannot. */
pid_t child_start(const char *const argv[], const char *path);
void child_stop(pid_t pid); /* SIGTERM, in the end SIGKILL, and waits */
bool child_runs(pid_t pid);
unsigned free_port(void);
void remove_tree(const char *dir);

/* ---- ours.c, etcd.c: a network, started and stopped once a round ------------------------ */

bool ours_start(const struct settings *s);
/* rate: so many transactions a second, an open loop; 0: a closed one. */
void ours_measure(const struct settings *s, unsigned clients, double rate, struct sample *out);
void ours_stop(const struct settings *s);

bool etcd_start(const struct settings *s);
void etcd_measure(const struct settings *s, unsigned clients, struct sample *out);
void etcd_stop(const struct settings *s);

/* ---- grpc.c: puts over gRPC, in this thread -------------------------------------------- */

struct grpc_load {
	unsigned port, clients, connections;
	unsigned warmup_s, seconds, value_size;
	char prefix[32]; /* of the keys */
	/* out; counted is what was sent after the warm-up */
	struct hdr latency;	/* microseconds */
	uint64_t done, in_time; /* all since the start; counted ones done before the end */
	uint64_t errors;
	double cpu_s;
};
/* False: no connection. */
bool grpc_put_load(struct grpc_load *l);
/* One call; the message of the answer into out. False: it fails. */
bool grpc_call(unsigned port, const char *path, struct slice message, struct writer *out);
/* Of a protobuf message: a varint field, the bytes of one; false: it is not there. */
bool proto_varint(struct slice message, unsigned field, uint64_t *out);
bool proto_bytes(struct slice message, unsigned field, struct slice *out);

#endif
