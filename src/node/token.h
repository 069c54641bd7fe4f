/* The access token of a node's API, as the node and its clients read it from a file. */
#ifndef NODE_TOKEN_H
#define NODE_TOKEN_H

#include "node/config.h"

#define TOKEN_MIN	16
#define TOKEN_MAX	512
#define TOKEN_SIZE	(TOKEN_MAX + 1)
#define TOKEN_VARIABLE	"OSTRAKON_API_TOKEN_FILE" /* [api] token_file, for who starts a node */
#define TOKEN_PATH_SIZE (CONFIG_PATH_MAX + CONFIG_TEXT_MAX + 2)

/* The first line of the file: TOKEN_MIN to TOKEN_MAX printable characters without blanks. where
 * names the file's option in messages, such as "--token-file". ERR_CONFIG, ERR_PERMISSION
 * (others may read it); out is then empty. */
int token_read(char out[TOKEN_SIZE], const char *path, const char *where, struct errmsg *m);
/* Where [api] token_file is: from the home directory on. It must be set. */
void node_token_path(char out[TOKEN_PATH_SIZE], const struct node_config *c);

#endif
