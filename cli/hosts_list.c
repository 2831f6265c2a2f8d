/* SPDX-License-Identifier: MIT */
/*
 * The machines, and what is run for each: ssh with a small script, which needs nothing there but sh, cat and
 * sleep. hosts_answer.c says what it prints.
 *
 * The script is one line without single quotes, backslashes and exclamation marks, so that a login shell of any
 * kind hands it on to sh as it is. Between two samples it says an empty line each second: so it hears soon when
 * nobody listens any more, and is heard as long as it lives.
 */
#include "hosts_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "logins.h"

#define SECOND_NS ((int64_t)1000000000)

#define SCRIPT \
	"exec 2>/dev/null; n=%d; while :; do echo; echo \"=knee-hosts 1\"; " \
	"for f in loadavg uptime sys/kernel/hostname sys/kernel/osrelease; do " \
	"read -r l </proc/$f && echo \"=$f $l\"; done; " \
	"for f in /sys/block/*/device /sys/class/net/*/device; do echo \"=$f\"; done; " \
	"for f in stat meminfo diskstats net/dev; do echo \"=$f\"; cat /proc/$f; done; " \
	"echo \"=end\" || exit 1; n=$((n-1)); [ $n = 0 ] && exit 0; " \
	"i=%lld; while [ $i -gt 0 ]; do sleep 1 || exit 1; echo || exit 1; i=$((i-1)); done; " \
	"%sdone"

/* The script, malloc'd; NULL: no memory. */
static char *
script_make(const struct hosts_options *o)
{
	/* Without a pause there is one sample, and no rates. */
	int samples = o->watch ? 0 : o->interval_ns > 0 ? 2 : 1;
	int ms = (int)(o->interval_ns % SECOND_NS / 1000000);
	char rest[64] = "", *ret;

	if (ms > 0)
		(void)snprintf(rest, sizeof(rest), "sleep 0.%03d || sleep 1 || exit 1; ", ms);
	if (asprintf(&ret, SCRIPT, samples, (long long)(o->interval_ns / SECOND_NS), rest) < 0)
		return NULL;
	return ret;
}

/* Is the program of this shell command OpenSSH's, whose options we know? */
static bool
is_ssh(const char *command)
{
	size_t n = strcspn(command, " \t");
	const char *name = command;

	for (size_t i = 0; i < n; i++)
		if (command[i] == '/')
			name = command + i + 1;
	return (size_t)(command + n - name) == 3 && memcmp(name, "ssh", 3) == 0;
}

/* What leads to the machine, as a shell reads it, in *ret (malloc). */
static int
way_make(const struct hosts_options *o, const struct login *l, char **ret)
{
	const char *command = l->command != NULL ? l->command :
	    o->ssh != NULL                       ? o->ssh :
						   getenv("PARALLEL_SSH");
	long long connect_s = (o->timeout_ns + SECOND_NS - 1) / SECOND_NS + 1;
	char *target = NULL, *quoted = NULL, options[320] = "";
	int err = -ENOMEM;

	if (command == NULL || command[strspn(command, " \t")] == '\0')
		command = "ssh";
	/* What the command itself says comes first, and counts. */
	if (is_ssh(command))
		(void)snprintf(options, sizeof(options),
		    " -T -o ForwardX11=no -o ForwardAgent=no -o BatchMode=yes -o ConnectTimeout=%lld -o "
		    "ServerAliveInterval=15 -o "
		    "ServerAliveCountMax=3 -o ControlMaster=no -o ClearAllForwardings=yes -o "
		    "RemoteCommand=none",
		    connect_s);
	if (asprintf(&target, "%s%s%s", l->user != NULL ? l->user : "", l->user != NULL ? "@" : "", l->host) <
	    0) {
		target = NULL;
		goto done;
	}
	err = knee_quote(target, &quoted);
	if (err == 0 &&
	    asprintf(ret, "%s%s%s%s %s", command, options, l->port != NULL ? " -p " : "",
		l->port != NULL ? l->port : "", quoted) < 0)
		err = -ENOMEM;

done:
	free(target);
	free(quoted);
	return err;
}

/* script: quoted for sh; far: that command, quoted once more. */
static int
host_make(const struct hosts_options *o, const struct login *l, const char *script, const char *far,
    struct hosts_host *h)
{
	char *way = NULL;
	int err = 0;

	h->name = strdup(l->here ? ":" : l->text);
	if (h->name == NULL)
		return -ENOMEM;
	if (l->here)
		return asprintf(&h->command, "sh -c %s", script) < 0 ? -ENOMEM : 0;
	err = way_make(o, l, &way);
	if (err == 0 && asprintf(&h->command, "%s %s", way, far) < 0)
		err = -ENOMEM;
	free(way);
	return err;
}

static int
hosts_make(const struct hosts_options *o, const struct logins *logins, struct hosts_list *list)
{
	char *script = script_make(o), *quoted = NULL, *there = NULL, *far = NULL;
	int err = script != NULL ? knee_quote(script, &quoted) : -ENOMEM;

	if (err == 0 && asprintf(&there, "exec sh -c %s", quoted) < 0) {
		there = NULL;
		err = -ENOMEM;
	}
	if (err == 0)
		err = knee_quote(there, &far);
	for (size_t i = 0; err == 0 && i < logins->n; i++) {
		err = host_make(o, &logins->list[i], quoted, far, &list->hosts[i]);
		list->n++;
	}
	free(script);
	free(quoted);
	free(there);
	free(far);
	return err;
}

static int
logins_read(const struct hosts_options *o, struct logins *l)
{
	int err = 0;

	/* As for -S: words can leave out machines of a file. */
	for (size_t i = 0; err == 0 && i < o->nfiles; i++)
		err = logins_add_file(l, "--slf", o->files[i]);
	for (size_t i = 0; err == 0 && i < o->nwords; i++)
		err = logins_add(l, "hosts", o->words[i]);
	return err == 0 ? logins_settle(l, "hosts") : err;
}

int
hosts_list_make(const struct hosts_options *o, struct hosts_list *ret)
{
	struct hosts_list list = { 0 };
	struct logins logins = { 0 };
	int err = logins_read(o, &logins);

	if (err < 0)
		goto done;
	list.hosts = calloc(logins.n, sizeof(*list.hosts));
	err = list.hosts != NULL ? hosts_make(o, &logins, &list) : -ENOMEM;
	if (err < 0) {
		(void)say_error(-err, "hosts: %s", strerror(-err));
		hosts_list_done(&list);
	} else {
		*ret = list;
	}

done:
	logins_done(&logins);
	return err;
}

void
hosts_list_done(struct hosts_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		free(list->hosts[i].name);
		free(list->hosts[i].command);
		hosts_answer_done(&list->hosts[i].answer);
	}
	free(list->hosts);
	*list = (struct hosts_list){ 0 };
}

void
hosts_host_said(struct hosts_host *h, const char *data, size_t n)
{
	size_t len = strlen(h->text), most = sizeof(h->text) - 1;

	if (n > most) {
		data += n - most;
		n = most;
	}
	if (len + n > most) {
		memmove(h->text, h->text + len + n - most, most - n);
		len = most - n;
	}
	memcpy(h->text + len, data, n);
	h->text[len + n] = '\0';
	for (size_t i = 0; i < n; i++)
		if (h->text[len + i] == '\0')
			h->text[len + i] = ' ';
}
