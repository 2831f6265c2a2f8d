# SPDX-License-Identifier: MIT
"""--journal, --sync, --resume and its kin, --output: what a user types, sees and finds in the files.
Killing at random instants is tests/fault/test_serial_killed.py's matter."""

import contextlib
import fcntl
import re
import sqlite3
import struct
import sys
import termios

from kneetest import *

HOST = os.uname().nodename

# A task that ends for good once the file "go" is there; before that the run can be killed in it.
WAITS = 'echo {} >>runs; echo out {}; test {} != 3 || test -e go || { touch in3; sleep 100; }; echo end {}'

# Answers each record with itself; 3 only when there is a file "go".
WORKER = b'''import os, sys, time
for line in sys.stdin:
    while line == '3\\n' and not os.path.exists('go'):
        open('in3', 'w').close()
        time.sleep(0.01)
    print(line, end='', flush=True)
'''


def read(*path):
    with open(os.path.join(*path), 'rb') as f:
        return f.read()


def write(data, *path):
    with open(os.path.join(*path), 'wb') as f:
        f.write(data)


def rows(path, query, *values):
    with contextlib.closing(sqlite3.connect(f'file:{path}?mode=ro', uri=True)) as db:
        return db.execute(query, values).fetchall()


def waiting(fd):
    """Bytes that can be read there."""
    return struct.unpack('i', fcntl.ioctl(fd, termios.FIONREAD, b'\0' * 4))[0]


class Base(unittest.TestCase):
    def setUp(self):
        self.folder = scratch()
        self.journal = os.path.join(self.folder, 'j')

    def path(self, name):
        return os.path.join(self.folder, name)

    def runs(self):
        """The inputs in the order in which tasks were started."""
        return read(self.folder, 'runs').split() if os.path.exists(self.path('runs')) else []

    def knee(self, *args, **more):
        return knee('--journal', self.journal, *args, cwd=self.folder, **more)

    def same(self, r, out, err=b'', status=0):
        self.assertEqual((r.out, r.err, r.status), (out, err, status))

    def refused(self, r, *words):
        """Status 255, nothing ran, and one line that names the journal and says all these words."""
        self.assertEqual((r.out, r.status), (b'', 255), r)
        self.assertEqual(r.err.count(b'\n'), 1, r)
        for word in (self.journal, *words):
            self.assertIn(word.encode(), r.err)

    def killed_in_3(self, *args, resume=(), command=WAITS, inputs='12345', **popen):
        """Start a run, kill it while task 3 is in the middle, wait until it is gone."""
        out = popen.setdefault('stdout', subprocess.PIPE)
        with start('--journal', self.journal, *resume, *args, command, ':::', *inputs, cwd=self.folder,
                   **popen) as p:
            wait_for(lambda: os.path.exists(self.path('in3')), what='task 3 runs')
            self.settled(p, args)
            os.kill(engine_of(p.pid), signal.SIGKILL)
            data = p.stdout.read() if out == subprocess.PIPE else None
            p.wait()
        write(b'', self.folder, 'go')
        return data

    def keeper_killed_in_1(self, *args):
        """Of three tasks at once, while task 1 is in the middle and the others have ended."""
        with start('--journal', self.journal, *args, cwd=self.folder) as p:
            wait_for(lambda: self.finished() == [2, 3] and os.path.exists(self.path('in1')), what='2 and 3 ended')
            p.kill()
            p.wait()
            wait_for(lambda: not marked(p.mark), what='all is gone')
        write(b'', self.folder, 'go')

    def settled(self, p, args):
        """Until all that can end has ended and is in the journal."""
        wait_for(lambda: len(self.finished()) == (2 if '-j1' in args else 4), what='the others have ended')

    def finished(self):
        try:
            return [seq for seq, in rows(self.journal, 'SELECT seq FROM task WHERE state > 0 ORDER BY seq')]
        except sqlite3.OperationalError:
            return []


class New(Base):
    def test_a_run_is_as_without(self):
        r = self.knee('echo {}; echo e{} >&2; exit {}', ':::', '0', '1', '0')
        self.same(r, b'0\n1\n0\n', b'e0\ne1\ne0\n', 1)
        self.assertEqual(r.left, [])
        self.assertEqual(os.listdir(self.folder), ['j'])

    def test_what_is_in_it(self):
        self.knee('-j1', 'echo {}; exit {}', ':::', '0', '7')
        self.assertEqual(rows(self.journal, 'SELECT seq, state, attempts, printed FROM task ORDER BY seq'),
                         [(1, 1, 1, 1), (2, 2, 1, 1)])
        got = rows(self.journal, 'SELECT seq, attempt, run, host, outcome, status, output_bytes, command '
                   'FROM attempt ORDER BY seq')
        self.assertEqual(got, [(1, 1, 1, HOST, 0, 0, 2, 'echo 0; exit 0'), (2, 1, 1, HOST, 0, 7, 2, 'echo 7; exit 7')])
        self.assertEqual(rows(self.journal, 'SELECT run, status, inputs, directory, command FROM run'),
                         [(1, 1, 2, self.folder, 'echo {}; exit {}')])
        self.assertEqual(rows(self.journal, 'SELECT COUNT(*) FROM output'), [(0,)])

    def test_existing_run_is_not_overwritten(self):
        self.knee('echo', ':::', 'a')
        before = read(self.journal)
        self.refused(self.knee('echo', ':::', 'a'), '--resume')
        self.assertEqual(read(self.journal), before)

    def test_no_inputs(self):
        self.same(self.knee('echo', input=b''), b'')
        self.same(self.knee('--resume', 'echo', input=b''), b'')

    def test_sync(self):
        self.same(self.knee('--sync', 'echo', ':::', 'a', 'b'), b'a\nb\n')
        self.assertEqual(self.finished(), [1, 2])

    def test_bad_place(self):
        self.journal = self.path('none/j')
        self.refused(self.knee('echo', ':::', 'a'))
        self.journal = self.folder
        self.refused(self.knee('echo', ':::', 'a'))

    def test_retries(self):
        r = self.knee('--retries', '3', 'test -e done.{} && echo ok || { touch done.{}; exit 1; }', ':::', 'a')
        self.same(r, b'ok\n')
        self.assertEqual(rows(self.journal, 'SELECT attempt, status FROM attempt ORDER BY attempt'), [(1, 1), (2, 0)])

    def test_all_orders(self):
        for order in ('-k', '--unordered', '--lb', '-u'):
            with self.subTest(order=order):
                folder = scratch()
                j = os.path.join(folder, 'j')
                r = knee('--journal', j, order, 'echo {}; echo >>runs', ':::', 'a', 'b', 'c', cwd=folder)
                self.assertEqual((sorted(r.out.split()), r.err, r.status), ([b'a', b'b', b'c'], b'', 0))
                r = knee('--journal', j, '--resume', order, 'echo {}; echo >>runs', ':::', 'a', 'b', 'c', 'd',
                         cwd=folder)
                self.same(r, b'd\n')
                self.assertEqual(len(read(folder, 'runs')), 4)


class Refused(Base):
    def test_options_that_make_no_sense(self):
        for args, words in (
                (['--resume'], ['--resume', '--journal', '--joblog']),
                (['--resume-failed'], ['--resume-failed', '--journal']),
                (['--retry-failed'], ['--retry-failed', '--journal']),
                (['--sync'], ['--sync', '--journal']),
                (['--journal', 'j', '--dry-run'], ['--journal', '--dry-run']),
                (['--journal', 'j', '--shellquote'], ['--journal', '--shellquote']),
                (['--journal', 'j', '--shuf'], ['--journal', '--shuf', 'shuf(1)']),
                (['--journal', 'j', '--group', 'auto'], ['--journal', '--group auto', '-n'])):
            r = knee(*args, 'touch ran; echo', ':::', 'a', cwd=self.folder)
            self.assertEqual((r.out, r.status, r.err.count(b'\n')), (b'', 255, 1), (args, r))
            for word in words:
                self.assertIn(word.encode(), r.err)
        self.assertEqual(os.listdir(self.folder), [])

    def untouched(self, data, *words, args=('--resume',)):
        write(data, self.journal)
        self.refused(self.knee(*args, 'echo', ':::', 'a'), *words)
        self.assertEqual(read(self.journal), data)
        self.assertEqual(os.listdir(self.folder), ['j'])

    def made(self, n=1, change=None):
        """The bytes of a good journal, changed by SQL."""
        text = b''.join(b'%d\n' % i for i in range(n))
        self.same(self.knee('echo', input=text), text)
        if change:
            with contextlib.closing(sqlite3.connect(self.journal)) as db:
                db.execute(change)
                db.commit()
        return read(self.journal)

    def test_no_journal(self):
        for args in ((), ('--resume',)):
            self.untouched(b'some text\n', 'journal', args=args)
            self.untouched(b'x' * 100000, 'journal', args=args)
        os.remove(self.journal)
        with contextlib.closing(sqlite3.connect(self.journal)) as db:
            db.execute('CREATE TABLE task (a)')
            db.commit()
        self.untouched(read(self.journal), 'journal')

    def test_newer_version(self):
        self.untouched(self.made(change='PRAGMA user_version = 2'), 'newer')

    def test_truncated(self):
        data = self.made(300)
        for size in (len(data) - 1, len(data) - 4096, len(data) // 2, 4096, 1000, 50):
            with self.subTest(size=size):
                self.untouched(data[:size])

    def test_corrupted(self):
        data = self.made(300)
        pages = len(data) // 4096
        for page in range(1, pages):
            bad = bytearray(data)
            bad[page * 4096:page * 4096 + 512] = b'\xa5' * 512
            with self.subTest(page=page):
                self.untouched(bytes(bad))

    def test_header_corrupted(self):
        data = self.made()
        self.untouched(b'\0' * 100 + data[100:])

    def test_other_command(self):
        self.knee('echo a', ':::', '1')
        before = read(self.journal)
        for args in (['echo b'], ['echo a', '{}'], ['-q', 'echo a'], ['-n2', 'echo a'], ['-I', ',', 'echo a'],
                     ['-C', ' ', 'echo a'], ['--trim', 'l', 'echo a'], ['-X', 'echo a'], ['--header', ':', 'echo a']):
            r = self.knee('--resume', *args, ':::', '1')
            self.refused(r, 'command', 'echo a')
            self.assertEqual(read(self.journal), before)

    def test_what_is_no_other_command(self):
        """How many at once, where inputs come from and what is done with the output may change."""
        self.knee('echo a', ':::', '1', '2')
        r = self.knee('--resume', '-j3', '--tag', '-0', '-v', '--timeout', '100', '--retries', '2', '--no-memory',
                      'echo', 'a', input=b'1\0' b'2\0' b'3\0')
        self.same(r, b'3\techo a 3\n3\ta 3\n')

    def test_shared_batches_depend_on_how_many_at_once(self):
        self.same(self.knee('-X', '-j2', 'echo', ':::', 'a', 'b', 'c'), b'a b\nc\n')
        self.refused(self.knee('--resume', '-X', '-j3', 'echo', ':::', 'a', 'b', 'c'), '-j 2', '-j 3')
        self.same(self.knee('--resume', '-X', '-j2', 'echo', ':::', 'a', 'b', 'c'), b'')

    def test_header_names_count(self):
        text = b'a,b\n1,2\n'
        self.same(self.knee('-C,', '--header', ':', 'echo {b}', input=text), b'2\n')
        self.refused(self.knee('--resume', '-C,', '--header', ':', 'echo {b}', input=b'b,a\n1,2\n'), 'command')

    def test_second_run(self):
        with start('--journal', self.journal, 'touch in; sleep 100; : {}', ':::', 'a', cwd=self.folder) as p:
            wait_for(lambda: os.path.exists(self.path('in')), what='the task runs')
            for args in ((), ('--resume',), ('--retry-failed',)):
                r = self.knee(*args, 'touch in; sleep 100; : {}', ':::', 'a')
                self.refused(r, HOST)
                pid = int(re.search(rb'pid (\d+)', r.err)[1])
                self.assertIn(pid, [p.pid, *descendants(p.pid)])
            self.assertEqual(self.finished(), [])
            p.terminate()
            self.assertEqual(p.wait(), 255)

    def test_tasks_do_not_hold_the_lock(self):
        """What a task leaves behind has no descriptor of the journal."""
        r = self.knee('ls -l /proc/self/fd', ':::', 'a')
        self.assertNotIn(b'/j', r.out)


class Resume(Base):
    def test_finished_run(self):
        self.same(self.knee('echo {} >>runs; echo {}', ':::', 'a', 'b'), b'a\nb\n')
        self.same(self.knee('--resume', 'echo {} >>runs; echo {}', ':::', 'a', 'b'), b'')
        self.assertEqual(sorted(self.runs()), [b'a', b'b'])
        self.assertEqual(rows(self.journal, 'SELECT run, status FROM run ORDER BY run'), [(1, 0), (2, 0)])

    def test_no_journal_yet(self):
        self.same(self.knee('--resume', 'echo', ':::', 'a', 'b'), b'a\nb\n')

    def test_more_inputs_at_the_end(self):
        self.same(self.knee('echo {} >>runs; echo {}', ':::', 'a', 'b'), b'a\nb\n')
        self.same(self.knee('--resume', 'echo {} >>runs; echo {}', ':::', 'a', 'b', 'c'), b'c\n')
        self.assertEqual(sorted(self.runs()), [b'a', b'b', b'c'])

    def test_fewer_inputs(self):
        self.same(self.knee('echo', ':::', 'a', 'b'), b'a\nb\n')
        r = self.knee('--resume', 'echo', ':::', 'a')
        self.assertEqual((r.out, r.status), (b'', 0))

    def changed(self, *inputs, seq, runs=()):
        self.same(self.knee('echo {} >>runs; echo {}', ':::', 'a', 'b', 'c'), b'a\nb\nc\n')
        os.remove(self.path('runs'))
        r = self.knee('--resume', 'echo {} >>runs; echo {}', ':::', *inputs)
        self.refused(r, str(seq), 'input')
        self.assertEqual(self.runs(), list(runs))
        self.same(self.knee('--resume', 'echo {} >>runs; echo {}', ':::', 'a', 'b', 'c'), b'')
        return r.err

    def test_input_changed(self):
        self.changed('a', 'X', 'c', seq=2)

    def test_inputs_reordered(self):
        self.changed('a', 'c', 'b', seq=2)

    def test_input_added_in_front(self):
        self.changed('X', 'a', 'b', 'c', seq=1)

    def test_input_removed(self):
        self.changed('a', 'c', seq=2)

    def test_other_cut_of_the_same_text(self):
        """a b is not ab, nor one argument two."""
        self.same(self.knee('--colsep', ',', 'echo {1}{2}', input=b'a,b\n'), b'ab\n')
        for text in (b'ab\n', b'a,\n', b'a,b,c\n', b',ab\n'):
            self.refused(self.knee('--resume', '--colsep', ',', 'echo {1}{2}', input=text), 'input')
        self.same(self.knee('--resume', '--colsep', ',', 'echo {1}{2}', input=b'a,b\n'), b'')

    def test_bytes(self):
        text = bytes(b for b in range(1, 256) if b != 10) + b'\0' + b'\xff\xfe\0\n\0 \0'
        r = self.knee('-0', 'printf %s', input=text)
        self.assertEqual((r.out, r.status), (text.replace(b'\0', b''), 0))
        self.same(self.knee('--resume', '-0', 'printf %s', input=text), b'')

    def test_failed_ones_are_kept(self):
        command = 'echo {} >>runs; echo {}; exit {}'
        self.same(self.knee(command, ':::', '0', '1', '2'), b'0\n1\n2\n', status=2)
        self.same(self.knee('--resume', command, ':::', '0', '1', '2'), b'', status=2)
        self.assertEqual(len(self.runs()), 3)

    def test_failed_ones_run_again(self):
        command = 'echo {} >>runs; echo {}; test {} = 0 || test -e good'
        self.same(self.knee(command, ':::', '0', '1', '2'), b'0\n1\n2\n', status=2)
        write(b'', self.folder, 'good')
        self.same(self.knee('--resume-failed', command, ':::', '0', '1', '2', '3'), b'1\n2\n3\n')
        self.assertEqual(sorted(self.runs()), [b'0', b'1', b'1', b'2', b'2', b'3'])
        self.assertEqual(rows(self.journal, 'SELECT seq, state, attempts FROM task'),
                         [(1, 1, 1), (2, 1, 2), (3, 1, 2), (4, 1, 1)])

    def test_only_failed_ones_run(self):
        command = 'echo {} >>runs; echo {}; test {} = 0 || test -e good'
        self.same(self.knee(command, ':::', '0', '1', '2'), b'0\n1\n2\n', status=2)
        write(b'', self.folder, 'good')
        self.same(self.knee('--retry-failed', command, ':::', '0', '1', '2', '3'), b'1\n2\n')
        self.assertEqual(sorted(self.runs()), [b'0', b'1', b'1', b'2', b'2'])
        self.same(self.knee('--resume', command, ':::', '0', '1', '2', '3'), b'3\n')

    def test_failed_again(self):
        command = 'exit {}'
        self.same(self.knee(command, ':::', '0', '1'), b'', status=1)
        self.same(self.knee('--resume-failed', command, ':::', '0', '1'), b'', status=1)

    def test_killed(self):
        self.killed_in_3('-j5')
        r = self.knee('--resume', '-j5', WAITS, ':::', *'12345')
        self.assertTrue(r.out.endswith(b'out 3\nend 3\nout 4\nend 4\nout 5\nend 5\n'), r)
        self.assertEqual((r.err, r.status), (b'', 0))
        self.assertEqual(sorted(self.runs()), [b'1', b'2', b'3', b'3', b'4', b'5'])

    def test_killed_again_and_again(self):
        """The second kill finds outputs of the first run that still wait."""
        out = self.path('out')
        self.killed_in_3('--output', out, '-j5')
        os.remove(self.path('go'))
        os.remove(self.path('in3'))
        self.killed_in_3('--output', out, '-j5', resume=['--resume'])
        self.same(self.knee('--resume', '--output', out, '-j5', WAITS, ':::', *'12345'), b'')
        self.assertEqual(read(out), b''.join(b'out %d\nend %d\n' % (i, i) for i in range(1, 6)))
        self.assertEqual(sorted(self.runs()), [b'1', b'2', b'3', b'3', b'3', b'4', b'5'])

    def test_stored_output_is_printed_once(self):
        self.killed_in_3('-j5')
        self.assertEqual(rows(self.journal, 'SELECT DISTINCT seq FROM output ORDER BY seq'), [(4,), (5,)])
        self.knee('--resume', '-j5', WAITS, ':::', *'12345')
        self.assertEqual(rows(self.journal, 'SELECT * FROM output'), [])
        self.same(self.knee('--resume', WAITS, ':::', *'12345'), b'')

    def test_stored_output_has_its_tag_and_streams(self):
        """With -v and a tag, what was kept comes out as it would have."""
        command = 'echo {}; echo e{} >&2; test {} != 1 || test -e go || { touch in1; sleep 100; }'
        args = ['-j3', '-v', '--tag', command, ':::', '1', '2', '3']
        self.keeper_killed_in_1(*args)
        r = self.knee('--resume', *args)
        want = knee(*args, cwd=self.folder)
        self.assertEqual((r.out, r.err, r.status), (want.out, want.err, 0))

    def test_interrupted(self):
        """A run that was asked to end goes on from there as well."""
        out = self.path('out')
        with start('--journal', self.journal, '--output', out, '-j5', WAITS, ':::', *'12345', cwd=self.folder) as p:
            wait_for(lambda: os.path.exists(self.path('in3')) and len(self.finished()) == 4, what='task 3 runs')
            p.send_signal(signal.SIGINT)
            self.assertEqual(p.wait(), 255)
        self.assertEqual(rows(self.journal, 'SELECT status FROM run'), [(255,)])
        write(b'', self.folder, 'go')
        self.same(self.knee('--resume', '--output', out, '-j5', WAITS, ':::', *'12345'), b'')
        self.assertEqual(read(out), b''.join(b'out %d\nend %d\n' % (i, i) for i in range(1, 6)))
        self.assertEqual(sorted(self.runs()), [b'1', b'2', b'3', b'3', b'4', b'5'])

    def test_halted(self):
        args = ['-j1', '--halt', 'now,fail=1', 'echo {}; test {} != 2 || test -e go', ':::', '1', '2', '3']
        self.same(self.knee(*args), b'1\n2\n', knee(*args, cwd=self.folder).err, 1)
        write(b'', self.folder, 'go')
        self.same(self.knee('--resume-failed', *args), b'2\n3\n')

    def test_stopped_between_two_attempts(self):
        """A task that was to be tried again has not failed: the next start goes on with it."""
        command = 'echo {} >>runs; test {} = 2 || test -e go || { echo no {}; exit 1; }; echo {}'
        for order, how in (('-k', signal.SIGTERM), ('--unordered', signal.SIGINT)):
            with self.subTest(order=order):
                self.setUp()
                args = [order, '-j1', '--retries', '9', command, ':::', '1', '2']
                tried = [(i, 0, 1) for i in range(1, 6)]    # and now it waits for 1.6 s
                with start('--journal', self.journal, *args, cwd=self.folder) as p:
                    wait_for(lambda: self.finished() == [2] and self.attempts(1) == tried, what='1 waits')
                    p.send_signal(how)
                    self.assertEqual((p.wait(), p.stdout.read()), (255, b'' if order == '-k' else b'2\n'))
                self.assertEqual(self.finished(), [2])
                self.assertEqual(self.attempts(1), tried)
                self.assertEqual(rows(self.journal, 'SELECT attempts, retried FROM progress'), [(6, 5)])
                write(b'', self.folder, 'go')
                self.same(self.knee('--resume', *args), b'1\n2\n' if order == '-k' else b'1\n')
                self.assertEqual(self.attempts(1), [*tried, (6, 0, 0)])
                self.assertEqual(sorted(self.runs()), [b'1'] * 6 + [b'2'])

    def test_stopped_after_its_task(self):
        """Who stops a whole service or job signals the tasks first, or knee: they were stopped with it either way."""
        with start('--journal', self.journal, '-j1', WAITS, ':::', '3', cwd=self.folder) as p:
            wait_for(lambda: os.path.exists(self.path('in3')), what='the task runs')
            stop_after_tasks(p.pid, signal.SIGTERM)
            self.assertEqual(p.wait(), 255)
        self.assertEqual(self.finished(), [])
        write(b'', self.folder, 'go')
        self.same(self.knee('--resume', '-j1', WAITS, ':::', '3'), b'out 3\nend 3\n')

    def test_stopped_after_its_worker(self):
        """The same; what the worker had answered by then is done."""
        write(WORKER, self.folder, 'worker.py')
        args = ['-j1', '--worker', f'{sys.executable} worker.py', ':::', '1', '2', '3']
        with start('--journal', self.journal, *args, cwd=self.folder) as p:
            wait_for(lambda: os.path.exists(self.path('in3')), what='record 3 runs')
            stop_after_tasks(p.pid, signal.SIGTERM)
            self.assertEqual((p.wait(), p.stdout.read()), (255, b'1\n2\n'))
        self.assertEqual(self.finished(), [1, 2])
        write(b'', self.folder, 'go')
        self.same(self.knee('--resume', *args), b'3\n')

    def attempts(self, seq):
        return rows(self.journal, 'SELECT attempt, outcome, status FROM attempt WHERE seq = ? ORDER BY attempt', seq)

    def test_stored_output_is_not_lost_without_an_order(self):
        """With -u nothing could print it."""
        first = self.killed_in_3('-j5')
        for resume in ('--resume', '--resume-failed', '--retry-failed'):
            self.refused(self.knee(resume, '-u', WAITS, ':::', *'12345'), '2 tasks', '--resume', 'without -u')
        r = self.knee('--resume', WAITS, ':::', *'12345')
        self.assertEqual(first + r.out, b'out 1\nend 1\nout 2\nend 2\nout 3\n' +
                         b'out 3\nend 3\nout 4\nend 4\nout 5\nend 5\n')
        self.same(self.knee('--resume', '-u', WAITS, ':::', *'12345'), b'')

    def test_a_changed_input_ends_the_run_in_good_order(self):
        self.killed_in_3('-j5')
        self.refused(self.knee('--resume', '-j5', WAITS, ':::', *'12X45'), 'input 3')
        r = self.knee('--resume', '-j5', WAITS, ':::', *'1234X6')
        self.assertEqual((r.status, r.err.count(b'\n')), (255, 1), r)
        self.assertIn(b'input 5', r.err)
        self.assertEqual(self.finished(), [1, 2, 3, 4, 5])
        self.assertEqual(rows(self.journal, 'SELECT run, status, inputs FROM run ORDER BY run'),
                         [(1, None, None), (2, 255, None), (3, 255, None)])
        self.same(self.knee('--resume', WAITS, ':::', *'12345'), b'out 5\nend 5\n')
        self.assertEqual(self.runs().count(b'3'), 2)

    def test_retry_failed_does_not_print_ahead(self):
        """What waits behind a task that has no result goes on waiting for it."""
        command = 'test {} != 1 || test -e go || { touch in1; sleep 100; }; echo {}'
        args = ['-j3', command, ':::', '1', '2', '3']
        self.keeper_killed_in_1(*args)
        self.same(self.knee('--retry-failed', *args), b'')
        self.same(self.knee('--resume', *args), b'1\n2\n3\n')

    def test_stdin_is_not_given_twice(self):
        """The first task gets standard input; a resumed run starts with another one."""
        command = 'echo {}; cat'
        r = self.knee(command, ':::', 'a', input=b'text\n')
        self.same(r, b'a\ntext\n')
        self.same(self.knee('--resume', command, ':::', 'a', 'b', input=b'text\n'), b'b\n')


class Names(Base):
    """How a journal is named does not matter."""

    def test_link(self):
        """SQLite's log lies beside the file that a link leads to: a resume finds it there."""
        os.mkdir(self.path('real'))
        write(b'', self.folder, 'real', 'data')
        os.symlink('real/data', self.journal)
        self.killed_in_3('-j5')
        self.assertIn('data-wal', os.listdir(self.path('real')))
        self.assertTrue(self.knee('--resume', WAITS, ':::', *'12345').out.endswith(b'end 4\nout 5\nend 5\n'))
        self.assertEqual(sorted(self.runs()), [b'1', b'2', b'3', b'3', b'4', b'5'])
        self.assertEqual(os.listdir(self.path('real')), ['data'])

    def test_strange(self):
        os.mkdir(self.path('d'))
        for name in ('/' + self.path('a'), self.path('b%20?mode=x#c'), self.path('d//../e'), ':memory:', 'file:f'):
            self.journal = name
            with self.subTest(name=name):
                self.same(self.knee('echo', ':::', '1'), b'1\n')
                self.same(self.knee('--resume', 'echo', ':::', '1', '2'), b'2\n')


class Files(Base):
    """The output of both starts in one file."""

    want = b''.join(b'out %d\nend %d\n' % (i, i) for i in range(1, 6))

    def test_appended(self):
        for head in (b'', b'what was there\n'):
            with self.subTest(head=head):
                self.setUp()
                out = self.path('out')
                write(head, out)
                with open(out, 'ab') as f:
                    self.killed_in_3('-j5', stdout=f)
                self.assertEqual(read(out), head + b'out 1\nend 1\nout 2\nend 2\nout 3\n')
                with open(out, 'ab') as f:
                    self.same(self.knee('--resume', WAITS, ':::', *'12345', stdout=f), None)
                self.assertEqual(read(out), head + self.want)

    def test_not_appended_but_written_on(self):
        """A description without O_APPEND that both starts share: ( knee; knee ) >out."""
        out = self.path('out')
        with open(out, 'wb') as f:
            f.write(b'head\n')
            f.flush()
            self.killed_in_3('-j5', stdout=f)
            self.same(self.knee('--resume', WAITS, ':::', *'12345', stdout=f), None)
        self.assertEqual(read(out), b'head\n' + self.want)

    def test_truncated_by_the_shell(self):
        """>out with a resume: what was in it is gone, and that is said."""
        out = self.path('out')
        with open(out, 'wb') as f:
            self.killed_in_3('-j5', stdout=f)
        with open(out, 'wb') as f:
            r = self.knee('--resume', WAITS, ':::', *'12345', stdout=f)
        self.assertEqual((r.status, read(out)), (255, b''), r)
        self.assertIn(b'>>', r.err)
        self.assertIn(b'--output', r.err)
        self.assertEqual(self.runs().count(b'3'), 1)

    def test_grown_since_the_end(self):
        """After a run that ended in good order the file may be used by others: nothing is cut."""
        out = self.path('out')
        with open(out, 'ab') as f:
            self.knee('echo', ':::', 'a', 'b', stdout=f)
            f.write(b'more\n')
            f.flush()
            self.knee('--resume', 'echo', ':::', 'a', 'b', 'c', stdout=f)
        self.assertEqual(read(out), b'a\nb\nmore\nc\n')

    def test_output_option(self):
        out = self.path('out')
        write(b'old and longer\n', out)
        self.same(knee('--output', out, 'echo {}; echo e >&2', ':::', 'a', 'b'), b'', b'e\ne\n')
        self.assertEqual(read(out), b'a\nb\n')
        self.assertEqual(os.stat(out).st_mode & 0o777, 0o644)

    def test_output_option_is_not_emptied_in_vain(self):
        out = self.path('out')
        self.same(self.knee('--output', out, 'echo', ':::', 'a'), b'')
        for args in (['echo', ':::', 'a'], ['--resume', 'echo', 'b', ':::', 'a'], ['--shuf', 'echo', ':::', 'a'],
                     ['--joblog', out, 'echo', ':::', 'a'], ['-a', out, 'echo'], ['-a', self.path('none'), 'echo']):
            r = self.knee('--output', out, *args)
            self.assertEqual(r.status, 255, args)
            self.assertEqual(read(out), b'a\n', args)

    def test_output_option_errors(self):
        for path in (self.folder, self.path('none/out')):
            r = knee('--output', path, 'echo', ':::', 'a')
            self.assertEqual((r.out, r.status), (b'', 255))
            self.assertIn(path.encode(), r.err)
        r = self.knee('--output', self.journal, 'echo', ':::', 'a')
        self.assertEqual(r.status, 255)
        r = knee('--output', '/dev/full', 'echo', ':::', 'a')
        self.assertEqual((r.out, r.status), (b'', 255))
        self.assertIn(b'No space left', r.err)

    def test_output_option_and_ungrouped(self):
        out = self.path('out')
        self.same(knee('-u', '--output', out, 'echo', ':::', 'a'), b'')
        self.assertEqual(read(out), b'a\n')

    def test_output_option_resumed(self):
        out = self.path('out')
        self.killed_in_3('--output', out, '-j5')
        self.same(self.knee('--resume', '--output', out, WAITS, ':::', *'12345'), b'')
        self.assertEqual(read(out), self.want)

    def test_both_streams_in_one_file(self):
        """>>out 2>&1, where messages of our own come in between."""
        command = 'echo {} >>runs; exec >&$(({} % 2 + 1)); echo out {}; test {} != 3 || test -e go || ' \
            '{ touch in3; sleep 100; }; echo end {}'
        want = b''.join(b'out %d\nend %d\n' % (i, i) for i in range(1, 6))
        out = self.path('out')
        with open(out, 'ab') as f:
            self.killed_in_3('-j5', command=command, stdout=f, stderr=f)
        self.assertEqual(read(out), want[:want.index(b'end 3')])
        with open(out, 'ab') as f:
            r = self.knee('--resume', '-j5', command, ':::', *'12345', stdout=f, stderr=f)
        self.assertEqual((r.status, read(out)), (0, want))

    def test_messages_in_the_file(self):
        """-t and notes go to the same file as the output: the cut knows of their bytes."""
        out = self.path('out')
        with open(out, 'ab') as f:
            self.killed_in_3('-j1', '-t', stdout=f, stderr=f)
        before = read(out)
        self.assertTrue(before.endswith(b'out 3\n'), before)
        with open(out, 'ab') as f:
            r = self.knee('--resume', '-j1', WAITS, ':::', *'12345', stdout=f, stderr=f)
        self.assertEqual(r.status, 0)
        kept = read(out)[:-len(b'out 3\nend 3\nout 4\nend 4\nout 5\nend 5\n')]
        self.assertTrue(before.startswith(kept), (before, kept))
        self.assertTrue(read(out).endswith(b'out 3\nend 3\nout 4\nend 4\nout 5\nend 5\n'))
        self.assertIn(b'end 2\n', kept)

    def test_messages_at_the_end_stay(self):
        """What a run that was finished has said behind the last output is not cut off."""
        err = self.path('err')
        with open(err, 'ab') as f:
            r = self.knee('--explain', 'echo {}; echo e{} >&2', ':::', 'a', 'b', stderr=f)
        before = read(err)
        self.assertEqual((r.status, before[:6]), (0, b'ea\neb\n'))
        self.assertIn(b'2 tasks', before[6:])
        with open(err, 'ab') as f:
            r = self.knee('--resume', 'echo {}; echo e{} >&2', ':::', 'a', 'b', 'c', stderr=f)
        self.assertEqual((r.status, r.out, read(err)), (0, b'c\n', before + b'ec\n'))

    def test_streams_in_two_files(self):
        command = 'echo out {}; echo err {} >&2; test {} != 3 || test -e go || { touch in3; sleep 100; }; ' \
            'echo end {}; echo last {} >&2'
        out, err = self.path('out'), self.path('err')
        with open(out, 'ab') as f, open(err, 'ab') as g:
            self.killed_in_3('-j5', command=command, stdout=f, stderr=g)
        self.assertTrue(read(err).endswith(b'err 3\n'))
        with open(out, 'ab') as f, open(err, 'ab') as g:
            self.knee('--resume', '-j5', command, ':::', *'12345', stdout=f, stderr=g)
        self.assertEqual(read(out), self.want)
        self.assertEqual(read(err), b''.join(b'err %d\nlast %d\n' % (i, i) for i in range(1, 6)))

    def another(self, *words, change=None):
        """A file that has not to do with the run, with the inode of its output: refused, and untouched."""
        out, data = self.path('out'), b'%d\n' * 2000 % tuple(range(2000))
        with open(out, 'ab') as f:
            self.killed_in_3('-j5', stdout=f)
        number = os.stat(out).st_ino
        if change is None:
            os.remove(out)
        write(data, out)
        if os.stat(out).st_ino != number:
            self.skipTest('the file system gives another inode')
        if change:
            with contextlib.closing(sqlite3.connect(self.journal)) as db:
                db.execute(change)
                db.commit()
        with open(out, 'ab') as f:
            r = self.knee('--resume', WAITS, ':::', *'12345', stdout=f)
        self.assertEqual((r.status, read(out)), (255, data), r)
        for word in (b'>>', b'--output', b'another journal', out.encode()):
            self.assertIn(word, r.err)
        self.assertEqual(self.runs().count(b'3'), 1)

    def test_another_file_with_the_inode(self):
        self.another()

    def test_another_content(self):
        self.another(change='SELECT 1')

    def test_another_content_of_unknown_birth(self):
        self.another(change='UPDATE progress SET out_born_ns = NULL')

    def test_birth_or_tail_alone_are_enough(self):
        for change in ('out_born_ns = NULL', 'out_tail = NULL', 'out_device = out_device + 1'):
            with self.subTest(change=change):
                self.setUp()
                out = self.path('out')
                self.killed_in_3('--output', out, '-j5')
                with contextlib.closing(sqlite3.connect(self.journal)) as db:
                    db.execute('UPDATE progress SET ' + change)
                    db.commit()
                self.same(self.knee('--resume', '--output', out, WAITS, ':::', *'12345'), b'')
                self.assertEqual(read(out), self.want)

    def test_another_file_named(self):
        """What was printed so far would be missing in it."""
        out, other = self.path('out'), self.path('other')
        self.killed_in_3('--output', out, '-j5')
        before = read(out)
        for resume in ('--resume', '--resume-failed'):
            self.refused(self.knee(resume, '--output', other, WAITS, ':::', *'12345'), out, '>>', '--output')
            self.refused(self.knee(resume, WAITS, ':::', *'12345'), out, '>>', '--output')
        self.assertEqual((read(out), read(other)), (before, b''))
        self.same(self.knee('--resume', '--output', out, WAITS, ':::', *'12345'), b'')
        self.assertEqual(read(out), self.want)
        # A run that came to its end left nothing to be torn apart.
        self.same(self.knee('--resume', '--output', other, WAITS, ':::', *'123456'), b'')
        self.assertEqual(read(other), b'out 6\nend 6\n')

    def test_another_file_while_nothing_is_printed(self):
        command = 'echo {} >>runs; test {} != 3 || test -e go || { touch in3; sleep 100; }; ' \
            'test {} != 5 || echo end'
        other = self.path('other')
        self.killed_in_3('--output', self.path('out'), '-j1', command=command)
        self.same(self.knee('--resume', '--output', other, command, ':::', *'12345'), b'')
        self.assertEqual(read(other), b'end\n')

    def power_cut(self, size, *order):
        """Another boot, and the file has only its first bytes."""
        out = self.path('out')
        with open(out, 'ab') as f:
            f.write(b'head\n')
            f.flush()
            self.killed_in_3('-j5', *order, stdout=f)
        os.truncate(out, size)
        with contextlib.closing(sqlite3.connect(self.journal)) as db:
            db.execute("UPDATE run SET boot = 'another'")
            db.commit()
        with open(out, 'ab') as f:
            return self.knee('--resume', *order, WAITS, ':::', *'12345', stdout=f)

    def test_power_cut(self):
        for size, again in ((5, b'123'), (0, b'123'), (16, b'123'), (17, b'23'), (18, b'23'), (28, b'23')):
            with self.subTest(size=size):
                self.setUp()
                r = self.power_cut(size)
                self.assertEqual((r.status, r.err.count(b'\n')), (0, 1), r)
                self.assertIn(b'run again', r.err)
                head = b'head\n'[:size]
                self.assertEqual(read(self.path('out')), head + self.want)
                self.assertEqual(b''.join(sorted(self.runs())), bytes(sorted(b'12345' + again)))
                self.assertEqual(rows(self.journal, 'SELECT tasks, succeeded, failed FROM progress WHERE run = 2'),
                                 [(5, 5, 0)])

    def test_power_cut_of_lines(self):
        r = self.power_cut(10, '--lb')
        self.assertEqual((r.status, len(read(self.path('out')))), (255, 10))

    def test_log_of_others(self):
        """What other programs have written to the file of standard error stays, unless a task was writing."""
        err = self.path('err')
        command = 'echo {} >>runs; echo err {} >&2; test {} != 3 || test -e go || { touch in3; sleep 100; }'
        for late, kept in ((command, b''), (command.replace('echo err {} >&2; ', '') + '; echo err {} >&2', b'late\n')):
            with self.subTest(late=late):
                self.setUp()
                err = self.path('err')
                write(b'early\n', err)
                with open(err, 'ab') as f:
                    self.killed_in_3('-j1', command=late, stderr=f)
                    f.write(b'late\n')
                self.assertIn(b'err 2\n', read(err))
                with open(err, 'ab') as f:
                    self.knee('--resume', '-j1', late, ':::', *'12345', stderr=f)
                self.assertEqual(read(err), b'early\nerr 1\nerr 2\n' + kept + b'err 3\nerr 4\nerr 5\n')

    def test_another_file_of_errors(self):
        """It is not ours to cut, and no reason to stop."""
        err = self.path('err')
        with open(err, 'ab') as f:
            self.killed_in_3('-j5', command=WAITS.replace('echo out {}', 'echo out {} >&2'), stderr=f)
        write(b'long enough for all of it, but of another program\n', err)
        with open(err, 'ab') as f:
            r = self.knee('--resume', WAITS.replace('echo out {}', 'echo out {} >&2'), ':::', *'12345', stderr=f)
        self.assertEqual(r.status, 0)
        self.assertEqual(read(err), b'long enough for all of it, but of another program\nout 3\nout 4\nout 5\n')

    def test_pipe(self):
        """Into a pipe the task that was printing comes twice; the others once."""
        first = self.killed_in_3('-j5')
        r = self.knee('--resume', WAITS, ':::', *'12345')
        self.assertEqual(first + r.out, b'out 1\nend 1\nout 2\nend 2\nout 3\n' +
                         b'out 3\nend 3\nout 4\nend 4\nout 5\nend 5\n')

    def test_slow_pipe(self):
        """What waited for a slow reader when the run died was not printed: it comes again."""
        r, w = os.pipe()
        # The first ends when the others have, so that all of them are handed out in one go.
        command = 'test {} != a || until test -e go; do sleep 0.01; done; ' \
            'head -c 30000 /dev/zero | tr "\\0" {}; echo'
        args = ['-j8', command, ':::', *'abcdefgh']
        with start('--journal', self.journal, *args, stdout=w, cwd=self.folder) as p:
            os.close(w)
            worker = wait_for(lambda: descendants(p.pid), what='the program')[0]
            wait_for(lambda: len(self.finished()) == 7, what='all but the first have ended')
            write(b'', self.folder, 'go')
            wait_for(lambda: waiting(r) >= 60000 and descendants(p.pid) == [worker] and
                     process_state(worker) == 'S' and len(self.finished()) == 8,
                     what='the pipe is full, and nothing goes on')
            os.kill(worker, signal.SIGKILL)
            p.wait()
            with open(r, 'rb') as f:
                first = f.read()
        again = self.knee('--resume', *args)
        blocks = [i * 30000 + b'\n' for i in (b'a', b'b', b'c', b'd', b'e', b'f', b'g', b'h')]
        whole = first.count(b'\n')
        self.assertEqual(first[:30001 * whole], b''.join(blocks[:whole]))
        self.assertIn(again.out, [b''.join(blocks[n:]) for n in (whole, whole - 1)])
        self.assertEqual((again.err, again.status), (b'', 0))

    def test_interrupted_into_a_pipe(self):
        """Nothing is printed behind the task that was cut short."""
        with start('--journal', self.journal, '-j5', WAITS, ':::', *'12345', cwd=self.folder) as p:
            wait_for(lambda: os.path.exists(self.path('in3')) and len(self.finished()) == 4, what='task 3 runs')
            p.send_signal(signal.SIGINT)
            first = p.stdout.read()
            self.assertEqual(p.wait(), 255)
        self.assertEqual(first, b'out 1\nend 1\nout 2\nend 2\nout 3\n')
        write(b'', self.folder, 'go')
        self.same(self.knee('--resume', '-j5', WAITS, ':::', *'12345'), b'out 3\nend 3\nout 4\nend 4\nout 5\nend 5\n')

    def test_interrupted_with_others_that_print(self):
        """Nor what others print that run on for a moment: nothing of it is lost either."""
        command = 'echo {} >>runs; test {} = 1 && { test -e go || { touch in1; sleep 100; }; }; ' \
            'trap "echo {} trapped; sleep 0.2; echo {} ends" TERM; echo {} begins; ' \
            'test -e go || { touch in{}; while :; do sleep 0.01; done; }'
        with start('--journal', self.journal, '-j3', '--term-seq', 'TERM,500,KILL', command, ':::', '1', '2', '3',
                   cwd=self.folder) as p:
            wait_for(lambda: all(os.path.exists(self.path(f'in{i}')) for i in (1, 2, 3)), what='all run')
            p.send_signal(signal.SIGINT)
            first = p.stdout.read()
            self.assertEqual(p.wait(), 255)
        self.assertEqual(first, b'')
        write(b'', self.folder, 'go')
        self.same(self.knee('--resume', command, ':::', '1', '2', '3'), b'1 begins\n2 begins\n3 begins\n')

    def test_unordered(self):
        out = self.path('out')
        with open(out, 'ab') as f:
            self.killed_in_3('--unordered', '-j5', stdout=f)
            self.knee('--resume', '--unordered', '-j5', WAITS, ':::', *'12345', stdout=f)
        got = read(out)
        for i in range(1, 6):
            self.assertEqual(got.count(b'out %d\nend %d\n' % (i, i)), 1)
        self.assertEqual(len(got), len(self.want))

    def test_lines(self):
        out = self.path('out')
        with open(out, 'ab') as f:
            self.killed_in_3('--lb', '-j5', stdout=f)
            self.knee('--resume', '--lb', '-j5', WAITS, ':::', *'12345', stdout=f)
        got = read(out)
        for i in (1, 2, 3, 4, 5):
            self.assertEqual(got.count(b'end %d\n' % i), 1)
        self.assertEqual(sorted(self.runs()), [b'1', b'2', b'3', b'3', b'4', b'5'])

    def test_ungrouped(self):
        self.killed_in_3('-u', '-j5')
        r = self.knee('--resume', '-u', WAITS, ':::', *'12345')
        self.same(r, b'out 3\nend 3\n')

    def test_files_option(self):
        folder = self.path('files')
        os.mkdir(folder)
        r = self.knee('--files', '--tmpdir', folder, 'echo', ':::', 'a', 'b')
        self.assertEqual([read(p.decode()) for p in r.out.split()], [b'a\n', b'b\n'])
        r = self.knee('--resume', '--files', '--tmpdir', folder, 'echo', ':::', 'a', 'b', 'c')
        self.assertEqual([read(p.decode()) for p in r.out.split()], [b'c\n'])


class Said(Base):
    def test_summary_counts_the_earlier_run(self):
        self.knee('echo', ':::', 'a', 'b')
        with Pty('--journal', self.journal, '--resume', '--progress', 'sleep 0; exit 1', ':::', 'a') as t:
            self.assertEqual(t.finish(), 255)
        with Pty('--journal', self.journal, '--resume', 'echo', ':::', 'a', 'b', 'c', env={'KNEE': '--explain'}) as t:
            self.assertEqual(t.finish(), 0)
            self.assertIn(b'3 tasks (2 of an earlier run), 0 failed', t.data)


if __name__ == '__main__':
    unittest.main()
