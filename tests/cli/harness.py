# SPDX-License-Identifier: Apache-2.0
"""What the command line's tests share: running the program, checks, TAP on stdout.

A test file defines functions named test_*, each taking a Case, and ends with harness.main(). Each
test gets a directory of its own, which is also the program's working directory, and an environment
without any of graviton's variables.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

EMPTY = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262:0"
BOUNDED = os.environ.get("GRAVITON_TEST_BOUNDED") == "1"
PREFIXES = ("GRAVITON_", "PG", "AWS_", "QUASAR_", "MINIO_")
TIMEOUT = 120


class Skip(Exception):
    pass


class Result:
    def __init__(self, arguments, code, out, err):
        self.arguments, self.code, self.out, self.err = arguments, code, out, err

    def __str__(self):
        return f"{self.arguments} -> {self.code}\nstdout: {self.out[:2000]!r}\nstderr: {self.err}"

    def rows(self):
        """stdout as a list of rows, each a list of fields, all text."""
        text = self.out.decode("utf-8", "surrogateescape")
        return [line.split("\t") for line in text.split("\n")[:-1]]

    def objects(self):
        """stdout as one JSON object a line."""
        lines = self.out.decode("utf-8").split("\n")
        assert lines[-1] == "", f"no newline at the end: {self}"
        return [json.loads(line) for line in lines[:-1]]

    def error(self):
        """The last line of stderr as {"error": …}; sanitizers may print above it."""
        return json.loads(self.err.strip().split("\n")[-1])["error"]


class Case:
    def __init__(self, program, directory):
        self.program, self.directory = program, directory
        self.env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(PREFIXES) or name == "GRAVITON_CI"
        }
        self.env["LC_ALL"] = "C.UTF-8"
        self.env["GRAVITON_RESERVE"] = "0"  # not 64 MiB for each little store

    def path(self, name):
        return os.path.join(os.fsencode(self.directory), os.fsencode(name))

    def write(self, name, data):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def start(self, *arguments, env=None, **how):
        """The program, running; the caller waits for it."""
        return subprocess.Popen(
            [self.program, *arguments], cwd=self.directory, env={**self.env, **(env or {})}, **how
        )

    def run(self, *arguments, expect=0, stdin=b"", env=None, **how):
        """Runs the program to its end and checks its exit code (None: any)."""
        result = subprocess.run(
            [self.program, *arguments],
            input=None if "stdin_file" in how or "preexec_fn" in how else stdin,
            stdin=how.pop("stdin_file", None),
            stdout=how.pop("stdout", subprocess.PIPE),
            stderr=subprocess.PIPE,
            cwd=how.pop("cwd", self.directory),
            env={**self.env, **(env or {})},
            timeout=TIMEOUT,
            **how,
        )
        error = result.stderr.decode("utf-8", "replace")
        result = Result(arguments, result.returncode, result.stdout or b"", error)
        assert expect is None or result.code == expect, f"exit code {expect} wanted: {result}"
        return result

    def put(self, data, *options):
        """Stores bytes and returns their id."""
        return self.run("put", "-", *options, stdin=data).rows()[0][0]


def same(got, wanted):
    assert got == wanted, f"got {got!r}, wanted {wanted!r}"


def has(text, *parts):
    for part in parts:
        assert part in text, f"no {part!r} in {text!r}"


def wait_until(condition, seconds=30):
    """Waits for a condition that another process brings about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def noise(size, seed=1):
    """Bytes without repeats, the same for the same seed."""
    import random

    return random.Random(seed).randbytes(size)


def in_namespace(case, script, *words, expect=0):
    """Runs a shell script that may mount; a skip where the system forbids that."""
    enter = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which(enter[0]) is None or subprocess.run(
        [*enter, "true"], capture_output=True, check=False
    ).returncode:
        raise Skip("no mount namespace for us here")
    result = subprocess.run(
        [*enter, "bash", "-euc", script, "bash", case.program, *words], capture_output=True,
        cwd=case.directory, env=case.env, timeout=TIMEOUT, check=False,
    )  # fmt: skip
    assert result.returncode == expect, result
    return result.stdout.decode()


def work_in_memory():
    """Makes temporary directories in memory where nobody has asked for others and there is room:
    what is tested here does not depend on a disk, and many small files on one take long."""
    memory = "/dev/shm"
    if "TMPDIR" not in os.environ and os.access(memory, os.W_OK):
        if shutil.disk_usage(memory).free >= 1 << 30:
            os.environ["TMPDIR"] = memory
            tempfile.tempdir = None


def main():
    work_in_memory()
    # Whoever runs the tests may ignore these (nohup, a job in the background), and the program then
    # rightly ignores them too.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    import __main__

    program = os.path.abspath(sys.argv[1])
    wanted = sys.argv[2:]
    tests = [
        (name, value)
        for name, value in vars(__main__).items()
        if name.startswith("test_") and (not wanted or name in wanted)
    ]
    print(f"1..{len(tests)}")
    failed = 0
    for number, (name, test) in enumerate(tests, 1):
        directory = tempfile.mkdtemp(prefix="graviton-cli-")
        try:
            test(Case(program, directory))
            print(f"ok {number} - {name}", flush=True)
        except Skip as reason:
            print(f"ok {number} - {name} # SKIP {reason}", flush=True)
        except Exception:
            failed += 1
            for line in traceback.format_exc().split("\n"):
                print("# " + line)
            print(f"not ok {number} - {name}", flush=True)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    sys.exit(1 if failed else 0)
