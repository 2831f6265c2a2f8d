# SPDX-License-Identifier: MIT
"""The progress line on a terminal, the summary, and what is written where there is none."""

import re

from kneetest import *

ESCAPE = re.compile(rb'\033\[([0-9;]*)([A-Za-z])')


class Screen:
    """What a person sees: enough of a terminal for carriage return, erasing and wrapping.
    codes are the kinds of escape sequences that came."""

    def __init__(self, cols, data=b''):
        self.cols, self.rows, self.row, self.col = cols, [[]], 0, 0
        self.folded = set()     # rows that go on in the next one
        self.codes = set()
        self.feed(data)

    def feed(self, data):
        at = 0
        while at < len(data):
            escape = ESCAPE.match(data, at)
            if escape:
                self.escape(escape[1], escape[2])
                at = escape.end()
                continue
            self.byte(data[at])
            at += 1

    def byte(self, c):
        if c == 0x0d:
            self.col = 0
        elif c == 0x0a:
            self.down()
        elif c >= 0x20 and c & 0xc0 != 0x80:
            if self.col == self.cols:
                self.folded.add(self.row)
                self.down()
            row = self.rows[self.row]
            row += b' ' * (self.col - len(row))
            row[self.col:self.col + 1] = [c]
            self.col += 1
        elif c < 0x20 or c == 0x7f:
            raise AssertionError(f'control byte {c:#x}')

    def down(self):
        self.row, self.col = self.row + 1, 0
        if self.row == len(self.rows):
            self.rows.append([])

    def escape(self, numbers, kind):
        self.codes.add(kind)
        if kind in b'KJ':
            self.folded.discard(self.row)
        if kind == b'K' and numbers == b'':
            del self.rows[self.row][self.col:]
        elif kind == b'J' and numbers == b'':
            del self.rows[self.row][self.col:]
            del self.rows[self.row + 1:]
        elif kind != b'm':
            raise AssertionError(f'escape sequence {numbers}{kind}')

    def resize(self, cols):
        """Fold the rows anew, as terminals do; the cursor stays with its row."""
        self.cols, rows, folded = cols, [], set()
        for i, row in enumerate(self.rows):
            if i == self.row:
                self.row = len(rows)
            for at in range(0, max(len(row), 1), cols):
                folded.add(len(rows))
                rows.append(row[at:at + cols])
            folded.discard(len(rows) - 1)
        self.rows, self.folded = rows, folded

    def lines(self):
        """All that is there, folded lines as one, empty ones left out."""
        lines, whole = [], True
        for i, row in enumerate(self.rows):
            if not whole:
                lines[-1] += bytes(row)
            elif row:
                lines.append(bytes(row))
            whole = i not in self.folded
        return [line.rstrip() for line in lines if line.strip()]


def drawn(data):
    """The pictures of the line, in order, without colours."""
    return [re.sub(rb'\033\[[0-9;]*m', b'', line)
            for line in re.findall(rb'\r([^\r\n]*)\033\[K\r', data)]


def terminal(*args, cols=80, face='knee', **more):
    """A run on a terminal, to its end: the Pty and its status."""
    with Pty(*args, cols=cols, face=face, **more) as t:
        status = t.finish()
    return t, status


def short(command):
    """The same with a run that is too short for a line; tried again where the machine made it a long one."""
    for _ in range(3):
        begin = time.monotonic()
        found = terminal(command, ':::', '1', '2')
        if time.monotonic() - begin < 0.5:
            break
    return found


SLOW_TASKS = ('-j2', 'sleep 0.4; true', ':::', '1', '2', '3', '4', '5', '6')
SUMMARY = re.compile(rb'^knee: 6 tasks, 0 failed, \d+\.\d s(; about \d\.\dx one at a time)?; '
                     rb'at most 2 at once$')
AT_ONCE = rb'\d at once( [v^])?(  (disk|net) \S+ \d+%)?(  cpu \d+%)?$'


class Line(unittest.TestCase):
    def test_appears_and_goes(self):
        t, status = terminal(*SLOW_TASKS)
        self.assertEqual(status, 0)
        self.assertTrue(drawn(t.data), t.data)
        for line in drawn(t.data):
            self.assertRegex(line, rb'^knee  \d/6(  \d+(\.\d)?/s)?  0 failed(  ETA \ds)?   ' + AT_ONCE)
        screen = Screen(80, t.data)
        self.assertEqual(len(screen.lines()), 1, screen.lines())
        self.assertRegex(screen.lines()[0], SUMMARY)

    def test_short_run_shows_nothing(self):
        t, _ = short('true')
        self.assertEqual(t.data, b'')

    def test_not_more_than_ten_a_second(self):
        t, _ = terminal('-j2', 'sleep 0.0{}; true', ':::', *map(str, range(1, 90)))
        seconds = float(re.search(rb', ([\d.]+) s;', t.data)[1])
        self.assertLessEqual(len(drawn(t.data)), seconds * 10 + 1)

    def test_nothing_changes_nothing_is_drawn(self):
        t, _ = terminal('-j1', 'sleep 1.5; true', ':::', '1')
        self.assertLessEqual(len(drawn(t.data)), 2, t.data)

    def test_widths(self):
        for cols in (200, 80, 40, 20, 12, 5, 2):
            with self.subTest(cols=cols):
                t, status = terminal(*SLOW_TASKS, cols=cols)
                self.assertEqual(status, 0)
                for line in drawn(t.data):
                    self.assertLess(len(line), cols)
                self.assertEqual(bool(drawn(t.data)), cols > 3)
                text = b''.join(Screen(cols, t.data).lines())
                self.assertTrue(text.startswith(b'knee:') and b'0 failed' in text, text)

    def test_twenty_columns_keep_the_count(self):
        t, _ = terminal(*SLOW_TASKS, cols=20)
        self.assertTrue(all(b'/6' in line for line in drawn(t.data)), t.data)

    def test_resize(self):
        with Pty('-j2', 'sleep 0.4; true', ':::', *map(str, range(12)), cols=80) as t:
            t.read_until(b'\033[K\r')
            at = len(t.data)
            t.resize(20)
            t.finish()
        self.assertTrue(any(len(line) > 20 for line in drawn(t.data[:at])))
        lines = drawn(t.data[at:])
        # One picture may have been under way when the terminal changed.
        self.assertTrue(lines[1:])
        self.assertTrue(all(len(line) < 20 for line in lines[1:]), lines)
        screen = Screen(80, t.data[:at])
        self.assertEqual(screen.col, 0)
        screen.resize(20)
        screen.feed(t.data[at:at + re.search(rb'\d/12[^\r\n]*\033\[K\r', t.data[at:]).end()])
        self.assertEqual(len(screen.lines()), 1, screen.lines())

    def test_no_size_uses_columns(self):
        t, _ = terminal(*SLOW_TASKS, cols=0, env={'COLUMNS': '30'})
        self.assertTrue(drawn(t.data))
        self.assertTrue(all(len(line) < 30 for line in drawn(t.data)))

    def test_total_of_a_pipe_is_unknown_at_first(self):
        read, write = os.pipe()
        with Pty('-j1', 'sleep 0.3; true', stdin=read) as t:
            os.close(read)
            os.write(write, b'1\n2\n')
            t.read_until(b'1 done')
            os.write(write, b'3\n')
            os.close(write)
            t.read_until(b'/3')
            self.assertEqual(t.finish(), 0)

    def test_total_of_files_and_products(self):
        folder = scratch()
        with open(os.path.join(folder, 'list'), 'w') as f:
            f.write('a\nb\nc')
        for options, inputs, total in (
                ((), (':::', '1', '2', ':::', '3', '4', '5'), b'/6'),
                (('-a', 'list'), (), b'/3'),
                ((), ('::::', 'list', ':::', '1', '2'), b'/6'),
                ((), (':::', '1', '2', ':::+', '3', '4'), b'/2'),
                (('--link',), (':::', '1', '2', ':::', '3', '4', '5'), b'/3'),
                (('-N2',), (':::', '1', '2', '3'), b'/2'),
                (('--header', ':'), (':::', 'h', '1', '2', '3'), b'/3')):
            with self.subTest(options=options, inputs=inputs):
                t, _ = terminal('-j0', '--bar', *options, 'sleep 1.5; true', *inputs, cwd=folder)
                self.assertTrue(drawn(t.data))
                self.assertTrue(all(total in line for line in drawn(t.data)), drawn(t.data))


class Surroundings(unittest.TestCase):
    def silent(self, *args, **more):
        t, status = terminal(*args, **more)
        self.assertEqual(status, 0)
        self.assertEqual(drawn(t.data), [])
        self.assertNotIn(b'\033', t.data)
        self.assertNotIn(b'\r', t.data)
        return t

    def test_dumb_terminal(self):
        for term in ('dumb', '', None):
            with self.subTest(TERM=term):
                t = self.silent(*SLOW_TASKS, env={'TERM': term})
                self.assertRegex(t.data.strip(), SUMMARY)

    def test_no_progress(self):
        self.assertEqual(self.silent('--no-progress', *SLOW_TASKS).data, b'')
        self.assertRegex(self.silent(*SLOW_TASKS, env={'NO_PROGRESS': '1'}).data.strip(), SUMMARY)

    def test_silent_has_no_summary(self):
        t, _ = terminal('--silent', *SLOW_TASKS)
        self.assertEqual(Screen(80, t.data).lines(), [])

    def test_ungrouped_has_no_line(self):
        t = self.silent('-u', *SLOW_TASKS)
        self.assertRegex(t.data.strip(), SUMMARY)

    def test_no_color(self):
        for env, colored in (({'NO_COLOR': '1'}, False), ({}, True)):
            t, status = terminal('-j2', 'sleep 0.4; false', ':::', '1', '2', '3', '4', env=env)
            self.assertEqual(status, 4)
            self.assertTrue(any(b' failed' in line for line in drawn(t.data)))
            self.assertEqual(b'm' in Screen(80, t.data).codes, colored, t.data)

    def test_utf8_where_the_locale_has_it(self):
        t, _ = terminal(*SLOW_TASKS, env={'LC_ALL': 'C.UTF-8'})
        self.assertNotRegex(t.data, rb'\dx one at a time')
        for line in drawn(t.data):
            self.assertNotRegex(line, rb'at once [v^]')

    def test_failures_are_summed_up(self):
        t, status = short('false')
        self.assertEqual(status, 2)
        self.assertRegex(t.data, rb'^knee: 2 tasks, 2 failed, 0\.\d s')

    def test_no_terminal_no_word(self):
        r = knee('sleep 0.7; false', ':::', '1')
        self.assertEqual((r.out, r.err, r.status), (b'', b'', 1))

    def test_stdout_elsewhere(self):
        read, write = os.pipe()
        with Pty('-j2', 'sleep 0.4; echo', ':::', '1', '2', '3', '4', stdout=write) as t:
            os.close(write)
            t.finish()
            self.assertEqual(os.read(read, 100), b'1\n2\n3\n4\n')
        os.close(read)
        self.assertTrue(drawn(t.data))
        self.assertEqual(len(Screen(80, t.data).lines()), 1)

    def test_face(self):
        t, _ = terminal(*SLOW_TASKS, face='parallel')
        self.assertTrue(all(line.startswith(b'parallel  ') for line in drawn(t.data)))
        self.assertRegex(Screen(80, t.data).lines()[0], rb'^parallel: 6 tasks')


class Asked(unittest.TestCase):
    def lines(self, *args, **more):
        r = knee(*args, '-j2', 'sleep 0.8; true', ':::', *'123456', **more)
        self.assertEqual((r.out, r.status), (b'', 0))
        self.assertNotIn(b'\r', r.err)
        self.assertNotIn(b'\033', r.err)
        lines = r.err.splitlines()
        self.assertRegex(lines[-1], SUMMARY)
        self.assertLessEqual(len(lines) - 1, r.seconds + 1)
        self.assertGreater(len(lines), 1)
        return lines[:-1]

    def test_progress_without_a_terminal(self):
        for line in self.lines('--progress'):
            self.assertRegex(line, rb'^knee  \d/6  .*0 failed .*' + AT_ONCE)

    def test_bar_without_a_terminal(self):
        for line in self.lines('--bar'):
            self.assertRegex(line, rb'^knee  \d+%  \[=*>? *\]  \d/6')

    def test_eta_without_a_terminal(self):
        self.assertRegex(self.lines('--eta')[-1], rb'  ETA \ds ')

    def test_bar_on_a_terminal(self):
        for cols in (80, 20):
            t, _ = terminal('--bar', *SLOW_TASKS, cols=cols)
            self.assertTrue(drawn(t.data))
            for line in drawn(t.data):
                self.assertRegex(line, rb'\d+%  \[=*>? *\]')
                self.assertLess(len(line), cols)
            self.assertRegex(b''.join(Screen(cols, t.data).lines()), SUMMARY)

    def test_on_a_dumb_terminal(self):
        t, _ = terminal('--progress', *SLOW_TASKS, env={'TERM': 'dumb'})
        self.assertNotIn(b'\r', t.data)
        self.assertRegex(t.data, rb'^knee  \d/6')


class Mixed(unittest.TestCase):
    """Lines of output stay whole, whatever else is on the terminal."""

    def test_output(self):
        t, status = terminal('-j2', 'sleep 0.3; echo out {}; echo err {} >&2', ':::', *'12345678')
        self.assertEqual(status, 0)
        self.assertGreater(len(drawn(t.data)), 1)
        lines = Screen(80, t.data).lines()
        self.assertEqual([line for line in lines if line.startswith(b'out')],
                         [b'out %d' % i for i in range(1, 9)])
        self.assertEqual(len(lines), 17, lines)
        self.assertTrue(lines[-1].startswith(b'knee: 8 tasks'))

    def test_line_in_parts(self):
        t, _ = terminal('-j1', 'sleep 0.7; printf part; sleep 0.7; echo ial {}; sleep 0.4', ':::', '1', '2')
        self.assertEqual(t.data.count(b'part'), 2)
        for half in re.findall(rb'part(.*?)ial', t.data, re.S):
            self.assertEqual(half, b'')
        lines = Screen(80, t.data).lines()
        self.assertEqual(lines[:2], [b'partial 1', b'partial 2'])
        self.assertEqual(len(lines), 3, lines)
        self.assertTrue(drawn(t.data))

    def test_last_line_without_newline(self):
        t, _ = terminal('-j1', 'sleep 1.1; printf', ':::', 'x')
        lines = Screen(80, t.data).lines()
        self.assertEqual(lines[0], b'x')
        self.assertTrue(lines[1].startswith(b'knee: 1 task, '), lines)

    def test_trace(self):
        t, _ = terminal('-t', '-j1', 'sleep 0.4; echo', ':::', '1', '2', '3', '4')
        lines = Screen(80, t.data).lines()
        self.assertEqual(sum(line.startswith(b'sleep 0.4; echo ') for line in lines), 4, lines)
        self.assertEqual(len(lines), 9, lines)

    def test_much_output(self):
        t, _ = terminal('-j1', 'sleep 0.7; seq 30000; sleep', ':::', '0.3', '0.4', stdin=subprocess.DEVNULL)
        rows = [line for line in Screen(80, t.data).lines() if not line.startswith(b'knee: ')]
        self.assertEqual(rows, [b'%d' % i for _ in range(2) for i in range(1, 30001)])


class Ends(unittest.TestCase):
    def test_interrupt_leaves_no_line(self):
        with Pty('-j2', 'sleep', ':::', '30', '31') as t:
            t.read_until(b'\033[K\r')
            t.send(b'\x03')
            self.assertEqual(t.finish(), 255)
        for line in Screen(80, t.data.replace(b'^C', b'')).lines():
            self.assertTrue(line.startswith(b'knee:'), line)

    def test_stop_and_continue(self):
        # A shell with job control stands by: nobody else could continue it.
        shell = ['bash', '-c', 'set -m; "$@"; read line; fg >/dev/null', 'bash']
        with Pty(argv=[*shell, *knee_argv('-j2', 'sleep', ':::', f'{1.5 * SLOW:g}', f'{1.6 * SLOW:g}')]) as t:
            t.read_until(b'\033[K\r')
            t.send(b'\x1a')
            wait_for(lambda: [d for d in descendants(t.process.pid)
                              if command_of(d) == 'kn-keeper' and process_state(d) == 'T'])
            t.read(0.1)
            self.assertEqual([line for line in self.shown(t) if line.startswith(b'knee ')], [])
            at = len(t.data)
            t.send(b'\n')
            t.read_until(b'\033[K\r', since=at)
            self.assertEqual(t.finish(), 0)
        self.assertEqual(len([line for line in self.shown(t) if line.startswith(b'knee')]), 1)

    def shown(self, t):
        return Screen(80, t.data.replace(b'^Z', b'').replace(b'\r\n', b'\n')).lines()



if __name__ == '__main__':
    unittest.main()
