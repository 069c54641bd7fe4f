#include "net/frame.h"

#include "base/mem.h"

void frame_encode(struct writer *w, const struct frame *f)
{
	writer_u8(w, (uint8_t)f->kind);
	switch (f->kind) {
	case FRAME_GREET:
		writer_u8(w, FRAME_VERSION);
		writer_u64(w, f->instance);
		writer_u64(w, f->knows);
		for (int c = 0; c < NET_CLASSES; c++)
			writer_u64(w, f->acks[c]);
		return;
	case FRAME_DATA:
		invariant(f->payload.len <= NET_MESSAGE_MAX);
		writer_u8(w, (uint8_t)f->class);
		writer_u64(w, f->seq);
		writer_u64(w, f->ack);
		writer_raw(w, f->payload.ptr, f->payload.len);
		return;
	case FRAME_ACK:
		for (int c = 0; c < NET_CLASSES; c++)
			writer_u64(w, f->acks[c]);
		return;
	case FRAME_PING:
		writer_u64(w, f->number);
		return;
	case FRAME_PONG:
		writer_u64(w, f->number);
		writer_u64(w, f->wall_ms);
		return;
	}
	invariant(!"frame kind");
}

static void decode_data(struct reader *r, struct frame *out)
{
	uint8_t class = reader_u8(r);

	if (class >= NET_CLASSES)
		reader_fail(r, ERR_RANGE);
	out->class = class < NET_CLASSES ? (enum net_class) class : NET_URGENT;
	out->seq = reader_u64(r);
	out->ack = reader_u64(r);
	if (out->seq == 0)
		reader_fail(r, ERR_RANGE);
	if (r->left > NET_MESSAGE_MAX)
		reader_fail(r, ERR_LIMIT);
	if (r->err == ERR_NONE)
		out->payload = reader_take(r, r->left);
}

static void decode_greet(struct reader *r, struct frame *out)
{
	uint8_t version = reader_u8(r);

	if (version != FRAME_VERSION)
		reader_fail(r, ERR_VERSION);
	out->instance = reader_u64(r);
	out->knows = reader_u64(r);
	for (int c = 0; c < NET_CLASSES; c++) {
		out->acks[c] = reader_u64(r);
		/* who knows nobody has nothing of his */
		if (out->knows == 0 && out->acks[c] != 0)
			reader_fail(r, ERR_RANGE);
	}
	if (out->instance == 0)
		reader_fail(r, ERR_RANGE);
}

int frame_decode(struct frame *out, struct slice in)
{
	struct reader r;

	*out = (struct frame){0};
	reader_init(&r, in);
	uint8_t kind = reader_u8(&r);
	out->kind = (enum frame_kind)kind;
	switch (kind) {
	case FRAME_GREET:
		decode_greet(&r, out);
		break;
	case FRAME_DATA:
		decode_data(&r, out);
		break;
	case FRAME_ACK:
		for (int c = 0; c < NET_CLASSES; c++)
			out->acks[c] = reader_u64(&r);
		break;
	case FRAME_PING:
	case FRAME_PONG:
		out->number = reader_u64(&r);
		if (out->number == 0)
			reader_fail(&r, ERR_RANGE);
		if (kind == FRAME_PONG)
			out->wall_ms = reader_u64(&r);
		if (out->wall_ms > INT64_MAX)
			reader_fail(&r, ERR_RANGE);
		break;
	default:
		reader_fail(&r, ERR_RANGE);
	}
	return reader_finish(&r);
}

int frame_prefix(struct slice in, size_t max, size_t *len)
{
	struct reader r;

	if (in.len < FRAME_PREFIX_SIZE)
		return 0;
	reader_init(&r, in);
	uint32_t n = reader_u32(&r);
	if (n == 0 || n > max)
		return ERR_LIMIT;
	*len = n;
	return 1;
}
