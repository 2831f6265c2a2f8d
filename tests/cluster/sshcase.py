# SPDX-License-Identifier: MIT
"""What tests of runs over ssh share: tasks, which write what they did to the folder common that all hosts
see, and a case that makes these ready. What runs on the hosts is what knee brings along."""

import contextlib
import re
from pathlib import Path

from fleetlib import *

__all__ = ['Path', 'SshCase', 'WAIT', 'lines', 'numbers']

# What task $1 does, in a folder that has this as the file task; C is the folder common.
TASK = r'''
echo "$1" >>C/runs
case $(($1 % 20)) in
3) ;;
5) printf 'no newline %s' "$1" ;;
7) echo "error of $1" >&2 ;;
11) i=0; while test $i -lt 300; do echo "$1 line $i"; i=$((i+1)); done ;;
13) echo "first $1"; sleep 0.05; echo "second $1" ;;
17) mkdir "C/tried.$1" 2>/dev/null && { echo "first try of $1"; exit 1; }; echo "at last $1" ;;
19) echo "fails $1"; exit 3 ;;
*) echo "output of $1" ;;
esac
'''
# It begins and ends with a line in the file log, and is there until somebody ends it or the file end.
WAIT = 'echo "+ $PARALLEL_SSHHOST {}" >>C/log; while ! test -e C/end; do sleep 0.02; done; echo "- $PARALLEL_SSHHOST {}" >>C/log; echo {}'


def numbers(n):
    return [str(i) for i in range(1, n + 1)]


def lines(words):
    return ''.join(f'{w}\n' for w in words).encode()


class SshCase(FleetCase):
    def setUp(self):
        super().setUp()
        self.common = Path(self.fleet.common)
        self.cwd = scratch()
        self.fleet.write('task', self.text(TASK))
        Path(self.cwd, 'task').write_text(self.text(TASK))

    def text(self, script):
        return script.replace('C/', f'{self.common}/')

    def knee(self, *args, **more):
        return self.fleet.knee(*args, **{'cwd': self.cwd, **more})

    def loop(self, inputs):
        """What the loop prints here, of the second try where there is one."""
        for i in inputs:
            if int(i) % 20 == 17:
                (self.common / f'tried.{i}').mkdir()
        out, err, failed = loop(os.path.join(self.cwd, 'task'), inputs, self.cwd)
        for name in os.listdir(self.common):
            path = self.common / name
            path.rmdir() if path.is_dir() else path.unlink()
        return out, err, failed

    def log(self, name='log'):
        with contextlib.suppress(FileNotFoundError):
            return (self.common / name).read_text().splitlines()
        return []

    def begun(self, n, name='log'):
        """Wait until so many tasks have written that they began."""
        wait_for(lambda: sum(w.startswith('+') for w in self.log(name)) >= n, 30, f'{n} tasks have begun')

    def end(self):
        (self.common / 'end').touch()

    def goes_on(self, says, *args, inputs=8, argv=None, timeout=30, **more):
        """A run whose tasks wait until these words (patterns) stand in stderr: it goes on and ends well
        with the machines that are left. Its stderr."""
        with contextlib.suppress(FileNotFoundError):
            (self.common / 'end').unlink()
        path = os.path.join(self.cwd, 'goes-on.err')
        words = [*args, self.text('until test -e C/end; do sleep 0.02; done; echo {}'), ':::', *numbers(inputs)]
        with open(path, 'wb') as err, \
                (start(*argv, *words, stderr=err, cwd=self.cwd) if argv else
                 self.fleet.start(*words, stderr=err, cwd=self.cwd, **more)) as p:
            try:
                for word in says:
                    wait_for(lambda: re.search(word, Path(path).read_bytes()) or p.poll() is not None, timeout, word)
                    self.assertRegex(Path(path).read_bytes(), word)
            finally:
                self.end()
            out, _ = p.communicate(timeout=60)
            err = Path(path).read_bytes()
            self.assertEqual((out, p.returncode), (lines(numbers(inputs)), 0), err)
        return err

    def all_right(self, r, inputs):
        """All outputs in order, nothing in stderr, status 0."""
        self.assertEqual((r.out, r.err, r.status), (lines(inputs), b'', 0))
