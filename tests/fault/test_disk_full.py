# SPDX-License-Identifier: MIT
"""A journal whose disk is full, or fails: at every write in turn the run stops cleanly, says so, and
goes on from there once there is room, to the same output."""

import contextlib
import errno
import os
import sqlite3
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'cli'))
from kneetest import *

PROGRAM = os.path.join(os.path.dirname(os.path.dirname(KNEE)), 'tests/fault/knee-inject')

# Task 1 ends last, so that the output of the others has to be kept.
COMMAND = 'echo {} >>runs; test {} != 1 || sleep 0.03; echo out {}; echo more {}'
INPUTS = '123456'
WANT = b''.join(b'out %s\nmore %s\n' % (i, i) for i in (b'1', b'2', b'3', b'4', b'5', b'6'))


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def finished(path):
    """What the journal has as finished; it is read from a copy."""
    copy = os.path.join(scratch(), 'j')
    for end in ('', '-wal', '-journal'):
        with contextlib.suppress(FileNotFoundError), open(copy + end, 'wb') as f:
            f.write(read(path + end))
    try:
        with contextlib.closing(sqlite3.connect(copy)) as db:
            return {seq for seq, in db.execute('SELECT seq FROM task WHERE state > 0')}
    except sqlite3.OperationalError as e:
        if 'no such table' in str(e):
            return set()
        raise


@unittest.skipIf(VALGRIND, 'the program of this test is another one')
@unittest.skipUnless(os.path.exists(PROGRAM), 'knee-inject is not built')
class EveryWrite(unittest.TestCase):
    def one(self, function, n, number, on, more):
        """True if there was an n-th call."""
        folder = scratch()
        journal, out, runs, mark = (os.path.join(folder, name) for name in ('j', 'out', 'runs', 'failed'))
        args = ['-j3', '--no-memory', '--journal', journal, '--output', out, *more, COMMAND, ':::', *INPUTS]
        inject = {'KNEE_INJECT': f'{function}:{n}:{number}' + (':on' if on else ''), 'KNEE_INJECT_FILE': mark}
        r = run([PROGRAM, *args], env=inject, cwd=folder, timeout=60)
        what = f'call {n} of {function} fails with {errno.errorcode[number]}{" and on" if on else ""}: {r}'
        for word in (b'Sanitizer', b'runtime error'):
            self.assertNotIn(word, r.err, what)
        done = finished(journal)
        if r.status == 0:
            self.assertEqual((read(out), r.err), (WANT, b''), what)
        else:
            self.stopped += 1
            self.assertEqual((r.status, r.out), (255, b''), what)
            self.assertTrue(journal.encode() in r.err or out.encode() in r.err, what)
            # Some of what fails is an input/output error to SQLite, whatever the reason.
            self.assertTrue(any(os.strerror(e).encode() in r.err for e in (number, errno.EIO)), what)
            self.assertTrue(WANT.startswith(read(out)), what)
        before = read(runs).split() if os.path.exists(runs) else []
        again = run([PROGRAM, '--resume', *args], cwd=folder, timeout=60)
        self.assertEqual((again.status, again.err), (0, b''), f'{what}, then {again}')
        self.assertEqual(read(out), WANT, f'{what}, then {again}')
        ran = read(runs).split()[len(before):]
        self.assertEqual(done.intersection(map(int, ran)), set(), f'{what}, then ran again: {ran}')
        self.assertEqual(set(before) | set(ran), {i.encode() for i in INPUTS}, what)
        return os.path.exists(mark)

    def each(self, function, number, on=False, more=()):
        self.stopped = 0
        n = 1
        while self.one(function, n, number, on, more):
            n += 1
            self.assertLess(n, 1000, 'the run does not end')
        self.assertGreater(n, 1, f'{function} was never called')
        return self.stopped

    def test_write_no_space(self):
        self.assertGreater(self.each('db_pwrite64', errno.ENOSPC), 5)

    def test_write_no_space_from_then_on(self):
        self.assertGreater(self.each('db_pwrite64', errno.ENOSPC, on=True), 5)

    def test_write_error(self):
        self.assertGreater(self.each('db_pwrite64', errno.EIO), 5)

    def test_truncate(self):
        self.each('db_ftruncate64', errno.ENOSPC)
        self.each('db_ftruncate64', errno.EIO, on=True)

    def test_sync(self):
        for number in (errno.ENOSPC, errno.EIO):
            self.assertGreater(self.each('db_fdatasync', number, more=['--sync']), 2)

    def test_unlink(self):
        self.each('db_unlink', errno.EIO)


class SmallDisk(unittest.TestCase):
    """A real one of 2 MiB."""

    # What is printed behind task 1 has to be kept until it ends.
    command = 'echo {} >>runs; test {} != 1 || until test -e go; do sleep 0.02; done; cat block; echo {}'
    inputs = [str(i) for i in range(1, 101)]
    block = b'b' * 30000

    def setUp(self):
        self.folder = scratch()
        with open(os.path.join(self.folder, 'block'), 'wb') as f:
            f.write(self.block)
        self.want = b''.join(self.block + i.encode() + b'\n' for i in self.inputs)

    def knee(self, *args):
        return knee('-j4', '--no-memory', *args, self.command, ':::', *self.inputs, cwd=self.folder)

    def go(self):
        open(os.path.join(self.folder, 'go'), 'w').close()

    def check(self, journal, out, done, ran_before):
        r = self.knee('--resume', '--journal', journal, '--output', out)
        self.assertEqual((r.status, r.err), (0, b''))
        self.assertEqual(read(out), self.want)
        ran = read(os.path.join(self.folder, 'runs')).split()[ran_before:]
        self.assertEqual(done.intersection(map(int, ran)), set(), 'finished tasks ran again')

    def test_journal(self):
        with small_tmpfs('2m') as disk:
            journal, out = os.path.join(disk, 'j'), os.path.join(self.folder, 'out')
            r = self.knee('--journal', journal, '--output', out)
            self.assertEqual((r.out, r.status), (b'', 255))
            self.assertIn(journal.encode(), r.err)
            self.assertIn(b'--resume', r.err)
            done = finished(journal)
            self.assertGreater(len(done), 10)
            ran = len(read(os.path.join(self.folder, 'runs')).split())
            subprocess.run(['mount', '-o', 'remount,size=32m', disk], check=True)
            self.go()
            self.check(journal, out, done, ran)

    def test_output(self):
        """The file of --output is on it."""
        self.go()
        with small_tmpfs('2m') as disk:
            journal, out = os.path.join(self.folder, 'j'), os.path.join(disk, 'out')
            r = self.knee('--journal', journal, '--output', out)
            self.assertEqual((r.out, r.status), (b'', 255))
            self.assertIn(b'No space left', r.err)
            done = finished(journal)
            self.assertGreater(len(done), 10)
            with contextlib.closing(sqlite3.connect(journal)) as db:
                printed = db.execute('SELECT COUNT(*) FROM task WHERE printed').fetchone()[0]
            self.assertEqual(printed, read(out).count(b'\n'), 'tasks whose output is whole count')
            ran = len(read(os.path.join(self.folder, 'runs')).split())
            subprocess.run(['mount', '-o', 'remount,size=32m', disk], check=True)
            self.check(journal, out, done, ran)

    def test_both(self):
        self.go()
        with small_tmpfs('2m') as disk:
            journal, out = os.path.join(disk, 'j'), os.path.join(disk, 'out')
            r = self.knee('--journal', journal, '--output', out)
            self.assertEqual((r.out, r.status), (b'', 255))
            self.assertIn(b'No space left', r.err)
            ran = len(read(os.path.join(self.folder, 'runs')).split())
            done = finished(journal)
            subprocess.run(['mount', '-o', 'remount,size=32m', disk], check=True)
            self.check(journal, out, done, ran)


if __name__ == '__main__':
    unittest.main()
