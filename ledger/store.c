/* The front of both stores: arguments, counters, the refusal to write after an error; and the
 * batch, which is the same for both. */
#include "ledger/store.h"

#include <string.h>

#include "base/mem.h"
#include "ledger/store_private.h"

struct store_batch *store_batch_new(void)
{
	struct store_batch *b = mem_zalloc(sizeof(*b));
	writer_init(&b->ops, 0);
	return b;
}

void store_batch_free(struct store_batch *b)
{
	if (b == NULL)
		return;
	writer_free(&b->ops);
	mem_free(b);
}

void store_batch_clear(struct store_batch *b)
{
	writer_reset(&b->ops);
	b->count = 0;
}

/* Returns where the value goes. */
static inline uint8_t *batch_append(struct store_batch *b, enum store_family f, bool is_delete,
				    struct slice key, size_t value_len)
{
	invariant((unsigned)f < STORE_FAMILIES);
	invariant(key.len <= UINT32_MAX && value_len <= UINT32_MAX);
	const uint32_t lens[2] = {(uint32_t)key.len, (uint32_t)value_len};
	uint8_t *at = writer_extend(&b->ops, OP_HEAD_SIZE + key.len + value_len);

	invariant(at != NULL);
	at[0] = (uint8_t)f;
	at[1] = is_delete;
	memcpy(at + 2, &lens[0], 4);
	memcpy(at + 6, &lens[1], 4);
	at += OP_HEAD_SIZE;
	if (key.len > 0)
		memcpy(at, key.ptr, key.len);
	b->count++;
	return at + key.len;
}

void store_batch_put(struct store_batch *b, enum store_family f, struct slice key,
		     struct slice value)
{
	uint8_t *at = batch_append(b, f, false, key, value.len);
	if (value.len > 0)
		memcpy(at, value.ptr, value.len);
}

uint8_t *store_batch_put_room(struct store_batch *b, enum store_family f, struct slice key,
			      size_t value_len)
{
	return batch_append(b, f, false, key, value_len);
}

void store_batch_delete(struct store_batch *b, enum store_family f, struct slice key)
{
	batch_append(b, f, true, key, 0);
}

size_t store_batch_count(const struct store_batch *b)
{
	return b->count;
}

size_t store_batch_bytes(const struct store_batch *b)
{
	return b->ops.len;
}

void store_close(struct store *s)
{
	if (s == NULL)
		return;
	invariant(atomic_load(&s->iters) == 0);
	s->ops->close(s);
}

/* There is one writer: others only read. */
static void count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static int write_through(struct store *s, const struct store_batch *b, bool sync)
{
	int err;

	if (atomic_load(&s->failed))
		return ERR_IO;
	err = s->ops->write(s, b, sync);
	if (err != ERR_NONE) {
		atomic_store(&s->failed, true);
		return err;
	}
	if (sync)
		count(&s->syncs, 1);
	return ERR_NONE;
}

int store_write(struct store *s, struct store_batch *b, bool sync)
{
	int err = write_through(s, b, sync);

	if (err != ERR_NONE)
		return err;
	count(&s->writes, 1);
	count(&s->keys_written, b->count);
	count(&s->bytes_written, b->ops.len);
	return ERR_NONE;
}

int store_sync(struct store *s)
{
	const struct store_batch nothing = {.count = 0};

	return write_through(s, &nothing, true);
}

enum store_failure store_failure(const struct store *s)
{
	enum store_failure f = atomic_load(&s->failure);

	return f == STORE_WORKS && atomic_load(&s->failed) ? STORE_FAILS : f;
}

int store_snapshot(struct store *s, const char *path, struct errmsg *m)
{
	if (s->ops->snapshot == NULL)
		return err_set(m, ERR_UNSUPPORTED, "a store in memory has no snapshots");
	return s->ops->snapshot(s, path, m);
}

void store_compact(struct store *s, enum store_family f, struct slice from, struct slice to)
{
	invariant((unsigned)f < STORE_FAMILIES);
	if (s->ops->compact != NULL)
		s->ops->compact(s, f, from, to);
}

void store_compact_stop(struct store *s)
{
	if (s->ops->compact_stop != NULL)
		s->ops->compact_stop(s);
}

int store_get(struct store *s, enum store_family f, struct slice key, struct writer *out)
{
	int err;

	invariant((unsigned)f < STORE_FAMILIES);
	writer_reset(out);
	err = s->ops->get(s, f, key, out);
	return err != ERR_NONE ? err : out->err;
}

struct store_iter *store_iter_new(struct store *s, enum store_family f, struct slice from,
				  struct slice to, bool reverse)
{
	struct store_iter *it;

	invariant((unsigned)f < STORE_FAMILIES);
	if (to.len > 0 && slice_compare(from, to) >= 0) {
		it = mem_zalloc(sizeof(*it));
		it->empty = true;
		it->done = true;
	} else {
		it = s->ops->iter_new(s, f, from, to, reverse);
	}
	it->store = s;
	atomic_fetch_add(&s->iters, 1);
	return it;
}

bool store_iter_next(struct store_iter *it, struct slice *key, struct slice *value)
{
	if (it->done)
		return false;
	if (it->store->ops->iter_next(it, key, value))
		return true;
	it->done = true;
	return false;
}

int store_iter_error(const struct store_iter *it)
{
	return it->err;
}

uint64_t store_iter_file(const struct store_iter *it)
{
	return it->file;
}

int store_table_keys(struct store *s, enum store_family f, uint64_t file, struct writer *first,
		     struct writer *last)
{
	invariant((unsigned)f < STORE_FAMILIES);
	writer_reset(first);
	writer_reset(last);
	return s->ops->table_keys == NULL ? ERR_UNSUPPORTED
					  : s->ops->table_keys(s, f, file, first, last);
}

int store_table_drop(struct store *s, enum store_family f, uint64_t file)
{
	invariant((unsigned)f < STORE_FAMILIES);
	if (atomic_load(&s->failed))
		return ERR_IO;
	return s->ops->table_drop == NULL ? ERR_UNSUPPORTED : s->ops->table_drop(s, f, file);
}

void store_iter_free(struct store_iter *it)
{
	if (it == NULL)
		return;
	atomic_fetch_sub(&it->store->iters, 1);
	if (it->empty)
		mem_free(it);
	else
		it->store->ops->iter_free(it);
}

void store_stats(const struct store *s, struct store_stats *out)
{
	out->writes = s->writes;
	out->syncs = s->syncs;
	out->bytes_written = s->bytes_written;
	out->keys_written = s->keys_written;
}
