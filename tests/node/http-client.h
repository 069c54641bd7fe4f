/* A plain HTTP/1.1 client over one socket, for tests. */
#ifndef TESTS_NODE_HTTP_CLIENT_H
#define TESTS_NODE_HTTP_CLIENT_H

#include "base/json.h"

struct answer {
	int status;	   /* 0: the connection closed without a whole answer */
	char *head, *body; /* zero-terminated; freed by answer_free() */
	size_t body_len;
	struct json *json; /* NULL if the body is none */
};
void answer_free(struct answer *a);

int http_connect(unsigned port);
void http_send(int fd, const void *bytes, size_t len);
/* The head's status line up to Content-Type, then the body. */
void http_post(int fd, const char *path, const char *type, struct slice body);
void http_get(int fd, const char *path);
/* Blocks for a whole answer. */
void http_read(int fd, struct answer *out);
/* On a connection of its own. */
void get(unsigned port, const char *path, struct answer *out);
void post(unsigned port, const char *path, const char *type, struct slice body,
	  struct answer *out);

#endif
