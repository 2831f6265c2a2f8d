/* SPDX-License-Identifier: MIT */
#include "journal_header.h"

#include <stddef.h>
#include <string.h>

static uint32_t
number_at(const unsigned char *b, size_t bytes)
{
	uint32_t n = 0;

	for (size_t i = 0; i < bytes; i++)
		n = n << 8 | b[i];
	return n;
}

void
kn_journal_header_read(const unsigned char b[KN_JOURNAL_HEADER_BYTES], struct kn_journal_header *ret)
{
	uint32_t page = number_at(b + 16, 2);

	*ret = (struct kn_journal_header){
		.is_sqlite = memcmp(b, "SQLite format 3", 16) == 0,
		.id = number_at(b + 68, 4),
		.version = number_at(b + 60, 4),
	};
	/* The number of pages holds when the change that it belongs to is the latest. */
	if (number_at(b + 24, 4) == number_at(b + 92, 4))
		ret->bytes = (uint64_t)(page == 1 ? 65536 : page) * number_at(b + 28, 4);
}
