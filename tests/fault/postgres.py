#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Metadata in PostgreSQL under many processes and a server in trouble: nothing acknowledged is
lost, nothing is half there, nobody hangs, no deadlock reaches a user.

  postgres.py PROGRAM [--processes N] [--seconds N] [--seed N]

The server is the test's own. Trouble: connections terminated at random, the server stopped at once
(as by a crash) and started again, the server process frozen (SIGSTOP) for longer than anybody
waits.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import threading
import time

import harness
from harness import OK, UNAVAILABLE, want

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "service"))
import postgres

SERVER = None
MADE = 0
OPTIONS = None
PATIENCE = 4  # seconds that a put waits for a database that does not answer
LATE = 40  # seconds that such a put may take at most on a busy machine


def sql(statement, database="postgres"):
    url = SERVER.admin.rsplit("/", 1)[0] + "/" + database
    psql = [os.path.join(SERVER.bin, "psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]
    done = subprocess.run(psql + ["-c", statement, url], capture_output=True, text=True, timeout=60)
    want(done.returncode == 0, f"{statement}: {done.stderr}")
    return done.stdout.strip()


class Store:
    """A store over a database of its own, and what was acknowledged of it."""

    def __init__(self, bench):
        global MADE
        MADE += 1
        self.bench = bench
        self.database = f"fault_{os.getpid()}_{MADE}"
        sql(f"CREATE DATABASE {self.database} OWNER graviton")
        url = SERVER.url.rsplit("/", 1)[0] + "/" + self.database
        self.options = ["--blocks", "fs:" + bench.path("blocks"), "--meta", url]
        bench.environment["GRAVITON_PG_TIMEOUT"] = "60"
        bench.run("migrate", "--meta", url).wants(OK)
        bench.put(self.options, b"first")
        self.lock = threading.Lock()
        self.stored = {}  # id -> bytes, acknowledged and not removed
        self.doubtful = set()  # ids whose put or rm failed: there or not
        self.count = 0

    def run(self, command, *words, given=None):
        return self.bench.run(command, *words, store=self.options, given=given)

    def check(self):
        """Every acknowledged blob reads back; what else is there is whole."""
        self.run("verify", "--all").wants(OK)
        listed = set(self.bench.ids(self.options))
        lost = set(self.stored) - listed - self.doubtful
        want(not lost, f"{len(lost)} acknowledged blobs are lost, {sorted(lost)[:1]}")
        for blob in random.Random(1).sample(sorted(self.stored), min(20, len(self.stored))):
            if blob in listed:
                want(self.run("get", blob).wants(OK).out == self.stored[blob], f"{blob} differs")
        self.collect()
        self.run("verify", "--all").wants(OK)

    def collect(self):
        """A gc, once the server has noticed which of its clients are no more."""
        end = time.monotonic() + LATE
        while (result := self.run("gc")).code == UNAVAILABLE and time.monotonic() < end:
            time.sleep(0.1)
        result.wants(OK)


def worker(store, seed, until, allowed, failures):
    """Puts, gets and removes until the time is over. `allowed`: exit codes that trouble excuses."""
    rng = random.Random(seed)
    mine = []
    while time.monotonic() < until and not failures:
        try:
            step(store, rng, mine, allowed)
        except Exception as error:  # told by the main thread
            failures.append(error)


def step(store, rng, mine, allowed):
    choice = rng.random()
    if choice < 0.6 or not mine:
        data = rng.randbytes(rng.choice((0, 100, 5000, 100000)))
        if rng.random() < 0.3:
            data = b"shared" * 20000 + data[:100]
        begun = time.monotonic()
        result = store.run("put", "-", given=data)
        want(time.monotonic() - begun < LATE or not allowed, f"late: {result}")
        want(result.code == OK or result.code in allowed, str(result))
        want("deadlock" not in result.err, str(result))
        if result.code == OK:
            blob = result.out.decode().split("\t")[0]
            with store.lock:
                store.stored[blob] = data
                store.count += 1
            mine.append((blob, data))
    elif choice < 0.85:
        blob, data = rng.choice(mine)
        result = store.run("get", blob)
        want(result.code == OK or result.code in allowed, str(result))
        want(result.code != OK or result.out == data, f"{blob} has other bytes")
    else:
        # Others may have put the same bytes; only what nobody else has is removed.
        blob, data = mine.pop(rng.randrange(len(mine)))
        if len(data) < 100 or data.startswith(b"shared"):
            mine.append((blob, data))
            return
        with store.lock:
            store.stored.pop(blob)
            store.doubtful.add(blob)
        result = store.run("rm", blob)
        want(result.code == OK or result.code in allowed, str(result))


def work(store, processes, seconds, allowed, trouble=None):
    failures = []
    until = time.monotonic() + seconds
    threads = [
        threading.Thread(
            target=worker, args=(store, store.bench.random.random(), until, allowed, failures)
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
    want(store.count > 0, "no put was acknowledged")
    store.bench.environment["GRAVITON_PG_TIMEOUT"] = "60"  # now there is no trouble
    store.check()
    print(f"# {store.count} puts acknowledged")


def many_processes(bench):
    """All at once on one database: every one of them succeeds."""
    work(Store(bench), OPTIONS.processes, OPTIONS.seconds, set())


def terminated_connections(bench):
    """Connections die at random: each put goes on after a new one, or says that it did not."""
    store = Store(bench)

    def trouble():
        time.sleep(bench.random.uniform(0.05, 0.2))
        sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
            f"datname = '{store.database}' ORDER BY random() LIMIT 3"
        )

    work(store, min(OPTIONS.processes, 8), OPTIONS.seconds, {UNAVAILABLE}, trouble)


def crashed_server(bench):
    """The server stops as in a crash and starts again, while puts run."""
    store = Store(bench)

    def trouble():
        time.sleep(bench.random.uniform(0.5, 1.5))
        SERVER.stop("immediate")
        time.sleep(bench.random.uniform(0, 0.5))
        SERVER.start()

    work(store, min(OPTIONS.processes, 6), OPTIONS.seconds, {UNAVAILABLE}, trouble)


def children_of(parent):
    """The processes of a server."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as stat:
                if int(stat.read().rsplit(")", 1)[1].split()[1]) == parent:
                    found.append(int(name))
        except (OSError, IndexError, ValueError):
            continue
    return found


def tell(pid, number):
    """Whether a process was still there to get a signal."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def frozen_server(bench):
    """The server stands still for longer than anybody waits: each put says so, none hangs."""
    store = Store(bench)
    bench.environment["GRAVITON_PG_TIMEOUT"] = str(PATIENCE)

    def trouble():
        time.sleep(bench.random.uniform(0.3, 1))
        # The server itself first: then it starts no more children. One may end at any time.
        stopped = [SERVER.pid]
        os.kill(SERVER.pid, signal.SIGSTOP)
        for pid in children_of(SERVER.pid):
            if tell(pid, signal.SIGSTOP):
                stopped.append(pid)
        time.sleep(PATIENCE + 3)
        for pid in stopped:
            tell(pid, signal.SIGCONT)

    work(store, min(OPTIONS.processes, 6), OPTIONS.seconds + PATIENCE + 3, {UNAVAILABLE}, trouble)


def killed_programs(bench):
    """Programs killed in the middle of puts: no session of theirs stands in the way of gc."""
    store = Store(bench)
    names = [bench.write(f"f{i}", bench.random.randbytes(300000)) for i in range(20)]
    for _ in range(6):
        process = bench.start("put", *names, store=store.options)
        time.sleep(bench.random.uniform(0, 0.4))
        process.kill()
        out, _ = process.communicate()
        for line in out.decode().splitlines():
            blob, name = line.split("\t")
            with open(name, "rb") as file:
                store.stored[blob] = file.read()
    # A server notices a client that died when it next reads from it, which is at once.
    store.check()


def main():
    global SERVER, OPTIONS
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    harness.add_arguments(parser)
    bounded = os.environ.get("GRAVITON_TEST_BOUNDED") == "1"
    parser.add_argument("--processes", type=int, default=4 if bounded else 16)
    parser.add_argument("--seconds", type=float, default=3 if bounded else 5)
    OPTIONS = parser.parse_args()
    try:
        SERVER = postgres.Server()
    except postgres.Missing as missing:
        print(f"1..0 # SKIP {missing}")
        return
    try:
        harness.main(
            [
                ("many processes", many_processes),
                ("terminated connections", terminated_connections),
                ("a server that crashes", crashed_server),
                ("a server that stands still", frozen_server),
                ("programs killed", killed_programs),
            ],
            OPTIONS,
        )
    finally:
        SERVER.close()


if __name__ == "__main__":
    main()
