/* SPDX-License-Identifier: MIT */
/* A file's name as SQLite takes it together with parameters. */
#ifndef KN_JOURNAL_URI_H
#define KN_JOURNAL_URI_H

/* An absolute path and what follows it ("?mode=ro"; "": nothing), malloc. NULL: no memory. */
char *kn_journal_uri(const char *path, const char *parameters);

#endif
