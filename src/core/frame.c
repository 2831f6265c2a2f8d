/* SPDX-License-Identifier: MIT */
#include "frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#define XXH_NO_STREAM
#include <xxhash.h>

/* ---- sending ------------------------------------------------------------------ */

/* Little endian, as the machine may not be. */
static void
number_write(char *at, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (char)(v >> (8 * i) & 0xff);
}

static uint64_t
number_read(const char *at, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)(unsigned char)at[i] << (8 * i);
	return v;
}

static int
number_put(struct kn_buf *to, uint64_t v, unsigned bytes)
{
	int err = kn_buf_reserve(to, bytes);

	if (err < 0)
		return err;
	number_write(to->data + to->len, v, bytes);
	to->len += bytes;
	return 0;
}

int
kn_put_u8(struct kn_buf *to, unsigned v)
{
	return number_put(to, v, 1);
}

int
kn_put_u32(struct kn_buf *to, uint32_t v)
{
	return number_put(to, v, 4);
}

int
kn_put_u64(struct kn_buf *to, uint64_t v)
{
	return number_put(to, v, 8);
}

int
kn_put_i64(struct kn_buf *to, int64_t v)
{
	return number_put(to, (uint64_t)v, 8);
}

int
kn_put_text(struct kn_buf *to, const char *s)
{
	size_t n = s != NULL ? strlen(s) : 0;
	int err;

	if (n > UINT32_MAX)
		return -EMSGSIZE;
	err = kn_put_u32(to, (uint32_t)n);
	return err == 0 ? kn_buf_add(to, s != NULL ? s : "", n + 1) : err;
}

int
kn_put_texts(struct kn_buf *to, const char *const *texts, size_t n)
{
	int err = n <= UINT32_MAX ? kn_put_u32(to, (uint32_t)n) : -EMSGSIZE;

	for (size_t i = 0; i < n && err == 0; i++)
		err = kn_put_text(to, texts[i]);
	return err;
}

/* The numbers of a result, in the order in which they are sent; the attempt and the start are the
 * coordinator's own. */
#define RESULT_NUMBERS 15

int
kn_put_result(struct kn_buf *to, const struct knee_result *r)
{
	const int64_t numbers[RESULT_NUMBERS] = { (int64_t)r->outcome, r->status, r->error, r->runtime_ns,
		r->cpu_user_ns, r->cpu_sys_ns, r->peak_rss_bytes, (int64_t)r->disk_read_bytes,
		(int64_t)r->disk_written_bytes, (int64_t)r->waits, (int64_t)r->switches, (int64_t)r->io_bytes,
		(int64_t)r->disk_bytes, (int64_t)r->tree_rss_bytes, r->delay_ns };
	int err = 0;

	for (size_t i = 0; i < RESULT_NUMBERS && err == 0; i++)
		err = kn_put_i64(to, numbers[i]);
	return err;
}

int
kn_frame_begin(struct kn_buf *to, enum kn_frame_kind kind, size_t *ret_at)
{
	size_t at = to->len;
	int err = kn_buf_reserve(to, KN_FRAME_HEAD_BYTES);

	if (err < 0)
		return err;
	memset(to->data + at, 0, KN_FRAME_HEAD_BYTES);
	to->data[at + 4] = (char)kind;
	to->len += KN_FRAME_HEAD_BYTES;
	*ret_at = at;
	return 0;
}

/* Of bytes 0 to 7 and the payload: the seed of the second is the check of the first. */
static uint32_t
check_of(const char *frame, size_t payload)
{
	uint64_t head = XXH3_64bits(frame, 8);

	return (uint32_t)XXH3_64bits_withSeed(frame + KN_FRAME_HEAD_BYTES, payload, head);
}

int
kn_frame_end(struct kn_buf *to, size_t at)
{
	size_t payload = to->len - at - KN_FRAME_HEAD_BYTES;

	if (payload > KN_FRAME_MOST) {
		to->len = at;
		return -EMSGSIZE;
	}
	number_write(to->data + at, payload, 4);
	number_write(to->data + at + 8, check_of(to->data + at, payload), 4);
	return 0;
}

/* What was begun at the position `at` could not be made whole: it is taken out. */
static int
frame_close(struct kn_buf *to, size_t at, int err)
{
	if (err < 0) {
		to->len = at;
		return err;
	}
	return kn_frame_end(to, at);
}

int
kn_frame_bytes(struct kn_buf *to, enum kn_frame_kind kind, const uint64_t *id, const void *data, size_t n)
{
	size_t at;
	int err = kn_frame_begin(to, kind, &at);

	if (err < 0)
		return err;
	if (id != NULL)
		err = kn_put_u64(to, *id);
	if (err == 0)
		err = kn_buf_add(to, data, n);
	return frame_close(to, at, err);
}

int
kn_frame_u64(struct kn_buf *to, enum kn_frame_kind kind, uint64_t v)
{
	size_t at;
	int err = kn_frame_begin(to, kind, &at);

	return err < 0 ? err : frame_close(to, at, kn_put_u64(to, v));
}

int
kn_frame_empty(struct kn_buf *to, enum kn_frame_kind kind)
{
	size_t at;
	int err = kn_frame_begin(to, kind, &at);

	return err < 0 ? err : kn_frame_end(to, at);
}

/* ---- what came in -------------------------------------------------------------- */

static bool
kind_known(char kind)
{
	return kind != '\0' && strchr("OMTFDKSPXHYCBoeENRGQJZ", kind) != NULL;
}

int
kn_frame_take(const char *data, size_t size, struct kn_frame *ret, size_t *ret_bytes)
{
	size_t payload;

	if (size < 8)
		return 0;
	payload = number_read(data, 4);
	if (payload > KN_FRAME_MOST || !kind_known(data[4]) || data[5] != 0 || data[6] != 0 || data[7] != 0)
		return -EBADMSG;
	if (size < KN_FRAME_HEAD_BYTES + payload)
		return 0;
	if (number_read(data + 8, 4) != check_of(data, payload))
		return -EBADMSG;
	ret->kind = (enum kn_frame_kind)data[4];
	ret->payload = data + KN_FRAME_HEAD_BYTES;
	ret->size = payload;
	*ret_bytes = KN_FRAME_HEAD_BYTES + payload;
	return 1;
}

/* "WHO PROTOCOL VERSION": what stands behind WHO and a blank, n bytes. */
static int
greeting_read(const char *at, size_t n, unsigned *protocol, char *version, size_t versionsize)
{
	unsigned number = 0;
	size_t i = 0, length;

	while (i < n && i < 6 && at[i] >= '0' && at[i] <= '9')
		number = number * 10 + (unsigned)(at[i++] - '0');
	if (i == 0 || i + 1 >= n || at[i] != ' ')
		return -EBADMSG;
	at += i + 1;
	length = n - i - 1;
	for (i = 0; i < length; i++)
		if (at[i] <= ' ' || at[i] > '~')
			return -EBADMSG;
	if (length >= versionsize)
		return -EBADMSG;
	memcpy(version, at, length);
	version[length] = '\0';
	*protocol = number;
	return 1;
}

int
kn_frame_greeting(const char *who, const char *data, size_t size, unsigned *protocol, char *version,
    size_t versionsize, size_t *ret_bytes)
{
	size_t name = strlen(who), at = 0;

	while (at < size) {
		const char *line = data + at, *end = memchr(line, '\n', size - at);
		size_t n = end != NULL ? (size_t)(end - line) : size - at;
		bool ours = n > name && memcmp(line, who, name) == 0 && line[name] == ' ';
		/* The name alone is no noise either. */
		bool bare = end != NULL && n == name && memcmp(line, who, name) == 0;

		if (bare || (ours && n > KN_FRAME_GREETING_MOST))
			return -EBADMSG;
		if (end == NULL)
			break;
		at += n + 1;
		*ret_bytes = at;
		if (n > 0 && line[n - 1] == '\r') /* a terminal in between */
			n--;
		if (ours)
			return greeting_read(line + name + 1, n - name - 1, protocol, version, versionsize);
	}
	*ret_bytes = at;
	return 0;
}

struct kn_fields
kn_fields_of(const struct kn_frame *f)
{
	return (struct kn_fields){ .at = f->payload, .left = f->size };
}

static uint64_t
number_get(struct kn_fields *f, unsigned bytes)
{
	uint64_t v;

	if (f->left < bytes) {
		f->bad = true;
		f->left = 0;
		return 0;
	}
	v = number_read(f->at, bytes);
	f->at += bytes;
	f->left -= bytes;
	return v;
}

unsigned
kn_get_u8(struct kn_fields *f)
{
	return (unsigned)number_get(f, 1);
}

uint32_t
kn_get_u32(struct kn_fields *f)
{
	return (uint32_t)number_get(f, 4);
}

uint64_t
kn_get_u64(struct kn_fields *f)
{
	return number_get(f, 8);
}

int64_t
kn_get_i64(struct kn_fields *f)
{
	return (int64_t)number_get(f, 8);
}

const char *
kn_get_text(struct kn_fields *f)
{
	size_t n = kn_get_u32(f);
	const char *s = f->at;

	if (f->bad || n >= f->left || memchr(s, '\0', n + 1) != s + n) {
		f->bad = true;
		f->left = 0;
		return "";
	}
	f->at += n + 1;
	f->left -= n + 1;
	return s;
}

const char *
kn_get_rest(struct kn_fields *f, size_t *ret_size)
{
	const char *rest = f->at;

	*ret_size = f->left;
	f->at += f->left;
	f->left = 0;
	return rest;
}

int
kn_get_texts(struct kn_fields *f, const char ***ret, size_t *ret_n)
{
	size_t n = kn_get_u32(f);
	const char **texts;

	/* Each takes five bytes at least. */
	if (f->bad || n > f->left / 5) {
		f->bad = true;
		f->left = 0;
		n = 0;
	}
	texts = calloc(n + 1, sizeof(*texts));
	if (texts == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		texts[i] = kn_get_text(f);
	*ret = texts;
	*ret_n = n;
	return 0;
}

/* A number that cannot be below zero. */
static int64_t
positive(struct kn_fields *f, int64_t v)
{
	if (v < 0)
		f->bad = true;
	return v < 0 ? 0 : v;
}

void
kn_get_result(struct kn_fields *f, struct knee_result *ret)
{
	int64_t numbers[RESULT_NUMBERS];

	for (size_t i = 0; i < RESULT_NUMBERS; i++)
		numbers[i] = kn_get_i64(f);
	for (size_t i = 3; i < RESULT_NUMBERS; i++)
		numbers[i] = positive(f, numbers[i]);
	if (numbers[0] < 0 || numbers[0] >= KNEE_OUTCOMES || numbers[1] < 0 || numbers[1] > 255 ||
	    numbers[2] > 0 || numbers[2] < -4095)
		f->bad = true;
	if (f->bad)
		memset(numbers, 0, sizeof(numbers));
	*ret = (struct knee_result){
		.outcome = (enum knee_outcome)numbers[0],
		.status = (int)numbers[1],
		.error = (int)numbers[2],
		.runtime_ns = numbers[3],
		.cpu_user_ns = numbers[4],
		.cpu_sys_ns = numbers[5],
		.peak_rss_bytes = numbers[6],
		.disk_read_bytes = (uint64_t)numbers[7],
		.disk_written_bytes = (uint64_t)numbers[8],
		.waits = (uint64_t)numbers[9],
		.switches = (uint64_t)numbers[10],
		.io_bytes = (uint64_t)numbers[11],
		.disk_bytes = (uint64_t)numbers[12],
		.tree_rss_bytes = (uint64_t)numbers[13],
		.delay_ns = numbers[14],
	};
}
