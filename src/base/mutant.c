#include "base/mutant.h"

#ifdef ENABLE_MUTANTS
int mutant_selected;
#else
typedef int nothing_here; /* a translation unit is never empty */
#endif
