/* A replica whose store is damaged, beside one that answers for the three others. */
#ifndef TESTS_REPLICA_MEND_WORLD_H
#define TESTS_REPLICA_MEND_WORLD_H

#include <check.h>

#include "replica/audit.h"
#include "tests/replica/stored.h"

#define HEIGHTS 40
#define SELF	3
#define STEPS	40000
#define LIST	4096

extern struct world w;
extern struct store *own, *sound; /* sound: own, as it was */
extern struct replica *hurt;
extern uint64_t now;
extern uint64_t kept_blocks; /* from the next begin() on; 0: all */
extern const char *halted;
extern bool on_disk; /* from the next begin() on */
extern char home[64];
extern struct block *rival; /* of the newest block, as well signed */
/* Alters what the first `liars` peers send. */
extern void (*liar)(struct writer *bytes);
extern unsigned liars;
/* What the last scrub found; what has become of all since begin(). */
extern struct damage list[LIST];
extern uint32_t listed;
extern unsigned mended, fetched, left, lied, over;
extern uint64_t liar_mask;

void setup(void);
/* The newest state alone can be read: no block can be executed again. */
void setup_pruned(void);
/* Two epochs have ended on the way, and three of the places changed. */
void setup_epochs(void);
void teardown(void);
/* A fresh store for the next damage: the chain stays. */
void begin(void);
/* hurt, on own. False: it does not open. */
bool open_hurt(void);
/* A sound one on `sound`, for go_on(), which makes a block final at all. */
void open_twin(void);
void close_twin(void);
void go_on(void);
/* With these transactions, which are freed. */
void go_on_with(struct slice *txs, uint32_t count);
/* The same in two steps: all others first. */
void others_go_on(void);
void hurt_follows(void);
struct store *server_store(void);
void step(void);
uint32_t scrub(void);
/* One scrub, and what comes of it. */
void mend(void);
/* As a node does: again as long as it is of use. False: damage is left. */
bool mend_all(void);
/* value.ptr NULL: it is deleted. */
void put(enum store_family f, struct slice key, struct slice value);
void copy_store(struct store *from, struct store *to);
/* Whether the node with this key is what it was, in whatever kind of record. */
bool same_node(struct slice key);
/* Every record as it was, nodes of the tree in whatever kind of record. */
void check_same(bool votes_too);

/* Tests of mend-nodes.c: with setup(), and with setup_pruned(). */
void mend_nodes_of(TCase *t);
void mend_bases_of(TCase *pruned);

#endif
