/* Answers to submissions as bytes. API threads. */
#include "ledger/receipts.h"
#include "base/mem.h"
#include "node/render.h"

/* Chains already written: those of one request share few. */
struct chains {
	const struct outcome **first; /* of each */
	uint32_t count, newest;
};

static bool same_chain(const struct outcome *a, const struct outcome *b)
{
	return a->finality && a->finality == b->finality && a->block == b->block;
}

/* Its index; a new one is at the end. */
static uint32_t chain_of(struct chains *c, const struct outcome *o)
{
	if (c->count > 0 && same_chain(c->first[c->newest], o))
		return c->newest;
	for (c->newest = 0; c->newest < c->count; c->newest++)
		if (same_chain(c->first[c->newest], o) || c->first[c->newest] == o)
			return c->newest;
	c->first[c->count++] = o;
	return c->newest;
}

static void write_chains(struct writer *w, const struct request *r, struct chains *c)
{
	for (uint32_t i = 0; r->prove && i < r->outcome_count; i++)
		if (r->outcomes[i].status == OUTCOME_COMMITTED)
			chain_of(c, &r->outcomes[i]);
	writer_u32(w, c->count);
	for (uint32_t i = 0; i < c->count; i++) {
		const struct outcome *o = c->first[i];
		size_t at = writer_skip(w, 4);
		if (o->finality)
			finality_encode_chain(o->finality, o->block, w);
		else
			certified_header_encode(w, &o->doc->ch);
		writer_patch_u32(w, at, (uint32_t)(w->len - at - 4));
	}
}

static void set_committed(struct receipt_entry *e, const struct outcome *o, uint32_t chain)
{
	e->status = RECEIPT_COMMITTED;
	e->chain = chain;
	if (o->finality) {
		const struct block *b = finality_block(o->finality, o->block);
		e->height = b->sh.h.height;
		e->result = b->tx[o->index].result;
		if (chain != RECEIPTS_NO_CHAIN)
			finality_path(o->finality, o->block, o->index, &e->path);
	} else {
		e->height = o->doc->ch.headers[0].h.height;
		e->result = o->doc->result;
		e->path = o->doc->path;
	}
}

static void write_one(struct writer *w, const struct request *r, const struct outcome *o,
		      struct chains *c)
{
	struct receipt_entry e = {.id = o->id};
	struct problem p;
	switch (o->status) {
	case OUTCOME_NEW:
	case OUTCOME_WAITING:
		invariant(!"an outcome that never came");
		break;
	case OUTCOME_COMMITTED:
		set_committed(&e, o, r->prove ? chain_of(c, o) : RECEIPTS_NO_CHAIN);
		break;
	case OUTCOME_ACCEPTED:
		e.status = RECEIPT_ACCEPTED;
		break;
	case OUTCOME_PENDING:
		e.status = RECEIPT_PENDING;
		break;
	case OUTCOME_REFUSED:
	case OUTCOME_BUSY:
		e.status = o->status == OUTCOME_BUSY ? RECEIPT_BUSY : RECEIPT_REFUSED;
		problem_of(&p, o->err, o->detail[0] ? o->detail : NULL);
		e.code = slice_str(p.code);
		e.detail = slice_str(p.detail[0] ? p.detail : p.title);
		e.hint = slice_str(p.hint ? p.hint : "");
		break;
	}
	receipt_entry_encode(w, &e);
}

void render_receipts(struct writer *w, struct request *r, unsigned *status)
{
	struct chains c = {.first = mem_array(r->outcome_count, sizeof *c.first)};
	*status = submission_status(r);
	writer_u8(w, RECEIPTS_VERSION);
	write_chains(w, r, &c);
	c.newest = 0;
	writer_u32(w, r->outcome_count);
	for (uint32_t i = 0; i < r->outcome_count; i++)
		write_one(w, r, &r->outcomes[i], &c);
	mem_free(c.first);
}
