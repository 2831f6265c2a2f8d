/* SPDX-License-Identifier: MIT */
/*
 * --help, from the table: one line an option, in groups, within 80 columns.  The
 * completions and the check of the manual read this text: two blanks, then names.
 */
#include "options_table.h"

#include <string.h>

enum { HELP_COLUMN = 30 };

/* "  -k, --keep-order" in text; returns its length. */
static int
names_put(const struct option *option, char *text, size_t size)
{
	const char *name = NULL, *comma = "";
	size_t namesize;
	bool letter = false, word = false;
	int n = snprintf(text, size, "  ");

	while ((name = options_name_next(option->names, name, &namesize)) != NULL) {
		if (namesize > 1 && !letter && !word)
			n += snprintf(text + n, size - (size_t)n, "    ");
		letter |= namesize == 1;
		word |= namesize > 1;
		n += snprintf(text + n, size - (size_t)n, "%s%s%.*s", comma, namesize == 1 ? "-" : "--",
		    (int)namesize, name);
		comma = ", ";
	}
	if (option->value == NULL)
		return n;
	if (option->value[0] == '[' && word)
		return n + snprintf(text + n, size - (size_t)n, "[=%s", option->value + 1);
	return n + snprintf(text + n, size - (size_t)n, " %s", option->value);
}

static void
usage_print(FILE *out, const char *face)
{
	fprintf(out, "Usage: %s [OPTION]... COMMAND [WORD]... [::: INPUT...]...\n", face);
	if (strcmp(face, "knee") == 0)
		fprintf(out,
		    "       knee run [OPTION]... COMMAND [WORD]...   for any command's name\n"
		    "       knee profile [OPTION]... COMMAND...      what a task needs, how many\n"
		    "       knee log [OPTION]... JOURNAL             what happened in a run\n"
		    "       knee hosts [OPTION]... NODESET...        how other machines are\n");
	fprintf(out,
	    "\n"
	    "Run COMMAND for every input, many at once. Inputs are the lines of stdin or of\n"
	    "files (-a FILE, :::: FILE...), or words (::: INPUT...). Several sources make all\n"
	    "combinations; :::+ and ::::+ go in step. Without COMMAND inputs are commands.\n"
	    "\n"
	    "In COMMAND, {} is the input (added at the end if missing), {.} the same without\n"
	    "extension, {/} without folder, {//} its folder, {/.} without both, {#} the\n"
	    "task's number, {%%} its slot; {2} {2.} {-1/} ... are one source's or column's.\n");
}

static void
examples_print(FILE *out, const char *face)
{
	fprintf(out,
	    "\nExamples:\n"
	    "  %s gzip -k ::: *.log                        compress files\n"
	    "  find . -name '*.wav' -print0 | %s -0 flac -s {}\n"
	    "  %s convert {} {.}.png ::: *.jpg             {.} is {} without extension\n"
	    "  %s --tag ping -c1 {1}{2} ::: a b ::: 1 2    all pairs, output tagged\n"
	    "  seq 1000 | %s -X echo | wc -l               many inputs per command\n"
	    "\nThe manual says more: man knee\n",
	    face, face, face, face, face);
}

void
options_help(FILE *out, const char *face)
{
	size_t n;
	const struct option *options = options_table(&n);

	usage_print(out, face);
	for (size_t i = 0; i < n; i++) {
		char names[80];

		if (i == 0 || options[i].group != options[i - 1].group)
			fprintf(out, "\n%s:\n", options_group_name(options[i].group));
		names_put(&options[i], names, sizeof(names));
		fprintf(out, "%-*s%s%s\n", HELP_COLUMN, names, strlen(names) < HELP_COLUMN ? "" : " ",
		    options[i].help);
	}
	examples_print(out, face);
}
