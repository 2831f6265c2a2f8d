# SPDX-License-Identifier: MIT
"""What the tuner decided in a real run is decided again, step by step, from what it was told."""

import os
import re
import subprocess

from kneetest import *

BUILD = os.path.dirname(os.path.dirname(KNEE))
RECORD = os.path.join(BUILD, 'tests/sim/knee-record')
WORLDS = os.path.join(BUILD, 'tests/sim/test_worlds')


@unittest.skipIf(VALGRIND, 'the program of this test is another one')
@unittest.skipUnless(os.path.exists(RECORD), 'knee-record is not built')
class Replay(unittest.TestCase):
    def replay(self, *args, input=b'', status=0):
        """The decisions of a run, in its replay."""
        log = os.path.join(scratch(), 'log')
        r = run([RECORD, *args], input=input, env={'KNEE_RECORD': log}, timeout=100)
        self.assertEqual(r.status, status, r)
        with open(log) as f:
            self.assertEqual(f.readline(), 'knee-tuner-log 1\n')
        r = subprocess.run([WORLDS, '--replay', log], capture_output=True, text=True, timeout=100)
        last = r.stdout.splitlines()[-1]
        self.assertEqual(r.returncode, 0, r)
        self.assertRegex(last, r'^\d+ decisions, 0 not as in the log$')
        return r.stdout, int(re.match(r'\d+', last)[0])

    def test_waiting(self):
        text, decisions = self.replay('--no-memory', 'sleep 0.05; : {}', ':::', *map(str, range(300)))
        self.assertGreater(decisions, 2)
        self.assertIn('rise', text)

    def test_two_kinds_from_the_list(self):
        lines = [f'sleep 0.1; : {i}' if i % 2 else f"awk 'BEGIN {{ for (i = 0; i < 300000; i++) j += i }}' #{i}"
                 for i in range(40)]
        _, decisions = self.replay('--no-memory', input='\n'.join(lines).encode())
        self.assertGreater(decisions, 2)

    def test_remembered(self):
        cache = scratch()
        words = ['env', f'XDG_CACHE_HOME={cache}']
        for _ in range(2):
            log = os.path.join(scratch(), 'log')
            r = run([*words, RECORD, 'sleep 0.05; : {}', ':::', *map(str, range(200))],
                    env={'KNEE_RECORD': log}, timeout=100)
            self.assertEqual(r.status, 0, r)
        with open(log) as f:
            self.assertIn('\nrecall\t', f.read())
        r = subprocess.run([WORLDS, '--replay', log], capture_output=True, text=True, timeout=100)
        self.assertEqual(r.returncode, 0, r)

    def test_failures_and_a_given_number(self):
        self.replay('-j4', 'exit $(({} % 2))', ':::', *map(str, range(50)), status=25)


if __name__ == '__main__':
    unittest.main()
