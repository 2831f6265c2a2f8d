# SPDX-License-Identifier: MIT
"""--joblog, and going on from it: the lines, as GNU parallel's; what is run again and what is not."""

import re

from kneetest import *

HEAD = b'Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n'


def line(seq, command, exitval=0, sig=0):
    return b'%d\t:\t1700000000.000\t     0.001\t0\t2\t%d\t%d\t%s\n' % (seq, exitval, sig, command)


class Base(unittest.TestCase):
    def setUp(self):
        self.folder = scratch()
        self.log = os.path.join(self.folder, 'log')

    def knee(self, *args, **more):
        return knee('--joblog', self.log, *args, cwd=self.folder, **more)

    def read(self, path=None):
        with open(path or self.log, 'rb') as f:
            return f.read()

    def write(self, data):
        with open(self.log, 'wb') as f:
            f.write(data)

    def rows(self, path=None):
        """Of each line (seq, Receive, Exitval, Signal, Command)."""
        data = self.read(path)
        self.assertTrue(data.startswith(HEAD) and data.endswith(b'\n'), data)
        self.assertEqual(data.count(HEAD), 1)
        found = []
        for row in data[len(HEAD):-1].split(b'\n') if len(data) > len(HEAD) else []:
            seq, host, begin, runtime, send, *rest = row.split(b'\t', 8)
            self.assertEqual((host, send), (b':', b'0'))
            self.assertRegex(begin, rb'^\d{10}\.\d{3}$')
            self.assertRegex(runtime, rb'^ *\d+\.\d{3}$')
            self.assertGreaterEqual(len(runtime), 10)
            found.append((int(seq), *map(int, rest[:3]), rest[3]))
        return found


class Lines(Base):
    def same(self, *args, order=False):
        """The same rows as GNU parallel's, but for the times. Receive is here what both streams got."""
        r = self.knee(*args)
        mine = self.rows()
        gnu('--joblog', self.log, *args, cwd=self.folder)
        theirs = self.rows()
        self.assertEqual(mine if order else sorted(mine), theirs if order else sorted(theirs))
        return r, mine

    @unittest.skipUnless(GNU, 'GNU parallel is not installed')
    def test_as_gnu(self):
        self.same('echo {}; exit {}', ':::', '0', '1', '7')
        self.same('kill -9 $$; echo', ':::', '1')
        self.same('nonexistentcmd 2>&-', ':::', '1')
        self.same('--timeout', '1', 'sleep', ':::', '20')
        self.same('--retries', '3', 'echo {}; false', ':::', 'x')
        self.same('-X', '-j1', 'echo', ':::', '1', '2', '3')
        self.same('-j1', '-q', 'printf', '%s', 'a\nb\tc', ':::', "it's", order=True)
        self.same('-j3', '--halt', 'now,fail=1', 'sleep {}; exit 5', ':::', '0.2', '30', '30')
        self.same('echo', ':::')

    def test_fields(self):
        r = self.knee('-j1', 'echo {}; exit {}', ':::', '0', '3')
        self.assertEqual((r.out, r.err, r.status), (b'0\n3\n', b'', 1))
        self.assertEqual(self.rows(), [(1, 2, 0, 0, b'echo 0; exit 0'), (2, 2, 3, 0, b'echo 3; exit 3')])

    def test_newline(self):
        self.knee('-q', 'printf', 'a\nb', ':::', 'c')
        self.assertEqual(self.rows()[0][4].count(b'\0'), 1)

    def test_order_of_ending(self):
        self.knee('-j2', 'test {} = 2 || until grep -q ^2 log; do sleep 0.01; done', ':::', '1', '2')
        self.assertEqual([r[0] for r in self.rows()], [2, 1])

    def test_a_new_run_empties_it(self):
        self.knee('echo', ':::', 'a', 'b', 'c')
        self.knee('echo', ':::', 'x')
        self.assertEqual([r[4] for r in self.rows()], [b'echo x'])

    def test_plus_appends(self):
        for _ in range(2):
            knee('--joblog', '+' + self.log, 'echo', ':::', 'x')
        self.assertEqual([r[0] for r in self.rows()], [1, 1])

    def test_minus_is_standard_output(self):
        r = knee('--joblog', '-', 'true', ':::', 'x')
        self.assertEqual((r.out[:len(HEAD)], r.out.count(b'\n'), r.status), (HEAD, 2, 0))

    def test_dry_run_writes_nothing(self):
        self.write(b'mine\n')
        self.assertEqual(self.knee('--dry-run', 'echo', ':::', 'x').out, b'echo x\n')
        self.assertEqual(self.read(), b'mine\n')

    def test_interrupted_tasks_have_no_line(self):
        with start('--joblog', self.log, '-j2', 'test {} = 1 || { touch in2; sleep 100; }', ':::', '1', '2',
                   cwd=self.folder) as p:
            wait_for(lambda: os.path.exists(os.path.join(self.folder, 'in2')) and self.read().count(b'\n') == 2)
            p.send_signal(signal.SIGINT)
            self.assertEqual(p.wait(), 255)
        self.assertEqual([r[0] for r in self.rows()], [1])

    def test_killed_leaves_whole_lines(self):
        with start('--joblog', self.log, '-j2', 'test {} = 9 && { touch in9; sleep 100; }; true', ':::', *'123456789',
                   cwd=self.folder) as p:
            wait_for(lambda: os.path.exists(os.path.join(self.folder, 'in9')) and self.read().count(b'\n') == 9)
            p.kill()
            p.wait()
            self.assertEqual(sorted(r[0] for r in self.rows()), [1, 2, 3, 4, 5, 6, 7, 8])
            wait_gone(marked(mark_of(p)))
        r = self.knee('--resume', 'echo', ':::', *'123456789')
        self.assertEqual((r.out, r.status), (b'9\n', 0))


class Resume(Base):
    args = ('-j1', 'echo {}; exit {}', ':::', '0', '1', '2')

    def test_resume(self):
        self.knee(*self.args)
        before = self.read()
        r = self.knee('--resume', *self.args, '0')
        self.assertEqual((r.out, r.err), (b'0\n', b''))
        self.assertEqual(r.status, 2)           # of all four
        self.assertTrue(self.read().startswith(before))
        self.assertEqual([x[0] for x in self.rows()], [1, 2, 3, 4])

    def test_missing_and_empty(self):
        self.assertEqual(self.knee('--resume', 'echo', ':::', 'a').out, b'a\n')
        self.assertEqual(len(self.rows()), 1)
        for data in (b'', HEAD[:9]):
            self.write(data)
            self.assertEqual(self.knee('--resume', 'echo', ':::', 'a').out, b'a\n')
            self.assertEqual(len(self.rows()), 1)

    def test_resume_failed(self):
        self.knee(*self.args)
        r = self.knee('--resume-failed', *self.args, '0')
        self.assertEqual((r.out, r.status), (b'1\n2\n0\n', 2))
        self.assertEqual([x[0] for x in self.rows()], [1, 2, 3, 2, 3, 4])

    def test_last_line_counts(self):
        self.write(HEAD + line(2, b'x', 1) + line(1, b'x') + line(2, b'x') + line(1, b'x', 0, 9) + line(3, b'x', -1, 15))
        r = self.knee('--resume-failed', 'echo', ':::', 'a', 'b', 'c')
        self.assertEqual((r.out, r.status), (b'a\nc\n', 0))

    def test_batches(self):
        self.knee('-N2', 'echo', ':::', *'abc')
        self.assertEqual(self.knee('--resume', '-N2', 'echo', ':::', *'abcdef').out, b'e f\n')

    def test_torn_last_line(self):
        for cut in (line(2, b'echo b')[:-1], line(2, b'echo b')[:4], b'2'):
            self.write(HEAD + line(1, b'echo a') + cut)
            r = self.knee('--resume', 'echo', ':::', 'a', 'b')
            self.assertEqual((r.out, r.err, r.status), (b'b\n', b'', 0))
            self.assertEqual([x[0] for x in self.rows()], [1, 2])

    def test_inputs_that_come_late(self):
        self.write(HEAD + line(1, b'x') + line(3, b'x'))
        self.assertEqual(self.knee('--resume', 'echo', input=b'a\nb\nc\n').out, b'b\n')

    def test_far_numbers(self):
        self.write(HEAD + line(1 << 30, b'x') + line(2, b'x'))
        self.assertEqual(self.knee('--resume', 'echo', ':::', 'a', 'b').out, b'a\n')

    def test_with_a_journal(self):
        j = os.path.join(self.folder, 'j')
        self.knee('--journal', j, 'echo', ':::', 'a', 'b')
        with open(self.log, 'ab') as f:
            f.write(b'3\t:')
        r = self.knee('--journal', j, '--resume', 'echo', ':::', 'a', 'b', 'c')
        self.assertEqual((r.out, r.status), (b'c\n', 0))
        self.assertEqual(sorted(x[0] for x in self.rows()), [1, 2, 3])
        log = knee('log', '--format', 'tsv', j)
        self.assertEqual(sorted(log.out.splitlines()), sorted(self.read().splitlines()))


class Retry(Base):
    def test_retry_failed(self):
        self.knee('-j1', "echo {}; test -e go", ':::', 'a b', 'c')
        self.write(self.read() + line(3, b'echo no') + line(6, b'printf "x\0y %s\\n" "{}"; false', 1))
        open(os.path.join(self.folder, 'go'), 'w').close()
        r = self.knee('-j1', '--retry-failed')
        self.assertEqual((r.out, r.err, r.status), (b'a b\nc\nx\ny {}\n', b'', 1))
        self.assertEqual([x[0] for x in self.rows()], [1, 2, 3, 6, 1, 2, 6])
        # What is given beside is not read.
        r = self.knee('-j1', '--retry-failed', 'echo', 'never', ':::', 'x', 'y')
        self.assertEqual((r.out, r.status), (b'x\ny {}\n', 1))

    def test_last_line_of_each(self):
        self.write(HEAD + line(2, b'echo two', 1) + line(1, b'echo one', 1) + line(2, b'echo 2', 1) + line(1, b'echo 1'))
        self.assertEqual(self.knee('--retry-failed').out, b'2\n')
        self.assertEqual(self.knee('--retry-failed').out, b'')

    def test_missing(self):
        r = self.knee('--retry-failed')
        self.assertEqual((r.out, r.status), (b'', 255))
        self.assertIn(b'No such file', r.err)
        self.assertFalse(os.path.exists(self.log))


class Refused(Base):
    def refused(self, said, *args, data=None):
        if data is not None:
            self.write(data)
        r = self.knee(*args)
        self.assertEqual((r.out, r.status), (b'', 255))
        self.assertIn(said, r.err)
        self.assertEqual(r.err.count(b'\n'), 1)
        if data is not None:
            self.assertEqual(self.read(), data)

    def test_malformed(self):
        for bad in (b'garbage\n', b'\n', line(0, b'x'), line(-3, b'x'), line(1 << 41, b'x'),
                    line(5, b'x').replace(b'\t:\t', b'\t\t'), line(5, b'x').replace(b'0.001', b'soon'),
                    line(5, b'x').replace(b'5\t', b'5 \t', 1), line(5, b'x').replace(b'5', b'9' * 30, 1),
                    line(5, b'x')[::-1][1:] + b'\n', b'\0\0\t\t\t\t\t\t\t\t\n'):
            for how in ('--resume', '--resume-failed', '--retry-failed'):
                self.refused(b'line 3 ', how, 'echo', ':::', 'a', data=HEAD + line(1, b'x') + bad + line(2, b'x'))

    def test_no_job_log(self):
        self.refused(b'line 1 ', '--resume', 'echo', ':::', 'a', data=b'a\nb\n')

    def test_own_files(self):
        self.refused(b'inputs are read from it', 'echo', '::::', self.log, data=b'a\nb\n')
        self.refused(b'no regular file', '--joblog', '/dev/null', '--resume', 'echo', ':::', 'a')

    def test_no_place(self):
        self.refused(b'nope/x: No such file', '--joblog', '/nope/x', 'echo', ':::', 'a')

    def test_order_not_known(self):
        self.refused(b'--shuf', '--resume', '--shuf', 'echo', ':::', 'a', data=HEAD)

    def test_disk_full(self):
        self.refused(b'/dev/full: No space left', '--joblog', '/dev/full', 'echo', ':::', 'a')

    def test_disk_full_in_the_run(self):
        with small_tmpfs('64k') as folder:
            log = os.path.join(folder, 'log')
            r = knee('--joblog', log, 'true', '{}' + 'x' * 2000, ':::', *map(str, range(100)))
            self.assertEqual(r.status, 255)
            self.assertIn(b'log: No space left', r.err)
            self.assertTrue(self.read(log).startswith(HEAD))


if __name__ == '__main__':
    unittest.main()
