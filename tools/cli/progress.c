#include "tools/cli/progress.h"

#define REPAINT_MS 200

void progress_begin(struct progress *p, struct cli *c, const char *what)
{
	*p = (struct progress){.c = c, .what = what, .begun = now_ms(), .shown = now_ms()};
}

uint64_t progress_ms(const struct progress *p)
{
	return now_ms() - p->begun;
}

bool progress_step(void *progress, uint64_t height, uint64_t height_max, uint64_t bytes,
		   uint64_t bytes_max)
{
	struct progress *p = progress;
	uint64_t now = now_ms(), ms = now - p->begun ? now - p->begun : 1;
	if (interrupted())
		return false;
	if (!p->c->hints || now - p->shown < REPAINT_MS)
		return true;
	p->shown = now;
	p->painted = true;
	double done = bytes_max	   ? (double)bytes / (double)bytes_max
		      : height_max ? (double)height / (double)height_max
				   : 0;
	fprintf(p->c->err, "\r%s: height %llu of %llu, %.0f blocks/s, %.1f MB/s", p->what,
		(unsigned long long)height, (unsigned long long)height_max,
		(double)height * 1000 / (double)ms, (double)bytes / 1000 / (double)ms);
	if (done > 0)
		fprintf(p->c->err, ", about %.0f s left",
			(double)ms / 1000 * (1 - done) / done);
	fputs("\033[K", p->c->err);
	fflush(p->c->err);
	return true;
}

void progress_end(struct progress *p)
{
	if (p->painted)
		fputs("\r\033[K", p->c->err);
	p->painted = false;
}
