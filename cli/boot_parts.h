/* SPDX-License-Identifier: MIT */
/* What boot_program.S or boot_none.c has for boot.c. */
#ifndef CLI_BOOT_PARTS_H
#define CLI_BOOT_PARTS_H

#include <stdint.h>

extern const unsigned char boot_program_bytes[];
extern const uint64_t boot_program_size;    /* 0: there is none */

#endif
