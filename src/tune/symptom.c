/* SPDX-License-Identifier: MIT */
#include "symptom.h"

#include <stddef.h>
#include <string.h>

static void
add(struct kn_signs *s, enum kn_symptom i, double value, double time_ns)
{
	if (time_ns <= 0)
		return;
	s->time_ns[i] += time_ns;
	s->mean[i] += (value - s->mean[i]) * time_ns / s->time_ns[i];
}

static const struct kn_disk *
disk_of(const struct kn_vitals *v, const char *name)
{
	const struct kn_disk *busiest = NULL;

	for (unsigned i = 0; i < v->ndisks; i++) {
		const struct kn_disk *d = &v->disks[i];

		if (strcmp(d->name, name) == 0)
			return d;
		if (busiest == NULL || d->busy_frac > busiest->busy_frac)
			busiest = d;
	}
	return name[0] == '\0' ? busiest : NULL;
}

void
kn_signs_vitals(struct kn_signs *s, const struct kn_vitals *v, const char *disk, double elapsed_ns)
{
	const struct kn_disk *d;

	if ((v->known & KN_VITALS_SWAP) && elapsed_ns > 0)
		add(s, KN_SYMPTOM_SWAP, (double)(v->swap_in_bytes + v->swap_out_bytes) * 1e9 / elapsed_ns,
		    elapsed_ns);
	if (v->known & KN_VITALS_RETRANS)
		add(s, KN_SYMPTOM_RETRANS, v->retrans_frac, elapsed_ns);
	if ((v->known & KN_VITALS_NET) && v->net_busy_frac >= 0)
		add(s, KN_SYMPTOM_LINK, v->net_busy_frac, elapsed_ns);
	if (v->known & KN_VITALS_SWITCHES)
		add(s, KN_SYMPTOM_SWITCHES, v->switches_per_s, elapsed_ns);
	d = disk != NULL && (v->known & KN_VITALS_DISKS) ? disk_of(v, disk) : NULL;
	if (d == NULL || d->ops_per_s <= 0)
		return;
	add(s, KN_SYMPTOM_LATENCY, (double)d->latency_ns, elapsed_ns);
	add(s, KN_SYMPTOM_SMALL, d->bytes_per_s / d->ops_per_s, elapsed_ns);
}

void
kn_signs_delay(struct kn_signs *s, double delay_ns, double running_ns)
{
	add(s, KN_SYMPTOM_DELAY, running_ns > 0 ? delay_ns / running_ns : 0, running_ns);
}

/* Is to so much worse than from that it explains something? */
static int
worse(enum kn_symptom i, double from, double to)
{
	switch (i) {
	case KN_SYMPTOM_SWAP:
		return to > 1e6 && to > 2 * from;
	case KN_SYMPTOM_RETRANS:
		return to > 0.01 && to > 2 * from;
	case KN_SYMPTOM_LINK:
		return to > 0.9;
	case KN_SYMPTOM_LATENCY:
		return to > 1.5 * from;
	case KN_SYMPTOM_SMALL:
		return to < 0.7 * from;
	case KN_SYMPTOM_DELAY:
		return to > 0.1 && to > 1.5 * from;
	case KN_SYMPTOM_SWITCHES:
		return to > 10000 && to > 2 * from;
	case KN_SYMPTOM_NONE:
	case KN_SYMPTOMS:
		break;
	}
	return 0;
}

struct kn_finding
kn_signs_compare(const struct kn_signs *low, const struct kn_signs *high)
{
	for (int i = KN_SYMPTOM_NONE + 1; i < KN_SYMPTOMS; i++)
		if (low->time_ns[i] > 0 && high->time_ns[i] > 0 &&
		    worse((enum kn_symptom)i, low->mean[i], high->mean[i]))
			return (struct kn_finding){
				.symptom = (enum kn_symptom)i, .from = low->mean[i], .to = high->mean[i]
			};
	return (struct kn_finding){ .symptom = KN_SYMPTOM_NONE };
}
