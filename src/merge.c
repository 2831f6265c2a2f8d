/* SPDX-License-Identifier: MIT */
#include "merge.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sys/fd.h"

#define BUFFER_BYTES (64 * 1024)

/* Disk space is given back in whole pages; an extent of this size or more holds at least one. */
#define PAGE_BYTES 4096
#define PUNCH_BYTES (2 * PAGE_BYTES)

/* The head of a parked task in the spill file. */
struct parked {
	struct knee_result result;
	uint64_t tag_bytes, command_bytes; /* with NUL; 0: none */
	uint64_t nargs, args_bytes;        /* args_bytes: with their NULs */
	uint64_t nextents;
	uint64_t chunk_bytes;
	uint64_t seq;
	void *data;
	const char *host; /* as the task's */
	uint32_t slot;
	uint32_t unused;
};

int
kn_merge_init(struct kn_merge *m, enum knee_order order, const char *tmpdir, uint64_t memory_max,
    const struct kn_sched *sched, const struct kn_merge_host *host)
{
	*m = (struct kn_merge){ .order = order,
		.tmpdir = tmpdir,
		.memory_max = memory_max,
		.sched = sched,
		.host = *host,
		.head = 1,
		.next = 1,
		.spill_fd = -1 };
	m->buffer = malloc(BUFFER_BYTES);
	return m->buffer != NULL ? 0 : -ENOMEM;
}

/* ---- the ring ------------------------------------------------------------ */

static uint64_t *
entry_of(const struct kn_merge *m, uint64_t seq)
{
	return &m->ring[seq & (m->ring_cap - 1)];
}

static bool
entry_is_parked(uint64_t entry)
{
	return (entry & 1) != 0;
}

/* Of a task that was read, but not started yet: no pointer, and not odd. */
#define RESERVED 2
/* Of one that will not be started, though what comes behind it may have run. */
#define GAP 4

/* NULL when the entry holds no task in memory. */
static struct kn_task *
entry_task(uint64_t entry)
{
	if (entry == RESERVED || entry == GAP || entry_is_parked(entry))
		return NULL;
	return (struct kn_task *)(uintptr_t)entry;
}

static int
ring_grow(struct kn_merge *m)
{
	size_t cap = m->ring_cap ? m->ring_cap * 2 : 64;
	uint64_t *ring = calloc(cap, sizeof(*ring));

	if (ring == NULL)
		return -ENOMEM;
	for (uint64_t seq = m->head; seq < m->next; seq++)
		ring[seq & (cap - 1)] = *entry_of(m, seq);
	free(m->ring);
	m->ring = ring;
	m->ring_cap = cap;
	return 0;
}

int
kn_merge_reserve(struct kn_merge *m, uint64_t seq)
{
	int err;

	if (m->order != KNEE_ORDER_INPUT)
		return 0;
	assert(seq == m->next);
	if (m->next - m->head == m->ring_cap) {
		err = ring_grow(m);
		if (err < 0)
			return err;
	}
	*entry_of(m, seq) = RESERVED;
	m->next++;
	return 0;
}

void
kn_merge_add(struct kn_merge *m, struct kn_task *t)
{
	if (m->order == KNEE_ORDER_INPUT)
		*entry_of(m, t->seq) = (uint64_t)(uintptr_t)t;
}

/* ---- the spill file ------------------------------------------------------ */

static int
spill_failed(struct kn_merge *m, int err, uint64_t seq)
{
	(void)snprintf(m->error, sizeof(m->error),
	    "%s: cannot hold the output of task %llu there: %s; output from task %llu on is missing: "
	    "free some space, or name another folder by --tmpdir",
	    m->tmpdir, (unsigned long long)seq, strerror(-err),
	    (unsigned long long)(m->order == KNEE_ORDER_INPUT ? m->head : seq));
	return err;
}

static int
spill_write(struct kn_merge *m, uint64_t seq, const void *data, uint64_t size)
{
	int err = 0;

	if (m->spill_fd < 0) {
		m->spill_fd = kn_fd_temporary(m->tmpdir);
		err = m->spill_fd < 0 ? m->spill_fd : 0;
	}
	if (err == 0)
		err = kn_fd_write_at(m->spill_fd, data, size, m->spill_end);
	if (err < 0)
		return spill_failed(m, err, seq);
	m->spill_end += size;
	m->spill_live += size;
	return 0;
}

/* These bytes of the spill file are not wanted any more. */
static void
spill_release(struct kn_merge *m, uint64_t offset, uint64_t size)
{
	m->spill_live -= size;
	if (m->spill_live == 0) {
		/* Failing to give space back is no error: it is given back at the end. */
		(void)!ftruncate(m->spill_fd, 0);
		m->spill_end = 0;
	} else if (size >= PUNCH_BYTES) {
		uint64_t from = (offset + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
		uint64_t to = (offset + size) / PAGE_BYTES * PAGE_BYTES;

		(void)fallocate(
		    m->spill_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(to - from));
	}
}

/* Forget the part of h that the cursor has left behind, so that h can be moved. */
static void
cursor_compact(struct kn_merge *m, struct kn_held *h)
{
	if (m->cursor.extent < h->nextents)
		return;
	h->nextents = 0;
	kn_buf_drop(&h->mem, m->cursor.offset);
	m->memory -= m->cursor.offset;
	m->cursor = (struct kn_cursor){ 0 };
}

static int
held_spill(struct kn_merge *m, struct kn_task *t, struct kn_held *h)
{
	uint64_t offset = m->spill_end;
	int err;

	if (m->order == KNEE_ORDER_INPUT && t->seq == m->head)
		cursor_compact(m, h);
	if (h->mem.len == 0)
		return 0;
	err = kn_held_reserve(h);
	if (err < 0)
		return err;
	err = spill_write(m, t->seq, h->mem.data, h->mem.len);
	if (err < 0)
		return err;
	m->memory -= h->mem.len;
	kn_held_spilled(h, offset);
	kn_buf_done(&h->mem);
	return 0;
}

/* Bytes of memory that an ended task takes besides its held output. */
static uint64_t
ended_bytes(const struct kn_task *t)
{
	return t->bytes + (t->tag ? strlen(t->tag) + 1 : 0) + (t->command ? strlen(t->command) + 1 : 0);
}

/* Bytes of its arguments, each with its NUL: they lie one behind the other. */
static size_t
args_bytes(const struct kn_task *t)
{
	const char *last = t->nargs > 0 ? t->args[t->nargs - 1] : NULL;

	return last != NULL ? (size_t)(last - t->args[0]) + strlen(last) + 1 : 0;
}

/* Move an ended task to the spill file. */
static int
task_park(struct kn_merge *m, struct kn_task *t)
{
	struct kn_held *h = &t->held[0];
	struct parked head = {
		.result = t->result,
		.tag_bytes = t->tag ? strlen(t->tag) + 1 : 0,
		.command_bytes = t->command ? strlen(t->command) + 1 : 0,
		.nargs = t->nargs,
		.args_bytes = args_bytes(t),
		.nextents = h->nextents,
		.chunk_bytes = h->mem.len,
		.seq = t->seq,
		.data = t->data,
		.host = t->host,
		.slot = t->slot,
	};
	uint64_t offset = m->spill_end;
	struct kn_buf record = { 0 };
	int err;

	err = kn_buf_add(&record, &head, sizeof(head));
	if (err == 0)
		err = kn_buf_add(&record, t->tag, head.tag_bytes);
	if (err == 0)
		err = kn_buf_add(&record, t->command, head.command_bytes);
	if (err == 0 && head.nargs > 0)
		err = kn_buf_add(&record, t->args[0], head.args_bytes);
	if (err == 0)
		err = kn_buf_add(&record, h->extents, h->nextents * sizeof(*h->extents));
	if (err == 0)
		err = kn_buf_add(&record, h->mem.data, h->mem.len);
	if (err == 0)
		err = spill_write(m, t->seq, record.data, record.len);
	kn_buf_done(&record);
	if (err < 0)
		return err;
	*entry_of(m, t->seq) = offset * 2 + 1;
	m->memory -= ended_bytes(t) + h->mem.len;
	kn_held_done(h);
	m->host.printed(m->host.self, t);
	return 0;
}

/* A string of n bytes at *offset, or NULL when n is 0; *offset moves on. */
static int
read_string(struct kn_merge *m, uint64_t *offset, uint64_t n, char **ret)
{
	int err;

	if (n == 0)
		return 0;
	*ret = malloc(n);
	if (*ret == NULL)
		return -ENOMEM;
	err = kn_fd_read_at(m->spill_fd, *ret, n, *offset);
	*offset += n;
	return err;
}

static int
read_extents(struct kn_merge *m, uint64_t offset, const struct parked *head, struct kn_held *h)
{
	uint64_t bytes = head->nextents * sizeof(struct kn_extent);
	int err;

	h->cap = head->nextents + 1;
	h->extents = malloc(h->cap * sizeof(struct kn_extent));
	if (h->extents == NULL)
		return -ENOMEM;
	err = kn_fd_read_at(m->spill_fd, h->extents, bytes, offset);
	if (err < 0)
		return err;
	h->nextents = head->nextents;
	if (head->chunk_bytes > 0)
		h->extents[h->nextents++] =
		    (struct kn_extent){ .offset = offset + bytes, .size = head->chunk_bytes };
	return 0;
}

/* A task with the arguments that lie at *offset, which moves on, in *ret. */
static int
read_task(struct kn_merge *m, uint64_t *offset, const struct parked *head, struct kn_task **ret)
{
	const char **args = calloc(head->nargs + 1, sizeof(*args));
	char *text = NULL, *at;
	int err = args != NULL ? read_string(m, offset, head->args_bytes, &text) : -ENOMEM;

	at = text;
	for (size_t i = 0; err == 0 && at != NULL && i < head->nargs; i++) {
		args[i] = at;
		at += strlen(at) + 1;
	}
	if (err == 0)
		*ret = kn_task_new(head->seq, &(struct knee_input){ .args = args, .nargs = head->nargs }, 0);
	if (err == 0 && *ret == NULL)
		err = -ENOMEM;
	free(text);
	free(args);
	return err;
}

/* Bring a parked task back; its output stays in the file. */
static int
task_unpark(struct kn_merge *m, uint64_t entry, struct kn_task **ret)
{
	uint64_t offset = entry / 2, start = offset;
	char *tag = NULL, *command = NULL;
	struct parked head;
	struct kn_task *t = NULL;
	int err;

	err = kn_fd_read_at(m->spill_fd, &head, sizeof(head), offset);
	if (err < 0)
		return spill_failed(m, err, m->head);
	offset += sizeof(head);
	err = read_string(m, &offset, head.tag_bytes, &tag);
	if (err == 0)
		err = read_string(m, &offset, head.command_bytes, &command);
	if (err == 0)
		err = read_task(m, &offset, &head, &t);
	if (t == NULL) {
		free(tag);
		free(command);
		return err == -ENOMEM ? err : spill_failed(m, err, head.seq);
	}
	t->state = KN_DONE;
	t->result = head.result;
	t->slot = head.slot;
	t->data = head.data;
	t->host = head.host;
	t->tag = tag;
	t->command = command;
	err = read_extents(m, offset, &head, &t->held[0]);
	if (err < 0) {
		kn_task_free(t);
		return err == -ENOMEM ? err : spill_failed(m, err, head.seq);
	}
	spill_release(m, start, offset + head.nextents * sizeof(struct kn_extent) - start);
	m->memory += ended_bytes(t);
	*entry_of(m, head.seq) = (uint64_t)(uintptr_t)t;
	*ret = t;
	return 0;
}

/* Memory is over its bound: make room, from the task that will be printed last. The one that
 * is being printed may be spilled, but not parked. */
static int
memory_shrink(struct kn_merge *m)
{
	for (uint64_t seq = m->next - 1; seq >= m->head && m->memory > m->memory_max / 2; seq--) {
		uint64_t entry = *entry_of(m, seq);
		struct kn_task *t = entry_task(entry);
		int err;

		/* What is printed in two goes stays where it is. */
		if (t == NULL || (m->whole && t->printing))
			continue;
		if (t->state == KN_DONE && seq > m->head)
			err = task_park(m, t);
		else
			err = held_spill(m, t, &t->held[0]);
		if (err < 0)
			return err;
	}
	return 0;
}

/* ---- printing ------------------------------------------------------------ */

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

static int
print_start(struct kn_merge *m, struct kn_task *t)
{
	struct knee_event ev = { .kind = KNEE_EVENT_START,
		.result = t->state == KN_DONE ? &t->result : NULL };

	if (t->printing)
		return 0;
	t->printing = true;
	return emit(m, t, &ev);
}

static int
print_data(struct kn_merge *m, struct kn_task *t, enum knee_stream stream, const char *data, size_t n)
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
		size_t n = left < BUFFER_BYTES ? (size_t)left : BUFFER_BYTES;

		err = kn_fd_read_at(m->spill_fd, m->buffer, n, at);
		if (err < 0)
			break;
		err = print_data(m, t, (enum knee_stream)chunk.stream, m->buffer, n);
		if (err < 0)
			return err;
		at += n;
		left -= n;
	}
	if (err < 0)
		return spill_failed(m, err, t->seq);
	m->cursor.offset = at - x->offset;
	if (m->cursor.offset == x->size) {
		if (!keeps(m))
			spill_release(m, x->offset, x->size);
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
	return print_data(m, t, (enum knee_stream)chunk.stream, at + sizeof(chunk), chunk.size);
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

/* Give back what is held of t, unprinted. */
static void
held_drop(struct kn_merge *m, struct kn_task *t)
{
	for (unsigned w = 0; w < 2; w++) {
		struct kn_held *h = &t->held[w];

		for (size_t i = 0; i < h->nextents; i++)
			spill_release(m, h->extents[i].offset, h->extents[i].size);
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
		held_drop(m, t);
		*done = true;
		return 0;
	}
	err = print_start(m, t);
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
	m->memory -= ended_bytes(t);
	m->host.printed(m->host.self, t);
}

/* ---- KNEE_ORDER_INPUT: the head of the ring -------------------------------- */

/* Print of the first unprinted task what may be printed. *more: it is through, go on. */
static int
head_print(struct kn_merge *m, bool *more)
{
	uint64_t *entry = entry_of(m, m->head);
	struct kn_task *t;
	bool done = true;
	int err = 0;

	*more = false;
	if (entry_is_parked(*entry)) {
		err = task_unpark(m, *entry, &t);
		if (err < 0)
			return err;
	}
	t = entry_task(*entry);
	if (*entry == RESERVED) {
		done = false;
	} else if (*entry == GAP) {
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
		err = print_start(m, t);
		if (err == 0 && (t->held[0].mem.len > 0 || t->held[0].nextents > 0))
			err = print_held(m, t, &done);
	}
	if (*more) {
		*entry = 0;
		m->head++;
	}
	return err;
}

/* True when what t prints passes straight through. */
static bool
passes(const struct kn_merge *m, const struct kn_task *t)
{
	return m->order == KNEE_ORDER_INPUT && t->seq == m->head && t->printing && !m->slow && !m->mute &&
	    t->held[0].mem.len == 0 && t->held[0].nextents == 0;
}

/* Print what is held of a task that runs: the beginning of a line, or of pieces. The sinks take it even when
 * they are slow: a line is never interrupted. */
static int
line_print(struct kn_merge *m, struct kn_task *t, struct kn_held *h)
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
		err = print_start(m, t);
		if (err == 0)
			err = line_print(m, t, &t->held[0]);
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

/* ---- what tasks do -------------------------------------------------------- */

static int
hold(struct kn_merge *m, struct kn_task *t, struct kn_held *h, enum knee_stream stream, const char *data,
    size_t n)
{
	int err;

	if (n == 0)
		return 0;
	err = kn_held_add(h, stream, data, n);
	if (err < 0)
		return err;
	m->memory += n + sizeof(struct kn_chunk);
	if (m->memory <= m->memory_max)
		return 0;
	return m->order == KNEE_ORDER_INPUT ? memory_shrink(m) : held_spill(m, t, h);
}

/* Lines: what ends in a newline passes, the rest is held. */
static int
output_lines(struct kn_merge *m, struct kn_task *t, enum knee_stream stream, const char *data, size_t n)
{
	struct kn_held *h = &t->held[stream == KNEE_STDOUT ? 0 : 1];
	bool passing = !m->slow && !kn_sched_may_retry(m->sched, t);
	const char *newline = passing ? memrchr(data, '\n', n) : NULL;
	size_t whole = newline != NULL ? (size_t)(newline - data) + 1 : 0;
	int err = 0;

	if (whole > 0) {
		err = print_start(m, t);
		if (err == 0)
			err = line_print(m, t, h);
		if (err == 0)
			err = print_data(m, t, stream, data, whole);
	}
	return err < 0 ? err : hold(m, t, h, stream, data + whole, n - whole);
}

/* Pieces: all passes when it may, behind what could not. */
static int
output_pieces(struct kn_merge *m, struct kn_task *t, enum knee_stream stream, const char *data, size_t n)
{
	struct kn_held *h = &t->held[0];
	int err;

	if (m->slow || kn_sched_may_retry(m->sched, t)) {
		m->pieces_held = true;
		return hold(m, t, h, stream, data, n);
	}
	err = print_start(m, t);
	if (err == 0)
		err = line_print(m, t, h);
	return err < 0 ? err : print_data(m, t, stream, data, n);
}

int
kn_merge_output(struct kn_merge *m, struct kn_task *t, enum knee_stream stream, const char *data, size_t n)
{
	if (m->order == KNEE_ORDER_LINES)
		return output_lines(m, t, stream, data, n);
	if (m->order == KNEE_ORDER_PIECES)
		return output_pieces(m, t, stream, data, n);
	if (passes(m, t))
		return print_data(m, t, stream, data, n);
	return hold(m, t, &t->held[0], stream, data, n);
}

bool
kn_merge_waits(const struct kn_merge *m, const struct kn_task *t)
{
	return m->order == KNEE_ORDER_INPUT && t->seq != m->head;
}

/* A piece of the chunk that the reader stands in, from the spill file. */
static int
read_extent(struct kn_merge *m, const struct kn_task *t, const char **data, size_t *size)
{
	struct kn_reader *r = &m->reader;
	const struct kn_extent *x = &t->held[0].extents[r->extent];
	struct kn_chunk chunk;
	int err = 0;

	if (r->left == 0) {
		err = kn_fd_read_at(m->spill_fd, &chunk, sizeof(chunk), x->offset + r->offset);
		if (err < 0)
			return err;
		r->offset += sizeof(chunk);
		r->left = chunk.size;
		r->stream = (enum knee_stream)chunk.stream;
	}
	*size = r->left < BUFFER_BYTES ? r->left : BUFFER_BYTES;
	*data = m->buffer;
	err = kn_fd_read_at(m->spill_fd, m->buffer, *size, x->offset + r->offset);
	r->offset += *size;
	r->left -= *size;
	if (r->left == 0 && r->offset == x->size) {
		r->extent++;
		r->offset = 0;
	}
	return err;
}

int
kn_merge_read(struct kn_merge *m, const struct kn_task *t, uint64_t n, enum knee_stream *stream,
    const char **data, size_t *size)
{
	const struct kn_held *h = &t->held[0];
	struct kn_reader *r = &m->reader;
	struct kn_chunk chunk;
	int err;

	if (n == 0)
		*r = (struct kn_reader){ 0 };
	if (r->extent < h->nextents) {
		err = read_extent(m, t, data, size);
		if (err < 0)
			return spill_failed(m, err, t->seq);
	} else if (r->offset < h->mem.len) {
		memcpy(&chunk, h->mem.data + r->offset, sizeof(chunk));
		r->stream = (enum knee_stream)chunk.stream;
		*data = h->mem.data + r->offset + sizeof(chunk);
		*size = chunk.size;
		r->offset += sizeof(chunk) + chunk.size;
	} else {
		return 0;
	}
	*stream = r->stream;
	return 1;
}

void
kn_merge_retry(struct kn_merge *m, struct kn_task *t)
{
	held_drop(m, t);
}

int
kn_merge_result(struct kn_merge *m, struct kn_task *t)
{
	m->memory += ended_bytes(t);
	if (m->order != KNEE_ORDER_INPUT) {
		kn_list_append(&m->ended, t);
		return 0;
	}
	return m->memory > m->memory_max ? memory_shrink(m) : 0;
}

void
kn_merge_forget(struct kn_merge *m, struct kn_task *t)
{
	kn_merge_gap(m, t->seq);
	m->host.printed(m->host.self, t);
}

void
kn_merge_gap(struct kn_merge *m, uint64_t seq)
{
	if (m->order == KNEE_ORDER_INPUT)
		*entry_of(m, seq) = m->resumable ? GAP : 0;
}

void
kn_merge_drop(struct kn_merge *m, uint64_t seq)
{
	if (m->order == KNEE_ORDER_INPUT)
		*entry_of(m, seq) = 0;
}

bool
kn_merge_empty(const struct kn_merge *m)
{
	return m->head == m->next && m->ended.first == NULL;
}

bool
kn_merge_full(const struct kn_merge *m)
{
	return m->next - m->head >= KN_MERGE_WINDOW;
}

void
kn_merge_done(struct kn_merge *m)
{
	struct kn_task *t;

	for (uint64_t seq = m->head; seq < m->next; seq++) {
		uint64_t entry = *entry_of(m, seq);

		if (entry_task(entry) != NULL && entry_task(entry)->state == KN_DONE)
			kn_task_free(entry_task(entry));
	}
	while ((t = m->ended.first) != NULL) {
		kn_list_remove(&m->ended, t);
		kn_task_free(t);
	}
	kn_fd_close(&m->spill_fd);
	free(m->ring);
	free(m->buffer);
	*m = (struct kn_merge){ .spill_fd = -1 };
}
