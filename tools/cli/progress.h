/* A line on the terminal, repainted: how far, how fast, how long still. Elsewhere nothing. */
#ifndef TOOLS_CLI_PROGRESS_H
#define TOOLS_CLI_PROGRESS_H

#include "tools/cli/cli.h"

struct progress {
	struct cli *c;
	const char *what;
	uint64_t begun, shown; /* now_ms() */
	bool painted;
};
void progress_begin(struct progress *p, struct cli *c, const char *what);
/* struct backup_progress's step. False: interrupted. */
bool progress_step(void *progress, uint64_t height, uint64_t height_max, uint64_t bytes,
		   uint64_t bytes_max);
void progress_end(struct progress *p);
uint64_t progress_ms(const struct progress *p);

#endif
