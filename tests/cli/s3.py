#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Blocks in S3, as their users meet them: with metadata in PostgreSQL, where several processes work
on one store, or in RocksDB; and a message of its own for whatever is wrong."""

import base64
import hashlib
import os
import subprocess
import sys
import threading
import time

import harness
from harness import has, noise, same, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "service"))
import ceph
import postgres
import proxy

SERVER = None
GATEWAY = None
MADE = 0


def sql(statement, database):
    url = SERVER.url.replace("graviton@", "postgres@").rsplit("/", 1)[0] + "/" + database
    psql = [os.path.join(SERVER.bin, "psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]
    done = subprocess.run(psql + ["-c", statement, url], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{statement}: {done.stderr}"
    return done.stdout.strip()


def number():
    global MADE
    MADE += 1
    return MADE


def database(case):
    """A database of the test's own with the schema in it."""
    name = f"s3_{os.getpid()}_{number()}"
    sql(f"CREATE DATABASE {name} OWNER graviton", "postgres")
    url = SERVER.url.rsplit("/", 1)[0] + "/" + name
    case.run("migrate", "--meta", url)
    return name, url


def bucket():
    """A bucket of the test's own."""
    name = f"cli-{os.getpid()}-{number()}"
    GATEWAY.client().make_bucket(name)
    return name


def use(case, name, meta=None, prefix="/some/prefix"):
    """Makes the case's runs use this bucket; metadata in a database of its own unless named."""
    case.env.update(GATEWAY.environment())
    case.env["GRAVITON_BLOCKS"] = f"s3://{name}{prefix}"
    case.env["GRAVITON_META"] = meta or database(case)[1]
    case.env["GRAVITON_PG_TIMEOUT"] = "20"
    case.env["GRAVITON_S3_TIMEOUT"] = "20"


def keys(name, prefix=""):
    return list(GATEWAY.client().list(name, prefix))


def whole_life(case, name):
    data = noise(9 << 20)
    case.write("a", data)
    case.write("b", data[: 5 << 20] + b"edited" + data[5 << 20 :])
    rows = case.run("put", "a", "b", "--type", "text/x").rows()
    ids = [row[0] for row in rows]
    same(case.run("put", "a").rows()[0][0], ids[0])
    empty = case.put(b"")
    same(empty, harness.EMPTY)
    same(sorted(row[0] for row in case.run("ls").rows()), sorted(ids + [empty]))
    same(case.run("get", ids[0]).out, data)
    same(case.run("get", ids[0][:15]).out, data)
    same(case.run("get", "--range", "1000000-1999999", ids[1]).out, data[1000000:2000000])
    same(case.run("get", "--range", "-7", ids[0]).out, data[-7:])
    same(case.run("get", "--range", f"{5 << 20}-{(5 << 20) + 5}", ids[1]).out, b"edited")
    has(case.run("stat", ids[0]).out.decode(), "text/x")
    manifest = case.run("manifest", ids[0]).rows()
    assert 4 < len(manifest) < 20, manifest
    # One object a block, its bytes as they are, under the name that other programs know.
    stored = keys(name)
    algorithm, digest, size = manifest[0][-1].split(":")
    key = f"some/prefix/{algorithm}/{digest}-{size}"
    assert key in stored, (key, stored)
    same(GATEWAY.client().get(name, key), data[: int(size)])
    assert "some/prefix/graviton.json" in stored, stored
    case.run("verify", "--all")
    stats = dict(case.run("stats").rows())
    same((stats["blobs"], stats["missing_blocks"], stats["chunker"]), ("3", "0", "cdc:1M"))
    assert int(stats["unique_bytes"]) < 15 << 20, stats
    case.run("rm", ids[0])
    case.run("get", ids[0], expect=3)
    told = dict(case.run("gc", "--dry-run").rows())
    same(sorted(keys(name)), sorted(stored))
    done = dict(case.run("gc").rows())
    same(told, done)
    assert int(done["freed_blocks"]) > 0, done
    same(len(keys(name)), len(stored) - int(done["freed_blocks"]))
    same(dict(case.run("gc").rows())["freed_blocks"], "0")
    case.run("scrub")
    case.run("verify", "--all")
    same(case.run("put", "a").rows()[0][0], ids[0])
    same(case.run("get", ids[0]).out, data)
    assert not GATEWAY.client().uploads(name), "an upload was left open"


def test_with_postgresql(case):
    name = bucket()
    use(case, name)
    whole_life(case, name)


def test_with_rocksdb(case):
    name = bucket()
    use(case, name, "rocks:meta")
    whole_life(case, name)
    has(case.run("backup", "copy", expect=1).err, "only a store of files and RocksDB")


def test_bit_rot_is_found_and_healed(case):
    name = bucket()
    use(case, name)
    data = noise(3 << 20)
    blob = case.put(data)
    algorithm, digest, size = case.run("manifest", blob).rows()[1][-1].split(":")
    key = f"some/prefix/{algorithm}/{digest}-{size}"
    GATEWAY.rot(GATEWAY.parts(name, key)[0], 100)
    has(case.run("get", blob, expect=4).err, digest)
    result = case.run("scrub", expect=4)
    has(result.out.decode() + result.err, digest)
    stored = keys(name)
    assert key not in stored, stored
    assert f"some/prefix/.quarantine/{algorithm}/{digest}-{size}" in stored, stored
    has(case.run("verify", "--all", expect=4).out.decode(), digest)
    same(case.put(data), blob)
    case.run("verify", "--all")
    same(dict(case.run("gc").rows())["freed_aside"], "1")
    assert not keys(name, "some/prefix/.quarantine/"), "the copy is there still"
    # An object that lost its end is no block: the next put of its bytes heals it at once.
    GATEWAY.client().put(name, key, b"short")
    case.run("get", blob, expect=4)
    same(case.put(data), blob)
    same(case.run("get", blob).out, data)


def test_copies_in_and_out(case):
    name = bucket()
    _, meta = database(case)
    use(case, name, meta)
    blocks = case.env.pop("GRAVITON_BLOCKS")
    case.env.pop("GRAVITON_META")
    blobs = {}
    for i in range(60):
        blobs[f"f{i}"] = case.write(f"f{i}", noise(1700 * i, i)) and noise(1700 * i, i)
    rows = case.run("put", "--store", "s", *blobs).rows()
    there = ["--to-blocks", blocks, "--to-meta", meta]
    back = ["--from-blocks", blocks, "--from-meta", meta]
    case.run("cp", "--from", "s", *there, "--all")
    same({row[1] for row in case.run("cp", "--from", "s", *there, "--all").rows()}, {"present"})
    store = ["--blocks", blocks, "--meta", meta]
    has(case.run("stats", *store).out.decode(), "chunker\tcdc:1M")
    case.run("verify", "--all", *store)
    case.run("cp", *back, "--to", "back", "--all")
    for blob, path in rows:
        same(case.run("get", blob, "--store", "back").out, blobs[path])


def test_many_processes(case):
    """Writers at once, on the first store too; then a collector, which waits for nobody."""
    name = bucket()
    database_name, meta = database(case)
    use(case, name, meta)
    shared = noise(2 << 20)
    codes = []

    def put(i):
        data = shared + noise(1 << 20, i)
        end = time.monotonic() + 60
        while True:  # until the store is made
            result = case.run("put", "-", stdin=data, expect=None)
            if result.code != 5 or time.monotonic() > end:
                break
            time.sleep(0.1)
        codes.append((result.code, result.err))
        codes.append((0, "") if case.run("get", result.rows()[0][0]).out == data else (99, "read"))

    threads = [threading.Thread(target=put, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same({code for code, _ in codes}, {0})
    process = case.start("put", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    wait_until(lambda: sql("SELECT count(*) FROM graviton.session", database_name) == "1")
    has(case.run("gc", expect=5).err, f"pid {process.pid}", "(put)")
    process.communicate(b"late")
    same(process.returncode, 0)
    case.run("gc")
    same(len(case.run("ls").rows()), 5)
    case.run("verify", "--all")


def test_an_unconfirmed_removal_keeps_puts_out(case):
    for meta in (None, "rocks:meta"):
        name = bucket()
        use(case, name, meta)
        data = noise(2 << 20)
        keep = case.put(b"keep")
        case.run("rm", case.put(data))
        with proxy.Proxy(GATEWAY.url) as way:
            rule = way.on(proxy.drop_answer, method="POST", path=r"[?&]delete", times=None)
            through = {"AWS_ENDPOINT_URL": way.url, "GRAVITON_S3_TIMEOUT": "2"}
            for _ in range(20):  # its time may be over before it removes anything
                case.run("gc", env=through, expect=5)
                if rule.met:
                    break
            assert rule.met, "nothing was removed"
        has(case.run("put", "-", stdin=data, expect=5).err, "graviton gc")
        same(case.run("get", keep).out, b"keep")
        case.run("gc", "--dry-run")
        case.run("put", "-", stdin=data, expect=5)
        case.run("gc")
        same(case.run("get", case.put(data)).out, data)


def test_what_is_wrong_is_said(case):
    name = bucket()
    use(case, name)
    case.put(b"x")
    secret = GATEWAY.secret
    nobody = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    for env, code, words in (
        ({"AWS_SECRET_ACCESS_KEY": "open sesame"}, 7, ["secret"]),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, 7, ["key"]),
        ({"AWS_SECRET_ACCESS_KEY": ""}, 7, ["AWS_SECRET_ACCESS_KEY"]),
        ({"GRAVITON_BLOCKS": "s3://no-such-bucket-here/p"}, 3, ["no-such-bucket-here"]),
        (dict(nobody, GRAVITON_S3_TIMEOUT="1"), 5, ["127.0.0.1:1"]),
        ({"AWS_ENDPOINT_URL": "ftp://127.0.0.1:1"}, 2, ["http"]),
        ({"GRAVITON_BLOCKS": f"s3://{name}/some/../prefix"}, 2, [".."]),
        ({"GRAVITON_BLOCKS": f"s3://{name}/some/prefix?secret=sesame"}, 2, ["endpoint="]),
        ({"GRAVITON_S3_TIMEOUT": "soon"}, 2, ["GRAVITON_S3_TIMEOUT"]),
        ({"GRAVITON_S3_CONNECTIONS": "0"}, 2, ["GRAVITON_S3_CONNECTIONS"]),
    ):
        error = case.run("put", "-", stdin=b"y", env=env, expect=code).err
        has(error, *words)
        assert "sesame" not in error and secret not in error, error
        same(error.count("\n"), 1)
    same(len(case.run("ls").rows()), 1)
    blocks = case.env["GRAVITON_BLOCKS"]
    place = f"{blocks}?endpoint={GATEWAY.url}&region=eu-9&style=path&connections=3"
    same(len(case.run("ls", env=dict(nobody, GRAVITON_BLOCKS=place)).rows()), 1)


def test_halves_that_do_not_belong_together(case):
    name = bucket()
    use(case, name)
    blob = case.put(b"x" * 1000)
    case.run("rm", blob)  # what a collection would free
    _, empty = database(case)
    _, other = database(case)
    beside = {"GRAVITON_META": other, "GRAVITON_BLOCKS": f"s3://{name}/other"}
    case.run("put", "-", stdin=b"1", env=beside)
    stored = sorted(keys(name))
    for meta, words in ((empty, ["missing or empty"]), (other, ["belong to store"])):
        for command in (["put", "-"], ["gc"], ["ls"], ["scrub"], ["rm", blob]):
            has(case.run(*command, env={"GRAVITON_META": meta}, expect=8).err, *words)
    case.run("put", "-", stdin=b"2", env={"GRAVITON_META": "rocks:fresh"}, expect=8)
    env = {"GRAVITON_BLOCKS": f"s3://{name}/elsewhere"}
    has(case.run("put", "-", env=env, expect=8).err, "missing")
    same(sorted(keys(name)), stored)
    empty_name = empty.rsplit("/", 1)[1].split("?")[0]
    same(sql("SELECT count(*) FROM graviton.session", empty_name), "0")
    # Blocks without a name are nobody's to adopt.
    GATEWAY.client().remove(name, "some/prefix/graviton.json")
    has(case.run("put", "-", env={"GRAVITON_META": empty}, expect=8).err, "superblock")


def test_lifecycle_rules_are_warned_of(case):
    name = bucket()
    use(case, name)
    assert "lifecycle" not in case.run("put", "-").err
    rule = (
        b"<LifecycleConfiguration><Rule><ID>tidy up</ID><Status>Enabled</Status>"
        b"<Filter><Prefix>some/</Prefix></Filter><Expiration><Days>30</Days></Expiration>"
        b"</Rule></LifecycleConfiguration>"
    )
    digest = base64.b64encode(hashlib.md5(rule).digest()).decode()
    GATEWAY.client().call("PUT", name, query={"lifecycle": ""}, body=rule,
                          headers={"content-md5": digest})  # fmt: skip
    has(case.run("put", "-", stdin=b"1").err, "tidy up", "lifecycle")
    assert "lifecycle" not in case.run("ls").err


def test_variables_of_the_scala_server(case):
    _, meta = database(case)
    GATEWAY.client().make_bucket("graviton-blocks")
    place = meta.split("@")[1]
    env = {
        "GRAVITON_BLOB_BACKEND": "minio",
        "QUASAR_MINIO_URL": GATEWAY.url,
        "MINIO_ROOT_USER": GATEWAY.key_id,
        "MINIO_ROOT_PASSWORD": GATEWAY.secret,
        "PG_JDBC_URL": f"jdbc:postgresql://{place}",
        "PG_USERNAME": "graviton",
        "PG_PASSWORD": "x",
    }
    case.env.update(env)
    blob = case.put(b"1")
    has(" ".join(keys("graviton-blocks")), "cas/blocks/blake3/", "cas/blocks/graviton.json")
    same(case.run("get", blob, env={"GRAVITON_BLOB_BACKEND": "S3"}).out, b"1")
    name = bucket()
    other = {
        "GRAVITON_S3_BLOCK_BUCKET": name, "GRAVITON_S3_BLOCK_PREFIX": "p",
        "GRAVITON_S3_REGION": "eu-1",
        "PG_JDBC_URL": "jdbc:postgresql://" + database(case)[1].split("@")[1],
    }  # fmt: skip
    case.run("put", "-", stdin=b"2", env=other)
    has(" ".join(keys(name)), "p/blake3/", "p/graviton.json")
    case.run("ls", env=dict(other, MINIO_ROOT_PASSWORD="wrong"), expect=7)


def main():
    global SERVER, GATEWAY
    harness.work_in_memory()
    try:
        with postgres.Server() as SERVER, ceph.Server() as GATEWAY:
            harness.main()
    except (postgres.Missing, ceph.Missing) as missing:
        if os.environ.get("GRAVITON_CI") == "1":
            raise
        print(f"1..0 # SKIP {missing}")


if __name__ == "__main__":
    main()
