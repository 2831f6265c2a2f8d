/* SPDX-License-Identifier: MIT */
/*
 * The command line, whole: what options_parse makes of any words is whole and belongs to it, and so
 * are the templates made of it. No config file is read; no input is opened.
 *
 * Bytes: the value of $KNEE and $PARALLEL, argv[0], and the other words, each with a NUL.
 */
#include <errno.h>
#include <unistd.h>

#include "command.h"
#include "fuzz.h"
#include "options_table.h"

#define LONGEST 4096
#define WORDS_MAX 256

/* Every byte of a text is there to be read. */
static size_t
text_read(const char *s)
{
	return s != NULL ? strlen(s) : 0;
}

static void
check_texts(const struct cli_options *o)
{
	const char *const texts[] = { o->face, o->colsep, o->eof_string, o->replacement, o->parens,
		o->tagstring, o->jobs_file, o->limit_command, o->tmpdir, o->journal, o->output, o->joblog,
		o->results, o->slot_var };
	size_t all = 0;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		all += text_read(texts[i]);
	for (size_t i = 0; i < o->ncommand; i++)
		all += text_read(o->command[i]);
	for (size_t i = 0; i < o->ninputs; i++) {
		const struct input_spec *spec = &o->inputs[i];

		all += spec->kind == INPUT_FILE ? strlen(spec->path) : 0;
		for (size_t k = 0; spec->kind == INPUT_ARGS && k < spec->nargs; k++)
			all += text_read(spec->args[k]);
	}
	/* A long --tagstring is counted with its copy. */
	HOLDS(all < (size_t)16 * LONGEST, "%zu bytes of text", all);
}

static void
check_values(const struct cli_options *o)
{
	HOLDS(o->ninputs == 0 || !o->inputs[0].linked, "the first source is linked");
	HOLDS(o->limit_max == 0 || o->limit_min <= o->limit_max, "-j %u..%u", o->limit_min, o->limit_max);
	HOLDS(o->replacement == NULL || *o->replacement != '\0', "an empty replacement string");
	HOLDS(!o->header || o->colsep != NULL, "a header without columns");
	HOLDS(o->timeout_ns == 0 || o->timeout_frac <= 0, "two time-outs");
	HOLDS(o->delay_ns >= 0 && o->timeout_ns >= 0 && o->json_fd >= -1, "a negative number");
	HOLDS((o->term_seq == NULL) == (o->nterm_seq == 0), "a list without an end");
	HOLDS((o->busy_exits == NULL) == (o->nbusy_exits == 0), "a list without an end");
	HOLDS(!o->group_auto || o->batch != BATCH_ARGS, "--group auto with a number");
}

/* With --header they would have to read the first input. */
static void
check_templates(const struct cli_options *o)
{
	struct knee_template *command = NULL, *tag = NULL;

	if (!o->header)
		(void)command_templates(o, NULL, &command, &tag);
	knee_template_free(command);
	knee_template_free(tag);
}

static void
check_line(const struct fuzz_words *w)
{
	struct cli_options o;
	enum options_action action = OPTIONS_RUN;
	int err = options_parse(&o, (int)w->n, w->words, &action);

	HOLDS(err <= 0, "%d", err);
	if (err < 0)
		return;
	check_texts(&o);
	check_values(&o);
	if (action == OPTIONS_RUN)
		check_templates(&o);
	options_done(&o);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char own[LONGEST + 8], parallel[LONGEST + 16];
	static char *variables[] = { own, parallel, NULL };
	struct fuzz_bytes b = { data, size < LONGEST ? size : LONGEST };
	char *variable = fuzz_string(&b);
	struct fuzz_words words = fuzz_words(&b, WORDS_MAX);
	FILE *out = stdout, *null = fopen("/dev/null", "we");

	HOLDS(null != NULL, "/dev/null");
	(void)snprintf(own, sizeof(own), "KNEE=%s", variable);
	(void)snprintf(parallel, sizeof(parallel), "PARALLEL=%s", variable);
	environ = variables;
	/* --help and --version. */
	stdout = null;
	check_line(&words);
	stdout = out;
	fclose(null);
	free(variable);
	fuzz_words_free(&words);
	return 0;
}
