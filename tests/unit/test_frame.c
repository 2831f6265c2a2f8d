/* SPDX-License-Identifier: MIT */
/* Frames, greetings and OPEN: what is put comes back; what is cut is waited for, and what is changed is noticed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/core/open.h"
#include "alloc.h"
#include "tap.h"

static const char kinds[] = "OMTFDKSPXHYCBoeENRGQJZ";

/* A payload with each sort of field. */
static int
fields_put(struct kn_buf *b)
{
	static const char *const texts[] = { "", "a b", "\xff\x01" };
	const struct knee_result r = { .outcome = KNEE_SIGNALED,
		.status = 9,
		.error = -2,
		.runtime_ns = 1,
		.cpu_user_ns = 2,
		.cpu_sys_ns = 3,
		.peak_rss_bytes = 4,
		.disk_read_bytes = 5,
		.disk_written_bytes = 6,
		.waits = 7,
		.switches = 8,
		.io_bytes = 9,
		.disk_bytes = 10,
		.tree_rss_bytes = 11,
		.delay_ns = INT64_MAX };
	int err = kn_put_u8(b, 255);

	if (err == 0)
		err = kn_put_u32(b, UINT32_MAX - 1);
	if (err == 0)
		err = kn_put_u64(b, UINT64_MAX - 1);
	if (err == 0)
		err = kn_put_i64(b, INT64_MIN);
	if (err == 0)
		err = kn_put_text(b, "text");
	if (err == 0)
		err = kn_put_text(b, NULL);
	if (err == 0)
		err = kn_put_texts(b, texts, 3);
	if (err == 0)
		err = kn_put_result(b, &r);
	return err == 0 ? kn_buf_add(b, "re\0st", 5) : err;
}

static void
fields_check(struct kn_fields f)
{
	struct knee_result r;
	const char **texts = NULL, *rest;
	size_t n = 0;

	is_int(kn_get_u8(&f), 255, "u8");
	is_int(kn_get_u32(&f), UINT32_MAX - 1, "u32");
	ok(kn_get_u64(&f) == UINT64_MAX - 1, "u64");
	ok(kn_get_i64(&f) == INT64_MIN, "i64");
	is_str(kn_get_text(&f), "text", "text");
	is_str(kn_get_text(&f), "", "no text");
	is_int(kn_get_texts(&f, &texts, &n), 0, "texts");
	is_int(n, 3, "three");
	is_str(n == 3 ? texts[1] : NULL, "a b", "the second");
	is_str(n == 3 ? texts[2] : NULL, "\xff\x01", "the third");
	free(texts);
	kn_get_result(&f, &r);
	ok(r.outcome == KNEE_SIGNALED && r.status == 9 && r.error == -2 && r.runtime_ns == 1 &&
		r.cpu_user_ns == 2 && r.cpu_sys_ns == 3 && r.peak_rss_bytes == 4 && r.disk_read_bytes == 5 &&
		r.disk_written_bytes == 6 && r.waits == 7 && r.switches == 8 && r.io_bytes == 9 &&
		r.disk_bytes == 10 && r.tree_rss_bytes == 11 && r.delay_ns == INT64_MAX,
	    "a result");
	rest = kn_get_rest(&f, &n);
	is_mem(rest, n, "re\0st", 5, "the rest");
	ok(!f.bad, "all is well");
	is_int(kn_get_u8(&f), 0, "there is no more");
	ok(f.bad, "which is noticed");
}

static int
frame_put(struct kn_buf *b, enum kn_frame_kind kind)
{
	size_t at;
	int err = kn_frame_begin(b, kind, &at);

	if (err == 0)
		err = fields_put(b);
	return err == 0 ? kn_frame_end(b, at) : err;
}

/* Bytes on the heap, not one more than there are: a read beyond them is seen. */
static int
take(const char *data, size_t size, struct kn_frame *f, size_t *bytes)
{
	char *copy = malloc(size > 0 ? size : 1);
	int n;

	memcpy(copy, data, size);
	n = kn_frame_take(copy, size, f, bytes);
	free(copy);
	return n;
}

static void
test_kinds(void)
{
	for (const char *k = kinds; *k != '\0'; k++) {
		struct kn_buf b = { 0 };
		struct kn_frame f;
		size_t bytes;

		is_int(frame_put(&b, (enum kn_frame_kind) * k), 0, "a frame of kind %c", *k);
		is_int(kn_frame_take(b.data, b.len, &f, &bytes), 1, "comes back");
		is_int(f.kind, *k, "as that kind");
		is_int(bytes, b.len, "as long as it was");
		if (k == kinds)
			fields_check(kn_fields_of(&f));
		kn_buf_done(&b);
	}
	for (int k = 0; k < 256; k++) {
		struct kn_buf b = { 0 };
		struct kn_frame f;
		size_t bytes;
		bool known = k != 0 && strchr(kinds, k) != NULL;

		(void)kn_frame_empty(&b, (enum kn_frame_kind)k);
		if (kn_frame_take(b.data, b.len, &f, &bytes) != (known ? 1 : -EBADMSG))
			fail("kind %d", k);
		kn_buf_done(&b);
	}
	pass("no other kind does");
}

static void
test_cut_and_changed(void)
{
	struct kn_buf b = { 0 };
	struct kn_frame f;
	size_t bytes, wrong = 0;

	(void)frame_put(&b, KN_FRAME_TASK);
	for (size_t n = 0; n < b.len; n++)
		wrong += take(b.data, n, &f, &bytes) != 0;
	is_int(wrong, 0, "what is cut short is waited for, wherever");
	for (size_t bit = 0; bit < b.len * 8; bit++) {
		b.data[bit / 8] ^= (char)(1 << bit % 8);
		/* A longer one is waited for; it would not fit its check either. */
		wrong += take(b.data, b.len, &f, &bytes) == 1;
		b.data[bit / 8] ^= (char)(1 << bit % 8);
	}
	is_int(wrong, 0, "each bit that is changed is noticed");
	is_int(take(b.data, b.len, &f, &bytes), 1, "unchanged it is taken");
	memcpy(b.data, "\x01\0\x04\0", 4);
	is_int(
	    take(b.data, b.len, &f, &bytes), -EBADMSG, "one that is too long is refused by its first bytes");
	memcpy(b.data, "\xff\xff\xff\xff", 4);
	is_int(take(b.data, 8, &f, &bytes), -EBADMSG, "and so is the longest");
	kn_buf_done(&b);
}

/* Fields are read from any bytes, and never beyond them. */
static void
test_fields_cut(void)
{
	struct kn_buf b = { 0 };
	size_t wrong = 0;

	(void)fields_put(&b);
	for (size_t n = 0; n < b.len - 5; n++) {
		char *copy = malloc(n > 0 ? n : 1);
		struct kn_fields f = { .at = copy, .left = n };
		struct knee_result r;
		const char **texts = NULL;
		size_t count;

		memcpy(copy, b.data, n);
		(void)kn_get_u8(&f), (void)kn_get_u32(&f), (void)kn_get_u64(&f), (void)kn_get_i64(&f);
		(void)kn_get_text(&f), (void)kn_get_text(&f);
		wrong += kn_get_texts(&f, &texts, &count) != 0;
		free(texts);
		kn_get_result(&f, &r);
		wrong += !f.bad || r.status != 0;
		free(copy);
	}
	is_int(wrong, 0, "fields that are cut short are bad");
	kn_buf_done(&b);
}

static void
test_bad_fields(void)
{
	static const struct {
		const char *bytes;
		size_t size;
		const char *name;
	} texts[] = {
		{ "\x01\0\0\0a", 5, "without its NUL" },
		{ "\x01\0\0\0ab", 6, "with something else there" },
		{ "\x03\0\0\0a\0b\0", 8, "with a NUL inside" },
		{ "\xff\xff\xff\xff"
		  "a",
		    5, "as long as can be" },
		{ "\x05\0\0\0a\0", 6, "longer than there is" },
	};
	static const char many[] = "\xff\xff\xff\x7f\0\0\0\0\0";
	static const struct {
		size_t at;
		int64_t v;
	} results[] = { { 0, -1 }, { 0, KNEE_OUTCOMES }, { 1, 256 }, { 1, -1 }, { 2, 1 }, { 2, -4096 },
		{ 3, -1 }, { 14, -1 }, { 6, INT64_MIN } };
	struct kn_fields f;
	const char **list = NULL;
	size_t n = 1;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		f = (struct kn_fields){ .at = texts[i].bytes, .left = texts[i].size };
		is_str(kn_get_text(&f), "", "a text %s", texts[i].name);
		ok(f.bad && f.left == 0, "is bad");
	}
	f = (struct kn_fields){ .at = many, .left = 9 };
	is_int(kn_get_texts(&f, &list, &n), 0, "more texts than there can be");
	ok(f.bad && n == 0, "are bad, and none, and no memory is taken for them");
	free(list);
	for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
		struct kn_buf b = { 0 };
		struct knee_result r;

		for (size_t k = 0; k < 15; k++)
			(void)kn_put_i64(&b, k == results[i].at ? results[i].v : 0);
		f = (struct kn_fields){ .at = b.data, .left = b.len };
		kn_get_result(&f, &r);
		ok(f.bad, "a result whose number %zu is %lld", results[i].at, (long long)results[i].v);
		kn_buf_done(&b);
	}
}

static void
test_too_long(void)
{
	struct kn_buf b = { 0 };
	char *data = calloc(1, KN_FRAME_MOST + 1);
	struct kn_frame f;
	size_t bytes;

	(void)kn_frame_empty(&b, KN_FRAME_CLOSE);
	is_int(kn_frame_bytes(&b, KN_FRAME_DATA, NULL, data, KN_FRAME_MOST + 1), -EMSGSIZE, "too long");
	is_int(b.len, KN_FRAME_HEAD_BYTES, "nothing of it is left");
	is_int(kn_frame_bytes(&b, KN_FRAME_DATA, NULL, data, KN_FRAME_MOST), 0, "the longest");
	is_int(kn_frame_take(b.data + KN_FRAME_HEAD_BYTES, b.len - KN_FRAME_HEAD_BYTES, &f, &bytes), 1,
	    "is taken");
	is_int(f.size, KN_FRAME_MOST, "as it is");
	free(data);
	kn_buf_done(&b);
}

/* ---- the greeting -------------------------------------------------------------------- */

static void
greeting(const char *data, int want, unsigned protocol, const char *version, size_t bytes)
{
	char got[32] = "";
	unsigned number = 0;
	size_t n = 0, wrong = 0;
	int err = kn_frame_greeting("knee-agent", data, strlen(data), &number, got, sizeof(got), &n);

	is_int(err, want, "greeting: %.40s", data);
	if (want >= 0)
		is_int(n, bytes, "how much may be dropped");
	if (want != 1)
		return;
	is_int(number, protocol, "the protocol");
	is_str(got, version, "the version");
	for (size_t i = 0; i < bytes; i++)
		wrong += kn_frame_greeting("knee-agent", data, i, &number, got, sizeof(got), &n) != 0;
	is_int(wrong, 0, "cut short it is waited for");
}

static void
test_greeting(void)
{
	char line[300];

	greeting("knee-agent 1 0.2.0\nrest", 1, 1, "0.2.0", 19);
	greeting("knee-agent 1 0.2.0\r\n", 1, 1, "0.2.0", 20);
	greeting("Welcome to knee-agent 1 2\n\nknee-agent 12 x\n", 1, 12, "x", 43);
	greeting("Last login: today\nWelcome", 0, 0, "", 18);
	greeting("", 0, 0, "", 0);
	greeting("knee-agents 1 2\n", 0, 0, "", 16);
	greeting("knee-agent 1\n", -EBADMSG, 0, "", 0);
	greeting("knee-agent 1 \n", -EBADMSG, 0, "", 0);
	greeting("knee-agent one 2\n", -EBADMSG, 0, "", 0);
	greeting("knee-agent 12345678 2\n", -EBADMSG, 0, "", 0);
	greeting("knee-agent 1 a b\n", -EBADMSG, 0, "", 0);
	greeting("knee-agent 1 a\x1b[2J\n", -EBADMSG, 0, "", 0);
	greeting("knee-agent 1 1234567890123456789012345678901234567890\n", -EBADMSG, 0, "", 0);
	memset(line, 'a', sizeof(line));
	memcpy(line, "knee-agent 1 ", 13);
	line[sizeof(line) - 1] = '\0';
	greeting(line, -EBADMSG, 0, "", 0);
}

/* ---- OPEN -------------------------------------------------------------------------------- */

static const char *const words[] = { "echo", "{}", "" };
static const char *const names[] = { "id", "name" };
static const char *const envs[] = { "A=1", "B=" };
static const char *const dials[] = { "10.0.0.1:4000", "[::1]:5" };

static struct kn_open
open_full(void)
{
	return (struct kn_open){ .words = (const char **)(uintptr_t)words,
		.nwords = 3,
		.template = { .replacement = "{}", .parens = NULL, .names = names, .nnames = 2, .flags = 5 },
		.worker = (const char **)(uintptr_t)names,
		.nworker = 2,
		.framing = KNEE_FRAMING_PLUGIN,
		.env = (const char **)(uintptr_t)envs,
		.nenv = 2,
		.slot_var = "SLOT",
		.shell = "/bin/sh",
		.dir = "...",
		.host = "web1",
		.login = "me@web1",
		.nice = 39,
		.limit = 1,
		.limit_min = 2,
		.limit_max = UINT32_MAX,
		.kind = (enum knee_kind)(KNEE_KINDS - 1),
		.load_max = 1.5,
		.memfree_bytes = UINT64_MAX,
		.memsuspend_bytes = 7,
		.noswap = true,
		.learn = true,
		.jobs = "50%",
		.load = "+2",
		.timeout_ns = 30000000000,
		.dial = (const char **)(uintptr_t)dials,
		.ndial = 2,
		.token = "secret" };
}

static bool
same_list(const char **a, size_t na, const char **b, size_t nb)
{
	bool same = na == nb;

	for (size_t i = 0; i < na && same; i++)
		same = strcmp(a[i], b[i]) == 0;
	return same;
}

static bool
same(const struct kn_open *a, const struct kn_open *b)
{
	return same_list(a->words, a->nwords, b->words, b->nwords) &&
	    same_list(a->worker, a->nworker, b->worker, b->nworker) &&
	    same_list(a->env, a->nenv, b->env, b->nenv) && same_list(a->dial, a->ndial, b->dial, b->ndial) &&
	    same_list((const char **)(uintptr_t)a->template.names, a->template.nnames,
		(const char **)(uintptr_t)b->template.names, b->template.nnames) &&
	    strcmp(a->template.replacement, b->template.replacement) == 0 && a->template.parens == NULL &&
	    b->template.parens == NULL && a->template.flags == b->template.flags &&
	    a->framing == b->framing && strcmp(a->slot_var, b->slot_var) == 0 &&
	    strcmp(a->shell, b->shell) == 0 && strcmp(a->dir, b->dir) == 0 && strcmp(a->host, b->host) == 0 &&
	    strcmp(a->login, b->login) == 0 && a->nice == b->nice && a->limit == b->limit &&
	    a->limit_min == b->limit_min && a->limit_max == b->limit_max && a->kind == b->kind &&
	    a->load_max == b->load_max && a->memfree_bytes == b->memfree_bytes &&
	    a->memsuspend_bytes == b->memsuspend_bytes && a->noswap == b->noswap && a->learn == b->learn &&
	    strcmp(a->jobs, b->jobs) == 0 && strcmp(a->load, b->load) == 0 &&
	    a->timeout_ns == b->timeout_ns && strcmp(a->token, b->token) == 0;
}

static int
open_get(const char *data, size_t n, struct kn_open *ret)
{
	struct kn_fields f = { .at = data, .left = n };

	return kn_open_get(&f, ret);
}

static void
test_open(void)
{
	struct kn_open o = open_full(), got;
	struct kn_buf b = { 0 };
	size_t wrong = 0;

	is_int(kn_open_put(&b, &o), 0, "OPEN is put");
	is_int(open_get(b.data, b.len, &got), 0, "and comes back");
	ok(same(&o, &got), "as it was");
	kn_open_done(&got);
	for (size_t n = 0; n < b.len; n++) {
		char *copy = malloc(n > 0 ? n : 1);

		memcpy(copy, b.data, n);
		wrong += open_get(copy, n, &got) != -EBADMSG;
		free(copy);
	}
	is_int(wrong, 0, "cut short anywhere it is refused");
	(void)kn_buf_addc(&b, '\0');
	is_int(open_get(b.data, b.len, &got), -EBADMSG, "and so it is with a byte more");
	kn_buf_done(&b);
}

static void
test_open_bad(void)
{
	for (unsigned i = 0; i < 7; i++) {
		static const char *const why[] = { "no words", "an unknown framing", "an unknown kind",
			"nice 40", "nice -1", "no time-out", "a time-out of centuries" };
		struct kn_open o = open_full(), got;
		struct kn_buf b = { 0 };

		o.nwords = i == 0 ? 0 : o.nwords;
		o.framing = i == 1 ? (enum knee_framing)(KNEE_FRAMING_PLUGIN + 1) : o.framing;
		o.kind = i == 2 ? KNEE_KINDS : o.kind;
		o.nice = i == 3 ? 40 : i == 4 ? -1 : o.nice;
		o.timeout_ns = i == 5 ? 0 : i == 6 ? UINT64_MAX : o.timeout_ns;
		(void)kn_open_put(&b, &o);
		is_int(open_get(b.data, b.len, &got), -EBADMSG, "%s", why[i]);
		kn_buf_done(&b);
	}
}

/* ---- no memory ---------------------------------------------------------------------------------- */

static int
all(void)
{
	struct kn_open o = open_full(), got;
	struct kn_buf b = { 0 };
	struct kn_frame f;
	struct kn_fields fields;
	const uint64_t id = 7;
	size_t at = 0, bytes = 0;
	int err = kn_frame_begin(&b, KN_FRAME_OPEN, &at);

	if (err == 0)
		err = kn_open_put(&b, &o);
	if (err == 0)
		err = kn_frame_end(&b, at);
	if (err == 0)
		err = kn_frame_take(b.data, b.len, &f, &bytes) == 1 ? 0 : -EBADMSG;
	if (err == 0) {
		fields = kn_fields_of(&f);
		err = kn_open_get(&fields, &got);
	}
	if (err == 0) {
		kn_open_done(&got);
		err = frame_put(&b, KN_FRAME_TASK);
	}
	if (err == 0)
		err = kn_frame_u64(&b, KN_FRAME_PING, 1);
	at = b.len;
	if (err == 0)
		err = kn_frame_bytes(&b, KN_FRAME_OUT, &id, words, sizeof(words));
	if (err < 0 && at > 0 && b.len > at)
		fail("half a frame is left");
	kn_buf_done(&b);
	return err;
}

static void
test_memory(void)
{
	size_t wrong = 0;

	for (alloc_fail_at = 1;; alloc_fail_at++) {
		int err;

		alloc_count = 0;
		err = all();
		if (alloc_count < alloc_fail_at)
			break;
		wrong += err != -ENOMEM;
	}
	is_int(wrong, 0, "each of %zu allocations may fail", (size_t)alloc_fail_at - 1);
	alloc_fail_at = 0;
}

int
main(void)
{
	test_kinds();
	test_cut_and_changed();
	test_fields_cut();
	test_bad_fields();
	test_too_long();
	test_greeting();
	test_open();
	test_open_bad();
	test_memory();
	return done_testing();
}
