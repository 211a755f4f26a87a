#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One store, blocks in S3 and metadata in PostgreSQL, used from two hosts at once: network
namespaces with a link each to the services, with names, addresses, directories of their own.

  hosts.py PROGRAM [--seed N] [--only NAME]

All of it lies in a network of the test's own, which this program makes and enters first; the
machine's is not touched.
"""

import os
import random
import subprocess
import sys
import threading
import time

import s3_rig
from harness import CONFLICT, NOT_FOUND, OK, UNAVAILABLE, Result, want
from s3_rig import BOUNDED, LATE, PATIENCE

import proxy

ENTERED = "GRAVITON_TEST_NETWORK"
SECONDS = 4 if BOUNDED else 8
# Files of this machine: the first that there are so many bytes of.
DATA_FROM = ["/usr/include", "/usr/lib/python3", "/usr/share/doc", "/usr/lib"]
DATA_BYTES = (8 if BOUNDED else 48) << 20
FILE_MAX = 4 << 20


def command(*words):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")


def enter():
    """This program again in a network of its own, or a skip where nobody may make one."""
    words = ["unshare", "--net"]
    if os.getuid() != 0:
        words += ["--user", "--map-current-user", "--keep-caps"]
    for line in (words + ["true"], ["ip", "-V"]):
        try:
            command(*line)
        except (OSError, RuntimeError) as error:
            print(f"1..0 # SKIP no networks of one's own: {error}")
            return
    os.environ[ENTERED] = "1"
    os.execvp(words[0], words + [sys.executable] + sys.argv)


class Host:
    """A namespace of networks and of the host's name, for `with`."""

    def __init__(self, world, bench, number):
        self.world = world
        self.bench = bench
        self.name = f"host{number}"
        self.near, self.far = f"10.77.{number}.1", f"10.77.{number}.2"
        self.link = f"grv{number}"
        self.directory = bench.path(self.name)
        os.makedirs(os.path.join(self.directory, "tmp"))
        # It lives until its input ends, which comes also when this process dies.
        self.holder = subprocess.Popen(["unshare", "--net", "--uts", "cat"], stdin=subprocess.PIPE)
        self.carriers = []
        try:
            self.connect()
        except BaseException:
            self.close()
            raise

    def connect(self):
        ours = os.readlink("/proc/self/ns/uts")
        end = time.monotonic() + 10
        while os.readlink(f"/proc/{self.holder.pid}/ns/uts") == ours:
            want(time.monotonic() < end, "no namespace")
            time.sleep(0.01)
        peer = ["peer", "name", "eth0", "netns", str(self.holder.pid)]
        command("ip", "link", "add", self.link, "type", "veth", *peer)
        command("ip", "addr", "add", self.near + "/30", "dev", self.link)
        command("ip", "link", "set", self.link, "up")
        command(*self.inside("hostname", self.name))
        command(*self.inside("ip", "link", "set", "lo", "up"))
        command(*self.inside("ip", "addr", "add", self.far + "/30", "dev", "eth0"))
        command(*self.inside("ip", "link", "set", "eth0", "up"))
        port = int(self.world.database.url.rsplit(":", 1)[1].split("/")[0])
        for target in (self.world.gateway.port, port):
            carrier = proxy.Carrier(self.near, target, ("127.0.0.1", target))
            self.carriers.append(carrier)

    def inside(self, *words):
        return ["nsenter", "--target", str(self.holder.pid), "--net", "--uts", "--"] + list(words)

    def environment(self):
        mine = {
            "AWS_ENDPOINT_URL": f"http://{self.near}:{self.world.gateway.port}",
            "HOME": self.directory,
            "TMPDIR": os.path.join(self.directory, "tmp"),
        }
        return dict(self.bench.environment, **mine)

    def words(self, store, verb, *words):
        meta = store.url.replace("127.0.0.1", self.near)
        options = ["--blocks", store.blocks, "--meta", meta]
        return self.inside(*self.bench.words(verb, *words, store=options))

    def run(self, store, verb, *words, given=None):
        line = self.words(store, verb, *words)
        done = subprocess.run(
            line, input=given, stdin=subprocess.DEVNULL if given is None else None,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment(),
            cwd=self.directory, timeout=300,
        )  # fmt: skip
        return Result([self.name] + line[6:], done)

    def start(self, store, verb, *words, **variables):
        return subprocess.Popen(
            self.words(store, verb, *words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=dict(self.environment(), **variables), cwd=self.directory,
        )  # fmt: skip

    def cut_off(self):
        """The cable is pulled: nothing arrives, nobody is told."""
        command("ip", "link", "set", self.link, "down")

    def forgotten(self):
        """What the services still hold of this host's connections ends."""
        for carrier in self.carriers:
            carrier.cut()

    def mend(self):
        command("ip", "link", "set", self.link, "up")

    def close(self):
        for carrier in self.carriers:
            carrier.close()
        self.holder.stdin.close()
        self.holder.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Store:
    def __init__(self, world, bench):
        self.bucket = world.bucket()
        self.blocks = f"s3://{self.bucket}/shared"
        self.url = world.new_database(bench)


def real_files(rng):
    """Files of this machine, shuffled."""
    found, size = [], 0
    for top in DATA_FROM:
        for folder, _, names in os.walk(top):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    told = os.lstat(path)
                except OSError:
                    continue
                if os.path.isfile(path) and not os.path.islink(path) and os.access(path, os.R_OK):
                    if "\n" not in path and "\t" not in path and 0 < told.st_size <= FILE_MAX:
                        found.append(path)
                        size += told.st_size
            if size > DATA_BYTES:
                rng.shuffle(found)
                return found
    rng.shuffle(found)
    return found


def rows(result):
    return [line.split("\t") for line in result.out.decode().splitlines()]


def content(path):
    with open(path, "rb") as file:
        return file.read()


def both(one, other):
    """Two functions at once; what they gave."""
    given = [None, None]
    failures = []

    def call(index, function):
        try:
            given[index] = function()
        except Exception as error:  # told below
            failures.append(error)

    threads = [threading.Thread(target=call, args=pair) for pair in enumerate((one, other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return given


def end_to_end(world, bench):
    """Files of this machine from both hosts at once, two thirds each; each host reads all of them,
    in ranges too; one removes, the other collects; scrub and verify find all sound."""
    store = Store(world, bench)
    files = real_files(bench.random)
    third = len(files) // 3
    with Host(world, bench, 1) as one, Host(world, bench, 2) as two:
        one.run(store, "put", "-", given=b"first").wants(OK)
        put = both(
            lambda: one.run(store, "put", *files[: 2 * third]).wants(OK),
            lambda: two.run(store, "put", *files[third:]).wants(OK),
        )
        stored = {row[0]: row[1] for result in put for row in rows(result)}
        listed = both(
            lambda: {row[0] for row in rows(one.run(store, "ls").wants(OK))},
            lambda: {row[0] for row in rows(two.run(store, "ls").wants(OK))},
        )
        want(listed[0] == listed[1] and set(stored) <= listed[0], "the hosts see different stores")
        for blob in bench.random.sample(sorted(stored), 15):
            data = content(stored[blob])
            for host in (one, two):
                want(host.run(store, "get", blob).wants(OK).out == data, f"{stored[blob]} differs")
                last = bench.random.randrange(len(data))
                first = bench.random.randrange(last + 1)
                got = host.run(store, "get", blob, "--range", f"{first}-{last}").wants(OK).out
                want(got == data[first : last + 1], f"{stored[blob]}, {first} to {last}, differs")
        for result in both(
            lambda: one.run(store, "verify", "--all"), lambda: two.run(store, "scrub")
        ):
            result.wants(OK)
        gone = bench.random.sample(sorted(stored), len(stored) // 2)
        one.run(store, "rm", *gone).wants(OK)
        before = len(world.client().list(store.bucket))
        two.run(store, "gc").wants(OK)
        want(len(world.client().list(store.bucket)) < before, "gc has freed nothing")
        for host in (one, two):
            host.run(store, "verify", "--all").wants(OK)
            host.run(store, "get", gone[0]).wants(NOT_FOUND)
        # What one host collected the other stores anew, whatever it remembers.
        again = [stored[blob] for blob in gone[:50]]
        one.run(store, "put", *again).wants(OK)
        want(two.run(store, "get", gone[0]).wants(OK).out == content(again[0]), "differs")
        for result in both(
            lambda: one.run(store, "scrub"), lambda: two.run(store, "verify", "--all")
        ):
            result.wants(OK)
    world.no_uploads(store.bucket, "two hosts")


def at_random(world, bench):
    """Puts, gets, removals and collections from both, with much in common."""
    store = Store(world, bench)
    shared = [bench.random.randbytes(700_000) for _ in range(6)]
    failures = []
    lock = threading.Lock()
    stored, doubtful = {}, set()
    counts = {"put": 0, "get": 0, "rm": 0, "gc": 0, "gc refused": 0}

    def step(host, rng):
        choice = rng.random()
        with lock:
            known = sorted(stored)
        if choice < 0.5 or not known:
            data = rng.choice(shared) + rng.randbytes(rng.choice((0, 10, 100_000)))
            result = host.run(store, "put", "-", given=data)
            # While somebody collects, nobody else writes.
            want(result.code in (OK, UNAVAILABLE), str(result))
            if result.code == OK:
                with lock:
                    stored[rows(result)[0][0]] = data
                counts["put"] += 1
        elif choice < 0.75:
            blob = rng.choice(known)
            data = stored.get(blob)
            result = host.run(store, "get", blob)
            # Another may have removed it by now.
            want(result.code == OK or blob in doubtful, str(result))
            want(result.code != OK or data is None or result.out == data, f"{blob} differs")
            counts["get"] += 1
        elif choice < 0.9:
            blob = rng.choice(known)
            with lock:
                stored.pop(blob, None)
                doubtful.add(blob)
            result = host.run(store, "rm", blob)
            want(result.code in (OK, NOT_FOUND, UNAVAILABLE), str(result))
            counts["rm"] += 1
        else:
            result = host.run(store, "gc")
            want(result.code in (OK, CONFLICT, UNAVAILABLE), str(result))
            counts["gc" if result.code == OK else "gc refused"] += 1

    def work(host, seed, until):
        rng = random.Random(seed)
        try:
            while time.monotonic() < until and not failures:
                step(host, rng)
        except Exception as error:  # told by the main thread
            failures.append(error)

    with Host(world, bench, 1) as one, Host(world, bench, 2) as two:
        one.run(store, "put", "-", given=b"first").wants(OK)
        until = time.monotonic() + SECONDS
        threads = [
            threading.Thread(target=work, args=(host, bench.random.random(), until))
            for host in (one, two, one, two)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        print(f"# {counts}")
        for host in (one, two):
            host.run(store, "gc").wants(OK)
            host.run(store, "verify", "--all").wants(OK)
        listed = {row[0] for row in rows(one.run(store, "ls").wants(OK))}
        lost = set(stored) - listed - doubtful
        want(not lost, f"{len(lost)} acknowledged blobs are lost")
        two.run(store, "scrub").wants(OK)


def has_ended(process, seconds):
    """Whether a process ends in so much time."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return False
    return True


def cut_off(world, bench):
    """A host loses its link in the middle of a put, and is forgotten by the services. The other
    removes a blob most of whose blocks are of that put too, and collects. When the link is back,
    what the first host acknowledges is there in full."""
    store = Store(world, bench)
    # Only who is cut off is to give up.
    patience = {f"GRAVITON_{name}_TIMEOUT": str(PATIENCE) for name in ("PG", "S3")}
    data = bench.random.randbytes(12 << 20)
    common = bench.write("common", data)
    with Host(world, bench, 1) as one, Host(world, bench, 2) as two:
        blob = rows(two.run(store, "put", common).wants(OK))[0][0]
        for away, for_good in ((1.0, False), (PATIENCE * 5.0, True)):
            more = [bench.write(f"more{i}", bench.random.randbytes(6 << 20)) for i in range(6)]
            alike = bench.write("alike", data + bench.random.randbytes(1000))
            there = len(world.client().list(store.bucket))
            process = one.start(store, "put", alike, *more, **patience)
            while len(world.client().list(store.bucket)) == there and process.poll() is None:
                time.sleep(0.01)
            one.cut_off()
            begun = time.monotonic()
            try:
                one.forgotten()
                two.run(store, "rm", blob).wants(OK)
                collected = two.run(store, "gc")
                want(collected.code in (OK, CONFLICT, UNAVAILABLE), str(collected))
                two.run(store, "put", "-", given=b"meanwhile").wants(OK)
                time.sleep(max(0, begun + away - time.monotonic()))
                if for_good:
                    want(has_ended(process, LATE), "the host that was cut off still waits")
            finally:
                one.mend()
            out, told = process.communicate(timeout=LATE * 2)
            excused = b"put it again" in told or process.returncode == UNAVAILABLE
            want(process.returncode == OK or excused, f"{process.returncode}: {told}")
            print(f"# away for {away} s: exit {process.returncode}, gc {collected.code}")
            for line in out.decode().splitlines():
                stored, name = line.split("\t")
                got = two.run(store, "get", stored).wants(OK).out
                want(got == content(name), f"{name} differs")
            blob = rows(one.run(store, "put", common).wants(OK))[0][0]
            for host in (one, two):
                host.run(store, "gc").wants(OK)
                host.run(store, "verify", "--all").wants(OK)
    world.no_uploads(store.bucket, "a host that was cut off")


TESTS = [
    ("end to end", end_to_end),
    ("at random", at_random),
    ("a host cut off", cut_off),
]


def main():
    if ENTERED not in os.environ:
        return enter()
    command("ip", "link", "set", "lo", "up")
    return s3_rig.main(__doc__.splitlines()[0], TESTS, with_database=True)


if __name__ == "__main__":
    sys.exit(main())
