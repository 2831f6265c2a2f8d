/* SPDX-License-Identifier: MIT */
/*
 * A plugin's functions in a process of their own: the far end of a worker with the framing PLUGIN
 * (core/framing.h). Requests come in on one descriptor, answers go out on another; one thread, which
 * waits for both.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <knee_program.h>

#include "core/framing.h"

/* Answers are written when so much of them has gathered, or nothing else is there to do. */
#define WRITE_BYTES (64 * 1024)
#define READ_BYTES (64 * 1024)

struct server {
	struct knee_call call; /* first */
	const struct knee_plugin *plugin;
	void *state;
	int in, out;
	struct kn_buf read, written;
	struct kn_buf part;
	int err; /* of writing: nobody reads any more */
};

static struct server *
server_of(struct knee_call *call)
{
	return (struct server *)(void *)call;
}

static int
flush(struct server *s)
{
	size_t at = 0;

	while (at < s->written.len && s->err == 0) {
		ssize_t n = write(s->out, s->written.data + at, s->written.len - at);

		if (n < 0 && errno != EINTR)
			s->err = -errno;
		else if (n > 0)
			at += (size_t)n;
	}
	s->written.len = 0;
	return s->err;
}

static int
item_put(struct server *s, char letter, const void *data, size_t size)
{
	int err = kn_item_put(letter, data, size, &s->written);

	return err == 0 && s->written.len >= WRITE_BYTES ? flush(s) : err;
}

static int
call_write(struct knee_call *call, enum knee_stream stream, const void *bytes, size_t size)
{
	return size > 0 ? item_put(server_of(call), stream == KNEE_STDERR ? 'e' : 'o', bytes, size) : 0;
}

static int
call_part(struct knee_call *call, const void *bytes, size_t size)
{
	struct server *s = server_of(call);

	s->part.len = 0;
	return kn_buf_add(&s->part, bytes, size);
}

/* The process is ended instead. */
static int
call_cancelled(const struct knee_call *call)
{
	(void)call;
	return 0;
}

/* Have n bytes in s->read. 1; 0: the end came before the first of them, -EPROTO: in the middle. What was
 * answered is written before it waits. */
static int
need(struct server *s, size_t n)
{
	struct pollfd ready = { .fd = s->in, .events = POLLIN };

	while (s->read.len < n) {
		ssize_t got;

		if (s->written.len > 0 && poll(&ready, 1, 0) == 0 && flush(s) < 0)
			return s->err;
		if (kn_buf_reserve(&s->read, READ_BYTES) < 0)
			return -ENOMEM;
		got = read(s->in, s->read.data + s->read.len, READ_BYTES);
		if (got < 0 && errno != EINTR)
			return -errno;
		if (got == 0)
			return s->read.len == 0 ? 0 : -EPROTO;
		s->read.len += got > 0 ? (size_t)got : 0;
	}
	return 1;
}

static int
request_run(struct server *s, const struct kn_request_head *head)
{
	const char **args = calloc(head->nargs + 1, sizeof(*args));
	char text[24];
	int err, status;

	if (args == NULL)
		return -ENOMEM;
	err = kn_request_args(head, s->read.data + head->head_bytes, args);
	if (err == 0) {
		s->call.seq = head->seq;
		s->call.attempt = head->attempt;
		s->call.args = args;
		s->call.nargs = head->nargs;
		s->part.len = 0;
		status = s->plugin->run(s->state, &s->call);
		if (s->part.len > 0)
			err = item_put(s, 'p', s->part.data, s->part.len);
		(void)snprintf(text, sizeof(text), "%d", status < 0 ? status : status & 255);
		if (err == 0)
			err = item_put(s, 'd', text, strlen(text));
	}
	free(args);
	return err;
}

/* 1, 0 at the end of requests, or -errno. */
static int
request(struct server *s)
{
	struct kn_request_head head;
	int n = need(s, 1);

	while (n > 0) {
		n = kn_request_head(s->read.data, s->read.len, &head);
		if (n != 0)
			break;
		n = need(s, s->read.len + 1);
	}
	if (n <= 0)
		return n;
	n = need(s, head.head_bytes + head.body_bytes);
	if (n <= 0)
		return n;
	n = request_run(s, &head);
	kn_buf_drop(&s->read, head.head_bytes + head.body_bytes);
	return n < 0 ? n : 1;
}

int
knee_plugin_serve(const struct knee_plugin *plugin, int argc, const char *const *argv, const int fds[2],
    char *err, size_t errsize)
{
	struct server s = {
		.call = { .write = call_write, .part = call_part, .cancelled = call_cancelled },
		.plugin = plugin,
		.in = fds[0],
		.out = fds[1],
	};
	int n = 0;

	err[0] = '\0';
	if (plugin->open != NULL)
		n = plugin->open(&s.state, argc, argv, err, errsize);
	if (n < 0)
		return n;
	do
		n = request(&s);
	while (n > 0);
	if (n == 0)
		n = flush(&s);
	/* What it writes now is no answer. */
	if (plugin->close != NULL)
		(void)plugin->close(s.state, NULL, &s.call);
	kn_buf_done(&s.read);
	kn_buf_done(&s.written);
	kn_buf_done(&s.part);
	return n;
}
