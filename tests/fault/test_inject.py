# SPDX-License-Identifier: MIT
"""Every call that can fail, made to fail in turn: an error or a full result, no hang, nothing lost
in silence, nothing left behind. Under the sanitizers also: no leak, no stray access."""

import errno
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'cli'))
from kneetest import *

PROGRAM = os.path.join(os.path.dirname(os.path.dirname(KNEE)), 'tests/fault/knee-inject')

# Two ordinary runs that between them pass through most of the program.
SHORT = ['-j2', '--tag', '--retries', '2', '--timeout', '20', 'echo {}; echo e{} >&2', ':::', '1', '2', '3']
SHORT_OUT = b'1\t1\n2\t2\n3\t3\n'
INPUT = ['-j2', '--colsep', ',', '--header', ':', '-n1', 'echo', '{b}', '{a}']
INPUT_TEXT = b'a,b\n1,2\n3,4\n5,6\n'
INPUT_OUT = b'2 1\n4 3\n6 5\n'

MEMORY = ['malloc', 'calloc', 'realloc', 'reallocarray', 'strdup']
SYSTEM = [
    ('posix_spawn', errno.EAGAIN), ('posix_spawn', errno.ENOMEM), ('posix_spawn', errno.EIO),
    ('posix_spawn_file_actions_adddup2', errno.ENOMEM), ('pidfd_open', errno.EMFILE),
    ('pidfd_open', errno.ENOMEM), ('epoll_ctl', errno.ENOMEM), ('epoll_ctl', errno.ENOSPC),
    ('epoll_create1', errno.EMFILE), ('timerfd_create', errno.EMFILE), ('signalfd', errno.EMFILE),
    ('pipe2', errno.EMFILE), ('pipe2', errno.ENFILE), ('fork', errno.EAGAIN),
    ('write', errno.EIO), ('write', errno.ENOSPC), ('writev', errno.EIO), ('writev', errno.ENOSPC),
    ('write', errno.EINTR), ('writev', errno.EINTR), ('read', errno.EINTR), ('read', errno.EIO),
]


@unittest.skipIf(VALGRIND, 'the program of this test is another one')
@unittest.skipUnless(os.path.exists(PROGRAM), 'knee-inject is not built')
class Inject(unittest.TestCase):
    def one(self, args, text, want, function, n, number, on=False):
        """Run with the n-th call failing. True if there was an n-th call."""
        mark = os.path.join(scratch(), 'failed')
        env = {'KNEE_INJECT': f'{function}:{n}:{number}' + (':on' if on else ''), 'KNEE_INJECT_FILE': mark}
        r = run([PROGRAM, *args], input=text, env=env, timeout=60)
        what = f'call {n} of {function} fails with {errno.errorcode[number]}: {r}'
        for word in (b'Sanitizer', b'runtime error'):
            self.assertNotIn(word, r.err, what)
        if r.status == 0:
            self.assertEqual(r.out, want, what)
        else:
            # The start of the right output, or tasks that failed and are counted as such; and it is said.
            self.assertNotEqual(r.err, b'', what)
            self.assertGreater(r.status, 0, what)
            for line in r.out.splitlines(keepends=True):
                self.assertTrue(any(w.startswith(line) for w in want.splitlines(keepends=True)), what)
        self.assertEqual(r.left, [], what)
        return os.path.exists(mark)

    def each(self, function, number):
        for args, text, want in ((SHORT, b'', SHORT_OUT), (INPUT, INPUT_TEXT, INPUT_OUT)):
            n = 1
            while self.one(args, text, want, function, n, number):
                n += 1
                self.assertLess(n, 3000, 'the run does not end')

    def test_nothing_fails(self):
        self.assertFalse(self.one(SHORT, b'', SHORT_OUT, 'malloc', 100000, errno.ENOMEM))
        self.assertFalse(self.one(INPUT, INPUT_TEXT, INPUT_OUT, 'malloc', 100000, errno.ENOMEM))

    def test_a_spawn_that_always_fails_ends_with_an_error(self):
        for number in (errno.EAGAIN, errno.ENOMEM):
            mark = os.path.join(scratch(), 'failed')
            r = run([PROGRAM, 'echo', ':::', '1'], env={
                'KNEE_INJECT': f'posix_spawn:1:{number}:on', 'KNEE_INJECT_FILE': mark})
            self.assertEqual((r.out, r.status), (b'', 255))
            self.assertIn(os.strerror(number).encode(), r.err)

    def test_one_refused_spawn_costs_nothing(self):
        r = run([PROGRAM, '-j3', 'echo {}', ':::', '1', '2', '3'],
                env={'KNEE_INJECT': f'posix_spawn:2:{errno.EAGAIN}'})
        self.assertEqual((r.out, r.status), (b'1\n2\n3\n', 0))


# 5 MB wait for the first task, which ends when they are printed: more than is held in memory.
SPILL = ['-j2', 'if test {} = 1; then until test -e go; do sleep 0.01; done; else head -c 5000000 /dev/zero; >go; fi; '
         'echo {}', ':::', '1', '2']


@unittest.skipIf(VALGRIND, 'the program of this test is another one')
@unittest.skipUnless(os.path.exists(PROGRAM), 'knee-inject is not built')
class Spill(unittest.TestCase):
    def one(self, function, n, number):
        mark = os.path.join(scratch(), 'failed')
        r = run([PROGRAM, *SPILL], env={'KNEE_INJECT': f'{function}:{n}:{number}', 'KNEE_INJECT_FILE': mark},
                cwd=scratch())
        want = b'1\n' + bytes(5000000) + b'2\n'
        failed = os.path.exists(mark)
        self.assertTrue(want.startswith(r.out), r)
        # What cannot be read of the machine's state is no error: the run goes on without.
        if function == 'pread64' and r.status == 0:
            self.assertEqual(r.out, want)
            return failed
        self.assertEqual((r.out == want, r.status), (not failed, 255 if failed else 0), r)
        if failed:
            self.seen.add(function)
            self.assertIn(os.strerror(number).encode(), r.err)
            self.assertIn(b'task 2', r.err)
        return failed

    def test_spilling(self):
        self.seen = set()
        for function, number in (('pwrite64', errno.ENOSPC), ('pwrite64', errno.EIO), ('pread64', errno.EIO)):
            with self.subTest(function=function, number=number):
                # The first calls, and then ever fewer of them: each run takes its time.
                n = 1
                while self.one(function, n, number) and n < 200:
                    n += 1 + n // 3
                self.assertGreater(n, 1, 'nothing was spilled')
        self.assertEqual(self.seen, {'pwrite64', 'pread64'})


def add(name, function, number):
    def test(self):
        self.each(function, number)
    setattr(Inject, name, test)


for f in MEMORY:
    add(f'test_{f}', f, errno.ENOMEM)
for f, e in SYSTEM:
    add(f'test_{f}_{errno.errorcode[e]}', f, e)

if __name__ == '__main__':
    unittest.main()
