#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`graviton serve` on a disk that fills up, in one life of the server: puts answer 507, reads,
deletions and collections go on, and puts work again once there is room. The disk is a small tmpfs
in a mount namespace of our own.

  serve_full.py PROGRAM [--seed N] [--only NAME]
"""

import argparse
import os
import time

import full
import harness
from harness import OK, want
from serve_rig import serve


def full_disk(bench):
    """From beginning to end."""
    del bench.environment["GRAVITON_RESERVE"]
    disk = full.Disk(bench)
    store = ["--store", os.path.join(disk.path, "store")]
    with serve(bench, store) as server:
        blobs = {}
        for size in (6 << 20, 5 << 20, 100000, 10, 0):
            data = bench.random.randbytes(size)
            blobs[server.put(data)] = data

        def reads():
            for blob, data in blobs.items():
                want(server.get(blob) == data, f"{blob} has other bytes")

        def refuses(size, filled=True):
            end = time.monotonic() + 60
            while True:
                if filled:
                    disk.fill(settled=False)
                data = bench.random.randbytes(size)
                answer = server.request("POST", "/api/blobs", data)
                if answer.status != 201 or not filled:
                    break
                # The metadata's files are removed in their own time: there was room again.
                blobs[answer.json()] = data
                want(time.monotonic() < end, "the disk does not stay full")
            want(answer.status == 507, f"a put of {size} bytes on a full disk: {answer}")
            want(answer.json()["type"] == "urn:graviton:problem:out-of-space", repr(answer))
            want(disk.path not in answer.body.decode(), "the answer names a path")

        def collect():
            answer = server.request("POST", "/api/admin/gc", "{}")
            want(answer.status == 202, f"gc: {answer}")
            job = answer.json()
            end = time.monotonic() + 60
            while job["state"] in ("waiting", "running"):
                want(time.monotonic() < end, f"gc takes its time: {job}")
                time.sleep(0.05)
                job = server.request("GET", answer.headers["location"]).json()
            want(job["state"] == "done", f"gc: {job}\n{server.said()[-2000:]}")
            return job["figures"]

        refuses(80 << 20, filled=False)  # fills the disk up by itself
        collect()
        for size in (0, 1000, 300000, 30 << 20):
            if size:
                refuses(size)
            reads()
        large = max(blobs, key=lambda blob: len(blobs[blob]))
        answer = server.request("DELETE", f"/api/blobs/{large}")
        want(answer.status == 204, f"a deletion on a full disk: {answer}")
        del blobs[large]
        reads()
        figures = collect()
        want(figures["freed_bytes"] >= 5 << 20, f"gc freed {figures}")
        data = bench.random.randbytes(100000)
        blobs[server.put(data)] = data
        refuses(2 << 20)
        disk.empty()
        data = bench.random.randbytes(3 << 20)
        blobs[server.put(data)] = data
        reads()
        want(server.stop() == 0, "exit after SIGTERM")
    bench.run("verify", "--all", store=store).wants(OK)
    want(sorted(bench.ids(store)) == sorted(blobs), "ls shows other blobs")


def main():
    full.enter_namespace()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    harness.add_arguments(parser)
    harness.main(
        [
            ("a full disk", full_disk),
        ],
        parser.parse_args(),
    )


if __name__ == "__main__":
    main()
