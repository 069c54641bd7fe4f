/* key new | show | list | passwd */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/cli/keys.h"
#include "tools/cli/network.h"
#include "tools/cli/verbs.h"

static struct json *key_json(const char *path, const struct keyfile_info *info)
{
	const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	char name[256];
	struct json *o = json_object();
	size_t len;

	snprintf(name, sizeof name, "%s", base);
	len = strlen(name);
	if (len > 4 && strcmp(name + len - 4, ".key") == 0)
		name[len - 4] = '\0';
	json_set(o, "name", json_string(name));
	json_set(o, "public_key", json_hex(info->pub.b, PUBKEY_SIZE));
	json_set(o, "encrypted", json_bool(info->encrypted));
	json_set(o, "label", json_string(info->label));
	json_set(o, "path", json_string(path));
	return o;
}

/* The key file that the verb is about: its argument, or --key, or "default". */
static const char *key_argument(struct cli *c)
{
	if (c->opt.arg_count > 0)
		return c->opt.arg[0];
	return opt_given(&c->opt, OPT_KEY) ? c->opt.value[OPT_KEY] : "default";
}

/* A directory that the command line names, and that is none, would leave the keys elsewhere
 * than is believed. */
static int check_place(struct cli *c)
{
	return c->opt.from_environment[OPT_HOME] ? EXIT_DONE : home_check(c);
}

int make_directory(const char *path, unsigned mode)
{
	char part[PATH_SIZE];

	if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
		return ERR_LIMIT;
	for (char *p = part + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(part, mode) != 0 && errno != EEXIST)
			return ERR_IO;
		*p = '/';
	}
	if (mkdir(part, mode) != 0 && errno != EEXIST)
		return ERR_IO;
	return ERR_NONE;
}

int verb_key_new(struct cli *c)
{
	const char *name = key_argument(c), *label = c->opt.value[OPT_LABEL], *base;
	char path[PATH_SIZE], dir[PATH_SIZE], passphrase[PASSPHRASE_MAX];
	bool plain = opt_given(&c->opt, OPT_UNENCRYPTED);
	struct keyfile_info info;
	struct keypair key;
	struct errmsg m;
	int err;

	if (strchr(name, '/') == NULL && check_place(c) != EXIT_DONE)
		return EXIT_CONFIG;
	key_path(c, path, name);
	if (strchr(name, '/') == NULL && !key_name_ok(name))
		return cli_usage(c,
				 "\"%s\" is no name for a key: letters, digits, '.', '_' and "
				 "'-', at most %d",
				 name, KEYFILE_LABEL_MAX);
	snprintf(dir, sizeof dir, "%s", path);
	if (strrchr(dir, '/') != NULL && strrchr(dir, '/') != dir) {
		*strrchr(dir, '/') = '\0';
		if (make_directory(dir, 0700) != ERR_NONE)
			return cli_fail(c, EXIT_CONFIG, "io", NULL,
					"cannot make directory %s: %s", dir, strerror(errno));
	}
	if (access(path, F_OK) == 0)
		return cli_fail(c, EXIT_LOCKED, "exists",
				"Choose another name, or move the old file away first.",
				"%s exists; a key is never overwritten", path);
	if (!plain) {
		err = passphrase_get(c, PASSPHRASE_OLD, "passphrase for the new key", true,
				     passphrase, &m);
		if (err != ERR_NONE)
			return cli_fail_err(c, err, &m,
					    "Or --unencrypted stores the key in plain.");
	}
	base = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
	keypair_generate(&key);
	err = keyfile_write(path, &key, label ? label : base, plain ? NULL : passphrase, &m);
	crypto_wipe(passphrase, sizeof passphrase);
	crypto_wipe(&key, sizeof key);
	if (err == ERR_NONE)
		err = keyfile_info(path, &info, &m);
	if (err != ERR_NONE)
		return cli_fail_err(c, err, &m, NULL);
	if (plain)
		cli_hint(c, "The key is not encrypted: whoever reads %s can sign with it.",
			 path);
	out_object(c, key_json(path, &info));
	return EXIT_DONE;
}

int verb_key_show(struct cli *c)
{
	struct keyfile_info info;
	char path[PATH_SIZE];
	struct errmsg m;
	int err;

	key_path(c, path, key_argument(c));
	err = keyfile_info(path, &info, &m);
	if (err == ERR_NOT_FOUND)
		return cli_fail(c, EXIT_NOT_FOUND, "not_found",
				"`ostrakon key list` shows the keys there are.",
				"there is no key file %s", path);
	if (err != ERR_NONE)
		return cli_fail_err(c, err, &m, NULL);
	out_object(c, key_json(path, &info));
	return EXIT_DONE;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int verb_key_list(struct cli *c)
{
	static const struct column columns[] = {{"NAME", "name"},
						{"PUBLIC KEY", "public_key"},
						{"ENCRYPTED", "encrypted"},
						{"LABEL", "label"}};
	char dir[PATH_SIZE], path[PATH_SIZE + 256], **names = NULL;
	struct json *rows;
	size_t count = 0;
	struct dirent *e;
	DIR *d;

	if (check_place(c) != EXIT_DONE)
		return EXIT_CONFIG;
	rows = json_array();
	key_directory(c, dir);
	d = opendir(dir);
	while (d != NULL && (e = readdir(d)) != NULL) {
		size_t len = strlen(e->d_name);
		if (len <= 4 || strcmp(e->d_name + len - 4, ".key") != 0 || e->d_name[0] == '.')
			continue;
		names = mem_realloc(names, (count + 1) * sizeof *names);
		names[count++] = mem_strdup(e->d_name);
	}
	if (d != NULL)
		closedir(d);
	if (count > 0)
		qsort(names, count, sizeof *names, compare_names);
	for (size_t i = 0; i < count; i++) {
		struct keyfile_info info;
		struct errmsg m;
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		if (keyfile_info(path, &info, &m) == ERR_NONE)
			json_append(rows, key_json(path, &info));
		else
			fprintf(c->err, "ostrakon: left out %s: %s\n", path, m.text);
		mem_free(names[i]);
	}
	mem_free(names);
	if (count == 0)
		cli_hint(c, "There are no keys in %s; `ostrakon key new` makes one.", dir);
	out_rows(c, columns, MEM_COUNT(columns), rows);
	return EXIT_DONE;
}

int verb_key_passwd(struct cli *c)
{
	char path[PATH_SIZE], old_pass[PASSPHRASE_MAX], new_pass[PASSPHRASE_MAX];
	bool plain = opt_given(&c->opt, OPT_UNENCRYPTED);
	struct keyfile_info info;
	struct errmsg m;
	int err;

	key_path(c, path, key_argument(c));
	err = keyfile_info(path, &info, &m);
	if (err == ERR_NOT_FOUND)
		return cli_fail(c, EXIT_NOT_FOUND, "not_found", NULL, "there is no key file %s",
				path);
	if (err == ERR_NONE && info.encrypted)
		err = passphrase_get(c, PASSPHRASE_OLD, "old passphrase", false, old_pass, &m);
	if (err == ERR_NONE && !plain)
		err = passphrase_get(c, PASSPHRASE_NEW, "new passphrase", true, new_pass, &m);
	if (err == ERR_NONE)
		err = keyfile_rekey(path, info.encrypted ? old_pass : NULL,
				    plain ? NULL : new_pass, &m);
	crypto_wipe(old_pass, sizeof old_pass);
	crypto_wipe(new_pass, sizeof new_pass);
	if (err == ERR_NONE)
		err = keyfile_info(path, &info, &m);
	if (err != ERR_NONE)
		return cli_fail_err(c, err, &m, NULL);
	out_object(c, key_json(path, &info));
	return EXIT_DONE;
}
