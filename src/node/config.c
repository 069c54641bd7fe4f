#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/config.h"

#define CONFIG_FILE_MAX	       (1u << 20)
#define CONFIG_LINE_MAX	       199 /* INI_MAX_LINE of the inih that is installed, less a zero */
#define CONFIG_CONNECTIONS_MAX 65535
#define CONFIG_THREADS_MAX     64
#define CONFIG_MS_MAX	       3600000
#define SUGGESTION_DISTANCE    3 /* a typing error, not another word */

enum config_section {
	SECTION_NODE,
	SECTION_PEERS,
	SECTION_API,
	SECTION_TIMING,
	SECTION_LIMITS
};
static const char *const section_names[] = {"node", "peers", "api", "timing", "limits"};

enum config_key {
	KEY_NAME,
	KEY_LOG,
	KEY_LOG_FORMAT,
	KEY_PEERS_LISTEN,
	KEY_API_LISTEN,
	KEY_HEARTBEAT,
	KEY_TIMEOUT_MIN,
	KEY_TIMEOUT_MAX,
	KEY_TIMEOUT_CAP,
	KEY_VERIFY_THREADS,
	KEY_API_CONNECTIONS,
	KEY_PIPELINE,
	KEY_HISTORY,
	KEYS
};
static const struct {
	enum config_section section;
	const char *name;
} keys[KEYS] = {
	[KEY_NAME] = {SECTION_NODE, "name"},
	[KEY_LOG] = {SECTION_NODE, "log"},
	[KEY_LOG_FORMAT] = {SECTION_NODE, "log_format"},
	[KEY_PEERS_LISTEN] = {SECTION_PEERS, "listen"},
	[KEY_API_LISTEN] = {SECTION_API, "listen"},
	[KEY_HEARTBEAT] = {SECTION_TIMING, "heartbeat"},
	[KEY_TIMEOUT_MIN] = {SECTION_TIMING, "timeout_min"},
	[KEY_TIMEOUT_MAX] = {SECTION_TIMING, "timeout_max"},
	[KEY_TIMEOUT_CAP] = {SECTION_TIMING, "timeout_cap"},
	[KEY_VERIFY_THREADS] = {SECTION_LIMITS, "verify_threads"},
	[KEY_API_CONNECTIONS] = {SECTION_LIMITS, "api_connections"},
	[KEY_PIPELINE] = {SECTION_LIMITS, "pipeline"},
	[KEY_HISTORY] = {SECTION_LIMITS, "history"},
};

struct parse {
	struct node_config *c;
	const struct genesis *g;
	struct errmsg *m;
	char path[CONFIG_PATH_MAX + 32];
	const char *text;
	size_t left;
	int line;
	int line_of_key[KEYS];
	int line_of_peer[VALIDATORS_MAX];
	int err; /* the first one stays */
};

__attribute__((format(printf, 2, 3))) static int fail(struct parse *p, const char *fmt, ...)
{
	if (p->err != ERR_NONE)
		return 0;
	va_list ap;
	va_start(ap, fmt);
	char text[sizeof(p->m->text)];
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	p->err = err_set(p->m, ERR_CONFIG, "%s:%d: %s", p->path, p->line, text);
	return 0;
}

/* Levenshtein distance, for words of at most CONFIG_LINE_MAX letters. */
static unsigned edit_distance(const char *a, const char *b)
{
	unsigned row[CONFIG_LINE_MAX + 2];
	size_t n = strlen(b);
	if (n > CONFIG_LINE_MAX)
		return UINT_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; a[i - 1]; i++) {
		unsigned diagonal = row[0];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= n; j++) {
			unsigned best = diagonal + (a[i - 1] != b[j - 1]);
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = row[j];
			row[j] = best;
		}
	}
	return row[n];
}

struct suggestion {
	const char *word;
	unsigned distance;
};

static void suggest(struct suggestion *s, const char *typed, const char *known)
{
	unsigned d = edit_distance(typed, known);
	if (d > SUGGESTION_DISTANCE || d >= strlen(known) || (s->word && s->distance <= d))
		return;
	*s = (struct suggestion){.word = known, .distance = d};
}

/* `, did you mean "x"?`, or nothing */
static const char *did_you_mean(char out[96], const struct suggestion *s)
{
	out[0] = 0;
	if (s->word)
		snprintf(out, 96, ", did you mean \"%s\"?", s->word);
	return out;
}

static int unknown_section(struct parse *p, const char *section)
{
	struct suggestion s = {0};
	for (size_t i = 0; i < MEM_COUNT(section_names); i++)
		suggest(&s, section, section_names[i]);
	char hint[96];
	return fail(p, "unknown section [%s]%s", section, did_you_mean(hint, &s));
}

static int unknown_key(struct parse *p, enum config_section section, const char *name)
{
	struct suggestion s = {0};
	for (int k = 0; k < KEYS; k++)
		if (keys[k].section == section)
			suggest(&s, name, keys[k].name);
	for (unsigned i = 0; section == SECTION_PEERS && i < p->g->n; i++)
		suggest(&s, name, p->g->validator[i].name);
	char hint[96];
	did_you_mean(hint, &s);
	/* A key that is right elsewhere is in the wrong section. */
	for (int k = 0; !s.word && k < KEYS; k++)
		if (strcmp(name, keys[k].name) == 0)
			return fail(p, "unknown key \"%s\" in [%s], it belongs into [%s]", name,
				    section_names[section], section_names[keys[k].section]);
	return fail(p, "unknown key \"%s\" in [%s]%s", name, section_names[section], hint);
}

static int read_address(struct parse *p, struct node_peer_address *out, const char *name,
			const char *value, bool port_needed)
{
	int err = host_port_parse(out, value);
	if (err != ERR_NONE || (port_needed && out->port == 0))
		return fail(
			p, "%s = \"%s\" is not HOST:PORT, such as 127.0.0.1:7001 or [::1]:7001",
			name, value);
	return 1;
}

static int read_number(struct parse *p, uint32_t *out, const char *name, const char *value,
		       uint32_t max)
{
	char *end;
	errno = 0;
	unsigned long v = strtoul(value, &end, 10);
	if (!isdigit((unsigned char)value[0]) || *end || errno || v < 1 || v > max)
		return fail(p, "%s = \"%s\" must be a whole number from 1 to %u", name, value,
			    max);
	*out = (uint32_t)v;
	return 1;
}

static int read_text(struct parse *p, char *out, size_t size, const char *name,
		     const char *value)
{
	if (!value[0] || strlen(value) >= size)
		return fail(p, "%s must have 1 to %zu characters", name, size - 1);
	strcpy(out, value);
	return 1;
}

static int validator_by_name(const struct genesis *g, const char *name)
{
	for (unsigned i = 0; i < g->n; i++)
		if (strcmp(g->validator[i].name, name) == 0)
			return (int)i;
	return -1;
}

static int read_name(struct parse *p, const char *value)
{
	if (validator_by_name(p->g, value) < 0) {
		struct suggestion s = {0};
		for (unsigned i = 0; i < p->g->n; i++)
			suggest(&s, value, p->g->validator[i].name);
		char hint[96];
		return fail(p, "name = \"%s\" is not a validator of the genesis file%s", value,
			    did_you_mean(hint, &s));
	}
	return read_text(p, p->c->name, sizeof p->c->name, "name", value);
}

static int read_key(struct parse *p, enum config_key key, const char *value)
{
	struct node_config *c = p->c;
	const char *name = keys[key].name;
	switch (key) {
	case KEY_NAME:
		return read_name(p, value);
	case KEY_LOG:
		if (log_configure(value) != ERR_NONE)
			return fail(
				p,
				"log = \"%s\" is not like info,consensus=debug (levels error, "
				"warn, info, debug; modules node, consensus, ledger, net, api)",
				value);
		return read_text(p, c->log_level, sizeof c->log_level, name, value);
	case KEY_LOG_FORMAT:
		if (strcmp(value, "text") != 0 && strcmp(value, "json") != 0)
			return fail(p, "log_format = \"%s\" must be text or json", value);
		return read_text(p, c->log_format, sizeof c->log_format, name, value);
	case KEY_PEERS_LISTEN:
		return read_address(p, &c->listen, name, value, false);
	case KEY_API_LISTEN:
		return read_address(p, &c->api, name, value, false);
	case KEY_HEARTBEAT:
		return read_number(p, &c->heartbeat_ms, name, value, CONFIG_MS_MAX);
	case KEY_TIMEOUT_MIN:
		return read_number(p, &c->timeout_min_ms, name, value, CONFIG_MS_MAX);
	case KEY_TIMEOUT_MAX:
		return read_number(p, &c->timeout_max_ms, name, value, CONFIG_MS_MAX);
	case KEY_TIMEOUT_CAP:
		return read_number(p, &c->timeout_cap_ms, name, value, CONFIG_MS_MAX);
	case KEY_VERIFY_THREADS:
		return read_number(p, &c->verify_threads, name, value, CONFIG_THREADS_MAX);
	case KEY_API_CONNECTIONS:
		return read_number(p, &c->api_connections, name, value, CONFIG_CONNECTIONS_MAX);
	case KEY_PIPELINE:
		return read_number(p, &c->pipeline, name, value, p->g->limits.window);
	case KEY_HISTORY:
		if (read_number(p, &c->history, name, value, UINT32_MAX) == 0)
			return 0;
		return c->history >= CONFIG_HISTORY_MIN
			       ? 1
			       : fail(p, "history = %u must be at least %d", c->history,
				      CONFIG_HISTORY_MIN);
	case KEYS:
		break;
	}
	invariant(!"a key without a reader");
	return 0;
}

static int on_pair(void *user, const char *section, const char *name, const char *value)
{
	struct parse *p = user;
	if (p->err != ERR_NONE)
		return 0;
	if (!section[0])
		return fail(p, "\"%s\" stands before the first section, such as [node]", name);
	size_t s = 0;
	while (s < MEM_COUNT(section_names) && strcmp(section, section_names[s]) != 0)
		s++;
	if (s == MEM_COUNT(section_names))
		return unknown_section(p, section);
	int *seen = NULL, peer = -1, key = 0;
	while (key < KEYS && (keys[key].section != s || strcmp(name, keys[key].name) != 0))
		key++;
	if (key < KEYS)
		seen = &p->line_of_key[key];
	else if (s == SECTION_PEERS && (peer = validator_by_name(p->g, name)) >= 0)
		seen = &p->line_of_peer[peer];
	else
		return unknown_key(p, (enum config_section)s, name);
	if (*seen)
		return fail(p, "\"%s\" is given again; first in line %d", name, *seen);
	*seen = p->line;
	if (peer >= 0)
		return read_address(p, &p->c->peer[peer], name, value, true);
	return read_key(p, (enum config_key)key, value);
}

/* inih's fgets(); counts lines, since its handler is not told them. */
static char *next_line(char *out, int size, void *stream)
{
	struct parse *p = stream;
	if (p->left == 0 || p->err != ERR_NONE)
		return NULL;
	const char *end = memchr(p->text, '\n', p->left);
	size_t len = end ? (size_t)(end - p->text) + 1 : p->left;
	p->line++;
	if (len > CONFIG_LINE_MAX || len >= (size_t)size) {
		fail(p, "the line is longer than %d characters", CONFIG_LINE_MAX);
		return NULL;
	}
	if (memchr(p->text, 0, len)) {
		fail(p, "the line contains a zero byte: this is not a text file");
		return NULL;
	}
	memcpy(out, p->text, len);
	out[len] = 0;
	p->text += len;
	p->left -= len;
	return out;
}

static char *read_file(const char *path, size_t *len, struct errmsg *m)
{
	FILE *f = fopen(path, "rb");
	if (!f) {
		err_set(m, ERR_CONFIG,
			"%s: %s; `ostrakon net init` or `ostrakond init` makes one", path,
			strerror(errno));
		return NULL;
	}
	char *text = mem_alloc(CONFIG_FILE_MAX + 1);
	*len = fread(text, 1, CONFIG_FILE_MAX + 1, f);
	bool bad = ferror(f) != 0;
	fclose(f);
	if (bad || *len > CONFIG_FILE_MAX) {
		mem_free(text);
		err_set(m, ERR_CONFIG, "%s: %s", path,
			bad ? "cannot be read" : "is over 1 MiB");
		return NULL;
	}
	return text;
}

static bool is_loopback(const char *host)
{
	return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
	       strcmp(host, "localhost") == 0;
}

/* Rules between keys. */
static int check_whole(const struct node_config *c, const struct genesis *g, const char *path,
		       struct errmsg *m)
{
	uint32_t beat = c->heartbeat_ms ? c->heartbeat_ms : 50;
	uint32_t lo = c->timeout_min_ms ? c->timeout_min_ms : 300;
	uint32_t hi = c->timeout_max_ms ? c->timeout_max_ms : 600;
	uint32_t cap = c->timeout_cap_ms ? c->timeout_cap_ms : 4000;
	if (beat >= lo || lo > hi || hi > cap)
		return err_set(m, ERR_CONFIG,
			       "%s: [timing] must be heartbeat < timeout_min <= timeout_max <= "
			       "timeout_cap, but these are %u, %u, %u, %u ms",
			       path, beat, lo, hi, cap);
	if (!is_loopback(c->api.host))
		return err_set(
			m, ERR_CONFIG,
			"%s: [api] listen = %s:%u: everybody who reaches this address could "
			"use the node; without an access token only a loopback address such as "
			"127.0.0.1 is accepted, and this version has no tokens: put a proxy "
			"that authenticates in front",
			path, c->api.host, c->api.port);
	int self = c->name[0] ? validator_by_name(g, c->name) : -1;
	for (unsigned i = 0, missing = 0; g->n > 1 && i < g->n; i++) {
		if ((int)i == self || c->peer[i].port)
			continue;
		/* Without a name, one address may be missing: one's own. */
		if (self < 0 && c->listen.host[0] && missing++ == 0)
			continue;
		return err_set(m, ERR_CONFIG,
			       "%s: [peers] has no address for %s: add %s = HOST:PORT", path,
			       g->validator[i].name, g->validator[i].name);
	}
	if (g->n > 1 && !c->listen.host[0])
		return err_set(m, ERR_CONFIG, "%s: [peers] needs listen = HOST:PORT", path);
	return ERR_NONE;
}

static void fill_in(struct node_config *c, const struct genesis *g)
{
	int self = c->name[0] ? validator_by_name(g, c->name) : -1;
	if (!c->listen.host[0] && self >= 0 && c->peer[self].port)
		c->listen = c->peer[self];
	if (!c->listen.host[0] && g->n == 1)
		strcpy(c->listen.host, "127.0.0.1");
	if (!c->api.host[0]) {
		strcpy(c->api.host, "127.0.0.1");
		c->api.port = CONFIG_API_PORT;
	}
	if (!c->history)
		c->history = CONFIG_HISTORY;
	if (!c->log_level[0])
		strcpy(c->log_level, "info");
	if (!c->log_format[0])
		strcpy(c->log_format, "text");
}

int node_config_read(struct node_config *out, const char *home, const struct genesis *g,
		     struct errmsg *m)
{
	struct errmsg ignored;
	struct parse p = {.c = out, .g = g, .m = m ? m : &ignored};
	memset(out, 0, sizeof *out);
	if (strlen(home) > CONFIG_PATH_MAX)
		return err_set(m, ERR_CONFIG, "the home directory's path is too long");
	strcpy(out->home, home);
	snprintf(p.path, sizeof p.path, "%s/ostrakond.conf", home);
	size_t len;
	char *text = read_file(p.path, &len, m);
	if (!text)
		return ERR_CONFIG;
	p.text = text;
	p.left = len;
	int line = ini_parse_stream(next_line, &p, on_pair, &p);
	mem_free(text);
	if (line > 0 &&
	    (p.err == ERR_NONE || line < p.line)) { /* inih goes on after its errors */
		p.err = ERR_NONE;
		p.line = line;
		fail(&p, "neither [section] nor key = value nor a comment (# or ;)");
	}
	if (p.err != ERR_NONE)
		return p.err;
	fill_in(out, g);
	return check_whole(out, g, p.path, m);
}

int node_config_environment(struct node_config *c, const struct genesis *g, struct errmsg *m)
{
	static const struct {
		const char *variable;
		enum config_key key;
	} known[] = {
		{"OSTRAKON_LOG", KEY_LOG},
		{"OSTRAKON_LOG_FORMAT", KEY_LOG_FORMAT},
		{"OSTRAKON_PEERS_LISTEN", KEY_PEERS_LISTEN},
		{"OSTRAKON_API_LISTEN", KEY_API_LISTEN},
	};
	struct errmsg ignored;
	struct parse p = {.c = c, .g = g, .m = m ? m : &ignored};
	for (size_t i = 0; i < MEM_COUNT(known); i++) {
		const char *value = getenv(known[i].variable);
		if (!value || !value[0])
			continue;
		snprintf(p.path, sizeof p.path, "environment variable %s", known[i].variable);
		if (!read_key(&p, known[i].key, value))
			return p.err;
	}
	return check_whole(c, g, "environment", m);
}

int host_port_parse(struct node_peer_address *out, const char *text)
{
	memset(out, 0, sizeof *out);
	const char *host = text, *colon = strrchr(text, ':');
	if (!colon)
		return ERR_SYNTAX;
	size_t len = (size_t)(colon - text);
	if (len >= 2 && text[0] == '[' && colon[-1] == ']') {
		host++;
		len -= 2;
	} else if (memchr(text, ':', len)) {
		return ERR_SYNTAX; /* an IPv6 address without brackets is ambiguous */
	}
	const char *digits = colon + 1;
	size_t n = strspn(digits, "0123456789");
	if (len == 0 || len > CONFIG_TEXT_MAX || n == 0 || n > 5 || digits[n])
		return ERR_SYNTAX;
	for (size_t i = 0; i < len; i++)
		if (!isgraph((unsigned char)host[i]) || strchr("[]/@", host[i]))
			return ERR_SYNTAX;
	long port = strtol(digits, NULL, 10);
	if (port > UINT16_MAX)
		return ERR_SYNTAX;
	memcpy(out->host, host, len);
	out->port = (uint16_t)port;
	return ERR_NONE;
}
