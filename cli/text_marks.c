/* SPDX-License-Identifier: MIT */
#include "text_marks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

void
text_marks_done(struct text_marks *m)
{
	free(m->list);
	*m = (struct text_marks){ 0 };
}

/* Room for one more; what has been told moves out of the way once it is most of the list. */
static int
marks_reserve(struct text_marks *m)
{
	size_t cap = m->cap > 0 ? 2 * m->cap : 64;
	struct text_mark *list;

	if (m->head > m->n - m->head) {
		m->n -= m->head;
		memmove(m->list, m->list + m->head, m->n * sizeof(*m->list));
		m->placed[0] -= m->head;
		m->placed[1] -= m->head;
		m->head = 0;
	}
	if (m->n < m->cap)
		return 0;
	list = reallocarray(m->list, cap, sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	m->list = list;
	m->cap = cap;
	return 0;
}

int
text_marks_add(struct text_marks *m, uint64_t seq, const struct writer *out, const struct writer *err)
{
	if (marks_reserve(m) < 0)
		return say_error(ENOMEM, "%s", strerror(ENOMEM));
	m->list[m->n++] = (struct text_mark){ .seq = seq, .at = { out->taken, err->taken } };
	text_marks_written(m, 0, out);
	text_marks_written(m, 1, err);
	return 0;
}

void
text_marks_written(struct text_marks *m, size_t stream, const struct writer *w)
{
	while (m->placed[stream] < m->n) {
		uint64_t *at = &m->list[m->placed[stream]].at[stream];

		if (*at > w->written)
			break;
		*at += w->others;
		m->placed[stream]++;
	}
}

void
text_marks_tell(struct text_marks *m)
{
	size_t end = m->placed[0] < m->placed[1] ? m->placed[0] : m->placed[1];

	while (m->head < end) {
		const struct text_mark *mark = &m->list[m->head++];

		knee_journal_printed(m->journal, mark->seq, mark->at[0], mark->at[1]);
	}
}
