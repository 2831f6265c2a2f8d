/* SPDX-License-Identifier: MIT */
/* Lengths of time, counted in buckets that grow by 1/16: quantiles within 6 %, in fixed memory. */
#ifndef KN_HIST_H
#define KN_HIST_H

#include <stdint.h>

#define KN_HIST_BUCKETS (64 * 16)

struct kn_hist {
	uint64_t count;
	uint64_t bucket[KN_HIST_BUCKETS];
};

/* Negative values count as 0. */
void kn_hist_add(struct kn_hist *h, int64_t value);
/* The value below which frac (0..1) of them lie: the middle of its bucket; 0 when empty. */
int64_t kn_hist_quantile(const struct kn_hist *h, double frac);

#endif
