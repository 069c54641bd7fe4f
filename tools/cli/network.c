/* The network directory: finding it, making it, its ports. */
#include "tools/cli/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "ledger/ledger.h"
#include "node/token.h"
#include "replica/files.h"
#include "replica/replica.h"
#include "tools/cli/http.h"
#include "tools/cli/verbs.h"

static bool has_file(const char *dir, const char *name)
{
	char path[PATH_SIZE];

	return snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path &&
	       access(path, F_OK) == 0;
}

bool is_node_home(const char *path)
{
	return has_file(path, "ostrakond.conf");
}

bool is_network_directory(const char *path)
{
	return has_file(path, "genesis.json") && !is_node_home(path);
}

bool network_directory(struct cli *c, char out[PATH_SIZE])
{
	const char *home = c->opt.value[OPT_HOME];

	if (snprintf(out, PATH_SIZE, "%s", home ? home : NETWORK_DEFAULT) >= PATH_SIZE)
		return false;
	return is_network_directory(out);
}

int home_check(struct cli *c)
{
	const char *home = c->opt.value[OPT_HOME];

	if (home == NULL || is_network_directory(home) || is_node_home(home))
		return EXIT_DONE;
	return cli_fail(c, EXIT_CONFIG, "config",
			"`ostrakon net init DIR` makes a network directory.",
			"%s is neither a network directory nor a node's home", home);
}

/* node9 is like node1, and so is noed1. */
static bool is_like(const char *text, const char *name)
{
	static const char digits[] = "0123456789";
	size_t stem = strlen(name), len = strlen(text);

	while (stem > 0 && strchr(digits, name[stem - 1]) != NULL)
		stem--;
	if (stem > 0 && len > stem && memcmp(text, name, stem) == 0 &&
	    strspn(text + stem, digits) == len - stem)
		return true;
	return meant_word(text, &name, 1) != NULL;
}

int node_check(struct cli *c)
{
	const char *only = c->opt.value[OPT_NODE];
	char dir[PATH_SIZE], path[PATH_SIZE + 32], names[512] = "";
	struct genesis *g;
	bool like = false, there = false;

	if (only == NULL || strpbrk(only, ".:/") != NULL || !network_directory(c, dir))
		return EXIT_DONE;
	snprintf(path, sizeof path, "%s/genesis.json", dir);
	g = mem_zalloc(sizeof *g);
	if (genesis_read(g, path, NULL) == ERR_NONE) {
		for (unsigned i = 0; i < g->n; i++) {
			const char *name = g->validator[i].name;
			size_t len = strlen(names);
			like = like || is_like(only, name);
			there = there || strcmp(only, name) == 0;
			snprintf(names + len, sizeof names - len, "%s%s", i > 0 ? ", " : "",
				 name);
		}
		genesis_free(g);
	}
	mem_free(g);
	if (there || !like)
		return EXIT_DONE;
	return cli_fail(c, EXIT_NOT_FOUND, "not_found",
			"A host's name is given with its port, as in HOST:7100.",
			"%s has no node \"%s\": its nodes are %s", dir, only, names);
}

/* A hard error of one file names it; the library's message does too. */
int network_open(struct network *out, const char *dir, struct errmsg *m)
{
	char path[PATH_SIZE];
	int err;

	memset(out, 0, sizeof *out);
	if (!is_network_directory(dir))
		return err_set(m, ERR_NOT_FOUND, "%s is not a network directory%s", dir,
			       is_node_home(dir) ? ", but the home of one node" : "");
	snprintf(out->dir, sizeof out->dir, "%s", dir);
	if (snprintf(path, sizeof path, "%s/genesis.json", dir) >= (int)sizeof path)
		return err_set(m, ERR_CONFIG, "the path of the network directory is too long");
	err = genesis_read(&out->genesis, path, m);
	if (err != ERR_NONE)
		return ERR_CONFIG;
	out->count = out->genesis.n;
	out->node = mem_array(out->count, sizeof *out->node);
	for (unsigned i = 0; i < out->count; i++) {
		struct network_node *node = &out->node[i];
		memcpy(node->name, out->genesis.validator[i].name, sizeof node->name);
		if (snprintf(node->home, sizeof node->home, "%s/%s", dir, node->name) >=
		    (int)sizeof node->home)
			return err_set(m, ERR_CONFIG, "the path of %s is too long", node->name);
		err = node_config_read(&node->config, node->home, &out->genesis, m);
		if (err != ERR_NONE)
			return ERR_CONFIG;
	}
	return ERR_NONE;
}

void network_free(struct network *n)
{
	genesis_free(&n->genesis);
	mem_free(n->node);
	memset(n, 0, sizeof *n);
}

int network_find(const struct network *n, const char *name)
{
	for (unsigned i = 0; i < n->count; i++)
		if (strcmp(n->node[i].name, name) == 0)
			return (int)i;
	return -1;
}

/* A token that cannot be read is not an error yet: the node may run without, or with an older
 * configuration. If it wants one, it says so. What OSTRAKON_API_TOKEN_FILE is to a node that
 * was started with it, it is here. */
static void use_token(const struct node_config *config, const char *url)
{
	char path[TOKEN_PATH_SIZE], token[TOKEN_SIZE];
	const char *in_environment = getenv(TOKEN_VARIABLE);
	bool given = in_environment != NULL && *in_environment != '\0';

	if (!given && config->token_file[0] == '\0')
		return;
	if (given)
		snprintf(path, sizeof path, "%s%s%s",
			 *in_environment == '/' ? "" : config->home,
			 *in_environment == '/' ? "" : "/", in_environment);
	else
		node_token_path(path, config);
	if (token_read(token, path, "token_file", NULL) == ERR_NONE)
		http_set_token(url, token);
	crypto_wipe(token, sizeof token);
}

void node_home_token(const char *home, const struct genesis *g, const char *url)
{
	struct node_config *config = mem_zalloc(sizeof *config);

	if (node_config_read(config, home, g, NULL) == ERR_NONE)
		use_token(config, url);
	mem_free(config);
}

void node_api_url(const struct network_node *node, char out[CONFIG_TEXT_MAX + 32])
{
	char path[PATH_SIZE + 8], line[CONFIG_TEXT_MAX + 32] = "";
	const char *host = node->config.api.host;
	FILE *f;

	snprintf(path, sizeof path, "%s/api", node->home);
	f = fopen(path, "re");
	if (f != NULL) {
		if (fgets(line, sizeof line, f) == NULL)
			line[0] = '\0';
		fclose(f);
		line[strcspn(line, "\r\n")] = '\0';
	}
	if (strncmp(line, "http://", 7) == 0 || strncmp(line, "https://", 8) == 0)
		snprintf(out, CONFIG_TEXT_MAX + 32, "%s", line);
	else
		snprintf(out, CONFIG_TEXT_MAX + 32,
			 strchr(host, ':') ? "http://[%s]:%u" : "http://%s:%u", host,
			 node->config.api.port);
	use_token(&node->config, out);
}

/* ---- ports ----------------------------------------------------------------------------- */

bool port_is_free(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	bool ok;

	if (fd < 0)
		return false;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	/* As servers do: a port whose last connections only linger is free. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	ok = bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 1) == 0;
	close(fd);
	return ok;
}

#define PORT_LOW  10000
#define PORT_HIGH 32000 /* below the range from which the kernel takes outgoing ports */

/* The first of count consecutive free ports; from: where to look first, 0: anywhere. */
static int find_ports(uint16_t from, unsigned count, uint16_t *out)
{
	for (unsigned attempt = 0; attempt < 500; attempt++) {
		unsigned free_ports = 0, first;
		uint32_t r;

		if (attempt == 0 && from != 0) {
			first = from;
		} else {
			crypto_random(&r, sizeof r);
			first = PORT_LOW + r % (PORT_HIGH - PORT_LOW - count) / 10 * 10;
		}
		if (first + count > 65536)
			continue;
		while (free_ports < count && port_is_free((uint16_t)(first + free_ports)))
			free_ports++;
		if (free_ports == count) {
			*out = (uint16_t)first;
			return ERR_NONE;
		}
		if (from != 0)
			return ERR_EXISTS;
	}
	return ERR_NOT_FOUND;
}

/* ---- making ---------------------------------------------------------------------------- */

static int write_text(const char *path, const char *text, struct errmsg *m)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	size_t len = strlen(text);

	if (fd < 0)
		return err_set(m, ERR_IO, "cannot write %s: %s", path, strerror(errno));
	if (write(fd, text, len) != (ssize_t)len || fsync(fd) != 0 || close(fd) != 0)
		return err_set(m, ERR_IO, "cannot write %s: %s", path, strerror(errno));
	return ERR_NONE;
}

static char *config_text(const struct genesis *g, unsigned self, uint16_t first_port)
{
	unsigned n = g->n;
	char *text =
		mem_printf("# Made by `ostrakon net init`. A flag wins over OSTRAKON_* in the\n"
			   "# environment, which wins over this file. See ostrakond(8).\n"
			   "[node]\nname = %s\nlog = info\n\n[peers]\nlisten = 127.0.0.1:%u\n",
			   g->validator[self].name, first_port + self);

	for (unsigned i = 0; i < n; i++) {
		char *longer = mem_printf("%s%s = 127.0.0.1:%u\n", text, g->validator[i].name,
					  first_port + i);
		mem_free(text);
		text = longer;
	}
	char *all =
		mem_printf("%s\n[api]\nlisten = 127.0.0.1:%u\n", text, first_port + n + self);
	mem_free(text);
	return all;
}

static int create_home(const char *dir, const struct genesis *g, unsigned i,
		       const struct keypair *key, const char *genesis_text, uint16_t first_port,
		       struct errmsg *m)
{
	char home[PATH_SIZE], path[PATH_SIZE + 32];
	char *text;
	int err;

	if (snprintf(home, sizeof home, "%s/%s", dir, g->validator[i].name) >= (int)sizeof home)
		return err_set(m, ERR_LIMIT, "the path is too long");
	if (mkdir(home, 0700) != 0)
		return err_set(m, ERR_IO, "cannot make %s: %s", home, strerror(errno));
	snprintf(path, sizeof path, "%s/data", home); /* [I15] with the key, and only then */
	err = replica_first_data(path, NULL, m);
	if (err != ERR_NONE)
		return err;
	snprintf(path, sizeof path, "%s/validator.key", home);
	err = keyfile_write(path, key, g->validator[i].name, NULL, m);
	if (err == ERR_NONE)
		err = keyfile_take(path, m);
	if (err != ERR_NONE)
		return err;
	snprintf(path, sizeof path, "%s/genesis.json", home);
	err = write_text(path, genesis_text, m);
	if (err != ERR_NONE)
		return err;
	text = config_text(g, i, first_port);
	snprintf(path, sizeof path, "%s/ostrakond.conf", home);
	err = write_text(path, text, m);
	mem_free(text);
	return err;
}

#define GOVERNANCE_KEYS	       3
#define GOVERNANCE_KEYS_NEEDED 2

/* k of m, for when more validators are lost than are tolerated (chain/recovery.h). */
#define RECOVERY_NEEDED 2
#define RECOVERY_KEYS	3

/* Fills g for validators with these keys and one client with a balance. */
static int plan_genesis(struct genesis *g, const struct network_plan *plan,
			const struct keypair *keys, const struct keypair *recovery,
			const struct keypair *governance, const struct pubkey *client,
			struct errmsg *m)
{
	genesis_defaults(g);
	snprintf(g->name, sizeof g->name, "local");
	g->time_ms = wall_ms();
	g->protocol = plan->protocol;
	if (plan->checkpoint_interval)
		g->checkpoint_interval = plan->checkpoint_interval;
	if (plan->probation)
		g->probation = plan->probation;
	g->scheme = SIG_ED25519;
	g->n = plan->nodes;
	for (unsigned i = 0; i < plan->nodes; i++) {
		snprintf(g->validator[i].name, sizeof g->validator[i].name, "node%u", i + 1);
		g->validator[i].key = keys[i].pub;
	}
	if (plan->protocol == PROTOCOL_HYBRID) {
		g->governance.k = GOVERNANCE_KEYS_NEEDED;
		g->governance.m = GOVERNANCE_KEYS;
		for (unsigned i = 0; i < GOVERNANCE_KEYS; i++)
			g->governance.key[i] = governance[i].pub;
	}
	if (protocol_is_byzantine(plan->protocol)) {
		g->recovery.k = RECOVERY_NEEDED;
		g->recovery.m = RECOVERY_KEYS;
		for (unsigned i = 0; i < RECOVERY_KEYS; i++)
			g->recovery.key[i] = recovery[i].pub;
	}
	g->open = true;
	if (plan->balance > 0) {
		g->balances = mem_array(1, sizeof *g->balances);
		g->balances[0].account = *client;
		g->balances[0].amount = plan->balance;
		g->balance_count = 1;
	}
	ledger_genesis_root(g, &g->state_root);
	return genesis_check(g, false, m);
}

static void remove_made(const struct network_plan *plan, bool made_directory)
{
	static const char *const files[] = {"validator.key", "genesis.json", "ostrakond.conf"};
	char path[PATH_SIZE + 64];

	for (unsigned i = 1; i <= plan->nodes; i++) {
		for (size_t k = 0; k < MEM_COUNT(files); k++) {
			snprintf(path, sizeof path, "%s/node%u/%s", plan->dir, i, files[k]);
			unlink(path);
		}
		snprintf(path, sizeof path, "%s/node%u/data", plan->dir, i);
		files_remove(path, NULL);
		snprintf(path, sizeof path, "%s/node%u", plan->dir, i);
		rmdir(path);
	}
	snprintf(path, sizeof path, "%s/recovery", plan->dir);
	files_remove(path, NULL);
	snprintf(path, sizeof path, "%s/client.key", plan->dir);
	unlink(path);
	snprintf(path, sizeof path, "%s/genesis.json", plan->dir);
	unlink(path);
	for (unsigned i = 1; i <= GOVERNANCE_KEYS; i++) {
		snprintf(path, sizeof path, "%s/governance-%u.key", plan->dir, i);
		unlink(path);
	}
	if (made_directory)
		rmdir(plan->dir);
}

/* In a directory of their own: of a network that matters they are kept elsewhere, each by
 * another person. */
static int create_recovery_keys(const char *dir, const struct keypair *keys, struct errmsg *m)
{
	char path[PATH_SIZE + 64], name[16];
	int err = ERR_NONE;

	snprintf(path, sizeof path, "%s/recovery", dir);
	if (mkdir(path, 0700) != 0)
		return err_set(m, ERR_IO, "cannot make %s: %s", path, strerror(errno));
	for (unsigned i = 0; i < RECOVERY_KEYS && err == ERR_NONE; i++) {
		snprintf(name, sizeof name, "recovery%u", i + 1);
		snprintf(path, sizeof path, "%s/recovery/%s.key", dir, name);
		err = keyfile_write(path, &keys[i], name, NULL, m);
	}
	return err;
}

static int create_files(const struct network_plan *plan, uint16_t first_port, struct errmsg *m)
{
	struct keypair *keys = mem_array(plan->nodes, sizeof *keys), client;
	struct keypair governance[GOVERNANCE_KEYS];
	struct keypair recovery[RECOVERY_KEYS];
	char path[PATH_SIZE + 32], *text = NULL;
	struct genesis g;
	int err;

	for (unsigned i = 0; i < plan->nodes; i++)
		keypair_generate(&keys[i]);
	keypair_generate(&client);
	for (unsigned i = 0; i < GOVERNANCE_KEYS; i++)
		keypair_generate(&governance[i]);
	for (unsigned i = 0; i < RECOVERY_KEYS; i++)
		keypair_generate(&recovery[i]);
	err = plan_genesis(&g, plan, keys, recovery, governance, &client.pub, m);
	if (err == ERR_NONE)
		text = genesis_json(&g);
	for (unsigned i = 0; i < plan->nodes && err == ERR_NONE; i++)
		err = create_home(plan->dir, &g, i, &keys[i], text, first_port, m);
	if (err == ERR_NONE) {
		snprintf(path, sizeof path, "%s/client.key", plan->dir);
		err = keyfile_write(path, &client, "client", NULL, m);
	}
	for (unsigned i = 0; i < g.governance.m && err == ERR_NONE; i++) {
		char label[32];
		snprintf(label, sizeof label, "governance-%u", i + 1);
		snprintf(path, sizeof path, "%s/%s.key", plan->dir, label);
		err = keyfile_write(path, &governance[i], label, NULL, m);
	}
	crypto_wipe(governance, sizeof governance);
	if (err == ERR_NONE && g.recovery.m > 0)
		err = create_recovery_keys(plan->dir, recovery, m);
	if (err == ERR_NONE) { /* last: it makes the directory a network directory */
		snprintf(path, sizeof path, "%s/genesis.json", plan->dir);
		err = write_text(path, text, m);
	}
	mem_free(text);
	genesis_free(&g);
	crypto_wipe(&client, sizeof client);
	crypto_wipe(recovery, sizeof recovery);
	crypto_wipe(keys, plan->nodes * sizeof *keys);
	mem_free(keys);
	return err;
}

int network_create(const struct network_plan *plan, struct errmsg *m)
{
	bool made = false;
	uint16_t first_port;
	int err;

	if (strlen(plan->dir) > PATH_SIZE - 64)
		return err_set(m, ERR_SYNTAX, "the path is too long");
	if (access(plan->dir, F_OK) != 0) {
		err = make_directory(plan->dir, 0755);
		if (err != ERR_NONE)
			return err_set(m, ERR_IO, "cannot make %s: %s", plan->dir,
				       strerror(errno));
		made = true;
	} else if (rmdir(plan->dir) == 0) { /* there, but empty: as good as new */
		if (mkdir(plan->dir, 0755) != 0)
			return err_set(m, ERR_IO, "cannot make %s: %s", plan->dir,
				       strerror(errno));
	} else {
		return err_set(m, ERR_EXISTS, "%s is there already and not empty", plan->dir);
	}
	err = find_ports(plan->first_port, 2 * plan->nodes, &first_port);
	if (err == ERR_NONE)
		err = create_files(plan, first_port, m);
	else if (plan->first_port != 0)
		err_set(m, err, "ports %u to %u are not all free", plan->first_port,
			plan->first_port + 2 * plan->nodes - 1);
	else
		err_set(m, err, "found no %u free ports in a row", 2 * plan->nodes);
	if (err != ERR_NONE)
		remove_made(plan, made);
	return err;
}

/* ---- other ports ----------------------------------------------------------------------- */

/* Replaces `key = ...` lines of a section, leaving the rest of the file as it is. */
static char *replace_line(char *text, const char *section, const char *key, unsigned port)
{
	char *out = mem_strdup(""), here[64] = "";

	for (char *line = text; *line;) {
		size_t n = strcspn(line, "\n"), k = strspn(line, " \t"), len = strlen(key);
		char *next, *p = line + k;
		bool mine = false;

		if (*p == '[')
			snprintf(here, sizeof here, "%.*s", (int)strcspn(p + 1, "]\n"), p + 1);
		else if (strcmp(here, section) == 0 && strncmp(p, key, len) == 0)
			mine = p[len + strspn(p + len, " \t")] == '=';
		if (mine)
			next = mem_printf("%s%s = 127.0.0.1:%u\n", out, key, port);
		else
			next = mem_printf("%s%.*s\n", out, (int)n, line);
		mem_free(out);
		out = next;
		line += n + (line[n] == '\n');
	}
	mem_free(text);
	return out;
}

static char *read_text(const char *path, size_t max)
{
	FILE *f = fopen(path, "re");
	char *text;
	size_t n;

	if (f == NULL)
		return NULL;
	text = mem_zalloc(max + 1);
	n = fread(text, 1, max, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

/* Writes every node's configuration anew, with the addresses that n holds. */
static int rewrite_configs(struct network *n, struct errmsg *m)
{
	for (unsigned i = 0; i < n->count; i++) {
		char path[PATH_SIZE + 64], temporary[PATH_SIZE + 80];
		struct node_config *config = &n->node[i].config;
		char *text;
		int err;

		snprintf(path, sizeof path, "%s/ostrakond.conf", n->node[i].home);
		text = read_text(path, 1 << 20);
		if (text == NULL)
			return err_set(m, ERR_IO, "cannot read %s: %s", path, strerror(errno));
		text = replace_line(text, "peers", "listen", config->listen.port);
		for (unsigned k = 0; k < n->count; k++)
			text = replace_line(text, "peers", n->node[k].name,
					    n->node[k].config.listen.port);
		text = replace_line(text, "api", "listen", config->api.port);
		snprintf(temporary, sizeof temporary, "%s.new", path);
		err = write_text(temporary, text, m);
		mem_free(text);
		if (err == ERR_NONE && rename(temporary, path) != 0)
			err = err_set(m, ERR_IO, "cannot replace %s: %s", path,
				      strerror(errno));
		if (err != ERR_NONE)
			return err;
	}
	return ERR_NONE;
}

int network_fix_ports(struct cli *c, struct network *n, const bool *running, struct errmsg *m)
{
	int changed = 0, err;

	for (unsigned i = 0; i < 2 * n->count; i++) {
		struct network_node *node = &n->node[i / 2];
		struct node_peer_address *a = i % 2 ? &node->config.api : &node->config.listen;
		uint16_t port;

		if (running[i / 2] || strcmp(a->host, "127.0.0.1") != 0 ||
		    port_is_free(a->port))
			continue;
		err = find_ports(0, 1, &port);
		if (err != ERR_NONE)
			return err_set(m, err, "found no free port for %s", node->name);
		fprintf(c->err, "%s: port %u is taken by another program; %s port is now %u\n",
			node->name, a->port, i % 2 ? "its API's" : "its peers'", port);
		a->port = port;
		changed++;
	}
	if (changed > 0) {
		err = rewrite_configs(n, m);
		if (err != ERR_NONE)
			return err;
	}
	return changed;
}
