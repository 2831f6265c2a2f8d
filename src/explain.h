/* SPDX-License-Identifier: MIT */
/* The tuner's reasons in words, for people. */
#ifndef KN_EXPLAIN_H
#define KN_EXPLAIN_H

#include <stddef.h>

#include "tune/tuner.h"

/* "sha256sum: 2 at once: CPU-bound: as many as cores". */
void kn_explain_change(const struct kn_change *change, const struct knee_work *work, char *ret, size_t size);
/* What bounds a kind of work: "disk-bound (vda 97 % busy)". */
void kn_explain_work(const struct kn_change *why, struct knee_work *work);
/* "memory pressure (/proc/pressure/memory), disks (/proc/diskstats)": what these enum kn_usage_known and
 * enum kn_vitals_known lack; "" when they are complete. */
void kn_explain_unseen(unsigned usage, unsigned vitals, char *ret, size_t size);
/* True for what a user should be told without asking. */
bool kn_explain_urgent(enum kn_why why);

#endif
