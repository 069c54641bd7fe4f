#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "ledger/tree.h"
#include "node/config.h"

static char home[64], conf[96];
static struct genesis genesis;
static struct node_config config;
static struct errmsg message;

static void setup(void)
{
	strcpy(home, "/tmp/check-config-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(home));
	snprintf(conf, sizeof conf, "%s/ostrakond.conf", home);
	memset(&genesis, 0, sizeof genesis);
	genesis.n = 4;
	genesis.limits.window = 32;
	for (unsigned i = 0; i < genesis.n; i++)
		snprintf(genesis.validator[i].name, sizeof genesis.validator[i].name, "node%u",
			 i + 1);
}

static void teardown(void)
{
	unlink(conf);
	rmdir(home);
}

static int read_bytes(const void *text, size_t len)
{
	FILE *f = fopen(conf, "wb");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(text, 1, len, f), len);
	fclose(f);
	message.text[0] = 0;
	return node_config_read(&config, home, &genesis, &message);
}

static int read_text(const char *text)
{
	return read_bytes(text, strlen(text));
}

#define PEERS                                                                                  \
	"[peers]\nlisten = 127.0.0.1:7001\nnode2 = 127.0.0.1:7002\nnode3 = [::1]:7003\n"       \
	"node4 = host.example:7004\n"

static void refused(const char *text, int line, const char *says)
{
	ck_assert_int_eq(read_text(text), ERR_CONFIG);
	if (line) {
		char where[128];
		snprintf(where, sizeof where, "%s:%d: ", conf, line);
		ck_assert_msg(strncmp(message.text, where, strlen(where)) == 0, "%s",
			      message.text);
	}
	ck_assert_msg(strstr(message.text, says) != NULL, "\"%s\" lacks \"%s\"", message.text,
		      says);
}

START_TEST(test_whole_file)
{
	ck_assert_msg(
		read_text("# comment\n; another\n[node]\nname = node1\nlog = info,net=debug\n"
			  "log_format = json\n\n" PEERS "[api]\nlisten = 127.0.0.1:0\n"
			  "[timing]\nheartbeat = 20\ntimeout_min=100\ntimeout_max = 200\n"
			  "timeout_cap = 1000\n"
			  "[limits]\napi_threads = 5\nverify_threads = 3\napi_connections = 77\npipeline = "
			  "32\nhistory = 1024\ncache = 500\n") == ERR_NONE,
		"%s", message.text);
	ck_assert_str_eq(config.home, home);
	ck_assert_str_eq(config.name, "node1");
	ck_assert_str_eq(config.log_level, "info,net=debug");
	ck_assert_str_eq(config.log_format, "json");
	ck_assert_str_eq(config.listen.host, "127.0.0.1");
	ck_assert_uint_eq(config.listen.port, 7001);
	ck_assert_uint_eq(config.peer[0].port, 0);
	ck_assert_str_eq(config.peer[2].host, "::1");
	ck_assert_uint_eq(config.peer[2].port, 7003);
	ck_assert_str_eq(config.peer[3].host, "host.example");
	ck_assert_str_eq(config.api.host, "127.0.0.1");
	ck_assert_uint_eq(config.api.port, 0);
	ck_assert_uint_eq(config.heartbeat_ms, 20);
	ck_assert_uint_eq(config.timeout_min_ms, 100);
	ck_assert_uint_eq(config.timeout_max_ms, 200);
	ck_assert_uint_eq(config.timeout_cap_ms, 1000);
	ck_assert_uint_eq(config.api_threads, 5);
	ck_assert_uint_eq(config.verify_threads, 3);
	ck_assert_uint_eq(config.api_connections, 77);
	ck_assert_uint_eq(config.pipeline, 32);
	ck_assert_uint_eq(config.history, 1024);
	ck_assert_uint_eq(config_tree_cache(&config), (size_t)400 << 20);
	ck_assert_uint_eq(config_store_cache(&config), (size_t)100 << 20);
}
END_TEST

START_TEST(test_defaults)
{
	ck_assert_int_eq(read_text("[node]\nname = node1\n" PEERS), ERR_NONE);
	ck_assert_str_eq(config.log_level, "info");
	ck_assert_str_eq(config.log_format, "text");
	ck_assert_str_eq(config.api.host, "127.0.0.1");
	ck_assert_uint_eq(config.api.port, CONFIG_API_PORT);
	ck_assert_uint_eq(config.heartbeat_ms, 0);
	ck_assert_uint_eq(config_timeout_min_ms(&config), 300);
	ck_assert_uint_eq(config_timeout_max_ms(&config), 500);
	ck_assert_uint_eq(config.pipeline, 0);
	ck_assert_uint_eq(config.history, CONFIG_HISTORY);
	ck_assert_uint_eq(config_tree_cache(&config), TREE_CACHE_BYTES);
	ck_assert_uint_eq(config_store_cache(&config), (size_t)16 << 20);
	/* who gives one of the two */
	ck_assert_int_eq(read_text("[node]\nname = node1\n" PEERS "[timing]\ntimeout_min = 700\n"),
			 ERR_NONE);
	ck_assert_uint_eq(config_timeout_max_ms(&config), 1400);
	ck_assert_int_eq(read_text("[node]\nname = node1\n" PEERS "[timing]\ntimeout_max = 700\n"),
			 ERR_NONE);
	ck_assert_uint_eq(config_timeout_min_ms(&config), 300);
	ck_assert_uint_eq(config_timeout_max_ms(&config), 700);
	/* a single validator needs no file content at all */
	genesis.n = 1;
	ck_assert_int_eq(read_text(""), ERR_NONE);
	ck_assert_str_eq(config.listen.host, "127.0.0.1");
	/* no newline at the end of the file, and Windows line ends */
	ck_assert_int_eq(read_text("[api]\r\nlisten = 127.0.0.1:9\r\n[limits]\r\npipeline = 4"),
			 ERR_NONE);
	ck_assert_uint_eq(config.api.port, 9);
	ck_assert_uint_eq(config.pipeline, 4);
	/* the own line in [peers] says where to listen */
	genesis.n = 2;
	ck_assert_int_eq(read_text("[node]\nname = node2\n[peers]\nnode1 = a:1\nnode2 = b:2\n"),
			 ERR_NONE);
	ck_assert_str_eq(config.listen.host, "b");
}
END_TEST

START_TEST(test_unknown_keys)
{
	refused(PEERS "[api]\nlistne = 127.0.0.1:1\n", 7, "did you mean \"listen\"?");
	refused("[node]\nnmae = node1\n", 2,
		"unknown key \"nmae\" in [node], did you mean \"name\"?");
	refused("[nodes]\nname = node1\n", 2,
		"unknown section [nodes], did you mean \"node\"?");
	static const char *const far[] = {"log", "cli", "db", "main", "validators"};
	for (size_t i = 0; i < MEM_COUNT(far); i++) {
		char text[64];
		snprintf(text, sizeof text, "[%s]\nname = node1\n", far[i]);
		refused(text, 2, "; there are [node], [peers], ");
	}
}
END_TEST

START_TEST(test_unknown_more)
{
	refused("[peers]\nnoed2 = a:1\n", 2, "did you mean \"node2\"?");
	refused("[node]\nname = node9\n", 2,
		"not a validator of the genesis file, did you mean");
	refused("[api]\npipeline = 3\n", 2, "it belongs into [limits]");
	refused("[api]\nzzzzzzzz = 3\n", 2, "unknown key \"zzzzzzzz\" in [api]");
	ck_assert_ptr_null(strstr(message.text, "did you mean"));
	refused("name = node1\n", 1, "before the first section");
}
END_TEST

START_TEST(test_hosts)
{
	static const char *const good[] = {"a", "a,b", "a, b", " a ,b", "a-b.example,::1"};
	for (size_t i = 0; i < MEM_COUNT(good); i++) {
		char text[256];
		snprintf(text, sizeof text, PEERS "[api]\nhosts = %s\n", good[i]);
		ck_assert_msg(read_text(text) == ERR_NONE, "%s: %s", good[i], message.text);
	}
	refused(PEERS "[api]\nhosts = a b\n", 7, "must be names with commas between");
	refused(PEERS "[api]\nhosts = a,b c,d\n", 7, "must be names with commas between");
}
END_TEST

START_TEST(test_sections_together)
{
	char last[64] = "", section[64];
	unsigned changes = 0;
	ck_assert_int_eq(read_text(PEERS), ERR_NONE);
	struct json *a = node_config_json(&config, &genesis);
	for (size_t i = 0; i < json_len(a); i++) {
		const char *key;
		ck_assert_int_eq(json_read_string(json_at(a, i), "key", &key), ERR_NONE);
		snprintf(section, sizeof section, "%.*s", (int)strcspn(key, "."), key);
		changes += strcmp(section, last) != 0;
		strcpy(last, section);
	}
	ck_assert_uint_eq(changes, 6); /* each section once */
	ck_assert_str_eq(last, "debug");
	json_free(a);
}
END_TEST

START_TEST(test_bad_values)
{
	static const char *const numbers[] = {
		"", "0", "-1", "+1", "1x", "x1", "1.5", "0x10", "1 2", "99999999999999999999"};
	for (size_t i = 0; i < MEM_COUNT(numbers); i++) {
		char text[128];
		snprintf(text, sizeof text, "[timing]\nheartbeat = %s\n", numbers[i]);
		refused(text, 2, "must be a whole number from 1 to");
	}
	refused("[limits]\npipeline = 33\n", 2, "from 1 to 32");
	refused("[limits]\nhistory = 1023\n", 2, "at least 1024");
	refused("[limits]\nhistory = 0\n", 2, "from 1");
	refused("[limits]\ncache = 15\n", 2, "at least 16");
	refused("[limits]\ncache = 1048577\n", 2, "from 1 to 1048576");
	refused("[limits]\napi_connections = 65536\n", 2, "from 1 to 65535");
	refused("[node]\nlog = loud\n", 2, "is not like info,consensus=debug");
	refused("[node]\nlog_format = xml\n", 2, "must be text, logfmt or json");
	refused("[peers]\nnode2 = nohost\n", 2, "is not HOST:PORT");
	refused("[peers]\nnode2 = a:0\n", 2, "is not HOST:PORT");
	refused("[timing]\nheartbeat = 50\n\nheartbeat = 60\n", 4, "again; first in line 2");
	refused("[node]\nname = node1\n what\n", 3,
		"again; first in line 2"); /* continued line */
	refused("[node]\njust words\n", 2, "neither [section] nor key = value");
	refused("[node\nname = node1\n", 1, "neither [section] nor key = value");
}
END_TEST

START_TEST(test_whole_rules)
{
	refused(PEERS "[timing]\nheartbeat = 300\n", 0, "heartbeat < timeout_min");
	refused(PEERS "[timing]\ntimeout_max = 200\n", 0, "timeout_min <= timeout_max");
	refused(PEERS "[timing]\ntimeout_cap = 499\n", 0, "timeout_max <= timeout_cap");
	refused(PEERS "[api]\nlisten = 0.0.0.0:80\n", 0,
		"without [api] token_file only a loopback");
	refused("[node]\nname = node2\n" PEERS, 0, "no address for node1");
	refused("[node]\nname = node1\n[peers]\nlisten = a:1\nnode2 = a:2\nnode4 = a:4\n", 0,
		"no address for node3: add node3 = HOST:PORT");
	refused("[peers]\nnode1 = a:1\nnode2 = a:2\nnode3 = a:3\nnode4 = a:4\n", 0,
		"needs listen");
}
END_TEST

START_TEST(test_hostile_bytes)
{
	char line[4096];
	memset(line, 'x', sizeof line);
	memcpy(line, "[node]\n", 7);
	ck_assert_int_eq(read_bytes(line, sizeof line), ERR_CONFIG);
	ck_assert_ptr_nonnull(strstr(message.text, ":2: the line is longer than"));
	ck_assert_int_eq(read_bytes("[node]\nna\0me = node1\n", 21), ERR_CONFIG);
	ck_assert_ptr_nonnull(strstr(message.text, ":2: the line contains a zero byte"));
	genesis.n = 1;
	/* every length around inih's own line buffer: read whole or refused, never split */
	for (size_t len = 190; len < 210; len++) {
		memset(line, ' ', len);
		memcpy(line, "[limits]\n", 9);
		memcpy(line + len, "pipeline = 3\n", 13);
		int err = read_bytes(line, len + 13);
		if (err == ERR_NONE)
			ck_assert_uint_eq(config.pipeline, 3);
		else
			ck_assert_msg(strstr(message.text, "longer than") != NULL, "%s",
				      message.text);
	}
	unlink(conf);
	ck_assert_int_eq(node_config_read(&config, home, &genesis, &message), ERR_CONFIG);
	ck_assert_ptr_nonnull(strstr(message.text, "No such file"));
	ck_assert_int_eq(node_config_read(&config, home, &genesis, NULL), ERR_CONFIG);
}
END_TEST

START_TEST(test_environment)
{
	ck_assert_int_eq(read_text("[node]\nname = node1\n" PEERS), ERR_NONE);
	setenv("OSTRAKON_API_LISTEN", "127.0.0.1:1234", 1);
	setenv("OSTRAKON_LOG", "debug", 1);
	ck_assert_int_eq(node_config_environment(&config, &genesis, &message), ERR_NONE);
	ck_assert_uint_eq(config.api.port, 1234);
	ck_assert_str_eq(config.log_level, "debug");
	setenv("OSTRAKON_API_LISTEN", "10.0.0.1:1234", 1);
	ck_assert_int_eq(node_config_environment(&config, &genesis, &message), ERR_CONFIG);
	setenv("OSTRAKON_API_LISTEN", "nonsense", 1);
	ck_assert_int_eq(node_config_environment(&config, &genesis, &message), ERR_CONFIG);
	ck_assert_ptr_nonnull(strstr(message.text, "OSTRAKON_API_LISTEN"));
	unsetenv("OSTRAKON_API_LISTEN");
	unsetenv("OSTRAKON_LOG");
}
END_TEST

START_TEST(test_host_port)
{
	struct node_peer_address a;
	ck_assert_int_eq(host_port_parse(&a, "[::1]:65535"), ERR_NONE);
	ck_assert_str_eq(a.host, "::1");
	ck_assert_uint_eq(a.port, 65535);
	static const char *const bad[] = {"",	     ":",	"a",	   "a:",    ":1",
					  "a:65536", "a:-1",	"a: 1",	   "a b:1", "::1:80",
					  "[]:1",    "[::1]",	"[::1:80", "a:1x",  "a/b:1",
					  "u@h:1",   "a:000001"};
	for (size_t i = 0; i < MEM_COUNT(bad); i++)
		ck_assert_msg(host_port_parse(&a, bad[i]) == ERR_SYNTAX, "%s", bad[i]);
	char text[400];
	memset(text, 'h', sizeof text);
	strcpy(text + 256, ":1");
	ck_assert_int_eq(host_port_parse(&a, text), ERR_SYNTAX);
	ck_assert_int_eq(host_port_parse(&a, text + 1), ERR_NONE);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("config");
	TCase *t = tcase_create("file");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_whole_file);
	tcase_add_test(t, test_defaults);
	tcase_add_test(t, test_unknown_keys);
	tcase_add_test(t, test_unknown_more);
	tcase_add_test(t, test_hosts);
	tcase_add_test(t, test_sections_together);
	tcase_add_test(t, test_bad_values);
	tcase_add_test(t, test_whole_rules);
	tcase_add_test(t, test_hostile_bytes);
	tcase_add_test(t, test_environment);
	tcase_add_test(t, test_host_port);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
