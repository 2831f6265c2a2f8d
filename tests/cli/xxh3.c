/* SPDX-License-Identifier: MIT */
/* XXH3-64 for agentframes.py: Python's library has none. */
#include <stddef.h>
#include <stdint.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t kneetest_xxh3(const void *data, size_t size, uint64_t seed);

uint64_t
kneetest_xxh3(const void *data, size_t size, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, size, seed);
}
