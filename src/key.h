/* SPDX-License-Identifier: MIT */
/* What a command's tasks have in common, as far as its text tells: the tuner's keys. */
#ifndef KN_KEY_H
#define KN_KEY_H

#include "core/template.h"
#include "sys/places.h"
#include "tune/tuner.h"

struct kn_namer {
	const struct knee_template *template;   /* borrowed; NULL: inputs are arguments of program */
	const char *program;                    /* borrowed */
	struct kn_places *places;               /* owned; NULL: no looking */
	struct kn_command command;
};

int kn_namer_init(struct kn_namer *n, const struct knee_options *options);
void kn_namer_done(struct kn_namer *n);
/* The name of the key for this input. 0 or -ENOMEM. */
int kn_namer_name(struct kn_namer *n, const struct knee_input *input, struct kn_key_name *ret);

#endif
