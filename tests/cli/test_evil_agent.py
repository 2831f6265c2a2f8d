# SPDX-License-Identifier: MIT
"""A machine whose agent is broken, or wants to do harm: the others do all the work as if it were not there.

Each way of evilagent.py runs beside a good agent. The output must be what it would be without the evil one; knee takes
no more memory, writes nothing anywhere, and shows a terminal nothing that could do something to it.
"""

import sys
import tempfile

from kneetest import *

AGENT = ROOT / 'tests/cli/evilagent.py'
TASKS = 40
MEMORY_KIB = 96 * 1024
# A small process between, whose children are knee and its: the largest of them, in KiB, goes to a file.
MEASURE = ('import resource, subprocess, sys; status = subprocess.call(sys.argv[2:]); '
           'open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)); '
           'sys.exit(status)')


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
            argv = knee_argv('-k', '--ssh', f'{sys.executable} {AGENT}', '-S', f'good,evil-{evil}', '-j2', *options,
                     *command, '::::', listed)
            r = run([sys.executable, '-c', MEASURE, f'{folder}/peak', *argv], env=env, cwd=f'{folder}/cwd',
                    timeout=timeout)
            with open(f'{folder}/peak') as f:
                self.peak_kib = int(f.read())
            self.assertTrue(os.path.exists(f'{folder}/done'), f'it did nothing evil: {r.err[:500]}')
            self.assertEqual(sorted(os.listdir(f'{folder}/cwd')), [])
            self.assertEqual(sorted(os.listdir(folder)), ['cwd', 'done', 'in', 'peak', 'tmp'])
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
             'results-bad', 'bye-early', 'pongs', 'waits-for-nothing'):
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

    def test_reasons(self):
        """Why its number changed is told a hundred times, and once more for each result."""
        r = self.run_with('credit-flood', '--json')
        told = r.err.count(b'"event": "limit"')
        self.assertGreater(told, 0)
        self.assertLessEqual(told, 150 + TASKS)

    def test_journal(self):
        with tempfile.TemporaryDirectory() as folder:
            journal = f'{folder}/j'
            self.run_with('twice', '--journal', journal)
            r = knee('log', journal)
            self.assertEqual(r.status, 0, r.err)


class Late(unittest.TestCase):
    """Agents that do as they should, and tell of it late: alone, for the run goes as they say."""

    def run_on(self, evil, *args, ssh=f'{sys.executable} {AGENT}', **more):
        folder = scratch()
        os.mkdir(f'{folder}/tmp')
        env = {'EVIL_DONE': f'{folder}/done', 'EVIL_KNEE': KNEE, 'HOME': folder}
        return knee('--ssh', ssh, '-S', f'evil-{evil}', *args, env=env, **more)

    def test_began_at_a_soft_stop(self):
        """What began in the moment of a stop goes on."""
        r = self.run_on('began-late', '-k', '--halt', 'soon,fail=1', 'echo', ':::', 'a', 'b')
        self.assertEqual((r.out, r.status), (b'late\n', 1), r.err)

    def test_began_at_a_hard_stop(self):
        """It is made to end when that is heard."""
        r = self.run_on('began-late-waits', '--halt', 'now,fail=1', 'echo', ':::', 'a', 'b')
        self.assertEqual((r.out, r.status), (b'', 1), r.err)
        signals = [line.split(b'signal ')[1] for line in r.err.splitlines() if b'signal' in line]
        self.assertEqual(signals, [b'0', b'15'])


    def test_failed_and_given_back(self):
        """A task that failed does not succeed by its next attempt never being made."""
        log = os.path.join(scratch(), 'log')
        r = self.run_on('given-back', '--retries', '2', '--halt', 'now,success=1', '--joblog', log, 'echo', ':::',
                        'a', 'b')
        self.assertEqual(r.status, 0, r.err)
        with open(log) as f:
            self.assertEqual([line.split('\t')[0] for line in f], ['Seq', '2'])

    def test_soft_stop_while_nothing_is_read(self):
        """What ran meanwhile is not taken for what was never begun."""
        folder = scratch()
        os.mkdir(f'{folder}/tmp')
        env = {'EVIL_DONE': f'{folder}/done', 'EVIL_KNEE': KNEE, 'HOME': folder}
        with start('--ssh', f'{sys.executable} {AGENT}', '-S', 'evil-slow-reader', '-k', 'echo', ':::', 'a', 'b',
                   env=env) as p:
            wait_for(lambda: os.path.exists(f'{folder}/done'), what='both tasks')
            p.send_signal(signal.SIGHUP)
            time.sleep(3)
            out, err = p.communicate(timeout=60)
        self.assertEqual((len(out), out[-4:], err), (4000004, b'ran\n', b''))


    def run_back(self, evil, *options):
        """A task of which `out` is wanted back, and may take half a second: the Result, and the signals that it got."""
        self.cwd = scratch()
        r = self.run_on(evil, '--timeout', '0.5', '--return', 'out', *options, 'echo', ':::', 'a', cwd=self.cwd)
        return r, [int(line.split(b'signal ')[1]) for line in r.err.splitlines() if b'signal' in line]

    def back(self):
        return {name: open(os.path.join(self.cwd, name)).read() for name in os.listdir(self.cwd)}

    def test_files_take_longer_than_a_task_may(self):
        """The time of a task is that of its command."""
        r, signals = self.run_back('files-late')
        self.assertEqual((signals, r.status, self.back()), ([], 0, {'out': 'it\n'}), r.err)

    def test_files_of_a_task_that_took_too_long(self):
        """They come all the same, and it is not signalled again when it has ended."""
        for evil, expected in (('ended-by-term', [15]), ('ended-by-kill', [15, 15, 15, 9])):
            with self.subTest(evil):
                r, signals = self.run_back(evil)
                self.assertEqual((signals, r.status, self.back()), (expected, 1, {'out': 'it\n'}), r.err)

    def test_ended_in_time_and_heard_of_late(self):
        r = self.run_on('result-late', '--timeout', '0.5', 'echo', ':::', 'a')
        self.assertEqual(r.status, 0, r.err)
        self.assertIn(b'signal 15', r.err)

    def test_stop_while_files_of_a_task_that_took_too_long_come(self):
        """A stop does not wait for them, whenever it comes."""
        for evil in 'files-never', 'files-never-by-kill':
            with self.subTest(evil):
                folder, cwd = scratch(), scratch()
                os.mkdir(f'{folder}/tmp')
                env = {'EVIL_DONE': f'{folder}/done', 'EVIL_KNEE': KNEE, 'HOME': folder}
                with start('--ssh', f'{sys.executable} {AGENT}', '-S', f'evil-{evil}', '--timeout', '0.5', '--return',
                           'out', 'echo', ':::', 'a', env=env, cwd=cwd) as p:
                    wait_for(lambda: os.path.exists(f'{folder}/done'), what='the end of its command')
                    p.send_signal(signal.SIGTERM)
                    p.communicate(timeout=15 * SLOW)
                self.assertEqual(os.listdir(cwd), [])

    def test_long_path(self):
        r, _ = self.run_back('path-long')
        self.assertEqual((r.status, self.back()), (255, {}))
        self.assertIn(b'it sends what no agent sends now', r.err)

    def test_base_file_changes(self):
        """It is sent anew, for the next time it may not."""
        folder, cwd = scratch(), scratch()
        os.mkdir(f'{folder}/tmp')
        env = {'EVIL_DONE': f'{folder}/done', 'EVIL_KNEE': KNEE, 'HOME': folder}
        with open(f'{cwd}/base', 'wb') as f:
            f.write(bytes(8_000_000))
        with start('--ssh', f'{sys.executable} {AGENT}', '-S', 'evil-base-slow', '--basefile', 'base', 'wc -c <base; : {}',
                   ':::', 'a', env=env, cwd=cwd) as p:
            wait_for(lambda: os.path.exists(f'{folder}/done'), what='the file on its way')
            with open(f'{cwd}/base', 'ab') as f:
                f.write(b'more')
            open(f'{folder}/done.go', 'w').close()
            out, err = p.communicate(timeout=30 * SLOW)
        self.assertEqual((out, p.returncode), (b'8000004\n', 0), err)
        self.assertIn(b'lost: --basefile base: it changed while it was sent', err)

    def test_base_file_always_changes(self):
        """Not for ever."""
        folder, cwd = scratch(), scratch()
        os.mkdir(f'{folder}/tmp')
        with open(f'{cwd}/base', 'wb') as f:
            f.write(bytes(8_000_000))
        with start('--ssh', f'{sys.executable} {AGENT}', '-S', 'evil-base-again', '--basefile', 'base', '--host-timeout', '1',
                   'echo', ':::', 'a', env={'EVIL_DONE': f'{folder}/done', 'EVIL_KNEE': KNEE, 'HOME': folder}, cwd=cwd) as p:
            for n in range(4):
                wait_for(lambda: os.path.exists(f'{folder}/done.{n}'), 60, 'the file on its way')
                with open(f'{cwd}/base', 'ab') as f:
                    f.write(b'more')
                open(f'{folder}/done.{n}.go', 'w').close()
            _, err = p.communicate(timeout=30 * SLOW)
        self.assertEqual(p.returncode, 255)
        self.assertEqual(err.count(b'lost: --basefile base: it changed while it was sent'), 4, err)

    def test_no_credit(self):
        """A machine that answers, and never says how many tasks it takes, does not hold the run for ever."""
        r = self.run_on('no-credit', '--host-timeout', '1', 'echo', ':::', 'a')
        self.assertEqual((r.out, r.status), (b'a\n', 0), r.err)
        self.assertEqual(r.err, b'knee: evil-no-credit: lost: its agent did not say in 1.0 s how many tasks it takes\n')

    def test_credit_of_none(self):
        """One that takes none for a while has said so."""
        r = self.run_on('no-credit-wanted', '--host-timeout', '1', 'echo', ':::', 'a')
        self.assertEqual((r.out, r.err, r.status), (b'a\n', b'', 0))

    def test_files_of_a_task_that_is_called_back(self):
        """Of which some are on their way: that it will not come is said by an empty one that cannot begin, or its agent
        would wait for it as long as it lives."""
        folder = scratch()
        os.mkdir(f'{folder}/tmp')
        for name in 'abc':
            with open(f'{folder}/{name}', 'wb') as f:
                f.truncate(5_000_000)
        env = {'EVIL_DONE': f'{folder}/done', 'EVIL_KNEE': KNEE, 'HOME': folder}
        with start('--ssh', f'{sys.executable} {AGENT}', '-S', 'evil-half-file', '--transfer', '--halt', 'soon,fail=1',
                   'echo', ':::', 'a', 'b', 'c', env=env, cwd=folder) as p:
            self.assertEqual(p.stdout.readline(), b'first\n')
            open(f'{folder}/done-go', 'w').close()
            out, err = p.communicate(timeout=60 * SLOW)
        self.assertEqual((out, p.returncode), (b'', 1), err)
        self.assertIn(b"knee: evil-half-file: True 0 1 1 b'%s'\n" % (b'\\x00' * 12), err)

    def test_files_of_no_task(self):
        """What waits of a task that is not known, as another copy came first, is not called kept."""
        r = self.run_on('kept', 'echo', ':::', 'a')
        self.assertEqual((r.err, r.status), (b'knee: evil-kept: kept 1 2\n', 0))

    def test_no_machine_is_left_and_none_is_needed(self):
        r = self.run_on('nonsense-last', 'echo', ':::', 'a')
        self.assertEqual((r.out, r.status), (b'a\n', 0), r.err)
        self.assertEqual(r.err, b'knee: evil-nonsense-last: lost: it sends what no agent sends now\n')

    def test_no_machine_is_left_for_others(self):
        r = self.run_on('nonsense-last', 'echo', ':::', 'a', 'b')
        self.assertEqual(r.status, 255)
        self.assertTrue(r.err.endswith(b'\nknee: no machine is left to run tasks on\n'), r.err)


@unittest.skipIf(SANITIZED or VALGRIND, 'they need the memory')
class Memory(unittest.TestCase):
    run_with = Evil.run_with

    def test_floods(self):
        for evil in ('noise', 'noise-line', 'others-flood', 'file-most', 'notes', 'stderr-line', 'credit-flood'):
            with self.subTest(evil):
                self.run_with(evil)
                self.assertLess(self.peak_kib, MEMORY_KIB)

    def test_what_nobody_reads(self):
        self.run_with('waits-flood', '--host-timeout', '1')
        self.assertLess(self.peak_kib, MEMORY_KIB)

    def test_all_is_wanted_and_nothing_read(self):
        """Large tasks for a machine that says it wants four billion of them, and takes none."""
        self.run_with('credit-most', '--host-timeout', '2', timeout=100,
                      inputs=[f'{i:05}' + 'x' * 100000 for i in range(1500)])
        self.assertLess(self.peak_kib, MEMORY_KIB)


if __name__ == '__main__':
    unittest.main()
