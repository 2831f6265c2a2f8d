# SPDX-License-Identifier: MIT
"""Workers that are killed at any moment: every record is answered exactly once, in order.

KNEE_TASKS records (5,000 unless set), KNEE_SEED repeats a round.
"""

import contextlib
import os
import random
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'cli'))
from kneetest import *

TASKS = int(os.environ.get('KNEE_TASKS') or 5000)
# The records come in as many pieces.
PIECES = 25
KILLS = 3 * PIECES
SEED = int(os.environ.get('KNEE_SEED') or 1)

# It answers at once, but for some records, which take a while.
WORKER = os.path.join(scratch(), 'worker.py')
with open(WORKER, 'w') as f:
    f.write('''
import os, sys, time
ready = False
for line in sys.stdin.buffer:
    if line.endswith(b'77\\n'):
        time.sleep(0.002)
    sys.stdout.buffer.write(b'is ' + line)
    sys.stdout.buffer.flush()
    if not ready:
        open(f'{sys.argv[1]}/{os.getpid()}', 'w').close()
        ready = True
''')


class Killed(unittest.TestCase):
    def killed(self, seed, name, worker, prefix, *more, data, ready=None):
        """Feed the records with workers of this name being killed all the time; how many were. ready: only
        those that have a file of their number there."""
        chance = random.Random(seed)
        kills = 0
        with start('-j3', '--retries', '1000', *more, '--worker', worker, stdin=subprocess.PIPE) as p:
            kill = threading.Semaphore(0)
            feeder = threading.Thread(target=self.feed, args=(p, data, kill))
            got = []
            reader = threading.Thread(target=lambda: got.append(p.stdout.read()))
            feeder.start()
            reader.start()
            while reader.is_alive():
                found = [pid for pid in descendants(p.pid) if command_of(pid) == name and
                         (ready is None or os.path.exists(f'{ready}/{pid}'))]
                # Each attempt that fails waits longer for the next: at some time it must be enough.
                if found and kills < KILLS:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(chance.choice(found), signal.SIGKILL)
                    kills += 1
                    kill.release()
                reader.join(chance.random() * 0.01)
            feeder.join()
            self.assertEqual(p.wait(), 0, f'seed {seed}: {p.stderr.read()[-1000:]}')
            want = b''.join(prefix + line for line in data.splitlines(True))
            self.assertEqual(got[0] == want, True, f'seed {seed}: {self.difference(got[0], want)}')
        return kills

    def feed(self, p, data, kill):
        """In pieces, each as soon as one more was killed: the run is not over before the killing begins."""
        step = max(1, len(data) // PIECES)
        with contextlib.suppress(BrokenPipeError):
            for at in range(0, len(data), step):
                piece = data[at:at + step]
                while piece:
                    piece = piece[p.stdin.write(piece):]
                kill.acquire(timeout=10)
            p.stdin.close()

    def difference(self, got, want):
        got, want = got.splitlines(), want.splitlines()
        for i, (a, b) in enumerate(zip(got, want)):
            if a != b:
                return f'line {i + 1} of {len(want)}: {a!r}, not {b!r}; then {got[i + 1:i + 4]}'
        return f'{len(got)} lines, not {len(want)}'

    def rounds(self, *args, **more):
        print(f'# KNEE_SEED={SEED} KNEE_TASKS={TASKS}', file=sys.stderr)
        kills = self.killed(SEED, *args, **more)
        self.assertGreaterEqual(kills, PIECES)

    def records(self):
        return b''.join(b'%d\n' % i for i in range(TASKS))

    def test_cat(self):
        self.rounds('cat', 'cat', b'', data=self.records())

    def test_found_number(self):
        self.rounds('cat', 'cat', b'', '-jauto:6', data=self.records())

    def test_some_take_long(self):
        # Python takes its time to start: killed before, it would answer nothing, and each record would fail
        # again and again.
        ready, python = scratch(), os.path.realpath(sys.executable)
        self.rounds(os.path.basename(python), f'{python} {WORKER} {ready}', b'is ', data=self.records(),
                    ready=ready)

    def test_journal(self):
        self.rounds('cat', 'cat', b'', '--journal', os.path.join(scratch(), 'j'), data=self.records())


if __name__ == '__main__':
    unittest.main()
