/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "merge_parts.h"
#include "sys/fd.h"

static int
emit(struct kn_merge *m, const struct kn_task *t, struct knee_event *ev)
{
	int err;

	ev->seq = t->seq;
	ev->slot = t->slot;
	ev->tag = t->tag;
	ev->command = t->command;
	ev->args = t->args;
	ev->nargs = t->nargs;
	ev->input_data = t->data;
	ev->host = t->host;
	err = m->host.emit(m->host.self, ev);
	if (err != -EAGAIN)
		return err;
	m->slow = true;
	return 0;
}

int
kn_merge_print_start(struct kn_merge *m, struct kn_task *t)
{
	struct knee_event ev = { .kind = KNEE_EVENT_START,
		.result = t->state == KN_DONE ? &t->result : NULL };

	if (t->printing)
		return 0;
	t->printing = true;
	return emit(m, t, &ev);
}

int
kn_merge_print_data(
    struct kn_merge *m, struct kn_task *t, enum knee_stream stream, const char *data, size_t n)
{
	struct knee_event ev = { .kind = KNEE_EVENT_OUTPUT, .stream = stream, .data = data, .size = n };

	return n > 0 ? emit(m, t, &ev) : 0;
}

/* Whole tasks are printed in two goes, stdout and then stderr. True in the first one. */
static bool
keeps(const struct kn_merge *m)
{
	return m->whole && m->cursor.which == 0;
}

static bool
wants(const struct kn_merge *m, uint32_t stream)
{
	return !m->whole || stream == (m->cursor.which == 0 ? KNEE_STDOUT : KNEE_STDERR);
}

/*
 * Print up to a buffer full of the extent under the cursor. offset may stand inside a
 * chunk only at its start: a chunk longer than the buffer is printed in one go, piece
 * by piece.
 */
static int
print_extent(struct kn_merge *m, struct kn_task *t, struct kn_held *h)
{
	struct kn_extent *x = &h->extents[m->cursor.extent];
	uint64_t at = x->offset + m->cursor.offset;
	struct kn_chunk chunk;
	int err;

	err = kn_fd_read_at(m->spill_fd, &chunk, sizeof(chunk), at);
	at += sizeof(chunk);
	if (err == 0 && !wants(m, chunk.stream)) {
		at += chunk.size;
		chunk.size = 0;
	}
	for (uint64_t left = chunk.size; err == 0 && left > 0;) {
		size_t n = left < KN_MERGE_BUFFER_BYTES ? (size_t)left : KN_MERGE_BUFFER_BYTES;

		err = kn_fd_read_at(m->spill_fd, m->buffer, n, at);
		if (err < 0)
			break;
		err = kn_merge_print_data(m, t, (enum knee_stream)chunk.stream, m->buffer, n);
		if (err < 0)
			return err;
		at += n;
		left -= n;
	}
	if (err < 0)
		return kn_merge_spill_failed(m, err, t->seq);
	m->cursor.offset = at - x->offset;
	if (m->cursor.offset == x->size) {
		if (!keeps(m))
			kn_merge_spill_release(m, x->offset, x->size);
		m->cursor.extent++;
		m->cursor.offset = 0;
	}
	return 0;
}

static int
print_chunk(struct kn_merge *m, struct kn_task *t, struct kn_held *h)
{
	const char *at = h->mem.data + m->cursor.offset;
	struct kn_chunk chunk;

	memcpy(&chunk, at, sizeof(chunk));
	m->cursor.offset += sizeof(chunk) + chunk.size;
	if (!wants(m, chunk.stream))
		return 0;
	return kn_merge_print_data(m, t, (enum knee_stream)chunk.stream, at + sizeof(chunk), chunk.size);
}

static void
held_clear(struct kn_merge *m, struct kn_held *h)
{
	m->memory -= h->mem.len;
	kn_held_done(h);
}

/* Print what is in h, from the cursor on, until the sinks are slow. *done: all is out. */
static int
held_print(struct kn_merge *m, struct kn_task *t, struct kn_held *h, bool *done)
{
	int err = 0;

	*done = false;
	while (err == 0 && !m->slow) {
		if (m->cursor.extent < h->nextents) {
			err = print_extent(m, t, h);
		} else if (m->cursor.offset < h->mem.len) {
			err = print_chunk(m, t, h);
		} else {
			if (!keeps(m))
				held_clear(m, h);
			m->cursor.extent = 0;
			m->cursor.offset = 0;
			*done = true;
			return 0;
		}
	}
	return err;
}

/* The same for all that is held of t. */
static int
print_held(struct kn_merge *m, struct kn_task *t, bool *done)
{
	int err;

	for (; m->cursor.which < 2; m->cursor.which++) {
		err = held_print(m, t, &t->held[m->whole ? 0 : m->cursor.which], done);
		if (err < 0 || !*done)
			return err;
	}
	m->cursor.which = 0;
	return 0;
}

void
kn_merge_held_drop(struct kn_merge *m, struct kn_task *t)
{
	for (unsigned w = 0; w < 2; w++) {
		struct kn_held *h = &t->held[w];

		for (size_t i = 0; i < h->nextents; i++)
			kn_merge_spill_release(m, h->extents[i].offset, h->extents[i].size);
		held_clear(m, h);
	}
}

/* t has ended: print the rest of it. *done: that was all. */
static int
print_ended(struct kn_merge *m, struct kn_task *t, bool *done)
{
	struct knee_event ev = { .kind = KNEE_EVENT_RESULT, .result = &t->result };
	int err;

	/* What was cut short before its turn came is not shown. */
	if (t->result.outcome == KNEE_CANCELLED && m->resumable && m->order == KNEE_ORDER_INPUT)
		m->mute = true;
	if (m->mute ||
	    (t->result.outcome == KNEE_CANCELLED && !t->printing && m->order != KNEE_ORDER_PIECES)) {
		kn_merge_held_drop(m, t);
		*done = true;
		return 0;
	}
	err = kn_merge_print_start(m, t);
	if (err == 0)
		err = print_held(m, t, done);
	if (err == 0 && *done)
		err = emit(m, t, &ev);
	return err;
}

/* t is through. It is in no list any more. */
static void
task_printed(struct kn_merge *m, struct kn_task *t)
{
	m->memory -= kn_merge_ended_bytes(t);
	m->host.printed(m->host.self, t);
}

/* ---- KNEE_ORDER_INPUT: the head of the ring -------------------------------- */

/* Print of the first unprinted task what may be printed. *more: it is through, go on. */
static int
head_print(struct kn_merge *m, bool *more)
{
	uint64_t *entry = kn_merge_entry(m, m->head);
	struct kn_task *t;
	bool done = true;
	int err = 0;

	*more = false;
	if (kn_entry_is_parked(*entry)) {
		err = kn_merge_unpark(m, *entry, &t);
		if (err < 0)
			return err;
	}
	t = kn_entry_task(*entry);
	if (*entry == KN_ENTRY_RESERVED) {
		done = false;
	} else if (*entry == KN_ENTRY_GAP) {
		m->mute = true;
		*more = true;
	} else if (t == NULL) {
		*more = true;
	} else if (t->state == KN_DONE) {
		err = print_ended(m, t, more);
		if (err == 0 && *more)
			task_printed(m, t);
	} else if (!m->mute && !m->whole && !m->late && (t->state == KN_RUNNING || t->state == KN_ENDING) &&
	    !kn_sched_may_retry(m->sched, t)) {
		err = kn_merge_print_start(m, t);
		if (err == 0 && (t->held[0].mem.len > 0 || t->held[0].nextents > 0))
			err = print_held(m, t, &done);
	}
	if (*more) {
		*entry = 0;
		m->head++;
	}
	return err;
}

int
kn_merge_print_line(struct kn_merge *m, struct kn_task *t, struct kn_held *h)
{
	bool slow = false, done = false;
	int err = 0;

	while (err == 0 && !done) {
		err = held_print(m, t, h, &done);
		slow = slow || m->slow;
		m->slow = false;
	}
	m->slow = slow;
	return err;
}

/* KNEE_ORDER_PIECES: what was held of tasks that run, while the sinks were slow. */
static int
pieces_print(struct kn_merge *m)
{
	struct kn_task *t = m->sched->running.first;
	int err = 0;

	for (; t != NULL && err == 0 && !m->slow; t = t->next) {
		if ((t->held[0].mem.len == 0 && t->held[0].nextents == 0) || kn_sched_may_retry(m->sched, t))
			continue;
		err = kn_merge_print_start(m, t);
		if (err == 0)
			err = kn_merge_print_line(m, t, &t->held[0]);
	}
	m->pieces_held = t != NULL;
	return err;
}

int
kn_merge_pump(struct kn_merge *m)
{
	bool more = true;
	int err = 0;

	m->slow = false;
	if (m->order == KNEE_ORDER_INPUT) {
		while (err == 0 && more && !m->slow && m->head < m->next)
			err = head_print(m, &more);
		return err;
	}
	while (err == 0 && more && !m->slow && m->ended.first != NULL) {
		struct kn_task *t = m->ended.first;

		err = print_ended(m, t, &more);
		if (err == 0 && more) {
			kn_list_remove(&m->ended, t);
			task_printed(m, t);
		}
	}
	return err == 0 && m->pieces_held && !m->slow ? pieces_print(m) : err;
}
