# SPDX-License-Identifier: MIT
"""However a run over ssh ends, nothing of it goes on elsewhere; and what is lost in its middle runs on
another machine."""

import contextlib

from fleetlib import *
from sshcase import *


class Ends(SshCase):
    """However a run ends, nothing of it goes on elsewhere."""

    HOSTS = 2

    def sleeping(self, n):
        """Wait until so many sleep 1000 run on the hosts."""
        wait_for(lambda: sum(len(self.fleet.running(h, b'1000')) for h in self.fleet.hosts) >= n, 30,
                 f'{n} tasks run')

    def test_halt(self):
        r = self.knee('-j4', '--halt', 'now,fail=1', 'test {} -ne 3 || { sleep 0.3; exit 7; }; sleep 1000', ':::',
                      *numbers(20))
        self.assertEqual(r.status, 7, r)
        self.fleet.wait_quiet(5)

    def test_timeout(self):
        begin = time.monotonic()
        r = self.knee('-j4', '--timeout', '3', 'test {} -ne 3 || sleep 1000; echo {}', ':::', *numbers(8))
        self.assertEqual((r.out, r.status), (lines(w for w in numbers(8) if w != '3'), 1), r)
        self.assertLess(time.monotonic() - begin, 15 * SLOW)
        self.fleet.wait_quiet(5)

    def test_timeout_of_a_deaf_task(self):
        r = self.knee('--timeout', '1', '--term-seq', 'TERM,300,KILL,25', 'trap "" TERM; while : {}; do sleep 0.1; done',
                      ':::', '1')
        self.assertEqual(r.status, 1, r)
        self.fleet.wait_quiet(5)

    def test_interrupt(self):
        for number in signal.SIGINT, signal.SIGTERM:
            with self.subTest(number), self.fleet.start('-j4', 'sleep 1000; :', ':::', *numbers(20)) as p:
                self.sleeping(8)
                p.send_signal(number)
                self.assertEqual(p.wait(15 * SLOW), 255)
                self.fleet.wait_quiet(5)

    def test_interrupt_with_a_frozen_host(self):
        """What it has, begun or not, is given up long before its silence tells."""
        with self.fleet.start('--host-timeout', '60', '-j2', 'sleep 1000; :', ':::', *numbers(20)) as p:
            self.sleeping(4)
            self.fleet.freeze('n1')
            begin = time.monotonic()
            p.send_signal(signal.SIGINT)
            self.assertEqual(p.wait(30 * SLOW), 255)
            self.assertLess(time.monotonic() - begin, 20 * SLOW)
            self.fleet.thaw('n1')
            self.fleet.wait_quiet(5)

    def test_killed_and_resumed(self):
        """kill -9: within the heartbeat's time nothing of it is on any host, and it can go on."""
        inputs = numbers(300)
        out, err, failed = self.loop(inputs)
        args = ['--host-timeout', '4', '--retries', '2', '-j8', '--journal', os.path.join(self.cwd, 'j'), '--output',
                os.path.join(self.cwd, 'out'), 'sleep 0.05; sh task {}']
        Path(self.cwd, 'inputs').write_bytes(lines(inputs))
        for n, more in enumerate(([], ['--resume'], ['--resume'])):
            with open(os.path.join(self.cwd, 'inputs')) as stdin, \
                    self.fleet.start(*more, *args, stdin=stdin, cwd=self.cwd) as p:
                want = len(self.log('runs')) + 30
                wait_for(lambda: len(self.log('runs')) >= want, 30, 'it is in the middle')
                p.send_signal(signal.SIGKILL)
                p.wait()
            self.fleet.wait_quiet(6)
        r = self.knee('--resume', *args, input=lines(inputs), timeout=120)
        self.assertEqual((Path(self.cwd, 'out').read_bytes() == out, r.status), (True, min(failed, 101)), r)
        runs = self.log('runs')
        self.assertEqual(sorted(set(runs), key=int), inputs)

    def test_killed_while_cut(self):
        """Whoever hears nothing any more ends by itself."""
        with self.fleet.start('--host-timeout', '4', '-j2', 'sleep 1000; :', ':::', *numbers(8)) as p:
            wait_for(lambda: all(self.fleet.running(h, b'1000') for h in self.fleet.hosts), 30, 'both have tasks')
            self.fleet.cut('n1')
            p.send_signal(signal.SIGKILL)
            p.wait()
            wait_for(lambda: not marked(p.mark), 8, 'nothing of it runs here')
            try:
                wait_for(lambda: not self.fleet.left(), 20, 'nothing runs on n1, which is cut off, nor on n2')
            except AssertionError as e:
                raise AssertionError(f'{e}: {self.fleet.left()}') from None


class Lost(SshCase):
    """What is lost in the middle runs elsewhere, and nobody sees that in the output.

    Each host has room for all tasks, so that those of a lost one begin again at once."""

    HOSTS = 3
    TASKS = 6

    @contextlib.contextmanager
    def middle(self, *args):
        """A run whose tasks have all begun, and go on until the block is over; it is to end well. Gives the
        Popen, with the name of a host that has tasks as its victim."""
        inputs = numbers(self.TASKS)
        with self.fleet.start('--host-timeout', '3', '-j6', *args, self.text(WAIT), ':::', *inputs) as p:
            self.begun(self.TASKS)
            p.victim = self.log()[-1].split()[1]
            yield p
            self.end()
            out, err = p.communicate(timeout=60)
            self.assertEqual((out, p.returncode), (lines(inputs), 0), err)
            self.err = err.decode()

    def again(self):
        """Wait until a task has begun again."""
        self.begun(self.TASKS + 1)

    def test_agent_killed(self):
        """By kill -9 of it or of its keeper."""
        for which in 0, 1:
            with self.subTest(which):
                (self.common / 'end').unlink(missing_ok=True)
                (self.common / 'log').unlink(missing_ok=True)
                with self.middle() as p:
                    agents = sorted(self.fleet.agents(p.victim))
                    self.assertEqual(len(agents), 2)
                    os.kill(agents[which], signal.SIGKILL)
                    self.again()
                self.fleet.wait_quiet(5)

    def test_ssh_killed(self):
        with self.middle() as p:
            ssh = [d for d in descendants(p.pid) if command_of(d) == 'ssh' and p.victim.encode() in argv_of(d)]
            os.kill(ssh[0], signal.SIGKILL)
            self.again()

    def test_host_cut(self):
        with self.middle() as p:
            self.fleet.cut(p.victim)
            self.again()
        self.assertIn(p.victim, self.err)
        # It has ended all that it had by itself, cut off as it is.
        wait_for(lambda: not self.fleet.left(), 8, 'nothing runs on it')

    def test_host_cut_and_back(self):
        """Its late answers count for nothing."""
        with self.middle() as p:
            self.fleet.cut(p.victim)
            self.again()
            self.fleet.heal(p.victim)

    def test_short_cut(self):
        """Shorter than the time-out: nothing happens."""
        with self.middle('--host-timeout', '20') as p:
            self.fleet.cut(p.victim)
            time.sleep(1)       # this long; nothing is waited for
            self.fleet.heal(p.victim)
        self.assertEqual((sum(w.startswith('+') for w in self.log()), self.err), (self.TASKS, ''))

    def test_host_powered_off(self):
        with self.middle() as p:
            self.fleet.poweroff(p.victim)
            self.again()

    def test_host_stopped(self):
        with self.middle() as p:
            self.fleet.stop(p.victim)
            self.again()

    def test_host_frozen(self):
        with self.middle() as p:
            self.fleet.freeze(p.victim)
            self.again()
            self.fleet.thaw(p.victim)

    def test_host_rebooted(self):
        """It comes back, and gets work."""
        with self.fleet.start('--host-timeout', '3', '-j1', self.text(WAIT), ':::', *numbers(6)) as p:
            self.begun(3)
            self.fleet.poweroff('n2')
            self.fleet.boot('n2')
            wait_for(lambda: sum('n2' in w for w in self.log()) >= 2, 40, 'n2 has work again')
            self.end()
            out, err = p.communicate(timeout=60)
            self.assertEqual((out, p.returncode), (lines(numbers(6)), 0), err)

    def test_all_lost(self):
        """The run stops, and can be resumed."""
        args = ['--host-timeout', '3', '-j3', '--journal', os.path.join(self.cwd, 'j'), self.text(WAIT), ':::',
                *numbers(24)]
        with self.fleet.start(*args) as p:
            self.begun(9)
            for host in self.fleet.hosts:
                self.fleet.poweroff(host)
            out, err = p.communicate(timeout=90)
            self.assertEqual((out, p.returncode), (b'', 255), err)
        self.fleet.boot('n1')
        self.end()
        r = self.knee('--resume', *args)
        self.assertEqual((r.out, r.status), (lines(numbers(24)), 0), r)
