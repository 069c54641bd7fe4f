/* Counters and histograms of the node itself; what engine, links and store count is added from
 * a snapshot when /metrics is asked for. All adds are relaxed atomics: any thread. */
#ifndef NODE_METRICS_H
#define NODE_METRICS_H

#include <stdatomic.h>

#include "base/bytes.h"

#define HISTOGRAM_BUCKETS 17 /* the last one is +Inf */
struct histogram {
	atomic_ullong bucket[HISTOGRAM_BUCKETS];
	atomic_ullong sum_us, last_us;
};
void histogram_add(struct histogram *h, uint64_t us);

#define METRICS_CLASSES 3
#define METRICS_TYPES	64 /* message types at or above share the last slot */
struct metrics {
	struct histogram sync, commit, turn;
	atomic_ullong sent[METRICS_CLASSES][METRICS_TYPES], sent_bytes[METRICS_CLASSES];
	atomic_ullong sent_type_bytes[METRICS_TYPES];
	atomic_ullong signatures_made, signatures_checked; /* by the loop's thread */
	atomic_ullong send_failed[METRICS_CLASSES];
	atomic_ullong received[METRICS_TYPES], received_bytes;
	atomic_ullong http[600]; /* by status */
	atomic_ullong submitted, busy, refused, committed, timed_out;
	atomic_ullong syncs_inline, syncs_thread;
};
static inline void metric_add(atomic_ullong *m, uint64_t n)
{
	atomic_fetch_add_explicit(m, n, memory_order_relaxed);
}

struct snapshot;
struct connections_stats;
/* Appends Prometheus text, exposition format 0.0.4. */
void metrics_render(struct writer *w, struct metrics *m, const struct snapshot *s,
		    const struct connections_stats *c);

#endif
