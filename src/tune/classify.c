/* SPDX-License-Identifier: MIT */
#include "classify.h"

#include <math.h>

#define FADE_NS ((int64_t)1000000000)

/* To judge by looks, this many; by ends alone (tasks too short to be seen), this many. */
#define LOOKS_MIN 5
#define ENDS_MIN 2
#define ENDS_BLIND 30

/* A task that moves so much for each second of its life leans on a disk. */
#define DISK_BYTES_PER_S 10e6

#define CPU_MIN 0.7
#define WAIT_CPU_MAX 0.3
#define DEVICE_MIN 0.25

#define SLOTS_MAX 4096

void
kn_traits_add(struct kn_traits *t, const struct kn_usage *delta)
{
	t->cpu_ns += (double)delta->cpu_ns;
	t->bytes += (double)delta->bytes;
	t->disk_bytes += (double)delta->disk_bytes;
	if (delta->known & KN_USAGE_DELAY) {
		t->delay_ns += (double)delta->delay_ns;
		t->delay_known = true;
	}
	t->looks += delta->looks;
	t->cpu_looks += delta->cpu_looks;
	t->disk_looks += delta->disk_looks;
	t->net_looks += delta->net_looks;
	t->lock_looks += delta->lock_looks;
}

void
kn_traits_fade(struct kn_traits *t, int64_t now_ns)
{
	if (t->faded_ns == 0)
		t->faded_ns = now_ns;
	if (now_ns - t->faded_ns < FADE_NS || (t->looks < 4 * LOOKS_MIN && t->ends < 2 * ENDS_BLIND))
		return;
	t->faded_ns = now_ns;
	t->time_ns /= 2;
	t->cpu_ns /= 2;
	t->delay_ns /= 2;
	t->bytes /= 2;
	t->disk_bytes /= 2;
	t->looks /= 2;
	t->cpu_looks /= 2;
	t->disk_looks /= 2;
	t->net_looks /= 2;
	t->lock_looks /= 2;
	t->ends /= 2;
}

/* The share of its time that a task would compute if it never waited for a core. */
static double
cpu_alone(const struct kn_traits *t)
{
	double busy = t->cpu_ns / t->time_ns;
	double queued = 0;

	if (t->delay_known)
		queued = t->delay_ns / t->time_ns;
	else if (t->looks >= 4 * LOOKS_MIN)
		queued = fmax(0, t->cpu_looks / t->looks - fmin(busy, 1));
	/* However long it queued, it never wanted more than it had and was waiting for. */
	return fmin(busy / fmax(0.05, 1 - fmin(queued, 0.95)), busy + queued);
}

bool
kn_traits_shares(const struct kn_traits *t, struct kn_shares *ret)
{
	struct kn_shares s = { 0 };
	double rest, sum;

	if (t->time_ns <= 0)
		return false;
	s.cores = cpu_alone(t);
	s.cpu = fmin(1, s.cores);
	if (t->looks < LOOKS_MIN && (t->ends < ENDS_MIN || (s.cpu < CPU_MIN && t->ends < ENDS_BLIND)))
		return false;
	if (t->looks > 0) {
		s.disk = t->disk_looks / t->looks;
		s.net = t->net_looks / t->looks;
		s.lock = t->lock_looks / t->looks;
	}
	if (t->disk_bytes / t->time_ns * 1e9 >= DISK_BYTES_PER_S)
		s.disk = fmax(s.disk, DEVICE_MIN);
	rest = 1 - s.cpu;
	sum = s.disk + s.net + s.lock;
	if (sum > rest && sum > 0) {
		s.disk *= rest / sum;
		s.net *= rest / sum;
		s.lock *= rest / sum;
	}
	s.wait = fmax(0, rest - s.disk - s.net - s.lock);
	*ret = s;
	return true;
}

enum knee_kind
kn_classify(const struct kn_shares *s)
{
	if (s->cpu >= CPU_MIN)
		return KNEE_KIND_CPU;
	if (s->disk >= DEVICE_MIN && s->disk >= s->net && s->disk >= s->lock)
		return KNEE_KIND_DISK;
	if (s->lock >= DEVICE_MIN && s->lock >= s->net)
		return KNEE_KIND_LOCK;
	if (s->net >= DEVICE_MIN)
		return KNEE_KIND_NET;
	return s->cpu < WAIT_CPU_MAX ? KNEE_KIND_WAIT : KNEE_KIND_MIXED;
}

unsigned
kn_cpu_slots(double cores, double used)
{
	double whole = fmax(1, ceil(cores - 0.01)), n;

	if (used <= 0)
		return (unsigned)whole;
	n = cores / used;
	if (used <= 1)
		n = fmax(ceil(n - 0.5), whole);
	else
		n = round(n);
	return n < 1 ? 1 : n < SLOTS_MAX ? (unsigned)n : SLOTS_MAX;
}
