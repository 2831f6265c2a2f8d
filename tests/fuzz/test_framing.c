/* SPDX-License-Identifier: MIT */
/*
 * What workers write, and what knee as a worker reads: any bytes, cut anywhere.  The same bytes are
 * understood in the same way however they are cut, and requests that were put come back.
 */
#include <errno.h>

#include "core/framing.h"
#include "fuzz.h"

#define ARGS_MAX 20

/* Whose bytes, and where an answer ends. */
struct text {
	struct kn_buf bytes;
	int end; /* as kn_answers_take() at the end, or 1: between two answers */
};

static void
text_add(struct text *t, const struct kn_piece *p)
{
	HOLDS(p->status >= -4095 && p->status <= 255, "status %d", p->status);
	for (size_t i = 0; i < p->size; i++) {
		HOLDS(kn_buf_addc(&t->bytes, "oep"[p->kind]) == 0, "no memory");
		HOLDS(kn_buf_addc(&t->bytes, p->data[i]) == 0, "no memory");
	}
	if (p->end) {
		HOLDS(kn_buf_addc(&t->bytes, '=') == 0, "no memory");
		HOLDS(kn_buf_add(&t->bytes, &p->status, sizeof(p->status)) == 0, "no memory");
	}
}

static struct text
understand(enum knee_framing framing, const char *bytes, size_t size, size_t step)
{
	struct kn_answers a = { .framing = framing };
	struct text t = { 0 };
	int n = 0;

	for (size_t at = 0; at < size && n == 0; at += step) {
		size_t left = size - at < step ? size - at : step;
		/* A copy of its own: a read beyond it is seen. */
		char *copy = fuzz_copy(bytes + at, left);
		const char *data = copy;
		struct kn_piece p;

		while ((n = kn_answers_take(&a, &data, &left, &p)) == 1)
			text_add(&t, &p);
		HOLDS(n == 0 || n == -EPROTO, "%d", n);
		HOLDS(n < 0 || left == 0, "%zu bytes are left", left);
		free(copy);
	}
	t.end = n < 0 ? n : kn_answers_between(&a);
	return t;
}

static void
check_answers(enum knee_framing framing, const char *bytes, size_t size, size_t step)
{
	struct text whole = understand(framing, bytes, size, size + 1);
	struct text cut = understand(framing, bytes, size, step);

	HOLDS(whole.end == cut.end, "%d and %d by %zu", whole.end, cut.end, step);
	HOLDS(whole.bytes.len == cut.bytes.len &&
		(whole.bytes.len == 0 || memcmp(whole.bytes.data, cut.bytes.data, whole.bytes.len) == 0),
	    "other pieces by %zu", step);
	kn_buf_done(&whole.bytes);
	kn_buf_done(&cut.bytes);
}

/* Any bytes as the first line of a request, and what follows. */
static void
check_request(const char *bytes, size_t size)
{
	char *copy = fuzz_copy(bytes, size);
	struct kn_request_head head;
	const char **args;

	if (kn_request_head(copy, size, &head) == 1) {
		HOLDS(head.head_bytes <= size && head.nargs <= head.body_bytes, "%zu arguments", head.nargs);
		if (head.body_bytes <= size - head.head_bytes) {
			args = calloc(head.nargs + 1, sizeof(*args));
			HOLDS(args != NULL, "no memory");
			if (kn_request_args(&head, copy + head.head_bytes, args) == 0)
				for (size_t i = 0; i < head.nargs; i++)
					HOLDS(args[i] + strlen(args[i]) < copy + size, "argument %zu", i);
			free(args);
		}
	}
	free(copy);
}

/* A request that was put comes back. */
static void
check_put(struct fuzz_bytes *b)
{
	struct fuzz_words w = fuzz_words(b, ARGS_MAX);
	const struct kn_request r = {
		.seq = w.n, .attempt = 1, .args = (const char *const *)w.words, .nargs = w.n
	};
	struct kn_request_head head;
	struct kn_buf to = { 0 };
	const char *args[ARGS_MAX];

	HOLDS(kn_request_put(&r, &to) == 0, "no memory");
	HOLDS(kn_request_head(to.data, to.len, &head) == 1, "no head");
	HOLDS(head.seq == w.n && head.nargs == w.n && head.head_bytes + head.body_bytes == to.len, "sizes");
	HOLDS(kn_request_args(&head, to.data + head.head_bytes, args) == 0, "no arguments");
	for (size_t i = 0; i < w.n; i++)
		HOLDS(strcmp(args[i], w.words[i]) == 0, "argument %zu", i);
	kn_buf_done(&to);
	fuzz_words_free(&w);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_bytes b = { bytes, size };
	enum knee_framing framing = (enum knee_framing)(fuzz_byte(&b) % (KNEE_FRAMING_PLUGIN + 1));
	size_t step = 1 + fuzz_byte(&b) % 64;

	check_answers(framing, (const char *)b.data, b.size, step);
	check_request((const char *)b.data, b.size);
	check_put(&b);
	return 0;
}
