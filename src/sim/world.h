/* Private to the simulator. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "base/freelist.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"
#include "replica/replica.h"
#include "sim/measure.h"
#include "sim/sim.h"

enum event_kind {
	EVENT_DELIVER,
	EVENT_WAKE,
	EVENT_SYNCED,
	EVENT_CLIENT,
	EVENT_FAULT,
	EVENT_RESTART,
	EVENT_CRASH,
	EVENT_HEAL,
	EVENT_SCRIPT,
	EVENT_KILL,
	EVENT_MEMBER,
	EVENT_TURN_ENDS,
	EVENT_RESIGN,
	EVENT_SUBMIT, /* a client's transaction, at the node that it asks */
	EVENT_CPU     /* a processor can take up what waits for it */
};
struct packet {
	uint32_t refs;
	uint8_t type;
	uint8_t phase; /* from here only where something is measured */
	uint64_t height, ticket;
	size_t len;
	uint8_t bytes[];
};
struct event {
	uint64_t at, order; /* order breaks ties */
	enum event_kind kind;
	unsigned node, from;
	uint64_t number; /* write seq, client, or kind of fault */
	uint32_t life;	 /* of the node when it was made */
	struct packet *packet;
};
/* A heap of times, beside the events themselves, which stay where they are. */
struct event_queue {
	struct event_time {
		uint64_t at, order;
		uint32_t event;
	} * heap;
	struct event *events;
	uint32_t *free;	 /* places in events */
	size_t len, cap; /* cap - len are free */
};
/* What a correct replica has counted, as far as it has been looked at. */
struct modes_node {
	uint32_t life;
	uint64_t suspected_term; /* newest whose leader it suspected, in any life */
	uint64_t jailed;	 /* after the step before */
	uint64_t suspicions, e1, e2, escalations, timeouts;
	enum mode ledger; /* as of its newest final block */
};
/* What has reached a replica in its present life. */
struct heard_node {
	uint32_t life;
	uint64_t of[VALIDATORS_MAX]; /* when a message of each came last; 0: never */
	uint64_t timeout_at;	     /* the newest that counted toward E3; 0: none */
};
/* What a correct replica could see of its leader's chances to order, in its present life. */
struct fair_node {
	uint32_t life;
	uint64_t seen_at;	 /* the last look at it */
	uint64_t timeout;	 /* its own, the longest since then or since time was held */
	uint64_t late;		 /* since the same: time that lay beyond it */
	uint64_t opened_at;	 /* newest final block, or newest leader's acceptance */
	uint64_t allowed, held;	 /* time: in which it could; that is held against it */
	uint64_t left;		 /* of what was allowed, not held yet, at seen_at */
	uint64_t final, tc_term; /* as of the last look */
	uint16_t tc_leader;
	enum mode tc_mode;
};
/* What honest replicas have answered to how long a round takes, in its present engine. */
struct rounds_node {
	uint32_t life;
	uint64_t epoch, since, slowest, slowest_sync;
	uint64_t answered_at[VALIDATORS_MAX];
};
#define OWN_BLOCKS 64
struct own_block { /* that a replica has proposed */
	struct hash hash;
	uint64_t sync; /* that makes it durable */
	uint32_t life;
};
struct sim_node {
	struct sim *sim;
	unsigned index;
	struct keypair key;
	struct store *store;
	struct replica *replica; /* NULL: down */
	uint32_t life;
	uint64_t wake_at; /* of the pending wake event; 0: none */
	uint64_t final;	  /* newest final height seen */
	uint64_t tc_term; /* newest checked by [S3] */
	uint64_t sync_us; /* disk latency now */
	uint64_t seed;
	uint64_t paused_until;
	uint64_t busy_until; /* its processor */
	int64_t skew_ms;  /* of its wall clock */
	uint64_t turn_us; /* its host gathers for so long at most; 0: it does not */
	bool in_turn;	  /* it gathers */
	/* of its links: what they take longer, what they carry, until when they are broken */
	uint64_t slow_min, slow_max, bytes_per_s, reset_until;
	bool crash_at_sync; /* the next sync does not end */
	bool disk_full;	    /* no write succeeds */
	bool dying;	    /* killed at a write, until its step is over */
	uint64_t epoch;	    /* as last seen */
	bool observed;	    /* after its last step: it signs nothing */
	bool lost;	    /* the store is a new one since */
	bool reformed;	    /* has a new key: whoever was there, its holder means well */
	bool synced;	    /* has no block, nor place of a transaction, below a state it got */
	struct store
		*old_copy; /* of the disk, of when it last came up; where copies are used */
	bool rewound;	   /* has had such a copy put back */
	struct block_ref
		forgotten;	 /* what it had voted for by then, if the copy does not know */
	uint64_t asked, told_by; /* its newest question for its votes; who has answered it */
	bool wiped; /* had its disk replaced by an empty one: an observer, or a liar */
	struct block_ref vote;	 /* newest PREPARE seen to leave, of any life */
	struct block_ref commit; /* newest COMMIT */
	uint64_t statement;	 /* highest term of a VIEW-CHANGE or term vote seen to leave */
	struct modes_node modes;
	struct heard_node heard;
	struct own_block own[OWN_BLOCKS]; /* by height */
	uint64_t sync_asked, sync_done;	  /* numbers of syncs */
	struct rounds_node rounds;
	struct fair_node fair;
	/* of the baselines, in any life: newest term voted in, for whom; highest ballot
	 * promised */
	uint64_t voted_term, promised;
	uint64_t voted_for; /* mask */
};
/* The weather of one run, drawn from its seed: some are calm seas with many blocks in flight
 * and rare storms, others never settle. */
struct sim_profile {
	uint64_t fault_gap;	       /* at most so long between two faults */
	uint64_t think;		       /* a client's pause, at most */
	uint64_t delay_min, delay_max; /* of the healthy network */
	uint64_t sync_us;	       /* of a healthy disk */
	unsigned down_max;	       /* replicas that crashes keep down at once: f, or all */
};
struct sim_client {
	struct keypair key;
	uint64_t nonce;
	struct writer tx; /* the one outstanding */
	struct hash id;
	bool waiting;
	uint64_t submitted_at;
	unsigned node;		     /* asked */
	uint64_t retry_at, alarm_at; /* alarm_at: to_leader; of the pending event; 0: none */
};
struct log_record {
	struct hash hash, state_root;
	uint64_t final_term;
	struct cert *cert; /* only where forks are measured; owned */
};
struct known_header {
	uint64_t seen_at;
	struct hash prev;
	uint64_t height;
};
struct known_base { /* of the one certificate of a term */
	uint64_t epoch;
	struct block_ref base;
	uint16_t leader;
};
struct known_view { /* a NEW-VIEW that an honest engine has accepted */
	unsigned count;
	uint64_t named[VALIDATORS_MAX]; /* the mode entry that each view change has as final */
};
struct modes_seen {
	struct mode_state state; /* after the newest final block */
	uint64_t last_of_term;	 /* it holds a mode fast of this term; 0: none */
};
#define REPLAYS_MAX 64
struct sim_member { /* the change under way */
	bool active, installed, early;
	uint64_t wanted; /* by a script: bit mask */
	unsigned place, number;
	uint64_t epoch; /* that it ends */
	struct keypair key;
	struct writer change;
	struct replay { /* what was sent in an epoch, for malicious replicas to send in another
			 */
		struct packet *packet;
		uint64_t epoch;
	} replay[REPLAYS_MAX];
};
struct sim {
	struct sim_options options;
	struct sim_result *result;
	struct random random, kill_random, gather_random, resign_random;
	unsigned armed; /* with a kill point; n: none */
	bool dying;	/* some node is */
	uint64_t now, order;
	struct event_queue queue;
	struct freelist packets;
	struct genesis genesis;
	struct chain_ctx ctx;
	unsigned n;
	struct sim_node node[VALIDATORS_MAX];
	struct sim_profile profile;
	bool cut[VALIDATORS_MAX][VALIDATORS_MAX]; /* from, to */
	uint32_t loss_per_mille, duplicate_per_mille;
	uint64_t delay_min, delay_max;
	uint64_t delivering_at[VALIDATORS_MAX][VALIDATORS_MAX]; /* order without reordering */
	uint32_t link_sent[VALIDATORS_MAX][VALIDATORS_MAX];	/* messages, lost ones too */
	uint32_t fault_number;
	uint64_t line_free_at[VALIDATORS_MAX][VALIDATORS_MAX]; /* where links are throttled */
	bool reorder, cpu_counts;
	bool faults_on, draining, stopped;
	bool quiet;				   /* clients begin nothing new */
	uint64_t healed_at;			   /* 0: faults go on */
	uint64_t leader_lost_at, leader_lost_term; /* 0: not lost */
	bool script_fired[SCRIPT_MAX];
	uint64_t script_mask[SCRIPT_MAX];
	struct sim_client *clients;
	unsigned asked; /* to_leader: the leader as last seen; n: none */
	struct sim_member member;
	struct chain_ctx *epochs; /* by the final blocks; [0] = ctx */
	size_t epoch_count;
	struct chain_ctx team_ctx; /* of the newest */
	struct team *team;
	uint64_t corrupt; /* bit mask */
	/* checkers */
	struct log_record *log; /* by height; [0] genesis */
	size_t log_len, log_cap;
	struct map headers; /* every block sent: struct known_header */
	struct map views;   /* by hash: struct known_view */
	struct map places;  /* (term, height, leader) of every block sent: its known_header */
	struct map bases;   /* by term: struct known_base */
	struct message_in *decoded; /* scratch */
	struct map used;	    /* hash of (sender, nonce): at most once */
	struct map acked;	    /* ids acknowledged to clients, not yet seen in the log */
	struct map refused;	    /* ids that a correct replica refused for good */
	uint64_t last_final_at;
	struct modes_seen modes;
	uint64_t trace[2]; /* of every delivery */
	struct map final_ids;
	struct writer log_bytes;
	struct measure *measure; /* NULL: nothing is measured */
	uint64_t counted_from;	 /* height where the warm-up ended */
	struct sig_counts signatures_before;
	struct sig_counts unpaid; /* by clients and checkers */
	struct cpu_line *cpu_line; /* n, where processors count */
	struct sig_counts step_began;
	uint64_t step_us, step_txs; /* what the input costs; those that it made final */
};

/* world.c */
void sim_world_begin(struct sim *s, const struct sim_options *options,
		     struct sim_result *result);
void sim_world_end(struct sim *s);			     /* frees s */
/* One reference. */
struct packet *packet_new(struct sim *s, uint8_t type, struct slice bytes);
void packet_drop(struct sim *s, struct packet *p); /* NULL is fine */
void sim_send(struct sim *s, unsigned from, const struct message *m);
/* All have what is final, and clients have their answers. */
bool sim_level(const struct sim *s);
void sim_start_node(struct sim *s, unsigned i);
void sim_crash_node(struct sim *s, unsigned i);
void sim_new_disk(struct sim *s, unsigned i); /* whose store is what it was, or none */
void sim_fill_disk(struct sim *s, unsigned i);
void sim_make_room(struct sim *s, unsigned i); /* and starts it again */
void sim_wipe_disk(struct sim *s, unsigned i); /* and leaves it down */

/* rewind.c */
bool rewind_asks(const struct sim *s);
void rewind_note_start(struct sim *s, unsigned i);
void sim_rewind_disk(struct sim *s, unsigned i); /* an old copy, and leaves it down */
/* Malicious, or with a disk that may not know what its key has signed. */
bool sim_may_forget(const struct sim *s, unsigned node);
void rewind_noticed(struct sim *s, unsigned i);
void rewind_note_vote(struct sim *s, unsigned i);
void rewind_started(struct sim *s, unsigned i);
void rewind_note_ask(struct sim *s, unsigned i, uint64_t nonce);
bool rewind_is_told(struct sim *s, unsigned i, unsigned from, const struct packet *p);
void rewind_check_told(struct sim *s, unsigned i); /* after that */
void sim_violation(struct sim *s, enum sim_verdict verdict, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* queue.c */
void sim_push(struct sim *s, const struct event *e);
struct event sim_pop(struct sim *s);
void sim_drop_events(struct sim *s); /* all that there are */
/* bare.c */
void bare_push(struct sim_bare *b, const struct event *e, uint64_t now);
void bare_pop(struct sim_bare *b);
/* script.c */
void script_begin(struct sim *s);
void script_event(struct sim *s, uint64_t number);
void script_poll(struct sim *s);
bool script_is_over(const struct sim *s);
/* faults.c */
unsigned sim_leader(struct sim *s); /* of the highest term; n: nobody leads */
void failover_begins(struct sim *s);
uint64_t faults_crash(struct sim *s, unsigned i); /* restart after so long; 0: it runs on */
void faults_begin(struct sim *s);
void faults_next(struct sim *s);
void faults_end(struct sim *s);
/* Those who shall attack in a certain role have, and what they are to bring about is there. */
bool faults_have_struck(const struct sim *s);
void faults_make_way(struct sim *s); /* until a malicious replica leads */
void faults_heal_event(struct sim *s, const struct event *e);
/* state_sync.c: of a replica's host */
void sim_sync_lie(void *ctx, uint8_t type, struct writer *bytes);
void sim_sync_note(void *ctx, enum replica_sync_note note, unsigned peer,
		   const struct replica_sync_status *status);
void sim_sync_reopened(void *ctx, uint64_t height);
/* kill.c */
void kill_begin(struct sim *s);
void kill_next(struct sim *s);
void kill_at_start(struct sim *s, unsigned i);
void kill_disarm(struct sim *s, unsigned i);
void kill_reap(struct sim *s); /* after a step in which somebody was killed */
/* member.c */
void members_genesis(struct sim *s);
void members_begin(struct sim *s);
void members_free(struct sim *s);
void member_next(struct sim *s);
void member_wanted(struct sim *s, unsigned node); /* a new key for it, when its turn comes */
/* A malicious replica may keep it, and send what it has kept as if it were of a later epoch. */
void member_replays(struct sim *s, unsigned from, struct packet *p);
bool members_are_over(const struct sim *s);
void members_final(struct sim *s, const struct block *b); /* a new final block */
void members_entered(struct sim *s, unsigned node);
const struct chain_ctx *sim_ctx_at(const struct sim *s, uint64_t height);
bool member_is_placed(const struct sim *s, unsigned node); /* its key is its place's */
/* The message without its envelope. False: of an epoch that its sender has left. */
bool check_epoch_sent(struct sim *s, unsigned from, const struct message *m,
		      struct slice *bytes);
/* cpu.c: where processors are counted */
void cpu_world(struct sim *s);
void cpu_world_end(struct sim *s);
void cpu_forget(struct sim *s, unsigned i); /* what waits for a replica that is down */
/* True: the input has to wait, and is the processor's. */
bool cpu_queues(struct sim *s, const struct event *e);
/* What it takes up next; false: nothing. Then, when that is done, that it goes on. */
bool cpu_next(struct sim *s, struct event *e);
void cpu_goes_on(struct sim *s, unsigned i);
/* Of the step of a replica, which begins, and ends. */
void cpu_begin(struct sim *s, bool input);
uint64_t cpu_spent_counted(const struct sim *s);
static inline uint64_t cpu_spent(const struct sim *s) /* in this step, so far */
{
	return s->cpu_counts ? cpu_spent_counted(s) : 0;
}
void cpu_end(struct sim *s, unsigned i);
/* gather.c */
void gather_begin(struct sim *s);
void gather_input(struct sim *s, unsigned i); /* before each input of a replica */
void gather_end(struct sim *s, unsigned i);
/* resign.c */
bool resigns_happen(const struct sim *s);
void resigns_begin(struct sim *s);
unsigned resigns_next(struct sim *s); /* who did; s->n: nobody */
/* clients.c */
void clients_begin(struct sim *s);
void clients_free(struct sim *s);
void clients_resume(struct sim *s);
void client_act(struct sim *s, unsigned i);
void client_submit(struct sim *s, unsigned to, unsigned i);
void clients_on_final(struct sim *s, unsigned node, const struct block *b);
/* check.c */
void check_begin(struct sim *s, const struct block *genesis);
void check_free(struct sim *s);
void check_final(struct sim *s, unsigned node, const struct block *b, const struct cert *c);
void check_recovered(struct sim *s, unsigned node);
void check_term_cert(struct sim *s, unsigned node);
/* What the base of tc must be: [S2], [S3]. */
void check_base(struct sim *s, uint64_t epoch, const struct term_cert *tc);
/* Of an honest replica: its blocks do not equivocate, its votes of one term form a chain [S1].
 */
void check_sent(struct sim *s, unsigned from, const struct message *m);
/* [I15] Who has lost its vote state signs nothing. before: check_signed(), before its step. */
uint64_t check_signed(const struct sim *s);
void check_silence(struct sim *s, unsigned node, uint64_t before);
void check_vote(struct sim *s, unsigned from, const struct vote *v);
void check_sent_crash(struct sim *s, unsigned from,
		      const struct message *m); /* check_crash.c */
void check_header(struct sim *s, const struct header *h, const struct hash *hash);
/* Only malicious replicas are convicted, or accused by proofs. */
void check_innocence(struct sim *s, unsigned node);
void sim_look(struct sim *s, unsigned node); /* checks it; after each step */
bool sim_is_corrupt(const struct sim *s, unsigned node);
void check_counters(struct sim *s, unsigned node, const struct engine_status *status);
/* check_modes.c */
void check_modes_final(struct sim *s, const struct block *b);	  /* once, in order */
void check_modes_view(struct sim *s, const struct term_cert *tc); /* an accepted one */
struct msg_append;
void note_own_block(struct sim *s, unsigned from, const struct msg_append *m);
void check_own_word(struct sim *s, unsigned node, const struct block *b, const struct cert *c);
void check_modes_delivery(struct sim *s, unsigned node, unsigned from);
void check_modes_step(struct sim *s, unsigned node, const struct engine_status *status);
void check_rounds_delivery(struct sim *s, unsigned node, unsigned from,
			   const struct packet *p);
void check_rounds_step(struct sim *s, unsigned node, const struct engine_status *status);
void check_acknowledged(struct sim *s, const struct hash *id);
/* Refused for good is what will never be final; busy is no such refusal. */
void check_refused(struct sim *s, unsigned node, const struct hash *id, int err);
void check_end(struct sim *s);

#endif
