/* One invocation: finds the verb, checks its options, runs it; errors, time, signals. */
#include "tools/cli/verbs.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "config.h"
#include "crypto/sign.h"
#include "node/token.h"
#include "tools/cli/http.h"
#include "tools/cli/network.h"

/* ---- errors ---------------------------------------------------------------------------- */

static int fail_text(struct cli *c, enum exit_code exit, const char *code, const char *hint,
		     const char *message)
{
	if (c->format != FORMAT_TABLE) {
		struct json *o = json_object();
		json_set(o, "error", json_string(code));
		json_set(o, "exit", json_int(exit));
		json_set(o, "message", json_string(message));
		if (hint != NULL)
			json_set(o, "hint", json_string(hint));
		if (c->has_tx)
			json_set(o, "tx", json_hash(&c->tx));
		out_object(c, o);
	}
	fprintf(c->err, "ostrakon: %s\n", message);
	if (hint != NULL)
		fprintf(c->err, "  %s\n", hint);
	return exit;
}

int cli_fail(struct cli *c, enum exit_code exit, const char *code, const char *hint,
	     const char *fmt, ...)
{
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof message, fmt, ap);
	va_end(ap);
	return fail_text(c, exit, code, hint, message);
}

int cli_usage(struct cli *c, const char *fmt, ...)
{
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof message, fmt, ap);
	va_end(ap);
	return fail_text(c, EXIT_USAGE, "usage", "`ostrakon help` lists the verbs and options.",
			 message);
}

enum exit_code exit_of(int err)
{
	switch ((enum err)err) {
	case ERR_NONE:
		return EXIT_DONE;
	case ERR_TRUNCATED:
	case ERR_TRAILING:
	case ERR_NONCANONICAL:
	case ERR_WRONG_CHAIN:
	case ERR_BAD_SIGNATURE:
	case ERR_BAD_HASH:
	case ERR_BAD_LINK:
	case ERR_UNKNOWN_SIGNER:
	case ERR_DUPLICATE_SIGNER:
	case ERR_NO_QUORUM:
	case ERR_CULPRIT:
	case ERR_MODE:
	case ERR_BAD_PROOF:
	case ERR_BAD_STATE_ROOT:
	case ERR_VERSION:
		return EXIT_UNVERIFIED;
	case ERR_NOT_FOUND:
		return EXIT_NOT_FOUND;
	case ERR_EXISTS:
	case ERR_LOCKED:
		return EXIT_LOCKED;
	case ERR_TIMEOUT:
		return EXIT_UNKNOWN;
	case ERR_UNREACHABLE:
	case ERR_CLOSED:
		return EXIT_UNREACHABLE;
	case ERR_CONFIG:
	case ERR_CORRUPT:
	case ERR_PERMISSION:
		return EXIT_CONFIG;
	case ERR_SYNTAX:
	case ERR_PASSPHRASE:
		return EXIT_USAGE;
	case ERR_LIMIT:
	case ERR_RANGE:
	case ERR_IO:
	case ERR_BUSY:
	case ERR_UNSUPPORTED:
	case ERR_STALE:
	case ERR_TX_NONCE_USED:
	case ERR_TX_NONCE_WINDOW:
	case ERR_TX_EXPIRED:
	case ERR_TX_SENDER:
	case ERR_TX_EMPTY:
	case ERR_TX_HORIZON:
		return EXIT_REFUSED;
	}
	return EXIT_REFUSED;
}

int cli_fail_err(struct cli *c, int err, const struct errmsg *m, const char *hint)
{
	return cli_fail(c, exit_of(err), err_name(err), hint, "%s",
			m != NULL && m->text[0] ? m->text : err_text(err));
}

void cli_warn(struct cli *c, const char *fmt, ...)
{
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof message, fmt, ap);
	va_end(ap);
	fprintf(c->err, "ostrakon: %s\n", message);
}

void cli_hint(struct cli *c, const char *fmt, ...)
{
	va_list ap;

	if (!c->hints)
		return;
	va_start(ap, fmt);
	vfprintf(c->err, fmt, ap);
	va_end(ap);
	fputc('\n', c->err);
}

void cli_announce_tx(struct cli *c, const struct hash *id)
{
	char hex[HASH_HEX_SIZE];

	c->has_tx = true;
	c->tx = *id;
	fprintf(c->err, "tx %s\n", hash_hex(hex, id));
	fflush(c->err);
}

/* ---- time and signals ------------------------------------------------------------------ */

static volatile sig_atomic_t interrupt_seen;

static void on_interrupt(int number)
{
	interrupt_seen = 1;
}

void interrupt_install(void)
{
	struct sigaction sa = {.sa_handler = on_interrupt};

	sigemptyset(&sa.sa_mask);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

bool interrupted(void)
{
	return interrupt_seen != 0;
}

uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t now_ms(void)
{
	return now_us() / 1000;
}

uint64_t wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void sleep_ms(uint64_t ms)
{
	struct timespec ts = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

	while (nanosleep(&ts, &ts) != 0 && errno == EINTR && !interrupted())
		continue;
}

uint64_t cli_time_left(const struct cli *c)
{
	uint64_t now = now_ms();

	return c->deadline > now ? c->deadline - now : 0;
}

/* ---- help ------------------------------------------------------------------------------ */

static void print_version(struct cli *c)
{
	if (c->format == FORMAT_TABLE) {
		fprintf(c->out, "ostrakon %s\n", PACKAGE_VERSION);
	} else {
		struct json *o = json_object();
		json_set(o, "program", json_string("ostrakon"));
		json_set(o, "version", json_string(PACKAGE_VERSION));
		out_object(c, o);
	}
}

int verb_version(struct cli *c)
{
	print_version(c);
	return EXIT_DONE;
}

static void print_verbs(FILE *out, const char *group)
{
	size_t len = group ? strlen(group) : 0;

	for (size_t i = 0; i < verb_count; i++) {
		const struct verb *v = &verbs[i];
		char left[96];
		if (group && (strncmp(v->name, group, len) != 0 || v->name[len] != ' '))
			continue;
		snprintf(left, sizeof left, "%s %s", v->name, v->args);
		fprintf(out, "  %-34s%s%s\n", left,
			strlen(left) > 33 ? "\n                                    " : "",
			v->summary);
	}
}

static void print_help(FILE *out, const char *group)
{
	fprintf(out, "Usage: ostrakon VERB [ARGUMENTS] [OPTIONS]\n\n");
	if (group == NULL)
		fprintf(out, "Talks to a network of Ostrakon nodes and checks what they say "
			     "against its genesis file.\n\n");
	print_verbs(out, group);
	fprintf(out, "\nOptions of every verb:\n");
	options_help(out, GENERAL_OPTIONS);
	fprintf(out,
		"\n`ostrakon VERB --help` tells more. Options may also be given in the "
		"environment,\n"
		"such as OSTRAKON_HOME for --home.\n"
		"Exit codes: 0 done, 1 refused, 2 usage, 3 unreachable, 4 outcome unknown,\n"
		"5 verification failed, 6 not found, 7 locked or in use, 78 bad "
		"configuration,\n"
		"130 interrupted.\n");
}

static void print_verb_help(FILE *out, const struct verb *v)
{
	fprintf(out, "Usage: ostrakon %s%s%s [OPTIONS]\n\n%s\n", v->name,
		*v->args ? " " : "", v->args, v->summary);
	if (v->text != NULL)
		fprintf(out, "\n%s\n", v->text);
	fprintf(out, "\nOptions:\n");
	options_help(out, v->options | GENERAL_OPTIONS);
}

/* ---- dispatch -------------------------------------------------------------------------- */

static bool is_group(const char *word)
{
	size_t len = strlen(word);

	for (size_t i = 0; i < verb_count; i++)
		if (strncmp(verbs[i].name, word, len) == 0 && verbs[i].name[len] == ' ')
			return true;
	return false;
}

/* Takes the verb's words off the arguments. */
static const struct verb *find_verb(struct options *o)
{
	for (size_t i = 0; i < verb_count; i++) {
		const char *name = verbs[i].name;
		size_t first = strcspn(name, " ");
		int words = name[first] ? 2 : 1;

		if (o->arg_count < words || strlen(o->arg[0]) != first ||
		    memcmp(o->arg[0], name, first) != 0)
			continue;
		if (words == 2 && strcmp(o->arg[1], name + first + 1) != 0)
			continue;
		memmove(o->arg, o->arg + words,
			(size_t)(o->arg_count - words + 1) * sizeof *o->arg);
		o->arg_count -= words;
		return &verbs[i];
	}
	return NULL;
}

static int unknown_verb(struct cli *c)
{
	const char *words[128], *near;
	char text[80];
	bool group = is_group(c->opt.arg[0]);

	invariant(verb_count <= MEM_COUNT(words));
	if (group && c->opt.arg_count == 1) {
		if (c->format != FORMAT_TABLE)
			return cli_usage(c, "`%s` is the first word of several verbs",
					 c->opt.arg[0]);
		print_help(c->err, c->opt.arg[0]);
		return EXIT_USAGE;
	}
	snprintf(text, sizeof text, "%s%s%s", c->opt.arg[0], group ? " " : "",
		 group ? c->opt.arg[1] : "");
	for (size_t i = 0; i < verb_count; i++)
		words[i] = verbs[i].name;
	near = meant_word(text, words, verb_count);
	if (near != NULL)
		return cli_usage(c, "unknown verb \"%s\"; did you mean \"%s\"?", text, near);
	return cli_usage(c, "unknown verb \"%s\"", text);
}

static void setup_output(struct cli *c)
{
	const char *form = c->opt.value[OPT_OUTPUT], *color = c->opt.value[OPT_COLOR];
	const char *no_color = getenv("NO_COLOR");
	int fd = fileno(c->out);

	if (form != NULL)
		c->format = strcmp(form, "json") == 0	 ? FORMAT_JSON
			    : strcmp(form, "jsonl") == 0 ? FORMAT_JSONL
							 : FORMAT_TABLE;
	if (color != NULL && strcmp(color, "auto") != 0 && !c->opt.from_environment[OPT_COLOR])
		c->color = strcmp(color, "always") == 0;
	else if (no_color != NULL && *no_color)
		c->color = false;
	else if (color != NULL && strcmp(color, "auto") != 0)
		c->color = strcmp(color, "always") == 0;
	else
		c->color = fd >= 0 && isatty(fd);
	c->hints = fileno(c->err) >= 0 && isatty(fileno(c->err));
}

/* From the flag or OSTRAKON_TOKEN_FILE; or else from what a node is started with, if that needs
 * no home to be found (each home's is use_token()'s in network.c). */
static int read_token(struct cli *c)
{
	char token[TOKEN_SIZE];
	const char *path = c->opt.value[OPT_TOKEN_FILE], *where = "--token-file";
	struct errmsg m;

	if (path == NULL) {
		path = getenv(TOKEN_VARIABLE);
		where = TOKEN_VARIABLE;
		if (path == NULL || *path != '/')
			return EXIT_DONE;
	} else if (c->opt.from_environment[OPT_TOKEN_FILE]) {
		where = "OSTRAKON_TOKEN_FILE";
	}
	int err = token_read(token, path, where, &m);

	if (err != ERR_NONE)
		return cli_fail_err(c, err, &m,
				    "It must be a copy of the file that the node's [api] "
				    "token_file names, for your eyes only.");
	http_set_token(NULL, token);
	crypto_wipe(token, sizeof token);
	return EXIT_DONE;
}

static void on_misspelt(void *arg, const char *name, const char *near)
{
	struct cli *c = arg;

	fprintf(c->err, "ostrakon: nothing reads the environment variable %s%s%s%s\n", name,
		near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

static int run_verb(struct cli *c, const struct verb *v)
{
	struct errmsg m;
	int rc;

	if (opt_given(&c->opt, OPT_HELP)) {
		print_verb_help(c->out, v);
		return EXIT_DONE;
	}
	if (opt_given(&c->opt, OPT_VERSION)) {
		print_version(c);
		return EXIT_DONE;
	}
	if (options_allowed(&c->opt, v->options | GENERAL_OPTIONS, v->name, &m) != ERR_NONE)
		return cli_usage(c, "%s", m.text);
	if (c->opt.arg_count < v->args_min)
		return cli_usage(c, "`%s` needs %s; usage: ostrakon %s %s", v->name,
				 c->opt.arg_count == 0 ? "arguments" : "more arguments",
				 v->name, v->args);
	if (c->opt.arg_count > v->args_max)
		return cli_usage(c, "\"%s\" is one argument too many; usage: ostrakon %s %s",
				 c->opt.arg[v->args_max], v->name, v->args);
	if (v->options & OPT_BIT(OPT_TOKEN_FILE)) {
		rc = read_token(c);
		if (rc != EXIT_DONE)
			return rc;
	}
	if (v->options & OPT_BIT(OPT_NODE)) {
		rc = node_check(c);
		if (rc != EXIT_DONE)
			return rc;
	}
	c->timeout_ms = opt_ms(&c->opt, OPT_TIMEOUT, 30000);
	c->deadline = now_ms() + c->timeout_ms;
	rc = v->run(c);
	if (fflush(c->out) != 0 || ferror(c->out))
		rc = rc == EXIT_DONE
			     ? cli_fail(c, EXIT_REFUSED, "io", NULL,
					"writing the output failed: %s", strerror(errno))
			     : rc;
	return rc;
}

int cli_main(int argc, char **argv, FILE *out, FILE *err)
{
	struct cli *c = mem_zalloc(sizeof *c);
	const struct verb *v;
	struct errmsg m;
	int rc = EXIT_DONE, code;

	c->out = out;
	c->err = err;
	crypto_init();
	code = options_parse(&c->opt, argc, argv, &m);
	if (code == ERR_NONE)
		code = options_environment(&c->opt, &m);
	setup_output(c);
	/* A misspelt variable would be missed in silence. */
	options_misspelt(node_config_is_variable, on_misspelt, c);
	node_config_misspelt(on_misspelt, c);
	if (code != ERR_NONE) {
		rc = cli_usage(c, "%s", m.text);
		goto done;
	}
	if (c->opt.arg_count > 0 && strcmp(c->opt.arg[0], "help") == 0) {
		memmove(c->opt.arg, c->opt.arg + 1,
			(size_t)c->opt.arg_count * sizeof *c->opt.arg);
		c->opt.arg_count--;
		c->opt.value[OPT_HELP] = "";
	}
	if (c->opt.arg_count == 0) {
		bool asked = opt_given(&c->opt, OPT_HELP);
		if (opt_given(&c->opt, OPT_VERSION))
			print_version(c);
		else
			print_help(asked ? out : err, NULL);
		rc = asked || opt_given(&c->opt, OPT_VERSION) ? EXIT_DONE : EXIT_USAGE;
		goto done;
	}
	v = find_verb(&c->opt);
	if (v != NULL) {
		rc = run_verb(c, v);
	} else if (opt_given(&c->opt, OPT_HELP) && c->opt.arg_count == 1 &&
		   is_group(c->opt.arg[0])) {
		print_help(out, c->opt.arg[0]);
	} else {
		rc = unknown_verb(c);
	}
done:
	mem_free(c);
	return rc;
}
