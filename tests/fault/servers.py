#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two servers over one store, metadata in PostgreSQL and blocks in a directory or in S3, and
collections beside them: nothing acknowledged is lost, garbage is freed, and a client that comes at
the wrong moment is told to come again.

  servers.py PROGRAM [--seed N] [--only NAME]
"""

import contextlib
import os
import random
import signal
import subprocess
import threading
import time

import s3_rig
from graviton import Server
from harness import OK, UNAVAILABLE, want
from s3_rig import BOUNDED

ROUNDS = 3 if BOUNDED else 4
LATE = 90  # seconds that a collection may take on a busy machine


class Store:
    """A store of two servers, and what was acknowledged of it."""

    def __init__(self, world, bench, over_s3):
        self.world, self.bench = world, bench
        blocks = f"s3://{world.bucket()}/p" if over_s3 else "fs:" + bench.path("blocks")
        self.url = world.new_database(bench)
        self.database = self.url.rsplit("/", 1)[1].split("?")[0]
        self.options = ["--blocks", blocks, "--meta", self.url]
        bench.environment["AWS_ENDPOINT_URL"] = world.gateway.url
        self.lock = threading.Lock()
        self.stored = {}  # id -> bytes, acknowledged and not removed
        self.turned_away = 0
        self.freed = 0
        self.servers = []
        for name in "ab":
            self.servers.append(
                Server(bench.program, *self.options, env=bench.environment, log=bench.path(name))
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.close()

    def sql(self, statement):
        return self.world.sql(statement, self.database)

    def gc(self, *codes):
        result = self.bench.run("gc", "--json", store=self.options)
        want(result.code in (codes or (OK,)), f"{result}\n{self.said()}")
        if result.code == OK:
            self.freed += int(result.out.split(b'"freed_blocks":')[1].split(b",")[0])
        return result.code

    def said(self):
        """The end of both servers' logs, without the lines of requests."""
        lines = [line for server in self.servers for line in server.said().splitlines()]
        return "\n".join([line for line in lines if "msg=request" not in line][-20:])

    def job(self, server):
        """A collection by one of the servers."""
        answer = server.request("POST", "/api/admin/gc")
        want(answer.status == 202, f"POST gc: {answer}")
        end = time.monotonic() + LATE
        while True:
            job = server.request("GET", answer.headers["location"]).json()
            if job["state"] in ("done", "failed", "cancelled"):
                if job["state"] == "done":
                    self.freed += job["figures"]["freed_blocks"]
                return job
            want(time.monotonic() < end, f"the job does not end: {job}\n{self.said()}")
            time.sleep(0.02)

    def put(self, server, data):
        """An id, or None where the client is told to come again."""
        answer = server.request("POST", "/api/blobs", data)
        if answer.status == 503:
            want("retry-after" in answer.headers, f"no Retry-After: {answer}")
            self.turned_away += 1
            return None
        want(answer.status == 201, f"put: {answer}\n{self.said()}")
        return answer.json()

    def keep(self, server, data):
        blob = self.put(server, data)
        if blob:
            with self.lock:
                self.stored[blob] = data
        return blob

    def settle(self, servers=None, seconds=30):
        """Both servers, or those told, take puts again."""
        end = time.monotonic() + seconds
        for server in servers or self.servers:
            while not self.keep(server, b"settled"):
                want(time.monotonic() < end, f"puts stay away\n{self.said()}")
                time.sleep(0.1)

    def check(self):
        """All that was acknowledged reads back through both servers, and a last gc agrees."""
        for blob, data in list(self.stored.items()):
            for server in self.servers:
                answer = server.request("GET", f"/api/blobs/{blob}")
                want(answer.status == 200 and answer.body == data, f"{blob}: {answer.status}")
        self.gc()
        self.bench.run("verify", "--all", store=self.options).wants(OK)
        want(set(self.stored) <= set(self.bench.ids(self.options)), "blobs are lost")


def worker(store, seed, stop, failures):
    rng = random.Random(seed)
    mine = []
    try:
        while not stop.is_set() and not failures:
            server = rng.choice(store.servers)
            data = rng.randbytes(rng.choice((10, 5000, 300000, 1500000)))
            if rng.random() < 0.4:
                # Blocks that come and go: known to one server, freed by another.
                data = random.Random(rng.randrange(4)).randbytes(400000) + rng.randbytes(8)
            blob = store.keep(server, data)
            if blob and blob not in mine:
                mine.append(blob)
            if len(mine) > 3:
                blob = mine.pop(0)
                with store.lock:
                    data = store.stored.pop(blob)
                answer = server.request("DELETE", f"/api/blobs/{blob}")
                want(answer.status == 204, f"delete: {answer}")
            if mine:
                blob = rng.choice(mine)
                answer = rng.choice(store.servers).request("GET", f"/api/blobs/{blob}")
                want(answer.status == 200, f"get: {answer}")
                want(answer.body == store.stored[blob], f"{blob} has other bytes")
    except Exception as error:  # told by the main thread
        failures.append(error)


@contextlib.contextmanager
def traffic(store, workers=4):
    failures, stop = [], threading.Event()
    threads = [
        threading.Thread(target=worker, args=(store, store.bench.random.random(), stop, failures))
        for _ in range(workers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


def collections(world, bench, over_s3):
    with Store(world, bench, over_s3) as store:
        with traffic(store):
            for number in range(ROUNDS):
                time.sleep(0.5)
                store.gc()
                time.sleep(0.5)
                store.settle([store.servers[number % 2]])  # a job needs the store back
                job = store.job(store.servers[number % 2])
                want(job["state"] == "done", f"{job}\n{store.said()}")
            # Several at once: one has the store, the others are told, and nobody waits for ever.
            outcomes = []
            others = [threading.Thread(target=lambda: outcomes.append(store.gc(OK, UNAVAILABLE)))]
            others += [
                threading.Thread(target=lambda s=server: outcomes.append(store.job(s)["state"]))
                for server in store.servers
            ]
            for other in others:
                other.start()
            for other in others:
                other.join()
            want(len(outcomes) == 3, "one of the collections broke")
            want(OK in outcomes or "done" in outcomes, f"none came through: {outcomes}")
        want(store.freed > 0, "nothing was freed")
        store.settle()
        print(f"# {len(store.stored)} kept, {store.freed} freed, {store.turned_away} turned away")
        store.check()


def collections_over_files(world, bench):
    """Both servers put, get and remove while the command and both of them collect."""
    collections(world, bench, False)


def collections_over_s3(world, bench):
    """The same, where servers remember which blocks are there."""
    collections(world, bench, True)


@contextlib.contextmanager
def locked(store):
    """Nobody reads a manifest: a collection stands still as soon as it has the store."""
    words = [os.path.join(store.world.database.bin, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    admin = store.world.database.admin.rsplit("/", 1)[0] + "/" + store.database
    process = subprocess.Popen(words + [admin], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(b"BEGIN; LOCK TABLE graviton.blob; SELECT 'locked';\n")
    process.stdin.flush()
    while b"locked" not in process.stdout.readline():
        want(process.poll() is None, "psql ended")
    try:
        yield
    finally:
        process.kill()
        process.wait()
        store.sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = "
            f"'{store.database}' AND state = 'idle in transaction'"
        )


def until(what, seconds, message):
    end = time.monotonic() + seconds
    while not what():
        want(time.monotonic() < end, message)
        time.sleep(0.02)


@contextlib.contextmanager
def open_upload(server):
    """A connection with half of an upload that keeps a collection from the store."""

    def is_held(count):
        page = server.request("GET", "/metrics").body.decode()
        return f'graviton_http_streams{{kind="put"}} {count}\n' in page

    until(lambda: is_held(0), 30, "a put that ended is still held")
    with contextlib.closing(server.connect()) as connection:
        connection.putrequest("POST", "/api/blobs")
        connection.putheader("Content-Length", "1000000")
        connection.endheaders(bytes(500000))
        until(lambda: is_held(1), 30, "the upload does not begin")
        yield connection


def a_collector_dies(world, bench):
    """It is killed while it waits, which leaves nothing, and while it works, which has to be ended
    by another one before anything is put; a server does that."""
    with Store(world, bench, False) as store:
        server = store.servers[0]
        store.settle()
        # While it waits: an upload keeps it from the store.
        with open_upload(store.servers[1]) as connection:
            gc = bench.start("gc", store=store.options)
            until(lambda: "gives way" in server.said(), 20, "nobody gives way")
            want(gc.poll() is None, "gc does not wait for an upload")
            gc.kill()
            gc.wait()
            until(lambda: "has the store again" in server.said(), 20, "the store is not back")
            connection.send(bytes(500000))
            want(connection.getresponse().status == 201, "the upload failed")
        store.settle()
        # While it works.
        with locked(store):
            gc = bench.start("gc", store=store.options)
            until(
                lambda: store.sql("SELECT count(*) FROM graviton.exclusive_work") == "1",
                20,
                f"it does not begin\n{store.said()}",
            )
            gc.kill()
            gc.wait()
        until(
            lambda: all(s.said().count("has the store again") >= 1 for s in store.servers),
            20,
            f"the store is not back\n{store.said()}",
        )
        want(store.put(server, b"too early") is None, "a put came before the work was ended")
        job = store.job(server)
        want(job["state"] == "done", f"{job}\n{store.said()}")
        store.settle()
        store.check()


def a_server_dies(world, bench):
    """It is killed with an upload open that a collection waits for, and again while it has given
    way; it comes back, even while the collection runs."""
    with Store(world, bench, False) as store:
        dying = store.servers[1]
        store.settle()
        with open_upload(dying):
            gc = bench.start("gc", store=store.options)
            time.sleep(2)
            want(gc.poll() is None, "gc does not wait for an upload")
            dying.signal(signal.SIGKILL)
            dying.process.wait()
            want(gc.wait(LATE) == OK, f"gc: {gc.stderr.read()}")
        store.keep(store.servers[0], b"alone")
        dying.start()
        store.settle()
        with locked(store):
            gc = bench.start("gc", store=store.options)
            until(
                lambda: store.sql("SELECT count(*) FROM graviton.exclusive_work") == "1",
                20,
                f"it does not begin\n{store.said()}",
            )
            dying.signal(signal.SIGKILL)
            dying.process.wait()
            dying.start()  # it gives way from the beginning
            want(gc.poll() is None, "gc did not stand still")
        want(gc.wait(LATE) == OK, f"gc: {gc.stderr.read()}")
        store.settle()
        store.check()


if __name__ == "__main__":
    s3_rig.main(
        __doc__.splitlines()[0],
        [
            ("collections over files", collections_over_files),
            ("collections over S3", collections_over_s3),
            ("a collector dies", a_collector_dies),
            ("a server dies", a_server_dies),
        ],
        with_database=True,
    )
