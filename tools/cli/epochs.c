/* Who the validators were when: what a client knows by handovers, from the genesis file on. */
#include <stdlib.h>

#include "base/mem.h"
#include "chain/epoch.h"
#include "tools/cli/client.h"

#define EPOCHS_MAX 100000 /* that a lying node can make us keep */

/* t->lock is held, or t is nobody else's. */
static void begin(struct target *t)
{
	if (t->epoch_count > 0)
		return;
	t->epochs = mem_array(1, sizeof *t->epochs);
	t->handovers = mem_array(1, sizeof(struct json *));
	t->epochs[0] = t->ctx;
	t->handovers[0] = NULL;
	t->epoch_count = 1;
}

void target_forget_epochs(struct target *t)
{
	for (unsigned i = 0; i < t->epoch_count; i++)
		json_free(t->handovers[i]);
	mem_free(t->handovers);
	mem_free(t->epochs);
	t->epoch_count = 0;
}

void target_ctx_at(struct target *t, uint64_t height, struct chain_ctx *out)
{
	pthread_mutex_lock(&t->lock);
	begin(t);
	unsigned e = t->epoch_count - 1;
	while (e > 0 && t->epochs[e].start_height >= height)
		e--;
	*out = t->epochs[e];
	pthread_mutex_unlock(&t->lock);
}

bool target_ctx_of_epoch(struct target *t, uint64_t e, struct chain_ctx *out)
{
	pthread_mutex_lock(&t->lock);
	begin(t);
	bool known = e < t->epoch_count;
	if (known)
		*out = t->epochs[e];
	pthread_mutex_unlock(&t->lock);
	return known;
}

struct json *target_handovers(struct target *t, uint64_t height)
{
	struct chain_ctx ctx;
	target_ctx_at(t, height, &ctx);
	if (ctx.epoch == 0)
		return NULL;
	struct json *a = json_array();
	pthread_mutex_lock(&t->lock);
	for (unsigned e = 1; e <= ctx.epoch; e++)
		json_append(a, json_copy(t->handovers[e]));
	pthread_mutex_unlock(&t->lock);
	return a;
}

void target_add_handovers(struct target *t, struct json *o)
{
	uint64_t height;
	struct json *a;
	if (!target_proves(t) ||
	    json_read_u64(json_get(o, "proof"), "height", &height) != ERR_NONE)
		return;
	a = target_handovers(t, height);
	if (a != NULL)
		json_set(o, "handovers", a);
}

struct json *target_offline(struct target *t, const struct json *proof)
{
	struct json *o = json_object();
	json_set(o, "proof", json_copy(proof));
	target_add_handovers(t, o);
	if (json_get(o, "handovers") == NULL) {
		json_free(o);
		return json_copy(proof);
	}
	return o;
}

/* The handover of the next epoch. t->lock is held. */
static int take(struct target *t, const struct json *document, struct errmsg *m)
{
	struct chain_ctx next = t->epochs[t->epoch_count - 1];
	struct proof_document d;
	char *text = json_dump(document, false);
	proof_document_init(&d);
	int err = proof_document_parse(&d, slice_str(text), m);
	mem_free(text);
	if (err == ERR_NONE)
		err = proof_handover_check(&d, &t->genesis, &next, m);
	proof_document_free(&d);
	if (err != ERR_NONE)
		return err;
	size_t count = t->epoch_count + 1;
	t->epochs = mem_realloc(t->epochs, count * sizeof *t->epochs);
	t->handovers = mem_realloc(t->handovers, count * sizeof(struct json *));
	t->epochs[t->epoch_count] = next;
	t->handovers[t->epoch_count++] = json_copy(document);
	return ERR_NONE;
}

int handovers_read(const struct json *list, const struct genesis *g, struct chain_ctx **out,
		   unsigned *count, struct errmsg *m)
{
	size_t len = json_len(list);
	int err = len > EPOCHS_MAX ? err_set(m, ERR_LIMIT, "too many handovers") : ERR_NONE;
	*out = mem_array(err ? 1 : len + 1, sizeof **out);
	*count = 1;
	genesis_ctx(*out, g);
	for (size_t i = 0; i < len && err == ERR_NONE; i++) {
		struct proof_document d;
		struct errmsg why;
		char *text = json_dump(json_at(list, i), false);
		proof_document_init(&d);
		(*out)[*count] = (*out)[*count - 1];
		err = proof_document_parse(&d, slice_str(text), &why);
		if (err == ERR_NONE)
			err = proof_handover_check(&d, g, &(*out)[*count], &why);
		if (err == ERR_NONE)
			++*count;
		else
			err_set(m, err, "handovers[%zu]: %s", i, why.text);
		mem_free(text);
		proof_document_free(&d);
	}
	return err;
}

int target_learn_epochs(struct target *t, struct errmsg *m)
{
	struct link l;
	int err = ERR_NONE;
	size_t got = 1;
	pthread_mutex_lock(&t->lock);
	begin(t);
	unsigned before = t->epoch_count, asks = t->epochs_from;
	pthread_mutex_unlock(&t->lock);
	link_open(&l, t, asks);
	while (got > 0 && err == ERR_NONE) {
		char path[64];
		pthread_mutex_lock(&t->lock);
		begin(t);
		unsigned from = t->epoch_count;
		pthread_mutex_unlock(&t->lock);
		snprintf(path, sizeof path, "/v1/members?from=%u&limit=100", from);
		err = link_get(&l, path);
		if (err != ERR_NONE) {
			*m = l.m;
			break;
		}
		const struct json *a = json_get(l.answer, "handovers");
		got = l.reply.status == 200 ? json_len(a) : 0;
		if (got > 100 || from > EPOCHS_MAX)
			err = err_set(m, ERR_LIMIT, "the node names too many epochs");
		pthread_mutex_lock(&t->lock);
		for (size_t i = 0; i < got && err == ERR_NONE; i++)
			if (t->epoch_count == from + i) /* else another thread was faster */
				err = take(t, json_at(a, i), m);
		pthread_mutex_unlock(&t->lock);
	}
	link_close(&l);
	pthread_mutex_lock(&t->lock);
	if (t->epoch_count == before) /* it may be behind: next time another one */
		t->epochs_from = (asks + 1) % t->count;
	pthread_mutex_unlock(&t->lock);
	return err;
}

/* Of all epochs that this height and set fit. */
static bool find(struct target *t, const struct header *h, struct chain_ctx *out)
{
	target_ctx_at(t, h->height, out);
	return hash_equal(&chain_ctx_of_height(out, h->height)->vals.hash, &h->valset);
}

int target_check_header(struct target *t, const struct certified_header *ch)
{
	struct chain_ctx ctx;
	struct errmsg m;
	if (!target_proves(t))
		return unproven_header_check(ch, &t->ctx, &t->genesis_hash);
	if (ch->count == 0)
		return ERR_LIMIT;
	if (!find(t, &ch->headers[0].h, &ctx)) {
		int err = target_learn_epochs(t, &m);
		if (err != ERR_NONE)
			return err;
		find(t, &ch->headers[0].h, &ctx); /* if not, the check says so */
	}
	return certified_header_check(ch, &ctx, &t->genesis_hash);
}
