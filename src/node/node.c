/* Opening and closing of a node, and what its replica sees of the world. */
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "base/mem.h"
#include "node/checker.h"
#include "node/debug.h"
#include "node/node.h"
#include "node/snapshots.h"
#include "node/upkeep.h"

_Static_assert(CONFIG_HISTORY_MIN == LEDGER_HISTORY_MIN &&
		       CONFIG_BLOCKS_MIN == REPLICA_BLOCKS_MIN,
	       "what may be configured is what the replica takes");

uint64_t node_clock_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t node_wall_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	uint64_t ms = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
	return ms + (uint64_t)debug_clock_ms();
}

const char *node_validator_name(const struct node *n, unsigned validator)
{
	return validator < n->genesis.n ? n->genesis.validator[validator].name : "nobody";
}

/* What a failed write or sync means. Returns what to say, or NULL: nothing is known of it. */
static const char *disk_failed(struct node *n)
{
	const char *what = "a write failed", *why = NULL;
	switch (n->store ? store_failure(n->store) : STORE_WORKS) {
	case STORE_WORKS:
		return NULL;
	case STORE_FAILS:
		break;
	case STORE_NO_ROOM:
		what = "a write failed: no room";
		why = "the disk is full: this node votes no more until its data directory has "
		      "room, and then goes on by itself";
		n->awaits_disk = true;
		break;
	case STORE_PROTECTED:
		what = "a write failed: read-only file system";
		why = "the file system of the data directory is read-only: this node votes no "
		      "more until it can be written to, and then goes on by itself. The "
		      "kernel's log may say why; an error of the disk makes it so";
		n->awaits_disk = true;
		break;
	case STORE_SYNC_FAILED:
		what = "a sync failed";
		why = "a sync of the data directory failed: what was written last may be lost "
		      "though it reads back, so this process ends; it has signed nothing that "
		      "rests on it. Look at the kernel's log and the disk; then start this "
		      "node "
		      "again, it goes on from what is on the disk";
		n->end = NODE_SYNC_FAILED;
		break;
	}
	if (!n->disk.error[0])
		snprintf(n->disk.error, sizeof n->disk.error, "%s", what);
	return why;
}

void node_halt(struct node *n, const char *why)
{
	if (n->halted)
		return;
	n->halted = true;
	/* A store whose write has failed refuses all later ones. */
	if (n->store)
		(void)store_sync(n->store);
	const char *disk = disk_failed(n);
	snprintf(n->halted_why, sizeof n->halted_why, "%s", disk ? disk : why);
	log_write(LOG_NODE, LOG_ERROR, "halted: %s%s", n->halted_why,
		  n->end == NODE_SYNC_FAILED ? "" : "; reads are still answered");
}

static void host_send(void *ctx, const struct message *m)
{
	struct node *n = ctx;
	unsigned type = m->type < METRICS_TYPES ? m->type : METRICS_TYPES - 1;
	for (uint64_t to = m->to; to; to &= to - 1) {
		unsigned v = (unsigned)__builtin_ctzll(to);
		invariant(v < n->genesis.n && v != n->self);
		int err = net_send(n->net, (unsigned)n->peer_of[v], (enum net_class)m->class,
				   m->bytes);
		if (err != ERR_NONE) {
			metric_add(&n->metrics.send_failed[m->class], 1);
			log_limited(LOG_NET, LOG_DEBUG, "message to %s dropped: %s",
				    node_validator_name(n, v), err_text(err));
			continue;
		}
		metric_add(&n->metrics.sent[m->class][type], 1);
		metric_add(&n->metrics.sent_bytes[m->class], m->bytes.len);
		metric_add(&n->metrics.sent_type_bytes[type], m->bytes.len);
	}
}

/* One sync at the end of the turn serves all that was written in it. */
static bool host_sync(void *ctx, uint64_t seq)
{
	struct node *n = ctx;
	invariant(seq > n->sync_wanted);
	n->sync_wanted = seq;
	return false;
}

static void log_final(const struct block *b, const struct cert *cert)
{
	char height[24], term[24], txs[16], hash[HASH_HEX_SIZE];
	if (!log_enabled(LOG_CONSENSUS, LOG_DEBUG))
		return;
	snprintf(height, sizeof height, "%llu", (unsigned long long)b->sh.h.height);
	snprintf(term, sizeof term, "%llu", (unsigned long long)b->sh.h.term);
	snprintf(txs, sizeof txs, "%u", b->tx_count);
	const struct log_field fields[] = {{"height", height, true},
					   {"term", term, true},
					   {"mode", mode_name(b->sh.h.mode), false},
					   {"txs", txs, true},
					   {"grade", cert_kind_name(cert->kind), false},
					   {"hash", hash_hex(hash, &b->hash), false}};
	log_fields(LOG_CONSENSUS, LOG_DEBUG, "a block is final", fields, MEM_COUNT(fields));
}

bool node_await_told(struct node *n)
{
	struct timespec until;
	int err = 0;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += NODE_TOLD_WAIT_MS / 1000;
	pthread_mutex_lock(&n->told_lock);
	uint64_t told = n->told_height;
	while (n->final_height < told && !n->told_over && err == 0)
		err = pthread_cond_timedwait(&n->told_is_written, &n->told_lock, &until);
	bool written = n->final_height >= told || n->told_over;
	pthread_mutex_unlock(&n->told_lock);
	return written;
}

static void tell(struct node *n, uint64_t height)
{
	pthread_mutex_lock(&n->told_lock);
	n->told_height = height;
	pthread_mutex_unlock(&n->told_lock);
}

void node_wake_told(struct node *n, bool over)
{
	pthread_mutex_lock(&n->told_lock);
	n->told_over |= over;
	pthread_cond_broadcast(&n->told_is_written);
	pthread_mutex_unlock(&n->told_lock);
}

/* Clients, and peers whose certificate waits for the end of the turn, need not wait until the
 * state is written, too. What a client reads next waits for the loop, which has written it, or
 * for node_await_told(). */
static void host_certified(void *ctx, struct block *b, const struct cert *cert)
{
	struct node *n = ctx;
	tell(n, b->sh.h.height);
	submit_final(n, b, cert, node_clock_us());
	if (n->net)
		net_flush(n->net);
}

static void host_final(void *ctx, struct block *b, const struct cert *cert)
{
	struct node *n = ctx;
	n->final_height = b->sh.h.height;
	n->final_time_ms = b->sh.h.time_ms;
	n->final_since = node_clock_us();
	node_wake_told(n, false);
	log_final(b, cert);
	struct block_view view = {.block = b,
				  .certified = true,
				  .grade = cert->kind,
				  .signers = cert->signers,
				  .certified_height = cert->ref.height};
	events_block(n->events, &view);
}

/* Whose key was replaced still hears of the end, and where to get it. */
#define LINKS_LINGER_US 2000000

void node_log_observer(const char *why)
{
	log_write(
		LOG_NODE, LOG_ERROR,
		"OBSERVER, NOT VOTING: %s. It signs nothing and counts as one of the faults "
		"that the network tolerates. If the data directory that it last ran with still "
		"exists, stop the node and put that very one back, no older copy; else have "
		"its key replaced (`ostrakond rekey`, `ostrakon member replace`)",
		why);
}

void node_set_links(struct node *n)
{
	const struct chain_ctx *c = replica_ctx(n->replica);
	n->links_due = 0;
	/* First nobody's: after several epochs a key may be that of another place. */
	for (unsigned pass = 0; pass < 2 && n->net; pass++)
		for (unsigned v = 0; v < n->genesis.n; v++) {
			struct pubkey key = {.b = {(uint8_t)v}};
			if (v == n->self || pubkey_equal(&c->vals.key[v], &n->link_key[v]))
				continue;
			if (pass > 0)
				n->link_key[v] = key = c->vals.key[v];
			if (net_set_key(n->net, (unsigned)n->peer_of[v], &key))
				log_write(LOG_NET, LOG_ERROR,
					  "%s has the key of another validator",
					  node_validator_name(n, v));
		}
}

/* An epoch begins: links are between those who are validators now. */
static void host_epoch(void *ctx)
{
	struct node *n = ctx;
	const struct chain_ctx *c = replica_ctx(n->replica);
	if (!n->links_due)
		n->links_due = node_clock_us() + LINKS_LINGER_US;
	log_write(LOG_CONSENSUS, LOG_INFO,
		  "epoch %llu begins after height %llu: a validator has a new key%s%s",
		  (unsigned long long)c->epoch, (unsigned long long)c->start_height,
		  replica_observes(n->replica) ? "; this node signs nothing: " : "",
		  replica_observes(n->replica) ? replica_observes(n->replica) : "");
}

static void host_outdated(void *ctx, const char *why)
{
	(void)ctx;
	node_log_observer(why);
}

static void host_evidence(void *ctx, struct slice bytes)
{
	struct node *n = ctx;
	struct json *o = render_evidence(&n->render, bytes, false);
	if (o)
		events_json(n->events, EVENT_EVIDENCE, o);
}

static void host_rejected(void *ctx, const struct hash *id, int err)
{
	submit_rejected(ctx, id, err);
}

static void host_halted(void *ctx, const char *why)
{
	node_halt(ctx, why);
	node_wake_told(ctx, true);
}

static bool host_check(void *ctx, struct block *b, const struct pool_tx *txs, uint32_t count)
{
	struct node *n = ctx;
	return count > CHECKER_INLINE && checker_block(n->checker, b, txs, count);
}

static uint64_t host_wall_ms(void *ctx)
{
	(void)ctx;
	return node_wall_ms();
}

static int open_net(struct node *n, struct errmsg *m)
{
	struct net_peer_config peers[NET_PEERS_MAX];
	for (unsigned v = 0; v < n->genesis.n; v++) /* of the epoch that this node is in */
		n->link_key[v] = replica_ctx(n->replica)->vals.key[v];
	for (unsigned v = 0; v < n->genesis.n; v++) {
		n->peer_of[v] = -1;
		if (v == n->self)
			continue;
		n->validator_of[n->peer_count] = v;
		n->peer_of[v] = (int)n->peer_count;
		peers[n->peer_count++] = (struct net_peer_config){
			.key = n->link_key[v],
			.host = n->config.peer[v].host,
			.port = n->config.peer[v].port,
			.dial = n->self < v,
		};
	}
	if (n->peer_count == 0)
		return ERR_NONE; /* alone: no port that nobody will use */
	struct chain_ctx ctx;
	genesis_ctx(&ctx, &n->genesis);
	struct net_config config = {
		.identity = &n->key,
		.chain = ctx.id,
		.listen_host = n->config.listen.host,
		.listen_port = n->config.listen.port,
		.peer_count = n->peer_count,
		.peers = peers,
	};
	int err = net_open(&n->net, &config, m);
	if (err != ERR_EXISTS)
		return err;
	struct errmsg why = *m;
	return err_set(m, ERR_LOCKED, "%s; end the other program or change [peers] listen",
		       why.text);
}

static int open_replica(struct node *n, struct errmsg *m)
{
	uint64_t seed;
	crypto_random(&seed, sizeof seed);
	struct replica_config config = {
		.genesis = &n->genesis,
		.store = n->store,
		.self = n->self,
		.key = n->key,
		.timing = {.heartbeat = 1000ull * n->config.heartbeat_ms,
			   .timeout_min = 1000ull * config_timeout_min_ms(&n->config),
			   .timeout_max = 1000ull * config_timeout_max_ms(&n->config),
			   .timeout_cap = 1000ull * n->config.timeout_cap_ms},
		.pipeline = n->config.pipeline ? n->config.pipeline : CONFIG_PIPELINE,
		.history = n->config.history,
		.blocks = n->config.blocks,
		.sync_gap = n->config.sync_gap,
		.tree_cache = config_tree_cache(&n->config),
		.seed = seed,
		.now = node_clock_us(),
		.shares_checks = true,
		.verify_txs = true,
		.host = {.ctx = n,
			 .send = host_send,
			 .sync = host_sync,
			 .certified = host_certified,
			 .final = host_final,
			 .rejected = host_rejected,
			 .halted = host_halted,
			 .check = host_check,
			 .evidence = host_evidence,
			 .epoch = host_epoch,
			 .outdated = host_outdated,
			 .wall_ms = host_wall_ms,
			 .sync_note = state_sync_note,
			 .reopened = state_sync_reopened,
			 .mend_note = mend_note},
		.asks_own_votes = n->wrap == NULL, /* a liar does not want to know */
		.lie = n->lie,
		.wrap = n->wrap,
		.wrap_ctx = n->wrap_ctx,
	};
	int err = replica_open(&n->replica, &config, m);
	crypto_wipe(&config.key, sizeof config.key);
	return err;
}

static void read_final(struct node *n)
{
	n->final_height = ledger_height(replica_ledger(n->replica));
	n->final_time_ms = n->genesis.time_ms;
	uint32_t tx_count = 0;
	struct block *b;
	if (replica_block(n->replica, n->final_height, &b) == ERR_NONE) {
		n->final_time_ms = b->sh.h.time_ms;
		tx_count = b->tx_count;
		block_drop(b);
	}
	events_begin(n->events, n->final_height, tx_count);
}

int node_open(struct node *n, struct errmsg *m)
{
	char path[CONFIG_PATH_MAX + 32];
	pthread_condattr_t attr;
	uint64_t seed;
	crypto_random(&seed, sizeof seed);
	map_init(&n->waiters, seed);
	TAILQ_INIT(&n->waiting);
	TAILQ_INIT(&n->submissions);
	TAILQ_INIT(&n->sought);
	TAILQ_INIT(&n->reads);
	pthread_mutex_init(&n->snapshot_lock, NULL);
	pthread_mutex_init(&n->told_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&n->told_is_written, &attr);
	pthread_condattr_destroy(&attr);
	n->started = n->final_since = node_clock_us();
	n->inbox = inbox_new();
	n->events = events_new(n->config.event_streams);
	genesis_ctx(&n->ctx, &n->genesis);
	n->render = (struct render){.genesis = &n->genesis, .ctx = &n->ctx, .self = n->self};
	disk_init(&n->disk, &n->config);
	debug_watch(&n->config);
	snprintf(path, sizeof path, "%s/data", n->config.home);
	struct store_options options = {
		.create = true, .cache_size = config_store_cache(&n->config), .turn = n->self};
	int err = store_open_rocksdb(&n->store, path, &options, m);
	if (err != ERR_NONE)
		return err;
	snapshots_forget(n);
	n->syncer = syncer_start(n->store, &n->metrics.sync);
	n->forwarded = mem_array(FORWARDED_MAX, sizeof *n->forwarded);
	n->checker = checker_start(config_verify_threads(&n->config), &n->ctx, &n->genesis.limits);
	err = open_replica(n, m); /* it knows whose keys links may have */
	if (err != ERR_NONE)
		return err;
	err = open_net(n, m);
	if (err != ERR_NONE)
		return err;
	read_final(n);
	n->upkeep = upkeep_start(n);
	node_take_snapshot(n, node_clock_us());
	return ERR_NONE;
}

void node_leave(struct node *n)
{
	if (n->net)
		net_close(n->net);
	n->net = NULL;
}

void node_close(struct node *n)
{
	node_leave(n);
	upkeep_stop(n->upkeep);
	checker_stop(n->checker);
	mem_free(n->forwarded);
	syncer_stop(n->syncer); /* before the store that it uses */
	if (n->replica)
		replica_close(n->replica);
	committed_free(&n->committed);
	for (uint32_t i = 0; i < n->batch_count; i++)
		block_drop(n->batch[i]);
	n->batch_count = 0;
	if (n->store) {
		int err = n->disk.error[0] ? ERR_NONE : store_sync(n->store); /* it was said */
		if (err != ERR_NONE)
			log_write(LOG_NODE, LOG_ERROR, "last sync failed: %s", err_text(err));
		store_close(n->store);
	}
	inbox_free(n->inbox);
	events_free(n->events);
	map_free(&n->waiters);
	pthread_mutex_destroy(&n->snapshot_lock);
	pthread_mutex_destroy(&n->told_lock);
	pthread_cond_destroy(&n->told_is_written);
	genesis_free(&n->genesis);
	crypto_wipe(&n->key, sizeof n->key);
}
