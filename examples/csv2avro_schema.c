/* SPDX-License-Identifier: MIT */
/* The schema of a result, and which column of the input goes into which of its fields. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csv2avro.h"

#define SCHEMA_BYTES (64 * 1024)

/* ---- found by looking ---------------------------------------------------- */

static avro_type_t
type_of(unsigned seen)
{
	switch (seen & ~(unsigned)(SEEN_EMPTY | SEEN_QUOTED_EMPTY)) {
	case SEEN_BOOLEAN:
		return AVRO_BOOLEAN;
	case SEEN_LONG:
	case SEEN_LONG | SEEN_WIDE_LONG:
		return AVRO_INT64;
	case SEEN_DOUBLE:
	case SEEN_DOUBLE | SEEN_LONG:
		return AVRO_DOUBLE;
	default:
		return AVRO_STRING;
	}
}

static int
is_nullable(unsigned seen)
{
	if (type_of(seen) == AVRO_STRING)
		return seen == 0 || (seen & SEEN_EMPTY);
	return (seen & (SEEN_EMPTY | SEEN_QUOTED_EMPTY)) != 0;
}

/* The first pass. */
static int
look(struct job *j)
{
	const struct row *row = &j->in.row;
	unsigned *seen = j->plan.seen;
	int got;

	while ((got = rows_next(j)) == 1) {
		if (rows_defect(j) != NULL)
			continue;
		for (size_t i = 0; i < row->n; i++) {
			const struct field *f = &row->fields[i];
			if (!(seen[i] & SEEN_STRING) || f->size == 0)
				seen[i] |= value_look(j, f);
		}
	}
	return got;
}

/* What Avro allows as a name, for the header's text (NULL: none) of column i; the caller frees. */
static char *
avro_name(const char *text, size_t i)
{
	size_t size = text != NULL ? strlen(text) : 0;
	char *name = malloc(size + 32), *p = name;

	if (name == NULL)
		return NULL;
	if (size == 0) {
		snprintf(name, 32, "c%zu", i + 1);
		return name;
	}
	if (isdigit((unsigned char)*text))
		*p++ = '_';
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;
		if (c < 0x80 && isalnum(c))
			*p++ = *text;
		else if (c < 0x80 || c >= 0xc0) /* one for a character, however many bytes it has */
			*p++ = '_';
	}
	*p = '\0';
	return name;
}

static int
is_taken(avro_schema_t record, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(avro_schema_record_field_name(record, (int)i), name) == 0)
			return 1;
	return 0;
}

static avro_schema_t
primitive(avro_type_t type)
{
	return type == AVRO_BOOLEAN ? avro_schema_boolean() :
	    type == AVRO_INT64      ? avro_schema_long() :
	    type == AVRO_DOUBLE     ? avro_schema_double() :
				      avro_schema_string();
}

/* Add a column to the schema, with a name that no other has. */
static int
add_column(struct job *j, size_t i)
{
	avro_schema_t record = j->plan.schema, type = primitive(type_of(j->plan.seen[i])), both;
	char *name = avro_name(j->plan.header != NULL ? j->plan.header[i] : NULL, i);
	size_t length, number = i + 1;
	int err = -ENOMEM;

	if (name == NULL)
		return -ENOMEM;
	for (length = strlen(name); is_taken(record, i, name); number++) {
		char *longer = realloc(name, length + 32);
		if (longer == NULL)
			goto name;
		name = longer;
		snprintf(name + length, 32, "_%zu", number);
	}
	if (is_nullable(j->plan.seen[i])) {
		both = avro_schema_union();
		if (both == NULL)
			goto name;
		if (avro_schema_union_append(both, avro_schema_null()) != 0 ||
		    avro_schema_union_append(both, type) != 0) {
			avro_schema_decref(both);
			goto name;
		}
		err = avro_schema_record_field_append(record, name, both) == 0 ? 0 : -ENOMEM;
		avro_schema_decref(both);
	} else {
		err = avro_schema_record_field_append(record, name, type) == 0 ? 0 : -ENOMEM;
	}
name:
	free(name);
	return err;
}

static int
make_schema(struct job *j)
{
	char *name = avro_name(j->out.name, 0);

	if (name == NULL)
		return job_no_memory(j);
	j->plan.schema = avro_schema_record(name, NULL);
	free(name);
	if (j->plan.schema == NULL)
		return job_no_memory(j);
	for (size_t i = 0; i < j->plan.width; i++)
		if (add_column(j, i) < 0)
			return job_no_memory(j);
	return 0;
}

/* ---- its columns --------------------------------------------------------- */

int
schema_understand(avro_schema_t schema, struct column *ret)
{
	const struct type *type;
	size_t branches;

	*ret = (struct column){ .type = value_type(schema) };
	if (avro_typeof(schema) == AVRO_UNION) {
		branches = avro_schema_union_size(schema);
		for (size_t i = 0; i < branches; i++) {
			type = value_type(avro_schema_union_branch(schema, (int)i));
			if (type == NULL || i > 1)
				return -EINVAL;
			if (type->type == AVRO_NULL && !ret->nullable) {
				ret->nullable = 1;
				ret->null_branch = (uint8_t)(i * 2);
			} else if (ret->type == NULL) {
				ret->type = type;
				ret->value_branch = (uint8_t)(i * 2);
			} else {
				return -EINVAL;
			}
		}
		ret->is_union = 1;
	}
	if (ret->type == NULL)
		return -EINVAL;
	ret->is_text = ret->type->type == AVRO_STRING || ret->type->type == AVRO_BYTES;
	return 0;
}

/* What the schema says of the result's fields; their sources are not known yet. */
static int
plan_columns(struct job *j)
{
	struct plan *plan = &j->plan;

	plan->ncolumns = avro_schema_record_size(plan->schema);
	plan->columns = calloc(plan->ncolumns + 1, sizeof(*plan->columns));
	if (plan->columns == NULL)
		return job_no_memory(j);
	for (size_t i = 0; i < plan->ncolumns; i++) {
		struct column *c = &plan->columns[i];
		if (schema_understand(avro_schema_record_field_get_by_index(plan->schema, (int)i), c) < 0)
			return job_because(j, -EINVAL, "a type that cannot be");
		c->name = avro_schema_record_field_name(plan->schema, (int)i);
		c->source = i;
	}
	return 0;
}

/* The column of that name in the header, as it is or as Avro has it; width when there is none. */
static int
find_source(struct job *j, const char *name, size_t *ret)
{
	for (size_t i = 0; i < j->plan.width; i++) {
		char *changed = avro_name(j->plan.header[i], i);
		int same;

		if (changed == NULL)
			return job_no_memory(j);
		same = strcmp(j->plan.header[i], name) == 0 || strcmp(changed, name) == 0;
		free(changed);
		if (same) {
			*ret = i;
			return 0;
		}
	}
	return job_because(j, -EINVAL, "no column '%s', which the schema has", name);
}

/* A given schema's fields are the columns of the same names; without a header, those in the same places. */
static int
match_schema(struct job *j)
{
	struct plan *plan = &j->plan;
	int err = plan_columns(j);

	if (err < 0)
		return err;
	if (plan->ncolumns != plan->width)
		return job_because(
		    j, -EINVAL, "%zu columns, and %zu fields of the schema", plan->width, plan->ncolumns);
	for (size_t i = 0; i < plan->ncolumns && plan->header != NULL; i++) {
		err = find_source(j, plan->columns[i].name, &plan->columns[i].source);
		if (err < 0)
			return err;
	}
	return 0;
}

/* ---- all of it ----------------------------------------------------------- */

/* The first row: it says how many fields there are, and what they are called. */
static int
read_header(struct job *j)
{
	const struct row *row = &j->in.row;
	struct plan *plan = &j->plan;
	int got = rows_next(j);

	if (got < 0)
		return got;
	if (got == 0 && !j->shared->options.header && j->shared->options.schema != NULL) {
		plan->width = avro_schema_record_size(j->shared->options.schema);
		return 0;
	}
	if (got == 0)
		return job_because(j, -EINVAL, "empty");
	plan->width = row->n;
	if (rows_defect(j) != NULL)
		return job_because(j, -EINVAL, "line %" PRIu64 ": %s", row->line, rows_defect(j));
	if (!j->shared->options.header) {
		j->in.start = (size_t)(row->raw - j->in.buf);
		j->in.line = row->line;
		return 0;
	}
	plan->header = calloc(row->n, sizeof(*plan->header));
	if (plan->header == NULL)
		return job_no_memory(j);
	for (size_t i = 0; i < row->n; i++) {
		plan->header[i] = strndup(row->fields[i].text, row->fields[i].size);
		if (plan->header[i] == NULL)
			return job_no_memory(j);
	}
	return 0;
}

/* Types by a first pass; then the input is where it was. */
static int
find_types(struct job *j)
{
	int err;

	/* Each field of a schema takes 26 bytes and more in the file's header. */
	if (j->plan.width > SCHEMA_BYTES / 26)
		return job_because(j, -E2BIG, "%zu columns are too many", j->plan.width);
	j->plan.seen = calloc(j->plan.width, sizeof(*j->plan.seen));
	if (j->plan.seen == NULL)
		return job_no_memory(j);
	err = look(j);
	if (err < 0)
		return err;
	err = make_schema(j);
	if (err < 0)
		return err;
	if (gzrewind(j->in.gz) < 0)
		return job_because(j, -ESPIPE, "cannot be read twice; with --schema once is enough");
	err = rows_rewind(j);
	if (err == 0 && j->plan.header != NULL)
		err = rows_next(j);
	return err < 0 ? err : plan_columns(j);
}

/* libavro has so much room for it in a file's header, and loses memory when that is too little. */
static int
check_size(struct job *j)
{
	char *text = malloc(SCHEMA_BYTES);
	avro_writer_t writer = text != NULL ? avro_writer_memory(text, SCHEMA_BYTES) : NULL;
	int bad = 0;

	if (writer != NULL) {
		bad = avro_schema_to_json(j->plan.schema, writer);
		avro_writer_free(writer);
	}
	free(text);
	if (writer == NULL)
		return job_no_memory(j);
	return bad == 0 ? 0 : job_because(j, -E2BIG, "libavro takes no schema beyond 64 KiB");
}

int
schema_plan(struct job *j)
{
	int err = rows_open(j);

	if (err < 0)
		return err;
	err = read_header(j);
	if (err < 0)
		return err;
	if (j->shared->options.schema == NULL) {
		err = find_types(j);
	} else {
		j->plan.schema = avro_schema_incref(j->shared->options.schema);
		err = match_schema(j);
	}
	return err < 0 ? err : check_size(j);
}
