#include "node/stream.h"

#include <microhttpd.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/connections.h"
#include "node/node.h"

#define OUT_BYTES	(64u << 10) /* what a stream renders ahead, and one event more */
#define CHUNK_BYTES	(8u << 10)
#define REPLAY_BLOCKS	8 /* read from disk at a time */
#define CLIENT_RETRY_MS 1000
#define REPLAY_WAIT_US	10000000

struct stream {
	struct subscriber subscriber;
	struct stream_config config;
	struct MHD_Connection *connection;
	struct cursor at;  /* all up to here has been shown or skipped */
	bool live;	   /* has once been at the end of the ring */
	struct writer out; /* rendered; sent up to out_sent */
	size_t out_sent;
	/* reading blocks again */
	bool reading;	     /* the loop has `replay`, or has answered it */
	bool refused;	     /* it did not take it */
	bool told;	     /* a gap for what is not in blocks has been shown */
	struct cursor floor; /* the ring begins after it */
	struct request replay;
	uint32_t replay_next; /* of replay.blocks */
	/* a block that did not fit at once */
	struct block_view view;
	bool stored; /* it comes from disk */
};

static void suspend(struct subscriber *s)
{
	MHD_suspend_connection(((struct stream *)s)->connection);
}

static void resume(struct subscriber *s)
{
	MHD_resume_connection(((struct stream *)s)->connection);
}

static void put_text(struct stream *s, const char *text)
{
	writer_raw(&s->out, text, strlen(text));
}

static void put_event(struct stream *s, const char *name, struct cursor id, const char *data)
{
	char cursor[CURSOR_TEXT_SIZE];
	put_text(s, "event: ");
	put_text(s, name);
	put_text(s, "\nid: ");
	put_text(s, cursor_text(cursor, id));
	put_text(s, "\ndata: ");
	put_text(s, data);
	put_text(s, "\n\n");
}

static void put_json(struct stream *s, const char *name, struct cursor id, struct json *o)
{
	char *text = json_dump(o, false);
	json_free(o);
	put_event(s, name, id, text);
	mem_free(text);
}

/* Events after s->at, up to and with `to`, are not shown. */
static void put_gap(struct stream *s, struct cursor to, unsigned types)
{
	char text[CURSOR_TEXT_SIZE];
	struct json *o = json_object(), *a = json_array();
	json_set(o, "from", json_string(cursor_text(text, s->at)));
	json_set(o, "to", json_string(cursor_text(text, to)));
	for (int t = 0; t < EVENT_TYPES; t++)
		if (types & 1u << t)
			json_append(a, json_string(event_type_name((enum event_type)t)));
	json_set(o, "types", a);
	/* What can still be shown below `to` must not be skipped by who resumes here. */
	put_json(s, "gap", types == s->config.types ? to : s->at, o);
}

static struct json *tx_event(const struct stream *s, uint32_t i)
{
	const struct block *b = s->view.block;
	struct json *o = render_block_tx(s->config.render, b, i, false);
	json_set(o, "height", json_u64_string(b->sh.h.height));
	json_set(o, "block", json_hex(b->hash.b, HASH_SIZE));
	json_set(o, "time_ms", json_u64_string(b->sh.h.time_ms));
	return o;
}

/* Shows s->view from s->at on, as far as there is room; drops it when all is shown. */
static void render_view(struct stream *s)
{
	const struct block *b = s->view.block;
	uint64_t height = b->sh.h.height;
	struct cursor id = {.height = height, .index = 0};
	if (cursor_before(s->at, id)) {
		if (s->config.types & 1u << EVENT_BLOCKS)
			put_json(s, "blocks", id, render_block(s->config.render, &s->view));
		s->at = id;
	}
	if (!(s->config.types & 1u << EVENT_TXS))
		s->at.index = b->tx_count;
	while (s->at.index < b->tx_count && s->out.len < OUT_BYTES) {
		struct json *o = tx_event(s, (uint32_t)s->at.index);
		s->at.index++;
		put_json(s, "txs", s->at, o);
	}
	if (s->at.index < b->tx_count)
		return;
	/* What else happened at this height is in the ring or nowhere. */
	if (s->stored && height == s->floor.height && cursor_before(s->at, s->floor))
		s->at = s->floor;
	else if (s->stored && height < s->floor.height)
		s->at.index = UINT64_MAX;
	block_drop(s->view.block);
	s->view.block = NULL;
}

static void replay_done(struct request *r)
{
	struct stream *s = (struct stream *)((char *)r - offsetof(struct stream, replay));
	MHD_resume_connection(s->connection);
}

static void replay_clear(struct stream *s)
{
	request_free(&s->replay);
	request_init(&s->replay, REQUEST_BLOCKS);
	s->reading = false;
	s->replay_next = 0;
}

/* Asks the loop for blocks. */
static void replay_ask(struct stream *s)
{
	replay_clear(s);
	bool whole = s->at.index == UINT64_MAX;
	s->replay.has_height = true;
	s->replay.height = s->at.height + whole;
	s->replay.limit = REPLAY_BLOCKS;
	s->replay.deadline = node_clock_us() + REPLAY_WAIT_US;
	s->replay.done = replay_done;
	s->reading = true;
	MHD_suspend_connection(s->connection); /* first: the loop may answer at once */
	if (inbox_push(s->config.inbox, &s->replay))
		return;
	s->refused = true; /* the node is stopping or has too much to do */
	MHD_resume_connection(s->connection);
}

/* Shows a block that the loop has read, unless the ring has it. */
static void replay_take(struct stream *s)
{
	struct block_view *v = &s->replay.blocks[s->replay_next++];
	uint64_t height = v->block->sh.h.height;
	if (height > s->floor.height) {
		replay_clear(s);
		return;
	}
	s->view = *v;
	s->stored = true;
	v->block = NULL;
	if (height > s->at.height && height > 0)
		s->at = (struct cursor){.height = height - 1, .index = UINT64_MAX};
	render_view(s);
}

/* The ring begins after t->last. */
static void lost(struct stream *s, const struct event_taken *t)
{
	unsigned types = s->config.types;
	if (s->live || !(types & EVENTS_CHAIN)) {
		struct cursor to = s->live ? t->middle : t->last;
		put_gap(s, to, types);
		s->at = to;
		return;
	}
	if ((types & ~EVENTS_CHAIN) && !s->told) {
		s->told = true;
		put_gap(s, t->last, types & ~EVENTS_CHAIN);
		return;
	}
	s->floor = t->last;
	replay_ask(s);
}

/* True: go on; false: wait or end (*end). */
static bool fill(struct stream *s, bool *end)
{
	struct event_taken t;
	if (s->view.block) {
		render_view(s);
		return true;
	}
	if (s->refused || (s->reading && s->replay.problem.status == 503)) {
		*end = true; /* the client comes back */
		return false;
	}
	if (s->reading && (s->replay.problem.status || s->replay.block_count == 0)) {
		put_gap(s, s->floor, s->config.types); /* damaged, or no longer kept */
		s->at = s->floor;
		replay_clear(s);
		return true;
	}
	if (s->reading && s->replay_next < s->replay.block_count) {
		replay_take(s);
		return true;
	}
	if (s->reading)
		replay_clear(s);
	switch (events_take(&s->subscriber, &s->at, s->config.types, &t)) {
	case EVENT_STEP_WAIT:
		s->live = true;
		return false;
	case EVENT_STEP_BEAT:
		s->live = true;
		put_text(s, ":\n\n");
		return true;
	case EVENT_STEP_BLOCK:
		s->view = t.view;
		s->stored = false;
		render_view(s);
		return true;
	case EVENT_STEP_JSON:
		put_event(s, event_type_name(t.type), t.last, t.text);
		mem_free(t.text);
		s->at = t.last;
		return true;
	case EVENT_STEP_LOST:
		lost(s, &t);
		return !s->reading;
	case EVENT_STEP_END:
		break;
	}
	*end = true;
	return false;
}

static ssize_t on_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct stream *s = cls;
	bool end = false;
	if (s->out_sent == s->out.len) {
		writer_reset(&s->out);
		s->out_sent = 0;
	}
	if (s->config.connection)
		connection_progress(s->config.connection);
	/* The next turn of fill() may suspend, and whoever resumes is served by another call.
	 */
	while (s->out.len == 0)
		if (!fill(s, &end))
			break;
	if (s->out.len == 0)
		return end ? (ssize_t)MHD_CONTENT_READER_END_OF_STREAM : 0;
	size_t len = s->out.len - s->out_sent;
	if (len > max)
		len = max;
	memcpy(buf, s->out.buf + s->out_sent, len);
	s->out_sent += len;
	return (ssize_t)len;
}

struct stream *stream_start(struct MHD_Connection *c, const struct stream_config *config)
{
	struct stream *s = mem_zalloc(sizeof *s);
	struct cursor head;
	s->config = *config;
	s->connection = c;
	s->subscriber.suspend = suspend;
	s->subscriber.resume = resume;
	request_init(&s->replay, REQUEST_BLOCKS);
	writer_init(&s->out, 0);
	if (!events_subscribe(config->events, &s->subscriber, &head)) {
		mem_free(s);
		return NULL;
	}
	s->at = config->resumes ? config->from : head;
	s->live = !config->resumes;
	char first[96], cursor[CURSOR_TEXT_SIZE];
	/* Without data it is no event, yet the client knows where to resume. */
	snprintf(first, sizeof first, "retry: %u\nid: %s\n\n", CLIENT_RETRY_MS,
		 cursor_text(cursor, s->at));
	put_text(s, first);
	struct MHD_Response *response = MHD_create_response_from_callback(
		MHD_SIZE_UNKNOWN, CHUNK_BYTES, on_read, s, NULL);
	invariant(response != NULL);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream");
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_queue_response(c, MHD_HTTP_OK, response);
	MHD_destroy_response(response);
	return s;
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	events_unsubscribe(&s->subscriber);
	if (s->view.block)
		block_drop(s->view.block);
	request_free(&s->replay);
	writer_free(&s->out);
	mem_free(s);
}
