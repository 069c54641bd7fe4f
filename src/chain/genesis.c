#include "chain/genesis.h"

#include "chain/private.h"
#include "chain/recovery.h"
#include "chain/term.h"

/* Bytes of a balance in the encoding. */
#define BALANCE_SIZE (PUBKEY_SIZE + 8)

/* Rules between limits; docs/wire-format.md lists them with their reasons. */
#define TX_SIZE_MIN	   1024
#define TX_FRAME_MAX	   512 /* bytes of a one-operation transaction beside key and value */
#define KEY_SIZE_LIMIT	   4096
#define TX_OPS_LIMIT	   4096
#define NONCE_WINDOW_LIMIT 4096
#define SENDERS_LIMIT	   100000000
#define PROBATION_LIMIT	   1000000
/* Headers since the last stable checkpoint number at most about K + 2W, and all of them
 * travel in a position: stay at half of what it can hold. */
#define SPAN_LIMIT (POSITION_HEADERS_MAX / 2)

const char *protocol_name(enum protocol p)
{
	switch (p) {
	case PROTOCOL_HYBRID:
		return "hybrid";
	case PROTOCOL_PBFT:
		return "pbft";
	case PROTOCOL_RAFT:
		return "raft";
	case PROTOCOL_MULTIPAXOS:
		return "multipaxos";
	}
	return "unknown";
}

bool protocol_by_name(enum protocol *out, const char *name)
{
	for (enum protocol p = PROTOCOL_HYBRID; p <= PROTOCOL_MULTIPAXOS; p++)
		if (strcmp(name, protocol_name(p)) == 0) {
			*out = p;
			return true;
		}
	return false;
}

bool protocol_is_byzantine(enum protocol p)
{
	return p == PROTOCOL_HYBRID || p == PROTOCOL_PBFT;
}

void genesis_defaults(struct genesis *g)
{
	*g = (struct genesis){
		.protocol = PROTOCOL_HYBRID,
		.scheme = SIG_ED25519,
		.open = true,
		.checkpoint_interval = 128,
		.probation = 8,
		.limits =
			{
				/* One put of the largest key and value fits. */
				.tx_size_max = 72u << 10,
				.block_txs_max = 2000,
				.block_body_max = 2u << 20,
				.key_size_max = 1024,
				.value_size_max = 64u << 10,
				.tx_ops_max = 64,
				.nonce_window = 1024,
				.expiry_horizon = 100000,
				.senders_max = 100000,
				.window = 64,
			},
	};
}

void genesis_free(struct genesis *g)
{
	mem_free(g->balances);
	mem_free(g->senders);
	mem_free(g->recoveries);
	mem_free(g->sets);
	*g = (struct genesis){0};
}

/* ---- canonical encoding ------------------------------------------------------------------ */

static void keys_encode(struct writer *w, const struct genesis_keys *k)
{
	writer_u16(w, (uint16_t)k->k);
	writer_u16(w, (uint16_t)k->m);
	for (unsigned i = 0; i < k->m; i++)
		writer_pubkey(w, &k->key[i]);
}

void genesis_encode(struct writer *w, const struct genesis *g)
{
	const struct genesis_limits *l = &g->limits;
	writer_u16(w, GENESIS_VERSION);
	writer_var(w, slice_str(g->name));
	writer_u64(w, g->time_ms);
	writer_u8(w, (uint8_t)g->protocol);
	writer_u8(w, (uint8_t)g->scheme);
	writer_u16(w, (uint16_t)g->n);
	for (unsigned i = 0; i < g->n; i++) {
		writer_var(w, slice_str(g->validator[i].name));
		writer_pubkey(w, &g->validator[i].key);
	}
	keys_encode(w, &g->governance);
	keys_encode(w, &g->recovery);
	writer_u32(w, g->balance_count);
	for (uint32_t i = 0; i < g->balance_count; i++) {
		writer_pubkey(w, &g->balances[i].account);
		writer_u64(w, g->balances[i].amount);
	}
	writer_u8(w, g->open);
	writer_u32(w, g->sender_count);
	for (uint32_t i = 0; i < g->sender_count; i++)
		writer_pubkey(w, &g->senders[i]);
	writer_u32(w, g->checkpoint_interval);
	writer_u32(w, g->probation);
	writer_u32(w, l->tx_size_max);
	writer_u32(w, l->block_txs_max);
	writer_u32(w, l->block_body_max);
	writer_u32(w, l->key_size_max);
	writer_u32(w, l->value_size_max);
	writer_u32(w, l->tx_ops_max);
	writer_u32(w, l->nonce_window);
	writer_u32(w, l->expiry_horizon);
	writer_u32(w, l->senders_max);
	writer_u32(w, l->window);
	writer_hash(w, &g->state_root);
}

static void name_decode(struct reader *r, char out[GENESIS_NAME_MAX + 1])
{
	struct slice s = reader_var(r, GENESIS_NAME_MAX);
	if (s.len && memchr(s.ptr, 0, s.len))
		reader_fail(r, ERR_NONCANONICAL);
	else if (s.len)
		memcpy(out, s.ptr, s.len);
}

static void keys_decode(struct reader *r, struct genesis_keys *k)
{
	k->k = reader_u16(r);
	k->m = reader_u16(r);
	if (k->m > GENESIS_KEYS_MAX) {
		reader_fail(r, ERR_LIMIT);
		k->m = 0;
	}
	for (unsigned i = 0; i < k->m; i++)
		reader_pubkey(r, &k->key[i]);
}

static void validators_decode(struct reader *r, struct genesis *g)
{
	g->n = reader_u16(r);
	if (g->n > VALIDATORS_MAX) {
		reader_fail(r, ERR_LIMIT);
		g->n = 0;
	}
	for (unsigned i = 0; i < g->n; i++) {
		name_decode(r, g->validator[i].name);
		reader_pubkey(r, &g->validator[i].key);
	}
}

static void accounts_decode(struct reader *r, struct genesis *g)
{
	g->balance_count = reader_count(r, GENESIS_BALANCES_MAX, BALANCE_SIZE);
	if (g->balance_count)
		g->balances = mem_array(g->balance_count, sizeof(*g->balances));
	for (uint32_t i = 0; i < g->balance_count; i++) {
		reader_pubkey(r, &g->balances[i].account);
		g->balances[i].amount = reader_u64(r);
	}
	g->open = reader_bool(r);
	g->sender_count = reader_count(r, GENESIS_SENDERS_MAX, PUBKEY_SIZE);
	if (g->sender_count)
		g->senders = mem_array(g->sender_count, sizeof(*g->senders));
	for (uint32_t i = 0; i < g->sender_count; i++)
		reader_pubkey(r, &g->senders[i]);
}

int genesis_decode(struct reader *r, struct genesis *g)
{
	*g = (struct genesis){0};
	if (reader_u16(r) != GENESIS_VERSION)
		reader_fail(r, ERR_VERSION);
	name_decode(r, g->name);
	g->time_ms = reader_u64(r);
	uint8_t protocol = reader_u8(r), scheme = reader_u8(r);
	if (protocol < PROTOCOL_HYBRID || protocol > PROTOCOL_MULTIPAXOS ||
	    scheme < SIG_ED25519 || scheme > SIG_SYMBOLIC)
		reader_fail(r, ERR_RANGE);
	else {
		g->protocol = (enum protocol)protocol;
		g->scheme = (enum sig_scheme)scheme;
	}
	validators_decode(r, g);
	keys_decode(r, &g->governance);
	keys_decode(r, &g->recovery);
	accounts_decode(r, g);
	g->checkpoint_interval = reader_u32(r);
	g->probation = reader_u32(r);
	g->limits.tx_size_max = reader_u32(r);
	g->limits.block_txs_max = reader_u32(r);
	g->limits.block_body_max = reader_u32(r);
	g->limits.key_size_max = reader_u32(r);
	g->limits.value_size_max = reader_u32(r);
	g->limits.tx_ops_max = reader_u32(r);
	g->limits.nonce_window = reader_u32(r);
	g->limits.expiry_horizon = reader_u32(r);
	g->limits.senders_max = reader_u32(r);
	g->limits.window = reader_u32(r);
	reader_hash(r, &g->state_root);
	if (r->err)
		genesis_free(g);
	return r->err;
}

/* ---- rules ------------------------------------------------------------------------------- */

static int check_name(const char *name, struct errmsg *m)
{
	size_t len = strnlen(name, GENESIS_NAME_MAX + 1);
	if (len == 0 || len > GENESIS_NAME_MAX)
		return err_set(m, ERR_CONFIG, "name must have 1 to %d characters",
			       GENESIS_NAME_MAX);
	for (size_t i = 0; i < len; i++)
		if (name[i] < ' ' || name[i] > '~')
			return err_set(m, ERR_CONFIG,
				       "name has a character that is not printable ASCII");
	return ERR_NONE;
}

/* Validators' names become names of directories and hosts. */
static bool host_name(const char *name)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	if (!name[0] || !strchr(first, name[0]))
		return false;
	for (size_t i = 0; name[i]; i++)
		if (i >= GENESIS_NAME_MAX ||
		    (!strchr(first, name[i]) && !strchr("-_.", name[i])))
			return false;
	return true;
}

static int check_validators(const struct genesis *g, struct errmsg *m)
{
	if (g->n < 1 || g->n > VALIDATORS_MAX)
		return err_set(m, ERR_CONFIG, "%u validators: there must be 1 to %d", g->n,
			       VALIDATORS_MAX);
	for (unsigned i = 0; i < g->n; i++) {
		if (!host_name(g->validator[i].name))
			return err_set(m, ERR_CONFIG,
				       "validators[%u]: name must be 1 to %d letters, digits, "
				       "'-', '_' or '.', and begin with a letter or a digit",
				       i, GENESIS_NAME_MAX);
		for (unsigned j = 0; j < i; j++) {
			if (strcmp(g->validator[i].name, g->validator[j].name) == 0)
				return err_set(m, ERR_CONFIG,
					       "validators[%u] and validators[%u] are both "
					       "named '%s': give each its own name",
					       j, i, g->validator[i].name);
			if (pubkey_equal(&g->validator[i].key, &g->validator[j].key))
				return err_set(m, ERR_CONFIG,
					       "validators[%u] and validators[%u] have the "
					       "same key: each needs its own",
					       j, i);
		}
	}
	if (g->protocol == PROTOCOL_PBFT && quorum_of(g->n).f == 0)
		return err_set(m, ERR_CONFIG,
			       "protocol 'pbft' with %u validators: it needs at least 4; with "
			       "fewer use 'hybrid' or 'raft'",
			       g->n);
	return ERR_NONE;
}

static int check_keys(const char *what, const struct genesis_keys *k, struct errmsg *m)
{
	if (k->m > GENESIS_KEYS_MAX)
		return err_set(m, ERR_CONFIG, "%s: %u keys: there must be at most %d", what,
			       k->m, GENESIS_KEYS_MAX);
	if (k->m == 0 && k->k != 0)
		return err_set(m, ERR_CONFIG, "%s: k is %u without any key: it must be 0", what,
			       k->k);
	if (k->m > 0 && (k->k < 1 || k->k > k->m))
		return err_set(m, ERR_CONFIG, "%s: k is %u of %u keys: it must be 1 to %u",
			       what, k->k, k->m, k->m);
	for (unsigned i = 0; i < k->m; i++)
		for (unsigned j = 0; j < i; j++)
			if (pubkey_equal(&k->key[i], &k->key[j]))
				return err_set(m, ERR_CONFIG,
					       "%s: keys[%u] and keys[%u] are the same key",
					       what, j, i);
	return ERR_NONE;
}

static int check_balances(const struct genesis *g, struct errmsg *m)
{
	uint64_t sum = 0;
	if (g->balance_count > GENESIS_BALANCES_MAX)
		return err_set(m, ERR_CONFIG, "%u balances: there must be at most %d",
			       g->balance_count, GENESIS_BALANCES_MAX);
	for (uint32_t i = 0; i < g->balance_count; i++) {
		const struct genesis_balance *b = &g->balances[i];
		char hex[PUBKEY_HEX_SIZE];
		if (i > 0) {
			int order = memcmp(b[-1].account.b, b->account.b, PUBKEY_SIZE);
			if (order == 0)
				return err_set(m, ERR_CONFIG,
					       "balances: account %s is named twice",
					       pubkey_hex(hex, &b->account));
			if (order > 0)
				return err_set(
					m, ERR_CONFIG,
					"balances: accounts must ascend, and %s does not",
					pubkey_hex(hex, &b->account));
		}
		if (b->amount == 0)
			return err_set(m, ERR_CONFIG,
				       "balances: account %s has amount 0: leave it out",
				       pubkey_hex(hex, &b->account));
		if (__builtin_add_overflow(sum, b->amount, &sum))
			return err_set(m, ERR_CONFIG,
				       "balances: the sum of all amounts must fit in 64 bits");
	}
	return ERR_NONE;
}

static int check_senders(const struct genesis *g, struct errmsg *m)
{
	if (g->sender_count > GENESIS_SENDERS_MAX)
		return err_set(m, ERR_CONFIG, "%u senders: there must be at most %d",
			       g->sender_count, GENESIS_SENDERS_MAX);
	if (g->open && g->sender_count)
		return err_set(m, ERR_CONFIG,
			       "open is true and senders are named: with an open chain senders "
			       "must be empty");
	if (!g->open && !g->sender_count)
		return err_set(m, ERR_CONFIG,
			       "open is false and senders is empty: nobody could submit a "
			       "transaction; name at least one sender");
	for (uint32_t i = 1; i < g->sender_count; i++) {
		char hex[PUBKEY_HEX_SIZE];
		int order = memcmp(g->senders[i - 1].b, g->senders[i].b, PUBKEY_SIZE);
		if (order == 0)
			return err_set(m, ERR_CONFIG, "senders: %s is named twice",
				       pubkey_hex(hex, &g->senders[i]));
		if (order > 0)
			return err_set(m, ERR_CONFIG,
				       "senders: keys must ascend, and %s does not",
				       pubkey_hex(hex, &g->senders[i]));
	}
	return ERR_NONE;
}

static int check_range(const char *what, uint32_t v, uint32_t lo, uint32_t hi, struct errmsg *m)
{
	if (v >= lo && v <= hi)
		return ERR_NONE;
	return err_set(m, ERR_CONFIG, "%s is %u: it must be %u to %u", what, v, lo, hi);
}

static int check_limits(const struct genesis *g, struct errmsg *m)
{
	const struct genesis_limits *l = &g->limits;
	const struct {
		const char *what;
		uint32_t v, lo, hi;
	} range[] = {
		{"checkpoint_interval", g->checkpoint_interval, 1, SPAN_LIMIT},
		{"probation", g->probation, 1, PROBATION_LIMIT},
		{"limits.tx_size_max", l->tx_size_max, TX_SIZE_MIN, TX_SIZE_MAX},
		{"limits.block_txs_max", l->block_txs_max, 1, BLOCK_TXS_MAX},
		{"limits.block_body_max", l->block_body_max, TX_SIZE_MIN, BLOCK_BODY_MAX},
		{"limits.key_size_max", l->key_size_max, 1, KEY_SIZE_LIMIT},
		{"limits.value_size_max", l->value_size_max, 1, TX_SIZE_MAX},
		{"limits.tx_ops_max", l->tx_ops_max, 1, TX_OPS_LIMIT},
		{"limits.nonce_window", l->nonce_window, 64, NONCE_WINDOW_LIMIT},
		{"limits.expiry_horizon", l->expiry_horizon, 1, UINT32_MAX},
		{"limits.senders_max", l->senders_max, 1, SENDERS_LIMIT},
		{"limits.window", l->window, 1, SPAN_LIMIT},
	};
	for (size_t i = 0; i < MEM_COUNT(range); i++) {
		int err = check_range(range[i].what, range[i].v, range[i].lo, range[i].hi, m);
		if (err)
			return err;
	}
	if (l->nonce_window % 64)
		return err_set(m, ERR_CONFIG,
			       "limits.nonce_window is %u: it must be a multiple of 64",
			       l->nonce_window);
	if (g->checkpoint_interval + 2 * l->window > SPAN_LIMIT)
		return err_set(
			m, ERR_CONFIG,
			"checkpoint_interval + 2 * limits.window is %u: it must be at most "
			"%d, because so many headers travel in one message",
			g->checkpoint_interval + 2 * l->window, SPAN_LIMIT);
	uint32_t put = l->key_size_max + l->value_size_max + TX_FRAME_MAX;
	if (l->tx_size_max < put)
		return err_set(
			m, ERR_CONFIG,
			"limits.tx_size_max is %u: it must be at least %u, so that one put "
			"of the largest key and value fits",
			l->tx_size_max, put);
	uint32_t body = 4 + 5 + l->tx_size_max;
	if (l->block_body_max < body)
		return err_set(
			m, ERR_CONFIG,
			"limits.block_body_max is %u: it must be at least %u, so that the "
			"largest transaction fits",
			l->block_body_max, body);
	return ERR_NONE;
}

int genesis_check(const struct genesis *g, bool allow_symbolic, struct errmsg *m)
{
	int err = check_name(g->name, m);
	if (err)
		return err;
	if (g->time_ms > INT64_MAX)
		return err_set(m, ERR_CONFIG, "time_ms must be at most 2^63 - 1");
	if (g->protocol < PROTOCOL_HYBRID || g->protocol > PROTOCOL_MULTIPAXOS)
		return err_set(m, ERR_CONFIG,
			       "protocol is unknown: it must be 'hybrid', 'pbft', 'raft' or "
			       "'multipaxos'");
	if (g->scheme != SIG_ED25519 && g->scheme != SIG_SYMBOLIC)
		return err_set(m, ERR_CONFIG, "signatures is unknown: it must be 'ed25519'");
	if (g->scheme == SIG_SYMBOLIC && !allow_symbolic)
		return err_set(m, ERR_CONFIG,
			       "signatures is 'symbolic', which anybody can forge and only the "
			       "simulator may use: it must be 'ed25519'");
	if ((err = check_validators(g, m)) ||
	    (err = check_keys("governance", &g->governance, m)) ||
	    (err = check_keys("recovery", &g->recovery, m)) || (err = check_balances(g, m)) ||
	    (err = check_senders(g, m)))
		return err;
	return check_limits(g, m);
}

/* ---- what follows from it ---------------------------------------------------------------- */

const struct pubkey *genesis_validator_key(const struct genesis *g, unsigned i)
{
	return g->recovery_count ? &g->recoveries[g->recovery_count - 1].key[i]
				 : &g->validator[i].key;
}

void genesis_ctx(struct chain_ctx *out, const struct genesis *g)
{
	struct pubkey keys[VALIDATORS_MAX];
	invariant(g->n >= 1 && g->n <= VALIDATORS_MAX);
	for (unsigned i = 0; i < g->n; i++)
		keys[i] = *genesis_validator_key(g, i);
	out->before = NULL;
	out->before_height = out->before_term = 0;
	if (g->recovery_count) {
		const struct recovery *last = &g->recoveries[g->recovery_count - 1];
		out->before = &g->sets[g->recovery_count - 1];
		out->before_height = last->kept.height;
		out->before_term = last->kept.term;
	}
	int err = valset_init(&out->vals, keys, g->n);
	invariant(err == ERR_NONE);

	struct writer w;
	writer_init(&w, 0);
	genesis_encode(&w, g);
	hash_tagged(&out->id, HASH_GENESIS, writer_slice(&w));
	writer_free(&w);
	out->quorum = protocol_is_byzantine(g->protocol) ? quorum_of(g->n) : quorum_crash(g->n);
	out->scheme = g->scheme;
	out->governance = g->governance;
	out->epoch = out->start_term = out->start_height = 0;
	out->domain = out->id;
}

struct block *genesis_block(const struct genesis *g, const struct chain_ctx *ctx)
{
	uint8_t body[4];
	struct writer w = writer_fixed(body, sizeof(body));
	body_begin(&w);
	struct signed_header sh = {
		.h =
			{
				.chain = ctx->id,
				.mode = MODE_FAST,
				.state_root = g->state_root,
				.time_ms = g->time_ms,
				.valset = chain_ctx_first(ctx)->vals.hash,
				.body_size = sizeof(body),
			},
	};
	merkle_root(&sh.h.tx_root, NULL, 0);
	struct block *b;
	int err = block_new(&b, &sh, writer_slice(&w));
	invariant(err == ERR_NONE);
	return b;
}
