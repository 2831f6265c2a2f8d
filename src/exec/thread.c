/* SPDX-License-Identifier: MIT */
/*
 * A task is a call of a function (struct knee_plugin) on one of the threads of a crew (crew.h).
 *
 * What is started in a turn of the loop goes into the crew's queue at the end of it; a call, its output
 * and its end come back as parcels through the mailbox of call.h. Where calls are short the queue holds
 * more tasks than may run, so that no thread waits for the loop between two of them.
 *
 * A call that goes on after all signals of the ending sequence is given up: its task has its end, and
 * the thread is left to itself.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "../sys/probe.h"
#include "crew.h"
#include "exec.h"

/* A call is short when it takes less: the queue holds what is done in AHEAD_NS. */
#define SHORT_NS 200000
#define AHEAD_NS 2000000
#define AHEAD_MOST 1024
/* Where calls are short a begin is no parcel: one that lasts is found after this time. */
#define QUIET_NS ((int64_t)5000000)
/* A function that was sent SIGKILL has so long to return before it is given up. */
#define GRACE_NS ((int64_t)100000000)

struct threads {
	struct kn_crew *crew;  /* owned; lost threads keep it alive */
	struct kn_chain fresh; /* jobs that were started in this turn */
	struct kn_chain gone;  /* to be returned, or given up, in a later tick */
	int64_t give_up_ns;    /* of the latest of them */
	struct kn_chain spare;
	struct kn_parcel *held, **held_end; /* output that waits until the loop reads again */
	double mean_ns;                     /* of calls, lately; 0: none yet */
	unsigned unheard;                   /* taken or queued, and not begun as far as we know */
	int64_t find_ns;                    /* when to look for those that did */
};

/* A task's private part. */
struct seat {
	struct kn_job *job;
	struct kn_usage base; /* of its thread, when it was first looked at */
	bool looked;
};

/* ---- starting ------------------------------------------------------------------ */

/* The input's strings for the call: they must outlive the task, should it be given up. */
static int
job_input(struct kn_job *j, const struct kn_task *t, struct knee_input *ret)
{
	size_t table = t->nargs * sizeof(char *), size = table;
	char **args, *text;

	for (size_t i = 0; i < t->nargs; i++)
		size += strlen(t->args[i]) + 1;
	j->text.len = 0;
	if (kn_buf_reserve(&j->text, size + 1) < 0)
		return -ENOMEM;
	args = (char **)(void *)j->text.data;
	text = j->text.data + table;
	for (size_t i = 0; i < t->nargs; i++) {
		args[i] = text;
		text = stpcpy(text, t->args[i]) + 1;
	}
	*ret = (struct knee_input){ .args = (const char *const *)args, .nargs = t->nargs, .data = t->data };
	return 0;
}

static int
thread_start(struct kn_exec *e, struct kn_task *t)
{
	struct threads *s = e->state;
	struct seat *seat = t->exec;
	struct kn_job *j = kn_job_at(kn_chain_pop(&s->spare));
	struct knee_input input;

	if (j == NULL)
		j = calloc(1, sizeof(*j));
	if (j == NULL)
		return -ENOMEM;
	if (job_input(j, t, &input) < 0) {
		kn_chain_append(&s->spare, &j->node);
		return -ENOMEM;
	}
	kn_call_init(&j->call, &s->crew->desk, t->seq, t->result.attempt + 1, &input);
	j->task = t;
	atomic_store(&j->state, KN_JOB_QUEUED);
	j->began = j->going = false;
	j->signal = 0;
	*seat = (struct seat){ .job = j };
	kn_chain_append(&s->fresh, &j->node);
	s->unheard++;
	return 0;
}

static unsigned
thread_limit(struct kn_exec *e, unsigned limit)
{
	struct threads *s = e->state;
	bool brief = s->mean_ns > 0 && s->mean_ns < SHORT_NS;
	double ahead = brief ? limit * (AHEAD_NS / (s->mean_ns + 100)) : 0;

	kn_crew_limit(s->crew, limit, brief);
	return ahead < AHEAD_MOST ? (unsigned)ahead : AHEAD_MOST;
}

/* ---- ending ---------------------------------------------------------------------- */

static void
job_goes(struct threads *s, struct kn_job *j)
{
	j->going = true;
	kn_chain_append(&s->gone, &j->node);
}

/* Was it started in this turn, so that it is not in the queue of the crew yet? */
static bool
is_fresh(const struct threads *s, const struct kn_job *j)
{
	const struct kn_chain_node *n = s->fresh.first;

	while (n != NULL && n != &j->node)
		n = n->next;
	return n != NULL;
}

static void
thread_signal(struct kn_exec *e, struct kn_task *t, int signal)
{
	struct threads *s = e->state;
	struct kn_job *j = ((struct seat *)t->exec)->job;
	bool queued;

	/* A thread cannot be stopped and continued. */
	if (j == NULL || t->state == KN_RUNNING || signal == SIGSTOP || signal == SIGCONT)
		return;
	j->signal = signal;
	if (j->going)
		return;
	if (is_fresh(s, j)) {
		kn_chain_remove(&s->fresh, &j->node);
		job_goes(s, j);
		return;
	}
	queued = kn_crew_recall(s->crew, j);
	if (!queued)
		kn_call_cancel(&j->call);
	/* What it began it does not end: give it up. */
	j->give_up_ns = e->loop->now_ns + GRACE_NS;
	if (queued || (signal == SIGKILL && j->began))
		job_goes(s, j);
}

struct reader {
	struct kn_exec *exec;
	struct kn_task *task;
};

static void
output_read(void *self, enum knee_stream stream, const char *data, size_t n)
{
	const struct reader *r = self;

	r->task->result.output_bytes += n;
	r->exec->host.output(r->exec->host.self, r->task, stream, data, n);
}

/* The readings are rougher than a short call is long, and one thread has one core. */
static void
cpu_fill(struct knee_result *r, int64_t user_ns, int64_t sys_ns)
{
	double part =
	    user_ns + sys_ns > r->runtime_ns ? (double)r->runtime_ns / (double)(user_ns + sys_ns) : 1;

	r->cpu_user_ns = (int64_t)((double)user_ns * part);
	r->cpu_sys_ns = (int64_t)((double)sys_ns * part);
}

static void
result_fill(struct kn_task *t, const struct kn_job *j)
{
	struct knee_result *r = &t->result;

	r->outcome = KNEE_EXITED;
	r->status = j->status & 255;
	if (j->status < 0) {
		r->outcome = KNEE_NOT_STARTED;
		r->error = j->status;
		r->status = j->status == -ENOENT ? 127 : 126;
	}
	if (t->state == KN_ENDING) {
		r->outcome = KNEE_SIGNALED;
		r->status = j->signal;
	}
	r->runtime_ns = j->end_ns > j->begin_ns ? j->end_ns - j->begin_ns : 1;
	if (j->instant)
		r->cpu_user_ns = r->runtime_ns;
	else
		cpu_fill(r, j->user_ns, j->sys_ns);
	if (j->delay_ns > t->usage.delay_ns) {
		t->usage.delay_ns = j->delay_ns;
		t->usage.known |= KN_USAGE_DELAY;
	}
	r->disk_read_bytes = (uint64_t)j->usage.ru_inblock * 512;
	r->disk_written_bytes = (uint64_t)j->usage.ru_oublock * 512;
	r->waits = (uint64_t)j->usage.ru_nvcsw;
	r->switches = (uint64_t)j->usage.ru_nivcsw;
	if (t->usage.disk_bytes < r->disk_read_bytes + r->disk_written_bytes)
		t->usage.disk_bytes = r->disk_read_bytes + r->disk_written_bytes;
}

static void
job_begin(struct kn_exec *e, struct kn_job *j)
{
	struct threads *s = e->state;

	if (j->began)
		return;
	j->began = true;
	s->unheard--;
	e->host.began(e->host.self, j->task, j->begin_ns);
}

/* Read the parcels of j, or of all (NULL), that were put aside. */
static void
held_read(struct kn_exec *e, const struct kn_job *j)
{
	struct threads *s = e->state;
	struct kn_parcel **at = &s->held, *p;

	while ((p = *at) != NULL) {
		struct kn_job *owner = (struct kn_job *)(void *)p->call;
		struct reader reader = { .exec = e, .task = owner->task };

		if (j != NULL && owner != j) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		kn_parcel_read(p, output_read, &reader);
		if (j == NULL && e->paused)
			break;
	}
	for (s->held_end = at; *s->held_end != NULL;)
		s->held_end = &(*s->held_end)->next;
}

static void
job_end(struct kn_exec *e, struct kn_job *j)
{
	struct threads *s = e->state;
	struct kn_task *t = j->task;
	struct reader reader = { .exec = e, .task = t };
	struct kn_buf part = t->part;
	double length_ns = (double)(j->end_ns - j->begin_ns);

	job_begin(e, j);
	held_read(e, j);
	kn_call_read(&j->call, output_read, &reader);
	if (j->call.part.len > 0) {
		t->part = j->call.part;
		j->call.part = part;
	}
	s->mean_ns = s->mean_ns <= 0 ? length_ns : s->mean_ns + (length_ns - s->mean_ns) / 16;
	result_fill(t, j);
	((struct seat *)t->exec)->job = NULL;
	if (j->going)
		kn_chain_remove(&s->gone, &j->node);
	kn_chain_append(&s->spare, &j->node);
	e->host.ended(e->host.self, t);
}

static void
parcel_come(struct kn_exec *e, struct kn_parcel *p)
{
	struct threads *s = e->state;
	struct kn_job *j = (struct kn_job *)(void *)p->call;
	struct reader reader = { .exec = e, .task = j->task };

	switch (p->kind) {
	case KN_PARCEL_BEGIN:
		job_begin(e, j);
		break;
	case KN_PARCEL_OUTPUT:
		p->next = NULL;
		if (e->paused || s->held != NULL) {
			*s->held_end = p;
			s->held_end = &p->next;
		} else {
			kn_parcel_read(p, output_read, &reader);
		}
		break;
	case KN_PARCEL_END:
		job_end(e, j);
		break;
	}
}

/* ---- calls that do not end --------------------------------------------------------- */

/* A call that goes on after SIGKILL. False: it ends in this very moment, or posts something. */
static bool
job_drop(struct kn_exec *e, struct kn_job *j)
{
	struct threads *s = e->state;
	struct kn_task *t = j->task;

	held_read(e, j);
	if (!kn_crew_drop(s->crew, j))
		return false;
	e->plugin_lost = true;
	t->result.outcome = KNEE_SIGNALED;
	t->result.status = SIGKILL;
	((struct seat *)t->exec)->job = NULL;
	e->host.ended(e->host.self, t);
	return true;
}

/* Those that were taken back before they began, and those that are given up. */
static void
gone_end(struct kn_exec *e)
{
	struct threads *s = e->state;
	struct kn_chain gone = s->gone;
	struct kn_job *j;

	s->gone = (struct kn_chain){ 0 };
	s->give_up_ns = e->loop->now_ns;
	while ((j = kn_job_at(kn_chain_pop(&gone))) != NULL) {
		struct kn_task *t = j->task;

		if (atomic_load(&j->state) == KN_JOB_QUEUED) {
			s->unheard--;
			((struct seat *)t->exec)->job = NULL;
			kn_chain_append(&s->spare, &j->node);
			e->host.returned(e->host.self, t);
		} else if (j->give_up_ns > e->loop->now_ns || !job_drop(e, j)) {
			s->give_up_ns = j->give_up_ns > s->give_up_ns ? j->give_up_ns : s->give_up_ns;
			kn_chain_append(&s->gone, &j->node);
		}
	}
}

/* ---- the other hooks ---------------------------------------------------------------- */

/* Calls that last longer than others, and of whose begin no parcel tells. */
static void
begun_find(struct kn_exec *e)
{
	struct threads *s = e->state;

	if (e->loop->now_ns < s->find_ns)
		return;
	s->find_ns = e->loop->now_ns + QUIET_NS;
	for (const struct kn_crew_thread *w = s->crew->threads; w != NULL; w = w->next) {
		struct kn_job *j = atomic_load_explicit(&w->now, memory_order_acquire);

		if (j != NULL && !j->began && atomic_load(&j->state) == KN_JOB_TAKEN &&
		    e->loop->now_ns - j->begin_ns > QUIET_NS)
			job_begin(e, j);
	}
}

static int
thread_tick(struct kn_exec *e, int64_t *next_ns)
{
	struct threads *s = e->state;
	struct kn_letter *l = kn_mailbox_take(&s->crew->desk.mailbox), *next;
	int err;

	for (; l != NULL; l = next) {
		next = l->next;
		parcel_come(e, (struct kn_parcel *)(void *)l);
	}
	if (s->held != NULL && !e->paused)
		held_read(e, NULL);
	gone_end(e);
	err = kn_crew_queue(s->crew, &s->fresh);
	*next_ns = INT64_MAX;
	if (s->unheard > 0 && s->crew->brief) {
		begun_find(e);
		*next_ns = e->loop->now_ns + QUIET_NS;
	}
	if (s->gone.len > 0 && s->give_up_ns < *next_ns)
		*next_ns = s->give_up_ns;
	if (!kn_mailbox_doze(&s->crew->desk.mailbox))
		*next_ns = e->loop->now_ns;
	return err;
}

static void
thread_look(struct kn_exec *e, struct kn_task *t, bool deep)
{
	struct seat *seat = t->exec;
	const struct kn_crew *c = ((struct threads *)e->state)->crew;
	struct kn_job *j = seat->job;
	struct kn_usage now = t->usage;

	if (j == NULL || !j->began || c->brief)
		return;
	kn_probe_thread(j->tid, deep, &now);
	/* It may have ended meanwhile, and then what was seen is a thread that waits for work. */
	if (atomic_load(&j->state) != KN_JOB_TAKEN)
		return;
	if (!seat->looked)
		seat->base = now;
	seat->looked = true;
	now.cpu_ns -= seat->base.cpu_ns;
	now.delay_ns -= seat->base.delay_ns;
	now.bytes -= seat->base.bytes;
	now.disk_bytes -= seat->base.disk_bytes;
	now.reads -= seat->base.reads;
	t->usage = now;
}

static int
thread_open(struct kn_exec *e)
{
	struct threads *s = calloc(1, sizeof(*s));
	int err;

	if (s == NULL)
		return -ENOMEM;
	err = kn_crew_new(e->loop, e->options->plugin, e->plugin_state, &s->crew);
	if (err < 0) {
		free(s);
		return err;
	}
	s->held_end = &s->held;
	e->state = s;
	return 0;
}

static void
thread_close(struct kn_exec *e)
{
	struct threads *s = e->state;
	struct kn_job *j;

	/* One that has returned meanwhile uses nothing any more. */
	e->plugin_lost = kn_crew_close(s->crew);
	while ((j = kn_job_at(kn_chain_pop(&s->spare))) != NULL)
		kn_job_free(j);
	free(s);
}

const struct kn_exec_ops kn_exec_thread = {
	.task_bytes = sizeof(struct seat),
	.fds_per_task = 1,
	.open = thread_open,
	.start = thread_start,
	.limit = thread_limit,
	.signal = thread_signal,
	.look = thread_look,
	.tick = thread_tick,
	.close = thread_close,
};
