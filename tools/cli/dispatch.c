/* The dispatch table: every verb with its arguments, options and help. */
#include "base/mem.h"
#include "tools/cli/cli.h"
#include "tools/cli/verbs.h"

#define B(name)	   OPT_BIT(OPT_##name)
#define ASKING	   (B(HOME) | B(NODE) | B(TOKEN_FILE) | B(TIMEOUT))
#define WHERE	   (ASKING | B(GENESIS))
#define PASSPHRASE (B(PASSPHRASE_FILE) | B(PASSPHRASE_FD))
#define SIGNING                                                                                \
	(WHERE | PASSPHRASE | B(KEY) | B(WAIT) | B(NONCE) | B(EXPIRY) | B(SAVE) | B(NO_SEND))
#define NET	(B(HOME) | B(TIMEOUT))
#define READING (WHERE | B(HEIGHT) | B(PROVE) | B(PROOF_FILE))

static const char write_text[] =
	"Signs a transaction, sends it, and waits until a certificate proves that it is\n"
	"committed. The id goes to standard error as `tx ID` before the waiting begins.\n"
	"If a node does not answer, the same bytes go to another; they take effect once.";
static const char where_text[] =
	"--home may be a network directory: its first reachable node is asked.";

const struct verb verbs[] = {
	{"key new", "[NAME|FILE]", "Make a key; it is encrypted with a passphrase.",
	 "NAME is kept as NAME.key in the network directory, or else in\n"
	 "~/.config/ostrakon. An existing file is never overwritten.",
	 B(HOME) | B(KEY) | PASSPHRASE | B(UNENCRYPTED) | B(LABEL), 0, 1, verb_key_new},
	{"key show", "[NAME|FILE]", "Show a key's public part; needs no passphrase.", NULL,
	 B(HOME) | B(KEY), 0, 1, verb_key_show},
	{"key list", "", "List the keys.", NULL, B(HOME), 0, 0, verb_key_list},
	{"key passwd", "[NAME|FILE]", "Change a key's passphrase, or take it off.", NULL,
	 B(HOME) | B(KEY) | PASSPHRASE | B(NEW_PASSPHRASE_FILE) | B(NEW_PASSPHRASE_FD) |
		 B(UNENCRYPTED),
	 0, 1, verb_key_passwd},

	{"net init", "[DIR]", "Make genesis, keys and configurations of a local network.",
	 "DIR must not exist, or be empty. The keys in it are not encrypted. Two of the three\n"
	 "governance keys give a validator a new key (`member replace`). Three recovery keys\n"
	 "are in DIR/recovery: see `recovery draft`.",
	 B(HOME) | B(NODES) | B(BALANCE) | B(PORT) | B(CHECKPOINTS) | B(PROBATION) |
		 B(PROTOCOL),
	 0, 1, verb_net_init},
	{"net up", "[DIR [NODE|leader|all]]", "Start the nodes; return when they can commit.",
	 "Without a directory, makes a network in ./ostrakon-network. If a port is taken,\n"
	 "another is chosen. Nodes that run already are left alone. --nodes is for the network\n"
	 "that it makes; one that is there keeps its size.",
	 NET | B(NODES), 0, 2, verb_net_up},
	{"net down", "[DIR [NODE|leader|all]]", "Stop nodes: SIGTERM, later SIGKILL.", NULL,
	 NET, 0, 2, verb_net_down},
	{"net status", "[DIR]", "Show every node: process, role, height, state root.", NULL,
	 NET, 0, 1, verb_net_status},
	{"net kill", "[DIR] NODE|leader|all", "Kill nodes with SIGKILL, as a crash would.",
	 NULL, NET, 0, 2, verb_net_kill},
	{"net restart", "[DIR [NODE|leader|all]]", "Stop nodes and start them again.", NULL,
	 NET, 0, 2, verb_net_restart},
	{"net pause", "[DIR] NODE|leader|all", "Freeze nodes with SIGSTOP.", NULL, NET, 0, 2,
	 verb_net_pause},
	{"net resume", "[DIR [NODE|leader|all]]", "Let frozen nodes go on.", NULL, NET, 0, 2,
	 verb_net_resume},
	{"net logs", "[DIR [NODE|leader|all]]", "Show the last lines of the nodes' logs.", NULL,
	 NET | B(LINES), 0, 2, verb_net_logs},
	{"net clean", "[DIR]", "Remove all data; keep genesis, keys and configurations.",
	 "The nodes must be down. The network then starts from its genesis again.", NET, 0, 1,
	 verb_net_clean},

	{"put", "KEY VALUE | --from FILE", "Set a key to a value.", write_text,
	 SIGNING | B(FROM) | B(CLIENTS) | B(BATCH), 0, 2, verb_put},
	{"get", "KEY | --from FILE", "Print the value of a key, after checking its proof.",
	 "With --prove the proof document is printed instead, or beside it with -o json;\n"
	 "`ostrakon verify` checks it anywhere, offline. With --from, each line of FILE is a\n"
	 "key, or a key and the value that it must have. With --linearizable all validators\n"
	 "are asked how far they are, and the value is one at least as new as any that was\n"
	 "acknowledged before the call.",
	 READING | B(FROM) | B(CLIENTS) | B(LINEARIZABLE), 0, 1, verb_get},
	{"del", "KEY", "Delete a key.", write_text, SIGNING, 1, 1, verb_del},
	{"cas", "KEY OLD NEW", "Set a key to NEW if its value is OLD (or --absent).",
	 write_text, SIGNING | B(ABSENT), 2, 3, verb_cas},
	{"transfer", "FROM TO AMOUNT", "Move an amount between accounts.",
	 "An account is 64 hex digits, or the name or file of a key. FROM's key signs.",
	 SIGNING, 3, 3, verb_transfer},
	{"balance", "[ACCOUNT]", "Print an account's balance, after checking its proof.",
	 "Without ACCOUNT: that of the network's client key.", READING, 0, 1, verb_balance},

	{"tx submit", "FILE", "Send a signed transaction (- is standard input).",
	 "FILE holds its bytes, or hex digits. Sending it again is safe.", WHERE | B(WAIT), 1,
	 1, verb_tx_submit},
	{"tx status", "ID | --from FILE", "Say where a transaction is, with proof.", NULL,
	 WHERE | B(PROVE) | B(FROM) | B(CLIENTS), 0, 1, verb_tx_status},
	{"tx wait", "ID", "Wait until a transaction is committed.", NULL, WHERE | B(PROVE), 1,
	 1, verb_tx_wait},
	{"tx decode", "FILE", "Show what a signed transaction says; offline.", NULL,
	 B(HOME) | B(GENESIS), 1, 1, verb_tx_decode},

	{"verify", "PROOF.json", "Check a proof document offline, against a genesis file.",
	 "Exit code 5 if it is malformed or false.", B(GENESIS) | B(HOME), 1, 1, verb_verify},
	{"status", "", "Show what a node says about itself.", where_text, WHERE, 0, 0,
	 verb_status},
	{"health", "", "Ask every node whether it lives and can serve.",
	 "Exit code 1 if fewer are ready than it takes to commit; 3 if none answers.", WHERE, 0,
	 0, verb_health},
	{"blocks", "", "List the newest blocks.", NULL, WHERE | B(HEIGHT) | B(LIMIT), 0, 0,
	 verb_blocks},
	{"block", "HEIGHT|latest", "Show a block and its transactions.", NULL, WHERE, 1, 1,
	 verb_block},
	{"validators", "", "List the validators and quorums.", NULL, WHERE, 0, 0,
	 verb_validators},
	{"peers", "", "List a node's links to its peers.", NULL, WHERE, 0, 0, verb_peers},
	{"evidence", "[--verify [FILE]]", "List the proofs of misbehaviour that a node holds.",
	 "With --verify each is checked here, from the genesis file alone; with FILE, what\n"
	 "`ostrakon evidence -o json` printed, offline. Exit code 5 if one proves nothing.",
	 WHERE | B(VERIFY), 0, 1, verb_evidence},
	{"modes", "", "List changes of mode and convictions, as the ledger records them.",
	 "Each is a transaction. With --verify its certificate, its place and the proof in it\n"
	 "are rechecked here, and that none is left out: the state has what all of them add\n"
	 "up to, and the node proves it. Exit code 5 if that does not hold.",
	 WHERE | B(VERIFY), 0, 0, verb_modes},
	{"member list", "", "Show whose key each validator's place has, and since which epoch.",
	 "With a genesis file every change of keys is verified here, from that file on.", WHERE,
	 0, 0, verb_member_list},
	{"member replace", "NODE",
	 "Give a validator's place a new key, in the name of governance.",
	 "For one that has lost its vote state (it observes), for one that is convicted, or "
	 "to\n"
	 "rotate a healthy key; n stays, and one place changes at a time. Signs with the keys\n"
	 "given; if they are not enough yet, --save FILE keeps what is signed so far for the\n"
	 "next one, who goes on with --from FILE. With enough of them it is sent, and this\n"
	 "waits until the validators have ended the epoch and the proof of that holds.\n"
	 "The node itself gets its key with `ostrakond rekey --home DIR --key FILE` while it is\n"
	 "stopped, before or after this, or with `ostrakond init --name NODE --key FILE` in a new\n"
	 "home. Not built: chains pinned to pbft, and chains that were recovered (`recovery\n"
	 "draft`); recovery across such a change.",
	 WHERE | PASSPHRASE | B(NEW_KEY) | B(GOVERNANCE_KEY) | B(DRY_RUN) | B(FROM) | B(SAVE), 1,
	 1, verb_member_replace},
	{"config show", "[NODE]", "Show the nodes' configuration, as they would read it.", NULL,
	 B(HOME) | B(ORIGIN), 0, 1, verb_config_show},
	{"watch", "blocks|txs|consensus|evidence", "Print what happens, as it happens.",
	 "Several may be given with commas between. A lost connection is taken up again where\n"
	 "it was, with another node if need be; what could not be had is shown as a gap.\n"
	 "Gives up when no node sends anything for --timeout. Ends after --count events.",
	 WHERE | B(FROM) | B(COUNT), 1, 1, verb_watch},
	{"monitor", "", "Show the network live: nodes, leader, mode, rates, who is behind.",
	 "Repaints the terminal until Ctrl-C. Where the output is no terminal, and with "
	 "--once\n"
	 "or -o json, there is one look (--count looks). Exit code 3 if no node answers.",
	 WHERE | B(ONCE) | B(INTERVAL) | B(COUNT) | B(SAVE) | B(ANSWERS), 0, 0, verb_monitor},
	{"doctor", "", "Say why there is no progress, or what else is wrong, and what to do.",
	 "Asks all nodes of the network and merges their answers. Exit code 1 if it finds\n"
	 "anything. With --node only that one is asked.",
	 WHERE | B(SAVE) | B(ANSWERS), 0, 0, verb_doctor},
	{"bench run", "",
	 "Measure throughput and latency: a closed loop, or an open one (--rate).",
	 "Signs ahead; a transaction counts when its commitment has been verified (each\n"
	 "block's certificate once). With --rate, latency counts from the time at which a\n"
	 "transaction was due. What is under way at the end is waited for at most 5 s (or\n"
	 "--timeout). At last the blocks are read again: exit code 5 if anything acknowledged\n"
	 "is not there, 4 if no node gave the blocks of some of it. --save appends to FILE a\n"
	 "line for each transaction: its id, its fate, and the height or the reason.",
	 WHERE | PASSPHRASE | B(KEY) | B(CLIENTS) | B(SECONDS) | B(COUNT) | B(VALUE_SIZE) | B(KEYS) |
		 B(BATCH) | B(RATE) | B(WARMUP) | B(SAVE) | B(CONNECTIONS) | B(LEADER),
	 0, 0, verb_bench_run},
	{"backup create", "DEST", "Back up a node's chain into a new directory DEST.",
	 "The node's data is read on this machine, whether it runs or not: --home is its "
	 "home,\n"
	 "or a network directory (--node NAME says which). Keys and vote state are left out.\n"
	 "DEST is made whole or not at all.",
	 ASKING, 1, 1, verb_backup_create},
	{"backup list", "[DIR]", "List the backups in a directory.",
	 "By what they say of themselves: `backup verify` checks it.", 0, 0, 1,
	 verb_backup_list},
	{"backup verify", "DEST", "Check a backup offline, from genesis to its end.",
	 "Every block's hash, link and signature, every certificate against the validators of\n"
	 "its time, from the genesis file on, with what proves each change of their keys\n"
	 "(`member replace`); every state root by executing all transactions. Exit code 5 if\n"
	 "it is damaged or altered, or not of --genesis. A large state is kept under TMPDIR\n"
	 "meanwhile.",
	 B(GENESIS), 1, 1, verb_backup_verify},
	{"backup restore", "DEST HOME", "Verify a backup, and make a new home HOME of it.",
	 "Without keys and vote state: no validator ever votes from it, for it would not know\n"
	 "what it has signed since. HOME is made whole or not at all.",
	 B(GENESIS), 2, 2, verb_backup_restore},
	{"db check", "", "Read all of a node's data and say what is damaged.",
	 "Every block, certificate, index entry, value and tree node, of a stopped node or of "
	 "a\n"
	 "running one through a snapshot; changes nothing. Exit code 5 if anything is damaged.",
	 ASKING, 0, 0, verb_db_check},
	{"db inspect", "", "Say what a node's data holds: heights, root, vote state.",
	 "One look at its first records; `db check` reads all.", ASKING, 0, 0, verb_db_inspect},
	{"db repair", "", "Make the damaged data of a stopped node whole again.",
	 "Builds it anew beside the old: blocks that are damaged or missing come from the "
	 "nodes\n"
	 "that run in the same network directory, and from --node URL, and so does a lost\n"
	 "record of a validator's new key; everything is checked and executed. The vote state\n"
	 "is carried over whole, or nothing is done. The damaged data stays beside the new as\n"
	 "data.damaged.N.",
	 ASKING, 0, 0, verb_db_repair},
	{"recovery draft", "BACKUP FILE KEY...",
	 "Begin a recovery: more validators are lost than the network tolerates.",
	 "Verifies BACKUP, which must be the longest that anybody has, and writes to FILE "
	 "what\n"
	 "is to be signed: that the chain goes on from its end with new keys for all\n"
	 "validators. One KEY for each of them, in the genesis file's order: a key file, or "
	 "64\n"
	 "hex digits; none that a validator has had before. Not built: chains with a "
	 "validator\n"
	 "whose key was replaced (`member replace`).",
	 B(HOME) | B(GENESIS), 3, ARGS_MAX, verb_recovery_draft},
	{"recovery sign", "FILE", "Sign a recovery with one of the recovery keys.",
	 "The genesis file names them, and how many must sign. Before signing, find out "
	 "whether\n"
	 "anybody has a longer backup: what is above its end is cut off.",
	 B(HOME) | B(GENESIS) | B(KEY) | PASSPHRASE, 1, 1, verb_recovery_sign},
	{"recovery show", "FILE", "Say what a recovery keeps, and who has signed it.",
	 "Exit code 5 if it is false; 1 while signatures are missing.", B(HOME) | B(GENESIS), 1,
	 1, verb_recovery_show},
	{"recovery genesis", "FILE", "Print the genesis file with the recovery in it.",
	 "The chain id is the same. With it, nodes and clients take the new validators for "
	 "the\n"
	 "chain's; without it, whatever is above the kept block is refused.",
	 B(HOME) | B(GENESIS), 1, 1, verb_recovery_genesis},
	{"recovery start", "BACKUP FILE HOME",
	 "Make the home of a validator of the recovered chain.",
	 "Restores BACKUP, the one that was drafted from, into HOME, with --key as\n"
	 "validator.key and a first vote state. Only ever one home of a key: made twice, the\n"
	 "key would vote twice and be convicted. The addresses of the others are to be put "
	 "into\n"
	 "HOME/ostrakond.conf.",
	 B(HOME) | B(GENESIS) | B(KEY), 3, 3, verb_recovery_start},
	{"completion", "bash|zsh|fish", "Print a completion script for a shell.",
	 "In ~/.bashrc: source <(ostrakon completion bash)", 0, 1, 1, verb_completion},
	{"version", "", "Print the version.", NULL, 0, 0, 0, verb_version},
};
const size_t verb_count = MEM_COUNT(verbs);
