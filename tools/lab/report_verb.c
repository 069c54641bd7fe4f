/* ostrakon-lab report RUN.json... [--out DIR] */
#include <config.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/mem.h"
#include "tools/lab/lab.h"
#include "tools/lab/report.h"

#define PAGE_MAX (256u << 20)

/* SOURCE_DATE_EPOCH makes a page that is built twice the same. */
static void made_by(char *out, size_t size)
{
	const char *epoch = getenv("SOURCE_DATE_EPOCH");
	time_t at = epoch ? (time_t)strtoll(epoch, NULL, 10) : time(NULL);
	struct tm tm;
	char day[32] = "an unknown day";
	if (gmtime_r(&at, &tm))
		strftime(day, sizeof day, "%Y-%m-%d", &tm);
	snprintf(out, size, "Made by ostrakon-lab %s on %s", PACKAGE_VERSION, day);
}

/* Written beside and renamed, so that a full disk leaves the old one. */
static int save(const char *dir, const char *name, struct writer *w)
{
	char *path = mem_printf("%s/%s", dir, name),
	     *fresh = mem_printf("%s/%s.new", dir, name);
	int code = LAB_EXIT_FAILED;
	FILE *f = w->err ? NULL : fopen(fresh, "we");
	if (w->err) {
		fprintf(stderr, "ostrakon-lab: %s would be larger than %u MiB\n", path,
			PAGE_MAX >> 20);
	} else {
		bool ok = f && fwrite(w->buf, 1, w->len, f) == w->len;
		ok = f && fclose(f) == 0 && ok;
		if (ok && rename(fresh, path) == 0)
			code = LAB_EXIT_OK;
		else
			fprintf(stderr, "ostrakon-lab: cannot write %s: %s\n", path,
				strerror(errno));
	}
	if (code == LAB_EXIT_OK)
		printf("%s\n", path);
	mem_free(fresh);
	mem_free(path);
	return code;
}

static int write_all(const struct report *r, const char *dir)
{
	static const char *const names[] = {"report.html", "results.csv", "results.json"};
	int code = LAB_EXIT_OK;
	char made[120];
	made_by(made, sizeof made);
	if (mkdir(dir, 0777) && errno != EEXIST) {
		fprintf(stderr, "ostrakon-lab: cannot make %s: %s\n", dir, strerror(errno));
		return LAB_EXIT_FAILED;
	}
	for (unsigned i = 0; i < MEM_COUNT(names) && !code; i++) {
		struct writer w;
		writer_init(&w, PAGE_MAX);
		if (i == 0)
			report_html(&w, r, made);
		else if (i == 1)
			report_csv(&w, r);
		else
			report_json(&w, r);
		code = save(dir, names[i], &w);
		writer_free(&w);
	}
	return code;
}

int lab_report(int argc, char **argv)
{
	static const struct option options[] = {
		{"out", 1, 0, 'O'}, {"help", 0, 0, 'h'}, {0, 0, 0, 0}};
	const char *dir = "report";
	for (int opt; (opt = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
		if (opt == 'h') {
			printf("usage: ostrakon-lab report RUN.json... [--out DIR]\n\nDIR "
			       "(default: "
			       "report) gets report.html, results.csv and results.json of the "
			       "results in the\nfiles, JSON or JSONL, \"-\" for standard "
			       "input.\n");
			return LAB_EXIT_OK;
		}
		if (opt != 'O') {
			lab_bad_option(argv, options);
			fputs("Try `ostrakon-lab --help`.\n", stderr);
			return LAB_EXIT_USAGE;
		}
		dir = optarg;
	}
	if (optind == argc) {
		fputs("ostrakon-lab: report needs the files of runs: ostrakon-lab sim NAME -o "
		      "json "
		      "> RUN.json\n",
		      stderr);
		return LAB_EXIT_USAGE;
	}
	struct report r = {0};
	struct errmsg m = {""};
	int code = LAB_EXIT_OK;
	for (int i = optind; i < argc && !code; i++)
		if (report_read(&r, argv[i], &m)) {
			fprintf(stderr, "ostrakon-lab: %s\n", m.text);
			code = LAB_EXIT_CONFIG;
		}
	report_sort(&r);
	if (!code)
		code = write_all(&r, dir);
	report_free(&r);
	return code;
}
