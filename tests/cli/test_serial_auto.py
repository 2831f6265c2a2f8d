# SPDX-License-Identifier: MIT
"""-j auto, the default, as a user meets it: how many tasks are in flight at once, and what
--explain says of it. Alone, since how many are right depends on cores that others take.

Tasks write a line when they begin and one before they end; the order of the lines, not the clock,
tells how many were in flight together. What a task takes to start and to go is not counted."""

import re
import shutil

from kneetest import *

FOLDER = scratch()
CORES = sorted(os.sched_getaffinity(0))
LIMIT = re.compile(rb'^knee: [\d.]+ s: (?:\S+: )?(\d+) at once')
KIND = re.compile(rb'at once: (\w+)[^()\n]* \(CPU \d+ %')


def script(name, text):
    path = os.path.join(FOLDER, name)
    with open(path, 'w') as f:
        f.write(f'#!/bin/sh\n{text}')
    os.chmod(path, 0o755)
    return path


# Each takes its mark as $1 and appends to $LOG; a line appended so is never cut. The loop of BURN
# takes some 0.3 s of CPU.
BEGIN, END = 'echo "+ $1" >>"$LOG"\n', 'echo "- $1" >>"$LOG"; echo "$1"\n'
LOOP = 'i=0; while [ $i -lt 180000 ]; do i=$((i+1)); done\n'
WAIT = script('wait', BEGIN + 'sleep "${2:-0.3}"\n' + END)
BURN = script('burn', BEGIN + LOOP + END)
TURN = script('turn', BEGIN + 'if [ "$1" -le 20 ]; then\n' + LOOP.replace('180000', '60000') +
              'else sleep 0.3; fi\n' + END)
FAIL = script('fail', BEGIN + '[ "$1" -eq 6 ] && exit 3\nexec sleep 1000\n')
# A service with eight places: whoever finds none free is told so.
BUSY = script('busy', '''for place in 1 2 3 4 5 6 7 8; do
	if mkdir "$PLACES/$place" 2>/dev/null; then
		sleep 0.15; echo "$1"
		exec rmdir "$PLACES/$place"
	fi
done
echo "refused $1"; echo "$1" >>"$LOG"
exit 75
''')


def numbers(first, last):
    return [str(i) for i in range(first, last + 1)]


def lines(words):
    return ''.join(f'{w}\n' for w in words).encode()


def limits(err):
    """The limits that --explain told of, as they came."""
    return [int(m[1]) for m in map(LIMIT.match, err.splitlines()) if m]


class Auto(unittest.TestCase):
    """A log and a memory of its own for each test."""

    def setUp(self):
        self.folder = scratch()
        self.log = os.path.join(self.folder, 'log')
        open(self.log, 'w').close()
        os.mkdir(os.path.join(self.folder, 'tmp'))
        self.env = {'LOG': self.log, 'XDG_CACHE_HOME': os.path.join(self.folder, 'cache'),
                    'TMPDIR': os.path.join(self.folder, 'tmp')}

    def knee(self, *args, before=(), **more):
        r = run([*before, *knee_argv(*args)], env=self.env, **more)
        self.assertEqual((r.status, r.left), (0, []), r)
        return r

    def marks(self):
        """(sign, mark) of each line so far; a line that is being written counts when whole."""
        with open(self.log) as f:
            return [tuple(line.split()) for line in f.read().split('\n')[:-1]]

    def peak(self, since=0, named=''):
        """The most marks in flight at any moment, of those that begin with named."""
        flight, peak = set(), 0
        for n, (sign, mark) in enumerate(self.marks()):
            if not mark.startswith(named):
                continue
            (flight.add if sign == '+' else flight.discard)(mark)
            if n >= since:
                peak = max(peak, len(flight))
        return peak


@unittest.skipIf(VALGRIND, 'valgrind takes the cores that are looked at')
class Number(Auto):
    @on_free_cores
    def test_sleep(self):
        r = self.knee(WAIT, '{}', '3', ':::', *numbers(1, 12))
        self.assertEqual((r.out, r.err), (lines(numbers(1, 12)), b''))
        self.assertEqual(self.peak(), 12)

    @on_free_cores
    def test_default_is_auto(self):
        r = self.knee('--explain', '-j', 'auto', WAIT, ':::', *numbers(1, 12))
        first = limits(r.err)
        self.env['XDG_CACHE_HOME'] += '2'
        r = self.knee('--explain', WAIT, ':::', *numbers(1, 12))
        self.assertEqual((first[0], first[-1]), (limits(r.err)[0], limits(r.err)[-1]))

    @on_free_cores
    def test_cpu(self):
        r = self.knee('--explain', BURN, ':::', *numbers(1, 10))
        self.assertEqual(r.out, lines(numbers(1, 10)))
        self.assertEqual(KIND.findall(r.err)[:1], [b'CPU'], r)
        self.assertLessEqual(self.peak(), len(CORES) + 1, r)
        self.assertGreaterEqual(self.peak(), min(2, len(CORES)), r)

    @on_free_cores
    @unittest.skipUnless(shutil.which('taskset'), 'taskset is not installed')
    def test_one_core(self):
        r = self.knee('--explain', BURN, ':::', *numbers(1, 6),
                      before=('taskset', '-c', str(CORES[0])))
        self.assertEqual(r.out, lines(numbers(1, 6)))
        self.assertLessEqual(self.peak(), 2, r)

    def test_at_most(self):
        r = self.knee('-j', 'auto:3', WAIT, '{}', '0.1', ':::', *numbers(1, 20))
        self.assertEqual(r.out, lines(numbers(1, 20)))
        self.assertEqual(self.peak(), 3)

    def test_at_most_slots(self):
        r = self.knee('-j', 'auto:3', 'sleep 0.1; echo {%} $PARALLEL_JOBSLOT', '#', ':::',
                      *numbers(1, 20))
        found = {tuple(line.split()) for line in r.out.splitlines()}
        self.assertEqual(found, {(b'%d' % i, b'%d' % i) for i in (1, 2, 3)})

    @on_free_cores
    def test_range(self):
        r = self.knee('--explain', '-j', '2..4', WAIT, '{}', '0.1', ':::', *numbers(1, 30))
        self.assertEqual(r.out, lines(numbers(1, 30)))
        self.assertEqual(self.peak(), 4, r)
        self.assertTrue(all(2 <= n <= 4 for n in limits(r.err)), r)

    @on_free_cores
    def test_at_least(self):
        r = self.knee('--explain', '-j', '10..12', WAIT, ':::', *numbers(1, 30))
        self.assertEqual(self.peak(), 12, r)
        self.assertTrue(all(10 <= n <= 12 for n in limits(r.err)), r)
        self.assertRegex(r.err, rb'wait: 30 tasks, .* of 10-12: ')


@unittest.skipIf(VALGRIND, 'valgrind takes the cores that are looked at')
class Mixed(Auto):
    """A list sorted by kind."""

    def sorted_list(self, *kinds):
        words = [(program, f'{name}{i}') for program, name, n in kinds for i in range(1, n + 1)]
        r = self.knee('--explain', input=lines(f'{program} {mark}' for program, mark in words))
        self.assertEqual(r.out, lines(mark for _, mark in words))
        return [mark for sign, mark in self.marks() if sign == '+'], r

    def both(self):
        """The most that wait while something computes."""
        flight, most = set(), 0
        for sign, mark in self.marks():
            (flight.add if sign == '+' else flight.discard)(mark)
            waiting = sum(m.startswith('w') for m in flight)
            if waiting < len(flight):
                most = max(most, waiting)
        return most

    @on_free_cores
    def test_waiting_first(self):
        begun, r = self.sorted_list((WAIT, 'w', 60), (BURN, 'c', 6))
        self.assertLess(begun.index('c1'), 30, r)
        self.assertRegex(r.err, rb'(?m)^knee: [\d.]+ s: wait: .* waiting \(')
        self.assertRegex(r.err, rb'(?m)^knee: [\d.]+ s: burn: .* CPU-bound')
        # The first ones may end before it is known what they need.
        self.assertRegex(r.err, rb'(?m)^knee: wait: (5[0-9]|60) tasks, .*: waiting')
        self.assertRegex(r.err, rb'(?m)^knee: burn: [4-6] tasks, settled at \d+.*: CPU-bound')
        self.assertGreaterEqual(self.both(), 4, r)
        self.assertLessEqual(self.peak(named='c'), len(CORES) + 1, r)

    @on_free_cores
    def test_cpu_first(self):
        begun, r = self.sorted_list((BURN, 'c', 10), (WAIT, 'w', 40))
        self.assertLess(begun.index('w1'), 6, r)
        self.assertGreaterEqual(self.both(), 4, r)
        self.assertLessEqual(self.peak(named='c'), len(CORES) + 1, r)

    @on_free_cores
    def test_kind_changes(self):
        r = self.knee('--explain', TURN, ':::', *numbers(1, 80))
        self.assertEqual(r.out, lines(numbers(1, 80)))
        kinds = KIND.findall(r.err)
        self.assertIn(kinds[0], (b'CPU',), r)
        self.assertEqual(kinds[-1], b'waiting', r)
        at_first, _, later = r.err.partition(b'at once: waiting (')
        self.assertLessEqual(max(limits(at_first)[:2]), max(2, len(CORES) + 1), r)
        self.assertGreater(max(limits(later)), 4 * len(CORES), r)
        self.assertGreater(self.peak(), 4 * len(CORES), r)


@unittest.skipIf(VALGRIND, 'a slow knee starts too few to be refused')
class Busy(Auto):
    def setUp(self):
        super().setUp()
        self.env['PLACES'] = os.path.join(self.folder, 'places')
        os.mkdir(self.env['PLACES'])

    def refused(self):
        with open(self.log) as f:
            return f.read().split()

    @on_free_cores
    def test_all_succeed(self):
        r = self.knee('--explain', '--busy-exit', '75', BUSY, ':::', *numbers(1, 60))
        self.assertEqual(r.out, lines(numbers(1, 60)))
        self.assertTrue(self.refused(), 'more than 8 were tried')
        self.assertIn(b' 60 tasks, 0 failed', r.err)
        told = re.findall(rb'(?m): busy: \d+ at once, not \d+: .* about (\d+) are too many$', r.err)
        self.assertTrue(told, r)
        self.assertGreater(int(told[0]), 8, r)
        self.assertEqual(os.listdir(self.env['PLACES']), [])

    def test_a_failure_without_the_option(self):
        r = run(knee_argv(BUSY, ':::', *numbers(1, 60)), env=self.env)
        self.assertEqual(r.status, min(len(self.refused()), 101), r)
        self.assertTrue(self.refused())


@unittest.skipIf(VALGRIND, 'valgrind takes the cores that are looked at')
class Memory(Auto):
    WORDS = ('--explain', WAIT, '{}', '0.1', ':::', *numbers(1, 80))
    SAID = rb'wait: \d+ at once: waiting when it last ran\n'

    def test_second_run(self):
        self.assertNotIn(b'last ran', self.knee(*self.WORDS).err)
        self.assertRegex(self.knee(*self.WORDS).err, self.SAID)
        self.assertNotIn(b'last ran', self.knee('--no-memory', *self.WORDS).err)

    def test_not_kept(self):
        self.knee('--no-memory', *self.WORDS)
        self.assertFalse(os.path.exists(self.env['XDG_CACHE_HOME']))
        self.assertNotIn(b'last ran', self.knee(*self.WORDS).err)

    def test_forget(self):
        self.knee(*self.WORDS)
        kept = os.path.join(self.env['XDG_CACHE_HOME'], 'knee/learnt.db')
        self.assertTrue(os.path.exists(kept))
        r = self.knee('profile', '--forget')
        self.assertIn(kept.encode(), r.out + r.err)
        self.assertFalse(os.path.exists(kept))
        self.assertNotIn(b'last ran', self.knee(*self.WORDS).err)


class Ending(Auto):
    """However a run with much read ahead ends, nothing stays."""

    def begun(self, n):
        return wait_for(lambda: len(self.marks()) >= n, what=f'{n} tasks begin')

    def interrupted(self, number):
        with open(os.path.join(self.folder, 'inputs'), 'wb') as f:
            f.write(lines(numbers(1, 100000)))
        with open(f.name, 'rb') as f, start(WAIT, '{}', '1000', env=self.env, stdin=f) as p:
            self.begun(4)
            p.send_signal(number)
            p.wait(20 * SLOW)
            wait_for(lambda: not marked(mark_of(p)), what='no task is left')
            left = wait_for(lambda: os.listdir(self.env['TMPDIR']) == [], what='TMPDIR is empty')
            self.assertTrue(left)
            return p.returncode, p.stdout.read()

    def test_interrupted(self):
        self.assertEqual(self.interrupted(signal.SIGINT), (255, b''))

    def test_killed(self):
        self.assertEqual(self.interrupted(signal.SIGKILL), (-signal.SIGKILL, b''))

    def test_halt(self):
        r = run(knee_argv('--halt', 'now,fail=1', FAIL), input=lines(numbers(1, 100000)),
                env=self.env)
        self.assertEqual((r.out, r.status, r.left), (b'', 3, []), r)
        self.assertIn(('+', '6'), self.marks())
        self.assertLess(len(self.marks()), 100)

    def test_open_stdin(self):
        """A pipe that stays open holds nothing up: not the first task, not a later one."""
        with start(WAIT, '{}', '0.05', env=self.env, stdin=subprocess.PIPE) as p:
            p.stdin.write(b'1\n')
            wait_for(lambda: ('-', '1') in self.marks(), what='the first task')
            p.stdin.write(b'2\n3\n')
            wait_for(lambda: {('-', '2'), ('-', '3')} <= set(self.marks()), what='two more')
            self.assertIsNone(p.poll())
            p.stdin.close()
            self.assertEqual((p.stdout.read(), p.wait(20 * SLOW)), (b'1\n2\n3\n', 0))

    def test_open_stdin_commands(self):
        with start(env=self.env, stdin=subprocess.PIPE) as p:
            p.stdin.write(f'{WAIT} a 0.05\n{WAIT} b 1000\n'.encode())
            wait_for(lambda: {('-', 'a'), ('+', 'b')} <= set(self.marks()), what='both begin')
            self.assertEqual(p.stdout.read(2), b'a\n')
            self.assertIsNone(p.poll())


if __name__ == '__main__':
    unittest.main()
