#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn __attribute__((cold)) void out_of_memory(size_t size)
{
	fprintf(stderr, "out of memory: cannot allocate %zu bytes\n", size);
	abort();
}

/* Not in line, or the compiler makes a calloc() of it where memory is cleared next. */
__attribute__((noinline)) void *mem_alloc(size_t size)
{
	void *p = malloc(size ? size : 1);
	if (!p)
		out_of_memory(size);
	return p;
}

/* glibc's calloc() passes by the free lists that its malloc() has for small pieces, and clears
 * no faster. */
#define SMALL 1024

void *mem_zalloc(size_t size)
{
	return mem_array(1, size);
}

void *mem_array(size_t count, size_t size)
{
	if (count == 0 || size == 0)
		count = size = 1;
	if (count <= SMALL && size <= SMALL && count * size <= SMALL)
		return memset(mem_alloc(count * size), 0, count * size);
	void *p = calloc(count, size); /* checks the product */
	if (!p)
		out_of_memory(count > (size_t)-1 / size ? (size_t)-1 : count * size);
	return p;
}

void *mem_realloc(void *ptr, size_t size)
{
	void *p = realloc(ptr, size ? size : 1);
	if (!p)
		out_of_memory(size);
	return p;
}

void *mem_dup(const void *ptr, size_t size)
{
	return size ? memcpy(mem_alloc(size), ptr, size) : NULL;
}

char *mem_strdup(const char *text)
{
	return mem_dup(text, strlen(text) + 1);
}

char *mem_printf(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	int len = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (len < 0)
		out_of_memory(strlen(fmt));
	return text;
}

void mem_free(void *ptr)
{
	free(ptr);
}

void invariant_failed(const char *expr, const char *file, int line)
{
	fprintf(stderr, "invariant violated: %s at %s:%d\n", expr, file, line);
	abort();
}
