#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A program with two threads on one store builds against what was installed and runs clean under
# ThreadSanitizer. The library is the build's own: where that is built for it too, so much the
# better; where not, what is watched is the program and every lock the library takes.
source=$1 build=$2 libdir='' dest=''
. "$(dirname "$0")/installed.sh"

# shellcheck disable=SC2046
build_program() {
    "${CC:-cc}" -std=gnu17 -Wall -Wextra -Wpedantic -Werror -g -O1 -fsanitize=thread -pthread \
        "$source/tests/install/threads.c" -o "$dest/threads" $(flags --cflags --libs)
}
# TSan wants its shadow where address randomisation may put a library.
still=
if setarch -R true 2>/dev/null; then
    still="setarch -R"
fi
# shellcheck disable=SC2086
agrees() {
    local said
    if ! said=$($still env LD_LIBRARY_PATH="$libdir" \
        TSAN_OPTIONS="halt_on_error=1:history_size=7:suppressions=$source/tests/tsan.supp" \
        "$dest/threads" "$@" 2>&1) || [[ "$said" != "24 and 24 puts, "* ]]; then
        echo "it said: $said"
        return 1
    fi
}
if try "it builds" build_program; then
    try "two threads on files and RocksDB" agrees "$dest/store"
    try "they find all again" agrees "$dest/store"
    try "two threads in memory" agrees memory:
fi
finish
