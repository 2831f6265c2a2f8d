/* SPDX-License-Identifier: MIT */
/*
 * Options from elsewhere than the command line: config files, then $KNEE or (as
 * parallel) $PARALLEL.  What comes later wins, the command line most of all.
 *
 *	/etc/knee/config
 *	$XDG_CONFIG_HOME/knee/config or ~/.config/knee/config, as parallel ~/.parallel/config
 *
 * A line holds options, split into words as a shell does it: blanks separate, '...' and
 * "..." and \ quote, # begins a comment.  Nothing is expanded.  A file that is missing or
 * may not be read does not count: $HOME may be somebody else's.
 *
 * The file that -j may name is read here as well; it is read again during the run.
 */
#include "options_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Move a quoted part from *at to *to. False when the quote does not end. */
static bool
quoted_take(const char **at, const char *end, char **to)
{
	char quote = *(*at)++;

	for (; *at < end && **at != quote; ++*at) {
		if (quote == '"' && **at == '\\' && *at + 1 < end && strchr("\\\"$`", (*at)[1]))
			++*at;
		*(*to)++ = **at;
	}
	return (*at)++ < end;
}

/* One word from *at to *to. */
static bool
word_take(const char **at, const char *end, char **to)
{
	while (*at < end && **at != ' ' && **at != '\t' && **at != '\n') {
		if (**at == '\'' || **at == '"') {
			if (!quoted_take(at, end, to))
				return false;
			continue;
		}
		if (**at == '\\' && ++*at == end)
			return false;
		*(*to)++ = *(*at)++;
	}
	*(*to)++ = '\0';
	return true;
}

int
config_words(struct cli_options *o, const char *line, size_t size, struct line_words *ret)
{
	const char *end = line + size;
	char *to;
	int err = options_text_keep(o, line, size, &ret->text);

	if (err < 0)
		return err;
	ret->n = 0;
	ret->words = calloc(size / 2 + 1, sizeof(*ret->words));
	if (ret->words == NULL)
		return -ENOMEM;
	to = ret->text;
	for (;;) {
		while (line < end && (*line == ' ' || *line == '\t' || *line == '\n' || *line == '\r'))
			line++;
		if (line == end || *line == '#')
			return 0;
		ret->words[ret->n++] = to;
		if (!word_take(&line, end, &to)) {
			free(ret->words);
			return -EINVAL;
		}
	}
}

/* Take the options of one line. */
static int
line_read(struct options_state *s, const char *line, size_t size)
{
	struct line_words words;
	size_t used;
	int err = config_words(s->o, line, size, &words);

	if (err == -EINVAL)
		return say_error(EINVAL, "%sa quote without end", s->where);
	if (err < 0)
		return err;
	err = options_scan(s, words.words, words.n, &used);
	if (err == 0 && used < words.n)
		err = say_error(
		    EINVAL, "%s'%s' is no option: only options may stand here", s->where, words.words[used]);
	free(words.words);
	return err;
}

/* All of a file in *ret, malloc'd. */
static int
file_load(const char *path, char **ret, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	size_t cap = 4096, n = 0;
	char *data = NULL, *more;
	ssize_t got;
	int err;

	if (fd < 0)
		return -errno;
	do {
		cap *= 2;
		more = realloc(data, cap);
		if (more == NULL) {
			err = -ENOMEM;
			goto close_fd;
		}
		data = more;
		while ((got = read(fd, data + n, cap - n)) > 0)
			n += (size_t)got;
		if (got < 0) {
			err = -errno;
			goto close_fd;
		}
	} while (n == cap);
	*ret = data;
	*size = n;
	data = NULL;
	err = 0;

close_fd:
	free(data);
	close(fd);
	return err;
}

int
config_first_line(const char *path, char *line, size_t size)
{
	/* What is no regular file, such as a FIFO, is not to be waited for. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	ssize_t n = 0;
	char *start = line, *end;
	int err = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || (n = S_ISREG(st.st_mode) ? read(fd, line, size) : 0) < 0)
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = -EINVAL;
	close(fd);
	if (err < 0)
		return err;
	end = memchr(line, '\n', (size_t)n);
	if (end == NULL && (size_t)n == size)
		return -EINVAL;
	end = end != NULL ? end : line + n;
	while (end > start && strchr(" \t\r", end[-1]))
		end--;
	*end = '\0';
	start += strspn(start, " \t");
	memmove(line, start, strlen(start) + 1);
	return 0;
}

static int
file_read(struct options_state *s, const char *path)
{
	char *data = NULL, *where;
	size_t size = 0, number = 0;
	int err = file_load(path, &data, &size);

	if (err == -ENOENT || err == -ENOTDIR || err == -EACCES)
		return 0;
	if (err < 0)
		return err == -ENOMEM ? err : say_error(-err, "%s: %s", path, strerror(-err));
	for (const char *line = data, *next; err == 0 && line < data + size; line = next) {
		const char *end = memchr(line, '\n', (size_t)(data + size - line));

		next = end ? end + 1 : data + size;
		if (asprintf(&where, "%s:%zu: ", path, ++number) < 0) {
			err = -ENOMEM;
			break;
		}
		s->where = where;
		err = line_read(s, line, (size_t)(next - line) - (end ? 1 : 0));
		s->where = "";
		free(where);
	}
	free(data);
	return err;
}

/* The user's own file, in *ret (malloc'd), or NULL where there can be none. */
static int
user_path(const char *face, char **ret)
{
	const char *home = getenv("HOME"), *folder = getenv("XDG_CONFIG_HOME");
	int n = 0;

	*ret = NULL;
	if (strcmp(face, "parallel") == 0) {
		if (home && *home)
			n = asprintf(ret, "%s/.parallel/config", home);
	} else if (folder && *folder == '/') {
		n = asprintf(ret, "%s/knee/config", folder);
	} else if (home && *home) {
		n = asprintf(ret, "%s/.config/knee/config", home);
	}
	if (n < 0)
		*ret = NULL;
	return n < 0 ? -ENOMEM : 0;
}

static int
variable_read(struct options_state *s)
{
	bool parallel = strcmp(s->o->face, "parallel") == 0;
	const char *text = getenv(parallel ? "PARALLEL" : "KNEE");
	int err;

	if (text == NULL)
		return 0;
	s->where = parallel ? "$PARALLEL: " : "$KNEE: ";
	err = line_read(s, text, strlen(text));
	s->where = "";
	return err;
}

int
config_read(struct options_state *s)
{
	char *path;
	int err = file_read(s, "/etc/knee/config");

	if (err < 0)
		return err;
	err = user_path(s->o->face, &path);
	if (err < 0)
		return err;
	if (path) {
		err = file_read(s, path);
		free(path);
	}
	return err < 0 ? err : variable_read(s);
}
