/* SPDX-License-Identifier: MIT */
/*
 * The journal's file: what journal*.c and nobody else knows of it. man/knee-journal.5 says the
 * same for people.
 */
#ifndef KN_JOURNAL_H
#define KN_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

#include <knee.h>

#define KN_JOURNAL_ID 0x6b6e6565    /* "knee": PRAGMA application_id */
#define KN_JOURNAL_VERSION 1        /* PRAGMA user_version */

/* What a task is: task.state. */
enum kn_journal_state {
	KN_JOURNAL_STARTED,         /* was in flight: it runs again */
	KN_JOURNAL_SUCCEEDED,
	KN_JOURNAL_FAILED,
};

#endif
