/* SPDX-License-Identifier: MIT */
/* How many tasks run at once: the tuner (tune/tuner.h) is told what is measured, and people what it decides. */
#include <limits.h>
#include <sys/resource.h>

#include "explain.h"
#include "run_parts.h"
#include "sys/machine.h"

/* Threads that wait for locks so much of their time are worth a word. */
#define LOCKED_FRAC 0.25

/* Descriptors kept for what is opened later: the spill file, a script, sinks' files. */
#define FDS_RESERVE 8

int
kn_run_changes_tell(struct knee *k)
{
	struct kn_tuner *tuner = k->meter.tuner;
	struct kn_change change;
	struct knee_event ev;
	struct knee_work work;
	char text[512];
	int err = 0;

	k->limit = kn_tuner_limit(tuner);
	while (err == 0 && kn_tuner_change(tuner, &change)) {
		kn_tuner_work(tuner, change.class, &work);
		kn_explain_change(&change, &work, text, sizeof(text));
		ev = (struct knee_event){
			.kind = kn_explain_urgent(change.why) ? KNEE_EVENT_NOTE : KNEE_EVENT_LIMIT,
			.limit = k->limit,
			.work = &work,
			.reason = text,
		};
		err = kn_sinks_live(k, &ev);
	}
	return err;
}

/* Descriptors that may still be opened, of which some number is wanted; *max: the limit. */
static unsigned
fds_free(uint64_t wanted, unsigned *max)
{
	struct rlimit limit;
	unsigned open;

	*max = UINT_MAX;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= UINT_MAX)
		return UINT_MAX;
	*max = (unsigned)limit.rlim_cur;
	if (*max / 2 > wanted) /* plenty: not worth the counting */
		return *max / 2;
	open = kn_machine_fds_open();
	return *max > open + FDS_RESERVE ? *max - open - FDS_RESERVE : 0;
}

/* Where tasks run on other machines each of these finds its own number; here it is the sum of them. */
static int
meter_init_far(struct knee *k)
{
	const struct knee_options o = { .limit = 1 };
	const struct kn_machine machine = {
		.cores = 1, .fds_per_task = 1, .fds_free = UINT_MAX, .processes_free = UINT_MAX
	};
	int err = kn_meter_init(&k->meter, &o, &machine, &k->exec, k->loop.now_ns);

	k->limit = 1;
	return err;
}

int
kn_run_meter_init(struct knee *k)
{
	const struct knee_options *o = &k->options;
	unsigned asked = o->limit;
	struct kn_machine machine = {
		.cores = kn_machine_cores_exact(),
		.memory_bytes = kn_machine_memory(),
		.fds_per_task = o->order == KNEE_ORDER_NONE ? 2 : k->exec.ops->fds_per_task,
		.processes_free = o->executor == KNEE_EXEC_ASYNC ? UINT_MAX : kn_machine_processes_free(),
	};
	int err;

	if (o->executor == KNEE_EXEC_AGENT)
		return meter_init_far(k);
	machine.fds_free =
	    fds_free((uint64_t)machine.fds_per_task * (asked > 0 ? asked : 1000), &machine.fds_max);
	err = kn_meter_init(&k->meter, o, &machine, &k->exec, k->loop.now_ns);
	if (err < 0)
		return err;
	k->limit = kn_tuner_limit(k->meter.tuner);
	if (asked == 0 || asked == UINT_MAX || k->limit >= asked)
		return 0;
	return kn_sinks_note(k, KNEE_EVENT_NOTE,
	    "running %u at once, not %u: no more than %u files may be open: raise that with ulimit -n",
	    k->limit, asked, machine.fds_max);
}

/* Threads that share a lock, or an interpreter that has one, run one after the other: say so, once, with
 * what that comes to. Processes do not have it. */
static int
locked_tell(struct knee *k)
{
	double frac, running;

	if (k->options.executor != KNEE_EXEC_THREAD || k->locked_told ||
	    !kn_meter_locked(&k->meter, &frac, &running))
		return 0;
	k->locked_told = frac >= LOCKED_FRAC;
	if (!k->locked_told)
		return 0;
	return kn_sinks_note(k, KNEE_EVENT_NOTE,
	    "tasks wait for a lock of their own %.0f %% of the time: %.1f threads get on like %.1f: in "
	    "processes "
	    "of their own (--isolate) they would not share it",
	    100 * frac, running, running * (1 - frac));
}

int
kn_run_sample(struct knee *k)
{
	uint64_t left = k->queue.len + k->sched.ready.len + k->sched.waiting.len;

	if (k->loop.now_ns < kn_meter_due_ns(&k->meter))
		return 0;
	kn_meter_sample(&k->meter, &k->sched, kn_run_tell_ns(k, k->loop.now_ns), left,
	    k->source_ended || k->sched.stopped);
	kn_run_act(k, kn_tuner_act(k->meter.tuner));
	(void)locked_tell(k);
	return kn_run_changes_tell(k);
}

void
kn_run_adjust(struct knee *k, int by)
{
	kn_tuner_adjust(k->meter.tuner, by, k->loop.now_ns);
	(void)kn_run_changes_tell(k);
}

void
kn_run_set_limit(struct knee *k, unsigned limit)
{
	/* The number that holds now: k->limit is that of the last sample. */
	int64_t by = (int64_t)limit - (int64_t)kn_tuner_limit(k->meter.tuner);

	/* One that was found becomes a given one, though it is the same. */
	if (by != 0 || !kn_tuner_fixed(k->meter.tuner))
		kn_run_adjust(k, by > INT_MAX ? INT_MAX : (int)by);
}

size_t
kn_run_work(const struct knee *k, struct knee_work *ret, size_t max)
{
	struct knee_work work;
	struct kn_change why;
	size_t n = 0, at;

	for (unsigned i = 0; i < kn_tuner_nclasses(k->meter.tuner); i++) {
		kn_tuner_work(k->meter.tuner, i, &work);
		if (work.done == 0 && work.running == 0)
			continue;
		/* What ended before it was known what it needs tells nothing beside the rest. */
		if (work.kind == KNEE_KIND_UNKNOWN && work.running == 0 &&
		    kn_tuner_nclasses(k->meter.tuner) > 1)
			continue;
		kn_tuner_why(k->meter.tuner, i, &why);
		kn_explain_work(&why, &work);
		for (at = n < max ? n++ : n; at > 0 && ret[at - 1].done < work.done; at--)
			if (at < max)
				ret[at] = ret[at - 1];
		if (at < max)
			ret[at] = work;
	}
	return n;
}
