#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trigger blob_check refuses exactly the roots in which manifest_root_fault, or for their pages
manifest_coverage_fault, finds a fault: though it accepts the usual root without asking them.

The server does it all: it makes the cases out of some roots, and tries each one in a subtransaction
that is undone."""

import os
import random
import struct
import uuid

import harness
from harness import CHECK, hexed
from manifest import BLAKE3, CDC_64K, DELIMITER, FIXED_1M, SHA256, Manifest

MIB16 = 1 << 24
CDC_LARGEST = struct.pack("<I", 1 << 22)
SEED = 20231114
MICROSECOND = 1000
COLUMNS = ["alg", "hash_bytes", "byte_length", "manifest_id", "sequence", "depth", "block_count",
           "created_at", "root"]  # fmt: skip

FETCHED = "root || ''::bytea"

# The columns as a root's bytes say them. Where there are none such, the bytes are no case.
DECODED = {
    "alg": "core.key_alg(substring(root FROM 33 FOR 41))",
    "hash_bytes": "substring(root FROM 34 FOR 32)",
    "byte_length": "core.key_size(substring(root FROM 33 FOR 41))",
    "manifest_id": "encode(substring(root FROM 17 FOR 16), 'hex')::uuid",
    "sequence": "core.wire_u64(root, 96)",
    "depth": "get_byte(root, 6)",
    "block_count": "core.wire_u64(root, 80)",
    "created_at": "graviton.manifest_root_created_at(root)",
}

# What else a column may say than the bytes do. All may be NULL besides.
OTHER = {
    "alg": ["CASE alg WHEN 'blake3' THEN 'sha256' ELSE 'blake3' END::core.hash_alg"],
    "hash_bytes": [
        f"set_byte(hash_bytes, {at}, get_byte(hash_bytes, {at}) # {mask})"
        for at, mask in ((0, 1), (0, 128), (15, 16), (31, 1), (31, 128))
    ],
    "byte_length": ["byte_length + 1", "greatest(byte_length - 1, 0)", "byte_length + 256",
                    "byte_length + 4294967296", "9223372036854775807"],
    "manifest_id": ["gen_random_uuid()", "'00000000-0000-0000-0000-000000000000'::uuid",
                    "encode(hash_bytes, 'hex')::char(32)::uuid"],
    "sequence": ["sequence # 1", "sequence - 1", "0", "-1", "-sequence", "sequence # 256",
                 "sequence # 4294967296", "sequence # (1::bigint << 63)", "9223372036854775807",
                 "sequence << 8", "sequence << 56"],
    "depth": ["depth + 1", "depth - 1", "depth + 2", "3", "-1", "256", "depth + 256"],
    "block_count": ["block_count + 1", "block_count - 1", "block_count + 256", "block_count - 256",
                    "block_count + 4294967296", "-1", "-block_count", "block_count # 1",
                    "9223372036854775807", "block_count # (1::bigint << 63)"],
    "created_at": ["created_at + interval '1 us'", "created_at - interval '1 us'",
                   "created_at + interval '1 s'",
                   "date_trunc('second', created_at)", "date_trunc('milliseconds', created_at)",
                   "now()", "'epoch'", "'infinity'", "'-infinity'",
                   "'epoch'::timestamptz - interval '1 us'"],
    "root": [],
}  # fmt: skip

# What is wanted and what happens; both NULL for a root that is accepted as it is. Roots that the
# columns refuse were let pass by the trigger.
FUNCTIONS = """
CREATE FUNCTION pg_temp.wanted(c pg_temp.root_case) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    fault text;
BEGIN
    IF c.created_at IS NULL AND octet_length(c.root) >= 96 THEN
        c.created_at := graviton.manifest_root_created_at(c.root);
    END IF;
    IF num_nulls(c.alg, c.hash_bytes, c.byte_length, c.manifest_id, c.sequence, c.depth,
                 c.block_count, c.created_at, c.root) > 0 THEN
        RETURN 'null';
    END IF;
    fault := 'manifest root: ' || graviton.manifest_root_fault(c.alg, c.hash_bytes, c.byte_length,
        c.manifest_id, c.sequence, c.depth, c.block_count, c.created_at, c.root);
    IF fault IS NULL AND c.depth > 0 THEN
        fault := 'manifest: ' || graviton.manifest_coverage_fault(c.manifest_id, c.depth,
            c.block_count, c.byte_length, c.root);
    END IF;
    RETURN fault;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLERRM;
END
$$;

CREATE FUNCTION pg_temp.happens(c pg_temp.root_case) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    stored graviton.blob;
    same boolean;
BEGIN
    INSERT INTO graviton.blob VALUES (c.alg, c.hash_bytes, c.byte_length, c.manifest_id, c.sequence,
        c.depth, c.block_count, c.created_at, c.root) RETURNING * INTO stored;
    same := (stored.alg, stored.hash_bytes, stored.byte_length, stored.manifest_id, stored.sequence,
        stored.depth, stored.block_count, stored.created_at, stored.root) IS NOT DISTINCT FROM
        (c.alg, c.hash_bytes, c.byte_length, c.manifest_id, c.sequence, c.depth, c.block_count,
        coalesce(c.created_at, graviton.manifest_root_created_at(c.root)), c.root);
    RAISE EXCEPTION USING ERRCODE = 'TEST1', MESSAGE = same;
EXCEPTION
    WHEN SQLSTATE 'TEST1' THEN
        RETURN CASE SQLERRM WHEN 't' THEN NULL ELSE 'accepted and changed' END;
    WHEN not_null_violation THEN
        RETURN 'null';
    WHEN OTHERS THEN
        RETURN SQLERRM;
END
$$;
"""


def cdc(exponent):
    return bytes([1, 1, 0, 0]) + struct.pack("<I", 1 << exponent)


def fixed(size):
    return bytes([2, 1, 0, 0]) + struct.pack("<I", size)


def delimiter(size, text):
    return bytes([3, 1, len(text), 0]) + struct.pack("<I", size) + text


class Base:
    """A root of which cases are made. thorough: any value in each byte, not one other."""

    def __init__(self, name, manifest, thorough=False):
        self.name, self.manifest, self.thorough = name, manifest, thorough

    def usual(self):
        """Whether the trigger accepts it without asking; that it does so is what it is for."""
        m = self.manifest
        return (m.depth == 0 and m.block_count <= 255 and m.size < MIB16 and m.chunker[0] == 1
                and m.chunker[4:] != CDC_LARGEST and m.block_hash == m.blob_hash
                and m.optional == 0 and m.created_ns >= MICROSECOND)  # fmt: skip

    def line(self):
        row = self.manifest.row()
        for column in ("sequence", "block_count"):
            row[column] = (row[column] + (1 << 63)) % (1 << 64) - (1 << 63)
        fields = [self.name, str(self.thorough)]
        fields += [str(row.get(column, "\\N")).strip("'") for column in COLUMNS]
        return "\t".join(fields).replace("\\x", "\\\\x") + "\n"


def sound(rng):
    """Correct roots of many shapes."""

    def sizes(count, most=4 * 65536):
        return [rng.randint(1, most) for _ in range(count)]

    yield Base("none", Manifest([]), True)
    yield Base("none sha256", Manifest([], block_hash=SHA256, blob_hash=SHA256))
    yield Base("one", Manifest(sizes(1), blob_hash=SHA256), True)
    yield Base("usual sha256", Manifest(sizes(3), block_hash=SHA256, blob_hash=SHA256), True)
    yield Base("small blocks", Manifest([1, 1, 2, 255, 256, 257, 1]), True)
    yield Base("less than 16 MiB", Manifest([MIB16 - 2, 1]), True)
    yield Base("16 MiB", Manifest([MIB16 - 1, 1]), True)
    yield Base("16 MiB in one", Manifest([MIB16]), True)
    yield Base("three", Manifest([70000, 1, MIB16], block_hash=SHA256), True)
    yield Base("fixed", Manifest([1 << 20, 7], chunker=FIXED_1M), True)
    yield Base("delimiter", Manifest(sizes(2, 4096), chunker=DELIMITER))
    yield Base("pages", Manifest(sizes(7), per_page=3))
    yield Base("pages of pages", Manifest(sizes(20), per_page=3, per_index=4, chunker=DELIMITER))
    yield Base("one page", Manifest([9], per_page=1, per_index=1, block_hash=SHA256))
    yield Base("pages of a full table", Manifest(sizes(257, 9), per_page=256))
    for count in (2, 254, 255, 256):
        for block_hash in (BLAKE3, SHA256):
            for blob_hash in (BLAKE3, SHA256):
                manifest = Manifest(sizes(count), block_hash=block_hash, blob_hash=blob_hash)
                yield Base(f"{count} of {block_hash} in {blob_hash}", manifest)
    yield Base("255 of 16 MiB", Manifest([MIB16] * 255))
    yield Base("256 of 16 MiB", Manifest([MIB16] * 256, chunker=FIXED_1M))
    yield Base("255 of 1", Manifest([1] * 255))
    for exponent in range(14, 23):
        yield Base(f"cdc 2^{exponent}", Manifest(sizes(2), chunker=cdc(exponent)))
    for size in (1, 65536, MIB16):
        yield Base(f"fixed {size}", Manifest(sizes(2), chunker=fixed(size)))
    for text in (b"a", b"\0" * 8, bytes(range(192, 256))):
        yield Base(f"delimiter of {len(text)}", Manifest(sizes(2), chunker=delimiter(4096, text)))
    for sequence in (1, 255, 256, 0x0102030405060708, (1 << 63) - 1):
        manifest = Manifest(sizes(1)).changed(sequence=sequence)
        yield Base(f"sequence {sequence}", manifest)
    for created in (0, 1, 999, 1000, 1999, 1 << 40, 1700000000999999999, (1 << 63) - 1):
        yield Base(f"created {created}", Manifest(sizes(1)).changed(created_ns=created))
    yield Base("optional features", Manifest(sizes(1)).changed(optional=0xFFFFFFFF))


def reshaped(rng):
    """Roots and rows that agree and are wrong, or right again: other tables, other numbers."""
    for count in (0, 1, 3, 255):
        good = Manifest([rng.randint(2, 99) for _ in range(count)])
        table, size = good.entries, good.size
        more = (size + 5, os.urandom(32))
        tables = {"one more": table + [more], "one more, of 0": table + [(size, more[1])]}
        if count:
            tables["last removed"], tables["first removed"] = table[:-1], table[1:]
            tables["last twice"], tables["first twice"] = table + table[-1:], table[:1] + table
            tables["in the way of 2^32"] = table[:-1] + [(size + (1 << 32), more[1])]
            tables["too large"] = table[:-1] + [(size + MIB16, more[1])]
            tables["first of 0"] = [(0, more[1])] + table[1:]
        if count > 1:
            tables["swapped"] = table[1::-1] + table[2:]
            tables["ends swapped"] = [(table[1][0], table[0][1]), (table[0][0], table[1][1])]
            tables["ends swapped"] += table[2:]
            tables["digests swapped"] = [(table[0][0], table[1][1]), (table[1][0], table[0][1])]
            tables["digests swapped"] += table[2:]
            tables["reversed"] = table[::-1]
        for name, entries in tables.items():
            end = entries[-1][0] if entries else 0
            for blocks in {count, len(entries)}:
                for length in {size, end}:
                    manifest = good.changed(entries=entries, block_count=blocks, size=length)
                    yield Base(f"{name}: {len(entries)} of {end}, {blocks} of {length}", manifest)
    good = Manifest([3, 1, 2])
    changes = [("sequence", n) for n in (0, 1 << 63, (1 << 64) - 1)]
    changes += [("block_count", n) for n in (259, 3 + (1 << 32), 1 << 39, (1 << 64) - 1)]
    changes += [("depth", n) for n in (1, 2, 3)]
    changes += [("created_ns", n) for n in (1 << 63, (1 << 64) - 1000, (1 << 64) - 1)]
    changes += [("block_hash", n) for n in (0, 3, 255)]
    for field, value in changes:
        yield Base(f"{field} {value}", good.changed(**{field: value}))
    for name, sizes in {"0": [0], "0 at last": [4, 0], "more than 16 MiB": [MIB16 + 1],
                        "257": [1] * 257, "512": [1] * 512}.items():  # fmt: skip
        yield Base(f"blocks of {name}", Manifest(sizes))
    for chunker in (cdc(13), cdc(23), fixed(0), fixed(MIB16 + 1), delimiter(2, b"abc"),
                    delimiter(MIB16 + 1, b"a"), b"\1\1\0\0" + CDC_64K[4:6] + b"\3\0",
                    b"\1\1\1\0" + CDC_64K[4:] + b"a", b"\0\1\0\0" + CDC_64K[4:],
                    b"\1\2\0\0" + CDC_64K[4:], b"\1\1\0\1" + CDC_64K[4:]):  # fmt: skip
        yield Base(f"chunker {chunker.hex()}", good.changed(chunker=chunker))


def columns(**other):
    return ", ".join(f"{other[c]} AS {c}" if c in other else c for c in COLUMNS)


def add_changed_bytes(database):
    """Each byte of the header, and of some entries; of digests one in five. Where columns repeat
    the byte, a second case has them say the same."""
    database.run(
        "WITH fetched AS MATERIALIZED ("
        f" SELECT name, thorough, {columns(root=FETCHED)},"
        "  112 + get_byte(root, 106) AS first, core.wire_u32(root, 76)::integer AS entries"
        " FROM base WHERE correct)"
        " INSERT INTO root_case SELECT name || ', byte ' || at || ' is ' || value, false,"
        f" {columns(root='set_byte(root, at, value)')} FROM fetched,"
        " LATERAL (SELECT generate_series(0, first - 1) AS at UNION SELECT first + 40 * entry + i"
        "   FROM unnest(ARRAY[0, 1, entries / 2, entries - 1, entries]) entry,"
        "   unnest(ARRAY[0, 1, 2, 3, 4, 5, 6, 7, 8, 39]) i WHERE entry >= 0) a,"
        " LATERAL (SELECT get_byte(root, at) AS before WHERE at < octet_length(root)) b,"
        " LATERAL (SELECT before # (1 << bit) AS value FROM generate_series(0, 7) bit"
        "   WHERE thorough"
        "   UNION SELECT v & 255 FROM unnest(ARRAY[0, 255, before + 1, before - 1]) v"
        "   WHERE thorough"
        "   UNION SELECT (before + 1 + (at * 37 + octet_length(name)) % 255) & 255) v"
        " WHERE value <> before"
    )
    database.run(
        "INSERT INTO root_case SELECT name || ' and in the row', false,"
        f" {columns(**DECODED)} FROM root_case"
        " CROSS JOIN LATERAL (SELECT substring(name FROM 'byte ([0-9]+) is')::integer AS at) a"
        " WHERE (at = 6 OR at BETWEEN 16 AND 72 OR at BETWEEN 80 AND 103)"
        f" AND {DECODED['byte_length']} >= 0 AND {DECODED['alg']} IS NOT NULL"
    )


def add_changed_columns(database):
    for column, values in OTHER.items():
        # Where the root is cut short besides, NULL must not lead to reading what is not there.
        for cut in ("octet_length(root)", "0", "11", "80", "95", "96", "100", "119"):
            changed = {"root": f"substring(root FOR {cut})", column: "NULL"}
            database.run(
                f"INSERT INTO root_case SELECT name || ', {column} is null, {cut} bytes', false,"
                f" {columns(**changed)} FROM base WHERE thorough"
            )
        for value in values:
            label = value.replace("'", "''")
            database.run(
                f"INSERT INTO root_case SELECT name || ', {column} is {label}', false,"
                f" {columns(**{column: value})} FROM base WHERE correct"
                f" AND (octet_length(root) < 1000 OR name LIKE '25_ of 1%')"
            )


def add_other_lengths(database):
    other = {
        "the first % of it": ("generate_series(0, octet_length(root) - 1)",
                              "substring(root FOR n)"),
        "% more bytes": ("unnest(ARRAY[1, 8, 39, 40, 41, 80, 256, 40 * 256])",
                         "root || decode(repeat('00', n), 'hex')"),
        "without byte %": ("generate_series(0, octet_length(root) - 1, 3)",
                           "overlay(root PLACING '' FROM n + 1 FOR 1)"),
        "without entry %": ("generate_series(112, octet_length(root) - 48, 40)",
                            "overlay(root PLACING '' FROM n + 1 FOR 40)"),
        "entry % twice": ("generate_series(112, octet_length(root) - 48, 40)",
                          "overlay(root PLACING substring(root FROM n + 1 FOR 40) FROM n FOR 0)"),
    }  # fmt: skip
    for name, (numbers, value) in other.items():
        label = name.replace("%", "' || n || '")
        # Without and with the created_at that the row would get from the bytes.
        for created_at in ("created_at", "NULL"):
            changed = columns(root=value, created_at=created_at)
            database.run(
                f"INSERT INTO root_case SELECT name || ', {label}', false, {changed}"
                f" FROM base, {numbers} n WHERE thorough OR n % 100 = 12 AND correct"
            )


def fill(database):
    rng = random.Random(SEED)
    database.run("CREATE TEMP TABLE base AS SELECT '' AS name, true AS thorough, true AS correct,"
                 " blob.* FROM graviton.blob WITH NO DATA")  # fmt: skip
    bases = list(sound(rng))
    for base in bases:
        base.manifest.put_pages(database)
    wrong = list(reshaped(rng))
    for some, correct in ((bases, True), (wrong, False)):
        database.run("COPY base (name, thorough, " + ", ".join(COLUMNS) + ") FROM STDIN",
                     [base.line() for base in some])  # fmt: skip
        database.run(f"UPDATE base SET correct = {correct} WHERE correct IS NULL")
    database.run(f"UPDATE base SET created_at = {DECODED['created_at']}")
    database.run("CREATE TEMP TABLE root_case AS SELECT name, correct, "
                 + ", ".join(COLUMNS) + " FROM base")  # fmt: skip
    database.run(FUNCTIONS)
    return bases


def test_the_trigger_refuses_what_the_functions_find_fault_with(database):
    fill(database)
    add_changed_bytes(database)
    add_changed_columns(database)
    add_other_lengths(database)
    database.run("CREATE TEMP TABLE tried AS SELECT name, correct, pg_temp.wanted(c) AS wanted,"
                 " pg_temp.happens(c) AS happens FROM root_case c")  # fmt: skip
    differ = database.run("SELECT name, wanted, happens FROM tried"
                          " WHERE wanted IS DISTINCT FROM happens")  # fmt: skip
    assert not differ, f"{len(differ)} roots: " + "\n".join(" | ".join(r) for r in differ[:9])
    wrong = database.run("SELECT name, wanted FROM tried WHERE correct AND wanted IS NOT NULL")
    assert not wrong, wrong
    total, accepted, kinds = database.run(
        "SELECT count(*), count(*) FILTER (WHERE wanted IS NULL),"
        " count(DISTINCT regexp_replace(wanted, '[0-9]+', '', 'g')) FROM tried"
    )[0]
    print(f"# {total} roots, {accepted} of them sound, {kinds} kinds of faults")
    assert int(total) > 5000 and int(accepted) > 300 and int(kinds) > 20
    assert database.value("SELECT count(*) FROM graviton.blob") == "0"


def test_usual_roots_are_accepted_without_asking_the_functions(database):
    bases = fill(database)
    database.run("""CREATE OR REPLACE FUNCTION graviton.manifest_root_fault(
        alg core.hash_alg, hash_bytes bytea, byte_length bigint, manifest_id uuid, sequence bigint,
        depth integer, block_count bigint, created_at timestamptz, root bytea) RETURNS text
        LANGUAGE sql RETURN 'asked'""")
    rows = database.run("SELECT name FROM root_case c WHERE correct"
                        " AND pg_temp.happens(c) IS NULL")  # fmt: skip
    accepted, usual = {name for name, in rows}, {base.name for base in bases if base.usual()}
    assert accepted == usual, accepted ^ usual


def test_no_role_of_a_session_leaves_roots_unchecked(database):
    """What replication applies is checked as well, but for pages: these may come later."""
    url = os.environ["GRAVITON_TEST_POSTGRES_ADMIN"].rsplit("/", 1)[0]
    admin = harness.Session(url + "/" + database.url.rsplit("/", 1)[1])
    try:
        admin.run("SET session_replication_role = replica")
        good = Manifest([3, 1, 2])
        admin.refused(good.changed(required=1).sql(), CHECK, "features")
        admin.refused(good.sql(manifest_id=f"'{uuid.uuid4()}'"), CHECK, "another manifest's id")
        admin.run(good.sql())
        for change in ("root = set_byte(root, 8, 1)", "depth = 1", "sequence = sequence + 1"):
            admin.refused(f"UPDATE graviton.blob SET {change}", CHECK, "never changes")
        paged = Manifest([3, 1, 2], per_page=1)
        admin.refused(paged.changed(entries=[(1, bytes(32))]).sql(), CHECK, "cannot begin")
        admin.run(paged.sql())
        admin.run("SET session_replication_role = origin")
        late = Manifest([3, 1, 2], per_page=1)
        admin.refused(late.sql(), CHECK, "cover 0 bytes")
    finally:
        admin.close()


if __name__ == "__main__":
    harness.main()
