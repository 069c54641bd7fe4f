/* get, balance, verify: what is in the state, and proofs of it. */
#include <string.h>

#include "base/mem.h"
#include "chain/recovery.h"
#include "tools/cli/bulk.h"
#include "tools/cli/client.h"
#include "tools/cli/linear.h"
#include "tools/cli/lines.h"
#include "tools/cli/verbs.h"
#include "tools/cli/write.h"

#define PROOF_FILE_MAX (32u << 20)

/* What an answer comes to: with a genesis by its proof, else by the node's word. */
struct reading {
	bool verified, present;
	bool proven;	    /* value is out of a document that fits together */
	struct slice value; /* into doc, or owned */
	uint8_t *owned;
	uint64_t height, age_ms;
	struct json *proof; /* lent by the link's answer */
	struct proof_document doc;
};

static void reading_free(struct reading *r)
{
	proof_document_free(&r->doc);
	mem_free(r->owned);
}

static uint64_t age_of(uint64_t time_ms)
{
	uint64_t now = wall_ms();

	return now > time_ms ? now - time_ms : 0;
}

static int unverified_answer(struct cli *c, struct link *l, int err, const struct errmsg *m)
{
	if (target_unproven_so_far(err))
		return cli_fail(c, EXIT_UNKNOWN, err_name(err),
				"What proves the validators of that block was not to be had in "
				"time: try again, with a longer --timeout.",
				"%s: %s", l->t->url[l->node], m->text);
	return cli_fail(c, EXIT_UNVERIFIED, err_name(err),
			"Do not trust this node. Ask another with --node.", "%s: %s",
			l->t->url[l->node], m->text);
}

/* Whether the answer proves state_key's value, or its absence, at the height that was asked
 * for. */
static int check_reading(struct cli *c, struct link *l, struct slice state_key,
			 struct reading *r, struct errmsg *m)
{
	int err = target_proven_state(l->t, r->proof, state_key, &r->doc, m);
	uint64_t height, wanted;

	if (err != ERR_NONE)
		return err;
	height = r->doc.ch.headers[0].h.height;
	wanted = opt_u64(&c->opt, OPT_HEIGHT, height);
	if (height == wanted)
		return ERR_NONE;
	return err_set(m, ERR_BAD_PROOF, "asked for height %llu, it proves height %llu",
		       (unsigned long long)wanted, (unsigned long long)height);
}

/* What an answer without a value is: an exit code. */
static int read_failed(struct cli *c, struct link *l)
{
	/* As of a block there. */
	if (opt_given(&c->opt, OPT_HEIGHT) && strcmp(l->error_code, "range") == 0)
		return cli_fail(c, EXIT_NOT_FOUND, "not_found", NULL,
				"there is no state at height %s yet: %s",
				c->opt.value[OPT_HEIGHT], l->m.text);
	return link_fail(l);
}

/* Asks for path and checks the proof of state_key: of the first node whose answer holds. Prints
 * errors. Absence is EXIT_DONE. */
static int read_state(struct cli *c, struct link *l, const char *path, struct slice state_key,
		      struct reading *r)
{
	const struct header *header;
	struct errmsg m;

	for (;;) {
		int err = link_get(l, path);
		memset(r, 0, sizeof *r);
		if (err != ERR_NONE)
			return link_unreachable(l, err);
		/* That there is no such key is to be proven, too. */
		bool absent = l->reply.status == 404 && strcmp(l->error_code, "range") != 0 &&
			      (l->t->has_genesis || json_get(l->answer, "height") != NULL);
		if (l->reply.status != 200 && !absent)
			return read_failed(c, l);
		r->proof = json_get(l->answer, "proof");
		if (!l->t->has_genesis) {
			r->present = l->reply.status == 200;
			json_read_u64(l->answer, "height", &r->height);
			json_read_u64(l->answer, "age_ms", &r->age_ms);
			return EXIT_DONE;
		}
		err = check_reading(c, l, state_key, r, &m);
		if (err == ERR_NONE)
			break;
		if (target_unproven_so_far(err) || !link_pass_over(l, l->node, m.text))
			return unverified_answer(c, l, err, &m);
		reading_free(r);
	}
	header = &r->doc.ch.headers[0].h;
	r->verified = target_proves(l->t);
	r->proven = true;
	if (!r->verified)
		cli_hint(c, "not verified: %s tolerates crashes only; this is the node's word",
			 protocol_name(l->t->genesis.protocol));
	r->present = r->doc.present;
	r->value = r->doc.value;
	r->height = header->height;
	r->age_ms = age_of(header->time_ms);
	return EXIT_DONE;
}

static char *offline_text(struct target *t, const struct json *proof)
{
	struct json *o = target_offline(t, proof);
	char *text = json_dump(o, true);

	json_free(o);
	return text;
}

static int write_proof(struct cli *c, struct target *t, const struct json *proof)
{
	struct errmsg m;
	char *text;
	int err;

	if (!opt_given(&c->opt, OPT_PROOF_FILE) || proof == NULL)
		return EXIT_DONE;
	text = offline_text(t, proof);
	err = file_write(c->opt.value[OPT_PROOF_FILE], slice_str(text), &m);
	mem_free(text);
	return err == ERR_NONE ? EXIT_DONE
			       : cli_fail(c, EXIT_REFUSED, "io", NULL, "%s", m.text);
}

/* The value of an unproven answer is hex. */
static int take_word(struct cli *c, struct link *l, struct reading *r)
{
	const char *hex;
	size_t len;

	if (json_read_string(l->answer, "value", &hex) != ERR_NONE)
		hex = "";
	len = strlen(hex) / 2;
	r->owned = mem_alloc(len + 1);
	if (hex_decode(r->owned, len, hex) != ERR_NONE)
		return cli_fail(c, EXIT_UNVERIFIED, "malformed_answer", NULL,
				"%s does not answer as a node would", l->t->url[l->node]);
	r->value = slice_of(r->owned, len);
	cli_hint(c, "not verified: there is no genesis file to verify against");
	return EXIT_DONE;
}

static int show_value(struct cli *c, struct link *l, struct reading *r)
{
	bool prove = opt_given(&c->opt, OPT_PROVE);
	struct json *o;
	char *text;
	int rc = write_proof(c, l->t, r->proof);

	if (rc == EXIT_DONE && !r->proven && r->present)
		rc = take_word(c, l, r);
	if (rc != EXIT_DONE)
		return rc;
	if (c->format == FORMAT_TABLE && prove) {
		text = offline_text(l->t, r->proof);
		fprintf(c->out, "%s\n", text);
		mem_free(text);
	} else if (c->format == FORMAT_TABLE && r->present) {
		fwrite(r->value.ptr, 1, r->value.len, c->out);
		fputc('\n', c->out);
	} else if (c->format != FORMAT_TABLE && (r->present || prove)) {
		o = json_object();
		json_set_bytes(o, "key", slice_str(c->opt.arg[0]));
		if (r->present)
			json_set_bytes(o, "value", r->value);
		else
			json_set(o, "value", json_null());
		json_set(o, "height", json_said(r->height));
		json_set(o, "age_ms", json_said(r->age_ms));
		json_set(o, "verified", json_bool(r->verified));
		json_set(o, "proof", r->proof ? json_copy(r->proof) : json_null());
		target_add_handovers(l->t, o);
		out_object(c, o);
		if (!r->present)
			return EXIT_NOT_FOUND;
	}
	if (!r->present)
		return cli_fail(c, EXIT_NOT_FOUND, "not_found", NULL,
				"there is no key \"%s\" at height %llu", c->opt.arg[0],
				(unsigned long long)r->height);
	return EXIT_DONE;
}

/* "?prove=1&height=H", as far as asked for and of use. */
static void add_query(struct cli *c, struct target *t, struct writer *path)
{
	char text[64] = "";

	if (t->has_genesis)
		snprintf(text, sizeof text, "?prove=1");
	if (opt_given(&c->opt, OPT_HEIGHT))
		snprintf(text + strlen(text), sizeof text - strlen(text), "%cheight=%s",
			 t->has_genesis ? '&' : '?', c->opt.value[OPT_HEIGHT]);
	writer_raw(path, text, strlen(text) + 1);
}

/* read_state(), again and again until the answer is at least as new as height `least`; other
 * nodes are asked in between. */
static int read_state_from(struct cli *c, struct link *l, const char *path,
			   struct slice state_key, uint64_t least, struct reading *r)
{
	for (;;) {
		int rc = read_state(c, l, path, state_key, r);
		if (rc != EXIT_DONE || r->height >= least)
			return rc;
		reading_free(r);
		memset(r, 0, sizeof *r);
		if (cli_time_left(c) == 0)
			return cli_fail(
				c, EXIT_UNKNOWN, "timeout",
				"`ostrakon doctor` says why nothing becomes final.",
				"timed out: no node's final state has reached height %llu",
				(unsigned long long)least);
		if (interrupted())
			return cli_fail(c, EXIT_INTERRUPTED, "interrupted", NULL,
					"interrupted");
		link_next(l);
		sleep_ms(10);
	}
}

/* Without a genesis file the node says what is too long. */
static int check_key(struct cli *c, const struct target *t, struct slice key)
{
	struct genesis_limits widest = {.key_size_max = UINT32_MAX};
	struct op op = {.kind = OP_DELETE, .key = key};
	struct errmsg m;
	int err;

	if (key.len == 0)
		return cli_usage(c, "the key is empty: it has at least 1 byte");
	err = op_fits(&op, t->has_genesis ? &t->genesis.limits : &widest, &m);
	return err == ERR_NONE ? EXIT_DONE : op_fail(c, err, &m);
}

int verb_get(struct cli *c)
{
	bool wants_proof = opt_given(&c->opt, OPT_PROVE) || opt_given(&c->opt, OPT_PROOF_FILE);
	bool linearizable = opt_given(&c->opt, OPT_LINEARIZABLE);
	struct target *t;
	struct writer path = {0}, state_key = {0};
	uint64_t least = 0;
	struct reading r = {0};
	struct link l;
	int rc;

	if (linearizable && (opt_given(&c->opt, OPT_FROM) || opt_given(&c->opt, OPT_HEIGHT)))
		return cli_usage(c, "--linearizable reads the newest value of one key");
	if (opt_given(&c->opt, OPT_FROM)) {
		if (c->opt.arg_count > 0)
			return cli_usage(c, "`get` takes KEY or --from FILE, not both");
		return bulk_get(c);
	}
	if (c->opt.arg_count == 0)
		return cli_usage(c, "`get` needs KEY, or --from FILE");
	t = mem_zalloc(sizeof *t);
	rc = target_open(c, t, wants_proof || linearizable);
	if (rc == EXIT_DONE)
		rc = check_key(c, t, slice_str(c->opt.arg[0]));
	if (rc == EXIT_DONE) {
		writer_raw(&path, "/v1/state/", 10);
		http_escape(&path, slice_str(c->opt.arg[0]));
		add_query(c, t, &path);
		writer_u8(&state_key, STATE_NS_USER);
		writer_raw(&state_key, c->opt.arg[0], strlen(c->opt.arg[0]));
		link_open(&l, t, 0);
		if (linearizable)
			rc = linear_height(&l, &least);
		if (rc == EXIT_DONE)
			rc = read_state_from(c, &l, (const char *)path.buf,
					     writer_slice(&state_key), least, &r);
		if (rc == EXIT_DONE)
			rc = show_value(c, &l, &r);
		reading_free(&r);
		link_close(&l);
		writer_free(&path);
		writer_free(&state_key);
	}
	target_close(t);
	mem_free(t);
	return rc;
}

/* ---- balance --------------------------------------------------------------------------- */

static int show_balance(struct cli *c, struct link *l, const struct pubkey *account,
			struct reading *r)
{
	bool prove = opt_given(&c->opt, OPT_PROVE);
	uint64_t balance = 0;
	struct json *o;
	char text[32], *proof;
	int rc = write_proof(c, l->t, r->proof);

	if (rc != EXIT_DONE)
		return rc;
	if (r->proven && r->present) {
		if (r->value.len != 8)
			return cli_fail(c, EXIT_UNVERIFIED, "malformed_answer", NULL,
					"the state holds no balance for this account");
		balance = load_be64(r->value.ptr);
	} else if (!r->proven) {
		json_read_u64(l->answer, "balance", &balance);
		cli_hint(c, "not verified: there is no genesis file to verify against");
	}
	if (c->format == FORMAT_TABLE && prove) {
		proof = offline_text(l->t, r->proof);
		fprintf(c->out, "%s\n", proof);
		mem_free(proof);
		return EXIT_DONE;
	}
	o = json_object();
	json_set(o, "account", json_hex(account->b, PUBKEY_SIZE));
	json_set(o, "balance", json_said(balance));
	json_set(o, "height", json_said(r->height));
	json_set(o, "age_ms", json_said(r->age_ms));
	json_set(o, "verified", json_bool(r->verified));
	json_set(o, "proof", r->proof ? json_copy(r->proof) : json_null());
	target_add_handovers(l->t, o);
	snprintf(text, sizeof text, "%llu", (unsigned long long)balance);
	out_text(c, text, o);
	return EXIT_DONE;
}

int verb_balance(struct cli *c)
{
	bool wants_proof = opt_given(&c->opt, OPT_PROVE) || opt_given(&c->opt, OPT_PROOF_FILE);
	struct target *t = mem_zalloc(sizeof *t);
	struct writer path = {0}, state_key = {0};
	char hex[PUBKEY_HEX_SIZE];
	struct pubkey account;
	struct reading r;
	struct link l;
	int rc = account_parse(c, c->opt.arg_count > 0 ? c->opt.arg[0] : "client", &account);

	if (rc == EXIT_DONE) {
		rc = target_open(c, t, wants_proof);
		if (rc == EXIT_DONE) {
			writer_raw(&path, "/v1/accounts/", 13);
			writer_raw(&path, pubkey_hex(hex, &account), 2 * PUBKEY_SIZE);
			add_query(c, t, &path);
			writer_u8(&state_key, STATE_NS_ACCOUNT);
			writer_raw(&state_key, account.b, PUBKEY_SIZE);
			link_open(&l, t, 0);
			rc = read_state(c, &l, (const char *)path.buf, writer_slice(&state_key),
					&r);
			if (rc == EXIT_DONE)
				rc = show_balance(c, &l, &account, &r);
			reading_free(&r);
			link_close(&l);
			writer_free(&path);
			writer_free(&state_key);
		}
		target_close(t);
	}
	mem_free(t);
	return rc;
}

/* ---- verify ---------------------------------------------------------------------------- */

static int refuted(struct cli *c, int err, const char *what)
{
	return cli_fail(c, EXIT_UNVERIFIED, err == ERR_NONE ? "bad_proof" : err_name(err), NULL,
			"NOT verified: %s", what);
}

/* `get -o json` puts the document beside what it proves; both must say the same. */
static int check_wrapper(struct cli *c, const struct json *w, const struct proof_document *doc)
{
	const struct json *proof = json_get(w, "proof");
	static const char *const same[] = {"key",    "key_hex", "value", "value_hex",
					   "height", "index",	"result"};
	uint64_t balance;

	for (size_t i = 0; i < MEM_COUNT(same); i++) {
		const struct json *outer = json_get(w, same[i]),
				  *inner = json_get(proof, same[i]);
		char *a, *b;
		bool equal;
		/* null beside NAME_hex, as this program prints it, says nothing by itself */
		if (outer == NULL || (json_is_null(outer) && inner == NULL))
			continue;
		a = json_dump(outer, false);
		b = inner ? json_dump(inner, false) : NULL;
		equal = b != NULL && strcmp(a, b) == 0;
		mem_free(a);
		mem_free(b);
		if (!equal)
			return refuted(c, ERR_NONE,
				       "what stands beside the proof is not what it "
				       "proves");
	}
	if (json_get(w, "balance") != NULL &&
	    (json_read_u64(w, "balance", &balance) != ERR_NONE || doc->kind != PROOF_STATE ||
	     doc->state_key.ptr[0] != STATE_NS_ACCOUNT ||
	     balance != (doc->present && doc->value.len == 8 ? load_be64(doc->value.ptr) : 0)))
		return refuted(c, ERR_NONE,
			       "the balance beside the proof is not what it proves");
	return EXIT_DONE;
}

static void show_verified(struct cli *c, const struct proof_document *doc,
			  const struct genesis *g)
{
	const struct header *header = &doc->ch.headers[0].h;
	struct json *o = json_object(), *signers = json_array();
	char hex[HASH_HEX_SIZE];
	struct hash id;

	json_set(o, "verified", json_bool(true));
	json_set(o, "kind", json_string(doc->kind == PROOF_TX ? "transaction" : "state"));
	if (doc->kind == PROOF_TX) {
		tx_id(&id, doc->tx);
		json_set(o, "tx", json_string(hash_hex(hex, &id)));
		json_set(o, "result", json_string(tx_result_name(doc->result)));
		json_set(o, "index", json_u64(doc->path.index));
	} else {
		struct slice key = slice_of(doc->state_key.ptr + 1, doc->state_key.len - 1);
		json_set_bytes(o, "key", key);
		json_set(o, "present", json_bool(doc->present));
		if (doc->present)
			json_set_bytes(o, "value", doc->value);
		else
			json_set(o, "value", json_null());
	}
	json_set(o, "height", json_u64(header->height));
	json_set(o, "state_root", json_hash(&header->state_root));
	json_set(o, "chain_id", json_hash(&header->chain));
	json_set(o, "time_ms", json_u64(header->time_ms <= INT64_MAX ? header->time_ms : 0));
	if (doc->ch.cert.count > 0) {
		json_set(o, "grade", json_string(cert_kind_name(doc->ch.cert.kind)));
		for (unsigned i = 0; i < g->n; i++)
			if (doc->ch.cert.signers >> i & 1)
				json_append(signers, json_string(g->validator[i].name));
	}
	json_set(o, "signers", signers);
	out_object(c, o);
}

/* The handovers that stand beside a proof: under whose validators it is to be checked. */
static int read_handovers(const struct json *whole, const struct proof_document *doc,
			  const struct genesis *g, struct chain_ctx *ctx, struct errmsg *m)
{
	const struct header *h = &doc->ch.headers[0].h;
	struct chain_ctx *sets;
	unsigned count;
	int err = handovers_read(json_get(whole, "handovers"), g, &sets, &count, m);

	*ctx = sets[count - 1];
	mem_free(sets);
	if (err == ERR_NONE && doc->ch.count && h->height > 0 &&
	    ctx->epoch > 0 && /* else the check itself says whose it is */
	    (!hash_equal(&h->valset, &ctx->vals.hash) || h->height <= ctx->start_height))
		err = err_set(
			m, ERR_BAD_PROOF,
			"height %llu is of another epoch than %llu, up to which handovers "
			"stand beside it: `ostrakon get --prove` and `tx status --prove` "
			"print those that it takes",
			(unsigned long long)h->height, (unsigned long long)ctx->epoch);
	return err;
}

/* The number of the recovery without which it would be true; 0: there is none. */
static unsigned cut_off_by(const struct proof_document *doc, struct genesis *g)
{
	unsigned all = g->recovery_count, found = 0;
	struct errmsg m;

	while (!found && g->recovery_count > 0) {
		unsigned number = g->recovery_count;
		genesis_hide_recovery(g);
		if (proof_document_check(doc, g, &m) == ERR_NONE)
			found = number;
	}
	while (g->recovery_count < all)
		genesis_show_recovery(g);
	return found;
}

/* A quorum of the validators of then has made it final, so it should have been kept: this is
 * what its holder shows. */
static int report_cut_off(struct cli *c, const struct proof_document *doc,
			  const struct genesis *g, unsigned number)
{
	const struct recovery *v = &g->recoveries[number - 1];
	uint64_t height = doc->ch.cert.ref.height;

	return cli_fail(
		c, EXIT_UNVERIFIED, "cut_off",
		"Who signed the recovery did not have it: show them this proof.",
		"the proof is true, of before recovery %u: block %llu was final, and was "
		"wrongly cut off by that recovery, which keeps the chain up to block %llu",
		number, (unsigned long long)height, (unsigned long long)v->kept.height);
}

static int verify_text(struct cli *c, struct slice text, struct genesis *g)
{
	unsigned number;
	struct chain_ctx ctx;
	struct proof_document doc;
	struct json *whole = NULL;
	struct errmsg m;
	char *inner = NULL;
	int err, rc = EXIT_DONE;

	proof_document_init(&doc);
	err = json_parse(&whole, text, &m);
	if (err != ERR_NONE) {
		rc = cli_fail(c, EXIT_UNVERIFIED, err_name(err),
			      "`ostrakon get --prove` and `tx status --prove` print such a "
			      "document, in JSON.",
			      "NOT verified: %s is no proof document: %s", c->opt.arg[0],
			      m.text);
		goto done;
	}
	/* Of a state document "proof" is a string. */
	if (json_is_object(json_get(whole, "proof"))) {
		inner = json_dump(json_get(whole, "proof"), false);
		text = slice_str(inner);
	}
	err = proof_document_parse(&doc, text, &m);
	if (err == ERR_NONE && protocol_is_byzantine(g->protocol))
		err = read_handovers(whole, &doc, g, &ctx, &m);
	else
		genesis_ctx(&ctx, g);
	if (err == ERR_NONE)
		err = proof_document_check_in(&doc, g, &ctx, &m);
	if (err != ERR_NONE && (number = cut_off_by(&doc, g)) != 0)
		rc = report_cut_off(c, &doc, g, number);
	else if (err != ERR_NONE)
		rc = refuted(c, err, m.text);
	else if (inner != NULL)
		rc = check_wrapper(c, whole, &doc);
	if (rc == EXIT_DONE)
		show_verified(c, &doc, g);
done:
	proof_document_free(&doc);
	json_free(whole);
	mem_free(inner);
	return rc;
}

int verb_verify(struct cli *c)
{
	const char *genesis = c->opt.value[OPT_GENESIS];
	char dir[PATH_SIZE], path[PATH_SIZE + 32];
	struct genesis g;
	struct errmsg m;
	uint8_t *text;
	size_t len;
	int err, rc;

	if (genesis == NULL) {
		if (home_check(c) != EXIT_DONE)
			return EXIT_CONFIG;
		if (!network_directory(c, dir))
			return cli_usage(
				c, "`verify` needs --genesis FILE: it is all that is trusted");
		snprintf(path, sizeof path, "%s/genesis.json", dir);
		genesis = path;
	}
	err = genesis_read(&g, genesis, &m);
	if (err != ERR_NONE)
		return cli_fail(c, EXIT_CONFIG, "config", NULL, "genesis file %s: %s", genesis,
				m.text);
	err = file_read(&text, &len, c->opt.arg[0], PROOF_FILE_MAX, &m);
	if (err == ERR_LIMIT) {
		rc = refuted(c, err, m.text);
	} else if (err != ERR_NONE) {
		rc = cli_fail_err(c, err, &m, NULL);
	} else {
		rc = verify_text(c, slice_of(text, len), &g);
		mem_free(text);
	}
	genesis_free(&g);
	return rc;
}
