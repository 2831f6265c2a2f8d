/* SPDX-License-Identifier: MIT */
/*
 * What the tasks of a plugin are to the whole: its shared state, the parts that tasks hand in, put
 * together in the order of the inputs, and the last word, its close().
 *
 * Parts lie in a list of segments, each the sum of the inputs first to last. Threads of this module
 * alone call combine(): without KNEE_PLUGIN_ASSOCIATIVE one of them, which folds what follows the first
 * segment without a gap; with it as many as there are cores, each a run of neighbours of the same
 * level, so that the parts of n tasks meet in a tree and log n segments are kept, however far out of
 * order tasks end.
 */
#ifndef KN_WHOLE_H
#define KN_WHOLE_H

#include <stdbool.h>

#include "core/task.h"
#include "sys/loop.h"

struct kn_whole;

struct kn_whole_host {
	/* Output of close(). The data is borrowed until it returns. */
	void (*output)(void *self, enum knee_stream stream, const char *data, size_t n);
	void *self;
};

/* Call the plugin's open(). 0; or -errno, with text in err when the plugin or we have one. */
int kn_whole_new(const struct knee_options *o, struct kn_loop *loop, const struct kn_whole_host *host,
    struct kn_whole **ret, char *err, size_t errsize);
/* What open() made. */
void *kn_whole_state(const struct kn_whole *w);
/* Takes NULL. Calls close() when that was not done, unless functions still run (lost). */
void kn_whole_free(struct kn_whole *w, bool lost);

/* Task seq has its final result: its part, copied; size 0: none. Each seq once. 0 or -ENOMEM. Takes NULL. */
int kn_whole_put(struct kn_whole *w, uint64_t seq, const void *part, size_t size);
/* Once a turn: take in what the threads have done. paused: hand out no output. *next_ns: when this is wanted
 * again. 0, or -errno: a combine failed. Takes NULL. */
int kn_whole_turn(struct kn_whole *w, bool paused, int64_t *next_ns);
/* So many parts wait to be combined that no more tasks should start. Takes NULL. */
bool kn_whole_full(const struct kn_whole *w);
/* No more parts will come: put the rest together and call close(). Nothing happens at a second call. Takes
 * NULL, which has finished. */
void kn_whole_finish(struct kn_whole *w);
bool kn_whole_finished(const struct kn_whole *w);
/* What close() returned, as a task's status; 0 before. Takes NULL. */
int kn_whole_status(const struct kn_whole *w);

#endif
