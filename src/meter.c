/* SPDX-License-Identifier: MIT */
#include "meter.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "sys/clock.h"
#include "sys/machine.h"

/* Of more running tasks than this a random part is looked at. */
#define LOOKS_MAX 256
/* Looking may take this part of the time. */
#define LOOK_SHARE 120
/* The machine's state is read this often. */
#define VITALS_NS ((int64_t)200000000)
/* What a task waits for is asked in every sweep at first, then in every so many. */
#define DEEP_FIRST 40
#define DEEP_EVERY 4
/* Tasks as short as this are not told apart, after so many. */
#define BRIEF_NS 50000
#define BRIEF_ENDS 1000
/* So many looks tell whether tasks wait for a lock. */
#define LOCKED_LOOKS 24
/* What is missing in so many looks and readings will not be seen any more. */
#define LOOKS_TELL 3
#define READINGS_TELL 2

int
kn_meter_init(struct kn_meter *m, const struct knee_options *o, const struct kn_machine *machine,
    struct kn_exec *exec, int64_t now_ns)
{
	const struct kn_tuner_options options = {
		.asked = o->limit,
		.least = o->limit_min,
		.most = o->limit_max,
		.hint = o->kind,
		.load_max = o->load_max,
		.memfree_bytes = o->memfree_bytes,
		.memsuspend_bytes = o->memsuspend_bytes,
		.noswap = o->noswap,
		.measure = o->measure != 0,
		.seed = (uint64_t)now_ns | 1,
	};
	int err;

	m->exec = exec;
	m->machine = *machine;
	m->random = options.seed;
	m->names = o->limit == 0 || o->measure;
	err = kn_tuner_new(&options, machine, &m->tuner);
	if (err == 0 && m->names)
		err = kn_namer_init(&m->namer, o);
	if (err == 0 &&
	    (m->names || o->load_max > 0 || o->memfree_bytes > 0 || o->memsuspend_bytes > 0 || o->noswap))
		err = kn_vitals_new(&m->vitals);
	if (err == 0 && o->limit == 0 && o->memory_path != NULL)
		m->memory = kn_memory_open(o->memory_path, machine);
	return err;
}

void
kn_meter_done(struct kn_meter *m)
{
	struct kn_prior prior;

	for (unsigned i = 0; m->memory != NULL && i < kn_tuner_nkeys(m->tuner); i++)
		if (kn_tuner_learnt(m->tuner, i, &prior))
			kn_memory_put(m->memory, kn_tuner_key_name(m->tuner, i), &prior);
	kn_memory_close(m->memory);
	kn_vitals_free(m->vitals);
	kn_namer_done(&m->namer);
	kn_tuner_free(m->tuner);
	*m = (struct kn_meter){ 0 };
}

/* Tasks are over before anyone could look at them. */
static bool
brief(const struct kn_meter *m)
{
	return m->ended > BRIEF_ENDS && m->length_ns < BRIEF_NS;
}

int
kn_meter_key(struct kn_meter *m, const struct knee_input *input, unsigned *ret)
{
	struct kn_key_name name = { .place.spindle = -1 };
	size_t known = kn_tuner_nkeys(m->tuner);
	struct kn_prior prior;
	int err;

	/* To ask where an input lies would take longer than the task. */
	if (brief(m)) {
		*ret = m->key;
		return 0;
	}
	if (m->names) {
		err = kn_namer_name(&m->namer, input, &name);
		if (err < 0)
			return err;
	}
	*ret = kn_tuner_key(m->tuner, &name);
	if (kn_tuner_nkeys(m->tuner) > known && m->memory != NULL &&
	    kn_memory_get(m->memory, &name, &prior) == 1)
		kn_tuner_recall(m->tuner, *ret, &prior);
	m->key = *ret;
	return 0;
}

int64_t
kn_meter_due_ns(const struct kn_meter *m)
{
	int64_t due = kn_tuner_due_ns(m->tuner);

	return due < m->look_ns ? m->look_ns : due;
}

/* ---- looking at tasks --------------------------------------------------------- */

/* What now has that told has not. */
static void
usage_delta(const struct kn_usage *now, const struct kn_usage *told, struct kn_usage *ret)
{
	*ret = *now;
	ret->cpu_ns -= told->cpu_ns;
	ret->delay_ns -= told->delay_ns;
	ret->bytes -= told->bytes;
	ret->disk_bytes -= told->disk_bytes;
	ret->reads -= told->reads;
	ret->looks -= told->looks;
	ret->cpu_looks -= told->cpu_looks;
	ret->disk_looks -= told->disk_looks;
	ret->net_looks -= told->net_looks;
	ret->lock_looks -= told->lock_looks;
}

/* A number below n, the same sequence for the same seed. */
static uint64_t
below(struct kn_meter *m, uint64_t n)
{
	assert(n > 0);
	m->random ^= m->random << 13;
	m->random ^= m->random >> 7;
	m->random ^= m->random << 17;
	return m->random % n;
}

static void
sweep(struct kn_meter *m, const struct kn_sched *s, size_t most)
{
	bool deep = m->sweeps < DEEP_FIRST || m->sweeps % DEEP_EVERY == 0;
	size_t left = s->running.len;
	size_t wanted = left < most ? left : most;
	struct kn_usage delta;

	m->sweeps++;
	/* Each of the rest with the same chance, so that just as many are taken as are wanted. */
	for (struct kn_task *t = s->running.first; t != NULL; t = t->next, left--) {
		if (wanted == 0 || below(m, left) >= wanted) {
			kn_tuner_alive(m->tuner, t->key, t->started_ns);
			continue;
		}
		wanted--;
		m->exec->ops->look(m->exec, t, deep);
		m->looks++;
		m->usage_known |= t->usage.known;
		usage_delta(&t->usage, &t->told, &delta);
		t->told = t->usage;
		if (s->running.len > 1) {
			m->together += delta.looks;
			m->locked += delta.lock_looks;
			m->together_running += delta.looks * s->running.len;
		}
		kn_tuner_progress(m->tuner, t->key, t->started_ns, &delta, &t->usage);
	}
}

void
kn_meter_sample(struct kn_meter *m, const struct kn_sched *s, int64_t now_ns, uint64_t left, bool left_known)
{
	struct kn_sample sample = { .now_ns = now_ns, .left = left, .left_known = left_known };
	int64_t before_ns = kn_clock_cpu_ns(), cost_ns;
	unsigned looks = kn_tuner_looks(m->tuner);
	struct kn_vitals vitals;

	if (m->exec->ops->look != NULL && looks > 0 && !brief(m))
		sweep(m, s, looks < LOOKS_MAX ? looks : LOOKS_MAX);
	if (m->vitals != NULL && now_ns - m->vitals_ns >= VITALS_NS) {
		kn_vitals_read(m->vitals, now_ns, &vitals);
		m->vitals_ns = now_ns;
		m->readings++;
		m->vitals_known |= vitals.known;
		sample.vitals = &vitals;
	}
	kn_tuner_sample(m->tuner, &sample);
	cost_ns = kn_clock_cpu_ns() - before_ns;
	m->look_ns = now_ns + LOOK_SHARE * cost_ns;
}

bool
kn_meter_locked(const struct kn_meter *m, double *ret_frac, double *ret_running)
{
	if (m->together < LOCKED_LOOKS)
		return false;
	*ret_frac = (double)m->locked / (double)m->together;
	*ret_running = (double)m->together_running / (double)m->together;
	return true;
}

bool
kn_meter_known(const struct kn_meter *m, unsigned *ret_usage, unsigned *ret_vitals)
{
	if (m->looks < LOOKS_TELL || m->readings < READINGS_TELL)
		return false;
	*ret_usage = m->usage_known;
	*ret_vitals = m->vitals_known;
	return true;
}

/* The most memory that a task was seen to use: the kernel knows it of its largest process alone, a look
 * knows all of them, but for what was between two looks. */
static uint64_t
peak_bytes(const struct kn_task *t)
{
	uint64_t largest = t->result.peak_rss_bytes > 0 ? (uint64_t)t->result.peak_rss_bytes : 0;

	return largest > t->usage.peak_bytes ? largest : t->usage.peak_bytes;
}

void
kn_meter_ended(struct kn_meter *m, struct kn_task *t, int64_t now_ns)
{
	struct knee_result *r = &t->result;
	struct kn_end end = {
		.now_ns = now_ns,
		.started_ns = r->runtime_ns > 0 ? now_ns - r->runtime_ns : t->started_ns,
		.peak_rss_bytes = peak_bytes(t),
		.failed = knee_failed(r),
		.busy = t->busy,
		.cut =
		    t->reason != KN_BY_ITSELF || r->outcome == KNEE_NOT_STARTED || r->outcome == KNEE_SKIPPED,
		.late = t->reason == KN_BY_TIMEOUT,
	};
	int64_t cpu_ns = r->cpu_user_ns + r->cpu_sys_ns;
	double length_ns = (double)(r->runtime_ns > 0 ? r->runtime_ns : now_ns - t->started_ns);

	m->ended++;
	m->length_ns += (length_ns - m->length_ns) / (m->ended < 64 ? (double)m->ended : 64);

	/* The kernel's own account, when it is larger, has what no look saw. */
	if (cpu_ns > t->usage.cpu_ns)
		t->usage.cpu_ns = cpu_ns;
	t->usage.known |= KN_USAGE_CPU;
	end.usage = t->usage;
	usage_delta(&t->usage, &t->told, &end.delta);
	r->io_bytes = t->usage.bytes;
	r->disk_bytes = t->usage.disk_bytes;
	r->tree_rss_bytes = t->usage.peak_bytes;
	r->delay_ns = t->usage.delay_ns;
	kn_tuner_ended(m->tuner, t->key, &end);
}

void
kn_meter_returned(struct kn_meter *m, struct kn_task *t, int64_t now_ns)
{
	struct kn_end end = { .now_ns = now_ns, .started_ns = t->started_ns, .usage = t->usage, .cut = true };

	usage_delta(&t->usage, &t->told, &end.delta);
	kn_tuner_ended(m->tuner, t->key, &end);
}
