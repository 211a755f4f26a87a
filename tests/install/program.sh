#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The program in README.md builds against what was installed, shared and static, and gives the bytes
# back. It is taken out of README.md itself, so the two cannot drift apart.
source=$1 build=$2 libdir='' dest='' prefix=''
. "$(dirname "$0")/installed.sh"

sed -n '/^<!-- example.c begins/,/^<!-- example.c ends/p' "$source/README.md" |
    sed '/^<!--/d; /^```/d' >"$dest/example.c"
try "README.md has the program" test -s "$dest/example.c"

strict="-std=c17 -Wall -Wextra -Wpedantic -Werror"
# What runs is what pkg-config says; the words of it are meant to be split.
# shellcheck disable=SC2046,SC2086
build_shared() {
    "${CC:-cc}" $strict "$dest/example.c" -o "$dest/shared" $(flags --cflags --libs)
}
# shellcheck disable=SC2046,SC2086
build_static() {
    "${CC:-cc}" $strict "$dest/example.c" -o "$dest/static" $(flags --cflags) \
        $(flags --static --libs | sed 's/-lgraviton/-l:libgraviton.a/g')
}
says_hello() {
    local said
    if ! said=$("$@") || [ "$said" != "hello, graviton" ]; then
        echo "it said: $said"
        return 1
    fi
}
if try "it builds against the shared library" build_shared; then
    try "it runs with the shared library" says_hello env LD_LIBRARY_PATH="$libdir" "$dest/shared"
fi
if try "it builds against the static library" build_static; then
    try "it runs on its own" says_hello "$dest/static"
    empty "it needs no libgraviton.so" "$(ldd "$dest/static" | grep libgraviton)"
fi
for file in include/graviton/graviton.h share/doc/graviton/LICENSE \
    lib/systemd/system/graviton.service; do
    try "$file is installed" test -s "$dest$prefix/$file"
done
unit=$dest$prefix/lib/systemd/system/graviton.service
try "the unit names the installed program" grep -q "^ExecStart=$prefix/bin/graviton serve" "$unit"
finish
