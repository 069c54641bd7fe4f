/* completion bash|zsh: a script made from the tables of verbs and options, so that it cannot
 * lag behind them. */
#include <string.h>

#include "base/mem.h"
#include "tools/cli/verbs.h"

static const char head[] =
	"# Completion for ostrakon. In ~/.bashrc: source <(ostrakon completion bash)\n"
	"_ostrakon() {\n"
	"	local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
	"	local i verb='' words='' options=''\n"
	"	for ((i = 1; i < COMP_CWORD; i++)); do\n"
	"		case ${COMP_WORDS[i]} in\n"
	"		-*) ;;\n"
	"		*) verb=\"$verb${verb:+ }${COMP_WORDS[i]}\" ;;\n"
	"		esac\n"
	"	done\n"
	"	COMPREPLY=()\n"
	"	case $previous in\n";

static void print_choices(FILE *out)
{
	for (int i = 0; i < OPTIONS; i++) {
		const char *choices = option_choices((enum option_id)i);
		const char *argument = option_argument((enum option_id)i);
		char letter = option_letter((enum option_id)i);
		if (argument == NULL)
			continue;
		fprintf(out, "	--%s", option_name((enum option_id)i));
		if (letter != 0)
			fprintf(out, "|-%c", letter);
		if (choices != NULL) {
			fprintf(out, ") COMPREPLY=($(compgen -W '");
			for (const char *p = choices; *p; p++)
				fputc(*p == '|' ? ' ' : *p, out);
			fprintf(out, "' -- \"$word\")); return ;;\n");
		} else if (strstr(argument, "DIR") != NULL ||
			   strstr(argument, "FILE") != NULL) {
			fprintf(out, ") COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n");
		} else {
			fprintf(out, ") return ;;\n");
		}
	}
	fprintf(out, "	esac\n");
}

/* First words, or the second words of a group; each once. */
static void print_words(FILE *out, const char *group)
{
	size_t len = group ? strlen(group) : 0;
	const char *last = "";
	size_t last_len = 0;

	for (size_t i = 0; i < verb_count; i++) {
		const char *word = verbs[i].name;
		size_t n;
		if (group != NULL && (strncmp(word, group, len) != 0 || word[len] != ' '))
			continue;
		word += group ? len + 1 : 0;
		n = strcspn(word, " ");
		if (n == last_len && memcmp(word, last, n) == 0)
			continue;
		fprintf(out, " %.*s", (int)n, word);
		last = word;
		last_len = n;
	}
}

static void print_verb(FILE *out, const struct verb *v)
{
	fprintf(out, "	'%s'|'%s '*) options='", v->name, v->name);
	for (int i = 0; i < OPTIONS; i++)
		if ((v->options | GENERAL_OPTIONS) & OPT_BIT(i))
			fprintf(out, " --%s", option_name((enum option_id)i));
	/* arguments that are one word of several */
	fprintf(out, "'");
	if (strchr(v->args, '|') != NULL &&
	    strpbrk(v->args, "[ ABCDEFGHIJKLMNOPQRSTUVWXYZ") == NULL) {
		fprintf(out, " words='");
		for (const char *p = v->args; *p; p++)
			fputc(*p == '|' ? ' ' : *p, out);
		fprintf(out, "'");
	}
	fprintf(out, " ;;\n");
}

static void print_bash(FILE *out)
{
	const char *last = "";
	size_t last_len = 0;

	fputs(head, out);
	print_choices(out);
	fprintf(out, "	case $verb in\n	'') words='help");
	print_words(out, NULL);
	fprintf(out, "' options='--help --version' ;;\n");
	for (size_t i = 0; i < verb_count; i++) {
		const char *name = verbs[i].name;
		size_t n = strcspn(name, " ");
		char group[32];
		if (name[n] == '\0' || (n == last_len && memcmp(name, last, n) == 0))
			continue;
		snprintf(group, sizeof group, "%.*s", (int)n, name);
		fprintf(out, "	'%s') words='", group);
		print_words(out, group);
		fprintf(out, "' options='--help --version' ;;\n");
		last = name;
		last_len = n;
	}
	for (size_t i = 0; i < verb_count; i++)
		print_verb(out, &verbs[i]);
	fprintf(out, "	esac\n"
		     "	case $word in\n"
		     "	-*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")) ;;\n"
		     "	*) if [ -n \"$words\" ]; then\n"
		     "		COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
		     "	else\n"
		     "		COMPREPLY=($(compgen -f -- \"$word\"))\n"
		     "	fi ;;\n"
		     "	esac\n"
		     "}\n"
		     "complete -F _ostrakon ostrakon\n");
}

int verb_completion(struct cli *c)
{
	if (strcmp(c->opt.arg[0], "zsh") == 0)
		fprintf(c->out, "autoload -U +X bashcompinit && bashcompinit\n");
	else if (strcmp(c->opt.arg[0], "bash") != 0)
		return cli_usage(c, "there is completion for bash and zsh, not for \"%s\"",
				 c->opt.arg[0]);
	print_bash(c->out);
	return EXIT_DONE;
}
