#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""object on objects under s3:// locators, as other clients see them, and to and from files."""

import os
import re
import shutil
import signal
import subprocess
import sys

import harness
from harness import has, noise, same, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../service"))
import s3  # noqa: E402

DATA = noise(3 << 20)
LARGE = noise(40 << 20, 2)
ENV = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
# Spaces, unicode, what URLs and shells read as something else, and the longest there are.
KEYS = [
    "a b", " ", " a ", "a  b/c", "ü/é.txt", "\U0001f600", "日本/語", "+", "a+b c", "a%2Fb",
    "%", "%%20", "a%20b", "/lead", "//two", "a//b", "a/", "a//", "//", "a&b=c?d#e",
    "a;b:c@d,e$f", "'\"`(){}[]", "<a>&amp;", "*", "~", "\\", "..", "../up", "a/../b", ".",
    "x" * 1024, "é" * 512, "/" * 1024,
]  # fmt: skip
made = 0


def client():
    return s3.Client(
        ENV["AWS_ENDPOINT_URL"], ENV["AWS_ACCESS_KEY_ID"], ENV["AWS_SECRET_ACCESS_KEY"]
    )


def bucket(case, *roots):
    """A bucket of the test's own; the environment leads to it, and to directories."""
    global made
    made += 1
    name = f"cli-{os.getpid()}-{made}"
    client().make_bucket(name)
    case.env.update(ENV)
    for root in roots:
        os.mkdir(case.path(root))
    case.env["GRAVITON_ROOTS"] = ":".join(f"{root}={root}" for root in roots)
    return name


def s3cmd(case, *words, **more):
    host = ENV["AWS_ENDPOINT_URL"].split("://")[1]
    done = subprocess.run(
        ["s3cmd", "--config=/dev/null", "--no-ssl", f"--host={host}", f"--host-bucket={host}",
         f"--access_key={ENV['AWS_ACCESS_KEY_ID']}", f"--secret_key={ENV['AWS_SECRET_ACCESS_KEY']}",
         *words],
        check=True, stdout=subprocess.PIPE, cwd=case.directory, timeout=60, **more
    )  # fmt: skip
    return done.stdout


def locators(result):
    return [row[2] for row in result.rows()]


def shown(result):
    return [entry["locator"] for entry in result.objects()]


def test_round_trip(case):
    name = bucket(case)
    case.write("file", DATA)
    (row,) = case.run("object", "put", f"s3://{name}/dir/o", "file").rows()
    same((row[0], row[2]), (str(len(DATA)), f"s3://{name}/dir/o"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z", row[1]), row
    same(case.run("object", "get", f"s3://{name}/dir/o").out, DATA)
    case.run("object", "put", f"s3://{name}/in", "-", stdin=b"")
    same(case.run("object", "get", f"s3://{name}/in").out, b"")
    for text, wanted in (("0-0", DATA[:1]), ("-3", DATA[-3:]), ("1000000-9999999", DATA[1000000:])):
        same(case.run("object", "get", f"s3://{name}/dir/o", "--range", text).out, wanted)
    case.run("object", "get", f"s3://{name}/dir/o", "--range", f"{len(DATA)}-", expect=2)
    (head,) = case.run("object", "head", "--json", f"s3://{name}/in").objects()
    same(head, case.run("object", "ls", "--json", f"s3://{name}/i").objects()[0])
    same(locators(case.run("object", "ls", f"s3://{name}")), [row[2], f"s3://{name}/in"])
    after = case.run("object", "ls", f"s3://{name}", "--after", "dir/o")
    same(locators(after), [f"s3://{name}/in"])
    same(locators(case.run("object", "ls", f"s3://{name}", "--limit", "1")), [row[2]])


def test_large(case):
    name = bucket(case)
    case.write("file", LARGE)
    for words in (["file"], ["-"]):
        case.run("object", "put", f"s3://{name}/o", *words, stdin=LARGE)
        same(case.run("object", "get", f"s3://{name}/o").out, LARGE)
    case.run("object", "get", f"s3://{name}/o", "--range", "8388607-25165824", "-o", "part")
    same(case.read("part"), LARGE[8388607:25165825])
    case.run("object", "cp", f"s3://{name}/o", f"s3://{name}/p")
    same(client().get(name, "p"), LARGE)
    same(client().uploads(name), [])


def test_odd_keys(case):
    name = bucket(case)
    for key in KEYS:
        result = case.run("object", "put", "--json", f"s3://{name}/{key}", stdin=key.encode())
        same(shown(result), [f"s3://{name}/{key}"])
    wanted = sorted((f"s3://{name}/{key}" for key in KEYS), key=str.encode)
    same(shown(case.run("object", "ls", "--json", f"s3://{name}")), wanted)
    same(sorted(client().list(name)), sorted(KEYS))
    every = [f"s3://{name}/{key}" for key in KEYS]
    same(shown(case.run("object", "head", "--json", *every)), every)
    for key, locator in zip(KEYS, every):
        same(client().get(name, key), key.encode())
        same(case.run("object", "get", locator).out, key.encode())
        case.run("object", "cp", locator, f"s3://{name}/copy")
        client().put(name, "copy", b"theirs " + client().get(name, "copy"))
        case.run("object", "cp", f"s3://{name}/copy", locator)
        same(client().get(name, key), b"theirs " + key.encode())
    case.run("object", "put", every[0], "--if-absent", expect=8)
    case.run("object", "rm", *every, f"s3://{name}/copy")
    same(client().list(name), {})
    case.run("object", "head", *every, expect=3)
    result = case.run("object", "put", f"s3://{name}/".encode() + b"\xff", expect=1)
    has(result.err, "UTF-8")


def test_odd_keys_large(case):
    """Uploads have their own way of naming keys: lists of them, and copies from them."""
    name = bucket(case)
    for key in ("ü +%2F//", "/x y", "é" * 512):
        case.run("object", "put", f"s3://{name}/{key}", stdin=LARGE[: 17 << 20])
        same(client().get(name, key), LARGE[: 17 << 20])
    same(client().uploads(name), [])


def test_seen_by_another_client(case):
    if not shutil.which("s3cmd"):
        raise harness.Skip("no s3cmd")
    name = bucket(case)
    # It trims what stands around a name, and has no words for some.
    keys = [key for key in KEYS if key == key.strip() and key not in (".", "..")]
    for key in keys:
        case.run("object", "put", f"s3://{name}/{key}", stdin=key.encode())
    lines = s3cmd(case, "ls", "--recursive", f"s3://{name}").decode().split("\n")[:-1]
    same(sorted(line.split(f"s3://{name}/", 1)[1] for line in lines), sorted(keys))
    for key in ("a b", "a+b c", "a%2Fb", "ü/é.txt", "a//b", "//two", "x" * 1024):
        same(s3cmd(case, "get", f"s3://{name}/{key}", "-"), key.encode())
        case.write("theirs", b"s3cmd " + key.encode())
        s3cmd(case, "put", "theirs", f"s3://{name}/{key}")
        same(case.run("object", "get", f"s3://{name}/{key}").out, b"s3cmd " + key.encode())
    s3cmd(case, "put", "--multipart-chunk-size-mb=5", case.write("large", LARGE), f"s3://{name}/l")
    same(case.run("object", "get", f"s3://{name}/l").out, LARGE)


def test_missing_and_removed(case):
    name = bucket(case)
    for arguments in (["get"], ["head"], ["rm"], ["cp", f"s3://{name}/y"]):
        words = [arguments[0], f"s3://{name}/x", *arguments[1:]]
        has(case.run("object", *words, expect=3).err, f"no object s3://{name}/x")
    case.run("object", "put", f"s3://{name}/x", stdin=b"1")
    result = case.run("object", "put", f"s3://{name}/x", "--if-absent", stdin=b"2", expect=8)
    has(result.err, "already", f"s3://{name}/x")
    case.run("object", "cp", f"s3://{name}/x", f"s3://{name}/y", "--if-absent")
    case.run("object", "cp", f"s3://{name}/x", f"s3://{name}/y", "--if-absent", expect=8)
    case.run("object", "rm", f"s3://{name}/x")
    same(case.run("object", "get", f"s3://{name}/y").out, b"1")
    # Ceph's uploads would replace an object: refused, and told before anything is sent.
    with open(case.path("sparse"), "wb") as file:
        file.truncate(65 << 20)
    result = case.run("object", "put", f"s3://{name}/new", "sparse", "--if-absent", expect=1)
    has(result.err, "If-None-Match", "64 MiB")
    same(sorted(client().list(name)), ["y"])
    same(client().uploads(name), [])


def test_between_files_and_bucket(case):
    name = bucket(case, "f")
    case.run("object", "put", "fs://f/a", stdin=LARGE)
    (row,) = case.run("object", "cp", "fs://f/a", f"s3://{name}/b").rows()
    same((row[0], row[2]), (str(len(LARGE)), f"s3://{name}/b"))
    case.run("object", "cp", f"s3://{name}/b", "fs://f/c/d")
    same(case.read("f/c+/d"), LARGE)
    other = bucket(case, "g")
    case.run("object", "cp", f"s3://{name}/b", f"s3://{other}/b")
    same(client().get(other, "b"), LARGE)
    case.run("object", "head", f"s3://{name}/b", f"s3://{other}/b")


def test_errors(case):
    name = bucket(case)
    gone = "no-such-bucket-here"
    for words in (["ls", f"s3://{gone}"], ["get", f"s3://{gone}/x"], ["put", f"s3://{gone}/x"]):
        has(case.run("object", *words, expect=3).err, f"no bucket {gone}", ENV["AWS_ENDPOINT_URL"])
    get = ["object", "get", f"s3://{name}/x"]
    result = case.run(*get, env={"AWS_SECRET_ACCESS_KEY": "sesame"}, expect=7)
    has(result.err, "SignatureDoesNotMatch")
    assert "sesame" not in result.err
    has(case.run(*get, env={"AWS_ACCESS_KEY_ID": "nobody"}, expect=7).err, "InvalidAccessKeyId")
    has(case.run(*get, env={"AWS_ACCESS_KEY_ID": ""}, expect=7).err, "AWS_ACCESS_KEY_ID")
    away = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "GRAVITON_S3_TIMEOUT": "1"}
    has(case.run(*get, env=away, expect=5).err, "127.0.0.1:1")
    has(case.run(*get, env={"AWS_ENDPOINT_URL": "ftp://x"}, expect=2).err, "endpoint", "http://")
    has(case.run(*get, env={"GRAVITON_S3_TIMEOUT": "soon"}, expect=2).err, "GRAVITON_S3_TIMEOUT")
    case.run("object", "ls", "s3://", expect=2)


def test_a_put_that_is_stopped(case):
    name = bucket(case)
    case.run("object", "put", f"s3://{name}/o", stdin=b"old")
    for number, left in ((signal.SIGTERM, 0), (signal.SIGKILL, 1)):
        process = case.start("object", "put", f"s3://{name}/o", stdin=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)  # fmt: skip
        process.stdin.write(LARGE)
        process.stdin.flush()
        wait_until(lambda: client().uploads(name) != [])
        process.send_signal(number)
        same(process.wait(), 143 if number == signal.SIGTERM else -signal.SIGKILL)
        process.stdin.close()
        same(case.run("object", "get", f"s3://{name}/o").out, b"old")
        same(len(client().uploads(name)), left)


if "GRAVITON_TEST_S3" not in os.environ:
    print("1..0 # SKIP no S3 service: run this through tests/service/ceph.py")
    sys.exit(0)
harness.main()
