# SPDX-License-Identifier: MIT
"""What tests of --on slurm share: a fleet with a real Slurm, and ways to run knee in its jobs."""

import subprocess
from pathlib import Path

from fleetlib import *

__all__ = ['TASK', 'Slurm', 'numbers']

# What the loop would print of these.
TASK = 'echo {}; sleep 0.05; echo e{} >&2'


def numbers(n):
    return ''.join(f'{i}\n' for i in range(1, n + 1)).encode()


class Slurm(FleetCase):
    HOSTS = 3
    SLURM = True
    QUIET_SECONDS = 20      # Slurm's KillWait is in it

    def setUp(self):
        super().setUp()
        self.env = {'SLURM_CONF': self.fleet.slurm_conf}
        self.fleet.command('slurm')     # waits until the nodes are idle
        self.addCleanup(self.no_jobs)

    def slurm(self, *argv):
        """What a command of Slurm's prints."""
        r = subprocess.run(argv, env=clean_env(self.env), capture_output=True, text=True, check=True)
        return r.stdout

    def jobs(self):
        return self.slurm('squeue', '-h', '-o', '%i %t').split('\n')[:-1]

    def state(self):
        """What Slurm says of itself: for the message of a test that fails."""
        log = Path(self.fleet.dir, 'log', 'slurmctld').read_text().splitlines()
        return '\n'.join([self.slurm('squeue', '-o', '%i %T %M %R'), self.slurm('sinfo', '-N', '-o', '%N %T %E'),
                          *log[-40:]])

    def no_jobs(self):
        """No job may be left; CG: it is being cleaned up, which is all that Slurm has to do."""
        try:
            wait_for(lambda: all(j.endswith(' CG') for j in self.jobs()), 20,
                     lambda: f'no job is left\n{self.state()}')
        finally:
            for job in self.jobs():
                self.slurm('scancel', job.split()[0])

    def inside(self, options, *args, **more):
        """knee in a job that salloc gives."""
        return run(['salloc', '-Q', *options, *knee_argv('--on', 'slurm', *args)], env=self.env,
                   cwd=self.fleet.common, **more)

    def outside(self, options, *args, **more):
        return knee('--on', f'slurm:{options}', *args, env={**self.env, **more.pop('env', {})},
                    cwd=self.fleet.common, **more)
