/* A few engines driven by hand: for the tests that take a paper's sentences one by one. No
 * ledger, no network, no clock: the test decides whose timer runs out, which message arrives,
 * which disk is slow, who crashes. Execution is modelled: the state root is a hash over the
 * parent's and the transactions, so that a block on another parent than it was made on does not
 * execute. */
#ifndef TESTS_CONSENSUS_PAPER_H
#define TESTS_CONSENSUS_PAPER_H

#include "base/mem.h"
#include "consensus/crash/wire.h"
#include "consensus/driver.h"

#define PAPER_NODES  7
#define PAPER_BLOCKS 512
#define EVERYBODY    UINT64_MAX

struct paper_sent {
	uint64_t to;
	uint8_t type;
	struct writer bytes;
};
struct paper_write { /* not durable yet */
	uint64_t seq;
	bool sync;
	enum write_kind kind;
	unsigned slot;
	struct writer bytes;
	struct block *block;
	struct cert cert;
};
struct paper_node {
	struct paper *p;
	unsigned index;
	struct driver *driver; /* NULL: down */
	uint64_t now;	       /* its own clock */
	bool slow_disk;	       /* nothing becomes durable before paper_sync() */
	bool halted;
	/* the disk */
	struct writer slot[VOTE_SLOTS];
	struct block *blocks[PAPER_BLOCKS];
	unsigned block_count;
	struct cert mark; /* kind 0: none */
	struct paper_write *pending;
	unsigned pending_count;
	struct block *executed[PAPER_BLOCKS]; /* in this life */
	unsigned executed_count;
	/* what it said */
	struct paper_sent *sent;
	unsigned sent_count, sent_cap;
	/* [h]: what it finalised at height h, in this life or before */
	struct block *final[PAPER_BLOCKS];
	uint64_t final_height;
};
struct paper {
	struct genesis genesis;
	struct chain_ctx ctx;
	struct block *block0;
	unsigned n;
	struct paper_node node[PAPER_NODES];
	unsigned txs; /* made so far */
};

void paper_begin(struct paper *p, enum protocol protocol, unsigned n); /* all started */
void paper_end(struct paper *p);
void paper_start(struct paper *p, unsigned i); /* from its disk */
void paper_crash(struct paper *p, unsigned i); /* what is not durable is lost */
void paper_sync(struct paper *p, unsigned i);
struct engine_status paper_status(struct paper *p, unsigned i);
uint64_t paper_counter(struct paper *p, unsigned i, enum engine_counter c);

/* Its clock goes on by so much, and it is told. */
void paper_pass(struct paper *p, unsigned i, uint64_t us);
void paper_time_out(struct paper *p, unsigned i); /* longer than any election timeout */
/* A transaction into its pool; what is built from it may be sent at once. */
void paper_submit(struct paper *p, unsigned i);

void paper_give(struct paper *p, unsigned to, unsigned from, const struct writer *bytes);
/* Takes the first message of this type off what i has sent. False: none. The bytes are the
 * caller's to free. */
bool paper_take(struct paper *p, unsigned i, uint8_t type, struct paper_sent *out);
unsigned paper_sent_count(const struct paper *p, unsigned i, uint8_t type);
void paper_drop(struct paper *p, unsigned i); /* all that i has sent */
/* Delivers what i has sent to those in mask, once; the rest is lost. */
void paper_deliver(struct paper *p, unsigned i, uint64_t mask);
/* Until nobody in mask has anything to say to another; what goes to others is lost. */
void paper_settle(struct paper *p, uint64_t mask);
/* Those in mask have not heard a leader for a while, i times out first, messages flow. */
void paper_elect(struct paper *p, unsigned i, uint64_t mask);
unsigned paper_leader(struct paper *p); /* the one with the highest term; n: nobody leads */

/* An empty block as an honest leader of that term makes it. The caller's reference. */
struct block *paper_block(struct paper *p, const struct block *parent, uint64_t term,
			  unsigned leader);
/* Leaders, transactions, losses, and beside each message that somebody sends a damaged copy of
 * it to somebody else, in anybody's name. Nothing may crash, read what is not there or run for
 * ever; to halt is allowed, and to disagree, for these protocols trust what a link brings. */
void paper_noise(struct paper *p, uint64_t seed, unsigned rounds);
/* No two nodes have different final blocks at a height. */
void paper_agree(const struct paper *p);

#endif
