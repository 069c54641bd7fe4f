/* The wrapper: what goes in, what comes out, and when. The lies themselves are in forge.c. */
#include "sim/adversary_private.h"

static const char *const names[ATTACKS] = {
	[ATTACK_EQUIVOCATE] = "equivocate",
	[ATTACK_DOUBLE_VOTE] = "double-vote",
	[ATTACK_SILENT] = "silent",
	[ATTACK_SELECTIVE] = "selective",
	[ATTACK_SLOW] = "slow",
	[ATTACK_CENSOR] = "censor",
	[ATTACK_BAD_SIGNATURES] = "bad-signatures",
	[ATTACK_REPLAY] = "replay",
	[ATTACK_INFLATE] = "inflate",
	[ATTACK_BOGUS_CERT] = "bogus-cert",
	[ATTACK_STATE_ROOT] = "state-root",
	[ATTACK_CHECKPOINT] = "checkpoint",
	[ATTACK_CORRUPT_BODY] = "corrupt-body",
	[ATTACK_LIE_FETCH] = "lie-fetch",
	[ATTACK_WITHHOLD] = "withhold",
	[ATTACK_HOARD] = "hoard",
	[ATTACK_FLOOD] = "flood",
	[ATTACK_HIDDEN_VOTE] = "hidden-vote",
	[ATTACK_TWO_VIEWS] = "two-views",
	[ATTACK_SHOUT] = "shout",
	[ATTACK_EVIDENCE] = "evidence",
	[ATTACK_TERM_VOTES] = "term-votes",
	[ATTACK_GARBAGE] = "garbage",
	[ATTACK_LOW_BASE] = "low-base",
	[ATTACK_RACE] = "race",
	[ATTACK_DRIP] = "drip",
	[ATTACK_ECLIPSE] = "eclipse",
	[ATTACK_AMNESIA] = "amnesia",
	[ATTACK_FRAME] = "frame",
	[ATTACK_FORK] = "fork",
	[ATTACK_RESIGN] = "resign",
};

const char *attack_name(enum attack a)
{
	return a < ATTACKS ? names[a] : "unknown";
}

int attack_by_name(const char *name)
{
	for (int i = 0; i < ATTACKS; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

/* ---- outgoing messages ------------------------------------------------------------------- */

struct writer *adversary_emit(struct adversary *a, uint64_t to, enum message_class class,
			      uint8_t type)
{
	if (a->count == a->cap) {
		a->cap = a->cap ? 2 * a->cap : 16;
		a->out = mem_realloc(a->out, a->cap * sizeof *a->out);
		a->body = mem_realloc(a->body, a->cap * sizeof *a->body);
		memset(a->body + a->count, 0, (a->cap - a->count) * sizeof *a->body);
	}
	struct writer *w = &a->body[a->count];
	writer_reset(w);
	a->out[a->count++] = (struct message){
		.to = to & ~(UINT64_C(1) << a->self), .class = class, .type = type};
	return w;
}

void adversary_pass(struct adversary *a, const struct message *m, uint64_t to)
{
	if (!(to & m->to))
		return;
	struct writer *w = adversary_emit(a, to & m->to, m->class, m->type);
	a->out[a->count - 1].before_durable = m->before_durable;
	writer_raw(w, m->bytes.ptr, m->bytes.len);
}

void adversary_hold(struct adversary *a, const struct message *m, uint64_t delay)
{
	for (unsigned i = 0; i < HELD_MAX; i++) {
		struct held *h = &a->held[i];
		if (h->due)
			continue;
		h->due = a->now + delay;
		h->to = m->to;
		h->class = m->class;
		h->type = m->type;
		writer_reset(&h->bytes);
		writer_raw(&h->bytes, m->bytes.ptr, m->bytes.len);
		return;
	}
	adversary_pass(a, m, m->to);
}

static uint64_t release_held(struct adversary *a)
{
	uint64_t next = UINT64_MAX;
	for (unsigned i = 0; i < HELD_MAX; i++) {
		struct held *h = &a->held[i];
		if (!h->due)
			continue;
		if (h->due > a->now) {
			next = h->due < next ? h->due : next;
			continue;
		}
		struct writer *w = adversary_emit(a, h->to, h->class, h->type);
		struct slice s = writer_slice(&h->bytes);
		writer_raw(w, s.ptr, s.len);
		h->due = 0;
	}
	return next;
}

/* For replays: some messages of ours. */
static void remember(struct adversary *a, const struct message *m)
{
	if (m->bytes.len > 8192 || !random_chance(&a->random, 1, 8))
		return;
	struct held *h = &a->old[random_below(&a->random, OLD_MAX)];
	h->due = 1;
	h->to = m->to;
	h->class = m->class;
	h->type = m->type;
	writer_reset(&h->bytes);
	writer_raw(&h->bytes, m->bytes.ptr, m->bytes.len);
}

/* ---- moods ------------------------------------------------------------------------------- */

bool adversary_does(const struct adversary *a, enum attack attack)
{
	return !a->barred && a->attacks & ATTACK_BIT(attack);
}

/* One message in or out, or whatever is done unasked. */
static void moment_begins(struct adversary *a)
{
	struct team *t = a->team;
	if (!a->attacks)
		return;
	t->moments++;
	a->barred = t->config.only && !occurs(t->config.only, t->moments);
	if (t->config.record)
		t->config.record->moments = t->moments;
}

static void moment_ends(struct adversary *a)
{
	a->barred = false;
}

void adversary_struck(struct adversary *a, enum attack attack)
{
	struct team *t = a->team;
	t->strikes[attack]++;
	if (t->config.record)
		occurrences_add(&t->config.record->strikes, t->moments);
}

static void change_mood(struct adversary *a)
{
	const struct team_config *c = &a->team->config;
	a->orders = a->team->orders;
	a->mood_until = a->now + random_between(&a->random, 20000, 3000000);
	a->targets = c->targets ? c->targets : random_u64(&a->random);
	a->attacks = 0;
	if (!a->team->active || a->final < c->from_height)
		return;
	if (!c->random) {
		a->attacks = c->attacks;
		return;
	}
	unsigned want = (unsigned)random_below(&a->random, 5);
	for (unsigned tries = 0; want && tries < 200; tries++) {
		unsigned pick = (unsigned)random_below(&a->random, ATTACK_RESIGN);
		if (!(c->attacks >> pick & 1) || (a->attacks >> pick & 1))
			continue;
		/* mutes would keep all others from happening: rarely */
		if ((pick == ATTACK_SILENT || pick == ATTACK_WITHHOLD) &&
		    !random_chance(&a->random, 1, 4))
			continue;
		a->attacks |= ATTACK_BIT(pick);
		want--;
	}
	/* Drawn apart, so that runs without it stay as they are. */
	if (c->attacks & ATTACK_BIT(ATTACK_RESIGN) && random_chance(&a->random, 1, 3))
		a->attacks |= ATTACK_BIT(ATTACK_RESIGN);
}

/* ---- clocks and disks -------------------------------------------------------------------- */

#define RACE_FACTOR 5

/* The honest engine's time. It never goes back: what was gained in a race stays. */
static uint64_t engine_time(struct adversary *a)
{
	if (adversary_does(a, ATTACK_RACE) && a->now > a->raced_at)
		a->skew += (RACE_FACTOR - 1) * (a->now - a->raced_at);
	a->raced_at = a->now;
	return a->now + a->skew;
}

static uint64_t true_time(struct adversary *a, uint64_t engine_at)
{
	uint64_t now = a->now + a->skew;
	if (engine_at == UINT64_MAX || engine_at <= now)
		return engine_at == UINT64_MAX ? engine_at : a->now + 1;
	uint64_t in = engine_at - now;
	return a->now + (adversary_does(a, ATTACK_RACE) ? in / RACE_FACTOR + 1 : in);
}

/* All slots stay as they were, together, when forgetting began: a state that fits together. A
 * write that must not happen becomes one of an old slot, because its durability is waited for.
 */
static void forget(struct adversary *a, struct output *out)
{
	struct writer *slots = a->team->slot[a->self];
	unsigned old = 0;
	while (old < VOTE_SLOTS && !slots[old].len)
		old++;
	bool amnesia = adversary_does(a, ATTACK_AMNESIA) && old < VOTE_SLOTS;
	if (out->write_count > a->write_cap) {
		a->write_cap = 2 * out->write_count;
		a->writes = mem_realloc(a->writes, a->write_cap * sizeof *a->writes);
	}
	for (uint32_t i = 0; i < out->write_count; i++) {
		struct write *w = &a->writes[i];
		*w = out->writes[i];
		if (w->kind != WRITE_VOTES)
			continue;
		if (amnesia) {
			w->slot = slots[w->slot].len ? w->slot : old;
			w->bytes = writer_slice(&slots[w->slot]);
			adversary_struck(a, ATTACK_AMNESIA);
		} else {
			writer_reset(&slots[w->slot]);
			writer_raw(&slots[w->slot], w->bytes.ptr, w->bytes.len);
		}
	}
	out->writes = a->writes;
}

/* ---- state sync -------------------------------------------------------------------------- */

#define SYNC_HEAD 9 /* type, height */

void adversary_lie(struct team *t, unsigned self, uint8_t type, struct writer *bytes)
{
	(void)type;
	bool does = t->active && t->config.members >> self & 1 &&
		    t->config.attacks & ATTACK_BIT(ATTACK_LIE_FETCH);
	if (!does || bytes->len <= SYNC_HEAD || !random_chance(&t->lies, 1, 2))
		return;
	t->strikes[ATTACK_LIE_FETCH]++;
	if (random_chance(&t->lies, 1, 8)) { /* not all of it */
		bytes->len = SYNC_HEAD + random_below(&t->lies, bytes->len - SYNC_HEAD);
		return;
	}
	/* Behind what it answers to, mostly, where the substance is. */
	size_t from = bytes->len > 100 ? 80 : SYNC_HEAD;
	size_t at = from + random_below(&t->lies, bytes->len - from);
	bytes->buf[at] ^= (uint8_t)(1u << random_below(&t->lies, 8));
}

/* ---- the engine -------------------------------------------------------------------------- */

static void follow_role(struct adversary *a)
{
	const struct team_config *c = &a->team->config;
	struct engine_status s;
	engine_status(a->honest, &s);
	bool now = (s.role == ROLE_LEADER) == c->when_leading;
	a->attacks = now && a->team->active && a->final >= c->from_height ? c->attacks : 0;
}

static void step(struct engine *e, const struct input *in, struct output *out)
{
	struct adversary *a = (struct adversary *)e;
	if (in->now > a->now)
		a->now = in->now;
	struct input seen = *in;
	seen.now = engine_time(a);
	a->count = 0;
	if (in->kind == INPUT_MESSAGE) {
		moment_begins(a);
		adversary_listen(a, in->message.from, &seen.message.bytes);
		if (!seen.message.bytes.len)
			seen = (struct input){
				.kind = INPUT_TICK, .now = seen.now, .wall_ms = in->wall_ms};
		moment_ends(a);
	}
	engine_step(a->honest, &seen, out);
	out->wake_at = true_time(a, out->wake_at);
	if (out->write_count) {
		moment_begins(a);
		forget(a, out);
		moment_ends(a);
	}
	if (out->final_count)
		a->final = out->finals[out->final_count - 1].block->sh.h.height;
	if (a->now >= a->mood_until || a->orders != a->team->orders)
		change_mood(a);
	if (a->team->config.when_leading || a->team->config.when_following)
		follow_role(a);
	adversary_learn(a);
	for (uint32_t i = 0; i < out->message_count; i++) {
		remember(a, &out->messages[i]);
		moment_begins(a);
		adversary_alter(a, &out->messages[i]);
		moment_ends(a);
	}
	moment_begins(a);
	adversary_add(a);
	moment_ends(a);
	uint64_t next = release_held(a);
	for (uint32_t i = 0; i < a->count; i++)
		a->out[i].bytes = writer_slice(&a->body[i]);
	out->messages = a->out;
	out->message_count = a->count;
	if (next < out->wake_at)
		out->wake_at = next;
	if (a->mood_until < out->wake_at)
		out->wake_at = a->mood_until;
}

static void engine_free_adversary(struct engine *e)
{
	struct adversary *a = (struct adversary *)e;
	engine_free(a->honest);
	for (uint32_t i = 0; i < a->cap; i++)
		writer_free(&a->body[i]);
	for (unsigned i = 0; i < HELD_MAX; i++)
		writer_free(&a->held[i].bytes);
	for (unsigned i = 0; i < OLD_MAX; i++)
		writer_free(&a->old[i].bytes);
	writer_free(&a->heard);
	mem_free(a->out);
	mem_free(a->body);
	mem_free(a->writes);
	position_free(&a->old_position);
	mem_free(a);
}

static void status(const struct engine *e, struct engine_status *out)
{
	engine_status(((const struct adversary *)e)->honest, out);
}

static const struct term_cert *term_cert(const struct engine *e)
{
	return engine_term_cert(((const struct adversary *)e)->honest);
}

static const struct engine_ops adversary_ops = {
	step, engine_free_adversary, status, term_cert, NULL, NULL};

struct engine *adversary_wrap(struct team *t, unsigned self, struct engine *honest)
{
	struct adversary *a = mem_zalloc(sizeof *a);
	a->base.ops = &adversary_ops;
	a->honest = honest;
	a->team = t;
	a->self = self;
	a->orders = t->orders;
	position_init(&a->old_position);
	random_seed(&a->random, random_u64(&t->random) + self);
	return &a->base;
}
