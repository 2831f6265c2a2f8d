/* SPDX-License-Identifier: MIT */
/* log.c: knee log, what is in a journal. */
#ifndef CLI_LOG_H
#define CLI_LOG_H

/* All of "knee log ..."; argv is main's, "log" its second word. The exit status. */
int log_main(int argc, char **argv);

#endif
