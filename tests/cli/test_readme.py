# SPDX-License-Identifier: MIT
"""The README's examples print what it says."""

import re

from kneetest import *

TEXT = (ROOT / 'README.md').read_text()
EXAMPLES = [e for block in re.findall(r'```console\n(.*?)```', TEXT, re.S)
            for e in re.findall(r'^\$ (.*)\n((?:(?!\$ ).*\n)*)', block, re.M)]


class Readme(unittest.TestCase):
    def test_there_are_five(self):
        self.assertGreaterEqual(len(EXAMPLES), 5)

    def test_examples(self):
        folder = scratch()
        os.symlink(KNEE, os.path.join(folder, 'knee'))
        path = folder + ':/usr/bin:/bin'
        for command, want in EXAMPLES:
            with self.subTest(command=command):
                r = run(['/bin/sh', '-c', command], env={'PATH': path}, input=b'')
                self.assertEqual((r.out.decode(), r.err), (want, b''))


if __name__ == '__main__':
    unittest.main()
