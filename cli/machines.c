/* SPDX-License-Identifier: MIT */
/*
 * Machines for the engine: for each login the command that leads to an agent there.
 *
 *	web1          ssh OPTIONS web1 SCRIPT           SCRIPT: cli/boot.h
 *	me@web1:2222  ssh OPTIONS -p 2222 me@web1 SCRIPT
 *	ssh -J j web1 ssh -J j OPTIONS web1 SCRIPT      what the user says comes first, and so it counts
 *	:             knee agent                        this very program
 *	--on slurm    srun ... sh -c SCRIPT             slurm.c
 *
 * Logging in is ssh's business: keys, names of hosts, what it says when it fails. It is only kept from asking
 * anything, since nobody could answer thousands of questions, and from what would outlive the run.
 */
#include "machines.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot.h"
#include "command.h"
#include "logins.h"
#include "options_table.h"
#include "slurm.h"
#include "transfer.h"

extern char **environ;

static const char *const ssh_options[] = {
	"-T", /* no terminal there: bytes go as they are */
	"-o",
	"ForwardX11=no",
	"-o",
	"ForwardAgent=no", /* nothing but the agent's frames: no display, no keys */
	"-o",
	"BatchMode=yes", /* no questions */
	"-o",
	"ConnectTimeout=10", /* s */
	"-o",
	"ServerAliveInterval=15", /* its own look whether the far end is there, behind ours */
	"-o",
	"ServerAliveCountMax=3",
	"-o",
	"ControlMaster=no", /* a connection that is there may be used, none stays behind */
	"-o",
	"ClearAllForwardings=yes", /* ports that the user's other sessions have */
	"-o",
	"RemoteCommand=none",
};
#define NOPTIONS (sizeof(ssh_options) / sizeof(*ssh_options))

struct machines {
	struct cli_options *o; /* borrowed */
	struct slurm *slurm;   /* borrowed; NULL without --on */
	struct logins logins;
	struct knee_host *hosts; /* owned, with their argv */
	size_t nhosts;
	char *script, *self; /* owned: what is run there; the path of this program */
	char **env;          /* owned: nenv of them */
	size_t nenv;
	char *dir; /* owned, or NULL */
	struct transfer transfer;
	struct knee_machines told;
};

static int
out_of_memory(void)
{
	return say_error(ENOMEM, "machines: %s", strerror(ENOMEM));
}

/* ---- what goes together -------------------------------------------------------------- */

/* What was asked for in vain. */
static int
say_unused(const struct cli_options *o)
{
	char *names = NULL;
	size_t size;
	FILE *f;

	if (o->machine_options.n == 0 || o->silent)
		return 0;
	f = open_memstream(&names, &size);
	if (f == NULL)
		return out_of_memory();
	for (size_t i = 0; i < o->machine_options.n; i++)
		(void)fprintf(f, "%s%s", i > 0 ? ", " : "", o->machine_options.texts[i]);
	if (fclose(f) == 0)
		say("%s: without effect: there are no other machines", names);
	free(names);
	return 0;
}

/* Without machines: what is about them alone. */
static int
check_alone(const struct cli_options *o)
{
	if (o->each_host)
		return say_error(EINVAL, "--onall, --nonall: on all of which machines? Add -S LOGINS");
	if (o->workdir != NULL)
		return say_error(
		    EINVAL, "--wd: is about other machines, and there are none: add -S LOGINS, or use cd");
	return say_unused(o);
}

int
machines_check(const struct cli_options *o)
{
	if (!machines_wanted(o))
		return check_alone(o);
	if (o->on != NULL && (o->logins.n > 0 || o->login_files.n > 0))
		return say_error(
		    EINVAL, "--on: names the machines, and so does -S: leave out one of the two");
	if (o->plugin != NULL)
		return say_error(
		    EINVAL, "--plugin: functions run on this machine alone: leave out -S and --on");
	if (o->jobs_file != NULL)
		return say_error(EINVAL,
		    "-j %s: a file whose number may change is for this machine alone: give a number, for "
		    "each "
		    "machine",
		    o->jobs_file);
	if (o->each_host && o->resume == KNEE_RETRY_FAILED && o->journal == NULL)
		return say_error(EINVAL,
		    "--retry-failed: with --onall a job log alone does not say which command is for which "
		    "machine: use --resume-failed, or --journal FILE");
	/* How long a command took would be told of as many tasks as there are machines. */
	if (o->each_host && o->group_auto)
		return say_error(EINVAL,
		    "--group auto: not with --onall, where a command is a task for each machine: leave it "
		    "out, and "
		    "say by -n how many inputs a command gets");
	if (o->each_host && o->speculate)
		return say_error(EINVAL,
		    "--speculate: with --onall a task belongs to one machine: leave out one of the two");
	if (o->speculate && (o->order == KNEE_ORDER_LINES || o->order == KNEE_ORDER_PIECES))
		return say_error(EINVAL,
		    "--speculate: with --lb and -u both copies of a task would be printed: leave out one");
	if (o->cleanup && o->transfers.n == 0 && o->returns.n == 0 && o->basefiles.n == 0 &&
	    o->workdir == NULL && !o->silent)
		say("--cleanup: nothing is copied that could be removed");
	return 0;
}

/* ---- commands ------------------------------------------------------------------------- */

static bool
is_ssh(const char *program)
{
	const char *slash = strrchr(program, '/');

	return strcmp(slash != NULL ? slash + 1 : program, "ssh") == 0;
}

/* The words that log in: the login's own, those of --ssh or $PARALLEL_SSH, or ssh. */
static int
login_words(struct machines *m, const struct login *login, struct line_words *ret)
{
	const char *command = login->command != NULL ? login->command : m->o->ssh;
	int err;

	if (command == NULL)
		command = getenv("PARALLEL_SSH");
	if (command == NULL || command[strspn(command, " \t")] == '\0')
		command = "ssh";
	err = config_words(m->o, command, strlen(command), ret);
	if (err == -EINVAL)
		return say_error(EINVAL, "'%s': a quote without end", command);
	if (err < 0)
		return out_of_memory();
	if (ret->n == 0) {
		free(ret->words);
		(void)say_error(EINVAL, "'%s': is no command that logs in", command);
		return -EINVAL;
	}
	return 0;
}

/* USER@HOST as ssh takes it. */
static int
target_make(struct machines *m, const struct login *login, const char **ret)
{
	char *text = NULL, *kept;
	int err;

	if (login->user == NULL) {
		*ret = login->host;
		return 0;
	}
	if (asprintf(&text, "%s@%s", login->user, login->host) < 0)
		return out_of_memory();
	err = options_text_keep(m->o, text, strlen(text), &kept);
	free(text);
	*ret = kept;
	return err < 0 ? out_of_memory() : 0;
}

/* argv of one login, malloc. */
static int
ssh_argv(struct machines *m, const struct login *login, struct knee_host *ret)
{
	struct line_words words;
	const char **argv, *target = NULL;
	size_t n = 0;
	int err = login_words(m, login, &words);

	if (err < 0)
		return err;
	argv = calloc(words.n + NOPTIONS + 5, sizeof(*argv));
	if (argv == NULL) {
		free(words.words);
		return out_of_memory();
	}
	for (size_t i = 0; i < words.n; i++)
		argv[n++] = words.words[i];
	for (size_t i = 0; words.n > 0 && is_ssh(words.words[0]) && i < NOPTIONS; i++)
		argv[n++] = ssh_options[i];
	free(words.words);
	if (login->port != NULL) {
		argv[n++] = "-p";
		argv[n++] = login->port;
	}
	ret->argv = argv;
	err = target_make(m, login, &target);
	if (err < 0)
		return err;
	argv[n++] = target;
	argv[n++] = m->script;
	ret->nargv = n;
	return 0;
}

static int
own_argv(struct machines *m, struct knee_host *ret)
{
	const char **argv = calloc(3, sizeof(*argv));

	if (argv == NULL)
		return out_of_memory();
	argv[0] = m->self;
	argv[1] = "agent";
	ret->argv = argv;
	ret->nargv = 2;
	ret->here = 1;
	return 0;
}

/* Where the program is that runs now; a name that a new build has taken is no longer it. */
static int
self_find(char **ret)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (n <= 0)
		return say_error(errno, "/proc/self/exe: %s", strerror(errno));
	path[n] = '\0';
	*ret = strdup(access(path, X_OK) == 0 ? path : "/proc/self/exe");
	return *ret != NULL ? 0 : out_of_memory();
}

/* ---- hosts ----------------------------------------------------------------------------- */

/* The host's name says which machine it is, unless others have the same. */
static bool
name_is_shared(const struct logins *l, size_t i)
{
	for (size_t j = 0; j < l->n; j++)
		if (j != i && strcmp(l->list[j].host, l->list[i].host) == 0)
			return true;
	return false;
}

/* How many at once where a login says n, or 0. GNU parallel's n is a number of cores: all that count without -j, and
 * those that -j 50% and the like are of. */
static void
limit_make(const struct cli_options *o, unsigned n, struct knee_host *ret)
{
	bool cores = o->jobs_said && !o->each_host && strcmp(o->face, "parallel") == 0;
	struct value_jobs jobs;

	if (cores && n > 0 && o->jobs != NULL && value_jobs(o->jobs, n, &jobs) == 0)
		n = jobs.limit;
	else if (cores)
		n = 0;
	ret->limit = n > 0 ? n : machines_one_by_one(o);
	ret->jobs = ret->limit == 0 ? o->jobs : NULL;
}

static int
host_make(struct machines *m, size_t i, struct knee_host *ret)
{
	const struct login *login = &m->logins.list[i];

	*ret = (struct knee_host){
		.name = m->logins.n <= 4096 && name_is_shared(&m->logins, i) ? login->text : login->host,
		.login = login->text,
	};
	limit_make(m->o, login->limit, ret);
	return login->here ? own_argv(m, ret) : ssh_argv(m, login, ret);
}

/* The nodes of a job; how many at once is one number for all, as with -S. */
static int
slurm_make(struct machines *m)
{
	const struct knee_host *nodes;
	int err = slurm_hosts(m->slurm, m->script, &nodes, &m->nhosts);

	if (err < 0)
		return err;
	m->hosts = calloc(m->nhosts, sizeof(*m->hosts));
	if (m->hosts == NULL)
		return out_of_memory();
	for (size_t i = 0; i < m->nhosts; i++) {
		m->hosts[i] = nodes[i];
		limit_make(m->o, 0, &m->hosts[i]);
	}
	return 0;
}

static int
hosts_make(struct machines *m)
{
	int err = boot_command(&m->script);

	if (err < 0)
		return out_of_memory();
	if (m->slurm != NULL)
		return slurm_make(m);
	err = self_find(&m->self);
	if (err < 0)
		return err;
	m->hosts = calloc(m->logins.n, sizeof(*m->hosts));
	if (m->hosts == NULL)
		return out_of_memory();
	for (size_t i = 0; i < m->logins.n && err == 0; i++) {
		m->nhosts = i + 1;
		err = host_make(m, i, &m->hosts[i]);
	}
	return err;
}

static bool
stdin_has_inputs(const struct cli_options *o)
{
	for (size_t i = 0; i < o->ninputs; i++)
		if (o->inputs[i].kind == INPUT_FILE && strcmp(o->inputs[i].path, "-") == 0)
			return true;
	return o->ninputs == 0;
}

static int
logins_read(struct machines *m)
{
	const struct cli_options *o = m->o;
	int err = 0;

	/* What is typed comes last, wherever it stands: so it can leave out machines of a file. */
	for (size_t i = 0; i < o->login_files.n && err == 0; i++)
		err = logins_add_file(&m->logins, "--slf", o->login_files.texts[i]);
	for (size_t i = 0; i < o->logins.n && err == 0; i++)
		err = logins_add(&m->logins, "-S", o->logins.texts[i]);
	if (err == 0)
		err = logins_settle(&m->logins, o->logins.n > 0 ? "-S" : "--slf");
	if (err == 0 && m->logins.took_stdin && stdin_has_inputs(o))
		err = say_error(EINVAL,
		    "%s -: standard input has the logins: give the inputs by ::: or -a FILE",
		    o->logins.n > 0 ? "-S" : "--slf");
	return err;
}

/* ---- what else they are told -------------------------------------------------------------- */

/* The NAME=value of name in our own environment, also of a function that bash has exported; or NULL. */
static const char *
variable_find(const char *name)
{
	size_t size = strlen(name);

	for (char **e = environ; *e != NULL; e++)
		if (strncmp(*e, name, size) == 0 && (*e)[size] == '=')
			return *e;
	for (char **e = environ; *e != NULL; e++)
		if (strncmp(*e, "BASH_FUNC_", 10) == 0 && strncmp(*e + 10, name, size) == 0 &&
		    (*e)[10 + size] == '%')
			return *e;
	return NULL;
}

static int
env_make(struct machines *m)
{
	const struct options_list *names = &m->o->env;

	m->env = calloc(names->n + 1, sizeof(*m->env));
	if (m->env == NULL)
		return out_of_memory();
	for (size_t i = 0; i < names->n; i++) {
		const char *found = variable_find(names->texts[i]);

		if (found == NULL && !m->o->silent)
			say("--env %s: there is no such variable here: tasks get none", names->texts[i]);
		if (found == NULL)
			continue;
		m->env[m->nenv] = strdup(found);
		if (m->env[m->nenv++] == NULL)
			return out_of_memory();
	}
	return 0;
}

/* --wd .: as here; below the home folder, which may lie elsewhere there, by the way from that. */
static int
dir_here(char **ret)
{
	char here[PATH_MAX], real[PATH_MAX];
	const char *home = getenv("HOME"), *rest = here;
	size_t size;

	if (getcwd(here, sizeof(here)) == NULL)
		return say_error(errno, "--wd .: %s", strerror(errno));
	if (home != NULL && *home == '/' && realpath(home, real) != NULL && (size = strlen(real)) > 1 &&
	    strncmp(here, real, size) == 0 && (here[size] == '/' || here[size] == '\0'))
		rest = here[size] == '/' ? here + size + 1 : "";
	*ret = strdup(rest);
	return *ret != NULL ? 0 : out_of_memory();
}

/* The nodes of a cluster have the same folders, as their jobs start where they were sent off. */
static int
dir_same(char **ret)
{
	char here[PATH_MAX];

	if (getcwd(here, sizeof(here)) == NULL)
		return say_error(errno, "--on slurm: %s", strerror(errno));
	*ret = strdup(here);
	return *ret != NULL ? 0 : out_of_memory();
}

/* ~ or ~/... A login's home is where a relative path begins anyway; a job begins in knee's folder. */
static int
dir_home(struct machines *m, const char *dir)
{
	const char *home = getenv("HOME");

	if (m->slurm == NULL)
		m->dir = strdup(dir[1] == '/' ? dir + 2 : "");
	else if (home == NULL || *home != '/')
		return say_error(EINVAL, "--wd %s: HOME is not set", dir);
	else if (asprintf(&m->dir, "%s%s", home, dir + 1) < 0)
		m->dir = NULL;
	return m->dir != NULL ? 0 : out_of_memory();
}

static int
dir_make(struct machines *m)
{
	const char *dir = m->o->workdir;

	if (dir == NULL && m->slurm == NULL)
		return 0;
	if (m->slurm != NULL && (dir == NULL || strcmp(dir, ".") == 0))
		return dir_same(&m->dir);
	if (strcmp(dir, ".") == 0)
		return dir_here(&m->dir);
	if (dir[0] == '~' && (dir[1] == '/' || dir[1] == '\0'))
		return dir_home(m, dir);
	m->dir = strdup(dir);
	return m->dir != NULL ? 0 : out_of_memory();
}

/* All tasks of a run have one folder there: in its name nothing stands for an input. */
int
machines_dir_check(const struct cli_options *o, struct inputs *in)
{
	const char *dir = o->workdir, *arg = "a";
	struct knee_template *t = NULL;
	char *text = NULL;
	int err;

	if (dir == NULL)
		return 0;
	err = command_text_template(o, in, dir, &t);
	if (err < 0)
		return err;
	err = knee_template_expand(t, &arg, 1, 1, 1, &text);
	knee_template_free(t);
	if (err < 0)
		return out_of_memory();
	if (strcmp(text, dir) != 0)
		err = say_error(EINVAL,
		    "--wd %s: one folder for all tasks, replacement strings are not for it: write 'mkdir -p "
		    "DIR && cd DIR && ...' as the command",
		    dir);
	free(text);
	return err;
}

/* ---- all of it ------------------------------------------------------------------------------ */

int
machines_new(struct cli_options *o, struct slurm *slurm, struct machines **ret)
{
	struct machines *m;
	int err;

	/* A dry run asks for no job. */
	if (!machines_wanted(o) || (o->on != NULL && slurm == NULL))
		return 0;
	m = calloc(1, sizeof(*m));
	if (m == NULL)
		return out_of_memory();
	m->o = o;
	m->slurm = slurm;
	err = slurm == NULL ? logins_read(m) : 0;
	if (err == 0)
		err = hosts_make(m);
	if (err == 0)
		err = env_make(m);
	if (err == 0)
		err = dir_make(m);
	if (err < 0) {
		machines_free(m);
		return err;
	}
	o->machines = m->hosts;
	o->nmachines = m->nhosts;
	*ret = m;
	return 0;
}

void
machines_free(struct machines *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->nhosts && m->slurm == NULL; i++)
		free((void *)(uintptr_t)m->hosts[i].argv);
	for (size_t i = 0; i < m->nenv; i++)
		free(m->env[i]);
	free(m->hosts);
	free(m->env);
	free(m->script);
	free(m->self);
	free(m->dir);
	transfer_done(&m->transfer);
	logins_done(&m->logins);
	free(m);
}

int
machines_command(struct machines *m, struct inputs *in)
{
	int err;

	if (m == NULL)
		return 0;
	err = machines_dir_check(m->o, in);
	if (err == 0)
		err = command_words(m->o, in, &m->told.words, &m->told.nwords, &m->told.template);
	return err == 0 ? transfer_make(&m->transfer, m->o, in) : err;
}

size_t
machines_count(const struct machines *m)
{
	return m != NULL ? m->nhosts : 0;
}

const char *
machines_name(const struct machines *m, const void *input_data)
{
	size_t i = (size_t)(uintptr_t)input_data - 1;

	return m != NULL && i < m->nhosts ? m->hosts[i].name : "";
}

void
machines_options(struct machines *m, struct knee_options *k)
{
	const struct cli_options *o;

	if (m == NULL)
		return;
	o = m->o;
	m->told.hosts = m->hosts;
	m->told.nhosts = m->nhosts;
	m->told.program = boot_program(&m->told.program_bytes);
	m->told.timeout_ns = o->host_timeout_ns;
	m->told.env = (const char *const *)m->env;
	m->told.nenv = m->nenv;
	m->told.dir = m->dir;
	m->told.nice = o->nice_set ? o->nice : INT_MIN;
	m->told.load = o->load;
	m->told.learn = !o->no_memory;
	m->told.dial = m->slurm != NULL;
	m->told.speculate = o->speculate;
	m->told.pin = o->each_host ? each_host_pin : NULL;
	transfer_tell(&m->transfer, o, &m->told);
	k->machines = &m->told;
	k->first_stdin = -1;
	k->prefix = NULL; /* nice: the far ends do that */
	k->nprefix = 0;
}
