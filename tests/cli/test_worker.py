# SPDX-License-Identifier: MIT
"""--worker: records in, answers out, by processes that live for many of them."""

import contextlib
import re
import sqlite3
import sys

from kneetest import *

# A worker of many minds: the first word of a record says what becomes of it.
ODD = os.path.join(scratch(), 'odd.py')
with open(ODD, 'w') as odd:
    odd.write(r'''
import os, signal, sys, time
out = sys.stdout.buffer
for line in sys.stdin.buffer:
    word, *rest = line.decode().split() or ['']
    if word == 'exit':
        os._exit(int(rest[0]))
    elif word == 'exit_after':
        out.write(b'last\n'); out.flush()
        os._exit(0)
    elif word == 'kill':
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == 'twice':
        out.write(b'one\ntwo\n'); out.flush()
        continue
    elif word == 'half':
        out.write(b'begin'); out.flush()
        os._exit(7)
    elif word == 'mute':
        os.close(1)
        time.sleep(1000)
    elif word == 'hang':
        time.sleep(1000)
    elif word == 'stubborn':
        signal.signal(signal.SIGTERM, lambda *_: None)
        open(rest[0], 'w').close()
        time.sleep(1000)
    elif word == 'once':
        try:
            os.close(os.open(rest[0], os.O_CREAT | os.O_EXCL))
            os._exit(9)
        except FileExistsError:
            pass
    elif word == 'wait':
        open('in.' + rest[0], 'w').close()
        while not os.path.exists('go.' + rest[0]):
            time.sleep(0.005)
    elif word == 'err':
        sys.stderr.write('said ' + line.decode()); sys.stderr.flush()
    elif word == 'size':
        out.write(b'x' * int(rest[0]))
    elif word == 'left':
        if os.fork() == 0:
            time.sleep(1000)
    out.write(b'is ' + line); out.flush()
''')
ODD = f'{sys.executable} -u {ODD}'
# A time-out that a worker's start does not use up.
SHORT = f'{2 * SLOW:g}'

# Answers in the framing "length": record "SIZE STATUS" says how large and with which status.
SIZED = os.path.join(scratch(), 'sized.py')
with open(SIZED, 'w') as sized:
    sized.write(r'''
import sys
inp, out = sys.stdin.buffer, sys.stdout.buffer
while head := inp.readline():
    record = inp.read(int(head))
    if record.startswith(b'raw '):
        out.write(record[4:])
    else:
        status, text = record.split(b' ', 1)
        out.write(b'%d %s\n%s' % (len(text), status, text) if status != b'-' else b'%d\n%s' % (len(text), text))
    out.flush()
''')
SIZED = f'{sys.executable} {SIZED}'


def numbers(n):
    return [str(i) for i in range(1, n + 1)]


def lines(*words):
    return ''.join(f'{w}\n' for w in words).encode()


def touch(*path):
    open(os.path.join(*path), 'w').close()


def joblog(path):
    """{task: (exit value, signal)}"""
    with open(path) as f:
        return {int(c[0]): (int(c[6]), int(c[7])) for c in (line.split('\t') for line in f) if c[0] != 'Seq'}


def workers(p):
    return [pid for pid in marked(p.mark) if (command_of(pid) or '').startswith('python')]


class Base(unittest.TestCase):
    def check(self, args, out, err=b'', status=0, **more):
        r = knee(*args, **more)
        self.assertEqual((r.out, r.err, r.status), (out, err, status), args)


class Same(Base):
    """As processes would have done it."""

    def rows(self, path):
        with contextlib.closing(sqlite3.connect(path)) as db:
            return db.execute('SELECT t.seq, t.digest, t.state, t.attempts, t.printed, a.outcome, a.status, '
                              'a.output_bytes FROM task t JOIN attempt a USING (seq) ORDER BY t.seq').fetchall()

    def test_hundred_inputs(self):
        folder = scratch()
        inputs = [f'a {i}  b\t{i * i}' for i in range(100)]
        for jobs in ('1', '3', 'auto'):
            one = knee('-j', jobs, '--journal', f'{folder}/p{jobs}', 'echo', ':::', *inputs)
            two = knee('-j', jobs, '--journal', f'{folder}/w{jobs}', '--worker', 'cat', ':::', *inputs)
            self.assertEqual((one.out, one.err, one.status), (two.out, two.err, two.status))
            self.assertEqual(self.rows(f'{folder}/p{jobs}'), self.rows(f'{folder}/w{jobs}'))

    def test_many(self):
        data = lines(*numbers(30000))
        self.check(['-j3', '--worker', 'cat'], data, input=data)
        self.check(['--worker', 'cat'], data, input=data)

    def test_order(self):
        r = knee('-j3', '--worker', ODD, ':::', 'err a', 'b', 'err c')
        self.assertEqual((r.out, r.status), (b'is err a\nis b\nis err c\n', 0))
        self.assertEqual(r.err, b'said err a\nsaid err c\n')

    def test_later_ones_wait_for_the_first(self):
        folder = scratch()
        with start('-j2', '--worker', ODD, ':::', 'wait 1', 'wait 2', cwd=folder) as p:
            wait_for(lambda: {'in.1', 'in.2'} <= set(os.listdir(folder)))
            touch(folder, 'go.2')
            touch(folder, 'go.1')
            self.assertEqual(p.stdout.read(), b'is wait 1\nis wait 2\n')
            self.assertEqual(p.wait(), 0)

    def test_no_inputs(self):
        self.check(['--worker', 'cat'], b'', input=b'')


class Records(Base):
    """What is sent."""

    def test_template(self):
        self.check(['-j1', '--worker', 'cat', '<{/}> {#} {%}', ':::', 'a/b', "it's $HOME"],
                   b"<b> 1 1\n<it's $HOME> 2 1\n")
        self.check(['-j1', '--worker', 'cat', 'get', ':::', 'a', 'b'], b'get a\nget b\n')
        self.check(['-j1', '--worker', 'cat', '{2} {1}', ':::', 'a', ':::', 'b'], b'b a\n')
        self.check(['-j1', '--worker', 'cat', '-n2', ':::', 'a', 'b', 'c'], b'a b\nc\n')
        self.check(['-j1', '--worker', 'cat', ':::', '', ' a  b '], b'\n a  b \n')

    def test_command(self):
        self.check(['-j1', '--worker', 'sed -u "s/^/a b/"', ':::', '1'], b'a b1\n')
        self.check(['-j1', '--worker', 'while read -r x; do echo "$x" $((x + 1)); done', ':::', '1', '5'],
                   b'1 2\n5 6\n')
        r = knee('-j2', '--worker', f'N={{%}} {ODD}', ':::', 'err', 'b')
        self.assertEqual(r.status, 0)
        self.check(['-j1', '--worker', 'while read -r x; do echo {%} $KNEE_X; done', ':::', 'a'], b'1 x\n',
                   env={'KNEE_X': 'x'})

    def test_dry_run(self):
        self.check(['--dry-run', '--worker', 'false', 'get {}', ':::', 'a b', "c'd"], b"get a b\nget c'd\n")

    def test_newline(self):
        note = b'knee: task 2: a record of a worker cannot hold a newline: use -0 or --framing length\n'
        self.check(['-j1', '--worker', 'cat', ':::', 'a', 'b\nc', 'd'], b'a\nd\n', note, 1)

    def test_nul(self):
        data = b'a\nb\0\0c\0'
        self.check(['-0', '-j1', '--worker', 'cat'], data, input=data)
        self.check(['-j2', '--framing', 'nul', '--worker', 'cat'], b'a\0b\0', input=b'a\nb\n')
        self.check(['-0', '--framing', 'line', '--worker', 'cat'], b'a\nb\n', input=b'a\0b\0')

    def test_length(self):
        self.check(['-j2', '--framing', 'length', '--worker', SIZED, ':::', '- a\nb', '0 ', '- c'], b'a\nbc')
        self.check(['-j2', '--framing=length', '--worker', SIZED, ':::', '3 no', '- yes', '0 0', '255 x'],
                   b'noyes0x', b'', 2)

    def test_large(self):
        big = b'x' * 3000000
        self.check(['-j2', '--worker', 'cat'], big + b'\na\n', input=big + b'\na\n')
        self.check(['-j1', '--worker', ODD, ':::', 'size 5000000', 'a'],
                   b'x' * 5000000 + b'is size 5000000\nis a\n')

    def test_answers_of_a_whole_window_are_large(self):
        # After many short ones there are several records in a window.
        args = [*numbers(3000), *['size 600000'] * 8, *numbers(50)]
        want = b''.join(b'x' * 600000 * a.startswith('size') + f'is {a}\n'.encode() for a in args)
        r = knee('-j1', '--worker', ODD, input=lines(*args))
        self.assertEqual((r.out == want, r.err, r.status), (True, b'', 0))

    def test_slow_reader(self):
        # What nobody reads stays where it is, and nothing is lost of it.
        args = [*numbers(2000), *['size 300000'] * 30]
        want = sum(300000 * a.startswith('size') + len(f'is {a}\n') for a in args)
        with start('-j2', '--worker', ODD, stdin=subprocess.PIPE) as p:
            p.stdin.write(lines(*args))
            p.stdin.close()
            wait_for(lambda: len(workers(p)) > 0)
            got = 0
            while data := p.stdout.read(1000):
                got += len(data)
                if got < 5000:
                    time.sleep(0.001)
            self.assertEqual((got, p.wait()), (want, 0))


class Broken(Base):
    """Workers that do not do as they should cost the records that they had, and no others."""

    def test_exit(self):
        self.check(['-j1', '--worker', ODD, ':::', 'a', 'exit 3', 'b'], b'is a\nis b\n', b'', 1)
        folder = scratch()
        knee('-j1', '--joblog', f'{folder}/log', '--worker', ODD, ':::', 'exit 3', 'kill', 'a')
        self.assertEqual(joblog(f'{folder}/log'), {1: (3, 0), 2: (0, 9), 3: (0, 0)})

    def test_exit_without_an_answer(self):
        self.check(['-j1', '--worker', ODD, ':::', 'a', 'exit 0', 'b'], b'is a\nis b\n',
                   b'knee: task 2: its worker ended without an answer\n', 1)

    def test_exit_between_records(self):
        # It had not read a byte of the next one: that is no fault of its, nor of anyone.
        self.check(['-j1', '--worker', ODD, ':::', 'exit_after', 'exit_after', 'b'], b'last\nlast\nis b\n')

    def test_half_an_answer(self):
        self.check(['-j1', '--worker', ODD, ':::', 'half', 'b'], b'beginis b\n', b'', 1)

    def test_no_such_command(self):
        r = knee('-j1', '--worker', 'no-such-command', ':::', 'a', 'b')
        self.assertEqual((r.out, r.status), (b'', 2))
        self.assertEqual(r.err.count(b'no-such-command: '), 2)

    def test_dies_at_once(self):
        for size in (1, 1000000):
            r = knee('-j2', '--worker', 'exec >&2; echo no; exit 5', input=lines('x' * size, 'b'))
            self.assertEqual((r.out, r.err, r.status), (b'', b'no\nno\n', 2))

    def test_two_answers(self):
        self.check(['-j1', '--worker', ODD, ':::', 'a', 'twice', 'b'], b'is a\nis b\n',
                   b'knee: task 2: a worker wrote more answers than it got records\n', 1)

    def test_two_answers_in_a_window(self):
        # No answer is taken for another record's, wherever the one too many comes.
        args = [*numbers(4000), 'twice', *numbers(4000)]
        folder = scratch()
        r = knee('-j1', '--joblog', f'{folder}/log', '--tag', '--worker', ODD, input=lines(*args))
        log = joblog(f'{folder}/log')
        failed = [seq for seq, how in log.items() if how != (0, 0)]
        self.assertIn(4001, failed)
        self.assertTrue(1 <= len(failed) <= 64 and r.status == len(failed), failed)
        self.assertEqual(r.out, b''.join(f'{a}\tis {a}\n'.encode() for i, a in enumerate(args, 1)
                                         if i not in failed))

    def test_answers_nobody_asked_for(self):
        r = knee('-j1', '--worker', 'yes', ':::', 'a', 'b')
        self.assertEqual((r.out, r.status), (b'', 2))
        self.assertEqual(r.err.count(b'more answers than it got records'), 2)

    def test_garbage(self):
        note = b'knee: task 2: a worker wrote what is no answer in this --framing\n'
        for text in ('x\n', '-1\nx', '1 256\nx', '99999999999999999999999\n', '1 1 1\nx', '\n', ' 1\nx',
                     '111111111111111111111111111111111111111111111111111111111111111111111111'):
            self.check(['-0', '-j1', '--framing', 'length', '--worker', SIZED], b'ab', note, 1,
                       input=f'- a\0raw {text}\0- b\0'.encode())

    def test_size_that_never_comes(self):
        self.check(['-0', '-j1', '--timeout', SHORT, '--framing', 'length', '--worker', SIZED], b'abb', b'', 1,
                   input=b'- a\0raw 9000000000\nb\0- b\0')

    def test_closes_its_stdout(self):
        self.check(['-j1', '--worker', ODD, ':::', 'a', 'mute', 'b'], b'is a\nis b\n', b'', 1)

    def test_timeout(self):
        self.check(['-j1', '--timeout', SHORT, '--worker', ODD, ':::', 'a', 'hang', 'b'], b'is a\nis b\n', b'', 1)

    def test_timeout_of_one_that_takes_signals(self):
        folder = scratch()
        r = knee('-j1', '--timeout', SHORT, '--term-seq', 'TERM,50,KILL', '--joblog', 'log', '--worker', ODD,
                 ':::', 'a', 'stubborn it', 'b', cwd=folder)
        self.assertEqual((r.out, r.status), (b'is a\nis b\n', 1))
        self.assertEqual(joblog(f'{folder}/log')[2], (-1, 15))

    def test_timeout_meets_the_right_one(self):
        # In the middle of windows of many: what was answered before is no one's time-out.
        folder = scratch()
        args = [*numbers(3000), 'hang', *numbers(3000)]
        r = knee('-j1', '--timeout', SHORT, '--joblog', f'{folder}/log', '--worker', ODD, input=lines(*args))
        self.assertEqual([seq for seq, how in joblog(f'{folder}/log').items() if how != (0, 0)], [3001])
        self.assertEqual(r.out, b''.join(f'is {a}\n'.encode() for a in args if a != 'hang'))
        self.assertEqual(r.status, 1)

    def test_never_reads(self):
        for size in (1, 1000000):
            self.check(['-j2', '--timeout', '0.5', '--worker', 'sleep 1000'], b'', b'', 2,
                       input=lines('x' * size, 'b'))

    def test_retries(self):
        self.check(['-j2', '--retries', '2', '--worker', ODD, ':::', 'a', 'once x', 'b', 'exit 1'],
                   b'is a\nis once x\nis b\n', b'', 1, cwd=scratch())

    def test_does_not_end(self):
        self.check(['-j2', '--worker', 'trap "" TERM; cat; while :; do sleep 1; done', ':::', 'a', 'b'], b'a\nb\n')

    def test_leaves_something_behind(self):
        self.check(['-j2', '--worker', ODD, ':::', 'left', 'a', 'left'], b'is left\nis a\nis left\n')


class Stderr(Base):
    def test_goes_with_its_record(self):
        args = [f'err {i}' for i in range(1000)]
        r = knee('-j3', '--worker', ODD, ':::', *args)
        self.assertEqual(r.out, b''.join(f'is {a}\n'.encode() for a in args))
        self.assertEqual(r.err, b''.join(f'said {a}\n'.encode() for a in args))

    def test_tagged(self):
        r = knee('-j1', '--tag', '--worker', ODD, ':::', 'err 1', 'b')
        self.assertEqual((r.out, r.err), (b'err 1\tis err 1\nb\tis b\n', b'err 1\tsaid err 1\n'))

    def test_of_a_start(self):
        r = knee('-j1', '--worker', f'echo begins >&2; exec {ODD}', ':::', 'a', 'b')
        self.assertEqual((r.out, r.err, r.status), (b'is a\nis b\n', b'begins\n', 0))

    def test_much(self):
        script = 'while read -r n; do head -c "$n" /dev/zero | tr "\\0" e >&2; echo "$n"; done'
        r = knee('-j2', '--worker', script, ':::', '3000000', '10', '3000000')
        self.assertEqual((r.out, r.err == b'e' * 6000010, r.status), (b'3000000\n10\n3000000\n', True, 0))


class Limit(Base):
    def test_as_many_as_it_says(self):
        folder = scratch()
        with start('-j3', '--worker', ODD, ':::', *[f'wait {i}' for i in range(6)], cwd=folder) as p:
            wait_for(lambda: len([n for n in os.listdir(folder) if n.startswith('in.')]) == 3)
            self.assertEqual(len(workers(p)), 3)
            for i in range(6):
                touch(folder, f'go.{i}')
            self.assertEqual(p.stdout.read(), b''.join(f'is wait {i}\n'.encode() for i in range(6)))
            self.assertEqual(p.wait(), 0)

    def test_up_and_down(self):
        folder = scratch()

        def jobs(n):
            with open(f'{folder}/jobs.new', 'w') as f:
                f.write(f'{n}\n')
            os.rename(f'{folder}/jobs.new', f'{folder}/jobs')

        def begun():
            return {int(n[3:]) for n in os.listdir(folder) if n.startswith('in.')}

        jobs(3)
        with start('-j', f'{folder}/jobs', '--worker', ODD, ':::', *[f'wait {i}' for i in range(1, 9)],
                   cwd=folder) as p:
            wait_for(lambda: begun() == {1, 2, 3})
            jobs(1)
            touch(folder, 'go.1')
            touch(folder, 'go.2')
            # The file is read when a task ends; then two of the three workers go.
            for i in range(3, 6):
                touch(folder, f'go.{i}')
            wait_for(lambda: len(workers(p)) == 1 and begun() == {1, 2, 3, 4, 5, 6})
            jobs(2)
            touch(folder, 'go.6')
            wait_for(lambda: begun() == {1, 2, 3, 4, 5, 6, 7, 8})
            self.assertEqual(len(workers(p)), 2)
            touch(folder, 'go.7')
            touch(folder, 'go.8')
            self.assertEqual(p.stdout.read(), b''.join(f'is wait {i}\n'.encode() for i in range(1, 9)))
            self.assertEqual(p.wait(), 0)

    def test_peak(self):
        """What waits in a window does not run, nor does what is answered and waits for the others."""
        r = knee('-j2', '--json', '--worker', 'cat', input=lines(*numbers(5000)))
        ends = re.findall(rb'"peak": ?(\d+)', r.err)
        self.assertEqual(len(ends), 1, r)
        self.assertLessEqual(int(ends[0]), 2)


class Stops(Base):
    def test_halt_soon(self):
        r = knee('-j1', '--halt', 'soon,fail=1', '--worker', ODD, ':::', 'a', 'exit 3', 'b', 'c')
        self.assertEqual((r.out, r.status), (b'is a\n', 3))

    def test_halt_in_windows(self):
        # Each task has its end or was never begun; nothing hangs.
        for when in ('soon', 'now'):
            folder = scratch()
            args = [*numbers(2000), 'exit 3', *map(str, range(2002, 50000))]
            r = knee('-j2', '--halt', f'{when},fail=1', '--joblog', f'{folder}/log', '--worker', ODD,
                     input=lines(*args))
            self.assertEqual(r.status, 3)
            log = joblog(f'{folder}/log')
            good = sorted(seq for seq, how in log.items() if how == (0, 0))
            got = [int(line.split()[1]) for line in r.out.splitlines()]
            self.assertEqual(log[2001], (3, 0))
            # The other worker goes on while the one that fails waits for a core.
            self.assertLess(len(log), 25000)
            # Of "now" an answer that was there already may be printed of a task that was stopped.
            self.assertEqual([seq for seq in got if when == 'soon' or seq in good], good)
            self.assertEqual(got, sorted(set(got)))
            if when == 'soon':
                self.assertEqual(len(good), len(log) - 1)

    def test_signals(self):
        for number, status in ((signal.SIGINT, 255), (signal.SIGTERM, 255), (signal.SIGKILL, -9)):
            with start('-j2', '--worker', ODD, ':::', 'hang', 'stubborn it', 'b', cwd=scratch()) as p:
                wait_for(lambda: len(workers(p)) == 2)
                os.kill(p.pid, number)
                self.assertEqual(p.wait(), status)
                wait_for(lambda: not marked(p.mark))

    def test_signal_while_windows_are_full(self):
        with start('-j2', '--worker', 'cat', stdin=subprocess.PIPE) as p:
            p.stdin.write(lines(*numbers(1000)))
            self.assertTrue(p.stdout.read(10))
            os.kill(p.pid, signal.SIGINT)
            self.assertEqual(p.wait(), 255)
            wait_for(lambda: not marked(p.mark))

    def test_reader_goes(self):
        with start('-j2', '--worker', 'cat', stdin=subprocess.PIPE) as p:
            p.stdin.write(lines(*numbers(2000)))
            self.assertTrue(p.stdout.read(10))
            p.stdout.close()
            with contextlib.suppress(BrokenPipeError):
                for _ in range(100):
                    p.stdin.write(lines(*numbers(2000)))
            with contextlib.suppress(BrokenPipeError):
                p.stdin.close()
            self.assertEqual(p.wait(), -signal.SIGPIPE)
            wait_for(lambda: not marked(p.mark))


class Journal(Base):
    def test_resume(self):
        folder = scratch()
        args = ['-j2', '--journal', 'j', '--resume', '--output', 'out', '--worker', ODD]
        inputs = [*numbers(300), 'wait 1', *numbers(300)]
        with start(*args, ':::', *inputs, cwd=folder) as p:
            wait_for(lambda: os.path.exists(f'{folder}/in.1'))
            os.kill(p.pid, signal.SIGKILL)
            p.wait()
            wait_for(lambda: not marked(p.mark))
        touch(folder, 'go.1')
        r = knee(*args, ':::', *inputs, cwd=folder)
        self.assertEqual((r.out, r.status), (b'', 0))
        with open(f'{folder}/out', 'rb') as f:
            self.assertEqual(f.read(), b''.join(f'is {a}\n'.encode() for a in inputs))

    def test_another_worker_is_another_command(self):
        folder = scratch()
        self.check(['--journal', 'j', '--worker', 'cat', ':::', 'a'], b'a\n', cwd=folder)
        for more in (['--worker', 'cat -u'], ['--worker', 'cat', '--framing', 'nul'], ['cat']):
            r = knee('--journal', 'j', '--resume', *more, ':::', 'a', cwd=folder)
            self.assertEqual((r.out, r.status), (b'', 255), more)
        self.check(['--journal', 'j', '--resume', '--worker', 'cat', ':::', 'a'], b'', cwd=folder)


class Examples(Base):
    def test_wordcount(self):
        folder = scratch()
        files = {'empty': b'', 'plain': b'two words\n', 'odd\nname': b' a\tb\r\nc', "quote's": b'x' * 3000000 + b' y\n',
                 'edge': b'w' * (1 << 20) + b' ' + b'v' * (1 << 20)}
        for name, data in files.items():
            with open(os.path.join(folder, name), 'wb') as f:
                f.write(data)

        def want(name):
            data = files[name]
            return f'{data.count(10)} {len(data.split())} {len(data)} {name}\n'.encode()

        script = str(ROOT / 'examples/wordcount.py')
        easy = [n for n in files if '\n' not in n]
        self.check(['-j2', '--worker', script, ':::', *easy, 'none'], b''.join(map(want, easy)) + b'? ? ? none\n',
                   b'wordcount: none: No such file or directory\n', cwd=folder)
        self.check(['-j2', '--framing', 'length', '--worker', f'{script} --length', ':::', *files, 'none'],
                   b''.join(map(want, files)) + b'? ? ? none\n',
                   b'wordcount: none: No such file or directory\n', 1, cwd=folder)

    def test_manual(self):
        """Its Python workers work as they stand there."""
        page = (ROOT / 'man/knee.1').read_text()
        texts = [t.replace('\\e', '\\') for t in re.findall(r'^(import .*?)^\.Ed', page, re.M | re.S)]
        length, there = (t for t in texts if 'sys.stdin' in t)
        folder = scratch()
        for name, text in (('length.py', length), ('there.py', there)):
            with open(os.path.join(folder, name), 'w') as f:
                f.write(text)
        self.check(['--worker', f'{sys.executable} length.py', ':::', 'a', '', 'bcd'], b'1\n0\n3\n', cwd=folder)
        self.check(['-0', '--framing', 'length', '--worker', f'{sys.executable} there.py'],
                   b'length.py is there\nno\nne is missing\n', b'', 1, input=b'length.py\0no\nne\0', cwd=folder)


class Refused(Base):
    def refused(self, args, message):
        self.check([*args, ':::', 'a'], b'', f'knee: {message}\n'.encode(), 255)

    def test_refused(self):
        self.refused(['-u', '--worker', 'cat'], '--worker: answers pass through knee, which -u would not let '
                     'them: use --lb or --unordered instead')
        self.refused(['--framing', 'nul', 'cat'], '--framing: there is no worker whose records it could be of: '
                     'add --worker COMMAND')
        self.refused(['--worker', ' '], '--worker: which command? It is empty')
        self.refused(['--framing', 'json', '--worker', 'cat'], "--framing: 'json' is none of line, nul, length")

    def test_profile(self):
        r = knee('profile', '--worker', 'cat', ':::', 'a')
        self.assertEqual((r.out, r.err, r.status),
                         (b'', b'knee: --worker, --plugin: only processes are profiled, one for each input\n', 255))


if __name__ == '__main__':
    unittest.main()
