# SPDX-License-Identifier: Apache-2.0
"""What the fault tests over S3 share: a gateway, a proxy before it, perhaps a PostgreSQL server,
and looking at a bucket with other eyes than the program's."""

import contextlib
import os
import subprocess
import sys
import time

import harness
from harness import OK, want

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "service"))
import ceph
import postgres
import proxy

PATIENCE = 3  # seconds that a request waits for a service, where giving up is what is proven
TRIED_AGAIN = 20  # the same where one try is to be given up, after a quarter, and another succeeds
LATE = 40  # seconds that one command may take at most then, on a busy machine
BOUNDED = os.environ.get("GRAVITON_TEST_BOUNDED") == "1"


class World:
    """The services of all tests of a file, for `with`."""

    def __init__(self, with_database):
        self.gateway = ceph.Server()
        self.proxy = None
        self.database = None
        self.made = 0
        try:
            self.proxy = proxy.Proxy(self.gateway.url)
            if with_database:
                self.database = postgres.Server()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.database:
            self.database.close()
        if self.proxy:
            self.proxy.close()
        self.gateway.close()

    def client(self, **more):
        """Straight to the gateway."""
        return self.gateway.client(**more)

    def name(self, kind):
        self.made += 1
        return f"{kind}{self.made}"

    def bucket(self):
        name = self.name("bucket-")
        self.client().make_bucket(name)
        return name

    def ready(self, bench):
        """The proxy without rules, and an environment in which the program goes through it."""
        self.proxy.clear()
        bench.environment.update(self.gateway.environment())
        bench.environment["AWS_ENDPOINT_URL"] = self.proxy.url
        bench.environment["GRAVITON_S3_TIMEOUT"] = "60"
        bench.environment["GRAVITON_PG_TIMEOUT"] = "60"
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "http_proxy", "HTTP_PROXY"):
            bench.environment.pop(name, None)

    def sql(self, statement, database="postgres"):
        url = self.database.admin.rsplit("/", 1)[0] + "/" + database
        psql = [os.path.join(self.database.bin, "psql"), "-X", "-A", "-t", "-q"]
        psql += ["-v", "ON_ERROR_STOP=1", "-c", statement, url]
        done = subprocess.run(psql, capture_output=True, text=True, timeout=60)
        want(done.returncode == 0, f"{statement}: {done.stderr}")
        return done.stdout.strip()

    def new_database(self, bench, migrated=True):
        """The URL of a database of one's own."""
        name = self.name("fault_")
        self.sql(f"CREATE DATABASE {name} OWNER graviton")
        url = self.database.url.rsplit("/", 1)[0] + "/" + name
        if migrated:
            bench.run("migrate", "--meta", url).wants(OK)
        return url

    def no_uploads(self, bucket, why):
        """No multipart upload is open."""
        left = self.client().uploads(bucket)
        want(not left, f"{why}: {len(left)} multipart uploads are left: {left[:2]}")


@contextlib.contextmanager
def patience(bench, seconds):
    """Inside, requests to S3 are given up after so long. Elsewhere they outlast a busy machine."""
    before = bench.environment["GRAVITON_S3_TIMEOUT"]
    bench.environment["GRAVITON_S3_TIMEOUT"] = str(seconds)
    try:
        yield
    finally:
        bench.environment["GRAVITON_S3_TIMEOUT"] = before


def timed(function, *words, **more):
    """What a function gives, and how many seconds it took."""
    begun = time.monotonic()
    return function(*words, **more), time.monotonic() - begun


def no_secrets(world, result):
    """A message holds no secret and no signature."""
    for secret in (world.gateway.secret, "Signature=", "AWS4-HMAC"):
        want(secret not in result.err, f"a secret is told: {result}")


def main(description, tests, with_database=False):
    """Runs tests of (world, bench), or says that there is nothing to run them on."""
    import argparse

    parser = argparse.ArgumentParser(description=description)
    harness.add_arguments(parser)
    parser.add_argument("--clock", help="the built clock.so")
    arguments = parser.parse_args()
    try:
        world = World(with_database)
    except ceph.Missing as missing:
        print(f"1..0 # SKIP {missing}")
        return
    world.clock = os.path.abspath(arguments.clock) if arguments.clock else None

    def bound(test):
        def run(bench):
            world.ready(bench)
            test(world, bench)

        return run

    with world:
        harness.main([(name, bound(test)) for name, test in tests], arguments)
