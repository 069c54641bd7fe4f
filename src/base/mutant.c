#include "base/mutant.h"

#ifdef ENABLE_MUTANTS
#include <stdlib.h>

int mutant_selected;

/* So that any program of such a build can have one. */
__attribute__((constructor)) static void select_from_environment(void)
{
	const char *id = getenv("OSTRAKON_MUTANT");
	mutant_selected = id ? atoi(id) : MUTANT_NONE;
}
#else
typedef int nothing_here; /* a translation unit is never empty */
#endif
