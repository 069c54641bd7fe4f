/* How much of what a test repeats over seeds, places and sizes it does: all of it, or
 * OSTRAKON_SHARE percent. For builds with sanitizers, which take several times as long and look
 * for other things. */
#ifndef TESTS_SHARE_H
#define TESTS_SHARE_H

#include <stdlib.h>

/* Of what is usual; never none of it. */
static inline unsigned share(unsigned usual)
{
	const char *text = getenv("OSTRAKON_SHARE");
	unsigned long percent = text ? strtoul(text, NULL, 10) : 100;
	if (percent >= 100)
		return usual;
	unsigned part = (unsigned)(usual * percent / 100);
	return part ? part : 1;
}

/* Each so manyth of a long row: 1 is each. */
static inline unsigned share_step(void)
{
	return 100 / share(100);
}

#endif
