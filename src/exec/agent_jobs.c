/* SPDX-License-Identifier: MIT */
/* Tasks that wait for a machine: here, in order, or at a machine while others are idle. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent_parts.h"

/* So often it is asked whether machines are idle while tasks wait elsewhere. */
#define IDLE_EVERY_NS ((int64_t)100000000)

/* ---- jobs that wait for a machine -------------------------------------------------- */

static struct kn_chain *
list_of(struct kn_agents *a, const struct kn_job *j)
{
	return j->pin != KN_FLEET_ANY ? &a->machines[j->pin].waiting : &a->waiting;
}

static void
start_failed_note(struct kn_exec *e, const struct kn_job *j, int err)
{
	char text[80];

	(void)snprintf(text, sizeof(text), "cannot be started: %s", strerror(-err));
	e->host.note(e->host.self, j->task, text);
}

/* Give j to a machine that has room for it. 1, 0: there is none, or -errno. */
static int
job_place(struct kn_exec *e, struct kn_job *j)
{
	struct kn_agents *a = e->state;
	uint32_t h = kn_fleet_pick(&a->fleet, j->pin, j->avoid);
	int err;

	if (h == KN_FLEET_ANY)
		return 0;
	err = kn_agent_send(e, &a->machines[h], &j->errand);
	/* Before the next one is handed out for it, which would wait here. */
	if (err == 0 && a->fleet.hosts[h].full)
		kn_agent_capacity(e);
	return err < 0 ? err : 1;
}

/* It waits no more, and fails, without having been anywhere. */
static void
waiting_end(
    struct kn_exec *e, struct kn_chain *l, struct kn_job *j, enum knee_outcome outcome, int err, int status)
{
	kn_chain_remove(l, &j->node);
	e->host.began(e->host.self, j->task, e->loop->now_ns);
	j->task->result.outcome = outcome;
	j->task->result.error = err;
	j->task->result.status = status;
	e->host.ended(e->host.self, j->task);
}

/* Those of l that there is room for go, up to one that is not wanted any more. 0, or -errno: the first one cannot. */
static int
waiting_give(struct kn_exec *e, struct kn_chain *l)
{
	while (l->first != NULL) {
		struct kn_job *j = kn_job_at(l->first);
		int r = j->recalled ? 0 : job_place(e, j);

		if (r <= 0)
			return r;
		kn_chain_remove(l, &j->node);
	}
	return 0;
}

/* The same; what can never be sent fails, and keeps nobody waiting behind it. */
static void
waiting_place(struct kn_exec *e, struct kn_chain *l)
{
	int err;

	while ((err = waiting_give(e, l)) < 0 && err != -ENOMEM) {
		start_failed_note(e, kn_job_at(l->first), err);
		waiting_end(e, l, kn_job_at(l->first), KNEE_NOT_STARTED, err, 126);
	}
}

/* Those that are not wanted any more go back. */
static void
waiting_recall(struct kn_exec *e, struct kn_chain *l)
{
	struct kn_job *next;

	for (struct kn_job *j = kn_job_at(l->first); j != NULL; j = next) {
		next = kn_job_at(j->node.next);
		if (!j->recalled)
			continue;
		kn_chain_remove(l, &j->node);
		j->recalled = false;
		e->host.returned(e->host.self, j->task);
	}
}

/* Their machine will not be there any more: they fail, as ssh does. */
static void
waiting_fail(struct kn_exec *e, struct kn_remote *m)
{
	struct kn_job *j;

	while ((j = kn_job_at(m->waiting.first)) != NULL) {
		j->task->host = m->spec->name;
		waiting_end(e, &m->waiting, j, KNEE_EXITED, 0, 255);
	}
}

int
kn_jobs_start(struct kn_exec *e, struct kn_job *j)
{
	struct kn_chain *l = list_of(e->state, j);
	int n;

	/* Those that wait already go first. */
	(void)waiting_give(e, l);
	n = l->len == 0 ? job_place(e, j) : 0;
	if (n == 0)
		kn_chain_append(l, &j->node);
	return n < 0 ? n : 0;
}

void
kn_jobs_tend(struct kn_exec *e)
{
	struct kn_agents *a = e->state;
	bool recalls = a->recalls;

	a->recalls = false;
	if (recalls)
		waiting_recall(e, &a->waiting);
	waiting_place(e, &a->waiting);
	for (size_t i = 0; i < a->how->nhosts && a->how->pin != NULL; i++) {
		struct kn_remote *m = &a->machines[i];

		if (recalls)
			waiting_recall(e, &m->waiting);
		if (a->fleet.hosts[i].state == KN_HOST_GONE)
			waiting_fail(e, m);
		else
			waiting_place(e, &m->waiting);
	}
}

/* ---- tasks that wait while others are idle ------------------------------------------------ */

/* How many more tasks could run at once on machines that have none to begin with. */
static uint64_t
idle_slots(const struct kn_agents *a)
{
	uint64_t n = 0;

	for (size_t i = 0; i < a->how->nhosts; i++) {
		const struct kn_fleet_host *h = &a->fleet.hosts[i];

		if (h->state == KN_HOST_UP && h->out < h->limit)
			n += h->limit - h->out;
	}
	return n;
}

/* Ask for at most so many tasks back that wait there for others to end; how many. Where there is room they wait for
 * nobody: their files are on their way. */
static uint64_t
ask_back(struct kn_exec *e, struct kn_remote *m, uint64_t most)
{
	struct kn_agents *a = e->state;
	uint64_t n = 0;

	if (m->running < a->fleet.hosts[m->index].limit)
		return 0;
	for (struct kn_chain_node *at = m->errands.first; at != NULL && n < most; at = at->next) {
		struct kn_errand *r = kn_errand_at(at);

		if (r->began || r->asked || r->job->killed || e->loop->now_ns - r->since_ns < IDLE_EVERY_NS)
			continue;
		r->asked = true;
		kn_agent_signal(e, r, 0);
		n++;
	}
	return n;
}

/* Tasks that a machine has had for a while, and that wait there for others to end, go where there is room. They come
 * back by RETURNED, unless they began meanwhile. */
void
kn_jobs_move(struct kn_exec *e, int64_t *next_ns)
{
	struct kn_agents *a = e->state;
	int64_t now_ns = e->loop->now_ns;
	uint64_t slots;

	if (a->how->pin != NULL || a->fleet.up < 2 || a->fleet.out == 0 || a->paused)
		return;
	if (now_ns >= a->idle_ns) {
		a->idle_ns = now_ns + IDLE_EVERY_NS;
		/* While there are new ones they go there by themselves. */
		slots = now_ns - a->started_ns < IDLE_EVERY_NS || a->waiting.len > 0 ? 0 : idle_slots(a);
		for (size_t i = 0; i < a->how->nhosts && slots > 0; i++)
			slots -= ask_back(e, &a->machines[i], slots);
	}
	if (a->idle_ns < *next_ns)
		*next_ns = a->idle_ns;
}
