#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server of a test's own, from the system's packages, gone when the test is.

  postgres.py run [--optional] [--set NAME=VALUE]... [--] COMMAND [ARGUMENT]...
      runs COMMAND beside a fresh server and exits as it does. COMMAND finds in its environment
        GRAVITON_TEST_POSTGRES         URL over loopback; its role may create databases and no more
        GRAVITON_TEST_POSTGRES_SOCKET  the same over the unix socket
        GRAVITON_TEST_POSTGRES_ADMIN   URL of the superuser
        GRAVITON_TEST_POSTGRES_BIN     directory of the server's programs (psql, pg_ctl, ...)
      Without the packages it prints a TAP line that skips all, and exits 0; with --optional it
      runs COMMAND all the same, without those variables: COMMAND skips what needs a server.
  postgres.py serve [--set NAME=VALUE]...
      what the above is made of: starts a server, prints one line of JSON (the same URLs, the
      directory and the server's process id), and obeys lines on standard input: "stop MODE"
      (smart, fast or immediate) and "start", each answered by such a line, or by {"error": ...}.
      At the end of the input, which comes also when the parent dies, it stops the server and
      removes its directory.

Settings are the server's own (fsync=off, max_connections=5). Python tests import Server.
"""

import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import keeper
from keeper import Missing

NOBODY = 65534
SETTINGS = {
    "fsync": "on",
    "shared_buffers": "16MB",
    "max_connections": "100",
    "max_wal_size": "256MB",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
}
MODES = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
START_SECONDS = 60
SOCKET_PATH_MAX = 100


def programs():
    """The newest installed server's directory of programs."""

    def version(path):
        return [int(part) for part in re.findall(r"\d+", path.split("/")[4])]

    found = [os.path.dirname(p) for p in glob.glob("/usr/lib/postgresql/*/bin/postgres")]
    if not found:
        raise Missing("no PostgreSQL server: run tools/setup test")
    return max(found, key=version)


def unprivileged():
    """How a child becomes someone who may run a server: PostgreSQL refuses root."""
    if os.getuid() != 0:
        return {}
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def may_be_entered(directory):
    """True where that someone can reach a directory in this one."""
    path = os.path.abspath(directory)
    while os.getuid() == 0 and path != "/":
        if not os.stat(path).st_mode & 0o001:
            return False
        path = os.path.dirname(path)
    return True


def scratch():
    directory = keeper.scratch("graviton-postgres-", SOCKET_PATH_MAX - 40, may_be_entered)
    if os.getuid() == 0:
        os.chown(directory, NOBODY, NOBODY)
    return directory


class Cluster:
    """The server itself, as a child of this process."""

    def __init__(self, settings):
        self.bin = programs()
        self.directory = scratch()
        self.data = os.path.join(self.directory, "data")
        self.settings = dict(SETTINGS, **settings)
        self.server = None
        self.port = None

    def init(self):
        command = [os.path.join(self.bin, "initdb"), "-D", self.data, "-U", "postgres"]
        command += ["-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        done = subprocess.run(
            command, cwd=self.directory, capture_output=True, text=True, **unprivileged()
        )
        if done.returncode:
            raise RuntimeError(f"initdb: {done.stderr.strip()}")
        self.start()
        self.admin("CREATE ROLE graviton LOGIN CREATEDB")

    def log(self):
        return os.path.join(self.directory, "log")

    def admin(self, sql, database="postgres"):
        psql = [os.path.join(self.bin, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql]
        done = subprocess.run(
            psql + [self.url("postgres", database)], capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"psql: {done.stderr.strip()}")

    def start(self):
        """A port found free may be taken by the time the server wants it, so again; once it has
        worked the port stays."""
        for _ in range(5):
            port = self.port or keeper.free_port()
            if self.try_start(port):
                self.port = port
                return
        with open(self.log(), encoding="utf-8", errors="replace") as log:
            raise RuntimeError("the server does not start: " + log.read()[-2000:])

    def try_start(self, port):
        command = [os.path.join(self.bin, "postgres"), "-D", self.data, "-p", str(port)]
        command += ["-k", self.directory, "-h", "127.0.0.1"]
        for name, value in self.settings.items():
            command += ["-c", f"{name}={value}"]
        with open(self.log(), "ab") as log:
            self.server = subprocess.Popen(
                command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=keeper.dies_with_parent(signal.SIGQUIT), **unprivileged(),
            )  # fmt: skip
        ready = [os.path.join(self.bin, "pg_isready"), "-q", "-h", self.directory, "-p", str(port)]
        end = time.monotonic() + START_SECONDS
        while self.server.poll() is None and time.monotonic() < end:
            if subprocess.run(ready).returncode == 0:
                return True
            time.sleep(0.02)
        self.stop("immediate")
        return False

    def stop(self, mode):
        if self.server is None:
            return
        if self.server.poll() is None:
            self.server.send_signal(MODES[mode])
            self.server.send_signal(signal.SIGCONT)  # it may have been stopped by a test
            try:
                self.server.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                self.server.send_signal(signal.SIGQUIT)
                self.server.wait()
        self.server = None

    def remove(self):
        self.stop("immediate")
        shutil.rmtree(self.directory, ignore_errors=True)

    def url(self, role, database="postgres", over_socket=False):
        host = self.directory.replace("/", "%2F") if over_socket else "127.0.0.1"
        return f"postgresql://{role}@{host}:{self.port}/{database}"

    def facts(self):
        return {
            "url": self.url("graviton"),
            "socket": self.url("graviton", over_socket=True),
            "admin": self.url("postgres"),
            "bin": self.bin,
            "directory": self.directory,
            "pid": self.server.pid if self.server else None,
        }

    def obey(self, words):
        if words == ["start"]:
            if self.server is None:
                self.start()
        elif len(words) == 2 and words[0] == "stop" and words[1] in MODES:
            self.stop(words[1])
        else:
            raise RuntimeError(f"not a command: {' '.join(words)}")


class Server(keeper.Kept):
    """A server in a process of its own, for `with`. url, socket, admin, bin, directory, pid."""

    def __init__(self, **settings):
        programs()
        super().__init__(__file__, settings)

    def stop(self, mode="fast"):
        self.tell(f"stop {mode}")

    def start(self):
        self.tell("start")

    def environment(self):
        return {
            "GRAVITON_TEST_POSTGRES": self.url,
            "GRAVITON_TEST_POSTGRES_SOCKET": self.socket,
            "GRAVITON_TEST_POSTGRES_ADMIN": self.admin,
            "GRAVITON_TEST_POSTGRES_BIN": self.bin,
        }


def main():
    verb, optional, settings, command = keeper.arguments(
        "usage: postgres.py run [--optional] [--set NAME=VALUE]... [--] COMMAND [ARGUMENT]...\n"
        "       postgres.py serve [--set NAME=VALUE]..."
    )
    if verb == "serve":
        return keeper.keep(Cluster(settings))
    return keeper.run(lambda: Server(**settings), optional, command)


if __name__ == "__main__":
    sys.exit(main())
