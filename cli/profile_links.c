/* SPDX-License-Identifier: MIT */
/* What goes over the machine's links while something is measured. */
#include <math.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "profile_parts.h"

struct link {
	char name[IFNAMSIZ];
	double bytes; /* received and sent so far, by anyone; what goes through loopback counts once */
};

void
links_read(struct links *ret)
{
	FILE *f = fopen("/proc/net/dev", "re");
	char line[512];

	*ret = (struct links){ 0 };
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		struct link link = { 0 }, *more;
		unsigned long long in, out;

		/* bytes packets errs drop fifo frame compressed multicast, and again */
		if (sscanf(line, " %15[^:]: %llu %*u %*u %*u %*u %*u %*u %*u %llu", link.name, &in, &out) !=
		    3)
			continue;
		more = reallocarray(ret->list, ret->len + 1, sizeof(*more));
		if (more == NULL)
			break;
		link.bytes = (double)in + (strcmp(link.name, "lo") == 0 ? 0 : (double)out);
		ret->list = more;
		more[ret->len++] = link;
	}
	if (f != NULL)
		fclose(f);
}

static double
link_bytes(const struct links *l, const char *name)
{
	for (size_t i = 0; i < l->len; i++)
		if (strcmp(l->list[i].name, name) == 0)
			return l->list[i].bytes;
	return 0;
}

double
links_between(const struct links *before, const struct links *after)
{
	double sum = after->len > 0 ? 0 : -1;

	for (size_t i = 0; i < after->len; i++)
		sum += fmax(after->list[i].bytes - link_bytes(before, after->list[i].name), 0);
	return sum;
}

void
links_free(struct links *l)
{
	free(l->list);
	*l = (struct links){ 0 };
}
