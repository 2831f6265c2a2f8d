/* SPDX-License-Identifier: MIT */
/*
 * Which tasks' output is written, and where in the file: with two writers that lag behind each other,
 * messages in between, and a file that is appended to. Compiled in, not linked: the journal is a list.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "tap.h"

#include <knee_program.h>

static struct {
	uint64_t seq, out, err;
} told[256];
static unsigned ntold;

static void
printed(knee_journal *j, uint64_t seq, uint64_t out, uint64_t err)
{
	(void)j;
	if (ntold == 256)
		return;
	told[ntold].seq = seq;
	told[ntold].out = out;
	told[ntold].err = err;
	ntold++;
}

#define knee_journal_printed printed
#include "text_marks.c"
#include "writer.c"

void
say_before(void)
{
}

void
say_after(void)
{
}

int
say_error(int error, const char *format, ...)
{
	(void)format;
	return -error;
}

static struct text_marks marks;
static struct writer w[2];

static void
give(size_t stream, const char *text)
{
	(void)writer_put(&w[stream], text, strlen(text));
	text_marks_written(&marks, stream, &w[stream]);
}

static void
write_out(size_t stream)
{
	(void)writer_flush(&w[stream]);
	text_marks_written(&marks, stream, &w[stream]);
	text_marks_tell(&marks);
}

static void
end(uint64_t seq)
{
	is_int(text_marks_add(&marks, seq, &w[0], &w[1]), 0, "a mark of task %d", (int)seq);
}

static bool
is_told(unsigned i, uint64_t seq, uint64_t out, uint64_t err)
{
	return ok(i < ntold && told[i].seq == seq && told[i].out == out && told[i].err == err,
	    "task %d: %d, %d; told: task %d: %d, %d", (int)seq, (int)out, (int)err, (int)told[i].seq,
	    (int)told[i].out, (int)told[i].err);
}

static int
file_new(int flags)
{
	char path[] = "/tmp/knee-marks-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC | flags);

	unlink(path);
	return fd;
}

static void
begin(int out, int err)
{
	ntold = 0;
	marks = (struct text_marks){ .journal = (knee_journal *)&marks };
	writer_init(&w[0], out);
	writer_init(&w[1], err);
	writer_track(&w[0]);
	writer_track(&w[1]);
}

static void
done(int out, int err)
{
	text_marks_done(&marks);
	writer_done(&w[0]);
	writer_done(&w[1]);
	close(out);
	close(err);
}

static void
test_both_streams(void)
{
	int out = file_new(0), err = file_new(0);

	begin(out, err);
	give(0, "one\n");
	end(1);
	give(1, "error\n");
	end(2);
	end(3);
	text_marks_tell(&marks);
	is_int(ntold, 0, "nothing is told before it is written");
	write_out(1);
	is_int(ntold, 0, "nor when one of the two is");
	write_out(0);
	is_int(ntold, 3, "all are told");
	is_told(0, 1, 4, 0);
	is_told(1, 2, 4, 6);
	is_told(2, 3, 4, 6);
	end(4);
	text_marks_tell(&marks);
	is_told(3, 4, 4, 6);
	done(out, err);
}

static void
test_messages(int flags)
{
	int out = file_new(flags), err = file_new(0);

	if (!ok(write(out, "head\n", 5) == 5, "what was in it before"))
		return;
	if (flags & O_APPEND)
		(void)lseek(out, 0, SEEK_SET);
	begin(out, err);
	give(0, "one\n");
	end(1);
	write_out(0);
	is_told(0, 1, 4, 0);
	ok(write(out, "knee: message\n", 14) == 14, "a message goes in between");
	give(0, "two\n");
	end(2);
	write_out(0);
	is_told(1, 2, 22, 0);
	give(0, "part");
	write_out(0);
	ok(write(out, "!", 1) == 1, "another");
	end(3);
	text_marks_tell(&marks);
	is_told(2, 3, 26, 0);
	done(out, err);
}

/* stderr is written far beyond the task whose stdout waits, with messages in between: the place of
 * what was written first stays what it was. */
static void
test_lag(void)
{
	int ends[2], err = file_new(0);
	static char fill[1 << 20], got[1 << 16];

	if (!ok(pipe2(ends, O_CLOEXEC) == 0, "pipe"))
		return;
	begin(ends[1], err);
	is_int(writer_put(&w[0], fill, sizeof(fill)), 0, "more than the pipe takes");
	give(1, "a\n");
	end(1);
	write_out(1);
	ok(write(err, "message\n", 8) == 8, "a message");
	give(1, "b\n");
	end(2);
	write_out(1);
	write_out(0);
	is_int(ntold, 0, "the pipe is slow");
	while (ntold == 0 && read(ends[0], got, sizeof(got)) > 0)
		write_out(0);
	is_told(0, 1, sizeof(fill), 2);
	is_told(1, 2, sizeof(fill), 12);
	close(ends[0]);
	done(ends[1], err);
}

static void
test_many(void)
{
	int out = file_new(0), err = file_new(0);
	bool right = true;

	begin(out, err);
	for (uint64_t seq = 1; seq <= 200; seq++) {
		give(0, "x");
		right = right && text_marks_add(&marks, seq, &w[0], &w[1]) == 0;
		if (seq % 7 == 0)
			write_out(0);
	}
	write_out(0);
	for (unsigned i = 0; i < 200; i++)
		right = right && told[i].seq == i + 1 && told[i].out == i + 1;
	ok(right && ntold == 200, "each once, in order");
	ok(marks.cap <= 64, "told ones take no place");
	done(out, err);
}

int
main(void)
{
	test_both_streams();
	test_messages(0);
	test_messages(O_APPEND);
	test_lag();
	test_many();
	return done_testing();
}
