/* The load generator's parts: verb_bench.c plans, signs and tells; bench_load.c keeps the
 * network busy; bench_patient.c sees to what did not go as usual; bench_check.c looks
 * afterwards whether all that was acknowledged is there. */
#ifndef TOOLS_CLI_BENCH_H
#define TOOLS_CLI_BENCH_H

#include "tools/cli/client.h"
#include "tools/cli/hdr.h"

struct bench_tx {
	struct slice bytes; /* signed; owned */
	struct hash id;
	uint64_t from;	 /* microseconds: when it was due, or a client had it ready */
	uint64_t height; /* committed there; 0: not */
	uint32_t index;	 /* and so */
	bool decided;
};

struct bench {
	struct cli *c;
	struct target *t;
	struct keypair key;
	uint64_t first_nonce, expiry;
	size_t value_size, batch;
	uint64_t keys; /* 0: each transaction writes a new one */
	unsigned clients, connections;
	unsigned first; /* node that the first connection goes to, the others to those behind it */
	bool at_leader; /* or to that one, too, until it is gone */
	uint64_t tag; /* of this run's keys */
	size_t count;
	struct bench_tx *tx;
	size_t next;   /* the next to be taken */
	uint64_t rate; /* 0: closed loop */
	uint64_t drain_ms;
	/* microseconds; counted is what was ready, or due, from `measured` on; end: 0 if by
	 * count */
	uint64_t begin, measured, end, last_done;
	struct hdr latency; /* microseconds, of those committed */
	size_t sent, committed, in_time, refused, unknown, unverified;
	size_t requests, patient;  /* patient: transactions that took more than one try */
	FILE *save;		   /* NULL: none */
	bool save_failed, ran_out; /* ran_out: of signed ones, before the end */
	uint64_t height_low, height_high, one_round, latest_send;
	uint64_t certificates; /* verified */
	double cpu_s;	       /* of this program while it loaded */
	size_t checked, missing, unchecked;
	struct errmsg m; /* of the first that failed */
};

/* When the i-th is due in an open loop. */
static inline uint64_t bench_due(const struct bench *b, size_t i)
{
	return b->begin + (uint64_t)((double)i * 1e6 / (double)b->rate);
}

/* verb_bench.c: what became of tx[i] at `done`. */
void bench_count(struct bench *b, size_t i, const struct receipt *r, uint64_t done);

/* bench_load.c: until all is sent and decided, or time is up, or a signal came. */
void bench_load(struct bench *b);

/* bench_patient.c: threads that send until the outcome is certain, as any other verb does. */
struct patient_job {
	struct patient_job *next;
	size_t count;
	size_t *index;		  /* into bench.tx */
	struct submission *s;	  /* of each */
	uint64_t begun, deadline; /* microseconds; now_ms() */
};
struct patient; /* opaque */
struct patient *patient_new(struct target *t, unsigned threads_max);
void patient_free(struct patient *p); /* when nothing is under way */
int patient_fd(const struct patient *p);
/* Copies index. maybe_sent: a try that failed may have been delivered. */
void patient_give(struct patient *p, const struct bench *b, const size_t *index, size_t count,
		  bool maybe_sent, uint64_t deadline);
struct patient_job *patient_take(struct patient *p); /* a finished one; NULL */
void patient_job_free(struct patient_job *j);

/* bench_check.c: reads the blocks again from the nodes. Prints nothing. */
void bench_check(struct bench *b);

#endif
