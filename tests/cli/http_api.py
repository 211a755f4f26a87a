#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Storing and reading blobs over HTTP, as docs/http.md promises it: every status, header and body,
and what a damaged store answers."""

import base64
import email
import email.policy
import hashlib
import os

import harness
from harness import EMPTY, has, noise, same
from http_harness import chunks, digest_of, problem, raw, serve, sha_id


def figures(answer):
    """Graviton-Put as a dictionary."""
    pairs = (member.split("=") for member in answer.headers["graviton-put"].split(", "))
    return {name: value == "?1" if value[0] == "?" else int(value) for name, value in pairs}


# ---- Storing ----


def check_stored(answer, status, size, already):
    same(answer.status, status)
    blob = answer.json()
    same(answer.headers["content-type"], "application/json")
    same(blob.split(":")[2], str(size))
    same(answer.headers["location"], "/api/blobs/" + blob)
    same(answer.headers["etag"], f'"{blob}"')
    same(answer.headers["repr-digest"], digest_of(blob))
    told = figures(answer)
    same(told["already-stored"], already)
    same(told["fresh-bytes"] + told["duplicate-bytes"], size)
    same(told["fresh-bytes"] > 0, not already and size > 0)
    return blob


def test_post_stores_bytes_of_any_length(case):
    with serve(case) as server:
        for size in (0, 1, 1000, 65536, 262144, 262145, 1 << 20, 5_000_000):
            data = noise(size, seed=size)
            blob = check_stored(server.request("POST", "/api/blobs", data), 201, size, False)
            same(check_stored(server.request("POST", "/api/blobs", data), 201, size, True), blob)
            same(server.get(blob), data)
        same(server.request("POST", "/api/blobs", b"").json(), EMPTY)
        # Chunked: a body without a length.
        for size in (0, 10, 70000, 3_000_000):
            data = noise(size, seed=size + 1)
            answer = server.request("POST", "/api/blobs", chunks(data))
            blob = check_stored(answer, 201, size, size == 0)
            same(server.get(blob), data)
        server.stop()
    # What the server said is what the store has.
    same(case.run("get", blob, "--store", "s").out, data)


def test_put_stores_what_has_the_id(case):
    data = noise(300_000)
    blob = sha_id(data)
    with serve(case, "--store", "s", "--hash", "sha256") as server:
        path = "/api/blobs/" + blob
        check_stored(server.request("PUT", path, data), 201, len(data), False)
        check_stored(server.request("PUT", path, data), 200, len(data), True)
        check_stored(server.request("PUT", path, chunks(data)), 200, len(data), True)
        same(server.get(blob), data)
        quoted = "/api/blobs/" + blob.replace(":", "%3A").upper().replace("SHA256", "sha256")
        check_stored(server.request("PUT", quoted, data), 200, len(data), True)

        other = noise(300_000, seed=2)
        wrong = "/api/blobs/" + sha_id(noise(300_000, seed=3))
        has(problem(server.request("PUT", wrong, other), 409, "key-mismatch"), sha_id(other))
        problem(server.request("PUT", wrong, chunks(other)), 409, "key-mismatch")
        # Other lengths: announced, and as they turn out.
        for size in (0, 299_999, 300_001):
            problem(server.request("PUT", wrong, noise(size)), 409, "key-mismatch")
        for size in (0, 299_999, 300_001, 5_000_000):
            problem(server.request("PUT", wrong, chunks(noise(size))), 409, "key-mismatch")
        problem(server.request("PUT", "/api/blobs/" + EMPTY, b""), 409, "key-mismatch")
        problem(server.request("GET", wrong), 404, "not-found")
        problem(server.request("GET", "/api/blobs/" + sha_id(other)), 404, "not-found")
        same(len(server.request("GET", "/api/blobs").json()["blobs"]), 1)
        check_stored(server.request("PUT", "/api/blobs/" + sha_id(b""), b""), 201, 0, False)
        for bad in ("x", "sha256:00:1", "md5:" + "0" * 64 + ":1", sha_id(b"a")[:-1] + "-1",
                    sha_id(b"a")[:-1] + "99999999999999999999"):  # fmt: skip
            problem(server.request("PUT", "/api/blobs/" + bad, b"a"), 400, "bad-request")


def test_an_upload_may_not_be_a_part_or_coded(case):
    with serve(case) as server:
        for how, status, kind in (
            ({"Content-Range": "bytes 0-0/2"}, 400, "bad-request"),
            ({"Content-Encoding": "gzip"}, 415, "unsupported-media-type"),
        ):
            problem(server.request("POST", "/api/blobs", b"a", how), status, kind)
        same(server.request("POST", "/api/blobs", b"a", {"Content-Encoding": "identity"}).status,
             201)  # fmt: skip


def test_expect_saves_sending_what_is_there(case):
    data = noise(200_000)
    blob = sha_id(data)
    with serve(case, "--store", "s", "--hash", "sha256") as server:

        def ask(blob, more=""):
            """What comes back for the headers alone, up to the end of the first answer's."""
            size = blob.split(":")[2]
            head = f"PUT /api/blobs/{blob} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n{more}"
            return raw(server, (head + "Expect: 100-continue\r\n\r\n").encode(), b"\r\n\r\n")

        has(ask(blob), b"HTTP/1.1 100 ")
        same(server.request("PUT", "/api/blobs/" + blob, data).status, 201)
        told = ask(blob)
        has(told, b"HTTP/1.1 200 ", b"already-stored=?1", f'ETag: "{blob}"'.encode())
        has(ask(blob, "Content-Type: text/x-new\r\n"), b"HTTP/1.1 200 ")
        same(server.request("HEAD", "/api/blobs/" + blob).headers["content-type"], "text/x-new")
        has(ask(blob, f"Repr-Digest: {digest_of(blob)}\r\n"), b"HTTP/1.1 200 ")
        # What the id does not say has to be looked at.
        sha512 = base64.b64encode(hashlib.sha512(data).digest()).decode()
        has(ask(blob, f"Repr-Digest: sha-512=:{sha512}:\r\n"), b"HTTP/1.1 100 ")
        has(ask(blob[:-6] + "200001"), b"HTTP/1.1 100 ")
        # Wrong before the body: no 100.
        wrong = sha_id(b"b")
        has(ask(blob, f"Repr-Digest: {digest_of(wrong)}\r\n"), b"HTTP/1.1 400 ")


def test_digests_that_clients_name_are_checked(case):
    data = noise(100_000)
    with serve(case) as server:
        blob = server.put(data)
        good = {
            "blake3": base64.b64decode(digest_of(blob)[len("blake3=:") : -1]),
            "sha-256": hashlib.sha256(data).digest(),
            "sha-512": hashlib.sha512(data).digest(),
        }
        server.request("DELETE", "/api/blobs/" + blob)

        def member(name, flip=0):
            value = bytes([good[name][0] ^ flip]) + good[name][1:]
            return f"{name}=:{base64.b64encode(value).decode()}:"

        def send(field, value, body):
            return server.request("POST", "/api/blobs", body(), {field: value})

        for body in (lambda: data, lambda: chunks(data)):
            for field in ("Repr-Digest", "content-digest"):
                for name in good:
                    answer = send(field, member(name, flip=1), body)
                    problem(answer, 400, "digest-mismatch")
                    both = ", ".join([member("sha-256"), member(name, flip=64)])
                    problem(send(field, both, body), 400, "digest-mismatch")
            problem(send("Repr-Digest", "sha-256=abc", body), 400, "bad-request")
            problem(send("Repr-Digest", "sha-256=:YWJj:", body), 400, "bad-request")
            problem(send("Content-Digest", "!", body), 400, "bad-request")
        same(server.request("GET", "/api/blobs").json()["blobs"], [])
        twice = {"Repr-Digest": member("sha-512"), "Content-Digest": member("sha-512", flip=1)}
        problem(server.request("POST", "/api/blobs", data, twice), 400, "digest-mismatch")
        everything = ", ".join(["md5=:AAAA:", "x=(1 2);y"] + [member(name) for name in good])
        for body in (lambda: data, lambda: chunks(data)):
            same(send("Repr-Digest", everything, body).json(), blob)
        path = "/api/blobs/" + blob
        same(server.request("PUT", path, data, {"Repr-Digest": member("blake3")}).status, 200)
        for name in good:
            wrong = {"Repr-Digest": member(name, flip=1)}
            problem(server.request("PUT", path, data, wrong), 400, "digest-mismatch")


# ---- Reading ----


def test_get_has_its_headers_and_head_the_same(case):
    with serve(case) as server:
        for size in (0, 1000, 400_000, 5_000_000):
            data = noise(size, seed=size)
            blob = server.put(data, {"Content-Type": "text/plain",
                                     "Content-Disposition": "inline; filename=a.txt"})  # fmt: skip
            for _ in range(2):
                answer = server.request("GET", "/api/blobs/" + blob)
                same((answer.status, answer.body == data), (200, True))
                headers = dict(answer.headers)
                assert headers.pop("request-id")
                headers.pop("date")
                headers.pop("connection", None)
                same(headers, {
                    "etag": f'"{blob}"',
                    "accept-ranges": "bytes",
                    "repr-digest": digest_of(blob),
                    "content-length": str(size),
                    "content-type": "text/plain",
                    "content-disposition": 'attachment; filename="a.txt"',
                    "cache-control": "max-age=31536000, immutable",
                    "x-content-type-options": "nosniff",
                    "content-security-policy": "default-src 'none'; sandbox",
                })  # fmt: skip
                answer = server.request("HEAD", "/api/blobs/" + blob)
                same((answer.status, answer.body), (200, b""))
                head = dict(answer.headers)
                for name in ("request-id", "date", "connection"):
                    head.pop(name, None)
                same(head, headers)
        absent = "/api/blobs/" + blob[:-7] + "5000001"
        has(problem(server.request("GET", absent), 404, "not-found"), "there is no blob blake3:")
        answer = server.request("HEAD", absent)
        same((answer.status, answer.body), (404, b""))
        for bad in ("x", blob[:-1] + "x", blob + ":1", "blake3:" + "g" * 64 + ":1"):
            for method in ("GET", "DELETE"):
                problem(server.request(method, "/api/blobs/" + bad), 400, "bad-request")
        answer = server.request("PATCH", "/api/blobs/" + blob)
        problem(answer, 405, "method-not-allowed")
        same(set(answer.headers["allow"].split(", ")) >= {"GET", "HEAD", "PUT", "DELETE"}, True)


def parts_of(answer):
    """The parts of a multipart/byteranges answer, as python's own parser reads them."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.body, policy=email.policy.HTTP)
    same(message.get_content_type(), "multipart/byteranges")
    assert not message.defects, message.defects
    return [
        (part["Content-Range"], part["Content-Type"], part.get_payload(decode=True))
        for part in message.iter_parts()
    ]


def test_ranges(case):
    size = 3_000_000
    data = noise(size)
    with serve(case) as server:
        blob = server.put(data, {"Content-Type": "text/x-some"})
        path = "/api/blobs/" + blob

        def ask(value, **more):
            headers = {name.replace("_", "-"): text for name, text in more.items()}
            return server.request("GET", path, headers={"Range": value, **headers})

        for value, first, end in (
            ("bytes=0-0", 0, 1),
            ("bytes=0-99", 0, 100),
            ("bytes=2999999-", size - 1, size),
            ("bytes=-1", size - 1, size),
            ("bytes=-99999999999999999999", 0, size),
            ("bytes=100000-2000000", 100_000, 2_000_001),
            ("bytes=5-99999999999999999999", 5, size),
            ("bytes=0-", 0, size),
            ("bytes=0-9,10-19, 15-30", 0, 31),
            ("Bytes=7-7,9999999-", 7, 8),
        ):
            answer = ask(value)
            same((answer.status, answer.body == data[first:end]), (206, True))
            same(answer.headers["content-range"], f"bytes {first}-{end - 1}/{size}")
            same(answer.headers["content-length"], str(end - first))
            same(answer.headers["content-type"], "text/x-some")
            same(answer.headers["etag"], f'"{blob}"')
            same(answer.headers["repr-digest"], digest_of(blob))

        many = ",".join(f"{10 * i}-{10 * i + 3}" for i in range(16))
        for value, stretches in (
            ("bytes=0-0,-1", [(0, 1), (size - 1, size)]),
            ("bytes=2000000-2900000,10-20,1000-999999", [(2_000_000, 2_900_001), (10, 21),
                                                         (1000, 1_000_000)]),
            ("bytes=" + many, [(10 * i, 10 * i + 4) for i in range(16)]),
        ):  # fmt: skip
            answer = ask(value)
            same(answer.status, 206)
            same(answer.headers["content-length"], str(len(answer.body)))
            assert "content-range" not in answer.headers
            parts = parts_of(answer)
            same([part[:2] for part in parts],
                 [(f"bytes {a}-{b - 1}/{size}", "text/x-some") for a, b in stretches])  # fmt: skip
            same([part[2] == data[a:b] for part, (a, b) in zip(parts, stretches)],
                 [True] * len(stretches))  # fmt: skip

        for value in ("bytes=3000000-", "bytes=-0", "bytes=99999999999999999999-"):
            answer = ask(value)
            problem(answer, 416, "range-not-satisfiable")
            same(answer.headers["content-range"], f"bytes */{size}")
        for value in ("bytes=5-4", "bytes=", "items=0-1", "bytes=0-1;", "bytes=x-", "0-1",
                      "bytes=" + many + ",900-901"):  # fmt: skip
            answer = ask(value)
            same((answer.status, answer.body == data), (200, True))
        same(ask("bytes=0-0", If_Range=f'"{blob}"').status, 206)
        for tag in (f'W/"{blob}"', '"x"', blob, "Sat, 29 Oct 1994 19:43:31 GMT"):
            answer = ask("bytes=0-0", If_Range=tag)
            same((answer.status, len(answer.body)), (200, size))
        answer = server.request("HEAD", path, headers={"Range": "bytes=0-0"})
        same((answer.status, answer.headers["content-length"]), (200, str(size)))

        path = "/api/blobs/" + server.put(b"")
        for value, status in (("bytes=0-", 416), ("bytes=0-0", 416), ("bytes=-0", 416),
                              ("bytes=-5", 200), ("bytes=1-0", 200)):  # fmt: skip
            same(ask(value).status, status)
        same(ask("bytes=0-").headers["content-range"], "bytes */0")


def test_conditions(case):
    with serve(case) as server:
        blob = server.put(b"hello")
        path = "/api/blobs/" + blob
        tag = f'"{blob}"'
        for method in ("GET", "HEAD"):
            for field, value, status in (
                ("If-None-Match", tag, 304),
                ("If-None-Match", "W/" + tag, 304),
                ("If-None-Match", f'"a", {tag}', 304),
                ("If-None-Match", "*", 304),
                ("If-None-Match", '"a"', 200),
                ("If-None-Match", blob, 200),
                ("If-Match", tag, 200),
                ("If-Match", f'"a" , {tag}', 200),
                ("If-Match", "*", 200),
                ("If-Match", "W/" + tag, 412),
                ("If-Match", '"a"', 412),
                ("If-Match", "nonsense", 412),
            ):
                answer = server.request(method, path, headers={field: value})
                same((method, field, value, answer.status), (method, field, value, status))
                if status == 304:
                    same(answer.body, b"")
                    # Not 0: a cache would take that for the blob's (RFC 9110, 8.6).
                    same(answer.headers["content-length"], blob.rsplit(":", 1)[1])
                    same(answer.headers["etag"], tag)
                    has(answer.headers["cache-control"], "immutable")
                elif status == 412 and method == "GET":
                    problem(answer, 412, "precondition-failed")
        both = {"If-Match": '"a"', "If-None-Match": tag, "Range": "bytes=9-"}
        same(server.request("GET", path, headers=both).status, 412)
        del both["If-Match"]
        same(server.request("GET", path, headers=both).status, 304)
        absent = "/api/blobs/" + EMPTY
        for headers in ({"If-None-Match": "*"}, {"If-Match": "*"}):
            problem(server.request("GET", absent, headers=headers), 404, "not-found")
        # Two lines are one list, of which a range has no two.
        request = (f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                   "Range: bytes=0-0\r\nRange: bytes=1-1\r\n\r\n")  # fmt: skip
        has(raw(server, request.encode()), b"HTTP/1.1 200 ")
        request = (f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                   f'If-None-Match: "a"\r\nIf-None-Match: {tag}\r\n\r\n')  # fmt: skip
        has(raw(server, request.encode()), b"HTTP/1.1 304 ")


# ---- A damaged store ----


def spoil(case, block):
    algorithm, digest, size = block.split(":")
    with open(case.path(f"s/cas/blocks/{algorithm}/{digest}-{size}"), "r+b") as file:
        byte = file.read(1)[0]
        file.seek(0)
        file.write(bytes([byte ^ 1]))


def test_a_damaged_block_never_looks_whole(case):
    size = 8_000_000
    data = noise(size)
    with serve(case) as server:
        blob = server.put(data)
        small = server.put(b"small")
        path = "/api/blobs/" + blob
        blocks = server.request("GET", path + "/manifest").json()["references"]
        last = blocks[-1]
        spoil(case, last["block"])
        # Something has gone out by then: the connection ends before the length that was announced.
        # Chunks of a middle range and of several are cut alike.
        for headers in ({}, {"Range": "bytes=1000-"}, {"Range": "bytes=0-3000000,7000000-7999999"}):
            request = f"GET {path} HTTP/1.1\r\nHost: x\r\n"
            request += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            got = raw(server, (request + "\r\n").encode())
            head, body = got.split(b"\r\n\r\n", 1)
            lengths = [int(line.split(b":")[1]) for line in head.split(b"\r\n")
                       if line.lower().startswith(b"content-length")]  # fmt: skip
            assert head.startswith(b"HTTP/1.1 20"), head
            assert len(lengths) == 1 and len(body) < lengths[0], (head, len(body))
            if not headers:
                same(body == data[: len(body)], True)
        # What does not touch the block is served.
        same(server.request("GET", path, headers={"Range": "bytes=0-9"}).body, data[:10])
        # Nothing has gone out: a 500, with nothing of the blob's headers.
        for value in (f"bytes={last['offset_bytes']}-", "bytes=-1", "bytes=-9,-3",
                      "bytes=-1,0-1"):  # fmt: skip
            answer = server.request("GET", path, headers={"Range": value})
            problem(answer, 500, "corrupt")
            assert "content-range" not in answer.headers
        spoil(case, server.request("GET", f"/api/blobs/{small}/manifest").json()["references"][0][
            "block"])  # fmt: skip
        problem(server.request("GET", "/api/blobs/" + small), 500, "corrupt")
        same(server.request("HEAD", "/api/blobs/" + small).status, 200)
        os.unlink(case.path("s/cas/blocks/" + blocks[0]["block"].replace(":", "/", 1)
                            .replace(":", "-").encode().decode()))  # fmt: skip
        detail = problem(server.request("GET", path), 500, "corrupt")
        assert case.directory not in detail and "cas" not in detail, detail
        server.says("missing")
        server.stop()
    # A scrub sets aside what is wrong, and a put heals that and what is missing.
    case.run("scrub", "--store", "s", expect=4)
    with serve(case) as server:
        server.put(data)
        same(server.get(blob) == data, True)


if __name__ == "__main__":
    harness.main()
