/* Text of HTML, SVG and CSV in a growing buffer. What comes from data goes through html_text()
 * or csv_text(), never through html_raw() or html_fmt(). The output is well-formed XML too. */
#ifndef TOOLS_LAB_HTML_H
#define TOOLS_LAB_HTML_H

#include "base/bytes.h"

#define HTML_NUMBER_MAX 40

/* As it stands; only for literals. */
void html_raw(struct writer *w, const char *text);
/* For literals, numbers and names that are ours. */
void html_fmt(struct writer *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Escaped for element content and quoted attributes; control characters become U+FFFD. */
void html_text(struct writer *w, const char *text);
/* The same of at most `most` characters; what is left out becomes an ellipsis. */
void html_short(struct writer *w, const char *text, unsigned most);
/* Characters (not bytes) of UTF-8. */
unsigned html_length(const char *text);
/* Quoted where needed; a spreadsheet shall not take text for a formula. */
void csv_text(struct writer *w, const char *text);

/* Three significant digits, thousands grouped; a NaN becomes "not measured". */
const char *html_number(char out[HTML_NUMBER_MAX], double v);
/* Of milliseconds: "4.83 ms", "1.35 s". */
const char *html_duration(char out[HTML_NUMBER_MAX], double ms);

#endif
