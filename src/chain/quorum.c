#include "chain/quorum.h"

#include "base/mem.h"

struct quorum quorum_of(unsigned n)
{
	invariant(n >= 1 && n <= VALIDATORS_MAX);
	struct quorum k = {.n = n, .f = (n - 1) / 3};
	k.q = (n + k.f + 2) / 2; /* ceil((n+f+1)/2) */
	if (k.f == 0) {
		k.qf = k.qv = k.q;
		k.t = n - k.qf;
		return k;
	}
	k.t = (n - 3 * k.f + 1) / 2;
	k.qf = k.q > n - k.t ? k.q : n - k.t;
	k.qv = n - k.f;
	k.s = k.qf - 2 * k.f + 1;
	return k;
}

struct quorum quorum_crash(unsigned n)
{
	invariant(n >= 1 && n <= VALIDATORS_MAX);
	struct quorum k = {.n = n, .q = n / 2 + 1};
	k.qf = k.qv = k.q;
	k.t = n - k.q;
	return k;
}

unsigned quorum_silent_max(const struct quorum *k)
{
	return k->f ? k->f : k->n - k->q;
}

unsigned quorum_faults_tolerated(unsigned n)
{
	struct quorum k = quorum_of(n);
	return quorum_silent_max(&k);
}
