#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The read cache in memory, as clients of a server meet it: bytes that are right from the first
read to the last, however they are asked for and whoever hangs up, and what becomes of damage."""

import email
import email.policy
import http.client
import json
import os
import random
import shutil
import socket
import ssl
import struct
import subprocess
import threading

import harness
from harness import has, noise, same, wait_until
from http_harness import problem, serve

LARGE = 20 << 20
SIZES = (1, 4 << 10, 300 << 10, 1 << 20, LARGE)


def cached(case, size="64M", *options):
    return serve(case, "--store", "s", "--cache", f"memory:?size={size}", *options)


class Client:
    """One kept connection, plain or TLS."""

    def __init__(self, server, context=None):
        self.connection = (
            http.client.HTTPSConnection("127.0.0.1", server.port, timeout=60, context=context)
            if context else server.connect()
        )  # fmt: skip

    def ask(self, path, method="GET", **headers):
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, headers=names)
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def blob(self, blob, method="GET", **headers):
        return self.ask("/api/blobs/" + blob, method, **headers)

    def figures(self):
        return json.loads(self.ask("/api/stats")[2])["server"]["cache"]

    def close(self):
        self.connection.close()


def figures(server):
    return server.request("GET", "/api/stats").json()["server"]["cache"]


def metrics(server):
    rows = [line.rsplit(" ", 1) for line in
            server.request("GET", "/metrics").body.decode().split("\n")]  # fmt: skip
    return {row[0]: row[1] for row in rows if row[0].startswith("graviton_")}


def block_paths(case, server, blob):
    """The files of a blob's blocks, in order."""
    rows = server.request("GET", f"/api/blobs/{blob}/manifest").json()["references"]
    paths = []
    for row in rows:
        algorithm, digest, size = row["block"].split(":")
        paths.append(case.path(f"s/cas/blocks/{algorithm}/{digest}-{size}"))
    return paths


def flip(path):
    with open(path, "r+b") as file:
        file.seek(17)
        byte = file.read(1)[0]
        file.seek(17)
        file.write(bytes([byte ^ 4]))


def run_job(server, kind, body):
    answer = server.request("POST", f"/api/admin/{kind}", json.dumps(body),
                            {"Content-Type": "application/json"})  # fmt: skip
    same(answer.status, 202)
    path = answer.headers["location"]
    wait_until(lambda: server.request("GET", path).json()["ended"] is not None, 60)
    return server.request("GET", path).json()


def begin(server, blob, context=None):
    """Asks for a blob on a connection that takes little at a time, and reads a little of it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(60)
    client.connect(("127.0.0.1", server.port))
    if context:
        client = context.wrap_socket(client, server_hostname="127.0.0.1")
    client.sendall(f"GET /api/blobs/{blob} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    got = b""
    while b"\r\n\r\n" not in got:
        part = client.recv(1000)
        assert part, got
        got += part
    return client, got.split(b"\r\n\r\n", 1)[1]


def hang_up(client):
    """At once, and whatever is on its way is refused."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


# ---- Reading, over HTTP and HTTPS ----


def parts_of(headers, body):
    head = f"Content-Type: {headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    assert not message.defects, message.defects
    return [part.get_payload(decode=True) for part in message.iter_parts()]


def check_blob(client, blob, data):
    """All that may be asked of a blob's bytes."""
    size = len(data)
    last = size - 1
    status, headers, body = client.blob(blob)
    same((status, headers["content-length"], body == data), (200, str(size), True))
    status, headers, body = client.blob(blob, "HEAD")
    same((status, headers["content-length"], body), (200, str(size), b""))
    same(client.blob(blob, If_None_Match=f'"{blob}"')[::2], (304, b""))
    for first, end in ((0, last), (last, last), (size // 3, size // 3), (size // 3, size // 2)):
        status, headers, body = client.blob(blob, Range=f"bytes={first}-{end}")
        same((status, body == data[first : end + 1]), (206, True))
        same(headers["content-range"], f"bytes {first}-{end}/{size}")
    if size > 1000:
        places = ((0, size // 4), (size // 2, size // 2 + 99), (size - 100, last))
        value = "bytes=" + ",".join(f"{first}-{end}" for first, end in places)
        status, headers, body = client.blob(blob, Range=value)
        same((status, headers["content-length"]), (206, str(len(body))))
        same(parts_of(headers, body) == [data[first : end + 1] for first, end in places], True)


def check_reads(server, blobs, context=None):
    for _ in range(2):  # cold, then warm
        client = Client(server, context)
        for blob, data in blobs.items():
            check_blob(client, blob, data)
        now = client.figures()
        client.close()
    assert now["hits"] > now["misses"] > 0, now
    same([now[name] for name in ("corrupt", "failures", "evicted_bytes", "disk_bytes")], [0] * 4)
    same((now["miss_bytes"], now["kept_bytes"]), (sum(SIZES), sum(SIZES)))
    assert 0 < now["memory_bytes"] - sum(SIZES) < 500_000, now


def put_blobs(case, sizes):
    blobs = {}
    for size in sizes:
        data = noise(size, size)
        blobs[case.put(data, "--store", "s")] = data
    return blobs


def test_every_kind_of_read_is_right(case):
    blobs = put_blobs(case, SIZES)
    with cached(case) as server:
        check_reads(server, blobs)


def test_every_kind_of_read_is_right_over_tls(case):
    if shutil.which("openssl") is None:
        raise harness.Skip("no openssl to make a certificate with")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", case.path("key"), "-out", case.path("cert")],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(cafile=os.fsdecode(case.path("cert")))
    blobs = put_blobs(case, SIZES)
    with cached(case, "64M", "--tls-cert", "cert", "--tls-key", "key") as server:
        check_reads(server, blobs, context)
        for blob in list(blobs)[-2:]:  # clients that go in the middle leave the others alone
            for _ in range(5):
                client, _ = begin(server, blob, context)
                hang_up(client)
            client = Client(server, context)
            check_blob(client, blob, blobs[blob])
            client.close()


def test_figures_grow_as_they_should(case):
    data = noise(300 << 10)
    with cached(case) as server:
        blob = server.put(data)
        count = len(block_paths(case, server, blob))
        assert count > 2, count
        zero = dict.fromkeys(("hits", "hit_bytes", "misses", "miss_bytes", "bypassed", "kept_bytes",
                              "evicted_bytes", "corrupt", "failures", "disk_bytes",
                              "memory_bytes"), 0)  # fmt: skip
        same(figures(server), {**zero, "size_bytes": 64 << 20})
        same(server.get(blob) == data, True)
        cold = figures(server)
        same((cold["hits"], cold["misses"]), (0, count))
        same((cold["miss_bytes"], cold["kept_bytes"]), (len(data), len(data)))
        path = "/api/blobs/" + blob
        same(server.request("HEAD", path).status, 200)
        same(server.request("GET", path, headers={"If-None-Match": f'"{blob}"'}).status, 304)
        same(figures(server), cold)
        same(server.get(blob) == data, True)
        warm = figures(server)
        same(warm, {**cold, "hits": count, "hit_bytes": len(data)})
        server.request("GET", path, headers={"Range": "bytes=0-0"})
        same(figures(server)["hits"], count + 1)
        found = metrics(server)
        same(found['graviton_cache_blocks_total{result="hit"}'], str(count + 1))
        same(found['graviton_cache_blocks_total{result="miss"}'], str(count))
        same(found['graviton_cache_bytes_total{result="kept"}'], str(len(data)))
        same(found["graviton_cache_memory_bytes"], str(warm["memory_bytes"]))
        same(found["graviton_cache_limit_bytes"], str(64 << 20))
        same(found["graviton_cache_disk_bytes"], "0")


def test_many_clients_at_once(case):
    """With room for a part of what they read, so that blocks come and go all the while."""
    blobs = list(put_blobs(case, [4096 + i for i in range(8)] + [300_000 + i for i in range(8)] +
                           [(1 << 20) + i for i in range(6)] + [LARGE]).items())  # fmt: skip
    failures = []

    def read(number):
        turns = random.Random(number)
        client = Client(server)
        try:
            for turn in range(12):
                blob, data = turns.choice(blobs[:-1] if turn or number % 8 else blobs)
                if turns.random() < 0.3 and len(data) < LARGE:
                    first = turns.randrange(len(data))
                    _, _, body = client.blob(blob, Range=f"bytes={first}-")
                    same(body == data[first:], True)
                else:
                    same(client.blob(blob)[2] == data, True)
        except Exception as error:  # a thread's failure is told by the test
            failures.append(f"client {number}: {error!r}")
        finally:
            client.close()

    with cached(case, "4M") as server:
        threads = [threading.Thread(target=read, args=(number,)) for number in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        same(failures, [])
        now = figures(server)
        assert now["evicted_bytes"] > 0 and now["hits"] > 0, now
        assert now["memory_bytes"] <= now["size_bytes"] == 4 << 20, now


def test_what_a_slow_client_reads_stays_right(case):
    """Its blocks leave the cache while it does not read, and the rest of them arrives all the
    same."""
    blobs = put_blobs(case, (1 << 20, LARGE))
    others = put_blobs(case, (LARGE + 1,))
    with cached(case, "2M") as server:
        for blob, data in blobs.items():
            for _ in range(2):
                client, got = begin(server, blob)
                for other, bytes_of in others.items():
                    same(server.get(other) == bytes_of, True)
                got = bytearray(got)
                while len(got) < len(data):
                    part = client.recv(1 << 20)
                    assert part, len(got)
                    got += part
                same(got == data, True)
                client.close()
        assert figures(server)["evicted_bytes"] > 2 * LARGE


def test_what_lies_in_memory_needs_no_turn(case):
    """A download that takes its time has the only turn: a small blob that was read before is
    answered all the same, one that was not has to wait; and nothing is counted twice."""
    blobs = put_blobs(case, (4 << 10, 200 << 10, LARGE))
    small, middle, large = blobs
    other = case.put(noise(5000), "--store", "s")
    with cached(case, "64M", "--streams", "1") as server:
        for blob in (small, middle):
            same(server.get(blob) == blobs[blob], True)
        before, outcomes = figures(server), metrics(server)
        slow, got = begin(server, large)
        kept = Client(server)
        for blob in (small, middle, small):
            status, headers, body = kept.blob(blob)
            same((status, body == blobs[blob]), (200, True))
            same(len(headers.get_all("ETag")), 1)
        waiting = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        waiting.sendall(f"GET /api/blobs/{other} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_until(lambda: metrics(server)["graviton_http_streams_waiting"] == "1")
        same(kept.blob(small)[0], 200)
        got = bytearray(got)
        while len(got) < LARGE:
            part = slow.recv(1 << 20)
            assert part, len(got)
            got += part
        same(got == blobs[large], True)
        same(waiting.recv(12), b"HTTP/1.1 200")
        for client in (kept, slow, waiting):
            client.close()
        after = figures(server)
        count = len(block_paths(case, server, middle))
        same(after["hits"] - before["hits"], 3 + count)
        row = 'graviton_http_requests_total{route="blob_get",code="200"}'
        wait_until(lambda: int(metrics(server)[row]) - int(outcomes[row]) == 6)


def test_clients_that_hang_up(case):
    blobs = put_blobs(case, (1 << 20, LARGE))
    with cached(case) as server:
        for _ in range(2):
            for blob, data in blobs.items():
                for _ in range(8):
                    client, _ = begin(server, blob)
                    hang_up(client)
                same(server.get(blob) == data, True)
        row = 'graviton_http_streams{kind="get"}'
        wait_until(lambda: metrics(server)[row] == "0")


# ---- Damage and removal ----


def test_what_was_read_outlives_damage_of_the_disk(case):
    data = noise(500_000)
    with cached(case) as server:
        blob = server.put(data)
        same(server.get(blob) == data, True)
        paths = block_paths(case, server, blob)
        flip(paths[1])
        os.unlink(paths[2])
        same(server.get(blob) == data, True)
        # Who looks after the store sees the store.
        before = figures(server)
        job = run_job(server, "verify", {"ids": [blob]})
        same(sorted(row["status"] for row in job["findings"]), ["corrupt", "corrupt"])
        job = run_job(server, "scrub", {})
        same((job["figures"]["corrupt"], job["figures"]["missing"]), (1, 1))
        same([figures(server)[name] for name in ("hits", "misses", "kept_bytes")],
             [before[name] for name in ("hits", "misses", "kept_bytes")])  # fmt: skip
        assert not os.path.exists(paths[1])
        same(server.get(blob) == data, True)
        # A put of the same bytes heals the store.
        same(server.put(data), blob)
        same(run_job(server, "verify", {"ids": [blob]})["findings_total"], 0)
    with cached(case) as server:
        same(server.get(blob) == data, True)


def test_what_was_damaged_before_is_never_served_nor_kept(case):
    data = noise(500_000)
    with cached(case) as server:
        blob = server.put(data)
        path = "/api/blobs/" + blob
        paths = block_paths(case, server, blob)
        flip(paths[2])
        for _ in range(3):
            problem(server.request("GET", path), 500, "corrupt")
        # The others are sound, and are kept; the bad one is asked for again and again.
        now = figures(server)
        same((now["misses"], now["hits"]), (len(paths) + 2, 2 * (len(paths) - 1)))
        assert now["kept_bytes"] < len(data), now
        same(server.request("GET", path, headers={"Range": "bytes=0-99"}).body, data[:100])
        flip(paths[2])
        same(server.get(blob) == data, True)
        same(figures(server)["kept_bytes"], len(data))
        os.unlink(paths[0])
        same(server.get(blob) == data, True)
    with cached(case) as server:
        for _ in range(2):
            problem(server.request("GET", path), 500, "corrupt")
        server.says("missing")


def test_what_was_removed_is_gone(case):
    data = noise(500_000)
    with cached(case) as server:
        blob = server.put(data)
        same(server.get(blob) == data, True)
        same(server.request("DELETE", "/api/blobs/" + blob).status, 204)
        problem(server.request("GET", "/api/blobs/" + blob), 404, "not-found")
        run_job(server, "gc", {})
        problem(server.request("GET", "/api/blobs/" + blob), 404, "not-found")
        same(server.put(data), blob)
        same(server.get(blob) == data, True)


# ---- The command line ----


def test_commands_take_it_too(case):
    data = noise(1_500_000)
    options = ["--store", "s", "--cache", "memory:?size=4M"]
    key = case.put(data, *options)
    result = case.run("get", *options, key)
    same((result.out == data, result.err), (True, ""))
    same(case.run("get", "--store", "s", key, env={"GRAVITON_CACHE": "memory:"}).out == data, True)
    part = case.run("get", *options, "--range", "7-1000007", key)
    same(part.out == data[7:1000008], True)
    case.run("cp", "--from", "s", "--to", "t", "--cache", "memory:", "--all")
    same(case.run("get", "--store", "t", key).out == data, True)
    same(sorted(os.listdir(case.directory)), ["s", "t"])
    with serve(case, "--store", "s") as server:
        flip(block_paths(case, server, key)[3])
    for _ in range(2):
        has(case.run("get", *options, key, expect=4).err, "hash to")
    case.run("verify", *options, key, expect=4)


def test_bad_words_are_refused(case):
    case.put(b"x", "--store", "s")
    for word in ("memory:x", "memory:?size=", "memory:?size=1K", "memory:?size=0",
                 "memory:?size=9000G", "memory:?size=much", "memory:?colour=red"):  # fmt: skip
        has(case.run("ls", "--store", "s", "--cache", word, expect=2).err, "cache")
        has(case.run("ls", "--store", "s", env={"GRAVITON_CACHE": word}, expect=2).err, "cache")
    same(sorted(os.listdir(case.directory)), ["s"])
    with serve(case) as server:
        # A server's blocks are not seen here; what the environment says is for stores here.
        result = case.run("ls", "--store", server.url, "--cache", "memory:", expect=None)
        assert result.code != 0, result
        has(result.err, "graviton serve")
        case.run("ls", "--store", server.url, env={"GRAVITON_CACHE": "memory:"})


if __name__ == "__main__":
    harness.main()
