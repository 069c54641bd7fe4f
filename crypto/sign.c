#include "crypto/sign.h"

#include <pthread.h>
#include <sodium.h>

#include "base/err.h"
#include "base/mem.h"

_Static_assert(PUBKEY_SIZE == crypto_sign_PUBLICKEYBYTES, "libsodium's size");
_Static_assert(SIGNATURE_SIZE == crypto_sign_BYTES, "libsodium's size");
_Static_assert(sizeof(((struct keypair *)0)->secret) == crypto_sign_SECRETKEYBYTES,
	       "libsodium's size");
_Static_assert(SIGNATURE_SIZE == 2 * HASH_SIZE, "a symbolic signature is one hash, twice");

static const char domain[8] = "ostrakon"; /* without the terminating zero */

#define KEY_OFFSET    1
#define DOMAIN_OFFSET (KEY_OFFSET + PUBKEY_SIZE)
#define PREFIX_SIZE   (DOMAIN_OFFSET + sizeof(domain) + 1 + HASH_SIZE)
#define STACK_SIZE    1024

static _Thread_local struct sig_counts counts;

void crypto_init(void)
{
	int rc = sodium_init(); /* thread-safe; aborts by itself where there is no entropy */
	invariant(rc >= 0);
}

void crypto_random(void *out, size_t len)
{
	randombytes_buf(out, len);
}

void crypto_wipe(void *ptr, size_t len)
{
	sodium_memzero(ptr, len);
}

void keypair_generate(struct keypair *out)
{
	int rc = crypto_sign_keypair(out->pub.b, out->secret);
	invariant(rc == 0);
}

void keypair_from_seed(struct keypair *out, const uint8_t seed[32])
{
	int rc = crypto_sign_seed_keypair(out->pub.b, out->secret, seed);
	invariant(rc == 0);
}

bool pubkey_equal(const struct pubkey *a, const struct pubkey *b)
{
	return memcmp(a->b, b->b, PUBKEY_SIZE) == 0;
}

/* What is signed: domain, tag, chain, msg. Before it in the same buffer stand a hash's tag and
 * the public key, which only a symbolic signature covers (Ed25519 binds the key by itself), and
 * after it is room for that hash. */
struct message {
	uint8_t *buf;
	size_t len;
	uint8_t stack[STACK_SIZE];
};

static void message_init(struct message *m, enum sig_tag tag, const struct hash *chain,
			 struct slice msg)
{
	m->len = PREFIX_SIZE + msg.len;
	m->buf = m->len + HASH_ROOM <= STACK_SIZE ? m->stack : mem_alloc(m->len + HASH_ROOM);
	m->buf[0] = HASH_SYMBOLIC_SIG;
	uint8_t *p = m->buf + DOMAIN_OFFSET;
	memcpy(p, domain, sizeof(domain));
	p += sizeof(domain);
	*p++ = (uint8_t)tag;
	memcpy(p, chain->b, HASH_SIZE);
	p += HASH_SIZE;
	if (msg.len)
		memcpy(p, msg.ptr, msg.len);
}

static void message_free(struct message *m)
{
	if (m->buf != m->stack)
		mem_free(m->buf);
}

/* A symbolic signature is this hash, twice. */
static void symbolic(struct hash *out, struct message *m, const struct pubkey *key)
{
	memcpy(m->buf + KEY_OFFSET, key->b, PUBKEY_SIZE);
	hash_in_place_alike(out, m->buf, m->len); /* by one key, in one chain, for one use */
}

void sig_make(enum sig_scheme scheme, struct signature *out, const struct keypair *key,
	      enum sig_tag tag, const struct hash *chain, struct slice msg)
{
	struct message m;
	struct hash h;
	invariant(scheme == SIG_ED25519 || scheme == SIG_SYMBOLIC);
	counts.made++;
	message_init(&m, tag, chain, msg);
	switch (scheme) {
	case SIG_ED25519:
		crypto_sign_detached(out->b, NULL, m.buf + DOMAIN_OFFSET, m.len - DOMAIN_OFFSET,
				     key->secret);
		break;
	case SIG_SYMBOLIC:
		symbolic(&h, &m, &key->pub);
		memcpy(out->b, h.b, HASH_SIZE);
		memcpy(out->b + HASH_SIZE, h.b, HASH_SIZE);
		break;
	}
	message_free(&m);
}

static bool is_good(enum sig_scheme scheme, struct message *m, const struct signature *sig,
		    const struct pubkey *key)
{
	struct hash h;
	counts.checked++;
	switch (scheme) {
	case SIG_ED25519:
		return crypto_sign_verify_detached(sig->b, m->buf + DOMAIN_OFFSET,
						   m->len - DOMAIN_OFFSET, key->b) == 0;
	case SIG_SYMBOLIC:
		symbolic(&h, m, key);
		return memcmp(sig->b, h.b, HASH_SIZE) == 0 &&
		       memcmp(sig->b + HASH_SIZE, h.b, HASH_SIZE) == 0;
	}
	return false;
}

int sig_check_all(enum sig_scheme scheme, const struct signature *sigs,
		  const struct pubkey *keys, uint64_t signers, enum sig_tag tag,
		  const struct hash *chain, struct slice msg)
{
	struct message m;
	bool good = true;
	message_init(&m, tag, chain, msg);
	for (; good && signers; signers &= signers - 1)
		good = is_good(scheme, &m, sigs++, &keys[__builtin_ctzll(signers)]);
	message_free(&m);
	return good ? ERR_NONE : ERR_BAD_SIGNATURE;
}

int sig_check(enum sig_scheme scheme, const struct signature *sig, const struct pubkey *key,
	      enum sig_tag tag, const struct hash *chain, struct slice msg)
{
	return sig_check_all(scheme, sig, key, 1, tag, chain, msg);
}

void writer_pubkey(struct writer *w, const struct pubkey *k)
{
	writer_raw(w, k->b, PUBKEY_SIZE);
}

void reader_pubkey(struct reader *r, struct pubkey *out)
{
	reader_raw(r, out->b, PUBKEY_SIZE);
}

void writer_signature(struct writer *w, const struct signature *s)
{
	uint8_t *p = writer_extend(w, SIGNATURE_SIZE);
	if (p)
		memcpy(p, s->b, SIGNATURE_SIZE);
}

void reader_signature(struct reader *r, struct signature *out)
{
	const uint8_t *p = reader_advance(r, SIGNATURE_SIZE);
	if (p)
		memcpy(out->b, p, SIGNATURE_SIZE);
	else
		memset(out->b, 0, SIGNATURE_SIZE);
}

const char *pubkey_hex(char out[PUBKEY_HEX_SIZE], const struct pubkey *k)
{
	hex_encode(out, k->b, PUBKEY_SIZE);
	return out;
}

struct sig_counts sig_counts(void)
{
	return counts;
}
