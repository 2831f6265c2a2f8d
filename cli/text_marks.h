/* SPDX-License-Identifier: MIT */
/*
 * Which tasks' output has been written, for the journal.  A task that has been handed over whole
 * leaves a mark: how many bytes had been given to each of the two writers by then.  When both have
 * written that far the journal is told, in the order of printing, and no task earlier than that.
 *
 * What it is told are places in the files: bytes since the start of the run, those included that
 * others wrote in between (messages, when both streams are one file).
 */
#ifndef CLI_TEXT_MARKS_H
#define CLI_TEXT_MARKS_H

#include <stddef.h>
#include <stdint.h>

#include <knee_program.h>

#include "writer.h"

struct text_mark {
	uint64_t seq;
	uint64_t at[2];             /* by stream: bytes given to its writer; once written: the place */
};

/* Invariant: list[head .. n) wait; of stream s those before placed[s] are written. {0} is empty. */
struct text_marks {
	knee_journal *journal;      /* borrowed; NULL: nobody asks */
	struct text_mark *list;     /* owned */
	size_t head, n, cap;
	size_t placed[2];
};

void text_marks_done(struct text_marks *m);
/* Task seq is whole: all of its bytes have been given to the writers. 0, or -ENOMEM after say(). */
int text_marks_add(struct text_marks *m, uint64_t seq, const struct writer *out, const struct writer *err);
/* This stream's writer may have written more. To be called after all that makes it write. */
void text_marks_written(struct text_marks *m, size_t stream, const struct writer *w);
/* Tell the journal what is new. */
void text_marks_tell(struct text_marks *m);

#endif
