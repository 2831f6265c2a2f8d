/* SPDX-License-Identifier: MIT */
/*
 *	4,000 tasks: 3,990 succeeded, 6 failed, 4 interrupted
 *	3 runs from 2026-11-24 04:08:16 to 2026-11-24 05:10:02, 58m12s in all
 *	4,012 attempts took 27h30m: 28.4 at once on average; CPU 25h10m
 *	largest process 1.2G; read from disks 3.4G, written 1.2G; printed 12M
 */
#include "log_parts.h"
#include "progress_format.h"

static void
put_count(uint64_t n, const char *one)
{
	char text[32];

	progress_count(text, n);
	printf("%s %s%s", text, one, n == 1 ? "" : "s");
}

/* ", 6 failed", or nothing when there are none. */
static void
put_some(const char *before, uint64_t n, const char *what)
{
	char text[32];

	progress_count(text, n);
	if (n > 0)
		printf("%s%s %s", before, text, what);
}

static void
put_span(const struct knee_log_totals *t)
{
	char begin[LOG_CELL_BYTES], end[LOG_CELL_BYTES], length[LOG_CELL_BYTES];

	log_put_moment(begin, t->begin_time_ns);
	log_put_moment(end, t->end_time_ns);
	log_put_seconds(length, t->elapsed_ns);
	printf("from %s to %s", begin, t->alive ? "now" : end);
	if (t->elapsed_ns > 0)
		printf(", %s%s", length, t->runs > 1 ? " in all" : "");
	putchar('\n');
}

static void
put_used(const struct knee_log_totals *t)
{
	char runtime[LOG_CELL_BYTES], cpu[LOG_CELL_BYTES], memory[LOG_CELL_BYTES];
	char in[LOG_CELL_BYTES], out[LOG_CELL_BYTES], printed[LOG_CELL_BYTES];

	log_put_seconds(runtime, t->runtime_ns);
	log_put_seconds(cpu, t->cpu_ns);
	log_put_bytes(memory, t->peak_rss_bytes);
	log_put_bytes(in, (int64_t)t->disk_read_bytes);
	log_put_bytes(out, (int64_t)t->disk_written_bytes);
	log_put_bytes(printed, (int64_t)t->output_bytes);
	put_count(t->attempts, "attempt");
	printf(" took %s", runtime);
	if (t->elapsed_ns > 0 && t->attempts > 1)
		printf(": %.1f at once on average", (double)t->runtime_ns / (double)t->elapsed_ns);
	printf("; CPU %s\nlargest process %s; read from disks %s, written %s; printed %s\n", cpu, memory, in,
	    out, printed);
}

void
log_print_totals(const struct knee_log_totals *t, bool filtered, bool attempts)
{
	put_count(t->tasks, attempts ? "attempt" : "task");
	put_some(": ", t->succeeded, "succeeded");
	put_some(t->succeeded > 0 ? ", " : ": ", t->failed, "failed");
	put_some(t->succeeded + t->failed > 0 ? ", " : ": ", t->running, "running");
	put_some(t->succeeded + t->failed + t->running > 0 ? ", " : ": ", t->interrupted, "interrupted");
	putchar('\n');
	if (t->runs > 0 && t->begin_time_ns > 0) {
		if (!filtered) {
			put_count(t->runs, "run");
			putchar(' ');
		}
		put_span(t);
	}
	if (t->attempts > 0)
		put_used(t);
}
