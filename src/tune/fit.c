/* SPDX-License-Identifier: MIT */
/*
 * With gamma = 1 / sigma and delta = mu / sigma the logarithm of the likelihood
 *
 *	n ln gamma - sum (gamma x - delta)^2 / 2 + sum ln Q(gamma a - delta)
 *
 * (x: lengths, a: ages, Q: the upper tail of the normal distribution) is concave (Olsen, "Note on
 * the uniqueness of the maximum likelihood estimator for the Tobit model", Econometrica 1978), so
 * Newton's method with a shortened step finds the one maximum in a few rounds; EM, which goes to
 * the same place, takes hundreds when most tasks still run. The bound of sigma is one of gamma: a
 * step stops there, and goes on along it while the slope leads outward.
 */
#include "fit.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>

#define SIGMA_LEAST 0.01
#define ROUNDS 100
#define SQRT_2PI 2.5066282746310005
#define SQRT_HALF 0.70710678118654752

/* What is fitted; all values less `middle`, the mean of the lengths, so that none is large. */
struct data {
	double n, middle, squares; /* of the lengths: how many, mean, sum of squares */
	const double *ages;
	size_t nages;
};

/* The logarithm of the likelihood, its slopes and (negative) curvatures. */
struct slope {
	double value;
	double by_delta, by_gamma;
	double dd, dg, gg;
};

/* A step is halved until it goes uphill; after so many it is none. */
#define HALVINGS 30

/* The hazard of the standard normal distribution, phi(z) / Q(z), and the logarithm of Q. */
static double
hazard(double z, double *log_tail)
{
	double density, tail, h;

	if (z < 6) {
		density = exp(-z * z / 2) / SQRT_2PI;
		tail = erfc(z * SQRT_HALF) / 2;
		*log_tail = log(tail);
		return density / tail;
	}
	/* Laplace's continued fraction: the tail itself comes to nothing soon. */
	h = z;
	for (int k = 20; k > 0; k--)
		h = z + k / h;
	*log_tail = -z * z / 2 - log(SQRT_2PI * h);
	return h;
}

static void
slope_at(const struct data *d, double delta, double gamma, struct slope *ret)
{
	struct slope s = {
		.value = d->n * log(gamma) - (gamma * gamma * d->squares + d->n * delta * delta) / 2,
		.by_delta = -d->n * delta,
		.by_gamma = d->n / gamma - gamma * d->squares,
		.dd = d->n,
		.gg = d->n / (gamma * gamma) + d->squares,
	};

	for (size_t i = 0; i < d->nages; i++) {
		double a = d->ages[i] - d->middle, z = gamma * a - delta, log_tail;
		double h = hazard(z, &log_tail), bend = h * (h - z);

		s.value += log_tail;
		s.by_delta += h;
		s.by_gamma -= h * a;
		s.dd += bend;
		s.dg -= bend * a;
		s.gg += bend * a * a;
	}
	*ret = s;
}

/* Is gamma to stay at its bound: would more be better? */
static bool
at_bound(double gamma, const struct slope *s)
{
	return gamma >= 1 / SIGMA_LEAST && s->by_gamma >= 0;
}

/* One step of Newton's from *delta, *gamma; false when it gains nothing any more. */
static bool
step(const struct data *d, double *delta, double *gamma, struct slope *s)
{
	double det = s->dd * s->gg - s->dg * s->dg;
	double by_delta = (s->gg * s->by_delta - s->dg * s->by_gamma) / det;
	double by_gamma = (s->dd * s->by_gamma - s->dg * s->by_delta) / det;
	double part = 1;
	struct slope next;

	if (!(det > 0) || at_bound(*gamma, s) || (*gamma >= 1 / SIGMA_LEAST && by_gamma > 0)) {
		by_delta = s->by_delta / s->dd;
		by_gamma = 0;
	}
	if (by_delta * s->by_delta + by_gamma * s->by_gamma < 1e-12)
		return false;
	if (*gamma + by_gamma > 1 / SIGMA_LEAST)
		part = (1 / SIGMA_LEAST - *gamma) / by_gamma;
	else if (*gamma + by_gamma < *gamma / 8)
		part = *gamma * 0.875 / -by_gamma;
	for (int halved = 0; halved < HALVINGS; halved++, part /= 2) {
		double g = fmin(*gamma + part * by_gamma, 1 / SIGMA_LEAST);

		slope_at(d, *delta + part * by_delta, g, &next);
		if (next.value > s->value) {
			*delta += part * by_delta;
			*gamma = g;
			*s = next;
			return true;
		}
	}
	return false;
}

static int
gather(const double *done, size_t n, const double *ages, size_t m, struct data *ret)
{
	struct data d = { .n = (double)n, .ages = ages, .nages = m };

	if (n < 2)
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		d.middle += done[i] / d.n;
	for (size_t i = 0; i < n; i++)
		d.squares += (done[i] - d.middle) * (done[i] - d.middle);
	for (size_t i = 0; i < m; i++)
		if (!isfinite(ages[i]))
			return -EINVAL;
	if (!isfinite(d.squares))
		return -EINVAL;
	*ret = d;
	return 0;
}

int
kn_fit_lognormal(const double *done, size_t n, const double *ages, size_t m, struct kn_fit *ret)
{
	double delta = 0, gamma, variance, det;
	struct kn_fit fit;
	struct slope s;
	struct data d;
	int err = gather(done, n, ages, m, &d);

	if (err < 0)
		return err;
	gamma = 1 / fmax(sqrt(d.squares / d.n), SIGMA_LEAST);
	slope_at(&d, delta, gamma, &s);
	for (int i = 0; i < ROUNDS && step(&d, &delta, &gamma, &s); i++)
		;
	fit.mu = d.middle + delta / gamma;
	fit.sigma = 1 / gamma;
	/* The inverse of the curvature is the covariance; mu's variance by its slopes 1 / gamma and
	 * -delta / gamma^2. */
	det = s.dd * s.gg - s.dg * s.dg;
	if (at_bound(gamma, &s) || !(det > 0))
		variance = 1 / s.dd;
	else
		variance = (s.gg + 2 * s.dg * delta / gamma + s.dd * delta * delta / (gamma * gamma)) / det;
	fit.se = sqrt(variance) / gamma;
	if (!isfinite(fit.mu) || !isfinite(fit.sigma) || !isfinite(fit.se))
		return -EINVAL;
	*ret = fit;
	return 0;
}
