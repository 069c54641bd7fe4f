#include "tools/cli/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

int file_read(uint8_t **out, size_t *len, const char *path, size_t max, struct errmsg *m)
{
	bool standard = strcmp(path, "-") == 0;
	FILE *f = standard ? stdin : fopen(path, "re");
	size_t cap = 64 << 10, n;
	uint8_t *buf;
	int err = ERR_NONE;

	if (f == NULL)
		return err_set(m, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO,
			       "cannot open %s: %s", path, strerror(errno));
	buf = mem_alloc(cap + 1);
	*len = 0;
	while ((n = fread(buf + *len, 1, cap - *len, f)) > 0) {
		*len += n;
		if (*len > max) {
			err = err_set(m, ERR_LIMIT, "%s is longer than %zu bytes", path, max);
			break;
		}
		if (*len == cap) {
			cap *= 2;
			buf = mem_realloc(buf, cap + 1);
		}
	}
	if (err == ERR_NONE && ferror(f))
		err = err_set(m, ERR_IO, "reading %s failed: %s", path, strerror(errno));
	if (!standard)
		fclose(f);
	if (err != ERR_NONE) {
		mem_free(buf);
		return err;
	}
	buf[*len] = '\0';
	*out = buf;
	return ERR_NONE;
}

int file_write(const char *path, struct slice bytes, struct errmsg *m)
{
	char *temporary = mem_printf("%s.%d.new", path, (int)getpid());
	int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	size_t done = 0;
	bool ok = fd >= 0;

	while (ok && done < bytes.len) {
		ssize_t n = write(fd, bytes.ptr + done, bytes.len - done);
		if (n < 0 && errno == EINTR)
			continue;
		ok = n > 0;
		done += ok ? (size_t)n : 0;
	}
	ok = ok && fsync(fd) == 0;
	if (fd >= 0 && close(fd) != 0)
		ok = false;
	ok = ok && rename(temporary, path) == 0;
	if (!ok) {
		err_set(m, ERR_IO, "cannot write %s: %s", path, strerror(errno));
		if (fd >= 0)
			unlink(temporary);
	}
	mem_free(temporary);
	return ok ? ERR_NONE : ERR_IO;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct line split(const char *p, size_t n, unsigned number)
{
	struct line l = {.number = number};
	size_t i = 0;

	while (i < n && !is_blank(p[i]))
		i++;
	l.first = slice_of(p, i);
	while (i < n && is_blank(p[i]))
		i++;
	if (i < n)
		l.rest = slice_of(p + i, n - i);
	return l;
}

int lines_read(struct lines *out, const char *path, struct errmsg *m)
{
	size_t len, cap = 0;
	uint8_t *text;
	unsigned number = 0;
	int err = file_read(&text, &len, path, LINES_FILE_MAX, m);

	memset(out, 0, sizeof *out);
	if (err != ERR_NONE)
		return err;
	out->text = (char *)text;
	for (const char *p = out->text, *end = p + len; p < end;) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		size_t n = newline ? (size_t)(newline - p) : (size_t)(end - p);
		size_t shown = n > 0 && p[n - 1] == '\r' ? n - 1 : n;

		number++;
		if (shown > 0 && p[0] != '#' && !is_blank(p[0])) {
			if (out->count == cap) {
				cap = cap ? 2 * cap : 256;
				out->line = mem_realloc(out->line, cap * sizeof *out->line);
			}
			out->line[out->count++] = split(p, shown, number);
		}
		p += n + 1;
	}
	return ERR_NONE;
}

void lines_free(struct lines *l)
{
	mem_free(l->text);
	mem_free(l->line);
	memset(l, 0, sizeof *l);
}
