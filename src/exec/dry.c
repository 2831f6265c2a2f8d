/* SPDX-License-Identifier: MIT */
/* The executor of --dry-run: nothing is run, the command's text is the task's output. */
#include <errno.h>
#include <stdlib.h>

#include "../core/template.h"
#include "command.h"
#include "exec.h"

struct dry {
	struct kn_buf text;
	struct kn_task **started; /* owned array of borrowed tasks: started, not yet ended */
	size_t len, cap;
};

static int
dry_open(struct kn_exec *e)
{
	e->state = calloc(1, sizeof(struct dry));
	return e->state != NULL ? 0 : -ENOMEM;
}

static int
dry_start(struct kn_exec *e, struct kn_task *t)
{
	struct dry *d = e->state;
	struct kn_task **more;

	if (d->len == d->cap) {
		more = realloc(d->started, (d->cap * 2 + 8) * sizeof(struct kn_task *));
		if (more == NULL)
			return -ENOMEM;
		d->started = more;
		d->cap = d->cap * 2 + 8;
	}
	d->started[d->len++] = t;
	return 0;
}

static int
dry_end(struct kn_exec *e, struct kn_task *t)
{
	struct dry *d = e->state;
	const struct kn_fill fill = kn_command_fill(e->options, t);
	int err;

	d->text.len = 0;
	err = kn_template_script(e->options->command, &fill, &d->text);
	if (err < 0)
		return err;
	err = kn_buf_addc(&d->text, '\n');
	if (err < 0)
		return err;
	e->host.output(e->host.self, t, KNEE_STDOUT, d->text.data, d->text.len);
	t->result.outcome = KNEE_EXITED;
	t->result.status = 0;
	e->host.ended(e->host.self, t);
	return 0;
}

static int
dry_tick(struct kn_exec *e, int64_t *next_ns)
{
	struct dry *d = e->state;
	int err;

	*next_ns = INT64_MAX;
	for (size_t i = 0; i < d->len; i++) {
		err = dry_end(e, d->started[i]);
		if (err < 0)
			return err;
	}
	d->len = 0;
	return 0;
}

static void
dry_signal(struct kn_exec *e, struct kn_task *t, int signal)
{
	(void)e;
	(void)t;
	(void)signal;
}

static void
dry_close(struct kn_exec *e)
{
	struct dry *d = e->state;

	kn_buf_done(&d->text);
	free(d->started);
	free(d);
}

const struct kn_exec_ops kn_exec_dry = {
	.fds_per_task = 1,
	.open = dry_open,
	.start = dry_start,
	.signal = dry_signal,
	.tick = dry_tick,
	.close = dry_close,
};
