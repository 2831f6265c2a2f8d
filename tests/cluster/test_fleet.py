# SPDX-License-Identifier: MIT
"""The hosts that other tests stand on: they are reached, their faults are what they say, and nothing stays."""

import json
import shutil
import sys
from pathlib import Path

from fleetlib import *


def links():
    """The names of this machine's network devices."""
    return os.listdir('/sys/class/net')


class Hosts(FleetCase):
    HOSTS = 3

    def ssh(self, host, *words, options=(), input=b'', timeout=30):
        return run(['ssh', '-F', self.fleet.config, *options, host, *words], input, timeout=timeout)

    def test_bytes_and_status(self):
        data = os.urandom(300000)
        r = self.ssh('n1', 'cat; exit 7', input=data)
        self.assertEqual((r.out == data, r.err, r.status), (True, b'', 7))

    def test_names_users_and_folders(self):
        r = self.ssh('n2', 'hostname; id -un; echo $HOME; ls -A; ls -d /tmp/kneetest* 2>/dev/null')
        self.assertEqual(r.out.split()[:3], [b'n2', b'root', os.path.expanduser('~root').encode()])
        self.assertEqual(r.out.split()[3:], [])
        self.assertEqual(self.ssh('knee@n3', 'id -un').out, b'knee\n')
        self.fleet.write('there', 'text')
        self.assertEqual(self.ssh('n3', 'cat there').out, b'text')

    def test_the_program_is_seen(self):
        r = self.fleet.run('n1', KNEE, '--version')
        self.assertEqual(r.returncode, 0, r)

    def test_cut_is_silence_and_healed(self):
        with start(argv=['ssh', '-F', self.fleet.config, '-o', 'ServerAliveInterval=1', '-o',
                         'ServerAliveCountMax=2', 'n3', 'echo; exec sleep 1000']) as p:
            self.assertEqual(p.stdout.read(1), b'\n')
            self.fleet.cut('n3')
            self.assertEqual(p.wait(20), 255)
            self.assertIn(b'not responding', p.stderr.read())
        self.assertTrue(self.fleet.running('n3', b'sleep'))
        self.fleet.heal('n3')
        self.assertEqual(self.ssh('n3', 'true').status, 0)
        for pid in self.fleet.running('n3', b'sleep'):
            os.kill(pid, signal.SIGKILL)

    def test_poweroff_and_boot(self):
        with start(argv=['ssh', '-F', self.fleet.config, 'n2', 'echo; exec sleep 1000']) as p:
            self.assertEqual(p.stdout.read(1), b'\n')
            self.fleet.poweroff('n2')
            self.assertEqual(self.fleet.processes('n2'), {})
            self.assertEqual(self.fleet.init('n2'), None)
            self.assertIsNone(p.poll())     # it has not heard of that
        self.fleet.boot('n2')
        self.assertEqual(self.ssh('n2', 'true').status, 0)

    def test_stop_is_heard_of(self):
        with start(argv=['ssh', '-F', self.fleet.config, 'n2', 'echo; exec sleep 1000']) as p:
            self.assertEqual(p.stdout.read(1), b'\n')
            self.fleet.stop('n2')
            self.assertEqual(p.wait(10), 255)

    def test_freeze_and_thaw(self):
        with start(argv=['ssh', '-F', self.fleet.config, 'n1', 'cat'], stdin=subprocess.PIPE) as p:
            p.stdin.write(b'1\n')
            self.assertEqual(p.stdout.read(2), b'1\n')
            self.fleet.freeze('n1')
            p.stdin.write(b'2\n')
            self.assertIn('n1 10.213.%d.11 up,frozen' % self.fleet.id, self.fleet.command('status'))
            self.fleet.thaw('n1')
            self.assertEqual(p.stdout.read(2), b'2\n')
            p.stdin.close()
            self.assertEqual(p.wait(10), 0)

    def test_rate(self):
        self.fleet.rate('n1', '8mbit')
        begin = time.monotonic()
        self.ssh('n1', 'cat >/dev/null', input=bytes(1500000))
        self.assertGreater(time.monotonic() - begin, 1)

    def test_sshd_with_options(self):
        self.fleet.sshd('n1', 'MaxStartups=1', 'MaxSessions=2')
        self.fleet.stop('n1')
        self.fleet.boot('n1')
        names = b' '.join(argv for pid in os.listdir('/proc') if pid.isdigit()
                          for argv in argv_of(int(pid)) if b'%d/h/n1/log/sshd' % self.fleet.id in argv)
        self.assertIn(b'-oMaxStartups=1 -oMaxSessions=2', names)
        # Whoever was the last to knock is the only one until sshd has noticed that he left.
        wait_for(lambda: self.ssh('n1', 'true').status == 0, what='n1 lets somebody in')

    def test_a_process_that_stays_is_seen(self):
        self.ssh('n1', 'sleep 1000 >/dev/null 2>&1 &')
        with self.assertRaises(AssertionError):
            self.fleet.wait_quiet(0.2)
        wait_for(lambda: not self.fleet.left(), what='it is killed')


class Shared(FleetCase):
    HOSTS = 1
    SHARED = True

    def test_one_file_system(self):
        folder = scratch()
        r = run(['ssh', '-F', self.fleet.config, 'n1', f'hostname >{folder}/name'])
        self.assertEqual((r.status, Path(folder, 'name').read_text()), (0, 'n1\n'))


class Slurm(FleetCase):
    HOSTS = 2
    SLURM = True

    def test_nodes(self):
        r = run(['srun', '-N2', 'hostname'], env={'SLURM_CONF': self.fleet.slurm_conf}, cwd='/')
        self.assertEqual((sorted(r.out.split()), r.status), ([b'n1', b'n2'], 0))


class Gone(unittest.TestCase):
    """Nothing of a fleet stays, however its test program ends."""

    def check(self, fleet):
        wait_for(lambda: not os.path.exists(fleet['dir']), 20, 'the fleet is gone')
        self.assertEqual([n for n in links() if n.split('.')[0] == f'kf{fleet["id"]}'], [])
        wait_gone(fleet['inits'])

    def program(self, end):
        return f'''
import json, os, sys
sys.path.insert(0, {os.path.dirname(FLEET)!r})
import json
import shutil
import sys
from pathlib import Path

from fleetlib import *
with Fleet(2) as f:
    print(json.dumps(dict(id=f.id, dir=f.dir, inits=[f.init(h) for h in f.hosts])), flush=True)
    {end}
'''

    def test_program_killed_or_failed(self):
        for end in ('os.kill(os.getpid(), 9)', 'raise KeyError', 'os._exit(0)', 'f.freeze("n1"); os.abort()'):
            with self.subTest(end):
                r = run([sys.executable, '-c', self.program(end)], env={'KNEE_PROGRAM': KNEE}, may_leave=True)
                if b'SkipTest' in r.err:
                    self.skipTest(r.err.split(b'SkipTest: ')[1].decode().strip())
                self.check(json.loads(r.out))

    def test_two_at_once(self):
        with Fleet(1) as a, Fleet(1) as b:
            self.assertNotEqual(a.id, b.id)
            self.assertEqual(run(['ssh', '-F', b.config, 'n1', 'hostname']).out, b'n1\n')
        self.assertEqual([n for n in links() if n.split('.')[0] in (f'kf{a.id}', f'kf{b.id}')], [])

    def test_reason(self):
        """Where nothing of the sort is allowed, that is said."""
        if os.getuid() != 0 or shutil.which('setpriv') is None:
            self.skipTest('needs root and setpriv')
        r = run(['setpriv', '--bounding-set=-sys_admin', FLEET, 'check'])
        self.assertEqual((r.out, r.status), (b'', 1))
        self.assertRegex(r.err, rb'^fleet: no namespaces here: .*\n$')
        r = run(['setpriv', '--bounding-set=-net_admin', FLEET, 'check'])
        self.assertRegex(r.err, rb'^fleet: no bridge here: .*\n$')
