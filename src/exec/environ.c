/* SPDX-License-Identifier: MIT */
#include "environ.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIGITS 21 /* of the largest 64-bit number, and a NUL */

static const char *const fixed_names[] = {
	"PARALLEL_SEQ",
	"PARALLEL_JOBSLOT",
	"PARALLEL_PID",
	"PARALLEL_SSHHOST",
	NULL,
};
#define HOST 3 /* of fixed_names */

static bool
names_var(const char *var, const char *name)
{
	size_t n = strlen(name);

	return strncmp(var, name, n) == 0 && var[n] == '=';
}

static bool
is_own(const char *var, const char *slot_var, bool host)
{
	for (const char *const *name = fixed_names; *name != NULL; name++)
		if (names_var(var, *name) && (host || name != &fixed_names[HOST]))
			return true;
	return slot_var != NULL && names_var(var, slot_var);
}

/* Write "NAME=" at *at, leave room for a number; where the number goes. */
static char *
place(char **at, const char *name)
{
	char *number;

	number = stpcpy(stpcpy(*at, name), "=");
	*at = number + DIGITS;
	return number;
}

int
kn_environ_init(struct kn_environ *e, const struct knee_options *options)
{
	static const char *const none[] = { NULL };
	const char *const *base = options->environ_base ? options->environ_base : none;
	const char *slot_var = options->slot_var;
	bool host = options->numbers == NULL; /* else the caller speaks of another machine's tasks */
	size_t n = 0, used = 0;
	char *at;

	*e = (struct kn_environ){ 0 };
	while (base[n] != NULL)
		n++;
	e->vars = calloc(n + 6, sizeof(char *));
	e->own = calloc(1, 128 + 5 * DIGITS + (slot_var ? strlen(slot_var) : 0));
	if (e->vars == NULL || e->own == NULL) {
		kn_environ_done(e);
		return -ENOMEM;
	}
	/* execve takes char *const *, but changes nothing: the base's strings stay as they are. */
	for (size_t i = 0; i < n; i++)
		if (!is_own(base[i], slot_var, host))
			memcpy(&e->vars[used++], &base[i], sizeof(char *));
	at = e->own;
	for (size_t i = 0; fixed_names[i] != NULL; i++) {
		char *number;

		if (i == HOST && !host)
			continue;
		e->vars[used++] = at;
		number = place(&at, fixed_names[i]);
		if (i == 0)
			e->seq = number;
		else if (i == 1)
			e->slot = number;
		else if (i == 2)
			(void)snprintf(number, DIGITS, "%d", (int)getpid());
		else
			(void)snprintf(number, DIGITS, ":");
	}
	if (slot_var != NULL) {
		e->vars[used++] = at;
		e->slot_from_0 = place(&at, slot_var);
	}
	return 0;
}

void
kn_environ_done(struct kn_environ *e)
{
	free(e->vars);
	free(e->own);
	*e = (struct kn_environ){ 0 };
}

void
kn_environ_set(struct kn_environ *e, uint64_t seq, unsigned slot)
{
	(void)snprintf(e->seq, DIGITS, "%llu", (unsigned long long)seq);
	(void)snprintf(e->slot, DIGITS, "%u", slot);
	if (e->slot_from_0 != NULL)
		(void)snprintf(e->slot_from_0, DIGITS, "%u", slot - 1);
}

const char *
kn_environ_get(const struct kn_environ *e, const char *name)
{
	for (char *const *var = e->vars; *var != NULL; var++)
		if (names_var(*var, name))
			return *var + strlen(name) + 1;
	return NULL;
}
