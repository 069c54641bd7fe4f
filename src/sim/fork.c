/* Two chains of one term, by its leader, for two sides that hear nothing of one another: each
 * side gets its blocks and the certificates that its votes and the team's are enough for. With
 * f liars one side at most is given a certificate, with more (n = 3f+1) both are: the control
 * that must break. */
#include "sim/adversary_private.h"

#define FORK_EVERY_US 5000
#define LOOK_BACK     32     /* blocks of the second chain that are tried for a certificate */
#define LEVEL_US      100000 /* by then who came late to a term has the blocks that it asked for */

static bool forks(const struct adversary *a)
{
	return adversary_does(a, ATTACK_FORK) && a->diverged &&
	       engine_term_cert(a->honest)->term == a->diverged_term;
}

static uint64_t other_side(const struct adversary *a)
{
	return a->targets & ~a->team->config.members;
}

/* The honest engine leads the first side alone. */
bool fork_hides(const struct adversary *a, unsigned from, uint8_t type)
{
	return forks(a) && other_side(a) >> from & 1 &&
	       (type == MSG_APPENDED || type == MSG_HEARTBEAT_ACK || type == MSG_FETCH);
}

static const struct twin *newest(const struct adversary *a, unsigned back)
{
	if (back >= a->twins_next || back >= TWINS_MAX)
		return NULL;
	const struct twin *t = &a->twins[(a->twins_next - 1 - back) % TWINS_MAX];
	return t->ref.term == a->diverged_term ? t : NULL;
}

static void add_certificates(struct adversary *a, struct msg_append *m)
{
	m->has_final = m->has_qc = false;
	for (unsigned back = 0; back < LOOK_BACK && newest(a, back); back++) {
		const struct block_ref *ref = &newest(a, back)->other;
		if (adversary_gather(a, CERT_ONE_ROUND, ref, &m->final) ||
		    adversary_gather(a, CERT_TWO_ROUND, ref, &m->final)) {
			m->has_final = true;
			return; /* a QC below it would be of no use */
		}
		if (!m->has_qc)
			m->has_qc = adversary_gather(a, CERT_QC_FAST, ref, &m->qc);
	}
}

/* The block as the second side is to see it; a reference of its own. NULL: it cannot be. */
static struct block *version(struct adversary *a, struct block *b)
{
	const struct header *h = &b->sh.h;
	if (h->leader != a->self || h->term != a->diverged_term || h->height < a->fork_height)
		return block_hold(b);
	return adversary_second_version(a, b);
}

static void send_second(struct adversary *a, const struct message *orig, struct msg_append *m,
			uint64_t to)
{
	struct msg_append lie = *m;
	lie.count = 0;
	for (uint32_t i = 0; i < m->count; i++) {
		struct block *b = version(a, m->blocks[i]);
		if (!b)
			break;
		lie.blocks[lie.count++] = b;
	}
	add_certificates(a, &lie);
	if (lie.count || lie.has_final || lie.has_qc || lie.has_tc)
		msg_append_encode(adversary_emit(a, to, orig->class, MSG_APPEND), &lie);
	for (uint32_t i = 0; i < lie.count; i++)
		block_drop(lie.blocks[i]);
	adversary_struck(a, ATTACK_FORK);
}

/* Whoever lags would ask others for blocks, and compare. */
static bool keeps_up(const struct adversary *a, uint64_t side, uint64_t term)
{
	const struct team *t = a->team;
	for (unsigned i = 0; i < SEEN_MAX; i++)
		if (t->votes[i].ref.term == term && t->votes[i].kind)
			side &= ~(UINT64_C(1) << t->votes[i].signer);
	return side == 0;
}

static void begin(struct adversary *a, const struct msg_append *m)
{
	if (!keeps_up(a, other_side(a), m->term))
		return;
	if (a->level_term != m->term) {
		a->level_term = m->term;
		a->level_since = a->now;
	}
	if (a->now < a->level_since + LEVEL_US)
		return;
	for (uint32_t i = 0; i < m->count; i++) {
		const struct header *h = &m->blocks[i]->sh.h;
		if (h->leader != a->self || h->term != m->term || h->mode != MODE_FAST ||
		    a->diverged_term == m->term)
			continue;
		a->fork_height = h->height;
		a->team->fork_term = h->term;
		a->team->fork_side = other_side(a);
		block_drop(adversary_second_version(a, m->blocks[i])); /* notes it */
		return;
	}
}

/* The others of the team are of the first side, and keep it to themselves. */
static bool keep_secret(struct adversary *a, const struct message *orig, uint8_t type)
{
	const struct team *t = a->team;
	if (!t->fork_side || (type != MSG_BLOCKS && type != MSG_EVIDENCE) ||
	    engine_term_cert(a->honest)->term != t->fork_term)
		return false;
	adversary_pass(a, orig, orig->to & ~t->fork_side);
	return true;
}

bool fork_alter(struct adversary *a, const struct message *orig, struct message_in *in)
{
	uint64_t side = other_side(a) & orig->to;
	if (keep_secret(a, orig, in->type))
		return true;
	if (!adversary_does(a, ATTACK_FORK) || !side)
		return false;
	if (in->type == MSG_APPEND)
		begin(a, &in->append);
	if (!forks(a))
		return false;
	if (in->type == MSG_APPEND && in->append.term == a->diverged_term) {
		adversary_pass(a, orig, orig->to & ~side);
		send_second(a, orig, &in->append, side);
		return true;
	}
	if (in->type == MSG_HEARTBEAT) {
		const struct twin *t = newest(a, 0);
		if (!t)
			return false;
		adversary_pass(a, orig, orig->to & ~side);
		in->heartbeat.tip_height = t->other.height;
		in->heartbeat.tip = t->other.hash;
		in->heartbeat.final_height = a->fork_height - 1;
		msg_heartbeat_encode(adversary_emit(a, side, orig->class, MSG_HEARTBEAT),
				     &in->heartbeat);
		return true;
	}
	return false;
}

/* An idle leader too shows the second side what its votes have come to. */
void fork_add(struct adversary *a)
{
	if (!forks(a) || a->now < a->fork_sent_at + FORK_EVERY_US)
		return;
	a->fork_sent_at = a->now;
	struct msg_append m = {.term = a->diverged_term};
	add_certificates(a, &m);
	if (m.has_final || m.has_qc)
		msg_append_encode(adversary_emit(a, other_side(a), CLASS_CONSENSUS, MSG_APPEND),
				  &m);
}
