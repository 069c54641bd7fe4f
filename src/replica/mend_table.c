/* A table file of which RocksDB cannot read a page. Records that are known by their keys have
 * been written anew by now, and are found above the file; but who iterates stops at the page,
 * and so does a compaction. So all that can be read between the file's first key and its last
 * is written anew as well, and then the file goes. What was in the page and in no other place
 * is missing from then on, which the next scrub sees, and mends. */
#include "replica/epoch.h"

#define COPY_BYTES (256u << 10) /* in one tick */
#define KEY_NUMBER                                                                             \
	DAMAGE_KEY_MAX /* bytes: longer than any key of the families that are copied */

void mend_table_end(struct mend *m)
{
	writer_free(&m->table.first);
	writer_free(&m->table.last);
	writer_free(&m->table.at);
	m->table = (struct mend_table){.copying = false};
}

static void leave(struct replica *r, enum mend_step *step, const char *why)
{
	mend_table_end(&r->mend);
	r->mend.why = why;
	*step = MEND_STEP_LEFT;
}

/* Keys as numbers, for looking for the end of a page. */
struct number {
	uint8_t b[KEY_NUMBER];
};

static struct number number_of(struct slice key)
{
	struct number n = {{0}};
	memcpy(n.b, key.ptr, key.len < KEY_NUMBER ? key.len : KEY_NUMBER);
	return n;
}

static struct slice number_slice(const struct number *n)
{
	return slice_of(n->b, KEY_NUMBER);
}

/* One more in this byte, counted from the last one. False: it is too large. */
static bool add(struct number *n, unsigned byte)
{
	for (unsigned i = KEY_NUMBER - byte; i-- > 0;)
		if (++n->b[i])
			return true;
	return false;
}

/* Rounded down. */
static struct number middle(const struct number *low, const struct number *high)
{
	struct number sum;
	unsigned carry = 0;
	for (unsigned i = KEY_NUMBER; i-- > 0;) {
		carry += (unsigned)low->b[i] + high->b[i];
		sum.b[i] = (uint8_t)carry;
		carry >>= 8;
	}
	for (unsigned i = 0; i < KEY_NUMBER; i++) {
		unsigned next = sum.b[i] & 1;
		sum.b[i] = (uint8_t)(sum.b[i] >> 1 | carry << 7);
		carry = next;
	}
	return sum;
}

enum found { FOUND_KEY, FOUND_END, FOUND_BAD };

/* The upper bound, not included. */
static void bound(const struct mend_table *t, struct writer *out)
{
	writer_raw(out, t->last.buf, t->last.len);
	writer_u8(out, 0);
}

/* What comes at this key, or next. */
static enum found look(struct replica *r, enum store_family f, struct slice from,
		       struct slice to, struct writer *key)
{
	struct slice k, v;
	enum found found = FOUND_END;
	struct store_iter *it = store_iter_new(r->store, f, from, to, false);
	if (store_iter_next(it, &k, &v)) {
		writer_reset(key);
		writer_raw(key, k.ptr, k.len);
		found = FOUND_KEY;
	} else if (store_iter_error(it)) {
		found = FOUND_BAD;
	}
	store_iter_free(it);
	return found;
}

/* The first key behind the page in which `from` lies: in wider and wider steps, and then
 * between the last one that was in the page and the first that was not. */
static enum found behind_page(struct replica *r, enum store_family f, struct slice from,
			      struct slice to, struct writer *key)
{
	struct number bad = number_of(from), good = bad, at;
	enum found found = FOUND_BAD;
	for (unsigned step = 0; found == FOUND_BAD; step++) {
		at = bad;
		if (!add(&at, step < KEY_NUMBER ? step : KEY_NUMBER - 1) ||
		    slice_compare(number_slice(&at), to) >= 0)
			memset(at.b, 0xff, sizeof at.b); /* there is nothing behind `to` */
		if (memcmp(at.b, bad.b, sizeof at.b) == 0)
			break;
		found = look(r, f, number_slice(&at), to, key);
		if (found == FOUND_BAD)
			bad = at;
		else
			good = at;
	}
	if (found == FOUND_BAD)
		return found;
	for (;;) {
		at = middle(&bad, &good);
		if (memcmp(at.b, bad.b, sizeof at.b) == 0)
			break;
		if (look(r, f, number_slice(&at), to, key) == FOUND_BAD)
			bad = at;
		else
			good = at;
	}
	return look(r, f, number_slice(&good), to, key);
}

/* Whether something may have been in the page, from `from` up to the next key, that nobody else
 * has, and that this validator needs: a block it has voted for, the newest certificate. */
static bool is_dear(struct replica *r, enum store_family f, struct slice from, bool ended,
		    const struct writer *next)
{
	struct record_key k;
	uint8_t certs = 'c' + 1;
	struct slice to = ended ? (struct slice){0} : writer_slice(next);
	if (f == STORE_CERTS) /* one that follows serves */
		return slice_compare(from, slice_of(&certs, 1)) < 0 &&
		       (ended || slice_compare(to, slice_of(&certs, 1)) >= 0);
	if (f != STORE_BLOCKS)
		return false;
	struct slice unfinal = key_block(&k, ledger_height(r->ledger) + 1, NULL);
	return slice_compare(from, slice_of(&certs, 1)) < 0 &&
	       (ended || slice_compare(to, unfinal) > 0);
}

/* True: up to the file's end. */
static bool copy_some(struct replica *r, const struct damage *d, enum mend_step *step)
{
	struct mend_table *t = &r->mend.table;
	struct writer to = {0}, next = {0};
	struct slice key, value;
	enum store_family f = d->family;
	bool ended = false;
	bound(t, &to);
	store_batch_clear(r->batch);
	struct store_iter *it =
		store_iter_new(r->store, f, writer_slice(&t->at), writer_slice(&to), false);
	while (store_batch_bytes(r->batch) < COPY_BYTES && !ended) {
		ended = !store_iter_next(it, &key, &value);
		if (ended)
			break;
		store_batch_put(r->batch, f, key, value);
		writer_reset(&t->at);
		writer_raw(&t->at, key.ptr, key.len);
		writer_u8(&t->at, 0); /* the next one that can be */
	}
	bool bad = ended && store_iter_error(it);
	store_iter_free(it);
	*step = MEND_STEP_MORE;
	if (store_batch_count(r->batch) && store_write(r->store, r->batch, false)) {
		*step = MEND_STEP_FAILED;
	} else if (bad) {
		enum found found =
			behind_page(r, f, writer_slice(&t->at), writer_slice(&to), &next);
		ended = found == FOUND_END;
		if (found == FOUND_BAD)
			leave(r, step, "its table file cannot be read to the end");
		else if (is_dear(r, f, writer_slice(&t->at), ended, &next))
			leave(r, step,
			      "a block that this validator may have voted for, or the newest "
			      "certificate, may be in a page that cannot be read");
		else if (!ended) {
			writer_reset(&t->at);
			writer_raw(&t->at, next.buf, next.len);
		}
	}
	writer_free(&to);
	writer_free(&next);
	return ended && *step == MEND_STEP_MORE;
}

static bool begin(struct replica *r, const struct damage *d, enum mend_step *step)
{
	struct mend_table *t = &r->mend.table;
	if (d->family == STORE_VOTES || d->family == STORE_META ||
	    d->family == STORE_EVIDENCE) {
		leave(r, step, "a page of its table file cannot be read");
		return false;
	}
	if (d->file == 0) {
		leave(r, step, "a page of a table file cannot be read, of which is not known");
		return false;
	}
	int err = store_table_keys(r->store, d->family, d->file, &t->first, &t->last);
	if (err == ERR_NOT_FOUND) { /* compacted meanwhile, so it could be read */
		mend_table_end(&r->mend);
		*step = MEND_STEP_SOUND;
	} else if (err) {
		leave(r, step,
		      "a page of its table file cannot be read, and the file has to stay, for "
		      "there are others above or below it");
	} else {
		t->copying = true;
		writer_raw(&t->at, t->first.buf, t->first.len);
	}
	return t->copying;
}

void mend_table(struct replica *r, const struct damage *d, enum mend_step *step)
{
	if (!r->mend.table.copying && !begin(r, d, step))
		return;
	if (!copy_some(r, d, step))
		return;
	if (store_sync(r->store)) {
		*step = MEND_STEP_FAILED;
		return;
	}
	if (store_table_drop(r->store, d->family, d->file)) {
		leave(r, step, "its table file, with a page that cannot be read, has to stay");
		return;
	}
	mend_table_end(&r->mend);
	ledger_rebase(r->ledger);
	*step = MEND_STEP_MENDED;
}
