#include "tools/lab/shell.h"

#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"

char *shell_word(const char *word)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789_./:,=@%+-";
	struct writer w = {0};

	if (*word && word[strspn(word, plain)] == '\0')
		return mem_strdup(word);
	writer_u8(&w, '\'');
	for (; *word; word++)
		if (*word == '\'')
			writer_raw(&w, "'\\''", 4);
		else
			writer_u8(&w, (uint8_t)*word);
	writer_raw(&w, "'", 2); /* with the terminating zero */
	return (char *)w.buf;
}
