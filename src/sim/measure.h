/* What a run of the simulator cost and how it went, for the lab (docs/lab.md, "Measures").
 * Collected only where sim_options.measure points somewhere; nothing here changes a run. */
#ifndef SIM_MEASURE_H
#define SIM_MEASURE_H

#include "sim/sim.h"

/* What a message is for. */
enum measure_phase {
	PHASE_NORMAL,	     /* orders blocks and makes them final */
	PHASE_CERTIFICATE,   /* alone, because no block was there to carry it */
	PHASE_LEADER_CHANGE, /* elections and view changes */
	PHASE_HEARTBEAT,
	PHASE_CHECKPOINT, /* statements of their own; today's ride on votes */
	PHASE_ESCALATION, /* evidence and suspicions */
	PHASE_REPAIR,	  /* who is behind fetches */
	PHASE_CLIENT,	  /* transactions on their way to a leader */
	PHASES
};
const char *measure_phase_name(enum measure_phase p);
/* Of a message with blocks, where the type may have them. */
enum measure_phase measure_phase_of(uint8_t type);

#define MEASURE_TIMES_MAX	4096
#define MEASURE_WINDOWS_MAX	600
#define MEASURE_TRANSITIONS_MAX 64
#define MEASURE_EVENTS_MAX	300
#define MEASURE_MARKS_MAX	64
#define MEASURE_TEXT_MAX	48
#define MEASURE_NEVER		UINT64_MAX

/* The newest ones; count goes on. Microseconds. */
struct measure_times {
	uint64_t count;
	uint32_t us[MEASURE_TIMES_MAX];
};
/* One after the other; MEASURE_NEVER: it did not happen. Microseconds. */
struct measure_failover {
	uint64_t detection;    /* leader lost - a correct replica asks for another one */
	uint64_t election;     /* - one of them leads */
	uint64_t first_commit; /* - a block of its term is final */
	uint64_t backlog;      /* - what clients had waiting by then is final */
};
struct measure_event {		 /* a message to one receiver */
	uint64_t sent, received; /* us; received MEASURE_NEVER: lost, or under way at the end */
	uint16_t from, to;
	uint8_t type;
	uint64_t height; /* of the newest block that it is about; 0: none */
};
struct measure_mark {
	uint64_t at;
	uint16_t node;
	char text[MEASURE_TEXT_MAX];
};
/* What the space-time diagram is drawn round; the greatest there is. */
enum measure_moment {
	MOMENT_NONE,
	MOMENT_STEADY,
	MOMENT_LEADER_LOST,
	MOMENT_PROOF,
	MOMENT_FORK,
	MOMENTS
};
const char *measure_moment_name(enum measure_moment m);

struct sim_measures {
	uint64_t counted_us; /* virtual time of what was counted: without the warm-up */
	uint64_t phase[PHASES];
	uint64_t bytes_by_type[ENGINE_MESSAGE_TYPES];
	/* Of types of the normal case: certificates that went alone, and answers to them. */
	uint64_t lone[ENGINE_MESSAGE_TYPES];
	struct measure_times leader; /* first sight of a block - final at its leader */
	struct measure_times all;    /* - final at every correct replica */
	struct measure_times client; /* submitted - final where it was submitted */
	uint64_t window_us;
	uint32_t windows;
	uint32_t window[MEASURE_WINDOWS_MAX]; /* decisions */
	uint64_t failover_messages;	      /* of changes of leader, until its first commit */
	struct measure_failover failover;     /* the longest */
	uint32_t transition_count;
	struct measure_transition {
		char name[MEASURE_TEXT_MAX];
		uint64_t count;
	} transition[MEASURE_TRANSITIONS_MAX];
	enum measure_moment moment;
	uint32_t event_count, mark_count;
	struct measure_event event[MEASURE_EVENTS_MAX];
	struct measure_mark mark[MEASURE_MARKS_MAX];
};

/* ---- for the simulator ------------------------------------------------------------------- */

struct packet;
struct measure; /* what is under way; opaque */

struct measure *measure_new(const struct sim_options *options);
void measure_free(struct measure *m);
/* A message leaves, to however many: its phase and height. */
void measure_packet(struct sim *s, unsigned from, struct packet *p);
/* At the transport, once a receiver; and when it is there. */
void measure_sent(struct sim *s, unsigned from, unsigned to, struct packet *p);
void measure_delivered(struct sim *s, unsigned to, const struct packet *p);
void measure_step(struct sim *s, unsigned node); /* after each */
void measure_down(struct sim *s, unsigned node);
/* A correct replica has a block final; before anybody else is told. */
void measure_block(struct sim *s, unsigned node, const struct block *b);
void measure_answer(struct sim *s, uint64_t submitted_us);
/* True: the warm-up, if there is one, is over, and what was counted in it is forgotten. */
bool measure_warm(struct sim *s);
/* True: what was sent has arrived, or none of it is counted. */
bool measure_settled(struct sim *s);
void measure_end(struct sim *s);

#endif
