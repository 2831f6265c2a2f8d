# SPDX-License-Identifier: MIT
"""--explain: why so many at once, line by line, and the sentence at the end."""

import re

from kneetest import *

STEP = re.compile(rb'^knee: \d+\.\d\d s: \S.*$')
WORK = re.compile(rb'^knee: \S+: \d+ tasks?, (settled at \d+|at \d+, still searching|\d+ at once as asked)')
ESTIMATE = re.compile(rb'^knee: one at a time the same tasks would have taken \d+(\.\d s|m\d\ds) \(estimate\)$')
UNSEEN = re.compile(rb'^knee: not visible here: \S.*: decided without$')
SUMMARY = re.compile(rb'^knee: 12 tasks, 0 failed, \d+\.\d s')
TASKS = ('sleep', ':::', *['0.1'] * 12)


class Explain(unittest.TestCase):
    def lines(self, *args, **more):
        """Of a run: (steps, kinds of work, the sentence at the end)."""
        r = knee('--explain', *args, *TASKS, **more)
        self.assertEqual((r.out, r.status), (b'', 0))
        lines = r.err.splitlines()
        # Whatever this machine withholds: test_what_is_not_visible is about that.
        lines = [line for line in lines if not UNSEEN.match(line)]
        self.assertRegex(lines[-1], SUMMARY)
        self.assertLessEqual(len(lines[-1].decode()), 200)
        steps = [line for line in lines if STEP.match(line)]
        rest = [line for line in lines[:-1] if line not in steps and not ESTIMATE.match(line)]
        self.assertEqual(lines[:len(steps)], steps, 'the steps come first')
        return steps, rest, lines[-1]

    def test_auto(self):
        steps, works, summary = self.lines()
        self.assertTrue(steps)
        self.assertRegex(steps[0], rb'^knee: 0\.\d\d s: sleep: \d+ at once')
        self.assertTrue(works)
        for work in works:
            self.assertRegex(work, WORK)
        self.assertRegex(summary, rb'; (sleep )?(settled at \d+|at \d+, still searching)')

    def test_times_rise(self):
        steps, _, _ = self.lines()
        times = [float(line.split()[1]) for line in steps]
        self.assertEqual(times, sorted(times))

    def test_fixed(self):
        steps, works, summary = self.lines('-j3')
        for work in works:
            self.assertRegex(work, rb'^knee: \S+: 12 tasks, 3 at once as asked')
        self.assertNotIn(b'settled', summary)
        self.assertIn(b'; at most 3 at once', summary)

    def unseen(self, *before):
        """What a run says that it cannot see, first and at its end."""
        r = run([*before, *knee_argv('--explain', 'sleep', ':::', *['0.7'] * 12)])
        self.assertEqual((r.out, r.status), (b'', 0), r)
        return [line for line in r.err.splitlines() if b'not visible' in line]

    def test_what_is_not_visible(self):
        as_it_is = self.unseen()
        for line in as_it_is:
            self.assertRegex(line, UNSEEN)
        self.assertEqual(as_it_is[:1], as_it_is[1:], 'the same again at the end')
        self.assertEqual(b'/proc/pressure/memory' in b''.join(as_it_is),
                         not os.path.exists('/proc/pressure/memory'))
        cover = 'mount --bind /dev/null /proc/diskstats && mount --bind /dev/null /proc/vmstat'
        if run(['unshare', '-m', 'sh', '-c', cover]).status != 0:
            self.skipTest('nothing can be covered here')
        hidden = self.unseen('unshare', '-m', 'sh', '-c', cover + ' && exec "$@"', 'sh')
        self.assertEqual(len(hidden), 2, hidden)
        self.assertEqual(hidden[0], hidden[1], 'the same again at the end')
        self.assertRegex(hidden[0], UNSEEN)
        for name in (b'disks (/proc/diskstats)', b'swapping (/proc/vmstat)'):
            self.assertIn(name, hidden[0])
            self.assertNotIn(name, b''.join(as_it_is))
        self.assertNotIn(b'/proc/PID/stat)', hidden[0])

    def test_silent_hides_the_rest(self):
        self.assertTrue(self.lines('--silent')[0])

    def test_not_asked_not_said(self):
        r = knee(*TASKS)
        self.assertEqual((r.out, r.err, r.status), (b'', b'', 0))

    def test_face(self):
        r = knee('--explain', *TASKS, face='parallel')
        self.assertEqual((r.out, r.status), (b'', 0))
        self.assertTrue(all(line.startswith(b'parallel: ') for line in r.err.splitlines()), r.err)

    def test_output_is_not_touched(self):
        plain = knee('echo', ':::', *'abcdefgh')
        self.assertEqual(knee('--explain', 'echo', ':::', *'abcdefgh').out, plain.out)

    def test_on_a_terminal(self):
        with Pty('--explain', *TASKS) as t:
            self.assertEqual(t.finish(), 0)
        text = re.sub(rb'\r[^\r\n]*\033\[K\r|\r?\033\[J', b'', t.data)
        lines = text.splitlines()
        self.assertTrue(all(line.startswith(b'knee: ') for line in lines), lines)
        self.assertRegex(lines[-1], SUMMARY)

    def test_last_output_without_newline(self):
        with Pty('--explain', '-j1', 'printf', ':::', 'x') as t:
            self.assertEqual(t.finish(), 0)
        for line in t.data.splitlines():
            self.assertTrue(line == b'x' or line.startswith(b'knee: '), t.data)

    def test_nothing_to_do(self):
        r = knee('--explain', 'echo', input=b'')
        self.assertEqual((r.out, r.status), (b'', 0))
        self.assertRegex(r.err, rb'knee: 0 tasks, 0 failed, 0\.\d s\n\Z')


if __name__ == '__main__':
    unittest.main()
