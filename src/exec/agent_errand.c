/* SPDX-License-Identifier: MIT */
/* The end of what machines have: by a result, by going back, by being given up; and copies, of which the first to answer
 * counts. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "agent_parts.h"

#define SECOND_NS ((int64_t)1000000000)
/* The length of tasks follows the latest by this share. */
#define FOLLOW 0.1
/* --speculate: so long after the last start, so often, tasks that took so many times as long as others do, and at
 * least so long, get a copy. */
#define COPY_AFTER_NS (SECOND_NS / 5)
#define COPY_EVERY_NS (SECOND_NS / 10)
#define COPY_LONG 1.5
#define COPY_LEAST_NS ((double)SECOND_NS / 2)

/* ---- the end of errands ------------------------------------------------------------- */

static void
killed_remove(struct kn_agents *a, struct kn_job *j)
{
	if (!j->killed)
		return;
	kn_chain_remove(&a->killed, &j->killed_node);
	j->killed = false;
}

void
kn_twin_end(struct kn_exec *e, struct kn_job *j)
{
	if (j->twin == NULL)
		return;
	if (j->twin->id != 0)
		kn_agent_forget(e, j->twin);
	free(j->twin);
	j->twin = NULL;
	kn_buf_done(&j->twin_output);
}

/* The copy takes the place of the first one, which is gone: what that printed is void. */
static void
twin_promote(struct kn_exec *e, struct kn_job *j)
{
	struct kn_agents *a = e->state;
	struct kn_errand *twin = j->twin, *r = &j->errand;
	struct kn_frame frame;
	size_t at = 0, bytes;

	*r = *twin;
	a->ids[(r->id & UINT32_MAX) - 1].errand = r;
	kn_chain_replace(&a->machines[r->host].errands, &twin->node, &r->node);
	free(twin);
	j->twin = NULL;
	j->task->host = a->machines[r->host].spec->name;
	e->host.again(e->host.self, j->task);
	while (kn_frame_take(j->twin_output.data + at, j->twin_output.len - at, &frame, &bytes) == 1) {
		e->host.output(e->host.self, j->task, frame.kind == KN_FRAME_OUT ? KNEE_STDOUT : KNEE_STDERR,
		    frame.payload, frame.size);
		at += bytes;
	}
	kn_buf_done(&j->twin_output);
}

/* The task of j is over here, by its end or because it goes back. */
static void
job_clear(struct kn_exec *e, struct kn_job *j)
{
	struct kn_agents *a = e->state;

	kn_twin_end(e, j);
	killed_remove(a, j);
	j->given_up_ns = 0;
	j->sent_kill = false;
	j->recalled = j->alone = false;
}

/* r is the first: the other copy ends as soon as it hears of it; what it says until then is not heard. Returns r, where
 * it is now. */
static struct kn_errand *
first_take(struct kn_exec *e, struct kn_errand *r)
{
	struct kn_job *j = r->job;
	struct kn_errand *other = r == j->twin ? &j->errand : j->twin;

	if (other != NULL && other->id != 0)
		kn_agent_forget(e, other);
	if (r == j->twin)
		twin_promote(e, j);
	else
		kn_twin_end(e, j);
	return &j->errand;
}

void
kn_errand_ended(struct kn_exec *e, struct kn_errand *r, int64_t runtime_ns)
{
	struct kn_job *j = first_take(e, r)->job;

	j->task->result.runtime_ns = runtime_ns > 0 ? runtime_ns : 1;
	/* Its time is not that of its files. When all is to end they are not waited for. */
	if (j->task->reason == KN_BY_TIMEOUT && !e->stopping)
		killed_remove(e->state, j);
}

void
kn_errand_end(struct kn_exec *e, struct kn_errand *r, const struct knee_result *res)
{
	struct kn_agents *a = e->state;
	struct kn_job *j = r->job;
	struct kn_task *t = j->task;
	unsigned attempt = t->result.attempt;
	int64_t start_time_ns = t->result.start_time_ns;
	uint32_t host = r->host;

	r = first_take(e, r);
	/* How long it was allowed counts from the begin of the task, and a copy began later. */
	if (t->reason == KN_BY_TIMEOUT && r->since_ns > t->started_ns)
		t->allowed_ns -= r->since_ns - t->started_ns;
	if (r->began && res->outcome == KNEE_EXITED)
		a->runtime_ns += ((double)res->runtime_ns - a->runtime_ns) * (a->runtime_ns > 0 ? FOLLOW : 1);
	kn_agent_forget(e, r);
	job_clear(e, j);
	t->result = *res;
	t->result.attempt = attempt;
	t->result.start_time_ns = start_time_ns;
	j->avoid = knee_failed(res) ? host : KN_FLEET_ANY;
	e->host.ended(e->host.self, t);
}

void
kn_errand_back(struct kn_exec *e, struct kn_errand *r, bool by_machine)
{
	struct kn_job *j = r->job;
	uint32_t host = r->host;

	if (r == j->twin) {
		kn_twin_end(e, j);
		return;
	}
	kn_agent_forget(e, r);
	if (j->twin != NULL) {
		twin_promote(e, j);
		return;
	}
	job_clear(e, j);
	if (by_machine)
		j->avoid = host;
	e->host.returned(e->host.self, j->task);
}

void
kn_killed_give_up(struct kn_exec *e, int64_t *next_ns)
{
	struct kn_agents *a = e->state;
	struct kn_job *next;

	for (struct kn_job *j = kn_job_killed_at(a->killed.first); j != NULL; j = next) {
		const struct knee_result res = { .outcome = KNEE_SIGNALED, .status = SIGKILL };

		next = kn_job_killed_at(j->killed_node.next);
		/* What was said of it may lie there unread. */
		if (a->paused && !j->sent_kill)
			continue;
		if (j->given_up_ns > e->loop->now_ns) {
			if (j->given_up_ns < *next_ns)
				*next_ns = j->given_up_ns;
			continue;
		}
		/* It began when it was to go back: that is what the ending sequence is for. */
		if (j->errand.began && !j->sent_kill)
			killed_remove(a, j);
		else if (j->errand.began)
			kn_errand_end(e, &j->errand, &res);
		else
			kn_errand_back(e, &j->errand, false);
	}
}

/* ---- copies of slow tasks ---------------------------------------------------------------- */

/* What has ended but for its files, is being ended, or stands still, is not begun anew elsewhere. */
static bool
may_copy(const struct kn_errand *r)
{
	const struct kn_job *j = r->job;

	return r->began && j->twin == NULL && !j->alone && j->pin == KN_FLEET_ANY &&
	    j->task->state == KN_RUNNING && j->task->result.runtime_ns == 0 && j->task->suspended_ns == 0;
}

/* The task that runs longest of those that may have a copy; NULL: none runs long. */
static struct kn_errand *
slowest(const struct kn_exec *e)
{
	const struct kn_agents *a = e->state;
	double long_ns =
	    a->runtime_ns * COPY_LONG > COPY_LEAST_NS ? a->runtime_ns * COPY_LONG : COPY_LEAST_NS;
	struct kn_errand *found = NULL, *r;

	for (size_t i = 0; i < a->how->nhosts; i++)
		for (struct kn_chain_node *n = a->machines[i].errands.first; n != NULL; n = n->next) {
			r = kn_errand_at(n);
			if (may_copy(r) && (double)(e->loop->now_ns - r->since_ns) > long_ns &&
			    (found == NULL || r->since_ns < found->since_ns))
				found = r;
		}
	return found;
}

/* 1: a copy of r's task was sent; 0: nobody else has room; or -errno. */
static int
copy_send(struct kn_exec *e, struct kn_errand *r)
{
	struct kn_agents *a = e->state;
	uint32_t h = kn_fleet_pick(&a->fleet, KN_FLEET_ANY, r->host);
	struct kn_errand *twin;
	int err;

	if (h == KN_FLEET_ANY || h == r->host)
		return 0;
	twin = calloc(1, sizeof(*twin));
	if (twin == NULL)
		return -ENOMEM;
	twin->job = r->job;
	err = kn_agent_send(e, &a->machines[h], twin);
	if (err < 0) {
		free(twin);
		return err;
	}
	r->job->twin = twin;
	kn_remote_note(&a->machines[h], r->job->task, "runs here too: it takes long on %s",
	    a->machines[r->host].spec->name);
	return 1;
}

/* Nothing new has come for a while, and there is room: the end of the input, most likely. */
void
kn_copies_make(struct kn_exec *e, int64_t *next_ns)
{
	struct kn_agents *a = e->state;
	struct kn_errand *r;

	/* While links are not read, what seems to run may have ended long ago. */
	if (!a->how->speculate || a->fleet.out == 0 || a->paused)
		return;
	if (e->loop->now_ns >= a->copies_ns) {
		a->copies_ns = e->loop->now_ns + COPY_EVERY_NS;
		if (a->started_ns + COPY_AFTER_NS <= e->loop->now_ns && a->waiting.len == 0)
			while (
			    a->fleet.out < a->fleet.want && (r = slowest(e)) != NULL && copy_send(e, r) > 0)
				;
	}
	if (a->copies_ns < *next_ns)
		*next_ns = a->copies_ns;
}
