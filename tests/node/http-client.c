#include "http-client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

void answer_free(struct answer *a)
{
	mem_free(a->head);
	mem_free(a->body);
	json_free(a->json);
}

int http_connect(unsigned port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
		return fd;
	close(fd);
	return -1;
}

void http_send(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;
	while (len > 0) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
		if (n <= 0)
			return; /* the answer says why the server closed */
		at += n;
		len -= (size_t)n;
	}
}

void http_post(int fd, const char *path, const char *type, struct slice body)
{
	char *head = mem_printf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\n"
				"Content-Length: %zu\r\n\r\n",
				path, type, body.len);
	struct writer w;
	writer_init(&w, 0);
	writer_raw(&w, head, strlen(head));
	writer_raw(&w, body.ptr, body.len);
	http_send(fd, w.buf, w.len);
	writer_free(&w);
	mem_free(head);
}

void http_get(int fd, const char *path)
{
	char *head = mem_printf("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
	http_send(fd, head, strlen(head));
	mem_free(head);
}

static bool read_some(int fd, struct writer *w)
{
	char buf[65536];
	ssize_t n = recv(fd, buf, sizeof buf, 0);
	if (n > 0)
		writer_raw(w, buf, (size_t)n);
	return n > 0;
}

void http_read(int fd, struct answer *out)
{
	struct writer w;
	writer_init(&w, 0);
	*out = (struct answer){0};
	const char *end = NULL;
	while (!end && read_some(fd, &w))
		end = memmem(w.buf, w.len, "\r\n\r\n", 4);
	if (end) {
		size_t head_len = (size_t)(end + 4 - (const char *)w.buf);
		out->head = mem_alloc(head_len + 1);
		memcpy(out->head, w.buf, head_len);
		out->head[head_len] = 0;
		const char *length = strcasestr(out->head, "content-length:");
		size_t want = head_len + (length ? strtoul(length + 15, NULL, 10) : 0);
		while (w.len < want && read_some(fd, &w))
			;
		if (w.len >= want) {
			out->status = atoi(out->head + 9);
			out->body_len = w.len - head_len;
			out->body = mem_alloc(out->body_len + 1);
			memcpy(out->body, w.buf + head_len, out->body_len);
			out->body[out->body_len] = 0;
			if (json_parse(&out->json, slice_of(out->body, out->body_len), NULL) !=
			    ERR_NONE)
				out->json = NULL;
		}
	}
	writer_free(&w);
}

void get(unsigned port, const char *path, struct answer *out)
{
	int fd = http_connect(port);
	http_get(fd, path);
	http_read(fd, out);
	close(fd);
}

void post(unsigned port, const char *path, const char *type, struct slice body,
	  struct answer *out)
{
	int fd = http_connect(port);
	http_post(fd, path, type, body);
	http_read(fd, out);
	close(fd);
}
