/* The messages of state sync: docs/wire-format.md. */
#include "replica/private.h"

bool sync_is_message(struct slice bytes)
{
	return bytes.len > 0 && engine_message_is_sync(bytes.ptr[0]);
}

static void offer_encode(struct writer *w, const struct sync_msg *m)
{
	writer_u64(w, m->blocks_from);
	writer_u32(w, m->header.count);
	for (uint32_t i = 0; i < m->header.count; i++)
		signed_header_encode(w, &m->header.headers[i]);
	cert_encode(w, &m->header.cert);
	writer_u8(w, m->has_stable);
	if (m->has_stable)
		cert_encode(w, &m->stable);
}

void sync_encode(struct writer *w, const struct sync_msg *m)
{
	writer_u8(w, (uint8_t)m->type);
	writer_u64(w, m->height);
	switch (m->type) {
	case SYNC_ASK:
		writer_u64(w, m->above);
		break;
	case SYNC_OFFER:
		offer_encode(w, m);
		break;
	case SYNC_GET:
	case SYNC_GONE:
		writer_hash(w, &m->from);
		writer_hash(w, &m->to);
		break;
	case SYNC_RANGE:
		writer_hash(w, &m->from);
		writer_hash(w, &m->to);
		writer_raw(w, m->range.ptr, m->range.len);
		break;
	case SYNC_GET_BLOCKS:
		writer_hash(w, &m->from);
		break;
	case SYNC_BLOCKS:
		writer_hash(w, &m->from);
		writer_u32(w, m->count);
		for (uint32_t i = 0; i < m->count; i++)
			block_encode(w, m->blocks[i]);
		break;
	case SYNC_HANDOVERS:
		writer_u32(w, m->handover_count);
		for (uint32_t i = 0; i < m->handover_count; i++)
			handover_encode(w, &m->handovers[i]);
		break;
	}
}

static void offer_decode(struct reader *r, struct sync_msg *out)
{
	struct certified_header *c = &out->header;
	out->blocks_from = reader_u64(r);
	uint32_t count = reader_count(r, SYNC_HEADERS_MAX, SIGNED_HEADER_SIZE);
	if (!r->err && count == 0)
		reader_fail(r, ERR_RANGE);
	if (r->err)
		return;
	c->headers = mem_array(count, sizeof *c->headers);
	c->count = count;
	for (uint32_t i = 0; i < count; i++)
		signed_header_decode(r, &c->headers[i]);
	cert_decode(r, &c->cert);
	out->has_stable = reader_bool(r);
	if (out->has_stable)
		cert_decode(r, &out->stable);
	if (!r->err && c->headers[0].h.height != out->height)
		reader_fail(r, ERR_NONCANONICAL);
}

static void blocks_decode(struct reader *r, struct sync_msg *out)
{
	uint32_t count = reader_count(r, SYNC_BLOCKS_MAX, SIGNED_HEADER_SIZE);
	if (!r->err && count == 0)
		reader_fail(r, ERR_RANGE);
	while (out->count < count && !r->err) {
		int err = block_decode(r, &out->blocks[out->count]);
		if (err)
			reader_fail(r, err);
		else
			out->count++;
	}
}

static void handovers_decode(struct reader *r, struct sync_msg *out)
{
	uint32_t count = reader_count(r, SYNC_HANDOVERS_MAX, SIGNED_HEADER_SIZE);
	if (!r->err && (count == 0 || out->height == 0))
		reader_fail(r, ERR_RANGE);
	if (r->err)
		return;
	out->handovers = mem_array(count, sizeof *out->handovers);
	while (out->handover_count < count && !r->err)
		handover_decode(r, &out->handovers[out->handover_count++]);
}

bool sync_is_answer(struct slice bytes)
{
	if (!sync_is_message(bytes))
		return false;
	uint8_t type = bytes.ptr[0];
	return type != SYNC_ASK && type != SYNC_GET && type != SYNC_GET_BLOCKS;
}

int sync_decode(struct sync_msg *out, struct slice bytes)
{
	struct reader r;
	*out = (struct sync_msg){0};
	reader_init(&r, bytes);
	uint8_t type = reader_u8(&r);
	out->height = reader_u64(&r);
	if (r.err)
		return r.err;
	if (type < SYNC_ASK || type > SYNC_HANDOVERS)
		return ERR_RANGE;
	out->type = (enum sync_type)type;
	switch (out->type) {
	case SYNC_ASK:
		out->above = reader_u64(&r);
		break;
	case SYNC_OFFER:
		offer_decode(&r, out);
		break;
	case SYNC_GET:
	case SYNC_GONE:
		reader_hash(&r, &out->from);
		reader_hash(&r, &out->to);
		break;
	case SYNC_RANGE:
		reader_hash(&r, &out->from);
		reader_hash(&r, &out->to);
		out->range = reader_take(&r, r.left);
		break;
	case SYNC_GET_BLOCKS:
		reader_hash(&r, &out->from);
		break;
	case SYNC_BLOCKS:
		reader_hash(&r, &out->from);
		blocks_decode(&r, out);
		break;
	case SYNC_HANDOVERS:
		handovers_decode(&r, out);
		break;
	}
	return reader_finish(&r);
}

void sync_msg_free(struct sync_msg *m)
{
	certified_header_free(&m->header);
	for (uint32_t i = 0; i < m->count; i++)
		block_drop(m->blocks[i]);
	m->count = 0;
	while (m->handover_count)
		handover_free(&m->handovers[--m->handover_count]);
	mem_free(m->handovers);
	m->handovers = NULL;
}
