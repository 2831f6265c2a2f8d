/* SPDX-License-Identifier: MIT */
/*
 * A list whose nodes live in their owners, so that one comes in and goes out anywhere without a walk and
 * without memory. The owner of a node is found by its place in it, best by its being the first.
 */
#ifndef KN_CHAIN_H
#define KN_CHAIN_H

#include <stddef.h>

struct kn_chain_node {
	struct kn_chain_node *next, *prev;
};

/* {0} is empty. */
struct kn_chain {
	struct kn_chain_node *first, *last;
	size_t len;
};

/* Put n, which is in no chain, between two neighbours; NULL: there is an end. */
static inline void
kn_chain_between(
    struct kn_chain *c, struct kn_chain_node *n, struct kn_chain_node *prev, struct kn_chain_node *next)
{
	n->prev = prev;
	n->next = next;
	*(prev != NULL ? &prev->next : &c->first) = n;
	*(next != NULL ? &next->prev : &c->last) = n;
	c->len++;
}

/* Put n in at the end. */
static inline void
kn_chain_append(struct kn_chain *c, struct kn_chain_node *n)
{
	kn_chain_between(c, n, c->last, NULL);
}

/* Put n in before all others. */
static inline void
kn_chain_push(struct kn_chain *c, struct kn_chain_node *n)
{
	kn_chain_between(c, n, NULL, c->first);
}

/* Take n out, which is in c. */
static inline void
kn_chain_remove(struct kn_chain *c, struct kn_chain_node *n)
{
	*(n->prev != NULL ? &n->prev->next : &c->first) = n->next;
	*(n->next != NULL ? &n->next->prev : &c->last) = n->prev;
	n->next = n->prev = NULL;
	c->len--;
}

/* Take the first one out; NULL: there is none. */
static inline struct kn_chain_node *
kn_chain_pop(struct kn_chain *c)
{
	struct kn_chain_node *n = c->first;

	if (n == NULL)
		return NULL;
	c->first = n->next;
	*(n->next != NULL ? &n->next->prev : &c->last) = NULL;
	n->next = NULL;
	c->len--;
	return n;
}

/* Put n in where old is, which leaves. */
static inline void
kn_chain_replace(struct kn_chain *c, struct kn_chain_node *old, struct kn_chain_node *n)
{
	struct kn_chain_node *prev = old->prev, *next = old->next;

	kn_chain_remove(c, old);
	kn_chain_between(c, n, prev, next);
}

/* Put all of b, which is empty then, behind those of c. */
static inline void
kn_chain_join(struct kn_chain *c, struct kn_chain *b)
{
	if (b->first == NULL)
		return;
	b->first->prev = c->last;
	*(c->last != NULL ? &c->last->next : &c->first) = b->first;
	c->last = b->last;
	c->len += b->len;
	*b = (struct kn_chain){ 0 };
}

#endif
