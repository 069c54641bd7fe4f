#include "node/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "node/http.h"

static struct sockaddr_un to;
static socklen_t to_len;
static uint64_t watchdog_us;

void notify_init(void)
{
	const char *path = getenv("NOTIFY_SOCKET"), *usec = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");
	size_t len = path ? strlen(path) : 0;
	uint64_t v;
	if (len > 1 && len < sizeof to.sun_path && (path[0] == '/' || path[0] == '@')) {
		to.sun_family = AF_UNIX;
		memcpy(to.sun_path, path, len);
		if (path[0] == '@') /* the abstract namespace */
			to.sun_path[0] = 0;
		to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	}
	if (usec && http_u64(usec, &v) == ERR_NONE && (!pid || atol(pid) == (long)getpid()))
		watchdog_us = v / 2;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

void notify_send(const char *fmt, ...)
{
	char text[512];
	va_list ap;
	if (to_len == 0)
		return;
	va_start(ap, fmt);
	int len = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || len < 0)
		return;
	size_t n = (size_t)len < sizeof text ? (size_t)len : sizeof text - 1;
	/* The manager may be gone: nothing to do about it. */
	(void)!sendto(fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&to, to_len);
	close(fd);
}

uint64_t notify_watchdog_us(void)
{
	return to_len ? watchdog_us : 0;
}
