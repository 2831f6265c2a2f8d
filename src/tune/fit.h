/* SPDX-License-Identifier: MIT */
/* Statistics of task lengths. */
#ifndef KN_FIT_H
#define KN_FIT_H

#include <stddef.h>

/* A log-normal fitted to lengths of which some are not over yet. */
struct kn_fit {
	double mu, sigma;           /* of the natural logarithm */
	double se;                  /* standard error of mu */
};

/*
 * Maximum likelihood. done: natural logarithms of n lengths; ages: those of m tasks that still
 * run (their length is at least that). 0, or -EINVAL when n < 2 or any is not finite.
 * Equal lengths give sigma near 0 (at least 0.01), and then ages above them count as longer.
 * Sources: right-censored normal regression without covariates (Schmee and Hahn 1979); solved as
 * in Olsen 1978.
 */
int kn_fit_lognormal(const double *done, size_t n, const double *ages, size_t m, struct kn_fit *ret);

#endif
