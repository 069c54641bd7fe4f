/* What the plots of the report share. */
#ifndef TOOLS_LAB_REPORT_PLOT_H
#define TOOLS_LAB_REPORT_PLOT_H

#include "tools/lab/report.h"

#define PLOT_WIDTH 760.0
#define ROWS_MAX   96

void figure_begin(struct writer *w, const char *id);
/* After the picture: what one sees; then figure_end(). */
void figure_caption(struct writer *w);
void figure_end(struct writer *w);

/* Marks of the protocols that occur (bit i: protocol i), from right to left. */
void plot_legend(struct svg *s, double y, unsigned protocols);
const char *plot_class(unsigned protocol, const char *kind); /* static; "p0 line" */

/* Runs one below the other, grouped by fault and size so that protocols stand together. */
struct rows {
	const struct report_run *run[ROWS_MAX];
	unsigned count, left_out, groups;
};
typedef bool (*rows_wanted)(const struct report *r, const struct report_run *run);
bool rows_select(struct rows *rows, const struct report *r, rows_wanted wanted);
double rows_height(const struct rows *rows, double row);
/* Draws heading (of the first of a group) and label, and moves *y to the row's middle. */
void rows_label(struct svg *s, const struct rows *rows, unsigned i, double row, double *y);
/* "The first 48 of 60 are drawn." or nothing. */
void rows_say_left_out(struct writer *w, const struct rows *rows);
#define ROWS_LABEL 118.0 /* width of the labels */

#endif
