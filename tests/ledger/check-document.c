/* Proof documents: the JSON form, and that nothing in it can be altered. */
#include "base/json.h"
#include "tests/ledger/check-ledger.h"
#include "tests/ledger/forgery.h"
#include "tests/share.h"

static struct world w;
static struct block *blocks[6]; /* by height */

static const uint8_t odd_key[] = {0xff, 0x00, 0x41};

static void setup(void)
{
	struct op odd = op_put("", "");
	world_init(&w, 1000);
	odd.key = slice_of(odd_key, sizeof(odd_key));
	odd.value = slice_of(odd_key, 2);
	blocks[0] = block_hold(w.block0);
	for (unsigned h = 1; h < MEM_COUNT(blocks); h++) {
		struct slice txs[] = {
			world_put(&w, 0, h, "name", "f\xc3\xb6rst\"\\"),
			world_put(&w, 1, h, "empty", ""),
			world_tx(&w, &w.client[2], h, 90, &odd, 1),
			world_tx(&w, &w.client[3], h, 90,
				 &(struct op){.kind = OP_DELETE, .key = slice_str("x")}, 1)};
		blocks[h] = block_hold(world_commit(&w, txs, h == 1 ? 1 : 4));
		world_free_txs(txs, 4);
	}
}

static void teardown(void)
{
	for (unsigned h = 0; h < MEM_COUNT(blocks); h++)
		block_drop(blocks[h]);
	world_free(&w);
}

/* Headers from height to the certificate's. */
static void certify(struct certified_header *c, unsigned height, unsigned cert_height,
		    enum cert_kind kind)
{
	*c = (struct certified_header){.count = cert_height - height + 1};
	c->headers = mem_array(c->count, sizeof(*c->headers));
	for (unsigned h = height; h <= cert_height; h++)
		c->headers[h - height] = blocks[h]->sh;
	if (height > 0)
		world_cert(&w, blocks[cert_height], kind, cert_quorum(kind, &w.ctx.quorum),
			   &c->cert);
}

static void state_document(struct proof_document *d, char ns, struct slice key, unsigned height,
			   unsigned cert_height, enum cert_kind kind)
{
	struct writer k = world_key(ns, key.ptr, key.len), value = {0}, proof = {0};
	size_t len;
	proof_document_init(d);
	int err = ledger_get(w.ledger, writer_slice(&k), height, &value, &proof);
	ck_assert(err == ERR_NONE || err == ERR_NOT_FOUND);
	d->present = !err;
	d->state_key.ptr = writer_take(&k, &len);
	d->state_key.len = len;
	if (d->present) {
		d->value.ptr = writer_take(&value, &len);
		d->value.len = len;
	}
	d->proof.ptr = writer_take(&proof, &len);
	d->proof.len = len;
	writer_free(&value);
	certify(&d->ch, height, cert_height, kind);
}

static void tx_document(struct proof_document *d, unsigned height, uint32_t index,
			unsigned cert_height)
{
	struct hash leaves[8];
	const struct block *b = blocks[height];
	struct slice tx = block_tx_bytes(b, index);
	proof_document_init(d);
	d->kind = PROOF_TX;
	d->tx = slice_of(mem_dup(tx.ptr, tx.len), tx.len);
	d->result = b->tx[index].result;
	block_leaves(leaves, b);
	merkle_prove(&d->path, leaves, b->tx_count, index);
	certify(&d->ch, height, cert_height, CERT_ONE_ROUND);
}

static int verify(const char *json, const struct genesis *g, struct errmsg *m)
{
	struct proof_document d;
	*m = (struct errmsg){{0}};
	int err = proof_document_parse(&d, slice_str(json), m);
	if (err)
		return err;
	err = proof_document_check(&d, g, m);
	proof_document_free(&d);
	return err;
}

/* To JSON and back, equal, and true; then every character changed. Takes d over. */
static void exercise(struct proof_document *d, unsigned variants)
{
	static const char others[] = "0f1a9\"x,]}nt2";
	struct proof_document again;
	struct errmsg m = {{0}};
	char *json = proof_document_json(d, &w.ctx);

	ck_assert_msg(verify(json, &w.genesis, &m) == ERR_NONE, "%s", m.text);
	ck_assert_int_eq(proof_document_parse(&again, slice_str(json), &m), ERR_NONE);
	char *twice = proof_document_json(&again, &w.ctx);
	ck_assert_str_eq(json, twice);
	ck_assert(again.kind == d->kind && again.present == d->present);
	ck_assert(slice_equal(again.state_key, d->state_key));
	ck_assert(slice_equal(again.value, d->value));
	ck_assert(slice_equal(again.proof, d->proof));
	ck_assert(slice_equal(again.tx, d->tx));
	mem_free(twice);
	proof_document_free(&again);
	for (char *c = json; *c; c++) {
		char old = *c;
		if (old == ' ' || old == '\n' || (size_t)(c - json) % share_step() != 0)
			continue;
		for (unsigned v = 0; v < variants; v++) {
			char other = others[(size_t)(c - json + v) % (sizeof(others) - 1)];
			if (other == old)
				continue;
			*c = other;
			int err = verify(json, &w.genesis, &m);
			ck_assert_msg(err != ERR_NONE, "accepted with a change at %zu",
				      (size_t)(c - json));
			ck_assert_str_ne(m.text, "");
		}
		*c = old;
	}
	for (size_t len = 0; len < strlen(json); len += 7) {
		ck_assert_int_ne(proof_document_parse(&again, slice_of(json, len), &m),
				 ERR_NONE);
		ck_assert_str_ne(m.text, "");
	}
	mem_free(json);
	proof_document_free(d);
}

START_TEST(states)
{
	struct proof_document d;
	state_document(&d, STATE_NS_USER, slice_str("name"), 3, 5, CERT_ONE_ROUND);
	exercise(&d, 4);
	state_document(&d, STATE_NS_USER, slice_str("name"), 5, 5, CERT_TWO_ROUND);
	exercise(&d, 2);
	state_document(&d, STATE_NS_USER, slice_str("empty"), 4, 5, CERT_ONE_ROUND);
	exercise(&d, 2);
	state_document(&d, STATE_NS_USER, slice_str("nobody"), 4, 4, CERT_ONE_ROUND);
	exercise(&d, 2);
	state_document(&d, STATE_NS_USER, slice_of(odd_key, sizeof(odd_key)), 4, 4,
		       CERT_ONE_ROUND);
	exercise(&d, 2);
	state_document(&d, STATE_NS_ACCOUNT, slice_of(w.client[0].pub.b, PUBKEY_SIZE), 4, 4,
		       CERT_ONE_ROUND);
	exercise(&d, 2);
	state_document(&d, STATE_NS_NONCE, slice_of(w.client[0].pub.b, PUBKEY_SIZE), 4, 4,
		       CERT_ONE_ROUND);
	exercise(&d, 2);
	state_document(&d, STATE_NS_SYSTEM, slice_str("senders"), 4, 4, CERT_ONE_ROUND);
	exercise(&d, 2);
}
END_TEST

START_TEST(genesis_state)
{
	struct proof_document d;
	state_document(&d, STATE_NS_ACCOUNT, slice_of(w.client[0].pub.b, PUBKEY_SIZE), 0, 0,
		       CERT_ONE_ROUND);
	exercise(&d, 3);
	state_document(&d, STATE_NS_USER, slice_str("name"), 0, 0, CERT_ONE_ROUND);
	exercise(&d, 2);
}
END_TEST

START_TEST(transactions)
{
	struct proof_document d;
	tx_document(&d, 1, 0, 1);
	exercise(&d, 3);
	for (uint32_t i = 0; i < 4; i++) {
		tx_document(&d, 3, i, 4);
		ck_assert_int_eq(d.result, i == 3 ? TX_FAILED_NOT_FOUND : TX_OK);
		exercise(&d, i == 0 ? 3 : 1);
	}
}
END_TEST

/* Ten forgeries, ten different reasons. */
START_TEST(ten_forgeries)
{
	struct proof_document d;
	struct errmsg m[FORGERIES], fine;
	state_document(&d, STATE_NS_USER, slice_str("name"), 3, 4, CERT_ONE_ROUND);
	char *json = proof_document_json(&d, &w.ctx);
	ck_assert_int_eq(verify(json, &w.genesis, &fine), ERR_NONE);
	for (unsigned f = 0; f < FORGERIES; f++) {
		char *forged = forge(slice_str(json), (enum forgery)f);
		int err = verify(forged, &w.genesis, &m[f]);
		ck_assert_msg(err != ERR_NONE, "%s: accepted", forgery_name((enum forgery)f));
		ck_assert_str_ne(m[f].text, "");
		for (unsigned g = 0; g < f; g++)
			ck_assert_msg(strcmp(m[f].text, m[g].text) != 0, "%s and %s: %s",
				      forgery_name((enum forgery)f),
				      forgery_name((enum forgery)g), m[f].text);
		mem_free(forged);
	}
	mem_free(json);
	proof_document_free(&d);
}
END_TEST

/* Forgers who change the redundant members as well. */
START_TEST(careful_forgeries)
{
	struct proof_document d, e;
	struct errmsg m;

	state_document(&d, STATE_NS_USER, slice_str("name"), 3, 4, CERT_ONE_ROUND);
	((uint8_t *)d.value.ptr)[0] ^= 1;
	ck_assert_int_eq(proof_document_check(&d, &w.genesis, &m), ERR_BAD_PROOF);
	((uint8_t *)d.value.ptr)[0] ^= 1;
	((uint8_t *)d.state_key.ptr)[1] ^= 1;
	ck_assert_int_ne(proof_document_check(&d, &w.genesis, &m), ERR_NONE);
	((uint8_t *)d.state_key.ptr)[1] ^= 1;
	d.present = false;
	ck_assert_int_eq(proof_document_check(&d, &w.genesis, &m), ERR_BAD_PROOF);
	ck_assert_ptr_nonnull(strstr(m.text, "absence"));
	d.present = true;
	ck_assert_int_eq(proof_document_check(&d, &w.genesis, &m), ERR_NONE);

	/* another height's state under this height's header */
	state_document(&e, STATE_NS_USER, slice_str("name"), 2, 4, CERT_ONE_ROUND);
	struct slice proof = d.proof;
	d.proof = e.proof;
	ck_assert_int_ne(proof_document_check(&d, &w.genesis, &m), ERR_NONE);
	d.proof = proof;
	/* a missing link */
	e.ch.headers[1] = e.ch.headers[2];
	e.ch.count = 2;
	ck_assert_int_eq(proof_document_check(&e, &w.genesis, &m), ERR_BAD_LINK);
	proof_document_free(&e);
	/* no certificate */
	d.ch.cert.count = 0;
	ck_assert_int_eq(proof_document_check(&d, &w.genesis, &m), ERR_NO_QUORUM);
	proof_document_free(&d);

	tx_document(&d, 3, 1, 4);
	d.path.count++;
	ck_assert_int_eq(proof_document_check(&d, &w.genesis, &m), ERR_BAD_PROOF);
	d.path.count--;
	d.path.index = 2;
	ck_assert_int_eq(proof_document_check(&d, &w.genesis, &m), ERR_BAD_PROOF);
	d.path.index = 1;
	d.result = TX_FAILED_CAS;
	ck_assert_int_eq(proof_document_check(&d, &w.genesis, &m), ERR_BAD_PROOF);
	proof_document_free(&d);
}
END_TEST

START_TEST(another_chain)
{
	struct proof_document d;
	struct errmsg m;
	struct world other;
	world_genesis(&other, 1001);
	world_seal(&other);
	state_document(&d, STATE_NS_USER, slice_str("name"), 3, 4, CERT_ONE_ROUND);
	ck_assert_int_eq(proof_document_check(&d, &other.genesis, &m), ERR_WRONG_CHAIN);
	proof_document_free(&d);
	state_document(&d, STATE_NS_USER, slice_str("name"), 0, 0, CERT_ONE_ROUND);
	ck_assert_int_ne(proof_document_check(&d, &other.genesis, &m), ERR_NONE);
	proof_document_free(&d);
	block_drop(other.tip);
	block_drop(other.block0);
	genesis_free(&other.genesis);
}
END_TEST

/* The same meaning in another spelling is refused: one proof, one text. */
START_TEST(strict)
{
	struct proof_document d;
	struct errmsg m;
	struct json *o;
	state_document(&d, STATE_NS_USER, slice_str("name"), 3, 4, CERT_ONE_ROUND);
	char *json = proof_document_json(&d, &w.ctx);
	proof_document_free(&d);

	static const struct {
		const char *member, *value;
	} extra[] = {{"note", "hello"}, {"value_hex", "66"}, {"key_hex", "6e616d65"}};
	for (size_t i = 0; i < MEM_COUNT(extra); i++) {
		ck_assert_int_eq(json_parse(&o, slice_str(json), NULL), ERR_NONE);
		json_set(o, extra[i].member, json_string(extra[i].value));
		char *text = json_dump(o, false);
		ck_assert_int_ne(verify(text, &w.genesis, &m), ERR_NONE);
		mem_free(text);
		json_free(o);
	}
	ck_assert_int_eq(json_parse(&o, slice_str(json), NULL), ERR_NONE);
	json_set(json_get(o, "certificate"), "note", json_string("hello"));
	char *text = json_dump(o, false);
	ck_assert_int_ne(verify(text, &w.genesis, &m), ERR_NONE);
	ck_assert_ptr_nonnull(strstr(m.text, "note"));
	mem_free(text);
	json_free(o);

	char *hash = strstr(json, "\"key_hash\": \"");
	ck_assert_ptr_nonnull(hash);
	for (hash += 13; *hash != '"'; hash++)
		if (*hash >= 'a' && *hash <= 'f')
			break;
	*hash = (char)(*hash - 'a' + 'A');
	ck_assert_int_eq(verify(json, &w.genesis, &m), ERR_SYNTAX);
	mem_free(json);
	static const char *const rubbish[] = {"",
					      "null",
					      "[]",
					      "{}",
					      "{\"kind\":1}",
					      "{\"kind\":\"state\"}",
					      "{\"kind\":\"other\"}"};
	for (size_t i = 0; i < MEM_COUNT(rubbish); i++)
		ck_assert_int_ne(verify(rubbish[i], &w.genesis, &m), ERR_NONE);
}
END_TEST

Suite *document_suite(void)
{
	Suite *s = suite_create("document");
	TCase *t = tcase_create("document");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, states);
	tcase_add_test(t, genesis_state);
	tcase_add_test(t, transactions);
	tcase_add_test(t, ten_forgeries);
	tcase_add_test(t, careful_forgeries);
	tcase_add_test(t, another_chain);
	tcase_add_test(t, strict);
	suite_add_tcase(s, t);
	return s;
}
