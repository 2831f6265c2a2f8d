/* SPDX-License-Identifier: MIT */
#include "plugin.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define SYMBOL "knee_plugin"

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
	free(p->path);
	free(p->argv);
	*p = (struct plugin){ 0 };
}
