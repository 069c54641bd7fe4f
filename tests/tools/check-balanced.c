/* check-balanced FILE.html: exit code 0 if balanced_fault() finds nothing. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "tests/tools/balanced.h"

int main(int argc, char **argv)
{
	FILE *f = argc == 2 ? fopen(argv[1], "re") : NULL;
	struct writer w = {0};
	char chunk[16384];
	size_t offset;
	if (!f)
		return 2;
	for (size_t n; (n = fread(chunk, 1, sizeof chunk, f)) > 0;)
		writer_raw(&w, chunk, n);
	fclose(f);
	writer_u8(&w, 0);
	const char *fault = balanced_fault((const char *)w.buf, &offset);
	if (fault)
		printf("%s: byte %zu: %s\n", argv[1], offset, fault);
	writer_free(&w);
	return fault != NULL;
}
