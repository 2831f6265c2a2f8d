# SPDX-License-Identifier: MIT
"""The rule checks of tools/, each on the real tree, and on small bad ones that it must refuse."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get('KNEE_BUILD') or ROOT / 'build').resolve()
CC = shutil.which('cc') or shutil.which('gcc') or shutil.which('clang')


class Check(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix='kneetest-')
        self.addCleanup(folder.cleanup)
        self.tree = Path(folder.name)

    def write(self, name, text):
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def compile(self, name, text, *flags):
        source = self.write('source.c', text)
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([CC, '-std=gnu17', '-fPIC', '-O1', *flags, '-o', path, source], check=True)
        return path

    def check(self, tool, where=None):
        r = subprocess.run([ROOT / 'tools' / tool, where or self.tree], capture_output=True,
                           text=True)
        self.assertEqual(r.stderr, '')
        return r

    def assert_good(self, tool, where=None):
        r = self.check(tool, where)
        self.assertEqual((r.stdout, r.returncode), ('', 0))

    def assert_bad(self, tool, *words):
        r = self.check(tool)
        self.assertEqual(r.returncode, 1, r.stdout)
        for word in words:
            self.assertIn(word, r.stdout)


class Layers(Check):
    def setUp(self):
        super().setUp()
        for name in ('include/knee.h', 'src/core/buf.h', 'src/tune/tuner.h', 'src/sys/loop.h',
                     'src/exec/exec.h', 'src/exec/environ.h', 'src/exec/process.h',
                     'src/exec/thread.h', 'src/run.h', 'cli/cli.h'):
            self.write(name, '')

    def test_tree(self):
        self.assert_good('check-layers', ROOT)

    def test_empty(self):
        shutil.rmtree(self.tree / 'src')
        shutil.rmtree(self.tree / 'cli')
        shutil.rmtree(self.tree / 'include')
        self.assert_bad('check-layers', 'no sources')

    def test_good(self):
        for name, header in (
                ('src/core/buf.c', '"buf.h"'), ('src/core/x.c', '<string.h>'),
                ('src/tune/tuner.c', '"../core/buf.h"'), ('src/sys/loop.c', '<time.h>'),
                ('src/sys/x.c', '"../core/buf.h"'), ('src/exec/process.c', '"exec.h"'),
                ('src/exec/process_x.c', '"../sys/loop.h"'),
                ('src/exec/agent.c', '"environ.h"'), ('src/exec/crew.c', '<pthread.h>'),
                ('src/run.c', '"exec/process.h"'), ('src/journal.c', '<sqlite3.h>'),
                ('cli/main.c', '<knee.h>'), ('cli/say.c', '"cli.h"')):
            self.write(name, f'#include {header}\n')
        self.assert_good('check-layers')

    def test_bad(self):
        for name, header in (
                ('src/core/a.c', '<time.h>'), ('src/core/b.c', '<stdio.h>'),
                ('src/core/c.c', '"../sys/loop.h"'), ('src/core/c2.c', '"../run.h"'),
                ('src/tune/d.c', '<unistd.h>'), ('src/sys/e.c', '"../exec/exec.h"'),
                ('src/sys/f.c', '"../tune/tuner.h"'), ('src/exec/process.c', '"thread.h"'),
                ('src/exec/g.c', '"../run.h"'), ('src/exec/process.h', '<threads.h>'),
                ('src/run.c', '<pthread.h>'), ('src/serve.c', '<sqlite3.h>'),
                ('src/knee.c', '"../cli/cli.h"'), ('cli/main.c', '"../src/run.h"'),
                ('cli/h.c', '"run.h"'), ('include/knee.h', '<unistd.h>'),
                ('src/core/i.c', '"none.h"')):
            with self.subTest(name=name, header=header):
                path = self.tree / name
                old = path.read_text() if path.exists() else None
                self.write(name, f'/* x */\n#  include {header}\n')
                self.assert_bad('check-layers', f'{name}:2: includes {header[1:-1]}')
                if old is None:
                    path.unlink()
                else:
                    path.write_text(old)


class Purity(Check):
    def test_build(self):
        self.assert_good('check-purity', BUILD)

    def test_good(self):
        self.compile('src/x.p/core_a.c.o', '#include <string.h>\n#include <stdlib.h>\n'
                     'int b(const char *); char *a(const char *s, double d) '
                     '{ return b(s) ? strdup(s) : malloc(strlen(s) + (size_t)d); }', '-c')
        self.compile('src/x.p/tune_b.c.o', 'int b(const char *s) { return *s; }', '-c')
        self.compile('src/x.p/sys_c.c.o', '#include <time.h>\nlong c(void) { return time(0); }',
                     '-c')
        self.assert_good('check-purity')

    def test_bad(self):
        for text, name in (('#include <time.h>\nlong a(void) { return time(0); }', 'time'),
                           ('#include <stdlib.h>\nint a(void) { return rand(); }', 'rand'),
                           ('#include <unistd.h>\nint a(void) { return close(1); }', 'close'),
                           ('#include <stdio.h>\nint a(char *s, int i)'
                            '{ return snprintf(s, 9, "%d", i); }', 'snprintf')):
            with self.subTest(name=name):
                self.compile('src/x.p/core_a.c.o', text, '-c')
                self.assert_bad('check-purity', f'uses {name}')

    def test_library(self):
        self.compile('src/x.p/core_a.c.o', 'int a;', '-c')
        self.assert_good('check-purity')
        for text, name in (('#include <stdlib.h>\nvoid c(void) { exit(1); }', 'exit'),
                           ('#include <stdlib.h>\nchar *c(void) { return getenv("X"); }', 'getenv'),
                           ('#include <stdio.h>\nint c(void) { return fflush(stderr); }',
                            'stderr')):
            with self.subTest(name=name):
                self.compile('src/x.p/run.c.o', text, '-c')
                self.assert_bad('check-purity', f'run.c.o: uses {name}')

    def test_empty(self):
        self.assert_bad('check-purity', 'no object files')


class State(Check):
    def test_build(self):
        self.assert_good('check-state', BUILD)

    def test_good(self):
        self.compile('src/x.p/a.c.o', 'static const int t[] = {1, 2}; const char *const n[] = '
                     '{"a", "b"}; int f(int i) { return t[i] + *n[i]; }', '-c')
        self.assert_good('check-state')

    def test_bad(self):
        for text, name in (('int seen = 3;', 'seen'), ('int seen;', 'seen'),
                           ('int f(void) { static int calls; return ++calls; }', 'calls'),
                           ('_Thread_local int mine;', 'mine'),
                           ('const char *last = "x";', 'last')):
            with self.subTest(text=text):
                self.compile('src/x.p/a.c.o', text, '-c')
                self.assert_bad('check-state', name)
        self.compile('src/x.p/a.c.o', 'int seen;', '-c', '-fcommon')
        self.assert_bad('check-state', 'seen')

    def test_empty(self):
        (self.tree / 'src').mkdir()
        self.assert_bad('check-state', 'no object files')


class Exports(Check):
    HEADER = """/* SPDX */
typedef struct knee knee;
typedef int knee_read(void *self, int n);   /* knee_old() was another */
struct knee_sink { int (*event)(void *self); };
int knee_a(void);
const char *knee_b(const knee *k,
    int (*fn)(void *self));     /* calls knee_c(k) */
"""
    BOTH = 'int knee_a(void) { return 1; } int knee_b(void) { return 2; } '

    def setUp(self):
        super().setUp()
        self.header = self.write('knee.h', self.HEADER)

    def check(self, tool, where=None):
        words = [where] if where else [self.tree, self.header]
        r = subprocess.run([ROOT / 'tools' / tool, *words], capture_output=True, text=True)
        self.assertEqual(r.stderr, '')
        return r

    def test_build(self):
        self.assert_good('check-exports', BUILD)

    def test_good(self):
        self.compile('src/libknee.so.0', self.BOTH +
                     '__attribute__((visibility("hidden"))) int kn_b(void) { return 2; }',
                     '-shared')
        self.assert_good('check-exports')

    def test_shared(self):
        for more in ('kn_b', 'knee_c', 'knee_old', 'knee_read'):
            with self.subTest(more=more):
                self.compile('src/libknee.so.0', f'{self.BOTH}int {more}(void) {{ return 2; }}', '-shared')
                self.assert_bad('check-exports', f'exports {more}: knee.h does not declare it')

    def test_lacks(self):
        self.compile('src/libknee.so.0', 'int knee_a(void) { return 1; }', '-shared')
        self.assert_bad('check-exports', 'lacks knee_b: knee.h declares it')

    def test_no_function(self):
        self.compile('src/libknee.so.0', 'int a = 1;', '-shared')
        self.header.write_text('/* int knee_a(void); */\n')
        self.assert_bad('check-exports', 'declares no function')

    def test_static(self):
        obj = self.compile('a.o', 'int kn_a(void) { return 1; } int bare(void) { return 2; }', '-c')
        (self.tree / 'src').mkdir()
        subprocess.run(['ar', 'rcs', self.tree / 'src/libknee.a', obj], check=True)
        r = self.check('check-exports')
        self.assertEqual((r.returncode, r.stdout), (1, 'src/libknee.a: exports bare\n'))

    def test_empty(self):
        self.assert_bad('check-exports', 'no library')


if __name__ == '__main__':
    unittest.main()
