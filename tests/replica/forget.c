/* Deletes from the data of a stopped node the record of an epoch's beginning, as if it had been
 * lost. */
#include <stdio.h>
#include <stdlib.h>

#include "replica/epoch.h"

int main(int argc, char **argv)
{
	struct store_options options = {.create = false};
	struct epoch_key k;
	struct store *s;
	struct errmsg m = {.text = ""};
	struct writer bytes = {0};
	if (argc != 3) {
		fprintf(stderr, "usage: forget DATA EPOCH\n");
		return 2;
	}
	int err = store_open_rocksdb(&s, argv[1], &options, &m);
	if (err) {
		fprintf(stderr, "forget: %s: %s\n", argv[1], m.text);
		return 1;
	}
	struct slice key = key_epoch(&k, strtoull(argv[2], NULL, 10));
	struct store_batch *batch = store_batch_new();
	store_batch_delete(batch, STORE_META, key);
	err = store_get(s, STORE_META, key, &bytes);
	if (!err)
		err = store_write(s, batch, true);
	if (err)
		fprintf(stderr, "forget: %s\n", err_text(err));
	store_batch_free(batch);
	writer_free(&bytes);
	store_close(s);
	return err ? 1 : 0;
}
