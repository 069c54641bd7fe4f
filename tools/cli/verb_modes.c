/* modes: the changes of mode and the convictions that the ledger records.
 *
 * Each is a transaction; with --verify its proof is checked here like any other's. */
#include <string.h>

#include "base/mem.h"
#include "chain/system.h"
#include "ledger/tx.h"
#include "tools/cli/client.h"
#include "tools/cli/verbs.h"

/* A mode entry is a transaction of a final block: its proof document, checked like any other,
 * and what it says. */
static int verify_mode(struct cli *c, struct link *l, struct json *entry)
{
	const char *id;
	char path[128];
	struct proof_document doc;
	struct system_tx tx;
	struct errmsg m = {.text = "its transaction id is malformed"};
	int rc, err = json_read_string(entry, "tx", &id);

	if (err == ERR_NONE && strlen(id) == 2 * HASH_SIZE) {
		snprintf(path, sizeof path, "/v1/transactions/%s?prove=1", id);
		rc = link_get_or_fail(l, path);
		if (rc != EXIT_DONE)
			return rc;
		proof_document_init(&doc);
		char *text = json_dump(json_get(l->answer, "proof"), false);
		err = proof_document_parse(&doc, slice_str(text), &m);
		mem_free(text);
		if (err == ERR_NONE)
			err = proof_document_check(&doc, &l->t->genesis, &m);
		if (err == ERR_NONE && (system_tx_decode(&tx, doc.tx, &l->t->ctx) != ERR_NONE ||
					tx_never_valid(&l->t->ctx, doc.tx)))
			err = err_set(&m, ERR_BAD_PROOF, "the transaction is no valid mode entry");
		proof_document_free(&doc);
	}
	if (err != ERR_NONE)
		return cli_fail(c, EXIT_UNVERIFIED, "bad_proof",
				"the node lies, or its disk is damaged; ask another one",
				"a mode entry cannot be verified: %s", m.text);
	json_set(entry, "verified", json_bool(true));
	return EXIT_DONE;
}

static int verify_modes(struct cli *c, struct link *l, struct json *doc)
{
	struct json *list = json_get(doc, "entries");
	int rc = EXIT_DONE;

	for (size_t i = 0; i < json_len(list) && rc == EXIT_DONE; i++)
		rc = verify_mode(c, l, json_at(list, i));
	return rc;
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

int verb_modes(struct cli *c)
{
	struct target *t = mem_zalloc(sizeof *t);
	struct link l;
	int rc = target_open(c, t, opt_given(&c->opt, OPT_VERIFY));

	if (rc == EXIT_DONE) {
		link_open(&l, t, 0);
		rc = link_get_or_fail(&l, "/v1/modes");
		if (rc == EXIT_DONE) {
			struct json *doc = json_copy(l.answer);
			if (opt_given(&c->opt, OPT_VERIFY))
				rc = verify_modes(c, &l, doc);
			if (rc == EXIT_DONE)
				show_modes(c, plain_numbers(doc, ""));
			json_free(doc);
		}
		link_close(&l);
	}
	target_close(t);
	mem_free(t);
	return rc;
}

