/* Safety of the fast path and of the view change, at message level.
 *
 * Sections cited are those of docs/consensus.md. What is left out, and why that loses no attack, is in
 * docs/model/README.md. In short:
 *
 * - All messages ever sent are one growing set: anybody may receive any of them at any time, or
 *   never. So a message is not a channel's content but a count of the honest replicas that sent it.
 * - Byzantine replicas are not stepped: each of the F has always sent every message that it could
 *   sign, so every count is compared with its threshold less F.
 * - Every leader and every primary is one of the F. An honest one does nothing that a Byzantine
 *   one could not do, and select() looks at who led only if there are two branches, which an
 *   honest leader never makes.
 * - An honest replica is three numbers (own term, tip, high QC), for it signs each statement at
 *   most once and only upwards. Replicas are interchangeable: their records are kept sorted.
 * - Timers, entitlement, escalation and return bear on liveness only [I4]: any replica may leave
 *   its term at any time, for a fast or for a pbft one. This includes every schedule of E1 to E4.
 *
 * Terms 1 to T-1 have blocks, up to D1, D2, D3 deep over their base, with two values at each height.
 * Of the last term T it is only computed, in each state, which certificates it could have if all
 * moved there now. That is complete: whoever moves there earlier could as well stand still until
 * now and move then, since what others need of it is sent, what admits a vote stays, and its
 * position is the same.
 *
 * What replicas may do is in Promela below; what follows from a step (certificates, finality, the
 * view changes that a primary can choose from, and the checks) is computed in C by settle().
 *
 *	-DN=4 -DT=3 -DD1=2 -DD2=1 -DD3=0   size
 *	-DV=2                NEW-VIEWs with different bases that one primary may sign
 *	-DCHECKPOINTS=1      stable checkpoints in positions ("Checkpoints"; decision 0005)
 *	-DMODE1=1 or 2       term 1 is fast, or pbft; else either
 *	-DMUTANT=k           one rule broken, see below
 *	-DREACH=k            an error as soon as event k happens: its shortest trail is an example */

#ifndef N
#define N 4
#endif
#ifndef T
#define T 3
#endif
#ifndef D1
#define D1 2
#endif
#ifndef D2
#define D2 1
#endif
#ifndef D3
#define D3 0
#endif
#ifndef V
#define V 2
#endif
#ifndef MODE1
#define MODE1 0
#endif
#ifndef CHECKPOINTS
#define CHECKPOINTS 0
#endif
#ifndef MUTANT
#define MUTANT 0
#endif
#ifndef REACH
#define REACH 0
#endif

#define MUT_LONGER_LOG	  1  /* Raft's rule: longer wins, need not extend (trap 3) */
#define MUT_VOTE_OFF_TIP  2  /* a vote need not extend the tip, only be higher (trap 3) */
#define MUT_LATE_COMMIT	  3  /* COMMIT after leaving the term (trap 4) */
#define MUT_COMMIT_OFF	  4  /* COMMIT for a QC off one's own chain (trap 4) */
#define MUT_TWO_MODES	  5  /* a term vote and a VIEW-CHANGE in one term (trap 5) */
#define MUT_ONE_ROUND	  6  /* pbft PREPAREs count as one-round finality (trap 5) */
#define MUT_Q_FOR_QF	  7  /* one round with q votes (trap 2) */
#define MUT_SUPPORT	  8  /* select(): s-1 */
#define MUT_CULPRIT	  9  /* select(): the equivocator stays in S */
#define MUT_TC_BASE	  10 /* select(): the TC's base although S holds a QC (trap 7) */
#define MUT_CERTIFIED	  11 /* select(): one-round commits are not seen (trap 1) */
#define MUT_SMALL_VIEW	  12 /* NEW-VIEWs of qv-1 view changes */
#define MUT_MAJORITY	  13 /* n/2+1 for q and qf (trap 2) */
#define MUT_RULE_3	  14 /* rule 3 takes a QC that is an ancestor of the voter's tip */
#define MUT_HIDE_TIP	  15 /* view changes show the certified block only */

/* ---- quorums (section "Model") ------------------------------------------------------------- */

#define F  ((N - 1) / 3)
#define TS ((N - 3 * F + 1) / 2)
#if MUTANT == MUT_MAJORITY
#define Q  (N / 2 + 1)
#define QF Q
#else
#define Q  ((N + F + 2) / 2)
#if MUTANT == MUT_Q_FOR_QF || Q > N - TS
#define QF Q
#else
#define QF (N - TS)
#endif
#endif
#if MUTANT == MUT_SMALL_VIEW
#define QV (N - F - 1)
#else
#define QV (N - F)
#endif
#if MUTANT == MUT_SUPPORT
#define SUPPORT (QF - 2 * F)
#else
#define SUPPORT (QF - 2 * F + 1)
#endif
#define H (N - F) /* honest replicas */

/* ---- blocks -------------------------------------------------------------------------------- */

/* A slot is a term certificate that blocks can be made under: one for term 1, and for each later
 * term one that is fast or V that are pbft. A slot of depth 1 has blocks a, b; of depth 2 a, b, and
 * on them aa, ab, ba, bb. Block 0 is genesis. */
#define W1 (2 * D1 * D1 - 2 * D1 + 2) /* 2 or 6 */
#define W2 (2 * D2 * D2 - 2 * D2 + 2)
#define F2 (1 + W1)
#if T == 3
#define NB (F2 + V * W2)
#define NS (1 + V)
#define F3 NB
#define W3 2
#else
#define W3 (2 * D3 * D3 - 2 * D3 + 2)
#define F3 (F2 + V * W2)
#define NB (F3 + V * W3)
#define NS (1 + 2 * V)
#endif
#define TERM(b) ((b) == 0 -> 0 : ((b) < F2 -> 1 : ((b) < F3 -> 2 : 3)))
#define SLOT(b) ((b) < F2 -> 0 : ((b) < F3 -> 1 + ((b) - F2) / W2 : 1 + V + ((b) - F3) / W3))

hidden byte term_of[NB];
hidden byte slot_of[NB];
hidden byte level[NB];	/* over the base of its slot */
hidden byte inner[NB];	/* its parent, if that is of its slot; else 0 */
hidden byte second[NB]; /* it is the second child of its parent */

/* ---- state --------------------------------------------------------------------------------- */

#define DD 3			     /* QC depth shown: none, 1, 2 */
#define CP (1 + 2 * CHECKPOINTS)     /* checkpoint depth shown */
#define NP (NB * DD * CP)	     /* positions: tip, QC, checkpoint */
#define POS(tip, qc, cp) (((tip) * DD + (qc)) * CP + (cp))

byte own[H], tip[H], qc[H]; /* qc: of the tip's term and on its chain, else 0 */
byte prepares[NB], commits[NB];
byte term_votes[(T - 2) * NB];	/* for terms 2 to T-1, by base */
byte view_changes[(T - 2) * NP]; /* by position */
byte tc[NS];			/* base of this certificate + 1; 0: there is none */
byte mode[NS];			/* of each: 1 fast, 2 pbft */
int final;			/* bit mask of the blocks that have a commit certificate */
int used;			/* blocks that somebody honest voted for, or that are a base */
int chain[NB];			/* bit mask of a block's ancestors and itself */
byte height[NB];
byte broken;			/* the invariant that does not hold */

#define S1 1
#define S2 2
#define S3 3
#define S4 4
#define SEEN 5

#define ON_CHAIN(x, of) ((chain[of] >> (x)) & 1)

/* Two children of one parent are alike until one is used: that one is then called the first. */
#define NAMED(b) (!second[b] || (used & ((1 << (b)) >> 1)))
#define CANONICAL(b) (NAMED(b) && NAMED(inner[b]))

/* ---- what follows from a step -------------------------------------------------------------- */

c_code {
enum { /* events: what the run has shown to be reachable */
	R_QC_FAST, R_ONE_ROUND, R_TWO_ROUND, R_FAST_TC, R_RULE1, R_RULE2, R_RULE3, R_QC_FOLLOWED,
	R_QC_OFF_CHAIN, R_ESCALATION, R_NEW_VIEW, R_SECOND_VIEW, R_SELECT_QC, R_SELECT_TC,
	R_SELECT_ANCESTOR, R_SELECT_LONGEST, R_SELECT_CHECKPOINT, R_CULPRIT_OUT, R_WALKED,
	R_QC_PBFT, R_PBFT_COMMIT, R_CYCLE, R_RETURN, R_COUNT
};
static const char *const event_name[R_COUNT] = {
	"QC in a fast term", "final after one round", "final after two rounds, fast",
	"fast TC after term 1", "vote by rule 1", "vote by rule 2", "vote by rule 3",
	"QC adopted", "QC moved a tip off its chain", "escalation: a VIEW-CHANGE", "NEW-VIEW",
	"second NEW-VIEW of a term", "select: base from a QC", "select: base of the TC",
	"select: common ancestor of bases", "select: longest tip", "select: base from a checkpoint",
	"select: conflict, leader left out", "select: walked up by support", "QC in a pbft term",
	"final by pbft COMMITs", "escalation after a fast commit, and a pbft commit",
	"return: fast commit on top of a pbft one",
};
static unsigned long long hits[R_COUNT];

static void event(int e)
{
	hits[e]++;
	if (REACH && e == REACH - 1)
		now.broken = SEEN;
}

static void report(void)
{
	int i;
	for (i = 0; i < R_COUNT; i++)
		printf("event %2d %12llu  %s\n", i + 1, hits[i], event_name[i]);
}

static int on_chain(int x, int of)
{
	return now.chain[of] >> x & 1;
}

/* A stable checkpoint serves as a QC: of any final block of its own term's chain. */
static int checkpointed(int b)
{
	int y;
	for (y = 1; y < NB; y++)
		if ((now.final >> y & 1) && term_of[y] == term_of[b] && on_chain(b, y))
			return 1;
	return 0;
}

static int certified(int b)
{
	return b && (now.prepares[b] + F >= Q || (CHECKPOINTS && checkpointed(b)));
}

static int first_slot(int t)
{
	return t == 1 ? 0 : 1 + (t - 2) * V;
}

static int fast_tc(int t, int x)
{
	return now.term_votes[(t - 2) * NB + x] + F >= Q;
}

static int finals_below(int t)
{
	int b, m = 0;
	for (b = 1; b < NB; b++)
		if ((now.final >> b & 1) && term_of[b] < t)
			m |= 1 << b;
	return m;
}

static void use(int b)
{
	now.used |= now.chain[b];
}

static void open_slot(int s, int base)
{
	int b, i;
	now.tc[s] = base + 1;
	use(base);
	for (i = 0; i < 2; i++) /* parents first */
		for (b = 1; b < NB; b++)
			if (slot_of[b] == s) {
				int up = inner[b] ? inner[b] : base;
				now.chain[b] = now.chain[up] | 1 << b;
				now.height[b] = now.height[up] + 1;
			}
}

/* ---- select() and NEW-VIEWs: "View change"; src/chain/select.c ------------------------------ */

static int count[NP], byzantine; /* the set S, and how many of it are Byzantine */
static int honest_pos[H], honest_count, undecided; /* which checkpoint it shows */
static int byz_pos[NP], byz_count;
static int result;		 /* bit mask of what select() gives over all S */

static int at_depth(int tip, int d) /* the ancestor of tip in its slot, d over the base */
{
	while (level[tip] > d)
		tip = inner[tip];
	return tip;
}

static int related(int x, int y)
{
	return on_chain(x, y) || on_chain(y, x);
}

static void walk_up(const int *tips, const int *weight, int n, int base)
{
	int b, i, moved = 0;
	for (b = 1; b < NB; b++) {
		int support = 0;
		if (!on_chain(base, b) || now.height[b] != now.height[base] + 1)
			continue;
		for (i = 0; i < n; i++)
			if (on_chain(b, tips[i]))
				support += weight[i];
		if (support >= SUPPORT && support > 0) { /* two only in a mutant: then either */
			event(R_WALKED);
			walk_up(tips, weight, n, b);
			moved = 1;
		}
	}
	if (!moved)
		result |= 1 << base;
}

static void select_base(void)
{
	int tips[NP], weight[NP], n = 0, tau = 0, base = -1, conflict = 0, cut = 0;
	int p, i, j, best, shared = -1, several = 0;
	for (p = 0; p < NP; p++)
		if (count[p] && term_of[p / (DD * CP)] > tau)
			tau = term_of[p / (DD * CP)];
	if (tau == 0) {
		result |= 1;
		return;
	}
	for (p = 0; p < NP; p++) { /* tips below the highest checkpoint of tau do not count */
		int t = p / (DD * CP), c = p % CP;
		if (count[p] && term_of[t] == tau && c && now.height[at_depth(t, c)] > cut)
			cut = now.height[at_depth(t, c)];
	}
	for (p = 0; p < NP; p++) {
		int t = p / (DD * CP), q = p / CP % DD, c = p % CP, b;
		if (!count[p] || term_of[t] != tau || now.height[t] < cut)
			continue;
		tips[n] = t;
		weight[n++] = count[p];
		b = now.tc[slot_of[t]] - 1;
		if (shared >= 0 && shared != b)
			several = 1;
		shared = shared < 0 ? b : shared;
		q = q > c ? q : c;
		if (q && MUTANT != MUT_TC_BASE &&
		    (base < 0 || now.height[at_depth(t, q)] > now.height[base])) {
			base = at_depth(t, q);
			event(c == q ? R_SELECT_CHECKPOINT : R_SELECT_QC);
		}
	}
	if (base < 0) { /* the TC's base, or the highest common ancestor of the bases named */
		int common = -1;
		for (i = 0; i < n; i++)
			common &= now.chain[now.tc[slot_of[tips[i]]] - 1];
		for (base = 0, i = 1; i < NB; i++)
			if ((common >> i & 1) && now.height[i] > now.height[base])
				base = i;
		event(several ? R_SELECT_ANCESTOR : R_SELECT_TC);
	}
	conflict = several;
	for (i = 0; i < n; i++) {
		conflict |= !related(tips[i], base);
		for (j = 0; j < i; j++)
			conflict |= !related(tips[i], tips[j]);
	}
	if (conflict) {
		/* leader(tau) is Byzantine: S is invalid with it, so one fewer can be in S */
		if (byzantine == F && MUTANT != MUT_CULPRIT)
			return;
		event(R_CULPRIT_OUT);
		walk_up(tips, weight, n, base);
		return;
	}
	best = base;
	for (i = 0; i < n && MUTANT != MUT_CERTIFIED; i++)
		if (now.height[tips[i]] > now.height[best]) {
			best = tips[i];
			event(R_SELECT_LONGEST);
		}
	result |= 1 << best;
}

static void pick_honest(int i, int left)
{
	int p, c;
	if (!left) {
		select_base();
		return;
	}
	if (i + left > honest_count)
		return;
	pick_honest(i + 1, left);
	p = honest_pos[i];
	for (c = 0; c < (undecided ? CP : 1); c++) {
		int t = p / (DD * CP);
		if (c && (c > level[t] || !checkpointed(at_depth(t, c))))
			break;
		count[p + c]++;
		pick_honest(i + 1, left - 1);
		count[p + c]--;
	}
}

static void pick_byzantine(int from, int left)
{
	int i;
	if (!left) {
		pick_honest(0, QV - byzantine);
		return;
	}
	for (i = from; i < byz_count; i++) {
		count[byz_pos[i]]++;
		pick_byzantine(i, left - 1);
		count[byz_pos[i]]--;
	}
}

/* Everything that a Byzantine replica can show in a VIEW-CHANGE for t: any block whose term has a
 * certificate, any QC and checkpoint that exist on its chain (section "View change"). */
static void byzantine_positions(int t)
{
	int b, q, c;
	byz_count = 0;
	byz_pos[byz_count++] = 0;
	for (b = 1; b < NB; b++) {
		if (term_of[b] >= t || !now.tc[slot_of[b]])
			continue;
		for (q = 0; q <= level[b]; q++)
			for (c = 0; c < CP && c <= level[b]; c++) {
				if (q && now.prepares[at_depth(b, q)] + F < Q)
					continue;
				if (c && !checkpointed(at_depth(b, c)))
					continue;
				byz_pos[byz_count++] = POS(b, q, c);
			}
	}
}

/* What a primary of t can make NEW-VIEWs of: a pure function of part of the state, remembered. */
#define CACHE 65536
static struct memo {
	unsigned char key[H + NS + 9];
	int result;
} cache[CACHE];

static int all_selections(int t)
{
	struct memo m;
	unsigned hash = 2166136261u, i;
	int p, qcs = 0;
	if (honest_count + F < QV)
		return 0;
	for (p = 1; p < NB; p++)
		qcs |= (now.prepares[p] + F >= Q) << p;
	memset(&m, 0, sizeof m);
	for (p = 0; p < honest_count; p++)
		m.key[p] = honest_pos[p];
	memcpy(m.key + H, (void *)now.tc, NS);
	memcpy(m.key + H + NS, &qcs, 4);
	if (CHECKPOINTS)
		memcpy(m.key + H + NS + 4, (void *)&now.final, 3);
	m.key[H + NS + 7] = t;
	m.key[H + NS + 8] = honest_count;
	for (i = 0; i < sizeof m.key; i++)
		hash = (hash ^ m.key[i]) * 16777619u;
	hash = (hash ^ hash >> 16) % CACHE;
	if (!memcmp(cache[hash].key, m.key, sizeof m.key))
		return cache[hash].result;
	result = 0;
	byzantine_positions(t);
	for (byzantine = 0; byzantine <= F; byzantine++)
		if (honest_count >= QV - byzantine)
			pick_byzantine(0, byzantine);
	m.result = result;
	cache[hash] = m;
	return result;
}

static int shown(int r) /* the position of replica r, without a checkpoint */
{
	int t = now.tip[r], q = now.qc[r];
	if (q && MUTANT == MUT_HIDE_TIP)
		t = q;
	return POS(t, q && on_chain(q, t) ? level[q] : 0, 0);
}

/* A bit mask of the bases that NEW-VIEWs of term t can have, by the VIEW-CHANGEs sent. In the last
 * term: by those that would be sent if everybody moved there now. */
static int new_views(int t)
{
	int p, c;
	honest_count = 0;
	undecided = CHECKPOINTS && t == T;
	if (t == T) {
		for (p = 0; p < H; p++)
			honest_pos[honest_count++] = shown(p);
		return all_selections(t);
	}
	for (p = 0; p < NP; p++)
		for (c = now.view_changes[(t - 2) * NP + p]; c > 0; c--)
			honest_pos[honest_count++] = p;
	return all_selections(t);
}

/* ---- certificates and checks --------------------------------------------------------------- */

static void breach(int what)
{
	if (!now.broken)
		now.broken = what;
}

/* [S3] The base of every TC of a later term contains every final block. */
static void check_base(int t, int x)
{
	if (finals_below(t) & ~now.chain[x])
		breach(S3);
}

static void find_final(void)
{
	int b, c;
	for (b = 1; b < NB; b++) {
		int m = now.mode[slot_of[b]];
		int one = now.prepares[b] + F >= QF && (m == 1 || MUTANT == MUT_ONE_ROUND);
		int two = now.commits[b] + F >= Q;
		if ((now.final >> b & 1) || !now.tc[slot_of[b]] || (!one && !two))
			continue;
		if (m == 1)
			event(one ? R_ONE_ROUND : R_TWO_ROUND);
		else
			event(R_PBFT_COMMIT);
		for (c = 1; c < NB; c++) {
			if (!(now.final >> c & 1))
				continue;
			if (!related(b, c))
				breach(S4);
			if (m == 1 && now.mode[slot_of[c]] == 2 && term_of[c] < term_of[b])
				event(R_RETURN);
			if (m == 2 && now.mode[slot_of[c]] == 1 && term_of[c] < term_of[b])
				event(R_CYCLE);
		}
		now.final |= 1 << b;
	}
}

static int slot_with(int t, int x) /* the certificate of t with this base, or -1 */
{
	int s;
	for (s = first_slot(t); s < first_slot(t) + (t == 1 ? 1 : V); s++)
		if (now.tc[s] == x + 1)
			return s;
	return -1;
}

static int free_slot(int t)
{
	int s;
	for (s = first_slot(t); s < first_slot(t) + V; s++)
		if (!now.tc[s])
			return s;
	return -1;
}

static void find_fast_tcs(void)
{
	int t, x, s;
	for (t = 2; t < T; t++)
		for (x = 0; x < NB; x++) {
			if (!fast_tc(t, x))
				continue;
			check_base(t, x);
			if ((s = slot_with(t, x)) >= 0 && now.mode[s] == 1)
				continue;
			event(R_FAST_TC);
			if (now.tc[first_slot(t)]) {
				breach(S2); /* [S2], [I5]: one TC, and one mode */
				continue;
			}
			s = free_slot(t);
			open_slot(s, x);
			now.mode[s] = 1;
		}
}

static void check_views(void)
{
	int t, x, s;
	for (s = 1; s < NS; s++)
		if (now.tc[s])
			check_base(2 + (s - 1) / V, now.tc[s] - 1);
	for (t = 2; t <= T; t++) {
		int made = new_views(t);
		for (x = 0; x < NB; x++) {
			if (made && t < T && fast_tc(t, x))
				breach(S2); /* [I5] */
			if (made >> x & 1) {
				event(R_NEW_VIEW);
				check_base(t, x);
			}
		}
	}
}

static int canonical(int x)
{
	int y;
	for (y = 2; y < NB; y++)
		if (second[y] && on_chain(y, x) && !(now.used >> (y - 1) & 1))
			return 0;
	return 1;
}

static int can_open(int t, int x)
{
	return free_slot(t) >= 0 && canonical(x) && (new_views(t) >> x & 1) && slot_with(t, x) < 0;
}

static void open_view(int t, int x)
{
	int s = free_slot(t);
	if (s > first_slot(t))
		event(R_SECOND_VIEW);
	open_slot(s, x);
	now.mode[s] = 2;
}

/* Rule 3 of "Elections": a QC of the voter's tip's term, on the candidate's chain and not an
 * ancestor of the voter's tip. */
static int rule_3(int r, int x)
{
	int v = now.tip[r];
	if (!v || term_of[x] != term_of[v])
		return 0;
	if (certified(x) && (!on_chain(x, v) || MUTANT == MUT_RULE_3))
		return 1;
	return inner[x] && certified(inner[x]) && (!on_chain(inner[x], v) || MUTANT == MUT_RULE_3);
}

/* The last term: which candidates would find q voters if everybody voted there now? */
static void check_last_votes(void)
{
	int x, r;
	for (x = 0; x < NB; x++) {
		int votes = F, before = term_of[x];
		if (x && !now.tc[slot_of[x]])
			continue;
		for (r = 0; r < H; r++) {
			int v = now.tip[r], longer = now.height[x] >= now.height[v];
			votes += before > term_of[v] ||
				 (before == term_of[v] &&
				  (MUTANT == MUT_LONGER_LOG ? longer : on_chain(v, x))) ||
				 rule_3(r, x);
		}
		if (votes >= Q)
			check_base(T, x);
	}
}

/* [S1] The QCs of one term form one chain. */
static void check_qcs(void)
{
	int b, c;
	for (b = 1; b < NB; b++) {
		if (now.prepares[b] + F >= Q)
			event(now.mode[slot_of[b]] == 1 ? R_QC_FAST : R_QC_PBFT);
		for (c = 1; c < b; c++)
			if (term_of[b] == term_of[c] && now.prepares[b] + F >= Q &&
			    now.prepares[c] + F >= Q && !related(b, c))
				breach(S1);
	}
}

static int may_show(int r, int c) /* has replica r a tip with a checkpoint c over its base? */
{
	return c == 0 || (c <= level[now.tip[r]] && checkpointed(at_depth(now.tip[r], c)));
}

/* ---- one state for all that behave alike ---------------------------------------------------- */

static int cap(int have, int possible, int high, int low)
{
	if (have >= high)
		return high;
	if (have + possible >= high)
		return have;
	if (have >= low)
		return low;
	return have + possible >= low ? have : 0;
}

/* Counts matter by their thresholds only: what can no longer reach one is as good as none. */
static void forget_dead_votes(void)
{
	int b, r, t, x, p;
	for (b = 1; b < NB; b++) {
		int m = now.mode[slot_of[b]], fin = now.final >> b & 1;
		int can_prepare = 0, can_commit = 0;
		int one = m == 1 || MUTANT == MUT_ONE_ROUND;
		t = term_of[b];
		for (r = 0; r < H; r++) {
			int z = term_of[now.tip[r]];
			can_prepare += now.own[r] <= t &&
				       (z < t || now.height[now.tip[r]] < now.height[b]);
			can_commit += now.own[r] <= t &&
				      !(now.qc[r] && term_of[now.qc[r]] == t && on_chain(b, now.qc[r]));
		}
		now.prepares[b] = cap(now.prepares[b], can_prepare, one && !fin ? QF - F : Q - F, Q - F);
		if (MUTANT != MUT_LATE_COMMIT && MUTANT != MUT_COMMIT_OFF)
			now.commits[b] = fin ? 0 : cap(now.commits[b], can_commit, Q - F, Q - F);
	}
	for (t = 2; t < T; t++) {
		int can = 0, total = 0;
		unsigned char *sent = &now.view_changes[(t - 2) * NP];
		for (r = 0; r < H; r++)
			can += now.own[r] < t;
		for (x = 0; x < NB; x++) {
			unsigned char *v = &now.term_votes[(t - 2) * NB + x];
			*v = cap(*v, can, Q - F, Q - F);
		}
		for (p = 0; p < NP; p++)
			total += sent[p];
		if (total && total + can + F < QV)
			memset(sent, 0, NP);
	}
}

static int before(int a, int b)
{
	if (now.own[a] != now.own[b])
		return now.own[a] < now.own[b];
	if (now.tip[a] != now.tip[b])
		return now.tip[a] < now.tip[b];
	return now.qc[a] < now.qc[b];
}

static void sort_replicas(void)
{
	int i, j;
	for (i = 1; i < H; i++)
		for (j = i; j > 0 && before(j, j - 1); j--) {
			unsigned char o = now.own[j], t = now.tip[j], q = now.qc[j];
			now.own[j] = now.own[j - 1];
			now.tip[j] = now.tip[j - 1];
			now.qc[j] = now.qc[j - 1];
			now.own[j - 1] = o;
			now.tip[j - 1] = t;
			now.qc[j - 1] = q;
		}
}

static void settle(void)
{
	int r;
	for (r = 0; r < H; r++)
		use(now.tip[r]);
	find_final();
	find_fast_tcs();
	check_views();
	check_last_votes();
	check_qcs();
	if (now.broken)
		return;
	forget_dead_votes();
	sort_replicas();
}

static void setup(void)
{
	static const unsigned char in[7] = {0, 0, 0, 1, 1, 2, 2};
	static int reported;
	int s, i, b = 1;
	for (s = 0; s < NS; s++) {
		int t = s == 0 ? 1 : 2 + (s - 1) / V;
		int w = t == 1 ? W1 : t == 2 ? W2 : W3, first = b;
		for (i = 1; i <= w; i++, b++) {
			term_of[b] = t;
			slot_of[b] = s;
			level[b] = i <= 2 ? 1 : 2;
			inner[b] = in[i] ? first + in[i] - 1 : 0;
			second[b] = i % 2 == 0;
		}
	}
	for (i = 0; i < H; i++)
		now.own[i] = 1;
	now.chain[0] = 1;
	open_slot(0, 0);
	if (!reported++)
		atexit(report);
}
}

/* ---- what an honest replica may do --------------------------------------------------------- */

#define CHECK \
	c_code { settle(); }; \
	assert(broken != S1); \
	assert(broken != S2); \
	assert(broken != S3); \
	assert(broken != S4); \
	assert(broken != SEEN)

/* A trail, replayed by ./pan -r, tells the story. */
#define SHOW(text, x, y, z) c_code { if (readtrail) printf(text, x, y, z); }

/* Of replicas in one state, the first acts. */
#define ALIKE(r, p) (own[r] == own[p] && tip[r] == tip[p] && qc[r] == qc[p])
#define FIRST_0 true
#define FIRST_1 !ALIKE(1, 0)
#define FIRST_2 !ALIKE(2, 1)
#define FIRST_3 !ALIKE(3, 2)
#define FIRST_4 !ALIKE(4, 3)
#define FIRST_5 !ALIKE(5, 4)

/* PREPARE, [S1]: for a block under a TC of its term, which the replica accepts herewith; if its
 * tip is of that term, only for what strictly extends it. It may be the last of several blocks in
 * one APPEND. A QC off the new chain, or of an older term, counts no more. */
#if MUTANT == MUT_VOTE_OFF_TIP
#define EXTENDS_TIP(r, b) (height[b] > height[tip[r]])
#else
#define EXTENDS_TIP(r, b) (tip[r] != b && ON_CHAIN(tip[r], b))
#endif
#define PREPARE(r, b) \
	:: d_step { \
		FIRST_##r && own[r] <= term_of[b] && tc[slot_of[b]] && CANONICAL(b) && \
		(term_of[tip[r]] < term_of[b] || EXTENDS_TIP(r, b)) -> \
		SHOW("replica (term %d, tip %d) sends PREPARE for block %d\n", now.own[r], now.tip[r], b); \
		own[r] = term_of[b]; \
		tip[r] = b; \
		prepares[b]++; \
		qc[r] = (qc[r] && term_of[qc[r]] == term_of[b] && ON_CHAIN(qc[r], b) -> qc[r] : 0); \
		CHECK \
	}

/* A QC on the chain becomes the high QC; one above the tip moves the tip, and sends no PREPARE.
 * The COMMITs that follow count at once: for the QC's block and its ancestors of that term, only
 * in that term. Later they would count for no more. */
#define ON_TIP(r, b) (term_of[tip[r]] == term_of[b] && ON_CHAIN(b, tip[r]))
#define ABOVE(r, b) \
	(!ON_CHAIN(b, tip[r]) && (term_of[b] > term_of[tip[r]] || \
				  (term_of[b] == term_of[tip[r]] && height[b] > height[tip[r]])))
#define NEWER_QC(r, b) (qc[r] == 0 || height[b] > height[qc[r]])
#if MUTANT == MUT_LATE_COMMIT
#define MAY_COMMIT(r, b) true
#else
#define MAY_COMMIT(r, b) (own[r] == term_of[b])
#endif
#define COMMITTED(r, x) (qc[r] && ON_CHAIN(x, qc[r]))
#define FOLLOW_QC(r, b) \
	:: d_step { \
		FIRST_##r && tc[slot_of[b]] && \
		((ON_TIP(r, b) && NEWER_QC(r, b)) || ABOVE(r, b)) && c_expr { (certified(b)) } -> \
		c_code { event(R_QC_FOLLOWED); }; \
		SHOW("replica (term %d, tip %d) takes the QC of block %d\n", now.own[r], now.tip[r], b); \
		if \
		:: ABOVE(r, b) -> \
			c_code { event(R_QC_OFF_CHAIN); }; \
			tip[r] = b; \
			own[r] = (own[r] > term_of[b] -> own[r] : term_of[b]); \
			qc[r] = (term_of[qc[r]] == term_of[b] -> qc[r] : 0) \
		:: else \
		fi; \
		if \
		:: MAY_COMMIT(r, b) -> \
			commits[b] = commits[b] + !COMMITTED(r, b); \
			if \
			:: inner[b] -> \
				commits[inner[b]] = commits[inner[b]] + !COMMITTED(r, inner[b]) \
			:: else \
			fi \
		:: else \
		fi; \
		qc[r] = b; \
		CHECK \
	}

/* The mutant: a QC that is neither on the chain nor above it gets a COMMIT too. */
#if MUTANT == MUT_COMMIT_OFF
#define COMMIT_OFF_CHAIN(r, b) \
	:: d_step { \
		FIRST_##r && own[r] == term_of[b] && term_of[tip[r]] == term_of[b] && \
		!ON_CHAIN(b, tip[r]) && NEWER_QC(r, b) && c_expr { (certified(b)) } -> \
		SHOW("replica (term %d, tip %d) sends COMMIT off its chain for %d\n", now.own[r], now.tip[r], b); \
		commits[b] = commits[b] + 1; \
		qc[r] = b; \
		CHECK \
	}
#else
#define COMMIT_OFF_CHAIN(r, b)
#endif

/* VIEW-CHANGE for t, [I5]: at most one statement a term; it shows the position as it is. */
#if MUTANT == MUT_HIDE_TIP
#define SHOWN(r) (qc[r] -> qc[r] : tip[r])
#else
#define SHOWN(r) tip[r]
#endif
#define SHOWN_QC(r) (qc[r] && ON_CHAIN(qc[r], SHOWN(r)) -> level[qc[r]] : 0)
#define SEND_VIEW_CHANGE(r, t, c) \
	view_changes[((t) - 2) * NP + POS(SHOWN(r), SHOWN_QC(r), c)] = \
		view_changes[((t) - 2) * NP + POS(SHOWN(r), SHOWN_QC(r), c)] + 1
#define VIEW_CHANGE(r, t, c) \
	:: d_step { \
		FIRST_##r && own[r] < t && (c == 0 || c_expr { (may_show(r, c)) }) -> \
		c_code { event(R_ESCALATION); }; \
		SHOW("replica (term %d, tip %d) sends VIEW-CHANGE for term %d\n", now.own[r], now.tip[r], t); \
		SEND_VIEW_CHANGE(r, t, c); \
		own[r] = t; \
		CHECK \
	}

/* A vote for a candidate of t whose tip is x, by rules 1 to 3 of "Elections". */
#define RULE_1(r, x) (term_of[x] > term_of[tip[r]])
#if MUTANT == MUT_LONGER_LOG
#define RULE_2(r, x) (term_of[x] == term_of[tip[r]] && height[x] >= height[tip[r]])
#else
#define RULE_2(r, x) (term_of[x] == term_of[tip[r]] && ON_CHAIN(tip[r], x))
#endif
#define RULE_3(r, x) c_expr { (rule_3(r, x)) }
#if MUTANT == MUT_TWO_MODES
#define AND_A_VIEW_CHANGE(r, t) SEND_VIEW_CHANGE(r, t, 0)
#else
#define AND_A_VIEW_CHANGE(r, t) skip
#endif
#define TERM_VOTE(r, t, x) \
	:: d_step { \
		FIRST_##r && own[r] < t && term_of[x] < t && (x == 0 || tc[slot_of[x]]) && \
		CANONICAL(x) && (RULE_1(r, x) || RULE_2(r, x) || RULE_3(r, x)) -> \
		SHOW("replica (term %d, tip %d) votes for ", now.own[r], now.tip[r], 0); \
		SHOW("a candidate of term %d with tip %d\n", t, x, 0); \
		if \
		:: RULE_1(r, x) -> c_code { event(R_RULE1); } \
		:: else -> if :: RULE_2(r, x) -> c_code { event(R_RULE2); } \
			   :: else -> c_code { event(R_RULE3); } fi \
		fi; \
		AND_A_VIEW_CHANGE(r, t); \
		term_votes[((t) - 2) * NB + x] = term_votes[((t) - 2) * NB + x] + 1; \
		own[r] = t; \
		c_code { use(x); }; \
		CHECK \
	}

/* A primary signs a NEW-VIEW; one that gives no new base changes nothing. */
#define NEW_VIEW(t, x) \
	:: d_step { \
		c_expr { (can_open(t, x)) } -> \
		SHOW("NEW-VIEW of term %d with base %d\n", t, x, 0); \
		c_code { open_view(t, x); }; \
		CHECK \
	}

#include "fast_and_view_each.pml"

init {
	d_step {
		c_code { setup(); };
		mode[0] = 1
	}
#if MODE1 != 1
	if
	:: mode[0] = 2
#if MODE1 == 0
	:: skip
#endif
	fi;
#endif
	do
	EACH_REPLICA(REPLICA)
	EACH_BASE(NEW_VIEW, 2)
#if T > 3
	EACH_BASE(NEW_VIEW, 3)
#endif
	:: timeout -> break
	od
}
