/* What this machine can do at the moment: figures mean little without it. */
#ifndef TOOLS_LAB_CALIBRATE_H
#define TOOLS_LAB_CALIBRATE_H

#include "base/json.h"

struct calibration {
	double sign_per_s, verify_per_s; /* Ed25519 of 128 bytes, one core */
	double fdatasync_ms;		 /* median, of 4 KiB appended in the directory */
	double loopback_rtt_ms; /* median, of one byte over TCP and back, one thread each way */
	double load;		/* average of the last minute */
};
/* Takes about a third of a second. directory: where the run's disks are. What cannot be
 * measured is 0. After crypto_init(). */
void calibrate(const char *directory, struct calibration *out);
struct json *calibration_json(const struct calibration *c); /* null for what was not measured */

/* Blocks of SHA-256 (64 bytes) that this core compresses in a second of its time, long messages
 * one after the other. Takes some milliseconds. */
double calibrate_sha256(void);

#endif
