/* SPDX-License-Identifier: MIT */
/* How many tasks there will be, where that can be told before the inputs are read. */
#ifndef CLI_TOTAL_H
#define CLI_TOTAL_H

#include <stdbool.h>
#include <stdint.h>

#include "options.h"

/*
 * False when it cannot be told: a pipe, a very long list, options that join or drop
 * inputs. What is told is for the eye (a percentage, an ETA): nothing else may rest on
 * it, because a file can change before it is read. No descriptor is moved.
 */
bool total_tasks(const struct cli_options *o, uint64_t *ret);

#endif
