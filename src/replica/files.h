/* Files and directories that are there whole or not at all, whenever the power fails. */
#ifndef REPLICA_FILES_H
#define REPLICA_FILES_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"

#define FILES_PATH_MAX 4095

bool files_exist(const char *path);
/* Whole, into out (reset first). ERR_NOT_FOUND, ERR_IO, ERR_LIMIT if it is longer than max. */
int files_read(const char *path, size_t max, struct writer *out, struct errmsg *m);
/* A new file, synced. */
int files_write(const char *path, struct slice bytes, struct errmsg *m);
int files_sync_dir(const char *path, struct errmsg *m);
/* With everything in it; links are not followed. ERR_NONE if there is none. */
int files_remove(const char *path, struct errmsg *m);

/* Marks a snapshot that was opened, and so is locked by its reader: without the lock it is then
 * nobody's. Errors have no effect but that it is kept a while longer. */
void files_take(const char *path);
bool files_are_taken(const char *path);

/* A directory in the making: PATH.partial, locked by the process that makes it. What a process
 * that was killed left there is removed. ERR_EXISTS: PATH is there, and is no empty directory.
 * ERR_LOCKED: another process makes it. */
struct files_new_dir {
	int lock; /* -1: none */
	char path[FILES_PATH_MAX + 1], partial[FILES_PATH_MAX + 1];
};
int files_begin_dir(struct files_new_dir *d, const char *path, struct errmsg *m);
/* Syncs the directory and gives it its name. The files in it must be synced. */
int files_finish_dir(struct files_new_dir *d, struct errmsg *m);
/* Removes what there is of it. After files_finish_dir(): no effect. */
void files_abandon_dir(struct files_new_dir *d);

#endif
