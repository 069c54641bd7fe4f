/* doctor: why is there no progress, merged from what all nodes of a network say.
 *
 * The analysis is a pure function of the collected answers, one JSON document:
 *
 *	n, q         validators, and how many votes a commit takes (0: unknown)
 *	chain_id     of the genesis file that is trusted, or absent
 *	dir          network directory, or absent: for the advice only
 *	nodes[]      {name, api, process: running|paused|down|null, pid, reach:
 *answered|refused| timeout|broken, why, genesis: chain id of its home's file, config_error,
 *	             clock_offset_ms: against the asker, log_error: its log's last error,
 *	             free_bytes: where its home is,
 *	             status: GET /v1/status, consensus: GET /v1/consensus}
 *
 * Members that are absent are unknown, and nothing is concluded from them. */
#ifndef TOOLS_CLI_DOCTOR_H
#define TOOLS_CLI_DOCTOR_H

#include "tools/cli/cli.h"

/* {healthy, progress, summary, findings: [{cause, severity: error|warning, nodes, since_ms,
 * text, what_to_do}], waiting: [{node, what, who, since_ms}], nodes: [...]}. Errors come first.
 * Answers of any form are taken. */
struct json *doctor_analyse(const struct json *answers);

/* Asks every node of --home, or the one of --node. NULL: an error was printed, code in *rc. */
struct json *doctor_collect(struct cli *c, int *rc);
/* What --answers names. NULL: an error was printed, code in *rc. */
struct json *doctor_answers_file(struct cli *c, int *rc);

/* "1.5 s", "2 min 5 s", "1 h 0 min" */
void duration_text(char out[32], uint64_t ms);

#endif
