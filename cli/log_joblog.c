/* SPDX-License-Identifier: MIT */
/* Lines as --joblog writes them. */
#include "joblog_line.h"
#include "log_parts.h"

void
log_joblog_head(void)
{
	fputs(JOBLOG_HEAD, stdout);
}

void
log_joblog_row(const struct knee_log_task *t)
{
	joblog_line_put(stdout, t->seq, t->local ? ":" : t->host, &t->result, t->command);
}
