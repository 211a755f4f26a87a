#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The shared library shows the public headers' functions, all of them and nothing else; the static
# one holds BLAKE3 under names that clash with nobody's.
source=$1 build=$2 libdir='' include=''
. "$(dirname "$0")/installed.sh"

shared=$(nm -D --defined-only "$libdir/libgraviton.so" | awk '{ print $NF }' | sort -u)
# A declaration is "type grv_name(", or extern data, outside the bodies of inline functions.
declared=$("${CC:-cc}" -E -P -I "$include" -x c "$include/graviton/graviton.h" |
    grep -v '^ *#' | tr '\n' ' ' | sed 's/[;{}]/\n/g' | grep -vE '^ *(static|return)\b' |
    sed -nE 's/^ *(const )?(struct )?[A-Za-z_][A-Za-z0-9_]* +\**(grv_[a-z0-9_]+) *\(.*/\3/p
        s/^ *extern .*[ *](grv_[a-z0-9_]+)(\[[^]]*\])? *$/\1/p' | sort -u)

few=
[ "$(wc -w <<<"$declared")" -gt 50 ] || few="found only: $declared"
empty "the headers declare functions" "$few"
empty "nothing but public functions is exported" "$(comm -23 <(echo "$shared") <(echo "$declared"))"
empty "every public function is exported" "$(comm -13 <(echo "$shared") <(echo "$declared"))"
empty "the static library defines only names of its own" \
    "$(nm -g --defined-only "$libdir/libgraviton.a" | awk 'NF == 3 { print $3 }' |
        grep -vE '^(grv|grvi)_')"
finish
