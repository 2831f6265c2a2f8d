/* SPDX-License-Identifier: MIT */
/*
 * Job logs. What the writer prints is read back as it was; and of any bytes either the file is refused,
 * or tasks are finished by the whole lines that say so, and by nothing else.
 *
 * Bytes: how; for lines that are made: how many, then for each the seq, outcome, status, times and a
 * command with its NUL, then where the file is cut (2) and a byte that is changed (3). Else the file,
 * behind a first line or from its very beginning.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "joblog_line.h"
#include "joblog_read.h"

enum { RESUME = 3, RAW = 4, HEADLESS = 8, CUT = 16, CHANGED = 32 };
enum { FILE_MAX = 4096, MADE_MAX = 16, INPUTS_MAX = 300 };

/* What a whole line says; at: its text, before anybody wrote to it. */
struct line {
	const char *at;
	size_t size;
	bool good, failed;
	uint64_t seq;
};

struct log {
	const char *data; /* borrowed */
	size_t size;
	struct line *lines; /* owned: but for the first */
	size_t nlines, end; /* end: of the last whole line */
	bool head, good;    /* the first line is one; so are the others */
	uint64_t last;
};

/* ---- what is expected ------------------------------------------------------------- */

static bool
is_digits(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] < '0' || s[i] > '9')
			return false;
	return n > 0;
}

static bool
is_number(const char *s, size_t n)
{
	size_t sign = n > 0 && s[0] == '-';

	return n - sign <= 18 && is_digits(s + sign, n - sign);
}

static long long
number(const char *s, size_t n)
{
	long long value = 0;

	for (size_t i = s[0] == '-'; i < n; i++)
		value = value * 10 + (s[i] - '0');
	return value;
}

static bool
is_decimal(const char *s, size_t n)
{
	const char *point;
	size_t whole;

	for (; n > 0 && *s == ' '; n--)
		s++;
	if (n > 0 && *s == '-')
		s++, n--;
	point = n > 0 ? memchr(s, '.', n) : NULL;
	whole = point != NULL ? (size_t)(point - s) : n;
	return is_digits(s, whole) && (point == NULL || is_digits(point + 1, n - whole - 1));
}

static void
line_expect(struct line *l)
{
	const char *field[9] = { l->at }, *const end = l->at + l->size;
	size_t size[9];

	for (int i = 0; i < 8; i++) {
		const char *tab = memchr(field[i], '\t', (size_t)(end - field[i]));

		if (tab == NULL)
			return;
		size[i] = (size_t)(tab - field[i]);
		field[i + 1] = tab + 1;
	}
	for (int i = 2; i < 6; i++)
		if (!is_decimal(field[i], size[i]))
			return;
	if (!is_digits(field[0], size[0]) || !is_number(field[0], size[0]) || !is_number(field[6], size[6]) ||
	    !is_number(field[7], size[7]) || size[1] == 0 || memchr(field[1], '\0', size[1]) != NULL)
		return;
	l->seq = (uint64_t)number(field[0], size[0]);
	l->failed = number(field[6], size[6]) != 0 || number(field[7], size[7]) != 0;
	l->good = l->seq >= 1 && l->seq <= JOBLOG_SEQ_MAX;
}

static void
log_expect(struct log *l, const char *data, size_t size)
{
	const char *newline;
	size_t most = 1;

	for (size_t i = 0; i < size; i++)
		most += data[i] == '\n';
	*l = (struct log){ .data = data, .size = size, .good = true };
	l->lines = calloc(most, sizeof(*l->lines));
	HOLDS(l->lines != NULL, "no memory");
	while (l->end < size && (newline = memchr(data + l->end, '\n', size - l->end)) != NULL) {
		struct line *line = &l->lines[l->nlines];
		size_t n = (size_t)(newline - data) + 1;

		*line = (struct line){ .at = data + l->end, .size = n - 1 - l->end };
		if (l->end == 0) {
			l->head = n == sizeof(JOBLOG_HEAD) - 1 && memcmp(data, JOBLOG_HEAD, n) == 0;
		} else {
			line_expect(line);
			l->good = l->good && line->good;
			if (line->good && line->seq > l->last)
				l->last = line->seq;
			l->nlines++;
		}
		l->end = n;
	}
}

/* The line that counts for a task. */
static const struct line *
line_of(const struct log *l, uint64_t seq)
{
	for (size_t i = l->nlines; i > 0; i--)
		if (l->lines[i - 1].seq == seq)
			return &l->lines[i - 1];
	return NULL;
}

/* ---- a line --------------------------------------------------------------------------- */

/* The text of s is the end of a line, whose newlines are NUL bytes. */
static bool
is_command(const char *s, const struct line *l)
{
	size_t n = strlen(s);
	const char *from = l->at + l->size - n;

	if (n > l->size)
		return false;
	for (size_t i = 0; i < n; i++)
		if (s[i] != (from[i] == '\0' ? '\n' : from[i]))
			return false;
	return n == l->size || from[-1] == '\t';
}

static void
check_line(const struct line *l)
{
	char *text = fuzz_copy(l->at, l->size);
	struct joblog_line got = { 0 };
	int err = joblog_line_parse(text, l->size, &got);

	HOLDS(err == (l->good ? 0 : -EINVAL), "%d", err);
	if (err == 0) {
		HOLDS(got.seq == l->seq && got.seq >= 1 && got.seq <= JOBLOG_SEQ_MAX, "task %llu",
		    (unsigned long long)got.seq);
		HOLDS((got.failed != 0) == l->failed, "task %llu", (unsigned long long)got.seq);
		HOLDS(got.command >= text && got.command + strlen(got.command) == text + l->size &&
			is_command(got.command, l),
		    "command '%s'", got.command);
	}
	free(text);
}

/* ---- a file --------------------------------------------------------------------------- */

static int
inner_next(void *self, struct knee_input *ret)
{
	unsigned *left = self;

	*ret = (struct knee_input){ 0 };
	return *left > 0 ? (*left)--, 1 : 0;
}

static int
inner_fd(void *self)
{
	(void)self;
	return -1;
}

/* An input against the line that counts for it. */
static void
check_input(const struct log *l, enum knee_resume resume, uint64_t seq, const struct knee_input *input)
{
	const struct line *line = line_of(l, seq);
	bool again = line != NULL && line->failed && resume != KNEE_RESUME;
	bool runs = resume == KNEE_RETRY_FAILED ? again : line == NULL || again;
	const struct knee_stored *s = input->stored;

	HOLDS((s == NULL) == runs, "task %llu", (unsigned long long)seq);
	if (s == NULL) {
		HOLDS(resume != KNEE_RETRY_FAILED || (input->nargs == 1 && is_command(input->args[0], line)),
		    "not the command of task %llu", (unsigned long long)seq);
		return;
	}
	HOLDS(s->printed != 0 && (s->result != NULL) == (line != NULL), "task %llu", (unsigned long long)seq);
	if (s->result != NULL)
		HOLDS((knee_failed(s->result) != 0) == line->failed, "task %llu", (unsigned long long)seq);
}

static void
check_source(const struct log *l, enum knee_resume resume, struct joblog_past *past)
{
	unsigned left = INPUTS_MAX;
	const struct knee_source inner = { .self = &left, .next = inner_next, .fd = inner_fd };
	struct knee_source source = joblog_read_source(past, &inner);
	uint64_t all = resume != KNEE_RETRY_FAILED || l->last > INPUTS_MAX ? INPUTS_MAX : l->last, seq = 0;
	struct knee_input input = { 0 };

	while (seq < all) {
		int got = source.next(source.self, &input);

		HOLDS(
		    got == 1, "%d after %llu of %llu", got, (unsigned long long)seq, (unsigned long long)all);
		check_input(l, resume, ++seq, &input);
	}
	if (resume != KNEE_RETRY_FAILED || l->last <= INPUTS_MAX)
		HOLDS(source.next(source.self, &input) == 0, "inputs behind the last");
}

static void
check_file(const struct log *l, enum knee_resume resume)
{
	struct joblog_past *past = NULL;
	int fd = memfd_create("joblog", MFD_CLOEXEC), err;
	bool good = l->end == 0 || (l->head && (l->good || resume == KNEE_RESUME_NO));
	char path[64];

	HOLDS(fd >= 0 && write(fd, l->data, l->size) == (ssize_t)l->size, "no memory");
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	err = joblog_read(path, resume, &past);
	/* A number that asks for a larger map than there is room for. */
	if (err != -ENOMEM || l->last < UINT64_C(1) << 32)
		HOLDS(err == (good ? 0 : -EINVAL), "%d", err);
	if (err == 0) {
		HOLDS(joblog_read_end(past) == (off_t)l->end, "end %lld, not %zu",
		    (long long)joblog_read_end(past), l->end);
		if (resume != KNEE_RESUME_NO)
			check_source(l, resume, past);
	}
	joblog_read_free(past);
	close(fd);
}

static void
check_log(const char *data, size_t size, enum knee_resume resume)
{
	struct log l;

	log_expect(&l, data, size);
	for (size_t i = 0; i < l.nlines; i++)
		check_line(&l.lines[i]);
	check_file(&l, resume);
	free(l.lines);
}

/* ---- lines that are made --------------------------------------------------------------- */

/* One, and how it comes back. */
static void
line_make(struct fuzz_bytes *b, FILE *out)
{
	static const enum knee_outcome outcomes[] = { KNEE_EXITED, KNEE_SIGNALED, KNEE_TIMED_OUT,
		KNEE_NOT_STARTED };
	static const uint64_t bases[] = { 1, 1, 1, JOBLOG_SEQ_MAX - UINT16_MAX };
	uint8_t kind = fuzz_byte(b);
	uint64_t seq = bases[kind >> 2 & 3] + fuzz_byte(b);
	struct knee_result r = { .outcome = outcomes[kind & 3], .status = fuzz_byte(b) };
	struct joblog_line got = { 0 };
	char *command, *text = NULL;
	size_t size = 0;
	FILE *one = open_memstream(&text, &size);

	if (r.outcome != KNEE_EXITED && r.status == 0)
		r.status = 1;
	r.start_time_ns = (int64_t)(int16_t)fuzz_u16(b) * INT64_C(140737488355327);
	r.runtime_ns = (int64_t)fuzz_u16(b) * INT64_C(140737488355327);
	r.output_bytes = fuzz_u16(b) * UINT64_C(281474976710655);
	command = fuzz_string(b);
	HOLDS(one != NULL, "no memory");
	joblog_line_put(one, seq, (kind & 16) != 0 ? "host.example.org" : ":", &r, command);
	HOLDS(fclose(one) == 0 && memchr(text, '\n', size) == text + size - 1, "'%s' is no line", text);
	HOLDS(fwrite(text, 1, size, out) == size, "no memory");
	text[size - 1] = '\0';
	HOLDS(joblog_line_parse(text, size - 1, &got) == 0, "it is not read back");
	HOLDS(got.seq == seq && (got.failed != 0) == (knee_failed(&r) != 0), "task %llu, failed %d",
	    (unsigned long long)got.seq, got.failed);
	HOLDS(strcmp(got.command, command) == 0, "'%s', not '%s'", got.command, command);
	free(command);
	free(text);
}

static char *
log_make(struct fuzz_bytes *b, uint8_t how, size_t *ret)
{
	unsigned n = fuzz_byte(b) % MADE_MAX;
	char *data = NULL;
	FILE *out = open_memstream(&data, ret);

	HOLDS(out != NULL && fputs(JOBLOG_HEAD, out) >= 0, "no memory");
	while (n-- > 0 && b->size > 0)
		line_make(b, out);
	HOLDS(fclose(out) == 0, "no memory");
	if ((how & CUT) != 0)
		*ret = fuzz_u16(b) % (*ret + 1);
	if ((how & CHANGED) != 0 && *ret > 0) {
		size_t at = fuzz_u16(b) % *ret;

		data[at] = (char)fuzz_byte(b);
	}
	return data;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_bytes b = { bytes, size < FILE_MAX ? size : FILE_MAX };
	uint8_t how = fuzz_byte(&b);
	const char *head = (how & HEADLESS) != 0 ? "" : JOBLOG_HEAD;
	char *data;
	size_t n;

	if ((how & RAW) != 0) {
		n = strlen(head) + b.size;
		data = malloc(n + 1);
		HOLDS(data != NULL, "no memory");
		(void)stpcpy(data, head);
		if (b.size > 0)
			memcpy(data + strlen(head), b.data, b.size);
	} else {
		data = log_make(&b, how, &n);
	}
	check_log(data, n, (enum knee_resume)(how & RESUME));
	free(data);
	return 0;
}
