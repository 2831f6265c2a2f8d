/* SPDX-License-Identifier: MIT */
/*
 * The command line as struct cli_options, and the values of options, without a program
 * around them.  What is said about errors is tests/cli/test_options.py's matter; here only
 * that there is one, and that memory may run out at any point.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "alloc.h"
#include "options_table.h"
#include "tap.h"

void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

void *
__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return ++alloc_count == alloc_fail_at ? NULL : __real_reallocarray(p, n, size);
}

/* The parser prints limits itself; here nobody asks for them. */
size_t
batch_max_chars(void)
{
	return 0;
}

void
batch_show_limits(FILE *out, const struct cli_options *o)
{
	(void)out;
	(void)o;
}

enum { WORDS_MAX = 32 };

/* Parse a blank-separated line, whose first word is the program's name. */
static int
parse(struct cli_options *o, const char *line)
{
	/* As argv, the words live as long as the options do. */
	static char text[1024];
	static char *words[WORDS_MAX + 1];
	enum options_action action;
	int n = 0, err, saved = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	snprintf(text, sizeof(text), "%s", line);
	for (char *word = strtok(text, " "); word && n < WORDS_MAX; word = strtok(NULL, " "))
		words[n++] = word;
	words[n] = NULL;
	dup2(null, STDERR_FILENO);
	err = options_parse(o, n, words, &action);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(null);
	return err;
}

/* ---- values -------------------------------------------------------------- */

static void
test_duration(void)
{
	static const struct {
		const char *text;
		int64_t ns; /* -1: refused; -2: too long */
	} cases[] = {
		{ "10", 10000000000 },
		{ "1.5", 1500000000 },
		{ "0", 0 },
		{ ".5", 500000000 },
		{ "2m", 120000000000 },
		{ "1h", 3600000000000 },
		{ "1d", 86400000000000 },
		{ "500ms", 500000000 },
		{ "2m30s", 150000000000 },
		{ "1.5s", 1500000000 },
		{ "1H", 3600000000000 },
		{ "1d2h3m4s5ms", 93784005000000 },
		{ "0.000000001", 1 },
		{ "", -1 },
		{ "abc", -1 },
		{ "1x", -1 },
		{ "1m30", -1 },
		{ "-1", -1 },
		{ "1e3", -1 },
		{ " 1", -1 },
		{ "inf", -1 },
		{ "nan", -1 },
		{ "0x10", -1 },
		{ "s", -1 },
		{ ".", -1 },
		{ "1s ", -1 },
		{ "99999999999999999999", -2 },
		{ "12000d", -2 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int64_t ns = cases[i].ns < 0 ? cases[i].ns : -3;
		int err = value_duration(cases[i].text, &ns);
		int want = cases[i].ns == -1 ? -EINVAL : cases[i].ns == -2 ? -ERANGE : 0;

		is_int(err, want, "duration '%s': error", cases[i].text);
		is_int(ns, cases[i].ns, "duration '%s'", cases[i].text);
	}
}

static void
test_count(void)
{
	static const struct {
		const char *text;
		uint64_t max, want;
		int err;
	} cases[] = {
		{ "0", 10, 0, 0 },
		{ "10", 10, 10, 0 },
		{ "11", 10, 0, -ERANGE },
		{ "4k", 9999, 4000, 0 },
		{ "4K", 9999, 4096, 0 },
		{ "4Ki", 9999, 4096, 0 },
		{ "4ki", 9999, 4096, 0 },
		{ "1M", 1 << 20, 1 << 20, 0 },
		{ "1m", 1 << 20, 1000000, 0 },
		{ "2g", UINT64_MAX, 2000000000, 0 },
		{ "", 10, 0, -EINVAL },
		{ "k", 10, 0, -EINVAL },
		{ "1x", 10, 0, -EINVAL },
		{ "1kb", 9999, 0, -EINVAL },
		{ "-1", 10, 0, -EINVAL },
		{ "+1", 10, 0, -EINVAL },
		{ "1.5", 10, 0, -EINVAL },
		{ "0x1", 10, 0, -EINVAL },
		{ "18446744073709551615", UINT64_MAX, UINT64_MAX, 0 },
		{ "18446744073709551616", UINT64_MAX, 0, -ERANGE },
		{ "18446744073709551615k", UINT64_MAX, 0, -ERANGE },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint64_t n = 0;

		is_int(value_count(cases[i].text, cases[i].max, &n), cases[i].err, "count '%s': error",
		    cases[i].text);
		ok(n == cases[i].want, "count '%s'", cases[i].text);
	}
}

static void
test_jobs(void)
{
	static const struct {
		const char *text;
		unsigned cores, want; /* 0: refused */
	} cases[] = {
		{ "1", 2, 1 },
		{ "64", 2, 64 },
		{ "0", 2, UINT_MAX },
		{ "50%", 4, 2 },
		{ "100%", 4, 4 },
		{ "150%", 3, 5 },
		{ "1%", 8, 1 },
		{ "0%", 8, 1 },
		{ "12.5%", 16, 2 },
		{ "+2", 4, 6 },
		{ "+0", 4, 4 },
		{ "-1", 4, 3 },
		{ "-4", 4, 1 },
		{ "-5", 2, 1 },
		{ "", 4, 0 },
		{ "+", 4, 0 },
		{ "4x", 4, 0 },
		{ "+50%", 4, 0 },
		{ "--1", 4, 0 },
		{ "4294967295", 4, 0 },
		{ "4294967294", 4, UINT_MAX - 1 },
		{ "+4294967294", 4, 0 },
		{ "99999999999%", 4, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct value_jobs jobs = { 0 };
		int err = value_jobs(cases[i].text, cases[i].cores, &jobs);

		ok((err < 0) == (cases[i].want == 0), "jobs '%s': error", cases[i].text);
		is_int(jobs.limit, cases[i].want, "jobs '%s' of %u cores", cases[i].text, cases[i].cores);
		ok(jobs.least == 0 && jobs.most == 0, "jobs '%s': no bounds", cases[i].text);
	}
}

static void
test_jobs_auto(void)
{
	static const struct {
		const char *text;
		unsigned least, most;
		int err;
	} cases[] = {
		{ "auto", 0, 0, 0 },
		{ "auto:16", 0, 16, 0 },
		{ "auto:200%", 0, 8, 0 },
		{ "auto:+2", 0, 6, 0 },
		{ "auto:0", 0, 0, 0 },
		{ "2..16", 2, 16, 0 },
		{ "3..3", 3, 3, 0 },
		{ "50%..400%", 2, 16, 0 },
		{ "-1..+4", 3, 8, 0 },
		{ "2..0", 2, 0, 0 },
		{ "auto:", 0, 0, -EINVAL },
		{ "auto:x", 0, 0, -EINVAL },
		{ "automatic", 0, 0, -EINVAL },
		{ "..", 0, 0, -EINVAL },
		{ "2..", 0, 0, -EINVAL },
		{ "..4", 0, 0, -EINVAL },
		{ "0..4", 0, 0, -EINVAL },
		{ "2...4", 0, 0, -EINVAL },
		{ "auto:2..4", 0, 0, -EINVAL },
		{ "000000000000000000000000000001..2", 0, 0, -EINVAL },
		{ "5..2", 0, 0, -ERANGE },
		{ "1..99999999999", 0, 0, -ERANGE },
		{ "auto:99999999999", 0, 0, -ERANGE },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct value_jobs jobs = { .limit = 77 };

		is_int(value_jobs(cases[i].text, 4, &jobs), cases[i].err, "jobs '%s': error", cases[i].text);
		is_int(jobs.limit, cases[i].err ? 77 : 0, "jobs '%s': found by measuring", cases[i].text);
		is_int(jobs.least, cases[i].least, "jobs '%s': least", cases[i].text);
		is_int(jobs.most, cases[i].most, "jobs '%s': most", cases[i].text);
	}
}

static void
test_load(void)
{
	static const struct {
		const char *text;
		double want; /* 0: refused */
	} cases[] = {
		{ "4", 4 },
		{ "2.5", 2.5 },
		{ "50%", 2 },
		{ "+1", 5 },
		{ "-1", 3 },
		{ "-4", 0.01 },
		{ "0", 0.01 },
		{ "", 0 },
		{ "x", 0 },
		{ "4x", 0 },
		{ "+50%", 0 },
		{ "-", 0 },
		{ "99999999999", 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		double load = 0;

		ok((value_load(cases[i].text, 4, &load) < 0) == (cases[i].want == 0), "load '%s': error",
		    cases[i].text);
		ok(load == cases[i].want, "load '%s': %g", cases[i].text, load);
	}
}

static void
test_statuses(void)
{
	static const struct {
		const char *text;
		int err;
	} bad[] = {
		{ "", -EINVAL },
		{ "x", -EINVAL },
		{ "1,", -EINVAL },
		{ ",1", -EINVAL },
		{ "1-", -EINVAL },
		{ "1 2", -EINVAL },
		{ "-1", -EINVAL },
		{ "0", -ERANGE },
		{ "256", -ERANGE },
		{ "5-3", -ERANGE },
		{ "1-256", -ERANGE },
		{ "99999999999999999999", -ERANGE },
	};
	int *list = NULL;
	size_t n = 0;

	is_int(value_statuses("75,3-5,4,255", &list, &n), 0, "statuses");
	is_int(n, 5, "statuses: each once");
	ok(n == 5 && list[0] == 3 && list[1] == 4 && list[2] == 5 && list[3] == 75 && list[4] == 255,
	    "statuses rise");
	free(list);
	list = NULL;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		is_int(value_statuses(bad[i].text, &list, &n), bad[i].err, "statuses '%s'", bad[i].text);
	ok(list == NULL, "nothing is allocated for a bad list");
	is_int(value_statuses("1-255", &list, &n), 0, "statuses: all");
	is_int(n, 255, "statuses: all of them");
	free(list);
}

static void
test_byte(void)
{
	static const struct {
		const char *text;
		int want; /* -1: refused */
	} cases[] = {
		{ ",", ',' },
		{ "\\n", '\n' },
		{ "\\t", '\t' },
		{ "\\0", 0 },
		{ "\\000", 0 },
		{ "\\x1f", 31 },
		{ "\\xA", 10 },
		{ "\\037", 31 },
		{ "\\\\", '\\' },
		{ "\\", '\\' },
		{ "\xff", 255 },
		{ "x", 'x' },
		{ "\\a", 7 },
		{ "\\377", 255 },
		{ "", -1 },
		{ "ab", -1 },
		{ "\\x", -1 },
		{ "\\xfff", -1 },
		{ "\\400", -1 },
		{ "\\0000", -1 },
		{ "\\q", -1 },
		{ "\xc3\xa9", -1 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		unsigned char byte = 'Z';
		int err = value_byte(cases[i].text, &byte);

		ok((err < 0) == (cases[i].want < 0), "byte %zu: error", i);
		is_int(byte, cases[i].want < 0 ? 'Z' : cases[i].want, "byte %zu", i);
	}
}

static void
test_halt(void)
{
	static const struct {
		const char *text;
		int when, on;
		unsigned count;
		int percent, err;
	} cases[] = {
		{ "never", KNEE_HALT_NEVER, 0, 0, 0, 0 },
		{ "0", KNEE_HALT_NEVER, 0, 0, 0, 0 },
		{ "1", KNEE_HALT_SOON, KNEE_HALT_FAIL, 1, 0, 0 },
		{ "2", KNEE_HALT_NOW, KNEE_HALT_FAIL, 1, 0, 0 },
		{ "-1", KNEE_HALT_SOON, KNEE_HALT_SUCCESS, 1, 0, 0 },
		{ "-2", KNEE_HALT_NOW, KNEE_HALT_SUCCESS, 1, 0, 0 },
		{ "5%", KNEE_HALT_SOON, KNEE_HALT_FAIL, 0, 5, 0 },
		{ "now,fail=1", KNEE_HALT_NOW, KNEE_HALT_FAIL, 1, 0, 0 },
		{ "soon,fail=30%", KNEE_HALT_SOON, KNEE_HALT_FAIL, 0, 30, 0 },
		{ "now,success=2", KNEE_HALT_NOW, KNEE_HALT_SUCCESS, 2, 0, 0 },
		{ "soon,done=100%", KNEE_HALT_SOON, KNEE_HALT_DONE, 0, 100, 0 },
		{ "soon", 0, 0, 0, 0, -EINVAL },
		{ "now,", 0, 0, 0, 0, -EINVAL },
		{ "fail=1", 0, 0, 0, 0, -EINVAL },
		{ "3", 0, 0, 0, 0, -EINVAL },
		{ "now,fail", 0, 0, 0, 0, -EINVAL },
		{ "now,fail=", 0, 0, 0, 0, -EINVAL },
		{ "now,fail=1x", 0, 0, 0, 0, -EINVAL },
		{ "now,5%", 0, 0, 0, 0, -EINVAL },
		{ "", 0, 0, 0, 0, -EINVAL },
		{ "now,fail=0", 0, 0, 0, 0, -ERANGE },
		{ "101%", 0, 0, 0, 0, -ERANGE },
		{ "0%", 0, 0, 0, 0, -ERANGE },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct knee_halt halt = { 0 };

		is_int(value_halt(cases[i].text, &halt), cases[i].err, "halt '%s': error", cases[i].text);
		is_int(halt.when, cases[i].when, "halt '%s': when", cases[i].text);
		is_int(halt.on, cases[i].on, "halt '%s': on", cases[i].text);
		is_int(halt.count, cases[i].count, "halt '%s': count", cases[i].text);
		ok(halt.percent == cases[i].percent, "halt '%s': percent", cases[i].text);
	}
}

static void
test_term_seq(void)
{
	static const char *const bad[] = { "", "FOO", "TERM,", "TERM,200,", "TERM,x", "0", "TERM,,KILL",
		"65,1" };
	struct knee_term_step *steps = NULL;
	size_t n = 0;

	is_int(value_term_seq("INT,200,sigterm,50,9", &steps, &n), 0, "term-seq");
	is_int(n, 3, "term-seq: steps");
	is_int(steps[0].signal, SIGINT, "term-seq: first");
	is_int(steps[0].wait_ns, 200000000, "term-seq: first wait");
	is_int(steps[1].signal, SIGTERM, "term-seq: second");
	is_int(steps[2].signal, SIGKILL, "term-seq: third");
	is_int(steps[2].wait_ns, 0, "term-seq: no last wait");
	free(steps);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		is_int(value_term_seq(bad[i], &steps, &n) < 0, 1, "term-seq '%s' is refused", bad[i]);
}

/* ---- command lines ------------------------------------------------------- */

static void
test_words(void)
{
	struct cli_options o;

	is_int(parse(&o, "knee -kj4 --dryrun --max-a 3 cmd -k {} ::: a b :::+ c d :::: x y ::::+ z"), 0,
	    "words");
	is_int(o.limit, 4, "bundled: -j4");
	is_int(o.max_args, 3, "the beginning of a name is enough");
	ok(o.dry_run, "hyphens do not count");
	is_int(o.ncommand, 3, "options end at the command");
	is_str(o.command[1], "-k", "the command keeps its own options");
	is_int(o.ninputs, 5, "five sources");
	is_int(o.inputs[0].nargs, 2, "::: has two words");
	ok(!o.inputs[0].linked && o.inputs[1].linked && !o.inputs[2].linked, "only :::+ is linked");
	ok(!o.inputs[3].linked && o.inputs[4].linked, "::::+ is linked to the last file");
	is_str(o.inputs[3].path, "y", ":::: takes several files");
	options_done(&o);

	is_int(parse(&o, "knee -a p -a q --link --arg-sep ,, cmd ::: 1 ,, 2"), 0, "separators");
	is_int(o.ncommand, 3, "::: is a word when --arg-sep says so");
	is_int(o.ninputs, 3, "-a twice and one separator");
	ok(!o.inputs[0].linked && o.inputs[1].linked && o.inputs[2].linked && o.link_wrap, "--link");
	options_done(&o);

	is_int(parse(&o, "knee run run :::"), 0, "run run");
	is_int(o.ncommand, 1, "only the first run is a subcommand");
	is_int(o.ninputs, 1, "a separator without words is a source");
	options_done(&o);

	is_int(parse(&o, "parallel -j 2 -- run -x"), 0, "-- ends options");
	is_str(o.command[0], "run", "parallel has no subcommands");
	is_int(o.ncommand, 2, "and -x belongs to the command");
	options_done(&o);
}

/* Options that say something only together. */
static void
test_together(void)
{
	static const struct {
		const char *line;
		enum knee_order order;
	} orders[] = {
		{ "knee x", KNEE_ORDER_INPUT },
		{ "parallel x", KNEE_ORDER_DONE },
		{ "parallel -k x", KNEE_ORDER_INPUT },
		{ "knee --unordered x", KNEE_ORDER_DONE },
		{ "knee --lb x", KNEE_ORDER_LINES },
		{ "knee -k --lb x", KNEE_ORDER_INPUT },
		{ "parallel --lb x", KNEE_ORDER_LINES },
		{ "knee -u x", KNEE_ORDER_NONE },
		{ "knee -u -k x", KNEE_ORDER_NONE },
		{ "knee -u --group x", KNEE_ORDER_INPUT },
		{ "parallel --lb --group x", KNEE_ORDER_DONE },
		{ "parallel -k --no-keep-order x", KNEE_ORDER_DONE },
	};
	static const struct {
		const char *line;
		int batch;
		bool context, no_args;
	} batches[] = {
		{ "knee x", BATCH_ARGS, false, false },
		{ "knee -n2 x", BATCH_ARGS, false, false },
		{ "knee -N2 x", BATCH_ARGS, true, false },
		{ "knee -L2 x", BATCH_ARGS, true, false },
		{ "knee -l2 x", BATCH_ARGS, false, false },
		{ "knee -m -L2 x", BATCH_MULTI, false, false },
		{ "knee -m -N2 x", BATCH_MULTI, true, false },
		{ "knee -X x", BATCH_CONTEXT, true, false },
		{ "knee --xargs x", BATCH_XARGS, false, false },
		{ "knee --group auto x", BATCH_XARGS, false, false },
		{ "knee --group=auto -X x", BATCH_CONTEXT, true, false },
		{ "knee --group x", BATCH_ARGS, false, false },
		{ "knee -X --xargs x", BATCH_XARGS, true, false },
		{ "knee -n0 x", BATCH_ARGS, false, true },
		{ "knee -L0 x", BATCH_ARGS, true, true },
		{ "knee -n0 -n1 x", BATCH_ARGS, false, false },
	};
	struct cli_options o;

	for (size_t i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
		is_int(parse(&o, orders[i].line), 0, "%s", orders[i].line);
		is_int(o.order, orders[i].order, "%s: order", orders[i].line);
		options_done(&o);
	}
	for (size_t i = 0; i < sizeof(batches) / sizeof(*batches); i++) {
		is_int(parse(&o, batches[i].line), 0, "%s", batches[i].line);
		is_int(o.batch, batches[i].batch, "%s: mode", batches[i].line);
		is_int(o.context, batches[i].context, "%s: context", batches[i].line);
		is_int(o.no_args, batches[i].no_args, "%s: no arguments", batches[i].line);
		options_done(&o);
	}
}

static void
test_members(void)
{
	struct cli_options o;

	is_int(parse(&o, "knee -C , --tag -I % --timeout 200% --retries 0 --color x"), 0, "members");
	is_int(o.trim, TRIM_BOTH, "-C cuts blanks");
	is_str(o.tagstring, "%", "--tag is what stands for the input");
	ok(o.timeout_frac == 2.0 && o.timeout_ns == 0, "--timeout 200%%");
	is_int(o.retries, UINT_MAX, "--retries 0 has no end");
	is_int(o.color, WHEN_ALWAYS, "--color");
	options_done(&o);

	is_int(parse(&o, "knee -C , --trim n --timeout 200% --timeout 3 --header : --tagstring a\\tb x"), 0,
	    "more");
	is_int(o.trim, TRIM_NONE, "--trim undoes what -C does");
	ok(o.timeout_frac == 0 && o.timeout_ns == 3000000000, "the last --timeout counts");
	is_str(o.tagstring, "a\tb", "--tagstring knows \\t");
	options_done(&o);

	is_int(parse(&o,
		   "knee --load 2.5 --memfree 1G --memsuspend 500m --noswap --limit date --kind net "
		   "--busy-exit 75 --busy-exit 9 --explain --no-memory -j2..9 x"),
	    0, "limits");
	ok(o.load_max == 2.5 && o.memfree_bytes == 1 << 30 && o.memsuspend_bytes == 500000000 && o.noswap,
	    "load and memory");
	is_str(o.limit_command, "date", "--limit is a command");
	is_int(o.kind, KNEE_KIND_NET, "--kind");
	ok(o.nbusy_exits == 1 && o.busy_exits[0] == 9, "the last --busy-exit counts");
	ok(o.explain && o.no_memory, "flags");
	ok(o.limit == 0 && o.limit_min == 2 && o.limit_max == 9, "-j MIN..MAX");
	options_done(&o);

	is_int(parse(&o, "knee -j 2..9 -j 3 x"), 0, "-j twice");
	ok(o.limit == 3 && o.limit_min == 0 && o.limit_max == 0, "the last -j counts alone");
	options_done(&o);
	is_int(parse(&o, "knee -j 3 -j auto x"), 0, "-j auto");
	is_int(o.limit, 0, "-j auto undoes a number");
	options_done(&o);

	is_int(parse(&o, "knee --header : -0 -d ; -E e -r --shuf --nice -5 -l -i -e x"), 0, "and more");
	is_str(o.colsep, "\t", "--header cuts at tabs");
	is_int(o.trim, TRIM_NONE, "but not blanks");
	is_int(o.delimiter, ';', "the last delimiter counts");
	ok(o.nice_set && o.nice == -5, "--nice -5");
	is_int(o.max_lines, 1, "-l without a number is 1");
	ok(o.replacement == NULL && o.eof_string == NULL, "-i and -e take no next word");
	options_done(&o);

	is_int(parse(&o, "knee -v --silent --bar x"), 0, "silent");
	ok(o.silent && !o.verbose, "--silent undoes -v");
	ok(o.bar && o.progress == WHEN_ALWAYS, "--bar shows progress");
	options_done(&o);
}

static void
test_refused(void)
{
	static const char *const lines[] = {
		"knee --nonsense",
		"knee -Z",
		"knee --pipe x",
		"knee -J h x",
		"knee --tollef x",
		"knee --re 1 x",
		"knee --timeout",
		"knee -j",
		"knee -j x y",
		"knee --group=few x",
		"knee --ungroup=auto x",
		"knee -d ab x",
		"knee --tmpdir /nonexistent x",
		"knee --arg-sep , --arg-file-sep ,+ x",
		"knee --parens abc x",
		"knee --shellquote --shellquote",
		"knee -s 0 x",
		"knee --header 0 x",
		"knee --process-slot-var a=b x",
		"knee --nice 20 x",
		"knee --color=red x",
		"knee --trim x y",
		"knee --retries -1 x",
		"knee --kind gpu x",
		"knee --load high x",
		"knee --memfree 1x x",
		"knee --busy-exit 0 x",
		"knee --limit io x",
		"knee -j 9..2 x",
		"knee -j /nonexistent/jobs x",
		"knee -j /tmp x",
	};
	struct cli_options o = { .limit = 77 };

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		is_int(parse(&o, lines[i]), -EINVAL, "refused: %s", lines[i]);
	is_int(o.limit, 77, "the result is untouched on failure");
}

static void
test_memory(void)
{
	static const char line[] = "knee --tagstring a{} --term-seq TERM,2,KILL --busy-exit 1,2 --busy-exit "
				   "3 -a 1 -a 2 -a 3 -a 4 -a 5 -a 6 "
				   "-a 7 -a 8 -a 9 x ::: b";
	struct cli_options o;
	int err;

	setenv("KNEE", "-j2 '--tagstring=q r'", 1);
	for (alloc_fail_at = 1;; alloc_fail_at++) {
		alloc_count = 0;
		err = parse(&o, line);
		if (err == 0)
			break;
		if (err != -ENOMEM)
			is_int(err, -ENOMEM, "allocation %zu fails", alloc_fail_at);
	}
	ok(alloc_fail_at > 5 && alloc_count < alloc_fail_at, "%zu allocations failed in turn",
	    alloc_fail_at - 1);
	alloc_fail_at = 0;
	is_int(o.limit, 2, "$KNEE counts");
	is_str(o.tagstring, "a{}", "the command line counts more");
	options_done(&o);
	unsetenv("KNEE");
}

int
main(void)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	/* Neither this user's settings nor his terminal count here. */
	unsetenv("KNEE");
	unsetenv("PARALLEL");
	setenv("HOME", "/nonexistent", 1);
	unsetenv("XDG_CONFIG_HOME");
	dup2(null, STDIN_FILENO);
	close(null);
	test_duration();
	test_count();
	test_jobs();
	test_jobs_auto();
	test_load();
	test_statuses();
	test_byte();
	test_halt();
	test_term_seq();
	test_words();
	test_together();
	test_members();
	test_refused();
	test_memory();
	return done_testing();
}
