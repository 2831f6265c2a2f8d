/* SPDX-License-Identifier: MIT */
/*
 * Slurm gives machines and starts one agent on each; tasks are none of its business, as its controller takes some
 * tens of steps in a second.
 *
 *	in a job     its nodes; ARGUMENTS of --on slurm:ARGUMENTS are srun's
 *	elsewhere    salloc ARGUMENTS first (slurm_job.c), then the same
 *
 *	env -u ... srun ARGUMENTS --jobid=ID --overlap -N1 -n1 -w NODE -u -Q --mpi=none sh -c SCRIPT
 *
 * --overlap: such a step takes nothing away from others of the job, and gets all of its cores on that node, as
 * long as no number of CPUs is given: -c means --exact since Slurm 22.05, and newer versions take it from
 * SLURM_CPUS_PER_TASK, so such variables are taken away.  -u: else what has no newline behind it is
 * kept back.  srun's exit status says little (it is 0 when a node was lost); that is for the frames to tell.
 */
#include "slurm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "machines.h"
#include "options_table.h"
#include "slurm_job.h"

struct slurm {
	struct slurm_job job;    /* {0} in a job of the user's */
	const char *id;          /* borrowed from job or the environment */
	char *jobid;             /* owned: "--jobid=ID" */
	struct line_words words; /* ARGUMENTS; words owned */
	char **nodes;            /* owned, one allocation */
	size_t nnodes;
	struct knee_host *hosts; /* owned; nnodes of them */
	const char **argvs;      /* owned: the argv of all hosts, one behind the other */
};

/* What srun reads as options that would make something else of an agent's step. */
static const char *const unset[] = {
	"SLURM_CPUS_PER_TASK",
	"SRUN_CPUS_PER_TASK",
	"SLURM_TRES_PER_TASK",
	"SLURM_EXACT",
	"SLURM_EXCLUSIVE",
	"SLURM_NTASKS",
	"SLURM_NPROCS",
	"SLURM_NTASKS_PER_NODE",
	"SLURM_NTASKS_PER_CORE",
	"SLURM_NTASKS_PER_SOCKET",
	"SLURM_NTASKS_PER_GPU",
	"SLURM_DISTRIBUTION",
	"SLURM_HINT",
	"SLURM_CPU_BIND",
	"SLURM_MEM_BIND",
	"SLURM_EXPORT_ENV", /* sbatch --export=NONE: tasks have knee's environment all the same */
	"SLURM_THREADS_PER_CORE",
	"SLURM_LABELIO",
	"SLURM_STDINMODE",
	"SLURM_STDOUTMODE",
	"SLURM_STDERRMODE",
	"SLURM_MULTI_PROG",
	"SLURM_WAIT",
};
#define NUNSET (sizeof(unset) / sizeof(*unset))

static const char *const step[] = { "--overlap", "-N1", "-n1", "-u", "-Q", "--mpi=none" };
#define NSTEP (sizeof(step) / sizeof(*step))

static int
out_of_memory(void)
{
	return say_error(ENOMEM, "--on slurm: %s", strerror(ENOMEM));
}

/* ---- the job ------------------------------------------------------------------------ */

static bool
in_path(const char *name)
{
	const char *path = getenv("PATH"), *end;
	char file[4096];

	for (; path != NULL; path = *end != '\0' ? end + 1 : NULL) {
		end = path + strcspn(path, ":");
		if (snprintf(file, sizeof(file), "%.*s/%s", (int)(end - path), path, name) <
			(int)sizeof(file) &&
		    access(file, X_OK) == 0)
			return true;
	}
	return false;
}

/* 0, or -EINVAL after say(). */
static int
words_check(const struct slurm *s)
{
	for (size_t i = 0; i < s->words.n; i++) {
		if (strcmp(s->words.words[i], "--no-shell") == 0)
			return say_error(EINVAL, "--on slurm: --no-shell: the job would stay behind");
		if (strcmp(s->words.words[i], "--") == 0)
			return say_error(EINVAL, "--on slurm: only options may stand behind slurm:, not --");
	}
	return 0;
}

static int
job_get(struct slurm *s, bool silent)
{
	static char salloc[] = "salloc", no_kill[] = "--no-kill", sh[] = "sh", c[] = "-c";
	static char hold[] = "echo \"$SLURM_JOB_ID $SLURM_JOB_NODELIST\"; exec >/dev/null 2>&1; read x";
	char **argv;
	size_t n = 0;
	int err;

	if (s->words.n == 0)
		return say_error(EINVAL,
		    "--on slurm: this is no job of Slurm's: run knee in one (salloc, sbatch), or say what to "
		    "ask "
		    "for: --on 'slurm:-N4 -t 1:00:00'");
	argv = calloc(s->words.n + 6, sizeof(*argv));
	if (argv == NULL)
		return out_of_memory();
	argv[n++] = salloc;
	argv[n++] = no_kill;
	for (size_t i = 0; i < s->words.n; i++)
		argv[n++] = s->words.words[i];
	argv[n++] = sh;
	argv[n++] = c;
	argv[n++] = hold;
	err = slurm_job_get(argv, silent, &s->job);
	free(argv);
	s->id = s->job.id;
	s->words.n = 0; /* they were for salloc */
	return err;
}

/* Whether what stands for inputs makes sense. With --header that is known when they are read. */
static int
templates_look(const struct cli_options *o)
{
	struct knee_template *command = NULL, *tag = NULL;
	int err;

	if (o->header)
		return 0;
	err = machines_dir_check(o, NULL);
	if (err == 0)
		err = command_templates(o, NULL, &command, &tag);
	knee_template_free(command);
	knee_template_free(tag);
	return err;
}

/* What would be refused once the job is there, as far as it can be seen now: nobody is to wait in a queue for that. */
static int
refuse_first(const struct cli_options *o)
{
	int err;

	for (size_t i = 0; i < o->ninputs; i++) {
		const struct input_spec *in = &o->inputs[i];

		if (in->kind == INPUT_FILE && strcmp(in->path, "-") != 0 && access(in->path, R_OK) < 0)
			return say_error(errno, "inputs: %s: %s", in->path, strerror(errno));
	}
	for (size_t i = 0; i < o->basefiles.n; i++)
		if (access(o->basefiles.texts[i], R_OK) < 0)
			return say_error(errno, "--basefile %s: %s", o->basefiles.texts[i], strerror(errno));
	err = templates_look(o);
	return err == 0 ? journal_look(o) : err;
}

/* In a job that was started again a journal goes on: nothing else could be meant, as a journal that holds a run
 * already is refused without. */
static void
requeued(struct cli_options *o)
{
	const char *count = getenv("SLURM_RESTART_COUNT");

	if (count == NULL || strtol(count, NULL, 10) <= 0 || o->journal == NULL ||
	    o->resume != KNEE_RESUME_NO)
		return;
	o->resume = KNEE_RESUME;
	if (!o->silent)
		say("--on slurm: Slurm has started this job again: as with --resume");
}

static int
nodes_find(struct slurm *s, const char *set)
{
	char why[256] = "";
	int err = knee_nodeset_parse(set, &s->nodes, &s->nnodes, why, sizeof(why));

	if (err == -ENOMEM)
		return out_of_memory();
	if (err < 0)
		return say_error(-err, "--on slurm: nodes of job %s: %s", s->id, why);
	if (s->nnodes == 0)
		return say_error(EINVAL, "--on slurm: job %s has no nodes", s->id);
	return 0;
}

static int
job_find(struct slurm *s, struct cli_options *o)
{
	const char *nodes = getenv("SLURM_JOB_NODELIST");
	int err = 0;

	s->id = getenv("SLURM_JOB_ID");
	if (!in_path(s->id != NULL ? "srun" : "salloc"))
		return say_error(ENOENT, "--on slurm: there is no %s in PATH: is Slurm installed here?",
		    s->id != NULL ? "srun" : "salloc");
	if (s->id != NULL && nodes == NULL)
		return say_error(
		    EINVAL, "--on slurm: SLURM_JOB_ID is %s, but SLURM_JOB_NODELIST is not set", s->id);
	if (s->id == NULL) {
		err = refuse_first(o);
		if (err == 0)
			err = job_get(s, o->silent);
		nodes = s->job.nodes;
	} else {
		requeued(o);
	}
	return err == 0 ? nodes_find(s, nodes) : err;
}

int
slurm_open(struct cli_options *o, struct slurm **ret)
{
	const char *args;
	struct slurm *s;
	int err;

	if (o->on == NULL)
		return 0;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return out_of_memory();
	args = strchr(o->on, ':');
	args = args != NULL ? args + 1 : "";
	err = config_words(o, args, strlen(args), &s->words);
	if (err == -EINVAL)
		(void)say_error(EINVAL, "--on '%s': a quote without end", o->on);
	else if (err < 0)
		(void)out_of_memory();
	if (err < 0)
		s->words.words = NULL;
	if (err == 0)
		err = words_check(s);
	if (err == 0)
		err = job_find(s, o);
	if (err == 0 && asprintf(&s->jobid, "--jobid=%s", s->id) < 0) {
		s->jobid = NULL;
		err = out_of_memory();
	}
	if (err < 0) {
		slurm_close(s);
		return err;
	}
	*ret = s;
	return 0;
}

void
slurm_close(struct slurm *s)
{
	if (s == NULL)
		return;
	slurm_job_release(&s->job);
	free(s->words.words);
	free(s->jobid);
	free(s->nodes);
	free(s->hosts);
	free(s->argvs);
	free(s);
}

/* ---- its nodes -------------------------------------------------------------------------- */

int
slurm_hosts(struct slurm *s, const char *script, const struct knee_host **ret, size_t *ret_n)
{
	size_t each = 1 + 2 * NUNSET + 1 + s->words.n + 1 + NSTEP + 2 + 3;
	const char **to;

	s->hosts = calloc(s->nnodes, sizeof(*s->hosts));
	s->argvs = calloc(s->nnodes, each * sizeof(*s->argvs));
	if (s->hosts == NULL || s->argvs == NULL)
		return out_of_memory();
	to = s->argvs;
	for (size_t i = 0; i < s->nnodes; i++) {
		s->hosts[i] = (struct knee_host){
			.name = s->nodes[i], .login = s->nodes[i], .argv = to, .nargv = each
		};
		*to++ = "env";
		for (size_t u = 0; u < NUNSET; u++) {
			*to++ = "-u";
			*to++ = unset[u];
		}
		*to++ = "srun";
		for (size_t w = 0; w < s->words.n; w++)
			*to++ = s->words.words[w];
		*to++ = s->jobid;
		for (size_t w = 0; w < NSTEP; w++)
			*to++ = step[w];
		*to++ = "-w";
		*to++ = s->nodes[i];
		*to++ = "sh";
		*to++ = "-c";
		*to++ = script;
	}
	*ret = s->hosts;
	*ret_n = s->nnodes;
	return 0;
}

void
slurm_say_unfinished(const struct slurm *s, const struct cli_options *o)
{
	if (s == NULL || o->silent)
		return;
	if (o->journal == NULL && o->joblog == NULL)
		say("--on slurm: the work is not done; with --journal FILE a later run could go on from "
		    "here");
	else if (o->resume == KNEE_RESUME_NO)
		say("--on slurm: the work is not done: the same command with --resume goes on, in this job "
		    "or another");
	else
		say("--on slurm: the work is not done: the same command goes on, in this job or another");
}
