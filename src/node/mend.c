/* Mending as a node shows it: what the scrub found goes to the replica, what becomes of it to
 * the log and to those who watch. */
#include <stdio.h>

#include "base/mem.h"
#include "node/node.h"
#include "node/upkeep.h"
#include "replica/audit.h"

#define REMEDY "Stop this node and run `ostrakon db repair` while the others run"

static const char *describe(const struct damage *d, char *buf, size_t size)
{
	char key[2 * DAMAGE_KEY_MAX + 1] = "", height[40] = "";
	hex_encode(key, d->key, d->key_len);
	if (d->height != UINT64_MAX)
		snprintf(height, sizeof height, " at height %llu",
			 (unsigned long long)d->height);
	snprintf(buf, size, "%s%s%s, key %s", store_family_name(d->family),
		 d->unreadable ? ", records after one" : "", height, d->key_len ? key : "none");
	return buf;
}

static void tell(struct node *n, const char *reason)
{
	struct engine_status s;
	replica_status(n->replica, &s);
	struct json *o = report_change(n, "scrub", &s);
	json_set(o, "reason", json_string(reason));
	events_json(n->events, EVENT_CONSENSUS, o);
}

static void over(struct node *n)
{
	char reason[256];
	struct mend_lot *lot = &n->mend_lot;
	unsigned long long mended = lot->mended, fetched = lot->fetched, left = lot->left;
	if (mended) {
		snprintf(reason, sizeof reason,
			 "mended: %llu damaged or missing records, %llu of them with what "
			 "others sent",
			 mended, fetched);
		log_write(LOG_NODE, LOG_WARN, "scrub: %s", reason);
		tell(n, reason);
	}
	if (left) {
		snprintf(reason, sizeof reason,
			 "%llu damaged records could not be mended, the first: %.120s. " REMEDY,
			 left, lot->first_left);
		log_write(LOG_NODE, LOG_ERROR, "scrub: %s", reason);
		tell(n, reason);
	}
	n->snapshot_due = 0;
	upkeep_mended(n->upkeep, lot->mended > 0);
}

void mend_note(void *ctx, enum replica_mend_note note, const struct damage *d, unsigned peer,
	       const char *why)
{
	struct node *n = ctx;
	struct mend_lot *lot = &n->mend_lot;
	char what[256];
	if (d)
		describe(d, what, sizeof what);
	switch (note) {
	case MEND_NOTE_MENDED:
		lot->mended++;
		lot->fetched += peer != NO_VALIDATOR;
		log_write(LOG_NODE, LOG_WARN, "scrub: mended %s, %s%s", what,
			  peer == NO_VALIDATOR ? "from what is here" : "with what was sent by ",
			  peer == NO_VALIDATOR ? "" : node_validator_name(n, peer));
		break;
	case MEND_NOTE_SOUND:
		log_write(LOG_NODE, LOG_INFO, "scrub: sound by now: %s", what);
		break;
	case MEND_NOTE_LIED:
		log_write(LOG_NODE, LOG_WARN,
			  "scrub: what %s sent for %s is false (%s): another one is asked",
			  node_validator_name(n, peer), what, why);
		break;
	case MEND_NOTE_LEFT:
		if (lot->left++ == 0)
			snprintf(lot->first_left, sizeof lot->first_left, "%s: %s", what, why);
		log_write(LOG_NODE, LOG_ERROR, "scrub: not mended: %s: %s", what, why);
		break;
	case MEND_NOTE_OVER:
		over(n);
		break;
	}
}

void mend_begin(struct node *n)
{
	uint32_t count = 0;
	if (n->halted) /* on the way: it goes no further */
		upkeep_mended(n->upkeep, false);
	struct damage *list = upkeep_take(n->upkeep, &count);
	if (!list)
		return;
	n->mend_lot = (struct mend_lot){.mended = 0};
	if (!replica_mend(n->replica, list, count)) {
		log_write(LOG_NODE, LOG_ERROR,
			  "scrub: this node has halted and mends nothing. " REMEDY);
		upkeep_mended(n->upkeep, false);
	}
	mem_free(list);
}
