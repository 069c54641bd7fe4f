/* member list | replace: whose keys the validators' places have, and new ones for them. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "chain/member.h"
#include "tools/cli/client.h"
#include "tools/cli/keys.h"
#include "tools/cli/lines.h"
#include "tools/cli/verbs.h"

#define CHANGE_FILE_MAX 65536
#define AGAIN_MS	500

static int find_place(const struct target *t, const char *name)
{
	for (unsigned i = 0; i < t->genesis.n; i++)
		if (strcmp(t->genesis.validator[i].name, name) == 0)
			return (int)i;
	return -1;
}

static int newest(struct target *t, struct chain_ctx *out)
{
	struct errmsg m;
	int err = target_learn_epochs(t, &m);
	if (err != ERR_NONE)
		return cli_fail_err(
			t->c, err, &m,
			"The nodes' word on their validators does not hold, or none "
			"answers.");
	target_ctx_at(t, UINT64_MAX, out);
	return EXIT_DONE;
}

/* ---- list ------------------------------------------------------------------------------ */

/* Are doc's validators those of ctx? */
static bool same_keys(const struct json *doc, const struct chain_ctx *ctx)
{
	const struct json *rows = json_get(doc, "validators");
	char hex[PUBKEY_HEX_SIZE];

	if (json_len(rows) != ctx->vals.n)
		return false;
	for (unsigned i = 0; i < ctx->vals.n; i++) {
		const char *key = "";
		json_read_string(json_at(rows, i), "key", &key);
		if (strcmp(key, pubkey_hex(hex, &ctx->vals.key[i])) != 0)
			return false;
	}
	return true;
}

enum standing { A_NODES_WORD, PROVEN, DISPROVEN };

static void show_members(struct cli *c, const struct json *doc, enum standing standing)
{
	static const struct column columns[] = {{"NODE", "name"},
						{"KEY", "key"},
						{"REPLACED", "replaced"},
						{"JAILED", "jailed"}};
	static const char *const words[] = {[A_NODES_WORD] = "a node's word",
					    [PROVEN] = "verified from the genesis file",
					    [DISPROVEN] = "NOT what its handovers prove"};
	struct json *o = json_object();

	/* Numbers as this program prints them, but in the documents of proofs. */
	for (const char *k = json_key_next(doc, NULL); k != NULL; k = json_key_next(doc, k))
		json_set(o, k,
			 strcmp(k, "handovers") == 0 ? json_copy(json_get(doc, k))
						     : plain_numbers(json_get(doc, k), k));
	json_set(o, "verified", json_bool(standing == PROVEN));
	if (c->format == FORMAT_TABLE) {
		const char *epoch = "?", *height = "?";
		json_read_string(doc, "epoch", &epoch);
		json_read_string(doc, "start_height", &height);
		fprintf(c->out, "epoch %s, since height %s, %s\n", epoch, height,
			words[standing]);
	}
	out_document(c, columns, MEM_COUNT(columns), o, "validators");
}

/* The list is of the epoch that it names, which may have begun since the handovers were asked for:
 * then they are asked for once more. */
static int list_proven(struct target *t, struct link *l)
{
	struct chain_ctx ctx, last;
	uint64_t epoch = 0;
	bool known = false;
	int rc;

	for (int tries = 0; tries < 2 && !known; tries++) {
		rc = newest(t, &last);
		if (rc == EXIT_DONE)
			rc = link_get_or_fail(l, "/v1/members?limit=1");
		if (rc != EXIT_DONE)
			return rc;
		known = json_read_u64(l->answer, "epoch", &epoch) == ERR_NONE &&
			target_ctx_of_epoch(t, epoch, &ctx);
	}
	known = known && same_keys(l->answer, &ctx);
	show_members(t->c, l->answer, known ? PROVEN : DISPROVEN);
	if (!known)
		return cli_fail(t->c, EXIT_UNVERIFIED, "unverified",
				"Is the genesis file that of this network? If so, do not trust "
				"this node.",
				"%s names other validators than the genesis file and its "
				"handovers prove",
				t->url[l->node]);
	if (epoch < last.epoch)
		cli_hint(t->c, "%s is behind: epoch %llu has begun.", t->url[l->node],
			 (unsigned long long)last.epoch);
	return EXIT_DONE;
}

int verb_member_list(struct cli *c)
{
	struct target *t = mem_zalloc(sizeof *t);
	struct link l;
	int rc = target_open(c, t, false);

	if (rc == EXIT_DONE) {
		link_open(&l, t, 0);
		if (target_proves(t))
			rc = list_proven(t, &l);
		else if ((rc = link_get_or_fail(&l, "/v1/members?limit=1")) == EXIT_DONE)
			show_members(c, l.answer, A_NODES_WORD);
		link_close(&l);
	}
	target_close(t);
	mem_free(t);
	return rc;
}

/* ---- replace --------------------------------------------------------------------------- */

static int read_new_key(struct cli *c, struct pubkey *out)
{
	const char *text = c->opt.value[OPT_NEW_KEY];
	struct keyfile_info info;
	struct errmsg m;

	if (strlen(text) == 2 * PUBKEY_SIZE &&
	    hex_decode(out->b, PUBKEY_SIZE, text) == ERR_NONE)
		return EXIT_DONE;
	int err = keyfile_info(text, &info, &m);
	if (err != ERR_NONE)
		return cli_fail_err(c, err, &m, "--new-key takes 64 hex digits or a key file.");
	*out = info.pub;
	return EXIT_DONE;
}

/* What others have signed: hex in a file. */
static int read_change(struct cli *c, struct member_change *out)
{
	uint8_t bytes[MEMBER_CHANGE_SIZE_MAX], *text;
	struct reader r;
	struct errmsg m;
	size_t len;

	int err = file_read(&text, &len, c->opt.value[OPT_FROM], CHANGE_FILE_MAX, &m);
	if (err != ERR_NONE)
		return cli_fail_err(c, err, &m, NULL);
	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
		len--;
	char *hex = mem_printf("%.*s", (int)len, (const char *)text);
	mem_free(text);
	if (len % 2 || len / 2 > sizeof bytes || hex_decode(bytes, len / 2, hex) != ERR_NONE)
		err = ERR_SYNTAX;
	mem_free(hex);
	if (err == ERR_NONE) {
		reader_init(&r, slice_of(bytes, len / 2));
		member_change_decode(&r, out);
		err = reader_finish(&r);
	}
	if (err != ERR_NONE)
		return cli_usage(c, "%s is not what `member replace --save` wrote",
				 c->opt.value[OPT_FROM]);
	return EXIT_DONE;
}

static int make_change(struct cli *c, struct target *t, const struct chain_ctx *ctx,
		       struct member_change *out)
{
	struct pubkey key = {{0}};
	int place = find_place(t, c->opt.arg[0]), rc = EXIT_DONE;

	if (place < 0)
		return cli_fail(c, EXIT_NOT_FOUND, "not_found",
				"`ostrakon member list` names the validators.",
				"there is no validator %s", c->opt.arg[0]);
	if (opt_given(&c->opt, OPT_NEW_KEY))
		rc = read_new_key(c, &key);
	else if (!opt_given(&c->opt, OPT_FROM))
		return cli_usage(c, "`member replace` needs --new-key KEY, or --from FILE");
	if (rc != EXIT_DONE)
		return rc;
	if (!opt_given(&c->opt, OPT_FROM)) {
		member_change_init(out, ctx, (unsigned)place, &key);
		return EXIT_DONE;
	}
	rc = read_change(c, out);
	if (rc != EXIT_DONE)
		return rc;
	if (out->place != place ||
	    (opt_given(&c->opt, OPT_NEW_KEY) && !pubkey_equal(&key, &out->key)))
		return cli_usage(c, "%s is for another validator, or another key",
				 c->opt.value[OPT_FROM]);
	return EXIT_DONE;
}

/* With each key that is named. */
static int sign_change(struct cli *c, const struct chain_ctx *ctx, struct member_change *m)
{
	char *list = opt_given(&c->opt, OPT_GOVERNANCE_KEY)
			     ? mem_strdup(c->opt.value[OPT_GOVERNANCE_KEY])
			     : mem_strdup("");
	int rc = EXIT_DONE;

	for (char *save, *path = strtok_r(list, ",", &save); path && rc == EXIT_DONE;
	     path = strtok_r(NULL, ",", &save)) {
		struct keypair key;
		rc = key_open(c, path, &key);
		if (rc == EXIT_DONE && member_change_sign(m, ctx, &key) != ERR_NONE)
			rc = cli_fail(c, EXIT_REFUSED, "unknown_signer", NULL,
				      "%s is no governance key of this chain", path);
		crypto_wipe(&key, sizeof key);
	}
	mem_free(list);
	return rc;
}

static char *change_hex(const struct member_change *m)
{
	struct writer w = {0};
	member_change_encode(&w, m);
	char *hex = mem_alloc(2 * w.len + 1);
	hex_encode(hex, w.buf, w.len);
	writer_free(&w);
	return hex;
}

static struct json *change_json(const struct target *t, const struct chain_ctx *ctx,
				const struct member_change *m, const char *hex)
{
	char key[PUBKEY_HEX_SIZE];
	struct json *o = json_object();
	json_set(o, "node", json_string(t->genesis.validator[m->place].name));
	json_set(o, "old_key", json_string(pubkey_hex(key, &ctx->vals.key[m->place])));
	json_set(o, "new_key", json_string(pubkey_hex(key, &m->key)));
	json_set(o, "ends_epoch", json_u64(m->epoch));
	json_set(o, "signatures", json_int(__builtin_popcount(m->signers)));
	json_set(o, "needed", json_int(ctx->governance.k));
	json_set(o, "change", json_string(hex));
	return o;
}

/* To one node after the other, until the epoch has ended. */
static int send_change(struct cli *c, struct target *t, const struct member_change *m,
		       const char *hex)
{
	char *path = mem_printf("/v1/members/%s", hex);
	struct chain_ctx now;
	struct errmsg why = {.text = ""};
	struct link l;
	int rc = EXIT_UNKNOWN;
	bool taken = false;

	link_open(&l, t, 0);
	for (unsigned i = 0; rc == EXIT_UNKNOWN && cli_time_left(c) > 0; i++) {
		int err = link_call(&l, i % t->count, "POST", path, NULL, slice_of(NULL, 0),
				    AGAIN_MS * 4);
		taken |= err == ERR_NONE && l.reply.status == 200;
		if (err == ERR_NONE && l.reply.status != 200 && l.reply.status < 500 &&
		    !taken && i + 1 >= t->count && target_learn_epochs(t, &why) == ERR_NONE) {
			target_ctx_at(t, UINT64_MAX, &now);
			if (now.epoch == m->epoch) {
				rc = link_fail(&l);
				break;
			}
		}
		if (target_learn_epochs(t, &why) == ERR_NONE) {
			target_ctx_at(t, UINT64_MAX, &now);
			if (now.epoch > m->epoch)
				rc = EXIT_DONE;
		}
		if (rc == EXIT_UNKNOWN)
			sleep_ms(AGAIN_MS);
	}
	if (rc == EXIT_UNKNOWN)
		rc = cli_fail(
			c, EXIT_UNKNOWN, "timeout",
			"It is not lost: `ostrakon member list` shows the epoch; the same "
			"command sends it again.",
			"no proof yet that epoch %llu has ended%s%s",
			(unsigned long long)m->epoch, why.text[0] ? ": " : "", why.text);
	link_close(&l);
	mem_free(path);
	return rc;
}

static int deliver(struct cli *c, struct target *t, const struct chain_ctx *ctx,
		   const struct member_change *m)
{
	struct chain_ctx now;
	struct errmsg why;
	char *hex = change_hex(m);
	struct json *o = change_json(t, ctx, m, hex);
	bool dry = opt_given(&c->opt, OPT_DRY_RUN);
	int rc = EXIT_DONE, err = member_change_check(m, ctx);

	if (opt_given(&c->opt, OPT_SAVE) && m->signers) {
		char *line = mem_printf("%s\n", hex);
		int failed = file_write(c->opt.value[OPT_SAVE], slice_str(line), &why);
		if (failed)
			rc = cli_fail_err(c, failed, &why, NULL);
		mem_free(line);
	}
	if (rc == EXIT_DONE && err == ERR_NO_QUORUM && m->signers &&
	    (dry || opt_given(&c->opt, OPT_SAVE))) {
		cli_hint(c, "not sent: %u of the %u signatures that it takes",
			 (unsigned)__builtin_popcount(m->signers), ctx->governance.k);
	} else if (rc == EXIT_DONE && err != ERR_NONE) {
		rc = cli_fail(c, EXIT_REFUSED, err_name(err), NULL,
			      "governance has not decided this: %s",
			      err == ERR_UNSUPPORTED && ctx->before
				      ? "the chain has been recovered, and after that no key "
					"is replaced by governance"
			      : err == ERR_UNSUPPORTED
				      ? "the genesis file names no governance keys"
			      : err == ERR_STALE     ? "it is for an epoch that is over"
			      : err == ERR_EXISTS    ? "the key is in use already"
			      : err == ERR_NO_QUORUM ? "too few of its keys have signed"
						     : err_text(err));
	} else if (rc == EXIT_DONE && !dry) {
		rc = send_change(c, t, m, hex);
		if (rc == EXIT_DONE) {
			target_ctx_at(t, UINT64_MAX, &now);
			json_set(o, "epoch", json_u64(m->epoch + 1));
			json_set(o, "verified",
				 json_bool(pubkey_equal(&now.vals.key[m->place], &m->key) ||
					   now.epoch > m->epoch + 1));
			json_set(o, "since_height", json_u64(now.start_height));
		}
	}
	if (rc == EXIT_DONE)
		out_object(c, o);
	else
		json_free(o);
	mem_free(hex);
	return rc;
}

int verb_member_replace(struct cli *c)
{
	struct target *t = mem_zalloc(sizeof *t);
	struct member_change m;
	struct chain_ctx ctx;
	int rc = target_open(c, t, true);

	if (rc == EXIT_DONE && !target_proves(t))
		rc = cli_fail(c, EXIT_REFUSED, "unsupported", NULL,
			      "the validators of a chain of this protocol are those of its "
			      "genesis file for good");
	if (rc == EXIT_DONE && t->ctx.vals.n == 1)
		rc = cli_fail(c, EXIT_REFUSED, "unsupported", NULL,
			      "the new key's home fetches the chain from the others, and there "
			      "are none: the only validator cannot be replaced");
	if (rc == EXIT_DONE)
		rc = newest(t, &ctx);
	if (rc == EXIT_DONE)
		rc = make_change(c, t, &ctx, &m);
	if (rc == EXIT_DONE)
		rc = sign_change(c, &ctx, &m);
	if (rc == EXIT_DONE)
		rc = deliver(c, t, &ctx, &m);
	target_close(t);
	mem_free(t);
	return rc;
}
