/* Shared by measure*.c only. */
#ifndef SIM_MEASURE_PRIVATE_H
#define SIM_MEASURE_PRIVATE_H

#include "sim/measure.h"
#include "sim/world.h"

#define MEASURE_WINDOW_US  UINT64_C(100000)
#define MEASURE_SPREAD_MAX 1024 /* blocks on their way to everybody */
#define MEASURE_RING_MAX   2048
#define MARKS_KEPT	   512

struct spread_block {
	uint64_t height, nodes;
};
struct seen_node { /* what a replica was when it was last looked at */
	bool up, in_pbft;
	uint32_t life;
	enum engine_role role;
	struct block_ref prepare, commit; /* newest that were sent in an APPENDED */
	uint64_t escalated[4];		  /* E1 to E4, counted */
	unsigned cause; /* of its way to pbft: 1 to 4; 0: it was taken along */
};
struct failing { /* a change of leader that is under way */
	bool on;
	uint64_t lost_at, lost_term;
	uint64_t asked_at, elected_at, committed_at; /* 0: not yet */
	uint32_t backlog;
	uint64_t messages;
	struct measure_failover split;
};
struct measure {
	struct sim_measures *out;
	struct message_in *decoded; /* scratch */
	bool warm;
	uint64_t level_at, counted_from_us;
	struct spread_block spread[MEASURE_SPREAD_MAX];
	struct seen_node node[VALIDATORS_MAX];
	struct failing failing;
	uint64_t longest; /* leader lost - first commit, of the failover that is kept */
	/* measure_window.c; positions count all messages sent */
	struct measure_event ring[MEASURE_RING_MAX];
	uint64_t sent;
	struct measure_mark marks[MARKS_KEPT];
	uint64_t marked;
	enum measure_moment moment;    /* that a window is open for */
	uint64_t from, to;	       /* of the window */
	uint64_t newest, steady_until; /* heights */
	uint64_t decided;
};

/* measure_states.c */
void measure_asked(struct sim *s);
void measure_committed(struct sim *s, const struct block *b);
void measure_backlog(struct sim *s, uint64_t submitted_us);
void measure_failover_end(struct sim *s);
/* measure_window.c */
void window_sent(struct sim *s, unsigned from, unsigned to, struct packet *p);
void window_decided(struct sim *s);
void window_moment(struct sim *s, enum measure_moment moment);
void window_mark(struct sim *s, unsigned node, const char *text);
void window_end(struct sim *s);

#endif
