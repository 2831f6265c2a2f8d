# SPDX-License-Identifier: MIT
"""Tasks on other machines by ssh: the same as the loop, whoever did it; and what must be there, which is a shell."""

import contextlib
import sqlite3

from fleetlib import *
from sshcase import *


class Same(SshCase):
    """The same as the plain loop, whoever did it."""

    HOSTS = 3

    def all_there(self, *hosts):
        """The beginning of a task that goes on when each of these hosts has one."""
        return self.text(f': >C/$(hostname); for h in {" ".join(hosts)}; do until test -e C/$h; do sleep 0.02; done; done; ')

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
        r = self.knee('-j', '2', self.all_there('n1', 'n2', 'n3') +
                      'echo $(hostname) $PARALLEL_SSHHOST $PARALLEL_SSHLOGIN; : {}', ':::', *numbers(60))
        self.assertEqual((r.err, r.status), (b'', 0))
        self.assertEqual({tuple(line.split()) for line in r.out.splitlines()},
                         {(h, h, h) for h in (b'n1', b'n2', b'n3')})

    def test_node_set_and_login(self):
        r = self.knee('-j1', self.all_there('n1', 'n2', 'n3') + 'echo $(hostname) $(id -un); : {}', ':::', *numbers(12),
                      hosts='knee@n[1-2],n3')
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
        r = self.knee('wc -c # {}', ':::', '1', '2', input=b'not for them')
        self.assertEqual((r.out.split(), r.status), ([b'0', b'0'], 0))

    def test_environment_and_folder(self):
        r = self.knee('-j1', '--env', 'TOLD', 'echo $TOLD; pwd; : {}', ':::', '1', env={'TOLD': 'a "b" $c'}, hosts='n1')
        home = os.path.expanduser('~root').encode()
        self.assertEqual((r.out, r.err, r.status), (b'a "b" $c\n' + home + b'\n', b'', 0))
        r = self.knee('--wd', '/tmp/made/here', 'pwd; : {}', ':::', '1', hosts='n1')
        self.assertEqual((r.out, r.err, r.status), (b'/tmp/made/here\n', b'', 0))

    def test_this_machine_too(self):
        r = self.knee('-j1', self.all_there('n1') + 'echo $(hostname) $(pwd); : {}', ':::', *numbers(20),
                      hosts=':,n1')
        self.assertEqual((r.err, r.status), (b'', 0))
        here = f'{os.uname().nodename} {self.cwd}'.encode()
        self.assertEqual(set(r.out.splitlines()), {here, b'n1 ' + os.path.expanduser('~root').encode()})

    def test_nobody_waits_for_a_busy_host(self):
        """Three tasks and three hosts with room for one each: they run at the same time, though one host was
        there before the others and could have had more."""
        with self.fleet.start('-j1', self.text(WAIT), ':::', *numbers(3)) as p:
            self.begun(3)
            self.end()
            out, err = p.communicate(timeout=60)
        self.assertEqual((out, err, p.returncode), (lines(numbers(3)), b'', 0))

    def test_limits_of_hosts(self):
        with self.fleet.start('-j1', self.text(WAIT), ':::', *numbers(30), hosts='3/n1,n2,2/n3') as p:
            self.begun(6)
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
        r = self.knee('-j1', '--journal', journal, '--joblog', joblog, 'hostname; sleep 0.05; : {}', ':::', *numbers(30))
        self.assertEqual((r.err, r.status), (b'', 0))
        hosts = r.out.decode().split()
        with contextlib.closing(sqlite3.connect(journal)) as db:
            self.assertEqual([h for h, in db.execute('SELECT host FROM attempt ORDER BY seq')], hosts)
        with open(joblog) as f:
            rows = sorted((line.split('\t') for line in f.readlines()[1:]), key=lambda c: int(c[0]))
        self.assertEqual([row[1] for row in rows], hosts)
