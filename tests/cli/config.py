#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which store: flags, environment, aliases, default; and stores that do not fit."""

import os

import harness
from harness import has, same


def blobs(case, *flags, **how):
    return len(case.run("ls", *flags, **how).rows())


def test_default(case):
    result = case.run("ls", expect=3)
    has(result.err, "graviton-data", "graviton put")
    assert not os.path.exists(case.path("graviton-data")), "ls made a store"
    for arguments in (["stats"], ["verify", "--all"], ["get", "00000000"], ["rm", "00000000"]):
        case.run(*arguments, expect=3)
    case.put(b"x")
    assert os.path.isdir(case.path("graviton-data/cas/blocks/blake3")), "not the usual layout"
    same(blobs(case), 1)
    same(blobs(case, env={"GRAVITON_STORE": "", "GRAVITON_BLOB_BACKEND": ""}), 1)


def test_precedence(case):
    case.run("put", "--store", "flag", "-", stdin=b"1")
    for data in (b"1", b"2"):
        case.run("put", "-", stdin=data, env={"GRAVITON_STORE": "variable"})
    everything = {
        "GRAVITON_STORE": "variable",
        "GRAVITON_BLOB_BACKEND": "fs",
        "GRAVITON_FS_ROOT": "alias",
    }
    same(blobs(case, "--store", "flag", env=everything), 1)
    same(blobs(case, "--store=flag", env={"GRAVITON_BLOCKS": "nonsense"}), 1)
    same(blobs(case, env=everything), 2)
    case.run("ls", env={"GRAVITON_FS_ROOT": "variable"}, expect=3)


def test_contradictions(case):
    has(case.run("ls", "--store", "a", "--meta", "rocks:b", expect=2).err, "--store", "--meta")
    has(case.run("ls", "--blocks", "fs:b", expect=2).err, "--blocks needs --meta")
    has(case.run("ls", "--meta", "rocks:b", expect=2).err, "--meta needs --blocks")
    both = {"GRAVITON_STORE": "a", "GRAVITON_BLOCKS": "fs:b", "GRAVITON_META": "rocks:m"}
    has(case.run("ls", env=both, expect=2).err, "GRAVITON_STORE")
    has(case.run("ls", env={"GRAVITON_META": "rocks:b"}, expect=2).err, "GRAVITON_BLOCKS")
    case.run("ls", "--store", "", expect=2)
    case.run("ls", "--hash", "md5", expect=2)
    case.run("ls", "--chunker", "nonsense", expect=2)
    case.run("ls", "--threads", "many", expect=2)


def test_halves(case):
    flags = ["--blocks", "fs:b?prefix=p/q", "--meta", "rocks:m"]
    case.run("put", *flags, "-", stdin=b"1")
    assert os.path.isdir(case.path("b/p/q/blake3")), os.listdir(case.path("b"))
    same(blobs(case, *flags), 1)
    env = {"GRAVITON_BLOCKS": flags[1], "GRAVITON_META": flags[3]}
    same(blobs(case, env=env), 1)
    flags = ["--blocks", "kv:", "--meta", "rocks:k"]
    blob = case.run("put", *flags, "-", stdin=b"kv").rows()[0][0]
    same(case.run("get", *flags, blob).out, b"kv")
    case.run("put", "--store", "memory:", "-", stdin=b"gone")


def test_wrong_pairs(case):
    case.run("put", "--blocks", "fs:b1", "--meta", "rocks:m1", "-", stdin=b"1")
    case.run("put", "--blocks", "fs:b2", "--meta", "rocks:m2", "-", stdin=b"2")
    for pair in (("fs:b1", "rocks:m2"), ("fs:b1", "rocks:new"), ("fs:new", "rocks:m1")):
        flags = ["--blocks", pair[0], "--meta", pair[1]]
        for command in (["ls"], ["put", "-"]):
            has(case.run(*command, *flags, expect=8).err, "belong")
    assert not os.path.exists(case.path("b1/new")), "something was written"
    flags = ["--blocks", "fs:b1", "--meta", "rocks:m1"]
    has(case.run("put", "-", *flags, "--hash", "sha256", expect=8).err, "--hash")
    has(case.run("ls", *flags, "--chunker", "fixed:64", expect=8).err, "--chunker")
    same(blobs(case, *flags), 1)


def test_scala_aliases(case):
    env = {"GRAVITON_BLOB_BACKEND": "fs", "GRAVITON_FS_ROOT": "root"}
    case.run("put", "-", stdin=b"1", env=env)
    assert os.path.isdir(case.path("root/cas/blocks/blake3")), "not the usual layout"
    same(blobs(case, env={**env, "GRAVITON_FS_BLOCK_PREFIX": "cas/blocks"}), 1)
    env = {"GRAVITON_BLOB_BACKEND": "FS", "GRAVITON_FS_ROOT": "r2", "GRAVITON_FS_BLOCK_PREFIX": "p"}
    case.run("put", "-", stdin=b"1", env=env)
    assert os.path.isdir(case.path("r2/p/blake3")), "not the prefix"
    same(blobs(case, env=env), 1)
    case.run("put", "-", stdin=b"1", env={"GRAVITON_BLOB_BACKEND": "fs"})
    assert os.path.isdir(case.path(".graviton/cas/blocks")), "not the Scala server's default"
    for name in ("s3", "minio"):  # the rest of it is in s3.py
        result = case.run("ls", env={"GRAVITON_BLOB_BACKEND": name}, expect=2)
        has(result.err, "PG_JDBC_URL")
    case.run("ls", env={"GRAVITON_BLOB_BACKEND": "tape"}, expect=2)


def test_not_built_yet(case):
    for flags in (
        ["--store", "packs:d"],
        ["--blocks", "packs+s3://b/p", "--meta", "rocks:m"],
    ):  # fmt: skip
        result = case.run("put", "-", "--json", *flags, expect=1)
        same(result.error()["status"], "unsupported")
    same(os.listdir(case.directory), [])
    for flags in (["--blocks", "tape:x", "--meta", "rocks:m"], ["--blocks", "b", "--meta", "m"]):
        case.run("ls", *flags, expect=2)


def test_newer_store(case):
    case.put(b"1")
    text = case.read("graviton-data/graviton.json").decode()
    for before, after in (
        ('"format_version": 1,', '"format_version": 99,'),
        ('"required_features": []', '"required_features": ["time-travel"]'),
    ):
        case.write("graviton-data/graviton.json", text.replace(before, after).encode())
        result = case.run("ls", "--json", expect=8)
        same(result.error()["status"], "unsupported")
    case.write("graviton-data/graviton.json", text.encode())
    same(blobs(case), 1)


def test_unwritable(case):
    case.write("file", b"")
    assert case.run("put", "--store", "file/store", "-", expect=None).code in (2, 3)
    # Not even root makes a directory there.
    has(case.run("put", "--store", "/sys/graviton", "-", stdin=b"1", expect=7).err, "/sys/graviton")
    if os.geteuid() != 0:
        os.mkdir(case.path("locked"), 0o555)
        case.run("put", "--store", "locked/store", "-", stdin=b"1", expect=7)


harness.main()
