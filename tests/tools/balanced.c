#include "tests/tools/balanced.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#define DEPTH_MAX 64
#define IDS_MAX	  4096

struct span {
	const char *at;
	size_t len;
};
struct page {
	const char *at;
	struct span open[DEPTH_MAX], ids[IDS_MAX], links[IDS_MAX];
	size_t depth, id_count, link_count;
};

static bool same(struct span a, const char *text)
{
	return a.len == strlen(text) && memcmp(a.at, text, a.len) == 0;
}

static bool equal(struct span a, struct span b)
{
	return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

static struct span name(struct page *p)
{
	struct span s = {p->at, 0};
	while (isalnum((unsigned char)*p->at) || *p->at == '-')
		p->at++;
	s.len = (size_t)(p->at - s.at);
	return s;
}

/* &amp; &lt; &gt; &quot; &#39; */
static bool entity(const char *at)
{
	static const char *const known[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (strncmp(at, known[i], strlen(known[i])) == 0)
			return true;
	return false;
}

static const char *check_text(const char *at, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)at[i];
		if (c == '&' && !entity(at + i))
			return "bare &";
		if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
			return "control character";
		if (c == '>' || c == '<')
			return "bare < or >";
	}
	return NULL;
}

static const char *attribute(struct page *p)
{
	struct span key = name(p), value;
	if (!key.len || p->at[0] != '=' || p->at[1] != '"')
		return "an attribute without name or quotes";
	p->at += 2;
	value.at = p->at;
	p->at = strchr(p->at, '"');
	if (!p->at)
		return "quote not closed";
	value.len = (size_t)(p->at++ - value.at);
	if (same(key, "src") || same(key, "srcset") || same(key, "xmlns"))
		return "a reference to something outside";
	if (key.len > 2 && strncmp(key.at, "on", 2) == 0)
		return "a handler";
	if (same(key, "id")) {
		for (size_t i = 0; i < p->id_count; i++)
			if (equal(p->ids[i], value))
				return "an id twice";
		if (p->id_count < IDS_MAX)
			p->ids[p->id_count++] = value;
	}
	if (same(key, "href")) {
		if (*value.at != '#')
			return "a link to something outside";
		if (p->link_count < IDS_MAX)
			p->links[p->link_count++] = (struct span){value.at + 1, value.len - 1};
	}
	return check_text(value.at, value.len);
}

/* Style and script stand as they are; what they may not do is load. */
static const char *raw(struct page *p, const char *end)
{
	const char *stop = strstr(p->at, end);
	if (!stop)
		return "style or script not closed";
	for (const char *at = p->at; at < stop; at++)
		if (strncmp(at, "url(", 4) == 0 || strncmp(at, "@import", 7) == 0 ||
		    strncmp(at, "fetch(", 6) == 0 || strncmp(at, "http", 4) == 0 ||
		    *at == '<' || *at == '&')
			return "style or script that loads, or is no XML";
	p->at = stop;
	return NULL;
}

static const char *closing(struct page *p)
{
	struct span tag;
	p->at += 2;
	tag = name(p);
	if (!p->depth || !equal(tag, p->open[p->depth - 1]))
		return "closed out of order";
	p->depth--;
	return *p->at++ == '>' ? NULL : "closing tag not closed";
}

static const char *opening(struct page *p)
{
	p->at++;
	struct span tag = name(p);
	if (!tag.len)
		return "bare <";
	if (same(tag, "link") || same(tag, "iframe") || same(tag, "img") ||
	    same(tag, "object") || same(tag, "base"))
		return "an element that loads";
	while (*p->at == ' ') {
		p->at++;
		const char *fault = attribute(p);
		if (fault)
			return fault;
	}
	if (strncmp(p->at, "/>", 2) == 0) {
		p->at += 2;
		return NULL;
	}
	if (*p->at++ != '>')
		return "tag not closed";
	if (p->depth == DEPTH_MAX)
		return "too deep";
	p->open[p->depth++] = tag;
	return same(tag, "style")    ? raw(p, "</style>")
	       : same(tag, "script") ? raw(p, "</script>")
				     : NULL;
}

const char *balanced_fault(const char *html, size_t *offset)
{
	static struct page page;
	struct page *p = &page;
	const char *fault = NULL, doctype[] = "<!DOCTYPE html>";
	memset(p, 0, sizeof *p);
	*offset = 0;
	if (strncmp(html, doctype, strlen(doctype)) != 0)
		return "no doctype";
	p->at = html + strlen(doctype);
	while (*p->at && !fault) {
		size_t text = strcspn(p->at, "<");
		fault = check_text(p->at, text);
		p->at += text;
		if (!fault && *p->at)
			fault = p->at[1] == '/' ? closing(p) : opening(p);
	}
	*offset = (size_t)(p->at ? p->at - html : 0);
	if (!fault && p->depth)
		fault = "an element is not closed";
	for (size_t i = 0; !fault && i < p->link_count; i++) {
		bool there = false;
		for (size_t k = 0; k < p->id_count && !there; k++)
			there = equal(p->links[i], p->ids[k]);
		fault = there ? NULL : "a link to an id that is not there";
	}
	return fault;
}
