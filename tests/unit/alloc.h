/* SPDX-License-Identifier: MIT */
/*
 * Failing memory, for programs linked with
 * -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc. Included once in a program.
 *
 *	for (alloc_fail_at = 1;; alloc_fail_at++) {
 *		alloc_count = 0;
 *		... do it; -ENOMEM is the one error allowed ...
 *		if (alloc_count < alloc_fail_at)
 *			break;                  all of them have failed once
 *	}
 *	alloc_fail_at = 0;
 */
#ifndef TEST_ALLOC_H
#define TEST_ALLOC_H

#include <stddef.h>

static _Atomic size_t alloc_fail_at; /* 0: none; n: the nth call from now fails */
static _Atomic size_t alloc_count; /* threads may allocate, too */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t n);

void *
__wrap_malloc(size_t n)
{
	return ++alloc_count == alloc_fail_at ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return ++alloc_count == alloc_fail_at ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *old, size_t n)
{
	return ++alloc_count == alloc_fail_at ? NULL : __real_realloc(old, n);
}

#endif
