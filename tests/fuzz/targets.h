#ifndef TESTS_FUZZ_TARGETS_H
#define TESTS_FUZZ_TARGETS_H

#include "tests/fuzz/fuzz.h"

extern const struct fuzz_target fuzz_message, fuzz_engine, fuzz_chain, fuzz_frame, fuzz_session,
	fuzz_handshake, fuzz_execute, fuzz_records, fuzz_state_proof, fuzz_proof, fuzz_http,
	fuzz_json, fuzz_genesis, fuzz_config, fuzz_keyfile, fuzz_scenario, fuzz_sse,
	fuzz_doctor, fuzz_wal, fuzz_range, fuzz_sync_message, fuzz_sync, fuzz_node;

#endif
