/* Ten ways to forge a proof of a value, as somebody with a text editor would; each with the
 * jq expression that does the same. */
#ifndef TESTS_LEDGER_FORGERY_H
#define TESTS_LEDGER_FORGERY_H

#include "base/bytes.h"

enum forgery {
	FORGE_VALUE,	 /* .value = "forged" */
	FORGE_KEY,	 /* .key = "forged" */
	FORGE_HEIGHT,	 /* .height += 1 */
	FORGE_SIBLING,	 /* last hex digit of .proof */
	FORGE_ROOT,	 /* first hex digit of .state_root */
	FORGE_SIGNATURE, /* first hex digit of .certificate.signatures[0] */
	FORGE_ONE_SHORT, /* del(.certificate.signers[0], .certificate.signatures[0]) */
	FORGE_TWICE,	 /* signer and signature 1 replaced by 0 */
	FORGE_CHAIN,	 /* first hex digit of .chain_id */
	FORGE_ABSENCE,	 /* .value = null | .value_hash = null */
	FORGERIES,
};
const char *forgery_name(enum forgery f);
/* mem_free the result. json holds a true proof of a text value. */
char *forge(struct slice json, enum forgery f);

#endif
