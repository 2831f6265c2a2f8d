# SPDX-License-Identifier: MIT
"""How many at once, as the user says it: the forms of -j, -j FILE, --limit, the lines typed on
the terminal, signals, and what is remembered. How the number is found is tests/sim's matter."""

import contextlib
import sqlite3
import sys

from kneetest import *

# Each task waits until so many of its kind stand beside it: only that many at once end it.
TOGETHER = 'touch at.{{}}; until [ "$(ls at.* | wc -l)" -ge {} ]; do sleep 0.01; done; echo {{}}'


def numbers(n):
    return [str(i) for i in range(1, n + 1)]


def most(path):
    """The most at once, of a log with a + for each begin and a - for each end."""
    now = best = 0
    with open(path) as f:
        for line in f:
            now += 1 if line.startswith('+') else -1
            best = max(best, now)
    return best


class Number(unittest.TestCase):
    def test_least(self):
        for jobs in ('3..3', '3..9', '4', '+3', '0'):
            r = knee('-j', jobs, TOGETHER.format(3), ':::', *numbers(3), cwd=scratch())
            self.assertEqual((r.out, r.err, r.status), (b'1\n2\n3\n', b'', 0), jobs)

    def test_most(self):
        for jobs in ('auto:1', '1..1', '1'):
            folder = scratch()
            r = knee('-j', jobs, 'echo + >>log; sleep 0.02; echo - >>log', ':::', *numbers(20), cwd=folder)
            self.assertEqual((r.err, r.status), (b'', 0), jobs)
            self.assertEqual(most(os.path.join(folder, 'log')), 1, jobs)

    def test_auto_is_the_default(self):
        for args in ((), ('-j', 'auto'), ('-j', '3', '-j', 'auto'), ('-j', 'auto:50'), ('-j', 'auto:0')):
            r = knee(*args, 'echo', ':::', 'a', 'b')
            self.assertEqual((r.out, r.err, r.status), (b'a\nb\n', b'', 0))

    def test_other_limits_let_pass(self):
        r = knee('--load', '100000', '--memfree', '1', '--memsuspend', '1', '--noswap', '--kind', 'cpu',
                 '--busy-exit', '75', '--limit', 'mem 1', '--limit', 'load 100000', 'echo', ':::', 'a', 'b')
        self.assertEqual((r.out, r.err, r.status), (b'a\nb\n', b'', 0))


class JobsFile(unittest.TestCase):
    """-j FILE, whose number may change while tasks run."""

    def setUp(self):
        self.folder = scratch()
        self.write('1')

    def write(self, text):
        with open(os.path.join(self.folder, 'jobs'), 'w') as f:
            f.write(text)

    def test_first_line_counts(self):
        for text in ('3', ' 3 \n', '3\r\n9\n', '3..9\n', '+3'):
            self.write(text)
            r = knee('-j', 'jobs', TOGETHER.format(3), ':::', *numbers(3), cwd=self.folder)
            self.assertEqual((r.out, r.err, r.status), (b'1\n2\n3\n', b'', 0), text)
            for name in numbers(3):
                os.remove(os.path.join(self.folder, f'at.{name}'))

    def raised(self, run):
        # GNU parallel compares whole seconds: the file is an old one.
        os.utime(os.path.join(self.folder, 'jobs'), (1, 1))
        # The first task raises the number; the others can only end together.
        command = f'[ {{}} = 1 ] && echo 3 >new && mv new jobs || {{ {TOGETHER.format(3)}; }}'
        r = run('-k', '-j', 'jobs', command, ':::', *numbers(4), cwd=self.folder)
        self.assertEqual((r.out, r.err, r.status), (b'2\n3\n4\n', b'', 0))

    def test_raised(self):
        self.raised(knee)

    @unittest.skipUnless(GNU, 'GNU parallel is not installed')
    def test_raised_as_gnu_parallel_does(self):
        self.raised(gnu)

    def test_lowered(self):
        self.write('3')
        # 2 and 3 go on until the end of 1 has been seen: until its process is gone.
        command = ('case {} in 1) echo $$ >pid.new; echo 1 >new; mv new jobs; mv pid.new pid;; '
                   '2|3) until [ -e pid ]; do sleep 0.01; done; '
                   'while kill -0 $(cat pid) 2>/dev/null; do sleep 0.01; done;; '
                   '*) echo + >>log; sleep 0.02; echo - >>log;; esac')
        r = knee('-j', 'jobs', command, ':::', *numbers(12), cwd=self.folder)
        self.assertEqual((r.out, r.err, r.status), (b'', b'', 0))
        self.assertEqual(most(os.path.join(self.folder, 'log')), 1)

    def test_number_is_the_one_that_is_written(self):
        # A kind of work that has just ended counts no more in what runs at once.
        for number, said in ((4, b'4 at once, not 3: as you said\n'), (3, b'still 3 at once: as you said\n')):
            self.write('auto')
            lines = [f'sleep 3; echo {number} >jobs', *['timeout 9 sleep 6'] * 3]
            r = knee('--explain', '-j', 'jobs', input='\n'.join(lines).encode(), cwd=self.folder)
            self.assertEqual((r.out, r.status), (b'', 0), r)
            self.assertIn(said, r.err)

    def test_nonsense_changes_nothing(self):
        for text, said in (('many', b'knee: -j: jobs: not a number of tasks: the number stays\n'),
                           ('auto', b"knee: -j: jobs: 'auto' counts at the start alone: the number stays\n"),
                           ('', b'')):
            self.write('1')
            command = f'[ {{}} = 1 ] && printf "{text}" >jobs; echo {{}}'
            r = knee('-j', 'jobs', command, ':::', '1', '2', '3', cwd=self.folder)
            self.assertEqual((r.out, r.err, r.status), (b'1\n2\n3\n', said, 0))

    def test_file_that_goes(self):
        r = knee('-j', 'jobs', 'rm -f jobs; echo {}', ':::', '1', '2', '3', cwd=self.folder)
        self.assertEqual((r.out, r.err, r.status), (b'1\n2\n3\n', b'', 0))

    def test_bad_file(self):
        for text, why in (('', "jobs: ''"), ('x\n', "jobs: 'x'")):
            self.write(text)
            r = knee('-j', 'jobs', 'echo', ':::', '1', cwd=self.folder)
            self.assertTrue(r.err.decode().startswith(f'knee: -j: {why} is not a number of tasks: use '), r)
            self.assertEqual((r.out, r.status), (b'', 255))
        self.write('9' * 100)
        r = knee('-j', 'jobs', 'echo', ':::', '1', cwd=self.folder)
        self.assertEqual((r.err, r.status), (b"knee: -j: 'jobs' is not a file with a number of tasks\n", 255))

    def test_fifo_is_not_waited_for(self):
        os.mkfifo(os.path.join(self.folder, 'fifo'))
        r = knee('-j', 'fifo', 'echo', ':::', '1', cwd=self.folder)
        self.assertEqual((r.err, r.status), (b"knee: -j: 'fifo' is not a file with a number of tasks\n", 255))


class Gate(unittest.TestCase):
    """--limit COMMAND."""

    def setUp(self):
        self.folder = scratch()

    def path(self, name):
        return os.path.join(self.folder, name)

    def lines(self, name):
        try:
            with open(self.path(name)) as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []

    def test_asked_for_each_task(self):
        r = knee('-j2', '--limit', 'echo x >>asked', 'echo', ':::', *numbers(5), cwd=self.folder)
        self.assertEqual((r.out, r.err, r.status), (b'1\n2\n3\n4\n5\n', b'', 0))
        self.assertGreaterEqual(len(self.lines('asked')), 5)

    def test_waits_for_a_yes(self):
        with start('-j2', '--limit', 'echo x >>asked; test -e go', 'touch ran; echo', ':::', 'a', 'b',
                   cwd=self.folder) as p:
            wait_for(lambda: len(self.lines('asked')) >= 3, what='it is asked again and again')
            self.assertFalse(os.path.exists(self.path('ran')))
            with open(self.path('go'), 'w'):
                pass
            out, err = p.communicate(timeout=30 * SLOW)
        self.assertEqual((out, err, p.returncode), (b'a\nb\n', b'', 0))

    def test_two_ends_the_youngest(self):
        # All slots are taken when the command says once that this is too much: it is asked even so.
        limit = '[ -e full ] && [ ! -e less ] && touch less && exit 2; exit 0'
        command = 'echo {} >>started; touch full; [ -e less ] || exec sleep 60; echo {}'
        r = knee('-j1', '--unordered', '--limit', limit, command, ':::', 'a', 'b', cwd=self.folder)
        self.assertEqual((r.out, r.status), (b'a\nb\n', 0))
        self.assertRegex(r.err, rb'\A(knee: task 1: ended .*\n)?\Z')
        self.assertEqual(self.lines('started'), ['a', 'a', 'b'])

    def test_other_statuses(self):
        r = knee('--limit', '[ -e x ] || { touch x; exit 9; }', 'echo', ':::', 'a', cwd=self.folder)
        self.assertEqual((r.out, r.status), (b'a\n', 0))
        self.assertEqual(r.err, b"knee: --limit: '[ -e x ] || { touch x; exit 9; }' ended with status 9, not 0, 1 "
                                b'or 2: no task starts meanwhile\n')
        r = knee('--limit', '[ -e y ] || { touch y; kill -9 $$; }', 'echo', ':::', 'a', cwd=self.folder)
        self.assertEqual((r.out, r.status), (b'a\n', 0))
        self.assertIn(b'ended with signal 9', r.err)

    def test_command_that_is_not_there(self):
        r = knee('--limit', './nonsense 2>/dev/null', 'echo', ':::', 'a', cwd=self.folder)
        self.assertEqual((r.out, r.err, r.status),
                         (b'', b"knee: --limit: './nonsense 2>/dev/null' cannot be run (status 127): the run ends\n",
                          255))

    def test_shell_that_is_not_there(self):
        r = knee('--limit', 'true', 'echo', ':::', 'a', env={'PARALLEL_SHELL': '/nonexistent'})
        self.assertEqual((r.out, r.err, r.status),
                         (b'', b"knee: --limit: 'true' cannot be run: /nonexistent: No such file or directory: "
                          b'the run ends\n', 255))

    def test_inputs_and_output_are_the_tasks(self):
        r = knee('--limit', 'cat; echo noise', 'echo', input=b'a\nb\nc\n')
        self.assertEqual((r.out, r.err, r.status), (b'a\nb\nc\n', b'', 0))

    def test_signals_are_not_blocked_in_it(self):
        r = knee('--limit', 'grep -q "^SigBlk:[[:space:]]*0*$" /proc/self/status || echo blocked >&2', 'echo',
                 ':::', 'a')
        self.assertEqual((r.out, r.err, r.status), (b'a\n', b'', 0))

    def test_one_that_hangs_ends_with_the_run(self):
        with start('-j1', '--limit', '[ -e x ] && { touch hangs; sleep 100; }; touch x', 'echo', ':::', 'a', 'b',
                   cwd=self.folder) as p:
            wait_for(lambda: os.path.exists(self.path('hangs')))
            p.send_signal(signal.SIGTERM)
            self.assertEqual(p.wait(30 * SLOW), 255)

    def test_dry_run_does_not_ask(self):
        r = knee('--dry-run', '--limit', 'touch asked', 'echo', ':::', 'a', cwd=self.folder)
        self.assertEqual((r.out, r.err, r.status, os.listdir(self.folder)), (b'echo a\n', b'', 0, []))

    @unittest.skipUnless(GNU, 'GNU parallel is not installed')
    def test_as_gnu_parallel(self):
        for limit in ('exit 0', 'mem 1', 'load 100000'):
            for run in (knee, gnu):
                r = run('-k', '--limit', limit, 'echo', ':::', *numbers(3))
                self.assertEqual((r.out, r.status), (b'1\n2\n3\n', 0), limit)


class Learnt(unittest.TestCase):
    """What is kept for the next run, and when nothing is."""

    def setUp(self):
        self.cache = os.path.join(scratch(), 'cache')

    def run_in(self, *args, **env):
        r = knee(*args, 'sleep', ':::', *['0.1'] * 12, env={'XDG_CACHE_HOME': self.cache, **env})
        self.assertEqual((r.err, r.status), (b'', 0))

    def test_kept(self):
        self.run_in()
        self.assertTrue(os.path.exists(os.path.join(self.cache, 'knee/learnt.db')))

    def test_memory_of_all_processes_of_a_task(self):
        hold = "x = b'x' * (60 << 20); import time; time.sleep(.5)"
        r = knee('-j', 'auto:3', f': {{}}; {sys.executable} -c "{hold}" | {sys.executable} -c "{hold}"', ':::',
                 *numbers(12), env={'XDG_CACHE_HOME': self.cache})
        self.assertEqual((r.err, r.status), (b'', 0))
        with contextlib.closing(sqlite3.connect(os.path.join(self.cache, 'knee/learnt.db'))) as db:
            peaks = [row[0] for row in db.execute('SELECT rss_bytes FROM learnt')]
        self.assertEqual(len(peaks), 1)
        self.assertGreater(peaks[0], 120 << 20)

    def test_in_the_home(self):
        home = scratch()
        self.run_in(XDG_CACHE_HOME=None, HOME=home)
        self.assertTrue(os.path.exists(os.path.join(home, '.cache/knee/learnt.db')))
        self.run_in(XDG_CACHE_HOME='not/a/full/path', HOME=home)

    def test_nothing_is_kept(self):
        for args, env in ((['--no-memory'], {}), ([], {'KNEE_NO_MEMORY': '1'}), (['-j12'], {}), (['-j0'], {}),
                          (['--dry-run'], {}), (['--shellquote'], {})):
            self.run_in(*args, **env)
            self.assertFalse(os.path.exists(self.cache), (args, env))

    def test_no_home(self):
        for home in (None, '', '/nonexistent', '/dev/null'):
            r = knee('echo', ':::', 'x', env={'HOME': home, 'XDG_CACHE_HOME': None})
            self.assertEqual((r.out, r.err, r.status), (b'x\n', b'', 0))
        self.assertFalse(os.path.exists('/nonexistent'), 'a home is not made')


class Keys(unittest.TestCase):
    """Lines on the terminal change the number while tasks run."""

    def setUp(self):
        self.folder = scratch()

    def until(self, name):
        return f': {{}}; until [ -e {name} ]; do sleep 0.01; done'

    def touch(self, name):
        with open(os.path.join(self.folder, name), 'w'):
            pass

    def test_plus(self):
        with Pty('-j1', TOGETHER.format(2), ':::', 'a', 'b', cwd=self.folder, stdin=subprocess.DEVNULL) as t:
            t.send(b'+\n')
            self.assertEqual(t.finish(), 0)

    def test_plus_many_and_minus(self):
        with Pty('-j2', '--progress', self.until('go'), ':::', *numbers(9), cwd=self.folder) as t:
            t.read_until(b'2 at once')
            t.send(b'+5\n')
            t.read_until(b'7 at once')
            t.send(b'--\n')
            t.read_until(b'5 at once')
            t.send(b' -3 \n')
            t.read_until(b'2 at once', since=t.read_until(b'5 at once'))
            t.send(b'-99\n')
            t.read_until(b'1 at once')
            self.touch('go')
            self.assertEqual(t.finish(), 0)

    def test_inputs_from_a_pipe(self):
        # Whoever writes them may have questions of his own to the terminal: only after their end.
        read, write = os.pipe()
        with Pty('-j1', TOGETHER.format(2), cwd=self.folder, stdin=read) as t:
            os.close(read)
            os.write(write, b'a\nb\n')
            os.close(write)
            t.send(b'+\n')
            self.assertEqual(t.finish(), 0)

    def test_something_else_gets_a_hint(self):
        with Pty('-j1', self.until('go'), ':::', 'a', cwd=self.folder) as t:
            t.send(b'more\n')
            t.read_until(b'knee: + or - and Enter: one task more or fewer at once; +5: five more\n')
            t.send(b'\n')
            self.touch('go')
            self.assertEqual(t.finish(), 0)

    def test_typed_lines_leave_no_trace(self):
        with Pty('-j1', '--progress', self.until('go'), ':::', 'a', cwd=self.folder) as t:
            t.read_until(b'1 at once')
            t.send(b'+\n')
            t.read_until(b'\033[A\r\033[J')
            self.touch('go')
            self.assertEqual(t.finish(), 0)

    def shell(self, script, *args, **more):
        """A shell on the terminal runs script; knee's words are its "$@"."""
        return Pty(argv=['bash', '-c', script, 'bash', *knee_argv(*args)], cwd=self.folder, **more)

    def shell_gets(self, script, line, *args):
        """A line that is typed during the run is the shell's, which reads it then."""
        with self.shell(script, *args, '-j1', f'touch up; {self.until("go")}', ':::', 'a') as t:
            wait_for(lambda: os.path.exists(os.path.join(self.folder, 'up')))
            t.send(line + b'\n')
            t.read(0.1)
            self.touch('go')
            t.read_until(b'got ' + line.split(b'\n')[0])
            self.assertEqual(t.finish(), 0)

    def test_long_line_is_the_shells(self):
        self.shell_gets('"$@"; read -r line; echo "got $line"', b'make a rather long command\n+')

    def test_other_machines_have_numbers_of_their_own(self):
        self.shell_gets('"$@"; read -r line; echo "got $line"', b'+', '-S', ':')

    def test_password_is_not_read(self):
        self.shell_gets('stty -echo; "$@"; read -r line; echo "got $line"', b'secret')

    def test_in_the_background(self):
        # The first line is the shell's, and knee is not stopped by it; in the foreground again it reads.
        script = ('set -m; "$@" & until [ -e read ]; do sleep 0.01; done; read -r line; echo "got $line"; '
                  'fg >/dev/null')
        command = f'touch up; {TOGETHER.format(2)}'
        with self.shell(script, '-j1', command, ':::', 'a', 'b') as t:
            wait_for(lambda: os.path.exists(os.path.join(self.folder, 'up')))
            t.send(b'+\n')
            t.read_until(b'+\n')
            # When it has answered this it has seen that there is something to read, too.
            keeper, = [d for d in descendants(t.process.pid) if command_of(d) == 'kn-keeper']
            os.kill(keeper, signal.SIGUSR1)
            t.read_until(b'running: task 1')
            # Had it been stopped the shell would have gone on, and continued it.
            self.assertNotIn(b'got', t.data)
            with open(os.path.join(self.folder, 'read'), 'w'):
                pass
            t.read_until(b'got +')
            self.assertFalse(os.path.exists(os.path.join(self.folder, 'at.b')))
            self.assertEqual([d for d in descendants(t.process.pid) if process_state(d) == 'T'], [])
            # Not before it has been told that it is in the foreground: the shell waits for it.
            wait_for(lambda: os.tcgetpgrp(t.master) != os.getpgid(t.process.pid))
            t.send(b'+\n')
            self.assertEqual(t.finish(), 0)

    def test_the_answers_to_p_are_not_taken(self):
        with Pty('-p', '-j2', 'echo', ':::', '+', '-', stdin=subprocess.DEVNULL) as t:
            t.read_until(b'echo + ?...')
            t.send(b'y\n')
            t.read_until(b'echo - ?...')
            t.send(b'n\n')
            self.assertEqual(t.finish(), 0)

    def test_inputs_from_the_terminal_are_inputs(self):
        with Pty('-j1', 'echo got', stderr=subprocess.DEVNULL) as t:
            t.send(b'+\n-\n\x04')
            t.read_until(b'got +\ngot -\n')
            self.assertEqual(t.finish(), 0)


class Signals(unittest.TestCase):
    def test_usr2_shows_and_hides_the_line(self):
        folder = scratch()
        with Pty('--no-progress', '-j1', ': {}; touch up; until [ -e go ]; do sleep 0.01; done', ':::', 'a',
                 cwd=folder) as t:
            wait_for(lambda: os.path.exists(os.path.join(folder, 'up')))
            os.kill(t.process.pid, signal.SIGUSR2)
            at = t.read_until(b'0 failed')
            os.kill(t.process.pid, signal.SIGUSR2)
            t.read_until(b'\033[J', since=at)
            with open(os.path.join(folder, 'go'), 'w'):
                pass
            self.assertEqual(t.finish(), 0)

    def test_usr2_without_a_terminal(self):
        folder = scratch()
        path = os.path.join(folder, 'err')
        with open(path, 'wb') as err, \
                start('-j1', ': {}; touch up; until [ -e go ]; do sleep 0.01; done', ':::', 'a', cwd=folder,
                      stderr=err) as p:
            wait_for(lambda: os.path.exists(os.path.join(folder, 'up')))
            p.send_signal(signal.SIGUSR2)
            wait_for(lambda: os.path.getsize(path) > 0)
            with open(os.path.join(folder, 'go'), 'w'):
                pass
            self.assertEqual(p.wait(30 * SLOW), 0)
        with open(path, 'rb') as err:
            self.assertRegex(err.read(), rb'\Aknee  0 .*at once')



if __name__ == '__main__':
    unittest.main()
