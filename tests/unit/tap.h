/* SPDX-License-Identifier: MIT */
/*
 * The Test Anything Protocol for C unit tests, one program each:
 *
 *	ok(cond, "name %d", ...)           a point; returns the condition
 *	is_int(got, want, "name", ...)     the same for integers, both shown at failure
 *	is_str(got, want, "name", ...)     for strings, NULL allowed
 *	is_mem(got, gotlen, want, wantlen, "name", ...)   for bytes
 *	diag("text", ...)                  a comment
 *	return done_testing();             at the end of main: the plan; 0 if all held
 *
 * A failure is followed by the file and line, and by both values.
 */
#ifndef TAP_H
#define TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static struct {
	unsigned run;
	unsigned failed;
} tap;

#define ok(cond, ...) tap_ok(__FILE__, __LINE__, (cond), __VA_ARGS__)
#define is_int(got, want, ...) tap_int(__FILE__, __LINE__, (long long)(got), (long long)(want), __VA_ARGS__)
#define is_str(got, want, ...) tap_str(__FILE__, __LINE__, (got), (want), __VA_ARGS__)
#define is_mem(got, gotlen, want, wantlen, ...) \
	tap_mem(__FILE__, __LINE__, (got), (gotlen), (want), (wantlen), __VA_ARGS__)
#define pass(...) tap_ok(__FILE__, __LINE__, true, __VA_ARGS__)
#define fail(...) tap_ok(__FILE__, __LINE__, false, __VA_ARGS__)

/* One line of text: what would break the protocol is shown as \xNN. */
static inline void
tap_show(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c < 0x20 || c >= 0x7f || c == '\\')
			printf("\\x%02x", c);
		else
			putchar(c);
	}
}

static inline void __attribute__((format(printf, 4, 0)))
tap_point(const char *file, int line, bool cond, const char *format, va_list ap)
{
	char name[512];

	vsnprintf(name, sizeof(name), format, ap);
	tap.run++;
	printf("%sok %u - ", cond ? "" : "not ", tap.run);
	for (const char *s = name; *s != '\0'; s++)
		putchar(*s == '\n' ? ' ' : *s == '#' ? '%' : *s);
	putchar('\n');
	if (!cond) {
		tap.failed++;
		printf("# failed at %s:%d\n", file, line);
	}
	fflush(stdout);
}

static inline bool __attribute__((format(printf, 4, 5)))
tap_ok(const char *file, int line, bool cond, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	tap_point(file, line, cond, format, ap);
	va_end(ap);
	return cond;
}

static inline bool __attribute__((format(printf, 5, 6)))
tap_int(const char *file, int line, long long got, long long want, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	tap_point(file, line, got == want, format, ap);
	va_end(ap);
	if (got != want)
		printf("#   got: %lld\n#  want: %lld\n", got, want);
	return got == want;
}

static inline void
tap_differ(const char *label, const char *s, size_t n)
{
	printf("# %s ", label);
	if (s == NULL) {
		printf("NULL\n");
		return;
	}
	putchar('"');
	tap_show(s, n);
	printf("\"\n");
}

static inline bool __attribute__((format(printf, 7, 0))) tap_vmem(const char *file, int line, const char *got,
    size_t gotlen, const char *want, size_t wantlen, const char *format, va_list ap)
{
	bool same = (got == NULL) == (want == NULL) && gotlen == wantlen &&
	    (gotlen == 0 || got == NULL || memcmp(got, want, gotlen) == 0);

	tap_point(file, line, same, format, ap);
	if (!same) {
		tap_differ(" got:", got, gotlen);
		tap_differ("want:", want, wantlen);
	}
	return same;
}

static inline bool __attribute__((format(printf, 7, 8))) tap_mem(const char *file, int line, const char *got,
    size_t gotlen, const char *want, size_t wantlen, const char *format, ...)
{
	va_list ap;
	bool same;

	va_start(ap, format);
	same = tap_vmem(file, line, got, gotlen, want, wantlen, format, ap);
	va_end(ap);
	return same;
}

static inline bool __attribute__((format(printf, 5, 6)))
tap_str(const char *file, int line, const char *got, const char *want, const char *format, ...)
{
	va_list ap;
	bool same;

	va_start(ap, format);
	same = tap_vmem(file, line, got, got ? strlen(got) : 0, want, want ? strlen(want) : 0, format, ap);
	va_end(ap);
	return same;
}

static inline void __attribute__((format(printf, 1, 2))) diag(const char *format, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
}

/* The plan. A program that ran no point has tested nothing, and fails. */
static inline int
done_testing(void)
{
	printf("1..%u\n", tap.run);
	return tap.failed > 0 || tap.run == 0;
}

#endif
