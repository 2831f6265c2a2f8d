/* SPDX-License-Identifier: MIT */
/* core/chain against an array that is moved about by hand. */
#include "chain.h"
#include "random.h"
#include "tap.h"

#define COUNT 12

struct thing {
	struct kn_chain_node node;
	bool in;
};

/* The same twice: a chain, and what should be in it. */
struct pair {
	struct kn_chain chain;
	struct thing *things[COUNT];
	size_t len;
};

/* Both ways, and nothing else. */
static bool
same(const struct pair *p)
{
	const struct kn_chain_node *n = p->chain.first, *prev = NULL;

	for (size_t i = 0; i < p->len; i++) {
		if (n != &p->things[i]->node || n->prev != prev)
			return false;
		prev = n;
		n = n->next;
	}
	return n == NULL && p->chain.last == prev && p->chain.len == p->len;
}

static void
put(struct pair *p, size_t at, struct thing *t)
{
	memmove(&p->things[at + 1], &p->things[at], (p->len - at) * sizeof(*p->things));
	p->things[at] = t;
	p->len++;
	t->in = true;
}

static void
drop(struct pair *p, size_t at)
{
	p->things[at]->in = false;
	p->len--;
	memmove(&p->things[at], &p->things[at + 1], (p->len - at) * sizeof(*p->things));
}

static void
come(struct pair *p, struct thing *t, bool first)
{
	if (first)
		kn_chain_push(&p->chain, &t->node);
	else
		kn_chain_append(&p->chain, &t->node);
	put(p, first ? 0 : p->len, t);
}

/* How: 0, 1: that one goes; 2: the first one; 3: t takes its place. False: not as it should be. */
static bool
leave(struct pair *p, size_t at, struct thing *t, unsigned how)
{
	struct thing *old = p->things[at];

	if (how == 2) {
		old = p->things[0];
		drop(p, 0);
		return kn_chain_pop(&p->chain) == &old->node && old->node.next == NULL;
	}
	drop(p, at);
	if (how == 3) {
		kn_chain_replace(&p->chain, &old->node, &t->node);
		put(p, at, t);
	} else {
		kn_chain_remove(&p->chain, &old->node);
	}
	return old->node.next == NULL && old->node.prev == NULL;
}

static void
join(struct pair *a, struct pair *b)
{
	kn_chain_join(&a->chain, &b->chain);
	memcpy(&a->things[a->len], b->things, b->len * sizeof(*b->things));
	a->len += b->len;
	b->len = 0;
}

int
main(void)
{
	struct thing things[COUNT] = { 0 };
	struct pair pairs[2] = { 0 };
	uint64_t seed = rnd_seed();
	struct rnd r = { seed | 1 };
	unsigned wrong = 0;

	ok(kn_chain_pop(&pairs[0].chain) == NULL, "an empty one has no first node");
	for (int i = 0; i < 100000; i++) {
		struct pair *p = &pairs[rnd_below(&r, 2)];
		struct thing *t = &things[rnd_below(&r, COUNT)];
		unsigned how = rnd_below(&r, 4);

		if (rnd_below(&r, 10) == 0)
			join(p, p == pairs ? &pairs[1] : &pairs[0]);
		else if (!t->in && how < 2)
			come(p, t, how == 0);
		else if (p->len > 0 && (how < 3 || !t->in))
			wrong += !leave(p, rnd_below(&r, (unsigned)p->len), t, how);
		wrong += !same(&pairs[0]) || !same(&pairs[1]);
	}
	is_int(wrong, 0, "in and out anywhere, 100,000 times (SEED=%llu)", (unsigned long long)seed);
	return done_testing();
}
