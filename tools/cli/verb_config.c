/* config show: what each node's configuration comes to, and where each value is from. */
#include <string.h>

#include "base/mem.h"
#include "tools/cli/network.h"
#include "tools/cli/verbs.h"

static int add_home(struct cli *c, const char *home, const struct genesis *g, struct json *rows)
{
	struct node_config *config = mem_zalloc(sizeof *config);
	struct json *list = NULL;
	struct errmsg m;
	int err = node_config_read(config, home, g, &m);

	if (err == ERR_NONE)
		err = node_config_environment(config, g, &m);
	if (err == ERR_NONE)
		list = node_config_json(config, g);
	mem_free(config);
	if (err != ERR_NONE)
		return cli_fail(c, EXIT_CONFIG, "config", NULL, "%s", m.text);
	for (size_t i = 0; i < json_len(list); i++) {
		const char *name = strrchr(home, '/');
		struct json *row = json_object(), *from = json_at(list, i);
		json_set(row, "node", json_string(name && name[1] ? name + 1 : home));
		for (const char *k = json_key_next(from, NULL); k != NULL;
		     k = json_key_next(from, k))
			json_set(row, k, json_copy(json_get(from, k)));
		json_append(rows, row);
	}
	json_free(list);
	return EXIT_DONE;
}

static int collect(struct cli *c, struct json *rows)
{
	const char *only = c->opt.arg_count > 0 ? c->opt.arg[0] : NULL,
		   *home = c->opt.value[OPT_HOME];
	char dir[PATH_SIZE], path[PATH_SIZE + GENESIS_NAME_MAX + 2];
	bool network = network_directory(c, dir), found = false;
	struct genesis *g = mem_zalloc(sizeof *g);
	struct errmsg m;
	int rc = EXIT_DONE;

	if (!network && (home == NULL || !is_node_home(home))) {
		mem_free(g);
		return cli_fail(c, EXIT_CONFIG, "config", "`ostrakon net init DIR` makes one.",
				"%s is neither a network directory nor a node's home",
				home ? home : NETWORK_DEFAULT);
	}
	snprintf(path, sizeof path, "%s/genesis.json", network ? dir : home);
	if (genesis_read(g, path, &m) != ERR_NONE) {
		mem_free(g);
		return cli_fail(c, EXIT_CONFIG, "config", NULL, "%s", m.text);
	}
	if (!network)
		rc = add_home(c, home, g, rows);
	for (unsigned i = 0; network && i < g->n && rc == EXIT_DONE; i++) {
		if (only != NULL && strcmp(only, g->validator[i].name) != 0)
			continue;
		found = true;
		snprintf(path, sizeof path, "%s/%s", dir, g->validator[i].name);
		rc = add_home(c, path, g, rows);
	}
	if (rc == EXIT_DONE && network && !found)
		rc = cli_fail(c, EXIT_NOT_FOUND, "not_found", NULL, "%s has no node \"%s\"",
			      dir, only);
	genesis_free(g);
	mem_free(g);
	return rc;
}

int verb_config_show(struct cli *c)
{
	static const struct column columns[] = {{"NODE", "node"},
						{"KEY", "key"},
						{"VALUE", "value"},
						{"ORIGIN", "origin"},
						{"SOURCE", "source"}};
	struct json *rows = json_array();
	bool origin = opt_given(&c->opt, OPT_ORIGIN);
	int rc = collect(c, rows);

	if (rc == EXIT_DONE)
		out_rows(c, columns, origin ? 5 : 3, rows);
	else
		json_free(rows);
	return rc;
}
