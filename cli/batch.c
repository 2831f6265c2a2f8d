/* SPDX-License-Identifier: MIT */
/*
 * Batching: how many inputs go into one command.
 *
 * Inputs are copied into a queue until it holds a command's worth: as many as -n, -N or -L
 * say, or as many as fit into a command line; then the first ones are given out, and what
 * is left (the one that did not fit) starts the next command. Nothing else is held, so
 * memory is bounded by the length of a command line, not by the number of inputs.
 *
 * With -m and -X the last command's worth is shared out over the tasks at once, so that no
 * core ends alone with all of it. To see the end in time these read one input ahead.
 *
 * With --group auto the size of a command is settled when it is asked for (batch_auto.h). As many
 * inputs are read ahead as tell in time where the end is, and are there without waiting.
 *
 * What a command line holds is counted as xargs counts it, see knee_template_size(). The sum of
 * what each input adds is right for {} and its kin, and is used to find the place to stop;
 * a command with {2} in it may need more or less, so the whole of it is measured when the
 * sum says that it is full, and before it is given out.
 *
 * One input per command passes through untouched; whether the system takes it is then for
 * the system to say, unless -s was given.
 *
 * -x is xargs': the end, when the length would cut a command short of -n or -L. GNU parallel
 * takes the option and cuts all the same. One input that is too long alone ends both, and
 * knee too, but the inputs before it have been run.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "batch_auto.h"
#include "batch_limits.h"
#include "cli.h"
#include "grow.h"

/* More is not read ahead for --group auto. */
#define AHEAD_BYTES ((size_t)4 << 20)

struct record {
	size_t text; /* where its arguments start in text */
	size_t nargs;
	size_t adds; /* bytes to the command line, one by one */
};

/*
 * Invariants: records [head, n) are the queue; size is what the command line of all of
 * them holds, but for the last one when over says that it does not fit.
 */
struct batch {
	struct inputs *in;                   /* borrowed */
	const struct knee_template *command; /* borrowed */
	bool single;                         /* one input per command, not measured */
	bool no_args;
	bool share;
	bool exit_if_too_long;
	size_t want;          /* inputs per command; 0: as many as fit */
	size_t limit;         /* bytes of a command line */
	size_t system_limit;  /* the same, and a pointer for each word */
	size_t pointer_bytes; /* of the words that one more argument adds */
	size_t base;          /* bytes without arguments */
	size_t slots;         /* tasks at once */

	struct batch_auto *tuned; /* owned: --group auto; else NULL */
	bool wait_results;        /* of commands that run, not for inputs */
	int failed;               /* -errno of the inputs, once those before it are given out; 0 */

	bool ended; /* no more inputs come */
	bool over;
	bool shared; /* the last inputs are being shared out: portion to each */
	size_t portion;
	struct record *records; /* owned */
	size_t head, n, records_cap;
	size_t size, nargs;
	char *text; /* owned: the queue's arguments, a NUL after each */
	size_t text_len, text_cap;
	const char **args; /* owned: what was given out */
	size_t args_cap;
};

/* ---- made from the options ------------------------------------------------ */

static int
out_of_memory(void)
{
	return say_error(ENOMEM, "inputs: %s", strerror(ENOMEM));
}

/* execve counts a pointer for each word. How often an argument stands in the command is
 * seen from what a longer one adds. */
static size_t
pointer_bytes(const struct knee_template *command)
{
	const char *shorter = "a", *longer = "aa";
	size_t words = knee_template_size(command, &longer, 1) - knee_template_size(command, &shorter, 1);

	return sizeof(char *) * (words > 0 ? words : 1);
}

int
batch_new(
    const struct cli_options *o, struct inputs *in, const struct knee_template *command, struct batch **ret)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return out_of_memory();
	b->in = in;
	b->command = command;
	b->no_args = o->no_args;
	b->share = !o->group_auto && (o->batch == BATCH_MULTI || o->batch == BATCH_CONTEXT);
	b->exit_if_too_long = o->exit_if_too_long;
	b->want = o->max_args ? o->max_args : o->max_lines;
	if (b->want == 0 && o->batch == BATCH_ARGS && !o->group_auto)
		b->want = 1;
	b->single = o->no_args || (b->want == 1 && o->max_chars == 0);
	b->system_limit = batch_system_bytes();
	b->limit = batch_limit(o);
	if (o->max_chars > b->limit && !o->silent)
		say("-s %zu: the system takes %zu bytes at most: that is used", o->max_chars, b->limit);
	if (b->share)
		b->slots = batch_slots(o);
	b->base = knee_template_size(command, NULL, 0);
	b->pointer_bytes = pointer_bytes(command);
	b->size = b->base;
	if (o->group_auto && !b->single) {
		int err = batch_auto_new((unsigned)batch_slots(o), &b->tuned);

		if (err < 0) {
			batch_free(b);
			return say_error(-err, "--group auto: %s", strerror(-err));
		}
	}
	*ret = b;
	return 0;
}

void
batch_free(struct batch *b)
{
	if (b == NULL)
		return;
	free(b->records);
	free(b->text);
	free(b->args);
	batch_auto_free(b->tuned);
	free(b);
}

/* ---- the queue -------------------------------------------------------------- */

/* Forget the records that were given out; what is left, one as a rule, moves to the front. */
static void
compact(struct batch *b)
{
	size_t i, left = b->n - b->head, from;

	if (b->head == 0)
		return;
	from = left > 0 ? b->records[b->head].text : b->text_len;
	memmove(b->text, b->text + from, b->text_len - from);
	b->text_len -= from;
	b->size = b->base;
	b->nargs = 0;
	for (i = 0; i < left; i++) {
		b->records[i] = b->records[b->head + i];
		b->records[i].text -= from;
		b->size += b->records[i].adds;
		b->nargs += b->records[i].nargs;
	}
	b->head = 0;
	b->n = left;
	b->over = false;
}

static int
add_text(struct batch *b, const struct knee_input *input)
{
	size_t i, len;
	char *text;

	for (i = 0; i < input->nargs; i++) {
		len = strlen(input->args[i]) + 1;
		text = grow(b->text, &b->text_cap, b->text_len + len, 1);
		if (text == NULL)
			return -ENOMEM;
		b->text = text;
		memcpy(text + b->text_len, input->args[i], len);
		b->text_len += len;
	}
	return 0;
}

/* The arguments of the first n records in *ret, until the next call. 0 or -ENOMEM. */
static int
list_args(struct batch *b, size_t n, struct knee_input *ret)
{
	const char **args, *at = b->text + b->records[b->head].text;
	size_t i, nargs = 0;

	for (i = 0; i < n; i++)
		nargs += b->records[b->head + i].nargs;
	args = grow(b->args, &b->args_cap, nargs, sizeof(*args));
	if (args == NULL)
		return -ENOMEM;
	b->args = args;
	for (i = 0; i < nargs; i++, at += strlen(at) + 1)
		args[i] = at;
	*ret = (struct knee_input){ .args = args, .nargs = nargs };
	return 0;
}

/* Does a command line of size bytes fit, and its pointers to nargs arguments? */
static bool
fits(const struct batch *b, size_t size, size_t nargs)
{
	return size <= b->limit && nargs * b->pointer_bytes <= b->system_limit - size;
}

/* Measure the command of the first n records, whose arguments are in *ret then. */
static int
measure(struct batch *b, size_t n, struct knee_input *ret, size_t *size)
{
	int err = list_args(b, n, ret);

	if (err == 0)
		*size = knee_template_size(b->command, ret->args, ret->nargs);
	return err;
}

/* The sum says that the queue is too long: is it? Sets over, or puts the sum right. The
 * text is bounded as well, or {1} alone would gather for ever. */
static int
check_full(struct batch *b)
{
	struct knee_input input;
	size_t size = 0;
	int err = measure(b, b->n, &input, &size);

	if (err < 0)
		return err;
	b->over = !fits(b, size, input.nargs) || b->text_len > b->limit;
	b->size = size;
	return 0;
}

static int
add_record(struct batch *b, const struct knee_input *input)
{
	struct record *records = grow(b->records, &b->records_cap, b->n + 1, sizeof(*records));
	struct record *new;
	int err;

	if (records == NULL)
		return -ENOMEM;
	b->records = records;
	new = &records[b->n];
	*new = (struct record){ .text = b->text_len, .nargs = input->nargs };
	err = add_text(b, input);
	if (err < 0)
		return err;
	new->adds = knee_template_size(b->command, input->args, input->nargs) - b->base;
	if (new->adds == 0)
		new->adds = 1;
	b->n++;
	b->nargs += new->nargs;
	b->size += new->adds;
	return 0;
}

/* Until the queue holds a command's worth. 0, -EAGAIN, or -errno after say(). */
static int
fill(struct batch *b)
{
	size_t enough = b->want > 0 ? b->want + b->share : SIZE_MAX;
	struct knee_input input;
	int got, err;

	for (;;) {
		if (b->n > 0 && !fits(b, b->size, b->nargs)) {
			err = check_full(b);
			if (err < 0)
				return out_of_memory();
		}
		if (b->ended || b->over || b->n >= enough)
			return 0;
		got = inputs_next(b->in, &input);
		if (got < 0)
			return got;
		b->ended = got == 0;
		err = b->ended ? 0 : add_record(b, &input);
		if (err < 0)
			return out_of_memory();
	}
}

/* ---- giving out ------------------------------------------------------------- */

/* How many records the next command takes, going by the sums. */
static size_t
choose(struct batch *b)
{
	size_t left = b->n - b->head, count = left;

	if (b->shared)
		return left < b->portion ? left : b->portion;
	if (b->over && count > 1)
		count--;
	if (b->want > 0 && count > b->want)
		count = b->want;
	if (!b->share || !b->ended || count < left)
		return count;
	b->shared = true;
	b->portion = left / b->slots + (left % b->slots > 0);
	return b->portion;
}

/* The most of the first count records whose command really fits, in *ret, which is ready
 * in *input then. */
static int
choose_fitting(struct batch *b, size_t count, struct knee_input *input, size_t *ret)
{
	size_t low = 0, high = count, size = 0;
	int err;

	err = measure(b, count, input, &size);
	if (err < 0 || fits(b, size, input->nargs)) {
		*ret = count;
		return err;
	}
	while (low + 1 < high) {
		count = low + (high - low) / 2;
		err = measure(b, count, input, &size);
		if (err < 0)
			return err;
		if (fits(b, size, input->nargs))
			low = count;
		else
			high = count;
	}
	*ret = low;
	return low > 0 ? list_args(b, low, input) : 0;
}

static int
too_long(const struct batch *b)
{
	const char *text = b->text + b->records[b->head].text;

	return say_error(E2BIG,
	    "inputs: '%.40s%s', %zu bytes: its command line would be longer than %zu bytes%s", text,
	    strlen(text) > 40 ? "..." : "", strlen(text), b->limit,
	    b->limit < b->system_limit ? ": -s sets how long it may be" : "");
}

static int
next_batch(struct batch *b, struct knee_input *ret)
{
	struct knee_input input = { 0 };
	size_t planned, count = 0;
	int err;

	if (!b->shared) {
		compact(b);
		err = fill(b);
		if (err < 0)
			return err;
	}
	if (b->head == b->n)
		return 0;
	planned = choose(b);
	err = choose_fitting(b, planned, &input, &count);
	if (err < 0)
		return out_of_memory();
	if (count == 0)
		return too_long(b);
	if (b->exit_if_too_long && !b->shared && count < b->want && (b->over || count < planned))
		return say_error(E2BIG, "-x: the command line of %zu inputs would be longer than %zu bytes",
		    count + 1, b->limit);
	b->head += count;
	*ret = input;
	return 1;
}

/* ---- --group auto ----------------------------------------------------------- */

/* Read what is there, as far ahead as is useful. An error waits until what came before it is given
 * out. 0, or -EAGAIN: more will come. */
static int
fill_ahead(struct batch *b)
{
	size_t ahead = batch_auto_ahead(b->tuned);
	struct knee_input input;
	int got;

	while (!b->ended && b->n - b->head < ahead &&
	    (b->head == b->n || b->text_len - b->records[b->head].text < AHEAD_BYTES)) {
		got = inputs_next(b->in, &input);
		if (got == -EAGAIN)
			return got;
		if (got == 1 && add_record(b, &input) < 0)
			got = out_of_memory();
		b->ended = got <= 0;
		b->failed = got < 0 ? got : 0;
	}
	return 0;
}

/* How many records the command line has room for, going by the sums. >= 1 */
static size_t
count_fitting(const struct batch *b)
{
	size_t size = b->base, nargs = 0, count = 0;

	for (size_t i = b->head; i < b->n; i++, count++) {
		size += b->records[i].adds;
		nargs += b->records[i].nargs;
		if (!fits(b, size, nargs) || (b->want > 0 && count == b->want))
			break;
	}
	return count > 0 ? count : 1;
}

static int
next_tuned(struct batch *b, struct knee_input *ret)
{
	struct knee_input input = { 0 };
	size_t count;
	int err;

	b->wait_results = !batch_auto_may_give(b->tuned);
	if (b->wait_results)
		return -EAGAIN;
	if (b->head >= b->n - b->head)
		compact(b);
	err = fill_ahead(b);
	if (b->head == b->n)
		return err < 0 ? err : b->failed;
	count = batch_auto_size(b->tuned, b->ended ? b->n - b->head : UINT64_MAX, count_fitting(b));
	if (choose_fitting(b, count, &input, &count) < 0)
		return out_of_memory();
	if (count == 0)
		return too_long(b);
	batch_auto_given(b->tuned, count);
	b->head += count;
	*ret = input;
	return 1;
}

/* ---- the source --------------------------------------------------------------- */

static int
next(void *self, struct knee_input *ret)
{
	struct batch *b = self;
	int got;

	if (b->tuned != NULL)
		return next_tuned(b, ret);
	if (!b->single)
		return next_batch(b, ret);
	got = inputs_next(b->in, ret);
	if (got == 1 && b->no_args)
		ret->nargs = 0;
	return got;
}

static int
wait_fd(void *self)
{
	struct batch *b = self;

	return b->wait_results ? batch_auto_fd(b->tuned) : inputs_fd(b->in);
}

struct knee_source
batch_source(struct batch *b)
{
	return (struct knee_source){ .self = b, .next = next, .fd = wait_fd };
}

bool
batch_sink(struct batch *b, struct knee_sink *ret)
{
	if (b->tuned == NULL)
		return false;
	*ret = batch_auto_sink(b->tuned);
	return true;
}
