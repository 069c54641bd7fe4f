#include "consensus/engine_private.h"

#include "base/mem.h"

void engine_step(struct engine *e, const struct input *in, struct output *out)
{
	e->ops->step(e, in, out);
}

void engine_free(struct engine *e)
{
	if (e)
		e->ops->free(e);
}

void engine_status(const struct engine *e, struct engine_status *out)
{
	e->ops->status(e, out);
}

const struct term_cert *engine_term_cert(const struct engine *e)
{
	return e->ops->term_cert(e);
}

const char *engine_role_name(enum engine_role r)
{
	switch (r) {
	case ROLE_FOLLOWER:
		return "follower";
	case ROLE_CANDIDATE:
		return "candidate";
	case ROLE_LEADER:
		return "leader";
	}
	return "unknown";
}

const char *engine_counter_name(enum engine_counter c)
{
	static const char *const names[COUNTERS] = {
		[COUNT_ELECTIONS_STARTED] = "elections_started",
		[COUNT_ELECTIONS_WON] = "elections_won",
		[COUNT_RULE_1] = "rule_1",
		[COUNT_RULE_2] = "rule_2",
		[COUNT_RULE_3] = "rule_3",
		[COUNT_RULE_REFUSED] = "rule_refused",
		[COUNT_PRE_VOTE_REFUSED] = "pre_vote_refused",
		[COUNT_PRE_VOTE_IGNORED] = "pre_vote_ignored",
		[COUNT_POSITION_INVALID] = "position_invalid",
		[COUNT_ONE_ROUND] = "one_round",
		[COUNT_TWO_ROUND] = "two_round",
		[COUNT_QC_FORMED] = "qc_formed",
		[COUNT_QC_ADOPTED] = "qc_adopted",
		[COUNT_QC_DROPPED] = "qc_dropped",
		[COUNT_LOG_REPAIR] = "log_repair",
		[COUNT_FETCHES] = "fetches",
		[COUNT_STRAY_RESCUED] = "stray_rescued",
		[COUNT_CHECKPOINTS] = "checkpoints",
		[COUNT_EQUIVOCATIONS] = "equivocations",
		[COUNT_BAD_MESSAGES] = "bad_messages",
		[COUNT_BAD_SIGNATURES] = "bad_signatures",
		[COUNT_STALE_MESSAGES] = "stale_messages",
		[COUNT_BLOCKS_REFUSED] = "blocks_refused",
		[COUNT_POOL_FULL] = "pool_full",
		[COUNT_RELAYS] = "relays",
		[COUNT_RESTARTED_LEADER] = "restarted_leader",
	};
	return (unsigned)c < COUNTERS && names[c] ? names[c] : "unknown";
}
