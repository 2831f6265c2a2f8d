/* SPDX-License-Identifier: MIT */
#include "nodeset.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A name is no longer: those of hosts have 253 bytes at most. */
#define NAME_BYTES 256
/* Digits of a number; more are text. */
#define DIGITS 15
/* Brackets of a pattern, and numbers of a name that are folded. */
#define DIMENSIONS 8
/* More of what is wrong is not shown. */
#define SHOWN_BYTES 60

#define TEXT(n) #n
#define TEXT_OF(n) TEXT(n)

static const char digit_bytes[] = "0123456789";

/* n in decimal, with zeros in front up to width digits; DIGITS + 1 bytes at most. How many there are. */
static size_t
number_put(char *to, uint64_t n, size_t width)
{
	char digits[24];
	size_t size = 0;

	do {
		digits[size++] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0 || size < width);
	for (size_t i = 0; i < size; i++)
		to[i] = digits[size - 1 - i];
	return size;
}

/* ---- names, each once ------------------------------------------------------------ */

struct name {
	size_t at; /* into bytes */
	bool gone; /* taken out again */
};

/* table: open addressing, names' indexes + 1; 0: empty. Invariant: it is at most half full. */
struct names {
	struct kn_buf bytes;
	struct name *list; /* owned */
	size_t n, cap, live;
	uint32_t *table; /* owned; mask + 1 of them */
	size_t mask;
};

static void
names_done(struct names *s)
{
	kn_buf_done(&s->bytes);
	free(s->list);
	free(s->table);
}

static size_t
hash(const char *name)
{
	uint64_t h = UINT64_C(14695981039346656037);

	for (; *name != '\0'; name++)
		h = (h ^ (unsigned char)*name) * UINT64_C(1099511628211);
	return (size_t)(h ^ (h >> 32));
}

/* Where name is in the table, or belongs. */
static uint32_t *
place(const struct names *s, const char *name)
{
	size_t i = hash(name) & s->mask;

	while (s->table[i] != 0 && strcmp(s->bytes.data + s->list[s->table[i] - 1].at, name) != 0)
		i = (i + 1) & s->mask;
	return &s->table[i];
}

static int
names_grow(struct names *s)
{
	size_t cap = s->cap > 0 ? 2 * s->cap : 16;
	struct name *list = reallocarray(s->list, cap, sizeof(*list));
	uint32_t *table;

	if (list == NULL)
		return -ENOMEM;
	s->list = list;
	table = calloc(2 * cap, sizeof(*table));
	if (table == NULL)
		return -ENOMEM;
	free(s->table);
	s->table = table;
	s->mask = 2 * cap - 1;
	s->cap = cap;
	for (size_t i = 0; i < s->n; i++)
		*place(s, s->bytes.data + list[i].at) = (uint32_t)i + 1;
	return 0;
}

static int
names_add(struct names *s, const char *name)
{
	uint32_t *found;
	int err;

	if (s->n == s->cap) {
		err = names_grow(s);
		if (err < 0)
			return err;
	}
	found = place(s, name);
	if (*found != 0 && !s->list[*found - 1].gone)
		return 0;
	err = kn_buf_add(&s->bytes, name, strlen(name) + 1);
	if (err < 0)
		return err;
	s->list[s->n] = (struct name){ .at = s->bytes.len - strlen(name) - 1 };
	*found = (uint32_t)++s->n;
	s->live++;
	return 0;
}

static void
names_take_out(struct names *s, const char *name)
{
	uint32_t found = s->n > 0 ? *place(s, name) : 0;

	if (found != 0 && !s->list[found - 1].gone) {
		s->list[found - 1].gone = true;
		s->live--;
	}
}

/* ---- patterns ----------------------------------------------------------------------- */

struct range {
	uint64_t first, last, step;
	size_t width; /* with zeros in front */
};

/* Text, then a number of one of the ranges. */
struct dimension {
	const char *text; /* borrowed; size bytes */
	size_t size;
	size_t range, nranges; /* of parse.ranges; 0 of them: the text alone */
	size_t at;             /* which of them it is now */
	uint64_t number;
};

/* Reading one term, [term, end). */
struct parse {
	struct names names;
	const char *term, *end;
	struct range *ranges; /* owned */
	size_t nranges, ranges_cap;
	struct dimension dimensions[DIMENSIONS + 1];
	size_t n;
	uint64_t most; /* names that may still be made */
	char *err;
	size_t errsize;
};

/* Up to size bytes of text behind the *n that the message holds already; it always has its NUL. */
static void
err_put(const struct parse *p, size_t *n, const char *text, size_t size)
{
	if (p->errsize == 0)
		return;
	for (size_t i = 0; i < size && text[i] != '\0' && *n < p->errsize - 1; i++)
		p->err[(*n)++] = text[i];
	p->err[*n] = '\0';
}

/* "'TERM': WHAT: why"; what: size bytes, none when size is 0. Returns -EINVAL. */
static int
bad_part(const struct parse *p, const char *what, size_t size, const char *why)
{
	size_t term = (size_t)(p->end - p->term), n = 0;

	err_put(p, &n, "'", 1);
	err_put(p, &n, p->term, term < SHOWN_BYTES ? term : SHOWN_BYTES);
	err_put(p, &n, term > SHOWN_BYTES ? "...': " : "': ", SHOWN_BYTES);
	err_put(p, &n, what, size < SHOWN_BYTES ? size : SHOWN_BYTES);
	err_put(p, &n, size > SHOWN_BYTES ? "...: " : ": ", size > 0 ? SHOWN_BYTES : 0);
	err_put(p, &n, why, strlen(why));
	return -EINVAL;
}

static int
bad(const struct parse *p, const char *why)
{
	return bad_part(p, "", 0, why);
}

/* Where the bracket at s ends: at its ']', or NULL. */
static const char *
bracket_end(const char *s, const char *end)
{
	return memchr(s, ']', (size_t)(end - s));
}

/* [fe80::1] is an address, and no ranges. */
static bool
is_address(const char *s, const char *end)
{
	const char *close = bracket_end(s, end);

	return close != NULL && memchr(s, ':', (size_t)(close - s)) != NULL;
}

static int
number(const struct parse *p, const char **at, uint64_t *ret, size_t *ret_size)
{
	size_t size = strspn(*at, digit_bytes);

	if (size == 0)
		return bad(p, "in [] there are numbers and ranges: [1-9,12]");
	if (size > DIGITS)
		return bad_part(p, *at, size, "too large a number");
	*ret = strtoull(*at, NULL, 10);
	*ret_size = size;
	*at += size;
	return 0;
}

/* N, N-M or N-M/STEP at *at. */
static int
range_read(const struct parse *p, const char **at, struct range *ret)
{
	const char *first = *at, *last;
	struct range r = { .step = 1 };
	size_t size = 0, size_last = 0;
	int err = number(p, at, &r.first, &size);

	if (err < 0)
		return err;
	r.width = *first == '0' ? size : 1;
	r.last = r.first;
	if (**at == '-') {
		last = ++*at;
		err = number(p, at, &r.last, &size_last);
		if (err == 0 && *last == '0' && size_last > 1 && size_last != size)
			return bad_part(p, first, (size_t)(*at - first), "both ends need as many digits");
		if (err == 0 && r.last < r.first)
			return bad_part(p, first, (size_t)(*at - first), "a range rises");
		if (err == 0 && **at == '/') {
			++*at;
			err = number(p, at, &r.step, &size);
			if (err == 0 && r.step == 0)
				return bad(p, "a step of 0 leads nowhere");
		}
	}
	if (err == 0)
		*ret = r;
	return err;
}

static int
range_add(struct parse *p, const struct range *r)
{
	if (p->nranges == p->ranges_cap) {
		size_t cap = p->ranges_cap > 0 ? 2 * p->ranges_cap : 8;
		struct range *ranges = reallocarray(p->ranges, cap, sizeof(*ranges));

		if (ranges == NULL)
			return -ENOMEM;
		p->ranges = ranges;
		p->ranges_cap = cap;
	}
	p->ranges[p->nranges++] = *r;
	return 0;
}

/* The ranges behind the '[' at *at; *at is moved behind the ']'. *count: how many numbers. */
static int
ranges_read(struct parse *p, const char **at, struct dimension *d, uint64_t *count)
{
	const char *end = bracket_end(*at, p->end);
	struct range r = { .step = 1 };
	int err;

	if (end == NULL)
		return bad(p, "[ without ]");
	d->range = p->nranges;
	*count = 0;
	do {
		++*at;
		err = range_read(p, at, &r);
		if (err == 0 && **at != ',' && *at != end)
			return bad(p, "in [] there are numbers and ranges: [1-9,12]");
		if (err == 0)
			err = range_add(p, &r);
		if (err < 0)
			return err;
		/* Too many stay too many, however many more follow. */
		if (*count <= KN_NODESET_MOST)
			*count += (r.last - r.first) / r.step + 1;
	} while (*at != end);
	d->nranges = p->nranges - d->range;
	++*at;
	return 0;
}

/* Text from *at on, up to a '[' that begins ranges, or the end. */
static int
text_read(const struct parse *p, const char **at, struct dimension *d)
{
	const char *s = *at;

	d->text = s;
	while (s < p->end && (*s != '[' || is_address(s, p->end))) {
		if (*s == '[')
			s = bracket_end(s, p->end);
		else if (*s == ']')
			return bad(p, "] without [");
		else if ((unsigned char)*s <= ' ' || *s == 0x7f)
			return bad(p, "a name has no blanks and the like");
		else if (strchr("!&^", *s) != NULL)
			return bad(p, "sets are put together by commas alone: web[1-5],!web3");
		s++;
	}
	d->size = (size_t)(s - d->text);
	*at = s;
	return 0;
}

static int
too_many(const struct parse *p)
{
	(void)bad(p, "more than " TEXT_OF(KN_NODESET_MOST) " names");
	return -E2BIG;
}

/* The dimensions of the pattern at s. */
static int
pattern_read(struct parse *p, const char *s)
{
	uint64_t all = 1, count = 1;
	int err;

	p->n = p->nranges = 0;
	do {
		struct dimension *d = &p->dimensions[p->n++];

		*d = (struct dimension){ 0 };
		err = text_read(p, &s, d);
		if (err < 0 || s == p->end)
			break;
		if (p->n > DIMENSIONS)
			return bad(p, "more than " TEXT_OF(DIMENSIONS) " []");
		err = ranges_read(p, &s, d, &count);
		if (err == 0 && (count == 0 || count > KN_NODESET_MOST || all > KN_NODESET_MOST / count))
			return too_many(p);
		all *= count;
	} while (err == 0 && s < p->end);
	if (err == 0 && all > p->most)
		return too_many(p);
	p->most -= err == 0 ? all : 0;
	return err;
}

static int
name_make(const struct parse *p, char name[NAME_BYTES])
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++) {
		const struct dimension *d = &p->dimensions[i];

		if (n + d->size + DIGITS + 1 > NAME_BYTES)
			return bad(p, "too long a name");
		if (d->size > 0)
			memcpy(name + n, d->text, d->size);
		n += d->size;
		if (d->nranges > 0)
			n += number_put(name + n, d->number, p->ranges[d->range + d->at].width);
	}
	name[n] = '\0';
	return n > 0 ? 0 : bad(p, "an empty name");
}

static void
dimension_start(const struct parse *p, struct dimension *d)
{
	d->at = 0;
	if (d->nranges > 0)
		d->number = p->ranges[d->range].first;
}

/* The next number of that dimension; false: it is at its first one again. */
static bool
dimension_next(const struct parse *p, struct dimension *d)
{
	const struct range *r;

	if (d->nranges == 0)
		return false;
	r = &p->ranges[d->range + d->at];
	if (r->last - d->number >= r->step) {
		d->number += r->step;
		return true;
	}
	if (d->at + 1 < d->nranges) {
		d->number = p->ranges[d->range + ++d->at].first;
		return true;
	}
	dimension_start(p, d);
	return false;
}

/* All names of the term; the last number changes fastest. */
static int
term_read(struct parse *p)
{
	bool out = *p->term == '-' || *p->term == '!', more = true;
	char name[NAME_BYTES];
	int err = pattern_read(p, p->term + out);

	if (err < 0)
		return err;
	for (size_t i = 0; i < p->n; i++)
		dimension_start(p, &p->dimensions[i]);
	while (more) {
		err = name_make(p, name);
		if (err == 0 && out)
			names_take_out(&p->names, name);
		else if (err == 0)
			err = names_add(&p->names, name);
		if (err < 0)
			return err;
		if (p->names.n > KN_NODESET_MOST)
			return too_many(p);
		more = false;
		for (size_t i = p->n; i > 0 && !more; i--)
			more = dimension_next(p, &p->dimensions[i - 1]);
	}
	return 0;
}

/* The comma that ends the term at s, or the end of the text. */
static const char *
term_end(const char *s)
{
	bool inside = false;

	for (; *s != '\0' && (inside || *s != ','); s++)
		inside = *s == '[' || (inside && *s != ']');
	return s;
}

static int
names_list(struct names *s, struct kn_nodeset *ret)
{
	const char **names = calloc(s->live + 1, sizeof(*names));
	size_t n = 0;

	if (names == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < s->n; i++)
		if (!s->list[i].gone)
			names[n++] = s->bytes.data + s->list[i].at;
	*ret = (struct kn_nodeset){ .bytes = s->bytes, .names = names, .n = n };
	s->bytes = (struct kn_buf){ 0 };
	return 0;
}

int
kn_nodeset_parse(const char *s, struct kn_nodeset *ret, char *err, size_t errsize)
{
	/* What is made twice is made in vain: that has a bound, too. */
	struct parse p = { .err = err, .errsize = errsize, .most = 4 * (uint64_t)KN_NODESET_MOST };
	int error;

	do {
		p.term = s + strspn(s, " \t\n");
		s = term_end(p.term);
		p.end = s;
		while (p.end > p.term && strchr(" \t\n", p.end[-1]) != NULL)
			p.end--;
		error = term_read(&p);
	} while (error == 0 && *s++ != '\0');
	if (error == 0)
		error = names_list(&p.names, ret);
	names_done(&p.names);
	free(p.ranges);
	if (error == -ENOMEM)
		(void)bad(&p, "no memory for so many names");
	return error;
}

void
kn_nodeset_done(struct kn_nodeset *set)
{
	if (set == NULL)
		return;
	kn_buf_done(&set->bytes);
	free(set->names);
	*set = (struct kn_nodeset){ 0 };
}

/* ---- the other way ------------------------------------------------------------------ */

/* A name as texts with numbers between: text[0] number[0] text[1] ... In a number that was folded
 * there are several. */
struct part {
	const char *data; /* borrowed from the name, or owned below */
	size_t size;
};

struct folded {
	struct part text[DIMENSIONS + 1], number[DIMENSIONS];
	size_t n;     /* numbers */
	size_t place; /* of the number that counts last when names are compared */
};

/* How the numbers of one place are put together, all else being the same. */
struct fold {
	struct folded *items; /* owned */
	size_t n;
	char **brackets; /* owned: what folded numbers point to */
	size_t nbrackets, brackets_cap;
};

static void
name_split(const char *name, struct folded *ret)
{
	const char *start = name;
	/* Of an address, and of what is no name, nothing is a number. */
	bool plain = strpbrk(name, "[],") == NULL;

	*ret = (struct folded){ 0 };
	while (*name != '\0') {
		size_t text = plain ? strcspn(name, digit_bytes) : strlen(name);
		size_t size = strspn(name + text, digit_bytes);

		name += text + size;
		if (size == 0 || size > DIGITS || ret->n == DIMENSIONS)
			continue;
		ret->text[ret->n] = (struct part){ start, (size_t)(name - start) - size };
		ret->number[ret->n++] = (struct part){ name - size, size };
		start = name;
	}
	ret->text[ret->n] = (struct part){ start, (size_t)(name - start) };
}

static int
part_compare(const struct part *a, const struct part *b)
{
	size_t size = a->size < b->size ? a->size : b->size;
	int way = size > 0 ? memcmp(a->data, b->data, size) : 0;

	return way != 0 ? way : (a->size > b->size) - (a->size < b->size);
}

/* By value, then by digits; brackets, which begin with no digit, by their first number. */
static int
number_compare(const struct part *a, const struct part *b)
{
	uint64_t x = strtoull(a->data + (*a->data == '['), NULL, 10);
	uint64_t y = strtoull(b->data + (*b->data == '['), NULL, 10);

	if (x != y)
		return x < y ? -1 : 1;
	if (a->size != b->size)
		return a->size < b->size ? -1 : 1;
	return part_compare(a, b);
}

/* The texts, then the numbers; that of place last of all. For qsort(3). */
static int
folded_compare(const void *first, const void *second)
{
	const struct folded *a = first, *b = second;
	size_t n = a->n < b->n ? a->n : b->n, place = a->place;
	int way;

	for (size_t i = 0; i <= n; i++) {
		way = part_compare(&a->text[i], &b->text[i]);
		if (way != 0)
			return way;
	}
	if (a->n != b->n)
		return a->n < b->n ? -1 : 1;
	for (size_t i = 0; i < n; i++) {
		way = i == place ? 0 : number_compare(&a->number[i], &b->number[i]);
		if (way != 0)
			return way;
	}
	return place < n ? number_compare(&a->number[place], &b->number[place]) : 0;
}

static void
sort(struct fold *f, size_t place)
{
	for (size_t i = 0; i < f->n; i++)
		f->items[i].place = place;
	if (f->n > 0)
		qsort(f->items, f->n, sizeof(*f->items), folded_compare);
}

/* Does b's number come right behind a's, in a range whose first number is first? */
static bool
follows(const struct part *first, const struct part *a, const struct part *b)
{
	char next[24];
	size_t n = number_put(next, strtoull(a->data, NULL, 10) + 1, *first->data == '0' ? first->size : 1);

	return n == b->size && memcmp(next, b->data, b->size) == 0;
}

/* "[1-3,07]" of the numbers at place of n items. */
static int
bracket_make(const struct folded *items, size_t n, size_t place, struct kn_buf *to)
{
	int err = kn_buf_addc(to, '[');

	for (size_t i = 0, last; i < n && err == 0; i = last + 1) {
		const struct part *first = &items[i].number[place];

		for (last = i; last + 1 < n &&
		     follows(first, &items[last].number[place], &items[last + 1].number[place]);)
			last++;
		err = i > 0 ? kn_buf_addc(to, ',') : 0;
		if (err == 0)
			err = kn_buf_add(to, first->data, first->size);
		if (err == 0 && last > i)
			err = kn_buf_addc(to, '-');
		if (err == 0 && last > i)
			err = kn_buf_add(to, items[last].number[place].data, items[last].number[place].size);
	}
	return err == 0 ? kn_buf_add(to, "]", 2) : err;
}

/* Keep what brackets point to. */
static int
bracket_keep(struct fold *f, char *text)
{
	if (f->nbrackets == f->brackets_cap) {
		size_t cap = f->brackets_cap > 0 ? 2 * f->brackets_cap : 8;
		char **brackets = reallocarray(f->brackets, cap, sizeof(*brackets));

		if (brackets == NULL)
			return -ENOMEM;
		f->brackets = brackets;
		f->brackets_cap = cap;
	}
	f->brackets[f->nbrackets++] = text;
	return 0;
}

/* Items [at, at + n) differ in the number at place alone: make the first of them stand for all. */
static int
merge(struct fold *f, size_t at, size_t n, size_t place)
{
	struct kn_buf bracket = { 0 };
	int err = bracket_make(f->items + at, n, place, &bracket);

	if (err == 0)
		err = bracket_keep(f, bracket.data);
	if (err < 0) {
		kn_buf_done(&bracket);
		return err;
	}
	f->items[at].number[place] = (struct part){ bracket.data, bracket.len - 1 };
	return 0;
}

static bool
same_but_for(const struct folded *a, const struct folded *b, size_t place)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i <= a->n; i++)
		if (part_compare(&a->text[i], &b->text[i]) != 0)
			return false;
	for (size_t i = 0; i < a->n; i++)
		if (i != place && part_compare(&a->number[i], &b->number[i]) != 0)
			return false;
	return true;
}

/* Fold the numbers at that place of all items. */
static int
fold_place(struct fold *f, size_t place)
{
	size_t n = 0, many;
	int err;

	sort(f, place);
	for (size_t i = 0; i < f->n; i += many) {
		many = 1;
		while (i + many < f->n && place < f->items[i].n &&
		    same_but_for(&f->items[i], &f->items[i + many], place))
			many++;
		if (many > 1) {
			err = merge(f, i, many, place);
			if (err < 0)
				return err;
		}
		f->items[n++] = f->items[i];
	}
	f->n = n;
	return 0;
}

/* The items without those that are there twice. */
static void
unique(struct fold *f)
{
	size_t n = 0;

	sort(f, DIMENSIONS);
	for (size_t i = 0; i < f->n; i++)
		if (n == 0 || folded_compare(&f->items[n - 1], &f->items[i]) != 0)
			f->items[n++] = f->items[i];
	f->n = n;
}

static int
fold_put(const struct fold *f, struct kn_buf *to)
{
	int err = 0;

	for (size_t i = 0; i < f->n && err == 0; i++) {
		const struct folded *item = &f->items[i];

		err = i > 0 ? kn_buf_addc(to, ',') : 0;
		for (size_t j = 0; j <= item->n && err == 0; j++) {
			err = kn_buf_add(to, item->text[j].data, item->text[j].size);
			if (err == 0 && j < item->n)
				err = kn_buf_add(to, item->number[j].data, item->number[j].size);
		}
	}
	return err == 0 ? kn_buf_addc(to, '\0') : err;
}

int
kn_nodeset_fold(const char *const *names, size_t n, char **ret)
{
	struct fold f = { .n = n };
	struct kn_buf text = { 0 };
	size_t places = 0;
	int err = 0;

	f.items = calloc(n + 1, sizeof(*f.items));
	if (f.items == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		name_split(names[i], &f.items[i]);
		if (f.items[i].n > places)
			places = f.items[i].n;
	}
	unique(&f);
	for (; places > 0 && err == 0; places--)
		err = fold_place(&f, places - 1);
	if (err == 0) {
		sort(&f, DIMENSIONS);
		err = fold_put(&f, &text);
	}
	for (size_t i = 0; i < f.nbrackets; i++)
		free(f.brackets[i]);
	free(f.brackets);
	free(f.items);
	if (err < 0) {
		kn_buf_done(&text);
		return err;
	}
	*ret = text.data;
	return 0;
}
