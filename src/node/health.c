/* What a person asks first: why is this node not ready, why does nothing commit? */
#include <stdarg.h>
#include <stdio.h>

#include "node/node.h"

static uint64_t patience_us(const struct node *n)
{
	uint32_t ms = n->config.timeout_max_ms ? n->config.timeout_max_ms : 600;
	return 2000ull * ms;
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
	} else if (s->leader == NO_VALIDATOR) {
		at = add(out, size, at,
			 "no leader in term %llu, %s; silent: ", (unsigned long long)s->term,
			 engine_role_name(s->role));
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
