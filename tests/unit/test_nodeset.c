/* SPDX-License-Identifier: MIT */
/* Node sets: what they mean, what is wrong with them, and that folding loses no name. */
#include "nodeset.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "alloc.h"
#include "random.h"
#include "tap.h"

void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

void *
__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return ++alloc_count == alloc_fail_at ? NULL : __real_reallocarray(p, n, size);
}

/* The names of a set with blanks between; "ERROR: ..." when it is wrong. malloc. */
static char *
names_of(const char *s)
{
	struct kn_nodeset set = { 0 };
	struct kn_buf text = { 0 };
	char err[256] = "";
	int error = kn_nodeset_parse(s, &set, err, sizeof(err));

	if (error < 0) {
		(void)kn_buf_adds(&text, "ERROR: ");
		(void)kn_buf_adds(&text, err);
	}
	for (size_t i = 0; i < set.n; i++) {
		(void)kn_buf_adds(&text, i > 0 ? " " : "");
		(void)kn_buf_adds(&text, set.names[i]);
	}
	(void)kn_buf_addc(&text, '\0');
	kn_nodeset_done(&set);
	return text.data;
}

static void
test_names(void)
{
	static const char *const cases[][2] = {
		{ "web", "web" },
		{ "web1,db", "web1 db" },
		{ " web1 , db\n", "web1 db" },
		{ "web[1-3]", "web1 web2 web3" },
		{ "web[08-11]", "web08 web09 web10 web11" },
		{ "web[01-03,07]", "web01 web02 web03 web07" },
		{ "web[98-101]", "web98 web99 web100 web101" },
		{ "web[00,0]", "web00 web0" },
		{ "web[1-9/4]", "web1 web5 web9" },
		{ "web[1-10/4]", "web1 web5 web9" },
		{ "r[1-2]n[1-2]", "r1n1 r1n2 r2n1 r2n2" },
		{ "n[1-2]-ib", "n1-ib n2-ib" },
		{ "[1-2]a", "1a 2a" },
		{ "a[1][2][3]", "a123" },
		{ "a,b,a", "a b" },
		{ "b[2,1,2]", "b2 b1" },
		{ "n[1-5],-n3", "n1 n2 n4 n5" },
		{ "n[1-5],!n[2-4]", "n1 n5" },
		{ "n[1-3],-n2,n2", "n1 n3 n2" },
		{ "-n1", "" },
		{ "-n1,n1", "n1" },
		{ "me@n[1-2].example", "me@n1.example me@n2.example" },
		{ "[::1]", "[::1]" },
		{ "n[1-2],[fe80::1%eth0]", "n1 n2 [fe80::1%eth0]" },
		{ "n[999999999999998-999999999999999]", "n999999999999998 n999999999999999" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *got = names_of(cases[i][0]);

		is_str(got, cases[i][1], "%s", cases[i][0]);
		free(got);
	}
}

/* 2^64 + 5 numbers, which would take for ever. */
static void
test_wrap(void)
{
	struct kn_nodeset set = { 0 };
	struct kn_buf text = { 0 };

	(void)kn_buf_adds(&text, "a,!n[");
	for (int i = 0; i < 18446; i++)
		(void)kn_buf_adds(&text, "1-999999999999999,");
	(void)kn_buf_adds(&text, "1-744073709570067]");
	(void)kn_buf_addc(&text, '\0');
	is_int(kn_nodeset_parse(text.data, &set, NULL, 0), -E2BIG, "more than a number counts");
	kn_buf_done(&text);
	kn_nodeset_done(&set);
}

static void
test_errors(void)
{
	static const char *const cases[][2] = {
		{ "", "ERROR: '': an empty name" },
		{ "a,,b", "ERROR: '': an empty name" },
		{ "a,-", "ERROR: '-': an empty name" },
		{ "a,web[3-1]", "ERROR: 'web[3-1]': 3-1: a range rises" },
		{ "web[1-3", "ERROR: 'web[1-3': [ without ]" },
		{ "web1-3]", "ERROR: 'web1-3]': ] without [" },
		{ "web[]", "ERROR: 'web[]': in [] there are numbers and ranges: [1-9,12]" },
		{ "web[1,]", "ERROR: 'web[1,]': in [] there are numbers and ranges: [1-9,12]" },
		{ "web[1-]", "ERROR: 'web[1-]': in [] there are numbers and ranges: [1-9,12]" },
		{ "web[a-c]", "ERROR: 'web[a-c]': in [] there are numbers and ranges: [1-9,12]" },
		{ "web[1-3/0]", "ERROR: 'web[1-3/0]': a step of 0 leads nowhere" },
		{ "web[1-010]", "ERROR: 'web[1-010]': 1-010: both ends need as many digits" },
		{ "web 1", "ERROR: 'web 1': a name has no blanks and the like" },
		{ "web[1-5]!web3",
		    "ERROR: 'web[1-5]!web3': sets are put together by commas alone: web[1-5],!web3" },
		{ "a,b&c", "ERROR: 'b&c': sets are put together by commas alone: web[1-5],!web3" },
		{ "n[1-2]^n[2-3]",
		    "ERROR: 'n[1-2]^n[2-3]': sets are put together by commas alone: web[1-5],!web3" },
		{ "n[1-1000001]", "ERROR: 'n[1-1000001]': more than 1000000 names" },
		{ "n[1-2000][1-2000]", "ERROR: 'n[1-2000][1-2000]': more than 1000000 names" },
		{ "n[1-600000],m[1-600000]", "ERROR: 'm[1-600000]': more than 1000000 names" },
		{ "n[1000000000000000]",
		    "ERROR: 'n[1000000000000000]': 1000000000000000: too large a number" },
		{ "[1][1][1][1][1][1][1][1][1]", "ERROR: '[1][1][1][1][1][1][1][1][1]': more than 8 []" },
	};
	char longest[400];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *got = names_of(cases[i][0]);

		is_str(got, cases[i][1], "'%s' is wrong", cases[i][0]);
		free(got);
	}
	test_wrap();
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	is_int(kn_nodeset_parse(longest, &(struct kn_nodeset){ 0 }, NULL, 0), -EINVAL,
	    "a name that is too long");
}

/* All names of s, folded. malloc. */
static char *
folded(const char *s)
{
	struct kn_nodeset set = { 0 };
	char *text = NULL;

	if (kn_nodeset_parse(s, &set, NULL, 0) == 0)
		(void)kn_nodeset_fold(set.names, set.n, &text);
	kn_nodeset_done(&set);
	return text;
}

static void
test_fold(void)
{
	static const char *const cases[][2] = {
		{ "web1", "web1" },
		{ "web3,web1,web2", "web[1-3]" },
		{ "web2,web1", "web[1-2]" },
		{ "web10,web9,web2", "web[2,9-10]" },
		{ "web08,web09,web10,web11", "web[08-11]" },
		{ "web1,web01", "web[1,01]" },
		{ "n1,n2,n3,n07,n08,n09", "n[1-3,07-09]" },
		{ "db,web[1-3],app", "app,db,web[1-3]" },
		{ "r[1-2]n[1-16]", "r[1-2]n[1-16]" },
		{ "r1n[1-3],r2n[1-3],r3n[1-4]", "r[1-2]n[1-3],r3n[1-4]" },
		{ "n[1-3]-ib,n[1-3]", "n[1-3],n[1-3]-ib" },
		{ "10.0.0.[1-254]", "10.0.0.[1-254]" },
		{ "[::1],[::2],a1", "[::1],[::2],a1" },
		{ "a9,a10,b,a11", "a[9-11],b" },
	};
	char *none = NULL;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *got = folded(cases[i][0]);

		is_str(got, cases[i][1], "%s, folded", cases[i][0]);
		free(got);
	}
	is_int(kn_nodeset_fold(NULL, 0, &none), 0, "no names");
	is_str(none, "", "are no text");
	free(none);
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool
same(const struct kn_nodeset *a, const struct kn_nodeset *b)
{
	if (a->n != b->n)
		return false;
	qsort(a->names, a->n, sizeof(*a->names), compare);
	qsort(b->names, b->n, sizeof(*b->names), compare);
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->names[i], b->names[i]) != 0)
			return false;
	return true;
}

/* Names of few letters and digits, so that many are near each other. */
static void
random_names(struct rnd *seed, struct kn_buf *to)
{
	size_t n = 1 + rnd_below(seed, 60);

	while (n-- > 0) {
		size_t size = 1 + rnd_below(seed, 5);

		while (size-- > 0)
			(void)kn_buf_addc(to, "ab0123-."[rnd_below(seed, 8)]);
		(void)kn_buf_adds(to, n > 0 ? ",x" : "");
	}
	(void)kn_buf_addc(to, '\0');
}

static void
test_both_ways(void)
{
	struct rnd seed = { rnd_seed() | 1 };
	uint64_t first = seed.state;
	int wrong = 0;

	for (int i = 0; i < 2000 && wrong == 0; i++) {
		struct kn_nodeset set = { 0 }, again = { 0 };
		struct kn_buf text = { 0 };
		char *fold = NULL;

		(void)kn_buf_addc(&text, 'x');
		random_names(&seed, &text);
		if (kn_nodeset_parse(text.data, &set, NULL, 0) < 0 ||
		    kn_nodeset_fold(set.names, set.n, &fold) < 0 ||
		    kn_nodeset_parse(fold, &again, NULL, 0) < 0 || !same(&set, &again)) {
			wrong++;
			diag("SEED=%llu: %s became %s", (unsigned long long)first, text.data,
			    fold != NULL ? fold : "nothing");
		}
		free(fold);
		kn_buf_done(&text);
		kn_nodeset_done(&set);
		kn_nodeset_done(&again);
	}
	is_int(wrong, 0, "what is folded is the same set");
}

static void
test_many(void)
{
	struct kn_nodeset set = { 0 };
	char *fold = NULL;

	is_int(kn_nodeset_parse("rack[001-020]n[0001-9999]", &set, NULL, 0), 0, "199,980 names");
	is_int(set.n, 199980, "all of them");
	is_str(set.names[199979], "rack020n9999", "the last one");
	is_int(kn_nodeset_fold(set.names, set.n, &fold), 0, "folded");
	is_str(fold, "rack[001-020]n[0001-9999]", "to what they came from");
	free(fold);
	kn_nodeset_done(&set);
}

static void
test_no_memory(void)
{
	static const char text[] = "r[1-2]n[1-20],db,-r1n3";
	size_t failed = 0;

	for (alloc_fail_at = 1;; alloc_fail_at++) {
		struct kn_nodeset set = { 0 };
		char *fold = NULL;
		int err;

		alloc_count = 0;
		err = kn_nodeset_parse(text, &set, NULL, 0);
		if (err == 0)
			err = kn_nodeset_fold(set.names, set.n, &fold);
		free(fold);
		kn_nodeset_done(&set);
		if (err == 0)
			break;
		failed += err == -ENOMEM;
		if (err != -ENOMEM)
			break;
	}
	ok(failed > 10 && failed == alloc_fail_at - 1, "memory that fails is said, each time (%zu)", failed);
	alloc_fail_at = 0;
}

int
main(void)
{
	test_names();
	test_errors();
	test_fold();
	test_both_ways();
	test_many();
	test_no_memory();
	return done_testing();
}
