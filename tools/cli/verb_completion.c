/* completion bash|zsh|fish: a script made from the tables of verbs and options, so that it
 * cannot lag behind them. */
#include <string.h>

#include "base/mem.h"
#include "tools/cli/verbs.h"

static const char head[] =
	"# Completion for ostrakon. In ~/.bashrc: source <(ostrakon completion bash)\n"
	"_ostrakon() {\n"
	"	local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
	"	local i verb='' words='' options=''\n"
	"	if [[ $word == = ]]; then # --home=, of which bash makes three words\n"
	"		word=''\n"
	"	elif [[ $previous == = ]]; then\n"
	"		previous=${COMP_WORDS[COMP_CWORD-2]}\n"
	"	fi\n"
	"	for ((i = 1; i < COMP_CWORD; i++)); do\n"
	"		case ${COMP_WORDS[i]} in\n";

static const char after_values[] =
	"			[[ ${COMP_WORDS[i+1]} == = ]] && ((i++))\n"
	"			((i++)) ;;\n"
	"		-*|help) ;;\n"
	"		*) verb=\"$verb${verb:+ }${COMP_WORDS[i]}\" ;;\n"
	"		esac\n"
	"	done\n"
	"	COMPREPLY=()\n"
	"	case $previous in\n";

static bool names_file(const char *argument)
{
	return strstr(argument, "DIR") != NULL || strstr(argument, "FILE") != NULL;
}

static void print_pattern(FILE *out, enum option_id id)
{
	char letter = option_letter(id);

	fprintf(out, "--%s", option_name(id));
	if (letter != 0)
		fprintf(out, "|-%c", letter);
}

static void print_choice_words(FILE *out, const char *choices)
{
	for (const char *p = choices; *p; p++)
		fputc(*p == '|' ? ' ' : *p, out);
}

/* The words that take the next one with them; then what that one may be. */
static void print_choices(FILE *out)
{
	bool first = true;

	for (int i = 0; i < OPTIONS; i++) {
		if (option_argument((enum option_id)i) == NULL)
			continue;
		fprintf(out, "%s", first ? "		" : "|");
		print_pattern(out, (enum option_id)i);
		first = false;
	}
	fprintf(out, ")\n%s", after_values);
	for (int i = 0; i < OPTIONS; i++) {
		const char *choices = option_choices((enum option_id)i);
		const char *argument = option_argument((enum option_id)i);
		if (argument == NULL)
			continue;
		fprintf(out, "	");
		print_pattern(out, (enum option_id)i);
		if (choices != NULL) {
			fprintf(out, ") COMPREPLY=($(compgen -W '");
			print_choice_words(out, choices);
			fprintf(out, "' -- \"$word\")); return ;;\n");
		} else if (names_file(argument)) {
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

/* Is its argument one word of several? */
static bool is_choice_of_words(const struct verb *v)
{
	return strchr(v->args, '|') != NULL &&
	       strpbrk(v->args, "[ ABCDEFGHIJKLMNOPQRSTUVWXYZ") == NULL;
}

static void print_verb(FILE *out, const struct verb *v)
{
	fprintf(out, "	'%s'|'%s '*) options='", v->name, v->name);
	for (int i = 0; i < OPTIONS; i++)
		if ((v->options | GENERAL_OPTIONS) & OPT_BIT(i))
			fprintf(out, " --%s", option_name((enum option_id)i));
	fprintf(out, "'");
	if (is_choice_of_words(v)) {
		fprintf(out, " words='");
		print_choice_words(out, v->args);
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

/* ---- fish -------------------------------------------------------------------------------- */

static const char fish_head[] =
	"# Completion for ostrakon. In ~/.config/fish/config.fish: ostrakon completion fish | "
	"source\n"
	"# The words of the command line that are neither options nor their values.\n"
	"function __ostrakon_words\n"
	"	set -l skip 0\n"
	"	for word in (commandline -opc)[2..-1]\n"
	"		if test $skip -eq 1\n"
	"			set skip 0\n"
	"			continue\n"
	"		end\n"
	"		switch $word\n"
	"			case help '--*=*'\n"
	"			case";

static const char fish_middle[] = "\n"
				  "				set skip 1\n"
				  "			case '-*'\n"
				  "			case '*'\n"
				  "				echo $word\n"
				  "		end\n"
				  "	end\n"
				  "end\n"
				  "function __ostrakon_at\n"
				  "	set -l words (__ostrakon_words)\n"
				  "	test \"$words\" = \"$argv\"\n"
				  "end\n"
				  "function __ostrakon_in\n"
				  "	set -l words (__ostrakon_words)\n"
				  "	set -l first $words[1..(count $argv)] 2>/dev/null\n"
				  "	test \"$first\" = \"$argv\"\n"
				  "end\n"
				  "complete -c ostrakon -e\n"
				  "complete -c ostrakon -n '__ostrakon_at' -f\n";

static void print_quoted(FILE *out, const char *text)
{
	fputc('\'', out);
	for (; *text && *text != '\n'; text++) {
		if (*text == '\'' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
	fputc('\'', out);
}

static void print_fish_option(FILE *out, const char *condition, const char *verb,
			      enum option_id id)
{
	const char *choices = option_choices(id), *argument = option_argument(id);

	fprintf(out, "complete -c ostrakon -n '%s%s%s' -l %s", condition, *verb ? " " : "",
		verb, option_name(id));
	if (option_letter(id) != 0)
		fprintf(out, " -s %c", option_letter(id));
	if (choices != NULL) {
		fprintf(out, " -x -a '");
		print_choice_words(out, choices);
		fputc('\'', out);
	} else if (argument != NULL) {
		fprintf(out, names_file(argument) ? " -r -F" : " -x");
	}
	fprintf(out, " -d ");
	print_quoted(out, option_help(id));
	fputc('\n', out);
}

static void print_fish(FILE *out)
{
	const char *last = "";

	fputs(fish_head, out);
	for (int i = 0; i < OPTIONS; i++) {
		if (option_argument((enum option_id)i) == NULL)
			continue;
		fprintf(out, " --%s", option_name((enum option_id)i));
		if (option_letter((enum option_id)i) != 0)
			fprintf(out, " -%c", option_letter((enum option_id)i));
	}
	fputs(fish_middle, out);
	for (size_t i = 0; i < verb_count; i++) {
		const struct verb *v = &verbs[i];
		const char *second = strchr(v->name, ' ');
		int first = (int)strcspn(v->name, " ");
		if (second != NULL) {
			if (strncmp(last, v->name, (size_t)first + 1) != 0)
				fprintf(out,
					"complete -c ostrakon -n '__ostrakon_at' -a %.*s\n",
					first, v->name);
			fprintf(out,
				"complete -c ostrakon -n '__ostrakon_at %.*s' -f -a %s -d ",
				first, v->name, second + 1);
		} else {
			fprintf(out, "complete -c ostrakon -n '__ostrakon_at' -a %s -d ",
				v->name);
		}
		last = v->name;
		print_quoted(out, v->summary);
		fputc('\n', out);
		if (is_choice_of_words(v)) {
			fprintf(out, "complete -c ostrakon -n '__ostrakon_at %s' -f -a '",
				v->name);
			print_choice_words(out, v->args);
			fprintf(out, "'\n");
		}
		for (int o = 0; o < OPTIONS; o++)
			if (v->options & OPT_BIT(o))
				print_fish_option(out, "__ostrakon_in", v->name,
						  (enum option_id)o);
	}
	for (int o = 0; o < OPTIONS; o++)
		if (GENERAL_OPTIONS & OPT_BIT(o))
			print_fish_option(out, "true", "", (enum option_id)o);
}

int verb_completion(struct cli *c)
{
	const char *shell = c->opt.arg[0];

	if (strcmp(shell, "fish") == 0) {
		print_fish(c->out);
		return EXIT_DONE;
	}
	if (strcmp(shell, "zsh") == 0)
		fprintf(c->out, "autoload -U +X bashcompinit && bashcompinit\n");
	else if (strcmp(shell, "bash") != 0)
		return cli_usage(
			c, "there is completion for bash, zsh and fish, not for \"%s\"", shell);
	print_bash(c->out);
	return EXIT_DONE;
}
