/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "merge_parts.h"
#include "sys/fd.h"

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
kn_merge_spill_failed(struct kn_merge *m, int err, uint64_t seq)
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
		return kn_merge_spill_failed(m, err, seq);
	m->spill_end += size;
	m->spill_live += size;
	return 0;
}

void
kn_merge_spill_release(struct kn_merge *m, uint64_t offset, uint64_t size)
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

int
kn_merge_spill(struct kn_merge *m, struct kn_task *t, struct kn_held *h)
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

uint64_t
kn_merge_ended_bytes(const struct kn_task *t)
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
	*kn_merge_entry(m, t->seq) = offset * 2 + 1;
	m->memory -= kn_merge_ended_bytes(t) + h->mem.len;
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

int
kn_merge_unpark(struct kn_merge *m, uint64_t entry, struct kn_task **ret)
{
	uint64_t offset = entry / 2, start = offset;
	char *tag = NULL, *command = NULL;
	struct parked head;
	struct kn_task *t = NULL;
	int err;

	err = kn_fd_read_at(m->spill_fd, &head, sizeof(head), offset);
	if (err < 0)
		return kn_merge_spill_failed(m, err, m->head);
	offset += sizeof(head);
	err = read_string(m, &offset, head.tag_bytes, &tag);
	if (err == 0)
		err = read_string(m, &offset, head.command_bytes, &command);
	if (err == 0)
		err = read_task(m, &offset, &head, &t);
	if (t == NULL) {
		free(tag);
		free(command);
		return err == -ENOMEM ? err : kn_merge_spill_failed(m, err, head.seq);
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
		return err == -ENOMEM ? err : kn_merge_spill_failed(m, err, head.seq);
	}
	kn_merge_spill_release(m, start, offset + head.nextents * sizeof(struct kn_extent) - start);
	m->memory += kn_merge_ended_bytes(t);
	*kn_merge_entry(m, head.seq) = (uint64_t)(uintptr_t)t;
	*ret = t;
	return 0;
}

int
kn_merge_shrink(struct kn_merge *m)
{
	for (uint64_t seq = m->next - 1; seq >= m->head && m->memory > m->memory_max / 2; seq--) {
		uint64_t entry = *kn_merge_entry(m, seq);
		struct kn_task *t = kn_entry_task(entry);
		int err;

		/* What is printed in two goes stays where it is. */
		if (t == NULL || (m->whole && t->printing))
			continue;
		if (t->state == KN_DONE && seq > m->head)
			err = task_park(m, t);
		else
			err = kn_merge_spill(m, t, &t->held[0]);
		if (err < 0)
			return err;
	}
	return 0;
}
