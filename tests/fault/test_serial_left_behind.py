# SPDX-License-Identifier: MIT
"""Nothing that knee started outlives it, on any way out; and each way's exit status."""

import contextlib
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
        with start('-j2', 'sleep 3; echo {}', stdin=subprocess.PIPE) as p:
            p.stdin.write(b'one\ntwo\nthree\n')
            wait_sleeps(p, 2)
            p.send_signal(signal.SIGHUP)
            self.assertEqual(p.stdout.read(), b'one\ntwo\n')
            err = p.stderr.read()
            self.assertIn(b'sleep 3; echo one', err)
            self.assertIn(b'sleep 3; echo two', err)
            self.assertEqual(p.wait(), 255)

    def test_hup_with_no_input_left(self):
        with start('-j2', 'sleep 3; echo {}', ':::', 'one', 'two') as p:
            wait_sleeps(p, 2)
            p.send_signal(signal.SIGHUP)
            self.assertEqual(p.stdout.read(), b'one\ntwo\n')
            self.assertEqual(p.wait(), 0)

    def test_nohup(self):
        with start(argv=['nohup', *knee_argv('-j1', 'sleep 0.5; echo {}', ':::', '1', '2', '3')]) as p:
            wait_sleeps(p, 1)
            p.send_signal(signal.SIGHUP)
            self.assertEqual(p.stdout.read(), b'1\n2\n3\n')
            self.assertEqual(p.wait(), 0)

    def test_int_is_ignored_by_a_background_job(self):
        # A shell without job control starts jobs in the background with INT ignored.
        code = 'trap "" INT; exec "$@"'
        with start(argv=['sh', '-c', code, 'sh', *knee_argv('-j1', 'sleep 0.5; echo {}', ':::', '1', '2', '3')]) as p:
            wait_sleeps(p, 1)
            p.send_signal(signal.SIGINT)
            self.assertEqual(p.stdout.read(), b'1\n2\n3\n')
            self.assertEqual(p.wait(), 0)

    def test_terminal_that_goes_away(self):
        log = os.path.join(scratch(), 'log')
        with Pty('-j1', '--no-progress', f'sleep 0.5; echo {{}} >> {log}', ':::', *map(str, range(40))) as t:
            wait_for(lambda: os.path.exists(log), 20)
            os.close(t.master)
            t.master = os.open('/dev/null', os.O_RDONLY)
            self.assertNotEqual(t.process.wait(10 * SLOW), 0)
            with open(log, 'rb') as f:
                self.assertLess(len(f.read().split()), 40)


class Background(unittest.TestCase):
    def test_task_with_a_background_process_ends_at_once(self):
        r = knee('echo before; sleep 60 & echo after {}', ':::', '1', timeout=20)
        self.assertEqual((r.out, r.status), (b'before\nafter 1\n', 0))
        self.assertLess(r.seconds, 30)

    def test_background_process_lives_until_the_end_of_the_run(self):
        with start('-j1', 'test {} = 2 || { sleep 60 & echo $! >pid; }; test {} = 1 || kill -0 $(cat pid); echo $?; '
                   'sleep 1', ':::', '1', '2', cwd=scratch()) as p:
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


class Strangers(unittest.TestCase):
    """What was below the process before it became knee is left alone."""

    def test_process_substitution(self):
        file = os.path.join(scratch(), 'count')
        r = run(['bash', '-c', '"$@" > >(sleep 0.3; wc -l > ' + file + ')', 'bash', *knee_argv('seq', ':::', '200')],
                may_leave=True)
        self.assertEqual(r.status, 0)
        wait_for(lambda: os.path.exists(file) and os.path.getsize(file) > 0, 10, 'the reader has ended')
        with open(file, encoding='ascii') as f:
            self.assertEqual(f.read(), '200\n')

    def test_child_from_before_the_exec(self):
        with start(argv=['sh', '-c', 'sleep 1000 & echo $!; exec "$@"', 'sh', *knee_argv('sleep 1001 & echo {}', ':::', '1')],
                   may_leave=True) as p:
            stranger = int(p.stdout.readline())
            self.assertEqual(p.stdout.read(2), b'1\n')
            p.wait()
            self.assertEqual(sleeps(p), [stranger])


class Ended(unittest.TestCase):
    def test_timeout_takes_the_group_along(self):
        # The task's leader obeys TERM, its child does not; the run goes on for longer.
        alive = os.path.join(scratch(), 'alive')
        script = f'if test {{}} = 1; then sh -c \'trap "" TERM; touch {alive}; sleep 1000; sleep 1000\' & sleep 1000; ' \
            'else sleep 1000; fi'
        with start('-j2', '--timeout', '1', '--halt', 'never', f'{script}', ':::', '1', '2') as p:
            wait_for(lambda: os.path.exists(alive), 20)
            self.assertEqual(p.wait(20 * SLOW), 2)
        with start('-j1', '--timeout', '1', script + '; :', ':::', '1') as p:
            self.assertEqual(p.wait(20 * SLOW), 1)

    def test_group_is_gone_while_the_run_goes_on(self):
        script = 'test {} != 1 || { sh -c \'trap "" TERM; sleep 1001; sleep 1001\' & sleep 1002; }; ' \
            'test {} = 1 || sleep 4'
        with start('-j2', '--timeout', '5', script, ':::', '1', '2', '3') as p:
            wait_for(lambda: any(argv_of(s)[1:] == [b'1001'] for s in sleeps(p)), 10)
            wait_for(lambda: not any(argv_of(s)[1:] == [b'1001'] for s in sleeps(p)), 20, 'the group is gone')
            self.assertIsNone(p.poll(), 'the third task runs')
            p.wait(20 * SLOW)

    def test_output_of_the_last_attempt_when_the_run_is_ended(self):
        attempts = os.path.join(scratch(), 'attempts')

        def back_off():
            """That after the fourth attempt, which takes 0.8 s, or a later one, each twice as long."""
            with contextlib.suppress(FileNotFoundError), open(attempts, 'rb') as f:
                return len(f.read().split()) >= 4 and not [d for d in descendants(p.pid) if command_of(d) != 'knee']

        with start('--retries', '9', f'echo attempt; echo x >>{attempts}; false {{}}', ':::', '1') as p:
            wait_for(back_off, 30)
            p.send_signal(signal.SIGINT)
            self.assertEqual(p.stdout.read(), b'attempt\n')
            self.assertEqual(p.wait(10 * SLOW), 255)


class Asked(unittest.TestCase):
    def test_int_at_the_question(self):
        with Pty('-p', 'echo', 'ran', ':::', '1', '2') as t:
            t.read_until(b'?...')
            t.send(b'\x03')
            self.assertEqual(t.finish(), 255)
            self.assertNotIn(b'ran 2', t.data)


class Stopped(unittest.TestCase):
    def test_tstp_and_cont_reach_the_tasks(self):
        # As a shell's job: somebody is there who can continue it.
        shell = ['bash', '-c', 'set -m; "$@" </dev/null & echo $!; read wait', 'bash']
        with start(argv=[*shell, *knee_argv('-j2', 'sleep 1000 # {}', ':::', '1', '2')],
                   stdin=subprocess.PIPE) as p:
            job = int(p.stdout.readline())
            tasks = wait_sleeps(p, 2)
            os.kill(job, signal.SIGTSTP)
            for pid in [job, program_of(job), *tasks]:
                wait_state(pid, 'T')
            os.kill(job, signal.SIGCONT)
            for pid in [job, program_of(job), *tasks]:
                wait_state(pid, 'S')
            os.kill(job, signal.SIGTERM)
            wait_gone(job)
            p.stdin.close()
            p.wait(10 * SLOW)

    def test_time_stopped_does_not_count(self):
        shell = ['bash', '-c', 'set -m; "$@" </dev/null & echo $!; read wait', 'bash']
        with start(argv=[*shell, *knee_argv('--timeout', '4', 'sleep 2; echo {}', ':::', '1')],
                   stdin=subprocess.PIPE) as p:
            job = int(p.stdout.readline())
            wait_sleeps(p, 1)
            os.kill(job, signal.SIGTSTP)
            wait_state(job, 'T')
            time.sleep(4.1)     # longer than the time-out
            os.kill(job, signal.SIGCONT)
            self.assertEqual(p.stdout.readline(), b'1\n')

    def test_tstp_where_nobody_could_continue_it(self):
        with start('-j2', 'sleep 1; echo {}', ':::', '1', '2') as p:
            wait_sleeps(p, 2)
            p.send_signal(signal.SIGTSTP)
            self.assertEqual(p.stdout.read(), b'1\n2\n')
            self.assertEqual(p.wait(10 * SLOW), 0)

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
