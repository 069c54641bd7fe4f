/* Disks: full ones, lost ones. */
#include "sim/world.h"

/* What replicas write is the same in the main, and kept once. */
void sim_new_disk(struct sim *s, unsigned i)
{
	struct store *other = NULL;
	for (unsigned k = 0; k < s->n && !other && !s->options.unshared; k++)
		other = s->node[k].store;
	s->node[i].store = other ? store_open_memory_beside(other) : store_open_memory();
}

void sim_fill_disk(struct sim *s, unsigned i)
{
	s->node[i].disk_full = true;
	store_memory_fail_write(s->node[i].store, 1);
}

void sim_make_room(struct sim *s, unsigned i)
{
	if (!s->node[i].disk_full)
		return;
	s->node[i].disk_full = false;
	if (s->node[i].replica)
		sim_crash_node(s, i);
	s->result->restarts++;
	sim_start_node(s, i);
}

void sim_wipe_disk(struct sim *s, unsigned i)
{
	struct sim_node *node = &s->node[i];
	if (node->replica)
		sim_crash_node(s, i);
	struct store *gone = node->store;
	sim_new_disk(s, i);
	store_close(gone);
	/* A liar begins anew as if it had never signed; who means well comes up as an observer.
	 */
	if (sim_is_corrupt(s, i))
		replica_first_votes(node->store);
	node->wiped = node->lost = true;
	node->synced = false;
}
