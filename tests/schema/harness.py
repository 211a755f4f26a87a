# SPDX-License-Identifier: Apache-2.0
"""What the schema's tests share: a database with all migrations, sessions of psql, TAP on stdout.

A test file is run through tests/service/postgres.py, takes the migrations as arguments, defines
functions named test_*, each taking a Database of its own, and ends with harness.main().
"""

import os
import re
import subprocess
import sys
import traceback

MARK = "-- end of the answer --"
CHECK, UNIQUE, FOREIGN, NOT_NULL = "23514", "23505", "23503", "23502"
NOT_SUPPORTED, GUARD = "0A000", "GV001"


class SqlError(Exception):
    def __init__(self, state, message):
        super().__init__(f"{state}: {message}")
        self.state, self.message = state, message


def psql(url, *arguments):
    program = os.path.join(os.environ["GRAVITON_TEST_POSTGRES_BIN"], "psql")
    return [program, "-X", "-q", "-A", "-t", "-v", "VERBOSITY=verbose", *arguments, url]


class Session:
    """One connection."""

    def __init__(self, url):
        self.process = subprocess.Popen(
            psql(url, "-f", "-"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def send(self, sql, data=None):
        """Begins a statement; `data` are the lines of a COPY from stdin."""
        self.process.stdin.write(sql.rstrip().rstrip(";") + ";\n")
        if data is not None:
            self.process.stdin.writelines(data)
            self.process.stdin.write("\\.\n")
        self.process.stdin.write(f"\\echo '{MARK}'\n")
        self.process.stdin.flush()

    def receive(self):
        """Its rows, each a list of texts; raises what went wrong."""
        lines = []
        for line in self.process.stdout:
            if line.rstrip("\n") == MARK:
                break
            lines.append(line.rstrip("\n"))
        else:
            raise RuntimeError("psql ended: " + "\n".join(lines))
        for at, line in enumerate(lines):
            match = re.search(r"ERROR:  (\w{5}): (.*)", line)
            if match:
                raise SqlError(match.group(1), "\n".join([match.group(2)] + lines[at + 1 :]))
        return [line.split("|") for line in lines]

    def run(self, sql, data=None):
        self.send(sql, data)
        return self.receive()

    def value(self, sql):
        rows = self.run(sql)
        assert len(rows) == 1 and len(rows[0]) == 1, f"not one value: {rows[:5]}: {sql[:200]}"
        return rows[0][0]

    def refused(self, sql, state, text=""):
        """The statement fails with this SQLSTATE and this text in its message."""
        try:
            self.run(sql)
        except SqlError as error:
            assert error.state == state and text in error.message, (
                f"want {state} and {text!r}, not {str(error)[:500]}: {sql[:300]}"
            )
            return
        raise AssertionError(f"accepted: {sql[:500]}")

    def close(self):
        """At once: what it does may wait for another session of the test."""
        self.process.kill()
        self.process.communicate()


class Database(Session):
    """A database of one test, with all migrations, and a session on it."""

    made = 0

    def __init__(self, migrations):
        server = os.environ["GRAVITON_TEST_POSTGRES_SOCKET"]
        Database.made += 1
        name = f"test_{Database.made}"
        subprocess.run(psql(server, "-c", f"CREATE DATABASE {name}"), check=True)
        self.url = server.rsplit("/", 1)[0] + "/" + name
        self.more = []
        for path in migrations:
            script = psql(self.url, "-v", "ON_ERROR_STOP=1", "-1", "-f", path)
            subprocess.run(script, check=True)
        super().__init__(self.url)

    def another(self):
        """One more session on it."""
        session = Session(self.url)
        self.more.append(session)
        return session

    def close(self):
        for session in self.more:
            session.close()
        super().close()


def hexed(data):
    """Bytes as a literal."""
    return f"'\\x{data.hex()}'"


def main():
    if "GRAVITON_TEST_POSTGRES" not in os.environ:
        print("1..0 # SKIP no PostgreSQL server: run this through tests/service/postgres.py")
        return
    migrations = [os.path.abspath(path) for path in sys.argv[1:]]
    assert migrations, "usage: FILE MIGRATION.sql..."
    module = sys.modules["__main__"]
    tests = [(n, f) for n, f in vars(module).items() if n.startswith("test_") and callable(f)]
    print(f"1..{len(tests)}")
    failed = 0
    for number, (name, test) in enumerate(tests, 1):
        database = Database(migrations)
        try:
            test(database)
            print(f"ok {number} - {name}", flush=True)
        except Exception:
            failed += 1
            print(f"not ok {number} - {name}", flush=True)
            for line in traceback.format_exc().splitlines():
                print(f"# {line[:2000]}")
        finally:
            database.close()
    sys.exit(1 if failed else 0)
