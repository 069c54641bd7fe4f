/* Homes and the keys that they get: no key whose votes are not known begins with none. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/keyfile.h"
#include "node/home.h"
#include "replica/files.h"
#include "replica/private.h"
#include "tests/node/homes.h"

static char dir[64];
static struct genesis genesis;
static struct errmsg m;

static const char *at(const char *name)
{
	static char path[8][512];
	static unsigned turn;
	char *p = path[turn++ % 8];
	snprintf(p, sizeof path[0], "%s/%s", dir, name);
	return p;
}

static void setup(void)
{
	struct keypair client;
	crypto_init();
	strcpy(dir, "/tmp/check-home-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	homes_make(dir, 4, "", &genesis, &client);
	for (unsigned i = 0; i < 4; i++) {
		struct keypair key;
		char name[16];
		snprintf(name, sizeof name, "new%u", i);
		keypair_generate(&key);
		ck_assert_int_eq(keyfile_write(at(name), &key, name, NULL, &m), ERR_NONE);
	}
}

static void teardown(void)
{
	genesis_free(&genesis);
	files_remove(dir, NULL);
}

static int init(const char *home, const char *key, const char *name)
{
	static const char *const peers[] = {"node1=127.0.0.1:1", "node2=127.0.0.1:2",
					    "node3=127.0.0.1:3", "node4=127.0.0.1:4"};
	const struct home_init init = {.home = at(home),
				       .genesis = at("node1/genesis.json"),
				       .key = at(key),
				       .name = name,
				       .peers_listen = "127.0.0.1:5",
				       .peer_count = 4,
				       .peers = peers};
	return home_init(&init, &m);
}

static int rekey(const char *home, const char *key)
{
	return home_rekey(at(home), at(key), &m);
}

static bool same_key(const char *a, const char *b)
{
	struct keyfile_info one, two;
	ck_assert_int_eq(keyfile_info(at(a), &one, &m), ERR_NONE);
	ck_assert_int_eq(keyfile_info(at(b), &two, &m), ERR_NONE);
	return pubkey_equal(&one.pub, &two.pub);
}

/* Whether the home's data says that this key has signed nothing. */
static bool is_marked(const char *home, const char *key)
{
	struct store *s;
	struct store_options options = {.read_only = true};
	struct keyfile_info info;
	char data[300];
	snprintf(data, sizeof data, "%s/data", at(home));
	ck_assert_int_eq(keyfile_info(at(key), &info, &m), ERR_NONE);
	ck_assert_int_eq(store_open_rocksdb(&s, data, &options, &m), ERR_NONE);
	bool marked = replica_is_first_of(s, &info.pub);
	store_close(s);
	return marked;
}

/* A new key for a place, in a new home: once, whichever of its files is named. */
START_TEST(a_key_has_one_home)
{
	ck_assert_msg(init("a", "new0", "node2") == ERR_NONE, "%s", m.text);
	ck_assert(is_marked("a", "new0"));
	ck_assert_int_eq(init("b", "new0", "node2"), ERR_EXISTS);
	ck_assert_ptr_nonnull(strstr(m.text, "home"));
	ck_assert_int_eq(init("b", "a/validator.key", "node2"), ERR_EXISTS);
	ck_assert(!files_exist(at("b")));
	ck_assert_int_eq(rekey("node2", "new0"), ERR_EXISTS);
	ck_assert_int_eq(rekey("node2", "a/validator.key"), ERR_EXISTS);
	ck_assert(!is_marked("node2", "new0"));
	/* Its disk is lost: that makes no new key of it. */
	files_remove(at("a"), NULL);
	ck_assert_int_eq(init("a", "new0", "node2"), ERR_EXISTS);
}
END_TEST

/* Of the genesis file's keys as well; of homes that were made before key files said so, too. */
START_TEST(a_key_of_the_genesis_file)
{
	ck_assert_int_eq(init("b", "node3/validator.key", NULL), ERR_EXISTS);
	ck_assert(!files_exist(at("b")));
	ck_assert_int_eq(rename(at("node3/validator.key"), at("key3")), 0);
	ck_assert_msg(init("b", "key3", NULL) == ERR_NONE, "%s", m.text);
	ck_assert(same_key("b/validator.key", "key3"));
	ck_assert_int_eq(init("c", "key3", NULL), ERR_EXISTS);
}
END_TEST

START_TEST(one_key_after_the_other)
{
	ck_assert_int_eq(rename(at("node1/validator.key"), at("first")), 0);
	ck_assert_int_eq(link(at("first"), at("node1/validator.key")), 0);
	ck_assert_msg(rekey("node1", "new0") == ERR_NONE, "%s", m.text);
	ck_assert(is_marked("node1", "new0"));
	ck_assert_int_eq(rekey("node1", "new0"), ERR_EXISTS);
	ck_assert_msg(rekey("node1", "new1") == ERR_NONE, "%s", m.text);
	ck_assert(same_key("node1/validator.key", "new1"));
	/* No key is lost on the way: the first one is still that of its place. */
	ck_assert(same_key("node1/validator.key.old", "first"));
	ck_assert(same_key("node1/validator.key.old.2", "new0"));
	/* Which of them has voted meanwhile nobody can tell. */
	ck_assert_int_eq(rekey("node1", "new0"), ERR_EXISTS);
	ck_assert_int_eq(rekey("node1", "node1/validator.key.old.2"), ERR_EXISTS);
	ck_assert(is_marked("node1", "new1"));
}
END_TEST

/* Cut off after each of its steps, and begun anew. */
START_TEST(a_new_key_is_cut_off)
{
	struct store *s;
	struct store_options options = {0};
	struct keyfile_info info;
	ck_assert_int_eq(keyfile_info(at("new0"), &info, &m), ERR_NONE);
	ck_assert_int_eq(store_open_rocksdb(&s, at("node1/data"), &options, &m), ERR_NONE);
	ck_assert_int_eq(replica_first_votes_of(s, &info.pub), ERR_NONE);
	store_close(s);
	if (_i > 0)
		ck_assert_int_eq(keyfile_take(at("new0"), &m), ERR_NONE);
	if (_i > 1)
		ck_assert_int_eq(link(at("new0"), at("node1/validator.key.new")), 0);
	if (_i > 2)
		ck_assert_int_eq(link(at("node1/validator.key"), at("node1/validator.key.old")),
				 0);
	ck_assert(!same_key("node1/validator.key", "new0"));
	ck_assert_msg(rekey("node1", "new0") == ERR_NONE, "%s", m.text);
	ck_assert(same_key("node1/validator.key", "new0"));
	ck_assert(!files_exist(at("node1/validator.key.old.2")));
	ck_assert(!files_exist(at("node1/validator.key.new")));
	ck_assert(is_marked("node1", "new0"));
}
END_TEST

/* Where the new key's file has the very name that it is put under on the way. */
START_TEST(a_key_is_not_lost)
{
	ck_assert_int_eq(rename(at("new0"), at("node1/validator.key.new")), 0);
	struct keyfile_info info, after;
	ck_assert_int_eq(keyfile_info(at("node1/validator.key.new"), &info, &m), ERR_NONE);
	ck_assert_msg(rekey("node1", "node1/validator.key.new") == ERR_NONE, "%s", m.text);
	ck_assert_int_eq(keyfile_info(at("node1/validator.key"), &after, &m), ERR_NONE);
	ck_assert(pubkey_equal(&info.pub, &after.pub));
}
END_TEST

/* It has voted from this data: a copy of its file that says nothing does not make it new. */
START_TEST(a_key_has_voted)
{
	struct store *s;
	struct store_options options = {0};
	struct store_batch *batch = store_batch_new();
	struct keyfile_info info;
	struct writer w = {0};
	ck_assert_int_eq(keyfile_info(at("new0"), &info, &m), ERR_NONE);
	writer_u16(&w, 1);
	writer_u32(&w, 1);
	writer_pubkey(&w, &info.pub);
	ck_assert_int_eq(store_open_rocksdb(&s, at("node1/data"), &options, &m), ERR_NONE);
	store_batch_put(batch, STORE_META, slice_str(VOTED_KEYS_KEY), writer_slice(&w));
	ck_assert_int_eq(store_write(s, batch, true), ERR_NONE);
	store_close(s);
	store_batch_free(batch);
	writer_free(&w);
	ck_assert_int_eq(rekey("node1", "new0"), ERR_EXISTS);
	ck_assert_ptr_nonnull(strstr(m.text, "voted"));
	ck_assert(!is_marked("node1", "new0"));
	ck_assert_msg(rekey("node1", "new1") == ERR_NONE, "%s", m.text);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("home");
	TCase *t = tcase_create("home");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_key_has_one_home);
	tcase_add_test(t, a_key_of_the_genesis_file);
	tcase_add_test(t, one_key_after_the_other);
	tcase_add_loop_test(t, a_new_key_is_cut_off, 0, 4);
	tcase_add_test(t, a_key_is_not_lost);
	tcase_add_test(t, a_key_has_voted);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
