# SPDX-License-Identifier: MIT
"""The first promise: bytes and status are those of the plain sequential loop, whatever the inputs,
the number at once, and the order in which tasks end."""

import random

from kneetest import *

NAMES = [
    b'plain', b'two  blanks', b' leading and trailing ', b"it's", b'"double"', b'back\\slash',
    b'new\nline', b'ends in newline\n', b'tab\there', b'$(x)', b'`x`', b'$HOME', b'${x}', b'a;b', b'a&b', b'a|b',
    b'<in >out', b'*', b'?', b'[a-z]', b'{a,b}', b'~', b'~root', b'#hash', b'!bang', b'-n', b'--', b'-', b'--help',
    b'%s%n', b'{}', b'{.}', b'{#}', b'{1}', b'=', b'a=b', b'if', b'\xff\xfe', b'\xc3', b'\xe2\x82', 'grüße €'.encode(),
    b'\x01\x02\x1b[31m', b'\x7f', b'\r\n', b"'" * 1000, b'\\' * 1000, b'"' * 999, b' ', b'\n', b'.', b'/', b'a/b.c/d',
    b'x' * 100 * 1024, b"'" * 100 * 1024, b'$ ' * 50 * 1024,
]

# One after another, each name an argument, whatever is in it.
LOOP = 'while IFS= read -r -d "" name; do %s; done'


def loop(body, names):
    """What bash's loop makes of it."""
    return run(['bash', '-c', LOOP % body], input=b''.join(n + b'\0' for n in names),
               env={'LC_ALL': 'C'})


class Names(unittest.TestCase):
    def check(self, body, *command, names=NAMES, more=()):
        want = loop(body, names)
        r = knee('-0', *more, *command, input=b''.join(n + b'\0' for n in names))
        self.assertEqual(r.out, want.out)
        self.assertEqual((r.err, r.status), (want.err, 0))

    def test_direct(self):
        # No byte of this needs a shell: the names go into the argument vector as they are.
        self.check('env printf %s:%s. _ "$name"', '-q', 'printf', '%s:%s.', '_', '{}')

    def test_through_the_shell(self):
        self.check('printf "%s|" "$name"', "printf '%s|' {}")

    def test_through_bash(self):
        r = knee('-0', "printf '%s|' {}", input=b''.join(n + b'\0' for n in NAMES),
                 env={'SHELL': '/bin/bash'})
        self.assertEqual(r.out, b''.join(n + b'|' for n in NAMES))

    def test_stderr_too(self):
        self.check('printf "%s|" "$name" >&2', "printf '%s|' {} >&2")

    def test_many_at_once(self):
        self.check('printf "%s|" "$name"', "printf '%s|' {}", more=['-j16'])

    def test_appended(self):
        self.check('echo -- "$name" | cat', 'echo', '--', names=[n for n in NAMES])

    def test_as_files(self):
        folder = scratch()
        names = [n for n in NAMES if b'/' not in n and n not in (b'.',) and len(n) < 200]
        for n in names:
            with open(os.path.join(folder.encode(), n), 'wb') as f:
                f.write(n * 3)
        data = b''.join(b'./' + n + b'\0' for n in names)
        r = knee('-0', 'cksum', '<', '{}', input=data, cwd=folder)
        want = run(['bash', '-c', LOOP % 'cksum < "$name"'], input=data, cwd=folder)
        self.assertEqual((r.out, r.err, r.status), (want.out, want.err, 0))

    def test_on_the_command_line(self):
        names = [n for n in NAMES if len(n) < 2000]
        r = knee('-q', 'printf', '%s|', ':::', *names)
        self.assertEqual(r.out, b''.join(n + b'|' for n in names))


class Orders(unittest.TestCase):
    """Tasks that end in any order, write much or little, to both streams, with pauses."""

    SCRIPT = 'sleep 0.0{1}; echo out {2}; echo err {2} >&2; head -c {3} /dev/zero | tr "\\0" x; ' \
        'sleep 0.0{1}; echo; echo end {2}; exit {4}'

    def inputs(self, rng, n):
        return ''.join(f'{rng.randrange(9)},{i},{rng.choice([0, 1, 100, 70000, 300000])},{rng.randrange(2)}\n'
                       for i in range(n)).encode()

    def want(self, inputs):
        out, err, failed = b'', b'', 0
        for line in inputs.splitlines():
            _, i, size, status = line.split(b',')
            out += b'out ' + i + b'\n' + b'x' * int(size) + b'\nend ' + i + b'\n'
            err += b'err ' + i + b'\n'
            failed += int(status)
        return out, err, failed

    def test_random(self):
        seed = int(os.environ.get('SEED') or time.time_ns())
        rng = random.Random(seed)
        for jobs in (1, 2, 7, 40):
            inputs = self.inputs(rng, 40)
            r = knee('-j', str(jobs), '--colsep', ',', self.SCRIPT, input=inputs)
            self.assertEqual((r.out, r.err, r.status), self.want(inputs), f'SEED={seed} -j{jobs}')

    def test_retries_show_the_last_attempt_only(self):
        folder = scratch()
        r = knee('-j4', '--retries', '3', 'echo try >> {}; n=$(wc -l < {}); echo attempt $n of {/}; '
                 'echo {/} >&2; test $n = 3', ':::', *[f'{folder}/{i}' for i in range(8)])
        self.assertEqual(r.out, b''.join(b'attempt 3 of %d\n' % i for i in range(8)))
        self.assertEqual(r.err, b''.join(b'%d\n' % i for i in range(8)))
        self.assertEqual(r.status, 0)

    def test_first_task_streams_live(self):
        with start('-j2', 'echo begin {}; sleep 1000', ':::', '1', '2') as p:
            self.assertEqual(p.stdout.read(8), b'begin 1\n')
            p.terminate()

    def test_starts_before_the_input_ends(self):
        with start('echo', stdin=subprocess.PIPE) as p:
            for i in range(3):
                p.stdin.write(b'%d\n' % i)
                self.assertEqual(p.stdout.read(2), b'%d\n' % i)
            p.stdin.close()
            self.assertEqual(p.wait(), 0)

    def test_held_output_larger_than_memory(self):
        # 12 MB wait for the first task: more than is held in memory.
        r = knee('-j3', 'test {} != 1 || sleep 0.5; head -c 1000000 /dev/zero; echo {}', ':::',
                 *map(str, range(1, 14)))
        self.assertEqual(r.out, b''.join(b'\0' * 1000000 + b'%d\n' % i for i in range(1, 14)))


class Full(unittest.TestCase):
    def test_full_tmpdir(self):
        with small_tmpfs(2) as folder:
            r = knee('-j3', '--tmpdir', folder, 'test {} != 1 || sleep 1; head -c 10485760 /dev/zero', ':::', '1', '2', '3')
            self.assertEqual(r.status, 255)
            self.assertIn(os.fsencode(folder), r.err)
            self.assertIn(b'No space left on device', r.err)
            self.assertRegex(r.err, rb'task [23]')
            # What was printed is the start of the right output, and nothing of it is cut in silence.
            self.assertEqual(r.out.strip(b'\0'), b'')
            self.assertLessEqual(len(r.out), 10485760)
            self.assertEqual(os.listdir(folder), [])


@unittest.skipIf(VALGRIND, 'valgrind keeps some descriptors for itself')
class Descriptors(unittest.TestCase):
    def limited(self, n, *args):
        return run(['sh', '-c', f'ulimit -n {n}; exec "$@"', 'sh', *knee_argv(*args)])

    def test_64_open_files_and_100_tasks(self):
        r = self.limited(64, '-j100', 'sleep 0.1; echo {}', ':::', *map(str, range(60)))
        self.assertEqual((r.out, r.status), (b''.join(b'%d\n' % i for i in range(60)), 0))
        self.assertRegex(r.err, rb'^knee: running \d+ at once, not 100: .*64 files.*\n$')

    def test_tasks_keep_the_limit_of_open_files(self):
        r = run(['sh', '-c', 'ulimit -Sn 256; exec "$@"', 'sh',
                 *knee_argv('-j', '300', 'ulimit -n; #', ':::', '1')])
        self.assertEqual(r.out, b'256\n')


if __name__ == '__main__':
    unittest.main()
