/* A run, or several, for people to read. */
#include <stdio.h>

#include "base/mem.h"
#include "tools/lab/result_private.h"
#include "tools/lab/shell.h"
#include "tools/lab/theory.h"

static void print_modes(const struct sim_result *r)
{
	for (uint32_t i = 0; i < r->mode_count && i < 12; i++) {
		const struct sim_mode *m = &r->modes[i];
		printf("  %8.3f s, block %llu: ", (double)m->at_us / 1e6,
		       (unsigned long long)m->height);
		if (m->kind == SYSTEM_ESCALATED)
			printf("escalated to pbft, reason %s\n",
			       escalation_reason_name(m->reason));
		else if (m->kind == SYSTEM_MODE_FAST)
			printf("back to fast\n");
		else if (m->kind == SYSTEM_MEMBER)
			printf("node%u gets a new key\n", m->culprit + 1u);
		else
			printf("node%u convicted, proof %s\n", m->culprit + 1u,
			       evidence_kind_name(m->proof));
	}
}

static void print_mask(const char *title, uint64_t mask)
{
	printf("  %s:", title);
	for (; mask; mask &= mask - 1)
		printf(" node%u", (unsigned)__builtin_ctzll(mask) + 1);
	printf("\n");
}

static void print_fork(const struct sim_result *r)
{
	const struct sim_fork *f = &r->fork;
	printf("  fork at height %llu, %.3f s: %s of (%llu, %llu) against %s of (%llu, %llu)\n",
	       (unsigned long long)f->height, (double)f->at_us / 1e6,
	       cert_kind_name(f->kind[0]), (unsigned long long)f->ref[0].term,
	       (unsigned long long)f->ref[0].height, cert_kind_name(f->kind[1]),
	       (unsigned long long)f->ref[1].term, (unsigned long long)f->ref[1].height);
	printf("  %s\n", result_fork_text(r));
	print_mask("signed both sides of the fork", r->culprits);
	print_mask("of these proven by evidence", r->proven);
}

static void print_part(const char *name, uint64_t us)
{
	if (us != MEASURE_NEVER)
		printf(" %s %.1f ms", name, (double)us / 1000);
}

static void print_measures(const struct sim_result *r, const struct sim_measures *m)
{
	const struct measure_failover *f = &m->failover;
	double blocks = r->decisions ? (double)r->decisions : 1;
	printf("  a block: %.0f bytes, %.1f signatures made, %.1f checked\n",
	       (double)r->bytes / blocks, (double)r->signatures.made / blocks,
	       (double)r->signatures.checked / blocks);
	if (f->election == MEASURE_NEVER)
		return;
	printf("  leader lost:");
	print_part("detected", f->detection);
	print_part("+ elected", f->election);
	print_part("+ first commit", f->first_commit);
	print_part("+ backlog", f->backlog);
	printf("\n");
}

void result_print(const struct scenario *s, const struct sim_options *so,
		  const struct lab_total *t)
{
	const struct sim_result *r = &t->r;
	if (so->live)
		printf("%s, live, n=%u: ", s->name, so->nodes);
	else
		printf("%s, n=%u, seed %llu", s->name, so->nodes, (unsigned long long)so->seed);
	if (t->runs > 1)
		printf(" and %u more", t->runs - 1);
	printf("%s%llu blocks in %.1f %ss, %llu conflicts, longest gap %.0f ms",
	       so->live ? "" : ": ", (unsigned long long)r->decisions,
	       (double)r->virtual_us / 1e6, so->live ? "" : "virtual ",
	       (unsigned long long)r->conflicts, (double)r->longest_gap_us / 1000);
	if (!so->live)
		printf(", %.1f messages a block (theory %.0f)",
		       result_normal_case(r, t->measured ? &t->m : NULL),
		       theory_pipelined(so->protocol, so->nodes, so->dead));
	printf("\n");
	if (t->measured)
		print_measures(r, &t->m);
	print_modes(r);
	if (r->corrupt_mask)
		print_mask("malicious", r->corrupt_mask);
	if (r->conflicts)
		print_fork(r);
	for (unsigned i = 0; i < s->expect_count; i++)
		printf("  expected %-24s %s\n", s->expect[i].text,
		       t->failed >> i & 1 ? "NO" : "yes");
	if (t->bad_runs && !so->live) {
		char *word = shell_word(scenario_argument(s));
		printf("  %u of %u runs failed; again: ostrakon-lab sim %s --protocol %s "
		       "--nodes %u --seed %llu\n",
		       t->bad_runs, t->runs, word, protocol_name(so->protocol), so->nodes,
		       (unsigned long long)t->first_bad_seed);
		mem_free(word);
	}
	if (r->verdict != SIM_OK)
		printf("  %s\n", r->text);
}
