/* What the nodes count of themselves (/metrics): summed over all, between two looks at each. A
 * node that is killed is looked at just before; what it sends while it stands still, or after a
 * crash until it answers again, is in the next look. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/lab/live.h"

#define ANSWER_MAX (1u << 20)
#define ANSWER_MS  500

static int connect_to(const char *url)
{
	unsigned port;
	struct timeval patience = {.tv_usec = ANSWER_MS * 1000};
	if (sscanf(url, "http://127.0.0.1:%u", &port) != 1 || port > 65535)
		return -1;
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((uint16_t)port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Owned; NULL: it did not answer. */
static char *fetch(const char *url)
{
	char request[256];
	int fd = connect_to(url);
	if (fd < 0)
		return NULL;
	int len = snprintf(request, sizeof request, "GET /metrics HTTP/1.0\r\nHost: %s\r\n\r\n",
			   url + 7);
	char *text = mem_alloc(ANSWER_MAX);
	size_t got = 0;
	ssize_t n = send(fd, request, (size_t)len, MSG_NOSIGNAL);
	while (n > 0 && got < ANSWER_MAX - 1) {
		n = recv(fd, text + got, ANSWER_MAX - 1 - got, 0);
		got += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	text[got] = 0;
	if (n == 0 && strstr(text, " 200 ") && strstr(text, "ostrakon_final_height"))
		return text;
	mem_free(text);
	return NULL;
}

static void take_line(struct live_counts *c, const char *line)
{
	unsigned long long v;
	unsigned type;
	if (sscanf(line, "ostrakon_messages_sent_total{class=\"%*[a-z]\",type=\"%u\"} %llu",
		   &type, &v) == 2 &&
	    type < ENGINE_MESSAGE_TYPES)
		c->messages[type] += v;
	else if (sscanf(line, "ostrakon_messages_sent_type_bytes_total{type=\"%u\"} %llu",
			&type, &v) == 2 &&
		 type < ENGINE_MESSAGE_TYPES)
		c->bytes[type] += v;
	else if (sscanf(line, "ostrakon_signatures_total{operation=\"made\"} %llu", &v) == 1)
		c->made += v;
	else if (sscanf(line, "ostrakon_signatures_total{operation=\"checked\"} %llu", &v) == 1)
		c->checked += v;
	else if (sscanf(line, "ostrakon_final_height %llu", &v) == 1)
		c->final_height = v;
}

/* later - earlier; a process that began again in between has counted from 0. */
static uint64_t more(uint64_t later, uint64_t earlier)
{
	return later >= earlier ? later - earlier : later;
}

void live_counts_look(struct live *w, unsigned i)
{
	struct live_counts now = {0}, *was = &w->counted[i];
	char *text = w->node[i] && !(w->paused >> i & 1) ? fetch(w->url[i]) : NULL;
	if (!text)
		return;
	char *save = text;
	for (char *line; (line = strsep(&save, "\n")) != NULL;)
		take_line(&now, line);
	mem_free(text);
	for (unsigned t = 0; t < ENGINE_MESSAGE_TYPES; t++) {
		uint64_t bytes = more(now.bytes[t], was->bytes[t]);
		w->r.messages[t] += more(now.messages[t], was->messages[t]);
		w->type_bytes[t] += bytes;
		w->r.bytes += bytes;
	}
	w->r.signatures.made += more(now.made, was->made);
	w->r.signatures.checked += more(now.checked, was->checked);
	*was = now;
}

/* Of correct nodes. */
static uint64_t final_height(const struct live *w)
{
	uint64_t most = 0;
	for (unsigned i = 0; i < w->n; i++)
		if (!(w->malicious >> i & 1) && w->counted[i].final_height > most)
			most = w->counted[i].final_height;
	return most;
}

void live_window_begin(struct live *w)
{
	for (unsigned i = 0; i < w->n; i++)
		live_counts_look(w, i);
	memset(w->r.messages, 0, sizeof w->r.messages);
	memset(w->type_bytes, 0, sizeof w->type_bytes);
	w->r.bytes = w->r.transactions = 0;
	w->r.signatures = (struct sig_counts){0};
	w->window_from = final_height(w);
	w->window_at_us = live_us(w);
	w->window_acknowledged = w->acknowledged;
	w->windowed = true;
}

void live_window_end(struct live *w)
{
	w->windowed = false;
	w->window_us = live_us(w) - w->window_at_us;
	w->window_acknowledged = w->acknowledged - w->window_acknowledged;
	for (unsigned i = 0; i < w->n; i++)
		live_counts_look(w, i);
	w->r.decisions = more(final_height(w), w->window_from);
}
