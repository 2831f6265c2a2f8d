/* SPDX-License-Identifier: MIT */
/* Files on their way: what one end sends is what the other end has, whatever they are; and what goes wrong with
 * a file, or is meant to go wrong, stays with its task. */
#include "courier.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "tap.h"

/* What the file system cannot do: renaming without replacing; nor links. */
static enum { ABLE, NO_NOREPLACE, NO_LINKS } able;
/* What somebody gives the name of the next file that is renamed, before that; NULL: nobody does. */
static const char *late;

int __real_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);

int
__wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	if (late != NULL)
		(void)rename(late, from);
	late = NULL;
	if (able == ABLE)
		return __real_renameat2(from_fd, from, to_fd, to, flags);
	errno = EINVAL;
	return -1;
}

int __real_link(const char *from, const char *to);
int __wrap_link(const char *from, const char *to);

int
__wrap_link(const char *from, const char *to)
{
	if (able < NO_LINKS)
		return __real_link(from, to);
	errno = EPERM;
	return -1;
}

/* Nor files without a name. */
static bool no_nameless;

int __real_openat64(int folder, const char *path, int flags, mode_t mode);
int __wrap_openat64(int folder, const char *path, int flags, mode_t mode);

int
__wrap_openat64(int folder, const char *path, int flags, mode_t mode)
{
	if (!no_nameless || (flags & O_TMPFILE) != O_TMPFILE)
		return __real_openat64(folder, path, flags, mode);
	errno = EOPNOTSUPP;
	return -1;
}

/* What was synced: how many files and folders; the n-th fails. */
static int syncs, sync_fails_at;

int __wrap_fsync(int fd);

int
__wrap_fsync(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
		abort();
	if (++syncs != sync_fails_at)
		return 0;
	errno = EIO;
	return -1;
}

/* ---- help ------------------------------------------------------------------- */

static void
put(const char *path, const char *text, mode_t mode, long mtime)
{
	struct timespec times[2] = { { .tv_sec = mtime, .tv_nsec = 5 },
		{ .tv_sec = mtime, .tv_nsec = 123456789 } };
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	size_t n = strlen(text);

	if (fd < 0 || write(fd, text, n) != (ssize_t)n || fchmod(fd, mode) < 0 || futimens(fd, times) < 0)
		abort();
	close(fd);
}

static const char *
get(const char *path)
{
	static char text[256];
	int fd = open(path, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return NULL;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

static bool
there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* How many names are in all folders. */
static int
names(void)
{
	FILE *f = popen("find . -mindepth 1 | wc -l", "r");
	int n = -1;

	if (f == NULL || fscanf(f, "%d", &n) != 1)
		abort();
	pclose(f);
	return n;
}

static void
clear(void)
{
	if (system("find . -mindepth 1 -delete") != 0)
		abort();
}

/* Give frames to a courier: 0, or the first error. root: as in kn_courier_begin. */
static int
feed(struct kn_courier *c, const struct kn_buf *b, const char *root)
{
	for (size_t at = 0; at < b->len;) {
		struct kn_frame frame;
		struct kn_file file;
		size_t bytes;
		int err = kn_frame_take(b->data + at, b->len - at, &frame, &bytes);

		if (err != 1)
			return -EPROTO;
		at += bytes;
		if (frame.kind == KN_FRAME_FILE) {
			err = kn_file_get(&frame, &file);
			if (err == 0)
				err = kn_courier_begin(c, &file, root);
		} else {
			err = kn_courier_data(c, frame.payload, frame.size);
		}
		if (err < 0)
			return err;
	}
	return 0;
}

/* All of a dispatch, in steps of room bytes. */
static int
drain(struct kn_dispatch *d, struct kn_buf *to, size_t room)
{
	int r;

	do
		r = kn_dispatch_more(d, to, room);
	while (r > 0);
	return r;
}

/* Send a file as task id's to a courier, as name. */
static void
carry(struct kn_courier *c, uint64_t id, const char *path, const char *name, unsigned flags, const char *root)
{
	struct kn_dispatch d = { .id = id };
	struct kn_buf b = { 0 };

	if (kn_dispatch_add(&d, path, name, 0, flags) < 0 || drain(&d, &b, 100) < 0 || d.error != NULL)
		abort();
	is_int(feed(c, &b, root), 0, "the frames of %s make sense", path);
	kn_dispatch_done(&d);
	kn_buf_done(&b);
}

static void
one(struct kn_courier *c, uint64_t id, const char *name, unsigned flags, const char *text, const char *root)
{
	struct kn_file f = { .id = id, .mode = 0644 | flags, .size = strlen(text), .path = name };

	is_int(kn_courier_begin(c, &f, root), 0, "%s begins", name);
	if (text[0] != '\0')
		is_int(kn_courier_data(c, text, strlen(text)), 0, "and its bytes come");
}

/* ---- the tests ------------------------------------------------------------------ */

static void
test_far(void)
{
	static const char *const cases[][2] = { { "a", "a" }, { "./a", "a" }, { "d/e/a", "d/e/a" },
		{ "d/./e/a", "e/a" }, { "/abs/f", "/abs/f" }, { "/abs/./f", "f" }, { "d//e///f", "d/e/f" },
		{ "../x/./y", "y" }, { "a/./b/./c", "b/c" }, { "d/", "d" }, { "d/./", "." }, { "d/.", "." },
		{ ".", "." }, { "-dash", "-dash" }, { "/", "/" }, { "//a", "/a" }, { "/a/../b", "/a/../b" },
		{ " a\n'b\"", " a\n'b\"" }, { "..a/b..", "..a/b.." } };
	static const char *const wrong[] = { "../a", "a/../b", "a/./../b", ".." };
	char *far;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (!is_int(kn_file_far(cases[i][0], &far), 0, "%s has a place there", cases[i][0]))
			continue;
		is_str(far, cases[i][1], "%s there", cases[i][0]);
		free(far);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		is_int(kn_file_far(wrong[i], &far), -EINVAL, "%s leads out", wrong[i]);
}

static void
test_whole(void)
{
	static const char *const odd[] = { "plain", "with blank", "quo'te\"", "new\nline", "-dash",
		"\xff\xfe", "*?" };
	struct kn_courier c = { 0 };
	struct stat st;
	char name[64], to[64];

	mkdir("src", 0755);
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		snprintf(name, sizeof(name), "src/%s", odd[i]);
		snprintf(to, sizeof(to), "to/a/%s", odd[i]);
		put(name, odd[i], i % 2 == 0 ? 0640 : 0755, 1000000 + (long)i);
		carry(&c, 1, name, to, 0, NULL);
		is_str(get(to), odd[i], "its bytes are there");
		ok(stat(to, &st) == 0 && (st.st_mode & 07777) == (i % 2 == 0 ? 0640 : 0755), "its mode");
		ok(st.st_mtim.tv_sec == 1000000 + (long)i && st.st_mtim.tv_nsec == 123456789, "and its time");
	}
	put("src/empty", "", 0600, -5);
	carry(&c, 1, "src/empty", "to/empty", 0, NULL);
	ok(stat("to/empty", &st) == 0 && st.st_size == 0 && st.st_mtim.tv_sec == -5,
	    "an empty one, from before 1970");
	put("src/suid", "x", 04755, 5);
	carry(&c, 1, "src/suid", "to/suid", 0, NULL);
	ok(stat("to/suid", &st) == 0 && (st.st_mode & 07777) == 0755, "no set-user-ID bit travels");
	ok(kn_courier_error(&c, 1) == NULL && kn_courier_error(&c, 2) == NULL, "nothing went wrong");
	kn_courier_done(&c);
	is_int(names(), 10 + 11 + 2, "nothing is left beside them, of which two have a newline");
	clear();
}

/* A file that is half there has no name, where that can be, and so it cannot stay. */
static void
test_half(void)
{
	const struct kn_file f = { .id = 1, .mode = 0644, .size = 4, .path = "there" };
	struct kn_courier c = { 0 };

	is_int(kn_courier_begin(&c, &f, NULL), 0, "a file begins");
	is_int(kn_courier_data(&c, "te", 2), 0, "half of it comes");
	is_int(names(), no_nameless ? 1 : 0, "%s", no_nameless ? "it has another name" : "it has no name");
	kn_courier_done(&c);
	is_int(names(), 0, "it is gone");
	is_int(kn_courier_begin(&c, &f, NULL), 0, "it begins again");
	is_int(kn_courier_data(&c, "text", 4), 0, "all of it comes");
	is_str(get("there"), "text", "it is there");
	is_int(names(), 1, "and nothing else");
	kn_courier_done(&c);
	clear();
}

/* What is kept is on the disk then: the files before they have their names, then those. */
static void
test_sync(void)
{
	struct kn_courier c = { .hold = true }, agent = { 0 };
	uint32_t index = 9;
	char err[256];

	syncs = sync_fails_at = 0;
	one(&agent, 1, "x", 0, "text", NULL);
	one(&c, 1, "", 0, "text", "to/x");
	is_int(kn_courier_keep(&c, 1, &index, err, sizeof(err)), 0, "a file is kept");
	is_int(syncs, 0, "nothing is synced unless that is wanted");
	c.sync = true;
	kn_courier_done(&c);
	one(&c, 2, "", 0, "text", "to/y");
	is_int(syncs, 1, "the file is on the disk");
	ok(!there("to/y"), "before it has its name");
	is_int(kn_courier_keep(&c, 2, &index, err, sizeof(err)), 0, "it is kept");
	is_int(syncs, 2, "and its name is there, too");
	for (sync_fails_at = 3; sync_fails_at <= 5; sync_fails_at += 2) {
		one(&c, 3, "", 0, "text", "to/z");
		is_int(kn_courier_keep(&c, 3, &index, err, sizeof(err)), -EIO, "it cannot be synced");
		is_str(err, "to/z: cannot be written: Input/output error", "which is told");
	}
	sync_fails_at = 0;
	for (unsigned i = 0; i < 4; i++)
		one(&c, 4, "", 0, "text", (const char *[]){ "to/1", "to/2", "to/deep/3", "to/deep/4" }[i]);
	syncs = 0;
	is_int(kn_courier_keep(&c, 4, &index, err, sizeof(err)), 0, "four are kept");
	is_int(syncs, 2, "the two folders are on the disk");
	kn_courier_done(&agent);
	kn_courier_done(&c);
	clear();
}

static void
test_large(void)
{
	struct kn_courier c = { 0 };
	struct kn_dispatch d = { .id = 9 };
	struct kn_buf b = { 0 };
	size_t most = 0;
	int fd = open("large", O_WRONLY | O_CREAT, 0600), r;

	for (unsigned i = 0; i < 1000000; i++)
		if (write(fd, &i, sizeof(i)) != sizeof(i))
			abort();
	close(fd);
	is_int(kn_dispatch_add(&d, "large", "there/large", 0, 0), 0, "a file of 4 MB");
	do {
		r = kn_dispatch_more(&d, &b, 100000);
		most = b.len > most ? b.len : most;
		if (feed(&c, &b, NULL) != 0)
			abort();
		b.len = 0;
	} while (r > 0);
	is_int(r, 0, "is sent");
	ok(most < 200000, "in pieces of about what was asked for (%zu)", most);
	is_int(system("cmp large there/large"), 0, "and is the same there");
	kn_dispatch_done(&d);
	kn_buf_done(&b);
	kn_courier_done(&c);
	clear();
}

static void
test_folder(void)
{
	struct kn_courier c = { 0 };

	mkdir("d", 0755);
	mkdir("d/e", 0700);
	mkdir("d/empty", 0755);
	put("d/b", "b", 0644, 1);
	put("d/a", "a", 0644, 1);
	put("d/e/c", "c", 0644, 1);
	symlink("nowhere", "d/dangling");
	symlink("a", "d/link");
	mkfifo("d/fifo", 0600);
	carry(&c, 1, "d/", "x/d", KN_FILE_CLEAN, NULL);
	is_int(system("rm d/dangling d/fifo; diff -r d x/d"), 0,
	    "a folder goes with all that is in it, but pipes");
	put("x/d/other", "mine", 0644, 1);
	kn_courier_clean(&c, 1);
	ok(there("x/d/other") && !there("x/d/e") && !there("x/d/empty") && !there("x/d/a"),
	    "what came is removed, what did not stays");
	kn_courier_done(&c);
	system("rm -r x");
	carry(&c, 1, "d", ".", KN_FILE_CLEAN, NULL);
	ok(there("d/e/c"), "into the folder itself");
	kn_courier_done(&c);
	ok(there("d/e/c") && there("d/empty"), "where all was there before, and stays");
	clear();
}

static void
test_hold(void)
{
	struct kn_courier c = { .hold = true };
	uint32_t index = 9;
	char err[256];

	put("src", "new", 0644, 1);
	put("out", "old", 0644, 1);
	carry(&c, 7, "src", "", 0, "out");
	carry(&c, 7, "src", "", 0, "deep/er/out");
	carry(&c, 8, "src", "", 0, "out8");
	is_str(get("out"), "old", "what comes back is not there before it is kept");
	ok(!there("out8") && kn_courier_came(&c, 8, 0) && !kn_courier_came(&c, 8, 1),
	    "it is known to have come");
	is_int(kn_courier_keep(&c, 7, &index, err, sizeof(err)), 0, "kept");
	is_str(get("out"), "new", "it is there");
	is_str(get("deep/er/out"), "new", "in folders that were made");
	kn_courier_drop(&c, 8);
	ok(!there("out8"), "what is dropped is not");
	carry(&c, 9, "src", "", 0, NULL);
	is_int(kn_courier_keep(&c, 9, &index, err, sizeof(err)), 0, "what nobody wants is passed over");
	carry(&c, 10, "src", "", 0, "gone");
	one(&c, 11, "", 0, "half", "half");
	kn_courier_drop(&c, 11);
	ok(!c.open, "a file whose bytes are all there is whole");
	is_int(
	    kn_courier_begin(&c, &(struct kn_file){ .id = 12, .size = 10, .path = "" }, "half"), 0, "begun");
	is_int(kn_courier_data(&c, "12345", 5), 0, "half");
	kn_courier_done(&c);
	is_int(names(), 5, "a lost connection leaves nothing: src, out, deep/er/out");
	clear();
}

static void
test_hostile(void)
{
	static const char *const names_wrong[] = { "../x", "a/../../x", "/abs", "a//b", ".", "..", "a/",
		"a/.", "link/x", "link/sub/x" };
	struct kn_courier c = { .hold = true };
	struct kn_file f = { .id = 1, .mode = 0644, .size = 3, .path = "" };
	uint32_t index = 9;
	char err[256];

	mkdir("outside", 0755);
	mkdir("out", 0755);
	symlink("../outside", "out/link");
	put("outside/kept", "kept", 0644, 1);
	for (size_t i = 0; i < sizeof(names_wrong) / sizeof(names_wrong[0]); i++) {
		one(&c, 1 + i, names_wrong[i], 0, "bad", "out");
		ok(kn_courier_keep(&c, 1 + i, &index, err, sizeof(err)) == -EIO &&
			strncmp(err, "out/", 4) == 0,
		    "%s below a folder is refused (%s)", names_wrong[i], err);
		f.mode = 0755 | KN_FILE_FOLDER;
		f.size = 0;
		f.path = names_wrong[i];
		is_int(kn_courier_begin(&c, &f, "out"), 0, "as a folder");
		kn_courier_drop(&c, 1);
	}
	one(&c, 50, "link", 0, "new", "out");
	is_int(kn_courier_keep(&c, 50, &index, err, sizeof(err)), 0, "a link itself is replaced");
	is_int(system("test -f out/link -a ! -L out/link"), 0, "and not what it leads to");
	is_int(system("find outside | grep -c . | grep -qx 2"), 0, "nothing lies outside");
	is_int(kn_courier_data(&c, "x", 1), -EBADMSG, "bytes of no file");
	f = (struct kn_file){ .id = 60, .mode = 0644, .size = 3, .path = "" };
	is_int(kn_courier_begin(&c, &f, "sized"), 0, "a file of three bytes");
	is_int(kn_courier_begin(&c, &f, "sized"), -EBADMSG, "no other begins within");
	is_int(kn_courier_data(&c, "1234", 4), -EBADMSG, "four are too many");
	f.mode |= KN_FILE_BROKEN;
	kn_courier_done(&c);
	c.hold = true;
	is_int(kn_courier_begin(&c, &f, "sized"), 0, "what never came may be broken");
	kn_courier_done(&c);
	clear();
}

static void
test_frame(void)
{
	struct kn_dispatch d = { .id = 3 };
	struct kn_buf b = { 0 };
	struct kn_frame frame;
	struct kn_file f;
	size_t bytes;

	put("x", "", 0644, 1);
	kn_dispatch_add(&d, "x", "name", 5, KN_FILE_CLEAN);
	drain(&d, &b, 1000);
	is_int(kn_frame_take(b.data, b.len, &frame, &bytes), 1, "a frame");
	is_int(kn_file_get(&frame, &f), 0, "FILE");
	ok(f.id == 3 && f.index == 5 && f.size == 0 && f.mode == (0644 | KN_FILE_CLEAN), "its numbers");
	is_str(f.path, "name", "its name");
	for (size_t n = 0; n < frame.size; n++) {
		struct kn_frame cut = { .kind = frame.kind, .payload = frame.payload, .size = n };

		if (kn_file_get(&cut, &f) != -EBADMSG)
			fail("cut after %zu bytes it is none", n);
	}
	kn_dispatch_done(&d);
	kn_buf_done(&b);
	clear();
}

static void
test_broken(void)
{
	struct kn_dispatch d = { .id = 4 };
	struct kn_courier c = { .hold = true }, agent = { 0 };
	struct kn_buf b = { 0 };
	uint32_t index = 9;
	char big[300000], err[256];

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	put("f", big, 0644, 1);
	put("g", "g", 0644, 1);
	kn_dispatch_add(&d, "f", "", 0, 0);
	kn_dispatch_add(&d, "g", "", 1, 0);
	is_int(kn_dispatch_more(&d, &b, 1000), 1, "some of a file is sent");
	truncate("f", 100000);
	is_int(drain(&d, &b, 1000), 0, "it becomes shorter: the rest is sent all the same");
	is_str(d.error, "f: it changed while it was sent", "and told");
	is_int(feed(&c, &b, "back"), 0, "the other end");
	is_int(kn_courier_keep(&c, 4, &index, err, sizeof(err)), -EIO, "is told");
	is_int(index, 0, "and which one it is");
	is_str(err, "back: it changed while it was sent", "which");
	is_str(get("back"), "g", "only the other one came");
	kn_dispatch_done(&d);
	b.len = 0;
	put("f", big, 0644, 1);
	d.id = 5;
	kn_dispatch_add(&d, "f", "to", 0, 0);
	kn_dispatch_more(&d, &b, 1000);
	put("f", "longer", 0644, 2);
	is_int(drain(&d, &b, 1000), 0, "another one, at the agent");
	is_int(feed(&agent, &b, NULL), 0, "gets there");
	is_str(
	    kn_courier_error(&agent, 5), "to: it changed while it was sent", "and is an error of its task");
	kn_dispatch_done(&d);
	kn_courier_done(&c);
	kn_courier_done(&agent);
	kn_buf_done(&b);
	clear();
}

static void
test_missing(void)
{
	struct kn_dispatch d = { .id = 4 };
	struct kn_buf b = { 0 };

	mkfifo("fifo", 0600);
	kn_dispatch_add(&d, "nix", "nix", 0, 0);
	is_int(drain(&d, &b, 1000), 0, "a file that is not there");
	is_str(d.error, "nix: No such file or directory", "is told");
	is_int(b.len, 0, "and nothing sent");
	kn_dispatch_done(&d);
	kn_dispatch_add(&d, "fifo", "fifo", 0, 0);
	is_int(drain(&d, &b, 1000), 0, "a pipe that nobody writes");
	is_str(d.error, "fifo: neither a file nor a folder", "is not waited for");
	kn_dispatch_done(&d);
	clear();
}

static void
test_clean(void)
{
	struct kn_courier c = { 0 };

	put("src", "text", 0644, 100);
	put("mine", "text", 0644, 100);
	put("old", "other", 0644, 90);
	carry(&c, 1, "src", "d/e/common", KN_FILE_CLEAN, NULL);
	carry(&c, 2, "src", "d/e/common", KN_FILE_CLEAN, NULL);
	carry(&c, 2, "src", "mine", KN_FILE_CLEAN, NULL);
	carry(&c, 2, "src", "old", KN_FILE_CLEAN, NULL);
	carry(&c, 3, "src", "stays/x", 0, NULL);
	carry(&c, 0, "src", "base/x", KN_FILE_CLEAN, NULL);
	kn_courier_clean(&c, 1);
	ok(there("d/e/common"), "what two tasks have stays as long as one of them goes on");
	put("d/e/result", "r", 0644, 100);
	kn_courier_clean(&c, 2);
	ok(!there("d/e/common"), "then it is removed");
	ok(there("d/e/result"), "but no folder that has something");
	kn_courier_remove(&c, "d/e/result");
	ok(!there("d"), "then those, too, which were made");
	ok(there("mine"), "what was there already with the same size and time is not removed");
	ok(!there("old"), "what was there with others is");
	kn_courier_clean(&c, 3);
	ok(there("stays/x"), "and nothing that is not to be");
	ok(there("base/x"), "what every task has stays");
	kn_courier_done(&c);
	ok(!there("base"), "until the end");
	mkdir("was", 0755);
	carry(&c, 1, "src", "was/x", KN_FILE_CLEAN, NULL);
	kn_courier_done(&c);
	ok(there("was") && !there("was/x"), "a folder that was there stays");
	clear();
}

/* A name that was asked for may be that of anything. */
static void
test_remove(void)
{
	struct kn_courier c = { 0 };

	if (mkfifo("pipe", 0600) < 0 || symlink("nothing", "link") < 0 || mkdir("full", 0700) < 0)
		abort();
	put("full/file", "text", 0600, 100);
	kn_courier_remove(&c, "pipe");
	kn_courier_remove(&c, "link");
	kn_courier_remove(&c, "full");
	ok(there("pipe"), "what is neither a file nor a folder is not removed");
	ok(!there("link"), "a link is");
	ok(there("full/file"), "a folder that is not empty is not");
	kn_courier_remove(&c, "full/file");
	kn_courier_remove(&c, "full");
	ok(!there("full"), "an empty one is");
	kn_courier_done(&c);
	clear();
}

/* What came back stays until it is known whether it is there; then it goes, if it is what it was. */
static void
test_waiting(void)
{
	struct kn_courier c = { 0 };
	struct kn_waiting w = { 0 };

	put("src", "text", 0644, 100);
	carry(&c, 1, "src", "made/in", KN_FILE_CLEAN, NULL);
	put("made/out", "out", 0644, 1);
	symlink("nowhere", "made/link");
	mkdir("dir", 0755);
	mkfifo("pipe", 0600);
	is_int(kn_waiting_add(&w, &c, "dir"), 0, "a folder");
	is_int(kn_waiting_add(&w, &c, "made/out"), 0, "a file");
	is_int(kn_waiting_add(&w, &c, "made/link"), 0, "a link");
	is_int(kn_waiting_add(&w, &c, "pipe"), 0, "what is none of these");
	is_int(kn_waiting_add(&w, &c, "nix"), 0, "what is not there");
	is_int(kn_courier_waiting(&c, 1, "made", &w), 0, "and what came");
	kn_courier_clean(&c, 1);
	is_int(names(), 7, "all have their names: src, made, in, out, link, dir, pipe");
	kn_waiting_keep(&w, &c);
	is_str(get("made/out"), "out", "also when they stay");
	is_str(get("made/in"), "text", "what came does not go with its task any more");
	kn_waiting_add(&w, &c, "dir");
	kn_waiting_add(&w, &c, "made/out");
	kn_waiting_add(&w, &c, "made/in");
	kn_waiting_add(&w, &c, "made/in");
	kn_waiting_add(&w, &c, "made/link");
	put("new", "another", 0644, 1);
	rename("new", "made/out");
	rmdir("dir");
	put("dir", "a file now", 0644, 1);
	kn_waiting_remove(&w, &c);
	ok(!there("made/in") && !there("made/link"), "what is the same goes, also if it was put in twice");
	is_str(get("made/out"), "another", "another file of that name stays");
	is_str(get("dir"), "a file now", "also where a folder was");
	unlink("dir");
	kn_waiting_add(&w, &c, "made/out");
	put("made/out", "ANOTHER", 0644, 2);
	kn_waiting_remove(&w, &c);
	is_str(get("made/out"), "ANOTHER", "and what was written to meanwhile");
	kn_waiting_add(&w, &c, "made/out");
	unlink("made/out");
	kn_waiting_remove(&w, &c);
	put("made/out", "out", 0644, 1);
	kn_waiting_add(&w, &c, "made/out");
	kn_waiting_remove(&w, &c);
	ok(!there("made"), "with the last one goes the folder that was made");
	is_int(names(), 2, "and nothing else is left: src, pipe");
	kn_courier_done(&c);
	clear();
}

/* Something else gets the name in the moment between the look and the end: it gets it back. */
static void
test_waiting_late(void)
{
	struct kn_courier c = { 0 };
	struct kn_waiting w = { 0 };

	put("out", "mine", 0644, 1);
	put("new", "theirs", 0644, 1);
	kn_waiting_add(&w, &c, "out");
	late = "new";
	kn_waiting_remove(&w, &c);
	is_str(get("out"), "theirs", "it stays under its name");
	is_int(names(), 1, "and nothing else is left");
	kn_courier_done(&c);
	clear();
}

/* A folder goes with what is in it, whatever was named first; and names of files on their way are nobody's. */
static void
test_waiting_inside(void)
{
	struct kn_courier c = { 0 };
	struct kn_waiting w = { 0 };

	mkdir("out", 0755);
	put("out/a", "a", 0644, 1);
	kn_waiting_add(&w, &c, "out/a");
	kn_waiting_add(&w, &c, "out");
	put("out/b", "b", 0644, 1);
	put("out/.knee-1f-2", "2", 0644, 1);
	put("out/.knee-1f-2.c", "c", 0644, 1);
	mkdir("out/.knee-1f-3", 0755);
	carry(&c, 1, "out", "there", KN_FILE_CLEAN, NULL);
	is_int(system("ls -A there | tr '\\n' ' ' | grep -qx '.knee-1f-2.c .knee-1f-3 a b '"), 0,
	    "all else that is in the folder goes");
	kn_courier_clean(&c, 1);
	is_int(system("rm -r out/b out/.knee-*"), 0, "it was not moved");
	kn_waiting_remove(&w, &c);
	ok(!there("out"), "it is empty, and goes, too");
	kn_courier_done(&c);
	clear();
}

/* What several tasks have goes with the last of them; what is to come back and does not stays for all. */
static void
test_waiting_shared(void)
{
	struct kn_courier c = { 0 };
	struct kn_waiting w = { 0 };

	put("src", "text", 0644, 100);
	carry(&c, 1, "src", "common", KN_FILE_CLEAN, NULL);
	carry(&c, 2, "src", "common", KN_FILE_CLEAN, NULL);
	carry(&c, 2, "src", "d/other", KN_FILE_CLEAN, NULL);
	carry(&c, 2, "src", "dd", KN_FILE_CLEAN, NULL);
	is_int(kn_waiting_add(&w, &c, "common"), 0, "one that is wanted back");
	is_int(kn_courier_waiting(&c, 1, ".", &w), 0, "all that is in the folder");
	kn_courier_clean(&c, 1);
	kn_waiting_remove(&w, &c);
	ok(there("common"), "does not go as long as another task has it");
	kn_courier_spare(&c, 2, "d");
	kn_courier_clean(&c, 2);
	ok(!there("common") && !there("dd") && there("d/other"),
	    "what is spared stays, and nothing but that");
	carry(&c, 3, "src", "common", KN_FILE_CLEAN, NULL);
	carry(&c, 4, "src", "common", KN_FILE_CLEAN, NULL);
	kn_waiting_add(&w, &c, "common");
	kn_courier_clean(&c, 3);
	kn_waiting_keep(&w, &c);
	kn_courier_clean(&c, 4);
	ok(there("common"), "what the other end has not stays also when another task ends that has it");
	unlink("common");
	carry(&c, 5, "src", "common", KN_FILE_CLEAN, NULL);
	kn_waiting_add(&w, &c, "common");
	kn_courier_clean(&c, 5);
	carry(&c, 6, "src", "common", KN_FILE_CLEAN, NULL);
	kn_waiting_remove(&w, &c);
	ok(there("common"), "while it waits it comes once more: it does not go");
	kn_courier_clean(&c, 6);
	ok(!there("common"), "but with that task");
	kn_courier_done(&c);
	clear();
}

/* What waits is what it was when it was announced. */
static void
test_waiting_sent(void)
{
	struct kn_courier c = { 0 };
	struct kn_waiting w = { 0 };
	struct kn_dispatch d = { .id = 1, .waiting = &w, .courier = &c };
	struct kn_buf b = { 0 };

	put("log", "text", 0644, 100);
	put("other", "text", 0644, 100);
	symlink("other", "link");
	kn_dispatch_add(&d, "log", "", 0, 0);
	kn_dispatch_add(&d, "link", "", 1, 0);
	is_int(kn_dispatch_more(&d, &b, 100), 1, "one is sent, and not all");
	put("log", "text, more", 0644, 200);
	is_int(drain(&d, &b, 1000), 0, "then all is");
	is_int(kn_waiting_add(&w, &c, "log"), 0, "it is put in once more");
	kn_waiting_remove(&w, &c);
	is_str(get("log"), "text, more", "what was written to behind its end stays");
	ok(!there("link") && there("other"), "the link goes, not what it says");
	kn_dispatch_done(&d);
	kn_courier_done(&c);
	kn_buf_done(&b);
	clear();
}

/* What does not wait after all: as if it never had. */
static void
test_waiting_forgotten(void)
{
	struct kn_courier c = { 0 };
	struct kn_waiting w = { 0 };

	put("src", "text", 0644, 100);
	put("mine", "text", 0644, 100);
	carry(&c, 1, "src", "common", KN_FILE_CLEAN, NULL);
	kn_waiting_add(&w, &c, "mine");
	kn_waiting_add(&w, &c, "common");
	carry(&c, 2, "mine", "mine", KN_FILE_CLEAN, NULL);
	kn_waiting_forget(&w, &c);
	ok(there("mine") && there("common"), "both stay");
	kn_courier_clean(&c, 1);
	kn_courier_clean(&c, 2);
	ok(there("mine"), "what was there for a task stays behind it");
	ok(!there("common"), "what came for one goes with it");
	carry(&c, 3, "src", "common", KN_FILE_CLEAN, NULL);
	kn_waiting_add(&w, &c, "common");
	kn_courier_clean(&c, 3);
	ok(there("common"), "or a moment later");
	kn_waiting_forget(&w, &c);
	ok(!there("common"), "when nobody has it");
	kn_waiting_add(&w, &c, "mine");
	carry(&c, 4, "mine", "mine", KN_FILE_CLEAN, NULL);
	kn_waiting_remove(&w, &c);
	ok(there("mine"), "what has come back stays for the task that has it");
	kn_courier_clean(&c, 4);
	ok(!there("mine"), "and goes with that");
	kn_courier_done(&c);
	clear();
}

/* A task ends while what it has comes once more, for another one. */
static void
test_clean_meanwhile(void)
{
	const struct kn_file f = {
		.id = 2, .mode = 0644 | KN_FILE_CLEAN, .mtime_ns = 100123456789, .size = 4, .path = "d/common"
	};
	struct kn_courier c = { 0 };

	put("src", "text", 0644, 100);
	carry(&c, 1, "src", "d/common", KN_FILE_CLEAN, NULL);
	is_int(kn_courier_begin(&c, &f, NULL), 0, "a file begins that is there for another task");
	is_int(kn_courier_data(&c, "te", 2), 0, "half of it comes");
	kn_courier_clean(&c, 1);
	ok(there("d/common"), "it stays when that task ends");
	is_int(kn_courier_data(&c, "xt", 2), 0, "all of it comes");
	ok(there("d/common"), "it is there for the second one");
	is_int(kn_courier_begin(&c, &f, NULL), 0, "it begins again");
	kn_courier_clean(&c, 2);
	ok(!there("d"), "whose end removes it, also in the middle of the same file");
	is_int(kn_courier_data(&c, "text", 4), 0, "the rest is passed over");
	kn_courier_done(&c);
	clear();
}

static void
test_full(void)
{
	struct rlimit old, small = { 100000, RLIM_INFINITY };
	struct kn_courier c = { 0 }, hold = { .hold = true };
	uint32_t index = 9;
	char big[200000], err[256];

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	small.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_FSIZE, &small);
	one(&c, 1, "sub/big", KN_FILE_CLEAN, big, NULL);
	ok(!c.open && !there("sub/big"), "a file that does not fit is not there");
	is_str(kn_courier_error(&c, 1), "sub/big: cannot be written: File too large", "and says why");
	one(&c, 2, "small", 0, "x", NULL);
	ok(kn_courier_error(&c, 2) == NULL && there("small"), "the next task's is not concerned");
	one(&hold, 1, "", 0, big, "back");
	is_int(kn_courier_keep(&hold, 1, &index, err, sizeof(err)), -EIO, "so at the other end");
	is_str(err, "back: cannot be written: File too large", "with its name");
	setrlimit(RLIMIT_FSIZE, &old);
	mkdir("folder", 0755);
	put("folder/x", "", 0644, 1);
	one(&c, 3, "folder", 0, "x", NULL);
	is_str(
	    kn_courier_error(&c, 3), "folder: cannot be written: Is a directory", "a folder is in the way");
	one(&c, 4, "small/x", 0, "x", NULL);
	is_str(
	    kn_courier_error(&c, 4), "small/x: cannot be written: Not a directory", "a file is in the way");
	one(&c, 0, "folder", 0, "x", NULL);
	is_str(kn_courier_error(&c, 9), "folder: cannot be written: Is a directory", "for every task");
	{
		const struct kn_file root = { .id = 6, .mode = 0755 | KN_FILE_FOLDER, .path = "" };

		is_int(kn_courier_begin(&c, &root, NULL), 0, "a folder without a name");
		ok(kn_courier_error(&c, 6) != NULL, "is none, and not the root of all");
	}
	kn_courier_done(&c);
	kn_courier_done(&hold);
	is_int(system("find . -name '.knee-*' | grep ."), 256, "no other name is left");
	clear();
	if (geteuid() != 0 || mkdir("disk", 0755) < 0 || mount("none", "disk", "tmpfs", 0, "size=64k") < 0) {
		pass("# skip a small file system needs root");
		return;
	}
	one(&c, 5, "disk/big", 0, big, NULL);
	is_str(kn_courier_error(&c, 5), "disk/big: cannot be written: No space left on device",
	    "the disk is full");
	ok(rmdir("disk/x") < 0 && system("ls -A disk | grep .") == 256, "and has nothing of it");
	umount("disk");
	kn_courier_done(&c);
	clear();
}

static void
test_memory(void)
{
	uint32_t index = 9;
	char err[256];
	bool wrong = false;

	mkdir("d", 0755);
	put("d/a", "a", 0644, 1);
	put("d/b", "b", 0644, 1);
	for (alloc_fail_at = 1;; alloc_fail_at++) {
		struct kn_courier c = { 0 }, hold = { .hold = true };
		struct kn_waiting w = { 0 };
		struct kn_dispatch d = { .id = 1, .waiting = &w, .courier = &c };
		struct kn_buf b = { 0 };
		int r;

		alloc_count = 0;
		r = kn_dispatch_add(&d, "d", "", 0, KN_FILE_CLEAN);
		if (r == 0)
			r = kn_dispatch_add(&d, "nix", "nix", 1, 0);
		if (r == 0)
			r = drain(&d, &b, 10);
		kn_waiting_keep(&w, &c);
		if (r == 0)
			r = feed(&hold, &b, "e/f");
		if (r == 0)
			r = kn_courier_keep(&hold, 1, &index, err, sizeof(err));
		b.len = 0;
		kn_dispatch_done(&d);
		if (r == 0)
			r = kn_dispatch_add(&d, "d", "g/h", 0, KN_FILE_CLEAN);
		if (r == 0)
			r = drain(&d, &b, 10);
		if (r == 0)
			r = feed(&c, &b, NULL);
		if (r == 0)
			kn_courier_clean(&c, 1);
		wrong = wrong || (r != 0 && r != -ENOMEM && r != -EIO);
		kn_dispatch_done(&d);
		kn_courier_done(&c);
		kn_courier_done(&hold);
		kn_buf_done(&b);
		if (alloc_count < alloc_fail_at)
			break;
		system("rm -rf e g");
	}
	alloc_fail_at = 0;
	ok(!wrong, "every allocation may fail, and nothing else does");
	ok(there("e/f/a") && !there("g"), "at last none does");
	clear();
}

int
main(void)
{
	char folder[] = "/tmp/test_courier-XXXXXX";

	umask(022);
	if (mkdtemp(folder) == NULL || chdir(folder) < 0)
		return 99;
	test_far();
	for (int i = 0; i < 2; i++) {
		no_nameless = i == 0;
		test_whole();
		test_half();
		test_sync();
		test_large();
		test_folder();
		test_hold();
		test_hostile();
		test_broken();
		test_full();
		test_memory();
	}
	test_frame();
	test_missing();
	test_clean();
	test_remove();
	for (able = ABLE; able <= NO_LINKS; able++)
		test_waiting();
	able = ABLE;
	test_waiting_late();
	test_waiting_inside();
	test_waiting_shared();
	test_waiting_sent();
	test_waiting_forgotten();
	test_clean_meanwhile();
	is_int(rmdir(folder), 0, "nothing is left");
	return done_testing();
}
