#include "tools/cli/doctor_view.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void read_text(char *out, size_t size, const struct json *object, const char *key)
{
	const char *text;

	out[0] = '\0';
	if (json_read_string(object, key, &text) != ERR_NONE)
		return;
	snprintf(out, size, "%s", text);
	text_make_printable(out);
}

/* No height, term or time is beyond INT64_MAX, and our own JSON has no numbers beyond it. */
static bool read_number(const struct json *object, const char *key, uint64_t *out)
{
	uint64_t v;

	if (json_read_u64(object, key, &v) != ERR_NONE || v > INT64_MAX)
		return false;
	*out = v;
	return true;
}

/* A whole number with a sign, as a number or in a string. */
static bool read_signed(const struct json *object, const char *key, int64_t *out)
{
	const struct json *v = json_get(object, key);
	const char *text;
	uint64_t magnitude;
	double real;

	if (json_is_string(v) && json_as_string(v, &text) == ERR_NONE) {
		if (parse_u64(&magnitude, text + (*text == '-'), 0, INT64_MAX) != ERR_NONE)
			return false;
		*out = *text == '-' ? -(int64_t)magnitude : (int64_t)magnitude;
		return true;
	}
	if (json_as_real(v, &real) != ERR_NONE || !(real > -9e15 && real < 9e15))
		return false;
	*out = (int64_t)real;
	return true;
}

static enum reach read_reach(const struct json *o)
{
	static const char *const names[] = {"", "answered", "refused", "timeout", "broken"};
	char text[16];

	read_text(text, sizeof text, o, "reach");
	for (size_t i = 1; i < MEM_COUNT(names); i++)
		if (strcmp(text, names[i]) == 0)
			return (enum reach)i;
	return REACH_UNKNOWN;
}

static enum seen_process read_process(const struct json *o)
{
	static const char *const names[] = {"", "running", "paused", "down"};
	char text[16];

	read_text(text, sizeof text, o, "process");
	for (size_t i = 1; i < MEM_COUNT(names); i++)
		if (strcmp(text, names[i]) == 0)
			return (enum seen_process)i;
	return SEEN_UNKNOWN;
}

static void read_peers(struct doctor_view *v, struct node_view *node, const struct json *peers)
{
	for (size_t k = 0; k < json_len(peers) && json_is_array(peers); k++) {
		const struct json *o = json_at(peers, k);
		struct peer_view *p;
		char name[NAME_MAX_SHOWN];
		int i;

		read_text(name, sizeof name, o, "name");
		i = doctor_view_find(v, name);
		if (i < 0)
			continue;
		p = &node->peer[i];
		if (json_read_bool(o, "connected", &p->connected) == ERR_NONE)
			p->known = true;
		if (read_number(o, "heard_ms", &p->heard_ms))
			p->has_heard = true;
		if (read_number(o, "link_heard_ms", &p->link_heard_ms))
			p->has_link_heard = true;
		if (read_number(o, "match", &p->match))
			p->has_match = true;
		if (read_signed(o, "clock_offset_ms", &p->offset_ms))
			p->has_offset = true;
		if (json_is_string(json_get(o, "last_error")) && p->known && !p->connected)
			read_text(p->error, sizeof p->error, o, "last_error");
	}
}

static void read_status(struct node_view *node, const struct json *s)
{
	read_text(node->chain, sizeof node->chain, s, "chain_id");
	read_text(node->role, sizeof node->role, s, "role");
	read_text(node->mode, sizeof node->mode, s, "mode");
	read_text(node->leader, sizeof node->leader, s, "leader");
	read_text(node->halted, sizeof node->halted, s, "halted");
	read_text(node->observer, sizeof node->observer, s, "observer");
	if (json_read_u64(s, "epoch", &node->epoch) != ERR_NONE)
		node->epoch = 0;
	const struct json *sync = json_get(s, "state_sync");
	char phase[TEXT_MAX_SHOWN] = "";
	if (sync && json_is_string(json_get(sync, "phase")))
		read_text(phase, sizeof phase, sync, "phase");
	node->syncing = phase[0] != '\0' && strcmp(phase, "idle") != 0;
	if (node->syncing) {
		read_number(sync, "height", &node->sync_height);
		read_number(sync, "percent", &node->sync_percent);
	}
	read_text(node->not_ready, sizeof node->not_ready, s, "not_ready");
	read_text(node->state_root, sizeof node->state_root, s, "state_root");
	node->has_term = read_number(s, "term", &node->term);
	node->has_final = read_number(s, "final_height", &node->final);
	read_number(s, "height", &node->height);
	read_number(s, "pending", &node->pending);
	if (json_read_bool(s, "ready", &node->ready) != ERR_NONE)
		node->ready = node->halted[0] == '\0' && node->leader[0] != '\0';
}

static void read_consensus(struct node_view *node, const struct json *s)
{
	const struct json *disk = json_get(s, "disk");

	read_text(node->stall, sizeof node->stall, s, "stall");
	if (json_is_string(json_get(s, "halted")))
		read_text(node->halted, sizeof node->halted, s, "halted");
	node->has_leader_heard = read_number(s, "leader_heard_ms", &node->leader_heard_ms);
	node->has_commit_age = read_number(s, "last_commit_age_ms", &node->commit_age_ms);
	if (read_number(disk, "free_bytes", &node->free_bytes))
		node->has_free = true;
	read_text(node->disk_error, sizeof node->disk_error, disk, "error");
	json_read_bool(disk, "full", &node->disk_full);
	json_read_bool(disk, "low", &node->disk_low);
	if (!read_number(disk, "reserve_bytes", &node->reserve_bytes))
		node->reserve_bytes = 0;
	if (json_is_array(json_get(s, "waiting")))
		node->waiting = json_get(s, "waiting");
}

static void read_node(struct node_view *node, const struct json *o)
{
	read_text(node->name, sizeof node->name, o, "name");
	read_text(node->api, sizeof node->api, o, "api");
	read_text(node->why, sizeof node->why, o, "why");
	read_text(node->config_error, sizeof node->config_error, o, "config_error");
	read_text(node->log_error, sizeof node->log_error, o, "log_error");
	read_text(node->file_chain, sizeof node->file_chain, o, "genesis");
	node->reach = read_reach(o);
	node->process = read_process(o);
	read_number(o, "pid", &node->pid);
	node->has_free = read_number(o, "free_bytes", &node->free_bytes);
	node->has_offset = read_signed(o, "clock_offset_ms", &node->offset_ms);
	read_status(node, json_get(o, "status"));
	read_consensus(node, json_get(o, "consensus"));
}

void doctor_view_read(struct doctor_view *v, const struct json *answers)
{
	const struct json *nodes = json_get(answers, "nodes");
	uint64_t number;

	memset(v, 0, sizeof *v);
	read_text(v->chain, sizeof v->chain, answers, "chain_id");
	read_text(v->dir, sizeof v->dir, answers, "dir");
	for (size_t i = 0; json_is_array(nodes) && i < json_len(nodes); i++)
		if (v->count < VALIDATORS_MAX && json_is_object(json_at(nodes, i)))
			read_node(&v->node[v->count++], json_at(nodes, i));
	v->n = v->count;
	if (read_number(answers, "n", &number) && number >= v->count &&
	    number <= VALIDATORS_MAX)
		v->n = (unsigned)number;
	if (read_number(answers, "q", &number) && number <= v->n)
		v->q = (unsigned)number;
	/* once all names are known; status first, what consensus knows better after it */
	for (size_t i = 0, at = 0; at < v->count; i++) {
		const struct json *o = json_at(nodes, i);
		if (!json_is_object(o))
			continue;
		read_peers(v, &v->node[at], json_get(json_get(o, "status"), "peers"));
		read_peers(v, &v->node[at], json_get(json_get(o, "consensus"), "peers"));
		at++;
	}
}

int doctor_view_find(const struct doctor_view *v, const char *name)
{
	for (unsigned i = 0; i < v->count; i++)
		if (*name && strcmp(v->node[i].name, name) == 0)
			return (int)i;
	return -1;
}

bool doctor_silent_for(const struct doctor_view *v, unsigned i, uint64_t *ms)
{
	bool any = false;

	for (unsigned k = 0; k < v->count; k++) {
		const struct peer_view *p = &v->node[k].peer[i];
		uint64_t heard = p->has_link_heard ? p->link_heard_ms : p->heard_ms;
		if (k == i || v->node[k].reach != REACH_ANSWERED ||
		    !(p->has_heard || p->has_link_heard))
			continue;
		if (!any || heard < *ms)
			*ms = heard;
		any = true;
	}
	return any;
}
