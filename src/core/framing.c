/* SPDX-License-Identifier: MIT */
#include "framing.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* A number at the start of *s, which is moved behind it. False when there is none, when it has more than
 * 19 digits or is above most. */
static bool
number(const char **s, const char *end, uint64_t most, uint64_t *ret)
{
	const char *at = *s;
	uint64_t n = 0;

	while (at < end && at - *s < 19 && *at >= '0' && *at <= '9')
		n = n * 10 + (uint64_t)(*at++ - '0');
	if (at == *s || n > most || (at < end && *at >= '0' && *at <= '9'))
		return false;
	*s = at;
	*ret = n;
	return true;
}

/* The same behind a byte. */
static bool
number_behind(char byte, const char **s, const char *end, uint64_t most, uint64_t *ret)
{
	const char *at = *s;

	if (at == end || *at != byte)
		return false;
	at++;
	if (!number(&at, end, most, ret))
		return false;
	*s = at;
	return true;
}

/* ---- requests ------------------------------------------------------------- */

int
kn_framing_request(enum knee_framing framing, const char *record, size_t size, struct kn_buf *to)
{
	char end = framing == KNEE_FRAMING_LINE ? '\n' : '\0';
	size_t before = to->len;
	int err = 0;

	if (framing == KNEE_FRAMING_LENGTH) {
		err = kn_buf_addu(to, size);
		if (err == 0)
			err = kn_buf_addc(to, '\n');
	} else if (size > 0 && memchr(record, end, size) != NULL) {
		return -EILSEQ;
	}
	if (err == 0 && size > 0)
		err = kn_buf_add(to, record, size);
	if (err == 0 && framing != KNEE_FRAMING_LENGTH)
		err = kn_buf_addc(to, end);
	if (err < 0)
		to->len = before;
	return err;
}

/* A byte, then a number. */
static int
put_number(struct kn_buf *to, char byte, uint64_t n)
{
	int err = kn_buf_addc(to, byte);

	return err < 0 ? err : kn_buf_addu(to, n);
}

int
kn_request_put(const struct kn_request *r, struct kn_buf *to)
{
	size_t before = to->len, size = 0;
	int err;

	for (size_t i = 0; i < r->nargs; i++)
		size += strlen(r->args[i]) + 1;
	err = put_number(to, 'r', r->seq);
	if (err == 0)
		err = put_number(to, ' ', r->attempt);
	if (err == 0)
		err = put_number(to, ' ', r->nargs);
	if (err == 0)
		err = put_number(to, ' ', size);
	if (err == 0)
		err = kn_buf_addc(to, '\n');
	for (size_t i = 0; i < r->nargs && err == 0; i++)
		err = kn_buf_add(to, r->args[i], strlen(r->args[i]) + 1);
	if (err < 0)
		to->len = before;
	return err;
}

int
kn_request_head(const char *data, size_t size, struct kn_request_head *ret)
{
	/* Four numbers, each behind a byte. */
	const size_t most = 4 * 20 + 1;
	const char *end = size > 0 ? memchr(data, '\n', size < most ? size : most) : NULL;
	uint64_t seq, attempt, nargs, bytes;
	const char *s = data;

	if (end == NULL)
		return size >= most || (size > 0 && data[0] != 'r') ? -EPROTO : 0;
	if (!number_behind('r', &s, end, UINT64_MAX, &seq) ||
	    !number_behind(' ', &s, end, UINT_MAX, &attempt) ||
	    !number_behind(' ', &s, end, SIZE_MAX / sizeof(char *), &nargs) ||
	    !number_behind(' ', &s, end, SIZE_MAX / 2, &bytes) || s != end || nargs > bytes)
		return -EPROTO;
	*ret = (struct kn_request_head){
		.seq = seq,
		.attempt = (unsigned)attempt,
		.nargs = nargs,
		.head_bytes = (size_t)(end - data) + 1,
		.body_bytes = bytes,
	};
	return 1;
}

int
kn_request_args(const struct kn_request_head *head, const char *body, const char **args)
{
	const char *s = body, *end = body + head->body_bytes;

	for (size_t i = 0; i < head->nargs; i++) {
		const char *nul = s < end ? memchr(s, '\0', (size_t)(end - s)) : NULL;

		if (nul == NULL)
			return -EPROTO;
		args[i] = s;
		s = nul + 1;
	}
	return s == end ? 0 : -EPROTO;
}

/* ---- answers -------------------------------------------------------------- */

int
kn_item_put(char letter, const void *data, size_t size, struct kn_buf *to)
{
	size_t before = to->len;
	int err = put_number(to, letter, size);

	if (err == 0)
		err = kn_buf_addc(to, '\n');
	if (err == 0 && size > 0)
		err = kn_buf_add(to, data, size);
	if (err < 0)
		to->len = before;
	return err;
}

/* LINE, NUL: up to the byte that ends an answer, or all there is. */
static int
take_until(struct kn_answers *a, const char **data, size_t *size, struct kn_piece *ret)
{
	char byte = a->framing == KNEE_FRAMING_LINE ? '\n' : '\0';
	const char *end = memchr(*data, byte, *size);
	size_t n = end != NULL ? (size_t)(end - *data) + 1 : *size;

	*ret = (struct kn_piece){ .data = *data, .size = n, .end = end != NULL };
	*data += n;
	*size -= n;
	return 1;
}

/* What the line in a->head says of the bytes that follow. */
static int
head_read(struct kn_answers *a)
{
	const char *s = a->head, *end = a->head + a->head_len - 1;
	uint64_t status = 0;
	char letter = 'o';

	if (a->framing == KNEE_FRAMING_PLUGIN) {
		letter = *s++;
		if ((letter != 'o' && letter != 'e' && letter != 'p' && letter != 'd') ||
		    !number(&s, end, INT64_MAX, &a->left))
			return -EPROTO;
		/* "-4095" is the longest. */
		if (letter == 'd' && (a->left == 0 || a->left > 5))
			return -EPROTO;
	} else if (!number(&s, end, INT64_MAX, &a->left) ||
	    (s < end && !number_behind(' ', &s, end, 255, &status))) {
		return -EPROTO;
	}
	if (s != end)
		return -EPROTO;
	a->letter = letter;
	a->status = (int)status;
	a->head_len = 0;
	return 0;
}

/* The beginning of an answer or item, byte by byte: it is short. True when it is whole. */
static int
take_head(struct kn_answers *a, const char **data, size_t *size)
{
	while (*size > 0) {
		char c = *(*data)++;

		(*size)--;
		if (a->head_len == sizeof(a->head))
			return -EPROTO;
		a->head[a->head_len++] = c;
		if (c == '\n')
			return head_read(a) < 0 ? -EPROTO : 1;
		/* Garbage is told at once: it may have no newline for a long time. */
		if (!((c >= '0' && c <= '9') || c == ' ' ||
			(a->framing == KNEE_FRAMING_PLUGIN && a->head_len == 1)))
			return -EPROTO;
	}
	return 0;
}

/* The text of 'd'. */
static int
status_read(struct kn_answers *a, struct kn_piece *ret)
{
	const char *s = a->head, *end = a->head + a->head_len;
	bool negative = *s == '-';
	uint64_t n = 0;

	s += negative;
	if (!number(&s, end, negative ? 4095 : 255, &n) || s != end)
		return -EPROTO;
	*ret = (struct kn_piece){ .data = a->head, .end = true, .status = negative ? -(int)n : (int)n };
	a->letter = '\0';
	a->head_len = 0;
	return 1;
}

static int
take_status(struct kn_answers *a, const char **data, size_t *size, struct kn_piece *ret)
{
	size_t n = a->left < *size ? (size_t)a->left : *size;

	memcpy(a->head + a->head_len, *data, n);
	a->head_len += (unsigned)n;
	a->left -= n;
	*data += n;
	*size -= n;
	return a->left > 0 ? 0 : status_read(a, ret);
}

/* Bytes of an answer or item whose size is known. */
static int
take_sized(struct kn_answers *a, const char **data, size_t *size, struct kn_piece *ret)
{
	size_t n = a->left < *size ? (size_t)a->left : *size;
	bool plugin = a->framing == KNEE_FRAMING_PLUGIN;

	if (a->letter == 'd')
		return take_status(a, data, size, ret);
	*ret = (struct kn_piece){
		.kind = a->letter == 'p' ? KN_PIECE_PART :
		    a->letter == 'e'     ? KN_PIECE_ERR :
					   KN_PIECE_OUT,
		.data = *data,
		.size = n,
	};
	a->left -= n;
	*data += n;
	*size -= n;
	if (a->left == 0) {
		a->letter = '\0';
		ret->item_end = true;
		ret->end = !plugin;
		ret->status = a->status;
	}
	return 1;
}

static int
take(struct kn_answers *a, const char **data, size_t *size, struct kn_piece *ret)
{
	int n;

	if (a->framing == KNEE_FRAMING_LINE || a->framing == KNEE_FRAMING_NUL)
		return take_until(a, data, size, ret);
	if (a->letter == '\0') {
		n = take_head(a, data, size);
		if (n <= 0)
			return n;
	}
	/* Empty ones are whole with their beginning. */
	return *size > 0 || a->left == 0 ? take_sized(a, data, size, ret) : 0;
}

int
kn_answers_take(struct kn_answers *a, const char **data, size_t *size, struct kn_piece *ret)
{
	int n;

	if (*size == 0)
		return 0;
	a->open = true;
	n = take(a, data, size, ret);
	if (n == 1 && ret->end)
		a->open = false;
	return n;
}

bool
kn_answers_between(const struct kn_answers *a)
{
	return !a->open;
}
