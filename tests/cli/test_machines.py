# SPDX-License-Identifier: MIT
"""-S and its kin, with a stand-in for ssh that runs the far end on this machine."""

import contextlib
import sys

from kneetest import *

sys.dont_write_bytecode = True

INJECT = os.path.join(os.path.dirname(os.path.dirname(KNEE)), 'tests/fault/knee-inject')

# The last word is for a shell, the one before it is the host. Hosts named down are not there, those named late soon,
# and on those named small a process has few files.
SSH = '''#!/bin/sh
for last; do :; done
n=$(($# - 1))
eval "host=\\${$n}"
case $host in *down*) echo "no way to $host" >&2; exit 255 ;; *late*) sleep 1 ;; *small*) ulimit -n 64 ;; esac
printf '%s\\n' "$*" >>"$(dirname "$0")/calls"
echo $$ >"$(dirname "$0")/pid-$host"
cd "$(dirname "$0")/there" && exec sh -c "$last"
'''


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = scratch()
        self.ssh = os.path.join(self.folder, 'login')
        os.mkdir(os.path.join(self.folder, 'there'))
        with open(self.ssh, 'w') as f:
            f.write(SSH)
        os.chmod(self.ssh, 0o755)

    def run_on(self, logins, *args, **more):
        env = {'HOME': self.folder, **more.pop('env', {})}
        return knee('--ssh', self.ssh, '-S', logins, *args, env=env, **more)


class Machines(Case):
    def test_order_and_names(self):
        r = self.run_on('w[1-3]', 'echo {} $PARALLEL_SSHHOST', ':::', *map(str, range(30)))
        lines = [line.split() for line in r.out.decode().splitlines()]
        self.assertEqual([line[0] for line in lines], [str(i) for i in range(30)])
        self.assertLessEqual({line[1] for line in lines}, {'w1', 'w2', 'w3'})
        self.assertEqual(r.status, 0)

    def test_status_is_the_number_of_failures(self):
        r = self.run_on('w[1-2]', 'exit {}', ':::', '0', '3', '0', '4')
        self.assertEqual(r.status, 2)

    def test_this_machine(self):
        r = knee('-S', ':', 'echo {} $PARALLEL_SSHHOST; pwd', ':::', 'a', cwd=self.folder)
        self.assertEqual(r.out.decode().splitlines(), ['a :', os.path.realpath(self.folder)])

    def test_this_machine_has_a_folder(self):
        """--wd is about the others: below the home folder a way from there would lead astray."""
        proj = os.path.join(self.folder, 'proj')
        os.mkdir(proj)
        for folder in '.', 'sub', '...':
            r = self.run_on(':', '--wd', folder, '-n0', 'pwd', ':::', '1', cwd=proj)
            self.assertEqual((r.out.decode(), r.err), (os.path.realpath(proj) + '\n', b''))
        self.assertEqual(os.listdir(proj), [])

    def test_machine_told_to_end(self):
        """TERM to an agent, as when its machine goes down: what ran there runs again, and nothing is lost."""
        r = self.run_on('1/w[1-2]', '-k', f'echo {{}}; mkdir {self.folder}/once 2>/dev/null && '
                        '{ kill -TERM $PPID; sleep 1000; }; true', ':::', '1', '2', '3')
        self.assertEqual((r.out, r.status), (b'1\n2\n3\n', 0), r.err)

    def test_onall(self):
        r = self.run_on('w[1-2]', '--onall', '--tag', 'echo {} $PARALLEL_SSHLOGIN', ':::', 'a', 'b')
        self.assertEqual(r.out.decode().splitlines(),
                         ['w1\ta w1', 'w2\ta w2', 'w1\tb w1', 'w2\tb w2'])

    def test_nonall(self):
        r = self.run_on('w1,3/me@w2', '--nonall', '--tag', 'echo $PARALLEL_SSHLOGIN')
        self.assertEqual((r.out, r.status), (b'w1\tw1\nw2\tme@w2\n', 0))

    def test_nonall_without_a_host(self):
        r = self.run_on('w1,down', '--nonall', '--tag', 'echo')
        self.assertEqual((r.out, r.status), (b'w1\t\n', 1))
        self.assertIn(b'no way to down', r.err)

    def test_onall_at_once(self):
        """One task at a time on a machine, unless -j says something, be it auto."""
        both = 'echo >>$PARALLEL_SSHHOST; n=0; until [ $(wc -l <$PARALLEL_SSHHOST) = 2 ] || [ $((n+=1)) = {} ]; ' \
               'do sleep 0.05; done; wc -l <$PARALLEL_SSHHOST'
        for i, (jobs, turns) in enumerate((([], 4), (['-j1'], 4), (['-j2'], 400), (['-j2..9'], 400),
                                           (['-jauto:9', '--no-memory', '--kind', 'wait'], 400))):
            with self.subTest(jobs=jobs):
                r = self.run_on(f'w{i}', '--onall', *jobs, '-n0', both.format(turns), ':::', '1', '2')
                self.assertEqual(r.out, b'1\n2\n' if turns == 4 else b'2\n2\n')

    def test_number_of_a_login(self):
        """GNU parallel's is one of cores: -j counts more, and its share is of these."""
        for face, jobs, at_once in (('knee', ['-j1'], 8), ('knee', ['-j50%'], 8), ('knee', [], 8), ('parallel', [], 8),
                                    ('parallel', ['-j1'], 1), ('parallel', ['-j50%'], 4), ('parallel', ['-j+2'], 10),
                                    ('parallel', ['-j-5'], 3), ('parallel', ['-j5', '--nonall'], 8)):
            with self.subTest(face=face, jobs=jobs):
                inputs = [] if '--nonall' in jobs else [':::', 'a']
                r = self.run_on('8/w1', *jobs, '--explain', 'echo', *inputs, face=face)
                self.assertIn(f'{face}: w1: 1 task, {at_once} at once\n', r.err.decode())

    def test_onall_of_a_job_that_a_dry_run_does_not_ask_for(self):
        for args, out in ((['--onall', 'echo', ':::', 'a', 'b'], b'echo a\necho b\n'),
                          (['--onall', '--tag', '--eta', 'echo', ':::', 'a', 'b'], b'echo a\necho b\n'),
                          (['--nonall', '--tag', 'echo'], b'echo\n')):
            r = knee('--on', 'slurm:-N9', '--dry-run', *args, timeout=20)
            self.assertEqual((r.out, r.status), (out, 0))
        r = knee('--on', 'slurm', '--onall', '--shellquote', ':::', 'a b', timeout=20)
        self.assertEqual((r.out, r.status), (b"'a b'\n", 0))

    def test_onall_results(self):
        """Each machine has files of its own, though all have the same inputs."""
        for name, paths in (('d', ['d/{host}/1/{x}/stdout']), ('d_{}/', ['d_{x}/{host}/stdout']),
                            ('d_{}', ['d_{x}/{host}', 'd_{x}/{host}.err', 'd_{x}/{host}.seq'])):
            for order in [], ['--lb']:
                with self.subTest(name=name, order=order):
                    folder = scratch()
                    r = self.run_on('w[1-2],:', '--onall', *order, '--results', name,
                                    'echo {} $PARALLEL_SSHHOST', ':::', 'a', 'b', cwd=folder)
                    self.assertEqual((r.err, r.status), (b'', 0))
                    for x in 'a', 'b':
                        for host in 'w1', 'w2', ':':
                            for path in paths:
                                self.assertTrue(os.path.exists(os.path.join(folder, path.format(x=x, host=host))), path)
                            with open(os.path.join(folder, paths[0].format(x=x, host=host))) as f:
                                self.assertEqual(f.read(), f'{x} {host}\n')
        folder = scratch()
        self.run_on('w[1-2]', '--nonall', '--results', 'd', 'echo $PARALLEL_SSHHOST', cwd=folder)
        for host in 'w1', 'w2':
            with open(os.path.join(folder, 'd', host, 'stdout')) as f:
                self.assertEqual(f.read(), f'{host}\n')

    def test_onall_goes_on_with_the_same_machines(self):
        log = os.path.join(self.folder, 'log')
        for option, why in ('--journal', rb'-S w1 -S w2'), ('--joblog', rb'task \d was for w\d and now is for w\d'):
            with self.subTest(option=option):
                args = '--onall', option, log, 'echo {} $PARALLEL_SSHHOST', ':::', 'a', 'b'
                self.run_on('w[1-2]', *args)
                for logins in 'w2,w1', 'w[1-3]', 'w2':
                    r = self.run_on(logins, '--resume', *args, 'c')
                    self.assertEqual((r.out, r.status), (b'', 255))
                    self.assertRegex(r.err, why)
                r = self.run_on('w[1-2]', '--resume', *args, 'c')
                self.assertTrue(r.out.endswith(b'c w1\nc w2\n'), r)
                os.unlink(log)

    def test_summary_of_many(self):
        r = self.run_on('w1,down[1-12]', '--nonall', '--explain', 'echo')
        self.assertEqual((r.out, r.status), (b'\n', 12))
        self.assertIn(b'\nknee: and 1 machine more\n', r.err)

    def test_load_is_of_its_cores(self):
        """The machine is told what was typed."""
        with open(self.ssh, 'w') as f:
            f.write(SSH.replace('exec sh -c "$last"', '''exec bash -c 'exec sh -c "$0" < <(tee ../sent)' "$last"'''))
        for load, told in ('10000%', b'10000%'), ('+999', b'+999'), ('999', None):
            r = self.run_on('w1', '--load', load, 'echo', ':::', 'a')
            self.assertEqual((r.out, r.status), (b'a\n', 0), r.err)
            with open(os.path.join(self.folder, 'sent'), 'rb') as f:
                sent = f.read()
            self.assertIn(b'echo', sent)
            self.assertEqual([t for t in (b'10000%', b'+999', b'999') if b'\0' + t + b'\0' in sent], [told] if told else [])

    def test_too_many_at_once_is_no_failure(self):
        """A machine whose tasks say so is not set aside."""
        r = self.run_on('4/w[1-2]', '--busy-exit', '75', '--explain', 'test $PARALLEL_SSHHOST = w2 || exit 75; echo {}',
                        ':::', *map(str, range(100)))
        self.assertEqual((r.out.decode().split(), r.status), ([str(i) for i in range(100)], 0), r.err)
        self.assertNotIn(b'set aside', r.err)
        self.assertIn(b'knee: w[1-2]: 100 tasks, 4 at once each\n', r.err)

    def test_last_inputs_are_for_all_machines(self):
        """-X and -m share them out over all tasks at once."""
        for how, out in (([], b'1 2\n3 4\n5 6\n7 8\n9 10\n11 12\n'), (['--onall'], b'1 2 3 4 5 6 7 8 9 10 11 12\n' * 3)):
            for option in '-X', '-m':
                r = self.run_on('3/w1,2/w2,w3', '-j1', option, '--dry-run', *how, 'echo', ':::', *map(str, range(1, 13)))
                self.assertEqual(r.out.replace(b'echo ', b''), out)
        # One after another on each: as many as fit.
        r = self.run_on('w[1-2]', '-X', '--onall', '--dry-run', 'echo', ':::', *'abc')
        self.assertEqual(r.out, b'echo a b c\n' * 2)

    def test_env(self):
        r = self.run_on('w1', '--env', 'GIVEN', '--env', 'MISSING', 'echo $GIVEN', ':::', '1',
                        env={'GIVEN': 'a  b'})
        self.assertEqual(r.out, b'a b 1\n')
        self.assertIn(b'--env MISSING: there is no such variable here', r.err)

    def test_workdir(self):
        there = os.path.realpath(os.path.join(self.folder, 'there'))
        for name in 'deep/er', 'deep/er', 'b{r}aces':       # made, then there
            r = self.run_on('w1', '--wd', name, '-n0', 'pwd', ':::', '1')
            self.assertEqual(r.out.decode(), f'{there}/{name}\n')

    def test_ssh_words(self):
        # It is not over before both have been called.
        wait = ('until grep -q -e "-p 2200 me@w1 " ../calls && grep -q -e "-p 22 ::1 " ../calls; '
                'do sleep 0.02; done')
        self.run_on('me@w[1-2]:2200,[::1]:22,!w2', '-n0', wait, ':::', '1')
        with open(os.path.join(self.folder, 'calls')) as f:
            calls = f.read()
        self.assertIn('-p 2200 me@w1 ', calls)
        self.assertIn('-p 22 ::1 ', calls)
        self.assertNotIn('w2', calls)

    def test_joblog_and_journal_have_the_host(self):
        log, journal = (os.path.join(self.folder, name) for name in ('log', 'journal'))
        self.run_on('w1', '--joblog', log, '--journal', journal, '-n0', 'true', ':::', '1')
        with open(log) as f:
            self.assertEqual(f.read().splitlines()[1].split('\t')[1], 'w1')
        self.assertIn(b' w1 ', knee('log', journal).out)

    def test_more_than_it_can_run(self):
        """It says so, and runs as many as it can."""
        r = self.run_on('small', '-j500', 'echo', ':::', 'a', 'b')
        self.assertEqual((sorted(r.out.split()), r.status), ([b'a', b'b'], 0), r.err)
        self.assertRegex(r.err, rb'^knee: small: running \d+ at once, not 500[^\n]*\n$')

    def test_files_of_logins(self):
        name = os.path.join(self.folder, 'mine')
        with open(name, 'w') as f:
            f.write('# all of them\n@front+x/w[1-2]   # rack 3\n\n@back/w3, w4\n')
        env = {'HOME': self.folder}
        r = knee('--ssh', self.ssh, '--slf', name, '-S', '@front', '--nonall', '-k', 'echo $PARALLEL_SSHHOST', env=env)
        self.assertEqual(r.out, b'w1\nw2\n')
        with open(name, 'w') as f:
            f.write('@a/w1\n@a+c/w1\n@b/w2\n@b/w2\n')
        r = knee('--ssh', self.ssh, '--slf', name, '-S', '@c+b', '--nonall', 'echo $PARALLEL_SSHHOST', env=env)
        self.assertEqual(r.out, b'w1\nw2\n')
        # What is typed comes behind the file.
        with open(name, 'w') as f:
            f.write('4/w1\nw2\nw3\n')
        r = knee('--ssh', self.ssh, '-S', '!w[2-3],1/w1', '--slf', name, '--explain', '-n0', 'echo $PARALLEL_SSHHOST',
                 ':::', '1', '2', env=env)
        self.assertEqual(r.out, b'w1\nw1\n')
        self.assertIn(b'knee: w1: 2 tasks, 1 at once\n', r.err)
        r = knee('--ssh', self.ssh, '--slf', '-', '--nonall', 'echo $PARALLEL_SSHHOST', env=env,
                 input=b'w9\n')
        self.assertEqual(r.out, b'w9\n')


    def test_files_that_cannot_be_read(self):
        loop, long = os.path.join(self.folder, 'loop'), 'x' * 300
        os.symlink(loop, loop)
        os.mkdir(os.path.join(self.folder, 'dir'))
        for name, why in ((self.folder, 'Is a directory'), ('dir', 'Is a directory'),
                          (loop, 'Too many levels of symbolic links'), ('./' + long, 'File name too long'),
                          ('./none', 'No such file or directory')):
            r = knee('--slf', name, '--nonall', 'echo', cwd=self.folder)
            self.assertEqual((r.out, r.err.decode(), r.status), (b'', f'knee: --slf: {name}: {why}\n', 255))

    def test_wait_for_a_job(self):
        """Who waits is told so, but for --silent."""
        with open(f'{self.folder}/salloc', 'w') as f:
            f.write('#!/bin/sh\nsleep 1.5\nexit 1\n')
        os.chmod(f'{self.folder}/salloc', 0o755)
        env = {'PATH': f'{self.folder}:{os.environ["PATH"]}'}
        for more, waiting in ([], b'--on slurm: waiting for a job; Ctrl-C gives it up\nknee: '), (['--silent'], b''):
            r = knee('--on', 'slurm:-N1', *more, 'echo', ':::', '1', env=env)
            self.assertEqual((r.out, r.err, r.status),
                             (b'', b'knee: ' + waiting + b'--on slurm: salloc has given no job\n', 255))

    def test_no_job_for_what_is_refused(self):
        """Nobody waits in a queue to hear that a file is missing."""
        with open(f'{self.folder}/salloc', 'w') as f:
            f.write(f'#!/bin/sh\ntouch {self.folder}/asked\nexit 1\n')
        os.chmod(f'{self.folder}/salloc', 0o755)
        journal = os.path.join(self.folder, 'journal')
        knee('--journal', journal, 'echo', ':::', '1')
        env = {'PATH': f'{self.folder}:{os.environ["PATH"]}'}
        with start('--journal', journal + '2', 'sleep', ':::', '1000') as p:
            wait_for(lambda: b'sleep' in knee('log', journal + '2').out, what='its first task')
            for args, why in (
                    (['::::', './none'], 'inputs: ./none: No such file or directory'),
                    (['--basefile', './none', ':::', '1'], '--basefile ./none: No such file or directory'),
                    (['--wd', 'd/{}', ':::', '1'], "--wd d/{}: one folder for all tasks, replacement strings are not for it: "
                                                   "write 'mkdir -p DIR && cd DIR && ...' as the command"),
                    (['--journal', journal, ':::', '1'], f'{journal}: holds a run already: add --resume to go on with it, '
                                                         'or name another file'),
                    (['--journal', journal + '2', '--resume', ':::', '1'],
                     f'{journal}2: another run has it: wait for it, or use another journal'),
                    (['--journal', journal, '--resume', ':::', '1'], '--on slurm: salloc has given no job')):
                r = knee('--on', 'slurm:-N1', *args[:-2], 'echo', *args[-2:], env=env)
                self.assertEqual((r.out, r.err.decode(), r.status), (b'', f'knee: {why}\n', 255))
                self.assertEqual(os.path.exists(f'{self.folder}/asked'), 'salloc' in why)
            p.terminate()

    def test_own_folder_of_logins(self):
        """XDG_CONFIG_HOME says where it is, as for the config file."""
        for env, folder in ({}, '.config'), ({'XDG_CONFIG_HOME': self.folder + '/xdg'}, 'xdg'):
            os.makedirs(f'{self.folder}/{folder}/knee')
            for name in 'hosts', 'rack':
                with open(f'{self.folder}/{folder}/knee/{name}', 'w') as f:
                    f.write(f'{folder}-{name}\n')
            for name, host in ('..', 'hosts'), ('rack', 'rack'):
                r = knee('--ssh', self.ssh, '--slf', name, '--nonall', 'echo $PARALLEL_SSHHOST', env={'HOME': self.folder, **env})
                self.assertEqual((r.out.decode(), r.err), (f'{folder}-{host}\n', b''))
        for env, folder in ({}, '~/.config/knee'), ({'XDG_CONFIG_HOME': '/none'}, '$XDG_CONFIG_HOME/knee'):
            env['HOME'] = '/none'
            r = knee('--slf', '..', '--nonall', 'echo', env=env)
            self.assertIn(f'there is neither {folder}/hosts nor ~/.parallel/sshloginfile'.encode(), r.err)
            r = knee('--slf', 'rack', '--nonall', 'echo', env=env)
            self.assertIn(f'not here, nor in ~/.parallel or {folder}\n'.encode(), r.err)

    def test_file_of_all_users(self):
        path = '/etc/parallel/sshloginfile'
        if os.path.exists(path):
            self.skipTest(f'{path} is there')
        r = knee('--slf', '.', '--nonall', 'echo')
        self.assertEqual((r.err.decode(), r.status), (f'knee: --slf: {path}: No such file or directory\n', 255))

    def test_without_many(self):
        """Quick, however many there are."""
        r = self.run_on('w[1-100001],!w[1-100000]', '--dry-run', '--onall', '--tag', 'echo', ':::', '1', timeout=20)
        self.assertEqual((r.out, r.status), (b'w100001\techo 1\n', 0), r.err)


class Returned(Case):
    def test_no_name_is_nothing(self):
        """A name that is empty, or leads out of the folder, is not the folder that all tasks run in, nor its parent."""
        there = os.path.join(self.folder, 'there')
        for name in 'precious', 'there/precious':
            with open(os.path.join(self.folder, name), 'w') as f:
                f.write(name)
        for how in ['{}'], ['{//}'], ['..'], ['../precious'], ['/.//../x'], ['./']:
            with self.subTest(how=how):
                r = self.run_on('w1', '--return', *how, '--cleanup', ': {}', ':::', '', cwd=scratch())
                self.assertEqual(r.status, 0 if how in (['{//}'], ['./']) else 1, r)
                self.assertEqual(os.listdir(there), ['precious'])
                self.assertTrue(os.path.exists(os.path.join(self.folder, 'precious')))


class NotWritten(Case):
    """What comes back and cannot be written here stays there."""

    def setUp(self):
        super().setUp()
        self.there = os.path.join(self.folder, 'there')

    def names(self, folder):
        return sorted(os.path.relpath(os.path.join(at, name), folder)
                      for at, folders, files in os.walk(folder) for name in files + folders)

    def test_disk_full(self):
        """One of two: both stay, and where is told; a later task's are removed."""
        with small_tmpfs('256k') as cwd:
            r = self.run_on('w1', '-j1', '--return', 'd/./small.{}', '--return', 'd/./out/{}', '--cleanup', '--joblog', 'log',
                            'mkdir -p out; echo small >small.{}; head -c {} /dev/zero >out/{}', ':::', '500000', '5', cwd=cwd)
            self.assertEqual((r.out, r.status), (b'', 1))
            self.assertEqual(r.err, b'knee: task 1: w1: d/./out/500000: cannot be written: No space left on device; '
                                    b'kept on w1: out/500000\n')
            self.assertEqual(self.names(cwd), ['d', 'd/out', 'd/out/5', 'd/small.5', 'd/small.500000', 'log'])
        self.assertEqual(self.names(self.there), ['out', 'out/500000', 'small.500000'])
        self.assertEqual(os.stat(self.there + '/out/500000').st_size, 500000)

    @unittest.skipIf(VALGRIND, 'the program of this test is another one')
    @unittest.skipUnless(os.path.exists(INJECT), 'knee-inject is not built')
    def test_not_on_the_disk(self):
        """With --sync what came back is on the disk, it and its name, or its task has failed and it stays."""
        for nth, there in (1, ['out']), (2, ['out']), (3, []):
            with self.subTest(nth):
                cwd = scratch()
                r = run([INJECT, '--ssh', self.ssh, '-S', 'w1', '--journal', 'j', '--sync', '--return', 'out', '--cleanup',
                         'echo >out', ':::', ''], cwd=cwd, env={'HOME': self.folder, 'KNEE_INJECT': f'fsync:{nth}:5'})
                err = b'knee: task 1: w1: out: cannot be written: Input/output error; kept on w1: out\n'
                self.assertEqual((r.err, r.status), (err, 1) if there else (b'', 0))
                self.assertEqual(self.names(self.there), there)

    def test_changed_in_place(self):
        """A file that went and comes back is no copy any more."""
        with small_tmpfs('256k') as cwd:
            for name in 'in', 'other':
                with open(f'{cwd}/{name}', 'w') as f:
                    f.write(name)
            r = self.run_on('w1', '--transferfile', 'other', '--trc', '{}', 'head -c 500000 /dev/zero >{}', ':::', 'in', cwd=cwd)
            self.assertEqual((r.out, r.status), (b'', 1))
            self.assertIn(b'No space left on device; kept on w1: in\n', r.err)
            self.assertEqual(self.names(cwd), ['in', 'other'])
            with open(f'{cwd}/in') as f:
                self.assertEqual(f.read(), 'in')
        self.assertEqual(self.names(self.there), ['in'])
        self.assertEqual(os.stat(self.there + '/in').st_size, 500000)

    def test_folder_of_the_run(self):
        """--wd ... goes with all that is in it, but not with what is nowhere else; also without --cleanup."""
        for how in [], ['--cleanup']:
            with self.subTest(how), small_tmpfs('256k') as cwd:
                env = {'TMPDIR': scratch()}
                r = self.run_on('w1', '--wd', '...', '--return', 'out', *how, 'head -c {} /dev/zero >out', ':::', '5', cwd=cwd,
                                env=env)
                self.assertEqual((r.out, r.err, r.status), (b'', b'', 0))
                self.assertEqual(self.names(cwd), ['out'])
                self.assertEqual(os.listdir(env['TMPDIR']), [])
                r = self.run_on('w1', '--wd', '...', '--return', 'out', *how, 'head -c {} /dev/zero >out', ':::', '500000',
                                cwd=cwd, env=env)
                self.assertEqual((r.out, r.status), (b'', 1))
                self.assertIn(b'; kept on w1: out\n', r.err)
                folder, = os.listdir(env['TMPDIR'])
                self.assertIn(f'w1: the folder {env["TMPDIR"]}/{folder} stays: files that did not come back are in it',
                              r.err.decode())
                self.assertEqual(os.stat(f'{env["TMPDIR"]}/{folder}/out').st_size, 500000)

    def test_folder_of_the_run_without_the_file(self):
        """There is nothing to be kept."""
        env = {'TMPDIR': scratch()}
        r = self.run_on('w1', '--wd', '...', '--return', 'out', 'true', ':::', '1', cwd=scratch(), env=env)
        self.assertEqual((r.out, r.status), (b'', 1))
        self.assertEqual(os.listdir(env['TMPDIR']), [])

    def test_whole_folder(self):
        """What is put aside of one task does not come back with another."""
        cwd = scratch()
        inputs = [f'i{i}' for i in range(8)]
        for name in inputs:
            with open(f'{cwd}/{name}', 'w') as f:
                f.write(name)
        r = self.run_on('4/w1', '--transferfile', '{}', '--return', '.', '--cleanup',
                        'head -c 300000 /dev/zero >big.{}', ':::', *inputs, cwd=cwd)
        # What others write just then may have changed while it was sent: that is said.
        self.assertNotIn(b'.knee-', r.err)
        self.assertEqual([n for n in self.names(cwd) if '.knee-' in n], [])
        self.assertTrue(any(f'big.{i}' in self.names(cwd) for i in inputs), r.err)

    def test_next_attempt(self):
        """It finds what the first one left, and that goes with it when all is well."""
        with small_tmpfs('256k') as cwd:
            r = self.run_on('w1', '--retries', '2', '--return', 'out.{}', '--cleanup',
                            'test -e out.{} && echo again >out.{} || head -c 500000 /dev/zero >out.{}', ':::', 'x', cwd=cwd)
            self.assertEqual((r.out, r.status), (b'', 0), r.err)
            self.assertEqual(self.names(cwd), ['out.x'])
        self.assertEqual(self.names(self.there), [])

    def test_shared_folder(self):
        """Both ends have the same one: what came back is not removed as what is to be cleaned up."""
        os.mkdir(self.there + '/in')
        for how in ['--return', 'a'], ['--return', '.'], ['--return', 'a', '--return', 'd']:
            with self.subTest(how):
                with open(self.there + '/in/a', 'w') as f:
                    f.write('a')
                r = self.run_on('w1', '--transferfile', 'in/./a', *how, '--cleanup', 'mkdir -p d; echo {} >d/b; echo {} >>a',
                                ':::', 'x', cwd=self.there)
                self.assertEqual((r.out, r.err, r.status), (b'', b'', 0))
                with open(self.there + '/a') as f:
                    self.assertEqual(f.read(), 'ax\n')
                self.assertEqual(self.names(self.there), ['a', 'd', 'd/b', 'in', 'in/a'])
                os.remove(self.there + '/a')

    def test_shared_folder_is_full(self):
        """Neither has room for a second copy: the first one is there."""
        with small_tmpfs('256k') as shared:
            r = self.run_on('w1', '--wd', shared, '--return', 'out', '--cleanup', 'head -c 200000 /dev/zero >out; : {}', ':::', 'x',
                            cwd=shared)
            self.assertEqual(r.status, 1)
            self.assertIn(b'; kept on w1: out\n', r.err)
            self.assertEqual(os.listdir(shared), ['out'])
            self.assertEqual(os.stat(shared + '/out').st_size, 200000)

    def test_second_copy(self):
        """--speculate: what the copy that came second has made goes only with the folder of its run (--wd ...): nobody
        waits for it, and elsewhere its names may be those of the first."""
        cwd = scratch()
        r = self.run_on('1/w1,1/w2', '--wd', '...', '--speculate', '--return', 'out.{}', '--cleanup',
                        f'echo {{}} >out.{{}}; test {{}} = slow && mkdir {self.folder}/first 2>/dev/null && exec sleep 60; ls -A',
                        ':::', 'slow', 'b', cwd=cwd)
        self.assertEqual((set(r.out.split()), r.status, r.left), ({b'out.slow', b'out.b'}, 0, []), r.err)
        self.assertRegex(r.err, rb'\Aknee: task 1: w[12]: runs here too: it takes long on w[12]\n\Z')
        self.assertEqual(self.names(cwd), ['out.b', 'out.slow'])

    def test_second_copy_with_half_of_its_files(self):
        """Nothing is said of those that it has not written, nor is its folder kept for the others."""
        cwd, tmp = scratch(), scratch()
        r = self.run_on('1/w1,1/w2', '--wd', '...', '--speculate', '--return', 'a.{}', '--return', 'b.{}',
                        f'echo {{}} >a.{{}}; test {{}} = slow && mkdir {self.folder}/first 2>/dev/null && exec sleep 60; '
                        'echo {} >b.{}', ':::', 'slow', 'x', cwd=cwd, env={'TMPDIR': tmp})
        self.assertEqual((r.out, r.status, r.left), (b'', 0, []), r.err)
        self.assertRegex(r.err, rb'\Aknee: task 1: w[12]: runs here too: it takes long on w[12]\n\Z')
        self.assertEqual((self.names(cwd), os.listdir(tmp)), (['a.slow', 'a.x', 'b.slow', 'b.x'], []))


class Refused(unittest.TestCase):
    def refused(self, message, *args):
        r = knee(*args, ':::', '1')
        self.assertEqual((r.out, r.err.decode(), r.status), (b'', f'knee: {message}\n', 255))

    def test_without_machines(self):
        """What is about them alone is not taken silently, but for settings."""
        r = knee('--cleanup', '--speculate', '--ssh', 'x', '--host-timeout', '9', '--trc', 'a', '--trc', 'b', '--env',
                 'HOME', 'echo', ':::', '1', env={'KNEE': '--ssh y --basefile z'})
        self.assertEqual((r.out, r.err), (b'1\n', b'knee: --cleanup, --speculate, --ssh, --host-timeout, --trc: '
                                          b'without effect: there are no other machines\n'))
        for args, env in (['--ssh', 'x', '--silent'], {}), ([], {'KNEE': '--ssh x --cleanup'}), \
                ([], {'KNEE': '--onall --wd .'}), ([], {'KNEE': '--nonall'}):
            r = knee(*args, 'echo', ':::', '1', env=env)
            self.assertEqual((r.out, r.err), (b'1\n', b''))

    def test_without_machines_as_typed(self):
        for env in {}, {'KNEE': '--wd . --nonall'}:
            for args, why in ((['--wd', '.'], '--wd: is about other machines, and there are none: add -S LOGINS, or use cd'),
                              (['--onall'], '--onall, --nonall: on all of which machines? Add -S LOGINS')):
                r = knee(*args, 'echo', '1', env=env, input=b'')
                self.assertEqual((r.out, r.err.decode(), r.status), (b'', f'knee: {why}\n', 255))

    def test_logins(self):
        for login, why in (('web[3-1]', "'web[3-1]': 3-1: a range rises"),
                           ('web[1', "'web[1': [ without ]"),
                           ('0/a', "'0/a': with 0 tasks at once nothing would run there: leave 0/ out to let "
                            'knee find the number'),
                           ('a:b@c', "'a:b@c': passwords are not for command lines: ssh-keygen, ssh-copy-id and "
                            'ssh-agent make them needless'),
                           ('-oProxyCommand=x@h', "'-oProxyCommand=x@h': a login does not begin with -"),
                           ('me@-h', "'me@-h': there is no machine in it"),
                           ('h:port', "'h:port': port is no port"),
                           ('me@:', "'me@:': : is this machine: there is no login to it"),
                           (',', 'there is no login in it')):
            self.refused(f'-S: {why}', '-S', login, 'echo')

    def test_what_does_not_go_together(self):
        self.refused('--onall, --nonall: on all of which machines? Add -S LOGINS', '--onall', 'echo')
        self.refused('--on: names the machines, and so does -S: leave out one of the two', '--on', 'slurm',
                     '-S', 'a', 'echo')
        self.refused('--retry-failed: with --onall a job log alone does not say which command is for which machine: '
                     'use --resume-failed, or --journal FILE',
                     '-S', 'a', '--onall', '--retry-failed', '--joblog', 'log', 'echo')
        for machines in ['-S', 'a'], ['--on', 'slurm']:
            self.refused('--group auto: not with --onall, where a command is a task for each machine: leave it out, and say by -n how many '
                     'inputs a command gets',
                         *machines, '--onall', '--group', 'auto', 'echo')
        for how in '--lb', '-u':
            self.refused('--speculate: with --lb and -u both copies of a task would be printed: leave out one',
                         '-S', 'a', '--speculate', how, 'echo')
        for folder, *more in ['{}'], ['x/{2.}'], ['d-%', '-I', '%'], ['{n}', '--header', ':'], ['{%}']:
            self.refused(f"--wd {folder}: one folder for all tasks, replacement strings are not for it: write 'mkdir -p DIR "
                         "&& cd DIR && ...' as the command", '-S', 'a', '--wd', folder, *more, 'echo', ':::', 'n')
        r = knee('-S', 'a', '--nonall')
        self.assertEqual((r.out, r.err, r.status), (b'', b'knee: --nonall: which command? There is none\n', 255))
        self.refused('--nonall: takes no inputs: use --onall for these', '--nonall', '-S', 'a', 'echo')
        self.refused('--plugin: functions run on this machine alone: leave out -S and --on', '-S', 'a',
                     '--plugin', 'x.so')
        self.refused("--host-timeout: '100ms' is too short: 1 s at least", '--host-timeout', '100ms', 'echo')
        self.refused("--env: '_' (all variables): knee takes names alone, an --env for each", '--env', '_',
                     'echo')


class Bad(Case):
    """What goes wrong, or is slow."""

    def start_on(self, logins, *args, **more):
        return start('--ssh', self.ssh, '-S', logins, *args, env={'HOME': self.folder}, **more)

    def there(self, name):
        return os.path.join(self.folder, 'there', name)

    def test_lost_with_onall(self):
        """Its tasks run nowhere else, and nobody says that they do."""
        r = self.run_on('w1,w2', '--onall', '--explain', 'mkdir was-$PARALLEL_SSHHOST 2>/dev/null || { echo {}; exit 0; }; '
                        'test $PARALLEL_SSHHOST = w2 || { kill -KILL $PPID; sleep 1000; }; echo {}', ':::', 'a')
        self.assertEqual((r.out, r.status), (b'a\na\n', 0), r.err)
        self.assertRegex(r.err, rb'(?m)^knee: w1: lost: [^;\n]*; its 1 task waits for it$')
        self.assertRegex(r.err, rb'\nknee: w1: 1 task; was lost for a while; 1 taken from it: ')

    def test_none_is_reached(self):
        """A word more for who tries it the first time, where ssh leads there."""
        hint = b"knee: no machine is left to run tasks on: 'ssh HOST true' has to work there without a question\n"
        ssh = os.path.join(self.folder, 'ssh')
        self.ssh_fails('Permission denied (publickey).')
        os.link(self.ssh, ssh)
        r = knee('--ssh', ssh, '-S', 'w1', 'echo', ':::', 'a')
        self.assertEqual((r.out, r.status), (b'', 255))
        self.assertTrue(r.err.endswith(hint), r.err)
        self.ssh_fails('Permission denied (publickey).')
        r = self.run_on('w1', 'echo', ':::', 'a')
        self.assertTrue(r.err.endswith(b'knee: no machine is left to run tasks on\n'), r.err)

    def test_blanks_for_commas(self):
        r = knee('-S', 'web1 web2', 'echo', ':::', 'a')
        self.assertEqual((r.out, r.err, r.status),
                         (b'', b'knee: web2: cannot start web1: No such file or directory: is it a command that logs in? '
                          b'Commas separate machines\nknee: no machine is left to run tasks on\n', 255))

    def test_what_cannot_be_sent_keeps_nobody_waiting(self):
        """It waits when its machine is not up yet, and fails when it is."""
        r = self.run_on('late', 'echo {}', input=b'a' * 17000000 + b'\nb\n')
        self.assertEqual((r.out, r.status), (b'b\n', 1))
        self.assertEqual(r.err, b'knee: task 1: cannot be started: Argument list too long\n')

    def blocked(self, seconds, *args, on='w1'):
        """Output of a run whose reader takes nothing for so long, its errors and its status."""
        with self.start_on(on, '-k', *args) as p:
            wait_for(lambda: os.path.exists(self.there('began')), what='the first task')
            time.sleep(seconds * SLOW)
            out, err = p.communicate(timeout=60 * SLOW)
            return out, err, p.returncode

    def test_reader_is_slow_and_nobody_silent(self):
        out, err, status = self.blocked(2.5, '--host-timeout', f'{SLOW:g}', '-n0',
                                        'touch began; head -c 3000000 /dev/zero', ':::', *'1234')
        self.assertEqual((len(out), err, status), (12000000, b'', 0))

    def test_reader_is_slow_and_nothing_timed_out(self):
        """What ended in time did so, also when that is heard later."""
        out, err, status = self.blocked(
            2.5, '--timeout', f'{1.5 * SLOW:g}', '-j4',
            'case {} in 1) touch began; head -c 3000000 /dev/zero ;; *) sleep 0.4; echo {} ;; esac', ':::',
            *'1234')
        self.assertEqual((len(out), err, status), (3000006, b'', 0))

    def test_reader_is_slow_and_nothing_is_copied(self):
        """What has ended, but is not heard yet, does not take long."""
        out, err, status = self.blocked(
            2.5, '--speculate', '-j2',
            'case {} in 1) touch began; head -c 3000000 /dev/zero ;; *) sleep 0.4; echo {} ;; esac', ':::',
            *'1234', on='w1,w2')
        self.assertEqual((len(out), err, status), (3000006, b'', 0))

    def test_agent_is_told_to_end(self):
        """Its tasks run elsewhere, and none failed."""
        with self.start_on('w1,w2', '-k', '-j1', '--joblog', self.there('log'),
                          'touch began-$PARALLEL_SSHHOST; until test -e go; do sleep 0.02; done; echo {}',
                          ':::', *'1234') as p:
            wait_for(lambda: all(os.path.exists(self.there(f'began-w{i}')) for i in (1, 2)), what='both')
            with open(os.path.join(self.folder, 'pid-w1')) as f:
                agent = int(f.read())
            os.kill(agent, signal.SIGTERM)
            wait_gone([agent])
            open(self.there('go'), 'w').close()
            out, err = p.communicate(timeout=60 * SLOW)
            self.assertEqual((out, p.returncode), (b'1\n2\n3\n4\n', 0), err)
        with open(self.there('log')) as f:
            self.assertEqual(len(f.readlines()), 5)

    def test_this_machine_is_given_up(self):
        """Its tasks end with it, for they run again."""
        with self.start_on(':', '-j1', '--host-timeout', '1',
                          'echo $$ >>pids; until test -e go; do sleep 0.02; done; echo {}', ':::', 'a',
                          cwd=os.path.join(self.folder, 'there')) as p:
            wait_for(lambda: os.path.exists(self.there('pids')), what='the task')
            agent = next(d for d in descendants(p.pid) if b'agent' in argv_of(d) and command_of(d) != 'kn-keeper')
            os.kill(agent, signal.SIGSTOP)
            self.assertIn(b'lost: nothing was heard of it', p.stderr.readline())
            with contextlib.suppress(ProcessLookupError):
                os.kill(agent, signal.SIGCONT)
            with open(self.there('pids')) as f:
                wait_gone([int(f.readline())])
            open(self.there('go'), 'w').close()
            out, err = p.communicate(timeout=60)
        self.assertEqual((out, p.returncode), (b'a\n', 0), err)

    def ssh_fails(self, *texts):
        """ssh says these things at its next tries, one each."""
        for i, text in enumerate(texts):
            with open(os.path.join(self.folder, f'fail{i}'), 'w') as f:
                f.write(text + '\n')
        with open(self.ssh, 'w') as f:
            f.write(SSH.replace('\n', '\nfor f in "$(dirname "$0")"/fail*; do\n\ttest -e "$f" || break\n'
                                '\tcat "$f" >&2; rm "$f"; exit 255\ndone\n', 1))

    def test_name_server_is_away(self):
        self.ssh_fails('ssh: Could not resolve hostname w1: Temporary failure in name resolution')
        r = self.run_on('w1', 'echo', ':::', 'a')
        self.assertEqual((r.out, r.err, r.status), (b'a\n', b'', 0))

    def test_it_was_there_before(self):
        """What would be for good at first is not when it was up once."""
        with self.start_on('w1', '-j1', 'touch began; until test -e go; do sleep 0.02; done; echo {}', ':::',
                          'a') as p:
            wait_for(lambda: os.path.exists(self.there('began')), what='the task')
            self.ssh_fails('Permission denied (publickey).')
            with open(os.path.join(self.folder, 'pid-w1')) as f:
                agent = int(f.read())
            os.kill(agent, signal.SIGTERM)
            wait_gone([agent])
            open(self.there('go'), 'w').close()
            out, err = p.communicate(timeout=60)
        self.assertEqual((out, p.returncode), (b'a\n', 0), err)

    def test_time_of_a_copy(self):
        """A time-out is the task's: that a copy began later does not make a success of what was ended."""
        with self.start_on('w1,w2', '-j1', '--speculate', '--timeout', f'{2 * SLOW:g}',
                          'if mkdir first 2>/dev/null; then trap "" TERM; else trap "touch ended; exit 0" TERM; touch copy; fi; '
                          'while :; do sleep 0.05; done; : {}', ':::', 'a') as p:
            _, err = p.communicate(timeout=60)
        self.assertTrue(os.path.exists(self.there('copy')), err)
        self.assertTrue(os.path.exists(self.there('ended')), err)
        self.assertEqual(p.returncode, 1, err)

    def test_copy_that_prints_much_is_not_made_again(self):
        r = self.run_on('w1,w2', '-j1', '--speculate',
                        'echo {} >>log; test {} != 4 || { head -c 3000000 /dev/zero; sleep 2.5; }',
                        ':::', *'1234')
        self.assertEqual((len(r.out), r.status), (3000000, 0))
        self.assertIn(b'runs here too', r.err)
        with open(self.there('log')) as f:
            self.assertLessEqual(f.read().split().count('4'), 2)


if __name__ == '__main__':
    unittest.main()
