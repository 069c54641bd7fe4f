/* Options of the ostrakon program: one table for all verbs, so that an option has the same
 * name, type and help everywhere. A flag wins over OSTRAKON_* in the environment, which wins
 * over the default. */
#ifndef TOOLS_CLI_OPTIONS_H
#define TOOLS_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum option_id {
	OPT_HELP,
	OPT_VERSION,
	OPT_OUTPUT,
	OPT_COLOR,
	OPT_TIMEOUT,
	OPT_HOME,
	OPT_NODE,
	OPT_TOKEN_FILE,
	OPT_GENESIS,
	OPT_KEY,
	OPT_PASSPHRASE_FILE,
	OPT_PASSPHRASE_FD,
	OPT_NEW_PASSPHRASE_FILE,
	OPT_NEW_PASSPHRASE_FD,
	OPT_UNENCRYPTED,
	OPT_LABEL,
	OPT_WAIT,
	OPT_PROVE,
	OPT_PROOF_FILE,
	OPT_HEIGHT,
	OPT_FROM,
	OPT_ABSENT,
	OPT_NONCE,
	OPT_EXPIRY,
	OPT_SAVE,
	OPT_NO_SEND,
	OPT_NODES,
	OPT_BALANCE,
	OPT_CHECKPOINTS,
	OPT_PROBATION,
	OPT_PROTOCOL,
	OPT_PORT,
	OPT_LINES,
	OPT_LIMIT,
	OPT_CLIENTS,
	OPT_SECONDS,
	OPT_COUNT,
	OPT_VALUE_SIZE,
	OPT_KEYS,
	OPT_BATCH,
	OPT_RATE,
	OPT_WARMUP,
	OPT_LINEARIZABLE,
	OPT_VERIFY,
	OPT_ORIGIN,
	OPT_ONCE,
	OPT_INTERVAL,
	OPT_ANSWERS,
	OPT_CONNECTIONS,
	OPT_LEADER,
	OPT_NEW_KEY,
	OPT_GOVERNANCE_KEY,
	OPT_DRY_RUN,
	OPTIONS
};
#define OPT_BIT(id) (UINT64_C(1) << (id))

#define ARGS_MAX 64

struct options {
	const char *value[OPTIONS]; /* NULL: not given; "" for a flag that is set */
	bool from_environment[OPTIONS];
	char *arg[ARGS_MAX + 1]; /* what is not an option; NULL at the end */
	int arg_count;
};

/* Sorts argv (without argv[0]) into options and arguments; borrows the strings. Options may
 * stand anywhere, as --name VALUE, --name=VALUE, -o VALUE or -oVALUE; "--" ends them. Values
 * are checked by type here. ERR_SYNTAX: m says which was the first, why and what is near; those
 * after it are sorted all the same, so that -o may stand anywhere. */
int options_parse(struct options *o, int argc, char **argv, struct errmsg *m);
/* Fills in what flags left open from OSTRAKON_* (OSTRAKON_TOKEN_FILE for --token-file). */
int options_environment(struct options *o, struct errmsg *m);
/* Calls each(arg, name, near) for every variable of the environment that is near to one of
 * those and none of them, OSTRAKON_HOEM, unless is_other() knows it. What is near to none may
 * be anybody's. */
void options_misspelt(bool (*is_other)(const char *name),
		      void (*each)(void *arg, const char *name, const char *near), void *arg);
/* ERR_SYNTAX for an option given by flag that is not in allowed. */
int options_allowed(const struct options *o, uint64_t allowed, const char *verb,
		    struct errmsg *m);
void options_help(FILE *out, uint64_t allowed);
const char *option_name(enum option_id id);	/* without the dashes */
char option_letter(enum option_id id);		/* 0: none */
const char *option_argument(enum option_id id); /* as the help shows it; NULL: takes none */
const char *option_choices(enum option_id id);	/* "a|b", or NULL */
const char *option_help(enum option_id id);	/* lines */

static inline bool opt_given(const struct options *o, enum option_id id)
{
	return o->value[id] != NULL;
}
/* Values of checked types; fallback when not given. */
uint64_t opt_u64(const struct options *o, enum option_id id, uint64_t fallback);
uint64_t opt_ms(const struct options *o, enum option_id id, uint64_t fallback);

/* "250ms", "2.5s", "3m", "1h", or seconds without a unit; 1 ms to 1,000 hours. ERR_SYNTAX. */
int parse_duration_ms(uint64_t *out, const char *text);
/* Decimal digits only. ERR_SYNTAX, ERR_RANGE. */
int parse_u64(uint64_t *out, const char *text, uint64_t min, uint64_t max);
/* Of count words the one nearest to text by edit distance, or NULL if none is near. */
const char *meant_word(const char *text, const char *const *words, size_t count);

#endif
