# SPDX-License-Identifier: MIT
"""knee log: what it says of journals of runs that ended, go on and died, and of files that are none."""

import csv
import hashlib
import io
import json
import re
import shutil
import socket
import sqlite3
import threading
from pathlib import Path

from kneetest import *

HOST = socket.gethostname()
BASE_NS = 1795493586 * 10**9            # 2026-11-24 04:13:06 UTC


def log(*args, **more):
    return knee('log', *args, **more)


def run_journal(name, *args, status=0, **more):
    """A run with a journal in a new folder: the journal's path."""
    path = os.path.join(scratch(), name)
    r = knee('--journal', path, *args, **more)
    assert r.status == status, r
    return path


def made(n=0, alive=None, **more):
    """A journal by SQL, of n tasks that succeeded and some others, with the tables of a real one."""
    path = run_journal('made', 'true', ':::', '1')
    d = sqlite3.connect(path)
    d.execute('PRAGMA synchronous = OFF')
    for table in 'run', 'progress', 'task', 'attempt', 'output', 'step', 'sample':
        d.execute(f'DELETE FROM {table}')

    def insert(table, **row):
        d.execute(f'INSERT INTO {table} ({", ".join(row)}) VALUES ({", ".join("?" * len(row))})',
                  list(row.values()))

    insert('run', run=1, version='0.1.0', host=HOST, pid=os.getpid() if alive else 1, boot='',
           directory='/', command='c', arguments='["knee"]', output_order=0, resume=0, cores=2,
           memory_bytes=0, kernel='', begin_ns=time.time_ns() if alive else BASE_NS,
           end_ns=None if alive else BASE_NS + 60 * 10**9, status=None if alive else 1)
    insert('progress', run=1, tasks=n + 4, succeeded=n + 1, failed=1, attempts=n + 4, retried=1,
           cancelled=1, runtime_ns=10**9, user_ns=2 * 10**9, system_ns=10**9, rss_bytes=4096,
           read_bytes=1, written_bytes=2, output_bytes=3)
    d.execute(f'WITH RECURSIVE c(i) AS (SELECT 5 UNION ALL SELECT i + 1 FROM c WHERE i < {n + 4})'
              f' INSERT INTO task SELECT i, i, 1, 1, 1 FROM c' if n else 'SELECT 1')
    d.execute('INSERT INTO attempt (seq, attempt, run, host, slot, start_ns, runtime_ns, outcome, status,'
              ' user_ns, system_ns, rss_bytes, command) SELECT seq, 1, 1, ?, 1,'
              f" {BASE_NS} + seq * 1000000000, 1, 0, 0, 0, 0, 0, 'echo ' || seq FROM task", [HOST])
    for seq, state, attempts in (1, 1, 1), (2, 2, 2), (3, 0, 1), (4, 0, 1):
        insert('task', seq=seq, digest=seq, state=state, attempts=attempts, printed=seq == 1)

    def attempt(seq, n, outcome, status, command, host=HOST):
        insert('attempt', seq=seq, attempt=n, run=1, host=host, slot=seq,
               start_ns=BASE_NS + seq * 10**9, command=command)
        if outcome is not None:
            d.execute('UPDATE attempt SET outcome = ?, status = ?, runtime_ns = 1500000000, user_ns = 1000,'
                      ' system_ns = 500, rss_bytes = 5 << 20, io_bytes = 0, read_bytes = 10,'
                      ' written_bytes = 20, waits = 3, switches = 4, delay_ns = 0, output_bytes = 7'
                      ' WHERE seq = ? AND attempt = ?', (outcome, status, seq, n))

    attempt(1, 1, 0, 0, 'echo "a, b"\n\t\x1b[31m')
    attempt(2, 1, 0, 3, 'false', 'other')
    attempt(2, 2, 2, 15, 'false', 'other')
    attempt(3, 1, None, None, 'sleep 9')
    attempt(4, 1, 3, 15, 'sleep 8')
    for n, (stream, data) in enumerate([(1, b'out\0\n'), (2, b'err\n'), (1, b'more\n')]):
        insert('output', seq=2, n=n, stream=stream, data=data)
    d.commit()
    d.close()
    assert not os.path.exists(path + '-wal')
    return path


def digest(path):
    """What lies there: all files of the folder, by their bytes."""
    folder = os.path.dirname(path)
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(Path(folder).iterdir())}


class Case(unittest.TestCase):
    def out(self, *args, **more):
        r = log(*args, **more)
        self.assertEqual((r.err, r.status), (b'', 0), r)
        return r.out.decode()

    def rows(self, *args):
        return [json.loads(line) for line in self.out('--format', 'json', *args).splitlines()]

    def seqs(self, *args):
        return [row['seq'] for row in self.rows(*args)]

    def refused(self, *args, text=None):
        r = log(*args)
        self.assertEqual((r.out, r.status), (b'', 255), r)
        self.assertTrue(r.err.startswith(b'knee: '), r)
        self.assertEqual(r.err.count(b'\n'), 1, r)
        if text:
            self.assertIn(text, r.err.decode(), r)


class Runs(Case):
    """Journals that knee wrote."""

    def test_ended(self):
        path = run_journal('j', 'echo {}; exit {}', ':::', '0', '3', '0', status=1)
        before = digest(path)
        rows = self.rows(path)
        self.assertEqual([(r['seq'], r['state'], r['exit'], r['command']) for r in rows],
                         [(1, 'succeeded', 0, 'echo 0; exit 0'), (2, 'failed', 3, 'echo 3; exit 3'),
                          (3, 'succeeded', 0, 'echo 0; exit 0')])
        for r in rows:
            self.assertEqual((r['attempt'], r['host'], r['run'], r['outcome'], r['signal'], r['output_bytes'],
                              r['printed']), (1, HOST, 1, 'exited', None, 2, 1), r)
            self.assertGreater(r['runtime_s'], 0)
            self.assertGreater(r['memory_bytes'], 0)
        [run] = self.rows('--runs', path)
        self.assertEqual((run['state'], run['status'], run['tasks'], run['failed'], run['host']),
                         ('ended', 1, 3, 1, HOST))
        self.assertEqual(json.loads(run['arguments'])[1:3], ['--journal', path])
        totals = json.loads(self.out('--totals', '--format', 'json', path))
        self.assertEqual((totals['tasks'], totals['succeeded'], totals['failed'], totals['attempts']),
                         (3, 2, 1, 3))
        self.assertIn('3 tasks: 2 succeeded, 1 failed\n', self.out(path))
        self.assertEqual(digest(path), before)

    def test_ends_other_than_by_a_status(self):
        path = run_journal('j', '--timeout', '0.2', ':::', 'kill -9 $$', 'sleep 50', '/nonesuch/x',
                           status=3)
        rows = self.rows(path)
        self.assertEqual([(r['outcome'], r['exit'], r['signal']) for r in rows],
                         [('signaled', None, 9), ('timed-out', None, 15), ('exited', 127, None)])
        table = self.out(path)
        self.assertRegex(table, r'\bKILL  kill -9')
        self.assertRegex(table, r'\btimeout  sleep 50')
        self.assertRegex(table, r'\b127  /nonesuch/x')

    def test_attempts(self):
        path = run_journal('j', '--retries', '3', 'false', ':::', '1', status=1)
        self.assertEqual([(r['seq'], r['attempt']) for r in self.rows(path)], [(1, 3)])
        self.assertEqual([(r['seq'], r['attempt'], r['state']) for r in self.rows('--attempts', path)],
                         [(1, 1, 'failed'), (1, 2, 'failed'), (1, 3, 'failed')])
        self.assertIn('3 attempts: 3 failed\n', self.out('--attempts', path))

    def test_running_and_then_killed(self):
        folder = scratch()
        path, fifo = os.path.join(folder, 'j'), os.path.join(folder, 'fifo')
        os.mkfifo(fifo)
        with start('--journal', path, '-j3', 'echo {}; eval {}', ':::', f'cat {fifo}', 'true', f'cat {fifo}',
                   stdout=subprocess.DEVNULL) as p:
            wait_for(lambda: os.path.exists(path) and b'1 succeeded, 2 running' in log('--totals', path).out)
            self.assertEqual([(r['seq'], r['state']) for r in self.rows(path)],
                             [(1, 'running'), (2, 'succeeded'), (3, 'running')])
            self.assertEqual(self.seqs('--state', 'running', path), [1, 3])
            [run] = self.rows('--runs', path)
            self.assertEqual((run['state'], run['end'], run['status']), ('running', None, None))
            # The output of a task that waits for its turn.
            self.assertEqual(self.out('--output', '2', path), 'true\n')
            self.refused('--output', '1', path, text='task 1 has not ended')
            os.kill(run['pid'], signal.SIGKILL)
            p.wait()
            before = [Path(path + ending).read_bytes() for ending in ('', '-wal')]
            self.assertEqual([(r['seq'], r['state']) for r in self.rows(path)],
                             [(1, 'interrupted'), (2, 'succeeded'), (3, 'interrupted')])
            self.assertEqual(self.seqs('--state', 'running', path), [])
            self.assertEqual([r['state'] for r in self.rows('--runs', path)], ['died'])
            # A copy without its shared memory, as from a backup.
            other = os.path.join(scratch(), 'copy')
            shutil.copy(path, other)
            shutil.copy(path + '-wal', other + '-wal')
            found = digest(other)
            self.assertEqual(self.seqs('--state', 'interrupted', other), [1, 3])
            self.assertEqual(self.out('--output', '2', other), 'true\n')
            self.assertEqual(digest(other), found)
            self.assertEqual([Path(path + ending).read_bytes() for ending in ('', '-wal')], before)

    def test_a_run_that_writes_is_not_held_up(self):
        path = os.path.join(scratch(), 'j')
        with start('--journal', path, '-j2', 'true', stdin=subprocess.PIPE) as p:
            # Its rows do not go anywhere: the reader of the reader is asleep.
            p.stdin.write(b''.join(b'%d\n' % i for i in range(3000)))
            wait_for(lambda: os.path.exists(path) and len(log('--format', 'csv', path).out) > 100000)
            with start('log', '--format', 'csv', path) as reader:
                wait_state(reader.pid, 'S')
                p.stdin.close()
                p.stdout.read()
                self.assertEqual(p.wait(), 0)
                lines = reader.stdout.read().splitlines()
                self.assertEqual(reader.wait(), 0)
            self.assertEqual(len(lines), len(set(line.split(b',')[0] for line in lines)))
            self.assertEqual(os.listdir(os.path.dirname(path)), ['j'])
            self.assertEqual(len(self.rows(path)), 3000)

    def test_steps(self):
        path = run_journal('j', '--no-memory', 'sleep', ':::', *['0.05'] * 30)
        steps = self.rows('--steps', path)
        self.assertGreaterEqual(len(steps), 1)
        for s in steps:
            self.assertEqual((s['run'], s['work']), (1, 'sleep'), s)
            self.assertGreaterEqual(s['at_once'], 1)
            self.assertTrue(s['reason'], s)
        self.assertIn('AT ONCE', self.out('--steps', path))

    def test_two_runs(self):
        path = run_journal('j', 'exit {}', ':::', '1', '0', status=1)
        r = knee('--journal', path, '--resume-failed', 'exit {}', ':::', '1', '0')
        self.assertEqual(r.status, 1, r)
        self.assertEqual([(r['seq'], r['attempt'], r['run']) for r in self.rows('--attempts', path)],
                         [(1, 1, 1), (1, 2, 2), (2, 1, 1)])
        self.assertEqual(len(self.rows('--runs', path)), 2)
        totals = json.loads(self.out('--totals', '--format', 'json', path))
        self.assertEqual((totals['tasks'], totals['failed'], totals['attempts'], totals['runs']),
                         (2, 1, 3, 2))


class Formats(Case):
    @classmethod
    def setUpClass(cls):
        cls.path = made()

    def test_table(self):
        lines = self.out(self.path).splitlines()
        self.assertEqual(lines[0].split(), 'SEQ STATE HOST START TIME CPU MEMORY EXIT COMMAND'.split())
        self.assertEqual(lines[1].split(), ['1', 'succeeded', HOST, '2026-11-24', '04:13:07', '1.50s',
                                            '0.000s', '5.0M', '0', 'echo', '"a,', r'b"\n\t\x1B[31m'])
        self.assertEqual(lines[3].split(), ['3', 'interrupted', HOST, '2026-11-24', '04:13:09', *'----',
                                            'sleep', '9'])
        # Every column begins or ends where its title does.
        at = lines[0].index('COMMAND')
        self.assertEqual([line[at:] for line in lines[2:5]], ['false', 'sleep 9', 'sleep 8'])
        self.assertEqual(lines[5], '')
        self.assertEqual(lines[6], '4 tasks: 1 succeeded, 1 failed, 2 interrupted')

    def test_csv(self):
        rows = list(csv.DictReader(io.StringIO(self.out('--format', 'csv', self.path), newline='')))
        self.assertEqual([r['seq'] for r in rows], ['1', '2', '3', '4'])
        self.assertEqual(rows[0]['command'], 'echo "a, b"\n\t\x1b[31m')
        self.assertEqual((rows[0]['runtime_s'], rows[0]['start']),
                         ('1.500000000', '2026-11-24T04:13:07.000000+00:00'))
        self.assertEqual((rows[2]['runtime_s'], rows[2]['exit'], rows[2]['signal']), ('', '', ''))
        self.assertEqual((rows[1]['exit'], rows[1]['signal'], rows[1]['outcome']), ('', '15', 'timed-out'))
        self.assertEqual(list(rows[0]), [c for c in self.rows(self.path)[0]])

    def test_json_of_any_bytes(self):
        path = made()
        d = sqlite3.connect(path)
        d.execute("UPDATE attempt SET command = CAST(x'e9ff22c3a9' AS TEXT) WHERE seq = 1")
        d.commit()
        d.close()
        self.assertEqual(self.rows(path)[0]['command'], '\ufffd\ufffd"\u00e9')

    def test_tsv_is_a_joblog(self):
        r = log('--format', 'tsv', self.path)
        lines = r.out.split(b'\n')
        self.assertEqual(lines[0], b'Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand')
        self.assertEqual([line.split(b'\t')[:8] for line in lines[1:3]],
                         [[b'1', b':', b'1795493587.000', b'     1.500', b'0', b'7', b'0', b'0'],
                          [b'2', b'other', b'1795493588.000', b'     1.500', b'0', b'7', b'-1', b'15']])
        # Tasks without a result are none that a resume may leave out.
        self.assertEqual(lines[3:], [b''])

    @unittest.skipUnless(GNU, 'GNU parallel is not installed')
    def test_tsv_as_gnu(self):
        folder = scratch()
        path, theirs = run_journal('j', 'exit {}', ':::', '0', '7', status=1), os.path.join(folder, 'log')
        gnu('--joblog', theirs, '-k', 'exit {}', ':::', '0', '7')
        def fields(data):
            return [re.sub(rb'[\d.]*\d\.\d{3}', b'TIME', line).replace(b' ', b'')
                    for line in sorted(data.splitlines())]
        self.assertEqual(fields(log('--format', 'tsv', path).out), fields(Path(theirs).read_bytes()))

    def test_a_run_goes_on_from_tsv(self):
        path = run_journal('j', 'echo {}; exit {}', ':::', '0', '7', '0', status=1)
        joblog = os.path.join(scratch(), 'joblog')
        Path(joblog).write_bytes(log('--format', 'tsv', path).out)
        r = knee('--joblog', joblog, '--resume', 'echo {}; exit {}', ':::', '0', '7', '0', '4')
        self.assertEqual(r.out, b'4\n', r)

    def test_other_tables(self):
        path = run_journal('j', 'true', ':::', '1')
        for what in '--runs', '--steps', '--totals':
            with self.subTest(what=what):
                names = list(self.rows(what, path)[0]) if what != '--steps' else None
                head = self.out(what, '--format', 'tsv', path).splitlines()[0].split('\t')
                self.assertEqual(head, self.out(what, '--format', 'csv', path).splitlines()[0].split(','))
                if names:
                    self.assertEqual(head, names)

    def test_local_time(self):
        self.assertIn('2026-11-24 09:43:07', self.out(self.path, env={'TZ': 'IST-5:30'}))
        out = self.out('--format', 'csv', self.path, env={'TZ': 'IST-5:30'})
        self.assertIn(',2026-11-24T09:43:07.000000+05:30,', out)

    def test_the_reader_goes(self):
        path = made(20000)
        for ignored in False, True:
            with self.subTest(ignored=ignored):
                trap = "trap '' PIPE; " if ignored else ''
                r = run(['/bin/sh', '-c', f'{trap}"$@" | head -n 1', 'sh', *knee_argv('log', path)])
                self.assertEqual((r.out[:5], r.out.count(b'\n'), r.err, r.status), (b'SEQ  ', 1, b'', 0), r)

    def test_nowhere_to_write(self):
        path = made(20000)
        for args in [path], ['--totals', path], ['--output', '2', path], ['--help']:
            with self.subTest(args=args), open('/dev/full', 'wb') as full:
                r = log(*args, stdout=full)
                self.assertEqual((r.err, r.status), (b'knee: standard output: No space left on device\n', 255))
        r = run(['/bin/sh', '-c', '"$@" >&-', 'sh', *knee_argv('log', path)])
        self.assertEqual((r.err, r.status), (b'knee: standard output: Bad file descriptor\n', 255))


class Terminal(Case):
    def shown(self, path, cols, env=None):
        with Pty('log', path, cols=cols, env=env) as t:
            self.assertEqual(t.finish(), 0)
            return t.data.decode().splitlines()

    def test_width(self):
        path = made()
        d = sqlite3.connect(path)
        d.execute("UPDATE attempt SET command = 'echo ' || replace(hex(zeroblob(100)), '0', '\u00e9')"
                  ' WHERE seq = 1')
        d.commit()
        d.close()
        for cols in 200, 120, 80, 60, 40, 20, 10, 1:
            with self.subTest(cols=cols):
                lines = self.shown(path, cols)
                rows = lines[:lines.index('')]
                self.assertEqual(len(rows), 5, lines)
                if cols >= 10:
                    self.assertLessEqual(max(map(len, rows)), cols, lines)
                self.assertTrue(rows[0].startswith('SEQ'), lines)
                if cols > 20:
                    self.assertIn('COMMAND', rows[0], lines)
                    self.assertTrue(rows[1].endswith('...') or cols > 250, rows[1])
        self.assertTrue(self.shown(path, 80, {'LC_ALL': 'C.UTF-8'})[1].endswith('\u00e9\u2026'))
        self.assertIn('STATE', self.shown(path, 40)[0])
        self.assertNotIn('HOST', self.shown(path, 60)[0])

    def test_not_a_terminal_cuts_nothing(self):
        path = run_journal('j', 'true', ':::', 'x' * 5000)
        self.assertIn('x' * 5000 + '\n', self.out(path))


class Filters(Case):
    @classmethod
    def setUpClass(cls):
        cls.path = made(10)

    def test_state(self):
        for states, want in (('failed', [2]), ('interrupted', [3, 4]), ('running', []),
                             ('succeeded', [1, *range(5, 15)]), ('failed,interrupted', [2, 3, 4]),
                             ('all', list(range(1, 15)))):
            with self.subTest(states=states):
                self.assertEqual(self.seqs('--state', states, self.path), want)
        self.assertIn('1 task: 1 failed\n', self.out('--state=failed', self.path))

    def test_state_of_attempts(self):
        self.assertEqual([(r['seq'], r['attempt']) for r in
                          self.rows('--attempts', '--state', 'failed', self.path)], [(2, 1), (2, 2)])

    def test_a_run_that_goes_on(self):
        path = made(alive=True)
        self.assertEqual([r['state'] for r in self.rows(path)],
                         ['succeeded', 'failed', 'running', 'interrupted'])
        self.assertIn('4 tasks: 1 succeeded, 1 failed, 1 running, 1 interrupted\n',
                      self.out('--totals', path))

    def test_host(self):
        self.assertEqual(self.seqs('--host', 'other', self.path), [2])
        self.assertEqual(self.seqs('--host', 'nobody', self.path), [])
        self.assertEqual(self.out('--host', 'nobody', self.path), '0 tasks\n')

    def test_seq(self):
        for value, want in (('3', [3]), ('2-4', [2, 3, 4]), ('13-', [13, 14]), ('-2', [1, 2]), ('99-', []),
                            ('999999999999999999', [])):
            with self.subTest(value=value):
                self.assertEqual(self.seqs('--seq=' + value, self.path), want)
        self.assertEqual([(r['seq'], r['attempt']) for r in self.rows('--attempts', '--seq=2-3', self.path)],
                         [(2, 1), (2, 2), (3, 1)])

    def test_time(self):
        # Task n started n seconds after 2026-11-24 04:13:06 UTC.
        for args, want in (
                (['--since', '2026-11-24 04:13:19'], [13, 14]),
                (['--since', '2026-11-24T04:13:19.5'], [14]),
                (['--until', '2026-11-24 04:13:08'], [1]),
                (['--since', '2026-11-24T04:13:19Z', '--until', '2026-11-24T05:13:20+01:00'], [13]),
                (['--since', '2026-11-24T00:43:19-0330', '--until', '@1795493600'], [13]),
                (['--since', '@1795493599.5'], [14]),
                (['--since', '2026-11-25'], []), (['--until', '2026-11-25 00:00', '--seq', '14'], [14]),
                (['--since', '1d ago', '--since', '10000d'], list(range(1, 15)))):
            with self.subTest(args=args):
                self.assertEqual(self.seqs(*args, self.path), want)
        r = log('--format', 'json', '--since', '2026-11-24 09:43:19', self.path, env={'TZ': 'IST-5:30'})
        self.assertEqual(len(r.out.splitlines()), 2, r)

    def test_ago(self):
        path = made(alive=True)
        d = sqlite3.connect(path)
        d.execute('UPDATE attempt SET start_ns = ? WHERE seq = 3', [time.time_ns() - 90 * 60 * 10**9])
        d.execute('UPDATE attempt SET start_ns = 1 WHERE seq <> 3')
        d.commit()
        d.close()
        for since, want in ('2h ago', [3]), ('2h', [3]), ('1h ago', []), ('1h29m ago', []), ('1h40m', [3]):
            with self.subTest(since=since):
                self.assertEqual(self.seqs('--since', since, path), want)

    def test_many_rows(self):
        """More than are read at once, and commands that are long: none is lost or comes twice."""
        path = made(9000)
        d = sqlite3.connect(path)
        d.execute("UPDATE attempt SET command = hex(zeroblob(100000)) WHERE seq % 500 = 0")
        d.commit()
        d.close()
        self.assertEqual(self.seqs(path), list(range(1, 9005)))
        self.assertEqual([(r['seq'], r['attempt']) for r in self.rows('--attempts', path)],
                         sorted([(s, 1) for s in range(1, 9005)] + [(2, 2)]))


class Output(Case):
    def test_streams(self):
        r = log('--output', '2', made())
        self.assertEqual((r.out, r.err, r.status), (b'out\0\nmore\n', b'err\n', 0), r)

    def test_refused(self):
        path = made()
        for seq, text in ('1', 'was printed'), ('3', 'has not ended'), ('99', 'has no task 99'):
            self.refused('--output', seq, path, text=text)

    def test_large(self):
        path = made()
        d = sqlite3.connect(path)
        pieces = [os.urandom(300000) for _ in range(12)]
        d.executemany('INSERT INTO output VALUES (2, ?, 1, ?)',
                      [(n + 3, piece) for n, piece in enumerate(pieces)])
        d.commit()
        r = log('--output', '2', path)
        self.assertEqual((r.out, r.status), (b'out\0\nmore\n' + b''.join(pieces), 0))
        # A piece is missing: that is no shorter output.
        d.execute('DELETE FROM output WHERE n = 5')
        d.commit()
        d.close()
        r = log('--output', '2', path)
        self.assertEqual(r.status, 255)
        self.assertIn(b'output of task 2 is missing', r.err)


class Bad(Case):
    def test_files(self):
        good = made()
        folder = scratch()

        def file(name, data):
            path = os.path.join(folder, name)
            Path(path).write_bytes(data)
            return path

        def changed(name, sql):
            path = os.path.join(folder, name)
            shutil.copy(good, path)
            d = sqlite3.connect(path)
            d.executescript(sql)
            d.close()
            return path

        data = Path(good).read_bytes()
        at = data.index(b'sleep 9')
        page = at - at % 4096
        cases = [
            (file('empty', b''), 'is empty'),
            (file('text', b'Seq\tHost\n' * 1000), 'is no journal'),
            (file('short', data[:90]), 'is no journal'),
            (file('cut', data[:len(data) - 4096]), 'cut short'),
            (file('cut_in_a_page', data[:len(data) - 100]), 'cut short'),
            (file('broken', data[:page] + b'\xff' * 200 + data[page + 200:]), 'damaged'),
            (changed('newer', 'PRAGMA user_version = 2'), 'newer version of knee: its format is 2'),
            (changed('version0', 'PRAGMA user_version = 0'), 'is no journal'),
            (changed('other', 'PRAGMA application_id = 7'), 'is no journal'),
            (changed('lacking', 'DROP TABLE attempt'), 'damaged: no such table: attempt'),
            (changed('column', 'ALTER TABLE attempt RENAME COLUMN host TO h'), 'damaged: no such column'),
        ]
        d = sqlite3.connect(os.path.join(folder, 'foreign'))
        d.execute('CREATE TABLE task (seq)')
        d.close()
        cases.append((os.path.join(folder, 'foreign'), 'is no journal'))
        before = digest(cases[0][0])
        for path, text in cases:
            with self.subTest(path=os.path.basename(path)):
                self.refused(path, text=text)
                self.refused('--format', 'json', path, text=text)
        self.assertEqual(digest(cases[0][0]), before)

    def test_what_is_no_file(self):
        folder = scratch()
        os.mkfifo(os.path.join(folder, 'fifo'))
        self.refused(os.path.join(folder, 'none'), text='No such file')
        self.refused(os.path.join(folder, 'fifo'), text='no regular file')
        self.refused(folder, text='no regular file')
        self.refused('/dev/null', text='no regular file')
        self.assertEqual(os.listdir(folder), ['fifo'])

    def test_what_was_learnt_is_no_journal(self):
        home = scratch()
        os.mkdir(os.path.join(home, '.cache'))
        knee('sleep', ':::', '0.1', '0.1', '0.1', env={'HOME': home})
        path = os.path.join(home, '.cache/knee/learnt.db')
        self.assertTrue(os.path.exists(path))
        self.refused(path, text='is no journal')

    def test_any_damage(self):
        """Whatever bytes are changed: an error or an answer, and never anything else."""
        import random
        seed = int(os.environ.get('KNEE_SEED') or time.time())
        data = Path(made(300)).read_bytes()
        path = os.path.join(scratch(), 'j')
        print(f'# seed {seed}')
        for i in range(25):
            rng = random.Random(seed * 1000 + i)
            bad = bytearray(data)
            for _ in range(rng.choice([1, 4, 64])):
                bad[rng.randrange(100, len(bad))] = rng.randrange(256)
            Path(path).write_bytes(bad)
            for args in ['--format', 'json'], ['--totals'], ['--runs'], ['--attempts'], ['--output', '2']:
                r = log(*args, path)
                self.assertIn(r.status, (0, 255), (seed, i, args, r))
                self.assertEqual(r.status == 255, b'knee: ' in r.err, (seed, i, args, r))
            self.assertEqual(Path(path).read_bytes(), bytes(bad), (seed, i))

    def test_usage(self):
        path = made()
        for args, text in (
                ([], 'no journal'), (['--totals'], 'no journal'), ([path, path], 'one journal'),
                (['--format', 'xml', path], "'xml': not a format"), (['--state', 'fine', path], "'fine'"),
                (['--state', 'failed,', path], "'': not a state"), (['--seq', '0', path], '--seq'),
                (['--seq', '5-2', path], '--seq'), (['--seq', '-', path], '--seq'),
                (['--seq', '1-2x', path], '--seq'), (['--output', '0', path], '--output'),
                (['--nonesuch', path], '--nonesuch: no option of knee log'), (['-x', path], '-x: no option'),
                (['--seq'], 'needs a value'), (['--runs', '--steps', path], 'do not go together'),
                (['--runs', '--state', 'failed', path], 'not with --runs'),
                (['--output', '2', '--format', 'csv', path], '--format')):
            with self.subTest(args=args[:-1]):
                self.refused(*args, text=text)
        for when in ('tomorrow', '', '12', '2026-13-01', '2026-02-30', '2026-11-24 25:00', '2026-11-24T',
                     '16:61', '@', '@x', '1x ago', ' ago', '2026-11-24 16:30 +1', '2026-11-24+01:00', '9999999999999d ago'):
            with self.subTest(when=when):
                self.refused('--since', when, path, text='not a time')

    def test_help(self):
        r = log('--help')
        self.assertEqual((r.err, r.status), (b'', 0))
        self.assertTrue(r.out.startswith(b'Usage: knee log '), r)
        self.assertLessEqual(max(map(len, r.out.splitlines())), 90)
        manual = (ROOT / 'man/knee-log.1').read_text()
        for name in re.findall(rb'--([\w-]+)', r.out):
            self.assertIn(f'Fl Fl {name.decode()}', manual)


class ReadOnly(Case):
    def test_medium(self):
        """A journal, one with a log and one with a log alone, where nothing can be written."""
        ended = made()
        crashed = os.path.join(scratch(), 'j')
        with start('--journal', crashed, '-j2', 'sleep {}', ':::', '0.01', '100') as p:
            wait_for(lambda: os.path.exists(crashed) and b'1 succeeded, 1 running' in log('--totals', crashed).out)
            os.kill(self.rows('--runs', crashed)[0]['pid'], signal.SIGKILL)
            p.wait()
        with small_tmpfs('4m') as folder:
            shutil.copy(ended, os.path.join(folder, 'ended'))
            for name, endings in ('both', ['', '-wal', '-shm']), ('alone', ['', '-wal']):
                for ending in endings:
                    shutil.copy(crashed + ending, os.path.join(folder, name + ending))
            subprocess.run(['mount', '-o', 'remount,ro', folder], check=True)
            before = digest(os.path.join(folder, 'ended'))
            self.assertEqual(self.seqs(os.path.join(folder, 'ended')), [1, 2, 3, 4])
            for name in 'both', 'alone':
                with self.subTest(name=name):
                    self.assertEqual([(r['seq'], r['state']) for r in self.rows(os.path.join(folder, name))],
                                     [(1, 'succeeded'), (2, 'interrupted')])
            self.assertEqual(digest(os.path.join(folder, 'ended')), before)

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which('setpriv'), 'needs root and setpriv')
    def test_another_user(self):
        """Who may read and not write reads a run that goes on, and is told when they may not."""
        folder = scratch()
        os.chmod(folder, 0o755)
        path = os.path.join(folder, 'j')
        nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
        for up in (folder, os.path.dirname(folder), os.path.dirname(os.path.dirname(folder))):
            os.chmod(up, 0o755)
        program = os.path.join(folder, 'knee')
        shutil.copy(KNEE, program)
        if run([*nobody, program, '--version']).status != 0:
            self.skipTest('nobody cannot run the program here')
        with start('--journal', path, '-j2', 'sleep {}', ':::', '0.01', '100'):
            wait_for(lambda: os.path.exists(path) and b'1 succeeded, 1 running' in log('--totals', path).out)
            for ending in '', '-wal', '-shm':
                os.chmod(path + ending, 0o644)
            r = run([*nobody, program, 'log', '--totals', path])
            self.assertEqual((r.err, r.status), (b'', 0), r)
            self.assertIn(b'2 tasks: 1 succeeded, 1 running', r.out)
            os.chmod(path, 0o600)
            r = run([*nobody, program, 'log', path])
            self.assertEqual((r.out, r.status), (b'', 255), r)
            self.assertIn(b'Permission denied', r.err)

    def test_a_file_that_changes_while_it_is_read(self):
        """Somebody opens, changes and closes it again and again: a look is of one moment, and none
        takes what it finds for damage."""
        n = 150000 if not (VALGRIND or SANITIZED) else 5000
        path = made(n)
        end, wrote = threading.Event(), threading.Event()
        changed = 2000
        pauses = [0.02]

        def write():
            k = 0
            while not end.wait(pauses[-1]):
                k += 1
                d = sqlite3.connect(path, timeout=60)
                d.execute('UPDATE attempt SET runtime_ns = ?, command = ? WHERE seq > ?',
                          [k * 10**6, 'x' * (k % 50), n + 4 - changed])
                d.commit()
                d.close()
                wrote.set()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            wrote.wait(60)
            for i in range(8):
                # On a busy machine no look may fall between two changes: that is said, and then there is more room.
                while b'it changes all the time: try again later' in (
                        r := log('--format', 'json', '--totals', '--seq', '5-', path)).err:
                    pauses.append(2 * pauses[-1])
                self.assertEqual((r.err, r.status), (b'', 0), r)
                [totals] = map(json.loads, r.out.splitlines())
                of_changed = round(totals['runtime_s'] * 10**9) - (n - changed)
                self.assertEqual((totals['tasks'], of_changed % (changed * 10**6)), (n, 0), totals)
        finally:
            end.set()
            writer.join()

    def test_runs_that_begin_and_end_while_it_is_read(self):
        path = os.path.join(scratch(), 'j')
        runs = 12

        def write():
            for i in range(1, runs + 1):
                r = knee('--journal', path, '--resume', 'true', input=b''.join(b'%d\n' % k for k in range(20 * i)))
                problems.extend([r] if r.status else [])

        problems, seen = [], 0
        writer = threading.Thread(target=write)
        writer.start()
        try:
            while writer.is_alive():
                r = log('--format', 'json', path)
                if r.status and (b'is empty' in r.err or b'No such file' in r.err) and seen == 0:
                    continue
                self.assertEqual((r.err, r.status), (b'', 0), r)
                seqs = [json.loads(line)['seq'] for line in r.out.splitlines()]
                self.assertEqual(seqs, list(range(1, len(seqs) + 1)))
                self.assertGreaterEqual(len(seqs), seen)
                seen = len(seqs)
        finally:
            writer.join()
        self.assertEqual(problems, [])
        self.assertEqual(self.seqs(path), list(range(1, 20 * runs + 1)))

    def test_names(self):
        path = made()
        for name in 'a b', 'q?x=1', 'p%41', 'h#1', ':memory:', "quo'te", 'caf\u00e9', '-dash', 'file:x':
            with self.subTest(name=name):
                other = os.path.join(os.path.dirname(path), name)
                shutil.copy(path, other)
                self.assertIn(b'4 tasks', log('--totals', './' + name, cwd=os.path.dirname(path)).out)
                self.assertIn(b'4 tasks', log('--totals', '--', name, cwd=os.path.dirname(path)).out)
        link = os.path.join(scratch(), 'link')
        os.symlink(path, link)
        self.assertIn(b'4 tasks', log('--totals', link).out)
        self.assertIn(b'4 tasks', log('--totals', '/' + path).out)


class Scale(Case):
    def test_a_million(self):
        n = 1000000 if not (VALGRIND or SANITIZED) else 50000
        path = made(n)
        for args in ['--totals'], ['--state', 'failed'], ['--totals', '--state', 'succeeded'], \
                ['--seq', '999000-']:
            r = log(*args, path, timeout=120)
            print(f'# {n} tasks: knee log {" ".join(args)}: {r.seconds:.3f} s')
            self.assertEqual((r.err, r.status), (b'', 0), r)
            if args == ['--totals']:
                self.assertIn(f'{n + 4:,} tasks: {n + 1:,} succeeded, 1 failed, 2 interrupted'.encode(), r.out)
            elif args == ['--state', 'failed']:
                self.assertEqual(r.out.count(b' failed '), 1, r)


@unittest.skipUnless(shutil.which('sqlite3'), 'sqlite3 is not installed')
class Sqlite(Case):
    def test_queries(self):
        path = run_journal('j', 'sleep {}', ':::', '0.05', '0.01', 'x', status=1)

        def ask(sql):
            r = run(['sqlite3', path, sql])
            self.assertEqual((r.err, r.status), (b'', 0), r)
            return r.out.decode().splitlines()

        slowest = ask('SELECT seq, runtime_ns / 1e9, command FROM attempt ORDER BY runtime_ns DESC LIMIT 10')
        self.assertEqual(slowest[0].split('|')[::2], ['1', 'sleep 0.05'])
        self.assertEqual(len(slowest), 3)
        [host] = ask('SELECT host, sum(user_ns + system_ns) / 1e9, sum(state = 2) FROM attempt'
                     ' JOIN task USING (seq) GROUP BY host')
        self.assertEqual(host.split('|')[::2], [HOST, '1'])


if __name__ == '__main__':
    unittest.main()
