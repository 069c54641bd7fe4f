#include "base/err.h"
#include "base/mem.h"
#include "crypto/hash.h"

#define MERKLE_COUNT_MAX ((uint64_t)1 << MERKLE_PATH_MAX)

static void join(struct hash *out, const struct hash *left, const struct hash *right)
{
	hash_tagged2(out, HASH_MERKLE_NODE, hash_slice(left), hash_slice(right));
}

void merkle_leaf(struct hash *out, struct slice data)
{
	hash_tagged(out, HASH_MERKLE_LEAF, data);
}

/* RFC 6962 splits at the largest power of two below the count. Read from the left, that is:
 * complete subtrees of falling size, which the end joins from the right. */
void merkle_root(struct hash *out, const struct hash *leaves, size_t count)
{
	struct hash stack[64];
	size_t height = 0;
	if (count == 0) {
		sha256(out, NULL, 0);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		stack[height++] = leaves[i];
		for (size_t n = i; n & 1; n >>= 1) {
			join(&stack[height - 2], &stack[height - 2], &stack[height - 1]);
			height--;
		}
	}
	for (; height > 1; height--)
		join(&stack[height - 2], &stack[height - 2], &stack[height - 1]);
	*out = stack[0];
}

void merkle_prove(struct merkle_path *out, const struct hash *leaves, size_t count,
		  size_t index)
{
	struct hash from_root[MERKLE_PATH_MAX];
	uint32_t len = 0;
	invariant(index < count && count <= MERKLE_COUNT_MAX);
	*out = (struct merkle_path){.index = index, .count = count};
	while (count > 1) {
		size_t left = (size_t)1 << (63 - __builtin_clzll(count - 1));
		if (index < left) {
			merkle_root(&from_root[len++], leaves + left, count - left);
			count = left;
		} else {
			merkle_root(&from_root[len++], leaves, left);
			leaves += left;
			count -= left;
			index -= left;
		}
	}
	out->len = len;
	for (uint32_t i = 0; i < len; i++)
		out->sibling[i] = from_root[len - 1 - i];
}

/* One step towards the root: on which side is the sibling, if this level has one?
 * (RFC 9162 section 2.1.3.2, where index is fn and last is sn.) */
enum side { SIDE_NONE, SIDE_LEFT, SIDE_RIGHT };

static enum side climb(uint64_t *index, uint64_t *last)
{
	enum side side = *index & 1 ? SIDE_LEFT : *index < *last ? SIDE_RIGHT : SIDE_NONE;
	*index >>= 1;
	*last >>= 1;
	return side;
}

static bool well_formed(const struct merkle_path *path)
{
	return path->count <= MERKLE_COUNT_MAX && path->index < path->count;
}

static uint32_t expected_len(const struct merkle_path *path)
{
	uint32_t len = 0;
	for (uint64_t index = path->index, last = path->count - 1; last > 0;)
		len += climb(&index, &last) != SIDE_NONE;
	return len;
}

int merkle_verify(const struct merkle_path *path, const struct hash *leaf,
		  const struct hash *root)
{
	if (!well_formed(path) || path->len != expected_len(path))
		return ERR_BAD_PROOF;
	struct hash h = *leaf;
	const struct hash *sibling = path->sibling;
	for (uint64_t index = path->index, last = path->count - 1; last > 0;) {
		switch (climb(&index, &last)) {
		case SIDE_LEFT:
			join(&h, sibling++, &h);
			break;
		case SIDE_RIGHT:
			join(&h, &h, sibling++);
			break;
		case SIDE_NONE:
			break;
		}
	}
	return hash_equal(&h, root) ? ERR_NONE : ERR_BAD_PROOF;
}

void merkle_path_encode(struct writer *w, const struct merkle_path *path)
{
	invariant(path->len <= MERKLE_PATH_MAX);
	writer_u64(w, path->index);
	writer_u64(w, path->count);
	writer_u32(w, path->len);
	for (uint32_t i = 0; i < path->len; i++)
		writer_hash(w, &path->sibling[i]);
}

void merkle_path_decode(struct reader *r, struct merkle_path *out)
{
	*out = (struct merkle_path){0};
	out->index = reader_u64(r);
	out->count = reader_u64(r);
	out->len = reader_count(r, MERKLE_PATH_MAX, HASH_SIZE);
	for (uint32_t i = 0; i < out->len; i++)
		reader_hash(r, &out->sibling[i]);
	if (r->err)
		return;
	if (!well_formed(out))
		reader_fail(r, ERR_RANGE);
	else if (out->len != expected_len(out))
		reader_fail(r, ERR_NONCANONICAL);
}
