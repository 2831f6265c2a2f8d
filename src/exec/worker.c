/* SPDX-License-Identifier: MIT */
/*
 * A task is a record: written to the stdin of a worker, a process that lives for many of them, and
 * answered on its stdout.  How both are told apart: core/framing.h.
 *
 *	start() ──► queue ──► window of a worker: sent, at the front, answered ──► ended()
 *
 * Here is who gets what: records that wait, workers that are started for them or needed no longer, and what
 * the run wants of either.  What becomes of a record that a worker has: worker_window.c.
 *
 * What is done to a record in the works is done to the process: a signal goes to the worker's group, and if
 * the worker answers all the same it is not used any more.  What else was in its window goes back to the
 * run, and to another worker.
 */
#include <errno.h>
#include <stdlib.h>

#include "worker_parts.h"

static struct kn_job *
job_of(struct kn_task *t)
{
	return t->exec;
}

/* ---- the record ---------------------------------------------------------------- */

static int
request_make(struct kn_exec *e, struct kn_task *t, struct kn_buf *to)
{
	const struct kn_fill fill = kn_command_fill(e->options, t);
	struct kn_runner *r = e->state;
	int err;

	/* The attempt is counted when it begins. */
	if (r->framing == KNEE_FRAMING_PLUGIN)
		return kn_request_put(&(struct kn_request){ .seq = fill.seq,
					  .attempt = t->result.attempt + 1,
					  .args = t->args,
					  .nargs = t->nargs },
		    to);
	r->record.len = 0;
	err = kn_template_script(e->options->command, &fill, &r->record);
	if (err == 0)
		err = kn_framing_request(r->framing, r->record.data, r->record.len, to);
	if (err == -EILSEQ)
		e->host.note(e->host.self, t,
		    "a record of a worker cannot hold a newline: use -0 or --framing length");
	return err;
}

/* ---- who gets what ------------------------------------------------------------------------------ */

/* The idle worker that was busy last is the one whose pages are warm; but the list is in order of starts,
 * and any will do. */
static struct kn_worker *
idle_one(const struct kn_runner *r)
{
	struct kn_worker *w = r->nidle > 0 ? kn_worker_at(r->workers.first) : NULL;

	while (w != NULL && w->state != KN_WORKER_IDLE)
		w = kn_worker_at(w->node.next);
	return w;
}

static int
worker_add(struct kn_exec *e)
{
	struct kn_runner *r = e->state;
	struct kn_worker *w;
	int err = kn_worker_start(e, &w);

	if (err < 0)
		return err;
	r->nworkers++;
	r->nidle++;
	return 0;
}

void
kn_worker_refill(struct kn_exec *e)
{
	struct kn_runner *r = e->state;
	struct kn_worker *w;
	size_t share;
	int err;

	while (!e->paused && r->queue.len > 0 && r->nbusy < r->limit && (w = idle_one(r)) != NULL) {
		share = (r->queue.len + r->nidle - 1) / r->nidle;
		err = kn_worker_give(w, w->size < share ? w->size : (unsigned)share);
		if (err < 0 && r->err == 0)
			r->err = err;
		if (err < 0)
			return;
	}
}

/* Workers have died, or more may run: what is queued needs others. What none can be started for goes
 * back; start() will say why. */
static void
replace(struct kn_exec *e)
{
	struct kn_runner *r = e->state;
	int err = 0;

	while (!e->paused && r->queue.len > r->nidle && r->nworkers < r->limit && err == 0)
		err = worker_add(e);
	while (r->nworkers == 0 && r->queue.len > 0 && err < 0)
		kn_job_return(e, kn_job_at(kn_chain_pop(&r->queue)));
}

static int
worker_start(struct kn_exec *e, struct kn_task *t)
{
	struct kn_runner *r = e->state;
	struct kn_job *j = job_of(t);
	int err;

	*j = (struct kn_job){ .task = t };
	err = request_make(e, t, &j->request);
	if (err == 0 && r->queue.len + 1 > r->nidle && r->nworkers < r->limit)
		err = worker_add(e);
	if (err < 0) {
		kn_buf_done(&j->request);
		return err;
	}
	j->request_bytes = j->request.len;
	j->state = KN_JOB_QUEUED;
	kn_chain_append(&r->queue, &j->node);
	return 0;
}

/* ---- the other hooks ------------------------------------------------------------------------------- */

static unsigned
worker_limit(struct kn_exec *e, unsigned limit)
{
	struct kn_runner *r = e->state;
	struct kn_worker *next;
	unsigned more = 0;

	r->limit = limit;
	for (struct kn_worker *w = kn_worker_at(r->workers.first); w != NULL; w = next) {
		next = kn_worker_at(w->node.next);
		if (w->state == KN_WORKER_IDLE && r->nworkers > limit)
			kn_worker_dismiss(w);
		/* One window that it has, and one that waits for the end of that. */
		if ((w->state == KN_WORKER_IDLE || w->state == KN_WORKER_BUSY) && w->size > 1)
			more += 2 * w->size - 1;
	}
	return more;
}

static void
worker_signal(struct kn_exec *e, struct kn_task *t, int signal)
{
	struct kn_runner *r = e->state;
	struct kn_job *j = job_of(t);
	bool ending = t->state == KN_ENDING;

	if (j->state == KN_JOB_NONE)
		return;
	if (!j->told) {
		j->recalled = r->recalled = true;
	} else if (j->state == KN_JOB_FRONT) {
		j->worker->signalled = j->worker->signalled || ending;
		r->hurry = r->hurry || (ending && t->reason == KN_BY_CANCEL);
		kn_worker_signal(j->worker, signal);
	}
}

/* Give back those that were told to end before they began. */
static void
recalled_return(struct kn_exec *e)
{
	struct kn_runner *r = e->state;
	struct kn_job *j, *next;

	r->recalled = false;
	for (j = kn_job_at(r->queue.first); j != NULL; j = next) {
		next = kn_job_at(j->node.next);
		if (!j->recalled)
			continue;
		kn_chain_remove(&r->queue, &j->node);
		kn_job_return(e, j);
	}
	for (struct kn_worker *w = kn_worker_at(r->workers.first); w != NULL; w = kn_worker_at(w->node.next))
		kn_worker_recall(w);
}

static int
worker_tick(struct kn_exec *e, int64_t *next_ns)
{
	struct kn_runner *r = e->state;
	struct kn_heap_node *n;
	int64_t settle_ns;
	int err;

	if (r->recalled)
		recalled_return(e);
	kn_worker_free_gone(r);
	kn_worker_read_on(e);
	kn_worker_steps(e);
	replace(e);
	kn_worker_refill(e);
	*next_ns = kn_worker_tell_slow(e);
	settle_ns = kn_worker_settle_again(e);
	if (settle_ns < *next_ns)
		*next_ns = settle_ns;
	n = kn_heap_top(&r->due);
	if (n != NULL && n->key < *next_ns)
		*next_ns = n->key;
	if ((r->unread && !e->paused) || r->recalled)
		*next_ns = e->loop->now_ns;
	err = r->err;
	r->err = 0;
	return err;
}

static int
runner_init(struct kn_exec *e, struct kn_runner *r)
{
	const struct knee_options *o = e->options;
	char text[256];
	int err;

	*r = (struct kn_runner){ .framing = o->framing, .limit = 1 };
	err = kn_launcher_init(&r->launcher, o);
	if (err < 0)
		return err;
	err = knee_template_new(
	    o->worker, o->nworker, &(struct knee_template_options){ 0 }, &r->command, text, sizeof(text));
	if (err < 0)
		goto launcher;
	r->buffer = malloc(KN_READ_BYTES);
	r->err_buffer = malloc(KN_READ_BYTES);
	if (r->buffer != NULL && r->err_buffer != NULL)
		return 0;
	err = -ENOMEM;
	free(r->buffer);
	free(r->err_buffer);
	knee_template_free(r->command);
launcher:
	kn_launcher_done(&r->launcher);
	return err;
}

static int
worker_open(struct kn_exec *e)
{
	struct kn_runner *r = malloc(sizeof(*r));
	int err;

	if (r == NULL)
		return -ENOMEM;
	err = runner_init(e, r);
	if (err < 0) {
		free(r);
		return err;
	}
	if (e->options->limit == 0 || e->options->limit > KN_FEW_WORKERS)
		kn_spawner_raise_files(&r->launcher.spawner);
	e->state = r;
	return 0;
}

/* Records of a run that could not go on. */
static void
jobs_done(struct kn_chain *l)
{
	for (struct kn_chain_node *n = l->first; n != NULL; n = n->next)
		kn_buf_done(&kn_job_at(n)->request);
}

static void
worker_close(struct kn_exec *e)
{
	struct kn_runner *r = e->state;

	kn_worker_end_all(e);
	jobs_done(&r->queue);
	free(r->buffer);
	free(r->err_buffer);
	kn_buf_done(&r->numbers);
	kn_buf_done(&r->record);
	kn_buf_done(&r->late);
	kn_heap_done(&r->due);
	knee_template_free(r->command);
	kn_launcher_done(&r->launcher);
	free(r);
}

const struct kn_exec_ops kn_exec_worker = {
	.task_bytes = sizeof(struct kn_job),
	.fds_per_task = 5,
	.open = worker_open,
	.start = worker_start,
	.limit = worker_limit,
	.signal = worker_signal,
	.look = kn_worker_look,
	.tick = worker_tick,
	.close = worker_close,
};
