/* The arithmetic of quorums: sections "Model" and "View change" of docs/consensus.md, for each n from 1
 * to NMAX.
 *
 * Sets of replicas are described by how many honest and how many Byzantine members they have, and
 * by how many of those two sets share. Every choice of these numbers that a real pair of sets could
 * have is visited; the assertions say what the proofs of [S1] to [S3] use. The number of Byzantine
 * replicas, b, is every value from 0 to f.
 *
 *	-DMUTANT=k	one quorum too small: must be found
 *	-DPRINTF	(to the C compiler) print each n once */

#ifndef NMAX
#define NMAX 19
#endif
#ifndef MUTANT
#define MUTANT 0
#endif
#define MUT_MAJORITY   1 /* n/2+1 for q (trap 2) */
#define MUT_Q_FOR_QF   2 /* one round with q votes (trap 2) */
#define MUT_SMALL_VIEW 3 /* NEW-VIEWs of qv-1 */
#define MUT_SUPPORT    4 /* select(): s-1 */
#define MUT_CULPRIT    5 /* select(): the equivocator stays in S */
#define MUT_LARGE_VIEW 6 /* NEW-VIEWs of qv+1: f silent replicas stop everything */
#define MUT_LARGE_QF   7 /* one round with qf+1 votes: not with t silent */

int n, f, t, q, qf, qv, s;
int b;		      /* Byzantine replicas: 0 to f */
int ah, ab, ch, cb;   /* honest and Byzantine members of two sets */
int common;	      /* honest members that both have */
int honest, rivals;   /* of S: honest voters of a final block; everybody else */
int need;	      /* how many members a set must have */

c_code {
static unsigned long cases[NMAX + 1], all[8];
static const char *const what[8] = {
	"", "two QCs", "a QC and a view-change set", "a one-round block and a QC",
	"a one-round block, no conflict", "a one-round block, conflict, leader out",
	"f+1 statements", "what the correct ones can do alone",
};
static void report(void)
{
	int i;
	for (i = 1; i <= NMAX; i++)
		printf("n=%-2d visited: %lu cases\n", i, cases[i]);
	for (i = 1; i < 8; i++)
		printf("argument %d: %10lu cases  %s\n", i, all[i], what[i]);
}
static void seen(int argument)
{
	cases[now.n]++;
	all[argument]++;
}
}

inline quorums() {
	f = (n - 1) / 3;
	q = (n + f + 2) / 2;	/* ceil((n+f+1)/2) */
#if MUTANT == MUT_MAJORITY
	q = n / 2 + 1;
#endif
	if
	:: f == 0 -> qf = q; qv = q; t = n - q; s = 0
	:: else ->
		t = (n - 3 * f + 1) / 2;
		qf = (q > n - t -> q : n - t);
		qv = n - f;
#if MUTANT == MUT_Q_FOR_QF
		qf = q;
#endif
		s = qf - 2 * f + 1;
	fi;
#if MUTANT == MUT_SMALL_VIEW
	qv = qv - 1;
#endif
#if MUTANT == MUT_LARGE_VIEW
	qv = qv + 1;
#endif
#if MUTANT == MUT_LARGE_QF
	qf = qf + 1;
#endif
#if MUTANT == MUT_SUPPORT
	s = s - 1;
#endif
	printf("n=%d f=%d t=%d q=%d qf=%d qv=%d s=%d\n", n, f, t, q, qf, qv, s)
}

/* Two sets of size and other members of n: what they have in common of the honest. The fewest are
 * shared where the honest members of both are spread as widely as they can be. */
inline two_sets(size, other) {
	select(ab : 0 .. b);
	select(cb : 0 .. b);
	ah = size - ab;
	ch = other - cb;
	if
	:: ah >= 0 && ah <= n - b && ch >= 0 && ch <= n - b ->
		common = (ah + ch > n - b -> ah + ch - (n - b) : 0)
	:: else -> goto done /* no such sets */
	fi
}

init {
	atomic {
		c_code { static int once; if (!once++) atexit(report); };
		select(n : 1 .. NMAX);
		quorums();
		select(b : 0 .. f);
		if
		:: true -> /* [S1], [S2]: two QCs, and two TCs, share an honest replica */
			two_sets(q, q);
			c_code { seen(1); };
			assert(common >= 1)
		:: true -> /* [I5]: one mode a term; and S shows every block with q COMMITs */
			two_sets(q, qv);
			c_code { seen(2); };
			assert(common >= 1)
		:: true -> /* [S3] fast: TC voters and a one-round block's voters share an honest one */
			two_sets(q, qf);
			c_code { seen(3); };
			assert(common >= 1)
		:: true -> /* [S3] pbft, no conflict: S holds an honest tip that contains the block */
			two_sets(qf, qv);
			c_code { seen(4); };
			assert(common >= 1)
		:: f >= 1 && b >= 1 ->
			/* [S3] pbft, conflict: leader(tau) is Byzantine and not in S. Of the qf voters,
			 * ab (the leader perhaps among them) are Byzantine, ah honest. S is qv of the n-1
			 * others: cb Byzantine, the rest honest. */
			select(ab : 0 .. b);
			ah = qf - ab;
#if MUTANT == MUT_CULPRIT
			select(cb : 0 .. b);
#else
			select(cb : 0 .. b - 1);
#endif
			ch = qv - cb;
			if
			:: ah >= 0 && ah <= n - b && ch >= 0 && ch <= n - b
			:: else -> goto done
			fi;
			/* as few honest voters in S as can be, and as many as can be */
			need = (ah + ch > n - b -> ah + ch - (n - b) : 0);
			honest = (ah < ch -> ah : ch);
			do
			:: honest > need -> honest = honest - 1
			:: break
			od;
			rivals = qv - honest;
			c_code { seen(5); };
			assert(honest >= s); /* so the walk goes up to the block */
			assert(rivals < s);  /* and to no other */
			assert(s > f - 1)    /* a block that it goes to has an honest voter */
		:: true -> /* f+1 suspicions, view changes, or checkpoint statements: one is honest */
			c_code { seen(6); };
			assert(f + 1 > b)
		:: true -> /* progress with f silent, and after f exclusions; one round with t silent */
			c_code { seen(7); };
			assert(f == 0 || (n - f >= q && n - f >= qv));
			assert(n - t >= qf);
			assert(f == 0 || n >= 3 * f + 2 * t - 1) /* the tight bound */
		fi;
done:
		skip
	}
}
