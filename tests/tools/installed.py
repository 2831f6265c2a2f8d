# SPDX-License-Identifier: MIT
"""What tests of the library for other programs share: libknee as "meson install" leaves it in a
folder, and compilers that know nothing but what its knee.pc says."""

import functools
import os
import shlex
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get('KNEE_BUILD') or ROOT / 'build').resolve()
SECONDS = 60 * float(os.environ.get('KNEE_SLOW') or 1)
STRICT = ['-pedantic', '-Wall', '-Wextra', '-Wconversion', '-Wshadow', '-Werror']
# What POSIX has is not in plain C99.
C99 = ['-std=c99', '-D_POSIX_C_SOURCE=200809L']


def need(*programs):
    """The first of these that there is. Without any the test is skipped; on CI it fails."""
    found = next(filter(None, map(shutil.which, programs)), None)
    if found is None:
        text = f'{" or ".join(programs)} is not installed'
        if os.environ.get('CI'):
            raise AssertionError(text)
        raise unittest.SkipTest(text)
    return found


def cc():
    return need('gcc', 'clang', 'cc')


def cxx():
    return need('g++', 'clang++', 'c++')


def call(words, **how):
    """Run it; it has to succeed. What it printed."""
    r = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                       timeout=SECONDS, **how)
    if r.returncode != 0:
        raise AssertionError(f'{shlex.join(map(str, words))}: {r.returncode}\n{r.stdout}{r.stderr}')
    return r.stdout


class Installed:
    """A fresh installation under a folder that is removed with the last reference to it."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix='kneetest-')
        self.folder = Path(self._folder.name).resolve()
        call([need('meson'), 'install', '-C', BUILD, '--no-rebuild', '--destdir', self.folder])
        self.header = next(self.folder.rglob('include/knee.h'))
        self.top = self.header.parents[1]
        self.lib = next(self.folder.rglob('libknee.so')).parent
        self.work = self.folder / 'work'
        self.work.mkdir()

    def config(self, *options):
        """What pkg-config says, as words."""
        env = dict(os.environ, PKG_CONFIG_SYSROOT_DIR=str(self.folder),
                   PKG_CONFIG_PATH=str(self.lib / 'pkgconfig'))
        return shlex.split(call([need('pkg-config'), *options, 'knee'], env=env))

    def build(self, compiler, source, name, *flags, libs=True):
        """Compile the source, a path, and link it; where the program is."""
        path = self.work / name
        said = self.config('--cflags', '--libs') if libs else self.config('--cflags')
        call([compiler, *STRICT, *flags, '-o', path, source, *said, '-pthread', '-lm'])
        return path

    def run(self, *words):
        """Run it with the installed library; it has to succeed. What it printed."""
        return call([*words], cwd=self.work, env=dict(os.environ, LD_LIBRARY_PATH=str(self.lib)))


@functools.cache
def installed():
    """One installation for all tests of a process; nothing of it is changed."""
    return Installed()
