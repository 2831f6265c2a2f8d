/* SPDX-License-Identifier: MIT */
/* What the progress line says. Pure: no clock, no terminal. */
#ifndef CLI_PROGRESS_FORMAT_H
#define CLI_PROGRESS_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <knee_program.h>

/*
 * How fast tasks end, of late. {0} has seen nothing.
 * Tasks often end in waves, as many together as run at once: the time since the last
 * one counts against the rate only when it is longer than such a gap usually is.
 */
struct progress_rate {
	bool begun;
	uint64_t done;
	int64_t time_ns;
	double tasks, seconds; /* both fade with age */
	double idle;           /* seconds since a task ended */
	double gap;            /* seconds that usually pass between two waves */
};

void progress_rate_add(struct progress_rate *r, int64_t now_ns, uint64_t done);
/* Tasks a second; 0 when unknown. */
double progress_rate_get(const struct progress_rate *r);
/* Seconds until left more tasks have ended; negative when unknown. */
double progress_rate_eta(const struct progress_rate *r, uint64_t left);

struct progress_view {
	const char *face;
	const struct knee_stats *stats;
	const struct progress_rate *rate;
	const struct knee_work *works; /* kinds of work, nworks of them */
	size_t nworks;
	unsigned cols; /* the terminal's width: the line is shorter by one at least */
	bool bar;
	bool eta; /* asked for: among the last things to go when it gets narrow */
	bool color;
	bool utf8; /* the terminal shows more than ASCII */
};

enum { PROGRESS_LINE_BYTES = 512 };

/* The line, without newline, NUL-terminated, "" when nothing fits. */
void progress_line(const struct progress_view *v, char ret[PROGRESS_LINE_BYTES]);

/* 1234567 as 1,234,567; ret has room for 27 bytes. */
void progress_count(char *ret, uint64_t n);
/* 9s, 1m05s, 2h03m, 3d04h: two units are enough to wait by. */
void progress_duration(char *ret, size_t size, uint64_t s);

#endif
