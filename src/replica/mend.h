/* Mending while the replica runs: what a scrub has found damaged or missing is written anew.
 *
 * The scrub reads a snapshot, in a thread of its own; what it found is looked at again here, in
 * the one thread that writes, on the store as it is now. What is final never changes, so each
 * record has one right content, and writing it cannot be too late; what was given up meanwhile
 * is left alone. A block's place, its SYSTEM mark and its transactions' entries are made from
 * the block; a block and a certificate come from a peer, under a hash or a quorum that proves
 * them; records of the state are made by executing the block that wrote them once more, and
 * older ones out of ranges that prove themselves. One question is on its way at a time. Votes,
 * the store's own records, and what cannot be proven are left, and the host is told.
 *
 * docs/ledger-format.md, "Damage". */
#ifndef REPLICA_MEND_H
#define REPLICA_MEND_H

#include "ledger/mend.h"
#include "replica/replica.h"
#include "replica/sync.h"

#define MEND_ANSWER_US	3000000 /* then another peer is asked */
#define MEND_SPACING_US 250000	/* between two questions: others' work goes first */
#define MEND_AHEAD_MAX	240	/* answers for one record that are ahead of us: a minute */
#define MEND_PAUSE_US	2000	/* between two records: so does our own */

enum mend_step {
	MEND_STEP_MENDED,
	MEND_STEP_SOUND,
	MEND_STEP_ASK,	 /* the question is in mend.asked */
	MEND_STEP_MORE,	 /* the next tick goes on with it */
	MEND_STEP_LEFT,	 /* mend.why */
	MEND_STEP_FAILED /* the store takes nothing more */
};

struct mend {
	struct damage *items; /* in the order in which they can be mended */
	uint32_t count, next;
	bool any_mended; /* of these items */
	const char *why;
	unsigned source;    /* of what the record was made; NO_VALIDATOR: of what is here */
	uint64_t rewritten; /* newest height whose block was executed again for these */
	bool any_rewritten;
	bool block_left; /* one stays damaged */
	bool begun;	 /* a question was asked for this item */
	uint32_t ahead;	 /* answers for it that need a block which is not final here yet */
	uint64_t tried;	 /* peers, for this item */
	unsigned next_peer;
	uint64_t again_at;
	struct mend_question {
		bool waits;
		enum sync_type type; /* ASK, GET, GET_BLOCKS */
		uint64_t height;
		struct hash from, to;
		unsigned peer;
		uint64_t sent_at;
	} asked;
	/* of an answer: those below the block that was asked for are likely wanted next */
	struct block *blocks[SYNC_BLOCKS_MAX];
	uint32_t block_count;
	unsigned blocks_of;
	struct mend_sweep { /* of the index of transactions: where it goes on */
		struct writer at;
		bool any;
	} sweep;
	struct mend_table {
		bool copying;
		struct writer first, last; /* its keys */
		struct writer at;	   /* where copying goes on */
	} table;
	struct replica_mend_status status;
};

void mend_tick(struct replica *r);
uint64_t mend_wake_at(const struct replica *r);
void mend_close(struct replica *r);
/* True: it was an answer to a question of ours. */
bool mend_message(struct replica *r, unsigned from, struct slice bytes);

/* mend_records.c: what is wrong with d's record, and what makes it right. m: an answer to the
 * question that it asked; NULL: none yet. ERR_NONE, or what is false in m. */
int mend_record(struct replica *r, const struct damage *d, const struct sync_msg *m,
		enum mend_step *step);
/* mend_table.c: a table file with a page that cannot be read. What can be read in its place is
 * written anew, some at a time; then the file goes, and what is missing is for the next scrub.
 */
void mend_table(struct replica *r, const struct damage *d, enum mend_step *step);
void mend_table_end(struct mend *m);
/* mend_index.c: entries of the index, of blocks that are not kept, which nobody has counted. */
void mend_index(struct replica *r, enum mend_step *step);
/* Sorts them so that each finds what it needs; how many are left, without those that were named
 * more than once. */
uint32_t mend_sort(struct damage *d, uint32_t count, uint64_t oldest);

#endif
