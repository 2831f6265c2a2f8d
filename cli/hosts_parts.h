/* SPDX-License-Identifier: MIT */
/*
 * The rooms of knee hosts.
 *
 *	argv --> hosts_options.c --> hosts_list.c: the machines, and a command for each
 *	    --> hosts.c: a run of these commands --> hosts_answer.c: what they print, as numbers
 *	    --> hosts_print.c: a table, CSV or JSON
 */
#ifndef CLI_HOSTS_PARTS_H
#define CLI_HOSTS_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli.h"

/* ---- hosts_answer.c: what a machine says (no process, no clock) ------------ */

enum { HOSTS_NAME_BYTES = 64, HOSTS_LINE_BYTES = 512 };

/* A machine at one moment. What it did not tell is not known. */
struct hosts_sample {
	bool has_load, has_cpu, has_memory, has_uptime, has_disk, has_net;
	double load[3];             /* processes that want to run, over 1, 5 and 15 minutes */
	unsigned cores;
	uint64_t cpu_ticks, idle_ticks; /* of all cores since it was started */
	uint64_t memory_bytes, free_bytes;  /* free: what can be had without swapping */
	uint64_t swap_bytes, swap_free_bytes;
	double uptime_s;
	uint64_t disk_read_bytes, disk_written_bytes, net_received_bytes, net_sent_bytes; /* since then */
	char name[HOSTS_NAME_BYTES], kernel[HOSTS_NAME_BYTES];
};

/* Bytes in two directions, of the devices that are hardware and of all that could be. */
struct hosts_flow {
	bool any, any_hardware;
	uint64_t in, out, hardware_in, hardware_out;
};

/* The script's output as it comes. {0} is one of which nothing came yet; bounded, whatever comes. */
struct hosts_answer {
	char line[HOSTS_LINE_BYTES];
	size_t size;
	bool cut;                   /* the line is longer than that: it is passed over */
	int section;                /* which file the lines are of; 0: none */
	char *hardware;             /* owned: names of devices, each with a NUL */
	size_t hardware_size;
	char disk[32];              /* the last whole disk, to know its partitions by */
	struct hosts_flow disks, links;
	uint64_t unused_bytes;      /* free memory and caches, where the kernel does not say what is available */
	bool has_available;
	struct hosts_sample coming; /* the sample in hand */
	struct hosts_sample before, last;   /* the last two whole ones */
	uint64_t samples;           /* how many were whole */
};

/* Take n bytes. How many samples became whole by them. */
unsigned hosts_answer_put(struct hosts_answer *a, const char *data, size_t n);
/* Begin anew: nothing came yet. Takes {0}. */
void hosts_answer_reset(struct hosts_answer *a);
void hosts_answer_done(struct hosts_answer *a);

/* How a machine is, from its last two samples; below 0: not known. */
struct hosts_figures {
	double load[3], cores, cpu_busy_frac;
	double memory_bytes, used_bytes, free_bytes, used_frac, swap_bytes, swap_used_bytes;
	double disk_read_per_s, disk_written_per_s, net_received_per_s, net_sent_per_s;
	double uptime_s;
};

struct hosts_figures hosts_answer_figures(const struct hosts_answer *a);

/* What ssh said when it failed, in few words that are the same for every host: "Permission denied". text: its
 * stderr; status: how it ended; ret: size bytes. */
void hosts_error_shorten(const char *text, int status, char *ret, size_t size);

/* ---- hosts_options.c -------------------------------------------------------- */

enum hosts_format { HOSTS_TABLE, HOSTS_CSV, HOSTS_JSON };

struct hosts_options {
	enum hosts_format format;
	int sort;                   /* a column (hosts_column_find), -1: as given */
	bool descending;
	bool no_fold;
	bool watch, help;
	int64_t interval_ns, timeout_ns;
	unsigned jobs;              /* connections made at once; 0: by the cores */
	const char *ssh;            /* NULL: ssh with options of ours */
	const char **words;         /* owned, not the strings: node sets, logins */
	size_t nwords;
	const char **files;         /* owned, not the strings: of --slf */
	size_t nfiles;
};

/* argv without "knee". 0, or -errno after say(). Strings are borrowed from argv. */
int hosts_options_parse(struct hosts_options *ret, int argc, char **argv);
void hosts_options_done(struct hosts_options *o);
void hosts_help(FILE *out);

/* ---- hosts_list.c: the machines ---------------------------------------------- */

enum hosts_state {
	HOSTS_WAITING,              /* its turn has not come */
	HOSTS_CONNECTING,           /* nothing was heard of it yet */
	HOSTS_ANSWERING,            /* a first sample is there */
	HOSTS_UP,                   /* all that is wanted is there */
	HOSTS_DOWN,                 /* error says why */
};

enum { HOSTS_ERROR_BYTES = 128, HOSTS_STDERR_BYTES = 1024 };

struct hosts_host {
	char *name;                 /* owned: for people */
	char *command;              /* owned: a shell's command that prints its samples */
	enum hosts_state state;
	bool running;               /* from when the engine has its command to the end of that */
	bool ending;                /* it was told to end */
	uint64_t seq;               /* of its task, 0: not started yet */
	int64_t begin_ns, heard_ns; /* CLOCK_MONOTONIC: of its start, and of the last byte from it */
	int64_t retry_ns;           /* when it is tried again */
	unsigned failures;          /* in a row */
	struct hosts_answer answer;
	char error[HOSTS_ERROR_BYTES];
	char text[HOSTS_STDERR_BYTES];      /* the end of what its command said on stderr */
};

struct hosts_list {
	struct hosts_host *hosts;   /* owned: n of them, in the order given, each once */
	size_t n;
};

/* 0, or -errno after say(). */
int hosts_list_make(const struct hosts_options *o, struct hosts_list *ret);
void hosts_list_done(struct hosts_list *list);
/* Keep the end of what is on stderr. */
void hosts_host_said(struct hosts_host *h, const char *data, size_t n);

/* ---- hosts_print.c ------------------------------------------------------------ */

/* The column of this name ("cpu", "mem-used"), or -1. */
int hosts_column_find(const char *name);
/* All of their names, for messages. */
void hosts_column_names(char *ret, size_t size);

struct hosts_view {
	const struct hosts_list *list;
	const struct hosts_options *options;
	unsigned cols, rows;        /* of the terminal, 0: it is none */
	bool color, utf8;
	bool redraw;                /* over the table that is there */
	int64_t time_ns;            /* since the Epoch */
	bool head;                  /* CSV: the names come first */
};

/* 0 or -ENOMEM. */
int hosts_print(const struct hosts_view *view, FILE *out);

#endif
