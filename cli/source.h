/* SPDX-License-Identifier: MIT */
/*
 * One input source (::: :::: -a or stdin): its records after all that the options say
 * about single records, cut into columns, from the first to the last, and again.
 */
#ifndef CLI_SOURCE_H
#define CLI_SOURCE_H

#include "colsep.h"
#include "reader.h"
#include "spool.h"

/* {0} is a valid source for source_done. */
struct source {
	const struct cli_options *o;
	const struct input_spec *spec;
	const struct colsep *colsep;    /* borrowed; may be NULL */
	struct reader *reader;      /* NULL: arguments */
	bool shared;                /* reader is other sources' too, borrowed; else owned */
	bool keep;                  /* it will be read again */
	bool never_empty;           /* without any record it has one, which is empty */
	struct spool *spool;        /* owned: what is kept of a reader that cannot rewind */
	struct reader *replay;      /* owned: reads spool, from the second pass on */

	size_t at;                  /* next argument */
	unsigned lead;              /* records at the start that are no inputs */
	unsigned lead_left;
	char *header;               /* owned: the record that holds the names */
	bool delivered;             /* this pass has had a record */
	bool ended;                 /* this pass is over */

	char *line;                 /* owned: a record that was joined or copied */
	size_t line_len;
	size_t line_cap;
	bool joining;               /* line waits for its continuation */
	struct columns columns;     /* the present record */
};

struct source_plan {
	const struct cli_options *o;
	const struct input_spec *spec;
	const struct colsep *colsep;
	struct reader *shared;      /* stdin's reader when several sources read it, else NULL */
	bool first;                 /* of all sources */
	bool only;                  /* there is no other */
	bool keep;
};

/* Everything in plan is borrowed. 0, or -errno after say(). */
int source_init(struct source *s, const struct source_plan *plan);
void source_done(struct source *s);

/* The next record, in s->columns until the next call: 1, 0 at the end of the pass,
 * -EAGAIN, or -errno after say(). */
int source_next(struct source *s);
/* Start another pass; only with keep. 0, or -errno after say(). */
int source_rewind(struct source *s);
/* Read what comes before the first input, the header above all. As source_next; 0: done. */
int source_lead(struct source *s);

#endif
