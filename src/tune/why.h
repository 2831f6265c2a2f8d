/* SPDX-License-Identifier: MIT */
#ifndef KN_WHY_H
#define KN_WHY_H

/* Why a limit changed, or stays; with up to three figures. explain.c puts them into words. */
enum kn_why {
	KN_WHY_START,               /* the start of its kind */
	KN_WHY_REMEMBERED,          /* learnt in an earlier run */
	KN_WHY_HINT,                /* --kind */
	KN_WHY_KIND,                /* its tasks turned out to be of another kind: shares cpu, disk, net */
	KN_WHY_RISE,                /* the last raise helped: gain, se */
	KN_WHY_BLIND,               /* nothing has ended yet, nothing is busy: waiting is cheap */
	KN_WHY_CONFIRM,             /* no gain: measured once more below: gain, se */
	KN_WHY_DRIFT,               /* the gain was hidden by a change of the work */
	KN_WHY_REFINE,              /* a number between measured ones */
	KN_WHY_SETTLED,             /* the smallest within 2 % of the best: throughput of next above, below */
	KN_WHY_PROBE,               /* looks again: is it still the best? */
	KN_WHY_PROBE_BACK,          /* it is */
	KN_WHY_PROBE_WON,           /* it was not: gain */
	KN_WHY_HARM,                /* more made it worse: loss */
	KN_WHY_CPU_FULL,            /* the cores are busy: busy share */
	KN_WHY_CORES,               /* so many keep the cores busy: the model of what computes */
	KN_WHY_MODEL,               /* few tasks: no search */
	KN_WHY_BOUND,               /* the most that is allowed */
	KN_WHY_MEMORY,              /* memory allows no more: bytes a task, bytes free */
	KN_WHY_PRESSURE,            /* tasks wait for memory: share of time */
	KN_WHY_SWAP,                /* memory is being swapped */
	KN_WHY_FAILURES,            /* failures rise with the limit: share now, share below */
	KN_WHY_BUSY,                /* tasks say "too many": share */
	KN_WHY_LOAD,                /* the machine's load is above what was allowed: load */
	KN_WHY_REFUSED,             /* the machine refuses to start more: figure[0] is the errno */
	KN_WHY_RECOVERED,           /* it no longer does */
	KN_WHY_HAND,                /* the user's own hand */
	KN_WHY_CHANGED,             /* the work changed: searching again: throughput against before */
	KN_WHYS
};

#endif
