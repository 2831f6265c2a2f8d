/* SPDX-License-Identifier: MIT */
#include "disk.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "procfile.h"

uint32_t
kn_disk_device(unsigned major, unsigned minor)
{
	return (uint32_t)major << 20 | (minor & 0xfffff);
}

static bool
begins_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* The first byte of a file of a block device in /sys; 0 without it. */
static char
first_byte(const char *name, const char *file)
{
	char path[PATH_MAX], text[16];

	(void)snprintf(path, sizeof(path), "/sys/class/block/%s/%s", name, file);
	if (kn_procfile_read(path, text, sizeof(text)) <= 0)
		return '\0';
	return text[0];
}

/* Virtual machines call their disks rotating when they know nothing about them. */
static bool
is_virtual(const char *name)
{
	static const char *const names[] = { "vd", "xvd", "nbd", "rbd", "drbd", "loop", "zram", "ram", "fd" };
	static const char *const models[] = { "QEMU", "VBOX", "VMware", "Virtual", "Msft" };
	char path[PATH_MAX], text[PATH_MAX];
	ssize_t n;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (begins_with(name, names[i]))
			return true;
	}
	(void)snprintf(path, sizeof(path), "/sys/class/block/%s", name);
	n = readlink(path, text, sizeof(text) - 1);
	if (n < 0)
		return true;
	text[n] = '\0';
	if (strstr(text, "/virtio") != NULL || strstr(text, "/vbd-") != NULL)
		return true;
	(void)snprintf(path, sizeof(path), "/sys/class/block/%s/device/model", name);
	if (kn_procfile_read(path, text, sizeof(text)) < 0)
		return false;
	for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
		if (strstr(text, models[i]) != NULL)
			return true;
	}
	return false;
}

static int spindle_of(const char *name, unsigned depth);

/* Of a mapped disk: what all the disks below it are. */
static int
spindle_below(const char *name, unsigned depth)
{
	char path[PATH_MAX];
	struct dirent *entry;
	int common = -1;
	bool first = true;
	DIR *d;

	(void)snprintf(path, sizeof(path), "/sys/class/block/%s/slaves", name);
	d = depth > 0 ? opendir(path) : NULL;
	if (d == NULL)
		return -1;
	while ((entry = readdir(d)) != NULL) {
		int spindle;

		if (entry->d_name[0] == '.')
			continue;
		spindle = spindle_of(entry->d_name, depth - 1);
		if (first)
			common = spindle;
		else if (common != spindle)
			common = -1;
		first = false;
	}
	closedir(d);
	return common;
}

/* name: of a whole disk, or of a partition that a mapped one lies on. */
static int
spindle_of(const char *name, unsigned depth)
{
	bool partition = first_byte(name, "partition") != '\0';
	char rotates = first_byte(name, partition ? "../queue/rotational" : "queue/rotational");

	if (rotates == '0' || begins_with(name, "nvme"))
		return 0;
	if (rotates != '1')
		return -1;
	if (begins_with(name, "dm-") || begins_with(name, "md"))
		return spindle_below(name, depth);
	return is_virtual(name) ? -1 : 1;
}

/* The last part of path, copied as far as it fits. */
static void
last_part(const char *path, char ret[KN_NAME_BYTES])
{
	const char *slash = strrchr(path, '/');
	const char *last = slash != NULL ? slash + 1 : path;
	size_t n = strnlen(last, KN_NAME_BYTES - 1);

	memcpy(ret, last, n);
	ret[n] = '\0';
}

int
kn_disk_find(unsigned major, unsigned minor, struct kn_disk_id *ret)
{
	char path[64], link[PATH_MAX], text[64];
	const char *s = text;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major, minor);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return -ENOENT;
	link[n] = '\0';
	last_part(link, ret->name);
	ret->device = kn_disk_device(major, minor);
	if (first_byte(ret->name, "partition") != '\0') {
		/* The folder of a partition lies in that of its disk. */
		*strrchr(link, '/') = '\0';
		last_part(link, ret->name);
		(void)snprintf(path, sizeof(path), "/sys/class/block/%s/dev", ret->name);
		if (kn_procfile_read(path, text, sizeof(text)) <= 0)
			return -ENOENT;
		major = (unsigned)kn_procfile_number(&s);
		s += *s == ':';
		minor = (unsigned)kn_procfile_number(&s);
		ret->device = kn_disk_device(major, minor);
	}
	ret->spindle = spindle_of(ret->name, 3);
	return 0;
}
