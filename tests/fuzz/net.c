/* What a peer's connection carries: frames, the sessions behind them, the handshake before. */
#include "crypto/channel.h"
#include "net/session.h"
#include "tests/fuzz/targets.h"

/* ---- frames ------------------------------------------------------------------------------ */

static void frame_one(struct slice in)
{
	struct frame f;
	size_t len = 0;
	int got = frame_prefix(in, FRAME_RECORD_MAX, &len);
	invariant(got <= 1 && (got != 1 || (len > 0 && len <= FRAME_RECORD_MAX)));
	if (frame_decode(&f, in))
		return;
	struct writer again = {0};
	frame_encode(&again, &f);
	invariant(slice_equal(writer_slice(&again), in));
	writer_free(&again);
}

static void frame_seeds(struct fuzz_seeds *out)
{
	struct frame frames[] = {
		{.kind = FRAME_GREET, .instance = 7, .knows = 9, .acks = {1, 2, 3}},
		{.kind = FRAME_DATA,
		 .class = NET_CONSENSUS,
		 .seq = 5,
		 .ack = 4,
		 .payload = slice_str("payload")},
		{.kind = FRAME_ACK, .acks = {3, 4, 5}},
		{.kind = FRAME_PING, .number = 1},
		{.kind = FRAME_PONG, .number = 1},
	};
	for (unsigned i = 0; i < MEM_COUNT(frames); i++) {
		struct writer w = {0};
		frame_encode(&w, &frames[i]);
		fuzz_seed(out, writer_slice(&w));
		writer_free(&w);
	}
}

const struct fuzz_target fuzz_frame = {.name = "frame",
				       .shape = FUZZ_BYTES,
				       .size_max = 512,
				       .runs = 50000,
				       .one = frame_one,
				       .seeds = frame_seeds};

/* ---- sessions: two of them, and connections that break ----------------------------------- */

enum {
	DO_SEND,      /* u8 side, u8 class, bytes */
	DO_MOVE,      /* u8 side: its next frame goes over, whole and in order */
	DO_ACK,	      /* u8 side */
	DO_RECONNECT, /* both greet */
	DO_RESTART,   /* u8 side: a new instance */
	DO_HOSTILE,   /* u8 side, an encoded frame: on a session apart */
	DO_KINDS
};

struct ends {
	struct session side[2], victim;
	uint64_t instances;
	uint64_t queued[2][NET_CLASSES], received[2][NET_CLASSES]; /* serial numbers */
	bool connected, victim_broken;
};

static void connect_ends(struct ends *e)
{
	struct frame a, b;
	session_greet(&e->side[0], &a);
	session_greet(&e->side[1], &b);
	invariant(session_greeted(&e->side[0], &b) == ERR_NONE);
	invariant(session_greeted(&e->side[1], &a) == ERR_NONE);
	e->connected = true;
}

static void send_one(struct ends *e, unsigned side, unsigned class, size_t size)
{
	uint8_t payload[8 + 255] = {0};
	store_be64(payload, ++e->queued[side][class]);
	session_queue(&e->side[side], class, message_new(slice_of(payload, 8 + size)));
}

/* At most once and in order, whatever happened before. */
static void move_one(struct ends *e, unsigned side)
{
	struct frame f;
	if (!e->connected || !session_pick(&e->side[side], &f))
		return;
	struct writer bytes = {0};
	struct frame got;
	frame_encode(&bytes, &f);
	invariant(frame_decode(&got, writer_slice(&bytes)) == ERR_NONE);
	int deliver = session_receive(&e->side[1 - side], &got);
	invariant(deliver >= 0);
	if (deliver) {
		uint64_t serial = load_be64(got.payload.ptr);
		uint64_t *last = &e->received[1 - side][got.class];
		invariant(serial > *last);
		*last = serial;
	}
	writer_free(&bytes);
}

static void hostile_frame(struct ends *e, struct reader *r)
{
	struct frame f;
	if (e->victim_broken || frame_decode(&f, slice_of(r->ptr, r->left)))
		return;
	int err = 0;
	if (f.kind == FRAME_GREET)
		err = session_greeted(&e->victim, &f);
	else if (e->victim.greeted && f.kind == FRAME_DATA)
		err = session_receive(&e->victim, &f);
	else if (e->victim.greeted && f.kind == FRAME_ACK)
		err = session_ack(&e->victim, &f);
	e->victim_broken = err < 0;
	struct frame out;
	session_queue(&e->victim, f.class % NET_CLASSES, message_new(slice_str("x")));
	session_pick(&e->victim, &out);
	if (session_untold(&e->victim))
		session_make_ack(&e->victim, &out);
	size_t bytes;
	invariant(session_queued(&e->victim, &bytes) <= NET_CLASSES * NET_QUEUE_MESSAGES_MAX);
}

static void restart(struct ends *e, unsigned side)
{
	session_free(&e->side[side]);
	session_init(&e->side[side], ++e->instances);
	e->connected = false;
}

static void session_op(struct ends *e, uint8_t op, struct slice payload)
{
	struct reader r;
	struct frame f;
	reader_init(&r, payload);
	unsigned side = op % DO_KINDS == DO_HOSTILE ? 0 : reader_u8(&r) & 1;
	switch (op % DO_KINDS) {
	case DO_SEND:
		send_one(e, side, reader_u8(&r) % NET_CLASSES, payload.len % 256);
		break;
	case DO_MOVE:
		move_one(e, side);
		break;
	case DO_ACK:
		if (e->connected && session_untold(&e->side[side])) {
			session_make_ack(&e->side[side], &f);
			invariant(session_ack(&e->side[1 - side], &f) == ERR_NONE);
		}
		break;
	case DO_RECONNECT:
		connect_ends(e);
		break;
	case DO_RESTART:
		restart(e, side);
		break;
	default:
		hostile_frame(e, &r);
	}
}

static void session_one(struct slice in)
{
	struct ends *e = mem_zalloc(sizeof *e);
	struct reader r;
	struct slice payload;
	struct frame greet;
	uint8_t op;
	for (unsigned side = 0; side < 2; side++)
		session_init(&e->side[side], ++e->instances);
	session_init(&e->victim, ++e->instances);
	session_greet(&e->victim, &greet);
	reader_init(&r, in);
	while (fuzz_next_op(&r, &op, &payload))
		session_op(e, op, payload);
	session_free(&e->side[0]);
	session_free(&e->side[1]);
	session_free(&e->victim);
	mem_free(e);
}

static void session_seeds(struct fuzz_seeds *out)
{
	struct writer w = {0}, frame = {0};
	for (unsigned i = 0; i < 24; i++) {
		static const uint8_t order[] = {DO_RECONNECT, DO_SEND, DO_SEND, DO_MOVE,
						DO_MOVE,      DO_ACK,  DO_SEND, DO_RESTART};
		uint8_t args[2] = {(uint8_t)(i / 3), (uint8_t)i};
		fuzz_op(&w, order[i % 8], slice_of(args, 2));
		if (i % 8 == 7)
			fuzz_seed(out, writer_slice(&w));
	}
	writer_reset(&w);
	struct frame hostile[] = {
		{.kind = FRAME_GREET, .instance = 77, .knows = 3, .acks = {0, 0, 0}},
		{.kind = FRAME_DATA, .class = NET_BULK, .seq = 1, .payload = slice_str("p")},
		{.kind = FRAME_DATA, .class = NET_BULK, .seq = 2, .ack = 1, .payload = slice_str("p")},
		{.kind = FRAME_ACK, .acks = {1, 0, 1}},
	};
	for (unsigned i = 0; i < MEM_COUNT(hostile); i++) {
		writer_reset(&frame);
		frame_encode(&frame, &hostile[i]);
		fuzz_op(&w, DO_HOSTILE, writer_slice(&frame));
	}
	fuzz_seed(out, writer_slice(&w));
	writer_free(&w);
	writer_free(&frame);
}

const struct fuzz_target fuzz_session = {.name = "session",
					 .shape = FUZZ_OPS,
					 .size_max = 4096,
					 .runs = 20000,
					 .one = session_one,
					 .seeds = session_seeds};

/* ---- the handshake: a man in the middle, or a hostile peer ------------------------------- */

/* Each op is one message under way: u8 what happens to it, then bytes.
 * 0 it passes; 1 it is replaced by the bytes; 2 the bytes are XORed over it; 3 it is cut off */
static struct slice tamper(struct reader *ops, struct writer *m, bool *changed)
{
	uint8_t how;
	struct slice with;
	if (!fuzz_next_op(ops, &how, &with))
		return writer_slice(m);
	struct writer before = {0};
	writer_raw(&before, m->buf, m->len);
	switch (how % 4) {
	case 1:
		writer_reset(m);
		writer_raw(m, with.ptr, with.len);
		break;
	case 2:
		for (size_t i = 0; i < with.len && i < m->len; i++)
			m->buf[i] ^= with.ptr[i];
		break;
	case 3:
		m->len = with.len < m->len ? with.len : m->len;
		break;
	default:
		break;
	}
	*changed = *changed || !slice_equal(writer_slice(&before), writer_slice(m));
	writer_free(&before);
	return writer_slice(m);
}

static void records(struct channel *from, struct channel *to, struct reader *ops)
{
	struct writer sealed = {0};
	bool changed = false;
	for (int i = 0; i < 4; i++) {
		struct slice got;
		writer_reset(&sealed);
		channel_seal(from, slice_str("record"), &sealed);
		tamper(ops, &sealed, &changed);
		int err = channel_open(to, sealed.buf, sealed.len, &got);
		invariant(changed ? err != ERR_NONE
				  : err == ERR_NONE && slice_equal(got, slice_str("record")));
	}
	writer_free(&sealed);
}

static void handshake_one(struct slice in)
{
	uint8_t seed[2][32] = {{1}, {2}};
	struct keypair key[2];
	struct hash chain = {{3}};
	struct reader ops;
	struct writer hello = {0}, reply = {0}, finish = {0}, none = {0};
	bool changed = false;
	reader_init(&ops, in);
	for (int i = 0; i < 2; i++)
		keypair_from_seed(&key[i], seed[i]);
	struct channel *a = channel_new(CHANNEL_INITIATOR, &key[0], &chain, &key[1].pub);
	struct channel *b = channel_new(CHANNEL_RESPONDER, &key[1], &chain, NULL);
	int a_done = channel_handshake(a, slice_of(NULL, 0), &hello), b_done = ERR_CLOSED;
	invariant(a_done == 0 && hello.len == CHANNEL_HELLO_SIZE);
	if (channel_handshake(b, tamper(&ops, &hello, &changed), &reply) == 0) {
		invariant(reply.len <= CHANNEL_HANDSHAKE_MAX);
		a_done = channel_handshake(a, tamper(&ops, &reply, &changed), &finish);
		invariant(!changed || a_done < 0);
		if (a_done == 1)
			b_done = channel_handshake(b, tamper(&ops, &finish, &changed), &none);
		invariant(!changed || b_done < 0);
	}
	if (a_done == 1 && b_done == 1) {
		invariant(pubkey_equal(channel_peer(a), &key[1].pub));
		invariant(pubkey_equal(channel_peer(b), &key[0].pub));
		records(a, b, &ops);
		records(b, a, &ops);
	}
	channel_free(a);
	channel_free(b);
	writer_free(&hello);
	writer_free(&reply);
	writer_free(&finish);
	writer_free(&none);
}

static void handshake_seeds(struct fuzz_seeds *out)
{
	struct writer w = {0};
	for (uint8_t at = 0; at < 6; at++) {
		for (uint8_t how = 1; how < 4; how++) {
			writer_reset(&w);
			for (uint8_t i = 0; i < at; i++)
				fuzz_op(&w, 0, slice_of(NULL, 0));
			fuzz_op(&w, how, slice_str("\1\0\0\2\3\4\5\6"));
			fuzz_seed(out, writer_slice(&w));
		}
	}
	writer_free(&w);
}

const struct fuzz_target fuzz_handshake = {.name = "handshake",
					   .shape = FUZZ_OPS,
					   .size_max = 1024,
					   .runs = 1000,
					   .one = handshake_one,
					   .seeds = handshake_seeds};
