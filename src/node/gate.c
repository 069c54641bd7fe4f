#include "node/gate.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "crypto/sign.h"

static int read_token(struct gate *g, const char *path, struct errmsg *m)
{
	char text[GATE_TOKEN_MAX + 2];
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0) {
		int why = errno;
		if (fd >= 0)
			close(fd);
		return err_set(m, ERR_CONFIG, "[api] token_file = %s: %s", path, strerror(why));
	}
	ssize_t len = S_ISREG(st.st_mode) ? read(fd, text, sizeof text - 1) : -1;
	close(fd);
	if (len < 0)
		return err_set(m, ERR_CONFIG, "[api] token_file = %s cannot be read", path);
	text[len] = 0;
	size_t n = strcspn(text, "\r\n");
	int err = ERR_NONE;
	if ((st.st_mode & 077) != 0)
		err = err_set(m, ERR_PERMISSION,
			      "[api] token_file = %s can be read by others: chmod 600 %s", path,
			      path);
	for (size_t i = 0; err == ERR_NONE && i < n; i++)
		if (!isgraph((unsigned char)text[i]))
			err = ERR_SYNTAX;
	if (err == ERR_SYNTAX ||
	    (err == ERR_NONE && (n < GATE_TOKEN_MIN || n > GATE_TOKEN_MAX)))
		err = err_set(
			m, ERR_CONFIG,
			"[api] token_file = %s: its first line must have %d to %d printable "
			"characters without blanks",
			path, GATE_TOKEN_MIN, GATE_TOKEN_MAX);
	if (err == ERR_NONE)
		sha256(&g->token, text, n);
	g->needs_token = err == ERR_NONE;
	crypto_wipe(text, sizeof text);
	return err;
}

int gate_open(struct gate *g, const struct node_config *c, struct errmsg *m)
{
	char path[2 * CONFIG_PATH_MAX + 2];
	*g = (struct gate){0};
	snprintf(g->listen, sizeof g->listen, "%s", c->api.host);
	snprintf(g->hosts, sizeof g->hosts, "%s", c->api_hosts);
	g->wildcard = strcmp(g->listen, "0.0.0.0") == 0 || strcmp(g->listen, "::") == 0;
	if (!c->token_file[0])
		return ERR_NONE;
	if (c->token_file[0] == '/')
		snprintf(path, sizeof path, "%s", c->token_file);
	else
		snprintf(path, sizeof path, "%s/%s", c->home, c->token_file);
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
