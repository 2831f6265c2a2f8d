/* SPDX-License-Identifier: MIT */
/* The result, from a hidden file to one with a name. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "csv2avro.h"

/* a for a.csv and a.csv.gz; any other name is kept. The caller frees. */
static char *
name_of(const char *input)
{
	const char *slash = strrchr(input, '/');
	char *name = strdup(slash != NULL ? slash + 1 : input);
	static const char *const endings[] = { ".gz", ".csv" };

	for (size_t i = 0; name != NULL && i < sizeof(endings) / sizeof(endings[0]); i++) {
		size_t size = strlen(name), tail = strlen(endings[i]);
		if (size > tail && strcasecmp(name + size - tail, endings[i]) == 0)
			name[size - tail] = '\0';
	}
	return name;
}

int
result_name(struct job *j)
{
	const char *slash = strrchr(j->input, '/'), *out = j->shared->options.out;
	int size = slash != NULL ? (int)(slash + 1 - j->input) : 0;
	struct output *o = &j->out;
	struct stat st;
	char *folder;
	int err = -ENOMEM;

	o->name = name_of(j->input);
	if ((out != NULL ? asprintf(&folder, "%s/", out) : asprintf(&folder, "%.*s", size, j->input)) < 0)
		return job_no_memory(j);
	if (stat(*folder != '\0' ? folder : ".", &st) < 0) {
		err = job_because(j, -errno, "%s: %s", folder, strerror(errno));
		goto folder;
	}
	if (o->name == NULL || asprintf(&o->path, "%s%s.avro", folder, o->name) < 0 ||
	    asprintf(&o->part, "%s.%s.avro.part", folder, o->name) < 0 ||
	    asprintf(&o->bad_path, "%s%s.bad", folder, o->name) < 0 ||
	    asprintf(&o->bad_part, "%s.%s.bad.part", folder, o->name) < 0) {
		job_no_memory(j);
		goto folder;
	}
	o->folder_dev = st.st_dev;
	o->folder_ino = st.st_ino;
	err = 0;
folder:
	free(folder);
	return err;
}

/* A result that is some task's, for the whole run: another attempt of that one may have it again. */
struct claim {
	uint64_t seq;
	dev_t folder_dev;
	ino_t folder_ino;
	char name[];
};

static int
compare(const void *left, const void *right)
{
	const struct claim *a = left, *b = right;

	if (a->folder_dev != b->folder_dev)
		return a->folder_dev < b->folder_dev ? -1 : 1;
	if (a->folder_ino != b->folder_ino)
		return a->folder_ino < b->folder_ino ? -1 : 1;
	return strcmp(a->name, b->name);
}

int
result_claim(struct job *j)
{
	struct shared *s = j->shared;
	size_t size = strlen(j->out.name) + 1;
	struct claim *claim = malloc(sizeof(*claim) + size), **found;
	const struct claim *kept = NULL;
	uint64_t owner;

	if (claim == NULL)
		return job_no_memory(j);
	*claim = (struct claim){
		.seq = j->call->seq, .folder_dev = j->out.folder_dev, .folder_ino = j->out.folder_ino
	};
	memcpy(claim->name, j->out.name, size);
	pthread_mutex_lock(&s->lock);
	found = tsearch(claim, &s->claims, compare);
	if (found != NULL)
		kept = *found;
	pthread_mutex_unlock(&s->lock);
	/* What is in the tree stays there, and as it is. */
	if (kept != claim)
		free(claim);
	if (kept == NULL)
		return job_no_memory(j);
	owner = kept->seq;
	if (owner != j->call->seq)
		return job_because(j, -EEXIST, "input %" PRIu64 " becomes %s, too", owner, j->out.path);
	return 0;
}

/*
 * The hidden file that becomes the result, and its lock. Whoever holds the lock of the file that has the
 * name may write it: what a run that was killed left there is used again, and one that another run has
 * renamed meanwhile is not.
 */
static int
open_part(struct job *j, const char *part, FILE **ret)
{
	struct stat ours, named;
	int fd, err;

	for (;;) {
		fd = open(part, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
		if (fd < 0)
			return job_because(j, -errno, "%s: %s", part, strerror(errno));
		if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
			err = -errno;
			close(fd);
			return job_because(j, err, "%s: %s", part,
			    err == -EWOULDBLOCK ? "another run is writing it" : strerror(-err));
		}
		if (fstat(fd, &ours) == 0 && stat(part, &named) == 0 && ours.st_ino == named.st_ino &&
		    ours.st_dev == named.st_dev)
			break;
		close(fd);
	}
	if (ftruncate(fd, 0) == 0)
		*ret = fdopen(fd, "w");
	if (*ret == NULL) {
		err = -errno;
		unlink(part);
		close(fd);
		return job_because(j, err, "%s: %s", part, strerror(-err));
	}
	return 0;
}

static int
write_failed(struct job *j, const char *path)
{
	return job_because(j, -EIO, "%s: %s", path, errno != 0 ? strerror(errno) : "cannot be written");
}

static int
open_output(struct job *j)
{
	struct output *o = &j->out;
	int err = open_part(j, o->part, &o->file);

	if (err < 0)
		return err;
	errno = 0;
	/* As large as a row may be: what is not used of it is never touched, and takes no memory. */
	if (avro_file_writer_create_with_codec_fp(
		o->file, o->part, 0, j->plan.schema, &o->writer, j->shared->options.codec, ROW_BYTES) == 0)
		return 0;
	o->writer = NULL;
	return errno == ENOMEM ? job_no_memory(j) : write_failed(j, o->part);
}

static int
add_row(struct job *j, int64_t size)
{
	struct output *o = &j->out;

	errno = 0;
	if (avro_file_writer_append_encoded(o->writer, o->bytes, size) != 0)
		return write_failed(j, o->part);
	o->pending += (size_t)size;
	if (o->pending >= BLOCK_BYTES) {
		o->pending = 0;
		if (avro_file_writer_sync(o->writer) != 0)
			return write_failed(j, o->part);
	}
	j->sums.rows++;
	return 0;
}

static int
add_bad_row(struct job *j, const char *reason)
{
	const struct row *row = &j->in.row;
	struct output *o = &j->out;
	int err;

	if (o->bad == NULL) {
		err = open_part(j, o->bad_part, &o->bad);
		if (err < 0)
			return err;
	}
	errno = 0;
	fprintf(o->bad, "%" PRIu64 "\t%s\t", row->line, reason);
	fwrite(row->raw, 1, row->raw_size, o->bad);
	if (putc('\n', o->bad) == EOF)
		return write_failed(j, o->bad_part);
	j->sums.bad_rows++;
	return 0;
}

int
result_write(struct job *j)
{
	int got, err = open_output(j);
	const char *bad;
	int64_t size;

	if (err < 0)
		return err;
	while ((got = rows_next(j)) == 1) {
		bad = rows_defect(j);
		size = bad == NULL ? value_row(j) : 0;
		if (size == -EINVAL)
			bad = j->reason;
		else if (size < 0)
			return (int)size;
		else if (size > ROW_BYTES)
			bad = "too long";
		err = bad != NULL ? add_bad_row(j, bad) : add_row(j, size);
		if (err < 0)
			return err;
	}
	return got;
}

/* Everything to the file, and from there to the disk; it stays open, for its lock. */
static int
settle_file(struct job *j, FILE *file, const char *path, uint64_t *size)
{
	if (fflush(file) != 0 || ferror(file) || (j->shared->options.sync && fsync(fileno(file)) < 0))
		return write_failed(j, path);
	*size = (uint64_t)ftello(file);
	return 0;
}

int
result_settle(struct job *j)
{
	struct output *o = &j->out;
	uint64_t size;
	int err;

	/* libavro flushes the file, too, and is silent about what comes of it. */
	errno = 0;
	if (avro_file_writer_close(o->writer) != 0)
		return write_failed(j, o->part);
	o->writer = NULL;
	err = settle_file(j, o->file, o->part, &j->sums.bytes_out);
	if (err == 0 && o->bad != NULL)
		err = settle_file(j, o->bad, o->bad_part, &size);
	return err;
}

int
result_publish(struct job *j)
{
	struct output *o = &j->out;

	if ((o->bad != NULL ? rename(o->bad_part, o->bad_path) : unlink(o->bad_path)) < 0 && errno != ENOENT)
		return job_because(j, -errno, "%s: %s", o->bad_path, strerror(errno));
	if (o->bad != NULL)
		fclose(o->bad);
	o->bad = NULL;
	if (rename(o->part, o->path) < 0)
		return job_because(j, -errno, "%s: %s", o->path, strerror(errno));
	fclose(o->file);
	o->file = NULL;
	return 0;
}

void
result_discard(struct output *o)
{
	if (o->file != NULL)
		unlink(o->part);
	if (o->bad != NULL) {
		unlink(o->bad_part);
		fclose(o->bad);
	}
	/* libavro frees no writer whose last block cannot be written: let it go where all can be. */
	if (o->writer != NULL) {
		o->file = freopen("/dev/null", "w", o->file);
		if (o->file != NULL)
			avro_file_writer_close(o->writer);
	}
	if (o->file != NULL)
		fclose(o->file);
}
