/* Frames and sessions, without sockets: every hostile encoding, and a model of two processes
 * that lose connections and restart. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "net/session.h"

/* Check's own notes each pass in a file, which is slow a million times. */
#define must(expr)                                                                             \
	do {                                                                                   \
		if (!(expr))                                                                   \
			ck_abort_msg("%s", #expr);                                             \
	} while (0)

/* --- frames --- */

static struct frame random_frame(struct random *r, uint8_t payload[64])
{
	struct frame f = {.kind = (enum frame_kind)random_between(r, FRAME_GREET, FRAME_PONG)};

	for (int i = 0; i < 64; i++)
		payload[i] = (uint8_t)random_u64(r);
	switch (f.kind) {
	case FRAME_GREET:
		f.instance = random_u64(r) | 1;
		f.knows = random_u64(r) | 1;
		/* fall through */
	case FRAME_ACK:
		for (int c = 0; c < NET_CLASSES; c++)
			f.acks[c] = random_u64(r);
		break;
	case FRAME_DATA:
		f.class = (enum net_class)random_below(r, NET_CLASSES);
		f.seq = random_u64(r) | 1;
		f.ack = random_u64(r);
		f.payload = slice_of(payload, random_below(r, 65));
		break;
	case FRAME_PING:
	case FRAME_PONG:
		f.number = random_u64(r) | 1;
		if (f.kind == FRAME_PONG)
			f.wall_ms = random_u64(r) >> 1;
		break;
	}
	return f;
}

static void assert_same(const struct frame *a, const struct frame *b)
{
	must(a->kind == b->kind);
	must(a->class == b->class);
	must(a->seq == b->seq);
	must(a->ack == b->ack);
	must(a->instance == b->instance);
	must(a->knows == b->knows);
	must(a->number == b->number);
	for (int c = 0; c < NET_CLASSES; c++)
		must(a->acks[c] == b->acks[c]);
	must(slice_equal(a->payload, b->payload));
	must(a->wall_ms == b->wall_ms);
}

/* Whatever decodes encodes to the same bytes. */
static void assert_canonical(struct slice in)
{
	struct writer w = {0};
	struct frame f;

	if (frame_decode(&f, in) != ERR_NONE)
		return;
	frame_encode(&w, &f);
	must(slice_equal(writer_slice(&w), in));
	writer_free(&w);
}

START_TEST(frames_round_trip)
{
	struct random r;
	uint8_t payload[64];
	struct frame f, g;

	random_seed(&r, 1);
	for (int i = 0; i < 2000; i++) {
		struct writer w = {0};

		f = random_frame(&r, payload);
		frame_encode(&w, &f);
		ck_assert_int_eq(frame_decode(&g, writer_slice(&w)), ERR_NONE);
		assert_same(&f, &g);
		for (size_t len = 0; len < w.len; len++) {
			int rc = frame_decode(&g, slice_of(w.buf, len));

			if (f.kind == FRAME_DATA && len >= FRAME_DATA_HEADER)
				must(rc == ERR_NONE); /* a shorter message */
			else
				must(rc == ERR_TRUNCATED);
		}
		if (f.kind != FRAME_DATA) {
			writer_u8(&w, 0);
			ck_assert_int_eq(frame_decode(&g, writer_slice(&w)), ERR_TRAILING);
			w.len--;
		}
		for (size_t bit = 0; bit < 8 * w.len; bit++) {
			w.buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_canonical(writer_slice(&w));
			w.buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		writer_free(&w);
	}
}
END_TEST

static int decode_patched(const struct frame *f, size_t at, const uint8_t *bytes, size_t len)
{
	struct writer w = {0};
	struct frame out;

	frame_encode(&w, f);
	ck_assert_uint_le(at + len, w.len);
	memcpy(w.buf + at, bytes, len);
	int rc = frame_decode(&out, writer_slice(&w));
	writer_free(&w);
	return rc;
}

START_TEST(frames_refused)
{
	static const uint8_t zeros[8], ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
	struct frame data = {.kind = FRAME_DATA, .seq = 1};
	struct frame greet = {
		.kind = FRAME_GREET, .instance = 7, .knows = 8, .acks = {1, 2, 3}};
	struct frame ping = {.kind = FRAME_PING, .number = 1};
	struct frame pong = {.kind = FRAME_PONG, .number = 1, .wall_ms = 5};
	struct frame out;
	uint8_t b;

	for (int kind = 0; kind < 256; kind++) {
		b = (uint8_t)kind;
		int rc = decode_patched(&ping, 0, &b, 1);

		if (kind == FRAME_PING)
			ck_assert_int_eq(rc, ERR_NONE);
		else
			ck_assert_int_ne(rc, ERR_NONE);
		rc = decode_patched(&pong, 0, &b, 1);
		if (kind == FRAME_PONG)
			ck_assert_int_eq(rc, ERR_NONE);
		else
			ck_assert_int_ne(rc, ERR_NONE);
	}
	for (int class = 0; class < 256; class ++) {
		b = (uint8_t) class;
		ck_assert_int_eq(decode_patched(&data, 1, &b, 1),
				 class < NET_CLASSES ? ERR_NONE : ERR_RANGE);
	}
	ck_assert_int_eq(decode_patched(&data, 2, zeros, 8), ERR_RANGE); /* seq */
	ck_assert_int_eq(decode_patched(&data, 10, ones, 8), ERR_NONE);	 /* ack */
	ck_assert_int_eq(decode_patched(&greet, 1, zeros, 1), ERR_VERSION);
	b = FRAME_VERSION + 1;
	ck_assert_int_eq(decode_patched(&greet, 1, &b, 1), ERR_VERSION);
	ck_assert_int_eq(decode_patched(&greet, 2, zeros, 8), ERR_RANGE);  /* instance */
	ck_assert_int_eq(decode_patched(&greet, 10, zeros, 8), ERR_RANGE); /* knows, yet has */
	ck_assert_int_eq(decode_patched(&ping, 1, zeros, 8), ERR_RANGE);
	ck_assert_int_eq(decode_patched(&pong, 1, zeros, 8), ERR_RANGE);
	ck_assert_int_eq(frame_decode(&out, slice_of(NULL, 0)), ERR_TRUNCATED);
}
END_TEST

START_TEST(frame_limits)
{
	struct writer w = {0};
	struct frame f;
	size_t len = 0;

	writer_u8(&w, FRAME_DATA);
	writer_u8(&w, NET_BULK);
	writer_u64(&w, 1);
	writer_u64(&w, 0);
	size_t at = writer_skip(&w, NET_MESSAGE_MAX + 1);
	memset(w.buf + at, 0, NET_MESSAGE_MAX + 1);
	ck_assert_int_eq(frame_decode(&f, slice_of(w.buf, w.len)), ERR_LIMIT);
	ck_assert_int_eq(frame_decode(&f, slice_of(w.buf, w.len - 1)), ERR_NONE);
	ck_assert_uint_eq(f.payload.len, NET_MESSAGE_MAX);
	ck_assert_uint_eq(w.len - 1, FRAME_MAX);
	writer_free(&w);

	static const struct {
		uint8_t b[4];
		size_t max;
		int rc;
	} prefix[] = {
		{{0, 0, 0, 0}, 512, ERR_LIMIT},
		{{0, 0, 0, 1}, 512, 1},
		{{0, 0, 2, 0}, 512, 1},
		{{0, 0, 2, 1}, 512, ERR_LIMIT},
		{{0x80, 0, 0, 0}, 512, ERR_LIMIT},
		{{0xff, 0xff, 0xff, 0xff}, FRAME_RECORD_MAX, ERR_LIMIT},
	};
	for (size_t i = 0; i < MEM_COUNT(prefix); i++) {
		for (size_t n = 0; n < 4; n++)
			ck_assert_int_eq(
				frame_prefix(slice_of(prefix[i].b, n), prefix[i].max, &len), 0);
		ck_assert_int_eq(frame_prefix(slice_of(prefix[i].b, 4), prefix[i].max, &len),
				 prefix[i].rc);
	}
}
END_TEST

/* --- sessions --- */

static int queue(struct session *s, enum net_class class, size_t len)
{
	static const uint8_t zeros[NET_MESSAGE_MAX];

	return session_queue(s, class, message_new(slice_of(zeros, len)));
}

/* Both have met on a new connection. */
static void meet(struct session *a, struct session *b)
{
	struct frame fa, fb;

	session_greet(a, &fa);
	session_greet(b, &fb);
	ck_assert_int_eq(session_greeted(a, &fb), ERR_NONE);
	ck_assert_int_eq(session_greeted(b, &fa), ERR_NONE);
}

START_TEST(queue_limits)
{
	struct session s;

	session_init(&s, 1);
	for (int i = 0; i < NET_QUEUE_MESSAGES_MAX; i++)
		ck_assert_int_eq(queue(&s, NET_CONSENSUS, 0), ERR_NONE);
	ck_assert_int_eq(queue(&s, NET_CONSENSUS, 0), ERR_BUSY);
	for (size_t bytes = 0; bytes < NET_QUEUE_BYTES_MAX; bytes += NET_MESSAGE_MAX)
		ck_assert_int_eq(queue(&s, NET_BULK, NET_MESSAGE_MAX), ERR_NONE);
	ck_assert_int_eq(queue(&s, NET_BULK, 1), ERR_BUSY);
	ck_assert_int_eq(queue(&s, NET_BULK, 0), ERR_NONE);   /* fits to the byte */
	ck_assert_int_eq(queue(&s, NET_URGENT, 1), ERR_NONE); /* a bulkhead */
	ck_assert_uint_eq(s.dropped_messages, 2);
	size_t bytes;
	ck_assert_uint_eq(session_queued(&s, &bytes), NET_QUEUE_MESSAGES_MAX + 4 + 2);
	ck_assert_uint_eq(bytes, NET_QUEUE_BYTES_MAX + 1);
	session_free(&s);
}
END_TEST

START_TEST(lower_classes_leave_first)
{
	struct session a, b;
	struct frame f;

	session_init(&a, 1);
	session_init(&b, 2);
	ck_assert(!session_pick(&a, &f));
	ck_assert_int_eq(queue(&a, NET_BULK, 1), ERR_NONE);
	ck_assert(!session_pick(&a, &f)); /* not before the peer's GREET */
	ck_assert(!session_pending(&a));
	ck_assert_int_eq(queue(&a, NET_CONSENSUS, 2), ERR_NONE);
	ck_assert_int_eq(queue(&a, NET_URGENT, 3), ERR_NONE);
	meet(&a, &b);
	for (int class = 0; class < NET_CLASSES; class ++) {
		ck_assert(session_pending(&a));
		ck_assert(session_pick(&a, &f));
		ck_assert_int_eq(f.class, class);
		ck_assert_uint_eq(f.seq, 1);
		ck_assert_int_eq(session_receive(&b, &f), 1);
		ck_assert_int_eq(session_receive(&b, &f), 0); /* a repeat */
	}
	ck_assert(!session_pending(&a));
	ck_assert(!session_pick(&a, &f));
	session_free(&a);
	session_free(&b);
}
END_TEST

START_TEST(acknowledgements)
{
	struct session a, b;
	struct frame f, ack;
	size_t bytes;

	session_init(&a, 1);
	session_init(&b, 2);
	meet(&a, &b);
	for (int i = 1; i <= SESSION_ACK_MESSAGES; i++) {
		ck_assert(!session_ack_due(&b));
		ck_assert_int_eq(queue(&a, NET_CONSENSUS, 10), ERR_NONE);
		ck_assert(session_pick(&a, &f));
		ck_assert_int_eq(session_receive(&b, &f), 1);
		ck_assert(session_untold(&b));
	}
	ck_assert(session_ack_due(&b));
	ck_assert_uint_eq(session_queued(&a, &bytes), SESSION_ACK_MESSAGES);
	session_make_ack(&b, &ack);
	ck_assert(!session_untold(&b) && !session_ack_due(&b));
	ck_assert_int_eq(session_ack(&a, &ack), ERR_NONE);
	ck_assert_uint_eq(session_queued(&a, &bytes), 0);
	ck_assert_uint_eq(bytes, 0);

	/* by bytes */
	ck_assert_int_eq(queue(&a, NET_BULK, SESSION_ACK_BYTES), ERR_NONE);
	ck_assert(session_pick(&a, &f));
	ck_assert_int_eq(session_receive(&b, &f), 1);
	ck_assert(session_ack_due(&b));

	/* on data of the class */
	ck_assert_int_eq(queue(&b, NET_CONSENSUS, 1), ERR_NONE);
	ck_assert(session_pick(&b, &f));
	ck_assert_int_eq(session_receive(&a, &f), 1);
	ck_assert(session_untold(&b));
	ck_assert_int_eq(queue(&b, NET_BULK, 1), ERR_NONE);
	ck_assert(session_pick(&b, &f));
	ck_assert(!session_untold(&b));
	ck_assert_int_eq(session_receive(&a, &f), 1);
	ck_assert_uint_eq(session_queued(&a, &bytes), 0);
	session_free(&a);
	session_free(&b);
}
END_TEST

START_TEST(impossible_claims)
{
	struct session a, b;
	struct frame f, bad;

	session_init(&a, 1);
	session_init(&b, 2);
	f = (struct frame){.kind = FRAME_DATA, .seq = 1};
	ck_assert_int_eq(session_receive(&a, &f), ERR_RANGE); /* before GREET */
	ck_assert_int_eq(session_ack(&a, &(struct frame){.kind = FRAME_ACK}), ERR_RANGE);
	meet(&a, &b);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(queue(&a, NET_CONSENSUS, 1), ERR_NONE);
	ck_assert(session_pick(&a, &f));
	ck_assert(session_pick(&a, &f));
	bad = (struct frame){.kind = FRAME_ACK, .acks = {0, 3, 0}}; /* queued, not sent */
	ck_assert_int_eq(session_ack(&a, &bad), ERR_RANGE);
	bad.acks[1] = UINT64_MAX;
	ck_assert_int_eq(session_ack(&a, &bad), ERR_RANGE);
	bad = (struct frame){.kind = FRAME_ACK, .acks = {1, 2, 0}};
	ck_assert_int_eq(session_ack(&a, &bad), ERR_RANGE);
	ck_assert_uint_eq(a.class[1].acked, 0); /* nothing of it was believed */
	bad = (struct frame){.kind = FRAME_DATA, .class = NET_CONSENSUS, .seq = 1, .ack = 3};
	ck_assert_int_eq(session_receive(&a, &bad), ERR_RANGE);
	bad.ack = 2;
	ck_assert_int_eq(session_receive(&a, &bad), 1);
	bad.seq = 2;
	bad.ack = 1; /* less than before */
	ck_assert_int_eq(session_receive(&a, &bad), ERR_RANGE);
	bad.ack = 2;
	bad.seq = 3; /* a gap */
	ck_assert_int_eq(session_receive(&a, &bad), ERR_RANGE);
	bad.seq = UINT64_MAX;
	ck_assert_int_eq(session_receive(&a, &bad), ERR_RANGE);
	bad.seq = 2;
	ck_assert_int_eq(session_receive(&a, &bad), 1);
	struct frame greet = {
		.kind = FRAME_GREET, .instance = 2, .knows = 1, .acks = {0, 2, 0}};
	ck_assert_int_eq(session_greeted(&a, &greet), ERR_RANGE); /* twice on one connection */
	session_greet(&a, &f);
	ck_assert_uint_eq(f.acks[1], 2);
	greet.acks[1] = 1;
	ck_assert_int_eq(session_greeted(&a, &greet), ERR_RANGE); /* had acknowledged 2 */
	greet.acks[1] = 3;
	ck_assert_int_eq(session_greeted(&a, &greet), ERR_RANGE); /* not sent */
	greet.acks[1] = 2;
	ck_assert_int_eq(session_greeted(&a, &greet), ERR_NONE);
	ck_assert(session_pick(&a, &f));
	ck_assert_uint_eq(f.seq, 3);
	session_free(&a);
	session_free(&b);
}
END_TEST

START_TEST(restart_drops_only_what_went_out)
{
	struct session a, b, c;
	struct frame f;
	size_t bytes;

	session_init(&a, 1);
	session_init(&b, 2);
	session_init(&c, 3); /* b, started again */
	meet(&a, &b);
	for (size_t i = 1; i <= 3; i++)
		ck_assert_int_eq(queue(&a, NET_CONSENSUS, i), ERR_NONE);
	ck_assert(session_pick(&a, &f));
	ck_assert(session_pick(&a, &f));
	meet(&a, &c);
	ck_assert_uint_eq(session_queued(&a, &bytes), 1);
	ck_assert_uint_eq(bytes, 3);
	ck_assert(session_pick(&a, &f));
	ck_assert_uint_eq(f.seq, 1);
	ck_assert_uint_eq(f.payload.len, 3);
	ck_assert_int_eq(session_receive(&c, &f), 1);
	ck_assert_uint_eq(a.sent_messages, 3);
	ck_assert_uint_eq(a.resent_messages, 0);
	session_free(&a);
	session_free(&b);
	session_free(&c);
}
END_TEST

/* --- model --- */

#define WIRE_MAX     64
#define MESSAGES_MAX 4096

struct wire {
	uint8_t *frame[WIRE_MAX];
	size_t len[WIRE_MAX];
	size_t count;
};
struct connection {
	struct wire from[2];
};
/* What became of each message of a side. */
struct fate {
	enum net_class class;
	uint64_t sender, receiver; /* instances: when queued; for whom first sent */
	bool sent, delivered;
};
struct world {
	struct random random;
	struct session session[2];
	uint64_t instances;
	struct connection connection[2]; /* newest and the one before */
	int newest;
	int at[2];   /* which one each side uses; -1: none */
	bool joined; /* side 1 has been on the newest: a connection is used once */
	struct fate fate[2][MESSAGES_MAX];
	unsigned queued[2];
	int64_t last[2][NET_CLASSES]; /* newest of the side's messages delivered */
	unsigned restarts, reconnects, deliveries;
};

static void wire_clear(struct wire *w)
{
	for (size_t i = 0; i < w->count; i++)
		mem_free(w->frame[i]);
	w->count = 0;
}

static bool wire_put(struct wire *w, const struct frame *f)
{
	struct writer out = {0};

	if (w->count == WIRE_MAX)
		return false;
	frame_encode(&out, f);
	w->frame[w->count] = writer_take(&out, &w->len[w->count]);
	w->count++;
	return true;
}

static void use(struct world *w, int side, int connection)
{
	struct frame f;

	w->at[side] = connection;
	if (side == 1)
		w->joined = true;
	session_greet(&w->session[side], &f);
	must(wire_put(&w->connection[connection].from[side], &f));
}

/* Side 0 dials: it leaves the old connection before it makes a new one. Side 1 may go on
 * reading the old one until it notices. */
static void reconnect(struct world *w)
{
	if (w->at[1] != w->newest && w->at[1] >= 0)
		w->at[1] = -1; /* the one before is forgotten */
	w->newest = 1 - w->newest;
	for (int i = 0; i < 2; i++)
		wire_clear(&w->connection[w->newest].from[i]);
	if (w->at[1] == w->newest)
		w->at[1] = -1;
	w->joined = false;
	use(w, 0, w->newest);
	w->reconnects++;
}

static void restart(struct world *w, int side)
{
	session_free(&w->session[side]);
	session_init(&w->session[side], ++w->instances);
	w->restarts++;
	w->at[side] = -1;
	if (side == 0)
		reconnect(w);
}

static void model_queue(struct world *w, int side)
{
	unsigned id = w->queued[side];
	uint8_t msg[4] = {(uint8_t)(id >> 8), (uint8_t)id, 0, 0};
	enum net_class class = (enum net_class)random_below(&w->random, NET_CLASSES);

	if (id == MESSAGES_MAX)
		return;
	ck_assert_int_eq(session_queue(&w->session[side], class, message_new(slice_of(msg, 4))),
			 ERR_NONE);
	w->fate[side][id] = (struct fate){.class = class, .sender = w->session[side].instance};
	w->queued[side]++;
}

static unsigned id_of(const struct frame *f)
{
	must(f->payload.len == 4);
	return (unsigned)f->payload.ptr[0] << 8 | f->payload.ptr[1];
}

static void model_send(struct world *w, int side, bool always_ack)
{
	struct session *s = &w->session[side];
	struct frame f;

	if (w->at[side] < 0)
		return;
	struct wire *wire = &w->connection[w->at[side]].from[side];
	if (wire->count == WIRE_MAX)
		return;
	if (session_pick(s, &f)) {
		struct fate *fate = &w->fate[side][id_of(&f)];

		if (!fate->sent)
			fate->receiver = s->peer;
		fate->sent = true;
		must(wire_put(wire, &f));
	} else if (session_untold(s) && (always_ack || random_chance(&w->random, 1, 4))) {
		session_make_ack(s, &f);
		must(wire_put(wire, &f));
	}
}

static void delivered(struct world *w, int from, const struct frame *f)
{
	unsigned id = id_of(f);
	struct fate *fate = &w->fate[from][id];

	must(id < w->queued[from]);
	must(fate->class == f->class);
	must(!fate->delivered); /* at most once, whoever restarts */
	must((int64_t)id > w->last[from][f->class]);
	w->last[from][f->class] = id;
	fate->delivered = true;
	w->deliveries++;
}

static void model_receive(struct world *w, int side)
{
	struct session *s = &w->session[side];
	struct frame f;
	int rc = ERR_NONE;

	if (w->at[side] < 0)
		return;
	struct wire *wire = &w->connection[w->at[side]].from[1 - side];
	if (wire->count == 0)
		return;
	must(frame_decode(&f, slice_of(wire->frame[0], wire->len[0])) == ERR_NONE);
	switch (f.kind) {
	case FRAME_GREET:
		rc = session_greeted(s, &f);
		break;
	case FRAME_DATA:
		rc = session_receive(s, &f);
		if (rc == 1)
			delivered(w, 1 - side, &f);
		break;
	case FRAME_ACK:
		rc = session_ack(s, &f);
		break;
	case FRAME_PING:
	case FRAME_PONG:
		ck_abort();
	}
	must(rc >= 0);
	mem_free(wire->frame[0]);
	wire->count--;
	memmove(wire->frame, wire->frame + 1, wire->count * sizeof(wire->frame[0]));
	memmove(wire->len, wire->len + 1, wire->count * sizeof(wire->len[0]));
}

static void model_step(struct world *w, unsigned restart_weight)
{
	int side = (int)random_below(&w->random, 2);
	unsigned pick = (unsigned)random_below(&w->random, 1000);

	if (pick < 300)
		model_queue(w, side);
	else if (pick < 600)
		model_send(w, side, false);
	else if (pick < 900)
		model_receive(w, side);
	else if (pick < 960 && !w->joined)
		use(w, 1, w->newest);
	else if (pick < 975)
		reconnect(w);
	else if (pick < 975 + restart_weight)
		restart(w, side);
}

static bool may_be_lost(const struct world *w, int side, const struct fate *f)
{
	return f->sender != w->session[side].instance ||
	       (f->sent && f->receiver != w->session[1 - side].instance);
}

static void model_run(uint64_t seed, unsigned restart_weight, unsigned *lost)
{
	struct world *w = mem_zalloc(sizeof(*w));

	random_seed(&w->random, seed);
	for (int i = 0; i < 2; i++) {
		session_init(&w->session[i], ++w->instances);
		w->at[i] = -1;
		for (int c = 0; c < NET_CLASSES; c++)
			w->last[i][c] = -1;
	}
	reconnect(w);
	for (int i = 0; i < 6000; i++)
		model_step(w, restart_weight);
	/* all heals */
	reconnect(w);
	use(w, 1, w->newest);
	for (int i = 0; i < 20000; i++) {
		model_send(w, i % 2, true);
		model_receive(w, i % 2);
	}
	for (int side = 0; side < 2; side++) {
		size_t bytes;

		for (unsigned id = 0; id < w->queued[side]; id++) {
			const struct fate *f = &w->fate[side][id];

			if (!f->delivered) {
				must(may_be_lost(w, side, f));
				++*lost;
			}
		}
		must(session_queued(&w->session[side], &bytes) == 0);
		session_free(&w->session[side]);
		wire_clear(&w->connection[0].from[side]);
		wire_clear(&w->connection[1].from[side]);
	}
	must(w->reconnects > 20);
	must(w->deliveries > 100);
	mem_free(w);
}

START_TEST(model_without_restarts_loses_nothing)
{
	unsigned lost = 0;

	for (uint64_t seed = 0; seed < 300; seed++)
		model_run(seed, 0, &lost);
	must(lost == 0);
}
END_TEST

START_TEST(model_with_restarts)
{
	unsigned lost = 0;

	for (uint64_t seed = 0; seed < 600; seed++)
		model_run(seed, 1 + (unsigned)seed % 20, &lost);
	must(lost > 0); /* the model does restart with messages under way */
}
END_TEST

static Suite *session_suite(void)
{
	Suite *s = suite_create("session");
	TCase *t = tcase_create("frames");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, frames_round_trip);
	tcase_add_test(t, frames_refused);
	tcase_add_test(t, frame_limits);
	suite_add_tcase(s, t);
	t = tcase_create("sessions");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, queue_limits);
	tcase_add_test(t, lower_classes_leave_first);
	tcase_add_test(t, acknowledgements);
	tcase_add_test(t, impossible_claims);
	tcase_add_test(t, restart_drops_only_what_went_out);
	tcase_add_test(t, model_without_restarts_loses_nothing);
	tcase_add_test(t, model_with_restarts);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	SRunner *r = srunner_create(session_suite());

	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
