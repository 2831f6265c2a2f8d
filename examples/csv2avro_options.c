/* SPDX-License-Identifier: MIT */
/* The words behind --plugin csv2avro.so. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "csv2avro.h"

/* The whole of a small file, with a NUL behind it; the caller frees. */
static char *
read_text(const char *path)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;

	if (f == NULL)
		return NULL;
	/* A schema has no NUL byte, so that this takes all of it. */
	errno = EINVAL;
	if (getdelim(&text, &size, '\0', f) < 0) {
		free(text);
		text = NULL;
	}
	fclose(f);
	return text;
}

/* A record of what the fields of CSV can be. */
static int
check_schema(avro_schema_t schema, char *err, size_t errsize)
{
	struct column c;

	if (avro_typeof(schema) != AVRO_RECORD) {
		snprintf(err, errsize, "not a record");
		return -EINVAL;
	}
	for (size_t i = 0; i < avro_schema_record_size(schema); i++)
		if (schema_understand(avro_schema_record_field_get_by_index(schema, (int)i), &c) < 0) {
			snprintf(err, errsize,
			    "field %s: neither a primitive type nor a union of one with null",
			    avro_schema_record_field_name(schema, (int)i));
			return -EINVAL;
		}
	return 0;
}

static int
load_schema(struct options *o, const char *path, char *err, size_t errsize)
{
	int prefix = snprintf(err, errsize, "schema %s: ", path);
	char *text = read_text(path);
	int bad;

	if (prefix < 0 || (size_t)prefix >= errsize)
		prefix = 0;
	err += prefix;
	errsize -= (size_t)prefix;
	if (text == NULL) {
		bad = errno;
		snprintf(err, errsize, "%s", strerror(bad));
		return -bad;
	}
	if (o->schema != NULL)
		avro_schema_decref(o->schema);
	o->schema = NULL;
	bad = avro_schema_from_json_length(text, strlen(text), &o->schema);
	free(text);
	if (bad != 0) {
		o->schema = NULL;
		snprintf(err, errsize, "%s", avro_strerror());
		return -EINVAL;
	}
	return check_schema(o->schema, err, errsize);
}

static int
set_out(struct options *o, const char *value, char *err, size_t errsize)
{
	int error;

	o->out = value;
	if (mkdir(value, 0777) == 0 || errno == EEXIST)
		return 0;
	error = errno;
	snprintf(err, errsize, "out %s: %s", value, strerror(error));
	return -error;
}

static int
set_codec(struct options *o, const char *value, char *err, size_t errsize)
{
	o->codec = value;
	if (strcmp(value, "null") == 0 || strcmp(value, "deflate") == 0)
		return 0;
	snprintf(err, errsize, "codec '%s': neither null nor deflate", value);
	return -EINVAL;
}

static int
set_delimiter(struct options *o, const char *value, char *err, size_t errsize)
{
	if (strcmp(value, "\\t") == 0)
		value = "\t";
	o->delimiter = *value;
	/* What is part of a number could not be told from it. */
	if (strlen(value) == 1 && *value > 0 && strchr("\"\r\n+-._", *value) == NULL &&
	    !isalnum((unsigned char)*value))
		return 0;
	snprintf(err, errsize, "delimiter '%s': not one character that can be between fields", value);
	return -EINVAL;
}

static int
set_delay(struct options *o, const char *value, char *err, size_t errsize)
{
	char *end;
	double number = strtod(value, &end);
	double unit = strcmp(end, "ms") == 0 ? 1e6 : strcmp(end, "s") == 0 ? 1e9 : 0;

	o->delay_ns = (int64_t)(number >= 0 && number < 1e6 ? number * unit : 0);
	if (end > value && unit > 0 && number >= 0 && number < 1e6)
		return 0;
	snprintf(err, errsize, "delay '%s': not a time like 200ms or 1.5s", value);
	return -EINVAL;
}

static const struct {
	const char *word;
	int (*set)(struct options *o, const char *value, char *err, size_t errsize);
} settings[] = {
	{ "--schema", load_schema },
	{ "--out", set_out },
	{ "--codec", set_codec },
	{ "--delimiter", set_delimiter },
	{ "--delay", set_delay },
};

int
options_parse(struct options *o, int argc, const char *const *argv, char *err, size_t errsize)
{
	for (int i = 1; i < argc; i++) {
		size_t k = 0, n = sizeof(settings) / sizeof(settings[0]);
		int bad;

		if (strcmp(argv[i], "--no-header") == 0) {
			o->header = 0;
			continue;
		}
		if (strcmp(argv[i], "--no-sync") == 0) {
			o->sync = 0;
			continue;
		}
		while (k < n && strcmp(settings[k].word, argv[i]) != 0)
			k++;
		if (k == n || i + 1 == argc) {
			snprintf(
			    err, errsize, k == n ? "%s: no such option" : "%s: a value is missing", argv[i]);
			return -EINVAL;
		}
		bad = settings[k].set(o, argv[++i], err, errsize);
		if (bad < 0)
			return bad;
	}
	return 0;
}
