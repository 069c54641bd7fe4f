#include "tools/lab/html.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

void html_raw(struct writer *w, const char *text)
{
	writer_raw(w, text, strlen(text));
}

void html_fmt(struct writer *w, const char *fmt, ...)
{
	char text[1024];
	va_list args;
	va_start(args, fmt);
	int len = vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	invariant(len >= 0 && (size_t)len < sizeof text);
	writer_raw(w, text, (size_t)len);
}

static bool continues(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

unsigned html_length(const char *text)
{
	unsigned n = 0;
	for (; *text; text++)
		n += !continues(*text);
	return n;
}

static void escape(struct writer *w, const char *at)
{
	switch (*at) {
	case '&':
		html_raw(w, "&amp;");
		return;
	case '<':
		html_raw(w, "&lt;");
		return;
	case '>':
		html_raw(w, "&gt;");
		return;
	case '"':
		html_raw(w, "&quot;");
		return;
	case '\'':
		html_raw(w, "&#39;");
		return;
	case '\n':
	case '\t':
		html_raw(w, " ");
		return;
	}
	if ((unsigned char)*at < 0x20 || *at == 0x7f)
		html_raw(w, "\xef\xbf\xbd");
	else
		writer_raw(w, at, 1);
}

void html_short(struct writer *w, const char *text, unsigned most)
{
	bool cut = html_length(text) > most;
	unsigned n = 0;
	for (; *text; text++) {
		n += !continues(*text);
		if (cut && n >= most)
			break;
		/* U+FFFE and U+FFFF are no characters of XML. */
		if (memcmp(text, "\xef\xbf", 2) == 0 && (unsigned char)text[2] >= 0xbe) {
			html_raw(w, "\xef\xbf\xbd");
			text += 2;
			continue;
		}
		escape(w, text);
	}
	if (cut)
		html_raw(w, "\u2026");
}

void html_text(struct writer *w, const char *text)
{
	html_short(w, text, ~0u);
}

void csv_text(struct writer *w, const char *text)
{
	bool formula = *text && strchr("=+-@\t\r", *text) != NULL;
	if (!formula && !strpbrk(text, ",\"\r\n")) {
		html_raw(w, text);
		return;
	}
	html_raw(w, formula ? "\"'" : "\"");
	for (; *text; text++) {
		if (*text == '"')
			html_raw(w, "\"");
		writer_raw(w, text, 1);
	}
	html_raw(w, "\"");
}

static void grouped(char out[HTML_NUMBER_MAX], double v)
{
	char digits[HTML_NUMBER_MAX];
	int len = snprintf(digits, sizeof digits, "%.0f", v), at = 0;
	for (int i = 0; i < len && at < HTML_NUMBER_MAX - 2; i++) {
		if (i && (len - i) % 3 == 0 && len > 4)
			out[at++] = ',';
		out[at++] = digits[i];
	}
	out[at] = 0;
}

const char *html_number(char out[HTML_NUMBER_MAX], double v)
{
	if (!isfinite(v))
		snprintf(out, HTML_NUMBER_MAX, "not measured");
	else if (fabs(v) >= 1e15)
		snprintf(out, HTML_NUMBER_MAX, "%.3g", v);
	else if (v == floor(v) || v >= 999.5)
		grouped(out, v);
	else
		snprintf(out, HTML_NUMBER_MAX, "%.*f",
			 v >= 99.95    ? 0
			 : v >= 9.995  ? 1
			 : v >= 0.9995 ? 2
				       : 3,
			 v);
	return out;
}

const char *html_duration(char out[HTML_NUMBER_MAX], double ms)
{
	char number[HTML_NUMBER_MAX];
	if (!isfinite(ms))
		return html_number(out, ms);
	bool seconds = ms >= 999.5;
	html_number(number, seconds ? ms / 1000 : ms);
	snprintf(out, HTML_NUMBER_MAX, "%.30s %s", number, seconds ? "s" : "ms");
	return out;
}
