/* SPDX-License-Identifier: MIT */
#include "sched.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* A task whose back-off would grow past this waits this long. */
#define BACKOFF_MAX_NS (60 * (int64_t)1000000000)

/* Results needed before a share of the median is a time-out. */
#define MEDIAN_MIN_RESULTS 3

static struct kn_task *
task_of(struct kn_heap_node *n)
{
	return (struct kn_task *)(void *)((char *)n - offsetof(struct kn_task, deadline));
}

int
kn_sched_init(struct kn_sched *s, const struct kn_rules *rules)
{
	*s = (struct kn_sched){ .rules = *rules };
	if (rules->timeout_frac > 0) {
		s->runtimes = calloc(1, sizeof(*s->runtimes));
		if (s->runtimes == NULL)
			return -ENOMEM;
	}
	return 0;
}

static void
list_free(struct kn_list *l)
{
	struct kn_task *t;

	while ((t = l->first) != NULL) {
		kn_list_remove(l, t);
		kn_task_free(t);
	}
}

void
kn_sched_done(struct kn_sched *s)
{
	list_free(&s->ready);
	list_free(&s->handed);
	list_free(&s->running);
	list_free(&s->waiting);
	kn_heap_done(&s->deadlines);
	free(s->slots);
	free(s->runtimes);
	*s = (struct kn_sched){ 0 };
}

/* ---- slots: the lowest free number --------------------------------------- */

static int
slot_find(struct kn_sched *s, unsigned *ret)
{
	uint64_t *slots;
	size_t n;

	for (size_t i = s->slot_word; i < s->nslot_words; i++) {
		if (~s->slots[i] != 0) {
			s->slot_word = i;
			*ret = (unsigned)(i * 64) + (unsigned)__builtin_ctzll(~s->slots[i]) + 1;
			return 0;
		}
	}
	n = s->nslot_words ? s->nslot_words * 2 : 1;
	slots = realloc(s->slots, n * sizeof(*slots));
	if (slots == NULL)
		return -ENOMEM;
	memset(slots + s->nslot_words, 0, (n - s->nslot_words) * sizeof(*slots));
	*ret = (unsigned)(s->nslot_words * 64) + 1;
	s->slots = slots;
	s->nslot_words = n;
	return 0;
}

static void
slot_take(struct kn_sched *s, unsigned slot)
{
	s->slots[(slot - 1) / 64] |= (uint64_t)1 << (slot - 1) % 64;
}

static void
slot_give(struct kn_sched *s, unsigned slot)
{
	s->slots[(slot - 1) / 64] &= ~((uint64_t)1 << (slot - 1) % 64);
	if ((slot - 1) / 64 < s->slot_word)
		s->slot_word = (slot - 1) / 64;
}

/* ---- the time-out -------------------------------------------------------- */

/* The length a task may run, as known now; 0: no bound. */
static int64_t
timeout_ns(const struct kn_sched *s)
{
	if (s->rules.timeout_frac <= 0)
		return s->rules.timeout_ns;
	if (s->runtimes->count < MEDIAN_MIN_RESULTS)
		return 0;
	return (int64_t)(s->rules.timeout_frac * (double)kn_hist_quantile(s->runtimes, 0.5)) + 1;
}

/* The deadline of a task that runs. kn_sched_prepare made the room, so this cannot fail. */
static void
deadline_set(struct kn_sched *s, struct kn_task *t, int64_t at_ns)
{
	int err = kn_heap_set(&s->deadlines, &t->deadline, at_ns);

	assert(err == 0);
	(void)err;
}

/* A better median is known: move the deadlines of what runs. Done at 3, 4, 8, 16, ... results,
 * so that its cost per task stays flat. */
static void
median_changed(struct kn_sched *s)
{
	uint64_t n = s->runtimes->count;

	if (n < MEDIAN_MIN_RESULTS || (n > MEDIAN_MIN_RESULTS && (n & (n - 1)) != 0))
		return;
	for (struct kn_task *t = s->running.first; t != NULL; t = t->next)
		if (t->state == KN_RUNNING && t->suspended_ns == 0)
			deadline_set(s, t, t->started_ns + timeout_ns(s));
}

/* ---- events -------------------------------------------------------------- */

/* Move t to the list of its new state; to NULL: into none. */
static void
to_list(struct kn_sched *s, struct kn_list *from, struct kn_list *to, struct kn_task *t, enum kn_state state)
{
	s->ready_of[t->key] -= from == &s->ready;
	s->ready_of[t->key] += to == &s->ready;
	kn_list_remove(from, t);
	if (to != NULL)
		kn_list_append(to, t);
	t->state = state;
}

static struct kn_step
finish(struct kn_sched *s, struct kn_list *from, struct kn_task *t)
{
	to_list(s, from, NULL, t, KN_DONE);
	s->done++;
	if (knee_failed(&t->result))
		s->failed++;
	else
		s->succeeded++;
	return (struct kn_step){ .action = KN_RESULT };
}

static struct kn_step task_end(struct kn_sched *s, struct kn_task *t, enum kn_reason reason, int64_t now_ns);

static struct kn_step
task_start(struct kn_sched *s, struct kn_task *t, int64_t now_ns)
{
	int64_t bound = timeout_ns(s);
	/* What begins in the very moment of a stop goes on, unless what runs is ended, too. */
	bool cancelled = t->state == KN_HANDED && t->reason == KN_BY_CANCEL && s->cancelling;

	to_list(s, t->state == KN_HANDED ? &s->handed : &s->ready, &s->running, t, KN_RUNNING);
	slot_take(s, t->slot);
	if (t->result.attempt++ == 0)
		s->started++;
	t->reason = KN_BY_ITSELF;
	t->started_ns = now_ns;
	if (cancelled)
		return task_end(s, t, KN_BY_CANCEL, now_ns);
	if (bound > 0)
		deadline_set(s, t, now_ns + bound);
	if (s->running.len > s->peak)
		s->peak = (unsigned)s->running.len;
	return (struct kn_step){ 0 };
}

bool
kn_sched_may_retry(const struct kn_sched *s, const struct kn_task *t)
{
	unsigned most = s->rules.attempts;

	if (t->state == KN_ENDING && t->reason == KN_BY_REQUEUE)
		return !s->cancelling;
	/* As long as it runs it may still say that it was too many. */
	if (s->rules.busy_attempts > most && (t->state != KN_WAITING || t->busy))
		most = s->rules.busy_attempts;
	return t->result.attempt < most && !s->cancelling;
}

/* After its end it is known whether it said that it was too many. */
static bool
may_retry(const struct kn_sched *s, const struct kn_task *t)
{
	unsigned most = s->rules.attempts;

	if (t->busy && s->rules.busy_attempts > most)
		most = s->rules.busy_attempts;
	return t->result.attempt < most && !s->cancelling;
}

/* What was ended to free memory goes back to those that are ready. */
static struct kn_step
requeued(struct kn_sched *s, struct kn_task *t)
{
	to_list(s, &s->running, &s->ready, t, KN_READY);
	if (--t->result.attempt == 0)
		s->started--;
	return (struct kn_step){ .action = KN_AGAIN };
}

/* Those that were told "too many at once" together come back one by one: up to half as late again, each
 * attempt anew. */
static int64_t
backoff_ns(const struct kn_sched *s, const struct kn_task *t)
{
	int64_t wait = s->rules.backoff_ns;
	uint64_t spread = (t->seq + ((uint64_t)t->result.attempt << 32)) * 0x9e3779b97f4a7c15;

	for (unsigned i = 1; i < t->result.attempt && wait < BACKOFF_MAX_NS; i++)
		wait *= 2;
	if (wait > BACKOFF_MAX_NS)
		wait = BACKOFF_MAX_NS;
	return t->busy ? wait + wait / 512 * (int64_t)(spread >> 56) : wait;
}

static struct kn_step
task_exit(struct kn_sched *s, struct kn_task *t, int64_t now_ns)
{
	struct knee_result *r = &t->result;
	struct kn_step step = { 0 };

	slot_give(s, t->slot);
	kn_heap_remove(&s->deadlines, &t->deadline);
	if (r->runtime_ns <= 0)
		r->runtime_ns = now_ns - t->started_ns;
	s->runtime_sum_ns += r->runtime_ns;
	if (t->reason == KN_BY_REQUEUE && !s->cancelling)
		return requeued(s, t);
	/* It was heard of late: it had ended by then. What ended by a signal did so by ours, most likely. */
	if (t->reason == KN_BY_TIMEOUT && r->outcome == KNEE_EXITED && r->runtime_ns < t->allowed_ns)
		t->reason = KN_BY_ITSELF;
	if (t->reason != KN_BY_ITSELF)
		r->outcome = t->reason == KN_BY_TIMEOUT ? KNEE_TIMED_OUT : KNEE_CANCELLED;
	if (!knee_failed(r) || t->reason == KN_BY_CANCEL || t->reason == KN_BY_REQUEUE || !may_retry(s, t)) {
		step = finish(s, &s->running, t);
	} else {
		step.action = KN_RETRY;
		to_list(s, &s->running, &s->waiting, t, KN_WAITING);
		deadline_set(s, t, now_ns + backoff_ns(s, t));
	}
	if (s->runtimes != NULL && t->reason == KN_BY_ITSELF && r->outcome == KNEE_EXITED &&
	    !knee_failed(r)) {
		kn_hist_add(s->runtimes, r->runtime_ns);
		median_changed(s);
	}
	return step;
}

/* Send the signal of t's present step and set the deadline of the next. */
static struct kn_step
term_step(struct kn_sched *s, struct kn_task *t, int64_t now_ns)
{
	const struct knee_term_step *step = &s->rules.term_seq[t->term_step++];

	if (t->term_step < s->rules.nterm_seq)
		deadline_set(s, t, now_ns + step->wait_ns);
	else
		kn_heap_remove(&s->deadlines, &t->deadline);
	return (struct kn_step){ .action = KN_SIGNAL, .signal = step->signal };
}

static struct kn_step
task_end(struct kn_sched *s, struct kn_task *t, enum kn_reason reason, int64_t now_ns)
{
	t->state = KN_ENDING;
	t->reason = reason;
	t->term_step = 0;
	return term_step(s, t, now_ns);
}

/* The executor says so when it has ended, and is not sure of why or not yet done with it: no time-out is of any use. */
static bool
over(const struct kn_task *t)
{
	return t->result.runtime_ns > 0 &&
	    (t->state == KN_RUNNING || (t->state == KN_ENDING && t->reason == KN_BY_TIMEOUT));
}

static struct kn_step
task_deadline(struct kn_sched *s, struct kn_task *t, int64_t now_ns)
{
	int64_t end_ns = t->started_ns + timeout_ns(s);

	if (over(t) && !(t->state == KN_ENDING && s->cancelling)) {
		kn_heap_remove(&s->deadlines, &t->deadline);
		return (struct kn_step){ 0 };
	}
	if (t->state == KN_ENDING)
		return term_step(s, t, now_ns);
	if (t->state == KN_WAITING) {
		kn_heap_remove(&s->deadlines, &t->deadline);
		to_list(s, &s->waiting, &s->ready, t, KN_READY);
		return (struct kn_step){ 0 };
	}
	if (end_ns > now_ns) { /* the median has grown meanwhile */
		deadline_set(s, t, end_ns);
		return (struct kn_step){ 0 };
	}
	t->allowed_ns = timeout_ns(s);
	return task_end(s, t, KN_BY_TIMEOUT, now_ns);
}

static struct kn_step
task_kill(struct kn_sched *s, struct kn_task *t)
{
	kn_heap_remove(&s->deadlines, &t->deadline);
	t->state = KN_ENDING;
	if (t->reason == KN_BY_ITSELF)
		t->reason = KN_BY_CANCEL;
	t->term_step = s->rules.nterm_seq;
	return (struct kn_step){ .action = KN_SIGNAL, .signal = 9 };
}

/* What was made to end for its time-out, and has ended, waits for what it left: not when all is to end. */
static struct kn_step
task_hurry(struct kn_sched *s, struct kn_task *t)
{
	return over(t) ? task_kill(s, t) : (struct kn_step){ 0 };
}

/* A task that is not running is not wanted any more. */
static struct kn_step
task_drop(struct kn_sched *s, struct kn_task *t)
{
	struct kn_list *from = t->state == KN_READY ? &s->ready : &s->waiting;

	kn_heap_remove(&s->deadlines, &t->deadline);
	if (t->result.attempt > 0 && s->rules.resumable) {
		t->result.outcome = KNEE_CANCELLED;
		t->result.status = 0;
	}
	if (t->result.attempt > 0)
		return finish(s, from, t);
	to_list(s, from, NULL, t, KN_DONE);
	return (struct kn_step){ .action = KN_FORGET };
}

static struct kn_step
task_hand(struct kn_sched *s, struct kn_task *t)
{
	to_list(s, &s->ready, &s->handed, t, KN_HANDED);
	slot_take(s, t->slot);
	t->reason = KN_BY_ITSELF;
	return (struct kn_step){ 0 };
}

/* The executor has it still, and gives it back: or begins it in this very moment. */
static struct kn_step
task_recall(struct kn_task *t, int signal)
{
	t->reason = KN_BY_CANCEL;
	return (struct kn_step){ .action = KN_SIGNAL, .signal = signal };
}

/* What began was no attempt. One that was to end had its time, and has its end; unless it had ended in time, and only
 * what it made is lost. */
static struct kn_step
task_return(struct kn_sched *s, struct kn_task *t, int64_t now_ns)
{
	bool in_time = t->reason == KN_BY_TIMEOUT && t->result.runtime_ns > 0 &&
	    t->result.runtime_ns < t->allowed_ns && !s->cancelling;

	/* Until it is started again this is what is known of it; the attempt before has no result any more. */
	t->result.outcome = KNEE_CANCELLED;
	t->result.status = 0;
	if (t->state == KN_ENDING && t->reason != KN_BY_REQUEUE && !in_time) {
		t->result.status = s->rules.term_seq[t->term_step - 1].signal;
		return task_exit(s, t, now_ns);
	}
	slot_give(s, t->slot);
	kn_heap_remove(&s->deadlines, &t->deadline);
	if (t->state != KN_HANDED && --t->result.attempt == 0)
		s->started--;
	to_list(s, t->state == KN_HANDED ? &s->handed : &s->running, &s->ready, t, KN_READY);
	if (s->cancelling || (s->stopped && t->result.attempt == 0))
		return task_drop(s, t);
	return (struct kn_step){ 0 };
}

enum handler {
	NONE,
	START,
	EXIT,
	DEADLINE,
	CANCEL,
	HURRY,
	KILL,
	DROP,
	REQUEUE,
	HAND,
	RECALL,
	RECALL_KILL,
	RETURN
};

static const enum handler life[KN_STATES][KN_EVENTS] = {
	[KN_READY] = { [KN_START] = START, [KN_HAND] = HAND, [KN_CANCEL] = DROP, [KN_KILL] = DROP },
	[KN_HANDED] = { [KN_START] = START,
	    [KN_RETURN] = RETURN,
	    [KN_CANCEL] = RECALL,
	    [KN_KILL] = RECALL_KILL },
	[KN_RUNNING] = { [KN_EXIT] = EXIT,
	    [KN_DEADLINE] = DEADLINE,
	    [KN_CANCEL] = CANCEL,
	    [KN_KILL] = KILL,
	    [KN_REQUEUE] = REQUEUE,
	    [KN_RETURN] = RETURN },
	[KN_ENDING] = { [KN_EXIT] = EXIT,
	    [KN_DEADLINE] = DEADLINE,
	    [KN_CANCEL] = HURRY,
	    [KN_KILL] = KILL,
	    [KN_RETURN] = RETURN },
	[KN_WAITING] = { [KN_DEADLINE] = DEADLINE, [KN_CANCEL] = DROP, [KN_KILL] = DROP },
	[KN_DONE] = { NONE },
};

struct kn_step
kn_sched_event(struct kn_sched *s, struct kn_task *t, enum kn_event event, int64_t now_ns)
{
	switch (life[t->state][event]) {
	case START:
		return task_start(s, t, now_ns);
	case EXIT:
		return task_exit(s, t, now_ns);
	case DEADLINE:
		return task_deadline(s, t, now_ns);
	case CANCEL:
		return task_end(s, t, KN_BY_CANCEL, now_ns);
	case HURRY:
		return task_hurry(s, t);
	case KILL:
		return task_kill(s, t);
	case DROP:
		return task_drop(s, t);
	case REQUEUE:
		return task_end(s, t, KN_BY_REQUEUE, now_ns);
	case HAND:
		return task_hand(s, t);
	case RECALL:
		return task_recall(t, s->rules.term_seq[0].signal);
	case RECALL_KILL:
		return task_recall(t, 9);
	case RETURN:
		return task_return(s, t, now_ns);
	case NONE:
		break;
	}
	return (struct kn_step){ 0 };
}

/* ---- questions ----------------------------------------------------------- */

void
kn_sched_add(struct kn_sched *s, struct kn_task *t)
{
	t->state = KN_READY;
	kn_list_append(&s->ready, t);
	s->ready_of[t->key]++;
}

void
kn_sched_stored(struct kn_sched *s, const struct knee_result *r)
{
	s->stored++;
	s->stored_failed += knee_failed(r) != 0;
}

struct kn_task *
kn_sched_next(const struct kn_sched *s, unsigned key)
{
	struct kn_task *t = s->ready_of[key] > 0 ? s->ready.first : NULL;

	while (t != NULL && t->key != key)
		t = t->next;
	return t;
}

int
kn_sched_prepare(struct kn_sched *s, struct kn_task *t)
{
	int err;

	err = kn_heap_reserve(&s->deadlines, s->handed.len + s->running.len + s->waiting.len + 1);
	if (err < 0)
		return err;
	return slot_find(s, &t->slot);
}

static void
shift(struct kn_sched *s, struct kn_task *t, int64_t ns)
{
	if (t->suspended_ns != 0) /* it stands still already: only from when does not count any more */
		t->suspended_ns += ns;
	t->started_ns += ns;
	if (t->deadline.index != 0)
		deadline_set(s, t, t->deadline.key + ns);
}

void
kn_sched_stand(struct kn_sched *s, struct kn_task *t, int64_t now_ns)
{
	t->suspended_ns = now_ns;
	kn_heap_remove(&s->deadlines, &t->deadline);
}

void
kn_sched_go_on(struct kn_sched *s, struct kn_task *t, int64_t now_ns)
{
	int64_t bound = timeout_ns(s);

	t->started_ns += now_ns - t->suspended_ns;
	t->suspended_ns = 0;
	/* The deadline of one that is being ended is of its next signal, and stays. */
	if (t->state == KN_RUNNING && bound > 0)
		deadline_set(s, t, t->started_ns + bound);
}

void
kn_sched_shift(struct kn_sched *s, int64_t ns)
{
	for (struct kn_task *t = s->running.first; t != NULL; t = t->next)
		shift(s, t, ns);
}

struct kn_task *
kn_sched_due(const struct kn_sched *s, int64_t now_ns)
{
	struct kn_heap_node *n = kn_heap_top(&s->deadlines);

	return n != NULL && n->key <= now_ns ? task_of(n) : NULL;
}

int64_t
kn_sched_next_ns(const struct kn_sched *s)
{
	struct kn_heap_node *n = kn_heap_top(&s->deadlines);

	return n != NULL ? n->key : INT64_MAX;
}

bool
kn_sched_idle(const struct kn_sched *s)
{
	return s->ready.len == 0 && s->handed.len == 0 && s->running.len == 0 && s->waiting.len == 0;
}

bool
kn_sched_starved(const struct kn_sched *s)
{
	return s->ready.len == 0;
}

enum kn_halting
kn_sched_halting(const struct kn_sched *s)
{
	const struct knee_halt *h = &s->rules.halt;
	uint64_t count = h->on == KNEE_HALT_FAIL ? s->failed :
	    h->on == KNEE_HALT_SUCCESS           ? s->succeeded :
						   s->done;
	bool reached;

	if (h->when == KNEE_HALT_NEVER)
		return KN_HALT_NO;
	if (h->count > 0)
		reached = count >= h->count;
	else
		reached = count >= 3 && (double)count * 100 >= h->percent * (double)s->started;
	if (!reached)
		return KN_HALT_NO;
	return h->when == KNEE_HALT_NOW ? KN_HALT_NOW : KN_HALT_SOON;
}

int
kn_sched_status(const struct kn_sched *s)
{
	uint64_t failed = s->failed + s->stored_failed;

	if (s->halted)
		return s->halt_status;
	return failed > 100 ? 101 : (int)failed;
}
