/* The service manager's protocol, sd_notify(3), without its library: datagrams to
 * $NOTIFY_SOCKET. Without that variable nothing happens. */
#ifndef NODE_NOTIFY_H
#define NODE_NOTIFY_H

#include <stdint.h>

/* Reads NOTIFY_SOCKET and WATCHDOG_USEC, and forgets them for children. */
void notify_init(void);
/* "READY=1\nSTATUS=..."; any thread. */
void notify_send(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Microseconds between WATCHDOG=1: half of what the manager tolerates; 0: it does not watch. */
uint64_t notify_watchdog_us(void);

#endif
