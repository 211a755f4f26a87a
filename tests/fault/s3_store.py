#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The production pair, blocks in S3 and metadata in PostgreSQL, in trouble: nothing acknowledged is
lost, nothing wrong is served, no error is taken for an absent block, and a bucket meets no database
but its own.

  s3_store.py PROGRAM [--seed N] [--only NAME]
"""

import os
import random
import sys
import threading
import time

import s3_rig
from harness import CONFLICT, CORRUPT, NOT_FOUND, OK, PERMISSION, UNAVAILABLE, want
from s3_rig import LATE, PATIENCE, no_secrets, patience, timed

from proxy import (
    answer, answer_early, cut_answer, cut_before, cut_request, drop_answer, flip_answer,
    flip_request, replace_answer, shorten, spoil_answer, stall,
)  # fmt: skip

SECONDS = 3 if s3_rig.BOUNDED else 5
PREFIX = "some/where"
FAULTS = [
    answer(500, "InternalError"), answer(503, "SlowDown"), answer_early(503, "SlowDown"),
    cut_before, drop_answer, spoil_answer(500, "InternalError"),
    cut_request(1000), flip_request(500), cut_answer(300), cut_answer(300, orderly=True),
]  # fmt: skip
# Only where the size is known may an answer be short without a sign of it.
SHORT = [shorten(10), shorten(10, chunked=True)]


class Pair:
    """A store of its own, and what was acknowledged of it."""

    def __init__(self, world, bench, bucket=None):
        self.world = world
        self.bench = bench
        self.bucket = bucket or world.bucket()
        self.url = world.new_database(bench)
        self.options = ["--blocks", f"s3://{self.bucket}/{PREFIX}", "--meta", self.url]
        self.lock = threading.Lock()
        self.stored = {}
        self.put(b"first")

    def run(self, command, *words, given=None):
        return self.bench.run(command, *words, store=self.options, given=given)

    def put(self, data):
        blob = self.bench.put(self.options, data)
        self.stored[blob] = data
        return blob

    def objects(self):
        return self.world.client().list(self.bucket)

    def key_of(self, block):
        """The key of the object that holds a block: PREFIX/ALGORITHM/HEX-SIZE."""
        hexed = block.split(":")[1]
        found = [key for key in self.objects() if f"/{hexed}" in key and "quarantine" not in key]
        want(len(found) == 1, f"block {block} is in {found}")
        return found[0]

    def key_of_first_block(self, blob):
        return self.key_of(self.bench.manifest(self.options, blob)[0][2])

    def check(self, doubtful=()):
        """Every acknowledged blob reads back, all that is there is whole, and gc agrees."""
        self.run("verify", "--all").wants(OK)
        listed = set(self.bench.ids(self.options))
        lost = set(self.stored) - listed - set(doubtful)
        want(not lost, f"{len(lost)} acknowledged blobs are lost, {sorted(lost)[:1]}")
        for blob in random.Random(1).sample(sorted(self.stored), min(20, len(self.stored))):
            if blob in listed:
                want(self.run("get", blob).wants(OK).out == self.stored[blob], f"{blob} differs")
        self.run("gc").wants(OK)
        self.run("verify", "--all").wants(OK)
        self.world.no_uploads(self.bucket, "after all")


def worker(pair, seed, until, allowed, doubtful, failures):
    rng = random.Random(seed)
    mine = []
    try:
        while time.monotonic() < until and not failures:
            choice = rng.random()
            if choice < 0.6 or not mine:
                data = rng.randbytes(rng.choice((1, 5000, 300000, 2500000)))
                if rng.random() < 0.3:
                    data = b"shared" * 200000 + data[:100]
                result, seconds = timed(pair.run, "put", "-", given=data)
                want(result.code == OK or result.code in allowed, str(result))
                want(seconds < LATE, f"{seconds:.0f} s: {result}")
                if result.code == OK:
                    blob = result.out.decode().split("\t")[0]
                    with pair.lock:
                        pair.stored[blob] = data
                    mine.append((blob, data))
            elif choice < 0.85:
                blob, data = rng.choice(mine)
                result = pair.run("get", blob)
                want(result.code == OK or result.code in allowed, str(result))
                want(result.code != OK or result.out == data, f"{blob} has other bytes")
            else:
                blob, data = mine.pop(rng.randrange(len(mine)))
                if len(data) < 100 or data.startswith(b"shared"):
                    mine.append((blob, data))
                    continue
                with pair.lock:
                    pair.stored.pop(blob)
                    doubtful.add(blob)
                result = pair.run("rm", blob)
                want(result.code == OK or result.code in allowed, str(result))
    except Exception as error:  # told by the main thread
        failures.append(error)


def work(pair, processes, seconds, allowed, trouble=None):
    failures, doubtful = [], set()
    until = time.monotonic() + seconds
    threads = [
        threading.Thread(
            target=worker,
            args=(pair, pair.bench.random.random(), until, allowed, doubtful, failures),
        )
        for _ in range(processes)
    ]
    for thread in threads:
        thread.start()
    try:
        while trouble and time.monotonic() < until and not failures:
            trouble()
    finally:
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    print(f"# {len(pair.stored)} blobs stored")
    return doubtful


def faults_on_the_way(world, bench):
    """A tenth of the requests fails in one way or another; every command succeeds all the same."""
    pair = Pair(world, bench)
    # A body that is changed or short for the third time counts as damaged: chance may not do that.
    for fault in FAULTS:
        chance = (random.Random(bench.random.random()), 0.01)
        world.proxy.on(fault, times=None, share=chance, each=2)
    for fault in SHORT:
        world.proxy.on(fault, path="/blake3/", times=None, share=(bench.random, 0.02), each=1)
    doubtful, met, end = set(), 0, time.monotonic() + 120
    while met <= 20:  # a slow machine meets few at a time
        want(time.monotonic() < end, f"only {met} faults were met")
        doubtful |= work(pair, 4, SECONDS, set())
        met = sum(rule.met for rule in world.proxy.rules)
    pair.check(doubtful)
    world.proxy.clear()
    pair.check(doubtful)


def gateway_in_trouble(world, bench):
    """It is killed and started, frozen and freed, its OSD paused, while programs work."""
    pair = Pair(world, bench)

    def trouble():
        time.sleep(bench.random.uniform(0.2, 0.8))
        choice = bench.random.randrange(3)
        if choice == 0:
            world.gateway.kill("rgw")
            time.sleep(bench.random.uniform(0, 0.5))
            world.gateway.start("rgw")
        elif choice == 1:
            with world.gateway.frozen(bench.random.choice(("rgw", "osd"))):
                time.sleep(1)
        else:
            with world.gateway.paused():
                time.sleep(0.5)

    with patience(bench, PATIENCE):
        doubtful = work(pair, 3, SECONDS, {UNAVAILABLE}, trouble)
    pair.check(doubtful)


def dead_gateway(world, bench):
    """Nobody answers: every command says so in time."""
    pair = Pair(world, bench)
    blob = pair.put(bench.random.randbytes(3_000_000))
    world.gateway.kill("rgw")
    try:
        for words in (["put", "-"], ["get", blob], ["verify", "--all"], ["gc"], ["scrub"]):
            with patience(bench, PATIENCE):
                result, seconds = timed(pair.run, *words, given=os.urandom(100000))
            result.wants(UNAVAILABLE)
            want(seconds < LATE, f"{seconds:.0f} s: {result}")
            no_secrets(world, result)
    finally:
        world.gateway.start("rgw")
    pair.check()


def errors_are_not_absence(world, bench):
    """Where the service does not say whether a block is there, nothing is taken for absent."""
    pair = Pair(world, bench)
    data = bench.random.randbytes(6_000_000)
    blob = pair.put(data)
    before = pair.objects()
    for status, code, exits in (
        (403, "AccessDenied", PERMISSION), (500, "InternalError", UNAVAILABLE),
        (404, "NoSuchBucket", None),
    ):  # fmt: skip
        for words in (["put", "-"], ["get", blob], ["verify", "--all"], ["scrub"], ["gc"]):
            world.proxy.clear()
            world.proxy.on(answer(status, code), method="GET|HEAD", times=None)
            with patience(bench, PATIENCE if exits == UNAVAILABLE else 60):
                result, seconds = timed(pair.run, *words, given=data)
            want(result.code not in (OK, CORRUPT), f"{code}: {result}")
            want(exits is None or result.code == exits, f"{code}: {result}")
            want("bucket" in result.err, f"{code}: {result}")
            want(result.err and seconds < LATE, f"{seconds:.0f} s: {result}")
            world.proxy.clear()
            want(pair.objects() == before, f"{code} at {words}: the bucket has changed")
    pair.check()


def wrong_bytes(world, bench):
    """Wrong and missing bytes that no length tells of, from the way or from below the gateway."""
    pair = Pair(world, bench)
    data = bench.random.randbytes(5_000_000)
    blob = pair.put(data)
    for why, fault in {
        "a bit": flip_answer(5000), "all": replace_answer(b"x" * 70000),
        "short": shorten(10, chunked=None), "empty": replace_answer(b""),
    }.items():  # fmt: skip
        for times in (1, None):
            world.proxy.clear()
            rule = world.proxy.on(fault, method="GET", path="blake3/", times=times)
            with patience(bench, 60 if times else PATIENCE):
                result = pair.run("get", blob)
            want(rule.met, f"{why}: the fault was never met")
            want(result.code in (OK, CORRUPT, UNAVAILABLE), f"{why}: {result}")
            want(times or result.code != OK, f"{why}: {result}")
            want(result.out == data[: len(result.out)], f"{why}: wrong bytes were written")
            want(result.code != OK or result.out == data, f"{why}: bytes are lacking")
    world.proxy.clear()
    pair.check()


def rot(world, bench):
    """Blocks that went bad under the gateway: found by get, verify and scrub, set aside by scrub,
    and healed by a put of the same bytes."""
    for name, change, codes in (
        ("a bit", lambda part: world.gateway.rot(part, 777), (CORRUPT,)),
        ("shorter", lambda part: world.gateway.cut(part, 100), (CORRUPT, UNAVAILABLE)),
        ("gone", world.gateway.lose, (CORRUPT, NOT_FOUND)),
    ):
        pair = Pair(world, bench)
        data = bench.random.randbytes(3_000_000)
        blob = pair.put(data)
        whole = pair.put(b"another " * 50_000)
        change(world.gateway.parts(pair.bucket, pair.key_of_first_block(blob))[0])
        path = bench.path("got")
        # The gateway stands still over a part that is shorter: nobody can tell what is wrong.
        stands_still = name == "shorter"
        with patience(bench, PATIENCE if stands_still else 60):
            result = pair.run("get", blob, "-o", path)
            want(result.code in codes, f"{name}: {result}")
            want(not os.path.exists(path), f"{name}: wrong bytes were left as a file")
            result = pair.run("get", blob)
            whole_so_far = result.out == data[: len(result.out)]
            want(result.code in codes and whole_so_far, f"{name}: {result}")
            result = pair.run("verify", "--all")
            told = result.err + result.out.decode("utf-8", "replace")
            want(result.code != OK and blob in told, f"{name}: {result} {result.out}")
            result = pair.run("scrub")
            want(result.code != OK, f"{name}: {result}")
        pair.run("verify", whole).wants(OK)
        if stands_still:
            continue
        aside = [key for key in pair.objects() if "/.quarantine/" in key]
        want(len(aside) == (name == "a bit"), f"{name}: set aside {aside}")
        pair.put(data)
        pair.run("verify", "--all").wants(OK)
        want(pair.run("get", blob).wants(OK).out == data, f"{name}: not healed")
        pair.run("scrub").wants(OK)


def killed_programs(world, bench):
    """Programs killed in the middle: what they acknowledged is there; what they left, gc frees."""
    pair = Pair(world, bench)
    names = [bench.write(f"f{i}", bench.random.randbytes(3_000_000)) for i in range(8)]
    for _ in range(3 if s3_rig.BOUNDED else 6):
        process = bench.start("put", *names, store=pair.options)
        time.sleep(bench.random.uniform(0.05, 0.6))
        process.kill()
        out, _ = process.communicate()
        for line in out.decode().splitlines():
            blob, name = line.split("\t")
            with open(name, "rb") as file:
                pair.stored[blob] = file.read()
    end = time.monotonic() + LATE
    while pair.run("gc").code != OK:
        want(time.monotonic() < end, "gc is refused though nobody writes")
        time.sleep(0.1)
    pair.check()
    for blob in list(pair.stored):
        pair.run("rm", blob).wants(OK)
    pair.run("gc").wants(OK)
    left = [key for key in pair.objects() if not key.endswith("graviton.json")]
    want(not left, f"{len(left)} objects are left of an empty store: {left[:3]}")


def gc_in_trouble(world, bench):
    """Removals that fail, or whose answers are lost: what is named stays, what is not goes."""
    pair = Pair(world, bench)
    kept = pair.put(bench.random.randbytes(4_000_000))
    for fault in (
        answer(500, "InternalError"), cut_before, drop_answer, answer(200, "InternalError"),
        replace_answer(b"<Error><Code>InternalError</Code></Error>"),
    ):  # fmt: skip
        blob = bench.put(pair.options, bench.random.randbytes(4_000_000))
        pair.run("rm", blob).wants(OK)
        before = len(pair.objects())
        world.proxy.clear()
        rule = world.proxy.on(fault, method="DELETE|POST")
        pair.run("gc").wants(OK)
        want(rule.met, "gc removed nothing")
        want(len(pair.objects()) < before, "gc removed nothing")
    world.proxy.clear()
    blob = bench.put(pair.options, bench.random.randbytes(4_000_000))
    pair.run("rm", blob).wants(OK)
    world.proxy.on(stall(), method="DELETE|POST", times=None)
    with patience(bench, PATIENCE):
        result, seconds = timed(pair.run, "gc")
    result.wants(UNAVAILABLE)
    want(seconds < LATE, f"{seconds:.0f} s: {result}")
    world.proxy.clear()
    pair.run("verify", kept).wants(OK)
    pair.check()


def wrong_database(world, bench):
    """A bucket with the database of another store, or an empty one; a database with the bucket of
    another, or an empty one: refused, and neither side changes."""
    pair, other = Pair(world, bench), Pair(world, bench)
    blob = pair.put(bench.random.randbytes(3_000_000))
    other.put(bench.random.randbytes(1_000_000))
    empty, bare = world.new_database(bench), world.new_database(bench, migrated=False)
    blank = world.bucket()
    blocks = [f"s3://{name}/{PREFIX}" for name in (pair.bucket, other.bucket, blank)]
    commands = [
        ["put", "-"], ["get", blob], ["ls"], ["stat", blob], ["rm", blob], ["gc"], ["scrub"],
        ["verify", "--all"], ["stats"],
    ]  # fmt: skip
    for where, meta in (
        (blocks[0], other.url), (blocks[0], empty), (blocks[0], bare), (blocks[1], pair.url),
        (blocks[2], pair.url), (blocks[0] + "x", pair.url),
    ):  # fmt: skip
        before = [world.client().list(name) for name in (pair.bucket, other.bucket, blank)]
        dumps = [dump(world, url) for url in (pair.url, other.url, empty)]
        for words in commands:
            store = ["--blocks", where, "--meta", meta]
            result = bench.run(*words[:1], *words[1:], store=store, given=b"new bytes")
            want(result.code != OK, f"taken: {result}")
            want(result.err.strip() and not result.out, f"without a word: {result}")
            if meta is not bare:
                want(result.code == CONFLICT, str(result))
        after = [world.client().list(name) for name in (pair.bucket, other.bucket, blank)]
        want(after == before, f"{where} with {meta}: a bucket has changed")
        after = [dump(world, url) for url in (pair.url, other.url, empty)]
        want(after == dumps, f"{where} with {meta}: a database has changed")
    pair.check()
    other.check()


def dump(world, url):
    """How many rows each table of a database has."""
    database = url.rsplit("/", 1)[1]
    tables = world.sql(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN"
        " ('pg_catalog', 'information_schema') ORDER BY 1",
        database,
    ).splitlines()
    counts = [f"SELECT '{name}', count(*) FROM {name}" for name in tables]
    return world.sql(" UNION ALL ".join(counts) + " ORDER BY 1", database) if counts else ""


def missing_bucket(world, bench):
    """A bucket that is not there: for a new store, and for one whose bucket has gone."""
    url = world.new_database(bench)
    store = ["--blocks", "s3://no-such-bucket/x", "--meta", url]
    result = bench.run("put", "-", store=store, given=b"x")
    want(result.code != OK and "no-such-bucket" in result.err, str(result))
    pair = Pair(world, bench)
    blob = pair.put(bench.random.randbytes(2_000_000))
    client = world.client()
    for key in pair.objects():
        client.remove(pair.bucket, key)
    client.call("DELETE", pair.bucket)
    for words in (["put", "-"], ["get", blob], ["verify", "--all"], ["gc"]):
        result = pair.run(*words, given=b"y")
        want(result.code != OK and pair.bucket in result.err, str(result))


def database_in_trouble(world, bench):
    """The database crashes and starts while the bucket is written to."""
    pair = Pair(world, bench)

    def trouble():
        time.sleep(bench.random.uniform(0.5, 1))
        world.database.stop("immediate")
        time.sleep(bench.random.uniform(0, 0.5))
        world.database.start()

    doubtful = work(pair, 3, SECONDS, {UNAVAILABLE}, trouble)
    pair.check(doubtful)


TESTS = [
    ("faults on the way", faults_on_the_way),
    ("a gateway in trouble", gateway_in_trouble),
    ("a database in trouble", database_in_trouble),
    ("a dead gateway", dead_gateway),
    ("errors are not absence", errors_are_not_absence),
    ("wrong bytes", wrong_bytes),
    ("bit rot under the gateway", rot),
    ("programs killed", killed_programs),
    ("gc in trouble", gc_in_trouble),
    ("the wrong database", wrong_database),
    ("a missing bucket", missing_bucket),
]

if __name__ == "__main__":
    sys.exit(s3_rig.main(__doc__.splitlines()[0], TESTS, with_database=True))
