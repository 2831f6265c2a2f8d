/* SPDX-License-Identifier: MIT */
/*
 * Files of tasks, on the agent's side: what comes before a task is written by sys/courier; a task that has ended
 * and whose files are wanted back waits in a queue, and its RESULT goes behind them. Those that are to be removed then
 * wait, until the coordinator says (KEPT) that it has them: what is not there stays here.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "serve.h"

/* More is not put together while so much is not written: output and signs of life come between. */
#define AHEAD_BYTES ((size_t)256 * 1024)
#define PIECE_BYTES ((size_t)64 * 1024)
/* While files come, whoever sends them hears of us so often. */
#define ALIVE_NS ((int64_t)1000000000)

/* A task that has ended, with files on their way back. */
struct kn_serve_back {
	struct kn_serve_back *next;
	struct kn_serve_task *task; /* in the table */
	struct knee_result result;
	struct kn_dispatch files;
	struct kn_waiting waiting; /* what is sent of them and is to be removed */
};

/* Files of a task whose RESULT is not answered. */
struct kn_serve_waiting {
	struct kn_serve_waiting *next;
	uint64_t id;
	struct kn_waiting files;
};

/* The coordinator's PINGs wait behind what it sends: it is told without having asked. */
static int
alive(struct kn_serve *s)
{
	int64_t now_ns = s->k->loop.now_ns;

	if (now_ns - s->alive_ns < ALIVE_NS || s->pong)
		return 0;
	s->alive_ns = now_ns;
	return kn_serve_pong(s, 0);
}

int
kn_serve_file(struct kn_serve *s, const struct kn_frame *f)
{
	struct kn_file file;
	int err;

	if (f->kind == KN_FRAME_DATA) {
		err = kn_courier_data(&s->courier, f->payload, f->size);
	} else {
		err = kn_file_get(f, &file);
		if (err == 0 && file.id != 0 && kn_serve_find(s, file.id) != NULL)
			err = -EBADMSG;
		if (err == 0)
			err = kn_courier_begin(&s->courier, &file, NULL);
	}
	if (err == 0)
		err = alive(s);
	return err == 0 ?
	    0 :
	    kn_serve_fail(s, err, "%s", err == -EBADMSG ? "a FILE that makes no sense" : strerror(-err));
}

int
kn_serve_files_check(struct kn_serve *s, const struct kn_serve_task *t)
{
	const char *why = kn_courier_error(&s->courier, t->id);
	char *text;
	int err;

	if (why == NULL)
		return 0;
	if (asprintf(&text, "cannot begin: %s", why) < 0)
		return -ENOMEM;
	err = kn_serve_note(s, t->id, text);
	free(text);
	return err < 0 ? err : 1;
}

void
kn_serve_files_clean(struct kn_serve *s, const struct kn_serve_task *t)
{
	if (s->courier.parcels != NULL)
		kn_courier_clean(&s->courier, t->id);
}

static void
back_free(struct kn_serve *s, struct kn_serve_back *b)
{
	kn_waiting_forget(&b->waiting, &s->courier);
	kn_dispatch_done(&b->files);
	free(b);
}

/* What was to come back and does not come may be changed, and so be nowhere else: it stays, though it was copied here. */
static void
spare(struct kn_serve *s, const struct kn_serve_task *t)
{
	for (size_t i = 0; i < t->nreturns; i++)
		kn_courier_spare(&s->courier, t->id, t->returns[i]);
}

/* What the task names that is to be removed waits, and what came for it in that. What waits already does so as it was
 * then. 0 or -ENOMEM. */
static int
cleaned_put(struct kn_serve *s, const struct kn_serve_task *t, struct kn_waiting *waiting)
{
	int err = 0;

	for (size_t i = 0; i < t->nclean && err == 0; i++)
		err = kn_waiting_add(waiting, &s->courier, t->clean[i]);
	for (size_t i = 0; i < t->nclean && err == 0; i++)
		err = kn_courier_waiting(&s->courier, t->id, t->clean[i], waiting);
	return err;
}

/* What is to be removed waits, each as it is announced. But of the folder in which all tasks run, which is nobody's own,
 * only what came for t: as it is now. 0 or -ENOMEM. */
static int
back_waiting(struct kn_serve *s, struct kn_serve_back *b)
{
	const struct kn_serve_task *t = b->task;

	for (size_t i = 0; i < t->nreturns; i++)
		if (strcmp(t->returns[i], ".") == 0)
			return cleaned_put(s, t, &b->waiting);
	if (t->nclean > 0) {
		b->files.waiting = &b->waiting;
		b->files.courier = &s->courier;
	}
	return 0;
}

bool
kn_serve_files_back(struct kn_serve *s, struct kn_serve_task *t, const struct knee_result *r)
{
	struct kn_serve_back *b;
	int err = 0;

	if (t->began && r->outcome == KNEE_CANCELLED)
		spare(s, t);
	if (t->nreturns == 0 || r->outcome == KNEE_NOT_STARTED || r->outcome == KNEE_CANCELLED)
		return false;
	b = t->unwanted ? NULL : calloc(1, sizeof(*b));
	if (b == NULL) {
		spare(s, t);
		return false; /* nothing comes back: a coordinator that wants it sees that */
	}
	b->task = t;
	b->result = *r;
	b->files.id = t->id;
	err = back_waiting(s, b);
	for (size_t i = 0; i < t->nreturns && err == 0; i++)
		err = kn_dispatch_add(&b->files, t->returns[i], "", (uint32_t)i, 0);
	if (err < 0) {
		spare(s, t);
		back_free(s, b);
		return false;
	}
	if (s->back_last != NULL)
		s->back_last->next = b;
	else
		s->back = b;
	s->back_last = b;
	return true;
}

static void
back_remove(struct kn_serve *s)
{
	struct kn_serve_back *b = s->back;

	s->back = b->next;
	if (s->back == NULL)
		s->back_last = NULL;
	back_free(s, b);
}

/* All that came back of b and is to be removed waits. What goes with the folder of this run only waits for the
 * answer. 0 or -ENOMEM. */
static int
waiting_put(struct kn_serve *s, struct kn_serve_back *b)
{
	struct kn_serve_task *t = b->task;
	struct kn_serve_waiting *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	w->id = t->id;
	w->files = b->waiting;
	b->waiting = (struct kn_waiting){ 0 };
	if (s->waiting_last != NULL)
		s->waiting_last->next = w;
	else
		s->waiting = w;
	s->waiting_last = w;
	t->waits = true;
	return b->files.waiting != NULL ? cleaned_put(s, t, &w->files) : 0;
}

/* Take this one out, after that one, or NULL. */
static void
waiting_remove(struct kn_serve *s, struct kn_serve_waiting *w, struct kn_serve_waiting *before)
{
	if (before != NULL)
		before->next = w->next;
	else
		s->waiting = w->next;
	if (s->waiting_last == w)
		s->waiting_last = before;
	free(w);
}

/* The folder that was made for this run has files that are nowhere else. 0 or -errno. */
static int
folder_stays(struct kn_serve *s)
{
	bool known = s->folder == NULL || s->stays;
	char *text;
	int err;

	s->stays = true;
	if (known)
		return 0;
	if (asprintf(&text, "the folder %s stays: files that did not come back are in it", s->folder) < 0)
		return -ENOMEM;
	err = kn_serve_note(s, 0, text);
	free(text);
	return err;
}

int
kn_serve_files_kept(struct kn_serve *s, uint64_t id, enum kn_kept kept)
{
	struct kn_serve_waiting *w = s->waiting, *before = NULL;
	int err = 0;

	for (; w != NULL && w->id != id; w = w->next)
		before = w;
	if (w == NULL)
		return kn_serve_fail(s, -EBADMSG, "KEPT %" PRIu64 ", of which no files wait", id);
	if (kept == KN_KEPT_ALL)
		kn_waiting_remove(&w->files, &s->courier);
	else
		kn_waiting_keep(&w->files, &s->courier);
	if (kept == KN_KEPT_NOT)
		err = folder_stays(s);
	waiting_remove(s, w, before);
	return err < 0 ? kn_serve_fail(s, err, "%s", strerror(-err)) : 0;
}

/* Something is there of what was to come back. */
static bool
is_left(const struct kn_serve_task *t)
{
	struct stat st;

	for (size_t i = 0; i < t->nreturns; i++)
		if (lstat(t->returns[i], &st) == 0)
			return true;
	return false;
}

/* All is sent of the first in the queue. */
static int
back_end(struct kn_serve *s)
{
	struct kn_serve_back *b = s->back;
	struct kn_serve_task *t = b->task;
	char *text = NULL;
	int err = 0;

	if (t->unwanted) {
		spare(s, t);
	} else if (b->files.error != NULL) {
		err = asprintf(&text, "%s, and it was to come back", b->files.error) < 0 ? -ENOMEM : 0;
		if (err == 0)
			err = kn_serve_note(s, t->id, text);
		free(text);
		if (b->result.outcome == KNEE_EXITED && b->result.status == 0)
			b->result.status = 1;
		spare(s, t);
		if (err == 0 && is_left(t))
			err = folder_stays(s);
	} else if (t->nclean > 0 || s->folder != NULL) {
		err = waiting_put(s, b);
	}
	kn_waiting_forget(&b->waiting, &s->courier);
	if (err == 0)
		err = kn_serve_result(s, t, &b->result);
	back_remove(s);
	return err;
}

int
kn_serve_files_pump(struct kn_serve *s)
{
	while (s->back != NULL && s->send.len - s->sent < AHEAD_BYTES) {
		int r;

		/* A file that was begun is sent whole. */
		if (s->back->task->unwanted)
			kn_dispatch_cut(&s->back->files);
		r = kn_dispatch_more(&s->back->files, &s->send, PIECE_BYTES);
		if (r == 0)
			r = back_end(s);
		if (r < 0)
			return kn_serve_fail(s, r, "%s", strerror(-r));
	}
	return 0;
}

void
kn_serve_files_done(struct kn_serve *s)
{
	while (s->back != NULL) {
		const struct kn_serve_task *t = s->back->task;

		spare(s, t);
		s->stays = s->stays || (!t->unwanted && is_left(t));
		back_remove(s);
	}
	while (s->waiting != NULL) {
		kn_waiting_keep(&s->waiting->files, &s->courier);
		s->stays = true;
		waiting_remove(s, s->waiting, NULL);
	}
	/* What had begun ended with this agent. */
	for (size_t i = 0; i < KN_SERVE_BUCKETS; i++)
		for (const struct kn_serve_task *t = s->buckets[i]; t != NULL; t = t->next)
			if (t->began)
				spare(s, t);
	kn_courier_done(&s->courier);
}
