/* SPDX-License-Identifier: MIT */
#include "explain.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MIB (1024.0 * 1024)

static void add(char *ret, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void
add(char *ret, size_t size, const char *format, ...)
{
	size_t n = strlen(ret);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(ret + n, size - n, format, args);
	va_end(args);
}

/* What moved the limit up or down, or holds it. */
static void
why_guard(const struct kn_change *c, char *ret, size_t size)
{
	const double *f = c->figure;

	switch ((int)c->why) {
	case KN_WHY_MEMORY:
		add(ret, size, "memory allows no more: %.0f MiB are free", f[0] / MIB);
		break;
	case KN_WHY_PRESSURE:
		add(ret, size, "tasks wait for memory %.0f %% of the time", 100 * f[0]);
		break;
	case KN_WHY_SWAP:
		add(ret, size, "memory is being swapped in and out");
		break;
	case KN_WHY_FAILURES:
		add(ret, size, "%.0f %% of tasks fail at so many at once, %.0f %% did below", 100 * f[0],
		    100 * f[1]);
		break;
	case KN_WHY_BUSY:
		add(ret, size, "a task was told that about %.0f are too many", f[0]);
		break;
	case KN_WHY_LOAD:
		add(ret, size, "%.0f processes want to run: nothing starts until they are fewer", f[0]);
		break;
	case KN_WHY_REFUSED:
		add(ret, size, "the machine refuses more: %s", strerror((int)f[0]));
		break;
	case KN_WHY_RECOVERED:
		add(ret, size, "the machine starts tasks again");
		break;
	case KN_WHY_HAND:
		add(ret, size, "as you said");
		break;
	default:
		break;
	}
}

/* The figure that shows why more at once is of no use. */
static void
finding_text(const struct kn_finding *f, char *ret, size_t size)
{
	switch (f->symptom) {
	case KN_SYMPTOM_SWAP:
		add(ret, size, "; %.1f MB/s are swapped", f->to / 1e6);
		break;
	case KN_SYMPTOM_RETRANS:
		add(ret, size, "; %.1f %% of TCP segments are sent again, not %.1f", 100 * f->to,
		    100 * f->from);
		break;
	case KN_SYMPTOM_LINK:
		add(ret, size, "; the link is %.0f %% busy", 100 * f->to);
		break;
	case KN_SYMPTOM_LATENCY:
		add(ret, size, "; the disk takes %.1f ms for an operation, not %.1f", f->to / 1e6,
		    f->from / 1e6);
		break;
	case KN_SYMPTOM_SMALL:
		add(ret, size, "; the disk moves %.0f KiB an operation, not %.0f", f->to / 1024,
		    f->from / 1024);
		break;
	case KN_SYMPTOM_DELAY:
		add(ret, size, "; tasks wait for a core %.0f %% of their time, not %.0f", 100 * f->to,
		    100 * f->from);
		break;
	case KN_SYMPTOM_SWITCHES:
		add(ret, size, "; %.0f context switches a second, not %.0f", f->to, f->from);
		break;
	case KN_SYMPTOM_NONE:
	case KN_SYMPTOMS:
		break;
	}
}

static void
why_search(const struct kn_change *c, char *ret, size_t size)
{
	const double *f = c->figure;

	switch ((int)c->why) {
	case KN_WHY_RISE:
		if (f[0] > 0)
			add(ret, size, "the last step gave %+.0f %%", 100 * f[0]);
		else
			add(ret, size, "%u was measured", c->from);
		break;
	case KN_WHY_BLIND:
		add(ret, size, "its tasks wait and nothing is busy");
		break;
	case KN_WHY_CONFIRM:
		add(ret, size, "%u gave %+.0f %%: once more below", c->from, 100 * f[0]);
		break;
	case KN_WHY_DRIFT:
		add(ret, size, "the gain was hidden by a change of the work: it is %+.0f %%", 100 * f[0]);
		break;
	case KN_WHY_REFINE:
		add(ret, size, "between measured numbers");
		break;
	case KN_WHY_SETTLED:
		add(ret, size, "the smallest within 2 %% of the best");
		break;
	case KN_WHY_PROBE:
		add(ret, size, "looks whether it is better by now");
		break;
	case KN_WHY_PROBE_BACK:
		add(ret, size, "%u gave %+.0f %%: compares once more", c->from, 100 * f[0]);
		break;
	case KN_WHY_PROBE_WON:
		add(ret, size, "it gave %+.0f %%", 100 * f[0]);
		break;
	case KN_WHY_HARM:
		add(ret, size, "%.0f at once made it %.0f %% slower", f[1], 100 * f[0]);
		break;
	default:
		why_guard(c, ret, size);
		return;
	}
	if (c->why == KN_WHY_SETTLED && f[1] >= 0)
		add(ret, size, "; the next below gave %.2f of it", f[1]);
	if (c->why == KN_WHY_SETTLED && f[0] >= 0)
		add(ret, size, "; the next above %.2f", f[0]);
}

/* What bounds such work. */
static void
add_kind(char *ret, size_t size, enum knee_kind kind)
{
	if (kind == KNEE_KIND_LOCK)
		add(ret, size, "lock-bound (more at once gives nothing, and nothing is busy)");
	else if (kind == KNEE_KIND_WAIT)
		add(ret, size, "waiting");
	else if (kind == KNEE_KIND_MIXED)
		add(ret, size, "CPU and waiting");
	else
		add(ret, size, "%s-bound", knee_kind_name(kind));
}

static void
why_text(const struct kn_change *c, const struct knee_work *w, char *ret, size_t size)
{
	const double *f = c->figure;

	switch ((int)c->why) {
	case KN_WHY_START:
		add(ret, size,
		    w->kind == KNEE_KIND_UNKNOWN ? "what it needs is not known yet" :
						   "the start for such work");
		break;
	case KN_WHY_REMEMBERED:
		add_kind(ret, size, w->kind);
		add(ret, size, " when it last ran");
		break;
	case KN_WHY_HINT:
		add(ret, size, "the start for %s, as you said", knee_kind_name(w->kind));
		break;
	case KN_WHY_KIND:
		add_kind(ret, size, w->kind);
		add(ret, size, " (CPU %.0f %%, disk %.0f %%, network %.0f %% of its time)", 100 * f[0],
		    100 * f[1], 100 * f[2]);
		break;
	case KN_WHY_CPU_FULL:
		add(ret, size, "the cores are busy");
		break;
	case KN_WHY_CORES:
		add(ret, size, "so many keep the cores busy");
		break;
	case KN_WHY_MODEL:
		add(ret, size, "too few tasks for a search");
		break;
	case KN_WHY_BOUND:
		add(ret, size, "no more is allowed, or can be of use");
		break;
	case KN_WHY_CHANGED:
		add(ret, size, "the work has changed: searches again");
		break;
	default:
		why_search(c, ret, size);
	}
}

void
kn_explain_change(const struct kn_change *c, const struct knee_work *w, char *ret, size_t size)
{
	ret[0] = '\0';
	if (w->name[0] != '\0')
		add(ret, size, "%s: ", w->name);
	if (c->from == c->to)
		add(ret, size, "still %u at once: ", c->to);
	else if (c->from > 0)
		add(ret, size, "%u at once, not %u: ", c->to, c->from);
	else
		add(ret, size, "%u at once: ", c->to);
	why_text(c, w, ret, size);
	finding_text(&c->finding, ret, size);
}

struct name {
	unsigned bit;
	const char *text;
};

static void
unseen(const struct name *names, size_t n, unsigned known, char *ret, size_t size)
{
	for (size_t i = 0; i < n; i++)
		if ((known & names[i].bit) == 0)
			add(ret, size, "%s%s", ret[0] != '\0' ? ", " : "", names[i].text);
}

void
kn_explain_unseen(unsigned usage, unsigned vitals, char *ret, size_t size)
{
	static const struct name of_machine[] = {
		{ KN_VITALS_CPU, "use of the cores (/proc/stat)" },
		{ KN_VITALS_MEMORY, "free memory (/proc/meminfo)" },
		{ KN_VITALS_GROUPS, "memory of the cgroup (/sys/fs/cgroup)" },
		{ KN_VITALS_PRESSURE, "memory pressure (/proc/pressure/memory)" },
		{ KN_VITALS_SWAP, "swapping (/proc/vmstat)" },
		{ KN_VITALS_DISKS, "disks (/proc/diskstats)" },
		{ KN_VITALS_NET, "links (/proc/net/dev)" },
		{ KN_VITALS_RETRANS, "segments sent again (/proc/net/snmp)" },
		{ KN_VITALS_LOAD, "processes that want to run (/proc/stat)" },
		{ KN_VITALS_SWITCHES, "context switches (/proc/stat)" },
	};
	static const struct name of_tasks[] = {
		{ KN_USAGE_CPU | KN_USAGE_RSS, "CPU time and memory of tasks (/proc/PID/stat)" },
		{ KN_USAGE_BYTES, "bytes of tasks (/proc/PID/io)" },
		{ KN_USAGE_DELAY, "tasks' wait for a core (/proc/PID/schedstat)" },
	};

	ret[0] = '\0';
	/* Where free memory cannot be seen nothing else can be said of it. */
	if ((vitals & KN_VITALS_MEMORY) == 0)
		vitals |= KN_VITALS_GROUPS;
	unseen(of_machine, sizeof(of_machine) / sizeof(*of_machine), vitals, ret, size);
	unseen(of_tasks, sizeof(of_tasks) / sizeof(*of_tasks), usage, ret, size);
}

bool
kn_explain_urgent(enum kn_why why)
{
	return why == KN_WHY_PRESSURE || why == KN_WHY_SWAP || why == KN_WHY_REFUSED ||
	    why == KN_WHY_RECOVERED;
}

void
kn_explain_work(const struct kn_change *why, struct knee_work *w)
{
	struct kn_change c = *why;
	char *ret = w->why;
	size_t size = sizeof(w->why);

	ret[0] = '\0';
	if (w->kind == KNEE_KIND_UNKNOWN) {
		add(ret, size, "not measured");
		return;
	}
	add_kind(ret, size, w->kind);
	if (w->busy_frac >= 0 && w->kind != KNEE_KIND_LOCK && w->kind != KNEE_KIND_WAIT)
		add(ret, size, " (%s %.0f %% busy)",
		    w->kind == KNEE_KIND_CPU || w->kind == KNEE_KIND_MIXED ? "cores" :
			w->resource[0] != '\0'                             ? w->resource :
			w->kind == KNEE_KIND_DISK                          ? "disk" :
									     "link",
		    100 * w->busy_frac);
	if (kn_explain_urgent(c.why) || c.why == KN_WHY_BUSY || c.why == KN_WHY_FAILURES) {
		add(ret, size, "; ");
		why_guard(&c, ret, size);
	}
}
