/* SPDX-License-Identifier: MIT */
/* Where the words of a command lead: a host, a disk. */
#ifndef KN_PLACES_H
#define KN_PLACES_H

#include <stddef.h>

#include "../core/reading.h"

/* The first word that holds "://" names the host; the first that is an existing path, or lies in an
 * existing folder, names the disk. Of a word like --input=/data/x what is behind the "=" counts.
 * There are n words, or as many as stand before a NULL. Without the program: that is a path too.
 *
 * Opens no file of the command's; one or two statx(2) (AT_STATX_DONT_SYNC) for a word that looks like
 * a path, of which 4 at most are looked at; none for one in a folder of which many files were seen. */
struct kn_places;               /* what was looked up already */

/* 0 or -ENOMEM. */
int kn_places_new(struct kn_places **ret);
void kn_places_free(struct kn_places *p);
void kn_places_find(struct kn_places *p, const char *const *words, size_t n, struct kn_place *ret);

#endif
