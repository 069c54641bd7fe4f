#include "crypto/hash.h"

#include <openssl/evp.h>
#include <pthread.h>

#include "base/mem.h"

/* Up to here a tag and its data are joined on the stack: a second update of the context
 * costs more than copying so few bytes. */
#define JOIN_MAX 512

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t ctx_key;
static EVP_MD *md;
static _Thread_local EVP_MD_CTX *thread_ctx;

static void free_ctx(void *ctx)
{
	thread_ctx = NULL; /* a later destructor of this thread may hash again */
	EVP_MD_CTX_free(ctx);
}

static void fetch(void)
{
	md = EVP_MD_fetch(NULL, "SHA256", NULL);
	invariant(md != NULL);
	int rc = pthread_key_create(&ctx_key, free_ctx);
	invariant(rc == 0);
}

static EVP_MD_CTX *make_ctx(void)
{
	pthread_once(&once, fetch);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	invariant(ctx != NULL);
	int rc = pthread_setspecific(ctx_key, ctx);
	invariant(rc == 0);
	thread_ctx = ctx;
	return ctx;
}

static EVP_MD_CTX *begin(void)
{
	EVP_MD_CTX *ctx = thread_ctx ? thread_ctx : make_ctx();
	int ok = EVP_DigestInit_ex2(ctx, md, NULL);
	invariant(ok == 1);
	return ctx;
}

static void add(EVP_MD_CTX *ctx, const void *ptr, size_t len)
{
	int ok = EVP_DigestUpdate(ctx, ptr, len);
	invariant(ok == 1);
}

static void end(EVP_MD_CTX *ctx, struct hash *out)
{
	int ok = EVP_DigestFinal_ex(ctx, out->b, NULL);
	invariant(ok == 1);
}

void sha256(struct hash *out, const void *ptr, size_t len)
{
	EVP_MD_CTX *ctx = begin();
	add(ctx, ptr, len);
	end(ctx, out);
}

void hash_tagged(struct hash *out, enum hash_tag tag, struct slice data)
{
	hash_tagged2(out, tag, data, slice_of(NULL, 0));
}

void hash_tagged2(struct hash *out, enum hash_tag tag, struct slice a, struct slice b)
{
	uint8_t joined[JOIN_MAX];
	joined[0] = (uint8_t)tag;
	if (a.len < JOIN_MAX && b.len < JOIN_MAX - a.len) {
		if (a.len)
			memcpy(joined + 1, a.ptr, a.len);
		if (b.len)
			memcpy(joined + 1 + a.len, b.ptr, b.len);
		sha256(out, joined, 1 + a.len + b.len);
		return;
	}
	EVP_MD_CTX *ctx = begin();
	add(ctx, joined, 1);
	add(ctx, a.ptr, a.len);
	add(ctx, b.ptr, b.len);
	end(ctx, out);
}

void writer_hash(struct writer *w, const struct hash *h)
{
	writer_raw(w, h->b, HASH_SIZE);
}

void reader_hash(struct reader *r, struct hash *out)
{
	reader_raw(r, out->b, HASH_SIZE);
}

const char *hash_hex(char out[HASH_HEX_SIZE], const struct hash *h)
{
	hex_encode(out, h->b, HASH_SIZE);
	return out;
}

const char *hash_short(char out[HASH_SHORT_SIZE], const struct hash *h)
{
	hex_encode(out, h->b, (HASH_SHORT_SIZE - 1) / 2);
	return out;
}
