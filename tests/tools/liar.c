/* A node that says whatever a file says: answers every request on 127.0.0.1 with it.
 *
 *	liar PORT-FILE BODY-FILE [STATUS]
 *
 * Takes a free port, writes it to PORT-FILE, reads BODY-FILE anew for each answer. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_MAX (8 << 20)

static void answer(int fd, const char *path, int status)
{
	static char body[BODY_MAX], request[65536];
	char head[256];
	FILE *f = fopen(path, "rb");
	size_t len = f ? fread(body, 1, sizeof body, f) : 0, got = 0;
	ssize_t n;
	int head_len;

	if (f)
		fclose(f);
	/* one request without a body, or as much of it as fits */
	while ((n = recv(fd, request + got, sizeof request - 1 - got, 0)) > 0) {
		got += (size_t)n;
		request[got] = '\0';
		if (strstr(request, "\r\n\r\n") || got == sizeof request - 1)
			break;
	}
	head_len = snprintf(head, sizeof head,
			    "HTTP/1.1 %d Whatever\r\nContent-Type: application/json\r\n"
			    "Content-Length: %zu\r\nConnection: close\r\n\r\n",
			    status, len);
	send(fd, head, (size_t)head_len, MSG_NOSIGNAL);
	for (size_t sent = 0; sent < len; sent += (size_t)n) {
		n = send(fd, body + sent, len - sent, MSG_NOSIGNAL);
		if (n <= 0)
			break;
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t size = sizeof at;
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	FILE *f;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (argc < 3 || bind(s, (struct sockaddr *)&at, sizeof at) != 0 || listen(s, 16) != 0 ||
	    getsockname(s, (struct sockaddr *)&at, &size) != 0 || !(f = fopen(argv[1], "w")))
		return 1;
	fprintf(f, "%u\n", ntohs(at.sin_port));
	fclose(f);
	while ((fd = accept(s, NULL, NULL)) >= 0) {
		answer(fd, argv[2], argc > 3 ? atoi(argv[3]) : 200);
		shutdown(fd, SHUT_WR);
		close(fd);
	}
	return 0;
}
