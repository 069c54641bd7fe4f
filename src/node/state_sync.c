/* State sync as a node shows it: log lines, what /v1/status says, and what a jump of the final
 * height means for those who wait or watch. */
#include <stdio.h>

#include "base/mem.h"
#include "node/node.h"

#define PROGRESS_LINE_US 5000000

/* Microseconds; 0: nothing can be said yet. */
static uint64_t time_left(const struct replica_sync_status *s, uint64_t now)
{
	if (!s->active || s->per_mille == 0 || now <= s->began_at)
		return 0;
	return (now - s->began_at) / s->per_mille * (1000 - s->per_mille);
}

static double megabytes(uint64_t bytes)
{
	return (double)bytes / 1e6;
}

void state_sync_note(void *ctx, enum replica_sync_note note, unsigned peer,
		     const struct replica_sync_status *s)
{
	struct node *n = ctx;
	unsigned long long height = s->height;
	switch (note) {
	case SYNC_NOTE_STARTED:
		log_write(LOG_NODE, LOG_INFO,
			  "too far behind for blocks: fetching the state of height %llu from "
			  "the others; each part is checked against its certified root",
			  height);
		n->sync_line_at = node_clock_us() + PROGRESS_LINE_US;
		break;
	case SYNC_NOTE_STRUCK:
		log_write(LOG_NODE, LOG_WARN,
			  "%s sent a part of the state that is false: it is asked no more, "
			  "others are",
			  node_validator_name(n, peer));
		break;
	case SYNC_NOTE_BUILDING:
		log_write(LOG_NODE, LOG_INFO,
			  "the state of height %llu is here, %.1f MB; building its tree",
			  height, megabytes(s->bytes));
		break;
	case SYNC_NOTE_GIVEN_UP:
		log_write(LOG_NODE, LOG_WARN,
			  "the state of height %llu is given up: nobody has it any more, or "
			  "blocks came first. If need be it begins anew with a newer one",
			  height);
		break;
	case SYNC_NOTE_EPOCH:
		log_write(LOG_NODE, LOG_INFO,
			  "the others are in a later epoch than this node: it is brought level "
			  "by blocks");
		break;
	case SYNC_NOTE_DONE:
		log_write(
			LOG_NODE, LOG_INFO,
			"the state of height %llu is in place: %.1f MB in %.1f s, %llu parts, "
			"%llu blocks, %llu asked for again, %llu lies found so far; from "
			"here on by blocks",
			height, megabytes(s->bytes), (double)s->took_us / 1e6,
			(unsigned long long)s->ranges, (unsigned long long)s->blocks,
			(unsigned long long)s->retries, (unsigned long long)s->strikes);
		break;
	}
}

void state_sync_progress(struct node *n, uint64_t now)
{
	const struct replica_sync_status *s = &n->snapshot.sync;
	if (!s->active || now < n->sync_line_at)
		return;
	n->sync_line_at = now + PROGRESS_LINE_US;
	uint64_t spent = now > s->began_at ? now - s->began_at : 1;
	log_write(
		LOG_NODE, LOG_INFO,
		"%s the state of height %llu: %u.%u %%, %.1f MB, %.1f MB/s, about %llu s left",
		s->phase, (unsigned long long)s->height, s->per_mille / 10, s->per_mille % 10,
		megabytes(s->bytes), (double)s->bytes / (double)spent,
		(unsigned long long)(time_left(s, now) / 1000000));
}

/* Blocks in between were never seen here: who watches gets a gap. */
void state_sync_reopened(void *ctx, uint64_t height)
{
	struct node *n = ctx;
	struct block *b;
	submit_flush(n, node_clock_us());
	n->final_height = height;
	node_wake_told(n, false);
	n->final_since = node_clock_us();
	uint32_t tx_count = 0;
	if (replica_block(n->replica, height, &b) == ERR_NONE) {
		n->final_time_ms = b->sh.h.time_ms;
		tx_count = b->tx_count;
		block_drop(b);
	}
	events_jump(n->events, height, tx_count);
	n->snapshot_due = 0;
}

struct json *state_sync_json(const struct node *n, uint64_t now)
{
	struct replica_sync_status s;
	replica_sync_status(n->replica, &s);
	if (!s.active && s.completed == 0)
		return json_null();
	struct json *o = json_object(), *struck = json_array();
	for (uint64_t who = s.struck; who; who &= who - 1)
		json_append(struck, json_string(node_validator_name(
					    n, (unsigned)__builtin_ctzll(who))));
	uint64_t spent = s.active ? now - s.began_at : s.took_us;
	json_set(o, "phase", json_string(s.phase));
	json_set(o, "height", json_u64_string(s.height));
	json_set(o, "percent", json_int(s.active ? s.per_mille / 10 : 100));
	json_set(o, "bytes", json_u64_string(s.bytes));
	json_set(o, "parts", json_u64_string(s.ranges));
	json_set(o, "blocks", json_u64_string(s.blocks));
	json_set(o, "retries", json_u64_string(s.retries));
	json_set(o, "spent_ms", json_u64_string(spent / 1000));
	json_set(o, "left_ms",
		 s.active ? json_u64_string(time_left(&s, now) / 1000) : json_null());
	json_set(o, "completed", json_u64_string(s.completed));
	json_set(o, "strikes", json_u64_string(s.strikes));
	json_set(o, "struck", struck);
	return o;
}
