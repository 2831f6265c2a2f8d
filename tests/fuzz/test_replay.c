/* SPDX-License-Identifier: MIT */
/* The log of a tuner's run (tests/sim/log.h), read back: any text. */
#include "fuzz.h"
#include "sim/log.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_copy(data, size);
	FILE *f = size > 0 ? fmemopen(text, size, "r") : NULL;
	unsigned changes = 0, differ = 0, line = 0;

	if (f != NULL) {
		(void)sim_replay(f, NULL, &changes, &differ, &line);
		HOLDS(line > 0, "no line");
		fclose(f);
	}
	free(text);
	return 0;
}
