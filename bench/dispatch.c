/* SPDX-License-Identifier: MIT */
/*
 * How many tasks a coordinator gives out to many machines, and takes the answers of.
 *
 *	dispatch AGENTS TASKS [WANT]
 *
 * The coordinator is the real one, in this process: scheduler, executor, merge in the order of the inputs, a
 * sink. The machines are simulated: each connection is real, a child process with pipes, which hands these to
 * one server process that speaks for all of them, answers every task at once with success, and computes
 * nothing. WANT (default 256) is what each asks for. Prints tasks a second, and the peak memory of the coordinator.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <knee_program.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/frame.h"

#define READ_BYTES (64 * 1024)

static void
fail(const char *what)
{
	perror(what);
	exit(1);
}

static double
now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- the child that stands for a connection --------------------------------------------- */

static int
server_connect(const char *name)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	/* A name without a file. */
	(void)snprintf(to.sun_path + 1, sizeof(to.sun_path) - 1, "%s", name);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		fail("connect");
	return fd;
}

/* Hand descriptors 0 and 1 to the server, and stay until it is done with them. */
static int
connection_main(const char *name)
{
	union {
		char bytes[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	const int fds[2] = { 0, 1 };
	char byte = 0;
	struct iovec data = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr m = { .msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int server = server_connect(name);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(c), fds, sizeof(fds));
	if (sendmsg(server, &m, 0) < 0)
		fail("sendmsg");
	(void)close(0);
	(void)close(1);
	(void)!read(server, &byte, 1);
	return 0;
}

/* ---- the server: all agents in one ---------------------------------------------------------- */

static uint32_t want;
static unsigned nagents;
static struct agent **agents; /* those that have come: ncome, nopen of them said HELLO */
static unsigned ncome, nopen;

struct agent {
	int in, out, child; /* child: to let it end */
	struct kn_buf received, sending;
	bool open, ending;
};

static void
put(int err)
{
	if (err < 0) {
		errno = -err;
		fail("agent");
	}
}

/* Write all of it; the coordinator reads while it waits. */
static void
agent_write(struct agent *a)
{
	for (size_t at = 0; at < a->sending.len;) {
		ssize_t n = write(a->out, a->sending.data + at, a->sending.len - at);

		if (n < 0 && errno != EINTR)
			break;
		at += n > 0 ? (size_t)n : 0;
	}
	a->sending.len = 0;
}

static void
opened(struct agent *a)
{
	struct kn_buf *to = &a->sending;
	size_t at;

	put(kn_frame_begin(to, KN_FRAME_HELLO, &at));
	put(kn_put_text(to, "simulated"));
	put(kn_put_text(to, "x86_64"));
	put(kn_put_u32(to, want));
	put(kn_put_u64(to, 0));
	put(kn_frame_end(to, at));
	put(kn_frame_begin(to, KN_FRAME_READY, &at));
	put(kn_put_u32(to, 0));
	put(kn_frame_end(to, at));
}

static void
ask(struct kn_buf *to)
{
	size_t at;

	put(kn_frame_begin(to, KN_FRAME_CREDIT, &at));
	put(kn_put_u32(to, want / 8 + 1));
	put(kn_put_u32(to, want));
	put(kn_put_text(to, ""));
	put(kn_frame_end(to, at));
}

/* Nobody asks for tasks before all are there: to start them is not what is measured. */
static void
agent_open(struct agent *a)
{
	opened(a);
	if (++nopen < nagents)
		return;
	for (unsigned i = 0; i < ncome; i++) {
		ask(&agents[i]->sending);
		agent_write(agents[i]);
	}
}

static void
answered(struct agent *a, struct kn_fields *f)
{
	const struct knee_result done = { .outcome = KNEE_EXITED, .runtime_ns = 1000 };
	uint64_t id = kn_get_u64(f);
	size_t at;

	put(kn_frame_begin(&a->sending, KN_FRAME_RESULT, &at));
	put(kn_put_u64(&a->sending, id));
	put(kn_put_result(&a->sending, &done));
	put(kn_put_u32(&a->sending, 0));
	put(kn_frame_end(&a->sending, at));
}

static void
agent_end(struct agent *a)
{
	(void)close(a->in);
	(void)close(a->out);
	(void)close(a->child);
	a->in = a->out = a->child = -1;
}

static void
frames_answer(struct agent *a)
{
	struct kn_frame frame;
	size_t at = 0, bytes = 0;
	char version[64];
	unsigned protocol;

	if (!a->open) {
		if (kn_frame_greeting("knee-coordinator", a->received.data, a->received.len, &protocol,
			version, sizeof(version), &bytes) != 1)
			return;
		a->open = true;
		at = bytes;
	}
	while (kn_frame_take(a->received.data + at, a->received.len - at, &frame, &bytes) == 1) {
		struct kn_fields f = kn_fields_of(&frame);

		at += bytes;
		if (frame.kind == KN_FRAME_OPEN)
			agent_open(a);
		else if (frame.kind == KN_FRAME_TASK)
			answered(a, &f);
		else if (frame.kind == KN_FRAME_PING)
			put(kn_frame_u64(&a->sending, KN_FRAME_PONG, kn_get_u64(&f)));
		else if (frame.kind == KN_FRAME_CLOSE)
			a->ending = true;
	}
	kn_buf_drop(&a->received, at);
}

static void
agent_read(struct agent *a)
{
	ssize_t n;

	put(kn_buf_reserve(&a->received, READ_BYTES));
	n = read(a->in, a->received.data + a->received.len, READ_BYTES);
	if (n <= 0) {
		agent_end(a);
		return;
	}
	a->received.len += (size_t)n;
	frames_answer(a);
	agent_write(a);
	if (a->ending)
		agent_end(a);
}

/* A child has come with its descriptors. */
static void
agent_new(int epoll, int listener)
{
	static const char greeting[] = "knee-agent 1 simulated\n";
	union {
		char bytes[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control;
	char byte;
	struct iovec data = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr m = { .msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	struct agent *a = calloc(1, sizeof(*a));
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = a };
	int fds[2];

	if (a == NULL || ncome == nagents)
		fail("agent");
	a->child = accept(listener, NULL, NULL);
	if (a->child < 0 || recvmsg(a->child, &m, 0) < 0 || CMSG_FIRSTHDR(&m) == NULL)
		fail("recvmsg");
	memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fds));
	a->in = fds[0];
	a->out = fds[1];
	agents[ncome++] = a;
	if (write(a->out, greeting, sizeof(greeting) - 1) < 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, a->in, &ev) < 0)
		fail("agent");
}

static void
server_main(int listener)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };
	int epoll = epoll_create1(0);

	(void)signal(SIGPIPE, SIG_IGN);
	agents = calloc(nagents, sizeof(struct agent *));
	if (agents == NULL)
		fail("calloc");
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ev) < 0)
		fail("epoll");
	for (;;) {
		struct epoll_event got[256];
		int n = epoll_wait(epoll, got, 256, -1);

		for (int i = 0; i < n; i++) {
			if (got[i].data.ptr == NULL)
				agent_new(epoll, listener);
			else
				agent_read(got[i].data.ptr);
		}
	}
}

/* ---- the coordinator ------------------------------------------------------------------------- */

struct inputs {
	uint64_t left, seen;
	double first, last;
};

static int
inputs_next(void *self, struct knee_input *ret)
{
	static const char *const args[] = { "input" };
	struct inputs *in = self;

	ret->args = args;
	ret->nargs = 1;
	return in->left-- > 0;
}

static int
result_take(void *self, const struct knee_event *e)
{
	struct inputs *in = self;

	if (e->kind != KNEE_EVENT_RESULT)
		return 0;
	if (e->seq != ++in->seen)
		abort();
	in->last = now();
	if (in->first == 0)
		in->first = in->last;
	return 0;
}

static struct knee_host *
hosts_make(unsigned n, const char *program, const char *name)
{
	struct knee_host *hosts = calloc(n, sizeof(*hosts));
	static const char *argv[3];

	if (hosts == NULL)
		fail("calloc");
	argv[0] = program;
	argv[1] = "--connection";
	argv[2] = name;
	for (unsigned i = 0; i < n; i++)
		hosts[i] =
		    (struct knee_host){ .name = "simulated", .login = "simulated", .argv = argv, .nargv = 3 };
	return hosts;
}

static void
coordinate(uint64_t tasks, const char *program, const char *name)
{
	static const char *const words[] = { "true", "{}" };
	struct inputs in = { .left = tasks };
	struct knee_sink sink = { .self = &in, .text = 1, .event = result_take };
	struct knee_machines machines = { .hosts = hosts_make(nagents, program, name),
		.nhosts = nagents,
		.words = words,
		.nwords = 2,
		.connect_most = 64,
		.timeout_ns = 60000000000 };
	struct knee_options options = {
		.words = words,
		.nwords = 2,
		.source = { .self = &in, .next = inputs_next },
		.sinks = &sink,
		.nsinks = 1,
		.executor = KNEE_EXEC_AGENT,
		.machines = &machines,
	};
	struct rusage usage;
	char err[256];
	knee *k;

	if (knee_new(&options, &k, err, sizeof(err)) < 0 || knee_run(k) < 0) {
		(void)fprintf(stderr, "dispatch: %s\n", err);
		exit(1);
	}
	knee_free(k);
	(void)getrusage(RUSAGE_SELF, &usage);
	(void)printf("%.0f tasks/s %ld KiB\n", (double)tasks / (in.last - in.first), usage.ru_maxrss);
	free((void *)(uintptr_t)machines.hosts);
}

int
main(int argc, char **argv)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	static char name[64], self[4096]; /* as long as the hosts, which point at them */
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	pid_t server;

	if (argc == 3 && strcmp(argv[1], "--connection") == 0)
		return connection_main(argv[2]);
	if (argc < 3 || n < 0) {
		(void)fprintf(stderr, "usage: dispatch AGENTS TASKS [WANT]\n");
		return 2;
	}
	self[n] = '\0';
	nagents = (unsigned)strtoul(argv[1], NULL, 10);
	want = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 256;
	(void)snprintf(name, sizeof(name), "knee-dispatch-%d", (int)getpid());
	(void)snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1, "%s", name);
	if (nagents == 0 || listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(listener, 4096) < 0)
		fail("socket");
	server = fork();
	if (server < 0)
		fail("fork");
	if (server == 0) {
		server_main(listener);
		_exit(0);
	}
	coordinate(strtoull(argv[2], NULL, 10), self, name);
	(void)kill(server, SIGKILL);
	(void)waitpid(server, NULL, 0);
	return 0;
}
