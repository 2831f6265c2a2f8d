/* SPDX-License-Identifier: MIT */
#include "logins.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <knee_program.h>

#include "cli.h"

#define MESSAGE_BYTES 256

/* A string of the list's. */
struct logins_text {
	struct logins_text *next;
	char text[];
};

/* What is being read, for messages: "-S" or "FILE:3", and whether it may name other files. */
struct place {
	const char *option;
	const char *file; /* NULL: the option itself */
	size_t line;
};

/* A part, taken apart; borrowed from its text but for what is duplicated. */
struct part {
	const char *groups, *command, *user, *host, *port;
	unsigned limit;
};

__attribute__((format(printf, 3, 4))) static int
bad(const struct place *p, const char *text, const char *format, ...)
{
	char why[MESSAGE_BYTES];
	va_list list;

	va_start(list, format);
	(void)vsnprintf(why, sizeof(why), format, list);
	va_end(list);
	if (p->file == NULL)
		return say_error(EINVAL, "%s: '%s': %s", p->option, text, why);
	return say_error(EINVAL, "%s: %s:%zu: '%s': %s", p->option, p->file, p->line, text, why);
}

static int
out_of_memory(void)
{
	return say_error(ENOMEM, "logins: %s", strerror(ENOMEM));
}

/* A node set that is wrong: the message names the part itself. */
static int
bad_set(const struct place *p, int err, const char *message)
{
	if (err == -ENOMEM)
		return out_of_memory();
	if (p->file == NULL)
		return say_error(-err, "%s: %s", p->option, message);
	return say_error(-err, "%s: %s:%zu: %s", p->option, p->file, p->line, message);
}

/* A string that lives as long as l; NULL: no memory. */
__attribute__((format(printf, 2, 3))) static char *
keep(struct logins *l, const char *format, ...)
{
	struct logins_text *kept = NULL;
	va_list list, again;
	int n;

	va_start(list, format);
	va_copy(again, list);
	n = vsnprintf(NULL, 0, format, list);
	if (n >= 0)
		kept = malloc(sizeof(*kept) + (size_t)n + 1);
	if (kept != NULL) {
		(void)vsnprintf(kept->text, (size_t)n + 1, format, again);
		kept->next = l->texts;
		l->texts = kept;
	}
	va_end(again);
	va_end(list);
	return kept != NULL ? kept->text : NULL;
}

/* ---- the list ------------------------------------------------------------------------ */

/* Where text is in the table, or belongs. */
static size_t *
place_of(const struct logins *l, const char *text)
{
	size_t h = 5381, i;

	for (const char *s = text; *s != '\0'; s++)
		h = h * 33 ^ (unsigned char)*s;
	for (i = h % l->table_size; l->table[i] != 0; i = (i + 1) % l->table_size)
		if (strcmp(l->list[l->table[i] - 1].text, text) == 0)
			break;
	return &l->table[i];
}

/* The table anew, twice as large as the list may become. */
static int
table_make(struct logins *l)
{
	size_t *table = calloc(2 * l->cap, sizeof(*table));

	if (table == NULL)
		return out_of_memory();
	free(l->table);
	l->table = table;
	l->table_size = 2 * l->cap;
	for (size_t i = 0; i < l->n; i++)
		*place_of(l, l->list[i].text) = i + 1;
	return 0;
}

static int
list_grow(struct logins *l)
{
	size_t cap = l->cap > 0 ? 2 * l->cap : 16;
	struct login *list = reallocarray(l->list, cap, sizeof(*list));

	if (list == NULL)
		return out_of_memory();
	l->list = list;
	l->cap = cap;
	return table_make(l);
}

/* "+a+" has one of "+b+a+". */
static bool
groups_meet(const char *some, const char *others)
{
	while (*some != '\0' && some[1] != '\0') {
		size_t size = strcspn(some + 1, "+") + 2;

		for (const char *at = others; (at = strchr(at, '+')) != NULL; at++)
			if (strncmp(at, some, size) == 0)
				return true;
		some += size - 1;
	}
	return false;
}

/* One login of the part p, on the machine host. */
static int
login_add(struct logins *l, const struct part *p, const char *host)
{
	struct login login = {
		.user = p->user,
		.port = p->port,
		.command = p->command,
		.groups = p->groups,
		.limit = p->limit,
		.here = strcmp(host, ":") == 0,
	};
	bool brackets = p->port != NULL && strchr(host, ':') != NULL;
	size_t *at;

	login.host = keep(l, "%s", host);
	login.text =
	    keep(l, "%s%s%s%s%s%s%s%s%s", p->command != NULL ? p->command : "", p->command != NULL ? " " : "",
		p->user != NULL ? p->user : "", p->user != NULL ? "@" : "", brackets ? "[" : "", host,
		brackets ? "]" : "", p->port != NULL ? ":" : "", p->port != NULL ? p->port : "");
	if (login.host == NULL || login.text == NULL)
		return out_of_memory();
	if (l->n == l->cap && list_grow(l) < 0)
		return -ENOMEM;
	at = place_of(l, login.text);
	if (*at != 0) {
		struct login *same = &l->list[*at - 1];

		if (login.limit != 0)
			same->limit = login.limit;
		if (*login.groups != '\0' && strstr(same->groups, login.groups) == NULL)
			same->groups = keep(l, "%s%s", same->groups, login.groups + (*same->groups != '\0'));
		return same->groups != NULL ? 0 : out_of_memory();
	}
	l->list[l->n++] = login;
	*at = l->n;
	return 0;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Take out the machines of that node set. */
static int
logins_without(struct logins *l, const struct place *p, const char *set)
{
	char message[MESSAGE_BYTES] = "", **names;
	size_t nnames, n = 0;
	int err = knee_nodeset_parse(set, &names, &nnames, message, sizeof(message));

	if (err < 0)
		return bad_set(p, err, message);
	if (nnames > 0)
		qsort(names, nnames, sizeof(*names), by_name);
	for (size_t i = 0; i < l->n; i++)
		if (nnames == 0 || bsearch(&l->list[i].host, names, nnames, sizeof(*names), by_name) == NULL)
			l->list[n++] = l->list[i];
	free(names);
	l->n = n;
	return l->cap > 0 ? table_make(l) : 0;
}

/* ---- a part -------------------------------------------------------------------------- */

/* "a+b" as "+a+b+". */
static const char *
groups_keep(struct logins *l, const char *names, size_t size)
{
	return keep(l, "+%.*s+", (int)size, names);
}

/* N/ at *at. */
static int
limit_take(const struct place *p, const char **at, const char *part, unsigned *ret)
{
	size_t size = strspn(*at, "0123456789");

	if (size == 0 || (*at)[size] != '/')
		return 0;
	if (size > 6)
		return bad(p, part, "%.*s tasks at once are too many", (int)size, *at);
	*ret = (unsigned)strtoul(*at, NULL, 10);
	if (*ret == 0)
		return bad(p, part,
		    "with 0 tasks at once nothing would run there: leave 0/ out to let knee find the number");
	*at += size + 1;
	return 0;
}

static bool
is_port(const char *s)
{
	size_t size = strspn(s, "0123456789");

	return size > 0 && size <= 5 && s[size] == '\0' && strtoul(s, NULL, 10) <= 65535;
}

/* HOST[:PORT] in text, which is cut there. An address has two colons or more. */
static int
host_take(const struct place *p, char *text, const char *part, struct part *ret)
{
	char *close = text[0] == '[' ? strchr(text, ']') : NULL;
	char *colon = strchr(text, ':');

	if (close != NULL && colon != NULL && colon < close) {
		if (close[1] != '\0' && (close[1] != ':' || !is_port(close + 2)))
			return bad(p, part, "behind ] there may be :PORT and nothing else");
		*close = '\0';
		ret->host = text + 1;
		ret->port = close[1] != '\0' ? close + 2 : NULL;
		return 0;
	}
	ret->host = text;
	if (colon == NULL || strcmp(text, ":") == 0 || strchr(colon + 1, ':') != NULL)
		return 0;
	if (!is_port(colon + 1))
		return bad(p, part, "%s is no port", colon + 1);
	*colon = '\0';
	ret->port = colon + 1;
	return 0;
}

/* [USER@]HOST[:PORT] in text, which is changed. */
static int
target_take(const struct place *p, char *text, const char *part, struct part *ret)
{
	char *at = strrchr(text, '@');

	/* ssh would take these for options of its own. */
	if (*text == '-')
		return bad(p, part, "a login does not begin with -");
	if (at != NULL) {
		*at = '\0';
		ret->user = text;
		text = at + 1;
		if (*ret->user == '\0')
			return bad(p, part, "there is no user before @");
		if (strchr(ret->user, ':') != NULL)
			return bad(p, part,
			    "passwords are not for command lines: ssh-keygen, ssh-copy-id and ssh-agent make "
			    "them needless");
	}
	if (*text == '\0' || *text == '-')
		return bad(p, part, "there is no machine in it");
	return host_take(p, text, part, ret);
}

/* The machines of a part; ret is whole but for them. */
static int
hosts_add(struct logins *l, const struct place *p, const char *part, const struct part *ret)
{
	char message[MESSAGE_BYTES] = "", **names;
	size_t n;
	int err;

	assert(ret->host != NULL);
	if (strchr(ret->host, ':') != NULL) {
		if (strcmp(ret->host, ":") == 0 &&
		    (ret->user != NULL || ret->port != NULL || ret->command != NULL))
			return bad(p, part, ": is this machine: there is no login to it");
		return login_add(l, ret, ret->host);
	}
	err = knee_nodeset_parse(ret->host, &names, &n, message, sizeof(message));
	if (err < 0)
		return bad_set(p, err, message);
	for (size_t i = 0; i < n && err == 0; i++)
		err = login_add(l, ret, names[i]);
	free(names);
	return err;
}

/* One part; text is changed. */
static int
part_read(struct logins *l, const struct place *p, const char *part, char *text)
{
	struct part ret = { .groups = "" };
	const char *at = text;
	char *blank;
	int err;

	if (*at == '@') {
		size_t size = strcspn(at + 1, "/");

		if (size == 0 || strspn(at + 1, "+") > 0)
			return bad(p, part, "there is no group behind @");
		ret.groups = groups_keep(l, at + 1, size);
		if (ret.groups == NULL)
			return out_of_memory();
		at += size + 1;
		if (*at == '\0') {
			l->groups = keep(
			    l, "%s%s", l->groups != NULL ? l->groups : "", ret.groups + (l->groups != NULL));
			return l->groups != NULL ? 0 : out_of_memory();
		}
		at++;
	}
	err = limit_take(p, &at, part, &ret.limit);
	if (err < 0)
		return err;
	blank = strrchr(text, ' ');
	if (blank != NULL && blank >= at) {
		*blank = '\0';
		ret.command = at;
		at = blank + 1;
	}
	err = target_take(p, text + (at - text), part, &ret);
	return err < 0 ? err : hosts_add(l, p, part, &ret);
}

/* ---- lists and files ------------------------------------------------------------------ */

/* The part at s into to, without what protects commas and the blanks around it; where it ends. */
static const char *
part_take(const char *s, char *to)
{
	char *start = to;
	bool inside = false;

	s += strspn(s, " \t\r");
	for (; *s != '\0' && *s != '\n'; s++) {
		if (!inside && s[0] == ',' && s[1] != ',')
			break;
		if (!inside && s[1] == ',' && (s[0] == ',' || s[0] == '\\'))
			s++;
		inside = *s == '[' || (inside && *s != ']');
		*to++ = *s;
		if (*s == '\t' || *s == '\r')
			to[-1] = ' ';
	}
	while (to > start && to[-1] == ' ')
		to--;
	*to = '\0';
	return s;
}

/* A part that may be the name of a file, which files may not name in turn. */
static int
part_add(struct logins *l, const struct place *p, char *text)
{
	const char *part;

	if (*text == '\0')
		return 0;
	if (strcmp(text, "..") == 0 || strcmp(text, "-") == 0) {
		if (p->file != NULL)
			return bad(p, text, "a file of logins names no other");
		return logins_add_file(l, p->option, text);
	}
	if (*text == '!' || (*text == '-' && strpbrk(text, " @:/") == NULL))
		return logins_without(l, p, text + 1);
	part = keep(l, "%s", text);
	return part != NULL ? part_read(l, p, part, text) : out_of_memory();
}

static int
list_add(struct logins *l, const struct place *p, const char *list)
{
	/* A part is no longer than what it is made from, so all of them have room in a copy. */
	char *text = keep(l, "%s", list);
	int err = 0;

	if (text == NULL)
		return out_of_memory();
	while (err == 0 && *list != '\0') {
		const char *end = part_take(list, text);

		err = part_add(l, p, text);
		end += *end != '\0';
		text += end - list;
		list = end;
	}
	return err;
}

int
logins_add(struct logins *l, const char *option, const char *list)
{
	return list_add(l, &(struct place){ .option = option }, list);
}

/* # at the beginning of a line, or behind a blank, begins a comment. */
static void
comment_cut(char *line)
{
	for (char *s = line; *s != '\0'; s++) {
		if (*s == '#' && (s == line || s[-1] == ' ' || s[-1] == '\t')) {
			*s = '\0';
			return;
		}
	}
}

static int
stream_read(struct logins *l, struct place *p, FILE *in)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int err = 0;

	while (err == 0 && (n = getline(&line, &cap, in)) >= 0) {
		p->line++;
		if (memchr(line, '\0', (size_t)n) != NULL)
			err = bad(p, line, "a NUL byte: is it a file of logins?");
		comment_cut(line);
		if (err == 0)
			err = list_add(l, p, line);
	}
	if (err == 0 && ferror(in))
		err = say_error(errno, "%s: %s: %s", p->option, p->file, strerror(errno));
	free(line);
	return err;
}

/* 0, or -errno after say(). */
static int
file_read(struct logins *l, const char *option, const char *path)
{
	struct place p = { .option = option, .file = path };
	FILE *in = fopen(path, "re");
	int err;

	if (in == NULL)
		return say_error(errno, "%s: %s: %s", option, path, strerror(errno));
	err = stream_read(l, &p, in);
	(void)fclose(in);
	return err;
}

/* The user's folders of logins: GNU parallel's, and ours, where the config file is. */
enum folder { FOLDER_PARALLEL, FOLDER_KNEE };

/* name in one of them: 1: read; 0: it is not there; or -errno after say(). */
static int
home_read(struct logins *l, const char *option, enum folder folder, const char *name)
{
	const char *home = getenv("HOME"), *config = getenv("XDG_CONFIG_HOME");
	char *path;
	int err;

	if (folder == FOLDER_KNEE && config != NULL && *config == '/')
		path = keep(l, "%s/knee/%s", config, name);
	else if (home != NULL && *home != '\0')
		path = keep(l, "%s/%s/%s", home, folder == FOLDER_KNEE ? ".config/knee" : ".parallel", name);
	else
		return 0;
	if (path == NULL)
		return out_of_memory();
	if (access(path, F_OK) < 0)
		return 0;
	if (access(path, R_OK) < 0)
		return say_error(errno, "%s: %s: %s", option, path, strerror(errno));
	err = file_read(l, option, path);
	return err < 0 ? err : 1;
}

/* ".." */
/* For messages: where our own are. */
static const char *
own_folder(void)
{
	const char *config = getenv("XDG_CONFIG_HOME");

	return config != NULL && *config == '/' ? "$XDG_CONFIG_HOME/knee" : "~/.config/knee";
}

static int
usual_read(struct logins *l, const char *option)
{
	int first = home_read(l, option, FOLDER_PARALLEL, "sshloginfile");
	int second = first >= 0 ? home_read(l, option, FOLDER_KNEE, "hosts") : 0;

	if (first < 0 || second < 0)
		return first < 0 ? first : second;
	if (first == 0 && second == 0)
		return say_error(ENOENT,
		    "%s: ..: there is neither %s/hosts nor ~/.parallel/sshloginfile: write one, "
		    "a login on each line",
		    option, own_folder());
	return 0;
}

int
logins_add_file(struct logins *l, const char *option, const char *name)
{
	int got;

	if (strcmp(name, "-") == 0) {
		l->took_stdin = true;
		return stream_read(l, &(struct place){ .option = option, .file = "standard input" }, stdin);
	}
	if (strcmp(name, "..") == 0)
		return usual_read(l, option);
	if (strcmp(name, ".") == 0)
		return file_read(l, option, "/etc/parallel/sshloginfile");
	if (access(name, R_OK) == 0 || strchr(name, '/') != NULL)
		return file_read(l, option, name);
	got = home_read(l, option, FOLDER_PARALLEL, name);
	if (got == 0)
		got = home_read(l, option, FOLDER_KNEE, name);
	if (got == 0)
		return say_error(ENOENT, "%s: %s: %s: not here, nor in ~/.parallel or %s", option, name,
		    strerror(ENOENT), own_folder());
	return got < 0 ? got : 0;
}

/* A login is of the groups before it, and of one of its host's name. */
static bool
chosen(const struct logins *l, const struct login *login)
{
	char own[300];

	(void)snprintf(own, sizeof(own), "+%s+", login->host);
	return groups_meet(own, l->groups) || groups_meet(login->groups, l->groups);
}

int
logins_settle(struct logins *l, const char *option)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		if (l->groups == NULL || chosen(l, &l->list[i]))
			l->list[n++] = l->list[i];
	if (n == 0 && l->n > 0)
		return say_error(EINVAL, "%s: none of the %zu logins is in a group of @%.*s", option, l->n,
		    (int)strlen(l->groups) - 2, l->groups + 1);
	if (n == 0)
		return say_error(EINVAL, "%s: there is no login in it%s", option,
		    l->groups != NULL ? ": name the file that has the groups, by --slf" : "");
	l->n = n;
	return 0;
}

void
logins_done(struct logins *l)
{
	struct logins_text *text, *next;

	for (text = l->texts; text != NULL; text = next) {
		next = text->next;
		free(text);
	}
	free(l->list);
	free(l->table);
	*l = (struct logins){ 0 };
}
