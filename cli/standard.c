/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>

#include "cli.h"

void
standard_fds_hold(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			(void)!open("/dev/null", O_RDONLY);
}
