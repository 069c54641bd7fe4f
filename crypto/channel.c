#include "crypto/channel.h"

#include <sodium.h>

#include "base/err.h"
#include "base/mem.h"

#define CHANNEL_VERSION 1
#define KEY_SIZE	32
#define NONCE_SIZE	32
#define PROOF_SIZE	(PUBKEY_SIZE + SIGNATURE_SIZE)
#define SEALED_SIZE	(PROOF_SIZE + crypto_aead_xchacha20poly1305_ietf_ABYTES)
#define REPLY_OPEN_SIZE (KEY_SIZE + NONCE_SIZE)
#define REPLY_SIZE	(REPLY_OPEN_SIZE + SEALED_SIZE)
#define FINISH_SIZE	SEALED_SIZE

_Static_assert(KEY_SIZE == crypto_scalarmult_BYTES, "X25519");
_Static_assert(KEY_SIZE == crypto_kdf_KEYBYTES, "BLAKE2b KDF");
_Static_assert(KEY_SIZE == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "AEAD");
_Static_assert(KEY_SIZE == crypto_secretstream_xchacha20poly1305_KEYBYTES, "secretstream");
_Static_assert(CHANNEL_OVERHEAD == crypto_secretstream_xchacha20poly1305_ABYTES,
	       "secretstream");
_Static_assert(REPLY_SIZE <= CHANNEL_HANDSHAKE_MAX, "bound of handshake messages");

/* What a derived key is for. Each is used with one key of the schedule only. */
enum key_use {
	KEY_REPLY = 1,
	KEY_FINISH = 2,
	KEY_FROM_INITIATOR = 3,
	KEY_FROM_RESPONDER = 4,
	KEY_HEADER_INITIATOR = 5,
	KEY_HEADER_RESPONDER = 6,
};

enum stage { STAGE_HELLO, STAGE_REPLY, STAGE_FINISH, STAGE_OPEN, STAGE_FAILED };

struct channel {
	enum channel_role role;
	enum stage stage; /* the message that is handled next */
	struct hash chain;
	struct pubkey expect; /* initiator only */
	struct pubkey peer;
	struct keypair identity;     /* wiped when the handshake ends, as the next three are */
	uint8_t ephemeral[KEY_SIZE]; /* secret */
	uint8_t hello[CHANNEL_HELLO_SIZE];
	uint8_t secret[KEY_SIZE]; /* root of the key schedule */
	struct hash transcript;
	crypto_secretstream_xchacha20poly1305_state send, receive;
	bool receive_broken;
};

struct channel *channel_new(enum channel_role role, const struct keypair *identity,
			    const struct hash *chain, const struct pubkey *expect)
{
	invariant((role == CHANNEL_INITIATOR) == (expect != NULL));
	struct channel *c = mem_zalloc(sizeof(*c));
	c->role = role;
	c->chain = *chain;
	c->identity = *identity;
	if (expect)
		c->expect = *expect;
	return c;
}

void channel_free(struct channel *c)
{
	if (!c)
		return;
	crypto_wipe(c, sizeof(*c));
	mem_free(c);
}

static void forget_handshake(struct channel *c)
{
	crypto_wipe(&c->identity, sizeof(c->identity));
	crypto_wipe(c->ephemeral, sizeof(c->ephemeral));
	crypto_wipe(c->hello, sizeof(c->hello));
	crypto_wipe(c->secret, sizeof(c->secret));
}

/* Every byte that passes goes in here, in the order in which it passes. */
static void transcript_add(struct channel *c, struct slice bytes)
{
	hash_tagged2(&c->transcript, HASH_SESSION, hash_slice(&c->transcript), bytes);
}

static void transcript_start(struct channel *c)
{
	hash_tagged2(&c->transcript, HASH_SESSION, slice_str("ostrakon channel"),
		     slice_of(c->hello, sizeof(c->hello)));
}

static void make_ephemeral(struct channel *c, uint8_t *public_out)
{
	crypto_random(c->ephemeral, KEY_SIZE);
	crypto_scalarmult_base(public_out, c->ephemeral);
}

/* Mixes the transcript so far into the key schedule: extract, as in HKDF, by keyed BLAKE2b. */
static void mix_key(uint8_t out[KEY_SIZE], const uint8_t key[KEY_SIZE], const struct hash *h)
{
	crypto_generichash(out, KEY_SIZE, h->b, HASH_SIZE, key, KEY_SIZE);
}

static void derive(const struct channel *c, enum key_use use, uint8_t *out, size_t len)
{
	uint8_t key[KEY_SIZE];
	crypto_kdf_derive_from_key(key, KEY_SIZE, (uint64_t)use, "ostrakon", c->secret);
	memcpy(out, key, len);
	crypto_wipe(key, sizeof(key));
}

/* Small-order points, whose result is the same for every secret, are refused. */
static int agree(struct channel *c, const uint8_t *peer_ephemeral)
{
	uint8_t shared[KEY_SIZE];
	int err = ERR_NONE;
	if (crypto_scalarmult(shared, c->ephemeral, peer_ephemeral) != 0)
		err = ERR_BAD_SIGNATURE;
	else
		mix_key(c->secret, shared, &c->transcript);
	crypto_wipe(shared, sizeof(shared));
	return err;
}

/* What a side signs: the transcript so far, its role, its identity. */
static void proof_statement(const struct channel *c, enum channel_role role,
			    const struct pubkey *identity, struct hash *out)
{
	uint8_t tail[1 + PUBKEY_SIZE];
	tail[0] = role == CHANNEL_INITIATOR ? 1 : 2;
	memcpy(tail + 1, identity->b, PUBKEY_SIZE);
	hash_tagged2(out, HASH_SESSION, hash_slice(&c->transcript),
		     slice_of(tail, sizeof(tail)));
}

static enum key_use proof_key(enum channel_role role)
{
	return role == CHANNEL_INITIATOR ? KEY_FINISH : KEY_REPLY;
}

/* The zero nonce is right: each of the two keys seals one message in its life. */
static const uint8_t zero_nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES];

static void proof_seal(struct channel *c, uint8_t out[SEALED_SIZE])
{
	uint8_t plain[PROOF_SIZE], key[KEY_SIZE];
	struct hash statement;
	struct signature sig;
	proof_statement(c, c->role, &c->identity.pub, &statement);
	sig_make(SIG_ED25519, &sig, &c->identity, SIG_TAG_HANDSHAKE, &c->chain,
		 hash_slice(&statement));
	memcpy(plain, c->identity.pub.b, PUBKEY_SIZE);
	memcpy(plain + PUBKEY_SIZE, sig.b, SIGNATURE_SIZE);
	derive(c, proof_key(c->role), key, KEY_SIZE);
	crypto_aead_xchacha20poly1305_ietf_encrypt(out, NULL, plain, PROOF_SIZE,
						   c->transcript.b, HASH_SIZE, NULL, zero_nonce,
						   key);
	transcript_add(c, slice_of(plain, PROOF_SIZE));
	transcript_add(c, slice_of(out, SEALED_SIZE));
	crypto_wipe(key, sizeof(key));
	crypto_wipe(plain, sizeof(plain));
}

static int proof_open(struct channel *c, const uint8_t *sealed)
{
	uint8_t plain[PROOF_SIZE], key[KEY_SIZE];
	enum channel_role peer_role =
		c->role == CHANNEL_INITIATOR ? CHANNEL_RESPONDER : CHANNEL_INITIATOR;
	struct hash statement;
	struct signature sig;
	derive(c, proof_key(peer_role), key, KEY_SIZE);
	int rc = crypto_aead_xchacha20poly1305_ietf_decrypt(plain, NULL, NULL, sealed,
							    SEALED_SIZE, c->transcript.b,
							    HASH_SIZE, zero_nonce, key);
	crypto_wipe(key, sizeof(key));
	if (rc != 0)
		return ERR_BAD_SIGNATURE;
	memcpy(c->peer.b, plain, PUBKEY_SIZE);
	memcpy(sig.b, plain + PUBKEY_SIZE, SIGNATURE_SIZE);
	if (c->role == CHANNEL_INITIATOR && !pubkey_equal(&c->peer, &c->expect))
		return ERR_UNKNOWN_SIGNER;
	if (pubkey_equal(&c->peer, &c->identity.pub))
		return ERR_UNKNOWN_SIGNER; /* a node has no link to itself */
	proof_statement(c, peer_role, &c->peer, &statement);
	int err = sig_check(SIG_ED25519, &sig, &c->peer, SIG_TAG_HANDSHAKE, &c->chain,
			    hash_slice(&statement));
	transcript_add(c, slice_of(plain, PROOF_SIZE));
	transcript_add(c, slice_of(sealed, SEALED_SIZE));
	return err;
}

/* Session keys are fresh for the whole transcript, so the stream header need not be random
 * and is derived instead of sent. init_pull sets up the same state as init_push does, but
 * takes the header as given. */
static void start_stream(const struct channel *c,
			 crypto_secretstream_xchacha20poly1305_state *stream,
			 enum channel_role sender)
{
	uint8_t key[KEY_SIZE], header[crypto_secretstream_xchacha20poly1305_HEADERBYTES];
	bool initiator = sender == CHANNEL_INITIATOR;
	derive(c, initiator ? KEY_FROM_INITIATOR : KEY_FROM_RESPONDER, key, sizeof(key));
	derive(c, initiator ? KEY_HEADER_INITIATOR : KEY_HEADER_RESPONDER, header,
	       sizeof(header));
	int rc = crypto_secretstream_xchacha20poly1305_init_pull(stream, header, key);
	invariant(rc == 0);
	crypto_wipe(key, sizeof(key));
}

static void establish(struct channel *c)
{
	uint8_t session[KEY_SIZE];
	mix_key(session, c->secret, &c->transcript);
	memcpy(c->secret, session, KEY_SIZE);
	crypto_wipe(session, sizeof(session));
	bool initiator = c->role == CHANNEL_INITIATOR;
	start_stream(c, &c->send, c->role);
	start_stream(c, &c->receive, initiator ? CHANNEL_RESPONDER : CHANNEL_INITIATOR);
	forget_handshake(c);
	c->stage = STAGE_OPEN;
}

/* Fields of HELLO. */
#define HELLO_CHAIN	2
#define HELLO_EPHEMERAL (HELLO_CHAIN + HASH_SIZE)
#define HELLO_NONCE	(HELLO_EPHEMERAL + KEY_SIZE)
_Static_assert(HELLO_NONCE + NONCE_SIZE == CHANNEL_HELLO_SIZE, "HELLO");

static void send_hello(struct channel *c, struct writer *out)
{
	c->hello[0] = CHANNEL_VERSION >> 8;
	c->hello[1] = CHANNEL_VERSION & 0xff;
	memcpy(c->hello + HELLO_CHAIN, c->chain.b, HASH_SIZE);
	make_ephemeral(c, c->hello + HELLO_EPHEMERAL);
	crypto_random(c->hello + HELLO_NONCE, NONCE_SIZE);
	transcript_start(c);
	writer_raw(out, c->hello, sizeof(c->hello));
	c->stage = STAGE_REPLY;
}

static int exact_size(struct slice in, size_t size)
{
	return in.len < size ? ERR_TRUNCATED : in.len > size ? ERR_TRAILING : ERR_NONE;
}

static int on_hello(struct channel *c, struct slice in, struct writer *out)
{
	/* Version first: a later one may well have another size. */
	if (in.len >= 2 &&
	    (in.ptr[0] != CHANNEL_VERSION >> 8 || in.ptr[1] != (CHANNEL_VERSION & 0xff)))
		return ERR_VERSION;
	int err = exact_size(in, CHANNEL_HELLO_SIZE);
	if (err)
		return err;
	if (memcmp(in.ptr + HELLO_CHAIN, c->chain.b, HASH_SIZE) != 0)
		return ERR_WRONG_CHAIN;
	memcpy(c->hello, in.ptr, sizeof(c->hello));
	transcript_start(c);

	uint8_t reply[REPLY_SIZE];
	make_ephemeral(c, reply);
	crypto_random(reply + KEY_SIZE, NONCE_SIZE);
	transcript_add(c, slice_of(reply, REPLY_OPEN_SIZE));
	err = agree(c, c->hello + HELLO_EPHEMERAL);
	if (err)
		return err;
	proof_seal(c, reply + REPLY_OPEN_SIZE);
	writer_raw(out, reply, sizeof(reply));
	c->stage = STAGE_FINISH;
	return ERR_NONE;
}

static int on_reply(struct channel *c, struct slice in, struct writer *out)
{
	int err = exact_size(in, REPLY_SIZE);
	if (err)
		return err;
	transcript_add(c, slice_of(in.ptr, REPLY_OPEN_SIZE));
	err = agree(c, in.ptr);
	if (!err)
		err = proof_open(c, in.ptr + REPLY_OPEN_SIZE);
	if (err)
		return err;
	uint8_t finish[FINISH_SIZE];
	proof_seal(c, finish);
	writer_raw(out, finish, sizeof(finish));
	establish(c);
	return ERR_NONE;
}

static int on_finish(struct channel *c, struct slice in)
{
	int err = exact_size(in, FINISH_SIZE);
	if (!err)
		err = proof_open(c, in.ptr);
	if (!err)
		establish(c);
	return err;
}

int channel_handshake(struct channel *c, struct slice in, struct writer *out)
{
	int err = ERR_NONE;
	switch (c->stage) {
	case STAGE_HELLO:
		if (c->role == CHANNEL_RESPONDER)
			err = on_hello(c, in, out);
		else if (in.len)
			err = ERR_TRAILING; /* the responder spoke first */
		else
			send_hello(c, out);
		break;
	case STAGE_REPLY:
		err = on_reply(c, in, out);
		break;
	case STAGE_FINISH:
		err = on_finish(c, in);
		break;
	case STAGE_OPEN:
	case STAGE_FAILED:
		return ERR_CLOSED;
	}
	if (!err)
		err = out->err;
	if (err) {
		crypto_wipe(&c->send, sizeof(c->send));
		crypto_wipe(&c->receive, sizeof(c->receive));
		forget_handshake(c);
		c->stage = STAGE_FAILED;
		return err;
	}
	return c->stage == STAGE_OPEN;
}

const struct pubkey *channel_peer(const struct channel *c)
{
	invariant(c->stage == STAGE_OPEN);
	return &c->peer;
}

void channel_seal(struct channel *c, struct slice msg, struct writer *out)
{
	invariant(c->stage == STAGE_OPEN);
	size_t at = writer_skip(out, msg.len + CHANNEL_OVERHEAD);
	if (out->err)
		return;
	int rc = crypto_secretstream_xchacha20poly1305_push(
		&c->send, out->buf + at, NULL, msg.ptr, msg.len, NULL, 0,
		crypto_secretstream_xchacha20poly1305_TAG_MESSAGE);
	invariant(rc == 0);
}

int channel_open(struct channel *c, uint8_t *buf, size_t len, struct slice *out)
{
	unsigned char tag;
	unsigned long long msg_len;
	*out = slice_of(NULL, 0);
	invariant(c->stage == STAGE_OPEN);
	if (c->receive_broken)
		return ERR_CLOSED;
	/* The tag comes first: decrypting to buf + 1 is decrypting in place. */
	if (len < CHANNEL_OVERHEAD ||
	    crypto_secretstream_xchacha20poly1305_pull(&c->receive, buf + 1, &msg_len, &tag,
						       buf, len, NULL, 0) != 0 ||
	    tag != crypto_secretstream_xchacha20poly1305_TAG_MESSAGE) {
		c->receive_broken = true; /* after a hole nothing that follows is in order */
		return ERR_BAD_SIGNATURE;
	}
	*out = slice_of(buf + 1, (size_t)msg_len);
	return ERR_NONE;
}
