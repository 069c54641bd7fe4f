/* Allocation that cannot fail: out of memory ends the process with a message.
 * Memory that peers, clients or disks can make us allocate is bounded by named limits
 * before it gets here, so running out means the machine is wrong, not the input
 * (docs/decisions/0002-allocation.md). Release with mem_free(). */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size) __attribute__((malloc));
void *mem_zalloc(size_t size) __attribute__((malloc)); /* zeroed */
void *mem_array(size_t count, size_t size)
	__attribute__((malloc)); /* zeroed, checked product */
void *mem_realloc(void *ptr, size_t size);
void *mem_dup(const void *ptr, size_t size); /* NULL for size 0 */
char *mem_strdup(const char *text);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void mem_free(void *ptr); /* NULL is fine */

#define MEM_LINE 64 /* bytes of a cache line, nearly everywhere */

/* size bytes at p will be used soon: all of them are asked for at once. */
static inline void mem_prefetch(const void *p, size_t size)
{
	for (size_t i = 0; i < size; i += MEM_LINE)
		__builtin_prefetch((const char *)p + i);
}

#define MEM_COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Stays on in release builds. Only for arguments and invariants, never for anything that a
 * peer, a client or a disk can influence. Prints expression, file and line; aborts. */
#define invariant(expr) ((expr) ? (void)0 : invariant_failed(#expr, __FILE__, __LINE__))
_Noreturn void invariant_failed(const char *expr, const char *file, int line)
	__attribute__((cold));

#endif
