/* SPDX-License-Identifier: MIT */
/* The log of calls to a tuner, and its replay: see log.h for the format. */
#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS 160
#define AHEAD 256

/* No time or count of a run is beyond this, and two of them can be added. */
#define NUMBER_MAX (INT64_MAX / 4)

/* ---- writing ----------------------------------------------------------------- */

static void
usage_write(FILE *f, const struct kn_usage *u)
{
	fprintf(f, "\t%u\t%" PRId64 "\t%" PRId64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64,
	    u->known, u->cpu_ns, u->delay_ns, u->bytes, u->disk_bytes, u->reads, u->rss_bytes);
	fprintf(
	    f, "\t%u\t%u\t%u\t%u\t%u", u->looks, u->cpu_looks, u->disk_looks, u->net_looks, u->lock_looks);
}

static const char *
name_or_dash(const char *s)
{
	return *s != '\0' ? s : "-";
}

void
sim_log_begin(FILE *f, const struct kn_tuner_options *o, const struct kn_machine *m)
{
	if (f == NULL)
		return;
	fprintf(f, "%s\noptions\t%u\t%u\t%u\t%u\t%.17g\t%" PRIu64 "\t%" PRIu64 "\t%d\t%d\t%" PRIu64 "\n",
	    SIM_LOG_FIRST, o->asked, o->least, o->most, o->hint, o->load_max, o->memfree_bytes,
	    o->memsuspend_bytes, o->noswap, o->measure, o->seed);
	fprintf(f, "machine\t%.17g\t%" PRIu64 "\t%u\t%u\t%u\t%u\n", m->cores, m->memory_bytes, m->fds_free,
	    m->fds_per_task, m->fds_max, m->processes_free);
}

void
sim_log_key(FILE *f, unsigned key, const struct kn_key_name *n)
{
	if (f == NULL)
		return;
	fprintf(f, "key\t%u\t%s\t%s\t%s\t%s\t%u\t%d\n", key, name_or_dash(n->program), name_or_dash(n->kind),
	    name_or_dash(n->place.host), name_or_dash(n->place.disk), n->place.device, n->place.spindle);
}

void
sim_log_recall(FILE *f, unsigned key, const struct kn_prior *p)
{
	if (f == NULL)
		return;
	fprintf(f, "recall\t%u\t%u\t%u\t%.17g\t%.17g\t%.17g\t%.17g\t%.17g\t%.17g\t%.17g\t%.17g\t%.17g\n", key,
	    (unsigned)p->kind, p->limit, p->cpu_share, p->disk_share, p->net_share, p->wait_share,
	    p->cores_per_task, p->runtime_ns, p->cpu_ns, p->bytes, p->rss_bytes);
}

void
sim_log_queue(FILE *f, unsigned key, uint64_t queued, uint64_t head_seq)
{
	if (f != NULL)
		fprintf(f, "queue\t%u\t%" PRIu64 "\t%" PRIu64 "\n", key, queued, head_seq);
}

void
sim_log_started(FILE *f, unsigned key, int64_t now_ns)
{
	if (f != NULL)
		fprintf(f, "started\t%u\t%" PRId64 "\n", key, now_ns);
}

void
sim_log_progress(
    FILE *f, unsigned key, int64_t started_ns, const struct kn_usage *delta, const struct kn_usage *total)
{
	if (f == NULL)
		return;
	fprintf(f, "progress\t%u\t%" PRId64, key, started_ns);
	usage_write(f, delta);
	usage_write(f, total);
	putc('\n', f);
}

void
sim_log_alive(FILE *f, unsigned key, int64_t started_ns)
{
	if (f != NULL)
		fprintf(f, "alive\t%u\t%" PRId64 "\n", key, started_ns);
}

void
sim_log_ended(FILE *f, unsigned key, const struct kn_end *e)
{
	if (f == NULL)
		return;
	fprintf(f, "ended\t%u\t%" PRId64 "\t%" PRId64 "\t%d\t%d\t%d\t%" PRIu64, key, e->now_ns, e->started_ns,
	    e->failed, e->busy, e->cut, e->peak_rss_bytes);
	usage_write(f, &e->usage);
	usage_write(f, &e->delta);
	putc('\n', f);
}

void
sim_log_refused(FILE *f, int err, int64_t now_ns)
{
	if (f != NULL)
		fprintf(f, "refused\t%d\t%" PRId64 "\n", err, now_ns);
}

void
sim_log_sample(FILE *f, const struct kn_sample *s)
{
	const struct kn_vitals *v = s->vitals;

	if (f == NULL)
		return;
	fprintf(f, "sample\t%" PRId64 "\t%" PRIu64 "\t%d\t%d", s->now_ns, s->left, s->left_known, v != NULL);
	if (v != NULL) {
		fprintf(f, "\t%u\t%.17g\t%.17g\t%" PRIu64 "\t%" PRIu64 "\t%.17g\t%.17g", v->known,
		    v->cpu_busy, v->cpu_steal_frac, v->memory_bytes, v->memory_free_bytes,
		    v->pressure_some_frac, v->pressure_full_frac);
		fprintf(f, "\t%" PRIu64 "\t%" PRIu64 "\t%.17g\t%.17g\t%.17g\t%.17g\t%u\t%u", v->swap_in_bytes,
		    v->swap_out_bytes, v->net_bytes_per_s, v->net_busy_frac, v->retrans_frac,
		    v->switches_per_s, v->runnable, v->ndisks);
		for (unsigned i = 0; i < v->ndisks; i++)
			fprintf(f, "\t%s\t%u\t%d\t%.17g\t%.17g\t%.17g\t%" PRId64,
			    name_or_dash(v->disks[i].name), v->disks[i].device, v->disks[i].spindle,
			    v->disks[i].busy_frac, v->disks[i].bytes_per_s, v->disks[i].ops_per_s,
			    v->disks[i].latency_ns);
	}
	putc('\n', f);
}

void
sim_log_adjust(FILE *f, int by, int64_t now_ns)
{
	if (f != NULL)
		fprintf(f, "adjust\t%d\t%" PRId64 "\n", by, now_ns);
}

void
sim_log_suspended(FILE *f, unsigned suspended)
{
	if (f != NULL)
		fprintf(f, "suspended\t%u\n", suspended);
}

void
sim_log_change(FILE *f, const struct kn_change *c)
{
	if (f != NULL)
		fprintf(f, "change\t%u\t%u\t%u\t%u\t%.17g\t%.17g\t%.17g\n", c->class, c->from, c->to,
		    (unsigned)c->why, c->figure[0], c->figure[1], c->figure[2]);
}

static const char *const why_names[] = {
	[KN_WHY_START] = "start",
	[KN_WHY_REMEMBERED] = "remembered",
	[KN_WHY_HINT] = "hint",
	[KN_WHY_KIND] = "kind",
	[KN_WHY_RISE] = "rise",
	[KN_WHY_BLIND] = "blind",
	[KN_WHY_CONFIRM] = "confirm",
	[KN_WHY_DRIFT] = "drift",
	[KN_WHY_REFINE] = "refine",
	[KN_WHY_SETTLED] = "settled",
	[KN_WHY_PROBE] = "probe",
	[KN_WHY_PROBE_BACK] = "probe back",
	[KN_WHY_PROBE_WON] = "probe won",
	[KN_WHY_HARM] = "harm",
	[KN_WHY_CPU_FULL] = "cpu full",
	[KN_WHY_CORES] = "cores",
	[KN_WHY_MODEL] = "model",
	[KN_WHY_BOUND] = "bound",
	[KN_WHY_MEMORY] = "memory",
	[KN_WHY_PRESSURE] = "pressure",
	[KN_WHY_SWAP] = "swap",
	[KN_WHY_FAILURES] = "failures",
	[KN_WHY_BUSY] = "busy",
	[KN_WHY_LOAD] = "load",
	[KN_WHY_REFUSED] = "refused",
	[KN_WHY_RECOVERED] = "recovered",
	[KN_WHY_HAND] = "hand",
	[KN_WHY_CHANGED] = "changed",
};

_Static_assert(sizeof(why_names) / sizeof(why_names[0]) == KN_WHYS, "a name for every reason");

const char *
sim_why_name(enum kn_why why)
{
	return (unsigned)why < KN_WHYS ? why_names[why] : "?";
}

void
sim_change_print(FILE *f, const struct kn_change *c)
{
	fprintf(f, "# %10.3f s  class %u  %4u -> %-4u  %-11s %8.4g %8.4g %8.4g\n", (double)c->now_ns / 1e9,
	    c->class, c->from, c->to, sim_why_name(c->why), c->figure[0], c->figure[1], c->figure[2]);
}

/* ---- reading ------------------------------------------------------------------ */

/* A line cut into fields; each taking goes one further. A missing or wrong field makes it bad. */
struct line {
	char *fields[FIELDS];
	unsigned n, at;
	bool bad;
};

struct replay {
	struct kn_tuner *t; /* owned */
	struct kn_tuner_options options;
	struct kn_machine machine;
	FILE *print;
	unsigned changes, differ;
	unsigned running[KN_KEYS];
	/* Decisions of this tuner whose line in the log is still to come: a ring, head .. tail. */
	struct kn_change ahead[AHEAD];
	unsigned head, tail;
};

static void
line_cut(struct line *l, char *text)
{
	*l = (struct line){ 0 };
	text[strcspn(text, "\n")] = '\0';
	while (text != NULL && l->n < FIELDS) {
		l->fields[l->n++] = text;
		text = strchr(text, '\t');
		if (text != NULL)
			*text++ = '\0';
	}
	l->bad = text != NULL;
}

static const char *
take(struct line *l)
{
	if (++l->at < l->n)
		return l->fields[l->at];
	l->bad = true;
	return "";
}

static uint64_t
take_u64(struct line *l)
{
	const char *s = take(l);
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(s, &end, 10);
	if (end == s || *end != '\0' || errno != 0)
		l->bad = true;
	return n;
}

/* Of what tasks can add up. */
static uint64_t
take_count(struct line *l)
{
	uint64_t n = take_u64(l);

	if (n <= NUMBER_MAX)
		return n;
	l->bad = true;
	return 0;
}

static int64_t
take_i64(struct line *l)
{
	const char *s = take(l);
	char *end;
	int64_t n;

	errno = 0;
	n = strtoll(s, &end, 10);
	if (end == s || *end != '\0' || errno != 0 || n > NUMBER_MAX || n < -NUMBER_MAX) {
		l->bad = true;
		return 0;
	}
	return n;
}

static unsigned
take_uint(struct line *l)
{
	uint64_t n = take_u64(l);

	if (n > UINT32_MAX)
		l->bad = true;
	return (unsigned)n;
}

/* Of a number of an enum, "last" not included. */
static unsigned
take_one_of(struct line *l, unsigned last)
{
	unsigned n = take_uint(l);

	if (n < last)
		return n;
	l->bad = true;
	return 0;
}

static double
take_double(struct line *l)
{
	const char *s = take(l);
	char *end;
	double x = strtod(s, &end);

	if (end == s || *end != '\0' || !isfinite(x)) {
		l->bad = true;
		return 0;
	}
	return x;
}

static void
take_name(struct line *l, char *ret, size_t size)
{
	const char *s = take(l);

	if (strlen(s) >= size)
		l->bad = true;
	(void)snprintf(ret, size, "%s", strcmp(s, "-") == 0 ? "" : s);
}

static struct kn_usage
take_usage(struct line *l)
{
	struct kn_usage u = { 0 };

	u.known = take_uint(l);
	u.cpu_ns = take_i64(l);
	u.delay_ns = take_i64(l);
	u.bytes = take_count(l);
	u.disk_bytes = take_count(l);
	u.reads = take_count(l);
	u.rss_bytes = take_count(l);
	u.looks = take_uint(l);
	u.cpu_looks = take_uint(l);
	u.disk_looks = take_uint(l);
	u.net_looks = take_uint(l);
	u.lock_looks = take_uint(l);
	return u;
}

static void
read_options(struct replay *r, struct line *l)
{
	struct kn_tuner_options *o = &r->options;

	o->asked = take_uint(l);
	o->least = take_uint(l);
	o->most = take_uint(l);
	o->hint = (enum knee_kind)take_one_of(l, KNEE_KINDS);
	o->load_max = take_double(l);
	o->memfree_bytes = take_u64(l);
	o->memsuspend_bytes = take_u64(l);
	o->noswap = take_uint(l) != 0;
	o->measure = take_uint(l) != 0;
	o->seed = take_u64(l);
}

static int
read_machine(struct replay *r, struct line *l)
{
	struct kn_machine *m = &r->machine;

	m->cores = take_double(l);
	m->memory_bytes = take_u64(l);
	m->fds_free = take_uint(l);
	m->fds_per_task = take_uint(l);
	m->fds_max = take_uint(l);
	m->processes_free = take_uint(l);
	if (l->bad || r->t != NULL || m->cores <= 0 || m->fds_per_task == 0)
		return -EINVAL;
	return kn_tuner_new(&r->options, m, &r->t);
}

static int
read_key(struct replay *r, struct line *l)
{
	struct kn_key_name name = { 0 };
	unsigned key = take_uint(l);

	take_name(l, name.program, sizeof(name.program));
	take_name(l, name.kind, sizeof(name.kind));
	take_name(l, name.place.host, sizeof(name.place.host));
	take_name(l, name.place.disk, sizeof(name.place.disk));
	name.place.device = take_uint(l);
	name.place.spindle = (int)take_i64(l);
	return l->bad || kn_tuner_key(r->t, &name) != key ? -EINVAL : 0;
}

static void
read_recall(struct replay *r, struct line *l, unsigned key)
{
	struct kn_prior p = { 0 };

	p.kind = (enum knee_kind)take_one_of(l, KNEE_KINDS);
	p.limit = take_uint(l);
	p.cpu_share = take_double(l);
	p.disk_share = take_double(l);
	p.net_share = take_double(l);
	p.wait_share = take_double(l);
	p.cores_per_task = take_double(l);
	p.runtime_ns = take_double(l);
	p.cpu_ns = take_double(l);
	p.bytes = take_double(l);
	p.rss_bytes = take_double(l);
	if (!l->bad)
		kn_tuner_recall(r->t, key, &p);
}

static void
read_started(struct replay *r, struct line *l, unsigned key)
{
	int64_t now = take_i64(l);

	if (l->bad)
		return;
	r->running[key]++;
	kn_tuner_started(r->t, key, now);
}

static void
read_progress(struct replay *r, struct line *l, unsigned key)
{
	int64_t started = take_i64(l);
	struct kn_usage delta = take_usage(l), total = take_usage(l);

	if (!l->bad)
		kn_tuner_progress(r->t, key, started, &delta, &total);
}

static void
read_ended(struct replay *r, struct line *l, unsigned key)
{
	struct kn_end e = { 0 };

	e.now_ns = take_i64(l);
	e.started_ns = take_i64(l);
	e.failed = take_uint(l) != 0;
	e.busy = take_uint(l) != 0;
	e.cut = take_uint(l) != 0;
	e.peak_rss_bytes = take_count(l);
	e.usage = take_usage(l);
	e.delta = take_usage(l);
	/* What runs no more cannot end. */
	if (e.started_ns > e.now_ns || r->running[key] == 0)
		l->bad = true;
	if (l->bad)
		return;
	r->running[key]--;
	kn_tuner_ended(r->t, key, &e);
}

static void
take_vitals(struct line *l, struct kn_vitals *v)
{
	v->known = take_uint(l);
	v->cpu_busy = take_double(l);
	v->cpu_steal_frac = take_double(l);
	v->memory_bytes = take_u64(l);
	v->memory_free_bytes = take_u64(l);
	v->pressure_some_frac = take_double(l);
	v->pressure_full_frac = take_double(l);
	v->swap_in_bytes = take_count(l);
	v->swap_out_bytes = take_count(l);
	v->net_bytes_per_s = take_double(l);
	v->net_busy_frac = take_double(l);
	v->retrans_frac = take_double(l);
	v->switches_per_s = take_double(l);
	v->runnable = take_uint(l);
	v->ndisks = take_uint(l);
	if (v->ndisks > KN_DISKS) {
		l->bad = true;
		v->ndisks = 0;
	}
	for (unsigned i = 0; i < v->ndisks; i++) {
		take_name(l, v->disks[i].name, sizeof(v->disks[i].name));
		v->disks[i].device = take_uint(l);
		v->disks[i].spindle = (int)take_i64(l);
		v->disks[i].busy_frac = take_double(l);
		v->disks[i].bytes_per_s = take_double(l);
		v->disks[i].ops_per_s = take_double(l);
		v->disks[i].latency_ns = take_i64(l);
	}
}

static void
read_sample(struct replay *r, struct line *l)
{
	struct kn_sample s = { 0 };
	struct kn_vitals v = { 0 };

	s.now_ns = take_i64(l);
	s.left = take_u64(l);
	s.left_known = take_uint(l) != 0;
	if (take_uint(l) != 0) {
		take_vitals(l, &v);
		s.vitals = &v;
	}
	if (!l->bad) {
		kn_tuner_sample(r->t, &s);
		(void)kn_tuner_act(r->t);
	}
}

/* Its decisions, as it takes them. */
static void
changes_pull(struct replay *r)
{
	struct kn_change c;

	while (r->t != NULL && kn_tuner_change(r->t, &c)) {
		r->changes++;
		if (r->print != NULL)
			sim_change_print(r->print, &c);
		if (r->tail - r->head < AHEAD)
			r->ahead[r->tail++ % AHEAD] = c;
		else
			r->differ++;
	}
}

/* What the log says was decided must be what this tuner decided. */
static void
read_change(struct replay *r, struct line *l)
{
	struct kn_change was = { 0 };
	const struct kn_change *is;

	was.class = take_uint(l);
	was.from = take_uint(l);
	was.to = take_uint(l);
	was.why = (enum kn_why)take_uint(l);
	for (int i = 0; i < 3; i++)
		was.figure[i] = take_double(l);
	if (r->head == r->tail) {
		r->differ++;
		return;
	}
	is = &r->ahead[r->head++ % AHEAD];
	if (is->class != was.class || is->from != was.from || is->to != was.to || is->why != was.why)
		r->differ++;
}

static int
line_replay(struct replay *r, struct line *l)
{
	const char *word = l->fields[0];
	bool keyed = strcmp(word, "recall") == 0 || strcmp(word, "queue") == 0 ||
	    strcmp(word, "started") == 0 || strcmp(word, "progress") == 0 || strcmp(word, "alive") == 0 ||
	    strcmp(word, "ended") == 0;
	unsigned key = 0;

	if (strcmp(word, "machine") == 0)
		return read_machine(r, l);
	if (strcmp(word, "options") == 0) {
		read_options(r, l);
		return l->bad ? -EINVAL : 0;
	}
	if (r->t == NULL)
		return -EINVAL;
	if (strcmp(word, "change") == 0) {
		read_change(r, l);
		return l->bad ? -EINVAL : 0;
	}
	if (keyed && (key = take_uint(l)) >= kn_tuner_nkeys(r->t))
		return -EINVAL;
	if (strcmp(word, "key") == 0)
		return read_key(r, l);
	if (strcmp(word, "recall") == 0)
		read_recall(r, l, key);
	else if (strcmp(word, "progress") == 0)
		read_progress(r, l, key);
	else if (strcmp(word, "alive") == 0)
		kn_tuner_alive(r->t, key, take_i64(l));
	else if (strcmp(word, "ended") == 0)
		read_ended(r, l, key);
	else if (strcmp(word, "sample") == 0)
		read_sample(r, l);
	else if (strcmp(word, "suspended") == 0)
		kn_tuner_suspended(r->t, take_uint(l));
	else if (strcmp(word, "started") == 0)
		read_started(r, l, key);
	else if (strcmp(word, "queue") == 0 || strcmp(word, "refused") == 0 || strcmp(word, "adjust") == 0) {
		int64_t a = take_i64(l);
		uint64_t b = take_u64(l);

		if (l->bad || (*word != 'q' && b > NUMBER_MAX))
			return -EINVAL;
		if (*word == 'q')
			kn_tuner_queue(r->t, key, (uint64_t)a, b);
		else if (*word == 'r')
			(void)kn_tuner_refused(r->t, (int)a, (int64_t)b);
		else
			kn_tuner_adjust(r->t, (int)a, (int64_t)b);
	} else {
		return -EINVAL;
	}
	return l->bad ? -EINVAL : 0;
}

int
sim_replay(FILE *f, FILE *print, unsigned *changes, unsigned *differ, unsigned *line)
{
	struct replay r = { .print = print };
	char *text = NULL;
	size_t size = 0;
	struct line l;
	int err = -EINVAL;

	*line = 1;
	if (getline(&text, &size, f) > 0 && strcmp(text, SIM_LOG_FIRST "\n") == 0)
		err = 0;
	while (err == 0 && getline(&text, &size, f) > 0) {
		++*line;
		line_cut(&l, text);
		if (*text != '#')
			err = l.bad ? -EINVAL : line_replay(&r, &l);
		changes_pull(&r);
	}
	*changes = r.changes;
	*differ = r.differ + (r.tail - r.head);
	kn_tuner_free(r.t);
	free(text);
	return err;
}
