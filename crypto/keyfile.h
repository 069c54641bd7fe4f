/* Key files: one Ed25519 key, JSON, mode 0600, encrypted with a passphrase (Argon2id 13 and
 * XChaCha20-Poly1305) or, for keys that `net init` makes, in plain and marked as such. */
#ifndef CRYPTO_KEYFILE_H
#define CRYPTO_KEYFILE_H

#include "base/err.h"
#include "crypto/sign.h"

#define KEYFILE_LABEL_MAX 64

struct keyfile_info {
	struct pubkey pub;
	bool encrypted;
	bool taken; /* keyfile_take() */
	char label[KEYFILE_LABEL_MAX + 1]; /* printable ASCII */
};

/* Writes a new file atomically (temporary name, fsync, link); ERR_EXISTS keeps the old one.
 * passphrase NULL: stored in plain. An empty passphrase is refused (ERR_PASSPHRASE). */
int keyfile_write(const char *path, const struct keypair *key, const char *label,
		  const char *passphrase, struct errmsg *m);
/* Public part only; needs no passphrase. */
int keyfile_info(const char *path, struct keyfile_info *out, struct errmsg *m);
/* ERR_PASSPHRASE if it is wrong or needed and NULL; ERR_PERMISSION if the file is readable by
 * group or others; ERR_CORRUPT if the secret does not belong to the public key. */
int keyfile_read(const char *path, struct keypair *out, const char *passphrase, struct errmsg *m);
/* Notes in the file, atomically, that its key has got a home: whoever would give it another one,
 * whose vote state begins empty, is to refuse. Needs no passphrase; for good. */
int keyfile_take(const char *path, struct errmsg *m);
/* Replaces the passphrase atomically (NULL: none). */
int keyfile_rekey(const char *path, const char *old_pass, const char *new_pass, struct errmsg *m);

#endif
