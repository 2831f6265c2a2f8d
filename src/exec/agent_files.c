/* SPDX-License-Identifier: MIT */
/*
 * Files that go with tasks, at the coordinator. A machine has a queue of tasks whose files go ahead of them, and
 * a piece is put together whenever what was before it is nearly out: signs of life and other tasks' signals come
 * between, and no machine waits for another one's files. What comes back waits under another name until its task
 * has a result, so a machine that is lost, or a copy that comes second, leaves nothing.
 *
 * Names are made here, from the templates, both ways: a machine says only the number of the path that it was asked for.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent_parts.h"

/* Nothing more is put together while so much is not written. */
#define AHEAD_BYTES ((size_t)256 * 1024)
#define PIECE_BYTES ((size_t)64 * 1024)
/* A file for every machine that changes while it is sent, so often: it always will. */
#define BASE_CHANGES_MOST 4

struct kn_sendoff {
	struct kn_sendoff *next;
	bool recalled;            /* its task is not wanted any more */
	bool begun;               /* some of it is on its way */
	struct kn_dispatch files; /* id: the task's; 0: files that every machine gets */
};

bool
kn_agent_files_ahead(const struct kn_remote *m)
{
	const struct knee_machines *how = m->exec->options->machines;

	return !m->spec->here && (how->ntransfers > 0 || m->sendoffs != NULL);
}

/* How many paths t has by these templates. */
static size_t
paths_count(const struct knee_paths *paths, size_t n, const struct kn_task *t)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += paths[i].each ? t->nargs : 1;
	return count;
}

/* The i-th of them, here; malloc. */
static int
path_make(const struct knee_paths *paths, size_t i, const struct kn_task *t, char **ret)
{
	const char *const *args = (const char *const *)t->args;
	size_t n, nargs = t->nargs;
	int err;

	for (; i >= (paths->each ? t->nargs : 1); paths++)
		i -= paths->each ? t->nargs : 1;
	if (paths->each) {
		args += i;
		nargs = 1;
	}
	err = knee_template_expand(paths->text, args, nargs, t->seq, t->slot, ret);
	if (err < 0)
		return err;
	for (n = strlen(*ret); n > 1 && (*ret)[n - 1] == '/'; n--)
		(*ret)[n - 1] = '\0';
	return 0;
}

/* One that is to go. What makes no sense is an error of the task, not of ours. */
static int
path_add(struct kn_dispatch *d, const char *path, unsigned flags)
{
	char *far = NULL;
	int err = path[0] != '\0' ? kn_file_far(path, &far) : -ENOENT;

	if (err == -EINVAL)
		return kn_dispatch_fail(d, path,
		    "'..' would lead out of the folder there: put '/./' behind what it is to be cut off "
		    "with");
	if (err == -ENOENT)
		return kn_dispatch_fail(d, "a file that is to be copied", "its name is empty");
	if (err == 0)
		err = kn_dispatch_add(d, path, far, 0, flags);
	free(far);
	return err;
}

static void
sendoff_append(struct kn_remote *m, struct kn_sendoff *s)
{
	struct kn_sendoff **at = &m->sendoffs;

	if (m->sendoff_last != NULL)
		at = &m->sendoff_last->next;
	*at = s;
	m->sendoff_last = s;
	((struct kn_agents *)m->exec->state)->sendoffs++;
}

static void
sendoff_remove(struct kn_remote *m)
{
	struct kn_sendoff *s = m->sendoffs;

	m->sendoffs = s->next;
	if (m->sendoffs == NULL)
		m->sendoff_last = NULL;
	((struct kn_agents *)m->exec->state)->sendoffs--;
	kn_dispatch_done(&s->files);
	free(s);
}

int
kn_agent_files_send(struct kn_remote *m, const struct kn_errand *r)
{
	const struct knee_machines *how = m->exec->options->machines;
	struct kn_sendoff *s = calloc(1, sizeof(*s));
	size_t n = paths_count(how->transfers, how->ntransfers, r->job->task);
	int err = s != NULL ? 0 : -ENOMEM;

	for (size_t i = 0; i < n && err == 0; i++) {
		char *path;

		err = path_make(how->transfers, i, r->job->task, &path);
		if (err < 0)
			break;
		err = path_add(&s->files, path, how->cleanup ? KN_FILE_CLEAN : 0);
		free(path);
	}
	if (err < 0) {
		if (s != NULL)
			kn_dispatch_done(&s->files);
		free(s);
		return err;
	}
	s->files.id = r->id;
	sendoff_append(m, s);
	return 0;
}

int
kn_agent_files_base(struct kn_remote *m)
{
	const struct knee_machines *how = m->exec->options->machines;
	struct kn_sendoff *s;
	int err = 0;

	if (how->nbasefiles == 0 || m->spec->here)
		return 0;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < how->nbasefiles && err == 0; i++)
		err = path_add(&s->files, how->basefiles[i], how->cleanup ? KN_FILE_CLEAN : 0);
	if (err < 0) {
		kn_dispatch_done(&s->files);
		free(s);
		return err;
	}
	sendoff_append(m, s);
	kn_agent_dirty(m);
	return 0;
}

/* Files are on their way for a task that is not wanted any more. Its agent has them until that task has ended: so it gets
 * one of that name that cannot begin. */
static int
empty_put(struct kn_remote *m, uint64_t id)
{
	struct kn_buf *to = &m->link.sending;
	size_t len = to->len, at;
	int err = kn_frame_begin(to, KN_FRAME_TASK, &at);

	if (err == 0)
		err = kn_put_u64(to, id);
	if (err == 0)
		err = kn_put_u64(to, 0);
	if (err == 0)
		err = kn_put_u32(to, 1);
	if (err == 0)
		err = kn_put_u32(to, KN_TASK_BROKEN);
	for (unsigned i = 0; i < 3 && err == 0; i++)
		err = kn_put_texts(to, NULL, 0);
	if (err == 0)
		err = kn_frame_end(to, at);
	if (err < 0)
		to->len = len;
	return err;
}

/* Its files are sent: so is the task. 0 or -errno. */
static int
sendoff_end(struct kn_remote *m, const struct kn_sendoff *s)
{
	struct kn_errand *r = kn_agent_errand(m, s->files.id);
	char text[600];

	if (s->files.id == 0 && s->files.error != NULL) {
		(void)snprintf(text, sizeof(text), "--basefile %s", s->files.error);
		/* What changed while it was sent may be whole the next time, unless it always does. */
		kn_remote_lost(m, text, !s->files.changed || ++m->base_changes >= BASE_CHANGES_MOST);
		return -ECONNRESET;
	}
	if (r == NULL)
		return s->files.id != 0 && s->begun ? empty_put(m, s->files.id) : 0;
	if (s->files.error != NULL) {
		(void)snprintf(text, sizeof(text), "cannot begin: %s", s->files.error);
		m->exec->host.note(m->exec->host.self, r->job->task, text);
	}
	return kn_agent_task_put(m, r, s->files.error != NULL ? KN_TASK_BROKEN : 0);
}

/* Put together what the machine can soon take. */
static void
pump(struct kn_remote *m)
{
	while (m->sendoffs != NULL && kn_link_pending(&m->link) < AHEAD_BYTES) {
		struct kn_sendoff *s = m->sendoffs;
		size_t len = m->link.sending.len;
		int r = 0;

		/* Nobody waits for it: but a file that was begun is sent whole. */
		if (s->files.id != 0 && kn_agent_errand(m, s->files.id) == NULL)
			kn_dispatch_cut(&s->files);
		r = kn_dispatch_more(&s->files, &m->link.sending, PIECE_BYTES);
		s->begun = s->begun || m->link.sending.len > len;
		kn_agent_dirty(m);
		if (r > 0)
			continue;
		if (r == 0) {
			r = sendoff_end(m, s);
			if (r == -ECONNRESET)
				return;
		}
		if (r < 0) {
			kn_remote_lost(m, strerror(-r), false);
			return;
		}
		sendoff_remove(m);
	}
}

/* Tasks that are not wanted any more before they were sent. */
static void
recall(struct kn_remote *m)
{
	for (struct kn_sendoff *s = m->sendoffs; s != NULL; s = s->next) {
		struct kn_errand *r = s->recalled ? kn_agent_errand(m, s->files.id) : NULL;

		s->recalled = false;
		if (r != NULL)
			kn_errand_back(m->exec, r, false);
	}
}

void
kn_agent_files_tick(struct kn_exec *e, int64_t *next_ns)
{
	struct kn_agents *a = e->state;

	for (size_t i = 0; i < a->how->nhosts && a->sendoffs > 0; i++) {
		struct kn_remote *m = &a->machines[i];

		if (m->sendoffs == NULL || m->stage != KN_REMOTE_UP)
			continue;
		recall(m);
		pump(m);
		if (m->sendoffs == NULL)
			continue;
		kn_link_flush(&m->link);
		/* When the link is full it tells when it is not. */
		if (kn_link_pending(&m->link) < AHEAD_BYTES)
			*next_ns = e->loop->now_ns;
	}
}

bool
kn_agent_files_signal(struct kn_remote *m, const struct kn_errand *r, bool ends)
{
	for (struct kn_sendoff *s = m->sendoffs; s != NULL; s = s->next) {
		if (s->files.id != r->id)
			continue;
		s->recalled = s->recalled || ends;
		return true;
	}
	return false;
}

/* ---- what comes back --------------------------------------------------------------- */

int
kn_agent_files_put(struct kn_buf *to, const struct kn_remote *m, const struct kn_task *t)
{
	const struct knee_machines *how = m->exec->options->machines;
	size_t n = m->spec->here ? 0 : paths_count(how->returns, how->nreturns, t);
	char **paths = calloc(n + 1, sizeof(*paths));
	int err = paths != NULL ? 0 : -ENOMEM;

	for (size_t i = 0; i < n && err == 0; i++) {
		char *path;

		err = path_make(how->returns, i, t, &path);
		if (err < 0)
			break;
		err = path[0] != '\0' ? kn_file_far(path, &paths[i]) : -EINVAL;
		free(path);
		/* Nothing is at "": that is told when it does not come back. */
		if (err == -EINVAL) {
			paths[i] = strdup("");
			err = paths[i] != NULL ? 0 : -ENOMEM;
		}
	}
	if (err == 0)
		err = kn_put_texts(to, (const char *const *)paths, n);
	if (err == 0)
		err = kn_put_texts(to, (const char *const *)paths, how->cleanup ? n : 0);
	for (size_t i = 0; paths != NULL && i < n; i++)
		free(paths[i]);
	free(paths);
	return err;
}

int
kn_agent_files_came(struct kn_remote *m, const struct kn_frame *frame)
{
	const struct knee_machines *how = m->exec->options->machines;
	struct kn_errand *r;
	struct kn_file f;
	char *path = NULL;
	int err;

	if (frame->kind == KN_FRAME_DATA)
		return kn_courier_data(&m->courier, frame->payload, frame->size);
	err = kn_file_get(frame, &f);
	if (err < 0 || m->spec->here || how->nreturns == 0 || strlen(f.path) >= PATH_MAX)
		return -EBADMSG;
	r = kn_agent_errand(m, f.id);
	if (r != NULL && f.index >= paths_count(how->returns, how->nreturns, r->job->task))
		return -EBADMSG;
	if (r != NULL)
		err = path_make(how->returns, f.index, r->job->task, &path);
	if (err == 0)
		err = kn_courier_begin(&m->courier, &f, path);
	free(path);
	return err;
}

/* Where a file that could not be written is yet. */
static void
kept_there(struct kn_remote *m, const struct kn_task *t, uint32_t index, char *text, size_t size)
{
	const struct knee_machines *how = m->exec->options->machines;
	char *path = NULL, *far = NULL;
	size_t n = strlen(text);

	if (path_make(how->returns, index, t, &path) == 0 && kn_file_far(path, &far) == 0)
		(void)snprintf(text + n, size - n, "; kept on %s: %s", m->spec->name, far);
	free(path);
	free(far);
}

bool
kn_agent_files_keep(struct kn_remote *m, const struct kn_errand *r, struct knee_result *res)
{
	const struct knee_machines *how = m->exec->options->machines;
	const struct kn_task *t = r->job->task;
	size_t n = paths_count(how->returns, how->nreturns, t);
	char text[600] = "", *path = NULL;
	uint32_t index;
	int err = 0;

	if (m->spec->here || how->nreturns == 0 || res->outcome == KNEE_NOT_STARTED ||
	    res->outcome == KNEE_CANCELLED)
		return false;
	for (size_t i = 0; i < n && text[0] == '\0' && knee_failed(res) == 0; i++) {
		if (kn_courier_came(&m->courier, r->id, (uint32_t)i))
			continue;
		err = path_make(how->returns, i, t, &path);
		(void)snprintf(text, sizeof(text), "%s did not come back", err == 0 ? path : "a file");
		if (err == 0)
			free(path);
	}
	if (kn_courier_keep(&m->courier, r->id, &index, text, sizeof(text)) < 0)
		kept_there(m, t, index, text, sizeof(text));
	if (text[0] == '\0')
		return true;
	kn_remote_note(m, t, "%s", text);
	if (res->outcome == KNEE_EXITED && res->status == 0)
		res->status = 1;
	return false;
}

void
kn_agent_files_kept(struct kn_remote *m, uint64_t id, enum kn_kept kept)
{
	struct kn_buf *to = &m->link.sending;
	size_t len = to->len, at;
	int err = kn_frame_begin(to, KN_FRAME_KEPT, &at);

	if (err == 0)
		err = kn_put_u64(to, id);
	if (err == 0)
		err = kn_put_u32(to, (uint32_t)kept);
	if (err == 0)
		err = kn_frame_end(to, at);
	/* Without memory for that its agent does not hear it, and keeps them. */
	if (err < 0)
		to->len = len;
	kn_agent_dirty(m);
}

void
kn_agent_files_forget(struct kn_remote *m, uint64_t id)
{
	if (m->courier.parcels != NULL)
		kn_courier_drop(&m->courier, id);
}

void
kn_agent_files_lost(struct kn_remote *m)
{
	while (m->sendoffs != NULL)
		sendoff_remove(m);
	kn_courier_done(&m->courier);
}
