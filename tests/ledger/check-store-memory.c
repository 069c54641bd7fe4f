/* The memory model's crashes: a prefix survives, all that was synced and maybe more. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "check-store.h"

#define HISTORY_MAX 12

/* One random history after another on one store. Each leaves the states that a crash may
 * leave: that of the last sync, and that after each batch since. */
START_TEST(crash_keeps_a_prefix)
{
	struct store *s = store_open_memory();
	struct store_batch *b = store_batch_new();
	struct model *states[HISTORY_MAX + 1];
	struct random r, crash;
	int lost_all = 0, lost_some = 0, lost_none = 0;

	for (size_t i = 0; i <= HISTORY_MAX; i++)
		states[i] = model_new();
	random_seed(&r, 1);
	random_seed(&crash, 2);
	for (int history = 0; history < 2000; history++) {
		size_t len = 0, kept = SIZE_MAX;
		uint64_t batches = random_below(&r, HISTORY_MAX + 1);

		for (uint64_t i = 0; i < batches; i++) {
			struct model *next = states[len + 1];
			bool sync = random_chance(&r, 1, 8);

			model_copy(next, states[len]);
			store_batch_clear(b);
			random_batch(&r, b, next, 5);
			ck_assert_int_eq(store_write(s, b, sync), ERR_NONE);
			len++;
			if (!sync && random_chance(&r, 1, 20)) {
				ck_assert_int_eq(store_sync(s), ERR_NONE);
				sync = true;
			}
			if (sync) {
				model_copy(states[0], states[len]);
				len = 0;
			}
		}
		ck_assert(model_matches(states[len], s));
		store_memory_crash(s, &crash);
		for (size_t i = len + 1; i-- > 0 && kept == SIZE_MAX;) {
			if (model_matches(states[i], s))
				kept = i;
		}
		ck_assert_msg(kept != SIZE_MAX, "history %d: not a prefix", history);
		if (kept == len)
			lost_none++;
		else if (kept == 0)
			lost_all++;
		else
			lost_some++;
		/* what survived one crash survives the next */
		if (kept > 0)
			model_copy(states[0], states[kept]);
		if (random_chance(&r, 1, 10)) {
			store_memory_crash(s, &crash);
			ck_assert(model_matches(states[0], s));
		}
	}
	ck_assert_int_gt(lost_all, 100);
	ck_assert_int_gt(lost_some, 100);
	ck_assert_int_gt(lost_none, 100);
	for (size_t i = 0; i <= HISTORY_MAX; i++)
		mem_free(states[i]);
	store_batch_free(b);
	store_close(s);
}
END_TEST

/* Every length from none to all is as likely as another. */
START_TEST(crash_is_uniform)
{
	enum { BATCHES = 4, RUNS = 5000 };
	int seen[BATCHES + 1] = {0};
	struct random r;

	random_seed(&r, 5);
	for (int i = 0; i < RUNS; i++) {
		struct store *s = store_open_memory();
		struct writer w = {0};

		put_text(s, STORE_META, "n", "0", true);
		put_text(s, STORE_META, "n", "1", false);
		put_text(s, STORE_META, "n", "2", false);
		put_text(s, STORE_META, "n", "3", false);
		put_text(s, STORE_META, "n", "4", false);
		store_memory_crash(s, &r);
		ck_assert_int_eq(store_get(s, STORE_META, text("n"), &w), ERR_NONE);
		ck_assert_uint_eq(w.len, 1);
		seen[w.buf[0] - '0']++;
		writer_free(&w);
		store_close(s);
	}
	for (int i = 0; i <= BATCHES; i++) {
		ck_assert_int_gt(seen[i], 850);
		ck_assert_int_lt(seen[i], 1150);
	}
}
END_TEST

START_TEST(crash_is_deterministic)
{
	struct model *final[2] = {model_new(), model_new()};
	struct store *stores[2];

	for (int run = 0; run < 2; run++) {
		struct store_batch *b = store_batch_new();
		struct random r;

		random_seed(&r, 77);
		stores[run] = store_open_memory();
		for (int i = 0; i < 500; i++) {
			store_batch_clear(b);
			random_batch(&r, b, final[run], 5);
			ck_assert_int_eq(store_write(stores[run], b, random_chance(&r, 1, 9)),
					 ERR_NONE);
			if (random_chance(&r, 1, 20))
				store_memory_crash(stores[run], &r);
		}
		store_batch_free(b);
	}
	for (int f = 0; f < STORE_FAMILIES; f++) {
		struct store_iter *a, *b;
		struct slice ka, va, kb, vb;

		a = store_iter_new(stores[0], (enum store_family)f, text(""), text(""), false);
		b = store_iter_new(stores[1], (enum store_family)f, text(""), text(""), false);
		while (store_iter_next(a, &ka, &va)) {
			ck_assert(store_iter_next(b, &kb, &vb));
			ck_assert(slice_equal(ka, kb) && slice_equal(va, vb));
		}
		ck_assert(!store_iter_next(b, &kb, &vb));
		store_iter_free(a);
		store_iter_free(b);
	}
	for (int run = 0; run < 2; run++) {
		store_close(stores[run]);
		mem_free(final[run]);
	}
}
END_TEST

static int put_number(struct store *s, int n, bool sync)
{
	struct store_batch *b = store_batch_new();
	char name[16];
	int err;

	snprintf(name, sizeof(name), "%d", n);
	for (int f = 0; f < STORE_FAMILIES; f++)
		store_batch_put(b, (enum store_family)f, text(name), text("v"));
	err = store_write(s, b, sync);
	store_batch_free(b);
	return err;
}

static void count_death(void *ctx)
{
	++*(int *)ctx;
}

/* Writes, synced or not, and syncs count; what comes after death is nowhere; the one that it
 * died at is there or not. */
START_TEST(killed_at)
{
	struct random r;
	int appeared = 0, vanished = 0;

	random_seed(&r, 10);
	for (uint64_t nth = 1; nth <= 5; nth++) {
		for (int run = 0; run < 200; run++) {
			struct store *s = store_open_memory();
			int deaths = 0;
			uint64_t done = 0;

			store_memory_kill(s, nth, count_death, &deaths);
			for (int i = 0; i < 6; i++) { /* the third is a sync alone */
				int err = i == 2 ? store_sync(s) : put_number(s, i, i == 3);
				done += err == ERR_NONE;
				ck_assert_int_eq(deaths, done < (uint64_t)i + 1);
			}
			ck_assert_uint_eq(done, nth - 1);
			ck_assert_int_eq(store_failure(s), STORE_FAILS);
			store_memory_crash(s, &r);
			ck_assert_int_eq(store_failure(s), STORE_WORKS);
			for (int i = 0; i < 6; i++) {
				char key[2] = {(char)('0' + i), 0};
				struct writer w = {0};
				bool there =
					store_get(s, STORE_META, text(key), &w) == ERR_NONE;
				writer_free(&w);
				if (i == 2 || (uint64_t)i + 1 > nth)
					ck_assert(!there);
				else if ((nth > 4 && i < 4) || (nth == 4 && i < 2))
					ck_assert(there); /* synced since */
				if ((uint64_t)i + 1 == nth && i != 2) {
					appeared += there;
					vanished += !there;
				}
			}
			ck_assert_int_eq(put_number(s, 7, true), ERR_NONE);
			store_close(s);
		}
	}
	ck_assert_int_gt(appeared, 100);
	ck_assert_int_gt(vanished, 100);
}
END_TEST

/* A write that failed has no effect, until a crash: then it may turn out to have happened. */
START_TEST(failed_write)
{
	struct random r;
	int appeared = 0, vanished = 0, lost_before = 0;

	random_seed(&r, 9);
	for (int run = 0; run < 1000; run++) {
		struct store *s = store_open_memory();
		struct writer w = {0};
		bool one, two;

		store_memory_fail_write(s, 3);
		ck_assert_int_eq(put_number(s, 0, true), ERR_NONE);
		ck_assert_int_eq(put_number(s, 1, false), ERR_NONE);
		ck_assert_int_eq(put_number(s, 2, run % 2 == 0), ERR_IO);
		expect_text(s, STORE_META, "1", "v");
		expect_text(s, STORE_META, "2", NULL);
		ck_assert_int_eq(put_number(s, 3, false), ERR_IO);
		ck_assert_int_eq(put_number(s, 3, true), ERR_IO);
		ck_assert_int_eq(store_sync(s), ERR_IO);
		store_memory_crash(s, &r);

		expect_text(s, STORE_META, "0", "v");
		expect_text(s, STORE_META, "3", NULL);
		one = store_get(s, STORE_META, text("1"), &w) == ERR_NONE;
		two = store_get(s, STORE_META, text("2"), &w) == ERR_NONE;
		ck_assert(one || !two);
		for (int f = 0; f < STORE_FAMILIES; f++)
			expect_text(s, (enum store_family)f, "2", two ? "v" : NULL);
		appeared += two;
		vanished += one && !two;
		lost_before += !one;
		for (int i = 0; i < 5; i++)
			ck_assert_int_eq(put_number(s, 4 + i, true), ERR_NONE);
		writer_free(&w);
		store_close(s);
	}
	ck_assert_int_gt(appeared, 100);
	ck_assert_int_gt(vanished, 100);
	ck_assert_int_gt(lost_before, 100);
}
END_TEST

START_TEST(fail_write_can_be_taken_back)
{
	struct store *s = store_open_memory();

	store_memory_fail_write(s, 1);
	store_memory_fail_write(s, 0);
	ck_assert_int_eq(put_number(s, 1, true), ERR_NONE);
	ck_assert_int_eq(put_number(s, 2, false), ERR_NONE);
	store_close(s);
}
END_TEST

/* A million overwritten items must not be kept for a crash that can no longer bring them. */
START_TEST(history_does_not_pile_up)
{
	struct store *s = store_open_memory();
	size_t before, after;

	ck_assert_int_eq(put_number(s, 0, true), ERR_NONE);
	before = mallinfo2().uordblks;
	for (int i = 0; i < 125000; i++)
		ck_assert_int_eq(put_number(s, 0, i % 4 == 3), ERR_NONE);
	after = mallinfo2().uordblks;
	ck_assert_uint_lt(after, before + (64 << 10));
	store_close(s);
}
END_TEST

/* Some batches go to all stores, as replicas' do, some to one. What one loses in a crash, or
 * with its end, the others keep. */
START_TEST(beside_one_another)
{
	enum { STORES = 3 };
	struct store *s[STORES];
	struct model *m[STORES], *before = model_new();
	struct store_batch *b = store_batch_new();
	struct random r;
	int lost = 0, kept = 0;

	random_seed(&r, 12);
	for (int i = 0; i < STORES; i++) {
		s[i] = i ? store_open_memory_beside(s[i - 1]) : store_open_memory();
		m[i] = model_new();
	}
	for (int step = 0; step < 3000; step++) {
		bool alike = random_chance(&r, 1, 2);
		uint64_t seed = random_u64(&r);
		for (int i = 0; i < STORES; i++) {
			struct random own;
			random_seed(&own, seed + (alike ? 0 : (uint64_t)i));
			model_copy(before, m[i]);
			store_batch_clear(b);
			random_batch(&own, b, m[i], 5);
			bool sync = random_chance(&r, 1, 2);
			ck_assert_int_eq(store_write(s[i], b, sync), ERR_NONE);
			if (sync || random_chance(&r, 1, 2)) {
				ck_assert_int_eq(store_sync(s[i]), ERR_NONE);
				continue;
			}
			store_memory_crash(s[i], &r);
			if (model_matches(m[i], s[i])) {
				kept++;
				continue;
			}
			model_copy(m[i], before);
			lost++;
		}
		int gone = (int)random_below(&r, 100);
		if (gone < STORES) { /* an empty one in its place, beside it or the next one */
			struct store *old = s[gone];
			int of = (gone + (int)random_below(&r, 2)) % STORES;
			s[gone] = store_open_memory_beside(s[of]);
			store_close(old);
			m[gone]->len = 0;
		}
		for (int i = 0; i < STORES; i++)
			ck_assert(model_matches(m[i], s[i]));
	}
	ck_assert_int_gt(lost, 100);
	ck_assert_int_gt(kept, 100);
	for (int i = 0; i < STORES; i++) {
		store_close(s[(i + 1) % STORES]);
		mem_free(m[i]);
	}
	mem_free(before);
	store_batch_free(b);
}
END_TEST

/* More than a table in common can tell apart, open at a time and one after the other: each has
 * its own value of one key, and the same of another, in families of both kinds. */
START_TEST(many_beside_one_another)
{
	enum { STORES = 150, ROUNDS = 3 };
	static const enum store_family families[] = {STORE_BLOCKS, STORE_VOTES};
	struct store *s[STORES] = {store_open_memory()};
	struct store_batch *b = store_batch_new();

	for (int i = 1; i < STORES; i++)
		s[i] = store_open_memory_beside(s[i - 1]);
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < STORES; i++) {
			uint32_t own = (uint32_t)(i + round);
			store_batch_clear(b);
			for (size_t f = 0; f < MEM_COUNT(families); f++) {
				store_batch_put(b, families[f], slice_str("own"),
						slice_of(&own, sizeof own));
				store_batch_put(b, families[f], slice_str("same"),
						slice_of(&round, sizeof round));
			}
			ck_assert_int_eq(store_write(s[i], b, true), ERR_NONE);
		}
		for (int i = 0; i < STORES; i++)
			for (size_t f = 0; f < MEM_COUNT(families); f++) {
				uint32_t own = (uint32_t)(i + round);
				struct writer w = {0};
				store_get(s[i], families[f], slice_str("own"), &w);
				ck_assert(slice_equal(writer_slice(&w),
						      slice_of(&own, sizeof own)));
				store_get(s[i], families[f], slice_str("same"), &w);
				ck_assert(slice_equal(writer_slice(&w),
						      slice_of(&round, sizeof round)));
				writer_free(&w);
			}
		for (int i = round % 2; i < STORES; i += 2) { /* a new one is empty */
			struct writer w = {0};
			struct store *old = s[i];
			s[i] = store_open_memory_beside(s[(i + 1) % STORES]);
			store_close(old);
			ck_assert_int_eq(
				store_get(s[i], STORE_BLOCKS, slice_str("same"), &w),
				ERR_NOT_FOUND);
			writer_free(&w);
		}
	}
	for (int i = 0; i < STORES; i++)
		store_close(s[i]);
	store_batch_free(b);
}
END_TEST

/* Large values, so that malloc() knows of each. */
START_TEST(equal_records_are_kept_once)
{
	enum { RECORDS = 200, SIZE = 5000 };
	static uint8_t value[SIZE];
	struct store *s[2] = {store_open_memory()};
	struct store_batch *b = store_batch_new();
	size_t used[2];

	s[1] = store_open_memory_beside(s[0]);
	used[0] = mallinfo2().uordblks;
	for (uint32_t i = 0; i < RECORDS; i++) {
		store_batch_clear(b);
		store_batch_put(b, STORE_BLOCKS, slice_of(&i, sizeof(i)),
				slice_of(value, SIZE));
		for (int of = 0; of < 2; of++)
			ck_assert_int_eq(store_write(s[of], b, true), ERR_NONE);
	}
	used[1] = mallinfo2().uordblks;
	ck_assert_uint_le(used[1] - used[0], RECORDS * SIZE * 5 / 4);
	for (uint32_t i = 0; i < RECORDS; i++)
		for (int run = 0; run < 2; run++) {
			struct writer w = {0};
			ck_assert_int_eq(
				store_get(s[run], STORE_BLOCKS, slice_of(&i, sizeof(i)), &w),
				ERR_NONE);
			ck_assert(slice_equal(writer_slice(&w), slice_of(value, SIZE)));
			writer_free(&w);
		}
	store_batch_free(b);
	store_close(s[0]);
	store_close(s[1]);
}
END_TEST

Suite *memory_suite(void)
{
	Suite *s = suite_create("store in memory");
	TCase *t = tcase_create("crash");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, crash_keeps_a_prefix);
	tcase_add_test(t, crash_is_uniform);
	tcase_add_test(t, crash_is_deterministic);
	tcase_add_test(t, failed_write);
	tcase_add_test(t, killed_at);
	tcase_add_test(t, beside_one_another);
	tcase_add_test(t, many_beside_one_another);
	tcase_add_test(t, equal_records_are_kept_once);
	tcase_add_test(t, fail_write_can_be_taken_back);
	tcase_add_test(t, history_does_not_pile_up);
	suite_add_tcase(s, t);
	return s;
}
