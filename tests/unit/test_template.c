/* SPDX-License-Identifier: MIT */
/*
 * Command templates. Tables of what is typed, given and expected, observed on GNU
 * parallel where it has the same; then what no table shows: that direct execution
 * and real shells see the same words, whatever the template and the arguments, with
 * random ones ($SEED repeats a run), and that every failed allocation is survived.
 *
 * The shells print words by a function of theirs, "w". Where that will not do they run
 * this program under other names, in a folder of its own: then it does the same.
 */
#include "template.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc.h"
#include "random.h"
#include "shell.h"
#include "tap.h"

#define ARGS_MAX 8

/* ---- helpers ------------------------------------------------------------ */

static size_t
count(const char *const *words)
{
	size_t n = 0;

	while (words[n] != NULL)
		n++;
	return n;
}

static struct knee_template *
make(const char *const *words, const struct knee_template_options *o)
{
	struct knee_template *t = NULL;
	char err[128] = "";
	int error = knee_template_new(words, count(words), o, &t, err, sizeof(err));

	if (error < 0)
		diag("template '%s': %s (%d)", words[0], err, error);
	return t;
}

/* The text of a command, which the caller frees; NULL at an error. */
static char *
expand(const char *const *words, const struct knee_template_options *o, const char *const *args, size_t nargs)
{
	struct knee_template *t = make(words, o);
	char *text = NULL;

	if (t != NULL && knee_template_expand(t, args, nargs, 7, 3, &text) < 0)
		text = NULL;
	knee_template_free(t);
	return text;
}

/* One row of a table: a command of one word, with these flags and arguments. */
struct row {
	const char *typed;
	unsigned flags;
	const char *args[ARGS_MAX];
	const char *want;
};

static void
rows_check(const char *what, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *const words[] = { rows[i].typed, NULL };
		const struct knee_template_options o = { .flags = rows[i].flags };
		char *text = expand(words, &o, rows[i].args, count(rows[i].args));

		is_str(text, rows[i].want, "%s: '%s' with %zu arguments, flags %u, row %zu", what,
		    rows[i].typed, count(rows[i].args), rows[i].flags, i);
		free(text);
	}
}

#define ROWS(what, rows) rows_check(what, rows, sizeof(rows) / sizeof((rows)[0]))

enum {
	A = KNEE_TEMPLATE_APPEND,
	X = KNEE_TEMPLATE_CONTEXT,
	Q = KNEE_TEMPLATE_LITERAL,
	C = KNEE_TEMPLATE_CODE,
	T = KNEE_TEMPLATE_TEXT
};

/* ---- forms -------------------------------------------------------------- */

static void
test_forms(void)
{
	static const struct {
		const char *arg, *want;
	} pieces[] = {
		{ "dir/foo.tar.gz", "dir/foo.tar.gz dir/foo.tar foo.tar.gz dir foo.tar" },
		{ "a.b/c", "a.b/c a.b/c c a.b c" },
		{ ".bashrc", ".bashrc '' .bashrc . ''" },
		{ "a.", "a. a a. . a" },
		{ "/", "/ / '' / ''" },
		{ "a/", "a/ a/ '' . ''" },
		{ "", "'' '' '' . ''" },
		{ "/x", "/x /x x / x" },
		{ "a//b.c", "a//b.c a//b b.c a b" },
		{ "//", "// // '' / ''" },
		{ "/.x", "/.x / .x / ''" },
		{ "a/.b", "a/.b a/ .b a ''" },
		{ "a/b.", "a/b. a/b b. a b" },
		{ ".", ". '' . . ''" },
		{ "..", ".. . .. . ." },
		{ "a.b/", "a.b/ a.b/ '' . ''" },
		{ "///a", "///a ///a a / a" },
		{ "a/b//", "a/b// a/b// '' a ''" },
		{ "a\n.b/c d", "'a\n.b/c d' 'a\n.b/c d' 'c d' 'a\n.b' 'c d'" },
	};

	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		static const char *const plain[] = { "{}", "{.}", "{/}", "{//}", "{/.}", NULL };
		static const char *const first[] = { "{1}", "{1.}", "{1/}", "{1//}", "{1/.}", NULL };
		static const char *const last[] = { "{-1}", "{-1.}", "{-1/}", "{-1//}", "{-1/.}", NULL };
		static const char *const name[] = { "{n}", "{n.}", "{n/}", "{n//}", "{n/.}", NULL };
		static const char *const names[] = { "n" };
		const char *const *const typed[] = { plain, first, last, name };
		const struct knee_template_options o = { .names = names, .nnames = 1 };

		for (size_t k = 0; k < 4; k++) {
			char *text = expand(typed[k], &o, &pieces[i].arg, 1);

			is_str(text, pieces[i].want, "the pieces of '%s' by %s", pieces[i].arg, typed[k][0]);
			free(text);
		}
	}
}

static void
test_places(void)
{
	static const struct row rows[] = {
		{ "echo {#} {%}", A, { "a" }, "echo 7 3" },
		{ "echo {2} {1}", A, { "a", "b" }, "echo b a" },
		{ "echo {2} {1}", A, { "3" }, "echo  3" },
		{ "echo {2}", A, { "3" }, "echo " },
		{ "echo {-1}{-3} {-4}|{3.}", A, { "a", "b", "c.x" }, "echo c.xa |c" },
		{ "echo {01} {12345678901234567890}", A, { "a" }, "echo a " },
		{ "echo {1} {1}{1}", A, { "a b", "c" }, "echo 'a b' 'a b''a b'" },
		{ "{0} {-0} {+1} {1x} {1..} {1./} {- 1} { } {foo} {} {", 0, { "a" },
		    "{0} {-0} {+1} {1x} {1..} {1./} {- 1} { } {foo} a {" },
		{ "{{}} {{1}} { {} }{", 0, { "a" }, "{a} {a} { a }{" },
		{ "{/..} {///} {.", 0, { "a" }, "{/..} {///} {." },
		{ "{-} {--1} {1", 0, { "a" }, "{-} {--1} {1" },
		{ "", 0, { "a" }, "" },
		{ "  ", 0, { "a" }, "  " },
	};
	static const struct row append[] = {
		{ "echo", A, { "a b" }, "echo 'a b'" },
		{ "echo", 0, { "a b" }, "echo" },
		{ "echo ", A, { "a" }, "echo  a" },
		{ "echo {2}", A, { "a" }, "echo " },
		{ "echo {#}", A, { "a" }, "echo 7" },
		{ "echo {%}", A, { "a" }, "echo 3" },
		{ "echo {x}", A, { "a" }, "echo {x} a" },
		{ "echo a; echo", A, { "a" }, "echo a; echo a" },
		{ "", A, { "ls" }, "ls" },
		{ "echo", A, { 0 }, "echo " },
		{ "echo", A | Q, { "a b" }, "echo 'a b'" },
	};

	ROWS("places", rows);
	ROWS("appended", append);
}

static void
test_words(void)
{
	static const struct {
		const char *words[6];
		unsigned flags;
		const char *args[4], *want;
	} rows[] = {
		{ { "echo", "{}", ";", "echo", "b" }, A, { "a" }, "echo a ; echo b" },
		{ { "echo", "a b", "", "c" }, A, { "x" }, "echo a b  c x" },
		{ { "echo", "{}", "" }, A, { "x" }, "echo x " },
		{ { NULL }, A, { "x y" }, "'x y'" },
		{ { NULL }, A | C, { "x y" }, "x y" },
		{ { NULL }, A | Q, { "x y" }, "'x y'" },
		{ { NULL }, 0, { "x y" }, "" },
		{ { "{", "}" }, A, { "x" }, "{ } x" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct knee_template_options o = { .flags = rows[i].flags };
		char *text = expand(rows[i].words, &o, rows[i].args, count(rows[i].args));

		is_str(text, rows[i].want, "words are joined by blanks, row %zu", i);
		free(text);
	}
}

static void
test_several(void)
{
	static const struct row rows[] = {
		{ "pre{}post", 0, { "a", "b" }, "prea bpost" },
		{ "pic{}.jpg", 0, { "1", "2", "3" }, "pic1 2 3.jpg" },
		{ "{.}{/}", 0, { "1.a", "2/b", "3" }, "1 2/b 31.a b 3" },
		{ "echo a {}b c x{.}y", 0, { "a", "c d" }, "echo a a 'c d'b c xa 'c d'y" },
		{ "echo {}", 0, { 0 }, "echo " },
		{ "echo a{}b {1}", 0, { 0 }, "echo ab " },
		{ "pre{}post", X, { "a", "b" }, "preapost prebpost" },
		{ "echo pic{}.jpg", X, { "1", "2", "3" }, "echo pic1.jpg pic2.jpg pic3.jpg" },
		{ "echo a{}b{.}c d{} x", X, { "a.x", "b" }, "echo aa.xbac abbbc da.x db x" },
		{ "echo \"a{}b c\" x", X, { "a", "c d" }, "echo \"aab \"a'c d'b c\" x" },
		{ "echo a{}b{1} {2}", X, { "a", "c" }, "echo aaba acba c" },
		{ "echo a{1}b {}", X, { "a", "c" }, "echo aab a c" },
		{ "echo a{#}b {}", X, { "a", "c" }, "echo a7b a c" },
		{ "echo a{#}{}", X, { "a", "c" }, "echo a7a a7c" },
		{ "{.}{/}", X, { "1.a", "2/b" }, "11.a 2/bb" },
		{ "echo a{}b x", X, { 0 }, "echo ab x" },
		{ "a{}\tb{}\nc{}", X, { "1", "2" }, "a1 a2\tb1 b2\nc1 c2" },
		{ "echo", A | X, { "1", "2" }, "echo 1 2" },
	};
	static const struct row text[] = {
		{ "{}", T, { "a  b", "c'" }, "a  b c'" },
		{ "{} {/} {#}", T, { "a  b/$c" }, "a  b/$c $c 7" },
		{ "-{}", T, { "" }, "-" },
		{ "{}", C, { "echo a; b", "if" }, "echo a; b if" },
		{ "{}", C, { "" }, "" },
		{ "if", T, { "" }, "if" },
	};

	ROWS("several arguments", rows);
	ROWS("unquoted", text);
}

static void
test_literal(void)
{
	static const char *const words[] = { "echo", "a b", "$x", "{}", "a{}b", "", "x", "{.} y", "{2}",
		NULL };
	static const char *const spread[] = { "echo", "a {}b", "", "-{/}", NULL };
	static const char *const reserved[] = { "if", "x", NULL };
	static const char *const one[] = { "a", "c d.e" }, *const two[] = { "a", "c d.e" };
	struct knee_template_options o = { .flags = Q };
	char *text = expand(words, &o, one, 1);

	is_str(text, "echo 'a b' '$x' a aab '' x 'a y'", "-q quotes what was typed");
	free(text);
	text = expand(spread, &o, two, 2);
	is_str(text, "echo 'a a' 'c d.eb' '' -a 'c d.e'", "-q with several arguments");
	free(text);
	text = expand(reserved, &o, one, 0);
	is_str(text, "\\if x", "-q makes a reserved word a name");
	free(text);
	o.flags = Q | X;
	text = expand(spread, &o, two, 2);
	is_str(text, "echo 'a ab' 'a c d.eb' '' -a '-c d.e'", "-q and -X repeat the typed word");
	free(text);
}

/* ---- options ------------------------------------------------------------ */

static void
replacement_check(const char *replacement, const char *typed, const char *arg, const char *want)
{
	const char *const words[] = { typed, NULL };
	const struct knee_template_options o = { .flags = A, .replacement = replacement };
	char *text = expand(words, &o, &arg, 1);

	is_str(text, want, "-I %s in '%s'", replacement, typed);
	free(text);
}

static void
test_replacement(void)
{
	replacement_check("R", "echo R {} {.} {/} {R} {R.} R. {1} {-1} {1.} {#}", "a.b",
	    "echo a.b {} a a.b {a.b} {a.b.} a.b. {1} {-1} a 7");
	replacement_check(",,", "echo ,, ,,. {.}", "a.b", "echo a.b a.b. a");
	replacement_check("R", "echo x", "a.b", "echo x a.b");
	replacement_check("R", "echo {}", "a.b", "echo {} a.b");
	replacement_check("{}", "echo {} {.} {1}", "a.b", "echo a.b a a.b");
	replacement_check(
	    "{x}", "echo {x} {} {1} {1x} {x1} {1.} {-1x}", "x.y", "echo x.y {} {1} x.y {x1} x x.y");
	replacement_check("<>", "echo <> {} {1} <1> {1.}", "x.y", "echo x.y {} {1} <1> x");
	replacement_check("{.}", "echo {.} {} {1}", "x.y", "echo x.y {} {1}");
	replacement_check("{", "echo { {}", "x", "echo x x}");
	replacement_check("\xff", "echo \xff", "x", "echo x");
}

static void
names_check(const char *const *names, size_t nnames, const char *typed, const char *want)
{
	static const char *const args[] = { "x.y", "q/r.s" };
	const char *const words[] = { typed, NULL };
	const struct knee_template_options o = { .flags = A, .names = names, .nnames = nnames };
	char *text = expand(words, &o, args, 2);

	is_str(text, want, "names in '%s'", typed);
	free(text);
}

static void
test_names(void)
{
	static const char *const ab[] = { "a", "b" };
	static const char *const dots[] = { "a", "a." };
	static const char *const slashes[] = { "a", "a/" };
	static const char *const odd[] = { "a b", "." };
	static const char *const numbers[] = { "2", "1" };
	static const char *const none[] = { "", "" };

	names_check(
	    ab, 2, "echo {a} {b.} {1a} {b/} {b//} {b/.} {c} {2}", "echo x.y q/r {1a} r.s q r {c} q/r.s");
	names_check(dots, 2, "echo {a} {a.} {a..}", "echo x.y q/r.s q/r");
	names_check(slashes, 2, "echo {a//} {a/}", "echo . q/r.s");
	names_check(odd, 2, "echo {a b} {a b.} {.} {..}", "echo x.y x q/r.s q/r");
	names_check(numbers, 2, "echo {1} {2} {2.}", "echo q/r.s x.y x");
	names_check(none, 2, "echo {1} {} ", "echo x.y x.y q/r.s ");
}

static void
error_check(const char *typed, const struct knee_template_options *o, const char *want)
{
	const char *const words[] = { typed };
	struct knee_template *t = (void *)&words;
	char err[64] = "untouched";
	int error = knee_template_new(words, 1, o, &t, err, sizeof(err));

	is_int(error, want ? -EINVAL : 0, "'%s' is %s", typed, want ? "an error" : "taken");
	is_str(err, want ? want : "untouched", "'%s': the text", typed);
	if (error == 0)
		knee_template_free(t);
	else
		ok(t == (void *)&words, "'%s': ret is untouched", typed);
}

static void
test_errors(void)
{
	static const char perl[] = "Perl expressions: not in this version";
	static const char *const words[] = { "echo", "{=", "s/x/y/", "=}" };
	const struct knee_template_options o = { 0 }, literal = { .flags = Q };
	const struct knee_template_options comma = { .parens = ",,,," }, odd = { .parens = "{=}" };
	const struct knee_template_options empty = { .replacement = "" }, bare = { .parens = "" };
	struct knee_template *t = NULL;
	char err[16];

	error_check("echo {= s/x/y/ =}", &o, perl);
	error_check("echo {==}", &o, perl);
	error_check("echo {=", &o, NULL);
	error_check("echo {=}", &o, NULL);
	error_check("echo =} {=", &o, NULL);
	error_check("echo ,,x,,", &comma, perl);
	error_check("echo ,,x {==}", &comma, NULL);
	error_check("echo", &odd, "parens: not two strings of the same length");
	error_check("echo", &bare, "parens: not two strings of the same length");
	error_check("echo", &empty, "replacement string: empty");
	is_int(knee_template_new(words, 4, &literal, &t, err, sizeof(err)), -EINVAL,
	    "an expression over several words");
	is_str(err, "Perl expression", "a text that is too long is cut");
	is_int(knee_template_new(words, 4, &o, &t, NULL, 0), -EINVAL, "no room for the text at all");
	knee_template_free(NULL);
	pass("free takes NULL");
}

/* ---- quoting ------------------------------------------------------------ */

static void
test_quote(void)
{
	static const char *const rows[][2] = {
		{ "", "''" },
		{ "a-b/c.d_e+f", "a-b/c.d_e+f" },
		{ "-n", "-n" },
		{ "if", "if" },
		{ "a b", "'a b'" },
		{ "a=b", "'a=b'" },
		{ ",", "','" },
		{ "~x", "'~x'" },
		{ "'", "\"'\"" },
		{ "''", "\"'\"''\"'\"" },
		{ "a'b", "'a'\"'\"'b'" },
		{ "'a", "\"'\"'a'" },
		{ "a'", "'a'\"'\"" },
		{ "'''", "\"'\"''\"'\"''\"'\"" },
		{ "a\nb", "'a\nb'" },
		{ "\xff\xc3", "'\xff\xc3'" },
		{ "\xc3\xa9", "'\xc3\xa9'" },
		{ "!#$&()*;<>?[\\]^`{|}\"", "'!#$&()*;<>?[\\]^`{|}\"'" },
	};
	char *text;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		text = NULL;
		is_int(knee_quote(rows[i][0], &text), 0, "quoting row %zu", i);
		is_str(text, rows[i][1], "row %zu as GNU parallel writes it", i);
		is_int(kn_shell_quoted_size(rows[i][0], strlen(rows[i][0]), KN_SHELL_QUOTE_NEEDED),
		    strlen(rows[i][1]), "row %zu: its size", i);
		free(text);
	}
}

/* ---- direct or not ------------------------------------------------------ */

/* The command for these arguments, by c; which the caller frees. */
static bool
command_make(const char *const *words, unsigned flags, const char *const *args, struct kn_command *c)
{
	const struct knee_template_options o = { .flags = flags };
	const struct kn_fill fill = { .args = args, .nargs = count(args), .seq = 7, .slot = 3 };
	struct knee_template *t = make(words, &o);
	int err = t == NULL ? -EINVAL : kn_template_command(t, &fill, c);

	knee_template_free(t);
	return err == 0;
}

/* "a|b|c" for words that are run directly, "sh: script" else. */
static const char *
command_show(const struct kn_command *c, char *to, size_t size)
{
	size_t n = 0;

	if (c->shell) {
		snprintf(to, size, "sh: %s", c->text.data);
		return to;
	}
	to[0] = '\0';
	for (size_t i = 0; i < c->argc && n < size; i++)
		n += (size_t)snprintf(to + n, size - n, "%s%s", i > 0 ? "|" : "", c->argv[i]);
	return to;
}

static void
test_direct(void)
{
	static const struct row rows[] = {
		{ "echo {} a@%+=:,./^-_9Z\xc3\xa9 b", 0, { "a b" }, "echo|a b|a@%+=:,./^-_9Z\xc3\xa9|b" },
		{ "  echo\t {}  ", 0, { "$x" }, "echo|$x" },
		{ "pre{}post x", 0, { "a", "b" }, "prea|bpost|x" },
		{ "pre{}post x", X, { "a", "b" }, "preapost|prebpost|x" },
		{ "echo {} x", 0, { "" }, "echo||x" },
		{ "echo {} x", 0, { 0 }, "echo|x" },
		{ "echo a{}", 0, { 0 }, "echo|a" },
		{ "echo {2} {1}", 0, { "a" }, "echo|a" },
		{ "echo {2}{3} {1}", 0, { "a" }, "echo|a" },
		{ "echo {.} {#} {%}", 0, { ".x" }, "echo||7|3" },
		{ "dd if={} of={}.x", 0, { "a b" }, "dd|if=a b|of=a b.x" },
		{ "env A=b x", 0, { 0 }, "env|A=b|x" },
		{ "./a-b", A, { "c;d" }, "./a-b|c;d" },
		{ "echo =x", A, { "c" }, "sh: echo =x c" },
		{ "echo {2}=x", 0, { "c" }, "sh: echo =x" },
		{ "A=b env", A, { "c" }, "sh: A=b env c" },
		{ "A={} env", A, { "c" }, "sh: A=c env" },
		{ "a=", A, { "c" }, "sh: a= c" },
		{ "cd", A, { "c" }, "sh: cd c" },
		{ ".", A, { "c" }, "sh: . c" },
		{ "time ls", A, { "c" }, "sh: time ls c" },
		{ "exec ls", A, { "c" }, "sh: exec ls c" },
		{ "%1", A, { "c" }, "%1|c" },
		{ "-x", A, { "c" }, "-x|c" },
		{ "-x;", A, { "c" }, "sh:  -x; c" },
		{ "+x;", A, { "c" }, "sh:  +x; c" },
		{ "+x", A, { "c" }, "+x|c" },
		{ "echo\na", A, { "c" }, "sh: echo\na c" },
		{ "echo {x}", A, { "c" }, "sh: echo {x} c" },
		{ "{}", 0, { "ls" }, "ls" },
		{ "{}", 0, { "l s;" }, "l s;" },
		{ "{}", 0, { "" }, "" },
		{ "{}", 0, { "cd", "x" }, "sh: cd x" },
		{ "{}", 0, { "if", "x" }, "sh: \\if x" },
		{ "  i{} x", 0, { "f" }, "sh:   \\if x" },
		{ "{}", 0, { "ls", "if" }, "ls|if" },
		{ "{}", 0, { "-x", "if" }, "-x|if" },
		{ "{}", 0, { "A=b", "x" }, "sh: 'A=b' x" },
		{ "{2} A=b {1}", 0, { "x" }, "sh:  A=b x" },
		{ "{2} cd {1}", 0, { "x" }, "sh:  cd x" },
		{ "{2} ls {1}", 0, { "x" }, "ls|x" },
		{ "{}", 0, { 0 }, "sh: " },
		{ "true; {}", 0, { "if" }, "sh: true; 'if'" },
		{ "true;", 0, { "if" }, "sh: true;" },
		{ "", 0, { 0 }, "sh: " },
	};
	static const struct row code[] = {
		{ "{}", C, { "echo a  b\t" }, "echo|a|b" },
		{ "{}", C, { "  ls" }, "ls" },
		{ "{}", C, { "ls" }, "ls" },
		{ "{}", C, { "ls", "x" }, "ls|x" },
		{ "{}", C, { "echo 'a  b'" }, "sh: echo 'a  b'" },
		{ "{}", C, { "A=b env" }, "sh: A=b env" },
		{ "{}", C, { "echo =a" }, "sh: echo =a" },
		{ "{}", C, { "cd x" }, "sh: cd x" },
		{ "{}", C, { "if true" }, "sh: if true" },
		{ "{}", C, { "-x;" }, "sh:  -x;" },
		{ "{}", C, { "" }, "sh: " },
		{ "{}", C, { "  " }, "sh:   " },
		{ "nice {}", C, { "echo a;b" }, "sh: nice echo a;b" },
		{ "echo \"", C | A, { "a\"" }, "sh: echo \" a\"" },
	};
	const struct {
		const struct row *rows;
		size_t n;
	} tables[] = { { rows, sizeof(rows) / sizeof(rows[0]) }, { code, sizeof(code) / sizeof(code[0]) } };

	for (size_t k = 0; k < 2; k++) {
		for (size_t i = 0; i < tables[k].n; i++) {
			const struct row *row = &tables[k].rows[i];
			const char *const words[] = { row->typed, NULL };
			struct kn_command c = { 0 };
			char shown[256];

			ok(command_make(words, row->flags, row->args, &c), "a command");
			is_str(command_show(&c, shown, sizeof(shown)), row->want,
			    "direct or not: '%s', table %zu row %zu", row->typed, k, i);
			kn_command_done(&c);
		}
	}
}

/* Each byte that a shell may act on needs one; of the others none does. */
static void
test_direct_bytes(void)
{
	static const char plain[] = "_@%+=:,./^- \t";
	unsigned wrong = 0;

	for (unsigned i = 1; i < 256; i++) {
		const char typed[] = { 'e', 'c', 'h', 'o', ' ', 'a', (char)i, 'b', '\0' };
		const char *const words[] = { typed, NULL }, *const args[] = { NULL };
		struct kn_command c = { 0 };
		bool direct = i >= 0x80 || isalnum((int)i) || strchr(plain, (int)i) != NULL;

		if (!command_make(words, 0, args, &c) || c.shell == direct) {
			diag("byte 0x%02x", i);
			wrong++;
		}
		kn_command_done(&c);
	}
	is_int(wrong, 0, "the bytes that need a shell");
}

static void
test_direct_literal(void)
{
	static const char *const words[] = { "a=b", "a b", "", "if;\n", "{}", "{2}", "x{}", NULL };
	static const char *const empty[] = { "", NULL }, *const vanishes[] = { "{}", NULL };
	static const char *const args[] = { "$1", NULL }, *const none[] = { NULL };
	struct kn_command c = { 0 };
	char shown[256];

	ok(command_make(words, Q, args, &c), "-q");
	is_str(command_show(&c, shown, sizeof(shown)), "a=b|a b||if;\n|$1|x$1", "-q is always direct");
	is_int(c.argc, 6, "as many words as typed, but for one that vanishes");
	ok(command_make(empty, Q, args, &c), "-q ''");
	ok(!c.shell && c.argc == 1 && c.argv[0][0] == '\0' && c.argv[1] == NULL, "one empty word");
	ok(command_make(vanishes, Q, none, &c), "-q {}");
	ok(c.shell && c.argc == 0 && c.text.len == 0 && c.argv[0] == NULL, "nothing to run is for the shell");
	kn_command_done(&c);
	kn_command_done(&c);
	pass("done takes an empty command");
}

/* A command is used again and again, with no more memory than it has. */
static void
test_reuse(void)
{
	static const char *const words[] = { "echo", "{}", "{.}x", NULL };
	const struct knee_template_options o = { 0 };
	struct knee_template *t = make(words, &o);
	struct kn_command c = { 0 };
	const char *args[100];
	struct kn_fill fill = { .args = args, .nargs = 100 };
	unsigned wrong = 0;

	for (size_t i = 0; i < 100; i++)
		args[i] = "a.b";
	if (kn_template_command(t, &fill, &c) != 0 || c.argc != 201 || c.argv[201] != NULL)
		wrong++;
	alloc_count = 0;
	for (size_t i = 0; i < 1000; i++) {
		fill.nargs = i % 100;
		if (kn_template_command(t, &fill, &c) != 0 || c.argc != 1 + 2 * fill.nargs + !fill.nargs)
			wrong++;
	}
	is_int(wrong, 0, "a command filled again and again");
	is_int(alloc_count, 0, "without one more allocation");
	kn_command_done(&c);
	knee_template_free(t);
}

/* ---- sizes -------------------------------------------------------------- */

static void
size_check(const char *typed, unsigned flags, const char *const *args, size_t want)
{
	const char *const words[] = { typed, NULL };
	const struct knee_template_options o = { .flags = flags };
	struct knee_template *t = make(words, &o);
	size_t n = count(args);
	size_t base = knee_template_size(t, NULL, 0);
	size_t sum = base;

	for (size_t i = 0; i < n; i++)
		sum += knee_template_size(t, args + i, 1) - base;
	is_int(
	    knee_template_size(t, args, n), want, "size of '%s', flags %u, %zu arguments", typed, flags, n);
	is_int(sum, want, "sizes of '%s' add up", typed);
	knee_template_free(t);
}

static void
test_sizes(void)
{
	static const char *const abc[] = { "a", "b", "c", NULL }, *const quotes[] = { "a b", "'", NULL };
	static const char *const one[] = { "a.b", NULL }, *const none[] = { NULL };
	static const char *const words[] = { "{2}", "{1}", NULL };
	const struct knee_template_options o = { 0 };
	struct knee_template *t = make(words, &o);

	size_check("echo", 0, none, 5);
	size_check("echo", A, abc, 11);
	size_check("echo", A, quotes, 5 + 4 + 2);
	size_check("echo  x{}y", 0, abc, sizeof("echo xa b cy"));
	size_check("echo  x{}y", X, abc, sizeof("echo xay xby xcy"));
	size_check("echo x{}{.}y z", X, abc, sizeof("echo xaay xbby xccy z"));
	size_check("echo x{}y{}", 0, abc, sizeof("echo xa b cya b c"));
	size_check("echo {.}", 0, one, sizeof("echo a"));
	size_check("echo;", A, abc, sizeof("echo; a b c"));
	size_check("echo;  x{}y ", 0, quotes, sizeof("echo;  x'a b' \"'\"y "));
	size_check("echo;  x{}y ", X, quotes, sizeof("echo;  x'a b'y x\"'\"y "));
	size_check("{}", C, quotes, sizeof("a b '"));
	size_check("{};{}", 0, abc, sizeof("a b c;a b c"));
	size_check("echo {#} {%}", 0, none, 5 + 9 + 5);
	size_check("echo", A | Q, quotes, 5 + 4 + 2);
	is_int(knee_template_size(t, abc, 1), 2, "a word that vanishes has no size");
	is_int(knee_template_size(t, abc, 2), 4, "{1} and {2}");
	is_int(knee_template_size(t, abc, 3), 4, "what stands nowhere has none");
	knee_template_free(t);
}

/* ---- random templates ------------------------------------------------ */

/* Longer than anything that comes about by chance. */
static const char no_perl[] = "here Perl begins, here Perl ends";

/* n random bytes and a NUL, of those in from, or of all when from is NULL. */
static char *
random_text(struct rnd *r, const char *from, unsigned max)
{
	unsigned n = rnd_below(r, max + 1);
	char *s = calloc(1, n + 1);

	for (unsigned i = 0; s != NULL && i < n; i++)
		s[i] = from ? from[rnd_below(r, (unsigned)strlen(from))] : (char)(1 + rnd_below(r, 255));
	return s;
}

/* A template of words that needs no shell, or of any bytes with -q; the first is w. */
static void
random_words(struct rnd *r, bool literal, char **words, unsigned n)
{
	static const char *const forms[] = { "{}", "{.}", "{/}", "{//}", "{/.}", "{#}", "{%}", "{1}", "{2.}",
		"{3//}", "{-1}", "{-2/}", "{-3/.}" };
	static const char plain[] = "abcXYZ019_@%+:,./^- \t\xe9\xc3\xa9";

	words[0] = strdup("w");
	for (unsigned i = 1; i < n; i++) {
		struct kn_buf b = { 0 };

		for (unsigned parts = rnd_below(r, 4); parts > 0; parts--) {
			char *text = random_text(r, literal ? NULL : plain, 4);

			if (rnd_below(r, 2) == 0)
				(void)kn_buf_adds(&b, forms[rnd_below(r, sizeof(forms) / sizeof(forms[0]))]);
			else
				(void)kn_buf_adds(&b, text);
			free(text);
		}
		(void)kn_buf_addc(&b, '\0');
		words[i] = b.data;
	}
}

/* The size of a random template with one argument or more is that of what it makes. */
static void
test_random_sizes(void)
{
	static const char *const nasty = "'\" ;a=.b/";
	uint64_t seed = rnd_seed();
	struct rnd r = { .state = seed | 1 };
	unsigned wrong = 0;

	diag("seed %" PRIu64, seed);
	for (unsigned i = 0; i < 3000; i++) {
		static const unsigned flags[] = { 0, X, Q, Q | X, C, C | X };
		char *words[5], *args[5];
		unsigned nwords = 1 + rnd_below(&r, 5), nargs = 1 + rnd_below(&r, 5);
		unsigned flag = flags[rnd_below(&r, 6)];
		const struct knee_template_options o = { .flags = flag | A, .parens = no_perl };
		struct kn_fill fill = {
			.args = (const char *const *)args, .nargs = nargs, .seq = 12345678, .slot = 1234
		};
		struct kn_command c = { 0 };
		struct kn_buf script = { 0 };
		struct knee_template *t = NULL;
		size_t want = 0;

		random_words(&r, false, words, nwords);
		if (rnd_below(&r, 2) == 0)
			words[0][0] = ';';
		for (unsigned k = 0; k < nargs; k++)
			args[k] = random_text(&r, nasty, 4);
		if (knee_template_new((const char *const *)words, nwords, &o, &t, NULL, 0) < 0 ||
		    kn_template_command(t, &fill, &c) < 0 || kn_template_script(t, &fill, &script) < 0)
			wrong++;
		if (c.shell || flag & C)
			want = script.len + 1;
		else
			for (size_t k = 0; k < c.argc; k++)
				want += strlen(c.argv[k]) + 1;
		if (t != NULL && knee_template_size(t, fill.args, nargs) != want && wrong++ == 0)
			diag("size %zu, not %zu: %.*s", want, knee_template_size(t, fill.args, nargs),
			    (int)script.len, script.data);
		kn_buf_done(&script);
		kn_command_done(&c);
		knee_template_free(t);
		for (unsigned k = 0; k < nwords; k++)
			free(words[k]);
		for (unsigned k = 0; k < nargs; k++)
			free(args[k]);
	}
	is_int(wrong, 0, "random sizes");
}

/* ---- against real shells ------------------------------------------------ */

struct shell {
	const char *path;
	const char *locale;
};

static char folder[] = "/tmp/knee-test-XXXXXX";

static const char *const shell_paths[] = { "/bin/sh", "/bin/bash", "/bin/dash", "/bin/zsh", "/bin/ksh",
	"/bin/busybox" };

/* The number of words, and each with a NUL: as words_print() does, without a process. */
static const char words_function[] = "w() { printf '%s\\0' \"$(($# + 1))\"; printf '%s\\0' w \"$@\"; }\n";

/* This program under another name. */
static int
words_print(int argc, char **argv)
{
	printf("%d", argc);
	for (int i = 0; i < argc; i++) {
		putchar('\0');
		fputs(argv[i], stdout);
	}
	putchar('\0');
	return 0;
}

/* What the script prints, in *ret. */
static void
shell_run(const struct shell *shell, const char *script, struct kn_buf *ret)
{
	const char *argv[] = { shell->path, "-c", script, NULL };
	char path[64];
	char buf[65536];
	int pipes[2];
	int status;
	ssize_t n;
	pid_t pid;

	ret->len = 0;
	fflush(stdout);
	snprintf(path, sizeof(path), "PATH=%s", folder);
	if (pipe(pipes) < 0 || (pid = fork()) < 0)
		abort();
	if (pid == 0) {
		const char *const env[] = { path, shell->locale, NULL };
		const char *busybox[] = { shell->path, "sh", "-c", script, NULL };
		bool is_busybox = strcmp(shell->path, "/bin/busybox") == 0;

		dup2(pipes[1], 1);
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
		execve(shell->path, (char *const *)(is_busybox ? busybox : argv), (char *const *)env);
		_exit(127);
	}
	close(pipes[1]);
	while ((n = read(pipes[0], buf, sizeof(buf))) > 0)
		(void)kn_buf_add(ret, buf, (size_t)n);
	close(pipes[0]);
	waitpid(pid, &status, 0);
}

/* As words_print() for these. */
static void
words_add(struct kn_buf *b, char *const *argv, size_t argc)
{
	(void)kn_buf_addu(b, argc);
	for (size_t i = 0; i < argc; i++) {
		(void)kn_buf_addc(b, '\0');
		(void)kn_buf_adds(b, argv[i]);
	}
	(void)kn_buf_addc(b, '\0');
}

/* One random template with random arguments: its script and a newline to *script, the words
 * of its direct form to *want. */
static void
random_add(struct rnd *r, unsigned flags, struct kn_buf *script, struct kn_buf *want)
{
	static const char *const nasty = "'\"\\ $`;&|<>(){}[]*?!#~=\n\t-+ab.\xff\xc3\xa9/%^,:@";
	static const unsigned all[] = { 0, X, A, A | X };
	char *words[5], *args[5];
	unsigned nwords = 1 + rnd_below(r, 5), nargs = rnd_below(r, 5);
	const struct knee_template_options o = { .flags = flags | all[rnd_below(r, 4)], .parens = no_perl };
	struct kn_fill fill = { .args = (const char *const *)args, .nargs = nargs, .seq = 12, .slot = 34 };
	struct kn_command c = { 0 };
	struct knee_template *t = NULL;
	char err[64] = "";

	random_words(r, flags & Q, words, nwords);
	for (unsigned i = 0; i < nargs; i++)
		args[i] = random_text(r, rnd_below(r, 3) ? nasty : NULL, rnd_below(r, 2) ? 3 : 12);
	if (knee_template_new((const char *const *)words, nwords, &o, &t, err, sizeof(err)) == 0 &&
	    kn_template_command(t, &fill, &c) == 0 && kn_template_script(t, &fill, script) == 0) {
		if (c.shell)
			(void)kn_buf_adds(want, "not direct: ");
		words_add(want, c.argv, c.argc);
		(void)kn_buf_addc(script, '\n');
	} else {
		(void)kn_buf_adds(want, err);
	}
	kn_command_done(&c);
	knee_template_free(t);
	for (unsigned i = 0; i < nwords; i++)
		free(words[i]);
	for (unsigned i = 0; i < nargs; i++)
		free(args[i]);
}

/* Many at a time, because a shell takes long to start; a mismatch is looked for one by one. */
static void
random_check(const struct shell *shell, uint64_t seed, unsigned flags)
{
	enum { EACH = 200 };
	struct rnd r = { .state = seed | 1 };
	struct kn_buf script = { 0 }, want = { 0 }, got = { 0 };

	(void)kn_buf_adds(&script, words_function);
	for (unsigned i = 0; i < EACH; i++)
		random_add(&r, flags, &script, &want);
	(void)kn_buf_addc(&script, '\0');
	shell_run(shell, script.data, &got);
	if (!ok(got.len == want.len && memcmp(got.data, want.data, got.len) == 0,
		"%s %s sees the words of direct execution, flags %u", shell->path, shell->locale, flags)) {
		r.state = seed | 1;
		for (unsigned i = 0; i < EACH; i++) {
			script.len = sizeof(words_function) - 1;
			want.len = 0;
			random_add(&r, flags, &script, &want);
			(void)kn_buf_addc(&script, '\0');
			shell_run(shell, script.data, &got);
			if (got.len == want.len && memcmp(got.data, want.data, got.len) == 0)
				continue;
			tap_differ("script:", script.data, script.len - 1);
			tap_differ("want:", want.data, want.len);
			tap_differ("got:", got.data, got.len);
			break;
		}
	}
	kn_buf_done(&script);
	kn_buf_done(&want);
	kn_buf_done(&got);
}

/* A folder of links to this program, under the names that commands will have. */
static const char *const links[] = { "if", "then", "{", "}", "!", "[[", "time", "case", "for", "function",
	"select", "until", "-x", "+x", "--", "A=b", "=x", "~", "#", "*", "a b", "x;y", "%1", "\xff", "'",
	"$x", "done", "in" };

static bool
is_link(const char *path)
{
	const char *slash = strrchr(path, '/');

	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (strcmp(slash ? slash + 1 : path, links[i]) == 0)
			return true;
	return false;
}

/* Every name in front, where it is no syntax but a program: folder has one for each. */
static void
names_run(const struct shell *shell)
{
	static const char *const typed[] = { "{}", NULL };
	unsigned wrong = 0;

	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		const char *const args[] = { links[i], "x", NULL };
		struct kn_command c = { 0 };
		struct kn_buf got = { 0 }, want = { 0 };

		(void)kn_buf_adds(&want, "2");
		for (size_t k = 0; k < 2; k++) {
			(void)kn_buf_addc(&want, '\0');
			(void)kn_buf_adds(&want, args[k]);
		}
		(void)kn_buf_addc(&want, '\0');
		if (!command_make(typed, i % 2 ? X : 0, args, &c)) {
			wrong++;
		} else if (c.shell) {
			shell_run(shell, c.text.data, &got);
			if (got.len != want.len || memcmp(got.data, want.data, got.len) != 0) {
				tap_differ("script:", c.text.data, c.text.len);
				tap_differ("got:", got.data, got.len);
				wrong++;
			}
		} else if (c.argc != 2 || strcmp(c.argv[0], links[i]) != 0) {
			wrong++;
		}
		kn_command_done(&c);
		kn_buf_done(&got);
		kn_buf_done(&want);
	}
	is_int(wrong, 0, "%s runs programs with the names of syntax", shell->path);
}

/* Each byte alone, doubled and among others, quoted, in one script. */
static void
quotes_run(const struct shell *shell)
{
	struct kn_buf script = { 0 }, want = { 0 }, got = { 0 };
	static char w[] = "w";

	(void)kn_buf_adds(&script, words_function);
	for (unsigned i = 1; i < 256; i++) {
		char c = (char)i;
		char one[] = { c, '\0' }, two[] = { c, c, '\0' }, mid[] = { 'a', c, 'b', '\0' };
		char mixed[] = { '\'', c, '\'', c, '\'', '\'', '\0' };
		char *const argv[] = { w, one, two, mid, mixed };

		for (size_t k = 0; k < 5; k++) {
			char *text = NULL;

			(void)knee_quote(argv[k], &text);
			(void)kn_buf_adds(&script, text ? text : "failed");
			(void)kn_buf_addc(&script, k < 4 ? ' ' : '\n');
			free(text);
		}
		words_add(&want, argv, 5);
	}
	(void)kn_buf_addc(&script, '\0');
	shell_run(shell, script.data, &got);
	is_mem(got.data, got.len, want.data, want.len, "%s %s reads back every byte", shell->path,
	    shell->locale);
	kn_buf_done(&script);
	kn_buf_done(&want);
	kn_buf_done(&got);
}

static bool
folder_make(void)
{
	char self[4096], path[64];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0 || mkdtemp(folder) == NULL)
		return false;
	self[n] = '\0';
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, links[i]);
		if (symlink(self, path) < 0)
			return false;
	}
	return true;
}

static void
folder_remove(void)
{
	char path[64];

	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, links[i]);
		unlink(path);
	}
	rmdir(folder);
}

static void
test_shells(void)
{
	static const char *const locales[] = { "LC_ALL=C", "LC_ALL=C.UTF-8" };
	uint64_t seed = rnd_seed();

	if (!ok(folder_make(), "a folder in /tmp"))
		return;
	diag("seed %" PRIu64, seed);
	for (size_t i = 0; i < sizeof(shell_paths) / sizeof(shell_paths[0]); i++) {
		struct shell shell = { .path = shell_paths[i] };

		if (access(shell.path, X_OK) < 0) {
			diag("no %s here", shell.path);
			continue;
		}
		for (size_t k = 0; k < 2; k++) {
			shell.locale = locales[k];
			quotes_run(&shell);
			for (unsigned round = 0; round < 3; round++) {
				random_check(&shell, seed + 2 * round, 0);
				random_check(&shell, seed + 2 * round, Q);
			}
		}
		/* busybox has programs of its own by some of the names, and they go first. */
		if (strcmp(shell.path, "/bin/busybox") != 0)
			names_run(&shell);
	}
	folder_remove();
}

/* ---- failing memory ----------------------------------------------------- */

/* Parse, fill and expand in all ways. 0, or the error. */
static int
everything(unsigned flags, const char *typed)
{
	static const char *const args[] = { "a 'long' argument that does not fit into the first piece", "if",
		"c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q" };
	const char *const words[] = { typed, "{.}{/}{#}{%} x", "", "{1} {2} {3} {4} {5} {6} {7} {8}" };
	const struct knee_template_options o = { .flags = flags };
	const struct kn_fill fill = { .args = args, .nargs = 17, .seq = 1, .slot = 1 };
	struct knee_template *t = NULL;
	struct kn_command c = { 0 };
	struct kn_buf script = { 0 };
	char *text = NULL, *quoted = NULL;
	int err = knee_template_new(words, 4, &o, &t, NULL, 0);

	if (err == 0)
		err = kn_template_command(t, &fill, &c);
	if (err == 0)
		err = kn_template_script(t, &fill, &script);
	if (err == 0)
		err = knee_template_expand(t, args, 17, 1, 1, &text);
	if (err == 0)
		err = knee_quote(args[0], &quoted);
	free(quoted);
	free(text);
	kn_buf_done(&script);
	kn_command_done(&c);
	knee_template_free(t);
	return err;
}

static void
test_memory(void)
{
	static const unsigned flags[] = { 0, X, A, Q, Q | X, C, T };
	static const char *const typed[] = { "echo", "echo;", "{2}", "-x" };

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		for (size_t k = 0; k < sizeof(typed) / sizeof(typed[0]); k++) {
			unsigned wrong = 0;
			int err;

			for (alloc_fail_at = 1;; alloc_fail_at++) {
				alloc_count = 0;
				err = everything(flags[i], typed[k]);
				if (alloc_count < alloc_fail_at)
					break;
				if (err != -ENOMEM)
					wrong++;
			}
			ok(wrong == 0 && err == 0 && alloc_fail_at > 5,
			    "each of %zu allocations failed, flags %u, '%s'", alloc_fail_at - 1, flags[i],
			    typed[k]);
			alloc_fail_at = 0;
		}
	}
}

int
main(int argc, char **argv)
{
	if (is_link(argv[0]))
		return words_print(argc, argv);
	test_forms();
	test_places();
	test_words();
	test_several();
	test_literal();
	test_replacement();
	test_names();
	test_errors();
	test_quote();
	test_direct();
	test_direct_bytes();
	test_direct_literal();
	test_reuse();
	test_sizes();
	test_random_sizes();
	test_shells();
	test_memory();
	return done_testing();
}
