#!/bin/sh
# SPDX-License-Identifier: MIT
# Build knee and run every test: as it is, and with address and undefined-behaviour
# sanitizers. Needs a Debian system with a shell and apt; installs only what is missing.
# On CI, or with --all, also under valgrind, with a build by clang, and tools/lint.
#
# usage: ./test.sh [--all] [OPTIONS OF tests/run]
cd "$(dirname "$0")" || exit 1
. tools/setup

all=${CI:+yes}
if [ "${1-}" = --all ]; then
	all=yes
	shift
fi

setup_install gcc libc6-dev meson ninja-build python3 gzip parallel
setup_build build gcc
setup_build build-sanitize gcc -Db_sanitize=address,undefined -Dbench=false
set -- --sanitize "$@"
if [ "$all" = yes ]; then
	setup_install clang clang-format clang-tidy cppcheck shellcheck mandoc valgrind
	setup_build build-gcc gcc -Dwerror=true -Dbuildtype=release
	setup_build build-clang clang -Dwerror=true
	set -- --valgrind --lint "$@"
fi
exec tests/run "$@"
