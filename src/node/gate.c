#include "node/gate.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "base/mem.h"
#include "crypto/sign.h"
#include "node/token.h"

static int read_token(struct gate *g, const char *path, struct errmsg *m)
{
	char token[TOKEN_SIZE];
	int err = token_read(token, path, "[api] token_file =", m);
	if (err == ERR_NONE)
		sha256(&g->token, token, strlen(token));
	g->needs_token = err == ERR_NONE;
	crypto_wipe(token, sizeof token);
	return err;
}

int gate_open(struct gate *g, const struct node_config *c, struct errmsg *m)
{
	char path[TOKEN_PATH_SIZE];
	*g = (struct gate){0};
	snprintf(g->listen, sizeof g->listen, "%s", c->api.host);
	snprintf(g->hosts, sizeof g->hosts, "%s", c->api_hosts);
	g->wildcard = strcmp(g->listen, "0.0.0.0") == 0 || strcmp(g->listen, "::") == 0;
	if (!c->token_file[0])
		return ERR_NONE;
	node_token_path(path, c);
	return read_token(g, path, m);
}

static bool is_address(const char *host)
{
	uint8_t bytes[16];
	return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

/* The name of NAME[:PORT] or [NAME][:PORT]; false: it is not of that form. */
static bool name_of(char out[CONFIG_TEXT_MAX + 1], const char *authority)
{
	const char *begin = authority, *end;
	if (*begin == '[') {
		end = strchr(++begin, ']');
		if (!end)
			return false;
		authority = end + 1;
	} else {
		end = authority = begin + strcspn(begin, ":");
	}
	size_t len = (size_t)(end - begin);
	if (len == 0 || len > CONFIG_TEXT_MAX)
		return false;
	if (*authority == ':')
		authority += 1 + strspn(authority + 1, "0123456789");
	if (*authority)
		return false;
	memcpy(out, begin, len);
	out[len] = 0;
	return true;
}

static bool listed(const char *list, const char *name)
{
	size_t len = strlen(name);
	for (; *list; list += *list == ',') {
		size_t n = strcspn(list, ",");
		while (n > 0 && *list == ' ')
			list++, n--;
		size_t word = n;
		while (word > 0 && list[word - 1] == ' ')
			word--;
		if (word == len && strncasecmp(list, name, len) == 0)
			return true;
		list += n;
	}
	return false;
}

bool gate_host(const struct gate *g, const char *host)
{
	char name[CONFIG_TEXT_MAX + 1];
	if (!host || !name_of(name, host))
		return false;
	if (host_is_loopback(name) || strcasecmp(name, g->listen) == 0 ||
	    listed(g->hosts, name))
		return true;
	/* An address is nobody's name: no foreign page can have it as its own. */
	return g->wildcard && is_address(name);
}

bool gate_origin(const struct gate *g, const char *origin, const char *host)
{
	char name[CONFIG_TEXT_MAX + 1];
	if (!origin)
		return true;
	const char *authority = NULL;
	if (strncasecmp(origin, "http://", 7) == 0)
		authority = origin + 7;
	else if (strncasecmp(origin, "https://", 8) == 0)
		authority = origin + 8;
	if (!authority || !host)
		return false;
	return strcasecmp(authority, host) == 0 ||
	       (name_of(name, authority) && listed(g->hosts, name));
}

bool gate_token(const struct gate *g, const char *authorization)
{
	struct hash sent;
	if (!g->needs_token)
		return true;
	if (!authorization || strncasecmp(authorization, "Bearer ", 7) != 0)
		return false;
	const char *token = authorization + 7 + strspn(authorization + 7, " ");
	sha256(&sent, token, strlen(token));
	volatile uint8_t differs = 0;
	for (size_t i = 0; i < HASH_SIZE; i++)
		differs |= (uint8_t)(sent.b[i] ^ g->token.b[i]);
	return differs == 0;
}
