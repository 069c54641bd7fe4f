/* SHA-256 through libcrypto (FIPS 180-4), and the Merkle tree over it. */
#ifndef CRYPTO_HASH_H
#define CRYPTO_HASH_H

#include <string.h>

#include "base/bytes.h"

#define HASH_SIZE 32

struct hash {
	uint8_t b[HASH_SIZE];
};

/* First byte of every hashed message, so that no two kinds of object share a preimage.
 * On the wire and on disk: never reuse a number (docs/wire-format.md lists them). */
enum hash_tag {
	HASH_MERKLE_LEAF = 0x00, /* RFC 6962 section 2.1 */
	HASH_MERKLE_NODE = 0x01,
	HASH_GENESIS = 0x10,
	HASH_HEADER = 0x11,
	HASH_TX = 0x12,
	HASH_VALSET = 0x13,
	HASH_NEW_VIEW = 0x14,
	HASH_VIEW_CHANGE = 0x15,
	HASH_RECOVERY = 0x16,
	HASH_EPOCH = 0x17,
	HASH_TREE_LEAF = 0x20,
	HASH_TREE_NODE = 0x21,
	HASH_TREE_KEY = 0x22,
	HASH_TREE_VALUE = 0x23,
	HASH_EVIDENCE = 0x24,
	HASH_SESSION = 0x30,
	HASH_SYMBOLIC_SIG = 0x31,
	HASH_BACKUP = 0x40, /* docs/formats/backup.md */
};

/* Any bytes, secret ones too: leaves no copy of them. Those below are for what is public. */
void sha256(struct hash *out, const void *ptr, size_t len);
/* Of the len bytes at buf, which has HASH_ROOM bytes more; these are written to. */
#define HASH_ROOM 72
void hash_in_place(struct hash *out, uint8_t *buf, size_t len);
/* The same for messages of which many begin alike: remembers what the first 64 bytes come to.
 */
void hash_in_place_alike(struct hash *out, uint8_t *buf, size_t len);
/* Where many replicas run in one process they hash the same bytes. While a memo is in use the
 * functions of this header that are for public bytes keep the newest messages and their
 * digests, and do not hash anew what they find to be equal byte for byte: digests are the same
 * with it and without. For simulators; a memo is for one thread. */
struct hash_memo;
struct hash_memo *hash_memo_new(void);
void hash_memo_free(struct hash_memo *m); /* NULL is fine; not while it is in use */
/* This thread uses m from now on, NULL: none. Returns what it used before. */
struct hash_memo *hash_memo_use(struct hash_memo *m);
struct hash_memo_counts {
	uint64_t asked, known; /* messages */
};
struct hash_memo_counts hash_memo_counts(const struct hash_memo *m);

void hash_tagged(struct hash *out, enum hash_tag tag, struct slice data);
/* Hash of tag, then a, then b. */
void hash_tagged2(struct hash *out, enum hash_tag tag, struct slice a, struct slice b);

static inline bool hash_equal(const struct hash *a, const struct hash *b)
{
	return memcmp(a->b, b->b, HASH_SIZE) == 0;
}
static inline bool hash_is_zero(const struct hash *h)
{
	static const struct hash zero;
	return hash_equal(h, &zero);
}
static inline struct slice hash_slice(const struct hash *h)
{
	return slice_of(h->b, HASH_SIZE);
}
void writer_hash(struct writer *w, const struct hash *h);
void reader_hash(struct reader *r, struct hash *out);

#define HASH_HEX_SIZE (2 * HASH_SIZE + 1)
const char *hash_hex(char out[HASH_HEX_SIZE], const struct hash *h);
/* The first 8 hex digits, for logs. */
#define HASH_SHORT_SIZE 9
const char *hash_short(char out[HASH_SHORT_SIZE], const struct hash *h);

/* Merkle tree of RFC 6962 section 2.1 over count leaf hashes; the root of no leaves is the
 * SHA-256 of the empty string. Leaves are hashed with merkle_leaf() first. */
void merkle_leaf(struct hash *out, struct slice data);
void merkle_root(struct hash *out, const struct hash *leaves, size_t count);

#define MERKLE_PATH_MAX 32
struct merkle_path {
	uint64_t index; /* of the leaf */
	uint64_t count; /* of leaves in the tree */
	uint32_t len;
	struct hash sibling[MERKLE_PATH_MAX]; /* leaf to root */
};
/* Audit path of RFC 6962 section 2.1.1. invariant: index < count <= 2^32 */
void merkle_prove(struct merkle_path *out, const struct hash *leaves, size_t count,
		  size_t index);
/* ERR_NONE or ERR_BAD_PROOF. Hostile input is fine. */
int merkle_verify(const struct merkle_path *path, const struct hash *leaf,
		  const struct hash *root);
void merkle_path_encode(struct writer *w, const struct merkle_path *path);
void merkle_path_decode(struct reader *r, struct merkle_path *out);

#endif
