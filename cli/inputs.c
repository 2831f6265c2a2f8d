/* SPDX-License-Identifier: MIT */
/*
 * Inputs: the sources of the command line, put together.
 *
 * Sources that are linked go in step and make one axis; the axes make a product, the last
 * of which turns fastest, as the digits of a counter do. Only the first axis is read once;
 * the others start again with every turn of the one before. A linked axis ends with the
 * shortest of its sources (:::+), or with the longest, the others starting again (--link);
 * then there is this one axis, and all of it may be read again.
 *
 * Any step can find that its source has nothing yet. The place where the counter stands
 * (axis, and member in it) is kept, so that the next call goes on there; no record that
 * has been read is dropped or read twice.
 *
 * A source without a record has a single empty one where there are other sources: a
 * product with nothing would be nothing, and GNU parallel's users know it so.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "grow.h"
#include "shuffle.h"
#include "source.h"

struct axis {
	size_t first, n; /* sources[first .. first + n) */
};

struct inputs {
	const struct cli_options *o;
	struct input_spec stdin_spec; /* where no source is named */
	const struct input_spec *specs;
	struct source *sources; /* owned */
	size_t nsources;        /* that have been made */
	struct axis *axes;      /* owned */
	size_t naxes;
	struct colsep *colsep; /* owned; NULL without --colsep */
	struct reader *shared; /* owned: stdin's when several sources read it */

	size_t level;  /* the axis that takes its next step */
	size_t member; /* and the source in it */
	bool *turned;  /* owned: --link: this source has been at its end */
	bool over;
	size_t waiting; /* the source that said -EAGAIN */

	const char **args; /* owned */
	size_t args_cap;
	const char **names; /* owned: --header */
	size_t nnames, names_cap;
	struct columns *headers; /* owned: what names point into, one for each source */
	struct shuffle *shuffle; /* owned: --shuf, once it has begun */
	bool mixed;
};

static int
out_of_memory(void)
{
	return say_error(ENOMEM, "inputs: %s", strerror(ENOMEM));
}

static bool
is_stdin(const struct input_spec *spec)
{
	return spec->kind == INPUT_FILE && strcmp(spec->path, "-") == 0;
}

/* ---- made from the options ---------------------------------------------- */

/* Several sources that read standard input take its records in turn. */
static int
share_stdin(struct inputs *in, size_t nspecs)
{
	size_t i, readers = 0;
	int err;

	for (i = 0; i < nspecs; i++)
		readers += is_stdin(&in->specs[i]);
	if (readers < 2)
		return 0;
	err = reader_new(STDIN_FILENO, in->o->delimiter, READER_KEEP, &in->shared);
	return err < 0 ? say_error(-err, "inputs: standard input: %s", strerror(-err)) : 0;
}

static int
make_sources(struct inputs *in, size_t nspecs)
{
	struct source_plan plan = { .o = in->o, .colsep = in->colsep, .only = nspecs == 1 };
	size_t i;
	int err;

	for (i = 0; i < nspecs; i++) {
		plan.spec = &in->specs[i];
		plan.first = i == 0;
		plan.shared = is_stdin(plan.spec) ? in->shared : NULL;
		if (i == 0 || !(plan.spec->linked || in->o->link_wrap))
			in->axes[in->naxes++].first = i;
		in->axes[in->naxes - 1].n++;
		plan.keep = in->naxes > 1 || (in->o->link_wrap && nspecs > 1);
		err = source_init(&in->sources[i], &plan);
		if (err < 0)
			return err;
		in->nsources++;
	}
	return 0;
}

int
inputs_new(const struct cli_options *o, struct inputs **ret)
{
	struct inputs *in = calloc(1, sizeof(*in));
	size_t n = o->ninputs ? o->ninputs : 1;
	int err = 0;

	if (in == NULL)
		return out_of_memory();
	in->o = o;
	in->stdin_spec = (struct input_spec){ .kind = INPUT_FILE, .path = "-" };
	in->specs = o->ninputs ? o->inputs : &in->stdin_spec;
	in->sources = calloc(n, sizeof(*in->sources));
	in->axes = calloc(n, sizeof(*in->axes));
	in->turned = calloc(n, sizeof(*in->turned));
	in->headers = calloc(n, sizeof(*in->headers));
	if (in->sources == NULL || in->axes == NULL || in->turned == NULL || in->headers == NULL) {
		err = out_of_memory();
		goto free_inputs;
	}
	if (o->colsep != NULL)
		err = colsep_new(o->colsep, &in->colsep);
	if (err == 0)
		err = share_stdin(in, n);
	if (err == 0)
		err = make_sources(in, n);
	if (err == 0 && o->shuf)
		err = shuffle_new(o->tmpdir, &in->shuffle);
	if (err < 0)
		goto free_inputs;
	*ret = in;
	return 0;

free_inputs:
	inputs_free(in);
	return err;
}

void
inputs_free(struct inputs *in)
{
	size_t i;

	if (in == NULL)
		return;
	for (i = 0; i < in->nsources; i++) {
		source_done(&in->sources[i]);
		columns_done(&in->headers[i]);
	}
	reader_free(in->shared);
	colsep_free(in->colsep);
	shuffle_free(in->shuffle);
	free(in->sources);
	free(in->axes);
	free(in->turned);
	free(in->headers);
	free(in->args);
	free(in->names);
	free(in);
}

bool
inputs_use_stdin(const struct inputs *in)
{
	size_t i;

	for (i = 0; i < in->nsources; i++)
		if (is_stdin(&in->specs[i]))
			return true;
	return false;
}

/* ---- the counter -------------------------------------------------------- */

/* --link: the member that stands in the way is at its end. 1: it has started again,
 * 0: it was the last to do so, the axis is at its end. */
static int
turn_over(struct inputs *in, const struct axis *a, size_t source)
{
	size_t i;
	int err;

	in->turned[source] = true;
	for (i = 0; i < a->n && in->turned[a->first + i]; i++)
		;
	if (i == a->n)
		return 0;
	err = source_rewind(&in->sources[source]);
	return err < 0 ? err : 1;
}

/* One step of all members of an axis: 1, 0 at its end, -EAGAIN, -errno. */
static int
axis_step(struct inputs *in, const struct axis *a)
{
	size_t source;
	int got;

	while (in->member < a->n) {
		source = a->first + in->member;
		got = source_next(&in->sources[source]);
		if (got == -EAGAIN)
			in->waiting = source;
		if (got == 0 && in->o->link_wrap && a->n > 1) {
			got = turn_over(in, a, source);
			if (got == 1)
				continue;
		}
		if (got <= 0) {
			if (got == 0)
				in->member = 0;
			return got;
		}
		in->member++;
	}
	in->member = 0;
	return 1;
}

/* Before an axis' first step in a new turn of the one before it. */
static int
axis_rewind(struct inputs *in, const struct axis *a)
{
	size_t i;
	int err;

	for (i = a->first; i < a->first + a->n; i++) {
		/* A pass that has not begun needs no rewinding. */
		if (!in->sources[i].delivered && !in->sources[i].ended)
			continue;
		err = source_rewind(&in->sources[i]);
		if (err < 0)
			return err;
	}
	return 0;
}

/* Bring the counter to its next state. 1, 0 at the end, -EAGAIN, -errno. */
static int
count_on(struct inputs *in)
{
	int got, err;

	while (!in->over) {
		got = axis_step(in, &in->axes[in->level]);
		if (got < 0)
			return got;
		if (got == 0) {
			in->over = in->level == 0;
			if (!in->over)
				in->level--;
			continue;
		}
		if (in->level + 1 == in->naxes)
			return 1;
		in->level++;
		err = axis_rewind(in, &in->axes[in->level]);
		if (err < 0)
			return err;
	}
	return 0;
}

/* The columns of all sources, one behind the other. 1 or -errno. */
static int
gather(struct inputs *in, struct knee_input *ret)
{
	const struct columns *c;
	const char **args;
	size_t i, n = 0;

	if (in->nsources == 1) {
		c = &in->sources[0].columns;
		*ret = (struct knee_input){ .args = c->args, .nargs = c->nargs };
		return 1;
	}
	for (i = 0; i < in->nsources; i++)
		n += in->sources[i].columns.nargs;
	args = grow(in->args, &in->args_cap, n, sizeof(*args));
	if (args == NULL)
		return out_of_memory();
	in->args = args;
	for (i = 0; i < in->nsources; i++) {
		c = &in->sources[i].columns;
		memcpy(args, c->args, c->nargs * sizeof(*args));
		args += c->nargs;
	}
	*ret = (struct knee_input){ .args = in->args, .nargs = n };
	return 1;
}

static int
next_in_order(struct inputs *in, struct knee_input *ret)
{
	int got = count_on(in);

	return got <= 0 ? got : gather(in, ret);
}

/* Everything is read before anything is given. */
static int
next_shuffled(struct inputs *in, struct knee_input *ret)
{
	struct knee_input input;
	int got, err;

	while (!in->mixed) {
		got = next_in_order(in, &input);
		if (got < 0)
			return got;
		in->mixed = got == 0;
		err = in->mixed ? shuffle_mix(in->shuffle) : shuffle_add(in->shuffle, &input);
		if (err < 0)
			return err;
	}
	return shuffle_next(in->shuffle, ret);
}

int
inputs_next(struct inputs *in, struct knee_input *ret)
{
	return in->shuffle != NULL ? next_shuffled(in, ret) : next_in_order(in, ret);
}

int
inputs_fd(struct inputs *in)
{
	const struct source *s = &in->sources[in->waiting];

	return s->reader != NULL ? reader_fd(s->reader) : -1;
}

/* ---- --header ------------------------------------------------------------ */

static int
wait_for_lead(struct source *s)
{
	int err;

	while ((err = source_lead(s)) == -EAGAIN) {
		err = reader_wait(s->reader);
		if (err < 0)
			return say_error(-err, "inputs: %s", strerror(-err));
	}
	return err;
}

static int
add_names(struct inputs *in, const struct columns *c)
{
	const char **names = grow(in->names, &in->names_cap, in->nnames + c->nargs, sizeof(*names));

	if (names == NULL)
		return out_of_memory();
	in->names = names;
	memcpy(names + in->nnames, c->args, c->nargs * sizeof(*names));
	in->nnames += c->nargs;
	return 0;
}

static int
read_names(struct inputs *in)
{
	char *header;
	size_t i;
	int err;

	for (i = 0; i < in->nsources; i++) {
		err = wait_for_lead(&in->sources[i]);
		if (err < 0)
			return err;
		header = in->sources[i].header;
		if (header == NULL)
			continue;
		err = columns_fill(&in->headers[i], in->colsep, in->o->trim, header, strlen(header));
		if (err < 0)
			return out_of_memory();
		err = add_names(in, &in->headers[i]);
		if (err < 0)
			return err;
	}
	return 0;
}

int
inputs_header(struct inputs *in, const char *const **names, size_t *nnames)
{
	int err;

	if (in->o->header && in->nnames == 0) {
		err = read_names(in);
		if (err < 0)
			return err;
	}
	*names = in->names;
	*nnames = in->nnames;
	return 0;
}
