#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two `graviton serve` over one PostgreSQL database and one S3 bucket: what one has acknowledged
the other gives at once, and killing one in the middle of uploads loses nothing.

  serve_pair.py PROGRAM [--seed N] [--only NAME]
"""

import argparse
import time

import harness
from harness import OK, want
from serve_rig import Clients, serve

import ceph
import postgres


def two_servers(bench):
    """Two servers over one PostgreSQL and one bucket: what one has acknowledged the other gives at
    once; kill -9 of one in the middle loses nothing."""
    with postgres.Server() as database, ceph.Server() as gateway:
        gateway.client().make_bucket("two")
        bench.environment.update(gateway.environment())
        store = ["--blocks", "s3://two/blocks", "--meta", database.url]
        bench.run("migrate", "--meta", database.url).wants(OK)
        with serve(bench, store) as one, serve(bench, store) as two:
            for size in (0, 10, 300000, 3 << 20):
                data = bench.random.randbytes(size)
                want(two.get(one.put(data)) == data, "the other server has other bytes")
            clients = Clients(bench.random.random(), [one, two])
            for _ in range(3):
                time.sleep(bench.random.uniform(1, 2))
                one.kill()
                time.sleep(0.3)
                one.start()
            clients.stop()
            for blob, data in list(clients.blobs.items())[:50]:
                want(one.get(blob) == data, f"{blob} has other bytes")
                want(two.get(blob) == data, f"{blob} has other bytes")
            want(one.stop() == 0 and two.stop() == 0, "exit after SIGTERM")
        clients.check(bench, store)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    harness.add_arguments(parser)
    arguments = parser.parse_args()
    try:
        ceph.programs()
        postgres.programs()
    except ceph.Missing as missing:
        print(f"1..0 # SKIP {missing}")
        return
    harness.main([("two servers over one database and bucket", two_servers)], arguments)


if __name__ == "__main__":
    main()
