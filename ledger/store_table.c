/* What RocksDB reads of a table file before it has verified it.
 *
 * The properties block of a table is parsed first and its checksum looked at only then
 * (ReadTablePropertiesHelper() in table/meta_blocks.cc): where a flipped bit says that the
 * block has an index by hashes, Debian's RocksDB, which is built with its assertions, ends the
 * process. Neither the node nor `db check` could then say what is wrong. So the count at the
 * block's end is looked at here, before. All else in a table is under a checksum that is
 * verified before it is used; tests/replica/flips tries each bit.
 *
 * Format: https://github.com/facebook/rocksdb/wiki/Rocksdb-BlockBasedTable-Format,
 * table/format.cc. The last 53 bytes: checksum type u8, handles of metaindex and index (offset
 * and size as varints, padded to 40 bytes), version u32, magic u64, little-endian. A block:
 * entries {shared, unshared, value length: varints; key; value}, u32 restarts, their count u32,
 * then a trailer of 5 bytes. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "ledger/store_private.h"

#define FOOTER_SIZE   53
#define HANDLES_SIZE  40
#define MAGIC	      UINT64_C(0x88e241b785f4cff7)
#define METAINDEX_MAX (64 << 10) /* bounds memory against a strange disk; they have 300 bytes  \
				  */
#define PROPERTIES "rocksdb.properties"
#define COUNT_SIZE 4
#define HASH_INDEX UINT32_C(0x80000000)

struct handle {
	uint64_t offset, size;
};

static uint64_t load_le(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

/* False: not there whole. */
static bool take_varint(const uint8_t **p, const uint8_t *end, uint64_t *out)
{
	*out = 0;
	for (unsigned shift = 0; *p < end && shift < 64; shift += 7) {
		uint8_t b = *(*p)++;
		*out |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return true;
	}
	return false;
}

static bool take_handle(const uint8_t **p, const uint8_t *end, struct handle *out)
{
	return take_varint(p, end, &out->offset) && take_varint(p, end, &out->size);
}

static bool read_at(int fd, void *out, uint64_t offset, size_t len)
{
	return offset <= INT64_MAX && pread(fd, out, len, (off_t)offset) == (ssize_t)len;
}

static bool find_properties(const uint8_t *p, size_t len, struct handle *out)
{
	const uint8_t *end = p + len;
	uint64_t shared, unshared, value;

	while (take_varint(&p, end, &shared) && take_varint(&p, end, &unshared) &&
	       take_varint(&p, end, &value)) {
		uint64_t left = (uint64_t)(end - p);
		if (unshared > left || value > left - unshared)
			return false;
		const uint8_t *key = p;
		p += unshared;
		if (shared == 0 && unshared == strlen(PROPERTIES) &&
		    memcmp(key, PROPERTIES, unshared) == 0)
			return take_handle(&p, p + value, out);
		p += value;
	}
	return false;
}

/* False only for what RocksDB would not survive; of all other damage it says so itself. */
static bool table_is_safe(int fd, uint64_t file_size)
{
	uint8_t footer[FOOTER_SIZE], count[COUNT_SIZE], *block;
	const uint8_t *p = footer + 1;
	struct handle meta, properties;

	if (file_size < FOOTER_SIZE ||
	    !read_at(fd, footer, file_size - FOOTER_SIZE, FOOTER_SIZE) ||
	    load_le(footer + FOOTER_SIZE - 8, 8) != MAGIC ||
	    !take_handle(&p, footer + 1 + HANDLES_SIZE, &meta) || meta.size > METAINDEX_MAX ||
	    meta.size == 0)
		return true;
	block = mem_alloc(meta.size);
	bool found = read_at(fd, block, meta.offset, meta.size) &&
		     find_properties(block, meta.size, &properties);
	mem_free(block);
	if (!found || properties.size < COUNT_SIZE || properties.offset > file_size ||
	    properties.size > file_size - properties.offset ||
	    !read_at(fd, count, properties.offset + properties.size - COUNT_SIZE, COUNT_SIZE))
		return true;
	return (load_le(count, COUNT_SIZE) & HASH_INDEX) == 0;
}

static bool is_table(const char *name)
{
	size_t len = strlen(name);

	return len > 4 && strcmp(name + len - 4, ".sst") == 0;
}

int store_table_check(int dir, const char *path, struct errmsg *m)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = ERR_NONE;
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *e;

	if (d == NULL && copy >= 0)
		close(copy);
	while (d != NULL && err == ERR_NONE && (e = readdir(d)) != NULL) {
		struct stat st;
		if (!is_table(e->d_name))
			continue;
		int fd = openat(dir, e->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0)
			continue; /* RocksDB says so */
		if (fstat(fd, &st) == 0 && !table_is_safe(fd, (uint64_t)st.st_size))
			err = err_set(m, ERR_CORRUPT,
				      "store %s is damaged: the properties of %s. Check the "
				      "disk, then restore a backup",
				      path, e->d_name);
		close(fd);
	}
	if (d != NULL)
		closedir(d);
	return err;
}
