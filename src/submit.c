/* SPDX-License-Identifier: MIT */
#include "submit.h"

#include <errno.h>

void
kn_submit_done(struct kn_submit *s)
{
	kn_queue_done(&s->queue);
	kn_task_free(s->given);
	*s = (struct kn_submit){ 0 };
}

int
kn_submit_put(struct kn_submit *s, const struct knee_input *input)
{
	int err;

	if (s->ended)
		return -EPIPE;
	if (input == NULL) {
		s->ended = true;
		return 0;
	}
	err = kn_queue_push(&s->queue, 0, s->seq + 1, input);
	s->seq += err == 0;
	return err;
}

static int
next(void *self, struct knee_input *ret)
{
	struct kn_submit *s = self;
	int err;

	kn_task_free(s->given);
	s->given = NULL;
	err = kn_queue_pop(&s->queue, 0, 0, &s->given);
	if (err < 0)
		return err;
	if (s->given == NULL)
		return s->ended ? 0 : -EAGAIN;
	*ret =
	    (struct knee_input){ .args = s->given->args, .nargs = s->given->nargs, .data = s->given->data };
	return 1;
}

struct knee_source
kn_submit_source(struct kn_submit *s)
{
	return (struct knee_source){ .self = s, .next = next };
}
