/* Text files with one thing a line: keys and values, transaction ids. */
#ifndef TOOLS_CLI_LINES_H
#define TOOLS_CLI_LINES_H

#include "base/bytes.h"
#include "base/err.h"

#define LINES_FILE_MAX (256u << 20)

/* A line's first field, up to the first tab or blank, and what follows it (tabs and blanks
 * between skipped; rest.ptr NULL if there is none). */
struct line {
	struct slice first, rest;
	unsigned number; /* from 1 */
};
struct lines {
	char *text; /* owned */
	size_t count;
	struct line *line; /* owned; empty lines and those that begin with # are left out */
};
/* path "-": standard input. */
int lines_read(struct lines *out, const char *path, struct errmsg *m);
void lines_free(struct lines *l);
/* The whole file. mem_free(*out). path "-": standard input. */
int file_read(uint8_t **out, size_t *len, const char *path, size_t max, struct errmsg *m);
/* Writes a new file or replaces one, whole or not at all. */
int file_write(const char *path, struct slice bytes, struct errmsg *m);

#endif
