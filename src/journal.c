/* SPDX-License-Identifier: MIT */
/*
 * The journal as a sink: what happens in a run goes into the tables.
 *
 * A task is finished when its result is in the journal and its output will not be lost. So there are
 * two ways:
 *
 *	its output waits for its turn   it goes into the journal with the result, in one transaction,
 *	                                and out of it when it is printed
 *	it was printed, or is now       the result waits, in memory, until the text sink says that
 *	                                all of it is written; then both count together
 *
 * What stdout and stderr hold beyond the last mark is cut off by the next start (journal_place.c), so
 * that a task which is run again, or whose stored output is printed then, does not show twice.
 */
#include "journal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sys/clock.h"

#define SECOND_NS ((int64_t)1000000000)

/* Between two commits. What ended within it runs again when knee is killed, as if it had not. */
#define COMMIT_NS ((int64_t)10000000)

static_assert(KNEE_OUTCOMES == 6 && KNEE_ORDER_NONE == 3 && KNEE_RETRY_FAILED == 3,
    "these are stored by number: raise KN_JOURNAL_VERSION when they change");

/* ---- rows --------------------------------------------------------------------- */

/* e has changed: its rows are written with the next commit. What starts and ends between two commits is
 * written once. */
static void
entry_touch(struct knee_journal *j, struct kn_journal_entry *e)
{
	j->progressed = true;
	if (e->dirty)
		return;
	e->dirty = true;
	e->next = NULL;
	if (j->dirty_last != NULL)
		j->dirty_last->next = e;
	else
		j->dirty_first = e;
	j->dirty_last = e;
}

static int
attempt_write(struct knee_journal *j, const struct kn_journal_entry *e)
{
	const struct knee_result *r = &e->result;
	int64_t values[] = { (int64_t)e->seq, e->attempt, j->run, e->slot, e->start_ns, r->runtime_ns,
		(int64_t)r->outcome, r->status, r->cpu_user_ns, r->cpu_sys_ns, r->peak_rss_bytes,
		(int64_t)r->io_bytes, (int64_t)r->disk_read_bytes, (int64_t)r->disk_written_bytes,
		(int64_t)r->waits, (int64_t)r->switches, r->delay_ns, (int64_t)r->output_bytes, e->span.n[0],
		e->span.n[1], e->span.n[2], e->span.n[3] };
	const size_t n = sizeof(values) / sizeof(*values);

	for (size_t i = 5; i < n && (e->open || e->waits); i++)
		values[i] = KN_JOURNAL_NULL;
	kn_journal_bind(j, KN_SQL_ATTEMPT, 1, values, n);
	kn_journal_bind_text(j, KN_SQL_ATTEMPT, (int)n + 1, e->host != NULL ? e->host : j->host);
	kn_journal_bind_text(j, KN_SQL_ATTEMPT, (int)n + 2, e->command);
	return kn_journal_write(j, KN_SQL_ATTEMPT);
}

static int
entry_write(struct knee_journal *j, const struct kn_journal_entry *e)
{
	const int64_t task[] = { (int64_t)e->seq, e->digest, (int64_t)e->state, e->attempt, e->printed };
	int err;

	kn_journal_bind(j, KN_SQL_TASK, 1, task, 5);
	err = kn_journal_write(j, KN_SQL_TASK);
	return err < 0 ? err : attempt_write(j, e);
}

int
kn_journal_write_tasks(struct knee_journal *j)
{
	struct kn_journal_entry *e;
	int err = 0;

	while (err == 0 && (e = j->dirty_first) != NULL) {
		err = entry_write(j, e);
		j->dirty_first = e->next;
		e->dirty = false;
		if (e->gone)
			kn_journal_entry_remove(&j->entries, e);
	}
	if (j->dirty_first == NULL)
		j->dirty_last = NULL;
	return err;
}

/* ---- starts ---------------------------------------------------------------- */

static const struct kn_journal_span nowhere = { { KN_JOURNAL_NULL, KN_JOURNAL_NULL, KN_JOURNAL_NULL,
    KN_JOURNAL_NULL } };

/* A task's first start in this run: what earlier runs made of it no longer holds. */
static int
begin_anew(struct knee_journal *j, struct kn_journal_entry *e)
{
	const int64_t seq = (int64_t)e->seq;
	int64_t state, printed;
	int n;

	kn_journal_bind(j, KN_SQL_TASK_GET, 1, &seq, 1);
	n = kn_journal_step(j, KN_SQL_TASK_GET);
	if (n <= 0) {
		j->sums[KN_SUM_TASKS] += n == 0;
		return n;
	}
	state = kn_journal_column(j, KN_SQL_TASK_GET, 0);
	e->before = (uint32_t)kn_journal_column(j, KN_SQL_TASK_GET, 1);
	printed = kn_journal_column(j, KN_SQL_TASK_GET, 2);
	kn_journal_reset(j, KN_SQL_TASK_GET);
	j->sums[KN_SUM_FAILED] -= state == KN_JOURNAL_FAILED;
	j->sums[KN_SUM_SUCCEEDED] -= state == KN_JOURNAL_SUCCEEDED;
	if (state == KN_JOURNAL_STARTED || printed || j->outputs == 0)
		return 0;
	return kn_journal_output_drop(j, e->seq);
}

static int
entry_make(struct knee_journal *j, const struct knee_event *ev, struct kn_journal_entry **ret)
{
	struct kn_journal_entry *e = kn_journal_entry_add(&j->entries, ev->seq);

	if (e == NULL) {
		(void)kn_journal_fail(j, -ENOMEM, "%s: %s", j->path, strerror(ENOMEM));
		return -ENOMEM;
	}
	*ret = e;
	e->digest = kn_journal_digest(ev->args, ev->nargs);
	if (ev->seq <= j->last_before)
		return begin_anew(j, e);
	j->sums[KN_SUM_TASKS]++;
	return 0;
}

/* Which machine has the task; ":" is this one. */
static int
host_note(struct knee_journal *j, struct kn_journal_entry *e, const char *host)
{
	char *copy = NULL;

	if (host != NULL && strcmp(host, ":") == 0)
		host = NULL;
	if (e->host == host || (host != NULL && e->host != NULL && strcmp(e->host, host) == 0))
		return 0;
	if (host != NULL) {
		copy = strdup(host);
		if (copy == NULL)
			return kn_journal_fail(j, -ENOMEM, "%s: %s", j->path, strerror(ENOMEM));
	}
	free(e->host);
	e->host = copy;
	return 0;
}

/* An attempt starts. One that was ended to free memory was none, and its number is used again. */
static int
started(struct knee_journal *j, const struct knee_event *ev, struct kn_journal_entry **ret)
{
	struct kn_journal_entry *e = kn_journal_entry_find(&j->entries, ev->seq);
	int err = 0;

	if (e == NULL)
		err = entry_make(j, ev, &e);
	else if (e->dirty && !e->open) /* the attempt before */
		err = entry_write(j, e);
	if (err < 0)
		return err;
	if (!e->open)
		e->attempt = e->attempt > 0 ? e->attempt + 1 : e->before + 1;
	e->open = true;
	e->slot = ev->slot;
	e->start_ns = kn_clock_time_ns();
	e->span = nowhere;
	free(e->command);
	e->command = strdup(ev->command != NULL ? ev->command : "");
	if (e->command == NULL) {
		(void)kn_journal_fail(j, -ENOMEM, "%s: %s", j->path, strerror(ENOMEM));
		return -ENOMEM;
	}
	entry_touch(j, e);
	*ret = e;
	return host_note(j, e, ev->host);
}

/* ---- ends -------------------------------------------------------------------- */

static void
attempt_ended(struct knee_journal *j, struct kn_journal_entry *e)
{
	const struct knee_result *r = &e->result;
	int64_t *sums = j->sums;

	e->open = e->waits = false;
	e->start_ns = r->start_time_ns;
	sums[KN_SUM_ATTEMPTS]++;
	sums[KN_SUM_CANCELLED] += r->outcome == KNEE_CANCELLED;
	sums[KN_SUM_RUNTIME] += r->runtime_ns;
	sums[KN_SUM_USER] += r->cpu_user_ns;
	sums[KN_SUM_SYSTEM] += r->cpu_sys_ns;
	if (r->peak_rss_bytes > sums[KN_SUM_RSS])
		sums[KN_SUM_RSS] = r->peak_rss_bytes;
	sums[KN_SUM_READ] += (int64_t)r->disk_read_bytes;
	sums[KN_SUM_WRITTEN] += (int64_t)r->disk_written_bytes;
	sums[KN_SUM_OUTPUT] += (int64_t)r->output_bytes;
	entry_touch(j, e);
}

/* The task has its result for good. */
static void
task_ended(struct knee_journal *j, struct kn_journal_entry *e, bool printed)
{
	bool failed = knee_failed(&e->result) != 0;

	attempt_ended(j, e);
	j->sums[failed ? KN_SUM_FAILED : KN_SUM_SUCCEEDED]++;
	e->state = failed ? KN_JOURNAL_FAILED : KN_JOURNAL_SUCCEEDED;
	e->printed = printed;
	e->gone = true;
}

/* Keep what the task printed until it is its turn. */
static int
output_store(struct knee_journal *j, const struct knee_event *ev)
{
	enum knee_stream stream;
	const char *data;
	size_t size;
	int n = 0, err = 0;

	for (uint64_t i = 0; err == 0; i++) {
		n = ev->read(ev->read_self, i, &stream, &data, &size);
		if (n <= 0)
			break;
		err = kn_journal_output_put(j, ev->seq, i, stream, data, size);
	}
	if (n < 0)
		err = kn_journal_fail(
		    j, n, "%s: the output of a task cannot be kept: %s", j->path, strerror(-n));
	return err;
}

/* Nothing of the task, nor behind it, is printed for good. */
static void
cut_short(struct knee_journal *j, struct kn_journal_entry *e)
{
	if (j->order == KNEE_ORDER_INPUT && e->seq < j->cut_seq)
		j->cut_seq = e->seq;
	e->gone = true;
	entry_touch(j, e);
}

static int
ended(struct knee_journal *j, const struct knee_event *ev)
{
	struct kn_journal_entry *e = kn_journal_entry_find(&j->entries, ev->seq);
	enum knee_outcome outcome = ev->result->outcome;
	int err = 0;

	if (outcome == KNEE_SKIPPED) /* asked again the next time */
		return 0;
	if (e != NULL && !e->open &&
	    outcome == KNEE_CANCELLED) { /* between two attempts, which have their rows */
		cut_short(j, e);
		return 0;
	}
	if (e == NULL || !e->open) /* it could not be started */
		err = started(j, ev, &e);
	if (err < 0)
		return err;
	e->result = *ev->result;
	err = host_note(j, e, ev->host); /* of copies that ran elsewhere one has answered */
	if (err < 0)
		return err;
	if (ev->kind == KNEE_EVENT_RESULT && ev->part_size > 0 && !knee_failed(ev->result))
		err = kn_journal_part_put(j, ev->seq, ev->part, ev->part_size);
	if (err < 0)
		return err;
	if (ev->kind == KNEE_EVENT_RETRY) {
		j->sums[KN_SUM_RETRIED]++;
		attempt_ended(j, e);
	} else if (outcome == KNEE_CANCELLED) {
		attempt_ended(j, e);
		cut_short(j, e);
	} else if (j->unseen) {
		task_ended(j, e, true);
	} else if (ev->read != NULL) {
		err = output_store(j, ev);
		task_ended(j, e, false);
	} else {
		e->open = false;
		e->waits = true;
	}
	return err;
}

/* ---- what is printed ----------------------------------------------------------- */

/* The bytes since the last mark. */
static struct kn_journal_span
span_take(struct knee_journal *j, uint64_t out, uint64_t err)
{
	const uint64_t told[2] = { out, err };
	struct kn_journal_span span = nowhere;

	for (size_t i = 0; i < 2; i++) {
		struct kn_journal_place *p = &j->place[i];
		int64_t bytes = (int64_t)(told[i] - j->told[i]);

		if (p->fd >= 0 && bytes > 0 && j->order != KNEE_ORDER_LINES &&
		    j->order != KNEE_ORDER_PIECES) {
			span.n[2 * i] = p->base + (int64_t)j->told[i];
			span.n[2 * i + 1] = bytes;
		}
		if (p->fd >= 0 && bytes > 0) {
			p->written = p->base + (int64_t)told[i];
			j->progressed = j->moved = true;
		}
		j->told[i] = told[i];
	}
	return span;
}

/* A task whose rows are written already, in this run or an earlier one. */
static void
stored_printed(struct knee_journal *j, int64_t seq, const struct kn_journal_span *span)
{
	int err;

	kn_journal_bind(j, KN_SQL_TASK_PRINTED, 1, &seq, 1);
	err = kn_journal_write(j, KN_SQL_TASK_PRINTED);
	if (err == 0 && (span->n[0] != KN_JOURNAL_NULL || span->n[2] != KN_JOURNAL_NULL)) {
		kn_journal_bind(j, KN_SQL_ATTEMPT_PLACE, 1, &seq, 1);
		kn_journal_bind(j, KN_SQL_ATTEMPT_PLACE, 2, span->n, 4);
		(void)kn_journal_write(j, KN_SQL_ATTEMPT_PLACE);
	}
}

static int commit(struct knee_journal *j);

/* That a task writes to stderr is in the journal before its first byte is in the file. What others have
 * appended until then stays. */
void
knee_journal_printing(knee_journal *j, uint64_t seq)
{
	struct kn_journal_place *p = &j->place[1];
	int64_t end = p->fd >= 0 && p->printing == 0 ? kn_journal_place_end(p) : -1;

	if (j->err != 0 || p->fd < 0)
		return;
	if (end > p->written)
		p->written = end;
	p->printing = seq;
	if (p->open)
		return;
	j->progressed = true;
	(void)commit(j);
}

/* An error stays, and the next event or flush returns it. */
void
knee_journal_printed(knee_journal *j, uint64_t seq, uint64_t out, uint64_t err)
{
	struct kn_journal_entry *e = kn_journal_entry_find(&j->entries, seq);
	struct kn_journal_span span;
	bool stored = e == NULL || (e->gone && e->state != KN_JOURNAL_STARTED);

	/* Behind a task that was cut short a file holds what the next run will print again. */
	if (j->err != 0 || (seq >= j->cut_seq && (j->place[0].fd >= 0 || j->place[1].fd >= 0)))
		return;
	span = span_take(j, out, err);
	if (j->place[1].printing == seq) {
		j->place[1].printing = 0;
		j->progressed = true;
	}
	if (e == NULL) {
		stored_printed(j, (int64_t)seq, &span);
	} else if (stored || e->waits) {
		e->span = span;
		if (stored)
			e->printed = true;
		else
			task_ended(j, e, true);
		entry_touch(j, e);
	}
	if (stored && j->outputs > 0)
		(void)kn_journal_output_drop(j, seq);
}

/* ---- the sink ---------------------------------------------------------------------- */

static int
commit(struct knee_journal *j)
{
	int err = j->err == 0 ? kn_journal_write_tasks(j) : j->err;

	if (err == 0 && j->progressed)
		err = kn_journal_begin(j);
	return err < 0 ? err : kn_journal_commit(j);
}

/* Its number at once is settled or changes: why. */
static int
step(struct knee_journal *j, const struct knee_event *ev)
{
	const struct knee_work *w = ev->work;
	const enum kn_journal_sql sql = KN_SQL_STEP;
	double throughput = -1;

	if (w == NULL)
		return 0;

	const int64_t numbers[] = { j->run, kn_clock_time_ns(), w->limit, w->running, (int64_t)w->done };

	for (unsigned i = 0; i < w->nlevels; i++)
		if (w->levels[i].limit == w->limit)
			throughput = w->levels[i].throughput_frac;
	kn_journal_bind(j, sql, 1, numbers, 5);
	kn_journal_bind_text(j, sql, 6, w->name);
	kn_journal_bind_text(j, sql, 7, w->resource);
	kn_journal_bind_text(j, sql, 8, knee_kind_name(w->kind));
	kn_journal_bind_text(j, sql, 9, ev->reason);
	kn_journal_bind_real(j, sql, 10, j->sampled.cpu_busy_frac);
	kn_journal_bind_real(j, sql, 11, w->busy_frac);
	kn_journal_bind_real(j, sql, 12, throughput);
	return kn_journal_write(j, sql);
}

static int
journal_event(void *self, const struct knee_event *ev)
{
	struct knee_journal *j = self;
	struct kn_journal_entry *e;

	if (j->err != 0)
		return j->err;
	switch (ev->kind) {
	case KNEE_EVENT_START:
		return started(j, ev, &e);
	case KNEE_EVENT_RETRY:
	case KNEE_EVENT_RESULT:
		return ended(j, ev);
	case KNEE_EVENT_LIMIT:
	case KNEE_EVENT_NOTE:
		return step(j, ev);
	case KNEE_EVENT_END:
		return commit(j);
	case KNEE_EVENT_OUTPUT:
	case KNEE_EVENT_WHOLE:
	case KNEE_EVENTS:
		break;
	}
	return 0;
}

/* A commit costs as much as starting a small task does in this process, so those that come close upon
 * each other are made one. With --sync a result counts at once. */
static int
journal_flush(void *self)
{
	struct knee_journal *j = self;
	int64_t wait_ns = j->committed_ns + COMMIT_NS - kn_clock_ns();

	return (j->writing || j->dirty_first != NULL) && wait_ns > 0 && !j->sync ? (int)wait_ns : commit(j);
}

static int
journal_fd(void *self)
{
	(void)self;
	return -1; /* it never waits for a reader */
}

static bool
same_sample(const struct knee_stats *a, const struct knee_stats *b)
{
	return a->running == b->running && a->limit == b->limit && a->done == b->done &&
	    a->failed == b->failed;
}

/* A sample, when anything has happened since the last. Committed here, because after an error of another
 * sink nothing is flushed any more. */
static int64_t
journal_tick(void *self, const struct knee_stats *stats, int64_t now_ns)
{
	struct knee_journal *j = self;
	const int64_t numbers[] = { j->run, kn_clock_time_ns(), stats->running, stats->limit,
		(int64_t)stats->done, (int64_t)stats->failed };

	if (now_ns >= j->sample_due_ns) {
		if (!same_sample(stats, &j->sampled)) {
			kn_journal_bind(j, KN_SQL_SAMPLE, 1, numbers, 6);
			kn_journal_bind_real(j, KN_SQL_SAMPLE, 7, stats->cpu_busy_frac);
			(void)kn_journal_write(j, KN_SQL_SAMPLE);
		}
		j->sampled = *stats;
		j->sample_due_ns = now_ns + SECOND_NS;
	}
	(void)commit(j);
	return j->sample_due_ns;
}

struct knee_sink
knee_journal_sink(knee_journal *j)
{
	return (struct knee_sink){
		.self = j,
		.event = journal_event,
		.flush = journal_flush,
		.fd = journal_fd,
		.tick = journal_tick,
	};
}
