/* Planted bugs, to test the tests: MUTANT(id) is false unless configured with --enable-mutants and
 * selected by a test program (docs/testing.md). Each is one line of real code gone wrong. */
#ifndef BASE_MUTANT_H
#define BASE_MUTANT_H

#include <stdbool.h>

#ifdef ENABLE_MUTANTS
extern int mutant_selected;
#define MUTANT(id) (mutant_selected == (id))
#else
#define MUTANT(id) false
#endif

enum mutant_id { /* a number is never reused */
	MUTANT_NONE = 0,
	MUTANT_LONGER_LOG = 1,		  /* Raft's rule: longer wins, need not extend */
	MUTANT_MAJORITY_QUORUM = 2,	  /* n/2+1 instead of q and qf */
	MUTANT_VOTE_BEFORE_SYNC = 3,	  /* PREPARE leaves before it is durable */
	MUTANT_VOTE_OFF_TIP = 4,	  /* a vote need not extend the tip; no rival block warns of it */
	MUTANT_Q_FOR_QF = 5,		  /* one round with q votes */
	MUTANT_TWO_VOTES_A_TERM = 6,	  /* a second statement in one term */
	MUTANT_LATE_COMMIT = 7,		  /* COMMIT after having left the term */
	MUTANT_FORGET_VOTE = 8,		  /* the vote state is not written */
	MUTANT_COMMIT_OFF_CHAIN = 9,	  /* a QC off the own chain gets a COMMIT */
	MUTANT_RELEAD_AFTER_RESTART = 10, /* takes up again the lead it had before a restart */
	MUTANT_ALWAYS_ESCALATE = 11,	  /* a mode fast that is not final for f+1 is not repeated */
	MUTANT_JAILED_LEADS = 12,	  /* a convicted validator may lead */
	MUTANT_EXTEND_MODE_FAST = 13,	  /* a block extends a mode fast in its term */
	MUTANT_ONE_ROUND_IN_PBFT = 14,	  /* qf pbft PREPAREs finalise */
	MUTANT_NO_CATCH_UP = 15,	  /* f+1 claims above do not move a replica */
	MUTANT_VIEW_CHANGE_ONCE = 16,	  /* not resent */
	MUTANT_UNCAPPED_TIMER = 17,	  /* a term's timer runs without claims of qv */
	MUTANT_LONE_SUSPICION = 18,	  /* one suspicion escalates (E2) */
	MUTANT_REPLAYED_PROOF = 19,	  /* a proof against the convicted escalates again */
	MUTANT_E3_ALONE = 20,		  /* timeouts count although qv were not heard */
	MUTANT_CULPRIT_IN_SET = 21,	  /* select_base(): the equivocator stays in S */
	MUTANT_LESS_SUPPORT = 22,	  /* select_base(): s-1 */
	MUTANT_TC_BASE_DESPITE_QC = 23,	  /* select_base(): the TC's base although S holds a QC */
	MUTANT_CERTIFIED_ONLY = 24,	  /* select_base(): one-round commits are not seen (Zyzzyva, FaB) */
	MUTANT_SMALL_VIEW = 25,		  /* NEW-VIEWs of qv-1 view changes */
	MUTANT_TRUST_HEADERS = 26,	  /* positions are not verified */
	MUTANT_FORGET_VIEW_CHANGE = 27,	  /* signs another one for its term after a restart */
	MUTANT_HEARTBEAT_PROGRESS = 28,	  /* heartbeats reset the timer of who holds work */
	MUTANT_ANY_COMMIT_PROGRESS = 29,  /* and so do commits of what it does not hold (hBFT) */
	MUTANT_HIDE_TIP = 30,		  /* view changes show the base only */
	MUTANT_ANY_ENTITLEMENT = 31,	  /* terms are entered on anybody's word */
	MUTANT_MIXED_QC = 32,		  /* votes of one height count whatever their hash */
	MUTANT_UNCHECKED_VOTES = 33,	  /* pbft votes count without a look at the signature */
	MUTANT_STICKY_ESCALATION = 34,	  /* an escalated replica never comes back */
	MUTANT_DROP_VIEWS = 35,		  /* NEW-VIEWs that others need are forgotten */
	MUTANT_CUT_TIP_LOST = 36,	  /* no position once finality has cut the tip off */
	MUTANT_REFUSE_UNFINAL = 37,	  /* what a build refuses is refused for good */
	MUTANT_REPLAYED_TX = 38,	  /* a used nonce may be used again */
	MUTANT_DROP_ACKED = 39,		  /* what is only in the pool is acknowledged */
	MUTANT_BLAME_FOR_QUORUM = 40,	  /* suspected for what a missing quorum does */
	MUTANT_FINAL_WITHOUT_TIP = 41,	  /* finality is written, the tip that it moved is not */
	MUTANT_RESCUE_ONCE = 42,	  /* no rescue after one whose pre-votes did not come */
	MUTANT_VOID_WAITS = 43,		  /* slow: void transactions count as waiting */
	MUTANT_PACE_ERODES = 44,	  /* slow: held against the last window, whatever waits */
	MUTANT_RECHECK_FEW = 45,	  /* one recheck of the oldest speaks for all that wait */
	MUTANT_OLD_SUSPICIONS = 46,	  /* a suspicion of long ago counts as one of today */
	MUTANT_BLAME_FOR_PAUSE = 47,	  /* suspected for the time in which we stood still ourselves */
	MUTANT_RESCUE_ONESELF = 48,	  /* a leader's own refusal is as good as a stray's */
	MUTANT_TERM_PARDONS = 49,	  /* the watch on a leader begins anew with each term of its own */
	MUTANT_LOST_BEYOND_JAIL = 50,	  /* no rescue of a stray that left out jailed primaries' terms */
	MUTANT_AMNESIA = 51,		  /* votes although its vote state is missing */
	MUTANT_FINAL_ON_OWN_WORD = 52,	  /* pbft: final by a vote of our own that is not durable */
	MUTANT_MUTE_VOTERS = 53, /* who voted in its term and escalated does not resend that claim */
	MUTANT_OWN_PREPARE_EARLY = 54, /* a fast leader counts its own PREPARE before the sync */
	MUTANT_RETRIES_COUNT = 55, /* toward E3: what came sooner than a timeout */
	MUTANT_VOTES_ABOVE_FINAL = 56, /* pbft's watermarks: only from the last final block */
	MUTANT_GATHERS_ON = 57, /* a build asked for again after "busy" is held for another turn */
	MUTANT_RESIGNED_REIGNS = 58, /* who has resigned is followed until the timeout */
	MUTANT_RESIGNS_AT_WILL = 59, /* each resignation counts, and restarts all timers */
	MUTANT_OLD_COPY_VOTES = 60,  /* votes although others hold newer votes of its key */
	MUTANT_PRE_VOTE_STAYS = 61,  /* though the leader is heard again */
	MUTANT_LATE_VOTES_LOST = 62, /* for what is final already nobody keeps a vote */
	MUTANT_TIMEOUTS_STAY = 63,   /* as configured, however long a round takes */
	MUTANT_ROUND_OF_SLOWEST = 64, /* the slowest of all says how long a round takes */
	MUTANT_TIMER_PUSHED_OUT = 65, /* whenever the measure rises, however often it has */
	MUTANT_ASKS_ONCE = 66,	      /* for pre-votes, and then waits for its timer */
	MUTANT_PRE_VOTE_IN_PBFT = 67, /* an election that had begun goes on in pbft mode */
	MUTANT_AWAITS_ALL = 68,	      /* the next block waits for all who were answered */
	MUTANT_ONE_DOMAIN = 71,		  /* a signature counts in every epoch */
	MUTANT_EXTEND_END = 72,		  /* blocks with transactions extend an epoch's end */
	MUTANT_APPLY_FILLER = 73,	  /* finality does not stop at the end */
	MUTANT_OLD_SLOTS = 74,		  /* the vote state of one epoch is taken into the next */
	MUTANT_NO_FILLER = 75,		  /* a leader leaves an end that is not final as it is */
	MUTANT_OBSERVER_RETURNS = 76,	  /* an epoch's end makes any observer a voter */
	MUTANT_END_ON_OWN_WORD = 77,	  /* an end is final by an own COMMIT before the sync */
	MUTANT_EPOCH_UNENTITLED = 78,	  /* an epoch's first term entitles nobody to the next */
	/* of the baselines */
	MUTANT_RAFT_OLD_TERM_COMMIT = 101, /* entries of older terms commit by counting (figure 8) */
	MUTANT_RAFT_ANY_LOG = 102,	   /* votes whatever the candidate's log (5.4.1) */
	MUTANT_RAFT_FORGET_VOTE = 103,	   /* term and vote are not written (5.1) */
	MUTANT_RAFT_NO_CHECK = 104,	   /* no consistency check of terms (5.3) */
	MUTANT_RAFT_FAR_COMMIT = 105,	   /* leaderCommit beyond the new entries (figure 2) */
	MUTANT_CRASH_MINORITY = 106,	   /* half is enough */
	MUTANT_PAXOS_FORGET_PROMISE = 107, /* promises are not written (2.5) */
	MUTANT_PAXOS_ANY_VALUE = 108,	   /* any accepted value, not the highest ballot's (P2c) */
	MUTANT_PAXOS_FORGET_ACCEPTED = 109, /* what was accepted is not written (2.5) */
	MUTANT_PAXOS_OTHER_BALLOT = 110,   /* what was accepted in any ballot counts as chosen */
	MUTANT_PAXOS_LEARN_LATER = 111,	   /* a new leader does not learn first (3) */
};

#endif
