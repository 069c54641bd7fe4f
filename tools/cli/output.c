/* Tables and JSON. Tables are made from the same JSON that -o json prints. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "tools/cli/cli.h"

#define COLUMNS_MAX 16
#define CELL_MAX    96 /* characters of a cell before it is cut in a table */

static bool text_is_utf8(struct slice s)
{
	size_t i = 0;

	while (i < s.len) {
		uint8_t c = s.ptr[i++];
		unsigned more;
		uint32_t v, least;

		if (c < 0x80)
			continue;
		if (c >= 0xc2 && c <= 0xdf) {
			more = 1, least = 0x80, v = c & 0x1f;
		} else if ((c & 0xf0) == 0xe0) {
			more = 2, least = 0x800, v = c & 0x0f;
		} else if (c >= 0xf0 && c <= 0xf4) {
			more = 3, least = 0x10000, v = c & 0x07;
		} else {
			return false;
		}
		for (; more > 0; more--) {
			if (i == s.len || (s.ptr[i] & 0xc0) != 0x80)
				return false;
			v = v << 6 | (s.ptr[i++] & 0x3f);
		}
		if (v < least || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
			return false;
	}
	return true;
}

void json_set_bytes(struct json *object, const char *key, struct slice s)
{
	char *name;

	if (text_is_utf8(s)) {
		json_set(object, key, json_string_n((const char *)s.ptr, s.len));
		return;
	}
	json_set(object, key, json_null());
	name = mem_printf("%s_hex", key);
	json_set(object, name, json_hex(s.ptr, s.len));
	mem_free(name);
}

struct json *json_said(uint64_t v)
{
	return v <= INT64_MAX ? json_u64(v) : json_u64_string(v);
}

struct json *json_hash(const struct hash *h)
{
	return json_hex(h->b, HASH_SIZE);
}

struct json *json_copy(const struct json *v)
{
	struct json *copy = NULL;
	char *text = json_dump(v, false);
	int err = json_parse(&copy, slice_str(text), NULL);

	invariant(err == ERR_NONE);
	mem_free(text);
	return copy;
}

char *time_text(char out[TIME_TEXT_SIZE], uint64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;

	if (ms / 1000 > UINT64_C(253402300799) || gmtime_r(&seconds, &tm) == NULL ||
	    strftime(out, TIME_TEXT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		snprintf(out, TIME_TEXT_SIZE, "%llu", (unsigned long long)ms);
	return out;
}

void text_make_printable(char *text)
{
	unsigned char *out = (unsigned char *)text;

	for (const unsigned char *p = out; *p; p++) {
		bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0; /* U+0080 to U+009F */
		*out++ = *p < 0x20 || *p == 0x7f || c1 ? '?' : *p;
		p += c1;
	}
	*out = '\0';
}

char *cell_text(const struct json *v)
{
	const char *s;
	uint64_t u;
	double d;
	bool b;

	if (v == NULL || json_is_null(v))
		return mem_strdup("-");
	if (json_is_string(v) && json_as_string(v, &s) == ERR_NONE) {
		char *copy = mem_strdup(*s ? s : "-");
		text_make_printable(copy);
		return copy;
	}
	if (json_as_bool(v, &b) == ERR_NONE)
		return mem_strdup(b ? "yes" : "no");
	if (json_as_u64(v, &u) == ERR_NONE)
		return mem_printf("%llu", (unsigned long long)u);
	if (json_as_real(v, &d) == ERR_NONE) {
		char *exact = json_dump(v, false);
		if (strpbrk(exact, ".eE") == NULL)
			return exact; /* a whole number below zero */
		mem_free(exact);
		return mem_printf("%.1f", d);
	}
	if (json_is_array(v)) {
		char *all = mem_strdup("");
		for (size_t i = 0; i < json_len(v); i++) {
			char *one = cell_text(json_at(v, i));
			char *next = mem_printf("%s%s%s", all, i ? "," : "", one);
			mem_free(all);
			mem_free(one);
			all = next;
		}
		if (*all == '\0') {
			mem_free(all);
			return mem_strdup("-");
		}
		return all;
	}
	return json_dump(v, false);
}

static const struct json *reach(const struct json *v, const char *dotted)
{
	char part[64];

	for (;;) {
		size_t n = strcspn(dotted, ".");
		snprintf(part, sizeof part, "%.*s", (int)n, dotted);
		v = json_get(v, part);
		if (v == NULL || dotted[n] == '\0')
			return v;
		dotted += n + 1;
	}
}

static size_t shown_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += (*text & 0xc0) != 0x80; /* UTF-8 continuation bytes take no room */
	return width;
}

/* Green is well, red is not; only words that mean it in this program's tables. */
static const char *word_color(const char *text)
{
	static const char *const good[] = {"leader", "running", "ok", "committed", "fast"};
	static const char *const bad[] = {"down",     "failed",	 "halted",
					  "observer", "refused", "pbft"};
	static const char *const odd[] = {"paused", "candidate", "starting", "pending"};

	for (size_t i = 0; i < MEM_COUNT(good); i++)
		if (strcmp(text, good[i]) == 0)
			return "\033[32m";
	for (size_t i = 0; i < MEM_COUNT(bad); i++)
		if (strcmp(text, bad[i]) == 0)
			return "\033[31m";
	for (size_t i = 0; i < MEM_COUNT(odd); i++)
		if (strcmp(text, odd[i]) == 0)
			return "\033[33m";
	return NULL;
}

static void print_cell(struct cli *c, const char *text, size_t width, bool last, bool head)
{
	const char *color = c->color ? (head ? "\033[1m" : word_color(text)) : NULL;
	size_t shown = shown_width(text);

	fprintf(c->out, "%s%s%s", color ? color : "", text, color ? "\033[0m" : "");
	if (last)
		fputc('\n', c->out);
	else
		fprintf(c->out, "%*s", (int)(width - shown + 2), "");
}

static void print_table(struct cli *c, const struct column *columns, size_t count,
			const struct json *rows)
{
	size_t rows_len = json_len(rows), width[COLUMNS_MAX];
	char **cells;

	invariant(count <= COLUMNS_MAX);
	cells = mem_array(rows_len * count + 1, sizeof *cells);
	for (size_t k = 0; k < count; k++)
		width[k] = shown_width(columns[k].title);
	for (size_t i = 0; i < rows_len; i++) {
		for (size_t k = 0; k < count; k++) {
			char *text = cell_text(reach(json_at(rows, i), columns[k].key));
			size_t w;
			if (strlen(text) > CELL_MAX)
				memcpy(text + CELL_MAX - 3, "...", 4);
			w = shown_width(text);
			if (w > width[k])
				width[k] = w;
			cells[i * count + k] = text;
		}
	}
	for (size_t k = 0; k < count; k++)
		print_cell(c, columns[k].title, width[k], k + 1 == count, true);
	for (size_t i = 0; i < rows_len * count; i++) {
		print_cell(c, cells[i], width[i % count], i % count + 1 == count, false);
		mem_free(cells[i]);
	}
	mem_free(cells);
}

static void print_json(struct cli *c, const struct json *v, bool pretty)
{
	char *text = json_dump(v, pretty);

	fprintf(c->out, "%s\n", text);
	mem_free(text);
}

static void print_members(struct cli *c, const struct json *object)
{
	size_t width = 0;

	for (size_t i = 0; json_key_at(object, i) != NULL; i++) {
		size_t n = strlen(json_key_at(object, i));
		width = n > width ? n : width;
	}
	for (size_t i = 0; json_key_at(object, i) != NULL; i++) {
		const char *key = json_key_at(object, i);
		char *text = cell_text(json_get(object, key));
		print_cell(c, key, width, false, true);
		print_cell(c, text, 0, true, false);
		mem_free(text);
	}
}

void out_rows(struct cli *c, const struct column *columns, size_t count, struct json *rows)
{
	switch (c->format) {
	case FORMAT_TABLE:
		print_table(c, columns, count, rows);
		break;
	case FORMAT_JSON:
		print_json(c, rows, false);
		break;
	case FORMAT_JSONL:
		for (size_t i = 0; i < json_len(rows); i++)
			print_json(c, json_at(rows, i), false);
		break;
	}
	json_free(rows);
}

void out_object(struct cli *c, struct json *object)
{
	if (c->format == FORMAT_TABLE)
		print_members(c, object);
	else
		print_json(c, object, false);
	json_free(object);
}

void out_text(struct cli *c, const char *text, struct json *object)
{
	if (c->format == FORMAT_TABLE)
		fprintf(c->out, "%s\n", text);
	else
		print_json(c, object, false);
	json_free(object);
}

void out_document(struct cli *c, const struct column *columns, size_t count, struct json *doc,
		  const char *member)
{
	if (c->format == FORMAT_TABLE)
		print_table(c, columns, count, json_get(doc, member));
	else
		print_json(c, doc, false);
	json_free(doc);
}

void out_list(struct cli *c, const struct column *columns, size_t count, struct json *doc,
	      const char *member)
{
	if (c->format == FORMAT_JSONL) {
		out_rows(c, columns, count, json_copy(json_get(doc, member)));
		json_free(doc);
	} else {
		out_document(c, columns, count, doc, member);
	}
}
