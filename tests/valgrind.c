/* SPDX-License-Identifier: MIT */
/*
 * Put before the C library by tests/run --valgrind: valgrind 3.19 does not know the system
 * call pidfd_open and answers ENOSYS.  Here it is made on the real processor, behind its back.
 * Of the descriptor valgrind sees only the close.
 */
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <valgrind/valgrind.h>

int pidfd_open(pid_t pid, unsigned flags);

/* In assembler: syscall() of the C library would set errno in a thread's memory that is not
 * there when valgrind does not look. The first argument is valgrind's thread, not wanted. */
static long
direct(long thread, long pid, long flags)
{
	long ret;

	(void)thread;
	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(SYS_pidfd_open), "D"(pid), "S"(flags)
			 : "rcx", "r11", "memory");
	return ret;
}

int
pidfd_open(pid_t pid, unsigned flags)
{
	long ret;

	if (!RUNNING_ON_VALGRIND)
		return (int)syscall(SYS_pidfd_open, pid, flags);
	ret = (long)VALGRIND_NON_SIMD_CALL2(direct, pid, flags);
	if (ret < 0) {
		errno = (int)-ret;
		return -1;
	}
	return (int)ret;
}
