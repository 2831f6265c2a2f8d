# SPDX-License-Identifier: MIT
"""What one input is: sources, their product and their links, and every option that reads,
drops, cuts or names records. The expected bytes are what GNU parallel 20221122 prints,
but where a test says otherwise."""

import random
import threading

from kneetest import *

FOLDER = scratch()

# Prints its arguments, each between < and >: what a task really got.
ARGV = os.path.join(FOLDER, 'argv')
with open(ARGV, 'w') as f:
    f.write('#!/bin/sh\nfor i; do printf "<%s>" "$i"; done; echo\n')
os.chmod(ARGV, 0o755)


def file_of(name, data):
    """A file in a folder of its own with this content; its path."""
    path = os.path.join(scratch(), name)
    with open(path, 'wb') as f:
        f.write(data)
    return path


class Case(unittest.TestCase):
    def says(self, want, *args, input=b'', **more):
        """These arguments print that, and nothing else."""
        if isinstance(want, str):
            want = want.encode()
        r = knee('-j1', *args, input=input, **more)
        self.assertEqual((r.out, r.err, r.status), (want, b'', 0), args)

    def fails(self, text, *args, input=b'', out=None, **more):
        """These end with status 255 and a message that holds text."""
        r = knee('-j1', *args, input=input, **more)
        self.assertEqual(r.status, 255, r)
        self.assertIn(text, r.err.decode(errors='replace'))
        self.assertTrue(r.err.startswith(b'knee: '), r)
        if out is not None:
            self.assertEqual(r.out, out)


class Records(Case):
    def test_lines(self):
        self.says('<a>\n<b c>\n', ARGV, input=b'a\nb c\n')

    def test_last_line_without_newline(self):
        self.says('<a>\n<b>\n', ARGV, input=b'a\nb')

    def test_no_input_no_task(self):
        self.says('', ARGV)
        self.says('', '-X', ARGV)
        self.says('', ARGV, input=None)

    def test_empty_line_is_an_input(self):
        self.says('<1>\n<>\n<2>\n', ARGV, input=b'1\n\n2\n')
        self.says('<>\n', ARGV, input=b'\n')

    def test_no_run_if_empty(self):
        self.says('<1>\n<2>\n', '-r', ARGV, input=b'1\n\n \t\n2\n')
        self.says('<a>\n<b>\n', '-r', ARGV, ':::', 'a', '', 'b')

    def test_carriage_return_stays(self):
        self.says(b'<a\r>\n<b\r>\n', ARGV, input=b'a\r\nb\r\n')

    def test_null(self):
        self.says('<a\nb>\n< c>\n', '-0', ARGV, input=b'a\nb\0 c\0')

    def test_delimiter(self):
        self.says('<a>\n<c>\n', '-d', 'b', ARGV, input=b'abc')
        self.says('<a\nb>\n<c\n>\n', '-d', 'x', ARGV, input=b'a\nbxc\n')

    def test_bytes_that_are_no_text(self):
        data = bytes(range(1, 256)).replace(b'\n', b'')
        self.says(b'<' + data + b'>\n', ARGV, input=data + b'\n')

    def test_nul_byte_in_a_line(self):
        self.fails('NUL byte in line 3: use -0', ARGV, input=b'x\ny\na\0b\nc\n')

    def test_nul_byte_after_many_lines(self):
        # Torn between two reads, so that it moves in the buffer.
        lines = b'a line\n' * 18000 + b'y\0' + b'x' * 20000 + b'\n'
        self.fails('NUL byte in line 18001', '-X', '-a', file_of('in', lines), 'true')
        self.fails('NUL byte in line 18001', '-X', 'true', input=lines)

    def test_long_records(self):
        for size in (65535, 65536, 65537, 131072, 3 << 20):
            r = knee('-j1', 'wc -c <<E\n{}\nE', input=b'x' * size + b'\nlast\n')
            self.assertEqual((r.out, r.err, r.status), (b'%d\n5\n' % (size + 1), b'', 0))

    def test_records_across_reads(self):
        words = [b'%d' % i * (i % 13) for i in range(30000)]
        r = knee('-X', '-j1', '-q', 'printf', '%s\\n', input=b'\n'.join(words))
        self.assertEqual(r.out, b'\n'.join(words) + b'\n')

    @unittest.skipIf(VALGRIND, 'valgrind opens a closed stdin itself')
    def test_stdin_closed(self):
        r = run(['sh', '-c', 'exec "$@" <&-', 'sh', *knee_argv('echo')])
        self.assertEqual((r.out, r.err, r.status), (b'', b'', 0))

    def test_first_task_before_the_input_ends(self):
        with start('-j1', 'echo', stdin=subprocess.PIPE) as p:
            for word in (b'one\n', b'two\n', b'three\n'):
                p.stdin.write(word)
                self.assertEqual(p.stdout.read(len(word)), word)
            p.stdin.write(b'fo')
            p.stdin.write(b'ur')
            p.stdin.close()
            self.assertEqual(p.stdout.read(5), b'four\n')
            self.assertEqual(p.wait(10 * SLOW), 0)

    def test_standard_input_stays_blocking(self):
        r, w = os.pipe()
        with start('true', stdin=r) as p:
            os.close(w)
            self.assertEqual(p.wait(10 * SLOW), 0)
        self.assertTrue(os.get_blocking(r))
        os.close(r)

    def test_regular_stdin_is_read_from_where_it_stands(self):
        path = file_of('in', b'skip\na\nb\n')
        with open(path, 'rb') as f:
            f.seek(5)
            self.says('<a>\n<b>\n', ARGV, input=f)
        with open(path, 'rb') as f:
            f.seek(5)
            self.says('<1><a>\n<1><b>\n<2><a>\n<2><b>\n', ARGV, ':::', '1', '2', '::::', '-', input=f)


class Files(Case):
    def setUp(self):
        self.ab = file_of('ab', b'a\nb\n')
        self.xyz = file_of('xyz', b'x\ny\nz\n')

    def test_arg_file(self):
        self.says('<a>\n<b>\n', '-a', self.ab, ARGV)
        self.says('<a>\n<b>\n', ARGV, '::::', self.ab)
        self.says('<1>\n<2>\n', '-a', '-', ARGV, input=b'1\n2\n')

    def test_product_of_files(self):
        want = '<a><x>\n<a><y>\n<a><z>\n<b><x>\n<b><y>\n<b><z>\n'
        self.says(want, '-a', self.ab, '-a', self.xyz, ARGV)
        self.says(want, ARGV, '::::', self.ab, self.xyz)
        self.says(want, '-a', self.ab, ARGV, '::::', self.xyz)

    def test_the_same_file_twice(self):
        self.says('<a><a>\n<a><b>\n<b><a>\n<b><b>\n', ARGV, '::::', self.ab, self.ab)

    def test_stdin_among_others(self):
        self.says('<1><a>\n<1><b>\n<2><a>\n<2><b>\n', ARGV, '::::', '-', self.ab, input=b'1\n2\n')
        self.says('<a><1>\n<a><2>\n<b><1>\n<b><2>\n', ARGV, '::::', self.ab, '-', input=b'1\n2\n')

    def test_stdin_twice(self):
        self.says('<1><2>\n<1><3>\n', ARGV, '::::', '-', '-', input=b'1\n2\n3\n')

    def test_stdin_twice_linked_takes_turns(self):
        # In GNU parallel the order within the pairs changes.
        self.says('<1><2>\n<3><4>\n', ARGV, '::::', '-', '::::+', '-', input=b'1\n2\n3\n4\n')

    def test_missing_file(self):
        self.fails("nofile: No such file", '-a', '/nonexistent/nofile', ARGV)

    def test_folder(self):
        # GNU parallel takes it for an empty file.
        self.fails('Is a directory', '-a', FOLDER, ARGV)

    def test_unreadable_spool_folder(self):
        self.fails('/nonexistent', '--tmpdir', '/nonexistent', ARGV, ':::', 'a', '::::', '-',
                   input=b'1\n')

    def test_pipes_are_read_again(self):
        lines = b''.join(b'%d\n' % i for i in range(40000))
        r = knee('-j1', '-X', '-q', 'printf', '%s\\n', ':::', 'a', 'b', '::::', '-', input=lines)
        want = b''.join(b'%s\n%s' % (c, line) for c in (b'a', b'b')
                        for line in lines.splitlines(True))
        self.assertEqual(r.out, want)
        self.assertEqual((r.err, r.status, r.left), (b'', 0, []))

    def test_named_pipes_that_come_slowly(self):
        folder = scratch()
        names = [os.path.join(folder, n) for n in ('one', 'two')]

        def feed(name, pieces):
            with open(name, 'wb', buffering=0) as f:
                for piece in pieces:
                    f.write(piece)
                    time.sleep(0.02)

        for name in names:
            os.mkfifo(name)
        feeds = [threading.Thread(target=feed, args=(names[0], [b'a\n', b'b', b'b\nc'])),
                 threading.Thread(target=feed, args=(names[1], [b'1', b'\n2\n', b'3', b'3\n']))]
        for t in feeds:
            t.start()
        self.says(''.join(f'<{x}><{y}>\n' for x in ('a', 'bb', 'c') for y in ('1', '2', '33')),
                  ARGV, '::::', names[0], names[1])
        for t in feeds:
            t.join()

    def test_full_disk_under_a_product(self):
        with small_tmpfs() as folder:
            lines = b'0123456789abcdef\n' * 300000
            r = knee('-j1', '-X', '--tmpdir', folder, 'true', ':::', 'a', 'b', '::::', '-',
                     input=lines)
        self.assertEqual(r.status, 255, r)
        self.assertIn(folder.encode(), r.err)
        self.assertIn(b'No space left', r.err)


class Products(Case):
    def test_last_source_varies_fastest(self):
        self.says('<1><a>\n<1><b>\n<2><a>\n<2><b>\n', ARGV, ':::', '1', '2', ':::', 'a', 'b')

    def test_linked_ends_with_the_shorter(self):
        self.says('<1><a>\n<2><b>\n', ARGV, ':::', '1', '2', '3', ':::+', 'a', 'b')
        self.says('<1><a>\n<2><b>\n', ARGV, ':::', '1', '2', ':::+', 'a', 'b', 'c')
        self.says('<1><a><x>\n', ARGV, ':::', '1', '2', '3', ':::+', 'a', 'b', ':::+', 'x')

    def test_linked_pair_is_one_axis(self):
        self.says('<A><1><a>\n<A><2><b>\n<B><1><a>\n<B><2><b>\n',
                  ARGV, ':::', 'A', 'B', ':::', '1', '2', '3', ':::+', 'a', 'b')
        self.says('<A><x><1>\n<A><x><2>\n<B><y><1>\n<B><y><2>\n',
                  ARGV, ':::', 'A', 'B', ':::+', 'x', 'y', ':::', '1', '2')

    def test_linked_files(self):
        ab, xyz = file_of('ab', b'a\nb\n'), file_of('xyz', b'x\ny\nz\n')
        self.says('<a><x>\n<b><y>\n', ARGV, '::::', ab, '::::+', xyz)
        self.says('<1><x>\n<2><y>\n', ARGV, ':::', '1', '2', '::::+', xyz)
        self.says('<a><x>\n<b><y>\n', ARGV, '::::+', ab, xyz)

    def test_link_wraps_around(self):
        self.says('<1><a>\n<2><b>\n<3><a>\n', '--link', ARGV, ':::', '1', '2', '3', ':::', 'a', 'b')
        self.says('<1><a><X>\n<2><b><X>\n<1><c><X>\n',
                  '--xapply', ARGV, ':::', '1', '2', ':::', 'a', 'b', 'c', ':::', 'X')
        self.says('<1><a><X>\n<2><b><Y>\n<3><c><X>\n',
                  '--link', ARGV, ':::', '1', '2', '3', ':::', 'a', 'b', 'c', ':::+', 'X', 'Y')

    def test_link_wraps_a_pipe(self):
        self.says('<1><a>\n<2><b>\n<1><c>\n', '--link', ARGV, '::::', '-', ':::', 'a', 'b', 'c',
                  input=b'1\n2\n')

    def test_source_without_records(self):
        empty = file_of('empty', b'')
        self.says('<a><>\n<b><>\n', ARGV, ':::', 'a', 'b', ':::')
        self.says('<a><>\n<b><>\n', ARGV, ':::', 'a', 'b', '::::', empty)
        self.says('<><a>\n<><b>\n', ARGV, '::::', empty, ':::', 'a', 'b')
        self.says('<><a>\n', ARGV, ':::', ':::+', 'a', 'b')
        self.says('', ARGV, ':::')
        self.says('', ARGV, '::::', empty)

    def test_link_with_a_source_without_records(self):
        # GNU parallel ends with a Perl error here.
        self.says('<><a>\n<><b>\n', '--link', ARGV, ':::', ':::', 'a', 'b')

    def test_blank_inputs_go_before_the_product(self):
        self.says('<a><1>\n<b><2>\n<a><3>\n', '-r', '--link', ARGV, ':::', 'a', '', 'b',
                  ':::', '1', '2', '3')
        self.says('<a><>\n<b><>\n', '-r', ARGV, ':::', 'a', '', 'b', ':::', '')

    def test_separators_of_the_users(self):
        path = file_of('f', b'x\n')
        self.says('<a>\n<b>\n', '--arg-sep', '//', ARGV, '//', 'a', 'b')
        self.says('<x>\n', '--arg-file-sep', '@@', ARGV, '@@', path)
        self.says('<a><1>\n<b><2>\n', '--arg-sep', '//', ARGV, '//', 'a', 'b', '//+', '1', '2')

    def test_random_products(self):
        seed = int(os.environ.get('KNEE_SEED') or time.time())
        rng = random.Random(seed)
        for _ in range(12):
            self.one_product(rng, f'KNEE_SEED={seed}')

    def one_product(self, rng, note):
        wrap = rng.random() < 0.3
        sources, words, stdin = [], [], None
        for i in range(rng.randint(1, 4)):
            values = [f'{"abcd"[i]}{k}' for k in range(rng.randint(1, 4))]
            linked = i > 0 and rng.random() < 0.3
            kind = rng.choice(['args', 'file', 'stdin'])
            data = ''.join(v + '\n' for v in values).encode()
            if kind == 'stdin' and stdin is None:
                stdin = data
                words += ['::::+' if linked else '::::', '-']
            elif kind == 'args':
                words += [':::+' if linked else ':::', *values]
            else:
                words += ['::::+' if linked else '::::', file_of('f', data)]
            sources.append((linked, values))
        lines = ''.join(''.join(f'<{v}>' for v in row) + '\n' for row in product(sources, wrap))
        with self.subTest(note, words=words, wrap=wrap):
            self.says(lines, *(['--link'] if wrap else []), ARGV, *words, input=stdin or b'')


def product(sources, wrap):
    """The rows that the sources make: a second opinion on the order."""
    if wrap:
        n = max(len(values) for _, values in sources)
        return [[values[i % len(values)] for _, values in sources] for i in range(n)]
    axes = []
    for linked, values in sources:
        column = [[v] for v in values]
        if linked:
            axes[-1] = [a + b for a, b in zip(axes[-1], column)]
        else:
            axes.append(column)
    rows = [[]]
    for axis in axes:
        rows = [row + step for row in rows for step in axis]
    return rows


class Columns(Case):
    def cut(self, want, colsep, line, *args):
        self.says(want, *args, '-C', colsep, ARGV, input=line)

    def test_columns(self):
        self.says('<a-b-c>\n<d--e>\n', '-C', ',', ARGV, '{1}-{2}-{3}', input=b'a,b,c\nd,,e\n')
        self.cut('<a><b><>\n<><c>\n<d>\n', ',', b'a,b,\n,c\nd\n')

    def test_columns_of_several_sources(self):
        self.says('<a><b><x><y>\n<c><x><y>\n', '-C', ',', ARGV, ':::', 'a,b', 'c', ':::', 'x,y')

    def test_blanks_around_columns_go_unless_asked(self):
        self.cut('<a><b><c>\n', ',', b'a, b ,c \n')
        self.cut('<a>< b ><c >\n', ',', b'a, b ,c \n', '--trim', 'n')

    def test_patterns(self):
        for want, colsep, line in (
                ('<a><b c>\n', r'\t', b'a\tb c\n'),
                ('<a><b><c>\n', r'\s+', b'a  b\tc\n'),
                ('<a><b><c>\n', r'[\s,]+', b'a , b\tc\n'),
                ('<a><b><c>\n', r'\d', b'a1b2c\n'),
                ('<a><b c>\n', r'\|', b'a|b c\n'),
                ('<a><b><c>\n', '[|,]', b'a|b,c\n'),
                ('<a><b><c>\n', '(?:::)', b'a::b::c\n'),
                ('<a><b><c>\n', '(?i)x', b'axbXc\n'),
                ('<a><b>\n', 'x{2}', b'axxb\n'),
                ('<a><b>\n', r'\x41', b'aAb\n'),
                ('<a><b><c><d>\n', r'[\]^-]', b'a]b^c-d\n'),
                ('<a><b>\n', 'x{', b'ax{b\n'),
                ('<a><b><c><>\n', '|', b'abc\n'),
                ('<a><b><>\n', 'x*', b'axb\n'),
                ('<a><b>\n', r'\.', b'a.b\n'),
                ('<a><b><c>\n', r'\W', b'a+b-c\n'),
                ('<><><><>\n', '.', b'abc\n'),
                ('<>\n', ' ', b'\n')):
            with self.subTest(colsep=colsep):
                self.cut(want, colsep, line)

    def test_groups_are_no_columns(self):
        # GNU parallel would give what the group matched as a column.
        self.cut('<a><b>\n', '(x|y)', b'axb\n')

    def test_patterns_that_cannot_be(self):
        for colsep in ('x+?', 'x++', '[', '(a', '*a', '(?=a)', r'\h', 'a\\', r'\0'):
            with self.subTest(colsep=colsep):
                self.fails(f"--colsep: '{colsep}", '-C', colsep, ARGV, input=b'a\n')

    def test_many_columns(self):
        row = b','.join(b'%d' % i for i in range(20000))
        for colsep in (',', '[,;]'):
            r = knee('-j1', '-C', colsep, '-X', '-q', 'printf', '%s\\n', input=row + b'\n')
            self.assertEqual(r.out, row.replace(b',', b'\n') + b'\n')


class Header(Case):
    def test_names_of_arguments(self):
        self.says('<1><x>\n<1><y>\n<2><x>\n<2><y>\n', '--header', ':', ARGV, '{a}', '{b}',
                  ':::', 'a', '1', '2', ':::', 'b', 'x', 'y')
        self.says('<1><x>\n<2><y>\n', '--header', ':', ARGV, '{a}', '{b}',
                  ':::', 'a', '1', '2', ':::+', 'b', 'x', 'y')

    def test_names_of_columns(self):
        self.says('<2><1>\n<4><3>\n', '--header', ':', '-C', ',', ARGV, '{b}', '{1}',
                  input=b'a,b\n1,2\n3,4\n')

    def test_names_are_trimmed_as_columns_are(self):
        # In GNU parallel the second name would be " b".
        self.says('<2>\n', '--header', ':', '-C', ',', ARGV, '{b}', input=b'a, b\n1, 2\n')

    def test_only_the_header(self):
        self.says('', '--header', ':', ARGV, '{}', ':::', 'a')
        self.says('', '--header', ':', ARGV, '{}')

    def test_header_is_not_read_again(self):
        self.says('<1><x>\n<2><x>\n', '--header', ':', ARGV, '{n}', '{f}', ':::', 'n', '1', '2',
                  '::::', file_of('f', b'f\nx\n'))
        self.says('<1><x>\n<2><x>\n', '--header', ':', ARGV, '{n}', '{f}', ':::', 'n', '1', '2',
                  '::::', '-', input=b'f\nx\n')

    def test_header_comes_late(self):
        with start('-j1', '--header', ':', 'echo', '{a}', stdin=subprocess.PIPE) as p:
            wait_state(p.pid, 'S')
            p.stdin.write(b'a')
            p.stdin.write(b'\n1\n')
            self.assertEqual(p.stdout.read(2), b'1\n')
            p.stdin.close()
            self.assertEqual(p.wait(10 * SLOW), 0)

    def test_skip_first_line(self):
        self.says('<b>\n', '--skip-first-line', ARGV, input=b'a\nb\n')
        self.says('<y><h>\n<y><a>\n', '--skip-first-line', ARGV, ':::', 'x', 'y', '::::', '-',
                  input=b'h\na\n')
        self.says('<2>\n', '--skip-first-line', '--header', ':', '-C', ' ', ARGV, '{h2}',
                  input=b'S\nh1 h2\n1 2\n')


class Words(Case):
    def test_trim(self):
        line = b' a \n\tb\t\n'
        for trim, want in (('l', b'<a >\n<b\t>\n'), ('r', b'< a>\n<\tb>\n'), ('lr', b'<a>\n<b>\n'),
                           ('rl', b'<a>\n<b>\n'), ('n', b'< a >\n<\tb\t>\n')):
            self.says(want, '--trim', trim, ARGV, input=line)
        self.says('<a>\n<>\n', '--trim', 'lr', ARGV, ':::', ' a ', '  ')

    def test_end_of_file_string(self):
        self.says('<a>\n<b>\n', '-E', 'EOF', ARGV, input=b'a\nb\nEOF\nc\n')
        self.says('<a><1>\n<b><1>\n', '-E', 'EOF', ARGV, ':::', 'a', 'b', 'EOF', 'c',
                  ':::', '1', 'EOF', '2')
        self.says('<a>\n<EOF>\n', '-E', 'EOF', '--trim', 'lr', ARGV, ':::', 'a', ' EOF')
        self.says('<a><1>\n<a><2>\n', '-E', 'E', ARGV, '::::', '-', ':::', '1', '2',
                  input=b'a\nE\nb\n')

    def test_continued_lines(self):
        self.says('<a b>\n<c>\n', '-L1', ARGV, input=b'a \nb\nc\n')
        self.says('<a b>\n', '-L1', '-r', ARGV, input=b'a \n\n\nb\n')
        self.says('<a >\n', '-L1', '-E', 'E', ARGV, input=b'a \nE\nb\n')
        self.says('<a b><1>\n<a b><2>\n', '-L1', ARGV, ':::', 'a ', 'b', ':::', '1', '2')
        self.says('<a><1 b><2>\n<c>\n', '-L1', '-C', ',', ARGV, input=b'a,1 \nb,2\nc\n')

    def test_continued_line_at_the_end(self):
        self.says('<a >\n', '-L1', ARGV, input=b'a \n')

    def test_a_carriage_return_does_not_continue(self):
        # In GNU parallel it does, and makes a text from elsewhere one line.
        self.says(b'<a\r>\n<b\r>\n', '-L1', ARGV, input=b'a\r\nb\r\n')

    def test_no_command(self):
        self.says('1\n2\n', input=b'echo 1\necho 2\n')
        self.says('x y\n', ':::', 'echo x y')


class Shuffle(Case):
    def test_every_input_once(self):
        words = b''.join(b'%d\n' % i for i in range(3000))
        outs = set()
        for _ in range(3):
            r = knee('--shuf', '-X', '-j1', '-q', 'printf', '%s\\n', input=words)
            self.assertEqual(sorted(r.out.split()), sorted(words.split()))
            self.assertEqual((r.err, r.status, r.left), (b'', 0, []))
            outs.add(r.out)
        self.assertEqual(len(outs), 3)

    def test_product(self):
        r = knee('--shuf', '-j1', ARGV, ':::', '1', '2', '3', ':::', 'a', 'b')
        self.assertEqual(sorted(r.out.split()),
                         sorted(b'<%s><%s>' % (x, y) for x in (b'1', b'2', b'3') for y in (b'a', b'b')))

    def test_long_and_empty_inputs(self):
        words = [b'x' * n for n in (0, 1, 400, 5000, 70000)] * 2
        r = knee('--shuf', '-j1', ARGV, input=b'\n'.join(words) + b'\n')
        self.assertEqual(sorted(r.out.splitlines()), sorted(b'<%s>' % w for w in words))

    def test_each_order_comes(self):
        seen = set()
        for _ in range(200):
            seen.add(knee('--shuf', '-X', '-j1', 'echo', ':::', '1', '2', '3').out)
            if len(seen) == 6:
                break
        self.assertEqual(len(seen), 6)


if __name__ == '__main__':
    unittest.main()
