/* SPDX-License-Identifier: MIT */
#include "crew.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include "../sys/clock.h"
#include "../sys/fd.h"
#include "../sys/procfile.h"

/* From here on it is worth a system call more to know what a call waited for. */
#define LONG_NS 500000
/* A call shorter than this is not measured: what it takes is the time on a core. */
#define INSTANT_NS 20000

void
kn_job_free(struct kn_job *j)
{
	if (j == NULL)
		return;
	kn_call_done(&j->call);
	kn_buf_done(&j->text);
	free(j);
}

/* ---- what a call uses ----------------------------------------------------------- */

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
delay_read(const struct kn_crew_thread *w)
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

/* What the call used; of a short one it is not worth the reading how long it waited for a core. */
static void
job_measure(struct kn_crew_thread *w, struct kn_job *j)
{
	struct rusage now;
	int64_t delay_ns;

	j->delay_ns = 0;
	j->usage = (struct rusage){ 0 };
	j->user_ns = j->sys_ns = 0;
	j->instant = j->end_ns - j->begin_ns < INSTANT_NS;
	if (j->instant)
		return;
	(void)getrusage(RUSAGE_THREAD, &now);
	j->usage = usage_between(&w->usage, &now);
	j->user_ns = timeval_ns(&j->usage.ru_utime);
	j->sys_ns = timeval_ns(&j->usage.ru_stime);
	w->usage = now;
	j->delay_ns = -1;
	/* It never gave up its core: what it did not compute, it was made to wait. */
	if (j->usage.ru_nvcsw == 0) {
		j->delay_ns = j->end_ns - j->begin_ns - j->user_ns - j->sys_ns;
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

/* ---- a thread ------------------------------------------------------------------ */

/* False: it was given up meanwhile, and so was its thread. */
static bool
job_run(struct kn_crew_thread *w, struct kn_job *j, bool brief)
{
	struct kn_crew *c = w->crew;

	j->tid = w->tid;
	j->begin_ns = kn_clock_ns();
	atomic_store_explicit(&w->now, j, memory_order_release);
	if (!brief)
		kn_call_begin(&j->call);
	j->status = c->plugin->run(c->plugin_state, &j->call.face);
	j->end_ns = kn_clock_ns();
	atomic_store_explicit(&w->now, NULL, memory_order_release);
	job_measure(w, j);
	if (atomic_exchange(&j->state, KN_JOB_ENDED) == KN_JOB_DROPPED)
		return false;
	kn_call_end(&j->call);
	return true;
}

/* Take what comes next: several when they are short and others have enough to do. Under the lock. */
static void
take(struct kn_crew *c, struct kn_crew_thread *w)
{
	size_t n = c->brief && c->limit > 0 ? c->queue.len / c->limit / 2 : 1;
	struct kn_job *j;

	n = n < 1 ? 1 : n > KN_CREW_BATCH ? KN_CREW_BATCH : n;
	while (n-- > 0 && (j = kn_job_at(kn_chain_pop(&c->queue))) != NULL) {
		atomic_store(&j->state, KN_JOB_TAKEN);
		j->thread = w;
		kn_chain_append(&w->batch, &j->node);
	}
}

/* Wait for something to do. False: the thread is to end. Under the lock. */
static bool
wait_for_work(struct kn_crew *c)
{
	for (;;) {
		if (c->quit || c->nthreads > c->limit)
			return false;
		if (c->queue.first != NULL && c->busy < c->limit)
			return true;
		c->idle++;
		(void)pthread_cond_wait(&c->work, &c->desk.lock);
		c->idle--;
	}
}

static void
crew_free(struct kn_crew *c)
{
	kn_desk_done(&c->desk);
	(void)pthread_cond_destroy(&c->work);
	free(c);
}

/* The end of a lost thread: it takes with it what nobody else owns any more. */
static void
lost_return(struct kn_crew_thread *w, struct kn_job *j)
{
	struct kn_crew *c = w->crew;
	bool last;

	/* Who gave it up holds the lock until all is said about that. */
	(void)pthread_mutex_lock(&c->desk.lock);
	last = --c->lost == 0 && c->orphan;
	(void)pthread_mutex_unlock(&c->desk.lock);
	kn_fd_close(&w->schedstat_fd);
	kn_job_free(j);
	free(w);
	if (last)
		crew_free(c);
}

static void *
thread_main(void *self)
{
	struct kn_crew_thread *w = self;
	struct kn_crew *c = w->crew;
	struct kn_job *j;

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
		while ((j = kn_job_at(kn_chain_pop(&w->batch))) != NULL) {
			if (!job_run(w, j, brief)) {
				lost_return(w, j);
				return NULL;
			}
		}
		(void)pthread_mutex_lock(&c->desk.lock);
		c->busy--;
	}
	c->nthreads--;
	c->nover++;
	w->over = true;
	(void)pthread_mutex_unlock(&c->desk.lock);
	kn_fd_close(&w->schedstat_fd);
	return NULL;
}

/* Start another thread. 0 or -errno. */
static int
thread_add(struct kn_crew *c)
{
	struct kn_crew_thread *w = calloc(1, sizeof(*w));
	int err;

	if (w == NULL)
		return -ENOMEM;
	w->crew = c;
	err = kn_thread_create(&w->thread, thread_main, w);
	if (err < 0) {
		free(w);
		return err;
	}
	w->next = c->threads;
	c->threads = w;
	c->nthreads++;
	return 0;
}

/* Join the threads that have returned; all: wait until all have. */
static void
threads_join(struct kn_crew *c, bool all)
{
	struct kn_crew_thread **at, *w, *over = NULL;

	(void)pthread_mutex_lock(&c->desk.lock);
	for (at = &c->threads; (w = *at) != NULL;) {
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

/* ---- the loop's side ----------------------------------------------------------- */

int
kn_crew_new(struct kn_loop *loop, const struct knee_plugin *plugin, void *plugin_state, struct kn_crew **ret)
{
	struct kn_crew *c = calloc(1, sizeof(*c));
	int err;

	if (c == NULL)
		return -ENOMEM;
	err = -pthread_cond_init(&c->work, NULL);
	if (err < 0)
		goto memory;
	err = kn_desk_init(&c->desk, loop);
	if (err < 0)
		goto work;
	c->plugin = plugin;
	c->plugin_state = plugin_state;
	*ret = c;
	return 0;
work:
	(void)pthread_cond_destroy(&c->work);
memory:
	free(c);
	return err;
}

bool
kn_crew_close(struct kn_crew *c)
{
	bool lost;

	(void)pthread_mutex_lock(&c->desk.lock);
	c->quit = true;
	(void)pthread_cond_broadcast(&c->work);
	(void)pthread_mutex_unlock(&c->desk.lock);
	threads_join(c, true);
	kn_mailbox_done(&c->desk.mailbox); /* the loop goes; what was lost posts nothing */
	(void)pthread_mutex_lock(&c->desk.lock);
	lost = c->lost > 0;
	c->orphan = lost;
	(void)pthread_mutex_unlock(&c->desk.lock);
	if (!lost)
		crew_free(c);
	return lost;
}

void
kn_crew_limit(struct kn_crew *c, unsigned limit, bool brief)
{
	if (limit == c->limit && brief == c->brief)
		return;
	(void)pthread_mutex_lock(&c->desk.lock);
	if (limit < c->limit)
		(void)pthread_cond_broadcast(&c->work);
	c->limit = limit;
	c->brief = brief;
	(void)pthread_mutex_unlock(&c->desk.lock);
}

int
kn_crew_queue(struct kn_crew *c, struct kn_chain *fresh)
{
	unsigned wanted;
	bool join;
	int err = 0;

	(void)pthread_mutex_lock(&c->desk.lock);
	kn_chain_join(&c->queue, fresh);
	/* Short calls are not worth waking a thread for a few of them. */
	wanted =
	    c->brief ? (unsigned)(c->queue.len + KN_CREW_BATCH - 1) / KN_CREW_BATCH : (unsigned)c->queue.len;
	wanted = wanted < c->limit ? wanted : c->limit;
	/* Those at work come back for more; but what they do now may take long. */
	wanted = wanted > c->busy ? wanted - c->busy : wanted > 0 && c->busy < c->limit;
	for (unsigned i = c->idle; i < wanted && c->nthreads < c->limit && err == 0; i++)
		err = thread_add(c);
	for (unsigned i = 0; i < wanted && i < c->idle; i++)
		(void)pthread_cond_signal(&c->work);
	if (c->nthreads > 0)
		err = 0;
	join = c->nover > 0;
	(void)pthread_mutex_unlock(&c->desk.lock);
	if (join)
		threads_join(c, false);
	return err;
}

bool
kn_crew_recall(struct kn_crew *c, struct kn_job *j)
{
	bool queued;

	(void)pthread_mutex_lock(&c->desk.lock);
	queued = atomic_load(&j->state) == KN_JOB_QUEUED;
	if (queued)
		kn_chain_remove(&c->queue, &j->node);
	(void)pthread_mutex_unlock(&c->desk.lock);
	return queued;
}

/* Leave the thread of j to itself: under the lock. What it took beside j goes back into the queue. */
static void
thread_lose(struct kn_crew *c, struct kn_job *j)
{
	struct kn_crew_thread **at = &c->threads, *w = j->thread;

	j->call.dropped = true;
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	for (struct kn_chain_node *n = w->batch.first; n != NULL; n = n->next)
		atomic_store(&kn_job_at(n)->state, KN_JOB_QUEUED);
	/* Before all others. */
	kn_chain_join(&w->batch, &c->queue);
	kn_chain_join(&c->queue, &w->batch);
	(void)pthread_detach(w->thread);
	c->nthreads--;
	c->busy--;
	c->lost++;
	(void)pthread_cond_broadcast(&c->desk.room);
}

bool
kn_crew_drop(struct kn_crew *c, struct kn_job *j)
{
	int taken = KN_JOB_TAKEN;
	bool dropped;

	(void)pthread_mutex_lock(&c->desk.lock);
	dropped = j->call.unread == 0 && atomic_compare_exchange_strong(&j->state, &taken, KN_JOB_DROPPED);
	if (dropped)
		thread_lose(c, j);
	(void)pthread_mutex_unlock(&c->desk.lock);
	return dropped;
}
