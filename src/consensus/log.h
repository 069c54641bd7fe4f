/* The block log: the tree of blocks above the newest final one, and the headers of final
 * blocks that positions still need.
 *
 * Every entry was linked to its parent by block_check_link(), so an entry's chain leads to the
 * final block. Bounded by LOG_BLOCKS_MAX entries and LOG_HEADERS_MAX headers. */
#ifndef CONSENSUS_LOG_H
#define CONSENSUS_LOG_H

#include "base/map.h"
#include "consensus/engine.h"

#define LOG_BLOCKS_MAX	1024
#define LOG_BYTES_MAX	(136u << 20) /* of bodies; more where a window of them needs more */
#define LOG_HEADERS_MAX POSITION_HEADERS_MAX

struct log_entry {
	struct block *block;
	/* the block's; here, for chains are walked all the time */
	uint64_t height;
	struct hash hash;
	size_t body_size;
	struct log_entry *before, *after; /* of all in the log, in no order that matters */
	struct log_entry *parent;	  /* NULL: the parent is the final block */
	struct log_entry *first_child, *next_sibling;
	bool executing;		 /* a WORK_EXECUTE is out */
	bool executed;		 /* and valid in our state */
	bool invalid;		 /* in our state */
	bool stored;		 /* a WRITE_BLOCK for it was issued */
	bool kept;		 /* within log_prune() only */
	struct mode_state modes; /* after this block, on its chain; of the engine's making */
	/* mode entries against the terms' rules; HOLD: those of its ancestors too */
	enum rules { RULES_UNKNOWN, RULES_HOLD, RULES_BROKEN } rules;
};

#define LOG_RECENT 256 /* values of a byte */
struct block_log {
	struct map by_hash; /* struct log_entry */
	struct log_entry *first;
	/* most are asked for again and again; by the hash's first byte, NULL: none */
	struct log_entry *recent[LOG_RECENT];
	size_t recent_count; /* as many as by_hash has: what is not here is not there either */
	struct block *final; /* held */
	uint64_t bytes;	     /* of the entries' bodies */
	uint64_t bytes_max;  /* LOG_BYTES_MAX or more */
	/* headers of final blocks, ring, newest = final */
	struct log_header {
		struct signed_header sh;
		struct hash hash;
	} * headers;
	uint32_t header_cap, header_first, header_count;
};

/* headers: of the final blocks right below final, ascending, final itself not among them. */
void block_log_init(struct block_log *l, struct block *final,
		    const struct signed_header *headers, uint32_t header_count, uint64_t seed);
void block_log_free(struct block_log *l);

struct log_entry *log_find(const struct block_log *l, const struct hash *hash);
/* Links b under its parent, which is final or in the log. ERR_NOT_FOUND: parent unknown;
 * ERR_BAD_LINK; ERR_STALE: at or below the final height; ERR_BUSY: full. An equal block is not
 * an error. *out is set on success. Holds b. */
int log_add(struct block_log *l, struct block *b, struct log_entry **out);
/* The same without limits, for what gets our vote or has had it. */
int log_add_needed(struct block_log *l, struct block *b, struct log_entry **out);
/* An entry of the same term and height but another hash, or NULL. */
struct log_entry *log_rival(const struct block_log *l, const struct block *b);

/* The ancestor of e (or e itself) at this height; NULL if height <= final height. */
struct log_entry *log_ancestor(const struct log_entry *e, uint64_t height);
/* Final header at this height, NULL if not kept (or above the final height). */
const struct log_header *log_final_header(const struct block_log *l, uint64_t height);
/* ref is final, as far as kept headers show: 1 yes, 0 no, -1 not known any more. */
int log_is_final(const struct block_log *l, const struct block_ref *ref);
/* a equals or is an ancestor of b, both known here: 1 yes, 0 no, -1 cannot be told. */
int log_contains(const struct block_log *l, const struct block_ref *b,
		 const struct block_ref *a);

/* e's chain from the final block becomes final: drops everything else that does not descend
 * from e. Appends e's chain (ascending, each with a reference for the caller) to out, which has
 * room for log_depth(e) entries. */
uint32_t log_depth(const struct log_entry *e);
void log_finalize(struct block_log *l, struct log_entry *e, struct block **out);
/* Final headers below height are needed no more. */
void log_trim_headers(struct block_log *l, uint64_t height);
/* Keeps the chains of keep[0..count) (NULLs are skipped), in this order as far as half of
 * LOG_BLOCKS_MAX and of the bytes reaches; the first one whole. Drops all else; dropped() is
 * told each block. */
void log_prune(struct block_log *l, struct log_entry *const *keep, unsigned count,
	       void (*dropped)(void *arg, const struct block *b), void *arg);
/* The header right below the oldest one kept, known to be final: kept too. False: full. */
bool log_add_older(struct block_log *l, const struct signed_header *sh);

#endif
