/* The genesis file. Every member must be there: one left to a default would change the chain
 * id with the version of the program that reads it. */
#include <stdlib.h>

#include "base/json.h"
#include "chain/genesis.h"
#include "chain/private.h"
#include "chain/recovery.h"
#include <stdio.h>

/* ---- reading ----------------------------------------------------------------------------- */

/* v is an object with exactly these members; where names it in messages ("" for the file). */
static int check_members(const struct json *v, const char *where, const char *const *names,
			 size_t count, struct errmsg *m)
{
	const char *dot = *where ? "." : "";
	if (!json_is_object(v))
		return err_set(m, ERR_CONFIG, "%s must be an object",
			       *where ? where : "the file");
	const char *key;
	for (size_t i = 0; (key = json_key_at(v, i)) != NULL; i++) {
		size_t k = 0;
		while (k < count && strcmp(key, names[k]) != 0)
			k++;
		if (k == count)
			return err_set(m, ERR_CONFIG, "unknown member '%s%s%.64s'", where, dot,
				       key);
	}
	for (size_t k = 0; k < count; k++)
		if (!json_get(v, names[k]))
			return err_set(m, ERR_CONFIG, "member '%s%s%s' is missing", where, dot,
				       names[k]);
	return ERR_NONE;
}

static int read_u32(const struct json *v, const char *where, const char *key, uint32_t *out,
		    struct errmsg *m)
{
	uint64_t n;
	if (json_read_u64(v, key, &n) || n > UINT32_MAX)
		return err_set(m, ERR_CONFIG, "'%s%s' must be a whole number from 0 to %u",
			       where, key, UINT32_MAX);
	*out = (uint32_t)n;
	return ERR_NONE;
}

static int read_name(const struct json *v, const char *where, char out[GENESIS_NAME_MAX + 1],
		     struct errmsg *m)
{
	const char *text;
	if (json_read_string(v, "name", &text) || strlen(text) > GENESIS_NAME_MAX)
		return err_set(m, ERR_CONFIG, "%sname must be a string of 1 to %d characters",
			       where, GENESIS_NAME_MAX);
	memcpy(out, text, strlen(text) + 1);
	return ERR_NONE;
}

/* The word's place in words[], counted from 1 as the enums are. */
static int read_word(const struct json *v, const char *key, const char *const *words,
		     size_t count, int *out, struct errmsg *m)
{
	const char *text;
	if (json_read_string(v, key, &text))
		return err_set(m, ERR_CONFIG, "'%s' must be a string", key);
	for (size_t i = 0; i < count; i++)
		if (strcmp(text, words[i]) == 0) {
			*out = (int)i + 1;
			return ERR_NONE;
		}
	char list[128] = "";
	for (size_t i = 0; i < count; i++) {
		strcat(list, i ? ", '" : "'");
		strcat(list, words[i]);
		strcat(list, "'");
	}
	return err_set(m, ERR_CONFIG, "'%s' is '%.64s': it must be one of %s", key, text, list);
}

static int read_array(const struct json *v, const char *where, const char *key, size_t max,
		      const struct json **out, struct errmsg *m)
{
	*out = json_get(v, key);
	if (!json_is_array(*out))
		return err_set(m, ERR_CONFIG, "'%s%s' must be an array", where, key);
	if (json_len(*out) > max)
		return err_set(m, ERR_CONFIG,
			       "'%s%s' has %zu entries: there must be at most %zu", where, key,
			       json_len(*out), max);
	return ERR_NONE;
}

static int read_validators(const struct json *v, struct genesis *g, struct errmsg *m)
{
	static const char *const names[] = {"name", "key"};
	const struct json *array;
	int err = read_array(v, "", "validators", VALIDATORS_MAX, &array, m);
	if (err)
		return err;
	g->n = (unsigned)json_len(array);
	for (unsigned i = 0; i < g->n; i++) {
		const struct json *item = json_at(array, i);
		char where[32];
		snprintf(where, sizeof(where), "validators[%u]", i);
		if ((err = check_members(item, where, names, MEM_COUNT(names), m)))
			return err;
		strcat(where, ".");
		if ((err = read_name(item, where, g->validator[i].name, m)))
			return err;
		if (json_read_hex(item, "key", g->validator[i].key.b, PUBKEY_SIZE))
			return err_set(m, ERR_CONFIG,
				       "validators[%u].key must be 64 hexadecimal digits", i);
	}
	return ERR_NONE;
}

static int read_keys(const struct json *v, const char *what, struct genesis_keys *out,
		     struct errmsg *m)
{
	static const char *const names[] = {"k", "keys"};
	const struct json *item = json_get(v, what), *array;
	char where[32];
	snprintf(where, sizeof(where), "%s.", what);
	int err = check_members(item, what, names, MEM_COUNT(names), m);
	if (err || (err = read_u32(item, where, "k", &out->k, m)) ||
	    (err = read_array(item, where, "keys", GENESIS_KEYS_MAX, &array, m)))
		return err;
	out->m = (unsigned)json_len(array);
	for (unsigned i = 0; i < out->m; i++)
		if (json_as_hex(json_at(array, i), out->key[i].b, PUBKEY_SIZE))
			return err_set(m, ERR_CONFIG,
				       "%skeys[%u] must be 64 hexadecimal digits", where, i);
	return ERR_NONE;
}

/* Public keys lead both kinds of entry. */
static int by_pubkey(const void *a, const void *b)
{
	return memcmp(a, b, PUBKEY_SIZE);
}

static int read_balances(const struct json *v, struct genesis *g, struct errmsg *m)
{
	static const char *const names[] = {"account", "amount"};
	const struct json *array;
	int err = read_array(v, "", "balances", GENESIS_BALANCES_MAX, &array, m);
	if (err || json_len(array) == 0)
		return err;
	g->balance_count = (uint32_t)json_len(array);
	g->balances = mem_array(g->balance_count, sizeof(*g->balances));
	for (uint32_t i = 0; i < g->balance_count; i++) {
		const struct json *item = json_at(array, i);
		char where[32];
		snprintf(where, sizeof(where), "balances[%u]", i);
		if ((err = check_members(item, where, names, MEM_COUNT(names), m)))
			return err;
		if (json_read_hex(item, "account", g->balances[i].account.b, PUBKEY_SIZE))
			return err_set(m, ERR_CONFIG,
				       "%s.account must be 64 hexadecimal digits", where);
		if (json_read_u64(item, "amount", &g->balances[i].amount))
			return err_set(m, ERR_CONFIG,
				       "%s.amount must be a whole number from 1 to 2^64 - 1",
				       where);
	}
	qsort(g->balances, g->balance_count, sizeof(*g->balances), by_pubkey);
	return ERR_NONE;
}

static int read_senders(const struct json *v, struct genesis *g, struct errmsg *m)
{
	const struct json *array;
	if (json_read_bool(v, "open", &g->open))
		return err_set(m, ERR_CONFIG, "'open' must be true or false");
	int err = read_array(v, "", "senders", GENESIS_SENDERS_MAX, &array, m);
	if (err || json_len(array) == 0)
		return err;
	g->sender_count = (uint32_t)json_len(array);
	g->senders = mem_array(g->sender_count, sizeof(*g->senders));
	for (uint32_t i = 0; i < g->sender_count; i++)
		if (json_as_hex(json_at(array, i), g->senders[i].b, PUBKEY_SIZE))
			return err_set(m, ERR_CONFIG,
				       "senders[%u] must be 64 hexadecimal digits", i);
	qsort(g->senders, g->sender_count, sizeof(*g->senders), by_pubkey);
	return ERR_NONE;
}

/* One table for reading and writing, so that they cannot differ. */
static const struct {
	const char *name;
	size_t offset;
} limit_fields[] = {
	{"tx_size_max", offsetof(struct genesis_limits, tx_size_max)},
	{"block_txs_max", offsetof(struct genesis_limits, block_txs_max)},
	{"block_body_max", offsetof(struct genesis_limits, block_body_max)},
	{"key_size_max", offsetof(struct genesis_limits, key_size_max)},
	{"value_size_max", offsetof(struct genesis_limits, value_size_max)},
	{"tx_ops_max", offsetof(struct genesis_limits, tx_ops_max)},
	{"nonce_window", offsetof(struct genesis_limits, nonce_window)},
	{"expiry_horizon", offsetof(struct genesis_limits, expiry_horizon)},
	{"senders_max", offsetof(struct genesis_limits, senders_max)},
	{"window", offsetof(struct genesis_limits, window)},
};

static int read_limits(const struct json *v, struct genesis *g, struct errmsg *m)
{
	const struct json *item = json_get(v, "limits");
	const char *names[MEM_COUNT(limit_fields)];
	for (size_t i = 0; i < MEM_COUNT(limit_fields); i++)
		names[i] = limit_fields[i].name;
	int err = check_members(item, "limits", names, MEM_COUNT(names), m);
	for (size_t i = 0; !err && i < MEM_COUNT(limit_fields); i++) {
		uint32_t *field = (uint32_t *)((char *)&g->limits + limit_fields[i].offset);
		err = read_u32(item, "limits.", names[i], field, m);
	}
	return err;
}

/* The only member that need not be there: what came after genesis. Each is signed by the keys
 * that the others name. */
static int read_recoveries(const struct json *v, struct genesis *g, struct errmsg *m)
{
	const struct json *array;
	struct recovery *rec = mem_zalloc(sizeof *rec);
	uint8_t *bytes = mem_alloc(RECOVERY_SIZE_MAX);
	int err = genesis_check(g, true, m); /* what the others say is relied on now */
	if (!err)
		err = read_array(v, "", "recovered", GENESIS_RECOVERIES_MAX, &array, m);
	for (size_t i = 0; !err && i < json_len(array); i++) {
		struct reader r;
		struct errmsg why = {.text = "it does not decode"};
		const char *hex = "";
		size_t len;
		if (!json_as_string(json_at(array, i), &hex))
			len = strlen(hex) / 2;
		else
			len = RECOVERY_SIZE_MAX + 1;
		err = len > RECOVERY_SIZE_MAX || strlen(hex) % 2 ? ERR_SYNTAX
								 : hex_decode(bytes, len, hex);
		if (!err) {
			reader_init(&r, slice_of(bytes, len));
			recovery_decode(&r, rec);
			err = reader_finish(&r);
		}
		if (!err)
			err = genesis_add_recovery(g, rec, &why);
		if (err)
			err_set(m, ERR_CONFIG, "recovered[%zu]: %s", i, why.text);
	}
	if (!err && json_len(array) == 0)
		err = err_set(m, ERR_CONFIG, "'recovered' is empty: leave it out");
	mem_free(bytes);
	mem_free(rec);
	return err ? ERR_CONFIG : ERR_NONE;
}

static const char *const protocols[] = {"hybrid", "pbft", "raft", "multipaxos"};
static const char *const schemes[] = {"ed25519", "symbolic"};

static int read_file(const struct json *v, struct genesis *g, struct errmsg *m)
{
	static const char *const names[] = {
		"version",    "name",	    "time_ms",	  "protocol",
		"signatures", "validators", "governance", "recovery",
		"balances",   "open",	    "senders",	  "checkpoint_interval",
		"probation",  "limits",	    "state_root", "recovered"};
	uint64_t version;
	size_t count = MEM_COUNT(names) - (json_is_object(v) && !json_get(v, "recovered"));
	int word, err = check_members(v, "", names, count, m);
	if (err)
		return err;
	if (json_read_u64(v, "version", &version))
		return err_set(m, ERR_CONFIG, "'version' must be a whole number");
	if (version != GENESIS_VERSION)
		return err_set(m, ERR_VERSION,
			       "'version' is %llu: this program knows version %d only",
			       (unsigned long long)version, GENESIS_VERSION);
	if ((err = read_name(v, "", g->name, m)))
		return err;
	if (json_read_u64(v, "time_ms", &g->time_ms))
		return err_set(m, ERR_CONFIG,
			       "'time_ms' must be a whole number of milliseconds since 1970");
	if ((err = read_word(v, "protocol", protocols, MEM_COUNT(protocols), &word, m)))
		return err;
	g->protocol = (enum protocol)word;
	if ((err = read_word(v, "signatures", schemes, MEM_COUNT(schemes), &word, m)))
		return err;
	g->scheme = (enum sig_scheme)word;
	if ((err = read_validators(v, g, m)) ||
	    (err = read_keys(v, "governance", &g->governance, m)) ||
	    (err = read_keys(v, "recovery", &g->recovery, m)) ||
	    (err = read_balances(v, g, m)) || (err = read_senders(v, g, m)) ||
	    (err = read_u32(v, "", "checkpoint_interval", &g->checkpoint_interval, m)) ||
	    (err = read_u32(v, "", "probation", &g->probation, m)) ||
	    (err = read_limits(v, g, m)))
		return err;
	if (json_read_hex(v, "state_root", g->state_root.b, HASH_SIZE))
		return err_set(m, ERR_CONFIG, "'state_root' must be 64 hexadecimal digits");
	return json_get(v, "recovered") ? read_recoveries(v, g, m) : ERR_NONE;
}

static int take_json(struct genesis *g, struct json *v, struct errmsg *m)
{
	int err = read_file(v, g, m);
	json_free(v);
	if (err)
		genesis_free(g);
	return err;
}

int genesis_parse(struct genesis *g, struct slice json, struct errmsg *m)
{
	struct json *v;
	*g = (struct genesis){0};
	if (json.len > GENESIS_FILE_MAX)
		return err_set(m, ERR_LIMIT, "the file has %zu bytes: it must have at most %u",
			       json.len, GENESIS_FILE_MAX);
	int err = json_parse(&v, json, m);
	return err ? err : take_json(g, v, m);
}

int genesis_read(struct genesis *g, const char *path, struct errmsg *m)
{
	struct json *v;
	*g = (struct genesis){0};
	int err = json_parse_file(&v, path, GENESIS_FILE_MAX, m);
	if (err || (err = take_json(g, v, m)))
		return err;
	err = genesis_check(g, false, m);
	if (err)
		genesis_free(g);
	return err;
}

/* ---- writing ----------------------------------------------------------------------------- */

static struct json *keys_json(const struct genesis_keys *k)
{
	struct json *v = json_object(), *keys = json_array();
	for (unsigned i = 0; i < k->m; i++)
		json_append(keys, json_hex(k->key[i].b, PUBKEY_SIZE));
	json_set(v, "k", json_int(k->k));
	json_set(v, "keys", keys);
	return v;
}

static struct json *validators_json(const struct genesis *g)
{
	struct json *array = json_array();
	for (unsigned i = 0; i < g->n; i++) {
		struct json *item = json_object();
		json_set(item, "name", json_string(g->validator[i].name));
		json_set(item, "key", json_hex(g->validator[i].key.b, PUBKEY_SIZE));
		json_append(array, item);
	}
	return array;
}

static struct json *balances_json(const struct genesis *g)
{
	struct json *array = json_array();
	for (uint32_t i = 0; i < g->balance_count; i++) {
		struct json *item = json_object();
		json_set(item, "account", json_hex(g->balances[i].account.b, PUBKEY_SIZE));
		json_set(item, "amount", json_u64_string(g->balances[i].amount));
		json_append(array, item);
	}
	return array;
}

char *genesis_json(const struct genesis *g)
{
	struct json *v = json_object(), *senders = json_array(), *limits = json_object();
	json_set(v, "version", json_int(GENESIS_VERSION));
	json_set(v, "name", json_string(g->name));
	json_set(v, "time_ms", json_u64(g->time_ms));
	json_set(v, "protocol", json_string(protocol_name(g->protocol)));
	json_set(v, "signatures", json_string(schemes[g->scheme - 1]));
	json_set(v, "validators", validators_json(g));
	json_set(v, "governance", keys_json(&g->governance));
	json_set(v, "recovery", keys_json(&g->recovery));
	json_set(v, "balances", balances_json(g));
	json_set(v, "open", json_bool(g->open));
	for (uint32_t i = 0; i < g->sender_count; i++)
		json_append(senders, json_hex(g->senders[i].b, PUBKEY_SIZE));
	json_set(v, "senders", senders);
	json_set(v, "checkpoint_interval", json_int(g->checkpoint_interval));
	json_set(v, "probation", json_int(g->probation));
	for (size_t i = 0; i < MEM_COUNT(limit_fields); i++) {
		uint32_t field;
		memcpy(&field, (const char *)&g->limits + limit_fields[i].offset,
		       sizeof(field));
		json_set(limits, limit_fields[i].name, json_int(field));
	}
	json_set(v, "limits", limits);
	json_set(v, "state_root", json_hex(g->state_root.b, HASH_SIZE));
	if (g->recovery_count) {
		struct json *recovered = json_array();
		for (unsigned i = 0; i < g->recovery_count; i++) {
			struct writer w = {0};
			recovery_encode(&w, &g->recoveries[i]);
			json_append(recovered, json_hex(w.buf, w.len));
			writer_free(&w);
		}
		json_set(v, "recovered", recovered);
	}
	char *text = json_dump(v, true);
	json_free(v);
	return text;
}
