/* SPDX-License-Identifier: MIT */
/*
 * The window of a worker: the records that it has, from when it gets them to the end of their tasks.
 *
 * Answers have no numbers: the n-th one is that of the n-th record.  So a worker gets a window of records,
 * and no more until all of it is answered, the worker sleeps in the reading of its stdin and one more read
 * shows that nothing else lies in its stdout; only then are the window's tasks ended.  If there is more the
 * worker broke the protocol and nobody knows whose answers those were: all tasks of the window fail, and
 * the worker is killed.
 *
 * A window is one record as long as records take long.  While a whole one takes less than WINDOW_NS it is
 * doubled, so that a short record costs a share of a read and a write, no more.  A worker that writes to
 * stderr has one record at a time: whose words they are is known only then.
 *
 * One record is in the works in each worker, its front: the first that is not answered.  Its time begins
 * when it becomes that.  Of a front that is not answered within SLOW_NS the run hears then, so that
 * time-outs meet the right one; of all others when their window is settled, one task after the other.
 *
 * A worker that ends: what it answered counts.  The record at its front fails, with the worker's status or
 * signal; with 1 when the status is 0, for an answer is missing.  But if the worker had answered before
 * and has not read a byte of that record, it is not to blame, and goes back like the rest.
 */
#include <errno.h>
#include <sys/wait.h>

#include "worker_parts.h"

/* A window that takes longer is too large. */
#define WINDOW_NS ((int64_t)2000000)
/* At the end of a window a worker is looked at after these times, doubling, until it waits for more; one that
 * did not so often in a row is not looked at any more. */
#define SETTLE_FIRST_NS ((int64_t)10000)
#define SETTLE_MOST_NS ((int64_t)5000000)
#define BLIND_MOST 4

/* A window that is not answered by then is slow. */
#define SLOW_NS ((int64_t)5000000)
/* Windows without a word on stderr before one may be larger than one. */
#define QUIET_WINDOWS 16

/* ---- a record ------------------------------------------------------------------------- */

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

void
kn_job_return(struct kn_exec *e, struct kn_job *j)
{
	kn_buf_done(&j->request);
	*j = (struct kn_job){ .task = j->task };
	e->host.returned(e->host.self, j->task);
}

/* ---- its front ------------------------------------------------------------------------ */

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
	kn_worker_usage_begin(w, j);
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
		w->exec->host.note(w->exec->host.self, NULL, broke);
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

int64_t
kn_worker_tell_slow(struct kn_exec *e)
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

/* ---- given, and taken back -------------------------------------------------------------- */

int
kn_worker_give(struct kn_worker *w, unsigned most)
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

void
kn_worker_recall(struct kn_worker *w)
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
			kn_job_return(w->exec, j);
		}
	}
}

/* ---- the end of a window ----------------------------------------------------------------- */

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

void
kn_worker_dismiss(struct kn_worker *w)
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
		kn_worker_dismiss(w);
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
		kn_worker_usage_since(w, w->window[0]);
	}
	kn_worker_usage_share(w, w->nwindow, kn_child_cpu_ns(&w->child));
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
		kn_worker_dismiss(w);
	kn_worker_refill(w->exec);
}

int64_t
kn_worker_settle_again(struct kn_exec *e)
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
		kn_worker_usage_since(w, j);
	if (WIFSIGNALED(status)) {
		job_end(w->exec, j, KNEE_SIGNALED, WTERMSIG(status));
	} else if (WEXITSTATUS(status) != 0) {
		job_end(w->exec, j, KNEE_EXITED, WEXITSTATUS(status));
	} else {
		w->exec->host.note(w->exec->host.self, j->task, "its worker ended without an answer");
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
			kn_job_return(w->exec, j);
		} else if (j != NULL) {
			kn_worker_tell(w, j);
			w->exec->host.note(w->exec->host.self, j->task, w->broke);
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
			kn_job_return(w->exec, j);
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
