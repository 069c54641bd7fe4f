/* The functions behind the dispatch table in main.c. Each returns an exit code. */
#ifndef TOOLS_CLI_VERBS_H
#define TOOLS_CLI_VERBS_H

#include "tools/cli/cli.h"

int verb_key_new(struct cli *c);
int verb_key_show(struct cli *c);
int verb_key_list(struct cli *c);
int verb_key_passwd(struct cli *c);
int verb_net_init(struct cli *c);
int verb_net_up(struct cli *c);
int verb_net_down(struct cli *c);
int verb_net_status(struct cli *c);
int verb_net_kill(struct cli *c);
int verb_net_restart(struct cli *c);
int verb_net_pause(struct cli *c);
int verb_net_resume(struct cli *c);
int verb_net_logs(struct cli *c);
int verb_net_clean(struct cli *c);
int verb_put(struct cli *c);
int verb_get(struct cli *c);
int verb_del(struct cli *c);
int verb_cas(struct cli *c);
int verb_transfer(struct cli *c);
int verb_balance(struct cli *c);
int verb_tx_submit(struct cli *c);
int verb_tx_status(struct cli *c);
int verb_tx_wait(struct cli *c);
int verb_tx_decode(struct cli *c);
int verb_verify(struct cli *c);
int verb_status(struct cli *c);
int verb_health(struct cli *c);
int verb_blocks(struct cli *c);
int verb_block(struct cli *c);
int verb_validators(struct cli *c);
int verb_peers(struct cli *c);
int verb_evidence(struct cli *c);
int verb_member_list(struct cli *c);
int verb_member_replace(struct cli *c);
int verb_modes(struct cli *c);
int verb_monitor(struct cli *c);
int verb_backup_create(struct cli *c);
int verb_backup_list(struct cli *c);
int verb_backup_verify(struct cli *c);
int verb_backup_restore(struct cli *c);
int verb_recovery_draft(struct cli *c);
int verb_recovery_sign(struct cli *c);
int verb_recovery_show(struct cli *c);
int verb_recovery_genesis(struct cli *c);
int verb_recovery_start(struct cli *c);
int verb_db_check(struct cli *c);
int verb_db_inspect(struct cli *c);
int verb_db_repair(struct cli *c);
int verb_bench_run(struct cli *c);
int verb_doctor(struct cli *c);
int verb_watch(struct cli *c);
int verb_config_show(struct cli *c);
int verb_completion(struct cli *c);
int verb_version(struct cli *c);

/* A copy with the API's numbers in strings as numbers; hashes and names stay text. key: the
 * member that v is, "" at the top. */
struct json *plain_numbers(const struct json *v, const char *key);
/* mkdir -p; errno is set on ERR_IO. */
int make_directory(const char *path, unsigned mode);

#endif
