#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cp: blobs go from store to store as they are; what is cut short is taken up by another run."""

import os
import pty
import random
import shutil
import signal
import subprocess
import time

import harness
from harness import BOUNDED, EMPTY, has, in_namespace, noise, same, wait_until

SMALL = ["--chunker", "fixed:1000"]
KV = ["--blocks", "kv:", "--meta", "rocks:k"]
TO_KV = ["--to-blocks", "kv:", "--to-meta", "rocks:k"]


def fill(case, place, count=20, size=5000, seed=0):
    """{id: bytes} of blobs put in one run; each has its name as an attribute."""
    contents = {}
    for i in range(count):
        contents[f"f{seed + i}"] = noise(size * (i + 1) // 2, seed + i)
    contents["empty"] = b""
    for name, data in contents.items():
        case.write(name, data)
    rows = case.run("put", "--type", "text/x-test", *place, *contents).rows()
    return {row[0]: contents[row[1]] for row in rows}


def check(case, place, blobs):
    """The store at `place` holds exactly these blobs, and all of it is good."""
    same(sorted(row[0] for row in case.run("ls", *place).rows()), sorted(blobs))
    case.run("verify", "--all", *place)
    for blob, data in blobs.items():
        same(case.run("get", blob, *place).out, data)


def outcomes(result):
    found = {}
    for row in result.rows():
        found.setdefault(row[1], []).append(row[0])
    return found


def manifest(case, place, blob):
    return case.run("manifest", blob, *place).out


def test_all_moves(case):
    """Between kinds of stores, and back, with attributes; the second time nothing is copied."""
    blobs = fill(case, ["--store", "s", *SMALL])
    result = case.run("cp", "--from", "s", *TO_KV, "--all")
    same(result.rows(), [[blob, "copied"] for blob in sorted(blobs)])
    has(result.err, f"{len(blobs)} blobs copied", "0 were there", "0 failed")
    check(case, KV, blobs)
    back = ["--from-blocks", "kv:", "--from-meta", "rocks:k", "--to", "back"]
    same(outcomes(case.run("cp", *back, "--all")), {"copied": sorted(blobs)})
    check(case, ["--store", "back"], blobs)
    for blob in blobs:
        for place in (KV, ["--store", "back"]):
            has(case.run("stat", blob, *place).out.decode(), "attribute.content-type\ttext/x-test")
            same(manifest(case, place, blob), manifest(case, ["--store", "s"], blob))
    assert case.run("stats", "--json", *KV).objects()[0]["chunker"] == "fixed:1000"
    # Some more, and only those go.
    more = fill(case, ["--store", "s"], 5, 300, 100)
    del more[EMPTY]
    found = outcomes(case.run("cp", "--store", "s", *TO_KV, "-a"))
    same(found, {"copied": sorted(more), "present": sorted(blobs)})
    check(case, KV, {**blobs, **more})


def test_chunkers_may_differ(case):
    blobs = fill(case, ["--store", "s", *SMALL])
    case.run("cp", "--from", "s", "--to", "t", "--chunker", "fixed:700", "--all")
    check(case, ["--store", "t"], blobs)
    same(case.run("stats", "--json", "--store", "t").objects()[0]["chunker"], "fixed:700")
    # The option is about the target: it has another one now.
    result = case.run("cp", "--from", "s", "--to", "t", *SMALL, "--all", expect=8)
    has(result.err, "target: ", "fixed:700")
    case.run("cp", "--from", "s", "--to", "t", "--all")


def test_json(case):
    blobs = fill(case, ["--store", "s", *SMALL], 3)
    for number, status in enumerate(("copied", "present")):
        *rows, summary = case.run("cp", "--json", "--from", "s", "--to", "t", "--all").objects()
        same([row["id"] for row in rows], sorted(blobs))
        for row in rows:
            same((row["status"], row["size_bytes"]), (status, len(blobs[row["id"]])))
            if number == 0:
                same(row["blocks"], (row["size_bytes"] + 999) // 1000)
                same(row["fresh_bytes"] + row["duplicate_bytes"], row["size_bytes"])
        same(summary[status], len(blobs))
        same(summary["copied_bytes"], 0 if number else sum(map(len, blobs.values())))
        same((summary["failed"], summary["absent"], summary["dry_run"]), (0, 0, False))


def test_ids(case):
    blobs = fill(case, ["--store", "s"], 6)
    ids = sorted(blobs)
    words = [ids[0], ids[1].split(":")[1][:9], "blake3:" + ids[2].split(":")[1][:20], ids[0]]
    found = outcomes(case.run("cp", "--from", "s", "--to", "t", *words))
    same(set(found["copied"] + found.get("present", [])), set(ids[:3]))
    same(sum(map(len, found.values())), 4)
    check(case, ["--store", "t"], {blob: blobs[blob] for blob in ids[:3]})
    # From the store that other commands work on.
    same(case.run("cp", "--to", "u", ids[4], env={"GRAVITON_STORE": "s"}).rows(),
         [[ids[4], "copied"]])  # fmt: skip
    # What is missing is told; the others go.
    unknown = "blake3:" + "0" * 64 + ":5"
    result = case.run("cp", "--from", "s", "--to", "t", unknown, ids[0], ids[5], "0" * 9, expect=1)
    same(result.rows(), [[ids[0], "present"], [ids[5], "copied"]])
    has(result.err, unknown, "0" * 9, "2 failed")
    # And no store is made for nothing.
    case.run("cp", "--from", "s", "--to", "new", unknown, expect=3)
    case.run("cp", "--from", "s", "--to", "new", "bad id", expect=2)
    assert not os.path.exists(case.path("new"))


def test_attributes_at_the_target_stay(case):
    data = noise(3000)
    blob = case.put(data, "--store", "s", "--name", "theirs")
    case.put(data, "--store", "t", "--name", "ours")
    same(case.run("cp", "--from", "s", "--to", "t", "--all").rows(), [[blob, "present"]])
    has(case.run("stat", blob, "--store", "t").out.decode(), "file-name\tours")


def test_dry_run(case):
    blobs = fill(case, ["--store", "s"], 4)
    ids = sorted(blobs)
    words = ["cp", "--from", "s", "--to", "t", "--dry-run"]
    result = case.run(*words, "--all")
    same(outcomes(result), {"absent": ids})
    has(result.err, "5 blobs would be copied")
    same(outcomes(case.run(*words, *ids[:2])), {"absent": ids[:2]})
    assert not os.path.exists(case.path("t"))
    case.run("cp", "--from", "s", "--to", "t", ids[0])
    same(outcomes(case.run(*words, "--all")), {"absent": ids[1:], "present": ids[:1]})
    same(outcomes(case.run(*words, *ids)), {"absent": ids[1:], "present": ids[:1]})
    check(case, ["--store", "t"], {ids[0]: blobs[ids[0]]})
    case.run(*words, "--hash", "sha256", "--all", expect=8)


def test_refusals(case):
    blob = case.put(b"bytes", "--store", "s")
    case.put(b"other", "--store", "other", "--hash", "sha256")
    os.symlink("s", case.path("link"))
    for words, code, hint in (
        (["--from", "s"], 2, "--to STORE"),
        (["--from", "s", "--store", "s", "--to", "t"], 2, "named twice"),
        (["--from", "s", "--to", "t", "--to-meta", "rocks:t"], 2, "--to names a whole store"),
        (["--from-blocks", "fs:s", "--to", "t"], 2, "--from-blocks needs --from-meta"),
        (["--from", "s", "--to-blocks", "file:x", "--to-meta", "rocks:t"], 2, "target: "),
        (["--from", "s", "--to", "s"], 8, "same store"),
        (["--from", "s", "--to", "./link/"], 8, "same store"),
        (["--from", "s", "--to-blocks", "fs:s", "--to-meta", "rocks:s/meta"], 8, "same store"),
        (["--from", "s", "--to", "other"], 8, "sha256"),
        (["--from", "s", "--to", "t", "--hash", "sha256"], 8, "sha256"),
        (["--from", "nothing", "--to", "t"], 3, "source: "),
        (["--from", "memory:", "--to", "t"], 3, "source: "),
    ):
        for operands in (["--all"], [blob]):
            result = case.run("cp", *words, *operands, expect=code)
            has(result.err, hint)
            same(result.out, b"")
            error = case.run("cp", "--json", *words, *operands, expect=code).error()
            has(error["message"], hint)
    case.run("backup", "--store", "s", "copy")
    has(case.run("cp", "--from", "copy", "--to", "s", "--all", expect=8).err, "backup")
    assert not os.path.exists(case.path("t"))
    # In memory it is gone at once, but was read in full.
    same(case.run("cp", "--from", "s", "--to", "memory:", "--all").rows(), [[blob, "copied"]])


def test_empty_store(case):
    blob = case.put(b"bytes", "--store", "s")
    case.run("rm", blob, "--store", "s")
    result = case.run("cp", "--from", "s", "--to", "t", "--all")
    same(result.out, b"")
    has(result.err, "0 blobs copied")
    same(case.run("ls", "--store", "t").out, b"")


def test_in_use(case):
    blob = case.put(b"bytes", "--store", "s")
    case.put(b"other", "--store", "t")
    for name, where in (("s", "source: "), ("t", "target: ")):
        holder = case.start("put", "-", "--store", name, stdin=subprocess.PIPE,
                            stdout=subprocess.DEVNULL)  # fmt: skip
        lock = case.path(f"{name}/meta/lock")
        wait_until(lambda: str(holder.pid).encode() in case.read(lock))
        has(case.run("cp", "--from", "s", "--to", "t", blob, expect=5).err, where)
        holder.communicate(b"", timeout=60)
    case.run("cp", "--from", "s", "--to", "t", blob)


def block_path(case, place, blob, index=0):
    key = case.run("manifest", blob, *place).rows()[index][2]
    name = key.split(":")
    return case.path(f"{place[1]}/cas/blocks/{name[0]}/{name[1]}-{name[2]}")


def test_damaged_source(case):
    place = ["--store", "s", *SMALL]
    blobs = fill(case, place)
    ids = sorted(blob for blob in blobs if blobs[blob])
    bad, lost = ids[3], ids[9]
    with open(block_path(case, place, bad, 2), "r+b") as file:
        file.write(b"\0\0\0\0\0\0\0\0")
    os.unlink(block_path(case, place, lost, 1))
    good = {blob: data for blob, data in blobs.items() if blob not in (bad, lost)}
    for number in range(2):
        result = case.run("cp", "--from", "s", "--to", "t", "--all", expect=1)
        same(outcomes(result), {"present" if number else "copied": sorted(good)})
        has(result.err, bad, lost, "2 failed")
        check(case, ["--store", "t"], good)
    has(case.run("cp", "--from", "s", "--to", "t", bad, expect=4).err, bad)
    objects = case.run("cp", "--json", "--from", "s", "--to", "t", bad, lost, ids[0], expect=1)
    same([row["id"] for row in objects.objects()[:-1]], [ids[0]])
    same(objects.objects()[-1]["failed"], 2)
    # Once the source is well the rest follows.
    case.run("scrub", *place, expect=4)
    for blob in (bad, lost):
        same(case.put(blobs[blob], *place), blob)
    same(outcomes(case.run("cp", "--from", "s", "--to", "t", "--all"))["copied"],
         sorted((bad, lost)))  # fmt: skip
    check(case, ["--store", "t"], blobs)


def killed_copy(case, words, copies, delay):
    """Kills a copy a while after it acknowledged so many blobs; returns all that it acknowledged,
    and whether it had ended."""
    process = case.start("cp", *words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    copied = []
    for line in process.stdout:
        blob, outcome = line.decode().rstrip("\n").split("\t")
        if outcome == "copied":
            copied.append(blob)
        if len(copied) == copies:
            time.sleep(delay)
            process.kill()
    code = process.wait()
    process.stdout.close()
    assert code in (0, -signal.SIGKILL), code
    return set(copied), code == 0


def test_killed_and_resumed(case):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"# seed {seed}")
    chance = random.Random(seed)
    blobs = fill(case, ["--store", "s"], 250, 2000)
    for i in range(2):
        data = noise(6000000, 1000 + i)
        blobs[case.put(data, "--store", "s")] = data
    targets = [(["--to", "t"], ["--store", "t"]), (TO_KV, KV)]
    for to, place in targets[: 1 if BOUNDED else 2]:
        words = ["--from", "s", *to, "--all"]
        acknowledged = set()
        kills = 0
        for _ in range(5):
            more, ended = killed_copy(case, words, chance.randrange(1, 9), chance.uniform(0, 0.003))
            kills += not ended
            assert not more & acknowledged, "what is there was copied again"
            acknowledged |= more
            there = {row[0] for row in case.run("ls", *place).rows()}
            assert acknowledged <= there <= set(blobs), "acknowledged and gone"
        print(f"# {kills} killed, {len(acknowledged)} of {len(blobs)} acknowledged")
        found = outcomes(case.run("cp", *words))
        assert not set(found.get("copied", [])) & acknowledged
        same(sum(map(len, found.values())), len(blobs))
        same(sorted(row[0] for row in case.run("ls", *place).rows()), sorted(blobs))
        case.run("verify", "--all", *place)  # and an id says what the bytes are


def test_large_blob_is_taken_up(case):
    """Killed late in a large blob: the next run finds most of its blocks."""
    size = 400 << 20
    data = noise(1 << 20)
    path = case.path("large")
    with open(path, "wb") as file:
        for i in range(size >> 20):
            file.write(b"%08d" % i + data[8:])
    place = ["--store", "s", "--chunker", "fixed:1048576"]
    blob = case.run("put", "large", *place).rows()[0][0]
    os.unlink(path)
    folder = case.path("t/cas/blocks/blake3")

    def blocks():
        return len(os.listdir(folder)) if os.path.isdir(folder) else 0

    for _ in range(20):
        process = case.start("cp", "--from", "s", "--to", "t", "--all", stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)  # fmt: skip
        wait_until(lambda: blocks() >= 128 or process.poll() is not None, 100)
        process.kill()
        code = process.wait()
        assert code in (0, -signal.SIGKILL), code
        there = blocks()
        listed = [row[0] for row in case.run("ls", "--store", "t").rows()]
        if code != 0 and not listed:
            break
        # It had come to its end before the kill: once more, from the beginning.
        same(listed, [blob])
        case.run("verify", "--all", "--store", "t")
        shutil.rmtree(case.path("t"))
    else:
        raise AssertionError("too quick for this test")
    copied = case.run("cp", "--json", "--from", "s", "--to", "t", "--all").objects()[0]
    same((copied["id"], copied["blocks"]), (blob, size >> 20))
    assert copied["fresh_blocks"] <= (size >> 20) - there, f"{there} were there: {copied}"
    case.run("verify", "--all", "--store", "t")


def test_interrupted(case):
    blobs = fill(case, ["--store", "s"], 60, 40000)
    for number in range(3):
        process = case.start("cp", "--from", "s", "--to", "t", "--all", stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)  # fmt: skip
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        assert process.returncode in (0, 130), f"{process.returncode}: {error}"
        case.run("verify", "--all", "--store", "t")
    case.run("cp", "--from", "s", "--to", "t", "--all")
    check(case, ["--store", "t"], blobs)


def test_output_closed(case):
    blobs = fill(case, ["--store", "s"], 10)
    reader, writer = os.pipe()
    os.close(reader)
    result = case.run("cp", "--from", "s", "--to", "t", "--all", expect=141, stdout=writer)
    os.close(writer)
    assert "cannot write" not in result.err, result
    case.run("cp", "--from", "s", "--to", "t", "--all")
    check(case, ["--store", "t"], blobs)
    with open("/dev/full", "wb") as full:
        result = case.run("cp", "--from", "s", "--to", "t", "--all", expect=6, stdout=full)
    has(result.err, "standard output")


def test_full_target(case):
    blobs = fill(case, ["--store", "s"], 30, 100000)
    in_namespace(case, """
        mkdir t && mount -t tmpfs -o size=12M none t
        code=0; "$1" cp --from s --to t --all >out 2>err || code=$?
        [ $code = 6 ] || { echo "exit code $code"; cat err; exit 1; }
        "$1" ls --store t | cut -f1 >there
        grep 'copied$' out | cut -f1 | sort >copied
        [ -s copied ]
        cmp copied <(sort there)
        "$1" verify --all --store t
        mount -o remount,size=200M t
        "$1" cp --from s --to t --all >out
        if grep 'copied$' out | cut -f1 | grep -xFf copied; then exit 1; fi
        "$1" verify --all --store t >all
    """)  # fmt: skip
    rows = case.read("all").decode().split("\n")[:-1]
    same(sorted(row.split("\t")[0] for row in rows), sorted(blobs))


def test_source_that_cannot_be_written(case):
    blobs = fill(case, ["--store", "s"], 5)
    in_namespace(case, """
        mount --bind s s && mount -o remount,bind,ro s
        if touch s/x 2>/dev/null; then exit 1; fi
        "$1" cp --from s --to t --all
        "$1" cp --from t --to s --all 2>err && exit 1
        grep -q 'target: ' err
    """)  # fmt: skip
    check(case, ["--store", "t"], blobs)


def test_progress(case):
    fill(case, ["--store", "s"], 3)
    data = noise(60 << 20)
    case.put(data, "--store", "s")
    master, slave = pty.openpty()
    process = case.start("cp", "--from", "s", "--to", "t", "--all", stdout=subprocess.DEVNULL,
                         stderr=slave)  # fmt: skip
    os.close(slave)
    shown = b""
    while True:
        try:
            got = os.read(master, 65536)
        except OSError:
            break
        if not got:
            break
        shown += got
    os.close(master)
    same(process.wait(), 0)
    has(shown.decode(), "blobs copied")
    if b"\r" in shown.replace(b"\r\n", b""):
        has(shown.decode(), "MiB", "/s")


harness.main()
