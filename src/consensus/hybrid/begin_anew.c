/* The vote state of a validator whose key has signed nothing yet, on a chain that has blocks:
 * after a recovery. It knows what every replica knows that was there when the block that is
 * kept became final; and it is one term further, so that nobody leads on in the old one. */
#include "consensus/begin_anew.h"

#include "consensus/hybrid/hybrid.h"

void hybrid_begin_anew(struct writer slots[VOTE_SLOTS], const struct cert *final,
		       const struct term_cert *tc, const struct cert *stable)
{
	struct hybrid *h = mem_zalloc(sizeof *h);
	entitlement_init(&h->entitlement);
	h->term = tc->term + 1;
	term_cert_copy(&h->tc, tc);
	term_cert_copy(&h->tip_tc, tc);
	h->tip = final->ref;
	h->has_qc = true;
	cert_copy(&h->qc, final);
	if (final->kind == CERT_ONE_ROUND) /* as set_qc() does */
		h->qc.kind = CERT_QC_FAST;
	h->has_stable = stable != NULL;
	if (stable)
		cert_copy(&h->stable, stable);
	static const enum vote_slot written[] = {SLOT_TERM, SLOT_TC, SLOT_TIP, SLOT_STABLE};
	for (size_t i = 0; i < MEM_COUNT(written); i++)
		state_write_slot(h, &slots[written[i]], written[i]);
	entitlement_free(&h->entitlement);
	term_cert_free(&h->tc);
	term_cert_free(&h->tip_tc);
	mem_free(h);
}

bool hybrid_stable_checkpoint(struct cert *out, struct writer *slots)
{
	struct reader r;
	reader_init(&r, writer_slice(&slots[SLOT_STABLE]));
	bool there = reader_u8(&r) == 1 && reader_bool(&r);
	if (there && !r.err)
		cert_decode(&r, out);
	return there && reader_finish(&r) == ERR_NONE;
}
