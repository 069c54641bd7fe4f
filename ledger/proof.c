/* Proofs that a state key has a value, or none, under a root: made from the tree, checked
 * without one. Format: docs/ledger-format.md. */
#include "ledger/proof.h"

#include "base/mem.h"
#include "ledger/tree_private.h"

#define PROOF_VERSION 1

/* How the path of the key ends. On disk and wire: never reuse a number. */
enum proof_end {
	PROOF_END_VALUE = 1, /* at the key's own leaf */
	PROOF_END_EMPTY = 2, /* at an empty place */
	PROOF_END_OTHER = 3, /* at another key's leaf, where this key's would have to be */
};

struct level {
	uint16_t bitmap;
	struct hash sibling[16]; /* children but the one on the path */
};

static void put_level(struct writer *w, const struct tree_node *n, unsigned nibble)
{
	const struct tree_slot *s = n->slot;
	writer_u16(w, n->present);
	for (unsigned i = 0; i < 16; i++) {
		if (!slot_present(n, i))
			continue;
		if (i != nibble)
			writer_hash(w, &s->hash);
		s++;
	}
}

int tree_prove(struct tree *t, struct tree_node *root, const struct hash *key,
	       struct writer *out)
{
	struct tree_node *n = root;
	size_t start = out->len;

	writer_u8(out, PROOF_VERSION);
	writer_u8(out, 0);
	writer_u8(out, 0);
	for (unsigned depth = 0; depth < TREE_DEPTH_MAX && !out->err; depth++) {
		unsigned nibble = tree_nibble(key, depth);
		put_level(out, n, nibble);
		if (out->err)
			break;
		out->buf[start + 2] = (uint8_t)(depth + 1);
		if (!slot_present(n, nibble)) {
			out->buf[start + 1] = PROOF_END_EMPTY;
			return ERR_NONE;
		}
		unsigned i = tree_index(n->present, nibble);
		if (slot_is_leaf(n, nibble)) {
			const struct tree_leaf *leaf = n->slot[i].leaf;
			bool own = hash_equal(&leaf->key, key);
			out->buf[start + 1] = own ? PROOF_END_VALUE : PROOF_END_OTHER;
			if (!own) {
				writer_hash(out, &leaf->key);
				writer_hash(out, &leaf->value_hash);
			}
			return out->err;
		}
		int err = node_child(t, n, i, key, depth + 1, &n);
		if (err)
			return err;
	}
	return out->err ? out->err : ERR_CORRUPT;
}

static void read_level(struct reader *r, struct level *l, unsigned nibble)
{
	l->bitmap = reader_u16(r);
	unsigned count = tree_bits((uint16_t)(l->bitmap & ~(1u << nibble)));
	for (unsigned i = 0; i < count; i++)
		reader_hash(r, &l->sibling[i]);
}

/* The node's hash with `child` on the path, or with nothing there if NULL. */
static void level_hash(struct hash *out, const struct level *l, unsigned nibble,
		       const struct hash *child)
{
	struct hash children[17];
	unsigned at = tree_index(l->bitmap, nibble);
	unsigned count = tree_bits((uint16_t)(l->bitmap & ~(1u << nibble)));
	memcpy(children, l->sibling, at * sizeof(*children));
	if (child)
		children[at++] = *child;
	memcpy(children + at, l->sibling + (child ? at - 1 : at),
	       (count - (child ? at - 1 : at)) * sizeof(*children));
	tree_node_hash(out, l->bitmap, children);
}

static bool same_path(const struct hash *a, const struct hash *b, unsigned nibbles)
{
	for (unsigned i = 0; i < nibbles; i++)
		if (tree_nibble(a, i) != tree_nibble(b, i))
			return false;
	return true;
}

/* The leaf that the proof ends in; false: it ends in an empty place. */
static int end_leaf(struct reader *r, uint8_t end, unsigned levels, const struct hash *key,
		    const struct slice *value, struct hash *leaf, bool *any)
{
	struct hash other, value_hash;
	*any = false;
	switch (end) {
	case PROOF_END_VALUE:
		if (!value)
			return ERR_BAD_PROOF;
		tree_value_hash(&value_hash, *value);
		tree_leaf_hash(leaf, key, &value_hash);
		*any = true;
		return ERR_NONE;
	case PROOF_END_EMPTY:
		return value ? ERR_BAD_PROOF : ERR_NONE;
	case PROOF_END_OTHER:
		reader_hash(r, &other);
		reader_hash(r, &value_hash);
		if (r->err)
			return r->err;
		if (value || hash_equal(&other, key) || !same_path(&other, key, levels))
			return ERR_BAD_PROOF;
		tree_leaf_hash(leaf, &other, &value_hash);
		*any = true;
		return ERR_NONE;
	default: /* a byte from outside */
		return ERR_RANGE;
	}
}

int state_proof_check(struct slice proof, const struct hash *root, struct slice state_key,
		      const struct slice *value)
{
	struct reader r;
	struct hash key, h;
	bool any;

	if (proof.len > STATE_PROOF_SIZE_MAX)
		return ERR_LIMIT;
	reader_init(&r, proof);
	uint8_t version = reader_u8(&r), end = reader_u8(&r), levels = reader_u8(&r);
	if (r.err)
		return r.err;
	if (version != PROOF_VERSION)
		return version > PROOF_VERSION ? ERR_VERSION : ERR_RANGE;
	if (levels == 0 || levels > STATE_PROOF_LEVELS_MAX)
		return ERR_RANGE;
	tree_key(&key, state_key);
	struct level *level = mem_array(levels, sizeof(*level));
	for (unsigned i = 0; i < levels; i++)
		read_level(&r, &level[i], tree_nibble(&key, i));
	int err = r.err;
	if (!err)
		err = end_leaf(&r, end, levels, &key, value, &h, &any);
	if (!err)
		err = reader_finish(&r);
	for (unsigned i = levels; !err && i-- > 0;) {
		unsigned nibble = tree_nibble(&key, i);
		/* Only the last level may have nothing on the path, and then it ends there. */
		if ((level[i].bitmap >> nibble & 1) != any)
			err = ERR_BAD_PROOF;
		else
			level_hash(&h, &level[i], nibble, any ? &h : NULL);
		any = true;
	}
	mem_free(level);
	if (!err && !hash_equal(&h, root))
		err = ERR_BAD_PROOF;
	return err;
}

bool state_proof_claims_value(struct slice proof)
{
	return proof.len >= 2 && proof.ptr[1] == PROOF_END_VALUE;
}

/* ---- certified headers ------------------------------------------------------------------- */

void certified_header_free(struct certified_header *c)
{
	mem_free(c->headers);
	*c = (struct certified_header){0};
}

static bool signature_is_zero(const struct signature *sig)
{
	for (unsigned i = 0; i < SIGNATURE_SIZE; i++)
		if (sig->b[i])
			return false;
	return true;
}

static int check_genesis(const struct certified_header *c, const struct hash *genesis_hash)
{
	struct hash h;
	header_hash(&h, &c->headers[0].h);
	if (c->count != 1 || !hash_equal(&h, genesis_hash))
		return ERR_BAD_HASH;
	/* Nothing signs genesis; a signature there would be bytes that nothing binds. */
	if (!signature_is_zero(&c->headers[0].sig))
		return ERR_NONCANONICAL;
	return c->cert.count == 0 ? ERR_NONE : ERR_NONCANONICAL;
}

int certified_header_check(const struct certified_header *c, const struct chain_ctx *ctx,
			   const struct hash *genesis_hash)
{
	struct hash h = {0};

	if (c->count == 0 || c->count > CERTIFIED_HEADERS_MAX)
		return ERR_LIMIT;
	if (c->headers[0].h.height == 0)
		return check_genesis(c, genesis_hash);
	if (!header_has_state(&c->headers[0].h)) /* another block is final at its height */
		return ERR_BAD_PROOF;
	for (uint32_t i = 0; i < c->count; i++) {
		const struct header *header = &c->headers[i].h;
		int err = i ? block_check_link(header, &c->headers[i - 1].h, &h) : ERR_NONE;
		if (!err)
			err = signed_header_check(&c->headers[i], ctx);
		if (err)
			return err;
		header_hash(&h, header);
	}
	const struct header *last = &c->headers[c->count - 1].h;
	const struct block_ref ref = {.term = last->term, .height = last->height, .hash = h};
	if (!cert_is_final(c->cert.kind))
		return ERR_NO_QUORUM;
	if (!block_ref_equal(&c->cert.ref, &ref))
		return ERR_BAD_LINK;
	return cert_check(&c->cert, ctx);
}

int unproven_header_check(const struct certified_header *c, const struct chain_ctx *ctx,
			  const struct hash *genesis_hash)
{
	struct hash h = {0};

	if (c->count == 0 || c->count > CERTIFIED_HEADERS_MAX)
		return ERR_LIMIT;
	if (c->headers[0].h.height == 0)
		return check_genesis(c, genesis_hash);
	for (uint32_t i = 0; i < c->count; i++) {
		const struct header *header = &c->headers[i].h;
		int err = i ? block_check_link(header, &c->headers[i - 1].h, &h) : ERR_NONE;
		if (!err)
			err = header_check_form(header, ctx);
		if (!err && !signature_is_zero(&c->headers[i].sig))
			err = ERR_NONCANONICAL;
		if (err)
			return err;
		header_hash(&h, header);
	}
	return c->cert.count == 0 ? ERR_NONE : ERR_NONCANONICAL;
}
