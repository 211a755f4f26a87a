#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The read cache as a user meets it: what is served from it, what is not, and what goes wrong."""

import glob
import os
import shutil

import harness
from harness import has, in_namespace, noise, same

SIZE = 1500000
WARNING = "warning"


def lose_blocks(case, store="s"):
    """Takes away every block of a store on files; returns what is needed to give them back."""
    path = os.path.join(case.directory, store, "cas", "blocks")
    os.rename(path, path + ".away")
    os.mkdir(path)
    return lambda: (shutil.rmtree(path), os.rename(path + ".away", path))


def blocks(case, store="s"):
    return sorted(glob.glob(os.path.join(case.directory, store, "cas/blocks/*/*-*")))


def test_reads_are_served_from_the_cache(case):
    data = noise(SIZE)
    key = case.put(data, "--store", "s")
    same(case.run("get", "--store", "s", "--cache", "c", key).out, data)
    assert os.stat(case.path("c/graviton-cache")).st_size == 1 << 30
    give_back = lose_blocks(case)
    same(case.run("get", "--store", "s", "--cache", "c", key).out, data)
    same(case.run("get", "--store", "s", key, env={"GRAVITON_CACHE": "c"}).out, data)
    # The option goes before the variable, and a part of a blob is served as well as the whole.
    case.run("get", "--store", "s", "--cache", "other", key, expect=4, env={"GRAVITON_CACHE": "c"})
    part = case.run("get", "--store", "s", "--cache", "c", "--range", "7-1000007", key)
    same(part.out, data[7:1000008])
    give_back()


def test_every_kind_of_store_may_have_one(case):
    data = noise(SIZE, 2)
    places = {
        "fs": ["--store", "s"],
        "kv": ["--blocks", "kv:", "--meta", "rocks:m"],
        "mixed": ["--blocks", "fs:b", "--meta", "rocks:n"],
    }
    for place in places.values():
        key = case.put(data, *place, "--cache", "c?size=16M")
        for _ in range(2):
            same(case.run("get", *place, "--cache", "c?size=16M", key).out, data)
        case.run("rm", *place, "--cache", "c?size=16M", key)
        case.run("gc", *place, "--cache", "c?size=16M")
        case.run("get", *place, "--cache", "c?size=16M", key, expect=3)


def test_a_check_reads_the_store_itself(case):
    data = noise(SIZE, 3)
    cached = ["--store", "s", "--cache", "c"]
    key = case.put(data, *cached)
    same(case.run("get", *cached, key).out, data)
    victim = blocks(case)[3]
    with open(victim, "r+b") as file:
        file.write(b"bad")
    same(case.run("get", *cached, key).out, data)
    case.run("verify", *cached, key, expect=4)
    case.run("verify", *cached, "--all", expect=4)
    same(case.run("get", *cached, key).out, data)
    case.run("scrub", *cached, expect=4)  # which sets the block aside, in the cache too
    result = case.run("get", *cached, key, expect=4)
    has(result.err, "missing")
    case.put(data, *cached)
    case.run("scrub", *cached, "--restart")
    same(case.run("get", *cached, key).out, data)


def test_bad_words_are_refused(case):
    case.put(b"x", "--store", "s")
    for word in ("", "c?size=", "c?size=1K", "c?size=9000G", "c?colour=red", "?size=1G"):
        result = case.run("ls", "--store", "s", "--cache", word, expect=2)
        has(result.err, "cache")
    assert not os.path.exists(case.path("c"))


def test_what_cannot_be_used_is_warned_of(case):
    data = noise(SIZE, 4)
    key = case.put(data, "--store", "s")
    case.write("file", b"mine")
    result = case.run("get", "--store", "s", "--cache", "file", key)
    same(result.out, data)
    has(result.err, WARNING, "cache is not used", "file")
    os.makedirs(case.path("d/graviton-cache"))
    result = case.run("get", "--store", "s", "--cache", "d", key)
    same(result.out, data)
    has(result.err, WARNING, "graviton-cache")
    same(case.read("file"), b"mine")
    result = case.run("get", "--store", "s", "--cache", "fine", key)
    assert WARNING not in result.err, result


def test_a_full_disk(case):
    data = noise(8 << 20, 5)
    case.write("data", data)
    key = case.put(data, "--store", "s")
    in_namespace(case, """
        mkdir c && mount -t tmpfs -o size=4M none c
        for round in 1 2 3; do
            "$1" get --store s --cache 'c?size=64M' "$2" 2>err | cmp - data
            grep -q 'warning.*cache failed.*No space' err || { cat err; exit 1; }
        done
        mount -o remount,size=100M c
        for round in 1 2; do
            "$1" get --store s --cache 'c?size=64M' "$2" 2>err | cmp - data
            if grep warning err; then exit 1; fi
        done
        mv s/cas/blocks s/cas/away && mkdir s/cas/blocks
        "$1" get --store s --cache 'c?size=64M' "$2" | cmp - data
        mv s/cas/away/* s/cas/blocks/
    """, key)  # fmt: skip


def test_a_disk_that_is_full_from_the_start(case):
    data = noise(SIZE, 6)
    case.write("data", data)
    key = case.put(data, "--store", "s")
    in_namespace(case, """
        mkdir c && mount -t tmpfs -o size=64k none c
        head -c 100k /dev/zero >c/filler 2>/dev/null || true
        "$1" get --store s --cache c "$2" 2>err | cmp - data
        grep -q 'warning.*cache is not used.*No space' err || { cat err; exit 1; }
        [ "$(ls c | grep -v lock)" = filler ]
    """, key)  # fmt: skip


def test_a_directory_that_cannot_be_written(case):
    data = noise(SIZE, 7)
    case.write("data", data)
    key = case.put(data, "--store", "s")
    case.run("get", "--store", "s", "--cache", "c?size=16M", key)
    in_namespace(case, """
        mkdir e
        mount --bind c c && mount -o remount,bind,ro c
        mount --bind e e && mount -o remount,bind,ro e
        if touch c/x 2>/dev/null; then exit 1; fi
        mv s/cas/blocks s/cas/away && mkdir s/cas/blocks
        "$1" get --store s --cache 'c?size=16M' "$2" 2>err | cmp - data
        if grep warning err; then exit 1; fi
        rmdir s/cas/blocks && mv s/cas/away s/cas/blocks
        "$1" get --store s --cache e "$2" 2>err | cmp - data
        grep -q 'warning.*cache is not used' err || { cat err; exit 1; }
    """, key)  # fmt: skip


def test_cp_reads_through_it(case):
    data = noise(SIZE, 8)
    key = case.put(data, "--store", "s")
    case.run("get", "--store", "s", "--cache", "c", key)
    give_back = lose_blocks(case)
    case.run("cp", "--from", "s", "--to", "t", "--cache", "c", "--all")
    give_back()
    same(case.run("get", "--store", "t", key).out, data)


if __name__ == "__main__":
    harness.main()
