/* SPDX-License-Identifier: MIT */
/*
 * Answers that wait.  Those of a window are certain when all of it is answered and nothing more lies in
 * the pipe: until then they are kept here, piece by piece:
 *
 *	struct chunk, its bytes, struct chunk, its bytes, ...
 *
 * What the only record of a window says on stderr passes through at once, and so does the output of a
 * plugin's function, which may go on for long.  So does the rest of a window whose answers are large, for
 * memory has to stay flat: then what a worker that breaks the protocol wrote may have been printed, but
 * its tasks fail all the same.
 */
#include <errno.h>
#include <string.h>

#include "worker_parts.h"

struct chunk {
	unsigned place;
	bool last; /* PART: it is whole */
	enum kn_piece_kind kind;
	size_t size;
};

static int
part_take(struct kn_job *job, const struct kn_piece *p)
{
	struct kn_buf *part = &job->task->part;

	if (!job->part_open)
		part->len = 0;
	job->part_open = !p->item_end;
	return p->size > 0 ? kn_buf_add(part, p->data, p->size) : 0;
}

static void
pass(struct kn_worker *w, struct kn_job *job, const struct kn_piece *p)
{
	const struct kn_exec_host *host = &w->exec->host;
	struct kn_runner *r = w->exec->state;
	int err;

	kn_worker_tell(w, job);
	if (p->kind == KN_PIECE_PART) {
		err = part_take(job, p);
		if (err < 0 && r->err == 0)
			r->err = err;
		return;
	}
	if (p->size == 0)
		return;
	job->task->result.output_bytes += p->size;
	host->output(
	    host->self, job->task, p->kind == KN_PIECE_ERR ? KNEE_STDERR : KNEE_STDOUT, p->data, p->size);
}

static void
keep(struct kn_worker *w, struct kn_job *job, const struct kn_piece *p)
{
	const struct chunk c = { .place = job->place, .last = p->item_end, .kind = p->kind, .size = p->size };
	struct kn_runner *r = w->exec->state;
	int err = kn_buf_reserve(&w->held, sizeof(c) + p->size);

	if (err == 0)
		err = kn_buf_add(&w->held, &c, sizeof(c));
	if (err == 0 && p->size > 0)
		err = kn_buf_add(&w->held, p->data, p->size);
	if (err < 0 && r->err == 0)
		r->err = err;
}

/* Is there nothing to wait for? */
static bool
passes(const struct kn_worker *w, const struct kn_piece *piece)
{
	return w->nwindow == 1 && (piece->kind == KN_PIECE_ERR || w->answers.framing == KNEE_FRAMING_PLUGIN);
}

void
kn_worker_output(struct kn_worker *w, struct kn_job *job, const struct kn_piece *piece)
{
	if (!w->exec->paused && !w->loose && w->held.len > KN_HELD_BYTES)
		w->loose = true;
	if (w->exec->paused || (!w->loose && !passes(w, piece))) {
		keep(w, job, piece);
		return;
	}
	kn_worker_release(w, KN_WINDOW_MAX - 1);
	pass(w, job, piece);
}

bool
kn_worker_full(const struct kn_worker *w)
{
	/* Of one that has ended all is taken: it is no more than a pipe holds. */
	return w->exec->paused && w->end.fd >= 0 && w->held.len > KN_HELD_BYTES;
}

/* The chunk at this byte of what is kept; it is passed on if its job has not ended yet. */
static void
chunk_pass(struct kn_worker *w, size_t at, const struct chunk *c)
{
	struct kn_job *job = w->window[c->place];

	if (job != NULL)
		pass(w, job,
		    &(struct kn_piece){
			.kind = c->kind,
			.item_end = c->last,
			.data = w->held.data + at + sizeof(*c),
			.size = c->size,
		    });
}

void
kn_worker_release(struct kn_worker *w, unsigned place)
{
	struct chunk c;

	while (w->held_at < w->held.len) {
		memcpy(&c, w->held.data + w->held_at, sizeof(c));
		if (c.place > place)
			return;
		chunk_pass(w, w->held_at, &c);
		w->held_at += sizeof(c) + c.size;
	}
	kn_worker_forget(w);
}

void
kn_worker_release_one(struct kn_worker *w, unsigned place)
{
	struct chunk c;

	for (size_t at = w->held_at; at < w->held.len; at += sizeof(c) + c.size) {
		memcpy(&c, w->held.data + at, sizeof(c));
		if (c.place == place)
			chunk_pass(w, at, &c);
	}
}

void
kn_worker_forget(struct kn_worker *w)
{
	/* One that was large once is not kept so for ever. */
	if (w->held.cap > 2 * KN_HELD_BYTES)
		kn_buf_done(&w->held);
	w->held.len = w->held_at = 0;
}
