# SPDX-License-Identifier: MIT
"""knee hosts: the table and its kin, machines that do not answer, and what is left behind. ssh is a script
here, whose hosts are files; tests/cluster has real ones."""

import csv
import json
import re

from kneetest import *

FOLDER = scratch()
FAKE = os.path.join(FOLDER, 'fake')

with open(FAKE, 'w') as script:
    script.write('''#!/bin/sh
# FAKE HOST COMMAND: do as the file HOST says. sample LOAD TICKS IDLE AVAILABLE UPTIME SECTORS BYTES
sample() {
    printf '\\n=knee-hosts 1\\n=loadavg %s 0.50 0.25 1/100 999\\n=uptime %s 1.0\\n' "$1" "$5"
    printf '=sys/kernel/hostname real-%s\\n=sys/kernel/osrelease 6.1.0\\n' "$HOST"
    printf '=/sys/block/sda/device\\n=/sys/class/net/eth0/device\\n=stat\\ncpu  %s 0 0 %s 0 0 0 0 0 0\\n' "$2" "$3"
    printf 'cpu0 1 1 1 1\\ncpu1 1 1 1 1\\n=meminfo\\nMemTotal: 4194304 kB\\nMemAvailable: %s kB\\n' "$4"
    printf '=diskstats\\n 8 0 sda 1 0 %s 0 1 0 %s 0 0 0 0\\n 8 1 sda1 1 0 %s 0 1 0 %s 0 0 0 0\\n' "$6" "$6" "$6" "$6"
    printf '=net/dev\\n  lo: 9 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0\\n'
    printf 'eth0: %s 0 0 0 0 0 0 0 %s 0 0 0 0 0 0 0\\n=end\\n' "$7" "$7"
}
HOST=$1
cd "$(dirname "$0")" || exit
echo "$1" >>started
. "./$1"
''')
os.chmod(FAKE, 0o755)

# A second in which it was half busy, read and wrote 1 MiB, and sent and received 2 MiB.
BUSY = 'sample 1.50 1000 1000 1048576 100.00 0 0; sample 1.50 1100 1100 1048576 101.00 2048 2097152'
IDLE = 'sample 0.10 1000 1000 3145728 90000.00 0 0; sample 0.10 1000 1200 3145728 90001.00 0 0'


def host(name, text):
    with open(os.path.join(FOLDER, name), 'w') as f:
        f.write(text + '\n')


def hosts(*args, **more):
    return knee('hosts', '--ssh', FAKE, *args, **more)


def lines(data):
    return [line.split() for line in data.decode().splitlines()]


host('busy', BUSY)
host('idle', IDLE)
for i in range(1, 9):
    host(f'deaf{i}', 'exec sleep 1000')
    host(f'no{i}', 'echo "me@host: Permission denied (publickey,password)." >&2; exit 255')
    host(f'same{i}', IDLE)


class Table(unittest.TestCase):
    def test_figures(self):
        r = hosts('busy', 'idle')
        self.assertEqual((r.err, r.status), (b'', 0), r)
        self.assertEqual(r.out.decode(), '''\
HOST  LOAD  CORES  CPU%  MEM-USED  MEM-FREE  MEM%  DISK-R  DISK-W  NET-IN  NET-OUT  UPTIME
busy  1.50      2    50      3.0G      1.0G    75    1.0M    1.0M    2.0M     2.0M   1m41s
idle  0.10      2     0      1.0G      3.0G    25      0B      0B      0B       0B   1d01h

2 of 2 machines answer: 4 cores, 25 % busy, 4096 of 8192 MiB used
''')

    def test_sort(self):
        host('mid', BUSY.replace('1100 1100', '1050 1150'))
        host('bare', 'echo; echo "=knee-hosts 1"; echo =end; echo "=knee-hosts 1"; echo =end')
        for column, want in (('cpu', ['idle', 'mid', 'busy', 'bare']), ('-cpu', ['busy', 'mid', 'idle', 'bare']),
                             ('MEM-FREE', ['mid', 'busy', 'idle', 'bare']),
                             ('host', ['bare', 'busy', 'idle', 'mid']),
                             ('-uptime', ['idle', 'mid', 'busy', 'bare'])):
            with self.subTest(column):
                r = hosts('--sort', column, 'mid', 'no1', 'bare', 'busy', 'idle')
                self.assertEqual([x[0] for x in lines(r.out)[1:5]], want, r)
                # Those without figures come last, whatever is sorted by.
                self.assertEqual(lines(r.out)[5], ['no1', 'Permission', 'denied'], r)
        for name in ('load', 'cores', 'mem-used', 'mem', 'disk-r', 'disk-w', 'net-in', 'net-out'):
            self.assertEqual(lines(hosts('--sort=-' + name, 'idle', 'busy').out)[1][0],
                             'idle' if name == 'cores' else 'busy', name)

    def test_folding(self):
        r = hosts('same[1-8],no[1-5],busy,no7')
        self.assertEqual(r.status, 6, r)
        rows = lines(r.out)
        self.assertEqual([x[0] for x in rows[1:4]], ['same[1-8]', 'busy', 'no[1-5,7]'], r)
        self.assertEqual(rows[-1][:5], ['9', 'of', '15', 'machines', 'answer:'], r)
        r = hosts('--no-fold', 'same[1-8],no[1-3]')
        self.assertEqual([x[0] for x in lines(r.out)[1:12]],
                         [f'same{i}' for i in range(1, 9)] + ['no1', 'no2', 'no3'], r)

    def test_noise(self):
        """What a login prints, long lines, bytes that are no text: all of it is passed over."""
        host('noise', 'echo "NOISE from .bashrc"; head -c 100000 /dev/zero; printf "no newline"; ' + BUSY
             + '; echo bye')
        host('script', 'echo "Warning: known hosts" >&2; ' + BUSY)
        r = hosts('noise', 'script')
        self.assertEqual((r.err, r.status), (b'', 0), r)
        self.assertEqual(lines(r.out)[1], ['noise,script'] + lines(hosts('busy').out)[1][1:], r)

    def test_escapes_are_shown(self):
        host('evil', r"printf '\033[31mred\033[2J\n' >&2; exit 3")
        r = hosts('evil')
        self.assertIn(rb'\x1B[31mred\x1B[2J', r.out)
        self.assertNotIn(b'\033', r.out)

    def test_this_machine(self):
        r = knee('hosts', ':')
        self.assertEqual((r.err, r.status), (b'', 0), r)
        row = lines(r.out)[1]
        self.assertEqual(row[0], ':')
        with open('/proc/stat') as f:
            self.assertEqual(int(row[2]), len(re.findall(r'^cpu\d', f.read(), re.M)), r)
        self.assertNotIn('-', row[:8])


class Programs(unittest.TestCase):
    def test_json(self):
        r = hosts('--json', 'busy', 'no1', 'no2', 'same[1-2]')
        found = [json.loads(line) for line in r.out.splitlines()]
        # Nothing is folded.
        self.assertEqual([x['host'] for x in found], ['busy', 'same1', 'same2', 'no1', 'no2'])
        up, down = found[0], found[3]
        self.assertEqual((up['state'], up['error'], up['hostname'], up['kernel']), ('up', None, 'real-busy', '6.1.0'))
        self.assertEqual((up['load1'], up['load5'], up['load15'], up['cores'], up['cpu_busy']), (1.5, 0.5, 0.25, 2, 0.5))
        self.assertEqual((up['memory_bytes'], up['memory_used_bytes'], up['memory_free_bytes']),
                         (4 << 30, 3 << 30, 1 << 30))
        self.assertEqual((up['disk_read_per_s'], up['disk_written_per_s']), (1 << 20, 1 << 20))
        self.assertEqual((up['net_received_per_s'], up['net_sent_per_s']), (2 << 20, 2 << 20))
        self.assertEqual((down['state'], down['error'], down['cores']), ('down', 'Permission denied', None))
        self.assertEqual(list(up), list(down))
        self.assertEqual(r.status, 2)

    def test_csv(self):
        host('odd', 'echo "a, \\"b\\"" >&2; exit 1')
        r = hosts('--csv', 'busy', 'odd')
        rows = list(csv.DictReader(r.out.decode().splitlines()))
        self.assertEqual([x['host'] for x in rows], ['busy', 'odd'])
        self.assertEqual((rows[0]['cpu_busy'], rows[0]['memory_bytes']), ('0.5', str(4 << 30)))
        self.assertEqual((rows[1]['error'], rows[1]['cores']), ('a, "b"', ''))
        self.assertEqual(list(rows[0]), list(json.loads(hosts('--json', 'busy').out)))

    def test_without_a_pause(self):
        host('once', 'case $2 in *"n=1;"*) ;; *) exit 9 ;; esac; ' + BUSY.split(';')[0])
        r = hosts('--interval', '0', '--json', 'once')
        found = json.loads(r.out)
        self.assertEqual((found['state'], found['cores'], found['cpu_busy'], found['net_sent_per_s']),
                         ('up', 2, None, None), r)


class Down(unittest.TestCase):
    def test_silent(self):
        """All of them at the same time, and not a moment longer; nobody waits behind them."""
        r = hosts('--timeout', '3', 'deaf[1-8]', 'busy')
        self.assertEqual(r.status, 8, r)
        self.assertEqual([x[0] for x in lines(r.out)[1:3]], ['busy', 'deaf[1-8]'], r)
        self.assertIn(b'deaf[1-8]  no answer in 3 s\n', r.out)
        self.assertLess(r.seconds, 3 + 2 * SLOW)

    def test_silent_ones_take_no_place(self):
        for i in range(80):
            host(f'dumb{i}', 'exec sleep 1000')
        r = hosts('--timeout', '4', 'dumb[0-79]', 'busy')
        self.assertEqual(r.status, 80, r)
        self.assertEqual(lines(r.out)[1][0], 'busy', r)

    def test_jobs(self):
        """With -j nobody is begun before one of those has answered."""
        r = hosts('-j1', '--timeout', '2', 'deaf1', 'deaf2', 'busy')
        self.assertEqual(r.status, 2, r)
        self.assertGreater(r.seconds, 4)

    def test_many(self):
        for i in range(120):
            host(f'dumb{i}', 'exec sleep 1000')
        r = hosts('--timeout=0.3', *(f'dumb{i}' for i in range(120)))
        self.assertEqual(r.status, 101, r)

    def test_reasons(self):
        for text, want in (
                ('ssh: connect to host x port 22: Connection refused', 'Connection refused'),
                ('ssh: Could not resolve hostname x: Name or service not known', 'Could not resolve'),
                ('No RSA key\r\nHost key verification failed.', 'Host key verification failed'),
                ('ssh: connect to host x port 22: Connection timed out', 'no answer in 5 s'),
                ('ssh: connect to host x port 22: No route to host', 'No route to host'),
                ('kex_exchange_identification: read: Connection reset by peer', 'Connection reset'),
                ('sh: 1: sh: not found', 'sh: 1: sh: not found'),
                ('', 'no statistics: its command ended with status 255')):
            with self.subTest(text):
                with open(os.path.join(FOLDER, 'text'), 'w') as f:
                    f.write(text)
                host('why', 'cat text >&2; exit 255')
                r = hosts('why')
                self.assertEqual((r.out.decode().splitlines()[1], r.status), (f'why   {want}', 1), r)

    def test_lost_in_the_middle(self):
        host('half', BUSY.split(';')[0] + '; echo "Connection to half closed by remote host." >&2; exit 255')
        host('stuck', BUSY.split(';')[0] + '; exec sleep 1000')
        r = hosts('--timeout', '2', 'half', 'stuck')
        self.assertEqual(r.status, 2, r)
        self.assertIn(b'half   Connection to half closed by remote host\n', r.out)
        self.assertIn(b'stuck  silent for 2 s\n', r.out)

    def test_one_that_does_not_end(self):
        """All was said: that its connection stays is no fault of the machine."""
        host('stays', BUSY + '; exec sleep 1000')
        r = hosts('--timeout', '2', 'stays')
        self.assertEqual((r.status, lines(r.out)[1][:2]), (0, ['stays', '1.50']), r)

    def test_flood(self):
        host('flood', 'exec cat /dev/zero')
        r = hosts('--timeout', '3', 'flood', 'busy')
        self.assertIn(b'flood  no answer in 3 s\n', r.out)
        self.assertEqual(r.status, 1, r)

    def test_no_such_program(self):
        r = knee('hosts', '--ssh', '/nonexistent/ssh', 'web1')
        self.assertEqual(r.status, 1, r)
        self.assertIn(b'not found', r.out)


class Command(unittest.TestCase):
    def read(self, path):
        with open(path) as f:
            return f.read().splitlines()

    def test_ssh(self):
        """What a real ssh is given: a link of that name to a script that tells."""
        os.makedirs(os.path.join(FOLDER, 'bin'), exist_ok=True)
        path = os.path.join(FOLDER, 'bin/ssh')
        with open(path, 'w') as f:
            f.write('#!/bin/sh\nfor a; do printf "%s\\n" "$a"; done >"$OUT"\nexit 1\n')
        os.chmod(path, 0o755)
        out = os.path.join(FOLDER, 'args')
        env = {'PATH': os.path.join(FOLDER, 'bin') + ':' + os.environ['PATH'], 'OUT': out}
        self.assertEqual(knee('hosts', '--timeout', '2.5', 'me@web1:2222', env=env).status, 1)
        args = self.read(out)
        self.assertEqual(args[:9], ['-T', '-o', 'ForwardX11=no', '-o', 'ForwardAgent=no', '-o', 'BatchMode=yes', '-o',
                                    'ConnectTimeout=4'])
        self.assertEqual(args[-4:-1], ['-p', '2222', 'me@web1'])
        # One line that any login shell hands on as it is.
        self.assertRegex(args[-1], r"^exec sh -c '[^'!\\]*'$")
        knee('hosts', '--ssh', 'ssh -F "/some where/x"', '--', 'web1', env=env)
        self.assertEqual(self.read(out)[:3], ['-F', '/some where/x', '-T'])

    def test_the_script_in_other_shells(self):
        """The line as a login shell of any kind gets it."""
        for shell in ('sh', 'bash', 'dash', 'zsh', 'tcsh', 'fish', 'busybox sh'):
            if not any(os.access(os.path.join(p, shell.split()[0]), os.X_OK)
                       for p in os.environ['PATH'].split(':')):
                continue
            with self.subTest(shell):
                host('shell', f'exec {shell} -c "$2"')
                r = hosts('--interval', '0.1', 'shell')
                self.assertEqual((r.err, r.status), (b'', 0), r)
                self.assertNotIn('-', lines(r.out)[1][:8], r)

    def test_files(self):
        path = os.path.join(FOLDER, 'logins')
        with open(path, 'w') as f:
            f.write('# mine\nbusy\n2/idle  # two at once\n')
        r = hosts('--slf', path, '-S', 'same1', 'busy')
        self.assertEqual((r.status, len(lines(r.out))), (0, 5), r)
        r = hosts('!idle', '--slf', path)
        self.assertEqual((r.status, [line[0] for line in lines(r.out)[1:2]], len(lines(r.out))), (0, ['busy'], 4), r)
        r = hosts('!idle')
        self.assertEqual((r.err, r.status), (b'knee: hosts: there is no login in it\n', 255))

    def test_mistakes(self):
        for args, message in (
                ([], 'no machines: knee hosts [OPTION]... NODESET... (knee hosts --help says more)'),
                (['--sort', 'color', 'a'], "--sort: 'color': no such column (host, load, cores, cpu, mem-used, "
                 'mem-free, mem, disk-r, disk-w, net-in, net-out, uptime)'),
                (['--json', '--csv', 'a'], '--csv and --json do not go together'),
                (['--timeout', 'x', 'a'], "--timeout: 'x': not a time (5, 500ms, 2m; at most 1h)"),
                (['--timeout', '0', 'a'], "--timeout: '0' is too short: 0.1 s at least"),
                (['a', '--watch', '--interval=0'], '--interval 0 measures no rates: not with --watch'),
                (['-j', '0', 'a'], "-j: '0': not a number of connections: 1 or more"),
                (['--ssh', ' ', 'a'], '--ssh: an empty command'),
                (['a', '--ssh'], '--ssh: needs a value'),
                (['--json=1', 'a'], '--json: takes no value')):
            with self.subTest(args):
                r = knee('hosts', *args)
                self.assertEqual((r.out, r.err.decode(), r.status), (b'', f'knee: {message}\n', 255))
        self.assertEqual(knee('hosts', '--wrong', 'a').status, 255)
        r = knee('hosts', 'web[3-1]')
        self.assertEqual((r.out, r.status), (b'', 255), r)

    def test_help(self):
        r = knee('hosts', '--help')
        self.assertEqual((r.err, r.status), (b'', 0))
        self.assertTrue(r.out.startswith(b'Usage: knee hosts '))


# Says how it is ten times a second, as long as anybody listens.
TALKS = '''
i=1000
while sample 0.10 $i $i 3145728 $i.00 0 0; do i=$((i + 1)); sleep 0.1; done
'''


class Watch(unittest.TestCase):
    def test_lines(self):
        host('talks', TALKS)
        with start('hosts', '--ssh', FAKE, '--json', '--watch=0.2', 'talks', 'no1') as p:
            found = [json.loads(p.stdout.readline()) for _ in range(6)]
            self.assertEqual([x['host'] for x in found], ['talks', 'no1'] * 3)
            self.assertLess(found[0]['time'], found[2]['time'])
            p.send_signal(signal.SIGINT)
            self.assertEqual(p.wait(10 * SLOW), 1)
            self.assertEqual(p.stderr.read(), b'')

    def test_tables(self):
        host('talks', TALKS)
        with start('hosts', '--ssh', FAKE, '--watch=0.2', 'talks') as p:
            found = [p.stdout.readline() for _ in range(9)]
            self.assertEqual([x.split()[:1] for x in found],
                             [[b'HOST'], [b'talks'], [], [b'1'], [], [b'HOST'], [b'talks'], [], [b'1']])
            p.send_signal(signal.SIGTERM)
            self.assertEqual(p.wait(10 * SLOW), 255)

    def test_terminal(self):
        host('talks', TALKS)
        with Pty('hosts', '--ssh', FAKE, '--watch=0.2', 'talks', 'no1', cols=100) as t:
            at = t.read_until(b'Permission denied')
            at = t.read_until(b'1 of 2 machines answer', since=at)
            at = t.read_until(b'\033[H', since=at)
            t.resize(20)
            at = t.read_until(b'HOST   CPU%  MEM%\033', since=at)
            t.read_until(b'\033[H', since=at)
            t.send(b'\3')
            self.assertEqual(t.finish(), 1)
            # Each line of the narrow one is as narrow.
            last = t.data[t.data.rindex(b'\033[H'):].decode()
            for line in re.sub(r'\033\[[0-9;]*\w', '', last).splitlines():
                self.assertLessEqual(len(line), 20, last)

    def test_one_that_is_lost_comes_back(self):
        mark = os.path.join(FOLDER, 'back')
        host('comes', f'''
if [ -e {mark} ]; then {TALKS}
fi
sample 0.10 1 1 1 1.00 0 0; sample 0.10 2 2 1 2.00 0 0
exec sleep 1000''')
        with start('hosts', '--ssh', FAKE, '--json', '--watch=0.2', '--timeout', '2', 'comes') as p:
            seen = [json.loads(p.stdout.readline())['state']]
            while seen[-1] != 'down':
                seen.append(json.loads(p.stdout.readline())['state'])
            self.assertEqual(seen[0], 'up')
            with open(mark, 'w'):
                pass
            while seen[-1] != 'up':
                seen.append(json.loads(p.stdout.readline())['state'])
            p.send_signal(signal.SIGINT)
            self.assertEqual(p.wait(10 * SLOW), 0)


class Ends(unittest.TestCase):
    def test_interrupted(self):
        for number, status in ((signal.SIGINT, 255), (signal.SIGTERM, 255), (signal.SIGHUP, 255)):
            with self.subTest(number), start('hosts', '--ssh', FAKE, '--timeout', '100', 'deaf[1-3]') as p:
                wait_descendants(p.pid, 3, 'sleep')
                p.send_signal(number)
                self.assertEqual(p.wait(10 * SLOW), status)
                self.assertEqual((p.stdout.read(), p.stderr.read()), (b'', b''))

    def test_killed(self):
        with start('hosts', '--ssh', FAKE, '--timeout', '100', 'deaf[1-3]') as p:
            found = wait_descendants(p.pid, 3, 'sleep')
            p.kill()
            p.wait()
            wait_gone(found)

    def test_reader_gone(self):
        host('talks', TALKS)
        with start('hosts', '--ssh', FAKE, '--watch=0.1', 'talks') as p:
            p.stdout.readline()
            p.stdout.close()
            self.assertEqual(p.wait(10 * SLOW), -signal.SIGPIPE)
            self.assertEqual(p.stderr.read(), b'')

    def test_full_disk(self):
        with open('/dev/full', 'wb') as full:
            r = hosts('busy', stdout=full)
        self.assertEqual((r.err, r.status), (b'knee: standard output: No space left on device\n', 255))


class Narrow(unittest.TestCase):
    def test_columns_go(self):
        host('a-machine-with-a-long-name.example.org', BUSY)
        with Pty('hosts', '--ssh', FAKE, 'busy', 'no[1-8]', 'a-machine-with-a-long-name.example.org', cols=20,
                 env={'NO_COLOR': '1'}) as t:
            self.assertEqual(t.finish(), 8)
        self.assertNotIn(b'\033', t.data)
        for line in t.data.decode().splitlines():
            self.assertLessEqual(len(line), 20, t.data)
        self.assertIn(b'CPU%', t.data)

    def test_color(self):
        with Pty('hosts', '--ssh', FAKE, 'busy', 'no1', cols=200) as t:
            self.assertEqual(t.finish(), 1)
        self.assertIn(b'\033[31mPermission denied\033[m', t.data)


if __name__ == '__main__':
    unittest.main()
