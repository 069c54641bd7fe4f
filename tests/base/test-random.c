#include <signal.h>

#include "base/mem.h"
#include "base/random.h"
#include "suites.h"

/* Vectors of the reference code of Vigna and Blackman (prng.di.unimi.it: splitmix64.c,
 * xoshiro256starstar.c), as the test suites of other implementations quote them. */
START_TEST(seed_is_splitmix64)
{
	static const uint64_t want[] = {6457827717110365317, 3203168211198807973,
					9817491932198370423u, 4593380528125082431};
	struct random r;
	random_seed(&r, 1234567);
	for (int i = 0; i < 4; i++)
		ck_assert_uint_eq(r.s[i], want[i]);
}
END_TEST

START_TEST(stream_is_xoshiro256starstar)
{
	static const uint64_t want[] = {11520,
					0,
					1509978240,
					1215971899390074240,
					1216172134540287360,
					607988272756665600,
					16172922978634559625u,
					8476171486693032832,
					10595114339597558777u,
					2904607092377533576};
	struct random r = {.s = {1, 2, 3, 4}};
	for (size_t i = 0; i < MEM_COUNT(want); i++)
		ck_assert_uint_eq(random_u64(&r), want[i]);
}
END_TEST

START_TEST(seeds_differ_and_repeat)
{
	struct random a, b, c;
	random_seed(&a, 0);
	random_seed(&b, 0);
	random_seed(&c, 1);
	int same = 0;
	for (int i = 0; i < 100; i++) {
		uint64_t v = random_u64(&a);
		ck_assert_uint_eq(v, random_u64(&b));
		same += v == random_u64(&c);
	}
	ck_assert_int_eq(same, 0);
}
END_TEST

/* Chi-squared against a bound that a fair generator passes with this seed for ever. */
START_TEST(below_is_uniform)
{
	static const uint64_t bounds[] = {1, 2, 3, 5, 7, 10, 16, 100};
	struct random r;
	random_seed(&r, 42);
	for (size_t k = 0; k < MEM_COUNT(bounds); k++) {
		unsigned hits[100] = {0};
		uint64_t bound = bounds[k];
		double mean = 1000, chi = 0;
		for (uint64_t i = 0; i < 1000 * bound; i++) {
			uint64_t v = random_below(&r, bound);
			expect(v < bound);
			hits[v]++;
		}
		for (uint64_t i = 0; i < bound; i++)
			chi += (hits[i] - mean) * (hits[i] - mean) / mean;
		ck_assert_double_lt(chi, 20 + 1.5 * (double)bound);
	}
	for (int i = 0; i < 1000; i++) {
		expect(random_below(&r, ((uint64_t)1 << 63) + 1) < ((uint64_t)1 << 63) + 1);
		expect(random_below(&r, UINT64_MAX) < UINT64_MAX);
	}
}
END_TEST

START_TEST(between_is_inclusive)
{
	struct random r;
	bool low = false, high = false;
	random_seed(&r, 7);
	for (int i = 0; i < 1000; i++) {
		uint64_t v = random_between(&r, 5, 8);
		expect(v >= 5 && v <= 8);
		low |= v == 5;
		high |= v == 8;
		expect(random_between(&r, 9, 9) == 9);
		expect(random_between(&r, UINT64_MAX, UINT64_MAX) == UINT64_MAX);
		random_between(&r, 0, UINT64_MAX);
	}
	expect(low && high);
}
END_TEST

START_TEST(chance_has_its_odds)
{
	struct random r;
	int hits = 0;
	random_seed(&r, 8);
	for (int i = 0; i < 100000; i++) {
		hits += random_chance(&r, 3, 10);
		expect(!random_chance(&r, 0, 10));
		expect(random_chance(&r, 10, 10));
		expect(random_chance(&r, 11, 10));
	}
	expect(hits > 29000 && hits < 31000);
}
END_TEST

START_TEST(below_zero_is_a_bug)
{
	struct random r;
	random_seed(&r, 8);
	random_below(&r, 0);
}
END_TEST

TCase *random_case(void)
{
	TCase *tc = tcase_create("random");
	tcase_add_test(tc, seed_is_splitmix64);
	tcase_add_test(tc, stream_is_xoshiro256starstar);
	tcase_add_test(tc, seeds_differ_and_repeat);
	tcase_add_test(tc, below_is_uniform);
	tcase_add_test(tc, between_is_inclusive);
	tcase_add_test(tc, chance_has_its_odds);
	tcase_add_test_raise_signal(tc, below_zero_is_a_bug, SIGABRT);
	return tc;
}
