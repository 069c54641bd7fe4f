/* one-way LISTEN-PORT TARGET-PORT SWITCH-FILE
 *
 * Relays TCP on 127.0.0.1. While SWITCH-FILE exists, bytes from the connecting side are read
 * and thrown away; the other direction goes on. Ends on SIGTERM. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIRS 64

static struct sockaddr_in address(const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((unsigned short)atoi(port)),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	return a;
}

static bool all_written(int fd, const char *bytes, ssize_t len)
{
	for (ssize_t done = 0; done < len;) {
		ssize_t n = send(fd, bytes + done, (size_t)(len - done), MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		done += n;
	}
	return true;
}

static void accept_pair(int listener, const char *target, int pair[PAIRS][2])
{
	struct sockaddr_in to = address(target);
	int in = accept(listener, NULL, NULL), out = socket(AF_INET, SOCK_STREAM, 0);

	for (int i = 0; in >= 0 && out >= 0 && i < PAIRS; i++) {
		if (pair[i][0] >= 0)
			continue;
		if (connect(out, (struct sockaddr *)&to, sizeof to) != 0)
			break;
		pair[i][0] = in;
		pair[i][1] = out;
		return;
	}
	close(in);
	close(out);
}

int main(int argc, char **argv)
{
	static char bytes[65536];
	int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1, pair[PAIRS][2];
	struct sockaddr_in a;

	if (argc != 4)
		return 2;
	memset(pair, -1, sizeof pair);
	a = address(argv[1]);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(listener, (struct sockaddr *)&a, sizeof a) != 0 || listen(listener, 16) != 0) {
		perror("one-way");
		return 1;
	}
	for (;;) {
		struct pollfd p[1 + 2 * PAIRS] = {{.fd = listener, .events = POLLIN}};
		for (int i = 0; i < PAIRS; i++)
			for (int side = 0; side < 2; side++)
				p[1 + 2 * i + side] =
					(struct pollfd){.fd = pair[i][side], .events = POLLIN};
		if (poll(p, 1 + 2 * PAIRS, -1) < 0)
			return 1;
		for (int i = 0; i < PAIRS; i++) {
			bool ends = false;
			for (int side = 0; side < 2 && pair[i][0] >= 0 && !ends; side++) {
				ssize_t n;
				if (p[1 + 2 * i + side].revents == 0)
					continue;
				n = read(pair[i][side], bytes, sizeof bytes);
				ends = n <= 0;
				if (n > 0 && !(side == 0 && access(argv[3], F_OK) == 0))
					ends = !all_written(pair[i][1 - side], bytes, n);
			}
			if (ends) {
				close(pair[i][0]);
				close(pair[i][1]);
				pair[i][0] = pair[i][1] = -1;
			}
		}
		if (p[0].revents)
			accept_pair(listener, argv[2], pair);
	}
}
