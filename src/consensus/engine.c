#include "consensus/engine_private.h"

#include "base/mem.h"
#include "consensus/crash/wire.h"
#include "consensus/hybrid/message.h"

int engine_new(struct engine **out, const struct engine_config *config,
	       const struct engine_recovery *recovery, struct errmsg *m)
{
	if (config->observer && !protocol_is_byzantine(config->genesis->protocol))
		return err_set(m, ERR_UNSUPPORTED, "%s has no observers",
			       protocol_name(config->genesis->protocol));
	switch (config->genesis->protocol) {
	case PROTOCOL_HYBRID:
	case PROTOCOL_PBFT:
		return engine_new_hybrid(out, config, recovery, m);
	case PROTOCOL_RAFT:
		return engine_new_raft(out, config, recovery, m);
	case PROTOCOL_MULTIPAXOS:
		return engine_new_multipaxos(out, config, recovery, m);
	}
	return err_set(m, ERR_UNSUPPORTED, "the genesis file names no protocol known here");
}

/* src/replica/sync.h has them: the replica takes them before the engine does. */
#define SYNC_TYPES_FIRST 24
static const char *const sync_names[] = {"sync-ask",   "sync-offer",	  "sync-get",
					 "sync-range", "sync-get-blocks", "sync-blocks",
					 "sync-gone",  "sync-handovers"};

bool engine_message_is_sync(uint8_t type)
{
	return type >= SYNC_TYPES_FIRST && type < SYNC_TYPES_FIRST + MEM_COUNT(sync_names);
}

const char *engine_message_name(uint8_t type)
{
	_Static_assert((int)MESSAGE_TYPES <= ENGINE_MESSAGE_TYPES &&
			       (int)CRASH_MESSAGE_TYPES <= (int)MSG_ASK_VOTES,
		       "one space of numbers");
	if (engine_message_is_sync(type))
		return sync_names[type - SYNC_TYPES_FIRST];
	return type < CRASH_FORWARD || type >= MSG_ASK_VOTES ? message_type_name(type)
							     : crash_message_name(type);
}

void engine_step(struct engine *e, const struct input *in, struct output *out)
{
	e->ops->step(e, in, out);
}

void engine_free(struct engine *e)
{
	if (e)
		e->ops->free(e);
}

void engine_each_waiting(const struct engine *e,
			 void (*fn)(void *arg, const struct pool_tx *tx), void *arg)
{
	if (e->ops->each_waiting)
		e->ops->each_waiting(e, fn, arg);
}

void engine_status(const struct engine *e, struct engine_status *out)
{
	e->ops->status(e, out);
}

struct engine_pool engine_pool(const struct engine *e)
{
	struct engine_status s;
	if (e->ops->pool)
		return e->ops->pool(e);
	e->ops->status(e, &s);
	return (struct engine_pool){.count = s.pool_count, .bytes = s.pool_bytes};
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

const char *engine_status_role(const struct engine_status *s)
{
	return s->observer ? "observer" : engine_role_name(s->role);
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
		[COUNT_ESCALATED_E1] = "escalated_e1",
		[COUNT_ESCALATED_E2] = "escalated_e2",
		[COUNT_ESCALATED_E3] = "escalated_e3",
		[COUNT_ESCALATED_E4] = "escalated_e4",
		[COUNT_VIEW_CHANGES] = "view_changes",
		[COUNT_VIEW_CHANGE_INVALID] = "view_change_invalid",
		[COUNT_NEW_VIEWS] = "new_views",
		[COUNT_NEW_VIEW_ACCEPTED] = "new_view_accepted",
		[COUNT_NEW_VIEW_INVALID] = "new_view_invalid",
		[COUNT_SELECT_QC] = "select_qc",
		[COUNT_SELECT_CHECKPOINT] = "select_checkpoint",
		[COUNT_SELECT_TC] = "select_tc",
		[COUNT_SELECT_ANCESTOR] = "select_ancestor",
		[COUNT_SELECT_CONFLICT] = "select_conflict",
		[COUNT_SELECT_WALKED] = "select_walked",
		[COUNT_SELECT_CULPRIT] = "select_culprit",
		[COUNT_MODE_ESCALATED] = "mode_escalated",
		[COUNT_MODE_FAST] = "mode_fast",
		[COUNT_MODE_FAST_REPEATED] = "mode_fast_repeated",
		[COUNT_CONVICTIONS] = "convictions",
		[COUNT_SUSPICIONS_SIGNATURE] = "suspicions_signature",
		[COUNT_SUSPICIONS_CENSORSHIP] = "suspicions_censorship",
		[COUNT_SUSPICIONS_SLOW] = "suspicions_slow",
		[COUNT_PBFT_FINAL] = "pbft_final",
		[COUNT_JAILED_SKIPPED] = "jailed_skipped",
		[COUNT_EVIDENCE_HEADERS] = "evidence_headers",
		[COUNT_EVIDENCE_TERM_HEADERS] = "evidence_term_headers",
		[COUNT_EVIDENCE_VOTES] = "evidence_votes",
		[COUNT_EVIDENCE_TERM_STATEMENTS] = "evidence_term_statements",
		[COUNT_EVIDENCE_NEW_VIEWS] = "evidence_new_views",
		[COUNT_EVIDENCE_LOW_BASE] = "evidence_low_base",
		[COUNT_EVIDENCE_INVALID_BLOCK] = "evidence_invalid_block",
		[COUNT_EVIDENCE_HIDDEN_VOTE] = "evidence_hidden_vote",
		[COUNT_EVIDENCE_INVALID_STATEMENT] = "evidence_invalid_statement",
		[COUNT_MODE_RULES_REFUSED] = "mode_rules_refused",
		[COUNT_VALUES_ADOPTED] = "values_adopted",
		[COUNT_GAPS_FILLED] = "gaps_filled",
		[COUNT_REBASED] = "rebased",
		[COUNT_NACKS] = "nacks",
		[COUNT_TIMEOUTS_COUNTED] = "timeouts_counted",
		[COUNT_FAIR_US] = "fair_us",
		[COUNT_FILLERS] = "fillers",
		[COUNT_RESIGNED] = "resigned",
		[COUNT_OUTDATED] = "outdated",
		[COUNT_ENDS_BY_FILLER] = "ends_by_filler",
	};
	return (unsigned)c < COUNTERS && names[c] ? names[c] : "unknown";
}
