#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""put: ids, names, directories, what it says and how it ends."""

import base64
import hashlib
import os
import pty
import select
import shutil
import signal
import subprocess
import threading
import time

import harness
from harness import EMPTY, has, noise, same

KEYS = [
    "id", "name", "size_bytes", "blocks", "fresh_blocks", "fresh_bytes", "duplicate_bytes",
    "stored_bytes", "already_stored", "seconds",
]  # fmt: skip


def test_ids_are_hashes(case):
    data = noise(300000)
    case.write("f", data)
    case.write("empty", b"")
    case.write("one", b"1")
    rows = case.run("put", "f", "empty", "one").rows()
    same([row[1] for row in rows], ["f", "empty", "one"])
    same(rows[1][0], EMPTY)
    same(rows[2][0].split(":")[2], "1")
    if shutil.which("b3sum"):
        shown = subprocess.run(["b3sum", case.path("f")], capture_output=True, check=True).stdout
        same(rows[0][0], f"blake3:{shown.decode().split()[0]}:{len(data)}")
    with open(case.path("f"), "rb") as file:
        same(case.run("put", "-", stdin_file=file).rows(), [[rows[0][0], "-"]])
    for row, bytes_in in zip(rows, (data, b"", b"1")):
        same(case.run("get", row[0]).out, bytes_in)


def test_sha256(case):
    data = noise(100000)
    case.write("f", data)
    rows = case.run("put", "--hash", "sha256", "f").rows()
    same(rows, [[f"sha256:{hashlib.sha256(data).hexdigest()}:{len(data)}", "f"]])
    same(case.run("put", "f").rows(), rows)
    case.run("put", "--hash", "blake3", "f", expect=8)


def test_json(case):
    data = noise(500000)
    case.write("f", data)
    case.write("g", b"")
    first, empty = case.run("put", "--json", "f", "g").objects()
    assert sorted(first) == sorted(KEYS) == sorted(empty), first
    same(first["name"], "f")
    same(first["size_bytes"], len(data))
    same(first["fresh_blocks"], first["blocks"])
    same(first["fresh_bytes"], len(data))
    same((first["duplicate_bytes"], first["already_stored"]), (0, False))
    assert first["blocks"] > 1 and first["stored_bytes"] > 0 and first["seconds"] > 0, first
    same((empty["id"], empty["blocks"], empty["size_bytes"]), (EMPTY, 0, 0))
    (again,) = case.run("put", "--json", "f").objects()
    same(again["id"], first["id"])
    same((again["fresh_blocks"], again["fresh_bytes"]), (0, 0))
    same((again["duplicate_bytes"], again["already_stored"]), (len(data), True))


def test_names(case):
    names = [b"a\nb", b"a\\b", b"a\rb", b"a\tb", b"-dash", b"\xff\xfe", "ä€😀".encode(), b" sp "]
    for number, name in enumerate(names):
        case.write(name, b"%d" % number)
    out = case.run("put", "--", *names).out.split(b"\n")
    shown = [line.split(b"\t", 1) for line in out[:-1]]
    same([n for _, n in shown][:4], [b"a\\nb", b"a\\\\b", b"a\\rb", b"a\tb"])
    same([n for _, n in shown][4:], names[4:])
    same([i[:1] == b"\\" for i, _ in shown], [True, True, True] + [False] * 5)
    objects = case.run("put", "--json", "--", *names).objects()
    for name, found in zip(names, objects):
        if "name_base64" in found:
            same(base64.b64decode(found["name_base64"]), name)
            same(found["name"], "\ufffd\ufffd")
        else:
            same(found["name"], name.decode())
    same(["name_base64" in found for found in objects], [False] * 5 + [True] + [False] * 2)


def test_failures(case):
    case.write("f", b"f")
    os.mkdir(case.path("d"))
    result = case.run("put", "missing", expect=3)
    has(result.err, "missing", "No such file")
    assert not os.path.exists(case.path("graviton-data")), "a store was made for nothing"
    has(case.run("put", "d", expect=2).err, "directory", "-r")
    result = case.run("put", "d", "f", "missing", expect=1)
    same([row[1] for row in result.rows()], ["f"])
    has(result.err, "d is a directory", "missing")
    same(case.run("put", "--json", "missing", expect=3).error()["status"], "not_found")
    case.run("put", "-", "-", expect=2)
    case.run("put", "--name", "x", "f", "f", expect=2)
    os.symlink("f", case.path("link"))
    same([row[1] for row in case.run("put", "link").rows()], ["link"])


def test_attributes(case):
    blob = case.put(b"data", "--name", "n\nx", "--type", "text/plain")
    shown = case.run("stat", "--json", blob).objects()[0]["attributes"]
    same(shown, {"content-type": "text/plain", "file-name": "n\nx"})
    case.put(b"data")
    same(case.run("stat", "--json", blob).objects()[0]["attributes"], shown)
    case.put(b"data", "--type", "x/y")
    same(case.run("stat", "--json", blob).objects()[0]["attributes"], {"content-type": "x/y"})
    has(case.run("stat", blob).out.decode(), "attribute.content-type\tx/y\n")
    blob = case.put(b"more", "--name", "report.pdf")
    rows = {row[0]: row for row in case.run("ls", "--long").rows()}
    same(rows[blob][5], "report.pdf")
    case.run("put", "-", "--name", "x" * 9000, expect=1)


def test_recursive_order(case):
    files = [b"d/b", b"d/a.txt", b"d/a/x", b"d/a/y/z", b"d/a-b", b"d/a0", b"d/\xff", b"d/n\nl"]
    for file in files:
        case.write(file, file)
    rows = case.run("put", "-r", "d").out.split(b"\n")[:-1]
    names = [row.split(b"\t")[1].replace(b"\\n", b"\n") for row in rows]
    same(names, sorted(files))
    rows = case.run("put", "-r", "d/", "d/b").rows()
    same(len(rows), len(files) + 1)
    same(rows[-1][1], "d/b")


def test_recursive_leaves_out(case):
    case.write("d/f", b"f")
    os.symlink("f", case.path("d/link"))
    os.symlink("nowhere", case.path("d/dangling"))
    os.mkfifo(case.path("d/pipe"))
    store = os.path.join(case.directory, "d", "store")
    for _ in range(2):
        result = case.run("put", "-r", "--store", store, "d")
        same([row[1] for row in result.rows()], ["d/f"])
        has(result.err, "d/link left out: a symbolic link", "d/dangling", "d/pipe", "special")
        has(result.err, "the store itself")
    result = case.run("put", "-r", "--json", "--store", store, "d", "missing", expect=1)
    same(len(result.objects()), 1)
    kinds = [list(harness.json.loads(line)) for line in result.err.strip().split("\n")]
    assert ["warning"] in kinds and ["error"] in kinds, kinds


def test_many_small_files(case):
    count = 300 if harness.BOUNDED else 1500
    for number in range(count):
        case.write(f"d/{number:05}", b"%d" % (number % (count - 10)))
    case.write("d/00100-large", noise(6 << 20))
    rows = case.run("put", "-r", "d").rows()
    names = sorted(os.listdir(os.path.join(case.directory, "d")))
    same([row[1] for row in rows], ["d/" + name for name in names])
    same(len({row[0] for row in rows}), count - 10 + 1)
    same(len(case.run("verify", "--all").rows()), count - 10 + 1)
    for number in (0, 7, count - 1):
        row = next(row for row in rows if row[1] == f"d/{number:05}")
        same(case.run("get", row[0]).out, b"%d" % (number % (count - 10)))


def bytes_read(pid):
    """How many bytes a process has read so far."""
    with open(f"/proc/{pid}/io", encoding="ascii") as figures:
        return int(figures.readline().split()[1])


def has_stopped(pid):
    """True once none of a process's threads runs."""
    states = set()
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/stat", encoding="ascii") as figures:
            states.add(figures.read().rsplit(")", 1)[1].split()[0])
    return states == {"T"}


def stopped_put(case, name, size):
    """A put of a file that was stopped before it had read all of it; None where it was too quick
    for that."""
    process = case.start("put", name, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        harness.wait_until(lambda: bytes_read(process.pid) > size // 8)
        process.send_signal(signal.SIGSTOP)
        harness.wait_until(lambda: has_stopped(process.pid) or process.poll() is not None)
        if process.poll() is None and bytes_read(process.pid) < size:
            return process
    except OSError:  # it is gone
        pass
    process.kill()
    process.communicate()
    return None


def test_file_that_changes(case):
    path = case.write("f", b"")
    os.truncate(path, 512 << 20)
    for _ in range(20):
        process = stopped_put(case, "f", 512 << 20)
        if process:
            break
    assert process, "each put had read all before it was stopped"
    os.utime(path, ns=(10**18, 10**18))
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate()
    same(process.returncode, 1)
    has(err.decode(), "f changed while it was read")
    same(out.count(b"\n"), 1)
    same(case.run("put", "f").err, "")


def test_pipe_as_file(case):
    os.mkfifo(case.path("pipe"))
    data = noise(200000)
    thread = threading.Thread(target=lambda: case.write("pipe", data))
    thread.start()
    (row,) = case.run("put", "pipe").rows()
    thread.join()
    same(case.run("get", row[0]).out, data)


def test_progress(case):
    """On a terminal a single large file shows how much of it was there, while it is read."""
    data = noise(4 << 20)
    case.write("f", data)
    case.run("put", "f")
    master, slave = pty.openpty()
    process = case.start("put", "--name", "g", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=slave)  # fmt: skip
    os.close(slave)
    process.stdin.write(data)
    process.stdin.flush()
    shown = b""
    deadline = time.monotonic() + 60
    while b"dedup 100 %" not in shown and time.monotonic() < deadline:
        if select.select([master], [], [], 1)[0]:
            shown += os.read(master, 65536)
    has(shown.decode(), "MiB", "/s", "dedup 100 %")
    assert b"file" not in shown, shown
    process.communicate()
    os.close(master)
    same(process.returncode, 0)


def test_chunkers(case):
    data = noise(100000)
    blob = case.put(data, "--chunker", "fixed:4K")
    rows = case.run("manifest", blob).rows()
    same([int(row[0]) for row in rows], list(range(0, len(data), 4096)))
    same(sum(int(row[1]) for row in rows), len(data))
    case.run("put", "--chunker", "fixed:8K", "-", stdin=b"x", expect=8)
    case.run("put", "--chunker", "cdc:17K", "-", stdin=b"x", expect=2)
    case.run("put", "--threads", "0", "-", stdin=b"x", expect=2)
    same(case.run("manifest", case.put(b"")).out, b"")


harness.main()
