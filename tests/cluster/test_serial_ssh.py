# SPDX-License-Identifier: MIT
"""Tasks on other machines by ssh: the same as the loop, what is needed there, what goes wrong on the way.

Hosts are those of fleetlib, without knee: what runs there is what knee brings along. Tasks write what they
did to the folder common, which all hosts see."""

import contextlib
import os
import sqlite3
from pathlib import Path

from fleetlib import *

# What task $1 does, in a folder that has this as the file task; C is the folder common.
TASK = r'''
echo "$1" >>C/runs
case $(($1 % 20)) in
3) ;;
5) printf 'no newline %s' "$1" ;;
7) echo "error of $1" >&2 ;;
11) i=0; while test $i -lt 300; do echo "$1 line $i"; i=$((i+1)); done ;;
13) echo "first $1"; sleep 0.05; echo "second $1" ;;
17) mkdir "C/tried.$1" 2>/dev/null && { echo "first try of $1"; exit 1; }; echo "at last $1" ;;
19) echo "fails $1"; exit 3 ;;
*) echo "output of $1" ;;
esac
'''
# It begins and ends with a line in the file log, and is there until somebody ends it or the file end.
WAIT = 'echo "+ $PARALLEL_SSHHOST {}" >>C/log; while ! test -e C/end; do sleep 0.02; done; echo "- $PARALLEL_SSHHOST {}" >>C/log; echo {}'


def numbers(n):
    return [str(i) for i in range(1, n + 1)]


def lines(words):
    return ''.join(f'{w}\n' for w in words).encode()


class SshCase(FleetCase):
    def setUp(self):
        super().setUp()
        self.common = Path(self.fleet.common)
        self.cwd = scratch()
        self.fleet.write('task', self.text(TASK))
        Path(self.cwd, 'task').write_text(self.text(TASK))

    def text(self, script):
        return script.replace('C/', f'{self.common}/')

    def knee(self, *args, **more):
        return self.fleet.knee(*args, **{'cwd': self.cwd, **more})

    def loop(self, inputs):
        """What the loop prints here, of the second try where there is one."""
        for i in inputs:
            if int(i) % 20 == 17:
                (self.common / f'tried.{i}').mkdir()
        out, err, failed = loop(os.path.join(self.cwd, 'task'), inputs, self.cwd)
        for name in os.listdir(self.common):
            path = self.common / name
            path.rmdir() if path.is_dir() else path.unlink()
        return out, err, failed

    def log(self, name='log'):
        with contextlib.suppress(FileNotFoundError):
            return (self.common / name).read_text().splitlines()
        return []

    def begun(self, n, name='log'):
        """Wait until so many tasks have written that they began."""
        wait_for(lambda: sum(w.startswith('+') for w in self.log(name)) >= n, 30, f'{n} tasks have begun')

    def end(self):
        (self.common / 'end').touch()

    def all_right(self, r, inputs, says=()):
        """The rest of the run went on: all outputs, status 0; and these words stand in stderr."""
        self.assertEqual((r.out, r.status), (lines(inputs), 0), r)
        for word in says:
            self.assertRegex(r.err, word)


class Same(SshCase):
    """The same as the plain loop, whoever did it."""

    HOSTS = 3

    def test_same_as_the_loop(self):
        inputs = numbers(2000)
        out, err, failed = self.loop(inputs)
        r = self.knee('--retries', '2', 'sh task {}', input=lines(inputs), timeout=120)
        self.assertEqual((r.out == out, r.err, r.status), (True, err, min(failed, 101)), r)
        runs = self.log('runs')
        self.assertEqual(sorted(set(runs), key=int), inputs)
        self.assertEqual(len(runs), 2000 + 200)     # of those that fail and those that fail once

    def test_unordered(self):
        inputs = numbers(200)
        r = self.knee('-u', 'echo {}; echo {} >&2', ':::', *inputs)
        self.assertEqual((sorted(r.out.split(), key=int), sorted(r.err.split(), key=int), r.status),
                         ([i.encode() for i in inputs], [i.encode() for i in inputs], 0))

    def test_numbers_of_tasks(self):
        """{#} counts inputs; nobody else has the same {%} meanwhile."""
        r = self.knee('-j', '2', 'mkdir %s/slot.{%%} || echo taken; sleep 0.01; rmdir %s/slot.{%%}; '
                      'echo {#} $PARALLEL_SEQ $PARALLEL_JOBSLOT {%%}' % (self.common, self.common),
                      ':::', *'abcdefghij' * 6)
        self.assertEqual((r.err, r.status), (b'', 0))
        for n, line in enumerate(r.out.splitlines(), 1):
            seq, seq2, slot, slot2 = map(int, line.split())
            self.assertEqual((seq, seq2, slot), (n, n, slot2), r.out)
            self.assertTrue(1 <= slot <= 6, r.out)

    def test_every_host_has_a_part(self):
        r = self.knee('-j', '2', 'sleep 0.05; echo $(hostname) $PARALLEL_SSHHOST $PARALLEL_SSHLOGIN', ':::',
                      *numbers(60))
        self.assertEqual((r.err, r.status), (b'', 0))
        self.assertEqual({tuple(line.split()) for line in r.out.splitlines()},
                         {(h, h, h) for h in (b'n1', b'n2', b'n3')})

    def test_node_set_and_login(self):
        r = self.knee('-j1', 'echo $(hostname) $(id -un); sleep 0.1', ':::', *numbers(12), hosts='knee@n[1-2],n3')
        self.assertEqual((r.err, r.status), (b'', 0))
        self.assertEqual(set(r.out.splitlines()), {b'n1 knee', b'n2 knee', b'n3 root'})

    def test_hard_words(self):
        words = ['two  blanks', "quote's", '"', '$HOME', '`id`', '\\', '*', '-n', 'ä€', '\t', 'a\nb', '', '{}']
        r = self.knee('-0', 'printf "<%s>" {}', input=b''.join(w.encode() + b'\0' for w in words))
        self.assertEqual((r.out, r.err, r.status), (''.join(f'<{w}>' for w in words).encode(), b'', 0))

    def test_much_output(self):
        """It comes in order and whole, also of one whose reader is slow."""
        r = self.knee('-j2', 'seq {}00000 {}99999', ':::', *numbers(9))
        self.assertEqual((r.out, r.err, r.status), (b''.join(b'%d\n' % i for i in range(100000, 1000000)), b'', 0))

    def test_stdin_of_tasks_is_empty(self):
        r = self.knee('wc -c', ':::', '1', '2', input=b'not for them')
        self.assertEqual((r.out.split(), r.status), ([b'0', b'0'], 0))

    def test_environment_and_folder(self):
        r = self.knee('-j1', '--env', 'TOLD', 'echo $TOLD; pwd', ':::', '1', env={'TOLD': 'a "b" $c'}, hosts='n1')
        home = os.path.expanduser('~root').encode()
        self.assertEqual((r.out, r.err, r.status), (b'a "b" $c\n' + home + b'\n', b'', 0))
        r = self.knee('--wd', '/tmp/made/here', 'pwd', ':::', '1', hosts='n1')
        self.assertEqual((r.out, r.err, r.status), (b'/tmp/made/here\n', b'', 0))

    def test_this_machine_too(self):
        r = self.knee('-j1', 'echo $(hostname) $(pwd); sleep 0.05', ':::', *numbers(20), hosts=':,n1')
        self.assertEqual((r.err, r.status), (b'', 0))
        here = f'{os.uname().nodename} {self.cwd}'.encode()
        self.assertEqual(set(r.out.splitlines()), {here, b'n1 ' + os.path.expanduser('~root').encode()})

    def test_limits_of_hosts(self):
        with self.fleet.start('-j1', self.text(WAIT), ':::', *numbers(30), hosts='3/n1,n2,2/n3') as p:
            self.begun(6)
            wait_for(lambda: len(self.log()) == 6, what='no more than that')
            self.end()
            out, err = p.communicate(timeout=60)
        self.assertEqual((out, err, p.returncode), (lines(numbers(30)), b'', 0))
        most, now = {}, {}
        for line in self.log():
            what, host, _ = line.split()
            now[host] = now.get(host, 0) + (1 if what == '+' else -1)
            most[host] = max(most.get(host, 0), now[host])
        self.assertEqual(most, {'n1': 3, 'n2': 1, 'n3': 2})

    def test_onall(self):
        r = self.knee('--onall', '--tag', 'echo $(hostname) {}', ':::', 'a', 'b')
        self.assertEqual((sorted(line.split(b'\t')[-1] for line in r.out.splitlines()), r.status),
                         (sorted(b'%s %s' % (h, x) for h in (b'n1', b'n2', b'n3') for x in (b'a', b'b')), 0), r)

    def test_nonall(self):
        r = self.knee('--nonall', 'hostname; test $(hostname) != n2')
        self.assertEqual((sorted(r.out.split()), r.err, r.status), ([b'n1', b'n2', b'n3'], b'', 1))

    def test_nonall_of_one_that_is_off(self):
        self.fleet.sshd('n2', 'AuthorizedKeysFile=none')
        r = self.knee('--nonall', 'hostname')
        self.assertEqual((sorted(r.out.split()), r.status), ([b'n1', b'n3'], 1), r)
        self.assertRegex(r.err, rb'Permission denied')

    def test_journal_and_joblog_name_hosts(self):
        journal, joblog = (os.path.join(self.cwd, name) for name in ('j', 'l'))
        r = self.knee('-j1', '--journal', journal, '--joblog', joblog, 'hostname; sleep 0.05', ':::', *numbers(30))
        self.assertEqual((r.err, r.status), (b'', 0))
        hosts = r.out.decode().split()
        with contextlib.closing(sqlite3.connect(journal)) as db:
            self.assertEqual([h for h, in db.execute('SELECT host FROM attempt ORDER BY seq')], hosts)
        with open(joblog) as f:
            rows = sorted((line.split('\t') for line in f.readlines()[1:]), key=lambda c: int(c[0]))
        self.assertEqual([row[1] for row in rows], hosts)


class Program(SshCase):
    """What must be there: nothing but a shell. The program comes along."""

    HOSTS = 2

    def cached(self, host):
        found = {}
        for folder, _, names in os.walk(os.path.join(self.fleet.home(host), '.cache')):
            for name in names:
                s = os.lstat(os.path.join(folder, name))
                found[name] = (s.st_ino, s.st_ctime_ns, s.st_size)
        return found

    def test_comes_once(self):
        self.all_right(self.knee('echo', ':::', *numbers(8)), numbers(8))
        before = {h: self.cached(h) for h in self.fleet.hosts}
        for h in self.fleet.hosts:
            self.assertEqual([n for n in before[h] if n.startswith('agent-')], [*before[h]][:1], before)
            self.assertEqual(len(before[h]), 1, before)
        self.all_right(self.knee('echo', ':::', *numbers(8)), numbers(8))
        self.assertEqual({h: self.cached(h) for h in self.fleet.hosts}, before)

    def test_several_at_once(self):
        with contextlib.ExitStack() as stack:
            runs = [stack.enter_context(self.fleet.start('-j1', 'echo', ':::', *numbers(8))) for _ in range(4)]
            for p in runs:
                out, err = p.communicate(timeout=60)
                self.assertEqual((out, err, p.returncode), (lines(numbers(8)), b'', 0))
        for h in self.fleet.hosts:
            self.assertEqual(len(self.cached(h)), 1)

    def test_noisy_login(self):
        for noise in ('echo Welcome; echo knee-agents are not meant; echo knee-boot hello', 'printf "no newline"',
                      r'printf "\033]0;title\007"', 'head -c 100000 /dev/urandom', 'echo to stderr >&2'):
            with self.subTest(noise):
                self.fleet.write('.bashrc', noise + '\n')
                self.all_right(self.knee('echo', ':::', *numbers(8)), numbers(8))

    def test_login_that_ends(self):
        """A .bashrc that execs something else or exits: an error with the host's name."""
        self.fleet.write('.bashrc', 'echo sorry, no >&2; exit 3\n', ['n2'])
        self.all_right(self.knee('echo', ':::', *numbers(8)), numbers(8), [rb'n2.*', rb'sorry, no'])

    def test_full_disk(self):
        cache = os.path.join(os.path.expanduser('~root'), '.cache')
        os.mkdir(os.path.join(self.fleet.home('n2'), '.cache'))
        r = self.fleet.run('n2', 'mount', '-t', 'tmpfs', '-o', 'size=64k', 'none', cache)
        self.assertEqual(r.returncode, 0, r)
        self.addCleanup(self.fleet.run, 'n2', 'umount', cache)
        self.all_right(self.knee('echo', ':::', *numbers(8)), numbers(8), [rb'n2.*(No space left|full)'])
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
                r = knee(*self.wrapper(body), 'echo', ':::', *numbers(8), cwd=self.cwd)
                self.all_right(r, numbers(8), [says])

    def test_silent_login(self):
        """One that connects and says nothing holds nobody up."""
        begin = time.monotonic()
        r = knee(*self.wrapper('exec sleep 1000'), 'echo', ':::', *numbers(8), cwd=self.cwd)
        self.all_right(r, numbers(8))
        self.assertLess(time.monotonic() - begin, 25 * SLOW)


class Errors(SshCase):
    """A host that cannot be reached is named with ssh's own words; the others do the work."""

    HOSTS = 3

    def test_not_in_known_hosts(self):
        config = self.fleet.ssh_config('Host n2\n  UserKnownHostsFile /dev/null')
        self.all_right(self.knee('echo', ':::', *numbers(20), config=config), numbers(20),
                       [rb'n2', rb'Host key verification failed'])

    def test_wrong_key(self):
        self.fleet.sshd('n2', 'AuthorizedKeysFile=none')
        self.all_right(self.knee('echo', ':::', *numbers(20)), numbers(20), [rb'n2', rb'Permission denied'])

    def test_unknown_name(self):
        self.all_right(self.knee('echo', ':::', *numbers(20), hosts='n1,n2,no-such-host.invalid'), numbers(20),
                       [rb'no-such-host\.invalid'])

    def test_no_sshd(self):
        config = self.fleet.ssh_config('Host n2\n  Port 9')
        self.all_right(self.knee('echo', ':::', *numbers(20), config=config), numbers(20),
                       [rb'n2', rb'Connection refused'])

    def test_silent_host(self):
        """No answer at all: the others do not wait for it."""
        self.fleet.cut('n2')
        begin = time.monotonic()
        self.all_right(self.knee('echo', ':::', *numbers(20)), numbers(20))
        self.assertLess(time.monotonic() - begin, 9 * SLOW)

    def test_max_startups(self):
        """A sshd that lets one in at a time, and several runs that want to."""
        self.fleet.sshd('n1', 'MaxStartups=1')
        with contextlib.ExitStack() as stack:
            runs = [stack.enter_context(self.fleet.start('echo', ':::', *numbers(20), hosts='n1'))
                    for _ in range(4)]
            for p in runs:
                out, err = p.communicate(timeout=90)
                self.assertEqual((out, p.returncode), (lines(numbers(20)), 0), err)

    def test_ssh_is_missing(self):
        r = knee('-S', 'n1,:', '--ssh', '/no/such/ssh', 'echo', ':::', *numbers(8), cwd=self.cwd)
        self.all_right(r, numbers(8), [rb'/no/such/ssh', rb'No such file'])

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
        r = self.knee('-j4', '--timeout', '1', 'test {} -ne 3 || sleep 1000; echo {}', ':::', *numbers(8))
        self.assertEqual((r.out, r.status), (lines(w for w in numbers(8) if w != '3'), 1), r)
        self.assertLess(time.monotonic() - begin, 15 * SLOW)
        self.fleet.wait_quiet(5)

    def test_timeout_of_a_deaf_task(self):
        r = self.knee('--timeout', '1', '--term-seq', 'TERM,300,KILL,25', 'trap "" TERM; while :; do sleep 0.1; done',
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
                want = len(self.log('runs')) + 60
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
            self.sleeping(4)
            self.fleet.cut('n1')
            p.send_signal(signal.SIGKILL)
            p.wait()
        wait_for(lambda: not self.fleet.left(), 8, 'nothing runs on n1, which is cut off, nor on n2')


class Lost(SshCase):
    """What is lost in the middle runs elsewhere, and nobody sees that in the output."""

    HOSTS = 2

    @contextlib.contextmanager
    def middle(self, *args):
        """A run of tasks that wait for each other; all of them have begun that may. It is to end well."""
        inputs = numbers(24)
        with self.fleet.start('--host-timeout', '3', '-j3', *args, self.text(WAIT), ':::', *inputs) as p:
            self.begun(6)
            yield p
            self.end()
            out, err = p.communicate(timeout=60)
            self.assertEqual((out, p.returncode), (lines(inputs), 0), err)
            self.err = err

    def kill_one(self, pids):
        self.assertTrue(pids)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def test_agent_killed(self):
        with self.middle():
            self.kill_one(self.fleet.agents('n1')[:1])
            wait_for(lambda: len(self.log()) >= 9, 20, 'its tasks have begun again')

    def test_ssh_killed(self):
        with self.middle() as p:
            self.kill_one([pid for pid in descendants(p.pid) if command_of(pid) == 'ssh' and b'n1' in argv_of(pid)])
            wait_for(lambda: len(self.log()) >= 9, 20, 'its tasks have begun again')

    def test_host_cut(self):
        with self.middle():
            self.fleet.cut('n1')
            wait_for(lambda: len(self.log()) >= 9, 20, 'its tasks have begun again')
        self.assertRegex(self.err, rb'n1')

    def test_host_cut_and_back(self):
        """Its late answers count for nothing, and it gets work again."""
        with self.middle():
            self.fleet.cut('n1')
            wait_for(lambda: len(self.log()) >= 9, 20, 'its tasks have begun again')
            self.fleet.heal('n1')

    def test_short_cut(self):
        """Shorter than the time-out: nothing happens."""
        with self.middle('--host-timeout', '20'):
            self.fleet.cut('n1')
            time.sleep(1)       # this long; nothing is waited for
            self.fleet.heal('n1')
        self.assertEqual(sum(w.startswith('+') for w in self.log()), 24)

    def test_host_powered_off(self):
        with self.middle():
            self.fleet.poweroff('n2')
            wait_for(lambda: len(self.log()) >= 9, 20, 'its tasks have begun again')

    def test_host_stopped(self):
        with self.middle():
            self.fleet.stop('n2')
            wait_for(lambda: len(self.log()) >= 9, 20, 'its tasks have begun again')

    def test_host_frozen(self):
        with self.middle():
            self.fleet.freeze('n2')
            wait_for(lambda: len(self.log()) >= 9, 20, 'its tasks have begun again')
            self.fleet.thaw('n2')

    def test_all_lost(self):
        """The run stops, and can be resumed."""
        args = ['--host-timeout', '3', '-j3', '--journal', os.path.join(self.cwd, 'j'), self.text(WAIT), ':::',
                *numbers(24)]
        with self.fleet.start(*args) as p:
            self.begun(6)
            self.fleet.poweroff('n1')
            self.fleet.poweroff('n2')
            out, err = p.communicate(timeout=90)
            self.assertEqual((out, p.returncode), (b'', 255), err)
        self.fleet.boot('n1')
        self.end()
        r = self.knee('--resume', *args)
        self.assertEqual((r.out, r.status), (lines(numbers(24)), 0), r)
