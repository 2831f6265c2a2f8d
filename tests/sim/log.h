/* SPDX-License-Identifier: MIT */
/*
 * A log of everything that a tuner was told, and what it decided: a run that was written down can
 * be replayed, step by step, on any machine and with any later version of the tuner.
 *
 * One line a call, fields separated by one tab, in the order of the calls. Integers are decimal;
 * other numbers as "%.17g", so that they come back exactly. An empty name is "-". Lines that
 * begin with "#" are comments. The first line is "knee-tuner-log 1".
 *
 *	options  asked least most hint load_max memfree memsuspend noswap measure seed
 *	machine  cores memory fds_free fds_per_task fds_max processes_free
 *	key      number program kind host disk device spindle
 *	recall   key kind limit cpu disk net wait cores_per_task runtime cpu_ns bytes rss
 *	queue    key queued head_seq
 *	started  key now
 *	progress key started DELTA TOTAL
 *	alive    key started
 *	ended    key now started failed busy cut peak_rss USAGE DELTA
 *	refused  errno now
 *	sample   now left left_known 0                      without vitals
 *	sample   now left left_known 1 known cpu_busy cpu_steal memory memory_free some full swap_in
 *	         swap_out net net_busy retrans switches runnable ndisks {name device spindle busy
 *	         bytes ops latency}*ndisks
 *	suspended tasks
 *	adjust   by now
 *	change   class from to why figure figure figure     what the tuner decided: a replay compares
 *
 * options and machine come first, once each, before any other call. DELTA, TOTAL and USAGE are 12
 * fields: known cpu delay bytes disk_bytes reads rss looks cpu_looks disk_looks net_looks lock_looks.
 * kind and why are the numbers of enum knee_kind and enum kn_why.
 */
#ifndef SIM_LOG_H
#define SIM_LOG_H

#include <stdio.h>

#include "tune/tuner.h"

#define SIM_LOG_FIRST "knee-tuner-log 1"

/* Each writes its line; nothing when f is NULL. Errors stay in f (ferror). */
void sim_log_begin(FILE *f, const struct kn_tuner_options *o, const struct kn_machine *m);
void sim_log_key(FILE *f, unsigned key, const struct kn_key_name *name);
void sim_log_recall(FILE *f, unsigned key, const struct kn_prior *p);
void sim_log_queue(FILE *f, unsigned key, uint64_t queued, uint64_t head_seq);
void sim_log_started(FILE *f, unsigned key, int64_t now_ns);
void sim_log_progress(FILE *f, unsigned key, int64_t started_ns, const struct kn_usage *delta,
    const struct kn_usage *total);
void sim_log_alive(FILE *f, unsigned key, int64_t started_ns);
void sim_log_ended(FILE *f, unsigned key, const struct kn_end *end);
void sim_log_refused(FILE *f, int err, int64_t now_ns);
void sim_log_sample(FILE *f, const struct kn_sample *s);
void sim_log_adjust(FILE *f, int by, int64_t now_ns);
void sim_log_suspended(FILE *f, unsigned suspended);
void sim_log_change(FILE *f, const struct kn_change *c);

/* A decision as a line for people: time, class, from, to, why, figures. */
void sim_change_print(FILE *f, const struct kn_change *c);
const char *sim_why_name(enum kn_why why);

/*
 * Give what a log says to a new tuner. *changes: how many decisions it took; *differ: how many are not
 * those of the log. With print, each decision is printed there. 0, -ENOMEM, or -EINVAL: line
 * *line of the log is not as above.
 */
int sim_replay(FILE *f, FILE *print, unsigned *changes, unsigned *differ, unsigned *line);

#endif
