# SPDX-License-Identifier: MIT
"""--results: the folders and the rows, as GNU parallel's; what goes wrong while they are written."""

import csv
import io
import json
import re
import sqlite3
import sys

from kneetest import *

HEAD = ['Seq', 'Host', 'Starttime', 'JobRuntime', 'Send', 'Receive', 'Exitval', 'Signal', 'Command']

csv.field_size_limit(1 << 30)


def tree(folder):
    """{path: content} of all files below."""
    found = {}
    for at, _, names in os.walk(os.fsencode(folder)):
        for name in names:
            path = os.path.join(at, name)
            with open(path, 'rb') as f:
                found[os.path.relpath(path, os.fsencode(folder))] = f.read()
    return found


class Base(unittest.TestCase):
    def setUp(self):
        self.folder = scratch()

    def path(self, name):
        return os.path.join(self.folder, name)

    def knee(self, results, *args, **more):
        return knee('--results', results, *args, cwd=self.folder, **more)

    def read(self, name):
        with open(self.path(name), 'rb') as f:
            return f.read()

    def rows(self, name, delimiter=','):
        """The first row, and a list of dicts; bytes as latin-1 has them."""
        text = self.read(name).decode('latin-1')
        first, *rest = list(csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True))
        for row in rest:
            self.assertEqual(len(row), len(first), row)
        return first, [dict(zip(first, row)) for row in rest]


class Folders(Base):
    def same(self, name, *args, **more):
        """The same files as GNU parallel's."""
        r = self.knee(name, *args, **more)
        mine = tree(self.folder)
        other = scratch()
        theirs = gnu('--results', name, *args, cwd=other, **more)
        self.assertEqual(mine, tree(other), r)
        self.assertEqual((r.out, r.status), (theirs.out, theirs.status))
        return r, mine

    @unittest.skipUnless(GNU, 'GNU parallel is not installed')
    def test_as_gnu(self):
        for args in [
            ('echo out {}; echo err {} >&2', ':::', 'a', 'b'),
            ('echo', ':::', 'a', 'b', ':::', 'c', 'd/e', ''),
            ('--header', ':', 'echo', '{x}', '{y}', ':::', 'x', 'a', 'b', ':::', 'y', '1', '2'),
            ('--link', 'echo', ':::', 'a', 'b', ':::', '1', '2'),
            ('-N2', 'echo', ':::', 'a', 'b', 'c'),
            ('-N3', 'echo', ':::', 'a', 'b', ':::', 'c', 'd'),
            ('-C', ',', 'echo', ':::', 'a,b', 'c,d'),
            ('--retries', '2', 'echo {}; false', ':::', 'a'),
            ('exit {}', ':::', '1', '0', '3'),
            ('-u', 'echo {}', ':::', 'a'),
        ]:
            with self.subTest(args=args):
                self.setUp()
                self.same('d', *args)

    @unittest.skipUnless(GNU, 'GNU parallel is not installed')
    def test_names_as_gnu(self):
        for name in ['d/', 'x/y/d', 'p_{}', 'p/{1}-{#}', 'p/{1}.{2}/', '{/}', 'p/{}/']:
            with self.subTest(name=name):
                self.setUp()
                self.same(name, 'echo {}; echo x >&2', ':::', 'a', 'b/c', ':::', '1')

    def test_nothing_is_printed(self):
        r = self.knee('d', 'echo out; echo err >&2', ':::', 'a')
        self.assertEqual((r.out, r.err, r.status), (b'', b'', 0))

    def test_odd_values(self):
        values = ['a b', 'q"\'', 'new\nline', 'back\\slash', '.', '..', '*', '-n', b'\xff\xfe']
        r = self.knee('d', 'printf %s {}', ':::', *values)
        self.assertEqual((r.err, r.status), (b'', 0))
        got = tree(self.path('d'))
        want = {}
        for i, value in enumerate(os.fsencode(v) for v in values):
            name = value.replace(b'\\', b'\\\\')
            name = b'\\' + name if name in (b'.', b'..') else name
            want[b'1/' + name + b'/stdout'] = value
            want[b'1/' + name + b'/stderr'] = b''
            want[b'1/' + name + b'/seq'] = b'%d' % (i + 1)
        self.assertEqual(got, want)

    def test_long_value(self):
        r = self.knee('d', 'printf', ':::', 'x' * 300, 'x' * 255)
        self.assertEqual(r.status, 0)
        got = tree(self.path('d'))
        self.assertEqual(got[b'1/%s/%s/stdout' % (b'x' * 255, b'x' * 45)], b'x' * 300)
        self.assertEqual(got[b'1/%s/stdout' % (b'x' * 255)], b'x' * 255)

    def test_last_attempt(self):
        self.knee('d', '--retries', '3', ': {}; echo x >>n; wc -l <n; test $(wc -l <n) = 3', ':::', 'a')
        self.assertEqual(self.read('d/1/a/stdout').strip(), b'3')

    def test_time_out(self):
        r = self.knee('d', '--timeout', '1', 'echo begun; sleep 30; :', ':::', 'a')
        self.assertEqual(r.status, 1)
        self.assertEqual(self.read('d/1/a/stdout'), b'begun\n')

    def test_old_output_goes(self):
        self.knee('d', 'echo long long', ':::', 'a')
        self.knee('d', 'printf %s', ':::', 'a')
        self.assertEqual(self.read('d/1/a/stdout'), b'a')

    def test_big(self):
        self.knee('d', '-j4', 'head -c 3000000 /dev/zero; head -c 2000000 /dev/zero >&2; : {}', ':::', *'abcd')
        for c in 'abcd':
            self.assertEqual(self.read(f'd/1/{c}/stdout'), bytes(3000000))
            self.assertEqual(self.read(f'd/1/{c}/stderr'), bytes(2000000))

    def test_lines(self):
        """With --lb the lines are printed, too."""
        r = self.knee('d', '--lb', '-j2', 'echo {}; echo e{} >&2; printf x', ':::', 'a', 'b')
        self.assertEqual(sorted(r.out.replace(b'x', b'').split()), [b'a', b'b'])
        self.assertEqual(sorted(r.err.split()), [b'ea', b'eb'])
        for c in 'ab':
            self.assertEqual(self.read(f'd/1/{c}/stdout'), b'%s\nx' % c.encode())
            self.assertEqual(self.read(f'd/1/{c}/stderr'), b'e%s\n' % c.encode())

    def test_not_writable(self):
        with open(self.path('d'), 'w'):
            pass
        r = self.knee('d', 'echo', ':::', 'a', 'b')
        self.assertEqual((r.out, r.status), (b'', 255))
        self.assertIn(b'knee: --results: d', r.err)
        self.assertIn(b'Not a directory', r.err)

    def test_full_disk(self):
        with small_tmpfs() as small:
            r = self.knee(os.path.join(small, 'd'), '-j1', 'head -c 3000000 /dev/zero; : {}', ':::', 'a', 'b')
            self.assertEqual(r.status, 255)
            self.assertIn(b'1/a/stdout: No space left on device', r.err)
            self.assertFalse(os.path.exists(os.path.join(small, 'd/1/b')))

    def test_journal(self):
        args = ('--journal', 'j', 'echo {} >>runs; echo {}; test -e ok', ':::', 'a', 'b')
        self.assertEqual(self.knee('d', *args).status, 2)
        for name in ('ok', 'd/1/a/seq'):
            with open(self.path(name), 'w'):
                pass
        r = self.knee('d', '--resume-failed', *args)
        self.assertEqual((r.out, r.err, r.status), (b'', b'', 0))
        self.assertEqual(self.read('d/1/a/seq'), b'1')
        r = self.knee('d', '--resume', *args)
        self.assertEqual((r.status, self.read('runs').count(b'\n')), (0, 4))

    def test_dry_run(self):
        r = self.knee('d', '--dry-run', 'echo', ':::', 'a')
        self.assertEqual((r.out, r.status, tree(self.folder)), (b'echo a\n', 0, {}))


class Rows(Base):
    def same(self, name, *args, delimiter=',', receive=True):
        """The same rows as GNU parallel's, but for the times. Receive counts both streams here."""
        r = self.knee(name, '-k', *args)
        first, mine = self.rows(name, delimiter)
        theirs = gnu('-k', '--results', name, *args, cwd=self.folder)
        want, rows = self.rows(name, delimiter)
        for row in [*mine, *rows]:
            self.assertRegex(row.pop('Starttime'), r'^\d{10}\.\d{3}$')
            self.assertRegex(row.pop('JobRuntime'), r'^\d+\.\d{3}$')
            row.pop('Receive')
        self.assertEqual((first, mine), (want, rows))
        self.assertEqual((r.out, r.status), (theirs.out, theirs.status))

    @unittest.skipUnless(GNU, 'GNU parallel is not installed')
    def test_as_gnu(self):
        many = [
            ('echo {}; exit {}', ':::', '0', '1', '7'),
            ('echo', ':::', 'a', 'b', ':::', 'c,"d"', ''),
            ('printf "x\\ny"; echo "e\\"rr" >&2; :', ':::', 'a'),
            ('--header', ':', 'echo', '{x}', ':::', 'x', 'a', ':::', 'y', '1'),
            ('-N2', 'echo', ':::', 'a', 'b', 'c', 'd'),
            ('echo x; kill -9 $$; :', ':::', 'a'),
            ('--timeout', '1', 'sleep', ':::', '20'),
            ('--retries', '2', 'echo {}; false', ':::', 'x'),
        ]
        for args in many:
            for name, delimiter in (('o.csv', ','), ('o.tsv', '\t')):
                with self.subTest(args=args, name=name):
                    self.same(name, *args, delimiter=delimiter)

    def test_fields(self):
        r = self.knee('o.csv', 'printf "1,\\"2\\n3"; printf "e\\r" >&2; exit 3; :', ':::', 'a b')
        self.assertEqual((r.out, r.err, r.status), (b'', b'', 1))
        first, rows = self.rows('o.csv')
        self.assertEqual(first, [*HEAD, 'V1', 'Stdout', 'Stderr'])
        row = rows[0]
        self.assertEqual((row['Seq'], row['Host'], row['Send'], row['Receive']), ('1', ':', '0', '8'))
        self.assertEqual((row['Exitval'], row['Signal'], row['V1']), ('3', '0', 'a b'))
        self.assertEqual((row['Stdout'], row['Stderr']), ('1,"2\n3', 'e\r'))

    def test_odd_values(self):
        values = ['', ',', '"', '""', 'new\nline', '\r', ' blank ', b'\xff', '\t']
        self.knee('o.csv', 'printf %s {}', ':::', *values)
        _, rows = self.rows('o.csv')
        want = [os.fsencode(v).decode('latin-1') for v in values]
        self.assertEqual([row['V1'] for row in rows], want)
        self.assertEqual([row['Stdout'] for row in rows], want)

    def test_ragged(self):
        """Rows are as wide as the first line: what is missing is empty, what is too much shares a column."""
        self.knee('o.csv', '-C', ',', 'echo', ':::', 'a,b', 'c', 'd,e,f')
        first, rows = self.rows('o.csv')
        self.assertEqual(first[9:-2], ['V1', 'V2'])
        self.assertEqual([(r['V1'], r['V2']) for r in rows], [('a', 'b'), ('c', ''), ('d', 'e f')])

    def test_order(self):
        args = ('-j3', 'sleep {}', ':::', '0.6', '0.3', '0')
        self.knee('o.csv', '-k', *args)
        self.assertEqual([r['Seq'] for r in self.rows('o.csv')[1]], ['1', '2', '3'])
        self.knee('o.csv', '--unordered', *args)
        self.assertEqual([r['Seq'] for r in self.rows('o.csv')[1]], ['3', '2', '1'])

    def test_no_tasks(self):
        r = self.knee('o.csv', 'echo', ':::')
        self.assertEqual((r.status, self.read('o.csv')), (0, b''))

    def test_last_attempt(self):
        self.knee('o.csv', '--retries', '3', ': {}; echo x >>n; wc -l <n; test $(wc -l <n) = 3', ':::', 'a')
        row, = self.rows('o.csv')[1]
        self.assertEqual((row['Stdout'].strip(), row['Exitval']), ('3', '0'))

    def test_not_started(self):
        self.knee('o.csv', '-q', './none', ':::', 'a')
        row, = self.rows('o.csv')[1]
        self.assertEqual((row['Exitval'], row['Signal']), ('127', '0'))

    def test_big(self):
        """Both streams of a task are far larger than what is kept in memory, and in pieces."""
        command = ('for i in 1 2 3 4 5 6; do head -c 1000000 /dev/zero | tr "\\0" "\\""; '
                   'head -c 500000 /dev/zero | tr "\\0" e >&2; done; : {}')
        code = ('import os, resource, sys; pid = os.fork()\n'
                'if pid == 0: os.execv(sys.argv[1], sys.argv[1:])\n'
                'status = os.wait4(pid, 0); print(status[2].ru_maxrss)')
        for order in ('-k', '--unordered'):
            r = run([sys.executable, '-c', code, *knee_argv('--results', 'o.csv', order, '-j3', command,
                     ':::', *'abcdef')], cwd=self.folder)
            _, rows = self.rows('o.csv')
            self.assertEqual(len(rows), 6)
            for row in rows:
                self.assertEqual(row['Stdout'].count('"'), 6000000)
                self.assertEqual(len(row['Stdout']), 6000000)
                self.assertEqual(row['Stderr'], 'e' * 3000000)
            if not SANITIZED and not VALGRIND:
                self.assertLess(int(r.out), 30000, 'KiB')

    def test_stdout(self):
        r = self.knee('-.csv', 'echo', ':::', 'a')
        self.assertTrue(r.out.startswith(b'Seq,'), r)
        self.assertEqual(r.out.count(b'"a\n"'), 1)
        r = run(['sh', '-c', '"$@" | head -c 10; exit 0', 'sh',
                 *knee_argv('--results', '-.csv', 'head -c 9999999 /dev/zero; :', ':::', 'a', 'b')])
        self.assertEqual((r.out, r.err), (b'Seq,Host,S', b''))

    def test_json(self):
        r = self.knee('o.json', 'printf "\\303\\244\\377\\n\\""; echo err >&2; exit 2; :', ':::', 'a"\t', ':::', b'\xff')
        self.assertEqual((r.out, r.err, r.status), (b'', b'', 1))
        row, = map(json.loads, self.read('o.json').splitlines())
        self.assertEqual(list(row), [*HEAD, 'V', 'Stdout', 'Stderr'])
        self.assertEqual((row['Seq'], row['Exitval'], row['V']), (1, 2, ['a"\t', '\ufffd']))
        self.assertEqual((row['Stdout'], row['Stderr']), ('ä\ufffd\n"', 'err\n'))

    def test_json_pieces(self):
        """A character that comes in two pieces is one."""
        self.knee('o.json', "printf 'a\\303'; sleep 0.1; printf '\\244b'; printf '\\342\\202'; :", ':::', 'x')
        row, = map(json.loads, self.read('o.json').splitlines())
        self.assertEqual(row['Stdout'], 'aäb\ufffd\ufffd')
        self.knee('o.json', "printf '\\342'; echo x >&2; sleep 0.1; printf '\\202'; sleep 0.1; printf '\\254'; :", ':::', 'x')
        row, = map(json.loads, self.read('o.json').splitlines())
        self.assertEqual((row['Stdout'], row['Stderr']), ('€', 'x\n'))

    def test_halt(self):
        """As in a job log: what a stop ended has no row."""
        self.knee('o.csv', '-j2', '--halt', 'now,fail=1', 'sleep {}; exit 5', ':::', '0.2', '30', '30')
        self.assertEqual([(r['Seq'], r['Exitval']) for r in self.rows('o.csv')[1]], [('1', '5')])

    def test_not_writable(self):
        r = self.knee('none/o.csv', 'echo x >>runs; :', ':::', 'a')
        self.assertEqual((r.out, r.status), (b'', 255))
        self.assertEqual(r.err, b'knee: --results: none/o.csv: No such file or directory\n')
        self.assertFalse(os.path.exists(self.path('runs')))

    def test_same_file(self):
        with open(self.path('in.csv'), 'w') as f:
            f.write('a\n')
        r = self.knee('in.csv', '-a', 'in.csv', 'echo')
        self.assertEqual((r.status, self.read('in.csv')), (255, b'a\n'))
        self.assertIn(b'in.csv', r.err)

    def test_lines(self):
        r = self.knee('o.csv', '--lb', 'echo', ':::', 'a')
        self.assertEqual(r.status, 255)
        self.assertIn(b'--results o.csv: ', r.err)

    def test_inputs_not_known(self):
        args = ('--joblog', 'log', 'exit {}', ':::', '1')
        self.knee('o.csv', *args)
        before = self.read('o.csv')
        r = self.knee('o.csv', '--retry-failed', *args)
        self.assertEqual((r.status, self.read('o.csv')), (255, before))
        self.assertIn(b'use --resume-failed, or --journal', r.err)

    def test_slow_reader(self):
        """Rows wait in the spill file, not in memory, and time-outs go on."""
        with start('--results', '-.csv', '-j2', '--timeout', '1', 'head -c 20000000 /dev/zero; sleep 30; :',
                   ':::', 'a', 'b') as p:
            wait_descendants(p.pid, 2, named='sleep')
            wait_for(lambda: not [d for d in descendants(p.pid) if command_of(d) == 'sleep'], what='time-outs')
            peak = max(int(re.search(r'VmHWM:\s+(\d+)', open(f'/proc/{pid}/status').read())[1])
                       for pid in [p.pid, *descendants(p.pid)])
            data = p.stdout.read()
            self.assertEqual(p.wait(), 2)
        if not SANITIZED and not VALGRIND:
            self.assertLess(peak, 30000, 'KiB')
        self.assertEqual(data.count(b'\0'), 40000000)
        self.assertEqual(data.count(b',-1,15,'), 2)

    def test_full_disk(self):
        with small_tmpfs() as small:
            path = os.path.join(small, 'o.csv')
            r = self.knee(path, '-j1', 'echo {} >>runs; head -c 1500000 /dev/zero; :', ':::', *'abcdef')
            self.assertEqual(r.status, 255)
            self.assertEqual(r.err.count(b'\n'), 1)
            self.assertIn(b'knee: --results: %s: No space left on device' % path.encode(), r.err)
            self.assertLess(self.read('runs').count(b'\n'), 5)

    def test_joblog(self):
        """Going on from a job log: rows are appended, and what is no whole row is cut off before."""
        for name in ('o.csv', 'o.tsv', 'o.json'):
            args = ('--joblog', 'log' + name, 'echo "{}\n"', ':::', 'a', 'b')
            self.knee(name, *args)
            whole = self.read(name)
            with open(self.path(name), 'ab') as f:
                f.write(b'3,:,"half a\nrow' if name != 'o.json' else b'{"Seq": 3, "Stdo')
            r = self.knee(name, '--resume', *args, 'c')
            self.assertEqual((r.err, r.status), (b'', 0))
            self.assertTrue(self.read(name).startswith(whole))
            if name == 'o.json':
                seqs = [str(json.loads(row)['Seq']) for row in self.read(name).splitlines()]
            else:
                seqs = [r['Seq'] for r in self.rows(name, ',' if name == 'o.csv' else '\t')[1]]
            self.assertEqual(seqs, ['1', '2', '3'])

    def test_journal(self):
        """A run that is killed at any moment and resumed has each row once."""
        args = ('--journal', 'j', '-j3', 'head -c 100000 /dev/zero | tr "\\0" {}; test {} != 5 || test -e ok || '
                'kill -9 $(ps -o ppid= -p $PARALLEL_PID) $PARALLEL_PID; :', ':::', *'123456789')
        r = self.knee('o.csv', *args, may_leave=True)
        with open(self.path('ok'), 'w'):
            pass
        with open(self.path('o.csv'), 'ab') as f:
            f.write(b'half a row')
        r = self.knee('o.csv', '--resume', *args)
        self.assertEqual((r.out, r.err, r.status), (b'', b'', 0))
        _, rows = self.rows('o.csv')
        self.assertEqual([r['Seq'] for r in rows], list('123456789'))
        for row in rows:
            self.assertEqual(row['Stdout'], row['Seq'] * 100000)
        with sqlite3.connect(self.path('j')) as db:
            self.assertEqual(db.execute('SELECT count(*) FROM task WHERE printed').fetchone(), (9,))


if __name__ == '__main__':
    unittest.main()
