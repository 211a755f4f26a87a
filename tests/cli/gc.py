#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""gc: what it frees, what it says before, and what kill -9 does to it."""

import os
import signal
import subprocess
import time

import harness
from harness import BOUNDED, has, noise, same

PLACES = {
    "files": ["--store", "s", "--chunker", "fixed:256"],
    "kv": ["--blocks", "kv:", "--meta", "rocks:k", "--chunker", "fixed:256"],
}


def block_files(case, folder="blake3"):
    path = case.path("s/cas/blocks/" + folder)
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def gc(case, place, *options):
    return case.run("gc", "--json", *options, *place).objects()[0]


def stats(case, place):
    return case.run("stats", "--json", *place).objects()[0]


def fill(case, place, count, size, first=0):
    """{id: bytes} of blobs put in one run."""
    names = {}
    for i in range(first, first + count):
        names[f"f{i}"] = noise(size + i, i)
        case.write(f"f{i}", names[f"f{i}"])
    rows = case.run("put", *place, *names).rows()
    return {row[0]: names[row[1]] for row in rows}


def check_blobs(case, place, blobs):
    for blob, data in blobs.items():
        same(case.run("get", blob, *place).out, data)


def test_frees_what_dry_run_told(case):
    for place in PLACES.values():
        blobs = fill(case, place, 20, 5000)
        removed = list(blobs)[::2]
        case.run("rm", *removed, *place)
        before = stats(case, place)
        would = gc(case, place, "--dry-run")
        same(gc(case, place, "-n"), would)
        same(stats(case, place), before)
        did = gc(case, place)
        same(did.pop("dry_run"), False)
        same(would.pop("dry_run"), True)
        same(did, would)
        same(did["freed_blocks"], before["unreferenced_blocks"])
        same(did["freed_bytes"], before["unreferenced_bytes"])
        after = stats(case, place)
        same(before["stored_bytes"] - after["stored_bytes"], did["freed_stored_bytes"])
        same(after["unreferenced_blocks"], 0)
        same(after["blocks"], did["kept_blocks"])
        same(gc(case, place)["freed_blocks"], 0)
        check_blobs(case, place, {k: v for k, v in blobs.items() if k not in removed})
        for blob in removed:
            case.run("get", blob, *place, expect=3)
        check_blobs(case, place, fill(case, place, 3, 5000))  # what was freed comes back


def test_text(case):
    case.put(b"some", "--store", "s")
    rows = case.run("gc", "--store", "s").rows()
    same(rows[0], ["blobs", "1"])
    same(dict(rows)["kept_blocks"], "1")
    case.run("gc", "x", "--store", "s", expect=2)
    case.run("gc", "--store", "nothing", expect=3)
    same(os.path.exists(case.path("nothing")), False)


def test_leftovers(case):
    place = PLACES["files"]
    blob = case.put(b"kept", *place)
    case.write("s/cas/blocks/.tmp/0011223344556677-1", b"left")
    case.write("s/.graviton.json.0011223344556677.tmp", b"over")
    would = gc(case, place, "--dry-run")
    same((would["freed_temporary"], would["freed_temporary_bytes"]), (2, 8))
    same(gc(case, place)["freed_temporary"], 2)
    same(os.listdir(case.path("s/cas/blocks/.tmp")), [])
    same(gc(case, place)["freed_temporary"], 0)
    same(case.run("get", blob, *place).out, b"kept")


def test_a_killed_put_leaves_nothing_behind(case):
    """Blocks, temporary files and manifest pages of a put that was killed go."""
    for place in PLACES.values():
        kept = case.put(b"kept", *place)
        put = case.start("put", "-", *place, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        put.stdin.write(noise(6 << 20))
        put.stdin.flush()
        harness.wait_until(lambda: growing(case, place))
        put.kill()
        put.stdin.close()
        put.wait()
        put.stdout.close()
        would = gc(case, place, "--dry-run")
        did = gc(case, place)
        same({**did, "dry_run": True}, would)
        assert did["freed_blocks"] + did["freed_temporary"] > 0, did
        same((did["kept_blocks"], did["blobs"]), (1, 1))
        same(stats(case, place)["blocks"], 1)
        same(case.run("get", kept, *place).out, b"kept")


def growing(case, place):
    """Something of a running put has come to the disk."""
    folder = case.path("k" if "kv:" in place else "s/cas/blocks")
    size = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.path.getsize(os.path.join(path, name))
            except FileNotFoundError:
                pass
    return size > 1 << 20


def test_killed_in_the_middle(case):
    """kill -9 at moments all over a gc: nothing named is lost, and the next one completes."""
    kills = 4 if BOUNDED else 10
    for place in PLACES.values():
        kept = fill(case, place, 10, 20000)
        gone = fill(case, place, 40, 30000, first=10)
        case.run("rm", *gone, *place)
        before = stats(case, place)
        unreferenced, killed = before["unreferenced_blocks"], 0
        delay = 0.01
        while killed < kills:
            process = case.start("gc", *place, stdout=subprocess.DEVNULL)
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            if process.wait() == 0:
                gone = fill(case, place, 40, 30000, first=10)
                case.run("rm", *gone, *place)
                delay /= 2
                continue
            killed += 1
            delay *= 1.2
            now = stats(case, place)
            same((now["missing_blocks"], now["blobs"]), (0, 10))
            assert now["unreferenced_blocks"] <= unreferenced, (now, before)
        left = stats(case, place)["unreferenced_blocks"]
        would = gc(case, place, "--dry-run")
        did = gc(case, place)
        same({**did, "dry_run": True}, would)
        same(did["freed_blocks"], left)
        same(stats(case, place)["unreferenced_blocks"], 0)
        case.run("verify", "--all", *place)
        check_blobs(case, place, kept)


def test_refuses_a_store_in_use(case):
    place = PLACES["files"]
    case.put(b"first", *place)
    put = case.start("put", "-", *place, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    put.stdin.write(b"x")
    put.stdin.flush()
    lock = case.path("s/meta/lock")
    harness.wait_until(lambda: str(put.pid) in open(lock, encoding="utf-8").read())
    for options in ([], ["--dry-run"]):
        has(case.run("gc", *options, *place, expect=5).err, str(put.pid))
    put.communicate()
    same(put.returncode, 0)
    same(gc(case, place)["kept_blocks"], 2)


if __name__ == "__main__":
    harness.main()
