/* SPDX-License-Identifier: MIT */
/*
 * The order in which a record meets the options is GNU parallel's: the first line and the
 * header are taken as they are; then -r drops blank records and -E ends the source, both
 * by the record as it was read; then, with -L, a record that ends in a blank takes the next
 * one behind it, whatever that is; then it is cut into columns, and these are trimmed. A
 * carriage return is no blank to -L, or a text file from elsewhere would be one line.
 *
 * A source that is read again rewinds if it is a regular file. A pipe is copied into a
 * spool as it is first read, after all that can drop or join records, before columns.
 */
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "grow.h"

static const char *
name_of(const struct source *s)
{
	return strcmp(s->spec->path, "-") == 0 ? "standard input" : s->spec->path;
}

static int
out_of_memory(void)
{
	return say_error(ENOMEM, "inputs: %s", strerror(ENOMEM));
}

/* Without O_NONBLOCK, opening a named pipe would wait for its writer. */
static int
open_reader(struct source *s)
{
	bool is_stdin = strcmp(s->spec->path, "-") == 0;
	int fd = STDIN_FILENO, err;

	if (!is_stdin) {
		fd = open(s->spec->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
		if (fd < 0)
			return say_error(errno, "inputs: %s: %s", s->spec->path, strerror(errno));
	}
	err = reader_new(fd, s->o->delimiter, is_stdin ? READER_KEEP : READER_CLOSE, &s->reader);
	if (err == 0)
		return 0;
	if (!is_stdin)
		close(fd);
	return say_error(-err, "inputs: %s: %s", name_of(s), strerror(-err));
}

int
source_init(struct source *s, const struct source_plan *plan)
{
	int err = 0;

	*s = (struct source){
		.o = plan->o,
		.spec = plan->spec,
		.colsep = plan->colsep,
		.keep = plan->keep,
		.never_empty = !plan->only,
		.lead = (plan->first && plan->o->skip_first_line ? 1U : 0U) + (plan->o->header ? 1U : 0U),
	};
	s->lead_left = s->lead;
	if (plan->spec->kind == INPUT_ARGS)
		return 0;
	s->shared = plan->shared != NULL;
	s->reader = plan->shared;
	if (!s->shared)
		err = open_reader(s);
	if (err == 0 && s->keep && (s->shared || !reader_rewinds(s->reader)))
		err = spool_new(plan->o->tmpdir, &s->spool);
	if (err < 0)
		source_done(s);
	return err;
}

void
source_done(struct source *s)
{
	reader_free(s->replay);
	spool_free(s->spool);
	if (!s->shared)
		reader_free(s->reader);
	free(s->header);
	free(s->line);
	columns_done(&s->columns);
	*s = (struct source){ 0 };
}

/* The next record as it is. 1, 0, -EAGAIN, or -errno after say(). */
static int
read_raw(struct source *s, char **record, size_t *len)
{
	struct reader *r = s->replay != NULL ? s->replay : s->reader;
	int got;

	if (r == NULL) {
		if (s->at == s->spec->nargs)
			return 0;
		*record = s->spec->args[s->at++];
		*len = strlen(*record);
		return 1;
	}
	got = reader_next(r, record, len);
	if (got >= 0 || got == -EAGAIN)
		return got;
	if (got == -EILSEQ)
		return say_error(EINVAL, "inputs: %s: a NUL byte in line %llu: use -0 if NUL ends the inputs",
		    name_of(s), (unsigned long long)reader_count(r) + 1);
	return say_error(-got, "inputs: %s: %s", name_of(s), strerror(-got));
}

int
source_lead(struct source *s)
{
	char *record;
	size_t len;
	int got;

	while (s->lead_left > 0) {
		got = read_raw(s, &record, &len);
		if (got < 0)
			return got;
		s->lead_left = got == 0 ? 0 : s->lead_left - 1;
		if (got == 0 || s->lead_left > 0 || !s->o->header || s->header != NULL)
			continue;
		s->header = strndup(record, len);
		if (s->header == NULL)
			return out_of_memory();
	}
	return 0;
}

static bool
is_blank(const char *s)
{
	return s[strspn(s, " \t\n\v\f\r")] == '\0';
}

static bool
continues(const char *s, size_t len)
{
	return len > 0 && (s[len - 1] == ' ' || s[len - 1] == '\t');
}

static int
append_line(struct source *s, const char *record, size_t len)
{
	char *line = grow(s->line, &s->line_cap, s->line_len + len + 1, 1);

	if (line == NULL)
		return out_of_memory();
	s->line = line;
	memcpy(line + s->line_len, record, len);
	s->line_len += len;
	line[s->line_len] = '\0';
	return 0;
}

/* Read on while -r and -E have something to say. As read_raw. */
static int
read_chosen(struct source *s, char **record, size_t *len)
{
	int got;

	do {
		got = read_raw(s, record, len);
		if (got <= 0)
			return got;
		if (s->o->eof_string != NULL && strcmp(*record, s->o->eof_string) == 0)
			return 0;
	} while (s->o->no_run_if_empty && !s->joining && is_blank(*record));
	return 1;
}

/* The same with -L: what ends in a blank is gathered in line. A call that finds nothing
 * more to read yet leaves it there for the next. */
static int
read_joined(struct source *s, char **record, size_t *len)
{
	int got, err;

	for (;;) {
		got = read_chosen(s, record, len);
		if (got < 0 || (got == 0 && !s->joining))
			return got;
		if (got == 1 && !s->joining && !continues(*record, *len))
			return 1;
		if (!s->joining)
			s->line_len = 0;
		if (got == 1) {
			err = append_line(s, *record, *len);
			if (err < 0)
				return err;
		}
		s->joining = got == 1 && continues(s->line, s->line_len);
		if (s->joining)
			continue;
		s->ended = got == 0;
		*record = s->line;
		*len = s->line_len;
		return 1;
	}
}

static int
keep_record(struct source *s, const char *record, size_t len)
{
	int err = spool_add(s->spool, record, len);

	return err < 0 ? err : spool_add(s->spool, &s->o->delimiter, 1);
}

/* The columns of a record. One that others share, or that is the user's argument and
 * would be written to, is copied first. */
static int
cut(struct source *s, char *record, size_t len)
{
	bool written = s->colsep != NULL || s->o->trim != TRIM_NONE;
	int err;

	if (record != s->line && (s->shared || (s->reader == NULL && written))) {
		s->line_len = 0;
		err = append_line(s, record, len);
		if (err < 0)
			return err;
		record = s->line;
	}
	err = columns_fill(&s->columns, s->colsep, s->o->trim, record, len);
	return err < 0 ? out_of_memory() : 1;
}

int
source_next(struct source *s)
{
	char *record = NULL;
	size_t len = 0;
	int got, err;

	if (s->ended)
		return 0;
	if (s->lead_left > 0) {
		err = source_lead(s);
		if (err < 0)
			return err;
	}
	if (s->replay != NULL)
		got = read_raw(s, &record, &len);
	else if (s->o->max_lines > 0)
		got = read_joined(s, &record, &len);
	else
		got = read_chosen(s, &record, &len);
	if (got < 0)
		return got;
	if (got == 0) {
		s->ended = true;
		if (s->delivered || !s->never_empty)
			return 0;
		s->line_len = 0;
		err = append_line(s, "", 0);
		if (err < 0)
			return err;
		record = s->line;
		len = 0;
	} else if (s->spool != NULL && s->replay == NULL) {
		err = keep_record(s, record, len);
		if (err < 0)
			return err;
	}
	s->delivered = true;
	return cut(s, record, len);
}

int
source_rewind(struct source *s)
{
	struct reader *again = s->replay != NULL ? s->replay : s->reader;
	int err = 0;

	s->at = 0;
	s->lead_left = s->spool != NULL ? 0 : s->lead;
	s->delivered = s->ended = s->joining = false;
	if (s->spool != NULL && s->replay == NULL) {
		err = spool_flush(s->spool);
		if (err < 0)
			return err;
		err = reader_new(spool_fd(s->spool), s->o->delimiter, READER_KEEP, &s->replay);
		if (err < 0)
			return out_of_memory();
		again = s->replay;
	}
	if (again != NULL)
		err = reader_rewind(again);
	return err < 0 ? say_error(-err, "inputs: %s: %s", name_of(s), strerror(-err)) : 0;
}
