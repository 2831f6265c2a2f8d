/* SPDX-License-Identifier: MIT */
/*
 * Files that go with tasks, at both ends of a connection: frames FILE and DATA (core/frame.h) become files, and
 * files become frames. None of it can fail a connection but want of memory and frames out of order: what goes
 * wrong with a file is remembered for its task, the rest of its bytes is passed over.
 *
 * A file has no name until it is whole, or, where the file system cannot do that, another one in its folder,
 * ".knee-...". So nobody ever sees half of one, and what was cut short leaves nothing, unless it had such a name and this
 * program was killed by SIGKILL. At the coordinator whole files have such names until their task has its result.
 */
#ifndef KN_COURIER_H
#define KN_COURIER_H

#include "../core/frame.h"

/* In the mode of FILE, beside the permissions (0777). */
enum kn_file_flags {
	KN_FILE_PERMISSIONS = 0777,
	KN_FILE_FOLDER = 1 << 16,   /* it has no bytes */
	KN_FILE_CLEAN = 1 << 17,    /* remove it when its task has ended; of id 0: at the end */
	KN_FILE_BROKEN = 1 << 18,   /* the one sent last, with the same name, changed meanwhile: it is not to be used */
};

struct kn_file {
	uint64_t id;                /* 0: of every task */
	uint32_t mode;
	int64_t mtime_ns;
	uint64_t size;
	const char *path;           /* borrowed */
	uint32_t index;
};

/* What a FILE frame says. 0 or -EBADMSG. */
int kn_file_get(const struct kn_frame *frame, struct kn_file *ret);

/* Where a file that is at path here lies there, in *ret (malloc): what is behind the first "/./" when there is one, else
 * path itself; without what a path does not need ("./", "//"). "." is the folder itself. 0, -ENOMEM, or -EINVAL:
 * it leads out of the folder by "..". */
int kn_file_far(const char *path, char **ret);

/* ---- receiving -------------------------------------------------------------- */

struct kn_parcel;
struct kn_owned;
struct kn_waiting;

/* {0} is valid. Names that are not absolute begin at the current folder. */
struct kn_courier {
	bool hold;                  /* the coordinator: files keep their other names until kn_courier_keep */
	bool sync;                  /* they are on the disk when that returns */
	void *parcels;              /* tree of struct kn_parcel: files and errors of a task */
	void *owned;                /* tree of struct kn_owned: files that came, or wait, and how many have each */
	void *made;                 /* tree of struct kn_owned: folders that were made */
	uint64_t counter;           /* of other names */
	/* The file at hand. */
	int fd_plus1;               /* 0: none; its bytes are passed over */
	bool open;                  /* one was begun and is not whole */
	uint64_t left;              /* bytes to come */
	struct kn_parcel *parcel;   /* NULL: nobody wants it */
	struct kn_item *item;       /* owned */
	struct kn_file file;        /* path: NULL */
};

/*
 * A file begins: f->path is its name; with hold: root is, and f->path, unless "", what lies below it. From there that
 * comes from a machine that is not trusted: it leads neither out by "..", nor through symbolic links. With hold and
 * root NULL nobody wants it. A file that is there with the same size and time stays as it is, and is not
 * removed later (so where both ends share the folder nothing is lost); with hold it is written in any case.
 * 0, -ENOMEM, or -EBADMSG: another one is not whole yet.
 */
int kn_courier_begin(struct kn_courier *c, const struct kn_file *f, const char *root);
/* Bytes of it. 0, -ENOMEM, or -EBADMSG: there are more than were announced, or none was begun. */
int kn_courier_data(struct kn_courier *c, const void *data, size_t n);
/* What went wrong with files of this task, or of every task; NULL: nothing. Until the next call. */
const char *kn_courier_error(const struct kn_courier *c, uint64_t id);
/* Whether something came as this index, an error too. */
bool kn_courier_came(const struct kn_courier *c, uint64_t id, uint32_t index);
/* With hold: the files of the task get their names. 0, or -errno with the first error's text in err, whenever it was,
 * and in *index which of the paths it is of. */
int kn_courier_keep(struct kn_courier *c, uint64_t id, uint32_t *index, char *err, size_t errsize);
/* With hold: they are not wanted any more. Forgets the task. */
void kn_courier_drop(struct kn_courier *c, uint64_t id);
/* The task has ended: what came with KN_FILE_CLEAN is removed, and folders that were made and are empty. A file that
 * came for several tasks goes with the last. Forgets the task. */
void kn_courier_clean(struct kn_courier *c, uint64_t id);
/* What came for the task as path, or below it, is not removed with it. */
void kn_courier_spare(struct kn_courier *c, uint64_t id, const char *path);
/* The files that came so and would be removed with it wait instead. 0 or -ENOMEM. */
int kn_courier_waiting(struct kn_courier *c, uint64_t id, const char *path, struct kn_waiting *waiting);
/* One more has the file at path, as a task has what came for it: NULL for want of memory. */
struct kn_owned *kn_courier_join(struct kn_courier *c, const char *path);

enum kn_leave {
	KN_LEAVE_GOES,              /* the last that has it removes it */
	KN_LEAVE_STAYS,             /* it does not, whoever else says so */
	KN_LEAVE_AS_IT_WAS,         /* it does what it would have done */
};

/* It has it no more. True: that was the last, and it is to be removed. */
bool kn_courier_leave(struct kn_courier *c, struct kn_owned *file, enum kn_leave how);
/* Remove this one, too, which may be a folder if it is empty, and what was made for it. */
void kn_courier_remove(struct kn_courier *c, const char *path);
/* The end: drops or cleans all. */
void kn_courier_done(struct kn_courier *c);

/* ---- waiting ------------------------------------------------------------------ */

/* Files that came back, and are to be removed when it is known that the other end has them. Until then they stay where
 * they are, and others may have them, too, for whom they come meanwhile: then they go with the last of these. {0} is
 * valid. */
struct kn_waiting {
	struct kn_noted *last;      /* owned list */
};

/* Put in this one: a file, or a link; a folder is removed behind all files, if it is empty then. What is none of these
 * stays. Of one that is put in twice the first time counts. 0 or -ENOMEM. */
int kn_waiting_add(struct kn_waiting *w, struct kn_courier *c, const char *path);
/* The other end has them: remove those that are yet what they were when they were put in, and what was made for them.
 * Forgets them. */
void kn_waiting_remove(struct kn_waiting *w, struct kn_courier *c);
/* It has them not, or that cannot be known: all stay, whoever else has them. Forgets them. */
void kn_waiting_keep(struct kn_waiting *w, struct kn_courier *c);
/* They do not wait after all: all is as if they had not been put in. */
void kn_waiting_forget(struct kn_waiting *w, struct kn_courier *c);

/* ---- sending ---------------------------------------------------------------- */

/* Files of one task on their way out, in order. {0} is valid. */
struct kn_dispatch {
	uint64_t id;
	struct kn_load *first, *last;     /* owned list: what is to be sent */
	int fd_plus1;               /* of the file at hand; 0: none */
	uint64_t left;
	struct kn_file file;        /* ... as it was announced; path: NULL */
	char *path, *name;          /* owned: here, and as it is announced */
	void *walk;                 /* FTS of the folder at hand; NULL: none */
	bool foreign;               /* the one at hand lies behind a symbolic link: it does not wait */
	char *error;                /* owned: the first thing that went wrong; NULL: nothing did */
	bool changed;               /* ... it was that a file changed: the next time it may not */
	struct kn_waiting *waiting; /* borrowed; NULL, or where all waits that is sent and may be removed, ... */
	struct kn_courier *courier; /* ... each from when it is announced; borrowed */
};

/* Send the file or folder at path, announced as name (below a folder: name and what is below). flags: KN_FILE_CLEAN.
 * 0 or -ENOMEM. */
int kn_dispatch_add(struct kn_dispatch *d, const char *path, const char *name, uint32_t index, unsigned flags);
/* Something is wrong with one of them before it is added: path, and why. 0 or -ENOMEM. */
int kn_dispatch_fail(struct kn_dispatch *d, const char *path, const char *why);
/* What was not begun is not sent. */
void kn_dispatch_cut(struct kn_dispatch *d);
/* Append frames to `to`, until they are about room bytes. 1: there is more; 0: that was all; -ENOMEM: to holds whole
 * frames, but it cannot go on. */
int kn_dispatch_more(struct kn_dispatch *d, struct kn_buf *to, size_t room);
void kn_dispatch_done(struct kn_dispatch *d);

#endif
