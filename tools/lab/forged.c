/* A forged node: ostrakond's own main loop and links, its engine inside an adversary. What it does
 * is in the environment, set by ostrakon-lab:
 *	OSTRAKON_FORGE_ATTACKS	names, separated by commas
 *	OSTRAKON_FORGE_TARGETS	bit mask of validators, 0: by chance
 *	OSTRAKON_FORGE_FROM	final height from which on it lies
 *	OSTRAKON_FORGE_MOODS	1: attacks come and go
 *	OSTRAKON_FORGE_LEADING	1: only while it leads */
#include <stdlib.h>
#include <string.h>

#include "node/node.h"
#include "sim/adversary.h"

int forge_prepare(struct node *n, struct errmsg *m);

static struct chain_ctx ctx;
static struct team *team;

static struct engine *forge(void *arg, struct engine *honest)
{
	struct node *n = arg;
	log_write(LOG_NODE, LOG_WARN, "this node is forged: it lies on purpose");
	return adversary_wrap(team, n->self, honest);
}

static uint64_t number(const char *name)
{
	const char *text = getenv(name);
	return text ? strtoull(text, NULL, 10) : 0;
}

int forge_prepare(struct node *n, struct errmsg *m)
{
	const char *attacks = getenv("OSTRAKON_FORGE_ATTACKS");
	char copy[512];
	genesis_ctx(&ctx, &n->genesis);
	struct team_config c = {.ctx = &ctx,
				.genesis = &n->genesis,
				.members = UINT64_C(1) << n->self,
				.targets = number("OSTRAKON_FORGE_TARGETS"),
				.from_height = number("OSTRAKON_FORGE_FROM"),
				.when_leading = number("OSTRAKON_FORGE_LEADING") != 0,
				.random = number("OSTRAKON_FORGE_MOODS") != 0};
	c.key[n->self] = n->key;
	crypto_random(&c.seed, sizeof c.seed);
	snprintf(copy, sizeof copy, "%s", attacks ? attacks : "");
	for (char *save, *name = strtok_r(copy, ",", &save); name;
	     name = strtok_r(NULL, ",", &save)) {
		int a = attack_by_name(name);
		if (a < 0)
			return err_set(m, ERR_CONFIG, "OSTRAKON_FORGE_ATTACKS: there is no attack '%s'",
				       name);
		c.attacks |= ATTACK_BIT(a);
	}
	team = team_new(&c);
	n->wrap = forge;
	n->wrap_ctx = n;
	return ERR_NONE;
}
