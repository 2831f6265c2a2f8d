/* SPDX-License-Identifier: MIT */
/*
 * A target as a plain test: each file of its corpus once, in the order of their names. A file that
 * breaks something ends the program; its name is the last one printed.
 */
#include <dirent.h>
#include <limits.h>

#include "fuzz.h"
#include "tap.h"

/* All of a file, on the heap. */
static char *
file_load(const char *path, size_t *size)
{
	FILE *f = fopen(path, "re");
	char *data = NULL, chunk[4096];
	size_t n = 0, got;

	if (f == NULL)
		return NULL;
	while ((got = fread(chunk, 1, sizeof(chunk), f)) > 0) {
		data = realloc(data, n + got);
		if (data == NULL)
			abort();
		memcpy(data + n, chunk, got);
		n += got;
	}
	fclose(f);
	*size = n;
	return data != NULL ? data : calloc(1, 1);
}

static int
is_file(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void
file_run(const char *name)
{
	char path[PATH_MAX];
	size_t size = 0;
	char *data;

	(void)snprintf(path, sizeof(path), "%s/%s", FUZZ_CORPUS, name);
	data = file_load(path, &size);
	diag("%s", name);
	fflush(stdout);
	if (data != NULL)
		(void)LLVMFuzzerTestOneInput((const uint8_t *)data, size);
	ok(data != NULL, "%s", name);
	free(data);
}

int
main(void)
{
	struct dirent **entries = NULL;
	int n = scandir(FUZZ_CORPUS, &entries, is_file, alphasort);

	ok(n > 0, "there are inputs in %s", FUZZ_CORPUS);
	for (int i = 0; i < n; i++) {
		file_run(entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return done_testing();
}
