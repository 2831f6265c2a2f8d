/* SPDX-License-Identifier: MIT */
/*
 * Node sets and logins: any text.  There are never more names than there may be, each once, and what is
 * folded is the same set again.
 */
#include <errno.h>

#include "core/nodeset.h"
#include "fuzz.h"
#include "logins.h"

/* So many are not compared: it takes too long. */
#define COMPARED 2000

static int
compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void
check_fold(const struct kn_nodeset *set)
{
	struct kn_nodeset again = { 0 };
	char *fold = NULL;

	HOLDS(kn_nodeset_fold(set->names, set->n, &fold) == 0, "no memory");
	if (set->n == 0) {
		HOLDS(*fold == '\0', "%s", fold);
		free(fold);
		return;
	}
	HOLDS(kn_nodeset_parse(fold, &again, NULL, 0) == 0, "%s", fold);
	HOLDS(again.n == set->n, "%zu names became %zu: %s", set->n, again.n, fold);
	qsort(set->names, set->n, sizeof(*set->names), compare);
	qsort(again.names, again.n, sizeof(*again.names), compare);
	for (size_t i = 0; i < set->n; i++) {
		HOLDS(strcmp(set->names[i], again.names[i]) == 0, "%s became %s", set->names[i],
		    again.names[i]);
		HOLDS(i == 0 || strcmp(set->names[i - 1], set->names[i]) != 0, "%s twice", set->names[i]);
	}
	free(fold);
	kn_nodeset_done(&again);
}

static void
check_set(const char *text)
{
	struct kn_nodeset set = { 0 };
	char err[100];
	int error;

	memset(err, 'x', sizeof(err));
	error = kn_nodeset_parse(text, &set, err, sizeof(err));
	if (error < 0) {
		HOLDS(error == -EINVAL || error == -E2BIG, "%d", error);
		HOLDS(memchr(err, '\0', sizeof(err)) != NULL, "the message has no end");
		return;
	}
	HOLDS(set.n <= KN_NODESET_MOST, "%zu names", set.n);
	for (size_t i = 0; i < set.n; i++)
		HOLDS(*set.names[i] != '\0', "an empty name");
	if (set.n <= COMPARED)
		check_fold(&set);
	kn_nodeset_done(&set);
}

/* As -S, but for what would read files. */
static void
check_logins(const char *text)
{
	struct logins l = { 0 };

	if (strstr(text, "..") == NULL && strchr(text, '-') == NULL && logins_add(&l, "-S", text) == 0 &&
	    logins_settle(&l, "-S") == 0) {
		for (size_t i = 0; i < l.n; i++) {
			const struct login *login = &l.list[i];

			HOLDS(*login->host != '\0' && *login->host != '-', "host %s", login->host);
			HOLDS(login->user == NULL || (*login->user != '\0' && *login->user != '-'), "user %s",
			    login->user);
			HOLDS(login->here == (strcmp(login->host, ":") == 0), "host %s", login->host);
		}
	}
	logins_done(&l);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size > 4096)
		return 0;
	text = fuzz_copy(data, size);
	check_set(text);
	check_logins(text);
	free(text);
	return 0;
}
