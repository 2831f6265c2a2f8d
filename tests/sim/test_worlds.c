/* SPDX-License-Identifier: MIT */
/*
 * The tuner against simulated machines. Without arguments: the quick part of accepted.txt and some
 * random worlds, as TAP, for tests/run. With arguments it is the tool to look closer (sim: this program,
 * tests/sim/test_worlds in the build folder; --size and the like: see cases.h):
 *
 *	sim --table [--seeds N] [--only WORLD|GROUP]    the whole table, with many seeds
 *	sim --world W [--size S] [--signal ...] [--seed N] [-v]   one run; -v: each decision
 *	sim ... --fixed N                               the same with a number that stays
 *	sim ... --log FILE; sim --replay FILE           all calls to the tuner, written and done again
 *	sim --random N [--seed S] [-v]                  N random worlds, from this one on
 */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "log.h"
#include "tap.h"

#define QUICK_SEEDS 4
#define FULL_SEEDS 24
#define QUICK_RANDOM 200
#define RANDOM_WORK_S 10000 /* of a random world's tasks together */

/* ---- the table as a test ---------------------------------------------------------------- */

struct sums {
	double logs, each; /* the largest mean */
	unsigned rows;
	double ratios[SIM_SEEDS * SIM_CASES];
	unsigned n;
};

/* Of a service where tasks stand in line: at once at the end, over those that are served. */
#define LINE_MOST 2.0

static void
row_print(const struct sim_row *row, const struct sim_outcome *o)
{
	char best[32];

	if (o->best.fixed.total > 0)
		(void)snprintf(best, sizeof(best), "%u", o->best.fixed.total);
	else
		(void)snprintf(best, sizeof(best), "%u,%u,%u", o->best.fixed.of[0], o->best.fixed.of[1],
		    o->best.fixed.of[2]);
	printf("# ");
	sim_case_print(stdout, &row->c);
	printf(" | %-8s %8.1f | %5.3f %5.3f %5.3f | %4.1f %4.1f %4.1f | %6.1f", best, o->best.mean_s, o->mean,
	    o->p90, o->worst, 100 * o->lost_frac[SIM_LOSS_SEARCH], 100 * o->lost_frac[SIM_LOSS_HOLD],
	    100 * o->lost_frac[SIM_LOSS_TAIL], o->near_s);
	if (o->against_single > 0)
		printf(" | single %.2f", o->against_single);
	if (o->busy_late > 0 || o->killed > 0)
		printf(" | busy %llu killed %llu", (unsigned long long)o->busy_late,
		    (unsigned long long)o->killed);
	putchar('\n');
}

static void
row_check(const struct sim_row *row, const struct sim_outcome *o)
{
	const struct sim_case *c = &row->c;
	double over[SIM_SEEDS];
	char name[160];
	FILE *f = fmemopen(name, sizeof(name), "w");

	if (f == NULL)
		abort();
	sim_case_print(f, c);
	(void)fclose(f);
	memcpy(over, o->limits, sizeof(over)); /* which are sorted below */
	if (!ok(o->wrong == NULL, "%s: nothing that may never happen", name))
		diag("seed %llu: %s", (unsigned long long)o->wrong_seed, o->wrong);
	if (!ok(o->mean <= row->accepted, "%s: at most %.2f of the best", name, row->accepted))
		diag("mean %.3f; worst %.3f with seed %llu", o->mean, o->worst,
		    (unsigned long long)o->worst_seed);
	if (strncmp(c->world, "fail", 4) == 0 || strncmp(c->world, "refuse", 6) == 0)
		is_int(o->lost, 0, "%s: no task is given up", name);
	if (strncmp(c->world, "memory", 6) == 0)
		is_int(o->killed, 0, "%s: the kernel kills nothing", name);
	if (strncmp(c->world, "refuse", 6) == 0 &&
	    !ok(o->busy_late * 100 <= o->tasks, "%s: few are told that it is busy, after a minute", name))
		diag("%llu of %llu", (unsigned long long)o->busy_late, (unsigned long long)o->tasks);
	if (strncmp(c->world, "line", 4) == 0 &&
	    !ok(sim_quantile(over, o->n, .9) <= LINE_MOST, "%s: few are sent to stand in line", name))
		diag("in a tenth of the runs %.1f times as many as are served", sim_quantile(over, o->n, .9));
	if (strcmp(row->group, "mix") == 0 &&
	    !ok(o->against_single >= 1.5, "%s: well ahead of one number", name))
		diag("%.2f times as fast", o->against_single);
}

static void
gate_check(const struct sim_gate *g, const struct sums *s)
{
	double geomean = exp(s->logs / s->rows), p90 = sim_quantile(s->ratios, s->n, .9);
	double worst = sim_quantile(s->ratios, s->n, 1);

	diag("%s: %u cases, %u runs: geometric mean %.3f, largest mean %.3f, p90 %.3f, worst %.3f", g->group,
	    s->rows, s->n, geomean, s->each, p90, worst);
	if (g->geomean > 0)
		ok(geomean <= g->geomean, "%s: geometric mean at most %.2f", g->group, g->geomean);
	if (g->each > 0)
		ok(s->each <= g->each, "%s: each mean at most %.2f", g->group, g->each);
	if (g->p90 > 0)
		ok(p90 <= g->p90, "%s: 90 percent of the runs at most %.2f", g->group, g->p90);
	if (g->worst > 0)
		ok(worst <= g->worst, "%s: no run above %.2f", g->group, g->worst);
}

static void
sums_add(struct sums *s, const struct sim_outcome *o)
{
	s->logs += log(o->mean);
	s->each = fmax(s->each, o->mean);
	s->rows++;
	memcpy(s->ratios + s->n, o->ratios, o->n * sizeof(*o->ratios));
	s->n += o->n;
}

static int
table_test(const struct sim_table *t, bool quick, uint64_t first, unsigned seeds, const char *filter)
{
	struct sums *sums = calloc(SIM_GATES, sizeof(*sums));
	struct sim_outcome o;
	int err = sums == NULL ? -ENOMEM : 0;

	diag("seeds %llu to %llu", (unsigned long long)first, (unsigned long long)(first + seeds - 1));
	diag("%-68s | %-8s %8s | %-17s | %-14s | %6s", "case", "best", "s", "time: mean p90 max",
	    "lost % s/h/t", "near s");
	for (unsigned i = 0; err == 0 && i < t->nrows; i++) {
		const struct sim_row *row = &t->rows[i];

		if ((quick && !row->quick) ||
		    (filter != NULL && strcmp(filter, row->c.world) != 0 && strcmp(filter, row->group) != 0))
			continue;
		err = sim_case_run(&row->c, first, seeds, quick, &o);
		if (err < 0)
			break;
		row_print(row, &o);
		row_check(row, &o);
		for (unsigned g = 0; g < t->ngates; g++) {
			if (strcmp(t->gates[g].group, row->group) == 0)
				sums_add(&sums[g], &o);
		}
	}
	for (unsigned g = 0; err == 0 && g < t->ngates; g++) {
		if (sums[g].rows > 0)
			gate_check(&t->gates[g], &sums[g]);
	}
	free(sums);
	return err;
}

/* ---- random worlds: what holds in all of them ----------------------------------------------- */

static void
random_case(struct rnd *r, struct sim_case *c)
{
	static const double cvs[] = { 0, .5, 1, 2, -1.5 }, units[] = { .001, .02, .3, 1, 20, 600 };
	unsigned worlds = 0;

	while (sim_world_name(worlds) != NULL)
		worlds++;
	*c = (struct sim_case){ .tasks = 1 + rnd_below(r, rnd_below(r, 4) == 0 ? 4000 : 200) };
	(void)snprintf(c->world, sizeof(c->world), "%s", sim_world_name(rnd_below(r, worlds)));
	c->signal = (enum sim_signal)rnd_below(r, 2);
	c->cv = cvs[rnd_below(r, 5)];
	c->order = (enum sim_order)rnd_below(r, 4);
	c->noise_frac = rnd_below(r, 3) * .1;
	c->event = (enum sim_event)rnd_below(r, SIM_AGAIN + 1);
	c->unit_s = units[rnd_below(r, 6)];
	/* Of few at once, or of one, it would be days, and minutes here. */
	if (c->tasks * c->unit_s > RANDOM_WORK_S)
		c->tasks = 1 + (unsigned)(RANDOM_WORK_S / c->unit_s);
}

static void
random_options(struct rnd *r, struct sim_options *o)
{
	*o = (struct sim_options){ .check = true };
	switch (rnd_below(r, 4)) {
	case 0:
		o->tuner.asked = 1 + rnd_below(r, 100);
		break;
	case 1:
		o->tuner.most = 1 + rnd_below(r, 40);
		o->tuner.least = rnd_below(r, o->tuner.most + 1);
		break;
	case 2:
		o->tuner.hint = (enum knee_kind)rnd_below(r, KNEE_KINDS);
		break;
	default:
		break;
	}
	if (rnd_below(r, 4) == 0)
		o->refuse_frac = .1;
	if (rnd_below(r, 8) == 0)
		o->tuner.memfree_bytes = (uint64_t)1 << 30;
}

/* NULL, or what is wrong with a run. */
static const char *
random_wrong(const struct sim_options *o, const struct sim_result *r)
{
	unsigned most = o->tuner.asked > 0 ? o->tuner.asked : o->tuner.most;
	uint64_t ahead = r->peak * 10 > 256 ? r->peak * 10 : 256;

	if (r->wrong != NULL)
		return r->wrong;
	if (most > 0 && r->peak > most)
		return "more at once than asked for";
	if (r->skipped_most > 4 * ahead)
		return "a kind of work has waited too long for its turn";
	return NULL;
}

static void
test_random(uint64_t first, unsigned n, bool verbose)
{
	for (unsigned i = 0; i < n; i++) {
		struct rnd r = sim_rnd(first + i, 9);
		struct sim_options o;
		struct sim_result result;
		const char *wrong = NULL;
		struct sim_case c;
		int err;

		random_case(&r, &c);
		random_options(&r, &o);
		o.print = verbose ? stdout : NULL;
		err = sim_case_once(&c, first + i, &o, &result);
		wrong = err < 0 ? strerror(-err) : random_wrong(&o, &result);
		if (wrong == NULL)
			continue;
		fail("a random world, seed %llu: %s", (unsigned long long)(first + i), wrong);
		printf("# ");
		sim_case_print(stdout, &c);
		printf(" asked %u least %u most %u hint %u refusals %g\n", o.tuner.asked, o.tuner.least,
		    o.tuner.most, (unsigned)o.tuner.hint, o.refuse_frac);
		return;
	}
	pass("%u random worlds from seed %llu: all tasks end, none is started beyond a limit, none starves",
	    n, (unsigned long long)first);
}

/* ---- the simulator itself ------------------------------------------------------------------------ */

/* Its curves and the queue are right where the answer is known. */
static void
test_engine(void)
{
	static const struct {
		const char *world;
		unsigned n;
		double seconds;
	} known[] = { { "cpu", 8, 10 }, { "cpu", 1, 80 }, { "sleep", 80, 1 }, { "net20", 40, 4 },
		{ "serial", 1, 80 } };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		struct sim_case c = { .tasks = 80, .unit_s = 1 };
		const struct sim_fixed fixed = { .total = known[i].n };
		const struct sim_options o = { .fixed = &fixed };
		struct sim_result r = { 0 };

		(void)snprintf(c.world, sizeof(c.world), "%s", known[i].world);
		ok(sim_case_once(&c, 1, &o, &r) == 0 && r.ended == 80 &&
			fabs((double)r.ns / SIM_SECOND - known[i].seconds) < .03 * known[i].seconds + .05,
		    "%s: 80 tasks of a second, %u at once, take %g s", known[i].world, known[i].n,
		    known[i].seconds);
	}
}

/* A number that is asked for is kept as exactly as by the yardstick. */
static void
test_asked(uint64_t seed)
{
	struct sim_case c = { .world = "ssd", .tasks = 500, .cv = 1, .noise_frac = .1, .unit_s = 1 };
	const struct sim_fixed fixed = { .total = 7 };
	const struct sim_options by_fixed = { .fixed = &fixed }, by_tuner = { .tuner.asked = 7 };
	struct sim_result a = { 0 }, b = { 0 };

	ok(sim_case_once(&c, seed, &by_fixed, &a) == 0 && sim_case_once(&c, seed, &by_tuner, &b) == 0,
	    "seven at once, by both");
	is_int(b.ns, a.ns, "and the same time to the nanosecond (seed %llu)", (unsigned long long)seed);
	is_int(b.peak, 7, "seven at most");
}

/* What was written of a run gives the same decisions when it is replayed. */
static void
test_replay(uint64_t seed)
{
	struct sim_case c = { .world = "mix2", .tasks = 600, .cv = 1, .noise_frac = .05, .unit_s = 1 };
	struct sim_options o = { .log = tmpfile() };
	unsigned changes = 0, differ = 0, line = 0;
	struct sim_result r = { 0 };

	if (!ok(o.log != NULL && sim_case_once(&c, seed, &o, &r) == 0, "a run is written down"))
		return;
	rewind(o.log);
	is_int(sim_replay(o.log, NULL, &changes, &differ, &line), 0, "its log is read (line %u)", line);
	is_int(differ, 0, "every decision comes out the same");
	is_int(changes, r.changes, "and there are as many (seed %llu)", (unsigned long long)seed);
	(void)fclose(o.log);
}

static void
test_replay_differs(void)
{
	unsigned changes = 0, differ = 0, line = 0;
	FILE *f = tmpfile();

	if (!ok(f != NULL, "a log with a decision that the tuner does not take"))
		return;
	sim_log_begin(f, &(const struct kn_tuner_options){ .asked = 3 },
	    &(const struct kn_machine){
		.cores = 2, .fds_free = 100, .fds_per_task = 3, .processes_free = 1000 });
	sim_log_change(f, &(const struct kn_change){ .class = 9, .from = 1, .to = 1234567 });
	rewind(f);
	is_int(sim_replay(f, NULL, &changes, &differ, &line), 0, "is read");
	ok(differ > 0, "and found to differ");
	(void)fclose(f);
}

/* ---- the command line ------------------------------------------------------------------------------ */

struct args {
	struct sim_case c;
	uint64_t seed;
	unsigned seeds, random, fixed;
	bool one, table, verbose;
	const char *only, *log, *replay;
};

static int
table_run(const struct args *a, bool quick)
{
	static struct sim_table table;
	const char *path = getenv("SIM_ACCEPTED") != NULL ? getenv("SIM_ACCEPTED") : SIM_ACCEPTED;
	unsigned line = 0;
	int err = sim_table_read(&table, path, &line);

	if (!is_int(err, 0, "%s is read (line %u)", path, line))
		return 1;
	err = table_test(&table, quick, a->seed,
	    a->seeds > 0 ? a->seeds :
		quick    ? QUICK_SEEDS :
			   FULL_SEEDS,
	    a->only);
	return is_int(err, 0, "the table was run") ? 0 : 1;
}

static int
replay_run(const char *path)
{
	unsigned changes = 0, differ = 0, line = 0;
	FILE *f = fopen(path, "re");
	int err = f != NULL ? sim_replay(f, stdout, &changes, &differ, &line) : -errno;

	if (f != NULL)
		(void)fclose(f);
	if (err < 0)
		fprintf(stderr, "sim: %s: line %u: %s\n", path, line, strerror(-err));
	else
		printf("%u decisions, %u not as in the log\n", changes, differ);
	return err < 0 || differ > 0;
}

static int
one_run(const struct args *a)
{
	const struct sim_fixed fixed = { .total = a->fixed };
	struct sim_options o = { .fixed = a->fixed > 0 ? &fixed : NULL, .print = a->verbose ? stdout : NULL };
	struct sim_result r = { 0 };
	int err;

	o.log = a->log != NULL ? fopen(a->log, "we") : NULL;
	err = a->log != NULL && o.log == NULL ? -errno : sim_case_once(&a->c, a->seed, &o, &r);
	if (o.log != NULL && fclose(o.log) != 0)
		err = -errno;
	if (err < 0) {
		fprintf(stderr, "sim: %s\n", err == -EINVAL ? "no such world" : strerror(-err));
		return 1;
	}
	sim_case_print(stdout, &a->c);
	printf(" seed %llu\n%.3f s, %llu tasks, peak %u, %llu samples, %llu decisions; busy %llu (%llu late),"
	       " failed %llu, requeued %llu, killed %llu, passed over %llu\n",
	    (unsigned long long)a->seed, (double)r.ns / SIM_SECOND, (unsigned long long)r.ended, r.peak,
	    (unsigned long long)r.samples, (unsigned long long)r.changes, (unsigned long long)r.busy,
	    (unsigned long long)r.busy_late, (unsigned long long)r.failed, (unsigned long long)r.requeued,
	    (unsigned long long)r.killed, (unsigned long long)r.skipped_most);
	printf("lost to search %.2f s, in hold %.2f s, in the tail %.2f s; near the best from %.2f s\n",
	    r.lost_s[SIM_LOSS_SEARCH], r.lost_s[SIM_LOSS_HOLD], r.lost_s[SIM_LOSS_TAIL], r.near_s);
	if (r.wrong != NULL)
		printf("wrong: %s\n", r.wrong);
	return r.wrong != NULL;
}

static unsigned
count_of(const char *s)
{
	char *end;
	unsigned long n = strtoul(s, &end, 10);

	if (*end != '\0' || end == s || n > UINT32_MAX) {
		fprintf(stderr, "sim: '%s': not a number\n", s);
		exit(2);
	}
	return (unsigned)n;
}

static void
args_read(struct args *a, int argc, char **argv)
{
	static const struct option longs[] = { { "table", 0, NULL, 't' }, { "seeds", 1, NULL, 's' },
		{ "seed", 1, NULL, 'S' }, { "only", 1, NULL, 'o' }, { "random", 1, NULL, 'r' },
		{ "fixed", 1, NULL, 'f' }, { "log", 1, NULL, 'l' }, { "replay", 1, NULL, 'p' },
		{ "world", 1, NULL, 'c' }, { "size", 1, NULL, 'c' }, { "signal", 1, NULL, 'c' },
		{ "cv", 1, NULL, 'c' }, { "order", 1, NULL, 'c' }, { "noise", 1, NULL, 'c' },
		{ "event", 1, NULL, 'c' }, { "unit", 1, NULL, 'c' }, { NULL, 0, NULL, 0 } };
	int c, i = 0;

	while ((c = getopt_long(argc, argv, "v", longs, &i)) != -1) {
		if (c == 'c') {
			a->one = true;
			if (sim_case_set(&a->c, longs[i].name, optarg))
				continue;
			fprintf(stderr, "sim: --%s %s: see cases.h\n", longs[i].name, optarg);
			exit(2);
		}
		if (c == '?')
			exit(2);
		a->table |= c == 't';
		a->verbose |= c == 'v';
		a->seeds = c == 's' ? count_of(optarg) : a->seeds;
		a->seed = c == 'S' ? count_of(optarg) : a->seed;
		a->random = c == 'r' ? count_of(optarg) : a->random;
		a->fixed = c == 'f' ? count_of(optarg) : a->fixed;
		a->only = c == 'o' ? optarg : a->only;
		a->log = c == 'l' ? optarg : a->log;
		a->replay = c == 'p' ? optarg : a->replay;
	}
}

int
main(int argc, char **argv)
{
	struct args a = { .c = { .per_slot = 50, .cv = 1, .noise_frac = .05, .unit_s = 1 }, .seed = 1 };

	args_read(&a, argc, argv);
	if (a.replay != NULL)
		return replay_run(a.replay);
	if (a.one)
		return one_run(&a);
	if (a.random == 0)
		(void)table_run(&a, !a.table);
	if (a.table)
		return done_testing();
	if (a.random == 0) {
		test_engine();
		test_asked(a.seed);
		test_replay(a.seed);
		test_replay_differs();
	}
	test_random(a.seed, a.random > 0 ? a.random : QUICK_RANDOM, a.verbose);
	return done_testing();
}
