#include "tools/cli/keys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/cli/network.h"

void key_directory(struct cli *c, char out[PATH_SIZE])
{
	const char *config = getenv("XDG_CONFIG_HOME"), *user = getenv("HOME");

	if (network_directory(c, out))
		return;
	if (config != NULL && *config == '/')
		snprintf(out, PATH_SIZE, "%s/ostrakon", config);
	else
		snprintf(out, PATH_SIZE, "%s/.config/ostrakon", user && *user ? user : ".");
}

bool key_name_ok(const char *name)
{
	size_t len = strlen(name);

	return len >= 1 && len <= KEYFILE_LABEL_MAX && name[0] != '.' && name[0] != '-' &&
	       strspn(name,
		      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
		       len;
}

static bool is_path(const char *name)
{
	size_t len = strlen(name);

	return strchr(name, '/') != NULL || (len > 4 && strcmp(name + len - 4, ".key") == 0);
}

void key_path(struct cli *c, char out[PATH_SIZE], const char *name)
{
	char dir[PATH_SIZE];
	struct stat st;

	if (is_path(name)) {
		snprintf(out, PATH_SIZE, "%s", name);
		return;
	}
	key_directory(c, dir);
	if (snprintf(out, PATH_SIZE, "%s/%s.key", dir, name) >= PATH_SIZE)
		out[0] = '\0';
	/* A file of that very name is meant if there is no such key. */
	if (access(out, F_OK) != 0 && stat(name, &st) == 0 && S_ISREG(st.st_mode))
		snprintf(out, PATH_SIZE, "%s", name);
}

/* ---- passphrases ----------------------------------------------------------------------- */

/* First line of fd; the descriptor is left where it ends. */
static int read_line(int fd, char out[PASSPHRASE_MAX])
{
	size_t len = 0;

	for (;;) {
		char ch;
		ssize_t n = read(fd, &ch, 1);
		if (n < 0 && errno == EINTR && !interrupted())
			continue;
		if (n < 0)
			return ERR_IO;
		if (n == 0 || ch == '\n')
			break;
		if (len == PASSPHRASE_MAX - 1 || ch == '\0')
			return ERR_LIMIT;
		out[len++] = ch;
	}
	if (len > 0 && out[len - 1] == '\r')
		len--;
	out[len] = '\0';
	return ERR_NONE;
}

static int prompt(int tty, const char *text, char out[PASSPHRASE_MAX])
{
	struct termios old, silent;
	int err;

	if (tcgetattr(tty, &old) != 0)
		return ERR_IO;
	silent = old;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(tty, TCSAFLUSH, &silent);
	dprintf(tty, "%s: ", text);
	err = read_line(tty, out);
	tcsetattr(tty, TCSAFLUSH, &old);
	dprintf(tty, "\n");
	return err;
}

static int ask(const char *what, bool confirm, char out[PASSPHRASE_MAX], const char *option,
	       struct errmsg *m)
{
	char again[PASSPHRASE_MAX];
	int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	int err;

	if (tty < 0)
		return err_set(m, ERR_PASSPHRASE,
			       "%s is needed, and there is no terminal to ask on; give "
			       "--%s FILE",
			       what, option);
	err = prompt(tty, what, out);
	if (err == ERR_NONE && confirm) {
		err = prompt(tty, "the same again", again);
		if (err == ERR_NONE && strcmp(out, again) != 0)
			err = err_set(m, ERR_PASSPHRASE, "the two passphrases differ");
		else if (err != ERR_NONE)
			err_set(m, err, "reading the passphrase failed");
		crypto_wipe(again, sizeof again);
	} else if (err != ERR_NONE) {
		err_set(m, err, "reading the passphrase failed");
	}
	close(tty);
	return err;
}

int passphrase_get(struct cli *c, enum passphrase which, const char *what, bool confirm,
		   char out[PASSPHRASE_MAX], struct errmsg *m)
{
	enum option_id by_file =
		which == PASSPHRASE_OLD ? OPT_PASSPHRASE_FILE : OPT_NEW_PASSPHRASE_FILE;
	enum option_id by_fd =
		which == PASSPHRASE_OLD ? OPT_PASSPHRASE_FD : OPT_NEW_PASSPHRASE_FD;
	const char *path = c->opt.value[by_file];
	int err, fd;

	/* A flag wins over the environment. */
	if (opt_given(&c->opt, by_fd)) {
		fd = (int)opt_u64(&c->opt, by_fd, 0);
		err = read_line(fd, out);
		if (err != ERR_NONE)
			return err_set(m, err,
				       "cannot read a passphrase from descriptor %d: %s", fd,
				       err == ERR_LIMIT ? "it is too long" : strerror(errno));
	} else if (path != NULL) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return err_set(m, errno == ENOENT ? ERR_NOT_FOUND : ERR_PASSPHRASE,
				       "cannot open passphrase file %s: %s", path,
				       strerror(errno));
		err = read_line(fd, out);
		close(fd);
		if (err != ERR_NONE)
			return err_set(m, err, "cannot read a passphrase from %s: %s", path,
				       err == ERR_LIMIT ? "it is too long" : strerror(errno));
	} else {
		return ask(what, confirm, out, option_name(by_file), m);
	}
	if (out[0] == '\0')
		return err_set(m, ERR_PASSPHRASE, "the passphrase is empty");
	return ERR_NONE;
}

/* ---- keys ------------------------------------------------------------------------------ */

int key_open(struct cli *c, const char *name, struct keypair *out)
{
	char passphrase[PASSPHRASE_MAX], path[PATH_SIZE], what[PATH_SIZE + 32];
	struct keyfile_info info;
	struct errmsg m;
	int err;

	key_path(c, path, name);
	err = keyfile_info(path, &info, &m);

	if (err == ERR_NOT_FOUND)
		return cli_fail(
			c, EXIT_NOT_FOUND, "not_found",
			"`ostrakon key list` shows the keys, `ostrakon key new` makes one.",
			"there is no key file %s", path);
	if (err != ERR_NONE)
		return cli_fail_err(c, err, &m, NULL);
	if (!info.encrypted) {
		err = keyfile_read(path, out, NULL, &m);
	} else {
		snprintf(what, sizeof what, "passphrase of %s", path);
		err = passphrase_get(c, PASSPHRASE_OLD, what, false, passphrase, &m);
		if (err == ERR_NONE)
			err = keyfile_read(path, out, passphrase, &m);
		crypto_wipe(passphrase, sizeof passphrase);
	}
	if (err != ERR_NONE)
		return cli_fail_err(c, err, &m, NULL);
	return EXIT_DONE;
}

int key_signer(struct cli *c, struct keypair *out)
{
	char path[PATH_SIZE], dir[PATH_SIZE];

	if (opt_given(&c->opt, OPT_KEY)) {
		key_path(c, path, c->opt.value[OPT_KEY]);
		return key_open(c, path, out);
	}
	int rc = home_check(c);
	if (rc != EXIT_DONE)
		return rc;
	if (!network_directory(c, dir))
		return cli_fail(
			c, EXIT_USAGE, "usage",
			"Give --key FILE, or --home a network directory, whose client key "
			"then signs.",
			"no key to sign with");
	if (snprintf(path, sizeof path, "%s/client.key", dir) >= (int)sizeof path)
		return cli_usage(c, "the path of the home is too long");
	return key_open(c, path, out);
}

int account_parse(struct cli *c, const char *text, struct pubkey *out)
{
	struct keyfile_info info;
	char path[PATH_SIZE];
	struct errmsg m;
	int err;

	if (strlen(text) == 2 * PUBKEY_SIZE &&
	    hex_decode(out->b, PUBKEY_SIZE, text) == ERR_NONE)
		return EXIT_DONE;
	key_path(c, path, text);
	err = keyfile_info(path, &info, &m);
	if (err == ERR_NOT_FOUND && home_check(c) != EXIT_DONE)
		return EXIT_CONFIG;
	if (err == ERR_NOT_FOUND)
		return cli_fail(c, EXIT_NOT_FOUND, "not_found",
				"An account is 64 hex digits, or the name or file of a key.",
				"\"%s\" is no account, and there is no key file %s", text,
				path);
	if (err != ERR_NONE)
		return cli_fail_err(c, err, &m, NULL);
	*out = info.pub;
	return EXIT_DONE;
}

/* Looks in the key directory for the file that holds account's key. */
static bool find_key_file(struct cli *c, const struct pubkey *account, char path[PATH_SIZE])
{
	char dir[PATH_SIZE];
	struct dirent *e;
	bool found = false;
	DIR *d;

	key_directory(c, dir);
	d = opendir(dir);
	while (d != NULL && !found && (e = readdir(d)) != NULL) {
		struct keyfile_info info;
		size_t len = strlen(e->d_name);

		if (len <= 4 || strcmp(e->d_name + len - 4, ".key") != 0 ||
		    snprintf(path, PATH_SIZE, "%s/%s", dir, e->d_name) >= PATH_SIZE)
			continue;
		found = keyfile_info(path, &info, NULL) == ERR_NONE &&
			pubkey_equal(&info.pub, account);
	}
	if (d != NULL)
		closedir(d);
	return found;
}

int key_for_account(struct cli *c, const char *text, struct keypair *out)
{
	char path[PATH_SIZE], hex[PUBKEY_HEX_SIZE];
	struct pubkey account;
	int rc = account_parse(c, text, &account);

	if (rc != EXIT_DONE)
		return rc;
	if (opt_given(&c->opt, OPT_KEY))
		key_path(c, path, c->opt.value[OPT_KEY]);
	else if (!find_key_file(c, &account, path))
		key_path(c, path, text); /* a key file somewhere else */
	if (strlen(text) == 2 * PUBKEY_SIZE && strcmp(path, text) != 0 &&
	    access(path, F_OK) != 0)
		return cli_fail(
			c, EXIT_NOT_FOUND, "not_found",
			"Only the holder of an account's key can spend from it: give --key.",
			"no key file holds the key of account %s", pubkey_hex(hex, &account));
	rc = key_open(c, path, out);
	if (rc == EXIT_DONE && !pubkey_equal(&out->pub, &account)) {
		crypto_wipe(out, sizeof *out);
		return cli_fail(c, EXIT_USAGE, "usage", NULL, "%s is not the key of account %s",
				path, pubkey_hex(hex, &account));
	}
	return rc;
}
