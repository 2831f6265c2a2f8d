# SPDX-License-Identifier: MIT
"""What "meson install" puts where, that it works from there, and that others can build with it."""

import os
import re
import shutil
import subprocess
import unittest

from installed import C99, ROOT, STRICT, call, cc, cxx, installed, need

CONSUMER = """process: 1
process: 3
process: 0, 3 done, 1 failed, status 1, no error
worker: 1
worker: 2
worker: 0, 2 done, 0 failed, status 0, no error
worker: it's <1>
worker: it's <2>
worker: 0, 2 done, 0 failed, status 0, no error
thread: 1 is 1
thread: 2 is 2
thread: 3 is 3
thread: the whole is 123
thread: 0, 3 done, 0 failed, status 0, no error
arrays: 332833500
tuner: within bounds, asks later
"""


class Install(unittest.TestCase):
    def test_files(self):
        top = installed().top
        for name in ('include/knee.h', 'share/man/man1/knee.1', 'share/man/man3/knee.3',
                     'share/man/man3/knee-plugin.3', 'share/bash-completion/completions/knee',
                     'share/zsh/site-functions/_knee'):
            self.assertTrue((top / name).is_file(), name)
        for name in ('libknee.a', 'libknee.so', 'libknee.so.0', 'pkgconfig/knee.pc'):
            self.assertTrue((installed().lib / name).is_file(), name)
        # What knee_program.h declares is no promise to others.
        self.assertEqual(os.listdir(top / 'include'), ['knee.h'])
        # No name that another package has, unless asked for.
        self.assertEqual(os.listdir(top / 'bin'), ['knee'])
        r = subprocess.run([top / 'bin/knee', 'echo', '{}', ':::', 'a'], capture_output=True,
                           stdin=subprocess.DEVNULL)
        self.assertEqual((r.stdout, r.stderr, r.returncode), (b'a\n', b'', 0))


class Header(unittest.TestCase):
    def check(self, compiler, language, *flags):
        call([compiler, *flags, *STRICT, '-fsyntax-only', '-x', language, installed().header])

    def test_c99(self):
        self.check(cc(), 'c', '-std=c99')

    def test_c11(self):
        self.check(cc(), 'c', '-std=c11')

    def test_cxx(self):
        for std in ('c++11', 'c++20'):
            with self.subTest(std=std):
                self.check(cxx(), 'c++', f'-std={std}')

    def test_names_in_cxx(self):
        """Every name of an enum can be used in C++, and functions are those of the C library."""
        header = re.sub(r'/\*.*?\*/', '', installed().header.read_text(), flags=re.S)
        enums = [n for body in re.findall(r'\benum\s+\w*\s*\{(.*?)\}', header, re.S)
                 for n in re.findall(r'\bKNEE_\w+', body)]
        self.assertGreater(len(enums), 40)
        source = installed().work / 'names.cc'
        source.write_text('#include <knee.h>\nconst long names[] = {\n'
                          + ''.join(f'{n},\n' for n in enums) + '};\n'
                          'int main() { knee_free(0); return names[0] < 0; }\n')
        installed().run(installed().build(cxx(), source, 'names', '-std=c++11'))


class Library(unittest.TestCase):
    def test_config(self):
        version = re.search(r'KNEE_VERSION "(.*)"', installed().header.read_text())[1]
        self.assertEqual(installed().config('--modversion'), [version])
        self.assertIn('-lknee', installed().config('--libs'))
        # Who links with the shared library needs to know nothing of what that uses.
        self.assertNotIn('-lsqlite3', installed().config('--libs'))
        self.assertIn('-lsqlite3', installed().config('--libs', '--static'))

    def test_versions(self):
        out = call([need('readelf'), '-dW', installed().lib / 'libknee.so'])
        self.assertEqual(re.findall(r'Library soname: \[(.*)\]', out), ['libknee.so.0'])
        out = call([need('readelf'), '--dyn-syms', '-W', installed().lib / 'libknee.so'])
        names = re.findall(r'\b(knee_\w+)@@?(\S+)', out)
        self.assertIn(('knee_new', 'KNEE_0.1'), names)
        self.assertEqual({v for _, v in names}, {'KNEE_0.1'})

    def test_consumer(self):
        for compiler in sorted({cc(), shutil.which('clang') or cc()}):
            with self.subTest(compiler=compiler):
                path = installed().build(compiler, ROOT / 'tests/install/consumer.c', 'consumer', *C99)
                out = call([need('readelf'), '-dW', path])
                self.assertIn('[libknee.so.0]', out)
                self.assertEqual(installed().run(path), CONSUMER)

    def test_static(self):
        path = installed().work / 'static'
        words = [installed().lib / 'libknee.a' if w == '-lknee' else w
                 for w in installed().config('--static', '--cflags', '--libs')]
        call([cc(), *STRICT, *C99, '-o', path, ROOT / 'tests/install/consumer.c', *words])
        self.assertEqual(call([path]), CONSUMER)

    def test_embed(self):
        source = ROOT / 'examples/embed.c'
        if not source.exists():
            self.skipTest('examples/embed.c is not there')
        installed().build(cc(), source, 'embed')


if __name__ == '__main__':
    unittest.main()
