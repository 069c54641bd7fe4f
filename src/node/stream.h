/* Server-sent events (the WHATWG HTML standard, section 9.2) out of the ring of events.h, and
 * out of stored blocks for those who come back after the ring has gone on. */
#ifndef NODE_STREAM_H
#define NODE_STREAM_H

#include "node/events.h"
#include "node/render.h"

struct MHD_Connection;
struct connection;
struct stream; /* opaque */

struct stream_config {
	struct events *events;
	struct inbox *inbox;
	const struct render *render;
	struct connection *connection; /* told of progress */
	unsigned types;
	bool resumes; /* follows `from`; else what happens from now on */
	struct cursor from;
};
/* NULL: there are too many streams. The stream outlives the response that is queued here. */
struct stream *stream_start(struct MHD_Connection *c, const struct stream_config *config);
void stream_free(struct stream *s);

#endif
