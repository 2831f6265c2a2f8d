# SPDX-License-Identifier: MIT
"""The C programs of the manual and of the README, as they stand there: each is compiled by what
knee.pc says, run with the installed library, and has to print what the page says. And the pages
name all that the header has.

A program of a page begins behind a comment with its name and in which languages it has to
compile; what it prints, with the same name, behind another:

    .\\" sample lines: c99 c++
    .\\" output lines
"""

import os
import re
import subprocess
import unittest

from installed import C99, ROOT, call, cc, cxx, installed

BLOCK = re.compile(r'^\.\\" (sample|output) ([\w-]+)(?:: ([\w+ ]+))?\n\.Bd[^\n]*\n(.*?)\n\.Ed$', re.M | re.S)
ESCAPE = re.compile(r'\\(e|&|-|\(aq)')
PLAIN = {'e': '\\', '&': '', '-': '-', '(aq': "'"}


def plain(text):
    """What roff makes of the lines of a literal block."""
    return ESCAPE.sub(lambda m: PLAIN[m[1]], text) + '\n'


def samples(name):
    """The programs of a page: name, languages, text, and what they print or None."""
    found = [(m[1], m[2], m[3], plain(m[4]))
             for m in BLOCK.finditer((ROOT / 'man' / name).read_text())]
    outputs = {n: text for kind, n, _, text in found if kind == 'output'}
    return [(n, langs.split(), text, outputs.get(n)) for kind, n, langs, text in found if kind == 'sample']


def knee():
    return installed().top / 'bin/knee'


def source(name, text):
    path = installed().work / name
    path.write_text(text)
    return path


CXX_PLUGIN = """#include <string>
#include <knee.h>

static int run(void *, struct knee_call *call)
{
    std::string text = std::string("hello ") + call->args[0] + "\\n";

    return call->write(call, KNEE_STDOUT, text.data(), text.size());
}

extern "C" const struct knee_plugin hello = {
    KNEE_PLUGIN_ABI, sizeof(struct knee_plugin), "hello", 0, nullptr, run, nullptr, nullptr,
};
"""


class Samples(unittest.TestCase):
    def check(self, name, langs, text, want):
        self.assertIn('c99', langs)
        for lang in langs:
            with self.subTest(name=name, lang=lang):
                if lang == 'c++':
                    path = installed().build(cxx(), source(f'{name}.cc', text), f'{name}-cxx', '-std=c++11')
                else:
                    path = installed().build(cc(), source(f'{name}.c', text), name, *C99)
                self.assertEqual(installed().run(path), want)

    def test_library(self):
        found = samples('knee.3')
        self.assertEqual([n for n, *_ in found], ['lines', 'ask', 'arrays', 'tune'])
        for sample in found:
            self.check(*sample)

    def test_readme(self):
        found = re.findall(r'```c\n(.*?)```.*?```text\n(.*?)```', (ROOT / 'README.md').read_text(), re.S)
        self.assertEqual(len(found), 1)
        for text, want in found:
            self.check('readme', ['c99'], text, want)

    def plugin(self):
        """The plugin of the page, built, and what it prints there; the files of the page are made."""
        [(name, langs, text, want)] = samples('knee-plugin.3')
        self.assertEqual(langs, ['c99'])
        (installed().work / 'one').write_text('to be or\nnot to be\n')
        (installed().work / 'two').write_text('that is the question')
        installed().build(cc(), source(f'{name}.c', text), f'{name}.so', *C99, '-shared', '-fPIC', libs=False)
        return f'{name}.so', want

    def test_plugin(self):
        name, want = self.plugin()
        self.assertEqual(installed().run(knee(), '--plugin', name, ':::', 'one', 'two'), want)
        # A file that is not there fails that task alone.
        r = subprocess.run([knee(), '--plugin', name, ':::', 'none', 'two'], cwd=installed().work,
                           capture_output=True, text=True, stdin=subprocess.DEVNULL)
        self.assertEqual((r.stdout, r.stderr, r.returncode),
                         ('4 words\n4 words, 4 of them counted here; the longest: question\n',
                          f'none: {os.strerror(2)}\n', 1))

    def test_plugin_isolated(self):
        """The page says what becomes of a total that no part carries."""
        name, want = self.plugin()
        self.assertEqual(installed().run(knee(), '--plugin', name, '--isolate', ':::', 'one', 'two'),
                         want.replace('10 of them', '0 of them'))

    def test_plugin_in_cxx(self):
        path = source('hello.cc', CXX_PLUGIN)
        installed().build(cxx(), path, 'hello.so', '-std=c++11', '-shared', '-fPIC', libs=False)
        self.assertEqual(installed().run(knee(), '--plugin', './hello.so:hello', ':::', 'a', 'b'),
                         'hello a\nhello b\n')


class Names(unittest.TestCase):
    """All that a C program uses is in one of the two pages."""

    HEADER = re.sub(r'/\*.*?\*/', '', (ROOT / 'include/knee.h').read_text(), flags=re.S)
    PAGES = (ROOT / 'man/knee.3').read_text() + (ROOT / 'man/knee-plugin.3').read_text()

    def assert_named(self, names, least):
        self.assertGreaterEqual(len(names), least)
        missing = [n for n in sorted(names) if not re.search(rf'\b{n}\b', self.PAGES)]
        self.assertEqual(missing, [])

    def test_functions(self):
        text = re.sub(r'^typedef\b[^;{]*;', '', self.HEADER, flags=re.M)
        self.assert_named(set(re.findall(r'\b(knee_\w+)\(', text)), 15)

    def test_structs_and_enums(self):
        # The other end of these is in knee_program.h.
        names = set(re.findall(r'\b(?:struct|enum) (knee_\w+) \{', self.HEADER))
        self.assert_named(names - {'knee_stored', 'knee_template'}, 20)

    def test_constants(self):
        # Bounds of arrays and counts of enums are not used by name.
        counts = {'KNEE_H', 'KNEE_LEVELS', 'KNEE_KINDS', 'KNEE_OUTCOMES', 'KNEE_EVENTS'}
        self.assert_named(set(re.findall(r'\bKNEE_[A-Z0-9_]+\b', self.HEADER)) - counts, 40)

    def test_options(self):
        # Templates are made by knee_program.h.
        body = re.search(r'struct knee_options \{\n(.*?)\n\};', self.HEADER, re.S)[1]
        names = set(re.findall(r'(\w+)(?:;|, |\)\()', body)) - {'self', 'command', 'tag'}
        self.assert_named(names, 30)


if __name__ == '__main__':
    unittest.main()
