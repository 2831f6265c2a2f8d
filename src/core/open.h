/* SPDX-License-Identifier: MIT */
/*
 * What a coordinator tells an agent of the run, in the frame OPEN: the options that the far end needs. All else
 * (order, retries, time-outs, halt, the journal) stays with the coordinator. Fields go in the order in which they
 * stand here; numbers as u32 or u64 as they are, flags as u8, load_max as a u64 of millionths.
 */
#ifndef KN_OPEN_H
#define KN_OPEN_H

#include "frame.h"

/* All borrowed: from the options, or from the frame. Arrays that kn_open_get makes are freed by kn_open_done. */
struct kn_open {
	/* the command */
	const char **words;         /* nwords */
	size_t nwords;
	struct knee_template_options template;  /* names: template.nnames */
	const char **worker;        /* the words of a worker's command; nworker 0: tasks are processes */
	size_t nworker;
	enum knee_framing framing;
	const char **env;           /* NAME=value for every task there; nenv */
	size_t nenv;
	const char *slot_var;       /* "": none */
	const char *shell;          /* "": the far end's own ($SHELL, /bin/sh) */
	const char *dir;            /* where tasks run: "": where the agent is started; "...": a new folder,
	                               removed at the end; relative: to that */
	const char *host, *login;   /* PARALLEL_SSHHOST, PARALLEL_SSHLOGIN */
	int nice;                   /* + 20; 0 to 39; 20: as it is */
	/* how many at once */
	unsigned limit, limit_min, limit_max;   /* as in knee_options */
	enum knee_kind kind;
	double load_max;
	uint64_t memfree_bytes, memsuspend_bytes;
	bool noswap, learn;         /* learn: use and keep what is learnt, there */
	const char *jobs;           /* what -j said, where it depends on the machine's cores ("50%", "+2"); "" */
	const char *load;           /* the same of --load */
	/* the connection */
	uint64_t timeout_ns;        /* who hears nothing for so long ends all */
	const char **dial;          /* ndial addresses "IP:PORT" to connect to instead; none: this connection */
	size_t ndial;
	const char *token;          /* what to say there first, with a newline behind */
};

/* Append the payload. 0 or -ENOMEM. */
int kn_open_put(struct kn_buf *to, const struct kn_open *o);
/* 0, -ENOMEM, or -EBADMSG. Borrows from f's bytes. kn_open_done after 0 only. */
int kn_open_get(struct kn_fields *f, struct kn_open *ret);
void kn_open_done(struct kn_open *o);

#endif
