/* SPDX-License-Identifier: MIT */
/* Lengths, sizes and moments, for the eye and for programs. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "log_parts.h"
#include "progress_format.h"

#define SECOND_NS 1000000000

void
log_put_seconds(char ret[LOG_CELL_BYTES], int64_t ns)
{
	double s = (double)ns / 1e9;

	if (ns < 0)
		(void)snprintf(ret, LOG_CELL_BYTES, "-");
	else if (s >= 99.5)
		progress_duration(ret, LOG_CELL_BYTES, (uint64_t)(s + 0.5));
	else if (s >= 9.995)
		(void)snprintf(ret, LOG_CELL_BYTES, "%.1fs", s);
	else
		(void)snprintf(ret, LOG_CELL_BYTES, "%.*fs", s >= 0.9995 ? 2 : 3, s);
}

void
log_put_bytes(char ret[LOG_CELL_BYTES], int64_t bytes)
{
	static const char units[] = "BKMGTPE";
	double n = (double)bytes;
	size_t unit = 0;

	while (n >= 1023.5 && unit + 2 < sizeof(units)) {
		n /= 1024;
		unit++;
	}
	(void)snprintf(ret, LOG_CELL_BYTES, unit == 0 || n >= 9.95 ? "%.0f%c" : "%.1f%c", n, units[unit]);
}

/* Local time of day; false when there is no such year. */
static bool
moment_split(int64_t ns, struct tm *ret, int64_t *ret_rest)
{
	int64_t s = ns / SECOND_NS, rest = ns % SECOND_NS;
	time_t seconds;

	if (rest < 0) {
		rest += SECOND_NS;
		s--;
	}
	seconds = (time_t)s;
	*ret_rest = rest;
	return localtime_r(&seconds, ret) != NULL;
}

void
log_put_moment(char ret[LOG_CELL_BYTES], int64_t ns)
{
	struct tm tm;
	int64_t rest;

	if (!moment_split(ns, &tm, &rest) || strftime(ret, LOG_CELL_BYTES, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		memcpy(ret, "?", 2);
}

void
log_put_rfc3339(char ret[LOG_CELL_BYTES], int64_t ns)
{
	char zone[8] = "";
	struct tm tm;
	int64_t rest;
	size_t n;

	ret[0] = '\0';
	if (!moment_split(ns, &tm, &rest))
		return;
	n = strftime(ret, LOG_CELL_BYTES - 16, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)strftime(zone, sizeof(zone), "%z", &tm);
	(void)snprintf(ret + n, LOG_CELL_BYTES - n, ".%06d%.3s:%.2s", (int)(rest / 1000), zone, zone + 3);
}
