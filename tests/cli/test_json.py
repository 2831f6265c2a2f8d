# SPDX-License-Identifier: MIT
"""--json: the events as lines of JSON, on any descriptor, whoever reads them or not."""

import datetime
import fcntl
import json
import socket

from kneetest import *

TASK = ['event', 'time', 'seq', 'host', 'slot', 'attempt', 'command', 'inputs']
START = TASK
END = [*TASK, 'retry', 'start', 'runtime_s', 'outcome', 'exit', 'signal', 'cpu_user_s', 'cpu_system_s',
       'memory_bytes', 'read_bytes', 'written_bytes', 'io_bytes', 'output_bytes', 'waits', 'switches', 'delay_s']
BEGIN = ['event', 'time', 'version', 'host', 'pid', 'directory', 'arguments', 'journal']
LIMIT = ['event', 'time', 'limit', 'at_once', 'running', 'done', 'busy', 'kind', 'resource', 'work', 'reason']
RUN_END = ['event', 'time', 'status', 'tasks', 'succeeded', 'failed', 'stored', 'left', 'stopped', 'attempts',
           'peak', 'elapsed_s', 'runtime_s', 'cpu_s', 'output_bytes']
FIELDS = {'run_begin': BEGIN, 'task_start': START, 'task_end': END, 'limit': LIMIT,
          'note': ['event', 'time', 'text'], 'run_end': RUN_END}


class Base(unittest.TestCase):
    def setUp(self):
        self.folder = scratch()

    def path(self, name):
        return os.path.join(self.folder, name)

    def check(self, data):
        """The events; each has the fields that it is to have."""
        self.assertTrue(data.endswith(b'\n'), data)
        events = [json.loads(line) for line in data.decode('utf-8').splitlines()]
        for e in events:
            self.assertEqual(list(e), FIELDS[e['event']])
            self.assertIsNotNone(datetime.datetime.fromisoformat(e['time']).tzinfo)
        self.assertEqual((events[0]['event'], events[-1]['event']), ('run_begin', 'run_end'))
        return events

    def events(self, *args, **more):
        """Of a run: they go to a file on descriptor 9."""
        with open(self.path('events'), 'w+b') as f:
            fd = fcntl.fcntl(f, fcntl.F_DUPFD, 9)
            try:
                r = knee(f'--json={fd}', *args, cwd=self.folder, pass_fds=(fd,), **more)
            finally:
                os.close(fd)
            f.seek(0)
            return r, self.check(f.read())

    def of(self, events, *kinds):
        return [e for e in events if e['event'] in kinds]


class Events(Base):
    def test_a_run(self):
        r, events = self.events('-j1', 'echo {}; exit {}', ':::', '0', '3')
        self.assertEqual((r.out, r.err, r.status), (b'0\n3\n', b'', 1))
        begin, end = events[0], events[-1]
        self.assertEqual(begin['arguments'][-3:], [':::', '0', '3'])
        self.assertEqual(begin['directory'], self.folder)
        self.assertIsNone(begin['journal'])
        tasks = self.of(events, 'task_start', 'task_end')
        self.assertEqual([(t['event'], t['seq']) for t in tasks],
                         [('task_start', 1), ('task_end', 1), ('task_start', 2), ('task_end', 2)])
        start, task = tasks[2:]
        for e in (start, task):
            self.assertEqual((e['slot'], e['attempt'], e['command'], e['inputs'], e['host']),
                             (1, 1, 'echo 3; exit 3', ['3'], begin['host']))
        self.assertEqual((task['outcome'], task['exit'], task['signal'], task['retry'], task['output_bytes']),
                         ('exited', 3, None, False, 2))
        self.assertGreater(task['runtime_s'], 0)
        self.assertGreater(task['memory_bytes'], 0)
        self.assertEqual((end['status'], end['tasks'], end['succeeded'], end['failed'], end['stored'], end['left'],
                          end['stopped'], end['attempts'], end['output_bytes']), (1, 2, 1, 1, 0, 0, False, 2, 4))
        self.assertAlmostEqual(end['runtime_s'], tasks[1]['runtime_s'] + task['runtime_s'], places=5)

    def test_stderr(self):
        r = knee('--json', '--silent', 'echo', ':::', 'a')
        self.assertEqual((r.out, r.status), (b'a\n', 0))
        self.check(r.err)

    def test_attempts(self):
        _, events = self.events('--retries', '2', 'exit 5; :', ':::', 'a')
        ends = self.of(events, 'task_end')
        self.assertEqual([(e['attempt'], e['retry'], e['exit']) for e in ends], [(1, True, 5), (2, False, 5)])
        self.assertEqual([e['attempt'] for e in self.of(events, 'task_start')], [1, 2])
        self.assertEqual((events[-1]['tasks'], events[-1]['attempts']), (1, 2))

    def test_outcomes(self):
        _, events = self.events('-j1', '--timeout', '1', 'eval {}; :', ':::', 'kill -9 $$', 'sleep 30')
        ends = self.of(events, 'task_end')
        self.assertEqual([(e['outcome'], e['exit'], e['signal']) for e in ends],
                         [('signaled', None, 9), ('timed-out', None, 15)])
        _, events = self.events('-q', './none', ':::', 'a')
        end, = self.of(events, 'task_end')
        self.assertEqual((end['outcome'], end['exit']), ('not-started', 127) if end['outcome'] != 'exited'
                         else ('exited', 127))
        _, events = self.events('-j2', '--halt', 'now,fail=1', 'sleep {}; exit 5', ':::', '0.2', '30', '30')
        ends = {e['seq']: e['outcome'] for e in self.of(events, 'task_end')}
        self.assertEqual(ends, {1: 'exited', 2: 'cancelled'})
        self.assertEqual((events[-1]['stopped'], events[-1]['left']), (True, 1))

    def test_odd_inputs(self):
        inputs = ['a"b\\', 'new\nline', '\t\x01\x7f', 'ä€', b'\xff\xc3', '']
        _, events = self.events('-j1', 'printf', '%s', ':::', *inputs)
        got = [e['inputs'][0] for e in self.of(events, 'task_end')]
        self.assertEqual(got, ['a"b\\', 'new\nline', '\t\x01\x7f', 'ä€', '\ufffd\ufffd', ''])
        self.assertEqual(events[0]['arguments'][-2], '\ufffd\ufffd')

    def test_limits(self):
        _, events = self.events('--no-memory', 'sleep', ':::', *['0.1'] * 60)
        limits = self.of(events, 'limit')
        self.assertTrue(limits, events)
        for e in limits:
            self.assertGreater(e['limit'], 0)
            self.assertGreater(len(e['reason']), 5)
        self.assertIn('sleep', [e['work'] for e in limits])

    def test_live(self):
        """An event is out as soon as it happens."""
        r, w = os.pipe()
        os.mkfifo(self.path('go'))
        with start(f'--json={w}', '-j1', 'read x <go; :', ':::', 'a', cwd=self.folder, pass_fds=(w,)) as p:
            os.close(w)
            with open(r, 'rb', 0) as f:
                self.assertEqual(json.loads(f.readline())['event'], 'run_begin')
                e = json.loads(f.readline())
                while e['event'] == 'limit':
                    e = json.loads(f.readline())
                self.assertEqual(e['event'], 'task_start')
                with open(self.path('go'), 'w') as go:
                    go.write('x\n')
                rest = f.read()
            self.assertEqual(json.loads(rest.splitlines()[-1])['event'], 'run_end')
            self.assertEqual(p.wait(), 0)

    def test_stored(self):
        args = ('--journal', 'j', 'echo {}; test -e ok', ':::', 'a', 'b')
        self.events(*args)
        with open(self.path('ok'), 'w'):
            pass
        self.events('--resume-failed', *args)
        r, events = self.events('--resume', *args, 'c')
        self.assertEqual(r.status, 0)
        self.assertEqual([e['seq'] for e in self.of(events, 'task_end')], [3])
        self.assertEqual((events[0]['journal'], events[-1]['stored'], events[-1]['tasks']), ('j', 2, 3))

    def test_many(self):
        _, events = self.events('-j8', '-u', 'true', ':::', *map(str, range(2000)))
        self.assertEqual(sorted(e['seq'] for e in self.of(events, 'task_end')), list(range(1, 2001)))


class Descriptors(Base):
    def test_not_open(self):
        r = knee('--json=77', 'touch ran; :', ':::', 'a', cwd=self.folder)
        self.assertEqual((r.out, r.status), (b'', 255))
        self.assertEqual(r.err, b'knee: --json: descriptor 77 is not open: redirect it, as by 77>FILE\n')
        self.assertEqual(os.listdir(self.folder), [])

    def test_not_writable(self):
        with open('/dev/null') as f:
            fd = f.fileno()
            r = knee(f'--json={fd}', 'touch ran; :', ':::', 'a', cwd=self.folder, pass_fds=(fd,))
        self.assertEqual((r.out, r.status), (b'', 255))
        self.assertEqual(r.err, b'knee: --json: descriptor %d is not open for writing\n' % fd)
        self.assertEqual(os.listdir(self.folder), [])

    def test_not_inherited(self):
        """Tasks do not hold it: its reader sees the end when knee ends."""
        with open(self.path('events'), 'wb') as f:
            fd = fcntl.fcntl(f, fcntl.F_DUPFD, 9)
            r = knee(f'--json={fd}', f'test ! -e /proc/self/fd/{fd}; :', ':::', 'a', pass_fds=(fd,))
            self.assertEqual(r.status, 0)
            r = knee(f'--json={fd}', f'ls -l /proc/self/fd; :', ':::', 'a', pass_fds=(fd,))
            self.assertNotIn(b'events', r.out)
            os.close(fd)

    def test_reader_gone(self):
        """The run goes on, and says so once."""
        r, w = os.pipe()
        os.close(r)
        try:
            r = knee(f'--json={w}', 'echo', ':::', *map(str, range(50)), pass_fds=(w,))
        finally:
            os.close(w)
        self.assertEqual((r.out.count(b'\n'), r.status), (50, 0))
        self.assertEqual(r.err, b'knee: --json: nobody reads descriptor %d any more: the run goes on without\n' % w)

    def slow(self, reader, writer):
        args = ('-j4', 'printf x; : {}', ':::', *['x' * 2000] * 300)
        with start(f'--json={writer}', *args, pass_fds=(writer,)) as p:
            os.close(writer)
            wait_for(lambda: os.read(p.stdout.fileno(), 1), what='a task ran')
            # Starts stop when nobody reads: not much is kept.
            before = -1
            done = b''
            os.set_blocking(p.stdout.fileno(), False)
            while len(done) != before:
                before = len(done)
                time.sleep(0.5 * SLOW)
                done += p.stdout.read() or b''
            self.assertLess(len(done), 280)
            with open(reader, 'rb') as f:
                events = self.check(f.read())
            self.assertEqual(p.wait(), 0)
            self.assertEqual(len(self.of(events, 'task_end')), 300)

    def test_slow_pipe(self):
        self.slow(*os.pipe())

    def test_slow_socket(self):
        a, b = socket.socketpair()
        b.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.slow(a.detach(), b.detach())

    def test_full_disk(self):
        with small_tmpfs('64k') as small, open(os.path.join(small, 'events'), 'wb') as f:
            fd = f.fileno()
            r = knee(f'--json={fd}', '-j1', 'echo {} >>runs; :', ':::', *map(str, range(1000)), cwd=self.folder,
                     pass_fds=(fd,))
        self.assertEqual(r.status, 255)
        self.assertEqual(r.err, b'knee: --json: descriptor %d: No space left on device: the last events are lost\n'
                         % fd)
        with open(self.path('runs')) as f:
            self.assertLess(len(f.readlines()), 1000)

    def test_terminal(self):
        """Lines of events and the progress line do not get into one another."""
        with Pty('--json', '--bar', '-j1', 'sleep 0.7; :', ':::', 'a', 'b') as t:
            self.assertEqual(t.finish(), 0)
        lines = [line for line in t.data.replace(b'\r', b'\n').replace(b'\033[K', b'\n').replace(b'\033[J', b'\n').split(b'\n')
                 if line.startswith(b'{"event"')]
        for line in lines:
            json.loads(line)
        self.assertEqual(len([1 for line in lines if b'task_end' in line]), 2, t.data)


if __name__ == '__main__':
    unittest.main()
