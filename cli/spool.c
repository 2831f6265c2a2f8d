/* SPDX-License-Identifier: MIT */
#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

enum { CHUNK = 64 * 1024 };

/* Invariant: the file holds the first size - held bytes, data the last held ones. */
struct spool {
	int fd;
	const char *folder; /* borrowed */
	uint64_t size;
	size_t held;
	char data[CHUNK];
};

/* The folder is to blame for whatever goes wrong here, and for a full disk above all. */
static int
fail(const char *folder, int error)
{
	return say_error(error,
	    "%s: %s: inputs that are needed again are kept there; "
	    "use --tmpdir for another folder",
	    folder, strerror(error));
}

/* Not every file system has files without a name. */
static int
open_named(const char *folder)
{
	char *path;
	int fd;

	if (asprintf(&path, "%s/knee-XXXXXX", folder) < 0)
		return -ENOMEM;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	else
		unlink(path);
	free(path);
	return fd;
}

int
spool_new(const char *folder, struct spool **ret)
{
	struct spool *s = malloc(sizeof(*s));
	int err;

	if (s == NULL)
		return say_error(ENOMEM, "inputs: %s", strerror(ENOMEM));
	s->folder = folder;
	s->size = 0;
	s->held = 0;
	s->fd = open(folder, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
	if (s->fd < 0)
		s->fd = open_named(folder);
	if (s->fd < 0) {
		err = fail(folder, -s->fd);
		free(s);
		return err;
	}
	*ret = s;
	return 0;
}

void
spool_free(struct spool *s)
{
	if (s == NULL)
		return;
	close(s->fd);
	free(s);
}

static int
write_out(struct spool *s, const char *data, size_t size, uint64_t at)
{
	ssize_t n;

	while (size > 0) {
		n = pwrite(s->fd, data, size, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fail(s->folder, n < 0 ? errno : ENOSPC);
		data += n;
		size -= (size_t)n;
		at += (uint64_t)n;
	}
	return 0;
}

int
spool_flush(struct spool *s)
{
	int err = write_out(s, s->data, s->held, s->size - s->held);

	if (err < 0)
		return err;
	s->held = 0;
	return 0;
}

int
spool_add(struct spool *s, const void *data, size_t size)
{
	int err;

	if (size > sizeof(s->data) - s->held) {
		err = spool_flush(s);
		if (err < 0)
			return err;
	}
	if (size > sizeof(s->data)) {
		err = write_out(s, data, size, s->size);
		if (err < 0)
			return err;
	} else {
		memcpy(s->data + s->held, data, size);
		s->held += size;
	}
	s->size += size;
	return 0;
}

uint64_t
spool_size(const struct spool *s)
{
	return s->size;
}

int
spool_fd(const struct spool *s)
{
	return s->fd;
}
