/* The acceptor: section 2.2, and what of it must survive a crash (2.5). */
#include "consensus/multipaxos/multipaxos.h"

/* ---- durable state ----------------------------------------------------------------------- */

struct paxos_accepted_value *paxos_accepted_at(struct multipaxos *p, uint64_t slot)
{
	struct paxos_accepted_value *a = &p->accepted[slot % PAXOS_RING];
	return a->slot == slot && slot ? a : NULL;
}

static bool still_needed(const struct multipaxos *p, const struct paxos_accepted_value *a)
{
	return a->slot > core_final_height(&p->c);
}

/* The values themselves are stored as blocks. */
void paxos_flush(struct multipaxos *p)
{
	if (p->ballots_dirty && !MUTANT(MUTANT_PAXOS_FORGET_PROMISE)) {
		struct writer *w = core_votes(&p->c, PAXOS_SLOT_BALLOTS);
		writer_u64(w, p->promised);
		writer_u64(w, p->tried);
	}
	if (p->accepted_dirty && !MUTANT(MUTANT_PAXOS_FORGET_ACCEPTED)) {
		struct writer *w = core_votes(&p->c, PAXOS_SLOT_ACCEPTED);
		uint32_t count = 0;
		for (unsigned i = 0; i < PAXOS_RING; i++)
			count += still_needed(p, &p->accepted[i]);
		writer_u32(w, count);
		for (unsigned i = 0; i < PAXOS_RING; i++) {
			const struct paxos_accepted_value *a = &p->accepted[i];
			if (!still_needed(p, a))
				continue;
			writer_u64(w, a->slot);
			writer_u64(w, a->ballot);
			writer_hash(w, &a->value->hash);
		}
	}
	p->ballots_dirty = p->accepted_dirty = false;
}

static struct block *find_block(const struct engine_recovery *rec, const struct hash *hash)
{
	for (uint32_t i = 0; i < rec->block_count; i++)
		if (hash_equal(&rec->blocks[i]->hash, hash))
			return rec->blocks[i];
	return NULL;
}

static int read_accepted(struct multipaxos *p, const struct engine_recovery *rec)
{
	struct reader r;
	reader_init(&r, rec->votes[PAXOS_SLOT_ACCEPTED]);
	uint32_t count = reader_count(&r, PAXOS_RING, 8 + 8 + HASH_SIZE);
	for (uint32_t i = 0; i < count && !r.err; i++) {
		struct hash hash;
		struct paxos_accepted_value a = {.slot = reader_u64(&r)};
		a.ballot = reader_u64(&r);
		reader_hash(&r, &hash);
		if (r.err || a.ballot > p->promised)
			return ERR_CORRUPT;
		if (a.slot <= rec->final->sh.h.height)
			continue; /* chosen, and known */
		a.value = find_block(rec, &hash);
		struct paxos_accepted_value *at = &p->accepted[a.slot % PAXOS_RING];
		if (!a.value || a.value->sh.h.height != a.slot || at->slot)
			return ERR_CORRUPT;
		block_hold(a.value);
		*at = a;
	}
	return reader_finish(&r);
}

int paxos_recover(struct multipaxos *p, const struct engine_recovery *rec, struct errmsg *m)
{
	struct reader r;
	int err = ERR_NONE;
	if (rec->votes[PAXOS_SLOT_BALLOTS].len) {
		reader_init(&r, rec->votes[PAXOS_SLOT_BALLOTS]);
		p->promised = reader_u64(&r);
		p->tried = reader_u64(&r);
		err = reader_finish(&r);
	}
	if (!err && rec->votes[PAXOS_SLOT_ACCEPTED].len)
		err = read_accepted(p, rec);
	if (err)
		return err_set(m, ERR_CORRUPT,
			       "the acceptor's state on disk cannot be read, or a value that "
			       "it accepted is missing: it could break its promises; restore "
			       "the disk or replace its key");
	return ERR_NONE;
}

/* ---- phase 1b ---------------------------------------------------------------------------- */

/* "It can ignore any request": that of others while a leader is heard. */
static bool leader_exists(const struct multipaxos *p)
{
	return p->c.role == ROLE_LEADER ? core_majority_heard(&p->c, p->answered)
					: core_leader_alive(&p->c);
}

static void refuse(struct multipaxos *p, unsigned to, uint64_t ballot)
{
	struct paxos_nack m = {.ballot = ballot, .promised = p->promised};
	paxos_nack_encode(emit_message(&p->c.out, emit_to(to), CLASS_URGENT, PAXOS_NACK), &m);
}

bool paxos_promise(struct multipaxos *p, uint64_t ballot)
{
	if (ballot < p->promised)
		return false;
	p->ballots_dirty |= ballot > p->promised;
	p->promised = ballot;
	return true;
}

/* What was accepted in slots from `from` on, in as many messages as it takes. */
static void send_promise(struct multipaxos *p, unsigned to, uint64_t from)
{
	struct paxos_promise *m = mem_zalloc(sizeof *m);
	uint64_t low = core_final_height(&p->c) + 1, slot;
	if (from > low)
		low = from;
	m->ballot = p->promised;
	m->final = core_final_height(&p->c);
	for (slot = low; slot <= core_final_height(&p->c) + PAXOS_WINDOW; slot++)
		m->total += paxos_accepted_at(p, slot) != NULL;
	slot = low;
	do {
		size_t bytes = 0;
		m->values.count = 0;
		for (; slot <= core_final_height(&p->c) + PAXOS_WINDOW &&
		       m->values.count < CRASH_BLOCKS_MAX;
		     slot++) {
			struct paxos_accepted_value *a = paxos_accepted_at(p, slot);
			if (!a)
				continue;
			bytes += a->value->body_size + SIGNED_HEADER_SIZE;
			if (bytes > CRASH_BLOCKS_BYTES && m->values.count)
				break;
			m->ballot_of[m->values.count] = a->ballot;
			m->values.block[m->values.count++] = a->value;
		}
		paxos_promise_encode(
			emit_message(&p->c.out, emit_to(to), CLASS_URGENT, PAXOS_PROMISE), m);
		m->first += m->values.count;
	} while (m->first < m->total);
	mem_free(m);
}

void paxos_on_prepare(struct multipaxos *p, unsigned from, const struct paxos_prepare *m)
{
	if (paxos_owner(p, m->ballot) != from || m->from == 0) {
		p->c.counters[COUNT_BAD_MESSAGES]++;
		return;
	}
	if (m->ballot < p->promised) {
		p->c.counters[COUNT_PRE_VOTE_REFUSED]++;
		refuse(p, from, m->ballot);
		return;
	}
	if (m->ballot > p->promised && p->c.leader != from && leader_exists(p)) {
		p->c.counters[COUNT_PRE_VOTE_IGNORED]++;
		return;
	}
	if (m->ballot > p->promised) {
		paxos_step_down(p);
		paxos_timer_restart(p);
	}
	paxos_promise(p, m->ballot);
	send_promise(p, from, m->from);
}

/* ---- phase 2b ---------------------------------------------------------------------------- */

void paxos_store(struct multipaxos *p, uint64_t ballot, struct block *value)
{
	uint64_t slot = value->sh.h.height;
	struct paxos_accepted_value *a = &p->accepted[slot % PAXOS_RING];
	if (a->slot != slot || !hash_equal(&a->value->hash, &value->hash)) {
		block_drop(a->value);
		*a = (struct paxos_accepted_value){.slot = slot, .value = block_hold(value)};
		emit_block(&p->c.out, value);
	}
	a->ballot = ballot;
	p->accepted_dirty = true;
}

/* The ballot's owner leads, as far as we know of higher ones. */
static bool follow(struct multipaxos *p, unsigned from, uint64_t ballot)
{
	struct core *c = &p->c;
	if (paxos_owner(p, ballot) != from) {
		c->counters[COUNT_BAD_MESSAGES]++;
		return false;
	}
	if (ballot < p->promised) {
		c->counters[COUNT_STALE_MESSAGES]++;
		refuse(p, from, ballot);
		return false;
	}
	paxos_promise(p, ballot);
	if (p->phase != PAXOS_IDLE)
		paxos_step_down(p);
	c->role = ROLE_FOLLOWER;
	if (c->leader != from) {
		c->leader = (uint16_t)from;
		core_forward_all_later(c);
	}
	c->leader_heard = c->now ? c->now : 1;
	paxos_timer_restart(p);
	return true;
}

void paxos_on_accept(struct multipaxos *p, unsigned from, const struct paxos_accept *m)
{
	struct core *c = &p->c;
	struct block *v = m->value.block[0];
	uint64_t slot = v->sh.h.height, final = core_final_height(c);
	if (!crash_block_fits(v, c->ctx) || v->sh.h.term > m->ballot) {
		c->counters[COUNT_BAD_MESSAGES]++;
		return;
	}
	if (!follow(p, from, m->ballot))
		return;
	c->peer_final = m->commit;
	/* What is final here was chosen, and so is this very value: nothing to remember. */
	struct paxos_accepted_value *a = slot > final ? paxos_accepted_at(p, slot) : NULL;
	bool far = slot > final + PAXOS_WINDOW; /* ignored; we must catch up first */
	if (slot > final && !far && (!a || a->ballot < m->ballot))
		paxos_store(p, m->ballot, v);
	paxos_note_chosen(p, from, m->ballot, m->commit);
	if (far) {
		c->counters[COUNT_STALE_MESSAGES]++;
		return;
	}
	struct paxos_accepted reply = {.ballot = m->ballot, .slot = slot};
	paxos_accepted_encode(
		emit_message(&c->out, emit_to(from), CLASS_CONSENSUS, PAXOS_ACCEPTED), &reply);
}

void paxos_on_news(struct multipaxos *p, unsigned from, uint8_t type,
		   const struct paxos_news *m)
{
	if (!follow(p, from, m->ballot))
		return;
	p->c.peer_final = m->commit;
	paxos_note_chosen(p, from, m->ballot, m->commit);
	if (type != PAXOS_HEARTBEAT)
		return;
	struct paxos_news reply = {.ballot = m->ballot, .commit = core_final_height(&p->c)};
	paxos_news_encode(
		emit_message(&p->c.out, emit_to(from), CLASS_URGENT, PAXOS_HEARTBEAT_REPLY),
		PAXOS_HEARTBEAT_REPLY, &reply);
}
