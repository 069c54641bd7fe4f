/* Command lines that are printed to be typed, or pasted. */
#ifndef TOOLS_LAB_SHELL_H
#define TOOLS_LAB_SHELL_H

/* One word of a command line, quoted where a shell would take it for something else. mem_free(). */
char *shell_word(const char *word);

#endif
