# SPDX-License-Identifier: MIT
"""sem: so many commands at a time and no more, whoever is killed meanwhile."""

import signal
import threading

from kneetest import *


class Sem(unittest.TestCase):
    def setUp(self):
        self.folder = scratch()
        self.env = {'XDG_CACHE_HOME': os.path.join(self.folder, 'cache')}

    def sem(self, *args, face='sem', status=0, may_leave=False, **more):
        r = run(knee_argv(*args, face=face), env=self.env, cwd=self.folder, may_leave=may_leave, **more)
        self.assertEqual(r.status, status, r)
        return r

    def start(self, *args, **more):
        p = subprocess.Popen(knee_argv(*args, face='sem'), env=clean_env(self.env), cwd=self.folder,
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, start_new_session=True, **more)
        self.addCleanup(self.end, p)
        return p

    def end(self, p):
        if p.poll() is None:
            os.killpg(p.pid, signal.SIGKILL)
        p.wait()

    def path(self, name):
        return os.path.join(self.folder, name)

    def wait_file(self, name):
        wait_for(lambda: os.path.exists(self.path(name)), what=f'{name} is made')

    def wait_all(self, *args):
        self.sem('--wait', *args)

    # Each command counts up a number in a file without any lock of its own.
    ADD = 'n=$(cat n); sleep 0.01; echo $((n + 1)) >n'

    def test_one_at_a_time(self):
        with open(self.path('n'), 'w') as f:
            f.write('0\n')
        threads = [threading.Thread(target=lambda: self.sem('--fg', '--id', 'a', self.ADD)) for _ in range(20)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        with open(self.path('n')) as f:
            self.assertEqual(f.read(), '20\n')

    def test_background(self):
        for i in range(12):
            self.sem('--id', 'a', f'echo {i} >>log', may_leave=True)
        self.wait_all('--id', 'a')
        with open(self.path('log')) as f:
            self.assertEqual(sorted(map(int, f)), list(range(12)))

    def test_never_more_than_asked_for(self):
        mark = 'mkdir run; mktemp run/XXXXXX >f.$$; ls run | wc -l >>count; sleep 0.05; rm $(cat f.$$)'
        os.mkdir(self.path('run'))
        for _ in range(15):
            self.sem('--id', 'a', '-j3', mark, may_leave=True, stderr=subprocess.DEVNULL)
        self.wait_all('--id', 'a')
        with open(self.path('count')) as f:
            counts = list(map(int, f))
        self.assertEqual(len(counts), 15)
        self.assertLessEqual(max(counts), 3)

    def test_status_in_the_foreground(self):
        self.sem('--fg', 'exit 7', status=7)
        self.sem('--fg', 'true')
        r = self.sem('--fg', '/no/such/program', status=127)
        self.assertIn(b'/no/such/program', r.err)
        r = run(knee_argv('--fg', 'kill -9 $$', face='sem'), env=self.env)
        self.assertEqual(r.status, -9)

    def test_as_a_subcommand_and_as_semaphore(self):
        self.assertEqual(self.sem('sem', '--fg', 'echo a b', face='knee').out, b'a b\n')
        self.assertEqual(self.sem('--semaphore', '--fg', 'echo', 'c', face='parallel').out, b'c\n')

    def test_words(self):
        for words in (['echo', '$((1 + 1))', '*'], ['-q', 'echo', '$((1 + 1))', '*', "it's"],
                      ['echo', 'a;', 'echo', 'b'], ['-q', 'printf', '%s\n', 'a  b', '']):
            with self.subTest(words=words):
                got = self.sem('--fg', *words).out
                self.assertEqual(got, self.gnu(*words), words)

    def gnu(self, *words):
        if GNU is None:
            self.skipTest('GNU parallel is not installed')
        r = run([GNU, '--will-cite', '--semaphore', '--fg', *words], cwd=self.folder,
                env={'HOME': self.folder})
        return r.out

    def test_ids_are_apart(self):
        p = self.start('--fg', '--id', 'a', 'touch up; sleep 60')
        self.wait_file('up')
        self.sem('--fg', '--id', 'b', 'true')
        self.sem('--fg', '--id', '../a/\n\xff', 'true')
        self.assertIsNone(p.poll())

    def test_given_up(self):
        self.start('--fg', '--id', 'a', 'touch up; sleep 60')
        self.wait_file('up')
        r = self.sem('--fg', '--id', 'a', '--st', '-0.2', 'touch ran', status=1)
        self.assertIn(b'nothing is run', r.err)
        self.assertFalse(os.path.exists(self.path('ran')))

    def test_run_anyway(self):
        self.start('--fg', '--id', 'a', 'touch up; sleep 60')
        self.wait_file('up')
        r = self.sem('--fg', '--id', 'a', '--st', '0.2', 'touch ran')
        self.assertIn(b'anyway', r.err)
        self.assertTrue(os.path.exists(self.path('ran')))

    def test_a_killed_command_frees_its_slot(self):
        p = self.start('--fg', '--id', 'a', 'touch up; sleep 60; true')
        self.wait_file('up')
        os.kill(p.pid, signal.SIGKILL)
        p.wait()
        self.sem('--fg', '--id', 'a', '--st', '-50', 'true')

    def test_a_killed_sem_that_waits_is_out_of_the_queue(self):
        first = self.start('--fg', '--id', 'a', 'touch up; while test ! -e go; do sleep 0.02; done')
        self.wait_file('up')
        waiting = self.start('--fg', '--id', 'a', 'touch second')
        time.sleep(0.1)
        os.kill(waiting.pid, signal.SIGKILL)
        waiting.wait()
        with open(self.path('go'), 'w'):
            pass
        self.assertEqual(first.wait(30), 0)
        self.sem('--fg', '--id', 'a', '--st', '-50', 'true')
        self.assertFalse(os.path.exists(self.path('second')))

    def test_what_a_command_leaves_behind_holds_nothing(self):
        r = self.sem('--fg', '--id', 'a', 'sleep 30 >/dev/null 2>&1 & echo $!', may_leave=True)
        self.addCleanup(os.kill, int(r.out), signal.SIGKILL)
        self.sem('--fg', '--id', 'a', '--st', '-50', 'true')

    def test_a_signal_ends_one_that_waits(self):
        self.start('--fg', '--id', 'a', 'touch up; sleep 60')
        self.wait_file('up')
        for number in (signal.SIGTERM, signal.SIGINT):
            p = self.start('--fg', '--id', 'a', 'touch ran')
            time.sleep(0.1)
            p.send_signal(number)
            self.assertNotEqual(p.wait(30), 0)
        self.assertFalse(os.path.exists(self.path('ran')))

    def test_wait_with_nothing_to_wait_for(self):
        self.wait_all('--id', 'never seen')

    def test_bad_words(self):
        for words in ([], ['-j', 'x', 'true'], ['--st', 'soon', 'true'], ['--no-such', 'true'], ['--id']):
            with self.subTest(words=words):
                r = self.sem(*words, status=255)
                self.assertTrue(r.err.startswith(b'sem: '), r)

    def test_no_home(self):
        env = {'HOME': None, 'XDG_CACHE_HOME': None}
        r = run(knee_argv('--fg', '--id', f'knee-test-{os.getpid()}', 'echo here', face='sem'), env=env)
        self.assertIn((r.status, r.out), ((0, b'here\n'), (255, b'')), r)

    def test_files_do_not_pile_up(self):
        for i in range(80):
            self.sem('--fg', '--id', f'id{i}', 'true')
        self.assertLess(len(os.listdir(os.path.join(self.env['XDG_CACHE_HOME'], 'knee/sem'))), 40)


if __name__ == '__main__':
    unittest.main()
