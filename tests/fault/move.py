#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cp --all of a whole store, with kill -9 in its middle: from files and RocksDB to files and
PostgreSQL, and from there to a third store, in files or in RocksDB alone.

Half of the bytes are in a few large blobs and half in many small ones, and some of them are the
same. After each kill the target is a store whose every blob is good, and the next run copies what
is not there and nothing else: no blob a second time, and in the last run no block either. In the
end all three have the same ids, every blob verifies, and what is read back is what was put.

  move.py PROGRAM [--size 10G] [--kills N] [--samples N] [--seed N] [--only files]

The disk needs room for four times the size; TMPDIR says where.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import harness
from harness import OK, want

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "service"))
import postgres

SERVER = None
MADE = 0
OPTIONS = None
PIECE = 1 << 20
# Source files lie on the disk up to so many bytes at once.
BATCH = 256 << 20
# Most that a copy may have in memory: what both stores take for their bytes, RocksDB for its
# tables, and the program. Sanitizers have their own idea of it.
MEMORY_MAX = 512 << 20
PATIENCE = 30


def parse_size(text):
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:])
    return int(text[:-1]) * factor if factor else int(text)


# ---- What is put ----


def is_little(size):
    """What takes no time to copy is put as many small blocks, so that it takes some."""
    return size < 1 << 30


class Blobs:
    """Blobs by number, as pieces (seed, size) that random bytes are made of."""

    def __init__(self, seed, size):
        chance = random.Random(f"{seed} sizes")
        self.shared = (1 << 15) if is_little(size) else (1 << 18)  # some blocks
        low, high = max(size // 200, 1 << 16), max(size // 16, 1 << 20)
        small_max = min(max(size // 1000, 1 << 15), 1 << 20)
        self.blobs = []
        total = 0
        while total < size // 2:
            pieces = chance.randrange(low, high) // PIECE + 1
            before = self.blobs[-1] if len(self.blobs) % 3 == 2 else []
            blob = before[: pieces // 2]
            number = len(self.blobs)
            blob = blob + [(f"{seed} {number} {i}", PIECE) for i in range(len(blob), pieces)]
            blob.append((f"{seed} {number} end", chance.randrange(1, PIECE)))
            self.add(blob)
            total += self.size(number)
        self.large = len(self.blobs)
        self.add([])
        while total < size:
            number = len(self.blobs)
            blob = [(f"{seed} {number}", int(100 * (small_max / 100) ** chance.random()))]
            if number % 8 == 0:
                blob.insert(0, (f"{seed} shared {number % 3}", self.shared))
            self.add(blob)
            total += self.size(number)
        self.order = list(range(len(self.blobs)))
        chance.shuffle(self.order)
        self.digests = {}

    def add(self, blob):
        self.blobs.append(blob)

    def size(self, number):
        return sum(size for _, size in self.blobs[number])

    def write(self, number, path):
        """Makes a file of a blob, and notes what its bytes were."""
        digest = hashlib.sha256()
        with open(path, "wb") as file:
            for seed, size in self.blobs[number]:
                data = random.Random(seed).randbytes(size)
                digest.update(data)
                file.write(data)
        self.digests[number] = digest.digest()


# ---- Stores ----


class Store:
    """Where blobs are, and what its two halves are called."""

    def __init__(self, bench, name, blocks, meta):
        self.bench = bench
        self.name = name
        self.directory = bench.path(name)
        self.blocks = blocks
        self.meta = meta
        self.in_rocks = blocks == "kv:"
        self.place = ["--blocks", blocks, "--meta", meta]

    def side(self, which):
        return [f"--{which}-blocks", self.blocks, f"--{which}-meta", self.meta]

    def run(self, *words):
        return self.bench.run(*words, store=self.place).wants(OK)

    def rows(self, *words):
        return [line.split("\t") for line in self.run(*words).out.decode().splitlines()]

    def objects(self, *words):
        return [json.loads(line) for line in self.run(*words, "--json").out.splitlines()]

    def collectable(self):
        """What gc would do. A server may take a while to notice that a client was killed."""
        end = time.monotonic() + PATIENCE
        while True:
            result = self.bench.run("gc", "--dry-run", "--json", store=self.place)
            if result.code == OK or time.monotonic() > end:
                return json.loads(result.wants(OK).out)
            time.sleep(0.1)

    def check(self, some):
        """Every blob listed is good, and one of `some`; the ids."""
        ids = {row[0] for row in self.rows("ls")}
        want(ids <= set(some), f"{self.name} has blobs that were never put")
        good = [row[0] for row in self.rows("verify", "--all") if row[1] == "ok"]
        want(sorted(good) == sorted(ids), f"{self.name}: {len(ids)} listed, {len(good)} verified")
        missing = self.objects("stats")[0]["missing_blocks"]
        want(missing == 0, f"{self.name}: {missing} blocks are missing")
        return ids

    def digest(self, blob):
        """sha256 of the bytes that `get` gives."""
        process = self.bench.start("get", blob, store=self.place)
        digest = hashlib.sha256()
        while data := process.stdout.read(PIECE):
            digest.update(data)
        _, error = process.communicate()
        want(process.returncode == OK, f"get {blob}: exit {process.returncode}: {error!r}")
        return digest.digest()


def files_and_rocks(bench, name):
    return Store(bench, name, "fs:" + bench.path(name), "rocks:" + bench.path(name, "meta"))


def all_in_rocks(bench, name):
    return Store(bench, name, "kv:", "rocks:" + bench.path(name))


def files_and_postgres(bench, name):
    global MADE
    MADE += 1
    database = f"move_{os.getpid()}_{MADE}"
    psql = [os.path.join(SERVER.bin, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    psql += ["-c", f"CREATE DATABASE {database} OWNER graviton", SERVER.admin]
    subprocess.run(psql, check=True, timeout=60)
    url = SERVER.url.rsplit("/", 1)[0] + "/" + database
    bench.run("migrate", "--meta", url).wants(OK)
    return Store(bench, name, "fs:" + bench.path(name), url)


# ---- Runs of cp ----


class Copy:
    """One cp: its rows as they come, its memory, and how long it took."""

    def __init__(self, bench, source, target):
        words = ["--json", *source.side("from"), *target.side("to"), "--all"]
        self.begun = time.monotonic()
        self.process = bench.start("cp", *words)
        self.rows = {}
        self.passed = 0  # bytes of the blobs that rows have told of
        self.copied = 0  # of those that were copied
        self.summary = None
        self.memory = 0
        self.read_bytes = 0  # from files, cached or not
        self.seconds = None
        self.error = b""
        self.threads = [threading.Thread(target=job) for job in (self.read_rows, self.read_error)]
        for thread in self.threads:
            thread.start()

    def read_rows(self):
        for line in self.process.stdout:
            if not line.endswith(b"\n"):
                break
            row = json.loads(line)
            if "id" in row:
                self.rows[row["id"]] = row
                self.passed += row["size_bytes"]
                self.copied += row["size_bytes"] if row["status"] == "copied" else 0
            else:
                self.summary = row

    def read_error(self):
        self.error = self.process.stderr.read()

    def has_ended(self):
        """Without taking what the system still tells of it."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.process.pid, options) is not None

    def wait(self, until):
        """Until then, or until its end; tells whether it goes on."""
        while not until() and not self.has_ended():
            self.memory = max(self.memory, self.proc("status", "VmHWM:") << 10)
            time.sleep(0.002)
        return not self.has_ended()

    def proc(self, name, key):
        """A figure that the system has of it; 0 where it has it no more."""
        with open(f"/proc/{self.process.pid}/{name}", encoding="ascii") as lines:
            for line in lines:
                if line.startswith(key):
                    return int(line.split()[1])
        return 0

    def end(self, kill=False):
        """Kills it, or waits for it; true where it was killed before its end."""
        if kill:  # Popen.kill() would take the end of one that has ended already
            os.kill(self.process.pid, signal.SIGKILL)
        self.wait(lambda: False)
        self.read_bytes = self.proc("io", "rchar:")
        code = self.process.wait()
        self.seconds = time.monotonic() - self.begun
        for thread in self.threads:
            thread.join()
        self.process.stdout.close()
        self.process.stderr.close()
        want(code == OK or (kill and code == -9), f"cp: exit {code}: {self.error!r}")
        if not BOUNDED:
            want(self.memory <= MEMORY_MAX, f"cp had {self.memory >> 20} MiB in memory")
        return code == -9

    def ids(self, status):
        return {blob for blob, row in self.rows.items() if row["status"] == status}


class Move:
    """Copies a store to another, killed so many times on the way."""

    def __init__(self, bench, source, make, name, ids):
        """make(bench, name) makes a target."""
        self.bench = bench
        self.source = source
        self.make = make
        self.name = name
        self.ids = ids
        self.logical = sum(int(blob.split(":")[2]) for blob in ids)
        self.kills = 0
        self.begin(name)

    def begin(self, name):
        self.target = self.make(self.bench, name)
        self.there = set()  # listed at the target after the run before
        self.memory = 0
        self.seconds = 0

    def account(self, copy):
        """What a run said against what was there before it."""
        copied, present = copy.ids("copied"), copy.ids("present")
        want(not copied & self.there, "what was there was copied again")
        want(present <= self.there, "told as present, and was not there")
        self.memory = max(self.memory, copy.memory)
        self.seconds += copy.seconds

    def goal(self, least, most, in_large):
        """Where to kill, of all bytes in the order of ids: (bytes, bytes of a blob from there on).
        That is before the largest blob that begins there, or anywhere."""
        at, found = 0, (0, 0)
        for blob in sorted(self.ids):
            size = self.bytes([blob])
            if least <= at < most and size > found[1] and blob not in self.there:
                found = (at, size)
            at += size
        return found if in_large and found[1] else (self.bench.random.randrange(least, most), 0)

    def killed(self, goal, ahead):
        """Kills a run some way on from there: in the middle of others than were told of."""
        copy = Copy(self.bench, self.source, self.target)
        if copy.wait(lambda: copy.passed >= goal):
            now = time.monotonic()
            ahead = ahead or self.logical // 50
            took = (now - copy.begun) * ahead / (copy.copied or ahead)
            late = now + self.bench.random.uniform(0.1, 0.9) * took
            copy.wait(lambda: time.monotonic() >= late or copy.passed >= goal + ahead)
        killed = copy.end(kill=True)
        self.kills += killed
        self.account(copy)
        copied = copy.ids("copied")
        want(killed or copy.summary, "a run that ended has no summary")
        now = self.target.check(self.ids)
        want(self.there <= now and copied <= now, "acknowledged, and not there after a kill")
        told = self.target.collectable()
        print(
            f"#   killed after {copy.seconds:.2f} s: {len(copied)} copied, {len(now)} there of"
            f" {len(self.ids)}; {told['freed_bytes'] >> 10} KiB of blobs begun;"
            f" {copy.memory >> 20} MiB in memory",
            flush=True,
        )
        self.there = now
        return told

    def last(self, told):
        """A run to the end: what it copies is what is not there, blob by blob and byte by byte."""
        before = told["kept_bytes"] + told["freed_bytes"] if told else 0
        copy = Copy(self.bench, self.source, self.target)
        copy.end()
        self.account(copy)
        want(copy.ids("present") == self.there, "some of what was there was not told")
        want(copy.ids("copied") == set(self.ids) - self.there, "not all of the rest was copied")
        want(set(copy.rows) == set(self.ids), "rows of other blobs")
        summary = copy.summary
        want(summary["failed"] == 0 and summary["present"] == len(self.there), f"{summary}")
        want(summary["copied_bytes"] == self.logical - self.bytes(self.there), f"{summary}")
        if not self.target.in_rocks:  # which reads what it writes, to compact it
            most = summary["copied_bytes"] + self.logical // 4
            want(copy.read_bytes <= most, f"{copy.read_bytes} bytes read for {summary}")
        told = self.target.collectable()
        want(told["freed_blocks"] == 0, f"blocks that nobody names, after all was copied: {told}")
        fresh = told["kept_bytes"] - before
        want(summary["fresh_bytes"] == fresh, f"fresh is {fresh}, told was {summary}")
        print(
            f"#   last run {copy.seconds:.2f} s: {summary['copied']} copied,"
            f" {summary['copied_bytes'] >> 20} MiB of which {summary['fresh_bytes'] >> 20} MiB were"
            f" not there; {copy.memory >> 20} MiB in memory"
        )

    def nothing(self):
        """A run when all is there, in which the source's blocks are not even to be found."""
        blocks = os.path.join(self.source.directory, "cas", "blocks", "blake3")
        os.rename(blocks, blocks + ".hidden")
        again = Copy(self.bench, self.source, self.target)
        again.end()
        os.rename(blocks + ".hidden", blocks)
        return again

    @staticmethod
    def bytes(ids):
        return sum(int(blob.split(":")[2]) for blob in ids)

    def cut_short(self, kills):
        """The runs that are to be killed."""
        told = None
        for number in range(kills):
            share = self.logical // (kills + 1)
            where = self.goal(int((number + 0.6) * share), (number + 1) * share, number % 2 == 0)
            told = self.killed(*where)
        return told

    def go(self, kills):
        """The whole copy; the target. Runs may end before they are killed, even all of them."""
        told = self.cut_short(kills)
        for number in range(2, 6):
            if kills == 0 or self.kills > 0:
                break
            shutil.rmtree(self.target.directory)
            self.begin(f"{self.name}-{number}")
            told = self.cut_short(kills)
        self.last(told)
        want(self.target.check(self.ids) == set(self.ids), "ids are not the same")
        again = self.nothing()
        want(again.ids("present") == set(self.ids), "all was there, and some was copied")
        print(
            f"# {self.source.name} to {self.target.name}: {self.seconds:.1f} s,"
            f" {self.logical / 1e6 / self.seconds:.0f} MB/s, {self.memory >> 20} MiB in memory;"
            f" {self.kills} kills; {again.seconds:.2f} s when there was nothing to copy",
            flush=True,
        )
        want(kills == 0 or self.kills > 0, "no cp was killed in its middle")
        return self.target


# ---- The test ----


def put_all(bench, store, blobs, size):
    """{id: number} of all blobs, after they were put in batches."""
    options = ["--chunker", "fixed:2048"] if is_little(size) else []
    folder = bench.path("files")
    os.mkdir(folder)
    ids, names = {}, {}
    seconds = held = 0
    for at, number in enumerate(blobs.order, 1):
        path = os.path.join(folder, str(number))
        blobs.write(number, path)
        names[path] = number
        held += blobs.size(number)
        if held >= BATCH or len(names) == 5000 or at == len(blobs.order):
            begun = time.monotonic()
            rows = store.rows("put", *options, "-r", folder)
            seconds += time.monotonic() - begun
            for blob, name in rows:
                ids[blob] = names[name]
                os.remove(name)
            names, held = {}, 0
    logical = Move.bytes(ids)
    told = store.collectable()
    print(
        f"# put {len(ids)} blobs, {blobs.large} of them large; {logical >> 20} MiB in"
        f" {told['kept_blocks']} blocks of {told['kept_bytes'] >> 20} MiB: {seconds:.1f} s,"
        f" {logical / 1e6 / seconds:.0f} MB/s",
        flush=True,
    )
    want(told["kept_bytes"] < 0.99 * logical, "nothing was shared")
    return ids


def compare(bench, store, ids, blobs):
    """The bytes of all large blobs and some small ones are those that were put."""
    small = sorted(blob for blob, number in ids.items() if number >= blobs.large)
    chosen = [blob for blob, number in ids.items() if number < blobs.large]
    chosen += bench.random.sample(small, min(len(small), OPTIONS.samples))
    for blob in chosen:
        want(store.digest(blob) == blobs.digests[ids[blob]], f"{blob}: other bytes")
    print(f"# {len(chosen)} blobs, {Move.bytes(chosen) >> 20} MiB, compared in {store.name}")


def moved_and_back(bench, make_third):
    size = parse_size(OPTIONS.size)
    free = shutil.disk_usage(bench.directory).free
    want(free > 4 * size, f"{free >> 20} MiB free at {bench.directory}")
    blobs = Blobs(OPTIONS.seed, size)
    first = files_and_rocks(bench, "first")
    ids = put_all(bench, first, blobs, size)
    second = Move(bench, first, files_and_postgres, "second", ids).go(OPTIONS.kills)
    third = Move(bench, second, make_third, "third", ids).go(OPTIONS.kills)
    for store in (first, second):
        want(store.check(ids) == set(ids), "the source is not what it was")
    compare(bench, second, ids, blobs)
    compare(bench, third, ids, blobs)
    for blob in bench.random.sample(sorted(ids), min(len(ids), 20)):
        manifests = {tuple(bench.manifest(s.place, blob)) for s in (first, second, third)}
        want(len(manifests) == 1, f"{blob} has other blocks")


def main():
    global SERVER, OPTIONS
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    harness.add_arguments(parser)
    parser.add_argument("--size", default="8M" if BOUNDED else "16M", help="bytes to put")
    parser.add_argument("--kills", type=int, default=2 if BOUNDED else 5, help="in each direction")
    parser.add_argument(
        "--samples", type=int, default=20, help="small blobs compared, beside all large ones"
    )
    OPTIONS = parser.parse_args()
    harness.work_in_memory()
    try:
        SERVER = postgres.Server()
    except postgres.Missing as missing:
        print(f"1..0 # SKIP {missing}")
        return
    try:
        harness.main(
            [
                ("moved and back, files", lambda bench: moved_and_back(bench, files_and_rocks)),
                ("moved and back, kv:", lambda bench: moved_and_back(bench, all_in_rocks)),
            ],
            OPTIONS,
        )
    finally:
        SERVER.close()


BOUNDED = os.environ.get("GRAVITON_TEST_BOUNDED") == "1"

if __name__ == "__main__":
    main()
