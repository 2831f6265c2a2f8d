/* SPDX-License-Identifier: MIT */
#include "journal_uri.h"

#include <stdbool.h>
#include <string.h>

#include "core/buf.h"

char *
kn_journal_uri(const char *path, const char *parameters)
{
	static const char hex[] = "0123456789abcdef";
	struct kn_buf uri = { 0 };
	int err = kn_buf_adds(&uri, "file://"); /* without the authority a path might be taken for one */

	for (; *path != '\0' && err == 0; path++) {
		unsigned char c = (unsigned char)*path;
		char coded[3] = { '%', hex[c >> 4], hex[c & 15] };
		bool plain = c > 0x20 && c < 0x7f && strchr("%?#", c) == NULL;

		err = plain ? kn_buf_addc(&uri, *path) : kn_buf_add(&uri, coded, sizeof(coded));
	}
	if (err == 0)
		err = kn_buf_add(&uri, parameters, strlen(parameters) + 1);
	if (err < 0)
		kn_buf_done(&uri);
	return uri.data;
}
