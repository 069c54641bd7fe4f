/* The summary: sentences that follow from the figures by rules. No figure, no sentence. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tools/lab/report.h"

static void lead(struct writer *w, const char *title)
{
	html_fmt(w, "<li><strong>%s.</strong> ", title);
}

/* Items of a list in the item; the first opens it, items_end() ends it. */
static void item(struct writer *w, bool first)
{
	html_raw(w, first ? "<ul>\n<li>" : "</li>\n<li>");
}

static void items_end(struct writer *w)
{
	html_raw(w, "</li></ul>\n");
}

static void number(struct writer *w, double v)
{
	char text[HTML_NUMBER_MAX];
	html_raw(w, html_number(text, v));
}

static void duration(struct writer *w, double ms)
{
	char text[HTML_NUMBER_MAX];
	html_raw(w, html_duration(text, ms));
}

static void quoted(struct writer *w, const char *text)
{
	html_raw(w, "\u201c");
	html_text(w, *text ? text : "unknown");
	html_raw(w, "\u201d");
}

static const char *title_of(unsigned protocol)
{
	static const char *const titles[REPORT_PROTOCOLS] = {"Multi-Paxos", "Raft", "PBFT",
							     "the hybrid", "another protocol"};
	return titles[protocol];
}

/* ---- what was run ------------------------------------------------------------------------ */

static void say_runs(struct writer *w, const struct report *r)
{
	size_t live = 0, passed = 0, judged = 0;
	unsigned protocols = 0;
	for (size_t i = 0; i < r->count; i++) {
		live += r->run[i].live;
		judged += r->run[i].has_passed;
		passed += r->run[i].has_passed && r->run[i].passed;
		protocols |= 1u << report_protocol(&r->run[i]);
	}
	lead(w, "Runs");
	html_fmt(w, "%zu result%s, ", r->count, r->count == 1 ? "" : "s");
	if (live)
		html_fmt(w, "%zu of them live with real processes, ", live);
	html_raw(w, "of ");
	unsigned left = (unsigned)__builtin_popcount(protocols);
	for (unsigned p = 0; p < REPORT_PROTOCOLS; p++)
		if (protocols >> p & 1)
			html_fmt(w, "%s%s", title_of(p),
				 --left > 1 ? ", "
				 : left	    ? " and "
					    : ".");
	if (judged && passed == judged)
		html_fmt(w, " All %zu that state expectations met them.", judged);
	else if (judged)
		html_fmt(w,
			 " Of %zu that state expectations %zu met them and <em>%zu did "
			 "not</em>.",
			 judged, passed, judged - passed);
	html_raw(w, "</li>\n");
}

/* ---- messages ---------------------------------------------------------------------------- */

/* The fault-free simulated run of a protocol, the smallest or the largest network. */
static const struct report_run *fault_free(const struct report *r, unsigned protocol,
					   enum report_field f, bool largest)
{
	const struct report_run *best = NULL;
	for (size_t i = 0; i < r->count; i++) {
		const struct report_run *run = &r->run[i];
		if (!run->fault_free || run->live || report_protocol(run) != protocol ||
		    !measured(run->value[f]))
			continue;
		if (!best || (largest ? run->nodes > best->nodes : run->nodes < best->nodes))
			best = run;
	}
	return best;
}

/* The largest distance from theory in fault-free runs; NaN: none was measured. */
static double worst_deviation(const struct report *r)
{
	double worst = NAN;
	for (size_t i = 0; i < r->count; i++)
		if (r->run[i].fault_free && !r->run[i].live)
			worst = fmax(worst, fabs(report_deviation(&r->run[i])));
	return worst;
}

static void say_lone(struct writer *w, const struct report *r)
{
	double worst = NAN;
	for (size_t i = 0; i < r->count; i++) {
		double own = r->run[i].value[F_LONE], theory = r->run[i].value[F_LONE_THEORY];
		if (measured(own) && theory > 0)
			worst = fmax(worst, fabs(own / theory - 1));
	}
	if (!measured(worst))
		return;
	if (worst < 1e-9) {
		html_raw(w, " A block proposed alone costs exactly what theory says, too.");
		return;
	}
	html_raw(w, " A block proposed alone costs what theory says within ");
	number(w, 100 * worst);
	html_raw(w, " %.");
}

static void say_messages(struct writer *w, const struct report *r)
{
	bool first = true;
	for (unsigned p = 0; p < REPORT_PROTOCOLS - 1; p++) {
		const struct report_run *small = fault_free(r, p, F_MESSAGES, false),
					*large = fault_free(r, p, F_MESSAGES, true);
		if (!small)
			continue;
		if (first)
			lead(w, "Messages against theory");
		html_fmt(w, "%s%s sends ", first ? "Without faults " : "; ", title_of(p));
		first = false;
		number(w, small->value[F_MESSAGES]);
		html_fmt(w, " messages a decision at n=%u", small->nodes);
		if (large->nodes == small->nodes)
			continue;
		html_raw(w, " and ");
		number(w, large->value[F_MESSAGES]);
		html_fmt(w, " at n=%u", large->nodes);
	}
	if (first)
		return;
	double worst = worst_deviation(r);
	html_raw(w, ".");
	if (worst < 1e-9) {
		html_raw(w, " Every one of these counts is what theory says.");
	} else if (measured(worst)) {
		html_raw(w, " The count farthest from theory is ");
		number(w, 100 * worst);
		html_raw(w, " % off.");
	}
	say_lone(w, r);
	const struct report_run *pbft = fault_free(r, 2, F_MESSAGES, true),
				*hybrid = fault_free(r, 3, F_MESSAGES, true);
	if (pbft && hybrid && pbft->nodes == hybrid->nodes && hybrid->value[F_MESSAGES] > 0) {
		html_fmt(w, " At n=%u PBFT sends ", pbft->nodes);
		number(w, pbft->value[F_MESSAGES] / hybrid->value[F_MESSAGES]);
		html_raw(w, " times the hybrid\u2019s messages.");
	}
	html_raw(w, "</li>\n");
}

/* ---- safety ------------------------------------------------------------------------------ */

struct tally {
	unsigned runs, forked, convicted;
	unsigned beyond, beyond_forked; /* of controls that are expected to fork */
	double conflicts;
};

static void tally(const struct report *r, unsigned p, bool equivocation, struct tally *t)
{
	*t = (struct tally){0};
	for (size_t i = 0; i < r->count; i++) {
		const struct report_run *run = &r->run[i];
		if (report_protocol(run) != p || !measured(run->value[F_CONFLICTS]) ||
		    run->equivocated != equivocation)
			continue;
		if (run->beyond && !equivocation) {
			t->beyond++;
			t->beyond_forked += run->value[F_CONFLICTS] > 0;
			continue;
		}
		t->runs++;
		t->forked += run->value[F_CONFLICTS] > 0;
		t->conflicts += run->value[F_CONFLICTS];
		t->convicted += run->convicted > 0;
	}
}

static void say_equivocation(struct writer *w, const struct report *r)
{
	struct tally t;
	bool first = true;
	for (unsigned p = 0; p < REPORT_PROTOCOLS; p++) {
		tally(r, p, true, &t);
		if (!t.runs)
			continue;
		if (first)
			lead(w, "Under an equivocating leader");
		html_fmt(w, "%s%s ", first ? "" : "; ", title_of(p));
		first = false;
		if (t.forked) {
			html_fmt(w, "<em>forked</em> in %u of %u results (", t.forked, t.runs);
			number(w, t.conflicts);
			html_fmt(w, " height%s with different final blocks)",
				 t.conflicts == 1 ? "" : "s");
		} else {
			html_fmt(w, "stayed safe in %s%u result%s", t.runs > 1 ? "all " : "",
				 t.runs, t.runs == 1 ? "" : "s");
		}
		if (t.convicted)
			html_fmt(w, " and convicted somebody in %u", t.convicted);
	}
	if (!first)
		html_raw(w, ".</li>\n");
}

static void say_safety(struct writer *w, const struct report *r)
{
	unsigned runs = 0, forked = 0, beyond = 0, beyond_forked = 0;
	double accused = NAN;
	for (unsigned p = 0; p < REPORT_PROTOCOLS; p++) {
		struct tally t;
		tally(r, p, false, &t);
		runs += t.runs;
		forked += t.forked;
		beyond += t.beyond;
		beyond_forked += t.beyond_forked;
	}
	for (size_t i = 0; i < r->count; i++)
		if (measured(r->run[i].value[F_ACCUSED_INNOCENT]))
			accused = (measured(accused) ? accused : 0) +
				  r->run[i].value[F_ACCUSED_INNOCENT];
	if (!runs && !beyond && !measured(accused))
		return;
	lead(w, "Safety otherwise");
	if (runs && !forked)
		html_fmt(w, "No correct replicas disagreed in the %u other result%s.", runs,
			 runs == 1 ? "" : "s");
	else if (runs)
		html_fmt(w,
			 "<em>Correct replicas disagreed in %u of the %u other results.</em>",
			 forked, runs);
	if (beyond)
		html_fmt(w, " Of %u control%s beyond what the protocol tolerates %u forked.",
			 beyond, beyond == 1 ? "" : "s", beyond_forked);
	if (accused > 0) {
		html_raw(w, " <em>Innocent replicas were accused: ");
		number(w, accused);
		html_raw(w, ".</em>");
	} else if (measured(accused)) {
		html_raw(w, " Nobody innocent was accused in any run.");
	}
	html_raw(w, "</li>\n");
}

/* ---- failover ---------------------------------------------------------------------------- */

static void say_failover(struct writer *w, const struct report *r)
{
	bool first = true;
	for (unsigned p = 0; p < REPORT_PROTOCOLS; p++) {
		const struct report_run *fast = NULL, *slow = NULL;
		for (size_t i = 0; i < r->count; i++) {
			const struct report_run *run = &r->run[i];
			double ms = report_failover(run);
			if (report_protocol(run) != p || !(ms > 0) ||
			    run->value[F_CONFLICTS] > 0)
				continue;
			if (!fast || ms < report_failover(fast))
				fast = run;
			if (!slow || ms > report_failover(slow))
				slow = run;
		}
		if (!fast)
			continue;
		if (first)
			lead(w,
			     "Failover, from the loss of a leader to a final block of another");
		item(w, first);
		html_fmt(w, "%s: ", title_of(p));
		first = false;
		duration(w, report_failover(fast));
		if (fast != slow) {
			html_raw(w, " (");
			quoted(w, fast->fault);
			html_fmt(w, ", n=%u%s) to ", fast->nodes, fast->live ? ", live" : "");
			duration(w, report_failover(slow));
			html_raw(w, " (");
			quoted(w, slow->fault);
			html_fmt(w, ", n=%u%s)", slow->nodes, slow->live ? ", live" : "");
		}
	}
	if (!first) {
		items_end(w);
		html_raw(w, "</li>\n");
	}
}

/* ---- throughput -------------------------------------------------------------------------- */

static void say_throughput(struct writer *w, const struct report *r)
{
	bool first = true;
	for (unsigned p = 0; p < REPORT_PROTOCOLS; p++) {
		const struct report_run *worst = NULL, *best = NULL;
		for (size_t i = 0; i < r->count; i++) {
			const struct report_run *run = &r->run[i];
			double share = report_throughput_share(r, run);
			if (report_protocol(run) != p || !run->faulty || !measured(share) ||
			    run->value[F_CONFLICTS] > 0)
				continue;
			if (!worst || share < report_throughput_share(r, worst))
				worst = run;
			if (!best || share > report_throughput_share(r, best))
				best = run;
		}
		if (!worst)
			continue;
		if (first)
			lead(w, "Throughput under fault and attack, where it stays safe, as a "
				"share of "
				"that without faults");
		item(w, first);
		html_fmt(w, "%s: at worst ", title_of(p));
		first = false;
		number(w, 100 * report_throughput_share(r, worst));
		html_raw(w, " % under ");
		quoted(w, worst->fault);
		if (best != worst) {
			html_fmt(w, " (n=%u), at best ", worst->nodes);
			number(w, 100 * report_throughput_share(r, best));
			html_raw(w, " % under ");
			quoted(w, best->fault);
			html_fmt(w, " (n=%u)", best->nodes);
		}
	}
	if (!first) {
		items_end(w);
		html_raw(w, "</li>\n");
	}
}

/* ---- live -------------------------------------------------------------------------------- */

static void say_live(struct writer *w, const struct report *r)
{
	bool first = true;
	double load = NAN;
	for (size_t i = 0; i < r->count; i++) {
		const struct report_run *run = &r->run[i];
		if (!run->live || !run->fault_free || !measured(run->value[F_THROUGHPUT]))
			continue;
		if (first)
			lead(w, "Live, with real processes and without faults");
		item(w, first);
		first = false;
		html_fmt(w, "%s, n=%u: ", title_of(report_protocol(run)), run->nodes);
		number(w, run->value[F_THROUGHPUT]);
		html_raw(w, " transactions a second");
		if (measured(run->value[F_CLIENT_P50])) {
			html_raw(w, ", clients wait ");
			duration(w, run->value[F_CLIENT_P50]);
			html_raw(w, " (median)");
		}
		load = fmax(load, report_number(run->v, "calibration.load"));
	}
	if (first)
		return;
	items_end(w);
	if (measured(load)) {
		html_raw(w, "The machine\u2019s load was up to ");
		number(w, load);
		html_raw(w,
			 ": over its number of cores these figures say more of it than of the "
			 "protocols.");
	}
	html_raw(w, "</li>\n");
}

/* ---- where the hybrid loses -------------------------------------------------------------- */

static const struct {
	enum report_field field;
	const char *name;
	bool more_is_better;
} judged[] = {
	{F_MESSAGES, "messages a decision", false},
	{F_BYTES, "bytes a decision", false},
	{F_AUTHENTICATORS, "signatures made and checked a decision", false},
	{F_TIME_P50, "median consensus time in ms", false},
	{F_TIME_P99, "99th percentile of consensus time in ms", false},
	{F_CLIENT_P50, "median time of a client in ms", false},
	{F_THROUGHPUT, "transactions a second", true},
};

/* The best other run without conflicts of the same condition, if it beats the hybrid by a
 * twentieth. */
static const struct report_run *beaten_by(const struct report *r, const struct report_run *own,
					  enum report_field f, bool more_is_better)
{
	const struct report_run *best = NULL;
	if (!measured(own->value[f]) || (own->value[f] <= 0 && !more_is_better))
		return NULL;
	for (size_t i = 0; i < r->count; i++) {
		const struct report_run *other = &r->run[i];
		double v = other->value[f];
		if (report_protocol(other) >= 3 || strcmp(other->fault, own->fault) != 0 ||
		    other->nodes != own->nodes || other->live != own->live || !measured(v) ||
		    other->value[F_CONFLICTS] > 0)
			continue;
		if (!best || (more_is_better ? v > best->value[f] : v < best->value[f]))
			best = other;
	}
	if (!best)
		return NULL;
	double a = own->value[f], b = best->value[f];
	return (more_is_better ? b > 1.05 * a : a > 1.05 * b) ? best : NULL;
}

static void say_loss(struct writer *w, const struct report_run *own,
		     const struct report_run *other, unsigned k)
{
	double a = own->value[judged[k].field], b = other->value[judged[k].field];
	html_fmt(w, "%s (", judged[k].name);
	number(w, a);
	html_raw(w, " against ");
	number(w, b);
	html_fmt(w, " of %s", title_of(report_protocol(other)));
	double ratio = judged[k].more_is_better ? b / a : a / b;
	if (isfinite(ratio) && ratio < 1000) {
		html_raw(w, ", \u00d7 ");
		number(w, ratio);
	}
	html_raw(w, ")");
}

static unsigned say_fault_free_losses(struct writer *w, const struct report *r)
{
	const struct report_run *own = NULL;
	unsigned losses = 0;
	for (unsigned k = 0; k < MEM_COUNT(judged); k++) {
		const struct report_run *run = fault_free(r, 3, judged[k].field, true);
		if (run && (!own || run->nodes > own->nodes))
			own = run;
	}
	for (unsigned k = 0; own && k < MEM_COUNT(judged); k++) {
		const struct report_run *other =
			beaten_by(r, own, judged[k].field, judged[k].more_is_better);
		if (!other)
			continue;
		item(w, losses++ == 0);
		html_fmt(w, "without faults at n=%u: ", own->nodes);
		say_loss(w, own, other, k);
	}
	return losses;
}

/* How many times better the best other safe run of the same fault and size is; 0: it is not. */
static double excess(const struct report *r, const struct report_run *own, enum report_field f,
		     bool more_is_better)
{
	const struct report_run *other = beaten_by(r, own, f, more_is_better);
	if (!other)
		return 0;
	double a = own->value[f], b = other->value[f];
	double ratio = more_is_better ? b / a : a / b;
	return isfinite(ratio) ? ratio : 1e6;
}

static double worst_excess(const struct report *r, const struct report_run *own)
{
	return fmax(excess(r, own, F_THROUGHPUT, true), excess(r, own, F_FAILOVER, false));
}

/* Of several sizes under one fault the one at which the hybrid does worst. */
static bool worst_of_its_fault(const struct report *r, const struct report_run *own)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct report_run *other = &r->run[i];
		double more = worst_excess(r, other) - worst_excess(r, own);
		if (other != own && report_protocol(other) == 3 &&
		    strcmp(other->fault, own->fault) == 0 &&
		    (more > 0 || (more == 0 && other < own)))
			return false;
	}
	return true;
}

static void say_fault_loss(struct writer *w, const struct report *r,
			   const struct report_run *own)
{
	const struct report_run *rate = beaten_by(r, own, F_THROUGHPUT, true),
				*failover = beaten_by(r, own, F_FAILOVER, false);
	quoted(w, own->fault);
	html_fmt(w, " (n=%u%s): ", own->nodes, own->live ? ", live" : "");
	if (rate) {
		html_fmt(w, "%s makes ", title_of(report_protocol(rate)));
		number(w, rate->value[F_THROUGHPUT]);
		html_raw(w, " transactions a second final against ");
		number(w, own->value[F_THROUGHPUT]);
	}
	if (failover) {
		html_fmt(w, "%s%s fails over in ", rate ? ", and " : "",
			 title_of(report_protocol(failover)));
		duration(w, failover->value[F_FAILOVER]);
		html_raw(w, " against ");
		duration(w, own->value[F_FAILOVER]);
	}
}

/* Faults under which another protocol that stayed safe has more throughput or fails over
 * faster, each at the size where that is worst. */
static unsigned say_fault_losses(struct writer *w, const struct report *r, bool first)
{
	unsigned losses = 0;
	for (size_t i = 0; i < r->count; i++) {
		const struct report_run *own = &r->run[i];
		if (report_protocol(own) != 3 || !own->faulty || worst_excess(r, own) == 0 ||
		    !worst_of_its_fault(r, own))
			continue;
		if (losses++ < 8) {
			item(w, first && losses == 1);
			html_raw(w, "under ");
			say_fault_loss(w, r, own);
		}
	}
	if (losses > 8)
		html_fmt(w, "; and %u more faults", losses - 8);
	return losses;
}

static void say_losses(struct writer *w, const struct report *r)
{
	bool hybrid = false, others = false;
	for (size_t i = 0; i < r->count; i++) {
		hybrid |= report_protocol(&r->run[i]) == 3;
		others |= report_protocol(&r->run[i]) < 3;
	}
	if (!hybrid || !others)
		return;
	lead(w, "Where the hybrid loses");
	unsigned losses = say_fault_free_losses(w, r);
	losses += say_fault_losses(w, r, losses == 0);
	if (losses)
		items_end(w);
	else
		html_raw(w, "Nowhere by more than a twentieth in what these runs measured in "
			    "common with other protocols.");
	html_raw(w, "</li>\n");
}

/* ---- what is missing --------------------------------------------------------------------- */

static void say_missing(struct writer *w, const struct report *r)
{
	static const struct {
		enum report_field field;
		const char *name;
	} wanted[] = {{F_TIME_P50, "consensus time"},
		      {F_MESSAGES, "messages"},
		      {F_AUTHENTICATORS, "authenticators"},
		      {F_THROUGHPUT, "throughput"},
		      {F_CLIENT_P50, "time of clients"},
		      {F_AVAILABILITY, "availability"},
		      {F_FAILOVER, "failover"},
		      {F_PROGRESS, "recovery"},
		      {F_CONFLICTS, "safety"}};
	bool first = true;
	for (unsigned k = 0; k < MEM_COUNT(wanted); k++) {
		bool any = false;
		for (size_t i = 0; i < r->count && !any; i++)
			any = measured(r->run[i].value[wanted[k].field]);
		if (any)
			continue;
		if (first)
			lead(w, "Not measured");
		html_fmt(w, "%s%s", first ? "" : ", ", wanted[k].name);
		first = false;
	}
	if (!first)
		html_raw(w, ".</li>\n");
}

void report_summary(struct writer *w, const struct report *r)
{
	html_raw(w, "<ul class=\"summary\">\n");
	say_runs(w, r);
	say_messages(w, r);
	say_equivocation(w, r);
	say_safety(w, r);
	say_failover(w, r);
	say_throughput(w, r);
	say_live(w, r);
	say_losses(w, r);
	say_missing(w, r);
	html_raw(w, "</ul>\n");
}
