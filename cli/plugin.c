/* SPDX-License-Identifier: MIT */
#include "plugin.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYMBOL "knee_plugin"

int
plugin_check(const struct cli_options *o)
{
	if (o->isolate && o->plugin == NULL)
		return say_error(
		    EINVAL, "--isolate: there is no plugin that it could be about: add --plugin FILE");
	if (o->plugin != NULL && o->order == KNEE_ORDER_NONE)
		return say_error(EINVAL,
		    "--plugin: output passes through knee, which -u would not let it: use --lb or "
		    "--unordered "
		    "instead");
	return 0;
}

/* Where the symbol begins in spec, behind the file's name; NULL: there is none. A file that is there by
 * its whole name has a colon in that. */
static const char *
symbol_find(const char *spec)
{
	const char *colon = strrchr(spec, ':');

	if (colon == NULL || strchr(colon, '/') != NULL || access(spec, F_OK) == 0)
		return NULL;
	return colon + 1;
}

/* The name for dlopen(3), malloc: one without a slash is a file of this folder when it is there, else the
 * loader looks where it finds libraries. */
static char *
path_make(const char *spec, size_t size)
{
	char *path = malloc(size + 3);

	if (path == NULL)
		return NULL;
	memcpy(path, "./", 2);
	memcpy(path + 2, spec, size);
	path[size + 2] = '\0';
	if (memchr(spec, '/', size) != NULL || access(path, F_OK) != 0)
		memmove(path, path + 2, size + 1);
	return path;
}

static int
table_check(const char *path, const char *symbol, const struct knee_plugin *t)
{
	if (t == NULL)
		return say_error(ENOENT,
		    "--plugin %s: has no variable named %s: another name goes behind a colon, %s:NAME; "
		    "knee-plugin(3) says how to write one",
		    path, symbol, path);
	if (t->abi != KNEE_PLUGIN_ABI)
		return say_error(ENOEXEC,
		    "--plugin %s: %s is made for version %u of the plugin interface, this knee has %u: "
		    "build it again with this knee's knee.h",
		    path, symbol, t->abi, (unsigned)KNEE_PLUGIN_ABI);
	if (t->size < sizeof(*t) || t->run == NULL)
		return say_error(ENOEXEC, "--plugin %s: %s %s: see knee-plugin(3)", path, symbol,
		    t->size < sizeof(*t) ? "has the wrong size" : "has no run function");
	if (t->combine != NULL && t->close == NULL)
		return say_error(ENOEXEC,
		    "--plugin %s: %s has a combine function, but no close to print what it makes", path,
		    symbol);
	return 0;
}

static int
argv_make(struct plugin *p, char *const *words, size_t nwords)
{
	p->argv = calloc(nwords + 2, sizeof(*p->argv));
	if (p->argv == NULL)
		return say_error(ENOMEM, "%s", strerror(ENOMEM));
	p->argv[0] = p->path;
	for (size_t i = 0; i < nwords; i++)
		p->argv[i + 1] = words[i];
	p->argc = (int)nwords + 1;
	return 0;
}

static int
put_word(FILE *f, const char *word)
{
	char *quoted;
	int err = knee_quote(word, &quoted);

	if (err < 0)
		return err;
	if (fprintf(f, "%s ", quoted) < 0)
		err = -ENOMEM;
	free(quoted);
	return err;
}

/* The words of the host's command, as a shell reads them. */
static int
host_make(struct plugin *p, const char *symbol)
{
	size_t size;
	FILE *f = open_memstream(&p->host, &size);
	char *spec = NULL, self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int err = f != NULL && asprintf(&spec, "%s:%s", p->path, symbol) >= 0 ? 0 : -ENOMEM;

	self[n > 0 ? n : 0] = '\0';
	if (err == 0 && n <= 0)
		err = -errno;
	if (err == 0)
		(void)fputs("exec ", f); /* no shell stays in between */
	if (err == 0)
		err = put_word(f, self);
	if (err == 0)
		err = put_word(f, "plugin-host");
	for (int i = 0; i < p->argc && err == 0; i++)
		err = put_word(f, i == 0 ? spec : p->argv[i]);
	if (f != NULL && fclose(f) != 0)
		err = -ENOMEM;
	free(spec);
	return err < 0 ? say_error(-err, "%s", strerror(-err)) : 0;
}

void
plugin_options(const struct plugin *p, bool isolate, struct knee_options *ret)
{
	ret->plugin = p->table;
	ret->plugin_argc = p->argc;
	ret->plugin_argv = p->argv;
	if (!isolate)
		return;
	ret->worker = (const char *const *)&p->host;
	ret->nworker = 1;
	ret->framing = KNEE_FRAMING_PLUGIN;
}

int
plugin_host_main(int argc, char **argv)
{
	struct plugin p = { 0 };
	char message[1024] = "";
	int fds[2] = { STDIN_FILENO, -1 };
	int err;

	if (argc < 3) {
		say("plugin-host: is for knee alone: use --plugin with --isolate");
		return EXIT_TROUBLE;
	}
	err = plugin_load(argv[2], argv + 3, (size_t)argc - 3, &p);
	if (err < 0)
		return EXIT_TROUBLE;
	/* What the plugin itself prints is no answer: it goes where messages go. */
	fds[1] = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (fds[1] < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		err = -errno;
	if (err == 0)
		err = knee_plugin_serve(p.table, p.argc, p.argv, fds, message, sizeof(message));
	if (err < 0)
		say("%s", message[0] != '\0' ? message : strerror(-err));
	plugin_done(&p);
	return err < 0 ? EXIT_TROUBLE : 0;
}

int
plugin_load(const char *spec, char *const *words, size_t nwords, struct plugin *ret)
{
	const char *symbol = symbol_find(spec);
	size_t size = symbol != NULL ? (size_t)(symbol - spec) - 1 : strlen(spec);
	struct plugin p = { .path = path_make(spec, size) };
	const char *why;
	void *object;
	int err;

	if (p.path == NULL)
		return say_error(ENOMEM, "%s", strerror(ENOMEM));
	if (symbol == NULL)
		symbol = SYMBOL;
	object = dlopen(p.path, RTLD_NOW | RTLD_LOCAL);
	if (object == NULL) {
		why = dlerror();
		err = say_error(ENOENT, "--plugin: cannot be loaded: %s", why != NULL ? why : p.path);
	} else {
		p.table = dlsym(object, symbol);
		err = table_check(p.path, symbol, p.table);
	}
	if (err == 0)
		err = argv_make(&p, words, nwords);
	if (err == 0)
		err = host_make(&p, symbol);
	if (err < 0) {
		/* It stays loaded: the program ends now. */
		plugin_done(&p);
		return err;
	}
	*ret = p;
	return 0;
}

void
plugin_done(struct plugin *p)
{
	/* Not unloaded: a function that was given up may still run. */
	free(p->host);
	free(p->path);
	free(p->argv);
	*p = (struct plugin){ 0 };
}
