/* Where keys are, how they are named, and passphrases that never pass through argv. */
#ifndef TOOLS_CLI_KEYS_H
#define TOOLS_CLI_KEYS_H

#include "crypto/keyfile.h"
#include "tools/cli/cli.h"

#define PASSPHRASE_MAX 1024
#define PATH_SIZE      4096

/* The directory that holds named keys: the network directory if there is one (its client.key
 * is the key "client"), else $XDG_CONFIG_HOME/ostrakon or ~/.config/ostrakon. */
void key_directory(struct cli *c, char out[PATH_SIZE]);
/* NAME means DIRECTORY/NAME.key; whatever has a slash or ends in .key is a path. */
void key_path(struct cli *c, char out[PATH_SIZE], const char *name);
/* Letters, digits, '.', '_', '-'. */
bool key_name_ok(const char *name);

enum passphrase { PASSPHRASE_OLD, PASSPHRASE_NEW };
/* From --[new-]passphrase-file, --[new-]passphrase-fd, or a prompt on the terminal (twice if
 * confirm). Returns ERR_NONE; ERR_PASSPHRASE if there is nowhere to ask; m says what to do. */
int passphrase_get(struct cli *c, enum passphrase which, const char *what, bool confirm,
		   char out[PASSPHRASE_MAX], struct errmsg *m);

/* Opens the key that name means (a path that key_path() gave means itself), asking for a
 * passphrase if it has one. Prints errors; exit code. */
int key_open(struct cli *c, const char *name, struct keypair *out);
/* The key that signs: --key, or the network's client key. */
int key_signer(struct cli *c, struct keypair *out);
/* An account: 64 hex digits, or a key's name or file. Prints errors; exit code. */
int account_parse(struct cli *c, const char *text, struct pubkey *out);
/* Path of the key that signs for account text (as above); --key wins. */
int key_for_account(struct cli *c, const char *text, struct keypair *out);

#endif
