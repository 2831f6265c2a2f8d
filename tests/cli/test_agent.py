# SPDX-License-Identifier: MIT
"""knee agent, driven frame by frame as a coordinator does."""

import fcntl
import random
import socket
import struct

from agentframes import CANCELLED, EXITED, NOT_STARTED, SIGNALED
from agentframes import Agent, Fields, frame, open_payload, text, texts, u32, u64
from kneetest import *


class Tasks(unittest.TestCase):
    def test_greeting(self):
        with Agent(greet=False) as a:
            a.until(lambda: a.frames)
            self.assertRegex(a.greeting, r'^knee-agent 1 \d+\.\d+\.\d+$')
            kind, payload = a.frames[0]
            self.assertEqual(kind, 'H')
            f = Fields(payload)
            self.assertEqual(f.text(), os.uname().nodename)
            self.assertEqual(f.text(), os.uname().machine)
            self.assertGreaterEqual(f.u32(), 1)

    def test_task(self):
        with Agent() as a:
            a.open('echo {} {#} {%} $PARALLEL_SEQ $PARALLEL_JOBSLOT $PARALLEL_SSHHOST $PARALLEL_SSHLOGIN; echo >&2 x')
            a.task(7, 'a b', seq=70, slot=3)
            t = a.result(7)
            self.assertEqual((t.out, t.err, t.outcome, t.status),
                             (b'a b 70 3 70 3 far me@far\n', b'x\n', EXITED, 0))
            self.assertTrue(t.began)
            self.assertEqual(a.close(), 0)
            self.assertEqual(a.bye, 0)

    def test_order_of_frames(self):
        """BEGAN, output, RESULT; what comes together with OPEN is taken; ids are any numbers."""
        with Agent(greet=False) as a:
            a.send(b'knee-coordinator 1 0.1.0\n' + frame('O', open_payload(['echo {}; exit 3'])) +
                   a.task_frame(2 ** 64 - 1, 'x'))
            t = a.result(2 ** 64 - 1)
            self.assertEqual((t.out, t.status), (b'x\n', 3))
            kinds = [f[0] for f in a.frames if f[0] in 'BoR']
            self.assertEqual(''.join(kinds), 'BoR')
            self.assertEqual([f[0] for f in a.frames[:3]], ['H', 'Y', 'C'])

    def test_credit_at_once(self):
        """READY has a CREDIT behind it, also where nothing may start for now."""
        for options in {'memfree': 1 << 60}, {'load_max': 1}, {'noswap': 1}, {'jobs': '0'}, {'limit': 0}:
            with self.subTest(options), Agent() as a:
                a.open('echo', **options)
                self.assertEqual([f[0] for f in a.frames if f[0] != 'N'][:3], ['H', 'Y', 'C'])

    def test_many(self):
        """More tasks than run at once, and each is answered once."""
        with Agent() as a:
            a.open('echo {}; exit 0', limit=8)
            self.assertEqual(a.limit, 8)
            a.send(b''.join(a.task_frame(i, f'task {i}') for i in range(1, 1001)))
            # One more than run at once is wanted of tasks that nothing is known of, too.
            a.until(lambda: a.want > a.limit + 1, 60)
            a.send(frame('X'))
            a.until(lambda: a.bye is not None, 60)
            for i in range(1, 1001):
                self.assertEqual((a.tasks[i].out, a.tasks[i].outcome), (f'task {i}\n'.encode(), EXITED))
            self.assertEqual(a.wait(), 0)
            self.assertGreater(a.want, a.limit, 'short tasks are asked for ahead')

    def test_streams(self):
        """Output comes while the task runs, in the order of each stream."""
        with Agent() as a:
            a.open('echo first; echo second >&2; exec cat <{}')
            fifo = os.path.join(scratch(), 'fifo')
            os.mkfifo(fifo)
            a.task(1, fifo)
            a.until(lambda: a.tasks[1].out == b'first\n' and a.tasks[1].err == b'second\n')
            self.assertIsNone(a.tasks[1].outcome)
            with open(fifo, 'wb') as f:
                f.write(b'third')
            self.assertEqual(a.result(1).out, b'first\nthird')

    def test_large_output(self):
        with Agent() as a:
            a.open('head -c {} /dev/zero', limit=2)
            a.task(1, str(20 << 20))
            self.assertEqual(len(a.result(1).out), 20 << 20)
            self.assertLessEqual(max(len(f[1]) for f in a.frames), 256 * 1024)

    def test_large_task(self):
        """Arguments in several frames."""
        with Agent() as a:
            a.open("printf '%s|' {} | wc -c")
            args = ['x' * 50000] * 40
            payload = a.task_frame(1, *args)[12:]
            parts = [payload[i:i + 200000] for i in range(0, len(payload), 200000)]
            a.send(*[frame('M', p) for p in parts[:-1]], frame('T', parts[-1]))
            self.assertEqual(a.result(1).out, f'{50001 * 40}\n'.encode())
            a.task(2, 'short')
            self.assertEqual(a.result(2).out, b'6\n')

    def test_worker(self):
        with Agent() as a:
            a.open('{}', flags=16, worker=['while read x; do echo "<$x>"; done'])
            for i in range(1, 6):
                a.task(i, f'r{i}')
            for i in range(1, 6):
                self.assertEqual(a.result(i).out, f'<r{i}>\n'.encode())
            self.assertEqual(a.close(), 0)

    def test_no_command(self):
        with Agent() as a:
            a.open('no-such-command')
            a.task(1, 'x')
            self.assertEqual(a.result(1).status, 127)
            self.assertIn(b'not found', a.tasks[1].err)

    def test_broken(self):
        """What could not be sent for it: it fails, and does not run."""
        with Agent() as a:
            a.open('echo {}')
            a.task(1, 'x', flags=1)
            self.assertEqual((a.result(1).outcome, a.tasks[1].out), (NOT_STARTED, b''))
            a.task(2, 'y')
            self.assertEqual(a.result(2).out, b'y\n')

    def test_environment(self):
        with Agent(env={'KEPT': 'kept', 'GIVEN': 'not this'}) as a:
            a.open('echo $KEPT $GIVEN $(nice)', env=['GIVEN=given'], nice=25)
            a.task(1, 'x')
            self.assertEqual(a.result(1).out, b'kept given 5 x\n')

    def test_connection_is_not_inherited(self):
        with Agent() as a:
            a.open('ls /proc/self/fd; readlink /proc/$$/fd/0; cat', flags=0)
            a.task(1, 'x')
            self.assertEqual(a.result(1).out, b'0\n1\n2\n3\n/dev/null\n')


    def test_long_name(self):
        """What is said of a path that is longer than a frame."""
        with Agent() as a:
            a.open('true')
            payload = a.task_frame(1, 'x', returns=['/' + 'y' * 300000])[12:]
            a.send(frame('M', payload[:200000]), frame('T', payload[200000:]))
            self.assertEqual(a.result(1).status, 1)
            self.assertEqual(a.close(), 0)

    def test_long_arguments_are_not_wanted_ahead(self):
        with Agent() as a:
            a.open('true', limit=20)
            for i in range(1, 41):
                a.task(i, 'x')
            # As many as the machine is fast; 26 is far enough from the 22 below to be told.
            a.until(lambda: a.want > 25)
            payload = a.task_frame(99, *['x' * 100000] * 160)[12:]
            parts = [payload[at:at + 200000] for at in range(0, len(payload), 200000)]
            a.send(*[frame('M', p) for p in parts[:-1]], frame('T', parts[-1]))
            a.result(99)
            a.until(lambda: a.want <= 22)
            self.assertEqual(a.close(), 0)


class Folder(unittest.TestCase):
    def test_made(self):
        folder = scratch() + '/a/b'
        with Agent() as a:
            a.open('pwd #', dir=folder)
            a.task(1, 'x')
            self.assertEqual(a.result(1).out.decode().strip(), os.path.realpath(folder))

    def test_relative(self):
        cwd = os.path.realpath(scratch())
        with Agent(cwd=cwd) as a:
            a.open('pwd #', dir='sub')
            a.task(1, 'x')
            self.assertEqual(a.result(1).out.decode(), cwd + '/sub\n')

    def test_new(self):
        with Agent() as a:
            a.open('pwd; mkdir d; date > d/f #', dir='...')
            a.task(1, 'x')
            folder = a.result(1).out.decode().strip()
            self.assertTrue(os.path.exists(folder + '/d/f'))
            self.assertEqual(a.close(), 0)
            self.assertFalse(os.path.exists(folder))

    def test_impossible(self):
        with Agent() as a:
            a.open('pwd', dir='/dev/null/x')
            self.assertIn('/dev/null/x', a.refused)
            self.assertEqual(a.wait(), 255)


class Dial(unittest.TestCase):
    def test_nobody_answers(self):
        """The frames stay where they were, before long."""
        with socket.create_server(('127.0.0.1', 0)) as s, Agent() as a:
            begin = time.monotonic()
            a.open('echo {}', dial=['127.0.0.1:%d' % s.getsockname()[1]], token=f'{"0" * 32} 0 {"1" * 32}')
            self.assertLess(time.monotonic() - begin, 5 + 5 * SLOW)
            self.assertIn(('Y', u32(0)), a.frames)
            a.task(1, 'hello')
            self.assertEqual(a.result(1).out, b'hello\n')
            self.assertGreater(time.monotonic() - begin, 4.5)
            self.assertEqual(a.close(), 0)


class Limits(unittest.TestCase):
    def test_jobs(self):
        """-j as it was typed, where the cores of this machine count."""
        with Agent() as a:
            a.open('echo', limit=0, jobs='300%')
            f = Fields(a.frames[0][1])
            f.text(), f.text()
            self.assertEqual(a.limit, 3 * f.u32())
        with Agent() as a:
            a.open('echo', limit=0, jobs='many')
            self.assertIn("'many'", a.refused)

    def test_load(self):
        """--load the same; it counts more than a number."""
        for load in '10000%', '+1000':
            with Agent() as a:
                a.open('echo', load=load, load_max=1)
                a.task(1, 'x')
                self.assertEqual(a.result(1).status, 0)
        with Agent() as a:
            a.open('echo', load='many')
            self.assertIn("'many'", a.refused)

    def test_long_tasks_are_not_wanted_ahead(self):
        with Agent() as a:
            a.open('sleep {}', limit=2)
            a.task(1, '1.1')
            a.result(1)
            a.until(lambda: a.want == 2)

    def test_found(self):
        """Without a number it is measured: what waits gets more and more at once."""
        with Agent() as a:
            a.open('sleep 0.2 #', limit=0)
            first, sent = a.limit, 0

            def more():
                nonlocal sent
                out = sent - sum(t.outcome is not None for t in a.tasks.values())
                if out < a.want:
                    a.send(b''.join(a.task_frame(sent + i + 1, 'x') for i in range(a.want - out)))
                    sent += a.want - out
                return a.limit >= 4 * first
            a.until(more, 30)


class Signals(unittest.TestCase):
    def test_running(self):
        with Agent() as a:
            a.open('trap "echo got; exit 9" TERM; echo ready; while :; do sleep 0.01; done #')
            a.task(1, 'x')
            a.task(2, 'x')
            a.until(lambda: a.tasks[1].out and a.tasks[2].out)
            a.signal(1, signal.SIGTERM)
            self.assertEqual((a.result(1).status, a.tasks[1].out), (9, b'ready\ngot\n'))
            a.signal(2, signal.SIGKILL)
            self.assertEqual((a.result(2).outcome, a.tasks[2].status), (SIGNALED, 9))
            a.signal(1, signal.SIGTERM)     # too late, and no harm
            a.signal(77, signal.SIGTERM)
            self.assertEqual(a.close(), 0)

    def test_group_goes_along(self):
        with Agent() as a:
            a.open("sh -c 'trap \"\" TERM; echo $$; exec sleep 1000' & wait; #")
            a.task(1, 'x')
            a.until(lambda: a.tasks[1].out)
            pid = int(a.tasks[1].out)
            a.signal(1, signal.SIGTERM)
            self.assertEqual(a.result(1).outcome, SIGNALED)
            wait_gone(pid)

    def test_stop_and_continue(self):
        with Agent() as a:
            a.open('echo $$; exec sleep 1000 #')
            a.task(1, 'x')
            a.until(lambda: a.tasks[1].out)
            pid = int(a.tasks[1].out)
            a.signal(1, signal.SIGSTOP)
            wait_state(pid, 'T')
            a.signal(1, signal.SIGCONT)
            wait_state(pid, 'S')
            a.signal(1, signal.SIGKILL)
            a.result(1)

    def test_waiting(self):
        """What has not begun ends without having run, at once."""
        with Agent() as a:
            a.open('echo {}; exec sleep 1000', limit=1)
            a.send(*[a.task_frame(i, f'{i}') for i in range(1, 101)])
            a.until(lambda: a.tasks[1].out)
            a.send(*[frame('S', u64(i) + u32(15)) for i in range(2, 101)])
            for i in range(2, 101):
                self.assertEqual((a.result(i).outcome, a.tasks[i].began), (CANCELLED, False))
            self.assertIsNone(a.tasks[1].outcome)
            a.signal(1, signal.SIGKILL)
            a.result(1)
            self.assertEqual(a.close(), 0)


class End(unittest.TestCase):
    """However it ends, nothing is left: kneetest's mark says so."""

    def opened(self, **options):
        a = Agent()
        self.addCleanup(self.clean, a)
        a.open('echo $$; setsid sleep 1000 & exec sleep 1000 #', **options)
        a.task(1, 'x')
        a.task(2, 'x')
        a.until(lambda: a.tasks[1].out and a.tasks[2].out)
        return a

    def clean(self, a):
        a.cut()
        self.assertEqual(a.left(), [])

    def gone(self, a):
        wait_for(lambda: not a.left(), what='tasks of an agent that has ended')

    def test_eof(self):
        a = self.opened()
        a.process.stdin.close()
        self.assertEqual(a.wait(), 255)
        self.assertEqual(a.err, b'')
        self.gone(a)

    def test_program_killed(self):
        a = self.opened()
        program = [p for p in descendants(a.process.pid) if argv_of(p)[-1:] == [b'agent']]
        os.kill(program[0], signal.SIGKILL)
        a.wait()
        self.gone(a)

    def test_keeper_killed(self):
        a = self.opened()
        a.process.kill()
        self.gone(a)
        a.until(lambda: a.ended)

    def test_silent(self):
        """A coordinator of which nothing is heard, though its connection stands."""
        begin = time.monotonic()
        a = self.opened(timeout=2.0 * SLOW)
        for i in range(8):
            a.ping(i)
            a.until(lambda: a.frames[-1] == ('Q', u64(i)))
            end = time.monotonic() + 0.4 * SLOW
            while time.monotonic() < end:
                a.read(0.05)
        self.assertGreater(time.monotonic() - begin, 3 * SLOW)
        self.assertEqual(a.wait(), 255)
        self.assertIn(b'nothing was heard of the coordinator for %.1f s' % (2 * SLOW), a.err)
        self.gone(a)

    def test_not_read(self):
        """A coordinator that reads nothing, but says PING: the tasks wait, and nothing is lost."""
        def full():
            a.ping(0)
            return pipe_is_full(a.process.stdout)

        with Agent() as a:
            a.open('head -c 4000000 /dev/zero; echo done >&2 #', limit=2, timeout=2.0 * SLOW)
            a.task(1, 'x')
            a.task(2, 'x')
            wait_for(full, what='the pipe to fill')
            for _ in range(40):
                a.ping(1)
                time.sleep(0.1 * SLOW)
            self.assertIsNone(a.process.poll())
            with open(f'/proc/{program_of(a)}/status') as f:
                rss = int(f.read().split('VmRSS:')[1].split()[0])
            self.assertLess(rss, 100000)
            while any(a.tasks[i].outcome is None for i in (1, 2)):
                a.ping(2)
                a.read(0.5)
                self.assertFalse(a.ended, a.frames[-1:])
            for i in (1, 2):
                self.assertEqual((len(a.tasks[i].out), a.tasks[i].err), (4000000, b'done\n'))
            # Those for which there was no room are answered together.
            self.assertLess(a.frames.count(('Q', u64(1))), 20)
            self.assertEqual(a.close(), 0)

    def test_not_read_and_gone(self):
        """The same, and then it is gone: a full pipe holds nothing up."""
        a = Agent()
        self.addCleanup(self.clean, a)
        a.open('yes', limit=2, timeout=20.0)
        a.task(1, 'x')
        wait_for(lambda: pipe_is_full(a.process.stdout), what='the pipe to fill')
        a.process.stdin.close()
        a.wait()
        self.gone(a)

    def test_told(self):
        """TERM, as Slurm sends it: what runs ends, it and what waits goes back, and the coordinator hears of each."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with self.subTest(number), Agent() as a:
                a.open('echo {}; exec sleep 1000', limit=2)
                for i in range(1, 6):
                    a.task(i, f'{i}')
                a.until(lambda: a.tasks[1].out and a.tasks[2].out)
                a.process.send_signal(number)
                self.assertEqual(a.wait(), 0)
                self.assertEqual([a.tasks[i].returned for i in (1, 2, 3, 4, 5)], [True] * 5)
                self.assertEqual((a.bye, a.limit, a.want), (1, 0, 0))

    def test_told_and_not_read(self):
        """Behind BYE comes nothing, whatever is asked meanwhile."""
        with Agent() as a:
            a.open('echo; exec sleep 1000 #', limit=1)
            a.send(*(a.task_frame(i, 'x') for i in range(1, 6001)))
            a.until(lambda: a.tasks[1].out)
            a.process.send_signal(signal.SIGTERM)
            wait_for(lambda: pipe_is_full(a.process.stdout), what='the pipe to fill')
            for i in range(5):
                a.ping(i)
                time.sleep(0.02)
            self.assertEqual((a.wait(), a.bye, a.frames[-1][0]), (0, 1, 'Z'))
            self.assertTrue(all(t.returned for t in a.tasks.values()))

    def test_told_after_its_tasks(self):
        """Slurm signals the tasks first, or the agent: they were ended with it either way."""
        sleeper = 'echo; exec sleep 1000 #'
        # The last says by its status what its command died of.
        for number, command in ((signal.SIGTERM, sleeper), (signal.SIGKILL, sleeper),
                                (signal.SIGTERM, "trap 'exit 143' TERM; sleep 1000 & echo; wait #")):
            with self.subTest(number=number, command=command), Agent() as a:
                a.open(command)
                a.task(1, 'x')
                a.until(lambda: a.tasks[1].out.endswith(b'\n'))
                stop_after_tasks(a.process.pid, number)
                self.assertEqual(a.wait(), 0)
                self.assertTrue(a.tasks[1].returned)
                self.assertEqual(a.bye, 1)

    def test_killed_by_somebody(self):
        """When no stop follows it has simply failed."""
        with Agent() as a:
            a.open('echo $$; exec sleep 1000 #')
            a.task(1, 'x')
            a.until(lambda: a.tasks[1].out.endswith(b'\n'))
            os.kill(int(a.tasks[1].out), signal.SIGTERM)
            r = a.result(1)
            self.assertEqual((r.outcome, r.status), (SIGNALED, signal.SIGTERM))
            self.assertEqual(a.close(), 0)

    def test_a_status_that_means_nothing(self):
        """128 and a signal is waited for once, not twenty times half a second: when no stop comes then it is a status
        like any other."""
        with Agent() as a:
            a.open('test {} = 1 && exec sleep %d; exit 143' % (4 * SLOW), limit=2)
            for i in range(1, 22):
                a.task(i, f'{i}')
            for i in range(2, 22):
                self.assertEqual((a.result(i).outcome, a.tasks[i].status), (EXITED, 143))
            self.assertIsNone(a.tasks[1].outcome)
            self.assertEqual(a.result(1).status, 0)
            self.assertEqual(a.close(), 0)

    def test_told_before_open(self):
        with Agent() as a:
            a.until(lambda: a.frames)
            a.process.send_signal(signal.SIGTERM)
            self.assertEqual(a.wait(), 255)
            self.assertEqual(a.refused, 'told to end')


class Files(unittest.TestCase):
    """What is sent back, and what is removed after that."""

    def setUp(self):
        self.folder = scratch()

    def put(self, *names):
        for name in names:
            path = os.path.join(self.folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'w') as f:
                f.write(name)

    def there(self):
        return sorted(os.path.relpath(os.path.join(at, name), self.folder)
                      for at, folders, files in os.walk(self.folder) for name in files + folders)

    def back(self, *returns):
        """The task, and the names of what came, when these were wanted back and then removed."""
        with Agent(cwd=self.folder) as a:
            a.open(': {}')
            a.task(1, 'x', returns=returns, clean=returns)
            task = a.result(1)
            if task.waits:
                a.kept(1)
            self.assertEqual(a.close(), 0)
            names = []
            for kind, payload in a.frames:
                if kind == 'F':
                    f = Fields(payload)
                    f.u64(), f.u32(), f.i64(), f.u64()
                    names.append(f.text())
            return task, names

    def test_removed(self):
        self.put('out/a', 'out/b/c', 'other')
        task, names = self.back('out')
        self.assertEqual((task.status, names), (0, ['', 'a', 'b', 'b/c']))
        self.assertEqual(self.there(), ['other'])

    def test_ended(self):
        """Before its files comes that it has ended; of a task without such nothing does but its RESULT."""
        self.put('out')
        with Agent(cwd=self.folder) as a:
            a.open('sleep 0.1; echo {}')
            a.task(1, 'x', returns=['out'])
            a.task(2, 'x')
            a.result(1), a.result(2)
            kinds = {1: '', 2: ''}
            for kind, f in ((kind, Fields(payload)) for kind, payload in a.frames if kind in 'BoEFR'):
                kinds[f.u64()] += kind
                if kind == 'E':
                    self.assertGreaterEqual(f.u64(), 10 ** 8)
            self.assertEqual(kinds, {1: 'BoEFR', 2: 'BoR'})
            self.assertEqual(a.close(), 0)

    def test_killed_in_the_middle_of_a_file(self):
        """What is not whole has no name, and so it goes with who writes it."""
        try:
            os.close(os.open(self.folder, os.O_TMPFILE | os.O_WRONLY))
        except OSError as e:
            self.skipTest(f'the file system has no files without a name: {e}')
        a = Agent(cwd=self.folder)
        self.addCleanup(a.cut)
        a.open(': {}')
        a.send(frame('F', u64(1) + u32(0o644) + u64(1) + u64(4) + text('in/file') + u32(0)), frame('D', b'12'))
        a.ping(5)
        a.until(lambda: ('Q', u64(5)) in a.frames)
        self.assertEqual(self.there(), ['in'])
        os.kill(program_of(a), signal.SIGKILL)
        a.wait()
        self.assertEqual(self.there(), ['in'])

    def test_nothing_through_links(self):
        """What lies behind a symbolic link comes, and stays; the link goes."""
        self.put('out/a', 'far/b', 'far/c/d', 'file')
        os.symlink('../far', self.folder + '/out/far')
        os.symlink('../file', self.folder + '/out/file')
        task, names = self.back('out')
        self.assertEqual((task.status, names), (0, ['', 'a', 'far', 'far/b', 'far/c', 'far/c/d', 'file']))
        self.assertEqual(self.there(), ['far', 'far/b', 'far/c', 'far/c/d', 'file'])
        os.symlink('far', self.folder + '/out')
        self.back('out')
        self.assertEqual(self.there(), ['far', 'far/b', 'far/c', 'far/c/d', 'file'])

    def test_not_the_folder_of_all(self):
        self.put('a', 'b/c')
        for path in '.', '':
            with self.subTest(path=path):
                task, names = self.back(path)
                self.assertEqual((task.status, len(names)), (0, 4) if path else (1, 0))
                self.assertEqual(self.there(), ['a', 'b', 'b/c'])

    def test_not_what_did_not_come(self):
        self.put('a', 'b')
        task, names = self.back('a', 'missing', 'b')
        self.assertEqual((task.status, len(names)), (1, 2))
        self.assertEqual(self.there(), ['a', 'b'])

    def far(self):
        """An agent with a task that has made out/made and changed in, which came with it; another file came, too."""
        a = Agent(cwd=self.folder)
        self.addCleanup(a.cut)
        a.open('echo {} >>in; mkdir -p out; echo made >out/made; test {} = x')
        for name in 'in', 'other':
            a.send(frame('F', u64(1) + u32(0o644 | 1 << 17) + u64(1) + u64(1) + text(name) + u32(0)), frame('D', b'1'))
        return a

    def waiting(self):
        """The same, when its files wait."""
        a = self.far()
        a.task(1, 'x', returns=['in', 'out'], clean=['in', 'out'])
        self.assertEqual((a.result(1).status, a.tasks[1].waits), (0, True))
        self.as_it_was()
        return a

    def read(self, name):
        with open(os.path.join(self.folder, name)) as f:
            return f.read()

    def as_it_was(self):
        self.assertEqual(self.there(), ['in', 'out', 'out/made'])
        self.assertEqual((self.read('in'), self.read('out/made')), ('1x\n', 'made\n'))

    def test_kept(self):
        """What has come back is removed when it is kept."""
        a = self.waiting()
        a.kept(1)
        self.assertEqual(a.close(), 0)
        self.assertEqual(self.there(), [])

    def test_not_kept(self):
        """It stays, also what came with the task and was changed."""
        a = self.waiting()
        a.kept(1, False)
        a.ping(5)
        a.until(lambda: ('Q', u64(5)) in a.frames)
        self.as_it_was()
        self.assertEqual(a.close(), 0)
        self.as_it_was()

    def test_nobody_knows(self):
        """Of a task that nobody there knows any more nothing is removed, also not what was copied and comes back."""
        a = self.waiting()
        a.kept(1, 2)
        self.assertEqual(a.close(), 0)
        self.as_it_was()
        self.assertEqual([f for f in a.frames if f[0] == 'N'], [])

    def test_empty(self):
        """A task that is only said so that its files may go."""
        with Agent(cwd=self.folder) as a:
            a.open('echo {}')
            a.send(frame('F', u64(1) + u32(0o644 | 1 << 17) + u64(1) + u64(1) + text('d/in') + u32(0)), frame('D', b'1'))
            a.ping(5)
            a.until(lambda: ('Q', u64(5)) in a.frames)
            self.assertEqual(self.there(), ['d', 'd/in'])
            a.send(a.task_frame(1, seq=0, flags=1))
            self.assertEqual((a.result(1).outcome, self.there()), (NOT_STARTED, []))
            self.assertEqual(a.close(), 0)

    def unwanted(self, a, id=1):
        a.send(frame('S', u64(id) + u32(65536 + signal.SIGKILL)))

    def test_unwanted(self):
        """What nobody waits for is ended, sends no files and says nothing of them; what it wrote stays."""
        self.put('a', 'there')
        with Agent(cwd=self.folder) as a:
            a.open('echo {} >>a; echo; exec sleep 1000')
            a.send(frame('F', u64(1) + u32(0o644 | 1 << 17) + u64(1) + u64(1) + text('a') + u32(0)), frame('D', b'1'))
            a.send(frame('F', u64(1) + u32(0o644 | 1 << 17) + u64(1) + u64(1) + text('b') + u32(0)), frame('D', b'1'))
            a.task(1, 'x', returns=['a', 'missing'], clean=['a', 'missing'])
            a.until(lambda: a.tasks[1].out)
            self.unwanted(a)
            self.assertEqual((a.result(1).outcome, a.tasks[1].status, a.tasks[1].waits), (SIGNALED, 9, False))
            self.unwanted(a)
            self.assertEqual(a.close(), 0)
            self.assertEqual([f for f in a.frames if f[0] in 'FN'], [])
        self.assertEqual((self.there(), self.read('a')), (['a', 'there'], '1x\n'))

    def test_unwanted_on_its_way(self):
        """The same while they are sent: there may be more of them than anybody reads."""
        for n in range(20):
            self.put(f'out/{n:02}')
            os.truncate(f'{self.folder}/out/{n:02}', 2_000_000)
        tmp = scratch()
        for folder in '', '...':
            with self.subTest(folder), Agent(env={'TMPDIR': tmp}, cwd=self.folder) as a:
                a.open(f'test -e out || cp -r {self.folder}/out .; #', dir=folder)
                a.task(1, 'x', returns=['out', 'missing'], clean=['out', 'missing'])
                a.until(lambda: sum(f[0] == 'F' for f in a.frames) > 2)
                self.unwanted(a)
                self.assertEqual((a.result(1).outcome, a.tasks[1].waits), (EXITED, False))
                self.assertEqual(a.close(), 0)
                self.assertLess(sum(f[0] == 'F' for f in a.frames), 10)
                self.assertEqual([f for f in a.frames if f[0] == 'N'], [])
            self.assertEqual((len(os.listdir(self.folder + '/out')), os.listdir(tmp)), (20, []))

    def test_nobody_says_so(self):
        """The connection ends before it is known."""
        self.waiting().cut()
        self.as_it_was()

    def test_ends_in_the_middle_of_a_task(self):
        """What came with it and was to come back is half of something new: it stays, and nothing else of it."""
        def told(a):
            a.process.send_signal(signal.SIGTERM)
            self.assertEqual((a.wait(), a.bye, a.tasks[1].returned, a.tasks[2].returned), (0, 1, True, True))

        def eof(a):
            a.process.stdin.close()
            a.wait()

        def not_read(a):
            a.process.stdout.close()
            wait_for(lambda: not a.left(), what='the end of an agent whose coordinator is gone')

        for end in told, eof, not_read:
            with self.subTest(end.__name__):
                a = Agent(cwd=self.folder)
                self.addCleanup(a.cut)
                a.open('echo {} >>in; while echo; do sleep 0.1; done; #', limit=1)
                for id, name in (1, 'in'), (1, 'other'), (2, 'later'):
                    a.send(frame('F', u64(id) + u32(0o644 | 1 << 17) + u64(1) + u64(1) + text(name) + u32(0)),
                           frame('D', b'1'))
                a.task(1, 'x', returns=['in'], clean=['in'])
                a.task(2, 'y', returns=['later'], clean=['later'])
                a.until(lambda: a.tasks[1].out)
                end(a)
                self.assertEqual((self.there(), self.read('in')), (['in'], '1x\n'))
                os.remove(self.folder + '/in')

    def test_told_to_end(self):
        """An agent that leaves waits for what it does not know yet, as long as there is a coordinator."""
        for says in True, False, None:
            with self.subTest(says=says):
                a = self.waiting()
                a.process.send_signal(signal.SIGTERM)
                a.until(lambda: a.want == 0)
                if says is not None:
                    a.ping(5)
                    a.kept(1, says)
                    self.assertEqual((a.wait(), a.bye), (0, 1))
                else:
                    a.process.stdin.close()
                    self.assertEqual((a.wait(), a.bye), (255, None))
                if says:
                    self.assertEqual(self.there(), [])
                else:
                    self.as_it_was()
                for name in 'in', 'out/made':
                    if not says:
                        os.remove(os.path.join(self.folder, name))

    def test_told_to_end_and_asked(self):
        """It answers PING as long as it waits."""
        a = self.waiting()
        a.process.send_signal(signal.SIGTERM)
        a.until(lambda: a.want == 0)
        for i in range(5):
            time.sleep(0.05)
            a.ping(i)
            a.until(lambda: a.frames[-1] == ('Q', u64(i)), 5)
        a.kept(1)
        self.assertEqual((a.wait(), a.bye, self.there()), (0, 1, []))

    def test_told_to_end_and_not_answered(self):
        """It waits 10 s, also where nothing at all is heard: that is a good end."""
        a = self.waiting()
        begin = time.monotonic()
        a.process.send_signal(signal.SIGTERM)
        self.assertEqual((a.wait(), a.bye), (0, 1))
        self.assertGreater(time.monotonic() - begin, 9)
        self.as_it_was()

    def test_close(self):
        """BYE comes behind the last KEPT."""
        a = self.waiting()
        a.send(frame('X'), frame('P', u64(5)))
        self.assertIsNone(a.bye)
        a.send(frame('K', u64(1) + u32(0)))
        a.until(lambda: a.bye is not None)
        self.assertEqual(a.wait(), 0)
        self.as_it_was()

    def test_name_is_taken(self):
        """A shared folder: the coordinator's file has the name, and is not touched, whatever it says."""
        for kept in True, False:
            with self.subTest(kept=kept):
                a = self.waiting()
                self.put('in.new', 'out/made.new')
                for name in 'in', 'out/made':
                    os.rename(f'{self.folder}/{name}.new', f'{self.folder}/{name}')
                a.kept(1, kept)
                self.assertEqual(a.close(), 0)
                self.assertEqual((self.read('in'), self.read('out/made')), ('in.new', 'out/made.new'))
                self.assertEqual(self.there(), ['in', 'out', 'out/made'])
                self.assertEqual([f for f in a.frames if f[0] == 'N'], [])
                for name in 'in', 'out/made':
                    os.remove(os.path.join(self.folder, name))

    def test_written_to_meanwhile(self):
        """What came back is not what is there any more."""
        a = self.waiting()
        with open(self.folder + '/in', 'a') as f:
            f.write('more\n')
        a.kept(1)
        self.assertEqual(a.close(), 0)
        self.assertEqual((self.there(), self.read('in')), (['in'], '1x\nmore\n'))

    def test_written_to_before_all_is_sent(self):
        """Nor is it when the rest of them was on its way yet, also of what came with the task."""
        for returns, n, left in (('in', 'large'), 2, ['in']), (('.',), 3, ['in', 'large']):
            with self.subTest(returns=returns):
                a = Agent(cwd=self.folder)
                self.addCleanup(a.cut)
                a.open('truncate -s 10000000 large; : {}')
                a.send(frame('F', u64(1) + u32(0o644 | 1 << 17) + u64(1) + u64(1) + text('in') + u32(0)), frame('D', b'1'))
                a.task(1, 'x', returns=returns, clean=returns)
                a.until(lambda: sum(f[0] == 'F' for f in a.frames) == n)
                with open(self.folder + '/in', 'a') as f:
                    f.write('more\n')
                self.assertTrue(a.result(1).waits)
                a.kept(1)
                self.assertEqual(a.close(), 0)
                self.assertEqual((self.there(), self.read('in')), (left, '1more\n'))

    def test_of_two_tasks(self):
        """A file that two have goes with the second, whatever the first says; and it does not go at all when the
        coordinator has it not."""
        def copy(id):
            a.send(frame('F', u64(id) + u32(0o644 | 1 << 17) + u64(1) + u64(1) + text('in') + u32(0)), frame('D', b'1'))

        for first, second in (1, 1), (1, 0), (0, 1), (0, 0):
            with self.subTest(first=first, second=second), Agent(cwd=self.folder) as a:
                a.open('cat in #; : {}')
                copy(1), copy(2)
                a.task(1, 'x', returns=['in'], clean=['in'])
                self.assertTrue(a.result(1).waits)
                a.kept(1, first)
                copy(3)
                for id in 2, 3:
                    a.task(id, 'x', returns=['in'], clean=['in'])
                    self.assertEqual((a.result(id).status, a.tasks[id].out, a.tasks[id].waits), (0, b'1', True))
                a.kept(3), a.kept(2, second)
                self.assertEqual(a.close(), 0)
                self.assertEqual(self.there(), [] if first and second else ['in'])
                if not (first and second):
                    os.remove(self.folder + '/in')

    def test_way_back_fails(self):
        """What came with the task and was changed stays when it does not come back; what did not change goes."""
        a = self.far()
        a.task(1, 'x', returns=['in', 'missing'], clean=['in', 'missing'])
        self.assertEqual((a.result(1).status, a.tasks[1].waits), (1, False))
        self.assertEqual(a.close(), 0)
        self.as_it_was()

    def test_folder_of_all_with_what_came(self):
        for says in True, False:
            with self.subTest(says=says):
                a = self.far()
                a.task(1, 'x', returns=['.'], clean=['.'])
                self.assertEqual((a.result(1).status, a.tasks[1].waits), (0, True))
                a.kept(1, says)
                self.assertEqual(a.close(), 0)
                self.assertEqual(self.there(), ['out', 'out/made'] if says else ['in', 'other', 'out', 'out/made'])

    def test_new_folder_stays(self):
        """The folder that was made for the run goes at its end, but not with what is wanted yet."""
        tmp = scratch()
        for kept in 1, 2, 0:
            with self.subTest(kept=kept), Agent(env={'TMPDIR': tmp}) as a:
                a.open('echo it >out; : {}', dir='...')
                a.task(1, 'x', returns=['out'], clean=['out'])
                self.assertTrue(a.result(1).waits)
                a.kept(1, kept)
                self.assertEqual(a.close(), 0)
                notes = [Fields(f[1][8:]).text() for f in a.frames if f[0] == 'N']
                folders = os.listdir(tmp)
                self.assertEqual(len(folders), 0 if kept else 1)
                if not kept:
                    self.assertEqual(os.listdir(f'{tmp}/{folders[0]}'), ['out'])
                    self.assertEqual(notes, [f'the folder {tmp}/{folders[0]} stays: files that did not come back are in it'])

    def test_new_folder_of_a_lost_machine(self):
        """The connection ends while files are on their way, or before they are answered: both are nowhere else, unless
        nobody wants them."""
        for size, wanted in (4_000_000, True), (4, True), (4_000_000, False):
            tmp = scratch()
            with self.subTest(size=size, wanted=wanted):
                a = Agent(env={'TMPDIR': tmp})
                self.addCleanup(a.cut)
                a.open(f'truncate -s {size} out; : {{}}', dir='...')
                a.task(1, 'x', returns=['out'])
                a.until(lambda: any(f[0] == 'F' for f in a.frames) and (size > 4 or a.tasks[1].waits))
                if not wanted:
                    self.unwanted(a)
                a.process.stdin.close()
                wait_for(lambda: not a.left(), what='the end of an agent that nobody reads')
                folders = os.listdir(tmp)
                self.assertEqual([os.listdir(f'{tmp}/{f}') for f in folders], [['out']] if wanted else [])


class Nonsense(unittest.TestCase):
    def refused(self, *frames, words, opened=True):
        with Agent() as a:
            if opened:
                a.open('sleep 1000 #')
                a.task(1, 'x')
                a.until(lambda: a.tasks[1].began)
            try:
                a.send(*frames)
            except BrokenPipeError:
                pass
            self.assertEqual(a.wait(), 255)
            self.assertIn(words, a.refused or '')
            self.assertIn(words.encode(), a.err)
            wait_for(lambda: not a.left(), what='its tasks to be gone')

    def test_bytes(self):
        self.refused(b'some text\n' * 10, words='no frame')

    def test_check(self):
        f = bytearray(frame('P', u64(1)))
        f[9] ^= 1
        self.refused(bytes(f), words='no frame')

    def test_size(self):
        self.refused(struct.pack('<I', 1 << 30) + b'T\0\0\0' + b'x' * 100, words='no frame')

    def test_unknown(self):
        self.refused(frame('q', b''), words='no frame')

    def test_not_for_agents(self):
        self.refused(frame('H', b''), words="'H', which is none for an agent")

    def test_short(self):
        for kind in 'TSPK':
            self.refused(frame(kind, b'abc'), words='makes no sense')
        self.refused(frame('X', b'abc'), words='makes no sense')
        self.refused(frame('O', b'abc'), words='makes no sense', opened=False)

    def test_twice(self):
        self.refused(frame('O', open_payload()), words='OPEN came twice')
        self.refused(frame('T', u64(1) + u64(1) + u32(1) + u32(0) + texts(['x']) + texts([]) + texts([])),
                     words='TASK 1 came twice')

    def test_order(self):
        self.refused(frame('X'), words='before OPEN', opened=False)
        self.refused(frame('M', b'abc'), frame('P', u64(1)), words='in the middle of a TASK')
        self.refused(frame('X'), frame('T', u64(2) + u64(1) + u32(1) + u32(0) + texts(['x']) + texts([]) +
                                       texts([])), words='after CLOSE')

    def test_too_many(self):
        more = b''.join(frame('T', u64(i) + u64(i) + u32(1) + u32(0) + texts(['x']) + texts([]) + texts([]))
                        for i in range(2, 65538))
        self.refused(more, words='more than 65536 tasks')

    def test_too_long_together(self):
        """Each is within its bounds, but what they have in all is more than anybody would be given."""
        with Agent() as a:
            a.open('sleep 1000 #', limit=2)
            a.task(101, 'x')
            a.task(102, 'x')
            a.until(lambda: a.tasks[101].began and a.tasks[102].began)
            payload = a.task_frame(1, *['x' * 100000] * 150)[12:]
            parts = [frame('M', payload[at:at + 250000]) for at in range(8, len(payload), 250000)]
            try:
                for i in range(1, 22):
                    a.send(frame('M', u64(i)), *parts, frame('T', b''))
            except BrokenPipeError:
                pass
            self.assertEqual(a.wait(60), 255)
            self.assertIn('23 tasks with more than 288 MiB of arguments in all', a.refused or '')

    def test_too_long(self):
        self.refused(*[frame('M', b'x' * 256 * 1024)] * 65, words='more than 16 MiB')

    def test_signal(self):
        self.refused(frame('S', u64(1) + u32(1000)), words='SIGNAL that makes no sense')

    def test_kept(self):
        """Of a task that is not known, that has no files, twice; and not a number that is none."""
        self.refused(frame('K', u64(9) + u32(1)), words='KEPT 9, of which no files wait')
        self.refused(frame('K', u64(1) + u32(1)), words='KEPT 1, of which no files wait')
        self.refused(frame('K', u64(1) + u32(3)), words='KEPT that makes no sense')
        folder = scratch()
        with Agent(cwd=folder) as a:
            a.open('echo {} >{}')
            a.task(1, 'x', returns=['x'], clean=['x'])
            a.task(2, 'y', returns=['y'], clean=['y'])
            a.result(1), a.result(2)
            a.kept(2)
            a.kept(2)
            self.assertEqual(a.wait(), 255)
            self.assertIn('KEPT 2, of which no files wait', a.refused)
        self.assertEqual(os.listdir(folder), ['x'])

    def test_version(self):
        with Agent(greet=False) as a:
            a.greet(protocol=2)
            self.assertEqual(a.wait(), 255)
            self.assertIn('speaks version 1', a.refused)
            self.assertIn('speaks version 2', a.refused)

    def test_no_coordinator(self):
        with Agent(greet=False) as a:
            a.send(b'GET / HTTP/1.0\r\n\r\n')
            self.assertEqual(a.wait(), 255)
            self.assertIn(b'no coordinator', a.err)

    def test_random(self):
        """Good frames with some bytes changed: it ends, or goes on, and leaves nothing."""
        seed = int(os.environ.get('KNEE_SEED') or 1)
        rnd = random.Random(seed)
        for _ in range(30):
            with Agent() as a, self.subTest(seed=seed):
                a.open('echo {}', timeout=1.0)
                data = bytearray(b''.join([a.task_frame(1, 'x'), frame('P', u64(1)), frame('S', u64(1) + u32(9)),
                                           frame('X')]))
                for _ in range(rnd.randrange(1, 4)):
                    data[rnd.randrange(len(data))] = rnd.randrange(256)
                a.send(bytes(data))
                self.assertIn(a.wait(), (0, 255))
                wait_for(lambda: not a.left(), what='its tasks to be gone')

    def test_by_hand(self):
        r = knee('agent', 'x')
        self.assertEqual((r.out, r.status), (b'', 255))
        self.assertIn(b'not by hand', r.err)


def program_of(a):
    """The pid of the program that the agent's keeper keeps."""
    return next(p for p in descendants(a.process.pid) if argv_of(p)[-1:] == [b'agent'])


def pipe_is_full(f):
    """As good as full: the agent writes no less at once."""
    n = struct.unpack('i', fcntl.ioctl(f.fileno(), 0x541B, b'\0' * 4))[0]    # FIONREAD
    return n >= 20000


if __name__ == '__main__':
    unittest.main()
