#include "replica/audit.h"

#include "replica/epoch.h"

#include <inttypes.h>
#include <stdio.h>

#include "replica/private.h"

#define KEY_SHOWN 48

struct auditing {
	struct replica view;
	const struct audit_options *o;
	struct audit_result *out;
	struct audit_host host;
	uint64_t height, height_max;
	struct hash last; /* hash of the final block at height, if `linked` */
	bool linked;
	struct header parent;
	struct writer scratch, last_key;
	struct errmsg *m;
};

const char *store_family_name(enum store_family f)
{
	static const char *const names[STORE_FAMILIES] = {
		[STORE_META] = "meta",	       [STORE_BLOCKS] = "blocks",
		[STORE_VOTES] = "votes",       [STORE_CERTS] = "certificates",
		[STORE_EVIDENCE] = "evidence", [STORE_STATE] = "state",
		[STORE_TREE] = "tree",	       [STORE_TXINDEX] = "txindex",
	};
	return (unsigned)f < STORE_FAMILIES ? names[f] : "?";
}

void finding_damage(const struct finding *f, struct damage *out)
{
	size_t len = f->record.len < DAMAGE_KEY_MAX ? f->record.len : DAMAGE_KEY_MAX;
	*out = (struct damage){.family = f->family,
			       .height = f->height,
			       .unreadable = f->what == audit_unreadable,
			       .file = f->file,
			       .key_len = (uint8_t)len};
	if (len)
		memcpy(out->key, f->record.ptr, len);
}

static void host_found(void *arg, enum store_family f, struct slice key, uint64_t height,
		       int err, const char *what)
{
	struct auditing *a = arg;
	struct finding found = {
		.family = f, .height = height, .err = err, .what = what, .record = key};
	if (what == audit_unreadable) {
		found.file = height;
		found.height = UINT64_MAX;
	}
	hex_encode(found.key, key.ptr, key.len < KEY_SHOWN ? key.len : KEY_SHOWN);
	if (key.len > KEY_SHOWN)
		memcpy(found.key + 2 * KEY_SHOWN, "...", 4);
	a->out->findings++;
	a->o->found(a->o->arg, &found);
}

static bool host_pace(void *arg, size_t bytes)
{
	struct auditing *a = arg;
	a->out->bytes += bytes;
	return a->o->step(a->o->arg, a->height, a->height_max, a->out->bytes, 0);
}

static void found(struct auditing *a, enum store_family f, struct slice key, uint64_t height,
		  int err, const char *what)
{
	host_found(a, f, key, height, err, what);
}

static bool host_root_at(void *arg, uint64_t height, struct hash *root)
{
	struct auditing *a = arg;
	struct block *b;
	if (replica_block(&a->view, height, &b))
		return false;
	*root = b->sh.h.state_root;
	block_drop(b);
	return true;
}

/* ---- final blocks ------------------------------------------------------------------------ */

static void check_txs(struct auditing *a, const struct block *b)
{
	uint64_t height = b->sh.h.height;
	struct writer want = {0};
	for (uint32_t i = 0; i < b->tx_count; i++) {
		struct slice key = hash_slice(&b->tx[i].id);
		int err = store_get(a->view.store, STORE_TXINDEX, key, &a->scratch);
		writer_reset(&want);
		writer_u64(&want, height);
		writer_u32(&want, i);
		if (!err && !slice_equal(writer_slice(&want), writer_slice(&a->scratch)))
			err = ERR_CORRUPT;
		if (err)
			found(a, STORE_TXINDEX, key, height, err,
			      "the transaction's entry in the index is missing or wrong");
	}
	a->out->transactions += b->tx_count;
	writer_free(&want);
}

static void check_system(struct auditing *a, const struct block *b)
{
	struct record_key k;
	uint64_t height = b->sh.h.height;
	bool wanted = system_tx_prefix(b) > 0;
	struct slice key = key_system(&k, height);
	int err = store_get(a->view.store, STORE_BLOCKS, key, &a->scratch);
	bool same = !err && slice_equal(writer_slice(&a->scratch), hash_slice(&b->hash));
	if (wanted ? !same : err != ERR_NOT_FOUND)
		found(a, STORE_BLOCKS, key, height, err ? err : ERR_CORRUPT,
		      "the index of SYSTEM transactions is wrong");
}

static int check_header(struct auditing *a, const struct block *b)
{
	int err = ERR_NONE;
	if (protocol_is_byzantine(a->o->genesis->protocol))
		err = signed_header_check(&b->sh, replica_ctx_at(&a->view, b->sh.h.height));
	if (!err && !hash_equal(&b->sh.h.chain, &a->view.ctx.id))
		err = ERR_WRONG_CHAIN;
	if (!err && a->linked)
		err = block_check_link(&b->sh.h, &a->parent, &a->last);
	return err;
}

/* Where the record of what begins behind an end is lost, the rest is checked under the set that
 * the end itself names. */
static void check_end(struct auditing *a, struct block *b)
{
	uint64_t height = b->sh.h.height;
	const struct chain_ctx *ctx = replica_ctx_at(&a->view, height);
	struct block_ref end = block_ref_of(b);
	struct member_change change;
	struct chain_ctx next;
	struct epoch_key k;
	if (!epoch_end_of(b, ctx, &change) || ctx->epoch + 1 < a->view.epoch_count ||
	    height == a->out->ledger.height) /* stopped right before the next epoch began */
		return;
	struct slice key = key_epoch(&k, ctx->epoch + 1);
	int err = store_get(a->view.store, STORE_META, key, &a->scratch);
	if (err == ERR_NOT_FOUND) /* else it is found damaged below */
		found(a, STORE_META, key, height, err,
		      "the record of an epoch's beginning is missing");
	if (!epoch_next(&next, ctx, &change, &end))
		epoch_enter(&a->view, &next, b);
}

static void check_block(struct auditing *a, uint64_t height)
{
	struct record_key k;
	struct hash hash;
	struct block *b;
	bool was_linked = a->linked;
	a->linked = false;
	a->out->blocks++;
	int err = store_get(a->view.store, STORE_BLOCKS, key_final(&k, height), &a->scratch);
	if (!err && a->scratch.len != HASH_SIZE)
		err = ERR_CORRUPT;
	if (err) {
		found(a, STORE_BLOCKS, key_final(&k, height), height, err,
		      "the index entry of the final block is missing or damaged");
		return;
	}
	memcpy(hash.b, a->scratch.buf, HASH_SIZE);
	err = records_block(&a->view, height, &hash, &b);
	if (err) {
		found(a, STORE_BLOCKS, key_block(&k, height, &hash), height, err,
		      "the final block is missing or damaged");
		return;
	}
	a->linked = was_linked;
	err = check_header(a, b);
	if (err)
		found(a, STORE_BLOCKS, key_block(&k, height, &hash), height, err,
		      "the final block does not fit the chain");
	else
		check_end(a, b);
	check_txs(a, b);
	check_system(a, b);
	a->out->bytes += b->body_size;
	a->linked = true;
	a->last = b->hash;
	a->parent = b->sh.h;
	block_drop(b);
}

static int check_chain(struct auditing *a)
{
	uint64_t tip = a->out->ledger.height, kept = 1;
	if (store_get(a->view.store, STORE_META, slice_str(BLOCKS_FROM_KEY), &a->scratch) ==
		    ERR_NONE &&
	    a->scratch.len == 8)
		kept = load_be64(a->scratch.buf);
	a->out->first_block = kept;
	a->height_max = tip;
	a->linked = kept == 1;
	a->last = a->view.genesis_block->hash;
	a->parent = a->view.genesis_block->sh.h;
	for (uint64_t h = kept; h <= tip; h++) {
		a->height = h;
		check_block(a, h);
		if (!host_pace(a, 0))
			return err_set(a->m, ERR_CLOSED, "interrupted at height %" PRIu64, h);
	}
	if (tip && a->linked && !hash_equal(&a->last, &a->out->ledger.block))
		found(a, STORE_META, slice_str("ledger"), tip, ERR_BAD_LINK,
		      "the newest final block is not the one of the newest state");
	return ERR_NONE;
}

/* ---- the other families ------------------------------------------------------------------ */

typedef void check_record(struct auditing *a, struct slice key, struct slice value);

static int each_record(struct auditing *a, enum store_family f, struct slice from,
		       struct slice to, check_record *check)
{
	struct slice key, value;
	int err = ERR_NONE;
	writer_reset(&a->last_key);
	struct store_iter *it = store_iter_new(a->view.store, f, from, to, false);
	while (!err && store_iter_next(it, &key, &value)) {
		writer_reset(&a->last_key);
		writer_raw(&a->last_key, key.ptr, key.len);
		check(a, key, value);
		if (!host_pace(a, key.len + value.len))
			err = err_set(a->m, ERR_CLOSED, "interrupted");
	}
	audit_iter_end(&a->host, it, f, &a->last_key);
	store_iter_free(it);
	return err;
}

static void check_cert(struct auditing *a, struct slice key, struct slice value)
{
	struct reader r;
	struct cert cert;
	struct hash have;
	uint64_t height = load_be64(key.ptr + 1);
	bool signs = protocol_is_byzantine(a->o->genesis->protocol);
	reader_init(&r, value);
	cert_decode_stored(&r, &cert);
	int err = reader_finish(&r);
	if (!err && cert.ref.height != height)
		err = ERR_RANGE;
	if (!err && signs)
		err = cert_is_final(cert.kind)
			      ? cert_check(&cert, replica_ctx_at(&a->view, height))

			      : ERR_NO_QUORUM;
	if (!err) {
		struct record_key k;
		err = store_get(a->view.store, STORE_BLOCKS, key_final(&k, height),
				&a->scratch);
		if (!err && a->scratch.len == HASH_SIZE) {
			memcpy(have.b, a->scratch.buf, HASH_SIZE);
			err = hash_equal(&have, &cert.ref.hash) ? ERR_NONE : ERR_BAD_HASH;
		} else { /* above the state; or found already */
			err = ERR_NONE;
		}
	}
	a->out->certificates++;
	if (err)
		found(a, STORE_CERTS, key, height, err, "the certificate is damaged");
}

static void check_term(struct auditing *a, struct slice key, struct slice value)
{
	struct reader r;
	struct term_cert tc;
	term_cert_init(&tc);
	reader_init(&r, value);
	term_cert_decode(&r, &tc);
	int err = reader_finish(&r);
	if (!err && tc.term != load_be64(key.ptr + 1))
		err = ERR_RANGE;
	if (!err && tc.mode == MODE_FAST && protocol_is_byzantine(a->o->genesis->protocol))
		err = fast_cert_check(&tc, replica_ctx_of_term(&a->view, tc.term));
	else if (!err && tc.new_view)
		err = new_view_check_sig(tc.new_view, replica_ctx_of_term(&a->view, tc.term));
	term_cert_free(&tc);
	a->out->terms++;
	if (err)
		found(a, STORE_CERTS, key, UINT64_MAX, err,
		      "the certificate of a term is damaged");
}

static void check_cert_record(struct auditing *a, struct slice key, struct slice value)
{
	if (key.len == 9 && key.ptr[0] == 'c')
		check_cert(a, key, value);
	else if (key.len == 9 && key.ptr[0] == 't')
		check_term(a, key, value);
	else
		found(a, STORE_CERTS, key, UINT64_MAX, ERR_CORRUPT, "no such record is known");
}

/* In the epoch that it is of, which it does not say; or before a recovery. */
static int evidence_holds(const struct auditing *a, const struct evidence *e)
{
	int err = ERR_BAD_PROOF;
	for (uint32_t i = a->view.epoch_count; i-- > 0 && err;)
		err = evidence_check_any(e, &a->view.epochs[i], tx_never_valid);
	return err;
}

static void check_evidence(struct auditing *a, struct slice key, struct slice value)
{
	struct reader r;
	struct evidence e;
	struct hash id;
	reader_init(&r, value);
	evidence_decode(&r, &e);
	int err = reader_finish(&r);
	hash_tagged(&id, HASH_EVIDENCE, value);
	if (!err && !slice_equal(key, hash_slice(&id)))
		err = ERR_BAD_HASH;
	if (!err)
		err = evidence_holds(a, &e);
	a->out->evidence++;
	if (err)
		found(a, STORE_EVIDENCE, key, UINT64_MAX, err, "the evidence is damaged");
}

static void check_unfinal(struct auditing *a, struct slice key, struct slice value)
{
	struct reader r;
	struct block *b;
	uint64_t height = key.len > 9 ? load_be64(key.ptr + 1) : UINT64_MAX;
	reader_init(&r, value);
	int err = block_decode(&r, &b);
	if (!err) {
		err = reader_finish(&r);
		if (!err && (key.len != 9 + HASH_SIZE ||
			     memcmp(key.ptr + 9, b->hash.b, HASH_SIZE) != 0 ||
			     b->sh.h.height != height))
			err = ERR_BAD_HASH;
		block_drop(b);
	}
	a->out->unfinal++;
	if (err)
		found(a, STORE_BLOCKS, key, height, err,
		      "a block that is not final yet is damaged");
}

static void check_vote(struct auditing *a, struct slice key, struct slice value)
{
	a->out->vote_slots++;
	if (key.len != 1 || key.ptr[0] >= VOTE_SLOTS || value.len == 0)
		found(a, STORE_VOTES, key, UINT64_MAX, ERR_CORRUPT,
		      "the vote state is damaged: this validator must not vote with it");
}

static void check_epoch(struct auditing *a, struct slice key, struct slice value)
{
	uint64_t epoch = load_be64(key.ptr + sizeof EPOCH_KEY - 1), height = UINT64_MAX;
	const struct chain_ctx *before = epoch ? replica_epoch(&a->view, epoch - 1) : NULL;
	struct record_key k;
	struct chain_ctx next;
	struct handover h = {0};
	int err = before ? epoch_decode(value, &h) : ERR_RANGE;
	if (!err) {
		height = h.end->sh.h.height;
		err = handover_check(&h, before, &next);
	}
	if (!err &&
	    !store_get(a->view.store, STORE_BLOCKS, key_final(&k, height), &a->scratch) &&
	    !slice_equal(writer_slice(&a->scratch), hash_slice(&h.end->hash)))
		err = ERR_BAD_HASH;
	handover_free(&h);
	a->out->epochs++;
	if (err)
		found(a, STORE_META, key, height, err,
		      "the record of an epoch's beginning is damaged");
}

static void check_meta(struct auditing *a, struct slice key, struct slice value)
{
	size_t len = sizeof EPOCH_KEY - 1;
	if (key.len == len + 8 && memcmp(key.ptr, EPOCH_KEY, len) == 0)
		check_epoch(a, key, value);
	if (!slice_equal(key, slice_str(VOTES_EPOCH_KEY)))
		return;
	struct reader r;
	reader_init(&r, value);
	uint16_t version = reader_u16(&r);
	uint64_t epoch = reader_u64(&r);
	if (reader_finish(&r) || version != 1 || epoch >= a->view.epoch_count)
		found(a, STORE_META, key, UINT64_MAX, ERR_CORRUPT,
		      "of which epoch the vote state is, is damaged: this validator will not "
		      "vote with it");
}

static void ignore(struct auditing *a, struct slice key, struct slice value)
{
	(void)a;
	(void)key;
	(void)value;
}

static int check_families(struct auditing *a)
{
	const struct slice none = {0};
	struct record_key k;
	static const struct hash low;
	int err = each_record(a, STORE_META, none, none, check_meta);
	if (!err)
		err = each_record(a, STORE_VOTES, none, none, check_vote);
	if (!err)
		err = each_record(a, STORE_CERTS, none, none, check_cert_record);
	if (!err)
		err = each_record(a, STORE_EVIDENCE, none, none, check_evidence);
	if (!err) { /* unfinal ones are the last of the kind 'b' */
		uint8_t end = 'b' + 1;
		err = each_record(a, STORE_BLOCKS,
				  key_block(&k, a->out->ledger.height + 1, &low),
				  slice_of(&end, 1), check_unfinal);
	}
	/* Final ones and their places were looked up by their keys: that every page can be read
	 * is another question, on which the next compaction depends. */
	if (!err)
		err = each_record(a, STORE_BLOCKS, none, none, ignore);
	return err;
}

static void count_index(struct auditing *a)
{
	if (a->host.staged || a->host.swept_below)
		return; /* entries of blocks that are not final here yet, or not kept */
	if (a->out->findings == 0 && a->out->ledger.index_entries != a->out->transactions)
		found(a, STORE_TXINDEX, (struct slice){0}, UINT64_MAX, ERR_CORRUPT,
		      "the transaction index has other entries than the blocks transactions");
}

int replica_audit_head(struct store *s, const struct genesis *g, struct audit_result *out,
		       struct errmsg *m)
{
	struct chain_ctx ctx;
	struct writer w = {0};
	*out = (struct audit_result){0};
	genesis_ctx(&ctx, g);
	int err = ledger_audit_head(s, &ctx, &out->ledger, m);
	if (!err)
		out->restored =
			store_get(s, STORE_META, slice_str(RESTORED_KEY), &w) == ERR_NONE;
	out->observer = !err && observer_is_marked(s);
	for (uint8_t slot = 0; slot < VOTE_SLOTS && !err; slot++)
		out->vote_slots +=
			store_get(s, STORE_VOTES, slice_of(&slot, 1), &w) == ERR_NONE;
	writer_free(&w);
	return err;
}

int replica_audit(struct store *s, const struct audit_options *o, struct audit_result *out,
		  struct errmsg *m)
{
	int err = replica_audit_head(s, o->genesis, out, m);
	if (err)
		return err;
	struct auditing *a = mem_zalloc(sizeof *a);
	a->o = o;
	a->out = out;
	a->m = m;
	a->host = (struct audit_host){
		.arg = a, .found = host_found, .pace = host_pace, .root_at = host_root_at};
	out->vote_slots = 0;
	records_view(&a->view, s, o->genesis);
	sync_apart(s, &a->host.staged, &a->host.swept_below);
	err = check_chain(a);
	if (!err)
		err = check_families(a);
	if (!err)
		err = ledger_audit(s, &a->view.ctx, &a->host, &out->ledger, m);
	if (!err)
		count_index(a);
	records_view_free(&a->view);
	writer_free(&a->scratch);
	writer_free(&a->last_key);
	mem_free(a);
	return err;
}
