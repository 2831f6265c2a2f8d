/* SPDX-License-Identifier: MIT */
/*
 * The fit of lengths: against what is known without ages, against EM written down here, and
 * against the numbers that the samples were drawn from.
 */
#include "tune/fit.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>

#include "random.h"
#include "tap.h"

static bool
near(double got, double want, double by)
{
	if (fabs(got - want) <= by)
		return true;
	diag("%.9g is not within %g of %.9g", got, by, want);
	return false;
}

/* 0 < u < 1 */
static double
uniform(struct rnd *r)
{
	return ((double)(rnd_next(r) >> 11) + 0.5) / 9007199254740992.0;
}

static double
normal(struct rnd *r)
{
	return sqrt(-2 * log(uniform(r))) * cos(6.283185307179586 * uniform(r));
}

static void
test_refused(void)
{
	double x[] = { 1, 2 }, bad[] = { 1, NAN }, far[] = { 1, INFINITY }, vast[] = { -1e300, 1e300 };
	struct kn_fit f = { 5, 6, 7 };

	is_int(kn_fit_lognormal(x, 1, NULL, 0, &f), -EINVAL, "one length");
	is_int(kn_fit_lognormal(x, 0, x, 2, &f), -EINVAL, "ages alone");
	is_int(kn_fit_lognormal(bad, 2, NULL, 0, &f), -EINVAL, "a length that is no number");
	is_int(kn_fit_lognormal(far, 2, NULL, 0, &f), -EINVAL, "an infinite length");
	is_int(kn_fit_lognormal(x, 2, bad, 2, &f), -EINVAL, "an age that is no number");
	is_int(kn_fit_lognormal(x, 2, far, 2, &f), -EINVAL, "an infinite age");
	is_int(kn_fit_lognormal(vast, 2, NULL, 0, &f), -EINVAL, "lengths whose spread cannot be told");
	ok(f.mu == 5 && f.sigma == 6 && f.se == 7, "and nothing was touched");
}

static void
test_plain(void)
{
	double x[] = { 1, 2, 3, 4 }, same[] = { 2.5, 2.5, 2.5, 2.5 }, young[] = { -3, -4 };
	double old[] = { 3.5, 3.5 };
	struct kn_fit f = { 0 };

	is_int(kn_fit_lognormal(x, 4, NULL, 0, &f), 0, "lengths without ages");
	ok(near(f.mu, 2.5, 1e-12) && near(f.sigma, sqrt(1.25), 1e-9), "have mean and deviation");
	ok(near(f.se, sqrt(1.25) / 2, 1e-9), "and the mean's standard error");
	is_int(kn_fit_lognormal(x, 4, young, 2, &f), 0, "young tasks");
	ok(near(f.mu, 2.5, 1e-2), "tell nothing");
	is_int(kn_fit_lognormal(same, 4, NULL, 0, &f), 0, "equal lengths");
	ok(near(f.mu, 2.5, 1e-12) && near(f.sigma, 0.01, 1e-12) && near(f.se, 0.005, 1e-9),
	    "have the least deviation");
	is_int(kn_fit_lognormal(same, 4, young, 2, &f), 0, "and young tasks");
	ok(near(f.mu, 2.5, 1e-9) && near(f.sigma, 0.01, 1e-12), "change nothing");
	is_int(kn_fit_lognormal(same, 4, old, 2, &f), 0, "and older ones");
	ok(f.mu > 2.6 && f.sigma > 0.2, "count as longer: mu %.3f sigma %.3f", f.mu, f.sigma);
}

/* The same maximum by EM, slow and plain. */
static void
em(const double *x, size_t n, const double *ages, size_t m, double *mu, double *sigma)
{
	*mu = x[0];
	*sigma = 1;
	for (int round = 0; round < 20000; round++) {
		double sum = 0, squares = 0, all = (double)(n + m);

		for (size_t i = 0; i < n; i++) {
			sum += x[i];
			squares += x[i] * x[i];
		}
		for (size_t i = 0; i < m; i++) {
			double z = (ages[i] - *mu) / *sigma;
			double h = exp(-z * z / 2) / 2.5066282746310005 / (erfc(z / sqrt(2)) / 2);

			sum += *mu + *sigma * h;
			squares += *mu * *mu + *sigma * *sigma + *sigma * (ages[i] + *mu) * h;
		}
		*mu = sum / all;
		*sigma = sqrt(squares / all - *mu * *mu);
	}
}

/* n lengths and m ages as a window has them: tasks that began at random and were looked at once. */
static void
test_em(uint64_t seed)
{
	struct rnd r = { seed | 1 };
	double x[64], ages[64], mu, sigma;
	struct kn_fit f;
	size_t wrong = 0, most = 0;

	for (int turn = 0; turn < 60; turn++) {
		size_t n = 0, m = 0, wanted = 8 + rnd_below(&r, 50);
		double spread = exp(3 * uniform(&r) - 2), shift = 40 * uniform(&r) - 10;

		while (n < 3 || n + m < wanted) {
			double length = shift + spread * normal(&r);
			double age = shift + spread * (normal(&r) + (turn % 3 == 0 ? -1 : 0));

			if (length <= age && n < 64)
				x[n++] = length;
			else if (m < 61)
				ages[m++] = age;
			else
				break;
		}
		em(x, n, ages, m, &mu, &sigma);
		if (kn_fit_lognormal(x, n, ages, m, &f) != 0 || !near(f.mu, mu, 1e-5 * (1 + spread)) ||
		    !near(f.sigma, sigma, 1e-5 * (1 + spread)))
			wrong++;
		most = m > most ? m : most;
	}
	is_int(wrong, 0, "as EM finds it, with up to %zu ages (SEED=%llu)", most, (unsigned long long)seed);
}

/* Samples of 60, of which those longer than `cut` still run: is mu found, and is se its spread? */
static void
test_spread(double cut, const char *name)
{
	struct rnd r = { 12345 };
	double x[60], ages[60], sum = 0, squares = 0, longest = 0;
	struct kn_fit f = { 0 };
	int turns = 2000;

	for (int turn = 0; turn < turns; turn++) {
		size_t n = 0, m = 0;

		while (n + m < 60 || n < 2) {
			double length = 1 + 0.8 * normal(&r);

			if (length < 1 + 0.8 * cut)
				x[n++] = length;
			else if (m < 58)
				ages[m++] = 1 + 0.8 * cut;
		}
		if (kn_fit_lognormal(x, n, ages, m, &f) != 0)
			longest = INFINITY;
		sum += (f.mu - 1) / f.se;
		squares += (f.mu - 1) / f.se * (f.mu - 1) / f.se;
		longest = fmax(longest, fabs(f.mu - 1) / f.se);
	}
	ok(near(sum / turns, 0, 0.4), "%s: mu is met", name);
	ok(near(sqrt(squares / turns), 1, 0.15) && longest < 8, "%s: as near as se says (%.2f)", name,
	    sqrt(squares / turns));
}

/* The logarithm of the likelihood, in a precision whose tail reaches far. */
static double
likelihood(const double *x, size_t n, const double *ages, size_t m, double mu, double sigma)
{
	long double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum -= (x[i] - mu) * (x[i] - mu) / sigma / sigma / 2 + log(sigma);
	for (size_t i = 0; i < m; i++)
		sum += logl(erfcl((long double)(ages[i] - mu) / sigma / sqrtl(2)) / 2);
	return (double)sum;
}

/* Is no place beside the fit better, within the bound? */
static bool
is_best(const double *x, size_t n, const double *ages, size_t m, const struct kn_fit *f)
{
	double here = likelihood(x, n, ages, m, f->mu, f->sigma);
	bool best = true;

	for (int way = 0; way < 4; way++) {
		double mu = f->mu + (way == 0 ? 0.01 : way == 1 ? -0.01 : 0) * f->sigma;
		double sigma = f->sigma * (way == 2 ? 1.01 : way == 3 ? 1 / 1.01 : 1);

		if (sigma >= 0.01)
			best = best && likelihood(x, n, ages, m, mu, sigma) <= here;
	}
	return best || !isfinite(here);
}

/* What must come out as a number, whatever it is: far ages, few lengths, sigma at its bound. */
static void
test_extremes(uint64_t seed)
{
	struct rnd r = { (seed ^ 77) | 1 };
	double x[8], ages[500];
	struct kn_fit f;
	size_t wrong = 0;

	for (int turn = 0; turn < 3000; turn++) {
		size_t n = 2 + rnd_below(&r, 7), m = rnd_below(&r, 500);
		double spread = pow(10, -(double)rnd_below(&r, 8)), middle = 30 * uniform(&r);
		double reach = (turn % 2 == 0 ? 12 : 2) * uniform(&r);

		for (size_t i = 0; i < n; i++)
			x[i] = middle + spread * normal(&r);
		for (size_t i = 0; i < m; i++)
			ages[i] = middle + reach * (uniform(&r) - 0.5);
		f = (struct kn_fit){ 0 };
		if (kn_fit_lognormal(x, n, ages, m, &f) != 0 || !(f.sigma >= 0.01 - 1e-9) || !(f.se > 0) ||
		    !isfinite(f.mu) || !is_best(x, n, ages, m, &f)) {
			diag("n %zu m %zu: mu %g sigma %g se %g", n, m, f.mu, f.sigma, f.se);
			wrong++;
		}
	}
	is_int(wrong, 0, "the best there is, within the bound (SEED=%llu)", (unsigned long long)seed);
}

int
main(void)
{
	uint64_t seed = rnd_seed();

	test_refused();
	test_plain();
	test_em(seed);
	test_spread(9, "all have ended");
	test_spread(0, "half still run");
	test_spread(-0.8, "four of five still run");
	test_extremes(seed);
	return done_testing();
}
