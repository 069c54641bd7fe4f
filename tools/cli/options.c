#include "tools/cli/options.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/edit_distance.h"
#include "base/mem.h"

enum value_type { TYPE_FLAG, TYPE_TEXT, TYPE_U64, TYPE_DURATION, TYPE_CHOICE };

struct option_def {
	const char *name;
	char letter; /* 0: none */
	enum value_type type;
	bool environment;
	const char *arg; /* name of the value; choices separated by | */
	uint64_t min, max;
	const char *help;
};

static const struct option_def defs[OPTIONS] = {
	[OPT_HELP] = {"help", 'h', TYPE_FLAG, .help = "show this help"},
	[OPT_VERSION] = {"version", 'V', TYPE_FLAG, .help = "show the version"},
	[OPT_OUTPUT] = {"output", 'o', TYPE_CHOICE, true, "table|json|jsonl",
			.help = "form of the output (default table)"},
	[OPT_COLOR] = {"color", 0, TYPE_CHOICE, true, "auto|always|never",
		       .help = "color in tables (default auto; NO_COLOR turns it off)"},
	[OPT_TIMEOUT] = {"timeout", 't', TYPE_DURATION, true, "TIME",
			 .help = "give up after TIME, such as 500ms, 30s, 2m (default 30s)"},
	[OPT_HOME] =
		{"home", 0, TYPE_TEXT, true, "DIR",
		 .help = "network directory or a node's home (default ./ostrakon-network)"},
	[OPT_NODE] = {"node", 'n', TYPE_TEXT, true, "URL",
		      .help = "ask this node only: its API's URL, or its name in the network"},
	[OPT_TOKEN_FILE] =
		{"token-file", 0, TYPE_TEXT, true, "FILE",
		 .help = "access token for the nodes: FILE's first line, mode 0600\n"
			 "(default: what each node's configuration in the home names)"},
	[OPT_GENESIS] = {"genesis", 'g', TYPE_TEXT, true, "FILE",
			 .help = "genesis file to verify against (default: the home's)"},
	[OPT_KEY] = {"key", 'k', TYPE_TEXT, true, "FILE",
		     .help = "key that signs: a file, or a name from `key list`"},
	[OPT_PASSPHRASE_FILE] = {"passphrase-file", 0, TYPE_TEXT, true, "FILE",
				 .help = "read the passphrase from FILE's first line"},
	[OPT_PASSPHRASE_FD] = {"passphrase-fd", 0, TYPE_U64, false, "N", 0, 1023,
			       "read the passphrase from file descriptor N"},
	[OPT_NEW_PASSPHRASE_FILE] = {"new-passphrase-file", 0, TYPE_TEXT, false, "FILE",
				     .help = "read the new passphrase from FILE"},
	[OPT_NEW_PASSPHRASE_FD] = {"new-passphrase-fd", 0, TYPE_U64, false, "N", 0, 1023,
				   "read the new passphrase from file descriptor N"},
	[OPT_UNENCRYPTED] =
		{"unencrypted", 0, TYPE_FLAG,
		 .help = "store the key in plain; anyone who reads the file has it"},
	[OPT_LABEL] = {"label", 0, TYPE_TEXT, false, "TEXT",
		       .help = "label inside the key file (default: its name)"},
	[OPT_WAIT] = {"wait", 'w', TYPE_CHOICE, true, "accepted|committed",
		      .help = "return when a node has it, or when its certificate has been\n"
			      "verified (default committed)"},
	[OPT_PROVE] = {"prove", 0, TYPE_FLAG,
		       .help = "print the proof document, once it has been verified"},
	[OPT_PROOF_FILE] = {"proof-file", 0, TYPE_TEXT, false, "FILE",
			    .help = "also write the proof document to FILE"},
	[OPT_HEIGHT] = {"height", 0, TYPE_U64, false, "H", 0, UINT64_MAX,
			"at this height (default: the newest)"},
	[OPT_FROM] = {"from", 0, TYPE_TEXT, false, "FILE|CURSOR",
		      .help = "read many from FILE, one a line (- is standard input); of\n"
			      "`watch`: go on after CURSOR, HEIGHT or HEIGHT.INDEX; of\n"
			      "`member replace`: go on with what others have signed"},
	[OPT_ABSENT] = {"absent", 0, TYPE_FLAG,
			.help = "the key must be absent (instead of OLD)"},
	[OPT_NONCE] = {"nonce", 0, TYPE_U64, false, "N", 1, UINT64_MAX,
		       "nonce (default: a free one, asked from a node)"},
	[OPT_EXPIRY] = {"expiry", 0, TYPE_U64, false, "H", 1, UINT64_MAX,
			"last height at which it may take effect (default: asked)"},
	[OPT_SAVE] = {"save", 0, TYPE_TEXT, false, "FILE",
		      .help = "write the signed transaction to FILE before it is sent;\n"
			      "of `doctor` and `monitor`: the nodes' answers;\n"
			      "of `bench run`: what became of each one;\n"
			 "of `member replace`: what has been signed so far"},
	[OPT_NO_SEND] = {"no-send", 0, TYPE_FLAG, .help = "sign, save, send nothing"},
	[OPT_NODES] = {"nodes", 0, TYPE_U64, false, "N", 1, 64, "how many nodes (default 4)"},
	[OPT_BALANCE] = {"balance", 0, TYPE_U64, false, "AMOUNT", 0, INT64_MAX,
			 "the client key's initial balance (default 1000000000)"},
	[OPT_CHECKPOINTS] = {"checkpoint-interval", 0, TYPE_U64, false, "K", 1, 4096,
			     "heights between checkpoints (default 128)"},
	[OPT_PROBATION] = {"probation", 0, TYPE_U64, false, "P", 1, 1024,
			   "checkpoint intervals in pbft mode before the return to fast\n"
			   "(default 8)"},
	[OPT_PROTOCOL] = {"protocol", 0, TYPE_CHOICE, false, "hybrid|pbft|raft|multipaxos",
			  .help = "pbft: the hybrid's engine, never fast; raft, multipaxos:\n"
				  "crash faults only, nothing is proved (default hybrid)"},
	[OPT_PORT] = {"port", 0, TYPE_U64, false, "PORT", 1024, 65000,
		      "first port to try (default: chosen at random)"},
	[OPT_LINES] = {"lines", 0, TYPE_U64, false, "N", 1, 100000,
		       "how many last lines (default 20)"},
	[OPT_LIMIT] = {"limit", 0, TYPE_U64, false, "N", 1, 1000, "how many (default 20)"},
	[OPT_CLIENTS] = {"clients", 'c', TYPE_U64, false, "N", 1, 512,
			 "how many clients work side by side (default 16; 8 with --from\n"
			 "or --rate)"},
	[OPT_SECONDS] = {"seconds", 0, TYPE_U64, false, "N", 1, 86400,
			 "run that long (default 10)"},
	[OPT_COUNT] = {"count", 0, TYPE_U64, false, "N", 1, 100000000,
		       "stop after so many transactions; of `watch`: events;\n"
		       "of `monitor`: looks"},
	[OPT_VALUE_SIZE] = {"value-size", 0, TYPE_U64, false, "BYTES", 1, 65536,
			    "size of the values (default 64)"},
	[OPT_KEYS] = {"keys", 0, TYPE_U64, false, "N", 1, 100000000,
		      "write N keys in turn, again and again, from one run to the next\n"
		      "(default: each transaction writes a new one)"},
	[OPT_BATCH] = {"batch", 0, TYPE_U64, false, "N", 1, 256,
		       "most transactions in one request: of `put --from` (default 32), of\n"
		       "`bench run` (default 1; with --rate 32, fewer if so many could not\n"
		       "be under way on each connection)"},
	[OPT_RATE] = {"rate", 'r', TYPE_U64, false, "N", 1, 1000000,
		      "open loop: send N transactions a second, whatever comes back"},
	[OPT_WARMUP] = {"warmup", 0, TYPE_DURATION, false, "TIME",
			.help = "run that long before counting (default 0)"},
	[OPT_LINEARIZABLE] = {"linearizable", 0, TYPE_FLAG,
			      .help = "ask a quorum: the value is at least as new as any\n"
				      "acknowledged before the call"},
	[OPT_VERIFY] = {"verify", 0, TYPE_FLAG,
			.help = "check each proof again here, against the genesis file"},
	[OPT_ORIGIN] = {"origin", 0, TYPE_FLAG,
			.help = "say where each value comes from: file and line, or default"},
	[OPT_ONCE] = {"once", 0, TYPE_FLAG, .help = "show once, and end"},
	[OPT_INTERVAL] = {"interval", 0, TYPE_DURATION, false, "TIME",
			  .help = "time between two looks (default 1s)"},
	[OPT_ANSWERS] = {"answers", 0, TYPE_TEXT, false, "FILE",
			 .help = "ask nobody: analyse what --save wrote to FILE"},
	[OPT_CONNECTIONS] = {"connections", 0, TYPE_U64, false, "N", 1, 512,
			     "share N connections; what is ready together leaves in one\n"
			     "request (default: one for each client)"},
	[OPT_LEADER] = {"leader", 0, TYPE_FLAG,
			.help = "all connections to the node that leads, as long as it answers\n"
				"(default: shared out among the nodes)"},
	[OPT_NEW_KEY] = {"new-key", 0, TYPE_TEXT, false, "KEY",
			 .help = "the new key: 64 hex digits, or a key file, which may be\n"
				 "encrypted: only its public part is read"},
	[OPT_GOVERNANCE_KEY] = {"governance-key", 0, TYPE_TEXT, true, "FILES",
				.help = "governance keys that sign, with commas between:\n"
					"files, or names from `key list`"},
	[OPT_DRY_RUN] = {"dry-run", 0, TYPE_FLAG,
			 .help = "sign and check, send nothing"},
};

const char *option_name(enum option_id id)
{
	return defs[id].name;
}

char option_letter(enum option_id id)
{
	return defs[id].letter;
}

const char *option_argument(enum option_id id)
{
	return defs[id].arg;
}

const char *option_help(enum option_id id)
{
	return defs[id].help;
}

const char *option_choices(enum option_id id)
{
	return defs[id].type == TYPE_CHOICE ? defs[id].arg : NULL;
}

const char *meant_word(const char *text, const char *const *words, size_t count)
{
	return nearest_word(text, words, count, strlen(text) < 3 ? 2 : 3);
}

int parse_u64(uint64_t *out, const char *text, uint64_t min, uint64_t max)
{
	uint64_t v = 0;

	if (*text == '\0')
		return ERR_SYNTAX;
	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '9')
			return ERR_SYNTAX;
		if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return ERR_RANGE;
	}
	if (v < min || v > max)
		return ERR_RANGE;
	*out = v;
	return ERR_NONE;
}

int parse_duration_ms(uint64_t *out, const char *text)
{
	static const struct {
		const char *unit;
		double ms;
	} units[] = {{"", 1e3}, {"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}};
	char *end;
	double v;

	if (!isdigit((unsigned char)text[0]))
		return ERR_SYNTAX;
	if (strspn(text, "0123456789.") > 15)
		return ERR_SYNTAX;
	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
		return ERR_SYNTAX;
	v = strtod(text, &end);
	for (size_t i = 0; i < MEM_COUNT(units); i++) {
		if (strcmp(end, units[i].unit) != 0)
			continue;
		v = v * units[i].ms + 0.5;
		if (v < 1 || v > 1000 * 3600e3)
			return ERR_SYNTAX;
		*out = (uint64_t)v;
		return ERR_NONE;
	}
	return ERR_SYNTAX;
}

static bool is_choice(const char *choices, const char *value)
{
	size_t len = strlen(value);

	for (const char *p = choices; *p;) {
		size_t n = strcspn(p, "|");
		if (n == len && memcmp(p, value, n) == 0)
			return true;
		p += n + (p[n] == '|');
	}
	return false;
}

/* where: "--timeout" or "OSTRAKON_TIMEOUT". */
static int check_value(enum option_id id, const char *where, const char *value,
		       struct errmsg *m)
{
	const struct option_def *d = &defs[id];
	uint64_t v;
	int err;

	switch (d->type) {
	case TYPE_FLAG:
		break;
	case TYPE_TEXT:
		if (*value == '\0')
			return err_set(m, ERR_SYNTAX, "%s is empty; it takes %s", where,
				       d->arg);
		break;
	case TYPE_U64:
		err = parse_u64(&v, value, d->min, d->max);
		if (err == ERR_RANGE)
			return err_set(m, ERR_SYNTAX, "%s %s is out of range: %llu to %llu",
				       where, value, (unsigned long long)d->min,
				       (unsigned long long)d->max);
		if (err != ERR_NONE)
			return err_set(m, ERR_SYNTAX,
				       "%s takes a whole number from %llu to %llu, not \"%s\"",
				       where, (unsigned long long)d->min,
				       (unsigned long long)d->max, value);
		break;
	case TYPE_DURATION:
		if (parse_duration_ms(&v, value) != ERR_NONE)
			return err_set(
				m, ERR_SYNTAX,
				"%s takes a time such as 500ms, 30s or 2m, from 1ms to 1000h, "
				"not \"%s\"",
				where, value);
		break;
	case TYPE_CHOICE:
		if (!is_choice(d->arg, value))
			return err_set(m, ERR_SYNTAX, "%s takes %s, not \"%s\"", where, d->arg,
				       value);
		break;
	}
	return ERR_NONE;
}

static int unknown_option(const char *text, struct errmsg *m)
{
	const char *words[OPTIONS], *near;
	char name[64];

	snprintf(name, sizeof name, "%.*s", (int)strcspn(text, "="), text);
	for (int i = 0; i < OPTIONS; i++)
		words[i] = defs[i].name;
	near = meant_word(name + 2, words, OPTIONS);
	if (strncmp(name, "--", 2) == 0 && near != NULL)
		return err_set(m, ERR_SYNTAX, "unknown option %s; did you mean --%s?", name,
			       near);
	return err_set(
		m, ERR_SYNTAX,
		"unknown option %s; an argument that begins with a dash goes after \"--\"",
		name);
}

static int set_option(struct options *o, enum option_id id, const char *value, struct errmsg *m)
{
	char where[64];
	int err;

	snprintf(where, sizeof where, "--%s", defs[id].name);
	err = check_value(id, where, value, m);
	if (err == ERR_NONE)
		o->value[id] = value;
	return err;
}

static int find_long(const char *name, size_t len)
{
	for (int i = 0; i < OPTIONS; i++)
		if (strlen(defs[i].name) == len && memcmp(defs[i].name, name, len) == 0)
			return i;
	return -1;
}

static int find_letter(char letter)
{
	for (int i = 0; i < OPTIONS; i++)
		if (defs[i].letter == letter)
			return i;
	return -1;
}

/* One word of argv, with its value if that is the next one. Returns how many were taken, or an
 * error. */
static int parse_option(struct options *o, char **argv, int left, struct errmsg *m)
{
	char *text = argv[0];
	const char *value = NULL;
	int id, err, taken = 1;

	if (text[1] == '-') {
		size_t len = strcspn(text + 2, "=");
		id = find_long(text + 2, len);
		if (text[2 + len] == '=')
			value = text + 3 + len;
	} else {
		id = find_letter(text[1]);
		if (text[2] != '\0')
			value = text + 2;
	}
	if (id < 0)
		return unknown_option(text, m);
	if (defs[id].type == TYPE_FLAG) {
		if (value != NULL)
			return err_set(m, ERR_SYNTAX, "--%s takes no value", defs[id].name);
		value = "";
	} else if (value == NULL) {
		if (left == 1)
			return err_set(m, ERR_SYNTAX, "--%s needs a value: %s", defs[id].name,
				       defs[id].arg);
		value = argv[taken++];
	}
	err = set_option(o, (enum option_id)id, value, m);
	return err == ERR_NONE ? taken : err;
}

int options_parse(struct options *o, int argc, char **argv, struct errmsg *m)
{
	bool only_args = false;
	int first = ERR_NONE;

	memset(o, 0, sizeof *o);
	for (int i = 0, taken; i < argc; i += taken) {
		struct errmsg later;
		char *text = argv[i];

		taken = 1;
		if (only_args || text[0] != '-' || text[1] == '\0') {
			if (o->arg_count < ARGS_MAX)
				o->arg[o->arg_count++] = text;
			else if (first == ERR_NONE)
				first = err_set(m, ERR_SYNTAX, "more than %d arguments",
						ARGS_MAX);
		} else if (strcmp(text, "--") == 0) {
			only_args = true;
		} else {
			int n = parse_option(o, argv + i, argc - i,
					     first == ERR_NONE ? m : &later);
			if (n > 0)
				taken = n;
			else if (first == ERR_NONE)
				first = n;
		}
	}
	return first;
}

static void environment_name(char *out, size_t size, const char *option)
{
	size_t n = (size_t)snprintf(out, size, "OSTRAKON_%s", option);

	for (size_t i = 9; i < n && i < size; i++)
		out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
}

int options_environment(struct options *o, struct errmsg *m)
{
	for (int i = 0; i < OPTIONS; i++) {
		char name[64];
		const char *value;
		int err;

		if (!defs[i].environment || o->value[i] != NULL)
			continue;
		environment_name(name, sizeof name, defs[i].name);
		value = getenv(name);
		if (value == NULL || *value == '\0')
			continue;
		err = check_value((enum option_id)i, name, value, m);
		if (err != ERR_NONE)
			return err;
		o->value[i] = value;
		o->from_environment[i] = true;
	}
	return ERR_NONE;
}

void options_misspelt(bool (*is_other)(const char *name),
		      void (*each)(void *arg, const char *name, const char *near), void *arg)
{
	char known[OPTIONS][64];
	const char *words[OPTIONS], *near;
	size_t count = 0;

	for (int i = 0; i < OPTIONS; i++) {
		if (!defs[i].environment)
			continue;
		environment_name(known[count], sizeof known[0], defs[i].name);
		words[count] = known[count];
		count++;
	}
	for (char **v = environ; *v != NULL; v++) {
		char name[64];
		size_t len = strcspn(*v, "=");
		if (len >= sizeof name || strncmp(*v, "OSTRAKON_", 9) != 0)
			continue;
		memcpy(name, *v, len);
		name[len] = '\0';
		near = nearest_word(name, words, count, 3);
		/* Of KEY two letters are too many. */
		if (near == NULL || strcmp(near, name) == 0 || is_other(name) ||
		    2 * edit_distance(name, near) > strlen(near) - 9)
			continue;
		each(arg, name, near);
	}
}

int options_allowed(const struct options *o, uint64_t allowed, const char *verb,
		    struct errmsg *m)
{
	for (int i = 0; i < OPTIONS; i++) {
		if (o->value[i] != NULL && !o->from_environment[i] && !(allowed & OPT_BIT(i)))
			return err_set(m, ERR_SYNTAX, "`%s` has no option --%s", verb,
				       defs[i].name);
	}
	return ERR_NONE;
}

void options_help(FILE *out, uint64_t allowed)
{
	for (int i = 0; i < OPTIONS; i++) {
		const struct option_def *d = &defs[i];
		const char *line = d->help;
		char left[64];

		if (!(allowed & OPT_BIT(i)))
			continue;
		if (d->letter != 0)
			snprintf(left, sizeof left, "-%c, --%s%s%s", d->letter, d->name,
				 d->arg ? " " : "", d->arg ? d->arg : "");
		else
			snprintf(left, sizeof left, "    --%s%s%s", d->name, d->arg ? " " : "",
				 d->arg ? d->arg : "");
		if (strlen(left) > 30)
			fprintf(out, "  %s\n  %-30s", left, "");
		else
			fprintf(out, "  %-30s", left);
		for (;;) {
			size_t n = strcspn(line, "\n");
			fprintf(out, "  %.*s\n", (int)n, line);
			if (line[n] == '\0')
				break;
			line += n + 1;
			fprintf(out, "  %-30s", "");
		}
	}
}

uint64_t opt_u64(const struct options *o, enum option_id id, uint64_t fallback)
{
	uint64_t v = fallback;
	int err;

	invariant(defs[id].type == TYPE_U64);
	if (o->value[id] != NULL) {
		err = parse_u64(&v, o->value[id], defs[id].min, defs[id].max);
		invariant(err == ERR_NONE); /* options_parse() checked it */
	}
	return v;
}

uint64_t opt_ms(const struct options *o, enum option_id id, uint64_t fallback)
{
	uint64_t v = fallback;
	int err;

	invariant(defs[id].type == TYPE_DURATION);
	if (o->value[id] != NULL) {
		err = parse_duration_ms(&v, o->value[id]);
		invariant(err == ERR_NONE);
	}
	return v;
}
