#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`graviton serve` and those who mean it no good: requests that two programs could read in two
ways, headers and paths without end, bodies that never come, a thousand clients of one byte a
second. Each is answered as docs/http.md says or cut off; after each the server answers others as
before.
"""

import os
import re
import resource
import select
import socket
import sys
import time

import harness
from harness import EMPTY, has, same, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "service"))
import graviton

SLOW_CLIENTS = 200 if harness.BOUNDED else 1000
HEAD = b"Host: x\r\n"


def serve(case, *options, **how):
    return graviton.Server(case.program, "--store", "s", *options, env=case.env, cwd=case.directory,
                           **how)  # fmt: skip


def raw(server, text, timeout=20):
    """Sends bytes and gives all that comes until the server closes or a whole answer is there."""
    with socket.create_connection(("127.0.0.1", server.port), timeout) as client:
        try:
            client.sendall(text)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = b""
        try:
            while True:
                part = client.recv(65536)
                if not part:
                    break
                answer += part
        except (ConnectionResetError, socket.timeout):
            pass
    return answer


def statuses(answer):
    """Status codes of the answers in what a server sent."""
    return [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d{3})", answer)]


def alive(server):
    same(server.request("GET", "/api/health").status, 200)
    same(server.get(EMPTY) if server.request("HEAD", f"/api/blobs/{EMPTY}").status == 200 else b"",
         b"")  # fmt: skip


def closes_with(server, text, *wanted):
    """One request that is refused: exactly one answer, with a status that is wanted, or none where
    0 is; then the connection ends, so that what follows is never read as another request."""
    follow = b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = raw(server, text + follow)
    # libmicrohttpd's own answer to a wrong Content-Length has its head twice, before one body.
    answer = re.sub(rb"(HTTP/1\.1 4\d\d [^\0]*?\r\n\r\n)\1", rb"\1", answer)
    got = statuses(answer)
    first = got[0] if got else 0
    assert first in wanted, f"{text[:200]!r}: {got}, wanted one of {wanted}"
    assert len(got) <= 1, f"{text[:200]!r}: {got}: what came after it was answered too"
    alive(server)


def post(*fields, body=b"", line=b"POST /api/blobs HTTP/1.1"):
    return line + b"\r\n" + HEAD + b"".join(f + b"\r\n" for f in fields) + b"\r\n" + body


def test_requests_that_can_be_read_in_two_ways(case):
    with serve(case) as server:
        for text in (
            post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
            post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"),
            post(b"Content-Length: 5", b"Content-Length: 6", body=b"abcdef"),
            post(b"Content-Length: 5", b"Content-Length: 5", body=b"abcde"),
            post(b"Content-Length: 5, 5", body=b"abcde"),
            post(b"Content-Length: +5", body=b"abcde"),
            post(b"Content-Length: -5", body=b"abcde"),
            post(b"Content-Length: 0x5", body=b"abcde"),
            post(b"Content-Length: 5a", body=b"abcde"),
            post(b"Content-Length:", body=b"abcde"),
            post(b"Content-Length: 99999999999999999999999", body=b"abcde"),
            post(b"Content-Length : 5", body=b"abcde"),
            post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
            post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
            post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
            post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
            post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
            post(b"Transfer-Encoding: identity", b"Content-Length: 5", body=b"abcde"),
            post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n",
                 line=b"POST /api/blobs HTTP/1.0"),
            post(b"Bad name: x", b"Content-Length: 0"),
            post(b"Content-Length: 0", b" folded: x"),
            b"POST /api/blobs HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            b"POST /api/blobs HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n",
        ):  # fmt: skip
            closes_with(server, text, 400, 413, 501, 0)
        same(server.request("GET", "/api/blobs").json()["blobs"], [])


def test_bare_line_feeds_in_chunks(case):
    """libmicrohttpd takes them; so the connection ends, and nothing that follows is a request."""
    with serve(case) as server:
        for body in (
            b"2;\nxx\r\n0\r\n\r\n",
            b"0\n\n",
            b"2\nxx\n0\n\n",
            b"2\r\nxx\r\n0\r\n\r\n",
        ):
            closes_with(server, post(b"Transfer-Encoding: chunked", body=body), 201, 400, 0)


def test_targets_that_end_early(case):
    with serve(case) as server:
        for target in (
            b"/api/health\0/../x",
            b"/api/health\0",
            b"/api/health?a\0b",
            b"\0/api/health",
        ):
            closes_with(server, b"GET " + target + b" HTTP/1.1\r\n" + HEAD + b"\r\n", 400, 0)
        for target, wanted in (
            (b"http://h?x=/api/health", (400, 404)),
            (b"http://h", (400, 404)),
            (b"https://h/nothing?/api/health", (400, 404)),
            (b"http://h/api/health?x=/no", (200,)),
        ):
            fields = HEAD + b"Connection: close\r\n\r\n"
            got = statuses(raw(server, b"GET " + target + b" HTTP/1.1\r\n" + fields))
            assert len(got) == 1 and got[0] in wanted, f"{target}: {got}"


def test_web_pages_of_others(case):
    """A browser sends what any page asks for; a server without tokens must not obey it."""
    made = case.run("token", "boss", "--scope", "read", "--append", "tokens")
    token = made.rows()[0][0]
    page = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    with serve(case) as server:
        for fields in (page, {"Origin": "null"}, {"Host": f"evil.example:{server.port}"}):
            for method, path in (
                ("POST", "/api/admin/gc"),
                ("POST", "/api/blobs"),
                ("GET", "/api/blobs"),
                ("GET", "/api/health"),
            ):
                answer = server.request(method, path, body=b"", headers={**form, **fields})
                same((method, path, fields, answer.status), (method, path, fields, 403))
                same(answer.json()["type"], "urn:graviton:problem:forbidden")
        own = {"Origin": f"http://127.0.0.1:{server.port}"}
        for fields in (own, {"Sec-Fetch-Site": "same-origin"}, {"Host": "localhost"}, {}):
            same(server.request("GET", "/api/blobs", headers=fields).status, 200)
    with serve(case, "--tokens", "tokens") as server:
        fields = {**page, "Authorization": f"Bearer {token}", "Host": "store.example"}
        same(server.request("GET", "/api/blobs", headers=fields).status, 200)
        same(server.request("GET", "/api/blobs", headers=page).status, 401)
    with serve(case, "--insecure") as server:
        same(server.request("GET", "/api/blobs", headers={"Host": "store.example"}).status, 200)


def test_chunks_that_are_none(case):
    with serve(case) as server:
        for body in (
            b"zz\r\nabc\r\n0\r\n\r\n",
            b"-3\r\nabc\r\n0\r\n\r\n",
            b"0x3\r\nabc\r\n0\r\n\r\n",
            b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
            b"3\r\nabcdef\r\n0\r\n\r\n",
            b"3" + b"0" * 70000 + b"\r\n",
        ):
            got = statuses(raw(server, post(b"Transfer-Encoding: chunked", body=body), 5))
            assert not got or got[0] in (400, 413), f"{body[:40]!r}: {got}"
            alive(server)
        same(server.request("GET", "/api/blobs").json()["blobs"], [])


def test_a_body_that_ends_early_stores_nothing(case):
    with serve(case) as server:
        for text in (
            post(b"Content-Length: 1000", body=b"x" * 999),
            post(b"Content-Length: 4000000", body=b"x" * 3999999),
            post(b"Transfer-Encoding: chunked", body=b"5\r\nabcde\r\n"),
            post(b"Transfer-Encoding: chunked", body=b"5\r\nabcd"),
        ):
            with socket.create_connection(("127.0.0.1", server.port), 20) as client:
                client.sendall(text)
                client.shutdown(socket.SHUT_WR)
                got = b""
                try:
                    while part := client.recv(65536):
                        got += part
                except ConnectionResetError:
                    pass
            assert 201 not in statuses(got), got
        same(server.request("GET", "/api/blobs").json()["blobs"], [])
        alive(server)


def test_heads_without_end(case):
    with serve(case) as server:
        big = b"x" * 100000
        closes_with(server, b"GET /api/health HTTP/1.1\r\nHost: x\r\nBig: " + big + b"\r\n\r\n",
                    431, 413, 400, 0)  # fmt: skip
        many = b"".join(b"H%d: y\r\n" % number for number in range(20000))
        closes_with(server, b"GET /api/health HTTP/1.1\r\nHost: x\r\n" + many + b"\r\n", 431, 413,
                    400, 0)  # fmt: skip
        closes_with(server, b"GET /" + big + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, 431, 400, 0)
        closes_with(server, b"GET /api/health?" + big + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, 431,
                    400, 0)  # fmt: skip
        closes_with(server, big + b" / HTTP/1.1\r\nHost: x\r\n\r\n", 400, 405, 414, 431, 501, 0)
        same(server.request("GET", f"/api/blobs/blake3:{'a' * 5000}:1").status, 400)
        same(server.request("GET", f"/api/blobs/blake3:{'a' * 64}:{'9' * 3000}").status, 400)


def test_paths_that_lead_elsewhere(case):
    with serve(case) as server:
        blob = server.put(b"hello")
        for path in (
            "/api/blobs/..", "/api/blobs/../store", "/api/../api/health", "/api/blobs/%2e%2e",
            "/api/blobs/%2e%2e/store", "/api//health", "/api/health/", "/api/blobs/a%00b",
            "/api/%00", f"/api/blobs/{blob}%00", f"/api/blobs%2f{blob}", "/api/blobs/..%2f..%2fetc",
            "/api/blobs/%", "/api/blobs/%4", "/api/blobs/%zz", "/./api/health",
            "/api/blobs/..%5c..%5cetc",
        ):  # fmt: skip
            answer = raw(server, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                         .encode())  # fmt: skip
            assert statuses(answer)[:1] in ([400], [404]), f"{path}: {answer[:200]!r}"
            assert case.directory.encode() not in answer, f"{path} tells where the store is"
        same(server.get(blob), b"hello")
        # An absolute URL is what a proxy gets; its path is what counts, or it is refused.
        got = statuses(raw(server, b"GET http://x/api/health HTTP/1.1\r\nHost: x\r\n"
                                   b"Connection: close\r\n\r\n"))  # fmt: skip
        assert got[:1] in ([200], [400], [404]), got


def test_ranges_that_are_none(case):
    with serve(case) as server:
        data = harness.noise(300000)
        blob = server.put(data)
        for field in (
            "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-1", "bytes=1-2-3", "octets=1-2",
            "bytes=1-2,", "bytes=,", "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 4000, 2)),
            "bytes=18446744073709551616-18446744073709551617x", "bytes=--1", "bytes=0x1-2",
            "bytes= 1-2 ; x", "bytes=" + "1" * 500 + "-",
        ):  # fmt: skip
            answer = server.request("GET", f"/api/blobs/{blob}", headers={"Range": field})
            assert answer.status in (200, 206, 416), f"{field[:60]}: {answer.status}"
            if answer.status == 200:
                same(answer.body, data)
        answer = server.request("GET", f"/api/blobs/{blob}",
                                headers={"Range": "bytes=9223372036854775807-"})  # fmt: skip
        same(answer.status, 416)
        same(answer.headers["content-range"], f"bytes */{len(data)}")
        alive(server)


def test_methods_and_versions(case):
    with serve(case) as server:
        for line, wanted in (
            (b"BREW /api/health HTTP/1.1", (405, 501)),
            (b"TRACE /api/health HTTP/1.1", (405, 501)),
            (b"CONNECT example.org:443 HTTP/1.1", (400, 404, 405, 501)),
            (b"GET /api/health HTTP/3.7", (400, 505)),
            (b"GET /api/health", (400, 505)),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (400, 505, 0)),
            (b"\x00" * 100, (400, 505, 0)),
        ):
            text = line + b"\r\nHost: x\r\nConnection: close\r\n\r\n"
            got = (statuses(raw(server, text, 5 if 0 in wanted else 60)) + [0])[0]
            assert got in wanted, f"{line!r}: {got}, wanted one of {wanted}"
            alive(server)
        closes_with(server, post(b"Content-Length: 3", b"Expect: tea", body=b"abc"), 417)


def trickle(server, kind, number):
    """A client that has begun something and goes on by a byte now and then."""
    client = socket.create_connection(("127.0.0.1", server.port), 20)
    if kind == "head":
        client.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\nSlow: ")
    else:
        client.sendall(b"POST /api/blobs HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                       % (100000 + number))  # fmt: skip
    return client


def threads(server):
    return len(os.listdir(f"/proc/{server.pid}/task"))


def enough_files():
    """Two descriptors a client: one here, one in the server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < SLOW_CLIENTS + 200:
        raise harness.Skip(f"at most {hard} open files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, SLOW_CLIENTS + 200), hard))


def test_slow_clients_cost_no_thread_and_no_memory(case):
    enough_files()
    with serve(case, "--connections", "3000") as server:
        data = harness.noise(500000)
        blob = server.put(data)
        before, resident = threads(server), server.resident()
        clients = [trickle(server, "head" if n % 2 else "body", n) for n in range(SLOW_CLIENTS)]
        for _ in range(3):
            for client in clients:
                client.send(b"x")
            same(server.get(blob), data)
            same(server.put(data), blob)
        same(threads(server), before)
        # What a client that sent a few bytes may cost: its connection's buffer.
        more = server.resident() - resident
        assert more < SLOW_CLIENTS * (160 << 10), f"{more} bytes for {SLOW_CLIENTS} slow clients"
        for client in clients:
            client.close()
        same(server.get(blob), data)


def is_closed(client):
    if not select.select([client], [], [], 0)[0]:
        return False
    try:
        return client.recv(65536) == b""
    except ConnectionResetError:
        return True


def test_slow_clients_are_cut_off(case):
    with serve(case, "--idle-timeout", "4s", "--rate-min", "100000") as server:
        clients = [trickle(server, kind, 5) for kind in ("head", "body", "head", "body")]
        idle = socket.create_connection(("127.0.0.1", server.port), 20)
        kept = server.connect()
        kept.request("GET", "/api/health")
        kept.getresponse().read()
        open_clients = clients + [idle]
        end = time.monotonic() + 60
        while open_clients and time.monotonic() < end:
            for client in list(open_clients):
                try:
                    if client is not idle:
                        client.send(b"x")
                except OSError:
                    open_clients.remove(client)
                    continue
                if is_closed(client):
                    open_clients.remove(client)
            time.sleep(0.2)
        same(open_clients, [])
        wait_until(lambda: is_closed(kept.sock), 60)
        same(server.request("GET", "/api/blobs").json()["blobs"], [])


def test_a_reader_that_does_not_read_is_cut_off(case):
    with serve(case) as server:  # which lets a put take its time
        blob = server.put(harness.noise(40 << 20))
        same(server.stop(), 0)
    with serve(case, "--idle-timeout", "4s", "--rate-min", "1000000") as server:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(60)
            client.connect(("127.0.0.1", server.port))
            client.sendall(f"GET /api/blobs/{blob} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            server.says("the connection ended before its time", seconds=60)
            got = 0
            try:
                while part := client.recv(1 << 20):
                    got += len(part)
            except ConnectionResetError:
                pass
        assert got < 40 << 20, "the whole blob came, though nobody read for long"
        alive(server)


def test_limits_of_connections(case):
    with serve(case, "--connections", "20", "--client-connections", "10") as server:
        clients = []
        refused = 0
        for _ in range(15):
            client = socket.create_connection(("127.0.0.1", server.port), 20)
            clients.append(client)
            try:
                client.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n")
                client.settimeout(2)
                refused += client.recv(4096) == b""
            except (ConnectionResetError, BrokenPipeError, socket.timeout):
                refused += 1
        assert refused >= 5, f"{refused} of 15 were refused, with at most 10 of one address"
        for client in clients:
            client.close()
        # The server takes a moment to see that they are gone, and refuses until then.
        wait_until(lambda: 200 in statuses(raw(server, b"GET /api/health HTTP/1.1\r\n" + HEAD
                                               + b"Connection: close\r\n\r\n")))  # fmt: skip


def test_too_large_a_body(case):
    with serve(case, "--max-body", "1M") as server:
        answer = raw(server, post(b"Content-Length: 1048577", b"Connection: close",
                                  body=b"x" * 1048577))  # fmt: skip
        same(statuses(answer), [413])
        # Whoever waits for a word before the body gets this one.
        answer = raw(server, post(b"Content-Length: 1048577", b"Expect: 100-continue",
                                  b"Connection: close"))  # fmt: skip
        same(statuses(answer), [413])
        has(answer.decode(), "urn:graviton:problem:content-too-large")
        chunks = b"".join(b"10000\r\n" + b"y" * 65536 + b"\r\n" for _ in range(40))
        answer = raw(server, post(b"Transfer-Encoding: chunked", b"Connection: close",
                                  body=chunks + b"0\r\n\r\n"))  # fmt: skip
        same(statuses(answer), [413])
        server.put(b"z" * (1 << 20))
        same(len(server.request("GET", "/api/blobs").json()["blobs"]), 1)


if __name__ == "__main__":
    harness.main()
