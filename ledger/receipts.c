#include "ledger/receipts.h"

#include "base/mem.h"

#define ENTRY_MIN (1 + HASH_SIZE)

void certified_header_encode(struct writer *w, const struct certified_header *c)
{
	writer_u32(w, c->count);
	for (uint32_t i = 0; i < c->count; i++)
		signed_header_encode(w, &c->headers[i]);
	cert_encode(w, &c->cert);
}

int certified_header_decode(struct slice bytes, struct certified_header *out)
{
	struct reader r;
	*out = (struct certified_header){0};
	reader_init(&r, bytes);
	out->count = reader_count(&r, CERTIFIED_HEADERS_MAX, SIGNED_HEADER_SIZE);
	if (!r.err && out->count == 0)
		reader_fail(&r, ERR_RANGE);
	if (r.err)
		return r.err;
	out->headers = mem_array(out->count, sizeof(*out->headers));
	for (uint32_t i = 0; i < out->count; i++)
		signed_header_decode(&r, &out->headers[i]);
	cert_decode_stored(&r, &out->cert);
	int err = reader_finish(&r);
	if (err)
		certified_header_free(out);
	return err;
}

void receipt_entry_encode(struct writer *w, const struct receipt_entry *e)
{
	writer_u8(w, (uint8_t)e->status);
	writer_hash(w, &e->id);
	switch (e->status) {
	case RECEIPT_COMMITTED:
		writer_u32(w, e->chain);
		if (e->chain == RECEIPTS_NO_CHAIN)
			writer_u64(w, e->height);
		writer_u8(w, (uint8_t)e->result);
		if (e->chain != RECEIPTS_NO_CHAIN)
			merkle_path_encode(w, &e->path);
		return;
	case RECEIPT_ACCEPTED:
	case RECEIPT_PENDING:
		return;
	case RECEIPT_REFUSED:
	case RECEIPT_BUSY:
		writer_var(w, e->code);
		writer_var(w, e->detail);
		writer_var(w, e->hint);
		return;
	}
	invariant(!"a receipt's status");
}

int receipts_open(struct receipts *a, struct slice bytes)
{
	*a = (struct receipts){0};
	reader_init(&a->r, bytes);
	if (reader_u8(&a->r) != RECEIPTS_VERSION)
		reader_fail(&a->r, ERR_VERSION);
	a->chain_count = reader_count(&a->r, RECEIPTS_MAX, 4);
	if (a->r.err)
		return a->r.err;
	a->chains = mem_array(a->chain_count + 1, sizeof(*a->chains));
	for (uint32_t i = 0; i < a->chain_count; i++)
		a->chains[i] = reader_var(&a->r, RECEIPTS_CHAIN_MAX);
	a->left = reader_count(&a->r, RECEIPTS_MAX, ENTRY_MIN);
	if (a->r.err)
		receipts_close(a);
	return a->r.err;
}

void receipts_close(struct receipts *a)
{
	mem_free(a->chains);
	a->chains = NULL;
}

static void read_committed(struct receipts *a, struct receipt_entry *out)
{
	out->chain = reader_u32(&a->r);
	bool proven = out->chain != RECEIPTS_NO_CHAIN;
	if (proven && out->chain >= a->chain_count)
		reader_fail(&a->r, ERR_RANGE);
	if (!proven)
		out->height = reader_u64(&a->r);
	uint8_t result = reader_u8(&a->r);
	if (result > TX_FAILED_NOT_FOUND) {
		reader_fail(&a->r, ERR_RANGE);
		result = TX_OK;
	}
	out->result = (enum tx_result)result;
	if (proven)
		merkle_path_decode(&a->r, &out->path);
}

int receipts_next(struct receipts *a, struct receipt_entry *out)
{
	if (a->left == 0)
		return a->r.err || a->r.left ? ERR_TRAILING : ERR_NOT_FOUND;
	a->left--;
	*out = (struct receipt_entry){.chain = RECEIPTS_NO_CHAIN};
	uint8_t status = reader_u8(&a->r);
	reader_hash(&a->r, &out->id);
	if (!a->r.err && (status < RECEIPT_COMMITTED || status > RECEIPT_BUSY))
		reader_fail(&a->r, ERR_RANGE);
	if (a->r.err)
		return a->r.err;
	out->status = (enum receipt_status)status;
	if (out->status == RECEIPT_COMMITTED)
		read_committed(a, out);
	if (out->status == RECEIPT_REFUSED || out->status == RECEIPT_BUSY) {
		out->code = reader_var(&a->r, RECEIPTS_TEXT_MAX);
		out->detail = reader_var(&a->r, RECEIPTS_TEXT_MAX);
		out->hint = reader_var(&a->r, RECEIPTS_TEXT_MAX);
	}
	return a->r.err;
}
