/* ostrakond: the node. */
#include <config.h>
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/api.h"
#include "node/gate.h"
#include "node/home.h"
#include "node/notify.h"

#ifdef OSTRAKON_FORGED
int forge_prepare(struct node *n, struct errmsg *m); /* tools/lab/forged.c */
#endif

enum exit_code { /* docs: what users type */
		 EXIT_OK = 0,
		 EXIT_REFUSED = 1,
		 EXIT_USAGE = 2,
		 EXIT_LOCKED = 7,
		 EXIT_SYNC = 74, /* sysexits.h: EX_IOERR */
		 EXIT_CONFIG = 78,
		 EXIT_INTERRUPTED = 130,
};

#define PEERS_ON_COMMAND_LINE_MAX VALIDATORS_MAX
#define PASSPHRASE_MAX		  1024
#define LARGE_BUFFER_BYTES	  (256 << 10)
#define ARENAS_MAX		  2
#define DISK_AGAIN_MS		  1000

struct options {
	const char *home, *log_file, *log, *api_listen, *peers_listen, *passphrase_file;
	const char *genesis, *key, *name;
	const char *peers[PEERS_ON_COMMAND_LINE_MAX];
	unsigned peer_count;
	const char *output;
	bool help, show;
};

static const char usage[] =
	"ostrakond: a node of an Ostrakon network\n"
	"\n"
	"  ostrakond run --home DIR          run the node until SIGTERM or SIGINT\n"
	"  ostrakond init --home DIR --genesis FILE --key FILE\n"
	"            [--peers-listen HOST:PORT] [--peer NAME=HOST:PORT]... [--api-listen "
	"HOST:PORT]\n"
	"                                    make a home directory (`ostrakon net init` makes "
	"a\n"
	"                                    whole network); with --name NODE and a key that "
	"was\n"
	"                                    made for it: of a validator whose key is to be "
	"replaced\n"
	"                                    (`ostrakon member replace`)\n"
	"  ostrakond rekey --home DIR --key FILE\n"
	"                                    give a stopped node's home, with its data, a key "
	"that\n"
	"                                    was made for it: it votes again once governance "
	"has\n"
	"                                    put that key in its place\n"
	"  ostrakond check-config --home DIR [--show [-o table|json]]\n"
	"                                    say whether `run` would accept the home "
	"directory; "
	"--show:\n"
	"                                    each key with its value and where that comes "
	"from\n"
	"  ostrakond version                 print the version\n"
	"\n"
	"options of run and check-config:\n"
	"  --home DIR              home directory; or OSTRAKON_HOME\n"
	"  --log LEVELS            such as info or info,consensus=debug; or OSTRAKON_LOG\n"
	"  --log-file FILE         append the log to FILE instead of stderr\n"
	"  --api-listen HOST:PORT  instead of [api] listen; or OSTRAKON_API_LISTEN\n"
	"  --peers-listen HOST:PORT  instead of [peers] listen; or OSTRAKON_PEERS_LISTEN\n"
	"  --passphrase-file FILE  first line opens an encrypted validator.key\n"
	"\n"
	"Flag over OSTRAKON_* environment over ostrakond.conf over default. SIGTERM and SIGINT "
	"stop the\n"
	"node, SIGHUP opens the log file anew. Under systemd it says when it is ready and "
	"feeds "
	"the\n"
	"watchdog (Type=notify).\n"
	"\n"
	"exit codes: 0 ended as asked; 1 failed; 2 usage; 7 the home directory or a port is "
	"in\n"
	"use; 74 a sync of the data directory failed; 78 bad configuration; 130 stopped by a\n"
	"second signal\n";

static int stop_fd = -1;
static volatile sig_atomic_t signals;

static void on_signal(int number)
{
	if (signals++ > 0)
		_exit(EXIT_INTERRUPTED);
	uint64_t one = 1;
	int saved = errno;
	ssize_t n = write(stop_fd, &one, sizeof one);
	(void)n;
	(void)number;
	errno = saved;
}

static void on_hangup(int number)
{
	uint64_t reopen = NODE_REOPEN;
	int saved = errno;
	ssize_t n = write(stop_fd, &reopen, sizeof reopen);
	(void)n;
	(void)number;
	errno = saved;
}

static void catch_signals(void)
{
	struct sigaction hangup = {.sa_handler = on_hangup, .sa_flags = SA_RESTART};
	sigaction(SIGHUP, &hangup, NULL);

	struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	sigaction(SIGTERM, &a, NULL);
	sigaction(SIGINT, &a, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static int exit_code_of(int err)
{
	switch (err) {
	case ERR_NONE:
		return EXIT_OK;
	case ERR_LOCKED:
		return EXIT_LOCKED;
	case ERR_CONFIG:
	case ERR_SYNTAX:
	case ERR_RANGE:
	case ERR_LIMIT:
	case ERR_NOT_FOUND:
	case ERR_PERMISSION:
	case ERR_PASSPHRASE:
	case ERR_WRONG_CHAIN:
	case ERR_VERSION:
		return EXIT_CONFIG;
	default:
		return EXIT_REFUSED;
	}
}

static int say(int err, const struct errmsg *m)
{
	if (err != ERR_NONE)
		fprintf(stderr, "ostrakond: %s\n", m->text[0] ? m->text : err_text(err));
	return exit_code_of(err);
}

static bool parse(struct options *o, int argc, char **argv)
{
	static const struct option known[] = {
		{"home", required_argument, NULL, 'h'},
		{"log", required_argument, NULL, 'l'},
		{"log-file", required_argument, NULL, 'f'},
		{"api-listen", required_argument, NULL, 'a'},
		{"peers-listen", required_argument, NULL, 'p'},
		{"passphrase-file", required_argument, NULL, 'w'},
		{"genesis", required_argument, NULL, 'g'},
		{"key", required_argument, NULL, 'k'},
		{"name", required_argument, NULL, 'n'},
		{"peer", required_argument, NULL, 'P'},
		{"show", no_argument, NULL, 's'},
		{"output", required_argument, NULL, 'o'},
		{"help", no_argument, NULL, 'H'},
		{NULL, 0, NULL, 0},
	};
	opterr = 1;
	int c, index;
	while ((c = getopt_long(argc, argv, "o:", known, &index)) != -1) {
		switch (c) {
		case 'h':
			o->home = optarg;
			break;
		case 'l':
			o->log = optarg;
			break;
		case 'f':
			o->log_file = optarg;
			break;
		case 'a':
			o->api_listen = optarg;
			break;
		case 'p':
			o->peers_listen = optarg;
			break;
		case 'w':
			o->passphrase_file = optarg;
			break;
		case 'g':
			o->genesis = optarg;
			break;
		case 'k':
			o->key = optarg;
			break;
		case 'n':
			o->name = optarg;
			break;
		case 'P':
			if (o->peer_count == PEERS_ON_COMMAND_LINE_MAX)
				return false;
			o->peers[o->peer_count++] = optarg;
			break;
		case 's':
			o->show = true;
			break;
		case 'o':
			if (strcmp(optarg, "json") != 0 && strcmp(optarg, "table") != 0)
				return false;
			o->output = optarg;
			break;
		case 'H':
			o->help = true;
			break;
		default:
			return false;
		}
	}
	if (!o->home)
		o->home = getenv("OSTRAKON_HOME");
	return optind == argc;
}

static int read_passphrase(char *out, const char *path, struct errmsg *m)
{
	FILE *f = fopen(path, "r");
	bool ok = f && fgets(out, PASSPHRASE_MAX, f);
	if (f)
		fclose(f);
	if (!ok)
		return err_set(m, ERR_CONFIG, "%s: no passphrase can be read", path);
	out[strcspn(out, "\r\n")] = 0;
	return ERR_NONE;
}

/* out: FILE to tell it on; NULL: the log. */
static void on_misspelt(void *out, const char *name, const char *near)
{
	char text[192];
	snprintf(text, sizeof text, "the environment variable %s sets nothing%s%s%s", name,
		 near ? ", did you mean " : "", near ? near : "", near ? "?" : "");
	if (out)
		fprintf(out, "ostrakond: %s\n", text);
	else
		log_write(LOG_NODE, LOG_WARN, "%s", text);
}

static int read_home(struct node *n, const struct options *o, struct errmsg *m)
{
	char passphrase[PASSPHRASE_MAX] = "";
	int err = ERR_NONE;
	if (o->passphrase_file)
		err = read_passphrase(passphrase, o->passphrase_file, m);
	if (err == ERR_NONE)
		err = home_read(n, o->home, o->passphrase_file ? passphrase : NULL, m);
	crypto_wipe(passphrase, sizeof passphrase);
	if (err == ERR_NONE)
		err = node_config_environment(&n->config, &n->genesis, m);
	const struct {
		enum config_key key;
		const char *flag, *value;
	} flags[] = {{KEY_LOG, "--log", o->log},
		     {KEY_API_LISTEN, "--api-listen", o->api_listen},
		     {KEY_PEERS_LISTEN, "--peers-listen", o->peers_listen}};
	for (size_t i = 0; i < MEM_COUNT(flags) && err == ERR_NONE; i++)
		if (flags[i].value)
			err = node_config_flag(&n->config, &n->genesis, flags[i].key,
					       flags[i].flag, flags[i].value, m);
	return err;
}

static const char *log_path; /* NULL: stderr */

static FILE *log_file_open(void)
{
	FILE *f = fopen(log_path, "ae");
	if (f)
		setvbuf(f, NULL, _IOLBF, 0);
	return f;
}

/* After the file has been moved away, by logrotate for instance. */
static void log_reopen(void)
{
	FILE *f = log_path ? log_file_open() : NULL;
	if (f)
		fclose(log_redirect(f));
	if (f || !log_path)
		log_write(LOG_NODE, LOG_INFO, "SIGHUP: the log goes on here");
	else
		log_write(LOG_NODE, LOG_ERROR, "SIGHUP: %s: %s; the log stays where it was",
			  log_path, strerror(errno));
}

static int open_log(const struct options *o, const struct node_config *c, struct errmsg *m)
{
	FILE *f = stderr;
	log_path = o->log_file;
	if (log_path && !(f = log_file_open()))
		return err_set(m, ERR_CONFIG, "%s: %s", o->log_file, strerror(errno));
	setvbuf(f, NULL, _IOLBF, 0);
	log_init(f,
		 strcmp(c->log_format, "json") == 0	? LOG_FORMAT_JSON
		 : strcmp(c->log_format, "logfmt") == 0 ? LOG_FORMAT_LOGFMT
							: LOG_FORMAT_TEXT,
		 LOG_INFO);
	return log_configure(c->log_level);
}

/* Connections, links and RocksDB's files want more than the usual 1024 descriptors. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		log_write(LOG_NODE, LOG_WARN, "the limit of open files stays low");
}

/* Everything up to node_close(). */
static int serve(struct node *n, struct home_lock *lock, enum node_end *end, struct errmsg *m)
{
	char url[300], id[HASH_HEX_SIZE];
	int err = node_open(n, m);
	*end = NODE_STOPPED;
	if (err == ERR_NONE)
		err = api_start(&n->api, n, url, m);
	if (err == ERR_NONE)
		err = home_write_url(lock, url, m);
	if (err == ERR_NONE) {
		n->config.api.port = (uint16_t)atoi(strrchr(url, ':') + 1);
		log_write(LOG_NODE, LOG_INFO,
			  "%s %s, chain %s, validator %u of %u, height %llu, API %s",
			  n->config.name, PACKAGE_VERSION,
			  hash_hex(id, &replica_ctx(n->replica)->id), n->self + 1, n->genesis.n,
			  (unsigned long long)n->final_height, url);
		const char *observes = replica_observes(n->replica);
		if (observes)
			node_log_observer(observes);
		notify_send("READY=1\nMAINPID=%ld\n", (long)getpid());
		*end = node_run(n);
		if (*end == NODE_STOPPED)
			notify_send("STOPPING=1\n");
		log_write(LOG_NODE, LOG_INFO, "stopping");
	} else {
		log_write(LOG_NODE, LOG_ERROR, "%s", m->text);
		if (n->api) { /* somebody may have asked already, and waits for the loop */
			n->end = NODE_STOPPED;
			node_run(n);
		}
	}
	inbox_close(n->inbox);
	node_leave(n);
	api_stop(n->api);
	node_close(n);
	if (err == ERR_NONE)
		log_write(LOG_NODE, LOG_INFO, "stopped");
	return err;
}

/* What is needed to open the node again without asking for anything but the data. */
struct again {
	struct node_config config;
	struct keypair key;
	unsigned self;
	struct engine *(*wrap)(void *ctx, struct engine *e);
	void *wrap_ctx;
};

static int reopen(struct node *n, const struct again *a, const char *home, struct errmsg *m)
{
	char path[CONFIG_PATH_MAX + 32];
	n->config = a->config;
	n->key = a->key;
	n->self = a->self;
	n->wrap = a->wrap;
	n->wrap_ctx = a->wrap_ctx;
	n->stop_fd = stop_fd;
	n->reopen_log = log_reopen;
	snprintf(path, sizeof path, "%s/genesis.json", home);
	return genesis_read(&n->genesis, path, m);
}

/* True: it was asked to stop. */
static bool wait_for_disk(void)
{
	struct pollfd p = {.fd = stop_fd, .events = POLLIN};
	uint64_t what = 0;
	if (poll(&p, 1, DISK_AGAIN_MS) <= 0 || read(stop_fd, &what, sizeof what) != sizeof what)
		return false;
	return what % NODE_REOPEN != 0;
}

static int serve_again(const struct again *a, const struct options *o, struct home_lock *lock,
		       enum node_end *end, struct errmsg *m)
{
	int err = ERR_NONE;
	while (*end == NODE_HAS_ROOM) {
		struct node *n = mem_zalloc(sizeof *n);
		err = reopen(n, a, o->home, m);
		if (err == ERR_NONE)
			err = serve(n, lock, end, m);
		else
			*end = NODE_STOPPED;
		mem_free(n);
		if (err == ERR_IO && !wait_for_disk())
			*end = NODE_HAS_ROOM; /* it was full again so soon */
	}
	return err;
}

static int command_run(const struct options *o)
{
	struct errmsg m = {.text = ""};
	struct home_lock lock = {.fd = -1};
	struct node *n = mem_zalloc(sizeof *n);
	struct again *again = mem_zalloc(sizeof *again);
	enum node_end end = NODE_STOPPED;
	int err = read_home(n, o, &m);
	if (err == ERR_NONE)
		err = open_log(o, &n->config, &m);
	if (err == ERR_NONE)
		node_config_misspelt(on_misspelt, NULL);
	if (err == ERR_NONE)
		err = home_lock(&lock, o->home, &m);
	if (err == ERR_NONE) {
		raise_descriptor_limit();
		n->stop_fd = stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		invariant(stop_fd >= 0);
		n->reopen_log = log_reopen;
		notify_init();
		catch_signals();
#ifdef OSTRAKON_FORGED
		err = forge_prepare(n, &m);
#endif
		again->key = n->key;
		again->self = n->self;
		again->wrap = n->wrap;
		again->wrap_ctx = n->wrap_ctx;
		if (err == ERR_NONE)
			err = serve(n, &lock, &end, &m);
		again->config = n->config; /* with the port that it has got */
	} else {
		crypto_wipe(&n->key, sizeof n->key);
		genesis_free(&n->genesis);
	}
	mem_free(n);
	if (end == NODE_HAS_ROOM)
		err = serve_again(again, o, &lock, &end, &m);
	crypto_wipe(&again->key, sizeof again->key);
	mem_free(again);
	home_unlock(&lock);
	return end == NODE_SYNC_FAILED ? EXIT_SYNC : say(err, &m);
}

static void show_config(const struct node *n, bool as_json)
{
	struct json *a = node_config_json(&n->config, &n->genesis);
	if (as_json) {
		char *text = json_dump(a, true);
		printf("%s\n", text);
		mem_free(text);
	}
	for (size_t i = 0; !as_json && i < json_len(a); i++) {
		const struct json *o = json_at(a, i);
		const char *key = "", *value = "", *origin = "", *source = "";
		char number[24];
		uint64_t v;
		json_read_string(o, "key", &key);
		json_read_string(o, "origin", &origin);
		json_read_string(o, "source", &source);
		if (json_read_string(o, "value", &value) == ERR_SYNTAX &&
		    json_read_u64(o, "value", &v) == ERR_NONE) {
			snprintf(number, sizeof number, "%llu", (unsigned long long)v);
			value = number;
		}
		printf("%-24s %-32s %s%s%s\n", key, value[0] ? value : "-", origin,
		       source[0] ? " " : "", source);
	}
	json_free(a);
}

static int command_check(const struct options *o)
{
	struct errmsg m = {.text = ""};
	struct node *n = mem_zalloc(sizeof *n);
	struct gate gate = {0};
	int err = read_home(n, o, &m);
	if (err == ERR_NONE)
		err = gate_open(&gate, &n->config, &m);
	crypto_wipe(&gate, sizeof gate);
	if (err == ERR_NONE)
		node_config_misspelt(on_misspelt, stderr);
	if (err == ERR_NONE && o->show)
		show_config(n, o->output && strcmp(o->output, "json") == 0);
	else if (err == ERR_NONE)
		printf("%s: %s, validator %u of %u, peers on %s:%u, API on %s:%u\n", o->home,
		       n->config.name, n->self + 1, n->genesis.n, n->config.listen.host,
		       n->config.listen.port, n->config.api.host, n->config.api.port);
	if (err == ERR_NONE && !o->show &&
	    !pubkey_equal(genesis_validator_key(&n->genesis, n->self), &n->key.pub))
		printf("%s: its key is not the one that %s has in genesis.json. It votes once "
		       "governance has put it there (`ostrakon member replace`); if that is "
		       "not what you are about, the genesis file is of another chain\n",
		       o->home, n->config.name);
	crypto_wipe(&n->key, sizeof n->key);
	genesis_free(&n->genesis);
	mem_free(n);
	return say(err, &m);
}

static int command_init(const struct options *o)
{
	struct errmsg m = {.text = ""};
	struct home_init init = {.home = o->home,
				 .genesis = o->genesis,
				 .key = o->key,
				 .name = o->name,
				 .peers_listen = o->peers_listen,
				 .api_listen = o->api_listen,
				 .peer_count = o->peer_count,
				 .peers = o->peers};
	return say(home_init(&init, &m), &m);
}

static int command_rekey(const struct options *o)
{
	struct errmsg m = {.text = ""};
	int err = home_rekey(o->home, o->key, &m);
	if (err == ERR_NONE)
		printf("%s has the new key; the old one stays beside it (validator.key.old). "
		       "It "
		       "votes once `ostrakon member replace` has put the new key in its "
		       "place.\n",
		       o->home);
	return say(err, &m);
}

static int wrong_usage(const char *why)
{
	fprintf(stderr, "ostrakond: %s\nTry `ostrakond --help`.\n", why);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct options o = {0};
	const char *command = argc > 1 ? argv[1] : "";
	if (strcmp(command, "--help") == 0 || strcmp(command, "help") == 0) {
		fputs(usage, stdout);
		return EXIT_OK;
	}
	if (strcmp(command, "--version") == 0 || strcmp(command, "version") == 0) {
		printf("ostrakond %s\n", PACKAGE_VERSION);
		return EXIT_OK;
	}
	bool run = strcmp(command, "run") == 0, check = strcmp(command, "check-config") == 0;
	bool init = strcmp(command, "init") == 0, rekey = strcmp(command, "rekey") == 0;
	if (!run && !check && !init && !rekey)
		return wrong_usage(*command ? "no such command" : "a command is needed");
	if (!parse(&o, argc - 1, argv + 1))
		return wrong_usage("wrong options");
	if (o.help) {
		fputs(usage, stdout);
		return EXIT_OK;
	}
	if (!o.home)
		return wrong_usage("--home DIR (or OSTRAKON_HOME) is needed");
	if (init && (!o.genesis || !o.key))
		return wrong_usage("init needs --genesis FILE and --key FILE");
	if (rekey && !o.key)
		return wrong_usage("rekey needs --key FILE");
	/* Large buffers go back to the system when they are freed, whatever came before. */
	mallopt(M_MMAP_THRESHOLD, LARGE_BUFFER_BYTES);
	mallopt(M_TRIM_THRESHOLD, LARGE_BUFFER_BYTES);
	mallopt(M_ARENA_MAX, ARENAS_MAX);
	crypto_init();
	return run     ? command_run(&o)
	       : check ? command_check(&o)
	       : init  ? command_init(&o)
		       : command_rekey(&o);
}
