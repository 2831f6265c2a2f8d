/* SPDX-License-Identifier: MIT */
#include "merge.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge_parts.h"
#include "sys/fd.h"

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
	m->buffer = malloc(KN_MERGE_BUFFER_BYTES);
	return m->buffer != NULL ? 0 : -ENOMEM;
}
static int
ring_grow(struct kn_merge *m)
{
	size_t cap = m->ring_cap ? m->ring_cap * 2 : 64;
	uint64_t *ring = calloc(cap, sizeof(*ring));

	if (ring == NULL)
		return -ENOMEM;
	for (uint64_t seq = m->head; seq < m->next; seq++)
		ring[seq & (cap - 1)] = *kn_merge_entry(m, seq);
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
	*kn_merge_entry(m, seq) = KN_ENTRY_RESERVED;
	m->next++;
	return 0;
}

void
kn_merge_add(struct kn_merge *m, struct kn_task *t)
{
	if (m->order == KNEE_ORDER_INPUT)
		*kn_merge_entry(m, t->seq) = (uint64_t)(uintptr_t)t;
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
	return m->order == KNEE_ORDER_INPUT ? kn_merge_shrink(m) : kn_merge_spill(m, t, h);
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
		err = kn_merge_print_start(m, t);
		if (err == 0)
			err = kn_merge_print_line(m, t, h);
		if (err == 0)
			err = kn_merge_print_data(m, t, stream, data, whole);
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
	err = kn_merge_print_start(m, t);
	if (err == 0)
		err = kn_merge_print_line(m, t, h);
	return err < 0 ? err : kn_merge_print_data(m, t, stream, data, n);
}

/* True when what t prints passes straight through. */
static bool
passes(const struct kn_merge *m, const struct kn_task *t)
{
	return m->order == KNEE_ORDER_INPUT && t->seq == m->head && t->printing && !m->slow && !m->mute &&
	    t->held[0].mem.len == 0 && t->held[0].nextents == 0;
}

int
kn_merge_output(struct kn_merge *m, struct kn_task *t, enum knee_stream stream, const char *data, size_t n)
{
	if (m->order == KNEE_ORDER_LINES)
		return output_lines(m, t, stream, data, n);
	if (m->order == KNEE_ORDER_PIECES)
		return output_pieces(m, t, stream, data, n);
	if (passes(m, t))
		return kn_merge_print_data(m, t, stream, data, n);
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
	*size = r->left < KN_MERGE_BUFFER_BYTES ? r->left : KN_MERGE_BUFFER_BYTES;
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
			return kn_merge_spill_failed(m, err, t->seq);
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
	kn_merge_held_drop(m, t);
}

int
kn_merge_result(struct kn_merge *m, struct kn_task *t)
{
	m->memory += kn_merge_ended_bytes(t);
	if (m->order != KNEE_ORDER_INPUT) {
		kn_list_append(&m->ended, t);
		return 0;
	}
	return m->memory > m->memory_max ? kn_merge_shrink(m) : 0;
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
		*kn_merge_entry(m, seq) = m->resumable ? KN_ENTRY_GAP : 0;
}

void
kn_merge_drop(struct kn_merge *m, uint64_t seq)
{
	if (m->order == KNEE_ORDER_INPUT)
		*kn_merge_entry(m, seq) = 0;
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
		uint64_t entry = *kn_merge_entry(m, seq);

		if (kn_entry_task(entry) != NULL && kn_entry_task(entry)->state == KN_DONE)
			kn_task_free(kn_entry_task(entry));
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
