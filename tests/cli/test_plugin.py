# SPDX-License-Identifier: MIT
"""--plugin: functions of a shared object on threads, and with --isolate in processes."""

import contextlib
import random
import sqlite3

from kneetest import *

PLUGINS = os.path.join(os.path.dirname(os.path.dirname(KNEE)), 'tests/plugins')
ECHO = os.path.join(PLUGINS, 'plugin_echo.so')
ODD = os.path.join(PLUGINS, 'plugin_odd.so')


# A crash that is meant is no finding of a sanitizer's.
PLAIN_CRASH = {'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '') + ':handle_segv=0'}


def lines(*words):
    return ''.join(f'{w}\n' for w in words).encode()


def rows(path):
    """What a journal says of each task, but for times, places and the command's text."""
    with sqlite3.connect(path) as db:
        return db.execute('SELECT t.seq, digest, state, attempts, printed, outcome, status, output_bytes, '
                          'out_bytes FROM task t JOIN attempt a USING (seq) ORDER BY t.seq, attempt').fetchall()


def given(data):
    """A file of these bytes, to be read."""
    path = os.path.join(scratch(), 'input')
    with open(path, 'wb') as f:
        f.write(data)
    return open(path, 'rb')


class Base(unittest.TestCase):
    def check(self, args, out, err=b'', status=0, **more):
        r = knee(*args, **more)
        self.assertEqual((r.out, r.err, r.status), (out, err, status))
        self.assertEqual(r.left, [])


class Same(Base):
    """The same inputs give the same output and the same rows, whatever carries them out."""

    def test_hundred_inputs(self):
        # What fails does so in each of them, and says the same before.
        inputs = lines(*(f'input {n}{" x" * (n % 7)}' for n in range(100)))
        found = {}
        for name, words in {
                'process': ['echo'], 'worker': ['--worker', 'cat'], 'thread': ['--plugin', ECHO],
                'isolated': ['--plugin', ECHO, '--isolate']}.items():
            folder = scratch()
            journal, out = os.path.join(folder, 'journal'), os.path.join(folder, 'out')
            r = knee('-j4', '--journal', journal, '--output', out, *words, input=inputs)
            self.assertEqual((r.err, r.status), (b'', 0), name)
            with open(out, 'rb') as f:
                found[name] = f.read(), rows(journal)
        self.assertEqual(found['process'][0], inputs)
        self.assertEqual(len(found['process'][1]), 100)
        for name, result in found.items():
            self.assertEqual(result, found['process'], name)

    def test_many(self):
        inputs = lines(*range(20000))
        for more in [], ['-j1'], ['-j3'], ['--isolate'], ['-j2', '--isolate']:
            self.check(['--plugin', ECHO, *more], inputs, input=inputs)

    def test_unordered(self):
        inputs = lines(*range(2000))
        r = knee('--plugin', ECHO, '--unordered', input=inputs)
        self.assertEqual(sorted(r.out.split()), sorted(inputs.split()))

    def test_later_ones_wait_for_the_first(self):
        self.check(['-j2', '--plugin', ECHO, ':::', 'sleep:100,first', 'second', 'third'],
                   lines('first', 'second', 'third'))

    def test_streams(self):
        self.check(['-j1', '--plugin', ECHO, ':::', 'a,err:b,c', 'err:d'], lines('a', 'c'), lines('b', 'd'))
        self.check(['--tag', '--plugin', ECHO, ':::', 'a'], b'a\ta\n')

    def test_much_output(self):
        r = knee('--plugin', ECHO, ':::', 'fill:20000000', 'fill:1000', 'fill:5000000')
        self.assertEqual((len(r.out), r.err, r.status), (25001000, b'', 0))

    def test_slow_reader(self):
        # Threads wait for room; the loop does not, and nothing is lost.
        with start('--plugin', ECHO, '-j4', *[':::', *['fill:3000000'] * 8], stdout=subprocess.PIPE) as p:
            self.assertEqual(len(p.stdout.read(1)), 1)
            self.assertEqual(len(p.stdout.read()), 23999999)
            self.assertEqual(p.wait(), 0)

    def test_status(self):
        self.check(['--plugin', ECHO, ':::', 'exit:0', 'exit:3', 'a', 'exit:255'], b'a\n', status=2)
        self.check(['-j1', '--halt', 'now,fail=1', '--plugin', ECHO, ':::', 'exit:7', 'b'], b'', status=7)

    def test_no_inputs(self):
        self.check(['--plugin', ECHO], b'', input=b'')

    def test_retries(self):
        for more in [], ['--isolate']:
            self.check(['--retries', '3', '--plugin', ECHO, *more, ':::', 'fail:2,x', 'fail:3,y'], b'x\n', status=1)

    def test_dry_run(self):
        self.check(['--dry-run', '--plugin', ECHO, ':::', 'a', 'exit:1'], lines('a', 'exit:1'))


class Whole(Base):
    def want(self, n):
        return b'whole: ' + '+'.join(map(str, range(1, n + 1))).encode() + b'\n'

    def test_in_order(self):
        for symbol in 'knee_plugin', 'associative':
            for more in [], ['-j1'], ['-j7'], ['--isolate'], ['--unordered']:
                for n in 1, 2, 31, 32, 33, 3000:
                    self.check(['--plugin', f'{ECHO}:{symbol}', *more], self.want(n),
                               input=lines(*(f'part:{i}' for i in range(1, n + 1))))

    def test_out_of_order(self):
        # Ends come in any order, by seed.
        for seed in range(3):
            pick = random.Random(seed)
            inputs = lines(*(f'part:{i},sleep:{pick.randrange(8)}' for i in range(1, 301)))
            for symbol in 'knee_plugin', 'associative':
                self.check(['-j16', '--plugin', f'{ECHO}:{symbol}'], self.want(300), input=inputs)

    def test_failed_ones_are_left_out(self):
        for symbol in 'knee_plugin', 'associative':
            self.check(['--plugin', f'{ECHO}:{symbol}', ':::', 'part:1', 'part:2,exit:1', 'x', 'part:3'],
                       b'x\nwhole: 1+3\n', status=1)

    def test_last_attempt_counts(self):
        self.check(['--retries', '2', '--plugin', ECHO, ':::', 'part:1,fail:1,part:2', 'part:3'], b'whole: 2+3\n')

    def test_behind_all_output(self):
        self.check(['--tag', '--plugin', ECHO, ':::', 'part:1,sleep:50,a', 'part:2,b'],
                   b'part:1,sleep:50,a\ta\npart:2,b\tb\nwhole: 1+2\n')

    def test_close_fails(self):
        self.check(['--plugin', ECHO, 'close=3', ':::', 'part:1', 'exit:1'], b'whole: 1\n', status=2)

    def test_stopped_run_prints_none(self):
        self.check(['-j1', '--halt', 'now,fail=1', '--plugin', ECHO, ':::', 'part:1', 'exit:4', 'part:2'], b'', status=4)

    def test_results(self):
        folder = os.path.join(scratch(), 'results')
        self.check(['--results', folder, '--plugin', ECHO, ':::', 'part:1', 'part:2'], b'whole: 1+2\n')


class Journal(Base):
    def test_resume_has_all_parts(self):
        folder = scratch()
        journal, out = os.path.join(folder, 'journal'), os.path.join(folder, 'out')
        inputs = lines(*(f'part:{i},sleep:5,{i}' for i in range(1, 201)))
        for symbol in 'knee_plugin', 'associative':
            args = ['-j4', '--journal', journal, '--resume', '--output', out, '--plugin', f'{ECHO}:{symbol}']
            with start(*args, stdin=given(inputs)) as p:
                wait_for(lambda: os.path.exists(out) and os.path.getsize(out) > 100)
                p.kill()
                p.wait()
                wait_gone(descendants(p.pid))
            for _ in range(2):  # the second has nothing left to run, and prints the whole again
                self.check(args, b'', input=inputs)
                with open(out, 'rb') as f:
                    self.assertEqual(f.read(), lines(*range(1, 201)) + b'whole: ' +
                                     '+'.join(map(str, range(1, 201))).encode() + b'\n')
            os.unlink(journal)
            os.unlink(out)

    def test_another_plugin_is_another_command(self):
        journal = os.path.join(scratch(), 'journal')
        self.check(['--journal', journal, '--plugin', ECHO, ':::', 'a'], b'a\n')
        for words in ['--plugin', f'{ECHO}:associative'], ['--plugin', ECHO, 'close=1']:
            r = knee('--journal', journal, '--resume', *words, ':::', 'a')
            self.assertEqual((r.out, r.status), (b'', 255))
            self.assertIn(b'another command', r.err)


class Ends(Base):
    def test_timeout(self):
        # One that looks whether it is cancelled, one that does not: it is given up.
        self.check(['-j2', '--timeout', '0.2', '--plugin', ECHO, ':::', 'sleep:100000', 'stubborn:1000', 'a'],
                   b'a\n', status=2)

    def test_timeout_isolated(self):
        self.check(['--isolate', '--timeout', '0.3', '--plugin', ECHO, ':::', 'stubborn:100000', 'a'], b'a\n', status=1)

    def test_given_up_ones_print_no_whole(self):
        r = knee('--timeout', '0.2', '--plugin', ECHO, ':::', 'part:1', 'stubborn:800')
        self.assertEqual((r.out, r.status), (b'', 1))

    def test_interrupted(self):
        for sig in signal.SIGINT, signal.SIGTERM:
            with start('-j3', '--plugin', ECHO, ':::', 'a', 'sleep:100000', 'sleep:100000', 'sleep:100000', 'b',
                      stdout=subprocess.PIPE) as p:
                self.assertEqual(p.stdout.readline(), b'a\n')
                p.send_signal(sig)
                self.assertEqual(p.wait(), 255)
                self.assertEqual(p.stdout.read(), b'')

    def test_reader_goes(self):
        with start('--plugin', ECHO, ':::', 'fill:50000000', 'fill:50000000', stdout=subprocess.PIPE) as p:
            p.stdout.read(1000)
            p.stdout.close()
            self.assertEqual(p.wait(), -signal.SIGPIPE)

    def test_halt(self):
        r = knee('-j4', '--halt', 'soon,fail=1', '--plugin', ECHO, input=lines('exit:1', *['a'] * 5000))
        self.assertEqual(r.status, 1)
        self.assertLess(len(r.out), 10000)

    def test_crash(self):
        r = knee('-j1', '--plugin', ECHO, ':::', 'a', 'crash', 'b', env=PLAIN_CRASH)
        self.assertEqual(r.status, -signal.SIGSEGV)
        self.assertIn(b'a function of the plugin has crashed', r.err)
        self.assertIn(b'--isolate', r.err)

    def test_crash_isolated(self):
        self.check(['--isolate', '--plugin', ECHO, ':::', 'a', 'crash', 'b', 'part:x'], b'a\nb\nwhole: x\n', status=1,
                   env=PLAIN_CRASH)

    def test_limit_up_and_down(self):
        folder = scratch()
        jobs = os.path.join(folder, 'jobs')

        def say(n):
            with open(jobs + '.new', 'w') as f:
                f.write(f'{n}\n')
            os.rename(jobs + '.new', jobs)

        say(1)
        with start('-j', jobs, '--plugin', ECHO, stdin=given(lines(*['sleep:5'] * 400 + ['end'])), stdout=subprocess.PIPE) as p:
            for n in 8, 2, 5:
                say(n)
                wait_for(lambda: p.poll() is not None or threads(p) >= 1)
            self.assertEqual(p.stdout.read(), b'end\n')
            self.assertEqual(p.wait(), 0)
            p.stdout.close()


def threads(p):
    """How many threads the processes of a run have beside their first."""
    return sum(len(os.listdir(f'/proc/{pid}/task')) - 1 for pid in descendants(p.pid) if os.path.exists(f'/proc/{pid}/task'))


SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


class Random(Base):
    """Runs that are cancelled at any moment: no hang, no leak (with the sanitizers), nothing left."""

    def test_cancelled(self):
        kinds = ['a', 'sleep:3', 'spin:2', 'fill:200000', 'part:x', 'exit:1', 'fail:1,x', 'err:y', 'sleep:40']
        for seed in range(int(os.environ.get('KNEE_CANCELS') or 25)):
            with self.subTest(seed=seed):
                pick = random.Random(seed)
                inputs = lines(*(','.join(pick.choices(kinds, k=pick.randint(1, 3)))
                                 for _ in range(pick.choice([3, 50, 3000]))))
                more = pick.choice([[], ['-j1'], ['-j8'], ['--unordered'], ['--retries', '2'], ['--timeout', '0.02']])
                symbol = pick.choice(['', ':associative'])
                with start(*more, '--term-seq', 'TERM,20,KILL,25', '--plugin', ECHO + symbol, stdin=given(inputs),
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as p:
                    time.sleep(pick.random() * 0.12)
                    with contextlib.suppress(ProcessLookupError):
                        p.send_signal(pick.choice(SIGNALS))
                    err = p.stderr.read()
                    status = p.wait()
                    p.stderr.close()
                    # Before it has set itself up it dies as any program does.
                    self.assertIn(status, [*range(102), 255, *(-int(s) for s in SIGNALS)], err)
                    self.assertNotIn(b'Sanitizer', err)


class Refused(Base):
    def refused(self, args, message):
        r = knee(*args, ':::', 'a')
        self.assertEqual((r.out, r.status), (b'', 255))
        self.assertIn(message, r.err.decode())
        self.assertTrue(r.err.startswith(b'knee: '), r.err)
        self.assertEqual(r.err.count(b'\n'), 1)

    def test_what_cannot_be_used(self):
        self.refused(['--plugin', '/nowhere/x.so'], 'cannot be loaded: /nowhere/x.so: ')
        self.refused(['--plugin', '/etc/passwd'], 'cannot be loaded: /etc/passwd: ')
        self.refused(['--plugin', ODD], 'has no variable named knee_plugin')
        self.refused(['--plugin', f'{ECHO}:nix'], 'has no variable named nix')
        self.refused(['--plugin', f'{ODD}:other_abi'], 'made for version 2 of the plugin interface')
        self.refused(['--plugin', f'{ODD}:small'], 'has the wrong size')
        self.refused(['--plugin', f'{ODD}:idle'], 'has no run function')
        self.refused(['--plugin', f'{ODD}:mute'], 'no close to print')

    def test_open(self):
        self.refused(['--plugin', ECHO, 'open=there is no table'], 'there is no table')

    def test_options(self):
        self.refused(['--isolate', 'echo'], '--isolate: ')
        self.refused(['--plugin', ECHO, '-u'], '--plugin: ')
        self.refused(['--plugin', ECHO, '--worker', 'cat'], 'leave out one of the two')


class Limits(Base):
    def test_lock(self):
        """Threads that wait for one lock, or one interpreter: it is said, with what it comes to."""
        with start('-j4', '--plugin', ECHO, stdin=given(lines(*['locked:20'] * 5000))) as p:
            self.assertRegex(p.stderr.readline().decode(), r'tasks wait for a lock of their own \d+ % of the time: '
                             r'[234]\.\d threads get on like [012]\.\d: .*--isolate')
            p.terminate()
            self.assertEqual(p.wait(), 255)

    def test_no_lock(self):
        r = knee('-j4', '--plugin', ECHO, input=lines(*['sleep:20'] * 60))
        self.assertEqual((r.err, r.status), (b'', 0))


if __name__ == '__main__':
    unittest.main()
