/* What happens in a run, and when: faults and attacks by time, by height, or once a malicious
 * replica leads. Scenario files are written in these terms (docs/lab.md); the simulator
 * and the live lab both carry them out. */
#ifndef SIM_SCRIPT_H
#define SIM_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

enum script_trigger {
	TRIGGER_TIME,	/* at: microseconds after the start */
	TRIGGER_HEIGHT, /* at: final height */
	TRIGGER_LEADS,	/* a malicious replica leads */
};
enum script_kind {
	SCRIPT_CRASH, /* kill -9 */
	SCRIPT_RESTART,
	SCRIPT_PAUSE,	  /* the process stands still; always for a while */
	SCRIPT_PARTITION, /* groups, which may overlap; who is in none is alone */
	SCRIPT_ISOLATE,	  /* nothing to or from them */
	SCRIPT_DEAFEN,	  /* nothing to them */
	SCRIPT_MUTE,	  /* nothing from them */
	SCRIPT_HEAL,	  /* ends all cuts */
	SCRIPT_DELAY,	  /* of every message: low to high, microseconds */
	SCRIPT_LOSS,	  /* low: per mille */
	SCRIPT_DUPLICATE, /* low: per mille of messages arrive twice */
	SCRIPT_REORDER,	  /* links keep no order */
	SCRIPT_SLOW,	  /* links of these take longer by low to high, microseconds */
	SCRIPT_THROTTLE,  /* each link of these carries low bytes a second each way */
	SCRIPT_RESET,	  /* their connections break; links come back by themselves */
	SCRIPT_SKEW,	  /* the wall clock is ahead by low, or behind by high; microseconds */
	SCRIPT_SLOW_DISK, /* low: microseconds a sync */
	SCRIPT_TEAR,	  /* killed in the middle of the next sync; comes back by itself */
	SCRIPT_FILL,   /* no room on the disk: the next write fails; restarted once there is */
	SCRIPT_WIPE,   /* killed; comes back with an empty disk */
	SCRIPT_REWIND, /* killed; comes back with the disk as it was when it last came up */
	SCRIPT_ATTACK, /* from now on these, by all malicious replicas */
	SCRIPT_PEACE,  /* no attacks from now on */
	SCRIPT_QUIET,  /* clients stop */
	SCRIPT_LOAD,   /* and go on */
	SCRIPT_REPLACE, /* governance gives them new keys, one after the other */
	SCRIPT_KINDS
};
enum script_who {
	SCRIPT_NOBODY,
	SCRIPT_NODES, /* mask */
	SCRIPT_LEADER,
	SCRIPT_FOLLOWERS, /* all but the leader */
	SCRIPT_MALICIOUS,
	SCRIPT_HONEST,
	SCRIPT_ALL,
	SCRIPT_MINORITY, /* as many as may be cut off while the others go on; the last ones */
	SCRIPT_HALF,	 /* half of all: neither side can go on; the last ones */
};
#define SCRIPT_GROUPS_MAX 4
#define SCRIPT_MAX	  32
struct script_action {
	enum script_trigger trigger;
	uint64_t at;
	enum script_kind kind;
	enum script_who who;
	uint64_t mask; /* NODES */
	unsigned groups;
	uint64_t group[SCRIPT_GROUPS_MAX]; /* PARTITION by masks; groups 0: who against the rest
					    */
	uint64_t for_us;		   /* 0: until something else ends it */
	uint64_t low, high;
	uint64_t attacks;
	unsigned line; /* of the file */
};
struct script {
	struct script_action action[SCRIPT_MAX];
	unsigned count;
};

/* Is this kind undone after for_us? (CRASH by a restart, PAUSE by resuming, ...) */
bool script_can_end(enum script_kind kind);
/* Masks of nodes, for n of them. leader: index, or n if there is none now. */
uint64_t script_mask(const struct script_action *a, unsigned n, unsigned leader,
		     uint64_t malicious);
/* Does it take the leader away? Then the time until another has a block final is a failover. */
bool script_hits_leader(const struct script_action *a, uint64_t mask, unsigned leader);
/* cut[from * n + to]: does nothing pass there any more, as far as this action says? */
bool script_cuts(const struct script_action *a, unsigned n, uint64_t mask, unsigned from,
		 unsigned to);

/* ---- a part of a run --------------------------------------------------------------------
 *
 * What happens by chance or malice has a number, from 1 on, that depends on nothing but the
 * run: the storm's faults; each moment at which a malicious replica could do something; each
 * message of a link. A list of numbers picks some. */

/* Ranges, ascending, with gaps between. */
#define OCCURRENCES_MAX 1024
struct occurrences {
	uint32_t count;
	bool more; /* there was no room for all */
	struct occurrence_range {
		uint32_t first, last;
	} range[OCCURRENCES_MAX];
};
/* number: above all that are in it. */
void occurrences_add(struct occurrences *o, uint32_t number);
bool occurs(const struct occurrences *o, uint32_t number);

/* One message lost. */
#define LOSSES_MAX 1024
struct loss {
	uint8_t from, to;
	uint32_t number; /* of those that this link was given */
};
/* By from, to, number. */
int loss_compare(const struct loss *a, const struct loss *b);
struct losses {
	uint32_t count;
	bool more;
	struct loss loss[LOSSES_MAX]; /* ascending */
};
bool losses_have(const struct losses *l, unsigned from, unsigned to, uint32_t number);

/* What took place in a run, by number. */
struct sim_record {
	struct occurrences faults;  /* of the storm */
	struct script script;	    /* the same faults in the words of scripts */
	bool script_more;	    /* there was no room for all */
	struct occurrences strikes; /* moments at which an attack took place */
	uint32_t moments;	    /* at which one could have */
	struct losses losses;	    /* by chance; in the order of time */
};

#endif
