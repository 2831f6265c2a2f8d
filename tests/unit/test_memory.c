/* SPDX-License-Identifier: MIT */
/* What is remembered between runs: real files in a folder of its own, and all that can be wrong with
 * them. Age is given by changing the row, not by waiting. */
#include "memory.h"

#include <fcntl.h>
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"

#define NOBODY 65534

static char folder[] = "/tmp/knee-test-memory-XXXXXX";
static char path[128];

static const struct kn_machine two_cores = { .cores = 2 };

static const struct kn_key_name key = {
	.program = "sha256sum",
	.kind = "iso",
	.place = { .host = "", .disk = "vda", .device = 7, .spindle = -1 },
};

static const struct kn_prior learnt = {
	.kind = KNEE_KIND_DISK,
	.limit = 12,
	.cpu_share = 0.25,
	.disk_share = 0.5,
	.net_share = 0,
	.wait_share = 0.25,
	.cores_per_task = 1.5,
	.runtime_ns = 4e9,
	.cpu_ns = 1e9,
	.bytes = 1e8,
	.rss_bytes = 4096,
};

/* A path of its own for each test. */
static void
begin(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", folder, name);
}

static void
put(const struct kn_machine *machine, const struct kn_key_name *k, const struct kn_prior *p)
{
	struct kn_memory *m = kn_memory_open(path, machine);

	if (m != NULL)
		kn_memory_put(m, k, p);
	kn_memory_close(m);
}

static int
get(const struct kn_machine *machine, const struct kn_key_name *k, struct kn_prior *ret)
{
	struct kn_memory *m = kn_memory_open(path, machine);
	int known = m != NULL ? kn_memory_get(m, k, ret) : -1;

	kn_memory_close(m);
	return known;
}

/* Whatever SQL on the file, through a connection of its own; the first column of its last row. */
static int
sql(const char *text)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *s = NULL;
	int ret = -1;

	if (sqlite3_open(path, &db) == SQLITE_OK && sqlite3_prepare_v2(db, text, -1, &s, NULL) == SQLITE_OK)
		while (sqlite3_step(s) == SQLITE_ROW)
			ret = sqlite3_column_int(s, 0);
	sqlite3_finalize(s);
	sqlite3_close(db);
	return ret;
}

static bool
same(const struct kn_prior *a, const struct kn_prior *b)
{
	const double x[] = { a->cpu_share, a->disk_share, a->net_share, a->wait_share, a->cores_per_task,
		a->runtime_ns, a->cpu_ns, a->bytes, a->rss_bytes };
	const double y[] = { b->cpu_share, b->disk_share, b->net_share, b->wait_share, b->cores_per_task,
		b->runtime_ns, b->cpu_ns, b->bytes, b->rss_bytes };
	bool equal = a->kind == b->kind && a->limit == b->limit;

	for (size_t i = 0; i < sizeof(x) / sizeof(x[0]); i++)
		equal = equal && fabs(x[i] - y[i]) <= 1e-9 * fabs(y[i]);
	return equal;
}

static void
test_round_trip(void)
{
	struct kn_prior got = { .limit = 99 };
	struct kn_key_name other = key;
	struct stat st;
	char above[160];

	begin("cache/knee/learnt.db");
	is_int(get(&two_cores, &key, &got), 0, "a new file knows nothing");
	is_int(got.limit, 99, "and leaves what it was given alone");
	put(&two_cores, &key, &learnt);
	is_int(get(&two_cores, &key, &got), 1, "what was put there is known");
	ok(same(&got, &learnt), "all of it");
	snprintf(above, sizeof(above), "%s/cache", folder);
	ok(stat(above, &st) == 0 && (st.st_mode & 0777) == 0700, "folders are for the owner alone");
	ok(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600, "so is the file");

	strcpy(other.program, "sha1sum");
	is_int(get(&two_cores, &other, &got), 0, "another program is not known");
	other = key;
	strcpy(other.kind, "txt");
	is_int(get(&two_cores, &other, &got), 0, "nor another kind of file");
	other = key;
	strcpy(other.place.host, "example.org");
	is_int(get(&two_cores, &other, &got), 0, "nor another host");
	other = key;
	other.place.disk[0] = '\0';
	is_int(get(&two_cores, &other, &got), 0, "nor another disk");
	other = key;
	other.place.device = 8;
	is_int(get(&two_cores, &other, &got), 1, "a disk's number may change from one boot to the next");
	memset(&other, '%', sizeof(other));
	put(&two_cores, &other, &learnt);
	is_int(get(&two_cores, &other, &got), 1, "names as long as their room");
	memset(&other, 0, sizeof(other));
	strcpy(other.program, "'; DROP TABLE learnt; --\xff");
	put(&two_cores, &other, &learnt);
	is_int(get(&two_cores, &other, &got), 1, "a name with quotes, and bytes that are no UTF-8");
	is_int(sql("SELECT count(*) FROM learnt"), 3, "three rows");
}

static void
test_fade(void)
{
	struct kn_prior p = learnt, got, want = learnt;

	begin("fade.db");
	put(&two_cores, &key, &learnt);
	p.kind = KNEE_KIND_CPU;
	p.limit = 2;
	p.cpu_share = 0.75;
	p.disk_share = 0;
	p.runtime_ns = 2e9;
	p.rss_bytes = 8192;
	put(&two_cores, &key, &p);
	want = p;
	want.cpu_share = 0.5;
	want.disk_share = 0.25;
	want.runtime_ns = 3e9;
	want.rss_bytes = 6144;
	(void)get(&two_cores, &key, &got);
	ok(same(&got, &want), "means fade by halves, the kind and the limit are the new ones");
	p = (struct kn_prior){ .limit = 5 };
	put(&two_cores, &key, &p);
	want.limit = 5;
	(void)get(&two_cores, &key, &got);
	ok(same(&got, &want), "what was not learnt leaves the old number alone");
	begin("fade-new.db");
	put(&two_cores, &key, &p);
	put(&two_cores, &key, &learnt);
	(void)get(&two_cores, &key, &got);
	ok(same(&got, &learnt), "and what was not known does not halve the new one");
	p = learnt;
	p.runtime_ns = NAN;
	p.cpu_ns = INFINITY;
	p.bytes = -1;
	put(&two_cores, &key, &p);
	(void)get(&two_cores, &key, &got);
	ok(same(&got, &learnt), "numbers that are none are not kept");
}

static void
test_cores(void)
{
	const struct kn_machine half = { .cores = 0.5 };
	struct kn_prior p = learnt, got;

	begin("cores.db");
	put(&two_cores, &key, &learnt);
	is_int(get(&half, &key, &got), 0, "another number of cores is another machine");
	p.limit = 1;
	put(&half, &key, &p);
	ok(get(&half, &key, &got) == 1 && got.limit == 1, "which has numbers of its own");
	ok(get(&two_cores, &key, &got) == 1 && got.limit == 12, "and takes none away");
}

static void
test_age(void)
{
	struct kn_key_name other = { .program = "other" };
	struct kn_prior got;

	begin("age.db");
	put(&two_cores, &key, &learnt);
	(void)sql("UPDATE learnt SET seen = seen - 89 * 86400");
	is_int(get(&two_cores, &key, &got), 1, "89 days old: known");
	(void)sql("UPDATE learnt SET seen = seen - 2 * 86400");
	is_int(get(&two_cores, &key, &got), 0, "91 days old: not");
	put(&two_cores, &other, &learnt);
	is_int(sql("SELECT count(*) FROM learnt"), 1, "and gone with the next write");
	(void)sql("UPDATE learnt SET seen = seen + 10 * 86400");
	is_int(get(&two_cores, &other, &got), 0, "from the future: not known either");
	(void)sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
		  " INSERT INTO learnt SELECT i, '', '', '', 2000, strftime('%s', 'now') - i, 1, 1,"
		  " 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM n");
	put(&two_cores, &key, &learnt);
	is_int(sql("SELECT count(*) FROM learnt"), 4097, "the oldest of many go");
	is_int(get(&two_cores, &key, &got), 1, "the newest stays");
}

static void
file_write(const char *data, size_t size, off_t at)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	ok(fd >= 0 && pwrite(fd, data, size, at) == (ssize_t)size, "the file is changed");
	close(fd);
}

static void
test_broken(void)
{
	struct kn_prior got;
	char junk[3 * 4096], aside[160];
	struct stat st;

	memset(junk, 'x', sizeof(junk));
	begin("text.db");
	snprintf(aside, sizeof(aside), "%s.broken", path);
	file_write(junk, sizeof(junk), 0);
	is_int(get(&two_cores, &key, &got), 0, "a file that is no database: begun anew");
	is_int(stat(aside, &st), 0, "and the old one put aside");
	put(&two_cores, &key, &learnt);
	is_int(get(&two_cores, &key, &got), 1, "the new one works");

	begin("page.db");
	put(&two_cores, &key, &learnt);
	file_write(junk, 4096, 4096);
	is_int(get(&two_cores, &key, &got), 0, "the page of the table is broken: nothing is known");
	is_int(get(&two_cores, &key, &got), 0, "the next time neither");
	put(&two_cores, &key, &learnt);
	is_int(get(&two_cores, &key, &got), 1, "but then it is");
	begin("page-put.db");
	put(&two_cores, &key, &learnt);
	file_write(junk, 4096, 4096);
	put(&two_cores, &key, &learnt);
	put(&two_cores, &key, &learnt);
	is_int(get(&two_cores, &key, &got), 1, "a broken page found by writing");

	begin("short.db");
	put(&two_cores, &key, &learnt);
	ok(truncate(path, 100) == 0, "a file that was cut");
	put(&two_cores, &key, &learnt);
	put(&two_cores, &key, &learnt);
	is_int(get(&two_cores, &key, &got), 1, "is begun anew");

	begin("columns.db");
	(void)sql("CREATE TABLE learnt (program TEXT)");
	(void)sql("PRAGMA user_version = 1");
	put(&two_cores, &key, &learnt);
	is_int(get(&two_cores, &key, &got), 1, "so is one without the columns");

	begin("garbage.db");
	put(&two_cores, &key, &learnt);
	(void)sql("UPDATE learnt SET kind = 99, at_once = -4, cpu = 'much', runtime_ns = -1, bytes = 1e999,"
		  " rss_bytes = 1e300");
	ok(get(&two_cores, &key, &got) == 1 && got.kind == KNEE_KIND_UNKNOWN && got.limit == 0 &&
		got.cpu_share == 0 && got.runtime_ns == 0 && got.bytes == 0,
	    "numbers out of all bounds stand for nothing");
	ok(got.rss_bytes > 0 && got.rss_bytes <= 1e18, "no number is too large to be counted with");
}

static void
test_others(void)
{
	struct kn_prior got;
	struct kn_memory *m;
	char long_path[5000];

	begin("future.db");
	put(&two_cores, &key, &learnt);
	(void)sql("PRAGMA user_version = 2");
	is_int(get(&two_cores, &key, &got), -1, "another version: not opened");
	is_int(sql("SELECT count(*) FROM learnt"), 1, "and left alone");
	begin("other.db");
	(void)sql("CREATE TABLE precious (x)");
	is_int(get(&two_cores, &key, &got), -1, "somebody else's database: not opened");
	is_int(sql("SELECT count(*) FROM sqlite_master"), 1, "and left alone");
	begin("folder.db");
	(void)mkdir(path, 0700);
	ok(kn_memory_open(path, &two_cores) == NULL, "a folder of that name");
	ok(kn_memory_open("", &two_cores) == NULL, "no name");
	ok(kn_memory_open("/proc/knee/learnt.db", &two_cores) == NULL, "a place where nothing can be made");
	ok(kn_memory_open("/dev/null", &two_cores) == NULL, "a device");
	memset(long_path, '/', sizeof(long_path));
	long_path[sizeof(long_path) - 2] = 'x';
	long_path[sizeof(long_path) - 1] = '\0';
	m = kn_memory_open(long_path, &two_cores);
	ok(m == NULL, "a name that is too long");
	kn_memory_close(m);
	kn_memory_close(NULL);
	pass("close takes NULL");
}

static void
test_two(void)
{
	struct kn_key_name other = { .program = "other" };
	struct kn_memory *a, *b;
	struct kn_prior got;
	sqlite3 *db = NULL;

	begin("two.db");
	a = kn_memory_open(path, &two_cores);
	b = kn_memory_open(path, &two_cores);
	if (!ok(a != NULL && b != NULL, "two runs at once"))
		return;
	is_int(kn_memory_get(a, &key, &got), 0, "the one looks");
	kn_memory_put(b, &key, &learnt);
	kn_memory_close(b);
	is_int(kn_memory_get(a, &key, &got), 1, "the other's write is seen");
	kn_memory_put(a, &other, &learnt);
	kn_memory_close(a);
	is_int(sql("SELECT count(*) FROM learnt"), 2, "both have written");

	(void)sqlite3_open(path, &db);
	(void)sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL);
	is_int(get(&two_cores, &key, &got), -1, "a locked file is as good as none");
	(void)sqlite3_exec(
	    db, "COMMIT; BEGIN IMMEDIATE; DELETE FROM learnt WHERE program = 'other'", NULL, NULL, NULL);
	is_int(get(&two_cores, &key, &got), 1, "while somebody is about to write it can be read");
	other.program[0] = 'x';
	put(&two_cores, &other, &learnt);
	(void)sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	(void)sqlite3_close(db);
	is_int(get(&two_cores, &other, &got), 0, "what finds it locked is not kept");
	is_int(sql("SELECT count(*) FROM learnt"), 1, "and nothing else is lost");
}

/* Without the right to write; root has it everywhere, so root becomes somebody else. */
static int
in_read_only(void)
{
	struct kn_prior got;
	struct kn_memory *m;

	if (geteuid() == 0 && (setgid(NOBODY) < 0 || setuid(NOBODY) < 0))
		return 99;
	m = kn_memory_open(path, &two_cores);
	if (m == NULL || kn_memory_get(m, &key, &got) != 1)
		return 1;
	kn_memory_put(m, &key, &learnt);
	kn_memory_close(m);
	snprintf(path, sizeof(path), "%s/new/learnt.db", folder);
	m = kn_memory_open(path, &two_cores);
	return m == NULL ? 0 : 2;
}

static void
test_read_only(void)
{
	int status = -1;
	pid_t child;

	begin("read-only.db");
	put(&two_cores, &key, &learnt);
	(void)chmod(path, 0444);
	(void)chmod(folder, 0555);
	fflush(stdout);
	child = fork();
	if (child == 0)
		_exit(in_read_only());
	(void)waitpid(child, &status, 0);
	(void)chmod(folder, 0755);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 99)
		pass("SKIP no other user to be");
	else
		is_int(status, 0, "where nothing may be written what is there is read, and nothing is made");
}

int
main(void)
{
	char command[64];

	if (mkdtemp(folder) == NULL)
		return 1;
	test_round_trip();
	test_fade();
	test_cores();
	test_age();
	test_broken();
	test_others();
	test_two();
	test_read_only();
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	ok(system(command) == 0, "the folder is removed");
	return done_testing();
}
