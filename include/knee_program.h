/* SPDX-License-Identifier: MIT */
/*
 * What the program knee needs of the library beside knee.h: command templates, the journal, and a
 * user's hand on a run. Not installed, and the shared library does not show these names.
 */
#ifndef KNEE_PROGRAM_H
#define KNEE_PROGRAM_H

#include <knee.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what an earlier run has --------------------------------------------- */

/* An input that needs to run no more: its result, counted like any other, and its output, which
 * takes its turn. Borrowed until the source's next() is called again. */
struct knee_stored {
	const struct knee_result *result;   /* NULL: it is passed over, and counts as left */
	int printed;                /* its output is where it belongs already: read is not called */
	knee_read *read;
	void *self;
	const void *part;           /* and its part of the whole; part_size bytes */
	size_t part_size;
};

/* ---- command templates -------------------------------------------------- */

struct knee_template;

enum knee_template_flags {
	KNEE_TEMPLATE_APPEND = 1,   /* append " {}" when nothing is replaced */
	KNEE_TEMPLATE_CONTEXT = 2,  /* -X: repeat the whole word around {} for each argument */
	KNEE_TEMPLATE_LITERAL = 4,  /* -q: the words are words, not shell code */
	KNEE_TEMPLATE_CODE = 8,     /* no command given: arguments are shell code, put in unquoted */
	KNEE_TEMPLATE_TEXT = 16,    /* a tag, not a command: nothing is quoted anywhere */
};

struct knee_template_options {
	unsigned flags;             /* enum knee_template_flags */
	const char *replacement;    /* -I: stands for {} (and its forms for {.} ...); NULL: "{}" */
	const char *parens;         /* --parens: what encloses Perl expressions; NULL: "{==}" */
	const char *const *names;   /* --header: {name} is the same as {n}; may be NULL */
	size_t nnames;
};

/* Parse words (the command as the user typed it, one string per word) into *ret.
 * Borrows nothing. -EINVAL: text in err (at most errsize bytes, NUL-terminated);
 * -ENOMEM. knee_template_free takes NULL. */
int knee_template_new(const char *const *words, size_t nwords,
    const struct knee_template_options *options, struct knee_template **ret,
    char *err, size_t errsize);
void knee_template_free(struct knee_template *t);

/* The text of the command for these arguments, as a shell would read it, in *ret
 * (malloc, the caller frees). seq is {#}, slot {%}. */
int knee_template_expand(const struct knee_template *t, const char *const *args,
    size_t nargs, uint64_t seq, unsigned slot, char **ret);

/* True when the command for these arguments is run by a shell, false when the program is run at once.
 * -ENOMEM. (A program that does not exist is left to the shell, too: that is not known here.) */
int knee_template_by_shell(const struct knee_template *t, const char *const *args, size_t nargs);

/* Bytes of the command line for these arguments: what -s limits. Linear: the size
 * with n arguments is size(0) + sum over each of (size(1 of them) - size(0)),
 * except where {n} forms are used. The terminating NULs count, as xargs counts. */
size_t knee_template_size(const struct knee_template *t, const char *const *args, size_t nargs);

/* s as one shell word in *ret (malloc): unchanged when it needs no quotes. */
int knee_quote(const char *s, char **ret);

/* ---- what happened ------------------------------------------------------ */

/* "CPU", "disk", ...; "unknown" for any other number. */
const char *knee_kind_name(enum knee_kind kind);

/* True if the result counts as a failed task. */
int knee_failed(const struct knee_result *r);

/* ---- the journal -------------------------------------------------------- */

/*
 * What happened, in an SQLite file (its format: knee-journal(5)), so that a run that died goes on
 * from there with the same output as if it had not. A task counts as finished when its result is in
 * the journal together with its output, or with where that was printed.
 */
typedef struct knee_journal knee_journal;

enum knee_resume {
	KNEE_RESUME_NO,             /* a new journal: -EEXIST when it holds a run */
	KNEE_RESUME,                /* run what has no result; a missing journal is made */
	KNEE_RESUME_FAILED,         /* and once more what failed */
	KNEE_RETRY_FAILED,          /* only what failed; what never ran stays so */
};

/* All pointers are borrowed until knee_journal_open returns. */
struct knee_journal_options {
	const char *path;
	enum knee_resume resume;
	int sync;                   /* a result is on the disk before it counts */
	const char *command;        /* of the run; with another one a resume is refused */
	const char *const *argv;    /* the whole command line, for people; argc words */
	size_t argc;
	enum knee_order order;      /* as in knee_options */
	int out, err;               /* where the text sink writes; -1: nowhere */
};

/*
 * Open the journal and take its lock; what a run that died left half written in out and err, when
 * they are the same files as then, is cut off; of err, where others may write, only what
 * knee_journal_printing had announced. -EEXIST; -EBUSY: another run has it; -EINVAL: another
 * command, other files, or no journal of this version; -EUCLEAN: damaged; or what SQLite met. With text in
 * err then, and the file as it was. With 0 err has what the user should know of, or "".
 */
int knee_journal_open(const struct knee_journal_options *o, knee_journal **ret, char *err, size_t errsize);
/* Takes the run down, live: put it behind the sinks that print. */
struct knee_sink knee_journal_sink(knee_journal *j);
/* The inputs of inner, in the same order as ever, with what the journal knows of them. Ends with
 * -ESTALE (text in knee_journal_error) at an input that is not what it was. */
struct knee_source knee_journal_source(knee_journal *j, const struct knee_source *inner);
/* All of task seq's output is written: out and err bytes by this run so far, its own included. To be
 * called in the order of printing. */
void knee_journal_printed(knee_journal *j, uint64_t seq, uint64_t out, uint64_t err);
/* Bytes of task seq are about to be given to what writes to err: should the run die now, they are cut off. */
void knee_journal_printing(knee_journal *j, uint64_t seq);
/* Text of the last error, "" when none. */
const char *knee_journal_error(const knee_journal *j);
/* The run has ended with this exit status. Frees; takes NULL. 0 or -errno. */
int knee_journal_close(knee_journal *j, int status);

/* ---- looking into a journal ---------------------------------------------- */

/*
 * What is in a journal, of a run that goes on, has ended or died. Nothing is written to it, no file
 * is made beside it, and no run waits for who reads: rows are read some thousand at a time, and
 * those of a run that goes on are of different moments.
 */
typedef struct knee_log knee_log;

enum knee_log_state {               /* of a task; bits, so that several can be asked for */
	KNEE_LOG_SUCCEEDED = 1,
	KNEE_LOG_FAILED = 2,
	KNEE_LOG_RUNNING = 4,       /* it has no result, and its run goes on */
	KNEE_LOG_INTERRUPTED = 8,   /* it has none, and its run is over: a resume runs it again */
};

/* Which tasks. {0} is all of them. */
struct knee_log_filter {
	unsigned states;            /* enum knee_log_state; 0: any */
	const char *host;           /* NULL: any */
	int64_t since_time_ns, until_time_ns;   /* started in [since, until); 0: no bound */
	uint64_t seq_first, seq_last;           /* 0: no bound */
	int attempts;               /* a row for every attempt, not only for each task's last */
};

/* Strings are "" when not known, and borrowed until the next call with the same knee_log. */
struct knee_log_task {
	uint64_t seq;
	unsigned attempts;          /* so far; result.attempt says which of them this is */
	enum knee_log_state state;  /* of a task's last attempt: of the task */
	int ended;                  /* result is whole; else only attempt and start_time_ns */
	int printed;                /* the task's output is where it belongs */
	int local;                  /* it ran where knee did */
	struct knee_result result;
	uint64_t run;
	unsigned slot;
	const char *host, *command;
	int64_t out_at, err_at;     /* where its output begins in the files of that run's streams; -1: in none */
	uint64_t out_bytes, err_bytes;
};

struct knee_log_run {
	uint64_t run;               /* 1 for the first */
	int alive;                  /* it goes on, as far as can be seen from this machine */
	int ended;                  /* in good order: end_time_ns and status are known */
	int64_t begin_time_ns;
	int64_t end_time_ns;        /* not ended: the last sign of life */
	int status;                 /* its exit status */
	int64_t pid;
	int64_t inputs;             /* how many there are; -1: it did not come to their end */
	uint64_t tasks, succeeded, failed;      /* in all, as of its end or now */
	uint64_t attempts, retried, cancelled;  /* of its own, those that ended */
	int64_t runtime_ns, cpu_ns;             /* of these */
	const char *host, *version, *directory, *command;
	const char *arguments;      /* the whole command line, a JSON array of strings */
};

/* A step of the search for the right number at once, or why it stays. */
struct knee_log_step {
	uint64_t run;
	int64_t time_ns;            /* since the Epoch */
	unsigned at_once, running;
	uint64_t done;              /* of that kind of work */
	double cpu_busy_frac;       /* of all cores; < 0: not known, so for the next two */
	double busy_frac;           /* of what bounds it */
	double throughput_frac;     /* of the best number's */
	const char *work;           /* the programs */
	const char *resource, *kind, *reason;   /* as in struct knee_work */
};

struct knee_log_totals {
	uint64_t runs;
	uint64_t attempts;                      /* that ended */
	uint64_t tasks, succeeded, failed, running, interrupted;    /* with filter.attempts: rows, not tasks */
	int64_t begin_time_ns, end_time_ns;     /* of the first start, and the last sign of life or now; 0: none */
	int64_t elapsed_ns;                     /* of all runs; 0 with a filter */
	int64_t runtime_ns, cpu_ns;             /* of all attempts that ended */
	uint64_t disk_read_bytes, disk_written_bytes, output_bytes;
	int64_t peak_rss_bytes;                 /* of the largest process */
	int alive;                              /* the last run goes on */
};

/* -ENOENT, -EACCES, ...; -EINVAL: no journal, or one of another version; -EUCLEAN: damaged. With
 * text in err. *ret is untouched then. */
int knee_log_open(const char *path, knee_log **ret, char *err, size_t errsize);
/* From now on these tasks, from the first on; NULL: all. 0 or -ENOMEM. */
int knee_log_select(knee_log *l, const struct knee_log_filter *filter);
/* The next one in the order of seq, attempt; of run; of time: 1 and *ret, 0 at the end, or -errno. */
int knee_log_next_task(knee_log *l, struct knee_log_task *ret);
int knee_log_next_run(knee_log *l, struct knee_log_run *ret);
int knee_log_next_step(knee_log *l, struct knee_log_step *ret);
/* Sums over the tasks that are selected. Without a filter no task is looked at, however many there
 * are, unless a run goes on. */
int knee_log_get_totals(knee_log *l, struct knee_log_totals *ret);
/* The output that is kept of a task which has ended and is not printed yet: as knee_read. -ENODATA:
 * none is kept; knee_log_error says why. */
int knee_log_output(knee_log *l, uint64_t seq, uint64_t n, enum knee_stream *stream, const char **data,
    size_t *size);
/* Text of the last error, "" when none. */
const char *knee_log_error(const knee_log *l);
void knee_log_free(knee_log *l);    /* takes NULL */

/* ---- plugins in processes of their own ------------------------------------ */

/* Be the worker of a run with the framing KNEE_FRAMING_PLUGIN: requests from fds[0], answers to fds[1],
 * until there are no more. open() and close() are called, without a whole. 0, or -errno, with text in err
 * when it is open's. */
int knee_plugin_serve(const struct knee_plugin *plugin, int argc, const char *const *argv,
    const int fds[2], char *err, size_t errsize);

/* ---- other machines -------------------------------------------------------- */

/* One machine, or one way to it. */
struct knee_host {
	const char *name;           /* for people, logs and PARALLEL_SSHHOST */
	const char *login;          /* as the user typed it: PARALLEL_SSHLOGIN */
	/* The command that leads to its agent: what it reads and writes are frames, once its stdout said a line
	 * "knee-agent ..." (knee-agent(5)). Before that it may say lines "knee-boot want MACHINE SIZE": it gets the bytes of
	 * knee_machines.program then; or "knee-boot failed TEXT": it cannot be. Its stderr is text for the user. */
	const char *const *argv;    /* nargv words, the first one a path or a name to be found in PATH */
	size_t nargv;
	unsigned limit;             /* 0: as the run's options say; else so many at once */
	const char *jobs;           /* ... and this says it better, where its cores count: "50%"; may be NULL */
	int here;                   /* this machine: tasks run in the folder and environment of knee */
};

/* Paths of files that go with a task: a template (KNEE_TEMPLATE_TEXT), filled in with all its arguments, or with each
 * of them alone. */
struct knee_paths {
	const struct knee_template *text;
	int each;
};

struct knee_machines {
	const struct knee_host *hosts;  /* nhosts of them */
	size_t nhosts;
	const void *program;        /* the static program that is sent to a machine that wants it; NULL: none */
	size_t program_bytes;
	int64_t timeout_ns;         /* who is silent for so long is lost; 0: 20 s */
	int64_t connect_ns;         /* a connection takes longer than this: it failed; 0: 30 s */
	unsigned connect_most;      /* connections made at once; 0: 32 */
	/* The command again, in words, as the far end reads it. */
	const char *const *words;
	size_t nwords;
	struct knee_template_options template;
	const char *const *env;     /* NAME=value, nenv of them, for tasks there */
	size_t nenv;
	const char *dir;            /* where tasks run: knee(1), --workdir; NULL: where the login leads */
	int nice;                   /* INT_MIN: as it is */
	const char *load;           /* knee_options.load_max, where a machine's cores count: "50%"; may be NULL */
	int learn;                  /* machines use and keep what they learn of commands */
	int dial;                   /* machines may connect back by TCP, where their first connection is slow */
	int speculate;              /* at the end, copies of the slowest tasks run elsewhere too */
	/* Which machine must carry out the task with this input data; may be NULL: any. */
	size_t (*pin)(void *input_data);
	/* Files: those that go there first, and those that come back (knee(1), "Files"). */
	const struct knee_paths *transfers;
	size_t ntransfers;
	const struct knee_paths *returns;
	size_t nreturns;
	const char *const *basefiles;   /* go to each machine once */
	size_t nbasefiles;
	int cleanup;                /* remove there what went there and came back */
	int sync;                   /* what came back is on the disk before its task counts as ended */
};

enum knee_host_state {
	KNEE_HOST_DOWN,             /* not connected yet, or no more; it is tried again */
	KNEE_HOST_UP,
	KNEE_HOST_ASIDE,            /* its tasks failed too often */
	KNEE_HOST_GONE,             /* given up */
};

struct knee_host_stats {
	const char *name;
	enum knee_host_state state;
	unsigned limit, running, peak;
	uint64_t done, failed;
	uint64_t lost;              /* tasks that it had when it was lost: they run elsewhere, or there again */
	char why[160];              /* its limit, or its state, in words */
};

/* The i-th machine of a run with KNEE_EXEC_AGENT: 1 and *ret; 0: there are no more. */
int knee_get_host(const knee *k, size_t i, struct knee_host_stats *ret);

/* What an agent is, beside what its coordinator tells it. */
struct knee_agent_options {
	int in, out;                /* the connection: frames; no task inherits them */
	const char *const *environ_base;
	const char *shell;          /* of this login */
	const char *memory_path;    /* where it may keep what it learns; NULL: nowhere */
	const char *tmpdir;
	/* What "50%" and the like of -j is on this machine: limit as in knee_options, 0: found between least and most.
	 * 0, or -EINVAL. */
	int (*jobs)(const char *text, unsigned cores, unsigned *limit, unsigned *least, unsigned *most);
	/* The same of --load. */
	int (*load)(const char *text, unsigned cores, double *load_max);
	/* Called when stop_fd (-1: none) is readable: what the program was told. KNEE_STOP_NOW: it is to end: tasks by the
	 * ending sequence, and the coordinator hears of each; KNEE_STOP_KILL: at once; -1: nothing of that sort. */
	int stop_fd;
	int (*stop)(void *self, int fd);
	void *stop_self;
};

/* Be the agent of a coordinator, until that ends it. 0: a good end; or -errno, with text in err. */
int knee_agent_serve(const struct knee_agent_options *o, char *err, size_t errsize);

/* Node sets: "web[01-40,55],db" (its grammar: knee(1), "Node sets"). */
/* The names, in order, each once, in *ret: one allocation (free it). 0, -ENOMEM, -E2BIG or -EINVAL with text in err. */
int knee_nodeset_parse(const char *set, char ***ret, size_t *ret_n, char *err, size_t errsize);
/* The other way, in *ret (malloc). 0 or -ENOMEM. */
int knee_nodeset_fold(const char *const *names, size_t n, char **ret);

/* Send a signal to one running task's process group; 0, or -ESRCH: it does not run. A task that has not begun yet
 * ends without having run. */
int knee_task_signal(knee *k, uint64_t seq, int signal);

/* ---- a run in hand -------------------------------------------------------- */

/* Send a signal to the process group of every running task. */
void knee_signal(knee *k, int signal);

/* The whole run, its tasks too, stood still for so long (a stopped job of a shell): that time
 * does not count for time-outs. */
void knee_stood_still(knee *k, int64_t ns);

/* Call fn when fd is readable (closed counts); fn returns 0, or -errno to stop
 * the run with it. fn NULL: forget fd. */
int knee_watch(knee *k, int fd, int (*fn)(void *self, int fd), void *self);

/* Each running task: its seq and its command's text. */
void knee_each_running(knee *k, void (*fn)(void *self, uint64_t seq, const char *command), void *self);

/* Make the engine call every sink's tick() in this turn. */
void knee_wake(knee *k);

/* The user's own hand: so many more at once, or fewer (negative). From then on the number is fixed. */
void knee_adjust(knee *k, int by);
/* The same, to so many at once; >= 1. */
void knee_set_limit(knee *k, unsigned limit);

/* End the youngest task that has printed nothing, and run it again later; it counts as no attempt.
 * With KNEE_ORDER_NONE nobody sees what a task prints: it may have printed.
 * 1, or 0 when there is none. */
int knee_requeue_youngest(knee *k);

/* The kinds of work of the run, the most numerous first: up to max of them in ret. How many were filled. */
size_t knee_get_work(const knee *k, struct knee_work *ret, size_t max);

/* What the kernel or a container does not show, and is decided without, in words: "disks
 * (/proc/diskstats), bytes of tasks (/proc/PID/io)". 1 and ret filled, 0 when nothing is missing,
 * -EAGAIN when nobody knows yet. */
int knee_get_unseen(const knee *k, char *ret, size_t size);

/* The cores that this process may use: its affinity, and its cgroups' quota rounded up. >= 1. */
unsigned knee_cores(void);

/* Bytes of memory that may still be used: the smallest of what the machine has (MemAvailable in
 * /proc/meminfo) and of what the cgroups leave; 0: unknown. */
uint64_t knee_memory_free(void);

/* The exit status that stands for the run: 0 all succeeded, 1-100 the number of
 * failed tasks, 101 more; after a halt: see the manual. */
int knee_status(const knee *k);

#ifdef __cplusplus
}
#endif
#endif
