# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by the tests beside it, which set $source and $build: installs the build into an empty
# directory and says where things are: $dest (removed at exit), $prefix, $libdir, $include.
set -uo pipefail
dest=$(mktemp -d "${TMPDIR:-/tmp}/graviton-install-XXXXXX")
trap 'rm -rf "$dest"' EXIT
tests_done=0

# One line of TAP: the test's name and, where it failed, the reason as a comment.
ok() {
    tests_done=$((tests_done + 1))
    echo "ok $tests_done - $1"
}
not_ok() {
    tests_done=$((tests_done + 1))
    echo "not ok $tests_done - $1"
    shift
    printf '%s\n' "$@" | sed 's/^/# /'
}
# Runs a command that has to succeed; its output is shown only where it fails.
try() {
    local name=$1 said
    shift
    if said=$("$@" 2>&1); then
        ok "$name"
    else
        not_ok "$name" "$said"
        return 1
    fi
}
# Fails where its second argument has any text, and shows it.
empty() {
    if [ -z "$2" ]; then
        ok "$1"
    else
        not_ok "$1" "$2"
    fi
}
finish() {
    echo "1..$tests_done"
    exit 0
}

if ! log=$(DESTDIR=$dest meson install --no-rebuild -C "$build" 2>&1); then
    not_ok "meson install into an empty directory" "$log"
    finish
fi
pc=$(find "$dest" -name graviton.pc | head -n 1)
if [ -z "$pc" ]; then
    not_ok "graviton.pc is installed" "$log"
    finish
fi
ok "meson install into an empty directory"
libdir=$(dirname "$(dirname "$pc")")
prefix=$(sed -n 's/^prefix=//p' "$pc")
# shellcheck disable=SC2034 # for who sources this
include=$dest$prefix/include
export PKG_CONFIG_PATH=$libdir/pkgconfig
# The file says where it was configured to go; this directory stands in for the root.
flags() {
    pkg-config --define-variable=prefix="$dest$prefix" "$@" graviton
}
