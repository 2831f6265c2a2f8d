/* SPDX-License-Identifier: MIT */
/* slurm_job.c: a job of Slurm's that lives as long as this run. */
#ifndef CLI_SLURM_JOB_H
#define CLI_SLURM_JOB_H

#include <stdbool.h>

/* {0} is none. */
struct slurm_job {
	int life, grant;            /* pipes to the guard; valid when text is not NULL */
	char *text;                 /* owned: "ID NODES" */
	const char *id, *nodes;     /* into text */
};

/*
 * Ask salloc for a job, by argv (its words, NULL-terminated), and wait for it. To be called before keeper_start(): what
 * stands for the job then is none of the keeper's children, whom it kills. When all processes that had this
 * one's descriptors are gone, however they ended, the job is given back.
 * silent: nobody is told that it takes long. 0, or -errno after say().
 */
int slurm_job_get(char *const *argv, bool silent, struct slurm_job *ret);
/* Give it back now, and wait until it is. Takes {0}. */
void slurm_job_release(struct slurm_job *j);

#endif
