#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/edit_distance.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/config.h"

#define CONFIG_FILE_MAX	       (1u << 20)
#define CONFIG_LINE_MAX	       199 /* INI_MAX_LINE of the inih that is installed, less a zero */
#define CONFIG_CONNECTIONS_MAX 65535
#define CONFIG_THREADS_MAX     64
#define CONFIG_MS_MAX	       3600000
#define CONFIG_DISK_MIB_MAX    (1u << 30)
#define CONFIG_CACHE_MIB_MAX   (1u << 20)
#define SUGGESTION_DISTANCE    3 /* a typing error, not another word */

enum config_section {
	SECTION_NODE,
	SECTION_PEERS,
	SECTION_API,
	SECTION_TIMING,
	SECTION_LIMITS,
	SECTION_DEBUG
};
static const char *const section_names[] = {"node",   "peers",	"api",
					    "timing", "limits", "debug"};

static const struct {
	enum config_section section;
	const char *name;
} keys[CONFIG_KEYS] = {
	[KEY_NAME] = {SECTION_NODE, "name"},
	[KEY_LOG] = {SECTION_NODE, "log"},
	[KEY_LOG_FORMAT] = {SECTION_NODE, "log_format"},
	[KEY_PEERS_LISTEN] = {SECTION_PEERS, "listen"},
	[KEY_API_LISTEN] = {SECTION_API, "listen"},
	[KEY_API_HOSTS] = {SECTION_API, "hosts"},
	[KEY_TOKEN_FILE] = {SECTION_API, "token_file"},
	[KEY_HEARTBEAT] = {SECTION_TIMING, "heartbeat"},
	[KEY_TIMEOUT_MIN] = {SECTION_TIMING, "timeout_min"},
	[KEY_TIMEOUT_MAX] = {SECTION_TIMING, "timeout_max"},
	[KEY_TIMEOUT_CAP] = {SECTION_TIMING, "timeout_cap"},
	[KEY_API_THREADS] = {SECTION_LIMITS, "api_threads"},
	[KEY_VERIFY_THREADS] = {SECTION_LIMITS, "verify_threads"},
	[KEY_API_CONNECTIONS] = {SECTION_LIMITS, "api_connections"},
	[KEY_API_PER_ADDRESS] = {SECTION_LIMITS, "api_per_address"},
	[KEY_REQUEST_TIMEOUT] = {SECTION_LIMITS, "request_timeout"},
	[KEY_EVENT_STREAMS] = {SECTION_LIMITS, "event_streams"},
	[KEY_PIPELINE] = {SECTION_LIMITS, "pipeline"},
	[KEY_HISTORY] = {SECTION_LIMITS, "history"},
	[KEY_BLOCKS] = {SECTION_LIMITS, "blocks"},
	[KEY_SYNC_GAP] = {SECTION_LIMITS, "sync_gap"},
	[KEY_SCRUB_INTERVAL] = {SECTION_LIMITS, "scrub_interval"},
	[KEY_SCRUB_RATE] = {SECTION_LIMITS, "scrub_rate"},
	[KEY_CACHE] = {SECTION_LIMITS, "cache"},
	[KEY_DISK_RESERVE] = {SECTION_LIMITS, "disk_reserve"},
	[KEY_DISK_FREE_FILE] = {SECTION_DEBUG, "disk_free_file"},
	[KEY_FAULTS_FILE] = {SECTION_DEBUG, "faults_file"},
};

struct parse {
	struct node_config *c;
	const struct genesis *g;
	struct errmsg *m;
	char path[CONFIG_PATH_MAX + 32];
	const char *text;
	size_t left;
	int line;
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
	if (p->line > 0)
		p->err = err_set(p->m, ERR_CONFIG, "%s:%d: %s", p->path, p->line, text);
	else
		p->err = err_set(p->m, ERR_CONFIG, "%s: %s", p->path, text);
	return 0;
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
		if (edit_distance(section, section_names[i]) <= strlen(section_names[i]) / 2)
			suggest(&s, section, section_names[i]);
	char hint[96];
	if (!s.word) /* of words that short, three typing errors make any other one */
		return fail(p,
			    "unknown section [%s]; there are [node], [peers], [api], [timing], "
			    "[limits] and [debug]",
			    section);
	return fail(p, "unknown section [%s]%s", section, did_you_mean(hint, &s));
}

static int unknown_key(struct parse *p, enum config_section section, const char *name)
{
	struct suggestion s = {0};
	for (int k = 0; k < CONFIG_KEYS; k++)
		if (keys[k].section == section)
			suggest(&s, name, keys[k].name);
	for (unsigned i = 0; section == SECTION_PEERS && i < p->g->n; i++)
		suggest(&s, name, p->g->validator[i].name);
	char hint[96];
	did_you_mean(hint, &s);
	/* A key that is right elsewhere is in the wrong section. */
	for (int k = 0; !s.word && k < CONFIG_KEYS; k++)
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

static int read_at_least(struct parse *p, uint32_t *out, const char *name, const char *value,
			 uint32_t min, uint32_t max)
{
	if (read_number(p, out, name, value, max) == 0)
		return 0;
	return *out >= min ? 1 : fail(p, "%s = %u must be at least %u", name, *out, min);
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

/* A blank within a name is no name of a host, but a comma that is missing: it would match
 * nothing. */
static int read_hosts(struct parse *p, const char *value)
{
	for (const char *word = value; *word; word += *word == ',') {
		size_t n = strcspn(word, ",");
		while (n > 0 && *word == ' ')
			word++, n--;
		size_t len = n;
		while (len > 0 && word[len - 1] == ' ')
			len--;
		if (strcspn(word, " \t") < len)
			return fail(
				p,
				"hosts = \"%s\" must be names with commas between: NAME,NAME",
				value);
		word += n;
	}
	return read_text(p, p->c->api_hosts, sizeof p->c->api_hosts, "hosts", value);
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

static int read_log_format(struct parse *p, const char *value)
{
	if (strcmp(value, "text") != 0 && strcmp(value, "json") != 0 &&
	    strcmp(value, "logfmt") != 0)
		return fail(p, "log_format = \"%s\" must be text, logfmt or json", value);
	return read_text(p, p->c->log_format, sizeof p->c->log_format, "log_format", value);
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
		return read_log_format(p, value);
	case KEY_PEERS_LISTEN:
		return read_address(p, &c->listen, name, value, false);
	case KEY_API_LISTEN:
		return read_address(p, &c->api, name, value, false);
	case KEY_API_HOSTS:
		return read_hosts(p, value);
	case KEY_TOKEN_FILE:
		return read_text(p, c->token_file, sizeof c->token_file, name, value);
	case KEY_HEARTBEAT:
		return read_number(p, &c->heartbeat_ms, name, value, CONFIG_MS_MAX);
	case KEY_TIMEOUT_MIN:
		return read_number(p, &c->timeout_min_ms, name, value, CONFIG_MS_MAX);
	case KEY_TIMEOUT_MAX:
		return read_number(p, &c->timeout_max_ms, name, value, CONFIG_MS_MAX);
	case KEY_TIMEOUT_CAP:
		return read_number(p, &c->timeout_cap_ms, name, value, CONFIG_MS_MAX);
	case KEY_API_THREADS:
		return read_number(p, &c->api_threads, name, value, CONFIG_THREADS_MAX);
	case KEY_VERIFY_THREADS:
		return read_number(p, &c->verify_threads, name, value, CONFIG_THREADS_MAX);
	case KEY_API_CONNECTIONS:
		return read_number(p, &c->api_connections, name, value, CONFIG_CONNECTIONS_MAX);
	case KEY_API_PER_ADDRESS:
		return read_number(p, &c->api_per_address, name, value, CONFIG_CONNECTIONS_MAX);
	case KEY_REQUEST_TIMEOUT:
		return read_number(p, &c->request_timeout_ms, name, value, CONFIG_MS_MAX);
	case KEY_EVENT_STREAMS:
		return read_number(p, &c->event_streams, name, value, CONFIG_CONNECTIONS_MAX);
	case KEY_DISK_RESERVE:
		return read_number(p, &c->disk_reserve_mib, name, value, CONFIG_DISK_MIB_MAX);
	case KEY_DISK_FREE_FILE:
		return read_text(p, c->disk_free_file, sizeof c->disk_free_file, name, value);
	case KEY_FAULTS_FILE:
		return read_text(p, c->faults_file, sizeof c->faults_file, name, value);
	case KEY_PIPELINE:
		return read_number(p, &c->pipeline, name, value, p->g->limits.window);
	case KEY_HISTORY:
		return read_at_least(p, &c->history, name, value, CONFIG_HISTORY_MIN,
				     UINT32_MAX);
	case KEY_BLOCKS:
		return read_at_least(p, &c->blocks, name, value, CONFIG_BLOCKS_MIN, UINT32_MAX);
	case KEY_SYNC_GAP:
		return read_at_least(p, &c->sync_gap, name, value, CONFIG_SYNC_GAP_MIN,
				     UINT32_MAX);
	case KEY_SCRUB_INTERVAL:
		return read_number(p, &c->scrub_interval_s, name, value, UINT32_MAX);
	case KEY_SCRUB_RATE:
		return read_number(p, &c->scrub_rate_kib, name, value, UINT32_MAX);
	case KEY_CACHE:
		return read_at_least(p, &c->cache_mib, name, value, CONFIG_CACHE_MIB_MIN,
				     CONFIG_CACHE_MIB_MAX);
	case CONFIG_KEYS:
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
	int peer = -1, key = 0;
	while (key < CONFIG_KEYS &&
	       (keys[key].section != s || strcmp(name, keys[key].name) != 0))
		key++;
	if (key == CONFIG_KEYS && s == SECTION_PEERS)
		peer = validator_by_name(p->g, name);
	if (key == CONFIG_KEYS && peer < 0)
		return unknown_key(p, (enum config_section)s, name);
	enum config_origin *from =
		peer >= 0 ? &p->c->peer_origin[peer].from : &p->c->origin[key].from;
	int *line = peer >= 0 ? &p->c->peer_origin[peer].line : &p->c->origin[key].line;
	if (*line)
		return fail(p, "\"%s\" is given again; first in line %d", name, *line);
	*line = p->line;
	*from = ORIGIN_FILE;
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
		err_set(m, ERR_CONFIG, "%s: %s%s", path, strerror(errno),
			errno == ENOENT ? "; `ostrakon net init` or `ostrakond init` makes one"
			: errno == EACCES
				? "; only the user whom the home belongs to may read it"
				: "");
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

unsigned config_verify_threads(const struct node_config *c)
{
	return c->verify_threads ? c->verify_threads : CONFIG_VERIFY_THREADS;
}

size_t config_tree_cache(const struct node_config *c)
{
	return ((size_t)(c->cache_mib ? c->cache_mib : CONFIG_CACHE_MIB) << 20) / 5 * 4;
}

size_t config_store_cache(const struct node_config *c)
{
	return ((size_t)(c->cache_mib ? c->cache_mib : CONFIG_CACHE_MIB) << 20) / 5;
}

unsigned config_api_threads(const struct node_config *c)
{
	return c->api_threads ? c->api_threads : CONFIG_API_THREADS;
}

bool host_is_loopback(const char *host)
{
	struct in_addr v4;
	if (inet_pton(AF_INET, host, &v4) == 1)
		return (ntohl(v4.s_addr) >> 24) == 127;
	return strcmp(host, "::1") == 0 || strcasecmp(host, "localhost") == 0;
}

uint32_t config_timeout_min_ms(const struct node_config *c)
{
	return c->timeout_min_ms ? c->timeout_min_ms : CONFIG_TIMEOUT_MIN_MS;
}

uint32_t config_timeout_max_ms(const struct node_config *c)
{
	if (c->timeout_max_ms)
		return c->timeout_max_ms;
	return c->timeout_min_ms ? 2 * c->timeout_min_ms : CONFIG_TIMEOUT_MAX_MS;
}

/* Rules between keys. */
static int check_whole(const struct node_config *c, const struct genesis *g, const char *path,
		       struct errmsg *m)
{
	uint32_t beat = c->heartbeat_ms ? c->heartbeat_ms : CONFIG_HEARTBEAT_MS;
	uint32_t lo = config_timeout_min_ms(c), hi = config_timeout_max_ms(c);
	uint32_t cap = c->timeout_cap_ms ? c->timeout_cap_ms : CONFIG_TIMEOUT_CAP_MS;
	if (beat >= lo || lo > hi || hi > cap)
		return err_set(m, ERR_CONFIG,
			       "%s: [timing] must be heartbeat < timeout_min <= timeout_max <= "
			       "timeout_cap, but these are %u, %u, %u, %u ms",
			       path, beat, lo, hi, cap);
	uint32_t history = c->history ? c->history : CONFIG_HISTORY;
	if (c->blocks && c->blocks < history)
		return err_set(
			m, ERR_CONFIG,
			"%s: [limits] blocks = %u is less than history, which is %u: the "
			"state at a height is proved by the block there",
			path, c->blocks, history);
	if (!host_is_loopback(c->api.host) && !c->token_file[0])
		return err_set(
			m, ERR_CONFIG,
			"%s: [api] listen = %s:%u: everybody who reaches this address could "
			"use the node; without [api] token_file only a loopback address such "
			"as "
			"127.0.0.1 is accepted",
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
	if (!c->sync_gap)
		c->sync_gap = CONFIG_SYNC_GAP;
	if (!c->cache_mib)
		c->cache_mib = CONFIG_CACHE_MIB;
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

/* OSTRAKON_API_LISTEN and so on; false: this key has none. */
static bool variable_name(char out[64], enum config_key key)
{
	if (key == KEY_NAME)
		return false;
	const char *section = section_names[keys[key].section];
	if (keys[key].section == SECTION_NODE)
		snprintf(out, 64, "OSTRAKON_%s", keys[key].name);
	else
		snprintf(out, 64, "OSTRAKON_%s_%s", section, keys[key].name);
	for (char *c = out; *c; c++)
		*c = (char)toupper((unsigned char)*c);
	return true;
}

bool node_config_is_variable(const char *name)
{
	char known[64];
	for (int k = 0; k < CONFIG_KEYS; k++)
		if (variable_name(known, (enum config_key)k) && strcmp(known, name) == 0)
			return true;
	return false;
}

/* Variables of [node] do not name their section: what begins like them may be for any program. */
static bool names_section(const char *name)
{
	for (size_t i = 0; i < MEM_COUNT(section_names); i++) {
		size_t len = strlen(section_names[i]);
		if (i != SECTION_NODE && strncmp(name, "OSTRAKON_", 9) == 0 &&
		    strncasecmp(name + 9, section_names[i], len) == 0 && name[9 + len] == '_')
			return true;
	}
	return false;
}

void node_config_misspelt(void (*each)(void *arg, const char *name, const char *near),
			  void *arg)
{
	for (char **v = environ; *v; v++) {
		struct suggestion s = {0};
		char name[64], known[CONFIG_KEYS][64];
		size_t len = strcspn(*v, "=");
		if (len >= sizeof name)
			continue;
		memcpy(name, *v, len);
		name[len] = 0;
		if (!names_section(name) || node_config_is_variable(name))
			continue;
		for (int k = 0; k < CONFIG_KEYS; k++)
			if (variable_name(known[k], (enum config_key)k))
				suggest(&s, name, known[k]);
		each(arg, name, s.word);
	}
}

int node_config_environment(struct node_config *c, const struct genesis *g, struct errmsg *m)
{
	struct errmsg ignored;
	struct parse p = {.c = c, .g = g, .m = m ? m : &ignored};
	for (int k = 0; k < CONFIG_KEYS; k++) {
		char name[64];
		const char *value =
			variable_name(name, (enum config_key)k) ? getenv(name) : NULL;
		if (!value || !value[0])
			continue;
		snprintf(p.path, sizeof p.path, "environment variable %s", name);
		if (!read_key(&p, (enum config_key)k, value))
			return p.err;
		c->origin[k].from = ORIGIN_ENVIRONMENT;
	}
	return check_whole(c, g, "environment", m);
}

int node_config_flag(struct node_config *c, const struct genesis *g, enum config_key key,
		     const char *flag, const char *value, struct errmsg *m)
{
	struct errmsg ignored;
	struct parse p = {.c = c, .g = g, .m = m ? m : &ignored};
	snprintf(p.path, sizeof p.path, "%s", flag);
	if (!read_key(&p, key, value))
		return p.err;
	c->origin[key].from = ORIGIN_FLAG;
	return check_whole(c, g, flag, m);
}

static struct json *address_json(const struct node_peer_address *a)
{
	char text[CONFIG_TEXT_MAX + 16];
	if (!a->host[0])
		return json_null();
	snprintf(text, sizeof text, strchr(a->host, ':') ? "[%s]:%u" : "%s:%u", a->host,
		 a->port);
	return json_string(text);
}

static struct json *number_json(uint32_t v, uint32_t by_default)
{
	return v || by_default ? json_int(v ? v : by_default) : json_null();
}

static struct json *text_json(const char *text)
{
	return text[0] ? json_string(text) : json_null();
}

static struct json *value_json(const struct node_config *c, enum config_key key)
{
	switch (key) {
	case KEY_HISTORY:
		return number_json(c->history, CONFIG_HISTORY);
	case KEY_BLOCKS:
		return number_json(c->blocks, 0);
	case KEY_SYNC_GAP:
		return number_json(c->sync_gap, CONFIG_SYNC_GAP);
	case KEY_SCRUB_INTERVAL:
		return number_json(c->scrub_interval_s, CONFIG_SCRUB_INTERVAL);
	case KEY_SCRUB_RATE:
		return number_json(c->scrub_rate_kib, CONFIG_SCRUB_RATE);
	case KEY_CACHE:
		return number_json(c->cache_mib, CONFIG_CACHE_MIB);
	case KEY_NAME:
		return text_json(c->name);
	case KEY_LOG:
		return text_json(c->log_level);
	case KEY_LOG_FORMAT:
		return text_json(c->log_format);
	case KEY_PEERS_LISTEN:
		return address_json(&c->listen);
	case KEY_API_LISTEN:
		return address_json(&c->api);
	case KEY_API_HOSTS:
		return text_json(c->api_hosts);
	case KEY_TOKEN_FILE:
		return text_json(c->token_file);
	case KEY_HEARTBEAT:
		return number_json(c->heartbeat_ms, CONFIG_HEARTBEAT_MS);
	case KEY_TIMEOUT_MIN:
		return number_json(c->timeout_min_ms, CONFIG_TIMEOUT_MIN_MS);
	case KEY_TIMEOUT_MAX:
		return number_json(c->timeout_max_ms, config_timeout_max_ms(c));
	case KEY_TIMEOUT_CAP:
		return number_json(c->timeout_cap_ms, CONFIG_TIMEOUT_CAP_MS);
	case KEY_API_THREADS:
		return number_json(c->api_threads, CONFIG_API_THREADS);
	case KEY_VERIFY_THREADS:
		return number_json(c->verify_threads, CONFIG_VERIFY_THREADS);
	case KEY_API_CONNECTIONS:
		return number_json(c->api_connections, CONFIG_API_CONNECTIONS);
	case KEY_API_PER_ADDRESS:
		return number_json(c->api_per_address, c->api_connections
							       ? c->api_connections
							       : CONFIG_API_CONNECTIONS);
	case KEY_REQUEST_TIMEOUT:
		return number_json(c->request_timeout_ms, CONFIG_REQUEST_TIMEOUT_MS);
	case KEY_EVENT_STREAMS:
		return number_json(c->event_streams, CONFIG_EVENT_STREAMS);
	case KEY_PIPELINE:
		return number_json(c->pipeline, CONFIG_PIPELINE);
	case KEY_DISK_RESERVE:
		return number_json(c->disk_reserve_mib, CONFIG_DISK_RESERVE_MIB);
	case KEY_DISK_FREE_FILE:
		return text_json(c->disk_free_file);
	case KEY_FAULTS_FILE:
		return text_json(c->faults_file);
	case CONFIG_KEYS:
		break;
	}
	invariant(!"a key without a value");
	return NULL;
}

static struct json *entry_json(const char *section, const char *key, struct json *value,
			       enum config_origin from, const char *source)
{
	static const char *const names[] = {"default", "file", "environment", "flag"};
	char name[64];
	snprintf(name, sizeof name, "%s.%s", section, key);
	struct json *o = json_object();
	json_set(o, "key", json_string(name));
	json_set(o, "value", value);
	json_set(o, "origin", json_string(names[from]));
	json_set(o, "source", source[0] ? json_string(source) : json_null());
	return o;
}

static void source_text(char out[CONFIG_PATH_MAX + 64], const struct node_config *c,
			enum config_origin from, int line, int key)
{
	static const char *const flags[CONFIG_KEYS] = {[KEY_LOG] = "--log",
						       [KEY_PEERS_LISTEN] = "--peers-listen",
						       [KEY_API_LISTEN] = "--api-listen"};
	out[0] = 0;
	if (from == ORIGIN_FILE)
		snprintf(out, CONFIG_PATH_MAX + 64, "%s/ostrakond.conf:%d", c->home, line);
	else if (from == ORIGIN_ENVIRONMENT)
		variable_name(out, (enum config_key)key);
	else if (from == ORIGIN_FLAG && flags[key])
		strcpy(out, flags[key]);
}

struct json *node_config_json(const struct node_config *c, const struct genesis *g)
{
	struct json *a = json_array();
	char source[CONFIG_PATH_MAX + 64];
	for (size_t section = 0; section < MEM_COUNT(section_names); section++) {
		for (int k = 0; k < CONFIG_KEYS; k++) {
			if (keys[k].section != section)
				continue;
			source_text(source, c, c->origin[k].from, c->origin[k].line, k);
			json_append(a, entry_json(section_names[section], keys[k].name,
						  value_json(c, (enum config_key)k),
						  c->origin[k].from, source));
		}
		for (unsigned i = 0; section == SECTION_PEERS && i < g->n; i++) {
			source_text(source, c, c->peer_origin[i].from, c->peer_origin[i].line,
				    0);
			json_append(a, entry_json("peers", g->validator[i].name,
						  address_json(&c->peer[i]),
						  c->peer_origin[i].from, source));
		}
	}
	return a;
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
