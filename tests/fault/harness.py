# SPDX-License-Identifier: Apache-2.0
"""What the fault tests share: running the program on a store, TAP output, and looking at trees.

A test is a function that takes a Bench and raises on the first thing that is wrong;
run() prints one TAP line a test and the reason under a failed one.
"""

import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import traceback

# Exit codes, as the manual page lists them.
OK, OTHER, USAGE, NOT_FOUND, CORRUPT, UNAVAILABLE, FULL, PERMISSION, CONFLICT = range(9)

BLOCK_NAME = re.compile(r"^([0-9a-f]{64})-([0-9]+)$")


class Wrong(Exception):
    """What a test saw and should not have."""


def want(condition, message):
    if not condition:
        raise Wrong(message)


class Result:
    """What one run of the program did."""

    def __init__(self, words, done):
        self.words = words
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr.decode("utf-8", "replace")

    def __str__(self):
        text = f"{' '.join(self.words)}: exit {self.code}; stderr: {self.err.strip()!r}"
        bad = [line for line in self.out[:100_000].splitlines() if b"\tcorrupt\t" in line]
        return text + "".join(f"; {line.decode('utf-8', 'replace')!r}" for line in bad[:3])

    def wants(self, code):
        want(self.code == code, f"want exit {code}: {self}")
        return self


class Bench:
    """The program, a scratch directory of one test, and random bytes that a seed repeats."""

    def __init__(self, program, spoiler, directory, seed):
        self.program = program
        self.spoiler = os.path.abspath(spoiler)
        self.directory = directory
        self.random = random.Random(seed)
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GRAVITON_", "QUASAR_", "MINIO_", "PG_"))
        }
        self.environment["GRAVITON_RESERVE"] = "0"  # not 64 MiB for each little store

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def words(self, command, *words, store=None):
        """The whole command line. `store` is a directory, or a list of options that name one."""
        options = ["--store", store] if isinstance(store, str) else list(store or [])
        return [self.program, command] + options + [str(word) for word in words]

    def run(self, command, *words, store=None, given=None):
        line = self.words(command, *words, store=store)
        done = subprocess.run(
            line,
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
            timeout=300,
        )
        return Result(line[1:], done)

    def start(self, command, *words, store=None, given=subprocess.DEVNULL):
        return subprocess.Popen(
            self.words(command, *words, store=store),
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
        )

    def spoil(self, metadata, namespace, number):
        """Flips a bit of one record in a closed store's metadata."""
        line = [self.spoiler, metadata, namespace, str(number)]
        done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        Result(line, done).wants(OK)

    def write(self, name, data):
        path = self.path(name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def put(self, store, data, *words):
        """Stores bytes from standard input; their id."""
        result = self.run("put", *words, "-", store=store, given=data).wants(OK)
        return result.out.decode().split("\t")[0]

    def ids(self, store):
        """The ids that ls shows."""
        lines = self.run("ls", store=store).wants(OK).out.decode().splitlines()
        return [line.split("\t")[0] for line in lines]

    def manifest(self, store, blob):
        """(offset, size, block key) of each block."""
        lines = self.run("manifest", blob, store=store).wants(OK).out.decode().splitlines()
        rows = [line.split("\t") for line in lines]
        return [(int(offset), int(size), key) for offset, size, key in rows]


def block_files(directory):
    """hex digest -> path of every stored block file under a directory."""
    found = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            match = BLOCK_NAME.match(name)
            if match:
                found[match.group(1)] = os.path.join(folder, name)
    return found


def tree(directory):
    """Every path under a directory with what it is: to see that nothing was written."""
    seen = {}
    for folder, folders, names in os.walk(directory):
        for name in folders:
            path = os.path.join(folder, name)
            seen[os.path.relpath(path, directory)] = "directory"
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                seen[os.path.relpath(path, directory)] = hashlib.sha256(file.read()).hexdigest()
    return seen


def work_in_memory():
    """Makes temporary directories in memory where nobody has asked for others and there is room:
    for tests that make and remove very many files, and to which the disk is nothing."""
    memory = "/dev/shm"
    if "TMPDIR" not in os.environ and os.access(memory, os.W_OK):
        if shutil.disk_usage(memory).free >= 1 << 30:
            os.environ["TMPDIR"] = memory
            tempfile.tempdir = None


def run(program, spoiler, seed, tests):
    """Runs (name, function) pairs, prints TAP, and gives the exit code."""
    print(f"# seed {seed}: rerun with --seed {seed}")
    print(f"1..{len(tests)}", flush=True)
    failed = 0
    for number, (name, function) in enumerate(tests, 1):
        directory = tempfile.mkdtemp(prefix="graviton-fault-")
        try:
            function(Bench(os.path.abspath(program), spoiler, directory, f"{seed} {name}"))
            print(f"ok {number} - {name}", flush=True)
        except Wrong as wrong:
            failed += 1
            print(f"not ok {number} - {name}")
            print("# " + str(wrong).replace("\n", "\n# "), flush=True)
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f"not ok {number} - {name}")
            print("# " + traceback.format_exc().strip().replace("\n", "\n# "), flush=True)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    return 1 if failed else 0


def main(tests, arguments):
    """The parsed command line's program and seed, and the tests that --only leaves."""
    chosen = [test for test in tests if not arguments.only or arguments.only in test[0]]
    sys.exit(run(arguments.program, arguments.spoil, arguments.seed, chosen))


def add_arguments(parser):
    parser.add_argument("program", help="the built graviton")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--spoil", default="build/tests/fault/fault-spoil", help="the built spoil")
    parser.add_argument("--only", help="only the tests whose name holds this")
