#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is known of blobs beside their bytes, over HTTP: attributes, lists, which are missing,
manifests, removal, the store."""

import base64
import email
import hashlib
import json
import os
import threading
import urllib.parse

import harness
from harness import EMPTY, has, noise, same
from http_harness import problem, serve

OCTETS = "application/octet-stream"


def golden(name):
    """Pinned bytes of tests/golden."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../golden", name)) as file:
        return bytes.fromhex("".join(line for line in file if not line.startswith("#")))


# Records of attributes, as they are stored: with some, and with none.
RECORD = golden("attributes-v1.hex")
NO_RECORD = bytes.fromhex("4752564101000000aefddd42cf87c7d0")


# ---- Attributes ----


def disposition(server, blob):
    return server.request("HEAD", "/api/blobs/" + blob).headers["content-disposition"]


def file_name(value):
    """The name that a client reads out of a Content-Disposition; filename* goes first."""
    plain, _, extended = value.partition("; filename*=UTF-8''")
    if extended:
        return urllib.parse.unquote(extended, errors="strict")
    return email.message_from_string(f"Content-Disposition: {plain}\n\n").get_filename()


def test_type_and_name_come_back_safely(case):
    with serve(case) as server:
        for number, (sent, kept, shown) in enumerate((
            ("a.txt", "a.txt", "a.txt"),
            ('"a b.txt"', "a b.txt", "a b.txt"),
            ('"say \\"hi\\".txt"', 'say "hi".txt', 'say "hi".txt'),
            ('"../../etc/passwd"', "passwd", "passwd"),
            ('"C:\\\\x\\\\boot.ini"', "boot.ini", "boot.ini"),
            ("old; filename*=UTF-8''caf%C3%A9%20%E2%82%AC.txt", "café €.txt", "café €.txt"),
            ("x; filename*=UTF-8''a%0D%0ASet-Cookie%3A%20b", "a\r\nSet-Cookie: b",
             "a__Set-Cookie: b"),
            ('"50%41.txt"', "50%41.txt", "50%41.txt"),
        )):  # fmt: skip
            blob = server.put(b"%d" % number, {
                "Content-Type": "text/html; charset=utf-8",
                "Content-Disposition": "attachment; filename=" + sent,
            })  # fmt: skip
            pairs = server.request("GET", f"/api/blobs/{blob}/attributes").json()["attributes"]
            same(pairs, [{"name": "content-type", "value": "text/html; charset=utf-8"},
                         {"name": "file-name", "value": kept}])  # fmt: skip
            answer = server.request("GET", "/api/blobs/" + blob)
            same(answer.headers["content-type"], "text/html; charset=utf-8")
            assert "set-cookie" not in answer.headers, answer
            same(file_name(answer.headers["content-disposition"]), shown)
        same(disposition(server, server.put(b"none")), "attachment")
        for value in ("..", '"a/.."', '""', '"a/"'):
            blob = server.put(b"no name" + value.encode(),
                              {"Content-Disposition": "attachment; filename=" + value})  # fmt: skip
            same(disposition(server, blob), "attachment")
        for headers in (
            {"Content-Type": "text"},
            {"Content-Type": "a/" + "b" * 600},
            {"Content-Disposition": "attachment; filename"},
            {"Content-Disposition": "attachment; filename*=UTF-8''%ff"},
            {"Content-Disposition": "attachment; filename*=UTF-8''%00"},
            {"Graviton-Attributes": "!"},
            {"Graviton-Attributes": "AAAA"},
        ):
            problem(server.request("POST", "/api/blobs", b"x", headers), 400, "bad-request")


def test_a_put_that_names_attributes_replaces_them(case):
    with serve(case) as server:

        def attributes(blob):
            pairs = server.request("GET", f"/api/blobs/{blob}/attributes").json()["attributes"]
            return {pair["name"]: pair.get("value") for pair in pairs}

        form = {"Content-Type": "application/x-www-form-urlencoded"}
        both = {"Content-Type": "a/b", "Content-Disposition": "inline; filename=c"}
        blob = server.put(b"x", both)
        same(attributes(blob), {"content-type": "a/b", "file-name": "c"})
        server.put(b"x")
        server.put(b"x", form)
        server.put(b"x", {"Content-Disposition": "inline"})
        same(attributes(blob), {"content-type": "a/b", "file-name": "c"})
        server.put(b"x", {"Content-Type": "c/d"})
        same(attributes(blob), {"content-type": "c/d"})
        # A record says it all.
        record = base64.b64encode(RECORD).decode()
        server.put(b"x", {"Content-Type": "e/f", "Graviton-Attributes": record})
        same(attributes(blob), {"content-type": "text/plain", "empty": "", "file-name": "a b.txt",
                                "odd": None})  # fmt: skip
        server.put(b"x", {"Graviton-Attributes": base64.b64encode(NO_RECORD).decode()})
        same(attributes(blob), {})


def test_attributes_are_read_and_replaced(case):
    with serve(case) as server:
        blob = server.put(b"x", {"Content-Type": "a/b"})
        path = f"/api/blobs/{blob}/attributes"

        def put(body, headers=None):
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers = headers or {"Content-Type": "application/json"}
            return server.request("PUT", path, body, headers)

        odd = base64.b64encode(b"\xff\x00\n").decode()
        wanted = [{"name": "file-name", "value": "é\n\"x\""}, {"name": "z", "value_base64": odd}]
        answer = put({"attributes": wanted})
        same((answer.status, answer.body), (204, b""))
        same(server.request("GET", path).json(), {"attributes": wanted})
        same(server.request("GET", "/api/blobs/" + blob).headers["content-type"], OCTETS)
        nul = {"name": "n", "value_base64": "AA=="}
        put({"attributes": [nul, {"name": "content-type", "value": "x/y\r\nSet-Cookie: a"}]})
        same(server.request("GET", path).json()["attributes"][1:], [nul])
        answer = server.request("GET", "/api/blobs/" + blob)
        same(answer.headers["content-type"], OCTETS)
        assert "set-cookie" not in answer.headers

        before = server.request("GET", path).json()
        many = [{"name": f"n{i}", "value": ""} for i in range(65)]
        large = [{"name": f"n{i}", "value": "x" * 8000} for i in range(9)]
        for bad in (
            b"{", b"[]", b'{"attributes": {}}', {}, {"attributes": [1]},
            {"attributes": [{"name": "a"}]}, {"attributes": [{"value": "a"}]},
            {"attributes": [{"name": "A", "value": "a"}]},
            {"attributes": [{"name": "", "value": "a"}]},
            {"attributes": [{"name": "a" * 256, "value": "a"}]},
            {"attributes": [{"name": "a", "value": "x" * 8193}]},
            {"attributes": [{"name": "a", "value": 1}]},
            {"attributes": [{"name": "a", "value": "x", "value_base64": "AA=="}]},
            {"attributes": [{"name": "a", "value_base64": "?"}]},
            {"attributes": [{"name": "a", "value": "x"}, {"name": "a", "value": "y"}]},
            {"attributes": many}, {"attributes": large},
        ):  # fmt: skip
            problem(put(bad), 400, "bad-request")
        problem(put({"attributes": []}, {"Content-Type": "text/plain"}), 415,
                "unsupported-media-type")  # fmt: skip
        problem(put(b" " * (3 << 20)), 413, "content-too-large")
        same(server.request("GET", path).json(), before)
        same(put({"attributes": many[:64]}).status, 204)
        same(put({"attributes": []}).status, 204)
        same(server.request("GET", path).json(), {"attributes": []})
        path = f"/api/blobs/{EMPTY}/attributes"
        problem(server.request("GET", path), 404, "not-found")
        problem(put({"attributes": []}), 404, "not-found")


# ---- Lists and details ----


def list_all(server, query):
    """All entries, page by page."""
    cursor, entries, pages = "", [], 0
    while cursor is not None:
        answer = server.request("GET", f"/api/blobs?{query}{cursor and '&cursor=' + cursor}")
        same(answer.status, 200)
        page = answer.json()
        entries += page["blobs"]
        pages += 1
        cursor = page["cursor"]
        assert cursor is None or page["blobs"], "an empty page that goes on"
    return entries, pages


def test_lists_in_both_orders(case):
    with serve(case) as server:
        same(server.request("GET", "/api/blobs").json(), {"blobs": [], "cursor": None})
        ids = [server.put(b"%d" % i) for i in range(25)]
        for limit, pages in ((1, 25), (7, 4), (24, 2), (25, 1), (1000, 1)):
            entries, count = list_all(server, f"limit={limit}&order=key")
            same(([entry["id"] for entry in entries], count), (sorted(ids), pages))
            entries, count = list_all(server, f"limit={limit}&order=newest")
            same(([entry["id"] for entry in entries], count), (ids[::-1], pages))
        same([entry["id"] for entry in list_all(server, "")[0]], sorted(ids))
        entry = next(entry for entry in entries if entry["id"] == ids[3])
        same({**entry, "created": "", "sequence": 0}, {
            "id": ids[3], "size_bytes": 1, "blocks": 1, "block_hash": "blake3",
            "chunker": "cdc:64K", "created": "", "sequence": 0,
        })  # fmt: skip
        assert entry["sequence"] > 0 and len(entry["created"]) == 30, entry
        same(server.request("GET", f"/api/blobs/{ids[3]}/info").json(), entry)
        middle = sorted(ids)[10]
        same([e["id"] for e in list_all(server, "limit=5&from=" + middle)[0]], sorted(ids)[10:])
        behind = middle.rsplit(":", 1)[0] + ":3"
        same([e["id"] for e in list_all(server, "from=" + behind)[0]], sorted(ids)[11:])

        by_key = server.request("GET", "/api/blobs?limit=1").json()["cursor"]
        by_time = server.request("GET", "/api/blobs?limit=1&order=newest").json()["cursor"]
        assert urllib.parse.quote(by_key) == by_key and urllib.parse.quote(by_time) == by_time
        for query in (
            "limit=0", "limit=1001", "limit=x", "limit=", "limit=-1", "order=size", "order=",
            "cursor=", "cursor=x", "cursor=" + by_key[:-1] + "!", "cursor=" + by_key + "AAAA",
            "cursor=" + by_key[:-4], "cursor=" + "A" * 5000, "order=newest&cursor=" + by_key,
            "order=key&cursor=" + by_time, "from=x", "order=newest&from=" + ids[0],
            "limit=1&limit=2", "from=%00",
        ):  # fmt: skip
            problem(server.request("GET", "/api/blobs?" + query), 400, "bad-request")


def test_a_list_shows_what_stays_while_others_come_and_go(case):
    with serve(case) as server:
        stay = {server.put(b"stay %d" % i) for i in range(120)}
        go = [server.put(b"go %d" % i) for i in range(60)]
        done = threading.Event()
        failed = []

        def disturb():
            try:
                for number in range(10_000):
                    if done.is_set():
                        return
                    server.request("DELETE", "/api/blobs/" + go[number % len(go)])
                    go[number % len(go)] = server.put(b"come %d" % number)
            except Exception as error:  # told by the test
                failed.append(error)

        thread = threading.Thread(target=disturb)
        thread.start()
        try:
            for order in ("key", "newest"):
                for limit in (7, 50):
                    entries, _ = list_all(server, f"order={order}&limit={limit}")
                    ids = [entry["id"] for entry in entries]
                    same(len(set(ids)), len(ids))
                    same(stay - set(ids), set())
        finally:
            done.set()
            thread.join()
        same(failed, [])


def test_missing(case):
    with serve(case) as server:
        there = [server.put(b"%d" % i) for i in range(40)]
        absent = [f"blake3:{hashlib.sha256(b'%d' % i).hexdigest()}:{i}" for i in range(10_000)]

        def ask(body, headers=None):
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            return server.request("POST", "/api/blobs:missing", body, headers or {})

        same(ask({"ids": []}).json(), {"missing": []})
        same(ask({"ids": there}).json(), {"missing": []})
        mixed = [absent[5], there[1], absent[3], absent[5], there[1].upper()]
        same(ask({"ids": mixed}).json(), {"missing": [absent[5], absent[3], absent[5]]})
        asked = absent[: 10_000 - 40] + there
        asked.sort(key=lambda blob: hashlib.md5(blob.encode()).digest())
        same(ask({"ids": asked}).json()["missing"], [blob for blob in asked if blob not in there])
        problem(ask({"ids": absent + there[:1]}), 400, "bad-request")
        for bad in (b"", b"{}", b"[]", b"{", {"ids": "x"}, {"ids": [1]}, {"ids": ["x"]},
                    {"ids": [there[0] + "0" * 30]}, b'{"ids": ["\xff"]}'):  # fmt: skip
            problem(ask(bad), 400, "bad-request")
        has(problem(ask({"ids": [there[0], "nope"]}), 400, "bad-request"), "ids[1]")
        problem(ask({"ids": []}, {"Content-Type": "text/plain"}), 415, "unsupported-media-type")
        problem(ask(b" " * (3 << 20)), 413, "content-too-large")


def test_manifests_by_pages(case):
    size = 100_000
    with serve(case, "--store", "s", "--chunker", "fixed:1K") as server:
        blob = server.put(noise(size))
        path = f"/api/blobs/{blob}/manifest"
        info = server.request("GET", f"/api/blobs/{blob}/info").json()
        whole = server.request("GET", path).json()
        references = whole.pop("references")
        same(whole.pop("next_offset_bytes"), None)
        same(whole, info)
        same(info["blocks"], len(references))
        same([reference["offset_bytes"] for reference in references], list(range(0, size, 1024)))
        blocks = [reference["block"] for reference in references]
        same([int(block.split(":")[2]) for block in blocks[:-1]], [1024] * 97)

        for limit in (1, 10, 98, 97, 10_000):
            got, offset = [], 0
            while offset is not None:
                page = server.request("GET", f"{path}?limit={limit}&offset={offset}").json()
                assert len(page["references"]) <= limit
                got += page["references"]
                offset = page["next_offset_bytes"]
            same(got, references)
        page = server.request("GET", f"{path}?offset=1500&limit=1").json()
        same((page["references"], page["next_offset_bytes"]), ([references[1]], 2048))
        same(server.request("GET", f"{path}?offset={size}").json()["references"], [])
        for query in ("limit=0", "limit=10001", "offset=-1", f"offset={size + 1}",
                      "offset=99999999999999999999"):  # fmt: skip
            problem(server.request("GET", f"{path}?{query}"), 400, "bad-request")
        empty = server.put(b"")
        page = server.request("GET", f"/api/blobs/{empty}/manifest").json()
        same((page["references"], page["next_offset_bytes"], page["blocks"]), ([], None, 0))
        for tail in ("info", "manifest"):
            absent = f"/api/blobs/blake3:{'0' * 64}:1/{tail}"
            problem(server.request("GET", absent), 404, "not-found")


def test_delete(case):
    with serve(case) as server:
        blob = server.put(b"hello")
        path = "/api/blobs/" + blob
        answer = server.request("DELETE", path)
        same((answer.status, answer.body), (204, b""))
        for method in ("DELETE", "GET"):
            problem(server.request(method, path), 404, "not-found")
        same(server.put(b"hello"), blob)
        same(server.get(blob), b"hello")


def test_what_the_store_is(case):
    for options, hash_name, chunker in (
        ([], "blake3", "cdc:64K"),
        (["--hash", "sha256", "--chunker", "fixed:4K"], "sha256", "fixed:4K"),
    ):
        with serve(case, "--store", "s-" + hash_name, *options) as server:
            answer = server.request("GET", "/api/store").json()
            same(len(answer.pop("id")), 32)
            same(len(answer.pop("created")), 30)
            assert answer.pop("program")
            same(answer, {
                "version": 1, "format_version": 1, "hash": hash_name, "chunker": chunker,
                "read_only": False, "orders": ["key", "newest"], "references": True,
            })  # fmt: skip


def test_every_route_asks_for_its_scope(case):
    tokens = {
        scope: case.run("token", scope, "--scope", scope, "--append", "tokens").rows()[0][0]
        for scope in ("read", "write", "delete", "admin")
    }
    with serve(case, "--store", "s", "--tokens", case.path("tokens")) as server:
        bearer = {scope: {"Authorization": "Bearer " + token} for scope, token in tokens.items()}
        blob = server.put(b"hello", bearer["write"])
        path = "/api/blobs/" + blob
        ids = json.dumps({"ids": [blob]}).encode()
        for method, route, body, scope, status in (
            ("GET", path, None, "read", 200),
            ("HEAD", path, None, "read", 200),
            ("GET", "/api/blobs", None, "read", 200),
            ("POST", "/api/blobs:missing", ids, "read", 200),
            ("GET", path + "/info", None, "read", 200),
            ("GET", path + "/manifest", None, "read", 200),
            ("GET", path + "/attributes", None, "read", 200),
            ("GET", "/api/store", None, "read", 200),
            ("POST", "/api/blobs", b"hello", "write", 201),
            ("PUT", path, b"hello", "write", 200),
            ("PUT", path + "/attributes", b'{"attributes": []}', "write", 204),
            ("DELETE", path, None, "delete", 204),
        ):
            for name, headers in [("nobody", {}), *bearer.items()]:
                if name == scope:
                    continue
                wanted = 401 if name == "nobody" else 403
                answer = server.request(method, route, body, headers)
                same((method, route, name, answer.status), (method, route, name, wanted))
            answer = server.request(method, route, body, bearer[scope])
            same((method, route, answer.status), (method, route, status))
            if method in ("GET", "HEAD") and route == path:
                # What a token opened is for nobody else.
                has(answer.headers["cache-control"], "private", "immutable")


if __name__ == "__main__":
    harness.main()
