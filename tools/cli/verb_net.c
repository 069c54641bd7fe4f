/* net init | up | down | status | kill | restart | pause | resume | logs | clean */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "replica/files.h"
#include "tools/cli/net.h"
#include "tools/cli/verbs.h"

int verb_net_init(struct cli *c)
{
	const char *dir = c->opt.arg_count > 0		 ? c->opt.arg[0]
			  : opt_given(&c->opt, OPT_HOME) ? c->opt.value[OPT_HOME]
							 : NETWORK_DEFAULT;
	struct network_plan plan = {.dir = dir,
				    .nodes = (unsigned)opt_u64(&c->opt, OPT_NODES, 4),
				    .balance = opt_u64(&c->opt, OPT_BALANCE, 1000000000),
				    .checkpoint_interval =
					    (uint32_t)opt_u64(&c->opt, OPT_CHECKPOINTS, 0),
				    .probation = (uint32_t)opt_u64(&c->opt, OPT_PROBATION, 0),
				    .protocol = PROTOCOL_HYBRID,
				    .first_port = (uint16_t)opt_u64(&c->opt, OPT_PORT, 0)};
	struct network *n = mem_zalloc(sizeof *n);
	struct json *o = json_object(), *nodes = json_array();
	struct chain_ctx ctx;
	struct errmsg m;
	if (opt_given(&c->opt, OPT_PROTOCOL))
		protocol_by_name(&plan.protocol, c->opt.value[OPT_PROTOCOL]);
	int err = network_create(&plan, &m);

	if (err == ERR_NONE)
		err = network_open(n, dir, &m);
	if (err != ERR_NONE) {
		mem_free(n);
		json_free(o);
		json_free(nodes);
		return cli_fail_err(c, err, &m,
				    err == ERR_EXISTS
					    ? "Choose another directory; nothing is ever "
					      "overwritten."
					    : NULL);
	}
	genesis_ctx(&ctx, &n->genesis);
	for (unsigned i = 0; i < n->count; i++)
		json_append(nodes, json_string(n->node[i].name));
	json_set(o, "dir", json_string(dir));
	json_set(o, "chain_id", json_hash(&ctx.id));
	json_set(o, "nodes", nodes);
	json_set(o, "faults_tolerated", json_int(quorum_silent_max(&ctx.quorum)));
	fprintf(c->err, "The keys are not encrypted: this network is for trying out.\n");
	cli_hint(c, "`ostrakon net up %s` starts it.", dir);
	out_object(c, o);
	network_free(n);
	mem_free(n);
	return EXIT_DONE;
}

/* Opens, does, shows: the frame of most verbs here. */
static int with_net(struct cli *c, enum net_default by_default, int (*act)(struct net *net),
		    bool show)
{
	struct net *net = mem_zalloc(sizeof *net);
	int rc = net_open(c, net, by_default);

	if (rc == EXIT_DONE)
		rc = act(net);
	if (rc == EXIT_DONE && show) {
		net_refresh(net);
		net_show(net);
	}
	net_close(net);
	mem_free(net);
	return rc;
}

int verb_net_up(struct cli *c)
{
	return with_net(c, NET_MAKES_ONE, net_start, true);
}

int verb_net_down(struct cli *c)
{
	return with_net(c, NET_ALL, net_stop, true);
}

static int nothing(struct net *net)
{
	return EXIT_DONE;
}

int verb_net_status(struct cli *c)
{
	return with_net(c, NET_ALL, nothing, true);
}

static int restart(struct net *net)
{
	int rc = net_stop(net);

	return rc == EXIT_DONE ? net_start(net) : rc;
}

int verb_net_restart(struct cli *c)
{
	return with_net(c, NET_ALL, restart, true);
}

/* ---- signals --------------------------------------------------------------------------- */

static bool in_state(const struct net *net, unsigned i, enum process_state want)
{
	if (want == PROCESS_DOWN)
		return !process_alive(&net->process[i]);
	return net->process[i].state == want;
}

/* Sends number to the chosen that run; waits until each is in the state that follows. */
static int send_signal(struct net *net, int number, enum process_state then)
{
	static const char *const states[] = {[PROCESS_DOWN] = "down",
					     [PROCESS_RUNNING] = "running",
					     [PROCESS_PAUSED] = "paused"};
	static const struct column columns[] = {
		{"NODE", "name"}, {"PID", "pid"}, {"STATE", "state"}};
	struct json *doc = json_object(), *rows = json_array();
	struct cli *c = net->c;
	unsigned sent = 0;

	for (unsigned i = 0; i < net->n.count; i++) {
		struct process was = net->process[i];
		struct json *row;
		if (!net->chosen[i] || was.state == PROCESS_DOWN ||
		    process_signal(&was, number) != ERR_NONE)
			continue;
		while (!in_state(net, i, then) && cli_time_left(c) > 0 && !interrupted()) {
			sleep_ms(2);
			if (then != PROCESS_DOWN)
				process_find(net->n.node[i].home, &net->process[i]);
		}
		sent++;
		row = json_object();
		json_set(row, "name", json_string(net->n.node[i].name));
		json_set(row, "pid", json_int(was.pid));
		json_set(row, "state", json_string(states[then]));
		json_append(rows, row);
	}
	json_set(doc, "nodes", rows);
	if (sent == 0 && !net->all) {
		json_free(doc);
		return cli_fail(c, EXIT_NOT_FOUND, "not_found", NULL, "the node does not run");
	}
	out_document(c, columns, MEM_COUNT(columns), doc, "nodes");
	return EXIT_DONE;
}

static int kill_chosen(struct net *net)
{
	return send_signal(net, SIGKILL, PROCESS_DOWN);
}

static int pause_chosen(struct net *net)
{
	return send_signal(net, SIGSTOP, PROCESS_PAUSED);
}

static int resume_chosen(struct net *net)
{
	return send_signal(net, SIGCONT, PROCESS_RUNNING);
}

int verb_net_kill(struct cli *c)
{
	return with_net(c, NET_NEEDS_NODE, kill_chosen, false);
}

int verb_net_pause(struct cli *c)
{
	return with_net(c, NET_NEEDS_NODE, pause_chosen, false);
}

int verb_net_resume(struct cli *c)
{
	return with_net(c, NET_ALL, resume_chosen, false);
}

/* ---- logs, clean ----------------------------------------------------------------------- */

static int show_logs(struct net *net)
{
	unsigned lines = (unsigned)opt_u64(&net->c->opt, OPT_LINES, 20), count = 0;
	struct json *doc = json_object(), *rows = json_array();

	for (unsigned i = 0; i < net->n.count; i++)
		count += net->chosen[i];
	for (unsigned i = 0; i < net->n.count; i++) {
		char *tail, *save = NULL;
		struct json *row, *log;
		if (!net->chosen[i])
			continue;
		tail = log_tail(net->n.node[i].home, lines);
		log = json_array();
		for (char *line = strtok_r(tail, "\n", &save); line != NULL;
		     line = strtok_r(NULL, "\n", &save)) {
			json_append(log, json_string(line));
			if (net->c->format == FORMAT_TABLE)
				fprintf(net->c->out, "%s%s%s\n",
					count > 1 ? net->n.node[i].name : "",
					count > 1 ? "  " : "", line);
		}
		row = json_object();
		json_set(row, "name", json_string(net->n.node[i].name));
		json_set(row, "log", log);
		json_append(rows, row);
		mem_free(tail);
	}
	json_set(doc, "nodes", rows);
	if (net->c->format == FORMAT_TABLE)
		json_free(doc);
	else
		out_object(net->c, doc);
	return EXIT_DONE;
}

int verb_net_logs(struct cli *c)
{
	return with_net(c, NET_ALL, show_logs, false);
}

/* What a node's home holds of a chain, repairs and restores included. */
static int clean_home(const char *home, struct errmsg *m)
{
	static const char *const names[] = {
		"data",		 "data.repaired.partial", "snapshots", "RESTORED",
		"ostrakond.log", "ostrakond.pid",	  "api"};
	char path[PATH_SIZE + 64];
	int err = ERR_NONE;
	for (size_t k = 0; k < MEM_COUNT(names) && err == ERR_NONE; k++) {
		snprintf(path, sizeof path, "%s/%s", home, names[k]);
		err = files_remove(path, m);
	}
	for (unsigned k = 1; err == ERR_NONE; k++) {
		snprintf(path, sizeof path, "%s/data.damaged.%u", home, k);
		if (!files_exist(path))
			break;
		err = files_remove(path, m);
	}
	return err;
}

static int clean(struct net *net)
{
	struct cli *c = net->c;
	struct json *o;

	if (!net->all)
		return cli_usage(
			c, "only a whole network can be cleaned: a validator that forgets "
			   "its votes could vote twice");
	for (unsigned i = 0; i < net->n.count; i++)
		if (net->process[i].state != PROCESS_DOWN)
			return cli_fail(c, EXIT_LOCKED, "in_use",
					"`ostrakon net down` stops it.", "%s is running",
					net->n.node[i].name);
	for (unsigned i = 0; i < net->n.count; i++) {
		struct errmsg m;
		if (clean_home(net->n.node[i].home, &m) != ERR_NONE)
			return cli_fail(c, EXIT_REFUSED, "io", NULL, "cannot remove %s",
					m.text);
	}
	o = json_object();
	json_set(o, "dir", json_string(net->n.dir));
	json_set(o, "cleaned", json_int(net->n.count));
	out_object(c, o);
	return EXIT_DONE;
}

int verb_net_clean(struct cli *c)
{
	return with_net(c, NET_ALL, clean, false);
}
