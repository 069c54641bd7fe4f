/* What happens, in order, for those who watch: a bounded ring between the loop thread, which
 * fills it, and the API threads, which read from it. Readers hold a cursor and no memory here,
 * so that a slow one costs nothing: what has left the ring before it came by is a gap.
 *
 * A cursor is "<height>.<index>". At each height 0 is the block and 1 ... tx_count are its
 * transactions, on every node alike; what this node alone sees while that block is its newest
 * final one (consensus, evidence) is counted on from there. */
#ifndef NODE_EVENTS_H
#define NODE_EVENTS_H

#include "node/request.h"

enum event_type { EVENT_BLOCKS, EVENT_TXS, EVENT_CONSENSUS, EVENT_EVIDENCE, EVENT_TYPES };
#define EVENTS_ALL   ((1u << EVENT_TYPES) - 1)
#define EVENTS_CHAIN (1u << EVENT_BLOCKS | 1u << EVENT_TXS) /* can be read again from disk */
const char *event_type_name(enum event_type t);
/* "blocks,txs": a mask; ERR_SYNTAX. */
int event_types_parse(unsigned *out, const char *text);

struct cursor {
	uint64_t height, index;
};
static inline bool cursor_before(struct cursor a, struct cursor b)
{
	return a.height < b.height || (a.height == b.height && a.index < b.index);
}
#define CURSOR_TEXT_SIZE 44
const char *cursor_text(char out[CURSOR_TEXT_SIZE], struct cursor c);
/* "12.3": what follows it is wanted. "12": all from that height on, which is the same as what
 * follows the last thing of height 11; "0" is everything. ERR_SYNTAX, ERR_RANGE. */
int cursor_parse(struct cursor *out, const char *text);

#define EVENTS_RING_MAX	 4096
#define EVENTS_BYTES_MAX (4u << 20)
#define EVENTS_BEAT_US	 10000000

struct events; /* opaque */

struct events *events_new(unsigned streams_max);
void events_free(struct events *e); /* nobody is subscribed */

/* ---- loop thread ---------------------------------------------------------------------------
 */

/* The newest final block at the start: the ring begins after it. */
void events_begin(struct events *e, uint64_t height, uint32_t tx_count);
/* The newest final block is this one now, and what came before is not kept: readers get a gap.
 */
void events_jump(struct events *e, uint64_t height, uint32_t tx_count);
void events_block(struct events *e, const struct block_view *v); /* holds the block */
/* json is taken over; compact, of one line. */
void events_json(struct events *e, enum event_type t, struct json *json);
/* Wakes readers, if there is anything for them: once a turn. */
void events_flush(struct events *e, uint64_t now);

/* ---- any thread
 * ------------------------------------------------------------------------------ */

void events_close(struct events *e); /* all streams end */
unsigned events_subscribers(struct events *e);

struct subscriber {
	struct events *events;
	void (*suspend)(struct subscriber *s); /* under the ring's lock */
	void (*resume)(struct subscriber *s);
	bool waiting;
	unsigned beat;
	TAILQ_ENTRY(subscriber) link;
};
/* False: there are too many already, or the ring is closed. *head: where the ring ends. */
bool events_subscribe(struct events *e, struct subscriber *s, struct cursor *head);
void events_unsubscribe(struct subscriber *s);

enum event_step {
	EVENT_STEP_WAIT,  /* nothing yet; suspend() has been called */
	EVENT_STEP_BEAT,  /* nothing for so long that a sign of life is due */
	EVENT_STEP_BLOCK, /* a block: events of it follow the cursor */
	EVENT_STEP_JSON,
	EVENT_STEP_LOST, /* the ring begins later than what follows the cursor */
	EVENT_STEP_END,
};
struct event_taken {
	enum event_type type;
	struct cursor first, last; /* LOST: the ring holds what follows last; middle is in it */
	struct cursor middle;
	struct block_view view; /* BLOCK: the block is held for the caller */
	char *text;		/* JSON: mem_free */
};
/* What follows `at` among the wanted types. Skips what is not wanted by moving *at. */
enum event_step events_take(struct subscriber *s, struct cursor *at, unsigned types,
			    struct event_taken *out);

#endif
