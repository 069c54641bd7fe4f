/* The collected answers in a form to reckon with: what each node is, and what it says of the
 * others. */
#ifndef TOOLS_CLI_DOCTOR_VIEW_H
#define TOOLS_CLI_DOCTOR_VIEW_H

#include "base/json.h"
#include "chain/valset.h"
#include "tools/cli/doctor.h"

#define NAME_MAX_SHOWN 64
#define TEXT_MAX_SHOWN 256

enum reach { REACH_UNKNOWN, REACH_ANSWERED, REACH_REFUSED, REACH_TIMEOUT, REACH_BROKEN };
enum seen_process { SEEN_UNKNOWN, SEEN_RUNNING, SEEN_PAUSED, SEEN_DOWN };

/* What one node says about its link to another. */
struct peer_view {
	bool known, connected, has_heard, has_link_heard, has_offset, has_match;
	uint64_t heard_ms; /* by consensus: in fast mode only from and by a leader */
	uint64_t link_heard_ms, match;
	int64_t offset_ms;
	char error[TEXT_MAX_SHOWN]; /* why it is not connected */
};
struct node_view {
	char name[NAME_MAX_SHOWN], api[TEXT_MAX_SHOWN];
	enum reach reach;
	enum seen_process process;
	uint64_t pid;
	char why[TEXT_MAX_SHOWN], config_error[TEXT_MAX_SHOWN], log_error[TEXT_MAX_SHOWN];
	char file_chain[80], chain[80]; /* of its genesis file; as it answers. "": unknown */
	bool has_offset;
	int64_t offset_ms; /* against the asker */
	/* from its answers */
	char role[32], mode[32], leader[NAME_MAX_SHOWN];
	char observer[TEXT_MAX_SHOWN];
	uint64_t epoch; /* 0: the first, or not said */
	bool syncing; /* fetches a state from its peers */
	uint64_t sync_height, sync_percent;
	char halted[TEXT_MAX_SHOWN], not_ready[TEXT_MAX_SHOWN], stall[TEXT_MAX_SHOWN];
	char state_root[80];
	bool ready, has_term, has_final, has_commit_age, has_leader_heard;
	uint64_t term, height, final, pending, commit_age_ms, leader_heard_ms;
	bool has_free;
	bool disk_full, disk_low; /* by the node's own limits */
	uint64_t free_bytes, reserve_bytes;
	char disk_error[TEXT_MAX_SHOWN];
	const struct json *waiting; /* lent */
	struct peer_view peer[VALIDATORS_MAX];
	/* concluded */
	const char *cause; /* why it cannot vote; NULL: as far as known it can */
};
struct doctor_view {
	unsigned count, n, q;
	char chain[80], dir[TEXT_MAX_SHOWN];
	struct node_view node[VALIDATORS_MAX];
};

/* Copies text, but what a terminal or a reader could stumble over. "" if absent. */
void doctor_view_read(struct doctor_view *v, const struct json *answers);
int doctor_view_find(const struct doctor_view *v, const char *name);
/* How long nobody has heard node i: false if nobody says. */
bool doctor_silent_for(const struct doctor_view *v, unsigned i, uint64_t *ms);

#endif
