/* monitor: what a network is doing, in one frame made from what all its nodes answered. */
#ifndef TOOLS_CLI_MONITOR_H
#define TOOLS_CLI_MONITOR_H

#include "tools/cli/cli.h"

/* answers: as doctor_analyse() takes them, and, each may be absent, "blocks" and "modes": the
 * answers of GET /v1/blocks and /v1/modes, and "asked": the name of the node that gave them.
 * Answers of any form are taken.
 *
 * {summary, reached, n, quorum, mode, term, leader, tip, final_height, age_ms, pending,
 * tx_per_s, blocks_per_s, behind: [{node, blocks, why}], nodes: [...], findings: [...],
 * mode_changes: [...]}; what is not known is null. */
struct json *monitor_frame(const struct json *answers);

/* As a table to c->out. Takes no ownership. */
void monitor_print(struct cli *c, const struct json *frame);

/* Writes text to out so that it fills the screen from its upper left corner: what is wider than
 * columns or lower than rows is left out; escape sequences take no room. */
void monitor_paint(FILE *out, const char *text, unsigned rows, unsigned columns);

#endif
