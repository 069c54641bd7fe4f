/* Bits flipped in the database of a stopped node: each is found by the check, or makes no
 * difference at all: every record of every family reads back identical, by iterating and by its
 * key. Each trial has a process of its own. Prints what became of them; exit code 1 if one was
 * neither, or if the library ended the process.
 *
 *	flips HOME COUNT [SEED]     random bits: in turn each byte of all as likely, and each
 *file flips HOME all FILE         each bit of that file of HOME/data
 *
 * HOME/genesis.json and HOME/data are only read. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "replica/audit.h"
#include "replica/files.h"

#define FILES_MAX      4096
#define FILE_BYTES_MAX (256u << 20)

enum verdict { REFUSED, FOUND, SAME, DIFFERENT, ENDED };

static struct genesis genesis;
static char work[4096], data[5000];
static struct {
	char name[64];
	uint64_t size;
} file[FILES_MAX];
static unsigned files;

static void on_found(void *arg, const struct finding *f)
{
	(void)arg;
	(void)f;
}

static bool on_step(void *arg, uint64_t height, uint64_t height_max, uint64_t bytes,
		    uint64_t bytes_max)
{
	(void)arg;
	(void)height;
	(void)height_max;
	(void)bytes;
	(void)bytes_max;
	return true;
}

/* Over all records; false if one cannot be read, or reads otherwise by its key. */
static bool digest(struct store *s, struct hash *out)
{
	struct writer sums = {0}, one = {0}, value_at = {0};
	const struct slice none = {0};
	bool good = true;
	for (int f = 0; f < STORE_FAMILIES && good; f++) {
		struct slice key, value;
		struct hash h;
		struct store_iter *it = store_iter_new(s, f, none, none, false);
		while (good && store_iter_next(it, &key, &value)) {
			writer_reset(&one);
			writer_u8(&one, (uint8_t)f);
			writer_var(&one, key);
			writer_var(&one, value);
			sha256(&h, one.buf, one.len);
			writer_hash(&sums, &h);
			writer_reset(&value_at);
			good = store_get(s, f, key, &value_at) == ERR_NONE &&
			       slice_equal(writer_slice(&value_at), value);
		}
		good = good && store_iter_error(it) == ERR_NONE;
		store_iter_free(it);
	}
	sha256(out, sums.buf, sums.len);
	writer_free(&sums);
	writer_free(&one);
	writer_free(&value_at);
	return good;
}

static enum verdict look(const struct hash *sound, struct hash *now)
{
	struct store_options options = {.read_only = true};
	const struct audit_options o = {
		.genesis = &genesis, .found = on_found, .step = on_step};
	struct audit_result r;
	struct errmsg m = {.text = ""};
	struct store *s;
	if (store_open_rocksdb(&s, data, &options, &m) != ERR_NONE)
		return REFUSED;
	if (replica_audit(s, &o, &r, &m) != ERR_NONE || r.findings > 0) {
		store_close(s);
		return FOUND;
	}
	bool same = digest(s, now) && (!sound || hash_equal(now, sound));
	store_close(s);
	return same ? SAME : DIFFERENT;
}

static void need(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(2);
}

static void flip(const char *name, uint64_t at, unsigned bit)
{
	char path[5200];
	uint8_t b;
	snprintf(path, sizeof path, "%s/%s", data, name);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	need(fd >= 0 && pread(fd, &b, 1, (off_t)at) == 1, path);
	b ^= (uint8_t)(1u << bit);
	need(pwrite(fd, &b, 1, (off_t)at) == 1 && close(fd) == 0, path);
}

static unsigned counts[ENDED + 1];

static bool try_one(const struct hash *sound, const char *name, uint64_t at, unsigned bit)
{
	int status;
	flip(name, at, bit);
	pid_t pid = fork();
	need(pid >= 0, "fork");
	if (pid == 0) {
		struct hash now;
		int null = open("/dev/null", O_WRONLY);
		dup2(null, 2); /* what an assertion says */
		_exit((int)look(sound, &now));
	}
	need(waitpid(pid, &status, 0) == pid, "waitpid");
	flip(name, at, bit);
	enum verdict v =
		WIFEXITED(status) && WEXITSTATUS(status) < ENDED ? WEXITSTATUS(status) : ENDED;
	counts[v]++;
	if (v < DIFFERENT)
		return true;
	printf("%s, byte %llu, bit %u: %s\n", name, (unsigned long long)at, bit,
	       v == ENDED ? "the library ended the process"
			  : "nothing was found, and what is read is different");
	return false;
}

static void copy_data(const char *home)
{
	char from[5000], path[5400];
	struct writer w = {0};
	snprintf(from, sizeof from, "%s/data", home);
	need(mkdir(data, 0700) == 0, data);
	DIR *d = opendir(from);
	need(d != NULL, from);
	for (struct dirent *e; (e = readdir(d)) != NULL && files < FILES_MAX;) {
		if (e->d_name[0] == '.' || strlen(e->d_name) >= sizeof file[0].name)
			continue;
		snprintf(path, sizeof path, "%s/%s", from, e->d_name);
		need(files_read(path, FILE_BYTES_MAX, &w, NULL) == ERR_NONE, path);
		snprintf(path, sizeof path, "%s/%s", data, e->d_name);
		need(files_write(path, writer_slice(&w), NULL) == ERR_NONE, path);
		/* RocksDB's lock and log, and its note of options, are not data. */
		if (w.len == 0 || strncmp(e->d_name, "LO", 2) == 0 ||
		    strncmp(e->d_name, "OPTIONS", 7) == 0)
			continue;
		strcpy(file[files].name, e->d_name);
		file[files++].size = w.len;
	}
	closedir(d);
	writer_free(&w);
}

int main(int argc, char **argv)
{
	char path[5000];
	struct errmsg m = {.text = ""};
	struct hash sound;
	bool all = argc == 4 && strcmp(argv[2], "all") == 0;
	if (argc < 3 || argc > 4) {
		fprintf(stderr, "usage: flips HOME COUNT [SEED] | HOME all FILE\n");
		return 2;
	}
	crypto_init();
	log_configure("error");
	snprintf(path, sizeof path, "%s/genesis.json", argv[1]);
	if (genesis_read(&genesis, path, &m) != ERR_NONE) {
		fprintf(stderr, "flips: %s\n", m.text);
		return 2;
	}
	const char *tmp = getenv("TMPDIR");
	snprintf(work, sizeof work, "%s/ostrakon-flips.XXXXXX", tmp ? tmp : "/tmp");
	need(mkdtemp(work) != NULL, work);
	snprintf(data, sizeof data, "%s/data", work);
	copy_data(argv[1]);
	int status;
	pid_t pid = fork(); /* RocksDB's threads must not be there when the trials are forked */
	if (pid == 0) {
		bool good = look(NULL, &sound) == SAME;
		snprintf(path, sizeof path, "%s/sound", work);
		_exit(good && files_write(path, hash_slice(&sound), NULL) == ERR_NONE ? 0 : 1);
	}
	struct writer w = {0};
	snprintf(path, sizeof path, "%s/sound", work);
	if (waitpid(pid, &status, 0) != pid || status != 0 ||
	    files_read(path, HASH_SIZE, &w, &m) != ERR_NONE || w.len != HASH_SIZE) {
		fprintf(stderr, "flips: %s: its data is not sound to begin with\n", argv[1]);
		files_remove(work, NULL);
		return 2;
	}
	memcpy(sound.b, w.buf, HASH_SIZE);
	writer_free(&w);
	bool good = true;
	unsigned tried = 0;
	struct random random;
	random_seed(&random, argc == 4 && !all ? strtoull(argv[3], NULL, 10) : 1);
	uint64_t total = 0;
	for (unsigned f = 0; f < files; f++)
		total += file[f].size;
	for (unsigned f = 0; all && f < files; f++)
		for (uint64_t at = 0; strcmp(file[f].name, argv[3]) == 0 && at < file[f].size;
		     at++)
			for (unsigned bit = 0; bit < 8; bit++, tried++)
				good = try_one(&sound, file[f].name, at, bit) && good;
	for (unsigned long count = all ? 0 : strtoul(argv[2], NULL, 10); tried < count;
	     tried++) {
		unsigned f = (unsigned)(random_u64(&random) % files);
		uint64_t at = random_u64(&random);
		if (tried % 2)
			at %= file[f].size;
		else
			for (at %= total, f = 0; at >= file[f].size; f++)
				at -= file[f].size;
		good = try_one(&sound, file[f].name, at, (unsigned)(random_u64(&random) % 8)) &&
		       good;
	}
	files_remove(work, NULL);
	genesis_free(&genesis);
	printf("%u bits flipped in %u files: the store is refused as damaged %u, the check "
	       "finds "
	       "it %u, all reads back identical %u, neither %u, ended %u\n",
	       tried, files, counts[REFUSED], counts[FOUND], counts[SAME], counts[DIFFERENT],
	       counts[ENDED]);
	return good && tried > 0 ? 0 : 1;
}
