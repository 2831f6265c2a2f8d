# SPDX-License-Identifier: MIT
"""A machine whose agent is broken, or wants to do harm: the others do all the work as if it were not there.

Each way of evilagent.py runs beside a good agent. The output must be what it would be without the evil one; knee takes
no more memory, writes nothing anywhere, and shows a terminal nothing that could do something to it.
"""

import resource
import sys
import tempfile

from kneetest import *

AGENT = ROOT / 'tests/cli/evilagent.py'
TASKS = 40
MEMORY_KIB = 64 * 1024


class Evil(unittest.TestCase):
    def run_with(self, evil, *options, tasks=TASKS, command=('echo',), inputs=None, timeout=60):
        """A run beside it, which must be good. The Result."""
        inputs = inputs or [str(i) for i in range(1, tasks + 1)]
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(f'{folder}/cwd')
            os.mkdir(f'{folder}/tmp')
            env = {'EVIL_DONE': f'{folder}/done', 'EVIL_KNEE': KNEE}
            listed = f'{folder}/in'
            with open(listed, 'w') as f:
                f.write('\n'.join(inputs) + '\n')
            r = knee('-k', '--ssh', f'{sys.executable} {AGENT}', '-S', f'good,evil-{evil}', '-j2', *options,
                     *command, '::::', listed, env=env, cwd=f'{folder}/cwd', timeout=timeout)
            self.assertTrue(os.path.exists(f'{folder}/done'), f'it did nothing evil: {r.err[:500]}')
            self.assertEqual(sorted(os.listdir(f'{folder}/cwd')), [])
            self.assertEqual(sorted(os.listdir(folder)), ['cwd', 'done', 'in', 'tmp'])
        self.assertEqual((r.out, r.status), ('\n'.join(inputs).encode() + b'\n', 0), r.err[:2000])
        self.assertNotIn(b'\x1b', r.err)
        self.assertLess(len(r.err), 64 * 1024)
        self.assertEqual(r.left, [])
        return r


def add(name, *options, **more):
    def test(self):
        self.run_with(name, *options, **more)
    setattr(Evil, 'test_' + name.replace('-', '_'), test)


for name in ('noise', 'noise-line', 'greeting-long', 'greeting-bad', 'greeting-other', 'boot-want', 'boot-failed',
             'stderr-flood', 'stderr-line', 'silent', 'refused', 'hello-twice', 'result-early', 'hello-only',
             'size-most', 'check-bad', 'fields-short', 'texts-bad', 'kinds-other', 'file-unasked', 'file-most',
             'credit-flood', 'others-tasks', 'others-flood', 'twice', 'notes', 'numbers-most', 'numbers-half',
             'results-bad', 'bye-early', 'pongs'):
    add(name)
for name in ('credit-most', 'mute'):
    add(name, '--host-timeout', '1')


class Lies(unittest.TestCase):
    run_with = Evil.run_with

    def test_returned_all(self):
        """Tasks that are always given back: the run goes on with the others."""
        self.run_with('returned-all')

    def test_error_numbers(self):
        """An agent that says a task ended in an unlikely way is believed, as far as there is sense in it."""
        self.run_with('not-started')

    def test_journal(self):
        with tempfile.TemporaryDirectory() as folder:
            journal = f'{folder}/j'
            self.run_with('twice', '--journal', journal)
            r = knee('log', journal)
            self.assertEqual(r.status, 0, r.err)


@unittest.skipIf(SANITIZED or VALGRIND, 'they need the memory')
class Memory(unittest.TestCase):
    """A process that has had such children says how much the largest took; so this has one for each."""

    def peak(self, evil, **more):
        script = (f'import sys; sys.path.insert(0, {str(ROOT / "tests/cli")!r})\n'
                  'from test_evil_agent import *\n'
                  f'Evil().run_with({evil!r}, *{more.pop("options", ())!r}, **{more!r})\n'
                  'print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)')
        r = run([sys.executable, '-c', script], env={'KNEE': KNEE}, timeout=120)
        self.assertEqual(r.status, 0, r.err.decode()[-3000:])
        return int(r.out.split()[-1])

    def test_floods(self):
        for evil in ('noise', 'noise-line', 'others-flood', 'file-most', 'notes', 'stderr-line', 'credit-flood'):
            with self.subTest(evil):
                self.assertLess(self.peak(evil), MEMORY_KIB)

    def test_all_is_wanted_and_nothing_read(self):
        """Large tasks for a machine that says it wants four billion of them, and takes none."""
        inputs = [f'{i:05}' + 'x' * 100000 for i in range(800)]
        with tempfile.TemporaryDirectory() as folder:
            with open(f'{folder}/in', 'w') as f:
                f.write('\n'.join(inputs))
            script = (f'import sys; sys.path.insert(0, {str(ROOT / "tests/cli")!r})\n'
                      'from test_evil_agent import *\n'
                      f'inputs = open({folder + "/in"!r}).read().split("\\n")\n'
                      'Evil().run_with("credit-most", "--host-timeout", "2", inputs=inputs, timeout=100)\n'
                      'print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)')
            r = run([sys.executable, '-c', script], env={'KNEE': KNEE}, timeout=120)
        self.assertEqual(r.status, 0, r.err.decode()[-3000:])
        self.assertLess(int(r.out.split()[-1]), MEMORY_KIB)


if __name__ == '__main__':
    unittest.main()
