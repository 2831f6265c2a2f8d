# SPDX-License-Identifier: MIT
"""The tasks' bytes on stdout and stderr: tags, colours, files, slow and broken readers."""

import fcntl
import re
import socket

from kneetest import *

COLOR = re.compile(rb'\033\[(38;5;\d+)?m')
TAGGED = [
    ['printf "a\\nb"', ':::', '1', '2', '3'],
    ['printf ""', ':::', '1', '2'],
    ['printf "\\n"', ':::', '1', '2'],
    ['printf "x\\n\\ny\\0z\\n"', ':::', '1'],
    ['printf "%s" {}', ':::', '', 'a b', 'x\ty'],
    ['echo {2}', ':::', '1', '2', ':::', '3'],
    ['seq 20000; echo', ':::', '1', '2'],
]


class Tag(unittest.TestCase):
    def same(self, *args, input=b''):
        ours, theirs = knee('-k', *args, input=input), gnu('-k', *args, input=input)
        self.assertEqual((ours.out, ours.err, ours.status), (theirs.out, theirs.err, theirs.status))

    def test_as_gnu_parallel(self):
        for args in TAGGED:
            with self.subTest(args=args):
                self.same('--tag', *args)
                self.same('--tag', '-v', *args)

    def test_tagstring_as_gnu_parallel(self):
        for tag in ('x{}y', '', 't\\t{}', '{#}', 'two\nlines'):
            with self.subTest(tag=tag):
                self.same('--tagstring', tag, 'echo x', ':::', '1', '2')

    def test_newline_in_the_tag(self):
        self.same('--tag', '-0', 'echo x', input=b'a\nb\0c\0')

    def test_both_streams(self):
        r = knee('--tag', 'echo out; printf "a\\nb" >&2; echo', ':::', '1', '2')
        self.assertEqual(r.out, b'1\tout\n1\t1\n2\tout\n2\t2\n')
        self.assertEqual(r.err, b'1\ta\n1\tb2\ta\n2\tb')

    def test_line_buffered(self):
        r = knee('--lb', '--tag', '-j4', 'for i in 1 2 3; do echo $i; sleep 0.0{}; done; printf end; echo {}',
                 ':::', '1', '2', '3', '4')
        lines = r.out.splitlines()
        for task in (b'1', b'2', b'3', b'4'):
            self.assertEqual([line for line in lines if line.startswith(task + b'\t')],
                             [task + b'\t' + what for what in (b'1', b'2', b'3', b'end' + task)])
        self.assertEqual(len(lines), 16)

    def test_ungrouped_has_no_tag(self):
        self.assertEqual(knee('-u', '--tag', 'echo', ':::', '1').out, b'1\n')

    def test_large_lines(self):
        # The line comes in many pieces: one tag.
        r = knee('--tag', 'head -c 1000000 /dev/zero | tr "\\0" x; echo; echo', ':::', '1')
        self.assertEqual(r.out, b'1\t' + b'x' * 1000000 + b'\n1\t1\n')


class Color(unittest.TestCase):
    def test_only_colours_are_added(self):
        for args in TAGGED[:-1]:
            for more in ([], ['--tag'], ['--tag', '-v']):
                with self.subTest(args=args, more=more):
                    plain = knee(*more, *args)
                    colored = knee('--color', *more, *args)
                    self.assertEqual(COLOR.sub(b'', colored.out), plain.out)

    def test_each_line_begins_and_ends_its_own(self):
        r = knee('--color', 'printf "a\\n\\nb\\n"; echo e >&2; printf', ':::', 'x', 'y')
        for line in (r.out + r.err).replace(b'\n', b'\033[m\n').split(b'\033[m'):
            self.assertRegex(line, rb'^(\n?\033\[38;5;\d+m.|\n|$)')
        self.assertNotEqual(*re.findall(rb'\033\[38;5;(\d+)mb', r.out))
        self.assertNotIn(b'\n\033[m', r.out)

    def test_when(self):
        for option, env, tty, want in (('--color', {'NO_COLOR': '1'}, False, True),
                                       ('--color=auto', {}, False, False),
                                       ('--color=auto', {}, True, True),
                                       ('--color=auto', {'NO_COLOR': '1'}, True, False),
                                       ('--color=auto', {'TERM': 'dumb'}, True, False),
                                       ('--color=auto', {'TERM': None}, True, False),
                                       ('--no-color', {}, True, False),
                                       ('--tag', {}, True, False)):
            with self.subTest(option=option, env=env, tty=tty):
                if tty:
                    with Pty(option, '--no-progress', 'echo', ':::', 'x', env=env) as t:
                        t.finish()
                    out = t.data
                else:
                    out = knee(option, 'echo', ':::', 'x', env=env).out
                self.assertEqual(b'\033' in out, want, out)


class Verbose(unittest.TestCase):
    def test_command_before_output(self):
        r = knee('-v', '-j2', 'echo a; echo', ':::', '1', '2')
        self.assertEqual((r.out, r.err), (b'echo a; echo 1\na\n1\necho a; echo 2\na\n2\n', b''))

    def test_ungrouped(self):
        r = knee('-u', '-v', '-j1', 'sleep 0.2; echo', ':::', '1', '2')
        self.assertEqual(r.out, b'sleep 0.2; echo 1\n1\nsleep 0.2; echo 2\n2\n')

    def test_dry_run_once(self):
        self.assertEqual(knee('-v', '--dry-run', 'echo', ':::', '1').out, b'echo 1\n')

    def test_trace(self):
        r = knee('-t', '-j1', 'echo a; echo', ':::', '1', '2')
        self.assertEqual((r.out, r.err), (b'a\n1\na\n2\n', b'echo a; echo 1\necho a; echo 2\n'))


class Files(unittest.TestCase):
    def files(self, *args, **more):
        folder = scratch()
        r = knee('--files', '--tmpdir', folder, *args, **more)
        return folder, r

    def read(self, name):
        with open(name, 'rb') as f:
            return f.read()

    def test_names_and_contents(self):
        folder, r = self.files('-j3', 'printf "out %s\\n" {}; echo err {} >&2', ':::', '1', '2', '3')
        names = r.out.split()
        self.assertEqual([self.read(n) for n in names], [b'out 1\n', b'out 2\n', b'out 3\n'])
        self.assertEqual(r.err, b'err 1\nerr 2\nerr 3\n')
        self.assertEqual(sorted(os.path.basename(n) for n in names), sorted(map(os.fsencode, os.listdir(folder))))
        self.assertTrue(all(os.stat(n).st_mode & 0o777 == 0o600 for n in names))

    def test_every_order(self):
        for order in ('-k', '--unordered', '--lb'):
            with self.subTest(order=order):
                _, r = self.files(order, '-j4', 'for i in 1 2 3; do echo {}; sleep 0.0{}; done; printf {}', ':::', *'1234')
                self.assertEqual(sorted(self.read(n) for n in r.out.split()),
                                 [b'%d\n' % i * 3 + b'%d' % i for i in range(1, 5)])

    def test_no_output_and_failure(self):
        folder, r = self.files('exit', ':::', '0', '1')
        self.assertEqual([self.read(n) for n in r.out.split()], [b'', b''])
        self.assertEqual((len(os.listdir(folder)), r.status), (2, 1))

    def test_tag_is_on_the_name(self):
        _, r = self.files('--tag', '-v', 'echo', ':::', 'x')
        tag, name = r.out.rstrip(b'\n').split(b'\t')
        self.assertEqual((tag, self.read(name)), (b'x', b'echo x\nx\n'))

    def test_retried_attempts_leave_nothing(self):
        folder, r = self.files('--retries', '3', 'echo {} >> seen; echo try; test $(wc -l < seen) = 3',
                               ':::', 'x', cwd=scratch())
        self.assertEqual((r.status, os.listdir(folder)), (0, [os.path.basename(os.fsdecode(r.out.strip()))]))
        self.assertEqual(self.read(r.out.strip()), b'try\n')

    def test_unnamed_files_go(self):
        folder = scratch()
        with start('--files', '--tmpdir', folder, 'echo a; sleep', ':::', '100') as p:
            wait_for(lambda: os.listdir(folder), what='the file is there')
            p.terminate()
            out, _ = p.communicate(timeout=20 * SLOW)
        self.assertEqual(sorted(os.listdir(folder)),
                         sorted(os.path.basename(os.fsdecode(n)) for n in out.split()))

    def test_no_folder(self):
        r = knee('--files', '--tmpdir', '/nonexistent', 'echo', ':::', '1')
        self.assertEqual(r.status, 255)
        self.assertIn(b'/nonexistent', r.err)

    def test_disk_full(self):
        with small_tmpfs('256k') as folder:
            r = knee('--files', '--tmpdir', folder, '-j1', 'head -c 1000000 /dev/zero; :', ':::', '1')
            self.assertEqual(r.status, 255)
            self.assertRegex(r.err, rb'^knee: %s[^:]*: No space left on device: output of task 1 is incomplete\n'
                             % os.fsencode(folder))
            self.assertEqual(os.listdir(folder), [])


BIG = 'head -c 3000000 /dev/zero | tr "\\0" x; echo'


class Readers(unittest.TestCase):
    def test_slow_pipe(self):
        with start('-j2', BIG, ':::', *'1234') as p:
            os.read(p.stdout.fileno(), 1)
            # Whatever could be written has been when knee sleeps, and no flag has changed.
            wait_state(p.pid, 'S')
            out, err = p.communicate(timeout=60 * SLOW)
        self.assertEqual(out, b''.join(b'x' * 3000000 + b'%d\n' % i for i in range(1, 5))[1:])
        self.assertEqual((err, p.returncode), (b'', 0))

    def test_inherited_flags_stay(self):
        read, write = os.pipe()
        with start(BIG, ':::', '1', stdout=write, stderr=write) as p:
            os.read(read, 1)
            self.assertFalse(fcntl.fcntl(write, fcntl.F_GETFL) & os.O_NONBLOCK)
            os.close(write)
            while os.read(read, 1 << 20):
                pass
            p.wait()
        os.close(read)
        self.assertEqual(p.returncode, 0)

    def test_reader_gone(self):
        with start('-j2', 'yes', ':::', *'12') as p:
            os.read(p.stdout.fileno(), 10)
            p.stdout.close()
            err = p.stderr.read()
            p.wait(20 * SLOW)
        self.assertEqual(err, b'')
        self.assertIn(p.returncode, (-signal.SIGPIPE, 128 + signal.SIGPIPE))

    def test_head(self):
        r = run(['sh', '-c', '"$@" | head -1', 'sh', *knee_argv('seq', ':::', '100000000')])
        self.assertEqual((r.out, r.err), (b'1\n', b''))
        self.assertLess(r.seconds, 20 * SLOW)

    def test_full_device(self):
        with open('/dev/full', 'wb') as full:
            for args, tasks in ((('echo', ':::', '1'), b'task 1 is'),
                                (('-j1', 'head -c 200000 /dev/zero; :', ':::', '1', '2'), b'task 1 is')):
                r = knee(*args, stdout=full)
                self.assertEqual((r.err, r.status),
                                 (b'knee: standard output: No space left on device: output of %s incomplete\n'
                                  % tasks, 255))

    def test_full_disk(self):
        with small_tmpfs('256k') as folder, open(os.path.join(folder, 'out'), 'wb') as out:
            r = knee('-j1', 'head -c 100000 /dev/zero; :', ':::', *'12345', stdout=out)
            self.assertEqual(r.status, 255)
            self.assertRegex(r.err, rb'^knee: standard output: No space left on device: '
                             rb'output of tasks? [123]( to [123])? is incomplete\n$')

    @unittest.skipIf(VALGRIND, 'valgrind opens a closed stdout itself')
    def test_closed_stdout(self):
        r = run(['sh', '-c', 'exec "$@" >&-', 'sh', *knee_argv('echo', ':::', '1')])
        self.assertEqual((r.err, r.status),
                         (b'knee: standard output: Bad file descriptor: output of task 1 is incomplete\n', 255))
        r = run(['sh', '-c', 'exec "$@" >&-', 'sh', *knee_argv('true', ':::', '1')])
        self.assertEqual((r.err, r.status), (b'', 0))

    def test_closed_stderr(self):
        r = run(['sh', '-c', 'exec "$@" 2>&-', 'sh', *knee_argv('echo', ':::', '1')])
        self.assertEqual((r.out, r.status), (b'1\n', 0))

    def test_socket(self):
        ours, theirs = socket.socketpair()
        with start('-j2', BIG, ':::', *'12', stdout=theirs) as p:
            theirs.close()
            got = b''
            while data := ours.recv(1 << 16):
                got += data
            p.wait()
        ours.close()
        self.assertEqual(got, b''.join(b'x' * 3000000 + b'%d\n' % i for i in (1, 2)))
        self.assertEqual(p.returncode, 0)

    def test_file_in_the_middle(self):
        for redirect in ('>', '>>'):
            out = os.path.join(scratch(), 'out')
            r = run(['sh', '-c', f'{{ echo head; "$@"; echo tail; }} {redirect} {out} 2>&1', 'sh',
                     *knee_argv('-j2', 'echo', ':::', '1', '2')])
            with open(out, 'rb') as f:
                self.assertEqual((f.read(), r.status), (b'head\n1\n2\ntail\n', 0))

    def test_both_streams_in_one_file(self):
        task = 'echo a; sleep 0.2; echo b >&2; sleep 0.2; echo c'
        for redirect in ('2>&1', '> out 2>&1; cat out', '> out 2>> out; cat out'):
            with self.subTest(redirect=redirect):
                r = run(['sh', '-c', f'"$@" {redirect}', 'sh', *knee_argv('-j2', task, ':::', '1', '2')],
                        cwd=scratch())
                self.assertEqual((r.out, r.err), (b'a\nb\nc 1\na\nb\nc 2\n', b''))

    @unittest.skipIf(VALGRIND, 'valgrind cannot write its own files then')
    def test_terminal_of_another_user(self):
        # What cannot be opened anew is written to in small pieces.
        if os.geteuid() != 0:
            self.skipTest('needs root')
        read, write = os.pipe()
        os.fchmod(write, 0)
        argv = ['setpriv', '--reuid=65534', '--clear-groups', '--inh-caps=-all', '--bounding-set=-all',
                *knee_argv('-j2', BIG, ':::', '1', '2')]
        with start(argv=argv, stdout=write) as p:
            os.close(write)
            got = b''
            while data := os.read(read, 1 << 16):
                got += data
            err = p.stderr.read()
            p.wait()
        os.close(read)
        self.assertEqual((len(got), err, p.returncode), (6000004, b'', 0))


if __name__ == '__main__':
    unittest.main()
