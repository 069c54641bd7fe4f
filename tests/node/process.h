/* Child processes of tests, ostrakond above all. */
#ifndef TESTS_NODE_PROCESS_H
#define TESTS_NODE_PROCESS_H

#include <sys/types.h>

/* argv[0] with these arguments; what it prints is appended to the file `log`. It dies with the
 * test: one that fails does not clean up. */
pid_t process_start(char *const argv[], const char *log);
/* Waits for its end: the exit code, or 1000 and the signal. */
int process_end(pid_t pid);

/* `ostrakond run` of the build tree. */
pid_t node_start(const char *home, const char *log);
/* Of its API, once it has written that down; 0: not yet. */
unsigned node_port(const char *home);

#endif
