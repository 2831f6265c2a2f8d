# SPDX-License-Identifier: MIT
"""Nothing lost: hosts are cut off, powered off, stopped and frozen at random while a run goes on.

Each round has a seed, and all chance of it comes from that: how many at once, what happens to which host,
when and for how long. One host, another one each time, is spared, so that the run ends. What the run
printed is what the plain loop prints; its journal has one RESULT for each task; and nothing of it is left on
any host at the end. The same with files that go with tasks and come back, of which a tenth as many run: in a new folder
of each host, in one of that name, or in one that all see; perhaps with copies at the end.

KNEE_SEEDS: rounds (2); KNEE_TASKS: tasks of each (2000); KNEE_SEED: of the first round (1). The long form is
KNEE_SEEDS=50 KNEE_TASKS=20000."""

import contextlib
import os
import random
import sqlite3
import sys
import tempfile
import threading
from pathlib import Path

from fleetlib import *

HOSTS = 4
SEEDS = int(os.environ.get('KNEE_SEEDS') or 2)
TASKS = int(os.environ.get('KNEE_TASKS') or 2000)
SEED = int(os.environ.get('KNEE_SEED') or 1)
SILENCE = 3     # seconds after which a host is lost

# What task $1 does. Its output follows from the number alone, wherever and however often it runs.
SCRIPT = r'''
case $(($1 % 50)) in
7) ;;
11) i=0; while test $i -lt 500; do echo "$1 line $i of many"; i=$((i+1)); done ;;
13) printf 'no newline %s' "$1" ;;
17) echo "first $1"; $nap 0.5; echo "second $1" ;;
19) $nap 0.7; echo "slow $1" ;;
29) echo "error of $1" >&2 ;;
31) echo "fails $1"; exit 3 ;;
37) seq "$1" $(($1 + 5000)) ;;
*) $nap 0.1; echo "output of $1" ;;
esac
'''


class Faults(threading.Thread):
    """Does harm to hosts and undoes it, until told to stop: then all hosts are well."""

    def __init__(self, fleet, rng, spared):
        super().__init__()
        self.fleet, self.random, self.spared = fleet, rng, spared
        self.over = threading.Event()
        self.log, self.broken = [], None

    def run(self):
        try:
            self.harm()
        except Exception as e:      # a thread's end is nobody's failure otherwise
            self.broken = e

    def harm(self):
        r = self.random
        begin = time.monotonic()
        harmed = {}     # host: (when it is well again, what makes it so)
        while not self.over.is_set() or harmed:
            now = time.monotonic() - begin
            for host, (until, cure) in list(harmed.items()):
                if now >= until or self.over.is_set():
                    self.do(now, cure, host)
                    del harmed[host]
            well = [h for h in self.fleet.hosts if h not in harmed and h != self.spared]
            if well and not self.over.is_set() and r.random() < 0.6:
                host, (harm, cure) = r.choice(well), r.choice(
                    [('cut', 'heal'), ('poweroff', 'boot'), ('stop', 'boot'), ('freeze', 'thaw')])
                self.do(now, harm, host)
                # Some are over before anyone notices, some long after.
                harmed[host] = now + r.choice([0.2, 1, SILENCE, SILENCE * 2]) * r.uniform(0.5, 1.5), cure
            self.over.wait(r.uniform(0.1, 1.5))

    def do(self, now, what, host):
        self.log.append(f'{now:.1f} s: {what} {host}')
        getattr(self.fleet, what)(host)

    def finish(self):
        self.over.set()
        self.join()
        if self.broken is not None:
            raise self.broken


class Loss(FleetCase):
    HOSTS = HOSTS
    QUIET_SECONDS = SILENCE * 4

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.inputs = [str(i) for i in range(1, TASKS + 1)]
        folder = scratch()
        with open(os.path.join(folder, 'task'), 'w') as f:
            f.write(SCRIPT.replace('$nap', ':'))
        cls.want = loop('task', cls.inputs, folder)

    def check_journal(self, path):
        """One RESULT for each task."""
        with contextlib.closing(sqlite3.connect(path)) as db:
            self.assertEqual(db.execute('SELECT count(*), sum(state = 1), sum(state = 2), sum(printed) FROM task')
                             .fetchone(), (TASKS, TASKS - self.want[2], self.want[2], TASKS))
            self.assertEqual(db.execute('SELECT count(*), count(DISTINCT seq), max(attempt), sum(outcome IS NULL) '
                                        'FROM attempt').fetchone(), (TASKS, TASKS, 1, 0))
            self.assertEqual(db.execute('SELECT seq FROM attempt WHERE (status = 3) <> (seq % 50 = 31)').fetchall(), [])
            self.assertEqual(db.execute('SELECT status FROM run').fetchall(), [(min(self.want[2], 101),)])

    def run_harmed(self, seed, folder, args, inputs):
        """A run in the folder that args are of, while hosts are harmed: its status. Its output and what it says are in
        the files out and err there."""
        rng = random.Random(seed)
        spared = rng.choice(self.fleet.hosts)
        at_once = rng.choice([None, 2, 5, 8])   # None: as many as are best
        args = ['--host-timeout', str(SILENCE), *(['-j', str(at_once)] if at_once else []), *args(rng)]
        faults = Faults(self.fleet, rng, spared)
        with open(os.path.join(folder, 'inputs'), 'w+b') as stdin, open(os.path.join(folder, 'out'), 'wb') as out, \
                open(os.path.join(folder, 'err'), 'wb') as err:
            stdin.write(''.join(f'{i}\n' for i in inputs).encode())
            stdin.seek(0)
            with self.fleet.start(*args, cwd=folder, stdin=stdin, stdout=out, stderr=err) as p:
                faults.start()
                try:
                    p.wait((60 + TASKS / 20) * SLOW)
                finally:
                    faults.finish()
                    print(f'seed {seed}: {spared} spared, {args}, status {p.returncode}', *faults.log,
                          sep='\n  ', file=sys.stderr)
        return p.returncode

    def round(self, seed):
        self.fleet.write('task', SCRIPT.replace('$nap', 'sleep'))
        folder = scratch()
        status = self.run_harmed(seed, folder, lambda rng: ['--journal', 'j', 'sh task {}'], self.inputs)
        with open(os.path.join(folder, 'out'), 'rb') as f:
            self.assertTrue(f.read() == self.want[0], f'another output: {folder}/out')
        # What is said of hosts stands between what tasks say.
        with open(os.path.join(folder, 'err'), 'rb') as f:
            said = b''.join(line for line in f if line.startswith(b'error of '))
        self.assertEqual(said, self.want[1])
        self.assertEqual(status, min(self.want[2], 101))
        self.check_journal(os.path.join(folder, 'j'))

    def round_files(self, seed):
        inputs = self.inputs[:TASKS // 10]
        shared = tempfile.mkdtemp(dir=self.fleet.common)
        wd = random.Random(-seed).choice([['--wd', '...', '--cleanup'], ['--wd', 'd', '--cleanup'],
                                          ['--wd', '.', '--cleanup'], ['--wd', 'd']])
        folder = shared if '.' in wd else scratch()
        os.mkdir(os.path.join(folder, 'from'))
        want = {}
        for i in inputs:
            # Some take a while to go and to come back.
            want[i] = f'{i}\n' * (200_000 if int(i) % 20 == 7 else 10)
            Path(folder, 'from', i).write_text(want[i])
        status = self.run_harmed(seed, folder, lambda rng: [
            *wd, *rng.choice([[], ['--speculate']]), '--transferfile', 'from/{}', '--return', 'to/{}',
            'mkdir -p to; sleep 0.$(({} % 4)); sed "s/^/made of /" from/{} >to/{}; sleep 0.1'], inputs)
        self.assertEqual(status, 0, Path(folder, 'err').read_text()[-3000:])
        self.assertEqual(sorted(os.listdir(os.path.join(folder, 'to'))), sorted(inputs))
        self.assertEqual(sorted(os.listdir(os.path.join(folder, 'from'))), sorted(inputs))
        for i in inputs:
            self.assertTrue(Path(folder, 'from', i).read_text() == want[i], i)
            self.assertTrue(Path(folder, 'to', i).read_text() == want[i].replace(f'{i}\n', f'made of {i}\n'), i)

    def rounds(self, one):
        for seed in range(SEED, SEED + SEEDS):
            with self.subTest(f'KNEE_SEED={seed} KNEE_SEEDS=1 KNEE_TASKS={TASKS}'):
                self.fleet.repair()
                one(seed)
                self.fleet.wait_quiet(self.QUIET_SECONDS)

    def test_hosts_come_and_go(self):
        self.rounds(self.round)

    def test_files(self):
        self.rounds(self.round_files)


if __name__ == '__main__':
    unittest.main()
