/* SPDX-License-Identifier: MIT */
/* Inputs on their way into the run: read ahead into the queue, or, when an earlier run has their
 * results, straight to the output. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "run_parts.h"

/* Inputs read ahead in one turn, and bytes of them in all: of one kind of work, and of several (a
 * hundred thousand inputs or more: where they are sorted by kind, all kinds should be in sight). */
#define AHEAD_PER_TURN 256
#define AHEAD_BYTES ((size_t)1 << 20)
#define AHEAD_BYTES_MIXED ((size_t)16 << 20)

/* Tell the tuner what waits with this key: read ahead, or ready for another attempt. */
void
kn_feed_tell(struct knee *k, unsigned key)
{
	uint64_t head = kn_queue_head(&k->queue, key);
	const struct kn_task *ready = kn_sched_next(&k->sched, key);

	if (ready != NULL && ready->seq < head)
		head = ready->seq;
	kn_tuner_queue(k->meter.tuner, key, k->queue.keys[key].len + k->sched.ready_of[key], head);
}

/* Inputs that were read ahead will not be started. */
void
kn_feed_drop(struct knee *k)
{
	uint64_t seq;

	while ((seq = kn_queue_drop(&k->queue)) != 0)
		kn_merge_gap(&k->merge, seq);
	for (unsigned i = 0; i < kn_tuner_nkeys(k->meter.tuner); i++)
		kn_feed_tell(k, i);
}

/* There is no input yet: wait for its descriptor. */
static void
source_wait(struct knee *k)
{
	const struct knee_source *source = &k->options.source;
	int err;

	if (source->fd == NULL) { /* knee_submit() ends it */
		k->source_waiting = true;
		return;
	}
	err = kn_loop_add(&k->loop, &k->source_watch, source->fd(source->self), EPOLLIN);
	if (err < 0)
		(void)kn_run_fail(k, err, "waiting for input: %s", strerror(-err));
	else
		k->source_waiting = !k->source_watch.always;
}

/* Hand out what an earlier run has of a task, as if it had ended just now. */
static int
stored_print(struct knee *k, struct kn_task *t, const struct knee_stored *stored)
{
	enum knee_stream stream;
	const char *data;
	size_t size;
	int err, n;

	err = kn_run_texts(k, t);
	for (uint64_t i = 0; err == 0; i++) {
		n = stored->read(stored->self, i, &stream, &data, &size);
		if (n <= 0) {
			err = n;
			break;
		}
		err = kn_run_merged(k, kn_merge_output(&k->merge, t, stream, data, size));
	}
	if (err < 0) { /* merge has it only when it has its result */
		kn_merge_forget(&k->merge, t);
		return err;
	}
	return kn_run_merged(k, kn_merge_result(&k->merge, t));
}

/* An input that needs to run no more: it goes straight to the output. */
static int
input_stored(struct knee *k, const struct knee_input *input)
{
	const struct knee_stored *stored = input->stored;
	struct kn_task *t;
	int err;

	if (stored->result != NULL)
		kn_sched_stored(&k->sched, stored->result);
	err = kn_run_part(k, k->seq, stored->part,
	    stored->result != NULL && !knee_failed(stored->result) ? stored->part_size : 0);
	if (err < 0)
		return err;
	if (stored->result == NULL || stored->printed) {
		kn_merge_drop(&k->merge, k->seq);
		return 0;
	}
	t = kn_task_new(k->seq, input, 0);
	if (t == NULL)
		return kn_run_fail(k, -ENOMEM, "%s", strerror(ENOMEM));
	t->state = KN_DONE;
	t->slot = 1;
	t->result = *stored->result;
	kn_merge_add(&k->merge, t);
	err = stored_print(k, t, stored);
	return err < 0 ? kn_run_fail(k, err, "the stored output of task %llu: %s", (unsigned long long)k->seq,
			     strerror(-err)) :
			 0;
}

/* Read the next input into the queue, unless an earlier run has its result. INPUT_NONE: there is none
 * now or ever; or an error in k->err. */
int
kn_feed_next(struct knee *k)
{
	const struct knee_source *source = &k->options.source;
	struct knee_input input = { 0 };
	unsigned key = 0;
	int n, err;

	if (k->source_ended || k->source_waiting)
		return KN_FEED_NONE;
	n = source->next(source->self, &input);
	if (n == -EAGAIN) {
		source_wait(k);
		return KN_FEED_NONE;
	}
	if (n <= 0) {
		/* An error is one of the inputs that follow: those before it are finished. */
		k->source_ended = true;
		k->source_err = n;
		return KN_FEED_NONE;
	}
	err = kn_merge_reserve(&k->merge, k->seq + 1);
	if (err == 0 && input.stored != NULL) {
		k->seq++;
		return input_stored(k, &input) < 0 ? KN_FEED_NONE : KN_FEED_STORED;
	}
	if (err == 0)
		err = kn_meter_key(&k->meter, &input, &key);
	if (err == 0)
		err = kn_queue_push(&k->queue, key, k->seq + 1, &input);
	if (err < 0) { /* and the place, if there is one, stays empty: the run is over */
		(void)kn_run_fail(k, -ENOMEM, "%s", strerror(ENOMEM));
		return KN_FEED_NONE;
	}
	k->seq++;
	kn_feed_tell(k, key);
	return KN_FEED_QUEUED;
}

/* May another input be read now? */
bool
kn_feed_may_read(const struct knee *k)
{
	return k->err == 0 && !k->slow && !k->sched.stopped && !k->source_ended && !k->source_waiting &&
	    !kn_merge_full(&k->merge);
}

/*
 * Read further than what can start now, so that tasks of other kinds are found: a bounded number of
 * bytes, and some in each turn. With a given limit there is nothing to find.
 */
void
kn_feed_ahead(struct knee *k)
{
	size_t most = kn_tuner_nclasses(k->meter.tuner) > 2 ? AHEAD_BYTES_MIXED : AHEAD_BYTES;

	if (k->options.limit != 0 || k->options.read_late || k->options.confirm != NULL)
		return;
	for (int i = 0; i < AHEAD_PER_TURN; i++)
		if (!kn_feed_may_read(k) || k->queue.bytes >= most || kn_feed_next(k) == KN_FEED_NONE)
			return;
	k->read_more = kn_feed_may_read(k) && k->queue.bytes < most;
}

int
kn_feed_readable(struct kn_watch *w, uint32_t events)
{
	struct knee *k = (struct knee *)(void *)((char *)w - offsetof(struct knee, source_watch));

	(void)events;
	k->source_waiting = false;
	kn_loop_remove(&k->loop, w);
	return 0;
}

/* After a stop: was that all of the input anyway? */
void
kn_feed_peek(struct knee *k)
{
	const struct knee_source *source = &k->options.source;
	struct knee_input input = { 0 };
	int n;

	if (k->source_ended || k->source_waiting || k->err != 0)
		return;
	n = source->next(source->self, &input);
	k->source_ended = n == 0;
	k->seq += n == 1;
}
