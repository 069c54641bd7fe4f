/* Old copies: a replica that comes back with its disk as it was when it last came up. Its
 * operator may have meant well; what its key has signed since, only others know [I20]. */
#include "consensus/hybrid/message.h"
#include "replica/epoch.h"
#include "sim/world.h"

static bool script_rewinds(const struct script *script)
{
	for (uint32_t i = 0; script && i < script->count; i++)
		if (script->action[i].kind == SCRIPT_REWIND)
			return true;
	return false;
}

static bool rewinds_happen(const struct sim *s)
{
	return s->options.rewound || script_rewinds(s->options.script);
}

/* Whoever starts asks the others for its votes, as all nodes do: where old copies happen, and
 * in an eighth of the other storms, so that what is recorded of the rest stays as it was. */
bool rewind_asks(const struct sim *s)
{
	bool storm = !s->options.calm && !s->options.gentle;
	return rewinds_happen(s) || (storm && 0x2400 >> s->options.seed % 16 & 1);
}

static struct store *copy_of(struct store *from)
{
	const struct slice all = {0};
	struct store *to = store_open_memory();
	struct store_batch *batch = store_batch_new();
	for (int f = 0; f < STORE_FAMILIES; f++) {
		struct slice key, value;
		struct store_iter *it =
			store_iter_new(from, (enum store_family)f, all, all, false);
		while (store_iter_next(it, &key, &value))
			store_batch_put(batch, (enum store_family)f, key, value);
		store_iter_free(it);
	}
	invariant(store_write(to, batch, true) == ERR_NONE);
	store_batch_free(batch);
	return to;
}

void rewind_note_start(struct sim *s, unsigned i)
{
	struct sim_node *node = &s->node[i];
	if (!rewinds_happen(s))
		return;
	if (node->old_copy)
		store_close(node->old_copy);
	node->old_copy = copy_of(node->store);
}

void sim_rewind_disk(struct sim *s, unsigned i)
{
	struct sim_node *node = &s->node[i];
	if (node->replica)
		sim_crash_node(s, i);
	if (!node->old_copy)
		return;
	store_close(node->store);
	node->store = copy_of(node->old_copy);
	node->rewound = node->lost = true;
	node->synced = false;
	s->result->rewound++;
}

bool sim_may_forget(const struct sim *s, unsigned node)
{
	return sim_is_corrupt(s, node) || s->node[node].rewound;
}

/* It has been told, and is an observer from here on: the checkers of [I15] see to the rest. */
void rewind_noticed(struct sim *s, unsigned i)
{
	struct sim_node *node = &s->node[i];
	if (sim_is_corrupt(s, i))
		return;
	if (!node->rewound)
		sim_violation(s, SIM_SAFETY,
			      "[I20] others hold votes of replica %u that its disk does not "
			      "know, and the disk is no copy",
			      i);
	node->wiped = true;
	s->result->outdated++;
}

/* Where nobody can tell, the votes that bind it are those that its disk knows. */
void rewind_started(struct sim *s, unsigned i)
{
	struct sim_node *node = &s->node[i];
	struct engine_status status;
	if (!node->rewound)
		return;
	node->wiped = observer_is_marked(node->store); /* or the copy is older than that */
	replica_status(node->replica, &status);
	node->vote = node->commit = status.tip;
	node->statement = 0;
}

void rewind_note_ask(struct sim *s, unsigned i, uint64_t nonce)
{
	if (nonce == s->node[i].asked)
		return; /* once more, to who has not answered */
	s->node[i].asked = nonce;
	s->node[i].told_by = 0;
}

void rewind_check_told(struct sim *s, unsigned i)
{
	if (s->node[i].replica && !s->node[i].dying && !replica_observes(s->node[i].replica))
		sim_violation(s, SIM_SAFETY,
			      "[I20] replica %u was shown a vote of its own that its disk does "
			      "not know, and goes on",
			      i);
}

/* This message shows it a vote, or a statement for a term, above what it knows of: it must not
 * vote with this key again. The checker's own look at it, whatever the engine does. */
bool rewind_is_told(struct sim *s, unsigned i, unsigned from, const struct packet *p)
{
	struct message_in *in = s->decoded;
	struct engine_status status;
	struct slice bytes = slice_of(p->bytes, p->len);
	if (p->type != MSG_VOTES || s->options.unchecked || sim_is_corrupt(s, from) ||
	    sim_is_corrupt(s, i) || s->node[i].epoch != s->node[from].epoch)
		return false;
	if (bytes.len > 9 && bytes.ptr[0] == EPOCH_ENVELOPE)
		bytes = slice_of(bytes.ptr + 9, bytes.len - 9);
	replica_status(s->node[i].replica, &status);
	if (!status.asks_peers || message_decode(in, bytes))
		return false;
	bool counts = in->votes.nonce == s->node[i].asked && !(s->node[i].told_by >> from & 1);
	if (counts)
		s->node[i].told_by |= UINT64_C(1) << from;
	/* Who has just entered an epoch may show what made the end of the one before final. */
	const struct chain_ctx *ctx = &s->epochs[s->node[i].epoch];
	const struct msg_votes *v = &in->votes;
	bool told =
		counts && ((v->vote.kind && position_compare(&v->vote.ref, &status.tip) > 0 &&
			    vote_check(&v->vote, ctx) == ERR_NONE) ||
			   v->term_vote.term > status.term || v->claim.term > status.term);
	message_free(in);
	return told;
}
