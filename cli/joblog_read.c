/* SPDX-License-Identifier: MIT */
/*
 * A job log as a source: the inputs of another one, each with what the log has of it.
 *
 * A task's last line counts.  What is known of it are two bits, in a map as long as the highest
 * number asks for; the kernel gives it memory where there is something in it, so that ten million
 * tasks are 2.5 MB, in whatever order they ended.
 *
 * For --retry-failed the lines themselves are the inputs.  Where those of failed tasks begin is kept,
 * and the line is read again when its turn has come.
 *
 * A last line without its end is what a run that died left behind: it counts for nothing.
 */
#include "joblog_read.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "grow.h"
#include "joblog_line.h"

/* Of the map, at first: whole pages. */
#define MAP_BYTES ((size_t)64 * 1024)

enum { HAS_LINE = 1, HAS_FAILED = 2 };

struct failed_line {
	uint64_t seq;
	off_t at;
};

struct joblog_past {
	const char *path; /* borrowed */
	enum knee_resume resume;
	FILE *file; /* owned */
	char *line; /* owned: what was read last */
	size_t line_cap;
	uint64_t nlines;
	off_t end;

	unsigned char *map; /* owned: four tasks to a byte, from task 0 on; NULL: empty */
	size_t map_bytes;
	uint64_t seq_last; /* the highest in it */

	struct failed_line *failed; /* owned: for --retry-failed, by seq once all is read */
	size_t nfailed, failed_cap, failed_at;

	struct knee_source inner;
	uint64_t seq; /* of the last input */
	struct knee_stored stored;
	struct knee_result result;
	const char *arg;
};

/* ---- the map ---------------------------------------------------------------- */

static int
map_grow(struct joblog_past *p, size_t need)
{
	size_t size = p->map_bytes > 0 ? p->map_bytes : MAP_BYTES;
	void *map;

	while (size < need)
		size *= 2;
	if (p->map == NULL)
		map = mmap(
		    NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	else
		map = mremap(p->map, p->map_bytes, size, MREMAP_MAYMOVE);
	if (map == MAP_FAILED)
		return -ENOMEM;
	p->map = map;
	p->map_bytes = size;
	return 0;
}

static unsigned
map_get(const struct joblog_past *p, uint64_t seq)
{
	return seq / 4 < p->map_bytes ? ((unsigned)p->map[seq / 4] >> seq % 4 * 2) & 3u : 0;
}

static int
map_set(struct joblog_past *p, uint64_t seq, unsigned bits)
{
	size_t at = (size_t)(seq / 4);
	int err = at >= p->map_bytes ? map_grow(p, at + 1) : 0;

	if (err < 0)
		return err;
	p->map[at] = (unsigned char)((p->map[at] & ~(3u << seq % 4 * 2)) | bits << seq % 4 * 2);
	if (seq > p->seq_last)
		p->seq_last = seq;
	return 0;
}

/* ---- lines that failed --------------------------------------------------------- */

static int
failed_add(struct joblog_past *p, uint64_t seq, off_t at)
{
	struct failed_line *failed = grow(p->failed, &p->failed_cap, p->nfailed + 1, sizeof(*failed));

	if (failed == NULL)
		return -ENOMEM;
	p->failed = failed;
	p->failed[p->nfailed++] = (struct failed_line){ .seq = seq, .at = at };
	return 0;
}

/* By task, the last line first. */
static int
failed_order(const void *a, const void *b)
{
	const struct failed_line *x = a, *y = b;

	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return x->at > y->at ? -1 : x->at < y->at;
}

/* ---- reading --------------------------------------------------------------------- */

static int
read_failed(const struct joblog_past *p, int err)
{
	return say_error(-err, "--joblog: %s: %s", p->path, strerror(-err));
}

/* The next whole line, its LF cut off: 1 and *n, 0 at the end, or -errno after say(). */
static int
line_next(struct joblog_past *p, size_t *n)
{
	ssize_t got;

	errno = 0;
	got = getline(&p->line, &p->line_cap, p->file);
	if (got < 0)
		return feof(p->file) ? 0 : read_failed(p, errno != 0 ? -errno : -EIO);
	if (p->line[got - 1] != '\n')
		return 0;
	p->line[got - 1] = '\0';
	*n = (size_t)got - 1;
	return 1;
}

static int
line_take(struct joblog_past *p, size_t n)
{
	struct joblog_line row;
	int err;

	if (joblog_line_parse(p->line, n, &row) < 0)
		return say_error(EINVAL,
		    "--joblog: %s: line %" PRIu64 " is none of a job log: mend it, or use another file",
		    p->path, p->nlines);
	err = map_set(p, row.seq, HAS_LINE | (row.failed ? HAS_FAILED : 0));
	if (err == 0 && row.failed && p->resume == KNEE_RETRY_FAILED)
		err = failed_add(p, row.seq, p->end);
	return err < 0 ? read_failed(p, err) : 0;
}

static int
head_take(const struct joblog_past *p, size_t n)
{
	static const char head[] = JOBLOG_HEAD;

	if (n == sizeof(head) - 2 && memcmp(p->line, head, n) == 0)
		return 0;
	return say_error(
	    EINVAL, "--joblog: %s: line 1 is not the first line of a job log: use another file", p->path);
}

static int
lines_read(struct joblog_past *p)
{
	size_t n = 0;
	int got, err = 0;

	while (err == 0 && (got = line_next(p, &n)) != 0) {
		if (got < 0)
			return got;
		p->nlines++;
		if (p->nlines == 1)
			err = head_take(p, n);
		else if (p->resume != KNEE_RESUME_NO)
			err = line_take(p, n);
		p->end += (off_t)n + 1;
	}
	if (p->nfailed > 0)
		qsort(p->failed, p->nfailed, sizeof(*p->failed), failed_order);
	return err;
}

/* Open a regular file, and wait for no other. 0, -ENOENT, or -errno after say(). */
static int
file_open(struct joblog_past *p)
{
	int fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? -ENOENT : read_failed(p, -errno);
	if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
		close(fd);
		return say_error(EINVAL, "--joblog: %s: no regular file: nothing to go on from", p->path);
	}
	p->file = fdopen(fd, "r");
	if (p->file == NULL) {
		close(fd);
		return read_failed(p, -ENOMEM);
	}
	return 0;
}

int
joblog_read(const char *path, enum knee_resume resume, struct joblog_past **ret)
{
	struct joblog_past *p = calloc(1, sizeof(*p));
	int err;

	if (p == NULL)
		return say_error(ENOMEM, "--joblog: %s", strerror(ENOMEM));
	p->path = path;
	p->resume = resume;
	err = file_open(p);
	if (err == 0)
		err = lines_read(p);
	if (err == 0)
		*ret = p;
	else
		joblog_read_free(p);
	return err == -ENOENT ? 0 : err;
}

void
joblog_read_free(struct joblog_past *p)
{
	if (p == NULL)
		return;
	if (p->file != NULL)
		(void)fclose(p->file);
	if (p->map != NULL)
		munmap(p->map, p->map_bytes);
	free(p->line);
	free(p->failed);
	free(p);
}

off_t
joblog_read_end(const struct joblog_past *p)
{
	return p->end;
}

static int
was_changed(const struct joblog_past *p)
{
	return say_error(EINVAL, "--joblog: %s: it was changed meanwhile by someone else", p->path);
}

int
joblog_read_machines(struct joblog_past *p, const struct knee_host *machines, size_t n)
{
	struct joblog_line row;
	size_t size = 0;
	int got;

	if (fseeko(p->file, 0, SEEK_SET) != 0)
		return read_failed(p, -errno);
	for (uint64_t line = 1; (got = line_next(p, &size)) > 0; line++) {
		const char *name;

		if (line == 1)
			continue;
		if (joblog_line_parse(p->line, size, &row) < 0)
			return was_changed(p);
		name = machines[(row.seq - 1) % n].name;
		if (strcmp(row.host, name) != 0)
			return say_error(EINVAL,
			    "--joblog: %s: line %" PRIu64 ": task %" PRIu64
			    " was for %s and now is for %s: give the machines as they were, in the same "
			    "order, or use another file",
			    p->path, line, row.seq, row.host, name);
	}
	return got;
}

/* ---- the source --------------------------------------------------------------------- */

/* What is stored of this input, for the engine. */
static void
store(struct joblog_past *p, unsigned bits, struct knee_input *ret)
{
	p->result =
	    (struct knee_result){ .outcome = KNEE_EXITED, .status = (bits & HAS_FAILED) != 0, .attempt = 1 };
	p->stored = (struct knee_stored){ .result = bits != 0 ? &p->result : NULL, .printed = 1 };
	ret->stored = &p->stored;
}

static int
resume_next(void *self, struct knee_input *ret)
{
	struct joblog_past *p = self;
	int got = p->inner.next(p->inner.self, ret);
	unsigned bits;

	if (got <= 0)
		return got;
	bits = map_get(p, ++p->seq);
	ret->stored = NULL;
	if (bits != 0 && (p->resume == KNEE_RESUME || (bits & HAS_FAILED) == 0))
		store(p, bits, ret);
	return 1;
}

static int
resume_fd(void *self)
{
	struct joblog_past *p = self;

	return p->inner.fd(p->inner.self);
}

/* The command of the failed task seq. */
static int
command_read(struct joblog_past *p, struct knee_input *ret)
{
	struct joblog_line row;
	size_t n = 0;
	int got;

	while (p->failed[p->failed_at].seq < p->seq)
		p->failed_at++;
	if (fseeko(p->file, p->failed[p->failed_at].at, SEEK_SET) != 0)
		return read_failed(p, -errno);
	got = line_next(p, &n);
	if (got < 0)
		return got;
	if (got == 0 || joblog_line_parse(p->line, n, &row) < 0 || row.seq != p->seq)
		return was_changed(p);
	p->arg = row.command;
	*ret = (struct knee_input){ .args = &p->arg, .nargs = 1 };
	return 1;
}

static int
retry_next(void *self, struct knee_input *ret)
{
	struct joblog_past *p = self;
	unsigned bits;

	if (p->seq >= p->seq_last)
		return 0;
	bits = map_get(p, ++p->seq);
	if ((bits & HAS_FAILED) != 0)
		return command_read(p, ret);
	*ret = (struct knee_input){ 0 };
	store(p, bits, ret);
	return 1;
}

struct knee_source
joblog_read_source(struct joblog_past *p, const struct knee_source *inner)
{
	p->inner = *inner;
	if (p->resume == KNEE_RETRY_FAILED)
		return (struct knee_source){ .self = p, .next = retry_next };
	return (struct knee_source){ .self = p, .next = resume_next, .fd = resume_fd };
}
