/* SPDX-License-Identifier: MIT */
#include "worker.h"

#include <errno.h>
#include <string.h>

int
worker_check(const struct cli_options *o)
{
	if (o->framing_set && o->worker == NULL)
		return say_error(EINVAL,
		    "--framing: there is no worker whose records it could be of: add --worker COMMAND");
	if (o->worker == NULL)
		return 0;
	if (o->worker[strspn(o->worker, " \t\n")] == '\0')
		return say_error(EINVAL, "--worker: which command? It is empty");
	if (o->plugin != NULL)
		return say_error(
		    EINVAL, "--worker: --plugin carries the tasks out: leave out one of the two");
	if (o->order == KNEE_ORDER_NONE)
		return say_error(EINVAL,
		    "--worker: answers pass through knee, which -u would not let them: use --lb or "
		    "--unordered instead");
	return 0;
}

void
worker_options(const struct cli_options *o, struct knee_options *ret)
{
	ret->worker = &o->worker;
	ret->nworker = 1;
	ret->framing = o->framing_set ? o->framing :
	    o->delimiter == '\0'      ? KNEE_FRAMING_NUL :
					KNEE_FRAMING_LINE;
}

const char *
worker_framing_name(const struct cli_options *o)
{
	static const char *const names[] = {
		[KNEE_FRAMING_LINE] = "line",
		[KNEE_FRAMING_NUL] = "nul",
		[KNEE_FRAMING_LENGTH] = "length",
		[KNEE_FRAMING_PLUGIN] = "plugin",
	};
	struct knee_options k = { 0 };

	worker_options(o, &k);
	return names[k.framing];
}
