#include "tools/lab/svg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* ---- axes -------------------------------------------------------------------------------- */

static double nice_step(double span, unsigned most)
{
	double raw = span / most, power = pow(10, floor(log10(raw)));
	static const double steps[] = {1, 2, 2.5, 5, 10};
	for (unsigned i = 0; i < MEM_COUNT(steps); i++)
		if (steps[i] * power >= raw * 0.999)
			return steps[i] * power;
	return 10 * power;
}

void axis_linear(struct axis *a, double lo, double hi, double begin, double end)
{
	if (!(hi > lo))
		hi = lo > 0 ? 2 * lo : lo + 1;
	double step = nice_step(hi - lo, 6);
	*a = (struct axis){.lo = floor(lo / step) * step,
			   .hi = ceil(hi / step * 0.999) * step,
			   .begin = begin,
			   .end = end};
	for (unsigned i = 0; a->ticks < AXIS_TICKS_MAX; i++) {
		double at = a->lo + i * step;
		if (at > a->hi + step / 2)
			break;
		a->tick[a->ticks++] = at;
	}
}

void axis_log(struct axis *a, double lo, double hi, double begin, double end)
{
	static const double mantissa[] = {1, 2, 5};
	invariant(lo > 0 && hi >= lo);
	*a = (struct axis){.log = true, .begin = begin, .end = end};
	int first = (int)floor(log10(lo)), last = (int)ceil(log10(hi * 1.0001));
	unsigned each = last - first <= 3 ? 3 : 1;
	int every = 1 + (last - first) / 10;
	for (int p = first; p <= last; p += every)
		for (unsigned i = 0; i < each && a->ticks < AXIS_TICKS_MAX; i++)
			a->tick[a->ticks++] = mantissa[i] * pow(10, p);
	/* Ticks that only lead up to the data, or away from it, are none. */
	unsigned from = 0;
	while (from + 1 < a->ticks && a->tick[from + 1] <= lo * 1.0001)
		from++;
	unsigned to = from;
	while (to + 1 < a->ticks && a->tick[to] < hi * 0.9999)
		to++;
	a->ticks = to - from + 1;
	memmove(a->tick, a->tick + from, a->ticks * sizeof a->tick[0]);
	a->lo = a->tick[0];
	a->hi = a->tick[a->ticks - 1] > hi ? a->tick[a->ticks - 1] : hi;
	if (!(a->hi > a->lo))
		a->hi = 2 * a->lo;
}

void axis_fit(struct axis *a, double lo, double hi, double begin, double end)
{
	if (lo > 0 && hi / lo > 30)
		axis_log(a, lo, hi, begin, end);
	else
		axis_linear(a, 0, hi, begin, end);
}

double axis_at(const struct axis *a, double v)
{
	double part;
	if (a->log)
		part = v > a->lo ? log(v / a->lo) / log(a->hi / a->lo) : 0;
	else
		part = (v - a->lo) / (a->hi - a->lo);
	return a->begin + part * (a->end - a->begin);
}

/* ---- elements ---------------------------------------------------------------------------- */

void svg_begin(struct svg *s, struct writer *w, const char *id, double width, double height,
	       const char *title, const char *description)
{
	*s = (struct svg){.w = w, .width = width, .height = height};
	html_fmt(w,
		 "<svg viewBox=\"0 0 %.0f %.0f\" "
		 "style=\"max-width:%.0fpx\" role=\"img\" "
		 "aria-labelledby=\"%s-title %s-desc\">\n<title id=\"%s-title\">",
		 width, height, width, id, id, id);
	html_text(w, title);
	html_fmt(w, "</title>\n<desc id=\"%s-desc\">", id);
	html_text(w, description);
	html_raw(w, "</desc>\n");
}

void svg_end(struct svg *s)
{
	html_raw(s->w, "</svg>\n");
}

static void close_with(struct svg *s, const char *element, const char *title)
{
	if (!title) {
		html_raw(s->w, "/>\n");
		return;
	}
	html_raw(s->w, "><title>");
	html_text(s->w, title);
	html_fmt(s->w, "</title></%s>\n", element);
}

void svg_line(struct svg *s, double x1, double y1, double x2, double y2, const char *class)
{
	html_fmt(s->w, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
		 class, x1, y1, x2, y2);
}

void svg_rect(struct svg *s, double x, double y, double w, double h, const char *class,
	      const char *title)
{
	html_fmt(s->w,
		 "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"",
		 class, x, y, w > 0 ? w : 0, h > 0 ? h : 0);
	close_with(s, "rect", title);
}

void svg_label(struct svg *s, double x, double y, const char *class, const char *text,
	       unsigned most)
{
	html_fmt(s->w, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">", class, x, y);
	html_short(s->w, text, most);
	if (html_length(text) > most) {
		html_raw(s->w, "<title>");
		html_text(s->w, text);
		html_raw(s->w, "</title>");
	}
	html_raw(s->w, "</text>\n");
}

void svg_text(struct svg *s, double x, double y, const char *class, const char *text)
{
	svg_label(s, x, y, class, text, ~0u);
}

void svg_mark(struct svg *s, enum svg_shape shape, double x, double y, const char *class,
	      const char *title)
{
	switch (shape) {
	case SVG_CIRCLE:
		html_fmt(s->w, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\"", class,
			 x, y);
		close_with(s, "circle", title);
		return;
	case SVG_SQUARE:
		svg_rect(s, x - 4, y - 4, 8, 8, class, title);
		return;
	case SVG_DIAMOND:
		html_fmt(s->w,
			 "<path class=\"%s\" d=\"M%.1f %.1fl5.5 5.5l-5.5 5.5l-5.5 -5.5z\"",
			 class, x, y - 5.5);
		break;
	case SVG_TRIANGLE:
	case SVG_SHAPES:
		html_fmt(s->w, "<path class=\"%s\" d=\"M%.1f %.1fl5.5 9.5h-11z\"", class, x,
			 y - 5.5);
		break;
	}
	close_with(s, "path", title);
}

void svg_path_begin(struct svg *s, const char *class)
{
	html_fmt(s->w, "<path class=\"%s\" d=\"", class);
}

void svg_path_end(struct svg *s, const char *title)
{
	html_raw(s->w, "\"");
	close_with(s, "path", title);
}

void svg_arrow_head(struct svg *s, double x, double y, double dx, double dy, const char *class)
{
	double len = sqrt(dx * dx + dy * dy);
	if (!(len > 0))
		return;
	dx /= len;
	dy /= len;
	const double l = 7, b = 3;
	html_fmt(s->w, "<path class=\"%s\" d=\"M%.1f %.1fL%.1f %.1fL%.1f %.1fz\"/>\n", class, x,
		 y, x - l * dx + b * dy, y - l * dy - b * dx, x - l * dx - b * dy,
		 y - l * dy + b * dx);
}

/* ---- axes, drawn ------------------------------------------------------------------------- */

void svg_axis_x(struct svg *s, const struct axis *a, double y, double top, const char *name)
{
	char number[HTML_NUMBER_MAX];
	for (unsigned i = 0; i < a->ticks; i++) {
		double x = axis_at(a, a->tick[i]);
		svg_line(s, x, top, x, y, "grid");
		svg_text(s, x, y + 16, "tick middle", html_number(number, a->tick[i]));
	}
	svg_line(s, a->begin, y, a->end, y, "axis");
	svg_text(s, (a->begin + a->end) / 2, y + 36, "name middle", name);
}

/* The name stands above, horizontally: turned letters are hard to read. */
void svg_axis_y(struct svg *s, const struct axis *a, double x, double right, const char *name)
{
	char number[HTML_NUMBER_MAX];
	for (unsigned i = 0; i < a->ticks; i++) {
		double y = axis_at(a, a->tick[i]);
		svg_line(s, x, y, right, y, "grid");
		svg_text(s, x - 8, y + 4, "tick end", html_number(number, a->tick[i]));
	}
	svg_line(s, x, a->begin, x, a->end, "axis");
	svg_text(s, 4, a->end - 14, "name", name);
}
