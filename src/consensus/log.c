#include "consensus/log.h"

#include "base/mem.h"

/* Room for one more header; false: at the limit. */
static bool reserve_header(struct block_log *l)
{
	if (l->header_count < l->header_cap)
		return true;
	if (l->header_cap == LOG_HEADERS_MAX)
		return false;
	uint32_t cap = l->header_cap ? 2 * l->header_cap : 64;
	struct log_header *ring = mem_array(cap, sizeof *ring);
	for (uint32_t i = 0; i < l->header_count; i++)
		ring[i] = l->headers[(l->header_first + i) % l->header_cap];
	mem_free(l->headers);
	l->headers = ring;
	l->header_cap = cap;
	l->header_first = 0;
	return true;
}

static void push_header(struct block_log *l, const struct signed_header *sh,
			const struct hash *hash)
{
	if (!reserve_header(l)) { /* the oldest goes */
		l->header_first = (l->header_first + 1) % l->header_cap;
		l->header_count--;
	}
	uint32_t at = (l->header_first + l->header_count++) % l->header_cap;
	l->headers[at].sh = *sh;
	l->headers[at].hash = *hash;
	/* where the next one goes is in no cache; there is time until then */
	mem_prefetch(&l->headers[(at + 1) % l->header_cap], sizeof *l->headers);
}

bool log_add_older(struct block_log *l, const struct signed_header *sh)
{
	if (!reserve_header(l))
		return false;
	l->header_first = (l->header_first + l->header_cap - 1) % l->header_cap;
	l->header_count++;
	l->headers[l->header_first].sh = *sh;
	header_hash(&l->headers[l->header_first].hash, &sh->h);
	return true;
}

void block_log_init(struct block_log *l, struct block *final,
		    const struct signed_header *headers, uint32_t header_count, uint64_t seed)
{
	*l = (struct block_log){.bytes_max = LOG_BYTES_MAX};
	map_init(&l->by_hash, seed);
	l->final = block_hold(final);
	for (uint32_t i = 0; i < header_count; i++) {
		struct hash hash;
		header_hash(&hash, &headers[i].h);
		push_header(l, &headers[i], &hash);
	}
	push_header(l, &final->sh, &final->hash);
}

static struct log_entry **recent_of(struct block_log *l, const struct log_entry *e)
{
	return &l->recent[e->hash.b[0]];
}

static void free_entry(struct block_log *l, struct log_entry *e)
{
	struct log_entry **recent = recent_of(l, e);
	if (*recent == e) {
		*recent = NULL;
		l->recent_count--;
	}
	map_remove(&l->by_hash, e->hash.b);
	if (e->before)
		e->before->after = e->after;
	else
		l->first = e->after;
	if (e->after)
		e->after->before = e->before;
	l->bytes -= e->body_size;
	block_drop(e->block);
	mem_free(e);
}

void block_log_free(struct block_log *l)
{
	struct log_entry *e;
	for (size_t i = 0; (e = map_next(&l->by_hash, &i, NULL)) != NULL;) {
		block_drop(e->block);
		mem_free(e);
	}
	map_free(&l->by_hash);
	block_drop(l->final);
	mem_free(l->headers);
}

struct log_entry *log_find(const struct block_log *l, const struct hash *hash)
{
	struct log_entry *e = l->recent[hash->b[0]];
	if (e && hash_equal(&e->hash, hash))
		return e;
	return l->recent_count < map_len(&l->by_hash) ? map_get(&l->by_hash, hash->b) : NULL;
}

static int add(struct block_log *l, struct block *b, bool limited, struct log_entry **out)
{
	struct log_entry *e = log_find(l, &b->hash);
	if (e) {
		*out = e;
		return ERR_NONE;
	}
	const struct header *h = &b->sh.h;
	if (h->height <= l->final->sh.h.height)
		return ERR_STALE;
	const struct block *parent_block = l->final;
	struct log_entry *parent = NULL;
	if (!hash_equal(&h->prev, &l->final->hash)) {
		parent = log_find(l, &h->prev);
		if (!parent)
			return ERR_NOT_FOUND;
		parent_block = parent->block;
	}
	int err = block_check_link(h, &parent_block->sh.h, &parent_block->hash);
	if (err)
		return err;
	bool full = map_len(&l->by_hash) >= LOG_BLOCKS_MAX ||
		    (l->bytes && l->bytes + b->body_size > l->bytes_max);
	if (limited && full)
		return ERR_BUSY;
	l->bytes += b->body_size;
	e = mem_zalloc(sizeof *e);
	e->block = block_hold(b);
	e->height = h->height;
	e->hash = b->hash;
	e->body_size = b->body_size;
	e->after = l->first;
	if (l->first)
		l->first->before = e;
	l->first = e;
	e->parent = parent;
	if (parent) {
		e->next_sibling = parent->first_child;
		parent->first_child = e;
	}
	map_put(&l->by_hash, b->hash.b, e);
	struct log_entry **recent = recent_of(l, e);
	l->recent_count += !*recent;
	*recent = e;
	*out = e;
	return ERR_NONE;
}

int log_add(struct block_log *l, struct block *b, struct log_entry **out)
{
	return add(l, b, true, out);
}

int log_add_needed(struct block_log *l, struct block *b, struct log_entry **out)
{
	return add(l, b, false, out);
}

struct log_entry *log_rival(const struct block_log *l, const struct block *b)
{
	struct log_entry *e = l->first;
	while (e && (e->height != b->sh.h.height || hash_equal(&e->hash, &b->hash)))
		e = e->after;
	if (!e)
		return NULL;
	/* perhaps one of several: always the same one */
	for (size_t i = 0; (e = map_next(&l->by_hash, &i, NULL)) != NULL;)
		if (e->height == b->sh.h.height && e->block->sh.h.term == b->sh.h.term &&
		    !hash_equal(&e->hash, &b->hash))
			return e;
	return NULL;
}

struct log_entry *log_ancestor(const struct log_entry *e, uint64_t height)
{
	while (e && e->height > height)
		e = e->parent;
	return e && e->height == height ? (struct log_entry *)e : NULL;
}

const struct log_header *log_final_header(const struct block_log *l, uint64_t height)
{
	uint64_t newest = l->final->sh.h.height;
	if (height > newest || newest - height >= l->header_count)
		return NULL;
	uint32_t back = (uint32_t)(newest - height);
	return &l->headers[(l->header_first + l->header_count - 1 - back) % l->header_cap];
}

int log_is_final(const struct block_log *l, const struct block_ref *ref)
{
	if (ref->height > l->final->sh.h.height)
		return 0;
	const struct log_header *h = log_final_header(l, ref->height);
	if (!h)
		return -1;
	return hash_equal(&h->hash, &ref->hash) ? 1 : 0;
}

int log_contains(const struct block_log *l, const struct block_ref *b,
		 const struct block_ref *a)
{
	if (hash_equal(&a->hash, &b->hash))
		return 1;
	if (a->height >= b->height)
		return 0;
	const struct log_entry *e = log_find(l, &b->hash);
	if (!e) { /* b is final, or unknown */
		int b_final = log_is_final(l, b);
		return b_final == 1 ? log_is_final(l, a) : -1;
	}
	if (a->height <= l->final->sh.h.height)
		return log_is_final(l, a);
	e = log_ancestor(e, a->height);
	return e && hash_equal(&e->hash, &a->hash) ? 1 : 0;
}

uint32_t log_depth(const struct log_entry *e)
{
	uint32_t depth = 0;
	for (; e; e = e->parent)
		depth++;
	return depth;
}

#define FEW_ENTRIES 64 /* in the log, as there are but after long halts */

void log_finalize(struct block_log *l, struct log_entry *e, struct block **out)
{
	uint32_t depth = log_depth(e);
	uint32_t at = depth;
	for (struct log_entry *x = e; x; x = x->parent)
		out[--at] = block_hold(x->block);

	/* Keep what descends from e: each entry's chain either passes e or it goes. */
	size_t count = map_len(&l->by_hash), doomed_count = 0;
	struct log_entry *few[FEW_ENTRIES], **doomed = few;
	if (count > FEW_ENTRIES)
		doomed = mem_array(count, sizeof *doomed);
	struct log_entry *x;
	for (x = l->first; x; x = x->after)
		if (x == e || log_ancestor(x, e->height) != e)
			doomed[doomed_count++] = x;
	for (x = e->first_child; x; x = x->next_sibling)
		x->parent = NULL;
	for (size_t i = 0; i < doomed_count; i++)
		free_entry(l, doomed[i]);
	if (doomed != few)
		mem_free(doomed);

	for (uint32_t i = 0; i < depth; i++)
		push_header(l, &out[i]->sh, &out[i]->hash);
	block_drop(l->final);
	l->final = block_hold(out[depth - 1]);
}

void log_trim_headers(struct block_log *l, uint64_t height)
{
	while (l->header_count > 1 && l->headers[l->header_first].sh.h.height < height) {
		l->header_first = (l->header_first + 1) % l->header_cap;
		l->header_count--;
	}
}

static void unlink_child(struct log_entry *e)
{
	if (!e->parent)
		return;
	struct log_entry **at = &e->parent->first_child;
	while (*at != e)
		at = &(*at)->next_sibling;
	*at = e->next_sibling;
}

static void mark_chain(struct log_entry *e)
{
	for (; e && !e->kept; e = e->parent)
		e->kept = true;
}

void log_prune(struct block_log *l, struct log_entry *const *keep, unsigned count,
	       void (*dropped)(void *arg, const struct block *b), void *arg)
{
	struct log_entry *x;
	for (size_t i = 0; (x = map_next(&l->by_hash, &i, NULL)) != NULL;)
		x->kept = false;
	uint64_t blocks = 0, bytes = 0;
	for (unsigned i = 0; i < count; i++) {
		uint64_t more = 0, more_bytes = 0;
		for (x = keep[i]; x && !x->kept; x = x->parent) {
			more++;
			more_bytes += x->block->body_size;
		}
		if (i > 0 && (blocks + more > LOG_BLOCKS_MAX / 2 ||
			      bytes + more_bytes > l->bytes_max / 2))
			continue;
		mark_chain(keep[i]);
		blocks += more;
		bytes += more_bytes;
	}

	size_t doomed_count = 0;
	struct log_entry **doomed = mem_array(map_len(&l->by_hash), sizeof *doomed);
	for (size_t i = 0; (x = map_next(&l->by_hash, &i, NULL)) != NULL;)
		if (!x->kept)
			doomed[doomed_count++] = x;
	for (size_t i = 0; i < doomed_count; i++) {
		x = doomed[i];
		unlink_child(x);
		for (struct log_entry *c = x->first_child; c;) {
			/* a child of a doomed entry is doomed too; cut it loose first */
			struct log_entry *next = c->next_sibling;
			c->parent = NULL;
			c->next_sibling = NULL;
			c = next;
		}
		x->first_child = NULL;
	}
	for (size_t i = 0; i < doomed_count; i++) {
		dropped(arg, doomed[i]->block);
		free_entry(l, doomed[i]);
	}
	mem_free(doomed);
}
