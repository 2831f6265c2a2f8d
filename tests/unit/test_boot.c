/* SPDX-License-Identifier: MIT */
/*
 * The beginning of a far end, as text: tests/cli/test_boot.py runs it. With an argument, for that:
 *
 *	test_boot script     what sh -c gets
 *	test_boot command    the same for any login shell
 *	test_boot program    the static program, all its bytes
 */
#include "../../cli/boot.c"

#include <string.h>

#include "tap.h"

static int
print(const char *what)
{
	char *text = NULL;
	size_t size = 0;
	const void *program = boot_program(&size);

	if (strcmp(what, "program") == 0)
		return size > 0 && fwrite(program, 1, size, stdout) != size;
	if ((strcmp(what, "script") == 0 ? boot_script(&text) : boot_command(&text)) < 0)
		return 1;
	fputs(text, stdout);
	free(text);
	return 0;
}

int
main(int argc, char **argv)
{
	char *script = NULL, *command = NULL;
	size_t size;
	const char *program = boot_program(&size);

	if (argc > 1)
		return print(argv[1]);
	ok((program != NULL) == (size > 0), "a program has bytes: %zu", size);
	if (program != NULL)
		is_mem(program, 4, "\177ELF", 4, "and is one");
	is_int(boot_script(&script), 0, "the script");
	ok(strpbrk(script, "'\\!\n\t") == NULL, "has nothing that another shell would read in quotes");
	is_int(boot_command(&command), 0, "the command");
	ok(strncmp(command, "exec sh -c 'echo; ", 18) == 0 && command[strlen(command) - 1] == '\'',
	    "is that, quoted");
	ok(strlen(command) < 4000, "and short: %zu bytes", strlen(command));
	free(script);
	free(command);
	return done_testing();
}
