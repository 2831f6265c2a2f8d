/* SPDX-License-Identifier: MIT */
/*
 * A task is a record: written to the stdin of a worker, a process that lives for many of them, and
 * answered on its stdout.  How both are told apart: core/framing.h.
 *
 *	start() ──► queue ──► window of a worker: sent, at the front, answered ──► ended()
 *
 * Answers have no numbers: the n-th one is that of the n-th record.  So a worker gets a window of
 * records, and no more until all of it is answered, the worker sleeps in the reading of its stdin and one
 * more read shows that nothing else lies in its stdout; only then are the window's tasks ended.  If there is more the worker broke the protocol and
 * nobody knows whose answers those were: all tasks of the window fail, and the worker is killed.
 *
 * A window is one record as long as records take long.  While a whole one takes less than WINDOW_NS it is
 * doubled, so that a short record costs a share of a read and a write, no more.  A worker that writes to
 * stderr has one record at a time: whose words they are is known only then.
 *
 * One record is in the works in each worker, its front: the first that is not answered.  Its time begins
 * when it becomes that, and what is done to it is done to the process: a signal goes to the worker's group,
 * and if the worker answers all the same it is not used any more.  What else was in its window goes back
 * to the run, and to another worker.  Of a front that is not answered within SLOW_NS the run hears then, so
 * that time-outs meet the right one; of all others when their window is settled, one task after the other.
 *
 * A worker that ends: what it answered counts.  The record at its front fails, with the worker's status or
 * signal; with 1 when the status is 0, for an answer is missing.  But if the worker had answered before
 * and has not read a byte of that record, it is not to blame, and goes back like the rest.
 *
 * CPU time is that of the process alone, and is shared out evenly over a window.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "worker_parts.h"

/* A window that takes longer is too large. */
#define WINDOW_NS ((int64_t)2000000)
/* Of records that take longer it is known what the worker had used before each, if it is looked at. */
#define LONG_NS ((int64_t)5000000)
/* At the end of a window a worker is looked at after these times, doubling, until it waits for more; one that
 * did not so often in a row is not looked at any more. */
#define SETTLE_FIRST_NS ((int64_t)10000)
#define SETTLE_MOST_NS ((int64_t)5000000)
#define BLIND_MOST 4

/* A window that is not answered by then is slow. */
#define SLOW_NS ((int64_t)5000000)
/* Windows without a word on stderr before one may be larger than one. */
#define QUIET_WINDOWS 16

static struct kn_job *
job_of(struct kn_task *t)
{
	return t->exec;
}

static void
note(struct kn_exec *e, struct kn_task *t, const char *text)
{
	if (e->host.note != NULL)
		e->host.note(e->host.self, t, text);
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
		note(e, t, "a record of a worker cannot hold a newline: use -0 or --framing length");
	return err;
}

/* ---- what a record uses ---------------------------------------------------------- */

/* What w has used, without what it had before. */
static void
usage_since(const struct kn_worker *w, const struct kn_job *j, struct kn_usage *ret)
{
	const struct kn_usage *now = &w->probe.usage, *base = &j->base;
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

/* j is at the front now: what did its worker use before? A worker that nobody looks at, as those of short
 * records are, costs nothing here. */
static void
usage_begin(struct kn_worker *w, struct kn_job *j)
{
	j->looked = w->answered == 0;
	j->base = (struct kn_usage){ 0 };
	if (w->probe.pid == 0 || w->record_ns < LONG_NS)
		return;
	kn_probe_look(&w->probe, false);
	j->base = w->probe.usage;
	j->looked = true;
}

static void
worker_look(struct kn_exec *e, struct kn_task *t, bool deep)
{
	struct kn_job *j = job_of(t);
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
	usage_since(w, j, &t->usage);
}

/* Share out the CPU time since the last time over n answered records. */
static void
cpu_share(struct kn_worker *w, unsigned n, int64_t cpu_ns)
{
	int64_t used_ns = cpu_ns > w->cpu_ns ? cpu_ns - w->cpu_ns : 0;

	for (unsigned i = 0; i < n; i++)
		if (w->window[i] != NULL)
			w->window[i]->task->result.cpu_user_ns = used_ns / n;
	if (cpu_ns > w->cpu_ns)
		w->cpu_ns = cpu_ns;
}

/* ---- a worker's front ---------------------------------------------------------------- */

/* The record in the works, or NULL. */
static struct kn_job *
front(const struct kn_worker *w)
{
	return w->nanswered < w->nwindow ? w->window[w->nanswered] : NULL;
}

void
kn_worker_tell(struct kn_worker *w, struct kn_job *j)
{
	const struct kn_exec_host *host = &w->exec->host;

	if (j->told)
		return;
	j->told = true;
	j->recalled = false;
	host->began(host->self, j->task, j->since_ns);
}

static void
begin(struct kn_worker *w, struct kn_job *j)
{
	struct kn_runner *r = w->exec->state;

	j->state = KN_JOB_FRONT;
	j->since_ns = w->exec->loop->now_ns;
	usage_begin(w, j);
	if (w->nwindow == 1)
		kn_worker_tell(w, j);
	if (r->late.len == 0)
		return;
	kn_worker_output(
	    w, j, &(struct kn_piece){ .kind = KN_PIECE_ERR, .data = r->late.data, .size = r->late.len });
	r->late.len = 0;
}

/* End it: it is of no use any more, or of none to be trusted. */
static void
doom(struct kn_worker *w, const char *broke)
{
	struct kn_runner *r = w->exec->state;

	r->nbusy -= w->state == KN_WORKER_BUSY;
	r->nidle -= w->state == KN_WORKER_IDLE;
	r->nworkers -= w->state == KN_WORKER_BUSY || w->state == KN_WORKER_IDLE;
	w->state = KN_WORKER_DOOMED;
	w->broke = broke;
	if (broke != NULL && w->nwindow == 0)
		note(w->exec, NULL, broke);
	kn_worker_kill(w);
}

static void
front_answered(struct kn_worker *w, int status)
{
	struct kn_job *j = front(w);

	if (j != NULL) {
		j->status = status;
		j->state = KN_JOB_ANSWERED;
		j->until_ns = w->exec->loop->now_ns;
	}
	w->nanswered++;
	w->answered++;
	if (w->nanswered == w->nwindow)
		return;
	/* After a signal it is not the worker that it was; and an answer that nobody waits for may be a
	 * long time coming. */
	if (w->signalled || front(w) == NULL)
		doom(w, NULL);
	else
		begin(w, front(w));
}

void
kn_worker_answers(struct kn_worker *w, const char *data, size_t size)
{
	struct kn_piece piece;
	int n;

	if (w->state == KN_WORKER_DOOMED || w->state == KN_WORKER_RETIRED)
		return;
	while ((n = kn_answers_take(&w->answers, &data, &size, &piece)) == 1) {
		if (w->nanswered == w->nwindow) {
			doom(w, "a worker wrote more answers than it got records");
			return;
		}
		if (front(w) != NULL)
			kn_worker_output(w, front(w), &piece);
		if (piece.end)
			front_answered(w, piece.status);
		if (w->state == KN_WORKER_DOOMED)
			return;
	}
	if (n < 0)
		doom(w, "a worker wrote what is no answer in this --framing");
}

void
kn_worker_errors(struct kn_worker *w, const char *data, size_t size)
{
	struct kn_runner *r = w->exec->state;
	struct kn_job *j = front(w);

	w->quiet = 0;
	if (j != NULL)
		kn_worker_output(
		    w, j, &(struct kn_piece){ .kind = KN_PIECE_ERR, .data = data, .size = size });
	else if (r->late.len + size <= KN_LATE_BYTES)
		(void)kn_buf_add(&r->late, data, size);
}

/* ---- the end of a window ----------------------------------------------------------------- */

static void
job_end(struct kn_exec *e, struct kn_job *j, enum knee_outcome outcome, int status)
{
	struct knee_result *res = &j->task->result;

	kn_buf_done(&j->request);
	j->state = KN_JOB_NONE;
	j->worker = NULL;
	if (j->until_ns > j->since_ns)
		res->runtime_ns = j->until_ns - j->since_ns;
	/* Below 0: as what cannot be started. */
	res->outcome = status < 0 ? KNEE_NOT_STARTED : outcome;
	res->status = status < 0 ? 126 : status;
	res->error = status < 0 ? status : 0;
	e->host.ended(e->host.self, j->task);
}

static void
job_return(struct kn_exec *e, struct kn_job *j)
{
	kn_buf_done(&j->request);
	*j = (struct kn_job){ .task = j->task };
	e->host.returned(e->host.self, j->task);
}

/* How large the next window is. */
static void
resize(struct kn_worker *w)
{
	int64_t took_ns = w->exec->loop->now_ns - w->window_ns;

	w->record_ns = took_ns / w->nwindow;
	w->quiet++;
	if (took_ns > WINDOW_NS)
		w->size = (unsigned)(w->nwindow * WINDOW_NS / took_ns);
	else if (took_ns <= WINDOW_NS / 2 && w->nwindow == w->size)
		w->size *= 2;
	if (w->size > KN_WINDOW_MAX)
		w->size = KN_WINDOW_MAX;
	if (w->size == 0 || w->loose || w->quiet < QUIET_WINDOWS)
		w->size = 1;
}

/* Answers that came in the same turn: when each of them did is not known, but when all did. */
static void
times_share(struct kn_worker *w)
{
	int64_t each_ns = (w->exec->loop->now_ns - w->window_ns) / w->nwindow;

	for (unsigned i = 0; i < w->nanswered; i++) {
		struct kn_job *j = w->window[i];

		if (j == NULL)
			continue;
		j->since_ns = w->window_ns + each_ns * i;
		j->until_ns = j->since_ns + each_ns;
	}
}

/* The answered tasks of a window have their result. */
static void
answered_end(struct kn_worker *w)
{
	if (!w->slow)
		times_share(w);
	/* Those that the run has heard of go first, so that it never sees two of them at once. */
	for (unsigned i = 0; i < w->nanswered && w->slow; i++) {
		struct kn_job *j = w->window[i];

		if (j == NULL || !j->told)
			continue;
		kn_worker_release_one(w, i);
		w->window[i] = NULL;
		job_end(w->exec, j, KNEE_EXITED, j->status);
	}
	for (unsigned i = 0; i < w->nanswered; i++) {
		struct kn_job *j = w->window[i];

		if (j == NULL)
			continue;
		kn_worker_tell(w, j);
		kn_worker_release(w, i);
		w->window[i] = NULL;
		job_end(w->exec, j, KNEE_EXITED, j->status);
	}
}

static void refill(struct kn_exec *e);

static void
retire(struct kn_worker *w)
{
	struct kn_runner *r = w->exec->state;

	r->nidle--;
	r->nworkers--;
	w->state = KN_WORKER_RETIRED;
	kn_worker_retire(w);
}

/*
 * All records are answered, but are these all the answers? One too many in the middle would stand for the last
 * record's, which is in the works still. A worker that is asleep in the reading of its stdin has nothing more
 * to say than what can be read now. One that never sleeps so is believed after a while, and later at once.
 */
static bool
certain(struct kn_worker *w)
{
	struct kn_runner *r = w->exec->state;
	int64_t now_ns = w->exec->loop->now_ns;

	if (w->certain || w->unseen || w->out.fd < 0)
		return true;
	if (kn_worker_waits(w)) {
		w->blind = 0;
		w->certain = true;
		kn_worker_read(w); /* and that settles it */
		return false;
	}
	if (w->settle_ns == 0)
		w->settle_wait_ns = SETTLE_FIRST_NS;
	else
		w->settle_wait_ns *= 2;
	if (w->settle_wait_ns > SETTLE_MOST_NS) {
		w->unseen = ++w->blind >= BLIND_MOST;
		return true;
	}
	w->settle_ns = now_ns + w->settle_wait_ns;
	r->settling = true;
	return false;
}

void
kn_worker_settle(struct kn_worker *w)
{
	struct kn_runner *r = w->exec->state;

	if (w->state == KN_WORKER_IDLE && w->out.fd < 0 && w->end.fd >= 0)
		retire(w);
	if (w->state != KN_WORKER_BUSY || w->nanswered < w->nwindow || w->end.fd < 0)
		return;
	if (!certain(w))
		return;
	if (!kn_answers_between(&w->answers) || w->sent < w->unsent.len) {
		doom(w, "a worker wrote more answers than it got records");
		return;
	}
	if (w->window[0] != NULL && w->window[0]->task->usage.looks > 0) {
		kn_probe_look(&w->probe, false);
		usage_since(w, w->window[0], &w->window[0]->task->usage);
	}
	cpu_share(w, w->nwindow, kn_child_cpu_ns(&w->child));
	resize(w);
	r->nbusy--;
	r->nidle++;
	w->state = KN_WORKER_IDLE;
	answered_end(w);
	kn_worker_forget(w);
	w->nwindow = w->nanswered = 0;
	w->loose = false;
	if (w->signalled)
		doom(w, NULL);
	else if (w->out.fd < 0 || r->nworkers > r->limit)
		retire(w);
	refill(w->exec);
}

/* ---- a worker that has ended ----------------------------------------------------------------- */

/* Did it read anything of the record at its front? */
static bool
front_unread(const struct kn_worker *w)
{
	size_t bytes = 0;

	for (unsigned i = w->nanswered; i < w->nwindow; i++)
		bytes += w->window[i] != NULL ? w->window[i]->request_bytes : 0;
	return bytes > 0 && kn_worker_unread(w) >= bytes;
}

/* The front's attempt has failed with the worker. */
static void
front_fail(struct kn_worker *w, struct kn_job *j, int status, const struct rusage *usage)
{
	int64_t cpu_ns = ((int64_t)usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000000000 +
	    ((int64_t)usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) * 1000;

	kn_worker_tell(w, j);
	kn_worker_release_one(w, j->place);
	j->until_ns = w->ended_ns;
	if (cpu_ns > w->cpu_ns)
		j->task->result.cpu_user_ns = cpu_ns - w->cpu_ns;
	if (w->probe.pid != 0 && j->looked)
		usage_since(w, j, &j->task->usage);
	if (WIFSIGNALED(status)) {
		job_end(w->exec, j, KNEE_SIGNALED, WTERMSIG(status));
	} else if (WEXITSTATUS(status) != 0) {
		job_end(w->exec, j, KNEE_EXITED, WEXITSTATUS(status));
	} else {
		note(w->exec, j->task, "its worker ended without an answer");
		job_end(w->exec, j, KNEE_EXITED, 1);
	}
}

/* Nobody knows whose its answers were: all that it answered or had in the works fails. */
static void
window_fail(struct kn_worker *w)
{
	kn_worker_forget(w);
	for (unsigned i = 0; i < w->nwindow; i++) {
		struct kn_job *j = w->window[i];

		w->window[i] = NULL;
		if (j != NULL && j->state == KN_JOB_SENT) {
			job_return(w->exec, j);
		} else if (j != NULL) {
			kn_worker_tell(w, j);
			note(w->exec, j->task, w->broke);
			job_end(w->exec, j, KNEE_EXITED, -EPROTO);
		}
	}
}

/* What it answered counts, its front fails unless it is not to blame, the others run elsewhere. */
static void
window_end(struct kn_worker *w, int status, const struct rusage *usage)
{
	bool unread = w->answered > 0 && front_unread(w);

	for (unsigned i = w->nanswered; i < w->nwindow; i++) {
		struct kn_job *j = w->window[i];

		if (j == NULL)
			continue;
		if (j->state == KN_JOB_FRONT && (!unread || j->task->state == KN_ENDING))
			front_fail(w, j, status, usage);
		else
			job_return(w->exec, j);
		w->window[i] = NULL;
	}
	answered_end(w);
}

void
kn_worker_doubt(struct kn_worker *w)
{
	struct kn_job *j = front(w);

	if (j != NULL)
		j->task->result.runtime_ns = w->ended_ns > j->since_ns ? w->ended_ns - j->since_ns : 1;
}

void
kn_worker_ended(struct kn_worker *w, int status, const struct rusage *usage)
{
	struct kn_runner *r = w->exec->state;

	r->nbusy -= w->state == KN_WORKER_BUSY;
	r->nidle -= w->state == KN_WORKER_IDLE;
	r->nworkers -= w->state == KN_WORKER_BUSY || w->state == KN_WORKER_IDLE;
	w->state = KN_WORKER_GONE;
	if (w->broke != NULL)
		window_fail(w);
	else if (w->nwindow > 0)
		window_end(w, status, usage);
	kn_worker_forget(w);
	w->nwindow = w->nanswered = 0;
}

/* ---- who gets what ------------------------------------------------------------------------------ */

/* Give w its window, as many as there are and are its fair share. */
static int
window_send(struct kn_worker *w, unsigned most)
{
	struct kn_runner *r = w->exec->state;
	struct kn_job *j;
	int err = 0;

	while (w->nwindow < most && (j = kn_job_at(r->queue.first)) != NULL) {
		err = kn_buf_add(&w->unsent, j->request.data, j->request.len);
		if (err < 0)
			break;
		kn_chain_remove(&r->queue, &j->node);
		kn_buf_done(&j->request);
		j->state = KN_JOB_SENT;
		j->worker = w;
		j->place = w->nwindow;
		w->window[w->nwindow++] = j;
	}
	if (w->nwindow == 0)
		return err;
	r->nidle--;
	r->nbusy++;
	w->state = KN_WORKER_BUSY;
	w->certain = false;
	w->settle_ns = 0;
	w->window_ns = w->exec->loop->now_ns;
	w->slow = w->nwindow == 1;
	begin(w, w->window[0]);
	kn_worker_write(w);
	return 0;
}

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

/* Hand out what is queued. */
static void
refill(struct kn_exec *e)
{
	struct kn_runner *r = e->state;
	struct kn_worker *w;
	size_t share;
	int err;

	while (!e->paused && r->queue.len > 0 && r->nbusy < r->limit && (w = idle_one(r)) != NULL) {
		share = (r->queue.len + r->nidle - 1) / r->nidle;
		err = window_send(w, w->size < share ? w->size : (unsigned)share);
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
		job_return(e, kn_job_at(kn_chain_pop(&r->queue)));
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
			retire(w);
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

/* Of a window: what is not begun goes back, and its answer will be nobody's; what is in the works begins
 * in this very moment. */
static void
window_recall(struct kn_worker *w)
{
	for (unsigned i = w->nanswered; i < w->nwindow; i++) {
		struct kn_job *j = w->window[i];

		if (j == NULL || !j->recalled)
			continue;
		if (j->state == KN_JOB_FRONT) {
			w->slow = true;
			kn_worker_tell(w, j);
		} else {
			w->window[i] = NULL;
			job_return(w->exec, j);
		}
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
		job_return(e, j);
	}
	for (struct kn_worker *w = kn_worker_at(r->workers.first); w != NULL; w = kn_worker_at(w->node.next))
		window_recall(w);
}

/* The run is to hear of records that take long, and only of these before they end: what is answered and waits for
 * its window to be settled counts as running for the run, and is not. When the next will be one; INT64_MAX: none. */
static int64_t
slow_tell(struct kn_exec *e)
{
	struct kn_runner *r = e->state;
	int64_t next_ns = INT64_MAX;

	for (struct kn_worker *w = kn_worker_at(r->workers.first); w != NULL;
	     w = kn_worker_at(w->node.next)) {
		struct kn_job *j = w->state == KN_WORKER_BUSY ? front(w) : NULL;
		int64_t at_ns;

		if (j == NULL || j->told)
			continue;
		at_ns = j->since_ns + SLOW_NS;
		if (at_ns <= e->loop->now_ns) {
			w->slow = true;
			kn_worker_tell(w, j);
		} else if (at_ns < next_ns) {
			next_ns = at_ns;
		}
	}
	return next_ns;
}

/* Look again at those whose windows are answered; when next. */
static int64_t
settle_again(struct kn_exec *e)
{
	struct kn_runner *r = e->state;
	int64_t next_ns = INT64_MAX;
	struct kn_worker *next;

	if (!r->settling || e->paused)
		return INT64_MAX;
	r->settling = false;
	for (struct kn_worker *w = kn_worker_at(r->workers.first); w != NULL; w = next) {
		next = kn_worker_at(w->node.next);
		if (w->settle_ns == 0 || w->state != KN_WORKER_BUSY || w->nanswered < w->nwindow)
			continue;
		if (w->settle_ns <= e->loop->now_ns)
			kn_worker_read(w);
		if (w->settle_ns != 0 && w->state == KN_WORKER_BUSY && w->nanswered == w->nwindow) {
			r->settling = true;
			next_ns = w->settle_ns < next_ns ? w->settle_ns : next_ns;
		}
	}
	return next_ns;
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
	refill(e);
	*next_ns = slow_tell(e);
	settle_ns = settle_again(e);
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
	.look = worker_look,
	.tick = worker_tick,
	.close = worker_close,
};
