#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The whole command line over a server: what each command does there, what goes over the wire and
what does not, connections that break, servers that die, and others that are no graviton server.
"""

import http.server
import json
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "service"))

import graviton
import harness
import proxy
from harness import has, noise, same, wait_until

NOT_SENT = 1 << 16  # bytes of questions and answers beside a blob


def serve(case, *options, store="served"):
    """A server over a store in the case's directory, and the case's runs over it."""
    server = graviton.Server(
        case.program, "--store", case.path(store), *options, env=case.env, cwd=case.directory,
        log=case.path("serve.log"),
    )  # fmt: skip
    case.env["GRAVITON_STORE"] = server.url
    return server


def ids(case, *options):
    return [row[0] for row in case.run("ls", *options).rows()]


def token(case, scopes):
    """A token with these scopes, in the server's file."""
    made = case.run("token", scopes.replace(",", "-"), "--scope", scopes, "--append", "tokens")
    return made.rows()[0][0]


def test_every_command(case):
    big, small = noise(5_000_000), b"hello\n"
    case.write("big", big)
    case.write("small", small)
    with serve(case, "--backup-dir", case.path("backups")) as server:
        os.makedirs(case.path("backups"), exist_ok=True)
        rows = case.run("put", "big", "small").rows()
        same([row[1] for row in rows], ["big", "small"])
        key = rows[0][0]
        same(case.run("put", "-", stdin=big).rows()[0][0], key)
        same(case.run("get", key).out, big)
        same(case.run("get", "--range", "1000000-1000099", key).out, big[1000000:1000100])
        same(case.run("get", key.split(":")[1][:12]).out, big)
        same(sorted(ids(case)), sorted(row[0] for row in rows))
        named = case.put(b"named", "--name", "n\tam\xe9.txt", "--type", "text/plain")
        same(ids(case, "--newest", "--limit", "1"), [named])
        same(len(ids(case, "--newest")), 3)
        has(case.run("ls", "-l").out.decode(), "am\xe9.txt")
        view = case.run("stat", "--json", named).objects()[0]
        has(json.dumps(view), "text/plain")
        blocks = case.run("manifest", key).rows()
        same(sum(int(row[1]) for row in blocks), len(big))
        same({row[1] for row in case.run("verify", "--all").rows()}, {"ok"})
        stats = dict(row[:2] for row in case.run("stats").rows())
        same((stats["blobs"], stats["missing_blocks"]), ("3", "0"))
        case.run("rm", key)
        case.run("get", key, expect=3)
        case.run("rm", key, expect=3)
        would = case.run("gc", "--dry-run", "--json").objects()[0]
        freed = case.run("gc", "--json").objects()[0]
        same((would["dry_run"], freed["dry_run"]), (True, False))
        same(freed["freed_bytes"], len(big))
        same(would["freed_bytes"], len(big))
        same(case.run("scrub", "--json").objects()[-1]["complete"], True)
        case.run("backup", "first")
        case.run("backup", "first", expect=8)
        case.run("backup", "../out", expect=None)
        assert not os.path.exists(case.path("out")), "a backup beside its directory"
        same(case.run("get", named, "--store", "backups/first").out, b"named")
        case.run("ls", "--cache", "c", expect=1)
        case.run("ls", "--hash", "sha256", expect=8)
        case.run("serve", "--listen", "127.0.0.1:0", expect=1)
        same(server.stop(), 0)


def test_what_is_there_is_not_sent(case):
    data = noise(3_000_000)
    os.makedirs(case.path("tree/sub"))
    for i in range(40):
        case.write(f"tree/sub/{i}", noise(5000, 100 + i))
    case.write("tree/large", data)
    with serve(case) as server, proxy.Proxy(server.url) as way:
        over = {"GRAVITON_STORE": way.url}
        first = case.run("put", "-r", "tree", env=over).rows()
        same(len(first), 41)
        assert way.sent >= 3_000_000 + 40 * 5000, way.sent
        way.clear()
        same(case.run("put", "-r", "tree", env=over).rows(), first)
        assert way.sent < NOT_SENT, way.sent
        same(way.count("POST", ":missing"), 1)
        assert len(way.seen) < 6, way.seen
        way.clear()
        again = case.run("put", "-r", "--json", "tree", env=over).objects()
        same({row["already_stored"] for row in again}, {True})
        assert all(row["blocks"] > 0 for row in again), again
        assert way.sent < NOT_SENT, way.sent
        way.clear()
        case.run("put", "tree/large", "tree/sub/1", env=over)
        same(case.run("put", "-", stdin=noise(5000, 101), env=over).rows()[0][0], first[2][0])
        assert way.sent < NOT_SENT, way.sent
        # Attributes are set all the same.
        case.run("put", "--name", "called", "tree/large", env=over)
        has(case.run("stat", first[0][0]).out.decode(), "called")
        way.clear()
        # A copy asks, too.
        case.run("cp", "--from", way.url, "--to", "local", "--all")
        same(case.run("get", first[0][0], "--store", "local").out, data)
        way.clear()
        same(case.run("cp", "--from", "local", "--to", way.url, "--all").rows()[0][1], "present")
        assert way.sent < NOT_SENT, way.sent


def test_copies(case):
    data = [noise(2_500_000, i) for i in range(3)] + [b"", b"1"]
    with serve(case) as server:
        for each in data:
            case.put(each, "--store", "local")
        copied = case.run("cp", "--from", "local", "--to", server.url, "--all", "--json").objects()
        same((copied[-1]["copied"], copied[-1]["failed"]), (5, 0))
        same(sorted(ids(case)), sorted(ids(case, "--store", "local")))
        copied = case.run("cp", "--from", "local", "--to", server.url, "--all", "--json").objects()
        same((copied[-1]["copied"], copied[-1]["present"]), (0, 5))
        case.run("cp", "--from", server.url, "--to", server.url, "--all", expect=8)


def test_broken_connections(case):
    data = noise(6_000_000)
    case.write("f", data)
    with serve(case) as server, proxy.Proxy(server.url) as way:
        over = {"GRAVITON_STORE": way.url}
        cut = way.on(proxy.cut_request(2_000_000), method="PUT", path="/api/blobs/")
        key = case.run("put", "f", env=over).rows()[0][0]
        same(cut.met, 1)
        lost = way.on(proxy.drop_answer, method="PUT", path="/api/blobs/")
        small = case.run("put", "-", stdin=b"small", env=over).rows()[0][0]
        same(lost.met, 1)
        for after in (0, 1, 1_000_000, 5_999_999):
            for orderly in (False, True):
                cut = way.on(proxy.cut_answer(after, orderly), method="GET", path="/api/blobs/b")
                same(case.run("get", key, env=over).out, data)
                same(cut.met, 1)
        way.on(proxy.drop_answer, method="DELETE")
        case.run("rm", small, env=over)
        same(ids(case), [key])
        # What streams from a pipe cannot be read again, once more has gone than is held: it fails,
        # and nothing is there.
        cut = way.on(proxy.cut_request(15_000_000), method="POST", path="/api/blobs$")
        case.run("put", "-", stdin=noise(20_000_000, 7), env=over, expect=5)
        same(cut.met, 1)
        same(ids(case), [key])
        # Bytes that are changed on their way are noticed, in both directions.
        way.on(proxy.flip_answer(3_000_000), method="GET", path="/api/blobs/b")
        result = case.run("get", "-o", "out", key, env=over, expect=4)
        has(result.err, "not the blob's")
        assert not os.path.exists(case.path("out")), "bytes that are wrong were kept"
        way.on(proxy.flip_request(3_000_000), method="POST", path="/api/blobs$")
        case.run("put", "-", stdin=noise(5_000_000, 8), env=over, expect=4)


def test_a_server_that_dies(case):
    for i in range(300):
        case.write(f"tree/{i:03}", noise(20_000, i))
    with serve(case) as server:
        running = case.start("put", "-r", "tree", stdout=-1, stderr=-1)
        wait_until(lambda: server.said().count("method=PUT") > 20)
        server.kill()
        time.sleep(0.3)
        server.start()
        out, err = running.communicate(timeout=300)
        same(running.returncode, 0)
        rows = out.decode().split("\n")[:-1]
        same(len(rows), 300)
        same(len(ids(case)), 300)
        same(case.run("verify", "--all").out.decode().count("\tok"), 300)
        server.kill()
        begun = time.monotonic()
        result = case.run("ls", expect=5)
        has(result.err, server.url)
        assert time.monotonic() - begun < 20, "a server that is not there is waited for too long"


def test_tokens(case):
    reader, writer = token(case, "read"), token(case, "read,write")
    admin = token(case, "read,write,delete,admin")
    case.write("t", f"  {writer} \r\nnot this line\n".encode())
    case.write("empty", b"\n")
    with serve(case, "--tokens", case.path("tokens")) as server:
        refused = case.run("ls", expect=7)
        has(refused.err, "--token-file", "GRAVITON_TOKEN")
        has(case.run("ls", env={"GRAVITON_TOKEN": "grv_wrong"}, expect=7).err, "token")
        assert "grv_wrong" not in case.run("ls", env={"GRAVITON_TOKEN": "grv_wrong"}, expect=7).err
        case.run("put", "-", env={"GRAVITON_TOKEN": reader}, stdin=b"x", expect=7)
        key = case.run("put", "-", "--token-file", "t", stdin=b"x").rows()[0][0]
        same(case.run("get", key, env={"GRAVITON_TOKEN": reader}).out, b"x")
        for command in (["rm", key], ["gc"], ["stats"], ["scrub"]):
            result = case.run(*command, "--token-file", "t", expect=7)
            assert writer not in result.err
        case.run("gc", env={"GRAVITON_TOKEN": admin})
        case.run("rm", key, env={"GRAVITON_TOKEN": admin})
        case.run("ls", "--token-file", "empty", expect=2)
        case.run("ls", "--token-file", "none", expect=3)
        case.run("ls", "--store", "local", "--token-file", "t", expect=2)
        case.run("ls", env={"GRAVITON_TOKEN": "two words"}, expect=2)
        case.run("put", "-", "--store", "local", stdin=b"y")
        case.run("cp", "--from", "local", "--to", server.url, "--token-file", "t", "--all")
        case.run("cp", "--from", server.url, "--token-file", "t", "--to", "other", "--all")
        # A token goes to one server alone.
        case.run(
            "cp", "--from", server.url, "--token-file", "t", "--to", server.url, "--all", expect=7,
        )  # fmt: skip
        assert writer not in server.said() and admin not in server.said()


class Other(http.server.BaseHTTPRequestHandler):
    """A web server of another kind."""

    def do_GET(self):
        body = b"<html>It works!</html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_traces(case):
    def traces(server):
        """Of all requests: a line may come after its answer, but none after the server's end."""
        same(server.stop(), 0)
        rows = [json.loads(line) for line in server.said().split("\n") if line.startswith("{")]
        return [row.get("trace_id") for row in rows if "path" in row]

    with serve(case, "--log", "json") as server:
        case.env["TRACEPARENT"] = f"00-{'ab' * 16}-{'cd' * 8}-01"
        key = case.put(noise(3_000_000))
        case.run("get", key)
        found = traces(server)
        count = len(found)
        assert count >= 3, found
        same(set(found), {"ab" * 16})
    # One that says nothing is none.
    with serve(case, "--log", "json") as server:
        case.env["TRACEPARENT"] = f"00-{'00' * 16}-{'cd' * 8}-01"
        case.run("ls")
        found = traces(server)
        assert len(found) > count, found
        same(set(found[count:]), {None})


def test_no_graviton_server(case):
    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{other.server_port}"
        for command in (["ls"], ["put", "-"], ["stats"]):
            result = case.run(*command, "--store", url, expect=5)
            has(result.err, url, "no graviton server")
    finally:
        other.shutdown()
        other.server_close()
    with serve(case) as server, proxy.Proxy(server.url) as way:
        page = proxy.replace_answer(b"<html>login</html>", 200, [("Content-Type", "text/html")])
        for path in ("/api/store", r"/api/blobs\?", "/info", "/api/blobs/b"):
            way.clear()
            key = case.put(b"abc")
            way.on(page, path=path, times=9)
            command = {"/info": ["stat", key], "/api/blobs/b": ["get", key]}.get(path, ["ls"])
            result = case.run(*command, env={"GRAVITON_STORE": way.url}, expect=5)
            has(result.err, "no graviton server")
    for url in ("http://", "http://u:secret@h", "https://h/?q", "http://h:0"):
        result = case.run("ls", "--store", url, expect=2)
        assert "secret" not in result.err
    case.run("ls", "--store", "http://127.0.0.1:1", env={"GRAVITON_REMOTE_TIMEOUT": "x"}, expect=2)


def test_stopped_by_the_user(case):
    with serve(case) as server:
        for i in range(200):
            case.write(f"tree/{i}", noise(100_000, i))
        case.run("put", "-r", "tree")
        running = case.start("scrub", "--rate", "500K", stdout=-1, stderr=-1)
        # It has asked for its job: it knows which one to stop.
        server.says("/api/admin/jobs/", seconds=60)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)
        same(running.returncode, 130)

        def state():
            return server.request("GET", "/api/admin/jobs").json()["jobs"][0]["state"]

        wait_until(lambda: state() == "cancelled")
        case.run("gc")


harness.main()
