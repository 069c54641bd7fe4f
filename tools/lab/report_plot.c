#include "tools/lab/report_plot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void figure_begin(struct writer *w, const char *id)
{
	html_fmt(w, "<figure id=\"%s\"><div class=\"plot\">\n", id);
}

void figure_caption(struct writer *w)
{
	html_raw(w, "</div><figcaption>");
}

void figure_end(struct writer *w)
{
	html_raw(w, "</figcaption></figure>\n");
}

const char *plot_class(unsigned protocol, const char *kind)
{
	static char class[32];
	snprintf(class, sizeof class, "p%u %s", protocol, kind);
	return class;
}

void plot_legend(struct svg *s, double y, unsigned protocols)
{
	double x = s->width - 12;
	for (unsigned p = REPORT_PROTOCOLS; p-- > 0;) {
		if (!(protocols >> p & 1))
			continue;
		const char *name = report_protocol_name(p);
		x -= 7.0 * (double)strlen(name) + 4;
		svg_text(s, x, y, "tick", name);
		x -= 12;
		svg_mark(s, (enum svg_shape)(p % SVG_SHAPES), x, y - 4, plot_class(p, "mark"),
			 NULL);
		x -= 20;
	}
}

static int by_group(const void *a, const void *b)
{
	const struct report_run *x = *(const struct report_run *const *)a,
				*y = *(const struct report_run *const *)b;
	int order = strcmp(x->fault, y->fault);
	if (!order)
		order = (int)x->nodes - (int)y->nodes;
	if (!order)
		order = x->live - y->live;
	if (!order)
		order = (int)report_protocol(x) - (int)report_protocol(y);
	return order ? order : x->v < y->v ? -1 : x->v > y->v;
}

static bool same_group(const struct report_run *x, const struct report_run *y)
{
	return strcmp(x->fault, y->fault) == 0 && x->nodes == y->nodes && x->live == y->live;
}

bool rows_select(struct rows *rows, const struct report *r, rows_wanted wanted)
{
	*rows = (struct rows){0};
	for (size_t i = 0; i < r->count; i++) {
		if (!wanted(r, &r->run[i]))
			continue;
		if (rows->count < ROWS_MAX)
			rows->run[rows->count++] = &r->run[i];
		else
			rows->left_out++;
	}
	if (rows->count)
		qsort(rows->run, rows->count, sizeof rows->run[0], by_group);
	for (unsigned i = 0; i < rows->count; i++)
		rows->groups += i == 0 || !same_group(rows->run[i - 1], rows->run[i]);
	return rows->count > 0;
}

#define HEADING 26.0

double rows_height(const struct rows *rows, double row)
{
	return HEADING * rows->groups + row * rows->count;
}

void rows_label(struct svg *s, const struct rows *rows, unsigned i, double row, double *y)
{
	const struct report_run *run = rows->run[i];
	unsigned p = report_protocol(run);
	if (i)
		*y += row / 2;
	if (!i || !same_group(rows->run[i - 1], run)) {
		char text[REPORT_LABEL_MAX];
		char nodes[24] = "";
		if (run->nodes)
			snprintf(nodes, sizeof nodes, ", n=%u", run->nodes);
		snprintf(text, sizeof text, "%s%s%s", *run->fault ? run->fault : "unknown",
			 nodes, run->live ? ", live" : "");
		svg_label(s, 4, *y + HEADING - 8, "head", text, 80);
		*y += HEADING;
	}
	*y += row / 2;
	svg_mark(s, (enum svg_shape)(p % SVG_SHAPES), 20, *y, plot_class(p, "mark"), NULL);
	svg_label(s, 32, *y + 4, "tick", *run->protocol ? run->protocol : "unknown", 12);
}

void rows_say_left_out(struct writer *w, const struct rows *rows)
{
	if (rows->left_out)
		html_fmt(w, " Of %u runs the first %u are drawn; the others are in the CSV.",
			 rows->count + rows->left_out, rows->count);
}
