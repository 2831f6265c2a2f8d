/* SPDX-License-Identifier: MIT */
/*
 * Connecting back by TCP, both ends: where the way to an agent is slow (srun's pipes carry 20 MB/s), the
 * agent connects to its coordinator itself, by what it was told over that way.
 *
 *	coordinator   kn_dial_listen; for each agent kn_dial_offer: a text, which goes to it with the addresses
 *	agent         kn_dial: connects to all addresses at once
 *	              says     TOKEN HOST \n
 *	coordinator   answers  ANSWER \n, and from then on the connection is theirs, both ways, without a limit of time
 *
 * The text is "TOKEN HOST ANSWER": two numbers of 128 bits from getrandom(2), in hex, and between them the
 * agent's number. Each side knows by it that the other is the one that it means, and not a stranger who found
 * the port, nor another machine with the same address. It is good for one connection; so exactly one of those
 * that an agent made is answered, and it takes that one. What travels is not encrypted.
 */
#ifndef KN_DIAL_H
#define KN_DIAL_H

#include <stddef.h>
#include <stdint.h>

#include "loop.h"

#define KN_DIAL_TOKEN_HEX 32
/* Room for a text with its NUL. */
#define KN_DIAL_TEXT_BYTES (2 * KN_DIAL_TOKEN_HEX + 16)
/* Addresses at most. */
#define KN_DIAL_ADDRESSES 16

/* ---- the coordinator's end -------------------------------------------------- */

struct kn_dial;

/* Listen on every address of this machine, on a port that the kernel picks; watched in loop (borrowed). came() is
 * told of each agent that has said its token: fd is its own then, with close-on-exec, no blocking, TCP_NODELAY. What
 * else connects is closed after 5 s, or at once. 0 or -errno. */
int kn_dial_listen(struct kn_loop *loop, uint32_t nhosts, void (*came)(void *self, uint32_t host, int fd),
    void *self, struct kn_dial **ret);
/* Not from came(), nor from any other callback of the loop. Takes NULL. */
void kn_dial_free(struct kn_dial *d);

/* "IP:PORT" or "[IP]:PORT", *ret_n of them, valid until kn_dial_free: those of all interfaces that are up, but
 * loopback only when there are no others. */
const char *const *kn_dial_addresses(const struct kn_dial *d, size_t *ret_n);

/* What to tell host's agent; what it was told before is good no more. 0 or -errno (of getrandom). */
int kn_dial_offer(struct kn_dial *d, uint32_t host, char ret[KN_DIAL_TEXT_BYTES]);
/* It is not waited for any more. */
void kn_dial_withdraw(struct kn_dial *d, uint32_t host);

/* ---- the agent's end -------------------------------------------------------- */

/* Connect to one of n addresses; text is what came with them. *ret_fd: with close-on-exec, no blocking, TCP_NODELAY.
 * Waits, timeout_ns at most. 0; -EINVAL: they make no sense; else why the last of them did not work. */
int kn_dial(const char *const *addresses, size_t n, const char *text, int64_t timeout_ns, int *ret_fd);

#endif
