#include "node/disk.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define TRY_BYTES  65536 /* RocksDB wants that much and more to open its files */
#define TRY_WRITES 16

void disk_init(struct disk *d, const struct node_config *c)
{
	*d = (struct disk){0};
	snprintf(d->path, sizeof d->path, "%s/data", c->home);
	uint64_t mib = c->disk_reserve_mib ? c->disk_reserve_mib : CONFIG_DISK_RESERVE_MIB;
	d->reserve = mib << 20;
	if (c->disk_free_file[0] == '/')
		snprintf(d->pretend, sizeof d->pretend, "%s", c->disk_free_file);
	else if (c->disk_free_file[0])
		snprintf(d->pretend, sizeof d->pretend, "%s/%s", c->home, c->disk_free_file);
}

static bool measure(const struct disk *d, uint64_t *out)
{
	FILE *f = d->pretend[0] ? fopen(d->pretend, "r") : NULL;
	if (f) {
		unsigned long long bytes = 0;
		if (fscanf(f, "%llu", &bytes) != 1)
			bytes = 0;
		fclose(f);
		*out = bytes;
		return true;
	}
	struct statvfs s;
	if (statvfs(d->path, &s) != 0)
		return false;
	*out = (uint64_t)s.f_bavail * s.f_frsize;
	return true;
}

bool disk_check(struct disk *d, uint64_t now)
{
	if (d->checked && now - d->checked < (d->low ? DISK_CHECK_NEAR_US : DISK_CHECK_US))
		return false;
	d->checked = now;
	d->known = measure(d, &d->free_bytes);
	/* Not back and forth at the limits. */
	uint64_t margin = d->reserve / 8;
	bool full = d->known && d->free_bytes < d->reserve + (d->full ? margin : 0);
	bool low = d->known && d->free_bytes < DISK_LOW * d->reserve + (d->low ? margin : 0);
	if (full == d->full && low == d->low)
		return false;
	if (full != d->full)
		d->full_since = full ? now : 0;
	d->full = full;
	d->low = low;
	return true;
}

bool disk_try(const struct disk *d)
{
	static const char zeros[TRY_BYTES];
	char path[sizeof d->path + 16];
	snprintf(path, sizeof path, "%s/.try", d->path);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool ok = fd >= 0;
	for (unsigned i = 0; i < TRY_WRITES && ok; i++)
		ok = write(fd, zeros, sizeof zeros) == (ssize_t)sizeof zeros;
	ok = ok && fsync(fd) == 0;
	if (fd >= 0)
		close(fd);
	unlink(path);
	return ok;
}
