#include "tests/ledger/forgery.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"

const char *forgery_name(enum forgery f)
{
	static const char *const names[FORGERIES] = {
		"value",     "key",	  "height",	    "sibling",	     "root",
		"signature", "one short", "a signer twice", "another chain", "absence"};
	return names[f];
}

static const char *text_of(const struct json *v)
{
	const char *text;
	invariant(json_as_string(v, &text) == ERR_NONE);
	return text;
}

/* The hex digits of v with the one at `at` (negative: from the end) changed. */
static struct json *other_digit(const struct json *v, long at)
{
	char *text = mem_strdup(text_of(v));
	char *c = at < 0 ? text + strlen(text) + at : text + at;
	*c = *c == '0' ? '1' : '0';
	struct json *changed = json_string(text);
	mem_free(text);
	return changed;
}

/* Copies of array members by index. */
static struct json *pick(const struct json *a, const size_t *index, size_t count)
{
	struct json *out = json_array();
	for (size_t i = 0; i < count; i++) {
		const struct json *v = json_at(a, index[i]);
		uint64_t number;
		if (json_is_string(v)) {
			json_append(out, json_string(text_of(v)));
		} else {
			invariant(json_as_u64(v, &number) == ERR_NONE);
			json_append(out, json_u64(number));
		}
	}
	return out;
}

static void pick_signers(struct json *cert, const size_t *index, size_t count)
{
	json_set(cert, "signers", pick(json_get(cert, "signers"), index, count));
	json_set(cert, "signatures", pick(json_get(cert, "signatures"), index, count));
}

static void change(struct json *d, enum forgery f)
{
	static const size_t but_first[] = {1, 2, 3, 4, 5, 6, 7};
	static const size_t first_twice[] = {0, 0, 2, 3, 4, 5, 6, 7};
	struct json *cert = json_get(d, "certificate");
	struct json *signatures = json_get(cert, "signatures"), *changed = NULL;
	size_t count = json_len(json_get(cert, "signers"));
	uint64_t height;

	switch (f) {
	case FORGE_VALUE:
		json_set(d, "value", json_string("forged"));
		return;
	case FORGE_KEY:
		json_set(d, "key", json_string("forged"));
		return;
	case FORGE_HEIGHT:
		invariant(json_read_u64(d, "height", &height) == ERR_NONE);
		json_set(d, "height", json_u64(height + 1));
		return;
	case FORGE_SIBLING:
		json_set(d, "proof", other_digit(json_get(d, "proof"), -1));
		return;
	case FORGE_ROOT:
		json_set(d, "state_root", other_digit(json_get(d, "state_root"), 0));
		return;
	case FORGE_SIGNATURE:
		changed = json_array();
		for (size_t i = 0; i < count; i++)
			json_append(changed, i ? json_string(text_of(json_at(signatures, i)))
					       : other_digit(json_at(signatures, i), 0));
		json_set(cert, "signatures", changed);
		return;
	case FORGE_ONE_SHORT:
		pick_signers(cert, but_first, count - 1);
		return;
	case FORGE_TWICE:
		pick_signers(cert, first_twice, count);
		return;
	case FORGE_CHAIN:
		json_set(d, "chain_id", other_digit(json_get(d, "chain_id"), 0));
		return;
	case FORGE_ABSENCE:
		json_set(d, "value", json_null());
		json_set(d, "value_hash", json_null());
		return;
	case FORGERIES:
		break;
	}
	invariant(!"forgery");
}

char *forge(struct slice json, enum forgery f)
{
	struct json *d;
	invariant(json_parse(&d, json, NULL) == ERR_NONE);
	change(d, f);
	char *text = json_dump(d, true);
	json_free(d);
	return text;
}
