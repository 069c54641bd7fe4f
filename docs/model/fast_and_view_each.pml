/* One guarded step for each replica, term and block (fast_and_view.pml): spelt out, so that a
 * choice is one transition and leaves no states in between. */
#if NB > 20
#error too many blocks: make D1, D2, D3 or V smaller
#endif
#define EACH_BLOCK(X, r) X(r, 1) X(r, 2) X(r, 3) X(r, 4) FROM_5(X, r)
#define EACH_BASE(X, a) X(a, 0) EACH_BLOCK(X, a)
#if NB > 5
#define FROM_5(X, r) X(r, 5) X(r, 6) FROM_7(X, r)
#else
#define FROM_5(X, r)
#endif
#if NB > 7
#define FROM_7(X, r) X(r, 7) X(r, 8) FROM_9(X, r)
#else
#define FROM_7(X, r)
#endif
#if NB > 9
#define FROM_9(X, r) X(r, 9) X(r, 10) FROM_11(X, r)
#else
#define FROM_9(X, r)
#endif
#if NB > 11
#define FROM_11(X, r) X(r, 11) X(r, 12) FROM_13(X, r)
#else
#define FROM_11(X, r)
#endif
#if NB > 13
#define FROM_13(X, r) X(r, 13) X(r, 14) FROM_15(X, r)
#else
#define FROM_13(X, r)
#endif
#if NB > 15
#define FROM_15(X, r) X(r, 15) X(r, 16) FROM_17(X, r)
#else
#define FROM_15(X, r)
#endif
#if NB > 17
#define FROM_17(X, r) X(r, 17) X(r, 18) FROM_19(X, r)
#else
#define FROM_17(X, r)
#endif
#if NB > 19
#define FROM_19(X, r) X(r, 19) X(r, 20)
#else
#define FROM_19(X, r)
#endif

#define VOTE_2(r, x) TERM_VOTE(r, 2, x)
#define VOTE_3(r, x) TERM_VOTE(r, 3, x)
#if CHECKPOINTS
#define VIEWS(r, t) VIEW_CHANGE(r, t, 0) VIEW_CHANGE(r, t, 1) VIEW_CHANGE(r, t, 2)
#else
#define VIEWS(r, t) VIEW_CHANGE(r, t, 0)
#endif
#if T > 3
#define TERM_3(r) VIEWS(r, 3) EACH_BASE(VOTE_3, r)
#else
#define TERM_3(r)
#endif
#define REPLICA(r) \
	EACH_BLOCK(PREPARE, r) EACH_BLOCK(FOLLOW_QC, r) EACH_BLOCK(COMMIT_OFF_CHAIN, r) \
	VIEWS(r, 2) EACH_BASE(VOTE_2, r) TERM_3(r)

#if N - (N - 1) / 3 == 3
#define EACH_REPLICA(X) X(0) X(1) X(2)
#elif N - (N - 1) / 3 == 4
#define EACH_REPLICA(X) X(0) X(1) X(2) X(3)
#elif N - (N - 1) / 3 == 5
#define EACH_REPLICA(X) X(0) X(1) X(2) X(3) X(4)
#else
#define EACH_REPLICA(X) X(0) X(1) X(2) X(3) X(4) X(5)
#endif
