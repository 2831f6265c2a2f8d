# SPDX-License-Identifier: MIT
"""What goes wrong on the way to other machines: that is said, and the others do the work."""

import contextlib

from fleetlib import *
from sshcase import *


class Program(SshCase):
    """What must be there: nothing but a shell. The program comes along."""

    HOSTS = 2

    def cached(self, host):
        """Each start renews the time of the file; a new one is another inode."""
        found = {}
        for folder, _, names in os.walk(os.path.join(self.fleet.home(host), '.cache')):
            for name in names:
                s = os.lstat(os.path.join(folder, name))
                found[name] = (s.st_ino, s.st_size)
        return found

    def all_there(self):
        """A run in which each host has a task."""
        r = self.knee('-j1', self.text(': >C/$(hostname); until test -e C/n1 -a -e C/n2; do sleep 0.02; done; echo {}'),
                      ':::', *numbers(8))
        self.all_right(r, numbers(8))
        for h in self.fleet.hosts:
            (self.common / h).unlink()

    def test_comes_once(self):
        self.all_there()
        before = {h: self.cached(h) for h in self.fleet.hosts}
        for h in self.fleet.hosts:
            self.assertEqual([n for n in before[h] if n.startswith('agent-')], [*before[h]][:1], before)
            self.assertEqual(len(before[h]), 1, before)
        self.all_there()
        self.assertEqual({h: self.cached(h) for h in self.fleet.hosts}, before)

    def test_several_at_once(self):
        with contextlib.ExitStack() as stack:
            runs = [stack.enter_context(self.fleet.start('-j1', 'echo', ':::', *numbers(8))) for _ in range(4)]
            for p in runs:
                out, err = p.communicate(timeout=60)
                self.assertEqual((out, err, p.returncode), (lines(numbers(8)), b'', 0))
        # A host that was not needed any more may be in the middle of it.
        self.fleet.wait_quiet()
        for h in self.fleet.hosts:
            self.assertLessEqual(len(self.cached(h)), 1)

    def test_noisy_login(self):
        for noise in ('echo Welcome; echo knee-agents are not meant; echo knee-boot hello', 'printf "no newline"',
                      r'printf "\033]0;title\007"', 'head -c 100000 /dev/urandom', 'echo to stderr >&2'):
            with self.subTest(noise):
                self.fleet.write('.bashrc', noise + '\n')
                r = self.knee('echo', ':::', *numbers(8), hosts='n1')
                self.assertEqual((r.out, r.status), (lines(numbers(8)), 0), r)

    def test_login_that_ends(self):
        """A .bashrc that execs something else or exits: an error with the host's name."""
        self.fleet.write('.bashrc', 'echo sorry, no >&2; exit 3\n', ['n2'])
        self.goes_on([rb'n2', rb'sorry, no'])

    def test_full_disk(self):
        cache = os.path.join(os.path.expanduser('~root'), '.cache')
        os.mkdir(os.path.join(self.fleet.home('n2'), '.cache'))
        r = self.fleet.run('n2', 'mount', '-t', 'tmpfs', '-o', 'size=64k', 'none', cache)
        self.assertEqual(r.returncode, 0, r)
        self.addCleanup(self.fleet.run, 'n2', 'umount', cache)
        self.goes_on([rb'n2.*No space left'])
        self.assertEqual(self.fleet.run('n2', 'find', cache, '-type', 'f').stdout, b'')

    def test_no_home(self):
        """The cache is elsewhere where there is no home to write to."""
        home = os.path.expanduser('~root')
        self.assertEqual(self.fleet.run('n1', 'mount', '-t', 'tmpfs', '-o', 'ro', 'none', home).returncode, 0)
        self.addCleanup(self.fleet.run, 'n1', 'umount', home)
        self.all_right(self.knee('echo', ':::', *numbers(8), hosts='n1'), numbers(8))

    def wrapper(self, body):
        path = os.path.join(self.cwd, 'wrapper')
        Path(path).write_text(f'#!/bin/sh\ncase $1 in\nn2) {body} ;;\n*) exec ssh -F {self.fleet.config} "$@" ;;\nesac\n')
        os.chmod(path, 0o755)
        return ['-S', 'n1,n2', '--ssh', path]

    def test_other_versions_and_nonsense(self):
        for body, says in (('echo knee-agent 0 0.0.1; exec cat >/dev/null', rb'n2.*0\.0\.1'),
                           ('echo knee-agent 99 77.1; exec cat >/dev/null', rb'n2.*77\.1'),
                           ('echo knee-agent; exec cat >/dev/null', rb'n2'),
                           ('echo hello; exit 0', rb'n2'),
                           ('echo knee-agent 1 9; head -c 5000 /dev/urandom; exec cat >/dev/null', rb'n2'),
                           ('echo knee-boot failed it is Sunday; exit 1', rb'n2.*it is Sunday'),
                           ('echo knee-boot want sparc64 1000; exec cat >/dev/null', rb'n2.*sparc64'),
                           ('exec head -c 10000000 /dev/zero', rb'n2')):
            with self.subTest(body):
                self.goes_on([says], argv=self.wrapper(body))

    def test_silent_login(self):
        """One that connects and says nothing holds nobody up."""
        begin = time.monotonic()
        self.all_right(knee(*self.wrapper('exec sleep 1000'), 'echo', ':::', *numbers(8), cwd=self.cwd), numbers(8))
        self.assertLess(time.monotonic() - begin, 25 * SLOW)


class Errors(SshCase):
    """A host that cannot be reached is named with ssh's own words; the others do the work."""

    HOSTS = 3

    def test_not_in_known_hosts(self):
        config = self.fleet.ssh_config('Host n2\n  UserKnownHostsFile /dev/null')
        self.goes_on([rb'n2', rb'Host key verification failed'], config=config)

    def test_wrong_key(self):
        self.fleet.sshd('n2', 'AuthorizedKeysFile=none')
        self.goes_on([rb'n2', rb'Permission denied'])

    def test_unknown_name(self):
        self.goes_on([rb'no-such-host\.invalid'], hosts='n1,n2,no-such-host.invalid')

    def test_no_sshd(self):
        config = self.fleet.ssh_config('Host n2\n  Port 9')
        self.goes_on([rb'n2', rb'Connection refused'], config=config)

    def test_silent_host(self):
        """No answer at all: the others do not wait for it."""
        self.fleet.cut('n2')
        begin = time.monotonic()
        self.all_right(self.knee('echo', ':::', *numbers(20)), numbers(20))
        self.assertLess(time.monotonic() - begin, 9 * SLOW)

    def test_max_startups(self):
        """A sshd that lets one in at a time, and several runs that want to."""
        self.fleet.sshd('n1', 'MaxStartups=1')
        # Whoever was the last to knock is the only one until sshd has noticed that he left.
        wait_for(lambda: run(['ssh', '-F', self.fleet.config, 'n1', 'true']).status == 0, what='n1 lets somebody in')
        with contextlib.ExitStack() as stack:
            # A run has four tries, and each of the others may cost it one.
            runs = [stack.enter_context(self.fleet.start('echo', ':::', *numbers(20), hosts='n1'))
                    for _ in range(3)]
            for p in runs:
                out, err = p.communicate(timeout=90)
                self.assertEqual((out, p.returncode), (lines(numbers(20)), 0), err)

    def test_ssh_is_missing(self):
        self.goes_on([rb'/no/such/ssh', rb'No such file'], argv=['-S', 'n1,:', '--ssh', '/no/such/ssh'])

    def test_all_wrong(self):
        for h in self.fleet.hosts:
            self.fleet.sshd(h, 'AuthorizedKeysFile=none')
        journal = os.path.join(self.cwd, 'j')
        r = self.knee('--journal', journal, 'echo', ':::', *numbers(20))
        self.assertEqual((r.out, r.status), (b'', 255), r)
        self.assertRegex(r.err, rb'Permission denied')
        for h in self.fleet.hosts:
            self.fleet.sshd(h)
        r = self.knee('--journal', journal, '--resume', 'echo', ':::', *numbers(20))
        self.assertEqual((r.out, r.err, r.status), (lines(numbers(20)), b'', 0))
