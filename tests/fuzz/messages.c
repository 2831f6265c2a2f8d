/* SPDX-License-Identifier: MIT */
/*
 * What knee says: put before write(2) by --wrap. A message is one line without a control byte,
 * whatever it quotes; it goes nowhere.
 */
#include <unistd.h>

#include "fuzz.h"

ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size);

ssize_t
__wrap_write(int fd, const void *data, size_t size)
{
	const unsigned char *s = data;

	if (fd != STDERR_FILENO)
		return __real_write(fd, data, size);
	HOLDS(size > 0 && s[size - 1] == '\n', "a message without its newline");
	for (size_t i = 0; i + 1 < size; i++)
		HOLDS(s[i] >= 0x20 && s[i] != 0x7f, "the byte %d in a message", s[i]);
	return (ssize_t)size;
}
