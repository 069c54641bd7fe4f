/* What all verbs of the ostrakon program share: the context of one invocation, exit codes,
 * errors, output. */
#ifndef TOOLS_CLI_CLI_H
#define TOOLS_CLI_CLI_H

#include "base/json.h"
#include "crypto/hash.h"
#include "tools/cli/options.h"

enum exit_code { /* docs/man/ostrakon.1 lists them; never reuse a number */
		 EXIT_DONE = 0,
		 EXIT_REFUSED = 1, /* the node refused, or the transaction is invalid */
		 EXIT_USAGE = 2,
		 EXIT_UNREACHABLE = 3,
		 EXIT_UNKNOWN = 4, /* timed out, outcome unknown */
		 EXIT_UNVERIFIED = 5,
		 EXIT_NOT_FOUND = 6,
		 EXIT_LOCKED = 7, /* or in use, or there already */
		 EXIT_CONFIG = 78,
		 EXIT_INTERRUPTED = 130,
};

enum output_format { FORMAT_TABLE, FORMAT_JSON, FORMAT_JSONL };

struct cli {
	struct options opt;
	enum output_format format;
	bool color;
	bool hints;	   /* standard error is a terminal */
	uint64_t deadline; /* on now_ms()'s clock */
	uint64_t timeout_ms;
	FILE *out;
	FILE *err;
	/* The transaction at stake, named in every error from here on. */
	bool has_tx;
	struct hash tx;
};

struct verb {
	const char *name; /* "put", "net up" */
	const char *args; /* "KEY VALUE" */
	const char *summary;
	const char *text; /* a paragraph more, or NULL */
	uint64_t options;
	int args_min, args_max;
	int (*run)(struct cli *c); /* returns an exit code */
};
/* Those of every verb. */
#define GENERAL_OPTIONS                                                                        \
	(OPT_BIT(OPT_HELP) | OPT_BIT(OPT_VERSION) | OPT_BIT(OPT_OUTPUT) | OPT_BIT(OPT_COLOR))
extern const struct verb verbs[];
extern const size_t verb_count;

/* Runs one invocation; argv without the program's name. */
int cli_main(int argc, char **argv, FILE *out, FILE *err);

/* ---- errors ---------------------------------------------------------------------------- */

/* Says on standard error what happened and why, with hint (may be NULL) on what to do; with
 * -o json also as one object on standard output: {error, exit, message, hint, tx}. code is a
 * snake_case name. Returns exit. */
int cli_fail(struct cli *c, enum exit_code exit, const char *code, const char *hint,
	     const char *fmt, ...) __attribute__((format(printf, 5, 6)));
int cli_usage(struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The exit code that an error of a library means to a caller of this program. */
enum exit_code exit_of(int err);
/* cli_fail() for an error of a library with its text in m. */
int cli_fail_err(struct cli *c, int err, const struct errmsg *m, const char *hint);

/* A line on standard error, only if that is a terminal. */
/* On standard error, whatever the format: the command goes on. */
void cli_warn(struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cli_hint(struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Writes `tx <id>` to standard error and remembers the id for errors. */
void cli_announce_tx(struct cli *c, const struct hash *id);

/* ---- time and signals ------------------------------------------------------------------ */

uint64_t now_ms(void); /* monotonic */
uint64_t now_us(void);
uint64_t wall_ms(void);	    /* Unix time */
void sleep_ms(uint64_t ms); /* ends early when interrupted */
void interrupt_install(void);
bool interrupted(void);
uint64_t cli_time_left(const struct cli *c); /* ms until the deadline, 0 if past */

/* ---- output ---------------------------------------------------------------------------- */

/* A column shows member `key` of each row; dotted keys reach into objects. */
struct column {
	const char *title;
	const char *key;
};
/* rows: an array of objects. table: aligned columns with a head; json: the array; jsonl: an
 * element a line. Takes ownership. */
void out_rows(struct cli *c, const struct column *columns, size_t count, struct json *rows);
/* One object. table: a line for each member, `key  value`; json, jsonl: one line (json on a
 * terminal: indented). Takes ownership. */
void out_object(struct cli *c, struct json *object);
/* The same, but table prints text and a newline. */
void out_text(struct cli *c, const char *text, struct json *object);
/* A table of rows followed by other forms of doc: rows are member `member` of doc. */
void out_document(struct cli *c, const struct column *columns, size_t count, struct json *doc,
		  const char *member);
/* out_document, but jsonl prints the list's elements alone. */
void out_list(struct cli *c, const struct column *columns, size_t count, struct json *doc,
	      const char *member);
/* Shown form of a value in a table cell: mem_free. */
char *cell_text(const struct json *v);
#define TIME_TEXT_SIZE 32
/* Unix milliseconds as UTC to the second, such as 2026-01-31T09:00:00Z; the digits themselves
 * if that is no year of four. Returns out. */
char *time_text(char out[TIME_TEXT_SIZE], uint64_t ms);
/* What a terminal could take for a command becomes "?", in place: control characters, those of
 * one byte and the two-byte ones of UTF-8. */
void text_make_printable(char *text);
/* {value} if s is UTF-8, else {value: null, value_hex}. */
void json_set_bytes(struct json *object, const char *key, struct slice s);
struct json *json_hash(const struct hash *h);
/* A number that a node said: a string of digits where it is too large for ours. */
struct json *json_said(uint64_t v);
struct json *json_copy(const struct json *v);

#endif
