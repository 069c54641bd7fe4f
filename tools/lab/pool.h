/* Tasks shared out to processes, whose results come back through a pipe. */
#ifndef TOOLS_LAB_POOL_H
#define TOOLS_LAB_POOL_H

#include <stdbool.h>
#include <stddef.h>

#define POOL_JOBS_MAX 64

enum pool_end { POOL_DONE, POOL_INTERRUPTED, POOL_DIED };
struct pool {
	unsigned jobs;	    /* 1 to POOL_JOBS_MAX */
	size_t tasks, size; /* size: of a result */
	void *ctx;
	void (*work)(void *ctx, size_t task, void *result); /* in a child; result is zeroed */
	void (*done)(void *ctx, size_t task, const void *result); /* here, in any order */
	bool progress;	  /* says how far it is even where stderr is no terminal */
	const char *what; /* "runs" */
	size_t count;	  /* of these in all tasks together; 0: one in each */
	/* What else the progress line says, at most size bytes; NULL: nothing. */
	void (*remark)(const void *ctx, char *out, size_t size);
};
/* Interrupted, it ends its children and returns; what is done is done. Tasks are begun in
 * ascending order. */
enum pool_end pool_run(const struct pool *p);

#endif
