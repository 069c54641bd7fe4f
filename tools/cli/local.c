#include "tools/cli/local.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "replica/files.h"
#include "tools/cli/client.h"

#define SNAPSHOT_TRIES	 3
#define BUSY_WAIT_MIN_MS 50
#define BUSY_WAIT_MAX_MS 1000

static bool has(const char *home, const char *name)
{
	char *path = mem_printf("%s/%s", home, name);
	bool there = files_exist(path);
	mem_free(path);
	return there;
}

/* Whether home may hold data that we are not allowed to look at. */
static bool is_denied(const char *home)
{
	char *path = mem_printf("%s/data", home);
	bool denied = access(path, R_OK | X_OK) != 0 && errno == EACCES;
	mem_free(path);
	return denied;
}

static int fail_denied(struct cli *c, const char *home)
{
	return cli_fail(c, EXIT_CONFIG, err_name(ERR_PERMISSION),
			"Run it as the user whom the node runs as.",
			"not allowed to read the data of %s", home);
}

static bool is_running(const char *home)
{
	struct process p;
	process_find(home, &p);
	return p.state == PROCESS_RUNNING;
}

static int find_in_network(struct cli *c, struct local *l, const char *dir)
{
	const char *only = c->opt.value[OPT_NODE];
	char denied[PATH_SIZE] = "";
	int best = 0;
	for (unsigned i = 0; i < l->genesis.n; i++) {
		char home[PATH_SIZE + GENESIS_NAME_MAX + 2];
		const char *name = l->genesis.validator[i].name;
		snprintf(home, sizeof home, "%s/%s", dir, name);
		if (strlen(home) >= sizeof l->home || (only && strcmp(only, name) != 0))
			continue;
		if (is_denied(home) && !denied[0])
			strcpy(denied, home);
		if (is_denied(home) || !has(home, "data"))
			continue;
		int worth = is_running(home) ? 2 : 1;
		if (worth <= best)
			continue;
		best = worth;
		strcpy(l->home, home);
	}
	if (best)
		return EXIT_DONE;
	if (denied[0])
		return fail_denied(c, denied);
	if (only && (strchr(only, '/') || strchr(only, ':')))
		return cli_usage(c, "--node takes a name here: the data of a node is read on "
				    "this machine, not through its API");
	return cli_fail(c, EXIT_NOT_FOUND, "not_found", NULL, "%s has no data of %s%s", dir,
			only ? "node " : "any node", only ? only : "");
}

int local_find(struct cli *c, struct local *l)
{
	const char *dir =
		opt_given(&c->opt, OPT_HOME) ? c->opt.value[OPT_HOME] : NETWORK_DEFAULT;
	char path[PATH_SIZE + 32];
	struct errmsg m;
	*l = (struct local){0};
	if (strlen(dir) + 32 > sizeof l->home)
		return cli_usage(c, "--home is too long");
	snprintf(path, sizeof path, "%s/genesis.json", dir);
	int err = genesis_read(&l->genesis, path, &m);
	if (err == ERR_NOT_FOUND)
		err = ERR_CONFIG;
	if (err != ERR_NONE)
		return cli_fail(c, exit_of(err), err_name(err),
				"--home is a node's home, or a network directory with nodes "
				"on this machine.",
				"%s", m.text);
	l->has_genesis = true;
	if (is_denied(dir))
		return fail_denied(c, dir);
	if (!has(dir, "data"))
		return find_in_network(c, l, dir);
	strcpy(l->home, dir);
	return EXIT_DONE;
}

/* The path, or what is wrong; ERR_BUSY with how long the node would have us wait. */
static int ask_for_snapshot(struct cli *c, struct local *l, uint64_t *wait_ms, struct errmsg *m)
{
	char path[PATH_SIZE + 8], url[CONFIG_TEXT_MAX + 32] = "";
	struct writer text = {0};
	*wait_ms = 0;
	snprintf(path, sizeof path, "%s/api", l->home);
	int err = files_read(path, sizeof url - 1, &text, m);
	if (err == ERR_NONE)
		memcpy(url, text.buf, text.len);
	writer_free(&text);
	if (err != ERR_NONE)
		return err_set(m, ERR_LOCKED,
			       "the data of %s is in use, and no node answers for it: another "
			       "tool reads it, or a node is just starting or stopping",
			       l->home);
	url[strcspn(url, "\r\n")] = 0;
	node_home_token(l->home, &l->genesis, url);
	struct target *t = mem_zalloc(sizeof *t);
	struct link k;
	target_of_url(c, t, url);
	link_open(&k, t, 0);
	err = link_call(&k, 0, "POST", "/v1/snapshots", "application/json", slice_str(""),
			cli_time_left(c));
	const char *answer;
	if (err != ERR_NONE)
		err_set(m, err, "%s: %s", url, k.m.text);
	else if (k.reply.status != 200)
		err = err_set(m, k.reply.status == 503 ? ERR_BUSY : ERR_IO, "%s: %s", url,
			      k.m.text);
	else if (!k.answer || json_read_string(k.answer, "path", &answer) != ERR_NONE ||
		 strlen(answer) >= sizeof l->snapshot)
		err = err_set(m, ERR_SYNTAX, "%s: not the answer of a node", url);
	else
		strcpy(l->snapshot, answer);
	if (err == ERR_IO && k.reply.status == 401)
		strcpy(l->unauthorized, t->url[0]);
	*wait_ms = k.reply.retry_after_ms;
	link_close(&k);
	target_close(t);
	mem_free(t);
	return err;
}

/* A node makes one at a time, and only so many a second: whoever comes when others do waits,
 * for as long as the whole command may take. */
static int await_snapshot(struct cli *c, struct local *l, struct errmsg *m)
{
	for (;;) {
		uint64_t wait, left;
		uint32_t jitter;
		int err = ask_for_snapshot(c, l, &wait, m);
		if (err != ERR_BUSY || (left = cli_time_left(c)) == 0 || interrupted())
			return err;
		if (wait < BUSY_WAIT_MIN_MS || wait > BUSY_WAIT_MAX_MS)
			wait = BUSY_WAIT_MAX_MS;
		crypto_random(&jitter, sizeof jitter);
		wait += jitter % (wait / 2);
		sleep_ms(wait < left ? wait : left);
	}
}

/* What the node says is in its home, and nowhere else: what is removed later is ours. */
static bool in_home(const struct local *l)
{
	char want[PATH_SIZE + 16], real[PATH_MAX];
	snprintf(want, sizeof want, "%s/snapshots", l->home);
	if (!realpath(want, real))
		return false;
	size_t len = strlen(real);
	return strncmp(l->snapshot, real, len) == 0 && l->snapshot[len] == '/' &&
	       strspn(l->snapshot + len + 1, "0123456789") == strlen(l->snapshot + len + 1) &&
	       l->snapshot[len + 1];
}

static int open_snapshot(struct cli *c, struct local *l, struct errmsg *m)
{
	struct store_options options = {.read_only = true};
	int err = ERR_NOT_FOUND;
	for (unsigned i = 0; i < SNAPSHOT_TRIES && err == ERR_NOT_FOUND; i++) {
		l->snapshot[0] = 0;
		err = await_snapshot(c, l, m);
		if (err == ERR_NONE && !in_home(l)) {
			l->snapshot[0] = 0;
			return err_set(m, ERR_UNSUPPORTED,
				       "the node of %s keeps its snapshots elsewhere: it is on "
				       "another machine, or in a container",
				       l->home);
		}
		if (err == ERR_NONE)
			err = store_open_rocksdb(&l->store, l->snapshot, &options, m);
		else
			break;
		if (err == ERR_NONE)
			files_take(l->snapshot);
		else if (err == ERR_LOCKED || !files_exist(l->snapshot))
			err = ERR_NOT_FOUND; /* it went to make room for others */
	}
	return err;
}

int local_open(struct cli *c, struct local *l)
{
	char path[PATH_SIZE + 8];
	struct store_options options = {.read_only = true};
	struct errmsg m;
	int rc = local_find(c, l);
	if (rc != EXIT_DONE)
		return rc;
	snprintf(path, sizeof path, "%s/data", l->home);
	int err = is_running(l->home) ? ERR_LOCKED
				      : store_open_rocksdb(&l->store, path, &options, &m);
	if (err == ERR_LOCKED)
		err = open_snapshot(c, l, &m);
	if (l->unauthorized[0])
		return unauthorized_fail(c, l->unauthorized);
	if (err == ERR_BUSY && interrupted())
		return cli_fail(c, EXIT_INTERRUPTED, "interrupted", NULL, "interrupted");
	if (err == ERR_CORRUPT)
		return cli_fail(c, EXIT_UNVERIFIED, err_name(err), NULL, "%s", m.text);
	return err == ERR_NONE ? EXIT_DONE : cli_fail_err(c, err, &m, NULL);
}

void local_close(struct local *l)
{
	if (l->store)
		store_close(l->store);
	if (l->snapshot[0])
		files_remove(l->snapshot, NULL);
	if (l->has_genesis)
		genesis_free(&l->genesis);
	*l = (struct local){0};
}
