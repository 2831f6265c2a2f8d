# SPDX-License-Identifier: MIT
"""tests/fuzz/run can build its fuzzers. That takes long, so it is only looked at what would be built."""

import os
import tempfile
import unittest

from installed import ROOT, call, need

TARGETS = sorted(p.stem[len('test_'):] for p in (ROOT / 'tests/fuzz').glob('test_*.c'))


class Fuzzers(unittest.TestCase):
    def test_they_need_no_static_program(self):
        """What is compiled for libFuzzer cannot be linked into the program that is sent to machines."""
        env = dict(os.environ, CC=need('clang'))
        with tempfile.TemporaryDirectory() as folder:
            call(['meson', 'setup', folder, ROOT, '-Dfuzz=true', '-Dbench=false', '-Db_sanitize=address,undefined',
                  '-Db_lundef=false'], env=env)
            steps = call(['ninja', '-C', folder, '-n', '-v', *(f'tests/fuzz/fuzz_{name}' for name in TARGETS)], env=env)
        for name in TARGETS:
            self.assertIn(f' -o tests/fuzz/fuzz_{name} ', steps)
        self.assertNotIn('knee-agent', steps)


if __name__ == '__main__':
    unittest.main()
