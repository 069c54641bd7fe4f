/* monitor: a live view of a network on a terminal; one look elsewhere. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/cli/client.h"
#include "tools/cli/doctor.h"
#include "tools/cli/lines.h"
#include "tools/cli/modes.h"
#include "tools/cli/monitor.h"
#include "tools/cli/verbs.h"

#define ASK_MS	     1500
#define MODE_PAGES   64 /* of a look; the next look goes on */
#define MODES_KEPT   32
#define INTERVAL_MS  1000
#define SCREEN_ENTER "\033[?1049h\033[?25l"
#define SCREEN_LEAVE "\033[?25h\033[?1049l"
#define BLOCKS_PATH  "/v1/blocks?limit=100"

struct monitor {
	struct cli *c;
	struct json *modes;  /* the newest entries seen; of one chain */
	uint64_t modes_next; /* height to ask from */
};

/* The answering node that is furthest: its address, or NULL. */
static const char *furthest(const struct json *answers, const char **name)
{
	const struct json *nodes = json_get(answers, "nodes");
	const char *best = NULL, *url;
	uint64_t best_height = 0, height;

	for (size_t i = 0; i < json_len(nodes); i++) {
		const struct json *o = json_at(nodes, i);
		if (json_read_u64(json_get(o, "status"), "final_height", &height) != ERR_NONE ||
		    json_read_string(o, "api", &url) != ERR_NONE ||
		    (best != NULL && height <= best_height))
			continue;
		best = url;
		best_height = height;
		json_read_string(o, "name", name);
	}
	return best;
}

static struct json *ask(struct link *l, const char *path)
{
	if (link_call(l, 0, "GET", path, NULL, slice_of(NULL, 0), ASK_MS) != ERR_NONE ||
	    l->reply.status != 200 || l->answer == NULL)
		return NULL;
	return json_copy(l->answer);
}

/* Keeps the newest entries only; the list of a chain grows at its end. */
static void keep_modes(struct monitor *m, const struct json *entries, size_t fresh)
{
	struct json *all = json_array();
	size_t old = json_len(m->modes);
	size_t skip = old + fresh > MODES_KEPT ? old + fresh - MODES_KEPT : 0;

	for (size_t i = skip; i < old + fresh; i++)
		json_append(all, json_copy(i < old ? json_at(m->modes, i)
						   : json_at(entries, i - old)));
	json_free(m->modes);
	m->modes = all;
}

static void look_at_modes(struct monitor *m, struct link *l)
{
	size_t got = 1;

	for (unsigned page = 0; page < MODE_PAGES && got > 0; page++) {
		char path[64];
		struct json *answer;
		snprintf(path, sizeof path, "/v1/modes?from=%llu",
			 (unsigned long long)m->modes_next);
		answer = ask(l, path);
		got = modes_page(json_get(answer, "entries"), &m->modes_next);
		keep_modes(m, json_get(answer, "entries"), got);
		json_free(answer);
	}
}

static void look_further(struct monitor *m, struct json *answers)
{
	struct target *t = mem_zalloc(sizeof *t);
	struct json *blocks, *modes = json_object();
	const char *name = "", *url = furthest(answers, &name);
	struct link l;

	if (url != NULL && target_of_url(m->c, t, url) == EXIT_DONE) {
		json_set(answers, "asked", json_string(name));
		link_open(&l, t, 0);
		blocks = ask(&l, BLOCKS_PATH);
		if (blocks != NULL)
			json_set(answers, "blocks", blocks);
		look_at_modes(m, &l);
		link_close(&l);
	}
	json_set(modes, "entries", json_copy(m->modes));
	json_set(answers, "modes", modes);
	target_close(t);
	mem_free(t);
}

/* One look. NULL: an error was printed, its code in *rc. */
static struct json *look(struct monitor *m, int *rc)
{
	struct cli *c = m->c;
	struct json *answers, *frame;
	struct errmsg why;
	char *text;

	*rc = EXIT_DONE;
	c->deadline = now_ms() + c->timeout_ms;
	if (opt_given(&c->opt, OPT_ANSWERS)) {
		answers = doctor_answers_file(c, rc);
	} else {
		answers = doctor_collect(c, rc);
		if (answers != NULL)
			look_further(m, answers);
	}
	if (answers == NULL)
		return NULL;
	if (opt_given(&c->opt, OPT_SAVE)) {
		text = json_dump(answers, true);
		if (file_write(c->opt.value[OPT_SAVE], slice_str(text), &why) != ERR_NONE)
			*rc = cli_fail(c, EXIT_REFUSED, "io", NULL, "%s", why.text);
		mem_free(text);
	}
	frame = *rc == EXIT_DONE ? monitor_frame(answers) : NULL;
	json_free(answers);
	return frame;
}

static void show(struct monitor *m, struct json *frame, bool live)
{
	struct cli *c = m->c;
	FILE *out = c->out;
	struct winsize size = {0};
	char *text = NULL;
	size_t len;

	if (c->format != FORMAT_TABLE) {
		out_object(c, json_copy(frame));
	} else if (!live) {
		monitor_print(c, frame);
	} else {
		c->out = open_memstream(&text, &len);
		invariant(c->out != NULL);
		monitor_print(c, frame);
		fclose(c->out);
		c->out = out;
		if (ioctl(fileno(out), TIOCGWINSZ, &size) != 0 || size.ws_row == 0 ||
		    size.ws_col == 0)
			size = (struct winsize){.ws_row = 24, .ws_col = 80};
		monitor_paint(out, text, size.ws_row, size.ws_col);
		free(text);
	}
	fflush(out);
}

int verb_monitor(struct cli *c)
{
	struct monitor m = {.c = c, .modes = json_array()};
	bool terminal = fileno(c->out) >= 0 && isatty(fileno(c->out));
	bool live = terminal && c->format == FORMAT_TABLE && !opt_given(&c->opt, OPT_ONCE) &&
		    !opt_given(&c->opt, OPT_ANSWERS);
	uint64_t interval = opt_ms(&c->opt, OPT_INTERVAL, INTERVAL_MS), reached = 0;
	uint64_t left = opt_u64(&c->opt, OPT_COUNT, live ? UINT64_MAX : 1);
	int rc = EXIT_DONE;

	if (opt_given(&c->opt, OPT_ONCE))
		left = 1;
	if (live)
		fputs(SCREEN_ENTER, c->out);
	while (left > 0 && rc == EXIT_DONE && !interrupted() && !ferror(c->out)) {
		uint64_t begin = now_ms(), spent;
		struct json *frame = look(&m, &rc);
		if (frame == NULL)
			break;
		show(&m, frame, live);
		json_read_u64(frame, "reached", &reached);
		json_free(frame);
		spent = now_ms() - begin;
		if (--left > 0 && spent < interval)
			sleep_ms(interval - spent);
	}
	if (live)
		fputs(SCREEN_LEAVE, c->out);
	json_free(m.modes);
	if (rc == EXIT_DONE && interrupted())
		rc = EXIT_INTERRUPTED;
	else if (rc == EXIT_DONE && reached == 0)
		rc = cli_fail(c, EXIT_UNREACHABLE, "unreachable",
			      "`ostrakon doctor` says what is wrong.", "no node answers");
	return rc;
}
