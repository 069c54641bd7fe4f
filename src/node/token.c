#include "node/token.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/sign.h"

int token_read(char out[TOKEN_SIZE], const char *path, const char *where, struct errmsg *m)
{
	char text[TOKEN_MAX + 2];
	struct stat st;
	int err = ERR_NONE, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	out[0] = 0;
	if (fd < 0 || fstat(fd, &st) != 0) {
		int why = errno;
		if (fd >= 0)
			close(fd);
		return err_set(m, ERR_CONFIG, "%s %s: %s", where, path, strerror(why));
	}
	ssize_t len = S_ISREG(st.st_mode) ? read(fd, text, sizeof text - 1) : -1;
	close(fd);
	if (len < 0)
		return err_set(m, ERR_CONFIG, "%s %s cannot be read", where, path);
	text[len] = 0;
	size_t n = strcspn(text, "\r\n");
	if ((st.st_mode & 077) != 0)
		err = err_set(m, ERR_PERMISSION, "%s %s can be read by others: chmod 600 %s",
			      where, path, path);
	bool fits = n >= TOKEN_MIN && n <= TOKEN_MAX;
	for (size_t i = 0; i < n; i++)
		fits = fits && isgraph((unsigned char)text[i]);
	if (err == ERR_NONE && !fits)
		err = err_set(m, ERR_CONFIG,
			      "%s %s: its first line must have %d to %d printable characters "
			      "without blanks",
			      where, path, TOKEN_MIN, TOKEN_MAX);
	if (err == ERR_NONE) {
		memcpy(out, text, n);
		out[n] = 0;
	}
	crypto_wipe(text, sizeof text);
	return err;
}

void node_token_path(char out[TOKEN_PATH_SIZE], const struct node_config *c)
{
	bool absolute = c->token_file[0] == '/';

	snprintf(out, TOKEN_PATH_SIZE, "%s%s%s", absolute ? "" : c->home, absolute ? "" : "/",
		 c->token_file);
}
