/* SPDX-License-Identifier: MIT */
/* Rows of CSV, and whether they are any: see csv2avro.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "csv2avro.h"

/* What is read is the rest of a row that was too long, up to the next newline. */
static void
skip_rest(struct reader *in)
{
	const char *newline = memchr(in->buf, '\n', in->end);

	in->start = newline != NULL ? (size_t)(newline + 1 - in->buf) : in->end;
	in->skip = newline == NULL;
}

/* zlib puts the file's name before what it says, and so does the caller. */
static int
read_failed(struct job *j, const char *text)
{
	size_t size = strlen(j->input);

	if (strncmp(text, j->input, size) == 0 && strncmp(text + size, ": ", 2) == 0)
		text += size + 2;
	return job_because(j, -EIO, "%s", text);
}

static int
resize(struct reader *in, size_t size)
{
	char *buf = realloc(in->buf, size + 2);

	if (buf == NULL)
		return -ENOMEM;
	in->buf = buf;
	buf = realloc(in->unquoted, size + 1);
	if (buf == NULL)
		return -ENOMEM;
	buf[size] = '\0';
	in->unquoted = buf;
	in->size = size;
	return 0;
}

/* More bytes behind those that are left, which go to the front; the buffer grows for a long row. */
static int
fill(struct job *j)
{
	struct reader *in = &j->in;
	size_t left = in->end - in->start;
	int n, err;

	if (j->call->cancelled(j->call))
		return job_because(j, -ECANCELED, "cancelled");
	if (left > in->size / 2 && resize(in, in->size * 2) < 0)
		return job_no_memory(j);
	memmove(in->buf, in->buf + in->start, left);
	in->start = 0;
	in->end = left;
	n = gzread(in->gz, in->buf + left, (unsigned)(in->size - left));
	if (n < (int)(in->size - left)) {
		const char *text = gzerror(in->gz, &err);
		if (n < 0 || (err != Z_OK && err != Z_STREAM_END))
			return read_failed(j, err == Z_ERRNO ? strerror(errno) : text);
		in->eof = 1;
	}
	in->end += (size_t)n;
	in->bytes += (uint64_t)n;
	memcpy(in->buf + in->end, "\n", 2);
	if (in->skip)
		skip_rest(in);
	return 0;
}

/* From p to where the field ends: at a delimiter, the end of the row, or of what was read. */
static const char *
plain(const struct reader *in, struct row *row, const char *p)
{
	unsigned bits = 0;

	for (;;) {
		while (!in->plain_stop[(uint8_t)*p])
			bits |= (uint8_t)*p++;
		if (*p != '\0')
			break;
		row->nul = 1;
		p++;
	}
	row->bits |= bits;
	return p;
}

/* Put what lies from p to end behind the field's text among the unquoted; its size so far is size. */
static void
keep(struct reader *in, const char *p, const char *end)
{
	memcpy(in->unquoted + in->used, p, (size_t)(end - p));
	in->used += (size_t)(end - p);
}

/* From behind the opening quote to the closing one; NULL when it is not in the buffer. */
static const char *
quoted(struct reader *in, struct row *row, struct field *f, const char *p)
{
	const char *from = p, *end = in->buf + in->end;
	size_t first = in->used;

	for (;; p++) {
		while (!in->quoted_stop[(uint8_t)*p])
			row->bits |= (uint8_t)*p++;
		if (p == end)
			return NULL;
		if (*p == '\n' || (*p == '\r' && p[1] != '\n'))
			row->lines++;
		row->nul |= *p == '\0';
		if (*p != '"')
			continue;
		if (p + 1 == end && !in->eof)
			return NULL;
		if (p[1] != '"')
			break;
		p++;
		keep(in, from, p);
		from = p + 1;
	}
	f->quoted = 1;
	f->text = from;
	f->size = (uint32_t)(p - from);
	if (in->used != first) {
		keep(in, from, p);
		f->text = in->unquoted + first;
		f->size = (uint32_t)(in->used - first);
	}
	return p;
}

/* One field from p on, to behind its end; NULL: more must be read. */
static const char *
field(struct reader *in, struct row *row, const char *p)
{
	struct field *f = &row->fields[row->n++];

	if (*p != '"') {
		*f = (struct field){ .text = p };
		p = plain(in, row, p);
		f->size = (uint32_t)(p - f->text);
		return p;
	}
	p = quoted(in, row, f, p + 1);
	if (p == NULL)
		return NULL;
	p++;
	if (!in->plain_stop[(uint8_t)*p] || *p == '\0') {
		row->bad = "text behind a closing quote";
		p = plain(in, row, p);
	}
	return p;
}

static int
room_for_field(struct row *row)
{
	struct field *more;

	if (row->n < row->cap)
		return 0;
	more = realloc(row->fields, (row->cap * 2 + 32) * sizeof(*more));
	if (more == NULL)
		return -ENOMEM;
	row->fields = more;
	row->cap = row->cap * 2 + 32;
	return 0;
}

/* The row at the front of the buffer, into its fields: 1; 0: not all of it is there; -ENOMEM. */
static int
split(struct reader *in)
{
	const char *p = in->buf + in->start, *end = in->buf + in->end;
	struct row *row = &in->row;

	*row = (struct row){ .fields = row->fields, .cap = row->cap, .raw = p, .line = in->line, .lines = 1 };
	in->used = 0;
	for (;;) {
		if (room_for_field(row) < 0)
			return -ENOMEM;
		p = field(in, row, p);
		row->open = p == NULL;
		if (p == NULL || (p == end && !in->eof))
			return 0;
		if (p == end || *p != in->delimiter)
			break;
		p++;
	}
	row->raw_size = (size_t)(p - row->raw);
	if (p < end && *p == '\r') {
		if (p + 1 == end && !in->eof)
			return 0;
		p++;
		if (p < end && *p == '\n')
			p++;
	} else if (p < end) {
		p++;
	}
	in->start = (size_t)(p - in->buf);
	return 1;
}

/* Of a row that has no end the first line is taken, as a bad row. */
static void
first_line(struct reader *in)
{
	struct row *row = &in->row;
	char *raw = in->buf + in->start, *newline = memchr(raw, '\n', in->end - in->start);

	row->bad = row->open ? "a quote that is not closed" : "too long; this is its beginning";
	row->raw = raw;
	row->lines = 1;
	row->raw_size = newline != NULL ? (size_t)(newline - raw) : in->end - in->start;
	in->skip = newline == NULL && !in->eof;
	in->start += row->raw_size + (newline != NULL);
	if (row->raw_size > 0 && raw[row->raw_size - 1] == '\r')
		row->raw_size--;
}

int
rows_next(struct job *j)
{
	struct reader *in = &j->in;
	int got;

	for (;;) {
		got = in->start < in->end ? split(in) : 0;
		if (got < 0)
			return job_no_memory(j);
		/* Lines by thousands in a row: a quote was closed by one that has nothing to do with it. */
		if (got == 1 && in->row.raw_size > ROW_BYTES && in->row.lines > 1) {
			in->start = (size_t)(in->row.raw - in->buf);
			in->row.open = 1;
			got = 0;
		}
		if (got == 0 && in->start < in->end && (in->eof || in->end - in->start > ROW_BYTES)) {
			first_line(in);
			got = 1;
		}
		if (got == 1) {
			in->line += in->row.lines;
			if (in->row.raw_size > 0)
				return 1;
			continue;
		}
		if (in->eof)
			return 0;
		got = fill(j);
		if (got < 0)
			return got;
	}
}

static int
follows(uint8_t byte, uint8_t from, uint8_t to)
{
	return byte >= from && byte <= to;
}

/* True for UTF-8 as Unicode has it: nothing overlong, no surrogates, nothing above U+10FFFF. */
static int
is_utf8(const char *text, size_t size)
{
	const uint8_t *p = (const uint8_t *)text, *end = p + size;

	while (p < end) {
		size_t more = *p < 0x80 ? 0 : *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : 3;
		uint8_t low = *p == 0xe0 ? 0xa0 : *p == 0xf0 ? 0x90 : 0x80;
		uint8_t high = *p == 0xed ? 0x9f : *p == 0xf4 ? 0x8f : 0xbf;

		if ((more > 0 && !follows(*p, 0xc2, 0xf4)) || (size_t)(end - p) <= more)
			return 0;
		if (more > 0 && !follows(p[1], low, high))
			return 0;
		for (size_t i = 2; i <= more; i++)
			if (!follows(p[i], 0x80, 0xbf))
				return 0;
		p += more + 1;
	}
	return 1;
}

const char *
rows_defect(struct job *j)
{
	const struct row *row = &j->in.row;

	if (row->bad != NULL)
		return row->bad;
	if (row->raw_size > ROW_BYTES)
		return "too long";
	if (row->nul)
		return "a NUL byte";
	if ((row->bits & 0x80) && !is_utf8(row->raw, row->raw_size))
		return "not UTF-8";
	if (row->n == j->plan.width)
		return NULL;
	snprintf(j->reason, sizeof(j->reason), "%zu field%s, not %zu", row->n, row->n == 1 ? "" : "s",
	    j->plan.width);
	return j->reason;
}

int
rows_rewind(struct job *j)
{
	struct reader *in = &j->in;
	int err;

	in->start = in->end = 0;
	in->bytes = 0;
	in->eof = in->skip = 0;
	in->line = 1;
	err = fill(j);
	if (err < 0)
		return err;
	if (in->end >= 3 && memcmp(in->buf, "\xef\xbb\xbf", 3) == 0)
		in->start = 3;
	if (in->end >= 2 && (memcmp(in->buf, "\xff\xfe", 2) == 0 || memcmp(in->buf, "\xfe\xff", 2) == 0))
		return job_because(j, -EILSEQ, "UTF-16; convert it to UTF-8 first");
	return 0;
}

/* What --delay asks for; a part at a time, so that a run that stops need not wait. */
static int
wait_first(struct job *j)
{
	int64_t left = j->shared->options.delay_ns;

	while (left > 0) {
		struct timespec part = { .tv_nsec = left < 20000000 ? (long)left : 20000000 };
		if (j->call->cancelled(j->call))
			return job_because(j, -ECANCELED, "cancelled");
		nanosleep(&part, NULL);
		left -= part.tv_nsec;
	}
	return 0;
}

int
rows_open(struct job *j)
{
	struct reader *in = &j->in;
	int err = wait_first(j);

	if (err < 0)
		return err;
	in->gz = gzopen(j->input, "rbe");
	if (in->gz == NULL)
		return errno == 0 || errno == ENOMEM ? job_no_memory(j) :
						       job_because(j, -errno, "%s", strerror(errno));
	if (resize(in, READ_BYTES) < 0)
		return job_no_memory(j);
	in->delimiter = j->shared->options.delimiter;
	in->plain_stop[(uint8_t)in->delimiter] = 1;
	in->plain_stop['\r'] = in->plain_stop['\n'] = in->plain_stop['\0'] = 1;
	in->quoted_stop['"'] = 1;
	in->quoted_stop['\r'] = in->quoted_stop['\n'] = in->quoted_stop['\0'] = 1;
	return rows_rewind(j);
}
