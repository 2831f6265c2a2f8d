/* SPDX-License-Identifier: MIT */
/*
 * Tasks run on other machines, by agents (serve.c) that run this very engine.
 *
 *	start() ──► waiting ──► a machine's errands ──► began(), output(), ended()
 *	                ▲              │ lost
 *	                └── returned() ┘
 *
 * core/fleet says who gets the next task, whom to connect to, and who is lost. agent_jobs.c has the tasks that wait,
 * agent_errand.c the end of what machines have, agent_remote.c the machines, agent_link.c a connection,
 * agent_task.c what goes over it, agent_files.c what goes along. Of a task a machine has an errand; with --speculate
 * there may be two, of which the first to answer counts. A machine is believed nothing: its answers are of the errands
 * that it has, or of none.
 *
 * What a task prints is held by the run until its result (merge.late), so that it can run again when its machine
 * is lost. That was no attempt.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent_parts.h"

#define SECOND_NS ((int64_t)1000000000)
#define TIMEOUT_NS (20 * SECOND_NS)
#define CONNECT_NS (30 * SECOND_NS)
#define CONNECT_MOST 32
#define TRIES 4
/* What was sent SIGKILL, or has not begun and is not wanted any more, and is not heard of, has ended then. */
#define KILLED_NS (2 * SECOND_NS)
/* At the end machines have so long to say goodbye. */
#define BYE_NS (3 * SECOND_NS)
/* Tasks that name their machine: so many are taken ahead, for they wait apart. */
#define PINNED_AHEAD 65536
/* Tasks for a machine that has enough to do are gathered for so long, or up to so many bytes. */
#define GATHER_NS ((int64_t)1000000)
#define GATHER_BYTES 8192

static struct kn_job *
job_of(struct kn_task *t)
{
	return t->exec;
}

void
kn_agent_capacity(struct kn_exec *e)
{
	struct kn_agents *a = e->state;
	uint64_t limit, want;

	kn_fleet_room(&a->fleet, &limit, &want);
	if (limit < 1)
		limit = 1;
	if (limit == a->limit_told)
		return;
	a->limit_told = limit;
	e->host.capacity(e->host.self, limit > UINT32_MAX ? UINT32_MAX : (unsigned)limit, NULL, 0, NULL);
}

/* ---- links ------------------------------------------------------------------------------ */

static void
links_pause(struct kn_exec *e)
{
	struct kn_agents *a = e->state;

	if (a->paused == e->paused)
		return;
	a->paused = e->paused;
	/* What is on its way up has no output yet, and shall not be too late for that. */
	for (size_t i = 0; i < a->how->nhosts; i++)
		if (a->machines[i].stage >= KN_REMOTE_UP)
			kn_link_pause(&a->machines[i].link, a->paused);
	if (a->paused)
		return;
	/* What was said meanwhile is heard before anything is done for that it was not. */
	kn_fleet_listen(&a->fleet, e->loop->now_ns);
	a->started_ns = e->loop->now_ns;
	for (struct kn_chain_node *n = a->killed.first; n != NULL; n = n->next)
		if (!kn_job_killed_at(n)->sent_kill)
			kn_job_killed_at(n)->given_up_ns = e->loop->now_ns + KILLED_NS;
}

/* Nobody is silent who is not listened to: while links are not read, or when all this process stood still. */
static void
silence_look(struct kn_exec *e)
{
	struct kn_agents *a = e->state;
	int64_t now_ns = e->loop->now_ns;

	if (a->paused || now_ns - a->tick_ns > a->fleet.rules.timeout_ns / 2)
		kn_fleet_listen(&a->fleet, now_ns);
	a->tick_ns = now_ns;
}

/* It has so many tasks that those which wait here may wait a little longer, for others to go with them. */
static bool
may_wait(const struct kn_agents *a, const struct kn_remote *m)
{
	const struct kn_fleet_host *h = &a->fleet.hosts[m->index];
	uint32_t has = h->out > m->unsent ? h->out - m->unsent : 0;

	return !m->urgent && h->want > h->limit && has > h->limit + (h->want - h->limit) / 2 &&
	    kn_link_pending(&m->link) < GATHER_BYTES;
}

/* Who takes again what is written to it gets tasks again. */
static void
links_look(struct kn_agents *a)
{
	for (uint32_t i = 0; i < a->how->nhosts && a->fleet.nfull > 0; i++)
		if (a->fleet.hosts[i].full && kn_link_pending(&a->machines[i].link) <= KN_PENDING_MOST / 2)
			kn_fleet_full(&a->fleet, i, false);
}

static void
links_flush(struct kn_exec *e, int64_t *next_ns)
{
	struct kn_agents *a = e->state;
	struct kn_remote *m, *later = NULL;

	while ((m = a->dirty) != NULL) {
		a->dirty = m->next_dirty;
		if (m->link.phase != KN_LINK_CLOSED && e->loop->now_ns < a->gather_ns && may_wait(a, m)) {
			m->next_dirty = later;
			later = m;
			continue;
		}
		m->dirty = m->urgent = false;
		m->unsent = 0;
		if (m->link.phase != KN_LINK_CLOSED)
			kn_link_flush(&m->link);
	}
	a->dirty = later;
	if (e->loop->now_ns >= a->gather_ns)
		a->gather_ns = e->loop->now_ns + GATHER_NS;
	if (later != NULL && a->gather_ns < *next_ns)
		*next_ns = a->gather_ns;
}

static int
agent_tick(struct kn_exec *e, int64_t *next_ns)
{
	struct kn_agents *a = e->state;
	int err;

	links_pause(e);
	silence_look(e);
	kn_remotes_due(e, next_ns);
	kn_killed_give_up(e, next_ns);
	links_look(a);
	kn_jobs_tend(e);
	err = kn_remotes_gone(e);
	if (err < 0)
		return err;
	kn_jobs_move(e, next_ns);
	kn_copies_make(e, next_ns);
	kn_agent_capacity(e);
	kn_agent_files_tick(e, next_ns);
	links_flush(e, next_ns);
	return 0;
}

/* ---- tasks ------------------------------------------------------------------------------ */

static int
agent_start(struct kn_exec *e, struct kn_task *t)
{
	struct kn_agents *a = e->state;
	struct kn_job *j = job_of(t);
	size_t pin;

	if (j->task == NULL) {
		pin = a->how->pin != NULL ? a->how->pin(t->data) : SIZE_MAX;
		j->pin = pin < a->how->nhosts ? (uint32_t)pin : KN_FLEET_ANY;
		j->avoid = KN_FLEET_ANY;
		j->task = t;
		j->errand.job = j;
	}
	a->started_ns = e->loop->now_ns;
	return kn_jobs_start(e, j);
}

/* So many more than may run are wanted, that machines never wait for the next one. */
static unsigned
agent_limit(struct kn_exec *e, unsigned limit)
{
	const struct kn_agents *a = e->state;
	uint64_t room, want, ahead;

	kn_fleet_room(&a->fleet, &room, &want);
	ahead = want > limit ? want - limit : 0;

	if (a->how->pin != NULL)
		ahead += PINNED_AHEAD;
	return ahead > UINT32_MAX / 2 ? UINT32_MAX / 2 : (unsigned)ahead;
}

static void
agent_signal(struct kn_exec *e, struct kn_task *t, int signal)
{
	struct kn_agents *a = e->state;
	struct kn_job *j = job_of(t);
	bool ends = kn_agent_signal_ends(signal);

	if (j->errand.id == 0) {
		j->recalled = j->recalled || ends;
		a->recalls = a->recalls || ends;
		return;
	}
	/* It may have begun there by now: then that is heard first, and what becomes of it is settled here. */
	kn_agent_signal(e, &j->errand, ends && t->state == KN_HANDED && signal != SIGKILL ? 0 : signal);
	if (j->twin != NULL && j->twin->id != 0)
		kn_agent_signal(e, j->twin, signal);
	if (signal == SIGKILL) {
		j->sent_kill = true;
		j->given_up_ns = e->loop->now_ns + KILLED_NS;
	}
	if ((signal == SIGKILL || (ends && !j->errand.began)) && !j->killed) {
		j->given_up_ns = e->loop->now_ns + KILLED_NS;
		kn_chain_push(&a->killed, &j->killed_node);
		j->killed = true;
	}
}

/* ---- the beginning and the end ------------------------------------------------------------ */

static int
agents_init(struct kn_exec *e, struct kn_agents *a)
{
	const struct knee_machines *how = e->options->machines;
	const struct kn_fleet_rules rules = {
		.timeout_ns = how->timeout_ns > 0 ? how->timeout_ns : TIMEOUT_NS,
		.connect_ns = how->connect_ns > 0 ? how->connect_ns : CONNECT_NS,
		.connect_most = how->connect_most > 0 ? how->connect_most : CONNECT_MOST,
		.tries = TRIES,
		.pinned = how->pin != NULL,
	};
	int err;

	a->how = how;
	a->tick_ns = e->loop->now_ns;
	a->slots = kn_template_uses_slot(e->options->command) || e->options->slot_var != NULL;
	a->free_id = UINT32_MAX;
	a->machines = calloc(how->nhosts, sizeof(*a->machines));
	if (a->machines == NULL)
		return -ENOMEM;
	err = kn_spawner_init(&a->spawner);
	if (err < 0)
		goto machines;
	kn_spawner_raise_files(&a->spawner);
	err = kn_fleet_init(
	    &a->fleet, (uint32_t)how->nhosts, &rules, (uint64_t)e->loop->now_ns ^ (uint64_t)getpid() << 32);
	if (err < 0)
		goto spawner;
	/* Where nobody can connect to, frames go the way that there is. */
	if (how->dial)
		(void)kn_dial_listen(e->loop, (uint32_t)how->nhosts, kn_remote_dialled, e, &a->dial);
	for (size_t i = 0; i < how->nhosts; i++) {
		struct kn_remote *m = &a->machines[i];

		m->exec = e;
		m->spec = &how->hosts[i];
		m->index = (uint32_t)i;
		m->courier.hold = true;
		m->courier.counter = (uint64_t)i << 40; /* all write into the same folders */
		m->courier.sync = how->sync != 0;
		kn_link_init(&m->link, &kn_remote_link, e->loop);
	}
	return 0;
spawner:
	kn_spawner_done(&a->spawner);
machines:
	free(a->machines);
	return err;
}

static int
agent_open(struct kn_exec *e)
{
	struct kn_agents *a = calloc(1, sizeof(*a));
	int err;

	if (a == NULL)
		return -ENOMEM;
	err = agents_init(e, a);
	if (err < 0) {
		free(a);
		return err;
	}
	e->state = a;
	return 0;
}

/* Ask all that are up to end, and give them a moment, so that they can clear up there. */
static void
goodbye(struct kn_exec *e)
{
	struct kn_agents *a = e->state;
	int64_t until_ns = e->loop->now_ns + BYE_NS, next_ns = until_ns;
	bool any = true;

	a->closing = true;
	links_pause(e);
	for (size_t i = 0; i < a->how->nhosts; i++) {
		struct kn_remote *m = &a->machines[i];

		if (m->stage != KN_REMOTE_UP || kn_frame_empty(&m->link.sending, KN_FRAME_CLOSE) < 0)
			kn_remote_close(m);
		else
			kn_link_flush(&m->link);
	}
	while (any && e->loop->now_ns < until_ns) {
		any = false;
		for (size_t i = 0; i < a->how->nhosts; i++)
			any = any || kn_link_busy(&a->machines[i].link);
		if (any && kn_loop_wait(e->loop, until_ns) < 0)
			break;
		links_flush(e, &next_ns);
	}
}

static void
agent_close(struct kn_exec *e)
{
	struct kn_agents *a = e->state;

	e->paused = false;
	goodbye(e);
	for (size_t i = 0; i < a->how->nhosts; i++) {
		kn_link_done(&a->machines[i].link);
		kn_agent_files_lost(&a->machines[i]);
		kn_buf_done(&a->machines[i].words);
	}
	kn_dial_free(a->dial);
	kn_fleet_done(&a->fleet);
	kn_program_done(&a->program);
	kn_spawner_done(&a->spawner);
	kn_buf_done(&a->payload);
	free(a->ids);
	free(a->machines);
	free(a);
}

int
kn_agent_host(const struct kn_exec *e, size_t i, struct knee_host_stats *ret)
{
	static const enum knee_host_state states[] = {
		[KN_HOST_IDLE] = KNEE_HOST_DOWN,
		[KN_HOST_CONNECTING] = KNEE_HOST_DOWN,
		[KN_HOST_UP] = KNEE_HOST_UP,
		[KN_HOST_WAITING] = KNEE_HOST_DOWN,
		[KN_HOST_ASIDE] = KNEE_HOST_ASIDE,
		[KN_HOST_GONE] = KNEE_HOST_GONE,
	};
	const struct kn_agents *a = e->state;
	const struct kn_remote *m;
	const struct kn_fleet_host *h;

	if (i >= a->how->nhosts)
		return 0;
	m = &a->machines[i];
	h = &a->fleet.hosts[i];
	*ret = (struct knee_host_stats){
		.name = m->spec->name,
		.state = states[h->state],
		.limit = h->limit,
		.running = m->running,
		.peak = m->peak,
		.done = h->done,
		.failed = h->failed,
		.lost = m->lost_tasks,
	};
	(void)snprintf(ret->why, sizeof(ret->why), "%s", m->why);
	return 1;
}

const struct kn_exec_ops kn_exec_agent = {
	.task_bytes = sizeof(struct kn_job),
	.fds_per_task = 1,
	.open = agent_open,
	.start = agent_start,
	.limit = agent_limit,
	.signal = agent_signal,
	.tick = agent_tick,
	.close = agent_close,
};
