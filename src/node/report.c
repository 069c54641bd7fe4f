/* What this node knows of itself and of its peers. Loop thread. */
#include <config.h>
#include <stdio.h>

#include "base/mem.h"
#include "node/node.h"

static struct json *ref_json(const struct block_ref *ref)
{
	struct json *o = json_object();
	json_set(o, "term", json_u64_string(ref->term));
	json_set(o, "height", json_u64_string(ref->height));
	json_set(o, "hash", json_hex(ref->hash.b, HASH_SIZE));
	return o;
}

static struct json *name_json(const struct node *n, unsigned validator)
{
	return validator < n->genesis.n ? json_string(n->genesis.validator[validator].name)
					: json_null();
}

static struct json *text_or_null(const char *text)
{
	return text[0] ? json_string(text) : json_null();
}

static struct json *heard_json(const struct engine_status *s, unsigned validator, uint64_t now)
{
	uint64_t heard = s->heard[validator];
	if (heard == 0 || heard > now)
		return heard == 0 ? json_null() : json_u64_string(0);
	return json_u64_string((now - heard) / 1000);
}

static struct json *peers_json(struct node *n, const struct engine_status *s, uint64_t now)
{
	struct json *a = json_array();
	for (unsigned p = 0; p < n->peer_count; p++) {
		unsigned v = n->validator_of[p];
		struct net_peer_stats stats;
		net_peer_stats(n->net, p, &stats);
		struct json *o = json_object();
		json_set(o, "name", name_json(n, v));
		json_set(o, "index", json_int(v));
		json_set(o, "connected", json_bool(stats.up));
		json_set(o, "rtt_us", json_u64_string(stats.rtt_us));
		json_set(o, "heard_ms", heard_json(s, v, now));
		json_set(o, "match",
			 s->role == ROLE_LEADER ? json_u64_string(s->match[v]) : json_null());
		json_append(a, o);
	}
	return a;
}

static const char *observes(const struct node *n)
{
	const char *why = replica_observes(n->replica);
	return why ? why : "";
}

void report_status(struct node *n, struct request *r, uint64_t now)
{
	struct engine_status s;
	replica_status(n->replica, &s);
	struct ledger *l = replica_ledger(n->replica);
	char not_ready[256];
	health_not_ready(n, &s, now, not_ready, sizeof not_ready);
	struct json *o = json_object();
	json_set(o, "node", name_json(n, n->self));
	json_set(o, "version", json_string(PACKAGE_VERSION));
	json_set(o, "chain", json_string(n->genesis.name));
	json_set(o, "chain_id", json_hex(replica_ctx(n->replica)->id.b, HASH_SIZE));
	json_set(o, "protocol", json_string(protocol_name(n->genesis.protocol)));
	json_set(o, "role", json_string(engine_status_role(&s)));
	json_set(o, "mode", json_string(mode_name(s.mode)));
	json_set(o, "term", json_u64_string(s.term));
	json_set(o, "leader", name_json(n, s.leader));
	json_set(o, "height", json_u64_string(s.tip.height));
	json_set(o, "final_height", json_u64_string(ledger_height(l)));
	json_set(o, "final_hash", json_hex(ledger_hash(l)->b, HASH_SIZE));
	json_set(o, "state_root", json_hex(ledger_root(l)->b, HASH_SIZE));
	json_set(o, "final_time_ms", json_u64_string(n->final_time_ms));
	json_set(o, "age_ms", json_u64_string(age_of(n->final_time_ms)));
	json_set(o, "epoch", json_u64_string(replica_ctx(n->replica)->epoch));
	json_set(o, "n", json_int(n->genesis.n));
	json_set(o, "faults_tolerated",
		 json_int(quorum_silent_max(&replica_ctx(n->replica)->quorum)));
	json_set(o, "pending", json_int(s.pool_count));
	json_set(o, "pending_bytes", json_u64_string(s.pool_bytes));
	json_set(o, "peers", peers_json(n, &s, now));
	json_set(o, "ready", json_bool(!not_ready[0]));
	json_set(o, "not_ready", text_or_null(not_ready));
	char read_only[128];
	health_read_only(n, now, read_only, sizeof read_only);
	json_set(o, "read_only", text_or_null(read_only));
	json_set(o, "halted", text_or_null(n->halted ? n->halted_why : ""));
	json_set(o, "observer", text_or_null(observes(n)));
	json_set(o, "state_sync", state_sync_json(n, now));
	json_set(o, "uptime_ms", json_u64_string((now - n->started) / 1000));
	json_set(o, "time_ms", json_u64_string(node_wall_ms()));
	r->json = o;
}

static struct json *names_json(const struct node *n, uint64_t who)
{
	struct json *a = json_array();
	for (; who; who &= who - 1)
		json_append(a, name_json(n, (unsigned)__builtin_ctzll(who)));
	return a;
}

static struct json *waiting_json(const struct node *n, uint64_t now)
{
	struct json *a = json_array();
	for (int k = 0; k < WAIT_KINDS; k++) {
		const struct wait *w = &n->waits[k];
		if (w->since == 0)
			continue;
		struct json *o = json_object();
		json_set(o, "what", json_string(wait_name((enum wait_kind)k)));
		json_set(o, "who", names_json(n, w->who));
		json_set(o, "since_ms", json_u64_string((now - w->since) / 1000));
		json_append(a, o);
	}
	return a;
}

static struct json *disk_json(struct node *n, uint64_t now)
{
	const struct disk *d = &n->disk;
	struct json *o = json_object();
	uint64_t last = atomic_load_explicit(&n->metrics.sync.last_us, memory_order_relaxed);
	json_set(o, "free_bytes", d->known ? json_u64_string(d->free_bytes) : json_null());
	json_set(o, "reserve_bytes", json_u64_string(d->reserve));
	json_set(o, "full", json_bool(d->full));
	json_set(o, "low", json_bool(d->low));
	json_set(o, "last_sync_us", d->synced ? json_u64_string(last) : json_null());
	json_set(o, "last_sync_age_ms",
		 d->synced ? json_u64_string((now - d->synced) / 1000) : json_null());
	json_set(o, "error", text_or_null(d->error));
	return o;
}

static const char *link_state(const struct net_peer_stats *s)
{
	return s->up ? "up" : s->dialing ? "dialing" : s->dials ? "backoff" : "awaited";
}

/* What /v1/consensus and /v1/peers share. */
static void link_json(const struct node *n, unsigned p, const struct engine_status *s,
		      uint64_t now, const struct net_peer_stats *x, struct json *o)
{
	unsigned v = n->validator_of[p];
	json_set(o, "name", name_json(n, v));
	json_set(o, "index", json_int(v));
	json_set(o, "connected", json_bool(x->up));
	json_set(o, "link", json_string(link_state(x)));
	json_set(o, "since_ms", json_u64_string(x->state_us / 1000));
	json_set(o, "heard_ms", heard_json(s, v, now));
	json_set(o, "link_heard_ms",
		 x->heard ? json_u64_string(x->heard_us / 1000) : json_null());
	json_set(o, "rtt_us", json_u64_string(x->rtt_us));
	json_set(o, "failures", json_u64_string(x->failures));
	json_set(o, "retry_ms", json_u64_string(x->retry_us / 1000));
	json_set(o, "last_error", text_or_null(x->error));
	json_set(o, "last_error_ms",
		 x->error[0] ? json_u64_string(x->error_us / 1000) : json_null());
	json_set(o, "clock_offset_ms",
		 x->clock_known ? json_int(x->clock_offset_ms) : json_null());
}

static struct json *refusals_json(struct node *n)
{
	struct json *a = json_array();
	struct net_stats stats = {0};
	if (n->net)
		net_stats(n->net, &stats);
	for (unsigned i = 0; i < stats.refusal_count; i++) {
		struct json *o = json_object();
		json_set(o, "address", json_string(stats.refusal[i].address));
		json_set(o, "error", json_string(err_text(stats.refusal[i].err)));
		json_set(o, "code", json_string(err_name(stats.refusal[i].err)));
		json_set(o, "count", json_u64_string(stats.refusal[i].count));
		json_set(o, "ago_ms", json_u64_string(stats.refusal[i].ago_us / 1000));
		json_append(a, o);
	}
	return a;
}

static struct json *counters_json(const struct engine_status *s)
{
	struct json *counters = json_object();
	for (int c = 0; c < COUNTERS; c++)
		json_set(counters, engine_counter_name((enum engine_counter)c),
			 json_u64_string(s->counters[c]));
	return counters;
}

static struct json *links_json(struct node *n, const struct engine_status *s, uint64_t now)
{
	struct json *a = json_array();
	for (unsigned p = 0; p < n->peer_count; p++) {
		struct net_peer_stats stats;
		net_peer_stats(n->net, p, &stats);
		struct json *o = json_object();
		link_json(n, p, s, now, &stats, o);
		json_set(o, "match",
			 s->role == ROLE_LEADER ? json_u64_string(s->match[n->validator_of[p]])
						: json_null());
		json_append(a, o);
	}
	return a;
}

void report_consensus(struct node *n, struct request *r, uint64_t now)
{
	struct engine_status s;
	replica_status(n->replica, &s);
	health_waits(n, &s, now);
	char stall[256], not_ready[256], read_only[128];
	health_stall(n, &s, now, stall, sizeof stall);
	health_not_ready(n, &s, now, not_ready, sizeof not_ready);
	health_read_only(n, now, read_only, sizeof read_only);
	struct json *o = json_object();
	json_set(o, "node", name_json(n, n->self));
	json_set(o, "role", json_string(engine_status_role(&s)));
	json_set(o, "mode", json_string(mode_name(s.mode)));
	json_set(o, "term", json_u64_string(s.term));
	json_set(o, "leader", name_json(n, s.leader));
	json_set(o, "leader_heard_ms",
		 s.leader == n->self	    ? json_u64_string(0)
		 : s.leader == NO_VALIDATOR ? json_null()
					    : heard_json(&s, s.leader, now));
	json_set(o, "n", json_int(n->genesis.n));
	json_set(o, "quorum", json_int(replica_ctx(n->replica)->quorum.q));
	json_set(o, "tip", ref_json(&s.tip));
	json_set(o, "final", ref_json(&s.final));
	json_set(o, "stable", ref_json(&s.stable));
	json_set(o, "base", ref_json(&s.base));
	json_set(o, "tc_term", json_u64_string(s.tc_term));
	json_set(o, "round_us", json_u64_string(s.round_us));
	json_set(o, "timeout_us", json_u64_string(s.timeout_us));
	json_set(o, "final_height", json_u64_string(n->final_height));
	json_set(o, "last_commit_age_ms", json_u64_string(age_of(n->final_time_ms)));
	json_set(o, "pool_count", json_int(s.pool_count));
	json_set(o, "pool_bytes", json_u64_string(s.pool_bytes));
	json_set(o, "pool_oldest_ms",
		 s.pool_oldest && s.pool_oldest <= now
			 ? json_u64_string((now - s.pool_oldest) / 1000)
			 : json_null());
	json_set(o, "waiting", waiting_json(n, now));
	json_set(o, "peers", links_json(n, &s, now));
	json_set(o, "refused_connections", refusals_json(n));
	json_set(o, "clocks_away", names_json(n, health_clocks(n)));
	json_set(o, "disk", disk_json(n, now));
	json_set(o, "halted", text_or_null(n->halted ? n->halted_why : ""));
	json_set(o, "observer", text_or_null(observes(n)));
	json_set(o, "read_only", text_or_null(read_only));
	json_set(o, "not_ready", text_or_null(not_ready));
	json_set(o, "catching_up", json_bool(s.catching_up));
	json_set(o, "counters", counters_json(&s));
	json_set(o, "stall", text_or_null(stall));
	json_set(o, "time_ms", json_u64_string(node_wall_ms()));
	r->json = o;
}

static struct json *queues_json(const struct net_peer_stats *x)
{
	static const char *const names[NET_CLASSES] = {"urgent", "consensus", "bulk"};
	struct json *a = json_object();
	for (int c = 0; c < NET_CLASSES; c++) {
		struct json *o = json_object();
		json_set(o, "messages", json_u64_string(x->class[c].queued_messages));
		json_set(o, "bytes", json_u64_string(x->class[c].queued_bytes));
		json_set(o, "dropped", json_u64_string(x->class[c].dropped_messages));
		json_set(a, names[c], o);
	}
	return a;
}

static struct json *peer_json(struct node *n, unsigned p, const struct engine_status *s,
			      uint64_t now)
{
	unsigned v = n->validator_of[p];
	struct net_peer_stats stats;
	net_peer_stats(n->net, p, &stats);
	const struct {
		const char *name;
		uint64_t value;
	} counts[] = {
		{"connects", stats.connects},
		{"sent_messages", stats.sent_messages},
		{"sent_bytes", stats.sent_bytes},
		{"received_messages", stats.received_messages},
		{"received_bytes", stats.received_bytes},
		{"resent_messages", stats.resent_messages},
		{"dropped_messages", stats.dropped_messages},
		{"refused_frames", stats.refused_frames},
		{"queued_messages", stats.queued_messages},
		{"queued_bytes", stats.queued_bytes},
	};
	struct json *o = json_object();
	link_json(n, p, s, now, &stats, o);
	json_set(o, "key", json_hex(n->link_key[v].b, PUBKEY_SIZE));
	char address[CONFIG_TEXT_MAX + 16];
	snprintf(address, sizeof address, "%s:%u", n->config.peer[v].host,
		 n->config.peer[v].port);
	json_set(o, "address", json_string(address));
	json_set(o, "remote", text_or_null(stats.address));
	for (size_t i = 0; i < MEM_COUNT(counts); i++)
		json_set(o, counts[i].name, json_u64_string(counts[i].value));
	json_set(o, "queues", queues_json(&stats));
	return o;
}

void report_peers(struct node *n, struct request *r, uint64_t now)
{
	struct engine_status s;
	replica_status(n->replica, &s);
	struct json *a = json_array();
	for (unsigned p = 0; p < n->peer_count; p++)
		json_append(a, peer_json(n, p, &s, now));
	struct net_stats stats = {0};
	if (n->net)
		net_stats(n->net, &stats);
	r->json = json_object();
	json_set(r->json, "peers", a);
	json_set(r->json, "handshakes_refused", json_u64_string(stats.handshakes_refused));
	json_set(r->json, "refused_connections", refusals_json(n));
}

struct json *report_change(const struct node *n, const char *change,
			   const struct engine_status *s)
{
	struct json *o = json_object();
	json_set(o, "change", json_string(change));
	json_set(o, "node", name_json(n, n->self));
	json_set(o, "role", json_string(engine_status_role(s)));
	json_set(o, "mode", json_string(mode_name(s->mode)));
	json_set(o, "term", json_u64_string(s->term));
	json_set(o, "leader", name_json(n, s->leader));
	json_set(o, "final_height", json_u64_string(n->final_height));
	json_set(o, "time_ms", json_u64_string(node_wall_ms()));
	return o;
}
