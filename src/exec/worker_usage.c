/* SPDX-License-Identifier: MIT */
/*
 * What a record used, of what its worker did: its CPU time is that of the process alone, shared out evenly
 * over a window; all else is what looks at the process show, without what they showed before the record.
 */
#include "worker_parts.h"

/* Of records that take longer it is known what the worker had used before each, if it is looked at. */
#define LONG_NS ((int64_t)5000000)

void
kn_worker_usage_since(const struct kn_worker *w, const struct kn_job *j)
{
	const struct kn_usage *now = &w->probe.usage, *base = &j->base;
	struct kn_usage *ret = &j->task->usage;
	uint64_t peak = ret->peak_bytes;

	*ret = *now;
	ret->cpu_ns -= base->cpu_ns;
	ret->delay_ns -= base->delay_ns;
	ret->bytes -= base->bytes;
	ret->disk_bytes -= base->disk_bytes;
	ret->reads -= base->reads;
	ret->looks -= base->looks;
	ret->cpu_looks -= base->cpu_looks;
	ret->disk_looks -= base->disk_looks;
	ret->net_looks -= base->net_looks;
	ret->lock_looks -= base->lock_looks;
	/* The probe's is that of the worker's whole life. */
	ret->peak_bytes = peak > now->rss_bytes ? peak : now->rss_bytes;
}

void
kn_worker_usage_begin(struct kn_worker *w, struct kn_job *j)
{
	j->looked = w->answered == 0;
	j->base = (struct kn_usage){ 0 };
	if (w->probe.pid == 0 || w->record_ns < LONG_NS)
		return;
	kn_probe_look(&w->probe, false);
	j->base = w->probe.usage;
	j->looked = true;
}

void
kn_worker_look(struct kn_exec *e, struct kn_task *t, bool deep)
{
	struct kn_job *j = t->exec;
	struct kn_worker *w = j->worker;

	(void)e;
	if (j->state != KN_JOB_FRONT || w->end.fd < 0)
		return;
	if (w->probe.pid == 0)
		kn_probe_init(&w->probe, w->child.pid);
	kn_probe_look(&w->probe, deep);
	if (!j->looked) {
		int64_t cpu_ns = kn_child_cpu_ns(&w->child);

		/* Of the rest nothing is known but from now on. */
		j->base = w->probe.usage;
		if (cpu_ns > w->cpu_ns && j->base.cpu_ns > cpu_ns - w->cpu_ns)
			j->base.cpu_ns -= cpu_ns - w->cpu_ns;
		j->looked = true;
	}
	kn_worker_usage_since(w, j);
}

void
kn_worker_usage_share(struct kn_worker *w, unsigned n, int64_t cpu_ns)
{
	int64_t used_ns = cpu_ns > w->cpu_ns ? cpu_ns - w->cpu_ns : 0;

	for (unsigned i = 0; i < n; i++)
		if (w->window[i] != NULL)
			w->window[i]->task->result.cpu_user_ns = used_ns / n;
	if (cpu_ns > w->cpu_ns)
		w->cpu_ns = cpu_ns;
}
