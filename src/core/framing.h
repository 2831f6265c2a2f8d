/* SPDX-License-Identifier: MIT */
/*
 * How records and answers are told apart on a worker's stdin and stdout.  Pure: bytes in, bytes out.
 *
 *	          request                         answer
 *	LINE      record \n                       answer \n
 *	NUL       record \0                       answer \0
 *	LENGTH    SIZE \n record                  SIZE [ STATUS] \n answer
 *	PLUGIN    rSEQ ATTEMPT NARGS SIZE \n      items, of which the last is d:
 *	          arguments                       LETTER SIZE \n bytes
 *
 * Numbers are decimal, of 1 to 19 digits; sizes count bytes.  Between two numbers is one blank, and
 * nowhere else is any.  STATUS, 0 to 255, is the record's exit status.
 *
 * PLUGIN is spoken between knee and knee.  The arguments of a request are NARGS strings with a NUL
 * behind each, SIZE bytes in all: "r7 1 2 5\nab\0c\0" is the first attempt of task 7 with the arguments
 * "ab" and "c".  Of the items 'o' has bytes for the task's stdout, 'e' for its stderr, 'p' its part of the
 * whole, and 'd' ends the answer: its bytes are the status in decimal, 0 to 255, or -errno: "d1\n0", "d3\n-12".
 */
#ifndef KN_FRAMING_H
#define KN_FRAMING_H

#include <stdbool.h>
#include <stdint.h>

#include <knee.h>
#include "buf.h"

/* The beginning of an answer or item has no more bytes than this. */
#define KN_FRAME_HEAD 40

/* ---- requests ------------------------------------------------------------ */

/* Append the request for a record. LINE, NUL, LENGTH. 0, -ENOMEM, or -EILSEQ: the record holds the byte
 * that would end it; to is unchanged then. */
int kn_framing_request(enum knee_framing framing, const char *record, size_t size, struct kn_buf *to);

/* A request in the framing PLUGIN. */
struct kn_request {
	uint64_t seq;
	unsigned attempt;
	const char *const *args;    /* borrowed, nargs of them */
	size_t nargs;
};

/* Append it. 0 or -ENOMEM. */
int kn_request_put(const struct kn_request *r, struct kn_buf *to);

/* The first line of one, as read from the far end. */
struct kn_request_head {
	uint64_t seq;
	unsigned attempt;
	size_t nargs;
	size_t head_bytes;          /* of the line, with its newline */
	size_t body_bytes;          /* of what follows: the arguments */
};

/* What data begins with: 1 and *ret; 0: its line is not whole yet; -EPROTO. */
int kn_request_head(const char *data, size_t size, struct kn_request_head *ret);
/* Point args, which has room for head->nargs, to the strings in the body_bytes at body. 0, or -EPROTO
 * when they are not as many. */
int kn_request_args(const struct kn_request_head *head, const char *body, const char **args);

/* ---- answers ------------------------------------------------------------- */

/* Append an item of an answer in the framing PLUGIN. 0 or -ENOMEM. */
int kn_item_put(char letter, const void *data, size_t size, struct kn_buf *to);

/* What was understood of the bytes so far: {.framing} is at the start. */
struct kn_answers {
	enum knee_framing framing;
	bool open;                  /* in the middle of an answer */
	char letter;                /* LENGTH, PLUGIN: of the item whose bytes come; 0: its beginning comes */
	uint64_t left;              /* LENGTH, PLUGIN: bytes of it that have not come */
	int status;
	unsigned head_len;
	char head[KN_FRAME_HEAD];   /* what came of the beginning; of 'd' its text */
};

enum kn_piece_kind { KN_PIECE_OUT, KN_PIECE_ERR, KN_PIECE_PART };

/* A part of an answer. An answer may come in any number of pieces, of which the last is the end. */
struct kn_piece {
	enum kn_piece_kind kind;
	const char *data;           /* borrowed from the bytes that were given; with LINE and NUL the byte
	                               that ends the answer belongs to it */
	size_t size;
	bool item_end;              /* PART: the whole of it has come */
	bool end;                   /* of the answer; data belongs to it still */
	int status;                 /* end: 0 to 255, or -errno */
};

/*
 * Take some of the *size bytes at *data, which are moved behind it. 1 and *ret; 0: all are taken, and
 * there is no piece; -EPROTO: that is no answer. After that a is of no use any more.
 */
int kn_answers_take(struct kn_answers *a, const char **data, size_t *size, struct kn_piece *ret);
/* True between two answers. */
bool kn_answers_between(const struct kn_answers *a);

#endif
