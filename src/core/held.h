/* SPDX-License-Identifier: MIT */
/*
 * Output that waits for its turn: chunks in order of arrival, the oldest perhaps
 * in the spill file (as extents of it), the newest in memory.
 *
 * A chunk, in memory and in the spill file alike:
 *	4 bytes  size of the data, native order
 *	4 bytes  enum knee_stream
 *	size bytes of data
 */
#ifndef KN_HELD_H
#define KN_HELD_H

#include <stdint.h>

#include <knee_program.h>
#include "buf.h"

struct kn_chunk {
	uint32_t size;
	uint32_t stream;
};

struct kn_extent {
	uint64_t offset, size;      /* bytes of the spill file; always whole chunks */
};

/* {0} holds nothing. */
struct kn_held {
	struct kn_buf mem;
	struct kn_extent *extents;  /* owned */
	size_t nextents, cap;
};

/* Append data as a chunk. 0 or -ENOMEM, nothing added then. size < 4 GiB. */
int kn_held_add(struct kn_held *h, enum knee_stream stream, const char *data, size_t size);

/* The chunks in memory have been written to the spill file at offset: make them an
 * extent and empty the memory. Call kn_held_reserve first. */
void kn_held_spilled(struct kn_held *h, uint64_t offset);
int kn_held_reserve(struct kn_held *h);

void kn_held_done(struct kn_held *h);

#endif
