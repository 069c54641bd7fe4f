/* Who may use the API: names in Host (a page of a foreign name that resolves to us must not
 * read from us: DNS rebinding), Origin (no page but our own), and the access token. */
#ifndef NODE_GATE_H
#define NODE_GATE_H

#include "crypto/hash.h"
#include "node/config.h"

struct gate {
	char listen[CONFIG_TEXT_MAX + 1]; /* the address listened on */
	char hosts[CONFIG_TEXT_MAX + 1];  /* other names, with commas */
	bool wildcard;			  /* listens on every address */
	bool needs_token;
	struct hash token; /* its hash: comparing hashes tells nothing of the token's bytes */
};
/* Reads the token file. ERR_CONFIG, ERR_PERMISSION (others may read it). */
int gate_open(struct gate *g, const struct node_config *c, struct errmsg *m);

/* A Host header: NAME[:PORT], ADDRESS[:PORT], [IPv6][:PORT]. NULL is refused. */
bool gate_host(const struct gate *g, const char *host);
/* NULL (no browser, or its own page) is fine. host: the same request's Host. */
bool gate_origin(const struct gate *g, const char *origin, const char *host);
/* An Authorization header. */
bool gate_token(const struct gate *g, const char *authorization);

#endif
