/* SPDX-License-Identifier: MIT */
/*
 * The other machine's end of a connection is begun by a few lines of sh:
 *
 *	- the static program of this knee is in the user's cache there, named by its digest: it becomes the agent;
 *	- else "knee-boot want MACHINE SIZE" asks for it. SIZE bytes come on stdin, go to a file with another name, and
 *	  only when all are there does that get its own: who starts at the same time finds the whole program or none;
 *	- "knee-boot failed TEXT" says why not. Nothing half done is left then;
 *	- who has put a program in place removes those of other knees that nobody started for 30 days: a start renews the
 *	  time of its file. A program that is running keeps running without a name. What one that was killed left half
 *	  done goes after two days. Where there is no find(1) all stay.
 *
 * A machine of another kind, or a build without the program, leaves only a knee that is installed there.
 *
 * The first line is empty, for what a login prints need not end with a newline.
 *
 * The text stands in single quotes behind `exec sh -c`, so that csh and fish, too, hand it on as it is: it is one
 * line, and holds no single quote, backslash or exclamation mark.
 */
#include "boot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#define XXH_INLINE_ALL
#define XXH_NO_STREAM
#include <xxhash.h>

#include "boot_parts.h"
#include "cli.h"

const void *
boot_program(size_t *ret_size)
{
	*ret_size = (size_t)boot_program_size;
	return boot_program_size > 0 ? boot_program_bytes : NULL;
}

/* Tell why not, in one line, and remove what is there of the file. */
static const char script_begin[] =
    "echo; set -f; t=; m=$(uname -m); "
    "fail() { if [ -n \"$t\" ]; then rm -f \"$t\"; fi; echo knee-boot failed $1; exit 255; }; "
    "trap \"fail interrupted\" HUP INT TERM PIPE; "
    "installed() { if command -v knee >/dev/null 2>&1; then exec knee agent; fi; fail \"$1\"; }; ";

static const char script_none[] = "installed \"knee is not installed there, and this one was built without "
				  "the program that it could send\"";

/* %s twice: our machine; %016 twice: the digest; then %zu: bytes. */
static const char script_program[] =
    "if [ \"$m\" = %s ]; then :; else installed \"this machine is $m, and the knee that could be sent to it "
    "is for "
    "%s: "
    "install knee there\"; fi; "
    /* Where: as the rules of XDG have it; a home that is not there is not made. */
    "case ${XDG_CACHE_HOME-} in /*) d=$XDG_CACHE_HOME/knee;; *) d=;; esac; "
    "if [ -z \"$d\" ] && [ -n \"${HOME-}\" ] && [ -d \"$HOME\" ]; then d=$HOME/.cache/knee; fi; "
    "k=$(umask); umask 077; a=agent-%016" PRIx64 "%016" PRIx64 "; "
    /* A home that cannot be written to is as good as none. */
    "if [ -n \"$d\" ]; then [ -x \"$d/$a\" ] || { mkdir -p \"$d\" 2>/dev/null && [ -w \"$d\" ]; } || d=; fi; "
    "if [ -z \"$d\" ]; then u=$(id -u); d=/tmp/knee-$u; mkdir \"$d\" 2>/dev/null; set -- $(ls -ldn \"$d\" "
    "2>&1); "
    "case $1/${3-} in drwx------*/$u) ;; *) fail \"$d: is not a folder of this user alone\";; esac; fi; "
    "f=$d/$a; "
    /* The time first: who looks for what is not used any more finds it used, or we find it gone. */
    "touch -c \"$f\" 2>/dev/null; "
    /* After a power cut it may be empty. */
    "if [ -x \"$f\" ] && [ \"$(wc -c <\"$f\")\" -eq %zu ]; then umask $k; exec \"$f\" agent; fi; "
    "t=$d/.agent-$(uname -n)-$$; "
    "e=$( { : >\"$t\"; } 2>&1 ) || fail \"$d: cannot be written to: $e\"; "
    "echo knee-boot want $m %zu; "
    "e=$( { head -c %zu >\"$t\"; } 2>&1 ) || fail \"$d: the program cannot be kept there: $e\"; "
    "n=$(wc -c <\"$t\"); "
    "if [ \"$n\" -ne %zu ]; then fail \"the program that came is cut short: $n bytes of %zu\"; fi; "
    "e=$( { chmod 700 \"$t\" && mv -f \"$t\" \"$f\"; } 2>&1 ) || fail \"$f: $e\"; "
    /* Those of other knees: only files, only here, only names that are ours. They go one by one: the less
     * time there is in which one of them could be started. h: 32 hexadecimal digits. */
    "t=; h=\"[0-9a-f]\"; h=$h$h$h$h; h=$h$h$h$h$h$h$h$h; "
    "LC_ALL=C find \"$d/.\" -name . -o -type d -prune "
    "-o -type f -name \"agent-$h\" -mtime +29 -exec rm -f {} \";\" "
    "-o -type f -name \".agent-*-[0-9]*\" -mtime +1 -exec rm -f {} \";\" </dev/null >/dev/null 2>&1; "
    "if [ -x \"$f\" ]; then umask $k; exec \"$f\" agent; fi; "
    "fail \"$f: may not be executed: its file system may be mounted noexec\"";

int
boot_script(char **ret)
{
	size_t size;
	const void *program = boot_program(&size);
	XXH128_hash_t digest;
	struct utsname name;
	int n;

	if (program == NULL || uname(&name) < 0) {
		n = asprintf(ret, "%s%s", script_begin, script_none);
		return n < 0 ? -ENOMEM : 0;
	}
	digest = XXH3_128bits(program, size);
	/* The pieces are literals, the second one with the places to fill. */
	char *rest;

	n = asprintf(&rest, script_program, name.machine, name.machine, digest.high64, digest.low64, size,
	    size, size, size, size);
	if (n < 0)
		return -ENOMEM;
	n = asprintf(ret, "%s%s", script_begin, rest);
	free(rest);
	return n < 0 ? -ENOMEM : 0;
}

int
boot_command(char **ret)
{
	char *script;
	int err = boot_script(&script), n;

	if (err < 0)
		return err;
	n = asprintf(ret, "exec sh -c '%s'", script);
	free(script);
	return n < 0 ? -ENOMEM : 0;
}
