/* Asks every node at the same time, and looks at what is local: processes, files, logs. */
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/mem.h"
#include "tools/cli/client.h"
#include "tools/cli/doctor.h"

#define ASK_MS	  2500
#define LOG_LINES 40

struct asked { /* of one node */
	int err;
	struct errmsg m;
	unsigned status_code;
	struct json *status, *consensus;
	bool has_offset;
	int64_t offset_ms;
};
struct collecting {
	struct target *t;
	uint64_t ask_ms;
	struct asked asked[VALIDATORS_MAX];
};

static bool ask_one(void *arg, struct link *l, size_t i)
{
	struct collecting *k = arg;
	struct asked *a = &k->asked[i];
	uint64_t before = wall_ms(), after, theirs;

	a->err = link_call(l, (unsigned)i, "GET", "/v1/status", NULL, slice_of(NULL, 0),
			   k->ask_ms);
	a->m = l->m;
	if (a->err != ERR_NONE)
		return true;
	after = wall_ms();
	a->status_code = l->reply.status;
	if (l->reply.status == 200 && l->answer != NULL) {
		a->status = json_copy(l->answer);
		if (json_read_u64(a->status, "time_ms", &theirs) == ERR_NONE &&
		    theirs < UINT64_C(1) << 60) {
			a->has_offset = true;
			a->offset_ms =
				(int64_t)theirs - (int64_t)(before + (after - before) / 2);
		}
	}
	if (link_call(l, (unsigned)i, "GET", "/v1/consensus", NULL, slice_of(NULL, 0),
		      k->ask_ms) == ERR_NONE &&
	    l->reply.status == 200 && l->answer != NULL)
		a->consensus = json_copy(l->answer);
	return true;
}

static void add_answers(struct json *o, struct asked *a)
{
	const char *reach = "broken";

	if (a->status != NULL)
		reach = "answered";
	else if (a->status_code == 401)
		reach = ""; /* it lives; what it is doing is not for us to know */
	else if (a->err == ERR_UNREACHABLE)
		reach = "refused";
	else if (a->err == ERR_TIMEOUT)
		reach = "timeout";
	json_set(o, "reach", json_string(reach));
	if (a->status == NULL)
		json_set(o, "why", json_string(a->m.text));
	if (a->has_offset)
		json_set(o, "clock_offset_ms", json_int(a->offset_ms));
	json_set(o, "status", a->status ? a->status : json_null());
	json_set(o, "consensus", a->consensus ? a->consensus : json_null());
	a->status = a->consensus = NULL;
}

/* The last error of the newest run, without its time; empty if there is none. */
static void last_error(const char *home, char out[512])
{
	char *tail = log_tail(home, LOG_LINES), *save = NULL;

	out[0] = '\0';
	for (char *line = strtok_r(tail, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		char *blank = strchr(line, ' ');
		if (strncmp(line, "ostrakond: ", 11) == 0) {
			if (out[0] == '\0') /* else it follows from the error before */
				snprintf(out, 512, "%s", line + 11);
		}
		if (strstr(line, "\"level\":\"error\"") != NULL)
			snprintf(out, 512, "%s", line);
		else if (blank != NULL && strncmp(blank, " error ", 7) == 0)
			snprintf(out, 512, "%s", blank + 7);
		else if (strstr(line, ", validator ") != NULL && strstr(line, ", API ") != NULL)
			out[0] = '\0'; /* it started anew */
	}
	mem_free(tail);
}

static void add_local(struct json *o, const char *home)
{
	static const char *const states[] = {[PROCESS_DOWN] = "down",
					     [PROCESS_RUNNING] = "running",
					     [PROCESS_PAUSED] = "paused"};
	char path[PATH_SIZE + 32], text[512];
	struct process p;
	struct chain_ctx *ctx;
	struct genesis *g;
	struct statvfs fs;
	struct errmsg m;

	process_find(home, &p);
	json_set(o, "process", json_string(states[p.state]));
	if (p.pid > 0)
		json_set(o, "pid", json_int(p.pid));
	if (statvfs(home, &fs) == 0)
		json_set(o, "free_bytes", json_u64((uint64_t)fs.f_bavail * fs.f_frsize));
	last_error(home, text);
	if (text[0] != '\0')
		json_set(o, "log_error", json_string(text));
	g = mem_zalloc(sizeof *g);
	ctx = mem_zalloc(sizeof *ctx);
	snprintf(path, sizeof path, "%s/genesis.json", home);
	if (genesis_read(g, path, &m) == ERR_NONE) {
		genesis_ctx(ctx, g);
		json_set(o, "genesis", json_hash(&ctx->id));
		genesis_free(g);
	} else {
		json_set(o, "config_error", json_string(m.text));
	}
	mem_free(ctx);
	mem_free(g);
}

/* A network of which only one node is asked: the others are named in its answer. */
static void add_unasked(struct json *nodes, const struct json *status)
{
	const struct json *peers = json_get(status, "peers");

	for (size_t i = 0; json_is_array(peers) && i < json_len(peers); i++) {
		const char *name;
		struct json *o;
		if (json_read_string(json_at(peers, i), "name", &name) != ERR_NONE)
			continue;
		o = json_object();
		json_set(o, "name", json_string(name));
		json_append(nodes, o);
	}
}

/* The nodes' names, homes and addresses. A node with a broken configuration is a finding, not
 * the end. */
static int list_network(struct cli *c, struct target *t, const char *dir, struct json *doc,
			struct json *nodes)
{
	struct network_node *node;
	char url[CONFIG_TEXT_MAX + 32], path[PATH_SIZE + 32];
	struct errmsg m;

	snprintf(path, sizeof path, "%s/genesis.json", dir);
	if (genesis_read(&t->genesis, path, &m) != ERR_NONE)
		return cli_fail(c, EXIT_CONFIG, "config", NULL, "%s", m.text);
	genesis_ctx(&t->ctx, &t->genesis);
	t->has_genesis = true;
	json_set(doc, "n", json_int(t->ctx.quorum.n));
	json_set(doc, "q", json_int(t->ctx.quorum.q));
	json_set(doc, "chain_id", json_hash(&t->ctx.id));
	json_set(doc, "dir", json_string(dir));
	node = mem_zalloc(sizeof *node);
	for (unsigned i = 0; i < t->genesis.n; i++) {
		struct json *o = json_object();
		memset(node, 0, sizeof *node);
		json_set(o, "name", json_string(t->genesis.validator[i].name));
		json_append(nodes, o);
		if (snprintf(node->home, sizeof node->home, "%s/%s", dir,
			     t->genesis.validator[i].name) >= (int)sizeof node->home)
			continue;
		if (node_config_read(&node->config, node->home, &t->genesis, &m) != ERR_NONE)
			json_set(o, "config_error", json_string(m.text));
		add_local(o, node->home);
		node_api_url(node, url);
		snprintf(t->url[i], sizeof t->url[i], "%s", url);
		json_set(o, "api", json_string(url));
		t->count = i + 1;
	}
	mem_free(node);
	return EXIT_DONE;
}

/* Without an answer, and for want of a token, nothing can be said of the network. */
static bool nobody_let_us_in(const struct collecting *k, unsigned *refuses)
{
	bool any = false;

	for (unsigned i = 0; i < k->t->count; i++) {
		if (k->asked[i].status != NULL)
			return false;
		if (k->asked[i].status_code == 401) {
			any = true;
			*refuses = i;
		}
	}
	return any;
}

static int collect(struct cli *c, struct target *t, struct collecting *k, struct json *doc)
{
	struct json *nodes = json_array();
	char dir[PATH_SIZE];
	bool network = network_directory(c, dir) && !opt_given(&c->opt, OPT_NODE);
	unsigned refuses;
	uint64_t number;
	int rc = EXIT_DONE;

	json_set(doc, "nodes", nodes);
	if (network) {
		target_of_url(c, t, "http://127.0.0.1"); /* replaced by the list */
		rc = list_network(c, t, dir, doc, nodes);
	} else {
		rc = target_open(c, t, false);
	}
	if (rc != EXIT_DONE)
		return rc;
	each_in_parallel(t, t->count, t->count, ask_one, k);
	if (interrupted())
		return cli_fail(c, EXIT_INTERRUPTED, "interrupted", NULL, "interrupted");
	if (nobody_let_us_in(k, &refuses))
		return unauthorized_fail(c, t->url[refuses]);
	for (unsigned i = 0; i < t->count; i++) {
		struct json *o = network ? json_at(nodes, i) : json_object();
		const char *name = t->url[i];
		const struct json *status = k->asked[i].status;
		if (!network) {
			json_read_string(status, "node", &name);
			json_set(o, "name", json_string(name));
			json_set(o, "api", json_string(t->url[i]));
			json_append(nodes, o);
			add_unasked(nodes, status);
			if (json_read_u64(status, "n", &number) == ERR_NONE && number >= 1 &&
			    number <= VALIDATORS_MAX) {
				json_set(doc, "n", json_u64(number));
				json_set(doc, "q", json_int(quorum_of((unsigned)number).q));
			}
			if (t->has_genesis)
				json_set(doc, "chain_id", json_hash(&t->ctx.id));
		}
		add_answers(o, &k->asked[i]);
	}
	return EXIT_DONE;
}

struct json *doctor_collect(struct cli *c, int *rc)
{
	struct target *t = mem_zalloc(sizeof *t);
	struct collecting *k = mem_zalloc(sizeof *k);
	struct json *doc = json_object();

	k->t = t;
	k->ask_ms = c->timeout_ms < ASK_MS ? c->timeout_ms : ASK_MS;
	*rc = collect(c, t, k, doc);
	if (*rc != EXIT_DONE) {
		json_free(doc);
		doc = NULL;
	}
	for (unsigned i = 0; i < VALIDATORS_MAX; i++) {
		json_free(k->asked[i].status);
		json_free(k->asked[i].consensus);
	}
	target_close(t);
	mem_free(k);
	mem_free(t);
	return doc;
}
