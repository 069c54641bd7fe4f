#include "tools/lab/theory.h"

#include "chain/quorum.h"

/* A leader to all others, and back from those that answer. */
static double round_trip(unsigned n, unsigned silent)
{
	return 2.0 * (n - 1) - silent;
}

/* PRE-PREPARE (n-1), PREPARE of all but the primary, which rides, COMMIT of all. */
static double pbft(unsigned n, unsigned silent)
{
	return 2.0 * (n - 1) * (n - silent);
}

static bool two_rounds(unsigned n, unsigned silent)
{
	return n - silent < quorum_of(n).qf;
}

double theory_pipelined(enum protocol p, unsigned n, unsigned silent)
{
	return p == PROTOCOL_PBFT ? pbft(n, silent) : round_trip(n, silent);
}

double theory_lone(enum protocol p, unsigned n, unsigned silent)
{
	if (p == PROTOCOL_PBFT)
		return pbft(n, silent);
	double once = round_trip(n, silent) + (n - 1);
	return p == PROTOCOL_HYBRID && two_rounds(n, silent) ? once + round_trip(n, silent)
							     : once;
}

double theory_leader_change(enum protocol p, unsigned n, unsigned silent)
{
	switch (p) {
	case PROTOCOL_PBFT: /* a VIEW-CHANGE of each who speaks, and a NEW-VIEW */
		return (n - 1.0) * (n - silent + 1);
	case PROTOCOL_MULTIPAXOS: /* phase 1 */
		return round_trip(n, silent);
	case PROTOCOL_RAFT:
	case PROTOCOL_HYBRID: /* pre-vote and vote */
		break;
	}
	return 2 * round_trip(n, silent);
}
