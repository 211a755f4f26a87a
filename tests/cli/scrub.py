#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scrub: what it finds in a damaged store, how it heals, and how it goes on after a kill."""

import os
import signal
import subprocess
import time

import harness
from harness import has, noise, same

FILES = ["--store", "s", "--chunker", "fixed:1K"]
KV = ["--blocks", "kv:", "--meta", "rocks:k", "--chunker", "fixed:1K"]


def scrub(case, place, *options, expect=0):
    """(findings, blobs told, figures) of a scrub."""
    rows = case.run("scrub", "--json", *options, *place, expect=expect).objects()
    found = {row["block"]: row for row in rows if "block" in row and "id" not in row}
    named = {(row["id"], row["block"]): row["offset_bytes"] for row in rows if "id" in row}
    figures = [row for row in rows if "complete" in row]
    same(len(figures), 1)
    return found, named, figures[0]


def block_path(case, key, folder=""):
    algorithm, digest, size = key.split(":")
    return case.path(f"s/cas/blocks/{folder}{algorithm}/{digest}-{size}")


def manifest(case, blob, place):
    return [(int(row[0]), row[2]) for row in case.run("manifest", blob, *place).rows()]


def flip(path):
    with open(path, "r+b") as file:
        file.seek(17)
        byte = file.read(1)[0]
        file.seek(17)
        file.write(bytes([byte ^ 4]))


def test_a_well_store(case):
    for place in (FILES, KV):
        case.put(noise(50000), *place)
        found, named, figures = scrub(case, place)
        same((found, named), ({}, {}))
        same((figures["complete"], figures["blocks"], figures["bytes"]), (True, 49, 50000))
        same(figures["total_blocks"], 49)
    case.run("scrub", "--store", "nothing", expect=3)
    rows = dict(case.run("scrub", *FILES).rows())
    same((rows["blocks"], rows["corrupt"], rows["missing"]), ("49", "0", "0"))


def test_damage_is_found_named_and_healed(case):
    data, other = noise(30000, 1), noise(20000, 2)
    blob = case.put(data, *FILES)
    front = case.put(data[:10240], *FILES)
    second = case.put(other, *FILES)
    blocks = manifest(case, blob, FILES)
    flipped, cut, gone = blocks[3][1], blocks[20][1], manifest(case, second, FILES)[5][1]
    flip(block_path(case, flipped))
    os.truncate(block_path(case, cut), 100)
    os.unlink(block_path(case, gone))
    found, named, figures = scrub(case, FILES, expect=4)
    same({key: (row["status"], row["set_aside"]) for key, row in found.items()}, {
        flipped: ("corrupt", True), cut: ("corrupt", True), gone: ("missing", False),
    })  # fmt: skip
    has(found[flipped]["message"], "hash to")
    has(found[cut]["message"], "100 bytes")
    same(named, {
        (blob, flipped): 3072, (front, flipped): 3072, (blob, cut): 20480, (second, gone): 5120,
    })  # fmt: skip
    same((figures["corrupt"], figures["missing"], figures["set_aside"]), (2, 1, 2))
    same(os.path.exists(block_path(case, flipped)), False)
    same(os.path.getsize(block_path(case, cut, ".quarantine/")), 100)
    for damaged, key in ((blob, flipped), (second, gone)):
        has(case.run("get", damaged, *FILES, expect=4).err, key)
        case.run("verify", damaged, *FILES, expect=4)
    case.run("stats", *FILES, expect=4)
    found, named, figures = scrub(case, FILES, expect=4)
    same({row["status"] for row in found.values()}, {"missing"})
    same(set(found), {flipped, cut, gone})
    case.put(data, *FILES)
    case.put(other, *FILES)
    same(case.run("get", blob, *FILES).out, data)
    same(case.run("get", second, *FILES).out, other)
    same(scrub(case, FILES)[0], {})
    freed = case.run("gc", "--json", *FILES).objects()[0]
    same((freed["freed_aside"], freed["freed_aside_bytes"], freed["freed_blocks"]), (2, 1124, 0))
    same(os.path.exists(block_path(case, cut, ".quarantine/")), False)


def test_text(case):
    blob = case.put(noise(5000), *FILES)
    key = manifest(case, blob, FILES)[1][1]
    flip(block_path(case, key))
    result = case.run("scrub", *FILES, expect=4)
    rows = result.rows()
    same(rows[0][:3], ["corrupt", key, "set aside"])
    same(rows[1], ["blob", blob, key, "1024"])
    same(dict(row for row in rows if len(row) == 2)["corrupt"], "1")
    has(result.err, "1 blocks are corrupt")


def test_options(case):
    for rate in ("", "x", "1T", "0", "1KK", "-1", "99999999999999999999"):
        case.run("scrub", "--rate", rate, *FILES, expect=2)
    case.put(noise(3000), *FILES)
    begun = time.monotonic()
    scrub(case, FILES, "--rate", "10K")
    assert time.monotonic() - begun > 0.25
    scrub(case, FILES, "--rate=1G", "--restart")


def owner(lock):
    with open(lock, encoding="utf-8") as file:
        return int((file.read().split() or ["0"])[0])


def stopped_scrub(case, place, stop):
    """What a slow scrub says that gets a signal while it reads."""
    lock = case.path("s/meta/lock" if place is FILES else "k/lock")
    for seconds in (2, 2, 4, 8):
        process = case.start(
            "scrub", "--json", "--rate", "100K", *place,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        harness.wait_until(lambda: owner(lock) == process.pid)
        # All of it is 23 s at this rate, and four runs are 10 s of them.
        time.sleep(3 if stop == signal.SIGKILL else seconds)
        process.send_signal(stop)
        out = process.communicate()[0].decode()
        same(process.returncode, -9 if stop == signal.SIGKILL else 128 + stop)
        if stop == signal.SIGKILL or out:
            break
        # The signal came before it had begun to read: another one.
    return out


def test_goes_on_after_it_was_stopped(case):
    """A signal, and kill -9: each run reads on, and the round ends with every block read once."""
    for place in (FILES, KV):
        blob = case.put(noise(2_400_000), *place)
        key = manifest(case, blob, place)[300][1]
        if place is FILES:
            flip(block_path(case, key))
        reached, told = 0, 0
        for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
            out = stopped_scrub(case, place, stop)
            told += out.count('"corrupt","set_aside":true')
            if stop != signal.SIGKILL:
                figures = harness.json.loads(out.split("\n")[-2])
                same(figures["complete"], False)
                assert figures["blocks"] >= reached, (figures, reached)
                reached = figures["blocks"]
        found, named, figures = scrub(case, place, expect=4 if place is FILES else 0)
        same((figures["complete"], figures["resumed"]), (True, True))
        assert 0 < reached < 2344, reached
        if place is FILES:
            same(named, {(blob, key): 300 * 1024})
            same(told + (found[key]["status"] == "corrupt"), 1)
        else:
            same((found, figures["blocks"]), ({}, 2344))
        same(scrub(case, place, expect=None)[2]["resumed"], False)


if __name__ == "__main__":
    harness.main()
