/* SPDX-License-Identifier: MIT */
/*
 * A task is a call of a function (struct knee_plugin) on one of several threads.
 *
 * The loop's thread starts tasks into a queue, from which the threads take them; a call, its output
 * and its end come back as parcels through the mailbox of call.h. No more calls than the limit run
 * at once: a thread that finds as many at work waits. Where calls are short the queue holds more
 * tasks than may run, and a thread takes several at a time, so that neither side waits for the
 * other between two of them.
 *
 * A thread cannot be killed. A call that goes on after all signals of the ending sequence is given
 * up: its task has its end, another thread takes the place, and what was its own lives on until it
 * returns, if ever. The shared state is never closed under it.
 *
 * The lock is the desk's. It guards the crew and its queue, and what is said to be under the lock.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include "../sys/clock.h"
#include "../sys/fd.h"
#include "../sys/probe.h"
#include "../sys/procfile.h"
#include "call.h"
#include "exec.h"

/* A call is short when it takes less: the queue holds what is done in AHEAD_NS, and a thread takes up
 * to BATCH at a time. */
#define SHORT_NS 200000
#define AHEAD_NS 2000000
#define AHEAD_MOST 1024
#define BATCH 32
/* From here on it is worth a system call more to know what a call waited for. */
#define LONG_NS 500000
/* Where calls are short a begin is no parcel: one that lasts is found after this time. */
#define QUIET_NS ((int64_t)5000000)
/* A function that was sent SIGKILL has so long to return before it is given up. */
#define GRACE_NS ((int64_t)100000000)
/* A call shorter than this is not measured: what it takes is the time on a core. */
#define INSTANT_NS 20000

/* From QUEUED to TAKEN by a thread, under the lock; from TAKEN to ENDED by that thread or to DROPPED by
 * the loop's, whichever comes first. */
enum job_state {
	JOB_QUEUED,
	JOB_TAKEN,
	JOB_ENDED,   /* its END is posted, or will be at once */
	JOB_DROPPED, /* given up: it is its thread's own, which posts nothing any more */
};

/* A call of one task's attempt. Owned by the loop's side, which keeps it for another task afterwards;
 * one that was dropped, by its thread. */
struct job {
	struct kn_call call; /* first */
	struct job *next;
	struct kn_task *task;  /* borrowed; the loop's side alone */
	struct kn_buf text;    /* the input's strings, and pointers to them */
	atomic_int state;      /* enum job_state */
	struct worker *worker; /* borrowed; while it is TAKEN */
	bool going;            /* it is in the list `gone` */
	bool began;            /* the loop's side has heard of it */
	int signal;            /* the last one that it was sent */
	int64_t give_up_ns;    /* after SIGKILL: until then it may still return */
	pid_t tid;
	int64_t begin_ns, end_ns;
	int status;
	bool instant;        /* it was too short to be measured */
	struct rusage usage; /* of this call alone; maxrss is not */
	int64_t delay_ns;    /* it was ready and waited for a core; < 0: not known */
};

struct jobs {
	struct job *first, *last;
	size_t len;
};

struct worker {
	pthread_t thread;
	struct crew *crew; /* borrowed; or, of a lost one, owned together with the others */
	struct worker *next;
	pid_t tid;
	struct job *batch;         /* what it took and has not begun; the loop's when its call was dropped */
	_Atomic(struct job *) now; /* what it runs */
	struct rusage usage;       /* its own, at the end of the last call that was measured */
	int schedstat_fd;          /* -1: none */
	int64_t delay_ns;          /* when last read */
	bool over;                 /* it returns, and may be joined; under the lock */
};

/* What the threads share. */
struct crew {
	struct kn_desk desk;
	pthread_cond_t work;              /* there is something to take, or to end for */
	const struct knee_plugin *plugin; /* borrowed */
	void *plugin_state;
	struct jobs queue;
	struct worker *workers; /* owned; lost ones own themselves */
	unsigned nworkers;      /* that neither are lost nor return */
	unsigned idle, busy, lost;
	unsigned nover; /* to be joined */
	unsigned limit;
	bool brief; /* calls are short */
	bool quit;
	bool orphan; /* only lost threads own it: the last one frees it */
};

struct threads {
	struct crew *crew;  /* owned; lost threads keep it alive */
	struct jobs fresh;  /* started in this turn */
	struct jobs gone;   /* to be returned, or given up, in a later tick */
	int64_t give_up_ns; /* of the latest of them */
	struct jobs spare;
	struct kn_parcel *held, **held_end; /* output that waits until the loop reads again */
	double mean_ns;                     /* of calls, lately; 0: none yet */
	unsigned unheard;                   /* taken or queued, and not begun as far as we know */
	int64_t find_ns;                    /* when to look for those that did */
};

/* A task's private part. */
struct seat {
	struct job *job;
	struct kn_usage base; /* of its thread, when it was first looked at */
	bool looked;
};

static void
jobs_append(struct jobs *l, struct job *j)
{
	j->next = NULL;
	if (l->last != NULL)
		l->last->next = j;
	else
		l->first = j;
	l->last = j;
	l->len++;
}

static struct job *
jobs_pop(struct jobs *l)
{
	struct job *j = l->first;

	if (j == NULL)
		return NULL;
	l->first = j->next;
	if (l->first == NULL)
		l->last = NULL;
	l->len--;
	return j;
}

/* Take j out; false when it is not in there. */
static bool
jobs_remove(struct jobs *l, struct job *j)
{
	struct job *before = NULL, *at = l->first;

	while (at != NULL && at != j) {
		before = at;
		at = at->next;
	}
	if (at == NULL)
		return false;
	if (before != NULL)
		before->next = j->next;
	else
		l->first = j->next;
	if (l->last == j)
		l->last = before;
	l->len--;
	return true;
}

static void
job_free(struct job *j)
{
	if (j == NULL)
		return;
	kn_call_done(&j->call);
	kn_buf_done(&j->text);
	free(j);
}

static void
crew_free(struct crew *c)
{
	kn_desk_done(&c->desk);
	(void)pthread_cond_destroy(&c->work);
	free(c);
}

/* ---- a thread ---------------------------------------------------------------- */

static struct timeval
time_between(const struct timeval *from, const struct timeval *to)
{
	struct timeval t;

	timersub(to, from, &t);
	return t;
}

/* What was used between two readings. */
static struct rusage
usage_between(const struct rusage *from, const struct rusage *to)
{
	return (struct rusage){
		.ru_utime = time_between(&from->ru_utime, &to->ru_utime),
		.ru_stime = time_between(&from->ru_stime, &to->ru_stime),
		.ru_inblock = to->ru_inblock - from->ru_inblock,
		.ru_oublock = to->ru_oublock - from->ru_oublock,
		.ru_nvcsw = to->ru_nvcsw - from->ru_nvcsw,
		.ru_nivcsw = to->ru_nivcsw - from->ru_nivcsw,
	};
}

/* How long the thread waited for a core in all: the second number of schedstat. < 0: not known. */
static int64_t
delay_read(const struct worker *w)
{
	char text[128];
	const char *s = text;

	if (w->schedstat_fd < 0 || kn_procfile_reread(w->schedstat_fd, text, sizeof(text)) <= 0)
		return -1;
	kn_procfile_skip(&s, 1);
	return (int64_t)kn_procfile_number(&s);
}

static int64_t
timeval_ns(const struct timeval *t)
{
	return (int64_t)t->tv_sec * 1000000000 + (int64_t)t->tv_usec * 1000;
}

static int64_t
cpu_ns(const struct rusage *u)
{
	return timeval_ns(&u->ru_utime) + timeval_ns(&u->ru_stime);
}

/* What the call used; of a short one it is not worth the reading how long it waited for a core. */
static void
job_measure(struct worker *w, struct job *j)
{
	struct rusage now;
	int64_t delay_ns;

	j->delay_ns = 0;
	j->usage = (struct rusage){ 0 };
	j->instant = j->end_ns - j->begin_ns < INSTANT_NS;
	if (j->instant)
		return;
	(void)getrusage(RUSAGE_THREAD, &now);
	j->usage = usage_between(&w->usage, &now);
	w->usage = now;
	j->delay_ns = -1;
	/* It never gave up its core: what it did not compute, it was made to wait. */
	if (j->usage.ru_nvcsw == 0) {
		j->delay_ns = j->end_ns - j->begin_ns - cpu_ns(&j->usage);
		w->delay_ns = -1;
		return;
	}
	if (j->end_ns - j->begin_ns < LONG_NS)
		return;
	delay_ns = delay_read(w);
	if (delay_ns >= 0 && w->delay_ns >= 0)
		j->delay_ns = delay_ns - w->delay_ns;
	w->delay_ns = delay_ns;
}

/* False: it was given up meanwhile, and so was its thread. */
static bool
job_run(struct worker *w, struct job *j, bool brief)
{
	struct crew *c = w->crew;

	j->tid = w->tid;
	j->begin_ns = kn_clock_ns();
	atomic_store_explicit(&w->now, j, memory_order_release);
	if (!brief)
		kn_call_begin(&j->call);
	j->status = c->plugin->run(c->plugin_state, &j->call.face);
	j->end_ns = kn_clock_ns();
	atomic_store_explicit(&w->now, NULL, memory_order_release);
	job_measure(w, j);
	if (atomic_exchange(&j->state, JOB_ENDED) == JOB_DROPPED)
		return false;
	kn_call_end(&j->call);
	return true;
}

/* Take what comes next: several when they are short and others have enough to do. Under the lock. */
static void
take(struct crew *c, struct worker *w)
{
	size_t n = c->brief && c->limit > 0 ? c->queue.len / c->limit / 2 : 1;
	struct job **at = &w->batch, *j;

	n = n < 1 ? 1 : n > BATCH ? BATCH : n;
	while (n-- > 0 && (j = jobs_pop(&c->queue)) != NULL) {
		atomic_store(&j->state, JOB_TAKEN);
		j->worker = w;
		*at = j;
		at = &j->next;
	}
	*at = NULL;
}

/* Wait for something to do. False: the thread is to end. Under the lock. */
static bool
wait_for_work(struct crew *c)
{
	for (;;) {
		if (c->quit || c->nworkers > c->limit)
			return false;
		if (c->queue.first != NULL && c->busy < c->limit)
			return true;
		c->idle++;
		(void)pthread_cond_wait(&c->work, &c->desk.lock);
		c->idle--;
	}
}

/* The end of a lost thread: it takes with it what nobody else owns any more. */
static void
lost_return(struct worker *w, struct job *j)
{
	struct crew *c = w->crew;
	bool last;

	/* Who gave it up holds the lock until all is said about that. */
	(void)pthread_mutex_lock(&c->desk.lock);
	last = --c->lost == 0 && c->orphan;
	(void)pthread_mutex_unlock(&c->desk.lock);
	kn_fd_close(&w->schedstat_fd);
	job_free(j);
	free(w);
	if (last)
		crew_free(c);
}

static void *
worker_main(void *self)
{
	struct worker *w = self;
	struct crew *c = w->crew;
	struct job *j;

	w->tid = gettid();
	w->schedstat_fd = kn_procfile_open("/proc/thread-self/schedstat");
	w->delay_ns = delay_read(w);
	(void)pthread_mutex_lock(&c->desk.lock);
	while (wait_for_work(c)) {
		bool brief = c->brief;

		c->busy++;
		take(c, w);
		(void)pthread_mutex_unlock(&c->desk.lock);
		(void)getrusage(RUSAGE_THREAD, &w->usage); /* without the waiting for work */
		while ((j = w->batch) != NULL) {
			w->batch = j->next;
			if (!job_run(w, j, brief)) {
				lost_return(w, j);
				return NULL;
			}
		}
		(void)pthread_mutex_lock(&c->desk.lock);
		c->busy--;
	}
	c->nworkers--;
	c->nover++;
	w->over = true;
	(void)pthread_mutex_unlock(&c->desk.lock);
	kn_fd_close(&w->schedstat_fd);
	return NULL;
}

/* Start another thread. 0 or -errno. */
static int
worker_start(struct crew *c)
{
	struct worker *w = calloc(1, sizeof(*w));
	int err;

	if (w == NULL)
		return -ENOMEM;
	w->crew = c;
	err = kn_thread_create(&w->thread, worker_main, w);
	if (err < 0) {
		free(w);
		return err;
	}
	w->next = c->workers;
	c->workers = w;
	c->nworkers++;
	return 0;
}

/* Join the threads that have returned; all: wait until all have. */
static void
workers_join(struct crew *c, bool all)
{
	struct worker **at, *w, *over = NULL;

	(void)pthread_mutex_lock(&c->desk.lock);
	for (at = &c->workers; (w = *at) != NULL;) {
		if (!w->over && !all) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		w->next = over;
		over = w;
	}
	c->nover = 0;
	(void)pthread_mutex_unlock(&c->desk.lock);
	while ((w = over) != NULL) {
		over = w->next;
		(void)pthread_join(w->thread, NULL);
		free(w);
	}
}

/* ---- starting ------------------------------------------------------------------ */

/* The input's strings for the call: they must outlive the task, should it be given up. */
static int
job_input(struct job *j, const struct kn_task *t, struct knee_input *ret)
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
	struct job *j = jobs_pop(&s->spare);
	struct knee_input input;

	if (j == NULL)
		j = calloc(1, sizeof(*j));
	if (j == NULL)
		return -ENOMEM;
	if (job_input(j, t, &input) < 0) {
		jobs_append(&s->spare, j);
		return -ENOMEM;
	}
	kn_call_init(&j->call, &s->crew->desk, t->seq, t->result.attempt + 1, &input);
	j->task = t;
	atomic_store(&j->state, JOB_QUEUED);
	j->began = j->going = false;
	j->signal = 0;
	*seat = (struct seat){ .job = j };
	jobs_append(&s->fresh, j);
	s->unheard++;
	return 0;
}

/* Put what was started in this turn into the queue, all at once, and see that there is someone to take
 * it. When no thread can be made, those that there are do it; 0, or -errno when there are none. */
static int
fresh_queue(struct threads *s)
{
	struct crew *c = s->crew;
	unsigned wanted;
	bool join;
	int err = 0;

	(void)pthread_mutex_lock(&c->desk.lock);
	if (s->fresh.len > 0) {
		if (c->queue.last != NULL)
			c->queue.last->next = s->fresh.first;
		else
			c->queue.first = s->fresh.first;
		c->queue.last = s->fresh.last;
		c->queue.len += s->fresh.len;
		s->fresh = (struct jobs){ 0 };
	}
	/* Short calls are not worth waking a thread for a few of them. */
	wanted = c->brief ? (unsigned)(c->queue.len + BATCH - 1) / BATCH : (unsigned)c->queue.len;
	wanted = wanted < c->limit ? wanted : c->limit;
	/* Those at work come back for more; but what they do now may take long. */
	wanted = wanted > c->busy ? wanted - c->busy : wanted > 0 && c->busy < c->limit;
	for (unsigned i = c->idle; i < wanted && c->nworkers < c->limit && err == 0; i++)
		err = worker_start(c);
	for (unsigned i = 0; i < wanted && i < c->idle; i++)
		(void)pthread_cond_signal(&c->work);
	if (c->nworkers > 0)
		err = 0;
	join = c->nover > 0;
	(void)pthread_mutex_unlock(&c->desk.lock);
	if (join)
		workers_join(c, false);
	return err;
}

static unsigned
thread_limit(struct kn_exec *e, unsigned limit)
{
	struct threads *s = e->state;
	struct crew *c = s->crew;
	bool brief = s->mean_ns > 0 && s->mean_ns < SHORT_NS;
	double ahead = brief ? limit * (AHEAD_NS / (s->mean_ns + 100)) : 0;

	if (limit != c->limit || brief != c->brief) { /* written on this thread alone */
		(void)pthread_mutex_lock(&c->desk.lock);
		if (limit < c->limit)
			(void)pthread_cond_broadcast(&c->work);
		c->limit = limit;
		c->brief = brief;
		(void)pthread_mutex_unlock(&c->desk.lock);
	}
	return ahead < AHEAD_MOST ? (unsigned)ahead : AHEAD_MOST;
}

/* ---- ending ---------------------------------------------------------------------- */

static void
job_goes(struct threads *s, struct job *j)
{
	j->going = true;
	jobs_append(&s->gone, j);
}

static void
thread_signal(struct kn_exec *e, struct kn_task *t, int signal)
{
	struct threads *s = e->state;
	struct crew *c = s->crew;
	struct job *j = ((struct seat *)t->exec)->job;
	bool queued;

	/* A thread cannot be stopped and continued. */
	if (j == NULL || t->state == KN_RUNNING || signal == SIGSTOP || signal == SIGCONT)
		return;
	j->signal = signal;
	if (j->going)
		return;
	if (jobs_remove(&s->fresh, j)) {
		job_goes(s, j);
		return;
	}
	(void)pthread_mutex_lock(&c->desk.lock);
	queued = atomic_load(&j->state) == JOB_QUEUED && jobs_remove(&c->queue, j);
	(void)pthread_mutex_unlock(&c->desk.lock);
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
result_fill(struct kn_task *t, const struct job *j)
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
		cpu_fill(r, timeval_ns(&j->usage.ru_utime), timeval_ns(&j->usage.ru_stime));
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
job_begin(struct kn_exec *e, struct job *j)
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
held_read(struct kn_exec *e, const struct job *j)
{
	struct threads *s = e->state;
	struct kn_parcel **at = &s->held, *p;

	while ((p = *at) != NULL) {
		struct job *owner = (struct job *)(void *)p->call;
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
job_end(struct kn_exec *e, struct job *j)
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
		(void)jobs_remove(&s->gone, j);
	jobs_append(&s->spare, j);
	e->host.ended(e->host.self, t);
}

static void
parcel_come(struct kn_exec *e, struct kn_parcel *p)
{
	struct threads *s = e->state;
	struct job *j = (struct job *)(void *)p->call;
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

/* Leave the thread of j to itself: under the lock. What it took beside j goes back into the queue. */
static void
worker_lose(struct crew *c, struct job *j)
{
	struct worker **at = &c->workers, *w = j->worker;
	struct job *last = w->batch;

	j->call.dropped = true;
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	while (last != NULL) {
		atomic_store(&last->state, JOB_QUEUED);
		c->queue.len++;
		if (last->next == NULL)
			break;
		last = last->next;
	}
	if (last != NULL) {
		last->next = c->queue.first;
		c->queue.first = w->batch;
		if (c->queue.last == NULL)
			c->queue.last = last;
		w->batch = NULL;
	}
	(void)pthread_detach(w->thread);
	c->nworkers--;
	c->busy--;
	c->lost++;
	(void)pthread_cond_broadcast(&c->desk.room);
}

/* A call that goes on after SIGKILL. All its parcels have been read, and it posts no more from now on.
 * False: it ends in this very moment, or posts something. */
static bool
job_drop(struct kn_exec *e, struct job *j)
{
	struct threads *s = e->state;
	struct crew *c = s->crew;
	struct kn_task *t = j->task;
	int taken = JOB_TAKEN;
	bool dropped;

	held_read(e, j);
	(void)pthread_mutex_lock(&c->desk.lock);
	dropped = j->call.unread == 0 && atomic_compare_exchange_strong(&j->state, &taken, JOB_DROPPED);
	if (dropped)
		worker_lose(c, j);
	(void)pthread_mutex_unlock(&c->desk.lock);
	if (!dropped)
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
	struct jobs gone = s->gone;
	struct job *j;

	s->gone = (struct jobs){ 0 };
	s->give_up_ns = e->loop->now_ns;
	while ((j = jobs_pop(&gone)) != NULL) {
		struct kn_task *t = j->task;

		if (atomic_load(&j->state) == JOB_QUEUED) {
			s->unheard--;
			((struct seat *)t->exec)->job = NULL;
			jobs_append(&s->spare, j);
			e->host.returned(e->host.self, t);
		} else if (j->give_up_ns > e->loop->now_ns || !job_drop(e, j)) {
			s->give_up_ns = j->give_up_ns > s->give_up_ns ? j->give_up_ns : s->give_up_ns;
			jobs_append(&s->gone, j);
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
	for (struct worker *w = s->crew->workers; w != NULL; w = w->next) {
		struct job *j = atomic_load_explicit(&w->now, memory_order_acquire);

		if (j != NULL && !j->began && atomic_load(&j->state) == JOB_TAKEN &&
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
	err = fresh_queue(s);
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
	const struct crew *c = ((struct threads *)e->state)->crew;
	struct job *j = seat->job;
	struct kn_usage now = t->usage;

	if (j == NULL || !j->began || c->brief)
		return;
	kn_probe_thread(j->tid, deep, &now);
	/* It may have ended meanwhile, and then what was seen is a thread that waits for work. */
	if (atomic_load(&j->state) != JOB_TAKEN)
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
	struct crew *c = calloc(1, sizeof(*c));
	int err = -ENOMEM;

	if (s == NULL || c == NULL)
		goto memory;
	err = -pthread_cond_init(&c->work, NULL);
	if (err < 0)
		goto memory;
	err = kn_desk_init(&c->desk, e->loop);
	if (err < 0)
		goto work;
	c->plugin = e->options->plugin;
	c->plugin_state = e->plugin_state;
	s->crew = c;
	s->held_end = &s->held;
	e->state = s;
	return 0;
work:
	(void)pthread_cond_destroy(&c->work);
memory:
	free(c);
	free(s);
	return err;
}

static void
thread_close(struct kn_exec *e)
{
	struct threads *s = e->state;
	struct crew *c = s->crew;
	struct job *j;
	bool lost;

	(void)pthread_mutex_lock(&c->desk.lock);
	c->quit = true;
	(void)pthread_cond_broadcast(&c->work);
	(void)pthread_mutex_unlock(&c->desk.lock);
	workers_join(c, true);
	while ((j = jobs_pop(&s->spare)) != NULL)
		job_free(j);
	kn_mailbox_done(&c->desk.mailbox); /* the loop goes; what was lost posts nothing */
	(void)pthread_mutex_lock(&c->desk.lock);
	lost = c->lost > 0;
	c->orphan = lost;
	(void)pthread_mutex_unlock(&c->desk.lock);
	/* One that has returned meanwhile uses nothing any more. */
	e->plugin_lost = lost;
	if (!lost)
		crew_free(c);
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
