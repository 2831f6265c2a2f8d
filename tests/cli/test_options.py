# SPDX-License-Identifier: MIT
"""The command line: names of options and their values, messages, faces, $KNEE and config
files, --help, and that the manual, the completions and the table name the same options."""

import re
import shutil
import sys

from kneetest import *

sys.dont_write_bytecode = True

MANUAL = ROOT / 'man/knee.1'
NAME = re.compile(r'-{1,2}[A-Za-z0-9][A-Za-z0-9-]*')


def help_lines():
    return knee('--help').out.decode().splitlines()


def help_names():
    """Every name of an option in --help."""
    names = set()
    for line in help_lines():
        if re.match(r' {2,6}-', line):
            names.update(re.findall(r'(?:^|[ ,])(-{1,2}[\w-]+)', line[:30]))
    return names


class Said(unittest.TestCase):
    """What is said when something is wrong: one line, what and why, status 255."""

    def refused(self, args, message, face='knee', **more):
        r = knee(*args, face=face, **more)
        self.assertEqual((r.out, r.err.decode(), r.status), (b'', f'{face}: {message}\n', 255))

    def test_unknown_names_the_nearest(self):
        self.refused(['--joobs', '3'], "--joobs: no such option; --jobs is near: try 'knee --help'")
        self.refused(['--keep-odrer'], "--keep-odrer: no such option; --keep-order is near: try 'knee --help'")
        self.refused(['--qqqqqqqq'], "--qqqqqqqq: no such option: try 'knee --help'")
        self.refused(['-kZ'], "-Z: no such option: try 'knee --help'")
        self.refused(['--jbos=3'], "--jbos: no such option; --jobs is near: try 'parallel --help'", 'parallel')

    def test_ambiguous(self):
        self.refused(['--max-'], '--max-: could be any of --max-args, --max-replace-args, --max-lines, '
                     '--max-chars, --max-line-length-allowed')

    def test_later(self):
        for option in ('--pipe', '-J', '--plus', '--cat', '--compress', '--pipepart', '--profile'):
            self.refused([option, 'x'], f'{option.split("=")[0]}: not in this version')

    def test_lacking(self):
        for option in ('--tollef', '--csv', '--tmux', '--rpl', '-M', '-B', '--number-of-cores', '--tty'):
            self.refused([option, 'x'],
                         f'{option}: an option of GNU parallel that knee does not have')

    def test_subcommands_later(self):
        for word in ('migrate', 'report'):
            self.refused([word, 'x'],
                         f'{word}: not in this version; a command of that name: knee run {word}')

    def test_values(self):
        for args, message in (
                (['--timeout', 'abc'], "--timeout: 'abc' is not a duration: use 10, 1.5s, 2m, 1h or 200%"),
                (['--timeout'], '--timeout: needs a value: TIME|N%'),
                (['--delay=-1'], "--delay: '-1' is not a duration: use 10, 1.5s, 2m or 500ms"),
                (['-j', 'x'], "-j: 'x' is not a number of tasks: use auto, auto:16, 2..16, 8, 0, 50%, +2, "
                 '-1 or a file that says it'),
                (['-j', 'auto:x'], "-j: 'auto:x' is not a number of tasks: use auto, auto:16, 2..16, 8, 0, "
                 '50%, +2, -1 or a file that says it'),
                (['-j', '5..2'], "-j: '5..2': the least is more than the most, or too many"),
                (['-j', '/tmp'], "-j: '/tmp' is not a file with a number of tasks"),
                (['-j', '/dev/null'], "-j: '/dev/null' is not a file with a number of tasks"),
                (['--kind', 'gpu'], "--kind: 'gpu' is none of cpu, disk, net, wait"),
                (['--load', 'x'], "--load: 'x' is not a load: use 4, 2.5, 50%, +2 or -1"),
                (['--memfree', 'x'], "--memfree: 'x' is not a size: use 500M or 2G"),
                (['--memsuspend', '9999999P'], "--memsuspend: '9999999P' is too large"),
                (['--busy-exit', 'x'], "--busy-exit: 'x' is not a list of statuses: use 75 or 75,100-103"),
                (['--busy-exit', '0'], "--busy-exit: '0': a status is from 1 to 255, a range rises"),
                (['--limit', '--silent'], "--limit: '--silent' is an option, not a command"),
                (['--limit', ' '], '--limit: an empty command says nothing'),
                (['--limit', 'mem x'], "--limit: 'x' is not a size: use 500M or 2G"),
                (['--limit', 'load x'], "--limit: 'x' is not a load: use 4, 2.5, 50%, +2 or -1"),
                (['--limit', 'io 50'], "--limit: 'io' is not there: use 'mem SIZE', 'load N', or a command "
                 'whose status is 0 (start), 1 (not now) or 2 (end the youngest)'),
                (['-P99999999999'], "-P: '99999999999' is too many: 0 stands for as many as possible"),
                (['--group=few'], "--group: 'few': auto, or nothing"),
                (['--ungroup=auto'], '--ungroup: takes no value'),
                (['-n', 'x'], "-n: 'x' is not a number: use 10 or 4k"),
                (['-s0'], "-s: '0' is too small: at least 1"),
                (['-N99999999999999999999'], "-N: '99999999999999999999' is too large"),
                (['-d', 'ab'], "-d: 'ab' is not one byte: use , or \\n, \\t, \\0, \\x1f, \\037"),
                (['--nice', '20'], "--nice: '20' is not a niceness: from -20 to 19"),
                (['--trim', 'x'], "--trim: 'x' is none of n, l, r, lr"),
                (['--color=red'], "--color: 'red' is none of always, auto, never"),
                (['--halt', 'soon'], "--halt: 'soon' is not WHEN,WHY=N: use never, now,fail=1, "
                 'soon,success=3 or now,done=50%'),
                (['--halt', 'now,fail=0'], "--halt: 'now,fail=0': the number is from 1 up, the "
                 'percentage up to 100%'),
                (['--term-seq', 'FOO'], "--term-seq: 'FOO' is not a list SIGNAL,MILLISECONDS,...: "
                 'use TERM,200,KILL'),
                (['--retries', 'x'], "--retries: 'x' is not a number of attempts: use 3, or 0 for no end"),
                (['--parens', 'abc'], "--parens: 'abc' does not halve into a left and a right parenthesis"),
                (['--tmpdir', '/nonexistent'], "--tmpdir: '/nonexistent': No such file or directory"),
                (['--process-slot-var', 'a=b'], "--process-slot-var: 'a=b' is not the name of a variable"),
                (['--arg-sep', ',', '--arg-file-sep', ',+'],
                 "--arg-sep ',' and --arg-file-sep ',+' cannot be told apart")):
            self.refused(args, message)

    def test_control_bytes_are_shown(self):
        self.refused(['--a\nb\x1b[31m\t'], "--a\\nb\\x1B[31m\\t: no such option: try 'knee --help'")
        r = knee('--trim', b'\xff\xc3\xa9')
        self.assertEqual(r.err, b"knee: --trim: '\xff\xc3\xa9' is none of n, l, r, lr\n")

    def test_every_option_of_gnu_parallel_is_known(self):
        if GNU is None:
            self.skipTest('GNU parallel is not installed')
        with open(GNU, errors='replace') as f:
            text = f.read()
        table = text[text.index('sub options_completion_hash'):text.index('sub get_options_from_array')]
        table = re.sub(r'^#.*$', '', table, flags=re.M)
        names = set()
        # A name list stands at the start of a string, up to its kind or its explanation.
        for entry in re.findall(r"""^[\t ]+\(?["']([\w|-]+?)(?:[=:][sif])?(?:["'\[]|$)""", table, re.M):
            names.update(name for name in entry.strip('|').split('|') if name)
        self.assertGreater(len(names), 200)
        for name in sorted(names):
            option = f'-{name}' if len(name) == 1 else f'--{name}'
            # Options that can do without a value would go on; a wrong one behind them does not.
            r = knee(option, '--no-such-option', input=None, cwd=scratch())
            self.assertNotIn(f'{option}: no such', r.err.decode(), option)
            self.assertNotIn(f'{option}: could be', r.err.decode(), option)


class Words(unittest.TestCase):
    """How the words of the command line are told apart."""

    def out(self, *args, **more):
        r = knee(*args, **more)
        self.assertEqual((r.err, r.status), (b'', 0))
        return r.out

    def test_options_end_at_the_first_word(self):
        self.assertEqual(self.out('echo', '-k', '--nonsense', ':::', 'a'), b'-k --nonsense a\n')

    def test_dashes_end_options(self):
        self.assertEqual(self.out('-k', '--', 'echo', '--', ':::', 'a'), b'-- a\n')
        r = knee('--', '-k', ':::', 'a')
        self.assertEqual((r.out, r.status), (b'', 1))

    def test_bundles_and_values(self):
        for args in (['-kj4'], ['-kj', '4'], ['-k', '--jobs=4'], ['-k', '--jobs', '4'], ['-kP4'],
                     ['--keeporder', '--maxprocs', '4'], ['--keep', '--max-p=4']):
            self.assertEqual(self.out(*args, 'echo', ':::', 'a', 'b'), b'a\nb\n', args)

    def test_optional_values_are_attached(self):
        self.assertEqual(self.out('-i', 'echo', '{}', ':::', 'a'), b'a\n')
        self.assertEqual(self.out('-i%', 'echo', '%', ':::', 'a'), b'a\n')
        self.assertEqual(self.out('--replace=%', 'echo', '%', ':::', 'a'), b'a\n')
        self.assertEqual(self.out('-l', 'echo', ':::', 'a', 'b'), b'a\nb\n')
        self.assertEqual(self.out('-l2', 'echo', ':::', 'a', 'b'), b'a b\n')
        self.assertEqual(self.out('-e', 'echo', ':::', 'a', 'b'), b'a\nb\n')
        self.assertEqual(self.out('-eb', 'echo', ':::', 'a', 'b'), b'a\n')

    def test_separators(self):
        self.assertEqual(self.out('--arg-sep', ',,', 'echo', ':::', ',,', 'a', 'b'), b'::: a\n::: b\n')
        self.assertEqual(self.out('echo', ':::', input=b'never\n'), b'')
        self.assertEqual(self.out('echo', '::::', input=b'never\n'), b'')
        self.assertEqual(self.out('echo', '::::', '-', input=b'a\n'), b'a\n')
        self.assertEqual(self.out(':::', 'echo a', 'echo b'), b'a\nb\n')

    def test_run(self):
        self.assertEqual(self.out('run', '-k', 'echo', ':::', 'a'), b'a\n')
        self.assertEqual(self.out('run', '--dry-run', 'log', ':::', 'a'), b'log a\n')
        self.assertEqual(self.out('--dry-run', 'log', ':::', 'a'), b'log a\n')
        self.assertEqual(self.out('--dry-run', 'run', ':::', 'a', face='parallel'), b'run a\n')

    def test_few_cores_leave_at_least_one(self):
        self.assertEqual(self.out('-j', '-500', 'echo', ':::', 'a'), b'a\n')
        self.assertEqual(self.out('-j0', 'echo', ':::', 'a'), b'a\n')

    def test_tag_with_other_replacement(self):
        self.assertEqual(self.out('--tag', '-I%', 'echo', 'x%', ':::', 'a'), b'a\txa\n')
        self.assertEqual(self.out('--tagstring', r'<{}>\t|', 'echo', ':::', 'a'), b'<a>\t|\ta\n')

    def test_harmless(self):
        self.assertEqual(self.out('--gnu', '--will-cite', '--no-notice', 'echo', ':::', 'a'), b'a\n')
        self.assertEqual(self.out('--citation'), b'knee asks for no citation.\n')

    def test_stdin_closed(self):
        # Nothing to read is an error, not a hang; with ::: nobody asks.
        r = run(['sh', '-c', 'exec "$0" "$@" <&-', *knee_argv('echo', ':::', 'a')])
        self.assertEqual((r.out, r.err, r.status), (b'a\n', b'', 0))


class Faces(unittest.TestCase):
    def test_version(self):
        for face in ('knee', 'parallel'):
            r = knee('--version', face=face)
            self.assertRegex(r.out.decode(), r'\Aknee \d+\.\d+\.\d+\n[^\n]+\n\Z')
            self.assertEqual((r.err, r.status), (b'', 0))

    def test_order(self):
        # a ends when knee has seen the end of b: when its process is no longer there.
        args = ['-j2', 'if [ {} = b ]; then echo $$ >new; mv new b; else until [ -e b ]; do sleep 0.01; '
                'done; while kill -0 $(cat b); do sleep 0.01; done 2>/dev/null; fi; echo {}', ':::', 'a', 'b']
        self.assertEqual(knee(*args, cwd=scratch()).out, b'a\nb\n')
        self.assertEqual(knee(*args, cwd=scratch(), face='parallel').out, b'b\na\n')
        self.assertEqual(knee('-k', *args, cwd=scratch(), face='parallel').out, b'a\nb\n')
        self.assertEqual(knee('--unordered', *args, cwd=scratch()).out, b'b\na\n')

    def test_sem(self):
        for face, words in ('sem', ()), ('knee', ('sem',)):
            r = knee(*words, '--help', face=face)
            self.assertTrue(r.out.startswith(b'Usage: sem '), r)
            self.assertEqual((r.err, r.status), (b'', 0))

    def test_full_disk_is_no_success(self):
        with open('/dev/full', 'wb') as full:
            r = knee('--help', stdout=full)
        self.assertEqual((r.err, r.status), (b'knee: standard output: No space left on device\n', 255))


class Config(unittest.TestCase):
    """$KNEE, $PARALLEL, config files: the later one wins, the command line most of all."""

    def setUp(self):
        self.home = scratch()

    def write(self, path, text):
        path = os.path.join(self.home, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as f:
            f.write(text)
        return path

    def tag(self, *args, face='knee', **env):
        r = knee(*args, 'echo', ':::', 'x', face=face, env={'HOME': self.home, **env})
        self.assertEqual((r.err, r.status), (b'', 0))
        return r.out.decode()

    def test_order_of_places(self):
        self.assertEqual(self.tag(), 'x\n')
        self.write('.config/knee/config', '# mine\n\n  --tagstring file  # why\n-j1 -k\n')
        self.assertEqual(self.tag(), 'file\tx\n')
        self.assertEqual(self.tag(KNEE='--tagstring var'), 'var\tx\n')
        self.assertEqual(self.tag('--tagstring', 'word', KNEE='--tagstring var'), 'word\tx\n')
        self.write('xdg/knee/config', '--tagstring xdg')
        self.assertEqual(self.tag(XDG_CONFIG_HOME=os.path.join(self.home, 'xdg')), 'xdg\tx\n')
        self.assertEqual(self.tag(XDG_CONFIG_HOME='xdg'), 'file\tx\n')

    def test_faces_have_their_own(self):
        self.write('.config/knee/config', '--tagstring knee\n')
        self.assertEqual(self.tag(face='parallel', KNEE='--nonsense'), 'x\n')
        self.write('.parallel/config', '--tagstring parallel\n')
        self.assertEqual(self.tag(face='parallel'), 'parallel\tx\n')
        self.assertEqual(self.tag(face='parallel', PARALLEL='--tagstring var'), 'var\tx\n')
        self.assertEqual(self.tag(PARALLEL='--nonsense'), 'knee\tx\n')

    def test_no_home(self):
        for home in (None, '', '/nonexistent', '/dev/null'):
            r = knee('echo', ':::', 'x', env={'HOME': home})
            self.assertEqual((r.out, r.err, r.status), (b'x\n', b'', 0))

    def test_words_are_split_as_in_a_shell(self):
        for text, tag in ((r"--tagstring 'a b'", 'a b'), (r'--tagstring "a \" b"', 'a " b'),
                          (r'--tagstring a\ b', 'a b'), (r'--tagstring=a"b"'"'c'", 'abc'),
                          (r'''--tagstring "'#$HOME"''', "'#$HOME"), ('-k\t--tagstring\tq', 'q'),
                          ('--tagstring a#b', 'a#b'), (r"--tagstring q'' -E ''", 'q')):
            self.assertEqual(self.tag(KNEE=text), f'{tag}\tx\n', text)

    def test_errors_name_the_place(self):
        path = self.write('.config/knee/config', '-k\n--foo\n')
        env = {'HOME': self.home}
        r = knee('echo', env=env)
        self.assertEqual((r.err.decode(), r.status),
                         (f"knee: {path}:2: --foo: no such option: try 'knee --help'\n", 255))
        self.write('.config/knee/config', "-k\n\n--tag 'x\n")
        self.assertEqual(knee('echo', env=env).err.decode(), f'knee: {path}:3: a quote without end\n')
        self.write('.config/knee/config', 'nice\n')
        self.assertEqual(knee('echo', env=env).err.decode(),
                         f"knee: {path}:1: 'nice' is no option: only options may stand here\n")
        os.remove(path)
        os.mkdir(path)
        self.assertEqual(knee('echo', env=env).err.decode(), f'knee: {path}: Is a directory\n')
        r = knee('echo', env={'KNEE': '-j x'})
        self.assertEqual((r.err, r.status), (b"knee: $KNEE: -j: 'x' is not a number of tasks: use auto, "
                                             b'auto:16, 2..16, 8, 0, 50%, +2, -1 or a file that says it\n',
                                             255))


class Terminal(unittest.TestCase):
    def test_nothing_to_do(self):
        with Pty() as t:
            self.assertEqual(t.finish(), 255)
            self.assertEqual(t.data, b"knee: no command: use knee COMMAND ::: INPUT..., or try "
                                     b"'knee --help'\n")

    def test_inputs_from_the_terminal(self):
        with Pty('echo', stdout=subprocess.DEVNULL) as t:
            t.read_until(b'knee: reading inputs from the terminal; end with Ctrl-D\n')
            t.send(b'a\n\x04')
            self.assertEqual(t.finish(), 0)

    def test_no_note_when_not_reading(self):
        with Pty('--no-progress', 'echo', ':::', 'a') as t:
            self.assertEqual(t.finish(), 0)
            self.assertEqual(t.data, b'a\n')


class Documents(unittest.TestCase):
    """--help, the manual and the completions come from, or agree with, one table."""

    def test_help_is_narrow_and_complete(self):
        for face in ('knee', 'parallel'):
            r = knee('--help', face=face)
            self.assertEqual((r.err, r.status), (b'', 0))
            lines = r.out.decode('ascii').splitlines()
            self.assertLessEqual(max(map(len, lines)), 80)
            self.assertTrue(lines[0].startswith(f'Usage: {face} '))
            self.assertNotIn('\t', r.out.decode())
        self.assertGreater(len(help_names()), 80)

    def test_every_option_in_help_is_taken(self):
        for name in help_names():
            r = knee(name, '--no-such-option', input=None, cwd=scratch())
            self.assertNotIn(f'{name}: no such', r.err.decode(), name)

    def test_manual_has_every_option(self):
        if shutil.which('mandoc') is None:
            self.skipTest('mandoc is not installed')
        text = subprocess.run(['mandoc', '-Tascii', '-Owidth=200', MANUAL], capture_output=True,
                              check=True).stdout.decode()
        text = re.sub('.\b', '', text)
        part = text[text.index('\nOPTIONS\n'):text.index('\nENVIRONMENT\n')]
        heads = [line for line in part.splitlines() if re.match(r' {5}-', line)]
        named = set()
        for line in heads:
            # "-l[n], --max-lines[=n]", or a short list's text on the same line
            line = re.split(r' {2,}', line.strip())[0]
            named.update(re.findall(r'(?:^|, )(-{1,2}[A-Za-z0-9][\w-]*?)(?=[\[ =,]|$)', line))
        hidden = {'--max-procs', '--no-keep-order'}
        self.assertEqual(named - hidden, help_names())

    def test_manual_lint(self):
        if shutil.which('mandoc') is None:
            self.skipTest('mandoc is not installed')
        r = subprocess.run(['mandoc', '-Tlint', '-Wwarning', MANUAL], capture_output=True)
        self.assertEqual((r.stdout, r.returncode), (b'', 0))

    def test_manual_examples_run(self):
        source = MANUAL.read_text()
        part = source[source.index('.Sh EXAMPLES'):source.index('.Sh COMPATIBILITY')]
        examples = re.findall(r'^\.Bd .*\n((?:.*\n)+?)\.Ed$', part, re.M)
        self.assertGreater(len(examples), 6)
        folder = scratch()
        bin = os.path.join(folder, 'bin')
        os.mkdir(bin)
        with open(os.path.join(bin, 'knee'), 'w') as f:
            f.write(f'#!/bin/sh\nexec {" ".join(knee_argv())} "$@"\n')
        os.chmod(os.path.join(bin, 'knee'), 0o755)
        for example in examples:
            work = scratch()
            for name in ('a', 'b'):
                with open(os.path.join(work, f'{name}.log'), 'w') as f:
                    f.write('2\n1\n')
            r = run(['sh', '-ec', example.replace(r'\e', '\\')], cwd=work,
                    env={'PATH': f'{bin}:{os.environ["PATH"]}'})
            self.assertEqual((r.err, r.status), (b'', 0), example)

    def test_completions_are_up_to_date(self):
        r = subprocess.run([sys.executable, '-B', ROOT / 'tools/completions.py', '--check', KNEE],
                           capture_output=True)
        self.assertEqual((r.stdout + r.stderr, r.returncode), (b'', 0))

    def test_zsh_completion_of_what_is_said_again(self):
        text = (ROOT / 'completions/_knee').read_text()
        for spec in '-a+,', '-S+,', '--slf=,', '--env=', '--transferfile=', '--return=', '--trc=', '--basefile=,':
            self.assertRegex(text, rf"\n\t'\*('{{)?{re.escape(spec)}")

    def complete(self, *words):
        """What bash offers for the last of these words."""
        script = ('source "$1"; shift; compopt() { :; }; HOSTFILE=hosts; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
                  '_knee; printf "%s\\n" "${COMPREPLY[@]}"')
        r = subprocess.run(['bash', '-c', script, 'bash', ROOT / 'completions/knee.bash', 'knee', *words],
                           capture_output=True, cwd=self.folder, check=True)
        self.assertEqual(r.stderr, b'')
        return set(r.stdout.decode().split('\n')) - {''}

    def test_bash_completion(self):
        if shutil.which('bash') is None:
            self.skipTest('bash is not installed')
        self.folder = scratch()
        for name in ('one file', 'other'):
            with open(os.path.join(self.folder, name), 'w'):
                pass
        with open(os.path.join(self.folder, 'hosts'), 'w') as f:
            f.write('10.0.0.1 web1 web2\n10.0.0.2 db\n')
        os.mkdir(os.path.join(self.folder, 'odd'))
        self.assertEqual(self.complete('--t'), {'--trim', '--tag', '--tagstring', '--tmpdir', '--timeout',
                                                '--term-seq', '--transfer', '--transferfile', '--trc'})
        self.assertEqual(self.complete('--trim', ''), {'n', 'l', 'r', 'lr'})
        self.assertEqual(self.complete('--trim', '=', 'l'), {'l', 'lr'})
        self.assertEqual(self.complete('--color', '='), {'always', 'auto', 'never'})
        self.assertEqual(self.complete('-a', 'o'), {'one file', 'other', 'odd'})
        self.assertEqual(self.complete('--tmpdir', 'o'), {'odd'})
        self.assertEqual(self.complete('--slf', 'o'), {'one file', 'other', 'odd'})
        self.assertEqual(self.complete('--sshloginfile', 'o'), {'one file', 'other', 'odd'})
        for words in ['-S'], ['--sshlogin'], ['hosts', '-S'], ['hosts']:
            self.assertEqual(self.complete(*words, 'we'), {'web1', 'web2'})
        self.assertEqual(self.complete('--on', ''), {'slurm', 'slurm:'})
        self.assertEqual(self.complete('--framing', ''), {'line', 'nul', 'length'})
        self.assertIn('gzip', self.complete('-k', '-j', '4', 'gzi'))
        self.assertIn('gzip', self.complete('run', 'gzi'))
        self.assertEqual(self.complete('gzip', 'ot'), {'other'})


if __name__ == '__main__':
    unittest.main()
