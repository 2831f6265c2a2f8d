# SPDX-License-Identifier: MIT
"""knee profile: what it prints, and what it does with what it is given. Whether it is right about
a command is in test_serial_profile.py."""

import json
import sys

from kneetest import *

FOLDER = scratch()


class Case(unittest.TestCase):
    def profile(self, *args):
        r = knee('profile', '--json', *args)
        self.assertEqual((r.err, r.status), (b'', 0), r)
        found = json.loads(r.out)
        limits = [level['at_once'] for level in found['levels']]
        self.assertEqual(limits, sorted(set(limits)), found)
        self.assertEqual(limits[:1], [1], found)
        self.assertLessEqual(max(level['of_best'] for level in found['levels']), 1, found)
        return found


class Said(Case):
    def test_the_warning_comes_before_the_first_task(self):
        fifo = os.path.join(FOLDER, 'fifo')
        os.mkfifo(fifo)
        with start('profile', 'cat', ':::', fifo) as p:
            self.assertEqual(p.stdout.readline(),
                             b'runs this for real, the same inputs several times: cat\n')
            wait_descendants(p.pid, 1, 'cat')

    def test_text(self):
        r = knee('profile', '--time', '1.5', 'sleep', ':::', '0.01')
        self.assertEqual((r.err, r.status), (b'', 0), r)
        for text in (b'1 input, used again and again', b'one task', b'start-up', b'needs CPU', b'memory',
                     b'bound by', b'knee uses', b'at once    tasks/s', b'##'):
            self.assertIn(text, r.out, r)
        self.assertTrue(r.out.isascii(), r)

    def test_start_up(self):
        direct = self.profile('--time', '1.5', 'sleep', ':::', '0.5')
        self.assertGreater(direct['startup_s'], 0, direct)
        self.assertGreater(direct['startup_cpu_s'], 0, direct)
        self.assertLess(direct['startup_s'], direct['runtime_s'], direct)
        # A shell that takes its time: it is part of what a start by it costs.
        shell = os.path.join(FOLDER, 'bash')
        with open(shell, 'w') as f:
            f.write('#!/bin/sh\nsleep 0.2\nexec /bin/sh "$@"\n')
        os.chmod(shell, 0o755)
        for words, least, most in (([': {};'], 0.2, 60), (['true'], 0, 0.2 * SLOW)):
            r = knee('profile', '--json', '--time', '4', *words, ':::', '1', env={'SHELL': shell})
            found = json.loads(r.out)
            self.assertTrue(least <= found['startup_s'] < most, found)
        self.assertEqual(found['failed'], 0, found)

    def test_network(self):
        r = knee('profile', '--json', '--time', '1', 'true', ':::', '1')
        self.assertGreaterEqual(json.loads(r.out)['network_bytes'], 0, r)
        r = knee('profile', '--time', '1', 'true', ':::', '1')
        self.assertRegex(r.out, rb'network +[\d.]+ [KMG]?i?B over all links of this machine meanwhile', r)

    def test_bars_in_utf8(self):
        r = knee('profile', '--time', '1.5', 'sleep', ':::', '0.01', env={'LC_ALL': 'C.UTF-8'})
        self.assertIn('\u2588', r.out.decode(), r)
        self.assertNotIn(b'##', r.out, r)

    def test_output_of_tasks_is_dropped(self):
        r = knee('profile', '--json', '--time', '1', 'echo', 'LOUD', ':::', '1')
        self.assertEqual(json.loads(r.out)['output_bytes'], 7, r)
        self.assertEqual(r.out.count(b'LOUD'), 1, r)    # in the command

    def test_any_bytes_make_good_json(self):
        r = knee('profile', '--json', '--time', '1', 'true', b'a"\\\n\xff\xc3\xa9', ':::', '1')
        self.assertEqual(json.loads(r.out)['command'], ['true', 'a"\\\n\ufffd\u00e9'], r)

    def test_memory_of_all_its_processes(self):
        hold = "x = b'x' * (60 << 20); import time; time.sleep(1)"
        found = self.profile('--time', '4', '-j1', f'{sys.executable} -c "{hold}" | {sys.executable} -c "{hold}"',
                             ':::', '1')
        self.assertGreater(found['memory_bytes'], 120 << 20, found)
        self.assertLess(found['memory_bytes'], 200 << 20, found)

    def test_jobs_bound_the_trials(self):
        found = self.profile('--time', '4', '-j3', 'sleep', ':::', '0.05')
        self.assertEqual([level['at_once'] for level in found['levels']], [1, 2, 3], found)
        self.assertLessEqual(found['at_once'], 3, found)

    def test_all_tasks_fail(self):
        r = knee('profile', 'echo bad {} >&2; exit 3', ':::', '1')
        self.assertEqual((r.err, r.status), (b'', 1), r)
        self.assertIn(b'failed       3; the first: exit status 3: bad 1\n', r.out, r)
        self.assertNotIn(b'knee uses', r.out, r)

    def test_no_such_program(self):
        r = knee('profile', '--json', 'no-such-program-at-all', ':::', '1')
        self.assertEqual(r.status, 1, r)
        found = json.loads(r.out)
        self.assertEqual((found['kind'], found['at_once'], found['runtime_s']), (None, None, None))
        self.assertIn('not found', found['first_failure'])


class Inputs(Case):
    def test_from_a_pipe_that_stays_open(self):
        with start('profile', '--json', '--time', '1', 'true', stdin=subprocess.PIPE) as p:
            p.stdin.write(b'1\n2\n')
            self.assertEqual(json.loads(p.stdout.read())['inputs'], 2)
            self.assertEqual(p.wait(10 * SLOW), 0)

    def test_batches(self):
        found = self.profile('--time', '1', '-n2', 'true', ':::', *'12345')
        self.assertEqual(found['inputs'], 3, found)

    def test_no_inputs(self):
        r = knee('profile', 'true', input=b'')
        self.assertEqual((r.out, r.err, r.status),
                         (b'', b'knee: no inputs: there is nothing to try\n', 255))

    def test_dry_run(self):
        r = knee('profile', '--dry-run', 'touch', FOLDER + '/{}.made', ':::', 'a', 'b c')
        self.assertEqual((r.out.decode(), r.err, r.status),
                         (f"touch {FOLDER}/a.made\ntouch {FOLDER}/'b c'.made\n", b'', 0))
        self.assertFalse(os.path.exists(FOLDER + '/a.made'))


class Options(Case):
    def says(self, err, *args):
        r = knee('profile', *args)
        self.assertEqual((r.out, r.err.decode(), r.status), (b'', f'knee: {err}\n', 255), args)

    def test_mistakes(self):
        self.says('--time: needs a value: D', '--time')
        self.says("--time: 'x': not a duration (10, 1.5s, 2m)", '--time=x', 'true', ':::', '1')
        self.says("--time: '0': not a duration (10, 1.5s, 2m)", '--time', '0', 'true', ':::', '1')
        self.says('-p: not with profile', '-p', 'true', ':::', '1')
        self.says('--forget: takes no command', '--forget', 'true')

    def test_own_options_end_with_the_command(self):
        found = self.profile('--time', '1', '-a', '/dev/null', '-d', ',', 'true', '--time', '--help',
                             ':::', '1')
        self.assertEqual(found['command'], ['true', '--time', '--help'], found)

    def test_a_value_that_looks_like_ours(self):
        found = self.profile('--time', '1', '-I', '--forget', 'true', '--forget', ':::', '1')
        self.assertEqual(found['inputs'], 1, found)

    def test_help(self):
        r = knee('profile', '--help')
        self.assertEqual((r.err, r.status), (b'', 0))
        self.assertIn(b'--forget', r.out)


class Ends(Case):
    def test_terminated(self):
        with start('profile', 'sleep', ':::', '1000') as p:
            wait_descendants(p.pid, 1, 'sleep')
            p.terminate()
            self.assertEqual(p.wait(10 * SLOW), 255)

    def test_killed(self):
        with start('profile', 'sleep', ':::', '1000', may_leave=True) as p:
            wait_descendants(p.pid, 1, 'sleep')
            p.kill()
            p.wait()
            wait_for(lambda: not marked(p.mark), what='its tasks are gone')

    def test_standard_output_is_full(self):
        with open('/dev/full', 'wb') as full:
            r = knee('profile', '--time', '1', 'true', ':::', '1', stdout=full)
        self.assertEqual(r.status, 255)
        self.assertIn(b'knee: standard output: No space left', r.err)


class Forget(unittest.TestCase):
    def test_forget(self):
        home = scratch()
        folder = os.path.join(home, '.cache/knee')
        os.makedirs(folder)
        path = os.path.join(folder, 'learnt.db')
        for name in ('learnt.db', 'learnt.db.broken', 'kept'):
            with open(os.path.join(folder, name), 'w'):
                pass
        env = {'HOME': home}
        r = knee('profile', '--forget', env=env)
        self.assertEqual((r.out.decode(), r.err, r.status), (f'removed {path}\n', b'', 0))
        self.assertEqual(os.listdir(folder), ['kept'])
        r = knee('profile', '--forget', env=env)
        self.assertEqual((r.out.decode(), r.err, r.status), (f'nothing to forget: no {path}\n', b'', 0))

    def test_where(self):
        cache = scratch()
        r = knee('profile', '--forget', env={'XDG_CACHE_HOME': cache})
        self.assertEqual((r.out.decode(), r.status),
                         (f'nothing to forget: no {cache}/knee/learnt.db\n', 0))
        r = knee('profile', '--forget', env={'HOME': None})
        self.assertEqual((r.out[:29], r.err, r.status), (b'nothing is remembered here: t', b'', 0))


if __name__ == '__main__':
    unittest.main()
