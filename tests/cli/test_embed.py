# SPDX-License-Identifier: MIT
"""examples/embed: a pool of threads that is resized by the tuner alone."""

import os
import subprocess
import unittest

from kneetest import SLOW

EMBED = os.path.join(os.environ['KNEE_BUILD'], 'examples/embed')


@unittest.skipUnless(os.environ.get('CI') or os.access(EMBED, os.X_OK), 'examples/embed is not built')
class Embed(unittest.TestCase):
    def test_short(self):
        """It works in both ways, and ends by itself; which numbers it finds is the tuner's matter."""
        p = subprocess.run([EMBED, '1', '8'], capture_output=True, text=True, timeout=60 * SLOW,
                           check=True)
        self.assertEqual(p.stderr, '')
        self.assertRegex(p.stdout, r'(?m)^waiting: [1-9]\d* requests, at the end [1-9]\d* at once$')
        self.assertRegex(p.stdout, r'(?m)^computing: [1-9]\d* requests, at the end [1-9]\d* at once$')


if __name__ == '__main__':
    unittest.main()
