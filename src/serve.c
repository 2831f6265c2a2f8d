/* SPDX-License-Identifier: MIT */
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "sys/clock.h"
#include "sys/dial.h"
#include "sys/fd.h"
#include "sys/machine.h"

#define MS ((int64_t)1000000)
#define SECOND_NS ((int64_t)1000000000)

/* How long a coordinator may take to say what it wants. */
#define OPEN_NS (60 * SECOND_NS)
/* How long connecting back may take: nothing else is heard meanwhile. */
#define DIAL_NS (5 * SECOND_NS)
/* How long what is said last may take when the coordinator does not read: a broken one, so a moment. */
#define LAST_NS (2 * SECOND_NS)
/* How long an agent that leaves waits for KEPT, whatever else it hears. */
#define KEPT_NS (10 * SECOND_NS)

int
kn_serve_fail(struct kn_serve *s, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (s->error[0] == '\0')
		(void)vsnprintf(s->error, sizeof(s->error), format, args);
	va_end(args);
	return err;
}

/* ---- the table of tasks ----------------------------------------------------------- */

static size_t
bucket(uint64_t id)
{
	return (size_t)(id * 0x9e3779b97f4a7c15 >> 52) % KN_SERVE_BUCKETS;
}

struct kn_serve_task *
kn_serve_find(const struct kn_serve *s, uint64_t id)
{
	struct kn_serve_task *t = s->buckets[bucket(id)];

	while (t != NULL && t->id != id)
		t = t->next;
	return t;
}

void
kn_serve_add(struct kn_serve *s, struct kn_serve_task *t)
{
	struct kn_serve_task **at = &s->buckets[bucket(t->id)];

	t->next = *at;
	*at = t;
	s->ntasks++;
	s->bytes += t->size;
}

void
kn_serve_task_free(struct kn_serve_task *t)
{
	free(t->returns);
	free(t->clean);
	free(t->bytes);
	free(t);
}

void
kn_serve_forget(struct kn_serve *s, struct kn_serve_task *t)
{
	struct kn_serve_task **at = &s->buckets[bucket(t->id)];

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	s->ntasks--;
	s->bytes -= t->size;
	kn_serve_task_free(t);
}

/* ---- while there is no engine ------------------------------------------------------ */

/* Wait until something comes (POLLIN) or may be written (POLLOUT), or the program is told to end. 0, -ETIMEDOUT,
 * -EINTR: that. */
static int
wait_for(struct kn_serve *s, int64_t until_ns, int events)
{
	const struct knee_agent_options *o = s->o;
	struct pollfd p[3] = { { .fd = (events & POLLIN) != 0 ? s->in : -1, .events = POLLIN },
		{ .fd = o->stop_fd, .events = POLLIN },
		{ .fd = (events & POLLOUT) != 0 ? s->out : -1, .events = POLLOUT } };
	int64_t left_ns = until_ns - kn_clock_ns();
	int n = left_ns > 0 ? poll(p, 3, (int)(left_ns / MS) + 1) : 0;

	if (n < 0 && errno != EINTR)
		return -errno;
	if (n == 0)
		return -ETIMEDOUT;
	if (n > 0 && p[1].revents != 0) {
		int how = o->stop(o->stop_self, o->stop_fd);

		/* Who is leaving does what it is told already. */
		if (how == KNEE_STOP_KILL || (how >= 0 && !s->leaving))
			return -EINTR;
	}
	return 0;
}

/* Write all of it; what comes meanwhile lies where it is. */
static int
write_all(struct kn_serve *s, int64_t until_ns)
{
	int err = kn_serve_write(s);

	while (err == 0 && s->sent < s->send.len) {
		err = wait_for(s, until_ns, POLLOUT);
		if (err == -EINTR)
			err = 0;
		if (err == 0)
			err = kn_serve_write(s);
	}
	return err;
}

/* When the run is over: wait until something comes, or some of what is left may be written. What comes proves that
 * somebody is there, and for one that leaves in good order files may depend on it. */
static int
rest_turn(struct kn_serve *s, int64_t patience_ns)
{
	struct pollfd p = { .fd = s->in, .events = POLLIN };
	bool writing = s->sent < s->send.len;
	int err = wait_for(s, s->heard_ns + patience_ns, writing ? POLLIN | POLLOUT : POLLIN);

	if (err == 0)
		err = kn_serve_write(s);
	/* Who has heard all may be gone. */
	if (err < 0 || (writing && s->sent == s->send.len) || poll(&p, 1, 0) <= 0)
		return err;
	err = kn_serve_read(s);
	if (err <= 0)
		return err;
	s->heard_ns = kn_clock_ns();
	if (s->leaving)
		return kn_serve_frames(s);
	s->got.len = 0;
	return 0;
}

static int
write_rest(struct kn_serve *s, int64_t patience_ns)
{
	int err = kn_serve_write(s);

	while (err == 0 && s->sent < s->send.len)
		err = rest_turn(s, patience_ns);
	return err;
}

static int
hello_put(struct kn_serve *s)
{
	struct utsname name;
	size_t at;
	int err;

	if (uname(&name) < 0)
		return -errno;
	err = kn_buf_adds(&s->send, "knee-agent ");
	if (err == 0)
		err = kn_buf_addu(&s->send, KN_FRAME_PROTOCOL);
	if (err == 0)
		err = kn_buf_adds(&s->send, " " KNEE_VERSION "\n");
	if (err == 0)
		err = kn_frame_begin(&s->send, KN_FRAME_HELLO, &at);
	if (err == 0)
		err = kn_put_text(&s->send, name.nodename);
	if (err == 0)
		err = kn_put_text(&s->send, name.machine);
	if (err == 0)
		err = kn_put_u32(&s->send, kn_machine_cores());
	if (err == 0)
		err = kn_put_u64(&s->send, kn_machine_memory());
	return err == 0 ? kn_frame_end(&s->send, at) : err;
}

/* Read on, until `done` says 1 or an error. */
static int
read_until(struct kn_serve *s, int64_t until_ns, int (*done)(struct kn_serve *s))
{
	int n = done(s);

	while (n == 0) {
		int err = wait_for(s, until_ns, POLLIN);

		if (err == -ETIMEDOUT)
			return kn_serve_fail(s, err, "the coordinator does not say what it wants");
		if (err == -EINTR)
			return kn_serve_fail(s, -ECANCELED, "told to end");
		if (err < 0)
			return kn_serve_fail(s, err, "%s", strerror(-err));
		n = kn_serve_read(s);
		if (n > 0)
			n = done(s);
	}
	return n < 0 ? n : 0;
}

static int
greeted(struct kn_serve *s)
{
	char version[KN_FRAME_GREETING_MOST];
	unsigned protocol = 0;
	size_t bytes = 0;
	int n = kn_frame_greeting(
	    "knee-coordinator", s->got.data, s->got.len, &protocol, version, sizeof(version), &bytes);

	/* Nobody else writes here: what comes first is the greeting, or the wrong program. */
	if (n < 0 || (n == 0 && (bytes > 0 || s->got.len > KN_FRAME_GREETING_MOST)))
		return kn_serve_fail(s, -EBADMSG, "what speaks here is no coordinator");
	if (n > 0 && protocol != KN_FRAME_PROTOCOL)
		return kn_serve_fail(s, -EPROTO,
		    "this agent is knee %s, which speaks version %d of the protocol, the coordinator is knee "
		    "%s, "
		    "which speaks version %u: the same knee is needed on both machines",
		    KNEE_VERSION, KN_FRAME_PROTOCOL, version, protocol);
	if (n > 0)
		kn_buf_drop(&s->got, bytes);
	return n;
}

static int
opened(struct kn_serve *s)
{
	int err = kn_serve_frames(s);

	return err < 0 ? err : s->opened;
}

/* ---- what OPEN asks for -------------------------------------------------------------- */

/* Make every folder of path that is not there. 0 or -errno. */
static int
folders_make(char *path)
{
	for (char *at = path + 1;; at++) {
		char was = *at;

		if (was != '/' && was != '\0')
			continue;
		*at = '\0';
		if (mkdir(path, 0777) < 0 && errno != EEXIST) {
			int err = -errno;

			*at = was;
			return err;
		}
		*at = was;
		if (was == '\0')
			return 0;
	}
}

static int
folder_enter(struct kn_serve *s)
{
	const char *dir = s->open.dir, *tmpdir = s->o->tmpdir != NULL ? s->o->tmpdir : "/tmp";
	char *path;
	int err = 0;

	if (dir[0] == '\0')
		return 0;
	if (strcmp(dir, "...") == 0) {
		if (asprintf(&path, "%s/knee-XXXXXX", tmpdir) < 0)
			return -ENOMEM;
		if (mkdtemp(path) == NULL) {
			err = kn_serve_fail(
			    s, -errno, "no new folder can be made in %s: %s", tmpdir, strerror(errno));
			free(path);
			return err;
		}
		s->folder = path;
		dir = path;
	} else if (access(dir, F_OK) < 0 && errno == ENOENT) {
		path = strdup(dir);
		if (path == NULL)
			return -ENOMEM;
		err = folders_make(path);
		free(path);
	}
	if (err < 0)
		return kn_serve_fail(s, err, "the folder %s cannot be made: %s", dir, strerror(-err));
	if (chdir(dir) < 0)
		return kn_serve_fail(s, -errno, "the folder %s: %s", dir, strerror(errno));
	return 0;
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st;
	(void)kind;
	(void)where;
	(void)remove(path);
	return 0;
}

static bool
same_name(const char *a, const char *b)
{
	size_t n = strcspn(a, "=");

	return strncmp(a, b, n) == 0 && b[n] == '=';
}

/* The program's environment, but for what the coordinator says, and that. */
static int
environ_make(struct kn_serve *s)
{
	static const char *const names[] = { "PARALLEL_SSHHOST=", "PARALLEL_SSHLOGIN=" };
	const char *const *base = s->o->environ_base;
	const struct kn_open *o = &s->open;
	size_t nbase = 0, n = 0;

	while (base != NULL && base[nbase] != NULL)
		nbase++;
	s->env = calloc(nbase + o->nenv + 3, sizeof(char *));
	if (s->env == NULL || asprintf(&s->own[0], "%s%s", names[0], o->host) < 0 ||
	    asprintf(&s->own[1], "%s%s", names[1], o->login) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < o->nenv; i++)
		s->env[n++] = o->env[i];
	s->env[n++] = s->own[0];
	s->env[n++] = s->own[1];
	for (size_t i = 0; i < nbase; i++) {
		bool said = false;

		for (size_t k = 0; k < o->nenv + 2 && !said; k++)
			said = same_name(s->env[k], base[i]);
		if (!said)
			s->env[n++] = base[i];
	}
	return 0;
}

/* knee_options.numbers */
static void
numbers(void *data, uint64_t *seq, unsigned *slot)
{
	const struct kn_serve_task *t = data;

	*seq = t->seq;
	*slot = t->slot;
}

static int
limits_read(struct kn_serve *s, struct knee_options *k)
{
	const struct kn_open *o = &s->open;

	k->limit = o->limit;
	k->limit_min = o->limit_min;
	k->limit_max = o->limit_max;
	if (o->load[0] != '\0' && s->o->load != NULL &&
	    s->o->load(o->load, kn_machine_cores(), &k->load_max) < 0)
		return kn_serve_fail(s, -EINVAL, "'%s' is no load", o->load);
	if (o->jobs[0] == '\0' || s->o->jobs == NULL)
		return 0;
	if (s->o->jobs(o->jobs, kn_machine_cores(), &k->limit, &k->limit_min, &k->limit_max) < 0)
		return kn_serve_fail(s, -EINVAL, "'%s' is no number of tasks at once", o->jobs);
	return 0;
}

static void
nice_make(struct kn_serve *s, struct knee_options *k)
{
	if (s->open.nice == 20)
		return;
	/* nice(1) counts from the niceness that it has. */
	(void)snprintf(
	    s->nice_text, sizeof(s->nice_text), "%d", s->open.nice - 20 - getpriority(PRIO_PROCESS, 0));
	s->prefix[0] = "nice";
	s->prefix[1] = "-n";
	s->prefix[2] = s->nice_text;
	k->prefix = s->prefix;
	k->nprefix = 3;
}

static int
engine_make(struct kn_serve *s)
{
	const struct kn_open *o = &s->open;
	struct knee_options k = {
		.sinks = s->sinks,
		.nsinks = 2,
		.executor = o->nworker > 0 ? KNEE_EXEC_WORKER : KNEE_EXEC_PROCESS,
		.worker = o->worker,
		.nworker = o->nworker,
		.framing = o->framing,
		.numbers = numbers,
		.order = KNEE_ORDER_PIECES,
		.kind = o->kind,
		.memory_path = o->learn ? s->o->memory_path : NULL,
		.load_max = o->load_max,
		.memfree_bytes = o->memfree_bytes,
		.memsuspend_bytes = o->memsuspend_bytes,
		.noswap = o->noswap,
		.slot_var = o->slot_var[0] != '\0' ? o->slot_var : NULL,
		.shell = o->shell[0] != '\0' ? o->shell : s->o->shell,
		.first_stdin = -1,
		.tmpdir = s->o->tmpdir,
	};
	char text[400] = "";
	int err = folder_enter(s);

	if (err == 0)
		err = environ_make(s);
	if (err == 0)
		err = limits_read(s, &k);
	if (err < 0)
		return kn_serve_fail(s, err, "%s", strerror(-err));
	k.environ_base = s->env;
	nice_make(s, &k);
	err = knee_template_new(o->words, o->nwords, &o->template, &s->command, text, sizeof(text));
	k.command = s->command;
	kn_serve_sinks(s);
	if (err == 0)
		err = knee_new(&k, &s->k, text, sizeof(text));
	return err < 0 ? kn_serve_fail(s, err, "%s", text[0] != '\0' ? text : strerror(-err)) : 0;
}

/* The coordinator would rather have another connection: to one of the addresses open.dial, where the token is said
 * first. Then s->in and s->out are that one, and the first one is s->life. 0: there is none, which is no error. */
static int
dial(struct kn_serve *s)
{
	const struct kn_open *o = &s->open;
	int fd, other;

	if (o->ndial == 0 || kn_dial(o->dial, o->ndial, o->token, DIAL_NS, &fd) < 0)
		return 0;
	/* Both are watched, so they need numbers of their own. */
	other = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (other < 0) {
		int err = -errno;

		close(fd);
		return kn_serve_fail(s, err, "%s", strerror(-err));
	}
	s->life = s->in;
	s->in = fd;
	s->out = other;
	s->dialled = true;
	return 0;
}

/* All is said. A socket that is closed while something lies in it unread forgets what it has not sent yet, so
 * wait until the other side has hung up, too. */
static void
hang_up(struct kn_serve *s)
{
	struct pollfd p = { .fd = s->in, .events = POLLIN };
	int64_t until_ns = kn_clock_ns() + LAST_NS;
	char rest[4096];
	ssize_t n = 1;

	(void)shutdown(s->in, SHUT_WR);
	while (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR))) {
		int64_t left_ns = until_ns - kn_clock_ns();

		if (left_ns <= 0 || poll(&p, 1, (int)(left_ns / MS) + 1) == 0)
			break;
		n = read(s->in, rest, sizeof(rest));
	}
	kn_fd_close(&s->in);
	kn_fd_close(&s->out);
}

/* ---- the run ------------------------------------------------------------------------ */

/* End all at once; err has its text. What made it so is looked at no more: it would be the same again. */
static int
give_up(struct kn_serve *s, int err)
{
	(void)knee_watch(s->k, s->in, NULL, NULL);
	if (s->life >= 0)
		(void)knee_watch(s->k, s->life, NULL, NULL);
	knee_stop(s->k, KNEE_STOP_KILL);
	return err;
}

static int
on_input(void *self, int fd)
{
	struct kn_serve *s = self;
	int err = kn_serve_read(s);

	(void)fd;
	if (err > 0) {
		s->heard_ns = kn_clock_ns();
		err = kn_serve_frames(s);
	}
	return err < 0 ? give_up(s, err) : 0;
}

/* The first connection, when there is another one: nothing comes there any more but its end. */
static int
on_life(void *self, int fd)
{
	struct kn_serve *s = self;
	char bytes[256];
	ssize_t n = read(fd, bytes, sizeof(bytes));

	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return 0;
	return give_up(s, kn_serve_fail(s, -ECONNRESET, "the coordinator is gone"));
}

static int
timer_set(const struct kn_serve *s, int64_t at_ns)
{
	const struct itimerspec when = { .it_value = {
					     .tv_sec = at_ns / SECOND_NS, .tv_nsec = at_ns % SECOND_NS } };

	return timerfd_settime(s->timer, TFD_TIMER_ABSTIME, &when, NULL) < 0 ? -errno : 0;
}

/* Has nothing come for so long? What lies there already speaks for its sender: then it was this machine that stood
 * still. */
static int
on_timer(void *self, int fd)
{
	struct kn_serve *s = self;
	struct pollfd p = { .fd = s->in, .events = POLLIN };
	int64_t now_ns = kn_clock_ns(), at_ns = s->heard_ns + (int64_t)s->open.timeout_ns;
	uint64_t times;

	(void)!read(fd, &times, sizeof(times));
	if (at_ns <= now_ns && poll(&p, 1, 0) > 0)
		at_ns = now_ns + SECOND_NS;
	if (at_ns <= now_ns)
		return give_up(s,
		    kn_serve_fail(s, -ETIMEDOUT, "nothing was heard of the coordinator for %.1f s",
			(double)s->open.timeout_ns / 1e9));
	return timer_set(s, at_ns);
}

static int
on_stop(void *self, int fd)
{
	struct kn_serve *s = self;
	int how = s->o->stop(s->o->stop_self, fd);

	if (how < 0)
		return 0;
	if (how == KNEE_STOP_KILL)
		return give_up(s, kn_serve_fail(s, -ECANCELED, "told to end"));
	s->draining = true;
	knee_stop(s->k, KNEE_STOP_NOW);
	return 0;
}

static int
watches_make(struct kn_serve *s)
{
	int err = 0;

	s->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	s->wake_fd = fcntl(s->out, F_DUPFD_CLOEXEC, 3);
	if (s->timer < 0 || s->wake_fd < 0)
		return -errno;
	s->heard_ns = kn_clock_ns();
	err = timer_set(s, s->heard_ns + (int64_t)s->open.timeout_ns);
	if (err == 0)
		err = knee_watch(s->k, s->timer, on_timer, s);
	if (err == 0)
		err = knee_watch(s->k, s->in, on_input, s);
	if (err == 0 && s->life >= 0)
		err = knee_watch(s->k, s->life, on_life, s);
	if (err == 0 && s->o->stop_fd >= 0)
		err = knee_watch(s->k, s->o->stop_fd, on_stop, s);
	return err;
}

static int
run(struct kn_serve *s)
{
	int err = watches_make(s);

	if (err < 0)
		return kn_serve_fail(s, err, "%s", strerror(-err));
	err = kn_serve_ready(s);
	if (err == 0)
		err = kn_serve_frames(s); /* what came together with OPEN */
	if (err < 0)
		return err;
	err = knee_run(s->k);
	if (err < 0)
		(void)kn_serve_fail(
		    s, err, "%s", knee_error(s->k)[0] != '\0' ? knee_error(s->k) : strerror(-err));
	return err;
}

/* Files of which nothing is heard in time stay. */
static int
kept_wait(struct kn_serve *s, int64_t patience_ns)
{
	int64_t until_ns = kn_clock_ns() + KEPT_NS;
	int err = 0;

	while (s->waiting != NULL && err == 0) {
		int64_t left_ns = until_ns - s->heard_ns;

		err = rest_turn(s, left_ns < patience_ns ? left_ns : patience_ns);
		if (kn_clock_ns() >= until_ns)
			return err == -ETIMEDOUT ? 0 : err;
	}
	return err;
}

/* A good end: what has no result will have none. */
static int
say_bye(struct kn_serve *s)
{
	int64_t patience_ns = (int64_t)s->open.timeout_ns;
	size_t at;
	int err = 0;

	s->leaving = true;
	while (s->back != NULL && err == 0) {
		err = kn_serve_files_pump(s);
		if (err == 0)
			err = write_rest(s, patience_ns);
	}
	if (err == 0)
		err = write_rest(s, patience_ns);
	if (err == 0)
		err = kept_wait(s, patience_ns);
	for (size_t i = 0; i < KN_SERVE_BUCKETS && err == 0; i++)
		for (struct kn_serve_task *t = s->buckets[i]; t != NULL && err == 0; t = t->next)
			err = kn_frame_u64(&s->send, KN_FRAME_RETURNED, t->id);
	if (err == 0)
		err = kn_frame_begin(&s->send, KN_FRAME_BYE, &at);
	if (err == 0)
		err = kn_put_u32(&s->send, s->draining);
	if (err == 0)
		err = kn_frame_end(&s->send, at);
	s->left = true;
	return err == 0 ? write_rest(s, patience_ns) : err;
}

/* A coordinator that is still there is to know why. */
static void
say_refused(struct kn_serve *s)
{
	size_t at;
	int err = kn_frame_begin(&s->send, KN_FRAME_REFUSED, &at);

	if (err == 0)
		err = kn_put_text(&s->send, s->error);
	if (err == 0)
		err = kn_frame_end(&s->send, at);
	s->heard_ns = kn_clock_ns();
	if (err == 0)
		(void)write_rest(s, LAST_NS);
}

static int
serve(struct kn_serve *s)
{
	int64_t until_ns = kn_clock_ns() + OPEN_NS;
	int err = hello_put(s);

	if (err == 0)
		err = write_all(s, until_ns);
	if (err < 0)
		return kn_serve_fail(s, err, "%s", strerror(-err));
	err = read_until(s, until_ns, greeted);
	if (err == 0)
		err = read_until(s, until_ns, opened);
	if (err == 0)
		err = dial(s);
	if (err == 0)
		err = engine_make(s);
	if (err == 0)
		err = run(s);
	if (err == 0)
		err = say_bye(s);
	else if (err != -ECONNRESET && err != -EPIPE && err != -ETIMEDOUT)
		say_refused(s);
	return err;
}

static void
serve_done(struct kn_serve *s)
{
	struct kn_serve_task *t;

	if (s->k != NULL)
		kn_loop_remove(&s->k->loop, &s->wake);
	knee_free(s->k);
	kn_serve_files_done(s);
	for (size_t i = 0; i < KN_SERVE_BUCKETS; i++) {
		while ((t = s->buckets[i]) != NULL) {
			s->buckets[i] = t->next;
			kn_serve_task_free(t);
		}
	}
	if (s->folder != NULL && !s->stays) {
		(void)!chdir("/");
		(void)nftw(s->folder, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	}
	free(s->folder);
	kn_fd_close(&s->timer);
	kn_fd_close(&s->wake_fd);
	knee_template_free(s->command);
	free(s->env);
	free(s->own[0]);
	free(s->own[1]);
	kn_open_done(&s->open);
	kn_buf_done(&s->open_bytes);
	kn_buf_done(&s->got);
	kn_buf_done(&s->more);
	kn_buf_done(&s->send);
	free(s);
}

int
knee_agent_serve(const struct knee_agent_options *o, char *err, size_t errsize)
{
	struct kn_serve *s = calloc(1, sizeof(*s));
	int flags = fcntl(o->out, F_GETFL);
	int e;

	if (s == NULL || flags < 0) {
		e = s == NULL ? -ENOMEM : -errno;
		free(s);
		(void)snprintf(err, errsize, "%s", strerror(-e));
		return e;
	}
	s->o = o;
	s->in = o->in;
	s->out = o->out;
	s->life = s->timer = s->wake_fd = s->wake.fd = -1;
	/* The connection is this program's alone, or as good as that: a terminal's flags are put back. */
	(void)fcntl(o->out, F_SETFL, flags | O_NONBLOCK);
	e = serve(s);
	if (s->dialled)
		hang_up(s);
	(void)fcntl(o->out, F_SETFL, flags);
	if (e < 0)
		(void)snprintf(err, errsize, "%s", s->error[0] != '\0' ? s->error : strerror(-e));
	serve_done(s);
	return e;
}
