/* The manifest, and the stream of records in parts. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "crypto/hash.h"
#include "replica/backup_private.h"

#define MAGIC	      "ostrbkup"
#define PART_HEAD     (8 + 2 + 4 + HASH_SIZE)
#define RECORD_HEAD   (1 + 4)
#define MANIFEST_NAME "manifest"
#define MANIFEST_MAX  (16u << 20)
#define BUFFER_SIZE   (1u << 20)

/* ---- manifest ---------------------------------------------------------------------------- */

void backup_manifest_free(struct backup_manifest *f)
{
	mem_free(f->part);
	*f = (struct backup_manifest){0};
}

static void put_line(struct writer *w, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void put_line(struct writer *w, const char *fmt, ...)
{
	char line[256];
	va_list ap;
	va_start(ap, fmt);
	int len = vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	invariant(len > 0 && (size_t)len < sizeof line);
	writer_raw(w, line, (size_t)len);
}

void backup_manifest_write(struct writer *w, const struct backup_manifest *f)
{
	char chain[HASH_HEX_SIZE], block[HASH_HEX_SIZE], root[HASH_HEX_SIZE];
	struct hash sum;
	put_line(w, "ostrakon backup %d\n", f->version);
	put_line(w, "chain %s\n", hash_hex(chain, &f->s.chain));
	put_line(w, "made %" PRIu64 "\n", f->s.made_ms);
	put_line(w, "height %" PRIu64 "\n", f->s.height);
	put_line(w, "block %s\n", hash_hex(block, &f->s.block));
	put_line(w, "state_root %s\n", hash_hex(root, &f->s.state_root));
	put_line(w, "records %" PRIu64 "\n", f->s.records);
	put_line(w, "parts %" PRIu32 "\n", f->s.parts);
	for (uint32_t i = 0; i < f->s.parts; i++)
		put_line(w, "part %" PRIu32 " %" PRIu64 " %s\n", i, f->part[i].bytes,
			 hash_hex(root, &f->part[i].end));
	sha256(&sum, w->buf, w->len);
	put_line(w, "sum %s\n", hash_hex(root, &sum));
}

/* Takes "NAME VALUE\n" off the text; false if it is something else. */
static bool take_line(struct slice *text, const char *name, char *value, size_t size)
{
	size_t len = strlen(name);
	const uint8_t *end = text->len ? memchr(text->ptr, '\n', text->len) : NULL;
	if (!end || (size_t)(end - text->ptr) < len + 1 || memcmp(text->ptr, name, len) != 0 ||
	    text->ptr[len] != ' ')
		return false;
	size_t n = (size_t)(end - text->ptr) - len - 1;
	if (n >= size)
		return false;
	memcpy(value, text->ptr + len + 1, n);
	value[n] = 0;
	*text = slice_of(end + 1, text->len - (size_t)(end + 1 - text->ptr));
	return true;
}

static bool take_number(struct slice *text, const char *name, uint64_t *out)
{
	char value[32];
	return take_line(text, name, value, sizeof value) &&
	       sscanf(value, "%" SCNu64, out) == 1; /* what is written anew must be the same */
}

static bool take_hash(struct slice *text, const char *name, struct hash *out)
{
	char value[HASH_HEX_SIZE];
	return take_line(text, name, value, sizeof value) &&
	       hex_decode(out->b, HASH_SIZE, value) == ERR_NONE;
}

static bool take_parts(struct slice *text, struct backup_manifest *f)
{
	uint64_t parts;
	if (!take_number(text, "parts", &parts) || parts > BACKUP_PARTS_MAX)
		return false;
	f->part = mem_array(parts ? parts : 1, sizeof *f->part);
	f->s.parts = (uint32_t)parts;
	for (uint32_t i = 0; i < f->s.parts; i++) {
		char value[128], hex[HASH_HEX_SIZE];
		uint32_t number;
		if (!take_line(text, "part", value, sizeof value) ||
		    sscanf(value, "%" SCNu32 " %" SCNu64 " %64s", &number, &f->part[i].bytes,
			   hex) != 3 ||
		    number != i || f->part[i].bytes > UINT64_MAX - f->s.bytes ||
		    hex_decode(f->part[i].end.b, HASH_SIZE, hex) != ERR_NONE)
			return false;
		f->s.bytes += f->part[i].bytes;
	}
	return true;
}

static bool parse(struct slice text, struct backup_manifest *f)
{
	uint64_t version;
	struct slice all = text;
	struct hash sum;
	bool ok = take_number(&text, "ostrakon backup", &version) &&
		  take_hash(&text, "chain", &f->s.chain) &&
		  take_number(&text, "made", &f->s.made_ms) &&
		  take_number(&text, "height", &f->s.height) &&
		  take_hash(&text, "block", &f->s.block) &&
		  take_hash(&text, "state_root", &f->s.state_root) &&
		  take_number(&text, "records", &f->s.records) && take_parts(&text, f) &&
		  take_hash(&text, "sum", &sum) && text.len == 0;
	if (!ok || version == 0 || version > BACKUP_VERSION)
		return false;
	f->version = (uint16_t)version;
	struct writer w = {0};
	backup_manifest_write(&w, f);
	ok = slice_equal(writer_slice(&w), all);
	writer_free(&w);
	return ok;
}

int backup_manifest_read(const char *dest, struct backup_manifest *out, struct errmsg *m)
{
	char path[FILES_PATH_MAX + 16];
	struct writer text = {0};
	uint64_t version;
	*out = (struct backup_manifest){0};
	snprintf(path, sizeof path, "%s/" MANIFEST_NAME, dest);
	int err = files_read(path, MANIFEST_MAX, &text, m);
	struct slice head = writer_slice(&text);
	if (err == ERR_NOT_FOUND)
		err = err_set(m, err, "%s is no backup: it has no manifest", dest);
	else if (!err && take_number(&head, "ostrakon backup", &version) &&
		 version > BACKUP_VERSION)
		err = err_set(m, ERR_VERSION,
			      "%s has format version %" PRIu64
			      ", this program knows up to %d: use a newer program",
			      dest, version, BACKUP_VERSION);
	else if (!err && !parse(writer_slice(&text), out))
		err = err_set(m, ERR_BAD_HASH, "%s: the manifest is damaged or altered", dest);
	if (err)
		backup_manifest_free(out);
	writer_free(&text);
	return err;
}

/* ---- writing ----------------------------------------------------------------------------- */

static void part_path(char out[FILES_PATH_MAX + 32], const char *dir, uint32_t number)
{
	snprintf(out, FILES_PATH_MAX + 32, "%s/part-%06" PRIu32, dir, number);
}

static void link_begin(struct hash *link, const struct hash *chain)
{
	hash_tagged(link, HASH_BACKUP, hash_slice(chain));
}

static void link_next(struct hash *link, struct slice record)
{
	struct hash old = *link;
	hash_tagged2(link, HASH_BACKUP, hash_slice(&old), record);
}

void backup_writer_init(struct backup_writer *w, const char *dir, const struct hash *chain,
			uint64_t part_bytes)
{
	*w = (struct backup_writer){.dir = dir, .part_bytes = part_bytes, .fd = -1};
	w->manifest.version = 1;
	w->manifest.s.chain = *chain;
	link_begin(&w->link, chain);
}

static struct backup_part *last_part(struct backup_writer *w)
{
	return &w->manifest.part[w->manifest.s.parts - 1];
}

static int failed(struct backup_writer *w, struct errmsg *m)
{
	return err_set(m, ERR_IO, "%s: %s%s", w->dir, strerror(errno),
		       errno == ENOSPC ? ": make room, or choose another place" : "");
}

static int flush(struct backup_writer *w, struct errmsg *m)
{
	for (size_t at = 0; at < w->buffer.len;) {
		ssize_t len = write(w->fd, w->buffer.buf + at, w->buffer.len - at);
		if (len < 0)
			return failed(w, m);
		at += (size_t)len;
	}
	last_part(w)->bytes += w->buffer.len;
	w->manifest.s.bytes += w->buffer.len;
	writer_reset(&w->buffer);
	return ERR_NONE;
}

static int close_part(struct backup_writer *w, struct errmsg *m)
{
	if (w->fd < 0)
		return ERR_NONE;
	int err = flush(w, m);
	if (!err && fsync(w->fd) != 0)
		err = failed(w, m);
	if (close(w->fd) != 0 && !err)
		err = failed(w, m);
	w->fd = -1;
	last_part(w)->end = w->link;
	return err;
}

static int open_part(struct backup_writer *w, struct errmsg *m)
{
	char path[FILES_PATH_MAX + 32];
	uint32_t number = w->manifest.s.parts;
	if (number == BACKUP_PARTS_MAX)
		return err_set(m, ERR_LIMIT, "the backup would have more than %d files",
			       BACKUP_PARTS_MAX);
	part_path(path, w->dir, number);
	w->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (w->fd < 0)
		return failed(w, m);
	w->manifest.part =
		mem_realloc(w->manifest.part, (number + 1) * sizeof *w->manifest.part);
	w->manifest.part[number] = (struct backup_part){0};
	w->manifest.s.parts++;
	writer_raw(&w->buffer, MAGIC, 8);
	writer_u16(&w->buffer, w->manifest.version);
	writer_u32(&w->buffer, number);
	writer_hash(&w->buffer, &w->link);
	return ERR_NONE;
}

int backup_write(struct backup_writer *w, enum backup_record type, struct slice payload,
		 struct errmsg *m)
{
	int err = ERR_NONE;
	if (payload.len > BACKUP_RECORD_MAX)
		return err_set(m, ERR_LIMIT, "a record of %zu bytes is too long for a backup",
			       payload.len);
	if (w->fd < 0)
		err = open_part(w, m);
	if (err)
		return err;
	size_t at = w->buffer.len;
	writer_u8(&w->buffer, (uint8_t)type);
	writer_var(&w->buffer, payload);
	link_next(&w->link, slice_of(w->buffer.buf + at, w->buffer.len - at));
	writer_hash(&w->buffer, &w->link);
	w->manifest.s.records++;
	if (last_part(w)->bytes + w->buffer.len >= w->part_bytes)
		return close_part(w, m);
	return w->buffer.len >= BUFFER_SIZE ? flush(w, m) : ERR_NONE;
}

int backup_writer_finish(struct backup_writer *w, struct errmsg *m)
{
	char path[FILES_PATH_MAX + 16];
	struct writer text = {0};
	int err = close_part(w, m);
	snprintf(path, sizeof path, "%s/" MANIFEST_NAME, w->dir);
	backup_manifest_write(&text, &w->manifest);
	if (!err)
		err = files_write(path, writer_slice(&text), m);
	writer_free(&text);
	return err;
}

void backup_writer_free(struct backup_writer *w)
{
	if (w->fd >= 0)
		close(w->fd);
	writer_free(&w->buffer);
	backup_manifest_free(&w->manifest);
}

/* ---- reading ----------------------------------------------------------------------------- */

int backup_reader_open(struct backup_reader *r, const char *dir, struct errmsg *m)
{
	*r = (struct backup_reader){.dir = dir, .fd = -1};
	int err = backup_manifest_read(dir, &r->manifest, m);
	if (!err)
		link_begin(&r->link, &r->manifest.s.chain);
	return err;
}

void backup_reader_free(struct backup_reader *r)
{
	if (r->fd >= 0)
		close(r->fd);
	writer_free(&r->record);
	backup_manifest_free(&r->manifest);
}

static int damaged(struct backup_reader *r, int err, const char *what, struct errmsg *m)
{
	return err_set(m, err, "%s/part-%06" PRIu32 ", record %" PRIu64 ": %s", r->dir,
		       r->next - 1, r->records, what);
}

/* Exactly len bytes, or an error. */
static int take(struct backup_reader *r, void *out, size_t len, struct errmsg *m)
{
	if (len > r->left)
		return damaged(r, ERR_TRUNCATED, "the file ends inside of a record", m);
	for (size_t at = 0; at < len;) {
		ssize_t n = read(r->fd, (uint8_t *)out + at, len - at);
		if (n < 0)
			return damaged(r, ERR_IO, strerror(errno), m);
		if (n == 0)
			return damaged(r, ERR_TRUNCATED, "the file is shorter than it was", m);
		at += (size_t)n;
	}
	r->left -= len;
	r->bytes += len;
	return ERR_NONE;
}

static int next_part(struct backup_reader *r, struct errmsg *m)
{
	char path[FILES_PATH_MAX + 32];
	uint8_t head[PART_HEAD];
	struct writer want = {0};
	uint32_t number = r->next++;
	part_path(path, r->dir, number);
	r->left = r->manifest.part[number].bytes;
	r->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (r->fd < 0)
		return damaged(r, errno == ENOENT ? ERR_TRUNCATED : ERR_IO, strerror(errno), m);
	off_t size = lseek(r->fd, 0, SEEK_END);
	if (size < 0 || (uint64_t)size != r->left || lseek(r->fd, 0, SEEK_SET) != 0)
		return damaged(r, ERR_BAD_HASH, "the file is not as long as it was", m);
	int err = take(r, head, sizeof head, m);
	writer_raw(&want, MAGIC, 8);
	writer_u16(&want, r->manifest.version);
	writer_u32(&want, number);
	writer_hash(&want, &r->link);
	if (!err && !slice_equal(writer_slice(&want), slice_of(head, sizeof head)))
		err = damaged(r, ERR_BAD_HASH, "the file's head is damaged or altered", m);
	writer_free(&want);
	return err;
}

static int end_part(struct backup_reader *r, struct errmsg *m)
{
	close(r->fd);
	r->fd = -1;
	if (!hash_equal(&r->link, &r->manifest.part[r->next - 1].end))
		return damaged(r, ERR_BAD_HASH, "the file does not end as the manifest says",
			       m);
	return ERR_NONE;
}

static int at_end(struct backup_reader *r, struct errmsg *m)
{
	if (r->records == r->manifest.s.records)
		return ERR_NOT_FOUND;
	return err_set(m, ERR_TRUNCATED,
		       "%s has %" PRIu64 " records, its manifest says %" PRIu64, r->dir,
		       r->records, r->manifest.s.records);
}

int backup_read(struct backup_reader *r, enum backup_record *type, struct slice *payload,
		struct errmsg *m)
{
	uint8_t head[RECORD_HEAD];
	struct hash link;
	int err = ERR_NONE;
	if (r->fd >= 0 && r->left == 0)
		err = end_part(r, m);
	if (!err && r->fd < 0) {
		if (r->next == r->manifest.s.parts)
			return at_end(r, m);
		err = next_part(r, m);
	}
	if (!err)
		err = take(r, head, sizeof head, m);
	if (err)
		return err;
	uint32_t len = (uint32_t)head[1] << 24 | (uint32_t)head[2] << 16 |
		       (uint32_t)head[3] << 8 | head[4];
	if (len > BACKUP_RECORD_MAX || len > r->left)
		return damaged(r, ERR_TRUNCATED, "the record's length is damaged", m);
	writer_reset(&r->record);
	writer_raw(&r->record, head, sizeof head);
	size_t at = writer_skip(&r->record, len);
	err = take(r, r->record.buf + at, len, m);
	if (!err)
		err = take(r, link.b, HASH_SIZE, m);
	if (err)
		return err;
	link_next(&r->link, writer_slice(&r->record));
	if (!hash_equal(&r->link, &link))
		return damaged(r, ERR_BAD_HASH, "the record is damaged or altered", m);
	r->records++;
	*type = (enum backup_record)head[0];
	*payload = slice_of(r->record.buf + at, len);
	return ERR_NONE;
}

int backup_inspect(const char *dest, struct backup_summary *out, struct errmsg *m)
{
	struct backup_manifest f;
	int err = backup_manifest_read(dest, &f, m);
	*out = f.s;
	backup_manifest_free(&f);
	return err;
}
