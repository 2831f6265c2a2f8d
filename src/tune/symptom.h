/* SPDX-License-Identifier: MIT */
/*
 * What the machine shows at one number at once, and what of it got worse at a higher one: the
 * figure that tells why more does not help. Only for people: no limit is set by it.
 */
#ifndef KN_SYMPTOM_H
#define KN_SYMPTOM_H

#include "../core/reading.h"

enum kn_symptom {
	KN_SYMPTOM_NONE,
	KN_SYMPTOM_SWAP,            /* bytes a second to and from swap */
	KN_SYMPTOM_RETRANS,         /* share of TCP segments sent again */
	KN_SYMPTOM_LINK,            /* share of time that the link is busy */
	KN_SYMPTOM_LATENCY,         /* ns that an operation of the disk takes */
	KN_SYMPTOM_SMALL,           /* bytes an operation of the disk moves */
	KN_SYMPTOM_DELAY,           /* share of their time that tasks wait for a core */
	KN_SYMPTOM_SWITCHES,        /* context switches a second */
	KN_SYMPTOMS
};

/* Figures by enum kn_symptom, and over how much time each was seen (0: never). */
struct kn_signs {
	double mean[KN_SYMPTOMS];
	double time_ns[KN_SYMPTOMS];
};

/* What tells most: from, at the lower number, and to, at the higher one. */
struct kn_finding {
	enum kn_symptom symptom;
	double from, to;
};

/* Add what was read of the machine over the last elapsed_ns; disk: its name, "": the busiest one, or
 * NULL: the work is not about disks. */
void kn_signs_vitals(struct kn_signs *s, const struct kn_vitals *v, const char *disk, double elapsed_ns);
/* ... and how long tasks waited for a core, of the time they ran. */
void kn_signs_delay(struct kn_signs *s, double delay_ns, double running_ns);
/* What got clearly worse from `low` to `high`. */
struct kn_finding kn_signs_compare(const struct kn_signs *low, const struct kn_signs *high);

#endif
