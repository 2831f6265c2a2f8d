# SPDX-License-Identifier: MIT
"""--group auto: whatever sizes it picks, every input is in one command, once, in order. The sizes
themselves are unit/test_group's matter; here only what start-up alone decides."""

from kneetest import *

FOLDER = scratch()
STARTS = os.path.join(FOLDER, 'starts')
with open(STARTS, 'w') as f:
    f.write('#!/bin/sh\nsleep 0.05\necho $#\n')
os.chmod(STARTS, 0o755)
AUTO = ('--group', 'auto')


def numbers(n):
    return b''.join(b'%d\n' % i for i in range(1, n + 1))


class Same(unittest.TestCase):
    def same(self, n, *args, stdin=True):
        input = numbers(n)
        more = () if stdin else (':::', *(str(i) for i in range(1, n + 1)))
        r = knee(*args, 'echo', *more, input=input if stdin else b'')
        self.assertEqual((r.err, r.status), (b'', 0), args)
        self.assertEqual(r.out.replace(b' ', b'\n'), input, args)
        return [len(line.split()) for line in r.out.splitlines()]

    def test_all_modes(self):
        for mode in ((), ('-X',), ('-m',), ('--xargs',), ('-N9',)):
            for jobs in ((), ('-j1',), ('-j3',)):
                self.same(1000, *AUTO, *mode, *jobs)
        self.same(100, *AUTO, '-j0')

    def test_arguments(self):
        for n in (1, 2, 7, 300):
            self.same(n, *AUTO, '-j4', stdin=False)

    def test_many(self):
        sizes = self.same(100000, *AUTO, '-j2', '-s', '20000')
        self.assertGreater(len(sizes), 28)

    def test_nothing(self):
        r = knee(*AUTO, 'echo', input=b'')
        self.assertEqual((r.out, r.err, r.status), (b'', b'', 0))

    def test_upper_bounds(self):
        for bound in ('-n5', '-N5', '-L5', '-l5'):
            self.assertLessEqual(max(self.same(200, *AUTO, '-j2', bound)), 5)
        r = knee(*AUTO, '-s', '40', 'echo', input=numbers(500))
        self.assertEqual(r.out.replace(b' ', b'\n'), numbers(500))
        self.assertLessEqual(max(map(len, r.out.splitlines())), 40)

    def test_context(self):
        r = knee(*AUTO, '-X', '-j2', 'echo', 'a{}b', input=numbers(200))
        self.assertEqual(r.out.split(), [b'a%db' % i for i in range(1, 201)])

    def test_one_unused(self):
        r = knee(*AUTO, '-n0', 'echo', 'x', input=numbers(3))
        self.assertEqual((r.out, r.status), (b'x\nx\nx\n', 0))

    def test_failed_and_tried_again(self):
        r = knee(*AUTO, '-j2', '--retries', '2', 'echo {}; false', input=numbers(20))
        self.assertEqual(r.out.split(), numbers(20).split())
        self.assertEqual(r.status, len(r.out.splitlines()))

    def test_dry_run(self):
        r = knee(*AUTO, '--dry-run', '-j2', 'true', input=numbers(50))
        self.assertEqual(r.out.replace(b'true', b'').split(), numbers(50).split())


class Sizes(unittest.TestCase):
    def test_startup_makes_large_ones(self):
        r = knee(*AUTO, '-j2', STARTS, input=numbers(2000))
        sizes = [int(line) for line in r.out.split()]
        self.assertEqual((sum(sizes), r.err, r.status), (2000, b'', 0))
        self.assertLess(len(sizes), 100)
        self.assertGreater(min(sizes), 0)


class Streams(unittest.TestCase):
    def test_what_is_there_is_not_kept_waiting(self):
        with start(*AUTO, '-j2', 'echo', stdin=subprocess.PIPE) as p:
            for word in (b'one', b'two', b'three'):
                p.stdin.write(word + b'\n')
                p.stdin.flush()
                self.assertEqual(p.stdout.readline(), word + b'\n')
            p.stdin.close()
            self.assertEqual((p.stdout.read(), p.wait(30)), (b'', 0))

    def test_an_input_that_cannot_be_read(self):
        path = os.path.join(FOLDER, 'inputs')
        with open(path, 'wb') as f:
            f.write(numbers(30))
        r = knee(*AUTO, '-j2', 'echo', '-a', path, '::::', os.path.join(FOLDER, 'none'))
        self.assertEqual(r.status, 255)

    def test_too_long(self):
        r = knee(*AUTO, '-j2', '-s', '60', 'echo', input=numbers(20) + b'x' * 100 + b'\n1\n')
        self.assertEqual(r.out.split(), numbers(20).split())
        self.assertIn(b'its command line would be longer than 60 bytes', r.err)
        self.assertEqual(r.status, 255)

    def test_ended_by_a_signal(self):
        with start(*AUTO, '-j2', 'sleep', '100', stdin=subprocess.PIPE) as p:
            p.stdin.write(b'1\n2\n3\n')
            p.stdin.flush()
            wait_descendants(p.pid, 2, named='sleep')
            p.terminate()
            self.assertEqual(p.wait(30), 255)


class Option(unittest.TestCase):
    def test_forms(self):
        for form in (('--group', 'auto'), ('--group=auto',)):
            r = knee(*form, '-j1', STARTS, input=numbers(100))
            self.assertLess(len(r.out.split()), 40, form)

    def test_alone_it_is_about_output(self):
        r = knee('--group', 'echo', ':::', '1', '2')
        self.assertEqual((r.out, r.status), (b'1\n2\n', 0))
        r = knee('--lb', '--group', 'echo', 'auto', ':::', '1', '2')
        self.assertEqual((r.out, r.status), (b'auto 1\nauto 2\n', 0))

    def test_other_values(self):
        r = knee('--group=few', 'echo', ':::', '1')
        self.assertEqual((r.out, r.status), (b'', 255))
        self.assertEqual(r.err, b"knee: --group: 'few': auto, or nothing\n")


if __name__ == '__main__':
    unittest.main()
