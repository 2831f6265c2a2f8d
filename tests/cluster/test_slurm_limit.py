# SPDX-License-Identifier: MIT
"""Jobs of Slurm's that end before the work is done. KNEE_SLURM_LIMIT=1 also waits for the time limit of a job,
which is a minute at least; on CI that is so anyway."""

import os
import unittest
from pathlib import Path

from fleetlib import *
from kneetest import *
from slurmcase import *


class Limit(Slurm):
    """A job that ends before the work is done: another one goes on, and together they print what one would have."""

    def script(self):
        path = Path(self.fleet.common, 'job.sh')
        # What ends the job at once does not end the shell before knee.
        path.write_text(f'''#!/bin/sh
trap : TERM
{" ".join(knee_argv())} --on slurm --journal {self.fleet.common}/j $RESUME -j2 -k -a {self.fleet.common}/in \\
    --output {self.fleet.common}/out 'sleep 0.2; echo {{}}' 2>>{self.fleet.common}/err
echo $? >>{self.fleet.common}/status
''')
        path.chmod(0o755)
        Path(self.fleet.common, 'in').write_bytes(numbers(self.n))
        return str(path)

    def read(self, name):
        path = Path(self.fleet.common, name)
        return path.read_bytes() if path.exists() else b''

    def job(self, *options, resume=''):
        self.env['RESUME'] = resume
        return self.slurm('sbatch', '--parsable', '-N2', '-n4', '-o', '/dev/null', *options, self.sh).strip()

    def goes_on(self):
        wait_for(lambda: self.read('status'), 150, 'the first has ended')
        self.assertEqual(self.read('status'), b'255\n')
        self.assertIn(b'the same command with --resume goes on', self.read('err'))
        done = self.read('out').count(b'\n')
        self.assertLess(done, self.n)
        self.no_jobs()
        self.job(resume='--resume')
        wait_for(lambda: self.read('status').count(b'\n') == 2, 120, 'the second has ended')
        self.assertEqual(self.read('status'), b'255\n0\n', self.read('err'))
        self.assertEqual(self.read('out'), numbers(self.n))

    def test_cancelled(self):
        """scancel and preemption do what the time limit does: SIGTERM, and SIGKILL after a while."""
        self.n = 200
        self.sh = self.script()
        job = self.job()
        wait_for(lambda: self.read('out').count(b'\n') > 8, 30, 'some tasks have ended')
        self.slurm('scancel', '--full', '--signal=TERM', job)
        self.goes_on()

    @unittest.skipUnless(os.environ.get('CI') or os.environ.get('KNEE_SLURM_LIMIT'), 'takes two minutes: KNEE_SLURM_LIMIT=1')
    def test_time_limit(self):
        self.n = 2000     # 100 s on four slots; the limit ends it after 60 to 90
        self.sh = self.script()
        self.job('-t', '1')
        self.goes_on()

    def test_requeued(self):
        """A job that Slurm starts again runs the same line, and goes on."""
        args = ['--journal', f'{self.fleet.common}/j', '-k', 'echo {}', ':::', '1', '2']
        r = self.inside(['-N1'], *args)
        self.assertEqual((r.out, r.err, r.status), (b'1\n2\n', b'', 0))
        self.env['SLURM_RESTART_COUNT'] = '1'
        r = self.inside(['-N1'], *args, '3')
        self.assertEqual((r.out, r.status), (b'3\n', 0))
        self.assertEqual(r.err, b'knee: --on slurm: Slurm has started this job again: as with --resume\n')


if __name__ == '__main__':
    unittest.main()
