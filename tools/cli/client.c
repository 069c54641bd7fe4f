#include "tools/cli/client.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define EACH_MS	  1000 /* for one node, when all are asked */
#define TRY_MS	  3000 /* one request's patience, before another node is asked */

/* What of a verified header's certificate its receipts repeat. */
struct seen {
	enum cert_kind grade;
	uint64_t signers;
};

/* ---- target ---------------------------------------------------------------------------- */

static int read_genesis(struct cli *c, struct target *t, const char *path)
{
	struct block *block;
	struct errmsg m;
	int err = genesis_read(&t->genesis, path, &m);

	if (err != ERR_NONE)
		return cli_fail(c, EXIT_CONFIG, "config", NULL, "genesis file %s: %s", path,
				m.text);
	genesis_ctx(&t->ctx, &t->genesis);
	block = genesis_block(&t->genesis, &t->ctx);
	t->genesis_hash = block->hash;
	block_drop(block);
	t->has_genesis = true;
	return EXIT_DONE;
}

static void add_url(struct target *t, const char *text)
{
	if (t->count == VALIDATORS_MAX)
		return;
	snprintf(t->url[t->count], sizeof t->url[0], "%s%s",
		 strstr(text, "://") ? "" : "http://", text);
	for (size_t n = strlen(t->url[t->count]); n > 0 && t->url[t->count][n - 1] == '/'; n--)
		t->url[t->count][n - 1] = '\0';
	t->count++;
}

static int add_network(struct cli *c, struct target *t, const char *dir)
{
	const char *only = c->opt.value[OPT_NODE];
	struct network *n = mem_zalloc(sizeof *n);
	char url[CONFIG_TEXT_MAX + 32];
	struct errmsg m;
	int rc = EXIT_DONE;

	if (network_open(n, dir, &m) != ERR_NONE) {
		rc = cli_fail(c, EXIT_CONFIG, "config", NULL, "%s", m.text);
	} else if (only != NULL) {
		int i = network_find(n, only);
		for (unsigned k = 0; k < n->count; k++) /* their tokens: only may be a URL */
			node_api_url(&n->node[k], url);
		if (i >= 0)
			node_api_url(&n->node[i], url);
		add_url(t, i >= 0 ? url : only);
	} else {
		for (unsigned i = 0; i < n->count; i++) {
			node_api_url(&n->node[i], url);
			add_url(t, url);
		}
	}
	network_free(n);
	mem_free(n);
	return rc;
}

static int add_home(struct cli *c, struct target *t, const char *home)
{
	struct network_node *node = mem_zalloc(sizeof *node);
	char url[CONFIG_TEXT_MAX + 32], path[PATH_SIZE + 32];
	struct genesis g;
	struct errmsg m;
	int rc = EXIT_DONE;

	snprintf(node->home, sizeof node->home, "%s", home);
	snprintf(path, sizeof path, "%s/genesis.json", home);
	if (genesis_read(&g, path, &m) != ERR_NONE) {
		rc = cli_fail(c, EXIT_CONFIG, "config", NULL, "%s", m.text);
		goto done;
	}
	if (node_config_read(&node->config, home, &g, &m) != ERR_NONE) {
		rc = cli_fail(c, EXIT_CONFIG, "config", NULL, "%s", m.text);
	} else {
		node_api_url(node, url);
		add_url(t, url);
	}
	genesis_free(&g);
done:
	mem_free(node);
	return rc;
}

static void target_init(struct cli *c, struct target *t)
{
	uint64_t seed;

	memset(t, 0, sizeof *t);
	t->c = c;
	crypto_random(&seed, sizeof seed);
	map_init(&t->verified, seed);
	pthread_mutex_init(&t->lock, NULL);
}

int target_of_url(struct cli *c, struct target *t, const char *url)
{
	target_init(c, t);
	add_url(t, url);
	return EXIT_DONE;
}

int target_open(struct cli *c, struct target *t, bool needs_genesis)
{
	const char *home = c->opt.value[OPT_HOME], *genesis = c->opt.value[OPT_GENESIS];
	char dir[PATH_SIZE], path[PATH_SIZE + 32];
	bool network = network_directory(c, dir);
	int rc = EXIT_DONE;

	target_init(c, t);
	if (home != NULL && !network && !is_node_home(home))
		return cli_fail(c, EXIT_CONFIG, "config",
				"`ostrakon net init DIR` makes a network directory.",
				"%s is neither a network directory nor a node's home", home);
	if (network)
		rc = add_network(c, t, dir);
	else if (opt_given(&c->opt, OPT_NODE))
		add_url(t, c->opt.value[OPT_NODE]);
	else if (home != NULL)
		rc = add_home(c, t, home);
	else
		rc = cli_fail(c, EXIT_USAGE, "usage",
			      "Give --home DIR or --node URL; `ostrakon net up` starts a local "
			      "network.",
			      "no node to ask");
	if (rc != EXIT_DONE)
		return rc;
	if (genesis == NULL && (network || home != NULL)) {
		snprintf(path, sizeof path, "%s/genesis.json", network ? dir : home);
		genesis = path;
	}
	if (genesis != NULL)
		return read_genesis(c, t, genesis);
	if (needs_genesis)
		return cli_fail(
			c, EXIT_USAGE, "usage",
			"Give --genesis FILE, or --home a directory that has it.",
			"without the genesis file nothing that a node says can be verified");
	return EXIT_DONE;
}

void target_close(struct target *t)
{
	target_forget_epochs(t);
	struct seen *seen;

	if (t->has_genesis)
		genesis_free(&t->genesis);
	for (size_t i = 0; (seen = map_next(&t->verified, &i, NULL)) != NULL;)
		mem_free(seen);
	map_free(&t->verified);
	pthread_mutex_destroy(&t->lock);
}

/* ---- asking ---------------------------------------------------------------------------- */

void link_open(struct link *l, struct target *t, unsigned first_node)
{
	memset(l, 0, sizeof *l);
	l->t = t;
	l->http = http_new();
	l->deadline = t->c->deadline;
	l->node = first_node % t->count;
}

void link_close(struct link *l)
{
	http_free(l->http);
	http_reply_free(&l->reply);
	json_free(l->answer);
	l->answer = NULL;
}

static const char token_hint[] =
	"Give --token-file FILE with the token that its [api] token_file holds.";

void unauthorized_text(struct errmsg *m, const char *url)
{
	bool sent = http_token_header(url)[0] != '\0';

	err_set(m, ERR_NONE, sent ? "%s refuses the access token" : "%s wants an access token",
		url);
}

int unauthorized_fail(struct cli *c, const char *url)
{
	struct errmsg m;

	unauthorized_text(&m, url);
	return cli_fail(c, EXIT_REFUSED, "unauthorized", token_hint, "%s", m.text);
}

static void read_problem(struct link *l)
{
	const char *text;

	snprintf(l->error_code, sizeof l->error_code, "http_%u", l->reply.status);
	l->error_hint[0] = '\0';
	err_set(&l->m, ERR_NONE, "%s answers with HTTP status %u", l->t->url[l->node],
		l->reply.status);
	if (json_read_string(l->answer, "code", &text) == ERR_NONE)
		snprintf(l->error_code, sizeof l->error_code, "%s", text);
	if (json_read_string(l->answer, "hint", &text) == ERR_NONE)
		snprintf(l->error_hint, sizeof l->error_hint, "%s", text);
	if (json_read_string(l->answer, "detail", &text) == ERR_NONE ||
	    json_read_string(l->answer, "title", &text) == ERR_NONE)
		err_set(&l->m, ERR_NONE, "%s", text);
	if (l->reply.status == 401) {
		snprintf(l->error_code, sizeof l->error_code, "unauthorized");
		snprintf(l->error_hint, sizeof l->error_hint, "%s", token_hint);
		unauthorized_text(&l->m, l->t->url[l->node]);
	}
}

int link_call(struct link *l, unsigned i, const char *method, const char *path,
	      const char *content_type, struct slice body, uint64_t timeout_ms)
{
	char *url = mem_printf("%s%s", l->t->url[i], path);
	int err;

	json_free(l->answer);
	l->answer = NULL;
	l->error_code[0] = '\0';
	err = http_call(l->http, method, url, content_type, body, timeout_ms, &l->reply, &l->m);
	mem_free(url);
	if (err != ERR_NONE)
		return err;
	l->node = i;
	if (json_parse(&l->answer, writer_slice(&l->reply.body), NULL) != ERR_NONE)
		l->answer = NULL;
	if (l->reply.status >= 400 || l->answer == NULL)
		read_problem(l);
	return ERR_NONE;
}

uint64_t patience_of(uint64_t left_ms, uint64_t most_ms)
{
	uint64_t half = (left_ms + 1) / 2;

	return half < most_ms ? half : most_ms;
}

static bool is_liar(const struct link *l, unsigned node)
{
	return l->liars >> node & 1;
}

/* Of all nodes but the liars: there is always one. */
static unsigned honest_count(const struct link *l)
{
	return l->t->count - (unsigned)__builtin_popcountll(l->liars);
}

static unsigned node_behind(const struct link *l, unsigned node)
{
	do
		node = (node + 1) % l->t->count;
	while (is_liar(l, node));
	return node;
}

void link_next(struct link *l)
{
	l->node = node_behind(l, l->node);
}

bool link_pass_over(struct link *l, unsigned node, const char *why)
{
	if (is_liar(l, node))
		return true;
	if (honest_count(l) == 1)
		return false;
	l->liars |= 1ull << node;
	cli_warn(l->t->c, "%s: %s; another node is asked", l->t->url[node], why);
	if (l->node == node)
		link_next(l);
	return true;
}

int link_get(struct link *l, const char *path)
{
	unsigned count = honest_count(l), node = l->node;
	int err = err_set(&l->m, ERR_TIMEOUT, "no time was left to ask any node");

	for (unsigned k = 0; k < count; k++, node = node_behind(l, node)) {
		uint64_t now = now_ms(), left = l->deadline > now ? l->deadline - now : 0;
		uint64_t patience = k + 1 < count ? patience_of(left, TRY_MS) : left;

		if (left == 0 && k > 0) /* not for want of a node */
			err = err_set(&l->m, ERR_TIMEOUT,
				      "no time was left to ask the other nodes");
		if (left == 0 || interrupted())
			break;
		err = link_call(l, node, "GET", path, NULL, slice_of(NULL, 0), patience);
		if (err == ERR_NONE && (l->reply.status < 500 || k + 1 == count))
			return ERR_NONE;
	}
	return err == ERR_NONE ? ERR_UNREACHABLE : err;
}

enum said { SAID_NOTHING, SAID_PENDING, SAID_COMMITTED };

static enum said said_of(const struct link *l)
{
	const char *status = "";

	json_read_string(l->answer, "status", &status);
	if (l->reply.status != 200)
		return SAID_NOTHING;
	return strcmp(status, "committed") == 0 ? SAID_COMMITTED : SAID_PENDING;
}

int link_get_tx(struct link *l, const char *path)
{
	int err = link_get(l, path);
	enum said most;
	struct json *answer;
	unsigned node, status;

	if (err != ERR_NONE || (l->reply.status != 200 && l->reply.status != 404))
		return err;
	most = said_of(l);
	status = l->reply.status;
	node = l->node;
	answer = l->answer;
	l->answer = NULL;
	for (unsigned i = node_behind(l, node), first = node;
	     i != first && most != SAID_COMMITTED; i = node_behind(l, i)) {
		uint64_t now = now_ms(), left = l->deadline > now ? l->deadline - now : 0;

		if (l->silent >> i & 1)
			continue;
		if (left == 0 || interrupted())
			break;
		if (link_call(l, i, "GET", path, NULL, slice_of(NULL, 0),
			      patience_of(left, EACH_MS)) != ERR_NONE) {
			l->silent |= 1ull << i;
		} else if (said_of(l) > most) {
			most = said_of(l);
			status = l->reply.status;
			node = i;
			json_free(answer);
			answer = l->answer;
			l->answer = NULL;
		}
	}
	json_free(l->answer);
	l->answer = answer;
	l->reply.status = status;
	l->node = node;
	return ERR_NONE;
}

int link_fail(struct link *l)
{
	enum exit_code exit = EXIT_REFUSED;

	if (l->reply.status == 404)
		exit = EXIT_NOT_FOUND;
	else if (l->reply.status == 503)
		exit = EXIT_UNREACHABLE;
	else if (l->reply.status < 400) {
		return cli_fail(l->t->c, EXIT_UNVERIFIED, "malformed_answer", NULL,
				"%s does not answer as a node would", l->t->url[l->node]);
	}
	return cli_fail(l->t->c, exit, l->error_code, l->error_hint[0] ? l->error_hint : NULL,
			"%s", l->m.text);
}

int link_unreachable(struct link *l, int err)
{
	struct cli *c = l->t->c;

	if (interrupted())
		return cli_fail(c, EXIT_INTERRUPTED, "interrupted", NULL, "interrupted");
	if (err == ERR_TIMEOUT)
		return cli_fail(c, EXIT_UNKNOWN, "timeout", "A longer --timeout may help.",
				"%s", l->m.text);
	if (err == ERR_SYNTAX)
		return cli_usage(c, "%s", l->m.text);
	if (l->t->count > 1)
		return cli_fail(
			c, EXIT_UNREACHABLE, "unreachable",
			"`ostrakon net status` shows which nodes run, `ostrakon net up` "
			"starts them.",
			"none of %u nodes can be reached; the last: %s", l->t->count,
			l->m.text);
	return cli_fail(c, EXIT_UNREACHABLE, "unreachable",
			"Is the node running, and is this its "
			"API's address?",
			"%s", l->m.text);
}

int link_get_or_fail(struct link *l, const char *path)
{
	int err = link_get(l, path);

	if (err != ERR_NONE)
		return link_unreachable(l, err);
	if (l->reply.status != 200 || l->answer == NULL)
		return link_fail(l);
	return EXIT_DONE;
}

int account_state(struct link *l, const struct pubkey *account, uint64_t *suggested,
		  uint64_t *expiry_max)
{
	char path[64 + PUBKEY_HEX_SIZE], hex[PUBKEY_HEX_SIZE];
	int err;

	snprintf(path, sizeof path, "/v1/accounts/%s", pubkey_hex(hex, account));
	do {
		err = link_get(l, path);
		if (err != ERR_NONE)
			return link_unreachable(l, err);
		if (l->reply.status == 200 &&
		    json_read_u64(json_get(l->answer, "nonce"), "suggested", suggested) ==
			    ERR_NONE &&
		    json_read_u64(l->answer, "expiry_max", expiry_max) == ERR_NONE)
			return EXIT_DONE;
	} while (l->reply.status < 500 && l->reply.status != 401 &&
		 link_pass_over(l, l->node, "its answer is not a node's"));
	if (l->reply.status != 200 || l->answer == NULL)
		return link_fail(l);
	return cli_fail(l->t->c, EXIT_UNVERIFIED, "malformed_answer", NULL,
			"%s does not answer as a node would", l->t->url[l->node]);
}

int account_state_newest(struct link *l, const struct pubkey *account, uint64_t *suggested,
			 uint64_t *expiry_max)
{
	char path[64 + PUBKEY_HEX_SIZE], hex[PUBKEY_HEX_SIZE];
	uint64_t nonce, expiry;
	bool any = false;

	snprintf(path, sizeof path, "/v1/accounts/%s", pubkey_hex(hex, account));
	for (unsigned i = 0; i < l->t->count && l->t->count > 1; i++) {
		if (link_call(l, i, "GET", path, NULL, slice_of(NULL, 0), EACH_MS) !=
			    ERR_NONE ||
		    l->reply.status != 200 ||
		    json_read_u64(json_get(l->answer, "nonce"), "suggested", &nonce) !=
			    ERR_NONE ||
		    json_read_u64(l->answer, "expiry_max", &expiry) != ERR_NONE)
			continue;
		if (!any || expiry > *expiry_max) {
			*suggested = nonce;
			*expiry_max = expiry;
		}
		any = true;
	}
	return any ? EXIT_DONE : account_state(l, account, suggested, expiry_max);
}

/* ---- verifying ------------------------------------------------------------------------- */

bool target_proves(const struct target *t)
{
	return t->has_genesis && protocol_is_byzantine(t->genesis.protocol);
}

static int check_finality(struct target *t, const struct certified_header *ch)
{
	const struct seen *known;
	struct seen *now;
	struct hash h;
	bool same;
	int err;

	header_hash(&h, &ch->headers[0].h);
	pthread_mutex_lock(&t->lock);
	known = map_get(&t->verified, h.b);
	same = known != NULL && known->grade == ch->cert.kind &&
	       known->signers == ch->cert.signers;
	pthread_mutex_unlock(&t->lock);
	if (same)
		return ERR_NONE;
	err = target_check_header(t, ch);
	if (err != ERR_NONE)
		return err;
	now = mem_alloc(sizeof *now);
	*now = (struct seen){ch->cert.kind, ch->cert.signers};
	pthread_mutex_lock(&t->lock);
	mem_free(map_put(&t->verified, h.b, now));
	pthread_mutex_unlock(&t->lock);
	return ERR_NONE;
}

static int parse_proof(const struct json *proof, struct proof_document *doc, struct errmsg *m)
{
	char *text;
	int err;

	if (proof == NULL || json_is_null(proof))
		return err_set(m, ERR_BAD_PROOF, "there is no proof in the answer");
	text = json_dump(proof, false);
	err = proof_document_parse(doc, slice_str(text), m);
	mem_free(text);
	return err;
}

int target_proven_tx(struct target *t, const struct json *proof, struct proof_document *doc,
		     struct errmsg *m)
{
	const struct header *header;
	struct hash leaf;
	int err;

	proof_document_init(doc);
	err = parse_proof(proof, doc, m);
	if (err != ERR_NONE)
		return err;
	if (doc->kind != PROOF_TX)
		return err_set(m, ERR_BAD_PROOF, "the proof is not of a transaction");
	err = check_finality(t, &doc->ch);
	if (err != ERR_NONE)
		return err_set(m, err, "the block is not proven final: %s", err_text(err));
	header = &doc->ch.headers[0].h;
	body_leaf(&leaf, doc->result, doc->tx);
	if (doc->path.count != header->tx_count ||
	    merkle_verify(&doc->path, &leaf, &header->tx_root) != ERR_NONE)
		return err_set(m, ERR_BAD_PROOF, "the transaction is not in the block");
	return ERR_NONE;
}

int target_proven_state(struct target *t, const struct json *proof, struct slice state_key,
			struct proof_document *doc, struct errmsg *m)
{
	int err;

	proof_document_init(doc);
	err = parse_proof(proof, doc, m);

	if (err != ERR_NONE)
		return err;
	if (doc->kind != PROOF_STATE || !slice_equal(doc->state_key, state_key))
		return err_set(m, ERR_BAD_PROOF, "the proof is of another key");
	err = check_finality(t, &doc->ch);
	if (err != ERR_NONE)
		return err_set(m, err, "the block is not proven final: %s", err_text(err));
	err = state_proof_check(doc->proof, &doc->ch.headers[0].h.state_root, state_key,
				doc->present ? &doc->value : NULL);
	if (err != ERR_NONE)
		return err_set(m, err, "the state does not hold it: %s", err_text(err));
	return ERR_NONE;
}

/* ---- many at once ---------------------------------------------------------------------- */

struct crowd {
	struct target *t;
	size_t count, next;
	pthread_mutex_t lock;
	unsigned links;
	bool (*each)(void *arg, struct link *l, size_t i);
	void *arg;
	bool stop;
};

static void *crowd_member(void *p)
{
	struct crowd *w = p;
	struct link l;

	pthread_mutex_lock(&w->lock);
	link_open(&l, w->t, w->links++);
	while (!w->stop && w->next < w->count && !interrupted()) {
		size_t i = w->next++;
		bool go_on;
		pthread_mutex_unlock(&w->lock);
		go_on = w->each(w->arg, &l, i);
		pthread_mutex_lock(&w->lock);
		if (!go_on)
			w->stop = true;
	}
	pthread_mutex_unlock(&w->lock);
	link_close(&l);
	return NULL;
}

void each_in_parallel(struct target *t, size_t count, unsigned threads,
		      bool (*each)(void *arg, struct link *l, size_t i), void *arg)
{
	struct crowd w = {.t = t, .count = count, .each = each, .arg = arg};
	pthread_t *member = mem_array(threads, sizeof *member);
	unsigned started = 0;

	pthread_mutex_init(&w.lock, NULL);
	while (started < threads && started < count &&
	       pthread_create(&member[started], NULL, crowd_member, &w) == 0)
		started++;
	if (started == 0)
		crowd_member(&w);
	for (unsigned i = 0; i < started; i++)
		pthread_join(member[i], NULL);
	pthread_mutex_destroy(&w.lock);
	mem_free(member);
}
