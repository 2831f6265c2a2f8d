# SPDX-License-Identifier: MIT
"""Nothing lost: runs with a journal are killed at any instant and resumed until they are done.

Each round has a seed, and all chance comes from it: how many at once, where the output goes, and for
each start how it dies: the program or its keeper by SIGKILL at some moment, both as they are asked to end
by SIGINT or SIGTERM, perhaps with SIGKILL while they do, or the program inside SQLite, at the n-th thing
that it does to its files, a write possibly half done.

After each death the journal is looked at (a copy of it): what it calls finished is never run again.
At the end no task is missing, and the files hold what a run that never died would have written.

KNEE_KILLS: rounds (8); KNEE_TASKS: tasks of each (200); KNEE_SEED: of the first round (1). The long
form is KNEE_KILLS=300 KNEE_TASKS=2000.
"""

import contextlib
import os
import random
import shutil
import sqlite3
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'cli'))
from kneetest import *

PROGRAM = os.path.join(os.path.dirname(os.path.dirname(KNEE)), 'tests/fault/knee-inject')
ROUNDS = int(os.environ.get('KNEE_KILLS') or 8)
TASKS = int(os.environ.get('KNEE_TASKS') or 200)
SEED = int(os.environ.get('KNEE_SEED') or 1)

# What task $1 does. Every start leaves a line in the file runs; all else follows from the number. No
# task writes to both streams, so that both in one file have one right order. Where there is another
# attempt (the file retries), task 47 needs it: of the first nothing may be seen.
SCRIPT = r'''
echo $1 >>runs
case $(($1 % 60)) in
7|37) ;;
11) cat middle; echo "$1" ;;
13) printf 'no newline %s' "$1" ;;
17) sleep 0.02; echo "slow $1" ;;
23) test $(($1 % 240)) = 23 && cat large; echo "$1" ;;
29) echo "error of $1" >&2 ;;
31) echo "first $1"; sleep 0.01; echo "second $1" ;;
41) i=0; while test $i -lt 50; do echo "$1 $i"; i=$((i+1)); done ;;
43) cat middle >&2 ;;
47) test -e retries && ! test -e tried.$1 && { echo "first try of $1"; : >tried.$1; exit 1; }; echo "at last $1" ;;
53) echo "fails $1"; exit 3 ;;
*) echo "output of $1" ;;
esac
'''
MIDDLE = b'm' * 20000 + b'\n'
LARGE = b'line of a large output\n' * 13000


def task(seq):
    """stdout and stderr of a task."""
    n, s = seq % 60, b'%d' % seq
    if n in (7, 37):
        return b'', b''
    out = {
        11: MIDDLE + s + b'\n', 13: b'no newline ' + s, 17: b'slow ' + s + b'\n',
        23: (LARGE if seq % 240 == 23 else b'') + s + b'\n', 29: b'', 43: b'',
        31: b'first ' + s + b'\nsecond ' + s + b'\n', 41: b''.join(s + b' %d\n' % i for i in range(50)),
        47: b'at last ' + s + b'\n', 53: b'fails ' + s + b'\n',
    }.get(n, b'output of ' + s + b'\n')
    return out, {29: b'error of ' + s + b'\n', 43: MIDDLE}.get(n, b'')


def wanted(order):
    """What the files of a run of these tasks hold: stdout, stderr, both in one."""
    out, err, both = [], [], []
    for seq in order:
        o, e = task(seq)
        out.append(o)
        err.append(e)
        both.append(o + e)
    return b''.join(out), b''.join(err), b''.join(both)


def read(path):
    with open(path, 'rb') as f:
        return f.read()


class Round:
    """One run, killed and resumed, in a folder of its own."""

    def __init__(self, seed):
        self.seed = seed
        self.random = r = random.Random(seed)
        self.folder = scratch()
        inputs = b''.join(b'%d\n' % seq for seq in range(1, TASKS + 1))
        for name, data in (('middle', MIDDLE), ('large', LARGE), ('script', SCRIPT.encode()), ('inputs', inputs)):
            with open(self.path(name), 'wb') as f:
                f.write(data)
        self.where = r.choice(['option', 'append', 'one file', 'pipe'])
        at_once = r.choice([None, 1, 2, 4, 9])  # None: as many as are best
        self.args = ['--no-memory', *(['-j', str(at_once)] if at_once else [])]
        self.args += ['--sync'] if r.random() < 0.2 else []
        if r.random() < 0.3:
            self.args += ['--retries', '2']
            open(self.path('retries'), 'wb').close()
        self.args += ['--unordered'] if r.random() < 0.2 and self.where != 'pipe' else []
        self.head = b'' if self.where in ('option', 'pipe') or r.random() < 0.5 else b'head\n'
        with open(self.path('out'), 'wb') as f:
            f.write(self.head)
        open(self.path('err'), 'wb').close()
        open(self.path('runs'), 'wb').close()
        self.starts = 0
        self.finished = set()
        self.log = []
        self.parts = []     # of stdout, when that is a pipe: one for each start

    def path(self, name):
        return os.path.join(self.folder, name)

    @contextlib.contextmanager
    def start(self, inject=None):
        """A start of the program, under way."""
        argv = [PROGRAM, '--journal', 'j', *self.args]
        argv += ['--resume'] if self.starts > 0 else []
        argv += ['--output', 'out'] if self.where == 'option' else []
        argv += ['sh script {}']
        self.starts += 1
        with open(self.path('out'), 'ab') as out, open(self.path('err'), 'ab') as err, \
                open(self.path('inputs'), 'rb') as inputs, \
                start(argv=argv, cwd=self.folder, stdin=inputs, env=inject,
                      stdout={'option': subprocess.DEVNULL, 'pipe': subprocess.PIPE}.get(self.where, out),
                      stderr=out if self.where == 'one file' else err) as p:
            reader = threading.Thread(target=self.read_slowly, args=(p.stdout,))
            if p.stdout is not None:
                reader.start()
            yield p
            if p.stdout is not None:
                reader.join()

    def read_slowly(self, pipe):
        """The other end of the pipe: what it gets is a start's part of the output."""
        part = bytearray()
        while data := pipe.read(40000):
            part += data
            if len(part) % 7 == 0:
                time.sleep(0.01)
        self.parts.append(bytes(part))

    def look(self):
        """The tasks that the journal has as finished: from a copy, so that the next start finds what the
        dead one left."""
        copy = scratch()
        for name in ('j', 'j-wal', 'j-journal'):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(self.path(name), copy)
        try:
            with contextlib.closing(sqlite3.connect(os.path.join(copy, 'j'))) as db:
                sound = db.execute('PRAGMA integrity_check').fetchall()
                if sound != [('ok',)]:
                    raise AssertionError(f'the journal is damaged: {sound[:3]}')
                return {seq for seq, in db.execute('SELECT seq FROM task WHERE state > 0')}
        except sqlite3.OperationalError as e:
            if 'no such table' in str(e) and not self.finished:
                return set()
            raise
        finally:
            shutil.rmtree(copy)

    def after(self, ran_before):
        """What must hold after a start, however it ended; ran_before: bytes of the file runs before it."""
        with open(self.path('runs'), 'rb') as f:
            f.seek(ran_before)
            ran = [int(line) for line in f]
        again = sorted(self.finished.intersection(ran))
        if again:
            raise AssertionError(f'tasks that were finished ran again: {again[:10]}')
        now = self.look()
        lost = sorted(self.finished - now)
        if lost:
            raise AssertionError(f'results are gone from the journal: {lost[:10]}')
        self.finished = now
        self.log.append(f'{len(ran)} ran, {len(now)} finished')

    def die(self, seconds):
        """A start that dies, but for those that end before; seconds: about what a whole run takes. True
        if it was killed."""
        how = self.random.choice(['program', 'program', 'keeper', 'calls', 'torn', 'calls', 'torn', 'INT', 'TERM',
                                  'TERM KILL'])
        ran_before = os.path.getsize(self.path('runs'))
        left = 1 - len(self.finished) / TASKS
        inject = None
        if how in ('calls', 'torn'):
            n = int((20 + 4 * TASKS * left) ** self.random.random())
            inject = {'KNEE_INJECT': f'db_any:{n}:0:' + ('kill' if how == 'calls' else 'torn')}
            self.log.append(f'start {self.starts + 1}: {inject["KNEE_INJECT"]}')
        else:
            delay = self.random.uniform(0, seconds * left)
            self.log.append(f'start {self.starts + 1}: {how} after {delay:.3f} s')
        with self.start(inject) as p:
            if inject is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    p.wait(delay)
                self.kill(p, how)
            p.wait(60 * SLOW)
            self.log.append(f'status {p.returncode}')
            wait_for(lambda: not marked(p.mark), what='all is gone')
        self.after(ran_before)
        return p.returncode == -signal.SIGKILL

    @staticmethod
    def kill(p, how):
        if p.poll() is not None:
            return
        pid = p.pid
        if how == 'program':
            pid = next((d for d in descendants(p.pid) if parent_of(d) == p.pid and command_of(d) == 'knee-inject'),
                       p.pid)
        numbers = {'INT': [signal.SIGINT], 'TERM': [signal.SIGTERM], 'TERM KILL': [signal.SIGTERM, signal.SIGKILL]}
        for number in numbers.get(how, [signal.SIGKILL]):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.kill(pid, number)
                if number != signal.SIGKILL:
                    p.wait(0.01)

    def finish(self):
        """The last start, undisturbed."""
        ran_before = os.path.getsize(self.path('runs'))
        with self.start() as p:
            p.wait(300 * SLOW)
        self.after(ran_before)
        ran = read(self.path('runs')).split()
        counts = {int(s): ran.count(s) for s in set(ran)}
        missing = [seq for seq in range(1, TASKS + 1) if seq not in counts or seq not in self.finished]
        if missing:
            raise AssertionError(f'tasks are lost: {missing[:10]}')
        status = min(sum(1 for seq in range(1, TASKS + 1) if seq % 60 == 53), 101)
        if p.returncode != status:
            raise AssertionError(f'status {p.returncode}, not {status}')
        if self.where == 'pipe':
            self.pipe_output()
        else:
            self.outputs(*self.placed())
        with contextlib.closing(sqlite3.connect(self.path('j'))) as db:
            unprinted = db.execute('SELECT COUNT(*) FROM task WHERE NOT printed').fetchall()
            kept = db.execute('SELECT COUNT(*) FROM output').fetchall()
        if (unprinted, kept) != ([(0,)], [(0,)]):
            raise AssertionError(f'not printed at the end: {unprinted}, outputs kept: {kept}')

    def placed(self):
        """The order of the outputs in out and err, as the journal has it; each is where it says."""
        with contextlib.closing(sqlite3.connect(self.path('j'))) as db:
            rows = db.execute('SELECT seq, out_at, out_bytes, err_at, err_bytes FROM attempt JOIN task USING (seq) '
                              'WHERE attempt.attempt = task.attempts').fetchall()
        files = read(self.path('out')), read(self.path('err'))
        orders = [], []
        for seq, *places in rows:
            want = task(seq)
            if self.where == 'one file':
                want = want[0] + want[1], b''
            for n, data in enumerate(want):
                at, size = places[2 * n:2 * n + 2]
                if (size or 0) != len(data) or (data and files[n][at:at + size] != data):
                    raise AssertionError(f'task {seq}, stream {n + 1}: not at {at}, {size} bytes')
                if data:
                    orders[n].append((at, seq))
        return [[seq for _, seq in sorted(order)] for order in orders]

    def outputs(self, out_order, err_order):
        """The files hold what they should."""
        order = range(1, TASKS + 1)
        one = self.where == 'one file'
        unordered = '--unordered' in self.args
        if unordered and sorted(out_order) != [s for s in order if task(s)[0] or (one and task(s)[1])]:
            raise AssertionError('out does not hold every output')
        if unordered and sorted(err_order) != [s for s in order if task(s)[1] and not one]:
            raise AssertionError('err does not hold every output')
        out = wanted(out_order if unordered else order)[2 if one else 0]
        self.same('out', self.head + out)
        self.same('err', b'' if one else wanted(err_order if unordered else order)[1])

    def pipe_output(self):
        """Into a pipe what was printed last may come twice, but nothing is left out: each part begins at
        a task, no later than where the part before it ended."""
        want = wanted(range(1, TASKS + 1))[0]
        begins = [0]
        for seq in range(1, TASKS + 1):
            begins.append(begins[-1] + len(task(seq)[0]))
        end = 0
        for n, part in enumerate(self.parts):
            at = next((b for b in reversed(begins) if b <= end and want[b:b + len(part)] == part), None)
            if at is None:
                at = max((b for b in begins if b <= end),
                         key=lambda b: len(os.path.commonprefix([want[b:b + len(part)], part])))
                right = len(os.path.commonprefix([want[at:at + len(part)], part]))
                raise AssertionError(f'part {n + 1} of the output, {len(part)} bytes, is none of what may follow the '
                                     f'first {end} bytes; from {at} on {right} bytes are right, then come '
                                     f'{part[right:right + 60]!r}, not {want[at + right:at + right + 60]!r}')
            end = at + len(part) if part else end
        if end != len(want):
            raise AssertionError(f'the output ends after {end} bytes, not {len(want)}')
        self.same('err', wanted(range(1, TASKS + 1))[1])

    def same(self, name, want):
        got = read(self.path(name))
        if got == want:
            return
        at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
        raise AssertionError(f'{name}: {len(got)} bytes, not {len(want)}; they differ from {at} on: '
                             f'{got[max(at - 60, 0):at + 60]!r}, not {want[max(at - 60, 0):at + 60]!r}')


def parent_of(pid):
    with contextlib.suppress(OSError), open(f'/proc/{pid}/status') as f:
        return next((int(line.split()[1]) for line in f if line.startswith('PPid:')), None)
    return None


@unittest.skipIf(VALGRIND, 'the program of this test is another one')
@unittest.skipUnless(os.path.exists(PROGRAM), 'knee-inject is not built')
class Killed(unittest.TestCase):
    def test_rounds(self):
        seconds = self.undisturbed()
        deaths = 0
        for seed in range(SEED, SEED + ROUNDS):
            r = Round(seed)
            with self.reported(r):
                for _ in range(r.random.randint(1, 5)):
                    deaths += r.die(seconds)
                r.finish()
            print(f'seed {seed}: {r.where} {" ".join(r.args)}: ' + '; '.join(r.log), flush=True)
            shutil.rmtree(r.folder)
        self.assertGreater(deaths, 0)
        print(f'{ROUNDS} rounds of {TASKS} tasks, {deaths} deaths, seeds {SEED} to {SEED + ROUNDS - 1}')

    def undisturbed(self):
        """A run that does not die, and how long it takes."""
        r = Round(0)
        begin = time.monotonic()
        with self.reported(r):
            r.finish()
        return time.monotonic() - begin

    @contextlib.contextmanager
    def reported(self, r):
        try:
            yield
        except (AssertionError, subprocess.TimeoutExpired, sqlite3.Error) as e:
            self.fail(f'KNEE_SEED={r.seed} KNEE_KILLS=1 KNEE_TASKS={TASKS}: {e}\n'
                      f'{r.where} {" ".join(r.args)} in {r.folder}\n' + '\n'.join(r.log))


if __name__ == '__main__':
    unittest.main()
