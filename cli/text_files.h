/* SPDX-License-Identifier: MIT */
/* --files: each task's stdout in a file of its own, which stays when the task has ended. */
#ifndef CLI_TEXT_FILES_H
#define CLI_TEXT_FILES_H

#include <stddef.h>
#include <stdint.h>

#include "writer.h"

/* One file at most is open, that of task seq; another task's output reopens its file. */
struct text_files {
	const char *folder; /* borrowed */
	uint64_t seq;       /* 0: none is open */
	struct writer w;
};

void text_files_init(struct text_files *f, const char *folder);
void text_files_done(struct text_files *f);

/* All say what failed, and return 0 or -errno. */

/* A new empty file for task seq; *path is the caller's to free. */
int text_files_create(struct text_files *f, uint64_t seq, char **path);
int text_files_put(struct text_files *f, uint64_t seq, const char *path, const void *data, size_t n);
/* The task's bytes are in its file. */
int text_files_close(struct text_files *f, uint64_t seq, const char *path);

#endif
