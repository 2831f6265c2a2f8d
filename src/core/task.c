/* SPDX-License-Identifier: MIT */
#include "task.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

void
kn_list_append(struct kn_list *l, struct kn_task *t)
{
	t->next = NULL;
	t->prev = l->last;
	if (l->last != NULL)
		l->last->next = t;
	else
		l->first = t;
	l->last = t;
	l->len++;
}

void
kn_list_remove(struct kn_list *l, struct kn_task *t)
{
	if (t->prev != NULL)
		t->prev->next = t->next;
	else
		l->first = t->next;
	if (t->next != NULL)
		t->next->prev = t->prev;
	else
		l->last = t->prev;
	t->next = t->prev = NULL;
	l->len--;
}

/* Bytes rounded up so that anything may follow. */
static size_t
aligned(size_t n)
{
	size_t a = _Alignof(max_align_t);

	return (n + a - 1) / a * a;
}

struct kn_task *
kn_task_new(uint64_t seq, const struct knee_input *input, size_t exec_bytes)
{
	size_t head = aligned(sizeof(struct kn_task));
	size_t table = head + aligned(exec_bytes);
	size_t size = table + input->nargs * sizeof(char *);
	struct kn_task *t;
	char **args;
	char *text;

	for (size_t i = 0; i < input->nargs; i++)
		size += strlen(input->args[i]) + 1;
	t = malloc(size);
	if (t == NULL)
		return NULL;
	memset(t, 0, table);
	t->seq = seq;
	t->bytes = size;
	t->exec = (char *)t + head;
	args = (char **)(void *)((char *)t + table);
	text = (char *)(args + input->nargs);
	for (size_t i = 0; i < input->nargs; i++) {
		size_t n = strlen(input->args[i]) + 1;

		args[i] = memcpy(text, input->args[i], n);
		text += n;
	}
	t->args = (const char *const *)args;
	t->nargs = input->nargs;
	t->data = input->data;
	return t;
}

void
kn_task_free(struct kn_task *t)
{
	if (t == NULL)
		return;
	kn_buf_done(&t->part);
	kn_held_done(&t->held[0]);
	kn_held_done(&t->held[1]);
	free(t->command);
	free(t->tag);
	free(t);
}

int
knee_failed(const struct knee_result *r)
{
	switch (r->outcome) {
	case KNEE_EXITED:
		return r->status != 0;
	case KNEE_SKIPPED:
		return 0;
	case KNEE_SIGNALED:
	case KNEE_TIMED_OUT:
	case KNEE_CANCELLED:
	case KNEE_NOT_STARTED:
	case KNEE_OUTCOMES:
		break;
	}
	return 1;
}
