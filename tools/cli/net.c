/* Starting, stopping and describing a local network. */
#include "tools/cli/net.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

#define POLL_MS	       50
#define ASK_TIMEOUT_MS 1000
#define GRACE_MS       10000 /* between SIGTERM and SIGKILL */
#define DEATH_MS       5000  /* after SIGKILL */
#define TAIL_LINES     5

/* ---- which nodes ----------------------------------------------------------------------- */

void net_refresh(struct net *net)
{
	for (unsigned i = 0; i < net->n.count; i++)
		process_find(net->n.node[i].home, &net->process[i]);
}

struct json *net_ask(struct net *net, struct http *http, unsigned i, const char *path,
		     unsigned *status)
{
	struct http_reply reply = {0};
	struct json *answer = NULL;
	char url[CONFIG_TEXT_MAX + 32], *whole;

	*status = 0;
	if (net->process[i].state != PROCESS_RUNNING)
		return NULL;
	node_api_url(&net->n.node[i], url);
	whole = mem_printf("%s%s", url, path);
	if (http_call(http, "GET", whole, NULL, slice_of(NULL, 0), ASK_TIMEOUT_MS, &reply,
		      NULL) == ERR_NONE) {
		*status = reply.status;
		if (json_parse(&answer, writer_slice(&reply.body), NULL) != ERR_NONE)
			answer = NULL;
	}
	mem_free(whole);
	http_reply_free(&reply);
	return answer;
}

/* The running node that leads the highest term, or -1. */
static int find_leader(struct net *net)
{
	struct http *http = http_new();
	uint64_t best_term = 0;
	int best = -1;

	for (unsigned i = 0; i < net->n.count; i++) {
		unsigned status;
		struct json *doc = net_ask(net, http, i, "/v1/status", &status);
		const char *role = "";
		uint64_t term = 0;
		if (doc != NULL && json_read_string(doc, "role", &role) == ERR_NONE &&
		    strcmp(role, "leader") == 0 &&
		    json_read_u64(doc, "term", &term) == ERR_NONE && term >= best_term) {
			best = (int)i;
			best_term = term;
		}
		json_free(doc);
	}
	http_free(http);
	return best;
}

static int choose(struct net *net, const char *name, enum net_default by_default)
{
	struct cli *c = net->c;
	int i;

	net->all = name == NULL || strcmp(name, "all") == 0;
	if (name == NULL && by_default == NET_NEEDS_NODE)
		return cli_usage(c, "which node? Name one, or say leader or all");
	if (net->all) {
		for (unsigned k = 0; k < net->n.count; k++)
			net->chosen[k] = true;
		return EXIT_DONE;
	}
	if (strcmp(name, "leader") == 0) {
		i = find_leader(net);
		if (i < 0)
			return cli_fail(c, EXIT_NOT_FOUND, "not_found",
					"`ostrakon net status` shows what the nodes say.",
					"no running node leads now");
	} else {
		i = network_find(&net->n, name);
		if (i < 0)
			return cli_fail(c, EXIT_NOT_FOUND, "not_found",
					"`ostrakon net status` names the nodes.",
					"%s has no node \"%s\"", net->n.dir, name);
	}
	net->chosen[i] = true;
	return EXIT_DONE;
}

static int make_default(struct cli *c, const char *dir)
{
	struct network_plan plan = {.dir = dir,
				    .nodes = (unsigned)opt_u64(&c->opt, OPT_NODES, 4),
				    .balance = 1000000000,
				    .protocol = PROTOCOL_HYBRID};
	struct errmsg m;
	int err = network_create(&plan, &m);

	if (err != ERR_NONE)
		return cli_fail_err(c, err, &m, NULL);
	fprintf(c->err, "made a network of %u nodes in %s; its keys are not encrypted\n",
		plan.nodes, dir);
	return EXIT_DONE;
}

int net_open(struct cli *c, struct net *net, enum net_default by_default)
{
	const char *node = NULL;
	char dir[PATH_SIZE];
	struct errmsg m;
	int err, rc;

	memset(net, 0, sizeof *net);
	net->c = c;
	if (c->opt.arg_count == 1 && !is_network_directory(c->opt.arg[0]) &&
	    network_directory(c, dir) && strchr(c->opt.arg[0], '/') == NULL) {
		node = c->opt.arg[0]; /* of the network of --home */
	} else if (c->opt.arg_count > 0) {
		if (snprintf(dir, sizeof dir, "%s", c->opt.arg[0]) >= (int)sizeof dir)
			return cli_usage(c, "the path is too long");
		node = c->opt.arg_count > 1 ? c->opt.arg[1] : NULL;
	} else if (!network_directory(c, dir) && by_default == NET_MAKES_ONE &&
		   access(dir, F_OK) != 0) {
		rc = make_default(c, dir);
		if (rc != EXIT_DONE)
			return rc;
	}
	if (!is_network_directory(dir)) /* an argument is not found, a setting is false */
		return cli_fail(c, c->opt.arg_count > 0 ? EXIT_NOT_FOUND : EXIT_CONFIG,
				c->opt.arg_count > 0 ? "not_found" : "config",
				"`ostrakon net init DIR` makes a network.",
				"%s is not a network directory%s", dir,
				is_node_home(dir) ? ", but the home of one node" : "");
	err = network_open(&net->n, dir, &m);
	if (err != ERR_NONE)
		return cli_fail_err(c, err, &m, NULL);
	/* Only `net up` has the option here: a network keeps the size that it was made with. */
	if (opt_u64(&c->opt, OPT_NODES, net->n.count) != net->n.count)
		return cli_fail(c, EXIT_LOCKED, "exists",
				"Leave --nodes out, or make another network with `ostrakon net "
				"init DIR --nodes N`.",
				"%s is there already, a network of %u nodes, not %s", dir,
				net->n.count, c->opt.value[OPT_NODES]);
	struct chain_ctx ctx;
	genesis_ctx(&ctx, &net->n.genesis);
	net->quorum = ctx.quorum;
	net_refresh(net);
	return choose(net, node, by_default);
}

void net_close(struct net *net)
{
	network_free(&net->n);
}

/* ---- starting -------------------------------------------------------------------------- */

static void tell_log(struct net *net, unsigned i)
{
	struct network_node *node = &net->n.node[i];
	char *tail = log_tail(node->home, TAIL_LINES), *save = NULL;

	fprintf(net->c->err, "%s (%s/ostrakond.log):\n", node->name, node->home);
	for (char *line = strtok_r(tail, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save))
		fprintf(net->c->err, "    %s\n", line);
	mem_free(tail);
}

/* A child that ended before the network was ready. -1: none. */
static int find_dead_child(struct net *net, int *code)
{
	for (unsigned i = 0; i < net->n.count; i++) {
		int status;
		if (net->started[i] == 0 || waitpid(net->started[i], &status, WNOHANG) <= 0)
			continue;
		net->started[i] = 0;
		*code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		return (int)i;
	}
	return -1;
}

struct readiness {
	unsigned running, ready, answering; /* answering: of those started here */
	unsigned started;
	unsigned unauthorized, refusing; /* nodes that refuse our token; one of them */
};

static void look(struct net *net, struct http *http, struct readiness *r)
{
	*r = (struct readiness){0};
	net_refresh(net);
	for (unsigned i = 0; i < net->n.count; i++) {
		unsigned status;
		struct json *doc = net_ask(net, http, i, "/readyz", &status);
		json_free(doc);
		r->running += net->process[i].state == PROCESS_RUNNING;
		r->ready += status == 200;
		if (status == 401) {
			r->unauthorized++;
			r->refusing = i;
		}
		r->started += net->started[i] != 0;
		r->answering += net->started[i] != 0 && status != 0;
	}
}

static int wait_ready(struct net *net)
{
	struct http *http = http_new();
	struct cli *c = net->c;
	struct readiness r = {0};
	int rc = EXIT_DONE, dead, code = 0;

	for (;;) {
		dead = find_dead_child(net, &code);
		if (dead >= 0) {
			tell_log(net, (unsigned)dead);
			rc = cli_fail(c,
				      code == EXIT_LOCKED || code == EXIT_CONFIG
					      ? (enum exit_code)code
					      : EXIT_REFUSED,
				      "node_failed", "Its log says why.",
				      "%s ended with exit code %d", net->n.node[dead].name,
				      code);
			break;
		}
		look(net, http, &r);
		/* With too few processes for a quorum there is nothing more to wait for. */
		if (r.answering == r.started &&
		    (r.ready >= net->quorum.q || r.running < net->quorum.q))
			break;
		/* Nor can be seen to be ready. */
		if (r.unauthorized > 0 && r.answering == r.started &&
		    r.running - r.unauthorized < net->quorum.q) {
			rc = cli_fail(c, EXIT_REFUSED, "unauthorized",
				      "It read its [api] token_file when it started; `ostrakon "
				      "net restart` makes it read the file again.",
				      "%s runs, but does not take the access token of its "
				      "configuration",
				      net->n.node[r.refusing].name);
			break;
		}
		if (interrupted()) {
			rc = cli_fail(c, EXIT_INTERRUPTED, "interrupted",
				      "`ostrakon net down` stops what was started.",
				      "interrupted");
			break;
		}
		if (cli_time_left(c) == 0) {
			for (unsigned i = 0; i < net->n.count; i++)
				tell_log(net, i);
			rc = cli_fail(
				c, EXIT_UNKNOWN, "timeout",
				"The nodes keep running; `ostrakon net down` stops them.",
				"after %llu ms %u of %u nodes are ready, and %u are needed",
				(unsigned long long)c->timeout_ms, r.ready, net->n.count,
				net->quorum.q);
			break;
		}
		sleep_ms(POLL_MS);
	}
	if (rc == EXIT_DONE && r.running < net->quorum.q)
		fprintf(c->err, "%u of %u nodes run: too few to commit, which takes %u\n",
			r.running, net->n.count, net->quorum.q);
	http_free(http);
	return rc;
}

int net_start(struct net *net)
{
	char program[PATH_SIZE];
	struct cli *c = net->c;
	bool running[VALIDATORS_MAX];
	struct errmsg m;
	int err = ostrakond_find(program, &m);

	if (err != ERR_NONE)
		return cli_fail_err(c, err, &m, "Set OSTRAKOND to the path of the program.");
	for (unsigned i = 0; i < net->n.count; i++)
		running[i] = net->process[i].state != PROCESS_DOWN;
	err = network_fix_ports(c, &net->n, running, &m);
	if (err < 0)
		return cli_fail_err(c, err, &m, NULL);
	for (unsigned i = 0; i < net->n.count; i++) {
		if (!net->chosen[i] || running[i])
			continue;
		err = process_start(program, net->n.node[i].home, &net->started[i], &m);
		if (err != ERR_NONE)
			return cli_fail_err(c, err, &m, NULL);
	}
	return wait_ready(net);
}

/* ---- stopping -------------------------------------------------------------------------- */

static bool wait_gone(struct net *net, uint64_t ms)
{
	uint64_t deadline = now_ms() + ms;

	for (;;) {
		bool any = false;
		for (unsigned i = 0; i < net->n.count; i++)
			any = any || (net->chosen[i] && process_alive(&net->process[i]));
		if (!any || now_ms() >= deadline)
			return !any;
		sleep_ms(10);
	}
}

int net_stop(struct net *net)
{
	struct cli *c = net->c;

	for (unsigned i = 0; i < net->n.count; i++) {
		if (!net->chosen[i] || net->process[i].state == PROCESS_DOWN)
			continue;
		if (process_signal(&net->process[i], SIGTERM) == ERR_PERMISSION)
			return cli_fail(c, EXIT_REFUSED, "permission", NULL,
					"not allowed to stop %s, process %d",
					net->n.node[i].name, (int)net->process[i].pid);
		process_signal(&net->process[i], SIGCONT); /* the paused must hear it too */
	}
	if (!wait_gone(net, GRACE_MS)) {
		for (unsigned i = 0; i < net->n.count; i++) {
			if (!net->chosen[i] || !process_alive(&net->process[i]))
				continue;
			fprintf(c->err, "%s does not stop after %d s: killing it\n",
				net->n.node[i].name, GRACE_MS / 1000);
			process_signal(&net->process[i], SIGKILL);
		}
		if (!wait_gone(net, DEATH_MS))
			return cli_fail(c, EXIT_REFUSED, "alive", NULL,
					"some nodes do not even die of SIGKILL");
	}
	net_refresh(net);
	return EXIT_DONE;
}

/* ---- describing ------------------------------------------------------------------------ */

static struct json *copy_or_null(const struct json *doc, const char *key)
{
	const struct json *v = json_get(doc, key);

	return v ? json_copy(v) : json_null();
}

static struct json *describe_node(struct net *net, struct http *http, unsigned i)
{
	static const char *const states[] = {[PROCESS_DOWN] = "down",
					     [PROCESS_RUNNING] = "running",
					     [PROCESS_PAUSED] = "paused"};
	struct process *p = &net->process[i];
	struct json *o = json_object(), *doc;
	char url[CONFIG_TEXT_MAX + 32];
	const char *state = states[p->state];
	uint64_t number;
	unsigned status;

	doc = net_ask(net, http, i, "/v1/status", &status);
	bool unauthorized = status == 401; /* it runs; as what it does not tell us */
	if (p->state == PROCESS_RUNNING && status != 200 && !unauthorized)
		state = "starting";
	if (status != 200) {
		json_free(doc);
		doc = NULL;
	}
	if (doc != NULL && json_is_string(json_get(doc, "halted")))
		state = "halted";
	else if (doc != NULL && json_is_string(json_get(doc, "observer")))
		state = "observer";
	node_api_url(&net->n.node[i], url);
	json_set(o, "name", json_string(net->n.node[i].name));
	json_set(o, "pid", p->pid > 0 ? json_int(p->pid) : json_null());
	json_set(o, "state", json_string(state));
	json_set(o, "role",
		 doc || unauthorized ? copy_or_null(doc, "role") : json_string("down"));
	json_set(o, "mode", copy_or_null(doc, "mode"));
	json_set(o, "term",
		 json_read_u64(doc, "term", &number) == ERR_NONE ? json_said(number)
								 : json_null());
	json_set(o, "final_height",
		 json_read_u64(doc, "final_height", &number) == ERR_NONE ? json_said(number)
									 : json_null());
	json_set(o, "state_root", copy_or_null(doc, "state_root"));
	json_set(o, "api", json_string(url));
	json_free(doc);
	return o;
}

/* {dir, chain_id, leader, nodes: [...]} */
static struct json *net_describe(struct net *net)
{
	struct http *http = http_new();
	struct json *o = json_object(), *nodes = json_array();
	struct chain_ctx ctx;

	genesis_ctx(&ctx, &net->n.genesis);
	for (unsigned i = 0; i < net->n.count; i++)
		json_append(nodes, describe_node(net, http, i));
	http_free(http);
	json_set(o, "dir", json_string(net->n.dir));
	json_set(o, "chain_id", json_hash(&ctx.id));
	json_set(o, "nodes", nodes);
	return o;
}

void net_show(struct net *net)
{
	static const struct column columns[] = {{"NODE", "name"},
						{"PID", "pid"},
						{"STATE", "state"},
						{"ROLE", "role"},
						{"MODE", "mode"},
						{"TERM", "term"},
						{"FINAL", "final_height"},
						{"STATE ROOT", "state_root"},
						{"API", "api"}};
	struct json *doc = net_describe(net);

	if (net->c->format == FORMAT_TABLE) /* a full hash makes the lines too long */
		for (size_t i = 0; i < json_len(json_get(doc, "nodes")); i++) {
			struct json *node = json_at(json_get(doc, "nodes"), i);
			const char *root;
			char brief[17];
			if (json_read_string(node, "state_root", &root) != ERR_NONE)
				continue;
			snprintf(brief, sizeof brief, "%.16s", root);
			json_set(node, "state_root", json_string(brief));
		}
	if (net->c->format == FORMAT_JSONL) {
		out_rows(net->c, columns, MEM_COUNT(columns),
			 json_copy(json_get(doc, "nodes")));
		json_free(doc);
	} else {
		out_document(net->c, columns, MEM_COUNT(columns), doc, "nodes");
	}
}
