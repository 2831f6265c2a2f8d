# SPDX-License-Identifier: MIT
"""What "meson install" puts where, and that it works from there."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

BUILD = Path(os.environ.get('KNEE_BUILD') or Path(__file__).resolve().parents[2] / 'build')


@unittest.skipUnless(shutil.which('meson'), 'meson is not installed')
class Install(unittest.TestCase):
    def test_files(self):
        with tempfile.TemporaryDirectory(prefix='kneetest-') as folder:
            r = subprocess.run(['meson', 'install', '-C', BUILD, '--no-rebuild', '--destdir', folder],
                               capture_output=True, text=True)
            self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
            top = Path(folder) / 'usr/local'
            for name in ('include/knee.h', 'share/man/man1/knee.1',
                         'share/bash-completion/completions/knee', 'share/zsh/site-functions/_knee'):
                self.assertTrue((top / name).is_file(), name)
            for name in ('libknee.a', 'libknee.so'):
                self.assertTrue(list((top / 'lib').rglob(name)), name)
            # No name that another package has, unless asked for.
            self.assertEqual(os.listdir(top / 'bin'), ['knee'])
            r = subprocess.run([top / 'bin/knee', 'echo', '{}', ':::', 'a'], capture_output=True,
                               stdin=subprocess.DEVNULL)
            self.assertEqual((r.stdout, r.stderr, r.returncode), (b'a\n', b'', 0))


if __name__ == '__main__':
    unittest.main()
