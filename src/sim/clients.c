/* Closed-loop clients: one transaction outstanding each, sent again, the same bytes, to another
 * replica when no answer comes. */
#include <stdio.h>

#include "sim/world.h"

#define CLIENT_RETRY_US UINT64_C(1000000)

static void schedule(struct sim *s, unsigned i, uint64_t in)
{
	sim_push(s, &(struct event){.at = s->now + in, .kind = EVENT_CLIENT, .number = i});
}

void clients_begin(struct sim *s)
{
	s->asked = s->n;
	s->clients = mem_array(s->options.clients + 1, sizeof *s->clients);
	for (uint32_t i = 0; i < s->options.clients; i++) {
		uint8_t seed[32] = {2, (uint8_t)i, (uint8_t)(i >> 8)};
		keypair_from_seed(&s->clients[i].key, seed);
		schedule(s, i, 1000 * (i + 1));
	}
}

void clients_resume(struct sim *s)
{
	if (!s->quiet)
		return;
	s->quiet = false;
	for (uint32_t i = 0; i < s->options.clients; i++)
		if (!s->clients[i].waiting)
			schedule(s, i, 1000 * (i + 1));
}

void clients_free(struct sim *s)
{
	for (uint32_t i = 0; i < s->options.clients; i++)
		writer_free(&s->clients[i].tx);
	mem_free(s->clients);
}

static void new_transaction(struct sim *s, struct sim_client *c)
{
	char key[32];
	uint64_t value = random_u64(&s->random);
	uint32_t keys = s->options.keys ? s->options.keys : 200;
	snprintf(key, sizeof key, "key-%u", (unsigned)random_below(&s->random, keys));
	struct op op = {
		.kind = OP_PUT, .key = slice_str(key), .value = slice_of(&value, sizeof value)};
	uint8_t *large = NULL;
	if (s->options.value_size) {
		large = mem_zalloc(s->options.value_size);
		memcpy(large, &value, s->options.value_size < 8 ? s->options.value_size : 8);
		op.value = slice_of(large, s->options.value_size);
	}
	writer_reset(&c->tx);
	tx_build(&c->tx, &s->ctx, &c->key, ++c->nonce, s->log_len + 50000, &op, 1);
	mem_free(large);
	s->unpaid.made++;
	tx_id(&c->id, writer_slice(&c->tx));
	c->waiting = true;
	c->submitted_at = s->now;
}

static void done(struct sim *s, unsigned i)
{
	struct sim_client *c = &s->clients[i];
	c->waiting = false;
	s->result->acknowledged++;
	if (s->measure)
		measure_answer(s, c->submitted_at - cpu_spent(s)); /* it is sent at the end */
	check_acknowledged(s, &c->id);
	if (!s->draining)
		schedule(s, i,
			 cpu_spent(s) + (s->options.calm ? 1
							 : random_between(&s->random, 1,
									  s->profile.think)));
}

/* One event at a time, or thousands of events for answers long since there fill the heap. */
static void set_alarm(struct sim *s, unsigned i)
{
	struct sim_client *c = &s->clients[i];
	if (!s->options.to_leader || c->alarm_at)
		return;
	c->alarm_at = c->retry_at;
	schedule(s, i, c->retry_at - s->now);
}

/* Whom to ask. */
static unsigned choose(struct sim *s)
{
	if (!s->options.to_leader)
		return (unsigned)random_below(&s->random, s->n);
	if (s->asked >= s->n || !s->node[s->asked].replica)
		s->asked = sim_leader(s);
	return s->asked < s->n ? s->asked : 0;
}

void client_act(struct sim *s, unsigned i)
{
	struct sim_client *c = &s->clients[i];
	if (s->now == c->alarm_at)
		c->alarm_at = 0;
	if (c->waiting && s->now < c->retry_at) {
		set_alarm(s, i);
		return;
	}
	if (c->waiting)
		s->asked = s->n; /* no answer: who leads now? */
	if (!c->waiting) {
		if (s->draining || s->quiet)
			return;
		new_transaction(s, c);
	}
	c->retry_at = s->now + CLIENT_RETRY_US;
	if (s->options.to_leader)
		set_alarm(s, i);
	else
		schedule(s, i, CLIENT_RETRY_US);
	c->node = choose(s);
	if (!s->node[c->node].replica || sim_is_corrupt(s, c->node))
		return; /* who asks a liar asks another one later */
	if (!s->cpu_counts ||
	    !cpu_queues(s, &(struct event){.kind = EVENT_SUBMIT, .node = c->node, .number = i}))
		client_submit(s, c->node, i);
}

void client_submit(struct sim *s, unsigned to, unsigned i)
{
	struct sim_client *c = &s->clients[i];
	struct sim_node *node = &s->node[to];
	struct hash id;
	if (!c->waiting || c->node != to || !node->replica)
		return; /* while this waited it asked another one, and has its answer perhaps */
	if (s->cpu_counts)
		cpu_begin(s, false); /* the tick below is the input */
	gather_input(s, c->node);
	int err = replica_submit(node->replica, s->now, writer_slice(&c->tx), false, &id);
	if (err == ERR_EXISTS)
		done(s, i); /* final already */
	else if ((err == ERR_TX_NONCE_USED || err == ERR_TX_NONCE_WINDOW) &&
		 (node->synced || s->options.blocks) && map_get(&s->final_ids, id.b))
		done(s, i); /* likewise, but this replica does not know which one it was */
	else if (err && err != ERR_BUSY && !node->dying &&
		 !(node->disk_full && err == ERR_CLOSED) &&
		 !(s->options.measure_conflicts && s->result->halted))
		sim_violation(s, SIM_SAFETY, "replica %u refuses a client's transaction: %s",
			      c->node, err_text(err));
	if (s->cpu_counts)
		cpu_end(s, c->node);
	sim_look(s, c->node);
	/* the submission may have moved the replica's timers */
	if (node->replica)
		sim_push(s, &(struct event){.at = s->now,
					    .kind = EVENT_WAKE,
					    .node = c->node,
					    .life = node->life});
}

void clients_on_final(struct sim *s, unsigned node, const struct block *b)
{
	for (uint32_t t = 0; t < b->tx_count; t++)
		for (uint32_t i = 0; i < s->options.clients; i++)
			if (s->clients[i].waiting && s->clients[i].node == node &&
			    hash_equal(&s->clients[i].id, &b->tx[t].id))
				done(s, i);
}
