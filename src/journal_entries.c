/* SPDX-License-Identifier: MIT */
/* The tasks of this run whose rows are not written for good, found by their number. */
#include "journal.h"

#include <errno.h>
#include <stdlib.h>

static size_t
slot_of(const struct kn_journal_entries *t, uint64_t seq)
{
	return (size_t)(seq * 0x9e3779b97f4a7c15 >> 32) & (t->size - 1);
}

/* Where seq stands, or would. */
static struct kn_journal_entry **
place_of(const struct kn_journal_entries *t, uint64_t seq)
{
	size_t at = slot_of(t, seq);

	while (t->list[at] != NULL && t->list[at]->seq != seq)
		at = (at + 1) & (t->size - 1);
	return &t->list[at];
}

struct kn_journal_entry *
kn_journal_entry_find(const struct kn_journal_entries *t, uint64_t seq)
{
	return t->size > 0 ? *place_of(t, seq) : NULL;
}

static int
entries_grow(struct kn_journal_entries *t)
{
	struct kn_journal_entries larger = *t;

	larger.size = t->size > 0 ? 2 * t->size : 64;
	larger.list = calloc(larger.size, sizeof(struct kn_journal_entry *));
	if (larger.list == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < t->size; i++)
		if (t->list[i] != NULL)
			*place_of(&larger, t->list[i]->seq) = t->list[i];
	free(t->list);
	*t = larger;
	return 0;
}

struct kn_journal_entry *
kn_journal_entry_add(struct kn_journal_entries *t, uint64_t seq)
{
	struct kn_journal_entry *e = t->spare;

	if (2 * (t->used + 1) > t->size && entries_grow(t) < 0)
		return NULL;
	if (e != NULL)
		t->spare = e->next;
	else
		e = malloc(sizeof(*e));
	if (e == NULL)
		return NULL;
	*e = (struct kn_journal_entry){ .seq = seq };
	*place_of(t, seq) = e;
	t->used++;
	return e;
}

void
kn_journal_entry_remove(struct kn_journal_entries *t, struct kn_journal_entry *e)
{
	size_t hole = (size_t)(place_of(t, e->seq) - t->list), at = hole;

	for (;;) {
		size_t home;

		at = (at + 1) & (t->size - 1);
		if (t->list[at] == NULL)
			break;
		/* What would not be found behind the hole moves into it. */
		home = slot_of(t, t->list[at]->seq);
		if (((at - home) & (t->size - 1)) < ((at - hole) & (t->size - 1)))
			continue;
		t->list[hole] = t->list[at];
		hole = at;
	}
	t->list[hole] = NULL;
	t->used--;
	free(e->command);
	free(e->host);
	e->next = t->spare;
	t->spare = e;
}

void
kn_journal_entries_done(struct kn_journal_entries *t)
{
	struct kn_journal_entry *e;

	for (size_t i = 0; i < t->size; i++)
		if (t->list[i] != NULL) {
			free(t->list[i]->command);
			free(t->list[i]->host);
			free(t->list[i]);
		}
	while ((e = t->spare) != NULL) {
		t->spare = e->next;
		free(e);
	}
	free(t->list);
	*t = (struct kn_journal_entries){ 0 };
}
