/* SPDX-License-Identifier: MIT */
/*
 * What a thread waits for at this instant: the kernel function that it sleeps in
 * (/proc/PID/wchan), and where that says too little, its system call and the descriptor in it.
 * Function names differ among kernels: parts of them are looked for, and what nobody knows is
 * nothing in particular.
 */
#ifndef KN_BLOCKED_H
#define KN_BLOCKED_H

#include <stdbool.h>
#include <sys/types.h>

enum kn_blocked {
	KN_BLOCKED_CPU = 1,         /* it runs, or is ready to */
	KN_BLOCKED_DISK = 2,
	KN_BLOCKED_NET = 4,
	KN_BLOCKED_LOCK = 8,
};

/* One of these, or 0. state: the letter of /proc/PID/stat. alone: the only thread of its process;
 * of several, those that sleep on a futex are mostly idle workers. */
unsigned kn_blocked_by(pid_t pid, pid_t tid, char state, bool alone);

#endif
