/* The arithmetic of linearizable reads: whatever block was acknowledged before, whoever lies,
 * and whoever does not answer, the bound is not below it. */
#include "base/mem.h"
#include "base/random.h"
#include "suites.h"
#include "tools/cli/linear.h"

#define LIE_MAX 1000

static void shuffle(struct random *r, unsigned *order, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		order[i] = i;
	for (unsigned i = n; i > 1; i--) {
		unsigned k = (unsigned)random_below(r, i), t = order[i - 1];
		order[i - 1] = order[k];
		order[k] = t;
	}
}

START_TEST(never_below_what_was_acknowledged)
{
	struct random r;

	random_seed(&r, 11);
	for (unsigned run = 0; run < 200000; run++) {
		struct quorum q = quorum_of((unsigned)random_between(&r, 1, 13));
		uint64_t acknowledged = random_between(&r, 1, 500), newest = 0, said[64], bound;
		uint64_t height[64];
		unsigned order[64], answers = (unsigned)random_between(&r, 0, q.n);
		bool liar[64] = {0};

		/* q replicas, liars among them or not, have voted for it */
		shuffle(&r, order, q.n);
		for (unsigned i = 0; i < q.n; i++)
			height[order[i]] = i < q.q ? acknowledged + random_below(&r, 20)
						   : random_below(&r, acknowledged + 20);
		for (unsigned i = 0; i < q.n; i++)
			newest = height[i] > newest ? height[i] : newest;
		shuffle(&r, order, q.n);
		for (unsigned i = 0; i < q.f; i++)
			liar[order[i]] = true;
		shuffle(&r, order, q.n);
		for (unsigned i = 0; i < answers; i++)
			said[i] = !liar[order[i]]	    ? height[order[i]]
				  : random_chance(&r, 1, 2) ? 0
							    : LIE_MAX;
		if (!linear_bound(&q, said, answers, &bound)) {
			ck_assert_uint_lt(answers, q.n); /* all, and still too few? */
			continue;
		}
		ck_assert_msg(bound >= acknowledged, "n %u answers %u: %llu below %llu", q.n,
			      answers, (unsigned long long)bound,
			      (unsigned long long)acknowledged);
		if (answers == q.n)
			ck_assert_msg(bound <= newest, "n %u: liars made it %llu, above %llu",
				      q.n, (unsigned long long)bound,
				      (unsigned long long)newest);
	}
}
END_TEST

START_TEST(too_few_answers)
{
	for (unsigned n = 1; n <= 64; n++) {
		struct quorum q = quorum_of(n);
		uint64_t said[64] = {0}, bound;
		bool before = false;
		ck_assert(!linear_bound(&q, said, 0, &bound));
		for (unsigned answers = 1; answers <= n; answers++) {
			bool enough = linear_bound(&q, said, answers, &bound);
			ck_assert(enough || !before); /* more answers never take it away */
			if (enough)
				ck_assert_uint_ge(answers, q.qv);
			before = enough;
		}
		ck_assert_msg(before, "n %u: all answer, and it is not enough", n);
	}
}
END_TEST

Suite *linear_suite(void)
{
	Suite *s = suite_create("linear");
	TCase *tc = tcase_create("linear");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, never_below_what_was_acknowledged);
	tcase_add_test(tc, too_few_answers);
	suite_add_tcase(s, tc);
	return s;
}
