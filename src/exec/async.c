/* SPDX-License-Identifier: MIT */
/*
 * Asynchronous work: the caller begins it, it goes on by itself, and any thread may say what it
 * printed and that it is over.
 *
 * Each attempt has a slot. The name that the caller knows it by is the slot's index (the low 32 bits)
 * and how many attempts have had the slot, this one included (the high 32 bits). So no name is used
 * twice, and an old one is told from a new one by a single look at the slot:
 *
 *	state of a slot         uses * 2 + 1: open, its attempt goes on
 *	                        uses * 2:     closed
 *
 * The loop's thread opens a slot; who closes it, by a compare-and-swap, ends the attempt: knee_complete()
 * on some thread, or the loop, which gives the attempt up. Only one of them can, and that one posts the
 * slot's own letter, so an end needs no memory and comes exactly once. The slot is used again when
 * that letter was taken. Output travels as letters before it; what was posted for an attempt that is over
 * is dropped. Slots lie in blocks that never move, so that any thread may look at any of them without a
 * lock, whatever name it was given.
 *
 * Output is reported although the run is paused: nothing could be told to write less, and merge holds
 * it within its bounds, where here it would pile up.
 */
#include "async.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../sys/mailbox.h"

/* The first block has so many slots, each other one as many as all before it: BLOCKS make 2^31. */
#define FIRST_BLOCK 64
#define BLOCKS 26

/* What is held of a task's output is in pieces of less than 4 GiB. */
#define PIECE_BYTES ((size_t)1 << 30)

/* The status of an attempt that was given up. */
#define GIVEN_UP INT_MIN

/* What is in the mail: some output, or (no stream) the end of a slot's attempt. */
struct mail {
	struct kn_letter letter;
	struct slot *slot;
	int stream;
};

struct output {
	struct mail mail;
	knee_task task;
	size_t size;
	char bytes[];
};

struct slot {
	atomic_uint_fast64_t state;
	struct mail end; /* in the mail since the slot was closed */
	int status;      /* written by who closed it, before that letter is posted */
	/* The rest is the loop's. */
	uint32_t index, uses;
	bool cancelled;       /* the caller was told */
	struct kn_task *task; /* borrowed; NULL: the slot has none */
	struct slot *next;    /* of those that are free */
};

struct async {
	struct kn_exec *exec; /* borrowed */
	struct kn_mailbox mailbox;
	_Atomic(struct slot *) blocks[BLOCKS]; /* owned; filled in order */
	unsigned nblocks;
	struct slot *free;
};

/* A task's private part. */
struct async_task {
	struct slot *slot; /* of its present attempt */
};

/* ---- slots -------------------------------------------------------------------- */

static knee_task
name_of(const struct slot *s)
{
	return (uint64_t)s->uses << 32 | s->index;
}

static uint64_t
open_state(knee_task task)
{
	return (task >> 32) * 2 + 1;
}

/* The slot that a name speaks of, NULL: none has that index. From any thread. */
static struct slot *
slot_find(struct async *a, knee_task task)
{
	uint32_t index = (uint32_t)task, before = 0, size = FIRST_BLOCK;
	struct slot *block;

	for (unsigned i = 0; i < BLOCKS; i++) {
		if (index - before < size) {
			block = atomic_load_explicit(&a->blocks[i], memory_order_acquire);
			return block != NULL ? &block[index - before] : NULL;
		}
		before += size;
		size = before;
	}
	return NULL;
}

/* True for the one who closes it. */
static bool
slot_close(struct slot *s, knee_task task)
{
	uint_fast64_t open = open_state(task);

	return atomic_compare_exchange_strong(&s->state, &open, open - 1);
}

static void
slot_free(struct async *a, struct slot *s)
{
	s->task = NULL;
	if (s->uses == UINT32_MAX) /* another use would repeat a name */
		return;
	s->next = a->free;
	a->free = s;
}

/* One more block, its lowest slot the first to be taken. */
static int
block_add(struct async *a)
{
	uint32_t before = a->nblocks > 0 ? (uint32_t)FIRST_BLOCK << (a->nblocks - 1) : 0;
	uint32_t size = a->nblocks > 0 ? before : FIRST_BLOCK;
	struct slot *block;

	if (a->nblocks == BLOCKS)
		return -ENOMEM;
	block = calloc(size, sizeof(*block));
	if (block == NULL)
		return -ENOMEM;
	for (uint32_t i = size; i-- > 0;) {
		atomic_init(&block[i].state, 0);
		block[i].index = before + i;
		block[i].end.slot = &block[i];
		slot_free(a, &block[i]);
	}
	atomic_store_explicit(&a->blocks[a->nblocks++], block, memory_order_release);
	return 0;
}

/* A free slot, opened for t; NULL: no memory. */
static struct slot *
slot_open(struct async *a, struct kn_task *t)
{
	struct slot *s;

	if (a->free == NULL && block_add(a) < 0)
		return NULL;
	s = a->free;
	a->free = s->next;
	s->uses++;
	s->task = t;
	s->cancelled = false;
	atomic_store(&s->state, open_state(name_of(s)));
	return s;
}

/* ---- from any thread ------------------------------------------------------------ */

int
kn_async_output(struct kn_exec *e, knee_task task, enum knee_stream stream, const void *bytes, size_t size)
{
	struct async *a = e->state;
	struct slot *s = slot_find(a, task);
	struct output *o;

	if (s == NULL || atomic_load(&s->state) != open_state(task))
		return -ESTALE;
	if (size == 0)
		return 0;
	if (size > SIZE_MAX - sizeof(*o))
		return -ENOMEM;
	o = malloc(sizeof(*o) + size);
	if (o == NULL)
		return -ENOMEM;
	o->mail = (struct mail){ .slot = s, .stream = stream == KNEE_STDERR ? KNEE_STDERR : KNEE_STDOUT };
	o->task = task;
	o->size = size;
	memcpy(o->bytes, bytes, size);
	kn_mailbox_post(&a->mailbox, &o->mail.letter);
	return 0;
}

int
kn_async_complete(struct kn_exec *e, knee_task task, int status)
{
	struct async *a = e->state;
	struct slot *s = slot_find(a, task);

	if (s == NULL || !slot_close(s, task))
		return -ESTALE;
	s->status = status;
	kn_mailbox_post(&a->mailbox, &s->end.letter);
	return 0;
}

/* ---- the mail -------------------------------------------------------------------- */

static void
output_take(struct async *a, struct output *o)
{
	const struct kn_exec_host *host = &a->exec->host;
	struct slot *s = o->mail.slot;
	struct kn_task *t = s->task;
	size_t n;

	/* Not when the attempt was given up meanwhile, and another one may have its slot. */
	if (t != NULL && name_of(s) == o->task) {
		t->result.output_bytes += o->size;
		for (size_t at = 0; at < o->size; at += n) {
			n = o->size - at < PIECE_BYTES ? o->size - at : PIECE_BYTES;
			host->output(host->self, t, (enum knee_stream)o->mail.stream, o->bytes + at, n);
		}
	}
	free(o);
}

static void
end_take(struct async *a, struct slot *s)
{
	const struct kn_exec_host *host = &a->exec->host;
	struct kn_task *t = s->task;
	int status = s->status;

	slot_free(a, s);
	if (t == NULL)
		return;
	if (status == GIVEN_UP) {
		t->result.outcome = KNEE_SIGNALED;
		t->result.status = SIGKILL;
	} else if (status < 0) {
		t->result.outcome = KNEE_NOT_STARTED;
		t->result.status = status == -ENOENT ? 127 : 126;
		t->result.error = status;
	} else {
		t->result.outcome = KNEE_EXITED;
		t->result.status = status <= 255 ? status : 255;
	}
	host->ended(host->self, t);
}

static void
mail_take(struct async *a)
{
	struct kn_letter *l, *next;

	for (l = kn_mailbox_take(&a->mailbox); l != NULL; l = next) {
		struct mail *m = (struct mail *)(void *)l;

		next = l->next;
		if (m->stream != 0)
			output_take(a, (struct output *)(void *)m);
		else
			end_take(a, m->slot);
	}
}

/* kn_mailbox.came: before deadlines are looked at, so that what is done in time is in time. */
static void
mail_came(struct kn_mailbox *m)
{
	mail_take((struct async *)(void *)((char *)m - offsetof(struct async, mailbox)));
}

/* ---- the executor ---------------------------------------------------------------- */

static int
async_open(struct kn_exec *e)
{
	struct async *a = calloc(1, sizeof(*a));
	int err;

	if (a == NULL)
		return -ENOMEM;
	a->exec = e;
	err = kn_mailbox_init(&a->mailbox, e->loop);
	if (err < 0) {
		free(a);
		return err;
	}
	a->mailbox.came = mail_came;
	e->state = a;
	return 0;
}

static int
async_start(struct kn_exec *e, struct kn_task *t)
{
	const struct knee_async *work = &e->options->async;
	const struct knee_input input = { .args = t->args, .nargs = t->nargs, .data = t->data };
	struct async *a = e->state;
	struct slot *s = slot_open(a, t);
	knee_task name;
	int err;

	if (s == NULL)
		return -ENOMEM;
	name = name_of(s);
	((struct async_task *)t->exec)->slot = s;
	err = work->start(work->self, name, &input);
	if (err >= 0)
		return 0;
	if (err == -EAGAIN) {
		if (slot_close(s, name))
			slot_free(a, s);
		else /* it was completed against the rule: the letter frees the slot */
			s->task = NULL;
		return err;
	}
	(void)kn_async_complete(e, name, err);
	return 0;
}

/* Given up by a letter like any other end: there may be output before it, and this is no place to end
 * a task. */
static void
async_signal(struct kn_exec *e, struct kn_task *t, int signal)
{
	const struct knee_async *work = &e->options->async;
	struct slot *s = ((struct async_task *)t->exec)->slot;
	knee_task name = name_of(s);

	if (signal == SIGSTOP || signal == SIGTSTP || signal == SIGCONT)
		return;
	if (!s->cancelled && work->cancel != NULL && atomic_load(&s->state) == open_state(name)) {
		s->cancelled = true;
		work->cancel(work->self, name);
	}
	if (signal == SIGKILL)
		(void)kn_async_complete(e, name, GIVEN_UP);
}

static int
async_tick(struct kn_exec *e, int64_t *next_ns)
{
	struct async *a = e->state;

	mail_take(a);
	*next_ns = kn_mailbox_doze(&a->mailbox) ? INT64_MAX : 0;
	return 0;
}

static void
async_close(struct kn_exec *e)
{
	struct async *a = e->state;
	struct kn_letter *l, *next;

	for (l = kn_mailbox_take(&a->mailbox); l != NULL; l = next) {
		next = l->next;
		if (((struct mail *)(void *)l)->stream != 0)
			free(l);
	}
	kn_mailbox_done(&a->mailbox);
	for (unsigned i = 0; i < a->nblocks; i++)
		free(atomic_load(&a->blocks[i]));
	free(a);
}

/* Most such work has a connection, and what it comes from or goes to. */
const struct kn_exec_ops kn_exec_async = {
	.task_bytes = sizeof(struct async_task),
	.fds_per_task = 2,
	.open = async_open,
	.start = async_start,
	.signal = async_signal,
	.tick = async_tick,
	.close = async_close,
};
