#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Objects over S3 while the way to the service, or the service itself, is in trouble: each command
succeeds after trying again, or fails in time and in its own words. What it said is stored is stored
whole; no multipart upload stays open.

  s3.py PROGRAM [--clock CLOCK] [--seed N] [--only NAME]
"""

import os
import signal
import subprocess
import sys
import threading
import time

import s3_rig
from harness import CONFLICT, FULL, NOT_FOUND, OK, PERMISSION, UNAVAILABLE, want
from s3_rig import LATE, PATIENCE, TRIED_AGAIN, no_secrets, patience, timed

import keeper
from proxy import (
    answer, answer_early, cut_answer, cut_before, cut_request, drop_answer, flip_request, late,
    replace_answer, shorten, spoil_answer, stall, stall_answer,
)  # fmt: skip

SMALL = 200_000
LARGE = 17 << 20  # three parts
ERROR = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>told</Message></Error>"

# What may befall a write on its way. Those that end only when the client's patience does are few.
WRITE_FAULTS = {
    "500": answer(500, "InternalError"),
    "503 SlowDown": answer(503, "SlowDown"),
    "503 and no more": answer_early(503, "SlowDown"),
    "429": answer(429, "TooManyRequests"),
    "a reset before": cut_before,
    "a reset after": drop_answer,
    "500 after": spoil_answer(500, "InternalError"),
}
BODY_FAULTS = {
    "a reset in the body": cut_request(70_000),
    "a bit of the body": flip_request(70_000),
}
READ_FAULTS = {
    "500": answer(500, "InternalError"),
    "503 SlowDown": answer(503, "SlowDown"),
    "a reset before": cut_before,
    "a reset in the body": cut_answer(70_000),
    "an end in the body": cut_answer(70_000, orderly=True),
    "a short body without length": shorten(10),
    "a short body in chunks": shorten(10, chunked=True),
    "a short body with its length": shorten(10, chunked=None),
}
# Requests of an upload of several parts: name -> (method, target).
UPLOAD = {
    "the beginning": ("POST", r"\?uploads"),
    "a part": ("PUT", r"partNumber=2"),
    "the end": ("POST", r"[?&]uploadId="),
}


def locator(bucket, key="key"):
    return f"s3://{bucket}/{key}"


def put_meets(world, bench, why, data, rules, *words, code=OK):
    """A put to a new bucket that meets faults; what it stored is there, and nothing else is."""
    bucket = world.bucket()
    world.proxy.clear()
    met = [world.proxy.on(fault, **where) for fault, where in rules]
    result, seconds = timed(bench.run, "object", "put", locator(bucket), "-", *words, given=data)
    want(result.code == code, f"{why}: {result}")
    want(all(rule.met for rule in met), f"{why}: the fault was never met")
    want(seconds < LATE, f"{why}: {seconds:.0f} s")
    world.no_uploads(bucket, why)
    if code == OK:
        want(world.client().get(bucket, "key") == data, f"{why}: other bytes are stored")
    return result


def small_puts(world, bench):
    data = bench.random.randbytes(SMALL)
    for words in ([], ["--if-absent"]):
        for why, fault in {**WRITE_FAULTS, **BODY_FAULTS}.items():
            rules = [(fault, {"method": "PUT", "path": "/key"})]
            put_meets(world, bench, f"{why} {words}", data, rules, *words)


def large_puts(world, bench):
    data = bench.random.randbytes(LARGE)
    for step, (method, path) in UPLOAD.items():
        faults = {**WRITE_FAULTS, **(BODY_FAULTS if step == "a part" else {})}
        if step == "the end":
            faults["200 that says 500"] = answer(200, "InternalError")
            faults["200 that says 500 after"] = replace_answer(ERROR)
        for why, fault in faults.items():
            rules = [(fault, {"method": method, "path": path})]
            put_meets(world, bench, f"{step}: {why}", data, rules)


def several_at_once(world, bench):
    """A fifth of all requests fails, in every way."""
    data = bench.random.randbytes(LARGE)
    for _ in range(2 if s3_rig.BOUNDED else 5):
        rules = []
        for fault in list(WRITE_FAULTS.values()) + list(BODY_FAULTS.values()):
            share = (bench.random, 0.02)
            rules.append((fault, {"method": "PUT|POST|DELETE", "times": None, "share": share}))
        world.proxy.clear()
        bucket = world.bucket()
        for fault, where in rules:
            world.proxy.on(fault, **where)
        bench.run("object", "put", locator(bucket), "-", given=data).wants(OK)
        want(world.client().get(bucket, "key") == data, "other bytes are stored")
        world.no_uploads(bucket, "several faults")


def hopeless_puts(world, bench):
    """What does not pass: an error in time, nothing stored, nothing left open."""
    small, large = bench.random.randbytes(SMALL), bench.random.randbytes(LARGE)
    cases = {
        "InternalError": (small, answer(500, "InternalError"), "PUT", "/key", UNAVAILABLE),
        "SlowDown": (large, answer(503, "SlowDown"), "PUT", "partNumber=2", UNAVAILABLE),
        "reset": (small, cut_before, "PUT", "/key", UNAVAILABLE),
        "AccessDenied": (large, answer(403, "AccessDenied"), "PUT", "partNumber=3", PERMISSION),
        "QuotaExceeded": (large, answer(403, "QuotaExceeded"), "POST", "uploadId=", FULL),
    }
    for word, (data, fault, method, path, code) in cases.items():
        rules = [(fault, {"method": method, "path": path, "times": None})]
        with patience(bench, PATIENCE if code == UNAVAILABLE else 60):
            result = put_meets(world, bench, word, data, rules, code=code)
        no_secrets(world, result)
        want("bucket-" in result.err, f"no word of where: {result}")
        if word != "reset":
            want(word in result.err, f"no word of {word}: {result}")


def stalls(world, bench):
    """The service takes a request and says no more: tried again, or given up in time."""
    small, large = bench.random.randbytes(SMALL), bench.random.randbytes(LARGE)
    once = [(stall(), {"method": "PUT", "path": "/key"})]
    part = [(stall(), {"method": "PUT", "path": "partNumber=1"})]
    with patience(bench, TRIED_AGAIN):
        put_meets(world, bench, "one stall", small, once)
        put_meets(world, bench, "one part stalls", large, part)
    always = [(stall(), {"method": "PUT", "path": "/key", "times": None})]
    with patience(bench, PATIENCE):
        no_secrets(world, put_meets(world, bench, "all stall", small, always, code=UNAVAILABLE))
    bucket = world.bucket()
    world.client().put(bucket, "key", small)
    world.proxy.clear()
    world.proxy.on(stall_answer(70_000), method="GET")
    with patience(bench, TRIED_AGAIN):
        want(bench.run("object", "get", locator(bucket)).wants(OK).out == small, "other bytes")
    world.proxy.clear()
    world.proxy.on(stall_answer(70_000), method="GET", times=None)
    with patience(bench, PATIENCE):
        result, seconds = timed(bench.run, "object", "get", locator(bucket))
    result.wants(UNAVAILABLE)
    want(seconds < LATE and result.out != small, f"{seconds:.0f} s: {result}")


def reads(world, bench):
    for size in (SMALL, LARGE):
        data = bench.random.randbytes(size)
        bucket = world.bucket()
        world.client().put(bucket, "key", data)
        for why, fault in READ_FAULTS.items():
            world.proxy.clear()
            rule = world.proxy.on(fault, method="GET", path="/key")
            result = bench.run("object", "get", locator(bucket))
            want(result.code == OK and result.out == data, f"{why}, {size} bytes: {result}")
            want(rule.met, f"{why}: the fault was never met")
        for why in ("500", "a reset in the body") if size == LARGE else ():
            fault = READ_FAULTS[why]
            world.proxy.clear()
            world.proxy.on(fault, method="GET", path="/key", skip=1, times=None)
            path = bench.path("got")
            with patience(bench, PATIENCE):
                result, seconds = timed(bench.run, "object", "get", locator(bucket), "-o", path)
            result.wants(UNAVAILABLE)
            want(seconds < LATE, f"{why}: {seconds:.0f} s")
            want(not os.path.exists(path), f"{why}: a part of the object was left as the whole")


def lists(world, bench):
    """A list is whole or an error, never a short one."""
    bucket = world.bucket()
    keys = [f"k{number:04}" for number in range(1100)]
    client = world.client()
    for key in keys:
        client.put(bucket, key, b"")
    names = [locator(bucket, key) for key in keys]
    faults = dict(READ_FAULTS)
    del faults["a short body with its length"]  # which is what no XML is: told apart below
    for why, fault in faults.items():
        for skip in (0, 1):
            world.proxy.clear()
            rule = world.proxy.on(fault, method="GET", path="list-type=2", skip=skip)
            result = bench.run("object", "ls", f"s3://{bucket}/").wants(OK)
            listed = [line.split("\t")[2] for line in result.out.decode().splitlines()]
            want(listed == names, f"{why}: {len(listed)} of {len(names)} objects")
            want(rule.met, f"{why}: the fault was never met")
    for why, fault in {
        "half a list": shorten(1000, chunked=None),
        "no XML": replace_answer(b"<html>welcome</html>"),
        "nothing": replace_answer(b""),
    }.items():
        world.proxy.clear()
        world.proxy.on(fault, method="GET", path="list-type=2", skip=1, times=None)
        with patience(bench, PATIENCE):
            result, seconds = timed(bench.run, "object", "ls", f"s3://{bucket}/")
        want(result.code != OK, f"{why} was taken for a list: {len(result.out)} bytes")
        want(result.err and seconds < LATE, f"{why}: {seconds:.0f} s: {result}")


def other_requests(world, bench):
    """head, rm and cp."""
    data = bench.random.randbytes(SMALL)
    bucket = world.bucket()
    client = world.client()
    for why, fault in WRITE_FAULTS.items():
        client.put(bucket, "key", data)
        world.proxy.clear()
        met = [world.proxy.on(fault, method="HEAD", path="/key")]
        bench.run("object", "head", locator(bucket)).wants(OK)
        if why != "429":
            met.append(world.proxy.on(fault, method="PUT", path="/copy"))
            bench.run("object", "cp", locator(bucket), locator(bucket, "copy")).wants(OK)
            want(client.get(bucket, "copy") == data, f"{why}: the copy differs")
        met.append(world.proxy.on(fault, method="DELETE|POST", path=bucket))
        bench.run("object", "rm", locator(bucket)).wants(OK)
        want(client.request("HEAD", bucket, "key").status == 404, f"{why}: still there")
        want(all(rule.met for rule in met), f"{why}: {[rule.met for rule in met]}")
    client.put(bucket, "key", data)
    client.remove(bucket, "copy")
    failed = {"before": answer(200, "InternalError"), "after": replace_answer(ERROR)}
    for why, fault in failed.items():
        world.proxy.clear()
        rule = world.proxy.on(fault, method="PUT", path="/copy")
        bench.run("object", "cp", locator(bucket), locator(bucket, "copy")).wants(OK)
        want(rule.met and client.get(bucket, "copy") == data, f"200 that says 500 {why}")


def late_writes(world, bench):
    """A write takes effect after the client gave it up: an error was told, and what appears is what
    was sent. Where somebody else was first in the meantime, put-if-absent leaves his."""
    data = bench.random.randbytes(SMALL)
    client = world.client()
    for words in ([], ["--if-absent"]):
        bucket = world.bucket()
        world.proxy.clear()
        done = threading.Event()
        world.proxy.on(late(0.2, done), method="PUT", path="/key", times=None)
        with patience(bench, PATIENCE):
            result = bench.run("object", "put", locator(bucket), "-", *words, given=data)
        result.wants(UNAVAILABLE)
        if words:
            client.request("PUT", bucket, "key", headers={"if-none-match": "*"}, body=b"other")
        want(done.wait(LATE), "the late write never came")
        time.sleep(0.5)
        found = client.get(bucket, "key")
        want(found in (data, b"other"), f"other bytes appeared: {found[:20]}")
        world.proxy.clear()
        again = bench.run("object", "put", locator(bucket), "-", "--if-absent", given=b"third")
        again.wants(CONFLICT)
        want(client.get(bucket, "key") == found, "put-if-absent has overwritten")


def lost_races(world, bench):
    """put-if-absent whose answer was lost: the one who was first is told so, the others not."""
    for first in (True, False):
        bucket = world.bucket()
        world.proxy.clear()

        def race(exchange, bucket=bucket, first=first):
            if not first:
                world.client().put(bucket, "key", b"theirs")
            drop_answer(exchange)

        rule = world.proxy.on(race, method="PUT", path="/key")
        result = bench.run("object", "put", locator(bucket), "-", "--if-absent", given=b"ours")
        result.wants(OK if first else CONFLICT)
        want(rule.met == 1, "the answer was never lost")
        found = world.client().get(bucket, "key")
        want(found == (b"ours" if first else b"theirs"), f"found {found}")


def killed_puts(world, bench):
    """A program that is killed leaves its upload; one that is told to stop does not."""
    bucket = world.bucket()
    data = bench.random.randbytes(LARGE)
    file = bench.write("file", data)
    for number in (signal.SIGTERM, signal.SIGINT):
        world.proxy.clear()
        held = world.proxy.on(stall(), method="PUT", path="partNumber=3")
        process = bench.start("object", "put", locator(bucket), file)
        end = time.monotonic() + LATE
        while not held.met and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(number)
        process.communicate(timeout=LATE)
        want(process.returncode != OK, "a put that was stopped succeeded")
        want(bucket and not world.client().list(bucket), "a put that was stopped stored something")
        world.no_uploads(bucket, f"signal {number}")


def busy_gateway(world, bench):
    """503 SlowDown of the gateway's own."""
    bucket = world.bucket()
    data = bench.random.randbytes(SMALL)
    with world.gateway.busy(bucket):
        with patience(bench, PATIENCE):
            result = bench.run("object", "put", locator(bucket), "-", given=data)
        result.wants(UNAVAILABLE)
        want("SlowDown" in result.err, str(result))
        process = bench.start("object", "put", locator(bucket), bench.write("file", data))
        time.sleep(1)
    _, told = process.communicate(timeout=LATE)
    want(process.returncode == OK, f"after the service recovered: {told}")
    want(world.client().get(bucket, "key") == data, "other bytes are stored")


def stopped_daemons(world, bench):
    """The gateway or its OSD stands still: a while is nothing; longer is told in time."""
    bucket = world.bucket()
    data = bench.random.randbytes(SMALL)
    for daemon in ("rgw", "osd"):
        with world.gateway.frozen(daemon):
            # For longer than the first try.
            thaw = (world.gateway.pids[daemon], signal.SIGCONT)
            timer = threading.Timer(TRIED_AGAIN / 4 + 2, os.kill, thaw)
            timer.start()
            with patience(bench, TRIED_AGAIN):
                bench.run("object", "put", locator(bucket), "-", given=data).wants(OK)
            timer.join()
        want(world.client().get(bucket, "key") == data, "other bytes are stored")
        world.client().remove(bucket, "key")
        with world.gateway.frozen(daemon):
            words = ["put", locator(bucket), "-"] if daemon == "osd" else ["get", locator(bucket)]
            with patience(bench, PATIENCE):
                result, seconds = timed(bench.run, "object", *words, given=data)
            result.wants(UNAVAILABLE)
            want(PATIENCE / 2 < seconds < LATE, f"{daemon}: {seconds:.0f} s: {result}")


def restarted_gateway(world, bench):
    """The gateway is killed and started again while puts run: each of them succeeds."""
    bucket = world.bucket()
    stored = {}
    failures = []
    stop = threading.Event()

    def work(number):
        count = 0
        while not stop.is_set():
            key = f"{number}-{count}"
            data = os.urandom(50_000)
            result = bench.run("object", "put", locator(bucket, key), "-", given=data)
            if result.code != OK:
                failures.append(str(result))
                return
            stored[key] = data
            count += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            time.sleep(0.4)
            world.gateway.kill("rgw")
            time.sleep(0.4)
            world.gateway.start("rgw")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    want(not failures, "\n".join(failures[:2]))
    want(stored, "nothing was stored")
    for key, data in stored.items():
        want(world.client().get(bucket, key) == data, f"{key} differs")


def refusals(world, bench):
    """Each refusal at once and in its own words."""
    bucket = world.bucket()
    put = ["object", "put", locator(bucket), "-"]
    wrong = {
        "SignatureDoesNotMatch": {"AWS_SECRET_ACCESS_KEY": "wrong"},
        "InvalidAccessKeyId": {"AWS_ACCESS_KEY_ID": "nobody"},
    }
    for code, variables in wrong.items():
        kept = dict(bench.environment)
        bench.environment.update(variables)
        world.proxy.clear()
        result = bench.run(*put, given=b"x")
        bench.environment = kept
        result.wants(PERMISSION)
        seen = world.proxy.seen
        want(code in result.err and [each.status for each in seen] == [403], f"{seen}: {result}")
        no_secrets(world, result)
    with world.gateway.suspended():
        result = bench.run(*put, given=b"x").wants(PERMISSION)
        want("UserSuspended" in result.err, str(result))
    other = world.gateway.make_user("other")
    kept = dict(bench.environment)
    bench.environment.update(AWS_ACCESS_KEY_ID=other.key_id, AWS_SECRET_ACCESS_KEY=other.secret)
    for words in (put, ["object", "get", locator(bucket)], ["object", "ls", f"s3://{bucket}/"]):
        result = bench.run(*words, given=b"x").wants(PERMISSION)
    bench.environment = kept
    with world.gateway.quota(bucket, max_size=1 << 20):
        data = bench.random.randbytes(LARGE)
        for given in (data[: 2 << 20], data):
            result = bench.run(*put, given=given).wants(FULL)
            want("QuotaExceeded" in result.err, str(result))
    world.no_uploads(bucket, "refused")
    want(not world.client().list(bucket), "a refused put stored something")
    for words in (
        ["put", "s3://no-such-bucket/key", "-"], ["get", "s3://no-such-bucket/key"],
        ["ls", "s3://no-such-bucket/"], ["rm", "s3://no-such-bucket/key"],
        ["head", "s3://no-such-bucket/key"],
    ):  # fmt: skip
        result = bench.run("object", *words, given=b"x")
        want(result.code != OK and "no-such-bucket" in result.err, str(result))
    bench.run("object", "get", locator(bucket, "none")).wants(NOT_FOUND)


def nobody_there(world, bench):
    """A port where nobody listens, and a name that is none."""
    for endpoint in (f"http://127.0.0.1:{keeper.free_port()}", "http://no.such.host.invalid"):
        bench.environment["AWS_ENDPOINT_URL"] = endpoint
        with patience(bench, PATIENCE):
            result, seconds = timed(bench.run, "object", "get", "s3://bucket/key")
        result.wants(UNAVAILABLE)
        want(seconds < LATE and endpoint.split("//")[1] in result.err, f"{seconds:.0f} s: {result}")


def wrong_clocks(world, bench):
    """The service's clock is an hour ahead, or behind, of ours."""
    bucket = world.bucket()
    data = bench.random.randbytes(LARGE)
    for seconds in (3600, -3600):
        with world.gateway.skewed(world.clock, seconds):
            bench.run("object", "put", locator(bucket), "-", given=data).wants(OK)
            want(bench.run("object", "get", locator(bucket)).wants(OK).out == data, "other bytes")
            bench.run("object", "rm", locator(bucket)).wants(OK)
    world.no_uploads(bucket, "wrong clocks")


def another_client(world, bench):
    """s3cmd sees an upload that is open, and none after each of ours that failed."""
    bucket = world.bucket()
    host = f"127.0.0.1:{world.gateway.port}"
    options = ["s3cmd", "-c", "/dev/null", "--no-ssl", f"--host={host}", f"--host-bucket={host}"]
    options += [f"--access_key={world.gateway.key_id}", f"--secret_key={world.gateway.secret}"]
    options += ["multipart", f"s3://{bucket}"]

    def open_uploads():
        done = subprocess.run(options, capture_output=True, text=True, timeout=60)
        want(done.returncode == 0, f"s3cmd: {done.stderr}")
        return [line for line in done.stdout.splitlines() if "\t2~" in line]

    world.client().call("POST", bucket, "theirs", query={"uploads": ""})
    want(len(open_uploads()) == 1, "s3cmd does not see an upload")
    world.proxy.on(answer(500, "InternalError"), method="PUT", path="partNumber=2", times=None)
    data = bench.random.randbytes(LARGE)
    with patience(bench, PATIENCE):
        bench.run("object", "put", locator(bucket), "-", given=data).wants(UNAVAILABLE)
    want(len(open_uploads()) == 1, f"left or taken away: {open_uploads()}")


TESTS = [
    ("small puts", small_puts),
    ("large puts", large_puts),
    ("several faults at once", several_at_once),
    ("hopeless puts", hopeless_puts),
    ("stalls", stalls),
    ("reads", reads),
    ("lists", lists),
    ("head, rm and cp", other_requests),
    ("late writes", late_writes),
    ("lost answers of put-if-absent", lost_races),
    ("puts that are stopped", killed_puts),
    ("a busy gateway", busy_gateway),
    ("daemons that stand still", stopped_daemons),
    ("a gateway killed and started", restarted_gateway),
    ("refusals", refusals),
    ("nobody there", nobody_there),
    ("wrong clocks", wrong_clocks),
    ("uploads as another client sees them", another_client),
]

if __name__ == "__main__":
    sys.exit(s3_rig.main(__doc__.splitlines()[0], TESTS))
