/* Clients' signatures: what is to be checked, and where. The engine asks for executions and
 * checks of its own and takes the answers whenever they come; who hosts the replica may have
 * threads for it. */
#include "consensus/hybrid/message.h"
#include "replica/epoch.h"

static void execute(struct replica *r, struct block *b)
{
	struct input in; /* not cleared: most of it is of other kinds */
	in.kind = INPUT_EXECUTED;
	in.more = r->gathering;
	r->more_told |= in.more;
	in.now = r->now;
	in.wall_ms = replica_wall_ms(r);
	in.executed.block = b->hash;
	in.executed.err = ledger_execute(r->ledger, b, r->config.verify_txs);
	if (replica_store_failed(r, in.executed.err))
		return;
	in.executed.by_bytes = ledger_error_is_by_bytes(in.executed.err);
	driver_input(r->driver, &in);
}

/* Of b, into r->unchecked. SYSTEM transactions have no signatures of clients. */
static uint32_t find_unchecked(struct replica *r, const struct block *b)
{
	uint32_t count = 0;
	if (b->tx_count > r->unchecked_cap) {
		mem_free(r->unchecked);
		r->unchecked_cap = b->tx_count;
		r->unchecked = mem_array(r->unchecked_cap, sizeof *r->unchecked);
	}
	for (uint32_t i = 0; i < b->tx_count; i++) {
		struct slice bytes = block_tx_bytes(b, i);
		if (!ledger_verified(r->ledger, &b->tx[i].id) && !system_tx_is(bytes))
			r->unchecked[count++] =
				(struct pool_tx){.id = b->tx[i].id, .bytes = bytes};
	}
	return count;
}

void checks_execute(struct replica *r, struct block *b)
{
	if (r->config.verify_txs && r->config.host.check && r->given_count < CHECKS_GIVEN_MAX) {
		uint32_t count = find_unchecked(r, b);
		if (count && r->config.host.check(r->config.host.ctx, b, r->unchecked, count)) {
			r->given[r->given_count++] = b->hash;
			return;
		}
	}
	execute(r, b);
}

/* False: it was not given, or is wanted no more. */
static bool take_back(struct replica *r, const struct hash *block)
{
	for (uint32_t i = 0; i < r->given_count; i++)
		if (hash_equal(&r->given[i], block)) {
			r->given[i] = r->given[--r->given_count];
			return true;
		}
	return false;
}

void checks_forget(struct replica *r, const struct hash *block)
{
	if (block)
		(void)take_back(r, block);
	else
		r->given_count = 0;
}

void replica_execute(struct replica *r, uint64_t now, struct block *b)
{
	if (r->halted || !take_back(r, &b->hash))
		return;
	r->now = now;
	execute(r,
		b); /* with those that turned out to be false checked again, for their error */
	epoch_advance(r);
}

void replica_checked(struct replica *r, const struct hash *id)
{
	ledger_mark_verified(r->ledger, id);
}

/* Of larger ones the bytes cost more than the signature. */
#define SHARED_TX_BYTES 4096

static bool is_worth_sharing(struct slice message)
{
	struct reader rd;
	reader_init(&rd, message);
	reader_u8(&rd);
	uint32_t count = reader_u32(&rd);
	return !rd.err && message.len / (count ? count : 1) <= SHARED_TX_BYTES;
}

/* A follower's engine has no use for what is forwarded; its ledger will have. Only where
 * clients have brought something in this turn: the rest comes from peers, who have told all, or
 * is told again. */
void checks_share(struct replica *r, struct message *m)
{
	if (m->type != MSG_FORWARD || !r->brought)
		return;
	r->told = true; /* the leader gets them in any case */
	if (is_worth_sharing(m->bytes))
		m->to = mask_others(r->ctx.vals.n, r->config.self);
}

/* Who leads forwards nothing. What does not leave with a block in the same turn is told to the
 * others likewise, if it is so much that they would keep its block waiting. */
#define SHARED_TXS_MIN 8

void checks_submitted(struct replica *r, struct slice tx)
{
	r->brought =
		r->config.shares_checks && protocol_is_byzantine(r->config.genesis->protocol);
	if (!r->brought || !r->gathering || r->unshared_count == FORWARD_TXS_MAX ||
	    r->unshared.len + tx.len > FORWARD_BYTES_MAX / 2)
		return;
	writer_var(&r->unshared, tx);
	r->unshared_count++;
}

void checks_built(struct replica *r)
{
	writer_reset(&r->unshared);
	r->unshared_count = 0;
}

void checks_end_of_turn(struct replica *r)
{
	if (r->unshared_count >= SHARED_TXS_MIN && !r->told && !r->halted) {
		struct slice txs[FORWARD_TXS_MAX];
		struct reader rd;
		struct writer w = {0};
		reader_init(&rd, writer_slice(&r->unshared));
		for (uint32_t i = 0; i < r->unshared_count; i++)
			txs[i] = reader_var(&rd, TX_SIZE_MAX);
		invariant(reader_finish(&rd) == ERR_NONE);
		msg_txs_encode(&w, MSG_FORWARD, txs, r->unshared_count);
		struct message m = {.class = CLASS_BULK,
				    .type = MSG_FORWARD,
				    .before_durable = true,
				    .bytes = writer_slice(&w)};
		m.to = is_worth_sharing(m.bytes)
			       ? mask_others(r->ctx.vals.n, r->config.self)
			       : 0;
		epoch_wrap(r, r->ctx.epoch, &m);
		if (m.to)
			r->config.host.send(r->config.host.ctx, &m);
		writer_free(&w);
	}
	checks_built(r);
	r->told = r->brought = false;
}

enum worth { WORTH_CHECKING, WORTH_KNOWN, WORTH_NOTHING };

/* In this order: what costs a peer nothing to make costs us little to refuse. What has been final
 * for long is worth nothing, though its signature was good. */
static enum worth worth_of(struct replica *r, struct slice bytes, struct hash *id)
{
	struct tx tx;
	tx_id(id, bytes);
	if (map_get(&r->pending, id->b))
		return WORTH_KNOWN;
	if (tx_decode(&tx, bytes, &r->ctx, &r->config.genesis->limits) ||
	    ledger_admit(r->ledger, &tx, id))
		return WORTH_NOTHING;
	return ledger_verified(r->ledger, id) ? WORTH_KNOWN : WORTH_CHECKING;
}

bool replica_brings_transactions(struct slice message)
{
	uint8_t type = replica_message_type(message);
	return type == MSG_FORWARD || type == MSG_RELAY;
}

uint32_t replica_transactions(struct replica *r, uint64_t now, struct slice message,
			      struct pool_tx *out, uint32_t max, struct brought *others)
{
	uint32_t count = 0;
	*others = (struct brought){0};
	if (r->halted || !replica_brings_transactions(message) || !r->config.verify_txs ||
	    !protocol_is_byzantine(r->config.genesis->protocol) ||
	    replica_message_epoch(message) != r->ctx.epoch)
		return 0;
	r->now = now;
	if (r->ctx.epoch)
		message = slice_of(message.ptr + EPOCH_HEAD, message.len - EPOCH_HEAD);
	if (!r->peeked)
		r->peeked = mem_zalloc(sizeof *r->peeked);
	if (message_decode(r->peeked, message))
		return 0;
	const struct msg_txs *m = &r->peeked->txs;
	for (uint32_t i = 0; i < m->count && count < max; i++) {
		enum worth worth = worth_of(r, m->tx[i], &out[count].id);
		others->known += worth == WORTH_KNOWN;
		others->worthless += worth == WORTH_NOTHING;
		if (worth == WORTH_CHECKING)
			out[count++].bytes = m->tx[i];
	}
	message_free(r->peeked);
	return count;
}

void checks_free(struct replica *r)
{
	writer_free(&r->unshared);
	mem_free(r->peeked);
	mem_free(r->unchecked);
}
