# SPDX-License-Identifier: MIT
"""The test runner itself: what it counts, and that nothing bad passes for good."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

RUN = Path(__file__).resolve().parents[1] / 'run'


class Run(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix='kneetest-')
        self.addCleanup(folder.cleanup)
        self.tree = Path(folder.name)
        self.write('build/cli/knee', '#!/bin/sh\nexit 0\n', 0o755)
        self.write('tests/cli/test_a.py', self.python('self.assertEqual(1, 1)'))
        shutil.copy(RUN, self.tree / 'tests/run')

    def write(self, name, text, mode=0o644):
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    @staticmethod
    def python(body):
        return ('import os, sys, unittest\n\n\nclass A(unittest.TestCase):\n'
                f'    def test_one(self):\n        {body}\n')

    def tap(self, name, *lines, status=0):
        text = '\n'.join(['#!/bin/sh', *(f"echo '{line}'" for line in lines), f'exit {status}'])
        self.write(f'build/tests/unit/{name}', text, 0o755)

    def run_tests(self, *args):
        env = {k: v for k, v in os.environ.items() if not k.startswith('KNEE')}
        r = subprocess.run([self.tree / 'tests/run', *args], env=env, capture_output=True, text=True)
        self.assertEqual(r.stderr, '')
        return r.returncode, r.stdout.splitlines()[-1], r.stdout

    def assert_run(self, last, status, *words, args=()):
        got, line, out = self.run_tests(*args)
        self.assertEqual((line, got), (last, status), out)
        for word in words:
            self.assertIn(word, out)

    def test_good(self):
        self.tap('test_x', '1..3', 'ok 1 - a', 'ok 2 - b', 'ok 3 - c # SKIP no disk')
        self.assert_run('3 passed, 0 failed, 1 skipped', 0, 'skipped, no disk: unit/test_x: c')

    def test_plan_at_end(self):
        self.tap('test_x', 'ok 1 - a', 'ok 2 - b', '1..2')
        self.assert_run('3 passed, 0 failed, 0 skipped', 0)

    def test_not_ok(self):
        self.tap('test_x', '1..2', 'ok 1 - a', 'not ok 2 - b', '# at x.c:3', status=1)
        self.assert_run('2 passed, 1 failed, 0 skipped', 1, '| # at x.c:3', 'unit/test_x: b')

    def test_tap_that_stops_early(self):
        self.tap('test_x', '1..2', 'ok 1 - a')
        self.assert_run('2 passed, 1 failed, 0 skipped', 1, 'planned 2')

    def test_tap_without_plan(self):
        self.tap('test_x', 'ok 1 - a')
        self.assert_run('2 passed, 1 failed, 0 skipped', 1, 'planned None')

    def test_tap_that_crashes_at_the_end(self):
        self.tap('test_x', '1..1', 'ok 1 - a', status=139)
        self.assert_run('2 passed, 1 failed, 0 skipped', 1, 'status 139')

    def test_program_not_built(self):
        self.write('tests/unit/test_y.c', '')
        self.assert_run('1 passed, 1 failed, 0 skipped', 1, 'tests/unit/test_y.c: no program')

    def test_knee_not_built(self):
        (self.tree / 'build/cli/knee').unlink()
        self.assert_run('1 passed, 1 failed, 0 skipped', 1, 'cli/knee: not built')

    def test_python(self):
        for body, last, word in (
                ('self.assertEqual(1, 2)', '0 passed, 1 failed, 0 skipped', '1 != 2'),
                ('raise KeyError("k")', '0 passed, 1 failed, 0 skipped', "KeyError: 'k'"),
                ('os._exit(0)', '0 passed, 1 failed, 0 skipped', 'no test case'),
                ('os._exit(3)', '0 passed, 1 failed, 0 skipped', 'status 3'),
                ('print("seen"); self.fail()', '0 passed, 1 failed, 0 skipped', '| seen')):
            with self.subTest(body=body):
                self.write('tests/cli/test_a.py', self.python(body))
                self.assert_run(last, 1, word)

    def test_python_subtests(self):
        self.write('tests/cli/test_a.py', self.python(
            'for i in range(3):\n            with self.subTest(i=i): self.assertEqual(i, 1)'))
        self.assert_run('0 passed, 1 failed, 0 skipped', 1, '0 != 1', '2 != 1')

    def test_python_that_cannot_be_read(self):
        self.write('tests/cli/test_a.py', 'import none_such\n')
        self.assert_run('0 passed, 1 failed, 0 skipped', 1, 'none_such')

    def test_skips(self):
        self.write('tests/cli/test_a.py', self.python('self.skipTest("no disk")'))
        self.assert_run('0 passed, 0 failed, 1 skipped', 1, 'skipped, no disk')

    def test_set_up_of_a_class(self):
        self.write('tests/cli/test_a.py', self.python('pass') +
                   '\n    @classmethod\n    def setUpClass(cls):\n        raise OSError("x")\n')
        self.assert_run('0 passed, 1 failed, 0 skipped', 1, 'OSError: x')

    def test_filter(self):
        self.tap('test_x', '1..1', 'ok 1 - a')
        self.assert_run('1 passed, 0 failed, 0 skipped', 0, args=('unit/test_x',))
        self.assert_run('1 passed, 0 failed, 0 skipped', 0, args=('A.test_one',))
        self.assert_run('0 passed, 0 failed, 0 skipped', 1, 'no test has that name',
                        args=('nothing',))

    def test_reports_of_sanitizers(self):
        self.write('build-sanitize/cli/knee', '#!/bin/sh\nexit 0\n', 0o755)
        self.write('tests/cli/test_a.py', self.python(
            'path = os.environ.get("ASAN_OPTIONS", "log_path=/dev/null").split(":")[0][9:]\n'
            '        open(path, "w").write("=====\\n==7==ERROR: AddressSanitizer: heap-use")'))
        self.assert_run('2 passed, 1 failed, 0 skipped', 1, 'heap-use', args=('--sanitize',))

    def test_reports_of_the_thread_sanitizer(self):
        self.tap('test_array', '1..1', 'ok 1 - a')
        self.tap('test_x', '1..1', 'ok 1 - a')
        self.write('build-tsan/cli/knee', '#!/bin/sh\nexit 0\n', 0o755)
        for name in ('test_array', 'test_x'):
            self.write(f'build-tsan/tests/unit/{name}', """#!/bin/sh
path=${TSAN_OPTIONS#log_path=}
printf '=====\\nWARNING: ThreadSanitizer: data race' >"${path%%:*}.1"
echo 1..1; echo ok 1 - a
""", 0o755)
        self.assert_run('4 passed, 1 failed, 0 skipped', 1, 'data race', '[tsan]', args=('--tsan',))

    @unittest.skipUnless(shutil.which('valgrind') and shutil.which('cc'), 'valgrind or cc missing')
    def test_reports_of_valgrind(self):
        for code, args, word in (
                ('char *p = malloc(1); return p[1];', (), 'Invalid read'),
                ('char *volatile p = malloc(7); p = 0; return 0;', (), 'definitely lost'),
                ('return dup(2) < 0;', (), 'Open file descriptor'),
                ('return 0;', None, '')):
            with self.subTest(code=code):
                self.write('x.c', '#include <stdlib.h>\n#include <stdio.h>\n#include <unistd.h>\n'
                           f'static int f(void) {{ {code} }}\n'
                           'int main(void) { puts("1..1\\nok 1"); fflush(stdout); f(); return 0; }')
                os.makedirs(self.tree / 'build/tests/unit', exist_ok=True)
                subprocess.run(['cc', '-w', '-O0', '-g', '-o',
                                self.tree / 'build/tests/unit/test_x', self.tree / 'x.c'],
                               check=True)
                status, last, out = self.run_tests('--valgrind', 'unit')
                self.assertEqual(status, 0 if args is None else 1, out)
                self.assertIn(word, out)


if __name__ == '__main__':
    unittest.main()
