/* SPDX-License-Identifier: MIT */
/* Tasks on their way to machines, and what comes back of them. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent_parts.h"

/* A long TASK goes in pieces of this size. */
#define PIECE_BYTES ((size_t)128 * 1024)
/* A machine may say so many things to the user, of a connection; and so often why its number changed, and once more
 * for each of its results. */
#define NOTES_MOST 100
#define NOTE_BYTES 400

/* ---- names on the wire ------------------------------------------------------------ */

/* An id that was never used before: how often its place in the table was used, and the place. */
static int
id_take(struct kn_agents *a, struct kn_errand *r)
{
	struct kn_id_entry *ids;
	uint32_t i = a->free_id;

	if (i == UINT32_MAX) {
		if (a->nids == a->ids_cap) {
			ids = realloc(a->ids, (a->ids_cap * 2 + 64) * sizeof(*ids));
			if (ids == NULL)
				return -ENOMEM;
			a->ids = ids;
			a->ids_cap = a->ids_cap * 2 + 64;
		}
		i = (uint32_t)a->nids++;
		a->ids[i] = (struct kn_id_entry){ 0 };
	} else {
		a->free_id = a->ids[i].next_free;
	}
	a->ids[i].errand = r;
	r->id = (uint64_t)++a->ids[i].generation << 32 | (i + 1);
	return 0;
}

static void
id_give(struct kn_agents *a, struct kn_errand *r)
{
	uint32_t i = (uint32_t)(r->id & UINT32_MAX) - 1;

	a->ids[i].errand = NULL;
	a->ids[i].next_free = a->free_id;
	a->free_id = i;
	r->id = 0;
}

struct kn_errand *
kn_agent_errand(const struct kn_remote *m, uint64_t id)
{
	const struct kn_agents *a = m->exec->state;
	uint64_t i = (id & UINT32_MAX) - 1;
	struct kn_errand *r = i < a->nids ? a->ids[i].errand : NULL;

	return r != NULL && r->id == id && r->host == m->index ? r : NULL;
}

void
kn_agent_forget(struct kn_exec *e, struct kn_errand *r)
{
	struct kn_agents *a = e->state;
	struct kn_remote *m = &a->machines[r->host];

	/* Who has it yet is to end it, and its files are nobody's. */
	if (!r->answered)
		kn_agent_signal(e, r, SIGKILL | KN_SIGNAL_UNWANTED);
	kn_chain_remove(&m->errands, &r->node);
	if (r->began)
		m->running--;
	r->began = false;
	kn_agent_files_forget(m, r->id);
	id_give(a, r);
	kn_fleet_took(&a->fleet, r->host);
}

/* ---- to the machine ------------------------------------------------------------------ */

static void
dirty(struct kn_remote *m)
{
	struct kn_agents *a = m->exec->state;

	if (m->dirty)
		return;
	m->dirty = true;
	m->next_dirty = a->dirty;
	a->dirty = m;
}

void
kn_agent_dirty(struct kn_remote *m)
{
	m->urgent = true;
	dirty(m);
}

static int
payload_make(const struct kn_remote *m, const struct kn_task *t, uint64_t id, uint32_t flags)
{
	struct kn_agents *a = m->exec->state;
	struct kn_buf *p = &a->payload;
	int err;

	p->len = 0;
	err = kn_put_u64(p, id);
	if (err == 0)
		err = kn_put_u64(p, t->seq);
	if (err == 0)
		err = kn_put_u32(p, t->slot);
	if (err == 0)
		err = kn_put_u32(p, flags);
	if (err == 0)
		err = kn_put_texts(p, t->args, t->nargs);
	if (err == 0)
		err = kn_agent_files_put(p, m, t);
	if (err == 0 && p->len > KN_FRAME_TASK_MOST)
		err = -E2BIG;
	return err;
}

/* The payload as a TASK, behind as many TASK_MORE as it takes. */
static int
payload_send(struct kn_agents *a, struct kn_buf *to)
{
	size_t at = 0, mark = to->len;
	int err = 0;

	for (; a->payload.len - at > KN_FRAME_MOST && err == 0; at += PIECE_BYTES)
		err = kn_frame_bytes(to, KN_FRAME_TASK_MORE, NULL, a->payload.data + at, PIECE_BYTES);
	if (err == 0)
		err = kn_frame_bytes(to, KN_FRAME_TASK, NULL, a->payload.data + at, a->payload.len - at);
	if (err < 0)
		to->len = mark;
	return err;
}

int
kn_agent_task_put(struct kn_remote *m, const struct kn_errand *r, uint32_t flags)
{
	int err = payload_make(m, r->job->task, r->id, flags);

	return err < 0 ? err : payload_send(m->exec->state, &m->link.sending);
}

int
kn_agent_send(struct kn_exec *e, struct kn_remote *m, struct kn_errand *r)
{
	struct kn_agents *a = e->state;
	int err = id_take(a, r);

	if (err < 0)
		return err;
	/* A TASK that is too long is an error now, not when its files are there. */
	if (kn_agent_files_ahead(m))
		err = payload_make(m, r->job->task, r->id, 0);
	if (err == 0)
		err = kn_agent_files_ahead(m) ? kn_agent_files_send(m, r) : kn_agent_task_put(m, r, 0);
	if (err < 0) {
		id_give(a, r);
		return err;
	}
	r->host = m->index;
	r->began = r->asked = r->signalled = r->answered = false;
	r->since_ns = e->loop->now_ns;
	kn_chain_push(&m->errands, &r->node);
	kn_fleet_gave(&a->fleet, m->index);
	kn_fleet_full(&a->fleet, m->index, kn_link_pending(&m->link) > KN_PENDING_MOST);
	m->unsent++;
	dirty(m);
	return 0;
}

bool
kn_agent_signal_ends(int signal)
{
	return signal != SIGSTOP && signal != SIGTSTP && signal != SIGCONT;
}

void
kn_agent_signal(struct kn_exec *e, struct kn_errand *r, int signal)
{
	struct kn_agents *a = e->state;
	struct kn_remote *m = &a->machines[r->host];
	size_t at;
	int err;

	/* A machine that is just being lost gives back all that it has. */
	if (m->link.phase != KN_LINK_FRAMES)
		return;
	r->signalled = r->signalled || (signal != 0 && kn_agent_signal_ends(signal));
	if (kn_agent_files_signal(m, r, kn_agent_signal_ends(signal)))
		return;
	err = kn_frame_begin(&m->link.sending, KN_FRAME_SIGNAL, &at);
	if (err == 0)
		err = kn_put_u64(&m->link.sending, r->id);
	if (err == 0)
		err = kn_put_u32(&m->link.sending, (uint32_t)signal);
	if (err == 0)
		err = kn_frame_end(&m->link.sending, at);
	/* Without memory for a signal the task is ended with its machine. */
	if (err < 0)
		kn_link_close(&m->link, SIGTERM);
	kn_agent_dirty(m);
}

/* ---- from the machine ---------------------------------------------------------------- */

/* A time that m tells: nothing that it does began before it was up. */
static int64_t
since_up(const struct kn_remote *m, uint64_t ns)
{
	const struct kn_agents *a = m->exec->state;
	uint64_t most_ns = (uint64_t)(m->exec->loop->now_ns - a->fleet.hosts[m->index].up_ns);

	return (int64_t)(ns < most_ns ? ns : most_ns);
}

static void
began(struct kn_remote *m, struct kn_errand *r, uint64_t ago_ns)
{
	struct kn_exec *e = m->exec;
	struct kn_task *t = r->job->task;
	int64_t now_ns = e->loop->now_ns;

	if (r->began)
		return;
	r->began = true;
	r->since_ns = now_ns - since_up(m, ago_ns);
	if (++m->running > m->peak)
		m->peak = m->running;
	if (t->state == KN_HANDED) {
		t->host = m->spec->name;
		e->host.began(e->host.self, t, r->since_ns);
	}
}

/* What a copy prints waits until it is known whether it comes first. A lot of it cannot: the copy ends. */
static void
twin_output(struct kn_remote *m, struct kn_job *j, enum kn_frame_kind kind, const char *data, size_t n)
{
	if (j->twin_output.len + n <= KN_TWIN_OUTPUT_MOST &&
	    kn_frame_bytes(&j->twin_output, kind, NULL, data, n) == 0)
		return;
	kn_twin_end(m->exec, j);
	j->alone = true;
}

static void
output(struct kn_remote *m, struct kn_fields *f, enum kn_frame_kind kind)
{
	struct kn_errand *r = kn_agent_errand(m, kn_get_u64(f));
	struct kn_exec *e = m->exec;
	size_t n;
	const char *data = kn_get_rest(f, &n);

	if (f->bad || r == NULL || n == 0)
		return;
	began(m, r, 0);
	if (r == r->job->twin)
		twin_output(m, r->job, kind, data, n);
	else
		e->host.output(
		    e->host.self, r->job->task, kind == KN_FRAME_OUT ? KNEE_STDOUT : KNEE_STDERR, data, n);
}

/* 0 or -EBADMSG: nothing of it was to come back. */
static int
ended(struct kn_remote *m, struct kn_fields *f)
{
	struct kn_errand *r = kn_agent_errand(m, kn_get_u64(f));
	int64_t runtime_ns = since_up(m, kn_get_u64(f));

	if (m->spec->here || m->exec->options->machines->nreturns == 0)
		return -EBADMSG;
	if (f->bad || r == NULL)
		return 0;
	began(m, r, (uint64_t)runtime_ns);
	kn_errand_ended(m->exec, r, runtime_ns);
	return 0;
}

static void
result(struct kn_remote *m, struct kn_fields *f)
{
	uint64_t id = kn_get_u64(f);
	struct kn_errand *r = kn_agent_errand(m, id);
	struct kn_agents *a = m->exec->state;
	struct knee_result res;
	bool waits, kept;

	kn_get_result(f, &res);
	waits = kn_get_u32(f) != 0;
	if (f->bad)
		return;
	if (r == NULL) {
		/* Who does not read what he is told is not told more, however much he says. */
		if (waits && kn_link_pending(&m->link) < KN_PENDING_MOST)
			kn_agent_files_kept(m, id, KN_KEPT_UNKNOWN);
		return;
	}
	r->answered = true;
	/* It was called back before it began; or its agent is being ended, and so were its tasks: not by us. */
	if (res.outcome == KNEE_CANCELLED && (!r->began || !r->signalled)) {
		kn_errand_back(m->exec, r, !r->signalled);
		return;
	}
	res.runtime_ns = since_up(m, (uint64_t)res.runtime_ns);
	began(m, r, (uint64_t)res.runtime_ns);
	kept = kn_agent_files_keep(m, r, &res);
	if (waits)
		kn_agent_files_kept(m, id, kept ? KN_KEPT_ALL : KN_KEPT_NOT);
	/* Too many at once: that says nothing of the machine, and the task is still to be done. */
	if (!kn_exec_says_busy(m->exec->options, &res))
		kn_fleet_result(&a->fleet, m->index, knee_failed(&res) && res.outcome != KNEE_CANCELLED);
	kn_errand_end(m->exec, r, &res);
}

static void
note(struct kn_remote *m, struct kn_fields *f)
{
	uint64_t id = kn_get_u64(f);
	struct kn_errand *r = kn_agent_errand(m, id);
	const char *s = kn_get_text(f);
	char text[NOTE_BYTES];
	size_t n = 0;

	/* What concerns a task that is not known any more concerns nobody. */
	if (f->bad || (id != 0 && r == NULL) || m->notes >= NOTES_MOST)
		return;
	m->notes++;
	for (; *s != '\0' && n < sizeof(text) - 1; s++)
		if ((unsigned char)*s >= ' ' && *s != 0x7f)
			text[n++] = *s;
	text[n] = '\0';
	kn_remote_note(m, r != NULL ? r->job->task : NULL, "%s", text);
}

static void
credit(struct kn_remote *m, struct kn_fields *f)
{
	struct kn_exec *e = m->exec;
	struct kn_agents *a = e->state;
	uint32_t limit = kn_get_u32(f), want = kn_get_u32(f);
	const char *why = kn_get_text(f);
	size_t n = 0;

	if (f->bad)
		return;
	kn_fleet_credit(&a->fleet, m->index, limit, a->slots ? limit : want);
	if (why[0] == '\0')
		return;
	for (; *why != '\0' && n < sizeof(m->why) - 1; why++)
		if ((unsigned char)*why >= ' ' && *why != 0x7f)
			m->why[n++] = *why;
	m->why[n] = '\0';
	if (m->reasons >= NOTES_MOST + a->fleet.hosts[m->index].done)
		return;
	m->reasons++;
	a->limit_told = 0; /* this is of all, be their connections full or not */
	e->host.capacity(
	    e->host.self, a->fleet.limit < 1 ? 1 : (unsigned)a->fleet.limit, m->spec->name, limit, m->why);
}

static void
returned(struct kn_remote *m, struct kn_fields *f)
{
	struct kn_errand *r = kn_agent_errand(m, kn_get_u64(f));

	if (f->bad || r == NULL)
		return;
	r->answered = true;
	kn_errand_back(m->exec, r, true);
}

/* It cannot go on, and says why; of what happened in the middle of a run another try may be free. */
static void
refused(struct kn_remote *m, struct kn_fields *f, bool for_good)
{
	char why[NOTE_BYTES];

	(void)snprintf(why, sizeof(why), "%s", kn_get_text(f));
	kn_remote_lost(m, why, for_good);
}

/* Frames of a machine that is up; of kinds that an agent does not send, none. */
static void
frame_up(struct kn_remote *m, const struct kn_frame *frame, struct kn_fields *f)
{
	const struct kn_agents *a = m->exec->state;

	switch (frame->kind) {
	case KN_FRAME_CREDIT:
		credit(m, f);
		return;
	case KN_FRAME_BEGAN: {
		struct kn_errand *r = kn_agent_errand(m, kn_get_u64(f));
		uint64_t ago_ns = kn_get_u64(f);

		if (!f->bad && r != NULL)
			began(m, r, ago_ns);
		return;
	}
	case KN_FRAME_OUT:
	case KN_FRAME_ERR:
		output(m, f, frame->kind);
		return;
	case KN_FRAME_ENDED:
		if (ended(m, f) < 0)
			break;
		return;
	case KN_FRAME_RESULT:
		result(m, f);
		return;
	case KN_FRAME_RETURNED:
		returned(m, f);
		return;
	case KN_FRAME_NOTE:
		note(m, f);
		return;
	case KN_FRAME_PONG:
		return;
	case KN_FRAME_BYE:
		m->stage = KN_REMOTE_BYE;
		if (!a->closing)
			kn_remote_lost(m, "its agent has ended", false);
		return;
	case KN_FRAME_FILE:
	case KN_FRAME_DATA: {
		int err = kn_agent_files_came(m, frame);

		if (err == -EBADMSG)
			break;
		if (err < 0)
			kn_remote_lost(m, strerror(-err), false);
		return;
	}
	case KN_FRAME_OPEN:
	case KN_FRAME_TASK_MORE:
	case KN_FRAME_TASK:
	case KN_FRAME_KEPT:
	case KN_FRAME_SIGNAL:
	case KN_FRAME_PING:
	case KN_FRAME_CLOSE:
	case KN_FRAME_HELLO:
	case KN_FRAME_READY:
		break;
	case KN_FRAME_REFUSED:
		refused(m, f, false);
		return;
	}
	kn_remote_lost(m, "it sends what no agent sends now", true);
}

static void
frame_early(struct kn_remote *m, const struct kn_frame *frame, struct kn_fields *f)
{
	struct kn_agents *a = m->exec->state;
	/* One that has connected back: its HELLO may have been late, on the slower way. */
	bool greeted = m->stage == KN_REMOTE_READY || m->link.life_fd >= 0;

	if (frame->kind == KN_FRAME_REFUSED) {
		refused(m, f, true);
	} else if (frame->kind == KN_FRAME_HELLO && m->stage == KN_REMOTE_HELLO) {
		m->stage = KN_REMOTE_READY;
	} else if (frame->kind == KN_FRAME_NOTE && greeted) {
		note(m, f);
	} else if (frame->kind == KN_FRAME_READY && greeted) {
		m->stage = KN_REMOTE_UP;
		m->was_up = true;
		m->words.len = 0;
		kn_fleet_up(&a->fleet, m->index, m->exec->loop->now_ns);
		if (a->paused)
			kn_link_pause(&m->link, true);
		if (kn_agent_files_base(m) < 0)
			kn_remote_lost(m, strerror(ENOMEM), false);
	} else {
		kn_remote_lost(m, "it sends what no agent sends so early", true);
	}
}

void
kn_agent_frame(struct kn_remote *m, const struct kn_frame *frame)
{
	struct kn_agents *a = m->exec->state;
	struct kn_fields f = kn_fields_of(frame);

	if (m->stage == KN_REMOTE_BYE)
		return;
	if (m->stage == KN_REMOTE_UP) {
		kn_fleet_heard(&a->fleet, m->index, m->exec->loop->now_ns);
		frame_up(m, frame, &f);
	} else {
		frame_early(m, frame, &f);
	}
	if (f.bad && m->link.phase == KN_LINK_FRAMES)
		kn_remote_lost(m, "its frames do not hold what they should", true);
}
