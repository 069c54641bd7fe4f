/* put, del, cas, transfer: one signed transaction each. */
#include <string.h>

#include "base/mem.h"
#include "tools/cli/bulk.h"
#include "tools/cli/client.h"
#include "tools/cli/lines.h"
#include "tools/cli/verbs.h"
#include "tools/cli/write.h"

#define NONCE_ATTEMPTS 16
#define NONCE_SPREAD   64 /* so that clients of one key that sign at once seldom collide */

uint64_t choose_expiry(const struct target *t, uint64_t expiry_max)
{
	/* Below the most, so that a node that is some blocks behind takes it too. */
	uint64_t slack = t->genesis.limits.expiry_horizon / 4;

	return expiry_max > slack ? expiry_max - slack : expiry_max;
}

static int value_fits(struct slice value, const struct genesis_limits *l, struct errmsg *m)
{
	if (value.len <= l->value_size_max)
		return ERR_NONE;
	return err_set(m, ERR_LIMIT, "the value has %zu bytes, and this chain takes at most %u",
		       value.len, l->value_size_max);
}

int op_fits(const struct op *op, const struct genesis_limits *l, struct errmsg *m)
{
	int err;

	if (op->kind == OP_TRANSFER)
		return ERR_NONE;
	if (op->key.len == 0)
		return err_set(m, ERR_RANGE, "the key is empty: it has 1 to %u bytes",
			       l->key_size_max);
	if (op->key.len > l->key_size_max)
		return err_set(m, ERR_LIMIT,
			       "the key has %zu bytes, and this chain takes at most %u",
			       op->key.len, l->key_size_max);
	err = value_fits(op->value, l, m);
	return err == ERR_NONE ? value_fits(op->expected, l, m) : err;
}

int op_fail(struct cli *c, int err, const struct errmsg *m)
{
	if (err == ERR_RANGE)
		return cli_usage(c, "%s", m->text);
	return cli_fail(c, EXIT_REFUSED, err_name(err),
			"The genesis file's \"limits\" say what this chain takes.", "%s",
			m->text);
}

int build_transaction(struct target *t, struct writer *w, const struct keypair *key,
		      uint64_t nonce, uint64_t expiry, const struct op *ops, uint32_t count,
		      struct hash *id)
{
	struct tx tx;

	writer_reset(w);
	tx_build(w, &t->ctx, key, nonce, expiry, ops, count);
	if (w->err != ERR_NONE)
		return w->err;
	tx_id(id, writer_slice(w));
	return tx_decode(&tx, writer_slice(w), &t->ctx, &t->genesis.limits);
}

/* Prints what was signed, for --no-send. */
static int show_signed(struct cli *c, struct slice tx, uint64_t nonce, uint64_t expiry)
{
	struct json *o = json_object();

	json_set(o, "tx", json_hash(&c->tx));
	json_set(o, "nonce", json_said(nonce));
	json_set(o, "expiry", json_said(expiry));
	json_set(o, "bytes", json_hex(tx.ptr, tx.len));
	out_object(c, o);
	return EXIT_DONE;
}

static int pick_nonce(struct cli *c, struct link *l, const struct keypair *key, uint64_t *nonce,
		      uint64_t *expiry)
{
	uint64_t suggested = 0, expiry_max = 0;
	uint32_t r;
	int rc;

	*nonce = opt_u64(&c->opt, OPT_NONCE, 0);
	*expiry = opt_u64(&c->opt, OPT_EXPIRY, 0);
	if (*nonce != 0 && *expiry != 0)
		return EXIT_DONE;
	if (cli_time_left(c) == 0) /* nobody is out of reach yet */
		return fail_unsent(c);
	rc = account_state(l, &key->pub, &suggested, &expiry_max);
	if (rc != EXIT_DONE)
		return rc;
	crypto_random(&r, sizeof r);
	if (*nonce == 0) {
		*nonce = suggested;
		if (suggested < UINT64_MAX - NONCE_SPREAD)
			*nonce += r % NONCE_SPREAD;
	}
	if (*expiry == 0)
		*expiry = choose_expiry(l->t, expiry_max);
	return EXIT_DONE;
}

static int save_transaction(struct cli *c, struct slice tx)
{
	struct errmsg m;

	if (!opt_given(&c->opt, OPT_SAVE))
		return EXIT_DONE;
	if (file_write(c->opt.value[OPT_SAVE], tx, &m) != ERR_NONE)
		return cli_fail(c, EXIT_REFUSED, "io", "Nothing was sent.", "%s", m.text);
	return EXIT_DONE;
}

int report_receipt(struct cli *c, struct target *t, const struct receipt *r)
{
	bool done =
		r->fate == FATE_ACCEPTED || (r->fate == FATE_COMMITTED && r->result == TX_OK);

	if (!done)
		return receipt_fail(c, r, &c->tx);
	out_object(c, receipt_json(t, &c->tx, r));
	return EXIT_DONE;
}

static int sign_and_send(struct cli *c, struct link *l, const struct keypair *key,
			 const struct op *ops, uint32_t count)
{
	const char *wait = c->opt.value[OPT_WAIT];
	bool wait_committed = wait == NULL || strcmp(wait, "committed") == 0;
	struct writer w = {0};
	int rc;

	for (unsigned attempt = 1;; attempt++) {
		struct submission s = {0};
		uint64_t nonce, expiry;
		struct hash id;
		int err;

		rc = pick_nonce(c, l, key, &nonce, &expiry);
		if (rc != EXIT_DONE)
			break;
		err = build_transaction(l->t, &w, key, nonce, expiry, ops, count, &id);
		if (err != ERR_NONE) {
			rc = cli_fail(
				c, EXIT_REFUSED, err_name(err),
				"The genesis file's \"limits\" say what this chain takes.",
				"no valid transaction: %s", err_text(err));
			break;
		}
		cli_announce_tx(c, &id);
		rc = save_transaction(c, writer_slice(&w));
		if (rc != EXIT_DONE)
			break;
		if (opt_given(&c->opt, OPT_NO_SEND)) {
			rc = show_signed(c, writer_slice(&w), nonce, expiry);
			break;
		}
		s.tx = writer_slice(&w);
		submit(l, &s, 1, c->deadline, wait_committed, false);
		if (receipt_wants_new_nonce(&s.r) && !opt_given(&c->opt, OPT_NONCE) &&
		    attempt < NONCE_ATTEMPTS) {
			cli_hint(c,
				 "another transaction has that nonce; signing with a new one");
			continue;
		}
		rc = report_receipt(c, l->t, &s.r);
		break;
	}
	writer_free(&w);
	return rc;
}

/* account: text of the account that must sign, or NULL for the default key. */
static int run_write(struct cli *c, const char *account, const struct op *ops, uint32_t count)
{
	struct target *t = mem_zalloc(sizeof *t);
	struct keypair key;
	struct link l;
	int rc;

	rc = account ? key_for_account(c, account, &key) : key_signer(c, &key);
	if (rc != EXIT_DONE) {
		mem_free(t);
		return rc;
	}
	rc = target_open(c, t, true);
	for (uint32_t i = 0; i < count && rc == EXIT_DONE; i++) {
		struct errmsg m;
		int err = op_fits(&ops[i], &t->genesis.limits, &m);
		if (err != ERR_NONE)
			rc = op_fail(c, err, &m);
	}
	if (rc == EXIT_DONE) {
		link_open(&l, t, 0);
		rc = sign_and_send(c, &l, &key, ops, count);
		link_close(&l);
	}
	target_close(t);
	mem_free(t);
	crypto_wipe(&key, sizeof key);
	return rc;
}

int verb_put(struct cli *c)
{
	struct op op = {.kind = OP_PUT};

	if (opt_given(&c->opt, OPT_FROM)) {
		if (c->opt.arg_count > 0)
			return cli_usage(c, "`put` takes KEY VALUE or --from FILE, not both");
		if (opt_given(&c->opt, OPT_NO_SEND) || opt_given(&c->opt, OPT_SAVE))
			return cli_usage(c, "--no-send and --save are for one transaction, not "
					    "for those of --from");
		return bulk_put(c);
	}
	if (c->opt.arg_count < 2)
		return cli_usage(c, "`put` needs KEY VALUE, or --from FILE");
	op.key = slice_str(c->opt.arg[0]);
	op.value = slice_str(c->opt.arg[1]);
	return run_write(c, NULL, &op, 1);
}

int verb_del(struct cli *c)
{
	struct op op = {.kind = OP_DELETE, .key = slice_str(c->opt.arg[0])};

	return run_write(c, NULL, &op, 1);
}

int verb_cas(struct cli *c)
{
	struct op op = {.kind = OP_CAS, .key = slice_str(c->opt.arg[0])};
	bool absent = opt_given(&c->opt, OPT_ABSENT);

	if (absent != (c->opt.arg_count == 2))
		return cli_usage(c, "`cas` needs KEY OLD NEW, or KEY NEW with --absent");
	op.expect_present = !absent;
	if (!absent)
		op.expected = slice_str(c->opt.arg[1]);
	op.value = slice_str(c->opt.arg[absent ? 1 : 2]);
	return run_write(c, NULL, &op, 1);
}

int verb_transfer(struct cli *c)
{
	struct op op = {.kind = OP_TRANSFER};
	int rc = account_parse(c, c->opt.arg[1], &op.to);

	if (rc != EXIT_DONE)
		return rc;
	if (parse_u64(&op.amount, c->opt.arg[2], 1, UINT64_MAX) != ERR_NONE)
		return cli_usage(c, "the amount is a whole number of at least 1, not \"%s\"",
				 c->opt.arg[2]);
	return run_write(c, c->opt.arg[0], &op, 1);
}
