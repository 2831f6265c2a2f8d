/* SPDX-License-Identifier: MIT */
/*
 * What is read of /proc, /sys and the cgroups: the text of every such file is the input's. Links and
 * folders are those of the machine.
 *
 * Bytes: a text; "@PATH" and a newline begin what files whose path ends in PATH hold, up to the next. The
 * second with the same PATH is what they hold at the second reading. Those of "@words" are a command.
 */
#include <errno.h>
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "sys/blocked.h"
#include "sys/cgroup.h"
#include "sys/machine.h"
#include "sys/places.h"
#include "sys/probe.h"
#include "sys/procfile.h"
#include "sys/vitals.h"

enum { FILES = 32, TEXT_MAX = 32 * 1024 };

/* The process that is looked at; its threads' folder is a real one. */
#define PID 1

struct file {
	const char *path; /* in the input, up to its newline */
	size_t path_size;
	struct fuzz_bytes text, second;
	int fd; /* a memfd that holds it; -1: not opened yet */
};

static struct {
	struct file files[FILES];
	size_t n;
} system_files;

int __wrap_kn_procfile_open(const char *path);
ssize_t __wrap_kn_procfile_read(const char *path, char *buf, size_t size);

static struct file *
file_find(const char *path, size_t size)
{
	for (size_t i = 0; i < system_files.n; i++) {
		struct file *f = &system_files.files[i];

		if (f->path_size > 0 && f->path_size <= size &&
		    memcmp(path + size - f->path_size, f->path, f->path_size) == 0)
			return f;
	}
	return NULL;
}

static void
file_set(int fd, const struct fuzz_bytes *text)
{
	HOLDS(ftruncate(fd, 0) == 0 && pwrite(fd, text->data, text->size, 0) == (ssize_t)text->size,
	    "no memory");
}

int
__wrap_kn_procfile_open(const char *path)
{
	struct file *f = file_find(path, strlen(path));
	int fd;

	if (f == NULL)
		return -ENOENT;
	if (f->fd < 0) {
		f->fd = memfd_create("proc", MFD_CLOEXEC);
		HOLDS(f->fd >= 0, "no memory");
		file_set(f->fd, &f->text);
	}
	fd = dup(f->fd);
	HOLDS(fd >= 0, "no descriptor");
	return fd;
}

ssize_t
__wrap_kn_procfile_read(const char *path, char *buf, size_t size)
{
	int fd = __wrap_kn_procfile_open(path);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = kn_procfile_reread(fd, buf, size);
	close(fd);
	return n;
}

/* Cut the input into files. */
static void
files_cut(struct fuzz_bytes b)
{
	const uint8_t *end = b.data + b.size, *next;

	system_files.n = 0;
	for (const uint8_t *at = b.data; at < end; at = next) {
		const uint8_t *line = memchr(at, '\n', (size_t)(end - at));
		struct file f = { .path = (const char *)at + 1, .fd = -1 }, *same;

		if (line == NULL)
			return;
		next = memmem(line, (size_t)(end - line), "\n@", 2);
		next = next != NULL ? next + 1 : end;
		if (*at != '@')
			continue;
		f.path_size = (size_t)(line - at) - 1;
		f.text = f.second = (struct fuzz_bytes){ line + 1, (size_t)(next - line) - 1 };
		same = file_find(f.path, f.path_size);
		if (same != NULL && same->path_size == f.path_size)
			same->second = f.text;
		else if (system_files.n < FILES)
			system_files.files[system_files.n++] = f;
	}
}

static void
files_change(void)
{
	for (size_t i = 0; i < system_files.n; i++)
		if (system_files.files[i].fd >= 0)
			file_set(system_files.files[i].fd, &system_files.files[i].second);
}

static void
files_close(void)
{
	for (size_t i = 0; i < system_files.n; i++)
		if (system_files.files[i].fd >= 0)
			close(system_files.files[i].fd);
	system_files.n = 0;
}

static bool
is_share(double x)
{
	return x >= 0 && x <= 1;
}

static void
check_vitals(const struct kn_vitals *v)
{
	HOLDS(!isnan(v->cpu_busy) && v->cpu_busy >= 0 && is_share(v->cpu_steal_frac), "cpu %g, steal %g",
	    v->cpu_busy, v->cpu_steal_frac);
	HOLDS(is_share(v->pressure_some_frac) && is_share(v->pressure_full_frac), "pressure %g",
	    v->pressure_some_frac);
	HOLDS(is_share(v->retrans_frac), "retransmitted %g", v->retrans_frac);
	HOLDS(v->net_bytes_per_s >= 0 && v->switches_per_s >= 0, "net %g", v->net_bytes_per_s);
	HOLDS(v->ndisks <= KN_DISKS, "%u disks", v->ndisks);
	for (unsigned i = 0; i < v->ndisks; i++) {
		HOLDS(memchr(v->disks[i].name, '\0', KN_NAME_BYTES) != NULL, "a name without end");
		HOLDS(is_share(v->disks[i].busy_frac) && v->disks[i].latency_ns >= 0, "disk %g, %lld",
		    v->disks[i].busy_frac, (long long)v->disks[i].latency_ns);
	}
}

static void
vitals_run(void)
{
	struct kn_vitals_reader *r = NULL;
	struct kn_vitals v;
	int64_t later = (int64_t)1 << 61; /* than any clock */

	HOLDS(kn_vitals_new(&r) == 0, "no memory");
	kn_vitals_read(r, later, &v);
	check_vitals(&v);
	files_change();
	kn_vitals_read(r, later + 1000000000, &v);
	check_vitals(&v);
	kn_vitals_free(r);
}

static void
machine_run(void)
{
	struct kn_cgroup g;

	HOLDS(kn_machine_cores_exact() > 0 && kn_machine_cores() >= 1, "%u cores", kn_machine_cores());
	(void)kn_machine_memory();
	(void)kn_machine_processes_free();
	if (kn_cgroup_find("memory", &g) == 0)
		HOLDS(memchr(g.folder, '\0', sizeof(g.folder)) != NULL && g.mount_length < sizeof(g.folder),
		    "a folder without end");
}

static void
probe_run(void)
{
	struct kn_probe p;
	struct kn_usage before;

	kn_probe_init(&p, PID);
	kn_probe_look(&p, true);
	before = p.usage;
	files_change();
	kn_probe_look(&p, true);
	HOLDS(p.usage.cpu_ns >= before.cpu_ns && p.usage.delay_ns >= before.delay_ns &&
		p.usage.bytes >= before.bytes,
	    "counters fell");
	HOLDS(p.usage.looks <= 2 && p.usage.cpu_looks <= p.usage.looks, "%u looks", p.usage.looks);
	kn_probe_last(&p);
	kn_probe_done(&p);
}

static void
places_run(void)
{
	const struct file *f = file_find("@words", 6);
	struct fuzz_bytes b = f != NULL ? f->text : (struct fuzz_bytes){ 0 };
	char *words[8];
	size_t n = 0;
	struct kn_places *p = NULL;
	struct kn_place place;

	while (n < 8 && b.size > 0)
		words[n++] = fuzz_until(&b, '\n');
	HOLDS(kn_places_new(&p) == 0, "no memory");
	for (int i = 0; i < 2; i++) {
		kn_places_find(p, (const char *const *)words, n, &place);
		HOLDS(memchr(place.host, '\0', sizeof(place.host)) != NULL &&
			memchr(place.disk, '\0', sizeof(place.disk)) != NULL,
		    "a name without end");
	}
	kn_places_free(p);
	while (n > 0)
		free(words[--n]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char states[] = "RSDTZ";
	struct fuzz_bytes b = { data, size < TEXT_MAX ? size : TEXT_MAX };

	files_cut(b);
	for (const char *s = states; *s != '\0'; s++)
		(void)kn_blocked_by(PID, PID, *s, true);
	places_run();
	machine_run();
	probe_run();
	files_close();
	files_cut(b);
	vitals_run();
	files_close();
	return 0;
}
