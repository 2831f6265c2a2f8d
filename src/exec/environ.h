/* SPDX-License-Identifier: MIT */
/* The environment of tasks: the base, and a few variables that change from task to task. */
#ifndef KN_ENVIRON_H
#define KN_ENVIRON_H

#include <knee_program.h>

struct kn_environ {
	char **vars;                /* owned array, ends with NULL; strings borrowed or in own */
	char *own;                  /* owned: the changing ones, room for the largest numbers */
	char *seq, *slot, *slot_from_0;     /* where in own the numbers stand; the last may be NULL */
};

/* 0 or -ENOMEM. Base variables of the same names are left out. */
int kn_environ_init(struct kn_environ *e, const struct knee_options *options);
void kn_environ_done(struct kn_environ *e);
/* For the task that starts next. */
void kn_environ_set(struct kn_environ *e, uint64_t seq, unsigned slot);
/* The value of a variable, or NULL. */
const char *kn_environ_get(const struct kn_environ *e, const char *name);

#endif
