/* SPDX-License-Identifier: MIT */
/*
 * A profile needs some inputs, again and again: the first ones are copied. Whoever writes them
 * slowly (a pipe from a search) is not waited for once there are a few.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "grow.h"
#include "profile_parts.h"

enum { INPUTS_MAX = 1000, BYTES_MAX = 8 * 1024 * 1024, WAIT_MS = 200 };

static void
input_free(struct profile_input *input)
{
	for (size_t i = 0; i < input->nargs; i++)
		free(input->args[i]);
	free(input->args);
}

void
profile_inputs_done(struct profile_inputs *in)
{
	for (size_t i = 0; i < in->n; i++)
		input_free(&in->list[i]);
	free(in->list);
	*in = (struct profile_inputs){ 0 };
}

/* A copy of input at the end of the list; *bytes grows by its size. 0 or -ENOMEM. */
static int
input_add(struct profile_inputs *in, const struct knee_input *input, size_t *bytes)
{
	struct profile_input *list = grow(in->list, &in->cap, in->n + 1, sizeof(*list));
	struct profile_input copy = { 0 };

	if (list == NULL)
		return -ENOMEM;
	in->list = list;
	copy.args = calloc(input->nargs + 1, sizeof(*copy.args));
	if (copy.args == NULL)
		return -ENOMEM;
	while (copy.nargs < input->nargs) {
		char *arg = strdup(input->args[copy.nargs]);

		if (arg == NULL) {
			input_free(&copy);
			return -ENOMEM;
		}
		copy.args[copy.nargs++] = arg;
		*bytes += strlen(arg);
	}
	list[in->n++] = copy;
	return 0;
}

/* True when the source may have more now. */
static bool
more_comes(struct knee_source source, bool some)
{
	struct pollfd p = { .fd = source.fd(source.self), .events = POLLIN };
	int got;

	do
		got = poll(&p, 1, some ? WAIT_MS : -1);
	while (got < 0 && errno == EINTR);
	return got != 0;
}

int
profile_inputs_read(struct profile_inputs *in, struct knee_source source)
{
	struct knee_input input;
	size_t bytes = 0;
	int got;

	while (in->n < INPUTS_MAX && bytes < BYTES_MAX) {
		got = source.next(source.self, &input);
		if (got == -EAGAIN) {
			if (more_comes(source, in->n > 0))
				continue;
			return 0;
		}
		if (got == 0)
			return 0;
		if (got == 1)
			got = input_add(in, &input, &bytes);
		if (got < 0)
			return got == -ENOMEM ? say_error(ENOMEM, "inputs: %s", strerror(ENOMEM)) : got;
	}
	return 0;
}

struct knee_input
profile_inputs_next(struct profile_inputs *in)
{
	const struct profile_input *input = &in->list[in->given++ % in->n];

	return (struct knee_input){ .args = (const char *const *)input->args, .nargs = input->nargs };
}
