/* SPDX-License-Identifier: MIT */
/*
 * The writer that never waits, on pipes, sockets and files. It is compiled into this
 * program, not linked: its realloc() is one that fails when told to.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tap.h"

static bool memory_is_out;

static void *
realloc_or_fail(void *p, size_t n)
{
	return memory_is_out ? NULL : realloc(p, n);
}

#define realloc realloc_or_fail
#include "writer.c"
#undef realloc

static unsigned befores, afters;

void
say_before(void)
{
	befores++;
}

void
say_after(void)
{
	afters++;
}

/* Byte i of the stream that every test sends. */
static char
byte_at(size_t i)
{
	return (char)('a' + i * 7 % 23);
}

static void
fill(char *data, size_t from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		data[i] = byte_at(from + i);
}

/* Read what there is; the number of bytes, or -1 when they are not the next of the stream. */
static ssize_t
drain(int fd, size_t from)
{
	static char data[1 << 20];
	size_t sum = 0;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (poll(&p, 1, 0) > 0) {
		ssize_t n = read(fd, data, sizeof(data));

		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++)
			if (data[i] != byte_at(from + sum + (size_t)i))
				return -1;
		sum += (size_t)n;
	}
	return (ssize_t)sum;
}

/* Pieces of all sizes through w while the reader is slow: all arrive, in order. */
static void
stream_through(struct writer *w, int reader, const char *name)
{
	static char data[300000];
	size_t sent = 0, got = 0, refused = 0;
	unsigned seed = 3;
	bool good = true;

	for (int i = 0; i < 400 && good; i++) {
		size_t n = (size_t)rand_r(&seed) % (i % 8 == 0 ? sizeof(data) : 5000);
		int err;

		fill(data, sent, n);
		good = writer_put(w, data, n) == 0;
		sent += n;
		err = writer_flush(w);
		good = good && (err == 0 || err == -EAGAIN) && (err == -EAGAIN) == writer_waits(w);
		refused += err == -EAGAIN;
		if (i % 3 == 0) {
			ssize_t more = drain(reader, got);

			good = good && more >= 0;
			got += (size_t)more;
		}
	}
	while (good && got < sent) {
		int err = writer_flush(w);
		ssize_t more = drain(reader, got);

		good = more >= 0 && (err == 0 || err == -EAGAIN);
		got += (size_t)more;
	}
	ok(good && got == sent && !writer_waits(w), "%s: all of it, in order", name);
	ok(refused > 0, "%s: the reader was slow", name);
}

static void
test_pipe(bool polled)
{
	int ends[2];
	struct writer w;
	const char *name = polled ? "polled pipe" : "pipe";

	if (!ok(pipe2(ends, O_CLOEXEC) == 0, "pipe"))
		return;
	writer_init(&w, ends[1]);
	is_int(w.kind, WRITER_REOPENED, "a pipe is opened anew");
	if (polled) {
		writer_done(&w);
		w = (struct writer){ .kind = WRITER_POLLED, .fd = ends[1], .own = -1 };
	}
	stream_through(&w, ends[0], name);
	is_int(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0, "%s: the inherited one is as it was", name);
	close(ends[0]);
	is_int(writer_put(&w, "x", 1), 0, "%s: gathered without a reader", name);
	is_int(writer_flush(&w), -EPIPE, "%s: no reader", name);
	is_int(writer_put(&w, "x", 1), -EPIPE, "%s: nor later", name);
	writer_done(&w);
	close(ends[1]);
}

static void
test_reader_gone_before(void)
{
	int ends[2];
	struct writer w;

	if (!ok(pipe2(ends, O_CLOEXEC) == 0, "pipe"))
		return;
	close(ends[0]);
	writer_init(&w, ends[1]);
	writer_put(&w, "x", 1);
	is_int(writer_flush(&w), -EPIPE, "a reader gone before the start");
	writer_done(&w);
	close(ends[1]);
}

static void
test_socket(void)
{
	int ends[2];
	struct writer w;

	if (!ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "socketpair"))
		return;
	writer_init(&w, ends[1]);
	is_int(w.kind, WRITER_SOCKET, "a socket is known");
	stream_through(&w, ends[0], "socket");
	close(ends[0]);
	writer_put(&w, "x", 1);
	is_int(writer_flush(&w), -EPIPE, "socket: no reader");
	writer_done(&w);
	close(ends[1]);
}

static void
test_file(void)
{
	char path[] = "/tmp/test_writer-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	struct writer w;
	static char data[200000];
	struct stat st;

	if (!ok(fd >= 0, "temporary file"))
		return;
	unlink(path);
	if (write(fd, "head\n", 5) != 5)
		fail("write");
	writer_init(&w, fd);
	is_int(w.kind, WRITER_PLAIN, "a file is written to as it is");
	writer_put(&w, "ab", 2);
	writer_put(&w, "cd", 2);
	is_int(lseek(fd, 0, SEEK_CUR), 5, "small pieces are gathered");
	writer_put(&w, data, sizeof(data));
	ok(!writer_waits(&w), "large ones take the small ones along");
	is_int(lseek(fd, 0, SEEK_CUR), 5 + 4 + sizeof(data), "behind what was there");
	ok(fstat(fd, &st) == 0 && st.st_size == 5 + 4 + sizeof(data), "all of it");
	writer_done(&w);
	ok(fcntl(fd, F_GETFD) >= 0, "an inherited descriptor stays open");
	close(fd);
}

static void
test_unwritable(void)
{
	struct writer w;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	writer_init(&w, fd);
	is_int(writer_flush(&w), 0, "nothing to write is no error");
	is_int(writer_put(&w, "x", 1), -EBADF, "open for reading only");
	writer_done(&w);
	close(fd);
	writer_init(&w, fd);
	is_int(writer_put(&w, "", 0), 0, "no byte is no error");
	is_int(writer_put(&w, "x", 1), -EBADF, "closed");
	writer_done(&w);
	fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	writer_init(&w, fd);
	is_int(writer_put(&w, "x", 1), 0, "gathered for a full device");
	is_int(writer_flush(&w), -ENOSPC, "full");
	is_int(writer_put(&w, "x", 1), -ENOSPC, "and so it stays");
	writer_done(&w);
	close(fd);
}

static void
test_hooks(void)
{
	struct writer w;
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	writer_init(&w, fd);
	writer_put(&w, "x", 1);
	writer_flush(&w);
	is_int(befores + afters, 0, "no hooks but where messages go");
	w.with_messages = true;
	writer_put(&w, "half", 4);
	is_int(befores, 0, "no hook for what is only gathered");
	writer_flush(&w);
	is_int(befores, 1, "out of the way before the bytes");
	is_int(afters, 0, "and still, in the middle of a line");
	writer_put(&w, " line\n", 6);
	writer_flush(&w);
	is_int(afters, 1, "back at the start of a line");
	writer_flush(&w);
	is_int(befores, 2, "not for nothing");
	writer_done(&w);
	close(fd);
}

static void
test_no_memory(void)
{
	struct writer w;
	int ends[2];
	static char data[200000];

	if (!ok(pipe2(ends, O_CLOEXEC) == 0, "pipe"))
		return;
	writer_init(&w, ends[1]);
	memory_is_out = true;
	is_int(writer_put(&w, "x", 1), -ENOMEM, "no memory for one byte");
	is_int(writer_put(&w, data, sizeof(data)), -ENOMEM, "nor for what the pipe did not take");
	memory_is_out = false;
	is_int(writer_put(&w, "x", 1), 0, "memory again");
	writer_done(&w);
	close(ends[0]);
	close(ends[1]);
}

int
main(void)
{
	signal(SIGPIPE, SIG_IGN);
	alarm(60); /* a writer that waits fails */
	test_pipe(false);
	test_pipe(true);
	test_reader_gone_before();
	test_socket();
	test_file();
	test_unwritable();
	test_hooks();
	test_no_memory();
	return done_testing();
}
