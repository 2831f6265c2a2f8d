/* SPDX-License-Identifier: MIT */
/*
 * fetch: many URLs at once, as asynchronous work under knee.
 *
 * The transfers are libcurl's, all on this one thread; knee says when the next may begin, finds out how
 * many at once are right, repeats what failed, ends what takes too long, and puts the lines into the
 * order of the input. One epoll set waits for curl's sockets and for the descriptor of knee's own loop,
 * as in a program that has such a loop anyway.
 *
 *	next() --> start() --> curl --> finish() --> knee_output(), knee_complete() --> on_text()
 *
 * A line for each URL on stdout, in the order of the input, then one for all of them:
 *
 *	STATUS BYTES SHA256 URL         "-" stands for what there is not
 *	all COUNT SHA256                of the lines above, as sha256sum would say
 *
 * The digest is SHA-256, of libcrypto, which curl brings along: what was fetched can be compared with
 * files elsewhere by any sha256sum. With -o DIR the bytes go to DIR/NUMBER-NAME, under another name
 * (.part) until all have come. Why a transfer failed is told on stderr, in the same order.
 */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <knee.h>

/* Exit statuses of a task: below FAILED a CURLcode. */
#define FAILED 199 /* the server said 400 or more */
#define BUSY 200   /* ... one of those that mean "too many at once" */

#define BUSY_MOST 16
#define NAME_BYTES 80
#define EVENTS 256

/* One URL, from its input to its line. */
struct job {
	struct job *next, *prev;
	uint64_t seq;
	char *url; /* in the same block */
};

/* One attempt. Kept for the next one when it is over, so that curl's handle is made only once. */
struct transfer {
	struct transfer *next, *prev;
	struct fetch *f;
	struct job *job;
	knee_task task;
	CURL *easy;
	EVP_MD_CTX *digest;
	uint64_t bytes;
	int fd; /* of the .part file; -1: none */
	int write_err;
	long status; /* HTTP's; 0: not known yet */
};

struct fetch {
	/* What was asked for. */
	const char *folder; /* NULL: nothing is kept */
	const char *learnt;
	unsigned limit, retries;
	int64_t timeout_ns;
	long busy[BUSY_MOST];
	size_t nbusy;
	int verbose;
	char **urls; /* of the command line, up to a NULL; NULL: from stdin */

	knee *k;
	CURLM *multi;
	int epoll, signals;
	int64_t due_ms;         /* when curl wants to be called; -1: not by itself */
	struct job jobs;        /* the ring of those that have no line yet */
	struct transfer going;  /* the ring of those that go on */
	struct transfer *spare; /* those that are over, by next */
	uint64_t seq;
	char *line;
	size_t line_size;
	const char *arg; /* of the input that next() gave */
	EVP_MD_CTX *all;
	uint64_t lines;
};

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
digest_hex(EVP_MD_CTX *digest, char hex[2 * EVP_MAX_MD_SIZE + 1])
{
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	(void)EVP_DigestFinal_ex(digest, raw, &n);
	hex[0] = '\0';
	for (unsigned i = 0; i < n; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", raw[i]);
}

/* ---- inputs -------------------------------------------------------------------- */

/* The next URL; NULL: there is none. */
static const char *
url_next(struct fetch *f)
{
	ssize_t n;

	if (f->urls != NULL)
		return *f->urls != NULL ? *f->urls++ : NULL;
	do {
		n = getline(&f->line, &f->line_size, stdin);
		if (n < 0)
			return NULL;
		f->line[strcspn(f->line, "\r\n")] = '\0';
	} while (f->line[0] == '\0');
	return f->line;
}

/* knee_source.next */
static int
next(void *self, struct knee_input *ret)
{
	struct fetch *f = self;
	const char *url = url_next(f);
	struct job *job;

	if (url == NULL)
		return 0;
	job = malloc(sizeof(*job) + strlen(url) + 1);
	if (job == NULL)
		return -ENOMEM;
	job->url = memcpy(job + 1, url, strlen(url) + 1);
	job->seq = ++f->seq;
	job->next = &f->jobs;
	job->prev = f->jobs.prev;
	job->prev->next = job->next->prev = job;
	f->arg = job->url;
	*ret = (struct knee_input){ .args = &f->arg, .nargs = 1, .data = job };
	return 1;
}

static void
job_free(struct job *job)
{
	job->prev->next = job->next;
	job->next->prev = job->prev;
	free(job);
}

/* ---- files --------------------------------------------------------------------- */

/* FOLDER/NUMBER-NAME, the name that the URL ends with, as far as it is harmless. */
static void
path_make(const struct fetch *f, const struct job *job, const char *ending, char *ret, size_t size)
{
	static const char harmless[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	const char *name = strrchr(job->url, '/');
	int n = snprintf(ret, size, "%s/%08" PRIu64 "-", f->folder, job->seq);
	size_t at = n > 0 ? (size_t)n : 0, end = at + NAME_BYTES;

	for (name = name != NULL ? name + 1 : job->url; *name != '\0' && at < end && at + 1 < size; name++)
		ret[at++] = (char)(strchr(harmless, *name) != NULL ? *name : '_');
	if (at < size)
		(void)snprintf(ret + at, size - at, "%s", ending);
}

static int
file_open(struct transfer *t)
{
	char path[4096];

	if (t->f->folder == NULL)
		return 0;
	path_make(t->f, t->job, ".part", path, sizeof(path));
	t->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	return t->fd < 0 ? -errno : 0;
}

/* Give the file its name, or take it away. 0 or -errno. */
static int
file_close(struct transfer *t, int keep)
{
	char part[4096], path[4096];
	int err = 0;

	if (t->fd < 0)
		return 0;
	path_make(t->f, t->job, ".part", part, sizeof(part));
	path_make(t->f, t->job, "", path, sizeof(path));
	if (close(t->fd) < 0)
		err = -errno;
	t->fd = -1;
	if (keep && err == 0 && rename(part, path) < 0)
		err = -errno;
	if (!keep || err < 0)
		(void)unlink(part);
	return err;
}

/* CURLOPT_WRITEFUNCTION. What a server says to explain its refusal is not what was asked for. */
static size_t
on_bytes(char *bytes, size_t one, size_t n, void *self)
{
	struct transfer *t = self;
	size_t at = 0;
	ssize_t put;

	n *= one;
	if (t->status == 0)
		(void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &t->status);
	if (t->status >= 400)
		return n;
	for (; t->fd >= 0 && at < n; at += (size_t)put) {
		put = write(t->fd, bytes + at, n - at);
		if (put < 0) {
			t->write_err = -errno;
			return 0;
		}
	}
	(void)EVP_DigestUpdate(t->digest, bytes, n);
	t->bytes += n;
	return n;
}

/* ---- transfers ------------------------------------------------------------------- */

static void
transfer_free(struct transfer *t)
{
	curl_easy_cleanup(t->easy);
	EVP_MD_CTX_free(t->digest);
	free(t);
}

static struct transfer *
transfer_new(struct fetch *f)
{
	struct transfer *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->f = f;
	t->fd = -1;
	t->easy = curl_easy_init();
	t->digest = EVP_MD_CTX_new();
	if (t->easy == NULL || t->digest == NULL) {
		transfer_free(t);
		return NULL;
	}
	(void)curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
	(void)curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
	(void)curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_bytes);
	(void)curl_easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(t->easy, CURLOPT_FOLLOWLOCATION, 1L);
	(void)curl_easy_setopt(t->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	return t;
}

/* It is over, one way or another. */
static void
transfer_put(struct transfer *t)
{
	(void)curl_multi_remove_handle(t->f->multi, t->easy);
	t->prev->next = t->next;
	t->next->prev = t->prev;
	t->next = t->f->spare;
	t->f->spare = t;
}

/* The line of an attempt, and why it failed (NULL: it did not), then its end. */
static void
tell(struct transfer *t, const char *why, int exit_status)
{
	char hex[2 * EVP_MAX_MD_SIZE + 1] = "-", status[24] = "-", head[256];
	knee *k = t->f->k;
	int n;

	if (why == NULL)
		digest_hex(t->digest, hex);
	if (t->status > 0)
		(void)snprintf(status, sizeof(status), "%ld", t->status);
	n = snprintf(head, sizeof(head), "%s %" PRIu64 " %s ", status, why == NULL ? t->bytes : 0, hex);
	/* Without memory for it the line is not whole, and the attempt has failed. */
	if (knee_output(k, t->task, KNEE_STDOUT, head, (size_t)n) < 0 ||
	    knee_output(k, t->task, KNEE_STDOUT, t->job->url, strlen(t->job->url)) < 0 ||
	    knee_output(k, t->task, KNEE_STDOUT, "\n", 1) < 0)
		exit_status = -ENOMEM;
	if (why != NULL) {
		n = snprintf(head, sizeof(head), "fetch: %.150s: %.80s\n", t->job->url, why);
		(void)knee_output(k, t->task, KNEE_STDERR, head, (size_t)n);
	}
	(void)knee_complete(k, t->task, exit_status);
}

static int
is_busy(const struct fetch *f, long status)
{
	for (size_t i = 0; i < f->nbusy; i++)
		if (f->busy[i] == status)
			return 1;
	return 0;
}

/* curl is through with it. */
static void
finish(struct transfer *t, CURLcode code)
{
	char text[32];
	const char *why = NULL;
	int exit_status = 0, err;

	(void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &t->status);
	if (code != CURLE_OK) {
		why = t->write_err < 0 ? strerror(-t->write_err) : curl_easy_strerror(code);
		exit_status = (int)code < FAILED ? (int)code : FAILED - 1;
	} else if (t->status >= 400) {
		(void)snprintf(text, sizeof(text), "status %ld", t->status);
		why = text;
		exit_status = is_busy(t->f, t->status) ? BUSY : FAILED;
	}
	err = file_close(t, why == NULL);
	if (err < 0 && why == NULL) {
		why = strerror(-err);
		exit_status = CURLE_WRITE_ERROR;
	}
	tell(t, why, exit_status);
	transfer_put(t);
}

/* knee_async.start */
static int
start(void *self, knee_task task, const struct knee_input *input)
{
	struct fetch *f = self;
	struct transfer *t = f->spare != NULL ? f->spare : transfer_new(f);
	int err;

	if (t == NULL)
		return -ENOMEM;
	if (t == f->spare)
		f->spare = t->next;
	t->task = task;
	t->job = input->data;
	t->bytes = 0;
	t->status = 0;
	t->write_err = 0;
	t->next = &f->going;
	t->prev = f->going.prev;
	t->prev->next = t->next->prev = t;
	err = EVP_DigestInit_ex(t->digest, EVP_sha256(), NULL) == 1 ? file_open(t) : -ENOMEM;
	if (err == 0 &&
	    (curl_easy_setopt(t->easy, CURLOPT_URL, t->job->url) != CURLE_OK ||
		curl_multi_add_handle(f->multi, t->easy) != CURLM_OK))
		err = -ENOMEM;
	if (err == 0)
		return 0;
	(void)file_close(t, 0);
	transfer_put(t);
	/* There will be room for a file when another one is closed. */
	return err == -EMFILE || err == -ENFILE ? -EAGAIN : err;
}

/* knee_async.cancel: its time is up, or the run stops. */
static void
cancel(void *self, knee_task task)
{
	struct fetch *f = self;
	struct transfer *t = f->going.next;

	while (t != &f->going && t->task != task)
		t = t->next;
	if (t == &f->going)
		return;
	(void)file_close(t, 0);
	t->status = 0;
	tell(t, "timed out", CURLE_OPERATION_TIMEDOUT);
	transfer_put(t);
}

/* ---- what comes out ------------------------------------------------------------- */

/* knee_sink.event, of what is to be printed, in the order of the input. */
static int
on_text(void *self, const struct knee_event *ev)
{
	struct fetch *f = self;

	if (ev->kind == KNEE_EVENT_OUTPUT && ev->stream == KNEE_STDOUT) {
		(void)EVP_DigestUpdate(f->all, ev->data, ev->size);
		(void)fwrite(ev->data, 1, ev->size, stdout);
	} else if (ev->kind == KNEE_EVENT_OUTPUT) {
		(void)fwrite(ev->data, 1, ev->size, stderr);
	} else if (ev->kind == KNEE_EVENT_RESULT) {
		f->lines++;
		job_free(ev->input_data);
	}
	return 0;
}

static int
on_flush(void *self)
{
	(void)self;
	return fflush(stdout) == 0 ? 0 : -errno;
}

static int
text_fd(void *self)
{
	(void)self;
	return STDOUT_FILENO;
}

/* knee_sink.event, as things happen. */
static int
on_live(void *self, const struct knee_event *ev)
{
	const struct fetch *f = self;

	if (f->verbose && (ev->kind == KNEE_EVENT_LIMIT || ev->kind == KNEE_EVENT_NOTE))
		(void)fprintf(stderr, "fetch: %s\n", ev->reason);
	return 0;
}

/* ---- the loop ------------------------------------------------------------------- */

/* CURLMOPT_SOCKETFUNCTION */
static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *self, void *known)
{
	struct fetch *f = self;
	struct epoll_event ev = { .data.fd = fd };

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		(void)epoll_ctl(f->epoll, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	ev.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
	if (epoll_ctl(f->epoll, known != NULL ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev) < 0)
		return -1;
	return curl_multi_assign(f->multi, fd, f) == CURLM_OK ? 0 : -1;
}

/* CURLMOPT_TIMERFUNCTION */
static int
on_timer(CURLM *multi, long ms, void *self)
{
	(void)multi;
	((struct fetch *)self)->due_ms = ms < 0 ? -1 : now_ms() + ms;
	return 0;
}

static void
on_ready(struct fetch *f, const struct epoll_event *ev)
{
	struct signalfd_siginfo info;
	int running;

	if (ev->data.fd == f->signals) {
		if (read(f->signals, &info, sizeof(info)) == sizeof(info))
			knee_stop(f->k, KNEE_STOP_NOW);
	} else if (ev->data.fd != knee_fd(f->k)) {
		(void)curl_multi_socket_action(f->multi, ev->data.fd,
		    (ev->events & EPOLLIN ? CURL_CSELECT_IN : 0) |
			(ev->events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
			(ev->events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0),
		    &running);
	}
}

static void
curl_turn(struct fetch *f)
{
	struct transfer *t;
	CURLMsg *m;
	int n;

	if (f->due_ms >= 0 && f->due_ms <= now_ms()) {
		f->due_ms = -1;
		(void)curl_multi_socket_action(f->multi, CURL_SOCKET_TIMEOUT, 0, &n);
	}
	while ((m = curl_multi_info_read(f->multi, &n)) != NULL) {
		if (m->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t);
		finish(t, m->data.result);
	}
}

/* Until the run is over: what knee_run() would return. */
static int
loop(struct fetch *f)
{
	struct epoll_event events[EVENTS];
	int64_t wait;
	int n, more;

	do {
		wait = f->due_ms < 0 ? -1 : f->due_ms - now_ms();
		n = epoll_wait(f->epoll, events, EVENTS, wait > 0 || f->due_ms < 0 ? (int)wait : 0);
		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n; i++)
			on_ready(f, &events[i]);
		curl_turn(f);
		more = knee_turn(f->k, 0);
	} while (more > 0);
	return more;
}

static int
watch(struct fetch *f, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };

	return fd < 0 || epoll_ctl(f->epoll, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

/* ---- the program ----------------------------------------------------------------- */

static int
open_all(struct fetch *f)
{
	struct rlimit files;
	sigset_t set;

	f->jobs.next = f->jobs.prev = &f->jobs;
	f->going.next = f->going.prev = &f->going;
	f->due_ms = -1;
	/* A transfer has a socket, and a file with -o. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	if (f->folder != NULL && mkdir(f->folder, 0777) < 0 && errno != EEXIST)
		return -errno;
	f->epoll = epoll_create1(EPOLL_CLOEXEC);
	f->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	f->all = EVP_MD_CTX_new();
	f->multi = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_multi_init() : NULL;
	if (f->all == NULL || f->multi == NULL || EVP_DigestInit_ex(f->all, EVP_sha256(), NULL) != 1)
		return -ENOMEM;
	(void)curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	(void)curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
	(void)curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	(void)curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
	return watch(f, f->signals);
}

static void
close_all(struct fetch *f)
{
	struct transfer *t;

	knee_free(f->k); /* and what went on is cancelled */
	while ((t = f->spare) != NULL) {
		f->spare = t->next;
		transfer_free(t);
	}
	for (struct job *job = f->jobs.next, *after; job != &f->jobs; job = after) {
		after = job->next;
		free(job);
	}
	(void)curl_multi_cleanup(f->multi);
	curl_global_cleanup();
	EVP_MD_CTX_free(f->all);
	close(f->signals);
	close(f->epoll);
	free(f->line);
}

/* The exit status. */
static int
run(struct fetch *f)
{
	static const char *const words[] = { "fetch" };
	static const int busy[] = { BUSY };
	const struct knee_sink sinks[] = {
		{ .self = f, .text = 1, .event = on_text, .flush = on_flush, .fd = text_fd },
		{ .self = f, .event = on_live },
	};
	const struct knee_options o = {
		.words = words,
		.nwords = 1,
		.source = { .self = f, .next = next },
		.sinks = sinks,
		.nsinks = 2,
		.executor = KNEE_EXEC_ASYNC,
		.async = { .self = f, .start = start, .cancel = cancel },
		.limit = f->limit,
		.memory_path = f->learnt,
		.busy_exits = busy,
		.nbusy_exits = f->nbusy > 0,
		.retries = f->retries,
		.timeout_ns = f->timeout_ns,
		.first_stdin = -1,
	};
	char hex[2 * EVP_MAX_MD_SIZE + 1], err[256] = "";
	struct knee_stats stats;
	int e = open_all(f);

	if (e == 0)
		e = knee_new(&o, &f->k, err, sizeof(err));
	if (e == 0)
		e = watch(f, knee_fd(f->k));
	if (e == 0)
		e = loop(f);
	if (e < 0) {
		(void)fprintf(stderr, "fetch: %s\n",
		    err[0] != '\0'                        ? err :
			f->k != NULL && *knee_error(f->k) ? knee_error(f->k) :
							    strerror(-e));
		return 255;
	}
	digest_hex(f->all, hex);
	(void)printf("all %" PRIu64 " %s\n", f->lines, hex);
	knee_get_stats(f->k, &stats);
	if (fflush(stdout) != 0 || stats.stopped)
		return 255;
	return stats.status;
}

static int
usage(int status)
{
	(void)fputs("usage: fetch [OPTION]... [URL]...     without URLs: one a line on stdin\n"
		    "  -o DIR            keep what comes, in DIR/NUMBER-NAME\n"
		    "  -j N, -j auto     so many at once; auto, the default: found by measuring\n"
		    "  --retries N       attempts at most\n"
		    "  --timeout S       of an attempt, seconds\n"
		    "  --busy 429,503    statuses that mean \"too many at once\": fewer, and again later\n"
		    "  --learnt FILE     remember the number at once there\n"
		    "  -v                why the number is what it is\n",
	    status == 0 ? stdout : stderr);
	return status;
}

/* 0, or -EINVAL. */
static int
busy_set(struct fetch *f, const char *list)
{
	char *end;

	for (f->nbusy = 0; *list != '\0' && f->nbusy < BUSY_MOST; list = *end == ',' ? end + 1 : end) {
		f->busy[f->nbusy++] = strtol(list, &end, 10);
		if (end == list || (*end != ',' && *end != '\0'))
			return -EINVAL;
	}
	return *list == '\0' ? 0 : -EINVAL;
}

/* A whole number above 0 in *ret; 0 or -EINVAL. */
static int
number_set(const char *text, unsigned *ret)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (end == text || *end != '\0' || n == 0 || n > 1000000)
		return -EINVAL;
	*ret = (unsigned)n;
	return 0;
}

static int
option_set(struct fetch *f, int option, const char *value)
{
	char *end;
	double seconds;

	switch (option) {
	case 'o':
		f->folder = value;
		return 0;
	case 'j':
		f->limit = 0;
		return strcmp(value, "auto") == 0 ? 0 : number_set(value, &f->limit);
	case 'r':
		return number_set(value, &f->retries);
	case 't':
		seconds = strtod(value, &end);
		if (end == value || *end != '\0' || !(seconds > 0 && seconds < 1e6))
			return -EINVAL;
		f->timeout_ns = (int64_t)(seconds * 1e9);
		return 0;
	case 'b':
		return busy_set(f, value);
	case 'l':
		f->learnt = value;
		return 0;
	case 'v':
		f->verbose = 1;
		return 0;
	default:
		return -EINVAL;
	}
}

int
main(int argc, char **argv)
{
	static const struct option options[] = { { "retries", required_argument, NULL, 'r' },
		{ "timeout", required_argument, NULL, 't' }, { "busy", required_argument, NULL, 'b' },
		{ "learnt", required_argument, NULL, 'l' }, { "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 } };
	struct fetch f = { .epoll = -1, .signals = -1 };
	int option, status;

	while ((option = getopt_long(argc, argv, "o:j:v", options, NULL)) != -1) {
		if (option == 'h')
			return usage(0);
		if (option_set(&f, option, optarg) < 0)
			return usage(2);
	}
	f.urls = optind < argc ? argv + optind : NULL;
	status = run(&f);
	close_all(&f);
	return status;
}
