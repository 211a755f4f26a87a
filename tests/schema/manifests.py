#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the database itself accepts as a manifest, and all that it refuses."""

import copy
import os
import struct
import time
import uuid

import harness
from harness import CHECK, NOT_SUPPORTED, UNIQUE, hexed
from manifest import DELIMITER, FIXED_1M, SHA256, Manifest, Page

MIB16 = 1 << 24


def golden(name):
    path = os.path.join(os.environ["GRAVITON_TEST_GOLDEN"], name)
    with open(path, encoding="ascii") as file:
        return bytes.fromhex("".join(line for line in file if not line.startswith("#")))


def blocks_in(database, manifest):
    rows = database.run(
        "SELECT ordinal, block_offset, alg, encode(hash_bytes, 'hex'), byte_length"
        f" FROM graviton.blob_blocks({manifest.key()}) ORDER BY ordinal"
    )
    return [[row[0], row[1], row[2], row[3], row[4]] for row in rows]


def blocks_of(manifest):
    rows, offset = [], 0
    for number, (digest, size) in enumerate(manifest.blocks):
        name = "sha256" if manifest.block_hash == SHA256 else "blake3"
        rows.append([str(number), str(offset), name, digest.hex(), str(size)])
        offset += size
    return rows


def sound():
    """One of each kind of correct manifest."""
    return [
        Manifest([]),
        Manifest([1]),
        Manifest([MIB16], chunker=FIXED_1M),
        Manifest([3, 1, 2], chunker=DELIMITER),
        Manifest([70000 + n for n in range(256)], block_hash=SHA256, blob_hash=SHA256),
        Manifest([5], per_page=1),
        Manifest([MIB16] * 1030 + [7], per_page=1024, chunker=DELIMITER),
        Manifest([n % 9 + 1 for n in range(50)], per_page=7, block_hash=SHA256),
        Manifest([n + 1 for n in range(50)], per_page=3, per_index=4, chunker=DELIMITER),
        Manifest([9], per_page=1, per_index=1),
    ]


def test_sound_manifests_are_accepted_and_read_back_as_rows(database):
    for manifest in sound():
        manifest.put(database)
        assert blocks_in(database, manifest) == blocks_of(manifest)
        pages = database.run(
            f"SELECT level, page_number FROM graviton.manifest_pages({manifest.key()})"
        )
        want = sorted(([p.level, p.number] for p in manifest.pages), key=lambda p: (-p[0], p[1]))
        assert [[int(x) for x in row] for row in pages] == want
    created = database.run("SELECT DISTINCT created_at AT TIME ZONE 'UTC' FROM graviton.blob")
    assert created == [["2023-11-14 22:13:20.123456"]], created
    faults = database.value(
        "SELECT count(graviton.manifest_coverage_fault(manifest_id, depth, block_count,"
        " byte_length, root)) FROM graviton.blob"
    )
    assert faults == "0"


def test_bytes_that_the_program_writes_are_accepted(database):
    root = golden("manifest-root-v1.hex")
    identity = root[16:32].hex()
    size = int.from_bytes(root[65:73], "big")
    database.run(
        "INSERT INTO graviton.blob (alg, hash_bytes, byte_length, manifest_id, sequence, depth,"
        f" block_count, root) VALUES ('blake3', {hexed(root[33:65])}, {size}, '{identity}',"
        f" {int.from_bytes(root[96:104], 'little')}, 0, 3, {hexed(root)})"
    )
    for name in ("manifest-page-v1.hex", "manifest-index-v1.hex"):
        data = golden(name)
        number, first, span, base = struct.unpack("<QQQQ", data[32:64])
        count = struct.unpack("<I", data[8:12])[0]
        other = uuid.uuid4()
        for identity, state in ((uuid.UUID(bytes=data[16:32]), None), (other, CHECK)):
            sql = (
                "INSERT INTO graviton.blob_manifest_page VALUES"
                f" ('{identity}', {data[6]}, {number}, {first}, {span}, {base}, {count},"
                f" {hexed(data)})"
            )
            # The root above has the same id, and takes no pages any more.
            database.run("DELETE FROM graviton.blob")
            database.refused(sql, state, "another manifest's id") if state else database.run(sql)


def test_corrupt_roots_are_refused(database):
    good = Manifest([3, 1, 2])
    digest = os.urandom(32)
    cases = [
        (good.changed(magic=b"GRVP"), "magic"),
        (good.changed(version=2), "version"),
        (good.changed(version=0), "version"),
        (good.changed(block_hash=3), "algorithm"),
        (good.changed(block_hash=0), "algorithm"),
        (good.changed(required=1), "features"),
        (good.changed(reserved=b"\0\0\1"), "reserved"),
        (good.changed(block_count=4), "entries for"),
        (good.changed(block_count=2), "entries for"),
        (good.changed(sequence=0), "sequence"),
        (good.changed(size=7), "end at byte 6, not 7"),
        (good.changed(size=5), "end at byte 6, not 5"),
        (good.changed(depth=3), "depth"),
        (good.changed(entries=[]), "entries for"),
        (good.changed(entries=good.entries[:2]), "entries for"),
        (good.changed(entries=[(3, digest), (3, digest), (6, digest)]), "a block has"),
        (good.changed(entries=[(4, digest), (3, digest), (6, digest)]), "a block has"),
        (good.changed(entries=[(0, digest), (3, digest), (6, digest)]), "a block has"),
        (good.changed(entries=[(1 << 40 | 3, digest), (4, digest), (6, digest)]), "a block has"),
        (good.changed(entries=[(1 << 63, digest), (4, digest), (6, digest)]), "a block has"),
        (Manifest([1, MIB16 + 1, 1]), "a block has"),
        (Manifest([1, 0, 1]), "blocks cannot hold"),
        (Manifest([2, 0, 1]), "a block has"),
        (Manifest([1] * 257), "entries for"),
        (good.changed(created_ns=1 << 63), "time"),
    ]
    chunkers = [
        (bytes([0, 1, 0, 0]) + struct.pack("<I", 65536), "chunker"),
        (bytes([4, 1, 0, 0]) + struct.pack("<I", 65536), "chunker"),
        (bytes([1, 2, 0, 0]) + struct.pack("<I", 65536), "chunker"),
        (bytes([1, 1, 0, 1]) + struct.pack("<I", 65536), "delimiter"),
        (bytes([1, 1, 0, 0]) + struct.pack("<I", 65537), "size"),
        (bytes([1, 1, 0, 0]) + struct.pack("<I", 8192), "size"),
        (bytes([2, 1, 0, 0]) + struct.pack("<I", 0), "size"),
        (bytes([2, 1, 0, 0]) + struct.pack("<I", MIB16 + 1), "size"),
        (bytes([2, 1, 1, 0]) + struct.pack("<I", 9) + b"a", "delimiter"),
        (bytes([3, 1, 0, 0]) + struct.pack("<I", 9), "delimiter"),
        (bytes([3, 1, 65, 0]) + struct.pack("<I", 99) + b"a" * 65, "delimiter"),
        (bytes([3, 1, 3, 0]) + struct.pack("<I", 2) + b"abc", "size"),
        (bytes([3, 1, 3, 0]) + struct.pack("<I", 9) + b"ab", "no root of"),
    ]
    cases += [(good.changed(chunker=chunker), text) for chunker, text in chunkers]
    for manifest, text in cases:
        database.refused(manifest.sql(), CHECK, text)
    root = good.root()
    for cut in (b"", root[:4], root[:119], root[:-1], root + b"\0"):
        database.refused(good.sql(root=hexed(cut), created_at="now()"), CHECK, "manifest root:")
    assert database.value("SELECT count(*) FROM graviton.blob") == "0"
    good.put(database)


def test_roots_that_disagree_with_their_row_are_refused(database):
    good = Manifest([3, 1, 2], per_page=2)
    good.put_pages(database)
    cases = [
        ({"alg": "'sha256'"}, "another blob's key"),
        ({"hash_bytes": hexed(os.urandom(32))}, "another blob's key"),
        ({"byte_length": 7}, "another blob's key"),
        ({"manifest_id": f"'{uuid.uuid4()}'"}, "another manifest's id"),
        ({"sequence": good.sequence + 1}, "sequence"),
        ({"depth": 0}, "depth"),
        ({"depth": 2}, "depth"),
        ({"block_count": 4}, "4 in the row"),
        ({"created_at": "now()"}, "another time"),
        ({"hash_bytes": hexed(good.digest[:31])}, "hash_bytes_32"),
        ({"hash_bytes": hexed(good.digest + b"x")}, "hash_bytes_32"),
        ({"byte_length": -1}, "byte_size_not_negative"),
    ]
    for columns, text in cases:
        database.refused(good.sql(**columns), CHECK, text)
    database.run(good.sql(created_at="'2023-11-14 22:13:20.123456+00'"))
    twin = Manifest([3, 1, 2])
    database.refused(good.changed(sequence=99).sql(), UNIQUE, "blob_pkey")
    database.refused(twin.changed(id=good.id).sql(), UNIQUE, "blob_manifest_id_key")
    database.refused(twin.changed(sequence=good.sequence).sql(), UNIQUE, "blob_sequence_key")
    assert database.value("SELECT count(*) FROM graviton.blob") == "1"


def test_no_byte_of_a_header_can_be_changed(database):
    manifest = Manifest([n + 1 for n in range(50)], per_page=3, per_index=4)
    manifest.put(database)
    # Optional features are free, and the time below a microsecond may be.
    free, perhaps_free = {12, 13, 14, 15}, {88, 89}
    for mask in (1, 128):
        rows = database.run(
            "SELECT i FROM graviton.blob, generate_series(0, 111) i"
            " WHERE graviton.manifest_root_fault(alg, hash_bytes, byte_length, manifest_id,"
            " sequence, depth, block_count, created_at,"
            f" set_byte(root, i, get_byte(root, i) # {mask})) IS NULL ORDER BY i"
        )
        assert {int(row[0]) for row in rows} - perhaps_free == free, rows
        rows = database.run(
            "SELECT level, page_number, i FROM graviton.blob_manifest_page,"
            " generate_series(0, 63) i WHERE graviton.manifest_page_fault(manifest_id, level,"
            " page_number, first_byte, byte_length, first_entry, entry_count,"
            f" set_byte(bytes, i, get_byte(bytes, i) # {mask})) IS NULL"
        )
        assert rows == [], rows


def page_of(manifest, at=0, **fields):
    page = copy.copy(manifest.pages[at])
    vars(page).update(fields)
    return page


def test_corrupt_pages_are_refused(database):
    good = Manifest([5, 6, 7, 8, 9, 10], per_page=3, per_index=2)
    digest = os.urandom(32)
    many = Manifest([1] * 1025, per_page=1025)
    index = len(good.pages) - 1
    cases = [
        (page_of(good, magic=b"GRVM"), "magic"),
        (page_of(good, version=2), "version"),
        (page_of(good, level=2), "level"),
        (page_of(good, hash=3), "algorithm"),
        (page_of(good, reserved=1), "reserved"),
        (page_of(good, entries=[]), "1 to 1024"),
        (many.pages[0], "1 to 1024"),
        (page_of(good, size=17), "end at byte 18, not 17"),
        (page_of(good, size=19), "end at byte 18, not 19"),
        (page_of(good, size=2), "covered"),
        (page_of(good, entries=[(5, digest), (5, digest), (18, digest)]), "a block has"),
        (page_of(good, entries=[(11, digest), (5, digest), (18, digest)]), "a block has"),
        (page_of(good, entries=[(1, digest), (2 + MIB16, digest)], size=2 + MIB16), "a block has"),
        (page_of(good, number=3, base=2), "first entry"),
        (page_of(good, index, entries=[(0, digest), (0, digest)]), "cannot begin"),
        (page_of(good, index, entries=[(1, digest), (18, digest)]), "cannot begin"),
        (page_of(good, index, entries=[(0, digest), (45, digest)]), "cannot begin"),
        (page_of(good, index, entries=[(0, digest), (1 << 63, digest)]), "cannot begin"),
        (page_of(good, index, entries=[]), "1 to 1024"),
    ]
    for page, text in cases:
        database.refused(page.sql(), CHECK, text)
    beyond = page_of(good, number=(1 << 64) - 1)
    database.refused(beyond.sql(page_number=-1), CHECK, "number")
    page = good.pages[1]
    for column, text in [
        ("level", "level"),
        ("page_number", "number"),
        ("first_byte", "first byte"),
        ("byte_length", "covered"),
        ("first_entry", "first entry"),
        ("entry_count", "no page of"),
    ]:
        for step in (1, -1, -page.row()[column] - 1):
            columns = {column: page.row()[column] + step}
            database.refused(page.sql(**columns), CHECK, "" if step < -1 else text)
    data = page.bytes()
    for cut in (b"", data[:10], data[:63], data[:-1], data + b"\0"):
        database.refused(page.sql(bytes=hexed(cut)), CHECK, "no page of")
    last = (1 << 63) - 1
    database.refused(page_of(good, first=last - 17).sql(first_byte=last - 16), CHECK, "first byte")
    database.refused(page_of(good, first=last - 10).sql(), CHECK, "covered")
    assert database.value("SELECT count(*) FROM graviton.blob_manifest_page") == "0"
    good.put(database)


def broken_coverage():
    """(pages, manifest, text): pages each sound by itself that don't make that manifest."""

    def flat():
        return Manifest([n % 5 + 1 for n in range(20)], per_page=4)

    def deep():
        return Manifest([n % 5 + 1 for n in range(20)], per_page=2, per_index=3)

    for make in (flat, deep):
        for at in range(len(make().pages)):
            manifest = make()
            yield manifest.pages[:at] + manifest.pages[at + 1 :], manifest, "of level"
    manifest = flat()
    yield [], manifest, "cover 0 bytes"
    # A gap, an overlap: the pages after it are moved.
    for step in (1, -1):
        manifest = flat()
        moved = [page_of(manifest, n, first=manifest.pages[n].first + step) for n in (2, 3, 4)]
        yield manifest.pages[:2] + moved, manifest, "expected number 2"
        both = copy.copy(manifest)
        both.size = manifest.size + step
        both.entries = [(p.first, d) for p, (_, d) in zip(manifest.pages[:2] + moved,
                                                          manifest.entries)]  # fmt: skip
        yield manifest.pages[:2] + moved, both, "expected number 2"
    # Pages that lie as they should and count entries otherwise.
    manifest = flat()
    moved = [page_of(manifest, n, base=manifest.pages[n].base + 1) for n in (3, 4)]
    yield manifest.pages[:3] + moved, manifest, "expected number 3"
    for make in (flat, deep):
        manifest = make()
        yield manifest.pages, manifest.changed(block_count=21), "cover"
        manifest = make()
        yield manifest.pages, manifest.changed(block_count=19), "cover"
        manifest = make()
        yield manifest.pages, manifest.changed(size=manifest.size + 1), "cover"
        manifest = make()
        yield manifest.pages, manifest.changed(size=manifest.size - 1), "cover"
    # The table above says that a page begins elsewhere, or knows of fewer or more.
    manifest = flat()
    entries = list(manifest.entries)
    entries[3] = (entries[3][0] + 1, entries[3][1])
    yield manifest.pages, manifest.changed(entries=entries), "the table above it"
    yield manifest.pages, manifest.changed(entries=manifest.entries[:4]), "the table above it"
    more = manifest.entries + [(manifest.size - 1, os.urandom(32))]
    yield manifest.pages, manifest.changed(entries=more), "the table above it"
    manifest = deep()
    index = page_of(manifest, -2)
    index.entries = [index.entries[0], (index.entries[1][0] + 1, os.urandom(32))]
    index.entries += manifest.pages[-2].entries[2:]
    yield manifest.pages[:-2] + [index, manifest.pages[-1]], manifest, "the table above it"
    # An index that begins where it should and covers another page's bytes.
    manifest = deep()
    short = page_of(manifest, -1, size=manifest.pages[-1].size - 1)
    yield manifest.pages[:-1] + [short], manifest, "cover"
    # Other algorithms than the root's.
    for at in (0, -1):
        manifest = deep()
        other = page_of(manifest, at, hash=SHA256)
        pages = [other if page is manifest.pages[at] else page for page in manifest.pages]
        yield pages, manifest, "algorithm"
    # More than the root knows of.
    manifest = flat()
    last = manifest.pages[-1]
    extra = Page(manifest, 0, last.number + 1, manifest.size, 1, 20, [(1, os.urandom(32))])
    yield manifest.pages + [extra], manifest, "cover"
    far = Page(manifest, 0, last.number + 2, manifest.size, 1, 20, [(1, os.urandom(32))])
    yield manifest.pages + [far], manifest, "expected number 5"
    stray = Page(manifest, 1, 0, 0, 1, 0, [(0, os.urandom(32))])
    yield manifest.pages + [stray], manifest, "does not have"


def test_pages_that_do_not_cover_the_blob_are_refused_with_their_root(database):
    count = 0
    for pages, manifest, text in broken_coverage():
        for page in pages:
            database.run(page.sql())
        database.refused(manifest.sql(), CHECK, text)
        database.run("DELETE FROM graviton.blob_manifest_page")
        count += 1
    assert count > 40, count
    assert database.value("SELECT count(*) FROM graviton.blob") == "0"


def test_a_page_number_is_given_once(database):
    manifest = Manifest([n + 1 for n in range(9)], per_page=3)
    manifest.put_pages(database)
    again = page_of(manifest, 1, entries=manifest.pages[1].entries)
    database.refused(again.sql(), UNIQUE, "blob_manifest_page_pkey")
    database.run(again.sql() + " ON CONFLICT DO NOTHING")
    database.run(manifest.sql())


def test_what_is_visible_stays_as_it_is(database):
    manifest = Manifest([n + 1 for n in range(9)], per_page=2, per_index=2)
    manifest.put(database)
    small = Manifest([1])
    small.put(database)
    blob, page = "graviton.blob", "graviton.blob_manifest_page"
    for change in (
        f"UPDATE {blob} SET root = set_byte(root, 12, 1)",
        f"UPDATE {blob} SET hash_bytes = {hexed(os.urandom(32))} WHERE depth = 0",
        f"UPDATE {blob} SET sequence = sequence + 10",
        f"UPDATE {page} SET bytes = set_byte(bytes, 80, 1)",
        f"UPDATE {page} SET page_number = page_number + 10",
        f"UPDATE {page} SET manifest_id = '{uuid.uuid4()}'",
    ):
        database.refused(change, CHECK, "never changes")
    database.refused(f"DELETE FROM {page}", CHECK, "a blob needs")
    database.refused(f"DELETE FROM {page} WHERE level = 1", CHECK, "a blob needs")
    database.refused(f"TRUNCATE {page}", CHECK, "blobs need them")
    late = page_of(manifest, 0, number=77, base=77)
    database.refused(late.sql(), CHECK, "complete already")
    assert blocks_in(database, manifest) == blocks_of(manifest)
    # Blob first, then its pages: in one transaction or in one statement.
    database.run("BEGIN")
    database.run(f"DELETE FROM {blob} WHERE manifest_id = '{manifest.id}'")
    database.run(f"DELETE FROM {page} WHERE manifest_id = '{manifest.id}'")
    database.run("ROLLBACK")
    database.run(
        f"WITH gone AS (DELETE FROM {blob} WHERE manifest_id = '{manifest.id}' RETURNING *)"
        f" DELETE FROM {page} USING gone WHERE {page}.manifest_id = gone.manifest_id"
    )
    assert database.value(f"SELECT count(*) FROM {page}") == "0"
    database.run(f"TRUNCATE {blob}, {page} CASCADE")


def test_roots_and_deleted_pages_do_not_pass_each_other(database):
    other, watcher = database.another(), database.another()
    for isolation in ("REPEATABLE READ", "SERIALIZABLE"):
        manifest = Manifest([1, 2, 3], per_page=1)
        manifest.put_pages(database)
        database.run(f"BEGIN ISOLATION LEVEL {isolation}")
        database.refused(manifest.sql(), NOT_SUPPORTED, "READ COMMITTED")
        database.run("ROLLBACK")
        database.run(f"BEGIN ISOLATION LEVEL {isolation}")
        page = "DELETE FROM graviton.blob_manifest_page"
        database.refused(page, NOT_SUPPORTED, "READ COMMITTED")
        database.run("ROLLBACK")
    # Deleting first: the root waits for it, and then has no pages.
    database.run("BEGIN")
    database.run(f"{page} WHERE manifest_id = '{manifest.id}' AND page_number = 1")
    other.send(manifest.sql())
    wait_for_lock(watcher, "INSERT")
    database.run("COMMIT")
    try:
        other.receive()
        raise AssertionError("a root without one of its pages")
    except harness.SqlError as error:
        assert error.state == CHECK, error
    # The root first: deleting waits for it, and is refused.
    manifest = Manifest([1, 2, 3], per_page=1)
    manifest.put_pages(database)
    database.run("BEGIN")
    database.run(manifest.sql())
    other.send(f"{page} WHERE manifest_id = '{manifest.id}' AND page_number = 1")
    wait_for_lock(watcher, "DELETE")
    database.run("COMMIT")
    try:
        other.receive()
        raise AssertionError("a visible root's page was deleted")
    except harness.SqlError as error:
        assert error.state == CHECK and "a blob needs" in error.message, error
    assert blocks_in(database, manifest) == blocks_of(manifest)


def wait_for_lock(database, verb):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        waiting = database.value(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'"
            f" AND query LIKE '{verb}%' AND datname = current_database()"
        )
        if waiting == "1":
            return
        time.sleep(0.02)
    raise AssertionError(f"nobody waits with {verb}")


def test_attributes_belong_to_a_blob(database):
    manifest = Manifest([1])
    record = b"GRVA" + bytes([1, 0, 0, 0]) + os.urandom(8)
    row = f"INSERT INTO graviton.blob_attributes VALUES ({manifest.key()}, {hexed(record)})"
    database.refused(row, harness.FOREIGN)
    manifest.put(database)
    database.run(row)
    for wrong in (b"", record[:15], b"X" + record[1:], record + bytes(65536)):
        database.refused(
            f"UPDATE graviton.blob_attributes SET attributes = {hexed(wrong)}", CHECK, "form"
        )
    database.run("DELETE FROM graviton.blob")
    assert database.value("SELECT count(*) FROM graviton.blob_attributes") == "0"


def test_two_million_blocks_in_seconds(database):
    """Full pages of equal tables: what the database does with them does not depend on that."""
    count, size = 2_000_000, 70_000
    manifest = Manifest([])
    digests = os.urandom(32)
    full = Manifest.ends([(digests, size)] * 1024)
    pages = []
    for at in range(0, count, 1024):
        part = full[: min(1024, count - at)]
        number = at // 1024
        pages.append(Page(manifest, 0, number, at * size, len(part) * size, at, part))
    manifest = manifest.changed(
        depth=1,
        size=count * size,
        block_count=count,
        entries=[(page.first, os.urandom(32)) for page in pages],
    )
    table = pages[0].bytes()[64:].hex()

    def line(page):
        short = copy.copy(page)
        short.entries = []
        head = bytearray(short.bytes())
        head[8:12] = struct.pack("<I", len(page.entries))
        fields = [page.id, page.level, page.number, page.first, page.size, page.base]
        fields += [len(page.entries), "\\\\x" + head.hex() + table[: 80 * len(page.entries)]]
        return "\t".join(str(field) for field in fields) + "\n"

    lines = [line(page) for page in pages]
    begun = time.monotonic()
    database.run("COPY graviton.blob_manifest_page FROM STDIN", lines)
    copied = time.monotonic()
    database.run(manifest.sql())
    rooted = time.monotonic()
    print(f"# {len(pages)} pages {copied - begun:.2f} s, their root {rooted - copied:.3f} s")
    assert copied - begun < 60 and rooted - copied < 10
    middle = database.run(
        "SELECT ordinal, block_offset FROM graviton.blob_manifest_page p,"
        " graviton.manifest_blocks(substring(p.bytes FROM 65), 0, entry_count, first_entry,"
        f" first_byte) WHERE manifest_id = '{manifest.id}' AND level = 0"
        f" AND {size * 1_000_000} BETWEEN first_byte AND first_byte + p.byte_length - 1"
        f" AND ordinal = 1000000"
    )
    assert middle == [["1000000", str(size * 1_000_000)]], middle


if __name__ == "__main__":
    harness.main()
