/* SPDX-License-Identifier: MIT */
/*
 * What is asked of knee log: a moment as people write it, and the words of the command line.
 *
 * Bytes: the moment; the words, "log" first; each with a NUL.
 */
#include "log_parts.h"

#include "fuzz.h"

#define NOW_NS INT64_C(1795493586123456789)

enum { WORDS_MAX = 32 };

static void
check_moment(const char *s)
{
	int64_t ns = 0;

	/* The Epoch began earlier in the east. */
	if (log_time_parse(s, NOW_NS, &ns) == 0)
		HOLDS(ns > INT64_C(-86400000000000), "moment %lld", (long long)ns);
}

static void
check_words(const struct fuzz_words *words)
{
	struct log_options o = { 0 };

	if (words->n == 0 || log_options_parse(&o, (int)words->n, words->words) < 0 || o.help)
		return;
	HOLDS(o.journal != NULL && strlen(o.journal) < SIZE_MAX, "no journal");
	HOLDS(o.filter.host == NULL || strlen(o.filter.host) < SIZE_MAX, "a host without end");
	HOLDS(o.filter.seq_last == 0 || o.filter.seq_first <= o.filter.seq_last, "tasks %llu to %llu",
	    (unsigned long long)o.filter.seq_first, (unsigned long long)o.filter.seq_last);
	HOLDS(o.what != LOG_OUTPUT || o.output_seq > 0, "the output of task 0");
	HOLDS(o.format <= LOG_JSON, "format %d", (int)o.format);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes b = { data, size < 2048 ? size : 2048 };
	char *moment = fuzz_string(&b);
	struct fuzz_words words = fuzz_words(&b, WORDS_MAX);

	check_moment(moment);
	check_words(&words);
	free(moment);
	fuzz_words_free(&words);
	return 0;
}
