# SPDX-License-Identifier: Apache-2.0
"""What the fault tests of `graviton serve` share: a server, and clients that remember what was
acknowledged."""

import http.client
import os
import random
import sys
import threading
import time

from harness import OK, want

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "service"))
import graviton

BOUNDED = os.environ.get("GRAVITON_TEST_BOUNDED") == "1"
CLIENTS = 8


def serve(bench, store, *options, **how):
    return graviton.Server(bench.program, *store, *options, env=bench.environment,
                           cwd=bench.directory, **how)  # fmt: skip


def begin_upload(server, size):
    """A connection with an upload that the server has judged by its head and asks for."""
    connection = server.connect()
    connection.putrequest("POST", "/api/blobs")
    connection.putheader("Content-Length", str(size))
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    told = b""
    while b"\r\n\r\n" not in told:
        data = connection.sock.recv(1000)
        want(data, f"the connection ended after {told!r}")
        told += data
    want(told.startswith(b"HTTP/1.1 100 "), f"the upload was not asked for: {told!r}")
    return connection


class Clients:
    """Threads that put, get and delete through servers, and remember what was acknowledged."""

    def __init__(self, seed, servers, size=400000, deletes=True):
        self.servers, self.size, self.deletes = servers, size, deletes
        self.lock = threading.Lock()
        self.blobs = {}  # id -> bytes, acknowledged
        self.doubtful = set()  # ids of which nobody can say
        self.statuses = {}  # status of a refusal -> how often
        self.wrong = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(f"{seed} {n}",))
                        for n in range(CLIENTS)]  # fmt: skip
        for thread in self.threads:
            thread.start()

    def have(self, count, seconds=60):
        """Waits until so many blobs have come through."""
        end = time.monotonic() + seconds
        while len(self.blobs) < count and not self.wrong:
            want(time.monotonic() < end, f"only {len(self.blobs)} blobs came through")
            time.sleep(0.05)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(120)
            want(not thread.is_alive(), "a client hangs")
        want(not self.wrong, "; ".join(self.wrong[:3]))

    def refused(self, what, answer):
        """Whether an answer is a refusal in order: 503 with a problem document."""
        with self.lock:
            self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        if answer.status != 503 or "retry-after" not in answer.headers:
            self.wrong.append(f"{what}: {answer}")
        elif not answer.json()["type"].startswith("urn:graviton:problem:"):
            self.wrong.append(f"{what}: {answer}")

    def put(self, server, data):
        answer = server.request("POST", "/api/blobs", data)
        if answer.status == 201:
            with self.lock:
                self.blobs[answer.json()] = data
                self.doubtful.discard(answer.json())
        else:
            self.refused("put", answer)

    def get(self, server, blob, data):
        answer = server.request("GET", f"/api/blobs/{blob}")
        if answer.status == 200 and answer.body != data:
            self.wrong.append(f"{blob} has other bytes")
        elif answer.status == 404:
            with self.lock:
                if blob in self.blobs and blob not in self.doubtful:
                    self.wrong.append(f"{blob} is gone")
        elif answer.status != 200:
            self.refused("get", answer)

    def delete(self, server, blob):
        with self.lock:
            if self.blobs.pop(blob, None) is None:
                return
            self.doubtful.add(blob)
        answer = server.request("DELETE", f"/api/blobs/{blob}")
        if answer.status in (204, 404):
            with self.lock:
                self.doubtful.discard(blob)
        else:
            self.refused("delete", answer)

    def work(self, seed):
        source = random.Random(seed)
        while not self.stopping.is_set():
            server = source.choice(self.servers)
            with self.lock:
                known = list(self.blobs.items())
            dice = source.random()
            try:
                if dice < 0.5 or not known:
                    self.put(server, source.randbytes(source.randrange(self.size)))
                elif dice < 0.9 or not self.deletes:
                    self.get(server, *source.choice(known))
                else:
                    self.delete(server, source.choice(known)[0])
            except (OSError, http.client.HTTPException):
                # Nobody is there, or he went in the middle: nothing was acknowledged.
                time.sleep(0.02)
            except Exception as other:  # pylint: disable=broad-except
                self.wrong.append(repr(other))
                return

    def check(self, bench, store):
        """Everything acknowledged is there, whole; and nothing is broken. A new server reads it
        all, and the program some."""
        bench.run("verify", "--all", store=store).wants(OK)
        shown = set(bench.ids(store))
        with serve(bench, store) as server:
            for blob, data in self.blobs.items():
                want(blob in shown, f"{blob} was acknowledged and is not listed")
                want(server.get(blob) == data, f"{blob} has other bytes")
        for blob, data in list(self.blobs.items())[-5:]:
            got = bench.run("get", blob, store=store).wants(OK).out
            want(got == data, f"{blob} has other bytes")
