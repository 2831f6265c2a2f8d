# SPDX-License-Identifier: MIT
"""The frames between a coordinator and its agents (knee-agent(5)), for tests that are one of the two.

    with Agent() as a:                    # knee agent, greeted and opened
        a.open('echo {}')
        a.task(1, 'hello')
        self.assertEqual(a.result(1).out, b'hello\\n')
        a.close()

A frame is (kind, payload), kind a letter, as in src/core/frame.h.
"""

import ctypes
import os
import select
import struct
import subprocess
import sys
import time

from kneetest import KNEE, ROOT, SLOW, clean_env, knee_argv, marked

PROTOCOL = 1
HEAD = 12
MOST = 256 * 1024
EXITED, SIGNALED, TIMED_OUT, CANCELLED, NOT_STARTED = range(5)

_xxh3 = None


def _hash(data, seed=0):
    global _xxh3
    if _xxh3 is None:
        path = os.path.join(os.path.dirname(os.path.dirname(KNEE)), 'tests', 'xxh3.so')
        if not os.path.exists(path):
            path = str(ROOT / 'build/tests/xxh3.so')
        _xxh3 = ctypes.CDLL(path).kneetest_xxh3
        _xxh3.restype = ctypes.c_uint64
        _xxh3.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    return _xxh3(data, len(data), seed)


def frame(kind, payload=b''):
    head = struct.pack('<I', len(payload)) + kind.encode() + b'\0\0\0'
    return head + struct.pack('<I', _hash(payload, _hash(head)) & 0xffffffff) + payload


def take(data):
    """(kind, payload, bytes used), or None when it is not whole. AssertionError when it is none."""
    if len(data) < HEAD:
        return None
    size = struct.unpack_from('<I', data)[0]
    assert size <= MOST and data[5:8] == b'\0\0\0', f'no frame: {data[:64]!r}'
    if len(data) < HEAD + size:
        return None
    payload = bytes(data[HEAD:HEAD + size])
    check = struct.unpack_from('<I', data, 8)[0]
    assert check == _hash(payload, _hash(bytes(data[:8]))) & 0xffffffff, 'a wrong check'
    return chr(data[4]), payload, HEAD + size


def u32(v):
    return struct.pack('<I', v)


def u64(v):
    return struct.pack('<Q', v)


def text(s):
    s = s.encode() if isinstance(s, str) else s
    return u32(len(s)) + s + b'\0'


def texts(many):
    return u32(len(many)) + b''.join(map(text, many))


class Fields:
    """What a payload has, one behind the other."""

    def __init__(self, payload):
        self.data, self.at = payload, 0

    def number(self, form):
        v = struct.unpack_from('<' + form, self.data, self.at)[0]
        self.at += struct.calcsize('<' + form)
        return v

    def u32(self):
        return self.number('I')

    def u64(self):
        return self.number('Q')

    def i64(self):
        return self.number('q')

    def text(self):
        n = self.u32()
        s = self.data[self.at:self.at + n]
        assert self.data[self.at + n] == 0
        self.at += n + 1
        return s.decode('utf-8', 'surrogateescape')

    def rest(self):
        return self.data[self.at:]


def open_payload(words=('cat',), flags=1, replacement='', parens='', names=(), worker=(), framing=0, env=(),
                 slot_var='', shell='', dir='', host='far', login='me@far', nice=20, limit=2, limit_min=0,
                 limit_max=0, kind=0, load_max=0, memfree=0, memsuspend=0, noswap=0, learn=0, jobs='', load='',
                 timeout=20.0, dial=(), token=''):
    """The payload of OPEN; limit 0: the agent finds it."""
    return (texts(words) + u32(flags) + text(replacement) + text(parens) + texts(names) + texts(worker) +
            u32(framing) + texts(env) + text(slot_var) + text(shell) + text(dir) + text(host) + text(login) +
            u32(nice) + u32(limit) + u32(limit_min) + u32(limit_max) + u32(kind) + u64(load_max) +
            u64(memfree) + u64(memsuspend) + bytes([noswap, learn]) + text(jobs) + text(load) +
            u64(int(timeout * 1e9)) + texts(dial) + text(token))


class Done:
    """What is known of a task: out and err (bytes), began, and once it has its RESULT, outcome, status and whether its
    files wait for KEPT."""

    def __init__(self):
        self.out = self.err = b''
        self.began = self.returned = False
        self.outcome = self.status = None
        self.waits = False


class Agent:
    """knee agent as a child, and this side as its coordinator."""

    def __init__(self, *, argv=None, env=None, greet=True, cwd=None):
        self.env = clean_env(env)
        self.mark = self.env['KNEETEST_MARK']
        self.process = subprocess.Popen(argv or knee_argv('agent'), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env, cwd=cwd)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.data = bytearray()
        self.frames = []    # all that came
        self.tasks = {}
        self.limit = self.want = None
        self.refused = self.bye = None
        self.ended = False
        self.greeting = None
        if greet:
            self.greet()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cut()

    # -- sending

    def send(self, *frames):
        self.process.stdin.write(b''.join(frames))
        self.process.stdin.flush()

    def greet(self, protocol=PROTOCOL):
        self.send(f'knee-coordinator {protocol} 0.1.0\n'.encode())

    def open(self, *words, **options):
        self.send(frame('O', open_payload(words, **options)))
        self.until(lambda: self.want is not None or self.refused is not None)

    def task_frame(self, id, *args, seq=None, slot=1, flags=0, returns=(), clean=()):
        self.tasks.setdefault(id, Done())
        return frame('T', u64(id) + u64(id if seq is None else seq) + u32(slot) + u32(flags) + texts(args) +
                     texts(returns) + texts(clean))

    def task(self, id, *args, **more):
        self.send(self.task_frame(id, *args, **more))

    def signal(self, id, number):
        self.send(frame('S', u64(id) + u32(number)))

    def kept(self, id, kept=True):
        self.send(frame('K', u64(id) + u32(int(kept))))

    def ping(self, stamp=1):
        self.send(frame('P', u64(stamp)))

    def close(self):
        """No more tasks; wait for BYE and the end."""
        self.send(frame('X'))
        self.until(lambda: self.bye is not None)
        return self.wait()

    # -- reading

    def read(self, seconds):
        """Read what comes within this time. False: nothing did."""
        fd = self.process.stdout.fileno()
        if not select.select([fd], [], [], seconds)[0]:
            return False
        got = os.read(fd, 1 << 20)
        self.ended = self.ended or not got
        self.data += got
        self.parse()
        return True

    def parse(self):
        while self.greeting is None:
            end = self.data.find(b'\n')
            if end < 0:
                return
            # What a login says before it does not count.
            line = bytes(self.data[:end]).decode()
            self.greeting = line if line.startswith('knee-') else None
            del self.data[:end + 1]
        while (f := take(self.data)) is not None:
            del self.data[:f[2]]
            self.frames.append(f[:2])
            self.took(f[0], Fields(f[1]))

    def took(self, kind, f):
        if kind in 'BoeERG':
            id = f.u64()
            t = self.tasks.setdefault(id, Done())
            assert t.outcome is None and not t.returned, f'{kind} of {id} after its end'
            if kind == 'B':
                t.began = True
            elif kind == 'o':
                t.out += f.rest()
            elif kind == 'e':
                t.err += f.rest()
            elif kind == 'R':
                t.outcome, t.status = f.i64(), f.i64()
                f.at += 13 * 8
                t.waits = f.u32() == 1
            elif kind == 'G':
                t.returned = True
        elif kind == 'C':
            self.limit, self.want = f.u32(), f.u32()
        elif kind == 'J':
            self.refused = f.text()
        elif kind == 'Z':
            self.bye = f.u32()

    def until(self, holds, seconds=20):
        """Read until holds() is true; fails after this time, or when there is nothing more to come."""
        end = time.monotonic() + seconds * SLOW
        while not holds():
            left = end - time.monotonic()
            assert left > 0, f'nothing like it within {seconds} s; the last frames: {self.frames[-5:]}'
            assert not self.ended, f'the agent has ended; the last frames: {self.frames[-5:]}'
            self.read(left)

    def result(self, id):
        self.until(lambda: self.tasks[id].outcome is not None)
        return self.tasks[id]

    # -- the end

    def left(self):
        """The pids of what runs still, it and its tasks."""
        return marked(self.mark)

    def wait(self, seconds=20):
        """Its exit status, with all that it said."""
        end = time.monotonic() + seconds * SLOW
        while not self.ended:
            assert time.monotonic() < end, 'the agent does not end'
            self.read(end - time.monotonic())
        status = self.process.wait(max(0.1, end - time.monotonic()))
        self.err = self.process.stderr.read()
        return status

    def cut(self):
        """End the connection."""
        for f in (self.process.stdin, self.process.stdout):
            try:
                f.close()
            except OSError:
                pass
        try:
            self.process.wait(20 * SLOW)
        except subprocess.TimeoutExpired:
            print(f'# the agent {self.process.pid} outlives its connection', file=sys.stderr)
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()
