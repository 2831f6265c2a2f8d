/* SPDX-License-Identifier: MIT */
/*
 * What comes over a connection between a coordinator and an agent: a greeting in any noise, frames cut anywhere,
 * their fields, OPEN.  The same bytes are understood in the same way however they are cut, nothing is
 * read beyond them, and what is understood can be said again.
 *
 * The bytes: how to cut, then either raw (0: a greeting, frames), or pieces of KIND, SIZE (two bytes) and a payload, which are
 * made into frames with a right check, so that the fields are reached.
 */
#include <errno.h>

#include "core/open.h"
#include "fuzz.h"

struct text {
	struct kn_buf bytes;
	int end;
};

static void
add(struct text *t, const void *data, size_t n)
{
	HOLDS(kn_buf_add(&t->bytes, data, n) == 0, "no memory");
}

/* ---- fields: what each kind has ------------------------------------------------------ */

/* u: u32, U: u64, i: i64, t: text, T: texts, R: result, r: rest. */
static const struct {
	char kind;
	const char *fields;
} layouts[] = {
	{ KN_FRAME_TASK_MORE, "r" },
	{ KN_FRAME_TASK, "UUuuTTT" },
	{ KN_FRAME_FILE, "UuiUtu" },
	{ KN_FRAME_DATA, "r" },
	{ KN_FRAME_KEPT, "Uu" },
	{ KN_FRAME_SIGNAL, "Uu" },
	{ KN_FRAME_PING, "U" },
	{ KN_FRAME_CLOSE, "" },
	{ KN_FRAME_HELLO, "ttuU" },
	{ KN_FRAME_READY, "u" },
	{ KN_FRAME_CREDIT, "uut" },
	{ KN_FRAME_BEGAN, "UU" },
	{ KN_FRAME_OUT, "Ur" },
	{ KN_FRAME_ERR, "Ur" },
	{ KN_FRAME_ENDED, "UU" },
	{ KN_FRAME_NOTE, "Ut" },
	{ KN_FRAME_RESULT, "URu" },
	{ KN_FRAME_RETURNED, "U" },
	{ KN_FRAME_PONG, "U" },
	{ KN_FRAME_REFUSED, "t" },
	{ KN_FRAME_BYE, "u" },
};

static void
text_in(const struct kn_frame *f, const struct kn_fields *fields, const char *s)
{
	HOLDS(fields->bad || (s >= f->payload && s + strlen(s) < f->payload + f->size), "a text outside");
	HOLDS(!fields->bad || s[0] == '\0' || s >= f->payload, "a text of nothing");
}

static void
field_get(const struct kn_frame *f, struct kn_fields *fields, char what, struct kn_buf *again)
{
	struct knee_result r;
	const char **texts, *s;
	size_t n;

	switch (what) {
	case 'u':
		HOLDS(kn_put_u32(again, kn_get_u32(fields)) == 0, "no memory");
		break;
	case 'U':
		HOLDS(kn_put_u64(again, kn_get_u64(fields)) == 0, "no memory");
		break;
	case 'i':
		HOLDS(kn_put_i64(again, kn_get_i64(fields)) == 0, "no memory");
		break;
	case 't':
		s = kn_get_text(fields);
		text_in(f, fields, s);
		HOLDS(kn_put_text(again, s) == 0, "no memory");
		break;
	case 'T':
		HOLDS(kn_get_texts(fields, &texts, &n) == 0, "no memory");
		HOLDS(n <= f->size / 5, "%zu texts", n);
		for (size_t i = 0; i < n && !fields->bad; i++)
			text_in(f, fields, texts[i]);
		HOLDS(kn_put_texts(again, texts, n) == 0, "no memory");
		free(texts);
		break;
	case 'R':
		kn_get_result(fields, &r);
		HOLDS((unsigned)r.outcome < KNEE_OUTCOMES && r.status >= 0 && r.status <= 255 &&
			r.error <= 0 && r.runtime_ns >= 0 && r.delay_ns >= 0 && r.peak_rss_bytes >= 0,
		    "a result that cannot be");
		HOLDS(kn_put_result(again, &r) == 0, "no memory");
		break;
	default:
		s = kn_get_rest(fields, &n);
		HOLDS(n == 0 || s + n == f->payload + f->size, "another rest");
		HOLDS(kn_buf_add(again, s, n) == 0, "no memory");
	}
}

static void
check_open(const struct kn_frame *f)
{
	struct kn_fields fields = kn_fields_of(f);
	struct kn_buf first = { 0 }, second = { 0 };
	struct kn_open o;
	int err = kn_open_get(&fields, &o);

	HOLDS(err == 0 || err == -EBADMSG, "%d", err);
	if (err < 0)
		return;
	HOLDS(o.nwords > 0 && o.nice >= 0 && o.nice < 40 && o.timeout_ns > 0 && fields.left == 0, "an OPEN");
	o.load_max = 0;
	HOLDS(kn_open_put(&first, &o) == 0, "no memory");
	kn_open_done(&o);
	fields = (struct kn_fields){ .at = first.data, .left = first.len };
	HOLDS(kn_open_get(&fields, &o) == 0, "what was put is not understood");
	HOLDS(kn_open_put(&second, &o) == 0, "no memory");
	HOLDS(first.len == second.len && memcmp(first.data, second.data, first.len) == 0, "another OPEN");
	kn_open_done(&o);
	kn_buf_done(&first);
	kn_buf_done(&second);
}

/* What was read without an error, put again, are the same bytes. */
static void
check_fields(const struct kn_frame *f)
{
	if (f->kind == KN_FRAME_OPEN)
		check_open(f);
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		struct kn_fields fields = kn_fields_of(f);
		struct kn_buf again = { 0 };

		if (layouts[i].kind != (char)f->kind)
			continue;
		for (const char *what = layouts[i].fields; *what != '\0'; what++)
			field_get(f, &fields, *what, &again);
		if (!fields.bad && fields.left == 0)
			HOLDS(again.len == f->size &&
				(f->size == 0 || memcmp(again.data, f->payload, f->size) == 0),
			    "other fields of %c", f->kind);
		kn_buf_done(&again);
	}
}

/* ---- the stream ------------------------------------------------------------------------- */

/* As a reader of a connection does it: what came is kept until it is whole. */
struct reader {
	struct kn_buf kept;
	const char *who; /* whose greeting is awaited; NULL: it was there */
	size_t noise;
};

static int
greeting(struct reader *r, struct text *t)
{
	unsigned protocol = 0;
	char version[KN_FRAME_GREETING_MOST] = "";
	size_t bytes = 0;
	int n =
	    kn_frame_greeting(r->who, r->kept.data, r->kept.len, &protocol, version, sizeof(version), &bytes);

	HOLDS(n == 0 || n == 1 || n == -EBADMSG, "%d", n);
	if (n < 0)
		return n;
	HOLDS(bytes <= r->kept.len, "%zu of %zu bytes", bytes, r->kept.len);
	if (n == 1) {
		for (const char *s = version; *s != '\0'; s++)
			HOLDS(*s > ' ' && *s <= '~', "a version with byte %d", *s);
		add(t, &protocol, sizeof(protocol));
		add(t, version, strlen(version) + 1);
		r->who = NULL;
	}
	kn_buf_drop(&r->kept, bytes);
	return n;
}

static int
frames(struct reader *r, struct text *t)
{
	struct kn_frame f;
	size_t bytes = 0;
	int n;

	while ((n = kn_frame_take(r->kept.data, r->kept.len, &f, &bytes)) == 1) {
		HOLDS(
		    bytes <= r->kept.len && f.size <= KN_FRAME_MOST && bytes == f.size + KN_FRAME_HEAD_BYTES,
		    "a size");
		check_fields(&f);
		add(t, r->kept.data, bytes);
		kn_buf_drop(&r->kept, bytes);
	}
	HOLDS(n == 0 || n == -EBADMSG, "%d", n);
	return n;
}

static struct text
understand(const char *who, const char *bytes, size_t size, size_t step)
{
	struct reader r = { .who = who };
	struct text t = { 0 };

	for (size_t at = 0; at < size && t.end == 0; at += step) {
		size_t n = size - at < step ? size - at : step;
		char *exact;

		HOLDS(kn_buf_add(&r.kept, bytes + at, n) == 0, "no memory");
		/* On the heap with not a byte more: a read beyond it is seen. */
		exact = malloc(r.kept.len);
		HOLDS(exact != NULL, "no memory");
		memcpy(exact, r.kept.data, r.kept.len);
		free(r.kept.data);
		r.kept.data = exact;
		r.kept.cap = r.kept.len;
		if (r.who != NULL && (t.end = greeting(&r, &t)) == 1)
			t.end = 0;
		if (r.who == NULL && t.end == 0)
			t.end = frames(&r, &t);
	}
	kn_buf_done(&r.kept);
	return t;
}

static void
check_stream(const char *who, const char *bytes, size_t size, size_t step)
{
	struct text whole = understand(who, bytes, size, size + 1), cut = understand(who, bytes, size, step);

	HOLDS(whole.end == cut.end, "%d and %d by %zu", whole.end, cut.end, step);
	HOLDS(whole.bytes.len == cut.bytes.len &&
		(whole.bytes.len == 0 || memcmp(whole.bytes.data, cut.bytes.data, whole.bytes.len) == 0),
	    "other frames by %zu", step);
	kn_buf_done(&whole.bytes);
	kn_buf_done(&cut.bytes);
}

/* Frames with a right check, of pieces. */
static void
frames_make(struct fuzz_bytes *b, struct kn_buf *to)
{
	while (b->size >= 3) {
		enum kn_frame_kind kind = (enum kn_frame_kind)fuzz_byte(b);
		size_t n = fuzz_u16(b), at;

		n = n < b->size ? n : b->size;
		HOLDS(kn_frame_begin(to, kind, &at) == 0, "no memory");
		HOLDS(kn_buf_add(to, b->data, n) == 0, "no memory");
		HOLDS(kn_frame_end(to, at) == 0, "a frame of %zu bytes", n);
		b->data += n;
		b->size -= n;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_bytes b = { bytes, size };
	size_t step = 1 + fuzz_byte(&b) % 64;
	uint8_t how = fuzz_byte(&b);
	struct kn_buf made = { 0 };

	if (how % 4 == 0) {
		check_stream(how & 4 ? "knee-agent" : "knee-coordinator", (const char *)b.data, b.size, step);
	} else if (how % 4 == 1) {
		check_stream(NULL, (const char *)b.data, b.size, step);
	} else {
		if (how % 4 == 2)
			HOLDS(kn_buf_adds(&made, "noise\nknee-agent 1 0.1\n") == 0, "no memory");
		frames_make(&b, &made);
		check_stream(how % 4 == 2 ? "knee-agent" : NULL, made.data, made.len, step);
	}
	kn_buf_done(&made);
	return 0;
}
