# SPDX-License-Identifier: MIT
"""How many inputs one command takes. What both have is compared with the real GNU parallel
and xargs, on random lists and sizes; the fixed cases are what they print."""

import random

from kneetest import *

FOLDER = scratch()

# Prints its arguments, each between < and >: what a task really got.
ARGV = os.path.join(FOLDER, 'argv')
with open(ARGV, 'w') as f:
    f.write('#!/bin/sh\nfor i; do printf "<%s>" "$i"; done; echo\n')
os.chmod(ARGV, 0o755)


def numbers(n):
    return b''.join(b'%d\n' % i for i in range(1, n + 1))


class Case(unittest.TestCase):
    def says(self, want, *args, input=b''):
        if isinstance(want, str):
            want = want.encode()
        r = knee(*args, input=input)
        self.assertEqual((r.out, r.err, r.status), (want, b'', 0), args)


class Counts(Case):
    def test_max_args(self):
        self.says('1 2 3\n4 5\n', '-n3', 'echo', input=numbers(5))
        self.says('1 2\n3 4\n', '-n2', 'echo', ':::', '1', '2', '3', '4')
        self.says('1\n2\n', '-n1', 'echo', input=numbers(2))
        self.says('<x1><2y>\n<x3y>\n', '-n2', ARGV, 'x{}y', input=numbers(3))

    def test_positions(self):
        self.says('<2><1>\n<4><3>\n', '-N2', ARGV, '{2}', '{1}', input=numbers(4))
        self.says('2,1\n,3\n', '-N2', 'echo', '{2},{1}', ':::', '1', '2', '3')
        self.says('<x1y><x2y>\n<x3y>\n', '-N2', ARGV, 'x{}y', input=numbers(3))

    def test_several_sources_count_as_one_input(self):
        self.says('1 a 1 b\n2 a 2 b\n', '-n2', 'echo', ':::', '1', '2', ':::', 'a', 'b')
        self.says('1,a,1,b\n2,a,2,b\n', '-N2', 'echo', '{1},{2},{3},{4}', ':::', '1', '2', ':::', 'a', 'b')

    def test_several_columns_count_as_one_input(self):
        self.says('a b c d e\nf\n', '-C', ',', '-n2', 'echo', input=b'a,b,c\nd,e\nf\n')

    def test_max_lines(self):
        self.says('1 2\n3\n', '-L2', 'echo', input=numbers(3))
        self.says('<a b><c>\n<d>\n', '-L2', ARGV, input=b'a \nb\nc\nd\n')
        self.says('<x1y><x2y>\n<x3y>\n', '-L2', ARGV, 'x{}y', input=numbers(3))
        self.says('<a>\n<>\n<b>\n', '-L1', ARGV, input=b'a\n\nb\n')

    def test_max_args_before_max_lines(self):
        self.says('1 2\n3 4\n5\n', '-L3', '-n2', 'echo', input=numbers(5))

    def test_empty_inputs_are_inputs(self):
        self.says('<1><>\n<2>\n', '-n2', ARGV, input=b'1\n\n2\n')
        self.says('<1><2>\n', '-r', '-n2', ARGV, input=b'1\n\n2\n')

    def test_no_args(self):
        self.says('a\na\n', '-n0', 'echo', 'a', ':::', '1', '2')
        self.says('xy\nxy\n', '-n0', 'echo', 'x{}y', ':::', '1', '2')
        self.says('\n' * 4, '-n0', 'echo', ':::', '1', '2', ':::', 'a', 'b')
        self.says('\n' * 3, '-n0', '-X', 'echo', input=numbers(3))

    def test_commands_as_inputs(self):
        self.says('1 echo 2\n', '-n2', input=b'echo 1\necho 2\n')

    def test_a_full_command_does_not_wait_for_more_input(self):
        with start('-n2', '-j1', 'echo', stdin=subprocess.PIPE) as p:
            p.stdin.write(b'1\n2\n')
            self.assertEqual(p.stdout.read(4), b'1 2\n')
            p.stdin.write(b'3\n')
            p.stdin.close()
            self.assertEqual(p.stdout.read(), b'3\n')
            self.assertEqual(p.wait(10 * SLOW), 0)


class Sharing(Case):
    def test_context(self):
        self.says('pic1.jpg pic2.jpg pic3.jpg\npic4.jpg pic5.jpg\n',
                  '-j2', '-X', 'echo', 'pic{}.jpg', ':::', '1', '2', '3', '4', '5')

    def test_multi(self):
        self.says('pic1 2 3.jpg\npic4 5.jpg\n', '-j2', '-m', 'echo', 'pic{}.jpg', input=numbers(5))

    def test_xargs_does_not_share(self):
        self.says('pic1 2 3 4 5.jpg\n', '-j2', '--xargs', 'echo', 'pic{}.jpg', input=numbers(5))

    def test_portions(self):
        self.says('1 2 3 4\n5 6 7 8\n9 10\n', '-j3', '-X', 'echo', input=numbers(10))
        self.says('1 2 3\n4 5 6\n7 8 9\n10\n', '-j4', '-X', 'echo', input=numbers(10))
        self.says('1 2\n3 4\n5 6\n7 8\n9 10\n', '-j6', '-X', 'echo', input=numbers(10))
        self.says(numbers(10), '-j16', '-X', 'echo', input=numbers(10))
        self.says(numbers(10), '-j0', '-X', 'echo', input=numbers(10))

    def test_usual_number_of_tasks_is_the_cores(self):
        n = len(os.sched_getaffinity(0))
        r = knee('-X', 'echo', input=numbers(4 * n))
        self.assertEqual(len(r.out.splitlines()), n, r)

    def test_with_max_args(self):
        self.says('1 2 3\n4\n5\n6\n', '-j3', '-X', '-n3', 'echo', input=numbers(6))
        self.says('1\n2\n3\n', '-j3', '-X', '-n3', 'echo', input=numbers(3))
        self.says('1 2 3\n4 5\n', '-j2', '-m', '-n10', 'echo', input=numbers(5))
        self.says('1 2 3 4 5\n', '-j2', '-n10', 'echo', input=numbers(5))

    def test_with_max_chars(self):
        self.says('1 2 3 4 5 6 7\n8 9\n10\n', '-j2', '-X', '-s20', 'echo', input=numbers(10))

    def test_repeated_words_of_one_text(self):
        self.says('<x1y><x2y><x3y><1><2><3>\n<x4y><4>\n', '-j1', '-X', f'-s{len(ARGV) + 19}',
                  ARGV + ' x{}y {}', input=numbers(4))


class Length(Case):
    def test_counts_as_xargs_counts(self):
        for s in range(8, 16):
            with self.subTest(s=s):
                want = xargs('-s', str(s), 'echo', input=numbers(9))
                self.assertEqual(want.status, 0)
                self.says(want.out, '--xargs', f'-s{s}', 'echo', input=numbers(9))

    def test_with_max_args(self):
        self.says('1 2 3\n4 5 6\n7 8 9\n10\n', '-n4', '-s12', 'echo', input=numbers(10))

    def test_exit_if_too_long(self):
        # As xargs; GNU parallel has the option and goes on.
        r = knee('-n4', '-s12', '-x', 'echo', input=numbers(10))
        self.assertEqual((r.out, r.status), (b'', 255), r)
        self.assertIn(b'knee: -x: the command line of 4 inputs would be longer than 12 bytes', r.err)
        self.says('1 2 3\n4\n', '--xargs', '-s12', '-x', 'echo', input=numbers(4))

    def test_one_input_too_long(self):
        for mode in ('-X', '-m', '--xargs', '-n3', '-n1', '-x'):
            with self.subTest(mode=mode):
                r = knee('-j1', mode, '-s12', 'echo', input=b'1\n2\n' + b'3' * 60 + b'\n4\n')
                self.assertEqual((r.out.split(), r.status), ([b'1', b'2'], 255), r)
                self.assertIn(b"'" + b'3' * 40 + b"...', 60 bytes: its command line would be longer "
                              b'than 12', r.err)

    def test_no_room_for_any_input(self):
        r = knee('-X', '-s3', 'echo', input=numbers(2))
        self.assertEqual((r.out, r.status), (b'', 255), r)

    def test_more_than_the_system_takes(self):
        r = knee('-j1', '-X', '-s999999999', 'echo', input=numbers(3))
        self.assertEqual((r.out, r.status), (b'1 2 3\n', 0))
        self.assertIn(b'knee: -s 999999999: the system takes', r.err)

    def test_a_command_line_that_is_as_long_as_can_be(self):
        # Short words: it is the pointers to them that fill the system's limit.
        r = knee('-j1', '--xargs', '-s999999999', '--silent', '-q', 'sh', '-c', 'echo $#', 'sh',
                 input=b'1\n' * 300000)
        self.assertEqual((r.err, r.status), (b'', 0), r)
        self.assertEqual(sum(map(int, r.out.split())), 300000)

    def test_usual_length(self):
        words = b''.join(b'%06d\n' % i for i in range(60000))
        r = knee('-j1', '--xargs', 'echo', input=words)
        self.assertEqual(r.out.split(), words.split())
        longest = max(len(line) for line in r.out.splitlines())
        self.assertLessEqual(longest, 131071)
        self.assertGreater(longest, 131000)

    def test_quotes_count(self):
        words = b"it's\n" * 20000
        r = knee('-j1', '--xargs', 'printf "%s\\n" {} | wc -l', input=words)
        self.assertEqual(sum(map(int, r.out.split())), 20000)

    def test_numbered_arguments_are_measured_whole(self):
        self.says('2 1\n4 3\n', '-N2', '-s12', 'echo', '{2}', '{1}', input=numbers(4))
        self.says('2 2 2\n4 4 4\n', '-N2', '-s14', 'echo', '{2}', '{2}', '{2}', input=numbers(4))
        r = knee('-N3', '-s12', 'echo', '{3}{3}{3}{3}{3}{3}{3}{3}', input=numbers(3))
        self.assertEqual(r.status, 0, r)
        self.assertNotIn(b'33333333', r.out)

    def test_show_limits(self):
        r = knee('--show-limits', 'echo', input=b'')
        self.assertEqual(r.status, 0, r)
        self.assertIn(b'Longest command line of this run', r.out + r.err)


class LikeTheOthers(Case):
    """The same batches, and so the same list of all arguments, as GNU parallel and xargs."""

    RUNS = 15

    def setUp(self):
        self.seed = int(os.environ.get('KNEE_SEED') or time.time())
        self.rng = random.Random(self.seed)

    def words(self):
        n = self.rng.randint(100, 2000) if self.rng.random() < 0.1 else self.rng.randint(0, 30)
        longest = self.rng.choice((2, 5, 20))
        return [''.join(self.rng.choice('abcdefgh123') for _ in range(self.rng.randint(1, longest)))
                for _ in range(n)]

    def choice(self, modes, counts):
        mode = self.rng.choice(modes)
        args = [mode] if mode else []
        if not mode or self.rng.random() < 0.5:
            args.append(f'-{self.rng.choice(counts)}{self.rng.randint(1, 6)}')
        if self.rng.random() < 0.7:
            args.append(f'-s{self.rng.randint(26, 80)}')
        return args

    def check(self, other, args, words, more):
        data = ('\n'.join(words) + '\n' * (self.rng.random() < 0.8)).encode() if words else b''
        with self.subTest(f'KNEE_SEED={self.seed}', args=args, words=words):
            want = other(*more, *[a for a in args if a != '--xargs' or other is gnu], 'echo', input=data)
            self.assertEqual(want.status, 0, want)
            got = knee(*[a for a in more if a.startswith('-j')], *args, 'echo', input=data)
            self.assertEqual((got.out, got.err, got.status), (want.out, b'', 0))
            self.assertEqual(got.out.split(), data.split())

    @unittest.skipUnless(GNU, 'GNU parallel is not installed')
    def test_gnu_parallel(self):
        for _ in range(self.RUNS):
            self.check(gnu, self.choice(('', '-X', '-X', '-m', '-m', '--xargs'), 'nnNL'), self.words(),
                       ['-k', f'-j{self.rng.randint(1, 5)}'])

    def test_xargs(self):
        for _ in range(self.RUNS):
            self.check(xargs, self.choice(('--xargs',), 'n'), self.words(), ['-r'])


class Many(Case):
    @unittest.skipIf(SANITIZED or VALGRIND, 'it is their memory that would be measured')
    def test_memory_does_not_grow(self):
        peaks = []
        for n in (100000, 1000000):
            r = knee('-X', '-j1', '-q', 'sh', '-c', 'grep VmHWM /proc/$PPID/status', 'sh', input=numbers(n))
            self.assertEqual(r.status, 0, r)
            peaks.append(max(int(line.split()[1]) for line in r.out.splitlines()))
        self.assertLess(peaks[1], peaks[0] + 1024, peaks)


if __name__ == '__main__':
    unittest.main()
