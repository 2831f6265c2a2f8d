/* SPDX-License-Identifier: MIT */
/*
 * knee runs a command or a function over many inputs, many at once, finds out how many at
 * once are right, and hands back the output in the order of the inputs, as if they had been
 * run one after another.
 *
 *	source --> executor --> sinks
 *
 * A program gives the engine a source of inputs (or knee_submit()s them), says what carries
 * them out (processes, long-lived workers, functions on threads, or asynchronous work of its
 * own), gives one or more sinks, and calls knee_run(), or knee_turn() from a loop of its own.
 * The engine lives on the thread that calls these: no callback is made from another one but
 * those of struct knee_plugin, which run on threads that the engine makes, and none may call
 * knee_run() or knee_turn() again.  Functions are for the engine's thread but where it is said.
 * The library prints nothing, reads no environment, installs no signal handler and never exits.
 *
 * For arrays there are three calls that need no engine: knee_for, knee_map and knee_reduce.
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
	void *data;                 /* the caller's own, handed on to functions and sinks; not looked at */
	const struct knee_stored *stored;   /* NULL: it is to run; else the journal has it already */
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

struct knee_template;
struct knee_machines;

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

enum knee_event_kind {
	KNEE_EVENT_START,   /* an attempt starts; for a text sink: the task's turn to print */
	KNEE_EVENT_OUTPUT,  /* text sinks only */
	KNEE_EVENT_RETRY,   /* an attempt failed and another will follow; live sinks only */
	KNEE_EVENT_RESULT,  /* exactly one for each task that was started */
	KNEE_EVENT_LIMIT,   /* a number at once changed, or why it stays: reason; live sinks only */
	KNEE_EVENT_NOTE,    /* something the user should read: reason; live sinks only */
	KNEE_EVENT_WHOLE,   /* text sinks only: as OUTPUT, but of no task: what a plugin's close() prints */
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
	void *input_data;           /* and its data */
	const void *part;           /* RESULT of live sinks: what the task has for the whole; part_size */
	size_t part_size;           /* bytes, 0 without one */
	knee_read *read;            /* RESULT of live sinks: the output, when all of it waits for its turn */
	void *read_self;            /* ... NULL when some or all of it went to the text sinks, or goes now */
	unsigned limit;             /* LIMIT: tasks at once from now on, of all kinds */
	const struct knee_work *work;       /* LIMIT: the kind whose number it is; work->limit is that */
	const char *reason;         /* LIMIT, NOTE: a sentence */
	const char *host;           /* of a task or LIMIT: the other machine that has it or had it last; NULL: here */
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
	int status;                 /* for the program's exit: 0 all succeeded, 1-100 the number of failed
	                               tasks, 101 more; after a halt: see knee(1) */
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
	KNEE_EXEC_PROCESS,          /* a process for each task: options.words */
	KNEE_EXEC_DRY,              /* runs nothing: the command's text is its output */
	KNEE_EXEC_WORKER,           /* long-lived processes, a record in, a record out: options.worker */
	KNEE_EXEC_THREAD,           /* functions on threads of this process: options.plugin */
	KNEE_EXEC_ASYNC,            /* the caller's own asynchronous work: options.async */
	KNEE_EXEC_AGENT,            /* processes or workers on other machines: options.machines (the program knee's) */
};

/* How records are told apart on a worker's stdin and stdout: knee(1), "Workers". */
enum knee_framing {
	KNEE_FRAMING_LINE,          /* each ends with a newline */
	KNEE_FRAMING_NUL,           /* each ends with a NUL byte */
	KNEE_FRAMING_LENGTH,        /* before each its size in decimal, and a newline */
	KNEE_FRAMING_PLUGIN,        /* the program's own, of workers that carry out options.plugin */
};

enum knee_order {
	KNEE_ORDER_INPUT,           /* by seq; the first unfinished task streams live */
	KNEE_ORDER_DONE,            /* a task's output whole, when it has ended */
	KNEE_ORDER_LINES,           /* whole lines as they come */
	KNEE_ORDER_NONE,            /* tasks write to the engine's own stdout and stderr */
	KNEE_ORDER_PIECES,          /* any bytes as they come, of several tasks by turns */
};

enum knee_halt_when { KNEE_HALT_NEVER, KNEE_HALT_SOON, KNEE_HALT_NOW };
enum knee_halt_on { KNEE_HALT_FAIL, KNEE_HALT_SUCCESS, KNEE_HALT_DONE };

/* End the run when so many tasks failed, succeeded, or did either. */
struct knee_halt {
	enum knee_halt_when when;
	enum knee_halt_on on;
	uint64_t count;             /* 0: use percent */
	double percent;             /* of all tasks so far started, at least 3 done, as GNU parallel */
};

/* One step of ending a task: send the signal, wait, take the next step. */
struct knee_term_step {
	int signal;
	int64_t wait_ns;
};

/* ---- functions as tasks ------------------------------------------------- */

/*
 * One attempt of a task, as the function that carries it out sees it. Valid until that returns,
 * and on its thread only. The functions are called as call->write(call, ...).
 */
struct knee_call {
	uint64_t seq;               /* 1 for the first task */
	unsigned attempt;           /* 1 for the first */
	const char *const *args;    /* the input: nargs strings */
	size_t nargs;
	void *data;                 /* struct knee_input's; NULL in a worker process */
	/* Bytes for the task's stdout or stderr, copied. They pass through the engine like a process's
	 * output. Waits when much of it is not taken yet. 0; -ECANCELED: the task is to end; -ENOMEM. */
	int (*write)(struct knee_call *call, enum knee_stream stream, const void *bytes, size_t size);
	/* What this task has for the whole (combine), copied; a second call replaces the first. 0 or -ENOMEM. */
	int (*part)(struct knee_call *call, const void *bytes, size_t size);
	/* Not 0: the task's time is up, or the run stops: return soon, with any status. Cheap. */
	int (*cancelled)(const struct knee_call *call);
};

/* Bytes of malloc(); {0} is none. */
struct knee_bytes {
	void *data;
	size_t size;
};

#define KNEE_PLUGIN_ABI 1

enum knee_plugin_flags {
	KNEE_PLUGIN_ASSOCIATIVE = 1,/* combine may be called on neighbours anywhere, at the same time, before
	                               both are part of the whole: (a b) (c d) is the same as ((a b) c) d */
};

/*
 * Functions that carry tasks out, in a program or, as a variable named knee_plugin, in a shared
 * object for `knee --plugin` (knee-plugin(3)). All but run may be NULL.
 */
struct knee_plugin {
	uint32_t abi;               /* KNEE_PLUGIN_ABI */
	uint32_t size;              /* sizeof(struct knee_plugin) */
	const char *name;           /* for messages and what is learnt; NULL: the file's */
	unsigned flags;             /* enum knee_plugin_flags */
	/* Once, before all tasks: make what the tasks share. 0, or -errno with text in err (errsize bytes). */
	int (*open)(void **state, int argc, const char *const *argv, char *err, size_t errsize);
	/* One task, on one of several threads. 0 to 255: its exit status; below: -errno, it is to fail
	 * as a command that cannot be started. */
	int (*run)(void *state, struct knee_call *call);
	/* Put part behind *whole, which holds what came before it in the order of the inputs; *whole may be
	 * changed and realloc()ed. On one thread at a time, unless ASSOCIATIVE. Parts of tasks that failed
	 * are left out. 0, or -errno: the run ends. */
	int (*combine)(void *state, struct knee_bytes *whole, const struct knee_bytes *part);
	/* Once, when every task has its result: print the whole (size 0: no part came), free the state.
	 * 0 to 255, counted as a failed task when it is not 0. After open alone whole may be NULL: nothing
	 * is to be printed. */
	int (*close)(void *state, const struct knee_bytes *whole, struct knee_call *call);
};

/* ---- asynchronous work -------------------------------------------------- */

/* One attempt of a task that was started; never used twice in a run. */
typedef uint64_t knee_task;

/* Work that goes on by itself once it is begun: a transfer, a request, a job elsewhere. */
struct knee_async {
	void *self;
	/* Begin it; knee_complete() ends it, now or later, from any thread. input is borrowed until start
	 * returns. 0; -EAGAIN: no more for now, ask again a little later; other -errno: the task fails
	 * with it, and must not be completed. */
	int (*start)(void *self, knee_task task, const struct knee_input *input);
	/* Its time is up, or the run stops: complete it soon, or now; once for an attempt. What is not completed
	 * before the SIGKILL of options.term_seq is given up then, and completing it is -ESTALE. May be NULL. */
	void (*cancel)(void *self, knee_task task);
};

/* All pointers are borrowed until knee_free(). {0} with words and source set is valid; without a
 * source inputs come by knee_submit(). */
struct knee_options {
	const char *const *words;   /* the command, a word each, as after `knee`: {} stands for the input */
	size_t nwords;
	const struct knee_template *command;    /* the same, made already (the program knee); or NULL */
	const struct knee_template *tag;    /* may be NULL */
	struct knee_source source;
	const struct knee_sink *sinks;
	size_t nsinks;

	enum knee_executor executor;
	const char *const *worker;  /* KNEE_EXEC_WORKER: the words of its command */
	size_t nworker;
	enum knee_framing framing;
	const struct knee_plugin *plugin;   /* KNEE_EXEC_THREAD; of workers: for combine and close alone */
	int plugin_argc;            /* for its open() */
	const char *const *plugin_argv;
	struct knee_async async;    /* KNEE_EXEC_ASYNC */
	const struct knee_machines *machines;       /* KNEE_EXEC_AGENT */
	/* What {#}, {%} and the environment say of a task, from its input's data; NULL: as it is counted here. With it
	 * environ_base says PARALLEL_SSHHOST, too. */
	void (*numbers)(void *input_data, uint64_t *seq, unsigned *slot);
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
	uint64_t memory_bytes;      /* of held output, before it goes there; 0: 4 MiB, and 64 KiB for each
	                               machine */

	/* Asked before every first attempt; 0: skip the task. May be NULL. */
	int (*confirm)(void *self, const char *command);
	void *confirm_self;
};

/* ---- a run -------------------------------------------------------------- */

/* A new run. -EINVAL, -ENOMEM, -EMFILE, ...; *ret is untouched on failure. */
int knee_new(const struct knee_options *options, knee **ret, char *err, size_t errsize);

/* One more input, copied but for what data points to; NULL: there will be no more. Without a source in
 * the options only; from callbacks, too. 0, -ENOMEM, or -EPIPE: after the last. */
int knee_submit(knee *k, const struct knee_input *input);

/* Until the inputs are at their end and every task has its RESULT. 0, or the -errno
 * that stopped it; failed tasks are no error: see struct knee_stats. */
int knee_run(knee *k);

/* One turn: what is due is done; with wait not 0 it waits for something to be due. 1 while there is
 * more to do, 0 at the end of the run, or -errno as knee_run(). */
int knee_turn(knee *k, int wait);

/* For another event loop: readable when knee_turn(k, 0) has something to do. Owned by k. */
int knee_fd(const knee *k);

enum knee_stop {
	KNEE_STOP_SOON,             /* start no more */
	KNEE_STOP_NOW,              /* and end what runs, by term_seq */
	KNEE_STOP_KILL,             /* and at once, by SIGKILL */
};
void knee_stop(knee *k, enum knee_stop how);

/* Counts, and the exit status that stands for the run. */
void knee_get_stats(const knee *k, struct knee_stats *ret);

/* Text of the last error, "" when none. Owned by k. */
const char *knee_error(const knee *k);

/* Ends what still runs (SIGKILL) and frees all. Takes NULL. */
void knee_free(knee *k);

/* Output of an asynchronous task, copied. From any thread, and not after its knee_complete(). 0;
 * -ESTALE: it is over already, or never was; -ENOMEM. */
int knee_output(knee *k, knee_task task, enum knee_stream stream, const void *bytes, size_t size);

/* An asynchronous task is done: status 0 to 255, or -errno: it fails as what cannot be started. From any
 * thread, but not after knee_free() has begun. 0, -ESTALE as above, or -ENOMEM. */
int knee_complete(knee *k, knee_task task, int status);

/* ---- arrays, on threads ------------------------------------------------- */

/* How many threads. {0} is valid, and NULL means it. */
struct knee_threads {
	unsigned limit;             /* at once; 0: found by measuring */
	unsigned limit_max;         /* of what is found; 0: no bound but the machine's */
	enum knee_kind kind;        /* a hint where to start: what waits (DISK, NET, WAIT, LOCK) starts many at
	                               once; else the caller takes the first items alone, for 30 us at
	                               least, and no thread is made for a loop that is over by then */
};

struct knee_array {
	void *items;
	size_t count;
	size_t item_bytes;
};

/* body(self, i) for each i < count, in any order, on several threads, the caller's among them. 0; or, of
 * the lowest i whose body returned other than 0, that value: what came after it may or may not have
 * been called. Where no thread can be made the caller does it all. The threads block all signals, and
 * none is left afterwards. May be called by several threads at the same time, and from a body. */
int knee_for(size_t count, int (*body)(void *self, size_t i), void *self, const struct knee_threads *how);

/* out[i] = f(in[i]): f(self, item, ret) for each item; out->count is in->count. Returns as knee_for();
 * -EINVAL: the counts differ. */
int knee_map(const struct knee_array *in, const struct knee_array *out,
    int (*f)(void *self, const void *item, void *ret), void *self, const struct knee_threads *how);

/* A fold: whole = step(... step(step(whole, in[0]), in[1]) ...). */
struct knee_fold {
	size_t whole_bytes;
	/* Take the next item into whole. 0, or other: the fold ends with it. */
	int (*step)(void *self, void *whole, const void *item);
	/* Put part, which began as the caller's whole, behind whole. */
	int (*combine)(void *self, void *whole, const void *part);
};

/* *whole is the neutral element, and the result afterwards. Where the array is cut depends on nothing
 * but its length, so that the result is the same whatever the number of threads: into count pieces, or
 * 64 + count / 16, or 1024, whichever is least; the first ones longer by an item where that does not
 * come out even. Each is folded from a copy of *whole. Returns as knee_for(), or -ENOMEM; *whole is
 * undefined after an error. */
int knee_reduce(const struct knee_array *in, void *whole, const struct knee_fold *fold, void *self,
    const struct knee_threads *how);

/* ---- the tuner alone ----------------------------------------------------- */

/* For a program that has threads or connections of its own and asks how many of them are right. Pure:
 * no thread, no clock. */
typedef struct knee_tuner knee_tuner;

/* What has happened since the tuner was made, and is now. */
struct knee_observation {
	int64_t now_ns;             /* CLOCK_MONOTONIC; rises */
	unsigned running;           /* units of work at once, now */
	uint64_t done;              /* units that ended, in all */
	uint64_t refused;           /* of those, that were told: too many at once (as HTTP's 429) */
	int64_t cpu_ns;             /* processor time of the work, in all; < 0: not known */
	int queued;                 /* not 0: more work waits than runs */
};

/* The number to begin with is that of the first observation. 0, -EINVAL or -ENOMEM. */
int knee_tuner_new(const struct knee_threads *how, knee_tuner **ret);
/* How many at once from now on; call some times a second, *next_ns: when it is wanted again (may be NULL). */
unsigned knee_tuner_observe(knee_tuner *t, const struct knee_observation *o, int64_t *next_ns);
void knee_tuner_free(knee_tuner *t);    /* takes NULL */

#ifdef __cplusplus
}
#endif
#endif
