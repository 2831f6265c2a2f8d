#!/bin/sh
# SPDX-License-Identifier: MIT
# A real job on real files: the checksum and the compressed size of what lies under /usr/lib
# and /usr/share, once by a plain loop, once by knee, and both times. Needs a Debian system
# with a shell and apt; installs only what is missing; changes nothing outside the build folder.
#
# usage: ./demo.sh [MEGABYTES]
cd "$(dirname "$0")" || exit 1
. tools/setup

megabytes=${1:-250}
setup_install gcc libc6-dev libsqlite3-dev libxxhash-dev meson ninja-build gzip
setup_build build gcc

dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM

# The job, the same in both runs: for each file a line with its checksum, the bytes that gzip
# makes of it, and its name.
cat >"$dir/job" <<'END'
for file; do
	sum=$(sha256sum <"$file")
	size=$(gzip -c <"$file" | wc -c)
	printf '%s %s %s\n' "${sum%% *}" "$size" "$file"
done
END

# A few copies under names that break careless scripts.
mkdir "$dir/names"
# shellcheck disable=SC2016 # the dollar is meant
for name in 'two  blanks' "quote's" '"double"' 'dollar $(date)' '-dash' 'semi;colon &' 'new
line'; do
	cp /etc/services "$dir/names/$name" 2>/dev/null || cp /etc/passwd "$dir/names/$name"
done

# Names end with a NUL byte. The order is mixed, but the same each time. Files of 4 KiB to
# 16 MiB, so that it is the work that counts and not the starting of three programs.
{
	find "$dir/names" -type f -printf '%s %p\0'
	find /usr/lib /usr/share -type f -readable -size +3k -size -16384k -printf '%s %p\0' |
		sort -z -R --random-source=LICENSE
} | awk -v most="$megabytes" '
	BEGIN { RS = ORS = "\0" }
	sum + $1 <= most * 1000000 && count < 6000 {
		sum += $1
		count++
		print substr($0, length($1) + 2)
	}
	END { printf "%d files, %d MB\n", count, sum / 1000000 >"/dev/stderr" }
	' >"$dir/list" 2>"$dir/size" || exit 1

# Both runs find the files in memory.
xargs -0 cat <"$dir/list" >/dev/null || exit 1

now() {
	awk '{ print $1 }' /proc/uptime
}

# timed FILE COMMAND...: its output in FILE; the seconds in $seconds.
timed() {
	timed_out=$1
	shift
	timed_begin=$(now)
	"$@" <"$dir/list" >"$timed_out" || {
		echo "demo.sh: failed: $*" >&2
		exit 1
	}
	seconds=$(awk "BEGIN { print $(now) - $timed_begin }")
}

echo "The job: sha256sum and gzip of each of $(cat "$dir/size") under /usr/lib and /usr/share."
echo
echo "One after another, a plain shell loop:"
echo "  xargs -0 sh job"
timed "$dir/loop.out" xargs -0 sh "$dir/job"
loop=$seconds
printf '  %.1f s\n\n' "$loop"
echo "With knee, as many at once as there are cores ($(nproc)), output in the same order:"
echo "  knee -0 -n 20 sh job"
timed "$dir/knee.out" build/cli/knee -0 -n 20 sh "$dir/job"
printf '  %.1f s\n\n' "$seconds"
if ! cmp "$dir/loop.out" "$dir/knee.out"; then
	echo "demo.sh: the results differ" >&2
	exit 1
fi
echo "Identical, byte for byte: $(wc -c <"$dir/knee.out") bytes of results."
awk "BEGIN { printf \"knee took %.2f of the loop's time: %.2f times as fast.\\n\", \
	$seconds / $loop, $loop / $seconds }"
