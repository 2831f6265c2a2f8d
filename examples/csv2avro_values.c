/* SPDX-License-Identifier: MIT */
/* What a field holds, and how Avro writes that. */
#include <endian.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "csv2avro.h"

/* A number as it is written: digits * 10^exponent. */
struct number {
	uint64_t digits;         /* the first 19 that count */
	unsigned count, dropped; /* how many these are, and how many more there were */
	int exponent;
	int negative, integer;
	int canonical; /* no plus and no zero in front */
};

static const char *
scan_digits(const char *p, const char *end, struct number *n)
{
	for (; p < end && *p >= '0' && *p <= '9'; p++) {
		if (n->count == 19) {
			n->dropped++;
			n->exponent++;
			continue;
		}
		n->digits = n->digits * 10 + (unsigned)(*p - '0');
		n->count += n->digits > 0;
	}
	return p;
}

static const char *
scan_exponent(const char *p, const char *end, struct number *n)
{
	int negative = p < end && *p == '-', exponent = 0;
	const char *first;

	if (p < end && (*p == '-' || *p == '+'))
		p++;
	for (first = p; p < end && *p >= '0' && *p <= '9'; p++)
		if (exponent < 100000)
			exponent = exponent * 10 + (*p - '0');
	n->exponent += negative ? -exponent : exponent;
	return p > first ? p : NULL;
}

/* True for a decimal number, with a fraction and an exponent or without. */
static int
scan_number(const struct field *f, struct number *ret)
{
	const char *p = f->text, *end = p + f->size, *first;
	ptrdiff_t seen;

	*ret = (struct number){ .integer = 1, .canonical = 1 };
	if (p < end && (*p == '-' || *p == '+')) {
		ret->negative = *p == '-';
		ret->canonical = ret->negative;
		p++;
	}
	first = p;
	p = scan_digits(p, end, ret);
	seen = p - first;
	if (seen > 1 && *first == '0')
		ret->canonical = 0;
	if (p < end && *p == '.') {
		ret->integer = 0;
		first = ++p;
		p = scan_digits(p, end, ret);
		ret->exponent -= (int)(p - first);
		seen += p - first;
	}
	if (seen > 0 && p < end && (*p == 'e' || *p == 'E')) {
		ret->integer = 0;
		p = scan_exponent(p + 1, end, ret);
	}
	return seen > 0 && p == end;
}

static int
is_word(const struct field *f, const char *word)
{
	return f->size == strlen(word) && strncasecmp(f->text, word, f->size) == 0;
}

static int
to_boolean(const struct field *f, int *ret)
{
	*ret = is_word(f, "true");
	return *ret || is_word(f, "false");
}

static int
to_long(const struct number *n, int64_t *ret)
{
	if (!n->integer || n->dropped > 0 || n->digits > (uint64_t)INT64_MAX + (unsigned)n->negative)
		return 0;
	*ret = (int64_t)(n->negative ? 0 - n->digits : n->digits);
	return 1;
}

/* NaN and the infinities, which are no numbers for scan_number(). */
static int
to_special(const struct field *f, double *ret)
{
	struct field rest = *f;
	int negative = f->size > 0 && f->text[0] == '-';

	rest.text += negative;
	rest.size -= (unsigned)negative;
	*ret = negative ? -INFINITY : INFINITY;
	if (is_word(&rest, "inf") || is_word(&rest, "infinity"))
		return 1;
	*ret = NAN;
	return is_word(f, "nan");
}

/* The nearest double. One division or multiplication of two exact ones rounds once, so it is that. */
static int
to_double(const struct job *j, const struct field *f, const struct number *n, double *ret)
{
	static const double power[] = { 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12,
		1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
	double d = (double)n->digits;

	if (sizeof(double) == sizeof(double_t) && n->dropped == 0 && n->digits <= UINT64_C(1) << 53 &&
	    n->exponent >= -22 && n->exponent <= 22) {
		d = n->exponent < 0 ? d / power[-n->exponent] : d * power[n->exponent];
		*ret = n->negative ? -d : d;
		return 1;
	}
	/* What follows the field is no part of a number, so that strtod() stops there. */
	*ret = strtod_l(f->text, NULL, j->shared->c_locale);
	return !isinf(*ret) && (*ret != 0 || n->digits == 0);
}

unsigned
value_look(const struct job *j, const struct field *f)
{
	struct number n;
	int64_t whole;
	double d;
	int b;

	if (f->size == 0)
		return f->quoted ? SEEN_QUOTED_EMPTY : SEEN_EMPTY;
	if (f->text[0] > '9') {
		if (to_boolean(f, &b))
			return SEEN_BOOLEAN;
		return to_special(f, &d) ? SEEN_DOUBLE : SEEN_STRING;
	}
	if (!scan_number(f, &n))
		return to_special(f, &d) ? SEEN_DOUBLE : SEEN_STRING;
	if (!n.canonical)
		return SEEN_STRING;
	/* Minus zero is a double: a long has none. */
	if (n.integer && (n.digits > 0 || !n.negative)) {
		if (!to_long(&n, &whole))
			return SEEN_STRING;
		return n.digits > UINT64_C(1) << 53 ? SEEN_LONG | SEEN_WIDE_LONG : SEEN_LONG;
	}
	if (n.count + n.dropped > 17 || !to_double(j, f, &n, &d))
		return SEEN_STRING;
	return SEEN_DOUBLE;
}

static uint8_t *
put_long(uint8_t *p, int64_t value)
{
	uint64_t rest = ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0);

	for (; rest >= 0x80; rest >>= 7)
		*p++ = (uint8_t)(rest | 0x80);
	*p++ = (uint8_t)rest;
	return p;
}

static uint8_t *
encode_text(const struct job *j, const struct field *f, uint8_t *p)
{
	(void)j;
	p = put_long(p, f->size);
	memcpy(p, f->text, f->size);
	return p + f->size;
}

static uint8_t *
encode_long(const struct job *j, const struct field *f, uint8_t *p)
{
	struct number n;
	int64_t value;

	(void)j;
	return scan_number(f, &n) && to_long(&n, &value) ? put_long(p, value) : NULL;
}

static uint8_t *
encode_int(const struct job *j, const struct field *f, uint8_t *p)
{
	struct number n;
	int64_t value;

	(void)j;
	if (!scan_number(f, &n) || !to_long(&n, &value) || value < INT32_MIN || value > INT32_MAX)
		return NULL;
	return put_long(p, value);
}

static int
read_double(const struct job *j, const struct field *f, double *ret)
{
	struct number n;

	return scan_number(f, &n) ? to_double(j, f, &n, ret) : to_special(f, ret);
}

static uint8_t *
encode_double(const struct job *j, const struct field *f, uint8_t *p)
{
	double value;
	uint64_t bits;

	if (!read_double(j, f, &value))
		return NULL;
	memcpy(&bits, &value, sizeof(bits));
	bits = htole64(bits);
	memcpy(p, &bits, sizeof(bits));
	return p + sizeof(bits);
}

static uint8_t *
encode_float(const struct job *j, const struct field *f, uint8_t *p)
{
	double wide;
	float value;
	uint32_t bits;

	if (!read_double(j, f, &wide))
		return NULL;
	value = (float)wide;
	if (isinf(value) && !isinf(wide))
		return NULL;
	memcpy(&bits, &value, sizeof(bits));
	bits = htole32(bits);
	memcpy(p, &bits, sizeof(bits));
	return p + sizeof(bits);
}

static uint8_t *
encode_boolean(const struct job *j, const struct field *f, uint8_t *p)
{
	int value;

	(void)j;
	if (!to_boolean(f, &value))
		return NULL;
	*p++ = (uint8_t)value;
	return p;
}

static uint8_t *
encode_null(const struct job *j, const struct field *f, uint8_t *p)
{
	(void)j;
	return f->size == 0 ? p : NULL;
}

static const struct type types[] = {
	{ AVRO_STRING, "string", encode_text },
	{ AVRO_BYTES, "bytes", encode_text },
	{ AVRO_INT64, "long", encode_long },
	{ AVRO_INT32, "int", encode_int },
	{ AVRO_DOUBLE, "double", encode_double },
	{ AVRO_FLOAT, "float", encode_float },
	{ AVRO_BOOLEAN, "boolean", encode_boolean },
	{ AVRO_NULL, "null", encode_null },
};

int64_t
value_row(struct job *j)
{
	const struct row *row = &j->in.row;
	const struct plan *plan = &j->plan;
	size_t need = row->raw_size + plan->ncolumns * FIELD_BYTES;
	uint8_t *p;

	if (need > j->out.cap) {
		p = realloc(j->out.bytes, need * 2);
		if (p == NULL)
			return job_no_memory(j);
		j->out.bytes = p;
		j->out.cap = need * 2;
	}
	p = j->out.bytes;
	for (size_t i = 0; i < plan->ncolumns; i++) {
		const struct column *c = &plan->columns[i];
		const struct field *f = &row->fields[c->source];
		if (c->nullable && f->size == 0 && !(c->is_text && f->quoted)) {
			*p++ = c->null_branch;
			continue;
		}
		if (c->is_union)
			*p++ = c->value_branch;
		p = c->type->encode(j, f, p);
		if (p == NULL) {
			snprintf(j->reason, sizeof(j->reason), "%s: not %s %s", c->name,
			    c->type->type == AVRO_INT32 ? "an" : "a", c->type->name);
			return -EINVAL;
		}
	}
	return p - j->out.bytes;
}

const struct type *
value_type(avro_schema_t schema)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (avro_typeof(schema) == types[i].type)
			return &types[i];
	return NULL;
}
