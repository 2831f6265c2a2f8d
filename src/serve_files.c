/* SPDX-License-Identifier: MIT */
/* Files of tasks, on the agent's side. */
#include <errno.h>

#include "serve.h"

int
kn_serve_file(struct kn_serve *s, const struct kn_frame *f)
{
	(void)f;
	return kn_serve_fail(s, -EOPNOTSUPP, "this agent takes no files");
}

bool
kn_serve_files_back(struct kn_serve *s, struct kn_serve_task *t, const struct knee_result *r)
{
	(void)s;
	(void)t;
	(void)r;
	return false;
}
