/* Evidence in words, for logs and people: who, what, where. */
#include <stdio.h>

#include "chain/evidence.h"
#include "chain/private.h"

/* What one statement is about; its signature is not asked for. */
struct about {
	bool known;
	uint64_t term, height; /* height 0: a whole term */
	struct hash hash;
	const char *what;
};

static struct about about_header(struct reader *r, bool whole)
{
	struct signed_header sh;
	struct about a = {.what = "a header"};
	signed_header_decode(r, &sh);
	a.known = whole ? !reader_finish(r) : !r->err;
	a.term = sh.h.term;
	a.height = sh.h.height;
	header_hash(&a.hash, &sh.h);
	return a;
}

static const char *vote_what(enum vote_kind kind)
{
	switch (kind) {
	case VOTE_PREPARE_FAST:
	case VOTE_PREPARE_PBFT:
		return "a PREPARE";
	case VOTE_COMMIT:
		return "a COMMIT";
	case VOTE_CHECKPOINT:
		return "a checkpoint";
	}
	return "a vote";
}

static struct about about_vote(struct reader *r)
{
	struct vote v;
	vote_decode(r, &v);
	return (struct about){.known = !reader_finish(r),
			      .what = vote_what(v.kind),
			      .term = v.ref.term,
			      .height = v.ref.height,
			      .hash = v.ref.hash};
}

static struct about about_statement(const struct statement *s)
{
	struct reader r;
	struct term_vote t;
	struct about a = {0};
	reader_init(&r, s->bytes);
	switch (s->kind) {
	case STATEMENT_HEADER:
		return about_header(&r, true);
	case STATEMENT_BLOCK:
	case STATEMENT_BLOCK_TX:
		a = about_header(&r, false);
		a.what = s->kind == STATEMENT_BLOCK ? "a block" : "a transaction of a block";
		return a;
	case STATEMENT_VOTE:
		return about_vote(&r);
	case STATEMENT_TERM_VOTE:
		term_vote_decode(&r, &t);
		return (struct about){
			.known = !reader_finish(&r), .what = "a term vote", .term = t.term};
	case STATEMENT_VIEW_CHANGE:
	case STATEMENT_VIEW_CLAIM:
		a.what = "a VIEW-CHANGE"; /* both begin with the term */
		break;
	case STATEMENT_NEW_VIEW:
	case STATEMENT_WHOLE_NEW_VIEW:
		a.what = "a NEW-VIEW";
		break;
	}
	a.term = reader_u64(&r);
	a.known = !r.err;
	return a;
}

static const char *offence(enum evidence_kind kind)
{
	switch (kind) {
	case EVIDENCE_HEADERS:
		return "signed two blocks for one place";
	case EVIDENCE_TERM_HEADERS:
		return "signed headers of one term with different modes, bases or NEW-VIEWs";
	case EVIDENCE_VOTES:
		return "voted twice for one place";
	case EVIDENCE_TERM_STATEMENTS:
		return "spoke twice in one term";
	case EVIDENCE_NEW_VIEWS:
		return "signed two NEW-VIEWs of one term";
	case EVIDENCE_LOW_BASE:
		return "gave its term vote to a base below its own PREPARE";
	case EVIDENCE_INVALID_BLOCK:
		return "signed an invalid block";
	case EVIDENCE_HIDDEN_VOTE:
		return "hid its vote in a VIEW-CHANGE";
	case EVIDENCE_INVALID_STATEMENT:
		return "signed a statement with false contents";
	}
	return "did something unknown";
}

static size_t add(char *out, size_t at, const struct about *a)
{
	char hash[HASH_SHORT_SIZE];
	size_t room = EVIDENCE_TEXT_SIZE - at;
	int n;
	if (!a->known)
		n = snprintf(out + at, room, "%s that does not decode",
			     a->what ? a->what : "a statement");
	else if (a->height)
		n = snprintf(out + at, room, "%s at term %llu height %llu (%s)", a->what,
			     (unsigned long long)a->term, (unsigned long long)a->height,
			     hash_short(hash, &a->hash));
	else
		n = snprintf(out + at, room, "%s for term %llu", a->what,
			     (unsigned long long)a->term);
	return n < 0 || (size_t)n >= room ? EVIDENCE_TEXT_SIZE - 1 : at + (size_t)n;
}

const char *evidence_describe(char out[EVIDENCE_TEXT_SIZE], const struct evidence *e)
{
	struct about first = about_statement(&e->first), second = about_statement(&e->second);
	bool one = e->kind == EVIDENCE_INVALID_BLOCK || e->kind == EVIDENCE_INVALID_STATEMENT;
	int n = snprintf(out, EVIDENCE_TEXT_SIZE,
			 "%s: validator %u %s: ", evidence_kind_name(e->kind), e->culprit,
			 offence(e->kind));
	size_t at = add(out, (size_t)n, &first);
	if (!one && at + 6 < EVIDENCE_TEXT_SIZE) {
		memcpy(out + at, " and ", 6);
		add(out, at + 5, &second);
	}
	return out;
}
