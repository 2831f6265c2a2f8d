/* SPDX-License-Identifier: MIT */
/*
 * What a coordinator and its agents say to each other, byte for byte (knee-agent(5)).  Pure: bytes in,
 * bytes out; nothing that comes in is trusted.
 *
 * Each side begins with a line, the greeting, after which it sends nothing but frames:
 *
 *	agent        knee-agent PROTOCOL VERSION \n
 *	coordinator  knee-coordinator PROTOCOL VERSION \n
 *
 * A frame: all numbers are little endian.
 *
 *	0   4   size of the payload, at most KN_FRAME_MOST
 *	4   1   kind, an ASCII letter
 *	5   3   zero
 *	8   4   check: the low half of XXH3-64 of the payload, seeded with XXH3-64 of bytes 0 to 7
 *	12      payload
 *
 * A payload is fields, one behind the other: u8, u32, u64, i64, and text: a u32 with its length, the
 * bytes, which hold no NUL, and a NUL.  The last field of some kinds is `rest`: all bytes up to the end.
 */
#ifndef KN_FRAME_H
#define KN_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include <knee_program.h>
#include "buf.h"

#define KN_FRAME_PROTOCOL 1
#define KN_FRAME_HEAD_BYTES 12
/* Of one payload. Longer things (output, files) come in several frames. */
#define KN_FRAME_MOST ((size_t)256 * 1024)
/* Of a task's arguments and paths there may be more; TASK_MORE carries the beginning of such a TASK. */
#define KN_FRAME_TASK_MOST ((size_t)16 * 1024 * 1024)
/* A greeting is no longer than this, and not more than so many bytes of other text stand before it. */
#define KN_FRAME_GREETING_MOST 128
#define KN_FRAME_NOISE_MOST ((size_t)256 * 1024)

/*
 * To the agent:
 *	OPEN      what the run is: struct kn_open, once, the first frame
 *	TASK_MORE rest: bytes of the payload of the TASK that follows, which goes on with its own
 *	TASK      id u64, seq u64, slot u32, flags u32 (enum kn_task_flags), nargs u32, that many texts,
 *	          nreturns u32, that many texts: paths of files that are wanted back
 *	          nclean u32, that many texts: paths that are removed when the task has ended
 *	FILE      id u64 (of the task that it is for; 0: of every task), mode u32 (enum kn_file_flags of
 *	          sys/courier.h), mtime i64 (ns since the Epoch), size u64, path text, index u32 (0): begins a file,
 *	          whose bytes follow
 *	DATA      rest: bytes of the file that was begun, in order, as many as it is large
 *	KEPT      id u64, kept u32 (enum kn_kept): the answer to a RESULT of which files wait
 *	SIGNAL    id u64, signal u32; 0: only when it has not begun: then it is not wanted there any more;
 *	          KN_SIGNAL_UNWANTED added: nothing of it is wanted any more
 *	PING      stamp u64: PONG it
 *	CLOSE     no more tasks will come: end when all are done, and say BYE
 *
 * To the coordinator:
 *	HELLO     host text, machine text (uname -m), cores u32, memory u64: once, the first frame
 *	READY     how u32 (0: this connection; 1: it is the dialled one, which carries all that follows)
 *	CREDIT    limit u32 (tasks that may run at once now), want u32 (that it wants to have in all, running and
 *	          waiting), text: why the limit is what it is, or ""
 *	BEGAN     id u64, ago u64 (ns since then)
 *	OUT, ERR  id u64, rest: bytes of its stdout, stderr
 *	ENDED     id u64, ran u64 (ns): its command has, and what it left is on its way: FILEs, then RESULT
 *	FILE, DATA  as above; the index of FILE says which of the paths wanted back it is, and path is "", or, of what is in
 *	          a folder, what lies below that; id is never 0
 *	NOTE      id u64 (0: of no task), text for the user
 *	RESULT    id u64, struct knee_result, waits u32 (1: files that came back are removed when KEPT says so): exactly
 *	          one for each TASK that was not given back
 *	RETURNED  id u64: it has no result, as the agent is ending
 *	PONG      stamp u64
 *	REFUSED   text: the run cannot be carried out here, and why; nothing follows
 *	BYE       status u32; nothing follows. Only this proves a good end.
 */
enum kn_frame_kind {
	KN_FRAME_OPEN = 'O',
	KN_FRAME_TASK_MORE = 'M',
	KN_FRAME_TASK = 'T',
	KN_FRAME_FILE = 'F',
	KN_FRAME_DATA = 'D',
	KN_FRAME_KEPT = 'K',
	KN_FRAME_SIGNAL = 'S',
	KN_FRAME_PING = 'P',
	KN_FRAME_CLOSE = 'X',

	KN_FRAME_HELLO = 'H',
	KN_FRAME_READY = 'Y',
	KN_FRAME_CREDIT = 'C',
	KN_FRAME_BEGAN = 'B',
	KN_FRAME_OUT = 'o',
	KN_FRAME_ERR = 'e',
	KN_FRAME_ENDED = 'E',
	KN_FRAME_NOTE = 'N',
	KN_FRAME_RESULT = 'R',
	KN_FRAME_RETURNED = 'G',
	KN_FRAME_PONG = 'Q',
	KN_FRAME_REFUSED = 'J',
	KN_FRAME_BYE = 'Z',
};

enum kn_task_flags {
	KN_TASK_BROKEN = 1,         /* what was to be transferred for it could not be read, or nobody wants it any more, and
	                             * it comes empty so that what came for it goes: it fails */
};

/* In the signal of SIGNAL: its files do not come back, and what it wrote stays as with KN_KEPT_UNKNOWN. */
#define KN_SIGNAL_UNWANTED 65536

enum kn_kept {
	KN_KEPT_NOT = 0,            /* they could not be written here: they stay there */
	KN_KEPT_ALL = 1,            /* they are here: they are removed there */
	KN_KEPT_UNKNOWN = 2,        /* of a task that nobody here has any more: what it wrote may be another one's by now, and
	                             * stays; a folder that was made for the run alone need not stay for it */
};

/* ---- sending --------------------------------------------------------------- */

/* Append fields to a payload that is being made. 0 or -ENOMEM. */
int kn_put_u8(struct kn_buf *to, unsigned v);
int kn_put_u32(struct kn_buf *to, uint32_t v);
int kn_put_u64(struct kn_buf *to, uint64_t v);
int kn_put_i64(struct kn_buf *to, int64_t v);
int kn_put_text(struct kn_buf *to, const char *s);      /* NULL: as "" */
int kn_put_result(struct kn_buf *to, const struct knee_result *r);

/* A frame in the making, at the end of to: begin it, append its fields, end it. An end with a payload that is
 * too long is -EMSGSIZE, and takes the frame out again. 0 or -ENOMEM. */
int kn_frame_begin(struct kn_buf *to, enum kn_frame_kind kind, size_t *ret_at);
int kn_frame_end(struct kn_buf *to, size_t at);
/* One with an id and rest bytes (OUT, ERR), or with rest alone (id NULL): DATA, TASK_MORE. n <= 128 KiB. */
int kn_frame_bytes(struct kn_buf *to, enum kn_frame_kind kind, const uint64_t *id, const void *data, size_t n);
/* One with a single u64: PING, PONG, RETURNED; without anything: CLOSE. */
int kn_frame_u64(struct kn_buf *to, enum kn_frame_kind kind, uint64_t v);
int kn_frame_empty(struct kn_buf *to, enum kn_frame_kind kind);

/* ---- what came in ---------------------------------------------------------- */

/* A frame, as it lies in the bytes that came. */
struct kn_frame {
	enum kn_frame_kind kind;
	const char *payload;        /* borrowed */
	size_t size;
};

/* What data begins with: 1, *ret and how many bytes it takes in all; 0: it is not whole yet; -EBADMSG: it is none
 * (kind, size or check). */
int kn_frame_take(const char *data, size_t size, struct kn_frame *ret, size_t *ret_bytes);
/* Look for a greeting in what came so far: "knee-agent" or "knee-coordinator" at the beginning of a line. 1: *ret_bytes
 * up to and with its newline, protocol and version (size bytes, NUL-terminated, printable) are set; 0: not
 * there yet; *ret_bytes may be dropped then; -EBADMSG: such a line that makes no sense. */
int kn_frame_greeting(const char *who, const char *data, size_t size, unsigned *protocol, char *version,
    size_t versionsize, size_t *ret_bytes);

/* Fields of a payload. Past its end, or where text is none, `bad` is set, and zeros and "" come. */
struct kn_fields {
	const char *at;             /* borrowed */
	size_t left;
	bool bad;
};

struct kn_fields kn_fields_of(const struct kn_frame *f);
unsigned kn_get_u8(struct kn_fields *f);
uint32_t kn_get_u32(struct kn_fields *f);
uint64_t kn_get_u64(struct kn_fields *f);
int64_t kn_get_i64(struct kn_fields *f);
const char *kn_get_text(struct kn_fields *f);           /* borrowed, NUL-terminated */
/* The rest of it, which may be empty. */
const char *kn_get_rest(struct kn_fields *f, size_t *ret_size);
/* Of an outcome that does not exist `bad` is set. */
void kn_get_result(struct kn_fields *f, struct knee_result *ret);
/* n texts (u32 n and they) into *ret (malloc; an array of borrowed strings). 0 or -ENOMEM; a number that cannot be
 * in the bytes that are left sets bad. */
int kn_get_texts(struct kn_fields *f, const char ***ret, size_t *ret_n);
int kn_put_texts(struct kn_buf *to, const char *const *texts, size_t n);

#endif
