/* SPDX-License-Identifier: MIT */
/*
 * A loop over many small items, once: loop serial|knee|dynamic|static ITEMS
 *
 * Prints the seconds that it took, without the making of the array. All call the same function, through a
 * pointer, for each item. dynamic and static are OpenMP's schedules; its threads, which it keeps, are made before.
 */
#include <knee.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double
now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int
item(void *self, size_t i)
{
	double *x = self;

	x[i] = x[i] * 1.0001 + 1;
	return 0;
}

typedef int body(void *self, size_t i);

static void
by_dynamic(size_t n, body *f, double *x)
{
#pragma omp parallel for schedule(dynamic)
	for (size_t i = 0; i < n; i++)
		(void)f(x, i);
}

static void
by_static(size_t n, body *f, double *x)
{
#pragma omp parallel for schedule(static)
	for (size_t i = 0; i < n; i++)
		(void)f(x, i);
}

static void
by_itself(size_t n, body *f, double *x)
{
	for (size_t i = 0; i < n; i++)
		(void)f(x, i);
}

static void
by_knee(size_t n, body *f, double *x)
{
	(void)knee_for(n, f, x, NULL);
}

static void
run(const char *how, size_t n, body *f, double *x)
{
	if (strcmp(how, "knee") == 0)
		by_knee(n, f, x);
	else if (strcmp(how, "dynamic") == 0)
		by_dynamic(n, f, x);
	else if (strcmp(how, "static") == 0)
		by_static(n, f, x);
	else
		by_itself(n, f, x);
}

int
main(int argc, char **argv)
{
	size_t n = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
	double *x = n > 0 ? calloc(n + 1, sizeof(*x)) : NULL, begin;
	body *volatile f = item;

	if (x == NULL)
		return 2;
	for (size_t i = 0; i < n; i++)
		x[i] = (double)i;
	run(argv[1], 1000, f, x);
	begin = now();
	run(argv[1], n, f, x);
	printf("%.9f\n", now() - begin);
	free(x);
	return 0;
}
