/* SPDX-License-Identifier: MIT */
/*
 * From a record to its columns: --colsep and --trim. The separator is what a Perl user
 * writes, as far as a POSIX extended regular expression can say it; the rest is an
 * error, and never means something else in silence.
 */
#ifndef CLI_COLSEP_H
#define CLI_COLSEP_H

#include <stddef.h>

#include "options.h"

struct colsep;

/* 0, or -errno after say(). */
int colsep_new(const char *pattern, struct colsep **ret);
void colsep_free(struct colsep *c);

/*
 * pattern as a POSIX extended regular expression in *ret (malloc), *literal the one byte
 * that it stands for or -1, *fold set when case does not count. 0, -ENOMEM, or -EINVAL
 * and *why, a constant.
 */
int colsep_translate(const char *pattern, char **ret, int *literal, bool *fold, const char **why);

/* The columns of one record. {0} is valid and empty. */
struct columns {
	const char **args;          /* owned array of pointers into the record or into copy */
	size_t nargs;
	size_t cap;
	char *copy;                 /* owned */
	size_t copy_cap;
};

/* Fill c from the len bytes at record, which are followed by a NUL and are written to.
 * sep NULL: one column. Valid until the next call, and as long as record is. 0 or -ENOMEM. */
int columns_fill(struct columns *c, const struct colsep *sep, enum trim trim, char *record, size_t len);
void columns_done(struct columns *c);

#endif
