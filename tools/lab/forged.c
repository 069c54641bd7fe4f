/* A forged node: ostrakond's own main loop and links, its engine inside an adversary. What it
 * does is in the environment, set by ostrakon-lab, variables that begin with OSTRAKON_FORGE_:
 *
 * - ATTACKS: names, separated by commas; TARGETS: bit mask of validators, 0: by chance;
 * - FROM: final height from which on it lies; MOODS=1: attacks come and go;
 * - LEADING=1: only while it leads; FOLLOWING=1: only while it does not;
 * - TEAM: homes of those that it colludes with, separated by colons: it holds their keys too.
 *
 * Later orders are read from HOME/orders when that file changes: names as above; none is
 * peace. HOME/strikes says how often each attack has struck. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "consensus/engine_private.h"
#include "crypto/keyfile.h"
#include "node/node.h"
#include "sim/adversary.h"

#define ORDERS_EVERY_US 50000

int forge_prepare(struct node *n, struct errmsg *m);

static struct chain_ctx ctx;
static struct team *team;

/* Around the adversary: an ear for orders. */
struct listener {
	struct engine base;
	struct engine *adversary;
	char path[CONFIG_PATH_MAX + 32], strikes[CONFIG_PATH_MAX + 32];
	uint64_t struck; /* as written */
	uint64_t next;
	struct timespec changed;
};

static bool parse_attacks(const char *text, uint64_t *out, char bad[64])
{
	char copy[1024];
	*out = 0;
	snprintf(copy, sizeof copy, "%s", text);
	for (char *save, *name = strtok_r(copy, ", \n", &save); name;
	     name = strtok_r(NULL, ", \n", &save)) {
		int a = attack_by_name(name);
		if (a < 0) {
			snprintf(bad, 64, "%s", name);
			return false;
		}
		*out |= ATTACK_BIT(a);
	}
	return true;
}

static void listen_for_orders(struct listener *l)
{
	char text[1024] = "", bad[64];
	uint64_t attacks;
	struct stat st;
	if (stat(l->path, &st) != 0 || (st.st_mtim.tv_sec == l->changed.tv_sec &&
					st.st_mtim.tv_nsec == l->changed.tv_nsec))
		return;
	l->changed = st.st_mtim;
	FILE *f = fopen(l->path, "r");
	if (!f)
		return;
	size_t len = fread(text, 1, sizeof text - 1, f);
	text[len] = 0;
	fclose(f);
	if (!parse_attacks(text, &attacks, bad)) {
		log_write(LOG_NODE, LOG_WARN, "orders name an attack that there is not: %s",
			  bad);
		return;
	}
	log_write(LOG_NODE, LOG_WARN, "new orders: %.200s", attacks ? text : "peace");
	team_set_attacks(team, attacks);
}

static void tell_strikes(struct listener *l)
{
	const uint64_t *strikes = team_strikes(team);
	char fresh[sizeof l->strikes + 8];
	uint64_t sum = 0;
	for (unsigned a = 0; a < ATTACKS; a++)
		sum += strikes[a];
	if (sum == l->struck)
		return;
	snprintf(fresh, sizeof fresh, "%s.new", l->strikes);
	FILE *f = fopen(fresh, "w");
	if (!f)
		return;
	for (unsigned a = 0; a < ATTACKS; a++)
		if (strikes[a])
			fprintf(f, "%s %llu\n", attack_name((enum attack)a),
				(unsigned long long)strikes[a]);
	if (fclose(f) == 0 && rename(fresh, l->strikes) == 0)
		l->struck = sum;
}

static void step(struct engine *e, const struct input *in, struct output *out)
{
	struct listener *l = (struct listener *)e;
	if (in->now >= l->next) {
		l->next = in->now + ORDERS_EVERY_US;
		listen_for_orders(l);
		tell_strikes(l);
	}
	engine_step(l->adversary, in, out);
	if (out->wake_at > l->next)
		out->wake_at = l->next;
}

static void free_listener(struct engine *e)
{
	engine_free(((struct listener *)e)->adversary);
	mem_free(e);
}

static void status(const struct engine *e, struct engine_status *out)
{
	engine_status(((const struct listener *)e)->adversary, out);
}

static const struct term_cert *term_cert(const struct engine *e)
{
	return engine_term_cert(((const struct listener *)e)->adversary);
}

static const struct engine_ops listener_ops = {step,	  free_listener, status,
					       term_cert, NULL,		 NULL};

static struct engine *forge(void *arg, struct engine *honest)
{
	struct node *n = arg;
	struct listener *l = mem_zalloc(sizeof *l);
	log_write(LOG_NODE, LOG_WARN, "this node is forged: it lies on purpose");
	l->base.ops = &listener_ops;
	l->adversary = adversary_wrap(team, n->self, honest);
	snprintf(l->path, sizeof l->path, "%s/orders", n->config.home);
	snprintf(l->strikes, sizeof l->strikes, "%s/strikes", n->config.home);
	return &l->base;
}

static void lie(void *arg, uint8_t type, struct writer *bytes)
{
	const struct node *n = arg;
	adversary_lie(team, n->self, type, bytes);
}

/* The keys of the others in the plot; what they see is not shared. */
static void add_colluders(struct team_config *c, const struct node *n)
{
	const char *homes = getenv("OSTRAKON_FORGE_TEAM");
	char copy[4096], path[4200];
	snprintf(copy, sizeof copy, "%s", homes ? homes : "");
	for (char *save, *home = strtok_r(copy, ":", &save); home;
	     home = strtok_r(NULL, ":", &save)) {
		struct keypair key;
		snprintf(path, sizeof path, "%s/validator.key", home);
		int i = keyfile_read(path, &key, NULL, NULL)
				? -1
				: valset_index(&ctx.vals, &key.pub);
		if (i >= 0) {
			c->members |= UINT64_C(1) << i;
			c->key[i] = key;
		}
		crypto_wipe(&key, sizeof key);
	}
}

static uint64_t number(const char *name)
{
	const char *text = getenv(name);
	return text ? strtoull(text, NULL, 10) : 0;
}

int forge_prepare(struct node *n, struct errmsg *m)
{
	const char *attacks = getenv("OSTRAKON_FORGE_ATTACKS");
	char bad[64];
	genesis_ctx(&ctx, &n->genesis);
	struct team_config c = {.ctx = &ctx,
				.genesis = &n->genesis,
				.members = UINT64_C(1) << n->self,
				.targets = number("OSTRAKON_FORGE_TARGETS"),
				.from_height = number("OSTRAKON_FORGE_FROM"),
				.when_leading = number("OSTRAKON_FORGE_LEADING") != 0,
				.when_following = number("OSTRAKON_FORGE_FOLLOWING") != 0,
				.random = number("OSTRAKON_FORGE_MOODS") != 0};
	c.key[n->self] = n->key;
	crypto_random(&c.seed, sizeof c.seed);
	if (!parse_attacks(attacks ? attacks : "", &c.attacks, bad))
		return err_set(m, ERR_CONFIG, "OSTRAKON_FORGE_ATTACKS: there is no attack '%s'",
			       bad);
	add_colluders(&c, n);
	team = team_new(&c);
	n->wrap = forge;
	n->wrap_ctx = n;
	n->lie = lie;
	return ERR_NONE;
}
