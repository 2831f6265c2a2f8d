# SPDX-License-Identifier: MIT
"""Hosts for end-to-end tests, on top of kneetest: sshd and Slurm in network namespaces (see fleet).

    from fleetlib import *

    class Three(FleetCase):
        HOSTS = 3

        def test_order(self):
            r = self.fleet.knee('echo', ':::', 'a', 'b')
            self.assertEqual((r.out, r.err, r.status), (b'a\\nb\\n', b'', 0))

All cases of a class share one fleet. Each begins with every host up, none with a fault, /tmp and root's
home on each empty; and no process may be left on any host after it. The fleet goes when the class is
done, or when its test program ends, however that ends: a guard reads a pipe until its end, and then
takes the fleet down.

Where no fleet can be up the tests are skipped with the reason, and on CI fail. A test program takes a
FLEET_ID that no other one has, from 100 on; those below are for fleets by hand.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'cli'))

import contextlib
import fcntl
import shlex
import shutil
import subprocess
import time
import unittest
from pathlib import Path

import kneetest
from kneetest import *

__all__ = [*kneetest.__all__, 'Fleet', 'FleetCase', 'FLEET', 'loop']

FLEET = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'fleet')
IDS = range(100, 251)


def loop(script, inputs, cwd):
    """What the plain loop prints: sh SCRIPT INPUT for one input after the other, in the folder cwd. Its
    stdout, stderr, and how many failed."""
    text = ('n=0; while IFS= read -r x; do sh "$1" "$x" </dev/null || n=$((n+1)); done; echo $n >&3')
    with open(os.path.join(cwd, 'loop-failed'), 'w+b') as failed:
        p = subprocess.Popen(['sh', '-c', f'exec 3>&{failed.fileno()}; {text}', 'loop', script], cwd=cwd,
                             env=clean_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, pass_fds=(failed.fileno(),))
        out, err = p.communicate(''.join(f'{x}\n' for x in inputs).encode())
        failed.seek(0)
        return out, err, int(failed.read())


def _claim():
    """An id that no other test program has, and the open file that says so while it is open."""
    first = os.getpid() % len(IDS)
    for number in [*IDS[first:], *IDS[:first]]:
        fd = os.open(f'/tmp/knee-fleet{number}.claim', os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who had it before may have removed the file meanwhile: then it is nobody's lock any more.
            if os.path.samestat(os.stat(fd), os.stat(f'/tmp/knee-fleet{number}.claim')):
                return number, fd
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(fd)
    raise unittest.SkipTest('all FLEET_IDs are taken')


class Fleet:
    """Hosts n1..nN; in a with block, or up() and close().

    hosts: their names. dir, config, slurm_conf: what `fleet env` says. shared: they see the /tmp and the
    home of this machine. common: a folder that all hosts and this machine have under the same name."""

    def __init__(self, n=3, shared=False, sshd=True, slurm=False):
        self.hosts = [f'n{i}' for i in range(1, n + 1)]
        self.shared, self.want_sshd, self.want_slurm = shared, sshd, slurm
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(('FLEET_', 'SLURM_'))}
        self.guard = self.claim = None
        self.faulty = set()

    def up(self):
        """Make it, or SkipTest; on CI what is missing is a failure."""
        r = subprocess.run([FLEET, 'check', *(['slurm'] if self.want_slurm else [])], env=self.env,
                           capture_output=True, text=True)
        if r.returncode != 0:
            reason = r.stderr.strip().splitlines()[-1]
            if os.environ.get('CI'):
                raise AssertionError(reason)
            raise unittest.SkipTest(reason)
        self.id, self.claim = _claim()
        self.dir = f'/tmp/knee-fleet{self.id}'
        self.common = f'{self.dir}/common'
        self.config, self.slurm_conf = f'{self.dir}/ssh/config', f'{self.dir}/slurm.conf'
        show = {str(ROOT), os.path.dirname(os.path.dirname(KNEE))}
        self.env.update(FLEET_ID=str(self.id), FLEET_ROOT='/tmp', FLEET_SHOW=':'.join(sorted(show)))
        self.kept = {os.path.basename(self.dir), *(Path(p).parts[2] for p in show if len(Path(p).parts) > 2)}
        # It holds the claim too, until nothing of the fleet is left.
        self.guard = subprocess.Popen(['sh', '-c', 'cat >/dev/null; "$0" down; rm -f "$1"', FLEET,
                                       f'/tmp/knee-fleet{self.id}.claim'],
                                      env=self.env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL, start_new_session=True,
                                      pass_fds=(self.claim,))
        try:
            self.command('up', *(['-s'] if self.shared else []), len(self.hosts))
            os.mkdir(self.common)
            os.chmod(self.common, 0o1777)
            if self.want_sshd:
                self.command('sshd')
            if self.want_slurm:
                self.command('slurm')
        except BaseException:
            self.close()
            raise
        return self

    def close(self):
        """Take it down."""
        if self.guard is not None:
            with contextlib.suppress(BrokenPipeError):
                self.guard.stdin.close()
            self.guard.wait()
            self.guard = None
        if self.claim is not None:
            os.close(self.claim)
            self.claim = None

    __enter__ = up

    def __exit__(self, *exc):
        self.close()

    def command(self, *args, timeout=60):
        """fleet ARGS, which must succeed; what it printed."""
        r = subprocess.run([FLEET, *map(str, args)], env=self.env, stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=timeout * SLOW)
        if r.returncode != 0:
            raise AssertionError(f'fleet {args}: {r.stdout}{r.stderr}')
        return r.stdout

    # ---- faults ----

    def _fault(self, name, host, *more):
        self.faulty.add(host)
        self.command(name, host, *more)

    def cut(self, host):
        """No packet reaches it or leaves it."""
        self._fault('cut', host)

    def heal(self, host):
        self._fault('heal', host)

    def poweroff(self, host):
        """It is silent from one moment to the next, and nothing runs on it any more."""
        self._fault('poweroff', host)

    def stop(self, host):
        """All that runs on it is killed; its kernel says so to its peers."""
        self._fault('stop', host)

    def boot(self, host):
        self._fault('boot', host)

    def freeze(self, host):
        """All that runs on it stands still."""
        self._fault('freeze', host)

    def thaw(self, host):
        self._fault('thaw', host)

    def cpu(self, host, percent):
        """No more than so many per cent of a core; 0: as it is."""
        self._fault('cpu', host, percent)

    def rate(self, host, rate):
        """Its network carries no more: '20mbit'; 0: as it is."""
        self._fault('rate', host, rate)

    def sshd(self, host, *options):
        """Its sshd with these options ('MaxStartups=1'); without: as it was."""
        self.faulty.add(host)
        self.command('sshd', *(w for o in options for w in ('-o', o)), host)

    def repair(self):
        """Every host up, without a fault, as on the first day."""
        for host in sorted(self.faulty):
            state = self.command('status').split(f'\n{host} ' if host != 'n1' else 'n1 ')[-1].split('\n')[0]
            if 'frozen' in state:
                self.command('thaw', host)
            if 'cut' in state and 'down' not in state:
                self.command('heal', host)
            if 'down' in state:
                self.command('boot', host)
            with contextlib.suppress(AssertionError):
                self.command('cpu', host, 0)
            self.command('rate', host, 0)
            if self.want_sshd:
                self.command('sshd', host)
        self.faulty.clear()
        _empty(self.common, ())
        if not self.shared:
            for host in self.hosts:
                for folder in (self.home(host), self.tmp(host)):
                    _empty(folder, self.kept)

    # ---- what there is on a host ----

    def home(self, host):
        """Where root's home on the host is on this machine."""
        return os.path.expanduser('~root') if self.shared else f'{self.dir}/h/{host}/home'

    def tmp(self, host):
        """The same of its /tmp."""
        return '/tmp' if self.shared else f'{self.dir}/h/{host}/tmp'

    def write(self, name, data, hosts=None, mode=0o644):
        """A file in the homes of these hosts (all)."""
        for host in hosts or self.hosts:
            path = Path(self.home(host), name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
            path.chmod(mode)

    def run(self, host, *argv, input=None):
        """A program inside the host, not through ssh: a CompletedProcess."""
        return subprocess.run([FLEET, 'run', host, *argv], env=self.env, input=input,
                              stdin=subprocess.DEVNULL if input is None else None, capture_output=True)

    def init(self, host):
        """The pid of its first process, or None when it is down."""
        with contextlib.suppress(FileNotFoundError):
            pid = int(Path(self.dir, 'h', host, 'init').read_text().split()[0])
            if process_state(pid) not in (None, 'Z', 'X'):
                return pid
        return None

    def processes(self, host):
        """{pid as this machine counts: command line} of what runs on it but for its first process, sshd
        and the daemons of Slurm."""
        init, found = self.init(host), {}
        if init is None:
            return found
        with contextlib.suppress(OSError):
            namespace = os.readlink(f'/proc/{init}/ns/pid')
            for pid in (int(name) for name in os.listdir('/proc') if name.isdigit()):
                with contextlib.suppress(OSError):
                    if os.readlink(f'/proc/{pid}/ns/pid') != namespace or pid == init:
                        continue
                    argv = argv_of(pid)
                    if argv and argv != [b'sleep', b'3600'] and process_state(pid) not in (None, 'Z', 'X') \
                            and not argv[0].startswith(b'sshd:') and os.path.basename(argv[0]) not in (
                                b'sshd', b'slurmd', b'slurmstepd:'):
                        found[pid] = argv
        return found

    def agents(self, host):
        """The pids of knee's processes on it: the agent, and its keeper."""
        return [pid for pid, argv in self.processes(host).items()
                if b'agent' in argv[1:2] and b'knee' in argv[0]]

    def running(self, host, word):
        """The pids of processes on it with this word (bytes) in their command line."""
        return [pid for pid, argv in self.processes(host).items()
                if any(word in w for w in argv) and pid not in self.agents(host)]

    def left(self):
        """{host: command lines} of hosts on which something runs."""
        found = {host: list(self.processes(host).values()) for host in self.hosts}
        return {host: argvs for host, argvs in found.items() if argvs}

    def wait_quiet(self, timeout=10):
        """Wait until nothing runs on any host; what is left is killed, and a failure."""
        try:
            wait_for(lambda: not self.left(), timeout, 'nothing runs on any host')
        except AssertionError:
            left = self.left()
            for host in left:
                for pid in self.processes(host):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            raise AssertionError(f'left behind: {left}') from None

    # ---- knee ----

    def ssh_config(self, first):
        """A file like config with these lines before all others, which therefore win."""
        path = os.path.join(scratch(), 'config')
        Path(path).write_text(f'{first}\n{Path(self.config).read_text()}')
        return path

    def words(self, hosts=None, config=None):
        """The options that lead to these hosts (a list, or what -S takes; all)."""
        hosts = self.hosts if hosts is None else hosts
        return ['-S', hosts if isinstance(hosts, str) else ','.join(hosts),
                '--ssh', f'ssh -F {shlex.quote(config or self.config)}']

    def knee(self, *args, hosts=None, config=None, **more):
        """Run knee on the hosts to its end: kneetest's knee()."""
        return knee(*self.words(hosts, config), *args, **more)

    def start(self, *args, hosts=None, config=None, **more):
        """The same under way: kneetest's start()."""
        return start(*self.words(hosts, config), *args, **more)


def _empty(folder, kept):
    """Remove what is in it. What leads to a folder of this machine that the host sees stays: it would go
    from the host as well."""
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            if entry.name in kept:
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)


class FleetCase(unittest.TestCase):
    """A test case with a fleet of HOSTS hosts; SHARED, SLURM: as Fleet has them."""

    HOSTS = 3
    SHARED = False
    SLURM = False
    QUIET_SECONDS = 10      # so long may it take until nothing is left on the hosts

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if cls is FleetCase:
            raise unittest.SkipTest('the base of others')
        cls.fleet = Fleet(cls.HOSTS, shared=cls.SHARED, slurm=cls.SLURM)
        cls.fleet.up()
        cls.addClassCleanup(cls.fleet.close)

    def setUp(self):
        super().setUp()
        self.fleet.repair()
        self.addCleanup(self._quiet)

    def _quiet(self):
        for host in sorted(self.fleet.faulty):
            if self.fleet.init(host) is not None:
                self.fleet.command('thaw', host)
                self.fleet.command('heal', host)
        self.fleet.wait_quiet(self.QUIET_SECONDS)
