/* SPDX-License-Identifier: MIT */
/*
 * What the script of hosts_list.c prints on a machine, taken in as it comes. A sample is
 *
 *	=knee-hosts 1
 *	=loadavg 0.10 0.20 0.30 1/234 5678      and the same of uptime, sys/kernel/hostname and -/osrelease
 *	=/sys/block/sda/device                  a disk that is hardware; /sys/class/net/eth0/device: a link
 *	=stat                                   the lines of /proc/stat follow; meminfo, diskstats and net/dev alike
 *	=end
 *
 * All else is passed over: what a login prints, empty lines, lines longer than any of these. Bytes are
 * somebody else's: whatever comes, memory is bounded, and what a line does not say as it should
 * is not known.
 *
 * Which devices count: those that are hardware, for what goes over a bridge or a logical volume is counted
 * below it once more. Where none is (a container, another kernel) all links but the loopback, and all disks
 * but those that the kernel makes of memory, files or other disks; partitions are parts of the disk before
 * them in the list.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hosts_parts.h"

/* Names of devices, in bytes: thousands of them. */
#define HARDWARE_MAX (1 << 16)

#define SECTOR_BYTES 512

enum section { NOTHING, PREAMBLE, STAT, MEMORY, DISKS, LINKS };

/* ---- words of a line ----------------------------------------------------------- */

/* The next word at *at, which moves behind it: its start, *size its length; 0 at the end. */
static const char *
word_next(const char **at, size_t *size)
{
	const char *s = *at + strspn(*at, " \t");

	*size = strcspn(s, " \t");
	*at = s + *size;
	return s;
}

/* A number at *at, which moves behind it and the blanks before it. Too large: as large as can be. */
static bool
number_next(const char **at, uint64_t *ret)
{
	const char *s = *at + strspn(*at, " \t");
	uint64_t n = 0;

	if (*s < '0' || *s > '9')
		return false;
	for (; *s >= '0' && *s <= '9'; s++) {
		unsigned digit = (unsigned)(*s - '0');

		n = n > (UINT64_MAX - digit) / 10 ? UINT64_MAX : n * 10 + digit;
	}
	*at = s;
	*ret = n;
	return true;
}

/* The same with a fraction; no sign, no exponent. */
static bool
decimal_next(const char **at, double *ret)
{
	uint64_t whole;
	double n, unit = 1;

	if (!number_next(at, &whole))
		return false;
	n = (double)whole;
	if (**at == '.')
		for ((*at)++; **at >= '0' && **at <= '9'; (*at)++) {
			unit /= 10;
			n += unit * (**at - '0');
		}
	*ret = n;
	return true;
}

static uint64_t
sum(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t
product(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX / b ? UINT64_MAX : a * b;
}

/* What stands behind this prefix, or NULL. */
static const char *
behind(const char *line, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(line, prefix, n) == 0 ? line + n : NULL;
}

/* ---- devices ---------------------------------------------------------------------- */

/* Without memory for it a device is as one that is not hardware. */
static void
hardware_add(struct hosts_answer *a, const char *name, size_t n)
{
	char *all;

	if (n == 0 || a->hardware_size + n + 1 > HARDWARE_MAX)
		return;
	all = realloc(a->hardware, a->hardware_size + n + 1);
	if (all == NULL)
		return;
	memcpy(all + a->hardware_size, name, n);
	all[a->hardware_size + n] = '\0';
	a->hardware = all;
	a->hardware_size += n + 1;
}

static bool
is_hardware(const struct hosts_answer *a, const char *name, size_t n)
{
	for (size_t at = 0; at < a->hardware_size; at += strlen(a->hardware + at) + 1)
		if (strlen(a->hardware + at) == n && memcmp(a->hardware + at, name, n) == 0)
			return true;
	return false;
}

static void
flow_add(struct hosts_flow *f, bool hardware, uint64_t in, uint64_t out)
{
	f->any = true;
	f->in = sum(f->in, in);
	f->out = sum(f->out, out);
	if (!hardware)
		return;
	f->any_hardware = true;
	f->hardware_in = sum(f->hardware_in, in);
	f->hardware_out = sum(f->hardware_out, out);
}

/* Made of memory, of files, or of other disks. */
static bool
disk_is_made(const char *name, size_t n)
{
	static const char *const prefixes[] = { "loop", "ram", "zram", "dm-", "md", "sr", "fd", "drbd",
		"bcache" };

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
		if (n > strlen(prefixes[i]) && strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

/* Is it sda1 behind sda, or nvme0n1p1 behind nvme0n1? */
static bool
disk_is_part(const struct hosts_answer *a, const char *name, size_t n)
{
	size_t whole = strlen(a->disk);

	if (whole == 0 || n <= whole || memcmp(name, a->disk, whole) != 0)
		return false;
	if (name[whole] == 'p' && n > whole + 1)
		whole++;
	return strspn(name + whole, "0123456789") == n - whole;
}

/* "   8       0 sda READS MERGED SECTORS MS WRITES MERGED SECTORS ..." */
static void
disk_line(struct hosts_answer *a, const char *line)
{
	uint64_t skip, n[7];
	const char *name, *at = line;
	size_t size;
	bool hardware;

	if (!number_next(&at, &skip) || !number_next(&at, &skip))
		return;
	name = word_next(&at, &size);
	for (int i = 0; i < 7; i++)
		if (!number_next(&at, &n[i]))
			return;
	hardware = is_hardware(a, name, size);
	if (!hardware && (size == 0 || disk_is_made(name, size) || disk_is_part(a, name, size)))
		return;
	a->disk[0] = '\0';
	if (size < sizeof(a->disk)) {
		memcpy(a->disk, name, size);
		a->disk[size] = '\0';
	}
	flow_add(&a->disks, hardware, product(n[2], SECTOR_BYTES), product(n[6], SECTOR_BYTES));
}

/* "  eth0: BYTES PACKETS ERRORS ... (8 in all received) BYTES ..." */
static void
link_line(struct hosts_answer *a, const char *line)
{
	const char *name = line + strspn(line, " \t"), *colon = strrchr(name, ':'), *at;
	uint64_t n[9];
	size_t size;

	if (colon == NULL || colon == name)
		return;
	size = (size_t)(colon - name);
	at = colon + 1;
	for (int i = 0; i < 9; i++)
		if (!number_next(&at, &n[i]))
			return;
	if (size == 2 && memcmp(name, "lo", 2) == 0)
		return;
	flow_add(&a->links, is_hardware(a, name, size), n[0], n[8]);
}

/* ---- the other files ----------------------------------------------------------------- */

/* "cpu  USER NICE SYSTEM IDLE IOWAIT IRQ SOFTIRQ STEAL ...", and the same of cpu0, cpu1, ... */
static void
stat_line(struct hosts_sample *s, const char *line)
{
	const char *at = behind(line, "cpu");
	uint64_t total = 0, n[8] = { 0 };
	int i;

	if (at == NULL)
		return;
	if (*at >= '0' && *at <= '9') {
		s->cores += s->cores < 1000000;
		return;
	}
	if (*at != ' ')
		return;
	for (i = 0; i < 8 && number_next(&at, &n[i]); i++)
		total = sum(total, n[i]);
	if (i < 4)
		return;
	s->cpu_ticks = total;
	s->idle_ticks = sum(n[3], n[4]);
	s->has_cpu = true;
}

/* "MemAvailable:    1234 kB" */
static void
memory_line(struct hosts_answer *a, const char *line)
{
	struct hosts_sample *s = &a->coming;
	const char *at = strchr(line, ':');
	uint64_t kib, bytes;

	if (at == NULL)
		return;
	at++;
	if (!number_next(&at, &kib))
		return;
	bytes = product(kib, 1024);
	if (behind(line, "MemTotal:") != NULL) {
		s->memory_bytes = bytes;
	} else if (behind(line, "MemAvailable:") != NULL) {
		s->free_bytes = bytes;
		a->has_available = true;
	} else if (behind(line, "MemFree:") != NULL || behind(line, "Buffers:") != NULL ||
	    behind(line, "Cached:") != NULL) {
		a->unused_bytes = sum(a->unused_bytes, bytes);
	} else if (behind(line, "SwapTotal:") != NULL) {
		s->swap_bytes = bytes;
	} else if (behind(line, "SwapFree:") != NULL) {
		s->swap_free_bytes = bytes;
	}
}

/* A name as it may be shown: one word of plain characters. */
static void
name_keep(char ret[HOSTS_NAME_BYTES], const char *text)
{
	size_t n = strcspn(text, " \t");

	if (n >= HOSTS_NAME_BYTES)
		n = HOSTS_NAME_BYTES - 1;
	memcpy(ret, text, n);
	ret[n] = '\0';
	for (char *s = ret; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

static void
load_line(struct hosts_sample *s, const char *at)
{
	s->has_load = decimal_next(&at, &s->load[0]) && decimal_next(&at, &s->load[1]) &&
	    decimal_next(&at, &s->load[2]);
}

/* ---- a sample ----------------------------------------------------------------------------- */

static void
sample_begin(struct hosts_answer *a)
{
	a->section = PREAMBLE;
	a->coming = (struct hosts_sample){ 0 };
	a->disks = a->links = (struct hosts_flow){ 0 };
	a->disk[0] = '\0';
	a->unused_bytes = 0;
	a->has_available = false;
	free(a->hardware);
	a->hardware = NULL;
	a->hardware_size = 0;
}

static void
sample_end(struct hosts_answer *a)
{
	struct hosts_sample *s = &a->coming;
	const struct hosts_flow *d = &a->disks, *l = &a->links;

	if (!a->has_available)
		s->free_bytes = a->unused_bytes;
	if (s->free_bytes > s->memory_bytes)
		s->free_bytes = s->memory_bytes;
	if (s->swap_free_bytes > s->swap_bytes)
		s->swap_free_bytes = s->swap_bytes;
	s->has_memory = s->memory_bytes > 0;
	s->has_disk = d->any;
	s->disk_read_bytes = d->any_hardware ? d->hardware_in : d->in;
	s->disk_written_bytes = d->any_hardware ? d->hardware_out : d->out;
	s->has_net = l->any;
	s->net_received_bytes = l->any_hardware ? l->hardware_in : l->in;
	s->net_sent_bytes = l->any_hardware ? l->hardware_out : l->out;
	a->before = a->last;
	a->last = *s;
	a->samples++;
	a->section = NOTHING;
}

/* A line of the script's own, without its "=". */
static void
own_line(struct hosts_answer *a, const char *line)
{
	static const struct {
		const char *name;
		enum section section;
	} files[] = {
		{ "stat", STAT },
		{ "meminfo", MEMORY },
		{ "diskstats", DISKS },
		{ "net/dev", LINKS },
	};
	struct hosts_sample *s = &a->coming;
	const char *at;

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		if (strcmp(line, files[i].name) == 0)
			a->section = (int)files[i].section;
	if ((at = behind(line, "loadavg ")) != NULL)
		load_line(s, at);
	else if ((at = behind(line, "uptime ")) != NULL)
		s->has_uptime = decimal_next(&at, &s->uptime_s);
	else if ((at = behind(line, "sys/kernel/hostname ")) != NULL)
		name_keep(s->name, at);
	else if ((at = behind(line, "sys/kernel/osrelease ")) != NULL)
		name_keep(s->kernel, at);
	else if ((at = behind(line, "/sys/block/")) != NULL || (at = behind(line, "/sys/class/net/")) != NULL)
		hardware_add(a, at, strcspn(at, "/"));
}

/* A whole line. True when a sample is whole by it. */
static bool
line_take(struct hosts_answer *a, const char *line)
{
	if (strcmp(line, "=knee-hosts 1") == 0) {
		sample_begin(a);
		return false;
	}
	if (a->section == NOTHING)
		return false;
	if (strcmp(line, "=end") == 0) {
		sample_end(a);
		return true;
	}
	if (line[0] == '=') {
		own_line(a, line + 1);
		return false;
	}
	switch ((enum section)a->section) {
	case STAT:
		stat_line(&a->coming, line);
		break;
	case MEMORY:
		memory_line(a, line);
		break;
	case DISKS:
		disk_line(a, line);
		break;
	case LINKS:
		link_line(a, line);
		break;
	case NOTHING:
	case PREAMBLE:
		break;
	}
	return false;
}

unsigned
hosts_answer_put(struct hosts_answer *a, const char *data, size_t n)
{
	unsigned whole = 0;

	while (n > 0) {
		const char *newline = memchr(data, '\n', n);
		size_t part = newline != NULL ? (size_t)(newline - data) : n;

		if (!a->cut && part < sizeof(a->line) - a->size) {
			memcpy(a->line + a->size, data, part);
			a->size += part;
		} else {
			a->cut = true;
		}
		if (newline == NULL)
			break;
		a->line[a->size] = '\0';
		/* A NUL is in no line of ours. */
		if (!a->cut && strlen(a->line) == a->size)
			whole += line_take(a, a->line);
		a->size = 0;
		a->cut = false;
		data += part + 1;
		n -= part + 1;
	}
	return whole;
}

void
hosts_answer_done(struct hosts_answer *a)
{
	free(a->hardware);
	a->hardware = NULL;
	a->hardware_size = 0;
}

void
hosts_answer_reset(struct hosts_answer *a)
{
	hosts_answer_done(a);
	*a = (struct hosts_answer){ 0 };
}

/* ---- figures ---------------------------------------------------------------------------------- */

/* Bytes a second; a counter that went back was begun anew. */
static double
rate(uint64_t before, uint64_t now, double seconds)
{
	return now < before ? -1 : (double)(now - before) / seconds;
}

static void
figures_between(const struct hosts_sample *b, const struct hosts_sample *s, struct hosts_figures *f)
{
	double seconds = b->has_uptime && s->has_uptime ? s->uptime_s - b->uptime_s : -1;

	if (b->has_cpu && s->has_cpu && s->cpu_ticks > b->cpu_ticks && s->idle_ticks >= b->idle_ticks) {
		double idle = (double)(s->idle_ticks - b->idle_ticks) / (double)(s->cpu_ticks - b->cpu_ticks);

		f->cpu_busy_frac = idle < 1 ? 1 - idle : 0;
	}
	if (!(seconds > 0) || !isfinite(seconds))
		return;
	if (b->has_disk && s->has_disk) {
		f->disk_read_per_s = rate(b->disk_read_bytes, s->disk_read_bytes, seconds);
		f->disk_written_per_s = rate(b->disk_written_bytes, s->disk_written_bytes, seconds);
	}
	if (b->has_net && s->has_net) {
		f->net_received_per_s = rate(b->net_received_bytes, s->net_received_bytes, seconds);
		f->net_sent_per_s = rate(b->net_sent_bytes, s->net_sent_bytes, seconds);
	}
}

struct hosts_figures
hosts_answer_figures(const struct hosts_answer *a)
{
	struct hosts_figures f = { { -1, -1, -1 }, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1 };
	const struct hosts_sample *s = &a->last;

	if (a->samples == 0)
		return f;
	if (s->has_load)
		memcpy(f.load, s->load, sizeof(f.load));
	if (s->cores > 0)
		f.cores = s->cores;
	if (s->has_memory) {
		f.memory_bytes = (double)s->memory_bytes;
		f.free_bytes = (double)s->free_bytes;
		f.used_bytes = (double)(s->memory_bytes - s->free_bytes);
		f.used_frac = f.used_bytes / f.memory_bytes;
		f.swap_bytes = (double)s->swap_bytes;
		f.swap_used_bytes = (double)(s->swap_bytes - s->swap_free_bytes);
	}
	if (s->has_uptime)
		f.uptime_s = s->uptime_s;
	if (a->samples > 1)
		figures_between(&a->before, s, &f);
	return f;
}

/* ---- errors -------------------------------------------------------------------------------------- */

/* The last line with something on it, without blanks around: its start, *size its length. */
static const char *
last_line(const char *text, size_t *size)
{
	const char *end = text + strlen(text), *begin;

	while (end > text && strchr(" \t\r\n.", end[-1]) != NULL)
		end--;
	for (begin = end; begin > text && begin[-1] != '\n'; begin--)
		;
	begin += strspn(begin, " \t\r");
	*size = end > begin ? (size_t)(end - begin) : 0;
	return begin;
}

void
hosts_error_shorten(const char *text, int status, char *ret, size_t size)
{
	static const char *const known[] = { "Permission denied", "Host key verification failed",
		"Too many authentication failures", "Connection refused", "Could not resolve",
		"No route to host", "Network is unreachable", "Connection timed out", "Connection reset",
		"Connection closed" };
	const char *line;
	size_t n, at = 0;

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (strstr(text, known[i]) != NULL) {
			(void)snprintf(ret, size, "%s", known[i]);
			return;
		}
	}
	line = last_line(text, &n);
	if (n == 0) {
		(void)snprintf(ret, size, "no statistics: its command ended with status %d", status);
		return;
	}
	for (size_t i = 0; i < n && at + 5 < size; i++)
		at += say_shown(ret + at, line[i]);
	ret[at] = '\0';
}
