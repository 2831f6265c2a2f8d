/* SPDX-License-Identifier: MIT */
#include "open.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A fraction, exact, in fixed point: millionths. */
#define MILLION 1000000.0

static int
numbers_put(struct kn_buf *to, const struct kn_open *o)
{
	int err = kn_put_u32(to, o->limit);

	if (err == 0)
		err = kn_put_u32(to, o->limit_min);
	if (err == 0)
		err = kn_put_u32(to, o->limit_max);
	if (err == 0)
		err = kn_put_u32(to, o->kind);
	if (err == 0)
		err = kn_put_u64(to, (uint64_t)(o->load_max * MILLION + 0.5));
	if (err == 0)
		err = kn_put_u64(to, o->memfree_bytes);
	if (err == 0)
		err = kn_put_u64(to, o->memsuspend_bytes);
	if (err == 0)
		err = kn_put_u8(to, o->noswap);
	if (err == 0)
		err = kn_put_u8(to, o->learn);
	if (err == 0)
		err = kn_put_text(to, o->jobs);
	if (err == 0)
		err = kn_put_text(to, o->load);
	return err;
}

static int
command_put(struct kn_buf *to, const struct kn_open *o)
{
	const struct knee_template_options *t = &o->template;
	int err = kn_put_texts(to, o->words, o->nwords);

	if (err == 0)
		err = kn_put_u32(to, t->flags);
	if (err == 0)
		err = kn_put_text(to, t->replacement);
	if (err == 0)
		err = kn_put_text(to, t->parens);
	if (err == 0)
		err = kn_put_texts(to, t->names, t->nnames);
	if (err == 0)
		err = kn_put_texts(to, o->worker, o->nworker);
	if (err == 0)
		err = kn_put_u32(to, o->framing);
	if (err == 0)
		err = kn_put_texts(to, o->env, o->nenv);
	return err;
}

int
kn_open_put(struct kn_buf *to, const struct kn_open *o)
{
	int err = command_put(to, o);

	if (err == 0)
		err = kn_put_text(to, o->slot_var);
	if (err == 0)
		err = kn_put_text(to, o->shell);
	if (err == 0)
		err = kn_put_text(to, o->dir);
	if (err == 0)
		err = kn_put_text(to, o->host);
	if (err == 0)
		err = kn_put_text(to, o->login);
	if (err == 0)
		err = kn_put_u32(to, (uint32_t)o->nice);
	if (err == 0)
		err = numbers_put(to, o);
	if (err == 0)
		err = kn_put_u64(to, o->timeout_ns);
	if (err == 0)
		err = kn_put_texts(to, o->dial, o->ndial);
	if (err == 0)
		err = kn_put_text(to, o->token);
	return err;
}

/* "" stands for what was not given. */
static const char *
text_or_null(struct kn_fields *f)
{
	const char *s = kn_get_text(f);

	return s[0] != '\0' ? s : NULL;
}

static int
command_get(struct kn_fields *f, struct kn_open *o)
{
	struct knee_template_options *t = &o->template;
	int err = kn_get_texts(f, &o->words, &o->nwords);

	t->flags = kn_get_u32(f);
	t->replacement = text_or_null(f);
	t->parens = text_or_null(f);
	if (err == 0)
		err = kn_get_texts(f, (const char ***)&t->names, &t->nnames);
	if (err == 0)
		err = kn_get_texts(f, &o->worker, &o->nworker);
	o->framing = (enum knee_framing)kn_get_u32(f);
	if (err == 0)
		err = kn_get_texts(f, &o->env, &o->nenv);
	return err;
}

static void
numbers_get(struct kn_fields *f, struct kn_open *o)
{
	o->limit = kn_get_u32(f);
	o->limit_min = kn_get_u32(f);
	o->limit_max = kn_get_u32(f);
	o->kind = (enum knee_kind)kn_get_u32(f);
	o->load_max = (double)kn_get_u64(f) / MILLION;
	o->memfree_bytes = kn_get_u64(f);
	o->memsuspend_bytes = kn_get_u64(f);
	o->noswap = kn_get_u8(f) != 0;
	o->learn = kn_get_u8(f) != 0;
	o->jobs = kn_get_text(f);
	o->load = kn_get_text(f);
}

int
kn_open_get(struct kn_fields *f, struct kn_open *ret)
{
	struct kn_open o = { 0 };
	int err = command_get(f, &o);

	o.slot_var = kn_get_text(f);
	o.shell = kn_get_text(f);
	o.dir = kn_get_text(f);
	o.host = kn_get_text(f);
	o.login = kn_get_text(f);
	o.nice = (int)kn_get_u32(f);
	numbers_get(f, &o);
	o.timeout_ns = kn_get_u64(f);
	if (err == 0)
		err = kn_get_texts(f, &o.dial, &o.ndial);
	o.token = kn_get_text(f);
	if (err == 0 &&
	    (f->bad || f->left > 0 || o.nwords == 0 || (unsigned)o.framing > KNEE_FRAMING_PLUGIN ||
		(unsigned)o.kind >= KNEE_KINDS || o.nice < 0 || o.nice > 39 || o.timeout_ns == 0 ||
		o.timeout_ns > INT64_MAX / 4))
		err = -EBADMSG;
	if (err < 0) {
		kn_open_done(&o);
		return err;
	}
	*ret = o;
	return 0;
}

void
kn_open_done(struct kn_open *o)
{
	free(o->words);
	free((void *)(uintptr_t)o->template.names);
	free(o->worker);
	free(o->env);
	free(o->dial);
	*o = (struct kn_open){ 0 };
}
