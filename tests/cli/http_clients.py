#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`graviton serve` and the clients that people use: curl, wget, Python's urllib and requests, and
promtool for the figures. A client that isn't installed is a skip."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

import harness
from harness import EMPTY, Skip, has, noise, same

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "service"))
import graviton

SYSTEM_PYTHON = "/usr/bin/python3"  # where Debian's packages are


def serve(case, *options, **how):
    return graviton.Server(case.program, "--store", "s", *options, env=case.env, cwd=case.directory,
                           **how)  # fmt: skip


def run(case, *words, expect=0, stdin=b""):
    if shutil.which(words[0]) is None:
        raise Skip(f"no {words[0]}")
    done = subprocess.run(words, input=stdin, capture_output=True, cwd=case.directory, timeout=120,
                          env={**os.environ, "no_proxy": "*"}, check=False)  # fmt: skip
    assert done.returncode == expect, f"{words}: {done}"
    return done.stdout


def curl(case, *words, **how):
    return run(case, "curl", "-sS", "--max-time", "100", *words, **how)


def test_curl_puts_and_gets(case):
    with serve(case) as server:
        data = noise(3 << 20)
        case.write("in", data)
        out = curl(case, "-f", "-D", "head", "--data-binary", "@in", server.url + "/api/blobs")
        blob = json.loads(out)
        same(blob.split(":")[2], str(len(data)))
        head = case.read("head").decode().lower()
        has(head, "201 created", f"location: /api/blobs/{blob}", f'etag: "{blob}"', "repr-digest:")
        url = f"{server.url}/api/blobs/{blob}"
        curl(case, "-f", "-o", "out", url)
        same(case.read("out"), data)
        # -T is a PUT with Expect; the blob is there, and the bytes stay where they are.
        words = ["-T", "in", "-w", "%{size_upload}", "-H", "Expect: 100-continue",
                 "--expect100-timeout", "60"]  # fmt: skip
        out = curl(case, "-f", *words, url)
        assert out.endswith(b'"0'), out
        same(curl(case, "-f", "-I", url).split(b"\r\n")[0], b"HTTP/1.1 200 OK")
        curl(case, "-f", "-X", "DELETE", url)
        curl(case, "-f", url, expect=22)


def test_curl_from_a_pipe(case):
    with serve(case) as server:
        for size in (0, 1, 65536, 5 << 20):
            data = noise(size, seed=size)
            blob = json.loads(curl(case, "-f", "-T", "-", "-X", "POST", server.url + "/api/blobs",
                                   stdin=data))  # fmt: skip
            same(server.get(blob), data)


def test_curl_ranges_and_resume(case):
    with serve(case) as server:
        data = noise(2 << 20)
        url = f"{server.url}/api/blobs/{server.put(data)}"
        same(curl(case, "-f", "-r", "0-9", url), data[:10])
        same(curl(case, "-f", "-r", "1000000-1000999", url), data[1000000:1001000])
        same(curl(case, "-f", "-r", "-77", url), data[-77:])
        same(curl(case, "-f", "-r", "2000000-", url), data[2000000:])
        out = curl(case, "-f", "-r", "0-1,5-6", url)
        assert out.count(b"Content-Range: bytes ") == 2 or out.count(b"content-range") == 2, out
        for have in (1, 70000, len(data) - 1):
            case.write("part", data[:have])
            curl(case, "-f", "-C", "-", "-o", "part", url)
            same(case.read("part"), data)


def test_curl_with_http_1_0(case):
    with serve(case) as server:
        data = noise(700000)
        case.write("in", data)
        blob = json.loads(curl(case, "-f", "--http1.0", "--data-binary", "@in",
                               server.url + "/api/blobs"))  # fmt: skip
        url = f"{server.url}/api/blobs/{blob}"
        same(curl(case, "-f", "--http1.0", url), data)
        same(curl(case, "-f", "--http1.0", "-r", "5-9", url), data[5:10])


def test_wget(case):
    with serve(case) as server:
        data = noise(2 << 20)
        url = f"{server.url}/api/blobs/{server.put(data)}"
        run(case, "wget", "-q", "-O", "out", url)
        same(case.read("out"), data)
        case.write("part", data[:100000])
        run(case, "wget", "-q", "-c", "-O", "part", url)
        same(case.read("part"), data)
        answer = server.request("POST", "/api/blobs", b"named",
                                {"Content-Disposition": 'attachment; filename="a name.txt"'})
        run(case, "wget", "-q", "--content-disposition", f"{server.url}/api/blobs/{answer.json()}")
        same(case.read("a name.txt"), b"named")


def test_urllib(case):
    with serve(case) as server:
        data = noise(1 << 20)
        request = urllib.request.Request(server.url + "/api/blobs", data=data, method="POST",
                                         headers={"Content-Type": "text/plain"})  # fmt: skip
        with urllib.request.urlopen(request, timeout=60) as response:
            same(response.status, 201)
            blob = json.load(response)
        with urllib.request.urlopen(f"{server.url}/api/blobs/{blob}", timeout=60) as response:
            same(response.read(), data)
            same(response.headers["Content-Type"], "text/plain")
        try:
            urllib.request.urlopen(f"{server.url}/api/blobs/{EMPTY}", timeout=60)
            raise AssertionError("an empty blob that nobody has stored")
        except urllib.error.HTTPError as error:
            same(error.code, 404)
            same(error.headers["Content-Type"], "application/problem+json")


REQUESTS = """
import hashlib, io, json, sys
import requests
url, seed = sys.argv[1:]
session = requests.Session()
data = hashlib.shake_256(seed.encode()).digest(2000000)
def pieces():
    for at in range(0, len(data), 77777):
        yield data[at:at + 77777]
for body in (data, io.BytesIO(data), pieces()):
    answer = session.post(url + "/api/blobs", data=body, timeout=60)
    assert answer.status_code == 201, answer.text
    blob = answer.json()
    assert answer.headers["ETag"] == '"%s"' % blob
with session.get(url + "/api/blobs/" + blob, stream=True, timeout=60) as answer:
    assert b"".join(answer.iter_content(100000)) == data
etag = answer.headers["ETag"]
answer = session.get(url + "/api/blobs/" + blob, headers={"If-None-Match": etag}, timeout=60)
assert answer.status_code == 304 and not answer.content
answer = session.get(url + "/api/blobs/" + blob, headers={"Range": "bytes=-5"}, timeout=60)
assert answer.status_code == 206 and answer.content == data[-5:]
absent = "blake3:" + "0" * 64 + ":1"
answer = session.post(url + "/api/blobs:missing", json={"ids": [blob, absent]}, timeout=60)
assert answer.json() == {"missing": [absent]}, answer.text
assert session.delete(url + "/api/blobs/" + blob, timeout=60).status_code == 204
assert session.get(url + "/api/blobs/" + blob, timeout=60).status_code == 404
"""


def test_requests(case):
    found = subprocess.run([SYSTEM_PYTHON, "-c", "import requests"], capture_output=True)
    if found.returncode != 0:
        raise Skip("no requests for python")
    with serve(case) as server:
        run(case, SYSTEM_PYTHON, "-c", REQUESTS, server.url, "seed")


def test_promtool(case):
    if shutil.which("promtool") is None:
        raise Skip("no promtool")
    with serve(case) as server:
        server.get(server.put(noise(300000)))
        server.request("GET", "/api/blobs/nonsense")
        figures = server.request("GET", "/metrics")
        same(figures.status, 200)
        has(figures.headers["content-type"], "text/plain; version=0.0.4")
        same(run(case, "promtool", "check", "metrics", stdin=figures.body), b"")


def test_sha256_store_has_the_registered_digest(case):
    case.run("put", "--store", "s", "--hash", "sha256", "-", stdin=b"x")
    with serve(case) as server:
        data = noise(100000)
        blob = server.put(data)
        same(blob.split(":")[1], hashlib.sha256(data).hexdigest())
        has(curl(case, "-f", "-I", f"{server.url}/api/blobs/{blob}").decode().lower(),
            "repr-digest: sha-256=:")  # fmt: skip


if __name__ == "__main__":
    harness.main()
