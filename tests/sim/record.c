/* SPDX-License-Identifier: MIT */
/*
 * Linked into a program of its own, knee-record, between knee and its tuner: all that a real run
 * tells the tuner, and all that it decides, is written to the file $KNEE_RECORD as log.h says, so
 * that test_worlds --replay FILE takes every step of the run once more.
 */
#include <stdio.h>
#include <stdlib.h>

#include "log.h"

static FILE *record;

#define REAL(type, name, parameters) \
	type __real_##name parameters; \
	type __wrap_##name parameters; \
	type __wrap_##name parameters

REAL(int, kn_tuner_new, (const struct kn_tuner_options *o, const struct kn_machine *m, struct kn_tuner **ret))
{
	const char *path = getenv("KNEE_RECORD");

	if (path != NULL && record == NULL)
		record = fopen(path, "we");
	sim_log_begin(record, o, m);
	return __real_kn_tuner_new(o, m, ret);
}

REAL(void, kn_tuner_free, (struct kn_tuner * t))
{
	if (record != NULL && fclose(record) != 0)
		perror("knee-record");
	record = NULL;
	__real_kn_tuner_free(t);
}

REAL(unsigned, kn_tuner_key, (struct kn_tuner * t, const struct kn_key_name *name))
{
	size_t known = kn_tuner_nkeys(t);
	unsigned key = __real_kn_tuner_key(t, name);

	if (kn_tuner_nkeys(t) > known)
		sim_log_key(record, key, name);
	return key;
}

REAL(void, kn_tuner_recall, (struct kn_tuner * t, unsigned key, const struct kn_prior *p))
{
	sim_log_recall(record, key, p);
	__real_kn_tuner_recall(t, key, p);
}

REAL(void, kn_tuner_queue, (struct kn_tuner * t, unsigned key, uint64_t queued, uint64_t head_seq))
{
	sim_log_queue(record, key, queued, head_seq);
	__real_kn_tuner_queue(t, key, queued, head_seq);
}

REAL(void, kn_tuner_started, (struct kn_tuner * t, unsigned key, int64_t now_ns))
{
	sim_log_started(record, key, now_ns);
	__real_kn_tuner_started(t, key, now_ns);
}

REAL(void, kn_tuner_progress,
    (struct kn_tuner * t, unsigned key, int64_t started_ns, const struct kn_usage *delta,
	const struct kn_usage *total))
{
	sim_log_progress(record, key, started_ns, delta, total);
	__real_kn_tuner_progress(t, key, started_ns, delta, total);
}

REAL(void, kn_tuner_alive, (struct kn_tuner * t, unsigned key, int64_t started_ns))
{
	sim_log_alive(record, key, started_ns);
	__real_kn_tuner_alive(t, key, started_ns);
}

REAL(void, kn_tuner_ended, (struct kn_tuner * t, unsigned key, const struct kn_end *end))
{
	sim_log_ended(record, key, end);
	__real_kn_tuner_ended(t, key, end);
}

REAL(int64_t, kn_tuner_refused, (struct kn_tuner * t, int err, int64_t now_ns))
{
	sim_log_refused(record, err, now_ns);
	return __real_kn_tuner_refused(t, err, now_ns);
}

REAL(void, kn_tuner_sample, (struct kn_tuner * t, const struct kn_sample *s))
{
	sim_log_sample(record, s);
	__real_kn_tuner_sample(t, s);
}

REAL(void, kn_tuner_suspended, (struct kn_tuner * t, unsigned suspended))
{
	sim_log_suspended(record, suspended);
	__real_kn_tuner_suspended(t, suspended);
}

REAL(void, kn_tuner_adjust, (struct kn_tuner * t, int by, int64_t now_ns))
{
	sim_log_adjust(record, by, now_ns);
	__real_kn_tuner_adjust(t, by, now_ns);
}

REAL(bool, kn_tuner_change, (struct kn_tuner * t, struct kn_change *ret))
{
	bool is = __real_kn_tuner_change(t, ret);

	if (is)
		sim_log_change(record, ret);
	return is;
}
