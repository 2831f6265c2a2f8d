/* SPDX-License-Identifier: MIT */
/*
 * salloc gives its job back when the command that it runs has ended.  So it gets one that waits for the end of its
 * standard input, and the other end of that is in the hands of a process that does nothing else:
 *
 *	knee (keeper, program) --life--> guard --> salloc --> sh: prints the job, reads until the end
 *	                       <--grant-        <-------------'
 *
 * The guard gives up the job when it reads a byte or the end of `life`, which comes by itself when the last process
 * of the run is gone, be it by kill -9. While the job still stands in the queue it ends salloc by SIGTERM, which
 * takes it out of there. It has a session of its own: what a terminal sends to its foreground does not reach it.
 * What salloc says passes through the guard to the user, but for what is said at every start and end.
 */
#include "slurm_job.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

/* So long salloc may take to give a job back, and so long after SIGTERM. */
#define RELEASE_MS 10000
#define TERM_MS 5000
/* After that the user is told what is waited for. */
#define PATIENCE_MS 1000
#define LINE_BYTES 1024
#define ID_BYTES 32
/* "ID NODES", of a job with very many nodes that have no pattern. */
#define GRANT_MOST ((size_t)16 * 1024 * 1024)

struct guard {
	int life, grant;
	int in, out, err; /* of salloc, our ends */
	pid_t salloc;
	char id[ID_BYTES]; /* of the job; "": none yet */
	size_t idlen;
	bool granted;
	char line[LINE_BYTES]; /* what salloc says, up to its newline */
	size_t linelen;
	int ending; /* 0: not yet; then how often salloc was told */
};

/* ---- the guard ------------------------------------------------------------------ */

/* What everybody knows who has started a run: no line for that. */
static bool
is_noise(const char *line)
{
	static const char *const noise[] = {
		"salloc: Granted job allocation",
		"salloc: Relinquishing job allocation",
		"salloc: Waiting for resource configuration",
		"salloc: Nodes ",
		"salloc: job ",
	};

	for (size_t i = 0; i < sizeof(noise) / sizeof(*noise); i++)
		if (strncmp(line, noise[i], strlen(noise[i])) == 0)
			return true;
	return false;
}

static void
line_end(struct guard *g)
{
	g->line[g->linelen] = '\0';
	/* At the end salloc complains of what we did. */
	if (g->ending == 0 && !is_noise(g->line)) {
		g->line[g->linelen] = '\n';
		(void)!write(STDERR_FILENO, g->line, g->linelen + 1);
	}
	g->linelen = 0;
}

/* False at the end. */
static bool
err_read(struct guard *g)
{
	char data[LINE_BYTES];
	ssize_t n = read(g->err, data, sizeof(data));

	if (n < 0 && errno == EINTR)
		return true;
	for (ssize_t i = 0; i < n; i++) {
		if (data[i] != '\n')
			g->line[g->linelen++] = data[i];
		if (data[i] == '\n' || g->linelen == sizeof(g->line) - 1)
			line_end(g);
	}
	if (n <= 0 && g->linelen > 0)
		line_end(g);
	return n > 0;
}

/* "ID NODES\n" on its way to the run. */
static void
out_read(struct guard *g)
{
	char data[LINE_BYTES];
	ssize_t n = read(g->out, data, sizeof(data));

	if (n < 0 && errno == EINTR)
		return;
	if (n <= 0) {
		close(g->out);
		g->out = -1;
		return;
	}
	for (ssize_t i = 0; i < n && !g->granted; i++) {
		g->granted = data[i] == ' ';
		if (!g->granted && data[i] >= '0' && data[i] <= '9' && g->idlen + 1 < sizeof(g->id))
			g->id[g->idlen++] = data[i];
	}
	for (ssize_t at = 0, put; at < n; at += put) {
		put = write(g->grant, data + at, (size_t)(n - at));
		if (put < 0 && errno != EINTR)
			break;
		put = put < 0 ? 0 : put;
	}
}

/* One step more to make salloc end. */
static void
end_it(struct guard *g)
{
	if (g->in >= 0)
		close(g->in);
	g->in = -1;
	if (g->ending == 0 && g->granted) {
		g->ending = 1;
		return;
	}
	(void)kill(g->salloc, g->ending < 2 ? SIGTERM : SIGKILL);
	g->ending = g->ending < 2 ? 2 : 3;
}

static _Noreturn void
cancel(struct guard *g)
{
	char program[] = "scancel";
	char *argv[] = { program, g->id, NULL };

	(void)execvp(argv[0], argv);
	_exit(1);
}

static _Noreturn void
guard_run(struct guard *g)
{
	int status;

	for (;;) {
		struct pollfd p[3] = { { .fd = g->err, .events = POLLIN }, { .fd = g->out, .events = POLLIN },
			{ .fd = g->ending == 0 ? g->life : -1, .events = POLLIN } };
		int wait_ms = g->ending == 0 ? -1 : g->ending == 1 ? RELEASE_MS : TERM_MS;
		int n = poll(p, 3, wait_ms);

		if (n == 0)
			end_it(g);
		if (n <= 0)
			continue;
		if (p[1].revents != 0)
			out_read(g);
		if (p[0].revents != 0 && !err_read(g))
			break;
		if (p[2].revents != 0)
			end_it(g);
	}
	if (g->in >= 0)
		close(g->in);
	while (waitpid(g->salloc, &status, 0) < 0 && errno == EINTR)
		;
	/* Killed, it could not give it back. */
	if (g->granted && WIFSIGNALED(status))
		cancel(g);
	_exit(0);
}

/* The child that becomes salloc. */
static _Noreturn void
salloc_exec(char *const *argv, int in, int out, int err)
{
	sigset_t none;

	(void)dup2(in, STDIN_FILENO);
	(void)dup2(out, STDOUT_FILENO);
	(void)dup2(err, STDERR_FILENO);
	(void)signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)execvp(argv[0], argv);
	say("%s: %s", argv[0], strerror(errno));
	_exit(127);
}

static _Noreturn void
guard_main(char *const *argv, int life, int grant)
{
	struct guard g = { .life = life, .grant = grant };
	int in[2], out[2], err[2], null;

	(void)setsid();
	(void)prctl(PR_SET_NAME, "kn-slurm");
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGCHLD, SIG_DFL);
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) {
		say("--on slurm: %s", strerror(errno));
		_exit(1);
	}
	g.salloc = fork();
	if (g.salloc == 0)
		salloc_exec(argv, in[0], out[1], err[1]);
	if (g.salloc < 0) {
		say("--on slurm: %s", strerror(errno));
		_exit(1);
	}
	close(in[0]);
	close(out[1]);
	close(err[1]);
	g.in = in[1];
	g.out = out[0];
	g.err = err[0];
	/* Whoever reads our output is not to wait for this one. */
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		(void)dup2(null, STDIN_FILENO);
		(void)dup2(null, STDOUT_FILENO);
	}
	guard_run(&g);
}

/* ---- the run ---------------------------------------------------------------------- */

/* Read the line of the grant into j->text. 0, -ENOENT: there will be none; -errno. */
static int
grant_read(struct slurm_job *j, bool silent)
{
	struct pollfd p = { .fd = j->grant, .events = POLLIN };
	size_t len = 0, cap = 0;
	char *more;
	ssize_t n;

	if (!silent && poll(&p, 1, PATIENCE_MS) == 0)
		say("--on slurm: waiting for a job; Ctrl-C gives it up");
	for (;;) {
		if (len + 1 >= cap) {
			cap = cap * 2 + LINE_BYTES;
			more = cap <= GRANT_MOST ? realloc(j->text, cap) : NULL;
			if (more == NULL)
				return -ENOMEM;
			j->text = more;
		}
		n = read(j->grant, j->text + len, cap - 1 - len);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -ENOENT;
		len += n > 0 ? (size_t)n : 0;
		j->text[len] = '\0';
		if (len > 0 && j->text[len - 1] == '\n')
			break;
	}
	j->text[len - 1] = '\0';
	return 0;
}

/* "ID NODES". */
static int
grant_parse(struct slurm_job *j)
{
	char *blank = strchr(j->text, ' ');

	if (blank == NULL || blank == j->text || (size_t)(blank - j->text) >= ID_BYTES || blank[1] == '\0' ||
	    strspn(j->text, "0123456789") != (size_t)(blank - j->text))
		return -EPROTO;
	*blank = '\0';
	j->id = j->text;
	j->nodes = blank + 1;
	return 0;
}

/* Wait for the end of the guard. */
static void
guard_leave(struct slurm_job *j)
{
	struct pollfd p = { .fd = j->grant, .events = POLLIN };
	char rest[LINE_BYTES];
	int n;

	close(j->life);
	/* Its end of the pipe is closed when the guard is gone. */
	do
		n = poll(&p, 1, RELEASE_MS + 2 * TERM_MS);
	while ((n < 0 && errno == EINTR) || (n > 0 && read(j->grant, rest, sizeof(rest)) > 0));
	close(j->grant);
	free(j->text);
	*j = (struct slurm_job){ 0 };
}

int
slurm_job_get(char *const *argv, bool silent, struct slurm_job *ret)
{
	int life[2], grant[2], err;
	pid_t pid;

	if (pipe2(life, O_CLOEXEC) < 0)
		return say_error(errno, "--on slurm: %s", strerror(errno));
	if (pipe2(grant, O_CLOEXEC) < 0) {
		err = errno;
		close(life[0]);
		close(life[1]);
		return say_error(err, "--on slurm: %s", strerror(err));
	}
	pid = fork();
	if (pid == 0) {
		close(life[1]);
		close(grant[0]);
		guard_main(argv, life[0], grant[1]);
	}
	err = pid < 0 ? -errno : 0;
	close(life[0]);
	close(grant[1]);
	*ret = (struct slurm_job){ .life = life[1], .grant = grant[0], .text = calloc(1, 1) };
	if (err == 0)
		err = ret->text != NULL ? grant_read(ret, silent) : -ENOMEM;
	if (err == 0)
		err = grant_parse(ret);
	if (err == 0)
		return 0;
	if (err == -ENOENT)
		say("--on slurm: salloc has given no job");
	else if (err == -EPROTO)
		say("--on slurm: salloc ran something else than it was told: only its options may stand "
		    "behind "
		    "slurm:");
	else
		say("--on slurm: %s", strerror(-err));
	guard_leave(ret);
	return err;
}

void
slurm_job_release(struct slurm_job *j)
{
	if (j->text == NULL)
		return;
	/* The keeper has the same pipe, so that closing it is no sign yet. */
	(void)!write(j->life, "", 1);
	guard_leave(j);
}
