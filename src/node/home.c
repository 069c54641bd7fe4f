#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "crypto/keyfile.h"
#include "node/home.h"
#include "replica/files.h"

#define KEYS_KEPT_MAX 1000

static int locked_by_other(const char *home, int fd, struct errmsg *m)
{
	char pid[32] = "";
	ssize_t len = pread(fd, pid, sizeof pid - 1, 0);
	pid[len > 0 ? strcspn(pid, "\n") : 0] = 0;
	close(fd);
	return err_set(m, ERR_LOCKED, "%s is in use by another ostrakond%s%s", home,
		       pid[0] ? ", process " : "", pid);
}

int home_lock(struct home_lock *l, const char *home, struct errmsg *m)
{
	l->fd = -1;
	snprintf(l->pid_path, sizeof l->pid_path, "%s/ostrakond.pid", home);
	snprintf(l->api_path, sizeof l->api_path, "%s/api", home);
	for (;;) {
		int fd = open(l->pid_path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		if (fd < 0)
			return err_set(m, ERR_CONFIG, "%s: %s", l->pid_path, strerror(errno));
		if (flock(fd, LOCK_EX | LOCK_NB) != 0)
			return locked_by_other(home, fd, m);
		/* Another process may have removed the file between open and lock. */
		struct stat ours, there;
		if (fstat(fd, &ours) == 0 && stat(l->pid_path, &there) == 0 &&
		    ours.st_ino == there.st_ino && ours.st_dev == there.st_dev) {
			l->fd = fd;
			break;
		}
		close(fd);
	}
	char text[32];
	int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
	unlink(l->api_path); /* of a process that was killed */
	if (ftruncate(l->fd, 0) != 0 || pwrite(l->fd, text, (size_t)len, 0) != len)
		return err_set(m, ERR_IO, "%s: %s", l->pid_path, strerror(errno));
	return ERR_NONE;
}

int home_write_url(struct home_lock *l, const char *url, struct errmsg *m)
{
	char temporary[sizeof l->api_path + 8];
	snprintf(temporary, sizeof temporary, "%s.new", l->api_path);
	FILE *f = fopen(temporary, "w");
	bool ok = f && fprintf(f, "%s\n", url) > 0;
	if (f)
		ok = fclose(f) == 0 && ok;
	if (ok && rename(temporary, l->api_path) == 0)
		return ERR_NONE;
	return err_set(m, ERR_IO, "%s: %s", l->api_path, strerror(errno));
}

void home_unlock(struct home_lock *l)
{
	if (l->fd < 0)
		return;
	unlink(l->api_path);
	unlink(l->pid_path);
	close(l->fd);
	l->fd = -1;
}

static int find_self(struct node *n, const char *path, struct errmsg *m)
{
	char hex[PUBKEY_HEX_SIZE];
	for (n->self = 0; n->self < n->genesis.n; n->self++)
		if (pubkey_equal(genesis_validator_key(&n->genesis, n->self), &n->key.pub))
			break;
	/* A key made later, for a place that the configuration names: it votes once governance
	 * has put it there, which after a recovery it cannot. */
	bool may_come = n->self == n->genesis.n && !n->genesis.recovery_count;
	for (unsigned v = 0; may_come && v < n->genesis.n; v++)
		if (n->config.name[0] &&
		    strcmp(n->genesis.validator[v].name, n->config.name) == 0) {
			n->self = v;
			return ERR_NONE;
		}
	if (n->self == n->genesis.n)
		return err_set(
			m, ERR_CONFIG,
			"%s: the key %s is not that of a validator of the genesis file, and "
			"the configuration names no place, [node] name, that it is for; this "
			"version runs validators only",
			path, pubkey_hex(hex, &n->key.pub));
	const char *name = n->genesis.validator[n->self].name;
	if (n->config.name[0] && strcmp(n->config.name, name) != 0)
		return err_set(
			m, ERR_CONFIG,
			"the configuration says that this is %s, but %s is the key of %s: two "
			"nodes with one key would convict each other",
			n->config.name, path, name);
	strcpy(n->config.name, name);
	return ERR_NONE;
}

/* In words, before anything else is missed. */
static int check_restored(const char *home, struct errmsg *m)
{
	char restored[CONFIG_PATH_MAX + 32], key[CONFIG_PATH_MAX + 32];
	snprintf(restored, sizeof restored, "%s/RESTORED", home);
	snprintf(key, sizeof key, "%s/validator.key", home);
	if (access(restored, F_OK) != 0 || access(key, F_OK) == 0)
		return ERR_NONE;
	return err_set(m, ERR_CONFIG,
		       "%s was restored from a backup and has no validator.key. With a key it "
		       "follows the chain, answers reads and never votes, whatever the key: "
		       "%s says why. Without one, `ostrakon db inspect` shows what it has",
		       home, restored);
}

int home_read(struct node *n, const char *home, const char *passphrase, struct errmsg *m)
{
	char path[CONFIG_PATH_MAX + 32];
	if (strlen(home) > CONFIG_PATH_MAX)
		return err_set(m, ERR_CONFIG, "the home directory's path is too long");
	snprintf(path, sizeof path, "%s/genesis.json", home);
	int err = genesis_read(&n->genesis, path, m);
	if (err == ERR_NONE)
		err = check_restored(home, m);
	if (err != ERR_NONE)
		return err;
	err = node_config_read(&n->config, home, &n->genesis, m);
	if (err != ERR_NONE)
		return err;
	snprintf(path, sizeof path, "%s/validator.key", home);
	err = keyfile_read(path, &n->key, passphrase, m);
	if (err != ERR_NONE)
		return err;
	return find_self(n, path, m);
}

static int copy_file(const char *from, const char *to, mode_t mode, struct errmsg *m)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	int why = errno;
	bool ok = in >= 0 && out >= 0;
	char buf[65536];
	ssize_t len = 0;
	while (ok && (len = read(in, buf, sizeof buf)) > 0)
		ok = write(out, buf, (size_t)len) == len;
	ok = ok && len == 0 && fsync(out) == 0;
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return ok ? ERR_NONE
		  : err_set(m, why == EEXIST ? ERR_EXISTS : ERR_IO, "%s to %s: %s", from, to,
			    strerror(why));
}

/* A vote state that begins empty is for a key that has signed nothing. */
static int check_not_taken(const char *path, const struct keyfile_info *key, struct errmsg *m)
{
	static const char name[] = "validator.key";
	size_t len = strlen(path), name_len = sizeof name - 1;
	bool of_home = len >= name_len && strcmp(path + len - name_len, name) == 0 &&
		       (len == name_len || path[len - name_len - 1] == '/');
	if (of_home) { /* of a time before key files said so themselves */
		char *conf = mem_printf("%.*sostrakond.conf", (int)(len - name_len), path);
		of_home = access(conf, F_OK) == 0;
		mem_free(conf);
	}
	if (!key->taken && !of_home)
		return ERR_NONE;
	return err_set(
		m, ERR_EXISTS,
		"%s: this key has, or has had, a home. What it has signed there is not known "
		"here, so it must not begin with an empty vote state. If that home's data "
		"directory still exists, run it there; if not, make a new key with `ostrakon "
		"key new` and have governance replace this one (`ostrakon member replace`)",
		path);
}

static int write_config(const struct home_init *init, const char *path, const char *name,
			struct errmsg *m)
{
	FILE *f = fopen(path, "wx");
	if (!f)
		return err_set(m, errno == EEXIST ? ERR_EXISTS : ERR_IO, "%s: %s", path,
			       strerror(errno));
	fprintf(f, "[node]\nname = %s\nlog = info\n\n[peers]\n", name);
	if (init->peers_listen)
		fprintf(f, "listen = %s\n", init->peers_listen);
	for (unsigned i = 0; i < init->peer_count; i++) {
		const char *equals = strchr(init->peers[i], '=');
		fprintf(f, "%.*s = %s\n", (int)(equals - init->peers[i]), init->peers[i],
			equals + 1);
	}
	if (init->api_listen)
		fprintf(f, "\n[api]\nlisten = %s\n", init->api_listen);
	return fclose(f) == 0 ? ERR_NONE : err_set(m, ERR_IO, "%s: %s", path, strerror(errno));
}

static int init_files(const struct home_init *init, const struct genesis *g, const char *name,
		      const struct pubkey *fresh, struct errmsg *m)
{
	char path[CONFIG_PATH_MAX + 32], data[CONFIG_PATH_MAX + 32];
	if (mkdir(init->home, 0700) != 0 && errno != EEXIST)
		return err_set(m, ERR_IO, "%s: %s", init->home, strerror(errno));
	snprintf(data, sizeof data, "%s/data", init->home);
	if (access(data, F_OK) == 0)
		return err_set(
			m, ERR_EXISTS,
			"%s is there already: this home has been used, and its validator "
			"may have signed what a new vote state would not know of",
			data);
	snprintf(path, sizeof path, "%s/ostrakond.conf", init->home);
	int err = write_config(init, path, name, m);
	if (err != ERR_NONE)
		return err;
	struct node_config config;
	err = node_config_read(&config, init->home, g, m);
	if (err != ERR_NONE) {
		unlink(path); /* so that a corrected second try finds no leftovers */
		return err;
	}
	snprintf(path, sizeof path, "%s/genesis.json", init->home);
	err = copy_file(init->genesis, path, 0644, m);
	if (err != ERR_NONE)
		return err;
	/* [I15] The first vote state comes with the key, and only then. The home can run last
	 * of all: whatever is cut off before, no other one is made for the key once this one
	 * may vote. */
	err = replica_first_data(data, fresh, m);
	if (err == ERR_NONE)
		err = keyfile_take(init->key, m);
	if (err != ERR_NONE)
		return err;
	snprintf(path, sizeof path, "%s/validator.key", init->home);
	return copy_file(init->key, path, 0600, m);
}

int home_init(const struct home_init *init, struct errmsg *m)
{
	if (strlen(init->home) > CONFIG_PATH_MAX)
		return err_set(m, ERR_CONFIG, "the home directory's path is too long");
	for (unsigned i = 0; i < init->peer_count; i++)
		if (!strchr(init->peers[i], '='))
			return err_set(m, ERR_CONFIG, "--peer %s is not NAME=HOST:PORT",
				       init->peers[i]);
	struct keyfile_info key;
	int err = keyfile_info(init->key, &key, m);
	if (err == ERR_NONE)
		err = check_not_taken(init->key, &key, m);
	if (err != ERR_NONE)
		return err;
	struct genesis g;
	err = genesis_read(&g, init->genesis, m);
	if (err != ERR_NONE)
		return err;
	unsigned self = 0;
	while (self < g.n && !pubkey_equal(genesis_validator_key(&g, self), &key.pub))
		self++;
	const struct pubkey *fresh = self == g.n ? &key.pub : NULL;
	for (unsigned v = 0; self == g.n && v < g.n && !g.recovery_count; v++)
		if (init->name && strcmp(g.validator[v].name, init->name) == 0) {
			self = v; /* a new key for this place */
			break;
		}
	if (self == g.n && init->name && g.recovery_count)
		err = err_set(m, ERR_UNSUPPORTED,
			      "%s is not the key of a validator in %s, whose chain has been "
			      "recovered: after that no validator gets a new key",
			      init->key, init->genesis);
	else if (self == g.n && init->name)
		err = err_set(m, ERR_CONFIG, "%s is not the name of a validator in %s",
			      init->name, init->genesis);
	else if (self == g.n)
		err = err_set(m, ERR_CONFIG,
			      "%s is not the key of a validator in %s; if it is a new key for "
			      "one, say for which: --name NODE",
			      init->key, init->genesis);
	else if (!fresh && init->name && strcmp(g.validator[self].name, init->name) != 0)
		err = err_set(m, ERR_CONFIG, "%s is the key of %s, not of %s", init->key,
			      g.validator[self].name, init->name);
	else
		err = init_files(init, &g, g.validator[self].name, fresh, m);
	genesis_free(&g);
	return err;
}

/* The place is the configuration's: the new key is in no genesis file. */
static int check_new_key(const struct genesis *g, const struct node_config *config,
			 const char *old_path, const char *path, const struct pubkey *key,
			 struct errmsg *m)
{
	struct keyfile_info old;
	struct errmsg unread;
	if (g->recovery_count)
		return err_set(m, ERR_UNSUPPORTED,
			       "this chain has been recovered: after that no validator gets a "
			       "new key");
	if (!config->name[0])
		return err_set(m, ERR_CONFIG,
			       "the configuration does not say whose place this is: add name = "
			       "NODE to its section [node]");
	for (unsigned v = 0; v < g->n; v++)
		if (pubkey_equal(genesis_validator_key(g, v), key))
			return err_set(m, ERR_CONFIG,
				       "%s is the key of %s in the genesis file, and no new "
				       "one: make one with `ostrakon key new`",
				       path, g->validator[v].name);
	if (keyfile_info(old_path, &old, &unread) == ERR_NONE && pubkey_equal(&old.pub, key))
		return err_set(m, ERR_EXISTS, "%s is the key that this home has", path);
	return ERR_NONE;
}

static bool is_same_file(const char *a, const char *b)
{
	struct stat sa, sb;
	return stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

/* Beside the new one, under a name that no older one has. */
static int keep_old_key(const char *path, struct errmsg *m)
{
	char old[CONFIG_PATH_MAX + 64];
	for (unsigned i = 1; i < KEYS_KEPT_MAX; i++) {
		int len = snprintf(old, sizeof old, "%s.old", path);
		if (i > 1)
			snprintf(old + len, sizeof old - (size_t)len, ".%u", i);
		if (link(path, old) == 0 || errno == ENOENT)
			return ERR_NONE;
		if (errno != EEXIST)
			break;
		if (is_same_file(path, old)) /* a try that was cut off */
			return ERR_NONE;
	}
	return err_set(m, ERR_IO, "%s: %s", old, strerror(errno));
}

/* Its first vote state, unless it is none. A key file that is taken is this home's own if that
 * is written already: then a try was cut off. */
static int mark_new_key(const char *home, const char *key, const struct keyfile_info *info,
			struct errmsg *m)
{
	char path[CONFIG_PATH_MAX + 32];
	struct store *store;
	struct store_options options = {0};
	snprintf(path, sizeof path, "%s/data", home);
	int err = store_open_rocksdb(&store, path, &options, m);
	if (err != ERR_NONE)
		return err;
	if (!replica_is_first_of(store, &info->pub))
		err = check_not_taken(key, info, m);
	if (err == ERR_NONE) {
		err = replica_first_votes_of(store, &info->pub);
		if (err == ERR_EXISTS)
			err_set(m, err,
				"%s: this key has voted from %s, and is no new one: make one "
				"with `ostrakon key new`",
				key, home);
		else if (err != ERR_NONE)
			err_set(m, err,
				"writing the first vote state of the new key into %s: %s", path,
				err_text(err));
	}
	store_close(store);
	return err;
}

/* Whatever is cut off in between, the home has one of the two keys, and what its data says of
 * the new one is true. */
static int install_key(const char *home, const char *key, const struct keyfile_info *info,
		       struct errmsg *m)
{
	char path[CONFIG_PATH_MAX + 32], fresh[CONFIG_PATH_MAX + 32];
	int err = mark_new_key(home, key, info, m);
	if (err == ERR_NONE)
		err = keyfile_take(key, m);
	if (err != ERR_NONE)
		return err;
	snprintf(path, sizeof path, "%s/validator.key", home);
	snprintf(fresh, sizeof fresh, "%s/validator.key.new", home);
	if (!is_same_file(key, fresh)) {
		unlink(fresh); /* of a try that was cut off */
		err = copy_file(key, fresh, 0600, m);
	}
	if (err == ERR_NONE)
		err = keep_old_key(path, m);
	if (err != ERR_NONE)
		return err;
	if (rename(fresh, path) != 0)
		return err_set(m, ERR_IO, "%s: %s", path, strerror(errno));
	return files_sync_dir(home, m);
}

int home_rekey(const char *home, const char *key, struct errmsg *m)
{
	char path[CONFIG_PATH_MAX + 32];
	struct keyfile_info info;
	struct node_config config;
	struct genesis g;
	struct home_lock lock;
	if (strlen(home) > CONFIG_PATH_MAX)
		return err_set(m, ERR_CONFIG, "the home directory's path is too long");
	int err = keyfile_info(key, &info, m);
	if (err != ERR_NONE)
		return err;
	snprintf(path, sizeof path, "%s/genesis.json", home);
	err = genesis_read(&g, path, m);
	if (err != ERR_NONE)
		return err;
	snprintf(path, sizeof path, "%s/validator.key", home);
	err = node_config_read(&config, home, &g, m);
	if (err == ERR_NONE)
		err = check_new_key(&g, &config, path, key, &info.pub, m);
	genesis_free(&g);
	if (err == ERR_NONE)
		err = home_lock(&lock, home, m);
	if (err != ERR_NONE)
		return err;
	err = install_key(home, key, &info, m);
	home_unlock(&lock);
	return err;
}
