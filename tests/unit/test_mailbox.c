/* SPDX-License-Identifier: MIT */
/*
 * Letters from several threads to one that has a real loop: none is lost, those of one thread keep their
 * order, and a loop that sleeps is woken.
 */
#include "../../src/sys/mailbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tap.h"

#define POSTERS 4
#define LETTERS 20000
#define ROUNDS 100
/* A loop that is not woken wakes by itself then: the test has failed. */
#define LONG_NS ((int64_t)60000000000)
#define GIVEN_UP UINT_MAX

struct note {
	struct kn_letter letter; /* first */
	unsigned from, n;
};

static bool
readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static unsigned came_count;

static void
came(struct kn_mailbox *m)
{
	(void)m;
	came_count++;
}

/* The protocol, step by step on one thread. */
static void
test_steps(void)
{
	struct note a = { .n = 1 }, b = { .n = 2 }, c = { .n = 3 };
	struct kn_mailbox m = { 0 };
	struct kn_loop loop;
	struct kn_letter *l;

	is_int(kn_loop_init(&loop), 0, "a loop");
	kn_mailbox_done(&m);
	is_int(kn_mailbox_init(&m, &loop), 0, "a mailbox in it");
	m.came = came;
	ok(kn_mailbox_take(&m) == NULL, "is empty");
	kn_mailbox_post(&m, &a.letter);
	kn_mailbox_post(&m, &b.letter);
	ok(!readable(m.watch.fd), "a loop that is awake costs no system call");
	ok(!kn_mailbox_doze(&m), "it may not sleep over letters");
	kn_mailbox_post(&m, &c.letter);
	l = kn_mailbox_take(&m);
	ok(l == &a.letter && l->next == &b.letter && l->next->next == &c.letter && c.letter.next == NULL,
	    "they come in their order");
	ok(kn_mailbox_take(&m) == NULL, "once");
	ok(kn_mailbox_doze(&m), "now it may sleep");
	kn_mailbox_post(&m, &a.letter);
	kn_mailbox_post(&m, &b.letter);
	ok(readable(m.watch.fd), "what is posted does");
	kn_mailbox_post(&m, &c.letter);
	is_int(kn_loop_wait(&loop, loop.now_ns + LONG_NS), 0, "it wakes");
	ok(!readable(m.watch.fd), "once for all of them");
	is_int(came_count, 1, "and says so");
	l = kn_mailbox_take(&m);
	ok(l == &a.letter && l->next == &b.letter && l->next->next == &c.letter, "all three are there");
	kn_mailbox_done(&m);
	kn_loop_done(&loop);
}

static void
test_refused(void)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct kn_loop loop = { .epoll_fd = null, .timer_fd = -1 };
	struct kn_mailbox m = { 0 };
	int before = dup(null), after;

	ok(kn_mailbox_init(&m, &loop) < 0, "a loop that does not take it");
	kn_mailbox_done(&m);
	(void)close(before);
	after = dup(null);
	is_int(after, before, "leaves no descriptor");
	(void)close(after);
	(void)close(null);
}

/* ---- several threads -------------------------------------------------------------------- */

struct poster {
	pthread_t thread;
	struct kn_mailbox *m;
	atomic_uint *turn; /* of those who post only when the loop sleeps: whose it is */
	struct note *notes;
	unsigned from, count;
	bool leaves; /* every other letter, but for the last */
};

static void *
post_all(void *arg)
{
	struct poster *p = arg;

	for (unsigned n = 0; n < p->count; n++) {
		p->notes[n] = (struct note){ .from = p->from, .n = n };
		if (p->leaves && n % 2 == 0 && n + 1 < p->count)
			kn_mailbox_post(p->m, &p->notes[n].letter);
		else
			kn_mailbox_post(p->m, &p->notes[n].letter);
	}
	return NULL;
}

/* Each in its turn, one letter, when the loop sleeps or is about to. */
static void *
post_asleep(void *arg)
{
	struct poster *p = arg;
	unsigned turn;

	for (unsigned n = 0; n < p->count; n++) {
		while ((turn = *p->turn) != GIVEN_UP &&
		    (turn != n * POSTERS + p->from || !atomic_load(&p->m->dozing)))
			(void)nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
		p->notes[n] = (struct note){ .from = p->from, .n = n };
		kn_mailbox_post(p->m, &p->notes[n].letter);
	}
	return NULL;
}

/* Run the loop until all have come; how many were out of their order. */
static unsigned
receive(struct kn_loop *loop, struct kn_mailbox *m, atomic_uint *turn, unsigned all)
{
	unsigned next[POSTERS] = { 0 }, got = 0, wrong = 0;
	struct kn_letter *l, *following;
	int64_t end_ns = loop->now_ns + LONG_NS;

	while (got < all && loop->now_ns < end_ns) {
		if (kn_loop_wait(loop, kn_mailbox_doze(m) ? end_ns : 0) < 0)
			break;
		for (l = kn_mailbox_take(m); l != NULL; l = following) {
			struct note *note = (struct note *)(void *)l;

			following = l->next;
			wrong += note->n != next[note->from]++;
			got++;
			atomic_fetch_add(turn, 1);
		}
	}
	if (got < all)
		*turn = GIVEN_UP;
	is_int(got, all, "all %u letters have come", all);
	return wrong;
}

static void
several(const char *name, void *(*main)(void *), unsigned count, bool leaves)
{
	struct poster posters[POSTERS];
	atomic_uint turn = 0;
	struct kn_mailbox m;
	struct kn_loop loop;

	diag("%s", name);
	(void)kn_loop_init(&loop);
	(void)kn_mailbox_init(&m, &loop);
	for (unsigned i = 0; i < POSTERS; i++) {
		posters[i] =
		    (struct poster){ .m = &m, .turn = &turn, .from = i, .count = count, .leaves = leaves };
		posters[i].notes = malloc(count * sizeof(struct note));
		(void)pthread_create(&posters[i].thread, NULL, main, &posters[i]);
	}
	is_int(receive(&loop, &m, &turn, POSTERS * count), 0, "those of one thread in their order");
	for (unsigned i = 0; i < POSTERS; i++) {
		(void)pthread_join(posters[i].thread, NULL);
		free(posters[i].notes);
	}
	ok(kn_mailbox_take(&m) == NULL, "and no more");
	kn_mailbox_done(&m);
	kn_loop_done(&loop);
}

int
main(void)
{
	test_steps();
	test_refused();
	several("many at once", post_all, LETTERS, false);
	several("some are left, not posted", post_all, LETTERS, true);
	several("one at a time, to a loop that sleeps", post_asleep, ROUNDS, false);
	return done_testing();
}
