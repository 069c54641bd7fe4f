/* backup create | list | verify | restore */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "replica/backup.h"
#include "replica/files.h"
#include "tools/cli/local.h"
#include "tools/cli/progress.h"
#include "tools/cli/verbs.h"

#define SCRATCH_BYTES (64u << 20) /* a longer backup is checked with its state on disk */

static struct json *summary_json(const char *path, const struct backup_summary *s)
{
	struct json *o = json_object();
	json_set(o, "path", json_string(path));
	json_set(o, "chain_id", json_hash(&s->chain));
	json_set(o, "made_ms", json_u64(s->made_ms));
	json_set(o, "height", json_u64(s->height));
	json_set(o, "block", json_hash(&s->block));
	json_set(o, "state_root", json_hash(&s->state_root));
	json_set(o, "records", json_u64(s->records));
	json_set(o, "bytes", json_u64(s->bytes));
	json_set(o, "parts", json_u64(s->parts));
	return o;
}

static int fail(struct cli *c, int err, const struct errmsg *m, const char *hint)
{
	if (err == ERR_CLOSED)
		return cli_fail(c, EXIT_INTERRUPTED, "interrupted", NULL, "%s", m->text);
	return cli_fail_err(c, err, m, hint);
}

int verb_backup_create(struct cli *c)
{
	const char *dest = c->opt.arg[0];
	struct local *l = mem_zalloc(sizeof *l);
	struct backup_summary s;
	struct progress p;
	struct errmsg m;
	progress_begin(&p, c, "backup");
	struct backup_progress steps = {.arg = &p, .step = progress_step};
	int rc = local_open(c, l);
	if (rc == EXIT_DONE) {
		struct backup_options o = {
			.genesis = &l->genesis, .made_ms = wall_ms(), .progress = &steps};
		int err = backup_create(l->store, dest, &o, &s, &m);
		progress_end(&p);
		if (err == ERR_CORRUPT || err == ERR_BAD_HASH || err == ERR_BAD_LINK)
			rc = cli_fail(c, EXIT_UNVERIFIED, err_name(err), NULL, "%s", m.text);
		else if (err != ERR_NONE)
			rc = fail(c, err, &m, NULL);
	}
	if (rc == EXIT_DONE) {
		struct json *o = summary_json(dest, &s);
		json_set(o, "home", json_string(l->home));
		json_set(o, "online", json_bool(l->snapshot[0] != 0));
		json_set(o, "ms", json_u64(progress_ms(&p)));
		out_object(c, o);
		cli_hint(c, "`ostrakon backup verify %s` checks it; do so where it is kept.",
			 dest);
	}
	local_close(l);
	mem_free(l);
	return rc;
}

/* ---- list -------------------------------------------------------------------------------- */

/* What is no directory is no backup, nor a broken one. */
static bool is_directory(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void list_one(struct cli *c, const char *path, struct json *rows)
{
	struct backup_summary s;
	struct errmsg m;
	struct json *row;
	if (!is_directory(path))
		return;
	int err = backup_inspect(path, &s, &m);
	if (err == ERR_NOT_FOUND)
		return;
	if (err == ERR_NONE) {
		row = summary_json(path, &s);
	} else {
		row = json_object();
		json_set(row, "path", json_string(path));
	}
	json_set(row, "state", json_string(err == ERR_NONE ? "complete" : err_name(err)));
	if (err != ERR_NONE)
		fprintf(c->err, "ostrakon: %s\n", m.text);
	json_append(rows, row);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_partial(const char *path, struct json *rows)
{
	struct json *row = json_object();
	json_set(row, "path", json_string(path));
	json_set(row, "state", json_string("partial"));
	json_append(rows, row);
}

/* A table tells people when a backup was made; JSON keeps the milliseconds. */
static void add_times(struct json *rows)
{
	for (size_t i = 0; i < json_len(rows); i++) {
		struct json *row = json_at(rows, i);
		char text[TIME_TEXT_SIZE];
		uint64_t ms;
		if (json_read_u64(row, "made_ms", &ms) == ERR_NONE)
			json_set(row, "made", json_string(time_text(text, ms)));
	}
}

int verb_backup_list(struct cli *c)
{
	static const struct column columns[] = {{"PATH", "path"},     {"STATE", "state"},
						{"HEIGHT", "height"}, {"BYTES", "bytes"},
						{"MADE", "made"},     {"CHAIN", "chain_id"}};
	const char *dir = c->opt.arg_count ? c->opt.arg[0] : ".";
	struct json *rows = json_array();
	char **names = NULL, path[PATH_SIZE];
	size_t count = 0;
	DIR *d = opendir(dir);
	struct dirent *e;
	if (!d) {
		struct errmsg m;
		int err = errno == EACCES ? ERR_PERMISSION : ERR_NOT_FOUND;
		err_set(&m, err, "cannot list %s: %s", dir, strerror(errno));
		json_free(rows);
		return cli_fail_err(c, err, &m, NULL);
	}
	list_one(c, dir, rows);
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		names = mem_realloc(names, (count + 1) * sizeof *names);
		names[count++] = mem_strdup(e->d_name);
	}
	closedir(d);
	if (count > 0)
		qsort(names, count, sizeof *names, compare_names);
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(names[i]), tail = strlen(".partial");
		if (snprintf(path, sizeof path, "%s/%s", dir, names[i]) < (int)sizeof path) {
			char part[PATH_SIZE + 16];
			snprintf(part, sizeof part, "%s/part-000000", path);
			if (len > tail && strcmp(names[i] + len - tail, ".partial") == 0 &&
			    files_exist(part))
				list_partial(path, rows);
			else
				list_one(c, path, rows);
		}
		mem_free(names[i]);
	}
	mem_free(names);
	if (c->format == FORMAT_TABLE)
		add_times(rows);
	out_rows(c, columns, MEM_COUNT(columns), rows);
	return EXIT_DONE;
}

/* Prints that dest is a file, if it is; exit code. */
static int refuse_file(struct cli *c, const char *dest)
{
	if (!files_exist(dest) || is_directory(dest))
		return EXIT_DONE;
	return cli_fail(
		c, EXIT_NOT_FOUND, "not_found",
		"`ostrakon backup create` makes one; `ostrakon backup list DIR` finds it.",
		"%s is no backup: a backup is a directory", dest);
}

/* ---- verify and restore ------------------------------------------------------------------ */

/* --genesis, if it was given: what the backup must be of. */
static int expected_genesis(struct cli *c, struct genesis *g, const struct genesis **out)
{
	struct errmsg m;
	*out = NULL;
	if (!opt_given(&c->opt, OPT_GENESIS))
		return EXIT_DONE;
	int err = genesis_read(g, c->opt.value[OPT_GENESIS], &m);
	if (err != ERR_NONE)
		return cli_fail(c, EXIT_CONFIG, "config", NULL, "%s", m.text);
	*out = g;
	return EXIT_DONE;
}

static int finish(struct cli *c, int err, const char *dest, const struct backup_summary *s,
		  struct progress *p, const struct errmsg *m, const char *home)
{
	progress_end(p);
	/* That the manifest and the genesis in the backup disagree is its own fault. */
	if (err == ERR_WRONG_CHAIN && opt_given(&c->opt, OPT_GENESIS))
		return cli_fail(c, EXIT_UNVERIFIED, err_name(err),
				"Is this the genesis file that was meant, and this the backup? "
				"Without --genesis the backup is checked against its own.",
				"%s: %s", dest, m->text);
	if (backup_altered(err))
		return cli_fail(c, EXIT_UNVERIFIED, err_name(err),
				"The backup is damaged or altered: use another one.", "%s: %s",
				dest, m->text);
	if (err != ERR_NONE)
		return fail(c, err, m, NULL);
	struct json *o = summary_json(dest, s);
	json_set(o, "transactions", json_u64(s->transactions));
	json_set(o, "certificates", json_u64(s->certificates));
	json_set(o, "epoch", json_u64(s->epoch));
	json_set(o, "proven", json_bool(s->proven));
	json_set(o, "ms", json_u64(progress_ms(p)));
	if (home)
		json_set(o, "home", json_string(home));
	else
		json_set(o, "verified", json_bool(true));
	out_object(c, o);
	if (!opt_given(&c->opt, OPT_GENESIS))
		cli_hint(c,
			 "Checked against the genesis in the backup itself: compare chain_id "
			 "with what you know, or give --genesis FILE.");
	if (!s->proven)
		fprintf(c->err,
			"ostrakon: the chain's protocol tolerates crashes only: hashes, "
			"links and execution hold, its commits are proved by nothing\n");
	return EXIT_DONE;
}

static bool is_large(const char *dest)
{
	struct backup_summary s;
	return backup_inspect(dest, &s, NULL) == ERR_NONE && s.bytes > SCRATCH_BYTES;
}

int verb_backup_verify(struct cli *c)
{
	const char *dest = c->opt.arg[0], *tmp = getenv("TMPDIR");
	char scratch[PATH_SIZE], store[PATH_SIZE + 8];
	struct genesis *g = mem_zalloc(sizeof *g);
	struct backup_check o = {0};
	struct backup_summary s;
	struct progress p;
	struct errmsg m = {.text = ""};
	progress_begin(&p, c, "verify");
	struct backup_progress steps = {.arg = &p, .step = progress_step};
	o.progress = &steps;
	int rc = refuse_file(c, dest);
	if (rc == EXIT_DONE)
		rc = expected_genesis(c, g, &o.genesis);
	scratch[0] = 0;
	if (rc == EXIT_DONE && is_large(dest)) {
		snprintf(scratch, sizeof scratch, "%s/ostrakon-verify.XXXXXX",
			 tmp ? tmp : "/tmp");
		if (!mkdtemp(scratch))
			rc = cli_fail(c, EXIT_REFUSED, "io",
				      "TMPDIR names a directory with room for the state.",
				      "cannot make %s", scratch);
		snprintf(store, sizeof store, "%s/state", scratch);
		o.scratch = store;
	}
	if (rc == EXIT_DONE) {
		int err = backup_verify(dest, &o, &s, &m);
		rc = finish(c, err, dest, &s, &p, &m, NULL);
	}
	if (scratch[0])
		rmdir(scratch);
	if (o.genesis)
		genesis_free(g);
	mem_free(g);
	return rc;
}

int verb_backup_restore(struct cli *c)
{
	const char *dest = c->opt.arg[0], *home = c->opt.arg[1];
	struct genesis *g = mem_zalloc(sizeof *g);
	struct backup_check o = {.history = CONFIG_HISTORY};
	struct backup_summary s;
	struct progress p;
	struct errmsg m = {.text = ""};
	progress_begin(&p, c, "restore");
	struct backup_progress steps = {.arg = &p, .step = progress_step};
	o.progress = &steps;
	int rc = refuse_file(c, dest);
	if (rc == EXIT_DONE)
		rc = expected_genesis(c, g, &o.genesis);
	if (rc == EXIT_DONE) {
		int err = backup_restore(dest, home, &o, &s, &m);
		rc = finish(c, err, dest, &s, &p, &m, home);
	}
	if (rc == EXIT_DONE)
		fprintf(c->err,
			"ostrakon: %s has neither key nor vote state, and no validator will "
			"vote "
			"from it, whatever key it is given: %s/RESTORED says why\n",
			home, home);
	if (o.genesis)
		genesis_free(g);
	mem_free(g);
	return rc;
}
