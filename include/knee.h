/* SPDX-License-Identifier: MIT */
/*
 * knee runs a command over many inputs, many at once, and hands back the output
 * in the order of the inputs, as if they had been run one after another.
 *
 *	source --> command template --> engine --> sinks
 *
 * A program gives the engine a source of inputs, a command template and one or
 * more sinks, then calls knee_run().  Everything happens on the calling thread:
 * no callback is ever made from another one, and none may call knee_run() or
 * knee_turn() again.  The library prints nothing, reads no environment, installs
 * no signal handler and never exits.
 *
 * Errors are -errno, with text in knee_error().  Times are nanoseconds; those
 * named *_time_ns count from the Epoch, all others are CLOCK_MONOTONIC or lengths.
 */
#ifndef KNEE_H
#define KNEE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KNEE_VERSION "0.1.0"

typedef struct knee knee;

/* ---- inputs ------------------------------------------------------------- */

/* The arguments of one task: what {} and {1}, {2}... stand for. Borrowed by the
 * engine until the source's next() is called again. */
struct knee_input {
	const char *const *args;
	size_t nargs;
	const struct knee_stored *stored;   /* what an earlier run has of it; NULL: it is to run */
};

/*
 * Where inputs come from.
 * next: 1 and *ret filled, 0 at the end (not called again), -EAGAIN when there
 *       is none yet (the engine waits until fd() is readable, then asks again),
 *       any other -errno ends the input: what was started is finished, then knee_run() returns it.
 * fd:   the descriptor to wait on after -EAGAIN.
 */
struct knee_source {
	void *self;
	int (*next)(void *self, struct knee_input *ret);
	int (*fd)(void *self);
};

enum knee_stream { KNEE_STDOUT = 1, KNEE_STDERR = 2 };

/* The n-th piece of some output, from 0 on and each once, in order: 1 and the rest filled, 0 at the
 * end, or -errno. The piece is borrowed until the next call. */
typedef int knee_read(void *self, uint64_t n, enum knee_stream *stream, const char **data, size_t *size);

/* An input that needs to run no more: its result, counted like any other, and its output, which
 * takes its turn. Borrowed until the source's next() is called again. */
struct knee_stored {
	const struct knee_result *result;   /* NULL: it is passed over, and counts as left */
	int printed;                /* its output is where it belongs already: read is not called */
	knee_read *read;
	void *self;
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

/* What bounds a kind of work, by measuring. */
enum knee_kind {
	KNEE_KIND_UNKNOWN,          /* not measured yet */
	KNEE_KIND_CPU,
	KNEE_KIND_DISK,
	KNEE_KIND_NET,
	KNEE_KIND_WAIT,             /* waits, for nothing that can be seen: a timer, a remote service */
	KNEE_KIND_MIXED,            /* no single one */
	KNEE_KIND_LOCK,             /* more at once gives nothing, and nothing is busy */
	KNEE_KINDS
};

/* "CPU", "disk", ...; "unknown" for any other number. */
const char *knee_kind_name(enum knee_kind kind);

enum knee_outcome {
	KNEE_EXITED,      /* status: exit code */
	KNEE_SIGNALED,    /* status: signal that ended it */
	KNEE_TIMED_OUT,   /* status: signal that ended it */
	KNEE_CANCELLED,   /* ended by knee_stop() or halt; status: signal; 0: it waited for another attempt */
	KNEE_NOT_STARTED, /* status: 126 or 127; error: -errno */
	KNEE_SKIPPED,     /* confirm() said no */
	KNEE_OUTCOMES
};

struct knee_result {
	enum knee_outcome outcome;
	int status;
	int error;
	unsigned attempt;           /* 1 for the first */
	int64_t start_time_ns;      /* since the Epoch */
	int64_t runtime_ns;
	int64_t cpu_user_ns, cpu_sys_ns;
	int64_t peak_rss_bytes;     /* of the largest process (getrusage) */
	uint64_t disk_read_bytes, disk_written_bytes;   /* from and to block devices (getrusage) */
	uint64_t waits, switches;   /* context switches: it waited; it was made to (getrusage) */
	uint64_t output_bytes;
	/* Of tasks that ran long enough to be looked at; 0: not known. Source: /proc/PID/io,
	 * /proc/PID/stat, /proc/PID/schedstat, over the tree of its processes. */
	uint64_t io_bytes;          /* through read(2) and write(2) */
	uint64_t disk_bytes;        /* to and from block devices */
	uint64_t tree_rss_bytes;    /* the most that all its processes were seen to hold at the same time */
	int64_t delay_ns;           /* ready to run, waiting for a core */
};

/* True if the result counts as a failed task. */
int knee_failed(const struct knee_result *r);

enum knee_event_kind {
	KNEE_EVENT_START,   /* an attempt starts; for a text sink: the task's turn to print */
	KNEE_EVENT_OUTPUT,  /* text sinks only */
	KNEE_EVENT_RETRY,   /* an attempt failed and another will follow; live sinks only */
	KNEE_EVENT_RESULT,  /* exactly one for each task that was started */
	KNEE_EVENT_LIMIT,   /* a number at once changed, or why it stays: reason; live sinks only */
	KNEE_EVENT_NOTE,    /* something the user should read: reason; live sinks only */
	KNEE_EVENT_END,     /* the run is over; every text sink is flushed */
	KNEE_EVENTS
};

/* All pointers are borrowed until the sink returns. */
struct knee_event {
	enum knee_event_kind kind;
	uint64_t seq;               /* 1 for the first task; {#} */
	unsigned slot;              /* 1..limit; {%} */
	const char *command;        /* START, RESULT: the command's text, when options.want_text */
	const char *tag;            /* START, OUTPUT, RESULT: expanded options.tag, or NULL */
	enum knee_stream stream;    /* OUTPUT */
	const char *data;           /* OUTPUT: size bytes, any */
	size_t size;
	const struct knee_result *result;  /* RESULT, RETRY; START of live sinks: attempt and start_time_ns
	                               alone; START of text sinks: when the task has ended */
	const char *const *args;    /* START, OUTPUT, RETRY, RESULT: nargs, the input */
	size_t nargs;
	knee_read *read;            /* RESULT of live sinks: the output, when all of it waits for its turn */
	void *read_self;            /* ... NULL when some or all of it went to the text sinks, or goes now */
	unsigned limit;             /* LIMIT: tasks at once from now on, of all kinds */
	const struct knee_work *work;       /* LIMIT: the kind whose number it is; work->limit is that */
	const char *reason;         /* LIMIT, NOTE: a sentence */
};

/* Counts of a run, at any moment. */
struct knee_stats {
	uint64_t started;           /* tasks whose first attempt was started */
	uint64_t done;              /* tasks with a result, failed ones too */
	uint64_t failed;
	uint64_t stored;            /* of all of these, results that an earlier run had */
	uint64_t total;             /* tasks in all; valid when total_known */
	int total_known;
	unsigned running;           /* in flight now */
	unsigned limit;             /* most at once now */
	unsigned peak;              /* most ever in flight */
	int64_t elapsed_ns;
	int64_t runtime_sum_ns;     /* of all finished attempts */
	uint64_t held_bytes;        /* output that waits for its turn */
	int sink_blocked;           /* a sink's reader is slow: nothing starts meanwhile */
	uint64_t left;              /* inputs read but never started (after a stop) */
	int stopped;                /* knee_stop() or halt ended the run early */
	int rising;                 /* the search is at a higher limit than before: 1, lower: -1, else 0 */
	int64_t one_at_a_time_ns;   /* estimate: what the tasks done would have taken; 0: none */
	double cpu_busy_frac;       /* of the usable cores, by anyone; < 0: unknown */
	unsigned suspended;         /* of the running ones, stopped for want of memory */
};

/* A limit that was measured. */
struct knee_level {
	unsigned limit;
	double throughput_frac;     /* of the best one's throughput */
};

#define KNEE_LEVELS 12

/* One kind of work of a run, with a limit of its own (a fixed limit: all of the run). */
struct knee_work {
	enum knee_kind kind;
	char name[48];              /* the programs */
	char resource[64];          /* the disk or host, "" without one */
	unsigned limit, running, peak;
	unsigned least, most;       /* the search may go from .. to */
	uint64_t done;
	double cpu_share, disk_share, net_share, wait_share;   /* of a task's time; sum 1, or 0: not measured */
	double cores_per_task;      /* while it computes: 4 for four threads; 0: unknown */
	double busy_frac;           /* of the resource that bounds it; < 0: unknown */
	int settled;                /* the search is over, for now */
	char why[160];              /* the limit, in words: "disk-bound (vda 97 % busy)" */
	struct knee_level levels[KNEE_LEVELS];  /* measured ones, rising by limit */
	unsigned nlevels;
};

/*
 * Where events go.
 * text:  0: live. START, RETRY, RESULT, LIMIT, NOTE as they happen, no OUTPUT.
 *        1: START, OUTPUT, RESULT in the order that options.order asks for, one
 *        task's events never between another's (but for KNEE_ORDER_LINES).
 * event: takes the event whole (it may buffer it). 0, or -errno: the run stops
 *        and knee_run() returns it. -EPIPE: the same, but without error text.
 * flush: called once a turn. 0: nothing is waiting; n > 0: what waits may do so for n ns, and there
 *        will be a turn then; -EAGAIN: the reader is slow,
 *        the engine reads and starts nothing until fd() is writable; -errno as event.
 *        May be NULL.
 * fd:    the descriptor to wait on after -EAGAIN; NULL allowed when flush is.
 * tick:  called in the first turn, when its time has come, after a knee_wake(),
 *        and a last time right before END; returns the next time to be called,
 *        or INT64_MAX for never. May be NULL.
 */
struct knee_sink {
	void *self;
	int text;
	int (*event)(void *self, const struct knee_event *event);
	int (*flush)(void *self);
	int (*fd)(void *self);
	int64_t (*tick)(void *self, const struct knee_stats *stats, int64_t now_ns);
};

/* ---- options ------------------------------------------------------------ */

enum knee_executor {
	KNEE_EXEC_PROCESS,
	KNEE_EXEC_DRY,              /* runs nothing: the command's text is its output */
};

enum knee_order {
	KNEE_ORDER_INPUT,           /* by seq; the first unfinished task streams live */
	KNEE_ORDER_DONE,            /* a task's output whole, when it has ended */
	KNEE_ORDER_LINES,           /* whole lines as they come */
	KNEE_ORDER_NONE,            /* tasks write to the engine's own stdout and stderr */
};

struct knee_halt {
	enum { KNEE_HALT_NEVER, KNEE_HALT_SOON, KNEE_HALT_NOW } when;
	enum { KNEE_HALT_FAIL, KNEE_HALT_SUCCESS, KNEE_HALT_DONE } on;
	uint64_t count;             /* 0: use percent */
	double percent;             /* of all tasks so far started, at least 3 done, as GNU parallel */
};

/* One step of ending a task: send the signal, wait, take the next step. */
struct knee_term_step {
	int signal;
	int64_t wait_ns;
};

/* All pointers are borrowed until knee_free(). {0} with source and command set is valid. */
struct knee_options {
	const struct knee_template *command;
	const struct knee_template *tag;    /* may be NULL */
	struct knee_source source;
	const struct knee_sink *sinks;
	size_t nsinks;

	enum knee_executor executor;
	enum knee_order order;
	unsigned limit;             /* tasks at once; 0: found by measuring, for each kind of work;
	                               UINT_MAX: as many as descriptors and processes allow */
	unsigned limit_min, limit_max;      /* bounds for what is found (limit 0); 0: none */
	enum knee_kind kind;        /* a hint where to start; UNKNOWN: none */
	const char *memory_path;    /* what was learnt before, an SQLite file made when missing;
	                               NULL: nothing is kept */
	const int *busy_exits;      /* exit statuses that mean: too many at once, try again later. */
	size_t nbusy_exits;         /* such a task gets another attempt even without retries (32 at most) */
	double load_max;            /* start none while more processes than this want to run; 0: no bound */
	uint64_t memfree_bytes;     /* start none while less is free; below half of it the youngest task
	                               is ended and run again later; 0: as measured */
	uint64_t memsuspend_bytes;  /* suspend the youngest tasks while less than twice this is free */
	int noswap;                 /* start none while memory is being swapped in and out */
	int measure;                /* look at tasks even when limit is given: knee_get_work, io_bytes */
	int whole;                  /* print a task when it has ended, first all of its stdout, then its stderr */
	int resumable;              /* after a stop, print nothing behind a task that was cut short */
	int read_late;              /* ask for an input only when a task can start with it */
	/* Asked before every start: 1, or 0: not now; knee_wake() makes the engine ask again. May be NULL. */
	int (*may_start)(void *self);
	void *may_start_self;
	int want_text;              /* fill in event.command */

	int64_t delay_ns;           /* between two starts */
	int64_t timeout_ns;         /* 0: none */
	double timeout_frac;        /* of the median runtime; 0: none; 2.0 is 200 % */
	unsigned retries;           /* attempts at most; 0 and 1: one */
	int64_t backoff_ns;         /* wait before the second attempt, doubling; 0: 100 ms */
	const struct knee_term_step *term_seq;  /* NULL: TERM,200 ms,TERM,100,TERM,50,KILL */
	size_t nterm_seq;
	struct knee_halt halt;

	const char *const *environ_base;    /* the environment of tasks; NULL: empty */
	const char *slot_var;       /* --process-slot-var: NULL or a name; its value counts from 0 */
	const char *shell;          /* NULL: /bin/sh */
	const char *const *prefix;  /* words before every command (nice -n 5); may be NULL */
	size_t nprefix;
	int first_stdin;            /* the first task's stdin; -1: /dev/null for all */
	const char *tmpdir;         /* where held output goes when it is large; NULL: /tmp */
	uint64_t memory_bytes;      /* of held output, before it goes there; 0: 4 MiB */

	/* Asked before every first attempt; 0: skip the task. May be NULL. */
	int (*confirm)(void *self, const char *command);
	void *confirm_self;
};

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

/* ---- a run -------------------------------------------------------------- */

/* A new run. -EINVAL, -ENOMEM, -EMFILE, ...; *ret is untouched on failure. */
int knee_new(const struct knee_options *options, knee **ret, char *err, size_t errsize);

/* Until the source is at its end and every task has its RESULT. 0, or the -errno
 * that stopped it; failed tasks are no error: see knee_status(). */
int knee_run(knee *k);

enum knee_stop {
	KNEE_STOP_SOON,             /* start no more */
	KNEE_STOP_NOW,              /* and end what runs, by term_seq */
	KNEE_STOP_KILL,             /* and at once, by SIGKILL */
};
void knee_stop(knee *k, enum knee_stop how);

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

void knee_get_stats(const knee *k, struct knee_stats *ret);

/* The exit status that stands for the run: 0 all succeeded, 1-100 the number of
 * failed tasks, 101 more; after a halt: see the manual. */
int knee_status(const knee *k);

/* Text of the last error, "" when none. Owned by k. */
const char *knee_error(const knee *k);

/* Ends what still runs (SIGKILL) and frees all. Takes NULL. */
void knee_free(knee *k);

#ifdef __cplusplus
}
#endif
#endif
