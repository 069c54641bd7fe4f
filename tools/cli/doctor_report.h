/* What the parts of the analysis share: the whole under way, findings, words. */
#ifndef TOOLS_CLI_DOCTOR_REPORT_H
#define TOOLS_CLI_DOCTOR_REPORT_H

#include "tools/cli/doctor_view.h"

#define PATIENCE_MS	2000  /* what takes longer is not an election under way */
#define CLOCK_REFUSE_MS 60000 /* validators do not vote for blocks this far in the future */
#define CLOCK_DRIFT_MS	2000
#define DISK_FULL_BYTES (UINT64_C(16) << 20)
#define BEHIND_BLOCKS	1000

struct analysis {
	struct doctor_view v;
	struct json *errors, *warnings;
	unsigned voters;    /* that can vote as far as is known */
	bool quorum, whole; /* enough of them; and they reach one another */
	bool stuck;	    /* something else keeps blocks from becoming final */
};

struct finding {
	const char *cause;
	bool error;
	uint64_t nodes; /* a bit for each */
	bool has_since;
	uint64_t since_ms;
	struct writer text, advice;
};
static inline uint64_t bit(unsigned i)
{
	return UINT64_C(1) << i;
}
static inline bool single(uint64_t set)
{
	return (set & (set - 1)) == 0;
}

void say(struct writer *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void say_names(struct writer *w, const struct analysis *a, uint64_t set); /* "a, b and c" */
/* Ends a text: hands out its characters. */
struct json *take_text(struct writer *w);
/* "`ostrakon net VERB DIR NODE`" */
void advise_net(struct writer *w, const struct analysis *a, const char *verb, const char *node);
/* The longest time given counts. */
void since(struct finding *f, bool known, uint64_t ms);
void since_silent(const struct analysis *a, struct finding *f, unsigned i);
/* How long node i has had its cause, as far as that shows; false: it does not. */
bool cause_since(const struct analysis *a, unsigned i, uint64_t *ms);
void report(struct analysis *a, struct finding *f);
bool text_contains(const char *text, const char *part); /* in any case */

/* Why each node cannot vote, if so; clocks included. */
void judge_nodes(struct analysis *a);
void report_nodes(struct analysis *a);
const char *cause_word(const char *cause);
bool wrong_chain(const struct doctor_view *v, const struct node_view *node);
/* Does it answer, and take part as far as its links are concerned? */
bool can_speak(const struct node_view *node);
void judge_links(struct analysis *a);

#endif
