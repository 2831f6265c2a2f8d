# SPDX-License-Identifier: MIT
"""Files that go with tasks: there before them, back after them, gone when that is wanted, and never half."""

import contextlib
import hashlib
import shutil
import tempfile
import unittest

from fleetlib import *
from sshcase import Path, numbers

ODD = ['plain', 'two  blanks', "quote's", '"', '$HOME', '*', '-n', 'ä€', 'a\nb', '.hidden', '{}', 'back\\slash']


def files_below(folder):
    """{name: bytes} of all files below, but for knee's cache."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob('*'))
            if p.is_file() and '.cache' not in p.parts}


def names_below(folder):
    return {str(p.relative_to(folder)) for p in Path(folder).rglob('*')
            if not str(p.relative_to(folder)).startswith('.cache')}


def writes_into(pid, folder):
    """Whether it has some of a file there, be it without a name."""
    for fd in Path(f'/proc/{pid}/fd').glob('*'):
        with contextlib.suppress(OSError):
            at = os.readlink(fd)
            if at.startswith(f'{os.path.realpath(folder)}/') and ('.knee-' in at or '(deleted)' in at) and fd.stat().st_size > 0:
                return True
    return False


class FilesCase(FleetCase):
    def setUp(self):
        super().setUp()
        self.common = Path(self.fleet.common)
        self.cwd = scratch()

    def knee(self, *args, **more):
        return self.fleet.knee(*args, **{'cwd': self.cwd, **more})

    def put(self, name, data=b'', mode=0o644, ns=1_000_000_000_123_456_789):
        path = Path(self.cwd, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)
        os.utime(path, ns=(ns, ns))
        return path

    def there(self, host='n1'):
        return names_below(self.fleet.home(host))

    def nothing_left(self, hosts=None):
        for host in hosts or self.fleet.hosts:
            self.assertEqual(self.there(host), set(), host)
            self.assertEqual([p for p in Path(self.fleet.tmp(host)).rglob('.knee-*')], [])
        self.assertEqual([p for p in Path(self.cwd).rglob('.knee-*')], [])


class Files(FilesCase):
    HOSTS = 3

    def test_there_and_back(self):
        """Odd names, mode, time and bytes, both ways; nothing stays there."""
        names = ODD + ['in/a/folder']
        for n, name in enumerate(names):
            self.put(name, name.encode() * n, 0o750 if n % 2 else 0o640, 10**18 + n)
        before = files_below(self.cwd)
        r = self.knee('-0', '--trc', '{}.back', 'cp -p -- {} {}.back; stat -c "%a %.Y" -- {}',
                      input=b''.join(n.encode() + b'\0' for n in names))
        self.assertEqual((r.err, r.status), (b'', 0))
        self.assertEqual(r.out.splitlines(), [b'%d %d.%09d' % (750 if n % 2 else 640, 10**9, n)
                                              for n in range(len(names))])
        for name in names:
            a, b = os.stat(Path(self.cwd, name)), os.stat(Path(self.cwd, f'{name}.back'))
            self.assertEqual((a.st_mode, a.st_mtime_ns), (b.st_mode, b.st_mtime_ns), name)
        self.assertEqual(files_below(self.cwd), before | {f'{n}.back': before[n] for n in names})
        self.nothing_left()

    def test_where(self):
        """What is behind /./ is what there is there; an absolute path is the same there."""
        self.put('x/y/z/f', b'cut\n')
        absolute = self.common / 'deep'
        absolute.mkdir()
        (absolute / 'f').write_text('absolute\n')
        r = self.knee('--transferfile', '{}', '--return', 'x/./y/out.{#}', 'cat y/z/f; echo back >y/out.{#}', ':::', 'x/./y/z/f')
        self.assertEqual((r.out, r.err, r.status), (b'cut\n', b'', 0))
        self.assertEqual(Path(self.cwd, 'x/y/out.1').read_text(), 'back\n')
        # In the /tmp that the host has one of its own of.
        folder = tempfile.mkdtemp(prefix='knee-test-', dir='/tmp')
        self.addCleanup(shutil.rmtree, folder)
        far = f'{self.fleet.tmp("n1")}/{os.path.basename(folder)}'
        Path(folder, 'f').write_text('absolute\n')
        r = self.knee('--trc', '{}.out', 'cp {} {}.out; cat {}', ':::', f'{folder}/f', hosts=['n1'])
        self.assertEqual((r.out, r.err, r.status), (b'absolute\n', b'', 0))
        self.assertEqual(Path(folder, 'f.out').read_text(), 'absolute\n')
        self.assertFalse(os.path.exists(far), 'folders that were made are gone')

    def test_folder(self):
        for name in ('d/a', 'd/e/b', 'd/e/c'):
            self.put(name, name.encode())
        Path(self.cwd, 'd/empty').mkdir()
        r = self.knee('--transferfile', '{}', '--return', 'out', '--cleanup',
                      'find {} | sort; mkdir out; cp -r {}/. out', ':::', 'd/')
        self.assertEqual((r.out, r.err, r.status), (b'd/\nd/a\nd/e\nd/e/b\nd/e/c\nd/empty\n', b'', 0))
        self.assertEqual(files_below(f'{self.cwd}/out'), files_below(f'{self.cwd}/d'))
        self.assertTrue(Path(self.cwd, 'out/empty').is_dir())
        self.nothing_left()

    def test_empty_and_large(self):
        data = os.urandom(1 << 20) * 100
        self.put('empty')
        self.put('large', data)
        r = self.knee('--trc', '{}.back', 'mv {} {}.back', ':::', 'empty', 'large', timeout=120)
        self.assertEqual((r.out, r.err, r.status), (b'', b'', 0))
        self.assertEqual(Path(self.cwd, 'empty.back').read_bytes(), b'')
        self.assertEqual(hashlib.sha1(Path(self.cwd, 'large.back').read_bytes()).digest(), hashlib.sha1(data).digest())
        self.nothing_left()

    def test_many(self):
        """A thousand small ones over three hosts, in far less than a round trip each by new connections."""
        names = [f'many/{i}' for i in range(1000)]
        for name in names:
            self.put(name, name.encode())
        r = self.knee('--trc', '{}.back', 'cp {} {}.back', ':::', *names, timeout=120)
        self.assertEqual((r.out, r.err, r.status), (b'', b'', 0))
        self.assertEqual(len(files_below(f'{self.cwd}/many')), 2000)
        self.assertTrue(all(Path(self.cwd, f'{n}.back').read_bytes() == n.encode() for n in names))
        self.nothing_left()

    def test_several_of_a_task(self):
        for name in 'abcde':
            self.put(name, name.encode())
        r = self.knee('-N', '2', '--trc', '{}.back', 'for i in {} ; do cp $i $i.back; done', ':::', *'abcde')
        self.assertEqual((r.out, r.err, r.status), (b'', b'', 0))
        self.assertEqual(set(os.listdir(self.cwd)), {*'abcde', *(f'{c}.back' for c in 'abcde')})
        r = self.knee('--transferfile', '{1}', '--transferfile', '{2}', 'cat {1} {2}', ':::', 'a', 'b', ':::', 'c')
        self.assertEqual((r.out, r.err, r.status), (b'acbc', b'', 0))

    def test_base_files(self):
        self.put('base', b'base\n')
        r = self.knee('-j1', '--basefile', 'base', '--cleanup', 'sleep 0.1; cat base; : {}', ':::', *numbers(12))
        self.assertEqual((r.out, r.err, r.status), (b'base\n' * 12, b'', 0))
        self.nothing_left()
        r = self.knee('--basefile', 'nix', 'echo', ':::', '1')
        self.assertEqual((r.out, r.status), (b'', 255))
        self.assertIn(b'--basefile nix: No such file', r.err)

    def test_missing(self):
        """The task whose file is missing fails by its name, the others run."""
        self.put('a', b'a')
        r = self.knee('--transferfile', '{}', 'cat {}', ':::', 'nix', 'a')
        self.assertEqual((r.out, r.status), (b'a', 1))
        self.assertEqual(r.err, b'knee: task 1: cannot begin: nix: No such file or directory\n')
        r = self.knee('--return', '{}', 'test {} = nix || echo >{}; echo ran {}', ':::', 'nix', 'b', hosts=['n1'])
        self.assertEqual((r.out, r.status), (b'ran nix\nran b\n', 1))
        self.assertRegex(r.err, rb'\Aknee: task 1: n1: nix: No such file or directory.*\n\Z')
        self.assertTrue(Path(self.cwd, 'b').exists())
        r = self.knee('--transfer', 'cat {}', ':::', '../up')
        self.assertEqual((r.out, r.status), (b'', 1))
        self.assertIn(b'../up', r.err)

    def test_failed(self):
        """What a task that fails has made comes back as well."""
        self.put('a', b'a')
        r = self.knee('--trc', '{}.out', 'echo it >{}.out; exit 3', ':::', 'a')
        self.assertEqual((r.out, r.err, r.status), (b'', b'', 1))
        self.assertEqual(Path(self.cwd, 'a.out').read_text(), 'it\n')
        self.nothing_left()

    def test_here(self):
        """On this machine nothing is copied, and so nothing removed."""
        self.put('a', b'a')
        r = self.knee('--trc', '{}.out', 'cp {} {}.out', ':::', 'a', hosts=':')
        self.assertEqual((r.out, r.err, r.status), (b'', b'', 0))
        self.assertEqual(set(os.listdir(self.cwd)), {'a', 'a.out'})

    def test_shared_folder(self):
        """Where the hosts see the same folder no file is lost, although all is to be cleaned up."""
        (self.common / 'a').write_text('a')
        r = self.knee('--wd', str(self.common), '--trc', '{}.out', 'cp {} {}.out', ':::', 'a', cwd=self.common)
        self.assertEqual((r.out, r.err, r.status), (b'', b'', 0))
        self.assertEqual({p.name: p.read_text() for p in self.common.iterdir()}, {'a': 'a', 'a.out': 'a'})

    def test_shared_folder_and_copies(self):
        """The copy that ends second has written to the same files: they are the first one's, and stay."""
        names = numbers(20)
        r = self.knee('--wd', str(self.common), '-j40', '--speculate', '--return', 'out.{}', '--cleanup',
                      'if mkdir began.{} 2>/dev/null; then echo half >out.{}; exec sleep 60; fi; rm -r began.{}; echo {} >out.{}',
                      ':::', *names, cwd=self.common, hosts=['n1', 'n2'])
        self.assertEqual((r.out, r.status), (b'', 0), r.err)
        self.assertEqual(r.err.count(b'runs here too: it takes long on'), 20, r.err)
        self.assertEqual(r.err.count(b'\n'), 20, r.err)
        self.assertEqual({p.name: p.read_text() for p in self.common.iterdir()}, {f'out.{n}': f'{n}\n' for n in names})

    def test_shared_folder_and_a_late_answer(self):
        """A task that is given up on a machine that stands still, and done on another: what the first says of its files when
        it goes on takes none of them away."""
        log = Path(scratch(), 'log')
        with self.fleet.start('--wd', str(self.common), '-j1', '--timeout', '3', '--retries', '2', '--return', 'out.{}',
                              '--cleanup', '--host-timeout', '60s', '--joblog', str(log),
                              'if test {} != a; then test -e end || sleep 1; elif mkdir first 2>/dev/null; then '
                              'echo half >out.a; hostname >first/host; exec sleep 60; fi; echo {} >out.{}',
                              ':::', 'a', *numbers(60), hosts=['n1', 'n2'], cwd=self.common) as p:
            host = self.common / 'first/host'
            wait_for(lambda: host.exists() and host.read_text().endswith('\n'), what='the first attempt')
            host = host.read_text().strip()
            self.fleet.freeze(host)
            wait_for(lambda: '\n1\t' in log.read_text(), 60, 'the second one has ended')
            self.fleet.thaw(host)
            wait_for(lambda: [b'sleep', b'60'] not in self.fleet.processes(host).values(), what='the first one has ended')
            (self.common / 'end').touch()
            out, err = p.communicate(timeout=60 * SLOW)
        self.assertEqual((out, p.returncode), (b'', 0), err)
        self.assertEqual({p.name: p.read_text() for p in self.common.glob('out.*')},
                         {f'out.{n}': f'{n}\n' for n in ['a', *numbers(60)]})

    def test_new_folder(self):
        self.put('a', b'a')
        r = self.knee('--wd', '...', '--trc', '{}.out', 'cp {} {}.out; echo more >more', ':::', 'a')
        self.assertEqual((r.out, r.err, r.status), (b'', b'', 0))
        self.assertTrue(Path(self.cwd, 'a.out').exists())
        self.nothing_left()


class Trouble(FilesCase):
    HOSTS = 2
    SIZE = 10_000_000

    def test_disk_full_there(self):
        """The task fails with the file's name; what did not fit is not there."""
        self.put('large', b'x' * 8_000_000)
        self.put('small', b'x')
        self.knee('true', ':::', '1', hosts=['n1'])     # the agent is there
        self.assertEqual(self.fleet.run('n1', 'sh', '-c', 'mkdir ~/small; mount -t tmpfs -o size=1m none ~/small').returncode, 0)
        self.addCleanup(self.fleet.run, 'n1', 'sh', '-c', 'umount ~/small; rmdir ~/small')
        r = self.knee('--wd', 'small', '--transfer', 'wc -c <{}', ':::', 'large', 'small', hosts=['n1'])
        self.assertEqual((r.out, r.status), (b'1\n', 1), r)
        self.assertRegex(r.err, rb'\Aknee: task 1: n1: cannot begin: large: .*No space left on device\n\Z')
        self.assertEqual(self.fleet.run('n1', 'sh', '-c', 'ls -A ~/small').stdout, b'small\n')

    def test_disk_full_here(self):
        """What could not be written here stays there, though all is to be cleaned up; the task tells where."""
        with small_tmpfs('1m') as cwd:
            Path(cwd, 'large').write_bytes(b'x')
            Path(cwd, 'small').write_bytes(b'x')
            r = self.knee('--trc', '{}', '--return', '{}.log', 'echo {} >{}.log; test {} = small || head -c 8000000 /dev/zero >{}',
                          ':::', 'large', 'small', hosts=['n1'], cwd=cwd)
            self.assertEqual((r.out, r.status), (b'', 1), r)
            self.assertRegex(r.err, rb'\Aknee: task 1: n1: large: .*No space left on device; kept on n1: large\n\Z')
            self.assertEqual(files_below(cwd), {'large': b'x', 'large.log': b'large\n', 'small': b'x', 'small.log': b'small\n'})
        self.assertEqual(self.there(), {'large', 'large.log'})
        self.assertEqual(os.stat(self.fleet.home('n1') + '/large').st_size, 8_000_000)

    def lost(self, args, half, names):
        """Run that; n1 loses its power when half(pid of knee) is true, and n2 goes on only then. Nothing half is left."""
        before = os.listdir(self.cwd)
        wait = f'while test $(hostname) = n2 && ! test -e {self.common}/end; do sleep 0.05; done; '
        self.fleet.rate('n1', '20mbit')
        with self.fleet.start('--host-timeout', '2s', '-j1', '--cleanup', *args[:-1], wait + args[-1], ':::', *'abcd',
                              cwd=self.cwd) as p:
            wait_for(lambda: half(p.pid), 60, 'a file is on its way')
            self.fleet.poweroff('n1')
            (self.common / 'end').touch()
            _, err = p.communicate(timeout=60 * SLOW)
        self.assertEqual(p.returncode, 0, err)
        self.assertRegex(err, rb'knee: n1: lost: ')
        self.assertEqual({n: Path(self.cwd, n).stat().st_size for n in names}, dict.fromkeys(names, self.SIZE))
        self.assertEqual(set(os.listdir(self.cwd)), {*names, *before})
        self.assertEqual(self.there('n2'), set())

    def test_lost_while_files_come_back(self):
        self.lost(['--return', 'out.{}', f'head -c {self.SIZE} /dev/zero >out.{{}}'],
                  lambda pid: any(writes_into(p, self.cwd) for p in [pid, *descendants(pid)]),
                  [f'out.{c}' for c in 'abcd'])

    def test_lost_while_files_go(self):
        for name in 'abcd':
            self.put(name, bytes(self.SIZE))
        self.lost(['--transfer', '--return', '{}.out', 'cp {} {}.out'],
                  lambda pid: any(writes_into(p, '/root') for p in self.fleet.agents('n1')), [f'{c}.out' for c in 'abcd'])


if __name__ == '__main__':
    unittest.main()
