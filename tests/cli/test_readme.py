# SPDX-License-Identifier: MIT
"""The README's examples print what it says, and its queries are answered by a journal."""

import contextlib
import re
import sqlite3

from kneetest import *

TEXT = (ROOT / 'README.md').read_text()
EXAMPLES = [e for block in re.findall(r'```console\n(.*?)```', TEXT, re.S)
            for e in re.findall(r'^\$ (.*)\n((?:(?!\$ ).*\n)*)', block, re.M)]
QUERIES = re.findall(r'^\$ sqlite3 .*?"(SELECT [^"]*)"', TEXT, re.M)


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

    def test_queries(self):
        journal = os.path.join(scratch(), 'j')
        r = knee('--journal', journal, 'echo {}; exit {}', ':::', '0', '1', '0')
        self.assertEqual(r.status, 1, r)
        self.assertGreaterEqual(len(QUERIES), 2)
        with contextlib.closing(sqlite3.connect(journal)) as db:
            for query in QUERIES:
                with self.subTest(query=query):
                    self.assertGreater(len(db.execute(query).fetchall()), 0)


if __name__ == '__main__':
    unittest.main()
