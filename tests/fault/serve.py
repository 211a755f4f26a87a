#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`graviton serve` in the middle of work: stopped in order, hurried, killed. What was acknowledged
is there and verifies; what was refused was refused in words; nothing is half there.

  serve.py PROGRAM [--seed N] [--only NAME]
"""

import argparse
import json
import signal
import time

import harness
from harness import OK, want
from serve_rig import BOUNDED, Clients, begin_upload, serve

KILLS = 4 if BOUNDED else 8


def stopped_under_load(bench):
    """SIGTERM: each request in flight is answered whole or refused cleanly; exit 0."""
    store = ["--store", bench.path("s")]
    with serve(bench, store) as server:
        clients = Clients(bench.random.random(), [server])
        for _ in range(3):
            time.sleep(1)
            want(server.stop() == 0, f"exit after SIGTERM: {server.said()[-2000:]}")
            server.start()
        time.sleep(0.5)
        # A long upload that has begun may finish while others are refused.
        data = bench.random.randbytes(6 << 20)
        slow = begin_upload(server, len(data))
        slow.send(data[: 1 << 20])
        server.signal(signal.SIGTERM)
        for at in range(1 << 20, len(data), 1 << 20):
            time.sleep(0.1)
            slow.send(data[at : at + (1 << 20)])
        answer = slow.getresponse()
        body = answer.read()
        want(answer.status == 201, f"the upload in flight: {answer.status} {body!r}")
        clients.blobs[json.loads(body)] = data
        want(server.wait() == 0, "exit after SIGTERM")
        clients.stop()
    clients.check(bench, store)


def hurried(bench):
    """A second signal ends it at once, whoever waits; one that never ends is given up at the end of
    --drain."""
    store = ["--store", bench.path("s")]
    for options, signals in ((["--drain", "60s"], 2), (["--drain", "1s"], 1)):
        with serve(bench, store, *options) as server:
            slow = begin_upload(server, 1000000)
            slow.send(b"x" * 400000)
            begun = time.monotonic()
            for _ in range(signals):
                server.signal(signal.SIGTERM)
                server.says("stopping: what is in flight")  # or both are one
            server.wait(20)
            want(time.monotonic() - begun < 15, "it took its time")
        bench.run("verify", "--all", store=store).wants(OK)
        want(not bench.ids(store), "half an upload is there")


def killed_under_load(bench):
    """kill -9 at random moments."""
    store = ["--store", bench.path("s")]
    with serve(bench, store) as server:
        clients = Clients(bench.random.random(), [server])
        for _ in range(KILLS):
            time.sleep(bench.random.uniform(0.1, 0.8))
            server.kill()
            server.start()
        time.sleep(0.5)
        clients.have(6)
        clients.stop()
        server.kill()
    clients.check(bench, store)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    harness.add_arguments(parser)
    harness.main(
        [
            ("stopped under load", stopped_under_load),
            ("a second signal, and the end of patience", hurried),
            ("killed under load", killed_under_load),
        ],
        parser.parse_args(),
    )


if __name__ == "__main__":
    main()
