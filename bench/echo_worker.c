/* SPDX-License-Identifier: MIT */
/* A worker that answers each line with itself, as soon as it has it: what knee's own part costs is all
 * there is to measure. What is read at once is written at once. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

static int
write_all(const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(1, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

int
main(void)
{
	static char buffer[1 << 16];
	size_t held = 0;

	for (;;) {
		ssize_t n = read(0, buffer + held, sizeof(buffer) - held);
		char *end;
		size_t whole;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0;
		held += (size_t)n;
		end = memrchr(buffer, '\n', held);
		/* A line that is longer than the buffer is not for a benchmark. */
		whole = end != NULL ? (size_t)(end - buffer) + 1 : held == sizeof(buffer) ? held : 0;
		if (write_all(buffer, whole) < 0)
			return 1;
		held -= whole;
		memmove(buffer, buffer + whole, held);
	}
}
