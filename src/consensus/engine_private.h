/* What engines share: the operations table that engine.h dispatches through. */
#ifndef CONSENSUS_ENGINE_PRIVATE_H
#define CONSENSUS_ENGINE_PRIVATE_H

#include "consensus/engine.h"

struct engine_ops {
	void (*step)(struct engine *e, const struct input *in, struct output *out);
	void (*free)(struct engine *e);
	void (*status)(const struct engine *e, struct engine_status *out);
	const struct term_cert *(*term_cert)(const struct engine *e);
	/* NULL: it has none to give */
	void (*each_waiting)(const struct engine *e,
			     void (*fn)(void *arg, const struct pool_tx *tx), void *arg);
	/* NULL: of its status */
	struct engine_pool (*pool)(const struct engine *e);
};
struct engine {
	const struct engine_ops *ops;
};

#endif
