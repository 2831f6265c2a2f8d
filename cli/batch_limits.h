/* SPDX-License-Identifier: MIT */
/* What the machine sets to batching; batch_max_chars and batch_show_limits are in cli.h. */
#ifndef CLI_BATCH_LIMITS_H
#define CLI_BATCH_LIMITS_H

#include "cli.h"

/* Bytes that execve takes here beside the environment: words and their pointers. */
size_t batch_system_bytes(void);
/* Bytes that a command line of this run may have: -s, or the usual; never more than the
 * system takes. */
size_t batch_limit(const struct cli_options *o);
/* Over how many tasks -X and -m share out the last inputs: of a number that is found by measuring, the
 * cores are the one that is known beforehand. */
size_t batch_slots(const struct cli_options *o);

#endif
