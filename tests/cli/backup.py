#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""backup: the copy is a store, whatever happens to the original; one cut short is none."""

import os
import random
import shutil
import subprocess
import time

import harness
from harness import BOUNDED, has, noise, same

KV = ["--blocks", "kv:", "--meta", "rocks:k"]
SMALL = ["--chunker", "fixed:256"]


def fill(case, place, count=6, size=20000):
    """{id: bytes} of blobs put in one run; every second begins as the one before."""
    names = {}
    for i in range(count):
        data = noise(size, i)
        names[f"f{i}"] = noise(size, i - 1)[: size // 2] + data if i % 2 else data
        case.write(f"f{i}", names[f"f{i}"])
    names["empty"] = b""
    case.write("empty", b"")
    rows = case.run("put", *place, *names).rows()
    return {row[0]: names[row[1]] for row in rows}


def check(case, place, blobs):
    """The store at `place` holds exactly these blobs, and all of it is good."""
    same(sorted(row[0] for row in case.run("ls", *place).rows()), sorted(blobs))
    case.run("verify", "--all", *place)
    for blob, data in blobs.items():
        same(case.run("get", blob, *place).out, data)


def backup(case, place, directory, *options):
    return case.run("backup", "--json", *options, *place, directory).objects()[0]


def block_paths(case, root):
    found = []
    for folder, _, names in os.walk(case.path(root + "/cas")):
        found += [os.path.join(folder, name) for name in names]
    return found


def test_copy_is_a_store(case):
    place = ["--store", "s", *SMALL]
    blobs = fill(case, place)
    stats = case.run("stats", "--json", *place).objects()[0]
    report = backup(case, place, "new/deep/copy")
    same(report["linked_blocks"] + report["copied_blocks"], stats["blocks"])
    same(report["linked_bytes"] + report["copied_bytes"], stats["unique_bytes"])
    same(report["corrupt_blocks"], 0)
    same(report["directory"], "new/deep/copy")
    copy = ["--store", "new/deep/copy"]
    same(case.run("stats", "--json", *copy).objects()[0], stats)
    # The original goes; the copy is used on.
    shutil.rmtree(case.path("s"))
    check(case, copy, blobs)
    blobs[case.put(b"more", *copy)] = b"more"
    removed = next(iter(blobs))
    del blobs[removed]
    case.run("rm", removed, *copy)
    case.run("gc", *copy)
    check(case, copy, blobs)
    # And backed up itself.
    backup(case, copy, "again")
    check(case, ["--store", "again"], blobs)


def test_text_and_names(case):
    case.put(b"bytes", "--store", "s")
    rows = case.run("backup", "--store", "s", "copy").rows()
    same([row[0] for row in rows][:2], ["linked_blocks", "linked_bytes"])
    same(int(rows[0][1]) + int(rows[2][1]), 1)
    report = backup(case, ["--store", "s"], b"\xff name\n")
    has(report["directory"], "name")
    assert "directory_base64" in report, report


def test_links_share_and_copies_do_not(case):
    place = ["--store", "s", *SMALL]
    blobs = fill(case, place)
    linked = backup(case, place, "linked")
    copied = backup(case, place, "copied", "--copy")
    assert linked["linked_blocks"] > 0 and linked["copied_blocks"] == 0, linked
    same(copied["linked_blocks"], 0)
    same(copied["copied_blocks"], linked["linked_blocks"])
    for folder, _, names in os.walk(case.path("copied")):
        for name in names:
            same(os.stat(os.path.join(folder, name)).st_nlink, 1)
    # Every byte of the original is overwritten in place, its metadata too.
    for folder, _, names in os.walk(case.path("s")):
        for name in names:
            with open(os.path.join(folder, name), "r+b") as file:
                file.write(bytes(os.fstat(file.fileno()).st_size))
    check(case, ["--store", "copied"], blobs)
    same(case.run("verify", "--all", "--store", "linked", expect=None).code, 4)


def test_blocks_in_rocksdb(case):
    blobs = fill(case, KV)
    report = backup(case, KV, "copy")
    same(report["linked_blocks"] + report["copied_blocks"], 0)
    assert report["meta_bytes"] > 60000, report
    shutil.rmtree(case.path("k"))
    check(case, ["--blocks", "kv:", "--meta", "rocks:copy/meta"], blobs)
    # Its blocks are not beside it: as a store of files it is incomplete.
    case.run("ls", "--store", "copy", expect=8)


def test_halves_apart_and_another_prefix(case):
    place = ["--blocks", "fs:b?prefix=x/y", "--meta", "rocks:m"]
    blobs = fill(case, place)
    backup(case, place, "copy")
    check(case, ["--store", "copy"], blobs)
    # The halves are of one store, and so go with those of the original.
    check(case, ["--blocks", "fs:b?prefix=x/y", "--meta", "rocks:copy/meta"], blobs)


def test_recovery(case):
    """What docs/operations.md tells to do after each loss."""
    place = ["--store", "s", *SMALL]
    blobs = fill(case, place)
    backup(case, place, "copy", "--copy")
    new = case.put(b"since the backup", *place)
    # The superblock.
    os.unlink(case.path("s/graviton.json"))
    has(case.run("ls", *place, expect=8).err, "graviton.json")
    shutil.copy(case.path("copy/graviton.json"), case.path("s/graviton.json"))
    check(case, place, {**blobs, new: b"since the backup"})
    # The metadata.
    shutil.rmtree(case.path("s/meta"))
    has(case.run("ls", *place, expect=8).err, "metadata")
    shutil.copytree(case.path("copy/meta"), case.path("s/meta"))
    check(case, place, blobs)
    same(case.put(b"since the backup", *place), new)
    # A block: put again, or taken from the backup.
    path = sorted(block_paths(case, "s"))[0]
    os.unlink(path)
    case.run("verify", "--all", *place, expect=4)
    shutil.copy(path.replace(b"/s/", b"/copy/"), path)
    check(case, place, {**blobs, new: b"since the backup"})
    # All the blocks.
    shutil.rmtree(case.path("s/cas"))
    has(case.run("verify", "--all", *place, expect=8).err, "blocks in s are missing")
    shutil.copytree(case.path("copy/cas"), case.path("s/cas"))
    case.run("verify", "--all", *place, expect=4)
    case.run("verify", *blobs, *place)
    same(case.put(b"since the backup", *place), new)
    check(case, place, {**blobs, new: b"since the backup"})


def test_refusals(case):
    case.put(b"bytes", "--store", "s")
    case.write("full/file", b"x")
    result = case.run("backup", "--store", "s", "full", expect=8)
    has(result.err, "not empty", '"file"')
    same(os.listdir(case.path("full")), [b"file"])
    os.mkdir(case.path("empty"))
    backup(case, ["--store", "s"], "empty")
    case.run("backup", "--store", "s", "empty", expect=8)
    case.run("backup", "--store", "s", "full/file", expect=2)
    case.run("backup", "--store", "s", "s", expect=8)
    case.run("backup", "--store", "nothing", "copy", expect=3)
    assert not os.path.exists(case.path("copy"))
    case.run("backup", "--store", "memory:", "copy", expect=3)
    case.run("backup", "--store", "s", expect=2)


def test_wrong_blocks_are_left_out_of_a_copy(case):
    place = ["--store", "s", *SMALL]
    blobs = fill(case, place)
    paths = sorted(block_paths(case, "s"))
    with open(paths[0], "r+b") as file:
        file.write(b"\0\0\0\0\0\0\0\0")
    os.truncate(paths[1], 3)
    result = case.run("backup", "--json", "--copy", *place, "copy", expect=4)
    report = result.objects()[0]
    # One whose file is too short counts as not there, and is not listed.
    assert 1 <= report["corrupt_blocks"] <= 2, report
    same(result.error()["status"], "corrupt")
    code = case.run("verify", "--all", "--store", "copy", expect=None).code
    same(code, 4)
    same(len(case.run("ls", "--store", "copy").rows()), len(blobs))
    # Putting the same bytes again mends it.
    names = [f"f{i}" for i in range(6)]
    case.run("put", "--store", "copy", *names)
    check(case, ["--store", "copy"], blobs)


def killed_backup(case, place, opened, blobs, directory, delay, *options):
    """Kills a backup; what is there is no store, or the backup had ended."""
    process = case.start("backup", *options, *place, directory, stdout=subprocess.DEVNULL)
    time.sleep(delay)
    process.kill()
    ended = process.wait() == 0
    result = case.run("ls", *opened, expect=None)
    if ended or result.code == 0:
        check(case, opened, blobs)
        return ended
    assert result.code in (3, 8), f"{result}"
    # Nor is one made of it.
    put = case.run("put", "f0", *opened, expect=None)
    assert put.code in (0, 8), f"{put}"
    if put.code == 0:
        same(len(case.run("ls", *opened).rows()), 1)
    return ended


def test_killed(case):
    """Where nothing or hardly anything was made yet a put makes a new store: of one blob."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"# seed {seed}")
    chance = random.Random(seed)
    cases = [(["--store", "s", *SMALL], lambda name: ["--store", name])]
    cases.append((KV, lambda name: ["--blocks", "kv:", "--meta", f"rocks:{name}/meta"]))
    for place, opened in cases:
        blobs = fill(case, place, 8, 100000)
        for options in ([], ["--copy"]):
            begun = time.monotonic()
            case.run("backup", *options, *place, f"whole{place[1]}{len(options)}")
            span = time.monotonic() - begun
            ends = 0
            for number in range(3 if BOUNDED else 8):
                name = f"copy{place[1]}{len(options)}{number}"
                delay = chance.uniform(0, span)
                ends += killed_backup(case, place, opened(name), blobs, name, delay, *options)
            print(f"# {ends} of the backups had ended")
        check(case, place, blobs)


if __name__ == "__main__":
    harness.main()
