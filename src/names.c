/* SPDX-License-Identifier: MIT */
/* Node sets, for the program. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <knee_program.h>

#include "core/nodeset.h"

/* The pointers, then the bytes that they point to. */
int
knee_nodeset_parse(const char *set, char ***ret, size_t *ret_n, char *err, size_t errsize)
{
	struct kn_nodeset s = { 0 };
	char **names, *bytes;
	int error = kn_nodeset_parse(set, &s, err, errsize);

	if (error < 0)
		return error;
	names = malloc((s.n + 1) * sizeof(*names) + s.bytes.len);
	if (names != NULL) {
		bytes = (char *)(names + s.n + 1);
		if (s.bytes.len > 0)
			memcpy(bytes, s.bytes.data, s.bytes.len);
		for (size_t i = 0; i < s.n; i++)
			names[i] = bytes + (s.names[i] - s.bytes.data);
		names[s.n] = NULL;
		*ret = names;
		*ret_n = s.n;
	}
	kn_nodeset_done(&s);
	return names != NULL ? 0 : -ENOMEM;
}

int
knee_nodeset_fold(const char *const *names, size_t n, char **ret)
{
	return kn_nodeset_fold(names, n, ret);
}
