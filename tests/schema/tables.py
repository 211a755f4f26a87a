#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The schema beside manifests: keys and values, objects, locations, ranges, and the whole of it."""

import os
import subprocess
import uuid

import harness
from harness import CHECK, FOREIGN, GUARD, NOT_NULL, UNIQUE, hexed
from manifest import Manifest, insert


def block_key(size, algorithm=1, digest=None):
    return bytes([algorithm]) + (digest or os.urandom(32)) + size.to_bytes(8, "big")


def location(kind, key, locator, **more):
    columns = {"kind": kind, "key": hexed(key), "locator": hexed(locator)}
    return insert("graviton.location", dict(columns, **more))


def test_locators_have_scheme_bucket_and_path(database):
    key = block_key(1)
    good = [
        b"s3://b/p", b"fs://a//", b"a+b-c.d9://b/\xff\xfe", b"s3://\xff/x y\n", b"fs://b/..",
        b"s3://" + b"b" * 255 + b"/p", b"abcdefghijklmnop://b/p", b"s3://b/" + b"p" * 953,
        b"s3://a://b/c", b"s3://b\\/p\\",
    ]  # fmt: skip
    bad = [
        b"", b"b/p", b"://b/p", b"s3:/b/p", b"s3://b", b"s3://b/", b"s3:///p", b"S3://b/p",
        b"9s://b/p", b"s_3://b/p", b"s3://b/p\0", b"s3://b\0/p", b"s3://b\n/p", b"s3://\x7f/p",
        b"s3://" + b"b" * 256 + b"/p", b"abcdefghijklmnopq://b/p", b"s3://b/" + b"p" * 954,
        b" s3://b/p", b"\xffs3://b/p",
    ]  # fmt: skip
    for locator in good:
        database.run(location(2, key, locator))
        database.run(f"INSERT INTO graviton.byte_range VALUES ({hexed(locator)}, 1)")
    for locator in bad:
        database.refused(location(2, key, locator), CHECK, "locator")
        database.refused(
            f"INSERT INTO graviton.byte_range VALUES ({hexed(locator)}, 1)", CHECK, "locator"
        )
    database.refused(location(2, key, good[0]), UNIQUE)
    database.refused(insert("graviton.location", {"kind": 2, "key": hexed(key)}), NOT_NULL)
    shown = database.value(
        "SELECT locator_text FROM graviton.block_location WHERE locator = 's3://a://b/c'"
    )
    assert shown == "s3://a://b/c"


def test_location_keys_are_keys_of_their_kind(database):
    good = [
        (1, block_key(0)), (1, block_key((1 << 63) - 1, 2)), (2, block_key(1)),
        (2, block_key(1 << 24, 2)), (3, os.urandom(24)),
    ]  # fmt: skip
    bad = [
        (0, block_key(1)), (4, block_key(1)), (1, block_key(1)[:40]), (1, block_key(1 << 63)),
        (1, block_key(1, 0)), (1, block_key(1, 3)), (2, block_key(0)),
        (2, block_key(1 + (1 << 24))), (2, block_key(1 << 63)), (2, block_key(1, 3)), (2, b""),
        (3, block_key(1)),
        (3, os.urandom(23)),
    ]  # fmt: skip
    for kind, key in good:
        database.run(location(kind, key, b"s3://b/p"))
    for kind, key in bad:
        database.refused(location(kind, key, b"s3://b/p"), CHECK)
    rows = database.run("SELECT alg, byte_length FROM graviton.blob_location ORDER BY 2")
    assert rows == [["blake3", "0"], ["sha256", str((1 << 63) - 1)]], rows
    session, number = good[4][1][:16], int.from_bytes(good[4][1][16:], "big", signed=True)
    rows = database.run("SELECT session_id, number FROM graviton.pack_location")
    assert rows == [[str(uuid.UUID(bytes=session)), str(number)]], rows


def test_the_best_location_is_the_one_to_read(database):
    digest, size = os.urandom(32), 9
    key = block_key(size, digest=digest)
    arguments = f"'blake3', {hexed(digest)}, {size}"

    def best():
        sql = f"SELECT locator_text FROM graviton.best_block_locations({arguments})"
        return [row[0] for row in database.run(sql)]

    def check(locator, result):
        database.run(
            "INSERT INTO graviton.block_verify_event (alg, hash_bytes, byte_length, locator,"
            f" result) VALUES ({arguments}, '{locator}', '{result}')"
        )

    for name, prefix, rank, lifecycle in (
        ("far", "s3://far/", 20, "active"),
        ("near", "fs://near/", 10, "active"),
        ("old", "fs://old/", 1, "draining"),
        ("lost", "fs://lost/", 1, "dead"),
        ("attic", "s3://far/attic/", 30, "deprecated"),
    ):
        columns = {"name": name, "locator_prefix": prefix, "lifecycle": lifecycle}
        columns = {column: f"'{value}'" for column, value in columns.items()}
        database.run(insert("graviton.sector", dict(columns, rank=rank)))
    for locator in ("s3://far/1", "fs://near/1", "fs://old/1", "fs://lost/1", "s3://far/attic/1"):
        database.run(location(2, key, locator.encode()))
    assert best() == ["fs://near/1", "s3://far/1", "fs://old/1", "s3://far/attic/1"], best()
    check("fs://near/1", "hash_mismatch")
    assert best() == ["s3://far/1", "fs://old/1", "s3://far/attic/1"], best()
    check("fs://old/1", "missing")
    check("s3://far/1", "unreadable")
    assert best() == ["s3://far/1", "s3://far/attic/1"], best()
    check("fs://near/1", "ok")
    assert best() == ["fs://near/1", "s3://far/1", "s3://far/attic/1"], best()
    rows = database.run("SELECT status, locations, last_verified IS NOT NULL FROM graviton.block")
    assert rows == [["present", "5", "t"]], rows
    for prefix in ("s3:/x", "", "fs"):
        database.refused(
            f"INSERT INTO graviton.sector (name, locator_prefix) VALUES ('x', '{prefix}')", CHECK
        )
    database.refused(
        "INSERT INTO graviton.sector (name, locator_prefix) VALUES (' ', 'fs://x')", CHECK
    )
    for wrong in (0, 1 + (1 << 24)):
        database.refused(
            "INSERT INTO graviton.block_verify_event (alg, hash_bytes, byte_length, locator,"
            f" result) VALUES ('blake3', {hexed(digest)}, {wrong}, 's3://b/p', 'ok')", CHECK
        )  # fmt: skip


def test_a_read_plan_joins_blocks_and_locations(database):
    manifest = Manifest([5, 6, 7], per_page=2)
    manifest.put(database)
    for digest, size in manifest.blocks[:2]:
        locator = b"s3://b/" + digest.hex().encode()
        database.run(location(2, block_key(size, digest=digest), locator))
    rows = database.run(
        "SELECT ordinal, block_offset, byte_length, locator_text FROM"
        f" graviton.resolve_blob_read_plan({manifest.key()})"
    )
    names = [f"s3://b/{digest.hex()}" for digest, _ in manifest.blocks[:2]] + [""]
    want = [["0", "0", "5", names[0]], ["1", "5", "6", names[1]], ["2", "11", "7", ""]]
    assert rows == want, rows


def test_keys_and_values_have_bounds(database):
    row = "INSERT INTO graviton.kv VALUES ({}, {}, {})".format
    database.run(row(0, hexed(b"k"), "''"))
    database.run(row(31, hexed(b"k" * 1024), hexed(bytes(5000))))
    database.refused(row(0, hexed(b"k"), "''"), UNIQUE)
    for ns, key, value in (
        (32, "'k'", "''"),
        (-1, "'k'", "''"),
        (0, "''", "''"),
        (0, hexed(b"k" * 1025), "''"),
        (0, "'big'", "decode(repeat('00', 33554433), 'hex')"),
    ):
        database.refused(row(ns, key, value), CHECK, "kv_")
    database.refused(row(0, "'k2'", "NULL"), NOT_NULL)


def test_guards_hold_or_conflict(database):
    database.run("INSERT INTO graviton.kv VALUES (1, 'a', 'x'), (1, 'b', '')")

    def guard(*guards):
        parts = list(zip(*guards))
        return (
            f"SELECT graviton.kv_guard(ARRAY{list(parts[0])}::smallint[],"
            f" ARRAY[{', '.join(parts[1])}]::bytea[], ARRAY{list(parts[2])}::smallint[],"
            f" ARRAY[{', '.join(parts[3])}]::bytea[])"
        )

    absent, equals, present = 1, 2, 3
    database.run(guard((1, "'a'", equals, "'x'"), (1, "'c'", absent, "NULL")))
    database.run(guard((1, "'b'", equals, "''"), (1, "'b'", present, "NULL")))
    database.run("SELECT graviton.kv_guard('{}', '{}', '{}', '{}')")
    for broken in (
        (1, "'a'", absent, "NULL"), (1, "'a'", equals, "'y'"), (1, "'a'", equals, "''"),
        (1, "'c'", equals, "''"), (1, "'c'", equals, "NULL"), (1, "'c'", present, "NULL"),
        (2, "'a'", present, "NULL"), (1, "'a'", 4, "NULL"),
    ):  # fmt: skip
        database.refused(guard((1, "'a'", present, "NULL"), broken), GUARD, "guard 2 does not")
    database.run("SELECT graviton.kv_lock('{}', '{}')")
    database.run("BEGIN")
    database.run("SELECT graviton.kv_lock('{3, 7}', '{t, f}')")
    locks = database.run(
        "SELECT classid::bigint, objid, mode FROM pg_locks WHERE locktype = 'advisory' ORDER BY 2"
    )
    database.run("COMMIT")
    number = str(0x67726B76)
    want = [[number, "3", "ExclusiveLock"], [number, "7", "ShareLock"]]
    assert locks == want, locks


def content(database, size, chunk_size=100):
    identity = uuid.uuid4()
    database.run(
        "INSERT INTO graviton.object_content (content_id, chunk_size)"
        f" VALUES ('{identity}', {chunk_size})"
    )
    for number in range(-(-size // chunk_size)):
        length = min(chunk_size, size - number * chunk_size)
        database.run(chunk(identity, number, length))
    return identity


def chunk(identity, number, length):
    return (
        f"INSERT INTO graviton.object_chunk VALUES ('{identity}', {number}, 0,"
        f" {hexed(bytes(length))})"
    )


def finish(identity, size):
    return (
        f"UPDATE graviton.object_content SET byte_length = {size} WHERE content_id = '{identity}'"
    )


def named(bucket, path, identity, size):
    return (
        "INSERT INTO graviton.object (bucket, path, content_id, size, tag) VALUES"
        f" ({hexed(bucket)}, {hexed(path)}, '{identity}', {size}, 'tag')"
    )


def test_objects_have_whole_contents(database):
    for size in (0, 1, 100, 101, 250):
        identity = content(database, size)
        database.refused(named(b"b", b"early", identity, size), FOREIGN)
        for wrong in {size + 1, max(0, size - 1), size + 100} - {size}:
            database.refused(finish(identity, wrong), CHECK, "object content")
        database.refused(finish(identity, -1), CHECK)
        database.run(finish(identity, size))
        database.refused(named(b"b", b"p", identity, size + 1), FOREIGN)
        database.run(named(b"b", b"p%d" % size, identity, size))
        database.run(named(b"b", b"copy%d" % size, identity, size))
        database.refused(finish(identity, size + 1), CHECK, "never changes")
        database.refused(finish(identity, "NULL"), FOREIGN)
        database.refused(chunk(identity, 99, 1), CHECK, "finished")
        if size:
            one = f"graviton.object_chunk WHERE content_id = '{identity}' AND number = 0"
            database.refused(f"DELETE FROM {one}", CHECK, "finished")
        gone = f"DELETE FROM graviton.object_content WHERE content_id = '{identity}'"
        database.refused(gone, FOREIGN)
        database.run(f"DELETE FROM graviton.object WHERE path = 'p{size}'")
        database.refused(gone, FOREIGN)
        database.run(f"DELETE FROM graviton.object WHERE path = 'copy{size}'")
        database.run(gone)
    assert database.value("SELECT count(*) FROM graviton.object_chunk") == "0"
    # A gap, a short chunk in the middle, a long one: each has the right number of bytes in all.
    for lengths in ({0: 100, 2: 50}, {0: 50, 1: 100}, {0: 101, 1: 49}, {0: 100, 1: 49, 2: 1}):
        identity = content(database, 0)
        for number, length in lengths.items():
            database.run(chunk(identity, number, length))
        database.refused(finish(identity, 150), CHECK, "object content")
    for number, length in ((-1, 1), (0, 0), (0, (1 << 20) + 1)):
        identity = content(database, 0)
        database.refused(chunk(identity, number, length), CHECK, "object_chunk_")
    database.refused(chunk(uuid.uuid4(), 0, 1), FOREIGN)
    database.refused(
        f"INSERT INTO graviton.object_content VALUES ('{uuid.uuid4()}', 100, 5)", CHECK, "no chunks"
    )


def test_a_chunk_does_not_slip_into_a_finished_content(database):
    other = database.another()
    identity = content(database, 100)
    database.run("BEGIN")
    database.run(finish(identity, 100))
    other.send(chunk(identity, 1, 100))
    database.run("SELECT pg_sleep(0.2)")
    database.run("COMMIT")
    try:
        other.receive()
        raise AssertionError("a chunk behind a finished content")
    except harness.SqlError as error:
        assert error.state == CHECK and "finished" in error.message, error


def test_object_names_are_bytes(database):
    identity = content(database, 0)
    database.run(finish(identity, 0))
    for bucket, path in ((b"b", b"\xff/\xfe"), (b"b\xff", b"//"), (b"b" * 255, b"p" * 1024)):
        database.run(named(bucket, path, identity, 0))
        database.refused(named(bucket, path, identity, 0), UNIQUE)
    for bucket, path in (
        (b"", b"p"), (b"a/b", b"p"), (b"b\n", b"p"), (b"b\0", b"p"), (b"b" * 256, b"p"),
        (b"b", b""), (b"b", b"p\0"), (b"b", b"p" * 1025),
    ):  # fmt: skip
        database.refused(named(bucket, path, identity, 0), CHECK, "object_")
    database.refused("UPDATE graviton.object SET tag = ''", CHECK, "object_tag_form")


def test_ranges_are_counted_and_bounded(database):
    row = "INSERT INTO graviton.byte_range VALUES ('s3://b/{}', {}, '{}')".format
    last = (1 << 63) - 1
    database.run(row(1, 1, "{[0,5), [7,9)}"))
    database.run(row(2, last, f"{{[0,{last})}}"))
    rows = database.run("SELECT range_count, size_bytes FROM graviton.byte_range ORDER BY locator")
    assert rows == [["2", "7"], ["1", str(last)]], rows
    bad = [(0, "{}"), (-1, "{}"), (1, "{[-1,5)}"), (1, "{[5,)}"), (1, "{(,5)}")]
    for generation, ranges in bad:
        database.refused(row(3, generation, ranges), CHECK, "byte_range_")
    many = "(SELECT range_agg(int8range(2 * i, 2 * i + 1)) FROM generate_series(1, {}) i)".format
    sql = "INSERT INTO graviton.byte_range VALUES ('s3://b/4', 1, {})".format
    database.run(sql(many(65536)))
    database.run("DELETE FROM graviton.byte_range")
    database.refused(sql(many(65537)), CHECK, "byte_range_count")


def test_one_descriptor_and_named_states(database):
    descriptor = '{"graviton":"metadata","store_id":"000102030405060708090a0b0c0d0e0f"}'
    row = "INSERT INTO graviton.blob_store (descriptor) VALUES ({})".format
    database.refused(row("''"), CHECK, "descriptor_length")
    database.run(row(f"'{descriptor}'"))
    database.refused(row("'another'"), UNIQUE)
    store = database.value("SELECT store_id FROM graviton.blob_store")
    assert store == "00010203-0405-0607-0809-0a0b0c0d0e0f", store
    database.run("UPDATE graviton.blob_store SET descriptor = '\\xff00'")
    assert database.value("SELECT store_id IS NULL FROM graviton.blob_store") == "t"
    state = "INSERT INTO graviton.state VALUES ('{}', {})".format
    database.run(state("scrub-1", "'x'"))
    for name, value in (("", "'x'"), ("A", "'x'"), ("a b", "'x'"), ("a" * 65, "'x'"), ("a", "''"),
                        ("a", hexed(bytes(4097)))):  # fmt: skip
        database.refused(state(name, value), CHECK, "state_")


def test_another_programs_tables_are_left_alone(database):
    first = os.path.abspath(harness.sys.argv[1])
    script = harness.psql(database.url, "-v", "ON_ERROR_STOP=1", "-1", "-f", first)
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode and "database of its own" in done.stderr, done.stderr


def test_a_dump_can_be_restored(database):
    whole = Manifest([n + 1 for n in range(20)], per_page=3, per_index=2)
    whole.put(database)
    database.run(location(2, block_key(1), b"s3://b/p"))
    database.run("INSERT INTO graviton.byte_range VALUES ('s3://b/p', 1, '{[0,5)}')")
    identity = content(database, 150)
    database.run(finish(identity, 150))
    database.run(named(b"b", b"p", identity, 150))
    dump = os.path.join(os.environ["GRAVITON_TEST_POSTGRES_BIN"], "pg_dump")
    text = subprocess.run([dump, database.url], capture_output=True, check=True).stdout
    second = harness.Database([])
    try:
        script = harness.psql(second.url, "-v", "ON_ERROR_STOP=1")
        done = subprocess.run(script, input=text, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        blocks = f"SELECT * FROM graviton.blob_blocks({whole.key()})"
        assert second.run(blocks) == database.run(blocks)
        assert len(second.run(blocks)) == 20
        pages = "DELETE FROM graviton.blob_manifest_page"
        second.refused(pages, CHECK, "a blob needs")
        second.refused(chunk(identity, 2, 1), CHECK, "finished")
    finally:
        second.close()


if __name__ == "__main__":
    harness.main()
