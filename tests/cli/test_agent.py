# SPDX-License-Identifier: MIT
"""knee agent, driven frame by frame as a coordinator does."""

from agentframes import CANCELLED, EXITED, NOT_STARTED, SIGNALED
from agentframes import Agent, Fields, frame, open_payload, u32, u64
from kneetest import *


class Plain(unittest.TestCase):
    def test_greeting(self):
        with Agent(greet=False) as a:
            a.until(lambda: a.frames)
            self.assertRegex(a.greeting, r'^knee-agent 1 \d+\.\d+\.\d+$')
            kind, payload = a.frames[0]
            self.assertEqual(kind, 'H')
            f = Fields(payload)
            self.assertEqual(f.text(), os.uname().nodename)
            self.assertEqual(f.text(), os.uname().machine)
            self.assertGreaterEqual(f.u32(), 1)

    def test_task(self):
        with Agent() as a:
            a.open('echo {} {#} {%} $PARALLEL_SEQ $PARALLEL_JOBSLOT $PARALLEL_SSHHOST $PARALLEL_SSHLOGIN; echo >&2 x')
            a.task(7, 'a b', seq=70, slot=3)
            t = a.result(7)
            self.assertEqual((t.out, t.err, t.outcome, t.status),
                             (b'a b 70 3 70 3 far me@far\n', b'x\n', EXITED, 0))
            self.assertTrue(t.began)
            self.assertEqual(a.close(), 0)
            self.assertEqual(a.bye, 0)


if __name__ == '__main__':
    unittest.main()
