/* SPDX-License-Identifier: MIT */
/* Which disk a device number is on, and whether that is known to rotate. */
#ifndef KN_DISK_H
#define KN_DISK_H

#include <stdint.h>

#include "../core/reading.h"

struct kn_disk_id {
	char name[KN_NAME_BYTES];
	uint32_t device;            /* of the whole disk, as kn_disk_device() has it */
	int spindle;                /* 1: yes; 0: flash; -1: unknown (virtual, mapped) */
};

uint32_t kn_disk_device(unsigned major, unsigned minor);
/* The whole disk of a disk or partition. 0 or -ENOENT: no such block device. */
int kn_disk_find(unsigned major, unsigned minor, struct kn_disk_id *ret);

#endif
