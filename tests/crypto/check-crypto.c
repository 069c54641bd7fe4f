/* Hashes, Merkle trees, signatures, key files, and the channel under attack. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "crypto/channel.h"
#include "crypto/keyfile.h"

static const struct hash chain_id = {{42}};

/* FIPS 180-4, the examples of NIST's CSRC */
START_TEST(sha256_vectors)
{
	static const struct {
		const char *text, *hex;
	} vectors[] = {
		{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
	};
	for (size_t i = 0; i < MEM_COUNT(vectors); i++) {
		struct hash h;
		char hex[HASH_HEX_SIZE];
		sha256(&h, vectors[i].text, strlen(vectors[i].text));
		ck_assert_str_eq(hash_hex(hex, &h), vectors[i].hex);
	}
}
END_TEST

/* All ways to hash are one function, at every length around the ends of blocks, and nothing
 * beyond the room is written to. */
START_TEST(one_hash_function)
{
	enum { MAX = 1200 };
	uint8_t bytes[MAX], buf[MAX + HASH_ROOM + 1];
	for (size_t i = 0; i < MAX; i++)
		bytes[i] = (uint8_t)(i * 7 + 1);
	bytes[0] = HASH_TREE_VALUE;
	struct hash_memo *memo = _i ? hash_memo_new() : NULL;
	ck_assert_ptr_null(hash_memo_use(memo));
	for (size_t len = 1; len < MAX; len++) {
		struct hash want, got;
		sha256(&want, bytes, len);
		memset(buf, 0xa5, sizeof buf);
		memcpy(buf, bytes, len);
		hash_in_place(&got, buf, len);
		ck_assert(hash_equal(&want, &got));
		ck_assert_mem_eq(buf, bytes, len);
		ck_assert_uint_eq(buf[len + HASH_ROOM], 0xa5);
		for (unsigned again = 0; again < 2; again++) {
			memcpy(buf, bytes, len);
			hash_in_place_alike(&got, buf, len);
			ck_assert(hash_equal(&want, &got));
		}
		hash_tagged(&got, HASH_TREE_VALUE, slice_of(bytes + 1, len - 1));
		ck_assert(hash_equal(&want, &got));
		size_t half = (len - 1) / 2;
		hash_tagged2(&got, HASH_TREE_VALUE, slice_of(bytes + 1, half),
			     slice_of(bytes + 1 + half, len - 1 - half));
		ck_assert(hash_equal(&want, &got));
	}
	ck_assert_ptr_eq(hash_memo_use(NULL), memo);
	hash_memo_free(memo);
}
END_TEST

static void hash_copy(struct hash *out, const uint8_t *bytes, size_t len)
{
	uint8_t buf[2048];
	memcpy(buf, bytes, len);
	hash_in_place(out, buf, len);
}

static void assert_digest(const uint8_t *bytes, size_t len)
{
	struct hash want, got;
	sha256(&want, bytes, len);
	hash_copy(&got, bytes, len);
	ck_assert(hash_equal(&want, &got));
}

/* What was hashed lately is not hashed again, but what differs in one bit, or only in length,
 * is. */
START_TEST(a_memo_knows_equal_bytes_only)
{
	uint8_t bytes[600] = {0};
	struct hash_memo *memo = hash_memo_new();
	assert_digest(bytes, 100); /* in nobody's account */
	ck_assert_ptr_null(hash_memo_use(memo));
	ck_assert_uint_eq(hash_memo_counts(memo).asked, 0);
	for (unsigned again = 0; again < 2; again++) {
		assert_digest(bytes, 100);
		ck_assert_uint_eq(hash_memo_counts(memo).known, again);
	}
	for (size_t len = 0; len <= sizeof bytes; len++)
		if (len != 100)
			assert_digest(bytes, len);
	ck_assert_uint_eq(hash_memo_counts(memo).known, 1);
	for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_digest(bytes, sizeof bytes);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	ck_assert_uint_eq(hash_memo_counts(memo).known, 1);
	struct hash_memo_counts before = hash_memo_counts(memo);
	hash_memo_use(NULL);
	assert_digest(bytes, sizeof bytes);
	ck_assert_uint_eq(hash_memo_counts(memo).asked, before.asked);
	hash_memo_free(memo);
}
END_TEST

/* Of long messages it mixes only parts: whoever knows which can make messages that it takes for
 * alike. They are not. */
START_TEST(a_memo_is_not_misled)
{
	uint8_t bytes[100] = {0};
	struct hash_memo *memo = hash_memo_new();
	hash_memo_use(memo);
	for (uint64_t i = 1; i <= 1000; i++) {
		memcpy(bytes + 20, &i, sizeof i);
		assert_digest(bytes, sizeof bytes);
		assert_digest(bytes, sizeof bytes);
	}
	ck_assert_uint_eq(hash_memo_counts(memo).known, 1000);
	hash_memo_use(NULL);
	hash_memo_free(memo);
}
END_TEST

/* Old messages and new ones, of all lengths, many times round its ring. */
START_TEST(a_memo_through_many_messages)
{
	enum { OLD = 64, MAX = 1500 };
	static uint8_t old[OLD][MAX];
	static size_t lens[OLD];
	struct random r;
	struct hash_memo *memo = hash_memo_new();
	hash_memo_use(memo);
	random_seed(&r, (uint64_t)_i);
	for (unsigned i = 0; i < 20000; i++) {
		unsigned at = (unsigned)random_below(&r, OLD);
		if (i < OLD || random_chance(&r, 1, 3)) {
			lens[at] = (size_t)random_below(&r, _i ? 200 : MAX);
			for (size_t k = 0; k < lens[at]; k++)
				old[at][k] = (uint8_t)random_below(&r, 256);
		} else if (random_chance(&r, 1, 4) && lens[at]) {
			old[at][random_below(&r, lens[at])] ^= 0x10;
		}
		assert_digest(old[at], lens[at]);
	}
	struct hash_memo_counts c = hash_memo_counts(memo);
	ck_assert_uint_gt(c.known, _i ? c.asked / 3 : c.asked / 10);
	ck_assert_uint_lt(c.known, c.asked * 2 / 3);
	hash_memo_use(NULL);
	hash_memo_free(memo);
}
END_TEST

START_TEST(merkle_proofs_of_every_leaf)
{
	struct hash leaves[40], root, other;
	for (uint8_t i = 0; i < 40; i++)
		merkle_leaf(&leaves[i], slice_of(&i, 1));
	for (size_t count = 1; count <= 40; count++) {
		merkle_root(&root, leaves, count);
		for (size_t i = 0; i < count; i++) {
			struct merkle_path p, bad;
			merkle_prove(&p, leaves, count, i);
			ck_assert_int_eq(merkle_verify(&p, &leaves[i], &root), ERR_NONE);
			ck_assert_int_ne(merkle_verify(&p, &leaves[(i + 1) % 40], &root),
					 ERR_NONE);
			bad = p;
			bad.index++;
			ck_assert_int_ne(merkle_verify(&bad, &leaves[i], &root), ERR_NONE);
			bad = p;
			bad.len++;
			memset(&bad.sibling[bad.len - 1], 0, HASH_SIZE);
			ck_assert_int_ne(merkle_verify(&bad, &leaves[i], &root), ERR_NONE);
			if (p.len) {
				bad = p;
				bad.sibling[p.len - 1].b[3] ^= 1;
				ck_assert_int_ne(merkle_verify(&bad, &leaves[i], &root),
						 ERR_NONE);
				bad = p;
				bad.len--;
				ck_assert_int_ne(merkle_verify(&bad, &leaves[i], &root),
						 ERR_NONE);
			}
		}
		merkle_root(&other, leaves, count - 1);
		ck_assert(!hash_equal(&root, &other));
	}
}
END_TEST

/* RFC 8032 section 7.1, TEST 1: the public key that belongs to the secret one */
START_TEST(ed25519_key_of_rfc8032)
{
	uint8_t seed[32], want[32];
	struct keypair k;
	hex_decode(seed, 32,
		   "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
	hex_decode(want, 32,
		   "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
	keypair_from_seed(&k, seed);
	ck_assert_mem_eq(k.pub.b, want, 32);
}
END_TEST

START_TEST(signatures_bind_key_tag_chain_and_message)
{
	enum sig_scheme scheme = _i ? SIG_SYMBOLIC : SIG_ED25519;
	struct keypair k, other;
	struct signature s, bad;
	struct hash elsewhere = chain_id;
	elsewhere.b[31] ^= 1;
	keypair_generate(&k);
	keypair_generate(&other);
	struct slice m = slice_str("message"), m2 = slice_str("messagf");
	sig_make(scheme, &s, &k, SIG_TAG_TX, &chain_id, m);
	ck_assert_int_eq(sig_check(scheme, &s, &k.pub, SIG_TAG_TX, &chain_id, m), ERR_NONE);
	ck_assert_int_ne(sig_check(scheme, &s, &k.pub, SIG_TAG_TX, &chain_id, m2), ERR_NONE);
	ck_assert_int_ne(sig_check(scheme, &s, &k.pub, SIG_TAG_COMMIT, &chain_id, m), ERR_NONE);
	ck_assert_int_ne(sig_check(scheme, &s, &k.pub, SIG_TAG_TX, &elsewhere, m), ERR_NONE);
	ck_assert_int_ne(sig_check(scheme, &s, &other.pub, SIG_TAG_TX, &chain_id, m), ERR_NONE);
	for (int bit = 0; bit < 512; bit++) {
		bad = s;
		bad.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ck_assert_int_ne(sig_check(scheme, &bad, &k.pub, SIG_TAG_TX, &chain_id, m),
				 ERR_NONE);
	}
}
END_TEST

/* Of six keys those in the mask have signed: each signature counts, in its place only. The long
 * message is one that needs memory of its own. */
START_TEST(signatures_of_several_keys)
{
	static const uint8_t bytes[2000] = {7};
	enum sig_scheme scheme = _i & 1 ? SIG_SYMBOLIC : SIG_ED25519;
	struct slice m = slice_of(bytes, _i & 2 ? sizeof bytes : 48);
	const uint64_t signers = 0x2d; /* 0, 2, 3, 5 */
	struct keypair k[6];
	struct pubkey keys[6];
	struct signature sigs[4], altered[4];
	unsigned count = 0;
	for (unsigned i = 0; i < 6; i++) {
		keypair_generate(&k[i]);
		keys[i] = k[i].pub;
		if (signers >> i & 1)
			sig_make(scheme, &sigs[count++], &k[i], SIG_TAG_COMMIT, &chain_id, m);
	}
	uint64_t before = sig_counts().checked;
	ck_assert_int_eq(
		sig_check_all(scheme, sigs, keys, signers, SIG_TAG_COMMIT, &chain_id, m),
		ERR_NONE);
	ck_assert_uint_eq(sig_counts().checked, before + 4);
	for (unsigned i = 0; i < 4; i++)
		for (unsigned byte = 0; byte < SIGNATURE_SIZE; byte++) {
			memcpy(altered, sigs, sizeof altered);
			altered[i].b[byte] ^= 0x10;
			ck_assert_int_eq(sig_check_all(scheme, altered, keys, signers,
						       SIG_TAG_COMMIT, &chain_id, m),
					 ERR_BAD_SIGNATURE);
		}
	const uint64_t others[] = {0x2e, 0x1d, 0x35, 0x0f};
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(sig_check_all(scheme, sigs, keys, others[i], SIG_TAG_COMMIT,
					       &chain_id, m),
				 ERR_BAD_SIGNATURE);
	ck_assert_int_eq(
		sig_check_all(scheme, sigs, keys, signers, SIG_TAG_PREPARE_FAST, &chain_id, m),
		ERR_BAD_SIGNATURE);
}
END_TEST

/* ---- key files --------------------------------------------------------------------------- */

START_TEST(key_files)
{
	char dir[] = "/tmp/ostrakon-keys-XXXXXX", path[64];
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/k", dir);
	struct keypair k, back;
	struct keyfile_info info;
	struct errmsg m;
	keypair_generate(&k);
	ck_assert_int_eq(keyfile_write(path, &k, "me", "secret", &m), ERR_NONE);
	ck_assert_int_eq(keyfile_write(path, &k, "me", "secret", &m), ERR_EXISTS);
	struct stat st;
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(keyfile_info(path, &info, &m), ERR_NONE);
	ck_assert(info.encrypted && pubkey_equal(&info.pub, &k.pub));
	ck_assert_int_eq(keyfile_read(path, &back, "wrong", &m), ERR_PASSPHRASE);
	ck_assert_int_eq(keyfile_read(path, &back, NULL, &m), ERR_PASSPHRASE);
	ck_assert_int_eq(keyfile_read(path, &back, "secret", &m), ERR_NONE);
	ck_assert_mem_eq(&back, &k, sizeof k);
	ck_assert_int_eq(keyfile_rekey(path, "secret", NULL, &m), ERR_NONE);
	ck_assert_int_eq(keyfile_read(path, &back, NULL, &m), ERR_NONE);
	chmod(path, 0644);
	ck_assert_int_eq(keyfile_read(path, &back, NULL, &m), ERR_PERMISSION);
	unlink(path);
	rmdir(dir);
}
END_TEST

/* What is noted in a file stays, and changes nothing else of it. */
START_TEST(key_files_are_taken)
{
	char dir[] = "/tmp/ostrakon-keys-XXXXXX", path[64];
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/k", dir);
	struct keypair k, back;
	struct keyfile_info info;
	struct errmsg m;
	keypair_generate(&k);
	ck_assert_int_eq(keyfile_write(path, &k, "me", _i ? "secret" : NULL, &m), ERR_NONE);
	ck_assert_int_eq(keyfile_info(path, &info, &m), ERR_NONE);
	ck_assert(!info.taken);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(keyfile_take(path, &m), ERR_NONE);
		ck_assert_int_eq(keyfile_info(path, &info, &m), ERR_NONE);
		ck_assert(info.taken && info.encrypted == (_i > 0));
		ck_assert_str_eq(info.label, "me");
		ck_assert_int_eq(keyfile_read(path, &back, _i ? "secret" : NULL, &m), ERR_NONE);
		ck_assert_mem_eq(&back, &k, sizeof k);
	}
	ck_assert_int_eq(keyfile_rekey(path, _i ? "secret" : NULL, _i ? NULL : "more", &m),
			 ERR_NONE);
	ck_assert_int_eq(keyfile_info(path, &info, &m), ERR_NONE);
	ck_assert(info.taken);
	/* Either it is noted, or it is not. */
	char text[8192];
	FILE *f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	text[fread(text, 1, sizeof text - 1, f)] = 0;
	fclose(f);
	char *flag = strstr(text, "\"taken\": true");
	ck_assert_ptr_nonnull(flag);
	memcpy(flag, "\"taken\":false", 13);
	f = fopen(path, "w");
	ck_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
	ck_assert_int_eq(keyfile_info(path, &info, &m), ERR_SYNTAX);
	unlink(path);
	ck_assert_int_eq(keyfile_take(path, &m), ERR_NOT_FOUND);
	rmdir(dir);
}
END_TEST

/* ---- the channel ------------------------------------------------------------------------- */

struct pair {
	struct keypair a, b;
	struct channel *i, *r;
	struct writer m[3]; /* HELLO, REPLY, FINISH */
};

static void pair_free(struct pair *p)
{
	channel_free(p->i);
	channel_free(p->r);
	for (int k = 0; k < 3; k++)
		writer_free(&p->m[k]);
}

static void pair_new(struct pair *p, const struct hash *other_chain)
{
	memset(p, 0, sizeof *p);
	keypair_generate(&p->a);
	keypair_generate(&p->b);
	p->i = channel_new(CHANNEL_INITIATOR, &p->a, &chain_id, &p->b.pub);
	p->r = channel_new(CHANNEL_RESPONDER, &p->b, other_chain ? other_chain : &chain_id,
			   NULL);
}

/* Runs the handshake; message number `flip` gets one bit flipped at `bit`. 0: established. */
static int handshake(struct pair *p, int flip, size_t bit)
{
	struct channel *side[] = {p->i, p->r, p->i, p->r};
	struct slice in = {0};
	for (int k = 0; k < 4; k++) {
		struct writer none = {0};
		struct writer *out = k < 3 ? &p->m[k] : &none;
		int rc = channel_handshake(side[k], in, out);
		writer_free(&none);
		if (rc < 0)
			return rc;
		if (rc != (k >= 2))
			return ERR_SYNTAX;
		if (k < 3 && k == flip) {
			if (bit / 8 >= out->len)
				return ERR_RANGE;
			out->buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		if (k < 3)
			in = writer_slice(out);
	}
	return ERR_NONE;
}

START_TEST(channel_carries_messages_both_ways)
{
	struct pair p;
	pair_new(&p, NULL);
	ck_assert_int_eq(handshake(&p, -1, 0), ERR_NONE);
	ck_assert(pubkey_equal(channel_peer(p.i), &p.b.pub));
	ck_assert(pubkey_equal(channel_peer(p.r), &p.a.pub));
	for (int k = 0; k < 100; k++) {
		struct channel *from = k % 3 ? p.i : p.r, *to = k % 3 ? p.r : p.i;
		struct writer w = {0};
		struct slice got;
		channel_seal(from, slice_of("hello", 5), &w);
		ck_assert_uint_eq(w.len, 5 + CHANNEL_OVERHEAD);
		ck_assert_int_eq(channel_open(to, w.buf, w.len, &got), ERR_NONE);
		ck_assert(slice_equal(got, slice_str("hello")));
		writer_free(&w);
	}
	pair_free(&p);
}
END_TEST

START_TEST(altered_handshakes_fail)
{
	for (size_t bit = 0;; bit += 3) {
		struct pair p;
		pair_new(&p, NULL);
		int err = handshake(&p, _i, bit);
		pair_free(&p);
		if (err == ERR_RANGE && bit / 8 >= 32)
			break; /* past the end of the message */
		ck_assert_int_ne(err, ERR_NONE);
	}
}
END_TEST

START_TEST(wrong_chain_wrong_identity_replay_reflection)
{
	struct pair p, q;
	struct hash elsewhere = {{7}};
	pair_new(&p, &elsewhere);
	ck_assert_int_lt(handshake(&p, -1, 0), 0);
	pair_free(&p);

	pair_new(&p, NULL); /* the responder is somebody else */
	struct keypair stranger;
	keypair_generate(&stranger);
	channel_free(p.r);
	p.r = channel_new(CHANNEL_RESPONDER, &stranger, &chain_id, NULL);
	ck_assert_int_lt(handshake(&p, -1, 0), 0);
	pair_free(&p);

	pair_new(&p, NULL); /* a recorded FINISH into a new session */
	ck_assert_int_eq(handshake(&p, -1, 0), ERR_NONE);
	memset(&q, 0, sizeof q);
	q.r = channel_new(CHANNEL_RESPONDER, &p.b, &chain_id, NULL);
	ck_assert_int_eq(channel_handshake(q.r, writer_slice(&p.m[0]), &q.m[1]), 0);
	ck_assert_int_lt(channel_handshake(q.r, writer_slice(&p.m[2]), &q.m[2]), 0);
	channel_free(q.r);
	writer_free(&q.m[1]);
	writer_free(&q.m[2]);

	struct writer w = {0}; /* one's own record back, and a record twice */
	struct slice got;
	channel_seal(p.i, slice_of("hello", 5), &w);
	uint8_t copy[64];
	memcpy(copy, w.buf, w.len);
	ck_assert_int_ne(channel_open(p.i, copy, w.len, &got), ERR_NONE);
	memcpy(copy, w.buf, w.len);
	ck_assert_int_eq(channel_open(p.r, w.buf, w.len, &got), ERR_NONE);
	ck_assert_int_ne(channel_open(p.r, copy, w.len, &got), ERR_NONE);
	writer_free(&w);
	pair_free(&p);
}
END_TEST

int main(void)
{
	crypto_init();
	Suite *s = suite_create("crypto");
	TCase *t = tcase_create("all");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, sha256_vectors);
	tcase_add_loop_test(t, one_hash_function, 0, 2);
	tcase_add_test(t, a_memo_knows_equal_bytes_only);
	tcase_add_test(t, a_memo_is_not_misled);
	tcase_add_loop_test(t, a_memo_through_many_messages, 0, 2);
	tcase_add_test(t, merkle_proofs_of_every_leaf);
	tcase_add_test(t, ed25519_key_of_rfc8032);
	tcase_add_loop_test(t, signatures_bind_key_tag_chain_and_message, 0, 2);
	tcase_add_loop_test(t, signatures_of_several_keys, 0, 4);
	tcase_add_test(t, key_files);
	tcase_add_loop_test(t, key_files_are_taken, 0, 2);
	tcase_add_test(t, channel_carries_messages_both_ways);
	tcase_add_loop_test(t, altered_handshakes_fail, 0, 3);
	tcase_add_test(t, wrong_chain_wrong_identity_replay_reflection);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
