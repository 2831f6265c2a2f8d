/* SPDX-License-Identifier: MIT */
/* Which file a program's name stands for, as execvp(3) finds it; the last answer is kept. */
#ifndef KN_PROGRAM_H
#define KN_PROGRAM_H

#include "../core/buf.h"

/* {0} is valid. */
struct kn_program {
	struct kn_buf name;         /* the name last asked for, NUL-terminated; empty: none */
	struct kn_buf path;         /* and its file */
};

/* The file to execute for name, or NULL when there is no such executable file.
 * search: $PATH; NULL: /bin:/usr/bin. Owned by p, until the next call. */
const char *kn_program_find(struct kn_program *p, const char *name, const char *search);
/* The answer proved wrong: look again next time. */
void kn_program_forget(struct kn_program *p);
void kn_program_done(struct kn_program *p);

#endif
