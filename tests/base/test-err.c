#include <signal.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "suites.h"

#define LAST_CODE (-60)

START_TEST(every_code_has_text_and_name)
{
	int known = 0;
	for (int code = 0; code >= LAST_CODE; code--) {
		const char *text = err_text(code), *name = err_name(code);
		expect(text != NULL);
		if (strcmp(name, "unknown") == 0) {
			ck_assert_str_eq(text, "unknown error");
			continue;
		}
		known++;
		expect(text[0] >= 'a' && text[0] <= 'z');
		expect(text[strlen(text) - 1] != '.');
		for (const char *p = name; *p; p++)
			expect((*p >= 'a' && *p <= 'z') || *p == '_');
		for (int other = code + 1; other <= 0; other++) {
			ck_assert_str_ne(name, err_name(other));
			ck_assert_str_ne(text, err_text(other));
		}
	}
	expect(known == 1 + 32 + 6); /* success, ERR_MODE = -32, ERR_TX_* */
	ck_assert_str_eq(err_name(ERR_STALE), "stale");
	ck_assert_str_eq(err_name(ERR_TX_EMPTY), "tx_empty");
	ck_assert_str_eq(err_name(ERR_BAD_SIGNATURE), "bad_signature");
	ck_assert_str_eq(err_name(1), "unknown");
	ck_assert_str_eq(err_name(INT32_MIN), "unknown");
}
END_TEST

START_TEST(err_set_formats_and_truncates)
{
	struct errmsg m;
	char big[2 * sizeof(m.text)];
	ck_assert_int_eq(err_set(&m, ERR_CONFIG, "key %s, line %d", "x", 7), ERR_CONFIG);
	ck_assert_str_eq(m.text, "key x, line 7");
	memset(big, 'a', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	err_set(&m, ERR_CONFIG, "%s", big);
	ck_assert_uint_eq(strlen(m.text), sizeof(m.text) - 1);
	ck_assert_int_eq(err_set(NULL, ERR_IO, "%s", big), ERR_IO);
}
END_TEST

START_TEST(memory_is_never_null)
{
	void *a = mem_alloc(0), *b = mem_zalloc(0), *c = mem_array(0, 8), *d = mem_array(8, 0);
	ck_assert(a && b && c && d);
	uint8_t *z = mem_array(10, 3);
	for (int i = 0; i < 30; i++)
		ck_assert_uint_eq(z[i], 0);
	z = mem_realloc(z, 0);
	ck_assert_ptr_nonnull(z);
	mem_free(a);
	mem_free(b);
	mem_free(c);
	mem_free(d);
	mem_free(z);
	mem_free(NULL);
}
END_TEST

START_TEST(memory_is_copied)
{
	char *dup = mem_dup("abc", 3), *text = mem_strdup("abc"), *made;
	made = mem_printf("%d-%s", 5, "x");
	ck_assert_mem_eq(dup, "abc", 3);
	ck_assert_str_eq(text, "abc");
	ck_assert_str_eq(made, "5-x");
	ck_assert_ptr_null(mem_dup("abc", 0));
	ck_assert_ptr_null(mem_dup(NULL, 0));
	mem_free(dup);
	mem_free(text);
	mem_free(made);
}
END_TEST

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* those end otherwise */
START_TEST(impossible_sizes_end_the_process)
{
	volatile size_t count = SIZE_MAX / 4; /* the product overflows to a small number */
	mem_free(mem_array(count, 8));
}
END_TEST
#endif

START_TEST(invariants_stay_on)
{
	volatile int zero = 0;
	invariant(zero == 0);
	invariant(zero == 1);
}
END_TEST

TCase *err_case(void)
{
	TCase *tc = tcase_create("err and mem");
	tcase_add_test(tc, every_code_has_text_and_name);
	tcase_add_test(tc, err_set_formats_and_truncates);
	tcase_add_test(tc, memory_is_never_null);
	tcase_add_test(tc, memory_is_copied);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	tcase_add_test_raise_signal(tc, impossible_sizes_end_the_process, SIGABRT);
#endif
	tcase_add_test_raise_signal(tc, invariants_stay_on, SIGABRT);
	return tc;
}
