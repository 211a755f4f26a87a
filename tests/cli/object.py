#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""object: ls, head, get, put, rm and cp on objects under fs:// locators."""

import os
import re
import subprocess

import harness
from harness import has, noise, same

DATA = noise(700000)
ODD = [b"a", b"a/b", b"a/", b"//", b"../x", b"%2F", b" ", b"n\nl", b"b\\s", b"\xff", b"x" * 1024]


def root(case, *names):
    """The environment with a root of each name, in directories that are made."""
    for name in names:
        os.mkdir(case.path(name))
    return {"GRAVITON_ROOTS": ":".join(f"{name}={name}" for name in names)}


def locators(result):
    return [row[2] for row in result.rows()]


def test_round_trip(case):
    env = root(case, "m")
    case.write("file", DATA)
    (row,) = case.run("object", "put", "fs://m/dir/o", "file", env=env).rows()
    same((row[0], row[2]), (str(len(DATA)), "fs://m/dir/o"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row[1]), row
    same(case.run("object", "get", "fs://m/dir/o", env=env).out, DATA)
    same(case.run("object", "get", "fs://m/dir/o", "-o", "copy", env=env).out, b"")
    same(case.read("copy"), DATA)
    for operand in ([], ["-"]):
        case.run("object", "put", "fs://m/in", *operand, stdin=b"piped", env=env)
        same(case.run("object", "get", "fs://m/in", env=env).out, b"piped")
        case.run("object", "put", "fs://m/in", *operand, stdin=b"", env=env)
        same(case.run("object", "get", "fs://m/in", env=env).out, b"")
    same(case.read("m/dir+/o"), DATA)
    same(sorted(os.listdir(case.directory)), ["copy", "file", "m"])


def test_ranges(case):
    env = root(case, "m")
    case.run("object", "put", "fs://m/o", stdin=DATA, env=env)
    for text, wanted in (
        ("0-0", DATA[:1]), ("5-9", DATA[5:10]), ("-3", DATA[-3:]), ("699999-", DATA[-1:]),
        ("300000-900000", DATA[300000:]), ("0-", DATA), ("-9999999", DATA),
    ):  # fmt: skip
        same(case.run("object", "get", "fs://m/o", "--range", text, env=env).out, wanted)
    for text in ("700000-", "9-5", "x", "-0", "-"):
        result = case.run("object", "get", "fs://m/o", "--range", text, expect=2, env=env)
        same(result.out, b"")
        has(result.err, "--range")
    case.run("object", "get", "fs://m/none", "--range", "0-", expect=3, env=env)


def test_missing(case):
    env = root(case, "m")
    case.write("old", b"before")
    for arguments in (
        ["get", "fs://m/x"], ["get", "fs://m/x", "-o", "old"], ["get", "fs://m/x", "-o", "new"],
        ["head", "fs://m/x"], ["rm", "fs://m/x"], ["cp", "fs://m/x", "fs://m/y"],
    ):  # fmt: skip
        result = case.run("object", *arguments, expect=3, env=env)
        same(result.out, b"")
        has(result.err, "no object fs://m/x")
        error = case.run("object", "--json", *arguments, expect=3, env=env).error()
        same(error["status"], "not_found")
    same(case.read("old"), b"before")
    has(case.run("object", "put", "fs://m/x", "nofile", expect=3, env=env).err, "nofile")
    has(case.run("object", "put", "fs://m/x", "m", expect=2, env=env).err, "is a directory")
    same(case.run("object", "ls", "fs://m", env=env).out, b"")
    same(sorted(os.listdir(case.directory)), ["m", "old"])


def test_ls(case):
    env = root(case, "m")
    paths = ["a", "a/b", "a-b", "a/c/d", "b", "b/"]
    for path in paths:
        case.run("object", "put", f"fs://m/{path}", stdin=path.encode(), env=env)
    everything = ["fs://m/" + path for path in sorted(paths)]
    for operand in ("fs://m", "fs://m/"):
        same(locators(case.run("object", "ls", operand, env=env)), everything)
    same(locators(case.run("object", "ls", "fs://m/a/", env=env)), ["fs://m/a/b", "fs://m/a/c/d"])
    same(locators(case.run("object", "ls", "fs://m/", "--limit", "2", env=env)), everything[:2])
    same(
        locators(case.run("object", "ls", "fs://m/", "--after", "a-b", env=env)), everything[2:]
    )
    same(case.run("object", "ls", "fs://m/", "--limit", "0", env=env).out, b"")
    shown = case.run("object", "ls", "--json", "fs://m/b", env=env).objects()
    same([(o["locator"], o["size_bytes"]) for o in shown], [("fs://m/b", 1), ("fs://m/b/", 2)])
    (head,) = case.run("object", "head", "--json", "fs://m/b", env=env).objects()
    same(head, shown[0])
    text = dict(case.run("object", "head", "fs://m/b", env=env).rows())
    same(text, {name: str(value) for name, value in head.items()})


def test_odd_paths(case):
    env = root(case, "m")
    for path in ODD:
        row = case.run("object", "put", b"fs://m/" + path, stdin=path, env=env).out
        same(row.count(b"\n"), 1)
    for path in ODD:
        same(case.run("object", "get", b"fs://m/" + path, env=env).out, path)
    rows = case.run("object", "ls", "fs://m", env=env).out.split(b"\n")[:-1]
    same(len(rows), len(ODD))
    escaped = [row.split(b"\t")[2] for row in rows if row.startswith(b"\\")]
    same(escaped, [b"fs://m/b\\\\s", b"fs://m/n\\nl"])
    shown = case.run("object", "ls", "--json", "fs://m", env=env).objects()
    same([o["locator"] for o in shown if "locator_base64" in o], ["fs://m/\ufffd"])
    same(os.listdir(case.directory), ["m"])


def test_put_and_cp(case):
    env = root(case, "m", "n")
    case.run("object", "put", "fs://m/o", stdin=b"1", env=env)
    result = case.run("object", "put", "fs://m/o", "--if-absent", stdin=b"2", expect=8, env=env)
    has(result.err, "already")
    case.run("object", "put", "fs://m/o", stdin=b"3", env=env)
    (row,) = case.run("object", "cp", "fs://m/o", "fs://n/p/q", env=env).rows()
    same(row[2], "fs://n/p/q")
    case.run("object", "cp", "fs://m/o", "fs://n/p/q", "--if-absent", expect=8, env=env)
    case.run("object", "cp", "fs://m/o", "fs://m/o", expect=2, env=env)
    same(case.run("object", "get", "fs://n/p/q", env=env).out, b"3")
    process = case.start("object", "put", "fs://m/o", stdin=subprocess.PIPE, env=env,
                         stderr=subprocess.DEVNULL)  # fmt: skip
    process.stdin.write(DATA)
    process.stdin.flush()
    process.terminate()
    same(process.wait(), 143)
    process.stdin.close()
    same(case.run("object", "get", "fs://m/o", env=env).out, b"3")
    same(os.listdir(case.path("m/.tmp")), [])


def test_rm(case):
    env = root(case, "m")
    for path in "abc":
        case.run("object", "put", f"fs://m/{path}", stdin=b"1", env=env)
    same(case.run("object", "rm", "fs://m/a", env=env).out, b"")
    has(case.run("object", "rm", "fs://m/a", "fs://m/b", expect=1, env=env).err, "fs://m/a")
    case.run("object", "rm", "fs://m/a", "fs://m/b", expect=3, env=env)
    same(locators(case.run("object", "ls", "fs://m", env=env)), ["fs://m/c"])


def test_roots(case):
    env = root(case, "m")
    case.run("object", "put", "fs://m/o", stdin=b"1", env=env)
    os.mkdir(case.path("a:b=c"))
    flags = ["--root", "m=a:b=c", "--root=x=m"]
    case.run("object", "put", *flags, "fs://m/o", stdin=b"2", env=env)
    same(case.run("object", "get", *flags, "fs://m/o", env=env).out, b"2")
    same(case.run("object", "get", *flags, "fs://x/o", env=env).out, b"1")
    result = case.run("object", "ls", "--root", "x=m", "fs://m", expect=2, env=env)
    has(result.err, "fs://m", "--root")
    case.run("object", "ls", "fs://m", expect=2)
    case.run("object", "ls", "fs://m", expect=2, env={"GRAVITON_ROOTS": ""})
    for value in ("m", "=m", "m=", "m=m:", ":", "m=m:m=m"):
        has(case.run("object", "ls", "fs://m", expect=2, env={"GRAVITON_ROOTS": value}).err,
            "GRAVITON_ROOTS")  # fmt: skip
    has(case.run("object", "ls", "fs://m", "--root", "m", expect=2).err, "NAME=DIR")
    # A directory that is missing is no empty bucket, one not asked for is not looked at.
    result = case.run("object", "ls", "fs://m", "--root", "m=none", expect=3)
    has(result.err, "fs://m", "none")
    case.run("object", "put", "fs://m/o", "--root", "m=none", stdin=b"1", expect=3)
    assert not os.path.exists(case.path("none")), "a directory was made"
    case.run("object", "ls", "fs://m", "--root", "m=m", "--root", "gone=none")


def test_wrong_words(case):
    env = root(case, "m")
    for arguments, hint in (
        ([], "graviton object --help"),
        (["list", "fs://m"], "graviton object --help"),
        (["ls"], "too few"),
        (["ls", "fs://m", "fs://m"], "too many"),
        (["put", "fs://m/a", "b", "c"], "too many"),
        (["cp", "fs://m/a"], "too few"),
        (["ls", "fs://m", "--range", "0-"], "--range"),
        (["head", "fs://m/a", "-o", "x"], "--output"),
        (["get", "fs://m/a", "--if-absent"], "--if-absent"),
        (["rm", "fs://m/a", "--limit", "1"], "--limit"),
        (["cp", "fs://m/a", "fs://m/b", "--after", "x"], "--after"),
        (["get", "fs://m"], "bad locator"),
        (["get", "fs://m/"], "bad locator"),
        (["get", "m/a"], "bad locator"),
        (["get", "fs://m/" + "x" * 1025], "bad locator"),
        (["get", "tape://m/a"], "fs://NAME/PATH"),
        (["ls", "fs://"], "bad locator"),
        (["ls", "fs://" + "m" * 3000], "bad locator"),
        (["ls", "fs://m", "--limit", "x"], "--limit"),
    ):
        result = case.run("object", *arguments, expect=2, env=env)
        has(result.err, hint)
        same((result.out, result.err.count("\n")), (b"", 1))
    for locator in ("s3://b/p", "S3://b/p"):
        result = case.run("object", "get", "--json", locator, expect=7, env=env)
        same(result.error()["status"], "permission")
        has(result.error()["message"], "AWS_ACCESS_KEY_ID")


def test_full_and_broken_stdout(case):
    env = root(case, "m")
    case.run("object", "put", "fs://m/o", stdin=noise(3 << 20), env=env)
    for arguments in (["get", "fs://m/o"], ["ls", "fs://m"], ["head", "fs://m/o"]):
        with open("/dev/full", "wb") as full:
            has(case.run("object", *arguments, expect=6, stdout=full, env=env).err, "No space")
    process = case.start("object", "get", "fs://m/o", stdout=subprocess.PIPE, env=env,
                         stderr=subprocess.PIPE)  # fmt: skip
    process.stdout.read(10)
    process.stdout.close()
    same(process.wait(), 141)
    same(process.stderr.read(), b"")
    process.stderr.close()


harness.main()
