/* The stream of a backup. docs/formats/backup.md */
#ifndef REPLICA_BACKUP_PRIVATE_H
#define REPLICA_BACKUP_PRIVATE_H

#include "replica/backup.h"
#include "replica/files.h"

#define BACKUP_VERSION	  2 /* newest; what has no epochs is of version 1 */
#define BACKUP_EPOCHS	  2 /* first that knows RECORD_EPOCH */
#define BACKUP_RECORD_MAX (64u << 20)

enum backup_record { /* on disk: never reuse a number */
		     RECORD_GENESIS = 1,
		     RECORD_BLOCK = 2,
		     RECORD_CERT = 3,
		     RECORD_TC = 4,
		     RECORD_EVIDENCE = 5,
		     RECORD_END = 6,
		     RECORD_RECOVERY = 7,
		     RECORD_CHECKPOINT = 8,
		     RECORD_EPOCH = 9,
};

struct backup_part {
	uint64_t bytes;
	struct hash end; /* of the hash chain, after its last record */
};
struct backup_manifest {
	uint16_t version;
	struct backup_summary s;
	struct backup_part *part; /* s.parts of them; owned */
};
void backup_manifest_free(struct backup_manifest *f);
/* As the file has it. */
void backup_manifest_write(struct writer *w, const struct backup_manifest *f);
int backup_manifest_read(const char *dest, struct backup_manifest *out, struct errmsg *m);

struct backup_writer {
	const char *dir;
	uint64_t part_bytes;
	int fd; /* -1: no part is open */
	struct writer buffer;
	struct hash link;
	struct backup_manifest manifest;
};
void backup_writer_init(struct backup_writer *w, const char *dir, const struct hash *chain,
			uint64_t part_bytes);
int backup_write(struct backup_writer *w, enum backup_record type, struct slice payload,
		 struct errmsg *m);
/* Closes the last part and writes the manifest. */
int backup_writer_finish(struct backup_writer *w, struct errmsg *m);
void backup_writer_free(struct backup_writer *w);

struct backup_reader {
	const char *dir;
	struct backup_manifest manifest;
	uint32_t next; /* part to open */
	int fd;
	uint64_t left;		 /* bytes of the open part */
	uint64_t bytes, records; /* read so far */
	struct hash link;
	struct writer record;
};
/* backup_reader_free() in any case. */
int backup_reader_open(struct backup_reader *r, const char *dir, struct errmsg *m);
/* payload is lent until the next call. ERR_NOT_FOUND: there are no more, and all was read. */
int backup_read(struct backup_reader *r, enum backup_record *type, struct slice *payload,
		struct errmsg *m);
void backup_reader_free(struct backup_reader *r);

#endif
