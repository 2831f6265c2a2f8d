/* SPDX-License-Identifier: MIT */
#include "buf.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int
kn_buf_reserve(struct kn_buf *b, size_t n)
{
	size_t cap = b->cap ? b->cap : 64;
	char *data;

	if (n <= b->cap - b->len)
		return 0;
	if (n > SIZE_MAX / 2 - b->len)
		return -ENOMEM;
	while (cap < b->len + n)
		cap *= 2;
	data = realloc(b->data, cap);
	if (data == NULL)
		return -ENOMEM;
	b->data = data;
	b->cap = cap;
	return 0;
}

int
kn_buf_add(struct kn_buf *b, const void *data, size_t n)
{
	int err = kn_buf_reserve(b, n);

	if (err < 0)
		return err;
	if (n > 0)
		memcpy(b->data + b->len, data, n);
	b->len += n;
	return 0;
}

int
kn_buf_adds(struct kn_buf *b, const char *s)
{
	return kn_buf_add(b, s, strlen(s));
}

int
kn_buf_addc(struct kn_buf *b, char c)
{
	return kn_buf_add(b, &c, 1);
}

int
kn_buf_addu(struct kn_buf *b, unsigned long long n)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	return kn_buf_add(b, digits + at, sizeof(digits) - at);
}

void
kn_buf_drop(struct kn_buf *b, size_t n)
{
	if (n == 0)
		return;
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
}

void
kn_buf_done(struct kn_buf *b)
{
	free(b->data);
	*b = (struct kn_buf){ 0 };
}
