#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that others wrote get their bytes from `graviton serve`, and it theirs."""

import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import harness
from harness import EMPTY, Skip, has, noise, same
from http_harness import chunks, serve


def tool(name):
    if not shutil.which(name):
        raise Skip(f"no {name} here")
    return name


def run(case, *words, stdin=b"", expect=0):
    done = subprocess.run(words, input=stdin, capture_output=True, cwd=case.directory, timeout=60,
                          check=False)  # fmt: skip
    assert done.returncode == expect, done
    return done.stdout


def test_curl(case):
    tool("curl")
    data = noise(3_000_000)
    case.write("f", data)
    with serve(case) as server:
        url = server.url + "/api/blobs"
        curl = ("curl", "-sS", "--fail-with-body")
        blob = json.loads(run(case, *curl, "--data-binary", "@f", url))
        same(json.loads(run(case, *curl, "-T", "-", "-X", "POST", url, stdin=data)), blob)
        same(json.loads(run(case, *curl, "--http1.0", "--data-binary", "@f", url)), blob)
        one = f"{url}/{blob}"
        same(json.loads(run(case, *curl, "-T", "f", one)), blob)
        same(run(case, *curl, one) == data, True)
        same(run(case, *curl, "--http1.0", one) == data, True)
        same(run(case, *curl, "--compressed", one) == data, True)
        same(run(case, *curl, "-r", "5-9", one), data[5:10])
        same(run(case, *curl, "-r", "-5", one), data[-5:])
        has(run(case, *curl, "-r", "0-0,-1", one), b"bytes 0-0/3000000", b"bytes 2999999-2999999/")
        case.write("part", data[:1_234_567])
        run(case, *curl, "-C", "-", "-o", "part", one)
        same(case.read("part") == data, True)
        has(run(case, *curl, "-I", one), b"200", f'ETag: "{blob}"'.encode())
        name = ("-H", "Content-Disposition: inline; filename=n.bin", "-H", "Content-Type: a/b")
        named = json.loads(run(case, *curl, *name, "--data-binary", "named", url))
        run(case, *curl, "-OJ", f"{url}/{named}")
        same(case.read("n.bin"), b"named")
        run(case, *curl, "-X", "DELETE", one)
        run(case, *curl, one, expect=22)


def test_wget(case):
    tool("wget")
    data = noise(3_000_000)
    with serve(case) as server:
        one = f"{server.url}/api/blobs/{server.put(data)}"
        run(case, "wget", "-q", "-O", "whole", one)
        same(case.read("whole") == data, True)
        case.write("part", data[:1_234_567])
        run(case, "wget", "-q", "-c", "-O", "part", one)
        same(case.read("part") == data, True)
        case.write("f", data)
        run(case, "wget", "-q", "--post-file=f", "-O", "id", server.url + "/api/blobs")
        same(f"{server.url}/api/blobs/{json.loads(case.read('id'))}", one)


def test_pythons_own_clients(case):
    data = noise(400_000)
    with serve(case) as server:
        url = server.url + "/api/blobs"
        with urllib.request.urlopen(urllib.request.Request(url, data=data)) as answer:
            blob = json.load(answer)
        with urllib.request.urlopen(f"{url}/{urllib.parse.quote(blob, safe='')}") as answer:
            same(answer.read() == data, True)
        try:
            urllib.request.urlopen(f"{url}/{EMPTY}")
            raise AssertionError("an error was expected")
        except urllib.error.HTTPError as error:
            same((error.code, json.load(error)["status"]), (404, 404))
        try:
            import requests
        except ImportError:
            raise Skip("no requests here") from None
        with requests.Session() as session:
            same(session.post(url, data=data).json(), blob)
            same(session.post(url, data=chunks(data)).json(), blob)
            same(session.get(f"{url}/{blob}").content == data, True)
            answer = session.get(f"{url}/{blob}", headers={"Range": "bytes=7-9"}, stream=True)
            same((answer.status_code, answer.raw.read()), (206, data[7:10]))


if __name__ == "__main__":
    harness.main()
