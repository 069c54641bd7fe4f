#include "node/disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>

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
	if (d->checked && now - d->checked < DISK_CHECK_US)
		return false;
	d->checked = now;
	d->known = measure(d, &d->free_bytes);
	/* Not back and forth at the limit. */
	uint64_t limit = d->full ? d->reserve + d->reserve / 8 : d->reserve;
	bool full = d->known && d->free_bytes < limit;
	if (full == d->full)
		return false;
	d->full = full;
	d->full_since = full ? now : 0;
	return true;
}
