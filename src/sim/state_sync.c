/* State sync as the simulator sees it: who lies, who is struck off, what a jump means. */
#include <stdio.h>

#include "sim/world.h"

void sim_sync_lie(void *ctx, uint8_t type, struct writer *bytes)
{
	struct sim_node *node = ctx;
	adversary_lie(node->sim->team, node->index, type, bytes);
}

void sim_sync_note(void *ctx, enum replica_sync_note note, unsigned peer,
		   const struct replica_sync_status *status)
{
	static const char *const notes[] = {[SYNC_NOTE_STARTED] = "fetches the state",
					    [SYNC_NOTE_STRUCK] = "is lied to about the state",
					    [SYNC_NOTE_BUILDING] =
						    "has all leaves of the state",
					    [SYNC_NOTE_GIVEN_UP] = "gives up the state",
					    [SYNC_NOTE_EPOCH] = "gets no state for this epoch",
					    [SYNC_NOTE_DONE] = "has the state"};
	struct sim_node *node = ctx;
	struct sim *s = node->sim;
	if (s->options.trace)
		printf("%10.6f %u %s of height %llu (by %u)\n", (double)s->now / 1e6,
		       node->index, notes[note], (unsigned long long)status->height, peer);
	if (sim_is_corrupt(s, node->index) || node->dying)
		return;
	if (note == SYNC_NOTE_STRUCK) {
		s->result->sync_strikes++;
		if (!sim_is_corrupt(s, peer))
			sim_violation(s, SIM_SAFETY,
				      "replica %u strikes %u, which is honest, off as a liar",
				      node->index, peer);
	}
	if (note == SYNC_NOTE_DONE) {
		s->result->syncs++;
		s->result->epoch_syncs += replica_ctx(node->replica)->epoch > 0;
		s->result->jumps += replica_ctx(node->replica)->epoch > node->epoch;
		s->result->sync_bytes += status->bytes;
		s->result->sync_retries += status->retries;
	}
}

/* From one final block to another: what check_final() asks of each is asked of the newest. */
void sim_sync_reopened(void *ctx, uint64_t height)
{
	struct sim_node *node = ctx;
	if (node->dying)
		return;
	node->synced = true;
	node->final = height;
	node->life++;	       /* of its engine, which checkers tell from the one before */
	node->in_turn = false; /* whose end was an event of that life */
	node->wake_at = 0;
	node->tc_term = 0;
	if (!sim_is_corrupt(node->sim, node->index))
		check_recovered(node->sim, node->index);
}
