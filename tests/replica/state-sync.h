/* One replica answers for the validators 0 to 2; validator 3 fetches a state from them, letter
 * by letter. */
#ifndef TESTS_REPLICA_STATE_SYNC_H
#define TESTS_REPLICA_STATE_SYNC_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replica/private.h"
#include "tests/replica/governed.h"
#include "tests/replica/stored.h"

#define HEIGHTS 40
#define LATE	3
#define QUEUE	8192
#define STEPS	20000

struct letter {
	unsigned from, to;
	struct writer bytes;
};
extern struct world w;
extern struct store *served, *own;
extern struct replica *server, *late;
extern struct letter queue[QUEUE];
extern unsigned queued, asked_of; /* whom a question was for */
extern uint64_t now, answers, jumped;
extern uint64_t history;		       /* of the server */
extern uint64_t block_answers, largest_answer; /* of the one that was late: MSG_BLOCKS */
extern const char *halted;
extern bool died;	/* the late one: its step ends there */
extern unsigned budget; /* letters until a step is cut off; 0: all */
/* What lie() sets up, and checks when all is over. */
extern void (*check)(void), (*setup_again)(void);
/* Alters what this peer answers; false: it is not sent. The others are a little behind until
 * then, and have not got the state yet. */
extern bool (*liar)(unsigned from, struct writer *bytes);
extern uint64_t others_behind_until;
extern unsigned lies; /* that were told */
/* Each validator tells of later epochs once only, as it would in so short a time. */
extern bool tell_once;

struct replica *open_one(struct store *s, unsigned self, uint64_t gap);
/* Empty stores, and a chain that begins: epochs may end at each second height. */
void setup_world(void);
/* One of HEIGHTS blocks in one epoch, and both replicas. */
void setup(void);
void teardown(void);
/* As look() does once it has heard of heights far above, and nothing is left to be swept. */
void begin(void);
void step(void);
bool is_home(void);
/* Until it is home. */
void run_home(void);
/* The state of setup(), whole. */
void check_home(void);
/* Of what the late one has: no damage. */
void audit(void);
/* A state is fetched although validator 0 lies so: in messages of that type, at that place. */
void lie(bool (*how)(unsigned, struct writer *), unsigned type, unsigned at);
/* Such lies: a bit is flipped, the end is cut off. */
bool flips(unsigned from, struct writer *bytes);
bool cuts(unsigned from, struct writer *bytes);

/* The tests. */
TCase *sync_fetch_case(void);
TCase *sync_askers_case(void);
TCase *sync_epochs_case(void);
/* Deaths at each write, of what setup_again() makes. */
void add_deaths(TCase *t);
/* One of them, without its tests. */
TCase *sync_case(const char *name, void (*begin_test)(void));

#endif
