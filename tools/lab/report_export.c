/* CSV and JSON beside the page. */
#include <string.h>

#include "base/mem.h"
#include "tools/lab/report.h"

void report_csv(struct writer *w, const struct report *r)
{
	html_raw(w,
		 "source,scenario,fault,protocol,nodes,seed,live,passed,malicious,convicted");
	for (unsigned f = 0; f < REPORT_FIELDS; f++)
		html_fmt(w, ",%s", report_field_path(f));
	for (unsigned f = 0; f < REPORT_FIELDS; f++)
		html_fmt(w, ",%s.min,%s.max", report_field_path(f), report_field_path(f));
	html_raw(w, ",repeat\n");
	for (size_t i = 0; i < r->count; i++) {
		const struct report_run *run = &r->run[i];
		const char *texts[] = {run->source, run->scenario, run->fault, run->protocol};
		for (unsigned k = 0; k < MEM_COUNT(texts); k++) {
			csv_text(w, texts[k]);
			html_raw(w, ",");
		}
		if (run->nodes)
			html_fmt(w, "%u", run->nodes);
		html_raw(w, ",");
		if (run->has_seed)
			html_fmt(w, "%llu", (unsigned long long)run->seed);
		html_fmt(w, ",%s,%s,", run->live ? "true" : "false",
			 !run->has_passed ? ""
			 : run->passed	  ? "true"
					  : "false");
		if (run->malicious >= 0)
			html_fmt(w, "%d", run->malicious);
		html_raw(w, ",");
		if (run->convicted >= 0)
			html_fmt(w, "%d", run->convicted);
		for (unsigned f = 0; f < REPORT_FIELDS; f++) {
			html_raw(w, ",");
			if (measured(run->value[f]))
				html_fmt(w, "%.15g", run->value[f]);
		}
		for (unsigned f = 0; f < REPORT_FIELDS; f++) {
			html_raw(w, ",");
			if (measured(run->lo[f]))
				html_fmt(w, "%.15g,%.15g", run->lo[f], run->hi[f]);
			else
				html_raw(w, ",");
		}
		html_raw(w, ",");
		csv_text(w, run->repeat);
		html_raw(w, "\n");
	}
}

/* As they were read, one a line, but for the messages of space-time windows. */
void report_json(struct writer *w, const struct report *r)
{
	html_raw(w, "[");
	for (size_t i = 0; i < r->count; i++) {
		const struct json *v = r->run[i].v;
		const char *sep = "{";
		html_raw(w, i ? ",\n" : "\n");
		for (const char *key = json_key_next(v, NULL); key;
		     key = json_key_next(v, key)) {
			if (strcmp(key, "space_time") == 0)
				continue;
			struct json *name = json_string(key);
			char *quoted = json_dump(name, false),
			     *value = json_dump(json_get(v, key), false);
			html_raw(w, sep);
			html_raw(w, quoted);
			html_raw(w, ":");
			html_raw(w, value);
			sep = ",";
			mem_free(quoted);
			mem_free(value);
			json_free(name);
		}
		html_raw(w, *sep == '{' ? "{}" : "}");
	}
	html_raw(w, "\n]\n");
}
