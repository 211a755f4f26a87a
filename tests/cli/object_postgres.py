#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""object on objects under pg:// locators, and between them and files."""

import glob
import os
import re
import signal
import subprocess
import sys

import harness
from harness import has, noise, same, wait_until

DATA = noise(3 << 20)
MIGRATIONS = os.path.join(os.path.dirname(__file__), "../../src/backend/pg/migrations/*.sql")
TEMPLATE = "cli_template"
made = 0


def psql(database, *arguments):
    program = os.path.join(os.environ["GRAVITON_TEST_POSTGRES_BIN"], "psql")
    done = subprocess.run(
        [program, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *arguments, address(database)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.strip()


def address(database):
    return os.environ["GRAVITON_TEST_POSTGRES"].rsplit("/", 1)[0] + "/" + database


def make_template():
    psql("postgres", "-c", f"CREATE DATABASE {TEMPLATE}")
    scripts = sorted(glob.glob(MIGRATIONS))
    rows = ", ".join(f"({number})" for number in range(1, len(scripts) + 1))
    psql(
        TEMPLATE, "-1", "-c", "CREATE SCHEMA graviton",
        "-c", "CREATE TABLE graviton.schema_migration (version int PRIMARY KEY)",
        "-c", f"INSERT INTO graviton.schema_migration VALUES {rows}",
        *[word for script in scripts for word in ("-f", script)],
    )  # fmt: skip


def database(case, *roots):
    """The environment of a test with a database of its own, and with directories."""
    global made
    if made == 0:
        make_template()
    made += 1
    name = f"cli_{made}"
    psql("postgres", "-c", f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    for root in roots:
        os.mkdir(case.path(root))
    case.database = name
    return {
        "GRAVITON_PG_URL": address(name),
        "GRAVITON_ROOTS": ":".join(f"{root}={root}" for root in roots),
    }


def locators(result):
    return [row[2] for row in result.rows()]


def test_round_trip(case):
    env = database(case)
    case.write("file", DATA)
    (row,) = case.run("object", "put", "pg://m/dir/o", "file", env=env).rows()
    same((row[0], row[2]), (str(len(DATA)), "pg://m/dir/o"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row[1]), row
    same(case.run("object", "get", "pg://m/dir/o", env=env).out, DATA)
    case.run("object", "put", "pg://m/in", "-", stdin=b"", env=env)
    same(case.run("object", "get", "pg://m/in", env=env).out, b"")
    for text, wanted in (("0-0", DATA[:1]), ("-3", DATA[-3:]), ("1000000-9999999", DATA[1000000:])):
        same(case.run("object", "get", "pg://m/dir/o", "--range", text, env=env).out, wanted)
    case.run("object", "get", "pg://m/dir/o", "--range", f"{len(DATA)}-", expect=2, env=env)
    for path in (b"\xff/../%2F", b"x" * 1024, b" \n"):
        case.run("object", "put", b"pg://other/" + path, stdin=path, env=env)
        same(case.run("object", "get", b"pg://other/" + path, env=env).out, path)
    same(len(case.run("object", "ls", "--json", "pg://other", env=env).objects()), 3)
    (head,) = case.run("object", "head", "--json", "pg://m/in", env=env).objects()
    same(head, case.run("object", "ls", "--json", "pg://m/i", env=env).objects()[0])
    same(locators(case.run("object", "ls", "pg://m", env=env)), ["pg://m/dir/o", "pg://m/in"])
    same(case.run("object", "ls", "pg://none", env=env).out, b"")


def test_missing_and_removed(case):
    env = database(case)
    for arguments in (
        ["get", "pg://m/x"], ["head", "pg://m/x"], ["rm", "pg://m/x"],
        ["cp", "pg://m/x", "pg://m/y"],
    ):  # fmt: skip
        has(case.run("object", *arguments, expect=3, env=env).err, "no object pg://m/x")
    case.run("object", "put", "pg://m/x", stdin=b"1", env=env)
    result = case.run("object", "put", "pg://m/x", "--if-absent", stdin=b"2", expect=8, env=env)
    has(result.err, "already", "pg://m/x")
    case.run("object", "cp", "pg://m/x", "pg://n/x", "--if-absent", env=env)
    case.run("object", "cp", "pg://m/x", "pg://n/x", "--if-absent", expect=8, env=env)
    case.run("object", "rm", "pg://m/x", env=env)
    same(case.run("object", "get", "pg://n/x", env=env).out, b"1")
    case.run("object", "rm", "pg://n/x", env=env)
    same(psql(case.database, "-c", "SELECT count(*) FROM graviton.object_content"), "0")


def test_between_files_and_database(case):
    env = database(case, "f")
    case.run("object", "put", "fs://f/a", stdin=DATA, env=env)
    (row,) = case.run("object", "cp", "fs://f/a", "pg://m/b", env=env).rows()
    same((row[0], row[2]), (str(len(DATA)), "pg://m/b"))
    case.run("object", "cp", "pg://m/b", "fs://f/c/d", env=env)
    same(case.read("f/c+/d"), DATA)
    for words in (["fs://f/a", "pg://m/b"], ["pg://m/b", "fs://f/a"]):
        case.run("object", "cp", *words, "--if-absent", expect=8, env=env)
    case.run("object", "cp", "fs://f/none", "pg://m/b", expect=3, env=env)
    same(case.run("object", "get", "pg://m/b", env=env).out, DATA)
    case.run("object", "head", "fs://f/a", "pg://m/b", env=env)
    same(len(case.run("object", "rm", "fs://f/a", "pg://m/b", env=env).out), 0)


def test_where_the_database_is(case):
    env = database(case)
    url = env["GRAVITON_PG_URL"]
    case.run("object", "put", "pg://m/x", stdin=b"1", env=env)
    away = {"GRAVITON_PG_URL": "postgresql://127.0.0.1:1/none"}
    same(case.run("object", "get", "--meta", url, "pg://m/x", env=away).out, b"1")
    same(case.run("object", "get", "pg://m/x", env={**away, "GRAVITON_META": url}).out, b"1")
    env["GRAVITON_META"] = "rocks:meta"
    same(case.run("object", "get", "pg://m/x", env=env).out, b"1")
    server = url.split("@")[1].split("/")[0].split(":")
    variables = {"PGHOST": server[0], "PGPORT": server[1], "PGUSER": "graviton"}
    variables["PGDATABASE"] = case.database
    same(case.run("object", "get", "pg://m/x", env=variables).out, b"1")
    # What only reads needs no right to write, and does not write.
    readonly = {"GRAVITON_PG_URL": url, "PGOPTIONS": "-c default_transaction_read_only=on"}
    same(case.run("object", "get", "pg://m/x", env=readonly).out, b"1")
    case.run("object", "put", "pg://m/x", stdin=b"2", expect=7, env=readonly)
    empty = {"GRAVITON_PG_URL": address("postgres")}
    has(case.run("object", "ls", "pg://m", expect=8, env=empty).err, "graviton migrate")
    none = {"GRAVITON_PG_URL": address("no_such")}
    has(case.run("object", "ls", "pg://m", expect=3, env=none).err, "no_such")
    wrong = {"GRAVITON_PG_URL": "postgresql://user:sesame@[broken"}
    assert "sesame" not in case.run("object", "ls", "pg://m", expect=2, env=wrong).err


def stop_a_put(case, env, number):
    """Stops a put that has sent some of its bytes; whether it left any of them."""
    chunks = "SELECT count(*) > 0 FROM graviton.object_chunk WHERE octet_length(bytes) > 3"
    process = case.start("object", "put", "pg://m/o", stdin=subprocess.PIPE, env=env,
                         stderr=subprocess.DEVNULL)  # fmt: skip
    process.stdin.write(DATA)
    process.stdin.flush()
    wait_until(lambda: psql(case.database, "-c", chunks) == "t")
    process.send_signal(number)
    same(process.wait(), 143 if number == signal.SIGTERM else -signal.SIGKILL)
    process.stdin.close()
    same(case.run("object", "get", "pg://m/o", env=env).out, b"old")
    return psql(case.database, "-c", chunks) == "t"


def sweep(case, env, data):
    """What was left a long time ago goes with the next put."""
    psql(case.database, "-c", "UPDATE graviton.object_content SET unnamed_since = now() - "
         "interval '2 days' WHERE byte_length IS NULL")  # fmt: skip
    case.run("object", "put", "pg://m/o", stdin=data, env=env)
    left = "SELECT count(*) FROM graviton.object_chunk WHERE octet_length(bytes) > 3"
    same(psql(case.database, "-c", left), "0")


def test_a_put_that_is_stopped(case):
    env = database(case)
    case.run("object", "put", "pg://m/o", stdin=b"old", env=env)
    # An insert that was given up may come after the removal, where the server is slow.
    for _ in range(5):
        if not stop_a_put(case, env, signal.SIGTERM):
            break
        sweep(case, env, b"old")
    else:
        raise AssertionError("a put that is told to end leaves its bytes, five times of five")
    same(stop_a_put(case, env, signal.SIGKILL), True)
    sweep(case, env, b"new")


if "GRAVITON_TEST_POSTGRES" not in os.environ:
    print("1..0 # SKIP no PostgreSQL server: run this through tests/service/postgres.py")
    sys.exit(0)
harness.main()
