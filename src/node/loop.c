/* The event loop: one thread owns replica, links and timers. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/checker.h"
#include "node/debug.h"
#include "node/node.h"
#include "node/notify.h"
#include "node/upkeep.h"

#define MESSAGES_PER_TURN 512
#define NET_PER_TURN_US	  20000
#define IDLE_US		  200000 /* the loop shows its sign of life so often at least */
#define SNAPSHOT_US	  50000
#define READS_PER_TURN_US 500
#define STALL_LINE_US	  3000000
#define CLOCK_LINE_US	  60000000
#define STATUS_LINE_US	  5000000
#define HAND_OVER_US	  300000 /* a leader waits so long for its successor */

enum { FD_STOP, FD_INBOX, FD_SYNC, FD_CHECKS, FD_NET, FDS };

static void fill_fds(const struct node *n, struct pollfd fds[FDS])
{
	fds[FD_STOP] = (struct pollfd){.fd = n->stop_fd, .events = POLLIN};
	fds[FD_INBOX] = (struct pollfd){.fd = inbox_fd(n->inbox), .events = POLLIN};
	fds[FD_SYNC] = (struct pollfd){.fd = syncer_fd(n->syncer), .events = POLLIN};
	fds[FD_CHECKS] = (struct pollfd){.fd = checker_fd(n->checker), .events = POLLIN};
	fds[FD_NET] = (struct pollfd){.fd = n->net ? net_fd(n->net) : -1, .events = POLLIN};
}

static bool input_waits(const struct node *n)
{
	struct pollfd fds[FDS];
	fill_fds(n, fds);
	return poll(fds, FDS, 0) > 0;
}

static void on_durable(struct node *n, uint64_t seq)
{
	if (seq <= n->sync_done)
		return;
	n->sync_done = seq;
	n->disk.synced = node_clock_us();
	if (!n->halted)
		replica_durable(n->replica, node_clock_us(), seq);
}

static void sync_failed(struct node *n, int err)
{
	char why[160];
	snprintf(why, sizeof why,
		 "the disk does not keep what is written (%s): check space and disk, then "
		 "restart",
		 err_text(err));
	node_halt(n, why);
}

/* Messages of a turn leave together, but none waits for work that is not its own: neither for
 * the next block, nor for the disk. */
static void flush_net(struct node *n)
{
	if (n->net)
		net_flush(n->net);
}

/* A wake-up across threads costs more than most inputs; a sync blocks all of them. So: inline
 * while nothing else waits, else the storage thread. */
static void sync_what_was_written(struct node *n)
{
	while (n->sync_wanted > n->sync_asked && !n->halted) {
		bool running = n->sync_asked > n->sync_done;
		n->sync_asked = n->sync_wanted;
		if (running || input_waits(n)) {
			if (!running)
				n->sync_since = node_clock_us();
			metric_add(&n->metrics.syncs_thread, 1);
			syncer_request(n->syncer, n->sync_asked);
			return;
		}
		metric_add(&n->metrics.syncs_inline, 1);
		uint64_t begin = node_clock_us();
		debug_before_sync();
		int err = store_sync(n->store);
		histogram_add(&n->metrics.sync, node_clock_us() - begin);
		if (err != ERR_NONE)
			sync_failed(n, err);
		else
			on_durable(n, n->sync_asked);
		flush_net(n);
	}
}

static void take_sync(struct node *n)
{
	int err;
	uint64_t done = syncer_done(n->syncer, &err);
	if (err != ERR_NONE)
		sync_failed(n, err);
	on_durable(n, done);
}

/* While links linger (node_set_links()) who has lost its place still has its link, and could
 * ask for votes, or acknowledge heartbeats, which are not signed, in the name of its successor.
 * What it has to say is of older epochs. */
static bool is_usurped(const struct node *n, unsigned validator, struct slice message)
{
	const struct chain_ctx *c = replica_ctx(n->replica);
	return n->links_due &&
	       !pubkey_equal(&n->link_key[validator], &c->vals.key[validator]) &&
	       replica_message_epoch(message) >= c->epoch;
}

static void hand_over_message(struct node *n, unsigned from, struct slice message)
{
	if (!n->halted && !node_is_paused(n) && !is_usurped(n, from, message))
		replica_message(n->replica, node_clock_us(), from, message);
}

static void on_good(void *ctx, const struct hash *id)
{
	struct node *n = ctx;
	replica_checked(n->replica, id);
}

/* Whoever is correct has checked what it passes on: of others we want none of it. */
static void on_checked_message(void *ctx, unsigned from, struct slice message, bool spoiled)
{
	if (!spoiled)
		hand_over_message(ctx, from, message);
}

static void on_checked_block(void *ctx, struct block *b)
{
	struct node *n = ctx;
	if (!n->halted)
		replica_execute(n->replica, node_clock_us(), b);
}

static struct checker_host checker_host(struct node *n)
{
	return (struct checker_host){.ctx = n,
				     .good = on_good,
				     .message = on_checked_message,
				     .block = on_checked_block};
}

static void take_checks(struct node *n)
{
	const struct checker_host host = checker_host(n);
	checker_take(n->checker, node_clock_us(), &host);
}

/* True: it comes back when the signatures in it are checked, or is not listened to. */
static bool give_to_checker(struct node *n, unsigned from, struct slice message)
{
	const struct checker_host host = checker_host(n);
	uint64_t now = node_clock_us();
	if (!replica_brings_transactions(message) || n->halted || node_is_paused(n) ||
	    is_usurped(n, from, message))
		return false;
	if (!checker_hears(n->checker, now, from)) /* before it costs more than a look */
		return true;
	struct brought others;
	uint32_t count = replica_transactions(n->replica, now, message, n->forwarded,
					      FORWARDED_MAX, &others);
	checker_charge(n->checker, now, from, others.worthless);
	if (count == 0) /* with nothing but worthless ones in it the engine need not see it */
		return others.worthless > 0 && others.known == 0;
	if (count > CHECKER_INLINE || checker_has_some(n->checker, n->forwarded, count))
		return checker_message(n->checker, now, from, message, n->forwarded, count);
	return !checker_now(n->checker, now, from, n->forwarded, count, &host);
}

static void take_message(struct node *n, const struct net_event *e)
{
	unsigned type = replica_message_type(e->message);
	metric_add(&n->metrics.received[type < METRICS_TYPES ? type : METRICS_TYPES - 1], 1);
	metric_add(&n->metrics.received_bytes, e->message.len);
	if (!give_to_checker(n, n->validator_of[e->peer], e->message))
		hand_over_message(n, n->validator_of[e->peer], e->message);
}

static void say_link(struct node *n, const struct net_event *e, const char *name)
{
	struct net_peer_stats stats;
	struct engine_status s;
	bool up = e->kind == NET_EVENT_UP;
	net_peer_stats(n->net, e->peer, &stats);
	replica_status(n->replica, &s);
	log_write(LOG_NET, LOG_INFO, "link to %s is %s%s%s", name, up ? "up" : "down",
		  up || !stats.error[0] ? "" : ": ", up ? "" : stats.error);
	struct json *o = report_change(n, "peer", &s);
	json_set(o, "peer", json_string(name));
	json_set(o, "connected", json_bool(up));
	json_set(o, "reason", up || !stats.error[0] ? json_null() : json_string(stats.error));
	events_json(n->events, EVENT_CONSENSUS, o);
}

/* True: there may be more. Timers must not wait for whoever sends the most. */
static bool take_net(struct node *n)
{
	uint64_t until = node_clock_us() + NET_PER_TURN_US;
	struct net_event e;
	for (unsigned i = 0; i < MESSAGES_PER_TURN; i++) {
		if (i > 0 && node_clock_us() >= until)
			return true;
		if (!n->net || !net_next(n->net, &e))
			return false;
		const char *name = node_validator_name(n, n->validator_of[e.peer]);
		switch (e.kind) {
		case NET_EVENT_MESSAGE:
			take_message(n, &e);
			break;
		case NET_EVENT_UP:
		case NET_EVENT_DOWN:
			say_link(n, &e, name);
			break;
		}
	}
	return true;
}

/* Submissions and reads as far as the turn's budgets go: who sends or reads much does not hold up
 * the others, nor the other nodes. True: something is left. */
static bool take_requests(struct node *n)
{
	struct request_list list = TAILQ_HEAD_INITIALIZER(list);
	inbox_take(n->inbox, &list);
	struct request *r;
	while ((r = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, r, link);
		if (r->kind == REQUEST_SUBMIT)
			submit_take(n, r);
		else
			TAILQ_INSERT_TAIL(&n->reads, r, link);
	}
	bool more = submit_some(n);
	uint64_t now = node_clock_us(), until = now + READS_PER_TURN_US;
	while (now < until && (r = TAILQ_FIRST(&n->reads)) != NULL) {
		TAILQ_REMOVE(&n->reads, r, link);
		if (!answer_request(n, r,
				    now)) /* begun: to its end before others hold memory */
			TAILQ_INSERT_HEAD(&n->reads, r, link);
		now = node_clock_us();
	}
	return more || !TAILQ_EMPTY(&n->reads);
}

static void take_stopped_requests(struct node *n)
{
	struct request_list list = TAILQ_HEAD_INITIALIZER(list);
	TAILQ_CONCAT(&list, &n->submissions, link); /* none has begun: submit_stop() */
	TAILQ_CONCAT(&list, &n->reads, link);
	inbox_take(n->inbox, &list);
	struct request *r;
	while ((r = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, r, link);
		problem_set(&r->problem, 503, "stopping", "the node is shutting down", NULL,
			    "use another node, or try again when it is back");
		r->done(r);
	}
}

static void say_stall(struct node *n, uint64_t now)
{
	if (n->snapshot.stall[0] == 0 || now - n->last_stall_line < STALL_LINE_US)
		return;
	n->last_stall_line = now;
	health_log_stall(n, &n->snapshot.status, now);
}

static void say_clocks(struct node *n, uint64_t now)
{
	if (n->last_clock_line && now - n->last_clock_line < CLOCK_LINE_US)
		return;
	for (uint64_t away = health_clocks(n); away; away &= away - 1) {
		unsigned v = (unsigned)__builtin_ctzll(away);
		struct net_peer_stats stats;
		net_peer_stats(n->net, (unsigned)n->peer_of[v], &stats);
		n->last_clock_line = now;
		log_write(LOG_NODE, LOG_WARN,
			  "the clock of %s is %lld ms from ours: one of the two is wrong",
			  node_validator_name(n, v), (long long)stats.clock_offset_ms);
	}
}

/* Halted by a disk that was full or read-only: is it so still? */
static void try_disk(struct node *n, uint64_t now)
{
	if (!n->awaits_disk || n->disk.full || now < n->disk_try_at)
		return;
	n->disk_try_at = now + DISK_CHECK_US;
	if (!disk_try(&n->disk))
		return;
	log_write(LOG_NODE, LOG_WARN, "the data directory can be written to again: going on");
	n->end = NODE_HAS_ROOM;
}

static void watch_disk(struct node *n, uint64_t now)
{
	bool was_full = n->disk.full;
	if (disk_check(&n->disk, now)) {
		const char *what =
			n->disk.full ? "the disk is full: %llu bytes are free, %llu are the "
				       "reserve; this node takes no part until there is room, "
				       "reads are answered"
			: was_full   ? "the disk has room again: %llu bytes are free, %llu are "
				       "the reserve"
			: n->disk.low ? "the disk is nearly full: %llu bytes are free; with "
					"less than %llu this node will take no part"
				      : NULL;
		if (what)
			log_write(LOG_NODE, n->disk.full ? LOG_ERROR : LOG_WARN, what,
				  (unsigned long long)n->disk.free_bytes,
				  (unsigned long long)n->disk.reserve);
		n->snapshot_due = 0;
	}
	try_disk(n, now);
}

/* Who watches an election is told of its steps when they are taken, not of what is left of them
 * when the next snapshot is due. */
static bool election_went_on(const struct node *n)
{
	const struct engine_status *was = &n->snapshot.status;
	struct engine_status s;
	replica_status(n->replica, &s);
	return s.term != was->term || s.leader != was->leader || s.role != was->role ||
	       s.mode != was->mode;
}

static void log_changes(struct node *n, const struct engine_status *s)
{
	const struct engine_status *was = &n->snapshot.status;
	bool same = s->term == was->term && s->leader == was->leader && s->mode == was->mode;
	if (same && s->role == was->role)
		return;
	char term[24], final[24];
	snprintf(term, sizeof term, "%llu", (unsigned long long)s->term);
	snprintf(final, sizeof final, "%llu", (unsigned long long)s->final.height);
	const struct log_field fields[] = {{"term", term, true},
					   {"mode", mode_name(s->mode), false},
					   {"leader", node_validator_name(n, s->leader), false},
					   {"role", engine_status_role(s), false},
					   {"final_height", final, true}};
	/* A candidate is one before it has a term. */
	log_fields(LOG_CONSENSUS, same ? LOG_DEBUG : LOG_INFO,
		   same ? "role changed" : "term, mode or leader changed", fields,
		   MEM_COUNT(fields));
	if (!same)
		events_json(n->events, EVENT_CONSENSUS, report_change(n, "state", s));
}

/* For those who watch: that this node has stopped, or waits in vain, or no longer does. */
static void tell_changes(struct node *n, const struct snapshot *next)
{
	if (next->halted && !n->snapshot.halted) {
		struct json *o = report_change(n, "halted", &next->status);
		json_set(o, "reason", json_string(next->halted_why));
		events_json(n->events, EVENT_CONSENSUS, o);
	}
	if (next->scrub.runs != n->snapshot.scrub.runs && next->scrub.what[0]) {
		struct json *o = report_change(n, "scrub", &next->status);
		json_set(o, "reason", json_string(next->scrub.what));
		events_json(n->events, EVENT_CONSENSUS, o);
	}
	bool stalled = next->stall[0] != 0;
	if (stalled == n->stalled)
		return;
	n->stalled = stalled;
	if (!stalled)
		log_write(LOG_CONSENSUS, LOG_INFO,
			  "no transaction waits in vain any more, final height %llu",
			  (unsigned long long)next->status.final.height);
	struct json *o = report_change(n, "stall", &next->status);
	json_set(o, "reason", stalled ? json_string(next->stall) : json_null());
	events_json(n->events, EVENT_CONSENSUS, o);
}

void node_take_snapshot(struct node *n, uint64_t now)
{
	struct snapshot next = {.now = now,
				.halted = n->halted,
				.observes = replica_observes(n->replica),
				.ctx = *replica_ctx(n->replica)};
	replica_status(n->replica, &next.status);
	replica_sync_status(n->replica, &next.sync);
	next.stale_messages = replica_stale_messages(n->replica);
	if (next.status.pool_count == 0)
		n->final_since = now;
	log_changes(n, &next.status);
	memcpy(next.halted_why, n->halted_why, sizeof next.halted_why);
	health_waits(n, &next.status, now);
	health_not_ready(n, &next.status, now, next.not_ready, sizeof next.not_ready);
	health_stall(n, &next.status, now, next.stall, sizeof next.stall);
	next.final_time_ms = n->final_time_ms;
	next.peer_count = n->peer_count;
	for (unsigned p = 0; p < n->peer_count; p++) {
		next.peer_validator[p] = n->validator_of[p];
		net_peer_stats(n->net, p, &next.peer[p]);
	}
	if (n->net)
		net_stats(n->net, &next.net);
	store_stats(n->store, &next.store);
	next.waiting_requests = n->waiting_count;
	next.disk = n->disk;
	upkeep_stats(n->upkeep, &next.scrub);
	replica_mend_status(n->replica, &next.mend);
	tell_changes(n, &next);
	struct sig_counts signatures = sig_counts();
	atomic_store(&n->metrics.signatures_made, signatures.made);
	atomic_store(&n->metrics.signatures_checked, signatures.checked);
	pthread_mutex_lock(&n->snapshot_lock);
	n->snapshot = next;
	pthread_mutex_unlock(&n->snapshot_lock);
	n->snapshot_due = now + SNAPSHOT_US;
	mend_begin(n);
	say_stall(n, now);
	state_sync_progress(n, now);
	say_clocks(n, now);
}

void snapshot_copy(struct node *n, struct snapshot *out)
{
	pthread_mutex_lock(&n->snapshot_lock);
	*out = n->snapshot;
	pthread_mutex_unlock(&n->snapshot_lock);
}

/* True: stop was asked for. */
static bool take_signals(struct node *n)
{
	uint64_t signals = 0;
	if (read(n->stop_fd, &signals, sizeof signals) != sizeof signals)
		return false;
	if (signals >= NODE_REOPEN && n->reopen_log)
		n->reopen_log();
	return signals % NODE_REOPEN != 0;
}

/* The service manager's watchdog, and what `systemctl status` shows. */
static void tell_manager(struct node *n, uint64_t now)
{
	uint64_t every = notify_watchdog_us();
	if (now < n->notify_due)
		return;
	n->notify_due = now + (every && every < STATUS_LINE_US ? every : STATUS_LINE_US);
	const struct engine_status *s = &n->snapshot.status;
	const char *why = n->snapshot.not_ready, *observes = n->snapshot.observes;
	notify_send("%sSTATUS=%s of term %llu, leader %s, final height %llu%s%s%s%s\n",
		    every ? "WATCHDOG=1\n" : "", engine_status_role(s),
		    (unsigned long long)s->term, node_validator_name(n, s->leader),
		    (unsigned long long)n->final_height, why[0] ? "; not ready: " : "", why,
		    observes ? "; votes no more: " : "", observes ? observes : "");
}

/* True: stop was asked for. */
static bool wait_for_input(struct node *n, bool more, uint64_t by)
{
	uint64_t now = node_clock_us(), wake = now + IDLE_US < by ? now + IDLE_US : by;
	if (!n->halted && !node_is_paused(n) && replica_wake_at(n->replica) < wake)
		wake = replica_wake_at(n->replica);
	if (n->waiting_count > 0 && n->next_expiry_scan < wake)
		wake = n->next_expiry_scan;
	uint64_t left = more || wake <= now ? 0 : wake - now;
	struct timespec timeout = {.tv_sec = (time_t)(left / 1000000),
				   .tv_nsec = (long)(left % 1000000) * 1000};
	struct pollfd fds[FDS];
	fill_fds(n, fds);
	int ready = ppoll(fds, FDS, &timeout, NULL);
	invariant(ready >= 0 || errno == EINTR);
	return ready > 0 && fds[FD_STOP].revents && take_signals(n);
}

static bool turn(struct node *n)
{
	uint64_t begin = node_clock_us();
	debug_poll(begin);
	if (n->net)
		net_hold(n->net);
	replica_gather(n->replica);
	take_sync(n);
	flush_net(n);
	take_checks(n);
	bool more = take_net(n);
	more = take_requests(n) || more;
	uint64_t now = node_clock_us();
	watch_disk(n, now);
	if (!n->halted && !node_is_paused(n) && replica_wake_at(n->replica) <= now)
		replica_tick(n->replica, now);
	flush_net(n);
	if (!n->halted && !node_is_paused(n))
		replica_propose(n->replica, now);
	flush_net(n);
	sync_what_was_written(n);
	if (n->net)
		net_release(n->net);
	submit_flush(n, now);
	submit_expire(n, now);
	if (n->halted)
		submit_stop(n);
	now = node_clock_us();
	if (n->links_due && now >= n->links_due)
		node_set_links(n);
	if (now >= n->snapshot_due || (!n->halted && election_went_on(n)))
		node_take_snapshot(n, now);
	events_flush(n->events, now);
	tell_manager(n, now);
	histogram_add(&n->metrics.turn, now - begin);
	return more;
}

/* A leader has another one elected first, so that its stop costs nobody a timeout. Followers
 * are done when they are asked: what they have taken from clients is with the leader. */
static void hand_over(struct node *n)
{
	struct engine_status s;
	uint64_t until = node_clock_us() + HAND_OVER_US;
	if (n->halted || node_is_paused(n))
		return;
	replica_resign(n->replica, node_clock_us());
	replica_status(n->replica, &s);
	if (!s.resigning)
		return;
	while (n->end == NODE_RUNS && (s.resigning || s.leader == NO_VALIDATOR) &&
	       node_clock_us() < until) {
		bool more = turn(n);
		wait_for_input(n, more, until);
		replica_status(n->replica, &s);
	}
	turn(n); /* what waits here goes to the new leader */
	if (s.leader != NO_VALIDATOR && s.leader != n->self)
		log_write(LOG_NODE, LOG_INFO, "%s leads from here on",
			  node_validator_name(n, s.leader));
}

enum node_end node_run(struct node *n)
{
	bool more = false;
	while (n->end == NODE_RUNS && !wait_for_input(n, more, UINT64_MAX))
		more = turn(n);
	if (n->end == NODE_RUNS) {
		hand_over(n);
		if (n->end != NODE_SYNC_FAILED) /* though its disk may just have room again */
			n->end = NODE_STOPPED;
	}
	inbox_close(n->inbox);
	submit_stop(n);
	take_stopped_requests(n);
	return n->end;
}
