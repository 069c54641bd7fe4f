/* Static SVG for the lab's report: axes, marks, bars and arrows. Colours and fonts are classes
 * of the page's style sheet, so that light, dark and print differ by style alone. Lengths are
 * user units, about pixels; y grows downwards. */
#ifndef TOOLS_LAB_SVG_H
#define TOOLS_LAB_SVG_H

#include "tools/lab/html.h"

#define AXIS_TICKS_MAX 24

struct axis {
	double lo, hi;	   /* of the data, after rounding to ticks */
	double begin, end; /* where they are drawn */
	bool log;
	unsigned ticks;
	double tick[AXIS_TICKS_MAX];
};
/* From 0 (or lo) to a round number over hi. */
void axis_linear(struct axis *a, double lo, double hi, double begin, double end);
/* lo and hi must be positive. */
void axis_log(struct axis *a, double lo, double hi, double begin, double end);
/* The logarithmic one if the data span more than a factor of 30. */
void axis_fit(struct axis *a, double lo, double hi, double begin, double end);
double axis_at(const struct axis *a, double v);

struct svg {
	struct writer *w;
	double width, height;
};
/* title and description are read to those who do not see the picture; id names both. */
void svg_begin(struct svg *s, struct writer *w, const char *id, double width, double height,
	       const char *title, const char *description);
void svg_end(struct svg *s);

void svg_line(struct svg *s, double x1, double y1, double x2, double y2, const char *class);
/* title may be NULL; it is shown when one points at it. The rest likewise. */
void svg_rect(struct svg *s, double x, double y, double w, double h, const char *class,
	      const char *title);
/* class says the anchor: "start" (default), "middle" or "end" among its words. */
void svg_text(struct svg *s, double x, double y, const char *class, const char *text);
/* At most so many characters, with the whole of it as title. */
void svg_label(struct svg *s, double x, double y, const char *class, const char *text,
	       unsigned most);

enum svg_shape { SVG_CIRCLE, SVG_SQUARE, SVG_DIAMOND, SVG_TRIANGLE, SVG_SHAPES };
void svg_mark(struct svg *s, enum svg_shape shape, double x, double y, const char *class,
	      const char *title);
void svg_path_begin(struct svg *s, const char *class);
void svg_path_end(struct svg *s, const char *title);
void svg_arrow_head(struct svg *s, double x, double y, double dx, double dy, const char *class);

/* Lines, ticks and names of axes. The grid lies between the other axis's two ends. */
void svg_axis_x(struct svg *s, const struct axis *a, double y, double top, const char *name);
void svg_axis_y(struct svg *s, const struct axis *a, double x, double right, const char *name);

#endif
