/* SPDX-License-Identifier: MIT */
/* transfer.c: --transferfile, --return and --basefile, as the engine wants to have them. */
#ifndef CLI_TRANSFER_H
#define CLI_TRANSFER_H

#include "cli.h"

/* {0} is none. */
struct transfer {
	struct knee_paths *transfers, *returns; /* owned, with their templates; as many as the options have */
	size_t ntransfers, nreturns;
};

/* in may be asked for the header. 0, or -errno after say(); transfer_done() is due in any case. */
int transfer_make(struct transfer *t, const struct cli_options *o, struct inputs *in);
/* Say it to the engine; borrowed from t and o. */
void transfer_tell(const struct transfer *t, const struct cli_options *o, struct knee_machines *ret);
void transfer_done(struct transfer *t);

#endif
