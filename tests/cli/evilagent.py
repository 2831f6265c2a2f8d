# SPDX-License-Identifier: MIT
"""A login command for tests: it leads to a good agent, or to one that is broken in the way that its name says.

    knee --ssh 'python3 evilagent.py' -S good,evil-flood ...

The good one waits until the evil one has done its worst ($EVIL_DONE exists), or the run would be over before.
"""

import os
import struct
import sys
import time

os.environ['KNEE'] = os.environ['EVIL_KNEE']
# What is loaded makes folders of its own.
os.environ['TMPDIR'] = os.path.dirname(os.environ['EVIL_DONE']) + '/tmp'
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from agentframes import Fields, frame, take, text, u32, u64  # noqa: E402

MOST32, MOST64 = 2 ** 32 - 1, 2 ** 64 - 1
ESCAPE = '\x1b[2J\x1b]0;title\x07'
# Names that tasks of the other machine may have.
GUESSES = [generation << 32 | i for generation in (1, 2, 3) for i in range(1, 41)]
out = sys.stdout.buffer


def say(*data):
    out.write(b''.join(data))
    out.flush()


def file_back(id, data=b'it\n'):
    return frame('F', u64(id) + u32(0o644) + u64(0) + u64(len(data)) + text('') + u32(0)) + frame('D', data)


def result(id, outcome=0, status=0, error=0, rest=0, waits=0):
    return frame('R', u64(id) + struct.pack('<15q', outcome, status, error, *[rest] * 12) + u32(waits))


def credit(limit, want, why=''):
    return frame('C', u32(limit) + u32(want) + text(why))


def done():
    open(os.environ['EVIL_DONE'], 'w').close()


def greet(protocol=1):
    say(b'knee-agent %d 0.0.evil\n' % protocol)


def hello():
    greet()
    say(frame('H', text('evil') + text('x86_64') + u32(1) + u64(1)), frame('Y', u32(0)))


def hang():
    """Until the other side closes, or kills us."""
    while os.read(0, 65536):
        pass


def deaf():
    """Nothing is read."""
    time.sleep(600)


def frames():
    """What comes, one by one."""
    data = bytearray()
    while True:
        got = os.read(0, 1 << 20)
        if not got:
            return
        data += got
        if data.startswith(b'knee-coordinator'):
            if b'\n' not in data:
                continue
            del data[:data.index(b'\n') + 1]
        while (f := take(data)) is not None:
            del data[:f[2]]
            yield f[0], Fields(f[1])


def asked():
    """The same of an agent that lives, until it is told to end."""
    for kind, f in frames():
        if kind == 'P':
            say(frame('Q', u64(f.u64())))
        elif kind == 'X':
            say(frame('Z', u32(0)))
            return
        else:
            yield kind, f


def serve(each, limit=4, want=8):
    """An honest agent of `echo`, but for what each(id, output) sends instead of a task's output and result."""
    say(credit(limit, want))
    for kind, f in asked():
        if kind == 'T':
            id = f.u64()
            f.u64(), f.u32(), f.u32()
            args = [f.text() for _ in range(f.u32())]
            each(id, ' '.join(args).encode() + b'\n')


def honest(id, output):
    say(frame('B', u64(id) + u64(0)), frame('o', u64(id) + output), result(id))


# ---- before the greeting

def noise():
    while True:
        say(b'Welcome to evil\n' * 4096)


def noise_line():
    while True:
        say(b'a' * 65536)


def greeting_long():
    say(b'knee-agent 1 ' + b'a' * (1 << 20))
    hang()


def greeting_bad():
    say(b'knee-agent one two\n')
    hang()


def greeting_other():
    greet(2)
    hang()


def boot_want():
    for _ in range(10000):
        say(b'knee-boot want %s 1000\nknee-boot want x86_64 99999999999999999999\n' % os.uname().machine.encode())
    hang()


def boot_failed():
    say(b'knee-boot failed ' + ESCAPE.encode() + b'\n' + b'knee-boot failed again and again\n' * 10000)


def stderr_flood():
    for _ in range(2000):
        os.write(2, (ESCAPE + 'a line of its own\n').encode() * 1000)


def stderr_line():
    for _ in range(500):
        os.write(2, b'b' * 65536)


def silent():
    deaf()


# ---- before it is up

def refused():
    greet()
    say(frame('J', text('no ' + ESCAPE + 'way' * 10000)))
    hang()


def hello_twice():
    hello()
    say(frame('H', text('evil') + text('x86_64') + u32(1) + u64(1)))
    hang()


def result_early():
    greet()
    say(*map(result, GUESSES))
    hang()


def hello_only():
    greet()
    say(frame('H', text('evil') + text('x86_64') + u32(1) + u64(1)))
    hang()


# ---- no frames

def size_most():
    hello()
    say(b'\xff\xff\xff\xffo\0\0\0\0\0\0\0' + b'x' * (1 << 20))
    hang()


def check_bad():
    hello()
    say(bytes([*frame('Q', u64(1))[:-1], 7]))
    hang()


def fields_short():
    hello()
    say(frame('R', b'abc'))
    hang()


def texts_bad():
    hello()
    say(frame('C', u32(1) + u32(1) + u32(MOST32) + b'x\0'))
    hang()


def kinds_other():
    hello()
    say(frame('O', b''), frame('T', u64(1)), frame('X'))
    hang()


def file_unasked():
    hello()
    for path in ('../evil-file', '/tmp/evil-file', 'evil-file'):
        say(frame('F', u64(GUESSES[0]) + u32(0o644) + u64(0) + u64(3) + text(path) + u32(0)), frame('D', b'abc'))
    hang()


def file_most():
    hello()
    say(frame('F', u64(GUESSES[0]) + u32(0o4777) + u64(0) + u64(MOST64) + text('') + u32(MOST32)),
        *[frame('D', b'x' * 100000)] * 200)
    hang()


# ---- frames that are right, and lies

def credit_most():
    """All is wanted, nothing is read."""
    hello()
    say(credit(MOST32, MOST32))
    deaf()


def mute():
    """Tasks are taken, and that is the last that is heard."""
    hello()
    say(credit(4, 8))
    hang()


def no_credit():
    """All is well there, as long as anybody asks; only tasks it never wants. When it is tried again it is honest."""
    hello()
    if os.path.exists(os.environ['EVIL_DONE']):
        return serve(honest)
    done()
    for kind, f in frames():
        if kind == 'P':
            say(frame('Q', u64(f.u64())))


def no_credit_wanted():
    """The same, but it says so; tasks it wants when that would be too late."""
    hello()
    say(credit(0, 0))
    since = time.monotonic()
    for kind, f in frames():
        if kind == 'P':
            say(frame('Q', u64(f.u64())))
        if time.monotonic() - since > 1.5:
            return serve(honest)


def credit_flood():
    hello()
    for i in range(50000):
        say(credit(i % 7, i % 11, f'{ESCAPE} {i}' * 5))
    done()
    serve(honest)


def others_tasks():
    """Results, output and ends of tasks that another machine has."""
    hello()
    say(credit(1, 1))
    done()
    for _ in range(40):
        for id in GUESSES:
            say(frame('B', u64(id) + u64(MOST64)), frame('o', u64(id) + b'evil\n'), frame('G', u64(id)),
                result(id, status=3))
        time.sleep(0.005)
    serve(honest)


def others_flood():
    hello()
    for i in range(2000):
        say(frame('o', u64(MOST64 - i) + b'x' * 100000))
    done()
    serve(honest)


def twice():
    def each(id, output):
        honest(id, output)
        honest(id, b'evil\n')
        say(frame('G', u64(id)), frame('e', u64(id) + b'evil\n'), result(id, status=9))
    hello()
    serve(each)


def notes():
    hello()
    for i in range(50000):
        say(frame('N', u64(i % 2 * i) + text(f'{ESCAPE} {i}' + 'n' * 1000)))
    done()
    serve(honest)


def numbers_most():
    def each(id, output):
        say(frame('B', u64(id) + u64(MOST64)), frame('o', u64(id) + output), result(id, rest=2 ** 63 - 1))
    hello()
    serve(each)


def numbers_half():
    def each(id, output):
        say(frame('B', u64(id) + u64(2 ** 62 - 2)), frame('o', u64(id) + output), result(id, rest=2 ** 62))
    hello()
    serve(each)


def waits_flood():
    """Files wait of tasks without number, and what is answered is not read."""
    hello()
    say(credit(1, 1))
    block = b''.join(result(MOST64 - i, waits=1) for i in range(10000))
    for _ in range(500):
        say(block)
    done()
    deaf()


def waits_for_nothing():
    """Files wait of tasks that have none, and of tasks that are none."""
    def each(id, output):
        say(frame('o', u64(id) + output), result(id, waits=1), result(id, waits=2),
            *[result(MOST64 - i, waits=1) for i in range(20)])
    hello()
    serve(each)


def returned_all():
    """All is given back, again and again."""
    hello()
    serve(lambda id, output: say(frame('G', u64(id))))


def results_bad():
    hello()
    serve(lambda id, output: say(result(id, outcome=77, status=-5)))


def not_started():
    """Each task could not be started, for a reason that does not exist."""
    hello()
    serve(lambda id, output: say(frame('o', u64(id) + output), result(id, error=-4095)))


def bye_early():
    hello()
    say(credit(4, 8), frame('Z', u32(0)), credit(9, 9), *map(result, GUESSES))
    hang()


def pongs():
    hello()
    for i in range(100000):
        say(frame('Q', u64(i)))
    done()
    serve(honest)


# ---- agents that are honest, and slow to tell

def serve_few(limit, started, signalled):
    """started(ids) is told of each task, the last of ids; signalled(ids, id, signal) which one is sent what."""
    ids = []
    hello()
    say(credit(limit, 2))
    for kind, f in asked():
        if kind == 'T':
            ids.append(f.u64())
            started(ids)
        elif kind == 'S':
            signalled(ids, f.u64(), f.u32())


def serve_two(signalled):
    """Of two tasks the first fails when both are here; signalled(id, signal) is told what the second is sent."""
    def started(ids):
        if len(ids) == 2:
            say(frame('B', u64(ids[0]) + u64(0)), result(ids[0], status=1))
    serve_few(1, started, lambda ids, id, signal: id == ids[1] and signalled(id, signal))


def began_late():
    """That it began is on its way when it is sent the signal: it goes on only where that spares it."""
    def signalled(id, signal):
        say(frame('B', u64(id) + u64(0)))
        say(*[result(id, 1, signal)] if signal else [frame('o', u64(id) + b'late\n'), result(id)])
    serve_two(signalled)


def began_late_waits():
    """The same, but it goes on until it is made to end."""
    def signalled(id, signal):
        say(frame('B', u64(id) + u64(0)), frame('N', u64(0) + text(f'signal {signal}')))
        say(*[result(id, 1, signal)] * (signal > 0))
    serve_two(signalled)


def signal_note(signal):
    return frame('N', u64(0) + text(f'signal {signal}'))


def files_late():
    """The task has ended at once; what it made takes long."""
    def started(ids):
        say(frame('B', u64(ids[0]) + u64(0)), frame('E', u64(ids[0]) + u64(10 ** 8)))
        time.sleep(2)
        say(file_back(ids[0]), result(ids[0], rest=10 ** 8))
    serve_few(1, started, lambda ids, id, signal: say(signal_note(signal)))


def ended_by(number, *frames):
    """The task ends by this signal; a little later come these frames of (id, signal)."""
    def signalled(ids, id, signal):
        say(signal_note(signal))
        if signal == number:
            say(frame('E', u64(id) + u64(10 ** 12)))
            done()
            time.sleep(3 if frames else 0)
            say(*[f(id, signal) for f in frames])
    serve_few(1, lambda ids: say(frame('B', u64(ids[0]) + u64(0))), signalled)


def back(id, signal):
    return file_back(id) + result(id, 1, signal, rest=10 ** 12)


def ended_by_term():
    ended_by(15, back)


def ended_by_kill():
    ended_by(9, back)


def files_never():
    ended_by(15)


def files_never_by_kill():
    ended_by(9)


def result_late():
    """The task has ended in time, which is heard when it is too late."""
    serve_few(1, lambda ids: say(frame('B', u64(ids[0]) + u64(0))),
              lambda ids, id, signal: say(signal_note(signal), result(id, rest=10 ** 8)))


def path_long():
    """A name that no file has."""
    def started(ids):
        say(frame('B', u64(ids[0]) + u64(0)), frame('F', u64(ids[0]) + u32(0o644) + u64(0) + u64(0) +
                                                     text('a/' * 2048) + u32(0)), result(ids[0]))
    serve_few(1, started, lambda *_: None)


def base_slow():
    """What every machine gets is not read on until EVIL_DONE.go exists. When it is tried again it is a good agent."""
    if os.path.exists(os.environ['EVIL_DONE']):
        os.execv(os.environ['EVIL_KNEE'], [os.environ['EVIL_KNEE'], 'agent'])
    hello()
    say(credit(1, 1))
    for kind, f in asked():
        if kind == 'F' and not os.path.exists(os.environ['EVIL_DONE']):
            done()
            while not os.path.exists(os.environ['EVIL_DONE'] + '.go'):
                time.sleep(0.01)


def base_again():
    """The n-th time, what every machine gets is not read on until EVIL_DONE.n.go exists; but it does not say nothing
    for longer than --host-timeout, and so is a good machine until then."""
    n = 0
    while os.path.exists(f'{os.environ["EVIL_DONE"]}.{n}'):
        n += 1
    hello()
    say(credit(1, 1))
    for kind, f in asked():
        if kind == 'F':
            open(f'{os.environ["EVIL_DONE"]}.{n}', 'w').close()
            for _ in range(12):
                time.sleep(0.1)
                say(credit(1, 1))
            while not os.path.exists(f'{os.environ["EVIL_DONE"]}.{n}.go'):
                time.sleep(0.01)


def given_back():
    """The first task fails; when its next attempt is here the second one succeeds. That attempt never begins."""
    def started(ids):
        if len(ids) == 2:
            say(frame('B', u64(ids[0]) + u64(0)), result(ids[0], status=3))
        elif len(ids) == 3:
            say(frame('B', u64(ids[1]) + u64(0)), result(ids[1]))
    serve_few(2, started, lambda ids, id, signal: id == ids[2] and say(result(id, 3)))


def slow_reader():
    """The first task prints more than anybody reads at once; the second runs when that is so."""
    def started(ids):
        if len(ids) == 2:
            say(frame('B', u64(ids[0]) + u64(0)), *[frame('o', u64(ids[0]) + b'x' * 200000)] * 20, result(ids[0]))
            for _ in range(3):  # one may still be read
                time.sleep(0.2)
                say(frame('Q', u64(0)))
            honest(ids[1], b'ran\n')
            done()
    serve_few(1, started, lambda *_: None)


def nonsense_last():
    """What it has to do it does; in the same breath it says what costs it its connection."""
    hello()
    serve(lambda id, output: say(frame('B', u64(id) + u64(0)) + frame('o', u64(id) + output) + result(id) +
                                 frame('X')), 1, 1)


def kept():
    """Files wait of its task, and of one that nobody has; what is answered is told."""
    hello()
    say(credit(1, 1))
    for kind, f in asked():
        if kind == 'T':
            id = f.u64()
            say(result(id + 1, waits=1), frame('B', u64(id) + u64(0)))
        elif kind == 'K':
            say(frame('N', u64(0) + text(f'kept {f.u64() - id} {f.u32()}')), result(id))


def half_file():
    """Two of three tasks begin, and the first fails as the file of the third has begun to come; the rest of that is taken
    when somebody says so. What comes of the third is told, and the second ends."""
    files, ids = [], []
    hello()
    say(credit(2, 3))
    for kind, f in asked():
        if kind == 'F':
            files.append(f.u64())
            if len(files) == 3:
                say(frame('o', u64(ids[0]) + b'first\n'), result(ids[0], status=1))
                while not os.path.exists(os.environ['EVIL_DONE'] + '-go'):
                    time.sleep(0.01)
        elif kind == 'T' and len(ids) < 2:
            ids.append(f.u64())
            say(frame('B', u64(ids[-1]) + u64(0)))
        elif kind == 'T':
            id, seq, slot, flags = f.u64(), f.u64(), f.u32(), f.u32()
            say(frame('N', u64(0) + text(f'{id == files[2]} {seq} {slot} {flags} {f.rest()}')), result(id, 4, 126),
                result(ids[1]))


# They say when they have done it.
LATE = ['evil-credit-flood', 'evil-others-tasks', 'evil-others-flood', 'evil-notes', 'evil-pongs', 'evil-slow-reader',
        'evil-no-credit', 'evil-waits-flood', 'evil-files-never', 'evil-files-never-by-kill',
        'evil-base-slow', 'evil-base-again']


def main():
    name = next(w for w in sys.argv[1:] if w == 'good' or w.startswith('evil-'))
    if name == 'good':
        while not os.path.exists(os.environ['EVIL_DONE']):
            time.sleep(0.01)
        os.execv(os.environ['EVIL_KNEE'], [os.environ['EVIL_KNEE'], 'agent'])
    # Most are killed for the first thing that they say.
    if name not in LATE:
        done()
    try:
        globals()[name[len('evil-'):].replace('-', '_')]()
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        # Nobody hears it any more.
        os._exit(1)


if __name__ == '__main__':
    main()
