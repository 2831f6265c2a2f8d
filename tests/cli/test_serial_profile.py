# SPDX-License-Identifier: MIT
"""knee profile of work whose kind is known: kind, cores and number must come out right. Alone, since
the kind of a command on cores that others take is theirs as well."""

import contextlib
import json
import shutil
import socketserver
import threading

from kneetest import *

FOLDER = scratch()
CORES = sorted(os.sched_getaffinity(0))


def script(name, text):
    path = os.path.join(FOLDER, name)
    with open(path, 'w') as f:
        f.write(text)
    os.chmod(path, 0o755)
    return path


# Asks the server at port $1 and waits for its answer.
CLIENT = script('client', '#!/bin/bash\nexec 3<>"/dev/tcp/127.0.0.1/$1"\nread -r -u 3 line\n')

# Four threads that compute at the same time; hashing large blocks needs no lock of Python's.
BURNER = script('burner', '''#!/usr/bin/env python3
import hashlib, threading
block = bytes(1 << 20)
def burn():
    for i in range(300):
        hashlib.sha256(block).digest()
threads = [threading.Thread(target=burn) for i in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()
''')


# Holds 60 MiB for a moment.
HOLDER = script('holder', '''#!/usr/bin/env python3
import time
held = b'x' * (60 << 20)
time.sleep(.2)
''')


def memory_group(limit):
    """A new cgroup with a limit of memory, of the version that is here; None: none can be made."""
    for root, name in (('/sys/fs/cgroup/memory', 'memory.limit_in_bytes'), ('/sys/fs/cgroup', 'memory.max')):
        path = f'{root}/knee-test-{os.getpid()}'
        try:
            os.mkdir(path)
        except OSError:
            continue
        try:
            with open(f'{path}/{name}', 'r+') as f:
                f.write(str(limit))
            return path
        except OSError:
            os.rmdir(path)
    return None


def remove_group(path):
    """Whoever has just ended may be in it for a moment more."""
    def removed():
        with contextlib.suppress(OSError):
            os.rmdir(path)
        return not os.path.exists(path)
    wait_for(removed, what=f'{path} is empty')


class Slow(socketserver.ThreadingTCPServer):
    """Answers every client after 0.2 s: that is what it is for, nothing is waited for here."""
    daemon_threads = True
    request_queue_size = 128

    class Answer(socketserver.BaseRequestHandler):
        def handle(self):
            time.sleep(0.2)
            self.request.sendall(b'done\n')

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Slow.Answer)
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    def __exit__(self, *exc):
        self.shutdown()
        self.thread.join()
        super().__exit__(*exc)


@unittest.skipIf(VALGRIND, 'what is measured would be valgrind')
class Kinds(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.big = os.path.join(FOLDER, 'big')
        with open(cls.big, 'wb') as f:
            f.write(os.urandom(1 << 20) * 64)

    def profile(self, *args, before=()):
        r = run([*before, *knee_argv('profile', '--json', *args)], timeout=120)
        self.assertEqual((r.err, r.status), (b'', 0), r)
        return json.loads(r.out)

    @on_free_cores
    def test_cpu(self):
        found = self.profile('sha256sum', ':::', self.big, self.big)
        self.assertEqual(found['kind'], 'CPU', found)
        self.assertIn(found['at_once'], (len(CORES), len(CORES) + 1), found)
        self.assertGreater(found['cpu_s'], 0, found)
        self.assertLessEqual(found['levels'][-1]['at_once'], 2 * len(CORES), found)

    @on_free_cores
    @unittest.skipUnless(shutil.which('taskset'), 'taskset is not installed')
    def test_one_core(self):
        found = self.profile('sha256sum', ':::', self.big, before=('taskset', '-c', str(CORES[0])))
        self.assertEqual((found['kind'], found['cores'], found['at_once']), ('CPU', 1, 1), found)

    @on_free_cores
    def test_four_threads(self):
        found = self.profile(BURNER, ':::', '1', '2')
        self.assertEqual(found['kind'], 'CPU', found)
        self.assertGreater(found['cores_per_task'], 2.5, found)
        self.assertLess(found['cores_per_task'], 5, found)
        self.assertEqual(found['at_once'], max(1, round(len(CORES) / 4)), found)

    @on_free_cores
    def test_memory_of_a_cgroup(self):
        group = memory_group(400 << 20)
        if group is None:
            self.skipTest('no cgroup with a limit of memory can be made here')
        self.addCleanup(remove_group, group)
        found = self.profile(HOLDER, ':::', '1',
                             before=('sh', '-c', f'echo $$ >{group}/cgroup.procs; exec "$@"', 'sh'))
        self.assertEqual(found['failed'], 0, found)
        self.assertLessEqual(max(level['at_once'] for level in found['levels']), 5, found)

    @unittest.skipUnless(shutil.which('bash'), 'bash is not installed')
    def test_slow_service(self):
        with Slow() as server:
            found = self.profile(CLIENT, ':::', str(server.server_address[1]))
        self.assertIn(found['kind'], ('network', 'net', 'wait'), found)
        self.assertGreater(found['at_once'], 2 * len(CORES), found)
        self.assertGreater(found['speed_up'], 2, found)
        # An open, a line and a close through loopback.
        self.assertGreater(found['network_bytes'], 300, found)
        self.assertLess(found['network_bytes'], 100000, found)

    @on_free_cores
    def test_wait(self):
        found = self.profile('sleep', ':::', '0.2')
        self.assertEqual(found['kind'], 'wait', found)
        self.assertGreater(found['at_once'], 2 * len(CORES), found)
        self.assertTrue(found['inputs_reused'], found)

    @on_free_cores
    @unittest.skipUnless(shutil.which('flock'), 'flock is not installed')
    def test_lock(self):
        found = self.profile('flock', os.path.join(FOLDER, 'lock'), 'sleep', ':::', '.05')
        self.assertIn(found['kind'], ('lock', 'wait'), found)
        self.assertLessEqual(found['at_once'], 4, found)
        self.assertLess(found['speed_up'], 1.5, found)


if __name__ == '__main__':
    unittest.main()
