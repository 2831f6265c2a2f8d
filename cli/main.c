/* SPDX-License-Identifier: MIT */
/*
 * knee, the program: options to a source, templates and sinks; then the engine runs, and
 * what it says becomes the exit status. Nothing here knows how any of them work.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "cli.h"
#include "command.h"
#include "engine.h"
#include "gate.h"
#include "hosts.h"
#include "keeper.h"
#include "keys.h"
#include "log.h"
#include "machines.h"
#include "plugin.h"
#include "profile.h"
#include "reader_gone.h"
#include "sem.h"
#include "signals.h"
#include "slurm.h"
#include "worker.h"

#define MESSAGE_BYTES 1024

#define SINKS_MAX 12

/* Everything that one run is made of, so that one function can free it. */
struct program {
	struct cli_options options;
	struct plugin plugin;      /* {0} without --plugin */
	struct slurm *slurm;       /* NULL without --on */
	struct machines *machines; /* NULL: this one alone */
	struct each_host each_host;
	struct each_host_tag host_tag;
	struct inputs *inputs;
	struct knee_template *command, *tag;
	struct batch *batch;
	struct text_sink *text;
	knee_journal *journal;   /* NULL without --journal */
	struct joblog *joblog;   /* NULL without --joblog */
	struct results *results; /* NULL without --results */
	struct json *json;       /* NULL without --json */
	struct progress *progress;
	struct explain *explain;     /* NULL without --explain */
	struct jobs_file *jobs_file; /* NULL without -j FILE */
	struct gate *gate;           /* NULL without --limit COMMAND */
	struct keys *keys;           /* NULL: nobody can type */
	char *learnt;                /* where to keep what is learnt; NULL: nowhere */
	struct signals signals;
	int reader_fd; /* -1: standard output is no pipe */
	struct knee_sink sinks[SINKS_MAX];
	struct engine_nice nice;
	knee *knee;
};

/* Wait for a line on the terminal; false when a signal ends the run meanwhile. */
static bool
answer_waits(int tty, struct signals *signals)
{
	struct pollfd p[2] = { { .fd = tty, .events = POLLIN }, { .fd = signals->fd, .events = POLLIN } };

	while (!signals->interrupted) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return false;
		if (p[1].revents != 0)
			(void)signals_event(signals, signals->fd);
		else if (p[0].revents != 0)
			return true;
	}
	return false;
}

/* -p: ask on the terminal. Yes is what begins with y or Y. */
static int
confirm(void *self, const char *command)
{
	struct signals *signals = self;
	char answer[256] = "";
	size_t len = 0;
	int fd;
	ssize_t n;

	if (signals->interrupted)
		return 0;
	fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		(void)say_error(errno, "-p: no terminal to ask on: nothing is run");
		return 0;
	}
	say_before();
	(void)!write(fd, command, strlen(command));
	(void)!write(fd, " ?...", 5);
	while (len < sizeof(answer) - 1 && answer_waits(fd, signals) &&
	    (n = read(fd, answer + len, sizeof(answer) - 1 - len)) > 0) {
		len += (size_t)n;
		if (answer[len - 1] == '\n')
			break;
	}
	say_after();
	close(fd);
	return answer[0] == 'y' || answer[0] == 'Y';
}

/* Of --onall the tag is the machine. */
static struct knee_sink
printing_sink(struct program *p)
{
	struct knee_sink sink = text_sink(p->text);

	if (!p->options.host_tag || p->machines == NULL)
		return sink;
	p->host_tag.machines = p->machines;
	return each_host_tag_sink(&p->host_tag, &sink);
}

static int
sinks_make(struct program *p, size_t *n)
{
	const struct cli_options *o = &p->options;
	int err;

	err = progress_new(o, &p->progress);
	if (err == 0)
		err = text_new(o, &p->text);
	if (err < 0)
		return err;
	if (p->journal != NULL && (p->results == NULL || o->order == KNEE_ORDER_LINES))
		text_journal(p->text, p->journal);
	if (o->explain)
		err = explain_new(o, &p->explain);
	if (err == 0 && o->jobs_file != NULL)
		err = jobs_file_new(o, &p->jobs_file);
	if (err == 0 && o->json_fd >= 0)
		err = json_new(o, &p->json);
	if (err == 0)
		err = keys_new(o, p->inputs, &p->keys);
	if (err < 0)
		return err;
	if (o->trace)
		p->sinks[(*n)++] = trace_sink();
	if (p->results != NULL)
		p->sinks[(*n)++] = results_sink(p->results);
	if (p->results == NULL || o->order == KNEE_ORDER_LINES)
		p->sinks[(*n)++] = printing_sink(p);
	else if (o->plugin != NULL)
		p->sinks[(*n)++] = text_sink_whole(p->text);
	if (p->explain != NULL)
		p->sinks[(*n)++] = explain_sink(p->explain);
	p->sinks[(*n)++] = progress_sink(p->progress);
	if (batch_sink(p->batch, &p->sinks[*n]))
		(*n)++;
	if (p->jobs_file != NULL)
		p->sinks[(*n)++] = jobs_file_sink(p->jobs_file);
	if (p->keys != NULL)
		p->sinks[(*n)++] = keys_sink(p->keys);
	if (p->joblog != NULL)
		p->sinks[(*n)++] = joblog_sink(p->joblog);
	if (p->json != NULL)
		p->sinks[(*n)++] = json_sink(p->json);
	/* Last: what the others have written in a turn goes into that turn's transaction. */
	if (p->journal != NULL)
		p->sinks[(*n)++] = knee_journal_sink(p->journal);
	return 0;
}

/* What the number at once may depend on beside the run itself. */
static int
limits_make(struct program *p)
{
	const struct cli_options *o = &p->options;
	bool dry = o->dry_run || o->shellquote;
	int err = 0;

	/* A fixed number teaches nothing. */
	if (!dry && o->limit == 0 && !o->no_memory && p->machines == NULL)
		err = learnt_path(&p->learnt);
	if (err == 0 && !dry && o->limit_command != NULL)
		err = gate_new(o->limit_command, command_shell(), &p->gate);
	return err;
}

static enum knee_executor
executor(const struct cli_options *o)
{
	if (o->dry_run || o->shellquote)
		return KNEE_EXEC_DRY;
	if (machines_wanted(o))
		return KNEE_EXEC_AGENT;
	if (o->worker != NULL || o->isolate)
		return KNEE_EXEC_WORKER;
	return o->plugin != NULL ? KNEE_EXEC_THREAD : KNEE_EXEC_PROCESS;
}

/* All that the engine is told. */
static struct knee_options
run_options(struct program *p, size_t nsinks)
{
	const struct cli_options *o = &p->options;
	bool takes_stdin = !inputs_use_stdin(p->inputs) && !isatty(STDIN_FILENO);
	struct knee_options k = {
		.command = p->command,
		.tag = p->tag,
		.source = batch_source(p->batch),
		.sinks = p->sinks,
		.nsinks = nsinks,
		.executor = executor(o),
		.order = o->order,
		.limit = o->limit,
		.limit_max = o->limit_max,
		.memory_path = p->learnt,
		.may_start = p->gate != NULL ? gate_may_start : NULL,
		.may_start_self = p->gate,
		.whole = p->results != NULL,
		.resumable = p->journal != NULL,
		.want_text = o->verbose || o->trace || o->prompt || p->journal != NULL || p->joblog != NULL ||
		    p->results != NULL || p->json != NULL,
		.delay_ns = o->delay_ns,
		.timeout_frac = o->timeout_frac,
		.retries = o->retries,
		.halt = o->halt,
		.first_stdin = takes_stdin ? STDIN_FILENO : -1,
		.confirm = o->prompt ? confirm : NULL,
		.confirm_self = &p->signals,
	};

	engine_options(o, &p->nice, &k);
	if (o->worker != NULL)
		worker_options(o, &k);
	if (o->plugin != NULL && !o->dry_run)
		plugin_options(&p->plugin, o->isolate, &k);
	if (p->machines != NULL && o->each_host)
		k.source = each_host_source(&p->each_host, &k.source, machines_count(p->machines));
	if (p->joblog != NULL)
		k.source = joblog_source(p->joblog, &k.source);
	if (p->journal != NULL)
		k.source = knee_journal_source(p->journal, &k.source);
	machines_options(p->machines, &k);
	return k;
}

/* Let everyone hear of the run who has a part in it. */
static int
program_start(struct program *p, int argc, char **argv)
{
	int err = 0;

	if (p->json != NULL)
		json_start(p->json, p->knee, argc, argv);
	progress_start(p->progress, p->knee, p->explain);
	if (p->explain != NULL)
		explain_start(p->explain, p->knee);
	if (p->jobs_file != NULL)
		jobs_file_start(p->jobs_file, p->knee, p->progress);
	if (p->keys != NULL)
		keys_start(p->keys, p->knee, p->progress);
	if (p->gate != NULL)
		err = gate_start(p->gate, p->knee);
	if (err < 0)
		return say_error(-err, "--limit: %s", strerror(-err));
	err = signals_start(&p->signals, p->knee, p->progress);
	if (err < 0)
		return say_error(-err, "signals: %s", strerror(-err));
	err = reader_gone_watch(p->knee, &p->reader_fd);
	return err < 0 ? say_error(-err, "standard output: %s", strerror(-err)) : 0;
}

static int
program_make(struct program *p, int argc, char **argv)
{
	char message[MESSAGE_BYTES] = "";
	struct knee_options k;
	size_t nsinks = 0;
	int err;

	err = output_open(&p->options);
	if (err == 0 && p->options.plugin != NULL)
		err = plugin_load(p->options.plugin, p->options.command, p->options.ncommand, &p->plugin);
	if (err == 0)
		err = joblog_open(&p->options, &p->joblog);
	if (err == 0)
		err = results_open(&p->options, &p->results);
	if (err == 0)
		err = machines_new(&p->options, p->slurm, &p->machines);
	if (err == 0)
		err = inputs_new(&p->options, &p->inputs);
	if (err == 0)
		err = command_templates(&p->options, p->inputs, &p->command, &p->tag);
	if (err == 0)
		err = machines_command(p->machines, p->inputs);
	if (err == 0)
		err = batch_new(&p->options, p->inputs, p->command, &p->batch);
	if (err == 0)
		err = journal_open(&p->options, p->inputs, p->results, argc, argv, &p->journal);
	if (err == 0)
		err = output_start(&p->options);
	if (err == 0 && p->joblog != NULL)
		err = joblog_start(p->joblog, &p->options);
	if (err == 0 && p->results != NULL)
		err = results_start(p->results, &p->options, p->inputs, p->journal);
	if (err == 0)
		err = sinks_make(p, &nsinks);
	if (err == 0)
		err = limits_make(p);
	if (err < 0)
		return err;
	k = run_options(p, nsinks);
	err = knee_new(&k, &p->knee, message, sizeof(message));
	if (err < 0)
		return say_error(-err, "%s", message);
	return program_start(p, argc, argv);
}

/* The run has ended with this status; what it ends with. */
static int
program_free(struct program *p, int status)
{
	knee_free(p->knee);
	status = journal_close(p->journal, &p->options, status);
	json_end(p->json, status);
	json_free(p->json);
	gate_free(p->gate);
	keys_free(p->keys);
	jobs_file_free(p->jobs_file);
	explain_free(p->explain);
	free(p->learnt);
	if (p->reader_fd >= 0)
		close(p->reader_fd);
	signals_done(&p->signals);
	progress_free(p->progress);
	joblog_free(p->joblog);
	results_free(p->results);
	text_free(p->text);
	batch_free(p->batch);
	knee_template_free(p->tag);
	knee_template_free(p->command);
	inputs_free(p->inputs);
	machines_free(p->machines);
	slurm_close(p->slurm);
	plugin_done(&p->plugin);
	options_done(&p->options);
	return status;
}

/* The exit status of the run, after knee_run() returned err. */
static int
program_status(const struct program *p, int err)
{
	struct knee_stats stats;

	if (err < 0) {
		if (knee_error(p->knee)[0] != '\0')
			say("%s", knee_error(p->knee));
		else if (p->journal != NULL && knee_journal_error(p->journal)[0] != '\0')
			say("%s", knee_journal_error(p->journal));
		return EXIT_TROUBLE;
	}
	if (p->signals.interrupted || (p->gate != NULL && gate_failed(p->gate)))
		return EXIT_TROUBLE;
	knee_get_stats(p->knee, &stats);
	if (p->signals.hung_up && (!stats.total_known || stats.left > 0))
		return EXIT_TROUBLE;
	return knee_status(p->knee);
}

/* True for "knee profile ..." or another command. Called as parallel we have none. */
static bool
wants(const char *command, int argc, char **argv)
{
	const char *slash = argc > 1 ? strrchr(argv[0], '/') : NULL;
	const char *name = slash != NULL ? slash + 1 : argv[0];

	return argc > 1 && strcmp(argv[1], command) == 0 && strcmp(name, "parallel") != 0 &&
	    strcmp(name, "sem") != 0;
}

/* What the user reads when a function of a plugin took the program down with it. */
static const char crash_hint[] =
    "--plugin: a function of the plugin has crashed, and the run with it: with --isolate a crash costs one "
    "task, and with --journal a later run can go on";

int
main(int argc, char **argv)
{
	struct program p = { .signals.fd = -1, .reader_fd = -1 };
	enum options_action action = OPTIONS_RUN;
	bool alone, gone;
	int err, status;

	standard_fds_hold();
	if (sem_wanted(argc, argv))
		return sem_main(argc, argv);
	if (wants("profile", argc, argv))
		return profile_main(argc, argv);
	if (wants("plugin-host", argc, argv))
		return plugin_host_main(argc, argv);
	if (wants("agent", argc, argv))
		return agent_main(argc, argv);
	if (wants("log", argc, argv))
		return log_main(argc, argv);
	if (wants("hosts", argc, argv))
		return hosts_main(argc, argv);
	err = options_parse(&p.options, argc, argv, &action);
	if (err < 0 || action == OPTIONS_DONE) {
		options_done(&p.options);
		return err < 0 ? EXIT_TROUBLE : 0;
	}
	err = json_check(&p.options);
	if (err == 0)
		err = worker_check(&p.options);
	if (err == 0)
		err = machines_check(&p.options);
	if (err == 0)
		err = plugin_check(&p.options);
	if (err == 0)
		err = journal_check(&p.options);
	if (err < 0) {
		options_done(&p.options);
		return EXIT_TROUBLE;
	}
	err = executor(&p.options) != KNEE_EXEC_DRY ? slurm_open(&p.options, &p.slurm) : 0;
	if (err < 0) {
		options_done(&p.options);
		return EXIT_TROUBLE;
	}
	err = keeper_start(executor(&p.options) == KNEE_EXEC_THREAD ? crash_hint : NULL);
	if (err < 0) {
		say("cannot start: %s", strerror(-err));
		slurm_close(p.slurm);
		options_done(&p.options);
		return EXIT_TROUBLE;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	err = program_make(&p, argc, argv);
	status = EXIT_TROUBLE;
	gone = false;
	if (err == 0) {
		err = knee_run(p.knee);
		gone = err == -EPIPE;
		status = program_status(&p, err);
		if (status == EXIT_TROUBLE)
			slurm_say_unfinished(p.slurm, &p.options);
	}
	alone = p.signals.keeper_died;
	status = program_free(&p, status);
	if (alone)
		keeper_sweep_alone();
	if (gone)
		reader_gone_die();
	return status;
}
