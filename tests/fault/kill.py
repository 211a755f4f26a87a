#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 in the middle of puts, at random moments, and what must hold after each.

Every id that was printed reads back, byte for byte; every blob that ls shows is whole and is one
of those that were put; no manifest names a block that is missing; and the store takes the same
files again.

  kill.py PROGRAM [--kills N] [--seed N]
"""

import argparse
import hashlib
import json
import os
import subprocess
import threading
import time

import harness
from harness import OK, want

FILES = 12
STORE_PUTS = 10  # puts that one store lives through before the next begins empty


def make_files(bench, number):
    """Files of one round: new bytes, bytes of the round before, an empty and a tiny one."""
    sizes = [0, 1, 4096, 70001, 3 << 20]
    while len(sizes) < FILES:
        sizes.append(bench.random.randrange(1, 900000))
    bench.random.shuffle(sizes)
    shared = bench.random.randbytes(300000)
    files = {}
    for i, size in enumerate(sizes):
        data = bench.random.randbytes(size)
        if i % 3 == 0 and size > len(shared):
            data = shared + data[len(shared) :]
        files[bench.write(f"file-{number % 2}-{i}", data)] = data
    return files


class Reader(threading.Thread):
    """Collects the ids that a put prints; a line counts once it is whole."""

    def __init__(self, process):
        super().__init__()
        self.process = process
        self.printed = []

    def run(self):
        for line in self.process.stdout:
            if line.endswith(b"\n"):
                self.printed.append(line[:-1].decode().split("\t"))


def put_and_kill(bench, store, files, delay):
    """Puts the files, kills the put after `delay` seconds; {id: bytes} of what it printed, and
    whether the put had ended before."""
    process = bench.start("put", *files, store=store)
    reader = Reader(process)
    reader.start()
    time.sleep(delay)
    process.kill()
    process.wait()
    reader.join()
    errors = process.stderr.read().decode("utf-8", "replace")
    process.stdout.close()
    process.stderr.close()
    want(process.returncode in (OK, -9), f"put: exit {process.returncode}: {errors}")
    return {blob: files[name] for blob, name in reader.printed}, process.returncode == OK


def stream_and_kill(bench, store, delay):
    """Feeds one long stream to `put -` and kills it before its end: it is never stored."""
    process = bench.start("put", "-", store=store, given=subprocess.PIPE)
    end = time.monotonic() + delay
    try:
        while time.monotonic() < end:
            process.stdin.write(bench.random.randbytes(1 << 17))
    finally:
        process.kill()
        out, _ = process.communicate()
    want(out == b"", f"put - printed {out!r} before its input ended")


def check_id(blob, data):
    """The id's own words: size, and the digest where this Python knows the algorithm."""
    algorithm, digest, size = blob.split(":")
    want(int(size) == len(data), f"{blob} has {len(data)} bytes")
    if algorithm == "sha256":
        want(hashlib.sha256(data).hexdigest() == digest, f"{blob} is not that digest")


def check_store(bench, store, printed, universe, read):
    """What must hold of a store that was killed; opening it is part of the test. Every blob is
    verified, and those of `read` are compared with what was put."""
    shown = bench.ids(store)
    missing = set(printed) - set(shown)
    want(not missing, f"printed, and not listed: {missing}")
    verified = bench.run("verify", "--all", store=store)
    want(verified.code == OK, f"{verified}; {verified.out.decode()[:500]}")
    stats = json.loads(bench.run("stats", "--json", store=store).wants(OK).out)
    want(stats["missing_blocks"] == 0, f"blocks are missing: {stats}")
    want(stats["blobs"] == len(shown), f"ls shows {len(shown)} blobs, stats {stats}")
    for blob in shown if read is None else read:
        got = bench.run("get", blob, store=store).wants(OK).out
        check_id(blob, got)
        want(blob not in printed or got == printed[blob], f"{blob} has other bytes than were put")
        want(hashlib.sha256(got).digest() in universe, f"{blob} was never put")


def files_and_rocks(directory):
    return ["--store", directory]


def all_in_rocks(directory):
    return ["--blocks", "kv:", "--meta", "rocks:" + directory]


def duration(bench, place, options, files):
    """Seconds that an undisturbed put of the files takes, start to end."""
    begun = time.monotonic()
    bench.run("put", *options, *files, store=place(bench.path("undisturbed"))).wants(OK)
    return time.monotonic() - begun


def killed_puts(bench, kills, place, *options):
    """Kills puts until `kills` were, every one at a moment of its own. The span that moments are
    drawn from follows what the puts take: shorter when one had ended first, else longer."""
    files = make_files(bench, 0)
    span = duration(bench, place, options, files)
    printed = {}
    universe = set()
    store = None
    ids = number = killed = 0
    while killed < kills:
        if number % STORE_PUTS == 0:
            if store:
                check_store(bench, store, printed, universe, None)
            store = place(bench.path(f"store-{number}"))
            bench.put(store, b"the first", *options)
            printed = {}
            universe = {hashlib.sha256(b"the first").digest()}
        files = make_files(bench, number)
        universe.update(hashlib.sha256(data).digest() for data in files.values())
        delay = bench.random.uniform(0, span)
        new = {}
        if number % 5 == 4:
            stream_and_kill(bench, store, min(delay, 1.0))
            killed += 1
        else:
            new, ended = put_and_kill(bench, store, files, delay)
            killed += not ended
            span *= 0.8 if ended else 1.05
        number += 1
        ids += len(new)
        printed.update(new)
        check_store(bench, store, printed, universe, new)
    print(f"# {killed} of {number} puts killed; {ids} ids had been printed")
    again = bench.run("put", *files, store=store).wants(OK).out.decode().splitlines()
    want(len(again) == len(files), f"{len(again)} of {len(files)} files were stored again")
    for line in again:
        blob, name = line.split("\t")
        printed[blob] = files[name]
    check_store(bench, store, printed, universe, None)


def killed_creation(bench, kills):
    """Kills the put that makes the store: afterwards it is made, or can be."""
    data = bench.random.randbytes(200000)
    path = bench.write("file", data)
    begun = time.monotonic()
    bench.run("put", path, store=bench.path("undisturbed")).wants(OK)
    whole = time.monotonic() - begun
    for number in range(kills):
        store = bench.path(f"made-{number}")
        put_and_kill(bench, store, {path: data}, bench.random.uniform(0, 0.9 * whole))
        blob = bench.run("put", path, store=store).wants(OK).out.decode().split("\t")[0]
        want(bench.run("get", blob, store=store).wants(OK).out == data, "other bytes came back")
        want(bench.ids(store) == [blob], "more blobs than were put")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    harness.add_arguments(parser)
    bounded = os.environ.get("GRAVITON_TEST_BOUNDED") == "1"
    parser.add_argument("--kills", type=int, default=3 if bounded else 10)
    arguments = parser.parse_args()
    kills = arguments.kills
    harness.main(
        [
            ("puts killed", lambda bench: killed_puts(bench, kills, files_and_rocks)),
            (
                "puts killed, sha256",
                lambda bench: killed_puts(bench, kills // 3, files_and_rocks, "--hash", "sha256"),
            ),
            ("puts killed, kv:", lambda bench: killed_puts(bench, kills // 3, all_in_rocks)),
            ("the making of a store killed", lambda bench: killed_creation(bench, kills // 2)),
        ],
        arguments,
    )


if __name__ == "__main__":
    main()
