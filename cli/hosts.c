/* SPDX-License-Identifier: MIT */
/*
 * knee hosts: how the machines of a network are, all at once.
 *
 *	knee hosts [OPTION]... NODESET...
 *
 * A task of the engine for each machine: a command that prints samples (hosts_list.c). What is decided here
 * is when each of them is started, and when it was silent for too long.
 *
 * To make a connection takes processor time at this end, so only some are made at once. But a machine
 * that does not answer costs none, and does not count any more after a second: those behind it must not
 * wait for its time-out. Time in which this program itself stood still is nobody's silence.
 *
 * With --watch the connections stay, each machine says how it is every so often, and one that was lost
 * is tried again, later each time.
 */
#include "hosts.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "hosts_parts.h"
#include "keeper.h"
#include "reader_gone.h"
#include "signals.h"
#include "terminal.h"
#include "writer.h"

#define MESSAGE_BYTES 1024
#define MS ((int64_t)1000000)
#define SECOND (1000 * MS)

/* A connection that takes longer than this waits for something else than a processor. */
#define FRESH_NS SECOND
/* The script says something once a second. */
#define HEARTBEAT_NS SECOND
/* Later than this a tick was held up, not merely late. */
#define LATE_NS (500 * MS)
/* On a terminal the first picture comes so soon. */
#define FIRST_NS (500 * MS)
#define RETRY_MAX_S 32

extern char **environ;

struct survey {
	struct hosts_options o;
	struct hosts_list list;
	struct knee_template *command;
	struct signals signals;
	knee *knee;
	unsigned jobs;
	size_t next; /* the first one that waits for its turn */
	int64_t begin_ns;
	int64_t due_ns; /* when the next tick was asked for; 0: none was */
	int reader_fd;
	struct writer w; /* of --watch */
	bool screen;     /* draw over what is there */
	unsigned cols, rows;
	int64_t drawn_ns; /* 0: not yet */
	int error;        /* -errno that ended the run */
};

static int64_t
sooner(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void
stop(struct survey *m, int error)
{
	if (m->error == 0)
		m->error = error;
	knee_stop(m->knee, KNEE_STOP_NOW);
}

static bool
is_stopped(const struct survey *m)
{
	return m->signals.interrupted || m->signals.hung_up || m->error < 0;
}

/* ---- what machines say ------------------------------------------------------------ */

static void
host_output(struct survey *m, struct hosts_host *h, const struct knee_event *e)
{
	unsigned wanted = m->o.interval_ns > 0 ? 2 : 1;

	if (e->stream == KNEE_STDERR) {
		hosts_host_said(h, e->data, e->size);
		return;
	}
	h->heard_ns = clock_ns(CLOCK_MONOTONIC);
	if (hosts_answer_put(&h->answer, e->data, e->size) == 0 || h->ending)
		return;
	/* A place is free, or the first picture can be drawn. */
	if (h->state != HOSTS_UP)
		knee_wake(m->knee);
	if (h->answer.samples < wanted) {
		h->state = HOSTS_ANSWERING;
	} else {
		h->state = HOSTS_UP;
		h->failures = 0;
	}
}

/* Its command has ended. */
static void
host_end(struct survey *m, struct hosts_host *h, const struct knee_result *r)
{
	bool tell = !h->ending && (m->o.watch || h->state != HOSTS_UP);

	/* When all of them are ended, that says nothing about them. */
	if (is_stopped(m))
		return;
	h->running = h->ending = false;
	if (tell) {
		h->state = HOSTS_DOWN;
		hosts_error_shorten(h->text, r->status, h->error, sizeof(h->error));
		/* ssh's own time-out, which the user knows as ours. */
		if (strcmp(h->error, "Connection timed out") == 0 && h->answer.samples == 0)
			(void)snprintf(
			    h->error, sizeof(h->error), "no answer in %g s", (double)m->o.timeout_ns / 1e9);
	}
	h->retry_ns =
	    clock_ns(CLOCK_MONOTONIC) + SECOND * (h->failures < 5 ? INT64_C(1) << h->failures : RETRY_MAX_S);
	h->failures++;
	knee_wake(m->knee);
}

static int
text_event(void *self, const struct knee_event *e)
{
	if (e->kind == KNEE_EVENT_OUTPUT)
		host_output(self, e->input_data, e);
	return 0;
}

/* A result comes when all output has come, for no order holds that back. */
static int
live_event(void *self, const struct knee_event *e)
{
	struct hosts_host *h = e->input_data;

	if (e->kind == KNEE_EVENT_START) {
		h->seq = e->seq;
		h->begin_ns = clock_ns(CLOCK_MONOTONIC);
	} else if (e->kind == KNEE_EVENT_RESULT) {
		host_end(self, h, e->result);
	}
	return 0;
}

/* ---- starts and ends ----------------------------------------------------------------- */

static int
host_start(struct survey *m, struct hosts_host *h, int64_t now_ns, int64_t *next_ns)
{
	const char *const args[] = { h->command };
	const struct knee_input input = { .args = args, .nargs = 1, .data = h };

	hosts_answer_reset(&h->answer);
	h->text[0] = '\0';
	h->seq = 0;
	h->begin_ns = now_ns;
	h->running = true;
	/* One that was lost stays so until it answers. */
	if (h->state == HOSTS_WAITING)
		h->state = HOSTS_CONNECTING;
	*next_ns = sooner(*next_ns, now_ns + sooner(m->o.timeout_ns, FRESH_NS));
	return knee_submit(m->knee, &input);
}

/* Silent for too long. */
static void
host_lose(struct survey *m, struct hosts_host *h)
{
	h->ending = true;
	(void)knee_task_signal(m->knee, h->seq, SIGKILL);
	/* All that was wanted is there: it was merely slow to end. */
	if (h->state == HOSTS_UP && !m->o.watch)
		return;
	(void)snprintf(h->error, sizeof(h->error),
	    h->answer.samples == 0 ? "no answer in %g s" : "silent for %g s", (double)m->o.timeout_ns / 1e9);
	h->state = HOSTS_DOWN;
}

/* When it has been silent for too long; INT64_MAX: it is not running. */
static int64_t
deadline(const struct survey *m, const struct hosts_host *h)
{
	if (!h->running || h->ending)
		return INT64_MAX;
	if (h->answer.samples == 0)
		return h->begin_ns + m->o.timeout_ns;
	return h->heard_ns + m->o.timeout_ns + HEARTBEAT_NS;
}

/* Does its connection take a place? Until when, if so. */
static bool
is_fresh(const struct survey *m, const struct hosts_host *h, int64_t now_ns, int64_t *until_ns)
{
	if (!h->running || h->answer.samples > 0)
		return false;
	*until_ns = m->o.jobs > 0 ? INT64_MAX : h->begin_ns + FRESH_NS;
	return *until_ns > now_ns;
}

/* Look at all machines: end those that are silent, start others. When to look again. */
static int64_t
survey_look(struct survey *m, int64_t now_ns)
{
	int64_t next_ns = INT64_MAX, fresh_ns = INT64_MAX;
	unsigned fresh = 0;
	int err = 0;

	for (size_t i = 0; i < m->next; i++) {
		struct hosts_host *h = &m->list.hosts[i];
		int64_t until_ns;

		/* One that the engine could not start yet (for want of descriptors) has time. */
		if (h->running && h->seq == 0)
			h->begin_ns = now_ns;
		if (deadline(m, h) <= now_ns)
			host_lose(m, h);
		next_ns = sooner(next_ns, deadline(m, h));
		if (is_fresh(m, h, now_ns, &until_ns)) {
			fresh++;
			fresh_ns = sooner(fresh_ns, until_ns);
		}
	}
	for (size_t i = 0; m->o.watch && i < m->next && err == 0; i++) {
		struct hosts_host *h = &m->list.hosts[i];

		if (h->running)
			continue;
		if (h->retry_ns > now_ns || fresh >= m->jobs) {
			next_ns = sooner(next_ns, h->retry_ns > now_ns ? h->retry_ns : fresh_ns);
			continue;
		}
		err = host_start(m, h, now_ns, &next_ns);
		fresh++;
	}
	while (err == 0 && m->next < m->list.n && fresh < m->jobs) {
		err = host_start(m, &m->list.hosts[m->next++], now_ns, &next_ns);
		fresh++;
		if (err == 0 && m->next == m->list.n && !m->o.watch)
			err = knee_submit(m->knee, NULL);
	}
	if (err < 0)
		stop(m, err);
	return m->next < m->list.n ? sooner(next_ns, fresh_ns) : next_ns;
}

/* ---- pictures -------------------------------------------------------------------------- */

static struct hosts_view
view_make(const struct survey *m, bool tty)
{
	const char *color = getenv("NO_COLOR"), *term = getenv("TERM");
	bool able = tty && term != NULL && strcmp(term, "dumb") != 0;

	return (struct hosts_view){
		.list = &m->list,
		.options = &m->o,
		.cols = tty ? terminal_cols(STDOUT_FILENO) : 0,
		.rows = tty ? terminal_rows(STDOUT_FILENO) : 0,
		.color = able && (color == NULL || *color == '\0'),
		.utf8 = terminal_utf8(),
		.redraw = m->screen,
		.time_ns = clock_ns(CLOCK_REALTIME),
		.head = m->drawn_ns == 0,
	};
}

/* The picture of this moment, malloc'd in *ret. */
static int
picture_make(const struct hosts_view *view, char **ret, size_t *size)
{
	FILE *out = open_memstream(ret, size);
	int err;

	if (out == NULL)
		return -errno;
	err = hosts_print(view, out);
	if (fclose(out) != 0 && err == 0)
		err = -ENOMEM;
	return err;
}

static bool
all_known(const struct survey *m)
{
	for (size_t i = 0; i < m->list.n; i++)
		if (m->list.hosts[i].state < HOSTS_UP)
			return false;
	return true;
}

static int
picture_put(struct survey *m, int64_t now_ns)
{
	struct hosts_view view = view_make(m, m->w.tty);
	char *text = NULL;
	size_t size = 0;
	int err = picture_make(&view, &text, &size);

	m->cols = view.cols;
	m->rows = view.rows;
	/* Tables below each other stand apart. */
	if (err == 0 && m->o.format == HOSTS_TABLE && !m->screen && m->drawn_ns != 0)
		err = writer_put(&m->w, "\n", 1);
	if (err == 0 && m->screen && m->drawn_ns == 0)
		err = writer_put(&m->w, "\033[H\033[J", 6);
	if (err == 0)
		err = writer_put(&m->w, text, size);
	if (err == 0)
		err = writer_flush(&m->w);
	m->drawn_ns = now_ns;
	free(text);
	return err == -EAGAIN ? 0 : err;
}

/* --watch: a picture when it is due. A reader that is slow costs pictures, not time. When the next one is. */
static int64_t
watch(struct survey *m, int64_t now_ns)
{
	int64_t due_ns = m->drawn_ns + m->o.interval_ns;
	bool resized = m->screen && m->drawn_ns != 0 &&
	    (terminal_cols(STDOUT_FILENO) != m->cols || terminal_rows(STDOUT_FILENO) != m->rows);
	int err;

	if (m->drawn_ns == 0)
		due_ns =
		    m->begin_ns + (m->screen ? FIRST_NS : m->o.timeout_ns + m->o.interval_ns + HEARTBEAT_NS);
	if (now_ns < due_ns && !resized && !(m->drawn_ns == 0 && !m->screen && all_known(m)))
		return due_ns;
	err = writer_flush(&m->w);
	if (err == -EAGAIN)
		return now_ns + 100 * MS;
	if (err == 0)
		err = picture_put(m, now_ns);
	if (err < 0)
		stop(m, err);
	return now_ns + m->o.interval_ns;
}

/* ---- the run ------------------------------------------------------------------------------- */

/* Held up for so long: nobody was silent meanwhile, it was we who did not listen. */
static void
time_forgive(struct survey *m, int64_t ns)
{
	for (size_t i = 0; i < m->next; i++) {
		m->list.hosts[i].begin_ns += ns;
		m->list.hosts[i].heard_ns += ns;
	}
}

static int64_t
live_tick(void *self, const struct knee_stats *stats, int64_t now_ns)
{
	struct survey *m = self;
	int64_t next_ns;

	(void)stats;
	if (is_stopped(m))
		return INT64_MAX;
	if (m->begin_ns == 0)
		m->begin_ns = now_ns;
	if (m->due_ns != 0 && now_ns > m->due_ns + LATE_NS)
		time_forgive(m, now_ns - m->due_ns);
	next_ns = survey_look(m, now_ns);
	if (m->o.watch && m->error == 0)
		next_ns = sooner(next_ns, watch(m, now_ns));
	m->due_ns = next_ns < INT64_MAX ? next_ns : 0;
	return next_ns;
}

static int
survey_make(struct survey *m)
{
	static const char *const word = "{}";
	const struct knee_template_options code = { .flags = KNEE_TEMPLATE_CODE };
	char message[MESSAGE_BYTES] = "";
	unsigned cores = knee_cores();
	int err = knee_template_new(&word, 1, &code, &m->command, message, sizeof(message));

	if (err < 0)
		return say_error(-err, "%s", strerror(-err));
	m->jobs = m->o.jobs > 0 ? m->o.jobs : cores <= 2 ? 16 : cores >= 8 ? 64 : 8 * cores;
	if (m->o.watch) {
		const char *term = getenv("TERM");

		writer_init(&m->w, STDOUT_FILENO);
		m->screen = m->w.tty && m->o.format == HOSTS_TABLE && term != NULL && *term != '\0' &&
		    strcmp(term, "dumb") != 0;
	}
	return 0;
}

static int
survey_run(struct survey *m)
{
	const struct knee_sink sinks[] = {
		{ .self = m, .event = live_event, .tick = live_tick },
		{ .self = m, .text = 1, .event = text_event },
	};
	const struct knee_options k = {
		.command = m->command,
		.sinks = sinks,
		.nsinks = 2,
		.order = KNEE_ORDER_PIECES,
		.limit = UINT_MAX,
		.environ_base = (const char *const *)environ,
		.first_stdin = -1,
	};
	char message[MESSAGE_BYTES] = "";
	int err = knee_new(&k, &m->knee, message, sizeof(message));

	if (err < 0)
		return say_error(-err, "%s", message);
	err = signals_start(&m->signals, m->knee, NULL);
	m->signals.plain = true;
	if (err == 0)
		err = reader_gone_watch(m->knee, &m->reader_fd);
	if (err < 0) {
		(void)say_error(-err, "signals: %s", strerror(-err));
		goto free_knee;
	}
	err = knee_run(m->knee);
	if (err == 0)
		err = m->error;
	if (err < 0 && err != -EPIPE)
		(void)say_error(-err, "%s", knee_error(m->knee)[0] ? knee_error(m->knee) : strerror(-err));

free_knee:
	knee_free(m->knee);
	m->knee = NULL;
	return err;
}

static int
survey_print(const struct survey *m)
{
	struct hosts_view view = view_make(m, isatty(STDOUT_FILENO));
	char *text = NULL;
	size_t size = 0;
	int err = picture_make(&view, &text, &size);

	if (err < 0) {
		(void)say_error(-err, "%s", strerror(-err));
	} else if (fwrite(text, 1, size, stdout) < size || fflush(stdout) != 0) {
		err = -errno;
		if (err != -EPIPE)
			(void)say_error(-err, "standard output: %s", strerror(-err));
	}
	free(text);
	return err;
}

static int
survey_status(const struct survey *m)
{
	int down = 0;

	for (size_t i = 0; i < m->list.n; i++)
		down += down < 101 && m->list.hosts[i].state != HOSTS_UP;
	return down;
}

static void
survey_free(struct survey *m)
{
	if (m->reader_fd >= 0)
		close(m->reader_fd);
	signals_done(&m->signals);
	if (m->o.watch)
		writer_done(&m->w);
	knee_template_free(m->command);
	hosts_list_done(&m->list);
	hosts_options_done(&m->o);
}

/* Ask, and print. The exit status; *gone: nobody reads it. */
static int
survey_ask(struct survey *m, bool *gone)
{
	sigset_t before;
	int err;

	sigemptyset(&before);
	(void)sigprocmask(SIG_BLOCK, NULL, &before);
	err = survey_make(m);
	if (err == 0)
		err = survey_run(m);
	/* Who watches ends by a signal: that is no trouble. */
	if (err == 0 && (m->signals.interrupted || m->signals.hung_up) &&
	    !(m->o.watch && m->signals.last_int_ns != 0))
		err = -EINTR;
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	if (err == 0 && !m->o.watch)
		err = survey_print(m);
	*gone = err == -EPIPE;
	return err < 0 ? EXIT_TROUBLE : survey_status(m);
}

int
hosts_main(int argc, char **argv)
{
	struct survey m = { .signals.fd = -1, .reader_fd = -1 };
	bool alone, gone = false;
	int err, status;

	if (hosts_options_parse(&m.o, argc - 1, argv + 1) < 0)
		return EXIT_TROUBLE;
	if (m.o.help) {
		hosts_help(stdout);
		hosts_options_done(&m.o);
		return fflush(stdout) != 0 ? EXIT_TROUBLE : 0;
	}
	if (hosts_list_make(&m.o, &m.list) < 0) {
		hosts_options_done(&m.o);
		return EXIT_TROUBLE;
	}
	err = keeper_start(NULL);
	if (err < 0) {
		say("cannot start: %s", strerror(-err));
		hosts_list_done(&m.list);
		hosts_options_done(&m.o);
		return EXIT_TROUBLE;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	status = survey_ask(&m, &gone);
	alone = m.signals.keeper_died;
	survey_free(&m);
	if (alone)
		keeper_sweep_alone();
	if (gone)
		reader_gone_die();
	return status;
}
