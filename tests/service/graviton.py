# SPDX-License-Identifier: Apache-2.0
"""`graviton serve` as tests start it: on a free port of the loopback interface, gone when the test
is. Server(program, *options) is running and ready when its constructor returns.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import time

READY_SECONDS = 60
STOP_SECONDS = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Answer:
    """What a server said: status, headers (names in lower case) and the whole body."""

    def __init__(self, response, body):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:500]!r}"


class Server:
    """One server process. `env` replaces the environment, `log` (a path) gets what it says."""

    def __init__(self, program, *options, env=None, log=None, port=None, cwd=None, wait=True,
                 scheme="http"):  # fmt: skip
        self.program, self.options = program, options
        self.env = dict(os.environ if env is None else env)
        self.cwd = cwd
        self.own_log = log is None
        self.log = log or tempfile.mkstemp(prefix="graviton-serve-", suffix=".log")[1]
        self.port = port or free_port()
        self.may_move = port is None
        self.began_at = 0  # in the log
        self.scheme = scheme
        self.process = None
        self.start(wait)

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    def start(self, wait=True):
        """A port found free may be taken by the time the server wants it, so again; once it has
        worked the port stays."""
        for _ in range(20):
            self.launch()
            if not wait:
                break
            try:
                self.wait_ready()
                break
            except RuntimeError:
                if not self.may_move or "another program does" not in self.said(self.began_at):
                    raise
            self.port = free_port()
        self.may_move = False

    def launch(self):
        words = [self.program, "serve", "--listen", f"127.0.0.1:{self.port}", *self.options]
        with open(self.log, "ab") as log:
            self.began_at = log.tell()
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self.env, cwd=self.cwd)  # fmt: skip

    def said(self, since=0):
        """What is in its log after so many bytes."""
        with open(self.log, "rb") as log:
            log.seek(since)
            return log.read().decode(errors="replace")

    def says(self, *texts, seconds=30):
        """Until its log has these: a line comes after the answer that it is about."""
        end = time.monotonic() + seconds
        while not all(text in self.said() for text in texts):
            if time.monotonic() > end:
                raise RuntimeError(f"not all of {texts} in {self.said()[-4000:]}")
            time.sleep(0.01)

    def wait_ready(self, seconds=READY_SECONDS):
        """Until it says that it serves, and the port is open; its log where it never is."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"serve: exit {self.process.returncode}: {self.said()[-2000:]}")
            try:
                if "graviton serves " in self.said(self.began_at):  # not another program there
                    socket.create_connection(("127.0.0.1", self.port), 1).close()
                    return
            except OSError:
                pass
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"serve: not ready after {seconds} s: {self.said()[-2000:]}")

    def connect(self, timeout=60):
        """A new http.client connection; the caller closes it."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(self, method, path, body=None, headers=None, timeout=60):
        """One request on a connection of its own."""
        connection = self.connect(timeout)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            return Answer(response, response.read())
        finally:
            connection.close()

    def put(self, data, headers=None, timeout=120):
        """Stores bytes; their id."""
        answer = self.request("POST", "/api/blobs", data, headers, timeout)
        if answer.status != 201:
            raise RuntimeError(f"POST /api/blobs: {answer}\n{self.said()[-2000:]}")
        return answer.json()

    def get(self, blob, timeout=120):
        answer = self.request("GET", f"/api/blobs/{blob}", timeout=timeout)
        if answer.status != 200:
            raise RuntimeError(f"GET {blob}: {answer}\n{self.said()[-2000:]}")
        return answer.body

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=STOP_SECONDS):
        """Its exit code; killed where it does not end."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"serve: no end after {seconds} s: {self.said()[-2000:]}") from None

    def stop(self, seconds=STOP_SECONDS):
        """Ends it in order; its exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def resident(self, what="VmRSS"):
        """Bytes of memory, now (VmRSS) or at most so far (VmHWM)."""
        with open(f"/proc/{self.pid}/status") as text:
            for row in text:
                if row.startswith(what + ":"):
                    return int(row.split()[1]) << 10
        raise RuntimeError(f"no {what} of process {self.pid}")

    def close(self):
        self.kill()
        if self.own_log and os.path.exists(self.log):
            os.unlink(self.log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
