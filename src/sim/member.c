/* New keys for validators in the simulated world: governance that signs, operators who restart
 * a node with its new key, and what the checkers know of epochs. */
#include <stdio.h>

#include "chain/epoch.h"
#include "consensus/hybrid/message.h"
#include "replica/epoch.h"
#include "sim/world.h"

#define GOVERNORS     3
#define GOVERNORS_MIN 2 /* k */

static void governor(struct keypair *out, unsigned i)
{
	uint8_t seed[32] = {8, (uint8_t)i};
	keypair_from_seed(out, seed);
}

static bool has_governance(const struct sim *s)
{
	const struct script *script = s->options.script;
	bool has = s->options.members > 0;
	for (unsigned i = 0; script && i < script->count; i++)
		has |= script->action[i].kind == SCRIPT_REPLACE;
	return has;
}

void members_genesis(struct sim *s)
{
	if (!has_governance(s))
		return;
	s->genesis.governance = (struct genesis_keys){.k = GOVERNORS_MIN, .m = GOVERNORS};
	for (unsigned i = 0; i < GOVERNORS; i++) {
		struct keypair key;
		governor(&key, i);
		s->genesis.governance.key[i] = key.pub;
	}
}

static void again(struct sim *s)
{
	sim_push(s, &(struct event){.at = s->now + random_between(&s->random, 20000, 600000),
				    .kind = EVENT_MEMBER});
}

void members_begin(struct sim *s)
{
	s->epochs = mem_array(1, sizeof *s->epochs);
	s->epochs[s->epoch_count++] = s->team_ctx = s->ctx;
	if (s->options.members)
		again(s);
}

void members_free(struct sim *s)
{
	for (unsigned i = 0; i < REPLAYS_MAX; i++)
		packet_drop(s, s->member.replay[i].packet);
	mem_free(s->epochs);
	writer_free(&s->member.change);
}

const struct chain_ctx *sim_ctx_at(const struct sim *s, uint64_t height)
{
	size_t e = s->epoch_count - 1;
	while (e > 0 && s->epochs[e].start_height >= height)
		e--;
	return &s->epochs[e];
}

void members_final(struct sim *s, const struct block *b)
{
	struct member_change m;
	const struct chain_ctx *ctx = sim_ctx_at(s, b->sh.h.height);
	struct block_ref end = block_ref_of(b);
	struct chain_ctx next;
	if (!epoch_end_of(b, ctx, &m))
		return;
	if (ctx != &s->epochs[s->epoch_count - 1] || member_change_check(&m, ctx) ||
	    epoch_next(&next, ctx, &m, &end)) {
		sim_violation(s, SIM_SAFETY, "[I18] block %llu ends no epoch, and is final",
			      (unsigned long long)b->sh.h.height);
		return;
	}
	s->epochs = mem_realloc(s->epochs, (s->epoch_count + 1) * sizeof *s->epochs);
	s->epochs[s->epoch_count++] = s->team_ctx = next;
	s->result->epochs++;
}

/* What a replica said in one epoch binds it in no other. */
void members_entered(struct sim *s, unsigned node)
{
	struct sim_node *n = &s->node[node];
	uint64_t epoch = replica_ctx(n->replica)->epoch;
	if (epoch == n->epoch)
		return;
	if (epoch < n->epoch && !n->lost && !sim_is_corrupt(s, node))
		sim_violation(s, SIM_SAFETY,
			      "[I18] replica %u goes back from epoch %llu to %llu", node,
			      (unsigned long long)n->epoch, (unsigned long long)epoch);
	n->epoch = epoch;
	n->lost = false;
	if (n->rewound) /* a new key may be placed now */
		n->wiped = observer_is_marked(n->store);
	n->vote = n->commit = (struct block_ref){0};
	n->statement = 0;
	n->tc_term = 0;
	n->modes.life = n->heard.life = n->fair.life = UINT32_MAX;
}

bool member_is_placed(const struct sim *s, unsigned node)
{
	const struct sim_node *n = &s->node[node];
	return !n->replica ||
	       pubkey_equal(&replica_ctx(n->replica)->vals.key[node], &n->key.pub);
}

/* Its operator stops it, puts the new key there, and starts it again. */
static void restart_with_key(struct sim *s)
{
	struct sim_node *n = &s->node[s->member.place];
	if (n->replica)
		sim_crash_node(s, n->index);
	replica_first_votes_of(n->store, &s->member.key.pub);
	n->key = s->member.key;
	n->vote = n->commit = (struct block_ref){0}; /* it is another signer */
	n->statement = 0;
	n->wiped = false;
	n->reformed = true; /* a malicious one's successor means well */
	s->member.installed = true;
	sim_start_node(s, n->index);
}

/* Who has lost its vote state or is convicted first; else anybody may rotate its key. */
static unsigned choose(struct sim *s)
{
	unsigned best = (unsigned)random_below(&s->random, s->n);
	for (unsigned i = 0; i < s->n; i++)
		if ((s->node[i].wiped || s->modes.state.jailed >> i & 1) &&
		    random_chance(&s->random, 3, 4))
			best = i;
	return best;
}

void member_wanted(struct sim *s, unsigned node)
{
	bool idle = !s->member.active && !s->member.wanted;
	s->member.wanted |= UINT64_C(1) << node;
	if (idle && s->result->epochs >= s->options.members)
		again(s);
}

static void begin(struct sim *s)
{
	struct sim_member *m = &s->member;
	const struct chain_ctx *ctx = &s->epochs[s->epoch_count - 1];
	uint8_t seed[32] = {9, (uint8_t)++m->number};
	struct member_change change;
	m->active = true;
	m->installed = false;
	m->place = m->wanted ? (unsigned)__builtin_ctzll(m->wanted) : choose(s);
	m->wanted &= ~(UINT64_C(1) << m->place);
	m->epoch = ctx->epoch;
	/* who votes not is restarted when it pleases; a voter goes on with its old key */
	m->early = s->node[m->place].wiped && random_chance(&s->random, 1, 2);
	keypair_from_seed(&m->key, seed);
	member_change_init(&change, ctx, m->place, &m->key.pub);
	for (unsigned i = 0; i < GOVERNORS_MIN; i++) {
		struct keypair key;
		governor(&key, (i + m->number) % GOVERNORS);
		member_change_sign(&change, ctx, &key);
		s->unpaid.made++;
	}
	writer_reset(&m->change);
	member_change_encode(&m->change, &change);
	if (s->options.trace)
		printf("%10.6f new key for %u, epoch %llu\n", (double)s->now / 1e6, m->place,
		       (unsigned long long)m->epoch);
}

static void submit(struct sim *s)
{
	unsigned i = (unsigned)random_below(&s->random, s->n);
	struct sim_node *n = &s->node[i];
	if (!n->replica || n->dying || sim_is_corrupt(s, i) || s->now < n->paused_until)
		return;
	replica_member(n->replica, s->now, writer_slice(&s->member.change));
	sim_push(s,
		 &(struct event){.at = s->now, .kind = EVENT_WAKE, .node = i, .life = n->life});
}

void member_next(struct sim *s)
{
	struct sim_member *m = &s->member;
	struct sim_node *n = &s->node[m->place];
	if (!m->active && !m->wanted && s->result->epochs >= s->options.members)
		return;
	if (!m->active)
		begin(s);
	bool over = s->epochs[s->epoch_count - 1].epoch > m->epoch;
	if (!over)
		submit(s);
	bool now = over ? random_chance(&s->random, 1, 2) : m->early;
	if (!m->installed && now && !n->dying && !n->disk_full)
		restart_with_key(s);
	if (over && m->installed)
		m->active = false;
	again(s);
}

bool members_are_over(const struct sim *s)
{
	return !s->member.active && !s->member.wanted &&
	       s->result->epochs >= s->options.members;
}

static void replay(struct sim *s, unsigned from, const struct replay *r)
{
	unsigned to = (unsigned)random_below(&s->random, s->n);
	size_t head = r->epoch ? EPOCH_HEAD : 0;
	if (to == from || s->node[to].epoch <= r->epoch || !s->node[to].replica)
		return;
	struct writer w = {0};
	writer_u8(&w, EPOCH_ENVELOPE);
	writer_u64(&w, s->node[to].epoch);
	writer_raw(&w, r->packet->bytes + head, r->packet->len - head);
	struct packet *p = packet_new(s, r->packet->type, writer_slice(&w));
	writer_free(&w);
	s->result->replays++;
	sim_push(s, &(struct event){.at = s->now + s->delay_min,
				    .kind = EVENT_DELIVER,
				    .node = to,
				    .from = from,
				    .packet = p});
}

void member_replays(struct sim *s, unsigned from, struct packet *p)
{
	if (!s->options.members || !s->team || !random_chance(&s->random, 1, 8))
		return;
	struct replay *r = &s->member.replay[random_below(&s->random, REPLAYS_MAX)];
	if (random_chance(&s->random, 1, 4) || !r->packet) { /* heard, or sent */
		packet_drop(s, r->packet);
		p->refs++;
		*r = (struct replay){p, s->node[from].epoch};
		return;
	}
	for (unsigned i = 0; i < s->n; i++)
		if (sim_is_corrupt(s, i) && !s->node[i].reformed && s->node[i].replica)
			replay(s, i, r);
}

/* A node of an epoch that it has left says what is final there, and nothing else. */
bool check_epoch_sent(struct sim *s, unsigned from, const struct message *m,
		      struct slice *bytes)
{
	uint64_t epoch = 0;
	*bytes = m->bytes;
	if (bytes->len > 9 && bytes->ptr[0] == EPOCH_ENVELOPE) {
		epoch = load_be64(bytes->ptr + 1);
		*bytes = slice_of(bytes->ptr + 9, bytes->len - 9);
	}
	if (epoch == s->node[from].epoch || sim_is_corrupt(s, from))
		return true;
	/* A state may be asked for in an epoch that handovers lead to. */
	if (epoch > s->node[from].epoch && engine_message_is_sync(m->type) &&
	    !sync_is_answer(*bytes))
		return false;
	if (epoch > s->node[from].epoch ||
	    (m->type != MSG_BLOCKS && m->type != MSG_FINAL && m->type != SYNC_HANDOVERS))
		sim_violation(s, SIM_SAFETY,
			      "[I18] replica %u, in epoch %llu, sends %s of epoch %llu", from,
			      (unsigned long long)s->node[from].epoch,
			      engine_message_name(m->type), (unsigned long long)epoch);
	return false;
}
