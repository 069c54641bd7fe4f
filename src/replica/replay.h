/* Final blocks, checked and executed one after the other into a store that began empty: what
 * `backup verify`, `backup restore` and `db repair` have in common. */
#ifndef REPLICA_REPLAY_H
#define REPLICA_REPLAY_H

#include "chain/epoch.h"
#include "replica/private.h"

struct replay {
	struct replica view;
	struct genesis *genesis; /* owned */
	struct block *last;	 /* newest block; genesis at first */
	uint64_t certified;	 /* height of the newest certificate */
	uint64_t transactions, certificates;
	bool proven;
	bool over;	     /* the newest block ends its epoch: its handover is due */
	bool keep_blocks;    /* false: the state alone, for a check */
	struct term_cert tc; /* that came before the blocks of its term */
	uint64_t unsynced;   /* blocks */
	struct errmsg *m;
};
/* Takes genesis over, the contents too. history: ledger_set_history(). */
int replay_begin(struct replay *p, struct store *s, struct genesis *genesis, uint64_t history,
		 struct errmsg *m);
int replay_block(struct replay *p, struct slice bytes);
int replay_cert(struct replay *p, struct slice bytes);
int replay_term(struct replay *p, uint64_t term, struct slice bytes);
/* The handover that ends the epoch, encoded; and the same. Behind the end and its certificate,
 * if that has one of its own. */
int replay_epoch(struct replay *p, struct slice bytes);
int replay_handover(struct replay *p, const struct handover *h);
/* Recoveries were added to p->genesis: before the first block. */
void replay_recovered(struct replay *p);
int replay_evidence(struct replay *p, struct slice bytes);
/* All is there: the newest block is certified. Syncs the store. */
int replay_end(struct replay *p);
void replay_free(struct replay *p);

#endif
