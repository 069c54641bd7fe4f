#include "tools/cli/events.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define FIRST_MS	 3000  /* a node answers at once, before there is an event */
#define SILENCE_MS	 25000 /* nodes give a sign of life every 10 s */
#define PAUSE_MAX_MS	 2000
#define RETRY_DEFAULT_MS 200

/* ---- the format (HTML standard, "Server-sent events") ------------------------------------ */

void sse_init(struct sse_parser *p, bool (*on_event)(void *arg, const struct sse_event *e),
	      void *arg)
{
	memset(p, 0, sizeof *p);
	p->on_event = on_event;
	p->arg = arg;
}

void sse_free(struct sse_parser *p)
{
	writer_free(&p->line);
	writer_free(&p->data);
	writer_free(&p->type);
}

void sse_reset(struct sse_parser *p)
{
	writer_reset(&p->line);
	writer_reset(&p->data);
	writer_reset(&p->type);
	p->has_data = p->after_cr = p->started = false;
	memcpy(p->next_id, p->id, sizeof p->next_id);
}

static const char *terminated(struct writer *w)
{
	writer_u8(w, 0);
	w->len--;
	return (const char *)w->buf;
}

static int dispatch(struct sse_parser *p)
{
	struct sse_event e = {.id = p->id};
	bool more = true;

	memcpy(p->id, p->next_id, sizeof p->id); /* only now: its event is here whole */
	if (p->has_data) {
		if (p->data.len > 0)
			p->data.len--; /* the last line's end */
		e.data = terminated(&p->data);
		e.type = p->type.len > 0 ? terminated(&p->type) : "message";
		more = p->on_event(p->arg, &e);
	}
	writer_reset(&p->data);
	writer_reset(&p->type);
	p->has_data = false;
	return more ? ERR_NONE : ERR_CLOSED;
}

static void take_id(struct sse_parser *p, struct slice value)
{
	if (value.len < sizeof p->next_id &&
	    (value.len == 0 || memchr(value.ptr, 0, value.len) == NULL))
		snprintf(p->next_id, sizeof p->next_id, "%.*s", (int)value.len,
			 value.len > 0 ? (const char *)value.ptr : "");
}

static bool is_name(struct slice name, const char *text)
{
	return name.len == strlen(text) && memcmp(name.ptr, text, name.len) == 0;
}

static int take_line(struct sse_parser *p)
{
	struct slice line = writer_slice(&p->line), name = line, value = {0};
	const uint8_t *colon;
	char number[16];

	if (line.len == 0)
		return dispatch(p);
	colon = memchr(line.ptr, ':', line.len);
	if (colon == line.ptr)
		return ERR_NONE; /* a comment */
	if (colon != NULL) {
		name.len = (size_t)(colon - line.ptr);
		value = slice_of(colon + 1, line.len - name.len - 1);
		if (value.len > 0 && value.ptr[0] == ' ')
			value = slice_of(value.ptr + 1, value.len - 1);
	}
	if (is_name(name, "data")) {
		if (p->data.len + value.len > SSE_EVENT_MAX)
			return ERR_LIMIT;
		writer_raw(&p->data, value.ptr, value.len);
		writer_u8(&p->data, '\n');
		p->has_data = true;
	} else if (is_name(name, "event")) {
		writer_reset(&p->type);
		writer_raw(&p->type, value.ptr, value.len);
	} else if (is_name(name, "id")) {
		take_id(p, value);
	} else if (is_name(name, "retry") && value.len > 0 && value.len < sizeof number) {
		snprintf(number, sizeof number, "%.*s", (int)value.len,
			 (const char *)value.ptr);
		if (parse_u64(&p->retry_ms, number, 0, 60000) != ERR_NONE)
			p->retry_ms = 0;
	}
	return ERR_NONE;
}

int sse_feed(struct sse_parser *p, struct slice bytes)
{
	static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
	int err;

	for (size_t i = 0; i < bytes.len; i++) {
		uint8_t b = bytes.ptr[i];
		bool lf_of_crlf = p->after_cr && b == '\n';

		p->after_cr = b == '\r';
		if (lf_of_crlf)
			continue;
		if (b != '\n' && b != '\r') {
			if (p->line.len >= SSE_EVENT_MAX)
				return ERR_LIMIT;
			writer_u8(&p->line, b);
			if (!p->started && p->line.len == 3 &&
			    memcmp(p->line.buf, mark, 3) == 0)
				writer_reset(&p->line);
			p->started = p->started || p->line.len >= 3;
			continue;
		}
		p->started = true;
		err = take_line(p);
		writer_reset(&p->line);
		if (err != ERR_NONE)
			return err;
	}
	return ERR_NONE;
}

/* ---- a subscription ---------------------------------------------------------------------- */

struct following {
	const struct subscription *s;
	struct sse_parser parser;
	int err;      /* of the parser */
	bool heard;   /* something came over this connection */
	bool had_one; /* and over one before */
	unsigned node;
};

static bool on_bytes(void *arg, struct slice bytes)
{
	struct following *f = arg;

	if (!f->heard) {
		f->heard = true;
		if (f->had_one && f->s->on_resume != NULL)
			f->s->on_resume(f->s->arg, f->s->t->url[f->node], f->parser.id);
		f->had_one = true;
	}
	f->err = sse_feed(&f->parser, bytes);
	return f->err == ERR_NONE;
}

static char *stream_url(const struct following *f)
{
	const struct subscription *s = f->s;
	struct writer w = {0};
	char *url;

	writer_raw(&w, s->t->url[f->node], strlen(s->t->url[f->node]));
	writer_raw(&w, "/v1/events?types=", 17);
	writer_raw(&w, s->types, strlen(s->types));
	if (f->parser.id[0] == '\0' && s->from != NULL) {
		writer_raw(&w, "&from=", 6);
		http_escape(&w, slice_str(s->from));
	}
	url = mem_strdup(terminated(&w));
	writer_free(&w);
	return url;
}

/* One connection, until it ends; to a node that says nothing within left_ms, that long at most.
 * True: go on with another. False: *rc is the exit code. */
static bool follow_once(struct cli *c, struct following *f, struct http *http,
			uint64_t left_ms, int *rc)
{
	struct http_reply reply = {0};
	struct json *problem = NULL;
	const char *detail;
	struct errmsg m;
	char *url = stream_url(f);
	uint64_t first_ms = f->s->t->count > 1	? patience_of(left_ms, FIRST_MS)
			    : left_ms > FIRST_MS ? FIRST_MS
						 : left_ms;
	bool again = true;

	sse_reset(&f->parser);
	f->heard = false;
	f->err = ERR_NONE;
	http_stream(http, url, f->parser.id, first_ms, SILENCE_MS, on_bytes, f, &reply, &m);
	mem_free(url);
	if (f->err == ERR_CLOSED) {
		*rc = EXIT_DONE;
		again = false;
	} else if (f->err == ERR_LIMIT) {
		*rc = cli_fail(c, EXIT_UNVERIFIED, "malformed_answer", NULL,
			       "%s sends an event without an end", f->s->t->url[f->node]);
		again = false;
	} else if (reply.status == 401) {
		*rc = unauthorized_fail(c, f->s->t->url[f->node]);
		again = false;
	} else if (reply.status >= 400 && reply.status < 500 && reply.status != 429) {
		if (json_parse(&problem, writer_slice(&reply.body), NULL) != ERR_NONE ||
		    json_read_string(problem, "detail", &detail) != ERR_NONE)
			detail = "it knows no events";
		*rc = cli_fail(c, reply.status == 404 ? EXIT_NOT_FOUND : EXIT_REFUSED,
			       "refused", NULL, "%s refuses (HTTP status %u): %s",
			       f->s->t->url[f->node], reply.status, detail);
		again = false;
	}
	json_free(problem);
	http_reply_free(&reply);
	return again;
}

static uint64_t time_left(uint64_t since, uint64_t patience_ms)
{
	uint64_t gone = now_ms() - since;

	return gone < patience_ms ? patience_ms - gone : 0;
}

/* After so many connections in a row over which nothing came. */
static int silence_fail(struct cli *c, const struct following *f, unsigned silent)
{
	const struct subscription *s = f->s;
	unsigned asked = silent < s->t->count ? silent : s->t->count;

	return cli_fail(c, EXIT_UNREACHABLE, "unreachable",
			"`ostrakon net status` shows which nodes run; --from goes on where "
			"this ended.",
			"no event and no sign of life in %llu ms from the %u of %u nodes that "
			"were asked; the last cursor is %s",
			(unsigned long long)s->patience_ms, asked, s->t->count,
			f->parser.id[0] ? f->parser.id : "unknown");
}

int subscribe(struct cli *c, const struct subscription *s)
{
	struct following *f = mem_zalloc(sizeof *f);
	struct http *http = http_new();
	uint64_t last_heard = now_ms(), pause = RETRY_DEFAULT_MS, left;
	unsigned silent = 0; /* connections in a row over which nothing came */
	int rc = EXIT_DONE;
	uint32_t r;

	f->s = s;
	sse_init(&f->parser, s->on_event, s->arg);
	while (left = time_left(last_heard, s->patience_ms),
	       follow_once(c, f, http, left > 0 ? left : 1, &rc)) {
		if (interrupted()) {
			rc = EXIT_INTERRUPTED;
			break;
		}
		silent = f->heard ? 0 : silent + 1;
		if (f->heard) {
			last_heard = now_ms();
			pause = RETRY_DEFAULT_MS;
		}
		left = time_left(last_heard, s->patience_ms);
		if (left == 0) {
			rc = silence_fail(c, f, silent);
			break;
		}
		f->node = (f->node + 1) % s->t->count;
		crypto_random(&r, sizeof r);
		sleep_ms(pause / 2 + r % pause < left / 2 ? pause / 2 + r % pause : left / 2);
		pause = pause * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause * 2;
	}
	sse_free(&f->parser);
	http_free(http);
	mem_free(f);
	return rc;
}
