/* The API's listening socket. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/api.h"

int api_listen(const struct node_peer_address *address, int *fd, uint16_t *port,
	       struct errmsg *m)
{
	char service[8];
	snprintf(service, sizeof service, "%u", address->port);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
	int code = getaddrinfo(address->host, service, &hints, &found);
	if (code != 0)
		return err_set(m, ERR_CONFIG, "[api] listen = %s: %s", address->host,
			       gai_strerror(code));
	*fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1;
	bool ok = *fd >= 0 && setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
		  bind(*fd, found->ai_addr, found->ai_addrlen) == 0 && listen(*fd, 1024) == 0;
	int why = errno;
	freeaddrinfo(found);
	struct sockaddr_storage bound;
	socklen_t len = sizeof bound;
	if (ok && getsockname(*fd, (struct sockaddr *)&bound, &len) == 0) {
		char digits[8];
		ok = getnameinfo((struct sockaddr *)&bound, len, NULL, 0, digits, sizeof digits,
				 NI_NUMERICSERV) == 0;
		*port = (uint16_t)atoi(digits);
	}
	if (ok)
		return ERR_NONE;
	if (*fd >= 0)
		close(*fd);
	return err_set(m, why == EADDRINUSE ? ERR_LOCKED : ERR_CONFIG,
		       "the API cannot listen on %s:%u: %s%s", address->host, address->port,
		       strerror(why),
		       why == EADDRINUSE ? "; end the other program or change [api] listen"
					 : "");
}
