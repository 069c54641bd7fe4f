#include "tests/fuzz/record.h"

static bool listen(void *ctx, struct sim *s, unsigned from, const struct message *m)
{
	struct recording *r = ctx;
	r->message(r->ctx, s, from, m);
	return false;
}

void record(unsigned which, struct recording *r)
{
	static const struct {
		unsigned nodes;
		uint64_t seed;
		uint32_t decisions;
		bool calm;
		unsigned corrupt;
		enum protocol protocol;
		uint64_t attacks;
	} runs[RECORDINGS] = {
		{4, 1, 12, true, 0, PROTOCOL_HYBRID, 0},
		{4, 2, 30, false, 0, PROTOCOL_HYBRID, 0},
		{4, 3, 30, false, 0, PROTOCOL_HYBRID, 0},
		{5, 4, 30, false, 0, PROTOCOL_HYBRID, 0},
		{4, 5, 12, true, 0, PROTOCOL_PBFT, 0},
		{4, 6, 30, false, 0, PROTOCOL_PBFT, 0},
		{7, 7, 30, false, 0, PROTOCOL_PBFT, 0},
		{4, 8, 30, false, 1, PROTOCOL_HYBRID, 0},
		{4, 9, 30, false, 1, PROTOCOL_HYBRID, ATTACK_BIT(ATTACK_EQUIVOCATE)},
		{5, 10, 30, false, 1, PROTOCOL_HYBRID, 0},
		{7, 11, 30, false, 2, PROTOCOL_HYBRID, 0},
		{4, 12, 30, false, 1, PROTOCOL_PBFT, 0},
		{4, 13, 30, false, 1, PROTOCOL_HYBRID, ATTACK_BIT(ATTACK_CENSOR)},
		{4, 14, 30, false, 1, PROTOCOL_HYBRID,
		 ATTACK_BIT(ATTACK_HIDDEN_VOTE) | ATTACK_BIT(ATTACK_EQUIVOCATE) |
			 ATTACK_BIT(ATTACK_CORRUPT_BODY)},
	};
	invariant(which < RECORDINGS);
	r->options = (struct sim_options){.nodes = runs[which].nodes,
					  .seed = runs[which].seed,
					  .decisions = runs[which].decisions,
					  .clients = 3,
					  .scheme = SIG_SYMBOLIC,
					  .protocol = runs[which].protocol,
					  .calm = runs[which].calm,
					  .corrupt = runs[which].corrupt,
					  .attacks = runs[which].attacks,
					  .intercept = listen,
					  .intercept_ctx = r};
	struct sim_result result;
	sim_run(&r->options, &result);
}
