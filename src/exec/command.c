/* SPDX-License-Identifier: MIT */
#include "command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../sys/fd.h"

/* The kernel takes no longer single argument (MAX_ARG_STRLEN, 32 pages). */
#define ARG_BYTES_MAX (128 * 1024)

struct kn_fill
kn_command_fill(const struct knee_options *options, const struct kn_task *t)
{
	struct kn_fill fill = { .args = t->args, .nargs = t->nargs, .seq = t->seq, .slot = t->slot };

	if (options->numbers != NULL)
		options->numbers(t->data, &fill.seq, &fill.slot);
	return fill;
}

int
kn_launcher_init(struct kn_launcher *l, const struct knee_options *options)
{
	int err;

	*l = (struct kn_launcher){ .options = options };
	err = kn_spawner_init(&l->spawner);
	if (err < 0)
		return err;
	err = kn_environ_init(&l->environ, options);
	if (err < 0)
		kn_spawner_done(&l->spawner);
	return err;
}

void
kn_launcher_done(struct kn_launcher *l)
{
	free(l->argv);
	kn_command_done(&l->command);
	kn_program_done(&l->program);
	kn_program_done(&l->prefix_program);
	kn_environ_done(&l->environ);
	kn_spawner_done(&l->spawner);
}

static int
argv_add(struct kn_launcher *l, size_t *n, const char *word)
{
	const char **argv;

	if (*n == l->argv_cap) {
		argv = realloc(l->argv, (l->argv_cap * 2 + 16) * sizeof(char *));
		if (argv == NULL)
			return -ENOMEM;
		l->argv = argv;
		l->argv_cap = l->argv_cap * 2 + 16;
	}
	l->argv[(*n)++] = word;
	return 0;
}

/* A script too long to be an argument: in a file without a name, which the shell reads as
 * descriptor 3 and closes first. */
static int
script_file(struct kn_buf *script, int *ret)
{
	static const char first[] = "exec 3<&-\n";
	int fd, err;

	fd = memfd_create("command", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = kn_fd_write_at(fd, first, sizeof(first) - 1, 0);
	if (err == 0)
		err = kn_fd_write_at(fd, script->data, script->len, sizeof(first) - 1);
	if (err < 0) {
		close(fd);
		return err;
	}
	*ret = fd;
	return 0;
}

/* The argument vector that runs l->command, after the prefix; plan->path and script too. */
static int
plan_command(struct kn_launcher *l, struct kn_spawn *plan)
{
	const struct knee_options *o = l->options;
	const struct kn_command *c = &l->command;
	const char *shell = o->shell != NULL ? o->shell : "/bin/sh";
	const char *search = kn_environ_get(&l->environ, "PATH");
	size_t n = 0;
	int err = 0;

	for (size_t i = 0; i < o->nprefix && err == 0; i++)
		err = argv_add(l, &n, o->prefix[i]);
	if (c->shell && err == 0) {
		if (c->text.len >= ARG_BYTES_MAX)
			err = script_file(&l->command.text, &plan->script);
		if (err == 0)
			err = argv_add(l, &n, shell);
		if (err == 0 && plan->script < 0)
			err = argv_add(l, &n, "-c");
		if (err == 0)
			err = argv_add(l, &n, plan->script < 0 ? c->text.data : "/dev/fd/3");
	}
	for (size_t i = 0; i < c->argc && err == 0; i++)
		err = argv_add(l, &n, c->argv[i]);
	if (err == 0)
		err = argv_add(l, &n, NULL);
	if (err < 0)
		return err;
	if (o->nprefix > 0)
		plan->path = kn_program_find(&l->prefix_program, l->argv[0], search);
	else
		plan->path = c->shell ? shell : kn_program_find(&l->program, l->argv[0], search);
	if (plan->path == NULL)
		return -ENOENT;
	/* posix_spawn's prototype lacks a const; it changes nothing. */
	memcpy(&plan->argv, &l->argv, sizeof(plan->argv));
	return 0;
}

/* Make l->command a script for the shell, to find what is no program: functions, builtins,
 * and the message and status for what is nothing at all. */
static int
command_to_shell(struct kn_launcher *l, const struct knee_template *template, const struct kn_fill *fill)
{
	struct kn_command *c = &l->command;
	int err;

	c->text.len = 0;
	c->argc = 0;
	c->shell = true;
	err = kn_template_script(template, fill, &c->text);
	if (err == 0)
		err = kn_buf_addc(&c->text, '\0');
	if (err == 0)
		c->text.len--; /* the NUL does not count, as kn_template_command leaves it */
	return err;
}

static int
spawn_command(struct kn_launcher *l, struct kn_spawn *plan, struct kn_child *child)
{
	int err;

	err = plan_command(l, plan);
	if (err == 0)
		err = kn_spawn(&l->spawner, plan, child);
	kn_fd_close(&plan->script);
	return err;
}

/* True for errors that tell that the file is no program this kernel can run. */
static bool
no_program(int err)
{
	return err == -ENOENT || err == -EACCES || err == -ENOEXEC || err == -ENOTDIR || err == -EISDIR;
}

int
kn_launcher_start(struct kn_launcher *l, const struct knee_template *template, const struct kn_fill *fill,
    struct kn_spawn *plan, struct kn_child *child)
{
	const char *search = kn_environ_get(&l->environ, "PATH");
	int err;

	kn_environ_set(&l->environ, fill->seq, fill->slot);
	plan->env = l->environ.vars;
	plan->script = -1;
	err = kn_template_command(template, fill, &l->command);
	if (err < 0)
		return err;
	if (!l->command.shell && l->command.argc > 0 &&
	    kn_program_find(&l->program, l->command.argv[0], search) != NULL) {
		err = spawn_command(l, plan, child);
		if (!no_program(err))
			return err;
		kn_program_forget(&l->program);
	}
	if (!l->command.shell) {
		err = command_to_shell(l, template, fill);
		if (err < 0)
			return err;
	}
	return spawn_command(l, plan, child);
}
