/* SPDX-License-Identifier: MIT */
/*
 * Command templates: the words the user typed, with places for the arguments.
 * The public half is in knee.h (knee_template_*); here is what the engine uses.
 */
#ifndef KN_TEMPLATE_H
#define KN_TEMPLATE_H

#include <stdbool.h>
#include <stdint.h>

#include <knee_program.h>
#include "buf.h"

/*
 * A command ready to run. With shell: text is a NUL-terminated script for
 * "sh -c"; argv is empty. Without: argv points into text and ends with NULL.
 * Reused from task to task; {0} is valid.
 */
struct kn_command {
	bool shell;
	struct kn_buf text;         /* owned */
	char **argv;                /* owned array */
	size_t argc;
	size_t cap;
};

/* The arguments and numbers of one task. All borrowed. */
struct kn_fill {
	const char *const *args;
	size_t nargs;
	uint64_t seq;
	unsigned slot;
};

/* 0 or -ENOMEM. Direct execution when the template holds nothing a shell would act on. */
int kn_template_command(const struct knee_template *t, const struct kn_fill *fill, struct kn_command *ret);

/* The same as a shell script, inputs quoted, appended to ret without a NUL. */
int kn_template_script(const struct knee_template *t, const struct kn_fill *fill, struct kn_buf *ret);

void kn_command_done(struct kn_command *c);

/* Does it hold {%}? t may be NULL. */
bool kn_template_uses_slot(const struct knee_template *t);

#endif
