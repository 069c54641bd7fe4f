/* modes: the changes of mode and the convictions that the ledger records.
 *
 * Each is a transaction; with --verify its proof is checked here like any other's. */
#include <string.h>

#include "base/mem.h"
#include "chain/system.h"
#include "ledger/tx.h"
#include "tools/cli/client.h"
#include "tools/cli/modes.h"
#include "tools/cli/verbs.h"

#define PAGE_FULL 1000 /* entries that a node gives at most */

size_t modes_page(const struct json *entries, uint64_t *next)
{
	size_t count = json_is_array(entries) ? json_len(entries) : 0, take = count;
	uint64_t last, height;

	if (count == 0 ||
	    json_read_u64(json_at(entries, count - 1), "height", &last) != ERR_NONE ||
	    last < *next || last >= INT64_MAX)
		return 0;
	if (count < PAGE_FULL) {
		*next = last + 1;
		return count;
	}
	/* the block of the last one may have more */
	while (take > 0 &&
	       json_read_u64(json_at(entries, take - 1), "height", &height) == ERR_NONE &&
	       height == last)
		take--;
	*next = last;
	return take;
}

static bool says(const struct json *entry, const char *key, const char *want)
{
	const char *text;

	return json_read_string(entry, key, &text) == ERR_NONE && strcmp(text, want) == 0;
}

/* Does the entry say what the transaction says, at this height? */
static bool entry_fits(const struct json *entry, const struct system_tx *tx, uint64_t height,
		       struct target *t)
{
	struct evidence *e;
	struct chain_ctx ctx;
	char hex[HASH_HEX_SIZE];
	struct reader r;
	struct hash id;
	uint64_t number;
	bool fits;

	if (json_read_u64(entry, "height", &number) != ERR_NONE || number != height ||
	    tx->height != height)
		return false;
	if (tx->kind != SYSTEM_CONVICTION && tx->kind != SYSTEM_MEMBER &&
	    (json_read_u64(entry, "term", &number) != ERR_NONE || number != tx->term))
		return false;
	switch (tx->kind) {
	case SYSTEM_ESCALATED:
		return says(entry, "kind", "escalated") &&
		       says(entry, "reason", escalation_reason_name(tx->reason));
	case SYSTEM_MODE_FAST:
		return says(entry, "kind", "fast");
	case SYSTEM_MEMBER:
		return says(entry, "kind", "member");
	case SYSTEM_CONVICTION:
		break;
	}
	e = mem_zalloc(sizeof *e);
	reader_init(&r, tx->evidence);
	evidence_decode(&r, e);
	target_ctx_at(t, height, &ctx); /* known: the transaction has been proved */
	fits = reader_finish(&r) == ERR_NONE && e->culprit < t->genesis.n &&
	       evidence_check_any(e, &ctx, tx_never_valid) == ERR_NONE;
	if (fits) {
		evidence_hash(&id, e);
		fits = says(entry, "kind", "conviction") &&
		       says(entry, "culprit", t->genesis.validator[e->culprit].name) &&
		       says(entry, "proof", evidence_kind_name(e->kind)) &&
		       says(entry, "evidence", hash_hex(hex, &id));
	}
	mem_free(e);
	return fits;
}

/* A mode entry is a transaction of a final block: its proof document, checked like any other,
 * and what it says. An error: the node lies, or link_get()'s. */
static int verify_mode(struct link *l, struct json *entry, struct errmsg *m)
{
	const char *text;
	char path[128], hex[HASH_HEX_SIZE];
	uint8_t wanted[HASH_SIZE];
	struct proof_document doc;
	struct system_tx tx;
	struct hash id;
	int err = json_read_string(entry, "tx", &text);

	if (err != ERR_NONE || strlen(text) != 2 * HASH_SIZE ||
	    hex_decode(wanted, sizeof wanted, text) != ERR_NONE)
		return err_set(m, ERR_BAD_PROOF, "a mode entry has no transaction id");
	hex_encode(hex, wanted, sizeof wanted);
	snprintf(path, sizeof path, "/v1/transactions/%s?prove=1", hex);
	err = link_get(l, path);
	if (err != ERR_NONE)
		return err_set(m, err, "%s", l->m.text);
	err = target_proven_tx(l->t, json_get(l->answer, "proof"), &doc, m);
	if (err == ERR_NONE) {
		tx_id(&id, doc.tx);
		if (memcmp(id.b, wanted, sizeof wanted) != 0 ||
		    system_tx_decode(&tx, doc.tx, &l->t->ctx) != ERR_NONE ||
		    !entry_fits(entry, &tx, doc.ch.headers[0].h.height, l->t))
			err = err_set(m, ERR_BAD_PROOF,
				      "what the block of a mode entry has there says something "
				      "else");
	}
	proof_document_free(&doc);
	if (err == ERR_NONE)
		json_set(entry, "verified", json_bool(true));
	return err;
}

/* What the entries up to a height add up to. */
struct sums {
	uint64_t changed, escalations, members;
	uint64_t convicted; /* bit i: validator i, at any time */
};

static struct sums add_up(const struct target *t, const struct json *entries, uint64_t height)
{
	struct sums s = {0};
	uint64_t at;

	for (size_t i = 0; i < json_len(entries); i++) {
		const struct json *e = json_at(entries, i);
		bool escalated = says(e, "kind", "escalated");
		if (json_read_u64(e, "height", &at) != ERR_NONE || at > height)
			continue;
		s.escalations += escalated;
		s.members += says(e, "kind", "member");
		if ((escalated || says(e, "kind", "fast")) && at > s.changed)
			s.changed = at;
		for (unsigned v = 0; v < t->genesis.n; v++)
			if (says(e, "kind", "conviction") &&
			    says(e, "culprit", t->genesis.validator[v].name))
				s.convicted |= 1ull << v;
	}
	return s;
}

/* Whether anything is left out: the state at the proof's height has what all entries up to
 * there add up to. Of a validator that was replaced since, its jail is over, and nothing is
 * known. */
static int check_complete(struct link *l, const struct json *doc, uint64_t *height,
			  struct errmsg *m)
{
	const struct json *entries = json_get(doc, "entries");
	struct proof_document proof;
	struct mode_state state;
	struct sums sums;
	int err =
		target_proven_state(l->t, json_get(doc, "proof"), state_key_modes(), &proof, m);

	if (err == ERR_NONE)
		err = modes_decode(proof.present ? proof.value : slice_of(NULL, 0), &state);
	if (err == ERR_NONE) {
		*height = proof.ch.headers[0].h.height;
		sums = add_up(l->t, entries, *height);
		if (sums.escalations != state.escalations || sums.members != state.epoch ||
		    sums.changed != state.changed || (state.jailed & ~sums.convicted) != 0)
			err = err_set(m, ERR_BAD_PROOF,
				      "its list of modes is not what the state at height %llu "
				      "says: something is left out",
				      (unsigned long long)*height);
	}
	proof_document_free(&proof);
	return err;
}

/* Each entry, and that there are no others. */
static int verify_modes(struct link *l, struct json *doc, struct errmsg *m)
{
	struct json *entries = json_get(doc, "entries");
	uint64_t height = 0;
	int err = check_complete(l, doc, &height, m);

	for (size_t i = 0; i < json_len(entries) && err == ERR_NONE; i++)
		err = verify_mode(l, json_at(entries, i), m);
	if (err == ERR_NONE) {
		json_set(doc, "complete_to", json_u64_string(height));
		cli_hint(l->t->c, "verified, and none is left out up to height %llu",
			 (unsigned long long)height);
	}
	return err;
}

/* The first answer, with the entries of all. NULL: an error was printed, code in *rc. prove:
 * with the proof of what they add up to, which is as old as the first. */
static struct json *all_modes(struct link *l, bool prove, int *rc)
{
	struct json *doc = NULL, *entries = json_array();
	uint64_t next = 0;

	for (size_t got = 1; got > 0;) {
		char path[64];
		snprintf(path, sizeof path, "/v1/modes?from=%llu%s", (unsigned long long)next,
			 prove && doc == NULL ? "&prove=1" : "");
		*rc = link_get_or_fail(l, path);
		if (*rc != EXIT_DONE || !json_is_object(l->answer)) {
			json_free(entries);
			json_free(doc);
			if (*rc == EXIT_DONE)
				*rc = cli_fail(l->t->c, EXIT_REFUSED, "syntax", NULL,
					       "%s gives no list of modes", l->t->url[l->node]);
			return NULL;
		}
		if (doc == NULL)
			doc = json_copy(l->answer);
		got = modes_page(json_get(l->answer, "entries"), &next);
		for (size_t i = 0; i < got; i++)
			json_append(entries,
				    json_copy(json_at(json_get(l->answer, "entries"), i)));
	}
	json_set(doc, "entries", entries);
	return doc;
}

static void show_modes(struct cli *c, struct json *doc)
{
	static const struct column columns[] = {
		{"HEIGHT", "height"}, {"KIND", "kind"},	      {"TERM", "term"},
		{"REASON", "reason"}, {"CULPRIT", "culprit"}, {"PROOF", "proof"},
		{"TX", "tx"}};

	if (json_len(json_get(doc, "entries")) == 0)
		cli_hint(c, "the ledger has been in fast mode since genesis");
	out_list(c, columns, MEM_COUNT(columns), doc, "entries");
}

/* As all_modes(); verified, of the first node whose list holds. */
static struct json *modes_of(struct cli *c, struct link *l, bool verify, int *rc)
{
	for (;;) {
		struct errmsg m;
		struct json *doc = all_modes(l, verify, rc);
		unsigned node = l->node;
		int err = doc != NULL && verify ? verify_modes(l, doc, &m) : ERR_NONE;

		if (err == ERR_NONE)
			return doc;
		json_free(doc);
		if (err == ERR_UNREACHABLE || err == ERR_TIMEOUT) {
			*rc = link_unreachable(l, err);
			return NULL;
		}
		if (target_unproven_so_far(err)) {
			*rc = cli_fail(c, EXIT_UNKNOWN, err_name(err),
				       "Try again, with a longer --timeout.", "%s: %s",
				       l->t->url[node], m.text);
			return NULL;
		}
		if (!link_pass_over(l, node, m.text)) {
			*rc = cli_fail(c, EXIT_UNVERIFIED, "bad_proof",
				       "The node lies, or its disk is damaged.", "%s: %s",
				       l->t->url[node], m.text);
			return NULL;
		}
	}
}

int verb_modes(struct cli *c)
{
	bool verify = opt_given(&c->opt, OPT_VERIFY);
	struct target *t = mem_zalloc(sizeof *t);
	struct link l;
	int rc = target_open(c, t, verify);

	if (rc == EXIT_DONE) {
		link_open(&l, t, 0);
		struct json *doc = modes_of(c, &l, verify, &rc);
		if (doc != NULL)
			show_modes(c, plain_numbers(doc, ""));
		json_free(doc);
		link_close(&l);
	}
	target_close(t);
	mem_free(t);
	return rc;
}
