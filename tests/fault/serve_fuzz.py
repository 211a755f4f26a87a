#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`graviton serve` and requests that chance has spoiled: valid ones with bytes changed, lines
doubled, cut or joined, sent whole or in pieces, some of them one after another on a connection.

Nothing makes the server die, answer with a defect (500 internal) or store what nobody sent whole;
at the end it stops in order, which under a sanitizer also says that it leaked nothing.

  serve_fuzz.py PROGRAM [--seed N] [--seconds N]
"""

import argparse
import random
import re
import socket
import threading
import time

import harness
from harness import OK, want
from serve_rig import serve

THREADS = 4
SIGNS = [b"\0", b"\r", b"\n", b" ", b"\t", b":", b"%"]
WORDS = [
    b"Content-Length: 5", b"Content-Length: 99999999999", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: identity", b"Range: bytes=0-0,2-,-1", b"Range: bytes=9-1",
    b"If-Range: \"x\"", b"If-None-Match: *, \"a\"", b"Repr-Digest: sha-256=:AAAA:",
    b"Content-Digest: sha-512=:" + b"A" * 86 + b"==:", b"Expect: 100-continue", b"Expect: x",
    b"Connection: close", b"Connection: upgrade", b"Upgrade: h2c", b"Host: y",
    b"Content-Disposition: attachment; filename*=UTF-8''%ff%00..%2f", b"Content-Type: a/b;c=\"\\",
    b"traceparent: 00-" + b"0" * 32 + b"-" + b"1" * 16 + b"-01", b"Authorization: Bearer x",
    b"Graviton-Attributes: AAAA", b"Content-Encoding: gzip", b"Accept: \xff\xfe", b"Trailer: x",
]  # fmt: skip


def requests(blob):
    """Valid requests of every kind."""
    get = b" HTTP/1.1\r\nHost: x\r\n"
    body = b"some bytes of a body"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n3;x=y\r\nfgh\r\n0\r\nT: u\r\n\r\n"
    one = b"/api/blobs/" + blob
    names = [one, b"/api/blobs?limit=3&order=newest", b"/api/blobs?cursor=AAAA", one + b"/info",
             one + b"/manifest?offset=3&limit=2", one + b"/attributes", b"/api/store",
             b"/api/stats", b"/api/health", b"/api/ready", b"/metrics", b"/api/datalake/dashboard",
             b"/api/admin/jobs", b"/api/admin/jobs/1?after=0", b"/api/blobs/%62lake3%3a00:1",
             b"/"]  # fmt: skip
    found = [b"GET " + name + get + b"\r\n" for name in names]
    found += [b"HEAD " + names[0] + get + b"Range: bytes=0-1\r\n\r\n",
              b"OPTIONS " + names[0] + get + b"\r\n",
              b"GET " + names[0] + get + b"Range: bytes=1-2,4-5,-3\r\n\r\n",
              b"GET " + names[0] + get + b'If-None-Match: "' + blob + b'"\r\n\r\n',
              b"POST /api/blobs" + get + chunked,
              b"POST /api/blobs" + get + b"Content-Length: %d\r\n\r\n" % len(body) + body,
              b"PUT " + names[0] + get + b"Content-Length: 5\r\n\r\nhello",
              b"PUT /api/blobs/" + blob + b"/attributes" + get
              + b"Content-Type: application/json\r\nContent-Length: 51\r\n\r\n"
              + b'{"attributes": [{"name": "a", "value_base64": "AA"}]}'[:51],
              b"POST /api/blobs:missing" + get + b"Content-Type: application/json\r\n"
              + b'Content-Length: 12\r\n\r\n{"ids": ["a"]}'[: -2],
              b"POST /api/admin/verify" + get + b"Content-Length: 13\r\n\r\n"
              + b'{"all": true}',
              b"DELETE /api/admin/jobs/1" + get + b"\r\n"]  # fmt: skip
    return found


def spoil(source, text):
    """A few changes, of kinds that parsers stumble over."""
    for _ in range(source.randrange(4)):
        at = source.randrange(len(text) + 1)
        kind = source.randrange(8)
        lines = text.split(b"\r\n")
        if kind == 0 and at < len(text):
            text = text[:at] + bytes([source.randrange(256)]) + text[at + 1 :]
        elif kind == 1:
            text = text[:at] + source.choice(SIGNS) + text[at:]
        elif kind == 2:
            text = text[:at]
        elif kind == 3:
            line = source.randrange(len(lines))
            text = b"\r\n".join(lines[: line + 1] + lines[line:])
        elif kind == 4:
            text = b"\r\n".join(lines[:1] + [source.choice(WORDS)] + lines[1:])
        elif kind == 5:
            line = source.randrange(len(lines))
            text = b"\r\n".join(lines[:line] + lines[line + 1 :])
        elif kind == 6:
            piece = text[at : at + source.randrange(1, 40)]
            text = text[:at] + piece * source.randrange(1, 300) + text[at:]
        else:
            text = text.replace(b"\r\n", source.choice([b"\n", b"\r\n ", b"\r\r\n"]), 1)
    return text


class Fuzz:
    def __init__(self, server, blob, until):
        self.server, self.until = server, until
        self.requests = requests(blob.encode())
        self.sent = 0
        self.statuses = {}
        self.wrong = []
        self.lock = threading.Lock()

    def exchange(self, source):
        count = source.choice([1, 1, 3])
        text = b"".join(spoil(source, source.choice(self.requests)) for _ in range(count))
        answer = b""
        with socket.create_connection(("127.0.0.1", self.server.port), 30) as client:
            client.settimeout(0.2)
            try:
                if source.random() < 0.3 and len(text) > 2:
                    cut = source.randrange(1, len(text))
                    client.sendall(text[:cut])
                    time.sleep(0.002)
                    client.sendall(text[cut:])
                else:
                    client.sendall(text)
                if source.random() < 0.7:
                    client.shutdown(socket.SHUT_WR)
                while part := client.recv(65536):
                    answer += part
            except OSError:
                pass
        with self.lock:
            self.sent += 1
            for code in re.findall(rb"HTTP/1\.[01] (\d{3})", answer):
                self.statuses[code.decode()] = self.statuses.get(code.decode(), 0) + 1
        if b"urn:graviton:problem:internal" in answer:
            self.wrong.append(f"{text[:1000]!r}: {answer[:500]!r}")

    def work(self, seed):
        source = random.Random(seed)
        while time.monotonic() < self.until and not self.wrong:
            try:
                self.exchange(source)
            except OSError as error:
                if self.server.process.poll() is not None:
                    self.wrong.append(f"the server is gone: {error}")
                    return


def spoiled_requests(bench, seconds):
    store = ["--store", bench.path("s")]
    with serve(bench, store, "--idle-timeout", "5s") as server:
        blob = server.put(b"hello")
        fuzz = Fuzz(server, blob, time.monotonic() + seconds)
        threads = [threading.Thread(target=fuzz.work, args=(bench.random.random(),))
                   for _ in range(THREADS)]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        want(not fuzz.wrong, "; ".join(fuzz.wrong[:2]))
        print(f"# {fuzz.sent} connections; answers: {dict(sorted(fuzz.statuses.items()))}")
        want(fuzz.statuses.get("200", 0) > 10, f"hardly an answer: {fuzz.statuses}")
        want(server.get(blob) == b"hello", "the blob has other bytes")
        code = server.stop()
        want(code == 0, f"exit {code}: {server.said()[-3000:]}")
        want("ERROR: " not in server.said(), server.said()[-3000:])
    bench.run("verify", "--all", store=store).wants(OK)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    harness.add_arguments(parser)
    parser.add_argument("--seconds", type=float, default=8)
    arguments = parser.parse_args()
    harness.main(
        [("spoiled requests", lambda bench: spoiled_requests(bench, arguments.seconds))], arguments
    )


if __name__ == "__main__":
    main()
