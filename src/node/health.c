/* What a person asks first: why is this node not ready, why does nothing commit? */
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "node/node.h"

static uint64_t patience_us(const struct node *n)
{
	return 2000ull * config_timeout_max_ms(&n->config);
}

static bool heard(const struct engine_status *s, unsigned validator, uint64_t now,
		  uint64_t within)
{
	return s->heard[validator] && s->heard[validator] + within >= now;
}

static unsigned heard_count(const struct node *n, const struct engine_status *s, uint64_t now)
{
	unsigned count = 1; /* itself */
	for (unsigned v = 0; v < n->genesis.n; v++)
		count += v != n->self && heard(s, v, now, patience_us(n));
	return count;
}

__attribute__((format(printf, 4, 5))) static size_t add(char *out, size_t size, size_t at,
							const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int len = at < size ? vsnprintf(out + at, size - at, fmt, ap) : 0;
	va_end(ap);
	return at + (size_t)len;
}

/* Names of the validators other than oneself for which want holds, or "nobody". */
static size_t add_names(char *out, size_t size, size_t at, const struct node *n,
			const struct engine_status *s, uint64_t now, bool silent, bool behind)
{
	const char *separator = "";
	for (unsigned v = 0; v < n->genesis.n; v++) {
		if (v == n->self || (silent && heard(s, v, now, patience_us(n))) ||
		    (behind && s->match[v] > s->final.height))
			continue;
		at = add(out, size, at, "%s%s", separator, n->genesis.validator[v].name);
		separator = ", ";
	}
	return *separator ? at : add(out, size, at, "nobody");
}

const char *wait_name(enum wait_kind k)
{
	static const char *const names[WAIT_KINDS] = {"disk", "quorum", "leader", "votes",
						      "sync"};
	return names[k];
}

static void set_wait(struct node *n, enum wait_kind k, bool waits, uint64_t who, uint64_t since)
{
	struct wait *w = &n->waits[k];
	if (!waits)
		*w = (struct wait){0};
	else if (w->since == 0)
		w->since = since;
	w->who = waits ? who : 0;
}

static uint64_t silent_ones(const struct node *n, const struct engine_status *s, uint64_t now)
{
	uint64_t who = 0;
	for (unsigned v = 0; v < n->genesis.n; v++)
		if (v != n->self && !heard(s, v, now, patience_us(n)))
			who |= 1ull << v;
	return who;
}

static uint64_t without_vote(const struct node *n, const struct engine_status *s)
{
	uint64_t who = 0;
	for (unsigned v = 0; v < n->genesis.n; v++)
		if (v != n->self && s->match[v] <= s->final.height)
			who |= 1ull << v;
	return who;
}

void health_waits(struct node *n, const struct engine_status *s, uint64_t now)
{
	bool leads = s->leader == n->self, leaderless = s->leader == NO_VALIDATOR;
	bool stops = n->halted || node_is_paused(n), syncs = n->sync_asked > n->sync_done;
	bool stalls = s->pool_count > 0 && now - n->final_since >= patience_us(n);
	bool silent = !leads && !leaderless && !heard(s, s->leader, now, patience_us(n));
	uint64_t leader = leaderless ? 0 : 1ull << s->leader;
	set_wait(n, WAIT_DISK, node_is_paused(n) || syncs || n->disk.error[0], 1ull << n->self,
		 node_is_paused(n) ? n->disk.full_since
		 : syncs	   ? n->sync_since
				   : now);
	set_wait(n, WAIT_QUORUM,
		 !stops && (leads || leaderless) &&
			 heard_count(n, s, now) < replica_ctx(n->replica)->quorum.q,
		 silent_ones(n, s, now), now);
	set_wait(n, WAIT_LEADER, !stops && (leaderless || silent || (!leads && stalls)), leader,
		 stalls && !leaderless && !silent ? n->final_since : now);
	if (n->votes_height != s->final.height)
		n->waits[WAIT_VOTES].since = 0;
	n->votes_height = s->final.height;
	set_wait(n, WAIT_VOTES, !stops && leads && s->tip.height > s->final.height,
		 without_vote(n, s), now);
	set_wait(n, WAIT_SYNC, !stops && s->catching_up && !leads && !leaderless, leader, now);
}

uint64_t health_clocks(const struct node *n)
{
	uint64_t away = 0;
	for (unsigned p = 0; p < n->peer_count; p++) {
		struct net_peer_stats stats;
		net_peer_stats(n->net, p, &stats);
		if (stats.clock_known && (stats.clock_offset_ms > CLOCK_OFFSET_MS ||
					  stats.clock_offset_ms < -CLOCK_OFFSET_MS))
			away |= 1ull << n->validator_of[p];
	}
	return away;
}

void health_read_only(const struct node *n, uint64_t now, char *out, size_t size)
{
	static const enum wait_kind kinds[] = {WAIT_QUORUM, WAIT_LEADER};
	out[0] = 0;
	for (size_t i = 0; i < MEM_COUNT(kinds) && !out[0]; i++) {
		const struct wait *w = &n->waits[kinds[i]];
		if (w->since == 0 || now < w->since + READ_ONLY_AFTER_US)
			continue;
		/* A leader that is heard and slow may still commit. */
		if (kinds[i] == WAIT_LEADER && w->who != 0)
			continue;
		add(out, size, 0, "no %s for %llu s; reads are answered",
		    kinds[i] == WAIT_QUORUM ? "quorum" : "leader",
		    (unsigned long long)((now - w->since) / 1000000));
	}
}

static void name_list(const struct node *n, uint64_t who, char *out, size_t size)
{
	size_t at = 0;
	out[0] = 0;
	for (; who; who &= who - 1)
		at = add(out, size, at, "%s%s", at ? "," : "",
			 node_validator_name(n, (unsigned)__builtin_ctzll(who)));
}

void health_log_stall(const struct node *n, const struct engine_status *s, uint64_t now)
{
	char waits[128], who[256], numbers[4][24], why[256];
	size_t at = 0;
	uint64_t all = 0;
	waits[0] = 0;
	for (int k = 0; k < WAIT_KINDS; k++)
		if (n->waits[k].since) {
			at = add(waits, sizeof waits, at, "%s%s", at ? "," : "",
				 wait_name((enum wait_kind)k));
			all |= n->waits[k].who;
		}
	name_list(n, all, who, sizeof who);
	const uint64_t values[] = {s->pool_count, (now - n->final_since) / 1000, s->term,
				   s->final.height};
	for (size_t i = 0; i < MEM_COUNT(values); i++)
		snprintf(numbers[i], sizeof numbers[i], "%llu", (unsigned long long)values[i]);
	const struct log_field fields[] = {
		{"pending", numbers[0], true},
		{"stalled_ms", numbers[1], true},
		{"term", numbers[2], true},
		{"final_height", numbers[3], true},
		{"waiting", waits, false},
		{"who", who, false},
		{"leader", node_validator_name(n, s->leader), false},
	};
	health_stall(n, s, now, why, sizeof why);
	log_fields(LOG_CONSENSUS, LOG_WARN, why, fields, MEM_COUNT(fields));
}

void health_stall(const struct node *n, const struct engine_status *s, uint64_t now, char *out,
		  size_t size)
{
	out[0] = 0;
	if (s->pool_count == 0 || now - n->final_since < patience_us(n))
		return;
	size_t at =
		add(out, size, 0,
		    "%u transactions wait and nothing was final for %llu ms: ", s->pool_count,
		    (unsigned long long)((now - n->final_since) / 1000));
	if (n->halted) {
		add(out, size, at, "halted: %s", n->halted_why);
	} else if (node_is_paused(n)) {
		add(out, size, at, "the disk is full");
	} else if (s->asks_peers) {
		at = add(
			out, size, at,
			"it has just started and takes part once %u more of the others tell it "
			"what its key has signed last; silent: ",
			s->asks_peers);
		add_names(out, size, at, n, s, now, true, false);
	} else if (s->leader == NO_VALIDATOR) {
		at = add(out, size, at,
			 "no leader in term %llu, %s; silent: ", (unsigned long long)s->term,
			 engine_status_role(s));
		add_names(out, size, at, n, s, now, true, false);
	} else if (s->leader == n->self) {
		at = add(out, size, at,
			 "leading term %llu, final %llu, tip %llu, no vote above the final "
			 "block from: ",
			 (unsigned long long)s->term, (unsigned long long)s->final.height,
			 (unsigned long long)s->tip.height);
		add_names(out, size, at, n, s, now, false, true);
	} else {
		at = add(out, size, at, "forwarded to the leader %s of term %llu, ",
			 node_validator_name(n, s->leader), (unsigned long long)s->term);
		uint64_t last = s->heard[s->leader];
		if (last == 0)
			add(out, size, at, "never heard");
		else
			add(out, size, at, "heard %llu ms ago",
			    (unsigned long long)((now > last ? now - last : 0) / 1000));
	}
}

void health_not_ready(const struct node *n, const struct engine_status *s, uint64_t now,
		      char *out, size_t size)
{
	unsigned q = replica_ctx(n->replica)->quorum.q;
	out[0] = 0;
	if (n->halted) {
		add(out, size, 0, "halted: %s", n->halted_why);
	} else if (node_is_paused(n)) {
		add(out, size, 0,
		    "the disk is full: %llu bytes are free, %llu are kept in reserve",
		    (unsigned long long)n->disk.free_bytes,
		    (unsigned long long)n->disk.reserve);
	} else if (n->snapshot.sync.active) {
		add(out, size, 0,
		    "fetches the state of height %llu from the others, %u %% so far",
		    (unsigned long long)n->snapshot.sync.height,
		    n->snapshot.sync.per_mille / 10);
	} else if (s->asks_peers) {
		size_t at = add(out, size, 0,
				"takes part once %u more of the others have told it what its "
				"key has signed last; silent: ",
				s->asks_peers);
		add_names(out, size, at, n, s, now, true, false);
	} else if (s->leader == NO_VALIDATOR) {
		size_t at =
			add(out, size, 0,
			    "no leader in term %llu; silent: ", (unsigned long long)s->term);
		add_names(out, size, at, n, s, now, true, false);
	} else if (s->leader == n->self) {
		unsigned count = heard_count(n, s, now);
		if (count < q) {
			size_t at = add(
				out, size, 0,
				"leads, but hears only %u of the %u validators that a commit "
				"needs, itself included; silent: ",
				count, q);
			add_names(out, size, at, n, s, now, true, false);
		} else {
			health_stall(n, s, now, out, size);
		}
	} else if (!heard(s, s->leader, now, patience_us(n))) {
		add(out, size, 0, "the leader %s has been silent for over %llu ms",
		    node_validator_name(n, s->leader),
		    (unsigned long long)(patience_us(n) / 1000));
	} else {
		/* In a star a follower cannot hear that its leader has lost the others. */
		health_stall(n, s, now, out, size);
	}
}
