/* What RocksDB's own recovery does not tell apart, checked before it runs.
 *
 * A crash may tear what was not synced off the end of the write-ahead log, and leave holes in
 * it, for a disk writes pages in any order; the log is cut there. Damage to what was synced is
 * no such tear: cutting there would forget votes that other replicas have counted, so it is an
 * error. RocksDB knows no difference: its point-in-time mode cuts at any damage, and its
 * tolerant mode takes a flipped length or record type for the end of the log. So each sync is
 * followed by a mark in the log that says up to which sequence number all is on the disk
 * (store_rocksdb.c), and this file looks for marks behind the first damage that say so of what
 * is lost there. A mark says nothing of what lies between it and the sync: that may be torn.
 * The only damage that can still pass for a tear is one inside or behind the last mark.
 *
 * Format: https://github.com/facebook/rocksdb/wiki/Write-Ahead-Log-File-Format,
 * db/log_format.h. Blocks of 32 KiB; records {masked crc32c u32, length u16, type u8, payload},
 * little-endian, none crosses a block; a batch is one FULL record or FIRST, MIDDLE..., LAST. A
 * batch is {sequence u64, count u32, operations}; an operation LOG_DATA is {3, varint length,
 * bytes}. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <threads.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "ledger/store_private.h"

#define BLOCK_SIZE    32768
#define HEADER_SIZE   7
#define BATCH_HEADER  12
#define TAG_LOG_DATA  3
#define MARK_MAX      64 /* the key; behind it the sequence number, u64 */
#define NUMBER_SIZE   8
#define LOG_FILES_MAX 4096 /* RocksDB keeps a handful; bounds memory against a strange disk */
#define MANIFEST_NAME "MANIFEST-"

enum record_type { RECORD_FULL = 1, RECORD_FIRST = 2, RECORD_MIDDLE = 3, RECORD_LAST = 4 };

struct record {
	enum record_type type;
	const uint8_t *payload;
	size_t len;
};

struct scan {
	struct slice mark;
	bool any_counts; /* any whole record behind the damage convicts, marked or not */
	bool damaged;
	uint64_t good_end; /* of this file, while not damaged: end of its last whole batch */
	/* sequence numbers: the last before the damage, the first behind it */
	bool has_good, has_behind;
	uint64_t good_last, behind_first;
	uint64_t synced; /* what marks behind the damage say; 0: there are none */
	/* the batch being put together: enough of its head to see the mark */
	bool open;
	uint8_t head[BATCH_HEADER + 2 + MARK_MAX + NUMBER_SIZE];
	size_t head_len;
};

/* Castagnoli, reflected. Logs are at most some tens of MiB, and only read here at start. */
static uint32_t crc_table[4][256];

static once_flag crc_once = ONCE_FLAG_INIT;

static void crc_init(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;
		for (int k = 0; k < 8; k++)
			c = (c >> 1) ^ (c & 1 ? 0x82f63b78 : 0);
		crc_table[0][i] = c;
	}
	for (uint32_t i = 0; i < 256; i++) {
		for (int k = 1; k < 4; k++) {
			uint32_t c = crc_table[k - 1][i];
			crc_table[k][i] = (c >> 8) ^ crc_table[0][c & 0xff];
		}
	}
}

static uint32_t load_le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	       (uint32_t)p[3] << 24;
}

static uint32_t crc32c(const uint8_t *p, size_t len)
{
	uint32_t c = UINT32_MAX;

	for (; len >= 4; p += 4, len -= 4) {
		c ^= load_le32(p);
		c = crc_table[3][c & 0xff] ^ crc_table[2][c >> 8 & 0xff] ^
		    crc_table[1][c >> 16 & 0xff] ^ crc_table[0][c >> 24];
	}
	for (; len > 0; p++, len--)
		c = (c >> 8) ^ crc_table[0][(c ^ *p) & 0xff];
	return ~c;
}

static bool parse_record(const uint8_t *p, size_t left, struct record *out)
{
	uint32_t crc;

	if (left < HEADER_SIZE || p[6] < RECORD_FULL || p[6] > RECORD_LAST)
		return false;
	out->type = (enum record_type)p[6];
	out->payload = p + HEADER_SIZE;
	out->len = (size_t)p[4] | (size_t)p[5] << 8;
	if (out->len > left - HEADER_SIZE)
		return false;
	crc = crc32c(p + 6, out->len + 1);
	return load_le32(p) == (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static uint64_t load_le64(const uint8_t *p)
{
	return load_le32(p) | (uint64_t)load_le32(p + 4) << 32;
}

/* What the batch says is synced; 0: nothing. Logs of version 0.1 have a mark without a number
 * in each synced batch, which says it of all that is before. */
static uint64_t mark_of(const struct scan *s)
{
	const uint8_t *p = s->head + BATCH_HEADER + 2, *len = p - 1;

	if (s->any_counts)
		return UINT64_MAX;
	if (s->head_len < BATCH_HEADER + 2 + s->mark.len ||
	    s->head[BATCH_HEADER] != TAG_LOG_DATA || memcmp(p, s->mark.ptr, s->mark.len) != 0)
		return 0;
	if (*len == s->mark.len)
		return UINT64_MAX;
	if (*len != s->mark.len + NUMBER_SIZE ||
	    s->head_len < BATCH_HEADER + 2 + s->mark.len + NUMBER_SIZE)
		return 0;
	return load_le64(p + s->mark.len);
}

static void on_batch(struct scan *s, uint64_t end)
{
	bool has_number = s->head_len >= BATCH_HEADER;
	uint64_t first = has_number ? load_le64(s->head) : 0, mark;

	if (!s->damaged) {
		s->good_end = end;
		s->has_good = has_number;
		s->good_last = first + load_le32(s->head + 8) - 1;
		return;
	}
	if (!s->has_behind) {
		s->has_behind = true;
		s->behind_first = first;
	}
	mark = mark_of(s);
	if (mark > s->synced)
		s->synced = mark;
}

/* Was any of it synced that the damage has taken? Without a whole batch before it nobody knows
 * which one was the first to be lost; what follows on the lost ones was not synced before them.
 */
static bool damaged_below(const struct scan *s)
{
	if (!s->damaged || s->synced == 0)
		return false;
	return s->has_good ? s->synced > s->good_last : s->synced >= s->behind_first;
}

static void on_damage(struct scan *s)
{
	s->damaged = true;
	s->open = false;
}

static void on_record(struct scan *s, const struct record *r, uint64_t end)
{
	bool starts = r->type == RECORD_FULL || r->type == RECORD_FIRST;
	bool ends = r->type == RECORD_FULL || r->type == RECORD_LAST;
	size_t n = r->len;

	if (s->open == starts)
		on_damage(s);
	if (starts) {
		s->open = true;
		s->head_len = 0;
	}
	if (!s->open)
		return; /* the rest of a batch whose beginning is lost */
	if (n > sizeof(s->head) - s->head_len)
		n = sizeof(s->head) - s->head_len;
	memcpy(s->head + s->head_len, r->payload, n);
	s->head_len += n;
	if (!ends)
		return;
	s->open = false;
	on_batch(s, end);
}

static void scan_block(struct scan *s, const uint8_t *block, size_t len, uint64_t offset)
{
	size_t at = 0;
	struct record r;

	while (len - at >= HEADER_SIZE) {
		if (parse_record(block + at, len - at, &r)) {
			at += HEADER_SIZE + r.len;
			on_record(s, &r, offset + at);
		} else {
			/* The length may be what is damaged: try every byte. */
			on_damage(s);
			at++;
		}
	}
	/* A full block ends in padding; a short one with a piece of a header is torn. */
	if (at < len && len < BLOCK_SIZE)
		on_damage(s);
}

static int scan_file(struct scan *s, int dir, const char *name)
{
	uint8_t *block = mem_alloc(BLOCK_SIZE);
	uint64_t offset = 0;
	int err = ERR_NONE;
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	s->good_end = 0;
	s->open = false;
	/* After a failed sync memory may hold what the disk does not, and call it clean. */
	if (fd >= 0)
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	while (fd >= 0) {
		size_t len = 0;
		ssize_t n = 0;
		while (len < BLOCK_SIZE && (n = read(fd, block + len, BLOCK_SIZE - len)) > 0)
			len += (size_t)n;
		if (n < 0) {
			err = ERR_IO;
			break;
		}
		if (len > 0)
			scan_block(s, block, len, offset);
		offset += len;
		if (len < BLOCK_SIZE)
			break;
	}
	if (fd < 0)
		err = ERR_IO;
	else
		close(fd);
	if (s->open) /* its rest never came */
		on_damage(s);
	mem_free(block);
	return err;
}

/* Files */

struct log_files {
	uint64_t *numbers; /* ascending */
	size_t len;
};

static int compare_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* "000123.log"; RocksDB prints at least six digits. */
static bool parse_log_name(const char *name, uint64_t *number)
{
	size_t digits = strspn(name, "0123456789");

	if (digits < 6 || digits > 18 || strcmp(name + digits, ".log") != 0)
		return false;
	*number = strtoull(name, NULL, 10);
	return true;
}

static void format_log_name(char name[32], uint64_t number)
{
	snprintf(name, 32, "%06" PRIu64 ".log", number);
}

static int list_logs(int dir, struct log_files *out, bool *has_current, bool *has_data)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *e;
	int err = ERR_NONE;

	*out = (struct log_files){0};
	*has_current = *has_data = false;
	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return ERR_IO;
	}
	out->numbers = mem_array(LOG_FILES_MAX, sizeof(out->numbers[0]));
	while ((e = readdir(d)) != NULL) {
		const char *dot = strrchr(e->d_name, '.');
		if (strcmp(e->d_name, "CURRENT") == 0)
			*has_current = true;
		if (dot != NULL && strcmp(dot, ".sst") == 0)
			*has_data = true;
		if (!parse_log_name(e->d_name, &out->numbers[out->len]))
			continue;
		if (++out->len == LOG_FILES_MAX) {
			err = ERR_LIMIT;
			break;
		}
	}
	closedir(d);
	qsort(out->numbers, out->len, sizeof(out->numbers[0]), compare_numbers);
	if (out->len > 0)
		*has_data = true;
	return err;
}

static int cut_file(int dir, const char *name, uint64_t size)
{
	int fd = openat(dir, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	int err = ERR_NONE;

	if (fd < 0)
		return ERR_IO;
	if (ftruncate(fd, (off_t)size) != 0 || fsync(fd) != 0)
		err = ERR_IO;
	if (close(fd) != 0)
		err = ERR_IO;
	return err;
}

static int refuse(const char *path, const char *name, struct errmsg *m)
{
	return err_set(m, ERR_CORRUPT,
		       "%s/%s is damaged below data that was on the disk for certain; going on "
		       "without it could lose votes and blocks. Check the disk, then restore "
		       "a backup or let the node fetch everything again as an observer",
		       path, name);
}

/* Every manifest record is synced: whatever follows damage shows that it was no torn tail. */
static int check_manifest(int dir, const char *path, struct errmsg *m)
{
	struct scan s = {.any_counts = true};
	char name[64] = {0};
	size_t prefix = strlen(MANIFEST_NAME);
	ssize_t n = -1;
	int err;
	int fd = openat(dir, "CURRENT", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd >= 0) {
		n = read(fd, name, sizeof(name) - 1);
		close(fd);
	}
	if (n < 0)
		return err_set(m, ERR_IO, "cannot read %s/CURRENT: %s", path, strerror(errno));
	if (strncmp(name, MANIFEST_NAME, prefix) != 0 ||
	    strspn(name + prefix, "0123456789") + prefix + 1 != (size_t)n ||
	    name[n - 1] != '\n')
		return refuse(path, "CURRENT", m);
	name[n - 1] = '\0';
	err = scan_file(&s, dir, name);
	if (err != ERR_NONE && errno == ENOENT) /* CURRENT is damaged, or the file is lost */
		return refuse(path, name, m);
	if (err != ERR_NONE)
		return err_set(m, err, "cannot read %s/%s: %s", path, name, strerror(errno));
	if (damaged_below(&s) || (s.damaged && s.good_end == 0))
		return refuse(path, name, m);
	return ERR_NONE;
}

static int check_logs(int dir, const char *path, const struct log_files *files,
		      struct slice mark, bool read_only, bool *torn, struct errmsg *m)
{
	struct scan s = {.mark = mark, .any_counts = mark.len == 0};
	size_t first = files->len; /* damaged file, and where it is good up to */
	uint64_t good_end = 0;
	char name[32];
	int err;

	for (size_t i = 0; i < files->len; i++) {
		format_log_name(name, files->numbers[i]);
		err = scan_file(&s, dir, name);
		if (err != ERR_NONE)
			return err_set(m, err, "cannot read %s/%s: %s", path, name,
				       strerror(errno));
		if (s.damaged && first == files->len) {
			first = i;
			good_end = s.good_end;
		}
	}
	if (first == files->len)
		return ERR_NONE;
	format_log_name(name, files->numbers[first]);
	if (damaged_below(&s))
		return refuse(path, name, m);
	*torn = true;
	if (read_only)
		return ERR_NONE;
	log_write(LOG_LEDGER, LOG_WARN,
		  "store: the end of %s/%s is torn, as a crash leaves it, and is cut at byte "
		  "%" PRIu64 "; nothing that was synced is lost",
		  path, name, good_end);
	/* Last file first: if this is interrupted, the damage stays to be found again. */
	for (size_t i = files->len; i-- > first;) {
		format_log_name(name, files->numbers[i]);
		err = cut_file(dir, name, i == first ? good_end : 0);
		if (err != ERR_NONE)
			return err_set(m, err, "cannot cut the torn end of %s/%s: %s", path,
				       name, strerror(errno));
	}
	return ERR_NONE;
}

int store_wal_check(int dir, const char *path, struct slice mark, bool read_only, bool *torn,
		    struct errmsg *m)
{
	struct log_files files;
	bool has_current, has_data;
	int err;

	*torn = false;
	invariant(mark.len <= MARK_MAX);
	call_once(&crc_once, crc_init);
	err = list_logs(dir, &files, &has_current, &has_data);
	if (err != ERR_NONE) {
		err = err_set(m, err, "cannot list the store directory %s", path);
	} else if (!has_current && has_data) {
		/* RocksDB would start an empty store over what is left of the old one. */
		err = err_set(m, ERR_CORRUPT,
			      "%s has data files, but CURRENT is missing; restore a backup",
			      path);
	} else if (has_current) {
		err = check_manifest(dir, path, m);
		if (err == ERR_NONE)
			err = check_logs(dir, path, &files, mark, read_only, torn, m);
	}
	mem_free(files.numbers);
	return err;
}
