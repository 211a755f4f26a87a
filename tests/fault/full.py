#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A disk that is full to the last byte, and what must hold of a store on it.

A put answers "full" and leaves nothing; get, ls, stats and verify work; rm works, by means of the
reserve, and so does gc; a put works again once there is room; nothing acknowledged was lost, and
the program never dies of it. The disk is a small tmpfs in a mount namespace of our own, so it
takes no root.

  full.py PROGRAM [--seed N]
"""

import argparse
import os
import shutil
import subprocess
import sys
import time

import harness
from harness import CONFLICT, FULL, NOT_FOUND, OK, want

DISK = 64 << 20
RESERVE = 8 << 20  # an eighth of the disk, whatever is asked for
MARKER = "GRAVITON_TEST_NAMESPACE"


def enter_namespace():
    """Runs this again where it may mount; a skip where the system forbids that."""
    if MARKER in os.environ:
        return
    words = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        allowed = subprocess.run(words + ["true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        print("1..0 # SKIP no mount namespace for us here")
        sys.exit(0)
    os.environ[MARKER] = "1"
    os.execvp(words[0], words + [sys.executable] + sys.argv)


class Disk:
    """A small file system, mounted until the namespace ends."""

    def __init__(self, bench, name="disk"):
        self.path = bench.path(name)
        os.mkdir(self.path)
        words = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", self.path]
        subprocess.run(words, check=True, capture_output=True)
        self.filler = os.path.join(self.path, "filler")

    def free(self):
        info = os.statvfs(self.path)
        return info.f_bavail * info.f_frsize

    def fill(self, settled=True):
        """Takes every byte there is. While others write, some may be given back at once."""
        with open(self.filler, "ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(65536))
            except OSError:
                pass
        want(not settled or self.free() == 0, f"{self.free()} bytes are free on the full disk")

    def empty(self):
        os.unlink(self.filler)


class Store:
    """A store whose halves lie where they are told to, and what was put into it."""

    def __init__(self, bench, options):
        self.bench = bench
        self.options = options
        self.blobs = {}

    def run(self, command, *words, given=None):
        return self.bench.run(command, *words, store=self.options, given=given)

    def put(self, size):
        data = self.bench.random.randbytes(size)
        self.blobs[self.bench.put(self.options, data)] = data

    def put_is_full(self, size):
        """A put that finds no room says so and leaves nothing that can be seen."""
        before = self.counts()
        result = self.run("put", "-", given=self.bench.random.randbytes(size)).wants(FULL)
        want(result.out == b"", f"a put that failed printed {result.out!r}")
        want(self.counts() == before, f"{self.counts()} after a put that failed, {before} before")

    def counts(self):
        lines = self.run("stats").wants(OK).out.decode().splitlines()
        return [line for line in lines if line.startswith(("blobs", "blocks", "missing"))]

    def check(self):
        """All that reads, and every blob's bytes."""
        want(sorted(self.bench.ids(self.options)) == sorted(self.blobs), "ls shows other blobs")
        self.run("verify", "--all").wants(OK)
        for blob, data in self.blobs.items():
            self.run("stat", blob).wants(OK)
            want(self.run("get", blob).wants(OK).out == data, f"{blob} has other bytes")

    def remove(self):
        blob = max(self.blobs, key=lambda name: len(self.blobs[name]))
        del self.blobs[blob]
        self.run("rm", blob).wants(OK)


def temporaries(directory):
    """Files that a put has left: on a store of files they would lie under .tmp."""
    found = []
    for folder, _, names in os.walk(directory):
        found += [name for name in names if os.path.basename(folder) == ".tmp"]
    return found


def reserve_held(meta):
    return os.stat(os.path.join(meta, "reserve")).st_blocks * 512


def bench_with_reserve(bench):
    del bench.environment["GRAVITON_RESERVE"]
    return bench


def too_large(disk, store, in_rocks):
    """A put that fills the disk up itself: it leaves nothing, or what gc frees."""
    before = disk.free()
    if in_rocks:
        store.run("put", "-", given=store.bench.random.randbytes(80 << 20)).wants(FULL)
        store.run("gc").wants(OK)
    else:
        store.put_is_full(80 << 20)
        want(not temporaries(disk.path), "a put that failed left files")
    want(disk.free() > before - (2 << 20), f"{disk.free()} free, {before} before")


def live_through(bench, disk, store, meta, collects, in_rocks=False):
    """A full disk from beginning to end. `collects`: gc makes room on it."""
    for size in (6 << 20, 6 << 20, 100000, 0):
        store.put(size)
    if meta:
        want(reserve_held(meta) == RESERVE, f"the reserve holds {reserve_held(meta)}")
    store.check()
    if collects:
        too_large(disk, store, in_rocks)
    disk.fill()
    for size in (0, 1000, 30 << 20):
        store.put_is_full(size)
        want(disk.free() == 0, "a put has opened the reserve")
    store.check()
    store.remove()
    store.check()
    if meta:
        store.put_is_full(1000)
    if collects:
        store.run("gc").wants(OK)
        store.check()
        store.put(100000)
        disk.fill()
        store.remove()
    disk.empty()
    store.put(1000)
    store.put(3 << 20)
    store.check()
    if meta:
        want(reserve_held(meta) == RESERVE, "the reserve was not filled again")


def both_halves(bench):
    """Files and RocksDB on the same full disk."""
    disk = Disk(bench_with_reserve(bench))
    store = Store(bench, ["--store", os.path.join(disk.path, "store")])
    live_through(bench, disk, store, os.path.join(disk.path, "store", "meta"), True)


def all_in_rocks(bench):
    """Blocks in the metadata's RocksDB."""
    disk = Disk(bench_with_reserve(bench))
    meta = os.path.join(disk.path, "meta")
    store = Store(bench, ["--blocks", "kv:", "--meta", "rocks:" + meta])
    live_through(bench, disk, store, meta, True, True)


def metadata_alone(bench):
    """Only the metadata's disk is full."""
    disk = Disk(bench_with_reserve(bench))
    meta = os.path.join(disk.path, "meta")
    blocks = bench.path("blocks")
    store = Store(bench, ["--blocks", "fs:" + blocks, "--meta", "rocks:" + meta])
    live_through(bench, disk, store, meta, False)
    want(not temporaries(blocks), "puts that failed left files")


def blocks_alone(bench):
    """Only the blocks' disk is full: removing needs nothing of it."""
    disk = Disk(bench)
    blocks = os.path.join(disk.path, "blocks")
    store = Store(bench, ["--blocks", "fs:" + blocks, "--meta", "rocks:" + bench.path("meta")])
    store.put(8 << 20)
    store.put(8 << 20)
    disk.fill()
    store.put_is_full(1000)
    store.put_is_full(20 << 20)
    want(not temporaries(blocks), "puts that failed left files")
    store.check()
    store.remove()
    store.run("gc").wants(OK)
    store.put(1 << 20)
    store.check()


def filled_meanwhile(bench):
    """The disk fills up while puts run: at another moment each time."""
    disk = Disk(bench_with_reserve(bench))
    path = os.path.join(disk.path, "store")
    store = Store(bench, ["--store", path])
    store.put(1000)
    names = {}
    for number in range(12):
        data = bench.random.randbytes(700000)
        names[bench.write(f"file-{number}", data)] = data
    for _ in range(4):
        process = bench.start("put", *names, store=store.options)
        time.sleep(bench.random.uniform(0, 0.1))
        disk.fill(settled=False)
        out, err = process.communicate()
        want(process.returncode in (OK, FULL, 1), f"put: exit {process.returncode}: {err!r}")
        for line in out.decode().splitlines():
            blob, name = line.split("\t")
            store.blobs[blob] = names[name]
        want(not temporaries(path), "puts that failed left files")
        disk.fill()
        store.check()
        store.remove()
        disk.empty()
        for blob in list(store.blobs)[1:]:
            del store.blobs[blob]
            store.run("rm", blob).wants(OK)
        store.put(1000)
        store.check()


def backups(bench):
    """A backup to a full disk fails and is no store; one of a store on a full disk works."""
    disk = Disk(bench_with_reserve(bench))
    outside = Store(bench, ["--store", bench.path("outside")])
    outside.put(2 << 20)
    inside = Store(bench, ["--store", os.path.join(disk.path, "store")])
    inside.put(2 << 20)
    with open(disk.filler, "ab") as file:
        os.posix_fallocate(file.fileno(), 0, disk.free() - (1 << 20))
    for options in ([], ["--copy"]):
        for name in ("first", "second"):
            target = os.path.join(disk.path, name)
            result = outside.run("backup", *options, target).wants(FULL)
            want("not whole" in result.err, str(result))
            code = bench.run("ls", store=["--store", target]).code
            want(code in (NOT_FOUND, CONFLICT), f"ls of half a backup: exit {code}")
            shutil.rmtree(target)
            disk.fill()
        disk.empty()
        with open(disk.filler, "ab") as file:
            os.posix_fallocate(file.fileno(), 0, disk.free() - (1 << 20))
    outside.check()
    disk.fill()
    inside.run("backup", bench.path("saved")).wants(OK)
    inside.check()
    saved = Store(bench, ["--store", bench.path("saved")])
    saved.blobs = inside.blobs
    saved.check()
    saved.put(1000)
    saved.check()


def without_reserve(bench):
    """A store that keeps none says that it is full, and reads; nothing dies."""
    disk = Disk(bench)
    store = Store(bench, ["--store", os.path.join(disk.path, "store")])
    store.put(100000)
    store.put(200000)
    want(not os.path.exists(os.path.join(disk.path, "store", "meta", "reserve")), "a reserve")
    disk.fill()
    store.put_is_full(10)
    store.run("rm", sorted(store.blobs)[0]).wants(FULL)
    store.check()
    disk.empty()
    store.remove()
    # One is made when it is asked for, and goes again.
    bench.run("put", "--reserve", "1M", "-", store=store.options, given=b"").wants(OK)
    want(reserve_held(os.path.join(disk.path, "store", "meta")) == 1 << 20, "no reserve of 1M")
    store.run("put", "--reserve=0", "-", given=b"").wants(OK)
    want(not os.path.exists(os.path.join(disk.path, "store", "meta", "reserve")), "a reserve")


def main():
    enter_namespace()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    harness.add_arguments(parser)
    arguments = parser.parse_args()
    harness.main(
        [
            ("both halves on the full disk", both_halves),
            ("everything in RocksDB", all_in_rocks),
            ("the metadata alone", metadata_alone),
            ("the blocks alone", blocks_alone),
            ("filled while puts run", filled_meanwhile),
            ("backups", backups),
            ("no reserve", without_reserve),
        ],
        arguments,
    )


if __name__ == "__main__":
    main()
