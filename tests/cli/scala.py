#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A deployment of the Scala system, read and imported: its rows are written by SQL and its block
files by hand. What is wrong in them is told with the blob's name, and nothing is ever written."""

import hashlib
import os
import subprocess
import sys

import harness
from harness import has, noise, same

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "service"))
import postgres

SERVER = None
MADE = 0

# As that system has them, but for what only its own writers need.
TABLES = """
CREATE SCHEMA core;
CREATE SCHEMA graviton;
CREATE TYPE core.hash_alg AS ENUM ('sha256', 'blake3');
CREATE DOMAIN core.byte_size AS bigint CHECK (VALUE >= 0);
CREATE TABLE graviton.blob (
  alg core.hash_alg NOT NULL, hash_bytes bytea NOT NULL, byte_length core.byte_size NOT NULL,
  created_at timestamptz NOT NULL DEFAULT '2024-05-06 07:08:09Z', block_count int NOT NULL,
  chunker jsonb NOT NULL DEFAULT '{}', attrs jsonb NOT NULL DEFAULT '{}',
  PRIMARY KEY (alg, hash_bytes, byte_length));
CREATE TABLE graviton.blob_block (
  alg core.hash_alg NOT NULL, hash_bytes bytea NOT NULL, byte_length core.byte_size NOT NULL,
  ordinal int NOT NULL, block_alg core.hash_alg NOT NULL, block_hash_bytes bytea NOT NULL,
  block_byte_length core.byte_size NOT NULL, block_offset core.byte_size NOT NULL,
  block_length core.byte_size NOT NULL,
  PRIMARY KEY (alg, hash_bytes, byte_length, ordinal));
"""
# No keys, no counts, no times, other types and spellings.
PLAIN_TABLES = """
CREATE SCHEMA graviton;
CREATE TABLE graviton.blob (alg text, hash_bytes bytea, byte_length int);
CREATE TABLE graviton.blob_block (alg varchar(20), hash_bytes bytea, byte_length numeric,
  ordinal bigint, block_alg text, block_hash_bytes bytea, block_byte_length int,
  block_offset bigint, block_length int);
"""


def sql(script, database, role="graviton"):
    url = SERVER.url.replace("graviton@", role + "@").rsplit("/", 1)[0] + "/" + database
    psql = [os.path.join(SERVER.bin, "psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]
    done = subprocess.run(psql + ["-1", "-f", "-", url], input=script, capture_output=True,
                          text=True, timeout=60)  # fmt: skip
    assert done.returncode == 0, f"{script[:1000]}: {done.stderr}"
    return done.stdout.strip()


def database():
    """An empty database; its name and URL."""
    global MADE
    MADE += 1
    name = f"scala_{os.getpid()}_{MADE}"
    url = SERVER.url.rsplit("/", 1)[0] + "/" + name
    make = [os.path.join(SERVER.bin, "psql"), "-X", "-q", "-c", f"CREATE DATABASE {name}"]
    same(subprocess.run(make + [SERVER.url], timeout=60).returncode, 0)
    return name, url


def cut(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


class Deployment:
    def __init__(self, case, plain=False):
        self.case, self.plain = case, plain
        self.name, self.url = database()
        sql(PLAIN_TABLES if plain else TABLES, self.name)
        self.directory = os.path.join(case.directory, "deployment")
        for alg in ("sha256", "blake3"):
            os.makedirs(os.path.join(self.directory, "cas/blocks", alg), exist_ok=True)
        self.place = ["--blocks", "fs:" + self.directory, "--meta", "scala:" + self.url]
        self.source = ["--from-blocks", "fs:" + self.directory, "--from-meta", "scala:" + self.url]
        self.blobs = {}

    def digests(self, alg, pieces):
        if alg == "sha256":
            return [hashlib.sha256(piece).hexdigest() for piece in pieces]
        names = []
        for number, piece in enumerate(pieces):
            self.case.write(f"pieces/{number}", piece)
            names.append(f"pieces/{number}")
        rows = self.case.run("put", "--store", "pieces-store", *names).rows()
        return [row[0].split(":")[1] for row in rows]

    def block_path(self, alg, digest, size):
        return os.path.join(self.directory, "cas/blocks", alg, f"{digest}-{size}")

    def add(self, alg, data, pieces, block_alg=None):
        """Writes a blob that was cut so; returns its id."""
        block_alg = block_alg or alg
        assert b"".join(pieces) == data
        (digest,) = self.digests(alg, [data])
        blocks = self.digests(block_alg, pieces) if pieces else []
        spelled, block_spelled = alg, block_alg
        if self.plain:
            spelling = {"sha256": "SHA-256", "blake3": "Blake3"}
            spelled, block_spelled = spelling[alg], spelling[block_alg]
        key = f"'{spelled}', '\\x{digest}', {len(data)}"
        more = ("", "") if self.plain else (", block_count", f", {len(pieces)}")
        rows, at = [], 0
        for ordinal, (block, piece) in enumerate(zip(blocks, pieces)):
            with open(self.block_path(block_alg, block, len(piece)), "wb") as file:
                file.write(piece)
            size = len(piece)
            rows.append(
                f"({key}, {ordinal}, '{block_spelled}', '\\x{block}', {size}, {at}, {size})"
            )
            at += size
        script = f"INSERT INTO graviton.blob (alg, hash_bytes, byte_length{more[0]}) "
        script += f"VALUES ({key}{more[1]});\n"
        if rows:
            script += "INSERT INTO graviton.blob_block VALUES " + ",\n".join(rows) + ";\n"
        sql(script, self.name)
        blob = f"{alg}:{digest}:{len(data)}"
        self.blobs[blob] = data
        return blob

    def fill(self, alg):
        """An empty blob, one block, repeated blocks, blocks of many sizes, and 3000 blocks."""
        once = noise(5000, 1)
        repeated = noise(700, 2) * 40 + noise(300, 3)
        uneven = noise(100000, 4)
        sizes, pieces, at = [1, 70000, 999, 29000], [], 0
        for size in sizes:
            pieces.append(uneven[at : at + size])
            at += size
        many = noise(3000 * 111 - 50, 5)
        return [
            self.add(alg, b"", []),
            self.add(alg, once, [once]),
            self.add(alg, repeated, cut(repeated, 700)),
            self.add(alg, uneven, pieces),
            self.add(alg, many, cut(many, 111)),
        ]

    def change(self, blob, statement):
        """Runs SQL with KEY standing for the blob's."""
        alg, digest, size = blob.split(":")
        key = f"alg = '{alg}' AND hash_bytes = '\\x{digest}' AND byte_length = {size}"
        sql(statement.replace("KEY", key), self.name)


def order(blobs):
    """Keys in their order: blake3 before sha256, then by digest."""
    return sorted(blobs)


def check(case, place, blobs):
    same([row[0] for row in case.run("ls", *place).rows()], order(blobs))
    for blob, data in blobs.items():
        same(case.run("get", blob, *place).out, data)
    case.run("verify", "--all", *place)


def look(case, deployment):
    """Everything that reads, on a deployment with both algorithms."""
    place = deployment.place
    check(case, place, deployment.blobs)
    for blob, data in deployment.blobs.items():
        prefix = blob.split(":")[1][:12]
        stat = dict(case.run("stat", prefix, *place).rows())
        same((stat["id"], stat["size_bytes"]), (blob, str(len(data))))
        blocks = case.run("manifest", blob, *place).rows()
        same(stat["blocks"], str(len(blocks)))
        for first, last in ((0, 0), (699, 700), (2500, 2799), (70001, 71000), (332940, 332949)):
            if last < len(data):
                part = case.run("get", "--range", f"{first}-{last}", blob, *place).out
                same(part, data[first : last + 1])
        if len(data) > 200:
            same(case.run("get", "--range", "-200", blob, *place).out, data[-200:])
    stats = dict(case.run("stats", *place).rows())
    same((stats["blobs"], stats["missing_blocks"]), (str(len(deployment.blobs)), "0"))
    same(stats["unreferenced_blocks"], "0")
    case.run("get", "blake3:" + "00" * 32 + ":7", *place, expect=3)
    case.run("get", "blake3:00000000", *place, expect=3)
    case.run("get", "00000000", *place, expect=3)
    has(case.run("ls", "--newest", *place, expect=1).err, "newest")


def test_reading(case):
    deployment = Deployment(case)
    deployment.fill("sha256")
    deployment.fill("blake3")
    mixed = noise(9000, 9)
    deployment.add("blake3", mixed, cut(mixed, 1000), "sha256")
    look(case, deployment)
    many = [row for row in case.run("ls", "-l", *deployment.place).rows() if row[3] == "3000"]
    same(len(many), 2)
    has(many[0][2], "2024-05-06T07:08:09")


def test_other_types(case):
    deployment = Deployment(case, plain=True)
    deployment.fill("sha256")
    deployment.fill("blake3")
    look(case, deployment)


def test_one_connection_and_another_prefix(case):
    deployment = Deployment(case)
    deployment.fill("blake3")
    case.env["GRAVITON_PG_CONNECTIONS"] = "1"
    os.rename(os.path.join(deployment.directory, "cas"), case.path("elsewhere"))
    os.makedirs(os.path.join(deployment.directory, "deep"))
    os.rename(case.path("elsewhere/blocks"), os.path.join(deployment.directory, "deep/er"))
    place = ["--blocks", f"fs:{deployment.directory}?prefix=deep/er", *deployment.place[2:]]
    check(case, place, deployment.blobs)


def test_import(case):
    for alg in ("blake3", "sha256"):
        deployment = Deployment(case)
        deployment.fill(alg)
        _, url = database()
        case.run("migrate", "--meta", url)
        ids = order(deployment.blobs)
        targets = [(["--to", f"t-{alg}"], ["--store", f"t-{alg}"])]
        place = ["--blocks", f"fs:{case.directory}/b-{alg}", "--meta", url]
        targets.append((["--to-blocks", place[1], "--to-meta", url], place))
        for to, place in targets:
            words = ["cp", *deployment.source, *to, "--all"]
            same(case.run(*words, "--dry-run").rows(), [[blob, "absent"] for blob in ids])
            same(sorted(case.run(*words).rows()), [[blob, "copied"] for blob in ids])
            same(sorted(case.run(*words).rows()), [[blob, "present"] for blob in ids])
            check(case, place, deployment.blobs)
        same(case.run("cp", *deployment.source, "--to", "one", ids[2][:20]).rows(),
             [[ids[2], "copied"]])  # fmt: skip
        case.run("rm", ids[2], "--store", "one")
        other = "sha256" if alg == "blake3" else "blake3"
        words = ["cp", *deployment.source, "--to", f"t-{alg}", "--all", "--hash", other]
        has(case.run(*words, expect=8).err, other)
        case.run("ls", *deployment.place, "--hash", other, expect=8)
        subprocess.run(["rm", "-r", case.path("one"), deployment.directory], check=True)


def test_import_of_both_algorithms(case):
    deployment = Deployment(case)
    deployment.fill("sha256")
    deployment.fill("blake3")
    for alg, options in (("blake3", []), ("sha256", ["--hash", "sha256"])):
        mine = {blob: data for blob, data in deployment.blobs.items() if blob.startswith(alg)}
        others = [blob for blob in deployment.blobs if blob not in mine]
        words = ["cp", *deployment.source, "--to", alg, *options, "--all"]
        for outcome in ("absent", "copied", "present"):
            more = ["--dry-run"] if outcome == "absent" else []
            result = case.run(*words, *more, expect=1)
            same(sorted(result.rows()), [[blob, outcome] for blob in order(mine)])
            has(result.err, *others, "5 failed")
        has(case.run(*words[:-1], others[1], expect=8).err, others[1], alg)
        check(case, ["--store", alg], mine)


def test_pages_of_a_list(case):
    deployment = Deployment(case)
    blobs = []
    rows = []
    for alg in ("sha256", "blake3"):
        for number in range(600):
            digest = hashlib.sha256(b"%s %d" % (alg.encode(), number)).hexdigest()
            for size in (0, 7) if number == 300 else (7,):
                blobs.append(f"{alg}:{digest}:{size}")
                key = f"'{alg}', '\\x{digest}', {size}"
                rows.append(f"INSERT INTO graviton.blob (alg, hash_bytes, byte_length, block_count)"
                            f" VALUES ({key}, {int(size > 0)});")  # fmt: skip
                if size:
                    rows.append(f"INSERT INTO graviton.blob_block VALUES ({key}, 0, '{alg}', "
                                f"'\\x{digest}', 7, 0, 7);")  # fmt: skip
    sql("\n".join(rows), deployment.name)
    same([row[0] for row in case.run("ls", *deployment.place).rows()], order(blobs))
    for blob in blobs[::151]:
        prefix = blob.rsplit(":", 1)[0][:30]
        same(dict(case.run("stat", prefix, *deployment.place).rows())["id"], blob)


def snapshot(deployment):
    files = sorted((path, sorted(names)) for path, _, names in os.walk(deployment.directory))
    tables = sql("SELECT b FROM graviton.blob b ORDER BY 1; SELECT k FROM graviton.blob_block k "
                 "ORDER BY 1; SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON "
                 "relnamespace = n.oid ORDER BY 1, 2;", deployment.name)  # fmt: skip
    return files, tables


def test_nothing_is_written(case):
    deployment = Deployment(case)
    blob = deployment.fill("blake3")[1]
    before = snapshot(deployment)
    place = deployment.place
    case.write("f", b"bytes")
    for words in (["put", "f"], ["rm", blob], ["scrub"], ["gc"], ["backup", "copy"]):
        has(case.run(*words, *place, expect=1).err, "can only be read")
    same(case.run("put", "f", "--json", *place, expect=1).error()["status"], "unsupported")
    has(case.run("gc", "--dry-run", *place, expect=1).err, "can only be read")
    case.put(b"bytes", "--store", "s")
    to = ["--to-blocks", place[1], "--to-meta", place[3]]
    for more in ([], ["--dry-run"]):
        result = case.run("cp", "--from", "s", *to, "--all", *more, expect=1)
        has(result.err, "target", "can only be read")
    has(case.run("cp", *deployment.source, *to, "--all", expect=1).err, "can only be read")
    has(case.run("migrate", "--meta", deployment.url, expect=8).err, "scala:postgresql://")
    case.run("verify", "--all", *place)
    case.run("cp", *deployment.source, "--to", "t", "--all")
    same(snapshot(deployment), before)
    assert not os.path.exists(case.path("copy"))


DAMAGE = {
    "gap": ("DELETE FROM graviton.blob_block WHERE KEY AND ordinal = 2", 4, "block 2 has no row"),
    "first": ("DELETE FROM graviton.blob_block WHERE KEY AND ordinal = 0", 4, "block 0"),
    "offset": ("UPDATE graviton.blob_block SET block_offset = block_offset + 1 "
               "WHERE KEY AND ordinal = 2", 4, "block 2 begins at byte 2001, not at 2000"),
    "total": ("DELETE FROM graviton.blob_block WHERE KEY AND ordinal = 4;"
              "UPDATE graviton.blob SET block_count = 4 WHERE KEY", 4, "should end at 5000"),
    "count": ("UPDATE graviton.blob SET block_count = 6 WHERE KEY", 4, "counts 6 blocks"),
    "none": ("DELETE FROM graviton.blob_block WHERE KEY", 4, "no row of it"),
    "hash": ("UPDATE graviton.blob_block SET block_hash_bytes = substring(block_hash_bytes, 1, 31) "
             "WHERE KEY AND ordinal = 3", 4, "block 3 has a hash of 31 bytes, not 32"),
    "long": ("UPDATE graviton.blob_block SET block_hash_bytes = block_hash_bytes || '\\x00' "
             "WHERE KEY AND ordinal = 3", 4, "at least 33 bytes"),
    "part": ("UPDATE graviton.blob_block SET block_byte_length = 1001 WHERE KEY AND ordinal = 1",
             1, "in part, 1000 of 1001 bytes"),
    "more": ("UPDATE graviton.blob_block SET block_byte_length = 999 WHERE KEY AND ordinal = 1",
             4, "block 1 has 999 bytes"),
    "far": ("UPDATE graviton.blob_block SET block_length = 9223372036854775807, "
            "block_offset = 9223372036854775807 WHERE KEY AND ordinal = 4", 4, "last block"),
    "ordinal": ("UPDATE graviton.blob_block SET ordinal = ordinal - 1 WHERE KEY", 4, "counts 5"),
    "late": ("UPDATE graviton.blob_block SET ordinal = 9 WHERE KEY AND ordinal = 4;"
             "UPDATE graviton.blob SET block_count = 10 WHERE KEY", 4, "block 4 has no row"),
    "swap": ("UPDATE graviton.blob_block SET ordinal = 1000 WHERE KEY AND ordinal = 1;"
             "UPDATE graviton.blob_block SET ordinal = 1, block_offset = 1000 "
             "WHERE KEY AND ordinal = 2;"
             "UPDATE graviton.blob_block SET ordinal = 2, block_offset = 2000 "
             "WHERE KEY AND ordinal = 1000", 4, ""),
    "lost": (None, 4, "block"),
    "flipped": (None, 4, "hash to"),
}  # fmt: skip


def damage(case, deployment):
    """One blob for each kind of damage; name to id."""
    found = {}
    for seed, (kind, (statement, _, _)) in enumerate(DAMAGE.items()):
        data = noise(5000, 100 + seed)
        pieces = cut(data, 1000)
        found[kind] = deployment.add("sha256", data, pieces)
        if statement:
            deployment.change(found[kind], statement)
        path = deployment.block_path("sha256", hashlib.sha256(pieces[2]).hexdigest(), 1000)
        if kind == "lost":
            os.unlink(path)
        if kind == "flipped":
            with open(path, "r+b") as file:
                file.write(bytes([pieces[2][0] ^ 1]))
    return found


def test_damage(case):
    deployment = Deployment(case)
    good = {}
    for seed in range(3):
        data = noise(4000, seed)
        good[deployment.add("sha256", data, cut(data, 600))] = data
    bad = damage(case, deployment)
    short = "ab" * 31
    sql(f"INSERT INTO graviton.blob (alg, hash_bytes, byte_length, block_count) VALUES "
        f"('sha256', '\\x{short}', 5, 1), ('sha256', '\\x{'ff' * 40}', 5, 1), "
        f"('sha256', '\\x{'cd' * 40}', 5, 1)", deployment.name)  # fmt: skip
    names = [*bad.values(), f"sha256:{short}:5", f"sha256:{'ff' * 32}…:5", f"sha256:{'cd' * 32}…:5"]
    place = deployment.place
    for kind, blob in bad.items():
        _, code, hint = DAMAGE[kind]
        copy = ["cp", *deployment.source, "--to", "one", blob]
        for words in (["get", blob, *place], ["verify", blob, *place], copy):
            result = case.run(*words, expect=code)
            has(result.out.decode() + result.err, blob, hint)
    listed = case.run("ls", *place, expect=4)
    assert set(good) <= {row[0] for row in listed.rows()}, listed
    has(listed.err, *names[-3:], bad["total"], bad["none"])
    result = case.run("verify", "--all", *place, expect=None)
    assert result.code in (1, 4), result
    told = result.out.decode() + result.err
    has(told, *names)
    for _ in range(2):
        result = case.run("cp", *deployment.source, "--to", "t", "--all", expect=1)
        same(sorted(row[0] for row in result.rows()), order(good))
        has(result.err, *names, f"{len(names)} failed")
    check(case, ["--store", "t"], good)
    # From the middle on only what is needed is read, and what it is believed from is well.
    part = case.run("get", "--range", "3000-3999", bad["first"], *place).out
    same(part, noise(5000, 101)[3000:4000])
    case.run("get", "--range", "2500-3999", bad["gap"], *place, expect=4)


def test_unknown_algorithms(case):
    deployment = Deployment(case, plain=True)
    data = noise(3000, 1)
    blob = deployment.add("sha256", data, cut(data, 1000))
    other = noise(3000, 2)
    bad = deployment.add("blake3", other, cut(other, 1000))
    sql("UPDATE graviton.blob_block SET block_alg = 'md5' WHERE alg = 'Blake3' AND ordinal = 1;"
        "INSERT INTO graviton.blob VALUES ('md5', '\\x00112233445566778899aabbccddeeff', 3), "
        "('sha512', decode(repeat('77', 64), 'hex'), 4)", deployment.name)  # fmt: skip
    listed = case.run("ls", *deployment.place, expect=1)
    same([row[0] for row in listed.rows()], [bad, blob])
    has(listed.err, "md5:00112233445566778899aabbccddeeff:3", "sha512:" + "77" * 32 + "…:4")
    has(case.run("get", bad, *deployment.place, expect=1).err, bad, "md5")
    result = case.run("cp", *deployment.source, "--to", "t", "--hash", "sha256", "--all", expect=1)
    same(result.rows(), [[blob, "copied"]])
    has(result.err, "md5:0011", "sha512:77", bad, "3 failed")
    sql("INSERT INTO graviton.blob VALUES ('sha256', '\\x00', 1)", deployment.name)
    has(case.run("ls", *deployment.place, expect=8).err, "SHA-256", "sha256", "two ways")


def test_what_is_wrong_is_said(case):
    deployment = Deployment(case)
    place = deployment.place
    same(case.run("ls", *place).out, b"")
    case.run("cp", *deployment.source, "--to", "empty", "--all")
    case.put(b"x", "--store", "empty")
    name, url = database()
    has(case.run("ls", *place[:2], "--meta", "scala:" + url, expect=8).err, "no table", name)
    case.run("migrate", "--meta", url)
    has(case.run("ls", *place[:2], "--meta", "scala:" + url, expect=8).err, 'without "scala:"')
    has(case.run("ls", *place[:2], "--meta", deployment.url, expect=8).err, "scala:postgresql://")
    has(case.run("ls", "--blocks", "fs:nowhere", *place[2:], expect=3).err, "no blocks in nowhere")
    for blocks, meta in (("kv:", place[3]), ("memory:", place[3]), (place[1], "scala:rocks:x"),
                         (place[1], "scala:"), (place[1], "scala:scala:" + url)):  # fmt: skip
        has(case.run("ls", "--blocks", blocks, "--meta", meta, expect=2).err, "scala:")
    secret = "scala:postgresql://u:sesame@127.0.0.1:1/x"
    error = case.run("ls", *place[:2], "--meta", secret, expect=5,
                     env={"GRAVITON_PG_TIMEOUT": "1"}).err  # fmt: skip
    has(error, "127.0.0.1:1")
    assert "sesame" not in error, error
    error = case.run("ls", *place[:2], "--meta", "scala:mysql://u:sesame@h/x", expect=2).err
    assert "sesame" not in error, error
    role = f"reader_{deployment.name}"
    sql(f"CREATE ROLE {role} LOGIN", "postgres", "postgres")
    meta = place[3].replace("graviton@", role + "@")
    has(case.run("ls", *place[:2], "--meta", meta, expect=7).err, "GRANT")
    sql(f"GRANT USAGE ON SCHEMA graviton TO {role};"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA graviton TO {role}", deployment.name)  # fmt: skip
    deployment.fill("blake3")
    same(len(case.run("verify", "--all", *place[:2], "--meta", meta).rows()), 5)


def main():
    global SERVER
    try:
        SERVER = postgres.Server()
    except postgres.Missing as missing:
        print(f"1..0 # SKIP {missing}")
        return
    try:
        harness.main()
    finally:
        SERVER.close()


if __name__ == "__main__":
    main()
