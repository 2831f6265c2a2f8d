/* SPDX-License-Identifier: MIT */
/* agent.c: knee agent, the far end of a run on several machines. */
#ifndef CLI_AGENT_H
#define CLI_AGENT_H

/* All of "knee agent"; argv is main's, "agent" its second word. The exit status. */
int agent_main(int argc, char **argv);

#endif
