/* SPDX-License-Identifier: MIT */
/* The first bytes of an SQLite file (its "Database File Format", 1.3), as far as they say what file it is. */
#ifndef KN_JOURNAL_HEADER_H
#define KN_JOURNAL_HEADER_H

#include <stdbool.h>
#include <stdint.h>

enum { KN_JOURNAL_HEADER_BYTES = 100 };

struct kn_journal_header {
	bool is_sqlite;             /* else the rest says nothing */
	uint32_t id, version;       /* of the application, of its format */
	uint64_t bytes;             /* pages by their size; 0: it does not say */
};

void kn_journal_header_read(const unsigned char b[KN_JOURNAL_HEADER_BYTES], struct kn_journal_header *ret);

#endif
