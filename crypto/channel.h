/* Mutually authenticated key agreement and the encrypted channel that follows it.
 *
 *   initiator -> responder  HELLO   {version, chain id, ephemeral X25519 key, nonce}
 *   responder -> initiator  REPLY   {ephemeral key, nonce, identity, sig(transcript, "responder")}
 *   initiator -> responder  FINISH  {identity, sig(transcript, "initiator")}
 *
 * (SIGMA with both identities inside the signed transcript; identity parts of REPLY and FINISH
 * travel encrypted under keys of the ephemeral agreement.) The transcript covers every byte
 * before, the role and the chain id, so a message cannot be replayed, reflected or moved
 * between chains. Session keys come from the transcript hash; each direction is a libsodium
 * secretstream (XChaCha20-Poly1305, RFC 8439 construction), which counts its own messages:
 * drop, repeat or reorder breaks it. Sans-I/O: the caller moves the bytes. Once established,
 * one thread may seal while another opens. */
#ifndef CRYPTO_CHANNEL_H
#define CRYPTO_CHANNEL_H

#include "crypto/sign.h"

struct channel; /* opaque */

#define CHANNEL_HELLO_SIZE  (2 + HASH_SIZE + 32 + 32)
#define CHANNEL_HANDSHAKE_MAX 512 /* no handshake message is longer */
#define CHANNEL_OVERHEAD    17 /* bytes that sealing adds to a message */

enum channel_role { CHANNEL_INITIATOR, CHANNEL_RESPONDER };

/* For an initiator, expect (not NULL) is the identity that the responder must prove. For a
 * responder expect is NULL and the caller decides on channel_peer() after the handshake. */
struct channel *channel_new(enum channel_role role, const struct keypair *identity,
			    const struct hash *chain, const struct pubkey *expect);
void channel_free(struct channel *c); /* wipes */

/* Drives the handshake. in is the next whole message from the peer (empty for the initiator's
 * first call). Appends at most one message to out. Returns 1 when established, 0 when another
 * message is needed, an error otherwise (then only channel_free is allowed). ERR_WRONG_CHAIN,
 * ERR_VERSION, ERR_BAD_SIGNATURE, ERR_UNKNOWN_SIGNER (not the expected identity). */
int channel_handshake(struct channel *c, struct slice in, struct writer *out);

/* The identity that the peer has proved. Only after establishment. */
const struct pubkey *channel_peer(const struct channel *c);

/* Encrypts msg and appends len + CHANNEL_OVERHEAD bytes to out. */
void channel_seal(struct channel *c, struct slice msg, struct writer *out);
/* Decrypts in place; *out lies inside buf. ERR_BAD_SIGNATURE if tampered with. */
int channel_open(struct channel *c, uint8_t *buf, size_t len, struct slice *out);

#endif
