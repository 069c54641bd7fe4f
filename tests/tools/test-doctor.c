/* The analysis, with answers that live networks gave (doctor-live.sh records them), and with
 * what no honest node would answer. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "suites.h"
#include "tools/cli/doctor.h"

static struct json *answers_of(const char *name)
{
	struct json *doc = NULL;
	char path[512];
	struct errmsg m;

	snprintf(path, sizeof path, ANSWERS "/%s.json", name);
	ck_assert_msg(json_parse_file(&doc, path, 1 << 20, &m) == ERR_NONE, "%s: %s", path,
		      m.text);
	return doc;
}

static const char *text_of(const struct json *o, const char *key)
{
	const char *text = NULL;

	ck_assert_msg(json_read_string(o, key, &text) == ERR_NONE, "no text \"%s\"", key);
	return text;
}

static bool flag_of(const struct json *o, const char *key)
{
	bool v = false;

	ck_assert_int_eq(json_read_bool(o, key, &v), ERR_NONE);
	return v;
}

static bool names(const struct json *list, const char *want)
{
	char all[256] = "";

	for (size_t i = 0; i < json_len(list); i++) {
		const char *name;
		ck_assert_int_eq(json_as_string(json_at(list, i), &name), ERR_NONE);
		strcat(strcat(all, i ? "," : ""), name);
	}
	return strcmp(all, want) == 0;
}

static const struct json *finding(const struct json *verdict, const char *cause)
{
	const struct json *list = json_get(verdict, "findings");

	for (size_t i = 0; i < json_len(list); i++)
		if (strcmp(text_of(json_at(list, i), "cause"), cause) == 0)
			return json_at(list, i);
	return NULL;
}

static const struct json *expect(const struct json *verdict, const char *cause,
				 const char *severity, const char *nodes)
{
	const struct json *f = finding(verdict, cause);
	char *shown = json_dump(verdict, true);

	ck_assert_msg(f != NULL, "no %s in %s", cause, shown);
	ck_assert_msg(names(json_get(f, "nodes"), nodes), "not %s in %s", nodes, shown);
	ck_assert_str_eq(text_of(f, "severity"), severity);
	ck_assert(*text_of(f, "text") && *text_of(f, "what_to_do"));
	ck_assert(!flag_of(verdict, "healthy"));
	mem_free(shown);
	return f;
}

static struct json *judge(const char *name)
{
	struct json *answers = answers_of(name), *verdict = doctor_analyse(answers);

	json_free(answers);
	return verdict;
}

START_TEST(healthy)
{
	struct json *v = judge("healthy");

	ck_assert(flag_of(v, "healthy") && flag_of(v, "progress"));
	ck_assert_uint_eq(json_len(json_get(v, "findings")), 0);
	ck_assert_uint_eq(json_len(json_get(v, "nodes")), 4);
	json_free(v);
}
END_TEST

START_TEST(one_dead)
{
	struct json *v = judge("one-dead");

	expect(v, "node_down", "warning", "node3");
	ck_assert_uint_eq(json_len(json_get(v, "findings")), 1);
	ck_assert(flag_of(v, "progress"));
	json_free(v);
}
END_TEST

START_TEST(two_dead)
{
	struct json *v = judge("two-dead");
	const struct json *f = expect(v, "quorum_lost", "error", "node3,node4"), *waiting;
	uint64_t ms;

	ck_assert_int_eq(json_read_u64(f, "since_ms", &ms), ERR_NONE);
	ck_assert_ptr_nonnull(strstr(text_of(f, "text"), "node3 (down)"));
	expect(v, "node_down", "error", "node3,node4");
	ck_assert_uint_eq(json_len(json_get(v, "findings")), 2);
	ck_assert(!flag_of(v, "progress"));
	waiting = json_get(v, "waiting");
	ck_assert_uint_gt(json_len(waiting), 0);
	for (size_t i = 0; i < json_len(waiting); i++)
		ck_assert(*text_of(json_at(waiting, i), "node") &&
			  *text_of(json_at(waiting, i), "what"));
	json_free(v);
}
END_TEST

START_TEST(stopped_leader)
{
	struct json *answers = answers_of("stopped-leader"), *v = doctor_analyse(answers);
	const struct json *f = finding(v, "node_stopped");
	struct json *node;

	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(strstr(text_of(f, "text"), "SIGSTOP"));
	ck_assert_ptr_nonnull(strstr(text_of(f, "what_to_do"), "resume"));
	ck_assert_ptr_null(finding(v, "node_down"));
	json_free(v);
	/* From elsewhere the process cannot be seen. */
	for (size_t i = 0; i < json_len(json_get(answers, "nodes")); i++) {
		node = json_at(json_get(answers, "nodes"), i);
		json_set(node, "process", json_null());
	}
	v = doctor_analyse(answers);
	f = finding(v, "node_hangs");
	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(strstr(text_of(f, "text"), "SIGSTOP"));
	json_free(v);
	json_free(answers);
}
END_TEST

START_TEST(wrong_genesis)
{
	struct json *v = judge("wrong-genesis");
	const struct json *f = expect(v, "wrong_genesis", "error", "node2");

	ck_assert_ptr_nonnull(strstr(text_of(f, "text"), "genesis"));
	ck_assert_uint_eq(json_len(json_get(v, "findings")),
			  1); /* its links are no second one */
	json_free(v);
}
END_TEST

/* What nobody said is not said. */
START_TEST(all_dead)
{
	struct json *answers = answers_of("two-dead"), *nodes = json_array(), *v;
	const struct json *old = json_get(answers, "nodes"), *f;

	for (size_t i = 0; i < json_len(old); i++) {
		struct json *node = json_copy(json_at(old, 3)); /* it is down */
		json_set(node, "name", json_copy(json_get(json_at(old, i), "name")));
		json_append(nodes, node);
	}
	json_set(answers, "nodes", nodes);
	v = doctor_analyse(answers);
	f = expect(v, "quorum_lost", "error", "node1,node2,node3,node4");
	ck_assert_ptr_nonnull(strstr(text_of(f, "text"), "none can. Missing are node1 (down)"));
	ck_assert_ptr_nonnull(strstr(text_of(f, "text"), "not even reads"));
	ck_assert_ptr_null(strstr(text_of(v, "summary"), "final height"));
	json_free(answers);
	json_free(v);
}
END_TEST

START_TEST(one_way)
{
	struct json *v = judge("one-way");
	const struct json *f = finding(v, "one_way_partition");

	ck_assert_ptr_nonnull(f);
	ck_assert(names(json_get(f, "nodes"), "node1,node3"));
	ck_assert_ptr_nonnull(strstr(text_of(f, "text"), "one direction"));
	ck_assert_ptr_null(finding(v, "node_down"));
	json_free(v);
}
END_TEST

START_TEST(disks)
{
	struct json *v = judge("full-disk");

	const struct json *full = expect(v, "disk_full", "error", "node4");
	uint64_t ms = 0;

	ck_assert(flag_of(v, "progress"));
	/* for as long as it has waited for its disk: it is not silent at all */
	ck_assert_int_eq(json_read_u64(full, "since_ms", &ms), ERR_NONE);
	ck_assert_uint_eq(ms, 190);
	ck_assert_ptr_nonnull(strstr(text_of(full, "text"), "0 MiB are free, less than the 64"));
	json_free(v);
	v = judge("enospc");
	expect(v, "disk_error", "error", "node4");
	json_free(v);
}
END_TEST

/* A node says when its disk is nearly full, by its own reserve. */
START_TEST(disk_low)
{
	struct json *answers = answers_of("healthy"), *disk = json_object(), *v;
	const struct json *node = json_at(json_get(answers, "nodes"), 1), *f;

	json_set(disk, "free_bytes", json_u64(UINT64_C(200) << 20));
	json_set(disk, "reserve_bytes", json_u64(UINT64_C(64) << 20));
	json_set(disk, "full", json_bool(false));
	json_set(disk, "low", json_bool(true));
	json_set((struct json *)json_get(node, "consensus"), "disk", disk);
	v = doctor_analyse(answers);
	f = expect(v, "disk_low", "warning", "node2");
	ck_assert_ptr_nonnull(strstr(text_of(f, "text"), "200 MiB are free. Below 64 MiB"));
	json_free(answers);
	json_free(v);
}
END_TEST

START_TEST(clock_off)
{
	struct json *v = judge("clock-off");
	const struct json *f = expect(v, "clock_off", "error", "node1");

	ck_assert_ptr_nonnull(strstr(text_of(f, "text"), "1 h 0 min ahead"));
	json_free(v);
}
END_TEST

/* ---- made by hand ---------------------------------------------------------------------- */

static struct json *parse(const char *text)
{
	struct json *v = NULL;
	struct errmsg m;
	char *json = mem_strdup(text);

	for (char *p = json; *p; p++) /* easier to write */
		if (*p == '\'')
			*p = '"';
	ck_assert_msg(json_parse(&v, slice_str(json), &m) == ERR_NONE, "%s", m.text);
	mem_free(json);
	return v;
}

/* Four nodes that answer, where links[i][j] says whether i has a link to j; node1 leads. */
static struct json *linked(const char links[4][5])
{
	struct json *doc = parse("{'n':4,'q':3}"), *nodes = json_array();

	for (unsigned i = 0; i < 4; i++) {
		struct json *o = json_object(), *status = json_object(), *peers = json_array();
		char name[8];
		for (unsigned j = 0; j < 4; j++) {
			struct json *p;
			if (j == i)
				continue;
			p = json_object();
			snprintf(name, sizeof name, "node%u", j + 1);
			json_set(p, "name", json_string(name));
			json_set(p, "connected", json_bool(links[i][j] == '1'));
			json_append(peers, p);
		}
		snprintf(name, sizeof name, "node%u", i + 1);
		json_set(o, "name", json_string(name));
		json_set(o, "reach", json_string("answered"));
		json_set(status, "role", json_string(i == 0 ? "leader" : "follower"));
		json_set(status, "leader", json_string("node1"));
		json_set(status, "term", json_string("3"));
		json_set(status, "final_height", json_string("7"));
		json_set(status, "peers", peers);
		json_set(o, "status", status);
		json_append(nodes, o);
	}
	json_set(doc, "nodes", nodes);
	return doc;
}

static struct json *judge_links_of(const char links[4][5])
{
	struct json *doc = linked(links), *v = doctor_analyse(doc);

	json_free(doc);
	return v;
}

START_TEST(partitions)
{
	struct json *v = judge_links_of((const char[4][5]){".111", "1.11", "11.1", "111."});

	ck_assert(flag_of(v, "healthy"));
	json_free(v);
	/* each half sees itself only */
	v = judge_links_of((const char[4][5]){".100", "1.00", "00.1", "001."});
	expect(v, "partition", "error", "node1,node2,node3,node4");
	ck_assert(!flag_of(v, "progress"));
	json_free(v);
	/* node4 alone: the others go on */
	v = judge_links_of((const char[4][5]){".110", "1.10", "11.0", "000."});
	expect(v, "node_isolated", "warning", "node4");
	ck_assert(flag_of(v, "progress"));
	ck_assert_uint_eq(json_len(json_get(v, "findings")), 1);
	json_free(v);
	/* node4 hears nobody, but is heard */
	v = judge_links_of((const char[4][5]){".111", "1.11", "11.1", "000."});
	expect(v, "one_way_partition", "warning", "node4");
	json_free(v);
	v = judge_links_of((const char[4][5]){".101", "1.11", "01.1", "111."});
	expect(v, "link_down", "warning", "node1,node3");
	json_free(v);
	v = judge_links_of((const char[4][5]){".101", "1.11", "11.1", "111."});
	expect(v, "one_way_partition", "warning", "node1,node3");
	json_free(v);
}
END_TEST

START_TEST(other_causes)
{
	struct json *doc, *v, *node;

	doc = linked((const char[4][5]){".111", "1.11", "11.1", "111."});
	node = json_at(json_get(doc, "nodes"), 1);
	json_set(json_get(node, "status"), "halted", json_string("its state root differs"));
	v = doctor_analyse(doc);
	expect(v, "node_halted", "error", "node2");
	json_free(v);
	json_set(json_get(node, "status"), "halted", json_null());
	json_set(json_get(node, "status"), "observer", json_string("its votes are missing"));
	v = doctor_analyse(doc);
	expect(v, "node_observer", "warning", "node2");
	json_free(v);
	json_set(json_get(node, "status"), "observer", json_null());
	for (size_t i = 0; i < 4; i++) /* all but the second have a newer set of validators */
		json_set(json_get(json_at(json_get(doc, "nodes"), i), "status"), "epoch",
			 json_string(i == 1 ? "2" : "3"));
	v = doctor_analyse(doc);
	expect(v, "epoch_behind", "warning", "node2");
	json_free(v);
	json_set(json_get(node, "status"), "epoch", json_string("3"));
	json_set(json_get(node, "status"), "state_root", json_string("aa"));
	json_set(json_get(json_at(json_get(doc, "nodes"), 2), "status"), "state_root",
		 json_string("bb"));
	v = doctor_analyse(doc);
	expect(v, "diverged", "error", "node2,node3");
	json_free(v);
	json_set(json_get(node, "status"), "state_root", json_string("bb"));
	json_set(json_get(node, "status"), "final_height", json_string("7000"));
	v = doctor_analyse(doc);
	expect(v, "node_behind", "warning", "node1");
	json_free(v);
	json_free(doc);

	doc = linked((const char[4][5]){".111", "1.11", "11.1", "111."});
	json_set(json_at(json_get(doc, "nodes"), 3), "clock_offset_ms", json_int(-5000));
	for (size_t i = 0; i < 3; i++)
		json_set(json_at(json_get(doc, "nodes"), i), "clock_offset_ms", json_int(3));
	v = doctor_analyse(doc);
	expect(v, "clock_drift", "warning", "node4");
	json_free(v);
	/* it is the asker's own clock that is wrong: nobody is blamed */
	for (size_t i = 0; i < 4; i++)
		json_set(json_at(json_get(doc, "nodes"), i), "clock_offset_ms",
			 json_int(7200000));
	v = doctor_analyse(doc);
	ck_assert(flag_of(v, "healthy"));
	json_free(v);
	for (size_t i = 0; i < 4; i++)
		json_set(json_get(json_at(json_get(doc, "nodes"), i), "status"), "leader",
			 json_null());
	v = doctor_analyse(doc);
	expect(v, "no_leader", "error", "node1,node2,node3,node4");
	ck_assert(!flag_of(v, "progress"));
	json_free(v);
	json_set(json_at(json_get(doc, "nodes"), 0), "config_error", json_string("line 3"));
	v = doctor_analyse(doc);
	expect(v, "bad_config", "error", "node1");
	json_free(v);
	json_free(doc);
}
END_TEST

/* An answer may lack anything, and say anything. */
START_TEST(any_form)
{
	static const char *const texts[] = {
		"{}",
		"[]",
		"1",
		"{'nodes':null}",
		"{'nodes':[]}",
		"{'nodes':[{},1,null,[],{'name':''}]}",
		"{'n':99,'q':100,'nodes':[{'name':'a','reach':'answered'}]}",
		"{'n':0,'nodes':[{'name':7,'reach':7,'process':{},'status':[],'consensus':3}]}",
		"{'nodes':[{'name':'a','reach':'answered','clock_offset_ms':'-','status':"
		"{'peers':{'name':'a'},'term':'-1'},'consensus':{'waiting':[1,{},{'who':{}}],"
		"'disk':[],'peers':[{'name':'a'},{'name':'b','connected':1}]}}]}",
		"{'nodes':[{'name':'a','clock_offset_ms':'-9223372036854775807'},"
		"{'name':'b','clock_offset_ms':'9223372036854775807'}]}",
	};

	for (size_t i = 0; i < MEM_COUNT(texts); i++) {
		struct json *doc = parse(texts[i]), *v = doctor_analyse(doc);
		ck_assert(json_is_array(json_get(v, "findings")));
		flag_of(v, "healthy");
		json_free(v);
		json_free(doc);
	}
}
END_TEST

/* Takes one member after another out of true answers, or puts something else in its place. */
static void damage(struct random *r, struct json *v)
{
	size_t at = json_len(v) ? random_below(r, json_len(v)) : 0;
	struct json *child;
	const char *key;

	if (json_is_object(v) && json_len(v) > 0) {
		key = json_key_at(v, at);
		child = json_get(v, key);
		if (random_below(r, 4) > 0 && json_len(child) > 0) {
			damage(r, child);
			return;
		}
		switch (random_below(r, 4)) {
		case 0:
			json_set(v, key, json_null());
			break;
		case 1:
			json_set(v, key, json_string("\x1b[2J refused"));
			break;
		case 2:
			json_set(v, key, json_u64_string(random_u64(r)));
			break;
		default:
			json_set(v, key, json_array());
			break;
		}
	} else if (json_is_array(v) && json_len(v) > 0) {
		damage(r, json_at(v, at));
	}
}

START_TEST(damaged_answers)
{
	static const char *const names_of[] = {"two-dead", "one-way", "full-disk",
					       "wrong-genesis"};
	struct random r;

	random_seed(&r, (uint64_t)_i);
	for (unsigned round = 0; round < 100; round++) {
		struct json *doc = answers_of(names_of[random_below(&r, 4)]), *v;
		char *text;
		for (uint64_t k = 0; k < 1 + random_below(&r, 20); k++)
			damage(&r, doc);
		v = doctor_analyse(doc);
		ck_assert(json_is_array(json_get(v, "findings")));
		text = json_dump(v, false);
		ck_assert_ptr_null(strchr(text, '\x1b'));
		mem_free(text);
		json_free(v);
		json_free(doc);
	}
}
END_TEST

START_TEST(durations)
{
	static const struct {
		uint64_t ms;
		const char *text;
	} cases[] = {{0, "0 ms"},
		     {999, "999 ms"},
		     {1000, "1.0 s"},
		     {59999, "59.9 s"},
		     {60000, "1 min 0 s"},
		     {3599999, "59 min 59 s"},
		     {3600000, "1 h 0 min"},
		     {7323000, "2 h 2 min"}};

	for (size_t i = 0; i < MEM_COUNT(cases); i++) {
		char text[32];
		duration_text(text, cases[i].ms);
		ck_assert_str_eq(text, cases[i].text);
	}
}
END_TEST

Suite *doctor_suite(void)
{
	Suite *s = suite_create("doctor");
	TCase *t = tcase_create("recorded");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, healthy);
	tcase_add_test(t, one_dead);
	tcase_add_test(t, two_dead);
	tcase_add_test(t, all_dead);
	tcase_add_test(t, disk_low);
	tcase_add_test(t, stopped_leader);
	tcase_add_test(t, wrong_genesis);
	tcase_add_test(t, one_way);
	tcase_add_test(t, disks);
	tcase_add_test(t, clock_off);
	suite_add_tcase(s, t);
	t = tcase_create("made");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, partitions);
	tcase_add_test(t, other_causes);
	tcase_add_test(t, any_form);
	tcase_add_loop_test(t, damaged_answers, 0, 10);
	tcase_add_test(t, durations);
	suite_add_tcase(s, t);
	return s;
}
