/* SPDX-License-Identifier: MIT */
#include "cases.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS 12

static const char *const columns[] = { "world", "size", "signal", "cv", "order", "noise", "event", "unit" };

/* ---- reading the table ------------------------------------------------------------ */

static bool
number(const char *s, double *ret)
{
	char *end;

	*ret = strtod(s, &end);
	return end != s && *end == '\0' && isfinite(*ret);
}

static bool
word_find(const char *const *names, const char *word, unsigned *ret)
{
	for (unsigned i = 0; names[i] != NULL; i++) {
		if (strcmp(names[i], word) == 0) {
			*ret = i;
			return true;
		}
	}
	return false;
}

static bool
size_set(struct sim_case *c, const char *word)
{
	double n;

	if ((*word != 'R' && *word != 'T') || !number(word + 1, &n) || n <= 0)
		return false;
	c->per_slot = *word == 'R' ? n : 0;
	c->tasks = *word == 'T' ? (unsigned)n : 0;
	return true;
}

bool
sim_case_set(struct sim_case *c, const char *column, const char *word)
{
	unsigned i = 0;
	bool good = true;

	if (strcmp(column, "world") == 0) {
		(void)snprintf(c->world, sizeof(c->world), "%s", word);
	} else if (strcmp(column, "size") == 0) {
		good = size_set(c, word);
	} else if (strcmp(column, "signal") == 0) {
		good = word_find(sim_signal_names, word, &i);
		c->signal = (enum sim_signal)i;
	} else if (strcmp(column, "cv") == 0) {
		good = number(word + (*word == 'p'), &c->cv);
		c->cv = *word == 'p' ? -c->cv : c->cv;
	} else if (strcmp(column, "order") == 0) {
		good = word_find(sim_order_names, word, &i);
		c->order = (enum sim_order)i;
	} else if (strcmp(column, "noise") == 0) {
		good = number(word, &c->noise_frac);
		c->noise_frac /= 100;
	} else if (strcmp(column, "event") == 0) {
		good = word_find(sim_event_names, word, &i);
		c->event = (enum sim_event)i;
	} else if (strcmp(column, "unit") == 0) {
		good = number(word, &c->unit_s) && c->unit_s > 0;
	} else {
		good = false;
	}
	return good;
}

static bool
gate_read(struct sim_table *t, char *const *words, unsigned n)
{
	struct sim_gate *g = &t->gates[t->ngates];
	double *numbers[] = { &g->geomean, &g->each, &g->p90, &g->worst };

	if (n != 6 || t->ngates == SIM_GATES)
		return false;
	(void)snprintf(g->group, sizeof(g->group), "%s", words[1]);
	for (int i = 0; i < 4; i++) {
		if (strcmp(words[i + 2], "-") != 0 && !number(words[i + 2], numbers[i]))
			return false;
	}
	t->ngates++;
	return true;
}

static bool
row_read(struct sim_table *t, char *const *words, unsigned n)
{
	struct sim_row *row = &t->rows[t->nrows];

	if (n < 10 || n > 11 || t->nrows == SIM_CASES || !number(words[9], &row->accepted))
		return false;
	(void)snprintf(row->group, sizeof(row->group), "%s", words[0]);
	for (unsigned i = 0; i < 8; i++) {
		if (!sim_case_set(&row->c, columns[i], words[i + 1]))
			return false;
	}
	row->quick = n == 11;
	t->nrows++;
	return n == 10 || strcmp(words[10], "quick") == 0;
}

int
sim_table_read(struct sim_table *t, const char *path, unsigned *line)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;
	int err = 0;

	*line = 0;
	if (f == NULL)
		return -errno;
	while (err == 0 && getline(&text, &size, f) > 0) {
		char *words[COLUMNS] = { NULL }, *rest = text;
		unsigned n = 0;

		++*line;
		text[strcspn(text, "#\n")] = '\0';
		while (n < COLUMNS && (words[n] = strtok_r(rest, " \t", &rest)) != NULL)
			n++;
		if (n == 0)
			continue;
		if (!(strcmp(words[0], "gate") == 0 ? gate_read(t, words, n) : row_read(t, words, n)))
			err = -EINVAL;
	}
	free(text);
	(void)fclose(f);
	return err;
}

void
sim_case_print(FILE *f, const struct sim_case *c)
{
	char size[16], cv[16];

	(void)snprintf(size, sizeof(size), c->per_slot > 0 ? "R%g" : "T%g",
	    c->per_slot > 0 ? c->per_slot : (double)c->tasks);
	(void)snprintf(cv, sizeof(cv), c->cv < 0 ? "p%g" : "%g", fabs(c->cv));
	fprintf(f, "%-9s %-6s %-11s %-4s %-6s %3g %-6s %6g", c->world, size, sim_signal_names[c->signal], cv,
	    sim_order_names[c->order], c->noise_frac * 100, sim_event_names[c->event], c->unit_s);
}

/* ---- running a case ----------------------------------------------------------------- */

/* The run before, from which this one knows: of the same kind, but not the same tasks. */
static int
earlier_run(const struct sim_case *c, uint64_t seed, struct sim_prior prior[SIM_TYPES])
{
	const struct sim_options o = { .tuner.seed = seed + 1000 };
	struct sim_world *w = NULL;
	struct sim_result r;
	int err = sim_world_new(c, seed + 1000, &w);

	if (err == 0)
		err = sim_run(w, &o, seed + 1000, &r);
	if (err == 0)
		memcpy(prior, r.learnt, sizeof(r.learnt));
	sim_world_free(w);
	return err;
}

static int
tuner_run(const struct sim_case *c, const struct sim_world *w, uint64_t seed, const struct sim_options *given,
    struct sim_result *ret)
{
	struct sim_options o = given != NULL ? *given : (struct sim_options){ 0 };
	struct sim_prior prior[SIM_TYPES] = { { 0 } };
	int err = 0;

	o.tuner.seed = seed;
	if (c->event == SIM_AGAIN) {
		err = earlier_run(c, seed, prior);
		o.recall = prior;
	}
	return err < 0 ? err : sim_run(w, &o, seed, ret);
}

int
sim_case_once(const struct sim_case *c, uint64_t seed, const struct sim_options *o, struct sim_result *ret)
{
	struct sim_world *w = NULL;
	int err = sim_world_new(c, seed, &w);

	if (err == 0)
		err = tuner_run(c, w, seed, o, ret);
	sim_world_free(w);
	return err;
}

static int
double_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double
sim_quantile(const double *x, unsigned n, double q)
{
	double sorted[SIM_SEEDS * SIM_CASES];

	if (n == 0)
		return 0;
	memcpy(sorted, x, n * sizeof(*x));
	qsort(sorted, n, sizeof(*sorted), double_compare);
	return sorted[(unsigned)ceil(q * n - 1e-9) > 0 ? (unsigned)ceil(q * n - 1e-9) - 1 : 0];
}

static void
outcome_add(struct sim_outcome *o, const struct sim_world *w, const struct sim_result *r, uint64_t seed,
    unsigned seeds, double *near)
{
	double ratio = (double)r->ns / SIM_SECOND / o->best.of[o->n];

	if (ratio > o->worst) {
		o->worst = ratio;
		o->worst_seed = seed;
	}
	near[o->n] = r->near_s < 0 ? INFINITY : r->near_s;
	o->limits[o->n] = (double)r->limit / w->pools[w->types[0].phases[0].pool].best;
	o->ratios[o->n++] = ratio;
	o->mean += ratio / seeds;
	for (int i = 0; i < SIM_LOSSES; i++)
		o->lost_frac[i] += r->lost_s[i] / ((double)r->ns / SIM_SECOND) / seeds;
	o->busy_late += r->busy_late;
	o->killed += r->killed;
	o->lost += r->lost;
	o->tasks += r->ended;
	if (r->skipped_most > o->skipped_most)
		o->skipped_most = r->skipped_most;
	if (r->wrong != NULL && o->wrong == NULL) {
		o->wrong = r->wrong;
		o->wrong_seed = seed;
	}
}

static int
set_run(const struct sim_case *c, const struct sim_set *set, bool near, struct sim_outcome *ret)
{
	double near_s[SIM_SEEDS], total_s = 0, median;
	struct sim_best single = { 0 };
	struct sim_result r;
	bool many = set->worlds[0]->ntypes > 1;
	int err = many ? sim_best_vector(set, &ret->best) : sim_best_single(set, near, &ret->best);

	if (err == 0 && many)
		err = sim_best_single(set, false, &single);
	for (unsigned i = 0; err == 0 && i < set->n; i++) {
		err = tuner_run(c, set->worlds[i], set->seeds[i], NULL, &r);
		if (err == 0)
			outcome_add(ret, set->worlds[i], &r, set->seeds[i], set->n, near_s);
		total_s += (double)r.ns / SIM_SECOND / set->n;
	}
	if (err < 0)
		return err;
	ret->p90 = sim_quantile(ret->ratios, ret->n, .9);
	ret->against_single = many ? single.mean_s / total_s : 0;
	median = sim_quantile(near_s, ret->n, .5);
	ret->near_s = isfinite(median) ? median : -1;
	return 0;
}

int
sim_case_run(const struct sim_case *c, uint64_t first, unsigned seeds, bool near, struct sim_outcome *ret)
{
	struct sim_set set = { .n = 0 };
	int err = seeds > 0 && seeds <= SIM_SEEDS ? 0 : -EINVAL;

	*ret = (struct sim_outcome){ 0 };
	for (; err == 0 && set.n < seeds; set.n += err == 0) {
		set.seeds[set.n] = first + set.n;
		err = sim_world_new(c, first + set.n, &set.worlds[set.n]);
	}
	if (err == 0)
		err = set_run(c, &set, near, ret);
	for (unsigned i = 0; i < set.n; i++)
		sim_world_free(set.worlds[i]);
	return err;
}
