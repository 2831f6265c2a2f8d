/* SPDX-License-Identifier: MIT */
/* The end of a connection: what the far end has said before it counts, however much that is. */
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

static ssize_t read_some(int fd, void *to, size_t n);

#define read read_some
#include "../../src/exec/agent_link.c"
#undef read

#include "tap.h"

#define CHUNKS 20
#define LONG_NS ((int64_t)20000000000)

/* What lies in the socket: more than any socket holds everywhere. */
static struct {
	int fd;
	size_t left, at;
	struct kn_buf frame;
} socket_has;

static ssize_t
read_some(int fd, void *to, size_t n)
{
	size_t got = n < socket_has.left ? n : socket_has.left;

	if (fd != socket_has.fd)
		return read(fd, to, n);
	for (size_t i = 0; i < got; i++)
		((char *)to)[i] = socket_has.frame.data[socket_has.at++ % socket_has.frame.len];
	socket_has.left -= got;
	errno = EAGAIN;
	return got > 0 ? (ssize_t)got : -1;
}

static uint64_t frames, frames_at_end;
static bool ended;

static void
on_frame(struct kn_link *l, const struct kn_frame *f)
{
	(void)l;
	frames += f->kind == KN_FRAME_PONG;
}

static void
on_lost(struct kn_link *l, const char *why)
{
	(void)l;
	(void)why;
	ended = true;
	frames_at_end = frames;
}

static void
on_said(struct kn_link *l, const char *line)
{
	(void)l;
	diag("%s", line);
}

static void
test_child_ends(struct kn_loop *loop, struct kn_spawner *spawner)
{
	static const struct kn_link_host host = { .frame = on_frame, .lost = on_lost, .said = on_said };
	static const char *const argv[] = { "cat" };
	static char *const env[] = { NULL };
	struct kn_link l = { 0 };
	int pair[2];

	kn_link_init(&l, &host, loop);
	is_int(kn_link_open(&l, spawner, "/bin/cat", argv, 1, env), 0, "a connection");
	l.phase = KN_LINK_FRAMES;
	(void)!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair);
	is_int(kn_link_move(&l, pair[0]), 0, "moves");
	(void)kn_frame_u64(&socket_has.frame, KN_FRAME_PONG, 7);
	socket_has.left = CHUNKS * READ_BYTES / socket_has.frame.len * socket_has.frame.len;
	socket_has.fd = l.out.fd;
	kn_child_signal(&l.child, SIGTERM);
	while (!ended && kn_loop_wait(loop, loop->now_ns + LONG_NS) == 0)
		;
	ok(ended, "its end is told");
	is_int(frames_at_end * socket_has.frame.len, socket_has.at, "after all that it has said");
	is_int(socket_has.left, 0, "which is all there is");
	close(pair[1]);
	kn_link_done(&l);
	kn_buf_done(&socket_has.frame);
}

int
main(void)
{
	struct kn_loop loop;
	struct kn_spawner spawner;

	(void)kn_loop_init(&loop);
	(void)kn_spawner_init(&spawner);
	test_child_ends(&loop, &spawner);
	kn_spawner_done(&spawner);
	kn_loop_done(&loop);
	return done_testing();
}
