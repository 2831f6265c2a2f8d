#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make completions/knee.bash and completions/_knee from the text of knee --help and knee hosts --help.

    tools/completions.py KNEE           write both files
    tools/completions.py --check KNEE   say which one is out of date; status 1 then
"""

import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / 'completions'

# What a value can be, by the name that the help gives it. Others are free text.
FILES, FOLDERS, LOGINS = 'FILE', 'DIR', 'LOGINS'
# What may be said several times.
REPEATED = {'-a', '-S', '--slf', '--env', '--transferfile', '--return', '--trc', '--basefile'}
WORDS = {
    'n|l|r|lr': ['n', 'l', 'r', 'lr'],
    ':': [':'],
    'HOW': ['line', 'nul', 'length'],
    'WHERE': ['slurm', 'slurm:'],
    'KIND': ['cpu', 'disk', 'net', 'wait'],
    'WHEN': ['always', 'auto', 'never'],
    'WHEN,WHY': ['never', 'now,fail=1', 'soon,fail=1', 'now,success=1', 'soon,done=50%'],
    'LIST': ['TERM,200,TERM,100,TERM,50,KILL', 'INT,1000,TERM,1000,KILL'],
}

COLUMN = 30                 # where the help's texts begin, but for long names: behind the next blank
LINE = re.compile(r'^ {2,6}(-[\w-]+(?:, -[\w-]+)*)(?:(\[=| )(\S+?)\]?)? *$')


def options(text):
    """Every option of the help: (names, value or None, optional, what it does)."""
    found = []
    for line in text.splitlines():
        at = COLUMN if line[COLUMN - 1:COLUMN] == ' ' else line.find(' ', COLUMN) + 1
        match = LINE.match(line[:at]) if line[at:at + 1].strip() else None
        if match:
            names, kind, value = match.groups()
            found.append((names.split(', '), value, kind == '[=', line[at:]))
    return found


def bash(table, hosts):
    takes = [n for names, value, optional, _ in table if value and not optional for n in names]
    every = [n for names, *_ in table for n in names]
    cases = []
    for names, value, *_ in table:
        if value == FILES:
            action = 'mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames'
        elif value == FOLDERS:
            action = 'mapfile -t COMPREPLY < <(compgen -d -- "$cur"); compopt -o filenames'
        elif value == LOGINS:
            action = 'mapfile -t COMPREPLY < <(compgen -A hostname -- "$cur")'
        elif value in WORDS:
            action = f'mapfile -t COMPREPLY < <(compgen -W \'{" ".join(WORDS[value])}\' -- "$cur")'
        else:
            continue
        cases.append(f'\t\t{"|".join(names)})\n\t\t\t{action} ;;\n')
    return f'''# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Completion of knee for bash. Made by tools/completions.py from the text of knee --help.

_knee()
{{
	local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} i=1
	local takes=' {" ".join(takes)} ' equals=

	# The shell cuts --trim=l into three words.
	if [ "$cur" = = ]; then
		cur='' equals=yes
	elif [ "$prev" = = ]; then
		prev=${{COMP_WORDS[COMP_CWORD-2]}}
	fi
	if [ "${{COMP_WORDS[1]}}" = hosts ] && [ "$COMP_CWORD" -gt 1 ]; then
		if [ "$prev" = --slf ] || [ "$prev" = --sshloginfile ]; then
			mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames
		elif [[ $cur == -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W '{" ".join(n for names, *_ in hosts for n in names)}' -- "$cur")
		else
			mapfile -t COMPREPLY < <(compgen -A hostname -- "$cur")
		fi
		return
	fi
	# Where the options end the command begins: its name, then names of files.
	if [ "${{COMP_WORDS[1]}}" = run ] && [ "$COMP_CWORD" -gt 1 ]; then
		i=2
	fi
	while [ "$i" -lt "$COMP_CWORD" ]; do
		case ${{COMP_WORDS[i]}} in
		-*)	;;
		=)	i=$((i + 2))
			continue ;;
		*)	mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			compopt -o filenames
			return ;;
		esac
		if [[ $takes == *" ${{COMP_WORDS[i]}} "* && ${{COMP_WORDS[i+1]}} != = ]]; then
			i=$((i + 1))
		fi
		i=$((i + 1))
	done
	COMPREPLY=()
	if [ "$i" -gt "$COMP_CWORD" ] || [ "$equals" ]; then
		case $prev in
{"".join(cases)}		esac
	elif [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W '{" ".join(every)}' -- "$cur")
	else
		mapfile -t COMPREPLY < <(compgen -c -- "$cur")
	fi
}}
complete -F _knee knee
'''


def zsh_action(value):
    if value == FILES:
        return '_files'
    if value == FOLDERS:
        return '_directories'
    if value == LOGINS:
        return '_hosts'
    return f'({" ".join(WORDS[value])})' if value in WORDS else ''


def zsh_spec(names, value, optional, about):
    """One line for _arguments, whose own signs in the text are quoted."""
    about = re.sub(r'([\[\]:\\])', r'\\\1', about).replace("'", "'\\''")
    behind = ''
    if value:
        action = zsh_action(value).replace(':', '\\:')
        behind = f'{"::" if optional else ":"}{value.replace(":", "text")}:{action}'
    shown = [n + ('' if not value else '-' if optional and n[1] != '-' else '=-' if optional
                  else '=' if n.startswith('--') else '+') for n in names]
    again = REPEATED & set(names)
    if len(names) == 1:
        return f"'{'*' if again else ''}{shown[0]}[{about}]{behind}'"
    others = '*' if again else f"({' '.join(names)})"
    return f"'{others}'{{{','.join(shown)}}}'[{about}]{behind}'"


def zsh(table, hosts):
    specs = ' \\\n\t'.join(zsh_spec(*option) for option in table)
    hosts_specs = ' \\\n\t\t'.join(zsh_spec(*option) for option in hosts)
    return f'''#compdef knee
# SPDX-License-Identifier: MIT
# Completion of knee for zsh. Made by tools/completions.py from the text of knee --help.

if (( CURRENT > 2 )) && [[ $words[2] == hosts ]]; then
	shift words
	(( CURRENT-- ))
	_arguments -s \\
		{hosts_specs} \\
		'*:host:_hosts'
	return
fi
_arguments -s -S \\
	{specs} \\
	'(-)1:command: _command_names -e' \\
	'*::argument: _normal'
'''


def main(args):
    check = '--check' in args
    args = [a for a in args if a != '--check']
    if len(args) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    text = subprocess.run([args[0], '--help'], capture_output=True, text=True, check=True).stdout
    table = options(text)
    text = subprocess.run([args[0], 'hosts', '--help'], capture_output=True, text=True, check=True).stdout
    hosts = options(text)
    status = 0
    for name, content in ('knee.bash', bash(table, hosts)), ('_knee', zsh(table, hosts)):
        path = FOLDER / name
        if not check:
            path.write_text(content)
        elif not path.exists() or path.read_text() != content:
            print(f'completions/{name} is out of date: run tools/completions.py {args[0]}')
            status = 1
    return status


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
