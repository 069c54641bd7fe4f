/* One correct replica, number 2 of four, against a world in which everything else is written by
 * hand. Replica 3 is malicious, 1 leads term 1, 0 is correct. Each test shows what was a hole
 * once (docs/decisions/0007-a-hostile-reading.md); the labels are those of the readings. */
#ifndef TESTS_REPLICA_HOSTILE_H
#define TESTS_REPLICA_HOSTILE_H

#include <check.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/hybrid/message.h"
#include "consensus/log.h"
#include "replica/private.h"
#include "tests/ledger/world.h"

#define WIDE	  16
#define VICTIM	  2u
#define LEADER	  1u
#define MALICE	  3u
#define HEARTBEAT 50000u

struct sent {
	uint64_t to;
	uint8_t type;
	struct writer bytes;
};
extern struct world w;
extern struct store *store;
extern struct replica *replica;
extern const char *halted;
extern uint64_t now;
extern bool verify_txs;
extern bool asks_own_votes; /* from the next open_replica() on [I20] */
extern bool disk_is_slow;   /* no sync is over before replica_durable(sync_asked) */
extern uint64_t sync_asked; /* the newest */
extern struct sent sent[65536];
extern unsigned sent_count;

void forget_sent(void);
void open_replica(void);
void begin_genesis(void); /* setup() is this, */
void open_world(void);	  /* and this */
void setup(void);
void teardown(void);
void deliver(unsigned from, struct writer *bytes); /* and frees them */
void pass(uint64_t us);				   /* in small steps */
/* The newest message of this type to that replica, or NULL. */
const struct sent *newest(uint8_t type, unsigned to);
/* TC of a fast term of leader term % 4, by everybody but the victim. */
void make_tc(struct term_cert *tc, uint64_t term, const struct block *base);
void heartbeat(unsigned from, uint64_t term, const struct term_cert *tc,
	       const struct block *tip, uint64_t final);
void append(unsigned from, uint64_t term, const struct term_cert *tc, struct block *b,
	    const struct cert *final);
void send_blocks(unsigned from, struct block *const *blocks, uint32_t count,
		 const struct cert *cert, uint64_t final);
/* Whether the victim has sent a PREPARE for it to the leader of a fast term. */
bool has_prepared(const struct block *b);
struct block *empty_block(const struct block *parent, uint64_t term);
/* An empty one that says this time: a rival of empty_block(). */
struct block *block_at(const struct block *parent, uint64_t term, uint64_t time_ms);
/* world_cert() of the three others: the victim has signed nothing of it. */
void cert_of_others(const struct block *b, enum cert_kind kind, struct cert *out);
uint64_t final_height(void);
/* Term 1 by its leader, one block in it, final. */
struct block *first_block(struct term_cert *tc);
void view_change_at(struct view_change *v, uint64_t term, unsigned signer,
		    const struct term_cert *tc, const struct block *tip);
void send_view_change_of(struct view_change *v);
/* mark: another one of the same term. */
void make_new_view(struct term_cert *pbft, uint64_t term, const struct term_cert *tc,
		   const struct block *tip, unsigned mark);
void send_new_view(unsigned from, const struct term_cert *pbft);
struct block *pbft_block(const struct term_cert *tc, const struct block *parent,
			 enum system_kind kind);
struct block *first_pbft_block(const struct term_cert *tc, const struct block *parent);
void others_move_on(uint64_t term, const struct term_cert *tc, const struct block *tip);
struct block *big_block_of(const struct block *parent, uint64_t term, uint64_t client,
			   uint64_t *nonce);
struct block *big_block(const struct block *parent, uint64_t term, uint64_t *nonce);
struct block_ref tip_of_victim(void);
void grant(unsigned from, uint64_t term, uint64_t newest_tc); /* a pre-vote for the victim */
/* Its next campaign; so many vote for it. */
uint64_t campaign_of_victim(unsigned voters);
void setup_small(void);
void setup_large(void);
void setup_wide(void);

/* The tests. */
void hostile_terms(Suite *s);
void hostile_views(Suite *s);
void hostile_fetch(Suite *s);
void hostile_room(Suite *s);
void hostile_suspicion(Suite *s);
void hostile_observer(Suite *s);
void hostile_epoch(Suite *s);
void hostile_resign(Suite *s);
void hostile_own_votes(Suite *s);
void hostile_round_trip(Suite *s);
/* A test case of suite s. */
TCase *hostile_case(Suite *s, const char *name, void (*fixture)(void), unsigned seconds);

#endif
