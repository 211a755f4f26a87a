#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""gc at some size, with kill -9 in its middle: what it says before, what it frees, what stays.

Half of the blobs are removed. `gc --dry-run` tells what gc would free; gc is killed ten times, each
time after it has freed some of it; and then it ends. On the way what lies on the disk is always
what is kept and what the dry run tells then, and in the end exactly what the blobs that are left
name: no block less, none more.

  collect.py PROGRAM [--size 5G] [--kills N] [--seed N]
"""

import argparse
import glob
import json
import os
import random
import subprocess
import time

import harness
from harness import OK, want

# Source files lie on the disk up to so many bytes at once.
BATCH = 256 << 20
# A gc may end before it is seen to be in its middle: so often it is tried for each kill.
TRIES = 20
# What a removed block leaves in RocksDB's log, at least.
LOG_BYTES = 90


def parse_size(text):
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:])
    return int(text[:-1]) * factor if factor else int(text)


class Blobs:
    """Files by number: bytes of their own, and often a piece of another's, all from the seed."""

    def __init__(self, seed, size):
        self.seed = seed
        self.random = random.Random(f"{seed} sizes")
        self.sizes = []
        low, high = max(size // 5000, 4096), max(size // 100, 65536)
        while sum(self.sizes) < size:
            self.sizes.append(self.random.randrange(low, high))

    def own(self, number):
        return random.Random(f"{self.seed} {number}").randbytes(self.sizes[number])

    def data(self, number):
        """Every third holds the first half of the one before the last."""
        data = self.own(number)
        if number % 3 == 2:
            return self.own(number - 2)[: self.sizes[number - 2] // 2] + data
        return data


class Store:
    """A store and what lies on the disk for it, whatever the program says."""

    def __init__(self, bench, in_rocks, small):
        self.bench = bench
        self.in_rocks = in_rocks
        self.directory = bench.path("store")
        # Little is stored as many small blocks, so that to free them takes a while.
        self.options = ["--chunker", "fixed:1024"] if small else []
        self.place = ["--store", self.directory]
        if in_rocks:
            self.place = ["--blocks", "kv:", "--meta", "rocks:" + self.directory]

    def run(self, *words):
        return self.bench.run(*words, store=self.place).wants(OK)

    def json(self, *words):
        return json.loads(self.run(*words, "--json").out)

    def put(self, blobs):
        """{id: number} of all blobs."""
        ids = {}
        names = {}
        held = 0
        for number, size in enumerate(blobs.sizes):
            names[self.bench.write(f"{number}", blobs.data(number))] = number
            held += size
            if held >= BATCH or number + 1 == len(blobs.sizes):
                for line in self.run("put", *self.options, *names).out.decode().splitlines():
                    blob, name = line.split("\t")
                    ids[blob] = names[name]
                    os.remove(name)
                names, held = {}, 0
        return ids

    def stored(self):
        """{block key: size} of what lies on the disk."""
        if not self.in_rocks:
            names = harness.block_files(self.directory).values()
            keys = [os.path.basename(name).replace("-", ":") for name in names]
            return {f"blake3:{key}": int(key.split(":")[1]) for key in keys}
        helper = os.path.join(os.path.dirname(self.bench.spoiler), "fault-keys")
        found = []
        for namespace in ("block", "block_info"):
            done = subprocess.run(
                [helper, self.directory, namespace], stdout=subprocess.PIPE, check=True, timeout=300
            )
            found.append(done.stdout.decode().split())
        want(found[0] == found[1], "blocks and their records are not the same")
        return {f"blake3:{key[2:66]}:{int(key[66:], 16)}": int(key[66:], 16) for key in found[0]}

    def named(self, ids):
        """Block keys that the blobs name."""
        return {key for blob in ids for _, _, key in self.bench.manifest(self.place, blob)}

    def logged(self):
        """About how many blocks RocksDB's logs say are removed."""
        size = 0
        for name in glob.glob(os.path.join(self.directory, "*.log")):
            try:
                size += os.path.getsize(name)
            except FileNotFoundError:
                pass
        return size // LOG_BYTES

    def watch(self, free, count):
        """A function that tells, quickly, whether gc has freed about `count` of the keys, which it
        does in their order."""
        if not self.in_rocks:
            name = sorted(free)[count].removeprefix("blake3:").replace(":", "-")
            path = os.path.join(self.directory, "cas", "blocks", "blake3", name)
            return lambda: not os.path.exists(path)
        least = [self.logged()]

        def grown():
            # The log is begun anew when the database is opened: what was there does not count.
            seen = self.logged()
            least[0] = min(seen, least[0])
            return seen - least[0] >= count

        return grown


def kill_in_middle(store, free, count):
    """Kills a gc once it has freed about so many blocks; False if it ended first."""
    reached = store.watch(free, count)
    process = store.bench.start("gc", store=store.place)
    while process.poll() is None and not reached():
        pass
    process.kill()
    _, errors = process.communicate()
    want(process.returncode in (OK, -9), f"gc: exit {process.returncode}: {errors.decode()}")
    return process.returncode == -9


def check_kept(store, kept, blobs, sample):
    shown = store.bench.ids(store.place)
    want(sorted(shown) == sorted(kept), f"{len(shown)} blobs are listed, want {len(kept)}")
    store.run("verify", "--all")
    for blob in store.bench.random.sample(sorted(kept), sample):
        want(store.run("get", blob).out == blobs.data(kept[blob]), f"{blob} has other bytes")


def check_disk(store, referenced, told):
    """What lies on the disk is what is referenced and what a dry run would free: the latter."""
    stored = store.stored()
    want(referenced <= set(stored), f"{len(referenced - set(stored))} referenced blocks are gone")
    free = {key: size for key, size in stored.items() if key not in referenced}
    want(len(free) == told["freed_blocks"], f"{len(free)} unreferenced on the disk: {told}")
    want(sum(free.values()) == told["freed_bytes"], f"{sum(free.values())} bytes: {told}")
    want(told["kept_blocks"] == len(referenced), f"{len(referenced)} are named: {told}")
    return free


def killed_collection(bench, in_rocks, arguments):
    size = parse_size(arguments.size)
    store = Store(bench, in_rocks, size < 1 << 30)
    blobs = Blobs(arguments.seed, size)
    ids = store.put(blobs)
    removed = bench.random.sample(sorted(ids), len(ids) // 2)
    store.run("rm", *removed)
    kept = {blob: number for blob, number in ids.items() if blob not in removed}
    referenced = store.named(kept)
    told = first = store.json("gc", "--dry-run")
    free = check_disk(store, referenced, told)
    want(len(free) > 0, f"nothing to free: {told}")
    kills = tries = 0
    while kills < arguments.kills:
        want(tries < TRIES * arguments.kills, f"{tries} times gc ended before it was killed")
        tries += 1
        if len(free) == 0:
            store.put(blobs)
            store.run("rm", *removed)
            free = check_disk(store, referenced, store.json("gc", "--dry-run"))
        share = len(free) // (4 * (arguments.kills - kills))
        kills += kill_in_middle(store, free, bench.random.randrange(share + 1))
        told = store.json("gc", "--dry-run")
        free = check_disk(store, referenced, told)
        check_kept(store, kept, blobs, 1)
    last = told
    begun = time.monotonic()
    did = store.json("gc")
    seconds = time.monotonic() - begun
    want(did.pop("dry_run") is False and last.pop("dry_run") is True, f"{did}, {last}")
    want(did == last, f"the dry run told {last}, gc did {did}")
    check_disk(store, referenced, store.json("gc", "--dry-run"))
    want(set(store.stored()) == referenced, "what is on the disk is not what is referenced")
    check_kept(store, kept, blobs, min(len(kept), 5))
    print(
        f"# {len(ids)} blobs of {sum(blobs.sizes) >> 20} MiB, {len(removed)} removed; told:"
        f" {first['freed_blocks']} blocks, {first['freed_bytes']} bytes; {kills} kills in {tries}"
        f" tries before the last {last['freed_blocks']}, freed in {seconds:.2f} s;"
        f" {len(referenced)} kept"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    harness.add_arguments(parser)
    bounded = os.environ.get("GRAVITON_TEST_BOUNDED") == "1"
    parser.add_argument("--size", default="4M" if bounded else "16M", help="bytes to put")
    parser.add_argument("--kills", type=int, default=3 if bounded else 10)
    arguments = parser.parse_args()
    harness.main(
        [
            ("gc killed", lambda bench: killed_collection(bench, False, arguments)),
            ("gc killed, kv:", lambda bench: killed_collection(bench, True, arguments)),
        ],
        arguments,
    )


if __name__ == "__main__":
    main()
