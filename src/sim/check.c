/* The checkers: agreement, certificates, [S3], durability of what was acknowledged, at most
 * once, equal state roots. */
#include "consensus/hybrid/message.h"
#include "sim/world.h"

static void note_header(struct sim *s, const struct header *h, const struct hash *hash)
{
	if (map_get(&s->headers, hash->b))
		return;
	struct known_header *k = mem_alloc(sizeof *k);
	k->prev = h->prev;
	k->height = h->height;
	map_put(&s->headers, hash->b, k);
}

/* final_term: of the certificate that made b final, itself or through a descendant. */
static void append_record(struct sim *s, const struct block *b, uint64_t final_term)
{
	if (s->log_len == s->log_cap) {
		s->log_cap = s->log_cap ? 2 * s->log_cap : 256;
		s->log = mem_realloc(s->log, s->log_cap * sizeof *s->log);
	}
	s->log[s->log_len++] = (struct log_record){b->hash, b->sh.h.state_root, final_term};
	writer_u64(&s->log_bytes, b->sh.h.term);
	writer_hash(&s->log_bytes, &b->sh.h.state_root);
}

void check_begin(struct sim *s, const struct block *genesis)
{
	map_init(&s->headers, 1);
	map_init(&s->used, 2);
	map_init(&s->acked, 3);
	map_init(&s->final_ids, 4);
	append_record(s, genesis, 0);
	note_header(s, &genesis->sh.h, &genesis->hash);
}

void check_free(struct sim *s)
{
	struct known_header *k;
	for (size_t i = 0; (k = map_next(&s->headers, &i, NULL)) != NULL;)
		mem_free(k);
	map_free(&s->headers);
	map_free(&s->used);
	map_free(&s->acked);
	map_free(&s->final_ids);
	writer_free(&s->log_bytes);
	mem_free(s->log);
}

static void new_final_block(struct sim *s, const struct block *b, uint64_t final_term)
{
	append_record(s, b, final_term);
	for (uint32_t i = 0; i < b->tx_count; i++) {
		struct tx tx;
		if (tx_decode(&tx, block_tx_bytes(b, i), &s->ctx, &s->genesis.limits)) {
			sim_violation(s, SIM_SAFETY, "a malformed transaction is final");
			return;
		}
		uint8_t once[40];
		struct hash key;
		memcpy(once, tx.sender.b, 32);
		store_be64(once + 32, tx.nonce);
		sha256(&key, once, sizeof once);
		if (map_put(&s->used, key.b, s))
			sim_violation(s, SIM_SAFETY, "nonce %llu took effect twice",
				      (unsigned long long)tx.nonce);
		map_put(&s->final_ids, b->tx[i].id.b, s);
		map_remove(&s->acked, b->tx[i].id.b);
		writer_raw(&s->log_bytes, once, sizeof once);
		writer_u8(&s->log_bytes, (uint8_t)b->tx[i].result);
		s->result->transactions++;
	}
}

void check_final(struct sim *s, unsigned node, const struct block *b, const struct cert *c)
{
	uint64_t height = b->sh.h.height;
	if (!cert_is_final(c->kind) || c->ref.height < height || cert_check(c, &s->ctx)) {
		sim_violation(s, SIM_SAFETY, "replica %u: bad certificate for block %llu", node,
			      (unsigned long long)height);
		return;
	}
	note_header(s, &b->sh.h, &b->hash);
	if (height == s->log_len) {
		new_final_block(s, b, c->ref.term);
		return;
	}
	if (height > s->log_len || !hash_equal(&s->log[height].hash, &b->hash)) {
		char mine[HASH_SHORT_SIZE], other[HASH_SHORT_SIZE] = "none";
		if (height < s->log_len)
			hash_short(other, &s->log[height].hash);
		sim_violation(s, SIM_SAFETY,
			      "[S4] fork: replica %u finalises %s (term %llu) at height %llu, "
			      "others %s",
			      node, hash_short(mine, &b->hash), (unsigned long long)b->sh.h.term,
			      (unsigned long long)height, other);
	}
}

/* Blocks that a restarted replica finds final on its disk: a certificate may have been written
 * right before the crash that kept it from being reported. */
void check_recovered(struct sim *s, unsigned node)
{
	struct replica *r = s->node[node].replica;
	uint64_t height = ledger_height(replica_ledger(r));
	if (height < s->log_len && !hash_equal(&s->log[height].hash, ledger_hash(replica_ledger(r))))
		sim_violation(s, SIM_SAFETY, "[S4] fork: replica %u restarts with another block "
					     "at height %llu",
			      node, (unsigned long long)height);
	while (s->log_len <= height && !s->stopped) {
		struct block *b;
		if (replica_block(r, s->log_len, &b)) {
			sim_violation(s, SIM_SAFETY, "replica %u lost final block %zu", node,
				      s->log_len);
			return;
		}
		note_header(s, &b->sh.h, &b->hash);
		new_final_block(s, b, UINT64_MAX); /* in which term is not known here */
		block_drop(b);
	}
}

/* [S3] The base of a term certificate contains every block that became final in a lower term.
 * A block of an older term that became final through a descendant counts from that term on. */
void check_term_cert(struct sim *s, unsigned node)
{
	const struct term_cert *tc = engine_term_cert(replica_engine(s->node[node].replica));
	if (tc->term <= s->node[node].tc_term)
		return;
	s->node[node].tc_term = tc->term;
	size_t top = s->log_len - 1;
	while (top > 0 && s->log[top].final_term >= tc->term)
		top--;
	struct hash at = tc->base.hash;
	const struct known_header *k;
	while ((k = map_get(&s->headers, at.b)) != NULL && k->height > top)
		at = k->prev;
	if (!k || k->height < top || !hash_equal(&at, &s->log[top].hash))
		sim_violation(s, SIM_SAFETY,
			      "[S3] the base of term %llu (height %llu) does not contain the "
			      "final block at height %zu",
			      (unsigned long long)tc->term, (unsigned long long)tc->base.height,
			      top);
}

void check_note_blocks(struct sim *s, const struct message *m)
{
	if (m->type != MSG_APPEND)
		return;
	struct message_in *in = mem_alloc(sizeof *in);
	if (message_decode(in, m->bytes) == ERR_NONE) {
		for (uint32_t i = 0; i < in->append.count; i++)
			note_header(s, &in->append.blocks[i]->sh.h, &in->append.blocks[i]->hash);
		if (!in->append.count)
			s->result->lone_certificates += (uint64_t)__builtin_popcountll(m->to);
		message_free(in);
	}
	mem_free(in);
}

void check_acknowledged(struct sim *s, const struct hash *id)
{
	if (!map_get(&s->final_ids, id->b))
		map_put(&s->acked, id->b, s);
}

void check_end(struct sim *s)
{
	if (map_len(&s->acked))
		sim_violation(s, SIM_SAFETY, "%zu acknowledged transactions are lost",
			      map_len(&s->acked));
	for (unsigned i = s->options.dead; i < s->n; i++) {
		struct ledger *l = replica_ledger(s->node[i].replica);
		uint64_t height = ledger_height(l);
		if (!hash_equal(ledger_root(l), &s->log[height].state_root))
			sim_violation(s, SIM_SAFETY, "replica %u: state root differs at %llu", i,
				      (unsigned long long)height);
	}
	sha256(&s->result->log_hash, s->log_bytes.buf, s->log_bytes.len);
}
