/* SPDX-License-Identifier: MIT */
/* Bytes that grow. {0} is a valid empty buffer. */
#ifndef KN_BUF_H
#define KN_BUF_H

#include <stddef.h>

/* Invariant: len <= cap; data is NULL exactly when cap is 0. */
struct kn_buf {
	char *data;                 /* owned */
	size_t len;
	size_t cap;
};

/* Room for n more bytes. 0 or -ENOMEM, b unchanged then; so for all below. */
int kn_buf_reserve(struct kn_buf *b, size_t n);
int kn_buf_add(struct kn_buf *b, const void *data, size_t n);
int kn_buf_adds(struct kn_buf *b, const char *s);
int kn_buf_addc(struct kn_buf *b, char c);
/* Decimal digits of n. */
int kn_buf_addu(struct kn_buf *b, unsigned long long n);
/* Forget the first n bytes. */
void kn_buf_drop(struct kn_buf *b, size_t n);
/* Takes zeroed ones; b is {0} afterwards. */
void kn_buf_done(struct kn_buf *b);

#endif
