/* SPDX-License-Identifier: MIT */
/*
 * Tasks run on other machines, by agents (serve.c) that run this very engine.
 *
 *	start() ──► waiting ──► a machine's errands ──► began(), output(), ended()
 *	                ▲              │ lost
 *	                └── returned() ┘
 *
 * core/fleet says who gets the next task, whom to connect to, and who is lost; agent_link.c has a connection;
 * agent_task.c what goes over it. Of a task a machine has an errand; with --speculate there may be two, of which the
 * first to answer counts. A machine is believed nothing: its answers are of the errands that it has, or of none.
 *
 * What a task prints is held by the run until its result (merge.late), so that it can run again when its machine
 * is lost. That was no attempt.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "../core/open.h"
#include "agent_parts.h"

#define SECOND_NS ((int64_t)1000000000)
#define TIMEOUT_NS (20 * SECOND_NS)
#define CONNECT_NS (30 * SECOND_NS)
#define CONNECT_MOST 32
#define TRIES 4
/* A way that carries less in a second is too slow to send the program. */
#define SLOW_BYTES 32768
/* What was sent SIGKILL, and is not heard of any more, has ended then. */
#define KILLED_NS (2 * SECOND_NS)
/* At the end machines have so long to say goodbye. */
#define BYE_NS (3 * SECOND_NS)
/* Tasks that name their machine: so many are taken ahead, for they wait apart. */
#define PINNED_AHEAD 65536
/* Lines that were said before it was up. */
#define WORDS_BYTES 4000
/* A task that so many machines were lost with is believed to be the reason. */
#define LOSSES_MOST 5
/* Tasks for a machine that has enough to do are gathered for so long, or up to so many bytes. */
#define GATHER_NS ((int64_t)1000000)
#define GATHER_BYTES 8192

/* So often it is asked whether machines are idle while tasks wait elsewhere. */
#define IDLE_EVERY_NS (SECOND_NS / 10)
/* --speculate: so long after the last start, so often, tasks that took so many times as long as others do, and at least so
 * long, get a copy. */
#define COPY_AFTER_NS (SECOND_NS / 5)
#define COPY_EVERY_NS (SECOND_NS / 10)
#define COPY_LONG 1.5
#define COPY_LEAST_NS ((double)SECOND_NS / 2)
/* The length of tasks follows the latest by this share. */
#define FOLLOW 0.1

static struct kn_job *
job_of(struct kn_task *t)
{
	return t->exec;
}

static struct kn_remote *
machine_of(struct kn_link *l)
{
	return (struct kn_remote *)(void *)l;
}

/* ---- jobs that wait for a machine -------------------------------------------------- */

static void
list_append(struct kn_job_list *l, struct kn_job *j)
{
	j->next = NULL;
	j->prev = l->last;
	if (l->last != NULL)
		l->last->next = j;
	else
		l->first = j;
	l->last = j;
	l->len++;
}

static void
list_remove(struct kn_job_list *l, struct kn_job *j)
{
	if (j->prev != NULL)
		j->prev->next = j->next;
	else
		l->first = j->next;
	if (j->next != NULL)
		j->next->prev = j->prev;
	else
		l->last = j->prev;
	j->next = j->prev = NULL;
	l->len--;
}

static struct kn_job_list *
list_of(struct kn_agents *a, const struct kn_job *j)
{
	return j->pin != KN_FLEET_ANY ? &a->machines[j->pin].waiting : &a->waiting;
}

static void
capacity_tell(struct kn_exec *e)
{
	struct kn_agents *a = e->state;
	uint64_t limit, want;

	kn_fleet_room(&a->fleet, &limit, &want);
	if (limit < 1)
		limit = 1;
	if (limit == a->limit_told)
		return;
	a->limit_told = limit;
	e->host.capacity(e->host.self, limit > UINT32_MAX ? UINT32_MAX : (unsigned)limit, NULL, 0, NULL);
}

static void
start_failed_note(struct kn_exec *e, const struct kn_job *j, int err)
{
	char text[80];

	(void)snprintf(text, sizeof(text), "cannot be started: %s", strerror(-err));
	e->host.note(e->host.self, j->task, text);
}

/* Give j to a machine that has room for it. 1, 0: there is none, or -errno. */
static int
job_place(struct kn_exec *e, struct kn_job *j)
{
	struct kn_agents *a = e->state;
	uint32_t h = kn_fleet_pick(&a->fleet, j->pin, j->avoid);
	int err;

	if (h == KN_FLEET_ANY)
		return 0;
	err = kn_agent_send(e, &a->machines[h], &j->errand);
	/* Before the next one is handed out for it, which would wait here. */
	if (err == 0 && a->fleet.hosts[h].full)
		capacity_tell(e);
	return err < 0 ? err : 1;
}

/* It waits no more, and fails, without having been anywhere. */
static void
waiting_end(struct kn_exec *e, struct kn_job_list *l, struct kn_job *j, enum knee_outcome outcome, int err,
    int status)
{
	list_remove(l, j);
	e->host.began(e->host.self, j->task, e->loop->now_ns);
	j->task->result.outcome = outcome;
	j->task->result.error = err;
	j->task->result.status = status;
	e->host.ended(e->host.self, j->task);
}

/* Those of l that there is room for go. 0, or -errno: the first one cannot. */
static int
waiting_give(struct kn_exec *e, struct kn_job_list *l)
{
	while (l->first != NULL) {
		struct kn_job *j = l->first;
		int r = job_place(e, j);

		if (r <= 0)
			return r;
		list_remove(l, j);
	}
	return 0;
}

/* The same; what can never be sent fails, and keeps nobody waiting behind it. */
static void
waiting_place(struct kn_exec *e, struct kn_job_list *l)
{
	int err;

	while ((err = waiting_give(e, l)) < 0 && err != -ENOMEM) {
		start_failed_note(e, l->first, err);
		waiting_end(e, l, l->first, KNEE_NOT_STARTED, err, 126);
	}
}

/* Those that are not wanted any more go back. */
static void
waiting_recall(struct kn_exec *e, struct kn_job_list *l)
{
	struct kn_job *next;

	for (struct kn_job *j = l->first; j != NULL; j = next) {
		next = j->next;
		if (!j->recalled)
			continue;
		list_remove(l, j);
		j->recalled = false;
		e->host.returned(e->host.self, j->task);
	}
}

/* Their machine will not be there any more: they fail, as ssh does. */
static void
waiting_fail(struct kn_exec *e, struct kn_remote *m)
{
	struct kn_job *j;

	while ((j = m->waiting.first) != NULL) {
		j->task->host = m->spec->name;
		waiting_end(e, &m->waiting, j, KNEE_EXITED, 0, 255);
	}
}

/* ---- the end of errands ------------------------------------------------------------- */

static void
killed_remove(struct kn_agents *a, struct kn_job *j)
{
	struct kn_job **at = &a->killed;

	if (!j->killed)
		return;
	while (*at != j)
		at = &(*at)->next_killed;
	*at = j->next_killed;
	j->killed = false;
}

void
kn_twin_end(struct kn_exec *e, struct kn_job *j)
{
	if (j->twin == NULL)
		return;
	if (j->twin->id != 0)
		kn_agent_forget(e, j->twin);
	free(j->twin);
	j->twin = NULL;
	kn_buf_done(&j->twin_output);
}

/* The copy takes the place of the first one, which is gone: what that printed is void. */
static void
twin_promote(struct kn_exec *e, struct kn_job *j)
{
	struct kn_agents *a = e->state;
	struct kn_errand *twin = j->twin, *r = &j->errand;
	struct kn_frame frame;
	size_t at = 0, bytes;

	*r = *twin;
	a->ids[(r->id & UINT32_MAX) - 1].errand = r;
	if (r->prev != NULL)
		r->prev->next = r;
	else
		a->machines[r->host].errands = r;
	if (r->next != NULL)
		r->next->prev = r;
	free(twin);
	j->twin = NULL;
	j->task->host = a->machines[r->host].spec->name;
	e->host.again(e->host.self, j->task);
	while (kn_frame_take(j->twin_output.data + at, j->twin_output.len - at, &frame, &bytes) == 1) {
		e->host.output(e->host.self, j->task, frame.kind == KN_FRAME_OUT ? KNEE_STDOUT : KNEE_STDERR,
		    frame.payload, frame.size);
		at += bytes;
	}
	kn_buf_done(&j->twin_output);
}

/* The task of j is over here, by its end or because it goes back. */
static void
job_clear(struct kn_exec *e, struct kn_job *j)
{
	struct kn_agents *a = e->state;

	kn_twin_end(e, j);
	killed_remove(a, j);
	j->given_up_ns = 0;
	j->recalled = j->alone = false;
}

void
kn_errand_end(struct kn_exec *e, struct kn_errand *r, const struct knee_result *res)
{
	struct kn_agents *a = e->state;
	struct kn_job *j = r->job;
	struct kn_task *t = j->task;
	unsigned attempt = t->result.attempt;
	int64_t start_time_ns = t->result.start_time_ns;
	struct kn_errand *other = r == j->twin ? &j->errand : j->twin;
	uint32_t host = r->host;

	/* The other copy ends as soon as it hears of it; what it says until then is not heard. */
	if (other != NULL && other->id != 0) {
		kn_agent_signal(e, other, SIGKILL);
		kn_agent_forget(e, other);
	}
	if (r == j->twin) {
		twin_promote(e, j);
		r = &j->errand;
	}
	if (r->began && res->outcome == KNEE_EXITED)
		a->runtime_ns += ((double)res->runtime_ns - a->runtime_ns) * (a->runtime_ns > 0 ? FOLLOW : 1);
	kn_agent_forget(e, r);
	job_clear(e, j);
	t->result = *res;
	t->result.attempt = attempt;
	t->result.start_time_ns = start_time_ns;
	j->avoid = knee_failed(res) ? host : KN_FLEET_ANY;
	e->host.ended(e->host.self, t);
}

void
kn_errand_back(struct kn_exec *e, struct kn_errand *r, bool by_machine)
{
	struct kn_job *j = r->job;
	uint32_t host = r->host;

	if (r == j->twin) {
		kn_twin_end(e, j);
		return;
	}
	kn_agent_forget(e, r);
	if (j->twin != NULL) {
		twin_promote(e, j);
		return;
	}
	job_clear(e, j);
	if (by_machine)
		j->avoid = host;
	e->host.returned(e->host.self, j->task);
}

/* Sent SIGKILL, and not heard of since: whatever its machine does, the run goes on. */
static void
killed_give_up(struct kn_exec *e)
{
	struct kn_agents *a = e->state;
	struct kn_job *next;

	for (struct kn_job *j = a->killed; j != NULL; j = next) {
		const struct knee_result res = { .outcome = KNEE_SIGNALED, .status = SIGKILL };

		next = j->next_killed;
		if (j->given_up_ns > e->loop->now_ns)
			continue;
		if (j->errand.began)
			kn_errand_end(e, &j->errand, &res);
		else
			kn_errand_back(e, &j->errand, false);
	}
}

/* ---- machines ------------------------------------------------------------------------ */

void
kn_remote_note(struct kn_remote *m, const struct kn_task *t, const char *format, ...)
{
	struct kn_exec *e = m->exec;
	char text[600];
	va_list args;
	int n = snprintf(text, sizeof(text), "%s: ", m->spec->name);

	if (n < 0 || (size_t)n >= sizeof(text))
		n = 0;
	va_start(args, format);
	(void)vsnprintf(text + n, sizeof(text) - (size_t)n, format, args);
	va_end(args);
	e->host.note(e->host.self, t, text);
}

/* What it said before it was up: now it matters. */
static void
words_tell(struct kn_remote *m, const char *why)
{
	char *line = m->words.data, *end;

	for (; line != NULL && line < m->words.data + m->words.len; line = end + 1) {
		end = strchr(line, '\0');
		if (strcmp(line, why) != 0)
			kn_remote_note(m, NULL, "%s", line);
	}
	m->words.len = 0;
}

/* Errors of ssh and its like that time does not mend. */
static bool
hopeless(const char *why)
{
	static const char *const texts[] = { "Permission denied", "Host key verification failed",
		"Could not resolve", "ommand not found", "No such file", "Bad configuration",
		"Unknown option", "illegal option", "Invalid node name", "nvalid job id" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (strstr(why, texts[i]) != NULL)
			return true;
	return false;
}

/* r's machine is lost. A task that ran whenever one was is most likely why, and is not given to all of them. */
static void
errand_lost(struct kn_remote *m, struct kn_errand *r)
{
	const struct knee_result res = { .outcome = KNEE_SIGNALED, .status = SIGKILL };
	struct kn_job *j = r->job;

	if (!r->began || r == j->twin || j->twin != NULL || ++j->losses < LOSSES_MOST) {
		kn_errand_back(m->exec, r, true);
		return;
	}
	kn_remote_note(
	    m, j->task, "the %uth machine that was lost while it ran: it is not tried again", j->losses);
	kn_errand_end(m->exec, r, &res);
}

void
kn_remote_lost(struct kn_remote *m, const char *why, bool for_good)
{
	struct kn_exec *e = m->exec;
	struct kn_agents *a = e->state;
	bool up = m->stage >= KN_REMOTE_UP;
	uint64_t tasks = 0;

	/* Its agent hears the end of its input, or that nobody speaks any more. */
	kn_link_close(&m->link, SIGKILL);
	while (m->errands != NULL) {
		tasks++;
		errand_lost(m, m->errands);
	}
	kn_agent_files_lost(m);
	m->lost_tasks += tasks;
	m->stage = KN_REMOTE_GREETING;
	if (a->closing)
		return;
	for_good = for_good || (!up && hopeless(why));
	kn_fleet_lost(&a->fleet, m->index, for_good, e->loop->now_ns);
	(void)snprintf(m->why, sizeof(m->why), "%s", why);
	if (up && tasks > 0)
		kn_remote_note(m, NULL, "lost: %s; its %llu tasks run again", why, (unsigned long long)tasks);
	else if (up)
		kn_remote_note(m, NULL, "lost: %s", why);
	else if (a->fleet.hosts[m->index].state == KN_HOST_GONE) {
		words_tell(m, why);
		kn_remote_note(m, NULL, "%s", why);
	}
}

/* What to say of connecting back: addresses, and the text to say there. Without them the first connection does. */
static void
dial_offer(struct kn_agents *a, const struct kn_remote *m, char *text, struct kn_open *open)
{
	const char *const *addresses;

	if (a->dial == NULL || kn_dial_offer(a->dial, m->index, text) < 0)
		return;
	addresses = kn_dial_addresses(a->dial, &open->ndial);
	open->dial = (const char **)(uintptr_t)addresses;
	open->token = text;
}

int
kn_remote_open_put(struct kn_remote *m)
{
	const struct knee_options *o = m->exec->options;
	const struct knee_machines *how = o->machines;
	struct kn_agents *a = m->exec->state;
	char token[KN_DIAL_TEXT_BYTES];
	struct kn_open open = {
		.words = (const char **)(uintptr_t)how->words,
		.nwords = how->nwords,
		.template = how->template,
		.worker = (const char **)(uintptr_t)o->worker,
		.nworker = o->nworker,
		.framing = o->framing,
		.env = (const char **)(uintptr_t)how->env,
		.nenv = how->nenv,
		.slot_var = o->slot_var,
		.shell = m->spec->here ? o->shell : NULL,
		.dir = how->dir,
		.host = m->spec->name,
		.login = m->spec->login,
		.nice = how->nice == INT_MIN ? 20 : how->nice + 20,
		.limit = m->spec->limit > 0 ? m->spec->limit : o->limit,
		.limit_min = o->limit_min,
		.limit_max = o->limit_max,
		.kind = o->kind,
		.load_max = o->load_max,
		.memfree_bytes = o->memfree_bytes,
		.memsuspend_bytes = o->memsuspend_bytes,
		.noswap = o->noswap != 0,
		.learn = how->learn != 0,
		.jobs = m->spec->jobs,
		.timeout_ns = (uint64_t)a->fleet.rules.timeout_ns,
	};
	struct kn_buf *to = &m->link.sending;
	size_t at;
	int err = kn_buf_adds(to, "knee-coordinator 1 " KNEE_VERSION "\n");

	dial_offer(a, m, token, &open);
	if (err == 0)
		err = kn_frame_begin(to, KN_FRAME_OPEN, &at);
	if (err == 0)
		err = kn_open_put(to, &open);
	return err == 0 ? kn_frame_end(to, at) : err;
}

/* ---- what a link tells ------------------------------------------------------------- */

static void
link_greeted(struct kn_link *l, unsigned protocol, const char *version)
{
	struct kn_remote *m = machine_of(l);
	char why[160];
	int err;

	if (protocol != KN_FRAME_PROTOCOL) {
		(void)snprintf(why, sizeof(why),
		    "its agent is knee %s and speaks protocol %u, this is knee " KNEE_VERSION
		    " with protocol %d: they do not understand each other",
		    version, protocol, KN_FRAME_PROTOCOL);
		kn_remote_lost(m, why, true);
		return;
	}
	err = kn_remote_open_put(m);
	if (err < 0) {
		kn_remote_lost(m,
		    err == -EMSGSIZE ? "the command and its environment are too long to be sent" :
				       strerror(-err),
		    true);
		return;
	}
	m->stage = KN_REMOTE_HELLO;
	kn_agent_dirty(m);
}

static void
link_frame(struct kn_link *l, const struct kn_frame *f)
{
	kn_agent_frame(machine_of(l), f);
}

static void
link_wanted(struct kn_link *l, const char *machine, uint64_t size)
{
	struct kn_remote *m = machine_of(l);
	const struct knee_machines *how = m->exec->options->machines;
	struct kn_agents *a = m->exec->state;
	struct utsname here;
	char why[200];

	if (uname(&here) < 0 || strcmp(here.machine, machine) != 0) {
		(void)snprintf(why, sizeof(why),
		    "it is a %s machine, and the program to send is for %s: install knee there and name it "
		    "by its path",
		    machine, here.machine);
		kn_remote_lost(m, why, true);
	} else if (how->program == NULL || size != how->program_bytes) {
		kn_remote_lost(m, "this knee was built without a program that could be sent there", true);
	} else if (!m->got_program) {
		m->got_program = true;
		kn_fleet_patience(&a->fleet, m->index,
		    a->fleet.rules.connect_ns + (int64_t)(size / SLOW_BYTES) * SECOND_NS,
		    m->exec->loop->now_ns);
		kn_link_program(l, how->program, how->program_bytes);
	}
}

static void
link_lost(struct kn_link *l, const char *why)
{
	struct kn_remote *m = machine_of(l);

	kn_remote_lost(m, m->stage == KN_REMOTE_BYE ? "its agent has ended" : why, false);
}

static void
link_said(struct kn_link *l, const char *line)
{
	struct kn_remote *m = machine_of(l);

	if (m->stage == KN_REMOTE_UP)
		kn_remote_note(m, NULL, "%s", line);
	else if (m->words.len < WORDS_BYTES)
		(void)kn_buf_add(&m->words, line, strlen(line) + 1);
}

/* kn_dial: from now on this is the way to its agent. */
static void
dialled(void *self, uint32_t host, int fd)
{
	struct kn_exec *e = self;
	struct kn_agents *a = e->state;
	struct kn_remote *m = &a->machines[host];
	int err;

	if (m->stage != KN_REMOTE_HELLO && m->stage != KN_REMOTE_READY) {
		close(fd);
		return;
	}
	err = kn_link_move(&m->link, fd);
	if (err < 0)
		kn_remote_lost(m, strerror(-err), false);
}

static const struct kn_link_host link_host = {
	.greeted = link_greeted,
	.frame = link_frame,
	.wanted = link_wanted,
	.lost = link_lost,
	.said = link_said,
};

/* ---- what is due --------------------------------------------------------------------- */

/* Environment of what leads to machines. */
static const char *
search_path(const struct knee_options *o)
{
	for (const char *const *v = o->environ_base; v != NULL && *v != NULL; v++)
		if (strncmp(*v, "PATH=", 5) == 0)
			return *v + 5;
	return NULL;
}

static void
machine_connect(struct kn_remote *m)
{
	static char *const none[] = { NULL };
	struct kn_exec *e = m->exec;
	struct kn_agents *a = e->state;
	const struct knee_options *o = e->options;
	char *const *env = none;
	const char *path;
	char why[200];
	int err = -ENOENT;

	m->stage = KN_REMOTE_GREETING;
	m->words.len = 0;
	m->notes = 0;
	m->got_program = false;
	kn_fleet_connecting(&a->fleet, m->index, e->loop->now_ns);
	if (o->environ_base != NULL)
		memcpy(&env, &o->environ_base, sizeof(env));
	path = kn_program_find(&a->program, m->spec->argv[0], search_path(o));
	if (path != NULL)
		err = kn_link_open(&m->link, &a->spawner, path, m->spec->argv, m->spec->nargv, env);
	if (err == 0)
		return;
	kn_program_forget(&a->program);
	(void)snprintf(why, sizeof(why), "cannot start %s: %s", m->spec->argv[0], strerror(-err));
	kn_remote_lost(m, why, err == -ENOENT || err == -EACCES);
}

static int
all_gone(struct kn_exec *e)
{
	(void)snprintf(e->error, sizeof(e->error), "no machine is left to run tasks on");
	return -EHOSTUNREACH;
}

/* All that is due with the machines. 0, or -errno: the run is at its end. */
static int
machines_due(struct kn_exec *e, int64_t *next_ns)
{
	struct kn_agents *a = e->state;
	enum kn_fleet_do what;
	uint32_t h = 0;

	while ((what = kn_fleet_due(&a->fleet, e->loop->now_ns, &h, next_ns)) != KN_FLEET_NOTHING) {
		struct kn_remote *m = &a->machines[h];
		char why[80];

		switch (what) {
		case KN_FLEET_CONNECT:
			if (kn_link_busy(&m->link)) /* its last child has not ended yet */
				kn_link_done(&m->link);
			machine_connect(m);
			break;
		case KN_FLEET_PING:
			if (kn_frame_u64(&m->link.sending, KN_FRAME_PING, (uint64_t)e->loop->now_ns) == 0)
				kn_agent_dirty(m);
			break;
		case KN_FLEET_TOO_LATE:
			(void)snprintf(why, sizeof(why), "no answer in %.0f s",
			    (double)a->fleet.rules.connect_ns / (double)SECOND_NS);
			kn_remote_lost(m, why, false);
			if (a->fleet.hosts[h].state != KN_HOST_GONE)
				kn_remote_note(m, NULL, "%s; it is tried again", why);
			break;
		case KN_FLEET_SILENT:
			(void)snprintf(why, sizeof(why), "nothing was heard of it for %.1f s",
			    (double)a->fleet.rules.timeout_ns / (double)SECOND_NS);
			kn_remote_lost(m, why, false);
			break;
		case KN_FLEET_SET_ASIDE:
			kn_remote_note(m, NULL,
			    "set aside: %llu of its %llu tasks failed, far more than elsewhere",
			    (unsigned long long)a->fleet.hosts[h].failed,
			    (unsigned long long)a->fleet.hosts[h].done);
			break;
		case KN_FLEET_ALL_GONE:
			return all_gone(e);
		case KN_FLEET_NOTHING:
			break;
		}
	}
	return 0;
}

static void
links_pause(struct kn_exec *e)
{
	struct kn_agents *a = e->state;

	if (a->paused == e->paused)
		return;
	a->paused = e->paused;
	/* What is on its way up has no output yet, and shall not be too late for that. */
	for (size_t i = 0; i < a->how->nhosts; i++)
		if (a->machines[i].stage >= KN_REMOTE_UP)
			kn_link_pause(&a->machines[i].link, a->paused);
	if (!a->paused)
		kn_fleet_listen(&a->fleet, e->loop->now_ns);
}

/* Nobody is silent who is not listened to: while links are not read, or when all this process stood still. */
static void
silence_look(struct kn_exec *e)
{
	struct kn_agents *a = e->state;
	int64_t now_ns = e->loop->now_ns;

	if (a->paused || now_ns - a->tick_ns > a->fleet.rules.timeout_ns / 2)
		kn_fleet_listen(&a->fleet, now_ns);
	a->tick_ns = now_ns;
}

/* It has so many tasks that those which wait here may wait a little longer, for others to go with them. */
static bool
may_wait(const struct kn_agents *a, const struct kn_remote *m)
{
	const struct kn_fleet_host *h = &a->fleet.hosts[m->index];
	uint32_t has = h->out > m->unsent ? h->out - m->unsent : 0;

	return !m->urgent && h->want > h->limit && has > h->limit + (h->want - h->limit) / 2 &&
	    kn_link_pending(&m->link) < GATHER_BYTES;
}

/* Who takes again what is written to it gets tasks again. */
static void
links_look(struct kn_agents *a)
{
	for (uint32_t i = 0; i < a->how->nhosts && a->fleet.nfull > 0; i++)
		if (a->fleet.hosts[i].full && kn_link_pending(&a->machines[i].link) <= KN_PENDING_MOST / 2)
			kn_fleet_full(&a->fleet, i, false);
}

static void
links_flush(struct kn_exec *e, int64_t *next_ns)
{
	struct kn_agents *a = e->state;
	struct kn_remote *m, *later = NULL;

	while ((m = a->dirty) != NULL) {
		a->dirty = m->next_dirty;
		if (m->link.phase != KN_LINK_CLOSED && e->loop->now_ns < a->gather_ns && may_wait(a, m)) {
			m->next_dirty = later;
			later = m;
			continue;
		}
		m->dirty = m->urgent = false;
		m->unsent = 0;
		if (m->link.phase != KN_LINK_CLOSED)
			kn_link_flush(&m->link);
	}
	a->dirty = later;
	if (e->loop->now_ns >= a->gather_ns)
		a->gather_ns = e->loop->now_ns + GATHER_NS;
	if (later != NULL && a->gather_ns < *next_ns)
		*next_ns = a->gather_ns;
}

/* Jobs that wait: those that are not wanted go back, the others to who has room. */
static void
waiting_tend(struct kn_exec *e)
{
	struct kn_agents *a = e->state;
	bool recalls = a->recalls;

	a->recalls = false;
	if (recalls)
		waiting_recall(e, &a->waiting);
	waiting_place(e, &a->waiting);
	for (size_t i = 0; i < a->how->nhosts && a->how->pin != NULL; i++) {
		struct kn_remote *m = &a->machines[i];

		if (recalls)
			waiting_recall(e, &m->waiting);
		if (a->fleet.hosts[i].state == KN_HOST_GONE)
			waiting_fail(e, m);
		else
			waiting_place(e, &m->waiting);
	}
}

/* ---- tasks that wait while others are idle ------------------------------------------------ */

/* How many more tasks could run at once on machines that have none to begin with. */
static uint64_t
idle_slots(const struct kn_agents *a)
{
	uint64_t n = 0;

	for (size_t i = 0; i < a->how->nhosts; i++) {
		const struct kn_fleet_host *h = &a->fleet.hosts[i];

		if (h->state == KN_HOST_UP && h->out < h->limit)
			n += h->limit - h->out;
	}
	return n;
}

/* Ask for at most so many tasks back that wait there for others to end; how many. Where there is room they wait for
 * nobody: their files are on their way. */
static uint64_t
ask_back(struct kn_exec *e, struct kn_remote *m, uint64_t most)
{
	struct kn_agents *a = e->state;
	uint64_t n = 0;

	if (m->running < a->fleet.hosts[m->index].limit)
		return 0;
	for (struct kn_errand *r = m->errands; r != NULL && n < most; r = r->next) {
		if (r->began || r->asked || r->job->killed || e->loop->now_ns - r->since_ns < IDLE_EVERY_NS)
			continue;
		r->asked = true;
		kn_agent_signal(e, r, 0);
		n++;
	}
	return n;
}

/* Tasks that a machine has had for a while, and that wait there for others to end, go where there is room. They come
 * back by RETURNED, unless they began meanwhile. */
static void
waiting_move(struct kn_exec *e, int64_t *next_ns)
{
	struct kn_agents *a = e->state;
	int64_t now_ns = e->loop->now_ns;
	uint64_t slots;

	if (a->how->pin != NULL || a->fleet.up < 2 || a->fleet.out == 0)
		return;
	if (now_ns >= a->idle_ns) {
		a->idle_ns = now_ns + IDLE_EVERY_NS;
		/* While there are new ones they go there by themselves. */
		slots = now_ns - a->started_ns < IDLE_EVERY_NS || a->waiting.len > 0 ? 0 : idle_slots(a);
		for (size_t i = 0; i < a->how->nhosts && slots > 0; i++)
			slots -= ask_back(e, &a->machines[i], slots);
	}
	if (a->idle_ns < *next_ns)
		*next_ns = a->idle_ns;
}

/* ---- copies of slow tasks ---------------------------------------------------------------- */

/* What is being ended, or stands still, is not begun anew elsewhere. */
static bool
may_copy(const struct kn_errand *r)
{
	const struct kn_job *j = r->job;

	return r->began && j->twin == NULL && !j->alone && j->pin == KN_FLEET_ANY &&
	    j->task->state == KN_RUNNING && j->task->suspended_ns == 0;
}

/* The task that runs longest of those that may have a copy; NULL: none runs long. */
static struct kn_errand *
slowest(const struct kn_exec *e)
{
	const struct kn_agents *a = e->state;
	double long_ns =
	    a->runtime_ns * COPY_LONG > COPY_LEAST_NS ? a->runtime_ns * COPY_LONG : COPY_LEAST_NS;
	struct kn_errand *found = NULL;

	for (size_t i = 0; i < a->how->nhosts; i++)
		for (struct kn_errand *r = a->machines[i].errands; r != NULL; r = r->next)
			if (may_copy(r) && (double)(e->loop->now_ns - r->since_ns) > long_ns &&
			    (found == NULL || r->since_ns < found->since_ns))
				found = r;
	return found;
}

/* 1: a copy of r's task was sent; 0: nobody else has room; or -errno. */
static int
copy_send(struct kn_exec *e, struct kn_errand *r)
{
	struct kn_agents *a = e->state;
	uint32_t h = kn_fleet_pick(&a->fleet, KN_FLEET_ANY, r->host);
	struct kn_errand *twin;
	int err;

	if (h == KN_FLEET_ANY || h == r->host)
		return 0;
	twin = calloc(1, sizeof(*twin));
	if (twin == NULL)
		return -ENOMEM;
	twin->job = r->job;
	err = kn_agent_send(e, &a->machines[h], twin);
	if (err < 0) {
		free(twin);
		return err;
	}
	r->job->twin = twin;
	kn_remote_note(&a->machines[h], r->job->task, "runs here too: it takes long on %s",
	    a->machines[r->host].spec->name);
	return 1;
}

/* Nothing new has come for a while, and there is room: the end of the input, most likely. */
static void
copies_make(struct kn_exec *e, int64_t *next_ns)
{
	struct kn_agents *a = e->state;
	struct kn_errand *r;

	if (!a->how->speculate || a->fleet.out == 0)
		return;
	if (e->loop->now_ns >= a->copies_ns) {
		a->copies_ns = e->loop->now_ns + COPY_EVERY_NS;
		if (a->started_ns + COPY_AFTER_NS <= e->loop->now_ns && a->waiting.len == 0)
			while (
			    a->fleet.out < a->fleet.want && (r = slowest(e)) != NULL && copy_send(e, r) > 0)
				;
	}
	if (a->copies_ns < *next_ns)
		*next_ns = a->copies_ns;
}

static int
agent_tick(struct kn_exec *e, int64_t *next_ns)
{
	struct kn_agents *a = e->state;
	int err;

	links_pause(e);
	silence_look(e);
	err = machines_due(e, next_ns);
	if (err < 0)
		return err;
	killed_give_up(e);
	links_look(a);
	waiting_tend(e);
	waiting_move(e, next_ns);
	copies_make(e, next_ns);
	for (const struct kn_job *j = a->killed; j != NULL; j = j->next_killed)
		if (j->given_up_ns < *next_ns)
			*next_ns = j->given_up_ns;
	capacity_tell(e);
	kn_agent_files_tick(e, next_ns);
	links_flush(e, next_ns);
	return 0;
}

/* ---- tasks ------------------------------------------------------------------------------ */

static int
agent_start(struct kn_exec *e, struct kn_task *t)
{
	struct kn_agents *a = e->state;
	struct kn_job *j = job_of(t);
	size_t pin;
	int n;

	if (j->task == NULL) {
		pin = a->how->pin != NULL ? a->how->pin(t->data) : SIZE_MAX;
		j->pin = pin < a->how->nhosts ? (uint32_t)pin : KN_FLEET_ANY;
		j->avoid = KN_FLEET_ANY;
		j->task = t;
		j->errand.job = j;
	}
	a->started_ns = e->loop->now_ns;
	/* Those that wait already go first. */
	(void)waiting_give(e, list_of(a, j));
	n = list_of(a, j)->len == 0 ? job_place(e, j) : 0;
	if (n == 0)
		list_append(list_of(a, j), j);
	return n < 0 ? n : 0;
}

/* So many more than may run are wanted, that machines never wait for the next one. */
static unsigned
agent_limit(struct kn_exec *e, unsigned limit)
{
	const struct kn_agents *a = e->state;
	uint64_t room, want, ahead;

	kn_fleet_room(&a->fleet, &room, &want);
	ahead = want > limit ? want - limit : 0;

	if (a->how->pin != NULL)
		ahead += PINNED_AHEAD;
	return ahead > UINT32_MAX / 2 ? UINT32_MAX / 2 : (unsigned)ahead;
}

static void
agent_signal(struct kn_exec *e, struct kn_task *t, int signal)
{
	struct kn_agents *a = e->state;
	struct kn_job *j = job_of(t);
	bool ends = kn_agent_signal_ends(signal);

	if (j->errand.id == 0) {
		j->recalled = j->recalled || ends;
		a->recalls = a->recalls || ends;
		return;
	}
	kn_agent_signal(e, &j->errand, signal);
	if (j->twin != NULL && j->twin->id != 0)
		kn_agent_signal(e, j->twin, signal);
	if (signal == SIGKILL && !j->killed) {
		j->given_up_ns = e->loop->now_ns + KILLED_NS;
		j->next_killed = a->killed;
		a->killed = j;
		j->killed = true;
	}
}

/* ---- the beginning and the end ------------------------------------------------------------ */

static int
agents_init(struct kn_exec *e, struct kn_agents *a)
{
	const struct knee_machines *how = e->options->machines;
	const struct kn_fleet_rules rules = {
		.timeout_ns = how->timeout_ns > 0 ? how->timeout_ns : TIMEOUT_NS,
		.connect_ns = how->connect_ns > 0 ? how->connect_ns : CONNECT_NS,
		.connect_most = how->connect_most > 0 ? how->connect_most : CONNECT_MOST,
		.tries = TRIES,
		.pinned = how->pin != NULL,
	};
	int err;

	a->how = how;
	a->tick_ns = e->loop->now_ns;
	a->slots = kn_template_uses_slot(e->options->command) || e->options->slot_var != NULL;
	a->free_id = UINT32_MAX;
	a->machines = calloc(how->nhosts, sizeof(*a->machines));
	if (a->machines == NULL)
		return -ENOMEM;
	err = kn_spawner_init(&a->spawner);
	if (err < 0)
		goto machines;
	kn_spawner_raise_files(&a->spawner);
	err = kn_fleet_init(
	    &a->fleet, (uint32_t)how->nhosts, &rules, (uint64_t)e->loop->now_ns ^ (uint64_t)getpid() << 32);
	if (err < 0)
		goto spawner;
	/* Where nobody can connect to, frames go the way that there is. */
	if (how->dial)
		(void)kn_dial_listen(e->loop, (uint32_t)how->nhosts, dialled, e, &a->dial);
	for (size_t i = 0; i < how->nhosts; i++) {
		struct kn_remote *m = &a->machines[i];

		m->exec = e;
		m->spec = &how->hosts[i];
		m->index = (uint32_t)i;
		m->courier.hold = true;
		kn_link_init(&m->link, &link_host, e->loop);
	}
	return 0;
spawner:
	kn_spawner_done(&a->spawner);
machines:
	free(a->machines);
	return err;
}

static int
agent_open(struct kn_exec *e)
{
	struct kn_agents *a = calloc(1, sizeof(*a));
	int err;

	if (a == NULL)
		return -ENOMEM;
	err = agents_init(e, a);
	if (err < 0) {
		free(a);
		return err;
	}
	e->state = a;
	return 0;
}

/* Ask all that are up to end, and give them a moment, so that they can clear up there. */
static void
goodbye(struct kn_exec *e)
{
	struct kn_agents *a = e->state;
	int64_t until_ns = e->loop->now_ns + BYE_NS;
	bool any = true;

	a->closing = true;
	links_pause(e);
	for (size_t i = 0; i < a->how->nhosts; i++) {
		struct kn_remote *m = &a->machines[i];

		if (m->stage != KN_REMOTE_UP || kn_frame_empty(&m->link.sending, KN_FRAME_CLOSE) < 0)
			kn_link_close(&m->link, SIGKILL);
		else
			kn_link_flush(&m->link);
	}
	while (any && e->loop->now_ns < until_ns) {
		any = false;
		for (size_t i = 0; i < a->how->nhosts; i++)
			any = any || kn_link_busy(&a->machines[i].link);
		if (any && kn_loop_wait(e->loop, until_ns) < 0)
			break;
	}
}

static void
agent_close(struct kn_exec *e)
{
	struct kn_agents *a = e->state;

	e->paused = false;
	goodbye(e);
	for (size_t i = 0; i < a->how->nhosts; i++) {
		kn_link_done(&a->machines[i].link);
		kn_agent_files_lost(&a->machines[i]);
		kn_buf_done(&a->machines[i].words);
	}
	kn_dial_free(a->dial);
	kn_fleet_done(&a->fleet);
	kn_program_done(&a->program);
	kn_spawner_done(&a->spawner);
	kn_buf_done(&a->payload);
	free(a->ids);
	free(a->machines);
	free(a);
}

int
kn_agent_host(const struct kn_exec *e, size_t i, struct knee_host_stats *ret)
{
	static const enum knee_host_state states[] = {
		[KN_HOST_IDLE] = KNEE_HOST_DOWN,
		[KN_HOST_CONNECTING] = KNEE_HOST_DOWN,
		[KN_HOST_UP] = KNEE_HOST_UP,
		[KN_HOST_WAITING] = KNEE_HOST_DOWN,
		[KN_HOST_ASIDE] = KNEE_HOST_ASIDE,
		[KN_HOST_GONE] = KNEE_HOST_GONE,
	};
	const struct kn_agents *a = e->state;
	const struct kn_remote *m;
	const struct kn_fleet_host *h;

	if (i >= a->how->nhosts)
		return 0;
	m = &a->machines[i];
	h = &a->fleet.hosts[i];
	*ret = (struct knee_host_stats){
		.name = m->spec->name,
		.state = states[h->state],
		.limit = h->limit,
		.running = m->running,
		.peak = m->peak,
		.done = h->done,
		.failed = h->failed,
		.lost = m->lost_tasks,
	};
	(void)snprintf(ret->why, sizeof(ret->why), "%s", m->why);
	return 1;
}

const struct kn_exec_ops kn_exec_agent = {
	.task_bytes = sizeof(struct kn_job),
	.fds_per_task = 1,
	.open = agent_open,
	.start = agent_start,
	.limit = agent_limit,
	.signal = agent_signal,
	.tick = agent_tick,
	.close = agent_close,
};
