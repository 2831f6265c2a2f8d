/* SPDX-License-Identifier: MIT */
#include "levels.h"

#include <math.h>
#include <string.h>

#include "window.h"

/* Coarse measuring makes numbers as good that differ by not more than this. */
#define SAME_MOST 0.08

/* A standard error above which a number is measured again before it is settled on. */
#define COARSE 0.12

const struct kn_level *
kn_levels_find(const struct kn_levels *v, unsigned n)
{
	for (unsigned i = 0; i < v->n; i++)
		if (v->at[i].n == n)
			return &v->at[i];
	return NULL;
}

unsigned
kn_levels_below(const struct kn_levels *v, unsigned n)
{
	unsigned highest = 0;

	for (unsigned i = 0; i < v->n && v->at[i].n < n; i++)
		highest = v->at[i].n;
	return highest;
}

const struct kn_level *
kn_levels_best(const struct kn_levels *v, unsigned max, double same_errors)
{
	const struct kn_level *most = NULL;

	for (unsigned i = 0; i < v->n; i++)
		if (v->at[i].n <= max && (most == NULL || v->at[i].lnx > most->lnx))
			most = &v->at[i];
	for (unsigned i = 0; i < v->n; i++) {
		const struct kn_level *a = &v->at[i];
		double same = same_errors * hypot(a->se, most != NULL ? most->se : 0);

		if (a->n <= max && a->lnx >= most->lnx - fmin(fmax(KN_SAME, same), SAME_MOST))
			return a;
	}
	return NULL;
}

bool
kn_levels_doubtful(const struct kn_levels *v, const struct kn_level *best, unsigned max)
{
	if (best->se <= COARSE)
		return false;
	for (unsigned i = 0; i < v->n; i++) {
		const struct kn_level *a = &v->at[i];

		if (a != best && a->n <= max && best->lnx - a->lnx < 2 * hypot(best->se, a->se))
			return true;
	}
	return false;
}

bool
kn_levels_steep(const struct kn_levels *v, unsigned n)
{
	const struct kn_level *a = kn_levels_find(v, n);

	return a != NULL && a > v->at && a->lnx - a[-1].lnx > KN_STEEP * log((double)n / a[-1].n);
}

static void
remove_at(struct kn_levels *v, unsigned i)
{
	v->n--;
	memmove(&v->at[i], &v->at[i + 1], (v->n - i) * sizeof(v->at[0]));
}

void
kn_levels_put(struct kn_levels *v, unsigned n, double lnx, double se, int64_t now_ns)
{
	unsigned i = 0;

	while (i < v->n && v->at[i].n < n)
		i++;
	if (i == v->n || v->at[i].n != n) {
		if (v->n == KN_LEVELS) {
			unsigned oldest = 0;

			for (unsigned j = 1; j < v->n; j++)
				if (v->at[j].at_ns < v->at[oldest].at_ns)
					oldest = j;
			remove_at(v, oldest);
			i -= oldest < i;
		}
		memmove(&v->at[i + 1], &v->at[i], (v->n - i) * sizeof(v->at[0]));
		v->n++;
	}
	v->at[i] = (struct kn_level){ .n = n, .lnx = lnx, .se = se, .at_ns = now_ns };
}

void
kn_levels_add(struct kn_levels *v, unsigned n, double lnx, double se, int64_t now_ns)
{
	const struct kn_level *old = kn_levels_find(v, n);
	double w = 1 / (se * se), u;

	if (old != NULL && fabs(old->lnx - lnx) < 3 * hypot(old->se, se)) {
		u = 1 / (old->se * old->se);
		lnx = (w * lnx + u * old->lnx) / (w + u);
		se = fmax(sqrt(1 / (w + u)), KN_SE_MIN);
	}
	kn_levels_put(v, n, lnx, se, now_ns);
}

void
kn_levels_shift(struct kn_levels *v, double by)
{
	for (unsigned i = 0; i < v->n; i++)
		v->at[i].lnx += by;
}

void
kn_levels_drop_below(struct kn_levels *v, unsigned n)
{
	while (v->n > 0 && v->at[0].n < n)
		remove_at(v, 0);
}

void
kn_levels_drop_from(struct kn_levels *v, unsigned n)
{
	while (v->n > 0 && v->at[v->n - 1].n >= n)
		v->n--;
}
