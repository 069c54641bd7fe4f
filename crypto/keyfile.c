#include "crypto/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"

#define FORMAT	      "ostrakon-key"
#define FORMAT_NUMBER 1
#define FORMAT_TAKEN  2 /* the same, and "taken": true */
#define FILE_SIZE_MAX 8192
#define SEED_SIZE     32
#define SEALED_SIZE   (SEED_SIZE + crypto_aead_xchacha20poly1305_ietf_ABYTES)
#define NONCE_SIZE    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define SALT_SIZE     crypto_pwhash_argon2id_SALTBYTES
#define KDF_NAME      "argon2id13"
#define CIPHER_NAME   "xchacha20poly1305"

/* New files: the second recommendation of RFC 9106 section 4, as far as libsodium (one
 * lane) has it. A file may ask for other cost up to the maxima: it may come from elsewhere. */
#define KDF_PASSES     3
#define KDF_MEMORY     ((uint64_t)64 << 20)
#define KDF_PASSES_MAX 16
#define KDF_MEMORY_MAX ((uint64_t)1 << 30)

struct kdf {
	uint8_t salt[SALT_SIZE];
	uint64_t passes, memory;
};

struct keyfile {
	struct keyfile_info info;
	struct kdf kdf; /* encrypted only, as the next two */
	uint8_t nonce[NONCE_SIZE];
	uint8_t sealed[SEALED_SIZE];
	uint8_t seed[SEED_SIZE]; /* plain only */
};

static int set_label(struct keyfile_info *info, const char *label, const char *path,
		     struct errmsg *m)
{
	size_t len = strnlen(label, KEYFILE_LABEL_MAX + 1);
	bool good = len <= KEYFILE_LABEL_MAX;
	for (size_t i = 0; good && i < len; i++)
		good = label[i] >= 0x20 && label[i] < 0x7f;
	if (!good)
		return err_set(m, ERR_RANGE,
			       "%s: a key's label is at most %d printable ASCII characters",
			       path, KEYFILE_LABEL_MAX);
	memset(info->label, 0, sizeof(info->label));
	memcpy(info->label, label, len);
	return ERR_NONE;
}

/* What is sealed together with the seed. The public key is not in here: it is checked
 * against the seed, so that a false one is told from a false passphrase. */
static size_t associated_data(const struct keyfile_info *info,
			      uint8_t out[sizeof(FORMAT) + 1 + KEYFILE_LABEL_MAX])
{
	size_t len = strlen(info->label);
	memcpy(out, FORMAT, sizeof(FORMAT));
	out[sizeof(FORMAT)] = FORMAT_NUMBER;
	memcpy(out + sizeof(FORMAT) + 1, info->label, len);
	return sizeof(FORMAT) + 1 + len;
}

static int stretch(const struct kdf *kdf, const char *passphrase, uint8_t key[32],
		   const char *path, struct errmsg *m)
{
	if (crypto_pwhash(key, 32, passphrase, strlen(passphrase), kdf->salt, kdf->passes,
			  (size_t)kdf->memory, crypto_pwhash_ALG_ARGON2ID13) != 0)
		return err_set(m, ERR_LIMIT,
			       "%s: Argon2id needs %llu MiB of memory, which this machine "
			       "does not give",
			       path, (unsigned long long)(kdf->memory >> 20));
	return ERR_NONE;
}

/* Fills f from key. passphrase NULL: plain. */
static int keyfile_seal(struct keyfile *f, const struct keypair *key, const char *label,
			const char *passphrase, const char *path, struct errmsg *m)
{
	memset(f, 0, sizeof(*f));
	int err = set_label(&f->info, label ? label : "", path, m);
	if (err)
		return err;
	f->info.pub = key->pub;
	f->info.encrypted = passphrase != NULL;
	if (!passphrase) {
		memcpy(f->seed, key->secret, SEED_SIZE);
		return ERR_NONE;
	}
	if (passphrase[0] == '\0')
		return err_set(m, ERR_PASSPHRASE, "%s: an empty passphrase protects nothing",
			       path);
	f->kdf.passes = KDF_PASSES;
	f->kdf.memory = KDF_MEMORY;
	crypto_random(f->kdf.salt, SALT_SIZE);
	crypto_random(f->nonce, NONCE_SIZE);
	uint8_t stretched[32], ad[sizeof(FORMAT) + 1 + KEYFILE_LABEL_MAX];
	err = stretch(&f->kdf, passphrase, stretched, path, m);
	if (err)
		return err;
	size_t ad_len = associated_data(&f->info, ad);
	crypto_aead_xchacha20poly1305_ietf_encrypt(f->sealed, NULL, key->secret, SEED_SIZE, ad,
						   ad_len, NULL, f->nonce, stretched);
	crypto_wipe(stretched, sizeof(stretched));
	return ERR_NONE;
}

static int keyfile_unseal(const struct keyfile *f, struct keypair *out, const char *passphrase,
			  const char *path, struct errmsg *m)
{
	uint8_t seed[SEED_SIZE], stretched[32], ad[sizeof(FORMAT) + 1 + KEYFILE_LABEL_MAX];
	if (!f->info.encrypted) {
		memcpy(seed, f->seed, SEED_SIZE);
	} else {
		if (!passphrase)
			return err_set(m, ERR_PASSPHRASE,
				       "%s: the key is encrypted, its passphrase is needed",
				       path);
		int err = stretch(&f->kdf, passphrase, stretched, path, m);
		if (err)
			return err;
		size_t ad_len = associated_data(&f->info, ad);
		int rc = crypto_aead_xchacha20poly1305_ietf_decrypt(seed, NULL, NULL, f->sealed,
								    SEALED_SIZE, ad, ad_len,
								    f->nonce, stretched);
		crypto_wipe(stretched, sizeof(stretched));
		if (rc != 0)
			return err_set(m, ERR_PASSPHRASE,
				       "%s: the passphrase is wrong, or the file was altered",
				       path);
	}
	keypair_from_seed(out, seed);
	crypto_wipe(seed, sizeof(seed));
	if (pubkey_equal(&out->pub, &f->info.pub))
		return ERR_NONE;
	crypto_wipe(out, sizeof(*out));
	return err_set(m, ERR_CORRUPT,
		       "%s: the secret key does not belong to the public key; restore the file "
		       "from a backup",
		       path);
}

static struct json *to_json(const struct keyfile *f)
{
	struct json *v = json_object();
	json_set(v, "format", json_string(FORMAT));
	json_set(v, "version", json_u64(f->info.taken ? FORMAT_TAKEN : FORMAT_NUMBER));
	json_set(v, "label", json_string(f->info.label));
	json_set(v, "public_key", json_hex(f->info.pub.b, PUBKEY_SIZE));
	json_set(v, "encrypted", json_bool(f->info.encrypted));
	if (f->info.taken)
		json_set(v, "taken", json_bool(true));
	if (!f->info.encrypted) {
		json_set(v, "seed", json_hex(f->seed, SEED_SIZE));
		return v;
	}
	struct json *kdf = json_object();
	json_set(kdf, "name", json_string(KDF_NAME));
	json_set(kdf, "salt", json_hex(f->kdf.salt, SALT_SIZE));
	json_set(kdf, "passes", json_u64(f->kdf.passes));
	json_set(kdf, "memory_bytes", json_u64(f->kdf.memory));
	json_set(v, "kdf", kdf);
	json_set(v, "cipher", json_string(CIPHER_NAME));
	json_set(v, "nonce", json_hex(f->nonce, NONCE_SIZE));
	json_set(v, "sealed_seed", json_hex(f->sealed, SEALED_SIZE));
	return v;
}

static int read_exact_name(const struct json *v, const char *key, const char *want,
			   const char *path, struct errmsg *m)
{
	const char *name;
	int err = json_read_string(v, key, &name);
	if (err)
		return err;
	return strcmp(name, want) == 0 ? ERR_NONE
				       : err_set(m, ERR_UNSUPPORTED, "%s: \"%s\" is not \"%s\"",
						 path, key, want);
}

static int sealed_from_json(struct keyfile *f, const struct json *v, const char *path,
			    struct errmsg *m)
{
	const struct json *kdf = json_get(v, "kdf");
	int err = json_len(kdf) == 4 ? ERR_NONE : ERR_SYNTAX;
	if (!err)
		err = read_exact_name(kdf, "name", KDF_NAME, path, m);
	if (!err)
		err = read_exact_name(v, "cipher", CIPHER_NAME, path, m);
	if (!err)
		err = json_read_hex(kdf, "salt", f->kdf.salt, SALT_SIZE);
	if (!err)
		err = json_read_u64(kdf, "passes", &f->kdf.passes);
	if (!err)
		err = json_read_u64(kdf, "memory_bytes", &f->kdf.memory);
	if (!err)
		err = json_read_hex(v, "nonce", f->nonce, NONCE_SIZE);
	if (!err)
		err = json_read_hex(v, "sealed_seed", f->sealed, SEALED_SIZE);
	if (err)
		return err;
	if (f->kdf.passes < 1 || f->kdf.passes > KDF_PASSES_MAX ||
	    f->kdf.memory < crypto_pwhash_argon2id_MEMLIMIT_MIN ||
	    f->kdf.memory > KDF_MEMORY_MAX)
		return err_set(m, ERR_LIMIT,
			       "%s: asks for %llu passes over %llu bytes of memory; at most %d "
			       "over %llu are accepted",
			       path, (unsigned long long)f->kdf.passes,
			       (unsigned long long)f->kdf.memory, KDF_PASSES_MAX,
			       (unsigned long long)KDF_MEMORY_MAX);
	return ERR_NONE;
}

static int from_json(struct keyfile *f, const struct json *v, const char *path,
		     struct errmsg *m)
{
	uint64_t version;
	const char *label;
	int err = read_exact_name(v, "format", FORMAT, path, m);
	if (!err)
		err = json_read_u64(v, "version", &version);
	if (!err && version != FORMAT_NUMBER && version != FORMAT_TAKEN)
		return err_set(m, ERR_VERSION,
			       "%s: key file version %llu, this program knows %d", path,
			       (unsigned long long)version, FORMAT_TAKEN);
	if (!err && version == FORMAT_TAKEN) {
		err = json_read_bool(v, "taken", &f->info.taken);
		if (!err && !f->info.taken)
			err = ERR_SYNTAX;
	}
	if (!err)
		err = json_read_string(v, "label", &label);
	if (!err)
		err = set_label(&f->info, label, path, m);
	if (!err)
		err = json_read_hex(v, "public_key", f->info.pub.b, PUBKEY_SIZE);
	if (!err)
		err = json_read_bool(v, "encrypted", &f->info.encrypted);
	if (err)
		return err;
	/* Nothing else may stand in it: growth takes a new version. */
	if (json_len(v) != (f->info.encrypted ? 9u : 6u) + f->info.taken)
		return ERR_SYNTAX;
	return f->info.encrypted ? sealed_from_json(f, v, path, m)
				 : json_read_hex(v, "seed", f->seed, SEED_SIZE);
}

static int io_error(struct errmsg *m, const char *what, const char *path)
{
	int code = errno == ENOENT		       ? ERR_NOT_FOUND
		   : errno == EACCES || errno == EPERM ? ERR_PERMISSION
						       : ERR_IO;
	return err_set(m, code, "cannot %s %s: %s", what, path, strerror(errno));
}

static int check_private(const struct stat *st, const char *path, struct errmsg *m)
{
	if (st->st_mode & 077)
		return err_set(m, ERR_PERMISSION,
			       "%s: mode %04o lets others at the key; run: chmod 600 %s", path,
			       (unsigned)(st->st_mode & 07777), path);
	if (st->st_uid != geteuid() && st->st_uid != 0 && geteuid() != 0)
		return err_set(m, ERR_PERMISSION, "%s: belongs to user %u", path,
			       (unsigned)st->st_uid);
	return ERR_NONE;
}

/* Reads at most FILE_SIZE_MAX bytes of a regular file that is no symbolic link. */
static int read_file(uint8_t *buf, size_t *len, const char *path, bool private,
		     struct errmsg *m)
{
	struct stat st;
	int err = ERR_NONE;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ELOOP)
		return err_set(m, ERR_PERMISSION,
			       "%s: is a symbolic link, name the file itself", path);
	if (fd < 0)
		return io_error(m, "open", path);
	if (fstat(fd, &st) != 0)
		err = io_error(m, "examine", path);
	else if (!S_ISREG(st.st_mode))
		err = err_set(m, ERR_IO, "%s: is not a file", path);
	else if (st.st_size > FILE_SIZE_MAX)
		err = err_set(m, ERR_LIMIT, "%s: is too large for a key file", path);
	else if (private)
		err = check_private(&st, path, m);
	*len = 0;
	while (!err && *len < FILE_SIZE_MAX) {
		ssize_t n = read(fd, buf + *len, FILE_SIZE_MAX - *len);
		if (n < 0 && errno != EINTR)
			err = io_error(m, "read", path);
		if (n == 0)
			break;
		if (n > 0)
			*len += (size_t)n;
	}
	close(fd);
	return err;
}

static int load(struct keyfile *f, const char *path, bool private, struct errmsg *m)
{
	uint8_t buf[FILE_SIZE_MAX];
	size_t len = 0;
	struct errmsg why = {""};
	struct json *v = NULL;
	memset(f, 0, sizeof(*f));
	int err = read_file(buf, &len, path, private, m);
	if (err)
		return err;
	err = json_parse(&v, slice_of(buf, len), &why);
	if (err) {
		err = err_set(m, ERR_SYNTAX, "%s: is not a key file: %s", path, why.text);
	} else {
		err = from_json(f, v, path, m);
		if (err == ERR_NOT_FOUND || err == ERR_SYNTAX)
			err = err_set(m, ERR_SYNTAX,
				      "%s: is not a key file: a member is missing or malformed",
				      path);
	}
	json_free(v);
	crypto_wipe(buf, sizeof(buf));
	return err;
}

/* A directory, and names in it: what happens to the path meanwhile does not matter. */
struct place {
	int dir;
	char name[NAME_MAX + 1];
	char temp[32];
};

static int place_open(struct place *p, const char *path, struct errmsg *m)
{
	uint8_t random[8];
	char hex[2 * sizeof(random) + 1];
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	size_t len = strlen(name);
	if (len == 0 || len > NAME_MAX)
		return err_set(m, ERR_IO, "%s: is not a file name", path);
	memcpy(p->name, name, len + 1);
	char *parent = slash ? mem_printf("%.*s/", (int)(slash - path), path) : mem_strdup(".");
	p->dir = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mem_free(parent);
	if (p->dir < 0)
		return io_error(m, "open the directory of", path);
	crypto_random(random, sizeof(random));
	hex_encode(hex, random, sizeof(random));
	snprintf(p->temp, sizeof(p->temp), ".key-%s", hex);
	return ERR_NONE;
}

static int write_temp(const struct place *p, const char *text, const char *path,
		      struct errmsg *m)
{
	int err = ERR_NONE;
	int fd = openat(p->dir, p->temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			0600);
	if (fd < 0)
		return io_error(m, "create a file beside", path);
	for (size_t left = strlen(text); left > 0 && !err;) {
		ssize_t n = write(fd, text, left);
		if (n < 0 && errno != EINTR)
			err = io_error(m, "write", path);
		if (n > 0) {
			text += n;
			left -= (size_t)n;
		}
	}
	if (!err && (fchmod(fd, 0600) != 0 || fsync(fd) != 0))
		err = io_error(m, "write", path);
	if (close(fd) != 0 && !err)
		err = io_error(m, "write", path);
	return err;
}

/* Gives the temporary file its name. Not every file system has links. */
static int publish(const struct place *p, bool replace, const char *path, struct errmsg *m)
{
	int rc;
	if (replace) {
		rc = renameat(p->dir, p->temp, p->dir, p->name);
	} else {
		rc = linkat(p->dir, p->temp, p->dir, p->name, 0);
		if (rc == 0)
			unlinkat(p->dir, p->temp, 0);
		else if (errno == EPERM || errno == EOPNOTSUPP)
			rc = renameat2(p->dir, p->temp, p->dir, p->name, RENAME_NOREPLACE);
	}
	if (rc != 0 && errno == EEXIST)
		return err_set(m, ERR_EXISTS, "%s: exists already and was kept", path);
	if (rc != 0 || fsync(p->dir) != 0)
		return io_error(m, "write", path);
	return ERR_NONE;
}

static int store(const struct keyfile *f, const char *path, bool replace, struct errmsg *m)
{
	struct place p;
	int err = place_open(&p, path, m);
	if (err)
		return err;
	struct json *v = to_json(f);
	char *json = json_dump(v, true);
	char *text = mem_printf("%s\n", json);
	err = write_temp(&p, text, path, m);
	if (!err)
		err = publish(&p, replace, path, m);
	if (err)
		unlinkat(p.dir, p.temp, 0);
	crypto_wipe(text, strlen(text));
	crypto_wipe(json, strlen(json));
	mem_free(text);
	mem_free(json);
	json_free(v);
	close(p.dir);
	return err;
}

int keyfile_write(const char *path, const struct keypair *key, const char *label,
		  const char *passphrase, struct errmsg *m)
{
	struct keyfile f;
	int err = keyfile_seal(&f, key, label, passphrase, path, m);
	if (!err)
		err = store(&f, path, false, m);
	crypto_wipe(&f, sizeof(f));
	return err;
}

int keyfile_info(const char *path, struct keyfile_info *out, struct errmsg *m)
{
	struct keyfile f;
	int err = load(&f, path, false, m);
	if (!err)
		*out = f.info;
	crypto_wipe(&f, sizeof(f));
	return err;
}

int keyfile_read(const char *path, struct keypair *out, const char *passphrase,
		 struct errmsg *m)
{
	struct keyfile f;
	int err = load(&f, path, true, m);
	if (!err)
		err = keyfile_unseal(&f, out, passphrase, path, m);
	crypto_wipe(&f, sizeof(f));
	return err;
}

int keyfile_take(const char *path, struct errmsg *m)
{
	struct keyfile f;
	int err = load(&f, path, false, m);
	if (!err && !f.info.taken) {
		f.info.taken = true;
		err = store(&f, path, true, m);
	}
	crypto_wipe(&f, sizeof(f));
	return err;
}

int keyfile_rekey(const char *path, const char *old_pass, const char *new_pass,
		  struct errmsg *m)
{
	struct keyfile f, next;
	struct keypair key;
	memset(&next, 0, sizeof(next));
	memset(&key, 0, sizeof(key));
	int err = load(&f, path, true, m);
	if (!err)
		err = keyfile_unseal(&f, &key, old_pass, path, m);
	if (!err)
		err = keyfile_seal(&next, &key, f.info.label, new_pass, path, m);
	next.info.taken = f.info.taken;
	if (!err)
		err = store(&next, path, true, m);
	crypto_wipe(&f, sizeof(f));
	crypto_wipe(&next, sizeof(next));
	crypto_wipe(&key, sizeof(key));
	return err;
}
