# SPDX-License-Identifier: MIT
"""How a machine without knee gets its agent: the script that ssh starts there, by several shells."""

import contextlib
import fcntl
import glob
import platform
import re
import shutil
import stat

from agentframes import Agent
from kneetest import *

TEST_BOOT = os.path.join(os.path.dirname(os.path.dirname(KNEE)), 'tests/unit/test_boot')
SHELLS = [s for s in (['sh'], ['dash'], ['bash', '--posix'], ['bash'], ['busybox', 'sh'], ['mksh'], ['zsh'], ['yash'])
          if shutil.which(s[0])]


def text(what):
    return subprocess.run([TEST_BOOT, what], capture_output=True, check=True).stdout


PROGRAM = text('program')
SCRIPT = text('script').decode()
# Behind an empty line: a login may print what does not end with a newline.
WANT = f'\nknee-boot want {platform.machine()} {len(PROGRAM)}\n'.encode()


class Far:
    """A machine: a home, and what happens when somebody connects."""

    def __init__(self):
        self.home = scratch()
        self.env = {'HOME': self.home, 'XDG_CACHE_HOME': None}

    def connect(self, *, shell=('sh',), script=None, env=None, send=PROGRAM, path=None):
        """Result with all that it said, when it gets `send` and then nothing."""
        more = dict(self.env, **(env or {}))
        if path is not None:
            more['PATH'] = path
        p = subprocess.Popen([shutil.which(shell[0]), *shell[1:], '-c', SCRIPT if script is None else script],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=clean_env(more))
        try:
            out, err = p.communicate(send, timeout=30 * SLOW_FACTOR)
        except BrokenPipeError:
            out, err = p.communicate(timeout=30 * SLOW_FACTOR)
        return out, err, p.returncode

    def cache(self):
        return sorted(os.listdir(self.home + '/.cache/knee')) if os.path.isdir(self.home + '/.cache/knee') else []


SLOW_FACTOR = float(os.environ.get('KNEE_SLOW') or 1)


@unittest.skipUnless(PROGRAM, 'this build has no static program')
class Boot(unittest.TestCase):
    def test_shells(self):
        for shell in SHELLS:
            with self.subTest(shell=shell):
                far = Far()
                out, err, _ = far.connect(shell=shell)
                self.assertTrue(out.startswith(WANT + b'knee-agent 1 '), out[:200])
                self.assertEqual(len(far.cache()), 1)
                path = f'{far.home}/.cache/knee/{far.cache()[0]}'
                with open(path, 'rb') as f:
                    self.assertEqual(f.read(), PROGRAM)
                self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o700)
                # The second time it is there.
                out, err, _ = far.connect(shell=shell, send=b'')
                self.assertTrue(out.startswith(b'\nknee-agent 1 '), out[:200])

    def test_runs_tasks(self):
        far = Far()
        far.connect()
        with Agent(argv=['sh', '-c', SCRIPT], env=far.env) as a:
            a.open('echo {}')
            a.task(1, 'by the static program')
            self.assertEqual(a.result(1).out, b'by the static program\n')
            self.assertEqual(a.close(), 0)

    def test_login_shells(self):
        """What sshd gives to the login's shell, whatever that is."""
        command = text('command').decode()
        for shell in ('sh', 'bash', 'zsh', 'fish', 'tcsh', 'csh'):
            if not shutil.which(shell):
                continue
            with self.subTest(shell=shell):
                out, err, _ = Far().connect(shell=[shell], script=command)
                self.assertTrue(out.startswith(WANT + b'knee-agent 1 '), (out[:200], err))

    def failed(self, got, *words):
        out, err, status = got
        self.assertEqual(status, 255)
        last = out.decode().splitlines()[-1]
        self.assertTrue(last.startswith('knee-boot failed '), out)
        for word in words:
            self.assertIn(word, last)

    def test_cut_short(self):
        far = Far()
        self.failed(far.connect(send=PROGRAM[:1000]), 'cut short: 1000 bytes')
        self.assertEqual(far.cache(), [])
        self.failed(far.connect(send=b''), 'cut short: 0 bytes')

    def test_nothing_half(self):
        """Killed in the middle: the next one finds no program."""
        far = Far()
        p = subprocess.Popen(['sh', '-c', SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             env=clean_env(far.env))
        self.assertEqual(p.stdout.readline() + p.stdout.readline(), WANT)
        p.stdin.write(PROGRAM[:100000])
        p.stdin.flush()
        p.kill()
        p.wait()
        p.stdin.close()
        p.stdout.close()
        out, _, _ = far.connect()
        self.assertTrue(out.startswith(WANT + b'knee-agent 1 '), out[:200])

    def test_emptied(self):
        """As after a power cut: what is not whole is not believed, though it has the name."""
        far = Far()
        far.connect()
        for size in 0, 1000:
            os.truncate(f'{far.home}/.cache/knee/{far.cache()[0]}', size)
            out, _, _ = far.connect()
            self.assertTrue(out.startswith(WANT + b'knee-agent 1 '), out[:200])
            self.assertEqual(len(far.cache()), 1)

    @unittest.skipUnless(os.geteuid() == 0, 'needs root: a file system of its own')
    def test_full(self):
        far = Far()
        os.mkdir(far.home + '/.cache')
        with small_tmpfs(1 << 20) as folder:
            got = far.connect(env={'XDG_CACHE_HOME': folder})
            self.failed(got, folder, 'No space left on device')
            self.assertEqual(glob.glob(folder + '/knee/*') + glob.glob(folder + '/knee/.agent*'), [])

    @contextlib.contextmanager
    def alone(self):
        """With a folder that has the same name for all, one after the other."""
        fd = os.open('/tmp', os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def test_no_home(self):
        """None, one that is not there, one where no folder can be made."""
        with self.alone():
            self.no_home()

    def no_home(self):
        for home in (None, '/no/such/home', 'its own'):
            far = Far()
            if home == 'its own':
                home = far.home
                with open(far.home + '/.cache', 'w'):
                    pass
            folder = f'/tmp/knee-{os.getuid()}'
            there = os.path.exists(folder)
            try:
                out, err, _ = far.connect(env={'HOME': home})
                self.assertIn(b'knee-agent 1 ', out)
                self.assertEqual(stat.S_IMODE(os.stat(folder).st_mode), 0o700)
                os.chmod(folder, 0o777)
                try:
                    self.failed(far.connect(env={'HOME': home}), folder, 'not a folder of this user alone')
                finally:
                    os.chmod(folder, 0o700)
            finally:
                if not there:
                    shutil.rmtree(folder, ignore_errors=True)

    def test_another_machine(self):
        """uname says something else: only a knee that is installed there helps."""
        far, bin = Far(), scratch()
        with open(bin + '/uname', 'w') as f:
            f.write('#!/bin/sh\necho riscv64\n')
        os.chmod(bin + '/uname', 0o755)
        self.failed(far.connect(path=bin + ':/usr/bin:/bin'), 'riscv64', platform.machine())
        self.assertEqual(far.cache(), [])
        with open(bin + '/knee', 'w') as f:
            f.write('#!/bin/sh\necho the one that is installed: $*\n')
        os.chmod(bin + '/knee', 0o755)
        out, err, status = far.connect(path=bin + ':/usr/bin:/bin')
        self.assertEqual((out, status), (b'\nthe one that is installed: agent\n', 0))

    def test_together(self):
        """Several at once in a home that they share."""
        far = Far()
        many = [subprocess.Popen(['sh', '-c', SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, env=clean_env(far.env)) for _ in range(4)]
        for p in many:
            self.assertEqual(p.stdout.readline() + p.stdout.readline(), WANT)
        for p in many:
            p.stdin.write(PROGRAM)
            p.stdin.flush()
            self.assertTrue(p.stdout.readline().startswith(b'knee-agent 1 '))
        for p in many:
            p.communicate()
        self.assertEqual(len(far.cache()), 1)

    def test_others_are_removed(self):
        """Programs of other knees, when a new one comes: those that nobody started for 30 days."""
        old, young, name = 'agent-' + '0' * 32, 'agent-' + '1' * 31 + 'f', 'agent-' + '2' * 32
        half, coming = '.agent-far-1', '.agent-far-2'
        # Not what such a program is called, or no file.
        strange = ['agent-' + '0' * 31, 'agent-' + '0' * 33, 'agent-' + 'g' * 32, 'agent-' + 'A' * 32, 'learnt.db',
                   '.agent-far', 'agent-far-1', 'gent-' + '0' * 32, f'x{old}', f'{old}.old', 'a folder/' + old, f'{name}/{old}']
        for shell in SHELLS:
            with self.subTest(shell=shell):
                far = Far()
                cache = far.home + '/.cache/knee'
                for file in [old, young, half, coming, *strange]:
                    os.makedirs(os.path.dirname(f'{cache}/{file}'), exist_ok=True)
                    with open(f'{cache}/{file}', 'w'):
                        pass
                os.symlink('learnt.db', f'{cache}/agent-' + '3' * 32)
                for folder, folders, files in os.walk(cache, topdown=False):
                    for file in folders + files:
                        days = {young: 29, half: 2.1, coming: 0.9}.get(file, 31)
                        os.utime(f'{folder}/{file}', (time.time() - days * 86400,) * 2, follow_symlinks=False)
                before = self.below(cache)
                out, err, _ = far.connect(shell=shell)
                self.assertTrue(out.startswith(WANT + b'knee-agent 1 '), out[:200])
                after = self.below(cache)
                self.assertEqual(before - after, {old, half})
                self.assertEqual(len(after - before), 1)
                # Not when nothing comes.
                for file in young, *after - before:
                    os.utime(f'{cache}/{file}', (time.time() - 40 * 86400,) * 2)
                far.connect(shell=shell, send=b'')
                self.assertEqual(self.below(cache), after)

    @staticmethod
    def below(folder):
        return {os.path.relpath(os.path.join(d, name), folder) for d, _, files in os.walk(folder) for name in files}

    def test_a_start_is_use(self):
        far = Far()
        far.connect()
        path = f'{far.home}/.cache/knee/{far.cache()[0]}'
        os.utime(path, (0, 0))
        out, _, _ = far.connect(send=b'')
        self.assertTrue(out.startswith(b'\nknee-agent 1 '), out[:200])
        self.assertLess(time.time() - os.stat(path).st_mtime, 3600)

    def test_removed_while_it_runs(self):
        """An agent that runs goes on without its file; the next one brings it again."""
        far = Far()
        other = SCRIPT.replace(self.digest(), '0' * 32)
        far.connect()
        with Agent(argv=['sh', '-c', SCRIPT], env=far.env, greet=False) as a:
            a.until(lambda: a.frames)
            cache = far.home + '/.cache/knee/'
            os.utime(cache + far.cache()[0], (0, 0))
            out, _, _ = far.connect(script=other)
            self.assertTrue(out.startswith(WANT + b'knee-agent 1 '), out[:200])
            self.assertEqual(far.cache(), ['agent-' + '0' * 32])
            a.greet()
            a.open('echo {}')
            a.task(1, 'goes on')
            self.assertEqual(a.result(1).out, b'goes on\n')
            self.assertEqual(a.close(), 0)
        out, _, _ = far.connect()
        self.assertTrue(out.startswith(WANT + b'knee-agent 1 '), out[:200])

    def digest(self):
        return re.search('agent-([0-9a-f]{32})', SCRIPT)[1]

    def test_removed_by_two(self):
        """Two that come at once, each with a program of its own, remove what is old once, and not each other's."""
        far = Far()
        scripts = [SCRIPT, SCRIPT.replace(self.digest(), '0' * 32)]
        cache = far.home + '/.cache/knee'
        os.makedirs(cache)
        for i in range(1, 51):
            with open(f'{cache}/agent-{i:032x}', 'w'):
                pass
        for file in os.listdir(cache):
            os.utime(f'{cache}/{file}', (0, 0))
        both = [subprocess.Popen(['sh', '-c', s], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, env=clean_env(far.env)) for s in scripts]
        for p in both:
            self.assertEqual(p.stdout.readline() + p.stdout.readline(), WANT)
        for p in both:
            p.stdin.write(PROGRAM)
            p.stdin.flush()
        for p in both:
            self.assertTrue(p.stdout.readline().startswith(b'knee-agent 1 '))
        for p in both:
            p.communicate()
        self.assertEqual(far.cache(), sorted(['agent-' + '0' * 32, f'agent-{self.digest()}']))

    def test_no_find(self):
        """Where there is none all stays as it is."""
        far, bin = Far(), scratch()
        for tool in 'sh', 'uname', 'mkdir', 'wc', 'head', 'chmod', 'mv', 'rm', 'id':
            os.symlink(shutil.which(tool), f'{bin}/{tool}')
        old = far.home + '/.cache/knee/agent-' + '0' * 32
        os.makedirs(os.path.dirname(old))
        with open(old, 'w'):
            pass
        os.utime(old, (0, 0))
        out, err, _ = far.connect(path=bin)
        self.assertTrue(out.startswith(WANT + b'knee-agent 1 '), out[:200])
        self.assertEqual(err, b'')
        self.assertTrue(os.path.exists(old))


if __name__ == '__main__':
    unittest.main()
