#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""get, and the commands that show blobs: ids and prefixes, ranges, targets, damage."""

import hashlib
import os
import stat
import subprocess
import threading

import harness
from harness import has, noise, same

DATA = noise(700000)
UNKNOWN = "blake3:" + "0" * 64 + ":5"


def temporaries(case):
    return [name for name in os.listdir(case.directory) if name.startswith(".graviton-")]


def block_file(case, key):
    name, digest, size = key.split(":")
    return case.path(f"graviton-data/cas/blocks/{name}/{digest}-{size}")


def test_ids(case):
    blob = case.put(DATA)
    name, digest, size = blob.split(":")
    texts = [blob, blob.upper(), digest, digest[:8], digest[:9].upper(), f"{name}:{digest[:12]}"]
    for text in texts:
        same(case.run("stat", text).rows()[0][1], blob)
    for text in (digest[:7], "xyz", "", "blake3:", "md5:" + digest, digest + "0", blob + "0x",
                 f"{name}:{digest}:0{size}", f"{name}:{digest}:-1", "g" * 64):  # fmt: skip
        result = case.run("get", "--json", text, expect=2)
        same((result.out, result.error()["status"]), (b"", "invalid_argument"))
    other = "0" if digest[0] != "0" else "1"
    has(case.run("get", other * 8, expect=3).err, "begins with " + other * 8)
    case.run("get", f"sha256:{digest[:8]}", expect=3)
    for command in ("get", "stat", "manifest", "rm", "verify"):
        result = case.run(command, UNKNOWN, expect=3)
        same(result.out, b"")
        has(result.err, UNKNOWN)


def test_ambiguous_prefix(case):
    seen = {}
    for number in range(1 << 20):
        text = b"%d" % number
        digest = hashlib.sha256(text).hexdigest()
        if digest[:8] in seen:
            break
        seen[digest[:8]] = text
    pair = [seen[digest[:8]], text]
    ids = [case.put(data, "--hash", "sha256") for data in pair]
    result = case.run("get", digest[:8], expect=2)
    has(result.err, "ambiguous", *ids)
    same(result.out, b"")
    for blob, data in zip(ids, pair):
        same(case.run("get", blob.split(":")[1][:20]).out, data)
    case.run("rm", ids[0])
    same(case.run("get", digest[:8]).out, pair[1])


def test_ranges(case):
    blob = case.put(DATA)
    size = len(DATA)
    for text, first, end in (
        ("0-0", 0, 1), ("0-99", 0, 100), ("5-", 5, size), ("-7", size - 7, size),
        ("100000-299999", 100000, 300000), (f"{size - 1}-", size - 1, size),
        (f"10-{size * 2}", 10, size), (f"-{size * 3}", 0, size),
    ):  # fmt: skip
        same(case.run("get", blob, "--range", text).out, DATA[first:end])
    for text in (f"{size}-", f"{size}-{size + 5}", "5-4", "-0", "x", "1", "-", "1-2-3", "1-2,4-5"):
        result = case.run("get", "--range", text, blob, expect=2)
        same(result.out, b"")
        has(result.err, "--range")
    case.run("get", "--range", "0-0", case.put(b""), expect=2)
    case.run("get", "--range", "9-", UNKNOWN, expect=3)


def test_output_file(case):
    blob = case.put(DATA)
    os.umask(0o027)
    case.run("get", blob, "-o", "new")
    os.umask(0o022)
    same(case.read("new"), DATA)
    same(stat.S_IMODE(os.stat(case.path("new")).st_mode), 0o640)
    case.write("old", b"before")
    os.symlink("old", case.path("link"))
    case.run("get", blob, "--range=1-3", "--output=link")
    same(case.read("old"), DATA[1:4])
    assert os.path.islink(case.path("link")), "the link was replaced"
    os.symlink("nowhere", case.path("dangling"))
    case.run("get", blob, "-odangling", expect=3)
    os.mkdir(case.path("d"))
    has(case.run("get", blob, "-o", "d", expect=2).err, "directory")
    case.run("get", blob, "-o", "d/", expect=2)
    case.run("get", blob, "-o", "missing/f", expect=3)
    case.run("get", UNKNOWN, "-o", "none", expect=3)
    assert not os.path.exists(case.path("none")), "a file for an unknown blob"
    same(case.run("get", blob, "-o", "-").out, DATA)
    case.run("get", case.put(b""), "-o", "empty")
    same(case.read("empty"), b"")
    same(temporaries(case), [])


def test_output_special(case):
    blob = case.put(DATA)
    case.run("get", blob, "-o", "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode), "/dev/null was replaced"
    case.run("get", blob, "-o", "/dev/full", expect=6)
    os.mkfifo(case.path("pipe"))
    got = []
    thread = threading.Thread(target=lambda: got.append(case.read("pipe")))
    thread.start()
    case.run("get", blob, "-o", "pipe")
    thread.join()
    same(got, [DATA])


def damage(case, blob, how):
    rows = case.run("manifest", blob).rows()
    row = rows[len(rows) // 2]
    path = block_file(case, row[2])
    with open(path, "rb") as file:
        before = file.read()
    if how == "flip":
        os.chmod(path, 0o644)
        with open(path, "r+b") as file:
            file.seek(len(before) // 2)
            file.write(bytes([before[len(before) // 2] ^ 1]))
    elif how == "truncate":
        os.chmod(path, 0o644)
        os.truncate(path, len(before) - 1)
    else:
        os.unlink(path)
    return row, path, before


def test_damage(case):
    good = case.put(b"good")
    blob = case.put(DATA)
    case.write("old", b"before")
    for how in ("flip", "truncate", "delete"):
        row, path, before = damage(case, blob, how)
        digest = row[2].split(":")[1]
        for options in ([], ["-o", "old"], ["-o", "new"]):
            result = case.run("get", blob, *options, expect=4)
            has(result.err, blob, digest)
            assert DATA.startswith(result.out) and len(result.out) < len(DATA), "wrong bytes out"
        same(case.read("old"), b"before")
        assert not os.path.exists(case.path("new")), "a file that looks whole"
        same(temporaries(case), [])
        result = case.run("verify", "--all", expect=4)
        found = {r[0]: r[1:] for r in result.rows()}
        same(found[good], ["ok"])
        same(found[blob][:3], ["corrupt", row[2], row[0]])
        result = case.run("verify", "--json", blob, expect=4)
        (shown,) = result.objects()
        same((shown["id"], shown["status"]), (blob, "corrupt"))
        (bad,) = shown["bad_blocks"]
        same((bad["block"], bad["offset_bytes"]), (row[2], int(row[0])))
        same(result.error()["status"], "corrupt")
        end = int(row[0])
        same(case.run("get", blob, "--range", f"0-{end - 1}").out, DATA[:end])
        os.path.exists(path) and os.unlink(path)
        with open(path, "wb") as file:
            file.write(before)
        case.run("verify", blob)


def test_two_bad_blocks(case):
    blob = case.put(DATA)
    rows = case.run("manifest", blob).rows()
    for row in (rows[0], rows[-1]):
        os.unlink(block_file(case, row[2]))
    result = case.run("verify", blob, expect=4)
    same([r[1:4] for r in result.rows()], [["corrupt", r[2], r[0]] for r in (rows[0], rows[-1])])
    result = case.run("stats", expect=4)
    has(result.out.decode(), "missing_blocks\t2\n")
    same(case.run("put", "--json", "-", stdin=DATA).objects()[0]["id"], blob)


def test_show(case):
    ids = [case.put(data) for data in (b"", b"1", DATA)]
    rows = case.run("ls").rows()
    same([row[0] for row in rows], sorted(ids))
    same({row[0]: int(row[1]) for row in rows}, dict(zip(ids, (0, 1, len(DATA)))))
    newest = [row[0] for row in case.run("ls", "--newest").rows()]
    same(newest, ids[::-1])
    same([o["id"] for o in case.run("ls", "--newest", "--limit", "2", "--json").objects()],
         ids[:0:-1])  # fmt: skip
    same(case.run("ls", "--limit", "0").out, b"")
    case.run("ls", "--limit", "x", expect=2)
    shown = case.run("stat", "--json", ids[2]).objects()[0]
    blocks = case.run("manifest", ids[2]).rows()
    same((shown["size_bytes"], shown["blocks"]), (len(DATA), len(blocks)))
    same((shown["chunker"], shown["block_hash"]), ("cdc:64K", "blake3"))
    has(shown["created"], "T", "Z")
    listed = case.run("manifest", "--json", ids[2]).objects()
    same([[str(o["offset_bytes"]), str(o["size_bytes"]), o["block"]] for o in listed], blocks)
    same([row[0] for row in case.run("stat", *ids).rows()].count("id"), 3)


def test_rm_and_stats(case):
    ids = [case.put(data) for data in (DATA, DATA + b"tail", b"1")]
    stats = case.run("stats", "--json").objects()[0]
    same((stats["blobs"], stats["logical_bytes"]), (3, 2 * len(DATA) + 5))
    assert 0 < stats["unique_bytes"] < stats["logical_bytes"], stats
    assert abs(stats["dedup_ratio"] - stats["logical_bytes"] / stats["unique_bytes"]) < 1e-6
    same((stats["unreferenced_blocks"], stats["missing_blocks"]), (0, 0))
    same(case.run("rm", ids[0], ids[1]).out, b"")
    case.run("get", ids[0], expect=3)
    has(case.run("rm", ids[0], ids[2], expect=1).err, ids[0])
    case.run("rm", ids[2], expect=3)
    text = dict(case.run("stats").rows())
    same((text["blobs"], text["logical_bytes"], text["dedup_ratio"]), ("0", "0", "0.0000"))
    same(text["unreferenced_bytes"], text["unique_bytes"])
    same(case.run("verify", "--all").out, b"")


def test_full_and_broken_stdout(case):
    blob = case.put(noise(3 << 20))
    for arguments in (["get", blob], ["ls"], ["stat", blob], ["--help"], ["stats", "--json"]):
        with open("/dev/full", "wb") as full:
            has(case.run(*arguments, expect=6, stdout=full).err, "standard output", "No space")
    process = case.start("get", blob, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(10)
    process.stdout.close()
    same(process.wait(), 141)
    same(process.stderr.read(), b"")
    process.stderr.close()


harness.main()
