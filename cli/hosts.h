/* SPDX-License-Identifier: MIT */
/* hosts.c: knee hosts, how the machines of a network are. */
#ifndef CLI_HOSTS_H
#define CLI_HOSTS_H

/* All of "knee hosts ..."; argv is main's, "hosts" its second word. The exit status. */
int hosts_main(int argc, char **argv);

#endif
