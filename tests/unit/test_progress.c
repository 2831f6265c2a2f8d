/* SPDX-License-Identifier: MIT */
/* The text of the progress line and of the summary, and the rate that the line rests on. */
#include <stdlib.h>
#include <string.h>

#include "progress_format.h"
#include "tap.h"
/* Whole: the build file of the tests knows no program of its own for it. */
#include "summary.c"

static const int64_t second_ns = 1000000000;

/* 312 tasks a second, and so 9 s for what is left of 4,000. */
static struct progress_rate
steady(uint64_t done)
{
	struct progress_rate r = { 0 };

	progress_rate_add(&r, 0, 0);
	for (int i = 1; i <= 40; i++)
		progress_rate_add(&r, i * second_ns / 10, (uint64_t)(i * 312 / 10));
	r.done = done;
	return r;
}

static struct knee_stats
some(uint64_t failed)
{
	return (struct knee_stats){
		.started = 1218,
		.done = 1204,
		.failed = failed,
		.total = 4000,
		.total_known = 1,
		.running = 14,
		.limit = 14,
		.peak = 14,
		.cpu_busy_frac = -1,
	};
}

static const char *
line_of(struct progress_view v, const struct knee_stats *stats)
{
	static char line[PROGRESS_LINE_BYTES];
	static struct progress_rate rate;

	rate = steady(stats->done);
	v.face = "knee";
	v.stats = stats;
	v.rate = &rate;
	progress_line(&v, line);
	return line;
}

static void
test_line(void)
{
	struct knee_stats s = some(0);

	is_str(line_of((struct progress_view){ .cols = 80 }, &s),
	    "knee  1,204/4,000  312/s  0 failed  ETA 9s   14 at once", "all fields");
	s.total_known = 0;
	s.total = 0;
	is_str(line_of((struct progress_view){ .cols = 80 }, &s),
	    "knee  1,204 done  312/s  0 failed   14 at once", "total unknown");
	s.total = 4000;
	is_str(line_of((struct progress_view){ .cols = 80, .bar = true }, &s),
	    "knee  1,204/4,000+  312/s  0 failed   14 at once", "still reading: no bar, no ETA");
	s = some(0);
	s.done = 0;
	s.running = 3;
	is_str(line_of((struct progress_view){ .cols = 80 }, &s) + strlen("knee  0/4,000  312/s  "),
	    "0 failed  ETA 13s   3 at once", "fewer run than may");
	s.done = 4000;
	ok(strstr(line_of((struct progress_view){ .cols = 80 }, &s), "ETA") == NULL, "no ETA at the end");
}

static void
test_narrow(void)
{
	struct knee_stats s = some(0);
	static const struct {
		unsigned cols;
		const char *want;
	} rows[] = {
		{ 56, "knee  1,204/4,000  312/s  0 failed  ETA 9s   14 at once" },
		{ 55, "knee  1,204/4,000  312/s  0 failed  ETA 9s" },
		{ 42, "knee  1,204/4,000  312/s  ETA 9s" },
		{ 32, "knee  1,204/4,000  ETA 9s" },
		{ 20, "1,204/4,000  ETA 9s" },
		{ 19, "1,204/4,000" },
		{ 12, "1,204/4,000" },
		{ 11, "30%" },
		{ 4, "30%" },
		{ 3, "" },
		{ 1, "" },
		{ 0, "" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		is_str(line_of((struct progress_view){ .cols = rows[i].cols }, &s), rows[i].want,
		    "%u columns", rows[i].cols);
	s.failed = 3;
	is_str(line_of((struct progress_view){ .cols = 30 }, &s), "1,204/4,000  3 failed  ETA 9s",
	    "failures outlive the name");
	is_str(line_of((struct progress_view){ .cols = 29 }, &s), "1,204/4,000  3 failed", "and the ETA");
	is_str(line_of((struct progress_view){ .cols = 29, .eta = true }, &s), "1,204/4,000  ETA 9s",
	    "but not one that was asked for");
	s.total_known = 0;
	s.total = 0;
	is_str(line_of((struct progress_view){ .cols = 5 }, &s), "", "no percentage of nothing");
}

static void
test_bar(void)
{
	struct knee_stats s = some(0);

	is_str(line_of((struct progress_view){ .cols = 80, .bar = true }, &s),
	    "knee  30%  [====>          ]  1,204/4,000  312/s  0 failed  ETA 9s   14 at once",
	    "it fills the line");
	is_str(line_of((struct progress_view){ .cols = 20, .bar = true }, &s), "30%  [===>        ]",
	    "20 columns");
	is_str(line_of((struct progress_view){ .cols = 10, .bar = true }, &s), "30%", "10 columns");
	s.done = 4000;
	is_str(line_of((struct progress_view){ .cols = 20, .bar = true }, &s), "100%  [===========]", "full");
	s.done = 0;
	is_str(
	    line_of((struct progress_view){ .cols = 20, .bar = true }, &s), "0%  [>            ]", "empty");
	s.total = 0;
	ok(strchr(line_of((struct progress_view){ .cols = 80, .bar = true }, &s), '[') == NULL,
	    "none without tasks");
}

static void
test_color(void)
{
	struct knee_stats s = some(3);
	const char *line = line_of((struct progress_view){ .cols = 80, .color = true }, &s);

	is_str(
	    line, "knee  1,204/4,000  312/s  \033[31m3 failed\033[m  ETA 9s   14 at once", "failures in red");
	s.failed = 0;
	line = line_of((struct progress_view){ .cols = 80, .color = true }, &s);
	ok(strchr(line, '\033') == NULL, "no colour without failures");
}

/* Columns of the line: its bytes without the colour's. */
static size_t
columns(const char *line)
{
	size_t n = 0;

	for (; *line != '\0'; line++) {
		if (*line == '\033')
			line = strchr(line, 'm');
		else
			n += ((unsigned char)*line & 0xc0) != 0x80;
	}
	return n;
}

static void
test_width_random(void)
{
	unsigned seed = 20;
	bool fits = true;

	for (int i = 0; i < 100000 && fits; i++) {
		uint64_t total = (uint64_t)rand_r(&seed) << (rand_r(&seed) % 32);
		uint64_t done = total > 0 ? (uint64_t)rand_r(&seed) % total : 0;
		struct knee_stats s = {
			.total = total,
			.done = done,
			.started = done,
			.failed = done / 3,
			.total_known = rand_r(&seed) % 3 > 0,
			.limit = (unsigned)rand_r(&seed),
			.running = (unsigned)rand_r(&seed),
			.rising = rand_r(&seed) % 3 - 1,
			.suspended = rand_r(&seed) % 4 == 0 ? (unsigned)rand_r(&seed) : 0,
			.cpu_busy_frac = (rand_r(&seed) % 200 - 20) / 100.0,
		};
		struct progress_view v = {
			.cols = (unsigned)rand_r(&seed) % 220,
			.bar = rand_r(&seed) % 2 == 0,
			.eta = rand_r(&seed) % 2 == 0,
			.color = rand_r(&seed) % 2 == 0,
			.utf8 = rand_r(&seed) % 2 == 0,
		};
		size_t n = columns(line_of(v, &s));

		fits = v.cols == 0 ? n == 0 : n < v.cols;
		if (!fits)
			diag("%u columns: %s", v.cols, line_of(v, &s));
	}
	ok(fits, "never as wide as the terminal");
}

static void
test_rate(void)
{
	struct progress_rate r = { 0 };
	double eta;

	ok(progress_rate_get(&r) <= 0 && progress_rate_eta(&r, 5) < 0, "unknown at first");
	progress_rate_add(&r, 5 * second_ns, 0);
	progress_rate_add(&r, 9 * second_ns, 0);
	ok(progress_rate_get(&r) <= 0 && progress_rate_eta(&r, 5) < 0, "unknown until a task ends");
	r = (struct progress_rate){ 0 };

	/* Two tasks every ten seconds, looked at ten times a second. */
	for (int i = 0; i <= 399; i++)
		progress_rate_add(&r, i * second_ns / 10, (uint64_t)(i / 100 * 2));
	eta = progress_rate_eta(&r, 4);
	ok(eta > 9 && eta < 11.5, "waves: 4 left, one of two waves all but over: %.1f s", eta);
	for (int i = 400; i <= 2000; i++)
		progress_rate_add(&r, i * second_ns / 10, 6);
	ok(progress_rate_get(&r) < 0.1, "a stall slows it: %.3f", progress_rate_get(&r));

	r = (struct progress_rate){ 0 };
	for (int i = 0; i <= 600; i++)
		progress_rate_add(&r, i * second_ns / 10, (uint64_t)i * 100);
	for (int i = 601; i <= 750; i++)
		progress_rate_add(&r, i * second_ns / 10, (uint64_t)(60000 + (i - 600)));
	ok(progress_rate_get(&r) < 30, "it follows a change within 15 s: %.1f", progress_rate_get(&r));
}

static void
test_numbers(void)
{
	struct knee_stats s = { .total_known = 1, .limit = 1, .running = 1, .cpu_busy_frac = -1 };
	struct progress_rate r = { .seconds = 1, .tasks = 1 };
	struct progress_view v = { .face = "k", .stats = &s, .rate = &r, .cols = 80 };
	char line[PROGRESS_LINE_BYTES];
	static const struct {
		double rate;
		uint64_t total;
		const char *want;
	} rows[] = {
		{ 1, 59, "k  0/59  1.0/s  0 failed  ETA 59s   1 at once" },
		{ 1, 65, "k  0/65  1.0/s  0 failed  ETA 1m05s   1 at once" },
		{ 1, 7400, "k  0/7,400  1.0/s  0 failed  ETA 2h03m   1 at once" },
		{ 1, 360000, "k  0/360,000  1.0/s  0 failed  ETA 4d04h   1 at once" },
		{ 1, 1000000000, "k  0/1,000,000,000  1.0/s  0 failed   1 at once" },
		{ 0.5, 1, "k  0/1  30/min  0 failed  ETA 2s   1 at once" },
		{ 0.01, 1, "k  0/1  36.0/h  0 failed  ETA 1m40s   1 at once" },
		{ 12345, 1, "k  0/1  12,345/s  0 failed  ETA 1s   1 at once" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		r.tasks = rows[i].rate;
		s.total = rows[i].total;
		progress_line(&v, line);
		is_str(line, rows[i].want, "%g a second, %llu left", rows[i].rate,
		    (unsigned long long)rows[i].total);
	}
}

/* ---- the number at once ------------------------------------------------------ */

static void
test_limit_fields(void)
{
	struct knee_stats s = some(0);
	const struct knee_work works[] = {
		{ .kind = KNEE_KIND_CPU, .resource = "cores", .busy_frac = 1 },
		{ .kind = KNEE_KIND_DISK, .resource = "vda", .busy_frac = 0.714 },
		{ .kind = KNEE_KIND_NET, .resource = "eth0", .busy_frac = 0.5 },
	};
	struct progress_view v = { .cols = 200, .utf8 = true, .works = works, .nworks = 3 };
	const char *shown;

	s.cpu_busy_frac = 0.4;
	s.rising = 1;
	is_str(line_of(v, &s),
	    "knee  1,204/4,000  312/s  0 failed  ETA 9s   14 at once \u2191  disk vda 71%  cpu 40%",
	    "rising");
	v.utf8 = false;
	s.rising = -1;
	s.suspended = 3;
	is_str(line_of(v, &s),
	    "knee  1,204/4,000  312/s  0 failed  ETA 9s   14 at once v  3 suspended: memory  "
	    "disk vda 71%  cpu 40%",
	    "falling, in ASCII, with suspended tasks");
	v.cols = 77;
	shown = line_of(v, &s);
	ok(strstr(shown, "suspended") && strstr(shown, "at once") == NULL && strstr(shown, "cpu") == NULL &&
		strstr(shown, "vda") == NULL,
	    "the suspended ones outlive the resources: %s", shown);
	s.suspended = 0;
	s.rising = 1;
	v.utf8 = true;
	v.cols = 81;
	is_str(line_of(v, &s),
	    "knee  1,204/4,000  312/s  0 failed  ETA 9s   14 at once \u2191  disk vda 71%  cpu 40%",
	    "an arrow is one column");
	v.cols = 80;
	is_str(line_of(v, &s), "knee  1,204/4,000  312/s  0 failed  ETA 9s   14 at once \u2191  disk vda 71%",
	    "cpu goes first");
	s.cpu_busy_frac = 1.7;
	v.works = &works[2];
	v.nworks = 1;
	v.cols = 200;
	shown = line_of(v, &s);
	ok(strstr(shown, "net eth0 50%  cpu 100%"), "never more than all: %s", shown);
	s.cpu_busy_frac = -1;
	v.works =
	    (const struct knee_work[]){ { .kind = KNEE_KIND_DISK, .resource = "vda", .busy_frac = -1 } };
	ok(strchr(line_of(v, &s), '%') == NULL, "nothing is said of what is not known");
}

/* ---- the sentence at the end --------------------------------------------------- */

static const char *
summary_of(struct summary_view v)
{
	static char text[SUMMARY_BYTES];

	summary_line(&v, text);
	return text;
}

static const struct knee_work disk_work = {
	.kind = KNEE_KIND_DISK,
	.name = "md5sum",
	.done = 4000,
	.limit = 14,
	.least = 1,
	.most = 256,
	.settled = 1,
	.why = "disk-bound (vda 97 % busy)",
	.levels = { { 2, 0.3 }, { 7, 0.71 }, { 14, 1 }, { 28, 0.99 }, { 56, 0.98 } },
	.nlevels = 5,
};

static void
test_summary(void)
{
	struct knee_stats s = {
		.done = 4000,
		.elapsed_ns = 12300000000,
		.one_at_a_time_ns = 211560000000,
		.peak = 14,
	};
	struct summary_view v = { .stats = &s, .works = &disk_work, .nworks = 1, .utf8 = true };

	is_str(summary_of(v),
	    "4,000 tasks, 0 failed, 12.3 s; about 17\u00d7 one at a time; settled at 14 of 1-256: disk-bound "
	    "(vda 97 % busy); 28 gave 0.99 of the throughput, 7 gave 0.71",
	    "all of it");
	s.stored = 3000;
	ok(strncmp(summary_of(v), "4,000 tasks (3,000 of an earlier run), 0 failed, 12.3 s; ", 57) == 0, "%s",
	    summary_of(v));
	s.stored = 0;
	v.utf8 = false;
	v.fixed = true;
	is_str(summary_of(v), "4,000 tasks, 0 failed, 12.3 s; about 17x one at a time; at most 14 at once",
	    "a fixed number, in ASCII");
	v.fixed = false;
	v.nworks = 0;
	s.one_at_a_time_ns = 14000000000;
	is_str(summary_of(v), "4,000 tasks, 0 failed, 12.3 s; at most 14 at once",
	    "little gained, nothing measured");
	s.one_at_a_time_ns = 24000000000;
	is_str(summary_of(v), "4,000 tasks, 0 failed, 12.3 s; about 2.0x one at a time; at most 14 at once",
	    "small factors have a decimal");
	s = (struct knee_stats){
		.done = 1, .failed = 1, .elapsed_ns = 754 * second_ns, .peak = 1, .stopped = 1
	};
	is_str(summary_of(v), "1 task, 1 failed, 12m34s, stopped early", "one, stopped");
}

static void
test_summary_missing(void)
{
	struct knee_stats s = { .done = 4000, .elapsed_ns = 12300000000, .peak = 14 };
	struct knee_work w = disk_work;
	struct summary_view v = { .stats = &s, .works = &w, .nworks = 1 };

	w.nlevels = 3;
	is_str(summary_of(v),
	    "4,000 tasks, 0 failed, 12.3 s; settled at 14 of 1-256: disk-bound (vda 97 % busy); 7 gave 0.71 "
	    "of the throughput",
	    "nothing measured above");
	w.nlevels = 0;
	w.most = 0;
	w.why[0] = '\0';
	is_str(summary_of(v), "4,000 tasks, 0 failed, 12.3 s; settled at 14", "only the number");
	w = disk_work;
	w.settled = 0;
	w.limit = 8;
	w.nlevels = 0;
	is_str(summary_of(v),
	    "4,000 tasks, 0 failed, 12.3 s; at 8, still searching: disk-bound (vda 97 % busy)",
	    "not settled");
}

static void
test_summary_several(void)
{
	struct knee_stats s = { .done = 4100, .elapsed_ns = 12300000000, .peak = 16 };
	struct knee_work works[20];
	struct summary_view v = { .stats = &s, .works = works, .nworks = 2 };
	const char *text;
	bool fits = true;

	for (size_t i = 0; i < 20; i++)
		works[i] = (struct knee_work){
			.name = "sha256sum", .limit = 2, .settled = 1, .why = "CPU-bound (97 % of 2 cores)"
		};
	works[0] = disk_work;
	works[0].nlevels = 0;
	is_str(summary_of(v),
	    "4,100 tasks, 0 failed, 12.3 s; md5sum settled at 14 of 1-256: disk-bound (vda 97 % busy); "
	    "sha256sum settled at 2: CPU-bound",
	    "two kinds");
	works[1].settled = 0;
	text = summary_of(v);
	ok(strstr(text, "; sha256sum at 2, still searching: CPU-bound"), "the second is searched: %s", text);
	works[0] = disk_work;
	for (v.nworks = 1; v.nworks <= 20; v.nworks++) {
		text = summary_of(v);
		if (columns(text) + strlen("knee: ") > SUMMARY_COLUMNS) {
			diag("%zu kinds: %s", v.nworks, text);
			fits = false;
		}
	}
	ok(fits, "never longer than it may be");
	v.nworks = 20;
	text = summary_of(v);
	ok(strstr(text, "; and 19 kinds more"), "kinds that found no room are counted: %s", text);
	memset(works[0].name, 'n', sizeof(works[0].name) - 1);
	memset(works[0].why, 'w', sizeof(works[0].why) - 1);
	text = summary_of(v);
	ok(strstr(text, "; and 19 kinds more"), "one long kind does not overflow: %s", text);
}

static void
test_work(void)
{
	struct knee_work w = disk_work;
	char text[SUMMARY_BYTES];

	w.cpu_share = 0.05;
	w.disk_share = 0.9;
	w.wait_share = 0.05;
	w.cores_per_task = 4;
	summary_work(&w, false, text);
	is_str(text,
	    "md5sum: 4,000 tasks, settled at 14 of 1-256: disk-bound (vda 97 % busy); of its time 5 % CPU, "
	    "90 % disk, 5 % waiting; 4.0 cores a task; measured: 2: 0.30, 7: 0.71, 14: 1.00, 28: 0.99, "
	    "56: 0.98",
	    "all of it");
	w = (struct knee_work){ .limit = 3, .done = 1 };
	summary_work(&w, true, text);
	is_str(text, "tasks: 1 task, 3 at once as asked", "nothing measured");
}

int
main(void)
{
	test_line();
	test_narrow();
	test_bar();
	test_color();
	test_width_random();
	test_rate();
	test_numbers();
	test_limit_fields();
	test_summary();
	test_summary_missing();
	test_summary_several();
	test_work();
	return done_testing();
}
