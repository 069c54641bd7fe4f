/* What a scenario means to the simulator. */
#include "base/mem.h"
#include "tools/lab/scenario.h"

void scenario_options(struct sim_options *so, const struct scenario *s, enum protocol protocol,
		      unsigned nodes, uint64_t seed)
{
	*so = (struct sim_options){.nodes = nodes,
				   .seed = seed,
				   .decisions = s->decisions,
				   .duration_us = s->duration_us,
				   .clients = s->clients,
				   .think_us = s->think_us,
				   .delay_min_us = s->delay_min_us,
				   .delay_max_us = s->delay_max_us,
				   .loss_per_mille = s->loss_per_mille,
				   .scheme = SIG_SYMBOLIC,
				   .protocol = protocol,
				   .probation = s->probation ? s->probation : 1,
				   .attacks = s->attacks,
				   .steady = s->who == WHO_ANY,
				   .when_leading = s->who == WHO_LEADER,
				   .gentle = !s->storm,
				   .calm = s->calm,
				   .dead = s->silent,
				   .warm_up = s->warm_up,
				   .script = &s->script};
	so->corrupt = scenario_corrupt(s, so->nodes);
	so->targets = scenario_targets(s, so->nodes);
	unsigned liars_tolerated =
		protocol_is_byzantine(so->protocol) ? quorum_of(so->nodes).f : 0;
	so->measure_conflicts = so->corrupt > liars_tolerated;
	so->when_following = s->who == WHO_FOLLOWER;
	so->await_strikes = scenario_expects(s, EXPECT_STRUCK) != NULL;
	so->await_one_term = scenario_expects(s, EXPECT_ONE_TERM) != NULL;
	so->await_change = scenario_expects(s, EXPECT_MODE_CHANGE) != NULL;
	so->await_fast = scenario_expects(s, EXPECT_RETURN) != NULL;
	so->peaceful = !s->attacks;
	so->only_faults = s->part_of_storm ? &s->faults : NULL;
	so->only_strikes = s->part_of_strikes ? &s->strikes : NULL;
	so->losses = s->losses.count ? &s->losses : NULL;
}
