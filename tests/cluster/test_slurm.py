# SPDX-License-Identifier: MIT
"""--on slurm on a real Slurm: inside a job and outside, jobs that are given back whatever ends knee, nodes that
are lost, and a way for output that is not srun's.
"""

import contextlib
import os
import signal
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fleetlib import *
from slurmcase import *

class Jobs(Slurm):
    def test_inside(self):
        r = self.inside(['-N3', '-n6'], '-k', TASK, input=numbers(60))
        self.assertEqual((r.out, r.status), (numbers(60), 0))
        self.assertEqual(sorted(r.err.split()), sorted(b'e%d' % i for i in range(1, 61)))

    def test_all_nodes(self):
        r = self.inside(['-N3'], '--nonall', 'hostname; pwd; echo $SLURM_JOB_NUM_NODES')
        folder = self.fleet.common
        self.assertEqual(sorted(r.out.decode().split()), sorted(['n1', 'n2', 'n3', folder, folder, folder, *'333']))
        self.assertEqual((r.err, r.status), (b'', 0))

    def test_outside(self):
        r = self.outside('-N2 -n4 -t 5', '-k', 'echo {} ${SLURM_JOB_ID:+in a job}; exit {}', ':::', '0', '1')
        self.assertEqual((r.out, r.err, r.status), (b'0 in a job\n1 in a job\n', b'', 1))
        self.no_jobs()

    def test_environment(self):
        """What the user has goes along; what would make another step of an agent's does not."""
        r = self.outside('-N1 -n2', 'echo $MINE {}', ':::', 'x',
                         env={'MINE': 'yes', 'SLURM_CPUS_PER_TASK': '9', 'SLURM_EXACT': '1',
                              'SLURM_CPU_BIND': 'nonsense', 'SLURM_MEM_BIND': 'nonsense', 'SLURM_EXPORT_ENV': 'NONE',
                              'SLURM_STDOUTMODE': '/dev/null', 'SLURM_LABELIO': '1'})
        self.assertEqual((r.out, r.err, r.status), (b'yes x\n', b'', 0))

    def test_home_folder(self):
        """--wd: as nodes have the same folders as here, so they have the same home."""
        home = os.path.join(self.fleet.common, 'home')
        os.mkdir(home)
        for folder, path in ('~/x', 'home/x'), ('~', 'home'), ('y', 'y'):
            r = self.outside('-N1', '--wd', folder, '-n0', 'pwd', ':::', 'x', env={'HOME': home})
            self.assertEqual((r.out.decode(), r.err, r.status), (f'{self.fleet.common}/{path}\n', b'', 0))


class Errors(Slurm):
    def refused(self, r, text):
        self.assertIn(text, r.err)
        self.assertEqual((r.out, r.status), (b'', 255))

    def test_no_job(self):
        self.refused(knee('--on', 'slurm', 'echo', ':::', '1', env=self.env), b'this is no job of Slurm')

    def test_not_installed(self):
        self.refused(knee('--on', 'slurm:-N1', 'echo', ':::', '1', env={'PATH': scratch()}),
                     b'there is no salloc in PATH')
        self.refused(knee('--on', 'slurm', 'echo', ':::', '1',
                          env={'PATH': scratch(), 'SLURM_JOB_ID': '1', 'SLURM_JOB_NODELIST': 'n1'}),
                     b'there is no srun in PATH')

    def test_salloc_refuses(self):
        self.refused(self.outside('-N1 -p nowhere', 'echo', ':::', '1'), b'invalid partition')
        self.refused(self.outside('hostname', 'echo', ':::', '1'), b'only its options may stand behind slurm:')
        self.refused(self.outside('-N1 --no-shell', 'echo', ':::', '1'), b'--no-shell')

    def test_a_job_that_is_over(self):
        r = knee('--on', 'slurm', 'echo', ':::', '1',
                 env={**self.env, 'SLURM_JOB_ID': '99999', 'SLURM_JOB_NODELIST': 'n[1-2]'})
        self.refused(r, b'Invalid job id')

    def test_no_job_for_a_dry_run(self):
        r = self.outside('-N9', '--dry-run', 'echo', ':::', '1')
        self.assertEqual((r.out, r.err, r.status), (b'echo 1\n', b'', 0))


class Ends(Slurm):
    """However knee ends, its job is given back and nothing is left on the nodes."""

    def started(self, *options):
        return start('--on', 'slurm:-N2 -n4 -t 5', *options, 'echo {}; exec sleep 1234', ':::', '1', '2', '3', '4',
                     env=self.env, cwd=self.fleet.common, may_leave=True)

    def wait_running(self):
        """Which nodes the job gets is Slurm's choice: one may still be clearing up after the case before."""
        wait_for(lambda: sum(len(self.fleet.running(h, b'1234')) for h in self.fleet.hosts) >= 2, 30,
                 lambda: f'tasks run\n{self.state()}')

    def wait_over(self):
        self.no_jobs()
        self.fleet.wait_quiet(self.QUIET_SECONDS)

    def test_term(self):
        with self.started() as p:
            self.wait_running()
            p.terminate()
            p.wait(20 * SLOW)
            self.assertEqual(p.returncode, 255)
            self.assertIn(b'with --journal FILE a later run could go on', p.stderr.read())
            self.wait_over()

    def test_kill_keeper(self):
        with self.started() as p:
            self.wait_running()
            p.kill()
            self.wait_over()

    def test_kill_program(self):
        with self.started() as p:
            self.wait_running()
            os.kill(children(p.pid)[0], signal.SIGKILL)
            self.wait_over()

    def test_kill_both(self):
        with self.started() as p:
            self.wait_running()
            program = children(p.pid)[0]
            p.send_signal(signal.SIGSTOP)
            os.kill(program, signal.SIGKILL)
            p.kill()
            self.wait_over()

    def test_queue(self):
        """Whoever waits for a job and is ended leaves none in the queue."""
        self.slurm('sbatch', '-N3', '--exclusive', '-o', '/dev/null', '--wrap', 'sleep 1000')
        wait_for(lambda: any(j.endswith(' R') for j in self.jobs()), 10, 'the nodes are taken')
        for sig in (signal.SIGINT, signal.SIGKILL):
            with start('--on', 'slurm:-N3', 'echo', ':::', '1', env=self.env, may_leave=True) as p:
                said = b''
                while b'waiting for a job' not in said or b'salloc: Pending job allocation' not in said:
                    more = os.read(p.stderr.fileno(), 4096)
                    self.assertTrue(more, said)
                    said += more
                p.send_signal(sig)
                p.wait(10 * SLOW)
                wait_for(lambda: len(self.jobs()) == 1, 10, 'its job is out of the queue')
        for job in self.jobs():
            self.slurm('scancel', job.split()[0])


class Loss(Slurm):
    def test_node_lost(self):
        """One of three goes off in the middle: its tasks run elsewhere, and nobody sees it in the output."""
        journal = os.path.join(scratch(), 'j')
        task = 'until [ -e go ]; do sleep 0.1; done; sleep 0.1; echo {}'
        with start(argv=['salloc', '-Q', '--no-kill', '-N3', '-n6', *knee_argv(
                '--on', 'slurm', '-j2', '--host-timeout', '3', '--journal', journal, '-k', task)],
                env=self.env, cwd=self.fleet.common, stdin=subprocess.PIPE) as p:
            p.stdin.write(numbers(300))
            p.stdin.close()
            wait_for(lambda: self.fleet.running('n2', b'until [ -e go ]'), 60, 'n2 has tasks')
            self.fleet.poweroff('n2')
            Path(self.fleet.common, 'go').touch()
            said = b''
            while more := p.stdout.read(65536):
                said += more
            err = p.stderr.read()
            self.assertEqual(p.wait(60 * SLOW), 0, err)
        self.assertEqual(said, numbers(300))
        self.assertIn(b'n2: lost', err)


class Rate(Slurm):
    def test_output_does_not_go_through_srun(self):
        """While a task prints, knee has a TCP connection that is none of srun's; bench/slurm has the figures."""
        folder = self.fleet.common
        wait = f'echo begun; until [ -e {folder}/go ]; do sleep 0.1; done; : {{}}'
        with start('--on', 'slurm:-N1 -n2', '-u', wait, ':::', '1', env=self.env, cwd=folder) as p:
            self.assertEqual(p.stdout.readline(), b'begun\n')
            program = children(p.pid)[0]
            sockets = [os.readlink(f'/proc/{program}/fd/{fd}') for fd in open_fds(program)]
            inodes = {s[8:-1] for s in sockets if s.startswith('socket:')}
            tcp = [line.split() for line in Path('/proc/net/tcp').read_text().splitlines()[1:]]
            self.assertEqual(sum(1 for t in tcp if t[3] == '01' and t[9] in inodes), 1)
            Path(folder, 'go').touch()
            self.assertEqual(p.wait(20 * SLOW), 0)


def children(pid):
    """The program of a keeper, which is the keeper's only child beside what stands for the job."""
    found = []
    for c in descendants(pid):
        # One that has ended meanwhile is none.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if command_of(c) != 'kn-slurm' and \
                    int(Path(f'/proc/{c}/stat').read_text().rsplit(')', 1)[1].split()[1]) == pid:
                found.append(c)
    return found


if __name__ == '__main__':
    unittest.main()
