/* SPDX-License-Identifier: MIT */
/* A moment as people write it: a date, a time of day, both, with or without a zone, or how long ago. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log_parts.h"
#include "options_table.h"

#define SECOND_NS ((int64_t)1000000000)

/* Exactly n digits at *s; -1 when there are not. */
static int
digits(const char **s, int n)
{
	int value = 0;

	for (int i = 0; i < n; i++) {
		char c = **s;

		if (c < '0' || c > '9')
			return -1;
		value = value * 10 + (c - '0');
		(*s)++;
	}
	return value;
}

/* 16:30, 16:30:05, 16:30:05.25 at *s. */
static int
clock_parse(const char **s, struct tm *tm, int64_t *rest_ns)
{
	int64_t unit = SECOND_NS / 10;

	tm->tm_hour = digits(s, 2);
	if (tm->tm_hour < 0 || tm->tm_hour > 23 || *(*s)++ != ':')
		return -EINVAL;
	tm->tm_min = digits(s, 2);
	if (tm->tm_min < 0 || tm->tm_min > 59)
		return -EINVAL;
	if (**s != ':')
		return 0;
	(*s)++;
	tm->tm_sec = digits(s, 2);
	if (tm->tm_sec < 0 || tm->tm_sec > 60)
		return -EINVAL;
	if (**s != '.')
		return 0;
	for ((*s)++; **s >= '0' && **s <= '9'; (*s)++, unit /= 10)
		*rest_ns += unit * (**s - '0');
	return 0;
}

/* Z, +01:00 or -0130 at *s; *east in seconds. */
static int
zone_parse(const char **s, int *east)
{
	int sign = **s == '-' ? -1 : 1, hours, minutes;

	if (**s == 'Z' || **s == 'z') {
		(*s)++;
		*east = 0;
		return 0;
	}
	(*s)++;
	hours = digits(s, 2);
	if (**s == ':')
		(*s)++;
	minutes = digits(s, 2);
	if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
		return -EINVAL;
	*east = sign * (hours * 3600 + minutes * 60);
	return 0;
}

static int
date_parse(const char **s, struct tm *tm)
{
	tm->tm_year = digits(s, 4) - 1900;
	if (*(*s)++ != '-')
		return -EINVAL;
	tm->tm_mon = digits(s, 2) - 1;
	if (tm->tm_mon < 0 || tm->tm_mon > 11 || *(*s)++ != '-')
		return -EINVAL;
	tm->tm_mday = digits(s, 2);
	return tm->tm_mday < 1 || tm->tm_mday > 31 ? -EINVAL : 0;
}

/* The moment of tm, in local time or so far east of Greenwich. A day that its month has not is none. */
static int
moment_make(const struct tm *tm, const int *east, int64_t *ret_ns)
{
	struct tm got = *tm;
	time_t s = east != NULL ? timegm(&got) : mktime(&got);

	if (got.tm_mday != tm->tm_mday || got.tm_mon != tm->tm_mon || s < 0 ||
	    s > INT64_MAX / SECOND_NS - 86400)
		return -EINVAL;
	*ret_ns = ((int64_t)s - (east != NULL ? *east : 0)) * SECOND_NS;
	return 0;
}

/* [DATE][T or blank][CLOCK][ZONE] */
static int
calendar_parse(const char *s, int64_t now_ns, int64_t *ret_ns)
{
	time_t now = (time_t)(now_ns / SECOND_NS);
	struct tm tm = { .tm_isdst = -1 }, today;
	int64_t rest_ns = 0;
	bool date = strlen(s) > 4 && s[4] == '-', clock = !date, has_zone = false;
	int east = 0;

	if (localtime_r(&now, &today) == NULL)
		return -EINVAL;
	tm.tm_year = today.tm_year;
	tm.tm_mon = today.tm_mon;
	tm.tm_mday = today.tm_mday;
	if (date && date_parse(&s, &tm) < 0)
		return -EINVAL;
	if (date && (*s == 'T' || *s == 't' || *s == ' ')) {
		clock = true;
		s++;
	}
	if (clock && clock_parse(&s, &tm, &rest_ns) < 0)
		return -EINVAL;
	if (*s != '\0') {
		/* A date alone has no zone: 2026-11-24-01 is a slip. */
		has_zone = true;
		if (!clock || strchr("Zz+-", *s) == NULL || zone_parse(&s, &east) < 0 || *s != '\0')
			return -EINVAL;
	}
	if (moment_make(&tm, has_zone ? &east : NULL, ret_ns) < 0)
		return -EINVAL;
	*ret_ns += rest_ns;
	return 0;
}

/* "2h ago", "2h": a length with a unit. */
static int
ago_parse(const char *s, int64_t now_ns, int64_t *ret_ns)
{
	size_t n = strlen(s);
	char text[64];
	int64_t ns;

	if (n > 4 && strcmp(s + n - 4, " ago") == 0)
		n -= 4;
	else if (s[strspn(s, "0123456789.")] == '\0')
		return -EINVAL;
	if (n >= sizeof(text))
		return -EINVAL;
	memcpy(text, s, n);
	text[n] = '\0';
	if (value_duration(text, &ns) < 0)
		return -EINVAL;
	*ret_ns = ns < now_ns ? now_ns - ns : 1;
	return 0;
}

int
log_time_parse(const char *s, int64_t now_ns, int64_t *ret_ns)
{
	if (s[0] == '@') {
		char *end;
		double seconds = strtod(s + 1, &end);

		if (end == s + 1 || *end != '\0' || !(seconds > 0 && seconds < 9e9))
			return -EINVAL;
		*ret_ns = (int64_t)(seconds * 1e9);
		return 0;
	}
	if (ago_parse(s, now_ns, ret_ns) == 0)
		return 0;
	return calendar_parse(s, now_ns, ret_ns);
}
