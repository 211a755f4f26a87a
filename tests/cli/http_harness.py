# SPDX-License-Identifier: Apache-2.0
"""What the tests of `graviton serve` share: a server in the test's directory, and what every answer
of some kind has."""

import base64
import contextlib
import hashlib
import os
import socket
import sys

from harness import same

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "service"))
import graviton


@contextlib.contextmanager
def serve(case, *options):
    """A server while the test uses it; one that does not end in order fails the test, which with a
    sanitizer it does for a leak too."""
    options = options or ("--store", "s")
    with graviton.Server(case.program, *options, env=case.env, cwd=case.directory,
                         log=case.path("log")) as server:  # fmt: skip
        yield server
        code = server.stop()
        assert code == 0, f"serve: exit {code}: {server.said()[-5000:]}"


def problem(answer, status, kind):
    """Checks that an answer is a problem document of that status and type; its detail."""
    same((answer.status, answer.headers.get("content-type")), (status, "application/problem+json"))
    document = answer.json()
    same(document["type"], "urn:graviton:problem:" + kind)
    same(document["status"], status)
    same(document["request_id"], answer.headers["request-id"])
    assert document["title"] and document["detail"], document
    for name in ("etag", "cache-control", "repr-digest", "location"):
        assert name not in answer.headers, f"{name} beside an error: {answer}"
    return document["detail"]


def sha_id(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}:{len(data)}"


def digest_of(blob):
    """The Repr-Digest that goes with an id."""
    name, digest, _ = blob.split(":")
    text = base64.b64encode(bytes.fromhex(digest)).decode()
    return f"{'sha-256' if name == 'sha256' else name}=:{text}:"


def chunks(data, size=70000):
    for at in range(0, len(data), size):
        yield data[at : at + size]


def raw(server, request, until=None):
    """Sends bytes as they are; what comes back until the connection ends, or `until` is there."""
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        connection.sendall(request)
        got = b""
        while until is None or until not in got:
            more = connection.recv(65536)
            if not more:
                break
            got += more
        return got
