#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""serve, for those who look after it: tokens, rates, health, metrics, statistics, and jobs on a
store that is in use.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import harness
from harness import has, noise, same, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../service"))
import graviton
import keeper
import postgres

STORE = ["--store", "s", "--chunker", "fixed:1K"]
PROBLEM = "urn:graviton:problem:"
ABSENT = "blake3:" + "0" * 64 + ":5"


def serve(case, *options, **how):
    how = {"env": case.env, "cwd": case.directory, "log": case.path("log"), **how}
    return graviton.Server(case.program, *STORE, *options, **how)


def problem(answer, status, kind, case=None):
    """Checks a problem document: its form, and that nothing of the server is in it."""
    same((answer.status, answer.headers["content-type"]), (status, "application/problem+json"))
    document = answer.json()
    same((document["type"], document["status"]), (PROBLEM + kind, status))
    same(document["request_id"], answer.headers["request-id"])
    text = answer.body.decode()
    if case:
        assert case.directory not in text, text
    assert "/s/" not in text and "rocks" not in text.lower(), text
    return document


def admin(server, kind, body=None, expect=202):
    data = json.dumps(body) if body is not None else None
    headers = {"Content-Type": "application/json"} if data else {}
    answer = server.request("POST", f"/api/admin/{kind}", data, headers)
    assert answer.status == expect, answer
    if expect == 202:
        job = answer.json()
        same(answer.headers["location"], f"/api/admin/jobs/{job['job']}")
        same((job["kind"], job["findings"]), (kind, []))
        return job["job"]
    return answer


def job_of(server, number, after=0):
    answer = server.request("GET", f"/api/admin/jobs/{number}?after={after}")
    same(answer.status, 200)
    return answer.json()


def await_job(server, number, seconds=60):
    end = time.monotonic() + seconds
    while True:
        job = job_of(server, number)
        if job["ended"] is not None:
            return job
        assert time.monotonic() < end, job
        time.sleep(0.02)


def run_job(server, kind, body=None, state="done"):
    job = await_job(server, admin(server, kind, body))
    same(job["state"], state)
    return job


def block_path(case, key, folder=""):
    algorithm, digest, size = key.split(":")
    return case.path(f"s/cas/blocks/{folder}{algorithm}/{digest}-{size}")


def flip(path):
    with open(path, "r+b") as file:
        file.seek(17)
        byte = file.read(1)[0]
        file.seek(17)
        file.write(bytes([byte ^ 4]))


def references(server, blob):
    return server.request("GET", f"/api/blobs/{blob}/manifest").json()["references"]


# ---- Who may ----


def token(case, name, scopes):
    return case.run("token", name, "--scope", scopes, "--append", "tokens").rows()[0][0]


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


def test_tokens_and_scopes(case):
    tokens = {name: token(case, name, name) for name in ("read", "write", "delete", "admin")}
    with serve(case, "--tokens", "tokens") as server:
        headers = bearer(tokens["write"])
        blob = server.put(noise(5000), headers)
        routes = [
            ("GET", f"/api/blobs/{blob}", "read"),
            ("HEAD", f"/api/blobs/{blob}", "read"),
            ("GET", "/api/blobs", "read"),
            ("GET", "/api/stats", "read"),
            ("GET", "/api/datalake/dashboard", "read"),
            ("GET", "/api/datalake/dashboard/stream", "read"),
            ("GET", "/api/store", "read"),
            ("POST", "/api/blobs", "write"),
            ("POST", "/api/admin/flush", "admin"),
            ("GET", "/api/admin/jobs", "admin"),
            ("GET", "/api/stats?exact=1", "admin"),
            ("DELETE", f"/api/blobs/{blob}", "delete"),
        ]
        for method, path, scope in routes:
            for headers in ({}, bearer("grv_" + "A" * 43), {"Authorization": "Basic eDp5"}):
                answer = server.request(method, path, headers=headers)
                same((method, path, answer.status), (method, path, 401))
                same(answer.headers["www-authenticate"], "Bearer")
                if method != "HEAD":
                    problem(answer, 401, "unauthorized", case)
            for name, secret in tokens.items():
                if name == scope or (path.endswith("exact=1") and name == "admin"):
                    continue
                answer = server.request(method, path, headers=bearer(secret))
                same((method, path, name, answer.status), (method, path, name, 403))
                if method != "HEAD":
                    problem(answer, 403, "forbidden", case)
            if not path.endswith("stream") and "exact" not in path:
                answer = server.request(method, path, headers=bearer(tokens[scope]))
                assert answer.status in (200, 201, 202, 204), (method, path, answer)
        for path in ("/api/health", "/api/ready", "/metrics"):
            same(server.request("GET", path).status, 200)
        server.says("token=write", "token=admin", "status=403")
        log = server.said()
        for secret in tokens.values():
            assert secret not in log, "a token is in the log"
    # One that may do more than one thing.
    both = token(case, "both", "read,admin")
    with serve(case, "--tokens", "tokens", "--metrics-scope") as server:
        answer = server.request("GET", "/api/stats?exact=1", headers=bearer(both))
        same((answer.status, answer.json()["store"]["blobs"]), (200, 1))
        problem(server.request("GET", "/metrics"), 401, "unauthorized", case)
        answer = server.request("GET", "/metrics", headers=bearer(tokens["write"]))
        problem(answer, 403, "forbidden", case)
        same(server.request("GET", "/metrics", headers=bearer(both)).status, 200)


def test_tokens_are_read_again(case):
    first = token(case, "first", "read")
    with serve(case, "--tokens", "tokens") as server:

        def status(secret):
            return server.request("GET", "/api/store", headers=bearer(secret)).status

        same(status(first), 200)
        second = token(case, "second", "read")
        same(status(second), 401)
        server.signal(signal.SIGHUP)
        wait_until(lambda: status(second) == 200)
        same(status(first), 200)
        # What is wrong changes nothing, and is told with its line.
        case.write("tokens", b"second read\n")
        server.signal(signal.SIGHUP)
        wait_until(lambda: "line 1" in server.said())
        same((status(first), status(second)), (200, 200))
        case.write("tokens", b"")
        server.signal(signal.SIGHUP)
        wait_until(lambda: status(second) == 401)
    case.write("tokens", b"x\n")
    result = case.run("serve", *STORE, "--tokens", "tokens", "--listen", "127.0.0.1:0", expect=2)
    has(result.err, "tokens, line 1")


def test_rate_of_a_client(case):
    with serve(case, "--client-rate", "2") as server:
        connection = server.connect()
        statuses = []
        begun = time.monotonic()
        for _ in range(100):
            connection.request("GET", "/api/store")
            response = connection.getresponse()
            statuses.append(response.status)
            if response.status == 429:
                same(json.loads(response.read())["type"], PROBLEM + "too-many-requests")
                assert 1 <= int(response.headers["Retry-After"]) <= 2
            else:
                response.read()
        took = time.monotonic() - begun
        connection.close()
        same(statuses[:4], [200] * 4)
        assert 429 in statuses
        assert statuses.count(200) <= 4 + 2 * took + 1, (took, statuses)
        time.sleep(1.1)
        same(server.request("GET", "/api/store").status, 200)


# ---- Those who watch ----


def test_health_and_readiness(case):
    with serve(case) as server:
        answer = server.request("GET", "/api/health")
        same((answer.status, answer.json()), (200, {"status": "ok"}))
        same(answer.headers["cache-control"], "no-store")
        answer = server.request("GET", "/api/ready")
        same((answer.status, answer.json()), (200, {"status": "ready"}))


def test_readiness_follows_the_store(case):
    try:
        database = postgres.Server()
    except keeper.Missing as missing:
        raise harness.Skip(str(missing)) from None
    with database:
        make = "CREATE DATABASE ready OWNER graviton"
        psql = [os.path.join(database.bin, "psql"), "-X", "-q", "-c", make, database.admin]
        subprocess.run(psql, check=True)
        case.env["GRAVITON_META"] = database.url.rsplit("/", 1)[0] + "/ready"
        case.env["GRAVITON_BLOCKS"] = "fs:" + os.path.join(case.directory, "blocks")
        case.run("migrate")
        with graviton.Server(case.program, env=case.env, log=case.path("log")) as server:

            def ready():
                return server.request("GET", "/api/ready").status

            server.put(noise(5000))
            same(ready(), 200)
            database.stop("immediate")
            wait_until(lambda: ready() == 503, 10)
            begun = time.monotonic()
            answer = server.request("GET", "/api/ready")
            assert time.monotonic() - begun < 4
            problem(answer, 503, "unavailable", case)
            assert "postgres" not in answer.body.decode().lower(), answer
            same(server.request("GET", "/api/health").status, 200)
            same(server.request("GET", "/metrics").status, 200)
            server.says("the store does not answer")
            database.start()
            wait_until(lambda: ready() == 200, 30)
            server.says("the store answers again")


def samples(text):
    """The metrics as {name{labels}: value}."""
    rows = [line.rsplit(" ", 1) for line in text.split("\n") if line and line[0] != "#"]
    found = {name: float(value) for name, value in rows}
    same(len(found), len(rows))
    return found


def quiet_metrics(server):
    """The metrics while no other exchange is under way: one ends a moment after its answer."""
    last = []

    def is_quiet():
        last[:] = [server.request("GET", "/metrics")]
        return samples(last[0].body.decode())["graviton_http_requests_in_flight"] == 1

    wait_until(is_quiet)
    return last[0]


def test_metrics(case):
    with serve(case) as server:
        data = noise(50000)
        blob = server.put(data)
        server.put(data)
        same(server.get(blob), data)
        server.request("GET", "/api/blobs/x")
        server.request("GET", "/nowhere")
        answer = quiet_metrics(server)
        same(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
        found = samples(answer.body.decode())
        for name, value in {
            'graviton_http_requests_total{route="blob_post",code="201"}': 2,
            'graviton_http_requests_total{route="blob_get",code="200"}': 1,
            'graviton_http_requests_total{route="blob_get",code="400"}': 1,
            'graviton_http_requests_total{route="none",code="404"}': 1,
            'graviton_http_request_duration_seconds_count{route="blob_post"}': 2,
            'graviton_http_request_duration_seconds_bucket{route="blob_post",le="+Inf"}': 2,
            'graviton_http_body_bytes_total{route="blob_post",direction="in"}': 100000,
            'graviton_http_body_bytes_total{route="blob_get",direction="in"}': 0,
            "graviton_puts_total": 2,
            "graviton_puts_already_stored_total": 1,
            'graviton_put_bytes_total{kind="fresh"}': 50000,
            'graviton_put_bytes_total{kind="duplicate"}': 50000,
            'graviton_store_calls_total{status="corrupt"}': 0,
            "graviton_http_requests_in_flight": 1,
            "graviton_http_puts_paused": 0,
            "graviton_jobs_running": 0,
            'graviton_build_info{version="0.1.0"}': 1,
        }.items():
            same((name, found.get(name)), (name, value))
        assert found['graviton_http_body_bytes_total{route="blob_get",direction="out"}'] > 50000
        assert found["process_resident_memory_bytes"] > 1 << 20
        assert 5 < found["process_open_fds"] < found["process_max_fds"]
        assert abs(found["process_start_time_seconds"] - time.time()) < 60
        assert found["graviton_http_connections"] >= 1
        assert not any("cache" in name for name in found)
        if shutil.which("promtool"):
            words = ["promtool", "check", "metrics"]
            result = subprocess.run(words, input=answer.body, capture_output=True, check=False)
            same((result.returncode, result.stdout, result.stderr), (0, b"", b""))
        elif os.environ.get("GRAVITON_CI"):
            raise AssertionError("no promtool")


def test_statistics(case):
    with serve(case, "--cache", "cache?size=64M") as server:
        same(server.request("GET", "/api/stats?exact=no").status, 400)
        server.put(noise(10240, 1))
        server.put(noise(10240, 1) + noise(1024, 2))
        before = server.request("GET", "/api/stats").json()
        same((before["store"], before["counted"], before["age_seconds"]), (None, None, None))
        wait_until(lambda: server.request("GET", "/api/stats").json()["store"])
        now = server.request("GET", "/api/stats?exact=true").json()
        store = now["store"]
        same((store["blobs"], store["blocks"], store["references"]), (2, 11, 21))
        same((store["logical_bytes"], store["unique_bytes"]), (21504, 11264))
        same(store["missing_blocks"], 0)
        assert abs(store["dedup_ratio"] - 21504 / 11264) < 1e-9
        assert 0 <= now["age_seconds"] < 5 and now["counted"].endswith("Z")
        same(now["server"]["puts"]["blobs"], 2)
        same(now["server"]["cache"]["size_bytes"], 64 << 20)
        same(server.request("GET", "/api/datalake/dashboard").json()["store"], store)
        # Itself; the one before it ends a moment after its answer has come.
        wait_until(lambda: server.request("GET", "/api/datalake/dashboard").json()["requests"]
                   ["in_flight"] == 1)  # fmt: skip
        found = samples(server.request("GET", "/metrics").body.decode())
        same(found["graviton_cache_limit_bytes"], 64 << 20)


def test_the_dashboard_as_a_stream(case):
    with serve(case) as server:
        connection = server.connect()
        connection.request("GET", "/api/datalake/dashboard/stream")
        response = connection.getresponse()
        same(response.status, 200)
        same(response.headers["Content-Type"], "text/event-stream")
        counts = []
        # A put is counted a moment after its answer, and an event may come in between.
        while 1 not in counts and len(counts) < 30:
            line = response.readline()
            has(line, b"data: {")
            counts.append(json.loads(line[6:])["puts"]["blobs"])
            same(response.readline(), b"\n")
            if len(counts) == 1:
                server.put(b"x")
        assert len(counts) > 1, counts
        same(counts, [0] * (len(counts) - 1) + [1])
        # Streams end when the server does.
        begun = time.monotonic()
        same(server.stop(), 0)
        assert time.monotonic() - begun < 20
        connection.close()


# ---- Jobs ----


def test_orders(case):
    with serve(case) as server:
        for kind, body in (
            ("gc", {"dryrun": True}),
            ("gc", {"dry_run": "yes"}),
            ("verify", {}),
            ("verify", {"ids": ["blake3:00:1"]}),
            ("flush", {"x": 1}),
            ("backup", {"name": "../x"}),
            ("backup", {"name": "/tmp/x"}),
        ):
            problem(admin(server, kind, body, expect=400), 400, "bad-request", case)
        problem(admin(server, "backup", {"name": "x"}, expect=501), 501, "unsupported", case)
        problem(admin(server, "nonsense", {}, expect=404), 404, "not-found", case)
        problem(server.request("GET", "/api/admin/jobs/7"), 404, "not-found", case)
        problem(server.request("DELETE", "/api/admin/jobs/7"), 404, "not-found", case)
        problem(server.request("GET", "/api/admin/jobs/07"), 400, "bad-request", case)
        problem(server.request("GET", "/api/admin/jobs/-1"), 400, "bad-request", case)
        same(server.request("GET", "/api/admin/jobs").json(), {"jobs": []})


def test_collection_and_flush(case):
    with serve(case) as server:
        kept = server.put(noise(10240, 1))
        gone = server.put(noise(20480, 2))
        same(server.request("DELETE", f"/api/blobs/{gone}").status, 204)
        dry = run_job(server, "gc", {"dry_run": True})
        same((dry["figures"]["dry_run"], dry["figures"]["freed_blocks"]), (True, 20))
        job = run_job(server, "gc")
        same((job["figures"]["freed_blocks"], job["figures"]["freed_bytes"]), (20, 20480))
        same((job["figures"]["kept_blocks"], job["error"]), (10, None))
        same(run_job(server, "gc")["figures"]["freed_blocks"], 0)
        same(run_job(server, "flush")["figures"], {})
        same(server.get(kept), noise(10240, 1))
        listed = server.request("GET", "/api/admin/jobs").json()["jobs"]
        same([job["job"] for job in listed], [4, 3, 2, 1])
        found = samples(server.request("GET", "/metrics").body.decode())
        same(found['graviton_jobs_total{state="done"}'], 4)


def test_damage_is_found_by_scrub_and_verify(case):
    with serve(case) as server:
        good = server.put(noise(5120, 1))
        bad = server.put(noise(10240, 2))
        places = references(server, bad)
        flip(block_path(case, places[3]["block"]))
        os.unlink(block_path(case, places[7]["block"]))
        job = run_job(server, "verify", {"ids": [good, bad, ABSENT]})
        same((job["figures"]["blobs"], job["figures"]["corrupt"]), (2, 1))
        same(job["figures"]["missing"], 1)
        rows = [row for row in job["findings"] if row["status"] == "corrupt"]
        same([(row["block"], row["offset_bytes"]) for row in rows],
             [(places[n]["block"], places[n]["offset_bytes"]) for n in (3, 7)])  # fmt: skip
        same([row["number"] for row in job["findings"]], [1, 2, 3])
        same([row["number"] for row in job_of(server, job["job"], 1)["findings"]], [2, 3])
        job = run_job(server, "verify", {"all": True})
        same((job["figures"]["blobs"], job["figures"]["corrupt"]), (2, 1))
        same(job["findings_total"], 2)
        job = run_job(server, "scrub")
        same((job["figures"]["corrupt"], job["figures"]["missing"]), (1, 1))
        same((job["figures"]["set_aside"], job["figures"]["complete"]), (1, True))
        found = {row["block"]: row["status"] for row in job["findings"] if "id" not in row}
        same(found, {places[3]["block"]: "corrupt", places[7]["block"]: "missing"})
        named = {row["block"] for row in job["findings"] if row["status"] == "damaged"}
        same(named, {places[3]["block"], places[7]["block"]})
        assert case.directory not in json.dumps(job)
        # What a client is not told is in the log.
        server.says("level=error", places[3]["block"])
        # A put of the same bytes heals it, while the server runs.
        same(server.put(noise(10240, 2)), bad)
        same(run_job(server, "verify", {"all": True})["findings_total"], 0)
        same(run_job(server, "scrub")["findings_total"], 0)


def test_one_at_a_time_and_cancel(case):
    with serve(case) as server:
        server.put(noise(200000))
        slow = admin(server, "scrub", {"rate_bytes": 1000})
        document = problem(admin(server, "gc", expect=409), 409, "busy", case)
        has(document["detail"], f"job {slow} (scrub)")
        wait_until(lambda: (job_of(server, slow)["figures"] or {}).get("blocks", 0) > 0)
        same(job_of(server, slow)["state"], "running")
        answer = server.request("DELETE", f"/api/admin/jobs/{slow}")
        same((answer.status, answer.json()["job"]), (202, slow))
        job = await_job(server, slow)
        same((job["state"], job["error"]), ("cancelled", None))
        assert not job["figures"]["complete"]
        # The next one goes on from there.
        job = run_job(server, "scrub")
        same((job["figures"]["resumed"], job["figures"]["complete"]), (True, True))
        # A stop cancels what runs, and does not wait for it.
        admin(server, "scrub", {"rate_bytes": 100, "restart": True})
        begun = time.monotonic()
        same(server.stop(), 0)
        assert time.monotonic() - begun < 20


OPEN_PUT = 384 << 10  # bytes of one that takes a turn: more than is gathered before that


class SlowPut:
    """A put that has begun and is kept open."""

    def __init__(self, server, data):
        self.data = data
        self.socket = socket.create_connection(("127.0.0.1", server.port), 30)
        head = f"POST /api/blobs HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
        self.socket.sendall(head.encode() + data[:-1])

    def finish(self):
        self.socket.sendall(self.data[-1:])
        answer = self.socket.recv(65536)
        self.socket.close()
        return answer


def held_puts(server):
    found = samples(server.request("GET", "/metrics").body.decode())
    return found['graviton_http_streams{kind="put"}']


def puts_paused(server):
    found = samples(server.request("GET", "/metrics").body.decode())
    return found["graviton_http_puts_paused"]


def hold_put(server, data):
    """A put that is open, and the only one: an ended one may count a moment longer."""
    wait_until(lambda: held_puts(server) == 0)
    put = SlowPut(server, data)
    wait_until(lambda: held_puts(server) == 1)
    return put


def test_a_collection_beside_puts(case):
    with serve(case) as server:
        server.put(noise(1024, 1))
        open_put = hold_put(server, noise(OPEN_PUT, 2))
        job = admin(server, "gc")
        wait_until(lambda: puts_paused(server))
        same(job_of(server, job)["state"], "waiting")
        # One that comes now waits, and goes on when the collection is over.
        results = []
        late = threading.Thread(target=lambda: results.append(server.put(noise(2048, 3))))
        late.start()
        time.sleep(0.3)
        same(results, [])
        same(server.request("GET", "/api/store").status, 200)  # others do not wait
        has(open_put.finish(), b"201 Created")
        same(await_job(server, job)["state"], "done")
        late.join(30)
        same(len(results), 1)
        same(server.get(results[0]), noise(2048, 3))
        # Waiting can be given up.
        open_put = hold_put(server, noise(OPEN_PUT, 4))
        job = admin(server, "gc")
        wait_until(lambda: job_of(server, job)["state"] == "waiting")
        server.request("DELETE", f"/api/admin/jobs/{job}")
        same(await_job(server, job)["state"], "cancelled")
        has(open_put.finish(), b"201 Created")


def test_a_bad_block_beside_puts(case):
    """It is set aside, though a put is open when it is found: that is waited for."""
    with serve(case) as server:
        blob = server.put(noise(5120, 1))
        flip(block_path(case, references(server, blob)[2]["block"]))
        for number in range(10):
            open_put = hold_put(server, noise(OPEN_PUT, 10 + number))
            job = admin(server, "scrub")
            wait_until(lambda: puts_paused(server) or job_of(server, job)["ended"])
            has(open_put.finish(), b"201 Created")
            job = await_job(server, job)
            # The put may have come to its end too late for the scrub.
            if "puts are open" not in json.dumps(job["findings"]):
                break
        figures = job["figures"]
        same((figures["corrupt"], figures["set_aside"]), (1, 1))
        same(puts_paused(server), 0)
        same(server.put(noise(5120, 1)), blob)
        same(server.get(blob), noise(5120, 1))
        # Where it takes too long the block is told of, and the scrub goes on.
        flip(block_path(case, references(server, blob)[2]["block"]))
        open_put = hold_put(server, noise(OPEN_PUT, 3))
        job = await_job(server, admin(server, "scrub"))
        same((job["figures"]["corrupt"], job["figures"]["set_aside"]), (1, 0))
        has(json.dumps(job["findings"]), "puts are open")
        has(open_put.finish(), b"201 Created")


def test_puts_that_wait_too_long_for_a_collection(case):
    with serve(case) as server:
        open_put = hold_put(server, noise(OPEN_PUT, 2))
        job = admin(server, "gc")
        wait_until(lambda: puts_paused(server))
        begun = time.monotonic()
        answer = server.request("POST", "/api/blobs", b"x")
        took = time.monotonic() - begun
        assert 9 < took < 29, (took, answer, job_of(server, job))
        problem(answer, 503, "limit-exceeded" if b"limit" in answer.body else "unavailable", case)
        assert int(answer.headers["retry-after"]) >= 1
        server.request("DELETE", f"/api/admin/jobs/{job}")
        same(await_job(server, job)["state"], "cancelled")
        has(open_put.finish(), b"201 Created")
        server.put(b"x")


def test_jobs_under_load(case):
    """Puts and gets by several clients while jobs come one after the other: nothing is lost."""
    with serve(case) as server:
        stop, kept, errors = threading.Event(), [], []

        def client(number):
            seed = number << 16
            while not stop.is_set():
                seed += 1
                data = noise(3000 + seed % 5000, seed)
                try:
                    blob = server.put(data)
                    same(server.get(blob), data)
                    if seed % 2:
                        same(server.request("DELETE", f"/api/blobs/{blob}").status, 204)
                    else:
                        kept.append((blob, seed, len(data)))
                except Exception as error:
                    errors.append(error)
                    return

        threads = [threading.Thread(target=client, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        jobs = [
            run_job(server, kind, body)
            for kind, body in (
                ("gc", None), ("scrub", None), ("verify", {"all": True}), ("gc", None),
                ("flush", None),
            )
        ]  # fmt: skip
        stop.set()
        for thread in threads:
            thread.join()
        same(errors, [])
        same([job["findings_total"] for job in jobs], [0] * len(jobs))
        run_job(server, "gc")
        for blob, seed, size in kept:
            same(server.get(blob), noise(size, seed))
        same(run_job(server, "verify", {"all": True})["figures"]["blobs"], len(kept))


def test_backup(case):
    os.mkdir(case.path("backups"))
    with serve(case, "--backup-dir", "backups") as server:
        blob = server.put(noise(10240))
        job = run_job(server, "backup", {"name": "monday"})
        same(job["figures"]["linked_blocks"] + job["figures"]["copied_blocks"], 10)
        same(case.run("get", blob, "--store", "backups/monday").out, noise(10240))
        answer = admin(server, "backup", {"name": "monday"}, expect=409)
        problem(answer, 409, "already-exists", case)
        assert "backups" not in answer.body.decode()
        job = run_job(server, "backup", {"name": "tuesday", "copy": True})
        same((job["figures"]["linked_blocks"], job["figures"]["copied_blocks"]), (0, 10))
        case.run("verify", "--all", "--store", "backups/tuesday")
        # Puts go on meanwhile and afterwards.
        server.put(noise(100, 7))
        # Where it cannot be made, the job says why without saying where.
        os.rename(case.path("backups"), case.path("gone"))
        os.symlink("/proc/nowhere", case.path("backups"))
        headers = {"Content-Type": "application/json"}
        answer = server.request("POST", "/api/admin/backup", '{"name": "w"}', headers)
        if answer.status == 202:
            job = await_job(server, answer.json()["job"])
            same(job["state"], "failed")
            text = json.dumps(job)
        else:
            assert answer.status >= 500, answer
            text = answer.body.decode()
        assert "proc" not in text and case.directory not in text, text
    same(sorted(os.listdir(case.path("gone"))), [b"monday", b"tuesday"])


def test_by_itself(case):
    with serve(case, "--gc-every", "1s", "--scrub-every", "1s", "--scrub-rate", "1G") as server:
        server.put(noise(5000))

        def kinds():
            jobs = server.request("GET", "/api/admin/jobs").json()["jobs"]
            return {job["kind"] for job in jobs if job["automatic"] and job["state"] == "done"}

        wait_until(lambda: kinds() == {"gc", "scrub"}, 20)


def test_the_log(case):
    trace = "ab" * 16
    with serve(case, "--log", "json") as server:
        headers = {"traceparent": f"00-{trace}-{'cd' * 8}-01"}
        answer = server.request("GET", "/api/store?secret=value", headers=headers)
        wait_until(lambda: '"path":"/api/store"' in server.said())
        rows = [json.loads(line) for line in server.said().split("\n") if line.startswith("{")]
        row = next(row for row in rows if row.get("path") == "/api/store")
        same((row["trace_id"], row["status"], row["route"]), (trace, 200, "store"))
        same((row["request_id"], row["level"]), (answer.headers["request-id"], "info"))
        assert "secret" not in server.said()


if __name__ == "__main__":
    harness.main()
