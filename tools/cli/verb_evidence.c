/* evidence: what the network found out about its validators.
 *
 * Evidence is checked here again, from the genesis file alone: no node's word counts. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "chain/evidence.h"
#include "tools/cli/client.h"
#include "tools/cli/lines.h"
#include "tools/cli/verbs.h"

#define EVIDENCE_FILE_MAX (256u << 20)

static const char *text_of(const struct json *o, const char *key)
{
	const char *text;

	return json_read_string(o, key, &text) == ERR_NONE ? text : NULL;
}

/* The list of an answer or a file: {"evidence": [...]}, an array, or one object. */
static struct json *take_list(struct json *doc)
{
	struct json *list = json_get(doc, "evidence"), *copy;

	if (json_is_array(doc))
		return doc;
	if (json_is_array(list)) {
		copy = json_copy(list);
	} else {
		copy = json_array();
		if (json_is_object(doc))
			json_append(copy, json_copy(doc));
	}
	json_free(doc);
	return copy;
}

/* Does what stands beside the bytes say what they say? */
static int check_members(const struct json *item, const struct evidence *e,
			 const struct genesis *g, struct errmsg *m)
{
	const char *id = text_of(item, "id"), *kind = text_of(item, "kind"),
		   *culprit = text_of(item, "culprit");
	char hex[HASH_HEX_SIZE];
	struct hash h;

	evidence_hash(&h, e);
	if (id != NULL && strcmp(id, hash_hex(hex, &h)) != 0)
		return err_set(m, ERR_BAD_PROOF, "its bytes have another id");
	if (kind != NULL && strcmp(kind, evidence_kind_name(e->kind)) != 0)
		return err_set(m, ERR_BAD_PROOF, "it is not about %s but about %s", kind,
			       evidence_kind_name(e->kind));
	if (culprit != NULL && strcmp(culprit, g->validator[e->culprit].name) != 0)
		return err_set(m, ERR_BAD_PROOF, "it does not accuse %s but %s", culprit,
			       g->validator[e->culprit].name);
	return ERR_NONE;
}

/* In the epoch that it is of, which it does not say; or before a recovery. */
static int check_proof(const struct evidence *e, const struct chain_ctx *sets, unsigned count,
		       unsigned *epoch)
{
	int err = ERR_BAD_PROOF;
	for (*epoch = count; *epoch > 0 && err != ERR_NONE;)
		err = evidence_check_any(e, &sets[--*epoch], tx_never_valid);
	return err;
}

/* The culprit's place has the key still that signed this in that epoch. */
static bool has_its_key(const struct evidence *e, const struct chain_ctx *sets, unsigned count,
			unsigned epoch)
{
	return evidence_check(e, &sets[epoch], tx_never_valid) == ERR_NONE &&
	       pubkey_equal(&sets[epoch].vals.key[e->culprit],
			    &sets[count - 1].vals.key[e->culprit]);
}

/* A culprit is a place: says in which epoch, for its key may be another's by now. */
static int check_item(struct json *item, const struct genesis *g, const struct chain_ctx *sets,
		      unsigned count, struct errmsg *m)
{
	unsigned epoch = 0;
	const char *hex = text_of(item, "bytes");
	struct evidence *e = mem_zalloc(sizeof *e);
	struct reader r;
	uint8_t *bytes;
	size_t len;
	int err;

	if (hex == NULL)
		hex = text_of(item, "proof");
	if (hex == NULL) {
		mem_free(e);
		return err_set(m, ERR_BAD_PROOF, "there is no proof in it");
	}
	len = strlen(hex) / 2;
	bytes = mem_alloc(len + 1);
	err = strlen(hex) % 2 == 0 ? hex_decode(bytes, len, hex) : ERR_SYNTAX;
	if (err == ERR_NONE) {
		reader_init(&r, slice_of(bytes, len));
		evidence_decode(&r, e);
		err = reader_finish(&r);
	}
	if (err != ERR_NONE)
		err_set(m, err, "it does not decode: %s", err_text(err));
	else if (e->culprit >= g->n)
		err = err_set(m, ERR_UNKNOWN_SIGNER, "its culprit is no validator");
	else if ((err = check_proof(e, sets, count, &epoch)) != ERR_NONE)
		err_set(m, err, "it proves nothing: %s", err_text(err));
	else
		err = check_members(item, e, g, m);
	if (err == ERR_NONE) {
		json_set(item, "epoch", json_u64(epoch));
		json_set(item, "replaced", json_bool(!has_its_key(e, sets, count, epoch)));
	}
	mem_free(bytes);
	mem_free(e);
	return err;
}

/* handovers: what proves the epochs after the first; taken over, NULL: there are none. */
static int show_list(struct cli *c, struct json *list, struct json *handovers,
		     const struct genesis *g)
{
	static const struct column plain[] = {
		{"ID", "id"}, {"KIND", "kind"}, {"CULPRIT", "culprit"}, {"SIZE", "size"}};
	static const struct column checked[] = {
		{"ID", "id"},	    {"KIND", "kind"},	      {"CULPRIT", "culprit"},
		{"EPOCH", "epoch"}, {"REPLACED", "replaced"}, {"VERIFIED", "verified"},
		{"WHY", "why"}};
	struct chain_ctx *sets = NULL;
	struct json *doc = json_object();
	unsigned count = 0;
	size_t bad = 0;
	struct errmsg m;

	if (g != NULL && handovers_read(handovers, g, &sets, &count, &m) != ERR_NONE) {
		mem_free(sets);
		json_free(list);
		json_free(handovers);
		json_free(doc);
		return cli_fail(c, EXIT_UNVERIFIED, "bad_proof", NULL, "NOT verified: %s",
				m.text);
	}
	for (size_t i = 0; g != NULL && i < json_len(list); i++) {
		struct json *item = json_at(list, i);
		int err = json_is_object(item) ? check_item(item, g, sets, count, &m)
					       : err_set(&m, ERR_SYNTAX, "this is no evidence");
		bad += err != ERR_NONE;
		if (!json_is_object(item))
			continue;
		json_set(item, "verified", json_bool(err == ERR_NONE));
		json_set(item, "why", err == ERR_NONE ? json_null() : json_string(m.text));
	}
	if (json_len(list) == 0)
		cli_hint(c, "no evidence against anybody");
	json_set(doc, "evidence", list);
	if (handovers != NULL)
		json_set(doc, "handovers", handovers);
	if (c->format == FORMAT_JSONL) {
		out_rows(c, plain, MEM_COUNT(plain), json_copy(list));
		json_free(doc);
	} else {
		out_document(c, g ? checked : plain, g ? MEM_COUNT(checked) : MEM_COUNT(plain),
			     doc, "evidence");
	}
	mem_free(sets);
	if (bad == 0)
		return EXIT_DONE;
	fprintf(c->err, "ostrakon: %zu of the proofs prove nothing\n", bad);
	return EXIT_UNVERIFIED;
}

static int verify_file(struct cli *c, const char *path)
{
	const char *genesis = c->opt.value[OPT_GENESIS];
	char dir[PATH_SIZE], own[PATH_SIZE + 32];
	struct json *doc = NULL, *handovers = NULL;
	struct genesis *g;
	struct errmsg m;
	uint8_t *text;
	size_t len;
	int err, rc;

	if (genesis == NULL) {
		if (home_check(c) != EXIT_DONE)
			return EXIT_CONFIG;
		if (!network_directory(c, dir))
			return cli_usage(c,
					 "checking a file needs --genesis FILE: it is all that "
					 "is trusted");
		snprintf(own, sizeof own, "%s/genesis.json", dir);
		genesis = own;
	}
	g = mem_zalloc(sizeof *g);
	if (genesis_read(g, genesis, &m) != ERR_NONE) {
		mem_free(g);
		return cli_fail(c, EXIT_CONFIG, "config", NULL, "genesis file %s: %s", genesis,
				m.text);
	}
	err = file_read(&text, &len, path, EVIDENCE_FILE_MAX, &m);
	if (err != ERR_NONE) {
		rc = cli_fail_err(c, err, &m, NULL);
	} else {
		err = json_parse(&doc, slice_of(text, len), &m);
		mem_free(text);
		if (err == ERR_NONE && json_is_object(doc) &&
		    json_get(doc, "handovers") != NULL)
			handovers = json_copy(json_get(doc, "handovers"));
		rc = err != ERR_NONE
			     ? cli_fail(c, EXIT_UNVERIFIED, err_name(err),
					"`ostrakon evidence -o json` prints such a "
					"list.",
					"NOT verified: %s holds no evidence: %s", path, m.text)
			     : show_list(c, take_list(doc), handovers, g);
	}
	genesis_free(g);
	mem_free(g);
	return rc;
}

int verb_evidence(struct cli *c)
{
	bool verify = opt_given(&c->opt, OPT_VERIFY);
	struct target *t;
	struct link l;
	int rc;

	if (c->opt.arg_count > 0 && !verify)
		return cli_usage(c, "a file is checked with --verify");
	if (c->opt.arg_count > 0)
		return verify_file(c, c->opt.arg[0]);
	t = mem_zalloc(sizeof *t);
	rc = target_open(c, t, verify);
	if (rc == EXIT_DONE) {
		link_open(&l, t, 0);
		rc = link_get_or_fail(&l, "/v1/evidence?full=1");
		struct errmsg m;
		int err = rc == EXIT_DONE && target_proves(t) ? target_learn_epochs(t, &m)
							      : ERR_NONE;
		if (err != ERR_NONE)
			rc = cli_fail_err(c, err, &m, NULL);
		if (rc == EXIT_DONE)
			rc = show_list(c, take_list(plain_numbers(l.answer, "")),
				       target_proves(t) ? target_handovers(t, UINT64_MAX)
							: NULL,
				       verify ? &t->genesis : NULL);
		link_close(&l);
	}
	target_close(t);
	mem_free(t);
	return rc;
}

/* ---- modes ----------------------------------------------------------------------------- */
