/* SPDX-License-Identifier: MIT */
#include "hist.h"

/* Bucket of v: four bits after the leading one, below the place of the leading one. */
static unsigned
bucket_of(uint64_t v)
{
	unsigned high;

	if (v < 16)
		return (unsigned)v;
	high = 63 - (unsigned)__builtin_clzll(v);
	return (high - 3) * 16 + (unsigned)((v >> (high - 4)) & 15);
}

/* The smallest value of a bucket. */
static uint64_t
bucket_start(unsigned b)
{
	if (b < 16)
		return b;
	return (uint64_t)(16 + b % 16) << (b / 16 - 1);
}

void
kn_hist_add(struct kn_hist *h, int64_t value)
{
	h->bucket[bucket_of(value > 0 ? (uint64_t)value : 0)]++;
	h->count++;
}

int64_t
kn_hist_quantile(const struct kn_hist *h, double frac)
{
	uint64_t rank = (uint64_t)(frac * (double)h->count);
	uint64_t seen = 0;

	if (h->count == 0)
		return 0;
	if (rank >= h->count)
		rank = h->count - 1;
	for (unsigned b = 0; b < KN_HIST_BUCKETS - 1; b++) {
		seen += h->bucket[b];
		if (seen > rank)
			return (int64_t)((bucket_start(b) + bucket_start(b + 1)) / 2);
	}
	return INT64_MAX;
}
