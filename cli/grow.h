/* SPDX-License-Identifier: MIT */
/* Arrays that grow. */
#ifndef CLI_GROW_H
#define CLI_GROW_H

#include <stddef.h>

/*
 * Room for need elements of size bytes in an array that has *cap: the array, moved
 * perhaps, and *cap; or NULL, and nothing has changed. Doubles, so that adding one
 * element after another costs the same for each. data may be NULL when *cap is 0.
 */
void *grow(void *data, size_t *cap, size_t need, size_t size);

#endif
