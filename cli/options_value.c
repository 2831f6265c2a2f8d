/* SPDX-License-Identifier: MIT */
/*
 * What the values of options say: numbers, times, sizes, signals.  Nothing here prints
 * or knows an option; the setters say what was wrong.  Numbers are read by hand: strtod
 * and strtol follow the locale, take blanks, "inf", "0x1p3", and are silent on overflow.
 */
#include "options_table.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* About 30 years: far from where nanoseconds added to a clock would overflow. */
static const double duration_max_ns = 1e18;

/* Digits at *at, at least one; *at is moved behind them. */
static int
digits(const char **at, uint64_t max, uint64_t *ret)
{
	const char *s = *at;
	uint64_t n = 0;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	for (; *s >= '0' && *s <= '9'; s++) {
		unsigned digit = (unsigned)(*s - '0');

		if (n > (max - digit) / 10 || digit > max)
			return -ERANGE;
		n = n * 10 + digit;
	}
	*at = s;
	*ret = n;
	return 0;
}

/* "12" or "12.5" at *at. */
static int
decimal(const char **at, double *ret)
{
	const char *s = *at;
	double n = 0, unit = 1;
	bool any = false;

	for (; *s >= '0' && *s <= '9'; s++, any = true)
		n = n * 10 + (*s - '0');
	if (*s == '.') {
		for (s++; *s >= '0' && *s <= '9'; s++, any = true) {
			unit /= 10;
			n += unit * (*s - '0');
		}
	}
	if (!any)
		return -EINVAL;
	*at = s;
	*ret = n;
	return 0;
}

/* K M G T P are powers of 1024, k m g t p of 1000; Ki and ki are K. 0: no such unit. */
static uint64_t
unit_size(const char *s)
{
	static const char large[] = "KMGTP", small[] = "kmgtp";
	const char *found;
	bool binary = s[0] != '\0' && s[1] == 'i';
	uint64_t size = 1, step;

	if (s[0] == '\0')
		return 1;
	if (s[binary ? 2 : 1] != '\0')
		return 0;
	found = strchr(large, s[0]);
	step = found || binary ? 1024 : 1000;
	if (found == NULL) {
		found = strchr(small, s[0]);
		if (found == NULL)
			return 0;
		found = large + (found - small);
	}
	for (const char *p = large; p <= found; p++)
		size *= step;
	return size;
}

int
value_count(const char *s, uint64_t max, uint64_t *ret)
{
	uint64_t n, unit;
	int err = digits(&s, UINT64_MAX, &n);

	if (err < 0)
		return err;
	unit = unit_size(s);
	if (unit == 0)
		return -EINVAL;
	if (n > max / unit)
		return -ERANGE;
	*ret = n * unit;
	return 0;
}

int
value_integer(const char *s, int min, int max, int *ret)
{
	bool minus = *s == '-';
	uint64_t n;
	int64_t value;
	int err;

	if (*s == '-' || *s == '+')
		s++;
	err = digits(&s, INT_MAX, &n);
	if (err < 0)
		return err;
	if (*s != '\0')
		return -EINVAL;
	value = minus ? -(int64_t)n : (int64_t)n;
	if (value < min || value > max)
		return -ERANGE;
	*ret = (int)value;
	return 0;
}

/* The unit at *at in nanoseconds, 0 when there is none; *at is moved behind it. */
static double
unit_ns(const char **at)
{
	static const struct {
		const char *name;
		double ns;
	} units[] = {
		{ "ms", 1e6 },
		{ "s", 1e9 },
		{ "m", 60e9 },
		{ "h", 3600e9 },
		{ "d", 86400e9 },
	};

	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		size_t n = strlen(units[i].name);

		if (strncasecmp(*at, units[i].name, n) == 0) {
			*at += n;
			return units[i].ns;
		}
	}
	return 0;
}

int
value_duration(const char *s, int64_t *ret_ns)
{
	const char *start = s;
	double sum = 0;

	do {
		double n, unit;

		if (decimal(&s, &n) < 0)
			return -EINVAL;
		unit = unit_ns(&s);
		/* A bare number is seconds, but only alone: "1m30" says nothing sure. */
		if (unit == 0 && (*s != '\0' || sum > 0))
			return -EINVAL;
		sum += n * (unit == 0 ? 1e9 : unit);
	} while (*s != '\0' && s > start);
	if (sum > duration_max_ns)
		return -ERANGE;
	*ret_ns = (int64_t)(sum + 0.5);
	return 0;
}

int
value_percent(const char *s, double *ret)
{
	double n;

	if (decimal(&s, &n) < 0 || strcmp(s, "%") != 0)
		return -EINVAL;
	if (n > 1e9)
		return -ERANGE;
	*ret = n;
	return 0;
}

/* The value of a digit in base 8 or 16, or -1. */
static int
digit_value(char c, int base)
{
	int n = -1;

	if (c >= '0' && c <= '9')
		n = c - '0';
	else if (c >= 'a' && c <= 'f')
		n = c - 'a' + 10;
	else if (c >= 'A' && c <= 'F')
		n = c - 'A' + 10;
	return n < base ? n : -1;
}

/* Up to most digits of that base at s; returns how many there are. */
static size_t
escaped_number(const char *s, int base, size_t most, unsigned *ret)
{
	size_t n = 0;

	*ret = 0;
	for (; n < most && digit_value(s[n], base) >= 0; n++)
		*ret = *ret * (unsigned)base + (unsigned)digit_value(s[n], base);
	return n;
}

int
value_byte(const char *s, unsigned char *ret)
{
	static const char names[] = "abfnrtv\\", bytes[] = "\a\b\f\n\r\t\v\\";
	const char *found;
	unsigned number;
	size_t n;

	if (s[0] == '\0')
		return -EINVAL;
	if (s[1] == '\0') {
		*ret = (unsigned char)s[0];
		return 0;
	}
	if (s[0] != '\\')
		return -EINVAL;
	found = strchr(names, s[1]);
	if (found && s[2] == '\0') {
		*ret = (unsigned char)bytes[found - names];
		return 0;
	}
	n = s[1] == 'x' ? escaped_number(s + 2, 16, 2, &number) + 1 : escaped_number(s + 1, 8, 3, &number);
	if (s[1 + n] != '\0' || n == 0 || (s[1] == 'x' && n == 1))
		return -EINVAL;
	if (number > 255)
		return -ERANGE;
	*ret = (unsigned char)number;
	return 0;
}

size_t
value_unescape(const char *s, char *to)
{
	size_t n = 0;

	while (*s != '\0') {
		size_t taken = 2;
		unsigned number;

		if (s[0] == '\\' && s[1] == 't')
			to[n++] = '\t';
		else if (s[0] == '\\' && s[1] == 'n')
			to[n++] = '\n';
		else if (s[0] == '\\' && s[1] == 'r')
			to[n++] = '\r';
		else if (s[0] == '\\' && digit_value(s[1], 8) >= 0) {
			taken = 1 + escaped_number(s + 1, 8, 3, &number);
			to[n++] = (char)(unsigned char)number;
		} else {
			to[n++] = *s;
			taken = 1;
		}
		s += taken;
	}
	return n;
}

int
value_signal(const char *s, int *ret)
{
	uint64_t n;

	if (value_count(s, (uint64_t)SIGRTMAX, &n) == 0) {
		if (n == 0)
			return -ERANGE;
		*ret = (int)n;
		return 0;
	}
	if (strncasecmp(s, "SIG", 3) == 0)
		s += 3;
	for (int i = 1; i < SIGRTMIN; i++) {
		const char *name = sigabbrev_np(i);

		if (name && strcasecmp(s, name) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

/* "3" or "30%" behind "fail=". */
static int
halt_amount(const char *s, struct knee_halt *ret)
{
	double percent;
	int err = value_percent(s, &percent);

	if (err == 0) {
		if (percent <= 0 || percent > 100)
			return -ERANGE;
		ret->percent = percent;
		ret->count = 0;
		return 0;
	}
	err = digits(&s, UINT64_MAX, &ret->count);
	if (err < 0 || *s != '\0')
		return err < 0 ? err : -EINVAL;
	return ret->count == 0 ? -ERANGE : 0;
}

/* If *at begins with text, move it behind that. */
static bool
skip(const char **at, const char *text)
{
	size_t n = strlen(text);

	if (strncmp(*at, text, n) != 0)
		return false;
	*at += n;
	return true;
}

/* "now,success=" at *at; *at is moved behind it. */
static int
halt_condition(const char **at, struct knee_halt *ret)
{
	if (skip(at, "now,"))
		ret->when = KNEE_HALT_NOW;
	else if (!skip(at, "soon,"))
		return -EINVAL;
	if (skip(at, "success="))
		ret->on = KNEE_HALT_SUCCESS;
	else if (skip(at, "done="))
		ret->on = KNEE_HALT_DONE;
	else if (!skip(at, "fail="))
		return -EINVAL;
	return 0;
}

int
value_halt(const char *s, struct knee_halt *ret)
{
	static const char *const shorts[][2] = {
		{ "0", "never" },
		{ "1", "soon,fail=1" },
		{ "2", "now,fail=1" },
		{ "-1", "soon,success=1" },
		{ "-2", "now,success=1" },
	};
	struct knee_halt halt = { .when = KNEE_HALT_SOON, .on = KNEE_HALT_FAIL };
	int err;

	for (size_t i = 0; i < sizeof(shorts) / sizeof(*shorts); i++) {
		if (strcmp(s, shorts[i][0]) == 0)
			s = shorts[i][1];
	}
	if (strcmp(s, "never") == 0) {
		*ret = (struct knee_halt){ .when = KNEE_HALT_NEVER };
		return 0;
	}
	if (strchr(s, ',') || strchr(s, '%') == NULL) {
		err = halt_condition(&s, &halt);
		if (err < 0)
			return err;
	}
	err = halt_amount(s, &halt);
	if (err == 0)
		*ret = halt;
	return err;
}

/* One "TERM,200" of the list at *at, or "TERM" at its end. */
static int
term_step(const char **at, struct knee_term_step *ret)
{
	char name[16];
	size_t size = strcspn(*at, ",");
	uint64_t ms = 0;
	int err;

	if (size >= sizeof(name))
		return -EINVAL;
	memcpy(name, *at, size);
	name[size] = '\0';
	err = value_signal(name, &ret->signal);
	*at += size;
	if (err == 0 && **at == ',') {
		++*at;
		err = digits(at, UINT64_C(1000000000), &ms);
		if (err == 0 && (*at)[0] == ',' && (*at)[1] != '\0')
			++*at;
		else if (err == 0 && **at != '\0')
			err = -EINVAL;
	}
	ret->wait_ns = (int64_t)ms * 1000000;
	return err;
}

int
value_term_seq(const char *s, struct knee_term_step **ret, size_t *n)
{
	struct knee_term_step *steps;
	size_t count = 0, room = 1;
	int err;

	for (const char *p = s; *p != '\0'; p++)
		room += *p == ',';
	steps = calloc(room, sizeof(*steps));
	if (steps == NULL)
		return -ENOMEM;
	do {
		err = term_step(&s, &steps[count++]);
		if (err < 0)
			goto free_steps;
	} while (*s != '\0');
	*ret = steps;
	*n = count;
	return 0;

free_steps:
	free(steps);
	return err;
}

bool
value_jobs_of_cores(const char *s)
{
	return strpbrk(s, "%+-") != NULL;
}

/* 8, 0 (UINT_MAX), 50%, +2, -1. */
static int
jobs_number(const char *s, unsigned cores, unsigned *ret)
{
	bool more = *s == '+', less = *s == '-';
	uint64_t n;
	double percent;
	int err = more || less ? -EINVAL : value_percent(s, &percent);

	if (err == 0) {
		double limit = cores * percent / 100;

		if (limit >= UINT_MAX)
			return -ERANGE;
		n = (uint64_t)limit;
		n += (double)n < limit;
		*ret = n < 1 ? 1 : (unsigned)n;
		return 0;
	}
	if (err == -ERANGE)
		return err;
	s += more || less;
	err = digits(&s, UINT_MAX - 1, &n);
	if (err < 0)
		return err;
	if (*s != '\0')
		return -EINVAL;
	if (less)
		n = n < cores ? cores - n : 1;
	else if (more)
		n += cores;
	else if (n == 0)
		n = UINT_MAX;
	if (n > UINT_MAX)
		return -ERANGE;
	*ret = (unsigned)n;
	return 0;
}

/* MIN..MAX, the dots at dots. */
static int
jobs_range(const char *s, const char *dots, unsigned cores, struct value_jobs *ret)
{
	struct value_jobs jobs = { 0 };
	char least[24];
	size_t size = (size_t)(dots - s);
	int err;

	if (size >= sizeof(least))
		return -EINVAL;
	memcpy(least, s, size);
	least[size] = '\0';
	err = jobs_number(least, cores, &jobs.least);
	if (err == 0)
		err = jobs_number(dots + 2, cores, &jobs.most);
	if (err < 0)
		return err;
	/* 0 is "as many as possible": as the most it is no bound, as the least it says nothing. */
	if (jobs.least == UINT_MAX)
		return -EINVAL;
	if (jobs.most < jobs.least)
		return -ERANGE;
	if (jobs.most == UINT_MAX)
		jobs.most = 0;
	*ret = jobs;
	return 0;
}

int
value_jobs(const char *s, unsigned cores, struct value_jobs *ret)
{
	const char *dots = strstr(s, "..");
	unsigned n;
	int err;

	if (strcmp(s, "auto") == 0) {
		*ret = (struct value_jobs){ 0 };
		return 0;
	}
	if (strncmp(s, "auto:", 5) == 0) {
		err = jobs_number(s + 5, cores, &n);
		if (err == 0)
			*ret = (struct value_jobs){ .most = n < UINT_MAX ? n : 0 };
		return err;
	}
	if (dots != NULL)
		return jobs_range(s, dots, cores, ret);
	err = jobs_number(s, cores, &n);
	if (err == 0)
		*ret = (struct value_jobs){ .limit = n };
	return err;
}

int
value_load(const char *s, unsigned cores, double *ret)
{
	bool more = *s == '+', less = *s == '-';
	const char *at = s + (more || less);
	double n;
	int err = more || less ? -EINVAL : value_percent(s, &n);

	if (err == 0) {
		n = cores * n / 100;
	} else {
		err = decimal(&at, &n);
		if (err < 0 || *at != '\0')
			return -EINVAL;
		n = more ? cores + n : less ? cores - n : n;
	}
	if (n > 1e9)
		return -ERANGE;
	/* As GNU parallel: 0 means nearly none, not no bound. */
	*ret = n < 0.01 ? 0.01 : n;
	return 0;
}

/* "75" or "100-103" at *at, noted in taken; *at is moved behind it. */
static int
status_range(const char **at, bool taken[256])
{
	uint64_t from, to;
	int err = digits(at, UINT64_MAX, &from);

	if (err < 0)
		return err;
	to = from;
	if (**at == '-') {
		++*at;
		err = digits(at, UINT64_MAX, &to);
	}
	if (err < 0)
		return err;
	if (from < 1 || to > 255 || from > to)
		return -ERANGE;
	for (; from <= to; from++)
		taken[from] = true;
	return 0;
}

int
value_statuses(const char *s, int **ret, size_t *n)
{
	bool taken[256] = { false };
	int *list;
	size_t count = 0;
	int err;

	do {
		err = status_range(&s, taken);
		if (err < 0)
			return err;
		if (*s != ',' && *s != '\0')
			return -EINVAL;
	} while (*s++ == ',');
	list = calloc(256, sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	for (int status = 1; status < 256; status++)
		if (taken[status])
			list[count++] = status;
	*ret = list;
	*n = count;
	return 0;
}
