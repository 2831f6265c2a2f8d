# SPDX-License-Identifier: MIT
"""knee hosts and real sshds: those that answer are shown, and the others hold nobody up."""

import json
import shlex

from fleetlib import *
from kneetest import *


class Hosts(FleetCase):
    HOSTS = 5

    def hosts(self, *args, config=None, **more):
        return knee('hosts', '--ssh', f'ssh -F {shlex.quote(config or self.fleet.config)}', *args, **more)

    def test_all(self):
        r = self.hosts('--json', 'n[1-5]', ':')
        self.assertEqual((r.err, r.status), (b'', 0), r)
        rows = {row['host']: row for row in map(json.loads, r.out.splitlines())}
        self.assertEqual(sorted(rows), [':', *self.fleet.hosts])
        for row in rows.values():
            self.assertEqual(row['cores'], os.cpu_count())
            self.assertGreater(row['memory_bytes'], row['memory_used_bytes'])

    def test_some_do_not(self):
        """Cut off, switched off, another key, no key of ours, no such name: each is listed with its reason."""
        config = self.fleet.ssh_config(
            'Host n3\n  UserKnownHostsFile /dev/null\nHost n4\n  User nobody-there')
        self.fleet.cut('n1')
        self.fleet.stop('n2')
        # Where there is no name server it takes ssh as long as this to say so.
        r = self.hosts('--timeout', '10', 'n[1-5],no-such-host', config=config,
                       env={'RES_OPTIONS': 'timeout:1 attempts:1'})
        self.assertEqual(r.status, 5, r)
        out = r.out.decode()
        for line in (r'n\[1-2\] +no answer in 10 s', r'n3 +Host key verification failed',
                     r'n4 +Permission denied', r'no-such-host +Could not resolve',
                     r'1 of 6 machines answer'):
            self.assertRegex(out, line)
        self.assertRegex(out, r'(?m)^n5 +\d')


class Everywhere(FleetCase):
    HOSTS = 3

    def test_nonall(self):
        r = self.fleet.knee('--nonall', '--tag', 'hostname')
        self.assertEqual((r.out, r.err, r.status), (b'n1\tn1\nn2\tn2\nn3\tn3\n', b'', 0))

    def test_onall(self):
        r = self.fleet.knee('--onall', 'echo $PARALLEL_SSHHOST', ':::', 'a', 'b')
        self.assertEqual(sorted(r.out.split(b'\n')), sorted(b'n1 a\nn2 a\nn3 a\nn1 b\nn2 b\nn3 b\n'.split(b'\n')))
        self.assertEqual((r.err, r.status), (b'', 0))

    def test_one_is_not_there(self):
        r = self.fleet.knee('--nonall', 'hostname', hosts='n1,no-such-host,n3')
        self.assertEqual((r.out, r.status), (b'n1\nn3\n', 1))
        self.assertIn(b'Could not resolve hostname no-such-host', r.err)


if __name__ == '__main__':
    unittest.main()
