/* SPDX-License-Identifier: MIT */
/*
 * The table of options, and finding one in it by what the user typed.  Parsing, --help,
 * the completions and the check of the manual all come from here.  Names that knee does
 * not take now, its own of a later version and GNU parallel's, stand here as well: a
 * script that uses one is told so by name, and the beginning of a name never changes
 * its meaning when that option comes.
 */
#include "options_table.h"

#include <string.h>

#define AT(member) .at = offsetof(struct cli_options, member)

static const struct option options[] = {
	{ "a arg-file", "", "FILE", "inputs are the lines of FILE; - is standard input", OPTION_INPUTS,
	    .set = options_set_file },
	{ "0 null", "", NULL, "inputs end with a NUL byte, not a newline", OPTION_INPUTS,
	    .set = options_set_null },
	{ "d delimiter", "", "BYTE", "inputs end with BYTE, such as , or \\t or \\x1f", OPTION_INPUTS,
	    .set = options_set_delimiter },
	{ "C colsep", "", "REGEX", "cut inputs at REGEX into columns {1} {2} ...", OPTION_INPUTS,
	    .set = options_set_text, AT(colsep), .to = 1 },
	{ "header", "", ":", "the first input names its column: use {name}", OPTION_INPUTS,
	    .set = options_set_header },
	{ "skip-first-line", "", NULL, "leave out the first input", OPTION_INPUTS, .set = options_set_flag,
	    AT(skip_first_line) },
	{ "trim", "", "n|l|r|lr", "cut blanks off inputs: none, left, right, both", OPTION_INPUTS,
	    .set = options_set_trim },
	{ "E", "", "TEXT", "an input equal to TEXT is the end of inputs", OPTION_INPUTS,
	    .set = options_set_eof },
	{ "e eof", "", "[TEXT]", "as -E; without TEXT: no such end", OPTION_INPUTS, .set = options_set_eof },
	{ "r no-run-if-empty", "norunifempty", NULL, "no task for an input that is blank", OPTION_INPUTS,
	    .set = options_set_flag, AT(no_run_if_empty) },
	{ "link xapply", "", NULL, "take one input of each source, not all pairs", OPTION_INPUTS,
	    .set = options_set_link },
	{ "arg-sep", "", "TEXT", "use TEXT for :::, and TEXT+ for :::+", OPTION_INPUTS,
	    .set = options_set_separator, .to = 0 },
	{ "arg-file-sep", "", "TEXT", "use TEXT for ::::, and TEXT+ for ::::+", OPTION_INPUTS,
	    .set = options_set_separator, .to = 1 },
	{ "shuf", "", NULL, "run the tasks in random order", OPTION_INPUTS, .set = options_set_flag,
	    AT(shuf) },

	{ "I", "", "TEXT", "TEXT stands for the input, not {}", OPTION_TEMPLATE,
	    .set = options_set_replacement },
	{ "i replace", "", "[TEXT]", "as -I; without TEXT: {}", OPTION_TEMPLATE,
	    .set = options_set_replacement },
	{ "parens", "", "TEXT", "refuse commands with the halves of TEXT, not {= =}", OPTION_TEMPLATE,
	    .set = options_set_parens },
	{ "q quote", "", NULL, "the command's words are words, not shell code", OPTION_TEMPLATE,
	    .set = options_set_flag, AT(quote) },
	{ "shellquote", "shell_quote", NULL, "print inputs quoted for the shell; run nothing",
	    OPTION_TEMPLATE, .set = options_set_shellquote },
	{ "dry-run", "dr", NULL, "print the commands; run nothing", OPTION_TEMPLATE, .set = options_set_flag,
	    AT(dry_run) },
	{ "v", "", NULL, "print each command before its output", OPTION_TEMPLATE, .set = options_set_flag,
	    AT(verbose) },
	{ "t verbose", "", NULL, "print each command on stderr when it starts", OPTION_TEMPLATE,
	    .set = options_set_flag, AT(trace) },
	{ "p interactive", "", NULL, "ask before running each command", OPTION_TEMPLATE,
	    .set = options_set_flag, AT(prompt) },

	{ "worker", "", "COMMAND", "give inputs to processes that live for many", OPTION_TEMPLATE,
	    .set = options_set_text, AT(worker), .to = 1 },
	{ "framing", "", "HOW", "a worker's records end: line, nul; or length", OPTION_TEMPLATE,
	    .set = options_set_framing },
	{ "plugin", "", "FILE", "inputs go to a function, on threads", OPTION_TEMPLATE,
	    .set = options_set_text, AT(plugin), .to = 1 },
	{ "isolate", "", NULL, "... in processes: a crash costs one task", OPTION_TEMPLATE,
	    .set = options_set_flag, AT(isolate) },

	{ "n max-args", "", "N", "put N inputs into one command; 0: one, unused", OPTION_BATCH,
	    .set = options_set_max_args, .to = 0 },
	{ "N max-replace-args", "", "N", "as -n, and the inputs are {1} {2} ... {N}", OPTION_BATCH,
	    .set = options_set_max_args, .to = 1 },
	{ "L", "", "N", "put N lines into one command", OPTION_BATCH, .set = options_set_max_lines },
	{ "l max-lines", "", "[N]", "as -L; without N: one line", OPTION_BATCH,
	    .set = options_set_max_lines },
	{ "s max-chars", "", "N", "at most N bytes in one command line", OPTION_BATCH,
	    .set = options_set_max_chars },
	{ "x exit", "", NULL, "stop when -s leaves no room for all of -n or -L", OPTION_BATCH,
	    .set = options_set_flag, AT(exit_if_too_long) },
	{ "m", "", NULL, "put in as many inputs as fit, shared out evenly", OPTION_BATCH,
	    .set = options_set_batch, .to = BATCH_MULTI },
	{ "X", "", NULL, "as -m, repeating the whole word that holds {}", OPTION_BATCH,
	    .set = options_set_batch, .to = BATCH_CONTEXT },
	{ "xargs", "", NULL, "put in as many inputs as fit, command by command", OPTION_BATCH,
	    .set = options_set_batch, .to = BATCH_XARGS },
	{ "show-limits", "", NULL, "print how long a command line may be", OPTION_BATCH,
	    .set = options_set_flag, AT(show_limits) },

	{ "j P jobs", "max-procs", "N", "tasks at once: auto, auto:9, 2..9, 8, 0, 50%, FILE", OPTION_LIMIT,
	    .set = options_set_jobs },
	{ "kind", "", "KIND", "where to start: tasks need cpu, disk, net or wait", OPTION_LIMIT,
	    .set = options_set_kind },
	{ "busy-exit", "", "CODES", "these statuses mean too many at once: 75,100-103", OPTION_LIMIT,
	    .set = options_set_busy_exits },
	{ "load", "", "N", "start none while more than N (or N%) want to run", OPTION_LIMIT,
	    .set = options_set_load },
	{ "memfree", "", "SIZE", "start none while less memory is free", OPTION_LIMIT,
	    .set = options_set_bytes, AT(memfree_bytes) },
	{ "memsuspend", "", "SIZE", "suspend tasks while less than 2 SIZE is free", OPTION_LIMIT,
	    .set = options_set_bytes, AT(memsuspend_bytes) },
	{ "noswap", "", NULL, "start none while memory is swapped in and out", OPTION_LIMIT,
	    .set = options_set_flag, AT(noswap) },
	{ "limit", "", "COMMAND", "its status: 0 start a task, 1 not now, 2 end one", OPTION_LIMIT,
	    .set = options_set_limit },
	{ "explain", "", NULL, "say why so many run at once, whenever it changes", OPTION_LIMIT,
	    .set = options_set_flag, AT(explain) },
	{ "no-memory", "", NULL, "neither use nor keep what was learnt of commands", OPTION_LIMIT,
	    .set = options_set_flag, AT(no_memory) },
	{ "delay", "", "TIME", "wait so long between two starts", OPTION_LIMIT, .set = options_set_delay },
	{ "nice", "", "N", "run the tasks at niceness N, -20 to 19", OPTION_LIMIT, .set = options_set_nice },
	{ "process-slot-var", "", "NAME", "put the slot's number, from 0, into $NAME", OPTION_LIMIT,
	    .set = options_set_slot_var },

	{ "k keep-order", "", NULL, "output in the order of the inputs", OPTION_OUTPUT,
	    .set = options_set_keep, .to = KEEP_YES },
	{ "unordered", "no-keep-order nok no-k", NULL, "output of each task when it ends", OPTION_OUTPUT,
	    .set = options_set_keep, .to = KEEP_NO },
	{ "group", "", "[auto]", "never mix tasks' output; auto: find a good -n", OPTION_OUTPUT,
	    .set = options_set_group },
	{ "u ungroup", "", NULL, "tasks write where knee does, mixed as it comes", OPTION_OUTPUT,
	    .set = options_set_grouping, .to = GROUPING_NONE },
	{ "lb line-buffer", "line-buffered", NULL, "output of whole lines as they come", OPTION_OUTPUT,
	    .set = options_set_grouping, .to = GROUPING_LINES },
	{ "tag", "", NULL, "put the input and a tab before each line", OPTION_OUTPUT,
	    .set = options_set_tag },
	{ "tagstring", "", "TEXT", "put TEXT and a tab before each line", OPTION_OUTPUT,
	    .set = options_set_tagstring },
	{ "files", "output-as-files", NULL, "output goes to files; print their names", OPTION_OUTPUT,
	    .set = options_set_flag, AT(files) },
	{ "color", "colour", "[WHEN]", "colour each task's lines: always, auto, never", OPTION_OUTPUT,
	    .set = options_set_color, .to = WHEN_ALWAYS },
	{ "no-color", "no-colour", NULL, "no colours", OPTION_OUTPUT, .set = options_set_color,
	    .to = WHEN_NEVER },
	{ "tmpdir", "tempdir", "DIR", "put temporary files into DIR, not $TMPDIR or /tmp", OPTION_OUTPUT,
	    .set = options_set_tmpdir },
	{ "progress", "", NULL, "show progress on stderr, even if no terminal", OPTION_OUTPUT,
	    .set = options_set_progress, .to = WHEN_ALWAYS },
	{ "bar", "", NULL, "show progress as a bar", OPTION_OUTPUT, .set = options_set_progress, AT(bar),
	    .to = WHEN_ALWAYS },
	{ "eta", "", NULL, "show progress with the time left", OPTION_OUTPUT, .set = options_set_progress,
	    AT(eta), .to = WHEN_ALWAYS },
	{ "no-progress", "", NULL, "no progress line", OPTION_OUTPUT, .set = options_set_progress,
	    .to = WHEN_NEVER },
	{ "silent", "", NULL, "no notes, no summary, and not the commands of -v", OPTION_OUTPUT,
	    .set = options_set_silent },

	{ "halt", "halt-on-error", "WHEN,WHY", "stop early: now,fail=1 soon,success=3 now,done=50%",
	    OPTION_FAILURE, .set = options_set_halt },
	{ "retries", "", "N", "run a failing task up to N times", OPTION_FAILURE,
	    .set = options_set_retries },
	{ "timeout", "", "TIME|N%", "end tasks that take longer; N% of the median time", OPTION_FAILURE,
	    .set = options_set_timeout },
	{ "term-seq", "", "LIST", "end tasks by: TERM,200,TERM,100,TERM,50,KILL", OPTION_FAILURE,
	    .set = options_set_term_seq },

	{ "journal", "", "FILE", "write all down in FILE, to go on after a crash", OPTION_LOG,
	    .set = options_set_text, AT(journal), .to = 1 },
	{ "sync", "", NULL, "each result is on the disk before it counts", OPTION_LOG,
	    .set = options_set_flag, AT(sync) },
	{ "resume", "", NULL, "leave out tasks that --journal or --joblog has", OPTION_LOG,
	    .set = options_set_resume, .to = KNEE_RESUME },
	{ "resume-failed", "", NULL, "the same, but run again those that failed", OPTION_LOG,
	    .set = options_set_resume, .to = KNEE_RESUME_FAILED },
	{ "retry-failed", "", NULL, "run again those that failed, and no others", OPTION_LOG,
	    .set = options_set_resume, .to = KNEE_RETRY_FAILED },
	{ "output", "", "FILE", "write to FILE, not standard output", OPTION_LOG, .set = options_set_text,
	    AT(output), .to = 1 },
	{ "joblog", "jl", "FILE", "add a line to FILE for each task that ends", OPTION_LOG,
	    .set = options_set_text, AT(joblog), .to = 1 },
	{ "results", "result res", "DIR|FILE", "keep outputs under DIR, or in FILE.csv .tsv .json",
	    OPTION_LOG, .set = options_set_text, AT(results), .to = 1 },
	{ "json", "", "[FD]", "events as JSON lines on descriptor FD, or stderr", OPTION_LOG,
	    .set = options_set_json },

	{ "S sshlogin", "", "LOGINS", "run on web1,4/me@web[2-9]; : is this machine", OPTION_MACHINES,
	    .set = options_set_list, AT(logins), .to = 1 },
	{ "slf sshloginfile", "", "FILE", "logins, one a line; .. your usual ones", OPTION_MACHINES,
	    .set = options_set_list, AT(login_files), .to = 1 },
	{ "on", "", "WHERE", "run on the nodes of a job: slurm, slurm:ARGUMENTS", OPTION_MACHINES,
	    .set = options_set_on },
	{ "onall", "", NULL, "run each task on every machine", OPTION_MACHINES, .set = options_set_flag,
	    AT(each_host) },
	{ "nonall", "", NULL, "run the command once on every machine; no inputs", OPTION_MACHINES,
	    .set = options_set_nonall },
	{ "ssh", "", "COMMAND", "log in by COMMAND, not ssh", OPTION_MACHINES, .set = options_set_text,
	    AT(ssh), .to = 1 },
	{ "env", "", "NAME", "give the variable NAME to tasks there, too", OPTION_MACHINES,
	    .set = options_set_env, AT(env) },
	{ "wd workdir", "work-dir", "DIR", "tasks there run in DIR; ... a new one; . as here",
	    OPTION_MACHINES, .set = options_set_text, AT(workdir), .to = 1 },
	{ "transferfile", "transfer-file transfer-files tf", "PATH", "copy PATH, such as {}, there first",
	    OPTION_MACHINES, .set = options_set_list, AT(transfers), .to = 1 },
	{ "transfer", "", NULL, "as --transferfile {}", OPTION_MACHINES, .set = options_set_transfer },
	{ "return", "", "PATH", "copy PATH, such as {.}.out, back afterwards", OPTION_MACHINES,
	    .set = options_set_list, AT(returns), .to = 1 },
	{ "cleanup", "", NULL, "remove there what was copied", OPTION_MACHINES, .set = options_set_flag,
	    AT(cleanup) },
	{ "trc", "", "PATH", "as --transfer --return PATH --cleanup", OPTION_MACHINES,
	    .set = options_set_trc },
	{ "basefile bf", "", "PATH", "copy PATH to each machine once", OPTION_MACHINES,
	    .set = options_set_list, AT(basefiles), .to = 1 },
	{ "host-timeout", "", "TIME", "a machine silent for so long is lost; 20 s", OPTION_MACHINES,
	    .set = options_set_host_timeout },
	{ "speculate", "", NULL, "at the end run copies of the slowest elsewhere", OPTION_MACHINES,
	    .set = options_set_flag, AT(speculate) },
	{ "filter-hosts", "filter-host", NULL, "accepted: who does not answer is left out anyway",
	    OPTION_MACHINES, .set = options_set_nothing },

	{ "h help", "", NULL, "print this", OPTION_OTHER, .set = options_set_show, .to = SHOW_HELP },
	{ "V version", "", NULL, "print the version", OPTION_OTHER, .set = options_set_show,
	    .to = SHOW_VERSION },
	{ "citation", "bibtex", NULL, "say that knee asks for no citation", OPTION_OTHER,
	    .set = options_set_show, .to = SHOW_CITATION },
	{ "gnu", "", NULL, "accepted without effect, for scripts that have it", OPTION_OTHER,
	    .set = options_set_nothing },
	{ "will-cite", "no-notice nn", NULL, "accepted without effect, for scripts that have it",
	    OPTION_OTHER, .set = options_set_nothing },
};

#define NOPTIONS (sizeof(options) / sizeof(*options))

/* Later versions of knee have these. */
static const char later[] = "plus pipe spreadstdin pipe-part block block-size recstart recend regexp regex "
			    "remove-rec-sep rrs cat fifo round-robin round tee compress "
			    "combine hosts semaphore semaphore-name id semaphore-timeout st fg bg wait "
			    "profile J";

/* GNU parallel has these, or had them once. */
static const char lacking[] =
    "debug D sql sql-master sql-worker sql-and-worker latest-line ll tmux tmux-pane rpl "
    "extensionreplace er basenamereplace bnr dirnamereplace dnr basenameextensionreplace bner "
    "seqreplace slotreplace ssh-delay max-line-length-allowed number-of-cpus number-of-sockets "
    "number-of-cores number-of-threads use-sockets-instead-of-threads "
    "use-cores-instead-of-threads use-cpus-instead-of-cores ctag ctag-string color-failed "
    "colour-failed color-fail colour-fail cf controlmaster M template tmpl ctrl-c no-ctrl-c "
    "rsync-opts use-compress-program compress-program use-decompress-program "
    "decompress-program open-tty o tty total-jobs total record-env session plain tollef "
    "linkinputsource xapplyinputsource min-version csv shebang hashbang shebang-wrap bug "
    "block-timeout bt shard bin group-by hgrp hostgrp hostgroup hostgroups embed filter _parset "
    "shell-completion _pipe-means-argfiles _test g B T U W Y H";

static const char subcommands_later[] = "migrate report";

const struct option *
options_table(size_t *n)
{
	*n = NOPTIONS;
	return options;
}

const char *
options_group_name(enum option_group group)
{
	static const char *const names[] = {
		[OPTION_INPUTS] = "Inputs",
		[OPTION_TEMPLATE] = "The command",
		[OPTION_BATCH] = "Several inputs in one command",
		[OPTION_LIMIT] = "How many at once",
		[OPTION_OUTPUT] = "Output",
		[OPTION_FAILURE] = "Failure",
		[OPTION_LOG] = "The log, and going on from it",
		[OPTION_MACHINES] = "Machines",
		[OPTION_OTHER] = "Other",
	};
	_Static_assert(sizeof(names) / sizeof(*names) == OPTION_GROUPS, "a name for each group");

	return names[group];
}

/* Names of such a list that begin as typed: each is an option of its own. */
static size_t
list_begins(const char *list, const char *typed, size_t typedsize)
{
	const char *name = NULL;
	size_t size, n = 0;

	while ((name = options_name_next(list, name, &size)) != NULL)
		n += size > 1 && options_name_match(name, size, typed, typedsize) != OPTIONS_MATCH_NO;
	return n;
}

enum option_found
options_find_long(const char *typed, size_t size, const struct option **ret)
{
	const struct option *begins = NULL;
	size_t nlater, nlacking, n = 0;

	for (size_t i = 0; i < NOPTIONS; i++) {
		enum options_match shown = options_match(options[i].names, typed, size);
		enum options_match also = options_match(options[i].also, typed, size);

		if (shown == OPTIONS_MATCH_WHOLE || also == OPTIONS_MATCH_WHOLE) {
			*ret = &options[i];
			return OPTION_FOUND;
		}
		if (shown == OPTIONS_MATCH_BEGINS || also == OPTIONS_MATCH_BEGINS) {
			begins = &options[i];
			n++;
		}
	}
	if (options_match(later, typed, size) == OPTIONS_MATCH_WHOLE)
		return OPTION_LATER;
	if (options_match(lacking, typed, size) == OPTIONS_MATCH_WHOLE)
		return OPTION_LACKING;
	nlater = list_begins(later, typed, size);
	nlacking = list_begins(lacking, typed, size);
	if (n + nlater + nlacking > 1)
		return OPTION_AMBIGUOUS;
	if (nlater > 0)
		return OPTION_LATER;
	if (nlacking > 0)
		return OPTION_LACKING;
	if (n == 0)
		return OPTION_UNKNOWN;
	*ret = begins;
	return OPTION_FOUND;
}

enum option_found
options_find_short(char letter, const struct option **ret)
{
	for (size_t i = 0; i < NOPTIONS; i++) {
		if (options_letter(options[i].names, letter)) {
			*ret = &options[i];
			return OPTION_FOUND;
		}
	}
	if (options_letter(later, letter))
		return OPTION_LATER;
	return options_letter(lacking, letter) ? OPTION_LACKING : OPTION_UNKNOWN;
}

size_t
options_word_count(const char *word)
{
	const struct option *option = NULL;
	const char *value = strchr(word, '=');

	if (word[1] == '-') {
		if (value != NULL || options_find_long(word + 2, strlen(word + 2), &option) != OPTION_FOUND)
			return 1;
		return option->value != NULL && option->value[0] != '[' ? 2 : 1;
	}
	for (const char *letter = word + 1; *letter != '\0'; letter++) {
		if (options_find_short(*letter, &option) != OPTION_FOUND)
			return 1;
		if (option->value != NULL)
			return option->value[0] != '[' && letter[1] == '\0' ? 2 : 1;
	}
	return 1;
}

/* Append the long names of list that begin as typed; n is what text holds. */
static size_t
candidates_add(const char *list, const char *typed, size_t typedsize, char *text, size_t textsize, size_t n)
{
	const char *name = NULL;
	size_t size;

	while ((name = options_name_next(list, name, &size)) != NULL) {
		if (size == 1 || options_name_match(name, size, typed, typedsize) == OPTIONS_MATCH_NO)
			continue;
		if (n + size + 5 > textsize)
			break;
		n += (size_t)snprintf(text + n, textsize - n, "%s--%.*s", n > 0 ? ", " : "", (int)size, name);
	}
	return n;
}

void
options_candidates(const char *typed, size_t size, char *text, size_t textsize)
{
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; i < NOPTIONS; i++)
		n = candidates_add(options[i].names, typed, size, text, textsize, n);
	n = candidates_add(later, typed, size, text, textsize, n);
	candidates_add(lacking, typed, size, text, textsize, n);
}

enum { NAME_MAX_NEAR = 40 };

/* Edits (put in, take out, change, swap two neighbours) from a to b; both are short. */
static size_t
distance(const char *a, size_t asize, const char *b, size_t bsize)
{
	size_t rows[3][NAME_MAX_NEAR + 1];
	size_t *before = rows[0], *above = rows[1], *row = rows[2];

	for (size_t j = 0; j <= bsize; j++)
		above[j] = j;
	for (size_t i = 1; i <= asize; i++) {
		size_t *reused = before;

		row[0] = i;
		for (size_t j = 1; j <= bsize; j++) {
			size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);

			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			row[j] = best;
		}
		before = above;
		above = row;
		row = reused;
	}
	return above[bsize];
}

const char *
options_nearest(const char *typed, size_t typedsize, size_t *ret)
{
	size_t best = 1 + (typedsize < 4 ? 1 : typedsize < 9 ? 2 : 3);
	const char *nearest = NULL;

	if (typedsize > NAME_MAX_NEAR)
		return NULL;
	for (size_t i = 0; i < NOPTIONS; i++) {
		const char *name = NULL;
		size_t size;

		while ((name = options_name_next(options[i].names, name, &size)) != NULL) {
			size_t edits =
			    size > 1 && size <= NAME_MAX_NEAR ? distance(typed, typedsize, name, size) : best;

			if (edits < best) {
				best = edits;
				nearest = name;
				*ret = size;
			}
		}
	}
	return nearest;
}

bool
options_subcommand_later(const char *word)
{
	const char *name = NULL;
	size_t size;

	while ((name = options_name_next(subcommands_later, name, &size)) != NULL) {
		if (strlen(word) == size && memcmp(name, word, size) == 0)
			return true;
	}
	return false;
}
