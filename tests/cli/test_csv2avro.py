# SPDX-License-Identifier: MIT
"""The plugin csv2avro: what it makes of CSV is read by another program (avsc, in node) and compared, value
by value, with what Python's csv module reads."""

import csv
import fcntl
import gzip
import io
import json
import math
import random
import re
import shutil
import struct
import threading
from pathlib import Path

from kneetest import *

BUILD = Path(os.environ.get('KNEE_BUILD') or ROOT / 'build').resolve()
PLUGIN = BUILD / 'examples/csv2avro.so'
COMMAND = BUILD / 'examples/csv2avro'
READER = BUILD / 'tests/avro'


def need(there, what):
    """Skips everything unless it is there; on CI that is a failure."""
    if not there and os.environ.get('CI'):
        raise AssertionError(what)
    if not there:
        raise unittest.SkipTest(what)


def setUpModule():
    need(PLUGIN.exists(), 'csv2avro is not built: libavro-dev is not installed')
    need(shutil.which('node'), 'node is not installed')
    need(shutil.which('npm'), 'npm is not installed')
    READER.mkdir(parents=True, exist_ok=True)
    with open(READER / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = (ROOT / 'tests/avro/package-lock.json').read_bytes()
        for name in ('package.json', 'dump.js'):
            shutil.copy(ROOT / 'tests/avro' / name, READER)
        done = READER / 'installed'
        if not done.exists() or done.read_bytes() != wanted:
            (READER / 'package-lock.json').write_bytes(wanted)
            r = subprocess.run(['npm', 'ci', '--no-audit', '--no-fund', '--cache', READER / 'cache'],
                               cwd=READER, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            need(r.returncode == 0, f'npm could not install avsc: {r.stderr[-500:]}')
            done.write_bytes(wanted)


# ---- what is expected, said once more ------------------------------------------------------

LONG = re.compile(r'-?(0|[1-9][0-9]*)')
DOUBLE = re.compile(r'-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?')


def kind(text):
    """What a text that is not empty can be."""
    if text.lower() in ('true', 'false'):
        return 'boolean'
    if re.fullmatch(r'(?i)nan|-?inf(inity)?', text):
        return 'double'
    if LONG.fullmatch(text) and text != '-0':
        if not -2**63 <= int(text) < 2**63:
            return 'string'
        return 'wide' if abs(int(text)) > 2**53 else 'long'
    if not DOUBLE.fullmatch(text):
        return 'string'
    digits = re.sub('[^0-9]', '', re.split('[eE]', text)[0]).lstrip('0')
    value = float(text)
    fits = len(digits) <= 17 and not math.isinf(value) and (value != 0 or not digits)
    return 'double' if fits else 'string'


def type_of(column):
    """The type of a column of (text, quoted), and whether it is nullable."""
    kinds = {kind(text) for text, _ in column if text}
    name = ('boolean' if kinds == {'boolean'} else 'long' if kinds and kinds <= {'long', 'wide'} else
            'double' if kinds and kinds <= {'long', 'double'} else 'string')
    if name == 'string':
        return name, not column or any(not t and not q for t, q in column)
    return name, any(not t for t, _ in column)


def value_of(name, nullable, text, quoted):
    if not text and nullable and not (name == 'string' and quoted):
        return None
    if name == 'long':
        return {'long': str(int(text))}
    if name == 'double':
        return {'double': struct.pack('>d', float(text)).hex()}
    return text.lower() == 'true' if name == 'boolean' else text


def expected(rows):
    """Types and rows for (text, quoted) of a header and rows."""
    header, *rows = rows
    types = [type_of([row[i] for row in rows]) for i in range(len(header))]
    return types, [[value_of(*t, *f) for t, f in zip(types, row)] for row in rows]


def read_csv(data, delimiter=','):
    """As the csv module reads it; (text, False) for each field."""
    text = data.decode('utf-8-sig')
    return [[(f, False) for f in row]
            for row in csv.reader(io.StringIO(text, newline=''), delimiter=delimiter) if row]


def avro_type(types):
    name, nullable = types
    return ['null', name] if nullable else name


# ---- running it ----------------------------------------------------------------------------

def dump(*paths):
    r = subprocess.run(['node', READER / 'dump.js', *paths], capture_output=True, text=True,
                       stdin=subprocess.DEVNULL, check=True)
    return [json.loads(line) for line in r.stdout.splitlines()]


def write(folder, files):
    """Each a file in the folder, gzipped when its name says so; their paths."""
    for name, data in files.items():
        Path(folder, name).write_bytes(gzip.compress(data) if name.endswith('.gz') else data)
    return [os.path.join(folder, name) for name in files]


def plugin(*words, flags=(), **more):
    return knee(*flags, '--plugin', PLUGIN, '--', *words, **more)


class Conversion(unittest.TestCase):
    def setUp(self):
        self.folder = scratch()

    def path(self, name):
        return os.path.join(self.folder, name)

    def convert(self, files, *words, status=0, **more):
        """All files of a {name: content}; the run's Result."""
        write(self.folder, files)
        r = plugin(*words, ':::', *files, cwd=self.folder, **more)
        self.assertEqual(r.status, status, r)
        self.assertEqual([n for n in os.listdir(self.folder) if n.startswith('.')], [])
        return r

    def one(self, data, *words, **more):
        """A single file: (field names, types, rows, bad rows)."""
        self.convert({'a.csv': data}, *words, **more)
        found = dump(self.path('a.avro'))[0]
        bad = Path(self.path('a.bad'))
        return ([f['name'] for f in found['schema']['fields']],
                [f['type'] for f in found['schema']['fields']], found['rows'],
                bad.read_bytes() if bad.exists() else b'')

    def check(self, found, rows, what):
        """What was found in a result against (text, quoted) of a header and rows."""
        types, values = expected(rows)
        self.assertNotIn('error', found, what)
        self.assertEqual([f['type'] for f in found['schema']['fields']], [avro_type(t) for t in types], what)
        self.assertEqual(len(found['rows']), len(values), what)
        if found['rows'] != values:
            for number, (got, want) in enumerate(zip(found['rows'], values)):
                self.assertEqual(got, want, f'{what}, row {number}')


class Csv(Conversion):
    def test_what_is_csv(self):
        cases = {
            'quotes': b'a,b\n"x, y","say ""hi"""\n"""",""""""\n',
            'embedded': b'a,b\n"1\n2\r\n3\r4",x\ny,"\n"\n',
            'crlf': b'a,b\r\n1,2\r\n3,4\r\n',
            'cr': b'a,b\r1,2\r3,4\r',
            'mixed': b'a,b\n1,2\r\n3,4\r5,6\n',
            'empty': b'a,b,c\n,,\n1,,x\n,2,\n',
            'bom': b'\xef\xbb\xbfa,b\n1,2\n',
            'no_newline': b'a,b\n1,2\n3,4',
            'ends_empty': b'a,b\n1,\n2,',
            'ends_quoted': b'a,b\n1,"x"\n2,"y"',
            'ends_cr': b'a,b\n1,2\r',
            'empty_lines': b'\n\r\na,b\n\n1,2\n\n\r\n3,4\n\n',
            'bare_quotes': b'a,b\n5" disk,x"y"z\n',
            'one_column': b'a\n1\n2\n',
            'blanks': b'a,b\n 1, x \n2 ,\t\n',
            'unicode': 'a,b\né,日本\n\U0001f600,\uffff\n'.encode(),
            'header_only': b'a,b\n',
            'header_only_no_newline': b'a,b',
            'all_empty': b'a,b\n,\n,\n',
        }
        self.convert({f'{name}.csv': data for name, data in cases.items()})
        for (name, data), found in zip(cases.items(), dump(*(self.path(f'{n}.avro') for n in cases))):
            self.check(found, read_csv(data), name)
            self.assertFalse(os.path.exists(self.path(f'{name}.bad')), name)

    def test_rows_across_reads(self):
        # What is read at once ends inside of quotes, between two of them, between CR and LF, inside of
        # characters: at each byte of this row.
        row = '"a ""quoted"" é\r\n text",1.25,\r\n'.encode()
        head, read = b'a,b,c\r\n', 256 * 1024
        files = {}
        for n in range(1, len(row) + 1):
            files[f'{n}.csv'] = head + b'x' * (read - len(head) - n - 5) + b',,3\r\n' + row * 3
        self.convert(files)
        for (name, data), found in zip(files.items(), dump(*(self.path(n[:-4] + '.avro') for n in files))):
            self.check(found, read_csv(data), name)

    def test_long_fields(self):
        text = b'0123456789abcdef' * (1 << 18)
        data = b'a,b\n' + b'%s,1\n"%s\n""",2\nx,3\n' % (text, text)
        for words in ((), ('--codec', 'deflate')):
            self.convert({'a.csv': data}, *words)
            csv.field_size_limit(len(data))
            self.check(dump(self.path('a.avro'))[0], read_csv(data), words)

    def test_delimiters(self):
        for number, (word, delimiter) in enumerate(((';', ';'), ('\\t', '\t'), ('\t', '\t'), ('|', '|'))):
            data = 'a,b{0}c\n"x{0}y"{0}1,5\n,{0}2\n'.format(delimiter).encode()
            self.convert({f'{number}.csv': data}, '--delimiter', word)
            self.check(dump(self.path(f'{number}.avro'))[0], read_csv(data, delimiter), word)

    def test_quoted_empty_text(self):
        _, types, rows, _ = self.one(b'a,b,c\n"",x,1\n"","",""\n"",,2\n')
        self.assertEqual(types, ['string', ['null', 'string'], ['null', 'long']])
        self.assertEqual([row[:2] for row in rows], [['', 'x'], ['', ''], ['', None]])

    def test_gzip(self):
        data, small = b'a,b\n' + b'1,"x\ny"\n' * 35000, b'a\n1\n'
        files = {'a.csv.gz': data, 'B.CSV.GZ': small, 'c.csv': small, 'd.gz': small}
        self.convert(files)
        results = dump(*(self.path(n) for n in ('a.avro', 'B.avro', 'c.avro', 'd.avro')))
        for (name, content), found in zip(files.items(), results):
            self.check(found, read_csv(content), name)

    def test_no_header(self):
        names, types, rows, _ = self.one(b'1,x\n2,y\n', '--no-header')
        self.assertEqual((names, types), (['c1', 'c2'], ['long', 'string']))
        self.assertEqual(rows, [[{'long': '1'}, 'x'], [{'long': '2'}, 'y']])

    def test_names(self):
        names = self.one('id,First Name,id,2nd,,größe,a-b,a_b,id_3,日本,id\n'.encode())[0]
        self.assertEqual(names, ['id', 'First_Name', 'id_3', '_2nd', 'c5', 'gr__e', 'a_b', 'a_b_8', 'id_3_9',
                                 '__', 'id_11'])

    def test_byte_order_mark(self):
        self.assertEqual(self.one(b'\xef\xbb\xbfa,b\n1,2\n')[0], ['a', 'b'])
        self.assertEqual(self.one(b'\xef\xbb\xbf"a ""x""",b\n1,2\n')[0], ['a__x_', 'b'])

    def test_deflate(self):
        data = b'a,b\n' + b'1,text\n' * 40000
        self.convert({'a.csv': data}, '--codec', 'deflate')
        found = dump(self.path('a.avro'))[0]
        self.assertEqual(found['codec'], 'deflate')
        self.check(found, read_csv(data), '')
        self.assertLess(os.path.getsize(self.path('a.avro')), 40000)


class Types(Conversion):
    def test_columns(self):
        columns = [
            ['1', '-2', '9223372036854775807', '-9223372036854775808', '0'],
            ['9223372036854775808'], ['-9223372036854775809'], ['007', '1'], ['+1'], ['-0', '1'], ['1 '], ['1,5'],
            ['1.5', '2', '-3e2', '.5', '5.', '1E-3', '0.1', '1e22', '1e23', '123456789.12345678'],
            ['9007199254740992', '.5'], ['9007199254740993', '.5'], ['9007199254740993', '1'],
            ['0.12345678901234567', '0.000000012345678901234567'], ['0.123456789012345678'],
            ['1e308', '2.2250738585072014e-308', '5e-324', '1.7976931348623157e308'], ['1e309'], ['1e-400'],
            ['0e-400', '0.0', '-0.0'], ['1e'], ['.'], ['-'], ['1.2.3'], ['0x10'], ['1e5x'], ['00.5'], ['1_000'],
            ['NaN', 'inf', '-Infinity', 'nan', '1'], ['-nan'], ['infinit'], ['in'], ['Nancy', 'nan'],
            ['true', 'FALSE', 'True', 'false'], ['true', '1'], ['true', 'yes'], ['t'], ['truee'],
            ['', ''], ['', '1'], ['', 'true'], ['', '.5'], ['', 'x'], ['1', 'x'], ['1.5', 'x', ''],
            ['12345678901234567890123456789'], ['٣'], ['4.35', '0.3', '2.5e-5', '6.02214076e23', '1e-7'],
            ['9999999999999999', '1e15', '123456789012345.6'],
        ]
        files = {}
        for number, column in enumerate(columns):
            text = io.StringIO()
            csv.writer(text).writerows([['a', 'end']] + [[value, 'end'] for value in column])
            files[f'{number}.csv'] = text.getvalue().encode()
        self.convert(files, env={'LC_ALL': 'de_DE.UTF-8'})
        for (name, data), found in zip(files.items(), dump(*(self.path(n[:-4] + '.avro') for n in files))):
            self.check(found, read_csv(data), f'{name}: {columns[int(name[:-4])]}')

    def test_the_last_row_counts(self):
        _, types, rows, bad = self.one(b'a\n' + b'1\n' * 140000 + b'x\n')
        self.assertEqual((types, len(rows), rows[0], rows[-1], bad), (['string'], 140001, ['1'], ['x'], b''))
        # So many bytes are not one block: a reader need not hold all of them.
        data = Path(self.path('a.avro')).read_bytes()
        self.assertGreater(data.count(data[-16:]), 4)

    def test_bad_rows_do_not_count(self):
        _, types, rows, _ = self.one(b'a,b\n1,2\nx\nx,y,z\n"x"x,2\n,\xff\n3,4\n')
        self.assertEqual((types, len(rows)), (['long', 'long'], 2))


def random_text(rng):
    return ''.join(rng.choice('ab,;"\'\n\r\t é日\U0001f600.0-') for _ in range(rng.randrange(1, 12)))


def random_value(rng, name):
    if rng.random() < 0.1:
        return ''
    if name == 'long':
        return str(rng.randrange(-10**rng.randrange(1, 19), 10**rng.randrange(1, 19)))
    if name == 'double':
        return rng.choice([repr(rng.uniform(-1000, 1000)), f'{rng.random():.3f}', repr(
            struct.unpack('<d', rng.randbytes(8))[0]), str(rng.randrange(1000))])
    if name == 'boolean':
        return rng.choice(['true', 'false', 'True', 'FALSE'])
    if name == 'any':
        return random_value(rng, rng.choice(['long', 'double', 'boolean', 'text']))
    return random_text(rng)


def random_csv(seed):
    """Bytes, and the (text, quoted) that are in them."""
    rng = random.Random(seed)
    kinds = [rng.choice(['long', 'double', 'boolean', 'text', 'any']) for _ in range(rng.randrange(2, 8))]
    always, newline = rng.choice([0, 0.2, 1]), rng.choice(['\n', '\r\n', '\r'])
    rows, lines = [[(f'column{i}', False) for i in range(len(kinds))]], []
    for _ in range(rng.randrange(300)):
        texts = [random_value(rng, k) for k in kinds]
        rows.append([(t, bool(re.search('[",\n\r]', t)) or rng.random() < always) for t in texts])
    for row in rows:
        lines.append(','.join('"' + t.replace('"', '""') + '"' if q else t for t, q in row))
    end = rng.choice([newline, ''])
    return (newline.join(lines) + end).encode(), rows


class Random(Conversion):
    def test_random(self):
        first = int(os.environ.get('KNEE_SEED') or 1)
        made = {f'{seed}.csv' + ('.gz' if seed % 3 == 0 else ''): random_csv(seed)
                for seed in range(first, first + (10 if VALGRIND else 100))}
        self.convert({name: data for name, (data, _) in made.items()})
        results = dump(*(self.path(name.split('.')[0] + '.avro') for name in made))
        for (name, (data, rows)), found in zip(made.items(), results):
            self.assertEqual([[t for t, _ in row] for row in read_csv(data)], [[t for t, _ in r] for r in rows])
            self.check(found, rows, f'seed {name}')


class Bad(Conversion):
    def test_reasons(self):
        cases = [
            (b'1,2', b'2 fields, not 3', b'1,2'),
            (b'x', b'1 field, not 3', b'x'),
            (b'1,2,3,4', b'4 fields, not 3', b'1,2,3,4'),
            (b'"q"x,2,3', b'text behind a closing quote', b'"q"x,2,3'),
            (b'"" ,2,3', b'text behind a closing quote', b'"" ,2,3'),
            (b'"q"\x00,2,3', b'text behind a closing quote', b'"q"\x00,2,3'),
            (b'1,2,\x00', b'a NUL byte', b'1,2,\x00'),
            (b'1,2,"\x00"', b'a NUL byte', b'1,2,"\x00"'),
            (b'"1\n\n2",\xc3,3', b'not UTF-8', b'"1\n\n2",\xc3,3'),
        ] + [(b'1,%s,3' % t, b'not UTF-8', b'1,%s,3' % t) for t in (
            b'\xff', b'\x80', b'\xc3', b'\xe2\x82', b'\xed\xa0\x80', b'\xc0\x80', b'\xe0\x80\x80',
            b'\xf0\x80\x80\x80', b'\xf4\x90\x80\x80', b'\xf8\x88\x80\x80\x80')]
        for end in (b'\n', b'\r\n'):
            data, bad, line = b'a,b,c' + end, b'', 2
            for row, reason, raw in cases:
                bad += b'%d\t%s\t%s\n' % (line + 1, reason, raw)
                data += b'1,2,3' + end + row + end
                line += 2 + row.count(b'\n')
            _, _, rows, found = self.one(data + b'4,5,6' + end)
            self.assertEqual(found, bad)
            self.assertEqual(len(rows), len(cases) + 1)

    def test_quote_that_is_not_closed(self):
        _, _, rows, bad = self.one(b'a,b\n1,2\n3,"4\r\n5,6\n7,8')
        self.assertEqual([r[0]['long'] for r in rows], ['1', '5', '7'])
        self.assertEqual(bad, b'3\ta quote that is not closed\t3,"4\n')

    def test_far_away_quote(self):
        # The closing one is there, but too far away: one line is lost, not all between them.
        data = b'a,b\n1,"2\n' + b'3,4\n' * (5 << 20) + b'5"\n6,7\n'
        self.convert({'a.csv': data})
        self.assertEqual(Path(self.path('a.bad')).read_bytes(),
                         b'2\ta quote that is not closed\t1,"2\n%d\t1 field, not 2\t5"\n' % (3 + (5 << 20)))

    def test_row_too_long(self):
        # Of one that is longer than all buffers there is the beginning alone.
        line, longer = b'x' * (17 << 20), b'x' * (36 << 20)
        _, _, rows, bad = self.one(b'a,b\n1,2\n' + line + b'\n3,4\n' + longer + b',1\n5,6\n' + line)
        self.assertEqual([r[0]['long'] for r in rows], ['1', '3', '5'])
        self.assertEqual([(line[:5], line[:40].split(b'\t')[1]) for line in bad.splitlines()], [
            (b'3\ttoo', b'too long'), (b'5\ttoo', b'too long; this is its beginning'), (b'7\ttoo', b'too long')])

    def test_side_file_of_an_earlier_run(self):
        self.one(b'a\n1,2\n')
        self.assertTrue(os.path.exists(self.path('a.bad')))
        self.one(b'a\n1\n')
        self.assertFalse(os.path.exists(self.path('a.bad')))


class Schema(Conversion):
    def schema(self, fields):
        path = self.path('schema.avsc')
        Path(path).write_text(fields if isinstance(fields, str) else json.dumps({
            'type': 'record', 'name': 'Given', 'fields': [{'name': n, 'type': t} for n, t in fields]}))
        return '--schema', path

    def test_given(self):
        words = self.schema([('s', 'string'), ('l', ['long', 'null']), ('i', 'int'), ('f', 'float'), ('b', 'bytes'),
                             ('d', ['null', 'double']), ('o', 'boolean'), ('n', 'null'), ('u', ['null', 'string'])])
        data = (b'l,s,i,f,b,d,o,n,u\n'
                b'+007,1,-2147483648,1.5,x,,TRUE,,""\n'
                b',,2147483647,1e38,"",1,false,,\n'
                b'1,x,2147483648,1,x,1,true,,x\n'
                b'1,x,1,1e39,x,1,true,,x\n'
                b'1,x,1,1,x,1e999,true,,x\n'
                b'1,x,1,1,x,1,1,,x\n'
                b'1,x,1,1,x,1,true,x,x\n'
                b'1,x,,1,x,1,true,,x\n'
                b'1.0,x,1,1,x,1,true,,x\n')
        names, types, rows, bad = self.one(data, *words)
        self.assertEqual(names, list('slifbdonu'))
        self.assertEqual(types[:3], ['string', ['long', 'null'], 'int'])

        def double(value):
            return {'double': struct.pack('>d', value).hex()}

        small = struct.unpack('f', struct.pack('f', 1e38))[0]
        self.assertEqual(rows, [
            ['1', {'long': '7'}, double(-2147483648), double(1.5), {'bytes': b'x'.hex()}, None, True, None, ''],
            ['', None, double(2147483647), double(small), {'bytes': ''}, double(1), False, None, None]])
        self.assertEqual([line.split(b'\t')[:2] for line in bad.splitlines()], [
            [b'4', b'i: not an int'], [b'5', b'f: not a float'], [b'6', b'd: not a double'],
            [b'7', b'o: not a boolean'], [b'8', b'n: not a null'], [b'9', b'i: not an int'],
            [b'10', b'l: not a long']])

    def test_columns_by_name(self):
        words = self.schema([('First_Name', 'string'), ('id', 'long')])
        self.assertEqual(self.one(b'id,First Name\n1,x\n', *words)[2], [['x', {'long': '1'}]])

    def test_columns_by_place(self):
        words = self.schema([('x', 'string'), ('y', 'long')])
        self.assertEqual(self.one(b'1,2\n', '--no-header', *words)[2], [['1', {'long': '2'}]])
        self.assertEqual(self.one(b'', '--no-header', *words)[2], [])

    def test_columns_that_do_not_match(self):
        words = self.schema([('x', 'string'), ('y', 'long')])
        for data, why in ((b'x,z\n', b"no column 'y', which the schema has"),
                          (b'x\n', b'1 columns, and 2 fields of the schema'),
                          (b'x,y,z\n', b'3 columns, and 2 fields of the schema')):
            r = self.convert({'a.csv': data}, *words, status=1)
            self.assertEqual(r.err, b'csv2avro: a.csv: ' + why + b'\n')
            self.assertFalse(os.path.exists(self.path('a.avro')))

    def test_schemas_that_cannot_be(self):
        for fields, why in (([('x', {'type': 'array', 'items': 'int'})], b'field x: neither a primitive type'),
                            ([('x', ['null', 'int', 'string'])], b'field x: neither'),
                            ([('x', ['int', 'string'])], b'field x: neither'),
                            ([('x', {'type': 'enum', 'name': 'e', 'symbols': ['a']})], b'field x: neither'),
                            ('"string"', b'not a record'), ('{"type":', b'JSON'), ('', b'Invalid argument')):
            write(self.folder, {'a.csv': b'x\n1\n'})
            r = plugin(*self.schema(fields), ':::', self.path('a.csv'))
            self.assertNotEqual(r.status, 0)
            self.assertIn(b'schema.avsc: ', r.err)
            self.assertIn(why, r.err)
            self.assertFalse(os.path.exists(self.path('a.avro')))


class Files(Conversion):
    def test_lines_and_sums(self):
        r = self.convert({'a.csv': b'a\n1\n2,3\n', 'b.csv.gz': b'a\n1\n', 'c.csv': b''}, status=1)
        sizes = sum(os.path.getsize(self.path(n)) for n in ('a.avro', 'b.avro'))
        self.assertEqual(r.out.decode().splitlines(), [
            'a.csv\ta.avro\t1\t1', 'b.csv.gz\tb.avro\t1\t0',
            f'total: files 2, rows 2, bad rows 1, bytes of CSV 12, bytes of Avro {sizes}, failed 1',
            'a.csv: 1 bad row, see a.bad'])
        self.assertEqual(r.err, b'csv2avro: c.csv: empty\n')

    def test_sums_of_two_runs(self):
        write(self.folder, {'a.csv': b'a\n1\n2,3\n'})
        r = plugin(':::', 'a.csv', 'b.csv', flags=['--journal', 'J'], cwd=self.folder)
        self.assertEqual(r.status, 1, r)
        write(self.folder, {'b.csv': b'a\n1\n'})
        r = plugin(':::', 'a.csv', 'b.csv', flags=['--journal', 'J', '--resume-failed'], cwd=self.folder)
        self.assertEqual(r.status, 0, r)
        a, b = (os.path.getsize(self.path(n)) for n in ('a.avro', 'b.avro'))
        self.assertEqual(r.out.decode().splitlines()[-3:], [
            f'total: files 2, rows 2, bad rows 1, bytes of CSV 12, bytes of Avro {a + b}',
            'a.csv: 1 bad row, see a.bad',
            f'this run: files 1, rows 1, bad rows 0, bytes of CSV 4, bytes of Avro {b}'])

    def test_out(self):
        self.convert({'a.csv': b'a\n1\n'}, '--out', 'results')
        self.assertEqual(os.listdir(self.path('results')), ['a.avro'])
        self.assertEqual(sorted(os.listdir(self.folder)), ['a.csv', 'results'])

    def test_inputs_that_fail(self):
        whole = gzip.compress(random.Random(1).randbytes(300000).hex().encode())
        cases = {
            'cut.csv.gz': (whole[:-20], b'unexpected end of file'),
            'broken.csv.gz': (whole[:1000] + b'\xff' * 100 + whole[1100:], b'invalid'),
            'utf16.csv': ('a,b\n'.encode('utf-16'), b'UTF-16; convert it to UTF-8 first'),
            'header.csv': (b'a,\xff\n', b'line 1: not UTF-8'),
            'wide.csv': (b','.join(b'c%d' % i for i in range(3000)) + b'\n', b'3000 columns are too many'),
            'names.csv': (b','.join(b'%0100d' % i for i in range(1000)) + b'\n',
                          b'libavro takes no schema beyond 64 KiB'),
        }
        for name, (data, why) in cases.items():
            Path(self.path(name)).write_bytes(data)
            r = plugin(':::', name, cwd=self.folder)
            self.assertEqual(r.status, 1, r)
            self.assertRegex(r.err, rb'^csv2avro: %s: .*%s' % (name.encode(), why))
        r = plugin(':::', 'missing.csv', '.', cwd=self.folder)
        self.assertEqual(r.status, 2, r)
        self.assertEqual(sorted(r.err.splitlines()), [b'csv2avro: .: Is a directory',
                                                      b'csv2avro: missing.csv: No such file or directory'])
        self.assertEqual(sorted(os.listdir(self.folder)), sorted(cases))

    def test_same_result_twice(self):
        os.mkdir(self.path('sub'))
        write(self.folder, {'a.csv': b'a\n1\n', 'a.csv.gz': b'a\n2\n', 'sub/a.csv': b'a\n3\n'})
        r = plugin(':::', 'a.csv', 'a.csv.gz', 'sub/a.csv', 'sub/../a.csv', flags=['-j1'], cwd=self.folder)
        self.assertEqual(r.status, 2, r)
        self.assertEqual(r.err, b'csv2avro: a.csv.gz: input 1 becomes a.avro, too\n'
                                b'csv2avro: sub/../a.csv: input 1 becomes sub/../a.avro, too\n')
        self.assertEqual([d['rows'][0][0]['long'] for d in dump(self.path('a.avro'), self.path('sub/a.avro'))],
                         ['1', '3'])

    def test_same_output_however_many(self):
        files = {f'{seed}.csv': random_csv(seed)[0] + b'\n"bad"row\n' for seed in range(20)}
        outs = []
        for jobs in ('-j1', '-j4'):
            r = self.convert(files, '--out', jobs, flags=[jobs])
            results = {}
            for name in os.listdir(self.path(jobs)):
                data = Path(self.path(jobs), name).read_bytes()
                # The marker between blocks is by chance; the last 16 bytes are one.
                results[name] = data.replace(data[-16:], b'sync') if name.endswith('.avro') else data
            outs.append((r.out.replace(jobs.encode(), b'out'), results))
        self.assertEqual(outs[0], outs[1])
        self.assertEqual(len(outs[0][1]), 40)

    def test_words(self):
        for words, why in ((['--codec', 'lzma'], b"codec 'lzma': neither null nor deflate"),
                           (['--codec'], b'--codec: a value is missing'),
                           (['--delimiter', 'xy'], b"delimiter 'xy'"), (['--delimiter', '"'], b"delimiter '\"'"),
                           (['--delimiter', ''], b"delimiter ''"), (['--delimiter', '5'], b"delimiter '5'"),
                           (['--delay', '5'], b"delay '5'"), (['--delay', '-1s'], b"delay '-1s'"),
                           (['--schema', 'nowhere'], b'schema nowhere: No such file or directory'),
                           (['--out', 'no/where'], b'out no/where: No such file or directory'),
                           (['--what'], b'--what: no such option')):
            r = plugin(*words, ':::', 'a.csv', cwd=self.folder)
            self.assertNotEqual(r.status, 0)
            self.assertIn(why, r.err)
        self.convert({'a.csv': b'a\n1\n'}, '--delay', '1ms', '--no-sync')

    def test_full_disk(self):
        with small_tmpfs('1m') as folder:
            Path(self.path('a.csv')).write_bytes(b'a,b\n' + b'some,text\n' * 300000)
            for bad in (b'', b'c,d,e\n' * 300000):
                with open(self.path('a.csv'), 'ab') as f:
                    f.write(bad)
                r = plugin('--out', folder, ':::', self.path('a.csv'))
                self.assertEqual(r.status, 1, r)
                self.assertIn(b'No space left on device', r.err)
                self.assertEqual(os.listdir(folder), [])
            # What is short is written at the end alone.
            with self.assertRaises(OSError), open(os.path.join(folder, 'filler'), 'wb', buffering=0) as f:
                while True:
                    f.write(bytes(4096))
            write(self.folder, {'short.csv': b'a\n1\n'})
            r = plugin('--out', folder, ':::', self.path('short.csv'))
            self.assertEqual(r.status, 1, r)
            self.assertIn(b'No space left on device', r.err)
            self.assertEqual(os.listdir(folder), ['filler'])

    def test_command(self):
        write(self.folder, {'a.csv': b'a,b\n1,x\n2,\n', 'b.csv': b''})
        os.mkdir(self.path('out'))
        r = knee(COMMAND, '--out', self.path('out'), '{}', ':::', self.path('a.csv'), self.path('b.csv'))
        self.assertEqual((r.out, r.err, r.status),
                         (f"{self.path('a.csv')}\t{self.path('out')}/a.avro\t2\t0\n".encode(),
                          f"csv2avro: {self.path('b.csv')}: empty\n".encode(), 1))
        self.assertEqual(os.listdir(self.path('out')), ['a.avro'])
        plugin(':::', self.path('a.csv'))
        mine, theirs = (Path(self.path(name)).read_bytes() for name in ('out/a.avro', 'a.avro'))
        # All but the marker of blocks, which is chosen anew each time.
        self.assertEqual(mine.replace(mine[-16:], b''), theirs.replace(theirs[-16:], b''))

    def test_command_refuses(self):
        for words, why in ([], b'usage: csv2avro [OPTIONS] FILE\n'), \
                (['--codec', 'gold', 'a.csv'], b"csv2avro: codec 'gold': neither null nor deflate\n"):
            r = run([COMMAND, *words])
            self.assertEqual((r.out, r.err, r.status), (b'', why, 2))
        write(self.folder, {'a.csv': b'a\n1\n'})
        with open('/dev/full', 'wb') as full:
            r = subprocess.run([COMMAND, self.path('a.csv')], stdout=full, stderr=subprocess.PIPE)
        self.assertEqual((r.stderr, r.returncode), (b'csv2avro: No space left on device\n', 1))

    @unittest.skipUnless(shutil.which('cc'), 'no compiler is installed')
    def test_built_elsewhere(self):
        sources = sorted((ROOT / 'examples').glob('csv2avro*.c'))
        built = self.path('built.so')
        r = subprocess.run(['cc', '-O2', '-D_GNU_SOURCE', '-shared', '-fPIC', '-I', ROOT / 'include', '-o', built,
                            *sources, '-lavro', '-lz'], capture_output=True, text=True)
        self.assertEqual((r.returncode, r.stderr), (0, ''))
        if not SANITIZED:
            write(self.folder, {'a.csv': b'a\n1\n'})
            r = knee('--plugin', built, ':::', self.path('a.csv'))
            self.assertEqual(r.status, 0, r)


class Stopped(Conversion):
    """A source that never ends: the conversion is under way for as long as the test wants."""

    def setUp(self):
        super().setUp()
        Path(self.path('schema.avsc')).write_text(json.dumps(
            {'type': 'record', 'name': 'r', 'fields': [{'name': 'a', 'type': 'long'}]}))
        os.mkfifo(self.path('a.csv'))
        Path(self.path('a.avro')).write_bytes(b'the earlier result')
        Path(self.path('a.bad')).write_bytes(b'and its bad rows')
        self.before = self.look()

    def look(self):
        return sorted(os.listdir(self.folder))

    def feed(self):
        """Rows, good and bad, as long as somebody takes them."""
        try:
            with open(self.path('a.csv'), 'wb', buffering=0) as f:
                f.write(b'a\n')
                while True:
                    f.write(b'1\n2,3\n' * 1000)
        except BrokenPipeError:
            pass

    def stop(self, how, *flags, inputs=('a.csv',)):
        """A run that was ended when something was in both hidden files: its status."""
        feeder = threading.Thread(target=self.feed)
        feeder.start()
        # On a machine that is busy with other things it takes long to stop, and is not to be given up.
        with start(*flags, '--termseq', 'TERM,60000,KILL', '--plugin', PLUGIN, '--', '--schema', 'schema.avsc',
                   ':::', *inputs, cwd=self.folder) as p:
            parts = [Path(self.path(f'.a.{n}.part')) for n in ('avro', 'bad')]
            wait_for(lambda: all(part.exists() and part.stat().st_size > 0 for part in parts), 30)
            how(p)
            status = p.wait(30 * SLOW)
        feeder.join()
        return status

    def test_cancelled(self):
        self.assertNotEqual(self.stop(lambda p: p.send_signal(signal.SIGTERM)), 0)
        self.assertEqual(self.look(), self.before)
        self.assertEqual(Path(self.path('a.avro')).read_bytes(), b'the earlier result')
        self.assertEqual(Path(self.path('a.bad')).read_bytes(), b'and its bad rows')

    def test_timed_out(self):
        feeder = threading.Thread(target=self.feed)
        feeder.start()
        r = plugin('--schema', 'schema.avsc', ':::', 'a.csv', flags=['--timeout', '1', '--termseq', 'TERM,60000,KILL'],
                   cwd=self.folder)
        feeder.join()
        self.assertEqual(r.status, 1, r)
        self.assertEqual(self.look(), self.before)

    def test_killed(self):
        self.stop(lambda p: [os.kill(pid, signal.SIGKILL) for pid in [*descendants(p.pid), p.pid]])
        self.assertEqual(Path(self.path('a.avro')).read_bytes(), b'the earlier result')
        self.assertEqual(Path(self.path('a.bad')).read_bytes(), b'and its bad rows')
        # What it left is in the way of nobody, and is gone after the next run.
        os.unlink(self.path('a.csv'))
        self.convert({'a.csv': b'a\n1\n2,3\n'}, '--schema', 'schema.avsc')
        self.assertEqual(self.look(), self.before)
        self.assertEqual(dump(self.path('a.avro'))[0]['rows'], [[{'long': '1'}]])

    def test_two_runs(self):
        r = []

        def other(p):
            r.append(plugin('--schema', 'schema.avsc', '--out', '.', ':::', 'sub/a.csv', cwd=self.folder))
            p.send_signal(signal.SIGTERM)

        os.mkdir(self.path('sub'))
        write(self.folder, {'sub/a.csv': b'a\n1\n'})
        self.before = self.look()
        self.stop(other)
        self.assertEqual(r[0].status, 1)
        self.assertIn(b'another run is writing it', r[0].err)
        self.assertEqual(self.look(), self.before)

    @unittest.skipIf(VALGRIND, 'processes that valgrind does not see')
    def test_crash_of_one(self):
        def crash(p):
            part = self.path('.a.avro.part')
            for pid in descendants(p.pid):
                if part in open_fds(pid).values():
                    os.kill(pid, signal.SIGKILL)

        write(self.folder, {'b.csv': b'a\n1\n2,3\n'})
        self.before = self.look()
        status = self.stop(crash, '--isolate', '-j2', inputs=['a.csv', 'b.csv'])
        self.assertEqual(status, 1)
        self.assertEqual(Path(self.path('a.avro')).read_bytes(), b'the earlier result')
        self.assertEqual(dump(self.path('b.avro'))[0]['rows'], [[{'long': '1'}]])
        os.unlink(self.path('a.csv'))
        self.convert({'a.csv': b'a\n1\n2,3\n'}, '--schema', 'schema.avsc')
        self.assertEqual(self.look(), sorted([*self.before, 'b.avro', 'b.bad']))

    def test_cannot_be_read_twice(self):
        def few():
            Path(self.path('a.csv')).write_bytes(b'a\n1\n')

        feeder = threading.Thread(target=few)
        feeder.start()
        r = plugin(':::', 'a.csv', cwd=self.folder)
        feeder.join()
        self.assertEqual((r.status, r.err),
                         (1, b'csv2avro: a.csv: cannot be read twice; with --schema once is enough\n'))


if __name__ == '__main__':
    unittest.main()
