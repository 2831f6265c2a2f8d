# SPDX-License-Identifier: MIT
"""Nothing that knee started outlives it, on any way out; and each way's exit status."""

import os
import sys
import textwrap

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'cli'))
from kneetest import *

# A task with a child of its own in its group, and one that left the group and the session.
FAMILY = 'sleep 1000 & setsid sleep 1001 & wait'
# The same, but the middle of the family is gone: orphans, whose parent is the keeper.
ORPHANS = '(setsid sleep 1000 &) ; (sleep 1001 &) ; sleep 1002'
TASKS = 50


def sleeps(p):
    return [pid for pid in marked(p.mark) if command_of(pid) == 'sleep']


def wait_sleeps(p, n):
    return wait_for(lambda: len(found := sleeps(p)) >= n and found, 30, f'{n} sleeps')


def program_of(keeper):
    """The child of the keeper: the process that runs the engine."""
    return wait_for(lambda: [d for d in descendants(keeper) if command_of(d) == 'knee'], 10,
                    'the program')[0]


class Killed(unittest.TestCase):
    def family(self, script, tasks=TASKS, per_task=2, more=()):
        return start('-j', str(tasks), *more, f'{script} # {{}}', ':::',
                     *map(str, range(tasks)), env={'SHELL': '/bin/sh'})

    def check_gone(self, p, began):
        wait_for(lambda: not marked(p.mark), 10, 'all processes of the run are gone')
        # A promise of one second; a slow machine gets more, and says so when it takes that.
        self.assertLess(time.monotonic() - began, 1 * SLOW * 5)

    def killed(self, script, per_task, whom, number):
        with self.family(script) as p:
            wait_sleeps(p, TASKS * per_task)
            pid = p.pid if whom == 'keeper' else program_of(p.pid)
            began = time.monotonic()
            os.kill(pid, number)
            status = p.wait()
            self.check_gone(p, began)
            return status

    def test_sigkill_of_the_process_that_was_started(self):
        self.assertEqual(self.killed(FAMILY, 2, 'keeper', signal.SIGKILL), -signal.SIGKILL)

    def test_sigkill_of_it_with_orphans(self):
        self.assertEqual(self.killed(ORPHANS, 3, 'keeper', signal.SIGKILL), -signal.SIGKILL)

    def test_sigkill_of_the_program(self):
        self.assertEqual(self.killed(FAMILY, 2, 'program', signal.SIGKILL), -signal.SIGKILL)

    def test_sigkill_of_the_program_with_orphans(self):
        self.assertEqual(self.killed(ORPHANS, 3, 'program', signal.SIGKILL), -signal.SIGKILL)

    def test_int(self):
        self.assertEqual(self.killed(FAMILY, 2, 'keeper', signal.SIGINT), 255)

    def test_term(self):
        self.assertEqual(self.killed(FAMILY, 2, 'keeper', signal.SIGTERM), 255)

    def test_term_of_the_program(self):
        self.assertEqual(self.killed(ORPHANS, 3, 'program', signal.SIGTERM), 255)

    def test_quit(self):
        self.assertEqual(self.killed(FAMILY, 2, 'keeper', signal.SIGQUIT), 255)

    def test_killall_by_name(self):
        # One "killall -9 knee" takes the program; the keeper has another name and cleans up.
        with self.family(FAMILY) as p:
            wait_sleeps(p, TASKS * 2)
            names = {pid: command_of(pid) for pid in [p.pid, program_of(p.pid)]}
            self.assertEqual(list(names.values()), ['kn-keeper', 'knee'])

    def test_halt_now(self):
        with self.family(f'test {{}} != 49 || exit 7; {FAMILY}', more=['--halt', 'now,fail=1']) as p:
            self.assertEqual(p.wait(30 * SLOW), 7)
            wait_for(lambda: not marked(p.mark), 10)

    def test_timeout(self):
        with self.family(FAMILY, more=['--timeout', '2']) as p:
            wait_sleeps(p, 1)
            self.assertEqual(p.wait(30 * SLOW), TASKS)
            wait_for(lambda: not marked(p.mark), 10)

    def test_tasks_that_ignore_term(self):
        with start('-j2', 'trap "" TERM; sleep 1000 & wait; sleep 1000 # {}', ':::', '1', '2') as p:
            wait_sleeps(p, 2)
            p.send_signal(signal.SIGTERM)
            self.assertEqual(p.wait(10 * SLOW), 255)
            wait_for(lambda: not marked(p.mark), 10)

    def test_second_int_does_not_wait(self):
        with start('-j2', '--term-seq', 'TERM,100000,KILL', 'trap "" TERM; sleep 1000; sleep 1000 # {}',
                   ':::', '1', '2') as p:
            wait_sleeps(p, 2)
            p.send_signal(signal.SIGINT)
            time.sleep(0.2)     # what is asked for is a second one, not a doubled first one
            p.send_signal(signal.SIGINT)
            self.assertEqual(p.wait(10 * SLOW), 255)
            wait_for(lambda: not marked(p.mark), 10)

    def test_end_of_output_reader(self):
        with start('-j4', 'yes {}', ':::', '1', '2', '3', '4') as p:
            p.stdout.read(10)
            p.stdout.close()
            self.assertEqual(p.wait(10 * SLOW), -signal.SIGPIPE)
            self.assertEqual(p.stderr.read(), b'')
            wait_for(lambda: not marked(p.mark), 10)

    def test_end_of_output_reader_while_nothing_is_written(self):
        with start('-j4', 'sleep 1000; echo {}', ':::', '1', '2', '3', '4') as p:
            wait_sleeps(p, 4)
            p.stdout.close()
            self.assertEqual(p.wait(10 * SLOW), -signal.SIGPIPE)
            self.assertEqual(p.stderr.read(), b'')

    def test_broken_input_ends_the_run(self):
        r = knee('-a', '/no/such/file', 'sleep', '1000')
        self.assertEqual(r.status, 255)
        self.assertIn(b'/no/such/file', r.err)


class Hup(unittest.TestCase):
    def test_hup_waits_for_what_runs_and_says_it(self):
        with start('-j2', 'sleep 1; echo {}', stdin=subprocess.PIPE) as p:
            p.stdin.write(b'one\ntwo\nthree\n')
            wait_sleeps(p, 2)
            p.send_signal(signal.SIGHUP)
            self.assertEqual(p.stdout.read(), b'one\ntwo\n')
            err = p.stderr.read()
            self.assertIn(b'sleep 1; echo one', err)
            self.assertIn(b'sleep 1; echo two', err)
            self.assertEqual(p.wait(), 255)

    def test_hup_with_no_input_left(self):
        with start('-j2', 'sleep 1; echo {}', ':::', 'one', 'two') as p:
            wait_sleeps(p, 2)
            p.send_signal(signal.SIGHUP)
            self.assertEqual(p.stdout.read(), b'one\ntwo\n')
            self.assertEqual(p.wait(), 0)

    def test_nohup(self):
        with start(argv=['nohup', *knee_argv('sleep 1; echo {}', ':::', 'one')]) as p:
            wait_sleeps(p, 1)
            p.send_signal(signal.SIGHUP)
            self.assertEqual(p.stdout.read(), b'one\n')
            self.assertEqual(p.wait(), 0)


class Background(unittest.TestCase):
    def test_task_with_a_background_process_ends_at_once(self):
        r = knee('echo before; sleep 60 & echo after {}', ':::', '1', timeout=20)
        self.assertEqual((r.out, r.status), (b'before\nafter 1\n', 0))
        self.assertLess(r.seconds, 30)

    def test_background_process_lives_until_the_end_of_the_run(self):
        with start('-j1', 'test {} = 2 || { sleep 60 & }; test {} = 1 || pgrep -x sleep >/dev/null; echo $?; sleep 1',
                   ':::', '1', '2') as p:
            self.assertEqual(p.stdout.read(), b'0\n0\n')
            p.wait()
            wait_for(lambda: not marked(p.mark), 10)

    def test_task_that_closes_its_output_is_waited_for(self):
        r = knee('-j2', 'echo {}; exec >&- 2>&-; sleep 1; exit {}', ':::', '3')
        self.assertEqual((r.out, r.status), (b'3\n', 1))
        self.assertGreaterEqual(r.seconds, 1)

    def test_all_of_a_large_output_then_a_background_process(self):
        r = knee('sleep 60 & head -c 3000000 /dev/zero; echo end {}', ':::', '1', '2')
        self.assertEqual(len(r.out), 2 * (3000000 + 6))


class Stopped(unittest.TestCase):
    def test_tstp_and_cont_reach_the_tasks(self):
        with start('-j2', 'sleep 1000 # {}', ':::', '1', '2') as p:
            tasks = wait_sleeps(p, 2)
            p.send_signal(signal.SIGTSTP)
            for pid in [p.pid, *tasks]:
                wait_state(pid, 'T')
            p.send_signal(signal.SIGCONT)
            for pid in [p.pid, *tasks]:
                wait_state(pid, 'S')
            p.send_signal(signal.SIGTERM)
            self.assertEqual(p.wait(10 * SLOW), 255)

    def test_usr1_says_what_runs(self):
        with start('sleep 1000 # {}', ':::', 'one') as p:
            wait_sleeps(p, 1)
            p.send_signal(signal.SIGUSR1)
            self.assertIn(b'sleep 1000 # one', p.stderr.readline())
            p.send_signal(signal.SIGTERM)
            p.wait()


class Parents(unittest.TestCase):
    def test_ignored_sigchld_is_no_trouble(self):
        code = 'import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); ' \
            'os.execvp(sys.argv[1], sys.argv[1:])'
        r = run([sys.executable, '-c', code, *knee_argv('exit {}', ':::', '0', '1')])
        self.assertEqual(r.status, 1)

    def test_tasks_get_plain_signals(self):
        r = knee('-q', 'grep', '-E', '^Sig(Blk|Ign)', ':::', '/proc/self/status')
        masks = [int(line.split()[1], 16) for line in r.out.splitlines()]
        # posix_spawn ignores the two signals that the C library keeps for itself.
        self.assertEqual([m & ~(3 << 31) for m in masks], [0, 0])

    def test_tasks_get_only_three_descriptors(self):
        r = knee('ls', ':::', '/proc/self/fd')
        self.assertEqual(r.out.split(), [b'0', b'1', b'2', b'3'])   # 3 is the folder itself

    def test_status_of_a_killed_task(self):
        r = knee('kill -9 $$ # {}', ':::', '1', '2')
        self.assertEqual(r.status, 2)
        r = knee('--halt', 'now,fail=1', 'kill -9 $$ # {}', ':::', '1')
        self.assertEqual(r.status, 128 + 9)


if __name__ == '__main__':
    unittest.main()
