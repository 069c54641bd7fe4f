#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/connections.h"
#include "node/node.h"

/* Upper bounds in microseconds; the last bucket has none. */
static const uint64_t bounds[HISTOGRAM_BUCKETS - 1] = {
	100,   250,    500,    1000,   2500,	5000,	 10000,	  25000,
	50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000};
static const char *const bound_text[HISTOGRAM_BUCKETS] = {
	"0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05",
	"0.1",	  "0.25",    "0.5",    "1",	"2.5",	  "5",	   "10",   "+Inf"};
static const char *const class_names[METRICS_CLASSES] = {"urgent", "consensus", "bulk"};

void histogram_add(struct histogram *h, uint64_t us)
{
	unsigned b = 0;
	while (b < HISTOGRAM_BUCKETS - 1 && us > bounds[b])
		b++;
	metric_add(&h->bucket[b], 1);
	metric_add(&h->sum_us, us);
	atomic_store_explicit(&h->last_us, us, memory_order_relaxed);
}

__attribute__((format(printf, 2, 3))) static void print(struct writer *w, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	va_start(ap, fmt);
	int len = vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	invariant(len >= 0 && (size_t)len < sizeof line);
	writer_raw(w, line, (size_t)len);
}

static void head(struct writer *w, const char *name, const char *type, const char *help)
{
	print(w, "# HELP ostrakon_%s %s\n# TYPE ostrakon_%s %s\n", name, help, name, type);
}

static void gauge(struct writer *w, const char *name, const char *help, uint64_t v)
{
	head(w, name, "gauge", help);
	print(w, "ostrakon_%s %llu\n", name, (unsigned long long)v);
}

static void counter(struct writer *w, const char *name, const char *help, uint64_t v)
{
	head(w, name, "counter", help);
	print(w, "ostrakon_%s %llu\n", name, (unsigned long long)v);
}

static void histogram(struct writer *w, const char *name, const char *help, struct histogram *h)
{
	head(w, name, "histogram", help);
	unsigned long long total = 0;
	for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
		total += atomic_load_explicit(&h->bucket[b], memory_order_relaxed);
		print(w, "ostrakon_%s_bucket{le=\"%s\"} %llu\n", name, bound_text[b], total);
	}
	print(w, "ostrakon_%s_sum %.6f\nostrakon_%s_count %llu\n", name,
	      (double)atomic_load_explicit(&h->sum_us, memory_order_relaxed) / 1e6, name,
	      total);
}

static void render_consensus(struct writer *w, const struct snapshot *s)
{
	const struct engine_status *e = &s->status;
	gauge(w, "ready", "1 if /readyz says so", !s->not_ready[0]);
	gauge(w, "halted", "1 if this replica has stopped", s->halted);
	gauge(w, "epoch", "sets of validators that there have been before this one",
	      s->ctx.epoch);
	gauge(w, "term", "current term", e->term);
	head(w, "mode", "gauge", "1 for the mode that the replica is in");
	for (int m = MODE_FAST; m <= MODE_PBFT; m++)
		print(w, "ostrakon_mode{mode=\"%s\"} %d\n", mode_name((enum mode)m),
		      (int)e->mode == m);
	head(w, "role", "gauge", "1 for the role that the replica has");
	for (int r = ROLE_FOLLOWER; r <= ROLE_LEADER; r++)
		print(w, "ostrakon_role{role=\"%s\"} %d\n",
		      engine_role_name((enum engine_role)r), !e->observer && (int)e->role == r);
	print(w, "ostrakon_role{role=\"observer\"} %d\n", e->observer);
	gauge(w, "height", "height of the newest block voted or adopted", e->tip.height);
	gauge(w, "final_height", "height of the newest final block", e->final.height);
	gauge(w, "final_time_ms", "time of the newest final block, Unix milliseconds",
	      s->final_time_ms);
	gauge(w, "checkpoint_height", "height of the newest stable checkpoint",
	      e->stable.height);
	gauge(w, "round_us", "a round with the quickest quorum as measured, microseconds",
	      e->round_us);
	gauge(w, "timeout_us", "the shortest election timeout that fits it, microseconds",
	      e->timeout_us);
	gauge(w, "pool_transactions", "transactions waiting", e->pool_count);
	gauge(w, "pool_bytes", "bytes of the transactions waiting", e->pool_bytes);
	head(w, "engine_events_total", "counter", "what the consensus engine counted");
	for (int c = 0; c < COUNTERS; c++)
		print(w, "ostrakon_engine_events_total{event=\"%s\"} %llu\n",
		      engine_counter_name((enum engine_counter)c),
		      (unsigned long long)e->counters[c]);
}

static void render_messages(struct writer *w, struct metrics *m)
{
	head(w, "messages_sent_total", "counter",
	     "messages handed to the links, by class and type");
	for (int c = 0; c < METRICS_CLASSES; c++)
		for (int t = 0; t < METRICS_TYPES; t++) {
			unsigned long long v =
				atomic_load_explicit(&m->sent[c][t], memory_order_relaxed);
			if (v)
				print(w,
				      "ostrakon_messages_sent_total{class=\"%s\",type=\"%d\"} "
				      "%llu\n",
				      class_names[c], t, v);
		}
	head(w, "messages_sent_bytes_total", "counter", "their bytes");
	for (int c = 0; c < METRICS_CLASSES; c++)
		print(w, "ostrakon_messages_sent_bytes_total{class=\"%s\"} %llu\n",
		      class_names[c],
		      atomic_load_explicit(&m->sent_bytes[c], memory_order_relaxed));
	head(w, "messages_sent_type_bytes_total", "counter", "the same bytes by type");
	for (int t = 0; t < METRICS_TYPES; t++) {
		unsigned long long v =
			atomic_load_explicit(&m->sent_type_bytes[t], memory_order_relaxed);
		if (v)
			print(w, "ostrakon_messages_sent_type_bytes_total{type=\"%d\"} %llu\n",
			      t, v);
	}
	head(w, "messages_dropped_total", "counter", "messages that found their queue full");
	for (int c = 0; c < METRICS_CLASSES; c++)
		print(w, "ostrakon_messages_dropped_total{class=\"%s\"} %llu\n", class_names[c],
		      atomic_load_explicit(&m->send_failed[c], memory_order_relaxed));
	head(w, "messages_received_total", "counter", "messages taken from the links, by type");
	for (int t = 0; t < METRICS_TYPES; t++) {
		unsigned long long v =
			atomic_load_explicit(&m->received[t], memory_order_relaxed);
		if (v)
			print(w, "ostrakon_messages_received_total{type=\"%d\"} %llu\n", t, v);
	}
	counter(w, "messages_received_bytes_total", "their bytes",
		atomic_load_explicit(&m->received_bytes, memory_order_relaxed));
	head(w, "signatures_total", "counter",
	     "signatures made and checked by the event loop, not by API threads");
	print(w,
	      "ostrakon_signatures_total{operation=\"made\"} %llu\n"
	      "ostrakon_signatures_total{operation=\"checked\"} %llu\n",
	      atomic_load_explicit(&m->signatures_made, memory_order_relaxed),
	      atomic_load_explicit(&m->signatures_checked, memory_order_relaxed));
}

/* Bulkheads: a queue for each peer and class. */
static void render_queues(struct writer *w, const struct snapshot *s)
{
	static const char *const names[] = {"peer_queue_messages", "peer_queue_bytes",
					    "peer_queue_dropped_total"};
	static const char *const help[] = {"messages waiting or unacknowledged", "their bytes",
					   "messages that found the queue full"};
	for (unsigned k = 0; k < MEM_COUNT(names); k++) {
		head(w, names[k], k == 2 ? "counter" : "gauge", help[k]);
		for (unsigned p = 0; p < s->peer_count; p++)
			for (int c = 0; c < METRICS_CLASSES; c++) {
				const struct net_peer_stats *x = &s->peer[p];
				uint64_t v = k == 0   ? x->class[c].queued_messages
					     : k == 1 ? x->class[c].queued_bytes
						      : x->class[c].dropped_messages;
				print(w, "ostrakon_%s{validator=\"%u\",class=\"%s\"} %llu\n",
				      names[k], s->peer_validator[p], class_names[c],
				      (unsigned long long)v);
			}
	}
}

static void render_peers(struct writer *w, const struct snapshot *s)
{
	head(w, "peer_connected", "gauge", "1 if the link is up");
	for (unsigned p = 0; p < s->peer_count; p++)
		print(w, "ostrakon_peer_connected{validator=\"%u\"} %d\n", s->peer_validator[p],
		      s->peer[p].up);
	head(w, "peer_rtt_seconds", "gauge", "round trip of the last keepalive");
	for (unsigned p = 0; p < s->peer_count; p++)
		print(w, "ostrakon_peer_rtt_seconds{validator=\"%u\"} %.6f\n",
		      s->peer_validator[p], (double)s->peer[p].rtt_us / 1e6);
	head(w, "peer_queued_bytes", "gauge", "bytes not yet acknowledged by the peer");
	for (unsigned p = 0; p < s->peer_count; p++)
		print(w, "ostrakon_peer_queued_bytes{validator=\"%u\"} %llu\n",
		      s->peer_validator[p], (unsigned long long)s->peer[p].queued_bytes);
	head(w, "peer_clock_offset_seconds", "gauge", "its wall clock less ours");
	for (unsigned p = 0; p < s->peer_count; p++)
		if (s->peer[p].clock_known)
			print(w, "ostrakon_peer_clock_offset_seconds{validator=\"%u\"} %.3f\n",
			      s->peer_validator[p], (double)s->peer[p].clock_offset_ms / 1e3);
	render_queues(w, s);
	head(w, "peer_refused_frames_total", "counter", "malformed or forged frames");
	for (unsigned p = 0; p < s->peer_count; p++)
		print(w, "ostrakon_peer_refused_frames_total{validator=\"%u\"} %llu\n",
		      s->peer_validator[p], (unsigned long long)s->peer[p].refused_frames);
	counter(w, "handshakes_refused_total", "strangers, impostors, the slow",
		s->net.handshakes_refused);
}

static void render_api(struct writer *w, struct metrics *m, const struct snapshot *s,
		       const struct connections_stats *c)
{
	head(w, "http_requests_total", "counter", "answers of the API by status");
	for (int code = 100; code < 600; code++) {
		unsigned long long v =
			atomic_load_explicit(&m->http[code], memory_order_relaxed);
		if (v)
			print(w, "ostrakon_http_requests_total{status=\"%d\"} %llu\n", code, v);
	}
	const struct {
		const char *outcome;
		atomic_ullong *count;
	} outcomes[] = {{"submitted", &m->submitted},
			{"committed", &m->committed},
			{"refused", &m->refused},
			{"busy", &m->busy},
			{"timed_out", &m->timed_out}};
	head(w, "transactions_total", "counter", "transactions of this node's clients");
	for (size_t i = 0; i < MEM_COUNT(outcomes); i++)
		print(w, "ostrakon_transactions_total{outcome=\"%s\"} %llu\n",
		      outcomes[i].outcome,
		      atomic_load_explicit(outcomes[i].count, memory_order_relaxed));
	head(w, "api_connections", "gauge", "open connections by what they do");
	for (int p = 0; p < CONNECTION_PHASES; p++)
		print(w, "ostrakon_api_connections{phase=\"%s\"} %u\n",
		      connection_phase_name((enum connection_phase)p), c->phase[p]);
	const struct {
		const char *end;
		uint64_t count;
	} ends[] = {{"refused", c->refused}, {"displaced", c->displaced}, {"late", c->late}};
	counter(w, "api_accepted_total", "connections accepted", c->accepted);
	head(w, "api_connections_ended_total", "counter", "connections ended by the node");
	for (size_t i = 0; i < MEM_COUNT(ends); i++)
		print(w, "ostrakon_api_connections_ended_total{reason=\"%s\"} %llu\n",
		      ends[i].end, (unsigned long long)ends[i].count);
	gauge(w, "requests_waiting", "requests that wait for finality", s->waiting_requests);
}

/* What is in use tells a leak from memory that the allocator keeps for the next to come. */
static void render_memory(struct writer *w)
{
	unsigned long long pages, resident;
	FILE *f = fopen("/proc/self/statm", "r");
	if (f && fscanf(f, "%llu %llu", &pages, &resident) == 2)
		gauge(w, "resident_bytes", "memory that the process occupies",
		      resident * (uint64_t)sysconf(_SC_PAGESIZE));
	if (f)
		fclose(f);
	struct mallinfo2 heap = mallinfo2();
	head(w, "heap_bytes", "gauge", "what was allocated, and is kept for what will be");
	print(w, "ostrakon_heap_bytes{state=\"used\"} %zu\n", heap.uordblks + heap.hblkhd);
	print(w, "ostrakon_heap_bytes{state=\"free\"} %zu\n", heap.fordblks);
}

void metrics_render(struct writer *w, struct metrics *m, const struct snapshot *s,
		    const struct connections_stats *c)
{
	render_consensus(w, s);
	render_messages(w, m);
	render_peers(w, s);
	render_api(w, m, s, c);
	gauge(w, "disk_free_bytes", "free under the data directory", s->disk.free_bytes);
	gauge(w, "disk_full", "1 if less than the reserve is free", s->disk.full);
	gauge(w, "disk_low", "1 if less than four times the reserve is free", s->disk.low);
	render_memory(w);
	counter(w, "epoch_stale_messages_total", "of other epochs, or that do not say of which",
		s->stale_messages);
	gauge(w, "state_sync_active", "1 while a state is fetched from peers", s->sync.active);
	gauge(w, "state_sync_permille", "how much of it is here", s->sync.per_mille);
	gauge(w, "state_sync_height", "of the newest state that was fetched", s->sync.height);
	gauge(w, "state_sync_bytes", "of it so far", s->sync.bytes);
	gauge(w, "state_sync_parts", "of it so far", s->sync.ranges);
	gauge(w, "state_sync_retries", "parts of it asked for again", s->sync.retries);
	counter(w, "state_sync_completed_total", "states fetched", s->sync.completed);
	counter(w, "state_sync_strikes_total", "answers that were false", s->sync.strikes);
	counter(w, "state_sync_malformed_total", "messages of it that do not parse",
		s->sync.malformed);
	counter(w, "state_sync_served_parts_total", "for others", s->sync.served_ranges);
	counter(w, "state_sync_served_bytes_total", "for others", s->sync.served_bytes);
	counter(w, "state_sync_refused_total", "questions of others without an answer",
		s->sync.refused);
	counter(w, "scrub_runs_total", "readings of all data that ended", s->scrub.runs);
	counter(w, "scrub_bytes_total", "bytes read by them", s->scrub.bytes);
	gauge(w, "scrub_damaged_records", "what the newest one found", s->scrub.damaged);
	gauge(w, "scrub_failed", "1 if the newest one could not read all", s->scrub.failed);
	gauge(w, "scrub_finished_seconds", "Unix time of its end", s->scrub.finished_ms / 1000);
	counter(w, "scrub_mended_total", "damaged records made whole", s->mend.mended);
	counter(w, "scrub_fetched_total", "those of them that took what others sent",
		s->mend.fetched);
	counter(w, "scrub_left_total", "damaged records that could not be mended",
		s->mend.left);
	counter(w, "scrub_lies_total", "false answers of others to that", s->mend.lies);
	histogram(w, "commit_seconds", "from submission here to finality here", &m->commit);
	histogram(w, "sync_seconds", "making writes durable", &m->sync);
	histogram(w, "loop_turn_seconds", "one turn of the event loop", &m->turn);
	head(w, "syncs_total", "counter", "syncs by where they ran");
	print(w, "ostrakon_syncs_total{where=\"loop\"} %llu\n",
	      atomic_load_explicit(&m->syncs_inline, memory_order_relaxed));
	print(w, "ostrakon_syncs_total{where=\"thread\"} %llu\n",
	      atomic_load_explicit(&m->syncs_thread, memory_order_relaxed));
	counter(w, "store_writes_total", "batches written to the store", s->store.writes);
	counter(w, "store_written_bytes_total", "their bytes", s->store.bytes_written);
}
