/* SPDX-License-Identifier: MIT */
/* profile.c: knee profile, a look at a command before it is run in earnest. */
#ifndef CLI_PROFILE_H
#define CLI_PROFILE_H

/* All of "knee profile ..."; argv is main's, "profile" its second word. The exit status. */
int profile_main(int argc, char **argv);

#endif
