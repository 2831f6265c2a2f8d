/* SPDX-License-Identifier: MIT */
/*
 * The tuner, driven as src/run.c drives it, by bytes instead of a machine: nothing that they can
 * make of kinds of work, times, use, failures and refused starts may bring it out of its bounds.
 *
 * Bytes: options and the machine; then one byte says what happens next, and takes what it needs.
 */
#include <errno.h>
#include <limits.h>
#include <math.h>

#include "fuzz.h"
#include "tune/tuner.h"

#define MS 1000000

enum { TASKS = 512, STEPS = 4000 };

struct task {
	unsigned key;
	int64_t started_ns;
	struct kn_usage usage;
};

struct run {
	struct fuzz_bytes b;
	struct kn_tuner *t; /* owned */
	struct kn_machine machine;
	unsigned nkeys;
	uint64_t queued[KN_KEYS], head[KN_KEYS];
	struct task tasks[TASKS];
	unsigned running;
	int64_t now_ns, not_before_ns;
};

/* Few bits, many magnitudes: 0 .. about 2^46. */
static int64_t
number(struct run *r)
{
	uint16_t n = fuzz_u16(&r->b);

	return (int64_t)(n >> 5) << (n & 31) % 36;
}

/* What a file of an earlier run may say: up to 1e18. */
static double
remembered(struct run *r)
{
	double n = (double)number(r);

	return fmin(1e18, ldexp(n, fuzz_byte(&r->b) & 31));
}

static double
share(struct run *r)
{
	return fuzz_byte(&r->b) / 255.0;
}

static int
start(struct run *r)
{
	uint8_t a = fuzz_byte(&r->b), c = fuzz_byte(&r->b);
	struct kn_tuner_options o = {
		.asked = (a & 1) != 0 ? (a & 2) != 0 ? UINT_MAX : 1 + c % 64u : 0,
		.hint = (enum knee_kind)(c % KNEE_KINDS),
		.load_max = (a & 4) != 0 ? 1 + c : 0,
		.memfree_bytes = (a & 8) != 0 ? (uint64_t)number(r) : 0,
		.memsuspend_bytes = (a & 16) != 0 ? (uint64_t)number(r) : 0,
		.noswap = (a & 32) != 0,
		.measure = (a & 64) != 0,
		.seed = c,
	};

	if (o.asked == 0 && (a & 128) != 0) {
		o.least = 1 + fuzz_byte(&r->b);
		o.most = o.least + fuzz_byte(&r->b);
	}
	r->machine = (struct kn_machine){
		.cores = 0.25 + fuzz_byte(&r->b) / 4.0,
		.memory_bytes = (uint64_t)number(r),
		.fds_free = fuzz_u16(&r->b),
		.fds_per_task = 1 + fuzz_byte(&r->b) % 8,
		.fds_max = 65536,
		.processes_free = fuzz_byte(&r->b) > 0 ? UINT_MAX : fuzz_byte(&r->b),
	};
	r->now_ns = 1;
	return kn_tuner_new(&o, &r->machine, &r->t);
}

static void
key_add(struct run *r)
{
	struct kn_key_name name = { .place.spindle = -1 };
	uint8_t c = fuzz_byte(&r->b);
	struct kn_prior prior;
	unsigned key;

	(void)snprintf(name.program, sizeof(name.program), "p%u", c & 15u);
	if ((c & 16) != 0)
		(void)snprintf(name.place.host, sizeof(name.place.host), "h%u", c & 3u);
	if ((c & 32) != 0)
		(void)snprintf(name.place.disk, sizeof(name.place.disk), "d%u", c & 3u);
	key = kn_tuner_key(r->t, &name);
	HOLDS(key < KN_KEYS && key < kn_tuner_nkeys(r->t), "key %u of %zu", key, kn_tuner_nkeys(r->t));
	if (key < r->nkeys)
		return;
	r->nkeys = key + 1;
	if ((c & 64) == 0)
		return;
	prior = (struct kn_prior){
		.kind = (enum knee_kind)(fuzz_byte(&r->b) % KNEE_KINDS),
		.limit = fuzz_u16(&r->b),
		.cpu_share = share(r),
		.disk_share = share(r),
		.net_share = share(r),
		.wait_share = share(r),
		.cores_per_task = remembered(r) / 65536,
		.runtime_ns = remembered(r),
		.cpu_ns = remembered(r),
		.bytes = remembered(r),
		.rss_bytes = remembered(r),
	};
	kn_tuner_recall(r->t, key, &prior);
}

static void
queue_add(struct run *r)
{
	unsigned key = r->nkeys > 0 ? fuzz_byte(&r->b) % r->nkeys : 0;

	if (r->nkeys == 0)
		return;
	r->queued[key] += 1 + fuzz_byte(&r->b);
	kn_tuner_queue(r->t, key, r->queued[key], r->head[key]);
}

static struct kn_usage
delta_make(struct run *r)
{
	return (struct kn_usage){
		.known = fuzz_byte(&r->b) & 31u,
		.cpu_ns = number(r),
		.delay_ns = number(r),
		.bytes = (uint64_t)number(r),
		.disk_bytes = (uint64_t)number(r),
		.reads = (uint64_t)number(r),
		.rss_bytes = (uint64_t)number(r),
		.looks = 1,
		.cpu_looks = fuzz_byte(&r->b) & 1u,
		.disk_looks = fuzz_byte(&r->b) & 1u,
	};
}

static void
usage_add(struct kn_usage *u, const struct kn_usage *delta)
{
	u->known |= delta->known;
	u->cpu_ns += delta->cpu_ns;
	u->delay_ns += delta->delay_ns;
	u->bytes += delta->bytes;
	u->disk_bytes += delta->disk_bytes;
	u->reads += delta->reads;
	u->rss_bytes = delta->rss_bytes;
	u->looks += delta->looks;
	u->cpu_looks += delta->cpu_looks;
	u->disk_looks += delta->disk_looks;
}

static void
tasks_start(struct run *r)
{
	int key;

	while (r->running < TASKS && r->now_ns >= r->not_before_ns &&
	    (key = kn_tuner_pick(r->t, r->now_ns)) >= 0) {
		HOLDS((unsigned)key < r->nkeys && r->queued[key] > 0, "key %d has none to start", key);
		kn_tuner_started(r->t, (unsigned)key, r->now_ns);
		r->queued[key]--;
		r->head[key]++;
		kn_tuner_queue(r->t, (unsigned)key, r->queued[key], r->head[key]);
		r->tasks[r->running++] = (struct task){ .key = (unsigned)key, .started_ns = r->now_ns };
		if (fuzz_byte(&r->b) % 64 == 63)
			return;
	}
}

static void
task_end(struct run *r)
{
	unsigned i = r->running > 0 ? fuzz_byte(&r->b) % r->running : 0;
	struct task *task = &r->tasks[i];
	uint8_t how = fuzz_byte(&r->b);
	struct kn_end end;

	if (r->running == 0)
		return;
	end = (struct kn_end){
		.now_ns = r->now_ns,
		.started_ns = task->started_ns,
		.delta = delta_make(r),
		.peak_rss_bytes = (uint64_t)number(r),
		.failed = (how & 3) != 0 && (how & 4) != 0,
		.busy = (how & 24) == 24,
		.cut = (how & 224) == 224,
	};
	usage_add(&task->usage, &end.delta);
	end.usage = task->usage;
	kn_tuner_ended(r->t, task->key, &end);
	*task = r->tasks[--r->running];
}

static void
vitals_make(struct run *r, struct kn_vitals *v)
{
	*v = (struct kn_vitals){
		.known = fuzz_u16(&r->b) & 511u,
		.cpu_busy = share(r) * r->machine.cores,
		.cpu_steal_frac = share(r),
		.memory_bytes = r->machine.memory_bytes,
		.memory_free_bytes = (uint64_t)number(r),
		.pressure_some_frac = share(r),
		.pressure_full_frac = share(r),
		.swap_in_bytes = (uint64_t)number(r),
		.swap_out_bytes = (uint64_t)number(r),
		.net_bytes_per_s = (double)number(r),
		.net_busy_frac = share(r),
		.retrans_frac = share(r),
		.switches_per_s = (double)number(r),
		.runnable = fuzz_byte(&r->b),
		.ndisks = 1,
	};
	(void)snprintf(v->disks[0].name, sizeof(v->disks[0].name), "d%u", fuzz_byte(&r->b) & 3u);
	v->disks[0].busy_frac = share(r);
	v->disks[0].bytes_per_s = (double)number(r);
	v->disks[0].ops_per_s = (double)number(r);
	v->disks[0].latency_ns = number(r);
}

static void
sample(struct run *r)
{
	struct kn_vitals v;
	struct kn_sample s = { .now_ns = r->now_ns };
	unsigned looks = kn_tuner_looks(r->t);
	uint8_t c = fuzz_byte(&r->b);

	for (unsigned i = 0; i < r->running && looks > 0; i++) {
		struct kn_usage delta;

		if (i >= looks) {
			kn_tuner_alive(r->t, r->tasks[i].key, r->tasks[i].started_ns);
			continue;
		}
		delta = delta_make(r);
		usage_add(&r->tasks[i].usage, &delta);
		kn_tuner_progress(r->t, r->tasks[i].key, r->tasks[i].started_ns, &delta, &r->tasks[i].usage);
	}
	for (unsigned i = 0; i < r->nkeys; i++)
		s.left += r->queued[i];
	s.left_known = (c & 1) != 0;
	if ((c & 2) != 0) {
		vitals_make(r, &v);
		s.vitals = &v;
	}
	kn_tuner_sample(r->t, &s);
	if (kn_tuner_act(r->t) == KN_ACT_SUSPEND)
		kn_tuner_suspended(r->t, r->running > 0 ? 1 : 0);
	else
		kn_tuner_suspended(r->t, 0);
}

/* What people are told. */
static void
check_report(const struct run *r)
{
	struct knee_work work;
	struct kn_change change;
	struct kn_prior prior;

	HOLDS(kn_tuner_nclasses(r->t) <= KN_CLASSES, "%u classes", kn_tuner_nclasses(r->t));
	for (unsigned c = 0; c < kn_tuner_nclasses(r->t); c++) {
		kn_tuner_work(r->t, c, &work);
		kn_tuner_why(r->t, c, &change);
		HOLDS(work.limit >= 1 && work.running <= r->running, "limit %u, running %u of %u", work.limit,
		    work.running, r->running);
		HOLDS(work.nlevels <= KNEE_LEVELS && work.kind < KNEE_KINDS, "%u levels", work.nlevels);
		HOLDS(!isnan(work.cpu_share + work.disk_share + work.net_share + work.wait_share),
		    "shares that are no number");
		for (unsigned i = 0; i < work.nlevels; i++)
			HOLDS(!isnan(work.levels[i].throughput_frac), "a level that is no number");
	}
	for (unsigned key = 0; key < r->nkeys; key++)
		if (kn_tuner_learnt(r->t, key, &prior))
			HOLDS(!isnan(prior.runtime_ns + prior.cpu_ns + prior.bytes + prior.rss_bytes),
			    "learnt what is no number");
	HOLDS(kn_tuner_one_at_a_time_ns(r->t) >= 0, "a negative time");
}

static void
check(const struct run *r)
{
	unsigned limit = kn_tuner_limit(r->t);
	double cpu = kn_tuner_cpu_frac(r->t);

	HOLDS(limit >= 1 && limit <= 65536, "limit %u", limit);
	HOLDS(!isnan(cpu), "cpu is no number");
}

static void
changes_pull(struct run *r)
{
	struct kn_change c;

	while (kn_tuner_change(r->t, &c)) {
		HOLDS(c.to >= 1 && (unsigned)c.why < KN_WHYS, "a change to %u, %d", c.to, (int)c.why);
		HOLDS(!isnan(c.figure[0] + c.figure[1]) || !isfinite(c.figure[0]), "no number");
	}
}

static void
step(struct run *r)
{
	static const int errors[] = { -EAGAIN, -EMFILE, -ENOMEM, -ENFILE };
	uint8_t what = fuzz_byte(&r->b);
	int64_t due;

	switch (what & 7) {
	case 0:
		key_add(r);
		break;
	case 1:
		queue_add(r);
		break;
	case 2:
		r->now_ns += number(r) & (((int64_t)1 << 42) - 1);
		break;
	case 3:
		tasks_start(r);
		break;
	case 4:
	case 5:
		r->now_ns += (int64_t)(what >> 3) * MS;
		task_end(r);
		break;
	case 6:
		due = kn_tuner_due_ns(r->t);
		if (due < INT64_MAX && due > r->now_ns)
			r->now_ns = due;
		sample(r);
		break;
	case 7:
		if ((what & 8) != 0)
			kn_tuner_adjust(r->t, (int8_t)fuzz_byte(&r->b), r->now_ns);
		else
			r->not_before_ns = kn_tuner_refused(r->t, errors[what >> 6], r->now_ns);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run r;

	r = (struct run){ .b = { data, size } };
	HOLDS(start(&r) == 0, "no memory");
	for (int i = 0; i < STEPS && r.b.size > 0; i++) {
		step(&r);
		check(&r);
		changes_pull(&r);
	}
	check_report(&r);
	kn_tuner_free(r.t);
	return 0;
}
