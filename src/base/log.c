#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"

#define LOG_MESSAGE_MAX 1024 /* formatted; what is longer ends in "..." */
/* Escaping makes four characters of one at most; below stdio's 4096-byte buffer less a
 * possible rest, so that a line is one write. */
#define LOG_LINE_MAX 4000
#define LOG_TAIL_MAX 2000 /* fields beyond it lose the ends of their values */

static const char *const level_names[] = {
	[LOG_ERROR] = "error",
	[LOG_WARN] = "warn",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};

static const char *const module_names[LOG_MODULES] = {
	[LOG_NODE] = "node",	 [LOG_CONSENSUS] = "consensus",
	[LOG_LEDGER] = "ledger", [LOG_NET] = "net",
	[LOG_API] = "api",	 [LOG_SIM] = "sim",
};

#define LEVEL_OFF (-1)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* output, format, limits */
static FILE *output;
static enum log_format output_format;
static atomic_int thresholds[LOG_MODULES] = {LEVEL_OFF, LEVEL_OFF, LEVEL_OFF,
					     LEVEL_OFF, LEVEL_OFF, LEVEL_OFF};

/* What log_limit_pass() found for the line that follows in the same thread. */
static _Thread_local unsigned long long left_out;

void log_init(FILE *out, enum log_format format, enum log_level level)
{
	invariant(out != NULL);
	pthread_mutex_lock(&lock);
	output = out;
	output_format = format;
	for (int i = 0; i < LOG_MODULES; i++)
		atomic_store_explicit(&thresholds[i], (int)level, memory_order_relaxed);
	pthread_mutex_unlock(&lock);
}

static int find_name(const char *const *names, size_t count, const char *text, size_t len)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(names[i]) == len && memcmp(names[i], text, len) == 0)
			return (int)i;
	return -1;
}

int log_configure(const char *spec)
{
	int wanted[LOG_MODULES];
	for (int i = 0; i < LOG_MODULES; i++)
		wanted[i] = atomic_load_explicit(&thresholds[i], memory_order_relaxed);

	for (const char *item = spec;; item++) {
		size_t len = strcspn(item, ",");
		const char *equals = memchr(item, '=', len);
		const char *level_text = equals ? equals + 1 : item;
		int level = find_name(level_names, MEM_COUNT(level_names), level_text,
				      (size_t)(item + len - level_text));
		if (level < 0)
			return ERR_SYNTAX;
		if (equals) {
			int module = find_name(module_names, LOG_MODULES, item,
					       (size_t)(equals - item));
			if (module < 0)
				return ERR_SYNTAX;
			wanted[module] = level;
		} else if (item == spec) {
			for (int i = 0; i < LOG_MODULES; i++)
				wanted[i] = level;
		} else {
			return ERR_SYNTAX; /* it would undo what stands before it */
		}
		item += len;
		if (*item == '\0')
			break;
	}

	pthread_mutex_lock(&lock);
	if (output)
		for (int i = 0; i < LOG_MODULES; i++)
			atomic_store_explicit(&thresholds[i], wanted[i], memory_order_relaxed);
	pthread_mutex_unlock(&lock);
	return ERR_NONE;
}

bool log_enabled(enum log_module module, enum log_level level)
{
	return (int)level <= atomic_load_explicit(&thresholds[module], memory_order_relaxed);
}

struct line {
	char text[LOG_LINE_MAX];
	size_t len;
};

static void line_add(struct line *l, const char *text, size_t len)
{
	if (len > sizeof(l->text) - l->len)
		len = sizeof(l->text) - l->len;
	memcpy(l->text + l->len, text, len);
	l->len += len;
}

static void line_add_str(struct line *l, const char *text)
{
	line_add(l, text, strlen(text));
}

/* Messages may quote hostile bytes: what comes out is printable ASCII on one line. room is
 * kept free for what ends the line. */
static void line_add_escaped(struct line *l, const char *text, bool json, size_t room)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		char out[8];
		size_t len;
		if (*p == '\n' || *p == '\t' || *p == '\\') {
			out[0] = '\\';
			out[1] = *p == '\n' ? 'n' : *p == '\t' ? 't' : '\\';
			len = 2;
		} else if (json && *p == '"') {
			memcpy(out, "\\\"", len = 2);
		} else if (*p >= 0x20 && *p < 0x7f) {
			out[0] = (char)*p;
			len = 1;
		} else {
			/* A JSON string gets the four characters \xNN, not the byte. */
			len = (size_t)snprintf(out, sizeof(out), "%s\\x%02x", json ? "\\" : "",
					       *p);
		}
		if (l->len + len + room > sizeof(l->text))
			return;
		line_add(l, out, len);
	}
}

static void line_add_time(struct line *l)
{
	struct timespec now;
	struct tm tm;
	char text[40];
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	size_t len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + len, sizeof(text) - len, ".%03ldZ", now.tv_nsec / 1000000);
	line_add_str(l, text);
}

/* What ends a line. In all formats a message that is too long loses its own end, not this. */
static void format_tail(struct line *l, enum log_format format, const struct log_field *fields,
			size_t count, unsigned long long skipped)
{
	bool json = format == LOG_FORMAT_JSON;
	char number[32];

	for (size_t i = 0; i < count; i++) {
		bool quoted =
			json ? !fields[i].is_number
			     : fields[i].value[strcspn(fields[i].value, " \"=,")] != '\0' ||
					fields[i].value[0] == '\0';
		line_add_str(l, json ? ",\"" : " ");
		line_add_str(l, fields[i].key);
		line_add_str(l, json ? "\":" : "=");
		if (quoted)
			line_add_str(l, "\"");
		line_add_escaped(l, fields[i].value, quoted, LOG_LINE_MAX - LOG_TAIL_MAX + 80);
		if (quoted)
			line_add_str(l, "\"");
	}
	if (skipped) {
		snprintf(number, sizeof(number), "%llu", skipped);
		line_add_str(l, json ? ",\"left_out\":" : " left_out=");
		line_add_str(l, number);
	}
	line_add_str(l, json ? "}\n" : "\n");
}

static void format_head(struct line *l, enum log_format format, enum log_module module,
			enum log_level level)
{
	static const char *const parts[][4] = {
		[LOG_FORMAT_TEXT] = {"", " ", " ", " "},
		[LOG_FORMAT_JSON] = {"{\"time\":\"", "\",\"level\":\"", "\",\"module\":\"",
				     "\",\"message\":\""},
		[LOG_FORMAT_LOGFMT] = {"time=", " level=", " module=", " msg=\""},
	};

	line_add_str(l, parts[format][0]);
	line_add_time(l);
	line_add_str(l, parts[format][1]);
	line_add_str(l, level_names[level]);
	line_add_str(l, parts[format][2]);
	line_add_str(l, module_names[module]);
	line_add_str(l, parts[format][3]);
}

/* The lock is held. */
static void write_line(enum log_module module, enum log_level level, const char *message,
		       const struct log_field *fields, size_t count, unsigned long long skipped)
{
	struct line line, tail;

	line.len = tail.len = 0;
	format_tail(&tail, output_format, fields, count, skipped);
	format_head(&line, output_format, module, level);
	bool quoted = output_format != LOG_FORMAT_TEXT;
	line_add_escaped(&line, message, quoted, tail.len + 1);
	if (quoted)
		line_add_str(&line, "\"");
	line_add(&line, tail.text, tail.len);
	fwrite(line.text, 1, line.len, output);
	fflush(output);
}

void log_write(enum log_module module, enum log_level level, const char *fmt, ...)
{
	unsigned long long skipped = left_out;
	left_out = 0;
	if (!log_enabled(module, level))
		return;

	char message[LOG_MESSAGE_MAX];
	va_list ap;
	va_start(ap, fmt);
	int len = vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	if (len < 0)
		snprintf(message, sizeof(message), "(message cannot be formatted)");
	else if ((size_t)len >= sizeof(message))
		memcpy(message + sizeof(message) - 4, "...", 4);

	pthread_mutex_lock(&lock);
	if (output)
		write_line(module, level, message, NULL, 0, skipped);
	pthread_mutex_unlock(&lock);
}

void log_fields(enum log_module module, enum log_level level, const char *message,
		const struct log_field *fields, size_t count)
{
	unsigned long long skipped = left_out;
	left_out = 0;
	if (!log_enabled(module, level))
		return;
	pthread_mutex_lock(&lock);
	if (output)
		write_line(module, level, message, fields, count, skipped);
	pthread_mutex_unlock(&lock);
}

FILE *log_redirect(FILE *out)
{
	invariant(out != NULL);
	pthread_mutex_lock(&lock);
	FILE *before = output;
	output = out;
	pthread_mutex_unlock(&lock);
	return before;
}

bool log_limit_pass(struct log_limit *limit)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	long long second = (long long)now.tv_sec + 1; /* 0 in *limit: never passed */

	pthread_mutex_lock(&lock);
	bool pass = second != limit->second;
	if (pass) {
		left_out = limit->skipped;
		limit->second = second;
		limit->skipped = 0;
	} else {
		limit->skipped++;
	}
	pthread_mutex_unlock(&lock);
	return pass;
}
