/* Submissions and those who wait for them. Loop thread only. Every outcome gets exactly one
 * end: committed by submit_final(), or by seek() if it was final already; refused by submit_one()
 * or submit_rejected(); else pending, by submit_expire() at the latest. */
#include <stdio.h>

#include "base/mem.h"
#include "node/node.h"

#define EXPIRY_SCAN_US	   20000
#define EXPIRY_PER_TURN_US 5000
#define SUBMIT_PER_TURN_US 10000
#define SEEK_PER_TURN_US   500
#define LOOK_AT_CLOCK	   16 /* submissions between two looks */
#define RETRY_LATER_S	   2

static void register_waiter(struct node *n, struct outcome *o)
{
	o->prev = NULL;
	o->next = map_get(&n->waiters, o->id.b);
	if (o->next)
		o->next->prev = o;
	map_put(&n->waiters, o->id.b, o);
	o->status = OUTCOME_WAITING;
	o->request->waiting++;
}

/* A client may have a transaction a thousand times in a request: no walks along the chain. */
static void unregister_waiter(struct node *n, struct outcome *o)
{
	if (o->prev)
		o->prev->next = o->next;
	else if (o->next)
		map_put(&n->waiters, o->id.b, o->next);
	else
		map_remove(&n->waiters, o->id.b);
	if (o->next)
		o->next->prev = o->prev;
	o->prev = o->next = NULL;
}

/* The first of a chain that is off the map already; *o goes on to the next. */
static struct outcome *take_first(struct outcome **o)
{
	struct outcome *first = *o;
	*o = first->next;
	first->prev = first->next = NULL;
	return first;
}

static void finish(struct node *n, struct request *r)
{
	if (r->listed) {
		TAILQ_REMOVE(&n->waiting, r, link);
		r->listed = false;
		n->waiting_count--;
	}
	r->done(r);
}

/* o's status is set and it is off the map. */
static void settle(struct node *n, struct outcome *o)
{
	invariant(o->status != OUTCOME_WAITING && o->request->waiting > 0);
	if (--o->request->waiting == 0)
		finish(n, o->request);
}

static bool commit_from_disk(struct node *n, struct outcome *o)
{
	o->doc = mem_zalloc(sizeof *o->doc);
	proof_document_init(o->doc);
	o->err = committed_prove(&n->committed, n->replica, &o->id, o->doc);
	if (o->err == ERR_NONE) {
		o->status = OUTCOME_COMMITTED;
		return true;
	}
	proof_document_free(o->doc);
	mem_free(o->doc);
	o->doc = NULL;
	return false;
}

static void refuse(struct node *n, struct outcome *o, int err)
{
	o->err = err;
	if (err == ERR_BUSY) {
		o->status = OUTCOME_BUSY;
		metric_add(&n->metrics.busy, 1);
		snprintf(o->detail, sizeof o->detail,
			 "this node's transaction pool is full, or its state is too old to "
			 "tell whether the transaction may be ordered");
	} else {
		o->status = OUTCOME_REFUSED;
		metric_add(&n->metrics.refused, 1);
	}
}

/* It may be final, or become so: who asks later is told. */
static void leave_open(struct node *n, struct outcome *o)
{
	o->status = OUTCOME_PENDING;
	metric_add(&n->metrics.timed_out, 1);
}

/* Does this say something about the transaction, and not about this node? */
static bool is_verdict(int err)
{
	return err != ERR_IO && err != ERR_CORRUPT && err != ERR_CLOSED &&
	       err != ERR_NOT_FOUND && err != ERR_EXISTS;
}

/* It is final. Finding and proving it may take reading a large block: not for a whole request in
 * one turn of the loop. */
static void seek_later(struct node *n, struct outcome *o)
{
	o->sought = true;
	TAILQ_INSERT_TAIL(&n->sought, o, seek);
}

static void stop_seeking(struct node *n, struct outcome *o)
{
	o->sought = false;
	TAILQ_REMOVE(&n->sought, o, seek);
}

static bool seek(struct node *n, uint64_t until)
{
	struct outcome *o;
	while ((o = TAILQ_FIRST(&n->sought)) != NULL && node_clock_us() < until) {
		stop_seeking(n, o);
		if (!commit_from_disk(n, o))
			leave_open(n, o); /* never "refused" */
		settle(n, o);
	}
	return o != NULL;
}

static void submit_one(struct node *n, struct outcome *o, bool wait, uint64_t now)
{
	/* The waiter is there first: alone in the network, the replica makes the transaction
	 * final before replica_submit() returns. */
	o->since = now;
	register_waiter(n, o);
	struct hash id;
	int err = replica_submit(n->replica, now, o->bytes, true, &id);
	metric_add(&n->metrics.submitted, 1);
	if (err == ERR_NONE && (wait || o->status != OUTCOME_WAITING))
		return;
	if (o->status == OUTCOME_WAITING) {
		unregister_waiter(n, o);
		if (err == ERR_EXISTS) {
			seek_later(n, o);
			return;
		}
		if (err == ERR_NONE)
			o->status = OUTCOME_ACCEPTED;
		else if (is_verdict(err))
			refuse(n, o, err);
		else
			leave_open(n, o);
		settle(n, o);
	}
}

bool submit_refused(const struct node *n, struct problem *p, uint64_t now)
{
	char why[128];
	if (n->halted && !n->awaits_disk) {
		problem_set(p, 503, "halted", "this replica has stopped", n->halted_why,
			    "use another node; this one's log says what to do");
		p->retry_after = 0;
		return true;
	}
	if (node_is_paused(n) || n->awaits_disk) {
		problem_set(p, 503, "disk_full", "the disk of this node is full",
			    n->awaits_disk ? n->halted_why
					   : "writes are refused until there is room; reads "
					     "are answered",
			    "use another node, or make room: this one goes on by itself");
		p->retry_after = RETRY_LATER_S;
		return true;
	}
	health_read_only(n, now, why, sizeof why);
	if (!why[0])
		return false;
	problem_set(p, 503, "no_quorum", "too few validators can be reached for a commit", why,
		    "`ostrakon doctor` says who is missing; nothing was submitted, so send it "
		    "again later");
	p->retry_after = RETRY_LATER_S;
	return true;
}

/* False: the time is over, and what is left of it comes first in the next turn. */
static bool submit_request(struct node *n, struct request *r, uint64_t until)
{
	if (r->submitted == 0) {
		if (submit_refused(n, &r->problem, node_clock_us())) {
			TAILQ_REMOVE(&n->submissions, r, link);
			r->done(r);
			return true;
		}
		r->waiting = 1; /* ours, so that r cannot end while it is walked */
	}
	for (uint64_t now = node_clock_us(); r->submitted < r->outcome_count; r->submitted++) {
		struct outcome *o = &r->outcomes[r->submitted];
		if (r->submitted % LOOK_AT_CLOCK == LOOK_AT_CLOCK - 1) {
			now = node_clock_us();
			if (now >= until)
				return false;
		}
		if (o->status == OUTCOME_NEW)
			submit_one(n, o, r->wait_committed, now);
	}
	TAILQ_REMOVE(&n->submissions, r, link);
	if (--r->waiting == 0) {
		r->done(r);
		return true;
	}
	TAILQ_INSERT_TAIL(&n->waiting, r, link);
	r->listed = true;
	n->waiting_count++;
	return true;
}

void submit_take(struct node *n, struct request *r)
{
	TAILQ_INSERT_TAIL(&n->submissions, r, link);
}

bool submit_some(struct node *n)
{
	uint64_t now = node_clock_us(), until = now + SUBMIT_PER_TURN_US;
	while (now < until && !TAILQ_EMPTY(&n->submissions)) {
		submit_request(n, TAILQ_FIRST(&n->submissions), until);
		now = node_clock_us();
	}
	bool more = seek(n, now + SEEK_PER_TURN_US);
	return more || !TAILQ_EMPTY(&n->submissions);
}

/* All that wait for transaction `index` of the block, with a finality or, without, from disk.
 */
static void commit_waiters(struct node *n, const struct block *b, uint32_t index,
			   struct finality *f, uint32_t block, uint64_t now)
{
	struct outcome *chain = map_remove(&n->waiters, b->tx[index].id.b);
	while (chain) {
		struct outcome *o = take_first(&chain);
		if (f) {
			o->status = OUTCOME_COMMITTED;
			o->finality = finality_hold(f);
			o->block = block;
			o->index = index;
		} else if (!commit_from_disk(n, o)) {
			leave_open(n, o); /* its block is final: never "refused" */
		}
		if (o->status == OUTCOME_COMMITTED) {
			metric_add(&n->metrics.committed, 1);
			histogram_add(&n->metrics.commit, now - o->since);
		}
		settle(n, o);
	}
}

static void close_batch(struct node *n, bool certified, uint64_t now)
{
	struct finality *f = NULL;
	if (certified && map_len(&n->waiters) > 0)
		f = finality_new(n->batch, n->batch_count, &n->batch_cert);
	for (uint32_t i = 0; i < n->batch_count; i++) {
		struct block *b = n->batch[i];
		for (uint32_t t = 0; t < b->tx_count && map_len(&n->waiters) > 0; t++)
			commit_waiters(n, b, t, f, i, now);
		block_drop(b);
	}
	n->batch_count = 0;
	finality_drop(f);
}

void submit_final(struct node *n, struct block *b, const struct cert *cert, uint64_t now)
{
	if (n->batch_count > 0 && (n->batch_count == CERTIFIED_HEADERS_MAX ||
				   !block_ref_equal(&cert->ref, &n->batch_cert.ref)))
		close_batch(n, false, now);
	n->batch[n->batch_count++] = block_hold(b);
	n->batch_cert = *cert;
	if (hash_equal(&cert->ref.hash, &b->hash))
		close_batch(n, true, now);
}

void submit_flush(struct node *n, uint64_t now)
{
	if (n->batch_count > 0)
		close_batch(n, false, now);
}

void submit_rejected(struct node *n, const struct hash *id, int err)
{
	struct outcome *chain = map_remove(&n->waiters, id->b);
	while (chain) {
		struct outcome *o = take_first(&chain);
		/* Dropped from the pool because it is final is not refused; nor is what may be
		 * final in a block that this node could not write any more, or what others have
		 * been told of and may still order. */
		if (!commit_from_disk(n, o)) {
			if (n->halted || err == ERR_BUSY || !is_verdict(err))
				leave_open(n, o);
			else
				refuse(n, o, err);
		}
		settle(n, o);
	}
}

static void give_up(struct node *n, struct request *r)
{
	r->waiting++; /* settle() must not end it while it is walked */
	for (uint32_t i = 0; i < r->outcome_count; i++) {
		struct outcome *o = &r->outcomes[i];
		if (o->status != OUTCOME_WAITING)
			continue;
		if (o->sought)
			stop_seeking(n, o);
		else
			unregister_waiter(n, o);
		leave_open(n, o);
		settle(n, o);
	}
	invariant(r->waiting == 1);
	r->waiting = 0;
	finish(n, r);
}

void submit_expire(struct node *n, uint64_t now)
{
	if (now < n->next_expiry_scan)
		return;
	n->next_expiry_scan = now + EXPIRY_SCAN_US;
	struct request *r, *next;
	for (r = TAILQ_FIRST(&n->waiting); r; r = next) {
		next = TAILQ_NEXT(r, link);
		if (r->deadline > now)
			continue;
		give_up(n, r);
		if (node_clock_us() >= now + EXPIRY_PER_TURN_US) {
			n->next_expiry_scan = now; /* the rest in the next turn */
			break;
		}
	}
}

/* What is left of a request that was begun is not submitted any more. */
static void abandon(struct node *n, struct request *r)
{
	TAILQ_REMOVE(&n->submissions, r, link);
	for (; r->submitted < r->outcome_count; r->submitted++)
		if (r->outcomes[r->submitted].status == OUTCOME_NEW)
			leave_open(n, &r->outcomes[r->submitted]);
	r->waiting--;
	give_up(n, r);
}

void submit_stop(struct node *n)
{
	struct request *begun = TAILQ_FIRST(&n->submissions);
	if (begun && begun->submitted > 0)
		abandon(n, begun);
	while (!TAILQ_EMPTY(&n->waiting))
		give_up(n, TAILQ_FIRST(&n->waiting));
	invariant(map_len(&n->waiters) == 0 && TAILQ_EMPTY(&n->sought));
}
