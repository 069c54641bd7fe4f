/* Nonce windows against a set of used nonces. */
#include "ledger/private.h"
#include "tests/ledger/check-ledger.h"
#include "tests/share.h"

#define WINDOW 64

struct window {
	uint8_t value[NONCE_WINDOW_HEAD + WINDOW / 8];
	bool any;
};

static struct slice value_of(const struct window *w)
{
	return slice_of(w->value, w->any ? sizeof(w->value) : 0);
}

static int use(struct window *w, uint64_t nonce)
{
	int err = nonce_check(value_of(w), nonce, WINDOW);
	if (!err) {
		nonce_use(w->value, nonce, WINDOW);
		w->any = true;
	}
	return err;
}

/* What the rule says, from the list of all nonces used so far. */
static int expected(const uint64_t *used, size_t count, uint64_t nonce)
{
	uint64_t highest = 0;
	for (size_t i = 0; i < count; i++)
		highest = used[i] > highest ? used[i] : highest;
	if (nonce > highest ? nonce - highest > WINDOW : highest - nonce >= WINDOW)
		return ERR_TX_NONCE_WINDOW;
	for (size_t i = 0; i < count; i++)
		if (used[i] == nonce)
			return ERR_TX_NONCE_USED;
	return ERR_NONE;
}

/* All sequences of three nonces out of what matters, then every nonce near them. */
START_TEST(three_nonces)
{
	static const uint64_t all[] = {0,  1,  2,  31,	32,  62,  63,  64,
				       65, 66, 95, 126, 127, 128, 129, 190};
	size_t n = MEM_COUNT(all);
	for (size_t i = 0, step = share_step() | 1; i < n * n * n; i += step) {
		uint64_t pick[3] = {all[i % n], all[i / n % n], all[i / n / n]}, used[3];
		struct window w = {0};
		size_t count = 0;
		for (unsigned j = 0; j < 3; j++) {
			int want = expected(used, count, pick[j]);
			ck_assert_int_eq(use(&w, pick[j]), want);
			if (!want)
				used[count++] = pick[j];
		}
		for (uint64_t nonce = 0; nonce < 300; nonce++)
			ck_assert_int_eq(nonce_check(value_of(&w), nonce, WINDOW),
					 expected(used, count, nonce));
	}
}
END_TEST

static void random_walk(uint64_t seed, uint64_t start)
{
	enum { STEPS = 600 };
	uint64_t used[STEPS], highest = start;
	struct window w = {.any = true};
	struct random r;
	size_t count = 0;

	random_seed(&r, seed);
	store_be64(w.value, start);
	nonce_use(w.value, start, WINDOW);
	used[count++] = start;
	while (count < STEPS) {
		uint64_t nonce = highest + random_below(&r, 2 * WINDOW + 20) - WINDOW - 10;
		int want = expected(used, count, nonce);
		ck_assert_int_eq(use(&w, nonce), want);
		if (want) {
			if (highest == UINT64_MAX && random_chance(&r, 1, 100))
				break;
			continue;
		}
		used[count++] = nonce;
		highest = nonce > highest ? nonce : highest;
		uint64_t suggested = nonce_suggest(value_of(&w), WINDOW);
		int err = expected(used, count, suggested);
		ck_assert(err == ERR_NONE || highest == UINT64_MAX);
	}
}

START_TEST(random_walks)
{
	for (uint64_t seed = 0; seed < 40; seed++) {
		random_walk(seed, 1000);
		random_walk(seed, UINT64_C(1) << 40);
		random_walk(seed, UINT64_MAX - 500);
	}
}
END_TEST

START_TEST(the_end)
{
	struct window w = {.any = true};
	store_be64(w.value, UINT64_MAX - 1);
	nonce_use(w.value, UINT64_MAX - 1, WINDOW);
	ck_assert_uint_eq(nonce_suggest(value_of(&w), WINDOW), UINT64_MAX);
	ck_assert_int_eq(use(&w, 5), ERR_TX_NONCE_WINDOW);
	ck_assert_int_eq(use(&w, UINT64_MAX), ERR_NONE);
	for (unsigned left = WINDOW - 2; left > 0; left--)
		ck_assert_int_eq(use(&w, nonce_suggest(value_of(&w), WINDOW)), ERR_NONE);
	ck_assert_int_eq(use(&w, nonce_suggest(value_of(&w), WINDOW)), ERR_TX_NONCE_USED);
	ck_assert_int_eq(use(&w, 0), ERR_TX_NONCE_WINDOW);
}
END_TEST

START_TEST(expiry)
{
	struct genesis_limits l = {.expiry_horizon = 10};
	ck_assert_int_eq(expiry_check(9, 10, &l), ERR_TX_EXPIRED);
	ck_assert_int_eq(expiry_check(10, 10, &l), ERR_NONE);
	ck_assert_int_eq(expiry_check(20, 10, &l), ERR_NONE);
	ck_assert_int_eq(expiry_check(21, 10, &l), ERR_TX_HORIZON);
	ck_assert_int_eq(expiry_check(UINT64_MAX, 10, &l), ERR_TX_HORIZON);
	ck_assert_int_eq(expiry_check(UINT64_MAX, UINT64_MAX, &l), ERR_NONE);
}
END_TEST

START_TEST(allowed_senders)
{
	struct pubkey keys[5] = {{{1}}, {{3}}, {{3, 1}}, {{9}}, {{200}}};
	struct genesis g = {.senders = keys};
	for (uint32_t count = 0; count <= 5; count++) {
		g.sender_count = count;
		for (uint32_t i = 0; i < 5; i++)
			ck_assert(sender_allowed(&g, &keys[i]) == (i < count));
		ck_assert(!sender_allowed(&g, &(struct pubkey){{2}}));
	}
	g.open = true;
	ck_assert(sender_allowed(&g, &(struct pubkey){{2}}));
}
END_TEST

Suite *nonce_suite(void)
{
	Suite *s = suite_create("nonce");
	TCase *t = tcase_create("nonce");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, three_nonces);
	tcase_add_test(t, random_walks);
	tcase_add_test(t, the_end);
	tcase_add_test(t, expiry);
	tcase_add_test(t, allowed_senders);
	suite_add_tcase(s, t);
	return s;
}
