/* SPDX-License-Identifier: MIT */
/* What comes from the coordinator. Whatever makes no sense ends the agent, and its tasks with it. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "serve.h"

#define READ_BYTES ((size_t)128 * 1024)

/* ---- tasks -------------------------------------------------------------------- */

/* The fields of a TASK; the arguments are borrowed from the frame, and *ret_args is the caller's to free. */
static int
task_parse(struct kn_serve *s, struct kn_fields *f, struct kn_serve_task *t, const char ***ret_args,
    size_t *ret_nargs)
{
	uint64_t id = kn_get_u64(f), seq = kn_get_u64(f);
	unsigned slot = kn_get_u32(f);
	uint32_t flags = kn_get_u32(f);
	int err = kn_get_texts(f, ret_args, ret_nargs);

	if (err == 0)
		err = kn_get_texts(f, &t->returns, &t->nreturns);
	if (err == 0)
		err = kn_get_texts(f, &t->clean, &t->nclean);
	if (err < 0)
		return kn_serve_fail(s, err, "%s", strerror(-err));
	t->id = id;
	t->seq = seq;
	t->slot = slot;
	if (f->bad || f->left > 0 || slot == 0 || (flags & ~(uint32_t)KN_TASK_BROKEN) != 0)
		return kn_serve_fail(s, -EBADMSG, "a TASK that makes no sense");
	if (kn_serve_find(s, id) != NULL)
		return kn_serve_fail(s, -EBADMSG, "TASK %" PRIu64 " came twice", id);
	return (flags & KN_TASK_BROKEN) != 0;
}

/* Give it to the engine; broken: what it needs could not be sent, so it fails as it is. */
static int
task_submit(struct kn_serve *s, struct kn_serve_task *t, const char *const *args, size_t nargs, bool broken)
{
	const struct knee_input input = { .args = args, .nargs = nargs, .data = t };
	const struct knee_result failed = { .outcome = KNEE_NOT_STARTED, .status = 126, .error = -EIO };
	int err = 0;

	kn_serve_add(s, t);
	err = kn_serve_files_check(s, t);
	if (err < 0)
		return kn_serve_fail(s, err, "%s", strerror(-err));
	if (broken || err > 0)
		return kn_serve_result(s, t, &failed);
	t->number = s->submitted + 1;
	err = knee_submit(s->k, &input);
	if (err == -EPIPE) /* the run is over: the task goes back at the end */
		return 0;
	if (err < 0)
		return kn_serve_fail(s, err, "%s", strerror(-err));
	s->submitted++;
	return 0;
}

/* payload: of the TASK, with what came before it by TASK_MORE. */
static int
task_take(struct kn_serve *s, const char *payload, size_t size)
{
	struct kn_serve_task *t = calloc(1, sizeof(*t));
	char *bytes = NULL;
	const char **args = NULL;
	size_t nargs = 0;
	struct kn_fields f = { .at = payload, .left = size };
	int err, broken;

	if (t == NULL)
		return kn_serve_fail(s, -ENOMEM, "%s", strerror(ENOMEM));
	t->size = size;
	if (size > s->longest)
		s->longest = size;
	broken = task_parse(s, &f, t, &args, &nargs);
	free(t->returns);
	free(t->clean);
	t->returns = t->clean = NULL;
	if (broken >= 0 && t->nreturns + t->nclean > 0) {
		/* These outlive the frame: once more, from a copy. */
		bytes = malloc(size);
		free(args);
		args = NULL;
		if (bytes != NULL)
			memcpy(bytes, payload, size);
		t->bytes = bytes;
		f = (struct kn_fields){ .at = bytes, .left = size };
		broken = bytes != NULL ? task_parse(s, &f, t, &args, &nargs) :
					 kn_serve_fail(s, -ENOMEM, "%s", strerror(ENOMEM));
	}
	if (broken < 0) {
		kn_serve_task_free(t);
		free(args);
		return broken;
	}
	err = task_submit(s, t, args, nargs, broken != 0);
	free(args);
	return err;
}

static int
task_frame(struct kn_serve *s, const struct kn_frame *f)
{
	uint64_t size = s->more.len + f->size;
	uint64_t most = KN_SERVE_BYTES_MOST + s->limit_most * KN_SERVE_LINE_BYTES;
	int err;

	if (s->closed)
		return kn_serve_fail(s, -EBADMSG, "a TASK after CLOSE");
	if (s->ntasks >= KN_SERVE_TASKS_MOST)
		return kn_serve_fail(
		    s, -EBADMSG, "more than %d tasks, far more than were asked for", KN_SERVE_TASKS_MOST);
	if (s->bytes + size > most)
		return kn_serve_fail(s, -EBADMSG,
		    "%zu tasks with more than %" PRIu64 " MiB of arguments in all", s->ntasks + 1,
		    most >> 20);
	if (s->more.len == 0)
		return task_take(s, f->payload, f->size);
	err = kn_buf_add(&s->more, f->payload, f->size);
	if (err < 0)
		return kn_serve_fail(s, err, "%s", strerror(-err));
	err = task_take(s, s->more.data, s->more.len);
	kn_buf_done(&s->more);
	return err;
}

static int
more_frame(struct kn_serve *s, const struct kn_frame *f)
{
	int err;

	if (s->more.len + f->size > KN_FRAME_TASK_MOST)
		return kn_serve_fail(s, -EBADMSG, "a TASK of more than %zu MiB", KN_FRAME_TASK_MOST >> 20);
	err = kn_buf_add(&s->more, f->payload, f->size);
	return err < 0 ? kn_serve_fail(s, err, "%s", strerror(-err)) : 0;
}

/* ---- the other kinds ------------------------------------------------------------ */

static int
signal_frame(struct kn_serve *s, struct kn_fields *f)
{
	uint64_t id = kn_get_u64(f);
	uint32_t sig = kn_get_u32(f);
	struct kn_serve_task *t = kn_serve_find(s, id);
	bool unwanted = (sig & KN_SIGNAL_UNWANTED) != 0;

	sig &= ~(uint32_t)KN_SIGNAL_UNWANTED;
	if (f->bad || f->left > 0 || sig >= NSIG)
		return kn_serve_fail(s, -EBADMSG, "a SIGNAL that makes no sense");
	if (t != NULL)
		t->unwanted = t->unwanted || unwanted;
	/* It may have ended, and its RESULT is on its way. */
	if (t == NULL || (sig == 0 && t->began))
		return 0;
	(void)knee_task_signal(s->k, t->number, sig == 0 ? SIGTERM : (int)sig);
	return 0;
}

static int
ping_frame(struct kn_serve *s, struct kn_fields *f)
{
	uint64_t stamp = kn_get_u64(f);

	if (f->bad || f->left > 0)
		return kn_serve_fail(s, -EBADMSG, "a PING that makes no sense");
	return kn_serve_pong(s, stamp);
}

static int
kept_frame(struct kn_serve *s, struct kn_fields *f)
{
	uint64_t id = kn_get_u64(f);
	uint32_t kept = kn_get_u32(f);

	if (f->bad || f->left > 0 || kept > KN_KEPT_UNKNOWN)
		return kn_serve_fail(s, -EBADMSG, "a KEPT that makes no sense");
	return kn_serve_files_kept(s, id, (enum kn_kept)kept);
}

static int
open_frame(struct kn_serve *s, const struct kn_frame *f)
{
	struct kn_frame own = { .kind = f->kind, .size = f->size };
	struct kn_fields fields;
	int err;

	if (s->opened)
		return kn_serve_fail(s, -EBADMSG, "OPEN came twice");
	err = kn_buf_add(&s->open_bytes, f->payload, f->size);
	own.payload = s->open_bytes.data;
	fields = kn_fields_of(&own);
	if (err == 0)
		err = kn_open_get(&fields, &s->open);
	if (err < 0)
		return kn_serve_fail(s, err, "an OPEN that makes no sense");
	s->opened = true;
	return 0;
}

static int
close_frame(struct kn_serve *s, const struct kn_frame *f)
{
	if (f->size > 0)
		return kn_serve_fail(s, -EBADMSG, "a CLOSE that makes no sense");
	s->closed = true;
	(void)knee_submit(s->k, NULL);
	return 0;
}

static int
frame_do(struct kn_serve *s, const struct kn_frame *f)
{
	struct kn_fields fields = kn_fields_of(f);

	/* Of files that wait it counts also when all has ended, and who waits for that has to be heard of. */
	if (s->leaving) {
		if (f->kind == KN_FRAME_PING && !s->left)
			return ping_frame(s, &fields);
		return f->kind == KN_FRAME_KEPT ? kept_frame(s, &fields) : 0;
	}
	if (!s->opened && f->kind != KN_FRAME_OPEN)
		return kn_serve_fail(s, -EBADMSG, "a frame '%c' before OPEN", f->kind);
	if (s->more.len > 0 && f->kind != KN_FRAME_TASK && f->kind != KN_FRAME_TASK_MORE)
		return kn_serve_fail(s, -EBADMSG, "a frame '%c' in the middle of a TASK", f->kind);
	switch (f->kind) {
	case KN_FRAME_OPEN:
		return open_frame(s, f);
	case KN_FRAME_TASK_MORE:
		return more_frame(s, f);
	case KN_FRAME_TASK:
		return task_frame(s, f);
	case KN_FRAME_FILE:
	case KN_FRAME_DATA:
		return kn_serve_file(s, f);
	case KN_FRAME_KEPT:
		return kept_frame(s, &fields);
	case KN_FRAME_SIGNAL:
		return signal_frame(s, &fields);
	case KN_FRAME_PING:
		return ping_frame(s, &fields);
	case KN_FRAME_CLOSE:
		return close_frame(s, f);
	case KN_FRAME_HELLO:
	case KN_FRAME_READY:
	case KN_FRAME_CREDIT:
	case KN_FRAME_BEGAN:
	case KN_FRAME_OUT:
	case KN_FRAME_ERR:
	case KN_FRAME_ENDED:
	case KN_FRAME_NOTE:
	case KN_FRAME_RESULT:
	case KN_FRAME_RETURNED:
	case KN_FRAME_PONG:
	case KN_FRAME_REFUSED:
	case KN_FRAME_BYE:
		break;
	}
	return kn_serve_fail(s, -EBADMSG, "a frame '%c', which is none for an agent", f->kind);
}

int
kn_serve_frames(struct kn_serve *s)
{
	struct kn_frame f;
	size_t at = 0, bytes = 0;
	int n = 0;

	/* What comes behind OPEN waits until the engine is there. */
	while (!(s->opened && s->k == NULL)) {
		n = kn_frame_take(s->got.data + at, s->got.len - at, &f, &bytes);
		if (n < 0)
			n = kn_serve_fail(s, n, "what came is no frame that this agent knows");
		if (n > 0)
			n = frame_do(s, &f) < 0 ? -EBADMSG : 1;
		if (n <= 0)
			break;
		at += bytes;
	}
	kn_buf_drop(&s->got, at);
	return n < 0 ? n : 0;
}

int
kn_serve_read(struct kn_serve *s)
{
	ssize_t n;
	int err = kn_buf_reserve(&s->got, READ_BYTES);

	if (err < 0)
		return kn_serve_fail(s, err, "%s", strerror(-err));
	n = read(s->in, s->got.data + s->got.len, READ_BYTES);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return kn_serve_fail(s, -errno, "the connection to the coordinator: %s", strerror(errno));
	if (n == 0)
		return kn_serve_fail(s, -ECONNRESET, "the coordinator is gone");
	s->got.len += (size_t)n;
	return 1;
}
