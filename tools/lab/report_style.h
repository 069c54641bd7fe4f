/* Style sheet and script of the report. */
#ifndef TOOLS_LAB_REPORT_STYLE_H
#define TOOLS_LAB_REPORT_STYLE_H

extern const char report_style[];
extern const char report_script[];

#endif
