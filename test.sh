#!/bin/sh
# SPDX-License-Identifier: MIT
# Build knee and run every test: as it is, and with address and undefined-behaviour
# sanitizers; what has threads also with a thread sanitizer. Needs a Debian system with a shell
# and apt; installs only what is missing.
# With --all also under valgrind, built by gcc and clang without a warning, and the linters.
# On CI the same, but for the slower half of valgrind.
#
# usage: ./test.sh [--all] [OPTIONS OF tests/run]
cd "$(dirname "$0")" || exit 1
. tools/setup

more=${CI:+--valgrind-quick}
if [ "${1-}" = --all ]; then
	more=--valgrind
	shift
fi

setup_install gcc g++ libc6-dev libsqlite3-dev libxxhash-dev pkgconf meson ninja-build python3 gzip mount parallel \
	libcurl4-openssl-dev libssl-dev curl nginx-light libavro-dev zlib1g-dev libglib2.0-dev libxxhash-dev \
	openssh-server openssh-client slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge iproute2 \
	procps rsync util-linux
setup_command npm nodejs npm
if [ -n "$more" ]; then
	setup_install clang clang-format clang-tidy cppcheck shellcheck mandoc valgrind
	set -- "$more" --lint "$@"
fi
setup_build build gcc
setup_build build-sanitize gcc -Db_sanitize=address,undefined -Dbench=false
setup_build build-tsan gcc -Db_sanitize=thread -Dbench=false
if [ -n "$more" ]; then
	setup_build build-gcc gcc -Dwerror=true -Dbuildtype=release
	setup_build build-clang clang -Dwerror=true
fi
exec tests/run --sanitize --tsan "$@"
