/* SPDX-License-Identifier: MIT */
#include "procfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int
kn_procfile_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	return fd < 0 ? -errno : fd;
}

ssize_t
kn_procfile_reread(int fd, char *buf, size_t size)
{
	ssize_t n = pread(fd, buf, size - 1, 0);

	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return n;
}

ssize_t
kn_procfile_whole(int fd, char *buf, size_t size)
{
	ssize_t got = 0;
	ssize_t n;

	do {
		n = pread(fd, buf + got, size - 1 - (size_t)got, got);
		if (n > 0)
			got += n;
	} while (n > 0 && (size_t)got < size - 1);
	if (n < 0)
		return -errno;
	buf[got] = '\0';
	return got;
}

ssize_t
kn_procfile_read(const char *path, char *buf, size_t size)
{
	int fd = kn_procfile_open(path);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = kn_procfile_reread(fd, buf, size);
	close(fd);
	return n;
}

uint64_t
kn_procfile_number(const char **s)
{
	const char *p = *s;
	uint64_t value = 0;

	while (*p == ' ' || *p == '\t')
		p++;
	for (; *p >= '0' && *p <= '9'; p++)
		value = value * 10 + (uint64_t)(*p - '0');
	*s = p;
	return value;
}

void
kn_procfile_skip(const char **s, unsigned n)
{
	const char *p = *s;

	for (; n > 0; n--) {
		p += strspn(p, " \t");
		p += strcspn(p, " \t\n");
	}
	*s = p;
}

const char *
kn_procfile_line(const char *s)
{
	s = strchr(s, '\n');
	return s != NULL && s[1] != '\0' ? s + 1 : NULL;
}

const char *
kn_procfile_after(const char *text, const char *label)
{
	size_t n = strlen(label);

	for (const char *s = text; s != NULL; s = kn_procfile_line(s)) {
		if (strncmp(s, label, n) == 0)
			return s + n;
	}
	return NULL;
}
