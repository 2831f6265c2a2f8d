/* SPDX-License-Identifier: MIT */
/*
 * Messages: "knee: " + text + newline on stderr, each in one write(), so that the
 * lines of several programs on one terminal do not mix.  The text may quote what the
 * user typed or what a file is called; control bytes in it are shown as \n, \t, \xHH:
 * a message is always one line and never a command to the terminal.
 *
 * This is the one place of the program that keeps state of its own: a message can
 * come from anywhere, and none of its writers should have to carry the prefix along.
 */
#include "cli.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
	const char *face; /* borrowed; NULL: "knee" */
	void (*before)(void *self);
	void (*after)(void *self);
	void *self;
} room;

void
say_face(const char *face)
{
	room.face = face;
}

void
say_around(void (*before)(void *self), void (*after)(void *self), void *self)
{
	room.before = before;
	room.after = after;
	room.self = self;
}

void
say_before(void)
{
	if (room.before)
		room.before(room.self);
}

void
say_after(void)
{
	if (room.after)
		room.after(room.self);
}

/* Standard error may be closed, or be somebody's descriptor that does not block:
 * the first loses the message, the second is waited for. */
static void
write_all(const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(STDERR_FILENO, data, size);

		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };

			if (poll(&p, 1, -1) >= 0 || errno == EINTR)
				continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		data += n;
		size -= (size_t)n;
	}
}

size_t
say_shown(char *to, char byte)
{
	static const char hex[] = "0123456789ABCDEF";
	unsigned char c = (unsigned char)byte;

	if (c >= 0x20 && c != 0x7f) {
		to[0] = byte;
		return 1;
	}
	to[0] = '\\';
	if (c == '\n' || c == '\t') {
		to[1] = c == '\n' ? 'n' : 't';
		return 2;
	}
	to[1] = 'x';
	to[2] = hex[c >> 4];
	to[3] = hex[c & 15];
	return 4;
}

/* The line to write, in room for size bytes; what does not fit is left out. */
static size_t
line_make(char *line, size_t size, const char *face, const char *text)
{
	size_t n = 0;

	for (; *face && n + 3 < size; face++)
		line[n++] = *face;
	line[n++] = ':';
	line[n++] = ' ';
	for (; *text && n + 5 <= size; text++)
		n += say_shown(line + n, *text);
	line[n++] = '\n';
	return n;
}

__attribute__((format(printf, 1, 0))) static void
say_list(const char *format, va_list list)
{
	const char *face = room.face ? room.face : "knee";
	char spare_text[256], spare_line[512];
	char *text = NULL, *line = NULL;
	int saved = errno;
	size_t size = sizeof(spare_line);
	va_list again;

	/* Without memory there is still a message, cut if it must be. */
	va_copy(again, list);
	if (vasprintf(&text, format, list) < 0) {
		text = NULL;
		vsnprintf(spare_text, sizeof(spare_text), format, again);
	} else {
		size_t whole = strlen(face) + 4 * strlen(text) + 8;

		line = malloc(whole);
		if (line)
			size = whole;
	}
	va_end(again);
	size = line_make(line ? line : spare_line, size, face, text ? text : spare_text);
	say_before();
	write_all(line ? line : spare_line, size);
	say_after();
	free(line);
	free(text);
	errno = saved;
}

void
say(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	say_list(format, list);
	va_end(list);
}

int
say_error(int error, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	say_list(format, list);
	va_end(list);
	return -error;
}
