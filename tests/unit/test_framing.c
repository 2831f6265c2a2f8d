/* SPDX-License-Identifier: MIT */
/* Records and answers: byte for byte, in pieces of any size, and what is none. */
#include "framing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "tap.h"

/* What was understood: "o:text" "e:text" "p:text" joined, and "=STATUS;" at an end, "|" at a part's. */
static int
understand(enum knee_framing framing, const char *bytes, size_t size, size_t step, struct kn_buf *to)
{
	struct kn_answers a = { .framing = framing };
	int last = -1, n = 0;

	for (size_t at = 0; at < size && n >= 0; at += step) {
		const char *data = bytes + at;
		size_t left = size - at < step ? size - at : step;
		struct kn_piece p;

		while ((n = kn_answers_take(&a, &data, &left, &p)) == 1) {
			if ((int)p.kind != last && p.size > 0)
				(void)kn_buf_adds(to,
				    p.kind == KN_PIECE_OUT     ? "o:" :
					p.kind == KN_PIECE_ERR ? "e:" :
								 "p:");
			last = p.size > 0 ? (int)p.kind : last;
			(void)kn_buf_add(to, p.data, p.size);
			if (p.kind == KN_PIECE_PART && p.item_end)
				(void)kn_buf_addc(to, '|');
			if (!p.end)
				continue;
			last = -1;
			(void)kn_buf_adds(to, p.status < 0 ? "=-" : "=");
			(void)kn_buf_addu(to, (unsigned long long)abs(p.status));
			(void)kn_buf_addc(to, ';');
		}
		if (n == 0)
			ok(left == 0, "all bytes are taken");
	}
	(void)kn_buf_addc(to, '\0');
	if (n < 0)
		return n;
	return kn_answers_between(&a) ? 1 : 0;
}

static void
answers(enum knee_framing framing, const char *bytes, size_t size, int want, const char *text)
{
	for (size_t step = 1; step <= size; step += step < 4 ? 1 : size) {
		struct kn_buf got = { 0 };

		is_int(understand(framing, bytes, size, step, &got), want, "%s by %zu", text, step);
		if (want >= 0)
			is_str(got.data, text, "%s by %zu", text, step);
		kn_buf_done(&got);
	}
}

#define ANSWERS(framing, bytes, want, text) answers(framing, bytes, sizeof(bytes) - 1, want, text)

static void
test_answers(void)
{
	ANSWERS(KNEE_FRAMING_LINE, "one\ntwo\n", 1, "o:one\n=0;o:two\n=0;");
	ANSWERS(KNEE_FRAMING_LINE, "\n\n", 1, "o:\n=0;o:\n=0;");
	ANSWERS(KNEE_FRAMING_LINE, "one\ntw", 0, "o:one\n=0;o:tw");
	ANSWERS(KNEE_FRAMING_LENGTH, "3\na\nb0\n2 7\nxy", 1, "o:a\nb=0;=0;o:xy=7;");
	ANSWERS(KNEE_FRAMING_LENGTH, "3\na", 0, "o:a");
	ANSWERS(KNEE_FRAMING_LENGTH, "1 255\na12", 0, "o:a=255;");
	ANSWERS(KNEE_FRAMING_PLUGIN, "o3\nabce1\nxp2\nABp0\nd1\n0d3\n255", 1, "o:abce:xp:AB||=0;=255;");
	ANSWERS(KNEE_FRAMING_PLUGIN, "d3\n-12", 1, "=-12;");
	ANSWERS(KNEE_FRAMING_PLUGIN, "o3\nabc", 0, "o:abc");
	{
		struct kn_buf got = { 0 };

		is_int(understand(KNEE_FRAMING_NUL, "a\nb\0c\0", 6, 6, &got), 1, "NUL");
		is_mem(got.data, got.len, "o:a\nb\0=0;o:c\0=0;\0", 17, "both answers");
		kn_buf_done(&got);
	}
}

static void
test_garbage(void)
{
	ANSWERS(KNEE_FRAMING_LENGTH, "\n", -EPROTO, "no number");
	ANSWERS(KNEE_FRAMING_LENGTH, "x", -EPROTO, "a letter");
	ANSWERS(KNEE_FRAMING_LENGTH, "-1\n", -EPROTO, "a sign");
	ANSWERS(KNEE_FRAMING_LENGTH, "1 \na", -EPROTO, "a blank and no status");
	ANSWERS(KNEE_FRAMING_LENGTH, "1  2\na", -EPROTO, "two blanks");
	ANSWERS(KNEE_FRAMING_LENGTH, " 1\na", -EPROTO, "a blank before");
	ANSWERS(KNEE_FRAMING_LENGTH, "1 256\na", -EPROTO, "status 256");
	ANSWERS(KNEE_FRAMING_LENGTH, "1 2 3\na", -EPROTO, "three numbers");
	ANSWERS(KNEE_FRAMING_LENGTH, "99999999999999999999\n", -EPROTO, "20 digits");
	ANSWERS(KNEE_FRAMING_LENGTH, "9999999999999999999\n", -EPROTO, "above INT64_MAX");
	ANSWERS(KNEE_FRAMING_LENGTH, "1                                             ", -EPROTO, "no end");
	ANSWERS(KNEE_FRAMING_PLUGIN, "q1\na", -EPROTO, "an unknown letter");
	ANSWERS(KNEE_FRAMING_PLUGIN, "d0\n", -EPROTO, "no status");
	ANSWERS(KNEE_FRAMING_PLUGIN, "d1\nx", -EPROTO, "a status that is none");
	ANSWERS(KNEE_FRAMING_PLUGIN, "d3\n256", -EPROTO, "status 256 of a plugin");
	ANSWERS(KNEE_FRAMING_PLUGIN, "d5\n-4096", -EPROTO, "no errno");
	ANSWERS(KNEE_FRAMING_PLUGIN, "d6\n000000", -EPROTO, "a long status");
	ANSWERS(KNEE_FRAMING_PLUGIN, "o\n", -EPROTO, "an item without a size");
}

static void
test_requests(void)
{
	struct kn_buf b = { 0 };

	is_int(kn_framing_request(KNEE_FRAMING_LINE, "a b", 3, &b), 0, "a line");
	is_int(kn_framing_request(KNEE_FRAMING_LINE, "", 0, &b), 0, "an empty one");
	is_int(kn_framing_request(KNEE_FRAMING_LINE, "a\nb", 3, &b), -EILSEQ, "a newline cannot be sent");
	is_int(kn_framing_request(KNEE_FRAMING_NUL, "a\nb", 3, &b), 0, "but ended by NUL");
	is_int(kn_framing_request(KNEE_FRAMING_NUL, "a\0b", 3, &b), -EILSEQ, "which cannot be sent then");
	is_int(kn_framing_request(KNEE_FRAMING_LENGTH, "a\0\n", 3, &b), 0, "with its size anything can");
	is_mem(b.data, b.len, "a b\n\na\nb\0003\na\0\n", 14, "byte for byte");
	kn_buf_done(&b);
}

static void
test_plugin_request(void)
{
	const char *args[] = { "ab", "", "c\n" };
	const struct kn_request r = { .seq = 7, .attempt = 2, .args = args, .nargs = 3 };
	struct kn_request_head head;
	struct kn_buf b = { 0 };
	const char *got[3];

	is_int(kn_request_put(&r, &b), 0, "put");
	is_mem(b.data, b.len, "r7 2 3 7\nab\0\0c\n\0", 16, "byte for byte");
	for (size_t n = 0; n < 9; n++)
		is_int(kn_request_head(b.data, n, &head), 0, "its line is not whole after %zu", n);
	is_int(kn_request_head(b.data, b.len, &head), 1, "its line");
	ok(head.seq == 7 && head.attempt == 2 && head.nargs == 3, "the numbers");
	is_int(head.head_bytes, 9, "its size");
	is_int(head.body_bytes, 7, "and of what follows");
	is_int(kn_request_args(&head, b.data + 9, got), 0, "the arguments");
	for (size_t i = 0; i < 3; i++)
		is_str(got[i], args[i], "argument %zu", i);
	head.nargs = 2;
	is_int(kn_request_args(&head, b.data + 9, got), -EPROTO, "one too many");
	head.body_bytes = 6;
	is_int(kn_request_args(&head, b.data + 9, got), -EPROTO, "the last without its end");
	is_int(kn_request_head("r1 1 2 1\n", 9, &head), -EPROTO, "more arguments than bytes");
	is_int(kn_request_head("r1 1 0 0 \n", 10, &head), -EPROTO, "a blank too many");
	is_int(kn_request_head("x", 1, &head), -EPROTO, "another letter");
	is_int(kn_request_head("r1 1 0\n", 7, &head), -EPROTO, "a number too few");
	b.len = 0;
	is_int(kn_request_put(&(struct kn_request){ .seq = 1, .attempt = 1 }, &b), 0, "no argument");
	is_mem(b.data, b.len, "r1 1 0 0\n", 9, "byte for byte");
	kn_buf_done(&b);
}

static void
test_items(void)
{
	struct kn_buf b = { 0 };

	is_int(kn_item_put('o', "a\n", 2, &b), 0, "bytes");
	is_int(kn_item_put('p', NULL, 0, &b), 0, "none");
	is_int(kn_item_put('d', "0", 1, &b), 0, "the end");
	is_mem(b.data, b.len, "o2\na\np0\nd1\n0", 12, "byte for byte");
	kn_buf_done(&b);
}

/* Without memory nothing is half put. */
static void
test_memory(void)
{
	const char *args[] = { "abcdefgh", "ijkl" };
	const struct kn_request r = { .seq = 1, .attempt = 1, .args = args, .nargs = 2 };
	struct kn_buf b;

	for (alloc_fail_at = 1;; alloc_fail_at++) {
		size_t before = 0;
		int err;

		b = (struct kn_buf){ 0 };
		alloc_count = 0;
		err = kn_request_put(&r, &b);
		if (err == 0) {
			before = b.len;
			err =
			    kn_framing_request(KNEE_FRAMING_LENGTH, "a record that needs more room", 29, &b);
		}
		ok(err == 0 || (err == -ENOMEM && b.len == before), "allocation %zu fails", alloc_fail_at);
		kn_buf_done(&b);
		if (alloc_count < alloc_fail_at)
			break;
	}
	alloc_fail_at = 0;
}

int
main(void)
{
	test_answers();
	test_garbage();
	test_requests();
	test_plugin_request();
	test_items();
	test_memory();
	return done_testing();
}
