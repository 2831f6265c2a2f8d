/* SPDX-License-Identifier: MIT */
/* The growing buffer: what it holds, its invariant, and what a failed growth leaves. */
#include "buf.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "alloc.h"
#include "tap.h"

static bool
valid(const struct kn_buf *b)
{
	return b->len <= b->cap && (b->data == NULL) == (b->cap == 0);
}

static void
test_add(void)
{
	struct kn_buf b = { 0 };

	is_int(kn_buf_add(&b, NULL, 0), 0, "nothing can be added to an empty buffer");
	ok(b.data == NULL && valid(&b), "and it stays without memory");
	is_int(kn_buf_adds(&b, "one"), 0, "a string");
	is_int(kn_buf_addc(&b, '\0'), 0, "a NUL");
	is_int(kn_buf_addu(&b, 0), 0, "zero");
	is_int(kn_buf_addu(&b, UINT64_MAX), 0, "the largest number");
	is_int(kn_buf_add(&b, "\xff\n", 2), 0, "bytes");
	is_mem(b.data, b.len,
	    "one\0"
	    "018446744073709551615\xff\n",
	    27, "all of it in order");
	ok(valid(&b), "valid");
	kn_buf_done(&b);
	ok(b.data == NULL && b.len == 0 && b.cap == 0, "done leaves an empty buffer");
	kn_buf_done(&b);
	pass("done takes an empty buffer");
}

static void
test_grow(void)
{
	struct kn_buf b = { 0 };
	size_t wrong = 0;

	for (unsigned i = 0; i < 100000; i++)
		if (kn_buf_addc(&b, (char)(i * 7)) != 0 || !valid(&b))
			wrong++;
	for (unsigned i = 0; i < 100000; i++)
		if (b.data[i] != (char)(i * 7))
			wrong++;
	is_int(wrong, 0, "100,000 bytes are kept as it grows");
	is_int(b.len, 100000, "and counted");
	ok(b.cap < 400000, "without great waste");
	is_int(kn_buf_reserve(&b, 1000000), 0, "room on demand");
	ok(b.cap - b.len >= 1000000 && b.len == 100000, "is there, and nothing else changed");
	kn_buf_done(&b);
}

static void
test_drop(void)
{
	struct kn_buf b = { 0 };

	kn_buf_drop(&b, 0);
	ok(valid(&b), "nothing can be dropped from an empty buffer");
	(void)kn_buf_adds(&b, "abcdef");
	kn_buf_drop(&b, 2);
	is_mem(b.data, b.len, "cdef", 4, "the first bytes are dropped");
	kn_buf_drop(&b, 4);
	is_int(b.len, 0, "all of them are");
	ok(valid(&b), "valid");
	kn_buf_done(&b);
}

static void
test_failure(void)
{
	struct kn_buf b = { 0 };
	struct kn_buf before;

	alloc_count = 0;
	alloc_fail_at = 1;
	is_int(kn_buf_adds(&b, "x"), -ENOMEM, "the first allocation fails");
	ok(b.data == NULL && valid(&b), "the buffer is still empty");
	(void)kn_buf_adds(&b, "abc");
	before = b;
	alloc_count = 0;
	is_int(kn_buf_reserve(&b, 100000), -ENOMEM, "a growth fails");
	ok(memcmp(&before, &b, sizeof(b)) == 0, "the buffer is unchanged");
	alloc_count = 0;
	b.len = b.cap;
	is_int(kn_buf_addu(&b, 12345), -ENOMEM, "a number that finds no room");
	is_int(b.len, b.cap, "adds no part of it");
	b.len = 3;
	alloc_fail_at = 0;
	is_int(kn_buf_reserve(&b, SIZE_MAX - 1), -ENOMEM, "a size that overflows");
	is_int(kn_buf_reserve(&b, SIZE_MAX / 2), -ENOMEM, "one that nearly does");
	is_mem(b.data, b.len, "abc", 3, "what was there still is");
	kn_buf_done(&b);
}

int
main(void)
{
	test_add();
	test_grow();
	test_drop();
	test_failure();
	return done_testing();
}
