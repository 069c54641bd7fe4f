#include "replica/replay.h"

#include "replica/epoch.h"

#include <inttypes.h>

#define SYNC_BLOCKS 256

static int wrong(struct replay *p, uint64_t height, const char *what, int err)
{
	return err_set(p->m, err, "block %" PRIu64 ": %s: %s", height, what, err_text(err));
}

int replay_begin(struct replay *p, struct store *s, struct genesis *genesis, uint64_t history,
		 struct errmsg *m)
{
	*p = (struct replay){.genesis = genesis, .m = m, .keep_blocks = true};
	p->proven = protocol_is_byzantine(genesis->protocol);
	term_cert_init(&p->tc);
	records_view(&p->view, s, genesis);
	p->view.config.history = history;
	p->last = block_hold(p->view.genesis_block);
	int err = ledger_open(&p->view.ledger, s, genesis, &p->view.ctx, p->view.genesis_block,
			      m);
	if (!err)
		ledger_set_history(p->view.ledger, history);
	return err;
}

void replay_free(struct replay *p)
{
	if (!p->genesis)
		return;
	if (p->view.ledger)
		ledger_close(p->view.ledger);
	records_view_free(&p->view);
	block_drop(p->last);
	term_cert_free(&p->tc);
	genesis_free(p->genesis);
	mem_free(p->genesis);
	*p = (struct replay){0};
}

static int write_batch(struct replay *p)
{
	int err = store_write(p->view.store, p->view.batch, false);
	if (!err && ++p->unsynced >= SYNC_BLOCKS) {
		p->unsynced = 0;
		err = store_sync(p->view.store);
	}
	return err ? err_set(p->m, ERR_IO,
			     "writing the restored state failed: check the disk (full?)")
		   : ERR_NONE;
}

static bool term_fits(const struct term_cert *tc, const struct header *h)
{
	if (tc->mode != h->mode || !hash_equal(&tc->new_view_hash, &h->new_view))
		return false;
	return tc->mode == MODE_PBFT ||
	       (tc->leader == h->leader && tc->base.height == h->base_height &&
		hash_equal(&tc->base.hash, &h->base));
}

static int check_header(struct replay *p, const struct block *b)
{
	const struct header *h = &b->sh.h, *parent = &p->last->sh.h;
	int err = p->proven ? signed_header_check(&b->sh, &p->view.ctx) : ERR_NONE;
	if (err)
		return wrong(p, h->height, "header", err);
	if (!hash_equal(&h->chain, &p->view.ctx.id))
		return wrong(p, h->height, "header", ERR_WRONG_CHAIN);
	if (p->tc.term == h->term && h->term > 0 && !term_fits(&p->tc, h))
		return wrong(p, h->height, "it is not of the term that was certified",
			     ERR_BAD_LINK);
	err = block_check_link(h, parent, &p->last->hash);
	return err ? wrong(p, parent->height + 1, "its place after its parent", err) : ERR_NONE;
}

static int execute(struct replay *p, struct block *b)
{
	struct record_key k;
	int err = ledger_execute(p->view.ledger, b, true);
	if (err)
		return wrong(p, b->sh.h.height, "execution", err);
	store_batch_clear(p->view.batch);
	ledger_finalize(p->view.ledger, b, p->view.batch);
	p->over = epoch_is_over(&p->view);
	if (p->keep_blocks) {
		records_settle(&p->view, b);
		writer_reset(&p->view.scratch);
		block_encode(&p->view.scratch, b);
		store_batch_put(p->view.batch, STORE_BLOCKS,
				key_block(&k, b->sh.h.height, &b->hash),
				writer_slice(&p->view.scratch));
	}
	return write_batch(p);
}

int replay_block(struct replay *p, struct slice bytes)
{
	struct reader r;
	struct block *b;
	uint64_t height = p->last->sh.h.height + 1;
	if (p->over)
		return wrong(p, height, "it follows the end of an epoch, which nothing proves",
			     ERR_BAD_LINK);
	reader_init(&r, bytes);
	int err = block_decode(&r, &b);
	if (err)
		return wrong(p, height, "encoding", err);
	err = reader_finish(&r);
	if (err)
		err = wrong(p, height, "encoding", err);
	if (!err)
		err = check_header(p, b);
	if (!err)
		err = execute(p, b);
	if (err) {
		block_drop(b);
		return err;
	}
	p->transactions += b->tx_count;
	block_drop(p->last);
	p->last = b;
	return ERR_NONE;
}

int replay_cert(struct replay *p, struct slice bytes)
{
	struct record_key k;
	struct reader r;
	struct cert cert;
	struct block_ref last = block_ref_of(p->last);
	reader_init(&r, bytes);
	cert_decode_stored(&r, &cert);
	int err = reader_finish(&r);
	if (!err && !block_ref_equal(&cert.ref, &last))
		err = ERR_BAD_HASH;
	if (!err && p->view.ctx.epoch && last.height == p->view.ctx.start_height)
		err = ERR_RANGE; /* of the epoch before, which is over */
	if (!err && p->proven)
		err = cert_is_final(cert.kind) ? cert_check(&cert, &p->view.ctx)
					       : ERR_NO_QUORUM;
	else if (!err && cert.kind != CERT_CRASH)
		err = ERR_RANGE;
	if (err)
		return wrong(p, last.height, "certificate", err);
	p->certified = last.height;
	p->certificates++;
	if (!p->keep_blocks)
		return ERR_NONE;
	store_batch_clear(p->view.batch);
	store_batch_put(p->view.batch, STORE_CERTS, key_cert(&k, last.height), bytes);
	return write_batch(p);
}

/* A NEW-VIEW is the one that the headers of its term name, and those are certified. What it
 * holds was judged when it was accepted. */
int replay_term(struct replay *p, uint64_t term, struct slice bytes)
{
	struct record_key k;
	struct reader r;
	term_cert_free(&p->tc);
	term_cert_init(&p->tc);
	reader_init(&r, bytes);
	term_cert_decode(&r, &p->tc);
	int err = reader_finish(&r);
	if (!err && (p->tc.term != term || p->over || term <= p->view.ctx.start_term))
		err = ERR_RANGE;
	if (!err && p->proven && p->tc.mode == MODE_FAST)
		err = fast_cert_check(&p->tc, &p->view.ctx);
	else if (!err && p->proven)
		err = p->tc.new_view ? new_view_check_sig(p->tc.new_view, &p->view.ctx)
				     : ERR_BAD_PROOF;
	if (err)
		return err_set(p->m, err, "the certificate of term %" PRIu64 ": %s", term,
			       err_text(err));
	if (!p->keep_blocks)
		return ERR_NONE;
	store_batch_clear(p->view.batch);
	store_batch_put(p->view.batch, STORE_CERTS, key_tc(&k, term), bytes);
	return write_batch(p);
}

int replay_handover(struct replay *p, const struct handover *h)
{
	uint64_t height = p->last->sh.h.height;
	if (!p->over || !hash_equal(&h->end->hash, &p->last->hash))
		return wrong(p, height, "what proves the end of an epoch is not of this block",
			     ERR_BAD_LINK);
	if (p->view.ctx.before)
		return wrong(p, height, "it ends an epoch of a chain that was recovered",
			     ERR_UNSUPPORTED);
	int err = epoch_step(&p->view, h, p->m);
	if (err)
		return err;
	term_cert_free(&p->tc); /* the new set's terms may have the numbers of fillers' */
	term_cert_init(&p->tc);
	p->over = false;
	p->certified = height;
	p->certificates++;
	return ERR_NONE;
}

int replay_epoch(struct replay *p, struct slice bytes)
{
	struct handover h;
	struct reader r;
	reader_init(&r, bytes);
	int err = handover_decode(&r, &h);
	if (!err)
		err = reader_finish(&r);
	if (err)
		err_set(p->m, err, "what proves the end of an epoch: %s", err_text(err));
	else
		err = replay_handover(p, &h);
	handover_free(&h);
	return err;
}

void replay_recovered(struct replay *p)
{
	genesis_ctx(&p->view.ctx, p->genesis);
	p->view.epochs[0] = p->view.ctx;
}

/* In the epoch that it is of, which it does not say. */
static int evidence_holds(const struct replay *p, const struct evidence *e)
{
	int err = ERR_BAD_PROOF;
	for (uint32_t i = p->view.epoch_count; i-- > 0 && err;)
		err = evidence_check_any(e, &p->view.epochs[i], tx_never_valid);
	return err;
}

int replay_evidence(struct replay *p, struct slice bytes)
{
	struct reader r;
	struct evidence e;
	struct hash id;
	reader_init(&r, bytes);
	evidence_decode(&r, &e);
	int err = reader_finish(&r);
	if (!err)
		err = evidence_holds(p, &e);
	if (err)
		return err_set(p->m, err, "an evidence proves nothing: %s", err_text(err));
	if (!p->keep_blocks)
		return ERR_NONE;
	hash_tagged(&id, HASH_EVIDENCE, bytes);
	store_batch_clear(p->view.batch);
	store_batch_put(p->view.batch, STORE_EVIDENCE, hash_slice(&id), bytes);
	return write_batch(p);
}

int replay_end(struct replay *p)
{
	if (p->certified != p->last->sh.h.height)
		return wrong(p, p->last->sh.h.height, "it is the last, without a certificate",
			     ERR_NO_QUORUM);
	int err = store_sync(p->view.store);
	return err ? err_set(p->m, ERR_IO,
			     "writing the restored state failed: check the disk (full?)")
		   : ERR_NONE;
}
