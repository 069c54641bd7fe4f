/* db check | inspect | repair */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "replica/audit.h"
#include "replica/files.h"
#include "replica/repair.h"
#include "tools/cli/client.h"
#include "tools/cli/local.h"
#include "tools/cli/progress.h"
#include "tools/cli/verbs.h"

#define FINDINGS_SHOWN 1000
#define FETCH_MS       30000

struct checking {
	struct json *findings;
	struct progress progress;
};

static const char *advice(const struct finding *f)
{
	switch (f->family) {
	case STORE_VOTES:
		return "never let this key vote again: replace it; a backup can be restored "
		       "for "
		       "reading";
	case STORE_BLOCKS:
	case STORE_CERTS:
	case STORE_STATE:
	case STORE_TREE:
	case STORE_TXINDEX:
		return "a running node mends it when its scrub comes to it; or stop the node "
		       "and run `ostrakon db repair`";
	case STORE_EVIDENCE:
	case STORE_META:
	case STORE_FAMILIES:
		break;
	}
	return "stop the node and run `ostrakon db repair`";
}

static void on_found(void *arg, const struct finding *f)
{
	struct checking *k = arg;
	if (json_len(k->findings) >= FINDINGS_SHOWN)
		return;
	struct json *o = json_object();
	json_set(o, "family", json_string(store_family_name(f->family)));
	json_set(o, "height", f->height == UINT64_MAX ? json_null() : json_u64(f->height));
	json_set(o, "key", json_string(f->key));
	json_set(o, "error", json_string(err_name(f->err)));
	json_set(o, "what", json_string(f->what));
	json_set(o, "advice", json_string(advice(f)));
	json_append(k->findings, o);
}

static bool on_step(void *arg, uint64_t height, uint64_t height_max, uint64_t bytes,
		    uint64_t bytes_max)
{
	struct checking *k = arg;
	return progress_step(&k->progress, height, height_max, bytes, bytes_max);
}

static struct json *head_json(const struct local *l, const struct audit_result *r)
{
	struct json *o = json_object();
	json_set(o, "home", json_string(l->home));
	json_set(o, "online", json_bool(l->snapshot[0] != 0));
	json_set(o, "height", json_u64(r->ledger.height));
	json_set(o, "block", json_hash(&r->ledger.block));
	json_set(o, "state_root", json_hash(&r->ledger.root));
	json_set(o, "oldest_state", json_u64(r->ledger.oldest));
	json_set(o, "keys", json_u64(r->ledger.keys));
	json_set(o, "vote_slots", json_u64(r->vote_slots));
	json_set(o, "restored", json_bool(r->restored));
	json_set(o, "observer", json_bool(r->observer));
	return o;
}

static int unreadable(struct cli *c, int err, const struct errmsg *m)
{
	if (err == ERR_CORRUPT)
		return cli_fail(c, EXIT_UNVERIFIED, err_name(err), NULL, "%s", m->text);
	if (err == ERR_NOT_FOUND)
		return cli_fail(c, EXIT_NOT_FOUND, err_name(err), NULL,
				"the store is empty: no node has started on it yet");
	if (err == ERR_CLOSED)
		return cli_fail(c, EXIT_INTERRUPTED, "interrupted", NULL, "%s", m->text);
	return cli_fail_err(c, err, m, NULL);
}

int verb_db_inspect(struct cli *c)
{
	struct local *l = mem_zalloc(sizeof *l);
	struct audit_result r;
	struct errmsg m = {.text = ""};
	int rc = local_open(c, l);
	if (rc == EXIT_DONE) {
		int err = replica_audit_head(l->store, &l->genesis, &r, &m);
		if (err == ERR_NONE)
			out_object(c, head_json(l, &r));
		else
			rc = unreadable(c, err, &m);
	}
	local_close(l);
	mem_free(l);
	return rc;
}

static struct json *check_json(const struct local *l, const struct audit_result *r,
			       const struct checking *k)
{
	struct json *o = head_json(l, r);
	json_set(o, "first_block", json_u64(r->first_block));
	json_set(o, "epochs", json_u64(r->epochs));
	json_set(o, "blocks", json_u64(r->blocks));
	json_set(o, "unfinal_blocks", json_u64(r->unfinal));
	json_set(o, "transactions", json_u64(r->transactions));
	json_set(o, "certificates", json_u64(r->certificates));
	json_set(o, "terms", json_u64(r->terms));
	json_set(o, "evidence", json_u64(r->evidence));
	json_set(o, "tree_nodes", json_u64(r->ledger.nodes));
	json_set(o, "values", json_u64(r->ledger.values));
	json_set(o, "index_entries", json_u64(r->ledger.index_entries));
	json_set(o, "bytes", json_u64(r->bytes));
	json_set(o, "ms", json_u64(progress_ms(&k->progress)));
	json_set(o, "damaged", json_u64(r->findings));
	return o;
}

static int report(struct cli *c, const struct local *l, const struct audit_result *r,
		  struct checking *k)
{
	static const struct column columns[] = {{"FAMILY", "family"}, {"HEIGHT", "height"},
						{"ERROR", "error"},   {"WHAT", "what"},
						{"KEY", "key"},	      {"WHAT TO DO", "advice"}};
	struct json *o = check_json(l, r, k);
	if (c->format != FORMAT_TABLE) {
		json_set(o, "findings", json_copy(k->findings));
		out_object(c, o);
	} else {
		out_object(c, o);
		if (r->findings)
			out_rows(c, columns, MEM_COUNT(columns), json_copy(k->findings));
	}
	if (r->findings == 0)
		return EXIT_DONE;
	fprintf(c->err, "ostrakon: %s: %llu damaged or missing records%s\n", l->home,
		(unsigned long long)r->findings,
		r->findings > FINDINGS_SHOWN ? ", the first 1000 are shown" : "");
	return EXIT_UNVERIFIED;
}

int verb_db_check(struct cli *c)
{
	struct local *l = mem_zalloc(sizeof *l);
	struct checking k = {.findings = json_array()};
	struct audit_result r;
	struct errmsg m = {.text = ""};
	progress_begin(&k.progress, c, "check");
	int rc = local_open(c, l);
	if (rc == EXIT_DONE) {
		const struct audit_options o = {
			.genesis = &l->genesis, .arg = &k, .found = on_found, .step = on_step};
		int err = replica_audit(l->store, &o, &r, &m);
		progress_end(&k.progress);
		rc = err == ERR_NONE ? report(c, l, &r, &k) : unreadable(c, err, &m);
	}
	json_free(k.findings);
	local_close(l);
	mem_free(l);
	return rc;
}

/* ---- repair ------------------------------------------------------------------------------ */

/* Nodes to fetch from: those of the same network directory that run, and --node URL. */
struct sources {
	struct http *http;
	struct http_reply reply;
	unsigned count, next;
	char url[VALIDATORS_MAX + 1][CONFIG_TEXT_MAX + 32];
	const char *unauthorized; /* one that refused us, or NULL */
};

static void add_source(struct sources *s, const char *url)
{
	snprintf(s->url[s->count], sizeof s->url[0], "%s", url);
	s->url[s->count][strcspn(s->url[s->count], "\r\n")] = 0;
	s->count++;
}

static void find_sources(struct cli *c, const struct local *l, struct sources *s)
{
	const char *node = c->opt.value[OPT_NODE];
	if (node && strchr(node, ':'))
		add_source(s, node);
	for (unsigned i = 0; i < l->genesis.n; i++) {
		char home[PATH_SIZE + GENESIS_NAME_MAX + 8], path[sizeof home + 8];
		struct writer text = {0};
		snprintf(home, sizeof home, "%s/../%s", l->home, l->genesis.validator[i].name);
		snprintf(path, sizeof path, "%s/api", home);
		if (files_read(path, CONFIG_TEXT_MAX, &text, NULL) == ERR_NONE) {
			writer_u8(&text, 0);
			add_source(s, (const char *)text.buf);
			node_home_token(home, &l->genesis, s->url[s->count - 1]);
		}
		writer_free(&text);
	}
}

static bool take_hex(const struct json *o, const char *name, struct writer *out)
{
	const char *hex;
	writer_reset(out);
	if (json_read_string(o, name, &hex) != ERR_NONE)
		return false;
	size_t len = strlen(hex) / 2, at = writer_skip(out, len);
	return hex_decode(out->buf + at, len, hex) == ERR_NONE;
}

static int ask(struct sources *s, const char *url, uint64_t height, struct writer *block,
	       struct writer *cert, struct writer *term, struct errmsg *m)
{
	char full[CONFIG_TEXT_MAX + 96];
	struct json *o = NULL;
	snprintf(full, sizeof full, "%s/v1/raw-blocks/%llu", url, (unsigned long long)height);
	int err = http_call(s->http, "GET", full, NULL, (struct slice){0}, FETCH_MS, &s->reply,
			    m);
	if (err != ERR_NONE)
		return err;
	if (s->reply.status == 401)
		s->unauthorized = url;
	if (s->reply.status != 200)
		return err_set(m, ERR_NOT_FOUND, "%s does not have block %llu", url,
			       (unsigned long long)height);
	err = json_parse(&o, writer_slice(&s->reply.body), m);
	if (err == ERR_NONE && !take_hex(o, "block", block))
		err = err_set(m, ERR_SYNTAX, "%s: not the answer of a node", full);
	if (err == ERR_NONE && !take_hex(o, "certificate", cert))
		writer_reset(cert);
	if (err == ERR_NONE && !take_hex(o, "term_certificate", term))
		writer_reset(term);
	json_free(o);
	return err;
}

static int get_block(void *arg, uint64_t height, struct writer *block, struct writer *cert,
		     struct writer *term, struct errmsg *m)
{
	struct sources *s = arg;
	for (unsigned i = 0; i < s->count; i++) {
		unsigned at = (s->next + i) % s->count;
		if (ask(s, s->url[at], height, block, cert, term, m) == ERR_NONE) {
			s->next = at;
			return ERR_NONE;
		}
	}
	return err_set(m, ERR_NOT_FOUND,
		       "block %llu is damaged here, and no node that runs has it: start the "
		       "others, or name one with --node URL",
		       (unsigned long long)height);
}

static int ask_handover(struct sources *s, const char *url, uint64_t epoch,
			struct proof_document *out, struct errmsg *m)
{
	char full[CONFIG_TEXT_MAX + 96];
	struct json *o = NULL;
	snprintf(full, sizeof full, "%s/v1/members?from=%llu&limit=1", url,
		 (unsigned long long)epoch);
	int err = http_call(s->http, "GET", full, NULL, (struct slice){0}, FETCH_MS, &s->reply,
			    m);
	if (err != ERR_NONE)
		return err;
	if (s->reply.status == 401)
		s->unauthorized = url;
	if (s->reply.status != 200)
		return err_set(m, ERR_NOT_FOUND, "%s does not answer", full);
	err = json_parse(&o, writer_slice(&s->reply.body), m);
	const struct json *document =
		err == ERR_NONE ? json_at(json_get(o, "handovers"), 0) : NULL;
	if (err == ERR_NONE && document == NULL)
		err = err_set(m, ERR_NOT_FOUND, "%s is not in epoch %llu yet", url,
			      (unsigned long long)epoch);
	if (err == ERR_NONE) {
		char *text = json_dump(document, false);
		err = proof_document_parse(out, slice_str(text), m);
		mem_free(text);
	}
	json_free(o);
	return err;
}

static int get_handover(void *arg, uint64_t epoch, struct proof_document *out, struct errmsg *m)
{
	struct sources *s = arg;
	for (unsigned i = 0; i < s->count; i++) {
		if (ask_handover(s, s->url[(s->next + i) % s->count], epoch, out, m) ==
		    ERR_NONE)
			return ERR_NONE;
		proof_document_free(out);
		proof_document_init(out);
	}
	return err_set(m, ERR_NOT_FOUND,
		       "what proves the beginning of epoch %llu is damaged here, and no node "
		       "that runs has it: start the others, or name one with --node URL",
		       (unsigned long long)epoch);
}

static int repair(struct cli *c, struct local *l, struct sources *s)
{
	struct progress p;
	struct repair_result r;
	struct errmsg m = {.text = ""};
	progress_begin(&p, c, "repair");
	const struct backup_progress steps = {.arg = &p, .step = progress_step};
	const struct repair_source source = {
		.arg = s, .get = get_block, .handover = get_handover};
	const struct repair_options o = {.genesis = &l->genesis,
					 .source = s->count ? &source : NULL,
					 .history = CONFIG_HISTORY,
					 .progress = &steps};
	int err = replica_repair(l->store, l->home, &o, &r, &m);
	progress_end(&p);
	if (err == ERR_CLOSED)
		return cli_fail(c, EXIT_INTERRUPTED, "interrupted", NULL, "%s", m.text);
	if (err == ERR_NOT_FOUND && s->unauthorized)
		return unauthorized_fail(c, s->unauthorized);
	if (err != ERR_NONE)
		return cli_fail_err(c, err, &m, NULL);
	struct json *out = json_object();
	json_set(out, "home", json_string(l->home));
	json_set(out, "height", json_u64(r.height));
	json_set(out, "block", json_hash(&r.block));
	json_set(out, "state_root", json_hash(&r.state_root));
	json_set(out, "epoch", json_u64(r.epoch));
	json_set(out, "fetched_blocks", json_u64(r.fetched));
	json_set(out, "first_fetched", r.fetched ? json_u64(r.first_fetched) : json_null());
	json_set(out, "fetched_handovers", json_u64(r.fetched_handovers));
	json_set(out, "unfinal_blocks", json_u64(r.unfinal));
	json_set(out, "left_out", json_u64(r.dropped));
	json_set(out, "damaged_data", json_string(r.aside));
	json_set(out, "ms", json_u64(progress_ms(&p)));
	out_object(c, out);
	return EXIT_DONE;
}

int verb_db_repair(struct cli *c)
{
	struct local *l = mem_zalloc(sizeof *l);
	struct sources *s = mem_zalloc(sizeof *s);
	char path[PATH_SIZE + 8];
	struct store_options options = {.read_only = true};
	struct errmsg m = {.text = ""};
	int rc = local_find(c, l);
	snprintf(path, sizeof path, "%s/data", l->home);
	int err =
		rc == EXIT_DONE ? store_open_rocksdb(&l->store, path, &options, &m) : ERR_NONE;
	if (err == ERR_LOCKED)
		rc = cli_fail(c, EXIT_LOCKED, "locked", "Stop the node first.", "%s", m.text);
	else if (err == ERR_CORRUPT)
		rc = cli_fail(c, EXIT_UNVERIFIED, err_name(err),
			      "It cannot be repaired: what it has signed is not known for "
			      "certain. Restore a backup for reading, or replace the key.",
			      "%s", m.text);
	else if (err != ERR_NONE)
		rc = cli_fail_err(c, err, &m, NULL);
	if (rc == EXIT_DONE) {
		s->http = http_new();
		find_sources(c, l, s);
		rc = repair(c, l, s);
		http_free(s->http);
		http_reply_free(&s->reply);
	}
	local_close(l);
	mem_free(s);
	mem_free(l);
	return rc;
}
