#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`graviton serve` as whoever starts it meets it: storing and reading, signals, refusals to start,
readiness."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import harness
from harness import has, same

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../service"))
import graviton  # noqa: E402


def serve(case, *options, **rest):
    rest.setdefault("env", case.env)
    return graviton.Server(case.program, *options, cwd=case.directory, log=case.path("log"), **rest)


def await_put(server):
    """Until the server has an upload in hand: one of a known length once 256 KiB of it came."""
    row = 'graviton_http_streams{kind="put"} 1\n'
    harness.wait_until(lambda: row in server.request("GET", "/metrics").body.decode())


def await_refusals(server):
    """Until it takes no more connections."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", server.port), 1).close()
        except ConnectionRefusedError:
            return
        except (ConnectionResetError, TimeoutError):
            pass  # it was waiting for its turn when the port was closed
        time.sleep(0.01)
    raise AssertionError("it still listens")


def bytes_of(size, seed=b"x"):
    return hashlib.shake_256(seed).digest(size)


def test_blobs_come_back(case):
    with serve(case) as server:
        line = f"graviton serves ./graviton-data at {server.url}"
        harness.wait_until(lambda: line in server.said())
        for size in (0, 1, 4096, 262144, 262145, 1 << 20, 5_000_001):
            data = bytes_of(size)
            blob = server.put(data)
            with urllib.request.urlopen(f"{server.url}/api/blobs/{blob}") as answer:
                same(answer.read(), data)
                same(answer.headers["ETag"], f'"{blob}"')
            if size > 10:
                request = urllib.request.Request(
                    f"{server.url}/api/blobs/{blob}", headers={"Range": f"bytes=5-{size - 3}"}
                )
                with urllib.request.urlopen(request) as answer:
                    same(answer.status, 206)
                    same(answer.read(), data[5 : size - 2])
            # As a pipe sends it.
            pieces = (data[at : at + 70000] for at in range(0, size, 70000))
            same(server.request("POST", "/api/blobs", pieces).json(), blob)
        same(server.stop(), 0)
    # It was all stored where the program itself finds it.
    same(case.run("get", blob).out, data)


def test_a_connection_is_kept(case):
    with serve(case) as server:
        blob = server.put(b"some bytes")
        connection = server.connect()
        for method, path, status in (
            ("GET", f"/api/blobs/{blob}", 200),
            ("HEAD", f"/api/blobs/{blob}", 200),
            ("GET", "/api/nothing", 404),
            ("POST", "/api/blobs", 201),
            ("PUT", f"/api/blobs/{blob}", 409),
            ("OPTIONS", "/api/blobs", 204),
            ("GET", f"/api/blobs/{blob}", 200),
        ):
            connection.request(method, path, body=b"other" if method in ("POST", "PUT") else None)
            if method == "GET" and status == 200:
                used = connection.sock
            answer = connection.getresponse()
            answer.read()
            if method == "PUT":
                assert answer.status in (400, 409), answer.status
            else:
                same(answer.status, status)
            assert connection.sock is used, f"{method} {path} ended the connection"
        connection.close()
        same(server.stop(), 0)


def test_sigterm_lets_requests_end(case):
    data = bytes_of(8 << 20)
    with serve(case) as server:
        kept = server.connect()
        kept.request("GET", "/api/health")
        kept.getresponse().read()
        upload = server.connect()
        upload.putrequest("POST", "/api/blobs")
        upload.putheader("Content-Length", str(len(data)))
        upload.endheaders()
        upload.send(data[: 4 << 20])
        await_put(server)
        server.signal(signal.SIGTERM)
        same(kept.sock.recv(1), b"")
        await_refusals(server)
        upload.send(data[4 << 20 :])
        answer = upload.getresponse()
        same(answer.status, 201)
        blob = answer.read().decode().strip('"')
        same(server.wait(), 0)
    same(case.run("get", blob).out, data)


def test_a_second_signal_ends_at_once(case):
    with serve(case, "--drain", "60") as server:
        upload = server.connect()
        upload.putrequest("POST", "/api/blobs")
        upload.putheader("Content-Length", "1000000")
        upload.endheaders()
        upload.send(b"x" * 500000)
        await_put(server)
        server.signal(signal.SIGTERM)
        await_refusals(server)
        time.sleep(0.3)
        same(server.process.poll(), None)
        server.signal(signal.SIGINT)
        same(server.wait(30), 128 + signal.SIGINT)
    # Nothing of it stays, and the store is sound.
    with serve(case, "--drain", "1s") as server:
        same(server.request("GET", "/api/blobs").json()["blobs"], [])
        upload = server.connect()
        upload.putrequest("POST", "/api/blobs")
        upload.putheader("Content-Length", "1000000")
        upload.endheaders()
        upload.send(b"x" * 500000)
        await_put(server)
        before = time.monotonic()
        same(server.stop(), 0)
        assert 0.5 < time.monotonic() - before < 25  # the default is 30
        server.says("given up")


def test_load_and_sigterm(case):
    """Under load, whatever was acknowledged is there afterwards."""
    stored, stop = [], threading.Event()

    def put(number):
        count = 0
        while not stop.is_set():
            data = bytes_of(100_000, b"%d %d" % (number, count))
            count += 1
            try:
                answer = server.request("POST", "/api/blobs", data)
            except (OSError, graviton.http.client.HTTPException):
                return
            if answer.status == 503:
                return
            same(answer.status, 201)
            stored.append((answer.json(), data))

    with serve(case) as server:
        threads = [threading.Thread(target=put, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        harness.wait_until(lambda: len(stored) > 10, 60)
        same(server.stop(), 0)
        stop.set()
        for thread in threads:
            thread.join()
    assert len(stored) > 10, len(stored)
    with serve(case) as server:
        for blob, data in stored:
            same(server.get(blob), data)
        same(server.stop(), 0)


def test_tokens_are_reloaded(case):
    def make(name):
        result = case.run("token", name, "--scope", "read,write", "--append", "tokens")
        return {"Authorization": "Bearer " + result.out.decode().strip()}

    one = make("one")
    with serve(case, "--tokens", "tokens", "--metrics-scope") as server:
        same(server.request("GET", "/api/store").status, 401)
        same(server.request("GET", "/api/store", headers=one).status, 200)
        same(server.request("GET", "/api/health").status, 200)
        same(server.request("GET", "/metrics").status, 401)
        same(server.request("GET", "/metrics", headers=one).status, 200)
        same(server.request("POST", "/api/admin/flush", headers=one).status, 403)
        two = make("two")
        same(server.request("GET", "/api/store", headers=two).status, 401)
        server.signal(signal.SIGHUP)
        end = time.monotonic() + 10
        while server.request("GET", "/api/store", headers=two).status != 200:
            assert time.monotonic() < end, server.said()
        # A file that is wrong changes nothing.
        case.write("tokens", b"nonsense here\n")
        server.signal(signal.SIGHUP)
        while "the old ones stay" not in server.said():
            assert time.monotonic() < end + 10, server.said()
        same(server.request("GET", "/api/store", headers=two).status, 200)
        same(server.stop(), 0)
        said = server.said()
        for headers in (one, two):
            assert headers["Authorization"][7:] not in said, "a token is in the log"


def test_what_is_refused_at_the_start(case):
    port = graviton.free_port()
    for options, code, words in (
        (["--listen", f"0.0.0.0:{port}"], 7, "--tokens"),
        (["--listen", f"[::]:{port}"], 7, "--insecure"),
        (["--listen", "nowhere"], 2, "ADDRESS:PORT"),
        (["--connections", "0"], 2, "--connections"),
        (["--idle-timeout", "1x"], 2, "--idle-timeout"),
        (["--memory", "1"], 2, "--memory"),
        (["--log", "xml"], 2, "--log"),
        (["--tls-cert", "cert"], 2, "--tls-key"),
        (["--tls-cert", "cert", "--tls-key", "key"], 3, "cert"),
        (["--tokens", "tokens"], 3, "tokens"),
        (["--metrics-scope"], 2, "--tokens"),
        (["operand"], 2, "operand"),
    ):
        result = case.run("serve", *options, expect=code)
        has(result.err, words)
    with serve(case) as server:
        # The store is in use, and so is the port.
        has(case.run("stats", expect=5).err, "in use")
        has(
            case.run("serve", "--store", "other", "--listen", f"127.0.0.1:{server.port}",
                     expect=5).err,
            "another program",
        )  # fmt: skip
        same(server.stop(), 0)


def test_readiness_and_passed_sockets(case):
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(case.path("notify"))
    notify.settimeout(30)
    listen = socket.socket()
    listen.bind(("127.0.0.1", 0))
    listen.listen(16)
    env = {**case.env, "NOTIFY_SOCKET": case.path("notify"), "LISTEN_FDS": "1"}

    def pass_socket():
        os.dup2(listen.fileno(), 3)

    with open(case.path("log"), "wb") as log:
        process = subprocess.Popen(
            [case.program, "serve"], cwd=case.directory, env=env, stderr=log,
            preexec_fn=pass_socket, close_fds=False,
        )  # fmt: skip
    try:
        same(notify.recv(100), b"READY=1")
        port = listen.getsockname()[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health") as answer:
            same(answer.status, 200)
        process.send_signal(signal.SIGTERM)
        same(notify.recv(100), b"STOPPING=1")
        same(process.wait(30), 0)
    finally:
        process.kill()
        process.wait()
        listen.close()
        notify.close()


def test_the_port_comes_from_the_environment(case):
    port = graviton.free_port()
    env = {**case.env, "GRAVITON_HTTP_PORT": str(port)}
    process = subprocess.Popen([case.program, "serve", "--json"], cwd=case.directory, env=env,
                               stderr=subprocess.PIPE)  # fmt: skip
    try:
        has(process.stderr.readline().decode(), f"http://127.0.0.1:{port}")
        process.send_signal(signal.SIGINT)
        same(process.wait(30), 0)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


if __name__ == "__main__":
    harness.main()
