#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A store with its metadata in PostgreSQL, as its users meet it: everything that a store on one
machine does, several processes at once, and a message of its own for whatever is wrong."""

import os
import subprocess
import sys
import threading

import harness
from harness import has, noise, same, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "service"))
import postgres

SERVER = None
MADE = 0


def sql(statement, database, role="postgres"):
    url = SERVER.url.replace("graviton@", role + "@").rsplit("/", 1)[0] + "/" + database
    psql = [os.path.join(SERVER.bin, "psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]
    done = subprocess.run(psql + ["-c", statement, url], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{statement}: {done.stderr}"
    return done.stdout.strip()


def reload_settings():
    """Has the server read its files again, and waits until new connections go by them."""
    loaded = "SELECT pg_conf_load_time()"
    before = sql(loaded, "postgres")
    sql("SELECT pg_reload_conf()", "postgres")
    wait_until(lambda: sql(loaded, "postgres") != before)


def database(case, migrated=True):
    """A database of the test's own; its URL."""
    global MADE
    MADE += 1
    name = f"cli_{os.getpid()}_{MADE}"
    sql(f"CREATE DATABASE {name} OWNER graviton", "postgres")
    url = SERVER.url.rsplit("/", 1)[0] + "/" + name
    if migrated:
        case.run("migrate", "--meta", url)
    return name, url


def use(case, url, blocks=None):
    """Makes the case's runs use this store."""
    case.env["GRAVITON_META"] = url
    case.env["GRAVITON_BLOCKS"] = blocks or "fs:" + os.path.join(case.directory, "blocks")
    case.env["GRAVITON_PG_TIMEOUT"] = "20"


def whole_life(case):
    data = noise(3 << 20)
    case.write("a", data)
    case.write("b", data[: 2 << 20] + b"edited" + data[2 << 20 :])
    rows = case.run("put", "a", "b", "--type", "text/x").rows()
    ids = [row[0] for row in rows]
    same(case.run("put", "a").rows()[0][0], ids[0])
    empty = case.put(b"")
    same(empty, harness.EMPTY)
    same(sorted(row[0] for row in case.run("ls").rows()), sorted(ids + [empty]))
    same([row[0] for row in case.run("ls", "--newest").rows()][0], empty)
    same(case.run("get", ids[0]).out, data)
    same(case.run("get", ids[0][:15]).out, data)
    same(case.run("get", "--range", "1000000-1999999", ids[1]).out, data[1000000:2000000])
    assert len(case.run("manifest", ids[0]).rows()) > 10
    has(case.run("stat", ids[0]).out.decode(), "text/x")
    case.run("verify", "--all")
    before = dict(case.run("stats").rows())
    same(before["blobs"], "3")
    case.run("rm", ids[0])
    case.run("get", ids[0], expect=3)
    told = dict(case.run("gc", "--dry-run").rows())
    done = dict(case.run("gc").rows())
    same(told, done)
    assert int(done["freed_blocks"]) > 0, done
    same(dict(case.run("gc").rows())["freed_blocks"], "0")
    same(dict(case.run("stats").rows())["unreferenced_blocks"], "0")
    case.run("scrub")
    case.run("verify", "--all")
    same(case.run("put", "a").rows()[0][0], ids[0])
    same(case.run("get", ids[0]).out, data)


def test_blocks_in_files(case):
    _, url = database(case)
    use(case, url)
    whole_life(case)


def test_blocks_in_the_database(case):
    _, url = database(case)
    use(case, url, "kv:")
    whole_life(case)


def test_one_connection(case):
    _, url = database(case)
    use(case, url)
    case.env["GRAVITON_PG_CONNECTIONS"] = "1"
    whole_life(case)


def test_copies_in_and_out(case):
    """From one machine's store and back, killed on the way in; ids, bytes and attributes stay."""
    _, url = database(case)
    blobs = {}
    for i in range(120):
        case.write(f"f{i}", noise(700 * i, i))
        blobs[f"f{i}"] = noise(700 * i, i)
    rows = case.run("put", "--type", "text/x", "--store", "s", *blobs).rows()
    blobs = {row[0]: blobs[row[1]] for row in rows}
    place = ["--blocks", "fs:b", "--meta", url]
    words = ["cp", "--from", "s", "--to-blocks", "fs:b", "--to-meta", url, "--all"]
    acknowledged = set()
    for _ in range(3):
        process = case.start(*words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for number, line in enumerate(process.stdout):
            blob, outcome = line.decode().split()
            if outcome == "copied":
                assert blob not in acknowledged, f"{blob} was copied twice"
                acknowledged.add(blob)
            if number > len(acknowledged) // 2 + 5:
                process.kill()
        process.wait()
        process.stdout.close()
    found = {row[0]: row[1] for row in case.run(*words).rows()}
    same(sorted(found), sorted(blobs))
    same([blob for blob in acknowledged if found[blob] != "present"], [])
    case.run("verify", "--all", *place)
    # Two stores of one database server at once, with one connection each.
    _, other = database(case)
    out = ["cp", "--from-blocks", "fs:b", "--from-meta", url]
    case.run(*out, "--to-blocks", "kv:", "--to-meta", other, "--all",
             env={"GRAVITON_PG_CONNECTIONS": "1"})  # fmt: skip
    case.run("verify", "--all", "--blocks", "kv:", "--meta", other)
    case.run(*out, "--to", "back", "--all")
    for blob in list(blobs)[::20]:
        same(case.run("get", blob, "--store", "back").out, blobs[blob])
        has(case.run("stat", blob, "--store", "back").out.decode(), "content-type\ttext/x")
    same(len(case.run("verify", "--all", "--store", "back").rows()), len(blobs))
    # The same database twice is one store, under whatever address.
    result = case.run(*out, "--to-blocks", "fs:b", "--to-meta", url + "?application_name=x",
                      "--all", expect=8)  # fmt: skip
    has(result.err, "same store")


def test_migrate(case):
    name, url = database(case, migrated=False)
    use(case, url)
    pending = case.run("migrate", "--status", expect=8).rows()
    assert pending and all(row[2] == "pending" for row in pending), pending
    has(case.run("migrate", "--dry-run").out.decode(), "CREATE TABLE graviton.blob")
    has(case.run("put", "-", expect=8).err, "no graviton schema", "graviton migrate")
    applied = case.run("migrate").rows()
    same([row[2] for row in applied], ["applied"] * len(pending))
    same([row[2] for row in case.run("migrate").rows()], ["there"] * len(pending))
    case.run("migrate", "--status")
    objects = case.run("migrate", "--json").objects()
    same([entry["state"] for entry in objects], ["there"] * len(pending))
    case.put(b"x")
    sql("INSERT INTO graviton.schema_migration VALUES (900, 'later', 'x', 'y')", name)
    has(case.run("ls", expect=8).err, "newer")
    has(case.run("migrate", expect=8).err, "newer")
    sql("DELETE FROM graviton.schema_migration WHERE version IN (2, 900)", name)
    sql(f"DELETE FROM graviton.schema_migration WHERE version >= {len(pending)}", name)
    has(case.run("ls", expect=8).err, "older", "graviton migrate")
    case.run("migrate", "--meta", "rocks:x", expect=2)


def test_what_is_wrong_is_said(case):
    name, url = database(case)
    use(case, url)
    case.put(b"x")
    base = url.rsplit("/", 1)[0]
    meta = {"GRAVITON_META": base + "/missing_one"}
    has(case.run("ls", env=meta, expect=3).err, "missing_one")
    meta = {"GRAVITON_META": url.replace("graviton@", "nobody_such@")}
    has(case.run("ls", env=meta, expect=7).err, "nobody_such")
    meta = {"GRAVITON_META": f"postgresql://graviton:sesame@127.0.0.1:1/{name}"}
    error = case.run("ls", env=dict(meta, GRAVITON_PG_TIMEOUT="1"), expect=5).err
    assert "sesame" not in error, error
    has(error, "127.0.0.1:1")
    error = case.run("ls", "--blocks", "kv:", "--meta", "postgresql://u:sesame@[x", expect=2).err
    assert "sesame" not in error, error
    role = f"reader_{name}"
    sql(f"CREATE ROLE {role} LOGIN", "postgres")
    meta = {"GRAVITON_META": url.replace("graviton@", role + "@")}
    has(case.run("ls", env=meta, expect=7).err, "may not use schema", "USAGE")
    sql(f"GRANT USAGE ON SCHEMA graviton, core TO {role}", name)
    sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA graviton TO {role}", name)
    same(len(case.run("ls", env=meta).rows()), 1)
    case.run("verify", "--all", env=meta)
    has(case.run("put", "-", stdin=b"y", env=meta, expect=7).err, "permission")


def test_a_password_is_checked_and_hidden(case):
    name, _ = database(case)
    with open(os.path.join(SERVER.directory, "data", "pg_hba.conf"), "r+", encoding="ascii") as hba:
        rules = hba.read()
        hba.seek(0)
        hba.write(f"host {name} locked 127.0.0.1/32 scram-sha-256\n" + rules)
    try:
        sql("DROP ROLE IF EXISTS locked", "postgres")
        sql("CREATE ROLE locked LOGIN PASSWORD 'open sesame'", "postgres")
        sql("GRANT graviton TO locked", "postgres")
        reload_settings()
        place = SERVER.url.split("@")[1].rsplit("/", 1)[0] + "/" + name
        use(case, f"postgresql://locked@{place}")
        has(case.run("ls", expect=7).err, "password")
        error = case.run("ls", env={"PGPASSWORD": "wrong one"}, expect=7).err
        has(error, "password")
        assert "wrong one" not in error, error
        case.run("put", "-", stdin=b"z", env={"PGPASSWORD": "open sesame"})
        jdbc = {
            "GRAVITON_META": "", "GRAVITON_BLOCKS": "", "GRAVITON_BLOB_BACKEND": "fs",
            "GRAVITON_FS_ROOT": os.path.join(case.directory, "blocks"),
            "PG_JDBC_URL": f"jdbc:postgresql://{place}",
            "PG_USERNAME": "locked", "PG_PASSWORD": "open sesame",
        }  # fmt: skip
        same(len(case.run("ls", env=jdbc).rows()), 1)
        secret = f"postgresql://locked:open%20sesame@{place}"
        process = case.start(
            "put", "-", "--meta", secret, "--blocks", case.env["GRAVITON_BLOCKS"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        shown = f"/proc/{process.pid}/cmdline"
        wait_until(lambda: b"xxx@" in open(shown, "rb").read())
        assert b"sesame" not in open(shown, "rb").read()
        process.communicate(b"more")
        same(process.returncode, 0)
    finally:
        path = os.path.join(SERVER.directory, "data", "pg_hba.conf")
        with open(path, "w", encoding="ascii") as hba:
            hba.write(rules)
        reload_settings()


def test_halves_that_do_not_belong_together(case):
    _, first = database(case)
    _, second = database(case)
    use(case, first)
    case.put(b"x")
    has(case.run("put", "-", env={"GRAVITON_META": second}, expect=8).err, "metadata", "missing")
    other = {"GRAVITON_BLOCKS": "fs:" + os.path.join(case.directory, "other")}
    has(case.run("ls", env=other, expect=8).err, "blocks", "missing")
    case.run("put", "-", env=dict(other, GRAVITON_META=second))
    mixed = dict(other, GRAVITON_META=first)
    has(case.run("ls", env=mixed, expect=8).err, "belong to store")


def test_many_writers_and_one_collector(case):
    name, url = database(case)
    use(case, url)
    case.put(b"made")
    process = case.start("put", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    waiting = "SELECT count(*) FROM graviton.session"
    wait_until(lambda: sql(waiting, name) == "1")
    # Others read and write meanwhile; nobody collects.
    blob = case.put(b"beside")
    same(case.run("get", blob).out, b"beside")
    error = case.run("gc", expect=5).err
    has(error, f"pid {process.pid}", "(put)")
    out, _ = process.communicate(noise(100000))
    same(process.returncode, 0)
    case.run("gc")
    same(sql(waiting, name), "0")
    case.run("verify", "--all")
    same(len(case.run("ls").rows()), 3)
    same(out.decode().split("\t")[0] in [row[0] for row in case.run("ls").rows()], True)


def test_a_collector_that_died(case):
    name, url = database(case)
    use(case, url)
    blob = case.put(noise(1 << 20))
    sql(
        "INSERT INTO graviton.exclusive_work (session_id, host, pid, command) "
        "VALUES (gen_random_uuid(), 'elsewhere', 77, 'gc')",
        name,
    )
    same(len(case.run("get", blob).out), 1 << 20)
    has(case.run("put", "-", stdin=b"1", expect=5).err, "elsewhere pid 77 (gc)", "graviton gc")
    case.run("gc")
    case.put(b"1")
    case.run("verify", "--all")


def test_puts_race_for_the_first_store(case):
    _, url = database(case)
    use(case, url)
    codes = []

    def put(number):
        result = case.run("put", "-", stdin=b"%d" % number, expect=None)
        codes.append((result.code, result.err))

    threads = [threading.Thread(target=put, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = sum(code == 0 for code, _ in codes)
    assert stored and {code for code, _ in codes} <= {0, 5}, codes
    same(len(case.run("ls").rows()), stored)
    for number in range(6):
        case.put(b"%d" % number)
    case.run("verify", "--all")
    same(len(case.run("ls").rows()), 6)


def test_unsafe_servers_are_refused(case):
    name, url = database(case)
    use(case, url)
    case.put(b"x")
    sql(f"ALTER DATABASE {name} SET synchronous_commit = off", "postgres")
    has(case.run("put", "-", expect=8).err, "synchronous_commit = off")
    case.run("put", "-", env={"GRAVITON_PG_ALLOW_UNSAFE": "1"})
    case.run("ls")


def test_too_many_connections(case):
    with postgres.Server(max_connections="8", superuser_reserved_connections="1") as small:
        url = small.url.rsplit("/", 1)[0] + "/crowded"
        psql = os.path.join(SERVER.bin, "psql")
        made = subprocess.run([psql, "-X", "-q", "-c", "CREATE DATABASE crowded", small.url])
        same(made.returncode, 0)
        case.run("migrate", "--meta", url)
        use(case, url)
        case.put(b"x")
        taken = []
        count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'graviton'"

        def all_taken():
            """One that came too early, while the server was still busy with others, is replaced."""
            taken[:] = [process for process in taken if process.poll() is None]
            while len(taken) < 7:
                taken.append(subprocess.Popen([psql, "-X", "-q", url], stdin=subprocess.PIPE))
            words = [psql, "-X", "-A", "-t", "-c", count, small.admin]
            return subprocess.run(words, capture_output=True).stdout.strip() == b"7"

        wait_until(all_taken)
        has(case.run("ls", env={"GRAVITON_PG_TIMEOUT": "2"}, expect=5).err, "connection")
        for process in taken:
            process.communicate(b"")
        same(len(case.run("ls").rows()), 1)


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
