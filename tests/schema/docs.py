#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every query of docs/postgres-schema.md runs, and finds something in a store that has a bit of
everything; but those that begin with "-- No rows" find nothing."""

import os
import re
import uuid

import harness
from harness import hexed
from manifest import Manifest, insert

DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/postgres-schema.md")
ABC = bytes.fromhex("6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85")
BLOCK = bytes.fromhex("af134949" + "00" * 27 + "01")


def fill(database):
    manifest = Manifest([3] * 10, per_page=3, per_index=2)
    manifest.digest = ABC
    manifest.blocks[0] = (BLOCK, 3)
    manifest.pages[0].entries = manifest.ends(manifest.blocks[:3])
    manifest.put(database)
    Manifest([1, 2]).put(database)
    Manifest([1, 2], per_page=1).put_pages(database)
    descriptor = '{"store_id": "000102030405060708090a0b0c0d0e0f", "chunker": "cdc:64K"}\n'
    database.run(f"INSERT INTO graviton.blob_store (descriptor) VALUES ('{descriptor}')")
    database.run("INSERT INTO graviton.state VALUES ('scrub', '{}')")
    database.run("INSERT INTO graviton.kv VALUES (0, 'k', 'v')")
    for size in ("0", "NULL"):
        identity = uuid.uuid4()
        columns = {"content_id": f"'{identity}'", "byte_length": size}
        database.run(insert("graviton.object_content", columns))
        if size == "0":
            database.run(f"INSERT INTO graviton.object VALUES ('b', 'p', '{identity}', 0, 'tag')")
    columns = {"content_id": f"'{uuid.uuid4()}'", "byte_length": 0}
    database.run(insert("graviton.object_content", columns))
    other = b"\x01" + os.urandom(32) + (5).to_bytes(8, "big")
    block = b"\x01" + BLOCK + (3).to_bytes(8, "big")
    for key, locator, status in (
        (block, "fs://disk1/blake3/af134949-3", "present"),
        (block, "s3://backup-paris/af134949-3", "present"),
        (other, "fs://disk1/5", "corrupt"),
    ):
        columns = {"kind": 2, "key": hexed(key), "locator": f"'{locator}'", "status": f"'{status}'"}
        database.run(insert("graviton.location", columns))
    database.run("INSERT INTO graviton.byte_range VALUES ('s3://b/p', 1, '{[0,5), [10,20)}')")
    columns = {"session_id": f"'{uuid.uuid4()}'", "host": "'h'", "pid": 1, "command": "'put'"}
    database.run(insert("graviton.session", columns))
    database.run(f"SELECT pg_advisory_lock_shared({0x67727674}, 1)")


def test_every_query_of_the_documentation(database):
    fill(database)
    with open(DOCS, encoding="utf-8") as file:
        queries = re.findall(r"^```sql\n(.*?)^```", file.read(), re.DOTALL | re.MULTILINE)
    assert len(queries) > 15, len(queries)
    for query in queries:
        rows = database.run(query)
        assert bool(rows) != query.startswith("-- No rows"), f"{rows[:5]}: {query}"
    sessions = next(query for query in queries if "graviton.session" in query)
    assert database.run(sessions)[0][-1] == "t"


def test_the_audits_find_what_constraints_would_have_refused(database):
    fill(database)
    with open(DOCS, encoding="utf-8") as file:
        audits = re.findall(r"^-- No rows[^\n]*\n(.*?)^```", file.read(), re.DOTALL | re.MULTILINE)
    assert len(audits) == 2
    page = "graviton.blob_manifest_page"
    database.run("ALTER TABLE graviton.blob DISABLE TRIGGER USER")
    database.run(f"ALTER TABLE {page} DROP CONSTRAINT blob_manifest_page_sound")
    database.run(f"ALTER TABLE {page} DISABLE TRIGGER USER")
    assert [database.run(audit) for audit in audits] == [[], []]
    database.run("UPDATE graviton.blob_manifest_page SET bytes = set_byte(bytes, 64, 9)"
                 " WHERE level = 0 AND page_number = 3 AND first_entry = 9")  # fmt: skip
    pages = database.run(audits[1])
    assert len(pages) == 1 and "the blocks end at byte 9, not 3" in pages[0][3], pages
    database.run("UPDATE graviton.blob SET root = set_byte(root, 8, 1) WHERE depth = 0")
    database.run("DELETE FROM graviton.blob_manifest_page WHERE level = 1 AND page_number = 1")
    roots = database.run(audits[0])
    assert len(roots) == 2, roots
    assert any("features" in row[1] for row in roots), roots
    assert any("cover" in row[1] for row in roots), roots


if __name__ == "__main__":
    harness.main()
