#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two `graviton serve` over one PostgreSQL database and one S3 bucket: what one has acknowledged
the other gives at once, and killing one in the middle of uploads loses nothing.

  serve_pair.py PROGRAM [--seed N] [--only NAME]
"""

import time

import s3_rig
from harness import OK, want
from serve_rig import Clients, serve


def two_servers(world, bench):
    """What is put through one is read through the other, while one of them is killed again and
    again."""
    bench.environment["AWS_ENDPOINT_URL"] = world.gateway.url
    url = world.new_database(bench)
    store = ["--blocks", f"s3://{world.bucket()}/blocks", "--meta", url]
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
        clients.have(6)
        clients.stop()
        for blob, data in list(clients.blobs.items())[:50]:
            want(one.get(blob) == data, f"{blob} has other bytes")
            want(two.get(blob) == data, f"{blob} has other bytes")
        want(one.stop() == 0 and two.stop() == 0, "exit after SIGTERM")
    clients.check(bench, store)
    bench.run("scrub", store=store).wants(OK)


if __name__ == "__main__":
    s3_rig.main(
        __doc__.splitlines()[0],
        [("two servers over one database and bucket", two_servers)],
        with_database=True,
    )
