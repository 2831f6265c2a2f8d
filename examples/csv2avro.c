/* SPDX-License-Identifier: MIT */
/*
 * A plugin that migrates .csv and .csv.gz files to Avro object container files, one file a task:
 *
 *	knee --plugin csv2avro.so ::: a.csv b.csv.gz ...
 *	knee --plugin csv2avro.so -- [OPTIONS] ::: a.csv b.csv.gz ...
 *
 *	--schema FILE      an Avro schema: a record of primitive types, or unions of one with null
 *	--out DIR          where the results go (made when missing); else beside the inputs
 *	--codec NAME       null (the default) or deflate
 *	--delimiter C      what stands between fields; "\t" is a tab
 *	--no-header        the first row is data; columns are c1, c2, ...
 *	--no-sync          rename results without an fsync() before
 *	--delay TIME       wait so long before each file is opened (200ms, 1s): a slow source, for tests
 *
 * Built outside of this tree by
 *
 *	cc -O2 -D_GNU_SOURCE -shared -fPIC -o csv2avro.so csv2avro*.c -lavro -lz
 *
 * What comes out.  a.csv and a.csv.gz become a.avro, and a.bad if there are bad rows.  Both are written
 * under a hidden name beside the final one and renamed when all is there, the .avro last: who finds it
 * finds the whole of it.  On an error, or when the run stops, nothing is left and nothing was replaced.
 * What a killed run leaves is taken over by the next one.  Of two inputs of one run that would become the
 * same file the one that starts second fails.  Each task prints a line: input, output, rows, bad rows,
 * with tabs between; at the end come the sums, and the files that have bad rows.
 *
 * What is read.  CSV as in RFC 4180, and what is found besides: LF or CR alone at the end of a row, a
 * byte order mark, no newline at the end of the file, empty lines (passed over), quotes inside of fields
 * that do not begin with one (taken as they are).  Rows with too many or too few fields, with text
 * behind a closing quote, with a NUL byte or with what is not UTF-8 are bad: they go to the .bad file as
 * line number, reason and the row as it was, with tabs between.  A quote that is never closed (or not
 * within 16 MiB) makes its line a bad row, and reading goes on with the next line.  Memory does not grow
 * with the file, nor beyond some times the longest row.
 *
 * Types.  Without --schema the file is read twice: the first pass looks at all of it, so that no row is
 * bad for its values.  A column is long, double, boolean or string, the first that holds all its values
 * without a loss: what has a leading zero or plus (a ZIP code, a telephone number), or more digits than
 * the type keeps, stays text.  true and false, NaN and infinity count in any case.  A column with empty
 * fields is a union of null and its type; a quoted empty field in a column of text is an empty string.
 * Quoted numbers are numbers.  Names become what Avro allows; the second of two alike gets the number
 * of its column.  With --schema each field of the schema must have its column, by its name, and a value
 * that does not fit makes its row bad.
 *
 * What threads share is the options, which stay as they are, and a table of names and sums that is
 * locked once at the beginning and the end of a file.  (With --isolate each process has its own table: of
 * two inputs that become the same file the second fails only while the first is being written.)  A row
 * costs no lock and no allocation.  libavro has the schema, the blocks and their compression; rows are
 * encoded here, because its generic values would take almost as long again as all the rest.  It keeps one
 * error text for all threads, so run() never asks for it.  Of a given schema libavro keeps what it knows
 * itself: no doc, default or logicalType goes into the result.
 */
#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "csv2avro.h"

int
job_because(struct job *j, int err, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(j->why, sizeof(j->why), format, ap);
	va_end(ap);
	return err;
}

int
job_no_memory(struct job *j)
{
	return job_because(j, -ENOMEM, "out of memory");
}

static void
done(struct job *j)
{
	struct plan *p = &j->plan;

	result_discard(&j->out);
	free(j->out.name);
	free(j->out.path);
	free(j->out.part);
	free(j->out.bad_path);
	free(j->out.bad_part);
	free(j->out.bytes);
	if (j->in.gz != NULL)
		gzclose(j->in.gz);
	free(j->in.buf);
	free(j->in.unquoted);
	free(j->in.row.fields);
	for (size_t i = 0; p->header != NULL && i < p->width; i++)
		free(p->header[i]);
	free(p->header);
	free(p->seen);
	free(p->columns);
	if (p->schema != NULL)
		avro_schema_decref(p->schema);
}

/* What is said of it at the end: the sums, and a line when there are bad rows. */
static int
give_part(struct job *j)
{
	char *text = NULL, *part;
	int size = 0, err;

	if (j->sums.bad_rows > 0)
		size = asprintf(&text, "%s: %" PRIu64 " bad row%s, see %s\n", j->input, j->sums.bad_rows,
		    j->sums.bad_rows == 1 ? "" : "s", j->out.bad_path);
	if (size < 0)
		return job_no_memory(j);
	part = malloc(sizeof(j->sums) + (size_t)size);
	if (part == NULL) {
		free(text);
		return job_no_memory(j);
	}
	memcpy(part, &j->sums, sizeof(j->sums));
	if (size > 0)
		memcpy(part + sizeof(j->sums), text, (size_t)size);
	err = j->call->part(j->call, part, sizeof(j->sums) + (size_t)size);
	free(part);
	free(text);
	return err < 0 ? job_no_memory(j) : 0;
}

static int __attribute__((format(printf, 3, 4)))
say(struct knee_call *call, enum knee_stream stream, const char *format, ...)
{
	char *text;
	va_list ap;
	int size, err;

	va_start(ap, format);
	size = vasprintf(&text, format, ap);
	va_end(ap);
	if (size < 0)
		return -ENOMEM;
	err = call->write(call, stream, text, (size_t)size);
	free(text);
	return err;
}

static void
add_sums(struct sums *to, const struct sums *more)
{
	to->files += more->files;
	to->rows += more->rows;
	to->bad_rows += more->bad_rows;
	to->bytes_in += more->bytes_in;
	to->bytes_out += more->bytes_out;
}

static int
migrate(struct job *j)
{
	int err = result_name(j);

	if (err == 0)
		err = result_claim(j);
	if (err == 0)
		err = schema_plan(j);
	if (err == 0)
		err = result_write(j);
	if (err == 0)
		err = result_settle(j);
	if (err < 0)
		return err;
	j->sums.files = 1;
	j->sums.bytes_in = j->in.bytes;
	err = give_part(j);
	return err < 0 ? err : result_publish(j);
}

static int
run(void *state, struct knee_call *call)
{
	struct shared *s = state;
	struct job j = { .shared = s, .call = call, .input = call->nargs > 0 ? call->args[0] : "" };
	int err = call->nargs == 1 ? migrate(&j) : job_because(&j, -EINVAL, "one file for each task");

	pthread_mutex_lock(&s->lock);
	if (err == 0)
		add_sums(&s->sums, &j.sums);
	else
		s->failed++;
	pthread_mutex_unlock(&s->lock);
	if (err == 0)
		err = say(call, KNEE_STDOUT, "%s\t%s\t%" PRIu64 "\t%" PRIu64 "\n", j.input, j.out.path,
		    j.sums.rows, j.sums.bad_rows);
	else if (err != -ECANCELED)
		say(call, KNEE_STDERR, "csv2avro: %s: %s\n", j.input, j.why);
	done(&j);
	return err == 0 ? 0 : 1;
}

/* The whole is like its parts: sums, and lines. */
static int
combine(void *state, struct knee_bytes *whole, const struct knee_bytes *part)
{
	struct sums sums, more;
	char *data;

	(void)state;
	if (part->size < sizeof(more))
		return -EINVAL;
	memcpy(&more, part->data, sizeof(more));
	if (whole->size == 0) {
		data = malloc(part->size);
		if (data == NULL)
			return -ENOMEM;
		memcpy(data, part->data, part->size);
		free(whole->data);
		*whole = (struct knee_bytes){ .data = data, .size = part->size };
		return 0;
	}
	data = realloc(whole->data, whole->size + part->size - sizeof(more));
	if (data == NULL)
		return -ENOMEM;
	memcpy(&sums, data, sizeof(sums));
	add_sums(&sums, &more);
	memcpy(data, &sums, sizeof(sums));
	memcpy(data + whole->size, (const char *)part->data + sizeof(more), part->size - sizeof(more));
	*whole = (struct knee_bytes){ .data = data, .size = whole->size + part->size - sizeof(more) };
	return 0;
}

static int
say_sums(struct knee_call *call, const char *what, const struct sums *s, uint64_t failed)
{
	int err = say(call, KNEE_STDOUT,
	    "%s: files %" PRIu64 ", rows %" PRIu64 ", bad rows %" PRIu64 ", bytes of CSV %" PRIu64
	    ", bytes of Avro %" PRIu64,
	    what, s->files, s->rows, s->bad_rows, s->bytes_in, s->bytes_out);

	if (err == 0 && failed > 0)
		err = say(call, KNEE_STDOUT, ", failed %" PRIu64, failed);
	return err < 0 ? err : say(call, KNEE_STDOUT, "\n");
}

static void
free_shared(struct shared *s)
{
	if (s == NULL)
		return;
	tdestroy(s->claims, free);
	if (s->options.schema != NULL)
		avro_schema_decref(s->options.schema);
	if (s->c_locale != (locale_t)0)
		freelocale(s->c_locale);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* The sums of the whole, and when an earlier run has done a part of it, those of this one. */
static int
finish(void *state, const struct knee_bytes *whole, struct knee_call *call)
{
	struct shared *s = state;
	struct sums sums = { 0 };
	int err = 0;

	if (whole != NULL) {
		if (whole->size >= sizeof(sums))
			memcpy(&sums, whole->data, sizeof(sums));
		err = say_sums(call, "total", &sums, s->failed);
		if (err == 0 && whole->size > sizeof(sums))
			err = call->write(call, KNEE_STDOUT, (const char *)whole->data + sizeof(sums),
			    whole->size - sizeof(sums));
		if (err == 0 && s->sums.files > 0 && s->sums.files != sums.files)
			err = say_sums(call, "this run", &s->sums, s->failed);
	}
	free_shared(s);
	return err == 0 ? 0 : 1;
}

static int
start(void **state, int argc, const char *const *argv, char *err, size_t errsize)
{
	struct shared *s = calloc(1, sizeof(*s));
	int bad;

	if (s == NULL)
		return -ENOMEM;
	pthread_mutex_init(&s->lock, NULL);
	s->options = (struct options){ .codec = "null", .delimiter = ',', .header = 1, .sync = 1 };
	s->c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	bad = s->c_locale == (locale_t)0 ? -ENOMEM : options_parse(&s->options, argc, argv, err, errsize);
	if (bad < 0) {
		free_shared(s);
		return bad;
	}
	*state = s;
	return 0;
}

extern const struct knee_plugin knee_plugin;

const struct knee_plugin knee_plugin = {
	.abi = KNEE_PLUGIN_ABI,
	.size = sizeof(struct knee_plugin),
	.name = "csv2avro",
	.flags = KNEE_PLUGIN_ASSOCIATIVE,
	.open = start,
	.run = run,
	.combine = combine,
	.close = finish,
};
