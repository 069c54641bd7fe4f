/* Liveness of the term rules of fast mode: pre-votes, entitlement, refusals, strays (sections "Elections",
 * "Strays" of docs/consensus.md; docs/decisions/0003-stale-grants.md).
 *
 * First anything goes: campaigns reach any replicas and lose any answers, leaders restart, TCs come
 * late, the F Byzantine replicas grant, vote and answer heartbeats as they like, and are elected.
 * Then the network is stable: a campaign reaches every correct replica before the next one begins,
 * which random timeouts give with probability 1 after finitely many tries. With weak fairness, in
 * the end and for ever a correct leader hears q replicas (the Byzantine ones too, if they answer):
 *
 *	ltl live { [] (stable -> <> [] placed) }
 *
 * And all correct replicas follow it:
 *
 *	ltl nobody_lost { [] (stable -> <> together) }
 *
 * The second did not hold at first: see docs/model/README.md, "A finding", and -DMUTANT=4.
 *
 * A replica: own term, newest TC, tip's term (a total order stands for rules 1 to 3), whether it has
 * signed in its term, and what entitles it to its term: the TC, or q grants, of which the oldest TC
 * named is kept. After stabilisation Byzantine replicas help a candidate at most HELP times into a
 * term that it does not win, and win no election themselves: that they can do for ever, and E3 and
 * pbft mode are the answer to it ("Escalation"), outside this model.
 *
 *	-DN=4			validators
 *	-DEARLY=2		terms that are entered before stabilisation
 *	-DMUTANT=k		one rule broken: a claim must fail */

#ifndef N
#define N 4
#endif
#ifndef EARLY
#define EARLY 2
#endif
#ifndef HELP
#define HELP 1
#endif
#ifndef MUTANT
#define MUTANT 0
#endif
#define MUT_STALE_GRANTS 1 /* the rule before 0003: grants that name an older TC never count */
#define MUT_NO_CLAIM	 2 /* refusals and requests show nothing that entitles (trap 10) */
#define MUT_NO_RESCUE	 3 /* the leader does not ask for a term that lets a stray in (trap 12) */

#define MUT_STRAY_GRANTS 4 /* a stray's old grants do not count with a live leader */
#define MENDED (MUTANT != MUT_STRAY_GRANTS)

#define F ((N - 1) / 3)
#define Q ((N + F + 2) / 2)
#define H (N - F)
#define M (EARLY + HELP + H + 3) /* more than any run reaches: asserted */
#define BY_TC 255		 /* entitled by the TC itself, not by grants */
#define MUTE 254		 /* led by nobody who proposes: Byzantine, or restarted */

byte term[H], tc[H], tip[H], why[H];
bool voted[H];
byte led[M + 1]; /* by term: 0: no TC, 1 + leader, or MUTE */
bool placed, together; /* for the claims: a leader hears q; all correct replicas follow it */
bool stable, acks; /* acks: the Byzantine answer heartbeats, so that a leader hears q */
byte help = HELP;

/* scratch of one campaign, zero in between */
byte t, grants, oldest, votes, i, shown;
bool request[H], answer[H], aid_grant, aid_vote;

#define LEADS(l, n) (led[n] == 1 + (l) && term[l] == (n) && tc[l] == (n))
#define FOLLOWS(v)                                                                              \
	(term[v] == tc[v] && tc[v] > 0 && led[tc[v]] > 0 && led[tc[v]] < MUTE &&                \
	 term[led[tc[v]] - 1] == tc[v])
#define AMONG(v, n) (FOLLOWS(v) && tc[v] == (n))
#if N <= 4
#define EVERY(X) (X(0) && X(1) && X(2))
#define ANY(X)	 (X(0) || X(1) || X(2))
#define SUM(X, n) (X(0, n) + X(1, n) + X(2, n))
#elif N == 5
#define EVERY(X) (X(0) && X(1) && X(2) && X(3))
#define ANY(X)	 (X(0) || X(1) || X(2) || X(3))
#define SUM(X, n) (X(0, n) + X(1, n) + X(2, n) + X(3, n))
#else
#define EVERY(X) (X(0) && X(1) && X(2) && X(3) && X(4))
#define ANY(X)	 (X(0) || X(1) || X(2) || X(3) || X(4))
#define SUM(X, n) (X(0, n) + X(1, n) + X(2, n) + X(3, n) + X(4, n))
#endif

/* A leader hears itself: it stays while q replicas answer. The others hear its heartbeats. */
#define HEARS_Q(l) (SUM(AMONG, tc[l]) + acks * F >= Q)
#define ALIVE(v)   (FOLLOWS(v) && (!LEADS(v, tc[v]) || HEARS_Q(v)))
#define IN_PLACE(l) (tc[l] > 0 && LEADS(l, tc[l]) && HEARS_Q(l))
#define SAME_TC(v) (tc[v] == tc[0])
#define in_place   ANY(IN_PLACE)
#define settled	   (EVERY(FOLLOWS) && EVERY(SAME_TC))
#define NOTE	   placed = in_place; together = settled

/* Who listens to candidate c: whoever hears no live leader; for a rescue, its followers too. */
#define HEEDS(v, c, rescue) (!stable || !ALIVE(v) || (rescue && tc[v] == tc[c]))

/* Who hears a live leader takes no grants that name a TC older than its own; others take any (0003).
 * Before stabilisation nobody can count on hearing one. */
#if MUTANT == MUT_STALE_GRANTS
#define COUNTS(v, stamp) ((stamp) == BY_TC || (stamp) >= tc[v])
#else
#define COUNTS(v, stamp) ((stamp) == BY_TC || !stable || !ALIVE(v) || (stamp) >= tc[v])
#endif

inline learn(v, n) { /* a TC moves up what it is above */
	if
	:: n > tc[v] ->
		tc[v] = n;
		if
		:: n >= term[v] -> term[v] = n; why[v] = BY_TC; voted[v] = false
		:: else
		fi
	:: else
	fi
}

inline enter(v, n, stamp) {
	if
	:: n > term[v] -> term[v] = n; why[v] = stamp; voted[v] = false
	:: else
	fi
}

/* What replica i makes of c's pre-vote request for t. */
inline answer_pre_vote(c, rescue) {
	if
	:: t < term[i] || t <= tc[i] || (t == term[i] && voted[i]) ->
		/* a refusal, with what entitled its sender to its term */
		if
		:: answer[i] && MUTANT != MUT_NO_CLAIM && why[i] == BY_TC -> learn(c, tc[i])
		:: answer[i] && MUTANT != MUT_NO_CLAIM && why[i] != BY_TC && COUNTS(c, why[i]) ->
			enter(c, term[i], why[i])
		:: else
		fi
	:: else ->
		if
		:: t - 1 > term[i] && MUTANT != MUT_NO_CLAIM && shown == BY_TC -> learn(i, t - 1)
		:: else
		fi;
		if
		:: t - 1 <= term[i] || (MUTANT != MUT_NO_CLAIM && (COUNTS(i, shown) || (MENDED && rescue))) ->
			learn(i, tip[c]); /* which the position shows */
			if
			:: tip[c] >= tip[i] && answer[i] && t > tc[i] && COUNTS(c, tc[i]) ->
				grants++;
				oldest = (tc[i] < oldest -> tc[i] : oldest)
			:: else
			fi
		:: else
		fi
	fi
}

/* The vote request for t carries the q grants. */
inline answer_vote(c) {
	if
	:: t >= term[i] && t > tc[i] && !(t == term[i] && voted[i]) && COUNTS(i, oldest) ->
		if
		:: tip[c] >= tip[i] ->
			enter(i, t, oldest);
			voted[i] = true;
			votes = votes + answer[i]
		:: else ->
			enter(i, t, oldest) /* on q grants shown, without a vote */
		fi
	:: else
	fi
}

/* Replica c asks for the term above `from`, and shows what entitles to that. request[], answer[]: whom its request reaches, and
 * whose answers come back; anybody's may fail before stabilisation, nobody's after. rescue: its own
 * followers listen to it. */
inline clear_reach() {
	i = 0;
	do
	:: i < H -> request[i] = false; answer[i] = false; i++
	:: else -> break
	od;
	i = 0
}
inline reach(v) {
	if
	:: stable || true -> request[v] = true; answer[v] = true
	:: !stable -> request[v] = true
	:: !stable -> skip
	fi
}
inline reach_some() {
	reach(0);
	reach(1);
	reach(2);
#if N > 4
	reach(3);
#endif
	skip
}
inline campaign(c, from, claim, rescue) {
	reach_some();
	d_step {
		t = (from) + 1;
		shown = claim;
		grants = 1 + (aid_grant -> F : 0);
		oldest = tc[c];
		i = 0;
		do
		:: i < H ->
			if
			:: i != c && request[i] && HEEDS(i, c, rescue) ->
				answer_pre_vote(c, rescue)
			:: else
			fi;
			i++
		:: else -> break
		od;
		clear_reach();
		assert(t < M)
	}
	if /* a refusal may have moved c on: then it asks again */
	:: grants >= Q && t > term[c] && t > tc[c] ->
		reach_some();
		if
		:: aid_grant -> aid_vote = true
		:: skip
		fi;
		d_step {
			votes = 1 + (aid_vote -> F : 0);
			term[c] = t;
			why[c] = oldest;
			voted[c] = true;
			i = 0;
			do
			:: i < H ->
				if
				:: i != c && request[i] && HEEDS(i, c, rescue) -> answer_vote(c)
				:: else
				fi;
				i++
			:: else -> break
			od;
			help = (stable && votes < Q && help > 0 -> help - 1 : help);
			if
			:: votes >= Q ->
				assert(led[t] == 0); /* [S2] */
				led[t] = 1 + c;
				tc[c] = t;
				why[c] = BY_TC;
				tip[c] = (stable -> t : tip[c]);
				i = 0;
				do /* its heartbeats bring the TC, before anybody's timer runs out */
				:: i < H ->
					if
					:: stable -> learn(i, t)
					:: else
					fi;
					i++
				:: else -> break
				od
			:: else
			fi;
			clear_reach()
		}
	:: else
	fi;
	d_step {
		t = 0; grants = 0; oldest = 0; votes = 0; shown = 0;
		aid_grant = false; aid_vote = false;
		NOTE
	}
}

#define OWN_BLOCK(l) tip[l] = (LEADS(l, tc[l]) -> tc[l] : tip[l]);
active proctype Chaos() {
	byte c, n;
	do
	:: atomic { /* somebody campaigns; some hear it, and some answers come back */
		!stable ->
		select(c : 0 .. H - 1);
		if
		:: term[c] < EARLY ->
			if
			:: aid_grant = true
			:: skip
			fi;
			campaign(c, term[c], why[c], false)
		:: else
		fi;
		c = 0
	   }
	:: atomic { /* a replica follows its leader's blocks */
		!stable ->
		select(c : 0 .. H - 1);
		if
		:: FOLLOWS(c) -> tip[c] = tc[c]
		:: else
		fi;
		c = 0
	   }
	:: atomic { /* a leader restarts: it proposes nothing more in a term that it led [I1] */
		!stable ->
		select(c : 0 .. H - 1);
		if
		:: tc[c] > 0 && led[tc[c]] == 1 + c -> led[tc[c]] = MUTE
		:: else
		fi;
		NOTE;
		c = 0
	   }
	:: atomic { /* a TC comes late; of Byzantine replicas as late as they like */
		select(c : 0 .. H - 1);
		select(n : 1 .. EARLY);
		if
		:: led[n] && n > tc[c] -> learn(c, n)
		:: else
		fi;
		NOTE;
		c = 0; n = 0
	   }
	:: atomic { /* stable from now on; leaders' own blocks are on disk */
		!stable ->
		if
		:: acks = true
		:: skip
		fi;
		OWN_BLOCK(0)
		OWN_BLOCK(1)
		OWN_BLOCK(2)
#if N > 4
		OWN_BLOCK(3)
#endif
		NOTE;
		stable = true
	   }
	od
}

/* After it: heartbeats, which carry the TC; timeouts; strays. */
#define BEHIND_0(v) (tc[v] < tc[0])
#define BEHIND_1(v) (tc[v] < tc[1])
#define BEHIND_2(v) (tc[v] < tc[2])
#define BEHIND_3(v) (tc[v] < tc[3])
#define HEARTBEAT(l) \
	:: atomic { \
		stable && LEADS(l, tc[l]) && ANY(BEHIND_##l) -> \
		d_step { \
			i = 0; \
			do \
			:: i < H -> learn(i, tc[l]); i++ \
			:: else -> break \
			od; \
			i = 0; \
			NOTE \
		} \
	   }
active proctype Heartbeats() {
	do
	HEARTBEAT(0)
	HEARTBEAT(1)
	HEARTBEAT(2)
#if N > 4
	HEARTBEAT(3)
#endif
	od
}

/* A leader that hears q has held the refusal of stray v for two timeouts. It asks for the term above
 * the stray's, by the stray's entitlement, if that counts. */
#define RESCUE(v) \
	:: atomic { \
		stable && !settled && MUTANT != MUT_NO_RESCUE && LEADS(c, tc[c]) && HEARS_Q(c) && \
		term[v] > tc[c] && (MENDED || COUNTS(c, why[v])) -> \
		campaign(c, term[v], why[v], true) \
	   }
proctype Replica(byte c) {
	do
	:: atomic { /* the timer runs out: nobody leads whom it hears */
		stable && !settled && !ALIVE(c) ->
		if
		:: help > 0 -> aid_grant = true
		:: skip
		fi;
		campaign(c, term[c], why[c], false)
	   }
	RESCUE(0)
	RESCUE(1)
	RESCUE(2)
#if N > 4
	RESCUE(3)
#endif
	od
}

init {
	atomic {
		run Replica(0);
		run Replica(1);
		run Replica(2);
#if N > 4
		run Replica(3);
#endif
	}
}

ltl live { [] (stable -> <> [] placed) }
ltl nobody_lost { [] (stable -> <> together) }
