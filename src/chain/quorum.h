/* All arithmetic on the number of validators is here, and nowhere else.
 *
 *	f  = floor((n-1)/3)          Byzantine validators tolerated
 *	t  = floor((n-3f+1)/2)       silent ones with which one round still commits (f >= 1)
 *	q  = ceil((n+f+1)/2)         certificate quorum
 *	qf = max(q, n-t)             one-round commit quorum (f = 0: q)
 *	qv = n-f                     view-change quorum      (f = 0: q)
 *	s  = qf-2f+1                 support that select_base() asks for (f >= 1)
 *
 * n >= 3f+2t-1: Kuznetsov, Tonkikh, Zhang, "Revisiting Optimal Resilience of Fast Byzantine
 * Consensus", PODC 2021. With n <= 3 it is crash-tolerant Raft with signatures (f = 0). */
#ifndef CHAIN_QUORUM_H
#define CHAIN_QUORUM_H

#include <stdint.h>

#define VALIDATORS_MAX 64 /* a certificate names its signers in one u64 */

/* Bit i for each of n validators but `self`. invariant: 1 <= n <= VALIDATORS_MAX */
static inline uint64_t mask_others(unsigned n, unsigned self)
{
	return UINT64_MAX >> (VALIDATORS_MAX - n) & ~(UINT64_C(1) << self);
}

struct quorum {
	unsigned n, f, t, q, qf, qv, s;
};

struct quorum quorum_of(unsigned n); /* invariant: 1 <= n <= VALIDATORS_MAX */
/* Of the crash-fault baselines: a majority, f = 0 whatever n is. */
struct quorum quorum_crash(unsigned n);

/* How many validators may be silent while commits still come: n - q if f = 0, else f. */
unsigned quorum_faults_tolerated(unsigned n);
unsigned quorum_silent_max(const struct quorum *k); /* the same for quorums of either kind */

#endif
