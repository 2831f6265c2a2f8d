#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A worker for knee: the names of files come in, one a line; lines, words and bytes go out, as wc has them.

    find /usr/share/doc -type f | knee --worker examples/wordcount.py
    find . -type f -print0 | knee -0 --framing length --worker 'examples/wordcount.py --length'

What a worker has to do: read a record, write its answer, and flush it before it waits for the next; end
when its input does. With --framing line, the default, both are lines. With --length it speaks the
framing of that name, in which records may hold anything and each answer has an exit status: a
file that cannot be read is a task that failed, and the reason is on stderr.
"""

import os
import sys


def count(name):
    """(lines, words, bytes) of the file."""
    lines = words = size = 0
    tail = b''
    with open(name, 'rb') as f:
        while block := f.read(1 << 20):
            lines += block.count(b'\n')
            size += len(block)
            # A word may go on in the next block.
            block = tail + block
            cut = max(map(block.rfind, (b' ', b'\n', b'\t', b'\r', b'\v', b'\f'))) + 1
            words += len(block[:cut].split())
            tail = block[cut:]
    return lines, words + len(tail.split()), size


def answer(name):
    """The text of the answer, and its exit status."""
    try:
        lines, words, size = count(name)
    except OSError as e:
        print(f'wordcount: {os.fsdecode(name)}: {e.strerror}', file=sys.stderr, flush=True)
        return b'? ? ? ' + name, 1
    return b'%d %d %d %s' % (lines, words, size, name), 0


def by_lines(records, answers):
    for line in records:
        answers.write(answer(line.rstrip(b'\n'))[0] + b'\n')
        answers.flush()


def by_length(records, answers):
    while size := records.readline():
        text, status = answer(records.read(int(size)))
        answers.write(b'%d %d\n%s\n' % (len(text) + 1, status, text))
        answers.flush()


if __name__ == '__main__':
    speak = by_length if '--length' in sys.argv[1:] else by_lines
    speak(sys.stdin.buffer, sys.stdout.buffer)
