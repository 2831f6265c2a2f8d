/* SPDX-License-Identifier: MIT */
#include "mailbox.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fd.h"

/* The turn that follows takes the letters, unless the owner does so now. */
static int
woken(struct kn_watch *w, uint32_t events)
{
	struct kn_mailbox *m = (struct kn_mailbox *)(void *)((char *)w - offsetof(struct kn_mailbox, watch));
	uint64_t count;

	(void)events;
	(void)!read(w->fd, &count, sizeof(count));
	if (m->came != NULL)
		m->came(m);
	return 0;
}

int
kn_mailbox_init(struct kn_mailbox *m, struct kn_loop *loop)
{
	int fd, err;

	atomic_init(&m->newest, NULL);
	atomic_init(&m->dozing, false);
	m->watch = (struct kn_watch){ .fd = -1, .fn = woken };
	m->loop = loop;
	m->came = NULL;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	err = kn_loop_add(loop, &m->watch, fd, EPOLLIN);
	if (err < 0)
		kn_fd_close(&fd);
	return err;
}

void
kn_mailbox_done(struct kn_mailbox *m)
{
	if (m->loop == NULL)
		return;
	kn_loop_close(m->loop, &m->watch);
	m->loop = NULL;
}

/*
 * The order of the two steps on either side is what makes it safe: who posts stores the letter, then
 * looks whether the loop dozes; the loop notes that it dozes, then looks for letters. At least one of
 * them sees the other (all are sequentially consistent).
 */
void
kn_mailbox_post(struct kn_mailbox *m, struct kn_letter *l)
{
	const uint64_t one = 1;

	l->next = atomic_load(&m->newest);
	while (!atomic_compare_exchange_weak(&m->newest, &l->next, l))
		;
	if (atomic_load(&m->dozing) && atomic_exchange(&m->dozing, false))
		(void)!write(m->watch.fd, &one, sizeof(one));
}

struct kn_letter *
kn_mailbox_take(struct kn_mailbox *m)
{
	struct kn_letter *l, *next, *oldest = NULL;

	atomic_store(&m->dozing, false);
	if (atomic_load_explicit(&m->newest, memory_order_relaxed) == NULL)
		return NULL;
	l = atomic_exchange(&m->newest, NULL);
	for (; l != NULL; l = next) {
		next = l->next;
		l->next = oldest;
		oldest = l;
	}
	return oldest;
}

bool
kn_mailbox_doze(struct kn_mailbox *m)
{
	atomic_store(&m->dozing, true);
	if (atomic_load(&m->newest) == NULL)
		return true;
	atomic_store(&m->dozing, false);
	return false;
}
