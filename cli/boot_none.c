/* SPDX-License-Identifier: MIT */
/* A build without the static program (static_agent). */
#include "boot_parts.h"

const unsigned char boot_program_bytes[1] = { 0 };
const uint64_t boot_program_size = 0;
