#include "tests/fuzz/targets.h"

#include <string.h>

const struct fuzz_target *const fuzz_targets[] = {
	&fuzz_message,	    &fuzz_engine,  &fuzz_chain,	  &fuzz_frame,	     &fuzz_session,
	&fuzz_handshake,    &fuzz_execute, &fuzz_records, &fuzz_state_proof, &fuzz_proof,
	&fuzz_http,	    &fuzz_json,	   &fuzz_genesis, &fuzz_config,	     &fuzz_keyfile,
	&fuzz_scenario,	    &fuzz_sse,	   &fuzz_doctor,  &fuzz_wal,	     &fuzz_range,
	&fuzz_sync_message, &fuzz_sync,	   &fuzz_node,	  NULL};

const struct fuzz_target *fuzz_find(const char *name)
{
	for (unsigned i = 0; fuzz_targets[i]; i++)
		if (strcmp(fuzz_targets[i]->name, name) == 0)
			return fuzz_targets[i];
	return NULL;
}

void fuzz_seed(struct fuzz_seeds *out, struct slice bytes)
{
	if (out->count == out->cap) {
		out->cap = out->cap ? 2 * out->cap : 64;
		out->input = mem_realloc(out->input, out->cap * sizeof *out->input);
	}
	out->input[out->count++] = slice_of(mem_dup(bytes.ptr, bytes.len), bytes.len);
}

void seeds_free(struct fuzz_seeds *s)
{
	for (size_t i = 0; i < s->count; i++)
		mem_free((void *)s->input[i].ptr);
	mem_free(s->input);
}
