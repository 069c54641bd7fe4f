/* Nonce windows: each nonce once, in any order within a window around the highest used.
 * The bitmap is a ring: bit (nonce mod window) belongs to the newest nonce with that remainder
 * that is not above the highest, so that sliding clears bits and moves none. */
#include "base/mutant.h"
#include "ledger/private.h"

size_t nonce_window_size(const struct genesis_limits *limits)
{
	return NONCE_WINDOW_HEAD + limits->nonce_window / 8;
}

static uint8_t *bit_byte(uint8_t *value, uint64_t bit)
{
	return value + NONCE_WINDOW_HEAD + bit / 8;
}

static bool bit_get(const uint8_t *value, uint64_t bit)
{
	return value[NONCE_WINDOW_HEAD + bit / 8] >> (bit & 7) & 1;
}

int nonce_check(struct slice value, uint64_t nonce, uint32_t window)
{
	uint64_t highest = value.len ? load_be64(value.ptr) : 0;
	if (nonce > highest)
		return nonce - highest <= window ? ERR_NONE : ERR_TX_NONCE_WINDOW;
	if (highest - nonce >= window)
		return ERR_TX_NONCE_WINDOW;
	return value.len && bit_get(value.ptr, nonce % window) && !MUTANT(MUTANT_REPLAYED_TX)
		       ? ERR_TX_NONCE_USED
		       : ERR_NONE;
}

void nonce_use(uint8_t *value, uint64_t nonce, uint32_t window)
{
	uint64_t highest = load_be64(value);
	if (nonce > highest) {
		invariant(nonce - highest <= window);
		for (uint64_t n = highest + 1; n < nonce; n++)
			*bit_byte(value, n % window) &= (uint8_t) ~(1u << (n % window & 7));
		store_be64(value, nonce);
	}
	*bit_byte(value, nonce % window) |= (uint8_t)(1u << (nonce % window & 7));
}

uint64_t nonce_suggest(struct slice value, uint32_t window)
{
	uint64_t highest = value.len ? load_be64(value.ptr) : 0;
	if (highest < UINT64_MAX)
		return highest + 1;
	for (uint64_t n = highest; highest - n < window; n--)
		if (nonce_check(value, n, window) == ERR_NONE)
			return n;
	return highest; /* this sender has used up every nonce there is */
}

int expiry_check(uint64_t expiry, uint64_t height, const struct genesis_limits *limits)
{
	if (expiry < height)
		return ERR_TX_EXPIRED;
	return expiry - height > limits->expiry_horizon ? ERR_TX_HORIZON : ERR_NONE;
}

bool sender_allowed(const struct genesis *g, const struct pubkey *sender)
{
	size_t lo = 0, hi = g->sender_count;
	if (g->open)
		return true;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = memcmp(g->senders[mid].b, sender->b, PUBKEY_SIZE);
		if (c == 0)
			return true;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

void state_key_of(uint8_t out[STATE_ACCOUNT_KEY_SIZE], char ns, const struct pubkey *key)
{
	out[0] = (uint8_t)ns;
	memcpy(out + 1, key->b, PUBKEY_SIZE);
}

struct slice state_key_senders(void)
{
	static const uint8_t key[] = {STATE_NS_SYSTEM, 's', 'e', 'n', 'd', 'e', 'r', 's'};
	return slice_of(key, sizeof(key));
}
