/* Shared by adversary.c and what lies for it: team.c, forge.c, frame.c, fork.c. */
#ifndef SIM_ADVERSARY_PRIVATE_H
#define SIM_ADVERSARY_PRIVATE_H

#include "base/mem.h"
#include "base/random.h"
#include "consensus/crash/wire.h"
#include "consensus/engine_private.h"
#include "consensus/hybrid/message.h"
#include "sim/adversary.h"

#define HELD_MAX   256
#define OLD_MAX	   32
#define TWINS_MAX  256 /* blocks with a second version */
#define SEEN_MAX   128 /* block references and votes that the team has seen */
#define VIEWS_MAX  32
#define SIGNED_MAX 64 /* statements of each kind that are kept for framing */

struct held {
	uint64_t due; /* 0: free */
	uint64_t to;
	enum message_class class;
	uint8_t type;
	struct writer bytes;
};
struct twin { /* a block of ours and the version for the other side */
	struct block_ref ref, other;
};
struct team {
	struct team_config config;
	struct random random;
	bool active;
	uint64_t strikes[ATTACKS];
	uint32_t moments;      /* at which a member could attack, so far */
	struct message_in *in; /* decoding scratch */
	struct block_ref seen[SEEN_MAX];
	unsigned seen_next;
	struct vote votes[SEEN_MAX];
	unsigned votes_next;
	struct view_change vc[VALIDATORS_MAX]; /* newest of each */
	bool has_vc[VALIDATORS_MAX];
	struct {
		uint64_t term;
		struct hash hash;
		struct block_ref base;
	} views[VIEWS_MAX];
	unsigned views_next;
	struct writer evidence; /* the last that anybody sent */
	uint64_t orders;	/* rises when the attacks are changed from outside */
	/* what members had written to their vote slots before they became forgetful */
	struct writer slot[VALIDATORS_MAX][VOTE_SLOTS];
	struct keepsakes *keepsakes;   /* frame.c */
	uint64_t fork_term, fork_side; /* fork.c; side 0: none */
	struct random lies;	       /* its own, so that other runs stay as they are */
};
struct adversary {
	struct engine base;
	struct engine *honest;
	struct team *team;
	unsigned self;
	struct random random;
	uint64_t now, final;
	uint64_t attacks, targets, mood_until;
	bool barred; /* this moment is none of those at which they may attack */
	struct message *out;
	struct writer *body;
	uint32_t count, cap;
	struct held held[HELD_MAX], old[OLD_MAX];
	struct twin twins[TWINS_MAX];
	unsigned twins_next;
	bool diverged; /* the other side has a chain of its own in this term */
	uint64_t diverged_term;
	bool has_old_position;
	struct position old_position;
	struct hash second_view; /* of the term we lead: the other NEW-VIEW; same base */
	uint64_t second_view_term;
	struct vote prepare; /* our newest */
	struct writer heard; /* a message with parts left out */
	uint64_t shouted_at; /* or whatever else is said unasked */
	uint64_t orders;
	uint64_t raced_at, skew; /* of the honest engine's clock, ahead of the true one */
	struct write *writes;	 /* those of a forgetful one */
	uint32_t write_cap;
	uint64_t level_term, level_since; /* in which the other side has voted; since when */
	uint64_t fork_height, fork_sent_at; /* first height of the second chain */
};

static inline const struct keypair *adversary_key(const struct adversary *a)
{
	return &a->team->config.key[a->self];
}
static inline const struct chain_ctx *adversary_ctx(const struct adversary *a)
{
	return a->team->config.ctx;
}

struct writer *adversary_emit(struct adversary *a, uint64_t to, enum message_class class,
			      uint8_t type);
void adversary_pass(struct adversary *a, const struct message *m, uint64_t to);
void adversary_hold(struct adversary *a, const struct message *m, uint64_t delay);
bool adversary_does(const struct adversary *a, enum attack attack);
void adversary_struck(struct adversary *a, enum attack attack);

/* frame.c */
void frame_free(struct team *t);
void frame_keep(struct team *t, const struct message_in *m);
void frame_try(struct adversary *a);

/* fork.c */
bool fork_hides(const struct adversary *a, unsigned from, uint8_t type);
/* True: dealt with. */
bool fork_alter(struct adversary *a, const struct message *orig, struct message_in *in);
void fork_add(struct adversary *a);

/* team.c */
void team_saw_block(struct team *t, const struct block_ref *ref);
void team_saw_view_change(struct team *t, const struct view_change *vc);
/* *bytes becomes what the honest engine shall hear; empty: nothing. Borrowed until the next. */
void adversary_listen(struct adversary *a, unsigned from, struct slice *bytes);
void adversary_learn(struct adversary *a);
/* A certificate for ref out of what the team has seen and can sign itself. True: a real one. */
bool adversary_gather(struct adversary *a, enum cert_kind kind, const struct block_ref *ref,
		      struct cert *out);
/* One with noise for signatures. */
void adversary_bogus_cert(struct adversary *a, const struct block_ref *ref, enum mode mode,
			  struct cert *out);

/* forge.c */
/* The other side's version of a block of ours; NULL: the other side has no such parent. */
struct block *adversary_second_version(struct adversary *a, const struct block *b);
void adversary_alter(struct adversary *a, const struct message *m);
void adversary_add(struct adversary *a);

/* forge_views.c. True: dealt with. */
bool view_change_alter(struct adversary *a, const struct message *orig,
		       struct msg_view_change *m);
bool new_view_alter(struct adversary *a, const struct message *orig, struct msg_new_view *m);

/* forge_crash.c: messages of the baselines. True: dealt with. */
bool crash_rewrite(struct adversary *a, const struct message *m);

#endif
