/* SPDX-License-Identifier: MIT */
/* What the caller's own threads say to the asynchronous executor. */
#ifndef KN_ASYNC_H
#define KN_ASYNC_H

#include "exec.h"

/* knee_output() and knee_complete(), from any thread. e is one of kn_exec_async. */
int kn_async_output(struct kn_exec *e, knee_task task, enum knee_stream stream, const void *bytes, size_t size);
int kn_async_complete(struct kn_exec *e, knee_task task, int status);

#endif
