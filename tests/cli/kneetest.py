# SPDX-License-Identifier: MIT
"""What end-to-end tests of knee share: running the program, waiting, looking at processes.

    from kneetest import *

    class Order(unittest.TestCase):
        def test_input_order(self):
            r = knee('echo', ':::', 'a', 'b')
            self.assertEqual((r.out, r.err, r.status), (b'a\\nb\\n', b'', 0))

Every run gets a clean environment with a mark of its own in it. After the run no
process may carry that mark: a test fails by itself when knee leaves something behind.
Nothing here sleeps and hopes: wait_for() looks until the thing is true, or fails.

Set by tests/run: KNEE_PROGRAM (what is tested), KNEE_WRAPPER (words put before it:
valgrind), KNEE_SLOW (a factor for all time limits), KNEE_SANITIZED.
"""

import atexit
import contextlib
import fcntl
import functools
import os
import pty
import resource
import select
import shlex
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import time
import unittest
from pathlib import Path

__all__ = [
    'KNEE', 'GNU', 'ROOT', 'SANITIZED', 'SLOW', 'VALGRIND', 'Pty', 'Result', 'argv_of',
    'clean_env', 'command_of', 'descendants', 'engine_of', 'gnu', 'kill_marked', 'knee', 'knee_argv',
    'marked', 'mark_of', 'on_free_cores', 'open_fds', 'os', 'process_state', 'run', 'scratch', 'signal',
    'small_tmpfs', 'start', 'stop_after_tasks', 'subprocess', 'time', 'unittest', 'wait_descendants', 'wait_for',
    'wait_gone', 'wait_state', 'xargs',
]

ROOT = Path(__file__).resolve().parents[2]
KNEE = os.path.abspath(os.environ.get('KNEE_PROGRAM') or ROOT / 'build/cli/knee')
WRAPPER = shlex.split(os.environ.get('KNEE_WRAPPER', ''))
VALGRIND = 'valgrind' in WRAPPER
SANITIZED = bool(os.environ.get('KNEE_SANITIZED'))
SLOW = float(os.environ.get('KNEE_SLOW') or 1)

# Who runs the tests in the background of a shell, or under nohup, has these ignored, and so would knee.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
MARK = 'KNEETEST_MARK'

_base = tempfile.mkdtemp(prefix='kneetest-')
atexit.register(shutil.rmtree, _base, ignore_errors=True)
_count = 0


def _folder(name):
    path = os.path.join(_base, name)
    os.makedirs(path, exist_ok=True)
    return path


def _is_gnu(path):
    """True for GNU parallel; moreutils has a program of the same name."""
    if path is None:
        return False
    r = subprocess.run([path, '--version'], capture_output=True, stdin=subprocess.DEVNULL,
                       env={'PATH': PATH, 'HOME': _folder('home')})
    return b'GNU parallel' in r.stdout


# The real GNU parallel, or None: use @unittest.skipUnless(GNU, 'GNU parallel is not installed').
GNU = next((p for p in (shutil.which('parallel', path=PATH),
                        shutil.which('parallel.gnu', path=PATH)) if _is_gnu(p)), None)


def scratch():
    """A new empty folder that goes when the test program ends."""
    return tempfile.mkdtemp(dir=_folder('scratch'))


def clean_env(more=None):
    """The environment of a run: nothing of the caller's but what sanitizers need. A value
    of None in more takes a variable away. TMPDIR is a folder of this test program."""
    global _count
    _count += 1
    env = {
        'PATH': PATH, 'HOME': _folder('home'), 'TMPDIR': _folder('tmp'), 'LC_ALL': 'C',
        'SHELL': '/bin/sh', MARK: f'{os.getpid()}-{_count}-{time.monotonic_ns()}',
    }
    for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS', 'LSAN_OPTIONS'):
        if name in os.environ:
            env[name] = os.environ[name]
    env.update(more or {})
    return {k: v for k, v in env.items() if v is not None}


def knee_argv(*args, face='knee'):
    """The words that run the program under this name."""
    program = KNEE
    if face != 'knee':
        program = os.path.join(_folder('faces'), face)
        if not os.path.lexists(program):
            os.symlink(KNEE, program)
    return [*WRAPPER, program, *map(os.fspath, args)]


class Result:
    """How a run ended: out and err (bytes), status (-N: signal N), seconds, and left: the
    files in TMPDIR that were not there before."""

    def __init__(self, out, err, status, seconds, left):
        self.out, self.err, self.status, self.seconds, self.left = out, err, status, seconds, left

    def __repr__(self):
        return (f'Result(status={self.status}, out={_short(self.out)}, err={_short(self.err)}, '
                f'seconds={self.seconds:.2f})')


def _short(data):
    if data is None or len(data) <= 2000:
        return repr(data)
    return f'{data[:1000]!r} ... {data[-1000:]!r} ({len(data)} bytes)'


def run(argv, input=b'', env=None, timeout=60, cwd=None, may_leave=False, **popen):
    """Run any program to its end in a clean environment and a session of its own. input may
    be bytes, None (/dev/null) or a file. AssertionError on a timeout, and when a process
    stays behind unless may_leave."""
    env = clean_env(env)
    before = set(os.listdir(env.get('TMPDIR', _folder('tmp'))))
    popen.setdefault('stdout', subprocess.PIPE)
    popen.setdefault('stderr', subprocess.PIPE)
    popen['stdin'] = (subprocess.PIPE if isinstance(input, bytes) else
                      subprocess.DEVNULL if input is None else input)
    begin = time.monotonic()
    p = subprocess.Popen(argv, env=env, cwd=cwd, start_new_session=True, **popen)
    try:
        out, err = p.communicate(input if isinstance(input, bytes) else None, timeout * SLOW)
    except subprocess.TimeoutExpired as e:
        kill_marked(env[MARK])
        p.kill()
        p.wait()
        raise AssertionError(f'{argv!r} did not end in {timeout * SLOW:g} s; stdout '
                             f'{_short(e.stdout)}, stderr {_short(e.stderr)}') from None
    seconds = time.monotonic() - begin
    if not may_leave:
        _check_left(env[MARK])
    left = sorted(set(os.listdir(env.get('TMPDIR', _folder('tmp')))) - before)
    return Result(out, err, p.returncode, seconds, left)


def _check_left(mark):
    # Killed processes need a moment to go; those that stay are a defect.
    try:
        wait_for(lambda: not marked(mark), timeout=2, what='no process is left behind')
    except AssertionError:
        names = [f'{pid} {command_of(pid)}' for pid in marked(mark)]
        kill_marked(mark)
        raise AssertionError(f'left behind: {names}') from None


def knee(*args, input=b'', env=None, face='knee', timeout=60, cwd=None, **more):
    """Run knee to its end. face='parallel' runs it under that name. See run()."""
    return run(knee_argv(*args, face=face), input, env, timeout, cwd, **more)


def gnu(*args, input=b'', env=None, timeout=60, cwd=None, **more):
    """The same with the real GNU parallel, as the model to compare with."""
    if GNU is None:
        raise unittest.SkipTest('GNU parallel is not installed')
    r = run([GNU, '--will-cite', *map(os.fspath, args)], input, env, timeout, cwd, **more)
    # It asks lscpu, which complains where /sys is not mounted.
    r.err = b''.join(line for line in r.err.splitlines(True) if not line.startswith(b'lscpu:'))
    return r


def xargs(*args, input=b'', env=None, timeout=60, cwd=None, **more):
    """The same with xargs."""
    return run(['xargs', *map(os.fspath, args)], input, env, timeout, cwd, **more)


@contextlib.contextmanager
def start(*args, env=None, face='knee', argv=None, may_leave=False, **popen):
    """A run of knee (or of argv) that goes on while the with block looks at it: a Popen with
    pipes, stdin closed unless given, and .mark. Whatever still runs at the block's end is
    killed; what knee left behind fails the test if knee had ended by then."""
    env = clean_env(env)
    popen.setdefault('stdin', subprocess.DEVNULL)
    popen.setdefault('stdout', subprocess.PIPE)
    popen.setdefault('stderr', subprocess.PIPE)
    popen.setdefault('bufsize', 0)
    p = subprocess.Popen(argv or knee_argv(*args, face=face), env=env, start_new_session=True,
                         **popen)
    p.mark = env[MARK]
    try:
        yield p
        if p.poll() is not None and not may_leave:
            _check_left(p.mark)
    finally:
        kill_marked(p.mark)
        if p.poll() is None:
            p.kill()
        p.wait()
        for f in (p.stdin, p.stdout, p.stderr):
            if f is not None:
                with contextlib.suppress(BrokenPipeError):
                    f.close()


# ---- waiting ------------------------------------------------------------------------------

def wait_for(condition, timeout=10, what=None):
    """Look until condition() is true and return what it gave; AssertionError after timeout
    seconds (times KNEE_SLOW). what: what was waited for, or what gives it then."""
    end = time.monotonic() + timeout * SLOW
    pause = 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            what = what() if callable(what) else what or condition
            raise AssertionError(f'waited {timeout * SLOW:g} s in vain: {what}')
        time.sleep(pause)
        pause = min(pause * 1.5, 0.02)


def wait_state(pid, states, timeout=10):
    """Wait until the process is in one of these states, as /proc names them ('T': stopped,
    'S': sleeping, 'Z': zombie)."""
    return wait_for(lambda: process_state(pid) in tuple(states), timeout,
                    f'state of {pid} in {states}')


def wait_gone(pids, timeout=10):
    """Wait until none of these processes runs; a zombie does not run."""
    pids = [pids] if isinstance(pids, int) else list(pids)
    wait_for(lambda: all(process_state(p) in (None, 'Z', 'X') for p in pids), timeout,
             f'{pids} have ended')


def wait_descendants(pid, n, named=None, timeout=10):
    """Wait until pid has at least n descendants (whose command name is named); their pids."""
    def look():
        found = [d for d in descendants(pid) if named is None or command_of(d) == named]
        return found if len(found) >= n else None
    return wait_for(look, timeout, f'{n} descendants {named or ""} of {pid}')


# ---- processes ----------------------------------------------------------------------------

def _stat(pid):
    """(name, state, parent) or None."""
    try:
        with open(f'/proc/{pid}/stat', 'rb') as f:
            data = f.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    name = data[data.index(b'(') + 1:data.rindex(b')')].decode(errors='replace')
    rest = data[data.rindex(b')') + 2:].split()
    return name, rest[0].decode(), int(rest[1])


def _pids():
    return [int(name) for name in os.listdir('/proc') if name.isdigit()]


def process_state(pid):
    """One letter as /proc has it, or None when there is no such process."""
    stat = _stat(pid)
    return stat[1] if stat else None


def command_of(pid):
    """The process's short name, or None."""
    stat = _stat(pid)
    return stat[0] if stat else None


def argv_of(pid):
    """Its command line, a list of bytes; empty for a zombie or none."""
    try:
        return Path(f'/proc/{pid}/cmdline').read_bytes().split(b'\0')[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def descendants(pid):
    """The pids of all children, their children and so on, zombies not counted."""
    children = {}
    for p in _pids():
        stat = _stat(p)
        if stat and stat[1] not in 'ZX':
            children.setdefault(stat[2], []).append(p)
    found, todo = [], [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            found.append(child)
            todo.append(child)
    return found


def engine_of(keeper):
    """The process that runs the engine: a child of the one that was started."""
    return next(p for p in descendants(keeper) if (stat := _stat(p)) and stat[2] == keeper)


def stop_after_tasks(keeper, number):
    """Do as who ends a whole service or job does, in the worst order: all tasks die of this signal, then comes
    SIGTERM, and only then does knee see any of it."""
    engine = engine_of(keeper)
    for pid in (keeper, engine):
        os.kill(pid, signal.SIGSTOP)
    for pid in descendants(engine):
        os.kill(pid, number)
    wait_for(lambda: not descendants(engine), what='the tasks to end')
    os.kill(engine, signal.SIGTERM)
    os.kill(engine, signal.SIGCONT)
    # The keeper passes its SIGCONT on, and one that comes while LeakSanitizer stops the engine at its end would
    # let it wait for ever.
    wait_state(engine, 'ZX')
    os.kill(keeper, signal.SIGCONT)


def open_fds(pid):
    """{number: what it is} of the process's descriptors."""
    found = {}
    for name in os.listdir(f'/proc/{pid}/fd'):
        with contextlib.suppress(FileNotFoundError):
            found[int(name)] = os.readlink(f'/proc/{pid}/fd/{name}')
    return found


def mark_of(process):
    """The mark of a start() or Pty."""
    return process.mark


def marked(mark):
    """The pids of all running processes of one run, wherever they hang in the tree."""
    needle = f'{MARK}={mark}'.encode()
    found = []
    for pid in _pids():
        try:
            with open(f'/proc/{pid}/environ', 'rb') as f:
                if needle in f.read().split(b'\0') and process_state(pid) not in (None, 'Z', 'X'):
                    found.append(pid)
        except OSError:
            continue
    return found


def kill_marked(mark):
    """Kill them all, also those that they start meanwhile."""
    end = time.monotonic() + 5
    while (pids := marked(mark)) and time.monotonic() < end:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


# ---- surroundings -------------------------------------------------------------------------

class Pty:
    """knee on a terminal of its own, as its controlling terminal. stdin, stdout and stderr
    are the terminal unless given otherwise (a file, subprocess.PIPE, DEVNULL).

        with Pty('sleep', ':::', '1', cols=20) as t:
            t.read_until(b'ETA')
            t.resize(200)
            self.assertEqual(t.finish(), 0)
            t.data          # every byte the terminal got
    """

    def __init__(self, *args, rows=24, cols=80, env=None, face='knee', argv=None, cwd=None,
                 stdin='tty', stdout='tty', stderr='tty'):
        self.master, slave = pty.openpty()
        self.data = b''
        self._size(rows, cols)
        mode = termios.tcgetattr(slave)
        mode[1] &= ~termios.OPOST       # bytes as they were written: no \r before \n
        termios.tcsetattr(slave, termios.TCSANOW, mode)
        env = clean_env({'TERM': 'xterm', **(env or {})})
        self.mark = env[MARK]

        def controlling():
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        files = {name: slave if f == 'tty' else f
                 for name, f in (('stdin', stdin), ('stdout', stdout), ('stderr', stderr))}
        try:
            self.process = subprocess.Popen(
                argv or knee_argv(*args, face=face), env=env, cwd=cwd, start_new_session=True,
                preexec_fn=controlling, **files)
        finally:
            os.close(slave)

    def _size(self, rows, cols):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack('HHHH', rows, cols, 0, 0))

    def resize(self, cols, rows=24):
        """Give the terminal another size; the kernel sends SIGWINCH."""
        self._size(rows, cols)

    def send(self, data):
        """Type."""
        os.write(self.master, data)

    def read(self, timeout=0.0):
        """Take what there is into data; False when the terminal has been closed."""
        while select.select([self.master], [], [], timeout)[0]:
            try:
                got = os.read(self.master, 65536)
            except OSError:
                return False
            if not got:
                return False
            self.data += got
            timeout = 0
        return True

    def read_until(self, text, timeout=10, since=0):
        """Wait until text (bytes) has come after offset since; the offset after it."""
        end = time.monotonic() + timeout * SLOW
        alive = True
        while text not in self.data[since:]:
            if not alive or time.monotonic() > end:
                raise AssertionError(f'{text!r} never came: {_short(self.data)}')
            alive = self.read(0.05)
        return self.data.index(text, since) + len(text)

    def finish(self, timeout=30):
        """Read on until the program has ended; its status."""
        end = time.monotonic() + timeout * SLOW
        while self.process.poll() is None:
            if time.monotonic() > end:
                raise AssertionError(f'did not end: {_short(self.data)}')
            if not self.read(0.02):
                time.sleep(0.005)
        self.read(0)
        _check_left(self.mark)
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        kill_marked(self.mark)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for f in (self.process.stdin, self.process.stdout, self.process.stderr):
            if f is not None:
                f.close()
        os.close(self.master)


def _cores_used():
    """Seconds of CPU: of the cores used here by anyone, other machines on them included, and by the tests."""
    busy = 0
    cores = os.sched_getaffinity(0)
    with open('/proc/stat') as f:
        for name, *times in map(str.split, f):
            if name.startswith('cpu') and name[3:].isdigit() and int(name[3:]) in cores:
                user, nice, system, _, _, irq, softirq, steal = map(int, times[:8])
                busy += user + nice + system + irq + softirq + steal
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return busy / os.sysconf('SC_CLK_TCK'), sum(r.ru_utime + r.ru_stime for r in own)


def on_free_cores(test):
    """For a test of what depends on the cores: where others took much of them meanwhile, what would have been
    right is not known, and a failure is a skip."""
    @functools.wraps(test)
    def wrapped(self):
        begin, (busy, own) = time.monotonic(), _cores_used()
        try:
            test(self)
        except (AssertionError, IndexError, ValueError):
            busy, own = (now - then for now, then in zip(_cores_used(), (busy, own)))
            there = (time.monotonic() - begin) * len(os.sched_getaffinity(0))
            # A test that waits uses next to nothing itself.
            if busy - own > 0.25 * busy and busy - own > 0.1 * there:
                self.skipTest(f'others took {(busy - own) / there:.0%} of the cores')
            raise
    return wrapped


@contextlib.contextmanager
def small_tmpfs(size='2m'):
    """A folder on a file system of its own of that size. Skips the test where mounting is
    not allowed."""
    folder = scratch()
    r = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size},mode=0777', 'kneetest', folder],
                       capture_output=True)
    if r.returncode != 0:
        raise unittest.SkipTest('mounting a tmpfs is not allowed here')
    try:
        yield folder
    finally:
        subprocess.run(['umount', '-l', folder], check=True)
