/* SPDX-License-Identifier: MIT */
/* What the progress line and the summary say. Pure: no clock, no terminal. */
#ifndef CLI_PROGRESS_FORMAT_H
#define CLI_PROGRESS_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <knee.h>

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
	unsigned cols; /* the terminal's width: the line is shorter by one at least */
	bool bar;
	bool eta; /* asked for: among the last things to go when it gets narrow */
	bool color;
};

enum { PROGRESS_LINE_BYTES = 512 };

/* The line, without newline, NUL-terminated, "" when nothing fits. */
void progress_line(const struct progress_view *v, char ret[PROGRESS_LINE_BYTES]);

/* The sentence at the end, without the name of the program. */
void progress_summary(const struct knee_stats *stats, bool utf8, char ret[PROGRESS_LINE_BYTES]);

#endif
