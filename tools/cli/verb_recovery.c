/* recovery draft | sign | show | genesis | start */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "chain/recovery.h"
#include "replica/backup.h"
#include "replica/files.h"
#include "tools/cli/keys.h"
#include "tools/cli/network.h"
#include "tools/cli/progress.h"
#include "tools/cli/verbs.h"

/* --genesis, or the network directory's. Prints errors; exit code. */
static int open_genesis(struct cli *c, struct genesis *g)
{
	const char *path = c->opt.value[OPT_GENESIS];
	char dir[PATH_SIZE], of_home[PATH_SIZE + 32];
	struct errmsg m;

	if (path == NULL) {
		if (home_check(c) != EXIT_DONE)
			return EXIT_CONFIG;
		if (!network_directory(c, dir))
			return cli_usage(c, "--genesis FILE names the chain that is recovered");
		snprintf(of_home, sizeof of_home, "%s/genesis.json", dir);
		path = of_home;
	}
	if (genesis_read(g, path, &m) != ERR_NONE)
		return cli_fail(c, EXIT_CONFIG, "config", NULL, "genesis file %s: %s", path,
				m.text);
	return EXIT_DONE;
}

static int read_document(struct cli *c, const char *path, struct recovery *out)
{
	struct writer w = {0};
	struct reader r;
	struct errmsg m;
	int err = files_read(path, RECOVERY_SIZE_MAX, &w, &m);

	if (err != ERR_NONE) {
		writer_free(&w);
		return err == ERR_LIMIT ? cli_fail(c, EXIT_UNVERIFIED, "syntax", NULL,
						   "%s is no recovery: it is too long", path)
					: cli_fail_err(c, err, &m, NULL);
	}
	reader_init(&r, writer_slice(&w));
	recovery_decode(&r, out);
	err = reader_finish(&r);
	writer_free(&w);
	if (err == ERR_VERSION)
		return cli_fail(c, EXIT_UNVERIFIED, err_name(err), NULL,
				"%s is of a newer version: use a newer program", path);
	if (err != ERR_NONE)
		return cli_fail(c, EXIT_UNVERIFIED, err_name(err),
				"`ostrakon recovery draft` writes one.",
				"%s is no recovery, or damaged: %s", path, err_text(err));
	return EXIT_DONE;
}

/* Whole or not at all; an older one is replaced. */
static int write_document(struct cli *c, const char *path, const struct recovery *v)
{
	struct writer w = {0};
	struct errmsg m;
	char *new = mem_printf("%s.new", path);

	recovery_encode(&w, v);
	int err = files_remove(new, &m);
	if (err == ERR_NONE)
		err = files_write(new, writer_slice(&w), &m);
	if (err == ERR_NONE && rename(new, path) != 0)
		err = err_set(&m, ERR_IO, "cannot write %s", path);
	writer_free(&w);
	mem_free(new);
	return err == ERR_NONE ? EXIT_DONE : cli_fail_err(c, err, &m, NULL);
}

static void show(struct cli *c, const struct recovery *v, const struct genesis *g,
		 const char *path, bool complete)
{
	struct json *o = json_object(), *keys = json_array(), *signed_by = json_array();
	struct hash id;

	recovery_hash(&id, v);
	json_set(o, "file", json_string(path));
	json_set(o, "id", json_hash(&id));
	json_set(o, "chain_id", json_hash(&v->chain));
	json_set(o, "number", json_int(v->number));
	json_set(o, "height", json_u64(v->kept.height));
	json_set(o, "term", json_u64(v->kept.term));
	json_set(o, "block", json_hash(&v->kept.hash));
	json_set(o, "state_root", json_hash(&v->state_root));
	for (unsigned i = 0; i < v->n && i < g->n; i++) {
		struct json *key = json_object();
		json_set(key, "name", json_string(g->validator[i].name));
		json_set(key, "key", json_hex(v->key[i].b, PUBKEY_SIZE));
		json_append(keys, key);
	}
	json_set(o, "validators", keys);
	for (unsigned i = 0; i < g->recovery.m; i++)
		if (v->signers >> i & 1)
			json_append(signed_by, json_hex(g->recovery.key[i].b, PUBKEY_SIZE));
	json_set(o, "signed_by", signed_by);
	json_set(o, "signatures_needed", json_int((int64_t)g->recovery.k));
	json_set(o, "complete", json_bool(complete));
	out_object(c, o);
}

static int not_read(struct cli *c, const char *backup, int err, const struct errmsg *m)
{
	if (backup_altered(err))
		return cli_fail(c, EXIT_UNVERIFIED, err_name(err), NULL, "%s: %s", backup,
				m->text);
	return cli_fail_err(c, err, m, NULL);
}

int verb_recovery_draft(struct cli *c)
{
	const char *from = c->opt.arg[0], *path = c->opt.arg[1];
	struct genesis *g = mem_zalloc(sizeof *g);
	struct recovery *v = mem_zalloc(sizeof *v);
	struct backup_summary s;
	struct progress p;
	struct errmsg m = {.text = ""};
	int err = ERR_NONE, rc = open_genesis(c, g);

	progress_begin(&p, c, "verify");
	const struct backup_progress steps = {.arg = &p, .step = progress_step};
	const struct backup_check o = {.genesis = g, .progress = &steps};
	if (rc == EXIT_DONE && files_exist(path))
		rc = cli_fail(c, EXIT_LOCKED, "exists", NULL, "%s exists", path);
	v->n = (unsigned)c->opt.arg_count - 2;
	if (rc == EXIT_DONE && v->n != g->n)
		rc = cli_usage(c, "%u keys are given, and the chain has %u validators", v->n,
			       g->n);
	for (unsigned i = 0; rc == EXIT_DONE && i < v->n; i++)
		rc = account_parse(c, c->opt.arg[2 + i], &v->key[i]);
	if (rc == EXIT_DONE) {
		err = backup_verify(from, &o, &s, &m);
		progress_end(&p);
	}
	if (err != ERR_NONE)
		rc = not_read(c, from, err, &m);
	if (rc == EXIT_DONE && s.epoch > 0)
		rc = cli_fail(c, EXIT_REFUSED, err_name(ERR_UNSUPPORTED),
			      "`ostrakon member replace` gives one place a new key, while "
			      "enough others vote.",
			      "in this backup governance has replaced a validator's key: a "
			      "recovery of such a chain is not built yet");
	if (rc == EXIT_DONE) {
		struct chain_ctx ctx;
		genesis_ctx(&ctx, g);
		v->chain = ctx.id;
		v->number = (uint16_t)(g->recovery_count + 1);
		if (g->recovery_count)
			recovery_hash(&v->before, &g->recoveries[g->recovery_count - 1]);
		v->kept =
			(struct block_ref){.term = s.term, .height = s.height, .hash = s.block};
		v->state_root = s.state_root;
		err = recovery_check_form(v, g, &m);
		rc = err == ERR_NONE
			     ? write_document(c, path, v)
			     : cli_fail(c, EXIT_REFUSED, err_name(err), NULL, "%s", m.text);
	}
	if (rc == EXIT_DONE)
		show(c, v, g, path, false);
	genesis_free(g);
	mem_free(g);
	mem_free(v);
	return rc;
}

int verb_recovery_sign(struct cli *c)
{
	const char *path = c->opt.arg[0];
	struct genesis *g = mem_zalloc(sizeof *g);
	struct recovery *v = mem_zalloc(sizeof *v);
	struct keypair key;
	struct errmsg m = {.text = ""};
	int rc = opt_given(&c->opt, OPT_KEY) ? open_genesis(c, g)
					     : cli_usage(c, "--key names the recovery key");

	if (rc == EXIT_DONE)
		rc = read_document(c, path, v);
	if (rc == EXIT_DONE) {
		int err = recovery_check_form(v, g, &m);
		if (err != ERR_NONE)
			rc = cli_fail(c, EXIT_UNVERIFIED, err_name(err), NULL, "%s: %s", path,
				      m.text);
	}
	if (rc == EXIT_DONE) {
		rc = key_signer(c, &key);
		if (rc == EXIT_DONE && recovery_sign(v, g, &key) != ERR_NONE)
			rc = cli_fail(c, EXIT_REFUSED, "unknown_signer", NULL,
				      "this is none of the recovery keys of the genesis file");
		crypto_wipe(&key, sizeof key);
	}
	if (rc == EXIT_DONE)
		rc = write_document(c, path, v);
	if (rc == EXIT_DONE)
		show(c, v, g, path, recovery_check(v, g, NULL) == ERR_NONE);
	genesis_free(g);
	mem_free(g);
	mem_free(v);
	return rc;
}

/* The document, with all that it needs. Prints errors; exit code. */
static int open_complete(struct cli *c, const char *path, struct genesis *g, struct recovery *v,
			 bool *incomplete)
{
	struct errmsg m = {.text = ""};
	int rc = open_genesis(c, g);

	*incomplete = false;
	if (rc == EXIT_DONE)
		rc = read_document(c, path, v);
	if (rc != EXIT_DONE)
		return rc;
	int err = recovery_check(v, g, &m);
	*incomplete = err == ERR_NO_QUORUM;
	if (err != ERR_NONE)
		return cli_fail(c, *incomplete ? EXIT_REFUSED : EXIT_UNVERIFIED, err_name(err),
				NULL, "%s: %s", path, m.text);
	return EXIT_DONE;
}

int verb_recovery_show(struct cli *c)
{
	const char *path = c->opt.arg[0];
	struct genesis *g = mem_zalloc(sizeof *g);
	struct recovery *v = mem_zalloc(sizeof *v);
	struct errmsg m = {.text = ""};
	int rc = open_genesis(c, g);

	if (rc == EXIT_DONE)
		rc = read_document(c, path, v);
	if (rc == EXIT_DONE) {
		int err = recovery_check(v, g, &m);
		if (err == ERR_NONE || err == ERR_NO_QUORUM)
			show(c, v, g, path, err == ERR_NONE);
		if (err == ERR_NO_QUORUM) {
			fprintf(c->err, "ostrakon: %s: %s\n", path, m.text);
			rc = EXIT_REFUSED;
		} else if (err != ERR_NONE) {
			rc = cli_fail(c, EXIT_UNVERIFIED, err_name(err), NULL, "%s: %s", path,
				      m.text);
		}
	}
	genesis_free(g);
	mem_free(g);
	mem_free(v);
	return rc;
}

int verb_recovery_genesis(struct cli *c)
{
	struct genesis *g = mem_zalloc(sizeof *g);
	struct recovery *v = mem_zalloc(sizeof *v);
	bool incomplete;
	int rc = open_complete(c, c->opt.arg[0], g, v, &incomplete);

	if (rc == EXIT_DONE) {
		int err = genesis_add_recovery(g, v, NULL);
		invariant(err == ERR_NONE); /* it was just checked */
		char *text = genesis_json(g);
		fprintf(c->out, "%s\n", text);
		mem_free(text);
	}
	genesis_free(g);
	mem_free(g);
	mem_free(v);
	return rc;
}

/* The key must be one of the new ones, and without a home: the one that is made has an empty
 * vote state. */
static int check_key(struct cli *c, const char *path, const struct recovery *v)
{
	struct keyfile_info info;
	struct errmsg m;
	int err = keyfile_info(path, &info, &m);

	if (err != ERR_NONE)
		return cli_fail_err(c, err, &m, NULL);
	for (unsigned i = 0; i < v->n; i++)
		if (pubkey_equal(&info.pub, &v->key[i]) && !info.taken)
			return EXIT_DONE;
	if (info.taken)
		return cli_fail(
			c, EXIT_LOCKED, "exists", NULL,
			"%s: this key has, or has had, a home; what it has signed there "
			"is not known here",
			path);
	return cli_fail(c, EXIT_REFUSED, "unknown_signer", NULL,
			"%s is not one of the new validators' keys", path);
}

int verb_recovery_start(struct cli *c)
{
	const char *from = c->opt.arg[0], *home = c->opt.arg[2];
	struct genesis *g = mem_zalloc(sizeof *g);
	struct recovery *v = mem_zalloc(sizeof *v);
	char key[PATH_SIZE];
	struct backup_summary s;
	struct progress p;
	struct errmsg m = {.text = ""};
	bool incomplete;
	int rc = opt_given(&c->opt, OPT_KEY)
			 ? open_complete(c, c->opt.arg[1], g, v, &incomplete)
			 : cli_usage(c, "--key names the new validator's key file");

	progress_begin(&p, c, "restore");
	const struct backup_progress steps = {.arg = &p, .step = progress_step};
	if (rc == EXIT_DONE) {
		key_path(c, key, c->opt.value[OPT_KEY]);
		rc = check_key(c, key, v);
	}
	if (rc == EXIT_DONE) {
		int err = genesis_add_recovery(g, v, NULL);
		invariant(err == ERR_NONE);
		const struct backup_check o = {.genesis = g,
					       .history = CONFIG_HISTORY,
					       .key_file = key,
					       .progress = &steps};
		err = backup_restore(from, home, &o, &s, &m);
		progress_end(&p);
		if (err != ERR_NONE)
			rc = not_read(c, from, err, &m);
	}
	if (rc == EXIT_DONE) {
		char own[PATH_SIZE + 32];
		snprintf(own, sizeof own, "%s/validator.key", home);
		int err = keyfile_take(key, &m);
		if (err == ERR_NONE)
			err = keyfile_take(own, &m);
		if (err != ERR_NONE)
			rc = cli_fail_err(c, err, &m, NULL);
	}
	if (rc == EXIT_DONE) {
		struct json *o = json_object();
		json_set(o, "home", json_string(home));
		json_set(o, "chain_id", json_hash(&v->chain));
		json_set(o, "height", json_u64(s.height));
		json_set(o, "block", json_hash(&s.block));
		json_set(o, "state_root", json_hash(&s.state_root));
		json_set(o, "ms", json_u64(progress_ms(&p)));
		out_object(c, o);
		cli_hint(c,
			 "Put the addresses of all validators into %s/ostrakond.conf; then "
			 "`ostrakond run --home %s`.",
			 home, home);
	}
	genesis_free(g);
	mem_free(g);
	mem_free(v);
	return rc;
}
