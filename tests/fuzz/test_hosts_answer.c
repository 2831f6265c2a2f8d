/* SPDX-License-Identifier: MIT */
/*
 * What machines say to knee hosts. Whatever comes, and however it is cut into pieces: the figures are the
 * same, and are numbers that can be; names can be shown; memory is bounded.
 *
 * Bytes: how long the pieces are, then what comes.
 */
#include <math.h>

#include "fuzz.h"
#include "hosts_parts.h"

static void
check_figures(const struct hosts_answer *a)
{
	struct hosts_figures f = hosts_answer_figures(a);
	const double *all = (const double *)(const void *)&f;

	for (size_t i = 0; i < sizeof(f) / sizeof(double); i++)
		HOLDS(isfinite(all[i]) && all[i] >= -1, "figure %zu: %g", i, all[i]);
	HOLDS(f.cpu_busy_frac <= 1 && f.used_frac <= 1, "%g, %g", f.cpu_busy_frac, f.used_frac);
	HOLDS(f.used_bytes <= f.memory_bytes && f.free_bytes <= f.memory_bytes, "memory");
	HOLDS(f.swap_used_bytes <= f.swap_bytes, "swap");
	for (const char *s = a->last.name; *s != '\0'; s++)
		HOLDS((unsigned char)*s >= 0x20 && *s != 0x7f, "name '%s'", a->last.name);
	for (const char *s = a->last.kernel; *s != '\0'; s++)
		HOLDS((unsigned char)*s >= 0x20 && *s != 0x7f, "kernel '%s'", a->last.kernel);
	HOLDS(a->hardware_size <= 1 << 16, "%zu", a->hardware_size);
}

static void
check_error(const char *text)
{
	char error[HOSTS_ERROR_BYTES];

	hosts_error_shorten(text, 255, error, sizeof(error));
	HOLDS(error[0] != '\0', "nothing is said");
	for (const char *s = error; *s != '\0'; s++)
		HOLDS((unsigned char)*s >= 0x20 && *s != 0x7f, "'%s'", error);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_bytes b = { bytes, size };
	size_t piece = (size_t)fuzz_byte(&b) + 1, n = b.size;
	struct hosts_answer whole = { 0 }, pieces = { 0 };
	char *text = fuzz_copy(b.data, n);
	unsigned samples = hosts_answer_put(&whole, text, n), some = 0;

	for (size_t at = 0; at < n; at += piece)
		some += hosts_answer_put(&pieces, text + at, n - at < piece ? n - at : piece);
	HOLDS(samples == some && whole.samples == pieces.samples && whole.samples == samples, "%u, %u",
	    samples, some);
	HOLDS(
	    memcmp(&whole.last, &pieces.last, sizeof(whole.last)) == 0, "cut into pieces it is another one");
	check_figures(&whole);
	check_error(text);
	hosts_answer_done(&whole);
	hosts_answer_done(&pieces);
	free(text);
	return 0;
}
