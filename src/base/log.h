/* Structured logging to one FILE: level, module, message, in logfmt or JSON lines.
 * Thread-safe. Only programs (node, tools) call log_init(); libraries never print errors,
 * they return them; they may log at debug level. Until log_init() nothing is written. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
/* TEXT: time, level, module, message, then key=value; LOGFMT: all of them as key=value. */
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON, LOG_FORMAT_LOGFMT };
enum log_module {
	LOG_NODE,
	LOG_CONSENSUS,
	LOG_LEDGER,
	LOG_NET,
	LOG_API,
	LOG_SIM,
	LOG_MODULES /* count */
};

void log_init(FILE *out, enum log_format format, enum log_level level);
/* "info" or "info,consensus=debug,net=warn"; ERR_SYNTAX names nothing, changes nothing. */
int log_configure(const char *spec);
bool log_enabled(enum log_module module, enum log_level level);
void log_write(enum log_module module, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* A message with named values, for machines to find. Keys are ours: letters and underscores.
 * A number is printed as it stands. */
struct log_field {
	const char *key;
	const char *value;
	bool is_number;
};
void log_fields(enum log_module module, enum log_level level, const char *message,
		const struct log_field *fields, size_t count);
/* Later lines go to out; returns where they went before. */
FILE *log_redirect(FILE *out);
/* Limits a noisy line to once a second for each call site and says how many were left out. */
#define log_limited(module, level, ...)                                                        \
	do {                                                                                   \
		static struct log_limit limit_;                                                \
		if (log_limit_pass(&limit_))                                                   \
			log_write(module, level, __VA_ARGS__);                                 \
	} while (0)
struct log_limit {
	long long second;
	unsigned long long skipped;
};
bool log_limit_pass(struct log_limit *limit);

#endif
