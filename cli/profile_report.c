/* SPDX-License-Identifier: MIT */
/*
 * What a profile found, for people and as one JSON object. What was not measured is left out of the
 * text and null in the JSON: no number is made up.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_text.h"
#include "profile_parts.h"
#include "terminal.h"

/* Trials that differ by no more, or by what chance may do, but that no further, are alike. */
#define NEAR 0.02
#define NEAR_MOST 0.1

#define BAR_CELLS 32
#define LABEL "  %-13s"

/* ---- what follows from the numbers ------------------------------------------ */

static double
best_per_s(const struct profile *p)
{
	double best = 0;

	for (size_t i = 0; i < p->nlevels; i++)
		best = fmax(best, p->levels[i].per_s);
	return best;
}

/* The engine's view with shares in it: of its own choice, or of tasks alone. */
static const struct knee_work *
seen(const struct profile *p)
{
	const struct knee_work *w = &p->work;

	return w->cpu_share + w->disk_share + w->net_share + w->wait_share > 0 ? w : &p->alone;
}

static bool
has_shares(const struct profile *p)
{
	const struct knee_work *w = seen(p);

	return w->cpu_share + w->disk_share + w->net_share + w->wait_share > 0;
}

/* Cores that a task keeps busy while it computes, or would, if it had them; 0: unknown. Alone nothing
 * gets in its way. */
static double
cores_per_task(const struct profile *p)
{
	double all = p->task.runtime_s > 0 ? (p->task.cpu_s + p->task.delay_s) / p->task.runtime_s : 0;

	if (all > 1 || p->alone.cores_per_task > 0)
		return fmax(all, p->alone.cores_per_task);
	return p->work.cores_per_task > 0 ? p->work.cores_per_task : all > 0.5 ? all : 0;
}

/* Alone a task computed all its time, or would have, had nobody else been on the cores. */
static bool
computes(const struct profile *p)
{
	return p->task.cpu_s + p->task.delay_s > 0.85 * p->task.runtime_s && p->task.runtime_s > 0;
}

enum knee_kind
profile_kind(const struct profile *p)
{
	const struct profile_task *t = &p->task;
	double cores;

	/* A search that goes on may still be led astray by what else runs here. */
	if (!p->work.settled && computes(p))
		return KNEE_KIND_CPU;
	if (p->work.limit > 0 && p->work.kind != KNEE_KIND_UNKNOWN)
		return p->work.kind;
	if (p->alone.limit > 0 && p->alone.kind != KNEE_KIND_UNKNOWN)
		return p->alone.kind;
	if (t->runtime_s <= 0)
		return KNEE_KIND_UNKNOWN;
	/* Our own word where the engine has had no time: only what cannot be mistaken. */
	cores = (t->cpu_s + t->delay_s) / t->runtime_s;
	if (cores > 0.7)
		return KNEE_KIND_CPU;
	if (cores > 0.3 || p->nlevels < 2 || p->levels[p->nlevels - 1].limit < 4)
		return KNEE_KIND_UNKNOWN;
	if (best_per_s(p) < 1.5 * p->levels[0].per_s)
		return KNEE_KIND_LOCK;
	return t->disk_bytes > 0 ? KNEE_KIND_UNKNOWN : KNEE_KIND_WAIT;
}

/* The trials are as good as each other, but for 2 % or chance. */
static bool
near(const struct profile_level *a, const struct profile_level *best)
{
	double noise = 2 * hypot(a->noise_frac, best->noise_frac);

	return a->per_s >= (1 - fmin(fmax(NEAR, noise), NEAR_MOST)) * best->per_s;
}

/* Which trial had the smallest number that gave as much as the best one. */
static size_t
trial_enough(const struct profile *p)
{
	const struct profile_level *best = p->levels;
	size_t i = 0;

	for (size_t j = 1; j < p->nlevels; j++)
		if (p->levels[j].per_s > best->per_s)
			best = &p->levels[j];
	while (i + 1 < p->nlevels && !near(&p->levels[i], best))
		i++;
	return i;
}

/* Before the search has ended the trials may know better: its first numbers say little, while the trials
 * have seen where the rise ends, or a number above. */
static bool
by_trials(const struct profile *p)
{
	enum knee_kind kind = profile_kind(p);
	size_t enough = trial_enough(p);

	if (p->work.limit == 0 || p->work.settled)
		return p->work.limit == 0;
	if (kind == KNEE_KIND_LOCK || (kind == KNEE_KIND_CPU && p->work.kind != KNEE_KIND_CPU))
		return true;
	return p->nlevels > 1 && (enough + 1 < p->nlevels || p->work.limit < p->levels[enough].limit);
}

unsigned
profile_limit(const struct profile *p)
{
	double cores = cores_per_task(p);

	if (!by_trials(p))
		return p->work.limit;
	if (profile_kind(p) == KNEE_KIND_CPU && cores > 0)
		return (unsigned)fmax(1, floor(p->cores / fmax(1, cores) + 0.3));
	return p->nlevels > 1 ? p->levels[trial_enough(p)].limit : p->work.limit;
}

/* So many at once against one at a time, by the trials around it; 0: unknown. */
static double
speed_up(const struct profile *p, unsigned limit)
{
	const struct profile_level *l = p->levels;
	size_t i = 1;
	double part;

	if (p->nlevels < 2 || limit == 0 || l[0].per_s <= 0)
		return limit == 1 && p->nlevels == 1 ? 1 : 0;
	if (limit <= l[0].limit)
		return 1;
	while (i + 1 < p->nlevels && l[i].limit < limit)
		i++;
	if (limit >= l[i].limit)
		return l[i].per_s / l[0].per_s;
	part = log((double)limit / l[i - 1].limit) / log((double)l[i].limit / l[i - 1].limit);
	return (l[i - 1].per_s + part * (l[i].per_s - l[i - 1].per_s)) / l[0].per_s;
}

/* ---- text ------------------------------------------------------------------- */

static void
put_seconds(double s)
{
	if (s >= 99.5)
		printf("%.0f s", s);
	else if (s >= 0.9995)
		printf("%.2f s", s);
	else if (s >= 0.00995)
		printf("%.0f ms", s * 1e3);
	else
		printf("%.1f ms", s * 1e3);
}

static void
put_bytes(double bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	size_t unit = 0;

	while (bytes >= 1023.5 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		bytes /= 1024;
		unit++;
	}
	printf(unit == 0 || bytes >= 99.5 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

/* Somebody else's words: one line, no command to the terminal. */
static void
put_text(const char *text)
{
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '\n')
			fputs(text[1] != '\0' ? "\n                 " : "", stdout);
		else
			putchar(c < 0x20 || c == 0x7f ? '?' : c);
	}
}

static void
put_needs(const struct profile *p)
{
	const struct profile_task *t = &p->task;
	double cores = cores_per_task(p);

	printf(LABEL, "one task");
	put_seconds(t->runtime_s);
	if (t->done - t->failed > 1) {
		printf(" (");
		put_seconds(t->shortest_s);
		printf(" to ");
		put_seconds(t->longest_s);
		printf(")");
	}
	printf(", alone\n");
	if (p->start_s > 0) {
		printf(LABEL, "start-up");
		put_seconds(p->start_s);
		printf(" of it, ");
		put_seconds(p->start_cpu_s);
		printf(" of CPU (an empty command started the same way)\n");
	}
	printf(LABEL, "needs CPU");
	put_seconds(t->cpu_s);
	if (cores >= 1.3) {
		/* Nearly a whole number is one: threads start and end one after the other. */
		bool whole = fabs(cores - round(cores)) < 0.2 * cores / 2;

		printf(whole ? ", %.0f cores while it runs" : ", %.1f cores while it runs", cores);
	}
	printf("\n" LABEL, "memory");
	put_bytes((double)t->rss_bytes);
	putchar('\n');
	if (t->io_bytes > 0) {
		printf(LABEL, "data");
		put_bytes(t->io_bytes);
		printf(" read and written, ");
		put_bytes(t->disk_bytes);
		printf(" from and to disks\n");
	}
	printf(LABEL, "network");
	if (t->net_bytes >= 0) {
		put_bytes(t->net_bytes);
		printf(" over all links of this machine meanwhile, by anyone\n");
	} else {
		printf("what goes over it cannot be seen here\n");
	}
	if (t->output_bytes > 0) {
		printf(LABEL, "prints");
		put_bytes(t->output_bytes);
		putchar('\n');
	}
	if (has_shares(p))
		printf(LABEL "CPU %.0f %%, disk %.0f %%, network %.0f %%, waiting %.0f %%\n", "its time",
		    100 * seen(p)->cpu_share, 100 * seen(p)->disk_share, 100 * seen(p)->net_share,
		    100 * seen(p)->wait_share);
}

/* What knee would do, and why. */
static void
put_answer(const struct profile *p, bool utf8)
{
	enum knee_kind kind = profile_kind(p);
	unsigned limit = profile_limit(p);
	double gain = speed_up(p, limit);

	printf(LABEL "%s", "bound by", knee_kind_name(kind));
	if (p->work.limit > 0 && p->work.resource[0] != '\0')
		printf(" (%s)", p->work.resource);
	printf("\n" LABEL, "knee uses");
	if (limit == 0)
		printf("unknown: there was no time to try");
	else
		printf("%u at once", limit);
	if (limit > 0 && p->work.limit == 0)
		printf(", by these trials: there was no time for its own search");
	else if (limit > 0 && by_trials(p))
		printf(", by these trials: its own search had not ended");
	else if (limit > 0 && !p->work.settled)
		printf(" so far: its search has not ended");
	if (p->work.limit > 0 && p->work.why[0] != '\0')
		printf("\n" LABEL "%s", "because", p->work.why);
	if (gain > 0)
		printf("\n" LABEL "%s %.1f%s one at a time", "speed-up",
		    limit > p->levels[p->nlevels - 1].limit ? "at least" : "about", gain,
		    utf8 ? "\u00d7" : " x");
	putchar('\n');
}

static void
put_bar(double frac, bool utf8)
{
	static const char *const eighths[] = { "", "\u258f", "\u258e", "\u258d", "\u258c", "\u258b", "\u258a",
		"\u2589" };
	int parts = (int)lround(frac * BAR_CELLS * 8);
	int cells = utf8 ? parts / 8 : (parts + 4) / 8;

	for (int i = 0; i < cells; i++)
		fputs(utf8 ? "\u2588" : "#", stdout);
	if (utf8)
		fputs(eighths[parts % 8], stdout);
}

static void
put_levels(const struct profile *p, bool utf8)
{
	double best = best_per_s(p);

	printf("\n  at once    tasks/s\n");
	for (size_t i = 0; i < p->nlevels; i++) {
		const struct profile_level *l = &p->levels[i];

		printf(l->per_s < 9.995 ? "  %7u  %9.2f  " : "  %7u  %9.1f  ", l->limit, l->per_s);
		put_bar(best > 0 ? l->per_s / best : 0, utf8);
		if (l->failed > 0)
			printf("  %llu failed", (unsigned long long)l->failed);
		putchar('\n');
	}
	if (p->memory_bound)
		printf("  more were not tried: memory would not hold them\n");
	if (p->out_of_time)
		printf("  the time was up (--time %.0f): more of it, or smaller inputs, say more\n",
		    (double)p->time_ns / 1e9);
}

static int
printed(void)
{
	if (fflush(stdout) != 0 || ferror(stdout))
		return say_error(EIO, "standard output: %s", strerror(errno));
	return 0;
}

int
profile_print_text(const struct profile *p)
{
	bool utf8 = terminal_utf8();

	printf("%llu task%s in ", (unsigned long long)p->runs, p->runs == 1 ? "" : "s");
	put_seconds((double)p->spent_ns / 1e9);
	printf(" on %u core%s", p->cores, p->cores == 1 ? "" : "s");
	if (p->inputs.given > p->inputs.n)
		printf("; %zu input%s, used again and again: caches may flatter", p->inputs.n,
		    p->inputs.n == 1 ? "" : "s");
	putchar('\n');
	if (p->failed > 0) {
		printf(LABEL "%llu; the first: ", "failed", (unsigned long long)p->failed);
		put_text(p->failure);
		putchar('\n');
	}
	if (p->task.failed < p->task.done) {
		put_needs(p);
		put_answer(p, utf8);
		put_levels(p, utf8);
	}
	return printed();
}

/* ---- JSON ------------------------------------------------------------------- */

static void
json_string(const char *s)
{
	json_text_put(stdout, s, strlen(s));
}

/* null when it is not known. */
static void
json_number(const char *name, double value, bool known)
{
	if (known && isfinite(value))
		printf(",\"%s\":%.9g", name, value);
	else
		printf(",\"%s\":null", name);
}

static void
json_text(const char *name, const char *value, bool known)
{
	printf(",\"%s\":", name);
	if (known)
		json_string(value);
	else
		fputs("null", stdout);
}

static void
json_task(const struct profile *p)
{
	const struct profile_task *t = &p->task;
	bool ran = t->failed < t->done, shares = has_shares(p);

	json_number("runtime_s", t->runtime_s, ran);
	json_number("runtime_min_s", t->shortest_s, ran);
	json_number("runtime_max_s", t->longest_s, ran);
	json_number("startup_s", p->start_s, p->start_s > 0);
	json_number("startup_cpu_s", p->start_cpu_s, p->start_s > 0);
	json_number("cpu_s", t->cpu_s, ran);
	json_number("cores_per_task", cores_per_task(p), cores_per_task(p) > 0);
	json_number("memory_bytes", (double)t->rss_bytes, t->rss_bytes > 0);
	json_number("io_bytes", t->io_bytes, t->io_bytes > 0);
	json_number("disk_bytes", t->disk_bytes, t->io_bytes > 0);
	json_number("network_bytes", t->net_bytes, ran && t->net_bytes >= 0);
	json_number("output_bytes", t->output_bytes, ran);
	json_number("cpu_share", seen(p)->cpu_share, shares);
	json_number("disk_share", seen(p)->disk_share, shares);
	json_number("net_share", seen(p)->net_share, shares);
	json_number("wait_share", seen(p)->wait_share, shares);
}

static void
json_levels(const struct profile *p)
{
	double best = best_per_s(p);

	fputs(",\"levels\":[", stdout);
	for (size_t i = 0; i < p->nlevels; i++) {
		const struct profile_level *l = &p->levels[i];

		printf("%s{\"at_once\":%u,\"tasks\":%llu,\"failed\":%llu", i > 0 ? "," : "", l->limit,
		    (unsigned long long)l->done, (unsigned long long)l->failed);
		json_number("tasks_per_s", l->per_s, true);
		json_number("of_best", best > 0 ? l->per_s / best : 0, best > 0);
		putchar('}');
	}
	putchar(']');
}

int
profile_print_json(const struct profile *p)
{
	enum knee_kind kind = profile_kind(p);
	unsigned limit = profile_limit(p);
	double gain = speed_up(p, limit);
	bool work = p->work.limit > 0;

	fputs("{\"command\":[", stdout);
	for (size_t i = 0; i < p->options.ncommand; i++) {
		fputs(i > 0 ? "," : "", stdout);
		json_string(p->options.command[i]);
	}
	printf("],\"inputs\":%zu,\"inputs_reused\":%s,\"tasks\":%llu,\"failed\":%llu", p->inputs.n,
	    p->inputs.given > p->inputs.n ? "true" : "false", (unsigned long long)p->runs,
	    (unsigned long long)p->failed);
	json_text("first_failure", p->failure, p->failure[0] != '\0');
	json_number("seconds", (double)p->spent_ns / 1e9, true);
	json_number("cores", p->cores, true);
	json_task(p);
	json_text("kind", knee_kind_name(kind), kind != KNEE_KIND_UNKNOWN);
	json_text("resource", p->work.resource, work && p->work.resource[0] != '\0');
	json_number("busy", p->work.busy_frac, work && p->work.busy_frac >= 0);
	json_number("at_once", limit, limit > 0);
	printf(",\"settled\":%s", work && p->work.settled ? "true" : "false");
	json_text("why", p->work.why, work && p->work.why[0] != '\0');
	json_number("speed_up", gain, gain > 0);
	json_levels(p);
	fputs("}\n", stdout);
	return printed();
}
