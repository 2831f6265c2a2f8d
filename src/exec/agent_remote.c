/* SPDX-License-Identifier: MIT */
/* Machines: connecting to them, what their connections tell, and losing them. */
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
/* A way that carries less in a second is too slow to send the program. */
#define SLOW_BYTES 32768
/* Lines that were said before it was up. */
#define WORDS_BYTES 4000
/* A task that so many machines were lost with is believed to be the reason. */
#define LOSSES_MOST 5

static struct kn_remote *
machine_of(struct kn_link *l)
{
	return (struct kn_remote *)(void *)l;
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

/* Errors of ssh and its like that time does not mend. A name server that cannot be asked is not one of them. */
static bool
hopeless(const char *why)
{
	static const char *const texts[] = { "Permission denied", "Host key verification failed",
		"Could not resolve", "ommand not found", "No such file", "Bad configuration",
		"Unknown option", "illegal option", "Invalid node name", "nvalid job id" };

	if (strstr(why, "Temporary failure") != NULL)
		return false;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (strstr(why, texts[i]) != NULL)
			return true;
	return false;
}

void
kn_remote_close(struct kn_remote *m)
{
	kn_link_close(&m->link, m->spec->here ? SIGQUIT : SIGKILL);
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

/* What becomes of the tasks of a machine that is lost: those that name their machine run nowhere else. */
static const char *
errands_next(const struct kn_agents *a, const struct kn_remote *m, bool one)
{
	if (a->how->pin == NULL)
		return one ? "runs again" : "run again";
	if (a->fleet.hosts[m->index].state == KN_HOST_GONE)
		return one ? "fails" : "fail";
	return one ? "waits for it" : "wait for it";
}

void
kn_remote_lost(struct kn_remote *m, const char *why, bool for_good)
{
	struct kn_exec *e = m->exec;
	struct kn_agents *a = e->state;
	bool up = m->stage >= KN_REMOTE_UP;
	uint64_t tasks = 0;

	/* Its agent hears the end of its input, or that nobody speaks any more. */
	kn_remote_close(m);
	while (m->errands.first != NULL) {
		tasks++;
		errand_lost(m, kn_errand_at(m->errands.first));
	}
	kn_agent_files_lost(m);
	m->lost_tasks += tasks;
	m->stage = KN_REMOTE_GREETING;
	if (a->closing)
		return;
	for_good = for_good || (!m->was_up && hopeless(why));
	kn_fleet_lost(&a->fleet, m->index, for_good, e->loop->now_ns);
	(void)snprintf(m->why, sizeof(m->why), "%s", why);
	if (up && tasks > 0)
		kn_remote_note(m, NULL, "lost: %s; its %llu task%s %s", why, (unsigned long long)tasks,
		    tasks == 1 ? "" : "s", errands_next(a, m, tasks == 1));
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

static int
open_put(struct kn_remote *m)
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
		.dir = m->spec->here ? NULL : how->dir,
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
		.load = how->load,
		.timeout_ns = (uint64_t)a->fleet.rules.timeout_ns,
	};
	struct kn_buf *to = &m->link.sending;
	size_t at = 0;
	int err = kn_buf_adds(to, "knee-coordinator ");

	if (err == 0)
		err = kn_buf_addu(to, KN_FRAME_PROTOCOL);
	if (err == 0)
		err = kn_buf_adds(to, " " KNEE_VERSION "\n");

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
	err = open_put(m);
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
		    "it is a %s machine, and the program to send is for %s: install knee there", machine,
		    here.machine);
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
void
kn_remote_dialled(void *self, uint32_t host, int fd)
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

const struct kn_link_host kn_remote_link = {
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

/* Is it OpenSSH that leads there? */
static bool
by_ssh(const struct kn_remote *m)
{
	const char *program = m->spec->argv[0], *slash = strrchr(program, '/');

	return strcmp(slash != NULL ? slash + 1 : program, "ssh") == 0;
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
	(void)snprintf(why, sizeof(why), "cannot start %s: %s%s", m->spec->argv[0], strerror(-err),
	    err == -ENOENT && !by_ssh(m) ? ": is it a command that logs in? Commas separate machines" : "");
	kn_remote_lost(m, why, err == -ENOENT || err == -EACCES);
}

/* None was ever reached, though ssh leads to some. */
static bool
none_met(const struct kn_agents *a)
{
	bool some = false;

	for (size_t i = 0; i < a->how->nhosts; i++) {
		if (a->machines[i].was_up)
			return false;
		some = some || by_ssh(&a->machines[i]);
	}
	return some;
}

/* What has its result needs no machine any more; and what only waits to be printed shall be. */
int
kn_remotes_gone(struct kn_exec *e)
{
	struct kn_agents *a = e->state;

	if (!a->gone || a->waiting.len == 0)
		return 0;
	a->gone = false;
	(void)snprintf(e->error, sizeof(e->error), "no machine is left to run tasks on%s",
	    none_met(a) ? ": 'ssh HOST true' has to work there without a question" : "");
	return -EHOSTUNREACH;
}

void
kn_remotes_due(struct kn_exec *e, int64_t *next_ns)
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
			    (double)(a->fleet.hosts[h].at_ns - a->fleet.hosts[h].begun_ns) /
				(double)SECOND_NS);
			kn_remote_lost(m, why, false);
			if (a->fleet.hosts[h].state != KN_HOST_GONE)
				kn_remote_note(m, NULL, "%s; it is tried again", why);
			break;
		case KN_FLEET_SILENT:
			(void)snprintf(why, sizeof(why), "nothing was heard of it for %.1f s",
			    (double)a->fleet.rules.timeout_ns / (double)SECOND_NS);
			kn_remote_lost(m, why, false);
			break;
		case KN_FLEET_NO_CREDIT:
			(void)snprintf(why, sizeof(why),
			    "its agent did not say in %.1f s how many tasks it takes",
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
			/* Tasks that name their machine fail, each for itself. */
			a->gone = a->how->pin == NULL;
			break;
		case KN_FLEET_NOTHING:
			break;
		}
	}
}
