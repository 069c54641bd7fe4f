/* Threads that check clients' signatures while the loop goes on: those of what peers forward,
 * before the replica gets it, and those of blocks that it executes. All calls but the threads'
 * own are the loop's. */
#ifndef NODE_CHECKER_H
#define NODE_CHECKER_H

#include "consensus/engine.h"

struct checker; /* opaque */

#define CHECKER_BLOCKS_MAX 16	      /* that wait at a time */
#define CHECKER_BYTES_MAX  (4u << 20) /* of one peer's messages, likewise */
#define CHECKER_INLINE	   8 /* so few take no longer than to wake up a thread and be woken */

/* ctx and limits outlive it. Neither changes what a signature is worth: all epochs of a chain
 * agree on that. */
struct checker *checker_start(unsigned threads, const struct chain_ctx *ctx,
			      const struct genesis_limits *limits);
void checker_stop(struct checker *c); /* what is under way is forgotten */
int checker_fd(const struct checker *c);

/* This peer has brought so many that can never be ordered: that costs us about CHECKER_WORTHLESS_US
 * each to find out. An honest peer brings a few, for they cross with the blocks that they are in;
 * who owes more than CHECKER_CREDIT_US of our time is not listened to until it has passed. */
#define CHECKER_WORTHLESS_US 50
#define CHECKER_CREDIT_US    50000
void checker_charge(struct checker *c, uint64_t now, unsigned from, uint32_t worthless);
/* False: this peer has brought false ones, or many worthless ones, and is not listened to until
 * that is paid for. */
bool checker_hears(const struct checker *c, uint64_t now, unsigned from);
/* Some of them are being checked. */
bool checker_has_some(const struct checker *c, const struct pool_tx *txs, uint32_t count);

/* txs: those of the message, and lent with it, whose signatures are to be checked; the message
 * is copied, and comes back when they are, whoever brought them first. A peer that has too much
 * here: false, who calls may do with it what it likes; but not often, else the message is
 * dropped (its sender sends again what is not ordered), lest the loop does nothing else. */
bool checker_message(struct checker *c, uint64_t now, unsigned from, struct slice message,
		     const struct pool_tx *txs, uint32_t count);
/* These few at once, on the loop: good ones are told of before it returns. False: there are
 * false ones. */
struct checker_host;
bool checker_now(struct checker *c, uint64_t now, unsigned from, const struct pool_tx *txs,
		 uint32_t count, const struct checker_host *host);
/* Before all messages, and those that it waits for with it. False: too many wait. */
bool checker_block(struct checker *c, struct block *b, const struct pool_tx *txs,
		   uint32_t count);

/* What has been checked: the ids of good ones as they come, then the message or the block that
 * they were checked for. A message is spoiled if it has brought a false one: not all of it has
 * been checked. */
struct checker_host {
	void *ctx;
	void (*good)(void *ctx, const struct hash *id);
	void (*message)(void *ctx, unsigned from, struct slice message, bool spoiled);
	void (*block)(void *ctx, struct block *b);
};
void checker_take(struct checker *c, uint64_t now, const struct checker_host *host);

#endif
