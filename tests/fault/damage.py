#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stored bytes that went wrong, halves that do not belong together, and a store in use.

Damage to one block: get and verify exit 4 and name blob and block; what came out before it is a
true prefix of the blob and ends before the damaged block; `get -o` leaves no file. Wrong pairs of
halves: exit 8, a message, nothing written.

  damage.py PROGRAM [--seed N]
"""

import argparse
import os
import shutil
import socket
import subprocess

import harness
from harness import CONFLICT, CORRUPT, NOT_FOUND, OK, UNAVAILABLE, want

# ---- Damage to one block ----


def flip(data, random):
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


# name -> what becomes of a block file's bytes; None: no file
DAMAGES = {
    "one bit flipped": flip,
    "cut short": lambda data, random: data[: random.randrange(1, len(data))],
    "its last byte gone": lambda data, random: data[:-1],
    "emptied": lambda data, random: b"",
    "a byte too long": lambda data, random: data + b"\0",
    "all zeros": lambda data, random: bytes(len(data)),
    "deleted": lambda data, random: None,
}


def check_get(bench, store, blob, data, offset, key):
    """get to standard output and to a file, of a blob whose block `key` at `offset` is bad."""
    got = bench.run("get", blob, store=store).wants(CORRUPT)
    want(len(got.out) <= offset, f"{len(got.out)} bytes came out, the bad block is at {offset}")
    want(data.startswith(got.out), "what came out is no prefix of the blob")
    for name in (blob, key):
        want(name in got.err, f"get does not name {name}: {got}")
    folder = bench.path("out")
    os.mkdir(folder)
    kept = bench.path("out", "kept")
    with open(kept, "wb") as file:
        file.write(b"what was there before")
    for target in (bench.path("out", "new"), kept):
        bench.run("get", blob, "-o", target, store=store).wants(CORRUPT)
    want(os.listdir(folder) == ["kept"], f"get -o left {os.listdir(folder)}")
    with open(kept, "rb") as file:
        want(file.read() == b"what was there before", "get -o changed a file that was there")
    shutil.rmtree(folder)


def check_verify(bench, store, blob, key, good):
    for words in ([blob], ["--all"]):
        verified = bench.run("verify", *words, store=store).wants(CORRUPT)
        text = verified.out.decode() + verified.err
        want(blob in text and key in text, f"verify does not name {blob} and {key}: {text}")
        want(verified.err != "", "verify says nothing on standard error")
    bench.run("verify", good, store=store).wants(OK)


def check_ranges(bench, store, blob, data, offset, size):
    """A range beside the bad block is good, one into it is not."""
    if offset > 0:
        got = bench.run("get", blob, "--range", f"0-{offset - 1}", store=store).wants(OK)
        want(got.out == data[:offset], "the range before the bad block has other bytes")
    if offset + size < len(data):
        got = bench.run("get", blob, "--range", f"{offset + size}-", store=store).wants(OK)
        want(got.out == data[offset + size :], "the range after the bad block has other bytes")
    got = bench.run("get", blob, "--range", f"{offset}-{offset}", store=store).wants(CORRUPT)
    want(got.out == b"", "a byte of the bad block came out")


def damaged_block(bench, damage):
    """One kind of damage to the first, a middle and the last block of a blob, in turn."""
    store = bench.path("store")
    data = bench.random.randbytes(1500000)
    blob = bench.put(store, data)
    good = bench.put(store, b"a blob beside it")
    blocks = bench.manifest(store, blob)
    files = harness.block_files(store)
    want(len(blocks) > 4, f"only {len(blocks)} blocks")
    for offset, size, key in (blocks[0], blocks[len(blocks) // 2], blocks[-1]):
        path = files[key.split(":")[1]]
        with open(path, "rb") as file:
            before = file.read()
        after = damage(before, bench.random)
        mode = os.stat(path).st_mode
        os.remove(path)
        if after is not None:
            with open(path, "wb") as file:
                file.write(after)
        check_get(bench, store, blob, data, offset, key)
        check_verify(bench, store, blob, key, good)
        check_ranges(bench, store, blob, data, offset, size)
        with open(path, "wb") as file:
            file.write(before)
        os.chmod(path, mode)
    want(bench.run("get", blob, store=store).wants(OK).out == data, "repaired, but other bytes")
    bench.run("verify", "--all", store=store).wants(OK)


def swapped_blocks(bench):
    """Two blocks of one size under one another's names: each is whole, and neither is right."""
    store = bench.path("store")
    data = bench.random.randbytes(8 * 4096)
    blob = bench.put(store, data, "--chunker", "fixed:4096")
    blocks = bench.manifest(store, blob)
    files = harness.block_files(store)
    first, second = (files[blocks[i][2].split(":")[1]] for i in (2, 5))
    os.rename(first, bench.path("aside"))
    os.rename(second, first)
    os.rename(bench.path("aside"), second)
    check_get(bench, store, blob, data, blocks[2][0], blocks[2][2])
    text = bench.run("verify", blob, store=store).wants(CORRUPT).out.decode()
    for i in (2, 5):
        want(blocks[i][2] in text, f"verify does not name block {i}: {text}")


def stored_again(bench):
    """A put of the same bytes must not take a damaged block's presence for its health for ever:
    once the block is gone, a new put of other bytes that hold it brings it back."""
    store = bench.path("store")
    data = bench.random.randbytes(700000)
    blob = bench.put(store, data)
    blocks = bench.manifest(store, blob)
    os.remove(harness.block_files(store)[blocks[0][2].split(":")[1]])
    bench.run("get", blob, store=store).wants(CORRUPT)
    bench.put(store, data + b"and more")
    want(bench.run("get", blob, store=store).wants(OK).out == data, "other bytes came back")


def damaged_record(bench):
    """One blob's record is bad: the others are listed, checked and found by prefix all the same."""
    store = bench.path("store")
    blobs = sorted(bench.put(store, bench.random.randbytes(100 + i)) for i in range(5))
    bench.spoil(os.path.join(store, "meta"), "root", 1)
    good = [blob for blob in blobs if blob != blobs[1]]
    for words in (("ls",), ("ls", "--newest"), ("verify", "--all")):
        got = bench.run(*words, store=store)
        shown = sorted(line.split("\t")[0] for line in got.out.decode().splitlines())
        want(shown == good, f"want all but the bad one: {got}: {shown}")
        want(got.code == CORRUPT and blobs[1] in got.err, f"the bad one untold: {got}")
    bench.run("verify", "--all", store=store).wants(CORRUPT)
    for blob in good:
        bench.run("get", blob[: len("blake3:") + 8], store=store).wants(OK)
    bench.run("get", blobs[1][: len("blake3:") + 8], store=store).wants(CORRUPT)
    bench.run("rm", blobs[1], store=store).wants(OK)
    want(bench.ids(store) == good, "rm of the bad one did not mend the list")


def unreadable_block(bench):
    """A block that cannot be read, as on a bad sector, does not keep verify from the blobs behind
    it. A socket in its place cannot be opened by anyone."""
    store = bench.path("store")
    blobs = sorted(bench.put(store, bench.random.randbytes(100 + i)) for i in range(4))
    path = harness.block_files(store)[blobs[1].split(":")[1]]
    os.remove(path)
    here = os.getcwd()
    os.chdir(os.path.dirname(path))  # a socket's address is short
    try:
        with socket.socket(socket.AF_UNIX) as file:
            file.bind(os.path.basename(path))
    finally:
        os.chdir(here)
    for words in (("--all",), blobs):
        got = bench.run("verify", *words, store=store)
        text = got.out.decode()
        want(all(f"{blobs[i]}\tok" in text for i in (0, 2, 3)), f"not all are checked: {text}")
        want(got.code != OK and blobs[1] in got.err, f"the unreadable one is not told: {got}")


# ---- What is not there ----


def unknown_ids(bench):
    store = bench.path("store")
    known = bench.put(store, b"known")
    algorithm, digest, size = known.split(":")
    other = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    target = bench.path("target")
    for blob in (f"{algorithm}:{other}:{size}", f"{algorithm}:{digest}:6", f"sha256:{digest}:5"):
        got = bench.run("get", blob, store=store).wants(NOT_FOUND)
        want(got.out == b"" and got.err != "", f"want only a message: {got}")
        bench.run("get", blob, "-o", target, store=store).wants(NOT_FOUND)
        want(not os.path.exists(target), "get -o left a file")
        for command in ("stat", "manifest", "verify", "rm"):
            got = bench.run(command, blob, store=store).wants(NOT_FOUND)
            want(got.out == b"" and got.err != "", f"want only a message: {got}")


def no_store(bench):
    """Reading makes no store."""
    for command in (["ls"], ["stats"], ["get", "blake3:" + "0" * 64 + ":0"], ["verify", "--all"]):
        got = bench.run(*command, store=bench.path("none"))
        want(got.code == NOT_FOUND and got.err != "", f"want exit 3 and a message: {got}")
        want(os.listdir(bench.directory) == [], f"{command} made {os.listdir(bench.directory)}")


# ---- Halves ----


def refused(bench, store, note, absent=()):
    """Every command on `store` exits 8 with a message, and nothing under the scratch directory
    changes. RocksDB's own files are left out: merely opening it turns its log over, and whether
    it holds what it held is for the caller to ask."""

    def look():
        return {
            path: what
            for path, what in harness.tree(bench.directory).items()
            if f"{os.sep}meta{os.sep}" not in path
        }

    before = look()
    unknown = "blake3:" + "0" * 64 + ":0"
    for words in (["put", "-"], ["ls"], ["get", unknown], ["verify", "--all"], ["stats"]):
        got = bench.run(*words, store=store, given=b"not to be stored")
        want(got.code == CONFLICT, f"{note}: want exit 8: {got}")
        want(got.out == b"" and len(got.err) > 20, f"{note}: want only a message: {got}")
        wrote = set(look().items()) ^ set(before.items())
        want(not wrote, f"{note}: {words[0]} wrote {wrote}")
    for path in absent:
        want(not os.path.exists(path), f"{note}: {path} was made")


def two_stores(bench):
    """Stores A and B, and the ids they hold."""
    ids = {}
    for name in ("A", "B"):
        data = bench.random.randbytes(300000)
        ids[name] = bench.put(bench.path(name), data)
    return ids


def halves(bench, blocks, meta):
    return ["--blocks", "fs:" + bench.path(blocks), "--meta", "rocks:" + bench.path(meta)]


def mixed_halves(bench):
    ids = two_stores(bench)
    refused(bench, halves(bench, "A", "B/meta"), "A's blocks, B's metadata")
    refused(bench, halves(bench, "B", "A/meta"), "B's blocks, A's metadata")
    for name in ("A", "B"):
        want(bench.ids(bench.path(name)) == [ids[name]], f"{name} has changed")
        want(bench.ids(halves(bench, name, f"{name}/meta")) == [ids[name]], "named by its halves")
        bench.run("verify", "--all", store=bench.path(name)).wants(OK)


def missing_metadata(bench):
    two_stores(bench)
    new = bench.path("new")
    refused(bench, halves(bench, "A", "new"), "no metadata", absent=[new])
    os.mkdir(new)
    refused(bench, halves(bench, "A", "new"), "an empty metadata directory")
    want(os.listdir(new) == [], f"written to the empty directory: {os.listdir(new)}")
    os.rename(bench.path("B", "meta"), bench.path("aside"))
    refused(bench, bench.path("B"), "metadata gone", absent=[bench.path("B", "meta")])
    os.rename(bench.path("aside"), bench.path("B", "meta"))
    bench.run("verify", "--all", store=bench.path("B")).wants(OK)


def missing_bytes(bench):
    two_stores(bench)
    new = bench.path("new")
    refused(bench, halves(bench, "new", "A/meta"), "no blocks", absent=[new])
    os.mkdir(new)
    refused(bench, halves(bench, "new", "A/meta"), "an empty block directory")
    want(os.listdir(new) == [], f"written to the empty directory: {os.listdir(new)}")
    name = bench.path("B", "graviton.json")
    os.rename(name, bench.path("aside"))
    refused(bench, bench.path("B"), "the blocks' superblock gone", absent=[name])
    got = bench.run("put", "-", store=halves(bench, "B", "new"), given=b"not to be stored")
    want(got.code == CONFLICT and got.out == b"", f"blocks of no store: want exit 8: {got}")
    want(not os.path.exists(name), "the blocks of no store got a superblock")
    want("empty place" in got.err and "superblock" in got.err, f"no word on what to do: {got}")
    want(os.listdir(new) == [], f"written beside the blocks of no store: {os.listdir(new)}")
    os.rename(bench.path("aside"), name)
    bench.run("verify", "--all", store=bench.path("B")).wants(OK)


def other_parameters(bench):
    """Another chunker or hash than the store's is refused on a write; nothing is written."""
    store = bench.path("A")
    blob = bench.put(store, b"as it is")
    for words in (
        ["--chunker", "fixed:4096"],
        ["--chunker", "cdc:1M"],
        ["--hash", "sha256"],
    ):
        before = harness.block_files(store), bench.ids(store)
        got = bench.run("put", *words, "-", store=store, given=b"not to be stored")
        want(got.code == CONFLICT and got.out == b"", f"want exit 8: {got}")
        want(words[0] in got.err, f"the message does not name {words[0]}: {got}")
        want((harness.block_files(store), bench.ids(store)) == before, f"{words} wrote")
    got = bench.put(store, b"as it is", "--hash", "blake3", "--chunker", "cdc:64K")
    want(got == blob, "the store's own parameters give another id")


def damaged_superblock(bench):
    """A superblock that cannot be read is told, and never taken for a new store."""
    store = bench.path("A")
    bench.put(store, b"as it is")
    name = os.path.join(store, "graviton.json")
    with open(name, "rb") as file:
        whole = file.read()
    for damaged in (b"", whole[: len(whole) // 2], b"\0" * len(whole), b"{}", b"[" * 4000):
        with open(name, "wb") as file:
            file.write(damaged)
        got = bench.run("put", "-", store=store, given=b"x")
        want(got.code in (CORRUPT, CONFLICT), f"{damaged[:20]!r}: want exit 4 or 8: {got}")
        want("graviton.json" in got.err or store in got.err, f"no file is named: {got}")
        with open(name, "rb") as file:
            want(file.read() == damaged, "the damaged superblock was written over")
    with open(name, "wb") as file:
        file.write(whole)
    bench.run("verify", "--all", store=store).wants(OK)


# ---- In use ----


def store_in_use(bench):
    store = bench.path("store")
    first = bench.put(store, b"first")
    holder = bench.start("put", "-", store=store, given=subprocess.PIPE)
    try:
        # Once the put reads, the store is open: a pipe holds less than this.
        data = bench.random.randbytes(4 << 20)
        holder.stdin.write(data)
        for words in (["ls"], ["put", "-"], ["get", first], ["stats"]):
            got = bench.run(*words, store=store, given=b"second")
            want(got.code == UNAVAILABLE and got.out == b"", f"want exit 5: {got}")
            want(str(holder.pid) in got.err, f"the holder {holder.pid} is not named: {got}")
        out, errors = holder.communicate(timeout=60)
    except BaseException:
        holder.kill()
        holder.communicate()
        raise
    want(holder.returncode == OK, f"the holder: exit {holder.returncode}: {errors}")
    blob = out.decode().split("\t")[0]
    want(bench.run("get", blob, store=store).wants(OK).out == data, "the holder's put is wrong")
    want(sorted(bench.ids(store)) == sorted([first, blob]), "the second put left something")


def made_at_once(bench):
    """Several first puts at once: one makes the store, the others find it in use or in the making,
    and nothing else; what was acknowledged is there."""
    for turn in range(12):
        store = bench.path(f"store{turn}")
        puts = [bench.start("put", "-", store=store, given=subprocess.PIPE) for _ in range(6)]
        ends = [put.communicate(b"%d" % i, timeout=60) for i, put in enumerate(puts)]
        codes = [put.returncode for put in puts]
        want(OK in codes, f"nobody made the store: {codes}")
        want(set(codes) <= {OK, UNAVAILABLE}, f"want exits 0 and 5: {codes}: {ends}")
        told = sorted(out.decode().split("\t")[0] for out, _ in ends if out)
        want(sorted(bench.ids(store)) == told, f"want {told}, there is {bench.ids(store)}")
        bench.run("verify", "--all", store=store).wants(OK)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    harness.add_arguments(parser)
    tests = [
        (f"a block {name}", lambda bench, damage=damage: damaged_block(bench, damage))
        for name, damage in DAMAGES.items()
    ]
    tests += [
        ("blocks swapped", swapped_blocks),
        ("a lost block is stored again", stored_again),
        ("a damaged record", damaged_record),
        ("a block that cannot be read", unreadable_block),
        ("unknown ids", unknown_ids),
        ("no store", no_store),
        ("halves of two stores", mixed_halves),
        ("metadata missing", missing_metadata),
        ("bytes missing", missing_bytes),
        ("another chunker or hash", other_parameters),
        ("a damaged superblock", damaged_superblock),
        ("a store in use", store_in_use),
        ("a store made by several at once", made_at_once),
    ]
    harness.main(tests, parser.parse_args())


if __name__ == "__main__":
    main()
